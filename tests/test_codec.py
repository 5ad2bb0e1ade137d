"""Codecs: pieces to voices and to key codes, windows of them, and the way back to a roll."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notes import midi_of

from musiclib.codec import (
    HELD,
    N_METRES,
    SILENT,
    STARTS,
    VoiceCodec,
    bar_class,
    bar_position,
    bar_segments,
    bars_of,
    choose_voices,
    commonest_bars,
    continued_metre,
    cut,
    describe_segments,
    excerpt,
    fit_key_codec,
    fit_voice_codec,
    lead_in,
    pad,
    restart_cut_notes,
    separate_voices,
    voice_keys,
    voices_to_roll,
)
from musiclib.midi import note_array
from musiclib.piece import MAX_LINES, Piece, notes_to_lines
from musiclib.roll import (
    FIRST_KEY,
    HOLD,
    REST,
    SUSTAIN,
    bars_at,
    draw_roll,
    notes_to_roll,
    roll_to_notes,
)


def piece(lines, *, shift=0, name="p", bar=16):
    lines = np.asarray(lines, np.int16)
    position = (np.arange(len(lines)) % bar).astype(np.uint8)
    return Piece(name, voices_to_roll(lines), lines, position, bar, shift, 80.0)


@st.composite
def lines(draw, steps=24, voices=3):
    """Draw voices 12 to 70 keys up; a hold stands only after a note."""
    out = np.zeros((steps, voices), np.int16)
    for v in range(voices):
        sounding = False
        for t in range(steps):
            code = draw(st.sampled_from([REST, HOLD, 2]))
            if code == HOLD and not sounding:
                code = REST
            sounding = code != REST
            out[t, v] = FIRST_KEY + draw(st.integers(12, 70)) if code == 2 else code
    return out


@settings(max_examples=60, deadline=None)
@given(lines(), st.integers(-6, 5))
def test_decode_undoes_encode(voices, shift):
    one = piece(voices, shift=shift)
    if not (voices >= FIRST_KEY).any():
        return
    codec = fit_voice_codec([one])
    example = codec.encode(one)
    assert example.codes.max() < codec.n_codes
    np.testing.assert_array_equal(codec.decode(example.codes, example.register), one.roll)


def test_a_piece_is_moved_by_its_shift_and_counted_from_the_lowest_key():
    one = piece([[42, 30], [1, 1], [0, 31]], shift=3)
    codec = fit_voice_codec([one])
    assert (codec.lowest, codec.n_keys, codec.n_voices) == (31, 13, 2)
    example = codec.encode(one)
    assert example.codes.tolist() == [[14, 2], [1, 1], [0, 3]]
    assert example.sounds.tolist() == [[13, 1], [13, 1], [0, 2]]
    assert example.register == 3


def test_keys_that_training_did_not_use_move_by_octaves():
    codec = VoiceCodec(lowest=30, n_keys=14, n_voices=1)
    example = codec.encode(piece([[2 + 29], [2 + 44], [2 + 60], [2 + 5]]))
    assert (example.codes[:, 0] - 2 + 30).tolist() == [41, 32, 36, 41]


@pytest.mark.parametrize("shift", [-6, -3, 0, 5])
def test_a_piece_over_the_whole_keyboard_stays_on_the_piano(shift):
    one = piece([[2 + 0], [2 + 87], [2 + 43], [1]], shift=shift)
    codec = fit_voice_codec([one])
    assert codec.lowest >= 0
    assert codec.lowest + codec.n_keys <= 88
    back = codec.decode(codec.encode(one).codes, shift % 12)
    low, high, middle = (int(np.flatnonzero(back[t, :, 0])[0]) for t in range(3))
    assert middle == 43
    assert low == (12 if shift < 0 else 0)
    assert high == (75 if shift > 0 else 87)
    assert back[3, 43, 1] == 1


def test_few_keys_at_the_end_of_the_piano_are_an_octave():
    codec = fit_voice_codec([piece([[2 + 86], [2 + 87]])])
    assert (codec.lowest, codec.n_keys) == (76, 12)


def piece_of_keys(roll, *, shift=0, bar=16, first=0):
    position = ((np.arange(len(roll)) + first) % bar).astype(np.uint8)
    return Piece("p", roll, np.zeros((len(roll), 0), np.int16), position, bar, shift, 80.0)


def metred(steps, bar, first=0):
    return piece_of_keys(np.zeros((steps, 88, 2), np.uint8), bar=bar, first=first)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(96, 16)], (16, 16, [0, 16, 32])),
        ([(96, 16, 12)], (16, 16, [4, 20])),
        ([(60, 12)], (12, 12, [0, 12])),
        ([(70, 10)], (10, 10, [0, 10, 20, 30])),  # 5/8: four bars are ten quarters
        ([(150, 64)], (64, 16, [0, 64])),
        ([(63, 16)], (16, 16, [])),
        ([(128, 12), (64, 16), (80, 16)], (16, 16, [0, 0, 16])),
    ],
)
def test_segments_are_four_bars_of_the_commonest_metre(pieces, expected):
    bar, quarters, starts = bar_segments([metred(*each) for each in pieces])
    assert (bar, quarters, [step for _, step in starts]) == expected


def test_few_segments_are_said_and_none_is_refused():
    few = describe_segments([metred(96, 16), metred(60, 12), metred(64, 16)])
    assert few.startswith("4 segments of 16 quarters that begin on a bar line, in the 2 of 3")
    assert "memorise" in few
    assert "memorise" not in describe_segments([metred(1024, 16)])
    with pytest.raises(ValueError, match="0 segments of 16 quarters .* so give longer pieces"):
        describe_segments([metred(60, 16)] * 12)


def test_decode_refuses_codes_out_of_range():
    codec = VoiceCodec(lowest=30, n_keys=14, n_voices=1)
    with pytest.raises(ValueError, match="codes must lie between 0 and 15"):
        codec.decode(np.array([[16]]), 0)


def test_a_window_knows_the_step_before_it_and_is_padded_with_a_mask():
    one = piece([[42], [1], [0], [44], [1]])
    codec = fit_voice_codec([one])
    window = cut([codec.encode(one)], [(0, 0), (0, 3)], length=4)
    assert window["before"][:, :, 0].tolist() == [[0, 1, 1, 0], [0, 3, 0, 0]]
    assert window["codes"][:, :, 0].tolist() == [[2, 1, 0, 4], [4, 1, 0, 0]]
    assert window["mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize("start", [-1, 4, 99])
def test_a_window_begins_inside_its_example(start):
    one = fit_voice_codec([piece([[42]] * 4)]).encode(piece([[42]] * 4))
    with pytest.raises(ValueError, match=f"step {start} is not one of .*'s 4"):
        cut([one], [(0, start)], length=8)


def test_windows_too_many_for_the_memory_are_refused_with_the_figure():
    one = piece([[42]] * 4)
    example = fit_voice_codec([one]).encode(one)
    message = "20,001 windows of 10,000 steps take 4,000 MB, and at most 4,000 MB are cut at once"
    with pytest.raises(ValueError, match=message):
        cut([example], [(0, 0)] * 20_001, length=10_000)


def test_a_window_that_cuts_a_note_begins_it_afresh():
    one = piece([[42], [1], [1], [0]])
    codec = fit_voice_codec([one])
    window = cut([codec.encode(one)], [(0, 1)], length=3)
    assert window["codes"][0, :, 0].tolist() == [1, 1, 0]
    fresh = restart_cut_notes(window)
    assert fresh["codes"][0, :, 0].tolist() == [2, 1, 0]
    assert fresh["before"][0, 0, 0] == 0
    assert window["codes"][0, 0, 0] == 1


def test_the_metre_of_a_new_piece_starts_like_the_example_and_repeats():
    one = piece([[42]] * 20, bar=12)
    example = fit_voice_codec([one]).encode(one)
    metre = continued_metre(example, length=30)
    assert metre[:13].tolist() == [*range(64, 76), 64]
    assert bar_position(metre).tolist() == [t % 12 for t in range(30)]


def test_the_bar_position_of_what_was_encoded_is_that_of_the_piece():
    position = np.array([12, 13, 14, 15, 0, 1, 2, 3], np.uint8)
    for bar in (16, 12):
        one = dataclasses.replace(piece([[42]] * 8, bar=bar), position=position)
        metre = fit_voice_codec([one]).encode(one).metre
        assert bar_position(metre).tolist() == position.tolist()


def test_voices_follow_the_tracks_or_the_notes_that_sound_together():
    assert choose_voices([piece([[42, 30]] * 3)]) == 2
    chord = np.zeros((50, 88, 2), np.uint8)
    chord[:, [20, 30, 40], 1] = 1
    chord[0, [20, 30, 40], 0] = 1
    assert choose_voices([piece_of_keys(chord)]) == 3


def in_bars(bar, *, name="p", steps=20):
    return piece([[42]] * steps, bar=bar, name=name)


@pytest.mark.parametrize(
    ("bar", "expected"),
    [(16, 0), (8, 0), (32, 0), (64, 0), (12, 1), (24, 1), (6, 1), (18, 1), (36, 1), (48, 1),
     (20, 2), (14, 2), (10, 2), (28, 2)],
)  # fmt: skip
def test_bars_fall_into_three_classes(bar, expected):
    assert bar_class(bar) == expected
    codec = fit_voice_codec([in_bars(bar)])
    assert codec.n_metres == (192 if expected == 2 else 128)
    metre = codec.encode(in_bars(bar)).metre
    assert metre.tolist() == [64 * expected + t % bar for t in range(20)]
    assert metre.dtype == np.int32


def test_one_odd_piece_makes_room_for_its_class_and_the_card_says_so():
    usual = fit_voice_codec([in_bars(16), in_bars(12)])
    assert usual.to_dict() == {"lowest": 40, "n_keys": 12, "n_voices": 1}
    odd = fit_voice_codec([in_bars(16), in_bars(14)])
    assert odd.to_dict()["n_metres"] == 192
    assert odd.encode(in_bars(16)).metre.max() < 64


def test_an_odd_metre_that_training_did_not_have_stays_within_the_embedding():
    codec = fit_voice_codec([in_bars(16)])
    assert codec.encode(in_bars(20)).metre.max() < codec.n_metres == N_METRES


def test_bars_that_are_longer_than_a_position_can_count():
    long = dataclasses.replace(in_bars(16, steps=200), bar=80)
    long = dataclasses.replace(long, position=(np.arange(200) % 80).astype(np.uint8))
    example = fit_voice_codec([long]).encode(long)
    assert example.metre.max() < 192
    assert bars_of(example) == (64, 0, 4)
    assert bar_position(continued_metre(example, length=130)).max() == 63


@pytest.mark.parametrize(("bar", "upbeat"), [(16, 0), (16, 4), (12, 2), (14, 10), (8, 2)])
def test_the_bars_of_a_new_piece_are_those_of_its_metre(bar, upbeat):
    one = dataclasses.replace(
        in_bars(bar, steps=40), position=((np.arange(40) - upbeat) % bar).astype(np.uint8)
    )
    example = fit_voice_codec([one]).encode(one)
    place = bar_position(continued_metre(example, length=128))
    assert bars_of(example) == (bar, upbeat, 4) == bars_at(place, bar)


def test_the_signature_of_a_bar_changes_nothing_that_a_model_reads():
    waltz = in_bars(12)
    jig = dataclasses.replace(waltz, denominator=8)
    codec = fit_voice_codec([waltz])
    assert fit_voice_codec([jig]) == codec
    one, other = codec.encode(waltz), codec.encode(jig)
    for field in ("codes", "sounds", "metre"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert (one.register, one.bar) == (other.register, other.bar)
    assert (bars_of(one), bars_of(other)) == ((12, 0, 4), (12, 0, 8))


def test_the_commonest_bars_are_named_as_most_of_them():
    pieces = [in_bars(12), in_bars(12), in_bars(16), in_bars(16), in_bars(12)]
    jigs = [dataclasses.replace(one, denominator=8) for one in pieces]
    assert commonest_bars(pieces) == (12, 0, 4)
    assert commonest_bars([*pieces[:2], *jigs[2:]]) == (12, 0, 4)
    assert commonest_bars([*jigs[:2], *pieces[2:]]) == (12, 0, 8)
    assert bar_segments(jigs) == bar_segments(pieces)


# A line: pairs of (rest before, length), each with a key.
LINE = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 87)), max_size=8)


def notes_of_lines(*lines):
    """Make the note array of lines of (start, end, key) in steps, one track per line."""
    tracks = [midi_of(*((s / 4, e / 4, key + 21) for s, e, key in line)) for line in lines]
    midi = midi_of()
    midi.instruments = [track for one in tracks for track in one.instruments]
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
    notes = notes_of_lines(*map(laid_out, lines))
    roll = notes_to_roll(notes)
    codes = notes_to_lines(notes, steps=len(roll))
    assert codes.shape == (len(roll), len(lines))
    assert np.array_equal(voices_to_roll(codes), roll)


def test_lines_are_ordered_from_high_to_low_with_holds_and_rests():
    notes = notes_of_lines([(0, 2, 10), (3, 4, 10)], [(0, 4, 50)])
    assert notes_to_lines(notes, steps=4).T.tolist() == [[52, 1, 1, 1], [12, 1, 0, 12]]


def test_a_repeated_note_is_no_held_one():
    notes = notes_of_lines([(0, 4, 50)], [(0, 2, 10), (2, 4, 10)])
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
    assert notes_to_lines(notes_of_lines(*lines), steps=4).shape == (4, 0)


def test_a_line_that_leaves_the_keyboard_is_none():
    notes = notes_of_lines([(0, 4, 50)], [(0, 4, 10)])
    notes["pitch"][1] = 109
    assert notes_to_lines(notes, steps=4).shape == (4, 0)


def test_no_note_no_line():
    assert notes_to_lines(notes_of_lines(), steps=0).shape == (0, 0)


# Separation


@given(st.lists(LINE, min_size=1, max_size=4))
def test_enough_voices_lose_nothing(lines):
    notes = [note for line in lines for note in laid_out(line)]
    if not notes:
        return
    start, end, key = np.array(notes).T
    roll = draw_roll(start, key, end - start, steps=int(end.max()))
    voices = separate_voices(roll, n_voices=len(lines))
    assert np.array_equal(voices_to_roll(voices), roll)


@given(st.lists(LINE, min_size=2, max_size=6), st.integers(1, 3))
def test_a_note_is_kept_whole_or_skipped(lines, n_voices):
    notes = [note for line in lines for note in laid_out(line)]
    if not notes:
        return
    start, end, key = np.array(notes).T
    roll = draw_roll(start, key, end - start, steps=int(end.max()))
    kept = voices_to_roll(separate_voices(roll, n_voices=n_voices))
    assert set(map(tuple, roll_to_notes(kept))) <= set(map(tuple, roll_to_notes(roll)))
    assert kept[..., SUSTAIN].sum(axis=1).max() <= n_voices


def test_crossing_avoided_two_lines_stay_themselves():
    high, low = [(0, 4, 50), (4, 8, 52), (8, 12, 50)], [(0, 6, 30), (6, 12, 28)]
    start, end, key = np.array(high + low).T
    voices = separate_voices(draw_roll(start, key, end - start, steps=12), n_voices=2)
    assert voice_keys(voices)[:, 0].tolist() == [50] * 4 + [52] * 4 + [50] * 4
    assert voice_keys(voices)[:, 1].tolist() == [30] * 6 + [28] * 6


def test_an_empty_roll_has_silent_voices():
    voices = separate_voices(np.zeros((5, 88, 2), np.uint8), n_voices=3)
    assert voices.shape == (5, 3)
    assert not voices.any()


@pytest.mark.parametrize("n_voices", [0, 17])
def test_an_odd_number_of_voices_is_refused(n_voices):
    with pytest.raises(ValueError, match=f"n_voices must lie between 1 and 16, got {n_voices}"):
        separate_voices(np.zeros((4, 88, 2), np.uint8), n_voices=n_voices)


# Codes


def test_a_hold_of_nothing_sounds_nothing():
    codes = np.array([[1, 2], [1, 0], [2 + 5, 1], [1, 1]])
    assert voice_keys(codes).tolist() == [[-1, 0], [-1, -1], [5, -1], [5, -1]]
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


def random_roll(seed, *, steps=12, low=30, high=50):
    """Make a roll of random notes, some of them repeated without a gap."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, (steps, 88), p=(0.7, 0.15, 0.15))
    codes[:, :low] = codes[:, high:] = 0
    roll = np.zeros((steps, 88, 2), np.uint8)
    sounds = codes > 0
    roll[..., 1] = sounds
    before = np.concatenate([np.zeros((1, 88), bool), sounds[:-1]])
    roll[..., 0] = sounds & (~before | (codes == STARTS))
    return roll


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(-6, 5))
def test_a_piece_comes_back_in_its_own_key(seed, shift):
    roll = random_roll(seed)
    codec = fit_key_codec([roll], shifts=[shift])
    example = codec.encode(piece_of_keys(roll, shift=shift))
    assert example.codes.max() <= STARTS
    np.testing.assert_array_equal(codec.decode(example.codes, example.register), roll)


