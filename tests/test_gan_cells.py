"""The GAN of notebook 03: gate, ears, penalty, marginals, the way to codes and back."""

from __future__ import annotations

import ast
import itertools
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
from keras import layers, ops  # noqa: E402

from musiclib import distance  # noqa: E402
from musiclib.codec import N_REGISTERS  # noqa: E402
from study.runner import NOTEBOOKS, load_cells  # noqa: E402

S = 13  # a rest and twelve keys, the lowest a C
BARS, BEATS = 2, 1
L = 2 * BARS * BEATS


def load(voices):
    keras.utils.set_random_seed(1)
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np, "tf": tf}
    space |= {"itertools": itertools, "codec": SimpleNamespace(lowest=3)}
    space |= {"V": voices, "S": S, "BARS": BARS, "BEATS": BEATS, "PATCHES": L // 2, "L": L}
    return load_cells("03_gan", "model", space)


@pytest.fixture(scope="module")
def cells():
    return load(2)


def windows(rng, n=6, voices=2):
    """Draw sounds and onsets on the eighth grid in which every change of sound begins a note."""
    sounds = rng.integers(0, S, (n, L, voices))
    sounds[:, 1::2] = np.where(
        rng.random((n, L // 2, voices)) < 0.5, sounds[:, ::2], sounds[:, 1::2]
    )
    onsets = sounds > 0
    onsets[:, 1:] &= (sounds[:, 1:] != sounds[:, :-1]) | (rng.random((n, L - 1, voices)) < 0.3)
    return sounds, onsets.astype("float32")


def nothing(n=1, voices=2):
    return np.zeros((n, voices, S), "float32")


def noise(rng, cells, n=3, voices=2):
    return {
        "piece_noise": rng.normal(size=(n, cells["PIECE_NOISE"])).astype("float32"),
        "bar_noise": rng.normal(size=(n, BARS, cells["BAR_NOISE"])).astype("float32"),
        "onset_noise": rng.uniform(0.01, 0.99, (n, L, voices)).astype("float32"),
        "register": rng.integers(0, 12, n).astype("int32"),
        "before": nothing(n, voices=voices),
    }


EVEN = np.ones((2, S, S), "float32")  # odds that know of no step


def start(cells, *made):
    return *cells["marginals"](*made), cells["step_odds"](*made)


def array(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("voices", [1, 2, 3])
def test_both_networks_take_any_number_of_voices(voices):
    cells, rng = load(voices), np.random.default_rng(0)
    begin = start(cells, *windows(rng, voices=voices))
    given = noise(rng, cells, voices=voices)
    generator = cells["build_generator"](8, *begin)
    soft, score = generator(given, training=True), generator(given)
    assert soft.shape == score.shape == (3, L, voices, S + 1)
    np.testing.assert_allclose(array(soft)[..., :-1].sum(axis=-1), 1, atol=1e-5)
    assert array(soft)[..., :-1].max() < 1
    assert set(np.unique(array(score)[..., :-1])) == {0.0, 1.0}
    assert (array(score)[..., -1] == array(soft)[..., -1]).all()
    assert set(np.unique(array(score)[..., -1].round(6))) <= {0.0, 1.0}
    register = ops.convert_to_tensor(given["register"])
    assert cells["build_critic"](8)([score, register]).shape == (3, 1)


def test_a_sound_lasts_until_the_next_onset(cells):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1, 4, 2, S)).astype("float32")
    struck = np.array([[0, 0], [1, 0], [0, 0], [1, 1]])  # the first step begins in any case
    onsets = (20.0 * (2 * struck - 1))[None].astype("float32")
    half = np.full((1, 4, 2), 0.5, "float32")
    score = array(
        cells["OnsetGate"](EVEN, scale=3.0)(logits, onsets, half, nothing(), training=True)
    )[0]
    p = np.exp(3 * logits[0]) / np.exp(3 * logits[0]).sum(axis=-1, keepdims=True)
    by_hand = np.stack([p[[0, 1, 1, 3], 0], p[[0, 0, 0, 3], 1]], axis=1)
    np.testing.assert_allclose(score[..., :-1], by_hand, atol=1e-6)
    np.testing.assert_allclose(score[..., -1], [[1, 1], [1, 0], [0, 0], [1, 1]], atol=1e-6)


def test_the_next_sound_is_weighed_by_its_step_from_the_one_before(cells):
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(1, 3, 2, S)).astype("float32")
    odds = rng.uniform(0.1, 9.0, (2, S, S)).astype("float32")
    gate, half = cells["OnsetGate"](odds, scale=3.0), np.full((1, 3, 2), 0.5, "float32")
    onsets = np.full((1, 3, 2), 20.0, "float32")
    score = array(gate(logits, onsets, half, nothing(), training=True))[0]
    for v in range(2):
        p = np.exp(3 * logits[0, 0, v]) / np.exp(3 * logits[0, 0, v]).sum()
        for t in (1, 2):
            weighed = np.exp(3 * logits[0, t, v]) * (p @ odds[v] + 1e-4)
            p = weighed / weighed.sum()
            np.testing.assert_allclose(score[t, v, :-1], p, rtol=1e-4, atol=1e-6)
    assert not gate.trainable_variables


def test_the_odds_of_a_step_are_counts_over_chance(cells):
    c, d, rest = 1, 3, 0
    sounds = np.array([[c, d, c, rest], [c, c, d, d]])[..., None]
    onsets = np.array([[1, 1, 1, 0], [1, 0, 1, 1]])[..., None]
    odds = cells["step_odds"](sounds, onsets)
    assert odds.shape == (1, S, S)
    assert (odds[0, 0] == 1).all()
    assert (odds[0, :, 0] == 1).all()
    share = np.ones(S - 1)
    share[[c - 1, d - 1]] += 4, 3
    share /= share.sum()
    # four moves onto an onset: up two, down two, up two, and a note struck again
    for step, count in ((2, 2), (-2, 1), (0, 1), (5, 0)):
        chance = sum(share[i] * share[i + step] for i in range(S - 1) if 0 <= i + step < S - 1)
        for i in range(1, S):
            if 1 <= i + step < S:
                assert odds[0, i, i + step] == pytest.approx((count + 1) / (4 * chance + 1))


def test_onsets_are_drawn_with_their_probability_and_pass_a_gradient(cells):
    gate, rng = cells["OnsetGate"](EVEN), np.random.default_rng(2)
    logits = tf.fill((1, 20_001, 1), 0.8)
    u = rng.uniform(1e-4, 1 - 1e-4, logits.shape).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        drawn = gate.strike(logits, u)
    share = array(drawn)[0, 1:].mean()
    assert share == pytest.approx(1 / (1 + np.exp(-0.8)), abs=4 * 0.5 / np.sqrt(20_000))
    slope = array(tape.gradient(drawn, logits))[0, :, 0]
    assert slope[0] == 0
    assert (slope[1:] > 0).mean() > 0.9


def test_what_is_written_goes_on_from_the_note_that_sounds(cells):
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(1, 4, 2, S)).astype("float32")
    odds = rng.uniform(0.01, 9.0, (2, S, S)).astype("float32")
    onsets, half = np.full((1, 4, 2), 20.0, "float32"), np.full((1, 4, 2), 0.5, "float32")
    onsets[0, 2, 1] = -20.0
    score = array(cells["OnsetGate"](odds, scale=3.0)(logits, onsets, half, nothing()))[0]
    for v in range(2):
        note, by_hand = logits[0, 0, v].argmax(), []
        for t in range(4):
            if t and onsets[0, t, v] > 0:
                note = (3 * logits[0, t, v] + np.log(odds[v, note] + 1e-4)).argmax()
            by_hand.append(note)
        assert score[:, v, :-1].argmax(axis=-1).tolist() == by_hand
        assert (score[:, v, :-1].max(axis=-1) == 1).all()


