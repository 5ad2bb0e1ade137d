"""Answers as numbers, and how sure they are: listeners and trainings are both samples, crossed.

Conventions: listeners and clips are both samples of many that might have been, and every listener
hears clips of every set, so the two are crossed, not nested. The spread over listeners comes from
drawing listeners with replacement, that over trainings from drawing each set's *groups* with
replacement; their variances add up. A group is a training, or a clip where a set has only one
training or none. With one listener there are no intervals.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from musiclib.intervals import few_seeds
from musiclib.listening import CHOICE, RATING

SCORES = {"first": 1.0, "tie": 0.5, "second": 0.0}
"""What a choice counts for the clip that was heard first: a tie is half a win for each."""


class Weights(NamedTuple):
    """How often each rating, choice and clip counts: all ones, or a resample.

    Attributes
    ----------
    ratings, choices, clips : np.ndarray, shape (ratings,), (choices,) and (clips,)
    """

    ratings: np.ndarray
    choices: np.ndarray
    clips: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Ratings and choices of several listeners, with what was hidden from them.

    Attributes
    ----------
    key : pd.DataFrame
        The test's clips: code, model, seed and ``group`` (see the head of this module).
    listeners : tuple of str
    ratings : pd.DataFrame
        listener (number), clip (number), model, rating (1 to 5), and ``centred``: less the mean of
        all ratings of that listener.
    choices : pd.DataFrame
        listener (number), first_clip, second_clip (numbers), first, second (models), score (1 where
        the first was chosen, 0 where the second, 0.5 for a tie).
    """

    key: pd.DataFrame
    listeners: tuple[str, ...]
    ratings: pd.DataFrame
    choices: pd.DataFrame

    @functools.cached_property
    def models(self) -> list[str]:
        """The sets, in the order of the key."""
        return list(dict.fromkeys(self.key["model"]))

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Columns of both tables as arrays, sets as numbers: a bootstrap asks for them often."""
        place = {model: i for i, model in enumerate(self.models)}
        found = {f"rating_{name}": column.to_numpy() for name, column in self.ratings.items()}
        found |= {f"choice_{name}": column.to_numpy() for name, column in self.choices.items()}
        for name in ("rating_model", "choice_first", "choice_second"):
            found[name] = np.array([place[model] for model in found[name]], dtype=int)
        return found

    @functools.cached_property
    def ones(self) -> Weights:
        """Every answer once."""
        sizes = (len(self.ratings), len(self.choices), len(self.key))
        return Weights(*(np.ones(size) for size in sizes))

    @functools.cached_property
    def sizes(self) -> list[int]:
        """How many listeners there are, and how many groups each set has."""
        return [len(self.listeners), *(number.max() + 1 for _, number in self._places)]

    @functools.cached_property
    def _places(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return of each set the rows of its clips in the key, and the numbers of their groups."""
        sets = self.key.groupby("model", sort=False)["group"]
        return [(rows.index.to_numpy(), pd.factorize(rows)[0]) for _, rows in sets]

    def draw_listeners(self, rng: np.random.Generator) -> Weights:
        """Return the weights of one resample of listeners, with all their answers."""
        people, of = _drawn(len(self.listeners), rng), self.arrays
        return Weights(
            people[of["rating_listener"]], people[of["choice_listener"]], self.ones.clips
        )

    def draw_trainings(self, rng: np.random.Generator) -> Weights:
        """Return the weights of one resample of each set's groups: a choice counts for both."""
        clips, of = np.zeros(len(self.key)), self.arrays
        for rows, number in self._places:
            clips[rows] = _drawn(number.max() + 1, rng)[number]
        pairs = clips[of["choice_first_clip"]] * clips[of["choice_second_clip"]]
        return Weights(clips[of["rating_clip"]], pairs, clips)

    def draw_answers(self, rng: np.random.Generator) -> Weights:
        """Return the weights of one resample of single answers."""
        sizes = (len(self.ratings), len(self.choices))
        return Weights(*(_drawn(n, rng) for n in sizes), self.ones.clips)


