"""What the paper's printed "energy" and "mean" could be, and what three picked pieces can show.

Conventions: waveforms as in `musiclib.audio`, or two channels, shape (N, 2). A *reading* is one
meaning of the word ("energy" as RMS in dB, say) on one scale (as rendered, divided by the peak, in
16-bit steps), channel and sample rate. A *picker* sees all pieces of each model and shows `PICKED`
of them; `values` holds one number per piece for each model. A ranking has the largest first:
``vae > gan > lstm``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib.audio import AES17_OFFSET_DB, validate

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

_ROUNDING = 1e-12


# Bounds: taken literally, the printed numbers say how long the clips are.


class ClipLength(NamedTuple):
    """How many samples a clip can have; `longest` is infinite where the mean is 0."""

    shortest: int
    longest: float


def clip_length_bounds(energy: float, mean: float) -> ClipLength:
    """Return the lengths in samples that an energy (sum of x[n]^2) and a mean allow.

    Cauchy-Schwarz: (sum of x[n])^2 <= N sum of x[n]^2, so N <= energy / mean^2, with equality for a
    constant. With |x[n]| <= 1 each sample adds at most 1 to the energy, so N >= energy. Both allow
    for rounding errors of one in 10^12. If `shortest` exceeds `longest`, no clip within full scale
    has both.

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
    """Return `PAPER_TABLE` with the columns shortest, longest (samples), shortest_s, longest_s."""
    bounds = list(map(clip_length_bounds, PAPER_TABLE["energy"], PAPER_TABLE["mean"]))
    table = PAPER_TABLE.join(pd.DataFrame(bounds))
    return table.assign(shortest_s=table["shortest"] / sr, longest_s=table["longest"] / sr)


# Readings: every meaning that a paper could have given the two words.

SAMPLE_RATES = (44_100, 22_050, 16_000, 8_000)
COLUMNS = ["quantity", "reading", "scale", "channel", "sr", "unit", "value"]
FACTOR = 10.0
"""How far beyond the range of our clips a printed number may lie, as theirs are other pieces: a
ratio of amplitudes, so 20 dB where the reading is in dB."""

_PCM16 = 32_768.0
_SIGNED = {"mean", "median"}


class _Sums(NamedTuple):
    """What readings are made of; `levels` is the mean of 20 log10 |x[n]| over x[n] not 0."""

    size: int
    sr: float
    squares: float
    total: float
    magnitudes: float
    median: float
    levels: float
    peak: float

    @classmethod
    def of(cls, x: np.ndarray, sr: float) -> _Sums:
        magnitude = np.abs(x)
        sounding = magnitude[magnitude > 0]
        levels = float(20 * np.log10(sounding).mean()) if sounding.size else -math.inf
        sums = (x @ x, x.sum(), magnitude.sum(), np.median(x), levels, magnitude.max())
        return cls(x.size, sr, *map(float, sums))

    def scaled(self, factor: float) -> _Sums:
        return self._replace(
            squares=self.squares * factor**2,
            total=self.total * factor,
            magnitudes=self.magnitudes * factor,
            median=self.median * factor,
            levels=self.levels + _db(factor),
        )

    def rows(self, scale: str, channel: str) -> list[tuple[object, ...]]:
        return [
            (quantity, reading, scale, channel, self.sr, unit, value(self))
            for quantity, reading, unit, value in READINGS
        ]


def _db(ratio: float) -> float:
    """Return 20 log10 of a ratio of amplitudes: -inf for 0, NaN for NaN."""
    return 20 * math.log10(ratio) if ratio else -math.inf


READINGS: tuple[tuple[str, str, str, Callable[[_Sums], float]], ...] = (
    ("energy", "sum of squares", "", lambda s: s.squares),
    ("energy", "sum of squares / sr", "s", lambda s: s.squares / s.sr),
    ("energy", "sum of squared spectrum", "", lambda s: s.squares * s.size),
    ("energy", "sum of magnitudes", "", lambda s: s.magnitudes),
    ("energy", "power", "", lambda s: s.squares / s.size),
    ("energy", "RMS", "", lambda s: math.sqrt(s.squares / s.size)),
    ("energy", "sum of squares in dB", "dB", lambda s: _db(s.squares) / 2),
    ("energy", "RMS in dB (square)", "dB", lambda s: _db(s.squares / s.size) / 2),
    ("energy", "RMS in dB (AES17)", "dB", lambda s: _db(s.squares / s.size) / 2 + AES17_OFFSET_DB),
    ("mean", "mean", "", lambda s: s.total / s.size),
    ("mean", "mean of magnitudes", "", lambda s: s.magnitudes / s.size),
    ("mean", "mean of squares", "", lambda s: s.squares / s.size),
    ("mean", "median", "", lambda s: s.median),
    ("mean", "|mean| in dB", "dB", lambda s: _db(abs(s.total) / s.size)),
    ("mean", "mean of magnitudes in dB", "dB", lambda s: _db(s.magnitudes / s.size)),
    ("mean", "mean of sample levels in dB", "dB", lambda s: s.levels),
)
"""Every reading tried: quantity, name, unit, value. The squared spectrum is that of an unnormalised
transform, N times the energy (Parseval), as MATLAB's `fft` gives it."""


