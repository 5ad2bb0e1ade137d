"""Measure recordings beside rendered pieces: a folder of real audio such as GTZAN.

Conventions: a recording is measured at the sample rate of every rendering, one channel, from its
start. A recording's level was set by whoever mastered it, not by a renderer's fixed gain: what
depends on level (energy, power, RMS, peak, loudness) does not compare with rendered pieces; crest
factor, centroid, flatness, onsets and noise do, with care: a file of 22,050 samples a second holds
nothing above 11 kHz.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musiclib.audio_metrics import audio_measures
from musiclib.code_hash import code_hash
from musiclib.entries import is_of_macos
from musiclib.evaluation import NO_SEED
from musiclib.files import sha256_of
from musiclib.measuring import SR, measured

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
