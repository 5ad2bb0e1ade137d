"""Split pieces into training, validation and test: by tune and work, evenly, stored as files.

Conventions: a split is a table with the columns piece, group (name of the group's first piece) and
split (``train``, ``valid``, ``test``). Pieces that share a tune have one group, and a group is on
one side only. Pairs of pieces are indices i < j.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musiclib.files import write_csv
from musiclib.measures import note_density, pitch_name
from musiclib.piece import Piece
from musiclib.prepare import HELD, load_corpus, pedal_from_environment, prepare_corpus
from musiclib.roll import LOWEST_PITCH, N_KEYS, ONSET, STEPS_PER_QUARTER, SUSTAIN, roll_to_notes
from study.chorales import export_chorales
from study.run import Paths, corpus_folder
from study.sets import PIECE_STEPS, corpus_name

SPLITS = ("train", "valid", "test")
DEAL = ("train",) * 14 + ("valid",) * 2 + ("test",) * 4  # of each run of 20 like groups
NGRAM, SHARED, INCIPIT, MIN_PIECES = 7, 0.2, 7, 10
FEWEST_LONG = 2  # pieces of each side that are long enough to be compared: a spread needs two
SPLIT_SEED = 0  # whatever the study's seed: every training is judged on the same pieces
MOSTLY = 0.5  # share of a piece's notes off the grid, or of such pieces, from which it is free


def melody(roll: np.ndarray) -> np.ndarray:
    """Return the top sounding key at each quarter note, without rests: shape (M,), int64."""
    beats = roll[::STEPS_PER_QUARTER, :, SUSTAIN].astype(bool)
    beats = beats[beats.any(axis=1)]
    return 87 - np.argmax(beats[:, ::-1], axis=1)


def tune_pairs(melodies: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """List the pairs of pieces that share a tune, whatever their key, from their `melody`.

    Our choice, which errs towards grouping too much: at least 20 % of the shorter one's distinct
    runs of 7 melodic intervals occur in the other, or the first 7 intervals agree; a shorter melody
    must be equal. A melody of no interval, or of one note eight times, is not a tune.
    """
    intervals = [tuple(np.diff(m).tolist()) for m in melodies]
    runs = [
        {v[i : i + NGRAM] for i in range(max(len(v) - NGRAM, 0) + 1)} - {(), (0,) * NGRAM}
        for v in intervals
    ]
    holders, shared = defaultdict(list), Counter()
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
    """Return the first piece of each of n pieces' groups (single linkage), shape (n,), int64."""
    group = np.arange(n, dtype=np.int64)
    for i, j in pairs:
        group[np.isin(group, group[[i, j]])] = group[[i, j]].min()
    return group


