"""Write a `pretty_midi.PrettyMIDI` as the bytes of a MIDI file that holds what the object holds.

Conventions: a track per instrument, each on a channel of its own: 15 pitched ones share a port,
and each further percussion track takes a further port. So no track sets the channel of another.
pretty_midi uses channels twice instead, and sorts the controllers of one tick by their number,
which takes a bend range (controllers 101, 100, 6) apart.
"""

from __future__ import annotations

import copy
import io
import struct

import numpy as np
import pretty_midi

from musiclib.midi_build import ticks_at
from musiclib.smf_events import END_OF_TRACK, META, PORT, TRACK_NAME

MAX_PORTS = 256
LAST_TICK = 2**28 - 1
"""Four bytes of seven bits: the longest wait between two events."""

_PITCHED = [channel for channel in range(16) if channel != 9]
_DRUMS = 9
_SET_UP, _BANK, _PROGRAM, _CONTROL, _BEND, _OFF, _ON = range(7)
_BANK_CONTROLS = (0, 32)

_Event = tuple[int, int, int, bytes]  # tick, kind (the order at one tick), pitch, message


def file_bytes(midi: pretty_midi.PrettyMIDI) -> bytes:
    """Return the file.

    Raises
    ------
    ValueError, TypeError
        If `midi` holds what no MIDI file can say.
    """
    charset = "latin-1" if _fits_latin1(midi) else "utf-8"
    tracks = [_conductor_track(midi, charset)]
    drums = 0
    for number, instrument in enumerate(midi.instruments):
        place, channel = divmod(number, len(_PITCHED))
        channel = _PITCHED[channel]
        if instrument.is_drum:
            place, channel, drums = drums, _DRUMS, drums + 1
        events = [
            *_set_up(instrument, place % MAX_PORTS, channel, charset),
            *_settings(instrument, midi, channel),
            *_notes(instrument, midi, channel),
        ]
        tracks.append(_track(events))
    resolution = _within(midi.resolution, 1, 32_767, "a resolution")
    n_tracks = _within(len(tracks), 1, 65_535, "a number of tracks")
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, n_tracks, resolution)
    return header + b"".join(tracks)


def _fits_latin1(midi: pretty_midi.PrettyMIDI) -> bool:
    texts = [event.text for event in (*midi.lyrics, *midi.text_events)]
    texts += [instrument.name for instrument in midi.instruments]
    try:
        "".join(texts).encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _conductor_track(midi: pretty_midi.PrettyMIDI, charset: str) -> bytes:
    """Give the track of tempi, signatures and texts, as pretty_midi writes it."""
    copied = copy.copy(midi)
    nudge = 1 + 1e-12  # lifts 749999.9999999999 over 750000, and nothing else
    copied._tick_scales = [(tick, scale * nudge) for tick, scale in midi._tick_scales]
    copied._charset = charset
    copied.instruments = []
    memory = io.BytesIO()
    copied.write(memory)
    return memory.getvalue()[14:]  # behind the header


def _set_up(
    instrument: pretty_midi.Instrument, port: int, channel: int, charset: str
) -> list[_Event]:
    program = _within(instrument.program, 0, 127, "a program")
    events = [(0, _PROGRAM, 0, bytes([0xC0 | channel, program]))]
    if port:
        events.append((0, _SET_UP, 0, _meta(PORT, bytes([port]))))
    if instrument.name:
        events.append((0, _SET_UP, 0, _meta(TRACK_NAME, instrument.name.encode(charset))))
    return events


def _settings(
    instrument: pretty_midi.Instrument, midi: pretty_midi.PrettyMIDI, channel: int
) -> list[_Event]:
    """Give controllers and bends; those of one tick stay in the order of their list."""
    events = []
    for tick, change in zip(
        _ticks(midi, [change.time for change in instrument.control_changes]),
        instrument.control_changes,
        strict=True,
    ):
        number = _within(change.number, 0, 127, "a controller")
        value = _within(change.value, 0, 127, f"controller {number}")
        kind = _BANK if number in _BANK_CONTROLS else _CONTROL
        events.append((tick, kind, 0, bytes([0xB0 | channel, number, value])))
    for tick, bend in zip(
        _ticks(midi, [bend.time for bend in instrument.pitch_bends]),
        instrument.pitch_bends,
        strict=True,
    ):
        value = _within(bend.pitch, -8192, 8191, "a pitch bend") + 8192
        events.append((tick, _BEND, 0, bytes([0xE0 | channel, value & 0x7F, value >> 7])))
    return events


def _notes(
    instrument: pretty_midi.Instrument, midi: pretty_midi.PrettyMIDI, channel: int
) -> list[_Event]:
    starts = _ticks(midi, [note.start for note in instrument.notes])
    ends = _ticks(midi, [note.end for note in instrument.notes])
    events = []
    for start, end, note in zip(starts, ends, instrument.notes, strict=True):
        pitch = _within(note.pitch, 0, 127, "a pitch")
        velocity = _within(note.velocity, 1, 127, "a velocity")
        events.append((start, _ON, pitch, bytes([0x90 | channel, pitch, velocity])))
        events.append((max(end, start + 1), _OFF, pitch, bytes([0x90 | channel, pitch, 0])))
    return events


def _ticks(midi: pretty_midi.PrettyMIDI, times: list[float]) -> list[int]:
    seconds = np.array(times, dtype=float)
    if not (np.isfinite(seconds) & (seconds >= 0)).all():
        raise ValueError("an event's time must be finite, 0 or later")
    ticks = ticks_at(midi, seconds)
    if (ticks > LAST_TICK).any():
        raise ValueError(f"an event lies behind tick {LAST_TICK:,}")
    return ticks.tolist()


def _within(value: float, low: int, high: int, what: str) -> int:
    if not (low <= value <= high and value % 1 == 0):
        raise ValueError(f"{what} of {value}, allowed are {low} to {high}")
    return int(value)


def _track(events: list[_Event]) -> bytes:
    """Give the chunk of a track; its end stands a tick after its last event."""
    events.sort(key=lambda event: event[:3])
    now, body = 0, bytearray()
    for tick, _, _, message in events:
        body += _quantity(tick - now) + message
        now = tick
    body += _quantity(1) + _meta(END_OF_TRACK, b"")
    return struct.pack(">4sI", b"MTrk", len(body)) + body


def _meta(kind: int, payload: bytes) -> bytes:
    return bytes([META, kind]) + _quantity(len(payload)) + payload


def _quantity(value: int) -> bytes:
    """Write a number in bytes of seven bits, all but the last with their highest bit set."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
