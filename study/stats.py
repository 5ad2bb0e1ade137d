"""Say how certain a difference between models is: pieces of one training run are not independent.

Conventions: `Samples` are the values of a set's pieces by training seed, each of shape (n, ...); a
baseline has one group, and real music one per tune (column tune, see `sets.with_tunes`), since
settings of one tune are alike. Pieces whose values hold NaN are skipped, and every table states n.
Tables are those of `measuring.sample_table`. The tests are those of scipy and scikit-posthocs; only
the order of resampling (groups first, pieces second) is our own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats

MODELS = ("vae", "gan", "lstm")  # in the order of the paper's table
_LEVEL = 0.95  # of an interval by default
_CERTAINTY = 0.95  # that each of `outer_ends` lies outside the percentile of infinitely many draws
Samples = Mapping[Hashable, np.ndarray]
Statistic = Callable[..., float]
Rng = np.random.Generator


class Interval(NamedTuple):
    """Hold an estimate, the ends of its interval, and the seeds and pieces of the first set."""

    estimate: float
    low: float
    high: float
    n_seeds: int
    n: int


NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0, 0)  # of a set without a value


def values_by_seed(
    table: pd.DataFrame, model: str, columns: str | Sequence[str]
) -> dict[int | str, np.ndarray]:
    """Return one set's values of a measure, or of several, by seed: shape (n,) or (n, columns).

    By tune if each piece of the set has one. Infinite values (the level of silence) become NaN.
    """
    rows = table[table["model"] == model]
    chosen = columns if isinstance(columns, str) else list(columns)
    by = "tune" if "tune" in rows and (rows["tune"] != "").all() else "seed"
    groups = {key: group[chosen].to_numpy(float) for key, group in rows.groupby(by)}
    return {key: np.where(np.isinf(values), np.nan, values) for key, values in groups.items()}


def seed_interval(
    statistic: Statistic,
    *sets: Samples,
    rng: Rng,
    n_resamples: int = 1000,
    level: float = _LEVEL,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    cautious: bool = False,
) -> Interval:
    """Return a bootstrap interval that is wide enough for few training seeds.

    `statistic` takes one array of pieces for each set. The ends are the percentiles of `bootstrap`,
    taken about the estimate (so without the bias that resampling adds to distances), times
    `widening`; they do not leave `bounds`, the range of the statistic. If `cautious`, each is
    widened by its Monte Carlo error (`outer_ends`). `NO_INTERVAL` if a set holds no value; NaN,
    with seeds and n, if the statistic of all pieces is NaN.
    """
    draws: list[float] = []

    def recorded(*arrays: np.ndarray) -> float:
        draws.append(float(statistic(*arrays)))
        return draws[-1]

    if not all(defined(samples) for samples in sets):
        return NO_INTERVAL
    found = bootstrap(recorded, *sets, rng=rng, n_resamples=n_resamples, level=level)
    if math.isnan(found.low):
        return found
    draws = [draw for draw in draws[:-1] if not math.isnan(draw)]  # the last is the estimate
    ends = outer_ends(draws, level=level) if cautious else (found.low, found.high)
    factor = widening(statistic, *sets, rng=rng, level=level)
    ends = found.estimate + (np.array(ends) - np.mean(draws)) * factor
    low, high = np.clip(ends, *bounds).tolist()
    return found._replace(low=min(low, found.estimate), high=max(high, found.estimate))


def bootstrap(
    statistic: Statistic, *sets: Samples, rng: Rng, n_resamples: int = 2000, level: float = _LEVEL
) -> Interval:
    """Return a percentile interval of samples that draw seeds first and pieces second.

    Draws that do not define the statistic (NaN) are skipped. Two-stage (cluster) bootstrap: Davison
    and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8. With few seeds it is
    still somewhat too narrow: see `widening`.
    """
    if not sets:
        raise ValueError("sets must hold at least one set of samples; got none")
    if n_resamples < 100:
        raise ValueError(f"n_resamples must be at least 100; got {n_resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")
    grouped = [_groups(samples, f"sets[{i}]") for i, samples in enumerate(sets)]
    samplers = [resampler(groups) for groups in grouped]
    draws = np.array([statistic(*(draw(rng) for draw in samplers)) for _ in range(n_resamples)])
    draws = draws[~np.isnan(draws)]
    estimate = float(statistic(*(np.concatenate(groups) for groups in grouped)))
    low = high = math.nan
    if len(draws) and not math.isnan(estimate):
        low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2)).tolist()
    return Interval(estimate, low, high, len(grouped[0]), sum(map(len, grouped[0])))


def resampler(groups: list[np.ndarray]) -> Callable[[Rng], np.ndarray]:
    """Return a function that resamples groups, and then pieces of each, with replacement."""
    pieces, sizes = np.concatenate(groups), np.array([len(group) for group in groups])
    starts, alike = np.cumsum(sizes) - sizes, (sizes == sizes[0]).all()

    def draw(rng: Rng) -> np.ndarray:
        drawn = rng.integers(len(groups), size=len(groups))
        of_each = sizes[drawn]
        below = int(sizes[0]) if alike else of_each.repeat(of_each)
        places = rng.integers(below, size=of_each.sum())
        return pieces[places + starts[drawn].repeat(of_each)]

    return draw


def defined(samples: Samples) -> list[np.ndarray]:
    """Return the groups without rows that hold NaN, and without groups that this leaves empty."""
    groups = [np.asarray(values, dtype=float) for values in samples.values() if len(values)]
    kept = [g[~np.isnan(g.reshape(len(g), -1)).any(axis=1)] for g in groups]
    return [group for group in kept if len(group)]


def _groups(samples: Samples, name: str) -> list[np.ndarray]:
    if not (kept := defined(samples)):
        raise ValueError(f"{name} holds no value (nothing but NaN, or nothing at all)")
    return kept


def outer_ends(draws: Sequence[float], *, level: float) -> tuple[float, float]:
    """Return the percentiles of a bootstrap, each widened by its Monte Carlo error.

    The order statistic i with P(Binomial(n, (1 - level) / 2) >= i) >= `_CERTAINTY` (H. A. David and
    H. N. Nagaraja: Order Statistics, 2003, section 7.1); with few draws the outermost.
    """
    ordered = sorted(draws)
    i = max(int(stats.binom.ppf(1 - _CERTAINTY, len(ordered), (1 - level) / 2)), 1)
    return ordered[i - 1], ordered[-i]


def few_seeds(seeds: Sequence[int], level: float) -> float:
    """Return by how much a bootstrap over these numbers of groups, of like variance, is too narrow.

    sqrt(k / (k - 1)) t / z: k is the smallest number above 1, t (degrees of freedom: sum of all
    k - 1) and z are quantiles at `level`. A bootstrap over k groups gives (k - 1) / k of the
    variance between them (Davison and Hinkley 1997, section 2.3).
    """
    if not (several := [k for k in seeds if k > 1]):
        return 1.0
    least, freedom = min(several), sum(several) - len(several)
    t, z = stats.t.ppf((1 + level) / 2, freedom), stats.norm.ppf((1 + level) / 2)
    return float(t / z * math.sqrt(least / (least - 1)))


def widening(
    statistic: Statistic, *sets: Samples, rng: Rng, level: float, n_resamples: int = 200
) -> float:
    """Return by how much a joint bootstrap of these sets is too narrow, 1 or more.

    Each set i is drawn alone (`n_resamples` times), which gives its part V_i of the variance. With
    k_i groups it is to be c_i V_i, c_i = k_i / (k_i - 1), of k_i - 1 degrees of freedom (a set of
    one group: V_i, one less than its pieces). The sum has the degrees of freedom of Welch and
    Satterthwaite (F. E. Satterthwaite: An approximate distribution of estimates of variance
    components. Biometrics Bulletin 2(6), 1946):

        sqrt(sum c_i V_i / sum V_i) t / z,  df = (sum c_i V_i)^2 / sum((c_i V_i)^2 / df_i).

    For one set it is `few_seeds`; 1 where no set has several groups.
    """
    grouped = [defined(samples) for samples in sets]
    counts = [len(groups) for groups in grouped]
    if len(sets) == 1 or max(counts) < 2:
        return few_seeds(counts, level)
    whole = [np.concatenate(groups) for groups in grouped]
    variances = np.zeros(len(sets))
    for i, groups in enumerate(grouped):
        draw = resampler(groups)
        drawn = (draw(rng) for _ in range(n_resamples))
        found = np.array([statistic(*whole[:i], one, *whole[i + 1 :]) for one in drawn])
        found = found[~np.isnan(found)]
        variances[i] = np.var(found) if len(found) else 0.0
    if not variances.sum():
        return few_seeds(counts, level)
    sizes = [k if k > 1 else len(values) for k, values in zip(counts, whole, strict=True)]
    freedom = np.maximum(np.array(sizes) - 1, 1)
    grown = variances * [k / (k - 1) if k > 1 else 1.0 for k in counts]
    df = grown.sum() ** 2 / (grown**2 / freedom).sum()
    t, z = stats.t.ppf((1 + level) / 2, df), stats.norm.ppf((1 + level) / 2)
    return float(math.sqrt(grown.sum() / variances.sum()) * t / z)


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """Return Cliff's delta, P(x > y) - P(x < y), of two arrays without NaN, in -1 to 1.

    >>> cliffs_delta(np.array([3.0, 4.0]), np.array([1.0, 3.0]))
    0.75
    """
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    above = len(ordered) - np.searchsorted(ordered, first, side="right")
    return float((below - above).mean() / len(ordered))


def kruskal_wallis(models: Mapping[str, Samples], *, by_seed: bool = True) -> dict[str, float]:
    """Test whether any model's values tend to be larger than another's: ``statistic`` H, p and n.

    The values are the seeds' means or, if not `by_seed`, the pieces as if independent. p is the
    share of all ways to deal the values to the models that give as large an H, or of 4,999 fixed
    ones. The usual chi-square needs many values: for three models of three, fully separated, it
    gives 0.027, not 0.0036.
    """
    values = _values(models, by_seed=by_seed)
    pooled = np.concatenate(values)
    if np.ptp(pooled) == 0:
        return {"statistic": 0.0, "p": 1.0, "n": len(pooled)}
    ends = np.cumsum([len(group) for group in values])[:-1]
    found = stats.permutation_test(
        np.split(stats.rankdata(pooled), ends), _between, permutation_type="independent",
        n_resamples=4999, alternative="greater", vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    h = float(stats.kruskal(*values).statistic)
    return {"statistic": h, "p": float(found.pvalue), "n": len(pooled)}


def _between(*ranks: np.ndarray, axis: int) -> np.ndarray:
    """Return what H depends on: the sum over the models of (sum of ranks) squared over n."""
    return np.sum([group.sum(axis=axis) ** 2 / group.shape[axis] for group in ranks], axis=0)


def dunn_holm(models: Mapping[str, Samples]) -> np.ndarray:
    """Return the p of each pair of models, in the order of `itertools.combinations`.

    Dunn's test over the means of the seeds, with Holm's correction: the i-th smallest of n is
    multiplied by n - i + 1, and none may fall. If all values are equal, p is 1.
    """
    values = _values(models, by_seed=True)
    pairs = list(itertools.combinations(range(len(values)), 2))
    if np.ptp(np.concatenate(values)) == 0:
        return np.ones(len(pairs))
    found = scikit_posthocs.posthoc_dunn(values).to_numpy()
    p = np.array([found[pair] for pair in pairs])
    order = np.argsort(p)  # not statsmodels, which collects all of Python's garbage at each call
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def _values(models: Mapping[str, Samples], *, by_seed: bool) -> list[np.ndarray]:
    if len(models) < 2:
        raise ValueError(f"models must hold at least two models; got {list(models)}")
    groups = [_groups(samples, f"models[{name!r}]") for name, samples in models.items()]
    return [np.array([g.mean() for g in own]) if by_seed else np.concatenate(own) for own in groups]


def fdr_corrected(p: pd.Series) -> pd.Series:
    """Correct several measures' p-values for their number (Benjamini and Hochberg); NaN stays."""
    tested = p.dropna()
    if not tested.between(0, 1).all():
        raise ValueError("p must lie in 0 to 1")
    adjusted = pd.Series(np.nan, index=p.index, dtype=float)
    if len(tested):
        adjusted[p.notna()] = stats.false_discovery_control(tested.to_numpy())
    return adjusted


