"""The paper's claims C1 to C8, what is measured for each, and when it holds.

A claim holds only if all its parts hold. A part compares a first set with a second one by one
number (its *effect*), so that the claim asks for a large one; it has the smallest effect that would
matter (its *margin*) and an interval. "yes": the whole interval lies above the margin; "no": it
lies below; "undecided": the margin lies within, or there are too few trainings or pieces to say, or
a control passes the rule too. Pieces that do not define a measure are no evidence for it: with too
few others its part is undecided, and says so. Intervals are widened by the Monte Carlo error of
their bootstrap, so that another seed of it turns no answer but by rare chance.

The rules were written down before the results were read. The margins: for an order of two sets a
medium Cliff's delta, 0.33 (J. Romano and others, 2006: below it, effects are called small); for
energy 1 dB, about the smallest difference in level that a listener notices; for an offset one step
of 16-bit audio, at the study's one gain (a larger gain makes offsets larger); for variety four
fifths of real music's. All of it is our choice: the paper states no test.

Controls take the place of the model that a claim is about. If one passes a part's rule, the measure
does not show what the claim says, and the part is undecided. That C7 needs controls was seen only
after its first results; it can turn an answer to undecided, never to yes or no.

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
from study.stats import MODELS, delta, seed_interval, values_by_seed

MEDIUM = 0.33
AUDIBLE_DB = 1.0
STEP = 1.0
VARIETY = 0.8
"""The margins: a medium Cliff's delta, dB, 16-bit steps, share of real music's spread."""

MARGIN = math.log(2)
"""Margin of C1, a difference of two scores: one set chosen twice as often as the other, 0.69. In
shares 2/3 against 1/3: a delta of 0.33, as in the other claims."""

FEWEST_SEEDS = 5
FEWEST_PIECES = 20
"""Trainings of each model, and pieces of a set, below which nothing is decided with them."""

FEWEST_LISTENERS = 12
FEWEST_CHOICES = 20
"""Listeners in all, and choices between just the two models, below which nothing is decided."""

LEVEL = 1 - 0.05 / 8
"""Level of each interval: eight claims are decided at once.

