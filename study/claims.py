"""The paper's claims C1 to C8, what is measured for each, and when it holds.

Conventions: a part compares a first set with a second one by one number, so that the claim asks for
a large one. The margins were chosen before any result was seen: for an order of two sets a medium
Cliff's delta, 0.33 (J. Romano and others, 2006: below it, effects are called small); for energy
1 dB, about the smallest difference in level that a listener notices; for an offset one step of
16-bit audio, at the study's one gain (a larger gain makes offsets larger); for variety four fifths
of real music's. All of it is our choice: the paper states no test.

Controls take the place of the model that a claim is about. If one passes a part's rule, the measure
does not show what the claim says, and the part is undecided. That C7 needs controls was seen only
after its first results; it can turn an answer to undecided, never to yes or no.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.distance import FEATURES, dropped_features
from study.listening import Clip, clip_table, design, real_answers
from study.measuring import features_outside
from study.preference import Evidence, Weights, gather, resampled, scores
from study.sets import REAL
from study.stats import MODELS, Interval, delta, seed_interval, values_by_seed

MEDIUM = 0.33
"""A medium Cliff's delta."""

AUDIBLE_DB = 1.0
STEP = 1.0
VARIETY = 0.8


class Claim(NamedTuple):
    """What the paper claims, what is measured, and the rule."""

    name: str
    text: str
    measure: str
    rule: str


class Part(NamedTuple):
    """One number that a claim needs.

    Attributes
    ----------
    claim, name, measure, unit : str
        Whose it is, and what.
    first, second : str
        The sets compared.
    columns : str or tuple of str
        Of `claims.prepared`.
    statistic : callable
        Takes the two sets' values, shape (n,) or (n, columns), and returns the effect.
    margin : float
        The effect must lie above it.
    decides : bool
        Whether the claim depends on it.
    bounds : (float, float)
        Range of the effect.
    control, control_of : str
        Of a control: who takes the model's place, and the name of the part whose rule it must fail.
    """

    claim: str
    name: str
    measure: str
    unit: str
    first: str
    second: str
    columns: str | tuple[str, ...]
    statistic: Callable[[np.ndarray, np.ndarray], float]
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

    Parameters
    ----------
    first, second : np.ndarray, shape (n, F) and (m, F)
        Scaled distances from the mean of the seed (``within_`` columns of `claims.prepared`).
    features : sequence of str
        The F features, those that real music defines.

    Returns
    -------
    float
        Median over the features of the ratio of standard deviations; the second's not below the
        feature's floor (see `distance.FEATURES`).
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
_WITHIN = tuple(f"within_{name}" for name in FEATURES)
_ORDER = (("vae", "gan"), ("gan", "lstm"))
_SHARE = (-1.0, 1.0)


def _order(claim: str, measure: str, unit: str, column: str, **rest: object) -> list[Part]:
    """Return the parts of a claim VAE > GAN > LSTM in one column."""
    names = [f"{_NAMES[a]} above {_NAMES[b]}" for a, b in _ORDER]
    return [
        Part(claim, name, measure, unit, a, b, column, **rest)  # type: ignore[arg-type]
        for name, (a, b) in zip(names, _ORDER, strict=True)
    ]


def _delta(
    claim: str, name: str, measure: str, pair: tuple[str, str], column: str, **rest: object
) -> Part:
    """Return a part that asks for a medium Cliff's delta, unless told otherwise."""
    settings = {"statistic": delta, "margin": MEDIUM, "bounds": _SHARE, **rest}
    return Part(claim, name, measure, "Cliff's delta", *pair, column, **settings)  # type: ignore[arg-type]


def _control(part: Part, model: str, other: str) -> Part:
    """Return the part with another set in the model's place; it decides nothing itself."""
    first, second = (other if name == model else name for name in (part.first, part.second))
    return part._replace(
        name=part.name.replace(_NAMES[model], _NAMES[other]),
        first=first,
        second=second,
        decides=False,
        control=_NAMES[other],
        control_of=part.name,
    )


_MEDIUM_ORDER = {"statistic": delta, "margin": MEDIUM, "bounds": _SHARE}
_SHOWN = {**_MEDIUM_ORDER, "decides": False}

