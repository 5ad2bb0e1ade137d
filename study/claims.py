"""The paper's claims C1 to C8, what is measured for each, and when it holds.

A claim holds only if all its parts hold. A part compares a first set with a second one by one
number (its *effect*), so that the claim asks for a large one; it has the smallest effect that would
matter (its *margin*) and an interval. "yes": the whole interval lies above the margin; "no": it
lies below; "undecided": the margin lies within, or there are too few trainings or pieces that
define the measure to say, or a control passes the rule too. Intervals are widened by the Monte
Carlo error of their bootstrap, so that another seed of it turns no answer but by rare chance.

The rules were written down before the results were read. The margins: for an order of two sets a
medium Cliff's delta, 0.33 (J. Romano and others, 2006: below it, effects are called small); for
energy 1 dB, about the smallest difference in level that a listener notices; for an offset one step
of 16-bit audio, at the study's one gain (a larger gain makes offsets larger); for variety four
fifths of real music's. All of it is our choice: the paper states no test.

Controls take the place of the model that a claim is about. If one passes, the measure does not show
what the claim says. That C7 needs controls was seen only after its first results; it can turn an
answer to undecided, never to yes or no.

C1, the ranking by ear, is decided by real listeners or not at all: only files are taken, never
tables, and `listening.real_answers` refuses what is simulated or of unknown origin.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musiclib.distance import FEATURES, dropped_features
from study.listening import Clip, clip_table, design, real_answers
from study.measuring import features_outside
from study.preference import Evidence, Weights, gather, resampled, scores
from study.sets import REAL
from study.stats import MODELS, cliffs_delta, seed_interval, values_by_seed

# The margins: a medium Cliff's delta, dB, 16-bit steps, share of real music's spread.
MEDIUM, AUDIBLE_DB, STEP, VARIETY = 0.33, 1.0, 1.0, 0.8
# Of C1, a difference of two scores: one set chosen twice as often as the other. In shares 2/3
# against 1/3: a delta of 0.33, as in the other claims.
MARGIN = math.log(2)
# Trainings of each model, pieces of a set, listeners in all, and choices between just the two
# models, below which nothing is decided.
FEWEST_SEEDS, FEWEST_PIECES, FEWEST_LISTENERS, FEWEST_CHOICES = 5, 20, 12, 20
# Level of each interval: eight claims are decided at once. An answer is wrong only if the truth
# lies beyond one end: over the 17 parts that decide (two of them the listeners'), the chance of any
# wrong answer is at most 17 * 0.05 / 8 / 2, about 5 %.
LEVEL = 1 - 0.05 / 8

COLUMNS = ["claim", "measure", "holds", "effect", "low", "high", "rule", "why"]
PART_COLUMNS = [
    *("claim", "part", "first", "second", "measure", "unit", "decides", "holds"),
    *("effect", "low", "high", "margin"),
    *("seeds", "n_first", "n_second", "why"),
]


class Claim(NamedTuple):
    """What the paper claims, what is measured, and the rule."""

    name: str
    text: str
    measure: str
    rule: str


CLAIMS = (
    Claim("C1", "music quality ranks LSTM > GAN > VAE, by the authors' ears",
          "listeners' choices, difference of Bradley-Terry scores of neighbours (log odds)",
          "yes if both differences lie above log 2 (chosen twice as often), no if one lies below "
          "it; undecided without 12 real listeners: no number here stands for an ear"),
    Claim("C2", "energy ranks VAE > GAN > LSTM",
          "energy, equal length, mean level difference of neighbours (dB)",
          "yes if both differences lie above 1 dB, no if one lies below it"),
    Claim("C3", "the mean's distance from 0 ranks VAE > GAN > LSTM",
          "|mean|, difference of neighbours' medians (16-bit steps)",
          "yes if both differences lie above 1 step, no if one lies below it"),
    Claim("C4", "noise in the waveforms ranks VAE > GAN > LSTM",
          "spectral flatness, Cliff's delta of neighbours",
          "yes if both deltas lie above 0.33, no if one lies below it"),
    Claim("C5", "low energy and a mean near 0 mark good music",
          "energy and |mean| of shuffled and random notes above real music's, Cliff's delta",
          "yes if all four deltas lie above 0.33, no if one lies below it"),
    Claim("C6", "the VAE makes more errors than the other two",
          "features outside real music's range, this VAE (latents from a learned prior) above each "
          "other model, Cliff's delta",
          "yes if both deltas lie above 0.33, no if one lies below it"),
    Claim("C7", "LSTM pieces keep coherence over time, from long-term memory",
          "key drift, Cliff's delta: Markov chain above LSTM, and LSTM not above real music",
          "yes if the first lies above 0.33 and the second above -0.33, no if one lies below; "
          "undecided if shuffled music, the GAN or the VAE passes in the LSTM's place"),
    Claim("C8", "the GAN makes pieces of different kinds",
          "spread of 18 features within a training, ratio to real music's",
          "yes if the ratio lies above 0.8, no if it lies below"),
)  # fmt: skip


def rules() -> pd.DataFrame:
    """Return every claim with its measure and rule, to be read before any result."""
    return pd.DataFrame(CLAIMS).set_axis(
        ["claim", "what the paper says", "measure", "rule"], axis=1
    )


class Part(NamedTuple):
    """One number that a claim needs, of columns of `prepared`; it counts if it `decides`.

    `statistic` takes the two sets' values, shape (n,) or (n, columns); `bounds` is its range. Of a
    control, `control` takes the model's place in the rule of the part `control_of`, and must fail.
    """

    claim: str
    name: str
    measure: str
    unit: str
    first: str
    second: str
    columns: str | tuple[str, ...]
    statistic: Callable[..., float]
    margin: float
    decides: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)
    control: str = ""
    control_of: str = ""


def mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return mean of the first less mean of the second."""
    return float(first.mean() - second.mean())


