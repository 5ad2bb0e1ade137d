"""Measure the harmony of one roll: consonance, chords, and how the voices move.

Conventions: rolls as in `pianoroll`; intervals and moves in semitones; shares lie in 0 to 1. The
voices known to a roll are its outer ones: the highest and the lowest key that sounds. Where a
measure is undefined (no pair of keys, no second chord, no note) it returns NaN, never 0.
"""

from __future__ import annotations

import itertools

import numpy as np

from musiclib.pianoroll import STEPS_PER_QUARTER
from musiclib.pitch import fold_classes
from musiclib.roll_notes import chord_sequence, ratio, sounding_keys

CONSONANT_INTERVALS = (0, 3, 4, 5, 7, 8, 9)
"""Consonant intervals modulo 12: unison, thirds, fourth, fifth, sixths."""

CHORD_TYPES = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10),
    "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10),
    "half-diminished seventh": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
}
"""Pitch classes above the root of the triads and seventh chords that `chord_fit` knows."""

LARGE_LEAP = 7
"""A move of an outer voice of more than a fifth counts as a large leap (our choice)."""


def _subsets_of_chords() -> np.ndarray:
    """Return for each of the 4096 pitch-class sets (bit c: class c) whether a chord holds it."""
    fits = np.zeros(4096, dtype=bool)
    for root, chord in itertools.product(range(12), CHORD_TYPES.values()):
        mask = sum(1 << (root + tone) % 12 for tone in chord)
        fits[[subset for subset in range(4096) if subset & ~mask == 0]] = True
    return fits


_FITS = _subsets_of_chords()


def consonant_share(roll: np.ndarray) -> float:
    """Return the share of pairs of keys sounding together that are consonant.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        0 to 1 over all pairs of all steps; NaN where two keys never sound together.

    Notes
    -----
    A pair is consonant if its interval modulo 12 is in `CONSONANT_INTERVALS`; the fourth counts as
    consonant (our choice: among inner voices it is). With c_t the keys of each pitch class at
    step t and G = sum_t c_t c_t^T, the pairs d classes apart number sum_i G[i, i + d] / 2 for each
    ordering, and those in the same class (sum_i G[i, i] - sum_t |c_t|) / 2.

    Examples
    --------
    >>> roll = np.zeros((4, 88, 2), dtype=np.uint8)
    >>> roll[:, [39, 43, 46], 1] = 1  # C, E, G: all three intervals are consonant
    >>> consonant_share(roll)
    1.0
    """
    counts = fold_classes(sounding_keys(roll)).astype(np.int64)
    together = counts.T @ counts
    np.fill_diagonal(together, together.diagonal() - counts.sum(axis=0))
    interval = np.subtract.outer(np.arange(12), np.arange(12)) % 12
    consonant = together[np.isin(interval, CONSONANT_INTERVALS)].sum()
    return ratio(consonant, together.sum())


def chord_fit(roll: np.ndarray) -> float:
    """Return the share of sounding steps whose pitch classes all belong to one chord.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        0 to 1 over the steps that are not silent; NaN for a silent roll.

    Notes
    -----
    A step fits if its set of pitch classes is a subset of a triad or seventh chord of
    `CHORD_TYPES` on any root, so a bare interval or single key that occurs in such a chord fits
    too: read it beside polyphony (our choice).
    """
    classes = fold_classes(sounding_keys(roll)) > 0
    classes = classes[classes.any(axis=1)]
    return ratio(_FITS[classes @ (1 << np.arange(12))].sum(), len(classes))


def chord_rate(roll: np.ndarray, *, steps_per_quarter: int = STEPS_PER_QUARTER) -> float:
    """Return the number of changes of chord a quarter note.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_quarter : int
        Steps of the grid to a quarter note.

    Returns
    -------
    float
        Changes between successive different chords over the length in quarter notes; 0.0 for a
        silent roll or one chord alone.
    """
    changes = max(len(chord_sequence(roll)) - 1, 0)
    return changes * steps_per_quarter / len(roll)


def outer_voices(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest and the lowest key of each successive different chord.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    top, bottom : np.ndarray of int, shape (C,)
        Keys 0 to 87; both empty for a silent roll.
    """
    chords = chord_sequence(roll)
    return chords.shape[1] - 1 - chords[:, ::-1].argmax(axis=1), chords.argmax(axis=1)


def _moves(roll: np.ndarray) -> np.ndarray:
    """Return the signed moves of the outer voices, shape (2, C - 1): top, then bottom."""
    return np.diff(np.stack(outer_voices(roll)), axis=1)


def top_step(roll: np.ndarray) -> float:
    """Return the mean absolute move of the top line between successive chords, in semitones.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        At least 0 (chords over which the line stays put count as 0); NaN for fewer than two
        different chords.
    """
    moves = np.abs(_moves(roll)[0])
    return ratio(moves.sum(), moves.size)


def bottom_step(roll: np.ndarray) -> float:
    """Return the mean absolute move of the bottom line between successive chords, in semitones.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        At least 0, as `top_step`; NaN for fewer than two different chords.
    """
    moves = np.abs(_moves(roll)[1])
    return ratio(moves.sum(), moves.size)


def leap_share(roll: np.ndarray, *, leap: int = LARGE_LEAP) -> float:
    """Return the share of the outer voices' moves that leap.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    leap : int
        Moves of more than this many semitones are leaps.

    Returns
    -------
    float
        0 to 1 over the moves of both outer voices between successive different chords, a voice
        that stays put not counted as moving; NaN where neither ever moves.
    """
    moves = np.abs(_moves(roll))
    return ratio((moves > leap).sum(), (moves > 0).sum())


def outer_parallels(roll: np.ndarray) -> float:
    """Return the share of chord changes in which the outer voices move in parallel fifths, octaves.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        0 to 1 over changes between successive different chords; NaN for fewer than two.

    Notes
    -----
    Counted where top and bottom are different keys, a fifth or an octave apart (modulo 12), and
    both move by the same interval, not 0. The inner voices are not known to a roll.
    """
    top, bottom = outer_voices(roll)
    moves = np.diff(np.stack((top, bottom)), axis=1)
    perfect = np.isin((top - bottom)[:-1] % 12, (0, 7)) & (top > bottom)[:-1]
    parallel = perfect & (moves[0] == moves[1]) & (moves[0] != 0)
    return ratio(parallel.sum(), parallel.size)
