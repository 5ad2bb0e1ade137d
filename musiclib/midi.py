"""Read untrusted MIDI files, write MIDI files, list notes: no other module does.

Times are seconds or quarter notes, never frames; pitch and velocity are MIDI numbers, 0 to 127.
`load_midi` reads with our own bounded reader (`musiclib.smf`, which states its rules) and builds
pretty_midi's object: on a damaged file, pretty_midi itself raises any of nine exceptions, hangs, or
fills the memory. The table from ticks to seconds is pretty_midi's own, so times agree to the last
bit. A file may hold `MAX_BYTES` bytes, `MAX_TICK` ticks, `MAX_SECONDS` seconds, and notes and
events as `musiclib.smf` says; a file that exceeds them is refused, with the figure.
"""

from __future__ import annotations

import copy
import io
import os
import struct
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pretty_midi

from musiclib import smf
from musiclib.files import atomic_path, read_regular
from musiclib.smf import Repairs, Score, SmfError

MAX_BYTES = 8 * 1024 * 1024
MAX_SECONDS = 24 * 3600
MAX_TICK = 9_999_999  # PrettyMIDI.tick_to_time fails from 10,000,000 on; the table takes 80 MB
MIN_RESOLUTION = 480  # ticks per quarter note below which a long file is not thinned
PEDAL, PEDAL_DOWN = 64, 64  # controller number; lowest value that counts as down
RESET = 121  # controller number: all controllers go back, so the pedal goes up
LATEST_RELEASE = 10.0  # seconds after the last note's end at which a pedal's release still counts
_FLOATS = ("onset_quarter", "duration_quarter", "onset_sec", "duration_sec")
NOTE_DTYPE = np.dtype(
    [(name, "f8") for name in _FLOATS] + [(name, "i2") for name in ("pitch", "velocity", "track")]
)
_DEFAULT_TEMPO = 500_000  # microseconds per quarter note, until the file says otherwise
_LAST_TICK = 2**28 - 1  # four bytes of seven bits: the longest wait between two events
_SET_UP, _BANK, _PROGRAM, _CONTROL, _BEND, _OFF, _ON = range(7)  # the order at one tick
_Message = tuple[int, int, int, bytes]  # tick, order at one tick, pitch, bytes


class MidiFileError(ValueError):
    """Say which MIDI file cannot be read or written, and why."""


class MidiRepairWarning(UserWarning):
    """Say which damaged MIDI file was read anyway, and what was lost."""


def load_midi(path: str | os.PathLike[str]) -> pretty_midi.PrettyMIDI:
    """Read a MIDI file that may be damaged, odd or hostile.

    Equals ``pretty_midi.PrettyMIDI(path)`` for ordinary files of types 0 and 1, except that each
    instrument holds all settings of its channel, whatever track they are on (see `musiclib.smf`).
    It may hold no note at all. For its length see `sound_end`.

    `MidiFileError` names the file and the reason: it is missing, not a regular file, not MIDI, of
    type 2, in SMPTE time, or beyond a bound. `MidiRepairWarning` says what was repaired (``tracks
    cut short by damage: 1``). Texts are read as Latin-1.
    """
    return parse_midi(read_midi_bytes(path), name=printable(path), stacklevel=3)


