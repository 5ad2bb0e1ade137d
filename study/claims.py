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

Controls (`CONTROLS`) take the place of the model that a claim is about, each in every part. Those
that lack what the claim says must fail: ``passed_by`` flags each part that one passes, and a claim
whose parts one passes all together is undecided. (One part alone may be passed: music backwards
varies as music does, which is why C8 asks for nearness too.) Others may pass (shuffled notes are
errors, and C6 asks for errors); the table shows them as well. A bootstrap of other seeds that
answers differently makes a part undecided. None of this turns an answer to yes or no. All is judged
twice, for the plain and for the refined models, by one table each.

C1, the ranking by ear, is decided by real listeners or not at all: only files are taken, never
tables, and `listening.real_answers` refuses what is simulated or of unknown origin.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musiclib.distance import FEATURES, dropped_features
from study.listening import Clip, clip_table, design, real_answers
from study.measuring import features_outside, nearness
from study.preference import Evidence, Weights, gather, resampled, scores
from study.second_ruler import SECOND_FEATURES
from study.sets import PLAIN, REAL, REFINED
from study.stats import MODELS, cliffs_delta, seed_interval, values_by_seed

# The margins: a medium Cliff's delta, dB, 16-bit steps, share of real music's spread.
MEDIUM, AUDIBLE_DB, STEP, VARIETY = 0.33, 1.0, 1.0, 0.8
# Of C1, a difference of two scores: one set chosen twice as often as the other. In shares 2/3
# against 1/3: a delta of 0.33, as in the other claims.
MARGIN = math.log(2)
# Trainings of each model, pieces of a set, listeners in all, and choices between just the two
# models, below which nothing is decided.
FEWEST_SEEDS, FEWEST_PIECES, FEWEST_LISTENERS, FEWEST_CHOICES = 5, 20, 12, 20
# Level of each interval: eight claims are decided at once, and an answer is wrong only if the truth
# lies beyond one end.
LEVEL = 1 - 0.05 / 8
OTHER_SEEDS, CLOSE = 10, 0.25  # of the bootstrap, where a margin lies so near to an interval's end

COLUMNS = ["claim", "kind", "measure", "holds", "effect", "low", "high", "rule", "why"]
PART_COLUMNS = [
    *("claim", "kind", "part", "first", "second", "measure", "unit", "decides", "holds"),
    *("effect", "low", "high", "margin", "seeds", "n_first", "n_second", "why"),
    *("control", "must_fail", "passed_by"),
]


class Claim(NamedTuple):
    """What the paper claims, what is measured, and the rule."""

    name: str
    text: str
    quote: str  # with its section
    measure: str
    rule: str


CLAIMS = (
    Claim("C1", "music quality ranks LSTM > GAN > VAE, by the authors' ears",
          '"The music created by the LSTM algorithm was, in our eyes, top-notch, easily '
          'surpassing the tunes from the GAN method." (V)',
          "listeners' choices, difference of Bradley-Terry scores of neighbours (log odds)",
          "yes if both differences lie above log 2 (chosen twice as often), no if one lies below "
          "it; undecided without 12 real listeners: no number here stands for an ear"),
    Claim("C2", "energy ranks VAE > GAN > LSTM",
          '"the orange-colored music produced by LSTMs consistently displayed relatively lower '
          'noise levels and also energy" (VI)',
          "energy at one length, velocity and soundfont, which alone decide it: mean level "
          "difference of neighbours (dB)",
          "yes if both differences lie above 1 dB, no if one lies below it"),
    Claim("C3", "the mean's distance from 0 ranks VAE > GAN > LSTM",
          '"It\'s crucial for it to be as close to a central baseline as possible." (V)',
          "|mean| with one soundfont, which alone decides it: difference of neighbours' medians "
          "(16-bit steps)",
          "yes if both differences lie above 1 step, no if one lies below it"),
    Claim("C4", "noise in the waveforms ranks VAE > GAN > LSTM",
          '"the music produced by VAEs, shown in blue, displayed a noticeably higher level of '
          'noise throughout the plotted waveforms" (VI)',
          "spectral flatness with one soundfont, which alone decides it: Cliff's delta of "
          "neighbours",
          "yes if both deltas lie above 0.33, no if one lies below it"),
    Claim("C5", "low energy and a mean near 0 mark good music",
          '"For serene, soft piano tunes, you\'d expect minimal energy." (V)',
          "energy and |mean| of shuffled and random notes above real music's, Cliff's delta",
          "yes if all four deltas lie above 0.33, no if one lies below it"),
    Claim("C6", "the VAE makes more errors than the other two",
          '"the Variational Autoencoder (VAE) produced more errors in the music" (V-A)',
          "features outside real music's range, by each of the two rulers, VAE above each other "
          "model, Cliff's delta",
          "yes if all four deltas lie above 0.33, no if one lies below it"),
    Claim("C7", "LSTM pieces keep coherence over time, from long-term memory",
          '"LSTMs harness their ability to recall prior sequences, ensuring that generated '
          'pieces exhibit continuity and coherence" (I)',
          "melody of the first half that returns in the second, Cliff's delta: LSTM above collages "
          "of two pieces, and not below real music",
          "yes if the first lies above 0.33 and the second above -0.33, no if one lies below; "
          "undecided if music without a memory passes both"),
    Claim("C8", "the GAN makes pieces of different kinds",
          '"We chose these pieces because they show the different kinds of music that the GAN '
          'can make." (V-B)',
          "spread of 18 features within a training run, ratio to real music's; and how much nearer "
          "to real music than a Markov chain, by each of the two rulers",
          "yes if the ratio lies above 0.8 and both differences above 0, no if one lies below"),
)  # fmt: skip


