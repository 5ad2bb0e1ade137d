"""Compare two sets of pieces by Yang and Lerch's intra- and inter-set distances.

Conventions: rolls as in `pianoroll`. The intra-set distances of a set are those of all pairs of its
pieces, the inter-set distances those of all pairs across two sets, each in one feature. A model
that makes what the real set holds has intra-set distances distributed as real music's, and
inter-set distances distributed as both.

Source: L.-C. Yang and A. Lerch, On the evaluation of generative models in music, Neural Computing
and Applications 32, 2020. Their toolbox evaluates the two densities of its Kullback-Leibler
divergence on two different grids; here all densities are evaluated on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist
from scipy.stats import entropy

from musiclib.pianoroll import LOWEST_PITCH, STEPS_PER_QUARTER
from musiclib.roll_notes import NoteList, notes_of, ratio, require_piece, sounding_keys

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
    rows = [{"feature": name, **_compare(ours[name], real[name])} for name in VECTORS]
    return pd.DataFrame(rows).set_index("feature")


def _compare(ours: np.ndarray, real: np.ndarray) -> dict[str, float]:
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
