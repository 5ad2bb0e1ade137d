"""The GAN of notebook 03: gate, generator, critic and penalty, and the choice of weights."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
from keras import layers, ops  # noqa: E402

from musiclib.codec import N_REGISTERS  # noqa: E402
from study import models  # noqa: E402
from study.runner import NOTEBOOKS, load_cells  # noqa: E402

S = 13  # a rest and twelve keys, the lowest a C
BARS, BEATS = 2, 1
L = 2 * BARS * BEATS


def load(voices):
    keras.utils.set_random_seed(1)
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np, "tf": tf}
    space |= {"codec": SimpleNamespace(lowest=3)}
    space |= {"V": voices, "S": S, "BARS": BARS, "PATCHES": L // 2, "L": L}
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
    reach = models.wishes(S, 3)
    return *models.marginals(*made, S), models.step_odds(*made, S), reach


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
    assert cells["build_critic"](8, ears=True)([score, register]).shape == (3, 1)


def test_a_sound_lasts_until_the_next_onset(cells):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1, 4, 2, S)).astype("float32")
    struck = np.array([[0, 0], [1, 0], [0, 0], [1, 1]])  # the first step begins in any case
    onsets = (20.0 * (2 * struck - 1))[None].astype("float32")
    half = np.full((1, 4, 2), 0.5, "float32")
    score = array(cells["OnsetGate"](EVEN)(logits, onsets, half, nothing(), training=True))[0]
    p = np.exp(3 * logits[0]) / np.exp(3 * logits[0]).sum(axis=-1, keepdims=True)
    by_hand = np.stack([p[[0, 1, 1, 3], 0], p[[0, 0, 0, 3], 1]], axis=1)
    np.testing.assert_allclose(score[..., :-1], by_hand, atol=1e-6)
    np.testing.assert_allclose(score[..., -1], [[1, 1], [1, 0], [0, 0], [1, 1]], atol=1e-6)


def test_the_next_sound_is_weighed_by_its_step_from_the_one_before(cells):
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(1, 3, 2, S)).astype("float32")
    odds = rng.uniform(0.1, 9.0, (2, S, S)).astype("float32")
    gate, half = cells["OnsetGate"](odds), np.full((1, 3, 2), 0.5, "float32")
    onsets = np.full((1, 3, 2), 20.0, "float32")
    score = array(gate(logits, onsets, half, nothing(), training=True))[0]
    for v in range(2):
        p = np.exp(3 * logits[0, 0, v]) / np.exp(3 * logits[0, 0, v]).sum()
        for t in (1, 2):
            weighed = np.exp(3 * logits[0, t, v]) * (p @ odds[v] + 1e-4)
            p = weighed / weighed.sum()
            np.testing.assert_allclose(score[t, v, :-1], p, rtol=1e-4, atol=1e-6)
    assert not gate.trainable_variables


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
    score = array(cells["OnsetGate"](odds)(logits, onsets, half, nothing()))[0]
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
    gate, before, last = cells["OnsetGate"](odds), nothing(), (4, 2)
    before[0, [0, 1], last] = 1
    score = array(gate(logits, onsets, half, before, training=True))[0]
    for v in range(2):
        weighed = np.exp(3 * logits[0, 0, v]) * (odds[v, last[v]] + 1e-4)
        np.testing.assert_allclose(score[0, v, :-1], weighed / weighed.sum(), rtol=1e-4)
    assert (score[0, :, -1] == 1).all()  # it begins anew all the same
    np.testing.assert_array_equal(score[1, :, :-1], score[0, :, :-1])


def test_each_rung_has_the_same_shapes_and_its_own_ears_and_wishes(cells):
    rng = np.random.default_rng(13)
    cells["sounds"], cells["onsets"] = windows(rng)
    given, shapes = noise(rng, cells), {}
    for ears, odds in ((False, False), (True, False), (True, True)):
        generator, mean, critic = cells["build"](8, ears=ears, odds=odds)
        for old, new in zip(mean.weights, generator.weights, strict=True):
            np.testing.assert_array_equal(array(old), array(new))
        score, soft = generator(given), generator(given, training=True)
        assert score.shape == soft.shape == (3, L, 2, S + 1)
        np.testing.assert_allclose(array(soft)[..., :-1].sum(axis=-1), 1, atol=1e-5)
        register = ops.convert_to_tensor(given["register"])
        assert critic([score, register]).shape == (3, 1)
        wishes = generator.get_layer("wishes_by_voice").output.shape[-1]
        even = (array(generator.get_layer("gate").odds) == 1).all()
        shapes[ears, odds] = (wishes, even, critic.get_layer("quarters").output.shape[-1])
    known = 2 * 2 * (S + 1) + N_REGISTERS  # of a quarter: two eighths of two voices, the register
    heard = 2 * (12 + 12 + 2 * 19)  # of two eighths: chroma, one pair's interval, two melodies
    assert shapes == {
        (False, False): (S, True, known),
        (True, False): (S, True, known + heard),
        (True, True): (14, False, known + heard),
    }


def test_without_wishes_the_generator_starts_from_the_marginals_too(cells):
    begin = models.marginals(*windows(np.random.default_rng(14), n=40), S)
    generator = cells["build_generator"](8, *begin, EVEN, np.eye(S, dtype="float32"))
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


def test_the_penalty_of_a_linear_critic(cells):
    weights = np.random.default_rng(4).normal(size=(L, 2, S + 1)).astype("float32")

    def critic(inputs):
        return tf.reduce_sum(inputs[0] * weights, axis=[1, 2, 3])[:, None]

    score = tf.random.stateless_uniform((3, L, 2, S + 1), seed=(0, 1))
    penalty = float(cells["gradient_penalty"](critic, score, [tf.zeros(3, "int32")]))
    assert penalty == pytest.approx((np.linalg.norm(weights) - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("registers", [0, 1])
def test_each_step_moves_its_own_network_and_the_running_mean(cells, registers):
    """The same steps train pictures, of which a critic knows nothing else, and voices."""
    keras.utils.set_random_seed(2)
    known = [tf.zeros(3, "int32")] * registers
    music, noises = (5, 4), np.random.default_rng(16).normal(size=(3, 6)).astype("float32")
    generator, mean = (
        keras.Sequential([keras.Input((6,)), layers.Dense(20), layers.Reshape(music)])
        for _ in range(2)
    )
    given = [keras.Input(music), *(keras.Input((), dtype="int32") for _ in known)]
    critic = keras.Model(given, layers.Dense(1)(layers.Flatten()(given[0])))
    adam = keras.optimizers.SGD(0.1)
    before = [[array(v) for v in net.trainable_variables] for net in (generator, mean, critic)]
    real = np.ones((3, *music), "float32")
    weights = before[2][0][:, 0]
    d_loss, wasserstein, penalty = cells["critic_step"](
        generator, critic, adam, real, np.full((3, 1, 1), 0.5, "float32"), known, noises
    )
    fake = array(generator(noises)).reshape(3, -1)
    gap = (real.reshape(3, -1) @ weights).mean() - (fake @ weights).mean()
    assert float(wasserstein) == pytest.approx(gap, rel=1e-4)
    assert float(penalty) == pytest.approx((np.linalg.norm(weights) - 1) ** 2, rel=1e-4)
    assert float(d_loss) == pytest.approx(10 * float(penalty) - gap, rel=1e-4)
    after = [[array(v) for v in net.trainable_variables] for net in (generator, mean, critic)]
    np.testing.assert_array_equal(before[0][0], after[0][0])
    assert not np.array_equal(before[2][0], after[2][0])
    g_loss = cells["generator_step"](
        generator, mean, 0.75, critic, keras.optimizers.SGD(0.1), known, noises
    )
    assert float(g_loss) == pytest.approx(-(fake @ after[2][0][:, 0]).mean() - after[2][1][0], 1e-3)
    for old, new, kept in zip(before[1], generator.trainable_variables, mean.weights, strict=True):
        np.testing.assert_allclose(
            array(kept), 0.75 * old + 0.25 * array(new), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(array(critic.trainable_variables[0]), after[2][0])


def test_the_generators_biases_are_the_marginals(cells):
    rng = np.random.default_rng(5)
    sounds, onsets = windows(rng, n=40)
    generator = cells["build_generator"](8, *start(cells, sounds, onsets))
    for name in ("wishes", "onsets"):
        kernel = generator.get_layer(name).kernel
        kernel.assign(ops.zeros_like(kernel))
    names = ("sound_logits", "onsets_by_voice")
    logits = keras.Model(generator.inputs, [generator.get_layer(n).output for n in names])
    given = noise(rng, cells, n=1)
    sound, onset = (array(x)[0] for x in logits([given[k.name] for k in generator.inputs]))
    p = array(ops.softmax(cells["SCALE"] * sound))
    for half, v in np.ndindex(2, 2):
        counted = np.bincount(sounds[:, half::2, v].ravel(), minlength=S) + 1
        np.testing.assert_allclose(p[half::2, v], [counted / counted.sum()] * (L // 2), atol=1e-5)
        rate = onsets[:, [t for t in range(1, L) if t % 2 == half], v].mean()
        np.testing.assert_allclose(1 / (1 + np.exp(-onset[half::2, v])), rate, atol=1e-5)


def test_a_generator_of_bars_that_are_no_whole_quarters():
    """7/8: four bars of 3.5 quarters are 14 quarters, 28 eighths."""
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np, "tf": tf}
    space |= {"codec": SimpleNamespace(lowest=3)}
    space |= {"V": 2, "S": S, "BARS": 4, "PATCHES": 14, "L": 28}
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
    space = {"np": np}
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
