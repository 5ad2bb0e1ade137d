"""Spectral and temporal measures of a waveform, and the measures of its noise.

Conventions: as in `musiclib.audio_metrics`, which gathers these and the levels. Frames have 2048
samples (46 ms at 44.1 kHz), one every 512. librosa is imported by the function that needs it, as
it compiles code on its first call.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from musiclib.audio_levels import validate

FLOOR_DB = -120.0
"""Where the noise levels stop: below what 16 bits can hold (-98 dB)."""

HIGH_BAND_HZ = 8000.0
"""Our choice: the highest piano key sounds at 4.2 kHz, so only overtones and noise lie above."""

ACTIVE_DB = 60.0
"""Frames within this of the loudest count as sounding (our choice)."""

N_FFT, HOP = 2048, 512


class SpectralMeasures(NamedTuple):
    """What `spectral_measures` returns, see the functions of these names."""

    centroid: float
    flatness: float
    onset_density: float


def spectral_centroid(x: ArrayLike, *, sr: int) -> float:
    """Return the centre of the magnitude spectrum in Hz, the mean over sounding frames.

    Returns
    -------
    float
        0 to sr / 2; a sine's frequency for a sine; NaN for silence.

    Notes
    -----
    librosa's ``spectral_centroid``; frames more than 60 dB below the loudest are left out, as
    silence has no centre.
    """
    return spectral_measures(x, sr=sr).centroid


def spectral_flatness(x: ArrayLike, *, sr: int) -> float:
    """Return how noise-like the spectrum is: geometric over arithmetic mean of the power spectrum.

    Returns
    -------
    float
        0 (a pure tone) to 1; about exp(-0.5772) = 0.561 for white noise, whose power spectrum
        scatters exponentially; NaN for silence. The mean over sounding frames.

    Notes
    -----
    librosa's ``spectral_flatness`` after division by the peak, so that the level does not count,
    and up to `HIGH_BAND_HZ` only (our choice): above it a rendered piano is empty, and the
    geometric mean would be of rounding errors. `high_band_db` measures what is there.
    """
    return spectral_measures(x, sr=sr).flatness


def onset_density(x: ArrayLike, *, sr: int) -> float:
    """Return the onsets that librosa hears in a second of the clip, release tail included.

    Returns
    -------
    float
        0 for silence. Notes that start together count once, and soft repeats may be missed: notes
        per second are better counted in the notes.

    Notes
    -----
    librosa's ``onset_detect`` with its defaults (spectral flux of the mel spectrogram in dB), after
    division by the peak.
    """
    return spectral_measures(x, sr=sr).onset_density


def spectral_measures(x: ArrayLike, *, sr: int) -> SpectralMeasures:
    """Return the three measures that share a spectrum, which costs more than the rest of them."""
    from librosa import feature

    x = validate(x)
    spectrum = _spectrum(x)
    if not spectrum.size:
        return SpectralMeasures(math.nan, math.nan, 0.0)
    level = (spectrum**2).sum(axis=0)
    sounding = spectrum[:, level > level.max() * 10 ** (-ACTIVE_DB / 10)]
    band = sounding[: math.floor(HIGH_BAND_HZ * N_FFT / sr) + 1]
    return SpectralMeasures(
        centroid=float(feature.spectral_centroid(S=sounding, sr=sr).mean()),
        flatness=float(feature.spectral_flatness(S=band).mean()),
        onset_density=_onsets(spectrum, sr) / (x.size / sr),
    )


def high_band_db(x: ArrayLike, *, sr: int, cutoff: float = HIGH_BAND_HZ) -> float:
    """Return the energy above `cutoff` Hz relative to all energy, in dB: hiss, clicks, clipping.

    Returns
    -------
    float
        `FLOOR_DB` to 0; for white noise 10 log10(1 - 2 cutoff / sr); NaN for silence.

    Raises
    ------
    ValueError
        If `cutoff` is not between 0 and sr / 2.
    """
    from scipy.fft import rfft

    x = validate(x)
    if not 0 < cutoff < sr / 2:
        raise ValueError(f"cutoff: {cutoff} Hz; allowed is above 0 and below sr / 2 = {sr / 2} Hz")
    density = np.abs(rfft(x)) ** 2
    density[1 : (x.size + 1) // 2] *= 2
    high = density[math.floor(cutoff * x.size / sr) + 1 :].sum()
    return _ratio_db(float(high), float(density.sum()))


def noise_floor_db(x: ArrayLike) -> float:
    """Return what remains between the notes: the quietest tenth's level over the mean power, in dB.

    Returns
    -------
    float
        `FLOOR_DB` to 0 dB; about 0 for steady sound or steady noise; NaN for silence.

    Notes
    -----
    Our choice: power of frames of 2048 samples side by side, from the first to the last sounding
    one (see `ACTIVE_DB`), 10th percentile over mean. Music that never pauses has a high floor
    without any noise.
    """
    x = validate(x)
    starts = np.arange(0, x.size, N_FFT)
    level = np.add.reduceat(x**2, starts) / np.minimum(N_FFT, x.size - starts)
    sounding = np.flatnonzero(level > level.max() * 10 ** (-ACTIVE_DB / 10))
    if not sounding.size:
        return math.nan
    level = level[sounding[0] : sounding[-1] + 1]
    return _ratio_db(float(np.percentile(level, 10)), float(level.mean()))


def _spectrum(x: np.ndarray) -> np.ndarray:
    """Return the magnitude spectra of x over its peak, shape (1025, frames); none of silence."""
    import librosa

    highest = np.abs(x).max()
    if not highest:
        return np.zeros((N_FFT // 2 + 1, 0), np.float32)
    y = np.pad((x / highest).astype(np.float32), (0, max(0, N_FFT - x.size)))
    return np.abs(librosa.stft(y, n_fft=N_FFT, hop_length=HOP))


def _onsets(spectrum: np.ndarray, sr: int) -> int:
    """Return how many onsets librosa finds, by the steps that it takes from a waveform."""
    import librosa

    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=sr))
    envelope = librosa.onset.onset_strength(S=mel, sr=sr)
    return len(librosa.onset.onset_detect(onset_envelope=envelope, sr=sr, hop_length=HOP))


def _ratio_db(part: float, whole: float) -> float:
    """Return 10 log10(part / whole), not below FLOOR_DB; NaN where there is no whole."""
    if not whole:
        return math.nan
    return 10 * math.log10(max(part / whole, 10 ** (FLOOR_DB / 10)))
