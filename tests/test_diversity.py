"""Diversity within a set: by hand and by a plain loop."""

import itertools

import numpy as np
import pytest

from musiclib.diversity import Diversity, diversity, diversity_ratio, hamming_distances
from musiclib.roll_notes import roll_of


def pieces(n, *, seed=0, steps=8):
    """Return random rolls."""
    rng = np.random.default_rng(seed)
    return [
        roll_of(rng.integers(0, steps, 9), rng.integers(30, 50, 9), [2] * 9, steps=steps)
        for _ in range(n)
    ]


def test_hamming_distance_counts_cells_that_differ():
    a, b = roll_of([0], [40], [4], steps=8), roll_of([0], [40], [2], steps=8)
    c = roll_of([0, 1], [40, 40], [1, 3], steps=8)
    assert hamming_distances([a, b, c]).tolist() == [[0, 2, 1], [2, 0, 3], [1, 3, 0]]


def test_hamming_distance_by_a_plain_loop():
    rolls = pieces(5)
    distances = hamming_distances(rolls)
    for i, j in itertools.product(range(5), repeat=2):
        assert distances[i, j] == (rolls[i] != rolls[j]).sum()


def test_diversity_by_hand():
    a, b = roll_of([0], [40], [4], steps=8), roll_of([0], [40], [2], steps=8)
    c = roll_of([0, 1], [40, 40], [1, 3], steps=8)
    assert diversity([a, b, c]) == pytest.approx((4 / 3, 2.0, 3))


def test_the_expected_nearest_distance_of_smaller_sets_is_exact():
    rolls = pieces(6)
    for size in (2, 3, 5):
        subsets = itertools.combinations(rolls, size)
        expected = np.mean([diversity(subset).nearest for subset in subsets])
        found = diversity(rolls, size=size)
        assert found.nearest == pytest.approx(expected)
        assert found.pairwise == pytest.approx(diversity(rolls).pairwise)


def test_ratio_of_equal_and_of_collapsed_sets():
    real = pieces(6)
    assert diversity_ratio(real, real) == pytest.approx((1.0, 1.0, 6))
    assert diversity_ratio([real[0]] * 9, real) == (0.0, 0.0, 6)


def test_the_ratio_does_not_depend_on_how_many_pieces_there_are():
    real = pieces(40)
    few, many = (
        diversity_ratio(pieces(40, seed=1), real),
        diversity_ratio(pieces(160, seed=2), real),
    )
    assert few.nearest == pytest.approx(many.nearest, rel=0.05)
    assert diversity(pieces(160, seed=2)).nearest < 0.97 * diversity(real).nearest


def test_one_piece_has_no_diversity():
    alone = diversity(pieces(1))
    assert np.isnan(alone[:2]).all()
    assert alone.n == 1
    assert np.isnan(diversity_ratio(pieces(1), pieces(3)).nearest)


def test_bad_input():
    with pytest.raises(ValueError, match=r"one length; got lengths \[\]"):
        diversity([])
    with pytest.raises(ValueError, match=r"one length; got lengths \[8, 9\]"):
        diversity([*pieces(2), *pieces(1, steps=9)])
    with pytest.raises(ValueError, match="size must lie in 2 to 3"):
        diversity(pieces(3), size=4)
    with pytest.raises(ValueError, match="got 8 and 9 steps"):
        diversity_ratio(pieces(2), pieces(2, steps=9))
    with pytest.raises(ValueError, match="reference must hold different pieces"):
        diversity_ratio(pieces(3), [pieces(1)[0]] * 3)
    assert Diversity._fields == ("nearest", "pairwise", "n")
