"""Bradley-Terry scores, intervals and predictions: by hand, by a second route, with too little.

Listeners that do not exist: the committed file, and that it says what it is.
Agreement of listeners: the published example, cases by hand, and too little to tell."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from study import listening, preference
from study.listening import SIMULATED, Answer, ProvenanceError, clip_table
from study.preference import (
    LIKING,
    expected_scores,
    placeholder_clips,
    simulated_answers,
)

CLIPS = placeholder_clips(3)
KEY = clip_table(CLIPS)
CODES = {name: rows["code"].tolist() for name, rows in KEY.groupby("model")}


def gathered(answers, key=KEY):
    return preference.gather(pd.DataFrame(answers, columns=list(Answer._fields)), key)


def choose(first, second, said, *, listener="a", trial=0):
    return Answer("d", listener, trial, "choice", first, second, said, 1.0)


def rate(clip, said, *, listener="a", trial=0):
    return Answer("d", listener, trial, "rating", clip, "", str(said), 1.0)


def everyone(said, listeners="abc"):
    """Return a choice of every listener between the first clips of each two sets."""
    pairs = itertools.combinations([CODES[name][0] for name in KEY["model"].unique()], 2)
    return [
        choose(a, b, said, listener=who, trial=n)
        for n, (a, b) in enumerate(pairs)
        for who in listeners
    ]


def test_two_sets_by_hand():
    wins = np.array([[0.0, 7.0], [2.0, 0.0]])
    expected = math.log(7.5 / 2.5) / 2
    assert preference.bradley_terry(wins).tolist() == pytest.approx([expected, -expected])
    assert preference.bradley_terry(wins, prior=0)[0] == pytest.approx(math.log(7 / 2) / 2)


@given(st.lists(st.integers(0, 9), min_size=16, max_size=16))
def test_scores_are_where_scipy_finds_the_likelihood_highest(counts):
    wins = np.array(counts, float).reshape(4, 4)
    np.fill_diagonal(wins, 0)

    def cost(free):
        s = np.append(free, -free.sum())
        return ((wins + 0.5) * np.logaddexp(0, s[None, :] - s[:, None])).sum()

    found = optimize.minimize(cost, np.zeros(3), method="BFGS").x
    assert preference.bradley_terry(wins)[:3] == pytest.approx(found, abs=1e-3)


def test_scores_do_not_depend_on_the_order_of_the_sets():
    wins = np.random.default_rng(0).integers(0, 20, (5, 5)).astype(float)
    order = np.array([3, 0, 4, 1, 2])
    moved = preference.bradley_terry(wins[np.ix_(order, order)])
    assert moved == pytest.approx(preference.bradley_terry(wins)[order])


def test_a_set_that_is_never_chosen_has_a_finite_score():
    wins = np.full((3, 3), 20.0)
    wins[2] = 0
    found = preference.bradley_terry(wins)
    assert np.isfinite(found).all()
    assert found[2] < -2
    assert found.sum() == pytest.approx(0)
    with pytest.raises(ValueError, match="the choices are separated"):
        preference.bradley_terry(np.array([[0, 5], [0, 0]]), prior=0)


def test_nothing_and_ties_only_give_scores_of_zero():
    assert preference.bradley_terry(np.zeros((3, 3))).tolist() == [0, 0, 0]
    assert preference.bradley_terry(np.zeros((3, 3)), prior=0).tolist() == [0, 0, 0]
    found = preference.preference_table(gathered(everyone("tie")), seed=0, n_resamples=100)
    assert found[["score", "low", "high"]].abs().max(axis=None) < 1e-9
    assert found["rating"].isna().all()


@pytest.mark.parametrize(
    ("wins", "prior", "phrase"),
    [
        (np.zeros((2, 3)), 0.5, r"shape \(2, 3\)"),
        (np.full((2, 2), -1.0), 0.5, "counts of 0 or more"),
        (np.full((2, 2), math.nan), 0.5, "counts of 0 or more"),
        (np.zeros((2, 2)), -1, "prior: got -1"),
    ],
)
def test_tables_that_are_none(wins, prior, phrase):
    with pytest.raises(ValueError, match=phrase):
        preference.bradley_terry(wins, prior=prior)


def test_wins_by_hand_with_a_tie_as_half():
    lstm, gan = CODES["lstm"][0], CODES["gan"][1]
    found = gathered(
        [
            choose(lstm, gan, "first"),
            choose(gan, lstm, "first", trial=1),
            choose(lstm, gan, "tie", trial=2),
        ]
    )
    wins = preference.win_table(found)
    assert wins.loc["lstm", "gan"] == wins.loc["gan", "lstm"] == 1.5
    assert wins.to_numpy().sum() == 3


def test_ratings_without_choices_have_scores_of_zero():
    answers = [
        rate(code, 1 + k % 5, listener=who) for k, code in enumerate(KEY["code"]) for who in "ab"
    ]
    found = preference.preference_table(gathered(answers), seed=0, n_resamples=100)
    assert found["score"].abs().max() < 1e-9
    assert found["rating"].notna().all()
    assert found["choices"].tolist() == [0] * 5
    measures = KEY.assign(x=np.arange(len(KEY), dtype=float))
    table = preference.prediction_table(gathered(answers), measures, ["x"], seed=0, n_resamples=100)
    assert table.loc[0, "slope"] == pytest.approx(0, abs=1e-9)
    assert math.isfinite(table.loc[0, "rho"])


def test_one_listener_has_scores_without_intervals():
    found = preference.preference_table(gathered(everyone("first", "a")), seed=0, n_resamples=100)
    assert found["score"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)


def test_the_liking_that_was_put_in_is_found_again(monkeypatch):
    monkeypatch.setattr(preference, "SEED", 5)
    clips = placeholder_clips(40)
    found = gathered(simulated_answers(clips, listeners=200), clip_table(clips))
    table = preference.preference_table(found, seed=0, n_resamples=100)
    assert table["score"].tolist() == pytest.approx(expected_scores(), abs=0.15)
    assert table.set_index("model")["rating"].idxmax() == "real"
    assert table["listeners"].unique().tolist() == [200]
    assert table["choices"].tolist() == [2400] * 3 + [1600] * 2


def test_intervals_cover_what_was_put_in(monkeypatch):
    clips, hits, runs = placeholder_clips(5), 0, 30
    for run in range(runs):
        monkeypatch.setattr(preference, "SEED", run)
        found = gathered(simulated_answers(clips), clip_table(clips))
        settings = {"clips": 2, "seed": 0, "n_resamples": 100}
        low, high = preference.resampled(preference.scores, found, **settings)[1:]
        hits += ((low < expected_scores()) & (expected_scores() < high)).sum()
    assert hits / (5 * runs) > 0.91


def test_trainings_are_resampled_whole_and_clips_where_there_is_one():
    key = pd.DataFrame(
        {"code": list("abcdef"), "model": ["x"] * 4 + ["y"] * 2, "seed": [0, 0, 1, 1, -1, -1]}
    )
    some = preference.Evidence(
        key.assign(group=preference._groups(key)), ("l", "m"), pd.DataFrame(), pd.DataFrame()
    )
    assert some.key["group"].tolist() == ["x 0", "x 0", "x 1", "x 1", "e", "f"]
    assert some.sizes == [2, 2, 2]


def test_resamples_of_listeners_trainings_and_answers():
    found = gathered([*everyone("first"), rate(CODES["real"][0], 3), rate(CODES["gan"][2], 5)])
    rng = np.random.default_rng(0)
    for _ in range(20):
        people = found.draw_listeners(rng)
        by_listener = [set(people.choices[found.choices["listener"] == k]) for k in range(3)]
        assert all(len(counts) == 1 for counts in by_listener)
        assert sum(counts.pop() for counts in by_listener) == 3
        assert people.clips.tolist() == found.ones.clips.tolist()
        trained = found.draw_groups(rng)
        for _, rows in found.key.groupby("model"):
            assert trained.clips[rows.index].sum() == len(rows)
        first, second = (trained.clips[found.choices[f"{s}_clip"]] for s in ("first", "second"))
        assert trained.choices.tolist() == (first * second).tolist()
        assert found.draw_answers(rng).choices.sum() == 30
    assert found.ones.choices.tolist() == [1] * 30


def mean_score(some, weights):
    """Return the mean of all choices' scores, as a statistic."""
    return np.array([weights.choices @ some.choices["score"] / max(weights.choices.sum(), 1)])


