"""Say how sure a difference between models is: pieces of one training are no independent proof.

Conventions: samples are grouped by training seed, ``{seed: values}``; real music and baselines have
one group. NaN values (a piece that does not define the measure) are left out, and every table says
n. The tests are those of scipy and scikit-posthocs; only the order of resampling is our own.
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

# ---- study.sets ----
# Gather the pieces that are compared: the models', real music, and what no model made.
#
# Conventions: a *piece* is a roll of 128 sixteenths (8 bars of 4/4; 24 s at 80 quarters a minute).
# A
# *set* is all pieces of one origin, by the name in `SETS`. `seed` is the training seed of a model's
# piece, the drawing seed of a baseline's, and -1 for real music, which has none. `sample` counts
# from
# 0 within a set and seed.


MODELS = ("vae", "gan", "lstm")
"""The paper's models in the order of its table."""

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


# ---- study.stats ----
# Intervals that few training seeds allow, and tables of every measure made with them.
#
# Conventions: tables hold one row a piece, with columns model, seed and the measures, as
# `measuring.sample_table` makes them. Every interval comes from `seed_interval`: training seeds are
# resampled first, pieces second. A set without seeds of its own varies in its pieces only: real
# music
# in its tunes first (column tune, see `sets.with_tunes`), since settings of one tune are alike.
# Every table says n and the number of seeds.


NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0, 0)
"""What a set without a value has."""


def values_by_seed(
    table: pd.DataFrame, model: str, columns: str | Sequence[str]
) -> dict[int | str, np.ndarray]:
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
    dict of int or str to np.ndarray, each of shape (n,) or (n, number of columns)
        By tune instead, where the table has that column and every piece of the set a tune.
        Infinite values (the level of silence) become NaN. Empty if the set has no piece.
    """
    rows = table[table["model"] == model]
    chosen = columns if isinstance(columns, str) else list(columns)
    by = "tune" if "tune" in rows and (rows["tune"] != "").all() else "seed"
    groups = {key: group[chosen].to_numpy(float) for key, group in rows.groupby(by)}
    return {key: np.where(np.isinf(values), np.nan, values) for key, values in groups.items()}


def seed_interval(
    statistic: Callable[..., float],
    *sets: Samples,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    cautious: bool = False,
) -> Interval:
    """Return a bootstrap interval that is wide enough for few training seeds.

    Parameters
    ----------
    statistic : callable
        Takes one array of pieces, shape (N, ...), for each set and returns a number.
    *sets : mapping of seed to np.ndarray, each of shape (n, ...)
        The pieces of each seed; rows that hold NaN are left out, and so are draws for which the
        statistic is NaN.
    rng : np.random.Generator
        Source of every draw.
    n_resamples, level
        As `stats.bootstrap`.
    bounds : (float, float)
        Range of the statistic, which the interval does not leave.
    cautious : bool
        Take each end as far out as so few draws leave open (`outer_ends`).

    Returns
    -------
    Interval
        `NO_INTERVAL` if a set holds no value; NaN, with seeds and n, if the statistic of all pieces
        is NaN.

    Notes
    -----
    The percentiles of `stats.bootstrap`, taken about the estimate (so without the bias that
    resampling adds to distances), times `widening`.
    """
    draws: list[float] = []

    def recorded(*arrays: np.ndarray) -> float:
        draws.append(float(statistic(*arrays)))
        return draws[-1]

    if not all(defined(samples) for samples in sets):
        return NO_INTERVAL
    found = bootstrap(recorded, *sets, rng=rng, n_resamples=n_resamples, level=level)
    draws = [draw for draw in draws[:-1] if not math.isnan(draw)]
    if math.isnan(found.estimate) or not draws:
        return found
    ends = outer_ends(draws, level=level) if cautious else (found.low, found.high)
    centre = float(np.mean(draws))
    factor = widening(statistic, *sets, rng=rng, level=level)
    ends = [found.estimate + (end - centre) * factor for end in ends]
    low, high = np.clip(ends, *bounds)
    low, high = min(low, found.estimate), max(high, found.estimate)
    return found._replace(low=float(low), high=float(high))


def outer_ends(
    draws: Sequence[float], *, level: float, certainty: float = 0.95
) -> tuple[float, float]:
    """Return the percentiles of a bootstrap, as far out as the number of its draws leaves open.

    Parameters
    ----------
    draws : sequence of float
        What the bootstrap drew.
    level : float
        Share of the distribution between the two percentiles.
    certainty : float
        Chance that each end lies outside the percentile that endless draws would give.

    Returns
    -------
    (float, float)
        The lowest and highest draw where they are too few for that chance.

    Notes
    -----
    The order statistic i with P(Binomial(n, (1 - level) / 2) >= i) >= `certainty` (H. A. David and
    H. N. Nagaraja: Order Statistics, 2003, section 7.1).

    Examples
    --------
    >>> outer_ends(range(1, 1001), level=0.95)
    (17, 984)
    """
    ordered = sorted(draws)
    below = stats.binom.ppf(1 - certainty, len(ordered), (1 - level) / 2)
    i = max(int(below), 1)
    return ordered[i - 1], ordered[-i]


def few_seeds(seeds: Sequence[int], level: float) -> float:
    """Return by how much a bootstrap over these numbers of groups, of like variance, is too narrow.

    Notes
    -----
    sqrt(k / (k - 1)) t / z: k is the smallest number above 1, t and z are the quantiles of
    Student's t (degrees of freedom: sum of all k - 1) and of the normal distribution at `level`. A
    bootstrap over k groups gives (k - 1) / k of the variance between them (Davison and Hinkley
    1997, section 2.3), and its normal-like tails are too light for so few.
    """
    several = [k for k in seeds if k > 1]
    if not several:
        return 1.0
    q = (1 + level) / 2
    t = stats.t.ppf(q, df=sum(several) - len(several)) / stats.norm.ppf(q)
    return float(t * math.sqrt(min(several) / (min(several) - 1)))


def widening(
    statistic: Callable[..., float],
    *sets: Samples,
    rng: np.random.Generator,
    level: float,
    n_resamples: int = 200,
) -> float:
    """Return by how much a joint bootstrap of these sets is too narrow: each set as its groups are.

    Parameters
    ----------
    statistic, sets, rng, level
        As `seed_interval`.
    n_resamples : int
        Draws of each set.

    Returns
    -------
    float
        1 or more; 1 where no set has several groups: nothing is known of another training then.

    Notes
    -----
    Each set i is drawn alone while the others stay, which gives its part V_i of the variance. With
    k_i groups it is to be c_i V_i, c_i = k_i / (k_i - 1), of k_i - 1 degrees of freedom (a set of
    one group: V_i, one less than its pieces). The sum has the degrees of freedom that Welch and
    Satterthwaite give it (F. E. Satterthwaite: An approximate distribution of estimates of variance
    components. Biometrics Bulletin 2(6), 1946):

        sqrt(sum c_i V_i / sum V_i) t / z,  df = (sum c_i V_i)^2 / sum((c_i V_i)^2 / df_i).

    For one set it is `few_seeds`.
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
    q = (1 + level) / 2
    wider = math.sqrt(grown.sum() / variances.sum())
    return float(wider * stats.t.ppf(q, df) / stats.norm.ppf(q))


