"""Say how far a set of pieces lies from real music, in 18 features of single pieces.

Conventions: a set is a sequence of rolls (see `pianoroll`) or the table that `feature_table` made
of it. Distances are in standard deviations of the reference set, which is held-out real music,
frozen before any model is judged. Every table says n.

Undefined features: a feature that fewer than two reference pieces define is dropped, for every set
(`dropped_features` names them): tunes of one voice have no consonance, and a mean over the other
features still compares. A single piece that does not define a kept feature is skipped in it. A set
in which no piece defines a kept feature has no distance: NaN, never infinity and never the mean of
the rest. Whoever ranks sets puts it last (`rank_key`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist
from scipy.special import gammaln
from scipy.stats import entropy, wasserstein_distance

from musiclib.measures import BAR_MEASURES, MEASURES
from musiclib.roll import (
    COMMON_BARS,
    LOWEST_PITCH,
    STEPS_PER_QUARTER,
    Bars,
    NoteList,
    notes_of,
    ratio,
    require_piece,
    sounding_keys,
)


class Feature(NamedTuple):
    """Say what one feature of the distance is.

    Attributes
    ----------
    aspect : str
        The side of music that it stands for.
    unit : str
        Unit of its values.
    floor : float
        Smallest spread by which a difference is divided, in that unit: below it, a set of real
        pieces counts as all alike, and a tiny difference must not count as an enormous one.
    """

    aspect: str
    unit: str
    floor: float


FEATURES: dict[str, Feature] = {
    "note_density": Feature("density", "notes a quarter", 0.1),
    "mean_duration": Feature("density", "quarters", 0.05),
    "mean_pitch": Feature("pitch", "semitones", 0.5),
    "pitch_spread": Feature("pitch", "semitones", 0.5),
    "pitch_range": Feature("pitch", "semitones", 0.5),
    "pitch_classes": Feature("scale", "classes", 0.5),
    "pitch_class_entropy": Feature("scale", "bits", 0.05),
    "scale_consistency": Feature("scale", "share", 0.02),
    "polyphony": Feature("polyphony", "keys", 0.1),
    "polyphony_spread": Feature("polyphony", "keys", 0.1),
    "consonant_share": Feature("consonance", "share", 0.02),
    "chord_fit": Feature("chords", "share", 0.02),
    "chord_rate": Feature("chords", "changes a quarter", 0.05),
    "top_step": Feature("voice leading", "semitones", 0.1),
    "bottom_step": Feature("voice leading", "semitones", 0.1),
    "leap_share": Feature("voice leading", "share", 0.02),
    "quarter_onsets": Feature("rhythm", "share", 0.02),
    "groove_consistency": Feature("rhythm", "share", 0.02),
}
"""The 18 features of the distance, one number a piece each. With N notes of start s, length l (in
sixteenths) and pitch p, T steps, K_t the set of keys sounding at step t, and averages over the
steps with K_t not empty unless said otherwise:

density: ``note_density`` = 4 N / T; ``mean_duration`` = mean of l / 4.
pitch: ``mean_pitch``, ``pitch_spread``: mean and standard deviation of the pitches in all K_t;
``pitch_range`` = highest - lowest.
scale: ``pitch_classes`` = number of classes p mod 12 among the notes; ``pitch_class_entropy`` =
-sum_c f_c log2 f_c, f_c the share of notes of class c; ``scale_consistency`` = max over the twelve
major scales S (their relative natural minors hold the same classes) of the share of notes in S.
polyphony: ``polyphony``, ``polyphony_spread``: mean and standard deviation of |K_t|.
consonance: ``consonant_share`` = share of pairs of keys in all K_t whose interval modulo 12 is 0,
3, 4, 5, 7, 8 or 9.
chords: ``chord_fit`` = share of steps with K_t mod 12 a subset of a triad or seventh chord;
``chord_rate`` = 4 (C - 1) / T with C the number of successive different K_t.
voice leading: ``top_step``, ``bottom_step`` = mean |move| of the highest and of the lowest key over
the C - 1 changes; ``leap_share`` = share of these moves (those of 0 left out) above 7 semitones.
rhythm: ``quarter_onsets`` = share of notes with s mod 4 = 0, s counted from the bar line;
``groove_consistency`` = 1 - mean Hamming distance of neighbouring bars' onset patterns, a step of
the bar.
"""


_FLOORS = np.array([feature.floor for feature in FEATURES.values()])
_TOO_FEW = "reference must hold at least 2 pieces that define a feature; it holds {}"


def feature_table(rolls: Iterable[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.DataFrame:
    """Return the 18 features of each piece.

    Parameters
    ----------
    rolls : iterable of np.ndarray, each of shape (T, 88, 2)
        Pieces; of equal length, if they are to be compared.
    bars : sequence of Bars, optional
        Each piece's own bars; 4/4 without an upbeat by default.

    Returns
    -------
    pd.DataFrame
        One row a piece, in order; one column a feature, in the order of `FEATURES`; NaN where a
        piece does not define a feature.

    Raises
    ------
    ValueError
        If a roll is malformed (the message says which), or there are not as many bars as rolls.
    """
    rolls = list(rolls)
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    if len(bars) != len(rolls):
        raise ValueError(f"bars: got those of {len(bars)} pieces for {len(rolls)} rolls")
    rows = []
    for index, (roll, own) in enumerate(zip(rolls, bars, strict=True)):
        require_piece(roll, name=f"rolls[{index}]")
        rows.append({name: _feature(name, roll, own) for name in FEATURES})
    return pd.DataFrame(rows, columns=list(FEATURES), dtype=float)


def _feature(name: str, roll: np.ndarray, bars: Bars) -> float:
    """Return one feature of a piece."""
    return MEASURES[name](roll, **(bars.for_measures() if name in BAR_MEASURES else {}))


def dropped_features(reference: pd.DataFrame | Iterable[np.ndarray]) -> tuple[str, ...]:
    """Return the features that no distance to this reference can hold.

    Parameters
    ----------
    reference : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        Held-out real music.

    Returns
    -------
    tuple of str
        Those that fewer than two of its pieces define, in the order of `FEATURES`.
    """
    values = _table(reference, "reference")[list(FEATURES)].to_numpy(float)
    return tuple(np.array(list(FEATURES))[~_kept(values)].tolist())


def say_dropped(reference: pd.DataFrame | Iterable[np.ndarray]) -> str:
    """Return a sentence that names the `dropped_features`; empty if there are none."""
    dropped = dropped_features(reference)
    if not dropped:
        return ""
    return (
        f"Dropped from every distance, as fewer than two real pieces define it: "
        f"{', '.join(dropped)}. {len(FEATURES) - len(dropped)} features are left."
    )


def in_words(value: float, *, digits: int = 2) -> str:
    """Write a number to be read, and "none" for one that is undefined.

    Examples
    --------
    >>> in_words(0.4321), in_words(math.nan)
    ('0.43', 'none')
    """
    return "none" if math.isnan(value) else f"{value:.{digits}f}"


def rank_key(distance: float) -> float:
    """Return what to sort distances by: the distance, infinity for none, so that none ranks last.

    Examples
    --------
    >>> sorted([math.nan, 0.4, 0.2], key=rank_key)
    [0.2, 0.4, nan]
    """
    return math.inf if math.isnan(distance) else float(distance)


def _kept(reference: np.ndarray) -> np.ndarray:
    """Return which features at least two rows of the reference define, as bool of shape (18,)."""
    return (~np.isnan(reference)).sum(axis=0) >= 2


def feature_distances(
    pieces: pd.DataFrame | Iterable[np.ndarray], reference: pd.DataFrame | Iterable[np.ndarray]
) -> pd.DataFrame:
    """Return the distance of two sets of pieces in each feature.

    Parameters
    ----------
    pieces : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        The set to judge: rolls, or their `feature_table`.
    reference : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        Held-out real music; at least two pieces.

    Returns
    -------
    pd.DataFrame
        Index ``feature``, without the `dropped_features`; columns ``aspect``, ``distance``
        (standard deviations of the reference, at least 0; NaN where no piece defines the feature),
        ``spread`` (what was divided by), ``n`` and ``n_reference`` (pieces that define the
        feature).

    Raises
    ------
    ValueError
        If `pieces` is empty, a column is missing, or there is no feature that two reference pieces
        define.

    Warns
    -----
    UserWarning
        If some of the pieces do not define every kept feature.

    Notes
    -----
    distance_f = W1(pieces_f, reference_f) / max(sd(reference_f), floor_f), with W1 the
    one-dimensional Wasserstein distance and sd of ddof 0. A piece that does not define a feature
    (NaN) is skipped in that feature, and n says so. The features and floors are our choice.
    """
    judged, real = _table(pieces, "pieces"), _table(reference, "reference")
    if judged.empty:
        raise ValueError("pieces must hold at least one piece; got none")
    dropped = dropped_features(real)
    kept = [name for name in FEATURES if name not in dropped]
    if not kept:
        raise ValueError(_TOO_FEW.format(len(real)))
    rows = [_compare(name, judged[name], real[name]) for name in kept]
    frame = pd.DataFrame(rows).set_index("feature")
    if (frame["n"] < len(judged)).any():
        lacking = int(judged[kept].isna().any(axis=1).sum())
        warnings.warn(
            f"{lacking} of {len(judged)} pieces do not define every feature; column n says how "
            "many count (check_piece names silent and stuck pieces)",
            stacklevel=2,
        )
    return frame


def distance_to_real(
    pieces: pd.DataFrame | Iterable[np.ndarray], reference: pd.DataFrame | Iterable[np.ndarray]
) -> float:
    """Return the distance of a set of pieces from real music.

    Parameters
    ----------
    pieces : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        The set to judge: rolls, or their `feature_table`.
    reference : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        Held-out real music.

    Returns
    -------
    float
        Mean of the distances of `feature_distances`; 0 for equal sets, about 0.2 for other real
        pieces of the same kind, NaN where no piece defines some kept feature.

    Raises
    ------
    ValueError
        As `feature_distances`.
    """
    return float(feature_distances(pieces, reference)["distance"].mean(skipna=False))


def distance_of_values(values: np.ndarray, reference: np.ndarray) -> float:
    """Return `distance_to_real` from two arrays of features.

    Parameters
    ----------
    values : np.ndarray, shape (n, 18)
        Features of the pieces to judge, in the order of `FEATURES`; NaN where undefined.
    reference : np.ndarray, shape (m, 18)
        Features of held-out real music.

    Returns
    -------
    float
        The same number as `distance_to_real` gives, NaN included.

    Raises
    ------
    ValueError
        If either is empty or has another number of columns, or there is no feature that two
        reference pieces define.
    """
    return distance_of_drawn(values, reference)(np.arange(len(values)))


def distance_of_drawn(values: np.ndarray, reference: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what gives `distance_of_values` of any of these pieces, fast enough for a bootstrap.

    Parameters
    ----------
    values, reference
        As `distance_of_values`, and with its errors.

    Returns
    -------
    callable
        Takes places of pieces, shape (N,), each as often as it counts, and returns
        ``distance_of_values(values[places], reference)``.

    Notes
    -----
    W1 is the integral of the distance between the two cumulative distributions. The values at which
    they rise are sorted once; a draw only says how often each counts.
    """
    for name, array in (("values", values), ("reference", reference)):
        if array.ndim != 2 or array.shape[1] != len(FEATURES) or not len(array):
            raise ValueError(f"{name} must have shape (n, {len(FEATURES)}), got {array.shape}")
    kept = _kept(reference)
    if not kept.any():
        raise ValueError(_TOO_FEW.format(len(reference)))
    n, both = len(values), np.concatenate([values, reference])[:, kept].T
    order = np.argsort(both, axis=1)  # NaN last
    rises = np.take_along_axis(both, order, axis=1)
    gaps = np.nan_to_num(np.diff(rises, axis=1))
    ours, real = (~np.isnan(rises) & side for side in (order < n, order >= n))
    target = (real.cumsum(axis=1) / real.sum(axis=1, keepdims=True))[:, :-1]
    place = np.where(ours, order, n)  # n: of no piece to judge
    spread = np.maximum(np.nanstd(reference[:, kept], axis=0), _FLOORS[kept])

    def distance(places: np.ndarray) -> float:
        risen = np.bincount(places.astype(int), minlength=n + 1)[place].cumsum(axis=1)
        whole = risen[:, -1:]
        if not whole.all():
            return math.nan
        found = (np.abs(risen[:, :-1] / whole - target) * gaps).sum(axis=1)
        return float((found / spread).mean())

    return distance


