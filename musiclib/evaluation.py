"""Gather the pieces that are compared: the models', real music, and what no model made.

Conventions: a *piece* is a roll of 128 sixteenths (8 bars of 4/4; 24 s at 80 quarters a minute). A
*set* is all pieces of one origin, by the name in `SETS`. `seed` is the training seed of a model's
piece, the drawing seed of a baseline's, and -1 for real music, which has none. `sample` counts from
0 within a set and seed.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.baselines import (
    PIECE_STEPS,
    markov_pieces,
    random_pieces,
    shuffled_pieces,
    shuffled_sources,
)
from musiclib.encoding import commonest_bars
from musiclib.midi import load_midi
from musiclib.pianoroll import to_piano_roll
from musiclib.pieces import Piece, from_first_bar, metre
from musiclib.presets import Preset
from musiclib.roll_notes import COMMON_BARS, Bars, bars_at
from musiclib.study import Paths

MODELS = ("vae", "gan", "lstm")
"""The paper's models in the order of its table."""

REAL = "real"
"""Held-out real music: what every set is compared with."""

TRAINING = "training"
"""Real music that the models saw: how near to `REAL` real music itself comes (the ceiling)."""

BASELINES: Mapping[str, Callable[..., np.ndarray]] = {
    "markov": markov_pieces,
    "shuffled": shuffled_pieces,
    "random": random_pieces,
}
"""Music without a model, best first (see `baselines`)."""

SETS = (*MODELS, REAL, TRAINING, *BASELINES)
"""All sets of symbolic music, in the order of every table and figure."""

NO_SEED = -1
"""Seed of a piece that no training and no draw made."""

_WRITERS = {"lstm": "02 (LSTM)", "gan": "03 (GAN)", "vae": "04 (VAE)"}
_KEYS = ("model", "seed", "sample", "file")


class Sample(NamedTuple):
    """One piece to compare.

    Attributes
    ----------
    model : str
        Its set, one of `SETS`.
    seed, sample : int
        See the head of this module.
    file : str
        A generated piece's file below the output folder, a real piece's name, or "" for a
        baseline's piece, which is in no file.
    roll : np.ndarray, shape (128, 88, 2), uint8
        The piece.
    bars : Bars
        Where its bar lines stand: as its file says, as its source's, or, for a baseline's piece
        without a source, bars of the commonest length of the training pieces.
    """

    model: str
    seed: int
    sample: int
    file: str
    roll: np.ndarray
    bars: Bars = COMMON_BARS

    @property
    def keys(self) -> dict[str, object]:
        """What names the piece in a table."""
        return {name: getattr(self, name) for name in _KEYS}


def fit(roll: np.ndarray, *, steps: int = PIECE_STEPS) -> np.ndarray:
    """Return the first `steps` steps of a roll; a shorter one is followed by silence.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Any length, 0 included: a MIDI file that ends with rests knows nothing of them.
    steps : int
        Sixteenths of the result.

    Returns
    -------
    np.ndarray, shape (steps, 88, 2), uint8
        A new array.
    """
    piece = np.zeros((steps, *roll.shape[1:]), dtype=np.uint8)
    piece[: len(roll)] = roll[:steps]
    return piece


def read_generated(
    generated: str | os.PathLike[str],
    *,
    models: Sequence[str] = MODELS,
    seeds: Sequence[int] | None = None,
) -> list[Sample]:
    """Read every piece of the training seeds that the model notebooks wrote.

    Parameters
    ----------
    generated : path
        The folder with ``<model>/<seed>/NNN.mid``. Folders whose name is no number are not seeds.
    models : sequence of str
        Models to read.
    seeds : sequence of int, optional
        Training seeds to read, those that are there; all if not given.

    Returns
    -------
    list of Sample
        By model, seed and number.

    Raises
    ------
    FileNotFoundError
        If a model has no piece; the message names the notebook that writes them.
    MidiFileError
        If a file cannot be read.
    """
    generated = Path(generated)
    samples: list[Sample] = []
    for model in models:
        trainings = [f for f in _seeds(generated / model) if seeds is None or int(f.name) in seeds]
        found = [(folder, path) for folder in trainings for path in _numbered(folder)]
        if not found:
            raise FileNotFoundError(
                f"{generated / model} holds no piece (<seed>/000.mid and on); run notebook "
                f"{_WRITERS.get(model, 'of this model')} first"
            )
        samples += [_generated(model, *place, generated) for place in found]
    return samples