def test_codes_tell_a_held_from_a_repeated_note():
    roll = np.zeros((4, 88, 2), np.uint8)
    roll[:3, 40, 1], roll[[0, 2], 40, 0] = 1, 1
    codec = fit_key_codec([roll])
    codes = codec.encode(piece_of_keys(roll)).codes[:, 40 - codec.lowest]
    assert codes.tolist() == [STARTS, HELD, STARTS, SILENT]


def test_a_held_key_that_did_not_sound_starts():
    codec = fit_key_codec([random_roll(0)])
    codes = np.zeros((3, codec.n_keys), np.uint8)
    codes[1:, 4] = HELD
    roll = codec.decode(codes)
    assert roll[:, codec.lowest + 4].tolist() == [[0, 0], [1, 1], [0, 1]]


def test_a_note_outside_the_keys_moves_by_octaves():
    codec = fit_key_codec([random_roll(0, low=40, high=52)])
    roll = np.zeros((2, 88, 2), np.uint8)
    roll[0, 5] = roll[0, 80] = 1
    places = np.flatnonzero(codec.encode(piece_of_keys(roll)).codes[0]) + codec.lowest
    assert {int(p) % 12 for p in places} == {5, 80 % 12}


def test_keys_outside_cost_laplaces_share():
    frames = np.zeros((8, 88), np.uint8)
    frames[:, 30:40] = 1
    codec = fit_key_codec([frames])
    assert (codec.n_states, codec.frames) == (2, 8)
    left = 88 - codec.n_keys
    silent = -left * np.log(0.9)
    assert codec.nll_outside(frames) == pytest.approx(np.full(7, silent))
    other = frames.copy()
    other[3, 2] = 1
    assert codec.nll_outside(other)[2] == pytest.approx(silent + np.log(0.9) - np.log(0.1))