def median_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return median of the first less median of the second."""
    return float(np.median(first) - np.median(second))


def smaller(first: np.ndarray, second: np.ndarray) -> float:
    """Return how much more often a value of the first set is the smaller: -`cliffs_delta`."""
    return -cliffs_delta(first, second)


def spread_ratio(
    first: np.ndarray, second: np.ndarray, *, features: Sequence[str] = tuple(FEATURES)
) -> float:
    """Return how widely the first set's pieces differ from each other, over the second set's.

    Both are ``within_`` columns of `prepared`, one per feature. It is the median over the features
    of the ratio of standard deviations, the second's not below the floor in `distance.FEATURES`.
    """
    floors = np.array([FEATURES[name].floor for name in features])
    ours, real = (np.sqrt((rows**2).mean(axis=0)) for rows in (first, second))
    return float(np.median(ours / np.maximum(real, floors)))


_NAMES = {"vae": "VAE", "gan": "GAN", "lstm": "LSTM"}
_NAMES |= {"training": "training music", "shuffled": "shuffled music"}
_MEDIUM_DELTA = {"statistic": cliffs_delta, "margin": MEDIUM, "bounds": (-1.0, 1.0)}
_SHOWN = {**_MEDIUM_DELTA, "decides": False}


def _order(claim: str, measure: str, unit: str, column: str, **settings: Any) -> list[Part]:
    """Return the parts of a claim VAE > GAN > LSTM in one column."""
    return [
        Part(claim, f"{_NAMES[a]} above {_NAMES[b]}", measure, unit, a, b, column, **settings)
        for a, b in (("vae", "gan"), ("gan", "lstm"))
    ]


def _delta(claim: str, name: str, measure: str, *sets_and_column: str, **settings: Any) -> Part:
    """Return a part that asks for a medium Cliff's delta, unless `settings` say otherwise."""
    settings = {**_MEDIUM_DELTA, **settings}
    return Part(claim, name, measure, "Cliff's delta", *sets_and_column, **settings)


def _control(part: Part, other: str) -> Part:
    """Return the part with another set in the LSTM's place; it decides nothing itself."""
    first, second = (other if name == "lstm" else name for name in (part.first, part.second))
    return part._replace(
        name=part.name.replace("LSTM", _NAMES[other]), first=first, second=second, decides=False,
        control=_NAMES[other], control_of=part.name,
    )  # fmt: skip


def _variety(name: str) -> Part:
    """Return the part that compares a set's spread with real music's."""
    within = tuple(f"within_{feature}" for feature in FEATURES)
    words = ("C8", f"{_NAMES[name]} beside real", "spread of features", "ratio to real music")
    settings = {"decides": name == "gan", "bounds": (0.0, math.inf)}
    return Part(*words, name, "real", within, spread_ratio, VARIETY, **settings)


_DRIFT = (
    _delta("C7", "LSTM drifts less than Markov", "key drift", "markov", "lstm", "key_drift"),
    _delta("C7", "LSTM drifts no more than real", "key drift", "lstm", "real", "key_drift",
           statistic=smaller, margin=-MEDIUM),
)  # fmt: skip

