"""Open untrusted MIDI files, save MIDI files, list notes: the one door to MIDI.

Conventions: times are seconds or quarter notes, never frames; pitch and velocity are MIDI numbers,
0 to 127. `load_midi` reads with our own bounded reader (`smf`, `smf_events`), applies
pretty_midi's rules (`midi_events`) and builds pretty_midi's object (`midi_build`). pretty_midi
itself answers a damaged file with any of nine exceptions, hangs, or fills the memory.

Bounds: a file may hold `MAX_BYTES` bytes, `MAX_NOTES` notes, `MAX_EVENTS` events, `MAX_TICK`
ticks and `MAX_SECONDS` seconds; what exceeds them is refused with the figure.
"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pretty_midi

from musiclib.files import atomic_path, read_regular
from musiclib.midi_build import MAX_SECONDS, MAX_TICK, build_midi, ticks_at
from musiclib.midi_events import MAX_NOTES, read_score
from musiclib.midi_write import LAST_TICK, file_bytes
from musiclib.smf import unwrap_riff
from musiclib.smf_events import MAX_EVENTS, Repairs, SmfError

__all__ = [
    "MAX_BYTES",
    "MAX_EVENTS",
    "MAX_NOTES",
    "MAX_SECONDS",
    "MAX_TICK",
    "NOTE_DTYPE",
    "MidiFileError",
    "MidiRepairWarning",
    "load_midi",
    "note_array",
    "save_midi",
    "sound_end",
]

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
