"""Measures of pitch, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import pitch
from musiclib.pianoroll import transpose
from musiclib.roll_notes import roll_of

C4 = 60 - 21
C_MAJOR = [C4 + step for step in (0, 2, 4, 5, 7, 9, 11)]


def melody(keys, *, length=4):
    """Return these keys one after another."""
    return roll_of(np.arange(len(keys)) * length, keys, [length] * len(keys), steps=128)


def test_a_scale():
    roll = melody(C_MAJOR)
    assert pitch.pitch_classes(roll) == 7.0
    assert pitch.scale_consistency(roll) == 1.0
    assert pitch.pitch_range(roll) == 11.0
    assert pitch.mean_pitch(roll) == pytest.approx(60 + 38 / 7)
    assert pitch.pitch_class_entropy(roll) == pytest.approx(np.log2(7))


def test_one_note_outside_the_scale():
    assert pitch.scale_consistency(melody([*C_MAJOR, C4 + 1])) == pytest.approx(7 / 8)


def test_a_natural_minor_scale_is_a_scale():
    assert pitch.scale_consistency(melody([C4 + s for s in (0, 2, 3, 5, 7, 8, 10)])) == 1.0


def test_all_twelve_classes():
    roll = melody(range(C4, C4 + 12))
    assert pitch.scale_consistency(roll) == pytest.approx(7 / 12)
    assert pitch.pitch_class_entropy(roll) == pytest.approx(np.log2(12))


def test_entropy_of_three_to_one():
    roll = melody([C4, C4 + 12, C4 - 12, C4 + 7])
    expected = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert pitch.pitch_class_entropy(roll) == pytest.approx(expected)


def test_pitch_is_weighted_by_time():
    roll = roll_of([0, 3], [C4, C4 + 4], [3, 1], steps=16)
    assert pitch.mean_pitch(roll) == pytest.approx(61.0)
    assert pitch.pitch_spread(roll) == pytest.approx(np.sqrt((3 * 1 + 9) / 4))


def test_fold_classes_puts_c_first_and_folds_octaves():
    sound = np.zeros((1, 88), bool)
    sound[0, [C4, C4 + 12, C4 + 1, 0, 87]] = True  # C, C, C sharp, A0, C8
    expected = np.zeros(12, int)
    expected[[0, 1, 9]] = [3, 1, 1]
    assert pitch.fold_classes(sound)[0].tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(12, 75), min_size=1, max_size=20), st.integers(-12, 12))
def test_transposition_moves_only_the_mean(keys, semitones):
    roll = melody(keys)
    moved = transpose(roll, semitones)
    for measure in (
        pitch.pitch_classes,
        pitch.scale_consistency,
        pitch.pitch_range,
        pitch.pitch_spread,
        pitch.pitch_class_entropy,
    ):
        assert measure(moved) == pytest.approx(measure(roll))
    assert pitch.mean_pitch(moved) - pitch.mean_pitch(roll) == pytest.approx(semitones)