def readings(x: np.ndarray, sr: int, *, sample_rates: Sequence[int] = SAMPLE_RATES) -> pd.DataFrame:
    """Return every reading of one clip, shape (N,) or (N, 2), with the columns `COLUMNS`.

    Of two channels the mean (mono), the left and the right are read, each at every sample rate, by
    polyphase resampling. The scales are "as rendered", "peak-normalised" and "16-bit steps". Of
    silence, sums are 0, levels -inf, and all that is divided by the peak NaN.
    """
    from scipy.signal import resample_poly

    x = np.asarray(x)
    channels = {"mono": x}
    if x.ndim == 2 and x.shape[1] == 2:
        channels = {"mono": x.mean(axis=1), "left": x[:, 0], "right": x[:, 1]}
    rows = []
    for channel, each in channels.items():
        samples = validate(each)
        for rate in sample_rates:
            resampled = samples if rate == sr else resample_poly(samples, rate, sr)
            sums = _Sums.of(resampled, rate)
            normalised = sums.scaled(1 / sums.peak if sums.peak else math.nan)
            rows += sums.rows("as rendered", channel)
            rows += normalised.rows("peak-normalised", channel)
            rows += sums.scaled(_PCM16).rows("16-bit steps", channel)
    return pd.DataFrame(rows, columns=COLUMNS)


def roll_readings(roll: np.ndarray, *, fs: float) -> pd.DataFrame:
    """Return the readings of a piano roll, in case the paper's numbers are not of audio at all.

    The channels "onset" and "sustain" of a roll of shape (T, 88, 2) are each read as one long
    signal of 0 and 1 (scale "binary"), and of 0 and 80 ("velocity"). The roll's frames
    per second stand in the column sr.
    """
    if roll.ndim != 3 or roll.shape[1:] != (88, 2) or not len(roll):
        raise ValueError(f"roll: shape {roll.shape}; allowed is (T, 88, 2) with T at least 1")
    rows = []
    for channel, name in enumerate(("onset", "sustain")):
        sums = _Sums.of((roll[:, :, channel] > 0).astype(float).ravel(), fs)
        rows += sums.rows("binary", name) + sums.scaled(80).rows("velocity", name)
    return pd.DataFrame(rows, columns=COLUMNS)


def plausible(table: pd.DataFrame, printed: pd.DataFrame = PAPER_TABLE) -> pd.DataFrame:
    """Return which readings could give the printed signs and magnitudes, one row per reading.

    `table` holds the readings of many clips; values that are not finite (silence) are skipped.
    `printed` has the columns energy and mean: choose rows to ask for one model. Beside the keys of
    a reading the columns are n, lowest, highest, printed_lowest, printed_highest, sign (each
    printed sign can occur), magnitude (each printed number lies within `FACTOR` of our range) and
    plausible (both).

    Our choice: a sum of squares or a magnitude is never negative; a mean and a median have either
    sign; a level in dB is not positive where full scale is 0 dB (AES17: not above 3.01).
    """
    finite = table[np.isfinite(table["value"])]
    if finite.empty:
        raise ValueError("table: 0 rows with a finite value; allowed is at least one")
    keys, rows = COLUMNS[:-1], []
    for key, values in finite.groupby(keys, sort=False, dropna=False)["value"]:
        row = dict(zip(keys, key, strict=True))
        rows.append(row | _judge(row, values.to_numpy(float), printed[row["quantity"]].to_numpy()))
    return pd.DataFrame(rows)


def _judge(row: dict[str, object], ours: np.ndarray, printed: np.ndarray) -> dict[str, object]:
    found = {"n": len(ours), "lowest": ours.min(), "highest": ours.max()}
    found |= {"printed_lowest": printed.min(), "printed_highest": printed.max()}
    if row["unit"] == "dB":
        highest = {"sum of squares in dB": math.inf, "RMS in dB (AES17)": AES17_OFFSET_DB}
        bounded = row["scale"] in ("as rendered", "peak-normalised")
        sign = not bounded or printed.max() <= highest.get(str(row["reading"]), 0.0)
        low, high = ours.min() - _db(FACTOR), ours.max() + _db(FACTOR)
    else:
        sign = row["reading"] in _SIGNED or (printed >= 0).all()
        low, high = np.abs(ours).min() / FACTOR, np.abs(ours).max() * FACTOR
        printed = np.abs(printed)
    magnitude = low <= printed.min() and printed.max() <= high
    verdict = {"sign": sign, "magnitude": magnitude, "plausible": sign and magnitude}
    return found | {name: bool(holds) for name, holds in verdict.items()}


