"""Measure one piece by every measure, and check whether it is fit to be heard.

Conventions: every measure takes a roll as in `musiclib.roll` (uint8, shape (T, 88, 2), time in
sixteenths, T at least 1), refuses anything else with a `ValueError`, and returns a float. Those
that count bars, or places in a bar, take ``**bars``: `steps_per_bar` and `upbeat` as in
`roll.Bars`, by default 4/4 without an upbeat; they skip an incomplete last bar. Pitches, intervals
and moves are in semitones, durations in quarter notes, shares in 0 to 1; pitch class 0 is C.
Standard deviations have ddof 0. What a piece does not define (the pitch range of silence) is NaN,
never 0. A chord is a set of keys sounding together. The only voices known from a roll are the outer
ones: the highest and the lowest key that sounds.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable

import numpy as np

from musiclib.roll import (  # isort: skip
    LOWEST_PITCH, STEPS_PER_QUARTER, Bars, chord_sequence, note_list, note_starts, ratio,
    require_piece, sounding_keys, whole_bars
)  # fmt: skip

PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_SCALES = np.array([[(c - root) % 12 in _MAJOR for c in range(12)] for root in range(12)])

# Unison, thirds, fourth (our choice: among inner voices it is consonant), fifth, sixths, modulo 12.
CONSONANT_INTERVALS = (0, 3, 4, 5, 7, 8, 9)
CHORD_TYPES = {  # pitch classes above the root
    "major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6), "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10), "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10), "half-diminished seventh": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
}  # fmt: skip
LARGE_LEAP = 7  # an outer voice that moves by more than a fifth leaps (our choice)
EDGE_BARS = 2  # bars at each end of a piece between which drift is measured (our choice)
STUCK_QUARTERS = 8.0  # a piece is stuck where the same keys sound for longer


def pitch_name(pitch: int) -> str:
    """Return the name of a MIDI pitch with its octave; 60 is middle C, C4."""
    return f"{PITCH_CLASSES[pitch % 12]}{pitch // 12 - 1}"


def note_density(roll: np.ndarray) -> float:
    """Return the mean number of notes that start per quarter note; 0.0 without notes."""
    return float(note_starts(roll).sum() * STEPS_PER_QUARTER / len(roll))


def mean_duration(roll: np.ndarray) -> float:
    """Return the mean length of the notes in quarter notes; NaN without notes."""
    length = note_list(roll).length
    return ratio(length.sum() / STEPS_PER_QUARTER, length.size)


def long_note_share(roll: np.ndarray) -> float:
    """Return the share of notes that last at least two steps, an eighth; NaN without notes.

    MuseGAN's qualified notes are longer than a 32nd; on a grid of sixteenths all are (our choice).
    """
    length = note_list(roll).length
    return ratio((length >= 2).sum(), length.size)


def silence(roll: np.ndarray) -> float:
    """Return the share of steps in which no key sounds, 0 to 1 (1.0 for a silent roll)."""
    return float(1.0 - sounding_keys(roll).any(axis=1).mean())


def empty_bars(roll: np.ndarray, **bars: int) -> float:
    """Return the share of whole bars in which no key sounds; NaN for a roll shorter than a bar.

    As in MuseGAN; MusPy also counts a note that ends on a bar line in the next bar.
    """
    empty = ~whole_bars(sounding_keys(roll), **bars).any(axis=(1, 2))
    return ratio(empty.sum(), empty.size)


def polyphony(roll: np.ndarray) -> float:
    """Return the mean number of keys that sound together over the sounding steps; NaN if silent."""
    counts = sounding_keys(roll).sum(axis=1)
    return ratio(counts.sum(), np.count_nonzero(counts))


def polyphony_spread(roll: np.ndarray) -> float:
    """Return the standard deviation of the number of keys over the sounding steps."""
    counts = sounding_keys(roll).sum(axis=1)
    return float(counts[counts > 0].std()) if counts.any() else math.nan


def mean_pitch(roll: np.ndarray) -> float:
    """Return the mean MIDI pitch over all sounding keys of all steps, 21 to 108; NaN if silent."""
    weights = sounding_keys(roll).sum(axis=0)
    return ratio(weights @ (np.arange(weights.size) + LOWEST_PITCH), weights.sum())


def pitch_spread(roll: np.ndarray) -> float:
    """Return the standard deviation of the sounding pitches in semitones; NaN if silent."""
    weights = sounding_keys(roll).sum(axis=0)
    keys = np.arange(weights.size)
    centre = ratio(weights @ keys, weights.sum())
    return math.sqrt(ratio(weights @ (keys - centre) ** 2, weights.sum()))


def pitch_range(roll: np.ndarray) -> float:
    """Return the highest minus the lowest pitch that sounds, in semitones; NaN for a silent roll.

    0 for a lone note; MusPy returns 0 for silence too.
    """
    keys = np.flatnonzero(sounding_keys(roll).any(axis=0))
    return float(keys[-1] - keys[0]) if keys.size else math.nan


def pitch_classes(roll: np.ndarray) -> float:
    """Return how many of the twelve pitch classes occur, 0.0 (no note) to 12.0."""
    return float(np.count_nonzero(_class_histogram(roll)))


def pitch_class_entropy(roll: np.ndarray) -> float:
    """Return the entropy of the notes' pitch classes in bits, 0 to log2(12); NaN without notes.

    H = -sum_c p_c log2 p_c with p_c the share of class c (Wu and Yang, ISMIR 2020).
    """
    histogram = _class_histogram(roll)
    if not histogram.any():
        return math.nan
    share = histogram[histogram > 0] / histogram.sum()
    return float(max(0.0, -(share @ np.log2(share))))


def scale_consistency(roll: np.ndarray) -> float:
    """Return the largest share of the notes that lie in one major or natural minor scale.

    At least 7 / 12. A natural minor scale has the classes of its relative major, so 12 are tried.
    MusPy's measure, after Mogren, C-RNN-GAN, 2016; NaN without notes.
    """
    histogram = _class_histogram(roll)
    return ratio((_SCALES @ histogram).max(), histogram.sum())


def _class_histogram(roll: np.ndarray) -> np.ndarray:
    return np.bincount((note_list(roll).key + LOWEST_PITCH) % 12, minlength=12)


def fold_classes(sound: np.ndarray) -> np.ndarray:
    """Return how many keys of each pitch class sound: (T, 88) bool to (T, 12) int."""
    below = LOWEST_PITCH % 12
    padded = np.pad(sound, ((0, 0), (below, -(below + sound.shape[1]) % 12)))
    return padded.reshape(len(sound), -1, 12).sum(axis=1)


def consonant_share(roll: np.ndarray) -> float:
    """Return the share of pairs of keys sounding together that are consonant.

    Over all pairs of all steps; NaN where two keys never sound together. With c_t the keys of each
    pitch class at step t and G = sum_t c_t c_t^T, the pairs d classes apart number
    sum_i G[i, i + d] / 2 for each ordering, those in one class (sum_i G[i, i] - sum_t |c_t|) / 2.
    """
    counts = fold_classes(sounding_keys(roll)).astype(np.int64)
    together = counts.T @ counts
    np.fill_diagonal(together, together.diagonal() - counts.sum(axis=0))
    interval = np.subtract.outer(np.arange(12), np.arange(12)) % 12
    consonant = together[np.isin(interval, CONSONANT_INTERVALS)].sum()
    return ratio(consonant, together.sum())


_CHORDS = [
    sum(1 << (root + tone) % 12 for tone in chord)
    for root, chord in itertools.product(range(12), CHORD_TYPES.values())
]
# Whether a chord holds each of the 4096 sets of pitch classes (bit c: class c).
_FITS = np.any([np.arange(4096) & ~chord == 0 for chord in _CHORDS], axis=0)


def chord_fit(roll: np.ndarray) -> float:
    """Return the share of sounding steps whose pitch classes all belong to one chord.

    A chord of `CHORD_TYPES` on any root; a bare interval or single key of one fits too, so read it
    beside polyphony (our choice). NaN for a silent roll.
    """
    classes = fold_classes(sounding_keys(roll)) > 0
    classes = classes[classes.any(axis=1)]
    return ratio(_FITS[classes @ (1 << np.arange(12))].sum(), len(classes))


def chord_rate(roll: np.ndarray) -> float:
    """Return the number of chord changes per quarter note; 0.0 for silence or one chord alone."""
    changes = max(len(chord_sequence(roll)) - 1, 0)
    return changes * STEPS_PER_QUARTER / len(roll)


def outer_voices(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest and the lowest key (0 to 87) of each of the C successive chords."""
    chords = chord_sequence(roll)
    return chords.shape[1] - 1 - chords[:, ::-1].argmax(axis=1), chords.argmax(axis=1)


