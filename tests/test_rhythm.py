"""Measures of rhythm, by hand."""

import numpy as np
import pytest

from musiclib import rhythm
from musiclib.roll_notes import roll_of


def pulse(starts, *, length=1, steps=32):
    """Return one key struck at these steps."""
    return roll_of(starts, [40] * len(starts), [length] * len(starts), steps=steps)


def test_density_and_duration():
    roll = roll_of([0, 0, 4, 8], [40, 44, 40, 40], [4, 8, 4, 2], steps=16)
    assert rhythm.note_density(roll) == 1.0
    assert rhythm.mean_duration(roll) == pytest.approx(18 / 4 / 4)
    assert rhythm.onset_steps(roll) == pytest.approx(3 / 16)


def test_long_notes():
    roll = roll_of([0, 4, 8, 12], [40] * 4, [1, 2, 3, 4], steps=16)
    assert rhythm.long_note_share(roll) == 0.75
    assert rhythm.long_note_share(roll, shortest=4) == 0.25


def test_where_notes_start():
    roll = pulse([0, 4, 6, 9, 11, 12, 14, 16])
    assert rhythm.quarter_onsets(roll) == 0.5
    assert rhythm.eighth_onsets(roll) == 0.25
    assert rhythm.sixteenth_onsets(roll) == 0.25


def test_groove_of_equal_and_of_different_bars():
    assert rhythm.groove_consistency(pulse([0, 4, 16, 20])) == 1.0
    assert rhythm.groove_consistency(pulse([0, 4, 16, 22])) == pytest.approx(1 - 2 / 16)
    assert rhythm.groove_consistency(pulse(list(range(16)))) == 0.0


def test_groove_leaves_out_the_last_part_of_a_bar():
    roll = pulse([0, 16, 33], steps=40)
    assert rhythm.groove_consistency(roll) == 1.0
    assert np.isnan(rhythm.groove_consistency(pulse([0], steps=31)))
    assert np.isnan(rhythm.groove_consistency(pulse([0], steps=8)))


def test_groove_in_three_four():
    roll = pulse([0, 4, 12, 16], steps=24)
    assert rhythm.groove_consistency(roll, steps_per_bar=12) == 1.0


def test_bars_are_counted_from_the_first_bar_line():
    roll = pulse([0, 4, 8, 16, 20, 28, 32], steps=40)  # an upbeat of a quarter, then 3/4
    assert rhythm.groove_consistency(roll, steps_per_bar=12, upbeat=4) == 1.0
    assert rhythm.groove_consistency(roll, steps_per_bar=12) < 1.0
    assert np.isnan(rhythm.groove_consistency(roll, steps_per_bar=12, upbeat=20))


def test_quarters_are_counted_from_the_bar_line():
    roll = pulse([0, 2, 6, 10, 14])  # an upbeat of an eighth, then quarters
    assert rhythm.quarter_onsets(roll, upbeat=2) == 0.8
    assert rhythm.eighth_onsets(roll, upbeat=2) == pytest.approx(0.2)
    assert rhythm.eighth_onsets(roll) == 0.8
    seven_eight = pulse([0, 4, 8, 12, 14, 18, 22, 26, 28])
    assert rhythm.quarter_onsets(seven_eight, steps_per_bar=14) == 1.0
    assert rhythm.quarter_onsets(seven_eight) == pytest.approx(5 / 9)
