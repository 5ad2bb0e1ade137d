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

import numpy as np
import pretty_midi

from musiclib.midi import note_array
from musiclib.roll_windows import windows

__all__ = [
    "DENOMINATORS", "FIRST_KEY", "HOLD", "LOWEST_PITCH", "MAX_STEPS", "N_KEYS", "N_VOICE_CODES",
    "ONSET", "REST", "STEPS_PER_QUARTER", "SUSTAIN", "check_roll", "notes_to_roll", "quantise",
    "roll_to_notes", "to_midi", "to_piano_roll", "transpose", "windows",
]  # fmt: skip

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
        `pieces.metre` reads it.
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
