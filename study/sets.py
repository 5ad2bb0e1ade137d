"""Gather the pieces that are compared, and keep what a model notebook leaves behind.

Conventions: a *piece* is a roll of 128 sixteenths (8 bars of 4/4; 24 s at 80 quarters per minute),
``uint8 (128, 88, 2)`` as in `musiclib.roll`. A *set* is all pieces of one origin. `seed` is the
training seed of a model's piece, the drawing seed of a baseline's, and -1 for real music. `sample`
counts from 0 within a set and seed. A generated piece is the file
``<model>/<kind>/<seed>/NNN.mid``, in the order in which the model wrote them: nothing is picked.
`kind` is "plain" (the model as the paper's text says it) or "refined", and "" for other music.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pretty_midi import PrettyMIDI

from musiclib.codec import commonest_bars
from musiclib.files import atomic_path, sha256_of, write_json
from musiclib.measures import check_piece, measures
from musiclib.midi import load_midi, save_midi
from musiclib.piece import Piece, metre, to_common_key, trim_leading_rests
from musiclib.roll import (
    COMMON_BARS,
    ONSET,
    STEPS_PER_BAR,
    STEPS_PER_QUARTER,
    SUSTAIN,
    Bars,
    bars_at,
    draw_roll,
    note_list,
    require_piece,
    to_midi,
    to_piano_roll,
)
from study.run import CHECKOUT, CORPORA, Paths, Preset
from study.stats import MODELS, Rng

PIECE_STEPS = 8 * STEPS_PER_BAR
TEMPO = 80.0  # quarter notes per minute of every generated file and of every rendering
LONGEST_RANDOM_NOTE = 8  # steps: with lengths from 1, about as long as real ones on average

AnyPath = str | os.PathLike[str]
Rolls = Iterable[np.ndarray]

# Music without a model: what any trained model must beat. The same rolls and the same state of the
# generator give the same pieces, uint8 (n, steps, 88, 2).


def markov_pieces(training: Rolls, *, n: int, rng: Rng, steps: int = PIECE_STEPS) -> np.ndarray:
    """Return pieces drawn from a first-order Markov chain over the training rolls' chords.

    A state is a chord as it is struck, x = (onsets, sounding keys), which stands until either
    changes. From x the chain goes to (d, y), its length and the chord after it, with their relative
    frequency, unsmoothed; it starts, also after a chord that only ended rolls, with a roll's first.
    """
    firsts, following = [], defaultdict(list)
    for roll in _require_training(training, n, steps):
        changed = (roll[1:, :, SUSTAIN] != roll[:-1, :, SUSTAIN]).any(axis=1)
        new = roll[1:, :, ONSET].any(axis=1) | changed
        starts = np.append(0, np.flatnonzero(new) + 1)
        chords = [roll[i].tobytes() for i in starts]
        lengths = np.diff(np.append(starts, len(roll))).tolist()
        firsts.append(chords[0])
        for before, length, after in zip(chords, lengths, chords[1:], strict=False):
            following[before].append((length, after))
    return np.stack([_walk(firsts, following, steps, rng) for _ in range(n)])


def _walk(firsts: list, following: Mapping, steps: int, rng: Rng) -> np.ndarray:
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
    struck = np.frombuffer(b"".join(chords), np.uint8).reshape(len(chords), -1, 2)
    roll = np.repeat(struck, lengths, axis=0)
    roll[..., ONSET] = np.diff(roll[..., SUSTAIN], axis=0, prepend=np.uint8(0)) == 1
    roll[np.cumsum([0, *lengths[:-1]]), :, ONSET] |= struck[..., ONSET]
    return roll[:steps]


def shuffled_pieces(training: Rolls, *, n: int, rng: Rng, steps: int = PIECE_STEPS) -> np.ndarray:
    """Return the beginnings of training rolls, with their pitches dealt out among their notes.

    Each roll that is long enough serves before one serves twice. Which note has which pitch is a
    uniform permutation; where notes of one pitch meet, a few are lost.
    """
    rolls = _require_training(training, n, steps, shortest=steps)
    drawn = [note_list(rolls[i][:steps]) for i in _draw(len(rolls), n, rng)]
    dealt = [(notes.start, rng.permutation(notes.key), notes.length) for notes in drawn]
    return np.stack([draw_roll(*notes, steps=steps) for notes in dealt])


def random_pieces(training: Rolls, *, n: int, rng: Rng, steps: int = PIECE_STEPS) -> np.ndarray:
    """Return pieces of uniformly random notes, each with as many as a training roll's beginning.

    Our choice: key uniform over the compass of the rolls that are long enough, start over the
    steps, length over 1 to `LONGEST_RANDOM_NOTE`.
    """
    rolls = _require_training(training, n, steps, shortest=steps)
    compass = np.flatnonzero(np.any([roll[..., SUSTAIN].any(axis=0) for roll in rolls], axis=0))
    if not compass.size:
        raise ValueError("training holds no note")
    pieces = []
    for index in _draw(len(rolls), n, rng):
        count = len(note_list(rolls[index][:steps]).start)
        start = rng.integers(steps, size=count)
        key = rng.integers(compass[0], compass[-1] + 1, size=count)
        length = rng.integers(1, LONGEST_RANDOM_NOTE + 1, size=count)
        pieces.append(draw_roll(start, key, length, steps=steps))
    return np.stack(pieces)


# Controls: real music with one thing undone that marginal features do not see. They take whole
# training pieces, and return rolls of `PIECE_STEPS` with their bars; none if the corpus cannot.
Made = list[tuple[np.ndarray, Bars]]


def backwards_pieces(training: Sequence[Piece], *, n: int, rng: Rng) -> Made:
    """Return the beginnings of training pieces reversed in time, bar lines too.

    Each note keeps its length, and starts where it ended. Drawn as in `shuffled_pieces`.
    """
    long, made = _long(training), []
    for index in _draw(len(long), n, rng) if long else ():
        start, key, length = note_list(long[index].roll[:PIECE_STEPS])
        bars = _bars(long[index])
        upbeat = (PIECE_STEPS - bars.upbeat) % bars.steps_per_bar
        roll = draw_roll(PIECE_STEPS - start - length, key, length, steps=PIECE_STEPS)
        made.append((roll, bars._replace(upbeat=upbeat)))
    return made


def collage_of_bars(training: Sequence[Piece], *, n: int, rng: Rng) -> Made:
    """Return pieces of single bars (8 of 4/4), each from another training piece, in its own key."""
    return _collages(training, n, rng, lambda bar: 1)


def collage_of_phrases(training: Sequence[Piece], *, n: int, rng: Rng) -> Made:
    """Return pieces of two cuts of whole bars (4 of 4/4), from two training pieces."""
    return _collages(training, n, rng, lambda bar: -(-PIECE_STEPS // (2 * bar)))


def _collages(training: Sequence[Piece], n: int, rng: Rng, bars_each: Callable[[int], int]) -> Made:
    """Return pieces of cuts that begin on bar lines of different pieces of one time signature.

    The signature is that of a piece drawn uniformly; one with too few pieces is never drawn.
    """
    cuts = defaultdict(list)
    for piece in training:
        steps = bars_each(piece.bar) * piece.bar
        whole, lines = np.arange(steps) % piece.bar, np.flatnonzero(piece.position == 0).tolist()
        if starts := [i for i in lines if np.array_equal(piece.position[i : i + steps], whole)]:
            cuts[piece.bar, piece.denominator, steps].append((piece.roll, starts))
    parts = {signature: -(-PIECE_STEPS // signature[2]) for signature in cuts}
    able = [s for s, sources in cuts.items() for _ in sources if len(sources) >= max(parts[s], 2)]
    made = []
    for _ in range(n if able else 0):
        bar, denominator, steps = signature = able[rng.integers(len(able))]
        sources = cuts[signature]
        drawn = [sources[i] for i in rng.permutation(len(sources))[: parts[signature]]]
        places = [(roll, starts[rng.integers(len(starts))]) for roll, starts in drawn]
        roll = np.concatenate([roll[at : at + steps] for roll, at in places])
        roll[::steps, :, ONSET] = roll[::steps, :, SUSTAIN]  # what sounds at a cut starts there
        made.append((roll[:PIECE_STEPS], Bars(bar, 0, denominator)))
    return made


def markov_in_common_key(training: Sequence[Piece], *, n: int, rng: Rng) -> Made:
    """Return `markov_pieces` of training pieces moved to one key, as the models see them.

    Each is moved back by the shift of a training piece drawn uniformly.
    """
    made, bars = [], commonest_bars(training)
    for roll in markov_pieces([to_common_key(piece) for piece in training], n=n, rng=rng):
        piece = training[rng.integers(len(training))]
        made.append((to_common_key(replace(piece, roll=roll, shift=-piece.shift)), bars))
    return made


def _draw(size: int, n: int, rng: Rng) -> np.ndarray:
    orders = [rng.permutation(size) for _ in range(-(-n // size))]
    return np.concatenate(orders)[:n]


def _require_training(training: Rolls, n: int, steps: int, *, shortest: int = 1) -> list:
    for name, value in (("n", n), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    rolls = [require_piece(roll, name=f"training[{i}]") for i, roll in enumerate(training)]
    if not rolls:
        raise ValueError("training must hold at least one roll; got none")
    if not (kept := [roll for roll in rolls if len(roll) >= shortest]):
        longest = max(map(len, rolls))
        raise ValueError(f"training has no roll of {shortest} steps; the longest has {longest}")
    return kept


REAL = "real"  # held-out real music: what every set is compared with
PLAIN, REFINED = "plain", "refined"  # the kinds of a model
TRAINING = "training"  # real music that the models saw: how near `REAL` real music comes
BASELINES = {"markov": markov_pieces, "shuffled": shuffled_pieces, "random": random_pieces}
CONTROLS = {  # what a ruler that hears music must find far from it; absent where a corpus has none
    "backwards": backwards_pieces,
    "collage_bars": collage_of_bars,
    "collage_phrases": collage_of_phrases,
    "markov_common_key": markov_in_common_key,
}
VARIANTS = {  # sets by the model that wrote them, and the kind under which they lie
    "lstm_reset": ("lstm", "reset"), "lstm_temperature_1": ("lstm", "temperature_1"),
    "vae_temperature_1": ("vae", "temperature_1"), "gan_no_helps": ("gan", "no_helps"),
    "vae_standard_normal": ("vae", "standard_normal"),
}  # fmt: skip
RUNGS = {  # from the plain to the refined model, one change at a time: kinds, and what each adds
    "lstm": {
        PLAIN: "88 switches, each on its own",
        "independent_keys": "onsets, metre, common key; keys still on their own",
        "joint_keys": "each key knows those above it",
        "temperature_1": "four voices, drawn one after the other",
        REFINED: "temperature and top-p",
    },
    "gan": {
        PLAIN: "a picture, and a discriminator's cross-entropy",
        "wasserstein": "a critic: Wasserstein loss with gradient penalty",
        "no_helps": "four voices, and an onset gate",
        "ears": "a critic with ears for chords and steps",
        REFINED: "the odds of a step",
    },
    "vae": {
        PLAIN: "a picture, its keys on their own, drawn from N(0, I)",
        "recurrent_decoder": "a decoder that hears its last step; voices on their own",
        "joint_voices": "each voice knows those before it",
        "temperature_1": "a learned prior in place of N(0, I)",
        REFINED: "temperature and top-p",
    },
}
IN_VOICES = ("temperature_1", "no_helps", "ears", "recurrent_decoder", "joint_voices", REFINED)
NO_SEED = -1  # of a piece that no training run and no draw made
_WRITERS = {"lstm": "02 (LSTM)", "gan": "03 (GAN)", "vae": "04 (VAE)"}


class Sample(NamedTuple):
    """Hold one piece; `file` is a generated piece's file, a real one's name, or "" (a baseline)."""

    model: str
    seed: int
    sample: int
    file: str
    roll: np.ndarray
    bars: Bars = COMMON_BARS
    kind: str = ""

    @property
    def keys(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("model", "kind", *self._fields[1:4])}


def read_generated(
    generated: AnyPath, *, models: Sequence[str] = MODELS, kind: str = REFINED,
    seeds: Sequence[int] | None = None,
) -> list[Sample]:  # fmt: skip
    """Read what the model notebooks wrote, for these seeds or all, as long as `PIECE_STEPS`."""
    generated, samples = Path(generated), []
    for model in models:
        folders = _seeds(generated / model / kind)
        runs = [f for f in folders if seeds is None or int(f.name) in seeds]
        found = [path for folder in runs for path in _numbered(folder.glob("*.mid"))]
        if not found:
            missing = f"{generated / model / kind} holds no piece (<seed>/000.mid and on)"
            raise FileNotFoundError(f"{missing}; run notebook {_WRITERS[model]} first")
        for path in found:
            midi = load_midi(path)
            file = Path("data", generated.name, path.relative_to(generated)).as_posix()
            roll = to_piano_roll(midi, length=PIECE_STEPS)
            bars = bars_at(*metre(midi, steps=PIECE_STEPS))
            seed, sample = int(path.parent.name), int(path.stem)
            samples.append(Sample(model, seed, sample, file, roll, bars, kind))
    return samples


def _seeds(folder: Path) -> list[Path]:
    return _numbered(path for path in folder.glob("*") if path.is_dir() and not path.suffix)


def _numbered(paths: Iterable[Path]) -> list[Path]:
    found = [path for path in paths if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def read_models(
    paths: Paths, *, kind: str, seed: int, budget: Preset
) -> tuple[list[Sample], dict[str, str]]:
    """Read the pieces to compare, and say whether each model's are "this run" or "released"."""
    samples, whose = [], {}
    trains = budget.trainings or not paths.reads_released
    seeds = range(seed, seed + budget["seeds"]) if trains else ()
    for model in MODELS:
        folders = _seeds(paths.generated / model / kind)
        own = any(int(folder.name) in seeds for folder in folders) or not paths.reads_released
        folder = paths.generated if own else paths.released / "data" / "generated"
        whose[model] = "this run" if own else "released"
        samples += read_generated(folder, models=[model], kind=kind, seeds=seeds if own else None)
    return samples, whose