PARTS: tuple[Part, ...] = (
    *_order("C2", "energy", "dB", "energy_db", statistic=mean_difference, margin=AUDIBLE_DB),
    *_order("C2", "energy", "Cliff's delta", "energy", **_SHOWN),
    *_order("C3", "|mean|", "16-bit steps", "abs_mean", statistic=median_difference, margin=STEP),
    *_order("C3", "|mean|", "Cliff's delta", "abs_mean", **_SHOWN),
    *_order("C4", "spectral flatness", "Cliff's delta", "spectral_flatness", **_MEDIUM_ORDER),
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
    _delta("C7", "LSTM drifts less than Markov", "key drift", ("markov", "lstm"), "key_drift"),
    _delta(
        "C7",
        "LSTM drifts no more than real",
        "key drift",
        ("lstm", "real"),
        "key_drift",
        statistic=smaller,
        margin=-MEDIUM,
    ),
    *(
        _delta(
            "C7",
            f"LSTM drifts less than {_NAMES[other]}",
            "key drift",
            (other, "lstm"),
            "key_drift",
            decides=False,
        )
        for other in ("gan", "vae")
    ),
    _delta(
        "C7",
        "LSTM repeats more than Markov",
        "similarity 4 bars later",
        ("lstm", "markov"),
        "repetition_4",
        decides=False,
    ),
    *(
        Part(
            "C8",
            f"{_NAMES[name]} beside real",
            "spread of features",
            "ratio to real music",
            name,
            "real",
            _WITHIN,
            spread_ratio,
            VARIETY,
            decides=name == "gan",
            bounds=(0.0, math.inf),
        )
        for name in ("gan", "vae", "lstm", "training")
    ),
)
PARTS += tuple(
    _control(part, "lstm", other)
    for part in PARTS
    if part.claim == "C7" and part.decides
    for other in ("shuffled", "gan", "vae")  # none has an LSTM's long-term memory
)
"""Every part, in the order of the claims; controls last."""

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


# ---- study.claims ----
# Decide each of the paper's claims by a rule that was written down before the results were read.
#
# Conventions: a claim holds only if all its parts hold. A part is one number (its *effect*), the
# smallest value of it that would matter (its *margin*), and an interval. "yes": the whole interval
# lies above the margin; "no": the whole interval lies below it; "undecided": the margin lies
# within,
# or there are too few trainings or pieces to say, or a control passes the rule too (`claims`).
# Pieces
# that do not define a measure are no evidence for it: with too few others its part is undecided,
# and
# says so. An interval ends as far out as the draws of its bootstrap leave open, so that another
# seed
# of it turns no answer but by rare chance. Simulated listeners never enter.


FEWEST_SEEDS = 5
"""Trainings of each model below which nothing is decided about it."""

FEWEST_PIECES = 20
"""Pieces of a set below which nothing is decided with it."""

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


class Sizes(NamedTuple):
    """How much evidence a part has: fewest seeds of a model in it, and pieces of both sets.

    Of the pieces only those count that define what is measured; `lacking` says whether a set has
    others beside them.
    """

    seeds: int
    first: int
    second: int
    lacking: tuple[bool, bool] = (False, False)


