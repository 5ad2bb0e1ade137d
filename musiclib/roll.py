"""Piano rolls on a beat grid: notes <-> rolls, transposition, windows.

Conventions: a *roll* is ``uint8 (T, 88, 2)``. Time comes first, in sixteenths (four steps a quarter
note); key 0 is MIDI pitch 21 (A0), key 87 is pitch 108 (C8). Channel 0, *onset*, is 1 at the step
in which a note starts. Channel 1, *sustain*, is 1 at every step in which the key sounds, the onset
step included. So a held note has one onset and a repeated note several, while both sound without
a gap. Tempo and velocity travel beside it. *Voices* are ``int16 (T, V)``: V monophonic lines,
highest first, of the codes 0 (rest), 1 (hold: the note goes on) and ``2 + k`` (onset of key k).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pretty_midi
from numpy.typing import ArrayLike

from musiclib.midi import note_array

# ---- musiclib.roll ----
# Cut a piece into windows, once it is known that they fit into the memory.
#
# Conventions: the first axis is time; windows never leave their piece, and nothing is padded.


MAX_WINDOW_BYTES = 1_000_000_000
"""Most that the windows of one piece may take."""


def windows(roll: np.ndarray, *, length: int, hop: int) -> np.ndarray:
    """Cut a piece into windows that never leave it.

    Parameters
    ----------
    roll : np.ndarray, shape (T, ...)
        A roll, or anything else whose first axis is time.
    length, hop : int
        Steps of a window and from one window's start to the next, both at least 1.

    Returns
    -------
    np.ndarray, shape (N, length, ...)
        N = 0 when the piece is shorter than a window; nothing is padded.

    Raises
    ------
    ValueError
        When `length` or `hop` is below 1, or the windows would pass `MAX_WINDOW_BYTES`.
    """
    if length < 1 or hop < 1:
        raise ValueError(f"length and hop must be at least 1, got {length} and {hop}")
    roll = np.asarray(roll)
    starts = np.arange(0, max(len(roll) - length + 1, 0), hop)
    size = len(starts) * length * (roll[:1].nbytes + 8)  # 8: of the index that picks them
    if size > MAX_WINDOW_BYTES:
        raise ValueError(
            f"{len(starts):,} windows of {length:,} steps take {size / 1e6:,.0f} MB, and at most "
            f"{MAX_WINDOW_BYTES / 1e6:,.0f} MB are cut at once; choose a larger hop"
        )
    return roll[starts[:, None] + np.arange(length)]


STEPS_PER_QUARTER = 4
LOWEST_PITCH = 21
N_KEYS = 88
ONSET, SUSTAIN = 0, 1
REST, HOLD, FIRST_KEY = 0, 1, 2
N_VOICE_CODES = FIRST_KEY + N_KEYS
DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)
"""Of the time signatures that a MIDI file can name here, from whole notes to sixty-fourths."""
MAX_STEPS = 500_000
"""Longest roll that is built (88 MB, 26 hours at 80 quarters a minute)."""
_RESOLUTION, _FINEST = 480, 2**15 - 1  # ticks a quarter note: the usual, and the most of a file


def check_roll(roll: np.ndarray, *, name: str = "roll") -> np.ndarray:
    """Return `roll` when it is a valid roll, and say what is wrong with it otherwise.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8, values 0 and 1
    name : str
        What the error message calls it.

    Raises
    ------
    ValueError
        On another shape, type or value, or an onset at a key that does not sound.
    """
    roll = np.asarray(roll)
    if roll.ndim != 3 or roll.shape[1:] != (N_KEYS, 2) or roll.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8 with shape (T, 88, 2), got {roll.dtype} with shape {roll.shape}"
        )
    if roll.size and roll.max() > 1:
        raise ValueError(f"{name} must hold 0 and 1 only, got {int(roll.max())}")
    if np.any(roll[..., ONSET] > roll[..., SUSTAIN]):
        raise ValueError(f"{name} has an onset at a key that does not sound")
    return roll


def quantise(quarters: np.ndarray, *, steps_per_quarter: int = STEPS_PER_QUARTER) -> np.ndarray:
    """Round times in quarter notes to whole steps, halves upwards.

    Parameters
    ----------
    quarters : np.ndarray, any shape
        Times in quarter notes from the start of the piece, 0 or later.
    steps_per_quarter : int
        Steps a quarter note; 4 is the study's grid of sixteenths.

    Returns
    -------
    np.ndarray of int64, the same shape
    """
    return np.floor(np.asarray(quarters) * steps_per_quarter + 0.5 + 1e-9).astype(np.int64)


def _check_grid(steps_per_quarter: int) -> None:
    if not (1 <= steps_per_quarter <= MAX_STEPS and steps_per_quarter % 1 == 0):
        raise ValueError(
            f"steps_per_quarter must be a whole number from 1 to {MAX_STEPS:,}, "
            f"got {steps_per_quarter}"
        )


def _grid_notes(notes: np.ndarray, steps_per_quarter: int) -> tuple[np.ndarray, ...]:
    """Return start step, end step and key of the notes that a piano has, warning of the others."""
    key = notes["pitch"].astype(np.int64) - LOWEST_PITCH
    inside = (key >= 0) & (key < N_KEYS)
    if not inside.all():
        warnings.warn(
            f"{int((~inside).sum())} of {len(notes)} notes lie outside a piano's 88 keys "
            "(MIDI pitches 21 to 108) and are left out",
            stacklevel=3,
        )
    notes, key = notes[inside], key[inside]
    start = quantise(notes["onset_quarter"], steps_per_quarter=steps_per_quarter)
    end = quantise(
        notes["onset_quarter"] + notes["duration_quarter"], steps_per_quarter=steps_per_quarter
    )
    return start, np.maximum(end, start + 1), key


def notes_to_roll(
    notes: np.ndarray, *, steps_per_quarter: int = STEPS_PER_QUARTER, length: int | None = None
) -> np.ndarray:
    """Draw a note array on the grid.

    Parameters
    ----------
    notes : np.ndarray, structured
        As `musiclib.midi.note_array` gives it; `onset_quarter`, `duration_quarter`, `pitch` serve.
    steps_per_quarter : int
        Steps a quarter note.
    length : int, optional
        Steps of the result; shorter cuts, longer adds silence. By default to the last note's end.

    Returns
    -------
    np.ndarray, shape (T, 88, 2), uint8
        Notes of one pitch that overlap are merged: each keeps its onset, the key sounds until the
        last of them ends. A note shorter than a step lasts one step.

    Raises
    ------
    ValueError
        When the roll would pass `MAX_STEPS`, with its size; or `length` is no whole number from 0
        on, or `steps_per_quarter` none from 1 on.
    """
    _check_grid(steps_per_quarter)
    start, end, key = _grid_notes(notes, steps_per_quarter)
    if length is not None and not (length >= 0 and length % 1 == 0):
        raise ValueError(f"length must be a whole number of steps, 0 or more, got {length}")
    steps = int(end.max(initial=0)) if length is None else int(length)
    if steps > MAX_STEPS:
        raise ValueError(
            f"a roll of {steps:,} steps ({steps * N_KEYS * 2 / 1e6:,.0f} MB) passes the limit of "
            f"{MAX_STEPS:,} steps; cut the piece or choose fewer steps_per_quarter"
        )
    keep = start < steps
    start, end, key = start[keep], np.minimum(end[keep], steps), key[keep]
    roll = np.zeros((steps, N_KEYS, 2), np.uint8)
    for each in np.unique(key):  # one key at a time: all at once would take five times the memory
        mine = key == each
        changes = np.bincount(start[mine], minlength=steps + 1)
        changes -= np.bincount(end[mine], minlength=steps + 1)
        roll[:, each, SUSTAIN] = np.cumsum(changes[:-1]) > 0
    roll[start, key, ONSET] = 1
    return roll


def to_piano_roll(
    midi: pretty_midi.PrettyMIDI,
    *,
    steps_per_quarter: int = STEPS_PER_QUARTER,
    sustain_pedal: bool = False,
    length: int | None = None,
) -> np.ndarray:
    """Turn a MIDI piece into a piano roll on its own beat grid (tempo changes are followed).

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        As `musiclib.load_midi` gives it. Percussion is left out.
    steps_per_quarter : int
        Steps a quarter note; 4 is the study's grid of sixteenths.
    sustain_pedal : bool
        Lengthen notes to the release of the pedal. Off by default: a roll shows keys.
    length : int, optional
        Steps of the result; by default up to the end of the last note.

    Returns
    -------
    np.ndarray, shape (T, 88, 2), uint8
        Onset and sustain. A piece without notes gives (0, 88, 2).

    Notes
    -----
    Our choice: the paper says "arrays representing notes, chords, and rhythms" and no more. Unlike
    `PrettyMIDI.get_piano_roll` the grid counts beats, not seconds, no note is lost for being
    short, and a held note differs from a repeated one.

    Examples
    --------
    >>> piece = to_midi(np.pad(np.ones((4, 1, 2), np.uint8), ((0, 0), (39, 48), (0, 0))))
    >>> to_piano_roll(piece).sum(axis=(0, 1)).tolist()
    [4, 4]
    """
    notes = note_array(midi, sustain_pedal=sustain_pedal)
    return notes_to_roll(notes, steps_per_quarter=steps_per_quarter, length=length)


def roll_to_notes(roll: np.ndarray) -> np.ndarray:
    """List the notes of a roll.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8

    Returns
    -------
    np.ndarray, shape (N, 3), int64
        Start step, end step and key of each note, by start, then key. A key that sounds without
        an onset before it (a window cut through a note) starts where it first sounds.
    """
    sustain = check_roll(roll)[..., SUSTAIN].astype(bool)
    before = np.vstack([np.zeros((1, N_KEYS), bool), sustain[:-1]])
    after = np.vstack([sustain[1:], np.zeros((1, N_KEYS), bool)])
    onset = roll[..., ONSET].astype(bool) | (sustain & ~before)
    next_onset = np.vstack([onset[1:], np.zeros((1, N_KEYS), bool)])
    last = sustain & (~after | next_onset)
    key, start = np.nonzero(onset.T)
    end = np.nonzero(last.T)[1] + 1
    order = np.lexsort((key, start))
    return np.stack([start, end, key], axis=1)[order].astype(np.int64)


def to_midi(
    roll: np.ndarray,
    *,
    tempo: float = 80.0,
    velocity: int | np.ndarray = 80,
    steps_per_quarter: int = STEPS_PER_QUARTER,
    program: int = 0,
    steps_per_bar: int | None = None,
    upbeat: int = 0,
    denominator: int = 4,
) -> pretty_midi.PrettyMIDI:
    """Turn a roll back into a MIDI piece of one instrument; the inverse of `to_piano_roll`.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
    tempo : float
        Quarter notes a minute, 4 to 1,000; 80 is the study's.
    velocity : int or np.ndarray, shape (T, 88)
        1 to 127: one for all notes, or read at each note's onset.
    steps_per_quarter : int
        Steps a quarter note, at most 32,767: a MIDI file divides a quarter no further.
    program : int
        General MIDI program, 0 (acoustic grand piano) to 127.
    steps_per_bar : int, optional
        Steps to a bar, for the time signature; none is written where it is not given.
    upbeat : int
        Steps before the first bar line; it becomes a short bar with a signature of its own, as
        `piece.metre` reads it.
    denominator : int
        One of `DENOMINATORS`: of the time signature, where it gives the bar's exact length. Where
        it does not, and for an upbeat that it does not give, quarters or the next shorter notes
        that do.

    Returns
    -------
    pretty_midi.PrettyMIDI

    Raises
    ------
    ValueError
        When an argument is out of its range.
    """
    if not 4 <= tempo <= 1000:
        raise ValueError(f"tempo must lie between 4 and 1000 quarters a minute, got {tempo}")
    if not 0 <= program <= 127:
        raise ValueError(f"program must lie between 0 and 127, got {program}")
    if denominator not in DENOMINATORS:
        raise ValueError(f"denominator must be one of {DENOMINATORS}, got {denominator}")
    _check_grid(steps_per_quarter)
    if steps_per_quarter > _FINEST:
        raise ValueError(
            f"steps_per_quarter: got {steps_per_quarter:,}, a MIDI file holds up to "
            f"{_FINEST:,} ticks"
        )
    notes = roll_to_notes(roll)
    if np.ndim(velocity) and np.shape(velocity) != roll.shape[:2]:
        raise ValueError(f"velocity must have shape {roll.shape[:2]}, got {np.shape(velocity)}")
    loudness = np.broadcast_to(np.asarray(velocity), roll.shape[:2])[notes[:, 0], notes[:, 2]]
    if loudness.size and not (loudness.min() >= 1 and loudness.max() <= 127):
        low, high = loudness.min(), loudness.max()
        raise ValueError(f"velocity must lie between 1 and 127, got {low} to {high}")
    resolution = max(_RESOLUTION, int(steps_per_quarter))  # a tick a step at least
    midi = pretty_midi.PrettyMIDI(resolution=resolution, initial_tempo=float(tempo))
    piano = pretty_midi.Instrument(program=program)
    seconds = 60.0 / tempo / steps_per_quarter
    piano.notes = [
        pretty_midi.Note(int(v), int(k) + LOWEST_PITCH, float(s * seconds), float(e * seconds))
        for (s, e, k), v in zip(notes, loudness, strict=True)
    ]
    midi.instruments.append(piano)
    if steps_per_bar is not None:
        bars = [(0, steps_per_bar)]
        if upbeat % steps_per_bar:
            bars = [(0, upbeat % steps_per_bar), (upbeat % steps_per_bar, steps_per_bar)]
        midi.time_signature_changes = [
            pretty_midi.TimeSignature(
                *_signature(bar, steps_per_quarter, denominator), start * seconds
            )
            for start, bar in bars
        ]
    return midi


def _signature(bar: int, steps_per_quarter: int, denominator: int) -> tuple[int, int]:
    """Return numerator and denominator of so many steps, with the one asked for where exact."""
    for unit in (denominator, 4, 8, 16, 32, 64):
        numerator, rest = divmod(bar * unit, 4 * steps_per_quarter)
        if not rest and 1 <= numerator <= 255:
            return numerator, unit
    raise ValueError(
        f"steps_per_bar: no time signature has {bar} steps of {steps_per_quarter} a quarter"
    )


def transpose(roll: np.ndarray, semitones: int) -> np.ndarray:
    """Move every note of a roll by `semitones`.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
    semitones : int
        Upwards when positive.

    Returns
    -------
    np.ndarray, shape (T, 88, 2), uint8

    Raises
    ------
    ValueError
        When a note would leave the keyboard: nothing is dropped silently; or for half a semitone.
    """
    if semitones % 1 != 0:
        raise ValueError(f"semitones must be a whole number, got {semitones}")
    used = np.flatnonzero(check_roll(roll)[..., SUSTAIN].any(axis=0))
    if used.size and not (used[0] + semitones >= 0 and used[-1] + semitones < N_KEYS):
        raise ValueError(
            f"semitones={semitones} moves keys {used[0]} to {used[-1]} off the 88 keys of a piano"
        )
    return np.roll(roll, int(semitones), axis=1)


# ---- musiclib.roll ----
# Read a piano roll as notes, sounding keys and chords: what every measure of a roll starts from.
#
# Conventions: rolls as in `pianoroll` (time first, in sixteenths, 16 steps to a bar of 4/4). A note
# starts where the onset channel is 1, and also where a key begins to sound without an onset (a note
# that the start of a window cut); it ends where the key falls silent or is struck again.
#
# Bars are counted from the first bar line: an upbeat, what stands before that line, belongs to no
# bar, and neither does a last bar that is not whole. Every measure that counts bars keeps to this.


STEPS_PER_BAR = 4 * STEPS_PER_QUARTER


class Bars(NamedTuple):
    """Say where the bar lines of a piece stand.

    Attributes
    ----------
    steps_per_bar : int
        Steps to a bar, at least 1.
    upbeat : int
        Steps before the first bar line, 0 where the piece begins on one.
    denominator : int
        Of the time signature, one of `roll.DENOMINATORS`: bars of 12 steps are 3/4 or 6/8.
    """

    steps_per_bar: int = STEPS_PER_BAR
    upbeat: int = 0
    denominator: int = 4

    def for_measures(self) -> dict[str, int]:
        """Return `steps_per_bar` and `upbeat`: measures count bars, whatever their signature."""
        return {"steps_per_bar": self.steps_per_bar, "upbeat": self.upbeat}


COMMON_BARS = Bars()
"""Bars of 4/4 without an upbeat: those of a roll of which nothing else is known."""


class NoteList(NamedTuple):
    """Hold the notes of one roll, ordered by start, then key.

    Attributes
    ----------
    start : np.ndarray, shape (N,)
        First step of each note, in steps.
    key : np.ndarray, shape (N,)
        Key of each note, 0 to 87.
    length : np.ndarray, shape (N,)
        Length of each note in steps, at least 1.
    """

    start: np.ndarray
    key: np.ndarray
    length: np.ndarray


def require_piece(roll: np.ndarray, *, name: str = "roll") -> np.ndarray:
    """Return the roll, or say why it is none that can be measured.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel, 0 or 1, T at least 1.
    name : str
        What the error message calls the argument.

    Returns
    -------
    np.ndarray of uint8, shape (T, 88, 2)

    Raises
    ------
    ValueError
        As `roll.check_roll`, and for a roll without a step.
    """
    roll = check_roll(roll, name=name)
    if not len(roll):
        raise ValueError(f"{name} must have at least one step, got shape {roll.shape}")
    return roll


def sounding_keys(roll: np.ndarray) -> np.ndarray:
    """Return which keys sound at each step, as bool of shape (T, 88)."""
    return require_piece(roll)[..., SUSTAIN].astype(bool)


def note_starts(roll: np.ndarray) -> np.ndarray:
    """Return where notes start, as bool of shape (T, 88): onsets, and sound that begins without."""
    sound = sounding_keys(roll)
    begins = sound.copy()
    begins[1:] &= ~sound[:-1]
    return roll[..., ONSET].astype(bool) | begins


def bars_at(position: np.ndarray, steps_per_bar: int, denominator: int = 4) -> Bars:
    """Return the bars of a piece whose steps stand at these places.

    Parameters
    ----------
    position : np.ndarray, shape (T,)
        Steps since the bar line, as `piece.metre` reads them; any stretch of a piece will do.
    steps_per_bar : int
        Steps of the commonest bar.
    denominator : int
        Of its time signature.

    Examples
    --------
    >>> bars_at(np.array([8, 9, 10, 11, 0, 1, 2]), 12)
    Bars(steps_per_bar=12, upbeat=4, denominator=4)
    """
    lines = np.flatnonzero(np.asarray(position) == 0)
    upbeat = int(lines[0]) if lines.size else len(position)
    return Bars(int(steps_per_bar), upbeat, int(denominator))


def whole_bars(
    steps: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> np.ndarray:
    """Cut what has a value at each step into its whole bars.

    Parameters
    ----------
    steps : np.ndarray, shape (T, ...)
        A roll, or anything else whose first axis is time.
    steps_per_bar, upbeat : int
        As in `Bars`.

    Returns
    -------
    np.ndarray, shape (B, steps_per_bar, ...)
        Without the upbeat and without a last bar that is not whole; B is 0 for less than a bar.

    Raises
    ------
    ValueError
        If `steps_per_bar` is below 1 or `upbeat` below 0.

    Examples
    --------
    >>> whole_bars(np.arange(8), steps_per_bar=3, upbeat=1).tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    if steps_per_bar < 1 or upbeat < 0:
        raise ValueError(
            "steps_per_bar must be at least 1 and upbeat at least 0; got "
            f"{steps_per_bar} and {upbeat}"
        )
    whole = max(len(steps) - upbeat, 0) // steps_per_bar
    return steps[upbeat : upbeat + whole * steps_per_bar].reshape(
        whole, steps_per_bar, *steps.shape[1:]
    )


