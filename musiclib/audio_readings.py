"""Readings of the words "energy" and "mean": every meaning that a paper could have given them.

Conventions: waveforms as in `musiclib.audio_metrics`, or two channels, shape (N, 2). A *reading* is
one meaning of the word ("energy" as RMS in dB, say) on one scale (as rendered, divided by the peak,
in 16-bit steps), channel and sample rate. Tables are tidy: one row a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.audio_levels import AES17_OFFSET_DB, validate

PCM16 = 32_768.0
SAMPLE_RATES = (44_100, 22_050, 16_000, 8_000)
COLUMNS = ["quantity", "reading", "scale", "channel", "sr", "unit", "value"]


class _Sums(NamedTuple):
    """What readings are made of; `levels` is the mean of 20 log10 |x[n]| over x[n] not 0."""

    size: int
    sr: int
    squares: float
    total: float
    magnitudes: float
    median: float
    levels: float
    peak: float

    def scaled(self, factor: float) -> _Sums:
        return self._replace(
            squares=self.squares * factor**2,
            total=self.total * factor,
            magnitudes=self.magnitudes * factor,
            median=self.median * factor,
            levels=self.levels + level_db(factor),
        )


class _Reading(NamedTuple):
    quantity: str
    name: str
    unit: str
    value: Callable[[_Sums], float]


READINGS = (
    _Reading("energy", "sum of squares", "", lambda s: s.squares),
    _Reading("energy", "sum of squares / sr", "s", lambda s: s.squares / s.sr),
    _Reading("energy", "sum of squared spectrum", "", lambda s: s.squares * s.size),
    _Reading("energy", "sum of magnitudes", "", lambda s: s.magnitudes),
    _Reading("energy", "power", "", lambda s: s.squares / s.size),
    _Reading("energy", "RMS", "", lambda s: math.sqrt(s.squares / s.size)),
    _Reading("energy", "sum of squares in dB", "dB", lambda s: level_db(s.squares) / 2),
    _Reading("energy", "RMS in dB (square)", "dB", lambda s: level_db(s.squares / s.size) / 2),
    _Reading(
        "energy",
        "RMS in dB (AES17)",
        "dB",
        lambda s: level_db(s.squares / s.size) / 2 + AES17_OFFSET_DB,
    ),
    _Reading("mean", "mean", "", lambda s: s.total / s.size),
    _Reading("mean", "mean of magnitudes", "", lambda s: s.magnitudes / s.size),
    _Reading("mean", "mean of squares", "", lambda s: s.squares / s.size),
    _Reading("mean", "median", "", lambda s: s.median),
    _Reading("mean", "|mean| in dB", "dB", lambda s: level_db(abs(s.total) / s.size)),
    _Reading("mean", "mean of magnitudes in dB", "dB", lambda s: level_db(s.magnitudes / s.size)),
    _Reading("mean", "mean of sample levels in dB", "dB", lambda s: s.levels),
)
"""Every reading tried. The squared spectrum is that of an unnormalised transform, N times the
energy (Parseval), as MATLAB's `fft` gives it."""


def readings(x: np.ndarray, sr: int, *, sample_rates: Sequence[int] = SAMPLE_RATES) -> pd.DataFrame:
    """Return every reading of "energy" and "mean" of one clip.

    Parameters
    ----------
    x : np.ndarray, shape (N,) or (N, 2), float
        Full scale 1.0. Of two channels the mean, the left and the right are read.
    sr : int
        Samples per second of `x`.
    sample_rates : sequence of int
        The rates to read it at, by polyphase resampling where they differ from `sr`.

    Returns
    -------
    pd.DataFrame
        Columns `COLUMNS`: quantity ("energy" or "mean"), reading, scale ("as rendered",
        "peak-normalised", "16-bit steps"), channel, sr, unit, value. Of silence, sums are 0, levels
        -inf, and all that is divided by the peak NaN.

    Raises
    ------
    ValueError
        If `x` is not a valid waveform (see `musiclib.audio_metrics.validate`) of one or two
        channels.
    """
    rows = []
    for channel, samples in _split_channels(np.asarray(x)).items():
        for rate in sample_rates:
            sums = _sums(_resampled(validate(samples), sr, rate), rate)
            scales = {"as rendered": 1.0, "peak-normalised": _inverse(sums.peak)}
            for scale, factor in {**scales, "16-bit steps": PCM16}.items():
                rows += _rows(sums.scaled(factor), scale, channel, rate)
    return pd.DataFrame(rows, columns=COLUMNS)


def roll_readings(roll: np.ndarray, *, fs: float, velocity: int = 80) -> pd.DataFrame:
    """Return the readings of a piano roll, in case the paper's numbers are not of audio at all.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onsets and sustain, each read as one long signal of 0 and 1, and of 0 and `velocity`.
    fs : float
        Frames per second of the roll; it stands in the column sr.
    velocity : int, default 80
        1 to 127.

    Returns
    -------
    pd.DataFrame
        As `readings`; channel is "onset" or "sustain", scale "binary" or "velocity".
    """
    if roll.ndim != 3 or roll.shape[1:] != (88, 2) or not len(roll):
        raise ValueError(f"roll: shape {roll.shape}; allowed is (T, 88, 2) with T at least 1")
    rows = []
    for channel, name in enumerate(("onset", "sustain")):
        sums = _sums((roll[:, :, channel] > 0).astype(float).ravel(), fs)
        rows += _rows(sums, "binary", name, fs) + _rows(sums.scaled(velocity), "velocity", name, fs)
    return pd.DataFrame(rows, columns=COLUMNS)


def _split_channels(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the channels to read, by name."""
    if x.ndim == 2 and x.shape[1] == 2:
        return {"mono": x.mean(axis=1), "left": x[:, 0], "right": x[:, 1]}
    return {"mono": x}


def _resampled(x: np.ndarray, sr: int, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    common = math.gcd(int(sr), int(rate))
    return x if rate == sr else resample_poly(x, rate // common, sr // common)


def _sums(x: np.ndarray, sr: float) -> _Sums:
    magnitude = np.abs(x)
    sounding = magnitude[magnitude > 0]
    return _Sums(
        size=x.size,
        sr=sr,
        squares=float(x @ x),
        total=float(x.sum()),
        magnitudes=float(magnitude.sum()),
        median=float(np.median(x)),
        levels=float(20 * np.log10(sounding).mean()) if sounding.size else -math.inf,
        peak=float(magnitude.max()),
    )


def _rows(sums: _Sums, scale: str, channel: str, rate: float) -> list[tuple[object, ...]]:
    return [
        (each.quantity, each.name, scale, channel, rate, each.unit, each.value(sums))
        for each in READINGS
    ]


def _inverse(peak: float) -> float:
    return 1 / peak if peak else math.nan


def level_db(ratio: float) -> float:
    """Return 20 log10 of an amplitude ratio; -inf for 0, NaN for NaN."""
    return 20 * math.log10(ratio) if ratio else -math.inf
