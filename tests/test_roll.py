"""Rolls: MIDI -> roll -> notes -> roll, what a grid must keep, chords, and what is refused.

At the end a machine of states: notes come and go, the roll moves, and a slow model must agree.
"""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from notes import midi_of

from musiclib.midi import load_midi, note_array, save_midi
from musiclib.roll import (
    MAX_STEPS,
    N_KEYS,
    ONSET,
    SUSTAIN,
    check_roll,
    chord_sequence,
    draw_roll,
    note_list,
    note_starts,
    notes_to_roll,
    quantise,
    ratio,
    require_piece,
    roll_to_notes,
    sounding_keys,
    to_midi,
    to_piano_roll,
    transpose,
)

NOTES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 87), st.integers(1, 20)), min_size=1, max_size=25
)


def draw(notes, *, steps=64):
    start, key, length = np.array(notes, dtype=int).T
    return draw_roll(start, key, length, steps=steps)


# There and back


@given(NOTES, st.floats(4, 1000))
def test_a_roll_survives_midi_at_any_tempo(notes, tempo):
    roll = draw(notes)
    assert np.array_equal(to_piano_roll(to_midi(roll, tempo=tempo), length=64), roll)


@given(NOTES, st.sampled_from([40.0, 80.0, 97.0, 240.0]))
def test_a_roll_survives_a_midi_file(tmp_path_factory, notes, tempo):
    path = tmp_path_factory.mktemp("roll") / "a.mid"
    save_midi(to_midi(draw(notes), tempo=tempo), path)
    assert np.array_equal(to_piano_roll(load_midi(path), length=64), draw(notes))


@given(NOTES)
def test_notes_on_the_grid_without_unisons_come_back_as_they_were(notes):
    apart, taken = [], np.zeros((64, N_KEYS), bool)
    for start, key, length in notes:
        if not taken[start : start + length, key].any():
            taken[start : start + length, key] = True
            apart.append((start, start + length, key))
    roll = draw([(s, k, e - s) for s, e, k in apart])
    assert sorted(map(tuple, roll_to_notes(roll).tolist())) == sorted(apart)


@given(NOTES, st.sampled_from([1, 2, 4, 8]))
def test_a_finer_grid_keeps_what_a_coarser_one_has(notes, factor):
    coarse = draw(notes)
    fine = to_piano_roll(to_midi(coarse), steps_per_quarter=4 * factor, length=64 * factor)
    assert np.array_equal(fine[::factor], coarse)
    assert fine[..., ONSET].sum() == coarse[..., ONSET].sum()


# What a roll must tell apart


def test_a_held_and_a_repeated_note_differ_in_onsets_alone():
    held = to_piano_roll(midi_of((0, 4, 60)))
    repeated = to_piano_roll(midi_of((0, 1, 60), (1, 2, 60), (2, 3, 60), (3, 4, 60)))
    assert np.array_equal(held[..., SUSTAIN], repeated[..., SUSTAIN])
    assert np.flatnonzero(held[:, 39, ONSET]).tolist() == [0]
    assert np.flatnonzero(repeated[:, 39, ONSET]).tolist() == [0, 4, 8, 12]


def test_two_voices_on_one_key_are_one_note():
    roll = to_piano_roll(midi_of((0, 2, 60), (0, 1, 60)))
    assert roll_to_notes(roll).tolist() == [[0, 8, 39]]


def test_a_note_struck_while_its_key_sounds_begins_anew():
    roll = to_piano_roll(midi_of((0, 2, 60), (1, 3, 60)))
    assert roll_to_notes(roll).tolist() == [[0, 4, 39], [4, 12, 39]]


def test_the_borders_of_the_keyboard():
    roll = to_piano_roll(midi_of((0, 1, 21), (0, 1, 108)))
    assert np.flatnonzero(roll[0, :, SUSTAIN]).tolist() == [0, 87]


@pytest.mark.parametrize("pitch", [0, 20, 109, 127])
def test_a_note_beyond_the_keyboard_is_left_out_with_a_warning(pitch):
    with pytest.warns(UserWarning, match=r"1 of 2 notes lie outside a piano's 88 keys"):
        roll = to_piano_roll(midi_of((0, 1, 60), (1, 2, pitch)))
    assert roll_to_notes(roll).tolist() == [[0, 4, 39]]


