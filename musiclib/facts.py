"""The facts of a corpus, computed: what data/README.md quotes and notebook 01 prints.

Conventions: a table of two columns, fact and value, in words that need no legend.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from musiclib.pianoroll import LOWEST_PITCH, ONSET, STEPS_PER_QUARTER
from musiclib.pieces import Piece
from musiclib.pitch import pitch_name
from musiclib.preparing import HELD
from musiclib.splits import SPLITS

MOSTLY = 0.5
"""Share of a piece's notes off the grid, or of such pieces in a corpus, from which it is free."""


def corpus_facts(
    pieces: Sequence[Piece], report: pd.DataFrame, split: pd.DataFrame, *, piece_steps: int = 128
) -> pd.DataFrame:
    """Count what a corpus is.

    Parameters
    ----------
    pieces : sequence of Piece
        As `corpus.load_corpus` gives them.
    report : pd.DataFrame
        As `corpus.prepare_corpus` gives it.
    split : pd.DataFrame
        Of the same pieces, in the same order.
    piece_steps : int
        Steps of a piece for comparison: how many are long enough is counted.

    Returns
    -------
    pd.DataFrame
        Columns fact and value (text).

    Raises
    ------
    ValueError
        When `split` does not list the same pieces.
    """
    if list(split["piece"]) != [piece.name for piece in pieces]:
        raise ValueError("split must list the same pieces in the same order")
    facts = {
        "pieces": len(pieces),
        "files refused or skipped": int((report["status"] != "converted").sum()),
        **_split_facts(pieces, split, piece_steps),
        **_music_facts(pieces),
        **_loss_facts(report),
        "SHA-256 of the corpus": corpus_hash(report),
    }
    rows = [(fact, f"{v:,}" if isinstance(v, int) else v) for fact, v in facts.items()]
    return pd.DataFrame(rows, columns=["fact", "value"])


def corpus_hash(report: pd.DataFrame) -> str:
    """Return one SHA-256 of all converted files: of their own hashes, sorted, a line each."""
    digests: Iterable[str] = report.loc[report["status"] == "converted", "sha256"]
    return hashlib.sha256("".join(f"{d}\n" for d in sorted(digests)).encode()).hexdigest()


def pedal_sentence(report: pd.DataFrame) -> str:
    """Say in how many pieces the sustain pedal lengthens notes, and what was done about it."""
    pedal = report.loc[report["status"] == "converted", "pedal"]
    used = int((pedal != "").sum())
    done = "held" if (pedal == HELD).any() else "released early, as the keys are"
    said = f"sustain pedal: lengthens notes in {used} of {len(pedal)} pieces"
    return f"{said}; notes are {done}" if used else said


def leak_sentence(share: float, report: pd.DataFrame) -> str:
    """Say which share of the test pieces has a tune seen in training, as far as that is known.

    Parameters
    ----------
    share : float
        0 to 1, as the groups have it.
    report : pd.DataFrame
        As `corpus.prepare_corpus` gives it.

    Returns
    -------
    str
        With "unknown" for pieces in which most notes begin off the grid: a tune shared with
        another may not have been found there.
    """
    free = report.loc[report["status"] == "converted", "free"] > MOSTLY
    known = f"{100 * share:.0f} %"
    if not free.any():
        return known
    unknown = f"unknown for {int(free.sum())} of {len(free)} pieces, as most of their notes begin "
    unknown += "off the grid, where a shared tune may be missed"
    return unknown if free.mean() >= MOSTLY else f"{known}, but {unknown}"


def _split_facts(
    pieces: Sequence[Piece], split: pd.DataFrame, piece_steps: int
) -> dict[str, int | str]:
    long_enough = pd.Series([len(piece.roll) >= piece_steps for piece in pieces])
    shared = split["group"].duplicated(keep=False)
    by_side = [(split["split"] == side).to_numpy() for side in SPLITS]
    long_by_side = [str(int((long_enough & side).sum())) for side in by_side]
    return {
        "tunes": int(split["group"].nunique()),
        "pieces that share their tune": int(shared.sum()),
        "training, validation, test pieces": ", ".join(str(int(side.sum())) for side in by_side),
        f"pieces of {piece_steps} steps and over": int(long_enough.sum()),
        "of these in training, validation, test": ", ".join(long_by_side),
    }


def _music_facts(pieces: Sequence[Piece]) -> dict[str, int | str]:
    quarters = np.array([len(piece.roll) for piece in pieces]) / STEPS_PER_QUARTER
    bars = Counter(f"{piece.bar / STEPS_PER_QUARTER:g} quarters: {{}}" for piece in pieces)
    used = np.flatnonzero(np.any([piece.roll.any(axis=(0, 2)) for piece in pieces], axis=0))
    low, high = (pitch_name(int(key) + LOWEST_PITCH) for key in (used[0], used[-1]))
    lengths = (quarters.min(), np.median(quarters), quarters.max())
    return {
        "pieces by length of the bar": ", ".join(k.format(n) for k, n in bars.most_common()),
        "pieces that begin with an upbeat": sum(bool(p.position[0]) for p in pieces),
        "shortest, median, longest piece (quarters)": ", ".join(f"{x:g}" for x in lengths),
        "notes": int(sum(int(piece.roll[..., ONSET].sum()) for piece in pieces)),
        "lowest and highest pitch": f"{low}, {high}",
        "pieces already in C major or A minor": sum(piece.shift == 0 for piece in pieces),
    }


def _loss_facts(report: pd.DataFrame) -> dict[str, str]:
    done = report[report["status"] == "converted"]
    moved, merged = (np.average(done[c], weights=done["notes"]) for c in ("off_grid", "merged"))
    return {
        "notes that the grid moved (%)": f"{100 * moved:.3f}",
        "notes merged with a unison (%)": f"{100 * merged:.2f}",
        "pieces with a note that the grid moved": str(int((done["off_grid"] > 0).sum())),
    }
