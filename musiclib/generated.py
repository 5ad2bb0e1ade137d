"""What a model notebook leaves behind: pieces, checked, its weights' card, its costs.

Conventions: a piece is 128 steps (8 bars of 4/4, 24 s at 80 quarters a minute); files are named
``000.mid`` and on, in the order in which the model made them: nothing is picked, and a piece that
is flawed is written with its flaw reported. A file says in which metre its piece was made, and how
long the upbeat is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musiclib.baselines import PIECE_STEPS
from musiclib.corpus import Piece
from musiclib.files import atomic_path, sha256_of, write_json
from musiclib.midi import save_midi
from musiclib.music_metrics import check_piece, measures
from musiclib.pianoroll import to_midi
from musiclib.pieces import from_first_bar
from musiclib.roll_notes import COMMON_BARS, Bars, bars_at
from musiclib.study import CORPORA

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
        Measures of `musiclib.music_metrics.measures`.

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