def prepared(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that the claims need to a table of measured pieces.

    Parameters
    ----------
    table : pd.DataFrame
        As `measuring.sample_table` makes it.

    Returns
    -------
    pd.DataFrame
        A copy with ``energy_db`` (10 log10 of the energy; -inf for silence), ``abs_mean`` in 16-bit
        steps, ``features_outside`` (see `ranges`), ``chord_misfit`` and ``out_of_scale`` (1 minus
        `chord_fit` and `scale_consistency`), and for each feature f ``within_f``: the distance from
        the mean of its seed, times sqrt(n / (n - 1)), so that its mean square is the variance
        within trainings.
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


def claim_parts(
    table: pd.DataFrame, *, seed: int, n_resamples: int = 1000, level: float = LEVEL
) -> pd.DataFrame:
    """Measure every part of every claim.

    Parameters
    ----------
    table : pd.DataFrame
        As `measuring.sample_table` makes it, with real music and the baselines.
    seed : int
        Of the bootstrap; every part has a stream of its own.
    n_resamples : int
        Number of bootstrap samples of each part.
    level : float
        Of each interval.

    Returns
    -------
    pd.DataFrame
        Columns `PART_COLUMNS`, one row a part. Parts with ``decides`` False are shown for what they
        add and decide nothing. ``seeds`` is 0 where no model is involved; ``why`` says what is
        missing where there is too little to decide, or which controls pass too.
    """
    ready = prepared(table)
    dropped = dropped_features(table[table["model"] == REAL])
    rows = []
    for number, part in enumerate(PARTS):
        columns, statistic = _measured(part, dropped)
        sets = [values_by_seed(ready, name, columns) for name in (part.first, part.second)]
        found = seed_interval(
            statistic,
            *sets,
            rng=np.random.default_rng([seed, number]),
            n_resamples=n_resamples,
            level=level,
            bounds=part.bounds,
            cautious=True,
        )
        rows.append(_part_row(part, found, _sizes(part, sets)))
    return _flagged(pd.DataFrame(rows, columns=PART_COLUMNS))


def _flagged(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the parts, a row each of `PARTS`, undecided where a control passes the same rule."""
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


def _measured(
    part: Part, dropped: Sequence[str]
) -> tuple[str | list[str], Callable[[np.ndarray, np.ndarray], float]]:
    """Return a part's columns and statistic, without the features that real music does not have."""
    if isinstance(part.columns, str):
        return part.columns, part.statistic
    kept = [name for name in FEATURES if name not in dropped] or list(FEATURES)
    columns = [f"within_{name}" for name in kept]
    return columns, functools.partial(part.statistic, features=kept)


def _sizes(part: Part, sets: list[dict[int, np.ndarray]]) -> Sizes:
    """Return the evidence of a part: seeds and pieces that define what it measures."""
    kept = [[_defined(values) for values in samples.values()] for samples in sets]
    names = (part.first, part.second)
    seeds = [sum(n > 0 for n in ns) for name, ns in zip(names, kept, strict=True) if name in MODELS]
    lacking = [
        sum(ns) < sum(map(len, samples.values())) for ns, samples in zip(kept, sets, strict=True)
    ]
    return Sizes(min(seeds, default=0), *(sum(ns) for ns in kept), tuple(lacking))


def _defined(values: np.ndarray) -> int:
    """Return how many rows are free of NaN."""
    return int((~np.isnan(values.reshape(len(values), -1)).any(axis=1)).sum())


def _part_row(part: Part, found: Interval, sizes: Sizes) -> tuple[object, ...]:
    why = _too_little(part, sizes)
    holds = "undecided" if why else decide(found.low, found.high, part.margin)
    numbers = (found.estimate, found.low, found.high, part.margin)
    sets = (part.first, part.second)
    words = (part.claim, part.name, *sets, part.measure, part.unit, part.decides, holds)
    return (*words, *numbers, *sizes[:3], why)


def _too_little(part: Part, sizes: Sizes) -> str:
    """Return what is missing for a decision, or an empty string."""
    of_sets = ((part.first, sizes.first), (part.second, sizes.second))
    for (name, n), lacking in zip(of_sets, sizes.lacking, strict=True):
        if n < FEWEST_PIECES:
            which = f" that define {part.measure}" if lacking else ""
            return f"pieces of {name}{which}: {n}, needed {FEWEST_PIECES}"
    if {part.first, part.second} & set(MODELS) and sizes.seeds < FEWEST_SEEDS:
        return f"trainings: {sizes.seeds}, needed {FEWEST_SEEDS}"
    return ""


def decide(low: float, high: float, margin: float) -> str:
    """Return "yes" for an interval above the margin, "no" for one below it, else "undecided".

    Examples
    --------
    >>> decide(0.4, 0.9, 0.33), decide(-0.2, 0.2, 0.33), decide(0.2, 0.5, 0.33)
    ('yes', 'no', 'undecided')
    """
    if low > margin:
        return "yes"
    return "no" if high < margin else "undecided"


def verdict(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict on every claim.

    Parameters
    ----------
    parts : pd.DataFrame
        As `claim_parts` makes it.

    Returns
    -------
    pd.DataFrame
        Columns `COLUMNS`, one row a claim, C1 to C8. A claim holds ("yes") if all its deciding
        parts do, does not ("no") if one does not, and is undecided otherwise. Effect, interval and
        ``why`` are those of the part on which it turns: of the parts with the claim's own answer,
        the one that lies lowest against its margin. `claim_parts` makes no part of C1: it stays
        undecided unless those of `claims.listener_parts` stand among the parts.
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


def rules() -> pd.DataFrame:
    """Return every claim with its measure and rule, to be read before any result."""
    return pd.DataFrame([(c.name, c.text, c.measure, c.rule) for c in CLAIMS]).set_axis(
        ["claim", "what the paper says", "measure", "rule"], axis=1
    )


# ---- study.claims ----
# Claim C1, the paper's ranking by ear: decided by real listeners, or not at all.
#
# Conventions: the rule was written down before anybody listened. Only files are taken, never
# tables,
# and they are read by `listening.real_answers`, which refuses what is simulated or of unknown
# origin.


MARGIN = math.log(2)
"""Smallest difference of two scores that matters: one chosen twice as often as the other, 0.69. In
shares 2/3 against 1/3: a delta of 0.33, as in the other claims."""

FEWEST_LISTENERS = 12
FEWEST_CHOICES = 20
"""Listeners in all, and choices between just the two models, below which nothing is decided."""

ORDER = (("lstm", "gan"), ("gan", "vae"))
"""What the paper says: each first is preferred to its second."""

_NAMES_listener_claim = {"lstm": "LSTM", "gan": "GAN", "vae": "VAE"}


def listener_parts(
    folder: str | os.PathLike[str],
    clips: Sequence[Clip],
    *,
    seed: int,
    n_resamples: int = 1000,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Return the parts of claim C1, from the files of real answers.

    Parameters
    ----------
    folder : path
        Where listeners' files lie; one that is empty or missing leaves the claim undecided.
    clips : sequence of Clip
        Of the test.
    seed : int
        Of the test, and of the bootstrap.
    n_resamples, level
        As `preference.resampled`.

    Returns
    -------
    pd.DataFrame
        Columns `claims.PART_COLUMNS`, two rows, to stand beside those of `claims.claim_parts`.
        ``seeds`` counts trainings heard in choices (fewest of both models), ``n_first`` and
        ``n_second`` clips heard.

    Raises
    ------
    ProvenanceError
        If a file there is simulated or of unknown origin.

    Notes
    -----
    The rule: a difference of Bradley-Terry scores wholly above `MARGIN` holds, wholly below does
    not; both must hold. Nothing is decided with fewer than `FEWEST_LISTENERS` listeners,
    `FEWEST_CHOICES` choices between the two models, or `claims.FEWEST_SEEDS` trainings of each.
    """
    key = clip_table(clips)
    found = real_answers(folder, design=design(clips, seed=seed), codes=set(key["code"])).answers
    evidence = gather(found, key) if len(found) else None
    chose = evidence is not None and len(evidence.choices) > 0
    numbers = np.full((3, len(ORDER)), math.nan)
    if evidence is not None and chose:
        settings = {"seed": seed, "n_resamples": n_resamples, "level": level}
        numbers = resampled(_differences, evidence, clips=2, **settings)
    rows = [
        _row(evidence, pair, effect) for pair, effect in zip(ORDER, numbers.T.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=PART_COLUMNS)


def _differences(evidence: Evidence, weights: Weights) -> np.ndarray:
    """Return the differences of scores that the claim is about; NaN for a set not in the test."""
    by_model = dict(zip(evidence.models, scores(evidence, weights), strict=True))
    return np.array([by_model.get(a, math.nan) - by_model.get(b, math.nan) for a, b in ORDER])


def _row(
    evidence: Evidence | None, pair: tuple[str, str], numbers: Sequence[float]
) -> tuple[object, ...]:
    effect, low, high = numbers
    listeners, direct, seeds, *sizes = _counts(evidence, pair)
    needed = (
        ("real listeners", listeners, FEWEST_LISTENERS),
        ("choices between the two", direct, FEWEST_CHOICES),
        ("trainings", seeds, FEWEST_SEEDS),
    )
    why = next((f"{what}: {n}, needed {least}" for what, n, least in needed if n < least), "")
    holds = "undecided" if why else decide(low, high, MARGIN)
    name = f"{_NAMES_listener_claim[pair[0]]} above {_NAMES_listener_claim[pair[1]]}"
    words = ("C1", name, *pair, "listeners' choices", "log odds (Bradley-Terry)", True, holds)
    return (*words, effect, low, high, MARGIN, seeds, *sizes, why)


def _counts(evidence: Evidence | None, pair: tuple[str, str]) -> tuple[int, ...]:
    """Return listeners, choices between the two, fewest trainings heard, clips heard of each."""
    if evidence is None:
        return (0,) * 5
    choices = evidence.choices
    direct = ((choices["first"] == a) & (choices["second"] == b) for a, b in (pair, pair[::-1]))
    heard = evidence.key.loc[sorted({*choices["first_clip"], *choices["second_clip"]})]
    own = [heard[heard["model"] == model] for model in pair]
    people = choices["listener"].nunique()
    seeds = min(rows["seed"].nunique() for rows in own)
    return people, int(sum(rows.sum() for rows in direct)), seeds, *map(len, own)
