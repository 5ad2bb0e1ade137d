"""What could the paper's printed "energy" and "mean" be? The table, its bounds, what fits it.

The printed numbers are held against `study.printed`: meanings of the two words, computed
on clips of ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.audio import AES17_OFFSET_DB, validate

# ---- study.printed ----
# Readings of the words "energy" and "mean": every meaning that a paper could have given them.
#
# Conventions: waveforms as in `musiclib.audio`, or two channels, shape (N, 2). A *reading* is
# one meaning of the word ("energy" as RMS in dB, say) on one scale (as rendered, divided by the
# peak,
# in 16-bit steps), channel and sample rate. Tables are tidy: one row a value.


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
        If `x` is not a valid waveform (see `musiclib.audio.validate`) of one or two
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


# ---- study.printed ----
# What the paper's protocol can and cannot say: three picked clips of each model, one number each.
#
# Conventions: ``values`` holds one number a piece for each model, ``{model: array}``; a ranking is
# written with the largest first, as in ``vae > gan > lstm``. A picker sees all pieces and takes
# `PICKED` of each model.


PICKED = 3
"""Pieces of each model in the paper's table."""

Values = Mapping[str, np.ndarray]


def ranking(means: Mapping[str, float] | pd.Series, *, smallest_first: bool = False) -> str:
    """Return the models by falling value, or by rising value; models without one (NaN) last.

    Examples
    --------
    >>> ranking({"vae": 1.0, "gan": 3.0, "lstm": 2.0})
    'gan > lstm > vae'
    >>> ranking({"vae": 1.0, "gan": math.nan, "lstm": 2.0}, smallest_first=True)
    'vae < lstm, without a value: gan'
    """
    known = {model: value for model, value in dict(means).items() if not math.isnan(value)}
    ordered = sorted(known, key=lambda model: known[model] if smallest_first else -known[model])
    missing = [model for model in dict(means) if model not in known]
    told = (" < " if smallest_first else " > ").join(ordered)
    if not missing:
        return told
    return f"{told}{', ' if told else ''}without a value: {', '.join(missing)}"


def _checked(values: Values, size: int) -> dict[str, np.ndarray]:
    """Return each model's finite values in rising order, or say that they are too few."""
    found = {}
    for model, some in values.items():
        kept = np.sort(np.asarray(some, dtype=float))
        found[model] = kept[np.isfinite(kept)]
        if len(found[model]) < size:
            raise ValueError(
                f"values: {model} has {len(found[model])} finite values; at least {size} are picked"
            )
    return found


def picked_rankings(
    values: Values, *, rng: np.random.Generator, size: int = PICKED, n_draws: int = 20_000
) -> pd.DataFrame:
    """Return how often each ranking comes out by chance, and whether a picker can make it.

    Parameters
    ----------
    values : mapping of str to np.ndarray, each of shape (n,)
        One number a piece of each model; values that are not finite are left out.
    rng : np.random.Generator
        Source of every draw.
    size : int
        Pieces picked of each model.
    n_draws : int
        Draws of `size` pieces of each model, without replacement.

    Returns
    -------
    pd.DataFrame
        One row a ranking: ranking, by_means (share of draws whose means rank so), separated (share
        of draws in which every piece of a model also lies above every piece of the next, as in the
        paper's energies), can_be_picked (whether some choice of pieces separates so).

    Raises
    ------
    ValueError
        If a model has fewer than `size` finite values.
    """
    found = _checked(values, size)
    drawn = {model: _draws(some, size, n_draws, rng) for model, some in found.items()}
    rows = []
    for order in itertools.permutations(found):
        pairs = list(itertools.pairwise(drawn[model] for model in order))
        means = np.all([a.mean(axis=1) > b.mean(axis=1) for a, b in pairs], axis=0)
        apart = np.all([a.min(axis=1) > b.max(axis=1) for a, b in pairs], axis=0)
        name = " > ".join(order)
        rows.append((name, means.mean(), apart.mean(), can_be_picked(found, order, size=size)))
    return pd.DataFrame(rows, columns=["ranking", "by_means", "separated", "can_be_picked"])