def test_the_interval_of_a_mean_by_hand_where_only_listeners_differ():
    # Listeners a and b always say first, c and d second: shares 1, 1, 0, 0 of a mean of 1/2.
    said = {"a": "first", "b": "first", "c": "second", "d": "second"}
    rng, clips = np.random.default_rng(0), CODES["lstm"] + CODES["gan"]
    answers = [
        choose(*rng.choice(clips, 2, replace=False), what, listener=who, trial=n)
        for who, what in said.items()
        for n in range(40)
    ]
    estimate, low, high = preference.resampled(
        mean_score, gathered(answers), clips=2, seed=0, n_resamples=2000
    )[:, 0]
    # Variance of the mean of four drawn shares: 1/4 / 4; sqrt(4/3) and t for four of them.
    half = math.sqrt(1 / 16 * 4 / 3) * stats.t.ppf(0.975, 3)
    assert estimate == 0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_the_noise_of_answers_counts_twice_and_no_more():
    # Coins without listeners or trainings: the variance of 600 independent answers, twice.
    rng, widths = np.random.default_rng(1), []
    for seed in range(6):
        answers = [
            choose(
                *(rng.choice(CODES[name]) for name in ("lstm", "gan")),
                rng.choice(["first", "second"]),
                listener=f"l{n % 30}",
                trial=n,
            )
            for n in range(600)
        ]
        found = gathered(answers)
        low, high = preference.resampled(mean_score, found, clips=2, seed=seed, n_resamples=200)[1:]
        widths.append(float(high[0] - low[0]) / 2)
    assert np.median(widths) == pytest.approx(1.96 * math.sqrt(2 * 0.25 / 600), rel=0.3)


