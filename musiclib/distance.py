"""Measure how far a set of pieces lies from real music, and how far its pieces lie apart.

Conventions: a set of pieces is a sequence of rolls, uint8 of shape (T, 88, 2), or its
`feature_table`; rolls to be compared have one length. The reference is held-out real music, frozen
before any model is judged. Every table says n, the pieces that count. Empty sets and malformed
rolls are a ``ValueError``.

Three views: `distance_to_real` compares 18 features of single pieces, in standard deviations of the
reference (features and floors are our choice); `set_distances` compares distances between pieces,
after Yang and Lerch; `diversity_ratio` shows collapse to nearly one piece.

Undefined features: a feature that fewer than two reference pieces define is dropped, for every set
(`dropped_features`): tunes of one voice have no consonance. A single piece that does not define a
kept feature is skipped in it. A set in which no piece defines a kept feature has no distance: NaN,
never infinity and never the mean of the rest; in a ranking it comes last (`rank_key`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist
from scipy.special import gammaln
from scipy.stats import entropy, wasserstein_distance

from musiclib.measures import BAR_MEASURES, MEASURES

from musiclib.roll import (  # isort: skip
    COMMON_BARS, LOWEST_PITCH, STEPS_PER_QUARTER, Bars, NoteList, note_list, ratio, require_piece,
    sounding_keys
)  # fmt: skip

Pieces = pd.DataFrame | Iterable[np.ndarray]  # a `feature_table`, or rolls


class Feature(NamedTuple):
    """The aspect a feature describes, its unit, and the least spread to divide by, in it."""

    aspect: str
    unit: str
    floor: float


FEATURES: dict[str, Feature] = {  # one number per piece each
    "note_density": Feature("density", "notes per quarter", 0.1),
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
    "chord_rate": Feature("chords", "changes per quarter", 0.05),
    "top_step": Feature("voice leading", "semitones", 0.1),
    "bottom_step": Feature("voice leading", "semitones", 0.1),
    "leap_share": Feature("voice leading", "share", 0.02),
    "quarter_onsets": Feature("rhythm", "share", 0.02),
    "groove_consistency": Feature("rhythm", "share", 0.02),
}

Features = Mapping[str, Feature]
_TOO_FEW = "reference must hold at least 2 pieces that define a feature; it holds {}"


def feature_table(rolls: Iterable[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.DataFrame:
    """Return the `FEATURES`, one row per piece; each has its own `bars`, by default 4/4."""
    rolls = list(rolls)
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    if len(bars) != len(rolls):
        raise ValueError(f"bars: got those of {len(bars)} pieces for {len(rolls)} rolls")
    rows = []
    for index, (roll, own) in enumerate(zip(rolls, bars, strict=True)):
        require_piece(roll, name=f"rolls[{index}]")
        given = {name: own.for_measures() for name in BAR_MEASURES}
        rows.append([MEASURES[name](roll, **given.get(name, {})) for name in FEATURES])
    return pd.DataFrame(rows, columns=list(FEATURES), dtype=float)


def _table(pieces: Pieces, name: str, features: Features = FEATURES) -> pd.DataFrame:
    frame = pieces if isinstance(pieces, pd.DataFrame) else feature_table(pieces)
    if missing := [feature for feature in features if feature not in frame]:
        raise ValueError(f"{name} lacks the feature columns {missing}; use feature_table")
    return frame


def dropped_features(reference: Pieces) -> tuple[str, ...]:
    """Return the features that fewer than two pieces of this reference define."""
    table = _table(reference, "reference")
    return tuple(name for name in FEATURES if table[name].count() < 2)


def describe_dropped(reference: Pieces) -> str:
    """Return a sentence that names the `dropped_features`; empty if there are none."""
    if not (dropped := dropped_features(reference)):
        return ""
    return (
        "Dropped from every distance, as fewer than two real pieces define it: "
        f"{', '.join(dropped)}. {len(FEATURES) - len(dropped)} features are left."
    )


def format_value(value: float, *, digits: int = 2) -> str:
    """Write a number to be read, and "none" for one that is undefined."""
    return "none" if math.isnan(value) else f"{value:.{digits}f}"


def rank_key(distance: float) -> float:
    """Return what to sort distances by: infinity for an undefined one, so that it ranks last."""
    return math.inf if math.isnan(distance) else float(distance)


def distance_to_real(pieces: Pieces, reference: Pieces) -> float:
    """Return the mean of the `feature_distances`: 0 for equal sets, NaN where one is undefined."""
    return float(feature_distances(pieces, reference)["distance"].mean(skipna=False))


def feature_distances(
    pieces: Pieces, reference: Pieces, features: Features = FEATURES
) -> pd.DataFrame:
    """Return the distance of a set of pieces from real music in each kept one of `features`.

    distance_f = W1(pieces_f, reference_f) / max(sd(reference_f), floor_f), with W1 the
    one-dimensional Wasserstein distance. Index ``feature``; columns ``aspect``, ``distance``,
    ``spread`` (what was divided by), ``n`` and ``n_reference``. Warns if some pieces do not define
    every kept feature; a reference without any kept feature is a ``ValueError``.
    """
    judged, real = _table(pieces, "pieces", features), _table(reference, "reference", features)
    if judged.empty:
        raise ValueError("pieces must hold at least one piece; got none")
    if not (kept := [name for name in features if real[name].count() >= 2]):
        raise ValueError(_TOO_FEW.format(len(real)))
    rows = []
    for name in kept:
        values, target = judged[name].dropna().to_numpy(), real[name].dropna().to_numpy()
        spread = max(float(target.std()), features[name].floor)
        gap = wasserstein_distance(values, target) if len(values) else math.nan
        rows.append((features[name].aspect, gap / spread, spread, len(values), len(target)))
    columns = ["aspect", "distance", "spread", "n", "n_reference"]
    frame = pd.DataFrame(rows, index=pd.Index(kept, name="feature"), columns=columns)
    if (frame["n"] < len(judged)).any():
        lacking = int(judged[kept].isna().any(axis=1).sum())
        text = f"{lacking} of {len(judged)} pieces do not define every feature; column n says how"
        more = "many count (check_piece names silent and stuck pieces)"
        warnings.warn(f"{text} {more}", stacklevel=2)
    return frame


def resampled_distance(
    values: np.ndarray, reference: np.ndarray, features: Features = FEATURES
) -> Callable[..., float]:
    """Return a function that gives the mean distance of resampled pieces, fast for a bootstrap.

    It takes places of pieces, shape (N,), each as often as it counts, and perhaps places of the
    reference too. `values` (n, F) and `reference` (m, F) hold `features`, NaN where undefined. W1
    integrates the distance between two cumulative distributions, whose rises are sorted only once.
    """
    for name, array in (("values", values), ("reference", reference)):
        if array.ndim != 2 or array.shape[1] != len(features) or not len(array):
            raise ValueError(f"{name} must have shape (n, {len(features)}), got {array.shape}")
    kept = (~np.isnan(reference)).sum(axis=0) >= 2
    if not kept.any():
        raise ValueError(_TOO_FEW.format(len(reference)))
    floors = np.array([feature.floor for feature in features.values()])[kept]
    n, m, both = len(values), len(reference), np.concatenate([values, reference])[:, kept].T
    order = np.argsort(both, axis=1)  # NaN last
    rises = np.take_along_axis(both, order, axis=1)
    gaps, there = np.nan_to_num(np.diff(rises, axis=1)), ~np.isnan(rises)
    ours = np.where(there & (order < n), order, n)  # n, and m: of no piece
    theirs = np.where(there & (order >= n), order - n, m)

    def rise(place: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
        risen = np.bincount(places.astype(int), minlength=size + 1)[place].cumsum(axis=1)
        return risen[:, :-1] / np.where(risen[:, -1:], risen[:, -1:], np.nan)

    centred = both[:, n:].T - np.nanmean(both[:, n:], axis=1)
    powers = [np.nan_to_num(centred**power) for power in (1, 2)]

    def target(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = np.bincount(places.astype(int), minlength=m)
        size = np.where(total := counts @ ~np.isnan(centred), total, np.nan)
        first, second = (counts @ power / size for power in powers)
        return rise(theirs, places, m), np.maximum(np.sqrt(second - first**2), floors)

    whole = target(np.arange(m))

    def distance(places: np.ndarray, others: np.ndarray | None = None) -> float:
        level, spread = whole if others is None else target(others)
        gap = (np.abs(rise(ours, places, n) - level) * gaps).sum(axis=1)
        return float((gap / spread).mean())

    return distance


# Intra- and inter-set distances: L.-C. Yang and A. Lerch, On the evaluation of generative models in
# music, Neural Computing and Applications 32, 2020. Their toolbox evaluates the two densities of
# its Kullback-Leibler divergence on two different grids; here they share one.

# Note lengths in sixteenths, plain and dotted; a note counts to the nearest (by ratio).
LENGTH_CLASSES = np.array([1, 2, 3, 4, 6, 8, 12, 16])
GRID_POINTS = 256  # at which the densities are evaluated
Vectors = Iterable[np.ndarray] | dict[str, np.ndarray]  # rolls, or their `feature_vectors`


def set_distances(pieces: Vectors, reference: Vectors) -> pd.DataFrame:
    """Return the intra- and inter-set distances of two sets.

    Intra-set distances are those of all pairs of pieces of one set, inter-set distances those of
    all pairs across the two. Index ``feature``; columns ``intra``, ``intra_reference``, ``inter``
    (mean Euclidean distances), ``overlap`` and ``kld`` (of the inter-set distances with the
    reference's intra-set ones), ``overlap_own`` and ``kld_own`` (with the judged set's own), ``n``,
    ``n_reference``. NaN where fewer than two pieces of a set define the feature.
    """
    ours, real = (s if isinstance(s, dict) else feature_vectors(s) for s in (pieces, reference))
    rows = [_compare_vectors(ours[name], real[name]) for name in ours]
    return pd.DataFrame(rows, index=pd.Index(ours, name="feature"))


def _compare_vectors(ours: np.ndarray, real: np.ndarray) -> dict[str, float]:
    ours, real = (vectors[~np.isnan(vectors).any(axis=1)] for vectors in (ours, real))
    intra, intra_real = (pdist(v) if len(v) > 1 else np.zeros(0) for v in (ours, real))
    inter = cdist(ours, real).ravel() if len(ours) and len(real) else np.zeros(0)
    beside_real, beside_own = overlap(intra_real, inter), overlap(intra, inter)
    return {
        "intra": ratio(intra.sum(), intra.size),
        "intra_reference": ratio(intra_real.sum(), intra_real.size),
        "inter": ratio(inter.sum(), inter.size),
        "overlap": beside_real.area, "kld": beside_real.kld,
        "overlap_own": beside_own.area, "kld_own": beside_own.kld,
        "n": len(ours), "n_reference": len(real),
    }  # fmt: skip


def feature_vectors(rolls: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Return Yang and Lerch's nine features, each of shape (n, its size); NaN where undefined.

    Intervals are absolute, times between onsets in quarters. Intervals and transitions are those of
    the top line, as the notes of polyphonic music have no single order (our choice).
    """
    pieces = [require_piece(roll, name=f"rolls[{i}]") for i, roll in enumerate(rolls)]
    if not pieces:
        raise ValueError("rolls must hold at least one piece; got none")
    rows = [_vectors(piece) for piece in pieces]
    return {name: np.stack([row[name] for row in rows]).astype(float) for name in rows[0]}