def test_the_first_note_is_weighed_by_its_step_from_what_sounded_before(cells):
    rng = np.random.default_rng(11)
    logits = rng.normal(size=(1, 2, 2, S)).astype("float32")
    odds = rng.uniform(0.01, 9.0, (2, S, S)).astype("float32")
    onsets, half = np.full((1, 2, 2), -20.0, "float32"), np.full((1, 2, 2), 0.5, "float32")
    gate, before, last = cells["OnsetGate"](odds, scale=3.0), nothing(), (4, 2)
    before[0, [0, 1], last] = 1
    score = array(gate(logits, onsets, half, before, training=True))[0]
    for v in range(2):
        weighed = np.exp(3 * logits[0, 0, v]) * (odds[v, last[v]] + 1e-4)
        np.testing.assert_allclose(score[0, v, :-1], weighed / weighed.sum(), rtol=1e-4)
    assert (score[0, :, -1] == 1).all()  # it begins anew all the same
    np.testing.assert_array_equal(score[1, :, :-1], score[0, :, :-1])


def test_wishes_are_spread_over_the_sounds(cells):
    usual = np.random.default_rng(9).normal(size=(2, 2, S)).astype("float32")
    spread = cells["Spread"](usual, lowest=3)  # the lowest key is a C
    wishes = np.zeros((1, 4, 2, 14), "float32")
    np.testing.assert_allclose(array(spread(wishes))[0], np.tile(usual, (2, 1, 1)), atol=1e-6)
    wishes[0, 0, 1, 4], wishes[0, 1, 0, 12], wishes[0, 2, 0, 13] = 5, 7, 12
    more = array(spread(wishes))[0] - np.tile(usual, (2, 1, 1))
    assert np.flatnonzero(more[0, 1].round(4)).tolist() == [5]  # the E, the fifth sound
    assert np.flatnonzero(more[1, 0].round(4)).tolist() == [0]  # the rest
    np.testing.assert_allclose(more[2, 0], [0, *np.arange(-5.5, 6)], atol=1e-5)


