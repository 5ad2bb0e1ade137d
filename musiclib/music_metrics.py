"""Measure one piece by every measure there is, and say whether it is fit to hear at all.

Conventions: rolls as in `pianoroll` (time in sixteenths); bars as in `roll_notes`, 4/4 without an
upbeat unless told otherwise; pitches in semitones, durations in quarter notes, shares in 0 to 1. A
measure that a piece does not define (the pitch range of silence) is NaN, never 0; each says when.
The measures of `pitch`, `rhythm`, `harmony` and `structure` are all found here; `MEASURES` and
`measures` hold them by name, `BAR_MEASURES` names those that hang on where the bar lines stand.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from musiclib.harmony import (
    bottom_step,
    chord_fit,
    chord_rate,
    consonant_share,
    leap_share,
    outer_parallels,
    top_step,
)
from musiclib.pianoroll import STEPS_PER_QUARTER
from musiclib.pitch import (
    mean_pitch,
    pitch_class_entropy,
    pitch_classes,
    pitch_range,
    pitch_spread,
    scale_consistency,
)
from musiclib.rhythm import (
    eighth_onsets,
    groove_consistency,
    long_note_share,
    mean_duration,
    note_density,
    onset_steps,
    quarter_onsets,
    sixteenth_onsets,
)
from musiclib.roll_notes import (
    STEPS_PER_BAR,
    ratio,
    require_piece,
    sounding_keys,
    whole_bars,
)
from musiclib.structure import (
    density_drift,
    key_drift,
    pitch_drift,
    repeated_bars,
    repetition_1,
    repetition_2,
    repetition_4,
)

STUCK_QUARTERS = 8.0
"""A piece is stuck where the same keys sound for more than this many quarter notes."""


def polyphony(roll: np.ndarray) -> float:
    """Return the mean number of keys that sound together.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        1 to 88, over the steps that are not silent; NaN for a silent roll.

    Notes
    -----
    MusPy's ``polyphony``. Two voices on one key count once.
    """
    counts = sounding_keys(roll).sum(axis=1)
    return ratio(counts.sum(), np.count_nonzero(counts))


def polyphony_spread(roll: np.ndarray) -> float:
    """Return the standard deviation (ddof 0) of the number of keys over the sounding steps.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        Keys, at least 0; NaN for a silent roll.
    """
    counts = sounding_keys(roll).sum(axis=1)
    counts = counts[counts > 0]
    return float(counts.std()) if counts.size else float("nan")


def silence(roll: np.ndarray) -> float:
    """Return the share of steps in which no key sounds, 0 to 1 (1.0 for a silent roll)."""
    return float(1.0 - sounding_keys(roll).any(axis=1).mean())


def empty_bars(roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0) -> float:
    """Return the share of whole bars in which no key sounds.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    float
        0 to 1; NaN for a roll shorter than a bar.

    Notes
    -----
    MuseGAN's empty bars. MusPy's ``empty_measure_rate`` counts a note that ends on a bar line into
    the next bar too, and is no oracle for this one.
    """
    empty = _empty(roll, steps_per_bar, upbeat)
    return ratio(empty.sum(), empty.size)


def _empty(roll: np.ndarray, steps_per_bar: int, upbeat: int) -> np.ndarray:
    """Return which whole bars are silent, as bool of shape (B,)."""
    sound = sounding_keys(roll).any(axis=1)
    return ~whole_bars(sound, steps_per_bar=steps_per_bar, upbeat=upbeat).any(axis=1)


def check_piece(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> list[str]:
    """Return what makes a piece unfit to hear: no note, stuck, empty bars.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`.

    Returns
    -------
    list of str
        One sentence a problem, beginning with "no note", "stuck" or "empty bars"; an empty list
        for a sound piece. A piece without a note is only that.

    Notes
    -----
    Stuck: one set of keys, held or struck again and again, sounds for more than `STUCK_QUARTERS`
    quarter notes. Empty: a whole bar in which no key sounds.

    Examples
    --------
    >>> check_piece(np.zeros((128, 88, 2), dtype=np.uint8))
    ['no note: the piece is silent']
    """
    sound = sounding_keys(roll)
    if not sound.any():
        return ["no note: the piece is silent"]
    problems = []
    start, length = _longest_same(sound)
    if length > STUCK_QUARTERS * STEPS_PER_QUARTER:
        quarters = length / STEPS_PER_QUARTER
        problems.append(f"stuck: the same keys sound for {quarters:g} quarters from step {start}")
    empty = _empty(roll, steps_per_bar, upbeat)
    if empty.any():
        problems.append(f"empty bars: {empty.sum()} of {empty.size} hold no note")
    return problems


def _longest_same(sound: np.ndarray) -> tuple[int, int]:
    """Return the first step and length of the longest run of one set of keys that is not empty."""
    edges = np.flatnonzero((sound[1:] != sound[:-1]).any(axis=1)) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.append(starts, len(sound)))
    lengths = np.where(sound[starts].any(axis=1), lengths, 0)
    longest = int(lengths.argmax())
    return int(starts[longest]), int(lengths[longest])


MEASURES: dict[str, Callable[..., float]] = {
    measure.__name__: measure
    for measure in (
        note_density,
        mean_duration,
        long_note_share,
        silence,
        empty_bars,
        polyphony,
        polyphony_spread,
        mean_pitch,
        pitch_spread,
        pitch_range,
        pitch_classes,
        pitch_class_entropy,
        scale_consistency,
        consonant_share,
        chord_fit,
        chord_rate,
        top_step,
        bottom_step,
        leap_share,
        outer_parallels,
        onset_steps,
        quarter_onsets,
        eighth_onsets,
        sixteenth_onsets,
        groove_consistency,
        repetition_1,
        repetition_2,
        repetition_4,
        repeated_bars,
        pitch_drift,
        density_drift,
        key_drift,
    )
}
"""Every measure of one roll by its name."""

BAR_MEASURES = tuple(
    name for name, how in MEASURES.items() if "upbeat" in inspect.signature(how).parameters
)
"""The measures that take `steps_per_bar` and `upbeat`, since they count bars or places in them."""


def measures(
    roll: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> dict[str, float]:
    """Return every measure of a piece by name, in the order of `MEASURES`.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.
    steps_per_bar, upbeat : int
        As in `roll_notes.Bars`: the piece's own, ``measures(roll, **bars.for_measures())``.

    Returns
    -------
    dict of str to float
        NaN where the piece does not define a measure.

    Raises
    ------
    ValueError
        If the roll has another shape or values (see `pianoroll.check_roll`).
    """
    require_piece(roll)
    bars = {"steps_per_bar": steps_per_bar, "upbeat": upbeat}
    return {
        name: measure(roll, **bars) if name in BAR_MEASURES else measure(roll)
        for name, measure in MEASURES.items()
    }