def read_variants(paths: Paths) -> list[Sample]:
    """Read what refined models wrote with something taken from them, as far as it is there."""
    found = []
    for name, (model, kind) in VARIANTS.items():
        folder = paths.find(paths.generated / model / kind)
        if folder.is_dir():
            read = read_generated(folder.parents[1], models=[model], kind=kind)
            found += [sample._replace(model=name, kind="") for sample in read]
    return found


def released_piece(model: str, kind: str, *, seed: int = 0, sample: int = 0) -> PrettyMIDI:
    """Return a released piece, to be heard: 000 of seed 0 is the first that the model wrote."""
    return load_midi(CHECKOUT / "data/generated" / model / kind / str(seed) / f"{sample:03d}.mid")


def first_pieces(samples: Iterable[Sample]) -> list[Sample]:
    """Return pieces 000 to 002 of each model's first training seed: the paper's three, unpicked."""
    known = {sample[:3]: sample for sample in samples}
    chosen: list[Sample] = []
    for model in MODELS:
        seed = min((seed for name, seed, _ in known if name == model), default=0)
        for i in range(3):
            if (model, seed, i) not in known:
                missing = f"{model}: piece {i:03d} of seed {seed} is missing; run notebook"
                raise FileNotFoundError(f"{missing} {_WRITERS[model]} first, with 3 pieces or more")
            chosen.append(known[model, seed, i])
    return chosen