def test_a_spread_that_does_not_wish_takes_each_sounds_own_logit(cells):
    rng = np.random.default_rng(12)
    usual = rng.normal(size=(2, 2, S)).astype("float32")
    own = rng.normal(size=(3, 4, 2, S)).astype("float32")
    spread = cells["Spread"](usual, lowest=3, wishing=False)
    np.testing.assert_allclose(array(spread(own)), own + np.tile(usual, (2, 1, 1)), atol=1e-6)


def test_without_its_helps_the_gan_has_the_same_shapes_and_hears_nothing(cells):
    """The control: no step odds, no ears, no wishes; the score and the mark are as before."""
    rng = np.random.default_rng(13)
    begin, given = cells["marginals"](*windows(rng)), noise(rng, cells)
    shapes = {}
    for helped in (True, False):
        generator = cells["build_generator"](8, *begin, EVEN, wishing=helped)
        critic = cells["build_critic"](8, hearing=helped)
        score, soft = generator(given), generator(given, training=True)
        assert score.shape == soft.shape == (3, L, 2, S + 1)
        np.testing.assert_allclose(array(soft)[..., :-1].sum(axis=-1), 1, atol=1e-5)
        register = ops.convert_to_tensor(given["register"])
        mark = critic([score, register])
        assert mark.shape == (3, 1)
        names = ("sound_logits", "each_voice")
        sizes = [generator.get_layer(name).output.shape[-1] for name in names]
        shapes[helped] = (*sizes, critic.get_layer("quarters").output.shape[-1])
    known = 2 * 2 * (S + 1) + N_REGISTERS  # of a quarter: two eighths of two voices, the register
    heard = 2 * (12 + 12 + 2 * 19)  # of two eighths: chroma, one pair's interval, two melodies
    assert shapes == {True: (S, cells["WISHES"], known + heard), False: (S, S, known)}


def test_without_wishes_the_generator_starts_from_the_marginals_too(cells):
    begin = cells["marginals"](*windows(np.random.default_rng(14), n=40))
    generator = cells["build_generator"](8, *begin, EVEN, wishing=False)
    kernel = generator.get_layer("wishes").kernel
    kernel.assign(ops.zeros_like(kernel))
    logits = keras.Model(generator.inputs, generator.get_layer("sound_logits").output)
    given = noise(np.random.default_rng(15), cells, n=1)
    p = array(ops.softmax(cells["SCALE"] * logits([given[k.name] for k in generator.inputs])))[0]
    for half in range(2):
        np.testing.assert_allclose(p[half], np.exp(begin[0][half]), atol=1e-5)