def _vectors(roll: np.ndarray) -> dict[str, np.ndarray | list[float]]:
    notes, sound = note_list(roll), sounding_keys(roll)
    highest = sound.shape[1] - 1 - sound[:, ::-1].argmax(axis=1)
    melody = notes.key == highest[notes.start]  # the notes that start as the highest sounding key
    top = NoteList(*(column[melody] for column in notes))
    classes, top_classes = ((line.key + LOWEST_PITCH) % 12 for line in (notes, top))
    apart = (np.abs(np.log(line.length[:, None] / LENGTH_CLASSES)) for line in (notes, top))
    lengths, top_lengths = (each.argmin(axis=1) for each in apart)
    moves = np.abs(np.diff(top.key))
    gaps = np.diff(np.unique(notes.start)) / STEPS_PER_QUARTER
    n = len(LENGTH_CLASSES)
    return {
        "pitch_count": [np.unique(notes.key).size],
        "pitch_class_histogram": _shares(classes, 12),
        "pitch_class_transitions": _shares(top_classes[:-1] * 12 + top_classes[1:], 144),
        "pitch_range": [np.ptp(notes.key) if notes.key.size else math.nan],
        "pitch_interval": [ratio(moves.sum(), moves.size)],
        "note_count": [notes.start.size],
        "onset_interval": [ratio(gaps.sum(), gaps.size)],
        "note_length_histogram": _shares(lengths, n),
        "note_length_transitions": _shares(top_lengths[:-1] * n + top_lengths[1:], n * n),
    }


