"""Measure many pieces by every measure there is, on all cores, and remember what was measured.

Conventions: what a piece measures depends on its notes, its bars, and the code and versions that
measure, so a result is kept under a hash of each (`musiclib.kept`). Released measures are read
whatever the code and the versions are; the table says which made them. A piece is rendered with the
one gain of `synthesis` at 80 quarters a minute and velocity 80, so that levels compare.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import multiprocessing
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from musiclib.audio_metrics import AUDIO_UNITS, audio_measures
from musiclib.code_hash import code_hash
from musiclib.evaluation import TRAINING, Sample
from musiclib.files import sha256_of
from musiclib.kept import Kept
from musiclib.music_metrics import check_piece, measures
from musiclib.originality import TrainingIndex
from musiclib.pianoroll import STEPS_PER_QUARTER, to_midi
from musiclib.progress import progress
from musiclib.roll_notes import COMMON_BARS, Bars
from musiclib.synthesis import fluidsynth_version, soundfont_path, synthesize
from musiclib.workers import cores

SR = 44_100
"""Audio samples per second of every rendering that is measured."""

TEMPO = 80.0
"""Quarter notes a minute of every rendering that is measured."""

PROBLEMS = ("no_note", "stuck", "empty_bars_found")
"""What `music_metrics.check_piece` can find, a column of 0 and 1 each."""

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
        As `synthesis.synthesize`, for a peak above full scale.
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
        Table of earlier results (see `musiclib.kept`), read and written; None keeps nothing.
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
