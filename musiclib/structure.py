"""Measure the structure of one roll: what comes back, and what drifts away.

Conventions: rolls as in `pianoroll`; bars as in `roll_notes`, of 16 steps (4/4) from step 0 unless
told otherwise; similarities lie in 0 to 1. What a roll does not define is NaN.
"""

from __future__ import annotations

import numpy as np

from musiclib.pianoroll import STEPS_PER_QUARTER
from musiclib.pitch import fold_classes
from musiclib.roll_notes import (
    STEPS_PER_BAR,
    note_starts,
    ratio,
    require_piece,
    sounding_keys,
    whole_bars,
)

EDGE_BARS = 2
"""Bars at each end of a piece between which drift is measured (our choice)."""


def self_similarity(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> np.ndarray:
    """Return how alike the bars of a piece are.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    np.ndarray of float, shape (B, B)
        Cosine similarity of each two of the B whole bars, symmetric; (0, 0) for a roll shorter
        than a bar.

    Notes
    -----
    A bar is the vector of its steps' pitch classes (how many keys of each sound), 12 a step, so
    that an octave does not matter but time does. A silent bar is like another silent bar (1) and
    unlike any other (0). Our choice; self-similarity matrices: Foote, ACM Multimedia 1999.
    """
    classes = fold_classes(sounding_keys(roll)).astype(float)
    bars = whole_bars(classes, steps_per_bar=steps_per_bar, upbeat=upbeat)
    bars = bars.reshape(len(bars), steps_per_bar * classes.shape[1])
    silent = ~bars.any(axis=1)
    length = np.linalg.norm(bars, axis=1) + silent
    cosine = (bars / length[:, None]) @ (bars / length[:, None]).T
    return np.clip(cosine + np.outer(silent, silent), 0.0, 1.0)


def repetition(
    roll: np.ndarray, *, bars: int, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return how alike a piece is to itself some bars later.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    bars : int
        The lag in bars, at least 1.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        Mean of `self_similarity` over all pairs of bars that far apart; NaN if there is none.

    Raises
    ------
    ValueError
        If `bars` is below 1.
    """
    if bars < 1:
        raise ValueError(f"bars must be at least 1; got {bars}")
    similarity = self_similarity(roll, steps_per_bar=steps_per_bar, upbeat=upbeat)
    lagged = np.diagonal(similarity, offset=bars)
    return ratio(lagged.sum(), lagged.size)


def repetition_1(roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0) -> float:
    """Return the `repetition` from bar to bar; NaN for fewer than two bars."""
    return repetition(roll, bars=1, steps_per_bar=steps_per_bar, upbeat=upbeat)


def repetition_2(roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0) -> float:
    """Return the `repetition` two bars later; NaN for fewer than three bars."""
    return repetition(roll, bars=2, steps_per_bar=steps_per_bar, upbeat=upbeat)


def repetition_4(roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0) -> float:
    """Return the `repetition` four bars later; NaN for fewer than five bars."""
    return repetition(roll, bars=4, steps_per_bar=steps_per_bar, upbeat=upbeat)


def repeated_bars(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return the share of bars, the first left out, that occurred before, note for note.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        0 to 1 (1.0 for a silent roll of two bars or more); NaN for fewer than two whole bars.
    """
    bars = whole_bars(require_piece(roll), steps_per_bar=steps_per_bar, upbeat=upbeat)
    different = len({bar.tobytes() for bar in bars})
    return ratio(len(bars) - different, max(len(bars) - 1, 0))


def _edges(
    roll: np.ndarray, steps_per_bar: int, upbeat: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the first and the last `EDGE_BARS` whole bars, or None where they would overlap."""
    bars = whole_bars(require_piece(roll), steps_per_bar=steps_per_bar, upbeat=upbeat)
    if len(bars) < 2 * EDGE_BARS:
        return None
    return np.concatenate(bars[:EDGE_BARS]), np.concatenate(bars[-EDGE_BARS:])


def pitch_drift(roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0) -> float:
    """Return how far the mean pitch moves from the first two bars to the last two, in semitones.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        Absolute difference of the mean sounding pitch, at least 0; NaN for fewer than four bars or
        where either end is silent.
    """
    edges = _edges(roll, steps_per_bar, upbeat)
    if edges is None:
        return float("nan")
    counts = [sounding_keys(edge).sum(axis=0) for edge in edges]
    first, last = (ratio(count @ np.arange(count.size), count.sum()) for count in counts)
    return abs(last - first)


def density_drift(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return how far the note density moves from the first two bars to the last two.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        Absolute difference in notes a quarter, at least 0; NaN for fewer than four bars.
    """
    edges = _edges(roll, steps_per_bar, upbeat)
    if edges is None:
        return float("nan")
    first, last = (float(note_starts(edge).sum()) for edge in edges)
    return abs(last - first) * STEPS_PER_QUARTER / (EDGE_BARS * steps_per_bar)


def key_drift(roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0) -> float:
    """Return how far the pitch classes move from the first two bars to the last two.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        0 (the same classes, as long) to 1 (none in common); NaN for fewer than four bars or where
        either end is silent.

    Notes
    -----
    Total variation distance sum_c |p_c - q_c| / 2 of the shares of sounding time of the twelve
    classes (our choice).
    """
    edges = _edges(roll, steps_per_bar, upbeat)
    if edges is None:
        return float("nan")
    counts = [fold_classes(sounding_keys(edge)).sum(axis=0) for edge in edges]
    if not all(count.any() for count in counts):
        return float("nan")
    first, last = (count / count.sum() for count in counts)
    return float(np.abs(first - last).sum() / 2)
