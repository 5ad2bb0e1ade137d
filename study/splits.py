"""Training, validation and test pieces: grouped by tune and work, dealt evenly, kept as files.

Conventions: a split is a table with the columns piece, group (name of the group's first piece) and
split (``train``, ``valid``, ``test``). Pieces that share a tune have one group, and a group stands
on one side only. Pairs of pieces are indices i < j. Works are compared as keys in the order in
which they are struck, chords from the lowest key up: no time enters, so tempo and half or double
note values make no difference, nor does the key.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.files import write_csv
from musiclib.measures import note_density, pitch_name
from musiclib.piece import Piece
from musiclib.prepare import HELD, load_corpus, pedal_asked, prepare_corpus
from musiclib.roll import LOWEST_PITCH, N_KEYS, ONSET, STEPS_PER_QUARTER, SUSTAIN, roll_to_notes
from study.chorales import export_chorales
from study.run import Paths, corpus_folder
from study.sets import PIECE_STEPS, corpus_name

SPLITS = ("train", "valid", "test")
DEAL = ("train",) * 14 + ("valid",) * 2 + ("test",) * 4
"""How each run of 20 like groups is dealt: 70 %, 10 %, 20 %."""
NGRAM = 7
SHARED = 0.2
INCIPIT = 7
MIN_PIECES = 10
FEWEST_LONG = 2
"""Pieces of each side that are long enough to be compared: a spread needs two."""


def melody(roll: np.ndarray) -> np.ndarray:
    """Return the top sounding key at each quarter note, without rests: shape (M,), int64."""
    beats = roll[::STEPS_PER_QUARTER, :, SUSTAIN].astype(bool)
    beats = beats[beats.any(axis=1)]
    return 87 - np.argmax(beats[:, ::-1], axis=1)


def tune_pairs(melodies: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """List the pairs of pieces that share a tune, whatever their key, from their `melody`.

    Our choice, meant to err towards grouping too much: two pieces share a tune when at least 20 %
    of the shorter one's distinct runs of 7 melodic intervals occur in the other, or when their
    first 7 intervals agree; a melody of fewer intervals agrees with its equals. No interval, or
    eight times the same note, is no tune. The rule goes by the beat; `same_works` finds what is
    played in another tempo than its file says.
    """
    intervals = [tuple(np.diff(m).tolist()) for m in melodies]
    runs = [
        {v[i : i + NGRAM] for i in range(max(len(v) - NGRAM, 0) + 1)} - {(), (0,) * NGRAM}
        for v in intervals
    ]
    holders: dict[tuple, list[int]] = defaultdict(list)
    shared: Counter[tuple[int, int]] = Counter()
    for i, mine in enumerate(runs):
        for run in sorted(mine):
            shared.update((j, i) for j in holders[run])
            holders[run].append(i)
    return sorted(
        (i, j)
        for (i, j), count in shared.items()
        if intervals[i][:INCIPIT] == intervals[j][:INCIPIT]
        or count >= SHARED * min(len(runs[i]), len(runs[j]))
    )


def join_pairs(pairs: Iterable[tuple[int, int]], n: int) -> np.ndarray:
    """Group n pieces so that those of each pair are together (single linkage).

    Return the index of the first piece of each piece's group, shape (n,), int64.
    """
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    return np.array([root(i) for i in range(n)], np.int64)


def tune_groups(melodies: Sequence[np.ndarray]) -> np.ndarray:
    """Group pieces that share a tune: `tune_pairs`, joined by `join_pairs`."""
    return join_pairs(tune_pairs(melodies), len(melodies))


def split_by_group(
    names: Sequence[str],
    groups: np.ndarray,
    *,
    order_by: np.ndarray,
    seed: int = 0,
    long_enough: np.ndarray | None = None,
) -> pd.DataFrame:
    """Deal groups of pieces to training, validation and test; rows in the order of `names`.

    Pieces of equal `groups` (N,) stay together. `order_by` (N,) is a property that the three sides
    shall share, such as note density; `long_enough` (N,) marks pieces that can be compared with
    generated ones: each side receives at least two, of two tunes where six tunes have one.

    Our choice, as the paper states no split: groups are sorted by their size and their mean of
    `order_by`, and each run of 20 neighbours is dealt 14 / 2 / 4 at random. Where that leaves less
    than half of the pieces for training, the largest groups go there instead, the next to test. A
    side that lacks long pieces takes the smallest group that has one from the side with the most of
    them. A ValueError gives the counts where that cannot be met (at least 10 pieces and 3 groups).
    """
    if len(set(names)) != len(names):
        raise ValueError("names must be unique to be split")
    unique = np.unique(groups)
    if len(names) < MIN_PIECES or len(unique) < len(SPLITS):
        raise ValueError(
            f"{len(names)} pieces of {len(unique)} different tunes are too few to split into "
            f"training, validation and test; give at least {MIN_PIECES} pieces of "
            f"{len(SPLITS)} tunes"
        )
    size = {g: min(int((groups == g).sum()), 4) for g in unique}
    value = {g: float(np.mean(order_by[groups == g])) for g in unique}
    ordered = sorted(unique, key=lambda g: (size[g], value[g], g))
    rng, dealt = np.random.default_rng(seed), {}
    for start in range(0, len(ordered), len(DEAL)):
        run = ordered[start : start + len(DEAL)]
        for group, side in zip(run, _deal(len(run), rng), strict=True):
            dealt[group] = side
    pieces = Counter(groups.tolist())
    if sum(pieces[g] for g, side in dealt.items() if side == "train") < len(names) / 2:
        large = sorted(unique, key=lambda g: (-pieces[g], g))
        sides = sorted(dealt.values(), key=("train", "test", "valid").index)
        dealt = dict(zip(large, sides, strict=True))
    if long_enough is not None:
        long_of = {g: int(long_enough[groups == g].sum()) for g in unique}
        _require_long_enough(long_of, len(names))
        if sum(n > 0 for n in long_of.values()) >= FEWEST_LONG * len(SPLITS):
            long_of = {g: min(n, 1) for g, n in long_of.items()}  # there are tunes enough
        _spread_long(dealt, long_of, sorted(unique, key=lambda g: (pieces[g], value[g], g)))
    first = {g: names[int(np.flatnonzero(groups == g)[0])] for g in unique}
    rows = [(n, first[g], dealt[g]) for n, g in zip(names, groups, strict=True)]
    return pd.DataFrame(rows, columns=["piece", "group", "split"])


def _deal(n: int, rng: np.random.Generator) -> list[str]:
    """Return the sides of n neighbours, drawn evenly from `DEAL` and shuffled; all 3 if n > 2."""
    sides = [DEAL[int((i + 0.5) * len(DEAL) / n)] for i in range(n)]
    if n >= len(SPLITS) and "valid" not in sides:
        sides[sides.index("test") - 1] = "valid"
    return [sides[i] for i in rng.permutation(n)]


def _require_long_enough(long_of: Mapping[int, int], n_pieces: int) -> None:
    """Raise a ValueError unless each side can have two long pieces without cutting a group.

    Any group with two of them will do for a side, and so will two groups with one each.
    """
    alone = sum(n >= FEWEST_LONG for n in long_of.values())
    ones = sum(n == 1 for n in long_of.values())
    if alone + ones // FEWEST_LONG >= len(SPLITS):
        return
    raise ValueError(
        f"{sum(long_of.values())} of {n_pieces} pieces, of {alone + ones} different tunes, have 8 "
        f"bars of 4/4 (128 steps) or more; a study needs {FEWEST_LONG} such pieces each for "
        "training, validation and test, and no tune on two sides, so give longer pieces or more "
        "tunes"
    )


def _spread_long(dealt: dict[int, str], long_of: Mapping[int, int], order: Sequence[int]) -> None:
    """Move groups, the first of the order that will do, until each side has two long pieces."""
    for side in SPLITS[::-1]:
        while (have := _long_by_side(dealt, long_of))[side] < FEWEST_LONG:
            donors = [
                g
                for g in order
                if dealt[g] != side and 0 < long_of[g] <= have[dealt[g]] - FEWEST_LONG
            ]
            most = max(have[dealt[g]] for g in donors)
            dealt[next(g for g in donors if have[dealt[g]] == most)] = side


def _long_by_side(dealt: Mapping[int, str], long_of: Mapping[int, int]) -> dict[str, int]:
    return {s: sum(long_of[g] for g, side in dealt.items() if side == s) for s in SPLITS}


def load_split(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a split; a ValueError says what is malformed, or which tunes stand on two sides."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; run notebook 01 (data preparation) first")
    try:
        split = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(f"{path} is no table ({error}); run notebook 01 again") from error
    if list(split.columns) != ["piece", "group", "split"] or set(split["split"]) - set(SPLITS):
        raise ValueError(f"{path} must have columns piece, group, split (train, valid or test)")
    check_no_leak(split)
    return split


def check_no_leak(split: pd.DataFrame) -> None:
    """Raise a ValueError that names the tunes on two sides, or if a piece stands twice."""
    sides = split.groupby("group")["split"].nunique()
    leaks = sides.index[sides > 1].tolist()
    if leaks:
        raise ValueError(f"{len(leaks)} tunes stand on two sides of the split: {leaks[:5]}")
    if split["piece"].duplicated().any():
        raise ValueError("a piece stands twice in the split")


def split_pieces(
    prepared: str | os.PathLike[str], split: str | os.PathLike[str]
) -> dict[str, list[Piece]]:
    """Read a prepared corpus by its split: ``train``, ``valid`` and ``test``."""
    pieces = {p.name: p for p in load_corpus(prepared)}
    table = load_split(split)
    if set(table["piece"]) != set(pieces):
        raise ValueError(f"{split} and {prepared} name different pieces; run notebook 01 again")
    return {s: [pieces[n] for n in table.loc[table["split"] == s, "piece"]] for s in SPLITS}


# The facts of a corpus: what data/README.md quotes and notebook 01 prints.


MOSTLY = 0.5
"""Share of a piece's notes off the grid, or of such pieces in a corpus, from which it is free."""