def test_a_tempo_change_does_not_move_the_grid(tmp_path):
    midi = midi_of((0, 1, 60), tempo=60.0)
    midi._tick_scales.append((480, 60.0 / (180.0 * 480)))  # three times as fast after a quarter
    midi._update_tick_to_time(4800)
    seconds = [midi.tick_to_time(tick) for tick in (480, 960)]
    midi.instruments[0].notes.append(pretty_midi.Note(80, 62, *seconds))
    assert seconds == pytest.approx([1.0, 1.0 + 1 / 3])
    save_midi(midi, tmp_path / "faster.mid")
    for piece in (midi, load_midi(tmp_path / "faster.mid")):
        assert roll_to_notes(to_piano_roll(piece)).tolist() == [[0, 4, 39], [4, 8, 41]]


def test_the_pedal_counts_only_when_asked():
    midi = midi_of((0, 1, 60), (3, 4, 64), tempo=60.0)
    midi.instruments[0].control_changes = [
        pretty_midi.ControlChange(64, 127, 0.5),
        pretty_midi.ControlChange(64, 0, 2.0),
    ]
    assert roll_to_notes(to_piano_roll(midi)).tolist() == [[0, 4, 39], [12, 16, 43]]
    with_pedal = to_piano_roll(midi, sustain_pedal=True)
    assert roll_to_notes(with_pedal).tolist() == [[0, 8, 39], [12, 16, 43]]


def test_a_short_note_lasts_a_step_and_is_not_lost():
    assert roll_to_notes(to_piano_roll(midi_of((1, 1.01, 60)))).tolist() == [[4, 5, 39]]


def test_percussion_is_no_note():
    assert to_piano_roll(midi_of((0, 1, 40), drum=True)).shape == (0, N_KEYS, 2)


def test_a_piece_without_notes_is_an_empty_roll_there_and_back():
    empty = to_piano_roll(pretty_midi.PrettyMIDI())
    assert empty.shape == (0, N_KEYS, 2)
    assert empty.dtype == np.uint8
    assert to_midi(empty).get_end_time() == 0
    assert roll_to_notes(empty).shape == (0, 3)


@pytest.mark.parametrize(
    ("quarters", "step"), [(0.12, 0), (0.125, 1), (0.37, 1), (0.375, 2), (1 / 3, 1), (2 / 3, 3)]
)
def test_times_are_rounded_to_the_nearest_step_halves_up(quarters, step):
    assert int(quantise(quarters)) == step


def test_length_cuts_and_pads():
    notes = note_array(midi_of((0, 1, 60), (2, 4, 62)))
    assert roll_to_notes(notes_to_roll(notes, length=12)).tolist() == [[0, 4, 39], [8, 12, 41]]
    assert roll_to_notes(notes_to_roll(notes, length=6)).tolist() == [[0, 4, 39]]
    padded = notes_to_roll(notes, length=40)
    assert len(padded) == 40
    assert not padded[16:].any()
    assert notes_to_roll(notes, length=0).shape == (0, 88, 2)


@pytest.mark.parametrize("length", [-1, 2.5, float("nan")])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(ValueError, match="length must be a whole number of steps"):
        notes_to_roll(note_array(midi_of((0, 1, 60))), length=length)


# to_midi's other side


def test_velocity_is_read_at_the_onset():
    roll = draw([(0, 10, 4), (8, 10, 4)])
    velocity = np.full((64, N_KEYS), 30)
    velocity[8:, 10] = 100
    notes = to_midi(roll, velocity=velocity).instruments[0].notes
    assert [(n.pitch, n.velocity) for n in notes] == [(31, 30), (31, 100)]


def test_a_step_lasts_as_long_as_the_tempo_says():
    (note,) = to_midi(draw([(4, 39, 8)]), tempo=80.0, program=6).instruments[0].notes
    assert (note.start, note.end, note.pitch) == (0.75, 2.25, 60)


@pytest.mark.parametrize("tempo", [0, 3.9, 1001, float("nan")])
def test_a_tempo_out_of_range_is_refused(tempo):
    with pytest.raises(ValueError, match=r"tempo must lie between 4 and 1000 .* got"):
        to_midi(draw([(0, 0, 1)]), tempo=tempo)


@pytest.mark.parametrize("velocity", [0, 128, -1])
def test_a_velocity_out_of_range_is_refused(velocity):
    with pytest.raises(ValueError, match="velocity must lie between 1 and 127"):
        to_midi(draw([(0, 0, 1)]), velocity=velocity)