def top_step(roll: np.ndarray) -> float:
    """Return the mean absolute move of the top line between successive chords, in semitones.

    A line that stays put counts as 0; NaN for fewer than two different chords.
    """
    moves = np.abs(np.diff(outer_voices(roll)[0]))
    return ratio(moves.sum(), moves.size)


def bottom_step(roll: np.ndarray) -> float:
    """Return the mean absolute move of the bottom line between successive chords, in semitones."""
    moves = np.abs(np.diff(outer_voices(roll)[1]))
    return ratio(moves.sum(), moves.size)


def leap_share(roll: np.ndarray) -> float:
    """Return the share of the outer voices' moves that leap by more than `LARGE_LEAP` semitones.

    A voice that stays put from one chord to the next does not move; NaN where neither ever moves.
    """
    moves = np.abs(np.diff(outer_voices(roll)))
    return ratio((moves > LARGE_LEAP).sum(), (moves > 0).sum())


def outer_parallels(roll: np.ndarray) -> float:
    """Return the share of chord changes with parallel fifths or octaves in the outer voices.

    Top and bottom are different keys, a fifth or an octave apart (modulo 12), and both move by the
    same interval, not 0; NaN for fewer than two different chords.
    """
    top, bottom = outer_voices(roll)
    moves = np.diff((top, bottom))
    perfect = np.isin((top - bottom)[:-1] % 12, (0, 7)) & (top > bottom)[:-1]
    parallel = perfect & (moves[0] == moves[1]) & (moves[0] != 0)
    return ratio(parallel.sum(), parallel.size)


