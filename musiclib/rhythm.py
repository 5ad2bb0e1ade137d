"""Measure the rhythm of one roll: how many notes, how long, and where in quarter and bar.

Conventions: rolls as in `pianoroll`; bars as in `roll_notes` (16 steps from step 0 unless told
otherwise), quarters counted from the bar line; durations in quarter notes, shares in 0 to 1. A
measure that a roll does not define is NaN.
"""

from __future__ import annotations

import numpy as np

from musiclib.pianoroll import STEPS_PER_QUARTER
from musiclib.roll_notes import STEPS_PER_BAR, note_starts, notes_of, ratio, whole_bars


def note_density(roll: np.ndarray) -> float:
    """Return the number of notes that start in a quarter note, on average; 0.0 for no note."""
    return float(note_starts(roll).sum() * STEPS_PER_QUARTER / len(roll))


def mean_duration(roll: np.ndarray) -> float:
    """Return the mean length of the notes in quarter notes; NaN for no note."""
    length = notes_of(roll).length
    return ratio(length.sum() / STEPS_PER_QUARTER, length.size)


def long_note_share(roll: np.ndarray, *, shortest: int = 2) -> float:
    """Return the share of notes that last at least `shortest` steps (an eighth); NaN for no note.

    MuseGAN's qualified notes are those longer than a 32nd: all of them on a grid of sixteenths. So
    the bound stands one step of the grid higher here (our choice).
    """
    length = notes_of(roll).length
    return ratio((length >= shortest).sum(), length.size)


def onset_steps(roll: np.ndarray) -> float:
    """Return the share of steps in which a note starts, 0 to 1 (0.0 for no note)."""
    return float(note_starts(roll).any(axis=1).mean())


def quarter_onsets(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return the share of notes that start on a quarter note, 0 to 1; NaN for no note."""
    return _share_at(roll, (0,), steps_per_bar, upbeat)


def eighth_onsets(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return the share of notes that start on an eighth between quarters; NaN for no note."""
    return _share_at(roll, (2,), steps_per_bar, upbeat)


def sixteenth_onsets(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return the share of notes that start on a sixteenth between eighths; NaN for no note.

    `quarter_onsets`, `eighth_onsets` and `sixteenth_onsets` add up to 1.
    """
    return _share_at(roll, (1, 3), steps_per_bar, upbeat)


def _share_at(
    roll: np.ndarray, positions: tuple[int, ...], steps_per_bar: int, upbeat: int
) -> float:
    """Return the share of notes that start at these steps of a quarter, counted in their bar."""
    in_bar = (notes_of(roll).start - upbeat) % steps_per_bar
    return ratio(np.isin(in_bar % STEPS_PER_QUARTER, positions).sum(), in_bar.size)


def groove_consistency(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> float:
    """Return how alike the onset patterns of neighbouring bars are.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        0 to 1 (bars alike; 1.0 for a silent roll too); NaN for fewer than two whole bars.

    Notes
    -----
    GC = 1 - sum_b d(g_b, g_{b+1}) / ((B - 1) S), with g_b the binary onset pattern of bar b, d the
    Hamming distance, S steps to a bar (Wu and Yang, ISMIR 2020). MusPy's ``groove_consistency``
    adds an empty bar to a piece that ends on a bar line.
    """
    onsets = note_starts(roll).any(axis=1)
    bars = whole_bars(onsets, steps_per_bar=steps_per_bar, upbeat=upbeat)
    return 1.0 - ratio((bars[1:] != bars[:-1]).sum(), bars[1:].size)
