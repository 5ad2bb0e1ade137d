"""The blind listening test: which clips are heard, and in which order by whom.

Conventions: a *clip* is the beginning of a piece, rendered as every piece is; all clips of a test
have one length. It is known to listeners by nothing, and in files by a *code* that names no model.
A *trial* is one question: rate a clip from 1 to 5, or choose between two. What a listener hears
follows from the test's seed and the listener's name alone, so a broken session can be resumed.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.evaluation import MODELS, Sample
from musiclib.pianoroll import STEPS_PER_QUARTER

HEARD = ("lstm", "gan", "vae", "real", "markov")
"""Sets in the test: the paper's models, real music above them, one baseline below."""

CLIPS = 10
"""Clips of each set: two of each of five trainings."""

CLIP_STEPS = 64
"""Sixteenths of a clip: 4 bars of 4/4, 12 s at 80 quarters a minute (our choice)."""

RATED = 2
"""Clips of each set that a listener rates, one after the other."""

CHOSEN, BETWEEN_MODELS = 2, 4
"""Choices that a listener makes between each two sets, and between each two of the paper's models,
which the claim is about: half of them in each order."""

RATING, CHOICE = "rating", "choice"
RATINGS = ("1", "2", "3", "4", "5")
CHOICES = ("first", "tie", "second")
"""Answers allowed to the two kinds of trial."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Clip(NamedTuple):
    """One clip, and what is hidden from the listener.

    Attributes
    ----------
    code : str
        Eight hexadecimal digits, the name of its file.
    model, seed, sample, file
        As in `evaluation.Sample`.
    roll : np.ndarray, shape (T, 88, 2), uint8
        The notes; T is the same for all clips.
    """

    code: str
    model: str
    seed: int
    sample: int
    file: str
    roll: np.ndarray


class Trial(NamedTuple):
    """One question: `second` is empty where `kind` is "rating"."""

    number: int
    kind: str
    first: str
    second: str


def choose_clips(
    samples: Iterable[Sample],
    *,
    n: int = CLIPS,
    steps: int = CLIP_STEPS,
    sets: Sequence[str] = HEARD,
) -> list[Clip]:
    """Take the first pieces of each set, the trainings in turn: nothing is picked.

    Parameters
    ----------
    samples : iterable of Sample
        As `evaluation` gathers them; other sets are passed over.
    n : int
        Clips of each set; a set that holds fewer gives all it has.
    steps : int
        Sixteenths of each clip.
    sets : sequence of str
        Sets to be heard, two or more.

    Returns
    -------
    list of Clip
        By set; the first piece of every training, then the second of every training, and on.

    Raises
    ------
    ValueError
        If a set has no piece, a piece is shorter than a clip, or a number is below 1.
    """
    if n < 1 or steps < 1 or len(set(sets)) < 2:
        raise ValueError(
            f"n, steps, sets: got {n}, {steps}, {list(sets)}; allowed are 1 and more, and at least "
            "two sets"
        )
    by_set: dict[str, list[Sample]] = {name: [] for name in sets}
    for sample in samples:
        if sample.model in by_set:
            by_set[sample.model].append(sample)
    if missing := [name for name, found in by_set.items() if not found]:
        raise ValueError(f"samples: no clips of {', '.join(missing)}; each set needs one or more")
    return [
        _clip(name, number, sample, steps)
        for name, found in by_set.items()
        for number, sample in enumerate(_in_turn(found)[:n])
    ]


def _in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first of each seed, then the second of each, and on."""
    places: dict[int, int] = {}
    keyed = []
    for sample in samples:
        place = places[sample.seed] = places.get(sample.seed, -1) + 1
        keyed.append((place, sample.seed, sample))
    return [sample for _, _, sample in sorted(keyed, key=lambda entry: entry[:2])]


def _clip(name: str, number: int, sample: Sample, steps: int) -> Clip:
    if len(sample.roll) < steps:
        raise ValueError(
            f"samples: {name} {sample.sample} of seed {sample.seed} has {len(sample.roll)} steps; "
            f"clips of {steps} need as many"
        )
    return Clip(clip_code(name, number), *sample[:4], sample.roll[:steps])


def clip_code(name: str, number: int) -> str:
    """Return the code of a set's clip by its number: the same in every test, so it is no secret.

    Examples
    --------
    >>> len(clip_code("lstm", 0))
    8
    """
    return hashlib.sha256(f"clip {number} of {name}".encode()).hexdigest()[:8]


