"""study.models: the joint output, draws under temperature and top-p; what plain models read."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from musiclib.piece import Piece  # noqa: E402
from musiclib.roll import draw_roll, sounding_keys  # noqa: E402
from study.models import (  # noqa: E402
    BarWindows,
    Batches,
    Hearing,
    JointOutput,
    Spread,
    choose,
    codes_of_scores,
    draw_voices,
    favour,
    rolls_of_keys,
    sharpen,
    step_odds,
    to_eighths,
    wishes,
)

V, S, C = 3, 6, 7


@pytest.fixture(scope="module")
def joint():
    keras.utils.set_random_seed(3)
    layer = JointOutput(V, S, C, 5)
    layer(ops.zeros((1, 1, 4)), ops.zeros((1, 1, V, 2), dtype="int32"))
    return layer


def step(rng, n=4):
    """A state (n, 4) and the sounds of the step before (n, V)."""
    return rng.normal(size=(n, 4)).astype("float32"), rng.integers(0, S, (n, V)).astype("int32")


def test_favour_is_the_softmax_at_one_and_one_note_at_zero():
    logits = np.random.default_rng(0).normal(size=(5, 9)).astype("float32")
    column = np.ones((5, 1), "float32")

    def favoured(temperature, top_p):
        return ops.convert_to_numpy(favour(logits, temperature * column, top_p * column))

    plain = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(favoured(1.0, 1.0), plain, rtol=1e-5)
    np.testing.assert_allclose(
        favoured(0.5, 1.0), plain**2 / (plain**2).sum(-1, keepdims=True), 1e-4
    )
    likeliest = np.eye(9)[logits.argmax(axis=-1)]
    for settings in ((0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1e-9, 0.9)):
        np.testing.assert_allclose(favoured(*settings), likeliest, atol=1e-6)


def test_a_rest_and_a_hold_keep_their_probability_and_silence_cannot_be_held():
    logits = np.random.default_rng(1).normal(size=(4, C)).astype("float32")
    own = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    one = np.ones((4, 1), "float32")
    p = ops.convert_to_numpy(sharpen(logits, one, 0.3 * one, 0.9 * one))
    np.testing.assert_allclose(p[:, :2], own[:, :2], rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-5)
    assert (ops.convert_to_numpy(sharpen(logits, 0 * one, one, one))[:, 1] < 1e-6).all()


def test_chance_chooses_by_the_summed_probabilities_and_a_negative_one_the_likeliest():
    p = np.array([[0.2, 0.5, 0.3]] * 4, "float32")
    chance = np.array([[0.1], [0.3], [0.99], [-1.0]], "float32")
    assert ops.convert_to_numpy(choose(p, chance)).tolist() == [0, 1, 2, 1]


def test_two_routes_agree_the_likeliest_draw_is_read_off_the_joint_output(joint):
    """Codes drawn voice by voice, given back to the layer as known, are its likeliest again."""
    state, before = step(np.random.default_rng(2))
    one = np.ones((4, 1), "float32")
    codes, sounds = draw_voices(
        joint, state, before, chance=np.full((4, V), -1.0, "float32"), temperature=one, top_p=one
    )
    now = np.stack([sounds, codes], axis=-1)[:, None]
    logits = np.array(ops.convert_to_numpy(joint(state[:, None], now)))[:, 0]
    logits[..., 1] -= 1e9 * (before == 0)
    likeliest = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert (likeliest.argmax(axis=-1) == ops.convert_to_numpy(codes)).all()


def test_forced_codes_are_taken_and_holds_keep_the_sound(joint):
    state, before = step(np.random.default_rng(4))
    before[:] = 3
    one, forced = np.ones((4, 1), "float32"), np.full((4, V), -1.0, "float32")
    forced[:, 0], forced[:, 1] = 1, 4
    chance = np.random.default_rng(5).random((4, V)).astype("float32")
    codes, sounds = (
        ops.convert_to_numpy(drawn)
        for drawn in draw_voices(
            joint, state, before, chance=chance, temperature=one, top_p=one, forced=forced
        )
    )
    assert (codes[:, :2] == [1, 4]).all()
    assert (sounds[:, :2] == [3, 3]).all()


def test_batches_are_numbered_through_the_epochs():
    batches = Batches(2, lambda rng: rng.random(), seed=5)
    first = [batches[i] for i in range(len(batches))]
    batches.on_epoch_end()
    second = [batches[i] for i in range(2)]
    assert first + second == [np.random.default_rng([5, i]).random() for i in range(4)]


# What plain models read and write


def piece(steps, *, bar=16, upbeat=0, key=40):
    """Give a piece of one key, struck at each even step for one step, and one held below it."""
    even = np.arange(0, steps, 2)
    start, keys = np.append(even, 0), np.append(np.full(len(even), key), 20)
    length = np.append(np.ones(len(even), int), steps)
    position = ((np.arange(steps) - upbeat) % bar).astype(np.uint8)
    roll = draw_roll(start, keys, length, steps=steps)
    return Piece("a", roll, np.zeros((steps, 0), np.int16), position, bar, 0, 80.0)


def test_windows_begin_on_bar_lines_and_hold_what_sounds():
    pieces = [piece(40, upbeat=4, key=40), piece(36, bar=12, key=41)]
    windows = BarWindows(pieces, steps=16)
    assert windows.places == [(0, 4), (0, 20), (1, 0), (1, 12)]  # the others have no 16 steps left
    found = windows.cut(range(4))
    assert found.shape == (4, 16, 88)
    assert found.dtype == np.float32
    assert set(np.unique(found)) == {0.0, 1.0}
    for window, (i, start) in zip(found, windows.places, strict=True):
        there = sounding_keys(pieces[i].roll)[start : start + 16]
        np.testing.assert_array_equal(window > 0, there > 0)
        assert window[:, 20].all()


def test_a_piece_shorter_than_a_window_ends_in_silence():
    windows = BarWindows([piece(20), piece(21, upbeat=5)], steps=32)
    assert windows.places == [(0, 0), (1, 5)]  # a line of its first bar alone
    short, later = windows.cut([0, 1])
    assert short[:20, 20].all()
    assert later[:16, 20].all()
    assert not short[20:].any()
    assert not later[16:].any()
    assert BarWindows([piece(128)]).cut([0]).shape == (1, 128, 88)


def test_a_draw_of_windows_comes_from_its_generator_alone():
    windows = BarWindows([piece(400), piece(300, key=50)], steps=16)
    one, again, other = (windows.draw(9, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    many = windows.draw(2_000, np.random.default_rng(3))
    share = many[:, :, 40].any(axis=1).mean()  # of the first piece: 25 of its 43 places
    places = [i for i, _ in windows.places]
    assert (places.count(0), places.count(1)) == (25, 18)
    assert share == pytest.approx(25 / 43, abs=4 * 0.5 / np.sqrt(2_000))


def test_a_note_starts_where_its_key_was_silent_before():
    sounding = np.zeros((2, 6, 88))
    sounding[0, [0, 1, 3, 4], 40] = 1
    sounding[1, 5, 87] = 1.0
    first, second = rolls_of_keys(sounding)
    assert first.shape == (6, 88, 2)
    assert first.dtype == np.uint8
    assert first[:, 40].tolist() == [[1, 1], [0, 1], [0, 0], [1, 1], [0, 1], [0, 0]]
    assert first.sum() == 6
    assert np.argwhere(second).tolist() == [[5, 87, 0], [5, 87, 1]]


def test_rolls_of_keys_and_sounding_keys_undo_each_other():
    drawn = np.random.default_rng(7).random((3, 50, 88)) < 0.3
    back = np.stack([sounding_keys(roll) for roll in rolls_of_keys(drawn)])
    np.testing.assert_array_equal(back > 0, drawn)
    for again, roll in zip(rolls_of_keys(back), rolls_of_keys(drawn), strict=True):
        np.testing.assert_array_equal(again, roll)


# What the GAN's networks are made of


SOUNDS = 13  # a rest and twelve keys, the lowest a C


def array(x):
    return ops.convert_to_numpy(x)


def as_score(sounds, onsets):
    return np.append(np.eye(SOUNDS, dtype="float32")[sounds], onsets[..., None], axis=-1)


def test_the_odds_of_a_step_are_counts_over_chance():
    c, d, rest = 1, 3, 0
    sounds = np.array([[c, d, c, rest], [c, c, d, d]])[..., None]
    onsets = np.array([[1, 1, 1, 0], [1, 0, 1, 1]])[..., None]
    odds = step_odds(sounds, onsets, SOUNDS)
    assert odds.shape == (1, SOUNDS, SOUNDS)
    assert (odds[0, 0] == 1).all()
    assert (odds[0, :, 0] == 1).all()
    share = np.ones(SOUNDS - 1)
    share[[c - 1, d - 1]] += 4, 3
    share /= share.sum()
    # four moves onto an onset: up two, down two, up two, and a note struck again
    for step, count in ((2, 2), (-2, 1), (0, 1), (5, 0)):
        chance = sum(
            share[i] * share[i + step] for i in range(SOUNDS - 1) if 0 <= i + step < SOUNDS - 1
        )
        for i in range(1, SOUNDS):
            if 1 <= i + step < SOUNDS:
                assert odds[0, i, i + step] == pytest.approx((count + 1) / (4 * chance + 1))


def test_wishes_are_spread_over_the_sounds():
    usual = np.random.default_rng(9).normal(size=(2, 2, SOUNDS)).astype("float32")
    spread = Spread(usual, wishes(SOUNDS, 3))  # the lowest key is a C
    said = np.zeros((1, 4, 2, 14), "float32")
    np.testing.assert_allclose(array(spread(said))[0], np.tile(usual, (2, 1, 1)), atol=1e-6)
    said[0, 0, 1, 4], said[0, 1, 0, 12], said[0, 2, 0, 13] = 5, 7, 12
    more = array(spread(said))[0] - np.tile(usual, (2, 1, 1))
    assert np.flatnonzero(more[0, 1].round(4)).tolist() == [5]  # the E, the fifth sound
    assert np.flatnonzero(more[1, 0].round(4)).tolist() == [0]  # the rest
    np.testing.assert_allclose(more[2, 0], [0, *np.arange(-5.5, 6)], atol=1e-5)


def heard(sounds):
    """Give the ears, and what they are to hear: certain sounds (1, L, V)."""
    ears = Hearing(2, SOUNDS, lowest=3)
    sounds = np.array(sounds)[None]
    return ears, as_score(sounds, np.ones(sounds.shape, "float32"))


def test_ears_hear_chroma_and_intervals():
    c, e, g, rest = 1, 5, 8, 0
    ears, score = heard([[e, c], [c, g], [g, g], [rest, c]])
    chroma = ears.chroma(score)
    assert array(chroma)[0, :3, 0].argmax(axis=-1).tolist() == [4, 0, 7]
    assert array(chroma)[0, 3, 0].sum() == 0
    interval = array(ears.interval(chroma, 0, 1))[0]
    assert interval[:3].argmax(axis=-1).tolist() == [4, 5, 0]  # a third, a fourth, a unison
    assert interval.sum(axis=-1).tolist() == [1, 1, 1, 0]


def test_the_interval_of_blends_is_that_of_independent_draws():
    ears, score = heard([[1, 1]] * 4)
    score[0, 0, 0, :3] = [0.5, 0.25, 0.25]  # rest, C, C sharp, against C
    interval = array(ears.interval(ears.chroma(ops.convert_to_tensor(score)), 0, 1))[0, 0]
    np.testing.assert_allclose(interval, [0.25, 0.25, *[0] * 10], atol=1e-6)


def test_ears_hear_a_step_over_a_quarter():
    ears, score = heard([[3, 9], [3, 9], [5, 6], [5, 6]])
    melody = array(ears.melody(score))[0]
    assert melody.argmax(axis=-1).tolist() == [[9, 9], [9, 9], [11, 6], [11, 6]]
    np.testing.assert_allclose(melody[2, 0, [10, 11, 12]], np.exp([-2, 0, -2]), rtol=1e-5)
    assert ears(score).shape == (1, 4, 12 + 12 + 2 * 19)


def test_windows_go_to_eighths_and_scores_back_to_codes():
    codes = np.array([[2, 1, 1, 5, 0, 0, 6, 1]]).T[None]
    kept = np.array([[1, 1, 1, 4, 0, 0, 5, 5]]).T[None]
    sounds, onsets = to_eighths({"codes": codes, "sounds": kept})
    assert sounds[0, :, 0].tolist() == [1, 1, 0, 5]
    assert onsets[0, :, 0].tolist() == [1, 0, 0, 1]
    back = codes_of_scores(as_score(sounds, onsets))
    assert back[0, :, 0].tolist() == [2, 1, 1, 1, 0, 0, 6, 1]


def test_a_sound_that_changes_between_eighths_begins_there():
    codes, kept = np.array([[2, 3, 1, 1]]).T[None], np.array([[1, 2, 2, 2]]).T[None]
    sounds, onsets = to_eighths({"codes": codes, "sounds": kept})
    assert (sounds[0, :, 0].tolist(), onsets[0, :, 0].tolist()) == ([1, 2], [1, 1])


def test_decoding_gives_back_what_was_encoded():
    rng = np.random.default_rng(6)
    sounds = np.repeat(rng.integers(0, SOUNDS, (20, 4, 2)), rng.integers(1, 4, 4), axis=1)
    onsets = (sounds > 0) & (rng.random(sounds.shape) < 0.3)
    onsets[:, 1:] |= (sounds[:, 1:] != sounds[:, :-1]) & (sounds[:, 1:] > 0)
    onsets[:, 0] = sounds[:, 0] > 0
    codes = codes_of_scores(as_score(sounds, onsets))
    kept = np.repeat(sounds, 2, axis=1)
    again = to_eighths({"codes": codes, "sounds": kept})
    assert (again[0] == sounds).all()
    assert (again[1] == onsets).all()