def onset_steps(roll: np.ndarray) -> float:
    """Return the share of steps in which a note starts, 0 to 1 (0.0 without notes)."""
    return float(note_starts(roll).any(axis=1).mean())


def quarter_onsets(roll: np.ndarray, **bars: int) -> float:
    """Return the share of notes that start on a quarter note, 0 to 1; NaN without notes."""
    return _share_at(roll, (0,), **bars)


def eighth_onsets(roll: np.ndarray, **bars: int) -> float:
    """Return the share of notes that start on an eighth between quarters; NaN without notes."""
    return _share_at(roll, (2,), **bars)


def sixteenth_onsets(roll: np.ndarray, **bars: int) -> float:
    """Return the share of notes that start on a sixteenth between eighths; NaN without notes."""
    return _share_at(roll, (1, 3), **bars)


def _share_at(roll: np.ndarray, positions: tuple[int, ...], **bars: int) -> float:
    steps_per_bar, upbeat, _ = Bars(**bars)
    in_bar = (note_list(roll).start - upbeat) % steps_per_bar
    return ratio(np.isin(in_bar % STEPS_PER_QUARTER, positions).sum(), in_bar.size)


def groove_consistency(roll: np.ndarray, **bars: int) -> float:
    """Return how alike the onset patterns of neighbouring bars are.

    GC = 1 - sum_b d(g_b, g_{b+1}) / ((B - 1) S), with g_b the binary onset pattern of bar b, d the
    Hamming distance, S steps to a bar (Wu and Yang, ISMIR 2020): 1 for silence; NaN below 2 bars.
    """
    patterns = whole_bars(note_starts(roll).any(axis=1), **bars)
    return 1.0 - ratio((patterns[1:] != patterns[:-1]).sum(), patterns[1:].size)


def self_similarity(roll: np.ndarray, **bars: int) -> np.ndarray:
    """Return the cosine similarity of every two of the B whole bars, shape (B, B), 0 to 1.

    A bar is the vector of its steps' pitch classes (how many keys of each sound), so octaves do not
    matter but timing does. A silent bar is like another silent bar (1) and unlike any other (0).
    Our choice; self-similarity matrices: Foote, ACM Multimedia 1999.
    """
    vectors = whole_bars(fold_classes(sounding_keys(roll)).astype(float), **bars)
    vectors = vectors.reshape(len(vectors), np.prod(vectors.shape[1:]))
    silent = ~vectors.any(axis=1)
    length = np.linalg.norm(vectors, axis=1) + silent
    cosine = (vectors / length[:, None]) @ (vectors / length[:, None]).T
    return np.clip(cosine + np.outer(silent, silent), 0.0, 1.0)


def repetition(roll: np.ndarray, *, lag: int, **bars: int) -> float:
    """Return the mean `self_similarity` of all pairs `lag` bars apart; NaN if there is none."""
    if lag < 1:
        raise ValueError(f"lag must be at least 1; got {lag}")
    lagged = np.diagonal(self_similarity(roll, **bars), offset=lag)
    return ratio(lagged.sum(), lagged.size)


def repetition_1(roll: np.ndarray, **bars: int) -> float:
    """Return the `repetition` from bar to bar; NaN for fewer than two bars."""
    return repetition(roll, lag=1, **bars)


def repetition_2(roll: np.ndarray, **bars: int) -> float:
    """Return the `repetition` two bars later; NaN for fewer than three bars."""
    return repetition(roll, lag=2, **bars)


def repetition_4(roll: np.ndarray, **bars: int) -> float:
    """Return the `repetition` four bars later; NaN for fewer than five bars."""
    return repetition(roll, lag=4, **bars)


def repeated_bars(roll: np.ndarray, **bars: int) -> float:
    """Return the share of bars, except the first, that occurred before, note for note."""
    each = whole_bars(require_piece(roll), **bars)
    different = len({bar.tobytes() for bar in each})
    return ratio(len(each) - different, max(len(each) - 1, 0))