def test_the_largest_sound_changes_only_where_an_onset_is(cells):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(5, L, 2, S)).astype("float32")
    onsets, u = rng.normal(size=(5, L, 2)), rng.uniform(0.01, 0.99, (5, L, 2))
    score = array(
        cells["OnsetGate"](EVEN)(logits, onsets.astype("float32"), u.astype("float32"), nothing(5))
    )
    sound = score[..., :-1].argmax(axis=-1)
    changed = sound[:, 1:] != sound[:, :-1]
    assert changed.any()
    assert (score[:, 1:, :, -1][changed] > 0.5).all()


def heard(cells, sounds):
    """Give the ears, and what they are to hear: certain sounds (1, L, V)."""
    ears = cells["Hearing"](2, S, lowest=3)
    sounds = np.array(sounds)[None]
    return ears, cells["as_score"](sounds, np.ones(sounds.shape, "float32"))


def test_ears_hear_chroma_and_intervals(cells):
    c, e, g, rest = 1, 5, 8, 0
    ears, score = heard(cells, [[e, c], [c, g], [g, g], [rest, c]])
    chroma = ears.chroma(score)
    assert array(chroma)[0, :3, 0].argmax(axis=-1).tolist() == [4, 0, 7]
    assert array(chroma)[0, 3, 0].sum() == 0
    interval = array(ears.interval(chroma, 0, 1))[0]
    assert interval[:3].argmax(axis=-1).tolist() == [4, 5, 0]  # a third, a fourth, a unison
    assert interval.sum(axis=-1).tolist() == [1, 1, 1, 0]


def test_the_interval_of_blends_is_that_of_independent_draws(cells):
    ears, score = heard(cells, [[1, 1]] * 4)
    score = array(score)
    score[0, 0, 0, :3] = [0.5, 0.25, 0.25]  # rest, C, C sharp, against C
    interval = array(ears.interval(ears.chroma(ops.convert_to_tensor(score)), 0, 1))[0, 0]
    np.testing.assert_allclose(interval, [0.25, 0.25, *[0] * 10], atol=1e-6)


def test_ears_hear_a_step_over_a_quarter(cells):
    ears, score = heard(cells, [[3, 9], [3, 9], [5, 6], [5, 6]])
    melody = array(ears.melody(score))[0]
    assert melody.argmax(axis=-1).tolist() == [[9, 9], [9, 9], [11, 6], [11, 6]]
    np.testing.assert_allclose(melody[2, 0, [10, 11, 12]], np.exp([-2, 0, -2]), rtol=1e-5)
    assert ears(score).shape == (1, 4, 12 + 12 + 2 * 19)


def test_the_penalty_of_a_linear_critic(cells):
    weights = np.random.default_rng(4).normal(size=(L, 2, S + 1)).astype("float32")

    def critic(inputs):
        return tf.reduce_sum(inputs[0] * weights, axis=[1, 2, 3])[:, None]

    score = tf.random.stateless_uniform((3, L, 2, S + 1), seed=(0, 1))
    penalty = float(cells["gradient_penalty"](critic, score, tf.zeros(3, "int32")))
    assert penalty == pytest.approx((np.linalg.norm(weights) - 1) ** 2, rel=1e-5)


