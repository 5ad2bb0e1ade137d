"""The comparison of the paper: what is compared, and what its printed "energy" and "mean" could be.

Conventions: waveforms as in `musiclib.audio`, or two channels, shape (N, 2). A *reading* is one
meaning of the word ("energy" as RMS in dB, say) on one scale (as rendered, divided by the peak, in
16-bit steps), channel and sample rate. A *picker* sees all pieces of each model and shows `PICKED`
of them; `values` holds one number per piece for each model. A ranking has the largest first.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from musiclib import plots
from musiclib.audio import AES17_OFFSET_DB, energy, mean, peak, validate
from musiclib.files import append_csv, upsert_csv
from musiclib.originality import TrainingIndex
from study import measuring, run, sets
from study.measuring import SR, render
from study.run import Paths
from study.second_ruler import SECOND_FEATURES, CountedMusic, second_table
from study.sets import PLAIN, REFINED
from study.splits import ready_corpus
from study.stats import MODELS

# The paper's only table, which prints energy in dBFS and mean in dB (G. S. R. Pavan and others,
# Exploring the Potential of GANs, LSTM, and VAEs in Advancing Music Generation).
PAPER_TABLE = pd.DataFrame({
    "model": ["VAE"] * 3 + ["GAN"] * 3 + ["LSTM"] * 3,
    "sample": [0, 1, 2] * 3,
    "energy": [46_085.0, 12_842.0, 9238.7, 150.3314, 106.7336, 113.0019, 92.0556, 4.7353, 49.3611],
    "mean": [0.7116, 0.4031, 0.7011, -0.4634, -0.4270, -0.3910, -0.1270, -0.0973, -0.1079],
})  # fmt: skip


class Comparison:
    """What is compared: every piece of a run, or the released ones, beside music of other origin.

    `made` holds the pieces by kind, `first` three of each model, `samples` all that is compared.
    Released pieces are judged by seed 0. `n_tables` and `n_verdict` are draws of the bootstrap.
    """

    def __init__(self, *, preset: str, seed: int, corpus: str, n_samples: int, output: str) -> None:
        self.preset, self.paths, budget = preset, Paths(output, corpus), run.preset(preset)
        plots.use_style()
        self.made, released = {}, True
        for kind in (PLAIN, REFINED):
            found, whose = sets.read_models(self.paths, kind=kind, seed=seed, budget=budget)
            self.made[kind] = [p for p in found if not n_samples or p.sample < n_samples]
            released &= "this run" not in whose.values()
        self.released, self.seed = released, 0 if released else seed
        self.first = {kind: sets.first_pieces(some) for kind, some in self.made.items()}
        draws = {"smoke": (100, 200), "standard": (200, 1000)}
        full = (1000, 4000)
        self.n_tables, self.n_verdict = full if released else draws.get(preset, full)
        most = budget.full("max_pieces") if released else budget["max_pieces"]
        self.corpus, pieces, self.split = ready_corpus(corpus, self.paths, max_pieces=most)
        self.training = sets.training_pieces(pieces, self.split)
        self.real = sets.real_samples(pieces, self.split)
        self.one_a_tune = [p.roll for p in sets.one_of_each_tune(self.real, self.split)]
        n = min(100, pd.Series([p.model for p in self.made[REFINED]]).value_counts().max())
        self.others = self.real + sets.baseline_samples(self.training, n=n, seed=self.seed)
        made = self.made[REFINED] + self.made[PLAIN]
        self.samples = made + self.others + sets.read_variants(self.paths)

    def keep(self, table: pd.DataFrame, file: str) -> pd.DataFrame:
        """Write a table to the results and return it."""
        self.paths.write_table(table, file)
        return table

    def rolls(self) -> dict[str, dict[int, list[np.ndarray]]]:
        """Return rolls by set and seed without the controls; plain models are sets of their own."""
        plain = [p._replace(model=f"plain_{p.model}") for p in self.made[PLAIN]]
        others = [p for p in self.others if p.model not in sets.CONTROLS]
        return sets.rolls_by_set([*self.made[REFINED], *others, *plain])

    def measure(self, *, again: bool) -> pd.DataFrame:
        """Write ``samples.csv``, all measures of each piece; `again`: also of released pieces."""
        tables = {"kept": self.paths.results / "measures.csv"}
        if self.released and not again:
            tables["released"] = self.paths.released / "data" / "results" / "measures.csv"
            if (there := measuring.made_with(tables["released"])) != measuring.versions():
                print(f"Released measures, made with {there}; here {measuring.versions()}.")
        rolls, names = zip(*((p.roll, p.name) for p in self.training), strict=True)
        found = measuring.sample_table(self.samples, index=TrainingIndex(rolls), **tables)
        second = second_table(self.samples, CountedMusic(rolls, names))
        found = found.join(pd.DataFrame(second, columns=list(SECOND_FEATURES)))
        return self.keep(sets.with_tunes(found, self.split), "samples.csv")

    def costs(self) -> pd.DataFrame:
        """Return what each kind of a model had and used, of its trainings that are compared."""
        cost = self.paths.table("fairness.csv", keys=["model", "kind", "seed"])
        names = ["model", "kind", "seed"]
        ours = {(p.model, p.kind, p.seed) for p in self.made[REFINED] + self.made[PLAIN]}
        cost = cost[[key in ours for key in zip(*(cost[n] for n in names), strict=True)]]
        first = ["training_pieces", "parameters", "steps", "windows_seen"]
        how = {"preset": "first", "seed": "size", **dict.fromkeys(first, "first")}
        how |= {"cpu_seconds": "mean", "settings_tried": "max"}
        found = cost.groupby(["kind", "model"]).agg(how)
        return found.rename(columns={"preset": "trained_with", "seed": "trainings"})

    def record(self, table: pd.DataFrame, first: pd.DataFrame, second: pd.DataFrame,
               answers: pd.DataFrame) -> None:  # fmt: skip
        """Write down this look at the test pieces, and what its budget reached.

        `first` and `second` are the distances by each ruler, `answers` those to the claims by kind.
        """
        cost = self.costs().loc[REFINED].loc[list(MODELS)]
        near = {"": first, "second_": second}
        near = {name: found.set_index("model")["distance"] for name, found in near.items()}

        def distances(ruler: str, kind: str) -> dict[str, str]:
            values = {f"{kind}{model}": near[ruler][f"{kind}{model}"] for model in MODELS}
            return {
                f"{ruler}distance_{name}": "" if math.isnan(value) else f"{value:.4f}"
                for name, value in values.items()
            }

        look = {"corpus": self.corpus, "trained_with": cost["trained_with"].iloc[0]}
        look |= {"n": len(self.made[REFINED]), "pieces": _contents(self.made[REFINED])}
        look |= distances("", "") | answers[REFINED].drop("C1").to_dict()
        look |= distances("", "plain_") | distances("second_", "") | distances("second_", "plain_")
        look |= {"plain_pieces": _contents(self.made[PLAIN])}
        look |= answers[PLAIN].drop("C1").add_prefix("plain_").to_dict()
        if self.preset != "smoke":
            append_csv([look], self.paths.results / "test_looks.csv")
        alike = measuring.distance_by_training(table, size=20, seed=self.seed)
        alike = alike.groupby("model")["distance"].agg(lambda some: some.mean(skipna=False))
        reached = first.set_index("model")[["distance", "low", "high", "seeds", "n"]]
        rows = cost[["trained_with", "steps", "cpu_seconds"]].round(1).join(reached.round(4))
        rows = rows.join(alike.rename("distance_of_20").round(4)).reset_index()
        keys, file = ["corpus", "trained_with", "model"], self.paths.results / "budgets.csv"
        upsert_csv(rows.assign(corpus=self.corpus), file, keys=keys)


def _contents(pieces: Sequence[sets.Sample]) -> str:
    notes = b"".join(np.packbits(piece.roll).tobytes() for piece in pieces)
    return hashlib.sha256(notes).hexdigest()[:12]


class ClipLength(NamedTuple):
    """How many samples a clip can have; `longest` is infinite where the mean is 0."""

    shortest: int
    longest: float


def clip_length_bounds(energy: float, mean: float) -> ClipLength:
    """Return the lengths in samples that an energy (sum of x[n]^2) and a mean allow.

    Cauchy-Schwarz: (sum of x[n])^2 <= N sum of x[n]^2, so N <= energy / mean^2, with equality for a
    constant. With |x[n]| <= 1 each sample adds at most 1 to the energy, so N >= energy. Both allow
    for rounding. If `shortest` exceeds `longest`, no clip within full scale has both.
    """
    if not (0 < energy < math.inf and math.isfinite(mean)):
        allowed = "allowed: a finite energy above 0 and a finite mean"
        raise ValueError(f"energy, mean: {energy!r}, {mean!r}; {allowed}")
    longest = math.floor(energy / mean**2 * (1 + 1e-12)) if mean else math.inf
    return ClipLength(math.ceil(energy * (1 - 1e-12)), longest)


def paper_bounds(*, sr: int = 44_100) -> pd.DataFrame:
    """Return `PAPER_TABLE` with the columns shortest, longest (samples), shortest_s, longest_s."""
    bounds = list(map(clip_length_bounds, PAPER_TABLE["energy"], PAPER_TABLE["mean"]))
    table = PAPER_TABLE.join(pd.DataFrame(bounds))
    return table.assign(shortest_s=table["shortest"] / sr, longest_s=table["longest"] / sr)


SAMPLE_RATES = (44_100, 22_050, 16_000, 8_000)
COLUMNS = ["quantity", "reading", "scale", "channel", "sr", "unit", "value"]
FACTOR = 10.0  # of amplitudes (20 dB), by which a printed number may lie outside our clips' range


class _Sums(NamedTuple):
    """What readings are made of; `levels` is the mean of 20 log10 |x[n]| over x[n] not 0."""

    size: int
    sr: float
    squares: float
    total: float
    magnitudes: float
    median: float
    levels: float


def _rows(x: np.ndarray, sr: float, channel: str, scales: Mapping[str, float]) -> list[object]:
    magnitude, rows = np.abs(x), []
    sounding = magnitude[magnitude > 0]
    levels = float(20 * np.log10(sounding).mean()) if sounding.size else -math.inf
    squares, *sums = map(float, (x @ x, x.sum(), magnitude.sum(), np.median(x)))
    for scale, by in scales.items():
        scaled = (squares * by**2, *(each * by for each in sums), levels + _db(by))
        s = _Sums(x.size, sr, *scaled)
        rows += [(what, name, scale, channel, sr, unit, f(s)) for what, name, unit, f in READINGS]
    return rows


def _db(ratio: float) -> float:
    return 20 * math.log10(ratio) if ratio else -math.inf


# Every reading tried: quantity, name, unit, value. The squared spectrum is that of an unnormalised
# transform, N times the energy (Parseval), as MATLAB's `fft` gives it.
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


def readings(x: np.ndarray, sr: int, *, sample_rates: Sequence[int] = SAMPLE_RATES) -> pd.DataFrame:
    """Return every reading of one clip, shape (N,) or (N, 2), with the columns `COLUMNS`.

    With two channels, their mean (mono), the left and the right are read, each at every sample
    rate, by polyphase resampling. For silence, what is divided by the peak is NaN.
    """
    from scipy.signal import resample_poly

    x = np.asarray(x)
    two = x.ndim == 2 and x.shape[1] == 2
    channels = {"mono": x.mean(axis=1), "left": x[:, 0], "right": x[:, 1]} if two else {"mono": x}
    rows = []
    for channel, each in channels.items():
        samples = validate(each)
        for rate in sample_rates:
            resampled = samples if rate == sr else resample_poly(samples, rate, sr)
            peak = float(np.abs(resampled).max()) or math.nan
            scales = {"as rendered": 1.0, "peak-normalised": 1 / peak, "16-bit steps": 32_768.0}
            rows += _rows(resampled, rate, channel, scales)
    return pd.DataFrame(rows, columns=COLUMNS)


def roll_readings(roll: np.ndarray, *, fs: float) -> pd.DataFrame:
    """Return the readings of a piano roll, in case the paper's numbers are not about audio at all.

    The channels "onset" and "sustain" of a roll of shape (T, 88, 2) are each read as one long
    signal of 0 and 1 (scale "binary"), and of 0 and 80 ("velocity"); `fs` stands in the column sr.
    """
    if roll.ndim != 3 or roll.shape[1:] != (88, 2) or not len(roll):
        raise ValueError(f"roll: shape {roll.shape}; allowed: (T, 88, 2) with T at least 1")
    rows = []
    for channel, name in enumerate(("onset", "sustain")):
        signal = (roll[:, :, channel] > 0).astype(float).ravel()
        rows += _rows(signal, fs, name, {"binary": 1.0, "velocity": 80.0})
    return pd.DataFrame(rows, columns=COLUMNS)


def plausible(table: pd.DataFrame, printed: pd.DataFrame = PAPER_TABLE) -> pd.DataFrame:
    """Return which readings could give the printed signs and magnitudes, one row per reading.

    `table` holds the readings of many clips; values that are not finite (silence) are skipped. A
    printed number is plausible if its sign can occur and it lies within `FACTOR` of our range. Our
    choice: a sum of squares or a magnitude is never negative; a mean and a median have either sign;
    a level in dB is not positive where full scale is 0 dB (AES17: not above 3.01).
    """
    finite = table[np.isfinite(table["value"])]
    if finite.empty:
        raise ValueError("table: 0 rows with a finite value; allowed: at least one")
    keys, rows = COLUMNS[:-1], []
    for key, values in finite.groupby(keys, sort=False, dropna=False)["value"]:
        row, ours = dict(zip(keys, key, strict=True)), values.to_numpy(float)
        rows.append(row | _judge(row, ours, printed[row["quantity"]].to_numpy()))
    return pd.DataFrame(rows)


def _judge(row: Mapping[str, object], ours: np.ndarray, printed: np.ndarray) -> dict[str, object]:
    found = {"n": len(ours), "lowest": ours.min(), "highest": ours.max()}
    found |= {"printed_lowest": printed.min(), "printed_highest": printed.max()}
    if row["unit"] == "dB":
        highest = {"sum of squares in dB": math.inf, "RMS in dB (AES17)": AES17_OFFSET_DB}
        bounded = row["scale"] in ("as rendered", "peak-normalised")
        sign = not bounded or printed.max() <= highest.get(str(row["reading"]), 0.0)
        low, high = ours.min() - _db(FACTOR), ours.max() + _db(FACTOR)
    else:
        sign = row["reading"] in ("mean", "median") or (printed >= 0).all()
        low, high = np.abs(ours).min() / FACTOR, np.abs(ours).max() * FACTOR
        printed = np.abs(printed)
    magnitude = low <= printed.min() and printed.max() <= high
    verdict = {"sign": sign, "magnitude": magnitude, "plausible": sign and magnitude}
    return found | {name: bool(holds) for name, holds in verdict.items()}


def plausible_pairs(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of a plausible energy and mean on one scale, channel and rate, by name."""
    where = ["scale", "channel", "sr"]
    fits = verdicts[verdicts["plausible"]]
    energy, mean = (
        fits.loc[fits["quantity"] == name, [*where, "reading"]].rename(columns={"reading": name})
        for name in ("energy", "mean")
    )
    return energy.merge(mean, on=where)


