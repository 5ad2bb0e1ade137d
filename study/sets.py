"""Gather the pieces that are compared, and keep what a model notebook leaves behind.

Conventions: a *piece* is a roll of 128 sixteenths (8 bars of 4/4; 24 s at 80 quarters per minute),
``uint8 (128, 88, 2)`` as in `musiclib.roll`. A *set* is all pieces of one origin, by the name in
`SETS`. `seed` is the training seed of a model's piece, the drawing seed of a baseline's, and -1 for
real music, which has none. `sample` counts from 0 within a set and seed. A generated piece is the
file ``<model>/<seed>/NNN.mid``, in the order in which the model made them: nothing is picked, and a
piece that is flawed is written with its flaw reported. ``bars`` say where a piece's bar lines
stand: 4/4 without an upbeat where nothing else is said.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
from collections import defaultdict
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

PIECE_STEPS = 8 * STEPS_PER_BAR

TEMPO = 80.0
"""Quarter notes per minute of every generated file and of every rendering."""

LONGEST_RANDOM_NOTE = 8
"""Random notes last 1 to 8 sixteenths, up to a half note: about as long as real ones on average."""

_Following = Mapping[bytes, list[tuple[int, bytes]]]

# Music without a model: what any trained model must beat. The same rolls and the same state of the
# generator give the same pieces, uint8 (n, steps, 88, 2).


def markov_pieces(
    training: Iterable[np.ndarray], *, n: int, rng: np.random.Generator, steps: int = PIECE_STEPS
) -> np.ndarray:
    """Return pieces drawn from a first-order Markov chain over the training rolls' chords.

    A state is a chord as it is struck, x = (onsets, sounding keys), which stands until either
    changes. From x the chain goes to (d, y), its length d in steps and the chord after it, with
    their relative frequency after x in the training rolls, without smoothing; it starts with a
    first chord of a training roll, and again where a chord only ever ended one. It knows no metre
    and nothing before the chord that sounds.
    """
    firsts, following = [], defaultdict(list)
    for roll in _require_training(training, n=n, steps=steps):
        chords, lengths = _events(roll)
        firsts.append(chords[0])
        for before, length, after in zip(chords, lengths, chords[1:], strict=False):
            following[before].append((length, after))
    return np.stack([_walk(firsts, following, steps=steps, rng=rng) for _ in range(n)])


def _events(roll: np.ndarray) -> tuple[list[bytes], list[int]]:
    """Return a roll's chords as struck (the bytes of a step), and how many steps each stands."""
    new = np.ones(len(roll), dtype=bool)
    changed = (roll[1:, :, SUSTAIN] != roll[:-1, :, SUSTAIN]).any(axis=1)
    new[1:] = roll[1:, :, ONSET].any(axis=1) | changed
    starts = np.flatnonzero(new)
    return [roll[i].tobytes() for i in starts], np.diff(np.append(starts, len(roll))).tolist()


