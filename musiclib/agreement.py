"""How far listeners agree: Krippendorff's alpha over clips, Kendall's W over sets.

Conventions: ratings are a table of listeners (rows) by units (columns), NaN where a listener did
not rate a unit. Alpha takes such gaps, W does not, so alpha judges clips and W each listener's mean
rating of every set. The maintained package of alpha is under the GPL, which this project is not, so
alpha is written out here, and held against its author's published example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from musiclib.evidence import Evidence


class Agreement(NamedTuple):
    """Alpha with its interval, W with its test, and from how much they come."""

    alpha: float
    low: float
    high: float
    w: float
    p: float
    listeners: int
    clips: int
    shared: int


def rating_matrix(evidence: Evidence) -> np.ndarray:
    """Return ratings by listener and clip, shape (listeners, clips), NaN where there is none."""
    matrix = np.full((len(evidence.listeners), len(evidence.key)), math.nan)
    ratings = evidence.ratings
    matrix[ratings["listener"], ratings["clip"]] = ratings["rating"]
    return matrix


def krippendorff_alpha(ratings: np.ndarray, *, level: str = "ordinal") -> float:
    """Return Krippendorff's alpha.

    Parameters
    ----------
    ratings : np.ndarray, shape (listeners, units)
        Any numbers; NaN where there is no rating.
    level : {"nominal", "ordinal", "interval"}
        What a difference between two ratings means.

    Returns
    -------
    float
        1 for full agreement, 0 for what chance would give, below 0 for less. NaN if no unit was
        rated twice (one listener, for instance), or all ratings are equal: agreement cannot be told
        from there being nothing to disagree about.

    Raises
    ------
    ValueError
        If the shape or the level is none of these.

    Notes
    -----
    alpha = 1 - D_o / D_e, observed over expected disagreement of pairs of ratings of one unit (K.
    Krippendorff: Computing Krippendorff's alpha-reliability. University of Pennsylvania, 2011).
    """
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or level not in _DISTANCES:
        raise ValueError(
            f"ratings, level: got shape {ratings.shape}, {level!r}; allowed are (listeners, units) "
            f"and {', '.join(_DISTANCES)}"
        )
    kept = ratings[:, (~np.isnan(ratings)).sum(axis=0) > 1]
    values = np.unique(kept[~np.isnan(kept)])
    if len(values) < 2:
        return math.nan
    counts = (kept[:, :, None] == values).sum(axis=0).astype(float)  # (units, values)
    pairs = 1 / (counts.sum(axis=1) - 1)
    observed = (counts * pairs[:, None]).T @ counts - np.diag((counts * pairs[:, None]).sum(axis=0))
    n = observed.sum(axis=1)
    expected = (np.outer(n, n) - np.diag(n)) / (n.sum() - 1)
    apart = _DISTANCES[level](values, n)
    return float(1 - (observed * apart).sum() / (expected * apart).sum())


def _ordinal(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return squared counts of ratings from one value to another, the ends counted half."""
    place = np.cumsum(n) - n / 2
    return (place[:, None] - place) ** 2


_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": lambda values, n: (values[:, None] != values).astype(float),
    "ordinal": _ordinal,
    "interval": lambda values, n: (values[:, None] - values) ** 2,
}


def alpha_interval(
    ratings: np.ndarray, *, seed: int, n_resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of the ordinal alpha, over units.

    Parameters
    ----------
    ratings : np.ndarray, shape (listeners, units)
    seed, n_resamples, level
        Of the bootstrap.

    Returns
    -------
    (float, float)
        NaN where alpha is. Units are resampled, not listeners: a listener drawn twice would agree
        with himself.
    """
    if math.isnan(krippendorff_alpha(ratings)):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    units = ratings.shape[1]
    draws = [
        krippendorff_alpha(ratings[:, rng.integers(units, size=units)]) for _ in range(n_resamples)
    ]
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def kendalls_w(ratings: np.ndarray) -> tuple[float, float]:
    """Return Kendall's W, corrected for ties, and the p-value of Friedman's test.

    Parameters
    ----------
    ratings : np.ndarray, shape (listeners, items)
        Listeners with a gap are left out.

    Returns
    -------
    (float, float)
        W: 0 for no common order, 1 for the same order by all; p for "no common order". NaN with
        fewer than two listeners or three items, or if no listener tells any two items apart.

    Notes
    -----
    W = chi^2 / (m (k - 1)), with chi^2 of scipy's Friedman test, m listeners and k items (M. G.
    Kendall, B. Babington Smith: The problem of m rankings. Annals of Mathematical Statistics 10,
    1939).
    """
    whole = np.asarray(ratings, float)
    whole = whole[~np.isnan(whole).any(axis=1)]
    m, k = whole.shape
    if m < 2 or k < 3 or (np.ptp(whole, axis=1) == 0).all():
        return math.nan, math.nan
    chi, p = stats.friedmanchisquare(*whole.T)
    return float(chi / (m * (k - 1))), float(p)


def agreement(evidence: Evidence, *, seed: int, n_resamples: int = 1000) -> Agreement:
    """Return how far listeners agree about clips (alpha) and about sets (W)."""
    matrix = rating_matrix(evidence)
    by_set = pd.DataFrame(matrix.T).groupby(evidence.key["model"].to_numpy(), sort=False).mean().T
    heard = (~np.isnan(matrix)).sum(axis=0)
    return Agreement(
        krippendorff_alpha(matrix),
        *alpha_interval(matrix, seed=seed, n_resamples=n_resamples),
        *kendalls_w(by_set.to_numpy()),
        len(evidence.listeners),
        int((heard > 0).sum()),
        int((heard > 1).sum()),
    )
