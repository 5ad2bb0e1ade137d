"""Measure a waveform, write it as WAV or MP3, and bring clips to one loudness.

Conventions:

- A waveform `x` is one channel of finite floats, shape (N,), N at least 1; full scale is 1.0 and
  may be exceeded. `validate` refuses anything else. `sr` is samples per second.
- dBFS of a level has two conventions that differ by 3.01 dB, so `convention` is always named:
  ``"aes17"`` (AES17-2020, also IEC 61606): a full-scale sine reads 0 dBFS, a full-scale square
  +3.01; ``"square"``: a full-scale square reads 0 dBFS, a sine -3.01. A peak of 1.0 is 0 dBFS.
- Silence has energy, mean, power, RMS and peak 0; its levels and loudness are -inf; what divides by
  0 is NaN (crest factor, centroid, flatness, noise). The two noise levels end at `FLOOR_DB`.
- Spectra use frames of 2048 samples (46 ms at 44.1 kHz), one every 512. librosa compiles code on
  its first call, so it is imported where it is needed.
- Files (16-bit WAV or MP3) are written whole or not at all; clipping happens only on request.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from musiclib.files import atomic_path

Convention = Literal["aes17", "square"]
AES17_OFFSET_DB = 20 * math.log10(math.sqrt(2))  # from full-scale square to sine: 3.01 dB
LOUDNESS_BLOCK = 0.4  # seconds of BS.1770's gating block: shorter clips have no loudness
TARGET_LUFS = -23.0  # EBU R 128's loudness for programmes
CEILING_DBTP = -1.0  # EBU R 128's limit, which also leaves room for MP3's overshoot
FLOOR_DB = -120.0  # lowest noise level: below what 16 bits can hold (-98 dB)
ACTIVE_DB = 60.0  # frames within this of the loudest count as sounding (our choice)
HIGH_BAND_HZ = 8000.0  # only a piano's overtones and noise lie above (our choice)
N_FFT, HOP = 2048, 512
FULL_SCALE_16 = 32_768  # steps from zero to full scale, as `soundfile.read` counts them
MP3_RATES = (16_000, 22_050, 24_000, 32_000, 44_100)
LONGEST = 60.0  # seconds: the longest MP3, because a notebook embeds it

AUDIO_UNITS = {  # the measures of `audio_measures`, in order
    "energy": "", "mean": "", "power": "", "rms_dbfs": "dBFS (AES17)", "peak_dbfs": "dBFS",
    "loudness_lufs": "LUFS", "crest_factor_db": "dB", "dc_offset_dbfs": "dBFS",
    "spectral_centroid": "Hz", "spectral_flatness": "", "onset_density": "1/s",
    "high_band_db": "dB", "noise_floor_db": "dB",
}  # fmt: skip


def audio_measures(x: ArrayLike, *, sr: int) -> dict[str, float]:
    """Return every measure of a clip by name, in the order and units of `AUDIO_UNITS`."""
    values = (
        energy(x), mean(x), power(x), rms_dbfs(x), peak_dbfs(x), loudness(x, sr=sr),
        20 * math.log10(crest_factor(x)), to_dbfs(abs(mean(x)), convention="square"),
        *spectral_measures(x, sr=sr), high_band_db(x, sr=sr), noise_floor_db(x),
    )  # fmt: skip
    return dict(zip(AUDIO_UNITS, values, strict=True))


def validate(x: ArrayLike) -> np.ndarray:
    """Return a waveform as float64, or say what is wrong with it."""
    x = np.asarray(x)
    floats = np.issubdtype(x.dtype, np.floating)
    if x.ndim != 1 or not x.size or not floats:
        integers = f"divide samples of type {x.dtype} by full scale (16-bit integers by 32768)"
        advice = "choose one of two channels, or take their mean" if floats else integers
        got = f"got {x.dtype}, shape {x.shape}"
        raise ValueError(f"x must be floats of shape (N,), N > 0, {got}; {advice}")
    if not np.isfinite(x).all():
        count = np.count_nonzero(~np.isfinite(x))
        raise ValueError(f"x: {count} of {x.size} samples are NaN or infinite")
    return x.astype(np.float64, copy=False)


def energy(x: ArrayLike) -> float:
    """Return the energy, the sum of x[n]^2 (the paper's "energy"; no unit, and no dBFS)."""
    x = validate(x)
    return float(x @ x)


def mean(x: ArrayLike) -> float:
    """Return the mean, the sum of x[n] over N (the paper's "mean"): the waveform's DC offset."""
    return float(validate(x).mean())


def power(x: ArrayLike) -> float:
    """Return the mean of x[n]^2: energy over N, so length does not matter."""
    x = validate(x)
    return float(x @ x / x.size)


def rms(x: ArrayLike) -> float:
    """Return the root of the power: 1 for a full-scale square, 0.7071 for a full-scale sine."""
    return math.sqrt(power(x))


def peak(x: ArrayLike) -> float:
    """Return the largest |x[n]|: the sample peak, not the true peak between samples."""
    return float(np.abs(validate(x)).max())


def to_dbfs(amplitude: float, *, convention: Convention) -> float:
    """Return 20 log10 of an RMS amplitude or, under ``"square"``, of a peak; -inf for 0.

    >>> to_dbfs(1.0, convention="square"), round(to_dbfs(1.0, convention="aes17"), 2)
    (0.0, 3.01)
    """
    if convention not in ("aes17", "square"):
        raise ValueError(f"convention: {convention!r}; allowed: 'aes17' and 'square'")
    if not (amplitude >= 0 and math.isfinite(amplitude)):
        raise ValueError(f"amplitude: {amplitude!r}; allowed: finite numbers, 0 and above")
    offset = AES17_OFFSET_DB if convention == "aes17" else 0.0
    return 20 * math.log10(amplitude) + offset if amplitude else -math.inf


def rms_dbfs(x: ArrayLike, *, convention: Convention = "aes17") -> float:
    """Return the RMS level in dBFS; a full-scale sine reads 0 under AES17 and -3.01 otherwise."""
    return to_dbfs(rms(x), convention=convention)


def peak_dbfs(x: ArrayLike) -> float:
    """Return the sample peak in dBFS, 0 for a sample of 1.0; above 0 only in float audio."""
    return to_dbfs(peak(x), convention="square")


def true_peak_dbtp(x: ArrayLike) -> float:
    """Return the peak of the 4 times oversampled waveform in dBFS, not below the sample peak."""
    from scipy.signal import resample_poly

    x = validate(x)
    between = np.abs(resample_poly(x, 4, 1)).max()  # BS.1770-4, annex 2
    return to_dbfs(float(max(between, np.abs(x).max())), convention="square")


def crest_factor(x: ArrayLike) -> float:
    """Return peak over RMS: 1 for a square, 1.414 for a sine, NaN for silence."""
    level = rms(x)
    return peak(x) / level if level else math.nan


def loudness(x: ArrayLike, *, sr: int) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4, by pyloudnorm), as one mono channel.

    A full-scale sine of 997 Hz reads -3.01; -inf if nothing passes the gate at -70 LUFS; NaN for a
    clip under 0.4 s, the standard's block.
    """
    import pyloudnorm

    x = validate(x)
    if x.size < LOUDNESS_BLOCK * sr:
        return math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(pyloudnorm.Meter(sr).integrated_loudness(x))


def spectral_measures(x: ArrayLike, *, sr: int) -> tuple[float, float, float]:
    """Return centroid, flatness and onset density, which share a spectrum (most of the cost).

    Centroid: mean of librosa's over the sounding frames, in Hz; NaN for silence. Flatness: see
    `spectral_flatness`. Onset density: onsets that librosa detects per second of the clip (spectral
    flux of the mel spectrogram in dB), release tail included; 0 for silence. Notes that start
    together count once, and soft repeats may be missed, so count notes in the roll instead.
    """
    import librosa

    x = validate(x)
    highest = np.abs(x).max()
    if not highest:
        return math.nan, math.nan, 0.0
    y = np.pad((x / highest).astype(np.float32), (0, max(0, N_FFT - x.size)))
    spectrum = np.abs(librosa.stft(y, n_fft=N_FFT, hop_length=HOP))
    level = (spectrum**2).sum(axis=0)
    sounding = spectrum[:, level > level.max() * 10 ** (-ACTIVE_DB / 10)]
    band = sounding[: math.floor(HIGH_BAND_HZ * N_FFT / sr) + 1]
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=sr))
    envelope = librosa.onset.onset_strength(S=mel, sr=sr)
    onsets = librosa.onset.onset_detect(onset_envelope=envelope, sr=sr, hop_length=HOP)
    centroid = float(librosa.feature.spectral_centroid(S=sounding, sr=sr).mean())
    flatness = float(librosa.feature.spectral_flatness(S=band).mean())
    return centroid, flatness, len(onsets) / (x.size / sr)


def spectral_flatness(x: ArrayLike, *, sr: int) -> float:
    """Return how noise-like the spectrum is: geometric over arithmetic mean of the power spectrum.

    0 (a pure tone) to 1; about 0.561 for white noise; NaN for silence. librosa's, averaged over the
    sounding frames, up to `HIGH_BAND_HZ` (our choice): above it a piano leaves rounding errors.
    """
    return spectral_measures(x, sr=sr)[1]


def high_band_db(x: ArrayLike, *, sr: int) -> float:
    """Return the energy above `HIGH_BAND_HZ` relative to all energy, in dB: hiss, clicks, clipping.

    `FLOOR_DB` to 0; 10 log10(1 - 16000 / sr) for white noise; NaN for silence.
    """
    from scipy.fft import rfft

    x = validate(x)
    if sr <= 2 * HIGH_BAND_HZ:
        raise ValueError(f"sr: got {sr}; allowed: above 16000, as half of it bounds the spectrum")
    density = np.abs(rfft(x)) ** 2
    density[1 : (x.size + 1) // 2] *= 2
    high = density[math.floor(HIGH_BAND_HZ * x.size / sr) + 1 :].sum()
    return _ratio_db(float(high), float(density.sum()))


def noise_floor_db(x: ArrayLike) -> float:
    """Return the level between the notes: 10th percentile of power over mean power, in dB.

    `FLOOR_DB` to 0 (steady sound, steady noise). Our choice: adjacent frames, from the first to the
    last sounding one (see `ACTIVE_DB`). Music that never pauses has a high floor without noise.
    """
    x = validate(x)
    starts = np.arange(0, x.size, N_FFT)
    level = np.add.reduceat(x**2, starts) / np.minimum(N_FFT, x.size - starts)
    sounding = np.flatnonzero(level > level.max() * 10 ** (-ACTIVE_DB / 10))
    if not sounding.size:
        return math.nan
    level = level[sounding[0] : sounding[-1] + 1]
    return _ratio_db(float(np.percentile(level, 10)), float(level.mean()))


def _ratio_db(part: float, whole: float) -> float:
    if not whole:
        return math.nan
    return 10 * math.log10(max(part / whole, 10 ** (FLOOR_DB / 10)))


def write_wav(x: np.ndarray, path: str | os.PathLike[str], *, sr: int, clip: bool = False) -> None:
    """Write `x`, of shape (N,) or (N, 2), as a 16-bit PCM WAV file.

    Samples are rounded without dither, to within half a step (1.5e-5); +1.0 itself becomes the
    highest step, 32,767. A waveform beyond full scale is refused, or cut with a warning if `clip`.
    """
    if not (sr >= 1 and sr % 1 == 0):
        raise ValueError(f"sr: got {sr!r}; allowed: a whole number of samples per second")
    x = np.asarray(x)
    validate(x.ravel() if x.shape[1:] == (2,) else x)
    if over := int(np.count_nonzero(np.abs(x) > 1)):
        highest = np.abs(x).max()
        found = f"{over} of {x.size} samples are above full scale, the highest {highest:.3f}"
        if not clip:
            raise ValueError(f"x: {found}; lower the gain, divide by the peak, or pass clip=True")
        warnings.warn(f"{found}: they are cut", RuntimeWarning, stacklevel=2)
    steps = np.rint(np.multiply(np.clip(x, -1, 1), FULL_SCALE_16))
    steps = np.minimum(steps, FULL_SCALE_16 - 1).astype(np.int16)
    _write(path, _encode(steps, int(sr), format="WAV", subtype="PCM_16"))


def encode_mp3(x: np.ndarray, sr: int, *, compression: float = 0.9) -> bytes:
    """Return a waveform as an MP3: small, for listening, never for measuring.

    A sound beyond full scale is divided by its peak, which is printed. `sr` is one of `MP3_RATES`,
    the length at most `LONGEST`. With `compression` 0.9, 22.05 kHz take about 26 kbit per second.
    """
    import soundfile

    x = np.asarray(x)
    highest = peak(x)
    if sr not in MP3_RATES:
        raise ValueError(f"sr: got {sr}; allowed: {', '.join(map(str, MP3_RATES))}")
    if x.size > LONGEST * sr:
        seconds = x.size / sr
        raise ValueError(f"x lasts {seconds:.0f} s, but a player embeds at most {LONGEST:.0f} s")
    if "MP3" not in soundfile.available_formats():
        raise RuntimeError("this libsndfile writes no MP3; install libsndfile 1.1 or later")
    if highest > 1:
        decibels = 20 * math.log10(highest)
        print(f"peak {highest:.2f} ({decibels:+.1f} dBFS): played {decibels:.1f} dB softer")
        x = x / highest
    kind = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}
    return _encode(x, sr, compression_level=compression, **kind)


def _encode(x: np.ndarray, sr: int, **kind: Any) -> bytes:
    """Encode in memory: soundfile's own errors do not say why the system refused a write."""
    import soundfile

    memory = io.BytesIO()
    soundfile.write(memory, x, sr, **kind)
    return memory.getvalue()