An answer is wrong only if the truth lies beyond one end: over the 17 parts that decide (two of them
the listeners'), the chance of any wrong answer is at most 17 * 0.05 / 8 / 2, about 5 %.
"""

COLUMNS = ["claim", "measure", "holds", "effect", "low", "high", "rule", "why"]
"""Columns of the verdict."""

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


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "music quality ranks LSTM > GAN > VAE, by the authors' ears",
        "listeners' choices, difference of Bradley-Terry scores of neighbours (log odds)",
        "yes if both differences lie above log 2 (chosen twice as often), no if one lies below it; "
        "undecided without 12 real listeners: no number here stands for an ear",
    ),
    Claim(
        "C2",
        "energy ranks VAE > GAN > LSTM",
        "energy, equal length, mean level difference of neighbours (dB)",
        "yes if both differences lie above 1 dB, no if one lies below it",
    ),
    Claim(
        "C3",
        "the mean's distance from 0 ranks VAE > GAN > LSTM",
        "|mean|, difference of neighbours' medians (16-bit steps)",
        "yes if both differences lie above 1 step, no if one lies below it",
    ),
    Claim(
        "C4",
        "noise in the waveforms ranks VAE > GAN > LSTM",
        "spectral flatness, Cliff's delta of neighbours",
        "yes if both deltas lie above 0.33, no if one lies below it",
    ),
    Claim(
        "C5",
        "low energy and a mean near 0 mark good music",
        "energy and |mean| of shuffled and random notes above real music's, Cliff's delta",
        "yes if all four deltas lie above 0.33, no if one lies below it",
    ),
    Claim(
        "C6",
        "the VAE makes more errors than the other two",
        "features outside real music's range, this VAE (latents from a learned prior) above each "
        "other model, Cliff's delta",
        "yes if both deltas lie above 0.33, no if one lies below it",
    ),
    Claim(
        "C7",
        "LSTM pieces keep coherence over time, from long-term memory",
        "key drift, Cliff's delta: Markov chain above LSTM, and LSTM not above real music",
        "yes if the first lies above 0.33 and the second above -0.33, no if one lies below; "
        "undecided if shuffled music, the GAN or the VAE passes in the LSTM's place",
    ),
    Claim(
        "C8",
        "the GAN makes pieces of different kinds",
        "spread of 18 features within a training, ratio to real music's",
        "yes if the ratio lies above 0.8, no if it lies below",
    ),
)
"""The claims in the order of the verdict."""


def rules() -> pd.DataFrame:
    """Return every claim with its measure and rule, to be read before any result."""
    return pd.DataFrame(CLAIMS).set_axis(
        ["claim", "what the paper says", "measure", "rule"], axis=1
    )


# Parts: one number each that a claim needs.


class Part(NamedTuple):
    """One number that a claim needs, the sets compared and the columns (of `prepared`) it is of.

    `statistic` takes the two sets' values, shape (n,) or (n, columns). `bounds` is the range of the
    effect. Only a part that `decides` enters the claim's answer. Of a control, `control` says who
    takes the model's place, and `control_of` names the part whose rule it must fail.
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
    """Return how much more often a value of the first set is the smaller: -`delta`."""
    return -delta(first, second)


def spread_ratio(
    first: np.ndarray, second: np.ndarray, *, features: Sequence[str] = tuple(FEATURES)
) -> float:
    """Return how widely the first set's pieces differ from each other, over the second set's.

    Both are ``within_`` columns of `prepared`, one per feature. The result is the median over the
    features of the ratio of standard deviations; the second's not below the feature's floor (see
    `distance.FEATURES`).
    """
    floors = np.array([FEATURES[name].floor for name in features])
    ours, real = (np.sqrt((rows**2).mean(axis=0)) for rows in (first, second))
    return float(np.median(ours / np.maximum(real, floors)))


_NAMES = {
    "vae": "VAE",
    "gan": "GAN",
    "lstm": "LSTM",
    "training": "training music",
    "shuffled": "shuffled music",
}
_MEDIUM_DELTA = {"statistic": delta, "margin": MEDIUM, "bounds": (-1.0, 1.0)}
_SHOWN = {**_MEDIUM_DELTA, "decides": False}


def _order(claim: str, measure: str, unit: str, column: str, **settings: Any) -> list[Part]:
    """Return the parts of a claim VAE > GAN > LSTM in one column."""
    return [
        Part(claim, f"{_NAMES[a]} above {_NAMES[b]}", measure, unit, a, b, column, **settings)
        for a, b in (("vae", "gan"), ("gan", "lstm"))
    ]


def _delta(
    claim: str, name: str, measure: str, pair: tuple[str, str], column: str, **settings: Any
) -> Part:
    """Return a part that asks for a medium Cliff's delta, unless `settings` say otherwise."""
    settings = {**_MEDIUM_DELTA, **settings}
    return Part(claim, name, measure, "Cliff's delta", *pair, column, **settings)


def _control(part: Part, other: str) -> Part:
    """Return the part with another set in the LSTM's place; it decides nothing itself."""
    first, second = (other if name == "lstm" else name for name in (part.first, part.second))
    return part._replace(
        name=part.name.replace("LSTM", _NAMES[other]),
        first=first,
        second=second,
        decides=False,
        control=_NAMES[other],
        control_of=part.name,
    )


def _variety(name: str) -> Part:
    """Return the part that compares a set's spread with real music's."""
    within = tuple(f"within_{feature}" for feature in FEATURES)
    words = ("C8", f"{_NAMES[name]} beside real", "spread of features", "ratio to real music")
    settings = {"decides": name == "gan", "bounds": (0.0, math.inf)}
    return Part(*words, name, "real", within, spread_ratio, VARIETY, **settings)


_KEY_DRIFT = (
    _delta("C7", "LSTM drifts less than Markov", "key drift", ("markov", "lstm"), "key_drift"),
    _delta(
        *("C7", "LSTM drifts no more than real", "key drift", ("lstm", "real"), "key_drift"),
        statistic=smaller,
        margin=-MEDIUM,
    ),
)

PARTS: tuple[Part, ...] = (
    *_order("C2", "energy", "dB", "energy_db", statistic=mean_difference, margin=AUDIBLE_DB),
    *_order("C2", "energy", "Cliff's delta", "energy", **_SHOWN),
    *_order("C3", "|mean|", "16-bit steps", "abs_mean", statistic=median_difference, margin=STEP),
    *_order("C3", "|mean|", "Cliff's delta", "abs_mean", **_SHOWN),
    *_order("C4", "spectral flatness", "Cliff's delta", "spectral_flatness", **_MEDIUM_DELTA),
    *_order("C4", "energy above 8 kHz", "Cliff's delta", "high_band_db", **_SHOWN),
    *_order("C4", "noise floor", "Cliff's delta", "noise_floor_db", **_SHOWN),
    *(
        _delta("C5", f"real below {bad}", measure, (bad, "real"), column)
        for measure, column in (("energy", "energy"), ("|mean|", "abs_mean"))
        for bad in ("shuffled", "random")
    ),
    *(
        _delta("C6", f"VAE above {_NAMES[other]}", measure, ("vae", other), column, decides=decides)
        for measure, column, decides in (
            ("features outside real music", "features_outside", True),
            ("steps that fit no chord", "chord_misfit", False),
            ("notes outside the best scale", "out_of_scale", False),
        )
        for other in ("gan", "lstm")
    ),
    *_KEY_DRIFT,
    *(
        _delta(
            *("C7", f"LSTM drifts less than {_NAMES[other]}", "key drift", (other, "lstm")),
            "key_drift",
            decides=False,
        )
        for other in ("gan", "vae")
    ),
    _delta(
        *("C7", "LSTM repeats more than Markov", "similarity 4 bars later", ("lstm", "markov")),
        "repetition_4",
        decides=False,
    ),
    *map(_variety, ("gan", "vae", "lstm", "training")),
    # None of the controls has an LSTM's long-term memory.
    *(_control(part, other) for part in _KEY_DRIFT for other in ("shuffled", "gan", "vae")),
)
"""Every part, in the order of the claims; controls last."""


# Effects and answers


def prepared(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of measured pieces (`measuring.sample_table`) with the claims' columns.

    They are ``energy_db`` (10 log10 of the energy; -inf for silence), ``abs_mean`` in 16-bit steps,
    ``features_outside`` (see `measuring`), ``chord_misfit`` and ``out_of_scale`` (1 minus
    `chord_fit` and `scale_consistency`), and for each feature f ``within_f``: the distance from the
    mean of its seed, times sqrt(n / (n - 1)), so that its mean square is the variance within
    trainings.
    """
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(table["energy"])
    added = {
        "energy_db": level,
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
    a bootstrap stream of its own. ``seeds`` is 0 where no model is involved, and counts, like
    ``n_first`` and ``n_second``, only pieces that define the measure. ``why`` says what is missing
    where there is too little to decide, or which controls pass too.
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
            statistic,
            *sets,
            rng=np.random.default_rng([seed, number]),
            n_resamples=n_resamples,
            level=LEVEL,
            bounds=part.bounds,
            cautious=True,
        )
        rows.append(_part_row(part, found[:3], sets))
    parts = pd.DataFrame(rows, columns=PART_COLUMNS)
    return _with_controls(parts)


def _part_row(
    part: Part, numbers: Sequence[float], sets: Sequence[dict[int, np.ndarray]]
) -> tuple[object, ...]:
    names = (part.first, part.second)
    defined = [[_n_defined(values) for values in samples.values()] for samples in sets]
    sizes = [sum(ns) for ns in defined]
    all_sizes = [sum(map(len, samples.values())) for samples in sets]
    seeds = [
        sum(n > 0 for n in ns) for name, ns in zip(names, defined, strict=True) if name in MODELS
    ]
    lacking = [
        f"pieces of {name}{f' that define {part.measure}' if n < all_n else ''}: {n}, "
        f"needed {FEWEST_PIECES}"
        for name, n, all_n in zip(names, sizes, all_sizes, strict=True)
        if n < FEWEST_PIECES
    ]
    if seeds and min(seeds) < FEWEST_SEEDS:
        lacking.append(f"trainings: {min(seeds)}, needed {FEWEST_SEEDS}")
    why = next(iter(lacking), "")
    _, low, high = numbers
    holds = "undecided" if why else decide(low, high, part.margin)
    words = (part.claim, part.name, *names, part.measure, part.unit, part.decides, holds)
    return (*words, *numbers, part.margin, min(seeds, default=0), *sizes, why)


def _n_defined(values: np.ndarray) -> int:
    """Return how many rows are free of NaN."""
    return int((~np.isnan(values.reshape(len(values), -1)).any(axis=1)).sum())


def _with_controls(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `PARTS`, undecided where a control passes the same rule."""
    passing: dict[tuple[str, str], list[str]] = {}
    for part, holds in zip(PARTS, parts["holds"], strict=True):
        if part.control and holds == "yes":
            passing.setdefault((part.claim, part.control_of), []).append(part.control)
    for place, part in enumerate(PARTS):
        names = passing.get((part.claim, part.name), [])
        if names and not parts.loc[place, "why"]:
            why = f"also passed by {' and '.join(names)}"
            parts.loc[place, ["holds", "why"]] = ["undecided", why]
    return parts


def decide(low: float, high: float, margin: float) -> str:
    """Return "yes" for an interval above the margin, "no" for one below it, else "undecided".

    >>> decide(0.4, 0.9, 0.33), decide(-0.2, 0.2, 0.33), decide(0.2, 0.5, 0.33)
    ('yes', 'no', 'undecided')
    """
    if low > margin:
        return "yes"
    return "no" if high < margin else "undecided"


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
        holds, numbers, why = _turning(own)
        rows.append((claim.name, claim.measure, holds, *numbers, claim.rule, why))
    return pd.DataFrame(rows, columns=COLUMNS)


def _turning(own: pd.DataFrame) -> tuple[str, Sequence[float], str]:
    """Return a claim's answer; effect and interval, and the reason, of the part it turns on."""
    if own.empty:
        return "undecided", (math.nan,) * 3, ""
    answers = set(own["holds"])
    holds = next(answer for answer in ("no", "undecided", "yes") if answer in answers)
    same = own[own["holds"] == holds]
    against = (same["effect"] - same["margin"]).fillna(-math.inf)
    turning = same.loc[against.idxmin()]
    return holds, turning[["effect", "low", "high"]].tolist(), turning["why"]


# Claim C1: each first is preferred to its second, by real listeners.

ORDER = (("lstm", "gan"), ("gan", "vae"))


def listener_parts(
    folder: str | os.PathLike[str], clips: Sequence[Clip], *, seed: int, n_resamples: int = 1000
) -> pd.DataFrame:
    """Return the two parts of claim C1, from the folder of real listeners' files.

    A folder that is empty or missing leaves the claim undecided. `seed` is that of the test, and of
    the bootstrap. ``seeds`` counts trainings heard in choices (fewest of both models), ``n_first``
    and ``n_second`` clips heard. Raises `ProvenanceError` if a file there is simulated or of
    unknown origin.
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
    """Return the differences of scores that the claim is about; NaN for a set not in the test."""
    by_model = dict(zip(evidence.models, scores(evidence, weights), strict=True))
    return np.array([by_model.get(a, math.nan) - by_model.get(b, math.nan) for a, b in ORDER])


def _listener_row(
    evidence: Evidence | None, pair: tuple[str, str], numbers: Sequence[float]
) -> tuple[object, ...]:
    listeners, direct, seeds, *sizes = _counts(evidence, pair)
    needed = (
        ("real listeners", listeners, FEWEST_LISTENERS),
        ("choices between the two", direct, FEWEST_CHOICES),
        ("trainings", seeds, FEWEST_SEEDS),
    )
    why = next((f"{what}: {n}, needed {least}" for what, n, least in needed if n < least), "")
    _, low, high = numbers
    holds = "undecided" if why else decide(low, high, MARGIN)
    name = " above ".join(_NAMES[model] for model in pair)
    words = ("C1", name, *pair, "listeners' choices", "log odds (Bradley-Terry)", True, holds)
    return (*words, *numbers, MARGIN, seeds, *sizes, why)


def _counts(evidence: Evidence | None, pair: tuple[str, str]) -> tuple[int, ...]:
    """Return listeners, choices between the two, fewest trainings heard, clips heard of each."""
    if evidence is None:
        return (0,) * 5
    choices = evidence.choices
    direct = choices["first"].isin(pair) & choices["second"].isin(pair)
    direct &= choices["first"] != choices["second"]
    heard = evidence.key.loc[sorted({*choices["first_clip"], *choices["second_clip"]})]
    own = [heard[heard["model"] == model] for model in pair]
    people = choices["listener"].nunique()
    return people, int(direct.sum()), min(rows["seed"].nunique() for rows in own), *map(len, own)