def _seeds(folder: Path) -> list[Path]:
    """Return the folders of a model's training seeds, by number."""
    found = [path for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def _numbered(folder: Path) -> list[Path]:
    """Return the pieces of one seed, by number."""
    found = [path for path in folder.glob("*.mid") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def _generated(model: str, seed: Path, path: Path, generated: Path) -> Sample:
    """Read one generated piece; its file is named from two folders above, where ``data`` lies."""
    file = Path("data", generated.name, path.relative_to(generated)).as_posix()
    midi = load_midi(path)
    roll = fit(to_piano_roll(midi))
    bars = bars_at(*metre(midi, steps=len(roll)))
    return Sample(model, int(seed.name), int(path.stem), file, roll, bars)


def read_models(paths: Paths, *, seed: int, budget: Preset) -> tuple[list[Sample], dict[str, str]]:
    """Read the pieces to compare: this run's, and the released ones of what it did not train.

    Parameters
    ----------
    paths : Paths
        The run's folders.
    seed : int
        The run's first training seed.
    budget : Preset
        Says how many trainings follow. Of a released model every training is read; a preset that
        trains nothing reads released models only, where there are any.

    Returns
    -------
    list of Sample
        By model, seed and number.
    dict of str to str
        For each model "this run" or "released".

    Raises
    ------
    FileNotFoundError
        If a model has neither; the message names the notebook that writes its pieces.
    """
    samples: list[Sample] = []
    whose: dict[str, str] = {}
    trains = budget.trainings or not paths.reads_released
    seeds = range(seed, seed + budget["seeds"]) if trains else ()
    for model in MODELS:
        own = [folder for folder in _seeds(paths.generated / model) if int(folder.name) in seeds]
        whose[model] = "this run" if own or not paths.reads_released else "released"
        if whose[model] == "this run":
            samples += read_generated(paths.generated, models=[model], seeds=seeds)
        else:
            samples += read_generated(paths.released / "data" / "generated", models=[model])
    return samples, whose


def first_pieces(samples: Iterable[Sample], *, n: int = 3) -> list[Sample]:
    """Return pieces 000 to n - 1 of each model's first training: the paper's protocol, unpicked.

    Parameters
    ----------
    samples : iterable of Sample
        As `read_models` returns them.
    n : int
        Pieces of each model.

    Returns
    -------
    list of Sample
        In the order of `samples`.

    Raises
    ------
    FileNotFoundError
        If a model lacks one of them.
    """
    samples = list(samples)
    chosen: list[Sample] = []
    for model in MODELS:
        own = [sample for sample in samples if sample.model == model]
        seed = min((sample.seed for sample in own), default=0)
        found = [s for s in own if s.seed == seed and s.sample < n]
        if missing := sorted(set(range(n)) - {sample.sample for sample in found}):
            raise FileNotFoundError(
                f"{model}: piece {missing[0]:03d} of seed {seed} is missing; run notebook "
                f"{_WRITERS[model]} first, with {n} pieces or more"
            )
        chosen += found
    return chosen


def real_samples(
    pieces: Iterable[Piece], split: pd.DataFrame, *, steps: int = PIECE_STEPS
) -> list[Sample]:
    """Return the beginnings of the held-out pieces that are long enough.

    Parameters
    ----------
    pieces : iterable of Piece
        The prepared corpus.
    split : pd.DataFrame
        Columns piece and split (see `splits`); the side "test" is held out.
    steps : int
        Sixteenths that are taken from the start of each.

    Returns
    -------
    list of Sample
        Set `REAL`, in the order of the corpus.

    Raises
    ------
    ValueError
        If fewer than two are long enough.
    """
    held_out = [p for p in _side(pieces, split, "test") if len(p.roll) >= steps]
    if len(held_out) < 2:
        raise ValueError(
            f"pieces: {len(held_out)} of the test split have {steps} steps or more; at least 2 are "
            "needed to compare with, so give a larger corpus"
        )
    return [
        Sample(REAL, NO_SEED, i, piece.name, fit(piece.roll, steps=steps), _bars(piece, steps))
        for i, piece in enumerate(held_out)
    ]


def _bars(piece: Piece, steps: int) -> Bars:
    """Return the bars of a piece's beginning."""
    return bars_at(piece.position[:steps], piece.bar, piece.denominator)


def training_pieces(pieces: Iterable[Piece], split: pd.DataFrame) -> list[Piece]:
    """Return the pieces of the training side, over their whole length.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = _side(pieces, split, "train")
    if not found:
        raise ValueError("pieces: none belongs to the training side of the split")
    return found


def _side(pieces: Iterable[Piece], split: pd.DataFrame, side: str) -> list[Piece]:
    """Return the pieces of one side, each from the first bar that sounds."""
    names = set(split.loc[split["split"] == side, "piece"])
    return [from_first_bar(piece) for piece in pieces if piece.name in names]


def baseline_samples(
    training: Sequence[Piece], *, n: int, seed: int, steps: int = PIECE_STEPS
) -> list[Sample]:
    """Make what the models must be compared with, out of the training pieces.

    Parameters
    ----------
    training : sequence of Piece
        The training side of the corpus.
    n : int
        Pieces of each baseline, and training pieces drawn without replacement (fewer where fewer
        are long enough).
    seed : int
        Of every draw; each baseline has a stream of its own.
    steps : int
        Length of each piece.

    Returns
    -------
    list of Sample
        Sets `TRAINING` and those of `BASELINES`. A shuffled piece keeps the bars of the piece that
        it was dealt from; the others have bars of the commonest length, without an upbeat.

    Raises
    ------
    ValueError
        If no training piece is long enough, or `n` is below 1.
    """
    rolls = [piece.roll for piece in training]
    streams = np.random.default_rng(seed).spawn(len(BASELINES) + 1)
    samples = _drawn(training, n=n, seed=seed, steps=steps, rng=streams[-1])
    common = commonest_bars(training)
    for (name, make), rng in zip(BASELINES.items(), streams, strict=False):
        bars = [common] * n
        if make is shuffled_pieces:
            sources = shuffled_sources(rolls, n=n, rng=copy.deepcopy(rng), steps=steps)
            bars = [_bars(training[i], steps) for i in sources]
        made = make(rolls, n=n, rng=rng, steps=steps)
        samples += [
            Sample(name, seed, i, "", *both) for i, both in enumerate(zip(made, bars, strict=True))
        ]
    return samples


def _drawn(
    training: Sequence[Piece], *, n: int, seed: int, steps: int, rng: np.random.Generator
) -> list[Sample]:
    """Return the beginnings of n training pieces, in the order of the corpus."""
    long = [piece for piece in training if len(piece.roll) >= steps]
    chosen = np.sort(rng.permutation(len(long))[:n])
    return [
        Sample(
            TRAINING, seed, i, long[k].name, fit(long[k].roll, steps=steps), _bars(long[k], steps)
        )
        for i, k in enumerate(chosen)
    ]


def with_tunes(table: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Say of every real piece of a table which group of the split it belongs to.

    Parameters
    ----------
    table : pd.DataFrame
        With the column file, as `measuring.sample_table` makes it.
    split : pd.DataFrame
        Columns piece and group (see `splits`).

    Returns
    -------
    pd.DataFrame
        A copy with the column tune: the group, "" for what is no piece of the corpus.
    """
    group = dict(zip(split["piece"], split["group"], strict=True))
    return table.assign(tune=table["file"].map(group).fillna(""))


def one_of_each_tune(samples: Iterable[Sample], split: pd.DataFrame) -> list[Sample]:
    """Return the first piece of each group of the split: no two of them are settings of one tune.

    Parameters
    ----------
    samples : iterable of Sample
        Real pieces.
    split : pd.DataFrame
        Columns piece and group.

    Returns
    -------
    list of Sample
    """
    group = dict(zip(split["piece"], split["group"], strict=True))
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(group[sample.file], sample)
    return list(first.values())


def rolls_by_set(samples: Iterable[Sample]) -> dict[str, dict[int, list[np.ndarray]]]:
    """Return the rolls of each set and seed, in the order met."""
    found: dict[str, dict[int, list[np.ndarray]]] = {}
    for sample in samples:
        found.setdefault(sample.model, {}).setdefault(sample.seed, []).append(sample.roll)
    return found
