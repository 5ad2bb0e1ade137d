"""Rolls as a machine of states: notes come and go, the roll moves, and a slow model must agree."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from musiclib.pianoroll import (
    N_KEYS,
    ONSET,
    SUSTAIN,
    check_roll,
    roll_to_notes,
    to_midi,
    to_piano_roll,
    transpose,
)
from musiclib.roll_notes import roll_of

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
        self.roll = roll_of(columns[0], columns[2], columns[1], steps=STEPS)

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
        self.roll = roll_of(start, key, end - start, steps=STEPS)

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
