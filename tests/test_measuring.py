"""Measuring many pieces: what a row holds, what is kept of it, recordings.

Tables of whole sets: as the functions give them, n said, nothing undefined hidden.
The table of what was measured: what comes back, what does not, and what a kill leaves."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from piece_tables import piece_table

from musiclib import audio, measures
from musiclib.audio import write_wav
from musiclib.distance import (
    FEATURES,
    distance_to_real,
    diversity_ratio,
    feature_table,
    set_distances,
)
from musiclib.files import write_csv
from musiclib.originality import TrainingIndex
from musiclib.roll import COMMON_BARS, Bars, draw_roll
from study import measuring
from study.measuring import Kept, inside_range, made_with
from study.sets import Sample, inside_real, read_generated, rolls_by_set
from study.stats import MODELS

SR = measuring.SR


def triads(shift=0, steps=16):
    roll = np.zeros((steps, 88, 2), np.uint8)
    for start in range(0, steps, 2):
        keys = 39 + shift + np.array([0, 4, 7]) + start // 2
        roll[start : start + 2, keys, 1] = 1
        roll[start, keys, 0] = 1
    return roll


SAMPLES = [
    Sample("vae", 0, 0, "a.mid", triads()),
    Sample("real", -1, 0, "b", triads(20)),
    Sample("training", 0, 0, "c", triads(20)),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "measures.csv"


@pytest.fixture(scope="module")
def table(kept):
    index = TrainingIndex([triads(20)])
    return measuring.sample_table(SAMPLES, index=index, kept=kept, workers=1)


def test_a_rendering_lasts_as_long_as_its_roll_and_grows_with_velocity():
    roll = triads()
    roll[8:] = 0
    x = measuring.render(roll)
    assert x.size == round((16 / 4 * 60 / 80 + 1) * SR)
    assert audio.energy(measuring.render(roll, velocity=40)) < audio.energy(x) / 2


def test_a_row_is_what_the_functions_say(table):
    row = table.iloc[0]
    assert row[["model", "seed", "sample", "file"]].tolist() == ["vae", 0, 0, "a.mid"]
    assert row["polyphony"] == measures.polyphony(triads()) == 3.0
    assert row["energy"] == audio.energy(measuring.render(triads()))
    expected = {*measures.MEASURES, *audio.AUDIO_UNITS, *measuring.PROBLEMS}
    assert expected <= set(table.columns)


def test_a_piece_is_measured_in_its_own_bars():
    samples = [
        Sample(model, 0, 0, "", triads(), bars)
        for model in ("vae", "training")
        for bars in (Bars(), Bars(4), Bars(4, 2))
    ]
    found = measuring.sample_table(samples, workers=1)
    for row, sample in zip(found.to_dict("records"), samples, strict=True):
        own = measures.measures(triads(), **sample.bars.for_measures())
        assert {name: row[name] for name in own} == pytest.approx(own, nan_ok=True)
    assert found["repetition_1"].isna().tolist() == [True, False, False] * 2


def test_released_pieces_measure_as_their_table_says():
    """They say 4/4, so nothing about them may change."""
    root = Path(__file__).resolve().parent.parent / "data"
    known = pd.read_csv(root / "results" / "samples.csv").set_index("file")
    names = list(measures.MEASURES)
    for model in MODELS:
        for piece in read_generated(root / "generated", models=[model], seeds=[0])[:4]:
            assert piece.bars == (16, 0, 4)
            own = measures.measures(piece.roll, **piece.bars.for_measures())
            wanted = known.loc[piece.file, names].to_numpy(float)
            np.testing.assert_allclose([own[n] for n in names], wanted, rtol=0, atol=1e-12)


def test_copies_are_found_up_to_transposition(table):
    vae, real, training = (row for _, row in table.iterrows())
    assert (vae["exact_8"], vae["transposed_8"]) == (0, vae["windows_8"])
    assert real["exact_16"] == real["windows_16"] == 1
    assert real["longest_exact"] == 16
    assert math.isnan(training["windows_8"])


def test_training_pieces_are_not_rendered(table):
    row = table[table["model"] == "training"].iloc[0]
    assert row[list(audio.AUDIO_UNITS)].isna().all()
    assert row["polyphony"] == 3.0


def never(*_, **__):
    raise AssertionError("measured again")


def test_the_kept_measures_are_used_and_give_the_same_table(table, kept, monkeypatch):
    assert len(Kept(kept).rows) == 2
    monkeypatch.setattr(measuring, "render", never)
    index = TrainingIndex([triads(20)])
    again = measuring.sample_table(SAMPLES, index=index, kept=kept, workers=1)
    pd.testing.assert_frame_equal(again, table)


def test_released_measures_are_read_whatever_code_made_them(table, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "made_by", lambda: "other code")
    monkeypatch.setattr(measuring, "render", never)
    index = TrainingIndex([triads(20)])
    with pytest.raises(AssertionError, match="measured again"):
        measuring.sample_table(SAMPLES, index=index, kept=kept, workers=1)
    again = measuring.sample_table(SAMPLES, index=index, kept=tmp_path / "m.csv", released=kept)
    pd.testing.assert_frame_equal(again, table)
    assert not list(tmp_path.iterdir())  # nothing was measured, so nothing is written


def fake(item):
    return {"value": float(item), "level": -math.inf, "ratio": math.nan}


def test_equal_items_are_measured_once_and_known_ones_never(tmp_path):
    kept = tmp_path / "m.csv"
    first = measuring.measured(fake, [1, 2, 1], key=str, kept=kept, workers=1)
    assert [row["value"] for row in first] == [1, 2, 1]
    assert set(Kept(kept).rows) == {"1", "2"}
    second = measuring.measured(never, [2, 1], key=str, kept=kept, workers=1)
    assert [row["value"] for row in second] == [2, 1]
    assert second[0]["level"] == -math.inf
    assert math.isnan(second[0]["ratio"])


def test_the_key_changes_with_notes_and_bars():
    longer = np.concatenate([triads(), np.zeros((1, 88, 2), np.uint8)])
    items = [(triads(), COMMON_BARS), (triads(1), COMMON_BARS), (longer, COMMON_BARS)]
    items += [(triads(), bars) for bars in (Bars(12), Bars(12, 4), Bars(4, 12))]
    assert len({measuring._item_key(item) for item in items}) == 6
    assert measuring._item_key((triads(), Bars(12, 4, 8))) == measuring._item_key(items[4])


def test_released_measures_are_found_under_their_keys():
    """No measure depends on the signature, so it is no part of the key."""
    root = Path(__file__).resolve().parent.parent / "data"
    known = set(pd.read_csv(root / "results" / "measures.csv", usecols=["item"])["item"])
    for model in MODELS:
        for piece in read_generated(root / "generated", models=[model], seeds=[0])[:4]:
            for bars in (piece.bars, piece.bars._replace(denominator=8)):
                assert measuring._item_key((piece.roll, bars)) in known


def test_the_versions_behind_a_measurement_are_told(kept, table):
    assert made_with(kept) == measuring.versions()
    assert {"Python", "numpy", "FluidSynth"} <= measuring.versions().keys()


def test_problems_are_named():
    stuck = np.zeros((64, 88, 2), np.uint8)
    stuck[:40, 40, 1] = 1
    stuck[0, 40, 0] = 1
    assert measuring.problems(stuck) == {"no_note": 0.0, "stuck": 1.0, "empty_bars_found": 1.0}
    silent = np.zeros((64, 88, 2), np.uint8)
    assert measuring.problems(silent) == {"no_note": 1.0, "stuck": 0.0, "empty_bars_found": 0.0}
    row = measuring.measure_roll(silent[:16])
    assert row["energy"] == 0
    assert row["rms_dbfs"] == -math.inf
    assert math.isnan(row["polyphony"])


def test_no_piece_is_refused():
    with pytest.raises(ValueError, match="samples must hold at least one piece"):
        measuring.sample_table([])


def test_the_range_agrees_with_the_model_notebooks():
    rng = np.random.default_rng(0)
    rolls = [
        triads(int(rng.integers(-9, 9)), steps=int(16 * rng.integers(1, 5))) for _ in range(30)
    ]
    real, ours = rolls[:20], rolls[20:]
    rows = [
        {"model": "real" if i < 20 else "vae", **measures.measures(r)} for i, r in enumerate(rolls)
    ]
    inside = inside_range(pd.DataFrame(rows)).iloc[20:].all(axis=1).tolist()
    assert inside == inside_real(ours, real)["all"].tolist()


@pytest.mark.long
def test_processes_give_the_same_as_none():
    samples = [Sample("vae", 0, i, "", triads(i)) for i in range(24)]
    one, two = (measuring.sample_table(samples, workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_recordings_are_read_as_one_channel_at_one_rate(tmp_path):
    t = np.arange(int(2.5 * 22_050)) / 22_050
    sine = 0.5 * np.sin(2 * np.pi * 441 * t)
    write_wav(np.stack([sine, np.zeros_like(sine)], axis=1), tmp_path / "a.wav", sr=22_050)
    x = measuring.read_recording(tmp_path / "a.wav", seconds=2)
    assert x.shape == (2 * SR,)
    assert audio.rms(x) == pytest.approx(0.25 / math.sqrt(2), rel=0.01)


def test_recordings_that_do_not_serve_are_skipped_with_a_reason(tmp_path):
    write_wav(np.full(3 * SR, 0.25), tmp_path / "long.wav", sr=SR)
    write_wav(np.full(SR, 0.25), tmp_path / "short.wav", sr=SR)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    (tmp_path / "._long.wav").write_bytes(b"what macOS writes beside a file, no recording")
    with (
        pytest.warns(UserWarning, match="short.wav lasts 1.0 s, under 2 s"),
        pytest.warns(UserWarning, match="broken.wav cannot be read as audio"),
    ):
        table = measuring.recorded_table(tmp_path, seconds=2)
    assert table[["model", "file"]].values.tolist() == [["audio", "long.wav"]]
    assert table["energy"].item() == pytest.approx(2 * SR * 0.25**2)
    assert table["mean"].item() == pytest.approx(0.25)


def test_no_recording_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        measuring.recorded_table(tmp_path / "nowhere", seconds=2)
    with pytest.raises(FileNotFoundError, match="holds no audio file of 2 s or more"):
        measuring.recorded_table(tmp_path, seconds=2)


def test_many_recordings_are_taken_evenly(tmp_path, monkeypatch):
    for i in range(10):
        write_wav(np.full(SR, 0.05 * i), tmp_path / f"{i}.wav", sr=SR)
    monkeypatch.setattr(measuring, "_MOST_FILES", 4)
    table = measuring.recorded_table(tmp_path, seconds=1)
    assert table["file"].tolist() == ["0.wav", "2.wav", "5.wav", "7.wav"]


def music(n, *, seed, top=60):
    """Return n pieces of four bars, a note a sixteenth."""
    rng = np.random.default_rng(seed)
    start = np.arange(64)
    return [draw_roll(start, rng.integers(30, top, 64), np.full(64, 2), steps=64) for _ in range(n)]


REAL, OTHER = music(8, seed=0), music(8, seed=1)
VAE = {0: music(5, seed=2, top=45), 1: music(5, seed=3, top=45)}
SETS = {"vae": VAE, "real": {-1: REAL}, "training": {0: OTHER}}


@pytest.fixture(scope="module")
def table_set_tables():
    index = TrainingIndex(OTHER)
    frames = []
    for model, seeds in SETS.items():
        for seed, rolls in seeds.items():
            counts = pd.DataFrame([index.count(roll) for roll in rolls])
            if model == "training":
                counts = counts * np.nan
            frame = pd.concat([feature_table(rolls), counts], axis=1)
            frames.append(frame.assign(model=model, seed=seed))
    return pd.concat(frames, ignore_index=True)


def test_distances_are_those_of_the_sets(table_set_tables):
    found = measuring.distance_table(table_set_tables, seed=0, n_resamples=100).set_index("model")
    assert list(found.index) == ["vae", "training"]
    assert found.loc["vae", "distance"] == pytest.approx(distance_to_real(VAE[0] + VAE[1], REAL))
    assert found.loc["vae", ["seeds", "n", "undefined"]].tolist() == [2, 10, 0]
    assert (found["low"] <= found["distance"]).all()
    assert (found["distance"] <= found["high"]).all()
    assert found.loc["training", "distance"] < found.loc["vae", "distance"]


def test_pieces_without_a_feature_are_counted_not_hidden(table_set_tables):
    broken = table_set_tables.copy()
    broken.loc[broken.index[:3], "top_step"] = np.nan
    found = measuring.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert found.loc["vae", ["n", "undefined"]].tolist() == [7, 3]
    broken.loc[broken["model"] == "vae", "top_step"] = np.nan
    found = measuring.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert math.isnan(found.loc["vae", "distance"])
    assert found.loc["vae", "undefined"] == 10


def test_the_distance_of_a_set_skips_what_single_pieces_lack(table_set_tables):
    """Two routes: the bootstrap's estimate, and `feature_distances` of the same rows."""
    broken = table_set_tables.copy()
    broken.loc[broken.index[:3], "top_step"] = np.nan
    found = measuring.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    with pytest.warns(UserWarning, match="3 of 10 pieces"):
        by_features = measuring.feature_distance_table(broken)
    by_features = by_features[by_features["model"] == "vae"].set_index("feature")
    assert by_features.loc["top_step", "n"] == 7
    assert found.loc["vae", "distance"] == pytest.approx(by_features["distance"].mean())
    assert found.loc["vae", "low"] <= found.loc["vae", "distance"] <= found.loc["vae", "high"]