def summary_table(
    table: pd.DataFrame, measures: Sequence[str], *, seed: int, n_resamples: int = 500
) -> pd.DataFrame:
    """Return the mean of each measure in each set, with the interval that `seed_interval` gives it.

    Columns measure, model, mean, low, high, spread (standard deviation of the pieces, ddof 1),
    seeds, n (pieces that define the measure). Each draw serves all measures at once.
    """
    rng, found = np.random.default_rng(seed), []
    for model, rows in table.groupby("model", sort=False):
        groups = list(values_by_seed(rows, str(model), measures).values())
        draw, values = resampler(groups), np.concatenate(groups)
        draws = np.array([_means(draw(rng)) for _ in range(n_resamples)])
        mean, n = _means(values), (~np.isnan(values)).sum(axis=0)
        several = np.sum([(~np.isnan(group)).any(axis=0) for group in groups], axis=0)
        factor = np.array([few_seeds([int(k)], _LEVEL) for k in several])
        ends = np.full((2, len(mean)), np.nan)
        some = ~np.isnan(draws).all(axis=0)
        shares = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
        ends[:, some] = np.nanquantile(draws[:, some], shares, axis=0)
        low, high = mean + (ends - _means(draws)) * factor
        squares = _means((values - mean) ** 2)
        spread = np.sqrt(squares * n / np.where(n > 1, n - 1, np.nan))
        seeds = rows.groupby("seed")[list(measures)].count().gt(0).sum().to_numpy()
        columns = {"measure": list(measures), "model": model, "mean": mean, "low": low}
        columns |= {"high": high, "spread": spread, "seeds": seeds, "n": n}
        found.append(pd.DataFrame(columns))
    return pd.concat(found).sort_index(kind="stable").reset_index(drop=True)


