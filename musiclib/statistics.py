"""Say how sure a difference between models is: pieces of one training are no independent proof.

Conventions: samples are grouped by training seed, ``{seed: values}``; real music and baselines have
one group. NaN values (a piece that does not define the measure) are left out, and every table says
n. The tests are those of scipy and scikit-posthocs; only the order of resampling is our own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats

Samples = Mapping[Hashable, np.ndarray]


class Interval(NamedTuple):
    """Hold an estimate and its bootstrap interval.

    Attributes
    ----------
    estimate, low, high : float
        The statistic of the samples as they are, and the ends of its percentile interval.
    n_seeds : int
        Training seeds with a value (of the first set).
    n : int
        Pieces with a value (of the first set).
    """

    estimate: float
    low: float
    high: float
    n_seeds: int
    n: int


def _groups(samples: Samples, name: str) -> list[np.ndarray]:
    """Return the groups that have a value, or say that there is none."""
    kept = defined(samples)
    if not kept:
        raise ValueError(f"{name} holds no value (nothing but NaN, or nothing at all)")
    return kept


def defined(samples: Samples) -> list[np.ndarray]:
    """Return the groups without rows that hold NaN, and without groups that are empty then."""
    groups = [np.asarray(values, dtype=float) for values in samples.values() if len(values)]
    kept = [g[~np.isnan(g.reshape(len(g), -1)).any(axis=1)] for g in groups]
    return [group for group in kept if len(group)]


def resampler(groups: list[np.ndarray]) -> Callable[[np.random.Generator], np.ndarray]:
    """Return what draws bootstrap samples: seeds first, then pieces within each seed drawn.

    Parameters
    ----------
    groups : list of np.ndarray, each of shape (n, ...)
        The pieces of each training seed.

    Returns
    -------
    callable
        Takes the source of every draw and returns one sample, shape (N, ...): as many groups as
        there are, drawn with replacement; of each, as many pieces as it holds, drawn with
        replacement. A single group is never exchanged, so only its pieces vary.
    """
    pieces, sizes = np.concatenate(groups), np.array([len(group) for group in groups])
    starts = np.cumsum(sizes) - sizes
    alike = (sizes == sizes[0]).all()

    def draw(rng: np.random.Generator) -> np.ndarray:
        drawn = rng.integers(len(groups), size=len(groups))
        of_each = sizes[drawn]
        below = int(sizes[0]) if alike else of_each.repeat(of_each)
        places = rng.integers(below, size=of_each.sum())
        places += starts[drawn].repeat(of_each)
        return pieces[places]

    return draw


def bootstrap(
    statistic: Callable[..., float],
    *sets: Samples,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Return a bootstrap interval that resamples training seeds first and pieces second.

    Parameters
    ----------
    statistic : callable
        Takes one array of pieces, shape (N, ...), for each set and returns a number: ``np.mean``
        for one set, ``lambda a, b: a.mean() - b.mean()`` for two. It may return NaN: a draw of
        pieces that do not define it is left out.
    *sets : mapping of seed to np.ndarray, each of shape (n, ...)
        The pieces' values (or rows of values) of each training seed. Rows that hold NaN are left
        out.
    rng : np.random.Generator
        Source of every draw.
    n_resamples : int
        Number of bootstrap samples, at least 100.
    level : float
        Share of the bootstrap distribution inside the interval, above 0 and below 1.

    Returns
    -------
    Interval
        Percentile interval; NaN where the statistic of all pieces is NaN.

    Raises
    ------
    ValueError
        If there is no set, a set holds no value, or `n_resamples` or `level` is out of range.

    Notes
    -----
    Two-stage (cluster) bootstrap: Davison and Hinkley, Bootstrap Methods and their Application,
    1997, section 3.8. Pieces of one training resemble each other, so an interval over pieces alone
    is too narrow. With few seeds (five) this one is still somewhat too narrow, by about
    sqrt(5 / 4) in the part that seeds contribute: read a near miss as undecided.
    """
    if not sets:
        raise ValueError("sets must hold at least one set of samples; got none")
    if n_resamples < 100:
        raise ValueError(f"n_resamples must be at least 100; got {n_resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")
    grouped = [_groups(samples, f"sets[{i}]") for i, samples in enumerate(sets)]
    samplers = [resampler(groups) for groups in grouped]
    draws = [statistic(*(draw(rng) for draw in samplers)) for _ in range(n_resamples)]
    draws = np.array([draw for draw in draws if not np.isnan(draw)])
    estimate = float(statistic(*(np.concatenate(groups) for groups in grouped)))
    n = sum(len(group) for group in grouped[0])
    if np.isnan(estimate) or not len(draws):
        return Interval(estimate, np.nan, np.nan, len(grouped[0]), n)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), len(grouped[0]), n)


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """Return Cliff's delta: how much more often a value of the first set is the larger.

    Parameters
    ----------
    first, second : np.ndarray, shape (n,) and (m,)
        Values; NaN is left out.

    Returns
    -------
    float
        -1 (every value of the first is smaller) to 1 (every one is larger), 0 for equal sets.

    Raises
    ------
    ValueError
        If either holds no value.

    Notes
    -----
    delta = P(x > y) - P(x < y) = 2 U / (n m) - 1, with U the Mann-Whitney statistic of scipy.

    Examples
    --------
    >>> cliffs_delta(np.array([3.0, 4.0]), np.array([1.0, 2.0]))
    1.0
    """
    x, y = (np.concatenate(_groups({0: v}, n)) for v, n in ((first, "first"), (second, "second")))
    u = stats.mannwhitneyu(x, y, method="asymptotic").statistic
    return float(2 * u / (len(x) * len(y)) - 1)


