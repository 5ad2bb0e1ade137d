"""Open untrusted MIDI files, save MIDI files, list notes: the one door to MIDI.

Conventions: times are seconds or quarter notes, never frames; pitch and velocity are MIDI numbers,
0 to 127. `load_midi` reads with our own bounded reader (`smf`, `smf_events`), applies
pretty_midi's rules (`midi_events`) and builds pretty_midi's object (`midi_build`). pretty_midi
itself answers a damaged file with any of nine exceptions, hangs, or fills the memory.

Bounds: a file may hold `MAX_BYTES` bytes, `MAX_NOTES` notes, `MAX_EVENTS` events, `MAX_TICK`
ticks and `MAX_SECONDS` seconds; what exceeds them is refused with the figure.
"""

from __future__ import annotations

import copy
import io
import os
import struct
import warnings
from itertools import pairwise

import numpy as np
import pretty_midi

from musiclib.files import atomic_path, read_regular
from musiclib.smf import (
    END_OF_TRACK,
    MAX_EVENTS,
    META,
    PORT,
    TRACK_NAME,
    Part,
    Repairs,
    Score,
    SmfError,
    read_score,
    unwrap_riff,
)

# ---- musiclib.midi ----
# Build a `pretty_midi.PrettyMIDI` from a score in ticks, once it is known to fit.
#
# Conventions: the object's table from ticks to seconds is pretty_midi's own (its
# `_update_tick_to_time`), so times agree with pretty_midi's to the last bit. The table has one
# float64 a tick; its length is bounded before it is made.


MAX_TICK = 9_999_999  # PrettyMIDI.tick_to_time fails from 10,000,000 on; the table takes 80 MB
MIN_RESOLUTION = 480  # ticks per quarter note below which a long file is not thinned
MAX_SECONDS = 24 * 3600

_DEFAULT_TEMPO = 500_000  # microseconds per quarter note, until the file says otherwise


def build_midi(score: Score, repairs: Repairs) -> pretty_midi.PrettyMIDI:
    """Build the object that pretty_midi would have built.

    Parameters
    ----------
    score : Score
        As read; its ticks may be thinned in place.
    repairs : Repairs
        What was repaired is counted here.

    Returns
    -------
    pretty_midi.PrettyMIDI

    Raises
    ------
    SmfError
        If the piece is longer than ``MAX_SECONDS`` or, at ``MIN_RESOLUTION``, than ``MAX_TICK``
        ticks, or its instruments share too many control changes.

    Notes
    -----
    Our choice: a file with more than ``MAX_TICK`` ticks at a fine resolution (pretty_midi refuses
    it) is thinned to a coarser one, which moves events by at most half a new tick: 1/960 quarter
    note at worst, about 1 ms. What stands after the last note and would exceed a bound is cut.
    """
    _require_few_shared(score)
    _cut_late_events(score, repairs)
    if score.last_tick > MAX_TICK:
        _thin(score, repairs)
    midi = pretty_midi.PrettyMIDI(resolution=score.resolution)
    midi._tick_scales = tick_scales(score)
    midi._update_tick_to_time(_last_tick_of_table(score, midi._tick_scales, repairs) + 1)
    table = tick_table(midi)
    _add_metas(midi, score, table)
    midi.instruments = [_instrument(part, table) for part in score.parts]
    return midi


