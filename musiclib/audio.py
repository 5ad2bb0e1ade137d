"""Numbers about a waveform: the paper's energy and mean, and what levels should be measured by.

Conventions:

- A waveform `x` is one channel of floats, shape (N,), N at least 1, every sample finite; full scale
  is 1.0 and may be passed. `sr` is samples per second. `validate` refuses everything else: stereo
  (choose a channel or take the mean), integers (divide by their full scale first), NaN, nothing.
- dBFS of a level has two conventions that differ by 3.01 dB, so `convention` is always named:
  ``"aes17"`` (AES17-2020, also IEC 61606): a full-scale sine reads 0 dBFS, a full-scale square
  +3.01; ``"square"``: a full-scale square reads 0 dBFS, a full-scale sine -3.01. Peaks have one: a
  sample of 1.0 is 0 dBFS.
- Silence has energy, mean, power, RMS and peak 0; its levels and loudness are -inf; ratios (crest
  factor, centroid, flatness, noise) are NaN, as they divide by nothing. The two noise levels stop
  at `FLOOR_DB` instead of -inf.
- Sums run in float64 whatever the type of `x`.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from musiclib.files import atomic_path

# ---- musiclib.audio ----
# Levels of a waveform: energy, mean, power, RMS, peak, dBFS, crest factor, loudness.
#
# The conventions stand in `musiclib.audio`, which gathers these and the spectral measures.


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


# ---- musiclib.audio ----
# Spectral and temporal measures of a waveform, and the measures of its noise.
#
# Conventions: as in `musiclib.audio`, which gathers these and the levels. Frames have 2048
# samples (46 ms at 44.1 kHz), one every 512. librosa is imported by the function that needs it, as
# it compiles code on its first call.


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


AUDIO_UNITS = {
    "energy": "",
    "mean": "",
    "power": "",
    "rms_dbfs": "dBFS (AES17)",
    "peak_dbfs": "dBFS",
    "loudness_lufs": "LUFS",
    "crest_factor_db": "dB",
    "dc_offset_dbfs": "dBFS",
    "spectral_centroid": "Hz",
    "spectral_flatness": "",
    "onset_density": "1/s",
    "high_band_db": "dB",
    "noise_floor_db": "dB",
}
"""The measures of `audio_measures`, in order, and their units."""


def audio_measures(x: ArrayLike, *, sr: int) -> dict[str, float]:
    """Return every measure of a clip by name, in the order and units of `AUDIO_UNITS`.

    Raises
    ------
    ValueError
        As `validate`; or if `sr` is not above 16,000, so that there is a band above 8 kHz.
    """
    x = validate(x)
    spectral = spectral_measures(x, sr=sr)
    crest = crest_factor(x)
    values = (
        energy(x),
        mean(x),
        power(x),
        rms_dbfs(x, convention="aes17"),
        peak_dbfs(x),
        loudness(x, sr=sr),
        20 * math.log10(crest),
        to_dbfs(abs(mean(x)), convention="square"),
        *spectral,
        high_band_db(x, sr=sr),
        noise_floor_db(x),
    )
    return dict(zip(AUDIO_UNITS, values, strict=True))


# ---- musiclib.audio ----
# Waveform -> file: 16-bit WAV to keep, MP3 for short clips in a notebook.
#
# Conventions: full scale is 1.0, which 16 bits count as 32,768; both writers are atomic. Integers
# cannot pass full scale, so a waveform that does is refused unless the caller asks to clip it.


FULL_SCALE_16 = 32_768
"""Steps of 16-bit audio from zero to full scale, as `soundfile.read` counts them."""

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def write_wav(x: np.ndarray, path: str | os.PathLike[str], *, sr: int, clip: bool = False) -> None:
    """Write `x` as a 16-bit PCM WAV file.

    Parameters
    ----------
    x : np.ndarray, shape (N,) or (N, 2), float
        Full scale 1.0. Rounded to the nearest of 65,536 steps without dither, so the file is the
        waveform to within half a step, 1.5e-5; +1.0 itself becomes the highest step, 32,767.
    path : str or os.PathLike
        The file to write.
    sr : int
        Samples per second.
    clip : bool, default False
        Cut what is above full scale, with a warning that says how many samples.

    Raises
    ------
    ValueError
        If `x` is empty, not of floats, has a NaN, or passes full scale and `clip` is False; or if
        `sr` is no rate.
    OSError
        If the file cannot be written; nothing half-written is left.
    """
    if not (sr >= 1 and sr % 1 == 0):
        raise ValueError(f"sr: got {sr!r}, allowed is a whole number of samples per second")
    steps = np.rint(np.multiply(_bounded(x, clip=clip), FULL_SCALE_16))
    _write(np.minimum(steps, FULL_SCALE_16 - 1).astype(np.int16), path, sr, "WAV", "PCM_16")


def write_mp3(x: np.ndarray, path: str | os.PathLike[str], *, sr: int, clip: bool = False) -> None:
    """Write `x` as an MP3 file: small, for listening only, never to measure.

    Parameters are those of `write_wav`; `sr` is one of `MP3_RATES`.

    Raises
    ------
    ValueError
        As in `write_wav`, or if `sr` is none that MP3 knows.
    RuntimeError
        If this libsndfile is older than 1.1 and writes no MP3.
    OSError
        If the file cannot be written; nothing half-written is left.
    """
    import soundfile

    if sr not in MP3_RATES:
        raise ValueError(f"sr: {sr!r}; MP3 allows {', '.join(map(str, MP3_RATES))}")
    if "MP3" not in soundfile.available_formats():
        raise RuntimeError(
            f"libsndfile {soundfile.__libsndfile_version__} writes no MP3: install version 1.1 or "
            "later, or use write_wav"
        )
    _write(_bounded(x, clip=clip), path, sr, "MP3", "MPEG_LAYER_III")


def _bounded(x: np.ndarray, *, clip: bool) -> np.ndarray:
    """Return `x` checked, and within full scale."""
    x = np.asarray(x)
    shaped = x.ndim == 1 or (x.ndim == 2 and x.shape[1] == 2)
    if not np.issubdtype(x.dtype, np.floating) or not shaped or x.size == 0:
        raise ValueError(
            f"x: an array of {x.dtype}, shape {x.shape}; allowed are floats of shape (N,) or (N, 2)"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"x: {np.count_nonzero(~np.isfinite(x))} samples are NaN or infinite")
    over = int(np.count_nonzero(np.abs(x) > 1))
    if not over:
        return x
    told = f"{over} of {x.size} samples are above full scale, the highest {np.abs(x).max():.3f}"
    if not clip:
        raise ValueError(f"x: {told}; lower the gain, divide by the peak, or pass clip=True")
    warnings.warn(f"{told}: they are cut", RuntimeWarning, stacklevel=3)
    return np.clip(x, -1, 1)


def _write(x: np.ndarray, path: str | os.PathLike[str], sr: int, kind: str, subtype: str) -> None:
    """Encode in memory, then write in one go: a full disk shows as an OSError, not as libsndfile's.

    Notes
    -----
    soundfile's own errors do not say why the system refused a write.
    """
    import soundfile

    memory = io.BytesIO()
    soundfile.write(memory, x, int(sr), format=kind, subtype=subtype)
    with atomic_path(path) as temporary:
        temporary.write_bytes(memory.getvalue())


# ---- musiclib.audio ----
# Clips of equal loudness: one target for all, reached by a gain alone, and never clipped.
#
# Conventions: loudness is integrated over the whole clip, release tail included, in LUFS (ITU-R
# BS.1770-4, by pyloudnorm). Every clip is multiplied by one number; no limiter or compressor
# touches
# it, so its inner dynamics stay. Louder clips are liked better for being louder: that is why.


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
        As `audio.write_mp3`; a clip beyond full scale is refused, never cut.
    """
    folder = Path(folder)
    files = [folder / f"{code}.mp3" for code in waves]
    for file, x in zip(files, waves.values(), strict=True):
        write_mp3(x, file, sr=sr)
    for old in set(folder.glob("*.mp3")) - set(files):
        old.unlink()
    return files