def split_by_group(
    names: Sequence[str], groups: np.ndarray, *, order_by: np.ndarray, seed: int = 0,
    long_enough: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Deal groups of pieces to training, validation and test; rows in the order of `names`.

    `order_by` (N,) is a property that the sides should share; `long_enough` (N,) marks pieces that
    can be compared with generated ones: at least two go to each side, of two tunes if six have one.

    Our choice, because the paper states no split: groups are sorted by their size and their mean of
    `order_by`, and each run of 20 neighbours is dealt 14 / 2 / 4 at random. If that leaves less
    than half of the pieces for training, the largest groups go there instead, the next to test. A
    side that lacks long pieces takes the smallest group that has one from the side with most.
    """
    if len(set(names)) != len(names):
        raise ValueError("names must be unique to be split")
    unique = np.unique(groups)
    if len(names) < MIN_PIECES or len(unique) < len(SPLITS):
        few = f"{len(names)} pieces of {len(unique)} different tunes are too few to split"
        raise ValueError(f"{few}; give at least {MIN_PIECES} pieces of {len(SPLITS)} tunes")
    size = {g: min(int((groups == g).sum()), 4) for g in unique}
    value = {g: float(np.mean(order_by[groups == g])) for g in unique}
    ordered = sorted(unique, key=lambda g: (size[g], value[g], g))
    rng, dealt = np.random.default_rng(seed), {}
    for start in range(0, len(ordered), len(DEAL)):
        run = ordered[start : start + len(DEAL)]
        dealt |= zip(run, _assign_sides(len(run), rng), strict=True)
    pieces = Counter(groups.tolist())
    if sum(pieces[g] for g, side in dealt.items() if side == "train") < len(names) / 2:
        large = sorted(unique, key=lambda g: (-pieces[g], g))
        sides = sorted(dealt.values(), key=("train", "test", "valid").index)
        dealt = dict(zip(large, sides, strict=True))
    if long_enough is not None:
        long_of = {g: int(long_enough[groups == g].sum()) for g in unique}
        _require_long_enough(long_of, len(names))
        _spread_long(dealt, long_of, sorted(unique, key=lambda g: (pieces[g], value[g], g)))
    first = {g: names[int(np.flatnonzero(groups == g)[0])] for g in unique}
    rows = [(n, first[g], dealt[g]) for n, g in zip(names, groups, strict=True)]
    return pd.DataFrame(rows, columns=["piece", "group", "split"])


def _assign_sides(n: int, rng: np.random.Generator) -> list[str]:
    """Return the sides of n neighbours, drawn evenly from `DEAL` and shuffled; all 3 if n > 2."""
    sides = [DEAL[int((i + 0.5) * len(DEAL) / n)] for i in range(n)]
    if n >= len(SPLITS) and "valid" not in sides:
        sides[sides.index("test") - 1] = "valid"
    return [sides[i] for i in rng.permutation(n)]


def _require_long_enough(long_of: Mapping[int, int], n_pieces: int) -> None:
    """Raise a ValueError unless each side can have two long pieces without cutting a group."""
    alone = sum(n >= FEWEST_LONG for n in long_of.values())
    ones = sum(n == 1 for n in long_of.values())
    if alone + ones // FEWEST_LONG < len(SPLITS):
        raise ValueError(
            f"{sum(long_of.values())} of {n_pieces} pieces, of {alone + ones} different tunes, "
            f"have 8 bars of 4/4 (128 steps) or more; a study needs {FEWEST_LONG} such pieces each "
            "for training, validation and test: give longer pieces or more tunes"
        )


def _spread_long(dealt: dict[int, str], long_of: Mapping[int, int], order: Sequence[int]) -> None:
    """Move groups, the first in `order` that fits, until each side has two long pieces."""
    if sum(n > 0 for n in long_of.values()) >= FEWEST_LONG * len(SPLITS):
        long_of = {g: min(n, 1) for g, n in long_of.items()}  # there are enough tunes
    have = {s: sum(long_of[g] for g in order if dealt[g] == s) for s in SPLITS}
    for side in SPLITS[::-1]:
        while have[side] < FEWEST_LONG:
            able = [g for g in order if 0 < long_of[g] <= have[dealt[g]] - FEWEST_LONG]
            moved = max(able, key=lambda g: have[dealt[g]])
            have[dealt[moved]] -= long_of[moved]
            have[side] += long_of[moved]
            dealt[moved] = side


def load_split(path: str | Path) -> pd.DataFrame:
    """Read a split; a ValueError says what is malformed, or which tunes are on two sides."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; run notebook 01 (data preparation) first")
    try:
        split = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(f"{path} is not a table ({error}); run notebook 01 again") from error
    if list(split.columns) != ["piece", "group", "split"] or set(split["split"]) - set(SPLITS):
        raise ValueError(f"{path} must have columns piece, group, split (train, valid or test)")
    check_no_leak(split)
    return split


def check_no_leak(split: pd.DataFrame) -> None:
    """Raise a ValueError that names the tunes on two sides, or if a piece is listed twice."""
    sides = split.groupby("group")["split"].nunique()
    if leaks := sides.index[sides > 1].tolist():
        raise ValueError(f"{len(leaks)} tunes are on two sides of the split: {leaks[:5]}")
    if split["piece"].duplicated().any():
        raise ValueError("a piece is listed twice in the split")


def split_pieces(prepared: str | Path, split: str | Path) -> dict[str, list[Piece]]:
    """Read a prepared corpus by its split: ``train``, ``valid`` and ``test``."""
    pieces, table = {p.name: p for p in load_corpus(prepared)}, load_split(split)
    if set(table["piece"]) != set(pieces):
        raise ValueError(f"{split} and {prepared} name different pieces; run notebook 01 again")
    return {s: [pieces[n] for n in table.loc[table["split"] == s, "piece"]] for s in SPLITS}


def corpus_summary(
    pieces: Sequence[Piece], report: pd.DataFrame, split: pd.DataFrame, *, piece_steps: int = 128
) -> pd.DataFrame:
    """Return the facts that data/README.md quotes; `report` is that of `prepare_corpus`."""
    if list(split["piece"]) != [piece.name for piece in pieces]:
        raise ValueError("split must list the same pieces in the same order")
    done = report[report["status"] == "converted"]
    moved, merged = (np.average(done[c], weights=done["notes"]) for c in ("off_grid", "merged"))
    facts = {
        "pieces": len(pieces),
        "files refused or skipped": len(report) - len(done),
        **_split_counts(pieces, split, piece_steps),
        **_music_summary(pieces),
        "notes that the grid moved (%)": f"{100 * moved:.3f}",
        "notes merged with a unison (%)": f"{100 * merged:.2f}",
        "pieces with a note that the grid moved": str((done["off_grid"] > 0).sum()),
        "SHA-256 of the corpus": corpus_hash(report),
    }
    rows = [(fact, f"{v:,}" if isinstance(v, int) else v) for fact, v in facts.items()]
    return pd.DataFrame(rows, columns=["fact", "value"])