def test_a_feature_without_two_real_pieces_is_dropped_for_every_set(table_set_tables):
    broken = table_set_tables.copy()
    real = broken.index[broken["model"] == "real"]
    broken.loc[real[1:], "top_step"] = np.nan
    found = measuring.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert found["dropped"].tolist() == ["top_step"] * 2
    assert (found["undefined"] == 0).all()
    assert np.isfinite(found[["distance", "low", "high"]]).all(axis=None)
    by_features = measuring.feature_distance_table(broken)
    assert "top_step" not in set(by_features["feature"])
    means = by_features.groupby("model")["distance"].mean()
    assert found.loc["vae", "distance"] == pytest.approx(means["vae"])
    one = measuring.distance_by_training(broken, size=5, seed=0)
    assert np.isfinite(one["distance"]).all()


def test_a_training_that_lacks_a_feature_has_a_row_without_a_distance(table_set_tables, tmp_path):
    broken = table_set_tables.copy()
    lacking = (broken["model"] == "vae") & (broken["seed"] == 1)
    broken.loc[lacking, "top_step"] = np.nan
    single = measuring.distance_by_training(broken, size=3, seed=0).set_index(["model", "seed"])
    assert math.isnan(single.loc[("vae", 1), "distance"])
    assert math.isfinite(single.loc[("vae", 0), "distance"])
    whole = measuring.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert np.isfinite(whole.loc["vae", ["distance", "low", "high"]].astype(float)).all()
    broken.loc[broken["model"] == "vae", "top_step"] = np.nan
    whole = measuring.distance_table(broken, seed=0, n_resamples=100)
    assert list(whole.sort_values("distance")["model"]) == ["training", "vae"]
    write_csv(whole, tmp_path / "distance.csv")
    row = next(s for s in (tmp_path / "distance.csv").read_text().split() if s.startswith("vae"))
    assert re.fullmatch(r"vae,,,,[0-9.]+,2,0,10,", row)


