"""Read a piano roll as notes, sounding keys and chords: what every measure of a roll starts from.

Conventions: rolls as in `pianoroll` (time first, in sixteenths, 16 steps to a bar of 4/4). A note
starts where the onset channel is 1, and also where a key begins to sound without an onset (a note
that the start of a window cut); it ends where the key falls silent or is struck again.

Bars are counted from the first bar line: an upbeat, what stands before that line, belongs to no
bar, and neither does a last bar that is not whole. Every measure that counts bars keeps to this.
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


class Bars(NamedTuple):
    """Say where the bar lines of a piece stand.

    Attributes
    ----------
    steps_per_bar : int
        Steps to a bar, at least 1.
    upbeat : int
        Steps before the first bar line, 0 where the piece begins on one.
    denominator : int
        Of the time signature, one of `pianoroll.DENOMINATORS`: bars of 12 steps are 3/4 or 6/8.
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


def bars_at(position: np.ndarray, steps_per_bar: int, denominator: int = 4) -> Bars:
    """Return the bars of a piece whose steps stand at these places.

    Parameters
    ----------
    position : np.ndarray, shape (T,)
        Steps since the bar line, as `pieces.metre` reads them; any stretch of a piece will do.
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
