"""All measures of one piece: hand-made cases, empty and one-note pieces, and MusPy as an oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import music_metrics as mm
from musiclib.roll_notes import notes_of, roll_of

SILENT = np.zeros((128, 88, 2), np.uint8)
C4 = 60 - 21
NOTE = st.tuples(st.integers(0, 110), st.integers(0, 87), st.integers(1, 16))


def test_polyphony_leaves_silence_out():
    roll = roll_of([0, 0, 4], [40, 44, 40], [4, 8, 4], steps=16)
    assert mm.polyphony(roll) == 2.0
    assert mm.polyphony_spread(roll) == 0.0
    assert mm.silence(roll) == 0.5
    assert mm.polyphony_spread(roll_of([0, 4, 4], [40, 40, 44], [4, 4, 4], steps=8)) == 0.5


def test_empty_bars():
    roll = roll_of([0, 33], [40, 40], [16, 1], steps=70)
    assert mm.empty_bars(roll) == 0.5  # bars 2 and 4 of four whole ones
    assert mm.empty_bars(roll, steps_per_bar=35) == 0.5
    assert np.isnan(mm.empty_bars(roll[:15]))


ZERO_WHEN_EMPTY = {"note_density", "pitch_classes", "chord_rate", "onset_steps", "density_drift"}
ONE_WHEN_EMPTY = {"silence", "empty_bars", "groove_consistency", "repeated_bars"} | {
    f"repetition_{lag}" for lag in (1, 2, 4)
}


@pytest.mark.parametrize("name", mm.MEASURES)
def test_an_empty_piece(name):
    value = mm.MEASURES[name](SILENT)
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
    "pitch_drift": np.nan,
    "density_drift": 1 / 8,
    "key_drift": np.nan,
}


def test_a_piece_of_one_note():
    found = mm.measures(roll_of([0], [C4], [4], steps=128))
    assert list(found) == list(mm.MEASURES) == list(ONE_NOTE)
    assert found == pytest.approx(ONE_NOTE, nan_ok=True)
    assert all(isinstance(value, float) for value in found.values())


@settings(max_examples=25, deadline=None)
@given(st.lists(NOTE, max_size=40))
def test_shares_stay_shares_and_nothing_is_infinite(notes):
    roll = roll_of(*np.array(notes, dtype=int).reshape(-1, 3).T, steps=128)
    before = roll.copy()
    found = mm.measures(roll)
    assert np.array_equal(roll, before)
    assert not any(np.isinf(value) for value in found.values())
    shares = [v for k, v in found.items() if k.endswith(("_share", "_onsets", "consistency"))]
    assert all(np.isnan(v) or -1e-9 <= v <= 1 + 1e-9 for v in shares)


def test_measures_refuses_what_is_no_roll():
    with pytest.raises(ValueError, match=r"shape \(T, 88, 2\)"):
        mm.measures(np.zeros((128, 88), np.uint8))


def test_a_sound_piece_has_no_problem():
    bars = np.arange(0, 128, 4)
    assert mm.check_piece(roll_of(bars, C4 + bars // 4 % 5, [4] * 32, steps=128)) == []


def test_no_note():
    assert mm.check_piece(SILENT) == ["no note: the piece is silent"]


@pytest.mark.parametrize("length", [33, 4, 1], ids=["held", "struck", "struck at every step"])
def test_stuck_held_or_struck_again(length):
    starts = np.append(np.arange(8, 41, length), [0, 41])
    keys = [40] * (len(starts) - 2) + [50, 52]
    lengths = [min(length, 41 - s) for s in starts[:-2]] + [8, 7]
    roll = roll_of(starts, keys, lengths, steps=48)
    assert mm.check_piece(roll) == ["stuck: the same keys sound for 8.25 quarters from step 8"]
    assert mm.check_piece(np.delete(roll, 20, axis=0)) == []  # eight quarters and no more


def test_a_moving_voice_is_not_stuck():
    moving = np.arange(0, 128, 2)
    roll = roll_of([0, *moving], [30, *(50 + moving // 2 % 2)], [128] + [2] * 64, steps=128)
    assert mm.check_piece(roll) == []


def test_long_silence_is_empty_bars_not_stuck():
    roll = roll_of([0, 120], [40, 42], [8, 8], steps=128)
    assert mm.check_piece(roll) == ["empty bars: 6 of 8 hold no note"]


def music_of(roll):
    """Return a roll as MusPy's music, a quarter as four steps."""
    muspy = pytest.importorskip("muspy")
    notes = [
        muspy.Note(time=int(s), pitch=int(k) + 21, duration=int(n), velocity=64)
        for s, k, n in zip(*notes_of(roll), strict=True)
    ]
    return muspy, muspy.Music(resolution=4, tracks=[muspy.Track(notes=notes)])