def tick_table(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Give the time of each tick.

    Returns
    -------
    np.ndarray, shape (n_ticks,)
        Seconds, rising; not a copy. One tick only for an object that was not read from a file.
    """
    return np.asarray(midi._PrettyMIDI__tick_to_time, dtype=float)


def ticks_at(midi: pretty_midi.PrettyMIDI, times: np.ndarray) -> np.ndarray:
    """Give the ticks nearest to `times`: `PrettyMIDI.time_to_tick` for a whole array.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        Its table and tempi are used.
    times : np.ndarray, shape (n,)
        Seconds.

    Returns
    -------
    np.ndarray of int64, shape (n,)
        Of two ticks equally near, the later; behind the table, by the last tempo.

    Examples
    --------
    >>> midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=60)
    >>> ticks_at(midi, np.array([0.0, 0.5, 2.0]))
    array([  0, 240, 960])
    """
    table, times = tick_table(midi), np.asarray(times, dtype=float)
    right = np.searchsorted(table, times, side="left")
    behind = right == len(table)
    right = np.minimum(right, len(table) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(times - table[left]) < np.abs(times - table[right]), left, right)
    extra = np.rint(len(table) - 1 + (times - table[-1]) / midi._tick_scales[-1][1])
    return np.where(behind, extra, nearest).astype(np.int64)


def tick_scales(score: Score) -> list[tuple[int, float]]:
    """Give (tick, seconds per tick from there on) for each change of tempo, first tick 0.

    As pretty_midi does it: the last tempo at tick 0 stands; a tempo that is said again is none.
    """
    scales = [(0, _seconds_per_tick(_DEFAULT_TEMPO, score.resolution))]
    for tick, tempo in score.tempi:
        scale = _seconds_per_tick(tempo, score.resolution)
        if tick == 0:
            scales = [(0, scale)]
        elif scale != scales[-1][1]:
            scales.append((tick, scale))
    return scales


def _seconds_per_tick(tempo: int, resolution: int) -> float:
    return 60.0 / ((6e7 / tempo) * resolution)  # in pretty_midi's order, for the same last bit


def _require_few_shared(score: Score) -> None:
    count = sum(len(part.controls) + len(part.bends) for part in score.parts)
    if count > MAX_EVENTS:
        raise SmfError(
            f"its instruments share {count:,} control changes and pitch bends, "
            f"and at most {MAX_EVENTS:,} are read"
        )


def _cut_late_events(score: Score, repairs: Repairs) -> None:
    """Leave out what stands after the last note, where it alone would make the piece too long."""
    last = score.last_note
    if not last or _fits(score, score.last_tick) or not _fits(score, last):
        return
    kept = {id(a): a[a[:, 0] <= last] for p in score.parts for a in (p.controls, p.bends)}
    for part in score.parts:
        part.controls, part.bends = kept[id(part.controls)], kept[id(part.bends)]
    for pairs in score.metas():
        pairs[:] = [(tick, what) for tick, what in pairs if tick <= last]
    repairs["ticks with events cut after the last note"] += score.last_tick - last
    score.last_tick = score.end_tick = last


def _fits(score: Score, tick: int) -> bool:
    """Say whether a piece of so many ticks is within the bounds."""
    scales = [(start, scale) for start, scale in tick_scales(score) if start <= tick]
    return tick <= MAX_TICK and _seconds_at(tick, scales) <= MAX_SECONDS


def _thin(score: Score, repairs: Repairs) -> None:
    """Lower the resolution of `score` so that its last tick is at most ``MAX_TICK``."""
    old = score.resolution
    new = old * MAX_TICK // score.last_tick
    if new < min(old, MIN_RESOLUTION):
        raise SmfError(
            f"its last event is at tick {score.last_tick:,} ({score.last_tick // old:,} quarter "
            f"notes), and at most {MAX_TICK:,} ticks of 1/{min(old, MIN_RESOLUTION)} are read"
        )
    shared = {id(a): a for part in score.parts for a in (part.controls, part.bends)}
    for settings in shared.values():
        settings[:, 0] = _rounded(settings[:, 0], old, new)
    for part in score.parts:
        part.notes[:, :2] = _rounded(part.notes[:, :2], old, new)
        part.notes[:, 1] = np.maximum(part.notes[:, 1], part.notes[:, 0] + 1)
    for pairs in score.metas():
        pairs[:] = [(_rounded(tick, old, new), what) for tick, what in pairs]
    score.last_tick = _rounded(score.last_tick, old, new)
    score.end_tick = _rounded(score.end_tick, old, new)
    score.resolution = new
    repairs["ticks per quarter note lowered to"] = new


def _rounded(tick, old: int, new: int):
    """Give the tick at resolution `new` nearest to `tick` (a number or an array) at `old`."""
    return (2 * tick * new + old) // (2 * old)


def _last_tick_of_table(score: Score, scales: list[tuple[int, float]], repairs: Repairs) -> int:
    """Give the last tick to keep: the end of the longest track, if that is within bounds."""
    seconds = _seconds_at(score.last_tick, scales)
    if seconds > MAX_SECONDS:
        raise SmfError(
            f"it lasts {seconds / 3600:,.0f} hours, and at most {MAX_SECONDS // 3600} are read"
        )
    end = score.end_tick
    if end > MAX_TICK or _seconds_at(end, scales) > MAX_SECONDS:
        repairs["ticks of silence cut at the end"] += end - score.last_tick
        return score.last_tick
    return max(end, score.last_tick)


def _seconds_at(tick: int, scales: list[tuple[int, float]]) -> float:
    seconds = 0.0
    for (start, scale), (end, _) in pairwise([*scales, (tick, 0.0)]):
        seconds += scale * (end - start)
    return seconds


def _add_metas(midi: pretty_midi.PrettyMIDI, score: Score, table: np.ndarray) -> None:
    def at(tick: int) -> float:
        return float(table[tick])

    midi.key_signature_changes = [
        pretty_midi.KeySignature(key, at(tick)) for tick, key in score.key_signatures
    ]
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(*meter, at(tick)) for tick, meter in score.time_signatures
    ]
    midi.lyrics = [pretty_midi.Lyric(text, at(tick)) for tick, text in score.lyrics]
    midi.text_events = [pretty_midi.Text(text, at(tick)) for tick, text in score.texts]


def _instrument(part: Part, table: np.ndarray) -> pretty_midi.Instrument:
    instrument = pretty_midi.Instrument(part.program, part.is_drum, part.name)
    start, end, pitch, velocity = part.notes.T
    instrument.notes = list(
        map(
            pretty_midi.Note,
            velocity.tolist(),
            pitch.tolist(),
            table[start].tolist(),
            table[end].tolist(),
        )
    )
    tick, number, value = part.controls.T
    instrument.control_changes = list(
        map(pretty_midi.ControlChange, number.tolist(), value.tolist(), table[tick].tolist())
    )
    tick, bend = part.bends.T
    instrument.pitch_bends = list(map(pretty_midi.PitchBend, bend.tolist(), table[tick].tolist()))
    return instrument


# ---- musiclib.midi ----
# Write a `pretty_midi.PrettyMIDI` as the bytes of a MIDI file that holds what the object holds.
#
# Conventions: a track per instrument, each on a channel of its own: 15 pitched ones share a port,
# and each further percussion track takes a further port. So no track sets the channel of another.
# pretty_midi uses channels twice instead, and sorts the controllers of one tick by their number,
# which takes a bend range (controllers 101, 100, 6) apart.


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


MAX_BYTES = 8 * 1024 * 1024
PEDAL, PEDAL_DOWN = 64, 64  # controller number; lowest value that counts as down
RESET = 121  # controller number: all controllers go back, so the pedal goes up
LATEST_RELEASE = 10.0
"""Seconds after the last note's end up to which a pedal's release still counts."""
NOTE_DTYPE = np.dtype(
    [
        ("onset_quarter", "f8"),
        ("duration_quarter", "f8"),
        ("onset_sec", "f8"),
        ("duration_sec", "f8"),
        ("pitch", "i2"),
        ("velocity", "i2"),
        ("track", "i2"),
    ]
)


class MidiFileError(ValueError):
    """Say which MIDI file cannot be read or written, and why."""


class MidiRepairWarning(UserWarning):
    """Say which damaged MIDI file was read all the same, and what was lost."""


def load_midi(path: str | os.PathLike[str]) -> pretty_midi.PrettyMIDI:
    """Read a MIDI file that may be damaged, odd or hostile.

    Parameters
    ----------
    path : str or os.PathLike
        A regular file, or a link to one, of at most ``MAX_BYTES`` bytes.

    Returns
    -------
    pretty_midi.PrettyMIDI
        Equal to ``pretty_midi.PrettyMIDI(path)`` for ordinary files of types 0 and 1, but for the
        points in Notes. It may hold no note at all: whether that will do is for the caller to say.

    Raises
    ------
    MidiFileError
        If the file does not exist, is no regular file, is no MIDI file, is of type 2, counts time
        in SMPTE frames, or exceeds a bound. The message names the file and the reason.

    Warns
    -----
    MidiRepairWarning
        If damage was repaired; it says what was lost, as in ``tracks cut short by damage: 1``.

    Notes
    -----
    Where this departs from pretty_midi: program, controllers (volume, expression, pan, pedal, bend
    range) and pitch bends are the channel's, on whatever track they stand, and last over a change
    of program; a note has the program set when it starts. So each instrument holds all settings of
    its channel. Tempo and signatures count on any track; "all notes off" ends notes; drum kits on
    other channels than the tenth are percussion, by their bank or their track's name. The rules
    stand in `midi_events` and `midi_channels`.

    Length is not ``get_end_time()``, which counts a late tempo or controller too: see `sound_end`.

    What is repaired: tracks that are cut off or of a wrong length, missing or extra tracks,
    missing end-of-track events, values above 127 (set to 127), signatures and tempi out of range
    (left out), notes that never end or have no length (left out), endless silence or events far
    behind the last note (cut), drums named as such on a channel of their own (made percussion).
    Texts are read as Latin-1, as pretty_midi does, so that any byte is a character.
    """
    name = printable(path)
    return parse_midi(read_midi_bytes(path), name=name, stacklevel=3)


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
    """Read the bytes of a MIDI file, as `load_midi` reads a file.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What errors and warnings call it.
    stacklevel : int
        As `warnings.warn` takes it: 2 blames the caller.

    Returns
    -------
    pretty_midi.PrettyMIDI

    Raises
    ------
    MidiFileError
        As `load_midi`.
    """
    repairs = Repairs()
    try:
        midi = build_midi(read_score(unwrap_riff(data), repairs), repairs)
    except SmfError as error:
        raise MidiFileError(f"cannot read {name}: {error}") from None
    if repairs:
        done = "; ".join(f"{what}: {count:,}" for what, count in repairs.items())
        warnings.warn(f"{name} was repaired: {done}", MidiRepairWarning, stacklevel=stacklevel)
    return midi


def save_midi(midi: pretty_midi.PrettyMIDI, path: str | os.PathLike[str]) -> None:
    """Write `midi` to `path` as a MIDI file of type 1, atomically.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        Left as it is.
    path : str or os.PathLike
        The file to write; missing folders are created.

    Raises
    ------
    MidiFileError
        If `midi` holds what no MIDI file can say: a pitch outside 0 to 127, a velocity outside 1
        to 127 (0 is a note's end), a note that starts before 0, does not end after its start or
        lies behind tick 268,435,455, a tempo under 3.6 quarter notes a minute. The file is left
        as it was.
    OSError
        If it cannot be written, with one sentence that says what to do.

    Notes
    -----
    pretty_midi cuts a tempo off to whole microseconds, so that 80 quarter notes a minute may
    come back as 80.0001; here it is rounded. Each instrument has a channel of its own, beyond 15
    pitched ones and one of percussion on further ports, and the controllers of one tick stay in
    order (see `midi_write`). Names and texts are written as Latin-1 where that holds all of them,
    and as UTF-8 otherwise. No file can say which of two sounding notes of one pitch and track an
    end means, so a note within another cuts that one off at its own end.
    """
    for track in midi.instruments:
        for note in track.notes:
            if problem := _unwritable(note, midi):
                raise MidiFileError(f"cannot write {printable(path)}: {problem} ({note})")
    try:
        data = file_bytes(midi)
    except (ValueError, TypeError) as error:
        raise MidiFileError(f"cannot write {printable(path)}: {error}") from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _unwritable(note: pretty_midi.Note, midi: pretty_midi.PrettyMIDI) -> str:
    """Say why no file can hold a note; empty if one can."""
    if not 1 <= note.velocity <= 127:
        return "a velocity outside 1 to 127"
    if not 0 <= note.start < note.end < np.inf:
        return "a note must start at 0 or later, and end after its start"
    if midi.time_to_tick(note.end) > LAST_TICK:
        return f"a note ends behind tick {LAST_TICK:,}"
    return ""


def note_array(midi: pretty_midi.PrettyMIDI, *, sustain_pedal: bool = False) -> np.ndarray:
    """List the notes of all pitched instruments.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        The piece. Percussion is left out.
    sustain_pedal : bool
        Whether notes sound on while the sustain pedal is down (see Notes).

    Returns
    -------
    np.ndarray of ``NOTE_DTYPE``, shape (n_notes,)
        Onset and duration in quarter notes and in seconds, pitch, velocity, and `track`, the
        index in ``midi.instruments``; sorted by onset, then pitch, then track.

    Raises
    ------
    ValueError
        If a note's times are negative, not finite or in the wrong order; no file has such notes.

    Notes
    -----
    Quarter notes are ticks divided by ``midi.resolution``; ticks are found from seconds as
    `PrettyMIDI.time_to_tick` does, so quarters are exact to a tick whatever the tempo does.

    The pedal is down from a control change 64 of value 64 or more (MIDI 1.0) to the next one
    below, or to a reset of all controllers (121). A note that ends while it is down, or at the
    moment when it goes down, sounds to its release, but no further than the next onset of its
    pitch in the same instrument, and never shorter than played (the rule of Hawthorne et al.,
    Onsets and Frames, ISMIR 2018). A pedal that is not released within `LATEST_RELEASE` of the
    last note's end is taken to be released there, so that a late reset lengthens nothing.

    Examples
    --------
    >>> midi = pretty_midi.PrettyMIDI(initial_tempo=60)
    >>> piano = pretty_midi.Instrument(0)
    >>> piano.notes.append(pretty_midi.Note(velocity=64, pitch=60, start=1.0, end=1.5))
    >>> midi.instruments.append(piano)
    >>> note_array(midi)[["onset_quarter", "duration_quarter", "pitch"]].tolist()
    [(1.0, 0.5, 60)]
    """
    last = _last_note_end(midi)
    rows = [
        _rows(instrument, track, last if sustain_pedal else None)
        for track, instrument in enumerate(midi.instruments)
        if not instrument.is_drum
    ]
    table = np.concatenate([np.zeros((0, 5)), *rows])
    table = table[np.lexsort((table[:, 2], table[:, 0]))]  # stable: tracks stay in order
    start, end, pitch, velocity, track = table.T
    if len(table) and not (start.min() >= 0 and np.isfinite(end).all() and (start <= end).all()):
        raise ValueError(
            "midi: a note's start must be 0 s or later, its end finite and not before its start; "
            f"they start from {start.min()} s on and end by {end.max()} s"
        )
    ticks = ticks_at(midi, np.concatenate([start, end])).reshape(2, -1)
    notes = np.zeros(len(table), dtype=NOTE_DTYPE)
    notes["onset_quarter"] = ticks[0] / midi.resolution
    notes["duration_quarter"] = (ticks[1] - ticks[0]) / midi.resolution
    notes["onset_sec"], notes["duration_sec"] = start, end - start
    notes["pitch"], notes["velocity"], notes["track"] = pitch, velocity, track
    return notes


def sound_end(midi: pretty_midi.PrettyMIDI) -> float:
    """Return when the last note falls silent, held by the sustain pedal or not.

    Returns
    -------
    float
        Seconds, 0 without notes. A late tempo, signature or controller does not count, as it does
        in `PrettyMIDI.get_end_time`; percussion counts.
    """
    last = _last_note_end(midi)
    ends = (_rows(one, 0, last)[:, 1].max() for one in midi.instruments if one.notes)
    return float(max(ends, default=0.0))


def _last_note_end(midi: pretty_midi.PrettyMIDI) -> float:
    return max((note.end for one in midi.instruments for note in one.notes), default=0.0)


def printable(path: str | os.PathLike[str]) -> str:
    """Give `path` as text that any terminal and file can take, on one line."""
    text = os.fsdecode(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _rows(instrument: pretty_midi.Instrument, track: int, last: float | None) -> np.ndarray:
    """Give start, end, pitch, velocity and track, a row a note; with the pedal if `last` is given.

    `last` is the time in seconds at which the last note of the piece ends.
    """
    rows = np.array(
        [(note.start, note.end, note.pitch, note.velocity, track) for note in instrument.notes],
        dtype=float,
    ).reshape(-1, 5)
    if last is not None:
        rows[:, 1] = _pedalled_ends(rows, instrument, last)
    return rows


def _pedalled_ends(rows: np.ndarray, instrument: pretty_midi.Instrument, last: float) -> np.ndarray:
    """Give the times at which the notes of `rows` stop sounding, the pedal considered."""
    start, end, pitch = rows[:, 0], rows[:, 1], rows[:, 2]
    pedals = [event for event in instrument.control_changes if event.number in (PEDAL, RESET)]
    pedals.sort(key=lambda event: event.time)
    times = np.array([-np.inf] + [event.time for event in pedals])
    down = np.array([False] + [e.number == PEDAL and e.value >= PEDAL_DOWN for e in pedals])
    releases = np.where(down, np.inf, times)
    next_release = np.minimum.accumulate(releases[::-1])[::-1]  # at or after each event
    now = np.searchsorted(times, end, side="right") - 1
    release = np.where(down[now], next_release[now], end)
    release = np.where(release > last + LATEST_RELEASE, last, release)
    return np.maximum(end, np.minimum(release, _next_onset(start, pitch)))


def _next_onset(start: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Give for each note when its pitch begins anew, or infinity."""
    following = np.full(len(start), np.inf)
    for key in np.unique(pitch):
        chosen = np.flatnonzero(pitch == key)
        onsets = np.append(np.sort(start[chosen]), np.inf)
        following[chosen] = onsets[np.searchsorted(onsets, start[chosen], side="right")]
    return following