def test_all_keys_of_a_frame_are_charged_once():
    """Inside and outside together make up the 88 keys: a uniform model costs 88 bits or less."""
    frames = np.zeros((4, 88), np.uint8)
    frames[:, 10:80] = 1
    codec = fit_key_codec([frames])
    kept = codec.encode_frames(frames).codes
    assert kept.shape[1] + (88 - codec.n_keys) == 88
    np.testing.assert_array_equal(kept, frames[:, codec.lowest : codec.lowest + codec.n_keys])


def test_padding_lines_up_what_was_with_what_comes():
    codec = fit_key_codec([random_roll(1)])
    examples = [codec.encode(piece_of_keys(random_roll(i, steps=n))) for i, n in ((1, 5), (2, 19))]
    batch = pad(examples)
    assert batch["now"].shape == (2, 24, codec.n_keys)
    assert batch["mask"].sum(axis=1).tolist() == [4, 18]
    for row, example in enumerate(examples):
        n = len(example.codes) - 1
        np.testing.assert_array_equal(batch["before"][row, :n], example.codes[:-1])
        np.testing.assert_array_equal(batch["now"][row, :n], example.codes[1:])
        np.testing.assert_array_equal(batch["metre"][row, :n], example.metre[1:])
        assert not batch["before"][row, n:].any()


