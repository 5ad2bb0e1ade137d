"""Intervals and tests: closed forms, second routes, and what seeds do to an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

from study.stats import (
    bootstrap,
    cliffs_delta,
    corrected,
    dunn_holm,
    kruskal_wallis,
    resampler,
)


def normal_seeds(means, n, *, seed=0):
    """Return n values of spread 1 about each mean."""
    rng = np.random.default_rng(seed)
    return {i: rng.normal(mean, 1.0, size=n) for i, mean in enumerate(means)}


def test_one_group_gives_the_plain_bootstrap():
    values = np.random.default_rng(0).normal(size=80)
    found = bootstrap(np.mean, {0: values}, rng=np.random.default_rng(1), n_resamples=4000)
    plain = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.estimate == pytest.approx(values.mean())
    assert (found.n_seeds, found.n) == (1, 80)
    assert found.low == pytest.approx(plain.low, abs=0.02)
    assert found.high == pytest.approx(plain.high, abs=0.02)


def test_seeds_that_differ_widen_the_interval():
    alike, apart = normal_seeds([0] * 5, 40), normal_seeds([-2, -1, 0, 1, 2], 40)
    pooled = {0: np.concatenate(list(apart.values()))}
    widths = [
        found.high - found.low
        for found in (
            bootstrap(np.mean, samples, rng=np.random.default_rng(0), n_resamples=500)
            for samples in (alike, pooled, apart)
        )
    ]
    assert widths[2] > 2.5 * widths[1]
    assert widths[0] < widths[1]


def test_variance_of_the_two_stages_by_closed_form():
    samples = normal_seeds([-2, -1, 0, 1, 2], 40)
    groups = list(samples.values())
    draw, rng = resampler(groups), np.random.default_rng(0)
    means = [draw(rng).mean() for _ in range(4000)]
    between = np.var([g.mean() for g in groups]) / 5
    within = np.mean([g.var() for g in groups]) / 200
    assert np.var(means) == pytest.approx(between + within, rel=0.08)


@pytest.mark.parametrize("sizes", [[6], [1] * 5, [4, 4, 4], [1, 3, 1, 2], [7, 1]])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_sample_is_the_one_of_a_loop_over_groups(sizes, shape):
    source = np.random.default_rng(0)
    groups = [source.integers(3, size=(n, *shape)).astype(float) for n in sizes]
    draw, ours, plain = resampler(groups), np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(50):
        drawn = plain.integers(len(groups), size=len(groups))
        expected = [groups[g][plain.integers(sizes[g], size=sizes[g])] for g in drawn]
        assert np.array_equal(draw(ours), np.concatenate(expected))


def test_a_difference_of_two_sets():
    first, second = normal_seeds([3] * 5, 30, seed=0), normal_seeds([1] * 4, 20, seed=1)
    found = bootstrap(lambda a, b: a.mean() - b.mean(), first, second, rng=np.random.default_rng(0))
    assert found.low < 2.0 < found.high
    assert (found.n_seeds, found.n) == (5, 150)


def test_rows_of_values_and_nan():
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, 5.0]])
    found = bootstrap(lambda a: a[:, 1].max(), {0: rows}, rng=np.random.default_rng(0))
    assert (found.estimate, found.n) == (4.0, 2)


def test_the_same_generator_gives_the_same_interval():
    samples = normal_seeds([0, 1], 10)
    first, second = (bootstrap(np.mean, samples, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("sets", "arguments", "message"),
    [
        ([], {}, "at least one set"),
        ([{}], {}, r"sets\[0\] holds no value"),
        ([{0: np.array([np.nan])}], {}, r"sets\[0\] holds no value"),
        ([{0: np.ones(3)}], {"n_resamples": 10}, "n_resamples must be at least 100; got 10"),
        ([{0: np.ones(3)}], {"level": 1.0}, "level must lie between 0 and 1; got 1.0"),
    ],
)
def test_bad_bootstraps(sets, arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(np.mean, *sets, rng=np.random.default_rng(0), **arguments)


def test_cliffs_delta_by_a_plain_count():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, size=17).astype(float), rng.integers(0, 6, size=23).astype(float)
    plain = np.sign(x[:, None] - y).mean()
    assert cliffs_delta(x, y) == pytest.approx(plain)
    assert cliffs_delta(y, x) == pytest.approx(-plain)
    assert cliffs_delta(x, x) == 0.0
    u = stats.mannwhitneyu(x, y).statistic
    assert cliffs_delta(x, y) == pytest.approx(2 * u / (len(x) * len(y)) - 1)


MODELS = {
    "low": normal_seeds([0] * 5, 20, seed=0),
    "high": normal_seeds([4] * 5, 20, seed=1),
    "also high": normal_seeds([4] * 5, 20, seed=2),
}


def test_kruskal_wallis_of_seeds_and_of_pieces():
    seeds = kruskal_wallis(MODELS)
    means = [[values.mean() for values in model.values()] for model in MODELS.values()]
    assert seeds["statistic"] == pytest.approx(stats.kruskal(*means).statistic)
    rng, pooled = np.random.default_rng(5), np.concatenate(means)
    dealt = [stats.kruskal(*rng.permutation(pooled).reshape(3, 5))[0] for _ in range(3000)]
    assert seeds["p"] == pytest.approx(np.mean(np.array(dealt) >= seeds["statistic"]), abs=0.003)
    assert (seeds["n"], kruskal_wallis(MODELS, by_seed=False)["n"]) == (15, 300)
    assert kruskal_wallis(MODELS, by_seed=False)["p"] < seeds["p"] < 0.05


def test_the_papers_energies():
    energy = {
        "vae": [4.6085e4, 1.2842e4, 9.2387e3],
        "gan": [150.3314, 106.7336, 113.0019],
        "lstm": [92.0556, 4.7353, 49.3611],
    }
    models = {name: {0: np.array(values)} for name, values in energy.items()}
    # wholly parted: 6 of the 9! / (3! 3! 3!) ways to deal them out
    assert kruskal_wallis(models, by_seed=False)["p"] == pytest.approx(6 / 1680)
    assert stats.kruskal(*energy.values()).pvalue == pytest.approx(0.027, abs=0.0005)


def seeds_of(*values):
    """Return seeds of one piece each."""
    return {seed: np.array([value], float) for seed, value in enumerate(values)}


def test_dunn_by_hand():
    models = {"a": seeds_of(1, 2, 3), "b": seeds_of(4, 5, 6)}
    z = (2 - 5) / np.sqrt(6 * 7 / 12 * (1 / 3 + 1 / 3))  # mean ranks 2 and 5 of six
    assert dunn_holm(models) == pytest.approx([2 * stats.norm.cdf(z)])
    low_high, low_also, high_also = dunn_holm(MODELS)
    assert max(low_high, low_also) < 0.05 < high_also


@pytest.mark.parametrize("seed", range(5))
def test_holms_correction_is_scikit_posthocs(seed):
    rng = np.random.default_rng(seed)
    groups = [rng.integers(8, size=6) + shift for shift in (0, 1, 4)]
    expected = scikit_posthocs.posthoc_dunn(groups, p_adjust="holm").to_numpy()
    found = dunn_holm({name: seeds_of(*own) for name, own in zip("abc", groups, strict=True)})
    assert found.tolist() == expected[[0, 0, 1], [1, 2, 2]].tolist()


def test_equal_values_show_no_difference():
    models = {"a": {0: np.ones(4), 1: np.ones(4)}, "b": {0: np.ones(3)}}
    assert kruskal_wallis(models) == {"statistic": 0.0, "p": 1.0, "n": 3}
    assert dunn_holm(models).tolist() == [1.0]


def test_bad_models():
    with pytest.raises(ValueError, match=r"at least two models; got \['a'\]"):
        kruskal_wallis({"a": {0: np.ones(3)}})
    with pytest.raises(ValueError, match=r"models\['b'\] holds no value"):
        dunn_holm({"a": {0: np.ones(3)}, "b": {0: np.array([np.nan])}})


def test_correction_by_hand():
    p = pd.Series([0.01, 0.04, np.nan, 0.03], index=list("abcd"))
    found = corrected(p)
    assert found.drop("c").tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert np.isnan(found["c"])
    assert corrected(pd.Series([np.nan])).isna().all()
    with pytest.raises(ValueError, match="p must lie in 0 to 1"):
        corrected(pd.Series([1.2]))


def test_draws_that_do_not_define_the_statistic_are_skipped():
    values = {0: np.array([0.0, 0.0, 0.0, 1.0])}

    def share(a):
        return a.mean() if a.any() else np.nan

    found = bootstrap(share, values, rng=np.random.default_rng(0), n_resamples=200)
    assert found.estimate == 0.25
    assert 0.25 <= found.low <= found.high <= 1
    nothing = bootstrap(lambda a: np.nan, values, rng=np.random.default_rng(0), n_resamples=100)
    assert np.isnan([nothing.estimate, nothing.low, nothing.high]).all()
    assert (nothing.n_seeds, nothing.n) == (1, 4)
