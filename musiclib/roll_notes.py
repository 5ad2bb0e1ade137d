"""Read a piano roll as notes, sounding keys and chords: what every measure of a roll starts from.

Conventions: rolls as in `pianoroll` (time first, in sixteenths, 16 steps to a bar of 4/4). A note
starts where the onset channel is 1, and also where a key begins to sound without an onset (a note
that the start of a window cut); it ends where the key falls silent or is struck again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from musiclib.pianoroll import (
    MAX_STEPS,
    N_KEYS,
    ONSET,
    STEPS_PER_QUARTER,
    SUSTAIN,
    check_roll,
    roll_to_notes,
)

STEPS_PER_BAR = 4 * STEPS_PER_QUARTER


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
        As `pianoroll.check_roll`, and for a roll without a step.
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