def test_no_answers_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="answers: got none"):
        gathered([])
    found = gathered(everyone("first"))
    for wrong in ({"n_resamples": 99}, {"level": 1.0}):
        with pytest.raises(ValueError, match="n_resamples, level: got"):
            preference.resampled(preference.scores, found, clips=2, seed=0, **wrong)


def test_liking_is_centred_by_listener():
    a, b, c = (CODES[name][0] for name in ("lstm", "gan", "vae"))
    found = gathered([rate(a, 5), rate(b, 3), rate(a, 2, listener="b"), rate(c, 1, listener="b")])
    liking = dict(zip(KEY["code"], preference.clip_scores(found), strict=True))
    assert (liking[a], liking[b], liking[c]) == (0.75, -1.0, -0.5)
    assert math.isnan(liking[CODES["real"][0]])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=9))
def test_rank_correlation_is_scipys(pairs):
    x, y = np.array(pairs, float).T
    found = preference.rank_correlation(x, y, np.ones(len(x)))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic)
    twice = preference.rank_correlation(
        np.append(x, math.nan), np.append(y, 1), np.full(len(x) + 1, 2)
    )
    assert twice == pytest.approx(found, nan_ok=True)


def test_a_slope_by_hand():
    # Clips one standard deviation apart, 8 of 10 choices for the larger, half a win each before.
    one, other = CODES["lstm"][0], CODES["gan"][0]
    answers = [choose(one, other, "first" if k < 8 else "second", trial=k) for k in range(10)]
    found = gathered(answers, KEY[KEY["code"].isin([one, other])])
    values = np.where(found.key["code"] == one, 2.0, 0.0)  # spread 1, so 2 spreads apart
    slope = preference.choice_slope(found, values, found.ones)

    def cost(b):
        log = np.logaddexp
        return 8 * log(0, -2 * b) + 2 * log(0, 2 * b) + 0.5 * (log(0, -b) + log(0, b))

    assert slope == pytest.approx(optimize.minimize_scalar(cost).x, abs=1e-6)
    assert math.isnan(preference.choice_slope(found, np.ones(2), found.ones))
    assert math.isnan(preference.choice_slope(found, np.full(2, math.nan), found.ones))