def _write(path: str | os.PathLike[str], data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def match_loudness(
    waves: Mapping[str, np.ndarray], *, sr: int
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Bring clips of equal length to equal loudness by gain alone: no limiter, no clipping.

    All clips aim at `TARGET_LUFS`; if one would then exceed `CEILING_DBTP`, the target is lowered
    for all. Returns the clips (float32) and a table: code, loudness (LUFS before), gain_db, matched
    (LUFS after), true_peak (dBTP after), silent. A silent clip stays in, with gain 0 dB: omitting
    it would flatter its set.
    """
    lengths = sorted({len(x) for x in waves.values()})
    if len(lengths) != 1:
        raise ValueError(f"waves: lengths {lengths} in samples; allowed: clips of one length")
    if lengths[0] < LOUDNESS_BLOCK * sr:
        raise ValueError("waves: clips shorter than 0.4 s have no loudness")
    level = np.array([loudness(x, sr=sr) for x in waves.values()])
    highest = np.array([true_peak_dbtp(x) for x in waves.values()])
    silent = np.isneginf(level)
    common = min([TARGET_LUFS, *(level[~silent] - highest[~silent] + CEILING_DBTP)])
    gain = np.where(silent, 0.0, common - level)
    factors = zip(waves.items(), gain.tolist(), strict=True)
    matched = {code: (x * 10 ** (db / 20)).astype(np.float32) for (code, x), db in factors}
    table = {"code": list(waves), "loudness": level, "gain_db": gain, "matched": level + gain}
    table |= {"true_peak": highest + gain, "silent": silent}
    return matched, pd.DataFrame(table)


def write_clips(
    waves: Mapping[str, np.ndarray], folder: str | os.PathLike[str], *, sr: int
) -> list[Path]:
    """Write each clip as ``<code>.mp3`` and remove other clips; refuse one beyond full scale."""
    folder = Path(folder)
    files = [folder / f"{code}.mp3" for code in waves]
    for file, x in zip(files, waves.values(), strict=True):
        if peak(x) > 1:
            raise ValueError(f"waves: {file.stem} has a peak of {peak(x):.3f}; allowed: up to 1.0")
        _write(file, encode_mp3(x, sr, compression=0.4))  # libsndfile's default: larger, clearer
    for old in set(folder.glob("*.mp3")) - set(files):
        old.unlink()
    return files
