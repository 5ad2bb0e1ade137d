"""Decide each of the paper's claims by a rule that was written down before the results were read.

Conventions: a claim holds only if all its parts hold. A part is one number (its *effect*), the
smallest value of it that would matter (its *margin*), and an interval. "yes": the whole interval
lies above the margin; "no": the whole interval lies below it; "undecided": the margin lies within,
or there are too few trainings or pieces to say, or a control passes the rule too (`claims`). Pieces
that do not define a measure are no evidence for it: with too few others its part is undecided, and
says so. An interval ends as far out as the draws of its bootstrap leave open, so that another seed
of it turns no answer but by rare chance. Simulated listeners never enter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.claims import CLAIMS, PARTS, Part
from musiclib.comparison import FEATURES, dropped_features
from musiclib.evaluation import MODELS, REAL
from musiclib.intervals import seed_interval, values_by_seed
from musiclib.ranges import features_outside
from musiclib.statistics import Interval

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
        undecided unless those of `listener_claim.listener_parts` stand among the parts.
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