def test_what_is_liked_is_predicted_by_itself_and_not_by_noise(monkeypatch):
    monkeypatch.setattr(preference, "SEED", 2)
    clips = placeholder_clips(10)
    key = clip_table(clips)
    found = gathered(simulated_answers(clips, listeners=40), key)
    noise = pd.DataFrame(np.random.default_rng(3).normal(size=(len(key), 12))).add_prefix("noise")
    noise.iloc[0] = -math.inf  # a silent clip's level
    measures = key.assign(good=key["model"].map(LIKING), same=1.0).join(noise)
    names = ["good", "same", *noise.columns]
    table = preference.prediction_table(found, measures, names, seed=0, n_resamples=100)
    good, same = table.iloc[0], table.iloc[1]
    assert good["rho_low"] > 0.3
    assert good["slope_low"] > 0
    assert math.isnan(good["within"])  # the same within each set
    assert same[["rho", "rho_low", "within", "slope"]].isna().all()
    for what in ("rho", "within", "slope"):
        held = (table[f"{what}_low"] < 0) & (table[f"{what}_high"] > 0)
        assert held[2:].sum() >= 9  # of 12 that rest on the same answers
    assert good[["clips", "choices"]].tolist() == [50, 1040]


COMMITTED = Path(__file__).resolve().parent.parent / "data/listening/simulated_answers.csv"


def test_the_committed_file_is_made_by_the_code(tmp_path):
    clips = preference.placeholder_clips(listening.CLIPS)
    made = preference.write_simulated(clips, tmp_path / COMMITTED.name)
    assert made.read_bytes() == COMMITTED.read_bytes()


def test_every_line_of_it_says_that_it_is_simulated():
    lines = COMMITTED.read_text().splitlines()
    assert lines[0].startswith("provenance_simulated,")
    assert all(line.startswith("simulated,simulated,simulated-") for line in lines[1:])
    assert len(lines) == 1 + preference.LISTENERS * 36


def test_it_is_read_only_as_what_it_is():
    codes = {clip.code for clip in preference.placeholder_clips(listening.CLIPS)}
    settings = {"design": SIMULATED, "codes": codes}
    found = listening.merge_answers([COMMITTED], provenance=SIMULATED, **settings)
    assert len(found.answers) == preference.LISTENERS * 36
    assert found.skipped.empty
    with pytest.raises(ProvenanceError, match="simulated answers, which stand for no listener"):
        listening.merge_answers([COMMITTED], provenance=listening.LISTENER, **settings)


def test_simulated_answers_have_their_name(tmp_path):
    with pytest.raises(ProvenanceError, match="need a file name that says so"):
        preference.write_simulated([], tmp_path / "heron.csv")


def test_the_models_are_liked_alike():
    liking = preference.LIKING
    assert liking["lstm"] == liking["gan"] == liking["vae"]


def test_answers_follow_from_the_seed(monkeypatch):
    clips = preference.placeholder_clips(2)
    first = preference.simulated_answers(clips, listeners=3)
    assert first == preference.simulated_answers(clips, listeners=3)
    monkeypatch.setattr(preference, "SEED", 1)
    assert first != preference.simulated_answers(clips, listeners=3)
    assert Counter(answer.listener for answer in first) == {
        "simulated-01": 36,
        "simulated-02": 36,
        "simulated-03": 36,
    }


