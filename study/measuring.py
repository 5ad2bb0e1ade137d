"""Measure many pieces by every measure there is, on all cores, and remember what was measured.

Conventions: what a piece measures depends on its notes, its bars, and the code and versions that
measure, so a result is kept under a hash of each (`study.measuring`). Released measures are read
whatever the code and the versions are; the table says which made them. A piece is rendered with the
one gain of `synthesis` at 80 quarters a minute and velocity 80, so that levels compare.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import importlib.metadata
import io
import json
import math
import multiprocessing
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musiclib.audio import AUDIO_UNITS, audio_measures
from musiclib.code_hash import code_hash
from musiclib.distance import (
    FEATURES,
    distance_of_drawn,
    diversity_ratio,
    dropped_features,
    feature_distances,
    feature_vectors,
    set_distances,
)
from musiclib.files import locked, sha256_of, write_json, write_text
from musiclib.measures import check_piece, measures
from musiclib.originality import WINDOW_LENGTHS, TrainingIndex
from musiclib.prepare import cores, is_of_macos
from musiclib.roll import COMMON_BARS, STEPS_PER_QUARTER, Bars, to_midi
from musiclib.synth import fluidsynth_version, soundfont_path, synthesize
from study.run import progress
from study.sets import NO_SEED, PERCENTILES, RANGED, REAL, TRAINING, Sample
from study.stats import seed_interval, values_by_seed

# ---- study.measuring ----
# Keep what was measured in one table, under a hash of what was measured and one of the code.
#
# Conventions: a table is a CSV file with the columns item, code, sha256 and a column a measure; a
# row
# counts only if its SHA-256 is that of its fields, so a changed or half-written one is measured
# again. A table is written by one code: rows of an older one go. Beside it stands ``NAME.json``,
# the
# versions behind it. NaN and infinities come back as they were; an empty field is a measure that
# the
# row does not have.


_NAMES = ("item", "code", "sha256")
_SECONDS = 5.0  # between two writings: what a kill can lose

Row = dict[str, Any]


class Kept:
    """One table of measures.

    Parameters
    ----------
    path : path or None
        A CSV file, which need not exist; None keeps nothing.
    code : str, optional
        Hash of the code that new rows are made by; rows of another code are not known. Without it
        every row is known, whatever code made it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, code: str = "") -> None:
        self.path, self.code = None if path is None else Path(path), code
        self.rows = {} if self.path is None else _read(self.path, code)

    def get(self, item: str, other: Kept | None = None) -> Row | None:
        """Return the measures of an item, of this table or else of the other; None if unknown."""
        found = self.rows.get(item)
        return other.get(item) if found is None and other is not None else found

    def add(self, item: str, measures: Mapping[str, Any]) -> Row:
        """Take an item's measures, and return them as they will be read again."""
        row = {name: _value(_text(value)) for name, value in measures.items()}
        self.rows[item] = row
        if self.path is not None and time.monotonic() - self._written > _SECONDS:
            self._write()
        return row

    @contextlib.contextmanager
    def writing(self, versions: Mapping[str, str]) -> Iterator[None]:
        """Write what the block adds, now and then and at its end; `versions` go beside it."""
        self._written, self._versions, before = time.monotonic(), dict(versions), len(self.rows)
        try:
            yield
        finally:
            if self.path is not None and len(self.rows) > before:
                self._write()

    def _write(self) -> None:
        """Write the table, with the rows that another process has added in the meantime."""
        with locked(self.path):
            self.rows = {**_read(self.path, self.code), **self.rows}
            write_text(_table(self.rows, self.code), self.path)
            write_json(self._versions, _beside(self.path))
        self._written = time.monotonic()