def corpus_summary(
    pieces: Sequence[Piece], report: pd.DataFrame, split: pd.DataFrame, *, piece_steps: int = 128
) -> pd.DataFrame:
    """Count what a corpus is: a table of the columns fact and value, in words.

    `report` is that of `prepare_corpus`, `split` lists the same pieces in the same order.
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
    """Say which share (0 to 1) of the test pieces has a tune seen in training, if it is known.

    It is "unknown" for pieces in which most notes begin off the grid: a shared tune may be missed.
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


# Pieces that are one work: the same notes in the same order, whatever tempo or note values.


MOST_NOTES = 1000
"""Notes of a piece that are compared, from its beginning."""
FEWEST_NOTES = 8
IN_COMMON, A_FEW, NEARLY_ALL = 0.72, 48, 0.95
"""Share of the shorter piece's notes that must be in common; nearly all of them if they are few."""
PER_LENGTH = 0.12
"""What is added to that share where the longer piece has twice the notes, and in proportion."""
LONGEST = 2.2
"""Notes of the longer piece over those of the shorter: beyond that a pair is not compared."""
ABOVE_CHANCE = 0.4
TOP_IN_COMMON, TOP_ABOVE_CHANCE = 0.65, 0.35
"""The same of the top lines alone: songs over one accompaniment are different songs."""
_REACH = 12  # semitones that a piece is moved, at most