def _shares(codes: np.ndarray, size: int) -> np.ndarray:
    counts = np.bincount(codes, minlength=size).astype(float)
    return counts / counts.sum() if counts.any() else np.full(size, np.nan)


class Overlap(NamedTuple):
    """Common area of two densities, 0 to 1, and divergence of the first from the second, nats."""

    area: float
    kld: float


def overlap(first: np.ndarray, second: np.ndarray) -> Overlap:
    """Return how alike the densities of two samples of shape (n,) and (m,) are.

    Gaussian kernel densities p, q (Scott's bandwidth) on one shared grid that reaches three
    bandwidths past both samples; area = sum min(p, q) dx, kld = sum p log(p / q) dx, with 1e-12
    added to each so that it stays finite. NaN where a sample has fewer than two different values.
    """
    if len(first) < 2 or len(second) < 2 or not (np.ptp(first) > 0 and np.ptp(second) > 0):
        return Overlap(math.nan, math.nan)
    samples = [np.sort(sample) for sample in (first, second)]
    widths = [sample.std(ddof=1) * len(sample) ** -0.2 for sample in samples]
    lowest, highest = min(s[0] for s in samples), max(s[-1] for s in samples)
    grid = np.linspace(lowest - 3 * max(widths), highest + 3 * max(widths), GRID_POINTS)
    found = [density(s, grid, width=width) for s, width in zip(samples, widths, strict=True)]
    p, q = (each / each.sum() for each in found)
    return Overlap(float(np.minimum(p, q).sum()), float(entropy(p + 1e-12, q + 1e-12)))