def test_velocities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=re.escape("velocity must have shape (64, 88)")):
        to_midi(draw([(0, 0, 1)]), velocity=np.full(88, 64))


# What is no roll


@pytest.mark.parametrize(
    ("roll", "reason"),
    [
        (np.zeros((4, 87, 2), np.uint8), r"uint8 with shape \(T, 88, 2\)"),
        (np.zeros((4, 88), np.uint8), r"uint8 with shape \(T, 88, 2\)"),
        (np.zeros((4, 88, 2)), "got float64"),
        (np.full((4, 88, 2), 2, np.uint8), "0 and 1 only, got 2"),
        (np.stack([np.ones((4, 88)), np.zeros((4, 88))], axis=2).astype(np.uint8), "not sound"),
    ],
)
def test_what_is_no_roll_is_refused_by_name(roll, reason):
    for check in (check_roll, require_piece):
        with pytest.raises(ValueError, match=f"piece .*{reason}"):
            check(roll, name="piece")
    with pytest.raises(ValueError, match=f"roll .*{reason}"):
        to_midi(roll)


def test_a_roll_without_a_step_cannot_be_measured():
    empty = check_roll(np.zeros((0, 88, 2), np.uint8))
    for measure in (require_piece, sounding_keys, note_starts, note_list):
        with pytest.raises(ValueError, match="at least one step"):
            measure(empty)


def test_a_roll_too_long_for_the_memory_is_refused_before_it_is_made():
    notes = note_array(midi_of((0, 1, 60)))
    notes["onset_quarter"] = MAX_STEPS
    with pytest.raises(ValueError, match=r"2,000,004 steps .*passes the limit of 500,000"):
        notes_to_roll(notes)


@pytest.mark.parametrize("steps_per_quarter", [1, 7, 480, 481, 960, 1000, 1920, 32_767])
def test_any_grid_that_a_file_can_hold_comes_back(tmp_path, steps_per_quarter):
    roll = draw([(0, 39, 1), (1, 39, 2), (2, 50, 1), (5, 50, 3)])
    for tempo in (66.0, 80.0, 200.0):
        midi = to_midi(roll, tempo=tempo, steps_per_quarter=steps_per_quarter)
        save_midi(midi, tmp_path / "a.mid")
        for piece in (midi, load_midi(tmp_path / "a.mid")):
            back = to_piano_roll(piece, steps_per_quarter=steps_per_quarter, length=len(roll))
            np.testing.assert_array_equal(back, roll)
    with pytest.raises(ValueError, match="number from 1 to 32,767, got 32768"):
        to_midi(roll, steps_per_quarter=32_768)


@pytest.mark.parametrize("steps", [0, -1, 2.5, float("nan"), 1e308])
def test_an_impossible_grid_is_refused(steps):
    for use in (
        lambda: to_piano_roll(midi_of((0, 1, 60)), steps_per_quarter=steps),
        lambda: to_midi(draw([(0, 39, 1)]), steps_per_quarter=steps),
    ):
        with pytest.raises(ValueError, match="steps_per_quarter must be a whole number from 1"):
            use()


@pytest.mark.parametrize("times", [(0, float("inf")), (float("nan"), 1), (-5, 1)])
def test_notes_at_impossible_times_are_refused(times):
    midi = midi_of((0, 1, 60))
    note = midi.instruments[0].notes[0]
    note.start, note.end = times
    with pytest.raises(ValueError, match="start must be 0 s or later, its end finite"):
        to_piano_roll(midi)


def test_a_program_out_of_range_is_refused():
    with pytest.raises(ValueError, match="program must lie between 0 and 127, got 128"):
        to_midi(draw([(0, 39, 1)]), program=128)


