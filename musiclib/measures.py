"""Measure one piece by every measure there is, and say whether it is fit to hear at all.

Conventions: rolls as in `pianoroll` (time in sixteenths); bars as in `roll_notes`, 4/4 without an
upbeat unless told otherwise; pitches in semitones, durations in quarter notes, shares in 0 to 1. A
measure that a piece does not define (the pitch range of silence) is NaN, never 0; each says when.
The measures of `pitch`, `rhythm`, `harmony` and `structure` are all found here; `MEASURES` and
`measures` hold them by name, `BAR_MEASURES` names those that hang on where the bar lines stand.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable

import numpy as np

from musiclib.roll import (
    LOWEST_PITCH,
    STEPS_PER_BAR,
    STEPS_PER_QUARTER,
    chord_sequence,
    note_starts,
    notes_of,
    ratio,
    require_piece,
    sounding_keys,
    whole_bars,
)

# ---- musiclib.measures ----
# Measure the pitches of one roll: compass, pitch classes, scale.
#
# Conventions: rolls as in `pianoroll`; pitches in semitones, as MIDI pitches where absolute, pitch
# class 0 is C. What a silent roll does not define is NaN.


PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_SCALES = np.array([[(c - root) % 12 in _MAJOR for c in range(12)] for root in range(12)])


def pitch_name(pitch: int) -> str:
    """Name a MIDI pitch with its octave; 60 is middle C, C4.

    Examples
    --------
    >>> pitch_name(60), pitch_name(21), pitch_name(108)
    ('C4', 'A0', 'C8')
    """
    return f"{PITCH_CLASSES[pitch % 12]}{pitch // 12 - 1}"


def fold_classes(sound: np.ndarray) -> np.ndarray:
    """Return how many keys of each pitch class sound.

    Parameters
    ----------
    sound : np.ndarray of bool, shape (T, 88)
        Sounding keys.

    Returns
    -------
    np.ndarray of int, shape (T, 12)
        Number of keys, class C first: octaves are folded, neighbouring keys are not.
    """
    below = LOWEST_PITCH % 12
    padded = np.pad(sound, ((0, 0), (below, -(below + sound.shape[1]) % 12)))
    return padded.reshape(len(sound), -1, 12).sum(axis=1)


def pitch_range(roll: np.ndarray) -> float:
    """Return the highest minus the lowest pitch that sounds, in semitones; NaN for a silent roll.

    MusPy returns 0 for silence; a lone note has a range of 0 here too.
    """
    keys = np.flatnonzero(sounding_keys(roll).any(axis=0))
    return float(keys[-1] - keys[0]) if keys.size else float("nan")


def mean_pitch(roll: np.ndarray) -> float:
    """Return the mean MIDI pitch over all sounding keys of all steps, 21 to 108; NaN if silent."""
    weights = sounding_keys(roll).sum(axis=0)
    return ratio(weights @ (np.arange(weights.size) + LOWEST_PITCH), weights.sum())


def pitch_spread(roll: np.ndarray) -> float:
    """Return the standard deviation (ddof 0) of the sounding pitches in semitones; NaN if silent.

    Weighted by time, as `mean_pitch`: a key that sounds for four steps counts four times.
    """
    weights = sounding_keys(roll).sum(axis=0)
    if not weights.any():
        return float("nan")
    keys = np.arange(weights.size)
    centre = weights @ keys / weights.sum()
    return float(np.sqrt(weights @ (keys - centre) ** 2 / weights.sum()))


def _class_histogram(roll: np.ndarray) -> np.ndarray:
    """Return the number of notes of each pitch class, shape (12,), C first."""
    return np.bincount((notes_of(roll).key + LOWEST_PITCH) % 12, minlength=12)


def scale_consistency(roll: np.ndarray) -> float:
    """Return the largest share of the notes that lie in one major or natural minor scale.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        7 / 12 at least, for notes spread evenly over the twelve classes, to 1; NaN for no note.

    Notes
    -----
    MusPy's ``scale_consistency`` (after Mogren, C-RNN-GAN, 2016), by number of notes. Each natural
    minor scale holds the pitch classes of its relative major, so twelve scales are tried.
    """
    histogram = _class_histogram(roll)
    return ratio((_SCALES @ histogram).max(), histogram.sum())


def pitch_class_entropy(roll: np.ndarray) -> float:
    """Return the entropy of the notes' pitch classes.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        Bits, 0 (one class) to log2(12) = 3.585; NaN for no note.

    Notes
    -----
    H = -sum_c p_c log2 p_c with p_c the share of notes of class c (Wu and Yang, The Jazz
    Transformer on the Front Line, ISMIR 2020; MusPy's ``pitch_class_entropy``).
    """
    histogram = _class_histogram(roll)
    if not histogram.any():
        return float("nan")
    share = histogram[histogram > 0] / histogram.sum()
    return float(max(0.0, -(share @ np.log2(share))))


def pitch_classes(roll: np.ndarray) -> float:
    """Return how many of the twelve pitch classes occur, 0.0 (no note) to 12.0."""
    return float(np.count_nonzero(_class_histogram(roll)))


# ---- musiclib.measures ----
# Measure the rhythm of one roll: how many notes, how long, and where in quarter and bar.
#
# Conventions: rolls as in `pianoroll`; bars as in `roll_notes` (16 steps from step 0 unless told
# otherwise), quarters counted from the bar line; durations in quarter notes, shares in 0 to 1. A
# measure that a roll does not define is NaN.


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
        As in `roll.Bars`.

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


# ---- musiclib.measures ----
# Measure the harmony of one roll: consonance, chords, and how the voices move.
#
# Conventions: rolls as in `pianoroll`; intervals and moves in semitones; shares lie in 0 to 1. The
# voices known to a roll are its outer ones: the highest and the lowest key that sounds. Where a
# measure is undefined (no pair of keys, no second chord, no note) it returns NaN, never 0.


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


# ---- musiclib.measures ----
# Measure the structure of one roll: what comes back, and what drifts away.
#
# Conventions: rolls as in `pianoroll`; bars as in `roll_notes`, of 16 steps (4/4) from step 0
# unless
# told otherwise; similarities lie in 0 to 1. What a roll does not define is NaN.


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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`.

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
        As in `roll.Bars`: the piece's own, ``measures(roll, **bars.for_measures())``.

    Returns
    -------
    dict of str to float
        NaN where the piece does not define a measure.

    Raises
    ------
    ValueError
        If the roll has another shape or values (see `roll.check_roll`).
    """
    require_piece(roll)
    bars = {"steps_per_bar": steps_per_bar, "upbeat": upbeat}
    return {
        name: measure(roll, **bars) if name in BAR_MEASURES else measure(roll)
        for name, measure in MEASURES.items()
    }
