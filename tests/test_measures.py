"""All measures of one piece: by hand, by a plain loop, on empty pieces, and by MusPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import measures
from musiclib.roll import draw_roll, note_list, transpose

SILENT = np.zeros((128, 88, 2), np.uint8)
C4 = 60 - 21
NOTE = st.tuples(st.integers(0, 110), st.integers(0, 87), st.integers(1, 16))


def test_polyphony_skips_silence():
    roll = draw_roll([0, 0, 4], [40, 44, 40], [4, 8, 4], steps=16)
    assert measures.polyphony(roll) == 2.0
    assert measures.polyphony_spread(roll) == 0.0
    assert measures.silence(roll) == 0.5
    assert measures.polyphony_spread(draw_roll([0, 4, 4], [40, 40, 44], [4, 4, 4], steps=8)) == 0.5


def test_empty_bars():
    roll = draw_roll([0, 33], [40, 40], [16, 1], steps=70)
    assert measures.empty_bars(roll) == 0.5  # bars 2 and 4 of four whole ones
    assert measures.empty_bars(roll, steps_per_bar=35) == 0.5
    assert np.isnan(measures.empty_bars(roll[:15]))


def test_melody_return_by_hand():
    low = ([0, 8], [10, 12], [8, 8])  # under the melody; it counts for nothing
    first, second = [40, 42, 44, 42], [42, 44, 40, 42]  # moves 40-42, 42-44, 44-42 and 42-44, ...
    keys = [*first, *second, *low[1]]
    starts = [0, 2, 4, 6, 8, 10, 12, 14, *low[0]]
    roll = draw_roll(starts, keys, [2] * 8 + low[2], steps=16)
    assert measures.melody_return(roll) == pytest.approx(2 / 3)  # 42-44 and 40-42, not 44-40
    assert measures.melody_return(np.concatenate([roll[:8]] * 2)) == 1.0
    held = draw_roll([0, 8], [40, 40], [8, 8], steps=16)  # one note struck again: no move
    assert np.isnan(measures.melody_return(held))


ZERO_WHEN_EMPTY = {"note_density", "pitch_classes", "chord_rate", "onset_steps", "density_drift"}
ONE_WHEN_EMPTY = {"silence", "empty_bars", "groove_consistency", "repeated_bars"} | {
    f"repetition_{lag}" for lag in (1, 2, 4)
}


@pytest.mark.parametrize("name", measures.MEASURES)
def test_an_empty_piece(name):
    value = measures.MEASURES[name](SILENT)
    if name in ZERO_WHEN_EMPTY:
        assert value == 0.0
    elif name in ONE_WHEN_EMPTY:
        assert value == pytest.approx(1.0)
    else:
        assert np.isnan(value)


ONE_NOTE = {
    "note_density": 1 / 32,
    "mean_duration": 1.0,
    "long_note_share": 1.0,
    "silence": 1 - 4 / 128,
    "empty_bars": 7 / 8,
    "polyphony": 1.0,
    "polyphony_spread": 0.0,
    "mean_pitch": 60.0,
    "pitch_spread": 0.0,
    "pitch_range": 0.0,
    "pitch_classes": 1.0,
    "pitch_class_entropy": 0.0,
    "scale_consistency": 1.0,
    "consonant_share": np.nan,
    "chord_fit": 1.0,
    "chord_rate": 0.0,
    "top_step": np.nan,
    "bottom_step": np.nan,
    "leap_share": np.nan,
    "outer_parallels": np.nan,
    "onset_steps": 1 / 128,
    "quarter_onsets": 1.0,
    "eighth_onsets": 0.0,
    "sixteenth_onsets": 0.0,
    "groove_consistency": 1 - 1 / (7 * 16),
    "repetition_1": 6 / 7,
    "repetition_2": 5 / 6,
    "repetition_4": 3 / 4,
    "repeated_bars": 6 / 7,
    "melody_return": np.nan,
    "pitch_drift": np.nan,
    "density_drift": 1 / 8,
    "key_drift": np.nan,
}


def test_a_piece_of_one_note():
    found = measures.measures(draw_roll([0], [C4], [4], steps=128))
    assert list(found) == list(measures.MEASURES) == list(ONE_NOTE)
    assert found == pytest.approx(ONE_NOTE, nan_ok=True)
    assert all(isinstance(value, float) for value in found.values())


@settings(max_examples=25, deadline=None)
@given(st.lists(NOTE, max_size=40))
def test_shares_stay_shares_and_nothing_is_infinite(notes):
    roll = draw_roll(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=128)
    before = roll.copy()
    found = measures.measures(roll)
    assert np.array_equal(roll, before)
    assert not any(np.isinf(value) for value in found.values())
    shares = [v for k, v in found.items() if k.endswith(("_share", "_onsets", "consistency"))]
    assert all(np.isnan(v) or -1e-9 <= v <= 1 + 1e-9 for v in shares)


def test_measures_refuses_what_is_no_roll():
    with pytest.raises(ValueError, match=r"shape \(T, 88, 2\)"):
        measures.measures(np.zeros((128, 88), np.uint8))


def test_a_sound_piece_has_no_problem():
    bars = np.arange(0, 128, 4)
    assert measures.check_piece(draw_roll(bars, C4 + bars // 4 % 5, [4] * 32, steps=128)) == []


@pytest.mark.parametrize("length", [33, 4, 1], ids=["held", "struck", "struck at every step"])
def test_stuck_held_or_struck_again(length):
    starts = np.append(np.arange(8, 41, length), [0, 41])
    keys = [40] * (len(starts) - 2) + [50, 52]
    lengths = [min(length, 41 - s) for s in starts[:-2]] + [8, 7]
    roll = draw_roll(starts, keys, lengths, steps=48)
    assert measures.check_piece(roll) == [
        "stuck: the same keys sound for 8.25 quarters from step 8"
    ]
    assert measures.check_piece(np.delete(roll, 20, axis=0)) == []  # eight quarters and no more


def test_a_moving_voice_is_not_stuck():
    moving = np.arange(0, 128, 2)
    roll = draw_roll([0, *moving], [30, *(50 + moving // 2 % 2)], [128] + [2] * 64, steps=128)
    assert measures.check_piece(roll) == []


def test_long_silence_is_empty_bars_not_stuck():
    roll = draw_roll([0, 120], [40, 42], [8, 8], steps=128)
    assert measures.check_piece(roll) == ["empty bars: 6 of 8 hold no note"]


def music_of(roll):
    """Return a roll as MusPy's music, a quarter as four steps."""
    muspy = pytest.importorskip("muspy")
    notes = [
        muspy.Note(time=int(s), pitch=int(k) + 21, duration=int(n), velocity=64)
        for s, k, n in zip(*note_list(roll), strict=True)
    ]
    return muspy, muspy.Music(resolution=4, tracks=[muspy.Track(notes=notes)])