def _means(values: np.ndarray) -> np.ndarray:
    n = (~np.isnan(values)).sum(axis=0)
    return np.nansum(values, axis=0) / np.where(n > 0, n, np.nan)


def compare_models(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Test for each measure whether the `MODELS` differ, and say which do and by how much.

    One row per measure and pair: measure, first, second, delta (Cliff's, over pieces), p_seeds
    (Kruskal-Wallis over the models' seed means), q_seeds (`fdr_corrected` over the measures),
    p_holm (`dunn_holm`), seeds (fewest of a model), n_first, n_second. All p are NaN with fewer
    than two seeds; with k of each of three models p_seeds is at least 0.067 (k = 2), 0.0036 (3).
    """
    whole = pd.concat([_pairwise_tests(table, measure) for measure in measures], ignore_index=True)
    overall = whole.groupby("measure", sort=False)["p_seeds"].first()
    whole["q_seeds"] = whole["measure"].map(fdr_corrected(overall))
    order = ["measure", "first", "second", "delta", "p_seeds", "q_seeds", "p_holm"]
    return whole[[*order, "seeds", "n_first", "n_second"]]


def _pairwise_tests(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    groups = {m: own for m in MODELS if defined(own := values_by_seed(table, m, measure))}
    if len(groups) < 2:
        return pd.DataFrame([{"measure": measure, "p_seeds": math.nan, "p_holm": math.nan}])
    rows = []
    for first, second in itertools.combinations(groups, 2):
        a, b = (np.concatenate(defined(groups[model])) for model in (first, second))
        rows.append((first, second, cliffs_delta(a, b), len(a), len(b)))
    pairs = pd.DataFrame(rows, columns=["first", "second", "delta", "n_first", "n_second"])
    seeds = min(len(defined(samples)) for samples in groups.values())
    p, holm = math.nan, math.nan
    if seeds > 1:
        p, holm = kruskal_wallis(groups)["p"], dunn_holm(groups)
    return pairs.assign(measure=measure, seeds=seeds, p_seeds=p, p_holm=holm)
