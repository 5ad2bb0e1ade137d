"""The audit of the paper's table: bounds by hand, readings by closed form, verdicts.

Three picked pieces: every ranking by hand, exact separation by brute force, adjustment."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from musiclib import audio
from musiclib.roll import draw_roll
from study import printed
from study.measuring import render
from study.run import Paths

SR = 44_100
RATES = [SR]


def value(table, quantity, reading, **where):
    chosen = table[(table["quantity"] == quantity) & (table["reading"] == reading)]
    for column, wanted in ({"scale": "as rendered", "channel": "mono"} | where).items():
        chosen = chosen[chosen[column] == wanted]
    assert len(chosen) == 1
    return chosen["value"].item()


def test_the_printed_table():
    table = printed.PAPER_TABLE
    assert table["model"].value_counts().to_dict() == {"VAE": 3, "GAN": 3, "LSTM": 3}
    means = table.groupby("model")["mean"]
    assert (means.max()[["GAN", "LSTM"]] < 0).all()
    assert means.min()["VAE"] > 0
    energies = table.groupby("model")["energy"]
    assert energies.min()["VAE"] > energies.max()["GAN"]
    assert energies.min()["GAN"] > energies.max()["LSTM"]


def test_bounds_of_the_printed_pairs():
    bounds = printed.paper_bounds()
    by_hand = [91_009, 79_032, 18_795, 700, 585, 739, 5_707, 500, 4_239]
    assert bounds["longest"].tolist() == by_hand
    assert bounds["shortest"].tolist() == [46_085, 12_842, 9_239, 151, 107, 114, 93, 5, 50]
    first = bounds.iloc[0]
    assert first["shortest_s"] == pytest.approx(1.04, abs=0.01)
    assert first["longest_s"] == pytest.approx(2.06, abs=0.01)
    longest = bounds.groupby("model")["longest_s"].max()
    assert longest["VAE"] == pytest.approx(2.1, abs=0.05)
    assert longest["GAN"] == pytest.approx(0.017, abs=0.0005)
    assert longest["LSTM"] == pytest.approx(0.13, abs=0.005)
    assert printed.paper_bounds(sr=8000)["longest_s"].iloc[3] == 700 / 8000
    assert "shortest" not in printed.PAPER_TABLE


def test_bounds_at_the_edge():
    assert printed.clip_length_bounds(16.0, 0.0) == (16, math.inf)
    assert printed.clip_length_bounds(1000 * 0.1**2, 0.1) == (10, 1000)
    impossible = printed.clip_length_bounds(10.0, 2.0)
    assert impossible.shortest > impossible.longest


@settings(max_examples=80)
@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(-1, 1, width=16)))
def test_every_clip_lies_within_its_own_bounds(x):
    if audio.energy(x) == 0:
        x[0] = 1.0
    bounds = printed.clip_length_bounds(audio.energy(x), audio.mean(x))
    assert bounds.shortest <= x.size <= bounds.longest


@pytest.mark.parametrize("pair", [(0.0, 0.1), (-1.0, 0.1), (math.inf, 0.1), (1.0, math.nan)])
def test_bounds_of_impossible_numbers(pair):
    with pytest.raises(ValueError, match="allowed: a finite energy above 0"):
        printed.clip_length_bounds(*pair)


def test_readings_of_a_constant():
    table = printed.readings(np.full(SR, -0.5), SR, sample_rates=RATES)
    assert list(table.columns) == printed.COLUMNS
    expected = {
        ("energy", "sum of squares"): SR / 4,
        ("energy", "sum of squares / sr"): 0.25,
        ("energy", "sum of squared spectrum"): SR**2 / 4,
        ("energy", "sum of magnitudes"): SR / 2,
        ("energy", "power"): 0.25,
        ("energy", "RMS"): 0.5,
        ("energy", "sum of squares in dB"): 10 * math.log10(SR / 4),
        ("energy", "RMS in dB (square)"): 20 * math.log10(0.5),
        ("energy", "RMS in dB (AES17)"): 20 * math.log10(0.5) + 3.0103,
        ("mean", "mean"): -0.5,
        ("mean", "mean of magnitudes"): 0.5,
        ("mean", "mean of squares"): 0.25,
        ("mean", "median"): -0.5,
        ("mean", "|mean| in dB"): 20 * math.log10(0.5),
        ("mean", "mean of magnitudes in dB"): 20 * math.log10(0.5),
        ("mean", "mean of sample levels in dB"): 20 * math.log10(0.5),
    }
    seen = table[table["scale"] == "as rendered"].set_index(["quantity", "reading"])["value"]
    assert seen.to_dict() == pytest.approx(expected, rel=1e-5)


def test_scales_of_a_constant():
    table = printed.readings(np.full(100, -0.5), SR, sample_rates=RATES)
    assert value(table, "mean", "mean", scale="peak-normalised") == pytest.approx(-1)
    assert value(table, "mean", "mean", scale="16-bit steps") == pytest.approx(-16_384)
    assert value(table, "energy", "sum of squares", scale="peak-normalised") == pytest.approx(100)
    in_steps = value(table, "energy", "RMS in dB (square)", scale="16-bit steps")
    assert in_steps == pytest.approx(20 * math.log10(16_384))
    levels = value(table, "mean", "mean of sample levels in dB", scale="peak-normalised")
    assert levels == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("scale", "factor"), [("peak-normalised", None), ("16-bit steps", 32_768)])
def test_scaled_readings_are_those_of_a_scaled_clip(scale, factor):
    x = np.random.default_rng(5).standard_normal(1000) * 0.1 + 0.01
    factor = factor or 1 / np.abs(x).max()
    table = printed.readings(x, SR, sample_rates=RATES)
    scaled = printed.readings(x * factor, SR, sample_rates=RATES)
    keys = ["quantity", "reading"]
    left = table[table["scale"] == scale].set_index(keys)["value"]
    right = scaled[scaled["scale"] == "as rendered"].set_index(keys)["value"]
    assert left.to_dict() == pytest.approx(right.to_dict(), rel=1e-9)


def test_readings_agree_with_the_metrics_and_parseval():
    x = np.random.default_rng(6).standard_normal(5000) * 0.1
    table = printed.readings(x, SR, sample_rates=RATES)
    assert value(table, "energy", "sum of squares") == pytest.approx(audio.energy(x))
    assert value(table, "mean", "mean") == pytest.approx(audio.mean(x))
    assert value(table, "energy", "RMS in dB (AES17)") == pytest.approx(audio.rms_dbfs(x))
    spectrum = float((np.abs(np.fft.fft(x)) ** 2).sum())
    assert value(table, "energy", "sum of squared spectrum") == pytest.approx(spectrum)


def test_channels_and_rates():
    left = 0.5 * np.sin(2 * np.pi * 441 * np.arange(SR) / SR)
    table = printed.readings(np.stack([left, np.zeros(SR)], axis=1), SR, sample_rates=[SR, 22_050])
    assert len(table) == 2 * 3 * 3 * 16
    energy = {
        (channel, sr): value(table, "energy", "sum of squares", channel=channel, sr=sr)
        for channel in ("mono", "left", "right")
        for sr in (SR, 22_050)
    }
    assert energy["left", SR] == pytest.approx(SR / 8)
    assert energy["mono", SR] == pytest.approx(SR / 32)
    assert energy["right", SR] == energy["right", 22_050] == 0
    assert energy["left", 22_050] == pytest.approx(SR / 16, rel=1e-3)


def test_readings_of_silence():
    table = printed.readings(np.zeros(100), SR, sample_rates=RATES)
    assert value(table, "energy", "sum of squares") == 0
    assert value(table, "mean", "|mean| in dB") == -math.inf
    assert value(table, "mean", "mean of sample levels in dB") == -math.inf
    assert table[table["scale"] == "peak-normalised"]["value"].isna().all()


def test_readings_of_a_roll():
    roll = np.zeros((10, 88, 2), np.uint8)
    roll[0, 40, 0] = 1
    roll[0:4, 40, 1] = 1
    table = printed.roll_readings(roll, fs=5.0)
    sustain = {"channel": "sustain", "scale": "binary"}
    assert value(table, "energy", "sum of squares", **sustain) == 4
    assert value(table, "mean", "mean", **sustain) == pytest.approx(4 / 880)
    assert value(table, "mean", "mean", channel="onset", scale="binary") == pytest.approx(1 / 880)
    sustain["scale"] = "velocity"
    assert value(table, "energy", "sum of squares", **sustain) == 4 * 80**2
    assert set(table["sr"]) == {5.0}
    with pytest.raises(ValueError, match=r"roll: shape \(10, 88\)"):
        printed.roll_readings(roll[..., 0], fs=5.0)


@pytest.mark.parametrize(
    ("x", "message"),
    [(np.zeros((4, 3)), "shape"), (np.zeros(4, int), "type int64"), (np.array([np.nan]), "NaN")],
)
def test_readings_of_bad_input(x, message):
    with pytest.raises(ValueError, match=message):
        printed.readings(x, SR)


def rows(*values, quantity="mean", reading="mean", unit="", scale="as rendered"):
    return pd.DataFrame(
        [
            {
                **{"quantity": quantity, "reading": reading, "scale": scale},
                **{"channel": "mono", "sr": SR, "unit": unit, "value": each},
            }
            for each in values
        ]
    )


PRINTED = pd.DataFrame({"energy": [10.0, 1000.0], "mean": [-0.1, 0.5]})


@pytest.mark.parametrize(
    ("table", "sign", "magnitude"),
    [
        (rows(-0.1, 0.5), True, True),
        (rows(-0.9, 0.06), True, True),  # 0.06 / 10 to 0.9 * 10
        (rows(-1e-4, 1e-5), True, False),
        (rows(0.1, 0.5, reading="mean of magnitudes"), False, True),
        (rows(-30.0, -25.0, unit="dB", reading="|mean| in dB"), False, False),
        (rows(-20.0, -15.0, unit="dB", reading="|mean| in dB"), False, True),  # 0.5 dB cannot be
        (rows(-20.0, 15.0, unit="dB", reading="|mean| in dB", scale="16-bit steps"), True, True),
        (rows(-20.0, -15.0, unit="dB", reading="RMS in dB (AES17)"), True, True),  # up to 3.01
        (rows(50.0, 500.0, quantity="energy", reading="sum of squares"), True, True),
        (rows(101.0, 500.0, quantity="energy", reading="sum of squares"), True, False),
        (rows(-20.0, -9.0, quantity="energy", reading="RMS in dB", unit="dB"), False, False),
        (
            rows(5.0, 990.0, quantity="energy", reading="sum of squares in dB", unit="dB"),
            True,
            True,
        ),
    ],
)
def test_verdicts_by_hand(table, sign, magnitude):
    verdict = printed.plausible(table, PRINTED).iloc[0]
    assert (verdict["sign"], verdict["magnitude"]) == (sign, magnitude)
    assert verdict["plausible"] == (sign and magnitude)
    assert verdict["n"] == 2


def test_infinite_values_are_skipped_and_pairs_need_one_scale():
    energy = rows(50.0, 500.0, quantity="energy", reading="sum of squares")
    mean = rows(-0.1, 0.5, math.nan, -math.inf)
    verdicts = printed.plausible(pd.concat([energy, mean]), PRINTED)
    assert verdicts["n"].tolist() == [2, 2]
    pairs = printed.plausible_pairs(verdicts)
    assert pairs.to_dict("records") == [
        {
            **{"scale": "as rendered", "channel": "mono", "sr": SR},
            **{"energy": "sum of squares", "mean": "mean"},
        }
    ]
    elsewhere = printed.plausible(pd.concat([energy, mean.assign(scale="16-bit steps")]), PRINTED)
    assert elsewhere["plausible"].all()
    assert printed.plausible_pairs(elsewhere).empty


@pytest.mark.parametrize("table", [rows(0.0).iloc[:0], rows(math.nan, math.inf)])
def test_a_table_without_a_finite_value_is_refused(table):
    with pytest.raises(ValueError, match="table: 0 rows with a finite value"):
        printed.plausible(table, PRINTED)


def test_a_clip_made_for_the_printed_pairs_is_found(monkeypatch):
    monkeypatch.setattr(printed, "FACTOR", 1.2)
    clips = []
    for energy, mean in zip(
        printed.PAPER_TABLE["energy"], printed.PAPER_TABLE["mean"], strict=True
    ):
        size = printed.clip_length_bounds(energy, mean).longest
        deviation = math.sqrt(max(0.0, energy / size - mean**2))
        signs = np.where(np.arange(size - size % 2) % 2, 1.0, -1.0)
        clips.append(printed.readings(mean + deviation * signs, SR, sample_rates=RATES))
    pairs = printed.plausible_pairs(printed.plausible(pd.concat(clips)))
    literal = pairs[(pairs["energy"] == "sum of squares") & (pairs["mean"] == "mean")]
    assert "as rendered" in set(literal["scale"])


def test_rankings_of_models_that_never_overlap():
    values = {"a": np.arange(10.0), "b": np.arange(10.0) + 100, "c": np.arange(10.0) + 200}
    found = printed.picked_rankings(values, rng=np.random.default_rng(0))
    found = found.set_index("ranking")
    assert found.loc["c > b > a"].tolist() == [1.0, 1.0, True]
    assert not found.drop("c > b > a").to_numpy().any()


def test_rankings_of_models_that_do_not_differ():
    same = np.arange(60.0)
    values = {"a": same, "b": same + 0.1, "c": same + 0.2}
    found = printed.picked_rankings(values, rng=np.random.default_rng(0))
    assert found["by_means"].sum() == pytest.approx(1, abs=0.01)
    assert found["by_means"].to_numpy() == pytest.approx(1 / 6, abs=0.03)
    assert found["separated"].mean() == pytest.approx(printed.separation_chance(), rel=0.7)
    assert found["can_be_picked"].all()


def test_draws_are_without_replacement():
    drawn = printed._draws(np.arange(5.0), np.random.default_rng(0))
    assert drawn.shape == (20_000, 3)
    assert all(len(set(row)) == 3 for row in drawn)
    assert np.bincount(drawn.astype(int).ravel(), minlength=5).min() > 11_500


@given(
    st.lists(st.integers(0, 12), min_size=3, max_size=5),
    st.lists(st.integers(0, 12), min_size=3, max_size=5),
    st.lists(st.integers(0, 12), min_size=3, max_size=5),
)
def test_what_can_be_picked_by_brute_force(a, b, c):
    values = {name: np.array(v, float) for name, v in zip("abc", (a, b, c), strict=True)}
    choices = (itertools.combinations(values[name], 3) for name in "abc")
    by_force = any(min(x) > max(y) and min(y) > max(z) for x, y, z in itertools.product(*choices))
    assert printed.can_be_picked(values, "abc") == by_force


def test_how_far_a_picker_can_push():
    found = printed.picked_means({"a": np.array([5.0, 1, np.inf, 3, 2, 4])})
    assert found.iloc[0].tolist() == ["a", 5, 2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match="a has 2 finite values; at least 3 are picked"):
        printed.picked_means({"a": np.array([1.0, 2.0, np.nan])})


def test_adjusted_means_take_out_what_a_covariate_explains():
    rng = np.random.default_rng(0)
    density = np.concatenate([rng.normal(4, 1, 50), rng.normal(8, 1, 50)])
    model = np.repeat(["vae", "gan"], 50)
    energy = 3 * density + np.where(model == "vae", 1.0, 0.0)
    frame = pd.DataFrame({"model": model, "energy": energy, "density": density})
    found = printed.adjusted_means(frame, "energy", ["density"], models=["vae", "gan", "lstm"])
    found = found.set_index("model")
    assert list(found.index) == ["vae", "gan"]
    assert found["n"].tolist() == [50, 50]
    assert found.loc["gan", "mean"] > found.loc["vae", "mean"] + 5
    assert found.loc["vae", "adjusted"] - found.loc["gan", "adjusted"] == pytest.approx(1.0)
    r = np.corrcoef(density, energy)[0, 1]
    assert found["explained"].tolist() == pytest.approx([r**2] * 2)


def test_adjusted_means_refuse_too_few():
    frame = pd.DataFrame({"model": ["vae", "gan"], "energy": [1.0, 2.0], "density": [1.0, np.nan]})
    with pytest.raises(ValueError, match="1 complete pieces are too few for 1 models"):
        printed.adjusted_means(frame, "energy", ["density"], models=["vae", "gan"])


def test_rankings_of_a_series_a_mapping_and_missing_values():
    assert printed.ranking(pd.Series({"x": 1.0, "y": 2.0})) == "y > x"
    assert printed.ranking({"x": 3.0, "y": 2.0}) == "x > y"
    means = {"vae": np.nan, "gan": 1.0, "lstm": 3.0}
    assert printed.ranking(means) == "lstm > gan, without a value: vae"
    assert printed.ranking(means, smallest_first=True) == "gan < lstm, without a value: vae"
    assert printed.ranking({"vae": np.nan}) == "without a value: vae"


# Settings of plain training that might print the paper's pairs


def test_the_settings_are_four_per_model_and_the_short_ones_belong_to_another():
    assert len(set(printed.SETTINGS)) == len(printed.SETTINGS) == 12
    models = [model for model, _ in printed.SETTINGS]
    assert {model: models.count(model) for model in models} == {"lstm": 4, "gan": 4, "vae": 4}
    for model, setting in printed.SETTINGS:
        assert (model, setting.removesuffix(", two seconds")) in printed.SETTINGS


def kept(paths):
    return pd.read_csv(paths.results / "paper_settings.csv")


def test_a_setting_keeps_energy_and_mean_of_each_clip_and_of_its_first_two_seconds(tmp_path):
    paths, silent = Paths(tmp_path), np.zeros((16, 88, 2), np.uint8)
    rolls = [draw_roll([0, 8], [40, 44], [8, 8], steps=16), silent]
    printed.keep_clips(paths, "gan", "threshold 0.5", rolls)
    table = kept(paths)
    names = ["threshold 0.5", "threshold 0.5, two seconds"]
    assert table[["setting", "sample"]].values.tolist() == [[n, i] for n in names for i in (0, 1)]
    assert set(table["model"]) == {"gan"}
    for row in table.to_dict("records"):
        x = render(rolls[row["sample"]])
        clip = x if row["setting"] == names[0] else x[: 2 * SR]
        assert len(x) > 2 * SR
        peak = np.abs(clip).max() or 1.0
        assert row["energy"] == pytest.approx(audio.energy(clip), rel=1e-9)
        assert row["mean"] == pytest.approx(audio.mean(clip), rel=1e-9)
        assert row["energy_normalised"] == pytest.approx(audio.energy(clip / peak), rel=1e-5)
        assert row["mean_normalised"] == pytest.approx(audio.mean(clip / peak), rel=1e-5, abs=1e-12)
    assert (table.loc[table["sample"] == 0, "energy"] > 0).all()
    assert not table.loc[table["sample"] == 1, ["energy", "energy_normalised", "mean"]].any(
        axis=None
    )


def test_clips_of_unlisted_settings_are_not_kept_and_later_ones_take_the_place(tmp_path):
    paths = Paths(tmp_path)
    roll, other = (draw_roll([0], [key], [4], steps=8) for key in (40, 60))
    printed.keep_clips(paths, "lstm", "threshold 0.5", [roll])
    assert list(kept(paths)["setting"]) == ["threshold 0.5"]  # no two seconds of it are listed
    first = kept(paths)["energy"].item()
    printed.keep_clips(paths, "lstm", "threshold 0.5", [other])
    assert len(kept(paths)) == 1
    assert kept(paths)["energy"].item() != first
    printed.keep_clips(paths, "lstm", "temperature 9", [roll])
    assert list(kept(paths)["setting"]) == ["threshold 0.5"]


def clips(model, energies, means, *, normalised=(1.0, 1.0)):
    rows = [
        {
            **{"model": model, "setting": "drawn", "sample": i, "energy": e, "mean": m},
            **{"energy_normalised": normalised[0], "mean_normalised": normalised[1]},
        }
        for i, (e, m) in enumerate(zip(energies, means, strict=True))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("energies", "means", "energy_fits", "mean_fits"),
    [
        ([54, 300, 120], [-0.2, -0.9, -0.5], True, True),  # 106.7 / 2 to 150.3 * 2
        ([53, 300, 120], [-0.2, -0.9, 0.5], False, False),  # one clip is enough to miss
        ([54, 301], [-0.19, -0.4], False, False),  # 0.391 / 2 to 0.4634 * 2
        ([100], [0.4], True, False),  # the printed sign is minus
    ],
)
def test_a_setting_fits_if_all_its_clips_lie_near_the_printed_range(
    energies, means, energy_fits, mean_fits
):
    fixed, normalised = printed.judge_settings(clips("gan", energies, means)).to_dict("records")
    assert (fixed["model"], fixed["setting"]) == ("gan", "drawn")
    assert (fixed["reading"], normalised["reading"]) == ("fixed gain", "normalised")
    assert (fixed["energy_fits"], fixed["mean_fits"]) == (energy_fits, mean_fits)
    assert (fixed["least"], fixed["most"]) == (min(energies), max(energies))
    assert (fixed["printed_least"], fixed["printed_most"]) == (106.7336, 150.3314)
    assert not normalised["energy_fits"]
    assert not normalised["mean_fits"]
    near = clips("gan", energies, means, normalised=(120.0, -0.4))
    assert printed.judge_settings(near).loc[1, ["energy_fits", "mean_fits"]].all()