def _walk(
    firsts: list[bytes], following: _Following, *, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a walk of the chain as a roll: each chord struck once and held for its length."""
    chord = firsts[rng.choice(len(firsts))]
    chords, lengths = [], []
    while sum(lengths) < steps:
        chords.append(chord)
        if seen := following.get(chord):
            length, chord = seen[rng.integers(len(seen))]
        else:
            length, chord = STEPS_PER_QUARTER, firsts[rng.choice(len(firsts))]
        lengths.append(length)
    struck = np.frombuffer(b"".join(chords), np.uint8).reshape(-1, N_KEYS, 2)
    roll = np.repeat(struck, lengths, axis=0)
    roll[..., ONSET] = np.diff(roll[..., SUSTAIN], axis=0, prepend=np.uint8(0)) == 1
    starts = np.cumsum([0, *lengths[:-1]])
    roll[starts, :, ONSET] |= struck[..., ONSET]
    return roll[:steps]


def shuffled_pieces(
    training: Iterable[np.ndarray], *, n: int, rng: np.random.Generator, steps: int = PIECE_STEPS
) -> np.ndarray:
    """Return the beginnings of training rolls, with their pitches dealt out among their notes.

    Rolls that are long enough are drawn without replacement until all are used. Starts, lengths and
    the multiset of pitches stay; which note has which pitch is a uniform permutation. Two notes
    dealt the same pitch at once become one, and a note cuts an earlier one of its pitch, so a few
    notes are lost.
    """
    rolls = _long_enough(_require_training(training, n=n, steps=steps), steps)
    pieces = []
    for index in _draw(len(rolls), n, rng):
        notes = notes_of(rolls[index][:steps])
        pieces.append(roll_of(notes.start, rng.permutation(notes.key), notes.length, steps=steps))
    return np.stack(pieces)


def random_pieces(
    training: Iterable[np.ndarray], *, n: int, rng: np.random.Generator, steps: int = PIECE_STEPS
) -> np.ndarray:
    """Return pieces of uniformly random notes, each with as many as a training roll's beginning.

    Key uniform over the compass of the rolls that are long enough, start uniform over the steps,
    length uniform over 1 to `LONGEST_RANDOM_NOTE` steps (cut at the end of the piece): our choice.
    Notes that fall on the same key at once become one.
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


# The sets, and where their pieces come from

REAL = "real"
"""Held-out real music: what every set is compared with."""

TRAINING = "training"
"""Real music that the models saw: how near to `REAL` real music itself comes (the ceiling)."""

BASELINES: Mapping[str, Callable[..., np.ndarray]] = {
    "markov": markov_pieces,  # real chords, real neighbours, no plan
    "shuffled": shuffled_pieces,  # a real rhythm and its pitches
    "random": random_pieces,  # as many notes as a real piece
}
"""Music without a model, in order of what it knows of music."""

SETS = (*MODELS, REAL, TRAINING, *BASELINES)
"""All sets of symbolic music, in the order of every table and figure."""

NO_SEED = -1
"""Seed of a piece that no training run and no draw made."""

_WRITERS = {"lstm": "02 (LSTM)", "gan": "03 (GAN)", "vae": "04 (VAE)"}


class Sample(NamedTuple):
    """Hold one piece to compare.

    `file` is a generated piece's file below the output folder, a real piece's name, or "" for a
    baseline's piece. `bars` are those of the file or of the source; a baseline's piece without a
    source has bars of the commonest length of the training pieces.
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
        return dict(zip(("model", "seed", "sample", "file"), self[:4], strict=True))


def read_generated(
    generated: str | os.PathLike[str],
    *,
    models: Sequence[str] = MODELS,
    seeds: Sequence[int] | None = None,
) -> list[Sample]:
    """Read what the model notebooks wrote to a folder, of these training seeds (all if not given).

    By model, seed and number. A shorter file is followed by silence (a MIDI file that ends with
    rests knows nothing of them), a longer one is cut; folders whose name is no number are no seeds.
    `FileNotFoundError` names the notebook that writes the pieces of a model that has none.
    """
    generated = Path(generated)
    samples: list[Sample] = []
    for model in models:
        runs = [f for f in _seeds(generated / model) if seeds is None or int(f.name) in seeds]
        found = [path for folder in runs for path in _numbered(folder.glob("*.mid"))]
        if not found:
            raise FileNotFoundError(
                f"{generated / model} holds no piece (<seed>/000.mid and on); run notebook "
                f"{_WRITERS.get(model, 'of this model')} first"
            )
        samples += [_generated(model, path, generated) for path in found]
    return samples


def _seeds(folder: Path) -> list[Path]:
    return _numbered(path for path in folder.glob("*") if path.is_dir() and not path.suffix)


def _numbered(paths: Iterable[Path]) -> list[Path]:
    """Return the paths whose name is a number (before its ending), by number."""
    found = [path for path in paths if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def _generated(model: str, path: Path, generated: Path) -> Sample:
    """Read one generated piece; its file is named from two folders above, where ``data`` lies."""
    file = Path("data", generated.name, path.relative_to(generated)).as_posix()
    midi = load_midi(path)
    roll = to_piano_roll(midi, length=PIECE_STEPS)
    bars = bars_at(*metre(midi, steps=PIECE_STEPS))
    return Sample(model, int(path.parent.name), int(path.stem), file, roll, bars)


def read_models(paths: Paths, *, seed: int, budget: Preset) -> tuple[list[Sample], dict[str, str]]:
    """Read the pieces to compare, and say of each model whether they are "this run" or "released".

    This run's training seeds are `seed` and as many as the budget trains. Of a model that it did
    not train, every released seed is read; a preset that trains nothing reads released models only,
    where there are any.
    """
    samples: list[Sample] = []
    whose: dict[str, str] = {}
    trains = budget.trainings or not paths.reads_released
    seeds = range(seed, seed + budget["seeds"]) if trains else ()
    for model in MODELS:
        own = any(int(folder.name) in seeds for folder in _seeds(paths.generated / model))
        if own or not paths.reads_released:
            whose[model] = "this run"
            samples += read_generated(paths.generated, models=[model], seeds=seeds)
        else:
            whose[model] = "released"
            samples += read_generated(paths.released / "data" / "generated", models=[model])
    return samples, whose


def first_pieces(samples: Iterable[Sample]) -> list[Sample]:
    """Return pieces 000 to 002 of each model's first training seed: the paper's three, unpicked."""
    samples = list(samples)
    chosen: list[Sample] = []
    for model in MODELS:
        own = [sample for sample in samples if sample.model == model]
        seed = min((sample.seed for sample in own), default=0)
        found = [sample for sample in own if sample.seed == seed and sample.sample < 3]
        if missing := sorted({0, 1, 2} - {sample.sample for sample in found}):
            raise FileNotFoundError(
                f"{model}: piece {missing[0]:03d} of seed {seed} is missing; run notebook "
                f"{_WRITERS[model]} first, with 3 pieces or more"
            )
        chosen += found
    return chosen


def real_samples(pieces: Iterable[Piece], split: pd.DataFrame) -> list[Sample]:
    """Return the beginnings of the held-out pieces that are long enough, in the corpus's order.

    `split` has the columns piece, group and split, as `splits` makes it; the side "test" is held
    out. `ValueError` if fewer than two are long enough.
    """
    held_out = _long(_side(pieces, split, "test"))
    if len(held_out) < 2:
        raise ValueError(
            f"pieces: {len(held_out)} of the test split have {PIECE_STEPS} steps or more; at least "
            "2 are needed to compare with, so give a larger corpus"
        )
    return [_beginning(piece, REAL, NO_SEED, i) for i, piece in enumerate(held_out)]


def training_pieces(pieces: Iterable[Piece], split: pd.DataFrame) -> list[Piece]:
    """Return the pieces of the training side, whole from the first bar that sounds."""
    found = _side(pieces, split, "train")
    if not found:
        raise ValueError("pieces: none belongs to the training side of the split")
    return found


def _side(pieces: Iterable[Piece], split: pd.DataFrame, side: str) -> list[Piece]:
    """Return the pieces of one side, each from the first bar that sounds."""
    names = set(split.loc[split["split"] == side, "piece"])
    return [from_first_bar(piece) for piece in pieces if piece.name in names]


def _long(pieces: Iterable[Piece]) -> list[Piece]:
    return [piece for piece in pieces if len(piece.roll) >= PIECE_STEPS]


def _beginning(piece: Piece, model: str, seed: int, sample: int) -> Sample:
    return Sample(model, seed, sample, piece.name, piece.roll[:PIECE_STEPS], _bars(piece))


def _bars(piece: Piece) -> Bars:
    """Return the bars of a piece's beginning."""
    return bars_at(piece.position[:PIECE_STEPS], piece.bar, piece.denominator)


def baseline_samples(training: Sequence[Piece], *, n: int, seed: int) -> list[Sample]:
    """Return n pieces of each of `BASELINES`, and n training pieces that are long enough.

    Fewer training pieces where there are fewer. Each set has a stream of draws of its own. A
    shuffled piece keeps the bars of the piece that it was dealt from.
    """
    rolls, long = [piece.roll for piece in training], _long(training)
    *streams, last = np.random.default_rng(seed).spawn(len(BASELINES) + 1)
    chosen = np.sort(last.permutation(len(long))[:n])
    samples = [_beginning(long[k], TRAINING, seed, i) for i, k in enumerate(chosen)]
    common = commonest_bars(training)
    for (name, make), rng in zip(BASELINES.items(), streams, strict=True):
        again = copy.deepcopy(rng)
        made, bars = make(rolls, n=n, rng=rng), [common] * n
        if make is shuffled_pieces:
            bars = [_bars(long[k]) for k in _draw(len(long), n, again)]
        both = zip(made, bars, strict=True)
        samples += [Sample(name, seed, i, "", *own) for i, own in enumerate(both)]
    return samples


def with_tunes(table: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the column tune: its file's group in the split, "" for none."""
    group = split.set_index("piece")["group"]
    return table.assign(tune=table["file"].map(group).fillna(""))


def one_of_each_tune(samples: Iterable[Sample], split: pd.DataFrame) -> list[Sample]:
    """Return the first real piece of each group of the split: no two are settings of one tune."""
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


# What a model notebook does with its pieces


def write_pieces(
    rolls: Sequence[np.ndarray],
    folder: str | os.PathLike[str],
    *,
    bars: Sequence[Bars] | None = None,
    keep: bool = False,
) -> pd.DataFrame:
    """Write generated pieces as ``NNN.mid``, in order, and say what is wrong with each.

    Such files of an earlier run are removed first; if `keep`, the pieces are only checked and the
    folder stays as it is. Columns sample, file, notes, flaws (empty, or what `check_piece` found).
    """
    folder, rows = Path(folder), []
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    if len(bars) != len(rolls):
        raise ValueError(f"bars: got those of {len(bars)} pieces for {len(rolls)} rolls")
    if not keep:
        for old in _numbered(folder.glob("*.mid")):
            old.unlink()
    for i, (roll, own) in enumerate(zip(rolls, bars, strict=True)):
        file = folder / f"{i:03d}.mid"
        if not keep:
            save_midi(to_midi(roll, tempo=TEMPO, **own._asdict()), file)
        flaws = "; ".join(check_piece(roll, **own.for_measures()))
        rows.append((i, file.name, int(roll[..., ONSET].sum()), flaws))
    return pd.DataFrame(rows, columns=["sample", "file", "notes", "flaws"])


def real_rolls(pieces: Iterable[Piece]) -> list[np.ndarray]:
    """Return the beginning of each piece that is long enough, from the first bar that sounds."""
    return [piece.roll[:PIECE_STEPS] for piece in _long(map(from_first_bar, pieces))]


def real_bars(pieces: Iterable[Piece]) -> list[Bars]:
    """Return the bars of each of the `real_rolls` of these pieces."""
    return [_bars(piece) for piece in _long(map(from_first_bar, pieces))]


def measure_table(rolls: Sequence[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.DataFrame:
    """Return every measure of the notes of each piece, one row per piece."""
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    rows = [measures(roll, **own.for_measures()) for roll, own in zip(rolls, bars, strict=True)]
    return pd.DataFrame(rows)


RANGED = ("polyphony", "scale_consistency", "silence", "pitch_range")
"""The measures whose range in real music a generated piece is to keep to."""

PERCENTILES = (0.01, 0.99)
"""What bounds the range; with few real pieces that is nearly their lowest to highest value."""


def typical_range(real: pd.DataFrame) -> pd.DataFrame:
    """Return the range of each measure, a column of real pieces: index measure; low, high, n."""
    low, high = (real.quantile(share) for share in PERCENTILES)
    return pd.DataFrame({"low": low, "high": high, "n": real.count()}).rename_axis("measure")


def within(values: pd.DataFrame, ranges: pd.DataFrame) -> pd.DataFrame:
    """Tell which values lie inside their measure's range; what is undefined (NaN) does not."""
    return (values >= ranges["low"]) & (values <= ranges["high"])


def inside_real(rolls: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> pd.DataFrame:
    """Tell which pieces lie inside the real pieces' range: each of `RANGED`, and ``all``."""
    ours, real = (measure_table(some)[list(RANGED)] for some in (rolls, reference))
    inside = within(ours, typical_range(real))
    return inside.assign(all=inside.all(axis=1))


# Weights ``<model>.weights.h5``, and beside them their card ``<model>.json``: model, corpus, hash
# of the split, codec, settings, budget, scores, and the SHA-256 of the weights.

_LARGEST = 4_096  # size that a card may name: units of a layer, or numbers of a latent


def _card_of(weights: str | os.PathLike[str]) -> Path:
    return Path(f"{os.fspath(weights).removesuffix('.weights.h5')}.json")


def save_weights(model: Any, weights: str | os.PathLike[str], card: Mapping[str, Any]) -> Path:
    """Write a Keras model's weights and their card, atomically, and return the card's path.

    Its optimizer's state, twice the size of the weights, is skipped.
    """
    _card_of(weights).unlink(missing_ok=True)  # so that a kill in between leaves none of another's
    with _without_optimizer(model), atomic_path(weights) as temporary:
        model.save_weights(temporary)
    return write_card(weights, card)


def write_card(weights: str | os.PathLike[str], card: Mapping[str, Any]) -> Path:
    """Write the card of weights that are already written, and return its path."""
    path = _card_of(weights)
    write_json({**card, "sha256": sha256_of(weights)}, path)
    return path


def load_weights(
    model: Any, weights: str | os.PathLike[str], expected: Mapping[str, Any]
) -> dict[str, Any]:
    """Load weights into a model if their card fits, and return the card; see `check_card`."""
    card = check_card(weights, expected)
    with _without_optimizer(model):
        model.load_weights(weights)
    return card


def check_card(weights: str | os.PathLike[str], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return a weights' card, and refuse weights that do not fit before they are loaded.

    `ValueError` when the file is not the one that the card names, or the card differs from
    `expected` (such as ``codec`` and ``settings``).
    """
    path = _card_of(weights)
    for file in (Path(weights), path):
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
    weights: str | os.PathLike[str], *names: str, corpus: str, seed: int, codec: Mapping[str, Any]
) -> dict[str, int]:
    """Return the sizes with which a model was trained, by `names` of its card's ``settings``.

    So a notebook that trains nothing builds the model that the weights are of, whatever the preset
    that trained it. `FileNotFoundError` has the command that trains them; `ValueError` when they
    are of another corpus or codec, or the card lacks a size.
    """
    path, name, command = _card_of(weights), corpus_name(corpus), "make study"
    command += "" if corpus in CORPORA else f' CORPUS="{corpus}"'
    command += f" SEED={seed}" if seed else ""
    train = f"train them with: {command}, or let output name the folder of a study that did"
    if not (Path(weights).is_file() and path.is_file()):
        raise FileNotFoundError(f"{weights}: there are no weights of {name}, seed {seed}; {train}")
    found = check_card(weights, {})
    if found.get("corpus") != name:
        raise ValueError(f"{weights} are weights of {found.get('corpus')}, not of {name}; {train}")
    check_card(weights, {"codec": codec})
    settings = found.get("settings")
    sizes = {k: settings.get(k) if isinstance(settings, dict) else None for k in names}
    for key, size in sizes.items():
        if type(size) is not int or not 1 <= size <= _LARGEST:
            raise ValueError(f"{path}: {key} is {size}, allowed is 1 to {_LARGEST:,}; {train}")
    return sizes


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
