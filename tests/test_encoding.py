"""Encoding: normalised voices in, rolls in the original key out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import encoding
from musiclib.corpus import Piece
from musiclib.pianoroll import FIRST_KEY, HOLD, REST
from musiclib.roll_notes import bars_at
from musiclib.voices import voices_to_roll


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
    codec = encoding.fit_codec([one], n_voices=3)
    example = codec.encode(one)
    assert example.codes.max() < codec.n_codes
    np.testing.assert_array_equal(codec.decode(example.codes, example.register), one.roll)


def test_a_piece_is_moved_by_its_shift_and_counted_from_the_lowest_key():
    one = piece([[42, 30], [1, 1], [0, 31]], shift=3)
    codec = encoding.fit_codec([one])
    assert (codec.lowest, codec.n_keys, codec.n_voices) == (31, 13, 2)
    example = codec.encode(one)
    assert example.codes.tolist() == [[14, 2], [1, 1], [0, 3]]
    assert example.sounds.tolist() == [[13, 1], [13, 1], [0, 2]]
    assert example.register == 3


def test_keys_that_training_did_not_use_move_by_octaves():
    codec = encoding.VoiceCodec(lowest=30, n_keys=14, n_voices=1)
    example = codec.encode(piece([[2 + 29], [2 + 44], [2 + 60], [2 + 5]]))
    assert (example.codes[:, 0] - 2 + 30).tolist() == [41, 32, 36, 41]


@pytest.mark.parametrize("shift", [-6, -3, 0, 5])
def test_a_piece_over_the_whole_keyboard_stays_on_the_piano(shift):
    one = piece([[2 + 0], [2 + 87], [2 + 43], [1]], shift=shift)
    codec = encoding.fit_codec([one])
    assert codec.lowest >= 0
    assert codec.lowest + codec.n_keys <= 88
    back = codec.decode(codec.encode(one).codes, shift % 12)
    low, high, middle = (int(np.flatnonzero(back[t, :, 0])[0]) for t in range(3))
    assert middle == 43
    assert low == (12 if shift < 0 else 0)
    assert high == (75 if shift > 0 else 87)
    assert back[3, 43, 1] == 1


def test_few_keys_at_the_end_of_the_piano_are_an_octave():
    codec = encoding.fit_codec([piece([[2 + 86], [2 + 87]])], n_voices=1)
    assert (codec.lowest, codec.n_keys) == (76, 12)


def metred(steps, bar, first=0):
    position = ((np.arange(steps) + first) % bar).astype(np.uint8)
    roll = np.zeros((steps, 88, 2), np.uint8)
    return Piece("p", roll, np.zeros((steps, 0), np.int16), position, bar, 0, 80.0)


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
    bar, quarters, starts = encoding.bar_segments([metred(*each) for each in pieces])
    assert (bar, quarters, [step for _, step in starts]) == expected


def test_few_segments_are_said_and_none_is_refused():
    few = encoding.segment_sentence([metred(96, 16), metred(60, 12), metred(64, 16)])
    assert few.startswith("4 segments of 16 quarters that begin on a bar line, in the 2 of 3")
    assert "by heart" in few
    assert "by heart" not in encoding.segment_sentence([metred(1024, 16)])
    with pytest.raises(ValueError, match="0 segments of 16 quarters .* so give longer pieces"):
        encoding.segment_sentence([metred(60, 16)] * 12)


def test_decode_refuses_codes_out_of_range():
    codec = encoding.VoiceCodec(lowest=30, n_keys=14, n_voices=1)
    with pytest.raises(ValueError, match="codes must lie between 0 and 15"):
        codec.decode(np.array([[16]]), 0)


def test_a_window_knows_the_step_before_it_and_is_padded_with_a_mask():
    one = piece([[42], [1], [0], [44], [1]])
    codec = encoding.fit_codec([one], n_voices=1)
    window = encoding.cut([codec.encode(one)], [(0, 0), (0, 3)], length=4)
    assert window["before"][:, :, 0].tolist() == [[0, 1, 1, 0], [0, 3, 0, 0]]
    assert window["codes"][:, :, 0].tolist() == [[2, 1, 0, 4], [4, 1, 0, 0]]
    assert window["mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize("start", [-1, 4, 99])
def test_a_window_begins_inside_its_example(start):
    one = encoding.fit_codec([piece([[42]] * 4)], n_voices=1).encode(piece([[42]] * 4))
    with pytest.raises(ValueError, match=f"step {start} is none of .*'s 4"):
        encoding.cut([one], [(0, start)], length=8)


def test_a_window_that_cuts_a_note_begins_it_afresh():
    one = piece([[42], [1], [1], [0]])
    codec = encoding.fit_codec([one], n_voices=1)
    window = encoding.cut([codec.encode(one)], [(0, 1)], length=3)
    assert window["codes"][0, :, 0].tolist() == [1, 1, 0]
    fresh = encoding.begin_afresh(window)
    assert fresh["codes"][0, :, 0].tolist() == [2, 1, 0]
    assert fresh["before"][0, 0, 0] == 0
    assert window["codes"][0, 0, 0] == 1


def test_the_metre_of_a_new_piece_starts_like_the_example_and_repeats():
    one = piece([[42]] * 20, bar=12)
    example = encoding.fit_codec([one], n_voices=1).encode(one)
    metre = encoding.play_metre(example, length=30)
    assert metre[:13].tolist() == [*range(64, 76), 64]
    assert encoding.bar_position(metre).tolist() == [t % 12 for t in range(30)]


def test_the_bar_position_of_what_was_encoded_is_that_of_the_piece():
    position = np.array([12, 13, 14, 15, 0, 1, 2, 3], np.uint8)
    for bar in (16, 12):
        one = dataclasses.replace(piece([[42]] * 8, bar=bar), position=position)
        metre = encoding.fit_codec([one], n_voices=1).encode(one).metre
        assert encoding.bar_position(metre).tolist() == position.tolist()


def test_voices_follow_the_tracks_or_the_notes_that_sound_together():
    assert encoding.choose_voices([piece([[42, 30]] * 3)]) == 2
    chord = np.zeros((50, 88, 2), np.uint8)
    chord[:, [20, 30, 40], 1] = 1
    chord[0, [20, 30, 40], 0] = 1
    none = np.zeros((50, 0), np.int16)
    loose = Piece("c", chord, none, np.zeros(50, np.uint8), 16, 0, 80.0)
    assert encoding.choose_voices([loose]) == 3


def test_a_split_of_other_pieces_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 01"):
        encoding.split_pieces(tmp_path, tmp_path / "split.csv")


def in_bars(bar, *, name="p", steps=20):
    return piece([[42]] * steps, bar=bar, name=name)


@pytest.mark.parametrize(
    ("bar", "expected"),
    [(16, 0), (8, 0), (32, 0), (64, 0), (12, 1), (24, 1), (6, 1), (18, 1), (36, 1), (48, 1),
     (20, 2), (14, 2), (10, 2), (28, 2)],
)  # fmt: skip
def test_bars_fall_into_three_classes(bar, expected):
    assert encoding.bar_class(bar) == expected
    codec = encoding.fit_codec([in_bars(bar)], n_voices=1)
    assert codec.n_metres == (192 if expected == 2 else 128)
    metre = codec.encode(in_bars(bar)).metre
    assert metre.tolist() == [64 * expected + t % bar for t in range(20)]
    assert metre.dtype == np.int32


def test_one_odd_piece_makes_room_for_its_class_and_the_card_says_so():
    usual = encoding.fit_codec([in_bars(16), in_bars(12)], n_voices=1)
    assert usual.to_dict() == {"lowest": 40, "n_keys": 12, "n_voices": 1}
    odd = encoding.fit_codec([in_bars(16), in_bars(14)], n_voices=1)
    assert odd.to_dict()["n_metres"] == 192
    assert odd.encode(in_bars(16)).metre.max() < 64


def test_an_odd_metre_that_training_did_not_have_stays_within_the_embedding():
    codec = encoding.fit_codec([in_bars(16)], n_voices=1)
    assert codec.encode(in_bars(20)).metre.max() < codec.n_metres == encoding.N_METRES


def test_bars_that_are_longer_than_a_position_can_count():
    long = dataclasses.replace(in_bars(16, steps=200), bar=80)
    long = dataclasses.replace(long, position=(np.arange(200) % 80).astype(np.uint8))
    example = encoding.fit_codec([long], n_voices=1).encode(long)
    assert example.metre.max() < 192
    assert encoding.bars_of(example) == (64, 0, 4)
    assert encoding.bar_position(encoding.play_metre(example, length=130)).max() == 63


@pytest.mark.parametrize(("bar", "upbeat"), [(16, 0), (16, 4), (12, 2), (14, 10), (8, 2)])
def test_the_bars_of_a_new_piece_are_those_of_its_metre(bar, upbeat):
    one = dataclasses.replace(
        in_bars(bar, steps=40), position=((np.arange(40) - upbeat) % bar).astype(np.uint8)
    )
    example = encoding.fit_codec([one], n_voices=1).encode(one)
    place = encoding.bar_position(encoding.play_metre(example, length=128))
    assert encoding.bars_of(example) == (bar, upbeat, 4) == bars_at(place, bar)


def test_the_signature_of_a_bar_changes_nothing_that_a_model_reads():
    waltz = in_bars(12)
    jig = dataclasses.replace(waltz, denominator=8)
    codec = encoding.fit_codec([waltz], n_voices=1)
    assert encoding.fit_codec([jig], n_voices=1) == codec
    one, other = codec.encode(waltz), codec.encode(jig)
    for field in ("codes", "sounds", "metre"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert (one.register, one.bar) == (other.register, other.bar)
    assert (encoding.bars_of(one), encoding.bars_of(other)) == ((12, 0, 4), (12, 0, 8))


def test_the_commonest_bars_are_named_as_most_of_them():
    pieces = [in_bars(12), in_bars(12), in_bars(16), in_bars(16), in_bars(12)]
    jigs = [dataclasses.replace(one, denominator=8) for one in pieces]
    assert encoding.commonest_bars(pieces) == (12, 0, 4)
    assert encoding.commonest_bars([*pieces[:2], *jigs[2:]]) == (12, 0, 4)
    assert encoding.commonest_bars([*jigs[:2], *pieces[2:]]) == (12, 0, 8)
    assert encoding.bar_segments(jigs) == encoding.bar_segments(pieces)