@pytest.mark.parametrize(
    ("bar", "upbeat", "denominator", "signatures"),
    [
        (12, 0, 4, ["3/4"]),
        (12, 0, 8, ["6/8"]),
        (12, 2, 8, ["1/8", "6/8"]),
        (12, 3, 8, ["3/16", "6/8"]),
        (18, 4, 8, ["2/8", "9/8"]),
        (16, 0, 2, ["2/2"]),
        (16, 4, 2, ["1/4", "2/2"]),
        (24, 8, 2, ["1/2", "3/2"]),
        (24, 8, 8, ["4/8", "12/8"]),
        (16, 0, 1, ["1/1"]),
        (12, 0, 16, ["12/16"]),
        (14, 0, 4, ["7/8"]),  # no whole number of quarters
        (12, 0, 1, ["3/4"]),
        (64, 0, 64, ["16/4"]),  # 256/64 is more than a file can hold
    ],
)
def test_bars_are_named_with_the_denominator_asked_for_where_it_is_exact(
    bar, upbeat, denominator, signatures
):
    midi = to_midi(draw([(0, 39, 1)]), steps_per_bar=bar, upbeat=upbeat, denominator=denominator)
    found = [f"{s.numerator}/{s.denominator}" for s in midi.time_signature_changes]
    assert found == signatures


@pytest.mark.parametrize("denominator", [0, 3, 128, -4, 2.5])
def test_an_impossible_denominator_is_refused(denominator):
    with pytest.raises(ValueError, match=r"denominator must be one of \(1, 2, .*64\), got"):
        to_midi(draw([(0, 39, 1)]), denominator=denominator)


