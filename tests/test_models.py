"""study.models: the joint output, and draws under temperature and top-p."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from study.models import Batches, JointOutput, choose, draw_voices, favour, sharpen  # noqa: E402

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
