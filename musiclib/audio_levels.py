"""Levels of a waveform: energy, mean, power, RMS, peak, dBFS, crest factor, loudness.

The conventions stand in `musiclib.audio_metrics`, which gathers these and the spectral measures.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Convention = Literal["aes17", "square"]

AES17_OFFSET_DB = 20 * math.log10(math.sqrt(2))
"""What AES17 adds to the level that refers to a full-scale square: 3.01 dB."""

LOUDNESS_BLOCK = 0.4
"""Seconds of BS.1770's gating block: shorter clips have no loudness."""


def validate(x: ArrayLike, *, name: str = "x") -> np.ndarray:
    """Return a waveform as float64, or say what is wrong with it.

    Raises
    ------
    ValueError
        If `x` is not of floats, not one channel, empty, or has a sample that is not finite.

    Examples
    --------
    >>> validate(np.array([0, 1]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: x: samples of type int64; allowed are floats with full scale 1.0 (divide ...)
    """
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"{name}: samples of type {x.dtype}; allowed are floats with full scale 1.0 "
            "(divide 16-bit integers by 32768)"
        )
    if x.ndim != 1:
        raise ValueError(
            f"{name}: shape {x.shape}; allowed is one channel, shape (N,): choose "
            f"{name}[:, 0] or take {name}.mean(axis=1)"
        )
    if not x.size:
        raise ValueError(f"{name}: no samples; allowed is at least one")
    if not np.isfinite(x).all():
        count = np.count_nonzero(~np.isfinite(x))
        raise ValueError(f"{name}: {count} of {x.size} samples are NaN or infinite")
    return x.astype(np.float64, copy=False)


def energy(x: ArrayLike) -> float:
    """Return the energy, the sum of x[n]^2 (the paper's "energy"; no unit, and no dBFS).

    Examples
    --------
    >>> energy([0.5, -0.5, 0.5, -0.5])
    1.0
    """
    x = validate(x)
    return float(x @ x)


def mean(x: ArrayLike) -> float:
    """Return the mean, the sum of x[n] over N (the paper's "mean"): the waveform's DC offset.

    Examples
    --------
    >>> mean([0.5, 0.0, -0.25, -0.25])
    0.0
    """
    return float(validate(x).mean())


dc_offset = mean
"""What `mean` is called in audio."""


def power(x: ArrayLike) -> float:
    """Return the mean of x[n]^2: energy over N, so that length no longer counts."""
    x = validate(x)
    return float(x @ x / x.size)


def rms(x: ArrayLike) -> float:
    """Return the root of the power: 1 for a full-scale square, 0.7071 for a full-scale sine."""
    return math.sqrt(power(x))


def peak(x: ArrayLike) -> float:
    """Return the largest |x[n]|: the sample peak, not the true peak between samples."""
    return float(np.abs(validate(x)).max())


def to_dbfs(amplitude: float, *, convention: Convention) -> float:
    """Return an RMS amplitude in dB relative to full scale.

    Parameters
    ----------
    amplitude : float
        0 or above, full scale 1.0.
    convention : {"aes17", "square"}
        What reads 0 dBFS: a full-scale sine, or a full-scale square. Peaks take ``"square"``.

    Returns
    -------
    float
        20 log10(amplitude), 3.01 more under AES17; -inf for 0.

    Raises
    ------
    ValueError
        If the amplitude is negative or not finite, or the convention is neither.

    Examples
    --------
    >>> to_dbfs(1.0, convention="square"), round(to_dbfs(1.0, convention="aes17"), 2)
    (0.0, 3.01)
    """
    if convention not in ("aes17", "square"):
        raise ValueError(f"convention: {convention!r}; allowed are 'aes17' and 'square'")
    if not (amplitude >= 0 and math.isfinite(amplitude)):
        raise ValueError(f"amplitude: {amplitude!r}; allowed are finite numbers, 0 and above")
    offset = AES17_OFFSET_DB if convention == "aes17" else 0.0
    return 20 * math.log10(amplitude) + offset if amplitude else -math.inf


def rms_dbfs(x: ArrayLike, *, convention: Convention = "aes17") -> float:
    """Return the RMS level in dBFS; a full-scale sine reads 0 under AES17 and -3.01 otherwise."""
    return to_dbfs(rms(x), convention=convention)


def peak_dbfs(x: ArrayLike) -> float:
    """Return the sample peak in dBFS, 0 for a sample of 1.0; above 0 only in float audio."""
    return to_dbfs(peak(x), convention="square")


def crest_factor(x: ArrayLike) -> float:
    """Return peak over RMS: 1 for a square, 1.414 for a sine, NaN for silence."""
    level = rms(x)
    return peak(x) / level if level else math.nan


def loudness(x: ArrayLike, *, sr: int) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4, by pyloudnorm), as one mono channel.

    Returns
    -------
    float
        A full-scale sine of 997 Hz reads -3.01. -inf if nothing passes the gate at -70 LUFS, as in
        silence; NaN for a clip under 0.4 s, the standard's block.
    """
    import pyloudnorm

    x = validate(x)
    if x.size < LOUDNESS_BLOCK * sr:
        return math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(pyloudnorm.Meter(sr).integrated_loudness(x))