def melody_return(roll: np.ndarray) -> float:
    """Return the share of the top line's moves in the second half that the first half had too.

    A move is two successive keys of the highest line (our choice); NaN if the second half has none.
    """
    sound, half = sounding_keys(roll), len(roll) // 2
    top = np.where(sound.any(axis=1), sound.shape[1] - sound[:, ::-1].argmax(axis=1), 0)
    new = [part[(part > 0) & (np.diff(part, prepend=0) != 0)] for part in (top[:half], top[half:])]
    first, second = (list(itertools.pairwise(line.tolist())) for line in new)
    return ratio(sum(move in set(first) for move in second), len(second))


def pitch_drift(roll: np.ndarray, **bars: int) -> float:
    """Return how far the mean pitch moves from the first two bars to the last two, in semitones.

    This and the other drifts are NaN for fewer than four bars; this one also if an end is silent.
    """
    edges = _edges(roll, **bars)
    if edges is None:
        return math.nan
    counts = [sounding_keys(edge).sum(axis=0) for edge in edges]
    first, last = (ratio(count @ np.arange(count.size), count.sum()) for count in counts)
    return abs(last - first)


def density_drift(roll: np.ndarray, **bars: int) -> float:
    """Return how far the note density moves from the first two bars to the last two."""
    edges = _edges(roll, **bars)
    if edges is None:
        return math.nan
    first, last = (float(note_starts(edge).sum()) for edge in edges)
    return abs(last - first) * STEPS_PER_QUARTER / len(edges[0])


def key_drift(roll: np.ndarray, **bars: int) -> float:
    """Return how far the pitch classes move from the first two bars to the last two.

    Total variation distance sum_c |p_c - q_c| / 2 of their shares of sounding time (our choice): 0
    for the same shares, 1 for no class in common; NaN as in `pitch_drift`.
    """
    edges = _edges(roll, **bars)
    if edges is None or not all(sounding_keys(edge).any() for edge in edges):
        return math.nan
    counts = [fold_classes(sounding_keys(edge)).sum(axis=0) for edge in edges]
    first, last = (count / count.sum() for count in counts)
    return float(np.abs(first - last).sum() / 2)


def _edges(roll: np.ndarray, **bars: int) -> tuple[np.ndarray, np.ndarray] | None:
    each = whole_bars(require_piece(roll), **bars)
    if len(each) < 2 * EDGE_BARS:
        return None
    return np.concatenate(each[:EDGE_BARS]), np.concatenate(each[-EDGE_BARS:])


def check_piece(roll: np.ndarray, **bars: int) -> list[str]:
    """Return what makes a piece unfit to hear, one sentence per problem; none for a fit piece.

    A sentence begins with "no note" (then it is the only one), with "stuck" (one set of keys, held
    or struck again and again, sounds for more than `STUCK_QUARTERS` quarter notes) or with "empty
    bars" (whole bars in which no key sounds).
    """
    sound = sounding_keys(roll)
    if not sound.any():
        return ["no note: the piece is silent"]
    problems = []
    changes = np.flatnonzero((sound[1:] != sound[:-1]).any(axis=1)) + 1
    starts = np.concatenate(([0], changes))
    lengths = np.diff(np.append(starts, len(sound))) * sound[starts].any(axis=1)
    longest = lengths.argmax()
    quarters = lengths[longest] / STEPS_PER_QUARTER
    if quarters > STUCK_QUARTERS:
        at = starts[longest]
        problems.append(f"stuck: the same keys sound for {quarters:g} quarters from step {at}")
    empty = ~whole_bars(sound, **bars).any(axis=(1, 2))
    if empty.any():
        problems.append(f"empty bars: {empty.sum()} of {empty.size} hold no note")
    return problems


_ALL = (
    note_density, mean_duration, long_note_share, silence, empty_bars, polyphony, polyphony_spread,
    mean_pitch, pitch_spread, pitch_range, pitch_classes, pitch_class_entropy, scale_consistency,
    consonant_share, chord_fit, chord_rate, top_step, bottom_step, leap_share, outer_parallels,
    onset_steps, quarter_onsets, eighth_onsets, sixteenth_onsets, groove_consistency,
    repetition_1, repetition_2, repetition_4, repeated_bars,
    melody_return, pitch_drift, density_drift, key_drift,
)  # fmt: skip
MEASURES: dict[str, Callable[..., float]] = {measure.__name__: measure for measure in _ALL}
BAR_MEASURES = tuple(
    name for name, how in MEASURES.items() if "bars" in inspect.signature(how).parameters
)


def measures(roll: np.ndarray, **bars: int) -> dict[str, float]:
    """Return every measure of a piece by name; its own bars are ``bars.for_measures()``."""
    return {
        name: measure(roll, **bars) if name in BAR_MEASURES else measure(roll)
        for name, measure in MEASURES.items()
    }