@pytest.mark.parametrize("seed", range(5))
def test_muspy_agrees(seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 120, size=60)
    roll = draw_roll(starts, rng.integers(20, 60, size=60), rng.integers(1, 6, size=60), steps=127)
    roll[126] = [[0, 0]] * 87 + [[1, 1]]  # MusPy measures to the last note's end, inside bar 8
    muspy, music = music_of(roll)
    assert measures.polyphony(roll) == pytest.approx(muspy.polyphony(music))
    assert measures.pitch_range(roll) == muspy.pitch_range(music)
    assert measures.pitch_classes(roll) == muspy.n_pitch_classes_used(music)
    assert measures.pitch_class_entropy(roll) == pytest.approx(muspy.pitch_class_entropy(music))
    assert measures.scale_consistency(roll) == pytest.approx(muspy.scale_consistency(music))
    whole = np.pad(roll, ((0, 1), (0, 0), (0, 0)))
    assert measures.groove_consistency(whole) == pytest.approx(muspy.groove_consistency(music, 16))


def test_empty_bars_are_the_pieces_own():
    """3/4 after an upbeat: the third bar is silent, and no bar of 16 steps is."""
    roll = draw_roll([0, 4, 16, 40], [40, 41, 42, 43], [4, 12, 12, 12], steps=56)
    bars = {"steps_per_bar": 12, "upbeat": 4}
    assert measures.empty_bars(roll, **bars) == 0.25
    assert measures.check_piece(roll, **bars) == ["empty bars: 1 of 4 hold no note"]
    assert measures.empty_bars(roll) == 0.0


def test_an_empty_upbeat_is_no_empty_bar():
    roll = draw_roll([4, 16], [40, 41], [12, 12], steps=28)
    assert measures.check_piece(roll, steps_per_bar=12, upbeat=4) == []


