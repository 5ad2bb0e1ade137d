"""Measure many pieces by every measure there is, on all cores, and compare whole sets.

Conventions: what a piece measures depends on its notes, its bars, and the code and versions that
measure, so a result is kept under a hash of each. A piece is rendered with the one gain of
`musiclib.synth` at `TEMPO` and velocity 80, so that levels compare. Tables of pieces have one row
per piece, with columns model, seed, sample, file and the measures. The reference is the held-out
real set. What becomes of undefined features stands at the head of `musiclib.distance`.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import importlib.metadata
import io
import itertools
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
    Features,
    diversity_ratio,
    feature_distances,
    feature_vectors,
    resampled_distance,
    set_distances,
)
from musiclib.files import locked, sha256_of, write_json, write_text
from musiclib.measures import check_piece, measures
from musiclib.originality import WINDOW_LENGTHS, TrainingIndex
from musiclib.prepare import cores, is_macos_file
from musiclib.roll import COMMON_BARS, STEPS_PER_QUARTER, Bars, to_midi
from musiclib.synth import fluidsynth_version, soundfont_path, synthesize
from study.run import Progress
from study.sets import NO_SEED, RANGED, REAL, TEMPO, TRAINING, Sample, typical_range, within
from study.stats import Samples, seed_interval, values_by_seed

SR = 44_100  # audio samples per second of every rendering that is measured
# What `measures.check_piece` can find and its word for it, a column of 0 and 1 each.
PROBLEMS = {"no_note": "no note", "stuck": "stuck", "empty_bars_found": "empty bars"}
_NAMES = ("item", "code", "sha256")
_KINDS = ("exact", "transposed")  # of copied windows
_code = functools.cache(code_hash)
_SECONDS = 5.0  # between two writings: what a kill can lose
_PACKAGES = ("numpy", "scipy", "librosa", "pyloudnorm", "pretty_midi")
_DRAWS = 100  # random sets of one training run whose distances are averaged
AnyPath = str | os.PathLike[str]
Row = dict[str, Any]
Rolls = Mapping[str, Mapping[int, Sequence[np.ndarray]]]


def measure_roll(roll: np.ndarray, bars: Bars = COMMON_BARS, *, rendered: bool = True) -> Row:
    """Return `MEASURES`, `AUDIO_UNITS` (NaN unless it is rendered) and `PROBLEMS` of one piece."""
    sound = dict.fromkeys(AUDIO_UNITS, math.nan)
    if rendered:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # peak_dbfs above 0 says it
            sound = audio_measures(render(roll), sr=SR)
    return {**measures(roll, **bars.for_measures()), **sound, **problems(roll, bars)}


def render(roll: np.ndarray, *, sr: int = SR, velocity: int = 80) -> np.ndarray:
    """Render a piece as every piece is rendered: float32, rests at the end included."""
    seconds = len(roll) / STEPS_PER_QUARTER * 60 / TEMPO
    return synthesize(to_midi(roll, tempo=TEMPO, velocity=velocity), sr=sr, duration=seconds)


def problems(roll: np.ndarray, bars: Bars = COMMON_BARS) -> dict[str, float]:
    """Return 1.0 for each of `PROBLEMS` that `check_piece` finds, else 0.0."""
    found = {sentence.split(":")[0] for sentence in check_piece(roll, **bars.for_measures())}
    return {name: float(word in found) for name, word in PROBLEMS.items()}


def sample_table(
    samples: Sequence[Sample], *, index: TrainingIndex | None = None, **tables: Any
) -> pd.DataFrame:
    """Return what every piece measures, and with an index what is copied."""
    if not samples:
        raise ValueError("samples must hold at least one piece; got none")
    items = [(sample.roll, sample.bars) for sample in samples if sample.model != TRAINING]
    sounding = iter(measured(_measure_item, items, key=_item_key, **tables))
    rows = []
    for sample in samples:
        if sample.model == TRAINING:
            found = measure_roll(sample.roll, sample.bars, rendered=False)
        else:
            found = next(sounding)
            if index is not None:
                found = {**found, **index.count(sample.roll)}
                for kind in _KINDS:
                    run = index.longest_run(sample.roll, transposed=kind == "transposed")
                    found[f"longest_{kind}"] = run.length
        rows.append({**sample.keys, **found})
    return pd.DataFrame(rows)


def _measure_item(item: tuple[np.ndarray, Bars]) -> dict[str, float]:
    return measure_roll(*item)


def _item_key(item: tuple[np.ndarray, Bars]) -> str:
    roll, bars = item
    known = "x".join(map(str, (*roll.shape, *bars.for_measures().values())))
    return hashlib.sha256(f"{known} ".encode() + np.packbits(roll).tobytes()).hexdigest()


def measured(
    measure: Callable[[Any], Row], items: Sequence[Any], *, key: Callable[[Any], str],
    kept: AnyPath | None = None, released: AnyPath | None = None, workers: int | None = None,
) -> list[Row]:  # fmt: skip
    """Return the measures of each item: known ones from the tables, others measured now and kept.

    `measure` is importable, as it runs in other processes. `key` names an item; equal ones are
    measured once. `kept` is read and written (see `Kept`); `released` is read, whatever made it.
    """
    keys = [key(item) for item in items]
    own, given = Kept(kept, code=made_by()), Kept(released)
    known = {k: row for k in keys if (row := own.rows.get(k) or given.rows.get(k))}
    missing = {k: item for k, item in zip(keys, items, strict=True) if k not in known}
    line = Progress(len(missing), f"{len(known)} of {len(set(keys))} pieces known, measured")
    with own.writing(versions()):
        for k, found in zip(missing, _map(measure, list(missing.values()), workers), strict=True):
            known[k] = own.add(k, found)
            line.step()
    line.close()
    return [known[k] for k in keys]


def _map(measure: Callable[[Any], Row], items: list[Any], workers: int | None) -> Iterator[Row]:
    count = min(workers or cores(), len(items) // 20)  # items worth a process
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
    packages = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return {"Python": platform.python_version(), **packages, "FluidSynth": fluidsynth_version()}


class Kept:
    """Keep what was measured in one CSV table, under a hash of the item and one of the code.

    A row counts only if its SHA-256 is that of its fields, so a half-written one is measured again.
    A table is written by one code: rows of an older one go. Without a code every row is known;
    without a path nothing is kept. Beside it stands ``NAME.json``, the versions behind it.
    """

    def __init__(self, path: AnyPath | None, *, code: str = "") -> None:
        self.path, self.code = None if path is None else Path(path), code
        self.rows = {} if self.path is None else _read_rows(self.path, code)

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
        with locked(self.path):
            self.rows = {**_read_rows(self.path, self.code), **self.rows}  # with other processes'
            write_text(_as_csv(self.rows, self.code), self.path)
            write_json(self._versions, self.path.with_suffix(".json"))
        self._written = time.monotonic()


def made_with(path: AnyPath) -> dict[str, str]:
    """Return the versions behind a table, by package; nothing if they are not known."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _read_rows(path: Path, code: str) -> dict[str, Row]:
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
    names = dict.fromkeys(name for row in rows.values() for name in row)
    memory = io.StringIO()
    writer = csv.DictWriter(memory, [*_NAMES, *names], lineterminator="\n")
    writer.writeheader()
    for item, row in sorted(rows.items()):
        fields = {name: _text(value) for name, value in row.items()}
        writer.writerow({"item": item, "code": code, "sha256": _hash(item, code, fields), **fields})
    return memory.getvalue()