def _compare(name: str, judged: pd.Series, real: pd.Series) -> dict[str, object]:
    """Return one row of `feature_distances`."""
    values, target = judged.dropna().to_numpy(), real.dropna().to_numpy()
    spread = max(float(target.std()), FEATURES[name].floor)
    gap = wasserstein_distance(values, target) if len(values) else math.nan
    return {
        "feature": name,
        "aspect": FEATURES[name].aspect,
        "distance": float(gap) / spread,
        "spread": spread,
        "n": len(values),
        "n_reference": len(target),
    }


def _table(pieces: pd.DataFrame | Iterable[np.ndarray], name: str) -> pd.DataFrame:
    """Return a set of pieces as its feature table."""
    frame = pieces if isinstance(pieces, pd.DataFrame) else feature_table(pieces)
    missing = [feature for feature in FEATURES if feature not in frame]
    if missing:
        raise ValueError(f"{name} lacks the feature columns {missing}; use feature_table")
    return frame


# ---- musiclib.distance ----
# Compare two sets of pieces by Yang and Lerch's intra- and inter-set distances.
#
# Conventions: rolls as in `pianoroll`. The intra-set distances of a set are those of all pairs of
# its
# pieces, the inter-set distances those of all pairs across two sets, each in one feature. A model
# that makes what the real set holds has intra-set distances distributed as real music's, and
# inter-set distances distributed as both.
#
# Source: L.-C. Yang and A. Lerch, On the evaluation of generative models in music, Neural Computing
# and Applications 32, 2020. Their toolbox evaluates the two densities of its Kullback-Leibler
# divergence on two different grids; here all densities are evaluated on one.


