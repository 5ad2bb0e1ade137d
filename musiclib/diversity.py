"""Say how different the pieces of one set are from each other, beside the pieces of real music.

Conventions: rolls as in `pianoroll`, all of one length. The Hamming distance of two rolls is the
number of their 2 T 88 cells (onset and sounding) that differ. A collapsed model, which always makes
nearly the same piece, has a diversity near 0 of real music's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from musiclib.roll_notes import require_piece


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