def _hash(item: str | None, code: str | None, fields: Mapping[str, str]) -> str:
    row = json.dumps([item, code, sorted(fields.items())])
    return hashlib.sha256(row.encode()).hexdigest()[:16]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(float(value))


def _value(field: str) -> Any:
    with contextlib.suppress(ValueError):
        return float(field)
    return field


def distance_table(
    table: pd.DataFrame, *, seed: int, n_resamples: int = 300, features: Features = FEATURES
) -> pd.DataFrame:
    """Return how far each set lies from held-out real music, with its interval.

    The reference is drawn too. ``floor`` is the mean distance of as many real training pieces, or
    of all if there are fewer. n are the pieces that define every kept feature, undefined the rest.
    """
    numbered = table.assign(place=table.groupby("model").cumcount())
    dropped, kept = _dropped_and_kept(table, features)
    others, options = values_by_seed(numbered, REAL, "place"), {"bounds": (0.0, math.inf)}
    options |= {"rng": np.random.default_rng(seed), "n_resamples": n_resamples}
    training, rows = _distance(table, TRAINING, features), []
    size = int((table["model"] == TRAINING).sum())
    for model, own in numbered[numbered["model"] != REAL].groupby("model", sort=False):
        places = values_by_seed(own, str(model), "place")
        found = seed_interval(_distance(table, str(model), features), places, others, **options)
        rng, n = np.random.default_rng(seed), min(len(own), size)
        draws = [training(rng.permutation(size)[:n]) for _ in range(_DRAWS if size else 0)]
        floor = float(np.mean(draws)) if draws else math.nan
        lacking = own[kept].isna().any(axis=1)
        sizes = (own["seed"].nunique(), int((~lacking).sum()), int(lacking.sum()))
        rows.append((model, *found[:3], floor, *sizes, ", ".join(dropped)))
    columns = ["model", "distance", "low", "high", "floor", "seeds", "n", "undefined", "dropped"]
    return pd.DataFrame(rows, columns=columns)