def real_samples(
    pieces: Iterable[Piece], split: pd.DataFrame, *, side: str = "test"
) -> list[Sample]:
    """Return the beginnings of the held-out pieces that are long enough, in the corpus's order."""
    held_out = _long(_side(pieces, split, side))
    if len(held_out) < 2:
        found = f"pieces: {len(held_out)} of the {side} split have {PIECE_STEPS} steps or more"
        raise ValueError(f"{found}; at least 2 are needed to compare with, so give a larger corpus")
    return [_beginning(piece, REAL, NO_SEED, i) for i, piece in enumerate(held_out)]


def training_pieces(pieces: Iterable[Piece], split: pd.DataFrame) -> list[Piece]:
    """Return the pieces of the training side, whole from the first bar that sounds."""
    if found := _side(pieces, split, "train"):
        return found
    raise ValueError("pieces: none belongs to the training side of the split")


def _side(pieces: Iterable[Piece], split: pd.DataFrame, side: str) -> list[Piece]:
    names = set(split.loc[split["split"] == side, "piece"])
    return [trim_leading_rests(piece) for piece in pieces if piece.name in names]


def _long(pieces: Iterable[Piece]) -> list[Piece]:
    return [piece for piece in pieces if len(piece.roll) >= PIECE_STEPS]


