"""Tables of whole sets: as the functions give them, n said, nothing undefined hidden."""

import math

import numpy as np
import pandas as pd
import pytest

from musiclib import set_tables
from musiclib.comparison import FEATURES, distance_to_real, feature_table
from musiclib.diversity import diversity_ratio
from musiclib.evaluation import Sample, rolls_by_set
from musiclib.files import write_csv
from musiclib.originality import TrainingIndex
from musiclib.roll_notes import roll_of
from musiclib.set_distances import set_distances


def music(n, *, seed, top=60):
    """Return n pieces of four bars, a note a sixteenth."""
    rng = np.random.default_rng(seed)
    start = np.arange(64)
    return [roll_of(start, rng.integers(30, top, 64), np.full(64, 2), steps=64) for _ in range(n)]


REAL, OTHER = music(8, seed=0), music(8, seed=1)
VAE = {0: music(5, seed=2, top=45), 1: music(5, seed=3, top=45)}
SETS = {"vae": VAE, "real": {-1: REAL}, "training": {0: OTHER}}


@pytest.fixture(scope="module")
def table():
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


def test_distances_are_those_of_the_sets(table):
    found = set_tables.distance_table(table, seed=0, n_resamples=100).set_index("model")
    assert list(found.index) == ["vae", "training"]
    assert found.loc["vae", "distance"] == pytest.approx(distance_to_real(VAE[0] + VAE[1], REAL))
    assert found.loc["vae", ["seeds", "n", "undefined"]].tolist() == [2, 10, 0]
    assert (found["low"] <= found["distance"]).all()
    assert (found["distance"] <= found["high"]).all()
    assert found.loc["training", "distance"] < found.loc["vae", "distance"]


def test_pieces_without_a_feature_are_counted_not_hidden(table):
    broken = table.copy()
    broken.loc[broken.index[:3], "top_step"] = np.nan
    found = set_tables.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert found.loc["vae", ["n", "undefined"]].tolist() == [7, 3]
    broken.loc[broken["model"] == "vae", "top_step"] = np.nan
    found = set_tables.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert math.isnan(found.loc["vae", "distance"])
    assert found.loc["vae", "undefined"] == 10


def test_the_distance_of_a_set_skips_what_single_pieces_lack(table):
    """Two routes: the bootstrap's estimate, and `feature_distances` of the same rows."""
    broken = table.copy()
    broken.loc[broken.index[:3], "top_step"] = np.nan
    found = set_tables.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    with pytest.warns(UserWarning, match="3 of 10 pieces"):
        by_features = set_tables.feature_distance_table(broken)
    by_features = by_features[by_features["model"] == "vae"].set_index("feature")
    assert by_features.loc["top_step", "n"] == 7
    assert found.loc["vae", "distance"] == pytest.approx(by_features["distance"].mean())
    assert found.loc["vae", "low"] <= found.loc["vae", "distance"] <= found.loc["vae", "high"]


def test_a_feature_without_two_real_pieces_is_dropped_for_every_set(table):
    broken = table.copy()
    real = broken.index[broken["model"] == "real"]
    broken.loc[real[1:], "top_step"] = np.nan
    found = set_tables.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert found["dropped"].tolist() == ["top_step"] * 2
    assert (found["undefined"] == 0).all()
    assert np.isfinite(found[["distance", "low", "high"]]).all(axis=None)
    by_features = set_tables.feature_distance_table(broken)
    assert "top_step" not in set(by_features["feature"])
    means = by_features.groupby("model")["distance"].mean()
    assert found.loc["vae", "distance"] == pytest.approx(means["vae"])
    one = set_tables.distance_by_training(broken, size=5, seed=0)
    assert np.isfinite(one["distance"]).all()


def test_a_training_that_lacks_a_feature_has_a_row_without_a_distance(table, tmp_path):
    broken = table.copy()
    lacking = (broken["model"] == "vae") & (broken["seed"] == 1)
    broken.loc[lacking, "top_step"] = np.nan
    single = set_tables.distance_by_training(broken, size=3, seed=0).set_index(["model", "seed"])
    assert math.isnan(single.loc[("vae", 1), "distance"])
    assert math.isfinite(single.loc[("vae", 0), "distance"])
    whole = set_tables.distance_table(broken, seed=0, n_resamples=100).set_index("model")
    assert np.isfinite(whole.loc["vae", ["distance", "low", "high"]].astype(float)).all()
    broken.loc[broken["model"] == "vae", "top_step"] = np.nan
    whole = set_tables.distance_table(broken, seed=0, n_resamples=100)
    assert list(whole.sort_values("distance")["model"]) == ["training", "vae"]
    write_csv(whole, tmp_path / "distance.csv")
    assert "vae,,,,2,0,10," in (tmp_path / "distance.csv").read_text()


