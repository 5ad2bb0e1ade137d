"""Measure many pieces by every measure there is, on all cores, and compare whole sets.

Conventions: what a piece measures depends on its notes, its bars, and the code and versions that
measure, so a result is kept under a hash of each. A piece is rendered with the one gain of
`musiclib.synth` at `TEMPO` and velocity 80, so that levels compare. Tables of pieces have one row
per piece, with columns model, seed, sample, file and the measures. The reference of every
comparison is the held-out real set; the training set (other real music) shows how near real music
itself comes, and the baselines what needs no model. Every table says n. What becomes of features
that a piece, a set or the real set does not define stands at the head of `musiclib.distance`.
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
from study.sets import NO_SEED, RANGED, REAL, TEMPO, TRAINING, Sample, typical_range, within
from study.stats import seed_interval, values_by_seed

SR = 44_100
"""Audio samples per second of every rendering that is measured."""

PROBLEMS = {"no_note": "no note", "stuck": "stuck", "empty_bars_found": "empty bars"}
"""What `measures.check_piece` can find and its word for it, a column of 0 and 1 each."""

_NAMES = ("item", "code", "sha256")
_SECONDS = 5.0  # between two writings: what a kill can lose
_PACKAGES = ("numpy", "scipy", "librosa", "pyloudnorm", "pretty_midi")
_ENOUGH_FOR_A_PROCESS = 20
_DRAWS = 100  # random sets of one training run whose distances are averaged

Row = dict[str, Any]
Rolls = Mapping[str, Mapping[int, Sequence[np.ndarray]]]


# One piece


def measure_roll(
    roll: np.ndarray, bars: Bars = COMMON_BARS, *, rendered: bool = True
) -> dict[str, float]:
    """Return `MEASURES`, `AUDIO_UNITS` (NaN unless it is rendered) and `PROBLEMS` of one piece."""
    sound = dict.fromkeys(AUDIO_UNITS, math.nan)
    if rendered:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # peak_dbfs above 0 says it
            sound = audio_measures(render(roll), sr=SR)
    return {**measures(roll, **bars.for_measures()), **sound, **problems(roll, bars)}


def render(roll: np.ndarray, *, sr: int = SR, velocity: int = 80) -> np.ndarray:
    """Render a piece as every piece is rendered: float32, rests at the end included.

    The velocity, 1 to 127, is every note's. Warns of a peak above full scale, as `synthesize` does.
    """
    seconds = len(roll) / STEPS_PER_QUARTER * 60 / TEMPO
    return synthesize(to_midi(roll, tempo=TEMPO, velocity=velocity), sr=sr, duration=seconds)


def problems(roll: np.ndarray, bars: Bars = COMMON_BARS) -> dict[str, float]:
    """Return 1.0 for each of `PROBLEMS` that `check_piece` finds, else 0.0."""
    found = {sentence.split(":")[0] for sentence in check_piece(roll, **bars.for_measures())}
    return {name: float(word in found) for name, word in PROBLEMS.items()}


# Many pieces


def sample_table(
    samples: Sequence[Sample],
    *,
    index: TrainingIndex | None = None,
    kept: str | os.PathLike[str] | None = None,
    released: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Return what every piece measures, and with an index how much of it is copied.

    The index adds the columns of `TrainingIndex.count` and the longest runs in common with a
    training piece (``longest_exact``, ``longest_transposed``, in steps). The training set is
    neither rendered nor looked up: it is there as the ceiling of the symbolic measures only.
    `kept`, `released` and `workers` are those of `measured`.
    """
    if not samples:
        raise ValueError("samples must hold at least one piece; got none")
    items = [(sample.roll, sample.bars) for sample in samples if sample.model != TRAINING]
    tables = {"kept": kept, "released": released}
    sounding = iter(measured(_measure_item, items, key=_item_key, workers=workers, **tables))
    rows = []
    for sample in samples:
        if sample.model == TRAINING:
            found = measure_roll(sample.roll, sample.bars, rendered=False)
        else:
            found = {**next(sounding), **_copied(sample.roll, index)}
        rows.append({**sample.keys, **found})
    return pd.DataFrame(rows)


def _copied(roll: np.ndarray, index: TrainingIndex | None) -> dict[str, int]:
    """Return what a piece shares with the training music."""
    if index is None:
        return {}
    exact, moved = (index.longest_run(roll, transposed=moved).length for moved in (False, True))
    return {**index.count(roll), "longest_exact": exact, "longest_transposed": moved}


def _measure_item(item: tuple[np.ndarray, Bars]) -> dict[str, float]:
    return measure_roll(*item)