@pytest.mark.parametrize("seed", range(5))
def test_muspy_agrees(seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 120, size=60)
    roll = roll_of(starts, rng.integers(20, 60, size=60), rng.integers(1, 6, size=60), steps=127)
    roll[126] = [[0, 0]] * 87 + [[1, 1]]  # MusPy measures to the last note's end, inside bar 8
    muspy, music = music_of(roll)
    assert mm.polyphony(roll) == pytest.approx(muspy.polyphony(music))
    assert mm.pitch_range(roll) == muspy.pitch_range(music)
    assert mm.pitch_classes(roll) == muspy.n_pitch_classes_used(music)
    assert mm.pitch_class_entropy(roll) == pytest.approx(muspy.pitch_class_entropy(music))
    assert mm.scale_consistency(roll) == pytest.approx(muspy.scale_consistency(music))
    whole = np.pad(roll, ((0, 1), (0, 0), (0, 0)))
    assert mm.groove_consistency(whole) == pytest.approx(muspy.groove_consistency(music, 16))


def test_empty_bars_are_the_pieces_own():
    """3/4 after an upbeat: the third bar is silent, and no bar of 16 steps is."""
    roll = roll_of([0, 4, 16, 40], [40, 41, 42, 43], [4, 12, 12, 12], steps=56)
    bars = {"steps_per_bar": 12, "upbeat": 4}
    assert mm.empty_bars(roll, **bars) == 0.25
    assert mm.check_piece(roll, **bars) == ["empty bars: 1 of 4 hold no note"]
    assert mm.empty_bars(roll) == 0.0


def test_an_empty_upbeat_is_no_empty_bar():
    roll = roll_of([4, 16], [40, 41], [12, 12], steps=28)
    assert mm.check_piece(roll, steps_per_bar=12, upbeat=4) == []


def test_measures_of_bars_take_the_pieces_own():
    assert set(mm.BAR_MEASURES) == {
        "empty_bars", "quarter_onsets", "eighth_onsets", "sixteenth_onsets", "groove_consistency",
        "repetition_1", "repetition_2", "repetition_4", "repeated_bars", "pitch_drift",
        "density_drift", "key_drift",
    }  # fmt: skip
    roll = roll_of(range(0, 128, 4), [40 + i % 3 for i in range(32)], [4] * 32, steps=128)
    assert mm.measures(roll) == pytest.approx(mm.measures(roll, steps_per_bar=16), nan_ok=True)
    own = mm.measures(roll, steps_per_bar=12)
    for name, value in own.items():
        bars = {"steps_per_bar": 12} if name in mm.BAR_MEASURES else {}
        assert value == pytest.approx(mm.MEASURES[name](roll, **bars), nan_ok=True)
    assert own["repetition_1"] == pytest.approx(1.0)
    assert mm.measures(roll)["repetition_1"] < 0.5
    with pytest.raises(ValueError, match="steps_per_bar must be at least 1"):
        mm.measures(roll, steps_per_bar=0)