def _beginning(piece: Piece, model: str, seed: int, sample: int) -> Sample:
    return Sample(model, seed, sample, piece.name, piece.roll[:PIECE_STEPS], _bars(piece))


def _bars(piece: Piece) -> Bars:
    return bars_at(piece.position[:PIECE_STEPS], piece.bar, piece.denominator)


def baseline_samples(training: Sequence[Piece], *, n: int, seed: int) -> list[Sample]:
    """Return n pieces of each of `BASELINES` and of `CONTROLS` (or none, where they cannot be).

    Before them stand n training pieces, or all that are long enough.
    """
    rolls, long = [piece.roll for piece in training], _long(training)
    streams = np.random.default_rng(seed).spawn(len(BASELINES) + 1 + len(CONTROLS))
    last, later = streams[len(BASELINES)], streams[len(BASELINES) + 1 :]
    chosen = np.sort(last.permutation(len(long))[:n])
    samples = [_beginning(long[k], TRAINING, seed, i) for i, k in enumerate(chosen)]
    for (name, make), rng in zip(BASELINES.items(), streams, strict=False):
        again = copy.deepcopy(rng)
        made, bars = make(rolls, n=n, rng=rng), [commonest_bars(training)] * n
        if make is shuffled_pieces:
            bars = [_bars(long[k]) for k in _draw(len(long), n, again)]
        samples += [Sample(name, seed, i, "", roll, bars[i]) for i, roll in enumerate(made)]
    for (name, control), rng in zip(CONTROLS.items(), later, strict=True):
        made = control(training, n=n, rng=rng)
        samples += [Sample(name, seed, i, "", *one) for i, one in enumerate(made)]
    return samples