PICKED = 3  # pieces of each model in the paper's table
N_DRAWS = 20_000
Values = Mapping[str, np.ndarray]


def ranking(means: Mapping[str, float] | pd.Series, *, smallest_first: bool = False) -> str:
    """Return the models by falling value, or by rising value; models without one (NaN) last.

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
        found[model] = kept = kept[np.isfinite(kept)]
        if (n := len(kept)) < PICKED:
            raise ValueError(f"values: {model} has {n} finite values; at least {PICKED} are picked")
    return found


def picked_rankings(values: Values, *, rng: np.random.Generator) -> pd.DataFrame:
    """Return how often each ranking comes out by chance, and whether a picker can produce it.

    Of `N_DRAWS` draws without replacement, ``by_means`` is the share whose means rank so, and
    ``separated`` that in which every piece lies above every one of the next model's.
    """
    found, rows = _checked(values), []
    drawn = {model: _draws(some, rng) for model, some in found.items()}
    for order in itertools.permutations(found):
        pairs = list(itertools.pairwise(drawn[model] for model in order))
        means = np.all([a.mean(axis=1) > b.mean(axis=1) for a, b in pairs], axis=0)
        apart = np.all([a.min(axis=1) > b.max(axis=1) for a, b in pairs], axis=0)
        rows.append((" > ".join(order), means.mean(), apart.mean(), can_be_picked(found, order)))
    return pd.DataFrame(rows, columns=["ranking", "by_means", "separated", "can_be_picked"])


def _draws(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.random((N_DRAWS, len(values))).argpartition(PICKED - 1, axis=1)[:, :PICKED]
    return values[chosen]


def can_be_picked(values: Values, order: Sequence[str]) -> bool:
    """Return whether `PICKED` pieces of each model can be chosen that separate in this order.

    Exact: going up from the last model, each takes its lowest values above all taken before.
    """
    highest = -math.inf
    for model in reversed(order):
        if len(above := np.sort(values[model][values[model] > highest])) < PICKED:
            return False
        highest = above[PICKED - 1]
    return True


def picked_means(values: Values) -> pd.DataFrame:
    """Return the mean of the `PICKED` smallest values, of all, and of the `PICKED` largest."""
    rows = [
        (model, len(some), some[:PICKED].mean(), some.mean(), some[-PICKED:].mean())
        for model, some in _checked(values).items()
    ]
    return pd.DataFrame(rows, columns=["model", "n", "lowest", "mean", "highest"])


def separation_chance() -> float:
    """Return the chance of one full separation of three equal models: 3!^3 / 9!, 1 in 1680."""
    return math.factorial(PICKED) ** 3 / math.factorial(3 * PICKED)


def adjusted_means(
    table: pd.DataFrame, value: str, covariates: Sequence[str], *, models: Sequence[str]
) -> pd.DataFrame:
    """Return each model's mean as it would be if all had the same covariates.

    Analysis of covariance by least squares with one slope for all models; adjusted means are at the
    covariates' mean over all complete pieces (rows). R. A. Fisher, 1932; our choice here. The
    column explained is the R^2 of the covariates alone; models without a row are skipped.
    """
    columns = [value, *covariates]
    rows = table.loc[table["model"].isin(models), ["model", *columns]]
    rows = rows[np.isfinite(rows[columns]).all(axis=1)]
    present = [model for model in models if model in set(rows["model"])]
    if len(rows) <= len(present) + len(covariates):
        sizes = f"{len(present)} models and {len(covariates)} covariates"
        raise ValueError(f"table: {len(rows)} complete pieces are too few for {sizes}")
    y, x = rows[value].to_numpy(float), rows[list(covariates)].to_numpy(float)
    x = x - x.mean(axis=0)
    groups = np.stack([(rows["model"] == model).to_numpy(float) for model in present], axis=1)
    solution = np.linalg.lstsq(np.hstack([groups, x]), y, rcond=None)[0]
    centred = y - y.mean()
    rest = centred - x @ np.linalg.lstsq(x, centred, rcond=None)[0]
    explained = float(1 - (rest**2).sum() / (centred**2).sum()) if centred.any() else math.nan
    means = [(int(own.sum()), y[own > 0].mean()) for own in groups.T]
    out = pd.DataFrame(means, present, ["n", "mean"]).rename_axis("model").reset_index()
    return out.assign(adjusted=solution[: len(present)], explained=explained)


# What plausible plain training might print the paper's pairs. This list was written before any of
# it ran; the last three read the clips of a setting above for two seconds only.
SETTINGS = (
    ("lstm", "drawn"), ("lstm", "threshold 0.5"), ("lstm", "a tenth of the steps"),
    ("gan", "threshold 0.5"), ("gan", "drawn"), ("gan", "a tenth of the steps"),
    ("vae", "threshold 0.5"), ("vae", "drawn"), ("vae", "a tenth of the steps"),
    ("lstm", "drawn, two seconds"), ("gan", "threshold 0.5, two seconds"),
    ("vae", "threshold 0.5, two seconds"),
)  # fmt: skip
NEAR = 2.0  # a clip's energy may lie so many times beyond the range that the paper prints
_SHORT = ", two seconds"


def keep_clips(paths: Paths, model: str, setting: str, rolls: Sequence[np.ndarray]) -> None:
    """Write energy and mean of a setting's clips to ``paper_settings.csv``, one row per clip."""
    rows = []
    for sample, roll in enumerate(rolls):
        x = render(roll)
        clips = {setting: x, setting + _SHORT: x[: 2 * SR]}
        for name in (name for name in clips if (model, name) in SETTINGS):
            clip, loudest = clips[name], peak(clips[name]) or 1.0
            row = {"model": model, "setting": name, "sample": sample}
            row |= {"energy": energy(clip), "energy_normalised": energy(clip) / loudest**2}
            rows.append(row | {"mean": mean(clip), "mean_normalised": mean(clip) / loudest})
    if rows:
        upsert_csv(rows, paths.results / "paper_settings.csv", keys=["model", "setting", "sample"])


def judge_settings(clips: pd.DataFrame) -> pd.DataFrame:
    """Return per setting and reading whether all its clips have the energies that the paper prints.

    `clips` is ``paper_settings.csv``. An energy fits within `NEAR` times of the printed range; a
    mean if it has the printed sign and lies as near to the range of the printed means.
    """
    rows = []
    for (model, setting), own in clips.groupby(["model", "setting"], sort=False):
        theirs = PAPER_TABLE[PAPER_TABLE["model"] == model.upper()]
        for reading in ("", "_normalised"):
            energies, means = own[f"energy{reading}"], own[f"mean{reading}"]
            row = {"model": model, "setting": setting, "reading": reading[1:] or "fixed gain"}
            row |= {"least": energies.min(), "most": energies.max()}
            row |= {"printed_least": theirs["energy"].min(), "printed_most": theirs["energy"].max()}
            row["energy_fits"] = _near(energies, theirs["energy"])
            row["mean_fits"] = _near(means * np.sign(theirs["mean"].iloc[0]), theirs["mean"].abs())
            rows.append(row)
    return pd.DataFrame(rows)


def _near(ours: pd.Series, printed: pd.Series) -> bool:
    return bool(ours.between(printed.min() / NEAR, printed.max() * NEAR).all())