def test_measures_of_bars_take_the_pieces_own():
    assert set(measures.BAR_MEASURES) == {
        "empty_bars", "quarter_onsets", "eighth_onsets", "sixteenth_onsets", "groove_consistency",
        "repetition_1", "repetition_2", "repetition_4", "repeated_bars", "pitch_drift",
        "density_drift", "key_drift",
    }  # fmt: skip
    roll = draw_roll(range(0, 128, 4), [40 + i % 3 for i in range(32)], [4] * 32, steps=128)
    assert measures.measures(roll) == pytest.approx(
        measures.measures(roll, steps_per_bar=16), nan_ok=True
    )
    own = measures.measures(roll, steps_per_bar=12)
    for name, value in own.items():
        bars = {"steps_per_bar": 12} if name in measures.BAR_MEASURES else {}
        assert value == pytest.approx(measures.MEASURES[name](roll, **bars), nan_ok=True)
    assert own["repetition_1"] == pytest.approx(1.0)
    assert measures.measures(roll)["repetition_1"] < 0.5
    with pytest.raises(ValueError, match="steps_per_bar must be at least 1"):
        measures.measures(roll, steps_per_bar=0)


C_MAJOR = [C4 + step for step in (0, 2, 4, 5, 7, 9, 11)]


def melody(keys, *, length=4):
    """Return these keys one after another."""
    return draw_roll(np.arange(len(keys)) * length, keys, [length] * len(keys), steps=128)


def test_a_scale():
    roll = melody(C_MAJOR)
    assert measures.pitch_classes(roll) == 7.0
    assert measures.scale_consistency(roll) == 1.0
    assert measures.scale_consistency(melody([*C_MAJOR, C4 + 1])) == pytest.approx(7 / 8)
    assert measures.scale_consistency(melody([C4 + s for s in (0, 2, 3, 5, 7, 8, 10)])) == 1.0
    assert measures.pitch_range(roll) == 11.0
    assert measures.mean_pitch(roll) == pytest.approx(60 + 38 / 7)
    assert measures.pitch_class_entropy(roll) == pytest.approx(np.log2(7))


def test_all_twelve_classes():
    roll = melody(range(C4, C4 + 12))
    assert measures.scale_consistency(roll) == pytest.approx(7 / 12)
    assert measures.pitch_class_entropy(roll) == pytest.approx(np.log2(12))


def test_entropy_of_three_to_one():
    roll = melody([C4, C4 + 12, C4 - 12, C4 + 7])
    expected = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert measures.pitch_class_entropy(roll) == pytest.approx(expected)


def test_pitch_is_weighted_by_time():
    roll = draw_roll([0, 3], [C4, C4 + 4], [3, 1], steps=16)
    assert measures.mean_pitch(roll) == pytest.approx(61.0)
    assert measures.pitch_spread(roll) == pytest.approx(np.sqrt((3 * 1 + 9) / 4))


def test_fold_classes_puts_c_first_and_folds_octaves():
    sound = np.zeros((1, 88), bool)
    sound[0, [C4, C4 + 12, C4 + 1, 0, 87]] = True  # C, C, C sharp, A0, C8
    expected = np.zeros(12, int)
    expected[[0, 1, 9]] = [3, 1, 1]
    assert measures.fold_classes(sound)[0].tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(12, 75), min_size=1, max_size=20), st.integers(-12, 12))
def test_transposition_moves_only_the_mean(keys, semitones):
    roll = melody(keys)
    moved = transpose(roll, semitones)
    for measure in (
        measures.pitch_classes,
        measures.scale_consistency,
        measures.pitch_range,
        measures.pitch_spread,
        measures.pitch_class_entropy,
    ):
        assert measure(moved) == pytest.approx(measure(roll))
    assert measures.mean_pitch(moved) - measures.mean_pitch(roll) == pytest.approx(semitones)


def pulse(starts, *, length=1, steps=32):
    """Return one key struck at these steps."""
    return draw_roll(starts, [40] * len(starts), [length] * len(starts), steps=steps)


def test_density_and_duration():
    roll = draw_roll([0, 0, 4, 8], [40, 44, 40, 40], [4, 8, 4, 2], steps=16)
    assert measures.note_density(roll) == 1.0
    assert measures.mean_duration(roll) == pytest.approx(18 / 4 / 4)
    assert measures.onset_steps(roll) == pytest.approx(3 / 16)


def test_long_notes():
    roll = draw_roll([0, 4, 8, 12], [40] * 4, [1, 2, 3, 4], steps=16)
    assert measures.long_note_share(roll) == 0.75


def test_where_notes_start():
    roll = pulse([0, 4, 6, 9, 11, 12, 14, 16])
    assert measures.quarter_onsets(roll) == 0.5
    assert measures.eighth_onsets(roll) == 0.25
    assert measures.sixteenth_onsets(roll) == 0.25