def density(ordered: np.ndarray, at: np.ndarray, *, width: float) -> np.ndarray:
    """Return a sorted sample's Gaussian kernel density; past ten widths is less than exp(-50)."""
    scaled, centres = ordered / width, at / width
    first, last = (scaled.searchsorted(centres + side) for side in (-10, 10))
    found = [
        np.exp(-0.5 * (scaled[low:high] - centre) ** 2).sum()
        for centre, low, high in zip(centres, first, last, strict=True)
    ]
    return np.array(found) / (len(ordered) * width * math.sqrt(2 * math.pi))


class Diversity(NamedTuple):
    """Mean distance of the `n` pieces of a set to the nearest other, and of all pairs, in cells."""

    nearest: float
    pairwise: float
    n: int


def diversity_ratio(pieces: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> Diversity:
    """Return a set's diversity over real music's, at the smaller size; NaN where a set has one."""
    if len(pieces) and len(reference) and len(pieces[0]) != len(reference[0]):
        got = f"{len(pieces[0])} and {len(reference[0])} steps"
        raise ValueError(f"pieces and reference must be of one length; got {got}")
    if (size := min(len(pieces), len(reference))) == 1:
        return Diversity(math.nan, math.nan, 1)
    ours, real = (diversity(rolls, size=size or None) for rolls in (pieces, reference))
    if real.nearest == 0:
        raise ValueError("reference must hold different pieces; the nearest are all the same")
    return Diversity(ours.nearest / real.nearest, ours.pairwise / real.pairwise, size)


def diversity(pieces: Sequence[np.ndarray], *, size: int | None = None) -> Diversity:
    """Return how far apart the pieces of a set lie; NaN for a single piece.

    The more pieces, the nearer the nearest, so sets of unequal size are compared at the smaller
    one: `nearest` is that expected in a random subset of `size` = m of the n pieces (2 to n; by
    default n). The j-th nearest (j = 1 to n - 1) of a piece is the nearest in the subset with
    probability C(n - 1 - j, m - 2) / C(n - 1, m - 1).
    """
    distances = hamming_distances(pieces)
    if (n := len(distances)) == 1:
        return Diversity(math.nan, math.nan, 1)
    size = n if size is None else size
    if not 2 <= size <= n:
        raise ValueError(f"size must lie in 2 to {n}, the number of pieces; got {size}")
    others = distances[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    j = np.arange(1, n - size + 2)
    chance = np.zeros(n - 1)
    chance[: len(j)] = np.exp(_log_choose(n - 1 - j, size - 2) - _log_choose(n - 1, size - 1))
    nearest = np.sort(others, axis=1).mean(axis=0) @ chance
    return Diversity(float(nearest), float(others.mean()), size)


def _log_choose(n: np.ndarray | int, k: int) -> np.ndarray:
    return gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.subtract(n, k) + 1)


def hamming_distances(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Return how many of 2 T 88 cells differ, (n, n): d(x, y) = abs(x) + abs(y) - 2 x . y."""
    rolls = [require_piece(piece, name=f"pieces[{i}]") for i, piece in enumerate(pieces)]
    if len(lengths := sorted({len(roll) for roll in rolls})) != 1:
        raise ValueError(f"pieces must be one or more of one length; got lengths {lengths}")
    flat = np.stack(rolls).reshape(len(rolls), -1).astype(np.float32)
    ones = flat.sum(axis=1)
    return np.rint(ones[:, None] + ones - 2 * flat @ flat.T).astype(np.int64)
