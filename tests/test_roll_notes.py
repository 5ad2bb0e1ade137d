"""Rolls as notes and chords."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib.roll_notes import (
    chord_sequence,
    note_starts,
    notes_of,
    ratio,
    require_piece,
    roll_of,
    sounding_keys,
)

NOTE = st.tuples(st.integers(0, 31), st.integers(0, 87), st.integers(1, 40))


@settings(max_examples=50, deadline=None)
@given(st.lists(NOTE, max_size=30))
def test_notes_and_roll_are_inverses(notes):
    roll = roll_of(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=32)
    again = roll_of(*notes_of(roll), steps=32)
    assert np.array_equal(roll, again)


@settings(max_examples=50, deadline=None)
@given(st.lists(NOTE, max_size=30))
def test_lengths_of_the_notes_add_up_to_the_sounding_cells(notes):
    roll = roll_of(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=32)
    found = notes_of(roll)
    assert found.length.sum() == roll[..., 1].sum()
    assert len(found.start) == note_starts(roll).sum() == len({(s, k) for s, k, _ in notes})
    assert (np.diff(found.start) >= 0).all()


def test_a_note_cut_by_the_start_of_a_window_is_a_note():
    roll = roll_of([0], [40], [8], steps=8)[2:]
    assert [column.tolist() for column in notes_of(roll)] == [[0], [40], [6]]
    assert note_starts(roll).sum() == 1


def test_a_later_note_of_a_key_cuts_the_earlier_one():
    roll = roll_of([0, 2], [40, 40], [8, 3], steps=10)
    assert notes_of(roll).length.tolist() == [2, 6]


def test_chord_sequence_drops_rests_and_repeats():
    roll = roll_of([0, 2, 6, 8, 8], [40, 40, 40, 40, 44], [2, 2, 2, 2, 2], steps=12)
    chords = chord_sequence(roll)
    assert [np.flatnonzero(chord).tolist() for chord in chords] == [[40], [40, 44]]
    assert chord_sequence(np.zeros((4, 88, 2), np.uint8)).shape == (0, 88)


def test_sounding_keys():
    assert np.argwhere(sounding_keys(roll_of([1], [3], [2], steps=4))).tolist() == [[1, 3], [2, 3]]


@pytest.mark.parametrize(
    ("roll", "message"),
    [
        (np.zeros((4, 88), np.uint8), r"shape \(T, 88, 2\)"),
        (np.zeros((0, 88, 2), np.uint8), "at least one step"),
        (np.zeros((4, 88, 2), np.float32), "float32"),
        (np.full((4, 88, 2), 2, np.uint8), "0 and 1"),
        (np.stack([np.ones((4, 88)), np.zeros((4, 88))], axis=2).astype(np.uint8), "not sound"),
    ],
)
def test_bad_rolls_are_refused(roll, message):
    with pytest.raises(ValueError, match=message):
        require_piece(roll, name="piece")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([8], [40], [1]), "start must lie in 0 to 7"),
        (([0], [88], [1]), "key must lie in 0 to 87"),
        (([0], [40], [0]), "length must lie in 1"),
    ],
)
def test_notes_out_of_range_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        roll_of(*columns, steps=8)


def test_a_roll_beyond_the_memory_is_refused():
    with pytest.raises(ValueError, match="steps must be at most 500,000; got 1,000,000,000"):
        roll_of([0], [0], [1], steps=10**9)


def test_ratio_of_nothing_is_nan():
    assert np.isnan(ratio(0, 0))
    assert ratio(1, 4) == 0.25