def test_the_longest_roll_takes_little_more_than_its_own_size():
    notes = np.zeros(MAX_STEPS // 4, note_array(midi_of((0, 1, 60))).dtype)
    notes["onset_quarter"], notes["duration_quarter"] = np.arange(len(notes)), 1
    notes["pitch"] = 21 + np.arange(len(notes)) % 88
    tracemalloc.start()
    roll = notes_to_roll(notes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(roll) == MAX_STEPS
    assert roll.nbytes == 88_000_000
    assert peak < 1.5 * roll.nbytes


def test_half_a_semitone_is_refused():
    with pytest.raises(ValueError, match=r"semitones must be a whole number, got 1\.5"):
        transpose(draw([(0, 39, 1)]), 1.5)


# Moving


@given(NOTES, st.integers(-87, 87))
def test_transposing_there_and_back_changes_nothing(notes, semitones):
    roll = draw(notes)
    try:
        moved = transpose(roll, semitones)
    except ValueError:
        return
    assert np.array_equal(transpose(moved, -semitones), roll)
    assert np.array_equal(roll_to_notes(moved)[:, 2] - semitones, roll_to_notes(roll)[:, 2])


def test_nothing_is_moved_off_the_keyboard():
    roll = draw([(0, 80, 1)])
    assert transpose(roll, 7)[0, 87, SUSTAIN] == 1
    with pytest.raises(ValueError, match="semitones=8 moves keys 80 to 80 off the 88 keys"):
        transpose(roll, 8)


# Notes and chords

NOTE = st.tuples(st.integers(0, 31), st.integers(0, 87), st.integers(1, 40))


@settings(max_examples=50, deadline=None)
@given(st.lists(NOTE, max_size=30))
def test_the_notes_of_a_roll_draw_it_again_and_fill_its_sounding_cells(notes):
    roll = draw_roll(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=32)
    found = note_list(roll)
    assert np.array_equal(draw_roll(*found, steps=32), roll)
    assert found.length.sum() == roll[..., 1].sum()
    assert len(found.start) == note_starts(roll).sum() == len({(s, k) for s, k, _ in notes})
    assert (np.diff(found.start) >= 0).all()


def test_a_note_cut_by_the_start_of_a_window_is_a_note():
    roll = draw_roll([0], [40], [8], steps=8)[2:]
    assert [column.tolist() for column in note_list(roll)] == [[0], [40], [6]]
    assert note_starts(roll).sum() == 1


def test_a_later_note_of_a_key_cuts_the_earlier_one():
    roll = draw_roll([0, 2], [40, 40], [8, 3], steps=10)
    assert note_list(roll).length.tolist() == [2, 6]


def test_chord_sequence_drops_rests_and_repeats():
    roll = draw_roll([0, 2, 6, 8, 8], [40, 40, 40, 40, 44], [2, 2, 2, 2, 2], steps=12)
    chords = chord_sequence(roll)
    assert [np.flatnonzero(chord).tolist() for chord in chords] == [[40], [40, 44]]
    assert chord_sequence(np.zeros((4, 88, 2), np.uint8)).shape == (0, 88)


def test_sounding_keys():
    assert np.argwhere(sounding_keys(draw_roll([1], [3], [2], steps=4))).tolist() == [
        [1, 3],
        [2, 3],
    ]


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
        draw_roll(*columns, steps=8)


def test_a_roll_beyond_the_memory_is_refused():
    with pytest.raises(ValueError, match="steps must be at most 500,000; got 1,000,000,000"):
        draw_roll([0], [0], [1], steps=10**9)


def test_ratio_of_nothing_is_nan():
    assert np.isnan(ratio(0, 0))
    assert ratio(1, 4) == 0.25


STEPS = 24
keys = st.integers(0, N_KEYS - 1)
near = st.sampled_from([0, 1, 40, 41, N_KEYS - 1])  # so that notes meet
steps = st.integers(0, STEPS - 1)


class Rolls(RuleBasedStateMachine):
    """A roll beside the plain list of its notes (start, length, key), which may overlap."""

    @initialize()
    def begin(self):
        self.notes = []
        self.roll = np.zeros((STEPS, N_KEYS, 2), np.uint8)

    def draw(self):
        columns = list(zip(*self.notes, strict=True)) or [[], [], []]
        self.roll = draw_roll(columns[0], columns[2], columns[1], steps=STEPS)

    @rule(start=steps, length=st.integers(1, STEPS), key=st.one_of(near, keys))
    def add_note(self, start, length, key):
        before = self.roll.copy()
        self.notes.append((start, min(length, STEPS - start), key))
        self.draw()
        assert (self.roll >= before).all()  # a note silences none
        other = np.delete(np.arange(N_KEYS), key)
        assert np.array_equal(self.roll[:, other], before[:, other])

    @precondition(lambda self: self.notes)
    @rule(data=st.data())
    def add_a_unison(self, data):
        """The same note again changes nothing; a shorter one on top of it neither."""
        start, length, key = data.draw(st.sampled_from(self.notes))
        before = self.roll.copy()
        self.notes.append((start, data.draw(st.integers(1, length)), key))
        self.draw()
        assert np.array_equal(self.roll, before)

    @precondition(lambda self: self.notes)
    @rule(data=st.data())
    def remove_note(self, data):
        before = self.roll.copy()
        self.notes.remove(data.draw(st.sampled_from(self.notes)))
        self.draw()
        assert (self.roll <= before).all()

    @rule(semitones=st.integers(-6, 6))
    def transpose_and_back(self, semitones):
        used = np.flatnonzero(self.roll.any(axis=(0, 2)))
        if len(used) and not (used[0] + semitones >= 0 and used[-1] + semitones < N_KEYS):
            return
        moved = transpose(self.roll, semitones)
        assert np.array_equal(transpose(moved, -semitones), self.roll)
        assert np.array_equal(roll_to_notes(moved)[:, :2], roll_to_notes(self.roll)[:, :2])

    @precondition(lambda self: self.notes)
    @rule(semitones=st.integers(-3, 3))
    def transpose_for_good(self, semitones):
        if all(0 <= key + semitones < N_KEYS for _, _, key in self.notes):
            self.roll = transpose(self.roll, semitones)
            self.notes = [(start, length, key + semitones) for start, length, key in self.notes]

    @rule(tempo=st.sampled_from([40.0, 80.0, 93.0, 333.0]))
    def there_and_back_through_midi(self, tempo):
        self.roll = to_piano_roll(to_midi(self.roll, tempo=tempo), length=STEPS)

    @rule()
    def unisons_merged_are_the_roll_again(self):
        start, end, key = roll_to_notes(self.roll).T
        self.notes = list(zip(start.tolist(), (end - start).tolist(), key.tolist(), strict=True))
        self.roll = draw_roll(start, key, end - start, steps=STEPS)

    @invariant()
    def the_model_agrees(self):
        onset, sustain = (np.zeros((STEPS, N_KEYS), np.uint8) for _ in range(2))
        for start, length, key in self.notes:
            onset[start, key] = 1
            sustain[start : start + length, key] = 1
        assert np.array_equal(self.roll[..., ONSET], onset)
        assert np.array_equal(self.roll[..., SUSTAIN], sustain)

    @invariant()
    def it_is_a_roll_and_its_notes_fill_it(self):
        notes = roll_to_notes(check_roll(self.roll))
        assert (notes[:, 1] - notes[:, 0]).sum() == self.roll[..., SUSTAIN].sum()
        assert len(notes) == self.roll[..., ONSET].sum()


TestRolls = Rolls.TestCase
TestRolls.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
