"""One work, however fast it is played: what is joined, and what is not."""

import folders
import numpy as np
import pytest

from musiclib.pianoroll import to_piano_roll, transpose
from musiclib.roll_notes import roll_of
from musiclib.works import longest_common, same_works


def song(seed, *, bars=16, beats=(0, 2)):
    tune = folders.melody(np.random.default_rng(seed), bars=bars, root=69)
    return tune + folders.chords(bars=bars, root=50, beats=beats)


def roll(notes):
    return to_piano_roll(folders.midi_of(notes))


def stretched(notes, factor):
    return [(factor * start, factor * length, pitch) for start, length, pitch in notes]


def test_the_longest_common_subsequence_is_that_of_the_textbook():
    def by_table(a, b):
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        for i, j in np.ndindex(len(a), len(b)):
            best = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = max(best, table[i, j] + 1) if a[i] == b[j] else best
        return table[-1, -1]

    rng = np.random.default_rng(0)
    for _ in range(60):
        a, b = (rng.integers(0, 6, rng.integers(0, 30)).tolist() for _ in range(2))
        assert longest_common(a, b) == by_table(a, b)


@pytest.mark.parametrize("seed", range(4))
def test_half_and_double_note_values_are_one_work(seed):
    notes = song(seed)
    rolls = [roll(stretched(notes, factor)) for factor in (1, 0.5, 2)]
    assert same_works(rolls) == [(0, 1), (0, 2), (1, 2)]
    tune = folders.melody(np.random.default_rng(seed), bars=16)
    assert same_works([roll(stretched(tune, factor)) for factor in (1, 2)]) == [(0, 1)]


def test_performances_of_one_work_in_free_tempo_and_other_keys_are_one():
    works = [song(seed) for seed in range(6)]
    rng = np.random.default_rng(1)
    rolls = [
        roll(folders.perform(work, rng, transpose=int(rng.integers(-4, 5))))
        for work in works
        for _ in range(3)
    ]
    pairs = set(same_works(rolls))
    for i, j in pairs:
        assert i // 3 == j // 3
    for first in range(0, len(rolls), 3):
        trio = {(first, first + 1), (first, first + 2), (first + 1, first + 2)}
        assert len(pairs & trio) >= 2  # so that all three are in one group


def test_a_repeat_that_is_played_or_not_is_no_difference():
    notes = song(3)
    again = notes + [(start + 64, length, pitch) for start, length, pitch in notes]
    assert same_works([roll(notes), roll(again)]) == [(0, 1)]


def test_songs_over_one_accompaniment_are_different_songs():
    assert same_works([roll(song(seed)) for seed in range(14)]) == []
    assert same_works([roll(song(seed, beats=(0, 1, 2, 3))) for seed in range(14)]) == []


def test_short_tunes_of_few_notes_are_different_unless_they_are_the_same():
    rng = np.random.default_rng(2)
    keys = [np.clip(np.cumsum(rng.integers(-2, 3, 24)) + 40, 36, 44) for _ in range(20)]
    rolls = [roll_of(np.arange(24) * 4, key, [4] * 24, steps=96) for key in keys]
    assert same_works(rolls) == []
    twin = roll_of(np.arange(24) * 2, keys[3] + 5, [2] * 24, steps=48)
    assert same_works([*rolls, twin]) == [(3, 20)]


def test_silence_one_note_and_a_held_note_are_no_work():
    silent = np.zeros((32, 88, 2), np.uint8)
    same = roll_of(np.arange(20) * 4, [40] * 20, [4] * 20, steps=80)
    one = roll_of([0], [40], [4], steps=4)
    assert same_works([silent, silent, same, same, one, one]) == []
    assert same_works([]) == []


def test_the_same_piece_in_every_key_within_an_octave_is_one_work():
    piece = roll(song(5))
    for semitones in (-12, -5, 7, 12):
        assert same_works([piece, transpose(piece, semitones)]) == [(0, 1)]