def _drawn(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n comes when n are drawn with replacement."""
    return np.bincount(rng.integers(n, size=n), minlength=n) if n else np.zeros(0)


def gather(answers: pd.DataFrame, key: pd.DataFrame) -> Evidence:
    """Join merged answers with the key of the test.

    Parameters
    ----------
    answers : pd.DataFrame
        As `answers.merge_answers` returns them: every clip is in the key.
    key : pd.DataFrame
        As `listening.clip_table` returns it.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError
        If there is no answer.
    """
    if answers.empty:
        raise ValueError("answers: got none; allowed is one or more")
    key = key.reset_index(drop=True)
    key = key.assign(group=_groups(key))
    place = {code: i for i, code in enumerate(key["code"])}
    people, names = pd.factorize(answers["listener"], sort=True)
    whole = answers.assign(listener=people)
    rated, chose = (whole[whole["kind"] == kind] for kind in (RATING, CHOICE))
    ratings = pd.DataFrame(
        {
            "listener": rated["listener"].to_numpy(int),
            "clip": rated["first"].map(place).to_numpy(int),
            "rating": rated["answer"].to_numpy(float),
        }
    )
    ratings["model"] = key["model"].to_numpy()[ratings["clip"]]
    own = ratings.groupby("listener")["rating"].transform("mean")
    choices = pd.DataFrame(
        {
            "listener": chose["listener"].to_numpy(int),
            "first_clip": chose["first"].map(place).to_numpy(int),
            "second_clip": chose["second"].map(place).to_numpy(int),
            "score": chose["answer"].map(SCORES).to_numpy(float),
        }
    )
    for side in ("first", "second"):
        choices[side] = key["model"].to_numpy()[choices[f"{side}_clip"]]
    return Evidence(key, tuple(names), ratings.assign(centred=ratings["rating"] - own), choices)


def _groups(key: pd.DataFrame) -> list[str]:
    """Return each clip's group: its training where its set has several, else itself."""
    several = key.groupby("model")["seed"].transform("nunique") > 1
    return [
        f"{model} {seed}" if many else code
        for model, seed, code, many in zip(
            key["model"], key["seed"], key["code"], several, strict=True
        )
    ]


def resampled(
    statistic: Callable[[Evidence, Weights], np.ndarray],
    evidence: Evidence,
    *,
    clips: ArrayLike,
    seed: int,
    n_resamples: int = 400,
    level: float = 0.95,
) -> np.ndarray:
    """Return a statistic and its intervals.

    Parameters
    ----------
    statistic : callable
        Takes the evidence and weights, and returns numbers, shape (k,).
    evidence : Evidence
    clips : int, or sequence of k
        Clips in each answer that the numbers rest on: 1 for ratings, 2 for choices.
    seed : int
        Of every draw.
    n_resamples : int
        Number of resamples of each of three kinds, 100 or more.
    level : float
        Of each interval, above 0 and below 1.

    Returns
    -------
    np.ndarray, shape (3, k)
        Estimate, low, high. The ends are NaN with one listener: how far listeners differ is unknown
        then, and an interval over clips alone would look far too sure.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Estimate -+ z sqrt(L f_L^2 + max(0, T - c A) f_T^2). L, T and A are the bootstrap variances when
    listeners, trainings or single answers are drawn; f widens for few of them (`intervals`). Where
    an answer rests on two clips, two draws multiply in T, which counts the noise A of single
    answers threefold (A. B. Owen: The pigeonhole bootstrap. Annals of Applied Statistics 1(2),
    2007): c = 2 takes off what is too much; c = 0 for one clip. Adding variances clustered in two
    ways follows A. C. Cameron, J. B. Gelbach, D. L. Miller (Robust inference with multiway
    clustering. Journal of Business and Economic Statistics 29(2), 2011), who take A off once more;
    with so few trainings that made intervals too narrow: of simulated ones of 95 % (20 listeners, 5
    or 10 clips a set) 91 % held the truth, and of these, which err towards width, 95 to 97 %.
    """
    if n_resamples < 100 or not 0 < level < 1:
        raise ValueError(
            f"n_resamples, level: got {n_resamples}, {level}; allowed are 100 and more, 0 to 1"
        )
    estimate = np.asarray(statistic(evidence, evidence.ones), float)
    if len(evidence.listeners) < 2:
        return np.array([estimate, *np.full((2, len(estimate)), math.nan)])
    rng = np.random.default_rng(seed)
    draws = (evidence.draw_listeners, evidence.draw_trainings, evidence.draw_answers)
    listeners, trainings, noise = (
        _variance([statistic(evidence, draw(rng)) for _ in range(n_resamples)]) for draw in draws
    )
    factors = [few_seeds(sizes, level) for sizes in (evidence.sizes[:1], evidence.sizes[1:])]
    beyond = np.maximum(trainings - (2.0 ** np.asarray(clips) - 2) * noise, 0)
    half = np.sqrt(listeners * factors[0] ** 2 + beyond * factors[1] ** 2)
    half *= stats.norm.ppf((1 + level) / 2)
    return np.array([estimate, estimate - half, estimate + half])


def _variance(draws: list[np.ndarray]) -> np.ndarray:
    """Return the variance of each number over the draws that define it; NaN for fewer than two."""
    values = np.array(draws, float)
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    mean = np.where(known, values, 0).sum(axis=0) / np.maximum(n, 1)
    squares = np.where(known, (values - mean) ** 2, 0).sum(axis=0)
    return np.divide(squares, n - 1, out=np.full(len(n), math.nan), where=n > 1)