LENGTH_CLASSES = np.array([1, 2, 3, 4, 6, 8, 12, 16])
"""Note lengths in sixteenths, plain and dotted; a note counts to the nearest (by ratio)."""

GRID_POINTS = 256
"""Points at which the densities are evaluated."""


class Overlap(NamedTuple):
    """Hold how alike two distributions are.

    Attributes
    ----------
    area : float
        Area under the smaller of the two densities, 0 (apart) to 1 (the same).
    kld : float
        Kullback-Leibler divergence of the first from the second, in nats, at least 0.
    """

    area: float
    kld: float


def _top_line(roll: np.ndarray) -> NoteList:
    """Return the notes that start as the highest sounding key: the melody."""
    notes = notes_of(roll)
    sound = sounding_keys(roll)
    top = sound.shape[1] - 1 - sound[:, ::-1].argmax(axis=1)
    return NoteList(*(column[notes.key == top[notes.start]] for column in notes))


def _shares(codes: np.ndarray, size: int) -> np.ndarray:
    """Return the share of each code below size, NaN throughout if there is no code."""
    counts = np.bincount(codes, minlength=size).astype(float)
    return counts / counts.sum() if counts.any() else np.full(size, np.nan)


def _length_class(notes: NoteList) -> np.ndarray:
    """Return the index of each note's length in `LENGTH_CLASSES`."""
    gaps = np.abs(np.log(notes.length[:, None] / LENGTH_CLASSES))
    return gaps.argmin(axis=1) if gaps.size else np.zeros(0, dtype=np.int64)


def _transitions(codes: np.ndarray, size: int) -> np.ndarray:
    """Return the share of each pair of successive codes, shape (size * size,)."""
    return _shares(codes[:-1] * size + codes[1:], size * size)