def made_with(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the versions behind a table, by package; nothing if they are not known."""
    try:
        found = json.loads(_beside(Path(path)).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path, code: str) -> dict[str, Row]:
    """Return the rows of a table, by item, whose SHA-256 fits; of any code if `code` is empty."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = [*csv.reader(file), []]
    except (FileNotFoundError, ValueError, csv.Error):
        return {}
    if tuple(header[: len(_NAMES)]) != _NAMES:
        return {}
    found: dict[str, Row] = {}
    measures = header[len(_NAMES) :]
    for line in lines:
        if len(line) == len(header) and code in ("", line[1]):
            fields = {n: f for n, f in zip(measures, line[len(_NAMES) :], strict=True) if f}
            if line[2] == _hash(line[0], line[1], fields):
                found[line[0]] = {name: _value(field) for name, field in fields.items()}
    return found


def _table(rows: Mapping[str, Row], code: str) -> str:
    """Return the table as text, sorted by item, so that it does not depend on who came first."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    memory = io.StringIO()
    writer = csv.writer(memory, lineterminator="\n")
    writer.writerow([*_NAMES, *names])
    for item, row in sorted(rows.items()):
        fields = {name: _text(value) for name, value in row.items()}
        known = [item, code, _hash(item, code, fields)]
        writer.writerow(known + [fields.get(name, "") for name in names])
    return memory.getvalue()


def _hash(item: str, code: str, fields: Mapping[str, str]) -> str:
    text = json.dumps([item, code, sorted(fields.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(float(value))


def _value(field: str) -> Any:
    """Return the number that a field says, or the field itself if it says none."""
    try:
        return float(field)
    except ValueError:
        return field


SR = 44_100
"""Audio samples per second of every rendering that is measured."""

TEMPO = 80.0
"""Quarter notes a minute of every rendering that is measured."""

PROBLEMS = ("no_note", "stuck", "empty_bars_found")
"""What `measures.check_piece` can find, a column of 0 and 1 each."""

_PACKAGES = ("numpy", "scipy", "librosa", "pyloudnorm", "pretty_midi")
_ENOUGH_FOR_A_PROCESS = 20


def render(roll: np.ndarray, *, sr: int = SR, velocity: int = 80) -> np.ndarray:
    """Render a piece as every piece is rendered: one renderer, gain, tempo and velocity.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        The piece.
    sr : int
        Audio samples per second.
    velocity : int
        1 to 127, of every note.

    Returns
    -------
    np.ndarray, shape (N,), float32
        N depends on T only, rests at the end included.

    Warns
    -----
    RuntimeWarning
        As `synth.synthesize`, for a peak above full scale.
    """
    seconds = len(roll) / STEPS_PER_QUARTER * 60 / TEMPO
    return synthesize(to_midi(roll, tempo=TEMPO, velocity=velocity), sr=sr, duration=seconds)


def measure_roll(roll: np.ndarray, bars: Bars = COMMON_BARS) -> dict[str, float]:
    """Return every measure of one piece: of its notes, of its sound, and what is wrong with it.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        The piece.
    bars : Bars
        Where its bar lines stand.

    Returns
    -------
    dict of str to float
        `MEASURES`, `AUDIO_UNITS` and `PROBLEMS`, in that order.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # peak_dbfs above 0 says it in the table
        sound = audio_measures(render(roll), sr=SR)
    return {**measures(roll, **bars.for_measures()), **sound, **problems(roll, bars)}


def measure_notes(roll: np.ndarray, bars: Bars = COMMON_BARS) -> dict[str, float]:
    """Return `measure_roll` without the sound: its columns are NaN."""
    silent = dict.fromkeys(AUDIO_UNITS, np.nan)
    return {**measures(roll, **bars.for_measures()), **silent, **problems(roll, bars)}


def problems(roll: np.ndarray, bars: Bars = COMMON_BARS) -> dict[str, float]:
    """Return 1.0 for each of `PROBLEMS` that `check_piece` finds, else 0.0."""
    found = {sentence.split(":")[0] for sentence in check_piece(roll, **bars.for_measures())}
    words = ("no note", "stuck", "empty bars")
    return {name: float(word in found) for name, word in zip(PROBLEMS, words, strict=True)}


def versions() -> dict[str, str]:
    """Return the versions of what measures: Python, the packages, FluidSynth."""
    found = {"Python": platform.python_version()}
    found |= {package: importlib.metadata.version(package) for package in _PACKAGES}
    return found | {"FluidSynth": fluidsynth_version()}


@functools.cache
def made_by() -> str:
    """Return the hash of what decides a measurement beside the notes: code, packages, renderer."""
    told = [version for name, version in versions().items() if name != "Python"]
    parts = [code_hash(_measure_item), *told, sha256_of(soundfont_path())]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def sample_table(
    samples: Sequence[Sample],
    *,
    index: TrainingIndex | None = None,
    kept: str | os.PathLike[str] | None = None,
    released: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Measure every piece.

    Parameters
    ----------
    samples : sequence of Sample
        As `evaluation` gathers them.
    index : TrainingIndex or None
        The training music, to say how much of each piece is copied from it.
    kept : path or None
        Table of earlier results (see `study.measuring`), read and written; None keeps nothing.
    released : path or None
        Table whose results are taken whatever code made them; only read.
    workers : int or None
        Processes; None for one a core. The table does not depend on it.

    Returns
    -------
    pd.DataFrame
        One row a piece: model, seed, sample, file, `MEASURES`, `AUDIO_UNITS`, `PROBLEMS`, and with
        an index the columns of `TrainingIndex.count` and the longest runs in common with a training
        piece (``longest_exact``, ``longest_transposed``, in steps). The training set is not
        rendered: it is there as the ceiling of the symbolic measures only.

    Raises
    ------
    ValueError
        If there is no piece or a roll is malformed.
    """
    if not samples:
        raise ValueError("samples must hold at least one piece; got none")
    sounding = [(sample.roll, sample.bars) for sample in samples if sample.model != TRAINING]
    tables = {"kept": kept, "released": released}
    found = measured(_measure_item, sounding, key=_item_key, workers=workers, **tables)
    sounds = iter(found)
    rows = []
    for sample in samples:
        quiet = sample.model == TRAINING
        found = measure_notes(sample.roll, sample.bars) if quiet else next(sounds)
        rows.append({**sample.keys, **found, **_copied(sample, index)})
    return pd.DataFrame(rows)


def _copied(sample: Sample, index: TrainingIndex | None) -> dict[str, int]:
    """Return what a piece shares with the training music; a training piece is never looked up."""
    if index is None or sample.model == TRAINING:
        return {}
    runs = {
        f"longest_{name}": index.longest_run(sample.roll, transposed=moved).length
        for name, moved in (("exact", False), ("transposed", True))
    }
    return {**index.count(sample.roll), **runs}


def _measure_item(item: tuple[np.ndarray, Bars]) -> dict[str, float]:
    """Return `measure_roll` of a roll and its bars."""
    return measure_roll(*item)


def _item_key(item: tuple[np.ndarray, Bars]) -> str:
    """Return the hash of a roll and where its bars stand, under which their measures are kept."""
    roll, bars = item
    known = "x".join(map(str, (*roll.shape, *bars.for_measures().values())))
    return hashlib.sha256(f"{known} ".encode() + np.packbits(roll).tobytes()).hexdigest()


def measured(
    measure: Callable[[Any], dict[str, Any]],
    items: Sequence[Any],
    *,
    key: Callable[[Any], str],
    kept: str | os.PathLike[str] | None = None,
    released: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Return the measures of each item: known ones from the tables, others measured now and kept.

    Parameters
    ----------
    measure : callable
        Takes an item and returns numbers by name; importable, as it runs in other processes.
    items : sequence
        What is measured; equal items are measured once.
    key : callable
        Takes an item and returns the name under which its measures are kept.
    kept, released, workers
        As `sample_table`.

    Returns
    -------
    list of dict
        In the order of `items`.
    """
    keys = [key(item) for item in items]
    own = Kept(kept, code=made_by())
    given = Kept(released) if released is not None else None
    known = {k: row for k in set(keys) if (row := own.get(k, given)) is not None}
    missing = {k: item for k, item in zip(keys, items, strict=True) if k not in known}
    line = progress(len(missing), f"{len(known)} of {len(set(keys))} pieces known, measured")
    with own.writing(versions()):
        for k, found in zip(missing, _map(measure, list(missing.values()), workers), strict=True):
            known[k] = own.add(k, found)
            line.step()
    line.close()
    return [known[k] for k in keys]


def _map(
    measure: Callable[[Any], dict[str, Any]], items: list[Any], workers: int | None
) -> Iterator[dict[str, Any]]:
    """Measure items one after the other, or in processes where there are enough of them."""
    wanted = workers or cores()
    count = min(wanted, len(items) // _ENOUGH_FOR_A_PROCESS)
    if count < 2:
        yield from map(measure, items)
        return
    # Started afresh, not forked: a notebook's kernel has threads, which a fork can lock up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        yield from pool.map(measure, items, chunksize=2)


# ---- study.measuring ----
# Tables of whole sets beside real music: distance, copies, variety, Yang and Lerch's overlap.
#
# Conventions: tables as in `intervals`; `rolls` are those of `sets.rolls_by_set`. The reference
# is the held-out real set; the training set (other real music) shows how near real music itself
# comes, and the baselines what needs no model. Every table says n. What becomes of features that a
# piece, a set or the real set does not define, stands at the head of `comparison`.


Rolls = Mapping[str, Mapping[int, Sequence[np.ndarray]]]


def distance_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return how far each set lies from held-out real music, with its interval.

    Parameters
    ----------
    table : pd.DataFrame
        With columns model, seed and those of `distance.FEATURES`.
    seed : int
        Of the bootstrap.
    n_resamples : int
        Number of bootstrap samples.

    Returns
    -------
    pd.DataFrame
        Columns model, distance, low, high, seeds, n (pieces that define every kept feature),
        undefined (those that do not, and are skipped in what they lack), dropped (the
        `dropped_features`, the same in each row, "" for none). One row a set but the real one;
        distance, low and high are NaN where no piece of a set defines some kept feature.

    Notes
    -----
    The reference is held fixed. A distance grows as a set gets smaller, even for real music: read
    it beside the training set's, of about the same n.
    """
    reference = _features(table, REAL)
    dropped = dropped_features(table[table["model"] == REAL])
    kept = [name for name in FEATURES if name not in dropped]
    # Places of pieces are drawn, not rows of features: a row that lacks one of them counts too.
    numbered = table.assign(place=table.groupby("model").cumcount())
    rng = np.random.default_rng(seed)
    rows = []
    for model in table["model"].unique():
        if model == REAL:
            continue
        distance = distance_of_drawn(_features(table, model), reference)
        places = values_by_seed(numbered, model, "place")
        found = seed_interval(
            distance, places, rng=rng, n_resamples=n_resamples, bounds=(0.0, math.inf)
        )
        lacking = table.loc[table["model"] == model, kept].isna().any(axis=1)
        sizes = (_trainings(table, model), int((~lacking).sum()), int(lacking.sum()))
        rows.append((model, *found[:3], *sizes, ", ".join(dropped)))
    columns = ["model", "distance", "low", "high", "seeds", "n", "undefined", "dropped"]
    return pd.DataFrame(rows, columns=columns)


def _trainings(table: pd.DataFrame, model: str) -> int:
    """Return how many seeds a set has."""
    return int(table.loc[table["model"] == model, "seed"].nunique())


def distance_by_training(
    table: pd.DataFrame, *, size: int, seed: int, n_draws: int = 100
) -> pd.DataFrame:
    """Return how far each single training lies from held-out real music, all at one size.

    Parameters
    ----------
    table : pd.DataFrame
        As in `distance_table`.
    size : int
        Pieces that each distance is taken of: a distance grows as a set gets smaller, so only
        distances of one size can be compared.
    seed : int
        Of the draws.
    n_draws : int
        Random sets of `size` pieces of a training whose distances are averaged; one set where the
        training has no more pieces.

    Returns
    -------
    pd.DataFrame
        Columns model, seed, distance, size (pieces of each draw: fewer where there are fewer). One
        row a seed of each set but the real one; distance is NaN where no piece of the training
        defines some kept feature. A draw by chance of such pieces alone is left out of the mean.
    """
    reference = _features(table, REAL)
    rng = np.random.default_rng(seed)
    rows = []
    for (model, training), pieces in table.groupby(["model", "seed"], sort=False):
        if model == REAL:
            continue
        distance = distance_of_drawn(_features(pieces, str(model)), reference)
        n = min(size, len(pieces))
        draws = n_draws if n < len(pieces) else 1
        found = [distance(rng.permutation(len(pieces))[:n]) for _ in range(draws)]
        found = [distance for distance in found if not math.isnan(distance)]
        rows.append((model, training, float(np.mean(found)) if found else math.nan, n))
    return pd.DataFrame(rows, columns=["model", "seed", "distance", "size"])


def _features(table: pd.DataFrame, model: str) -> np.ndarray:
    """Return the features of a set's pieces, shape (n, 18), NaN where undefined."""
    return table.loc[table["model"] == model, list(FEATURES)].to_numpy(float)


def feature_distance_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the distance of each set from held-out real music in each kept feature.

    Parameters
    ----------
    table : pd.DataFrame
        As in `distance_table`.

    Returns
    -------
    pd.DataFrame
        Columns model, feature, and those of `distance.feature_distances`.
    """
    real = table[table["model"] == REAL]
    found = [
        feature_distances(rows, real).reset_index().assign(model=model)
        for model, rows in table[table["model"] != REAL].groupby("model", sort=False)
    ]
    whole = pd.concat(found, ignore_index=True)
    return whole[["model", *whole.columns.drop("model")]]


def copied_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return what share of each set's windows stands in the training music, with its interval.

    Parameters
    ----------
    table : pd.DataFrame
        With columns model, seed and those of `originality.TrainingIndex.count`.
    seed : int
        Of the bootstrap.
    n_resamples : int
        Number of bootstrap samples.

    Returns
    -------
    pd.DataFrame
        Columns model, length (of the windows, in sixteenths), kind (``exact``, ``transposed``),
        share (0 to 1), low, high, windows (that count), seeds, n. The real set's rows are the rate
        at which music by the same composer repeats itself. Sets that were not looked up (the
        training music itself) are left out.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for model in table["model"].unique():
        for length in WINDOW_LENGTHS:
            for kind in ("exact", "transposed"):
                columns = [f"{kind}_{length}", f"windows_{length}"]
                samples = values_by_seed(table, model, columns)
                found = seed_interval(
                    _share, samples, rng=rng, n_resamples=n_resamples, bounds=(0.0, 1.0)
                )
                windows = sum(np.nansum(values[:, 1]) for values in samples.values())
                if found.n:
                    sizes = (int(windows), _trainings(table, model), found.n)
                    rows.append((model, length, kind, *found[:3], *sizes))
    columns = ["model", "length", "kind", "share", "low", "high", "windows", "seeds", "n"]
    return pd.DataFrame(rows, columns=columns)


def _share(counts: np.ndarray) -> float:
    """Return copied over counted windows; 0 where no window counts."""
    copied, windows = counts.sum(axis=0)
    return float(copied / windows) if windows else 0.0


def variety_table(rolls: Rolls, reference: Sequence[np.ndarray] | None = None) -> pd.DataFrame:
    """Return how different the pieces of each training are, as a ratio to real music's.

    Parameters
    ----------
    rolls : mapping of set to mapping of seed to sequence of np.ndarray
        With the real set.
    reference : sequence of np.ndarray, optional
        Real pieces to compare with instead of the real set: one of each tune, say, for settings of
        one tune lie nearer to each other than pieces do.

    Returns
    -------
    pd.DataFrame
        Columns model, seeds, nearest and pairwise (means over the seeds of `diversity_ratio`;
        1 is as varied as real music, 0 one piece again and again), lowest_nearest (of the worst
        training), n (pieces of the smallest seed). NaN for seeds of one piece.
    """
    real = rolls[REAL][next(iter(rolls[REAL]))] if reference is None else reference
    rows = []
    for model, seeds in rolls.items():
        if model == REAL:
            continue
        found = [diversity_ratio(pieces, real) for pieces in seeds.values()]
        nearest, pairwise = (np.array([f[i] for f in found]) for i in (0, 1))
        size = min(map(len, seeds.values()))
        rows.append((model, len(found), nearest.mean(), pairwise.mean(), nearest.min(), size))
    columns = ["model", "seeds", "nearest", "pairwise", "lowest_nearest", "n"]
    return pd.DataFrame(rows, columns=columns)


def overlap_table(rolls: Rolls) -> pd.DataFrame:
    """Return Yang and Lerch's distances of each set to the real one, in each feature.

    Parameters
    ----------
    rolls : mapping of set to mapping of seed to sequence of np.ndarray
        With the real set; the pieces of all seeds of a set are taken together.

    Returns
    -------
    pd.DataFrame
        Columns model, feature, and those of `distance.set_distances`.
    """
    vectors = {
        model: feature_vectors(roll for pieces in seeds.values() for roll in pieces)
        for model, seeds in rolls.items()
    }
    found = [
        set_distances(ours, vectors[REAL]).reset_index().assign(model=model)
        for model, ours in vectors.items()
        if model != REAL
    ]
    whole = pd.concat(found, ignore_index=True)
    return whole[["model", *whole.columns.drop("model")]]


# ---- study.measuring ----
# Say which pieces lie within the range of real music, and what is wrong with those that do not.
#
# Conventions: tables as in `intervals`. The range of a measure is the 1st to 99th percentile
# (linear
# interpolation) of the held-out real pieces; a piece that does not define the measure lies outside.
# With few real pieces that is nearly their lowest to highest value.


def real_ranges(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Return the range of each measure in real music.

    Parameters
    ----------
    table : pd.DataFrame
        With column model and the measures.
    measures : sequence of str
        Columns of it.

    Returns
    -------
    pd.DataFrame
        Index measure; columns low, high, n (real pieces that define it).

    Raises
    ------
    ValueError
        If the table holds no real piece.
    """
    real = table.loc[table["model"] == REAL, list(measures)]
    if real.empty:
        raise ValueError(f"table holds no piece of the set {REAL!r}, whose range is asked for")
    low, high = (real.quantile(share) for share in PERCENTILES)
    return pd.DataFrame({"low": low, "high": high, "n": real.count()}).rename_axis("measure")


def inside_range(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Tell which pieces lie inside the real pieces' range.

    Parameters
    ----------
    table : pd.DataFrame
        With column model and the measures.
    measures : sequence of str
        Columns of it.

    Returns
    -------
    pd.DataFrame of bool
        Index as the table's; a column a measure.
    """
    ranges = real_ranges(table, measures)
    values = table[list(measures)]
    return (values >= ranges["low"]) & (values <= ranges["high"])


def range_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what share of each set lies inside the range of real music, and what is flawed.

    Parameters
    ----------
    table : pd.DataFrame
        As `measuring.sample_table` makes it.

    Returns
    -------
    pd.DataFrame
        One row a set: model, seeds, n, percent of pieces inside for each of `RANGED` and for
        ``all_four`` at once, lowest_seed (``all_four`` of the worst training), and the number of
        pieces with each of `PROBLEMS`.
    """
    inside = inside_range(table)
    inside["all_four"] = inside.all(axis=1)
    rows = []
    for model, part in table.groupby("model", sort=False):
        shares = 100 * inside.loc[part.index].mean()
        by_seed = 100 * inside.loc[part.index, "all_four"].groupby(part["seed"]).mean()
        counts = part[list(PROBLEMS)].sum().astype(int)
        sizes = {"model": model, "seeds": part["seed"].nunique(), "n": len(part)}
        rows.append({**sizes, **shares, "lowest_seed": by_seed.min(), **counts})
    return pd.DataFrame(rows)


def features_outside(table: pd.DataFrame) -> pd.Series:
    """Return in how many of the features of `comparison` each piece lies outside real music.

    Parameters
    ----------
    table : pd.DataFrame
        With column model and the features.

    Returns
    -------
    pd.Series of int
        0 to 18, by the table's index: a count of errors that needs no ear. The `dropped_features`,
        of which real music has no range, do not count.
    """
    dropped = dropped_features(table[table["model"] == REAL])
    kept = [name for name in FEATURES if name not in dropped]
    return (~inside_range(table, kept)).sum(axis=1)


# ---- study.measuring ----
# Measure recordings beside rendered pieces: a folder of real audio such as GTZAN.
#
# Conventions: a recording is measured at the sample rate of every rendering, one channel, from its
# start. A recording's level was set by whoever mastered it, not by a renderer's fixed gain: what
# depends on level (energy, power, RMS, peak, loudness) does not compare with rendered pieces; crest
# factor, centroid, flatness, onsets and noise do, with care: a file of 22,050 samples a second
# holds
# nothing above 11 kHz.


RECORDED = "audio"
"""The set of a folder of recordings: it has audio measures and no others."""

SUFFIXES = (".wav", ".au", ".flac", ".ogg", ".mp3", ".aif", ".aiff")


class RecordingError(ValueError):
    """A recording that cannot be measured; the message names the file and the reason."""


def read_recording(path: str | os.PathLike[str], *, seconds: float) -> np.ndarray:
    """Read the beginning of a recording as one channel at `SR` samples a second.

    Parameters
    ----------
    path : path
        An audio file that libsndfile reads.
    seconds : float
        How much is taken from its start.

    Returns
    -------
    np.ndarray, shape (round(seconds * SR),), float64
        The mean of its channels, resampled (polyphase) where its rate differs.

    Raises
    ------
    RecordingError
        If it cannot be read, is shorter, or holds samples that are not finite.
    """
    import soundfile
    from scipy.signal import resample_poly

    try:
        with soundfile.SoundFile(path) as file:
            rate, frames = file.samplerate, math.ceil(seconds * file.samplerate)
            x = file.read(frames, always_2d=True).mean(axis=1)
    except (OSError, RuntimeError) as error:
        raise RecordingError(f"{Path(path).name} cannot be read as audio ({error})") from error
    if len(x) < frames:
        raise RecordingError(f"{Path(path).name} lasts {len(x) / rate:.1f} s, under {seconds:g} s")
    if not np.isfinite(x).all():
        raise RecordingError(f"{Path(path).name} holds samples that are not finite")
    common = math.gcd(rate, SR)
    y = x if rate == SR else resample_poly(x, SR // common, rate // common)
    return y[: round(seconds * SR)]


def measure_recording(path: Path, *, seconds: float) -> dict[str, Any]:
    """Return the audio measures of a recording, or ``{"skipped": reason}``."""
    try:
        return dict(audio_measures(read_recording(path, seconds=seconds), sr=SR))
    except RecordingError as error:
        return {"skipped": str(error)}


def recorded_table(
    folder: str | os.PathLike[str],
    *,
    seconds: float,
    kept: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    max_files: int = 200,
) -> pd.DataFrame:
    """Measure the beginnings of a folder's recordings.

    Parameters
    ----------
    folder : path
        Audio files, searched through its subfolders: GTZAN, or music of one's own.
    seconds : float
        What is taken from the start of each.
    kept, workers
        As `measuring.sample_table`.
    max_files : int
        So many are taken at most, spread evenly over the sorted list.

    Returns
    -------
    pd.DataFrame
        One row a file: model `RECORDED`, seed, sample, file, and `AUDIO_UNITS`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no audio file in it that is long enough.

    Warns
    -----
    UserWarning
        For each file that is skipped, with the reason.
    """
    paths = _evenly(_find_audio(Path(folder)), max_files)
    measure = functools.partial(measure_recording, seconds=seconds)
    key = functools.partial(_key, seconds=seconds)
    found = measured(measure, paths, key=key, kept=kept, workers=workers)
    rows: list[dict[str, Any]] = []
    for path, values in zip(paths, found, strict=True):
        if "skipped" in values:
            warnings.warn(f"reference_audio: {values['skipped']}; skipped", stacklevel=2)
            continue
        keys = {"model": RECORDED, "seed": NO_SEED, "sample": len(rows)}
        rows.append({**keys, "file": path.relative_to(folder).as_posix(), **values})
    if not rows:
        raise FileNotFoundError(
            f"reference_audio: {folder} holds no audio file of {seconds:g} s or more; name a "
            f"folder with some ({', '.join(SUFFIXES)})"
        )
    return pd.DataFrame(rows)


def _find_audio(folder: Path) -> list[Path]:
    """Return the audio files below a folder, in a fixed order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"reference_audio: {folder} does not exist or is no folder")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = (path for path in found if path.is_file())
    return sorted(path for path in files if not is_of_macos(path.relative_to(folder).as_posix()))


def _evenly(paths: list[Path], count: int) -> list[Path]:
    """Return at most so many of the paths, spread evenly over them."""
    if len(paths) <= count:
        return paths
    return [paths[i * len(paths) // count] for i in range(count)]


@functools.cache
def _made_by() -> str:
    return code_hash(measure_recording)


def _key(path: Path, *, seconds: float) -> str:
    text = f"{_made_by()} {seconds} {sha256_of(path)}"
    return hashlib.sha256(text.encode()).hexdigest()
