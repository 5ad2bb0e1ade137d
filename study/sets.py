"""Gather the pieces that are compared: the models', real music, and what no model made.

Conventions: a *piece* is a roll of 128 sixteenths (8 bars of 4/4; 24 s at 80 quarters a minute). A
*set* is all pieces of one origin, by the name in `SETS`. `seed` is the training seed of a model's
piece, the drawing seed of a baseline's, and -1 for real music, which has none. `sample` counts from
0 within a set and seed.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musiclib.codec import commonest_bars
from musiclib.files import atomic_path, sha256_of, write_json
from musiclib.measures import check_piece, measures
from musiclib.midi import load_midi, save_midi
from musiclib.piece import Piece, from_first_bar, metre
from musiclib.roll import (
    COMMON_BARS,
    N_KEYS,
    ONSET,
    STEPS_PER_BAR,
    STEPS_PER_QUARTER,
    SUSTAIN,
    Bars,
    bars_at,
    notes_of,
    require_piece,
    roll_of,
    to_midi,
    to_piano_roll,
)
from study.run import CORPORA, Paths, Preset
from study.stats import MODELS

# ---- study.sets ----
# Make music without a model: what any trained model must beat.
#
# Conventions: rolls as in `pianoroll`; every function takes the training rolls and an
# ``rng: np.random.Generator`` and returns ``uint8 (n, steps, 88, 2)``. The same rolls and the same
# generator state give the same pieces. In order of what they know of music:
#
# - `markov_pieces`: a first-order Markov chain over chords: real chords, real neighbours, no plan;
# - `shuffled_pieces`: a real piece's rhythm and pitches, but its pitches dealt out at random;
# - `random_pieces`: as many notes as a real piece, all else uniform.


PIECE_STEPS = 8 * STEPS_PER_BAR
"""A piece for comparison: 8 bars of 4/4 in sixteenths."""

LONGEST_RANDOM_NOTE = 8
"""Random notes last 1 to 8 sixteenths, up to a half note: about as long as real ones on average."""


def markov_pieces(
    training: Iterable[np.ndarray],
    *,
    n: int,
    rng: np.random.Generator,
    steps: int = PIECE_STEPS,
) -> np.ndarray:
    """Return pieces drawn from a first-order Markov chain over the training pieces' chords.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2)
        Rolls from which chords and their successions are counted, over their whole length.
    n : int
        Number of pieces, at least 1.
    rng : np.random.Generator
        Source of every draw.
    steps : int
        Length of each piece in sixteenths.

    Returns
    -------
    np.ndarray of uint8, shape (n, steps, 88, 2)

    Raises
    ------
    ValueError
        If there is no training roll, or one is malformed, or `n` or `steps` is below 1.

    Notes
    -----
    A state is a chord as it is struck, x = (onsets, sounding keys), which stands until either
    changes. From x the chain goes to (d, y), its length d in steps and the chord after it, with
    their relative frequency after x in the training pieces, without smoothing; it starts with a
    first chord of a training piece, and again where a chord only ever ended one. It knows no metre
    and nothing before the chord that sounds.
    """
    rolls = _require_training(training, n=n, steps=steps)
    events = [_events(roll) for roll in rolls]
    states, codes = _number(events)
    lengths = [length for _, length in events]
    firsts = np.array([code[0] for code in codes])
    following = _following(codes, lengths, len(states))
    walks = [_walk(firsts, following, steps=steps, rng=rng) for _ in range(n)]
    return np.stack([_unroll(states, *walk, steps) for walk in walks])


def _events(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chords as struck, shape (E, 88, 2), and how many steps each stands, shape (E,)."""
    new = np.ones(len(roll), dtype=bool)
    changed = (roll[1:, :, SUSTAIN] != roll[:-1, :, SUSTAIN]).any(axis=1)
    new[1:] = roll[1:, :, ONSET].any(axis=1) | changed
    first = np.flatnonzero(new)
    return roll[first], np.diff(np.append(first, len(roll)))


