"""Three picked pieces: every ranking by hand, exact separation by brute force, adjustment."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musiclib import protocol


def test_rankings_of_models_that_never_overlap():
    values = {"a": np.arange(10.0), "b": np.arange(10.0) + 100, "c": np.arange(10.0) + 200}
    found = protocol.picked_rankings(values, rng=np.random.default_rng(0), n_draws=50)
    found = found.set_index("ranking")
    assert found.loc["c > b > a"].tolist() == [1.0, 1.0, True]
    assert not found.drop("c > b > a").to_numpy().any()


def test_rankings_of_models_that_do_not_differ():
    same = np.arange(60.0)
    values = {"a": same, "b": same + 0.1, "c": same + 0.2}
    found = protocol.picked_rankings(values, rng=np.random.default_rng(0), n_draws=6000)
    assert found["by_means"].sum() == pytest.approx(1, abs=0.01)
    assert found["by_means"].to_numpy() == pytest.approx(1 / 6, abs=0.03)
    assert found["separated"].mean() == pytest.approx(protocol.separation_chance(), rel=0.7)
    assert found["can_be_picked"].all()


def test_draws_are_without_replacement():
    drawn = protocol._draws(np.arange(5.0), 3, 400, np.random.default_rng(0))
    assert drawn.shape == (400, 3)
    assert all(len(set(row)) == 3 for row in drawn)
    assert np.bincount(drawn.astype(int).ravel(), minlength=5).min() > 180


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=5),
    st.lists(st.integers(0, 12), min_size=2, max_size=5),
    st.lists(st.integers(0, 12), min_size=2, max_size=5),
)
def test_what_can_be_picked_by_brute_force(a, b, c):
    values = {name: np.array(v, float) for name, v in zip("abc", (a, b, c), strict=True)}
    choices = (itertools.combinations(values[name], 2) for name in "abc")
    by_force = any(min(x) > max(y) and min(y) > max(z) for x, y, z in itertools.product(*choices))
    assert protocol.can_be_picked(values, "abc", size=2) == by_force


def test_how_far_a_picker_can_push():
    found = protocol.picked_means({"a": np.array([5.0, 1, np.inf, 3, 2, 4])})
    assert found.iloc[0].tolist() == ["a", 5, 2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match="a has 2 finite values; at least 3 are picked"):
        protocol.picked_means({"a": np.array([1.0, 2.0, np.nan])})


def test_ranking_of_a_series_and_a_mapping():
    assert protocol.ranking(pd.Series({"x": 1.0, "y": 2.0})) == "y > x"
    assert protocol.ranking({"x": 3.0, "y": 2.0}) == "x > y"


def test_adjusted_means_take_out_what_a_covariate_explains():
    rng = np.random.default_rng(0)
    density = np.concatenate([rng.normal(4, 1, 50), rng.normal(8, 1, 50)])
    model = np.repeat(["vae", "gan"], 50)
    energy = 3 * density + np.where(model == "vae", 1.0, 0.0)
    frame = pd.DataFrame({"model": model, "energy": energy, "density": density})
    found = protocol.adjusted_means(frame, "energy", ["density"], models=["vae", "gan", "lstm"])
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
        protocol.adjusted_means(frame, "energy", ["density"], models=["vae", "gan"])


def test_models_without_a_value_rank_last():
    means = {"vae": np.nan, "gan": 1.0, "lstm": 3.0}
    assert protocol.ranking(means) == "lstm > gan, without a value: vae"
    assert protocol.ranking(means, smallest_first=True) == "gan < lstm, without a value: vae"
    assert protocol.ranking({"vae": np.nan}) == "without a value: vae"