def plausible_pairs(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of a plausible energy and a plausible mean on one scale, channel and rate.

    `verdicts` is what `plausible` returns; the columns are scale, channel, sr, energy and mean (the
    names of the readings).
    """
    where = ["scale", "channel", "sr"]
    fits = verdicts[verdicts["plausible"]]
    energy, mean = (
        fits.loc[fits["quantity"] == quantity, [*where, "reading"]].set_axis(
            [*where, quantity], axis=1
        )
        for quantity in ("energy", "mean")
    )
    return energy.merge(mean, on=where)


# Picks: what three chosen pieces of each model can say.

PICKED = 3
"""Pieces of each model in the paper's table."""

N_DRAWS = 20_000
Values = Mapping[str, np.ndarray]


def ranking(means: Mapping[str, float] | pd.Series, *, smallest_first: bool = False) -> str:
    """Return the models by falling value, or by rising value; models without one (NaN) last.

    >>> ranking({"vae": 1.0, "gan": 3.0, "lstm": 2.0})
    'gan > lstm > vae'
    >>> ranking({"vae": 1.0, "gan": math.nan, "lstm": 2.0}, smallest_first=True)
    'vae < lstm, without a value: gan'
    """
    means = pd.Series(means, dtype=float)
    ordered = means.dropna().sort_values(ascending=smallest_first, kind="stable").index
    text = [(" < " if smallest_first else " > ").join(ordered)] if len(ordered) else []
    missing = ", ".join(means.index[means.isna()])
    return ", ".join([*text, f"without a value: {missing}"] if missing else text)


def _checked(values: Values) -> dict[str, np.ndarray]:
    """Return each model's finite values in rising order; refuse too few to pick from."""
    found = {}
    for model, some in values.items():
        kept = np.sort(np.asarray(some, dtype=float))
        found[model] = kept[np.isfinite(kept)]
        if len(found[model]) < PICKED:
            raise ValueError(
                f"values: {model} has {len(found[model])} finite values; at least {PICKED} are "
                "picked"
            )
    return found


def picked_rankings(values: Values, *, rng: np.random.Generator) -> pd.DataFrame:
    """Return how often each ranking comes out by chance, and whether a picker can make it.

    The columns are ranking, by_means (share of `N_DRAWS` draws without replacement whose means rank
    so), separated (share of draws in which every piece of a model also lies above every piece of
    the next, as in the paper's energies) and can_be_picked.
    """
    found = _checked(values)
    drawn = {model: _draws(some, rng) for model, some in found.items()}
    rows = []
    for order in itertools.permutations(found):
        pairs = list(itertools.pairwise(drawn[model] for model in order))
        means = np.all([a.mean(axis=1) > b.mean(axis=1) for a, b in pairs], axis=0)
        apart = np.all([a.min(axis=1) > b.max(axis=1) for a, b in pairs], axis=0)
        rows.append((" > ".join(order), means.mean(), apart.mean(), can_be_picked(found, order)))
    return pd.DataFrame(rows, columns=["ranking", "by_means", "separated", "can_be_picked"])


def _draws(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return draws without replacement, shape (N_DRAWS, PICKED)."""
    chosen = rng.random((N_DRAWS, len(values))).argpartition(PICKED - 1, axis=1)[:, :PICKED]
    return values[chosen]


def can_be_picked(values: Values, order: Sequence[str]) -> bool:
    """Return whether `PICKED` pieces of each model can be chosen that separate in this order.

    Exact: going up from the last model, each takes the lowest of its values that lie above all
    taken before; if any choice works, this one does.
    """
    highest = -math.inf
    for model in reversed(order):
        above = np.sort(values[model])
        above = above[above > highest]
        if len(above) < PICKED:
            return False
        highest = above[PICKED - 1]
    return True


def picked_means(values: Values) -> pd.DataFrame:
    """Return how far a picker can push the mean of the pieces shown.

    The columns are model, n, and lowest, mean, highest: the mean of the `PICKED` smallest values,
    of all, and of the `PICKED` largest.
    """
    rows = [
        (model, len(some), some[:PICKED].mean(), some.mean(), some[-PICKED:].mean())
        for model, some in _checked(values).items()
    ]
    return pd.DataFrame(rows, columns=["model", "n", "lowest", "mean", "highest"])


def separation_chance() -> float:
    """Return how likely one given full separation of three models is if they do not differ.

    >>> round(1 / separation_chance())  # 9! / 3!^3
    1680
    """
    return math.factorial(PICKED) ** 3 / math.factorial(3 * PICKED)


def adjusted_means(
    table: pd.DataFrame, value: str, covariates: Sequence[str], *, models: Sequence[str]
) -> pd.DataFrame:
    """Return each model's mean as it would be if all had the same covariates.

    Analysis of covariance by least squares with one slope for all models; adjusted means are at the
    covariates' mean over all complete pieces (rows). R. A. Fisher, 1932; our choice here. The
    columns are model, n, mean, adjusted, explained (R^2 of the covariates alone, the same in each
    row); models without a row are skipped.
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
    y, x = rows[value].to_numpy(float), rows[list(covariates)].to_numpy(float)
    x = x - x.mean(axis=0)
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
