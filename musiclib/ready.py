"""Have a corpus ready, whichever notebook is opened first.

Conventions: what notebook 01 does step by step is done here in one call, into the same folders, and
nothing is done twice: files that did not change are not read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.chorales import export_chorales
from musiclib.corpus import load_corpus, pedal_asked, prepare_corpus
from musiclib.generated import PIECE_STEPS, corpus_name
from musiclib.pieces import Piece
from musiclib.rhythm import note_density
from musiclib.splits import (
    join_pairs,
    load_split,
    melody,
    save_split,
    split_by_group,
    tune_pairs,
)
from musiclib.study import Paths, corpus_folder
from musiclib.works import same_works

SPLIT_SEED = 0
"""Seed of the deal, whatever the study's: every training is judged on the same pieces."""


class Corpus(NamedTuple):
    """A corpus and who of it is for what.

    Attributes
    ----------
    name : str
        Its short name, which its folders have.
    pieces : list of Piece
    split : pd.DataFrame
        Columns piece, group, split, in the order of `pieces`.
    """

    name: str
    pieces: list[Piece]
    split: pd.DataFrame

    def side(self, side: str) -> list[Piece]:
        """Return the pieces of a side: ``train``, ``valid`` or ``test``."""
        names = set(self.split.loc[self.split["split"] == side, "piece"])
        return [piece for piece in self.pieces if piece.name in names]


def ready_corpus(corpus: str, paths: Paths, *, max_pieces: int) -> Corpus:
    """Return a corpus, prepared and split; what is missing of it is made.

    Parameters
    ----------
    corpus : str
        As `study.corpus_folder` takes it.
    paths : Paths
        The run's folders, which receive the prepared pieces and the split.
    max_pieces : int
        Pieces that are read at most.

    Raises
    ------
    FileNotFoundError, ValueError
        When there is no such corpus, or it cannot be split.
    """
    name, source = corpus_name(corpus), corpus_folder(corpus)
    if source is None:
        source = paths.data / "corpora" / name
        export_chorales(source, max_pieces=max_pieces)
    prepare_corpus(source, paths.prepared / name, max_files=max_pieces, sustain_pedal=pedal_asked())
    pieces = load_corpus(paths.prepared / name)
    return Corpus(name, pieces, _split(pieces, paths, name))


def deal(pieces: Sequence[Piece]) -> pd.DataFrame:
    """Deal pieces to training, validation and test by their tunes, as notebook 01 explains."""
    rolls = [piece.roll for piece in pieces]
    pairs = [*tune_pairs([melody(roll) for roll in rolls]), *same_works(rolls)]
    return split_by_group(
        [piece.name for piece in pieces],
        join_pairs(pairs, len(pieces)),
        order_by=np.array([note_density(roll) for roll in rolls]),
        seed=SPLIT_SEED,
        long_enough=np.array([len(roll) >= PIECE_STEPS for roll in rolls]),
    )


def _split(pieces: Sequence[Piece], paths: Paths, name: str) -> pd.DataFrame:
    """Return the split of these pieces, read where it is theirs, else made."""
    path = paths.data / "splits" / f"{name}.csv"
    if path.exists():
        split = load_split(path)
        if list(split["piece"]) == [piece.name for piece in pieces]:
            return split
    split = deal(pieces)
    save_split(split, path)
    return split
