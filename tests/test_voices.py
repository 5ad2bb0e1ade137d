"""Voices: tracks as lines, separation, and the way back to a roll."""

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musiclib.midi import note_array
from musiclib.pianoroll import ONSET, notes_to_roll, roll_to_notes
from musiclib.roll_notes import roll_of
from musiclib.voices import (
    MAX_LINES,
    notes_to_lines,
    separate_voices,
    sounding_keys,
    voices_to_roll,
)

# A line: pairs of (rest before, length), each with a key.
LINE = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 87)), max_size=8)


def piece_of(*lines):
    """Make the note array of lines of (start, end, key) in steps, a track a line."""
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=60)
    for line in lines:
        track = pretty_midi.Instrument(0)
        for start, end, key in line:
            track.notes.append(pretty_midi.Note(80, key + 21, start / 4, end / 4))
        midi.instruments.append(track)
    return note_array(midi)


def laid_out(line):
    notes, now = [], 0
    for rest, length, key in line:
        notes.append((now + rest, now + rest + length, key))
        now += rest + length
    return notes


# Tracks that are lines


@given(st.lists(LINE.filter(bool), min_size=2, max_size=4))
def test_lines_draw_the_same_roll_as_notes(lines):
    notes = piece_of(*map(laid_out, lines))
    roll = notes_to_roll(notes)
    codes = notes_to_lines(notes, steps=len(roll))
    assert codes.shape == (len(roll), len(lines))
    assert np.array_equal(voices_to_roll(codes), roll)


def test_lines_are_ordered_from_high_to_low_with_holds_and_rests():
    notes = piece_of([(0, 2, 10), (3, 4, 10)], [(0, 4, 50)])
    assert notes_to_lines(notes, steps=4).T.tolist() == [[52, 1, 1, 1], [12, 1, 0, 12]]


def test_a_repeated_note_is_no_held_one():
    notes = piece_of([(0, 4, 50)], [(0, 2, 10), (2, 4, 10)])
    assert notes_to_lines(notes, steps=4)[:, 1].tolist() == [12, 1, 12, 1]


@pytest.mark.parametrize(
    "lines",
    [
        ([(0, 4, 50)],),  # one track
        ([(0, 4, 50), (2, 4, 53)], [(0, 4, 10)]),  # a track that sounds two notes
        tuple([(0, 4, 40)] for _ in range(MAX_LINES + 1)),
    ],
)
def test_what_is_not_written_in_lines_has_none(lines):
    assert notes_to_lines(piece_of(*lines), steps=4).shape == (4, 0)


def test_a_line_that_leaves_the_keyboard_is_none():
    notes = piece_of([(0, 4, 50)], [(0, 4, 10)])
    notes["pitch"][1] = 109
    assert notes_to_lines(notes, steps=4).shape == (4, 0)


def test_no_note_no_line():
    assert notes_to_lines(piece_of(), steps=0).shape == (0, 0)


# Separation


@given(st.lists(LINE, min_size=1, max_size=4))
def test_enough_voices_lose_nothing(lines):
    notes = [note for line in lines for note in laid_out(line)]
    if not notes:
        return
    start, end, key = np.array(notes).T
    roll = roll_of(start, key, end - start, steps=int(end.max()))
    voices, lost = separate_voices(roll, n_voices=len(lines))
    assert lost == 0
    assert np.array_equal(voices_to_roll(voices), roll)


@given(st.lists(LINE, min_size=2, max_size=6), st.integers(1, 3))
def test_what_is_lost_is_counted(lines, n_voices):
    notes = [note for line in lines for note in laid_out(line)]
    if not notes:
        return
    start, end, key = np.array(notes).T
    roll = roll_of(start, key, end - start, steps=int(end.max()))
    voices, lost = separate_voices(roll, n_voices=n_voices)
    kept = voices_to_roll(voices)
    assert (kept <= roll).all()
    assert kept[..., ONSET].sum() == len(roll_to_notes(roll)) - lost


def test_crossing_avoided_two_lines_stay_themselves():
    high, low = [(0, 4, 50), (4, 8, 52), (8, 12, 50)], [(0, 6, 30), (6, 12, 28)]
    start, end, key = np.array(high + low).T
    voices, lost = separate_voices(roll_of(start, key, end - start, steps=12), n_voices=2)
    assert lost == 0
    assert sounding_keys(voices)[:, 0].tolist() == [50] * 4 + [52] * 4 + [50] * 4
    assert sounding_keys(voices)[:, 1].tolist() == [30] * 6 + [28] * 6


def test_an_empty_roll_has_silent_voices():
    voices, lost = separate_voices(np.zeros((5, 88, 2), np.uint8), n_voices=3)
    assert voices.shape == (5, 3)
    assert not voices.any()
    assert lost == 0


@pytest.mark.parametrize("n_voices", [0, 17])
def test_an_odd_number_of_voices_is_refused(n_voices):
    with pytest.raises(ValueError, match=f"n_voices must lie between 1 and 16, got {n_voices}"):
        separate_voices(np.zeros((4, 88, 2), np.uint8), n_voices=n_voices)


# Codes


def test_a_hold_of_nothing_sounds_nothing():
    codes = np.array([[1, 2], [1, 0], [2 + 5, 1], [1, 1]])
    assert sounding_keys(codes).tolist() == [[-1, 0], [-1, -1], [5, -1], [5, -1]]
    assert roll_to_notes(voices_to_roll(codes)).tolist() == [[0, 1, 0], [2, 4, 5]]


def test_the_first_and_the_last_key_have_codes():
    roll = voices_to_roll(np.array([[2], [89]]))
    assert roll_to_notes(roll).tolist() == [[0, 1, 0], [1, 2, 87]]


@pytest.mark.parametrize(
    ("voices", "reason"),
    [
        (np.zeros((4, 2)), "integers with shape"),
        (np.zeros(4, int), "integers with shape"),
        (np.full((4, 2), 90), "between 0 and 89, got 90 to 90"),
        (np.full((4, 2), -1), "between 0 and 89, got -1 to -1"),
    ],
)
def test_what_are_no_voices_is_refused(voices, reason):
    with pytest.raises(ValueError, match=reason):
        voices_to_roll(voices)