def _distance(table: pd.DataFrame, model: str, features: Features) -> Callable[..., float] | None:
    """Return the `resampled_distance` of a set's pieces, by their places; None if it has none."""
    sets = [table.loc[table["model"] == name, list(features)] for name in (model, REAL)]
    own, real = (rows.to_numpy(float) for rows in sets)
    return resampled_distance(own, real, features) if len(own) else None


def nearness(
    table: pd.DataFrame, first: str, second: str, features: Features = FEATURES
) -> tuple[Callable[..., float], list[Samples]]:
    """Return how much nearer to real music the first set is than the second, to be resampled.

    The function takes places of pieces of both sets and of the reference, the three `Samples`.
    """
    numbered = table.assign(place=table.groupby("model").cumcount())
    one, other = (_distance(table, model, features) for model in (first, second))
    places = [values_by_seed(numbered, model, "place") for model in (first, second, REAL)]
    return lambda a, b, real: other(b, real) - one(a, real), places


def distance_by_training(table: pd.DataFrame, *, size: int, seed: int) -> pd.DataFrame:
    """Return each training run's distance: the mean over `_DRAWS` random sets of `size` pieces."""
    real, features = table["model"] == REAL, list(FEATURES)
    reference = table.loc[real, features].to_numpy(float)
    rng, rows = np.random.default_rng(seed), []
    for (model, run), pieces in table[~real].groupby(["model", "seed"], sort=False):
        distance = resampled_distance(pieces[features].to_numpy(float), reference)
        n = min(size, len(pieces))
        draws = _DRAWS if n < len(pieces) else 1
        found = [distance(rng.permutation(len(pieces))[:n]) for _ in range(draws)]
        found = [value for value in found if not math.isnan(value)]
        rows.append((model, run, float(np.mean(found)) if found else math.nan, n))
    return pd.DataFrame(rows, columns=["model", "seed", "distance", "size"])


def _dropped_and_kept(table: pd.DataFrame, features: Features) -> tuple[list[str], list[str]]:
    counts = table.loc[table["model"] == REAL, list(features)].count()
    return [f for f in features if counts[f] < 2], [f for f in features if counts[f] >= 2]


def feature_distance_table(table: pd.DataFrame, features: Features = FEATURES) -> pd.DataFrame:
    """Return each set's `feature_distances` from held-out real music, by model and feature."""
    real = table[table["model"] == REAL]
    sets = table[table["model"] != REAL].groupby("model", sort=False)
    found = {model: feature_distances(rows, real, features) for model, rows in sets}
    return pd.concat(found, names=["model"]).reset_index()


def overlap_table(rolls: Rolls) -> pd.DataFrame:
    """Return each set's `set_distances` (Yang and Lerch's) to the real one, its seeds together."""
    vectors = {m: feature_vectors(itertools.chain(*seeds.values())) for m, seeds in rolls.items()}
    real = vectors.pop(REAL)
    found = {model: set_distances(ours, real) for model, ours in vectors.items()}
    return pd.concat(found, names=["model"]).reset_index()


def copied_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return what share of each set's windows stands in the training music, with its interval."""
    options = {"rng": np.random.default_rng(seed), "n_resamples": n_resamples}
    n_seeds, rows = table.groupby("model", sort=False)["seed"].nunique(), []
    for model, length, kind in itertools.product(n_seeds.index, WINDOW_LENGTHS, _KINDS):
        samples = values_by_seed(table, model, [f"{kind}_{length}", f"windows_{length}"])
        found = seed_interval(_share, samples, bounds=(0.0, 1.0), **options)
        windows = sum(np.nansum(values[:, 1]) for values in samples.values())
        if found.n:
            sizes = (int(windows), int(n_seeds[model]), found.n)
            rows.append((model, length, kind, *found[:3], *sizes))
    columns = ["model", "length", "kind", "share", "low", "high", "windows", "seeds", "n"]
    return pd.DataFrame(rows, columns=columns)


def _share(counts: np.ndarray) -> float:
    copied, windows = counts.sum(axis=0)
    return float(copied / windows) if windows else 0.0