def test_distances_of_trainings_are_of_one_size(table_set_tables):
    found = measuring.distance_by_training(table_set_tables, size=5, seed=0).set_index(
        ["model", "seed"]
    )
    assert found["size"].tolist() == [5, 5, 5]
    for seed, rolls in VAE.items():  # no more than five pieces: one set, all of them
        assert found.loc[("vae", seed), "distance"] == pytest.approx(distance_to_real(rolls, REAL))
    pairs = [distance_to_real([a, b], REAL) for i, a in enumerate(OTHER) for b in OTHER[:i]]
    two = measuring.distance_by_training(table_set_tables, size=2, seed=0)
    assert two["distance"].iloc[-1] == pytest.approx(np.mean(pairs), rel=0.05)
    assert two["distance"].iloc[-1] > found["distance"].iloc[-1]


def test_variety_can_be_held_against_other_real_pieces():
    one = measuring.variety_table({"vae": VAE, "real": {-1: REAL}}, OTHER).iloc[0]
    own = [diversity_ratio(pieces, OTHER).nearest for pieces in VAE.values()]
    assert one["nearest"] == pytest.approx(np.mean(own))


def test_features_make_up_the_distance(table_set_tables):
    found = measuring.feature_distance_table(table_set_tables)
    assert len(found) == 2 * len(FEATURES)
    means = found.groupby("model")["distance"].mean()
    assert means["vae"] == pytest.approx(distance_to_real(VAE[0] + VAE[1], REAL))