def kruskal_wallis(models: Mapping[str, Samples], *, by_seed: bool = True) -> dict[str, float]:
    """Test whether any model's values tend to be larger than another's.

    Parameters
    ----------
    models : mapping of model to mapping of seed to np.ndarray, each of shape (n,)
        One measure of every piece; two models or more.
    by_seed : bool
        Test the means of the seeds (independent trainings). If False, test the pieces, as if each
        were independent, which makes p too small.

    Returns
    -------
    dict
        ``statistic`` H, ``p``, ``epsilon_squared`` = H / (n - 1) (0 to 1), ``n`` values tested. If
        all values are equal, H is 0 and p is 1.

    Raises
    ------
    ValueError
        For fewer than two models, or a model without a value.

    Notes
    -----
    p is the share of all ways to deal the values out to the models that give as large an H, or of
    4,999 of them where there are more (always the same ones). The usual chi-square is for many
    values: for three against three against three, wholly parted, it says 0.027 instead of 0.0036.
    """
    values = _values(models, by_seed=by_seed)
    pooled = np.concatenate(list(values.values()))
    if np.ptp(pooled) == 0:
        return {"statistic": 0.0, "p": 1.0, "epsilon_squared": 0.0, "n": len(pooled)}
    h = float(stats.kruskal(*values.values()).statistic)
    ends = np.cumsum([len(group) for group in values.values()])[:-1]
    found = stats.permutation_test(
        np.split(stats.rankdata(pooled), ends), _between, permutation_type="independent",
        n_resamples=4999, alternative="greater", vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    epsilon = h / (len(pooled) - 1)
    return {"statistic": h, "p": float(found.pvalue), "epsilon_squared": epsilon, "n": len(pooled)}


def _between(*ranks: np.ndarray, axis: int) -> np.ndarray:
    """Return what H depends on: the sum over the models of (sum of ranks) squared over n."""
    return np.sum([group.sum(axis=axis) ** 2 / group.shape[axis] for group in ranks], axis=0)


def pairwise_comparison(models: Mapping[str, Samples], *, by_seed: bool = True) -> pd.DataFrame:
    """Compare every two models in one measure: Dunn's test with Holm's correction, Cliff's delta.

    Parameters
    ----------
    models : mapping of model to mapping of seed to np.ndarray, each of shape (n,)
        One measure of every piece; two models or more.
    by_seed : bool
        As `kruskal_wallis`, for the p-values and the deltas alike.

    Returns
    -------
    pd.DataFrame
        One row a pair; columns ``first``, ``second``, ``p_holm``, ``delta`` (positive where the
        first is larger), ``n_first``, ``n_second``. If all values are equal, p is 1.

    Raises
    ------
    ValueError
        As `kruskal_wallis`.

    Notes
    -----
    Dunn's test uses the ranks of all models together, as Kruskal-Wallis does; Holm's correction is
    over the pairs.
    """
    values = _values(models, by_seed=by_seed)
    names = list(values)
    equal = np.ptp(np.concatenate(list(values.values()))) == 0
    pairs = list(itertools.combinations(range(len(names)), 2))
    p = np.ones(len(pairs))
    if not equal:
        found = scikit_posthocs.posthoc_dunn(list(values.values())).to_numpy()
        p = _holm(np.array([found[pair] for pair in pairs]))
    rows = []
    for (i, j), p_holm in zip(pairs, p.tolist(), strict=True):
        a, b = values[names[i]], values[names[j]]
        rows.append(
            {
                "first": names[i],
                "second": names[j],
                "p_holm": p_holm,
                "delta": cliffs_delta(a, b),
                "n_first": len(a),
                "n_second": len(b),
            }
        )
    return pd.DataFrame(rows)


def _holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's correction of p-values: the i-th smallest of n times n - i + 1, none falling.

    Not statsmodels' own, which collects all of Python's garbage at each call.
    """
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def _values(models: Mapping[str, Samples], *, by_seed: bool) -> dict[str, np.ndarray]:
    """Return each model's values: its seeds' means, or its pieces."""
    if len(models) < 2:
        raise ValueError(f"models must hold at least two models; got {list(models)}")
    groups = {name: _groups(samples, f"models[{name!r}]") for name, samples in models.items()}
    if by_seed:
        return {name: np.array([g.mean() for g in kept]) for name, kept in groups.items()}
    return {name: np.concatenate(kept) for name, kept in groups.items()}


def corrected(p: pd.Series) -> pd.Series:
    """Correct the p-values of several measures for their number.

    Parameters
    ----------
    p : pd.Series
        One p-value a measure, 0 to 1; NaN (a measure that could not be tested) stays NaN and is not
        counted.

    Returns
    -------
    pd.Series
        Adjusted values with the same index: reject below q to keep the share of false discoveries
        below q.

    Raises
    ------
    ValueError
        If a value lies outside 0 to 1.

    Notes
    -----
    Benjamini and Hochberg's procedure, by ``scipy.stats.false_discovery_control``.
    """
    tested = p.dropna()
    if ((tested < 0) | (tested > 1)).any():
        raise ValueError("p must lie in 0 to 1")
    adjusted = pd.Series(np.nan, index=p.index, dtype=float)
    if len(tested):
        adjusted[p.notna()] = stats.false_discovery_control(tested.to_numpy())
    return adjusted
