"""Measures of structure, by hand."""

import numpy as np
import pytest

from musiclib import structure
from musiclib.roll_notes import roll_of

A = [(0, 39, 8), (8, 43, 8)]
B = [(0, 40, 16)]


def piece(*bars):
    """Return these bars (lists of start, key, length), one after another."""
    notes = [(16 * i + s, k, n) for i, bar in enumerate(bars) for s, k, n in bar]
    return roll_of(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=16 * len(bars))


def test_self_similarity():
    similarity = structure.self_similarity(piece(A, B, A, []))
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert np.allclose(similarity, expected)


def test_half_a_bar_in_common():
    similarity = structure.self_similarity(piece(A, [(0, 39, 8), (8, 44, 8)]))
    assert similarity[0, 1] == pytest.approx(0.5)


def test_an_octave_does_not_matter():
    assert structure.self_similarity(piece(B, [(0, 52, 16)]))[0, 1] == pytest.approx(1.0)


def test_repetition_at_each_lag():
    roll = piece(A, B, A, B, A)
    assert structure.repetition_1(roll) == pytest.approx(0.0)
    assert structure.repetition_2(roll) == pytest.approx(1.0)
    assert structure.repetition_4(roll) == pytest.approx(1.0)
    assert np.isnan(structure.repetition(roll, bars=5))
    with pytest.raises(ValueError, match="bars must be at least 1"):
        structure.repetition(roll, bars=0)


def test_repeated_bars():
    assert structure.repeated_bars(piece(A, B, A, B, A)) == pytest.approx(3 / 4)
    assert structure.repeated_bars(piece(A, B)) == 0.0
    assert np.isnan(structure.repeated_bars(piece(A)))


def test_drift():
    up = [(0, 44, 8), (8, 48, 8)]  # A moved up by five semitones: C and E become F and A
    assert structure.pitch_drift(piece(A, A, B, up, up)) == pytest.approx(5.0)
    assert structure.density_drift(piece(A, A, B, B)) == pytest.approx(0.25)
    assert structure.key_drift(piece(A, A, up, up)) == pytest.approx(1.0)
    assert structure.key_drift(piece(A, A, A, [(0, 39, 8), (8, 48, 8)])) == pytest.approx(0.25)


def three_four(*bars, upbeat=0):
    """Return bars of 12 steps, each a list of keys of a quarter, after an upbeat of one key."""
    starts = [0] * bool(upbeat) + [upbeat + 4 * i for i in range(3 * len(bars))]
    keys = [50] * bool(upbeat) + [key for bar in bars for key in bar]
    return roll_of(starts, keys, [4] * len(starts), steps=upbeat + 12 * len(bars))


@pytest.mark.parametrize("upbeat", [0, 4])
def test_bars_of_three_with_and_without_an_upbeat(upbeat):
    x, y = [39, 43, 46], [41, 44, 48]
    roll, bars = three_four(x, x, y, y, upbeat=upbeat), {"steps_per_bar": 12, "upbeat": upbeat}
    assert structure.self_similarity(roll, **bars).shape == (4, 4)
    assert structure.repetition_1(roll, **bars) == pytest.approx(2 / 3)
    assert structure.repeated_bars(roll, **bars) == pytest.approx(2 / 3)
    assert structure.key_drift(roll, **bars) == pytest.approx(1.0)
    assert structure.pitch_drift(roll, **bars) == pytest.approx(133 / 3 - 128 / 3)
    assert structure.density_drift(roll, **bars) == 0.0


def test_a_last_bar_that_is_not_whole_does_not_drift():
    roll = np.concatenate([piece(A, A, A, A), roll_of([0], [60], [8], steps=8)])
    assert structure.pitch_drift(roll) == structure.key_drift(roll) == 0.0


def test_no_drift_without_two_ends():
    for measure in (structure.pitch_drift, structure.density_drift, structure.key_drift):
        assert np.isnan(measure(piece(A, A, A)))
        assert measure(piece(A, B, A, B)) == 0.0
    assert np.isnan(structure.pitch_drift(piece(A, A, [], [])))
    assert np.isnan(structure.key_drift(piece(A, A, [], [])))