def test_copied_shares_by_hand():
    counts = {"windows_8": [10, 30], "exact_8": [5, 5], "transposed_8": [10, 10]}
    rest = {f"{k}_{n}": [0, 0] for k in ("windows", "exact", "transposed") for n in (16, 32)}
    frame = pd.DataFrame({"model": "real", "seed": -1, **counts, **rest})
    nothing = frame.assign(model="training", **dict.fromkeys([*counts, *rest], np.nan))
    found = measuring.copied_table(pd.concat([frame, nothing]), seed=0, n_resamples=100)
    assert set(found["model"]) == {"real"}
    eight = found[found["length"] == 8].set_index("kind")
    assert eight["share"].to_dict() == {"exact": 0.25, "transposed": 0.5}
    assert eight["windows"].tolist() == [40, 40]
    assert (found.loc[found["length"] == 16, "share"] == 0).all()
    assert found["n"].tolist() == [2] * 6


def test_a_set_that_is_copied_is_found(table_set_tables):
    copied = table_set_tables[table_set_tables["model"] == "real"].assign(model="gan", seed=0)
    index = TrainingIndex(OTHER)
    counts = pd.DataFrame([index.count(roll) for roll in OTHER])
    copied[counts.columns] = counts.to_numpy()
    found = measuring.copied_table(pd.concat([table_set_tables, copied]), seed=0, n_resamples=100)
    exact = found[(found["kind"] == "exact") & (found["length"] == 16)].set_index("model")["share"]
    assert exact["gan"] == 1
    assert exact["vae"] == exact["real"] == 0


