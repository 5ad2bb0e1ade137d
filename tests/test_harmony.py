"""Measures of harmony, by hand and by a plain loop."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import harmony
from musiclib.roll_notes import roll_of

C4 = 60 - 21


def chords(*sets, length=4):
    """Return chords one after another, each struck once."""
    notes = [(i * length, key, length) for i, keys in enumerate(sets) for key in keys]
    return roll_of(*np.array(notes).T, steps=len(sets) * length)


@pytest.mark.parametrize(
    ("interval", "share"),
    [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 0), (7, 1), (8, 1), (9, 1), (10, 0), (11, 0)],
)
@pytest.mark.parametrize("octave", [0, 12])
def test_consonance_of_each_interval(interval, share, octave):
    assert harmony.consonant_share(chords([C4, C4 + interval + octave])) == share


def test_octaves_are_consonant():
    assert harmony.consonant_share(chords([C4 - 12, C4, C4 + 12])) == 1.0


def test_consonance_of_a_seventh_chord():
    assert harmony.consonant_share(chords([C4, C4 + 4, C4 + 7, C4 + 10])) == pytest.approx(4 / 6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 87), min_size=1, max_size=6), min_size=1, max_size=6))
def test_consonance_by_a_plain_loop(sets):
    pairs = [b - a for keys in sets for a, b in itertools.combinations(sorted(keys), 2)]
    found = harmony.consonant_share(chords(*sets))
    if pairs:
        consonant = [p for p in pairs if p % 12 in harmony.CONSONANT_INTERVALS]
        assert found == pytest.approx(len(consonant) / len(pairs))
    else:
        assert np.isnan(found)


@pytest.mark.parametrize("chord", harmony.CHORD_TYPES.values(), ids=harmony.CHORD_TYPES)
def test_every_chord_fits_on_every_root(chord):
    roll = chords(*[[C4 + root + tone for tone in chord] for root in range(12)])
    assert harmony.chord_fit(roll) == 1.0


def test_clusters_do_not_fit():
    roll = chords([C4, C4 + 1, C4 + 2], [C4, C4 + 4, C4 + 7])
    assert harmony.chord_fit(roll) == 0.5
    assert harmony.chord_fit(chords([C4, C4 + 1])) == 1.0  # in C sharp major seventh: C, C sharp
    assert harmony.chord_fit(chords([C4, C4 + 2, C4 + 4])) == 0.0


def test_silent_steps_do_not_count_for_chord_fit():
    roll = np.pad(chords([C4, C4 + 4, C4 + 7]), ((0, 12), (0, 0), (0, 0)))
    assert harmony.chord_fit(roll) == 1.0


def test_chord_rate():
    roll = chords([C4], [C4], [C4, C4 + 4], [C4])
    assert harmony.chord_rate(roll) == pytest.approx(2 / 4)
    assert harmony.chord_rate(chords([C4])) == 0.0


def test_outer_voices_and_their_steps():
    roll = chords([40, 50, 60], [40, 52, 62], [30, 50, 59])
    top, bottom = harmony.outer_voices(roll)
    assert (top.tolist(), bottom.tolist()) == ([60, 62, 59], [40, 40, 30])
    assert harmony.top_step(roll) == 2.5
    assert harmony.bottom_step(roll) == 5.0
    assert harmony.leap_share(roll) == pytest.approx(1 / 3)
    assert harmony.leap_share(roll, leap=2) == pytest.approx(2 / 3)


def test_leaps_need_a_move():
    assert np.isnan(harmony.leap_share(chords([40, 60], [40, 50, 60])))


def test_outer_parallels():
    assert harmony.outer_parallels(chords([40, 47], [42, 49], [42, 50])) == 0.5  # fifths
    assert harmony.outer_parallels(chords([40, 64], [38, 62])) == 1.0  # two octaves
    assert harmony.outer_parallels(chords([40, 44], [42, 46])) == 0.0  # thirds
    assert harmony.outer_parallels(chords([40, 47], [40, 44, 47])) == 0.0  # neither moves
    assert harmony.outer_parallels(chords([40], [42])) == 0.0  # one voice is no pair
    assert np.isnan(harmony.outer_parallels(chords([40, 47])))
