"""Intervals that few training seeds allow, and tables of every measure made with them.

Conventions: tables hold one row a piece, with columns model, seed and the measures, as
`measuring.sample_table` makes them. Every interval comes from `seed_interval`: training seeds are
resampled first, pieces second. A set without seeds of its own (real music, baselines) varies in its
pieces only. Every table says n and the number of seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from musiclib.evaluation import MODELS
from musiclib.statistics import (
    Interval,
    Samples,
    bootstrap,
    corrected,
    kruskal_wallis,
    pairwise_comparison,
    resample,
)

NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0, 0)
"""What a set without a value has."""


def values_by_seed(
    table: pd.DataFrame, model: str, columns: str | Sequence[str]
) -> dict[int, np.ndarray]:
    """Return one set's values of a measure, by seed, as `statistics` takes them.

    Parameters
    ----------
    table : pd.DataFrame
        With columns model, seed and the measures (`measuring.sample_table`).
    model : str
        A set.
    columns : str or sequence of str
        One measure, or several.

    Returns
    -------
    dict of int to np.ndarray, each of shape (n,) or (n, number of columns)
        Infinite values (the level of silence) become NaN. Empty if the set has no piece.
    """
    rows = table[table["model"] == model]
    chosen = columns if isinstance(columns, str) else list(columns)
    groups = {int(seed): group[chosen].to_numpy(float) for seed, group in rows.groupby("seed")}
    return {seed: np.where(np.isinf(values), np.nan, values) for seed, values in groups.items()}


def seed_interval(
    statistic: Callable[..., float],
    *sets: Samples,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Return a bootstrap interval that is wide enough for few training seeds.

    Parameters
    ----------
    statistic : callable
        Takes one array of pieces, shape (N, ...), for each set and returns a number.
    *sets : mapping of seed to np.ndarray, each of shape (n, ...)
        The pieces of each seed; rows that hold NaN are left out.
    rng : np.random.Generator
        Source of every draw.
    n_resamples, level
        As `statistics.bootstrap`.
    bounds : (float, float)
        Range of the statistic, which the interval does not leave.

    Returns
    -------
    Interval
        `NO_INTERVAL` if a set holds no value.

    Notes
    -----
    The percentiles of `statistics.bootstrap`, taken about the estimate (so without the bias that
    resampling adds to distances), times sqrt(k / (k - 1)) t / z: k is the smallest number of seeds
    among the sets with several, t and z are the quantiles of Student's t (degrees of freedom: sum
    of seeds - 1 over those sets) and of the normal distribution at `level`. A bootstrap over k
    groups gives (k - 1) / k of the variance between them (Davison and Hinkley 1997, section 2.3),
    and its normal-like tails are too light for so few. With one seed there is no such factor: the
    interval then says nothing about another training.
    """
    draws: list[float] = []

    def recorded(*arrays: np.ndarray) -> float:
        draws.append(float(statistic(*arrays)))
        return draws[-1]

    if not all(_has_value(samples) for samples in sets):
        return NO_INTERVAL
    found = bootstrap(recorded, *sets, rng=rng, n_resamples=n_resamples, level=level)
    centre = float(np.mean(draws[:-1]))
    factor = few_seeds([_seeds(samples) for samples in sets], level)
    ends = [found.estimate + (end - centre) * factor for end in (found.low, found.high)]
    low, high = np.clip(ends, *bounds)
    low, high = min(low, found.estimate), max(high, found.estimate)
    return found._replace(low=float(low), high=float(high))


def _seeds(samples: Samples) -> int:
    """Return how many seeds have a value."""
    return sum(_has_value({0: values}) for values in samples.values())


def _has_value(samples: Samples) -> bool:
    """Tell whether any row of any seed is free of NaN."""
    flat = [np.asarray(v, dtype=float).reshape(len(v), -1) for v in samples.values() if len(v)]
    return any((~np.isnan(rows).any(axis=1)).any() for rows in flat)


def few_seeds(seeds: Sequence[int], level: float) -> float:
    """Return by how much a bootstrap over these numbers of seeds is too narrow."""
    several = [k for k in seeds if k > 1]
    if not several:
        return 1.0
    q = (1 + level) / 2
    t = stats.t.ppf(q, df=sum(several) - len(several)) / stats.norm.ppf(q)
    return float(t * math.sqrt(min(several) / (min(several) - 1)))


def delta(first: np.ndarray, second: np.ndarray) -> float:
    """Return `statistics.cliffs_delta` of two arrays without NaN, fast enough for a bootstrap.

    Examples
    --------
    >>> delta(np.array([3.0, 4.0]), np.array([1.0, 3.0]))
    0.75
    """
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    above = len(ordered) - np.searchsorted(ordered, first, side="right")
    return float((below - above).mean() / len(ordered))