PARTS: tuple[Part, ...] = (  # in the order of the claims; controls last
    *_order("C2", "energy", "dB", "energy_db", statistic=mean_difference, margin=AUDIBLE_DB),
    *_order("C2", "energy", "Cliff's delta", "energy", **_SHOWN),
    *_order("C3", "|mean|", "16-bit steps", "abs_mean", statistic=median_difference, margin=STEP),
    *_order("C3", "|mean|", "Cliff's delta", "abs_mean", **_SHOWN),
    *_order("C4", "spectral flatness", "Cliff's delta", "spectral_flatness", **_MEDIUM_DELTA),
    *_order("C4", "energy above 8 kHz", "Cliff's delta", "high_band_db", **_SHOWN),
    *_order("C4", "noise floor", "Cliff's delta", "noise_floor_db", **_SHOWN),
    *(
        _delta("C5", f"real below {bad}", measure, bad, "real", column)
        for measure, column in (("energy", "energy"), ("|mean|", "abs_mean"))
        for bad in ("shuffled", "random")
    ),
    *(
        _delta("C6", f"VAE above {_NAMES[other]}", measure, "vae", other, column, decides=decides)
        for measure, column, decides in (
            ("features outside real music", "features_outside", True),
            ("steps that fit no chord", "chord_misfit", False),
            ("notes outside the best scale", "out_of_scale", False),
        )
        for other in ("gan", "lstm")
    ),
    *_DRIFT,
    *(
        _delta("C7", f"LSTM drifts less than {_NAMES[other]}", "key drift", other, "lstm",
               "key_drift", decides=False)
        for other in ("gan", "vae")
    ),
    _delta("C7", "LSTM repeats more than Markov", "similarity 4 bars later", "lstm", "markov",
           "repetition_4", decides=False),
    *map(_variety, ("gan", "vae", "lstm", "training")),
    # None of the controls has an LSTM's long-term memory.
    *(_control(part, other) for part in _DRIFT for other in ("shuffled", "gan", "vae")),
)  # fmt: skip


# Effects and answers