def notes_of(roll: np.ndarray) -> NoteList:
    """Return the notes of a roll.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    NoteList
        Start, key and length, ordered by start, then key; three empty arrays for a silent roll.

    Examples
    --------
    >>> roll = np.zeros((8, 88, 2), dtype=np.uint8)
    >>> roll[0:4, 39, 1] = 1
    >>> roll[[0, 2], 39, 0] = 1
    >>> notes_of(roll).length.tolist()
    [2, 2]
    """
    start, end, key = roll_to_notes(require_piece(roll)).T
    return NoteList(start, key, end - start)


def roll_of(start: ArrayLike, key: ArrayLike, length: ArrayLike, *, steps: int) -> np.ndarray:
    """Return the roll of these notes: the inverse of `notes_of`.

    Parameters
    ----------
    start, key, length : array-like of int, shape (N,)
        First step (0 to steps - 1), key (0 to 87) and length in steps (at least 1) of each note.
    steps : int
        Steps of the roll; a note that reaches past the end is cut.

    Returns
    -------
    np.ndarray of uint8, shape (steps, 88, 2)
        Notes of one key that overlap are merged: each keeps its onset.

    Raises
    ------
    ValueError
        If a start, key or length is out of its range, or `steps` above `MAX_STEPS`.

    Examples
    --------
    >>> roll = roll_of([0, 4], [39, 43], [8, 2], steps=8)
    >>> [column.tolist() for column in notes_of(roll)]
    [[0, 4], [39, 43], [8, 2]]
    """
    start, key, length = (np.asarray(column, dtype=np.int64) for column in (start, key, length))
    for name, column, low, high in (
        ("start", start, 0, steps - 1),
        ("key", key, 0, N_KEYS - 1),
        ("length", length, 1, np.inf),
    ):
        if ((column < low) | (column > high)).any():
            raise ValueError(f"{name} must lie in {low} to {high}; got {column.tolist()}")
    if steps > MAX_STEPS:
        raise ValueError(f"steps must be at most {MAX_STEPS:,}; got {steps:,}")
    edges = np.zeros((steps + 1, N_KEYS), dtype=np.int64)
    np.add.at(edges, (start, key), 1)
    np.add.at(edges, (np.minimum(start + length, steps), key), -1)
    roll = np.zeros((steps, N_KEYS, 2), dtype=np.uint8)
    roll[..., SUSTAIN] = np.cumsum(edges[:steps], axis=0) > 0
    roll[start, key, ONSET] = 1
    return roll


def chord_sequence(roll: np.ndarray) -> np.ndarray:
    """Return the successive different chords of a roll.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2)
        Onset and sounding channel.

    Returns
    -------
    np.ndarray of bool, shape (C, 88)
        Sounding keys of each chord; C is 0 for a silent roll.

    Notes
    -----
    A chord is what sounds together, as the paper names it. Silent steps are left out first, so a
    chord that returns after a rest, or is struck again, is one chord.
    """
    sound = sounding_keys(roll)
    sound = sound[sound.any(axis=1)]
    changed = np.ones(len(sound), dtype=bool)
    changed[1:] = (sound[1:] != sound[:-1]).any(axis=1)
    return sound[changed]


def ratio(numerator: float, denominator: float) -> float:
    """Return numerator / denominator as a float, or NaN where the denominator is 0."""
    return float(numerator) / float(denominator) if denominator else float("nan")