def test_a_lead_in_lets_the_first_step_be_predicted():
    example = fit_key_codec([random_roll(1)]).encode(piece_of_keys(random_roll(1)))
    batch = pad([lead_in(example)])
    assert batch["mask"].sum() == len(example.codes)
    np.testing.assert_array_equal(batch["now"][0, : len(example.codes)], example.codes)
    np.testing.assert_array_equal(batch["metre"][0, : len(example.codes)], example.metre)


def test_an_excerpt_knows_the_step_before_it():
    example = fit_key_codec([random_roll(1)]).encode(piece_of_keys(random_roll(1)))
    part = excerpt(example, 3, 4)
    np.testing.assert_array_equal(part.codes, example.codes[3:8])


def test_the_signature_of_a_bar_stays_with_the_piece():
    jig = dataclasses.replace(piece_of_keys(random_roll(1), bar=12), denominator=8)
    example = fit_key_codec([random_roll(1)]).encode(jig)
    for each in (example, lead_in(example), excerpt(example, 3, 4)):
        assert (each.name, each.register, each.bar, each.denominator) == ("p", 0, 12, 8)


def test_what_cannot_be_is_refused():
    codec = fit_key_codec([random_roll(0)])
    with pytest.raises(ValueError, match="got shape \\(3, 2\\), wanted"):
        codec.decode(np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="codes below 3"):
        codec.decode(np.full((3, codec.n_keys), 7))
    frames = fit_key_codec([np.ones((4, 88), np.uint8)])
    with pytest.raises(ValueError, match="codes below 2"):
        frames.decode(np.full((3, frames.n_keys), 2))
    with pytest.raises(ValueError, match="only silent ones"):
        fit_key_codec([np.zeros((4, 88, 2), np.uint8)])


def test_the_metre_is_that_of_the_voices_codec():
    rolls = [random_roll(i, steps=40) for i in range(2)]
    for bars, n_metres in (((16, 12), 128), ((8, 24), 128), ((16, 14), 192), ((), 128)):
        codec = fit_key_codec(rolls, bars=bars)
        assert codec.n_metres == n_metres
        assert ("n_metres" in codec.to_dict()) == (n_metres != 128)
    odd = fit_key_codec(rolls, bars=(16, 14))
    for bar, first in ((8, 0), (16, 0), (12, 64), (18, 64), (14, 128), (20, 128)):
        metre = odd.encode(piece_of_keys(rolls[0], bar=bar)).metre
        assert metre.tolist() == [first + t % bar for t in range(40)]