def _pitch_range(roll: np.ndarray) -> np.ndarray:
    """Return highest - lowest pitch, semitones."""
    key = notes_of(roll).key
    return np.array([np.ptp(key) if key.size else np.nan])


def _pitch_interval(roll: np.ndarray) -> np.ndarray:
    """Return the mean absolute interval between successive notes of the top line, semitones."""
    moves = np.abs(np.diff(_top_line(roll).key))
    return np.array([ratio(moves.sum(), moves.size)])


def _onset_interval(roll: np.ndarray) -> np.ndarray:
    """Return the mean time between successive different onsets, quarters."""
    gaps = np.diff(np.unique(notes_of(roll).start)) / STEPS_PER_QUARTER
    return np.array([ratio(gaps.sum(), gaps.size)])


VECTORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "pitch_count": lambda roll: np.array([np.unique(notes_of(roll).key).size]),
    "pitch_class_histogram": lambda roll: _shares((notes_of(roll).key + LOWEST_PITCH) % 12, 12),
    "pitch_class_transitions": lambda roll: _transitions(
        (_top_line(roll).key + LOWEST_PITCH) % 12, 12
    ),
    "pitch_range": _pitch_range,
    "pitch_interval": _pitch_interval,
    "note_count": lambda roll: np.array([notes_of(roll).start.size]),
    "onset_interval": _onset_interval,
    "note_length_histogram": lambda roll: _shares(
        _length_class(notes_of(roll)), len(LENGTH_CLASSES)
    ),
    "note_length_transitions": lambda roll: _transitions(
        _length_class(_top_line(roll)), len(LENGTH_CLASSES)
    ),
}
"""Yang and Lerch's nine features, each a vector a piece: number of pitches, shares of pitch classes
and of their successions, range, mean interval, number of notes, mean time between onsets (in
quarters), shares of note lengths and of their successions. Successions and intervals are those of
the top line, since the notes of polyphonic music have no single order (our choice)."""


