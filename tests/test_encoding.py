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
        ([(96, 16)], (16, [0, 16, 32])),
        ([(96, 16, 12)], (16, [4, 20])),
        ([(60, 12)], (12, [0, 12])),
        ([(50, 10)], (10, [0, 10])),
        ([(320, 64)], (64, [0, 64])),
        ([(63, 16)], (16, [])),
        ([(128, 12), (64, 16), (80, 16)], (16, [0, 0, 16])),
    ],
)
def test_segments_are_four_bars_of_the_commonest_metre(pieces, expected):
    bar, starts = encoding.bar_segments([metred(*each) for each in pieces])
    assert (bar, [step for _, step in starts]) == expected


def test_few_segments_are_said_and_none_is_refused():
    few = encoding.segment_sentence([metred(96, 16), metred(60, 12), metred(64, 16)])
    assert few.startswith("4 segments of 4 bars, in the 2 of 3 training pieces with the commonest")
    assert "by heart" in few
    assert "by heart" not in encoding.segment_sentence([metred(1024, 16)])
    with pytest.raises(ValueError, match=r"0 segments of 4 bars.* so give longer pieces"):
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