def test_variety_is_a_mean_over_trainings():
    collapsed = {0: [REAL[0]] * 4, 1: VAE[0]}
    found = measuring.variety_table({"gan": collapsed, "real": {-1: REAL}}).iloc[0]
    own = diversity_ratio(VAE[0], REAL)
    assert found["nearest"] == pytest.approx(own.nearest / 2)
    assert found["lowest_nearest"] == 0
    assert found[["model", "seeds", "n"]].tolist() == ["gan", 2, 4]
    single = measuring.variety_table({"gan": {0: [REAL[0]]}, "real": {-1: REAL}})
    assert single[["nearest", "pairwise"]].isna().all(axis=None)


def test_overlap_takes_all_seeds_together():
    samples = [
        Sample(model, seed, i, "", roll)
        for model, seeds in SETS.items()
        for seed, rolls in seeds.items()
        for i, roll in enumerate(rolls)
    ]
    found = measuring.overlap_table(rolls_by_set(samples))
    assert list(found["model"].unique()) == ["vae", "training"]
    expected = set_distances(VAE[0] + VAE[1], REAL)
    ours = found[found["model"] == "vae"].set_index("feature")[expected.columns]
    pd.testing.assert_frame_equal(ours, expected)


ROW = {"energy": 1 / 3, "level": -math.inf, "ratio": math.nan}
VERSIONS = {"numpy": "2.3"}


def write(path, rows, code="a"):
    table = Kept(path, code=code)
    with table.writing(VERSIONS):
        for item, row in rows.items():
            table.add(item, row)
    return path


def same(found, row):
    return found.keys() == row.keys() and all(
        found[k] == row[k] or (math.isnan(found[k]) and math.isnan(row[k])) for k in row
    )


def test_numbers_come_back_as_they_were(tmp_path):
    path = write(tmp_path / "deep" / "m.csv", {"one": ROW, "two": {"skipped": "too short"}})
    again = Kept(path, code="a")
    assert same(again.rows.get("one"), ROW)
    assert again.rows.get("two") == {"skipped": "too short"}
    assert again.rows.get("three") is None
    assert made_with(path) == VERSIONS