def rules() -> pd.DataFrame:
    """Return every claim with its measure and rule, to be read before any result."""
    names = ["claim", "what is claimed", "the paper's words", "measure", "rule"]
    return pd.DataFrame(CLAIMS).set_axis(names, axis=1)


class Part(NamedTuple):
    """One number that a claim needs, of columns of `prepared`; it counts if it `decides`.

    `statistic` takes the two sets' values, shape (n,) or (n, columns); `bounds` is its range. Of a
    control, `control` takes the model's place in the rule of the part `control_of`; it may have to
    fail there.
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
    must_fail: bool = False


def mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return mean of the first less mean of the second."""
    return float(first.mean() - second.mean())


def median_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return median of the first less median of the second."""
    return float(np.median(first) - np.median(second))


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


_NAMES = {"vae": "VAE", "gan": "GAN", "lstm": "LSTM", "markov_common_key": "Markov in C"}
_NAMES |= {"collage_bars": "collages of bars", "collage_phrases": "collages of phrases"}
_NAMES |= {"training": "training music", "shuffled": "shuffled music", "random": "random notes"}
_NAMES |= {"backwards": "music backwards", "lstm_reset": "an LSTM that forgets at bar lines"}
RULERS = {"first ruler": FEATURES, "second ruler": SECOND_FEATURES}
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


def _control(part: Part, subject: str, other: str, *, must_fail: bool) -> Part:
    """Return the part with another set in the place of its subject; it decides nothing itself."""
    first, second = (other if name == subject else name for name in (part.first, part.second))
    return part._replace(
        name=f"{_NAMES[other]}: {part.name}", first=first, second=second, decides=False,
        control=_NAMES[other], control_of=part.name, must_fail=must_fail,
    )  # fmt: skip


def _variety(name: str) -> Part:
    """Return the part that compares a set's spread with real music's."""
    within = tuple(f"within_{feature}" for feature in FEATURES)
    words = ("C8", f"{_NAMES[name]} beside real", "spread of features", "ratio to real music")
    settings = {"decides": name == "gan", "bounds": (0.0, math.inf)}
    return Part(*words, name, "real", within, spread_ratio, VARIETY, **settings)


def _nearer(name: str, other: str, ruler: str) -> Part:
    """Return the part that asks whether one set lies nearer to real music than another."""
    words = ("C8", f"{_NAMES[name]} nearer than {_NAMES[other]}, {ruler}", ruler)
    sets = ("difference of distances", name, other)
    return Part(*words, *sets, tuple(RULERS[ruler]), nearness, 0.0)


_RETURN = "melody that returns"
_OWN: tuple[Part, ...] = (  # in the order of the claims
    *_order("C2", "energy", "dB", "energy_db", statistic=mean_difference, margin=AUDIBLE_DB),
    *_order("C2", "energy", "Cliff's delta", "energy", **_SHOWN),
    *_order("C3", "|mean|", "16-bit steps", "abs_mean", statistic=median_difference, margin=STEP),
    *_order("C3", "|mean|", "Cliff's delta", "abs_mean", **_SHOWN),
    *_order("C4", "spectral flatness", "Cliff's delta", "spectral_flatness", **_MEDIUM_DELTA),
    *_order("C4", "energy above 8 kHz", "Cliff's delta", "high_band_db", **_SHOWN),
    *_order("C4", "noise floor", "Cliff's delta", "noise_floor_db", **_SHOWN),
    *(
        _delta("C5", f"real below {bad}, {measure}", measure, bad, "real", column)
        for measure, column in (("energy", "energy"), ("|mean|", "abs_mean"))
        for bad in ("shuffled", "random")
    ),
    *(
        _delta("C6", f"VAE above {_NAMES[other]}, {measure}", measure, "vae", other, column,
               decides=decides)
        for measure, column, decides in (
            ("first ruler", "features_outside", True),
            ("second ruler", "second_outside", True),
            ("steps that fit no chord", "chord_misfit", False),
            ("notes outside the best scale", "out_of_scale", False),
        )
        for other in ("gan", "lstm")
    ),
    _delta("C7", "LSTM returns more than collages", _RETURN, "lstm", "collage_phrases",
           "melody_return"),
    _delta("C7", "LSTM returns no less than real", _RETURN, "lstm", "real", "melody_return",
           margin=-MEDIUM),
    *(
        _delta("C7", f"LSTM drifts less than {_NAMES[other]}", "key drift", other, "lstm",
               "key_drift", decides=False)
        for other in ("gan", "vae")
    ),
    *map(_variety, ("gan", "vae", "lstm", "training")),
    *(_nearer("gan", "markov_common_key", ruler) for ruler in RULERS),
)  # fmt: skip

EVERYWHERE = (  # controls of every claim
    "shuffled", "collage_bars", "collage_phrases", "backwards", "markov_common_key", "lstm_reset",
    "gan",
)  # fmt: skip
# Of each claim: the set in whose place controls stand, and those that lack what the claim says (an
# order of models, errors, a memory over bars, variety in music) and must fail.
CONTROLS: dict[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(("C2", "C3", "C4"), ("vae", EVERYWHERE)),
    "C5": ("shuffled", ("collage_bars", "collage_phrases", "backwards")),
    "C6": ("vae", ("training",)),
    "C7": ("lstm", ("shuffled", "collage_bars", "collage_phrases", "markov_common_key",
                    "lstm_reset", "gan")),
    "C8": ("gan", ("shuffled", "random", "collage_bars", "collage_phrases", "backwards",
                   "markov_common_key")),
}  # fmt: skip
PARTS = (
    *_OWN,
    *(
        _control(part, subject, other, must_fail=other in lacking)
        for claim, (subject, lacking) in CONTROLS.items()
        for other in dict.fromkeys((*lacking, *EVERYWHERE))
        for part in _OWN
        if part.decides and part.claim == claim and subject in (part.first, part.second)
        if other != subject
    ),
)


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
        "second_outside": features_outside(table, SECOND_FEATURES),
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
    table: pd.DataFrame, *, kind: str = REFINED, seed: int, n_resamples: int = 1000,
    other_kind: pd.DataFrame | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return every part of every claim but C1, with the columns `PART_COLUMNS`.

    The table is that of `measuring.sample_table` and the second ruler, of models of this kind, real
    music and other sets; every part has a bootstrap stream of its own, a control's of a quarter of
    the draws. ``seeds`` is 0 where no model is involved; it and the n count only pieces that define
    the measure. ``why`` says what is missing, or what makes an answer undecided. Parts without a
    model are copied from `other_kind`, which this returned for models of the other kind.
    """
    ready = prepared(table)
    dropped = dropped_features(table[table["model"] == REAL])
    kept = [name for name in FEATURES if name not in dropped] or list(FEATURES)
    rows = []
    for number, part in enumerate(PARTS):
        if other_kind is not None and not {part.first, part.second} & {*MODELS}:
            rows.append({**other_kind.iloc[number], "kind": kind})
            continue
        statistic, sets = _to_resample(part, ready, kept)
        interval = functools.partial(
            seed_interval, statistic, *sets, level=LEVEL, bounds=part.bounds, cautious=True,
            n_resamples=max(n_resamples // (4 if part.control else 1), 100),
        )  # fmt: skip
        row = _part_row(part, kind, interval(rng=np.random.default_rng([seed, number]))[:3], sets)
        if row["decides"] and row["holds"] != "undecided" and _close(row):
            streams = (np.random.default_rng([seed, number, 1 + i]) for i in range(OTHER_SEEDS))
            found = {decide(*interval(rng=rng)[1:3], part.margin) for rng in streams}
            if found != {row["holds"]}:
                row |= {"holds": "undecided", "why": "other draws of its bootstrap do not agree"}
        rows.append(row)
    return _with_controls(pd.DataFrame(rows, columns=PART_COLUMNS))


def _to_resample(
    part: Part, ready: pd.DataFrame, kept: Sequence[str]
) -> tuple[Callable[..., float], list[Any]]:
    """Return the statistic of a part and the sets that it takes."""
    columns, statistic, pair = part.columns, part.statistic, (part.first, part.second)
    if statistic is nearness:
        return nearness(ready, *pair, RULERS[part.measure])
    if not isinstance(columns, str):
        columns = [f"within_{name}" for name in kept]
        statistic = functools.partial(statistic, features=kept)
    return statistic, [values_by_seed(ready, name, columns) for name in pair]


def _close(row: Mapping[str, Any]) -> bool:
    gap = min(abs(row[end] - row["margin"]) for end in ("low", "high"))
    return gap < CLOSE * (row["high"] - row["low"])


def _part_row(
    part: Part, kind: str, numbers: Sequence[float], sets: Sequence[dict[int, np.ndarray]]
) -> dict[str, Any]:
    names, sizes, seeds, lacking = (part.first, part.second), [], [], []
    for name, samples in zip(names, sets, strict=False):
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
    words = (part.claim, kind, part.name, *names, part.measure, part.unit, part.decides, holds)
    row = (*words, *numbers, part.margin, min(seeds, default=0), *sizes, why)
    row += (part.control, part.must_fail, "")
    return dict(zip(PART_COLUMNS, row, strict=True))


def _with_controls(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `PARTS`, flagged by `passed_by`; a claim is undecided as said above."""
    passed = dict(zip(PARTS, parts["holds"] == "yes", strict=True))
    flags: dict[Part, list[str]] = {part: [] for part in PARTS}
    for claim in CONTROLS:
        own = [part for part in PARTS if part.claim == claim]
        decide, through = [part for part in own if part.decides], []
        for control in dict.fromkeys(part.control for part in own if part.must_fail):
            stands_in = {part.control_of: part for part in own if part.control == control}
            for part in (part for part in decide if part.name in stands_in):
                flags[part] += [control] * passed[stands_in[part.name]]
            if all(passed[stands_in.get(part.name, part)] for part in decide):
                through.append(control)
        for place, part in enumerate(PARTS):
            if through and part in decide and not parts.loc[place, "why"]:
                why = f"also passed by {' and '.join(through)}"
                parts.loc[place, ["holds", "why"]] = ["undecided", why]
    return parts.assign(passed_by=[", ".join(flags[part]) for part in PARTS])


def decide(low: float, high: float, margin: float) -> str:
    """Return "yes" for an interval above the margin, "no" for one below it, else "undecided"."""
    return "yes" if low > margin else "no" if high < margin else "undecided"


def verdict(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict on every claim, C1 to C8, for each kind, with the columns `COLUMNS`.

    A claim holds ("yes") if all its deciding parts do, does not ("no") if one does not, and is
    undecided otherwise. Effect, interval and ``why`` are those of the part on which it turns: of
    the parts with the claim's own answer, the one that lies lowest against its margin. C1 stays
    undecided unless the rows of `listener_parts` stand among the parts.
    """
    rows = []
    kinds = [kind for kind in (PLAIN, REFINED) if kind in set(parts["kind"])] or [REFINED]
    for kind, claim in itertools.product(kinds, CLAIMS):
        mine = (parts["kind"] == kind) & (parts["claim"] == claim.name) & parts["decides"]
        own = parts[mine.astype(bool)]
        holds, numbers, why = "undecided", (math.nan,) * 3, ""
        if len(own):
            holds = next(a for a in ("no", "undecided", "yes") if a in set(own["holds"]))
            same = own[own["holds"] == holds]
            turning = same.loc[(same["effect"] - same["margin"]).fillna(-math.inf).idxmin()]
            numbers, why = turning[["effect", "low", "high"]].tolist(), turning["why"]
        rows.append((claim.name, kind, claim.measure, holds, *numbers, claim.rule, why))
    return pd.DataFrame(rows, columns=COLUMNS)


ORDER = (("lstm", "gan"), ("gan", "vae"))  # of C1: each first is preferred to its second


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
    words = ("C1", REFINED, name, *pair, "listeners' choices", "log odds (Bradley-Terry)", True)
    return (*words, holds, *numbers, MARGIN, seeds, *sizes, why, "", False, "")