def test_groove_of_equal_and_of_different_bars():
    assert measures.groove_consistency(pulse([0, 4, 16, 20])) == 1.0
    assert measures.groove_consistency(pulse([0, 4, 16, 22])) == pytest.approx(1 - 2 / 16)
    assert measures.groove_consistency(pulse(list(range(16)))) == 0.0


def test_groove_skips_the_last_part_of_a_bar():
    roll = pulse([0, 16, 33], steps=40)
    assert measures.groove_consistency(roll) == 1.0
    assert np.isnan(measures.groove_consistency(pulse([0], steps=31)))
    assert np.isnan(measures.groove_consistency(pulse([0], steps=8)))


def test_bars_are_counted_from_the_first_bar_line():
    roll = pulse([0, 4, 8, 16, 20, 28, 32], steps=40)  # an upbeat of a quarter, then 3/4
    assert measures.groove_consistency(roll, steps_per_bar=12, upbeat=4) == 1.0
    assert measures.groove_consistency(roll, steps_per_bar=12) < 1.0
    assert np.isnan(measures.groove_consistency(roll, steps_per_bar=12, upbeat=20))


def test_quarters_are_counted_from_the_bar_line():
    roll = pulse([0, 2, 6, 10, 14])  # an upbeat of an eighth, then quarters
    assert measures.quarter_onsets(roll, upbeat=2) == 0.8
    assert measures.eighth_onsets(roll, upbeat=2) == pytest.approx(0.2)
    assert measures.eighth_onsets(roll) == 0.8
    seven_eight = pulse([0, 4, 8, 12, 14, 18, 22, 26, 28])
    assert measures.quarter_onsets(seven_eight, steps_per_bar=14) == 1.0
    assert measures.quarter_onsets(seven_eight) == pytest.approx(5 / 9)


def chords(*sets, length=4):
    """Return chords one after another, each struck once."""
    notes = [(i * length, key, length) for i, keys in enumerate(sets) for key in keys]
    return draw_roll(*np.array(notes).T, steps=len(sets) * length)


@pytest.mark.parametrize(
    ("interval", "share"),
    [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 0), (7, 1), (8, 1), (9, 1), (10, 0), (11, 0)],
)
@pytest.mark.parametrize("octave", [0, 12])
def test_consonance_of_each_interval(interval, share, octave):
    assert measures.consonant_share(chords([C4, C4 + interval + octave])) == share


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 87), min_size=1, max_size=6), min_size=1, max_size=6))
def test_consonance_by_a_plain_loop(sets):
    pairs = [b - a for keys in sets for a, b in itertools.combinations(sorted(keys), 2)]
    found = measures.consonant_share(chords(*sets))
    if pairs:
        consonant = [p for p in pairs if p % 12 in measures.CONSONANT_INTERVALS]
        assert found == pytest.approx(len(consonant) / len(pairs))
    else:
        assert np.isnan(found)


@pytest.mark.parametrize("chord", measures.CHORD_TYPES.values(), ids=measures.CHORD_TYPES)
def test_every_chord_fits_on_every_root(chord):
    roll = chords(*[[C4 + root + tone for tone in chord] for root in range(12)])
    assert measures.chord_fit(roll) == 1.0


def test_clusters_do_not_fit():
    roll = chords([C4, C4 + 1, C4 + 2], [C4, C4 + 4, C4 + 7])
    assert measures.chord_fit(roll) == 0.5
    assert measures.chord_fit(chords([C4, C4 + 1])) == 1.0  # in C sharp major seventh: C, C sharp
    assert measures.chord_fit(chords([C4, C4 + 2, C4 + 4])) == 0.0
    silent_end = np.pad(chords([C4, C4 + 4, C4 + 7]), ((0, 12), (0, 0), (0, 0)))
    assert measures.chord_fit(silent_end) == 1.0


def test_chord_rate():
    roll = chords([C4], [C4], [C4, C4 + 4], [C4])
    assert measures.chord_rate(roll) == pytest.approx(2 / 4)
    assert measures.chord_rate(chords([C4])) == 0.0


def test_outer_voices_and_their_steps():
    roll = chords([40, 50, 60], [40, 52, 62], [30, 50, 59])
    top, bottom = measures.outer_voices(roll)
    assert (top.tolist(), bottom.tolist()) == ([60, 62, 59], [40, 40, 30])
    assert measures.top_step(roll) == 2.5
    assert measures.bottom_step(roll) == 5.0
    assert measures.leap_share(roll) == pytest.approx(1 / 3)


def test_leaps_need_a_move():
    assert np.isnan(measures.leap_share(chords([40, 60], [40, 50, 60])))