def _number(events: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the distinct chords (S, 88, 2), and each piece's as indices into them."""
    flat = np.concatenate([chords for chords, _ in events]).reshape(-1, N_KEYS * 2)
    states, inverse = np.unique(flat, axis=0, return_inverse=True)
    ends = np.cumsum([len(chords) for chords, _ in events])
    return states.reshape(-1, N_KEYS, 2), np.split(inverse.ravel(), ends[:-1])


def _following(
    codes: list[np.ndarray], lengths: list[np.ndarray], n_states: int
) -> list[np.ndarray]:
    """Return for each state every (length, next state) seen after it, shape (count, 2)."""
    before = np.concatenate([code[:-1] for code in codes])
    length = np.concatenate([length[:-1] for length in lengths])
    after = np.concatenate([code[1:] for code in codes])
    order = np.argsort(before, kind="stable")
    counts = np.bincount(before, minlength=n_states)
    return np.split(np.stack((length, after), axis=1)[order], np.cumsum(counts)[:-1])


def _walk(
    firsts: np.ndarray, following: list[np.ndarray], *, steps: int, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Return a walk of the chain: states and their lengths, together at least `steps` long."""
    states, lengths = [int(rng.choice(firsts))], []
    while sum(lengths) < steps:
        seen = following[states[-1]]
        if len(seen):
            length, state = seen[rng.integers(len(seen))]
        else:
            length, state = STEPS_PER_QUARTER, rng.choice(firsts)
        lengths.append(int(length))
        states.append(int(state))
    return states[:-1], lengths


def _unroll(states: np.ndarray, walk: list[int], lengths: list[int], steps: int) -> np.ndarray:
    """Return a walk as a roll (steps, 88, 2): each chord struck once and held for its length."""
    roll = np.repeat(states[walk], lengths, axis=0)
    roll[..., ONSET] = 0
    starts = np.cumsum([0, *lengths[:-1]])
    roll[starts, :, ONSET] = states[walk][..., ONSET]
    begins = roll[..., SUSTAIN].copy()
    begins[1:] &= 1 - roll[:-1, :, SUSTAIN]
    roll[..., ONSET] |= begins
    return roll[:steps]


def shuffled_pieces(
    training: Iterable[np.ndarray],
    *,
    n: int,
    rng: np.random.Generator,
    steps: int = PIECE_STEPS,
) -> np.ndarray:
    """Return real pieces whose pitches are dealt out at random among their notes.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2)
        Rolls; those shorter than `steps` are left out.
    n : int
        Number of pieces; each takes a roll drawn without replacement until all are used.
    rng : np.random.Generator
        Source of every draw.
    steps : int
        Length of each piece: the first `steps` sixteenths of its roll.

    Returns
    -------
    np.ndarray of uint8, shape (n, steps, 88, 2)

    Raises
    ------
    ValueError
        If no training roll is long enough, one is malformed, or `n` or `steps` is below 1.

    Notes
    -----
    Starts, lengths and the multiset of pitches stay; which note has which pitch is a uniform
    permutation. Two notes dealt the same pitch at once become one, and a note cuts an earlier one
    of its pitch, so a few notes are lost.
    """
    rolls = _long_enough(_require_training(training, n=n, steps=steps), steps)
    pieces = []
    for index in _draw(len(rolls), n, rng):
        notes = notes_of(rolls[index][:steps])
        pieces.append(roll_of(notes.start, rng.permutation(notes.key), notes.length, steps=steps))
    return np.stack(pieces)


def shuffled_sources(
    training: Iterable[np.ndarray], *, n: int, rng: np.random.Generator, steps: int = PIECE_STEPS
) -> np.ndarray:
    """Return which training roll each of the `shuffled_pieces` is dealt from, shape (n,).

    Takes what `shuffled_pieces` takes, with a generator in the same state.
    """
    long = np.flatnonzero([len(roll) >= steps for roll in training])
    return long[_draw(len(long), n, rng)]


def random_pieces(
    training: Iterable[np.ndarray],
    *,
    n: int,
    rng: np.random.Generator,
    steps: int = PIECE_STEPS,
) -> np.ndarray:
    """Return pieces of uniformly random notes, each with as many as a real piece.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2)
        Rolls, of which only the numbers of notes and the compass (lowest to highest key) are used;
        those shorter than `steps` are left out.
    n : int
        Number of pieces.
    rng : np.random.Generator
        Source of every draw.
    steps : int
        Length of each piece in sixteenths.

    Returns
    -------
    np.ndarray of uint8, shape (n, steps, 88, 2)

    Raises
    ------
    ValueError
        If no training roll is long enough, one is malformed, or `n` or `steps` is below 1.

    Notes
    -----
    Key uniform over the compass of the training pieces, start uniform over the steps, length
    uniform over 1 to `LONGEST_RANDOM_NOTE` steps (cut at the end of the piece): our choice. Notes
    that fall on the same key at once become one.
    """
    rolls = _long_enough(_require_training(training, n=n, steps=steps), steps)
    compass = np.flatnonzero(np.any([roll[..., SUSTAIN].any(axis=0) for roll in rolls], axis=0))
    if not compass.size:
        raise ValueError("training holds no note")
    pieces = []
    for index in _draw(len(rolls), n, rng):
        count = len(notes_of(rolls[index][:steps]).start)
        start = rng.integers(steps, size=count)
        key = rng.integers(compass[0], compass[-1] + 1, size=count)
        length = rng.integers(1, LONGEST_RANDOM_NOTE + 1, size=count)
        pieces.append(roll_of(start, key, length, steps=steps))
    return np.stack(pieces)


def _draw(size: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n indices below size: whole random orders one after another, cut to n."""
    orders = [rng.permutation(size) for _ in range(-(-n // size))]
    return np.concatenate(orders)[:n]


def _require_training(training: Iterable[np.ndarray], *, n: int, steps: int) -> list[np.ndarray]:
    """Return the training rolls or say which argument is wrong."""
    for name, value in (("n", n), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    rolls = [require_piece(roll, name=f"training[{i}]") for i, roll in enumerate(training)]
    if not rolls:
        raise ValueError("training must hold at least one roll; got none")
    return rolls


def _long_enough(rolls: list[np.ndarray], steps: int) -> list[np.ndarray]:
    """Return the rolls of at least that many steps, or say that there is none."""
    kept = [roll for roll in rolls if len(roll) >= steps]
    if not kept:
        longest = max(len(roll) for roll in rolls)
        raise ValueError(f"training has no roll of {steps} steps; the longest has {longest}")
    return kept


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


# ---- study.sets ----
# What a model notebook leaves behind: pieces, checked, its weights' card, its costs.
#
# Conventions: a piece is 128 steps (8 bars of 4/4, 24 s at 80 quarters a minute); files are named
# ``000.mid`` and on, in the order in which the model made them: nothing is picked, and a piece that
# is flawed is written with its flaw reported. A file says in which metre its piece was made, and
# how
# long the upbeat is.


TEMPO = 80.0
RANGED = ("polyphony", "scale_consistency", "silence", "pitch_range")
"""The measures whose range in real music a generated piece shall keep to."""

PERCENTILES = (0.01, 0.99)
"""What bounds the range; with few real pieces that is nearly their lowest to highest value."""
LARGEST = 4_096
"""Of a size that a card may name: units of a layer, or numbers of a latent."""


def write_pieces(
    rolls: Sequence[np.ndarray],
    folder: str | os.PathLike[str],
    *,
    bars: Sequence[Bars] | None = None,
    tempo: float = TEMPO,
    keep: bool = False,
) -> pd.DataFrame:
    """Write generated pieces as MIDI files, in order, and check each.

    Parameters
    ----------
    rolls : sequence of np.ndarray, shape (T, 88, 2), uint8
    folder : path
        Receives ``NNN.mid`` (or more digits); such files of an earlier run are removed first.
    bars : sequence of Bars, optional
        Where each piece's bar lines stand, for its time signature and for the check of empty bars;
        4/4 without an upbeat by default.
    tempo : float
        Quarter notes a minute.
    keep : bool
        Only check the pieces and leave the folder as it is.

    Returns
    -------
    pd.DataFrame
        sample, file, notes, flaws (empty, or what `check_piece` found).

    Raises
    ------
    ValueError
        If there are not as many bars as rolls; nothing is removed then.
    """
    folder, rows = Path(folder), []
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    if len(bars) != len(rolls):
        raise ValueError(f"bars: got those of {len(bars)} pieces for {len(rolls)} rolls")
    if not keep:
        for old in folder.glob("*.mid"):
            if old.stem.isdecimal():
                old.unlink()
    for i, (roll, own) in enumerate(zip(rolls, bars, strict=True)):
        file = folder / f"{i:03d}.mid"
        if not keep:
            save_midi(to_midi(roll, tempo=tempo, **own._asdict()), file)
        notes = int(roll[..., 0].sum())
        rows.append((i, file.name, notes, "; ".join(check_piece(roll, **own.for_measures()))))
    return pd.DataFrame(rows, columns=["sample", "file", "notes", "flaws"])


def real_rolls(pieces: Sequence[Piece], *, length: int = PIECE_STEPS) -> list[np.ndarray]:
    """Return `length` steps of each piece that is long enough, from the first bar that sounds.

    Parameters
    ----------
    pieces : sequence of Piece
    length : int
        Steps.

    Returns
    -------
    list of np.ndarray, shape (length, 88, 2), uint8
    """
    return [p.roll[:length] for p in map(from_first_bar, pieces) if len(p.roll) >= length]


def real_bars(pieces: Sequence[Piece], *, length: int = PIECE_STEPS) -> list[Bars]:
    """Return the bars of each of the `real_rolls` of these pieces."""
    long = [p for p in map(from_first_bar, pieces) if len(p.roll) >= length]
    return [bars_at(piece.position[:length], piece.bar, piece.denominator) for piece in long]


def measure_table(rolls: Sequence[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.DataFrame:
    """Return every measure of the notes of each piece, a row a piece.

    Parameters
    ----------
    rolls : sequence of np.ndarray, shape (T, 88, 2), uint8
    bars : sequence of Bars, optional
        Each piece's own; 4/4 without an upbeat by default.
    """
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    rows = [measures(roll, **own.for_measures()) for roll, own in zip(rolls, bars, strict=True)]
    return pd.DataFrame(rows)


def inside_real(
    rolls: Sequence[np.ndarray], reference: Sequence[np.ndarray], *, names: Sequence[str] = RANGED
) -> pd.DataFrame:
    """Tell which pieces lie inside the real pieces' 1st to 99th percentile.

    Parameters
    ----------
    rolls, reference : sequence of np.ndarray, shape (T, 88, 2), uint8
        Pieces to judge, and real ones.
    names : sequence of str
        Measures of `musiclib.measures.measures`.

    Returns
    -------
    pd.DataFrame of bool
        A row a piece, a column a measure, and ``all``. A measure that a piece does not define
        (NaN) counts as outside.
    """
    real, ours = (measure_table(some)[list(names)] for some in (reference, rolls))
    low, high = (real.quantile(share) for share in PERCENTILES)
    inside = (ours >= low) & (ours <= high)
    return inside.assign(all=inside.all(axis=1))


def _card_of(weights: Path) -> Path:
    return weights.with_name(weights.name.removesuffix(".weights.h5") + ".json")


def write_card(weights: str | os.PathLike[str], card: Mapping[str, Any]) -> Path:
    """Write the JSON card of a weights file: what it was trained on, how, and its SHA-256.

    Parameters
    ----------
    weights : path
        ``<model>.weights.h5``, already written.
    card : mapping
        Model, corpus, split's hash, codec, settings, budget, scores.

    Returns
    -------
    pathlib.Path
        ``<model>.json`` beside it.
    """
    path = _card_of(Path(weights))
    write_json({**card, "sha256": sha256_of(weights)}, path)
    return path


def check_card(weights: str | os.PathLike[str], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Read a weights' card and refuse weights that do not fit, before they are loaded.

    Parameters
    ----------
    weights : path
        ``<model>.weights.h5``.
    expected : mapping
        What the card must say, such as ``codec`` and ``settings``.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    FileNotFoundError
        When the weights or their card are missing.
    ValueError
        When the file is not the one that the card names, or differs from `expected`; the message
        says in what.
    """
    weights = Path(weights)
    path = _card_of(weights)
    for file in (weights, path):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; train it with another preset first")
    card = json.loads(path.read_text(encoding="utf-8"))
    if card.get("sha256") != sha256_of(weights):
        raise ValueError(f"{weights} is not the file that {path.name} describes (SHA-256 differs)")
    for key, value in expected.items():
        if card.get(key) != json.loads(json.dumps(value)):
            raise ValueError(
                f"{weights} was trained with {key} {card.get(key)}, this notebook needs {value}"
            )
    return card


def trained_sizes(
    weights: str | os.PathLike[str],
    *names: str,
    corpus: str,
    seed: int,
    codec: Mapping[str, Any],
) -> dict[str, int]:
    """Return the sizes with which a model was trained, as its weights' card has them.

    So a notebook that trains nothing builds the model that the weights are of, whatever the preset
    that trained it.

    Parameters
    ----------
    weights : path
        ``<model>.weights.h5``.
    *names : str
        Which of the card's ``settings``, such as ``"units"``.
    corpus, seed
        The notebook's own parameters.
    codec : mapping
        Of the pieces as the notebook reads them.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        When there are no such weights; the message has the command that trains them.
    ValueError
        When they are of another corpus or codec, or not the file that their card names, or the card
        lacks a size.
    """
    weights, name = Path(weights), corpus_name(corpus)
    path, command = _card_of(weights), "make study"
    command += "" if corpus in CORPORA else f' CORPUS="{corpus}"'
    command += f" SEED={seed}" if seed else ""
    train = f"train them with: {command}, or let output name the folder of a study that did"
    if not (weights.is_file() and path.is_file()):
        raise FileNotFoundError(f"{weights}: there are no weights of {name}, seed {seed}; {train}")
    found = check_card(weights, {})
    if found.get("corpus") != name:
        raise ValueError(f"{weights} are weights of {found.get('corpus')}, not of {name}; {train}")
    check_card(weights, {"codec": codec})
    settings = found.get("settings")
    sizes = {k: settings.get(k) if isinstance(settings, dict) else None for k in names}
    for key, size in sizes.items():
        if type(size) is not int or not 1 <= size <= LARGEST:
            raise ValueError(f"{path}: {key} is {size}, allowed is 1 to {LARGEST:,}; {train}")
    return sizes


def save_weights(model: Any, weights: str | os.PathLike[str], card: Mapping[str, Any]) -> Path:
    """Write a model's weights and their card.

    Parameters
    ----------
    model : keras.Model
        Its optimizer's state, twice the size of the weights, is left out.
    weights : path
        ``<model>.weights.h5``; written atomically, folders made where they are missing.
    card : mapping
        See `write_card`.

    Returns
    -------
    pathlib.Path
        The card.
    """
    _card_of(Path(weights)).unlink(missing_ok=True)  # killed in between, none is another's
    with _without_optimizer(model), atomic_path(weights) as temporary:
        model.save_weights(temporary)
    return write_card(weights, card)


def load_weights(
    model: Any, weights: str | os.PathLike[str], expected: Mapping[str, Any]
) -> dict[str, Any]:
    """Load weights into a model if their card fits, and return the card; see `check_card`."""
    card = check_card(weights, expected)
    with _without_optimizer(model):
        model.load_weights(weights)
    return card


@contextlib.contextmanager
def _without_optimizer(model: Any) -> Iterator[None]:
    """Hide a model's optimizer, as Keras saves and loads it with the weights."""
    optimizer = getattr(model, "optimizer", None)
    model.optimizer = None
    try:
        yield
    finally:
        model.optimizer = optimizer


def corpus_name(corpus: str) -> str:
    """Return the short name of a corpus on disk: itself, or its folder's name made safe.

    A folder of the user's that is called like a corpus of the study gets ``_folder`` behind its
    name, so that the two are never mixed.
    """
    if corpus in CORPORA:
        return corpus
    name = re.sub(r"[^a-z0-9_]+", "_", Path(corpus).name.lower()).strip("_") or "corpus"
    return f"{name}_folder" if name in CORPORA else name