def prepared(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of measured pieces (`measuring.sample_table`) with the claims' columns.

    ``energy_db`` is -inf for silence, ``abs_mean`` in 16-bit steps. ``within_f`` of a feature f is
    the distance from the mean of its seed, times sqrt(n / (n - 1)), so that its mean square is the
    variance within trainings.
    """
    with np.errstate(divide="ignore"):
        added = {"energy_db": 10 * np.log10(table["energy"])}
    added |= {
        "abs_mean": table["mean"].abs() * 2**15,
        "features_outside": features_outside(table),
        "chord_misfit": 1 - table["chord_fit"],
        "out_of_scale": 1 - table["scale_consistency"],
    }
    groups = table.groupby(["model", "seed"])
    for name in FEATURES:
        values = groups[name]
        n = values.transform("count")
        scale = np.sqrt(n / (n - 1).where(n > 1))
        added[f"within_{name}"] = (table[name] - values.transform("mean")) * scale
    return table.assign(**added)


def claim_parts(table: pd.DataFrame, *, seed: int, n_resamples: int = 1000) -> pd.DataFrame:
    """Return every part of every claim but C1, with the columns `PART_COLUMNS`.

    The table is that of `measuring.sample_table`, with real music and the baselines; every part has
    a bootstrap stream of its own. ``seeds`` is 0 where no model is involved; it and the n count
    only pieces that define the measure. ``why`` says what is missing, or which controls pass too.
    """
    ready = prepared(table)
    dropped = dropped_features(table[table["model"] == REAL])
    kept = [name for name in FEATURES if name not in dropped] or list(FEATURES)
    rows = []
    for number, part in enumerate(PARTS):
        columns, statistic = part.columns, part.statistic
        if not isinstance(columns, str):
            columns = [f"within_{name}" for name in kept]
            statistic = functools.partial(statistic, features=kept)
        sets = [values_by_seed(ready, name, columns) for name in (part.first, part.second)]
        found = seed_interval(
            statistic, *sets, rng=np.random.default_rng([seed, number]), n_resamples=n_resamples,
            level=LEVEL, bounds=part.bounds, cautious=True,
        )  # fmt: skip
        rows.append(_part_row(part, found[:3], sets))
    return _with_controls(pd.DataFrame(rows, columns=PART_COLUMNS))


def _part_row(
    part: Part, numbers: Sequence[float], sets: Sequence[dict[int, np.ndarray]]
) -> tuple[object, ...]:
    names, sizes, seeds, lacking = (part.first, part.second), [], [], []
    for name, samples in zip(names, sets, strict=True):
        undefined = [np.isnan(x.reshape(len(x), -1)).any(axis=1) for x in samples.values()]
        defined = [int((~some).sum()) for some in undefined]
        sizes.append(sum(defined))
        if name in MODELS:
            seeds.append(sum(n > 0 for n in defined))
        if sizes[-1] < FEWEST_PIECES:
            those = f" that define {part.measure}" if any(map(np.any, undefined)) else ""
            lacking.append(f"pieces of {name}{those}: {sizes[-1]}, needed {FEWEST_PIECES}")
    if seeds and min(seeds) < FEWEST_SEEDS:
        lacking.append(f"trainings: {min(seeds)}, needed {FEWEST_SEEDS}")
    why = next(iter(lacking), "")
    holds = "undecided" if why else decide(*numbers[1:], part.margin)
    words = (part.claim, part.name, *names, part.measure, part.unit, part.decides, holds)
    return (*words, *numbers, part.margin, min(seeds, default=0), *sizes, why)


def _with_controls(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `PARTS`, undecided where a control passes the same rule."""
    passed = [p for p, holds in zip(PARTS, parts["holds"], strict=True) if holds == "yes"]
    for place, part in enumerate(PARTS):
        rule = (part.claim, part.name)
        names = [p.control for p in passed if p.control and (p.claim, p.control_of) == rule]
        if names and not parts.loc[place, "why"]:
            why = f"also passed by {' and '.join(names)}"
            parts.loc[place, ["holds", "why"]] = ["undecided", why]
    return parts


def decide(low: float, high: float, margin: float) -> str:
    """Return "yes" for an interval above the margin, "no" for one below it, else "undecided"."""
    return "yes" if low > margin else "no" if high < margin else "undecided"


def verdict(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict on every claim, C1 to C8, with the columns `COLUMNS`.

    A claim holds ("yes") if all its deciding parts do, does not ("no") if one does not, and is
    undecided otherwise. Effect, interval and ``why`` are those of the part on which it turns: of
    the parts with the claim's own answer, the one that lies lowest against its margin. C1 stays
    undecided unless the rows of `listener_parts` stand among the parts.
    """
    rows = []
    for claim in CLAIMS:
        own = parts[(parts["claim"] == claim.name) & parts["decides"]]
        holds, numbers, why = "undecided", (math.nan,) * 3, ""
        if len(own):
            holds = next(a for a in ("no", "undecided", "yes") if a in set(own["holds"]))
            same = own[own["holds"] == holds]
            turning = same.loc[(same["effect"] - same["margin"]).fillna(-math.inf).idxmin()]
            numbers, why = turning[["effect", "low", "high"]].tolist(), turning["why"]
        rows.append((claim.name, claim.measure, holds, *numbers, claim.rule, why))
    return pd.DataFrame(rows, columns=COLUMNS)


# Claim C1: each first is preferred to its second, by real listeners.

ORDER = (("lstm", "gan"), ("gan", "vae"))


def listener_parts(
    folder: str | os.PathLike[str], clips: Sequence[Clip], *, seed: int, n_resamples: int = 1000
) -> pd.DataFrame:
    """Return the two parts of claim C1, from the folder of real listeners' files.

    A folder that is empty or missing leaves the claim undecided. `seed` is that of the test, and of
    the bootstrap. ``seeds`` counts trainings heard in choices (fewest of both models), the n clips
    heard. Raises `ProvenanceError` if a file there is simulated or of unknown origin.
    """
    key = clip_table(clips)
    found = real_answers(folder, design=design(clips, seed=seed), codes=set(key["code"])).answers
    evidence = gather(found, key) if len(found) else None
    numbers = np.full((3, len(ORDER)), math.nan)
    if evidence is not None and len(evidence.choices):
        settings = {"seed": seed, "n_resamples": n_resamples, "level": LEVEL}
        numbers = resampled(_differences, evidence, clips=2, **settings)
    rows = [_listener_row(evidence, *both) for both in zip(ORDER, numbers.T.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=PART_COLUMNS)


def _differences(evidence: Evidence, weights: Weights) -> np.ndarray:
    by_model = dict(zip(evidence.models, scores(evidence, weights), strict=True))
    return np.array([by_model.get(a, math.nan) - by_model.get(b, math.nan) for a, b in ORDER])


def _listener_row(
    evidence: Evidence | None, pair: tuple[str, str], numbers: Sequence[float]
) -> tuple[object, ...]:
    listeners, direct, seeds, sizes = 0, 0, 0, [0, 0]
    if evidence is not None:
        choices = evidence.choices
        both = choices["first"].isin(pair) & choices["second"].isin(pair)
        direct = int((both & (choices["first"] != choices["second"])).sum())
        heard = evidence.key.loc[sorted({*choices["first_clip"], *choices["second_clip"]})]
        own = [heard[heard["model"] == model] for model in pair]
        listeners, sizes = choices["listener"].nunique(), list(map(len, own))
        seeds = min(clips["seed"].nunique() for clips in own)
    needed = (
        ("real listeners", listeners, FEWEST_LISTENERS),
        ("choices between the two", direct, FEWEST_CHOICES),
        ("trainings", seeds, FEWEST_SEEDS),
    )
    why = next((f"{what}: {n}, needed {least}" for what, n, least in needed if n < least), "")
    holds = "undecided" if why else decide(*numbers[1:], MARGIN)
    name = " above ".join(_NAMES[model] for model in pair)
    words = ("C1", name, *pair, "listeners' choices", "log odds (Bradley-Terry)", True, holds)
    return (*words, *numbers, MARGIN, seeds, *sizes, why)