def test_outer_parallels():
    assert measures.outer_parallels(chords([40, 47], [42, 49], [42, 50])) == 0.5  # fifths
    assert measures.outer_parallels(chords([40, 64], [38, 62])) == 1.0  # two octaves
    assert measures.outer_parallels(chords([40, 44], [42, 46])) == 0.0  # thirds
    assert measures.outer_parallels(chords([40, 47], [40, 44, 47])) == 0.0  # neither moves
    assert measures.outer_parallels(chords([40], [42])) == 0.0  # one voice is no pair
    assert np.isnan(measures.outer_parallels(chords([40, 47])))


A = [(0, 39, 8), (8, 43, 8)]
B = [(0, 40, 16)]


def piece(*bars):
    """Return these bars (lists of start, key, length), one after another."""
    notes = [(16 * i + s, k, n) for i, bar in enumerate(bars) for s, k, n in bar]
    return draw_roll(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=16 * len(bars))


def test_self_similarity():
    similarity = measures.self_similarity(piece(A, B, A, []))
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert np.allclose(similarity, expected)
    half = measures.self_similarity(piece(A, [(0, 39, 8), (8, 44, 8)]))[0, 1]
    octave = measures.self_similarity(piece(B, [(0, 52, 16)]))[0, 1]
    assert (half, octave) == pytest.approx((0.5, 1.0))


def test_repetition_at_each_lag():
    roll = piece(A, B, A, B, A)
    assert measures.repetition_1(roll) == pytest.approx(0.0)
    assert measures.repetition_2(roll) == pytest.approx(1.0)
    assert measures.repetition_4(roll) == pytest.approx(1.0)
    assert np.isnan(measures.repetition(roll, lag=5))
    with pytest.raises(ValueError, match="lag must be at least 1"):
        measures.repetition(roll, lag=0)


def test_repeated_bars():
    assert measures.repeated_bars(piece(A, B, A, B, A)) == pytest.approx(3 / 4)
    assert measures.repeated_bars(piece(A, B)) == 0.0
    assert np.isnan(measures.repeated_bars(piece(A)))


def test_drift():
    up = [(0, 44, 8), (8, 48, 8)]  # A moved up by five semitones: C and E become F and A
    assert measures.pitch_drift(piece(A, A, B, up, up)) == pytest.approx(5.0)
    assert measures.density_drift(piece(A, A, B, B)) == pytest.approx(0.25)
    assert measures.key_drift(piece(A, A, up, up)) == pytest.approx(1.0)
    assert measures.key_drift(piece(A, A, A, [(0, 39, 8), (8, 48, 8)])) == pytest.approx(0.25)


def three_four(*bars, upbeat=0):
    """Return bars of 12 steps, each a list of keys of a quarter, after an upbeat of one key."""
    starts = [0] * bool(upbeat) + [upbeat + 4 * i for i in range(3 * len(bars))]
    keys = [50] * bool(upbeat) + [key for bar in bars for key in bar]
    return draw_roll(starts, keys, [4] * len(starts), steps=upbeat + 12 * len(bars))


@pytest.mark.parametrize("upbeat", [0, 4])
def test_bars_of_three_with_and_without_an_upbeat(upbeat):
    x, y = [39, 43, 46], [41, 44, 48]
    roll, bars = three_four(x, x, y, y, upbeat=upbeat), {"steps_per_bar": 12, "upbeat": upbeat}
    assert measures.self_similarity(roll, **bars).shape == (4, 4)
    assert measures.repetition_1(roll, **bars) == pytest.approx(2 / 3)
    assert measures.repeated_bars(roll, **bars) == pytest.approx(2 / 3)
    assert measures.key_drift(roll, **bars) == pytest.approx(1.0)
    assert measures.pitch_drift(roll, **bars) == pytest.approx(133 / 3 - 128 / 3)
    assert measures.density_drift(roll, **bars) == 0.0


def test_a_last_bar_that_is_not_whole_does_not_drift():
    roll = np.concatenate([piece(A, A, A, A), draw_roll([0], [60], [8], steps=8)])
    assert measures.pitch_drift(roll) == measures.key_drift(roll) == 0.0


def test_no_drift_without_two_ends():
    for measure in (measures.pitch_drift, measures.density_drift, measures.key_drift):
        assert np.isnan(measure(piece(A, A, A)))
        assert measure(piece(A, B, A, B)) == 0.0
    assert np.isnan(measures.pitch_drift(piece(A, A, [], [])))
    assert np.isnan(measures.key_drift(piece(A, A, [], [])))