def test_the_generators_biases_are_the_marginals(cells):
    rng = np.random.default_rng(5)
    sounds, onsets = windows(rng, n=40)
    generator = cells["build_generator"](8, *start(cells, sounds, onsets))
    for name in ("wishes", "onsets"):
        kernel = generator.get_layer(name).kernel
        kernel.assign(ops.zeros_like(kernel))
    names = ("sound_logits", "onset_logits")
    logits = keras.Model(generator.inputs, [generator.get_layer(n).output for n in names])
    given = noise(rng, cells, n=1)
    sound, onset = (array(x)[0] for x in logits([given[k.name] for k in generator.inputs]))
    p = array(ops.softmax(cells["SCALE"] * sound))
    for half, v in np.ndindex(2, 2):
        counted = np.bincount(sounds[:, half::2, v].ravel(), minlength=S) + 1
        np.testing.assert_allclose(p[half::2, v], [counted / counted.sum()] * (L // 2), atol=1e-5)
        rate = onsets[:, [t for t in range(1, L) if t % 2 == half], v].mean()
        np.testing.assert_allclose(1 / (1 + np.exp(-onset[half::2, v])), rate, atol=1e-5)


def test_windows_go_to_eighths_and_scores_back_to_codes(cells):
    codes = np.array([[2, 1, 1, 5, 0, 0, 6, 1]]).T[None]
    kept = np.array([[1, 1, 1, 4, 0, 0, 5, 5]]).T[None]
    sounds, onsets = cells["to_eighths"]({"codes": codes, "sounds": kept})
    assert sounds[0, :, 0].tolist() == [1, 1, 0, 5]
    assert onsets[0, :, 0].tolist() == [1, 0, 0, 1]
    back = cells["decode"](array(cells["as_score"](sounds, onsets)))
    assert back[0, :, 0].tolist() == [2, 1, 1, 1, 0, 0, 6, 1]


def test_a_sound_that_changes_between_eighths_begins_there(cells):
    codes, kept = np.array([[2, 3, 1, 1]]).T[None], np.array([[1, 2, 2, 2]]).T[None]
    sounds, onsets = cells["to_eighths"]({"codes": codes, "sounds": kept})
    assert (sounds[0, :, 0].tolist(), onsets[0, :, 0].tolist()) == ([1, 2], [1, 1])


def test_decoding_gives_back_what_was_encoded(cells):
    sounds, onsets = windows(np.random.default_rng(6), n=20)
    codes = cells["decode"](array(cells["as_score"](sounds, onsets)))
    kept = np.repeat(sounds, 2, axis=1)
    again = cells["to_eighths"]({"codes": codes, "sounds": kept})
    assert (again[0] == sounds).all()
    assert (again[1] == onsets).all()


def test_a_generator_of_bars_that_are_no_whole_quarters():
    """7/8: four bars of 3.5 quarters are 14 quarters, 28 eighths."""
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np, "tf": tf}
    space |= {"itertools": itertools, "codec": SimpleNamespace(lowest=3)}
    space |= {"V": 2, "S": S, "BARS": 4, "BEATS": 4, "PATCHES": 14, "L": 28}
    cells, rng = load_cells("03_gan", "model", space), np.random.default_rng(0)
    sounds = rng.integers(0, S, (3, 28, 2))
    generator = cells["build_generator"](8, *start(cells, sounds, (sounds > 0).astype("float32")))
    given = {
        "piece_noise": rng.normal(size=(3, cells["PIECE_NOISE"])).astype("float32"),
        "bar_noise": rng.normal(size=(3, 4, cells["BAR_NOISE"])).astype("float32"),
        "onset_noise": rng.uniform(0.01, 0.99, (3, 28, 2)).astype("float32"),
        "register": np.zeros(3, "int32"),
        "before": nothing(3),
    }
    assert generator(given).shape == (3, 28, 2, S + 1)


def test_a_stretch_without_a_distance_ranks_last():
    """The rule by which notebook 03 keeps weights, alone."""
    node = nbformat.read(NOTEBOOKS / "03_gan.ipynb", as_version=4)
    source = next(c.source for c in node.cells if "def rank(" in c.source)
    found = next(part for part in ast.parse(source).body if getattr(part, "name", "") == "rank")
    space = {"ruler": distance}
    exec(compile(ast.Module([found], []), "rank", "exec"), space)
    rows = [
        {"inside": 1.0, "distance": np.nan}, {"inside": 0.0, "distance": 9.0},
        {"inside": 0.0, "distance": 0.4}, {"inside": 0.9, "distance": 1.2},
        {"inside": 0.7, "distance": 1.0},
    ]  # fmt: skip
    best = [1.0, np.inf]
    for row in rows:  # as the training loop does it, the worst first
        assert space["rank"](row) < best
        best = space["rank"](row)
    assert not space["rank"](rows[0]) < space["rank"](rows[1])