def same_works(rolls: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """List the pairs of pieces that are one work.

    Our choice. With L notes in the longest common subsequence, n in the shorter piece and C in the
    longest one that it has with the other piece read backwards (what chance gives, with the same
    notes and steps), two pieces are one work when L / n and (L - C) / (n - C) reach the bounds
    above, for all notes and for the top lines. One piece is moved to where the two have the most
    notes in common.

    Where a work was played three or four times in a free tempo, in other keys, with 3 % of wrong
    and 2 % of missing notes, ornaments and rolled chords, L / n was 0.74 and more (simulated, of 12
    chorales, 12 piano pieces and 20 melodies); of two different ones 0.65 at most, and of songs
    with one accompaniment the top lines' second share 0.36 at most. Among Bach's chorales the rule
    finds no pair that `tune_pairs` has not put into one group.
    """
    orders = [_note_order(roll) for roll in rolls]
    tops = [_top_order(roll) for roll in rolls]
    counts = np.array([np.bincount(order, minlength=N_KEYS) for order in orders])
    found = []
    for j in range(1, len(rolls)):
        shifts, common = _best_shifts(counts[j], counts[:j])
        order, top = (_bits(keys[j].tolist()) for keys in (orders, tops))
        for i in range(j):
            few, many = sorted((len(orders[i]), len(orders[j])))
            if few < FEWEST_NOTES or many > LONGEST * few:
                continue
            share = NEARLY_ALL if few < A_FEW else IN_COMMON + PER_LENGTH * (many / few - 1)
            if (
                common[i] >= share * few
                and _agree(order, orders[i] - shifts[i], share=share, above=ABOVE_CHANCE)
                and _agree(top, tops[i] - shifts[i], share=TOP_IN_COMMON, above=TOP_ABOVE_CHANCE)
            ):
                found.append((i, j))
    return sorted(found)


def _note_order(roll: np.ndarray) -> np.ndarray:
    """Return the keys in the order in which they are struck, shape (N,)."""
    return roll_to_notes(roll)[:MOST_NOTES, 2]


def _top_order(roll: np.ndarray) -> np.ndarray:
    """Return the keys struck while none above them sounds, at their step or the next one."""
    notes = roll_to_notes(roll)[:MOST_NOTES]
    sounding = roll[..., SUSTAIN].astype(bool)
    top = N_KEYS - 1 - sounding[:, ::-1].argmax(axis=1)
    top[:-1] = np.where(sounding[1:].any(axis=1), np.maximum(top[:-1], top[1:]), top[:-1])
    return notes[notes[:, 2] >= top[notes[:, 0]], 2]


def _best_shifts(counts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much a piece is moved to meet each other, and the notes then in common."""
    wide = np.pad(counts, _REACH)
    shifts = np.arange(-_REACH, _REACH + 1)
    moved = np.stack([wide[_REACH - s : _REACH - s + N_KEYS] for s in shifts])
    common = np.stack([np.minimum(each, others).sum(axis=1) for each in moved])
    return shifts[common.argmax(axis=0)], common.max(axis=0)


def _agree(one: _Bits, other: np.ndarray, *, share: float, above: float) -> bool:
    """Tell whether two sequences have that share in common in order, and not by chance."""
    b = other.tolist()
    few, common = min(one.n, len(b)), _common(one, b)
    if common < share * few:
        return False
    chance = _common(one, b[::-1])
    return chance < few and common - chance >= above * (few - chance)


def longest_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the longest common subsequence of two sequences.

    Bit by bit of one whole number, as in H. Hyyrö, Bit-parallel LCS-length computation revisited,
    AWOCA 2004.

    Examples
    --------
    >>> longest_common([1, 2, 3, 4], [2, 9, 4, 1])
    2
    """
    return _common(_bits(a), b)


class _Bits(NamedTuple):
    """A sequence of n keys: of each key, the places at which it stands, as bits of a number."""

    n: int
    places: dict[int, int]


def _bits(keys: Sequence[int]) -> _Bits:
    places: dict[int, int] = {}
    for i, key in enumerate(keys):
        places[key] = places.get(key, 0) | 1 << i
    return _Bits(len(keys), places)


def _common(a: _Bits, b: Sequence[int]) -> int:
    """Return `longest_common` of two sequences, the first of which is compared with many."""
    row = every = (1 << a.n) - 1
    for key in b:
        here = row & a.places.get(key, 0)
        row = (row + here | row - here) & every
    return a.n - row.bit_count()


# A corpus, whichever notebook is opened first.


SPLIT_SEED = 0
"""Seed of the deal, whatever the study's: every training is judged on the same pieces."""


class Corpus(NamedTuple):
    """A corpus by its short name, with the split of its pieces in the same order."""

    name: str
    pieces: list[Piece]
    split: pd.DataFrame

    def side(self, side: str) -> list[Piece]:
        """Return the pieces of a side: ``train``, ``valid`` or ``test``."""
        names = set(self.split.loc[self.split["split"] == side, "piece"])
        return [piece for piece in self.pieces if piece.name in names]


def ready_corpus(corpus: str, paths: Paths, *, max_pieces: int) -> Corpus:
    """Return a corpus, prepared and split; what is missing of it is made in the run's folders.

    `corpus` is what `run.corpus_folder` takes; at most `max_pieces` pieces are read. Files that did
    not change are not read again.
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
    write_csv(split, path)
    return split