def read_midi_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file of at most ``MAX_BYTES`` bytes whole, or raise `MidiFileError`."""
    if "\0" in os.fsdecode(path):
        raise MidiFileError(f"cannot read {printable(path)}: its name holds a null character")
    try:
        return read_regular(path, limit=MAX_BYTES)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise MidiFileError(f"cannot read {printable(path)}: {reason}") from error
    except ValueError as error:  # its sentence names the file already
        raise MidiFileError(printable(str(error))) from None


def parse_midi(data: bytes, *, name: str, stacklevel: int = 2) -> pretty_midi.PrettyMIDI:
    """Read the bytes of a MIDI file as `load_midi` does; errors and warnings call it `name`."""
    repairs = Repairs()
    try:
        midi = _build_midi(smf.read_score(data, repairs), repairs)
    except SmfError as error:
        raise MidiFileError(f"cannot read {name}: {error}") from None
    if repairs:
        done = "; ".join(f"{what}: {count:,}" for what, count in repairs.items())
        warnings.warn(f"{name} was repaired: {done}", MidiRepairWarning, stacklevel=stacklevel)
    return midi


def printable(path: str | os.PathLike[str]) -> str:
    """Return `path` as text that any terminal and file can take, on one line."""
    text = os.fsdecode(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _build_midi(score: Score, repairs: Repairs) -> pretty_midi.PrettyMIDI:
    channels = [one.channel for one in score.instruments]
    count = sum(len(score.controls[each]) + len(score.bends[each]) for each in channels)
    if count > smf.MAX_EVENTS:
        raise SmfError(
            f"its instruments share {count:,} control changes and pitch bends, "
            f"and at most {smf.MAX_EVENTS:,} are read"
        )
    _cut_late_events(score, repairs)
    if score.last_tick > MAX_TICK:
        _thin(score, repairs)
    if (seconds := _seconds_at(score, score.last_tick)) > MAX_SECONDS:
        hours = f"{seconds / 3600:,.0f} hours, and at most {MAX_SECONDS // 3600} are read"
        raise SmfError(f"it lasts {hours}")
    if not _fits(score, score.end_tick):
        repairs["ticks of silence cut at the end"] += score.end_tick - score.last_tick
        score.end_tick = score.last_tick
    midi = pretty_midi.PrettyMIDI(resolution=score.resolution)
    midi._tick_scales = _tick_scales(score)
    midi._update_tick_to_time(score.end_tick + 1)
    table = tick_table(midi)

    def timed(kind: int) -> Iterator[tuple[Any, float]]:
        return ((value, float(table[tick])) for tick, value in score.metas[kind])

    keys, meters = timed(smf.KEY_SIGNATURE), timed(smf.TIME_SIGNATURE)
    midi.key_signature_changes = [pretty_midi.KeySignature(*one) for one in keys]
    midi.time_signature_changes = [pretty_midi.TimeSignature(*one, time) for one, time in meters]
    midi.lyrics = [pretty_midi.Lyric(*one) for one in timed(smf.LYRIC)]
    midi.text_events = [pretty_midi.Text(*one) for one in timed(smf.TEXT)]
    midi.instruments = [_build_instrument(one, score, table) for one in score.instruments]
    return midi


def _build_instrument(one: smf.Instrument, score: Score, table: np.ndarray) -> Any:
    def build(kind: type, *columns: np.ndarray) -> list[Any]:
        return list(map(kind, *(column.tolist() for column in columns)))

    built = pretty_midi.Instrument(one.program, one.is_drum, one.name)
    start, end, pitch, velocity = one.notes.T
    built.notes = build(pretty_midi.Note, velocity, pitch, table[start], table[end])
    tick, number, value = score.controls[one.channel].T
    built.control_changes = build(pretty_midi.ControlChange, number, value, table[tick])
    tick, bend = score.bends[one.channel].T
    built.pitch_bends = build(pretty_midi.PitchBend, bend, table[tick])
    return built


def _tick_scales(score: Score) -> list[tuple[int, float]]:
    scales = []
    for tick, tempo in [(0, _DEFAULT_TEMPO), *score.metas[smf.TEMPO]]:
        scale = 60.0 / ((6e7 / tempo) * score.resolution)  # in pretty_midi's order: same last bit
        if tick == 0:
            scales = [(0, scale)]
        elif scale != scales[-1][1]:
            scales.append((tick, scale))
    return scales


def _seconds_at(score: Score, tick: int) -> float:
    scales = [(start, scale) for start, scale in _tick_scales(score) if start <= tick]
    seconds = 0.0
    for (start, scale), (end, _) in pairwise([*scales, (tick, 0.0)]):
        seconds += scale * (end - start)
    return seconds


def _fits(score: Score, tick: int) -> bool:
    return tick <= MAX_TICK and _seconds_at(score, tick) <= MAX_SECONDS


def _cut_late_events(score: Score, repairs: Repairs) -> None:
    last = max((int(one.notes[:, 1].max()) for one in score.instruments), default=0)
    if not last or _fits(score, score.last_tick) or not _fits(score, last):
        return
    for settings in (score.controls, score.bends):
        for channel, table in settings.items():
            settings[channel] = table[table[:, 0] <= last]
    for pairs in score.metas.values():
        pairs[:] = [(tick, value) for tick, value in pairs if tick <= last]
    repairs["ticks with events cut after the last note"] += score.last_tick - last
    score.last_tick = score.end_tick = last


def _thin(score: Score, repairs: Repairs) -> None:
    old, floor = score.resolution, min(score.resolution, MIN_RESOLUTION)
    new = old * MAX_TICK // score.last_tick
    if new < floor:
        raise SmfError(
            f"its last event is at tick {score.last_tick:,} ({score.last_tick // old:,} quarter "
            f"notes), and at most {MAX_TICK:,} ticks of 1/{floor} are read"
        )

    def rounded(tick: Any) -> Any:  # a number or an array
        return (2 * tick * new + old) // (2 * old)

    for table in (*score.controls.values(), *score.bends.values()):
        table[:, 0] = rounded(table[:, 0])
    for one in score.instruments:
        one.notes[:, :2] = rounded(one.notes[:, :2])
        one.notes[:, 1] = np.maximum(one.notes[:, 1], one.notes[:, 0] + 1)
    for pairs in score.metas.values():
        pairs[:] = [(rounded(tick), value) for tick, value in pairs]
    score.last_tick, score.end_tick = rounded(score.last_tick), rounded(score.end_tick)
    score.resolution = new
    repairs["ticks per quarter note lowered to"] = new


def tick_table(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Return the time of each tick in seconds, shape (n_ticks,); only one if not from a file."""
    return np.asarray(midi._PrettyMIDI__tick_to_time, dtype=float)


