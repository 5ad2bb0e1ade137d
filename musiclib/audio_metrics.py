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

import math

from numpy.typing import ArrayLike

from musiclib.audio_levels import (
    AES17_OFFSET_DB,
    crest_factor,
    dc_offset,
    energy,
    loudness,
    mean,
    peak,
    peak_dbfs,
    power,
    rms,
    rms_dbfs,
    to_dbfs,
    validate,
)
from musiclib.audio_spectrum import (
    FLOOR_DB,
    HIGH_BAND_HZ,
    high_band_db,
    noise_floor_db,
    onset_density,
    spectral_centroid,
    spectral_flatness,
    spectral_measures,
)

__all__ = [
    "AES17_OFFSET_DB",
    "AUDIO_UNITS",
    "FLOOR_DB",
    "HIGH_BAND_HZ",
    "audio_measures",
    "crest_factor",
    "dc_offset",
    "energy",
    "high_band_db",
    "loudness",
    "mean",
    "noise_floor_db",
    "onset_density",
    "peak",
    "peak_dbfs",
    "power",
    "rms",
    "rms_dbfs",
    "spectral_centroid",
    "spectral_flatness",
    "to_dbfs",
    "validate",
]

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
