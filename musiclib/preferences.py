"""What listeners prefer: Bradley-Terry scores, mean ratings, and which measures predict liking.

Conventions: scores are log odds: a set whose score lies d above another's is chosen over it with
probability 1 / (1 + exp(-d)); scores of all sets sum to 0. Intervals are those of `evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from musiclib.evidence import Evidence, Weights, resampled

PRIOR = 0.5
"""Wins given to each side of each pair of sets before any answer: keeps the score of a set that was
never or always chosen finite (our choice: Haldane and Anscombe's half, of two sets the log odds are
those of (wins + 1/2) to (losses + 1/2))."""

_STEPS, _LONGEST, _NEAR, _FARTHEST = 100, 2.0, 1e-10, 30.0


def logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fit P(first) = 1 / (1 + exp(-x b)) to weighted choices, without an intercept.

    Parameters
    ----------
    x : np.ndarray, shape (n, k)
        What the first has more of than the second.
    y : np.ndarray, shape (n,)
        1 for the first, 0 for the second, 0.5 for a tie.
    weight : np.ndarray, shape (n,)
        How often each choice counts, 0 or more.

    Returns
    -------
    np.ndarray, shape (k,)
        Maximum of the likelihood; of several (a direction that x does not know) the shortest.

    Raises
    ------
    ValueError
        If the likelihood has no finite maximum (separation), as the callers' priors prevent.

    Notes
    -----
    Newton's method with steps of bounded length; the likelihood is concave.
    """
    b, length = np.zeros(x.shape[1]), 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ b, -500, 500)))
        slope = x.T @ (weight * (y - p))
        bend = (x * (weight * p * (1 - p))[:, None]).T @ x
        step = np.linalg.lstsq(bend, slope, rcond=1e-12)[0]
        length = float(np.abs(step).max())
        b = b + step * min(1.0, _LONGEST / length if length else 1.0)
        if length < _NEAR:
            break
    if length >= _NEAR or np.abs(x @ b).max(initial=0) > _FARTHEST:
        raise ValueError("x, y: the likelihood has no finite maximum; the choices are separated")
    return b


def bradley_terry(wins: np.ndarray, *, prior: float = PRIOR) -> np.ndarray:
    """Return the Bradley-Terry scores of a table of wins.

    Parameters
    ----------
    wins : np.ndarray, shape (k, k)
        ``wins[i, j]`` counts how often i was chosen over j; half for a tie. The diagonal is passed
        over.
    prior : float
        Wins added to both sides of every pair, 0 or more.

    Returns
    -------
    np.ndarray, shape (k,)
        Log odds, sum 0.

    Raises
    ------
    ValueError
        If `wins` is not square with counts of 0 and more, or the prior is negative; with a prior of
        0, if there is no finite solution.

    Notes
    -----
    R. A. Bradley, M. E. Terry: Rank analysis of incomplete block designs. Biometrika 39, 1952. Ties
    only give scores of 0.

    Examples
    --------
    >>> bradley_terry(np.array([[0, 5], [0, 0]])).round(3).tolist()  # log(11) / 2
    [1.199, -1.199]
    """
    wins = np.asarray(wins, float)
    if wins.ndim != 2 or len(wins) != wins.shape[-1] or len(wins) < 2 or not (wins >= 0).all():
        raise ValueError(
            f"wins: shape {wins.shape}; allowed is (k, k), k > 1, counts of 0 and more"
        )
    if prior < 0:
        raise ValueError(f"prior: got {prior}, allowed is 0 or more")
    i, j = np.triu_indices(len(wins), 1)
    up, down = wins[i, j] + prior, wins[j, i] + prior
    total = up + down
    x = np.zeros((len(i), len(wins)))
    x[np.arange(len(i)), i], x[np.arange(len(i)), j] = 1, -1
    share = np.divide(up, total, out=np.full(len(i), 0.5), where=total > 0)
    return logistic(x, share, total)