def ticks_at(midi: pretty_midi.PrettyMIDI, times: np.ndarray) -> np.ndarray:
    """Return the ticks nearest to `times` (the later if tied); past the table at the last tempo."""
    table, times = tick_table(midi), np.asarray(times, dtype=float)
    right = np.searchsorted(table, times, side="left")
    behind = right == len(table)
    right = np.minimum(right, len(table) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(times - table[left]) < np.abs(times - table[right]), left, right)
    extra = np.rint(len(table) - 1 + (times - table[-1]) / midi._tick_scales[-1][1])
    return np.where(behind, extra, nearest).astype(np.int64)


def save_midi(midi: pretty_midi.PrettyMIDI, path: str | os.PathLike[str]) -> None:
    """Write `midi` to `path` as a MIDI file of type 1, atomically; missing folders are created.

    `MidiFileError` says what no MIDI file can hold: a pitch outside 0 to 127, a velocity outside 1
    to 127 (0 is a note's end), a note that starts before 0, does not end after its start or lies
    beyond tick 268,435,455, a tempo under 3.6 quarter notes per minute. An earlier file stays.

    Each instrument has a track and a channel of its own: 15 pitched ones share a port, and each
    further percussion track takes a further port. So no track sets the channel of another, and the
    controllers of one tick stay in order (pretty_midi sorts them by number, which breaks up a bend
    range). Tempi are rounded to microseconds (pretty_midi truncates them). Names and texts are
    Latin-1 if that can encode them all, else UTF-8. No file can say which of two sounding notes of
    one pitch and track ends, so a note within another ends both.
    """
    try:
        data = _file_bytes(midi)
    except (ValueError, TypeError) as error:
        raise MidiFileError(f"cannot write {printable(path)}: {error}") from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _file_bytes(midi: pretty_midi.PrettyMIDI) -> bytes:
    texts = [event.text for event in (*midi.lyrics, *midi.text_events)]
    texts += [instrument.name for instrument in midi.instruments]
    charset = "latin-1" if all(ord(each) < 256 for each in "".join(texts)) else "utf-8"
    conductor, memory = copy.copy(midi), io.BytesIO()  # tempi, signatures, texts as pretty_midi's
    nudge = 1 + 1e-12  # lifts 749999.9999999999 over 750000, and nothing else
    conductor._tick_scales = [(tick, scale * nudge) for tick, scale in midi._tick_scales]
    conductor._charset, conductor.instruments = charset, []
    conductor.write(memory)
    tracks, n_drums = [memory.getvalue()[14:]], 0  # after the header
    for number, instrument in enumerate(midi.instruments):
        port, place = divmod(number, 15)
        channel = place + (place >= smf.DRUM_CHANNEL)
        if instrument.is_drum:
            port, channel, n_drums = n_drums, smf.DRUM_CHANNEL, n_drums + 1
        program = _within(instrument.program, 0, 127, "a program")
        messages = [(0, _PROGRAM, 0, bytes([0xC0 | channel, program]))]
        if port := port % 256:
            messages.append((0, _SET_UP, 0, _meta(smf.PORT, bytes([port]))))
        if instrument.name:
            messages.append((0, _SET_UP, 0, _meta(smf.TRACK_NAME, instrument.name.encode(charset))))
        tracks.append(_track([*messages, *_channel_messages(instrument, midi, channel)]))
    resolution = _within(midi.resolution, 1, 32_767, "a resolution")
    n_tracks = _within(len(tracks), 1, 65_535, "a number of tracks")
    return struct.pack(">4sIHHH", b"MThd", 6, 1, n_tracks, resolution) + b"".join(tracks)


