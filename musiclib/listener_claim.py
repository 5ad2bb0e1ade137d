"""Claim C1, the paper's ranking by ear: decided by real listeners, or not at all.

Conventions: the rule was written down before anybody listened. Only files are taken, never tables,
and they are read by `answers.real_answers`, which refuses what is simulated or of unknown origin.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from musiclib.answers import real_answers
from musiclib.evidence import Evidence, Weights, gather, resampled
from musiclib.listening import Clip, clip_table, design
from musiclib.preferences import scores
from musiclib.verdicts import FEWEST_SEEDS, LEVEL, PART_COLUMNS, decide

MARGIN = math.log(2)
"""Smallest difference of two scores that matters: one chosen twice as often as the other, 0.69. In
shares 2/3 against 1/3: a delta of 0.33, as in the other claims."""

FEWEST_LISTENERS = 12
FEWEST_CHOICES = 20
"""Listeners in all, and choices between just the two models, below which nothing is decided."""

ORDER = (("lstm", "gan"), ("gan", "vae"))
"""What the paper says: each first is preferred to its second."""

_NAMES = {"lstm": "LSTM", "gan": "GAN", "vae": "VAE"}


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
        As `evidence.resampled`.

    Returns
    -------
    pd.DataFrame
        Columns `verdicts.PART_COLUMNS`, two rows, to stand beside those of `verdicts.claim_parts`.
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
    `FEWEST_CHOICES` choices between the two models, or `verdicts.FEWEST_SEEDS` trainings of each.
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
    name = f"{_NAMES[pair[0]]} above {_NAMES[pair[1]]}"
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