def clip_table(clips: Sequence[Clip]) -> pd.DataFrame:
    """Return the key of the test: code, model, seed, sample, file, one row a clip."""
    return pd.DataFrame([clip[:5] for clip in clips], columns=list(Clip._fields[:5]))


def clip_seconds(clips: Sequence[Clip], *, tempo: float) -> float:
    """Return how long the notes of each clip last, in seconds.

    Raises
    ------
    ValueError
        If there is no clip, or they differ in length.
    """
    lengths = sorted({len(clip.roll) for clip in clips})
    if len(lengths) != 1:
        raise ValueError(f"clips: got lengths {lengths} in steps; allowed is one length for all")
    return lengths[0] / STEPS_PER_QUARTER * 60 / tempo


def design(clips: Sequence[Clip], *, seed: int) -> str:
    """Return the name of a test: a hash of its clips' notes, its seed and how much is asked.

    Answers of another design were given to other sounds or in another order, and are never mixed
    with these.
    """
    digest = hashlib.sha256(f"seed {seed}, {RATED}, {CHOSEN}, {BETWEEN_MODELS}".encode())
    for clip in clips:
        digest.update(f"{clip.code} {clip.roll.shape} ".encode() + np.packbits(clip.roll).tobytes())
    return digest.hexdigest()[:12]


def listener_name(name: str) -> str:
    """Return a listener's name as files know it.

    Parameters
    ----------
    name : str
        Whatever was typed; better a made-up name than one's own.

    Returns
    -------
    str
        Lower case letters, digits and hyphens, 40 at most.

    Raises
    ------
    ValueError
        If nothing is left, it is too long, or it begins with "simulated".

    Examples
    --------
    >>> listener_name(" Blue Heron 7 ")
    'blue-heron-7'
    """
    made = re.sub(r"[^a-z0-9]+", "-", name.strip().lower()).strip("-")
    if not _NAME.fullmatch(made):
        raise ValueError(f"name: got {name!r}; allowed are 1 to 40 letters a to z, digits, hyphens")
    if made.startswith("simulated"):
        raise ValueError(f"name: got {name!r}; names of that kind belong to simulated listeners")
    return made


def deal(
    clips: Sequence[Clip],
    *,
    listener: str,
    seed: int,
    rated: int = RATED,
    chosen: int = CHOSEN,
    between: int = BETWEEN_MODELS,
) -> list[Trial]:
    """Deal one listener's trials: ratings in random order, then choices in random order.

    Parameters
    ----------
    clips : sequence of Clip
        Of two sets or more.
    listener : str
        As `listener_name` returns it; another name gives another deal.
    seed : int
        Of the test.
    rated : int
        Clips of each set to rate (all, where a set holds fewer).
    chosen, between : int
        Choices between each two sets, and where both are models. Which comes first alternates.

    Returns
    -------
    list of Trial
        With 5 sets and the default numbers 10 ratings and 26 choices.

    Raises
    ------
    ValueError
        If there are clips of fewer than two sets.
    """
    codes: dict[str, list[str]] = {}
    for clip in clips:
        codes.setdefault(clip.model, []).append(clip.code)
    if len(codes) < 2:
        raise ValueError(f"clips: got clips of {list(codes) or 'no set'}; allowed are two or more")
    rng = np.random.default_rng([seed, int(hashlib.sha256(listener.encode()).hexdigest()[:8], 16)])
    singles = [code for own in codes.values() for code in rng.permutation(own)[:rated]]
    pairs = []
    for two in itertools.combinations(codes, 2):
        n = between if set(two) <= set(MODELS) else chosen
        pairs += _pairs(*(codes[name] for name in two), n, rng)
    asked = [(RATING, str(singles[i]), "") for i in rng.permutation(len(singles))]
    asked += [(CHOICE, *pairs[i]) for i in rng.permutation(len(pairs))]
    return [Trial(number, *one) for number, one in enumerate(asked)]


def _pairs(
    one: Sequence[str], other: Sequence[str], n: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return n pairs of a clip of each set; the set that comes first alternates from a random one.

    No clip comes a second time before all of its set have been used.
    """
    drawn = [np.resize(rng.permutation(codes), n) for codes in (one, other)]
    start = int(rng.integers(2))
    return [
        (str(a), str(b)) if (k + start) % 2 else (str(b), str(a))
        for k, (a, b) in enumerate(zip(*drawn, strict=True))
    ]
