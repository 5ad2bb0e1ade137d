"""What could the paper's printed "energy" and "mean" be? The table, its bounds, what fits it.

The printed numbers are held against `musiclib.audio_readings`: meanings of the two words, computed
on clips of ours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.audio_levels import AES17_OFFSET_DB
from musiclib.audio_readings import COLUMNS, level_db, readings, roll_readings

__all__ = [
    "PAPER_TABLE",
    "ClipLength",
    "clip_length_bounds",
    "paper_bounds",
    "plausible",
    "plausible_pairs",
    "readings",
    "roll_readings",
]

PAPER_TABLE = pd.DataFrame(
    {
        "model": ["VAE"] * 3 + ["GAN"] * 3 + ["LSTM"] * 3,
        "sample": [0, 1, 2] * 3,
        "energy": [
            *(4.6085e04, 1.2842e04, 9.2387e03),
            *(150.3314, 106.7336, 113.0019),
            *(92.0556, 4.7353, 49.3611),
        ],
        "mean": [0.7116, 0.4031, 0.7011, -0.4634, -0.4270, -0.3910, -0.1270, -0.0973, -0.1079],
    }
)
"""The paper's only table, which prints energy in dBFS and mean in dB (G. S. R. Pavan and others,
Exploring the Potential of GANs, LSTM, and VAEs in Advancing Music Generation); copy it before
changing anything."""

_KEYS = COLUMNS[:-1]
_SIGNED = {"mean", "median"}
_ROUNDING = 1e-12


class ClipLength(NamedTuple):
    """How many samples a clip can have; `longest` is infinite where the mean is 0."""

    shortest: int
    longest: float


def clip_length_bounds(energy: float, mean: float) -> ClipLength:
    """Return the lengths that an energy and a mean allow, taken literally.

    Parameters
    ----------
    energy : float
        Sum of x[n]^2, above 0.
    mean : float
        Sum of x[n] over N.

    Returns
    -------
    ClipLength
        In samples. If `shortest` exceeds `longest`, no clip within full scale has both.

    Raises
    ------
    ValueError
        If the energy is not above 0 or either number is not finite.

    Notes
    -----
    Cauchy-Schwarz: (sum of x[n])^2 <= N sum of x[n]^2, so N <= energy / mean^2, with equality for a
    constant. With |x[n]| <= 1 each sample adds at most 1 to the energy, so N >= energy. Both allow
    for rounding errors of one in 10^12.

    Examples
    --------
    >>> clip_length_bounds(150.3314, -0.4634)
    ClipLength(shortest=151, longest=700)
    """
    if not (0 < energy < math.inf and math.isfinite(mean)):
        raise ValueError(
            f"energy, mean: {energy!r}, {mean!r}; allowed are a finite energy above 0 and a finite "
            "mean"
        )
    longest = math.floor(energy / mean**2 * (1 + _ROUNDING)) if mean else math.inf
    return ClipLength(math.ceil(energy * (1 - _ROUNDING)), longest)


def paper_bounds(*, sr: int = 44_100) -> pd.DataFrame:
    """Return `PAPER_TABLE` with the shortest and longest clip of each row, in samples and seconds.

    Returns
    -------
    pd.DataFrame
        Columns model, sample, energy, mean, shortest, longest, shortest_s, longest_s.
    """
    table = PAPER_TABLE.copy()
    bounds = [
        clip_length_bounds(*pair) for pair in zip(table["energy"], table["mean"], strict=True)
    ]
    for name, lengths in zip(ClipLength._fields, zip(*bounds, strict=True), strict=True):
        table[name] = lengths
    return table.assign(shortest_s=table["shortest"] / sr, longest_s=table["longest"] / sr)


def plausible(
    table: pd.DataFrame, printed: pd.DataFrame = PAPER_TABLE, *, factor: float = 10.0
) -> pd.DataFrame:
    """Return which readings could give the printed signs and magnitudes.

    Parameters
    ----------
    table : pd.DataFrame
        Rows of `readings` or `roll_readings` of many clips, concatenated.
    printed : pd.DataFrame
        With columns energy and mean; choose rows to ask for one model.
    factor : float, default 10
        How far beyond the range of our clips a printed number may lie, as theirs are other pieces:
        a ratio of amplitudes, so 20 log10(factor) dB where the reading is in dB.

    Returns
    -------
    pd.DataFrame
        A row a reading: quantity, reading, scale, channel, sr, unit, n, lowest, highest,
        printed_lowest, printed_highest, sign (each printed sign can occur), magnitude (each printed
        number lies within `factor` of our range), plausible (both).

    Raises
    ------
    ValueError
        If `factor` is below 1 or `table` has no finite value.

    Notes
    -----
    Our choice. A sum of squares or a magnitude is never negative; a mean and a median have either
    sign; a level in dB is not positive where full scale is 0 dB (AES17: not above 3.01). Values
    that are not finite (silence) are left out.
    """
    finite = table[np.isfinite(table["value"])]
    if factor < 1 or finite.empty:
        raise ValueError(
            f"factor, table: {factor}, {len(finite)} rows with a finite value; allowed are a "
            "factor of 1 and above, and at least one row"
        )
    rows = []
    for key, values in finite.groupby(_KEYS, sort=False, dropna=False)["value"]:
        row = dict(zip(_KEYS, key, strict=True))
        wanted = printed[row["quantity"]].to_numpy(float)
        rows.append(row | _judge(row, values.to_numpy(float), wanted, factor))
    return pd.DataFrame(rows)


def plausible_pairs(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of a plausible energy and a plausible mean on one scale, channel and rate.

    Parameters
    ----------
    verdicts : pd.DataFrame
        What `plausible` returns.

    Returns
    -------
    pd.DataFrame
        Columns scale, channel, sr, energy (reading), mean (reading); empty if nothing fits both.
    """
    fits = verdicts[verdicts["plausible"]]
    where = ["scale", "channel", "sr"]
    energy, mean = (
        fits[fits["quantity"] == quantity][[*where, "reading"]].rename(
            columns={"reading": quantity}
        )
        for quantity in ("energy", "mean")
    )
    return energy.merge(mean, on=where)


def _judge(
    row: dict[str, object], values: np.ndarray, wanted: np.ndarray, factor: float
) -> dict[str, object]:
    """Return our range, the printed one, and whether they can be the same."""
    if row["unit"] == "dB":
        margin = level_db(factor)
        sign = bool(wanted.max() <= _highest_db(row))
        magnitude = values.min() - margin <= wanted.min() and wanted.max() <= values.max() + margin
    else:
        ours, theirs = np.abs(values), np.abs(wanted)
        sign = row["reading"] in _SIGNED or bool((wanted >= 0).all())
        magnitude = ours.min() / factor <= theirs.min() and theirs.max() <= ours.max() * factor
    return {
        "n": len(values),
        "lowest": values.min(),
        "highest": values.max(),
        "printed_lowest": wanted.min(),
        "printed_highest": wanted.max(),
        "sign": sign,
        "magnitude": bool(magnitude),
        "plausible": bool(sign and magnitude),
    }


def _highest_db(row: dict[str, object]) -> float:
    """Return what a reading in dB cannot pass if no sample passes full scale."""
    if row["scale"] not in ("as rendered", "peak-normalised"):
        return math.inf
    special = {"sum of squares in dB": math.inf, "RMS in dB (AES17)": AES17_OFFSET_DB}
    return special.get(str(row["reading"]), 0.0)