def _channel_messages(one: pretty_midi.Instrument, midi: Any, channel: int) -> Iterator[_Message]:
    for tick, change in _timed(midi, one.control_changes, "time"):
        number = _within(change.number, 0, 127, "a controller")
        value = _within(change.value, 0, 127, f"controller {number}")
        order = _BANK if number in (0, 32) else _CONTROL
        yield tick, order, 0, bytes([0xB0 | channel, number, value])
    for tick, bend in _timed(midi, one.pitch_bends, "time"):
        value = _within(bend.pitch, -8192, 8191, "a pitch bend") + 8192
        yield tick, _BEND, 0, bytes([0xE0 | channel, value & 0x7F, value >> 7])
    starts = [start for start, _ in _timed(midi, one.notes, "start")]
    for start, (end, note) in zip(starts, _timed(midi, one.notes, "end"), strict=True):
        if not note.start < note.end:
            raise ValueError(f"a note must end after its start ({note})")
        pitch = _within(note.pitch, 0, 127, "a pitch")
        velocity = _within(note.velocity, 1, 127, "a velocity")
        yield start, _ON, pitch, bytes([0x90 | channel, pitch, velocity])
        yield max(end, start + 1), _OFF, pitch, bytes([0x90 | channel, pitch, 0])


def _timed(midi: Any, events: list[Any], name: str) -> Iterator[tuple[int, Any]]:
    seconds = np.array([getattr(event, name) for event in events], dtype=float)
    if not (np.isfinite(seconds) & (seconds >= 0)).all():
        raise ValueError("an event's time must be finite, 0 or later")
    ticks = ticks_at(midi, seconds)
    if (ticks > _LAST_TICK).any():
        raise ValueError(f"an event lies beyond tick {_LAST_TICK:,}")
    return zip(ticks.tolist(), events, strict=True)


def _within(value: float, low: int, high: int, what: str) -> int:
    if not (low <= value <= high and value % 1 == 0):
        raise ValueError(f"{what} of {value}; allowed: {low} to {high}")
    return int(value)


def _track(messages: list[_Message]) -> bytes:
    messages.sort(key=lambda message: message[:3])
    now, body = 0, bytearray()
    for tick, _, _, message in messages:
        body += _quantity(tick - now) + message
        now = tick
    body += _quantity(1) + _meta(smf.END_OF_TRACK, b"")
    return struct.pack(">4sI", b"MTrk", len(body)) + body


def _meta(kind: int, payload: bytes) -> bytes:
    return bytes([smf.META, kind]) + _quantity(len(payload)) + payload


