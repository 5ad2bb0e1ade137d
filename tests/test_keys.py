"""Key codes: there and back, the keys left out, padding, windows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import keys
from musiclib.keys import HELD, SILENT, STARTS
from musiclib.pieces import Piece


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


def piece_of(roll, *, shift=0, bar=16):
    position = (np.arange(len(roll)) % bar).astype(np.uint8)
    return Piece("p", roll, np.zeros((len(roll), 0), np.int16), position, bar, shift, 80.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(-6, 5))
def test_a_piece_comes_back_in_its_own_key(seed, shift):
    roll = random_roll(seed)
    codec = keys.fit_keys([roll], shifts=[shift])
    example = codec.encode(piece_of(roll, shift=shift))
    assert example.codes.max() <= STARTS
    np.testing.assert_array_equal(codec.decode(example.codes, example.register), roll)


def test_codes_tell_a_held_from_a_repeated_note():
    roll = np.zeros((4, 88, 2), np.uint8)
    roll[:3, 40, 1], roll[[0, 2], 40, 0] = 1, 1
    codec = keys.fit_keys([roll])
    codes = codec.encode(piece_of(roll)).codes[:, 40 - codec.lowest]
    assert codes.tolist() == [STARTS, HELD, STARTS, SILENT]


def test_a_held_key_that_did_not_sound_starts():
    codec = keys.fit_keys([random_roll(0)])
    codes = np.zeros((3, codec.n_keys), np.uint8)
    codes[1:, 4] = HELD
    roll = codec.decode(codes)
    assert roll[:, codec.lowest + 4].tolist() == [[0, 0], [1, 1], [0, 1]]


def test_a_note_outside_the_keys_moves_by_octaves():
    codec = keys.fit_keys([random_roll(0, low=40, high=52)])
    roll = np.zeros((2, 88, 2), np.uint8)
    roll[0, 5] = roll[0, 80] = 1
    places = np.flatnonzero(codec.encode(piece_of(roll)).codes[0]) + codec.lowest
    assert {int(p) % 12 for p in places} == {5, 80 % 12}


def test_keys_outside_cost_laplaces_share():
    frames = np.zeros((8, 88), np.uint8)
    frames[:, 30:40] = 1
    codec = keys.fit_keys([frames])
    assert (codec.n_states, codec.frames) == (2, 8)
    left = 88 - codec.n_keys
    silent = -left * np.log(0.9)
    assert codec.outside(frames) == pytest.approx(np.full(7, silent))
    other = frames.copy()
    other[3, 2] = 1
    assert codec.outside(other)[2] == pytest.approx(silent + np.log(0.9) - np.log(0.1))


def test_all_keys_of_a_frame_are_charged_once():
    """Inside and outside together make up the 88 keys: a uniform model costs 88 bits or less."""
    frames = np.zeros((4, 88), np.uint8)
    frames[:, 10:80] = 1
    codec = keys.fit_keys([frames])
    kept = codec.encode_frames(frames).codes
    assert kept.shape[1] + (88 - codec.n_keys) == 88
    np.testing.assert_array_equal(kept, frames[:, codec.lowest : codec.lowest + codec.n_keys])


def test_padding_lines_up_what_was_with_what_comes():
    codec = keys.fit_keys([random_roll(1)])
    examples = [codec.encode(piece_of(random_roll(i, steps=n))) for i, n in ((1, 5), (2, 19))]
    batch = keys.pad(examples)
    assert batch["now"].shape == (2, 24, codec.n_keys)
    assert batch["mask"].sum(axis=1).tolist() == [4, 18]
    for row, example in enumerate(examples):
        n = len(example.codes) - 1
        np.testing.assert_array_equal(batch["before"][row, :n], example.codes[:-1])
        np.testing.assert_array_equal(batch["now"][row, :n], example.codes[1:])
        np.testing.assert_array_equal(batch["metre"][row, :n], example.metre[1:])
        assert not batch["before"][row, n:].any()


def test_a_lead_in_lets_the_first_step_be_predicted():
    example = keys.fit_keys([random_roll(1)]).encode(piece_of(random_roll(1)))
    batch = keys.pad([keys.lead_in(example)])
    assert batch["mask"].sum() == len(example.codes)
    np.testing.assert_array_equal(batch["now"][0, : len(example.codes)], example.codes)
    np.testing.assert_array_equal(batch["metre"][0, : len(example.codes)], example.metre)


def test_an_excerpt_knows_the_step_before_it():
    example = keys.fit_keys([random_roll(1)]).encode(piece_of(random_roll(1)))
    part = keys.excerpt(example, 3, 4)
    np.testing.assert_array_equal(part.codes, example.codes[3:8])


def test_the_signature_of_a_bar_stays_with_the_piece():
    jig = dataclasses.replace(piece_of(random_roll(1), bar=12), denominator=8)
    example = keys.fit_keys([random_roll(1)]).encode(jig)
    for each in (example, keys.lead_in(example), keys.excerpt(example, 3, 4)):
        assert (each.name, each.register, each.bar, each.denominator) == ("p", 0, 12, 8)


def test_what_cannot_be_is_refused():
    codec = keys.fit_keys([random_roll(0)])
    with pytest.raises(ValueError, match="got shape \\(3, 2\\), wanted"):
        codec.decode(np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="codes below 3"):
        codec.decode(np.full((3, codec.n_keys), 7))
    frames = keys.fit_keys([np.ones((4, 88), np.uint8)])
    with pytest.raises(ValueError, match="codes below 2"):
        frames.decode(np.full((3, frames.n_keys), 2))
    with pytest.raises(ValueError, match="only silent ones"):
        keys.fit_keys([np.zeros((4, 88, 2), np.uint8)])


def test_the_metre_is_that_of_the_voices_codec():
    rolls = [random_roll(i, steps=40) for i in range(2)]
    for bars, n_metres in (((16, 12), 128), ((8, 24), 128), ((16, 14), 192), ((), 128)):
        codec = keys.fit_keys(rolls, bars=bars)
        assert codec.n_metres == n_metres
        assert ("n_metres" in codec.to_dict()) == (n_metres != 128)
    odd = keys.fit_keys(rolls, bars=(16, 14))
    for bar, first in ((8, 0), (16, 0), (12, 64), (18, 64), (14, 128), (20, 128)):
        metre = odd.encode(piece_of(rolls[0], bar=bar)).metre
        assert metre.tolist() == [first + t % bar for t in range(40)]