def delta(first: np.ndarray, second: np.ndarray) -> float:
    """Return `stats.cliffs_delta` of two arrays without NaN, fast enough for a bootstrap.

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
        draw = resampler(groups)
        draws = np.array([_means(draw(rng)) for _ in range(n_resamples)])
        seeds = rows.groupby("seed")[list(measures)].count().gt(0).sum().to_numpy()
        summary = _summary(groups, draws, level)
        found.append(summary.assign(measure=list(measures), model=model, seeds=seeds))
    columns = ["measure", "model", "mean", "low", "high", "spread", "seeds", "n"]
    whole = pd.concat(found)[columns]
    return whole.loc[list(range(len(measures)))].reset_index(drop=True)


def _summary(groups: list[np.ndarray], draws: np.ndarray, level: float) -> pd.DataFrame:
    """Return one set's rows of `summary_table`, a row a measure."""
    values = np.concatenate(groups)
    several = np.sum([(~np.isnan(group)).any(axis=0) for group in groups], axis=0)
    factor = np.array([few_seeds([int(k)], level) for k in several])
    mean = _means(values)
    ends = _quantiles(draws, [(1 - level) / 2, (1 + level) / 2]) - _means(draws)
    low, high = mean + ends * factor
    n = (~np.isnan(values)).sum(axis=0)
    squares = _means((values - mean) ** 2)
    spread = np.sqrt(squares * n / np.where(n > 1, n - 1, np.nan))
    return pd.DataFrame({"mean": mean, "low": low, "high": high, "spread": spread, "n": n})


def _quantiles(draws: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Return each column's quantiles without NaN; NaN for a column of nothing else."""
    found = np.full((len(shares), draws.shape[1]), np.nan)
    some = ~np.isnan(draws).all(axis=0)
    found[:, some] = np.nanquantile(draws[:, some], shares, axis=0)
    return found


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
    smallest Kruskal-Wallis p is 6 over the number of ways to part them: 0.067 for k = 2, 0.0036 for
    k = 3; for k = 5 what is drawn allows 0.0002.
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
    groups = {model: found for model, found in groups.items() if defined(found)}
    if len(groups) < 2:
        return pd.DataFrame([{"measure": measure, "p_seeds": math.nan, "p_holm": math.nan}])
    seeds = min(len(defined(found)) for found in groups.values())
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