def test_another_code_knows_nothing_and_takes_the_tables_place(tmp_path):
    path = write(tmp_path / "m.csv", {"one": ROW})
    assert Kept(path, code="b").rows.get("one") is None
    assert same(Kept(path).rows.get("one"), ROW)  # released: whatever code made it
    write(path, {"two": ROW}, code="b")
    assert Kept(path).rows.get("one") is None


def test_a_table_does_not_depend_on_the_order(tmp_path):
    one = write(tmp_path / "1.csv", {"a": ROW, "b": {"energy": 2.0, "level": 1.0, "ratio": 0.0}})
    two = write(tmp_path / "2.csv", {"b": {"energy": 2.0, "level": 1.0, "ratio": 0.0}, "a": ROW})
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.333", "0.444"), ("-inf", "inf"), ("one", "two"), (",a,", ",b,"), ("item", "thing")],
)
def test_a_changed_row_is_not_known(tmp_path, old, new):
    path = write(tmp_path / "m.csv", {"one": ROW})
    path.write_text(path.read_text().replace(old, new, 1))
    assert Kept(path).rows == {}


@pytest.mark.parametrize("text", ["", "nonsense", "item,code,sha256\n1", "item\n1", '"', "\0"])
def test_what_is_no_table_knows_nothing(tmp_path, text):
    path = tmp_path / "m.csv"
    path.write_text(text)
    assert Kept(path).rows.get("one") is None
    write(path, {"one": ROW})
    assert same(Kept(path).rows.get("one"), ROW)


def test_a_kill_leaves_what_was_done_before(tmp_path, monkeypatch):
    monkeypatch.setattr("study.measuring._SECONDS", -1.0)
    table = Kept(tmp_path / "m.csv", code="a")
    with pytest.raises(KeyboardInterrupt), table.writing(VERSIONS):
        table.add("one", ROW)
        assert same(Kept(table.path).rows.get("one"), ROW)  # at once, not at the end alone
        raise KeyboardInterrupt


def test_two_processes_add_to_one_table(tmp_path):
    path = tmp_path / "m.csv"
    first, second = (Kept(path, code="a") for _ in range(2))
    for table, item in ((first, "one"), (second, "two")):
        with table.writing(VERSIONS):
            table.add(item, ROW)
    assert {"one", "two"} <= Kept(path).rows.keys()


# Ranges of real pieces


def test_ranges_by_hand():
    real = pd.DataFrame({"model": "real", "x": np.arange(101.0)})
    ours = pd.DataFrame({"model": "vae", "x": [0.9, 1.0, 99.0, 99.1, np.nan]})
    frame = pd.concat([real, ours], ignore_index=True)
    assert measuring.real_range(frame, ["x"]).loc["x"].tolist() == [1.0, 99.0, 101]
    assert measuring.inside_range(frame, ["x"])["x"].iloc[101:].tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(ValueError, match="no piece of the set 'real'"):
        measuring.real_range(ours, ["x"])


def test_range_table_counts_sets_seeds_and_flaws():
    frame = piece_table(seeds=2, n=10)
    frame.loc[frame["model"] == "vae", "polyphony"] = 99.0
    frame.loc[(frame["model"] == "gan") & (frame["seed"] == 1), "silence"] = 99.0
    frame.loc[frame.index[0], "stuck"] = 1.0
    found = measuring.range_table(frame).set_index("model")
    assert found.loc["vae", ["seeds", "n", "polyphony", "all_four", "stuck"]].tolist() == [
        2,
        20,
        0,
        0,
        1,
    ]
    assert found.loc["gan", "lowest_seed"] == 0
    assert (
        found.loc["gan", "silence"]
        == 50
        - 50
        * (
            ~measuring.inside_range(frame)["silence"][
                (frame["model"] == "gan") & (frame["seed"] == 0)
            ]
        ).mean()
    )


def test_features_outside_counts_what_is_undefined():
    frame = piece_table(n=20)
    row = frame.index[frame["model"] == "vae"][0]
    frame.loc[row, list(FEATURES)] = 0.0
    assert measuring.features_outside(frame)[row] == 0
    frame.loc[row, "polyphony"] = np.nan
    frame.loc[row, "top_step"] = 1e6
    assert measuring.features_outside(frame)[row] == 2
