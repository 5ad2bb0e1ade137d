"""Waveform -> file: 16-bit WAV to keep, MP3 for short clips in a notebook.

Conventions: full scale is 1.0, which 16 bits count as 32,768; both writers are atomic. Integers
cannot pass full scale, so a waveform that does is refused unless the caller asks to clip it.
"""

from __future__ import annotations

import io
import os
import warnings

import numpy as np

from musiclib.files import atomic_path

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