def _item_key(item: tuple[np.ndarray, Bars]) -> str:
    """Return the hash of a roll and where its bars stand, under which their measures are kept."""
    roll, bars = item
    known = "x".join(map(str, (*roll.shape, *bars.for_measures().values())))
    return hashlib.sha256(f"{known} ".encode() + np.packbits(roll).tobytes()).hexdigest()


def measured(
    measure: Callable[[Any], Row],
    items: Sequence[Any],
    *,
    key: Callable[[Any], str],
    kept: str | os.PathLike[str] | None = None,
    released: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> list[Row]:
    """Return the measures of each item: known ones from the tables, others measured now and kept.

    `measure` is importable, as it runs in other processes (`workers`; one per core by default, and
    the result does not depend on it). `key` names an item; equal ones are measured once. `kept` is
    read and written (see `Kept`); `released` is only read, whatever code made it.
    """
    keys = [key(item) for item in items]
    own, given = Kept(kept, code=made_by()), Kept(released)
    known = {k: row for k in keys if (row := own.get(k) or given.get(k))}
    missing = {k: item for k, item in zip(keys, items, strict=True) if k not in known}
    line = progress(len(missing), f"{len(known)} of {len(set(keys))} pieces known, measured")
    with own.writing(versions()):
        for k, found in zip(missing, _map(measure, list(missing.values()), workers), strict=True):
            known[k] = own.add(k, found)
            line.step()
    line.close()
    return [known[k] for k in keys]


def _map(measure: Callable[[Any], Row], items: list[Any], workers: int | None) -> Iterator[Row]:
    """Measure items one after the other, or in processes where there are enough of them."""
    count = min(workers or cores(), len(items) // _ENOUGH_FOR_A_PROCESS)
    if count < 2:
        yield from map(measure, items)
        return
    # Started afresh, not forked: a notebook's kernel has threads, which a fork can lock up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        yield from pool.map(measure, items, chunksize=2)


@functools.cache
def made_by() -> str:
    """Return the hash of what decides a measurement beside the notes: code, packages, renderer."""
    numbers = [version for name, version in versions().items() if name != "Python"]
    parts = [code_hash(_measure_item), *numbers, sha256_of(soundfont_path())]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of what measures: Python, the packages, FluidSynth."""
    found = {"Python": platform.python_version()}
    found |= {package: importlib.metadata.version(package) for package in _PACKAGES}
    return found | {"FluidSynth": fluidsynth_version()}


class Kept:
    """Keep what was measured in one CSV table, under a hash of the item and one of the code.

    Columns item, code, sha256 and one per measure; a row counts only if its SHA-256 is that of its
    fields, so a changed or half-written one is measured again. A table is written by one code: rows
    of an older one go. Without a code every row is known, whatever code made it; without a path
    nothing is kept. Beside the table stands ``NAME.json``, the versions behind it. NaN and
    infinities come back as they were; an empty field is a measure that the row does not have.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, code: str = "") -> None:
        self.path, self.code = None if path is None else Path(path), code
        self.rows = {} if self.path is None else _read_rows(self.path, code)

    def get(self, item: str) -> Row | None:
        """Return the measures of an item; None if unknown."""
        return self.rows.get(item)

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
            self.rows = {**_read_rows(self.path, self.code), **self.rows}
            write_text(_as_csv(self.rows, self.code), self.path)
            write_json(self._versions, self.path.with_suffix(".json"))
        self._written = time.monotonic()


def made_with(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the versions behind a table, by package; nothing if they are not known."""
    try:
        found = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_rows(path: Path, code: str) -> dict[str, Row]:
    """Return the rows of a table, by item, whose SHA-256 fits; of any code if `code` is empty."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (FileNotFoundError, ValueError, csv.Error):
        return {}
    found: dict[str, Row] = {}
    for line in lines:
        item, made, digest = (line.pop(name, None) for name in _NAMES)
        fields = {name: field for name, field in line.items() if field and name is not None}
        if code in ("", made) and digest == _hash(item, made, fields):
            found[item] = {name: _value(field) for name, field in fields.items()}
    return found


def _as_csv(rows: Mapping[str, Row], code: str) -> str:
    """Return the table as text, sorted by item, so that it does not depend on who came first."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    memory = io.StringIO()
    writer = csv.DictWriter(memory, [*_NAMES, *names], lineterminator="\n")
    writer.writeheader()
    for item, row in sorted(rows.items()):
        fields = {name: _text(value) for name, value in row.items()}
        known = {"item": item, "code": code, "sha256": _hash(item, code, fields)}
        writer.writerow({**known, **fields})
    return memory.getvalue()


def _hash(item: str | None, code: str | None, fields: Mapping[str, str]) -> str:
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


# Whole sets beside real music


def distance_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return how far each set lies from held-out real music, with its interval.

    Columns model, distance, low, high, seeds, n (pieces that define every kept feature), undefined
    (those that do not, and are skipped in what they lack), dropped (the `dropped_features`, the
    same in each row, "" for none). Distance, low and high are NaN where no piece of a set defines
    some kept feature. The reference is held fixed. A distance grows as a set gets smaller, even for
    real music: read it beside the training set's, of about the same n.
    """
    reference = _features(table, REAL)
    dropped, kept = _dropped_and_kept(table)
    # Places of pieces are drawn, not rows of features: a row that lacks one of them counts too.
    numbered = table.assign(place=table.groupby("model").cumcount())
    rng = np.random.default_rng(seed)
    rows = []
    for model in table.loc[table["model"] != REAL, "model"].unique():
        distance = distance_of_drawn(_features(table, model), reference)
        places = values_by_seed(numbered, model, "place")
        found = seed_interval(
            distance, places, rng=rng, n_resamples=n_resamples, bounds=(0.0, math.inf)
        )
        lacking = table.loc[table["model"] == model, kept].isna().any(axis=1)
        sizes = (_n_seeds(table, model), int((~lacking).sum()), int(lacking.sum()))
        rows.append((model, *found[:3], *sizes, ", ".join(dropped)))
    columns = ["model", "distance", "low", "high", "seeds", "n", "undefined", "dropped"]
    return pd.DataFrame(rows, columns=columns)


def distance_by_training(table: pd.DataFrame, *, size: int, seed: int) -> pd.DataFrame:
    """Return how far each single training run lies from held-out real music, all at one size.

    Columns model, seed, distance, size. A distance grows as a set gets smaller, so only distances
    of one size can be compared: it is the mean over `_DRAWS` random sets of `size` pieces, or that
    of all pieces where a run has no more. Draws that do not define some kept feature are skipped;
    NaN where all are such.
    """
    reference = _features(table, REAL)
    rng = np.random.default_rng(seed)
    rows = []
    for (model, run), pieces in table[table["model"] != REAL].groupby(
        ["model", "seed"], sort=False
    ):
        distance = distance_of_drawn(_features(pieces, str(model)), reference)
        n = min(size, len(pieces))
        draws = _DRAWS if n < len(pieces) else 1
        found = [distance(rng.permutation(len(pieces))[:n]) for _ in range(draws)]
        found = [distance for distance in found if not math.isnan(distance)]
        rows.append((model, run, float(np.mean(found)) if found else math.nan, n))
    return pd.DataFrame(rows, columns=["model", "seed", "distance", "size"])


def _features(table: pd.DataFrame, model: str) -> np.ndarray:
    """Return the features of a set's pieces, shape (n, 18), NaN where undefined."""
    return table.loc[table["model"] == model, list(FEATURES)].to_numpy(float)


def _dropped_and_kept(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the features of which real music has no range, and the others."""
    dropped = dropped_features(table[table["model"] == REAL])
    return dropped, [name for name in FEATURES if name not in dropped]


def _n_seeds(table: pd.DataFrame, model: str) -> int:
    return int(table.loc[table["model"] == model, "seed"].nunique())


def feature_distance_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return each set's `feature_distances` from held-out real music, by model and feature."""
    real = table[table["model"] == REAL]
    sets = table[table["model"] != REAL].groupby("model", sort=False)
    found = {model: feature_distances(rows, real) for model, rows in sets}
    return pd.concat(found, names=["model"]).reset_index()


def overlap_table(rolls: Rolls) -> pd.DataFrame:
    """Return each set's `set_distances` (Yang and Lerch's) to the real one, by model and feature.

    The pieces of all seeds of a set are taken together.
    """
    vectors = {
        model: feature_vectors(roll for pieces in seeds.values() for roll in pieces)
        for model, seeds in rolls.items()
    }
    real = vectors.pop(REAL)
    found = {model: set_distances(ours, real) for model, ours in vectors.items()}
    return pd.concat(found, names=["model"]).reset_index()


def copied_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return what share of each set's windows stands in the training music, with its interval.

    Columns model, length (of the windows, in sixteenths), kind (``exact``, ``transposed``), share
    (0 to 1), low, high, windows (that count), seeds, n. The real set's rows are the rate at which
    music by the same composer repeats itself. Sets that were not looked up (the training music
    itself) are skipped.
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
                    sizes = (int(windows), _n_seeds(table, model), found.n)
                    rows.append((model, length, kind, *found[:3], *sizes))
    columns = ["model", "length", "kind", "share", "low", "high", "windows", "seeds", "n"]
    return pd.DataFrame(rows, columns=columns)


def _share(counts: np.ndarray) -> float:
    """Return copied over counted windows; 0 where no window counts."""
    copied, windows = counts.sum(axis=0)
    return float(copied / windows) if windows else 0.0


def variety_table(rolls: Rolls, reference: Sequence[np.ndarray] | None = None) -> pd.DataFrame:
    """Return how different the pieces of each training run are, as a ratio to real music's.

    Columns model, seeds, nearest and pairwise (means over the seeds of `diversity_ratio`; 1 is as
    varied as real music, 0 one piece again and again), lowest_nearest (of the worst seed), n
    (pieces of the smallest seed). NaN for seeds of one piece. Without a reference the real set is
    the reference; better is one piece of each tune, since settings of one tune are alike.
    """
    real = next(iter(rolls[REAL].values())) if reference is None else reference
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


# Which pieces lie within the range of real music, and what is wrong with those that do not


def real_ranges(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Return the `typical_range` of each measure in the real set: index measure; low, high, n."""
    real = table.loc[table["model"] == REAL, list(measures)]
    if real.empty:
        raise ValueError(f"table holds no piece of the set {REAL!r}, whose range is asked for")
    return typical_range(real)


def inside_range(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Tell which pieces lie inside the real pieces' range, a column per measure."""
    return within(table[list(measures)], real_ranges(table, measures))


def range_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what share of each set lies inside the range of real music, and what is flawed.

    One row per set: model, seeds, n, percent of pieces inside for each of `RANGED` and for
    ``all_four`` at once, lowest_seed (``all_four`` of the worst training run), and the number of
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
    """Return in how many of the kept `FEATURES` each piece lies outside real music, 0 to 18.

    A count of errors that needs no ear.
    """
    return (~inside_range(table, _dropped_and_kept(table)[1])).sum(axis=1)


# Recordings beside rendered pieces: a folder of real audio such as GTZAN. A recording is measured
# at `SR`, one channel, from its start. Its level was set by whoever mastered it, not by a
# renderer's fixed gain: what depends on level (energy, power, RMS, peak, loudness) does not compare
# with rendered pieces; crest factor, centroid, flatness, onsets and noise do, with care: a file of
# 22,050 samples per second holds nothing above 11 kHz.

RECORDED = "audio"
"""The set of a folder of recordings: it has audio measures and no others."""

SUFFIXES = (".wav", ".au", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
_MOST_FILES = 200


class RecordingError(ValueError):
    """A recording that cannot be measured; the message names the file and the reason."""


def recorded_table(
    folder: str | os.PathLike[str], *, seconds: float, kept: str | os.PathLike[str] | None = None
) -> pd.DataFrame:
    """Return what the first seconds of a folder's recordings measure, subfolders included.

    At most 200 files, spread evenly over the sorted list. Columns model (`RECORDED`), seed, sample,
    file, and `AUDIO_UNITS`. Warns of each file that is skipped.
    """
    found = _find_audio(Path(folder))
    count = min(len(found), _MOST_FILES)
    paths = [found[i * len(found) // count] for i in range(count)]
    measure = functools.partial(measure_recording, seconds=seconds)
    key = functools.partial(_recording_key, seconds=seconds)
    rows: list[Row] = []
    for path, values in zip(paths, measured(measure, paths, key=key, kept=kept), strict=True):
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


def measure_recording(path: Path, *, seconds: float) -> Row:
    """Return the audio measures of a recording, or ``{"skipped": reason}``."""
    try:
        return dict(audio_measures(read_recording(path, seconds=seconds), sr=SR))
    except RecordingError as error:
        return {"skipped": str(error)}


def read_recording(path: str | os.PathLike[str], *, seconds: float) -> np.ndarray:
    """Read the beginning of what libsndfile reads: float64 (round(seconds * SR),) at `SR`.

    The mean of its channels, resampled (polyphase) where its rate differs. `RecordingError` if it
    cannot be read, is shorter, or holds samples that are not finite.
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


def _recording_key(path: Path, *, seconds: float) -> str:
    text = f"{_recording_code()} {seconds} {sha256_of(path)}"
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _recording_code() -> str:
    return code_hash(measure_recording)
