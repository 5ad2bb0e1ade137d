"""What listeners prefer: Bradley-Terry scores, mean ratings, agreement, and what predicts liking.

Scores are log odds: a set whose score lies d above another's is chosen over it with probability
1 / (1 + exp(-d)); the scores of all sets sum to 0.

Listeners and training runs are samples of many possible ones, and are crossed: listeners are drawn
with replacement, and so are each set's *groups* (training runs, or clips if a set has only one);
their variances add up. The taste of simulated listeners is put in here and is not a finding.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from musiclib.files import write_text
from study import listening
from study.listening import CHOICE, HEARD, RATING, SIMULATED, Answer, Clip
from study.run import Paths, Preset
from study.sets import (
    REFINED,
    Sample,
    baseline_samples,
    read_models,
    real_samples,
    training_pieces,
)
from study.splits import ready_corpus
from study.stats import MODELS, few_seeds

WINS = {"first": 1.0, "tie": 0.5, "second": 0.0}  # for the clip that was heard first


def music_to_hear(
    paths: Paths, corpus: str, *, budget: Preset, seed: int, n: int = 0
) -> tuple[list[Sample], int]:
    """Return the pieces that a test may play, and how many clips of each set it plays, at most n.

    They are the refined models' pieces, held-out real ones, and n of each baseline (0: `CLIPS`).
    """
    made, whose = read_models(paths, kind=REFINED, seed=seed, budget=budget)
    most = budget["max_pieces"] if "this run" in whose.values() else budget.full("max_pieces")
    _, pieces, split = ready_corpus(corpus, paths, max_pieces=most)
    found = made + real_samples(pieces, split)
    n = min(n or listening.CLIPS, *Counter(sample.model for sample in found).values())
    return found + baseline_samples(training_pieces(pieces, split), n=n, seed=seed), n


class Weights(NamedTuple):
    """How often each rating, choice and clip counts: all ones, or a resample."""

    ratings: np.ndarray
    choices: np.ndarray
    clips: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Ratings and choices of several listeners, with what they were not told.

    `key`: code, model, seed, group. `ratings`: listener, clip (numbers), model, rating (1 to 5) and
    ``centred``, less the listener's mean. `choices`: listener, first_clip, second_clip (numbers),
    first, second (models) and score (see `WINS`).
    """

    key: pd.DataFrame
    listeners: tuple[str, ...]
    ratings: pd.DataFrame
    choices: pd.DataFrame

    @functools.cached_property
    def models(self) -> list[str]:
        return list(dict.fromkeys(self.key["model"]))

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Columns of the tables as arrays, sets as numbers: a bootstrap asks for them often."""
        place = {model: i for i, model in enumerate(self.models)}
        tables = {"rating": self.ratings, "choice": self.choices, "clip": self.key}
        columns = ((f"{what}_{name}", some[name]) for what, some in tables.items() for name in some)
        found = {name: column.to_numpy() for name, column in columns}
        for name in ("rating_model", "choice_first", "choice_second", "clip_model"):
            found[name] = np.array([place[model] for model in found[name]], dtype=int)
        return found

    @functools.cached_property
    def ones(self) -> Weights:
        return Weights(*map(np.ones, (len(self.ratings), len(self.choices), len(self.key))))

    @functools.cached_property
    def sizes(self) -> list[int]:
        """How many listeners there are, and how many groups each set has."""
        return [len(self.listeners), *(number.max() + 1 for _, number in self._places)]

    @functools.cached_property
    def _places(self) -> list[tuple[np.ndarray, np.ndarray]]:
        sets = self.key.groupby("model", sort=False)["group"]
        return [(rows.index.to_numpy(), pd.factorize(rows)[0]) for _, rows in sets]

    def draw_listeners(self, rng: np.random.Generator) -> Weights:
        """Return the weights of one resample of listeners, with all their answers."""
        people, of = _draw_counts(len(self.listeners), rng), self.arrays
        heard = (people[of[f"{kind}_listener"]] for kind in ("rating", "choice"))
        return Weights(*heard, self.ones.clips)

    def draw_groups(self, rng: np.random.Generator) -> Weights:
        """Return the weights of one resample of each set's groups: a choice counts for both."""
        clips, of = np.zeros(len(self.key)), self.arrays
        for rows, number in self._places:
            clips[rows] = _draw_counts(number.max() + 1, rng)[number]
        pairs = clips[of["choice_first_clip"]] * clips[of["choice_second_clip"]]
        return Weights(clips[of["rating_clip"]], pairs, clips)

    def draw_answers(self, rng: np.random.Generator) -> Weights:
        """Return the weights of one resample of single answers."""
        return Weights(*(_draw_counts(len(some), rng) for some in self.ones[:2]), self.ones.clips)


