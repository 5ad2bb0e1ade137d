"""Agreement of listeners: the published example, cases by hand, and too little to tell."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from musiclib import agreement, evidence
from musiclib.answers import Answer
from musiclib.listening import clip_table
from musiclib.simulated_listeners import placeholder_clips, simulated_answers

X = math.nan
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
        [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
    ]
)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_krippendorffs_own_example(level, alpha):
    assert agreement.krippendorff_alpha(PUBLISHED, level=level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_by_hand():
    # Units (1, 1) and (2, 1): pairs that differ 2, expected 2 * 3 * 1 / 3 = 2.
    assert agreement.krippendorff_alpha(np.array([[1, 2], [1, 1]]), level="nominal") == 0
    # Units (1, 1) and (2, 2): pairs that differ 0.
    assert agreement.krippendorff_alpha(np.array([[1, 2], [1, 2]])) == 1
    # Units (1, 2) and (2, 1): differing 4, expected 2 * 2 * 2 / 3, so 1 - 4 / (8 / 3).
    assert agreement.krippendorff_alpha(np.array([[1, 2], [2, 1]])) == pytest.approx(-0.5)


def test_ordinal_alpha_knows_order_only():
    moved = np.select([k == PUBLISHED for k in range(1, 6)], [1, 10, 11, 50, 51.5], X)
    assert agreement.krippendorff_alpha(moved) == pytest.approx(
        agreement.krippendorff_alpha(PUBLISHED)
    )


@pytest.mark.parametrize(
    "ratings",
    [np.array([[1, 2, 3]]), np.full((3, 4), 2), np.array([[1, X], [X, 2]]), np.zeros((0, 0))],
)
def test_alpha_of_too_little_is_nan(ratings):
    assert math.isnan(agreement.krippendorff_alpha(ratings))
    assert all(map(math.isnan, agreement.alpha_interval(ratings, seed=0, n_resamples=100)))


def test_alpha_refuses_what_it_cannot_mean():
    with pytest.raises(ValueError, match=r"got shape \(3,\), 'ratio'"):
        agreement.krippendorff_alpha(np.zeros(3), level="ratio")


def test_the_interval_holds_alpha():
    low, high = agreement.alpha_interval(PUBLISHED, seed=0, n_resamples=300)
    assert low < 0.815 < high <= 1


def test_w_by_hand():
    assert agreement.kendalls_w(np.tile([1, 2, 3, 4], (3, 1)))[0] == pytest.approx(1)
    assert agreement.kendalls_w(np.array([[1, 2, 3], [3, 2, 1]]))[0] == pytest.approx(0)
    # Rank sums 2, 5, 5: S = 6, W = 12 * 6 / (4 * 24).
    assert agreement.kendalls_w(np.array([[1, 2, 3], [1, 3, 2]]))[0] == pytest.approx(0.75)
    # A listener with a gap is left out.
    assert agreement.kendalls_w(np.array([[1, 2, 3], [1, 3, 2], [3, 2, X]]))[0] == pytest.approx(
        0.75
    )


@pytest.mark.parametrize(
    "ratings", [np.array([[1, 2, 3]]), np.array([[1, 2], [1, 2]]), np.full((3, 4), 3.0)]
)
def test_w_of_too_little_is_nan(ratings):
    assert all(map(math.isnan, agreement.kendalls_w(ratings)))


def test_agreement_of_simulated_listeners_and_of_one():
    clips = placeholder_clips(4)
    answers = pd.DataFrame(simulated_answers(clips), columns=list(Answer._fields))
    found = agreement.agreement(
        evidence.gather(answers, clip_table(clips)), seed=0, n_resamples=100
    )
    assert found.low < found.alpha < found.high
    assert 0 < found.w <= 1
    assert found.p < 0.05
    assert (found.listeners, found.clips, found.shared) == (20, 20, 20)
    one = answers[answers["listener"] == "simulated-01"]
    alone = agreement.agreement(evidence.gather(one, clip_table(clips)), seed=0, n_resamples=100)
    assert math.isnan(alone.alpha)
    assert math.isnan(alone.w)
    assert (alone.listeners, alone.shared) == (1, 0)