def feature_vectors(rolls: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Return Yang and Lerch's features of each piece.

    Parameters
    ----------
    rolls : iterable of np.ndarray, each of shape (T, 88, 2), uint8
        Pieces.

    Returns
    -------
    dict of str to np.ndarray, each of shape (n, size of the feature)
        By the names of `VECTORS`; NaN where a piece does not define a feature.

    Raises
    ------
    ValueError
        If there is no piece, or one is malformed.
    """
    pieces = [require_piece(roll, name=f"rolls[{i}]") for i, roll in enumerate(rolls)]
    if not pieces:
        raise ValueError("rolls must hold at least one piece; got none")
    return {
        name: np.stack([vector(piece) for piece in pieces]).astype(float)
        for name, vector in VECTORS.items()
    }


def overlap(first: np.ndarray, second: np.ndarray) -> Overlap:
    """Return how alike two samples' densities are.

    Parameters
    ----------
    first, second : np.ndarray, shape (n,) and (m,)
        Samples of one quantity.

    Returns
    -------
    Overlap
        Both NaN where a sample has fewer than two different values, and so no density.

    Notes
    -----
    Gaussian kernel densities p, q (Scott's bandwidth) on one shared grid that reaches three
    bandwidths past both samples; area = sum min(p, q) dx, kld = sum p log(p / q) dx, with densities
    scaled to sum to one on the grid and 1e-12 added to each, so that the divergence stays finite.
    """
    if len(first) < 2 or len(second) < 2 or not (np.ptp(first) > 0 and np.ptp(second) > 0):
        return Overlap(float("nan"), float("nan"))
    samples = [np.sort(sample) for sample in (first, second)]
    widths = [sample.std(ddof=1) * len(sample) ** -0.2 for sample in samples]
    margin = 3 * max(widths)
    lowest, highest = min(s[0] for s in samples), max(s[-1] for s in samples)
    grid = np.linspace(lowest - margin, highest + margin, GRID_POINTS)
    found = [density(s, grid, width=width) for s, width in zip(samples, widths, strict=True)]
    p, q = (each / each.sum() for each in found)
    return Overlap(float(np.minimum(p, q).sum()), float(entropy(p + 1e-12, q + 1e-12)))


def density(ordered: np.ndarray, at: np.ndarray, *, width: float) -> np.ndarray:
    """Return a Gaussian kernel density of a sorted sample of shape (n,) at some points.

    Notes
    -----
    At each point only values within ten widths count: what lies further off adds less than exp(-50)
    of its share.
    """
    scaled, centres = ordered / width, at / width
    first, last = (scaled.searchsorted(centres + side) for side in (-10, 10))
    found = [
        np.exp(-0.5 * (scaled[low:high] - centre) ** 2).sum()
        for centre, low, high in zip(centres, first, last, strict=True)
    ]
    return np.array(found) / (len(ordered) * width * math.sqrt(2 * math.pi))


def set_distances(
    pieces: Iterable[np.ndarray] | dict[str, np.ndarray],
    reference: Iterable[np.ndarray] | dict[str, np.ndarray],
) -> pd.DataFrame:
    """Return the intra- and inter-set distances of two sets in each feature.

    Parameters
    ----------
    pieces, reference : iterable of np.ndarray, each of shape (T, 88, 2), uint8
        The set to judge and the real one; or their `feature_vectors`.

    Returns
    -------
    pd.DataFrame
        Index ``feature``; columns ``intra``, ``intra_reference``, ``inter`` (mean Euclidean
        distances), ``overlap`` and ``kld`` (of the inter-set distances beside the reference's
        intra-set ones, see `overlap`), ``overlap_own`` and ``kld_own`` (beside the judged set's
        own), ``n``, ``n_reference``. NaN where a set has fewer than two pieces that define the
        feature.

    Raises
    ------
    ValueError
        As `feature_vectors`.

    Notes
    -----
    A piece that does not define a feature is left out of it, and n says so.
    """
    ours, real = (s if isinstance(s, dict) else feature_vectors(s) for s in (pieces, reference))
    rows = [{"feature": name, **_compare_set_distances(ours[name], real[name])} for name in VECTORS]
    return pd.DataFrame(rows).set_index("feature")


def _compare_set_distances(ours: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Return one row of `set_distances`."""
    ours, real = (vectors[~np.isnan(vectors).any(axis=1)] for vectors in (ours, real))
    intra, intra_real = (pdist(v) if len(v) > 1 else np.zeros(0) for v in (ours, real))
    inter = cdist(ours, real).ravel() if len(ours) and len(real) else np.zeros(0)
    beside_real, beside_own = overlap(intra_real, inter), overlap(intra, inter)
    return {
        "intra": ratio(intra.sum(), intra.size),
        "intra_reference": ratio(intra_real.sum(), intra_real.size),
        "inter": ratio(inter.sum(), inter.size),
        "overlap": beside_real.area,
        "kld": beside_real.kld,
        "overlap_own": beside_own.area,
        "kld_own": beside_own.kld,
        "n": len(ours),
        "n_reference": len(real),
    }


# ---- musiclib.distance ----
# Say how different the pieces of one set are from each other, beside the pieces of real music.
#
# Conventions: rolls as in `pianoroll`, all of one length. The Hamming distance of two rolls is the
# number of their 2 T 88 cells (onset and sounding) that differ. A collapsed model, which always
# makes
# nearly the same piece, has a diversity near 0 of real music's.


class Diversity(NamedTuple):
    """Hold how far apart the pieces of a set lie.

    Attributes
    ----------
    nearest : float
        Mean distance of a piece to the nearest other, in cells (or as a ratio to real music's).
    pairwise : float
        Mean distance of all pairs, in cells (or as a ratio).
    n : int
        Pieces to which both refer.
    """

    nearest: float
    pairwise: float
    n: int


def hamming_distances(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Return the Hamming distances of all pairs of pieces.

    Parameters
    ----------
    pieces : sequence of np.ndarray, each of shape (T, 88, 2), uint8
        Pieces of one length.

    Returns
    -------
    np.ndarray of int, shape (n, n)
        Cells that differ, 0 to 176 T; 0 on the diagonal.

    Raises
    ------
    ValueError
        If there is no piece, one is malformed, or their lengths differ.

    Notes
    -----
    With rolls as rows x of 0 and 1: d(x, y) = |x| + |y| - 2 x . y, one matrix product.
    """
    rolls = [require_piece(piece, name=f"pieces[{i}]") for i, piece in enumerate(pieces)]
    lengths = sorted({len(roll) for roll in rolls})
    if len(lengths) != 1:
        raise ValueError(f"pieces must be one or more of one length; got lengths {lengths}")
    flat = np.stack(rolls).reshape(len(rolls), -1).astype(np.float32)
    ones = flat.sum(axis=1)
    return np.rint(ones[:, None] + ones - 2 * flat @ flat.T).astype(np.int64)


def diversity(pieces: Sequence[np.ndarray], *, size: int | None = None) -> Diversity:
    """Return how far apart the pieces of a set lie.

    Parameters
    ----------
    pieces : sequence of np.ndarray, each of shape (T, 88, 2), uint8
        Pieces of one length.
    size : int or None
        Refer the nearest distance to sets of this many pieces, 2 to n; by default n.

    Returns
    -------
    Diversity
        Both NaN for a single piece.

    Raises
    ------
    ValueError
        As `hamming_distances`, and for a size out of range.

    Notes
    -----
    The more pieces, the nearer the nearest. Sets of unequal size are therefore compared at the
    smaller one: the expected nearest distance in a random subset of m of the n pieces is computed
    exactly. The j-th nearest (j = 1 to n - 1) of a piece is the nearest in the subset with
    probability C(n - 1 - j, m - 2) / C(n - 1, m - 1).
    """
    distances = hamming_distances(pieces)
    n = len(distances)
    if n == 1:
        return Diversity(float("nan"), float("nan"), 1)
    size = n if size is None else size
    if not 2 <= size <= n:
        raise ValueError(f"size must lie in 2 to {n}, the number of pieces; got {size}")
    others = distances[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    nearest = np.sort(others, axis=1).mean(axis=0) @ _chance_of_nearest(n, size)
    return Diversity(float(nearest), float(others.mean()), size)


def _chance_of_nearest(n: int, size: int) -> np.ndarray:
    """Return the chance of each of n - 1 ordered others to be the nearest in a subset of size."""
    j = np.arange(1, n - size + 2)
    chance = np.zeros(n - 1)
    chance[: len(j)] = np.exp(_log_choose(n - 1 - j, size - 2) - _log_choose(n - 1, size - 1))
    return chance


def _log_choose(n: np.ndarray | int, k: int) -> np.ndarray:
    """Return log C(n, k), elementwise."""
    return gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.subtract(n, k) + 1)


def diversity_ratio(pieces: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> Diversity:
    """Return a set's diversity over that of real music, at the size of the smaller set.

    Parameters
    ----------
    pieces : sequence of np.ndarray, each of shape (T, 88, 2), uint8
        The set to judge, 2 or more pieces of one length.
    reference : sequence of np.ndarray, each of shape (T, 88, 2), uint8
        Real music of that length, 2 or more pieces.

    Returns
    -------
    Diversity
        Ratios, 1.0 for sets as diverse as real music, 0.0 for a set of one piece repeated; NaN
        where a set has one piece.

    Raises
    ------
    ValueError
        As `hamming_distances`; if the lengths of the two sets differ; or if the pieces of
        `reference` are all the same.
    """
    if len(pieces) and len(reference) and len(pieces[0]) != len(reference[0]):
        raise ValueError(
            f"pieces and reference must be of one length; got {len(pieces[0])} and "
            f"{len(reference[0])} steps"
        )
    size = min(len(pieces), len(reference))
    if size == 1:
        return Diversity(float("nan"), float("nan"), 1)
    ours, real = (diversity(rolls, size=size or None) for rolls in (pieces, reference))
    if not real.nearest:
        raise ValueError("reference must hold different pieces; the nearest are all the same")
    return Diversity(ours.nearest / real.nearest, ours.pairwise / real.pairwise, size)