def _quantity(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def note_array(midi: pretty_midi.PrettyMIDI, *, sustain_pedal: bool = False) -> np.ndarray:
    """List the notes of all pitched instruments as ``NOTE_DTYPE``, shape (n_notes,).

    `track` is the index in ``midi.instruments``; sorted by onset, then pitch, then track. Quarter
    notes are ticks (as `PrettyMIDI.time_to_tick` finds them) divided by ``midi.resolution``, so
    they are exact to a tick whatever the tempo does.

    With `sustain_pedal` notes keep sounding while the pedal is down: from a control change 64 of
    value 64 or more (MIDI 1.0) to the next one below, or to a reset of all controllers (121). A
    note that ends while it is down, or as it goes down, sounds until its release, but not beyond
    the next onset of its pitch in the same instrument, and never shorter than played (the rule of
    Hawthorne et al., Onsets and Frames, ISMIR 2018). A pedal that is not released within
    `LATEST_RELEASE` of the last note's end is taken to be released there (our choice).
    """
    last = _last_note_end(midi) if sustain_pedal else None
    parts = enumerate(midi.instruments)
    rows = [_rows(one, track, last) for track, one in parts if not one.is_drum]
    table = np.concatenate([np.zeros((0, 5)), *rows])
    table = table[np.lexsort((table[:, 2], table[:, 0]))]  # stable: tracks stay in order
    start, end, pitch, velocity, track = table.T
    if len(table) and not (start.min() >= 0 and np.isfinite(end).all() and (start <= end).all()):
        raise ValueError(
            "midi: a note's start must be 0 s or later, its end finite and not before its start; "
            f"the first starts at {start.min()} s, the last ends at {end.max()} s"
        )
    ticks = ticks_at(midi, np.concatenate([start, end])).reshape(2, -1)
    notes = np.zeros(len(table), dtype=NOTE_DTYPE)
    notes["onset_quarter"] = ticks[0] / midi.resolution
    notes["duration_quarter"] = (ticks[1] - ticks[0]) / midi.resolution
    notes["onset_sec"], notes["duration_sec"] = start, end - start
    notes["pitch"], notes["velocity"], notes["track"] = pitch, velocity, track
    return notes


def sound_end(midi: pretty_midi.PrettyMIDI) -> float:
    """Return when the last note falls silent, pedal considered: seconds, 0 without notes."""
    last = _last_note_end(midi)
    ends = (_rows(one, 0, last)[:, 1].max() for one in midi.instruments if one.notes)
    return float(max(ends, default=0.0))


def _last_note_end(midi: pretty_midi.PrettyMIDI) -> float:
    return max((note.end for one in midi.instruments for note in one.notes), default=0.0)


def _rows(instrument: pretty_midi.Instrument, track: int, last: float | None) -> np.ndarray:
    """Return start, end, pitch, velocity, track; the pedal counts if `last` is given."""
    notes = [(one.start, one.end, one.pitch, one.velocity, track) for one in instrument.notes]
    rows = np.array(notes, dtype=float).reshape(-1, 5)
    if last is None:
        return rows
    start, end, pitch = rows[:, :3].T
    pedals = [event for event in instrument.control_changes if event.number in (PEDAL, RESET)]
    pedals.sort(key=lambda event: event.time)
    times = np.array([-np.inf] + [event.time for event in pedals])
    down = np.array([False] + [e.number == PEDAL and e.value >= PEDAL_DOWN for e in pedals])
    releases = np.where(down, np.inf, times)
    next_release = np.minimum.accumulate(releases[::-1])[::-1]  # at or after each event
    now = np.searchsorted(times, end, side="right") - 1
    release = np.where(down[now], next_release[now], end)
    release = np.where(release > last + LATEST_RELEASE, last, release)
    for key in np.unique(pitch):  # no further than the pitch's next onset
        chosen = np.flatnonzero(pitch == key)
        onsets = np.append(np.sort(start[chosen]), np.inf)
        following = onsets[np.searchsorted(onsets, start[chosen], side="right")]
        release[chosen] = np.minimum(release[chosen], following)
    rows[:, 1] = np.maximum(end, release)
    return rows
