"""Clips of equal loudness: one target for all, reached by a gain alone, and never clipped.

Conventions: loudness is integrated over the whole clip, release tail included, in LUFS (ITU-R
BS.1770-4, by pyloudnorm). Every clip is multiplied by one number; no limiter or compressor touches
it, so its inner dynamics stay. Louder clips are liked better for being louder: that is why.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from musiclib.audio_files import write_mp3
from musiclib.audio_levels import loudness, to_dbfs, validate

TARGET_LUFS = -23.0
"""Loudness aimed at: EBU R 128's for programmes."""

CEILING_DBTP = -1.0
"""True peak that no clip passes: EBU R 128's limit, which also leaves room for MP3's overshoot."""

OVERSAMPLING = 4
"""Factor at which the peaks between samples are looked for (BS.1770-4, annex 2)."""


def true_peak_dbtp(x: np.ndarray) -> float:
    """Return the true peak in dB relative to full scale: the highest of the 4 times oversampled x.

    Parameters
    ----------
    x : np.ndarray, shape (N,), float
        Full scale 1.0.

    Returns
    -------
    float
        Never below the sample peak; -inf for silence.
    """
    from scipy.signal import resample_poly

    x = validate(x)
    between = np.abs(resample_poly(x, OVERSAMPLING, 1)).max()
    return to_dbfs(float(max(between, np.abs(x).max())), convention="square")


def match_loudness(
    waves: Mapping[str, np.ndarray],
    *,
    sr: int,
    target: float = TARGET_LUFS,
    ceiling: float = CEILING_DBTP,
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Bring clips to one loudness.

    Parameters
    ----------
    waves : mapping of str to np.ndarray, each of shape (N,), float
        Clips by code, all of one length.
    sr : int
        Audio samples per second.
    target : float
        LUFS. Where a clip would then pass the ceiling, the target of *all* is lowered to what that
        clip can reach, so that they stay equal.
    ceiling : float
        dBTP, 0 at most.

    Returns
    -------
    dict of str to np.ndarray, each of shape (N,), float32
        The clips with their gain.
    pd.DataFrame
        code, loudness (LUFS before), gain_db, matched (LUFS after), true_peak (dBTP after), silent.
        A silent clip (loudness -inf) cannot be matched: it stays in, as it is, with gain 0 dB and
        silent True, since leaving it out would flatter the set that it comes from.

    Raises
    ------
    ValueError
        If there is no clip, they differ in length, or one is shorter than 0.4 s, which has no
        loudness.
    """
    if not waves:
        raise ValueError("waves: no clips; allowed is one or more")
    lengths = sorted({len(x) for x in waves.values()})
    if len(lengths) > 1:
        raise ValueError(f"waves: lengths {lengths} in samples; allowed is one length for all")
    if ceiling > 0:
        raise ValueError(f"ceiling: got {ceiling} dBTP, allowed is 0 at most")
    before = {code: loudness(x, sr=sr) for code, x in waves.items()}
    peaks = {code: true_peak_dbtp(x) for code, x in waves.items()}
    if short := [code for code, level in before.items() if math.isnan(level)]:
        raise ValueError(f"waves: {short[0]} is shorter than 0.4 s, so it has no loudness")
    reachable = [before[c] - peaks[c] + ceiling for c in waves if math.isfinite(before[c])]
    common = min([target, *reachable])
    gains = {c: common - level if math.isfinite(level) else 0.0 for c, level in before.items()}
    made = {c: (x * 10 ** (gains[c] / 20)).astype(np.float32) for c, x in waves.items()}
    rows = [
        (c, before[c], gains[c], before[c] + gains[c], peaks[c] + gains[c], before[c] == -math.inf)
        for c in waves
    ]
    columns = ["code", "loudness", "gain_db", "matched", "true_peak", "silent"]
    return made, pd.DataFrame(rows, columns=columns)


def write_clips(
    waves: Mapping[str, np.ndarray], folder: str | os.PathLike[str], *, sr: int
) -> list[Path]:
    """Write each clip as ``<code>.mp3``, and remove other clips that an earlier test left there.

    Returns
    -------
    list of pathlib.Path
        In the order of `waves`. The files name no model and carry no tags.

    Raises
    ------
    ValueError, RuntimeError, OSError
        As `audio_files.write_mp3`; a clip beyond full scale is refused, never cut.
    """
    folder = Path(folder)
    files = [folder / f"{code}.mp3" for code in waves]
    for file, x in zip(files, waves.values(), strict=True):
        write_mp3(x, file, sr=sr)
    for old in set(folder.glob("*.mp3")) - set(files):
        old.unlink()
    return files