def _draw_counts(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.bincount(rng.integers(n, size=n), minlength=n) if n else np.zeros(0)


def gather(answers: pd.DataFrame, key: pd.DataFrame) -> Evidence:
    """Join answers, as `listening.merge_answers` returns them, with the key of the test."""
    if answers.empty:
        raise ValueError("answers: got none; allowed: one or more")
    key = key.assign(group=_groups(key)).reset_index(drop=True)
    model, place = key["model"].to_numpy(), pd.Series(key.index, key["code"])
    people, names = pd.factorize(answers["listener"], sort=True)
    answers = answers.assign(listener=people)
    rated, chose = (answers[answers["kind"] == kind].reset_index() for kind in (RATING, CHOICE))
    clip, rating = rated["first"].map(place).astype(int), rated["answer"].astype(float)
    ratings = rated[["listener"]].assign(clip=clip, model=model[clip], rating=rating)
    own = ratings.groupby("listener")["rating"].transform("mean")
    choices = chose[["listener"]].assign(score=chose["answer"].map(WINS).astype(float))
    for side in ("first", "second"):
        clip = chose[side].map(place).astype(int)
        choices = choices.assign(**{f"{side}_clip": clip, side: model[clip]})
    return Evidence(key, tuple(names), ratings.assign(centred=ratings["rating"] - own), choices)


def _groups(key: pd.DataFrame) -> pd.Series:
    several = key.groupby("model")["seed"].transform("nunique") > 1
    return (key["model"] + " " + key["seed"].astype(str)).where(several, key["code"])


def resampled(
    statistic: Callable[[Evidence, Weights], np.ndarray], evidence: Evidence, *, clips: ArrayLike,
    seed: int, n_resamples: int = 400, level: float = 0.95,
) -> np.ndarray:  # fmt: skip
    """Return a statistic of k numbers with intervals: estimate, low, high, shape (3, k).

    An answer compares one or two `clips`. With one listener the ends are unknown: NaN.

    Estimate -+ z sqrt(L f_L^2 + max(0, T - c A) f_T^2). L, T and A are the bootstrap variances when
    listeners, trainings or single answers are drawn; f widens for few of them (`stats.few_seeds`).
    With two clips, two draws multiply in T, which counts the noise A threefold (A. B. Owen: The
    pigeonhole bootstrap. Annals of Applied Statistics 1(2), 2007): c = 2, or 0 for one clip. C.
    Cameron et al. (Robust inference with multiway clustering. Journal of Business and Economic
    Statistics 29(2), 2011) subtract A once more: then 91 % of simulated intervals held the truth.
    Of ours, which err on the wide side, 95 to 97 %.
    """
    if n_resamples < 100 or not 0 < level < 1:
        raise ValueError(f"n_resamples, level: got {n_resamples}, {level}; allowed >= 100, 0 to 1")
    estimate = np.asarray(statistic(evidence, evidence.ones), float)
    if len(evidence.listeners) < 2:
        return np.array([estimate, *np.full((2, len(estimate)), math.nan)])
    rng, sizes, variances = np.random.default_rng(seed), evidence.sizes, []
    for draw in (evidence.draw_listeners, evidence.draw_groups, evidence.draw_answers):
        drawn = [statistic(evidence, draw(rng)) for _ in range(n_resamples)]
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # too few draws
            variances.append(np.nanvar(drawn, axis=0, ddof=1))
    listeners, trainings, noise = variances
    beyond = np.maximum(trainings - (2.0 ** np.asarray(clips) - 2) * noise, 0)
    half = listeners * few_seeds(sizes[:1], level) ** 2 + beyond * few_seeds(sizes[1:], level) ** 2
    half = np.sqrt(half) * stats.norm.ppf((1 + level) / 2)
    return np.array([estimate, estimate - half, estimate + half])


PRIOR = 0.5  # wins of each side before any answer: scores stay finite (our choice: Haldane's half)


def logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fit P(first) = 1 / (1 + exp(-x b)) to weighted choices by Newton's method; return b.

    x, shape (n, k), is how much more the first has; y 1, 0 or 0.5. Of several maxima the shortest.
    """
    b, length = np.zeros(x.shape[1]), 0.0
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ b, -500, 500)))
        slope = x.T @ (weight * (y - p))
        bend = (x * (weight * p * (1 - p))[:, None]).T @ x
        step = np.linalg.lstsq(bend, slope, rcond=1e-12)[0]
        length = float(np.abs(step).max())
        b = b + step * min(1.0, 2.0 / length if length else 1.0)
        if length < 1e-10:
            break
    if length >= 1e-10 or np.abs(x @ b).max(initial=0) > 30:
        raise ValueError("x, y: the likelihood has no finite maximum; the choices are separated")
    return b


def bradley_terry(wins: np.ndarray, *, prior: float = PRIOR) -> np.ndarray:
    """Return the Bradley-Terry scores, shape (k,), of a table of wins, shape (k, k).

    ``wins[i, j]`` counts how often i was chosen over j, half for a tie; the diagonal is ignored.
    `prior` wins are added to both sides of every pair. R. A. Bradley, M. E. Terry: Rank analysis of
    incomplete block designs. Biometrika 39, 1952.
    """
    wins = np.asarray(wins, float)
    if wins.ndim != 2 or len(wins) != wins.shape[-1] or len(wins) < 2 or not (wins >= 0).all():
        raise ValueError(f"wins: shape {wins.shape}; allowed: (k, k), counts of 0 or more")
    if prior < 0:
        raise ValueError(f"prior: got {prior}; allowed: 0 or more")
    i, j = np.triu_indices(len(wins), 1)
    up, down, x = wins[i, j] + prior, wins[j, i] + prior, np.eye(len(wins))
    share = np.divide(up, up + down, out=np.full(len(i), 0.5), where=up + down > 0)
    return logistic(x[i] - x[j], share, up + down)


def win_table(evidence: Evidence) -> pd.DataFrame:
    """Return how often each set (row) was chosen over each other (column); half for a tie."""
    return pd.DataFrame(_wins(evidence, evidence.ones), evidence.models, evidence.models)


def _wins(evidence: Evidence, weights: Weights) -> np.ndarray:
    of, k = evidence.arrays, len(evidence.models)
    first, second, score = of["choice_first"], of["choice_second"], of["choice_score"]
    wins = np.bincount(first * k + second, weights.choices * score, minlength=k * k)
    wins += np.bincount(second * k + first, weights.choices * (1 - score), minlength=k * k)
    return wins.reshape(k, k)


def scores(evidence: Evidence, weights: Weights) -> np.ndarray:
    """Return the Bradley-Terry scores of all sets."""
    return bradley_terry(_wins(evidence, weights))


def mean_ratings(evidence: Evidence, weights: Weights) -> np.ndarray:
    """Return the mean rating of each set; NaN for a set without ratings."""
    of, k = evidence.arrays, len(evidence.models)
    return _means(of["rating_model"], of["rating_rating"], weights.ratings, k)


def _means(group: np.ndarray, values: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    total = np.bincount(group, weight * values, minlength=n)
    count = np.bincount(group, weight, minlength=n)
    return np.divide(total, count, out=np.full(n, math.nan), where=count > 0)


def preference_table(evidence: Evidence, *, seed: int, n_resamples: int = 400) -> pd.DataFrame:
    """Return every set's score (log odds) and mean rating (1 to 5), with 95 % intervals."""
    score = resampled(scores, evidence, clips=2, seed=seed, n_resamples=n_resamples)
    rating = resampled(mean_ratings, evidence, clips=1, seed=seed + 1, n_resamples=n_resamples)
    rating[1:] = np.clip(rating[1:], 1, 5)
    names = ["score", "low", "high", "rating", "rating_low", "rating_high"]
    table = pd.DataFrame(np.concatenate([score, rating]).T, columns=names)
    table.insert(0, "model", evidence.models)
    chosen, rated = evidence.choices, evidence.ratings
    heard = {*chosen["first_clip"], *chosen["second_clip"], *rated["clip"]}
    sides, clips = pd.concat([chosen["first"], chosen["second"]]), evidence.key.loc[sorted(heard)]
    about = {"choices": sides, "ratings": rated["model"], "clips": clips["model"]}
    for column, sets in about.items():
        table[column] = table["model"].map(sets.value_counts()).fillna(0).astype(int)
    return table.assign(listeners=len(evidence.listeners))


def clip_scores(evidence: Evidence, weights: Weights | None = None) -> np.ndarray:
    """Return each clip's mean rating, less its listeners' averages; NaN for one not rated."""
    weight, of = (weights or evidence.ones).ratings, evidence.arrays
    return _means(of["rating_clip"], of["rating_centred"], weight, len(evidence.key))


def rank_correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> float:
    """Return Spearman's correlation of the finite pairs, weighted by `counts`; NaN for under 3."""
    counts = np.where(np.isfinite(x) & np.isfinite(y), counts, 0).astype(int)
    pairs = [np.repeat(values, counts) for values in (x, y)]
    if counts.astype(bool).sum() < 3 or any(np.ptp(values) == 0 for values in pairs):
        return math.nan
    return float(np.corrcoef(*map(stats.rankdata, pairs))[0, 1])


def choice_slope(evidence: Evidence, values: np.ndarray, weights: Weights) -> float:
    """Return by how much a clip's odds of being chosen grow with a measure, `values` of each clip.

    In log odds for each of its standard deviations; NaN if all clips are equal. Half a win for each
    of two clips one standard deviation apart keeps it finite.
    """
    finite = np.isfinite(values)
    spread = float(values[finite].std()) if finite.any() else 0.0
    if not spread > 1e-12 * float(np.abs(values[finite]).max(initial=1e-300)):
        return math.nan
    of = evidence.arrays
    apart = (values[of["choice_first_clip"]] - values[of["choice_second_clip"]]) / spread
    used = np.isfinite(apart)
    x, y = np.append(apart[used], 1.0), np.append(of["choice_score"][used], 0.5)
    return float(logistic(x[:, None], y, np.append(weights.choices[used], 2 * PRIOR))[0])


def prediction_table(
    evidence: Evidence, measures: pd.DataFrame, names: Sequence[str], **settings: int
) -> pd.DataFrame:
    """Return how well each measure predicts what was liked, one row per measure.

    `measures` has a column code, `settings` are `resampled`'s. The columns are Spearman's rho with
    the clips' liking, ``within`` (each set's mean taken from both) and slope (`choice_slope`).
    """
    values = measures.set_index("code").loc[evidence.key["code"], list(names)].to_numpy(float)
    rows = []
    for column in np.where(np.isfinite(values), values, math.nan).T:
        statistic = functools.partial(_prediction, column)
        found = resampled(statistic, evidence, clips=(1, 1, 2), **settings)
        found[1:, :2] = np.clip(found[1:, :2], -1, 1)
        rows.append(found.T.ravel())
    ends = [f"{what}{end}" for what in ("rho", "within", "slope") for end in ("", "_low", "_high")]
    table = pd.DataFrame(rows, columns=ends)
    table.insert(0, "measure", list(names))
    rated = int(np.isfinite(clip_scores(evidence)).sum())
    return table.assign(clips=rated, choices=len(evidence.choices))


def _prediction(values: np.ndarray, evidence: Evidence, weights: Weights) -> np.ndarray:
    pair, inner, group = (values, clip_scores(evidence, weights)), [], evidence.arrays["clip_model"]
    for some in pair:  # less the mean of its set
        known, k = ~np.isnan(some), len(evidence.models)
        rest = some - _means(group[known], some[known], weights.clips[known], k)[group]
        inner.append(np.where(np.abs(rest) > 1e-12 * np.abs(some), rest, rest * 0))  # no rounding
    rhos = [rank_correlation(*each, weights.clips) for each in (pair, inner)]
    return np.array([*rhos, choice_slope(evidence, values, weights)])


class Agreement(NamedTuple):
    """Alpha with its interval, W with its test, and how many listeners and clips they rest on."""

    alpha: float
    low: float
    high: float
    w: float
    p: float
    listeners: int
    clips: int
    shared: int


def krippendorff_alpha(ratings: np.ndarray) -> float:
    """Return Krippendorff's alpha of ordinal ratings, shape (listeners, units), NaN for a gap.

    1 for full agreement, 0 for chance. NaN if no unit was rated twice, or all ratings are equal.
    alpha = 1 - D_o / D_e, observed over expected disagreement of pairs of ratings of one unit (K.
    Krippendorff: Computing Krippendorff's alpha-reliability. University of Pennsylvania, 2011);
    written out here, as the maintained package is under the GPL.
    """
    ratings = np.asarray(ratings, float)
    kept = ratings[:, (~np.isnan(ratings)).sum(axis=0) > 1]
    values = np.unique(kept[~np.isnan(kept)])
    if len(values) < 2:
        return math.nan
    counts = (kept[:, :, None] == values).sum(axis=0).astype(float)  # (units, values)
    pairs = counts * (1 / (counts.sum(axis=1) - 1))[:, None]
    observed = pairs.T @ counts - np.diag(pairs.sum(axis=0))
    n = observed.sum(axis=1)
    expected = (np.outer(n, n) - np.diag(n)) / (n.sum() - 1)
    place = np.cumsum(n) - n / 2  # ratings up to a value, its own counted half
    apart = (place[:, None] - place) ** 2
    return float(1 - (observed * apart).sum() / (expected * apart).sum())


def alpha_interval(ratings: np.ndarray, *, seed: int, n_resamples: int) -> tuple[float, float]:
    """Return the 95 % interval of alpha over units: one listener drawn twice would agree."""
    if math.isnan(krippendorff_alpha(ratings)):
        return math.nan, math.nan
    rng, units = np.random.default_rng(seed), ratings.shape[1]
    drawn = (rng.integers(units, size=units) for _ in range(n_resamples))
    draws = [krippendorff_alpha(ratings[:, some]) for some in drawn]
    return tuple(np.nanquantile(draws, [(1 - 0.95) / 2, (1 + 0.95) / 2]).tolist())


def kendalls_w(ratings: np.ndarray) -> tuple[float, float]:
    """Return Kendall's W of ratings, shape (listeners, items), and the p-value of Friedman's test.

    W = chi^2 / (m (k - 1)) is 0 for no common order, 1 for the same order by all m listeners of k
    items (M. G. Kendall, B. Babington Smith: The problem of m rankings. Annals of Mathematical
    Statistics 10, 1939). Listeners with a gap are skipped. NaN for too few, or equal ratings only.
    """
    whole = np.asarray(ratings, float)
    whole = whole[~np.isnan(whole).any(axis=1)]
    m, k = whole.shape
    if m < 2 or k < 3 or (np.ptp(whole, axis=1) == 0).all():
        return math.nan, math.nan
    chi, p = stats.friedmanchisquare(*whole.T)
    return float(chi / (m * (k - 1))), float(p)


def agreement(evidence: Evidence, *, seed: int, n_resamples: int) -> Agreement:
    """Return how far listeners agree about clips (alpha) and about each set's mean rating (W)."""
    ratings, key = evidence.ratings, evidence.key
    matrix = np.full((len(evidence.listeners), len(key)), math.nan)
    matrix[ratings["listener"], ratings["clip"]] = ratings["rating"]
    by_set = pd.DataFrame(matrix.T).groupby(key["model"].to_numpy(), sort=False).mean().T
    heard = (~np.isnan(matrix)).sum(axis=0)
    interval = alpha_interval(matrix, seed=seed, n_resamples=n_resamples)
    counts = (len(evidence.listeners), int((heard > 0).sum()), int((heard > 1).sum()))
    return Agreement(krippendorff_alpha(matrix), *interval, *kendalls_w(by_set.to_numpy()), *counts)


# Simulated listeners: liking of each set (log odds), spread over clips and listeners, share of ties
LIKING = MappingProxyType({"lstm": 0.0, "gan": 0.0, "vae": 0.0, "real": 1.2, "markov": -0.9})
CLIP_SPREAD, LISTENER_SPREAD, TIES = 0.4, 0.5, 0.1
LISTENERS, SEED, DESIGN = 20, 0, SIMULATED


def placeholder_clips(n: int) -> list[Clip]:
    """Return n clips of each set with their codes and without notes."""
    silent, every = np.zeros((1, 88, 2), np.uint8), itertools.product(HEARD, range(n))
    return [Clip(listening.clip_code(name, k), name, 0, k, "", silent) for name, k in every]


def simulated_answers(clips: Sequence[Clip], *, listeners: int = LISTENERS) -> list[Answer]:
    """Return the answers of simulated listeners: they choose by a logistic law, rate about 3."""
    rng = np.random.default_rng(SEED)
    liking = {clip.code: LIKING[clip.model] + rng.normal(0, CLIP_SPREAD) for clip in clips}
    found = []
    for number in range(1, listeners + 1):
        name = f"{SIMULATED}-{number:02d}"
        own = {code: value + rng.normal(0, LISTENER_SPREAD) for code, value in liking.items()}
        bias = rng.normal(0, 0.5)
        for trial in listening.deal(clips, listener=name, seed=SEED):
            if trial.kind == RATING:
                liked = 3 + own[trial.first] + bias + rng.normal(0, 0.5)
                said = str(int(np.clip(np.rint(liked), 1, 5)))
            elif rng.random() < TIES:
                said = "tie"
            else:
                odds = np.exp(own[trial.second] - own[trial.first])
                said = "first" if rng.random() < 1 / (1 + odds) else "second"
            found.append(Answer(DESIGN, name, *trial, said, float(rng.uniform(14, 40))))
    return found


def expected_scores(sets: Sequence[str] = HEARD) -> np.ndarray:
    """Return the scores that infinitely many simulated listeners and clips would give to sets."""
    points, share = np.polynomial.hermite_e.hermegauss(40)
    spread = points * np.sqrt(2 * (CLIP_SPREAD**2 + LISTENER_SPREAD**2))
    liking = np.array([LIKING[name] for name in sets])
    apart = liking[:, None] - liking
    chosen = (share / share.sum() / (1 + np.exp(-apart[..., None] - spread))).sum(axis=-1)
    models = np.isin(sets, MODELS)
    asked = np.where(models[:, None] & models, listening.BETWEEN_MODELS, listening.CHOSEN)
    return bradley_terry(asked * ((1 - TIES) * chosen + TIES / 2), prior=0)


def write_simulated(clips: Sequence[Clip], path: str | Path) -> Path:
    """Write simulated answers to a file whose name, header and rows say what it is."""
    if SIMULATED not in Path(path).name:
        raise listening.ProvenanceError(f"{path}: simulated answers need a file name that says so")
    lines = [listening.answer_line(said, provenance=SIMULATED) for said in simulated_answers(clips)]
    write_text("\n".join([listening.header(SIMULATED), *lines]) + "\n", path)
    return Path(path)