def variety_table(rolls: Rolls, reference: Sequence[np.ndarray] | None = None) -> pd.DataFrame:
    """Return each run's `diversity_ratio` to the real set, or better to one piece of each tune."""
    real = next(iter(rolls[REAL].values())) if reference is None else reference
    rows = []
    for model, seeds in ((model, seeds) for model, seeds in rolls.items() if model != REAL):
        found = [diversity_ratio(pieces, real) for pieces in seeds.values()]
        nearest, pairwise = (np.array([f[i] for f in found]) for i in (0, 1))
        size = min(map(len, seeds.values()))
        rows.append((model, len(found), nearest.mean(), pairwise.mean(), nearest.min(), size))
    columns = ["model", "seeds", "nearest", "pairwise", "lowest_nearest", "n"]
    return pd.DataFrame(rows, columns=columns)


def real_range(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Return the `typical_range` of each measure in the real set: index measure; low, high, n."""
    if (real := table.loc[table["model"] == REAL, list(measures)]).empty:
        raise ValueError(f"table holds no piece of the set {REAL!r}, whose range is asked for")
    return typical_range(real)


def inside_range(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Tell which pieces lie inside the real pieces' range, a column per measure."""
    return within(table[list(measures)], real_range(table, measures))


def range_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what percentage of each set, and of its worst seed, is inside real music's range."""
    inside, rows = inside_range(table), []
    inside["all_four"] = inside.all(axis=1)
    for model, part in table.groupby("model", sort=False):
        shares = 100 * inside.loc[part.index].mean()
        by_seed = 100 * inside.loc[part.index, "all_four"].groupby(part["seed"]).mean()
        counts = part[list(PROBLEMS)].sum().astype(int)
        sizes = {"model": model, "seeds": part["seed"].nunique(), "n": len(part)}
        rows.append({**sizes, **shares, "lowest_seed": by_seed.min(), **counts})
    return pd.DataFrame(rows)


def features_outside(table: pd.DataFrame, features: Features = FEATURES) -> pd.Series:
    """Return in how many of the kept `features` each piece lies outside real music's range."""
    return (~inside_range(table, _dropped_and_kept(table, features)[1])).sum(axis=1)


# Recordings beside rendered pieces: a folder of real audio such as GTZAN. Their level was set by
# whoever mastered them: what depends on it (energy, power, RMS, peak, loudness) does not compare
# with rendered pieces; crest factor, centroid, flatness, onsets and noise do, with care.
SUFFIXES = (".wav", ".au", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
_MOST_FILES = 200


class RecordingError(ValueError):
    """A recording that cannot be measured; the message names the file and the reason."""


def recorded_table(folder: AnyPath, *, seconds: float, kept: AnyPath | None = None) -> pd.DataFrame:
    """Measure the first seconds of at most 200 of a folder's recordings; warn of each skipped."""
    if not (folder := Path(folder)).is_dir():
        raise FileNotFoundError(f"reference_audio: {folder} does not exist or is no folder")
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    found = sorted(p for p in found if not is_macos_file(p.relative_to(folder).as_posix()))
    count = min(len(found), _MOST_FILES)
    paths = [found[i * len(found) // count] for i in range(count)]
    measure, rows = functools.partial(measure_recording, seconds=seconds), []

    def key(path: Path) -> str:
        known = f"{_code(measure_recording)} {seconds} {sha256_of(path)}"
        return hashlib.sha256(known.encode()).hexdigest()

    for path, values in zip(paths, measured(measure, paths, key=key, kept=kept), strict=True):
        if "skipped" in values:
            warnings.warn(f"reference_audio: {values['skipped']}; skipped", stacklevel=2)
            continue
        keys = {"model": "audio", "seed": NO_SEED, "sample": len(rows)}
        rows.append({**keys, "file": path.relative_to(folder).as_posix(), **values})
    if not rows:
        none = f"reference_audio: {folder} holds no audio file of {seconds:g} s or more"
        raise FileNotFoundError(f"{none}; name a folder with some ({', '.join(SUFFIXES)})")
    return pd.DataFrame(rows)


def measure_recording(path: Path, *, seconds: float) -> Row:
    """Return the audio measures of a recording, or ``{"skipped": reason}``."""
    try:
        return dict(audio_measures(read_recording(path, seconds=seconds), sr=SR))
    except RecordingError as error:
        return {"skipped": str(error)}


def read_recording(path: AnyPath, *, seconds: float) -> np.ndarray:
    """Read the first seconds of an audio file at `SR`, float64, or raise `RecordingError`."""
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
