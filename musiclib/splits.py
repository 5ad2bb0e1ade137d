"""Training, validation and test pieces: grouped by tune, spread evenly, stored as files.

Conventions: a split is a table with the columns piece, group, split (``train``, ``valid``,
``test``), kept as CSV so that anybody can read who is where. Pieces that share a tune have one
group, and a group stands on one side only.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from musiclib.files import write_csv
from musiclib.pianoroll import STEPS_PER_QUARTER, SUSTAIN

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
    """Return the top sounding key at each quarter note, without rests.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8

    Returns
    -------
    np.ndarray, shape (M,), int64
    """
    beats = roll[::STEPS_PER_QUARTER, :, SUSTAIN].astype(bool)
    beats = beats[beats.any(axis=1)]
    return 87 - np.argmax(beats[:, ::-1], axis=1)


def tune_pairs(melodies: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """List the pairs of pieces that share a tune, whatever their key.

    Parameters
    ----------
    melodies : sequence of np.ndarray, shape (M,)
        A pitch a beat, as `melody` gives it.

    Returns
    -------
    list of (int, int)
        Indices i < j.

    Notes
    -----
    Our choice, meant to err towards grouping too much: two pieces share a tune when at least 20 %
    of the shorter one's distinct runs of 7 melodic intervals occur in the other, or when their
    first 7 intervals agree; a melody of fewer intervals agrees with its equals. No interval, or
    eight times the same note, is no tune. The rule goes by the beat: what is played in another
    tempo than its file says, or in half or double note values, `works.same_works` finds.
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
    """Group n pieces so that those of each pair are together.

    Parameters
    ----------
    pairs : iterable of (int, int)
        As `tune_pairs` and `works.same_works` list them.
    n : int
        Pieces.

    Returns
    -------
    np.ndarray, shape (n,), int64
        The index of the first piece of each piece's group. Groups are closed (single linkage).
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
    """Deal groups of pieces to training, validation and test.

    Parameters
    ----------
    names : sequence of str
        The pieces.
    groups : np.ndarray, shape (N,), int
        Pieces of equal group stay together.
    order_by : np.ndarray, shape (N,), float
        A property that the three sides shall share, such as note density.
    seed : int
        Of the deal.
    long_enough : np.ndarray, shape (N,), bool, optional
        Pieces that can be compared with generated ones: each side receives at least two of them,
        of two tunes where there are six tunes with such a piece.

    Returns
    -------
    pd.DataFrame
        Columns piece, group (name of its first piece), split; in the order of `names`.

    Raises
    ------
    ValueError
        With fewer than 10 pieces or 3 groups, where `long_enough` cannot be met (the message has
        the counts), or when names are not unique.

    Notes
    -----
    Our choice: a stratified deal. Groups are sorted by their size and by their mean of `order_by`,
    and each run of 20 neighbours is dealt 14 / 2 / 4 at random, so that every side holds like
    music. Where few groups, or one large one, leave less than half of the pieces for training, the
    largest groups go there instead, the next to test. A side that then lacks pieces that are long
    enough takes the smallest group that has one from the side with the most of them. The paper
    states no split.
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


def save_split(split: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a split as CSV, atomically; the columns are piece, group, split."""
    write_csv(split, path)


def load_split(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a split and check it.

    Parameters
    ----------
    path : path
        CSV with the columns piece, group, split.

    Returns
    -------
    pd.DataFrame

    Raises
    ------
    FileNotFoundError, ValueError
        When it is missing, malformed, or leaks a tune from one side to another.
    """
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
    """Raise a ValueError that names the tunes, if one stands on two sides or a piece twice.

    Parameters
    ----------
    split : pd.DataFrame
        Columns piece, group, split.
    """
    sides = split.groupby("group")["split"].nunique()
    leaks = sides.index[sides > 1].tolist()
    if leaks:
        raise ValueError(f"{len(leaks)} tunes stand on two sides of the split: {leaks[:5]}")
    if split["piece"].duplicated().any():
        raise ValueError("a piece stands twice in the split")