def test_distances_of_trainings_are_of_one_size(table):
    found = set_tables.distance_by_training(table, size=5, seed=0).set_index(["model", "seed"])
    assert found["size"].tolist() == [5, 5, 5]
    for seed, rolls in VAE.items():  # no more than five pieces: one set, all of them
        assert found.loc[("vae", seed), "distance"] == pytest.approx(distance_to_real(rolls, REAL))
    pairs = [distance_to_real([a, b], REAL) for i, a in enumerate(OTHER) for b in OTHER[:i]]
    two = set_tables.distance_by_training(table, size=2, seed=0, n_draws=400)
    assert two["distance"].iloc[-1] == pytest.approx(np.mean(pairs), rel=0.05)
    assert two["distance"].iloc[-1] > found["distance"].iloc[-1]


def test_variety_can_be_held_against_other_real_pieces():
    one = set_tables.variety_table({"vae": VAE, "real": {-1: REAL}}, OTHER).iloc[0]
    own = [diversity_ratio(pieces, OTHER).nearest for pieces in VAE.values()]
    assert one["nearest"] == pytest.approx(np.mean(own))


def test_features_make_up_the_distance(table):
    found = set_tables.feature_distance_table(table)
    assert len(found) == 2 * len(FEATURES)
    means = found.groupby("model")["distance"].mean()
    assert means["vae"] == pytest.approx(distance_to_real(VAE[0] + VAE[1], REAL))


def test_copied_shares_by_hand():
    counts = {"windows_8": [10, 30], "exact_8": [5, 5], "transposed_8": [10, 10]}
    rest = {f"{k}_{n}": [0, 0] for k in ("windows", "exact", "transposed") for n in (16, 32)}
    frame = pd.DataFrame({"model": "real", "seed": -1, **counts, **rest})
    nothing = frame.assign(model="training", **dict.fromkeys([*counts, *rest], np.nan))
    found = set_tables.copied_table(pd.concat([frame, nothing]), seed=0, n_resamples=100)
    assert set(found["model"]) == {"real"}
    eight = found[found["length"] == 8].set_index("kind")
    assert eight["share"].to_dict() == {"exact": 0.25, "transposed": 0.5}
    assert eight["windows"].tolist() == [40, 40]
    assert (found.loc[found["length"] == 16, "share"] == 0).all()
    assert found["n"].tolist() == [2] * 6


def test_a_set_that_is_copied_is_found(table):
    copied = table[table["model"] == "real"].assign(model="gan", seed=0)
    index = TrainingIndex(OTHER)
    counts = pd.DataFrame([index.count(roll) for roll in OTHER])
    copied[counts.columns] = counts.to_numpy()
    found = set_tables.copied_table(pd.concat([table, copied]), seed=0, n_resamples=100)
    exact = found[(found["kind"] == "exact") & (found["length"] == 16)].set_index("model")["share"]
    assert exact["gan"] == 1
    assert exact["vae"] == exact["real"] == 0


def test_variety_is_a_mean_over_trainings():
    collapsed = {0: [REAL[0]] * 4, 1: VAE[0]}
    found = set_tables.variety_table({"gan": collapsed, "real": {-1: REAL}}).iloc[0]
    own = diversity_ratio(VAE[0], REAL)
    assert found["nearest"] == pytest.approx(own.nearest / 2)
    assert found["lowest_nearest"] == 0
    assert found[["model", "seeds", "n"]].tolist() == ["gan", 2, 4]
    single = set_tables.variety_table({"gan": {0: [REAL[0]]}, "real": {-1: REAL}})
    assert single[["nearest", "pairwise"]].isna().all(axis=None)


def test_overlap_takes_all_seeds_together():
    samples = [
        Sample(model, seed, i, "", roll)
        for model, seeds in SETS.items()
        for seed, rolls in seeds.items()
        for i, roll in enumerate(rolls)
    ]
    found = set_tables.overlap_table(rolls_by_set(samples))
    assert list(found["model"].unique()) == ["vae", "training"]
    expected = set_distances(VAE[0] + VAE[1], REAL)
    ours = found[found["model"] == "vae"].set_index("feature")[expected.columns]
    pd.testing.assert_frame_equal(ours, expected)