def summary_table(
    table: pd.DataFrame,
    measures: Sequence[str],
    *,
    seed: int,
    n_resamples: int = 500,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the mean of each measure in each set, with its interval.

    Parameters
    ----------
    table : pd.DataFrame
        See the head of this module.
    measures : sequence of str
        Columns of it.
    seed : int
        Of the bootstrap.
    n_resamples, level
        As `seed_interval`.

    Returns
    -------
    pd.DataFrame
        Columns measure, model, mean, low, high, spread (standard deviation of the pieces, ddof 1),
        seeds, n (pieces that define the measure). Sets in the order of the table; all NaN where no
        piece of a set defines a measure.

    Notes
    -----
    The intervals are those of `seed_interval` for the mean, drawn for all measures at once.
    """
    rng = np.random.default_rng(seed)
    found = []
    for model, rows in table.groupby("model", sort=False):
        groups = list(values_by_seed(rows, str(model), measures).values())
        draws = np.array([_means(resample(groups, rng)) for _ in range(n_resamples)])
        summary = _summary(groups, draws, level)
        found.append(summary.assign(measure=list(measures), model=model))
    columns = ["measure", "model", "mean", "low", "high", "spread", "seeds", "n"]
    whole = pd.concat(found)[columns]
    return whole.loc[list(range(len(measures)))].reset_index(drop=True)


def _summary(groups: list[np.ndarray], draws: np.ndarray, level: float) -> pd.DataFrame:
    """Return one set's rows of `summary_table`, a row a measure."""
    values = np.concatenate(groups)
    seeds = np.sum([(~np.isnan(group)).any(axis=0) for group in groups], axis=0)
    factor = np.array([few_seeds([int(k)], level) for k in seeds])
    mean = _means(values)
    ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0) - _means(draws)
    low, high = mean + ends * factor
    n = (~np.isnan(values)).sum(axis=0)
    squares = _means((values - mean) ** 2)
    spread = np.sqrt(squares * n / np.where(n > 1, n - 1, np.nan))
    return pd.DataFrame(
        {"mean": mean, "low": low, "high": high, "spread": spread, "seeds": seeds, "n": n}
    )


def _means(values: np.ndarray) -> np.ndarray:
    """Return each column's mean without NaN; NaN for a column of nothing else."""
    n = (~np.isnan(values)).sum(axis=0)
    return np.nansum(values, axis=0) / np.where(n > 0, n, np.nan)


def compare_models(
    table: pd.DataFrame, measures: Sequence[str], *, models: Sequence[str] = MODELS
) -> pd.DataFrame:
    """Test in each measure whether the models differ, and say which from which, by how much.

    Parameters
    ----------
    table : pd.DataFrame
        See the head of this module.
    measures : sequence of str
        Columns of it.
    models : sequence of str
        Sets to compare.

    Returns
    -------
    pd.DataFrame
        A row a measure and pair: measure, first, second, delta (Cliff's, over pieces), p_seeds
        (Kruskal-Wallis over the models' seed means), q_seeds (the same, corrected over the measures
        by Benjamini and Hochberg), p_holm (Dunn's test over seed means, Holm's correction), seeds
        (fewest of a model), n_first, n_second. With fewer than two seeds of a model all p are NaN:
        pieces of one training are no independent evidence.

    Notes
    -----
    scipy and scikit-posthocs, through `statistics`. With k seeds of each of three models the
    smallest Kruskal-Wallis p is about 0.1 for k = 2, 0.027 for k = 3, 0.002 for k = 5.
    """
    found = [_tested(table, measure, models) for measure in measures]
    whole = pd.concat(found, ignore_index=True)
    overall = whole.groupby("measure", sort=False)["p_seeds"].first()
    whole["q_seeds"] = whole["measure"].map(corrected(overall))
    order = ["measure", "first", "second", "delta", "p_seeds", "q_seeds", "p_holm"]
    return whole[[*order, "seeds", "n_first", "n_second"]]


def _tested(table: pd.DataFrame, measure: str, models: Sequence[str]) -> pd.DataFrame:
    """Return the rows of one measure."""
    groups = {model: values_by_seed(table, model, measure) for model in models}
    groups = {model: found for model, found in groups.items() if _has_value(found)}
    if len(groups) < 2:
        return pd.DataFrame([{"measure": measure, "p_seeds": math.nan, "p_holm": math.nan}])
    seeds = min(map(_seeds, groups.values()))
    pairs = pd.DataFrame(
        [_pair(first, second, groups) for first, second in itertools.combinations(groups, 2)]
    )
    p, holm = math.nan, math.nan
    if seeds > 1:
        p = kruskal_wallis(groups)["p"]
        holm = pairwise_comparison(groups)["p_holm"].to_numpy()
    return pairs.assign(measure=measure, seeds=seeds, p_seeds=p, p_holm=holm)


def _pair(first: str, second: str, groups: Mapping[str, Samples]) -> dict[str, object]:
    """Return how far two models' pieces lie apart in one measure."""
    a, b = (np.concatenate(list(groups[name].values())) for name in (first, second))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    sizes = {"n_first": len(a), "n_second": len(b)}
    return {"first": first, "second": second, "delta": delta(a, b), **sizes}