X = math.nan
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
        [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
    ]
)


def test_alpha_of_krippendorffs_own_example():
    assert preference.krippendorff_alpha(PUBLISHED) == pytest.approx(0.815, abs=5e-4)


def test_alpha_by_hand():
    # Units (1, 1) and (2, 1): pairs that differ 2, expected 2 * 3 * 1 / 3 = 2.
    assert preference.krippendorff_alpha(np.array([[1, 2], [1, 1]])) == 0
    # Units (1, 1) and (2, 2): pairs that differ 0.
    assert preference.krippendorff_alpha(np.array([[1, 2], [1, 2]])) == 1
    # Units (1, 2) and (2, 1): differing 4, expected 2 * 2 * 2 / 3, so 1 - 4 / (8 / 3).
    assert preference.krippendorff_alpha(np.array([[1, 2], [2, 1]])) == pytest.approx(-0.5)


def test_ordinal_alpha_knows_order_only():
    moved = np.select([k == PUBLISHED for k in range(1, 6)], [1, 10, 11, 50, 51.5], X)
    assert preference.krippendorff_alpha(moved) == pytest.approx(
        preference.krippendorff_alpha(PUBLISHED)
    )


@pytest.mark.parametrize(
    "ratings",
    [np.array([[1, 2, 3]]), np.full((3, 4), 2), np.array([[1, X], [X, 2]]), np.zeros((0, 0))],
)
def test_alpha_of_too_little_is_nan(ratings):
    assert math.isnan(preference.krippendorff_alpha(ratings))
    assert all(map(math.isnan, preference.alpha_interval(ratings, seed=0, n_resamples=100)))


def test_the_interval_holds_alpha():
    low, high = preference.alpha_interval(PUBLISHED, seed=0, n_resamples=300)
    assert low < 0.815 < high <= 1


def test_w_by_hand():
    assert preference.kendalls_w(np.tile([1, 2, 3, 4], (3, 1)))[0] == pytest.approx(1)
    assert preference.kendalls_w(np.array([[1, 2, 3], [3, 2, 1]]))[0] == pytest.approx(0)
    # Rank sums 2, 5, 5: S = 6, W = 12 * 6 / (4 * 24).
    assert preference.kendalls_w(np.array([[1, 2, 3], [1, 3, 2]]))[0] == pytest.approx(0.75)
    # A listener with a gap is skipped.
    assert preference.kendalls_w(np.array([[1, 2, 3], [1, 3, 2], [3, 2, X]]))[0] == pytest.approx(
        0.75
    )


@pytest.mark.parametrize(
    "ratings", [np.array([[1, 2, 3]]), np.array([[1, 2], [1, 2]]), np.full((3, 4), 3.0)]
)
def test_w_of_too_little_is_nan(ratings):
    assert all(map(math.isnan, preference.kendalls_w(ratings)))


def test_agreement_of_simulated_listeners_and_of_one():
    clips = placeholder_clips(4)
    answers = pd.DataFrame(simulated_answers(clips), columns=list(Answer._fields))
    found = preference.agreement(
        preference.gather(answers, clip_table(clips)), seed=0, n_resamples=100
    )
    assert found.low < found.alpha < found.high
    assert 0 < found.w <= 1
    assert found.p < 0.05
    assert (found.listeners, found.clips, found.shared) == (20, 20, 20)
    one = answers[answers["listener"] == "simulated-01"]
    alone = preference.agreement(preference.gather(one, clip_table(clips)), seed=0, n_resamples=100)
    assert math.isnan(alone.alpha)
    assert math.isnan(alone.w)
    assert (alone.listeners, alone.shared) == (1, 0)
