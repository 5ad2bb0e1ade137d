"""Listeners that do not exist, to try the analysis before a class has listened.

Conventions: every simulated answer says so (see `musiclib.answers`). What the simulated listeners
like is made up here and is no finding: they hold the three models for equal, prefer real music, and
like the Markov chain least. An analysis that works finds exactly that again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from musiclib.answers import SIMULATED, Answer, ProvenanceError, answer_line, header
from musiclib.evaluation import MODELS
from musiclib.files import write_text
from musiclib.listening import (
    BETWEEN_MODELS,
    CHOICE,
    CHOSEN,
    HEARD,
    Clip,
    Trial,
    clip_code,
    deal,
)
from musiclib.preferences import bradley_terry

LIKING: Mapping[str, float] = MappingProxyType(
    {"lstm": 0.0, "gan": 0.0, "vae": 0.0, "real": 1.2, "markov": -0.9}
)
"""What was put in: liking of each set, in log odds of being chosen."""

LISTENERS = 20
SEED = 0
DESIGN = SIMULATED
"""Name of the simulated test, which is no real test's."""

CLIP_SPREAD, LISTENER_SPREAD, TIES = 0.4, 0.5, 0.1
"""Spread of liking between clips of a set and between listeners (log odds), and share of ties."""


def placeholder_clips(n: int, *, sets: Sequence[str] = HEARD) -> list[Clip]:
    """Return n clips of each set with their codes and without a note."""
    silent = np.zeros((1, 88, 2), np.uint8)
    return [Clip(clip_code(name, k), name, 0, k, "", silent) for name in sets for k in range(n)]


def simulated_answers(
    clips: Sequence[Clip], *, listeners: int = LISTENERS, seed: int = SEED
) -> list[Answer]:
    """Answer every trial of so many simulated listeners.

    Parameters
    ----------
    clips : sequence of Clip
        Of sets in `LIKING`. Only codes and models are read, never the music.
    listeners : int
        How many.
    seed : int
        Of the deal and of every answer.

    Returns
    -------
    list of Answer
        Listener by listener, in the order of the trials.
    """
    rng = np.random.default_rng(seed)
    liking = {clip.code: LIKING[clip.model] + rng.normal(0, CLIP_SPREAD) for clip in clips}
    found = []
    for number in range(1, listeners + 1):
        name = f"{SIMULATED}-{number:02d}"
        own = {code: value + rng.normal(0, LISTENER_SPREAD) for code, value in liking.items()}
        bias = rng.normal(0, 0.5)
        for trial in deal(clips, listener=name, seed=seed):
            said = (
                _choice(trial, own, rng) if trial.kind == CHOICE else _rating(trial, own, bias, rng)
            )
            found.append(Answer(DESIGN, name, *trial, said, float(rng.uniform(14, 40))))
    return found


def expected_scores(sets: Sequence[str] = HEARD) -> np.ndarray:
    """Return the scores that endless simulated listeners and clips would give to sets.

    Returns
    -------
    np.ndarray, shape (number of sets,)
        Log odds, sum 0: smaller than `LIKING`, since ties and the spread between clips and between
        listeners even out what is chosen.
    """
    points, share = np.polynomial.hermite_e.hermegauss(40)
    spread = points * np.sqrt(2 * (CLIP_SPREAD**2 + LISTENER_SPREAD**2))
    liking = np.array([LIKING[name] for name in sets])
    apart = liking[:, None] - liking
    chosen = (share / share.sum() / (1 + np.exp(-apart[..., None] - spread))).sum(axis=-1)
    models = np.isin(sets, MODELS)
    asked = np.where(models[:, None] & models, BETWEEN_MODELS, CHOSEN)
    return bradley_terry(asked * ((1 - TIES) * chosen + TIES / 2), prior=0)


def _choice(trial: Trial, liking: Mapping[str, float], rng: np.random.Generator) -> str:
    """Choose by the logistic law, but for a share of ties."""
    if rng.random() < TIES:
        return "tie"
    odds = np.exp(liking[trial.second] - liking[trial.first])
    return "first" if rng.random() < 1 / (1 + odds) else "second"


def _rating(
    trial: Trial, liking: Mapping[str, float], bias: float, rng: np.random.Generator
) -> str:
    """Rate about 3, moved by liking and by how kind the listener is."""
    return str(int(np.clip(np.rint(3 + liking[trial.first] + bias + rng.normal(0, 0.5)), 1, 5)))


def write_simulated(
    clips: Sequence[Clip], path: str | os.PathLike[str], *, listeners: int = LISTENERS
) -> Path:
    """Write the simulated listeners' answers to a file whose name, header and rows say what it is.

    Raises
    ------
    ProvenanceError
        If the file's name does not hold "simulated".
    """
    path = Path(path)
    if SIMULATED not in path.name:
        raise ProvenanceError(f"{path}: a file of simulated answers must be called so")
    write_text("\n".join(_lines(clips, listeners)) + "\n", path)
    return path


def _lines(clips: Sequence[Clip], listeners: int) -> Iterator[str]:
    yield header(SIMULATED)
    for answer in simulated_answers(clips, listeners=listeners):
        yield answer_line(answer, provenance=SIMULATED)