def corpus_hash(report: pd.DataFrame) -> str:
    """Return one SHA-256 of the converted files: of their own hashes, sorted, one per line."""
    digests = sorted(report.loc[report["status"] == "converted", "sha256"])
    return hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()


def describe_pedal(report: pd.DataFrame) -> str:
    """Say in how many pieces the sustain pedal lengthens notes, and what was done about it."""
    pedal = report.loc[report["status"] == "converted", "pedal"]
    used = int((pedal != "").sum())
    done = "held" if (pedal == HELD).any() else "released early, as the keys are"
    said = f"sustain pedal: lengthens notes in {used} of {len(pedal)} pieces"
    return f"{said}; notes are {done}" if used else said


def describe_leak(share: float, report: pd.DataFrame) -> str:
    """Say which share (0 to 1) of the test pieces has a tune seen in training, if it is known."""
    free = report.loc[report["status"] == "converted", "free"] > MOSTLY
    known = f"{100 * share:.0f} %"
    if not free.any():
        return known
    unknown = f"unknown for {int(free.sum())} of {len(free)} pieces, as most of their notes begin "
    unknown += "off the grid, where a shared tune may be missed"
    return unknown if free.mean() >= MOSTLY else f"{known}, but {unknown}"


def _split_counts(pieces: Sequence[Piece], split: pd.DataFrame, piece_steps: int) -> dict[str, Any]:
    long_enough = np.array([len(piece.roll) >= piece_steps for piece in pieces])
    by_side = [(split["split"] == side).to_numpy() for side in SPLITS]
    long_by_side = [str((long_enough & side).sum()) for side in by_side]
    return {
        "tunes": int(split["group"].nunique()),
        "pieces that share their tune": int(split["group"].duplicated(keep=False).sum()),
        "training, validation, test pieces": ", ".join(str(side.sum()) for side in by_side),
        f"pieces of {piece_steps} steps and over": int(long_enough.sum()),
        "of these in training, validation, test": ", ".join(long_by_side),
    }


def _music_summary(pieces: Sequence[Piece]) -> dict[str, Any]:
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


# To find pieces that are one work, their keys are compared in the order in which they are struck,
# chords from the lowest up: tempo, half or double note values and key make no difference.
FEWEST_NOTES, MOST_NOTES = 8, 1000  # of a piece that are compared, from its beginning
IN_COMMON, A_FEW, NEARLY_ALL = 0.72, 48, 0.95  # share of the shorter piece's notes; of a few notes
PER_LENGTH = 0.12  # added to that share where the longer piece has twice the notes, in proportion
LONGEST = 2.2  # notes of the longer piece over the shorter's: above it a pair is not compared
ABOVE_CHANCE = 0.4
TOP_IN_COMMON, TOP_ABOVE_CHANCE = 0.65, 0.35  # songs over one accompaniment are different songs
_REACH = 12  # semitones that a piece is moved, at most
_Bits = tuple[int, dict[int, int]]


