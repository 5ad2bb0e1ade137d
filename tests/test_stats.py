"""Intervals and tests: closed forms, second routes, and what seeds do to an interval."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from piece_tables import SETS, piece_table
from scipy import stats

from study.claims import mean_difference
from study.stats import (
    bootstrap,
    cliffs_delta,
    compare_models,
    dunn_holm,
    fdr_corrected,
    few_seeds,
    kruskal_wallis,
    outer_ends,
    resampler,
    seed_interval,
    summary_table,
    values_by_seed,
    widening,
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
    found = fdr_corrected(p)
    assert found.drop("c").tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert np.isnan(found["c"])
    assert fdr_corrected(pd.Series([np.nan])).isna().all()
    with pytest.raises(ValueError, match="p must lie in 0 to 1"):
        fdr_corrected(pd.Series([1.2]))


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


def test_an_interval_of_one_seed_is_the_plain_bootstrap_about_the_estimate():
    values = {0: np.random.default_rng(0).normal(size=60)}
    plain = bootstrap(np.mean, values, rng=np.random.default_rng(1), n_resamples=800)
    found = seed_interval(np.mean, values, rng=np.random.default_rng(1), n_resamples=800)
    assert found.high - found.low == pytest.approx(plain.high - plain.low)
    assert found.estimate == plain.estimate
    assert found.low == pytest.approx(plain.low, abs=0.02)


def test_few_seeds_widen_by_the_factor_written_down():
    values = {s: np.random.default_rng(s).normal(s, 1, size=30) for s in range(5)}
    plain = bootstrap(np.mean, values, rng=np.random.default_rng(1), n_resamples=500)
    found = seed_interval(np.mean, values, rng=np.random.default_rng(1), n_resamples=500)
    factor = math.sqrt(5 / 4) * stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    assert (found.high - found.low) / (plain.high - plain.low) == pytest.approx(factor)
    assert (found.n_seeds, found.n) == (5, 150)


def test_a_set_without_trainings_is_not_widened_for_few_trainings():
    rng = np.random.default_rng(0)
    trainings = {s: rng.normal(s, 1, size=30) for s in range(5)}
    other = {0: rng.normal(0, 1, size=40)}

    def factor(*sets):
        settings = {"rng": np.random.default_rng(1), "level": 0.95, "n_resamples": 4000}
        return widening(mean_difference, *sets, **settings)

    one = widening(np.mean, trainings, rng=np.random.default_rng(1), level=0.95)
    assert one == pytest.approx(few_seeds([5], 0.95))
    assert widening(np.mean, other, rng=rng, level=0.95) == 1
    still = {0: np.zeros(40)}  # adds no variance, so the five trainings decide alone
    assert factor(trainings, still) == pytest.approx(one)
    means = np.array([values.mean() for values in trainings.values()])
    within = np.mean([values.var() for values in trainings.values()])
    between, single = means.var() / 5 + within / 150, other[0].var() / 40
    grown, wide = 5 / 4 * between, {0: 30 * other[0]}
    for sets, v in (((trainings, other), single), ((trainings, wide), 900 * single)):
        df = (grown + v) ** 2 / (grown**2 / 4 + v**2 / 39)
        by_hand = np.sqrt((grown + v) / (between + v)) * stats.t.ppf(0.975, df)
        assert factor(*sets) == pytest.approx(by_hand / stats.norm.ppf(0.975), rel=0.02)
    assert factor(trainings, wide) < 1.05 < factor(trainings, other) < one


def test_real_pieces_are_drawn_by_tune_and_seeds_still_counted():
    frame = piece_table(n=24)
    real = frame["model"] == "real"
    tunes = [f"tune {i // 8}" for i in range(24)]
    frame.loc[real, "polyphony"] = np.repeat([0.0, 5.0, 10.0], 8)
    frame["tune"] = ""
    frame.loc[real, "tune"] = tunes
    found = values_by_seed(frame, "real", "polyphony")
    assert {tune: len(values) for tune, values in found.items()} == dict.fromkeys(set(tunes), 8)
    assert list(values_by_seed(frame, "vae", "polyphony")) == list(range(5))
    by_tune = summary_table(frame, ["polyphony"], seed=0).set_index("model")
    by_piece = summary_table(frame.drop(columns="tune"), ["polyphony"], seed=0)
    by_piece = by_piece.set_index("model")
    width = by_tune["high"] - by_tune["low"]
    assert width["real"] > 2 * (by_piece["high"] - by_piece["low"])["real"]
    assert by_tune.loc["real", ["seeds", "n"]].tolist() == [1, 24]


def test_five_seeds_cover_the_truth_about_as_often_as_promised():
    rng, hits, runs = np.random.default_rng(0), 0, 50
    for _ in range(runs):
        sets = [{s: rng.normal(rng.normal(), 0.3, size=8) for s in range(5)} for _ in range(2)]
        found = seed_interval(mean_difference, *sets, rng=rng, n_resamples=100)
        hits += found.low <= 0 <= found.high
    assert hits / runs > 0.9


@pytest.mark.parametrize(("level", "n"), [(0.9, 200), (0.99375, 4_000)])
def test_outer_ends_lie_outside_the_endless_percentile_as_often_as_promised(level, n):
    rng, tail = np.random.default_rng(0), (1 - level) / 2
    ends = np.array([outer_ends(rng.random(n), level=level) for _ in range(1_000)])
    outside = ends[:, 0] <= tail, ends[:, 1] >= 1 - tail
    assert all(0.94 < side.mean() < 0.99 for side in outside)


def test_a_cautious_interval_holds_the_plain_one_and_ends_at_draws():
    values = {0: np.random.default_rng(0).normal(size=60)}
    plain, cautious = (
        seed_interval(np.mean, values, rng=np.random.default_rng(1), cautious=each)
        for each in (False, True)
    )
    assert cautious.low < plain.low < plain.estimate == cautious.estimate < plain.high
    assert plain.high < cautious.high
    assert cautious.high - cautious.low < 1.3 * (plain.high - plain.low)
    assert outer_ends([3.0, 1.0, 2.0], level=0.95) == (1.0, 3.0)


def test_intervals_hold_their_estimate_and_stay_in_bounds():
    low, high = {0: np.zeros(20)}, {0: np.ones(20)}
    rng = np.random.default_rng(0)
    found = seed_interval(cliffs_delta, high, low, rng=rng, bounds=(-1, 1))
    assert found[:3] == (1.0, 1.0, 1.0)
    nothing = seed_interval(np.mean, {0: np.full(3, np.nan)}, rng=rng)
    assert math.isnan(nothing.estimate)
    assert nothing.n == 0
    assert math.isnan(seed_interval(np.mean, {}, rng=rng).low)


def test_values_by_seed_drops_the_level_of_silence():
    frame = pd.DataFrame(
        {"model": ["vae", "vae", "gan"], "seed": [1, 0, 0], "x": [1.0, -np.inf, 3]}
    )
    found = values_by_seed(frame, "vae", "x")
    assert list(found) == [0, 1]
    assert math.isnan(found[0][0])
    assert found[1].tolist() == [1.0]
    assert values_by_seed(frame, "lstm", "x") == {}


def test_summary_says_n_and_seeds():
    frame = piece_table(seeds=2, n=6)
    frame.loc[(frame["model"] == "vae") & (frame["seed"] == 0), "silence"] = np.nan
    found = summary_table(frame, ["silence"], seed=0, n_resamples=100).set_index("model")
    assert found.loc["vae", ["seeds", "n"]].tolist() == [1, 6]
    assert found.loc["gan", ["seeds", "n"]].tolist() == [2, 12]
    chosen = frame.loc[frame["model"] == "gan", "silence"]
    assert found.loc["gan", "mean"] == pytest.approx(chosen.mean())
    assert found.loc["gan", "spread"] == pytest.approx(chosen.std())


def test_summary_agrees_with_the_interval_of_one_measure():
    frame = piece_table(seeds=5, n=10)
    found = summary_table(frame, ["silence", "polyphony"], seed=0, n_resamples=2000)
    row = found[(found["model"] == "gan") & (found["measure"] == "polyphony")].iloc[0]
    samples = values_by_seed(frame, "gan", "polyphony")
    rng = np.random.default_rng(1)
    one = seed_interval(np.mean, samples, rng=rng, n_resamples=2000)
    assert row["mean"] == pytest.approx(one.estimate)
    assert row[["low", "high"]].tolist() == pytest.approx([one.low, one.high], abs=0.06)
    assert found["measure"].tolist() == ["silence"] * len(SETS) + ["polyphony"] * len(SETS)


def test_models_are_tested_over_seeds_only():
    frame = piece_table(shift={"polyphony": {"vae": 9.0, "gan": 4.0}})
    found = compare_models(frame, ["polyphony", "silence"])
    by_seed = [
        frame[frame["model"] == m].groupby("seed")["polyphony"].mean()
        for m in ("vae", "gan", "lstm")
    ]
    assert stats.kruskal(*by_seed).statistic == pytest.approx(12.5)  # wholly parted
    assert found["p_seeds"][0] < 0.001
    assert found["q_seeds"][0] == pytest.approx(2 * found["p_seeds"][0])
    assert found.loc[0, ["first", "second", "seeds", "n_first"]].tolist() == ["vae", "gan", 5, 100]
    one = compare_models(piece_table(seeds=1), ["polyphony"])
    assert one[["p_seeds", "q_seeds", "p_holm"]].isna().all(axis=None)
    assert one["delta"].notna().all()


def test_summaries_of_a_measure_that_few_pieces_define_have_an_interval():
    frame = piece_table(seeds=2, n=5)
    frame["chord_fit"] = np.nan
    frame.loc[frame.index[:2], "chord_fit"] = [0.2, 0.4]
    found = summary_table(frame, ["chord_fit"], seed=0, n_resamples=100)
    found = found.set_index("model")
    assert found.loc["vae", "mean"] == pytest.approx(0.3)
    assert np.isfinite(found.loc["vae", ["low", "high"]].astype(float)).all()
    assert found.loc["gan", ["mean", "low", "high"]].isna().all()
    assert found.loc["gan", "n"] == 0