def with_tunes(table: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the column tune: its file's group in the split, "" for none."""
    group = split.set_index("piece")["group"]
    return table.assign(tune=table["file"].map(group).fillna(""))


def one_of_each_tune(samples: Iterable[Sample], split: pd.DataFrame) -> list[Sample]:
    """Return the first real piece of each group of the split: no two are settings of one tune."""
    group = split.set_index("piece")["group"]
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(group[sample.file], sample)
    return list(first.values())


def rolls_by_set(samples: Iterable[Sample]) -> dict[str, dict[int, list[np.ndarray]]]:
    """Return the rolls of each set and seed, in the order met."""
    found = {}
    for sample in samples:
        found.setdefault(sample.model, {}).setdefault(sample.seed, []).append(sample.roll)
    return found


def write_pieces(
    rolls: list[np.ndarray], folder: AnyPath, *, bars: list[Bars] | None = None, keep: bool = False
) -> pd.DataFrame:
    """Write generated pieces as ``NNN.mid`` in place of an earlier run's, and say what is wrong.

    If `keep`, they are only checked. Columns sample, file, notes, flaws (of `check_piece`; or "").
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
    return [piece.roll[:PIECE_STEPS] for piece in _long(map(trim_leading_rests, pieces))]


def real_bars(pieces: Iterable[Piece]) -> list[Bars]:
    """Return the bars of each of the `real_rolls` of these pieces."""
    return [_bars(piece) for piece in _long(map(trim_leading_rests, pieces))]


def measure_table(rolls: Sequence[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.DataFrame:
    """Return every measure of the notes of each piece, one row per piece."""
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    rows = [measures(roll, **own.for_measures()) for roll, own in zip(rolls, bars, strict=True)]
    return pd.DataFrame(rows)


# The measures whose range in real music a generated piece is to keep to, and the quantiles that
# bound the range; with few real pieces that is nearly their lowest to highest value.
RANGED = ("polyphony", "scale_consistency", "silence", "pitch_range")
PERCENTILES = (0.01, 0.99)


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
Card = Mapping[str, Any]
_LARGEST = 4_096  # size that a card may name: units of a layer, or numbers of a latent


def _card_of(weights: AnyPath) -> Path:
    return Path(f"{os.fspath(weights).removesuffix('.weights.h5')}.json")


def save_weights(model: Any, weights: AnyPath, card: Card) -> Path:
    """Write a Keras model's weights, without its optimizer's state; return their card's path."""
    _card_of(weights).unlink(missing_ok=True)  # so that a kill in between leaves none of another's
    with _without_optimizer(model), atomic_path(weights) as temporary:
        model.save_weights(temporary)
    return write_card(weights, card)


def write_card(weights: AnyPath, card: Card) -> Path:
    """Write the card of weights that are already written, and return its path."""
    path = _card_of(weights)
    write_json({**card, "sha256": sha256_of(weights)}, path)
    return path


def load_weights(model: Any, weights: AnyPath, expected: Card) -> dict[str, Any]:
    """Load weights into a model if their card fits, and return the card."""
    card = check_card(weights, expected)
    with _without_optimizer(model):
        model.load_weights(weights)
    return card


def check_card(weights: AnyPath, expected: Card) -> dict[str, Any]:
    """Return a weights' card; refuse weights that it does not name or that are not as expected."""
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
    weights: AnyPath, *names: str, corpus: str, seed: int, codec: Mapping[str, Any]
) -> dict[str, int]:
    """Return the sizes of trained weights by `names` of their card, or say what trains them."""
    path, name = _card_of(weights), corpus_name(corpus)
    command = "make study" + ("" if corpus in CORPORA else f' CORPUS="{corpus}"')
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
    """Return a corpus's short name; a user's folder called like one of ours gets ``_folder``."""
    if corpus in CORPORA:
        return corpus
    name = re.sub(r"[^a-z0-9_]+", "_", Path(corpus).name.lower()).strip("_") or "corpus"
    return f"{name}_folder" if name in CORPORA else name