def _draws(values: np.ndarray, size: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return draws of `size` values without replacement, shape (n_draws, size)."""
    chosen = rng.random((n_draws, len(values))).argpartition(size - 1, axis=1)[:, :size]
    return values[chosen]


def can_be_picked(values: Values, order: Sequence[str], *, size: int = PICKED) -> bool:
    """Tell whether `size` pieces of each model can be chosen so that all separate in this order.

    Parameters
    ----------
    values : mapping of str to np.ndarray, each of shape (n,)
        One number a piece of each model.
    order : sequence of str
        Models, the one that shall have the largest values first.
    size : int
        Pieces of each model.

    Returns
    -------
    bool

    Notes
    -----
    Exact: going up from the last model, each takes the lowest `size` of its values that lie above
    all taken before; if any choice works, this one does.

    Examples
    --------
    >>> values = {"a": np.array([1.0, 5.0]), "b": np.array([2.0, 3.0])}
    >>> [can_be_picked(values, order, size=1) for order in (["a", "b"], ["b", "a"])]
    [True, True]
    """
    highest = -math.inf
    for model in reversed(order):
        above = np.sort(values[model])
        above = above[above > highest]
        if len(above) < size:
            return False
        highest = above[size - 1]
    return True


def picked_means(values: Values, *, size: int = PICKED) -> pd.DataFrame:
    """Return how far a picker can push the mean of the pieces shown.

    Returns
    -------
    pd.DataFrame
        One row a model: model, n, lowest, mean, highest: the mean of its `size` smallest values, of
        all, and of its `size` largest.

    Raises
    ------
    ValueError
        If a model has fewer than `size` finite values.
    """
    rows = [
        (model, len(some), some[:size].mean(), some.mean(), some[-size:].mean())
        for model, some in _checked(values, size).items()
    ]
    return pd.DataFrame(rows, columns=["model", "n", "lowest", "mean", "highest"])


def separation_chance(models: int = 3, size: int = PICKED) -> float:
    """Return how likely one given full separation is if the models do not differ at all.

    Notes
    -----
    ``(size!)^models / (models * size)!``: 1 / 1680 for three models of three pieces.

    Examples
    --------
    >>> round(1 / separation_chance())
    1680
    """
    return math.factorial(size) ** models / math.factorial(models * size)


def adjusted_means(
    table: pd.DataFrame, value: str, covariates: Sequence[str], *, models: Sequence[str]
) -> pd.DataFrame:
    """Return each model's mean as it would be if all had the same covariates.

    Parameters
    ----------
    table : pd.DataFrame
        One row a piece, with column model.
    value : str
        What is adjusted.
    covariates : sequence of str
        What is held equal, such as the density of notes.
    models : sequence of str
        Sets to compare; one that has no row is left out.

    Returns
    -------
    pd.DataFrame
        One row a model: model, n, mean, adjusted, explained (R^2 of the covariates alone, the same
        in each row).

    Raises
    ------
    ValueError
        If fewer rows than unknowns are complete.

    Notes
    -----
    Analysis of covariance by least squares with one slope for all models; adjusted means are at the
    covariates' mean over all pieces. R. A. Fisher, 1932; our choice here.
    """
    columns = [value, *covariates]
    rows = table.loc[table["model"].isin(models), ["model", *columns]]
    rows = rows[np.isfinite(rows[columns]).all(axis=1)]
    present = [model for model in models if (rows["model"] == model).any()]
    if len(rows) <= len(present) + len(covariates):
        raise ValueError(
            f"table: {len(rows)} complete pieces are too few for {len(present)} models and "
            f"{len(covariates)} covariates"
        )
    y = rows[value].to_numpy(float)
    x = rows[list(covariates)].to_numpy(float) - rows[list(covariates)].to_numpy(float).mean(axis=0)
    groups = np.stack([(rows["model"] == model).to_numpy(float) for model in present], axis=1)
    solution = np.linalg.lstsq(np.hstack([groups, x]), y, rcond=None)[0]
    explained = _explained(x, y)
    out = [
        (model, int(g.sum()), y[g > 0].mean(), adjusted, explained)
        for model, g, adjusted in zip(present, groups.T, solution, strict=False)
    ]
    return pd.DataFrame(out, columns=["model", "n", "mean", "adjusted", "explained"])


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of y's variance that a linear function of centred x explains."""
    centred = y - y.mean()
    if not centred.any():
        return math.nan
    rest = centred - x @ np.linalg.lstsq(x, centred, rcond=None)[0]
    return float(1 - (rest**2).sum() / (centred**2).sum())