def win_table(evidence: Evidence, weights: Weights | None = None) -> pd.DataFrame:
    """Return how often each set (row) was chosen over each other (column); half for a tie."""
    wins = _wins(evidence, weights or evidence.ones)
    return pd.DataFrame(wins, index=evidence.models, columns=evidence.models)


def _wins(evidence: Evidence, weights: Weights) -> np.ndarray:
    of, k = evidence.arrays, len(evidence.models)
    first, second, score = of["choice_first"], of["choice_second"], of["choice_score"]
    wins = np.bincount(first * k + second, weights.choices * score, minlength=k * k)
    wins += np.bincount(second * k + first, weights.choices * (1 - score), minlength=k * k)
    return wins.reshape(k, k)


def scores(evidence: Evidence, weights: Weights) -> np.ndarray:
    """Return the Bradley-Terry scores of all sets, as `evidence.resampled` takes a statistic."""
    return bradley_terry(_wins(evidence, weights))


def mean_ratings(evidence: Evidence, weights: Weights) -> np.ndarray:
    """Return the mean rating of each set; NaN for a set without ratings."""
    of, k = evidence.arrays, len(evidence.models)
    return _means(of["rating_model"], of["rating_rating"], weights.ratings, k)


def _means(group: np.ndarray, values: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    """Return the weighted mean of each of n groups; NaN for one without weight."""
    total = np.bincount(group, weight * values, minlength=n)
    count = np.bincount(group, weight, minlength=n)
    return np.divide(total, count, out=np.full(n, math.nan), where=count > 0)


def preference_table(
    evidence: Evidence, *, seed: int, n_resamples: int = 400, level: float = 0.95
) -> pd.DataFrame:
    """Return every set's score and mean rating, with intervals.

    Returns
    -------
    pd.DataFrame
        model, score, low, high (log odds; sum of scores 0), rating, rating_low, rating_high (1 to
        5), choices and ratings (answers about the set), clips (heard), listeners.
    """
    settings = {"n_resamples": n_resamples, "level": level}
    score = resampled(scores, evidence, clips=2, seed=seed, **settings)
    rating = resampled(mean_ratings, evidence, clips=1, seed=seed + 1, **settings)
    rating[1:] = np.clip(rating[1:], 1, 5)
    names = ["score", "low", "high", "rating", "rating_low", "rating_high"]
    table = pd.DataFrame(np.concatenate([score, rating]).T, columns=names)
    table.insert(0, "model", evidence.models)
    chosen, rated = evidence.choices, evidence.ratings
    both = pd.concat([chosen["first"], chosen["second"]]).value_counts()
    heard = {*chosen["first_clip"], *chosen["second_clip"], *rated["clip"]}
    clips = evidence.key.loc[sorted(heard), "model"].value_counts()
    for column, counts in (
        ("choices", both), ("ratings", rated["model"].value_counts()), ("clips", clips),
    ):  # fmt: skip
        table[column] = table["model"].map(counts).fillna(0).astype(int)
    return table.assign(listeners=len(evidence.listeners))


def clip_liking(evidence: Evidence, weights: Weights | None = None) -> np.ndarray:
    """Return how well each clip is liked: mean rating, less what its listeners rate on average.

    Returns
    -------
    np.ndarray, shape (clips,)
        In the order of the key; NaN for a clip that was not rated.
    """
    weight, of = (weights or evidence.ones).ratings, evidence.arrays
    return _means(of["rating_clip"], of["rating_centred"], weight, len(evidence.key))


def rank_correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> float:
    """Return Spearman's correlation of pairs that count several times; NaN where it is undefined.

    Pairs with a value that is not finite are left out; fewer than three, or equal values only, have
    no correlation.
    """
    counts = np.where(np.isfinite(x) & np.isfinite(y), counts, 0).astype(int)
    pairs = [np.repeat(values, counts) for values in (x, y)]
    if counts.astype(bool).sum() < 3 or any(np.ptp(values) == 0 for values in pairs):
        return math.nan
    ranks = [stats.rankdata(values) for values in pairs]
    return float(np.corrcoef(*ranks)[0, 1])


def choice_slope(evidence: Evidence, values: np.ndarray, weights: Weights) -> float:
    """Return by how much a clip's odds of being chosen grow with a measure.

    Parameters
    ----------
    evidence : Evidence
    values : np.ndarray, shape (clips,)
        The measure of each clip; choices with a clip whose value is not finite are left out.
    weights : Weights

    Returns
    -------
    float
        Log odds for each standard deviation of the measure over clips; NaN if all clips are equal.
        Half a win for each of two clips that lie one standard deviation apart comes before the
        answers, so that it stays finite.
    """
    finite = np.isfinite(values)
    spread = float(values[finite].std()) if finite.any() else 0.0
    if not spread > 1e-12 * float(np.abs(values[finite]).max(initial=1e-300)):
        return math.nan
    of = evidence.arrays
    first, second = of["choice_first_clip"], of["choice_second_clip"]
    used = finite[first] & finite[second]
    apart = (values[first[used]] - values[second[used]]) / spread
    x, y = np.append(apart, 1.0), np.append(of["choice_score"][used], 0.5)
    return float(logistic(x[:, None], y, np.append(weights.choices[used], 2 * PRIOR))[0])


def prediction_table(
    evidence: Evidence,
    measures: pd.DataFrame,
    names: Sequence[str],
    *,
    seed: int,
    n_resamples: int = 400,
    level: float = 0.95,
) -> pd.DataFrame:
    """Say how well each measure predicts what was liked.

    Parameters
    ----------
    evidence : Evidence
    measures : pd.DataFrame
        Column code and the measures, a row a clip.
    names : sequence of str
        The measures to try.
    seed, n_resamples, level
        As `evidence.resampled`.

    Returns
    -------
    pd.DataFrame
        A row a measure: rho, rho_low, rho_high (Spearman's correlation with the clips' liking),
        within, within_low, within_high (the same with each set's mean taken from both, so that it
        says nothing about which set is liked), slope, slope_low, slope_high (see `choice_slope`),
        clips (rated), choices.
    """
    values = measures.set_index("code").loc[evidence.key["code"], list(names)].to_numpy(float)
    values = np.where(np.isfinite(values), values, math.nan)
    settings = {"seed": seed, "n_resamples": n_resamples, "level": level}
    sets, rows = pd.factorize(evidence.key["model"])[0], []
    for column, name in zip(values.T, names, strict=True):

        def predicts(some: Evidence, weights: Weights, column: np.ndarray = column) -> np.ndarray:
            liking = clip_liking(some, weights)
            inner = [_within(sets, v, weights.clips) for v in (column, liking)]
            rhos = [rank_correlation(*pair, weights.clips) for pair in ((column, liking), inner)]
            return np.array([*rhos, choice_slope(some, column, weights)])

        found = resampled(predicts, evidence, clips=(1, 1, 2), **settings)
        found[1:, :2] = np.clip(found[1:, :2], -1, 1)
        rows.append((name, *found.T.ravel()))
    ends = [f"{what}{end}" for what in ("rho", "within", "slope") for end in ("", "_low", "_high")]
    rated = int(np.isfinite(clip_liking(evidence)).sum())
    table = pd.DataFrame(rows, columns=["measure", *ends])
    return table.assign(clips=rated, choices=len(evidence.choices))


def _within(group: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return values less the mean of their set, of those that are numbers."""
    known = ~np.isnan(values)
    means = _means(group[known], values[known], counts[known], int(group.max()) + 1)
    rest = values - means[group]
    return np.where(np.abs(rest) > 1e-12 * np.abs(values), rest, rest * 0)  # no rounding's ranks