def same_work_pairs(rolls: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """List the pairs of pieces that are one work.

    Our choice. The longest common subsequence has L notes, the shorter piece n, and C is L with the
    other piece read backwards (what chance gives, with the same notes and steps). Two pieces are
    one work if L / n and (L - C) / (n - C) reach the bounds above, for all notes and for the top
    lines. One piece is first moved to where the two share the most notes. In simulated performances
    of one work L / n was 0.74 and more, of two different works 0.65 at most. In Bach's chorales the
    rule finds no pair beyond those of `tune_pairs`.
    """
    orders = [roll_to_notes(roll)[:MOST_NOTES, 2] for roll in rolls]
    found, tops = [], [_top_order(roll) for roll in rolls]
    counts = np.array([np.bincount(order, minlength=N_KEYS) for order in orders])
    for j in range(1, len(rolls)):
        shifts, common = _best_shifts(counts[j], counts[:j])
        order, top = (_bit_masks(keys[j].tolist()) for keys in (orders, tops))
        for i in range(j):
            few, many = sorted((len(orders[i]), len(orders[j])))
            if few < FEWEST_NOTES or many > LONGEST * few:
                continue
            share = NEARLY_ALL if few < A_FEW else IN_COMMON + PER_LENGTH * (many / few - 1)
            if (
                common[i] >= share * few
                and _agree(order, orders[i] - shifts[i], share, ABOVE_CHANCE)
                and _agree(top, tops[i] - shifts[i], TOP_IN_COMMON, TOP_ABOVE_CHANCE)
            ):
                found.append((i, j))
    return sorted(found)


def _top_order(roll: np.ndarray) -> np.ndarray:
    """Return the keys struck while none above them sounds, at their step or the next one."""
    notes = roll_to_notes(roll)[:MOST_NOTES]
    sounding = roll[..., SUSTAIN].astype(bool)
    top = N_KEYS - 1 - sounding[:, ::-1].argmax(axis=1)
    top[:-1] = np.where(sounding[1:].any(axis=1), np.maximum(top[:-1], top[1:]), top[:-1])
    return notes[notes[:, 2] >= top[notes[:, 0]], 2]


def _best_shifts(counts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much a piece is moved to meet each other one, and the notes then shared."""
    wide, shifts = np.pad(counts, _REACH), np.arange(-_REACH, _REACH + 1)
    moved = np.stack([wide[_REACH - s : _REACH - s + N_KEYS] for s in shifts])
    common = np.stack([np.minimum(each, others).sum(axis=1) for each in moved])
    return shifts[common.argmax(axis=0)], common.max(axis=0)


def _agree(one: _Bits, other: np.ndarray, share: float, above: float) -> bool:
    """Return whether two sequences share that much in order, and not by chance."""
    b = other.tolist()
    few, common = min(one[0], len(b)), _lcs_length(one, b)
    if common < share * few:
        return False
    chance = _lcs_length(one, b[::-1])
    return chance < few and common - chance >= above * (few - chance)


def _bit_masks(keys: Sequence[int]) -> _Bits:
    """Return how many keys there are, and the places of each of them as bits of a number."""
    places: dict[int, int] = defaultdict(int)
    for i, key in enumerate(keys):
        places[key] |= 1 << i
    return len(keys), dict(places)


def _lcs_length(a: _Bits, b: Sequence[int]) -> int:
    """Return the longest common subsequence's length (H. Hyyrö: Bit-parallel LCS. AWOCA 2004)."""
    n, places = a
    row = every = (1 << n) - 1
    for key in b:
        here = row & places.get(key, 0)
        row = (row + here | row - here) & every
    return n - row.bit_count()


class Corpus(NamedTuple):
    """A corpus by its short name, with the split of its pieces in the same order."""

    name: str
    pieces: list[Piece]
    split: pd.DataFrame

    def side(self, side: str) -> list[Piece]:
        """Return the pieces of a side: ``train``, ``valid`` or ``test``."""
        names = set(self.split.loc[self.split["split"] == side, "piece"])
        return [piece for piece in self.pieces if piece.name in names]


def corpus_source(corpus: str, paths: Paths, *, max_pieces: int) -> tuple[str, Path]:
    """Return a corpus's short name and its folder of MIDI files, where chorales are written."""
    name, source = corpus_name(corpus), corpus_folder(corpus)
    if source is None:
        source = paths.data / "corpora" / name
        export_chorales(source, max_pieces=max_pieces)
    return name, source


def ready_corpus(corpus: str, paths: Paths, *, max_pieces: int) -> Corpus:
    """Return a corpus, prepared and split; missing parts are made in the run's folders."""
    name, source = corpus_source(corpus, paths, max_pieces=max_pieces)
    pedal, prepared = pedal_from_environment(), paths.prepared / name
    prepare_corpus(source, prepared, max_files=max_pieces, sustain_pedal=pedal)
    pieces, path = load_corpus(prepared), paths.data / "splits" / f"{name}.csv"
    split = load_split(path) if path.exists() else None
    if split is None or list(split["piece"]) != [piece.name for piece in pieces]:
        split = split_by_tune(pieces)
        write_csv(split, path)
    return Corpus(name, pieces, split)


def split_by_tune(pieces: Sequence[Piece]) -> pd.DataFrame:
    """Deal pieces to training, validation and test by their tunes, as notebook 01 explains."""
    rolls = [piece.roll for piece in pieces]
    pairs = [*tune_pairs([melody(roll) for roll in rolls]), *same_work_pairs(rolls)]
    return split_by_group(
        [piece.name for piece in pieces],
        join_pairs(pairs, len(pieces)),
        order_by=np.array([note_density(roll) for roll in rolls]),
        seed=SPLIT_SEED,
        long_enough=np.array([len(roll) >= PIECE_STEPS for roll in rolls]),
    )
