"""The plain models of notebooks 02 to 04, as the paper's text says them: tiny ones, by hand."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from study.runner import load_cells  # noqa: E402

KEYS, STEPS = 88, 128


def array(x):
    return np.array(ops.convert_to_numpy(x))


def load(notebook, tags=("plain",), **more):
    keras.utils.set_random_seed(1)
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np} | more
    for tag in tags:
        load_cells(notebook, tag, space)
    return space


def some_keys(seed, n=2, steps=STEPS):
    return (np.random.default_rng(seed).random((n, steps, KEYS)) < 0.1).astype("float32")


def cross_entropy(logits, target):
    """Return nats of each yes or no with this logit, by hand."""
    p = 1 / (1 + np.exp(-np.asarray(logits, float)))
    return -np.where(np.asarray(target) > 0, np.log(p), np.log(1 - p))


def assert_is_music(rolls, sounding):
    """Check that rolls hold what sounds, and an onset wherever the step before was silent."""
    for roll, sound in zip(rolls, np.asarray(sounding, bool), strict=True):
        assert roll.shape == (*sound.shape, 2)
        np.testing.assert_array_equal(roll[..., 1] > 0, sound)
        before = np.concatenate([np.zeros((1, KEYS), bool), sound[:-1]])
        np.testing.assert_array_equal(roll[..., 0] > 0, sound & ~before)


# LSTM


@pytest.fixture(scope="module")
def lstm():
    return load("02_lstm")


@pytest.fixture(scope="module")
def small_lstm(lstm):
    """A plain LSTM whose weights are all drawn, so that every path counts."""
    model, rng = lstm["build_plain"](5), np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.8)
    return model


def test_the_plain_lstm_gives_each_key_a_chance_at_any_length(small_lstm):
    for steps in (1, 9):
        chance = array(small_lstm(some_keys(0, n=3, steps=steps)))
        assert chance.shape == (3, steps, KEYS)
        assert ((chance > 0) & (chance < 1)).all()


def test_what_it_reads_is_one_step_late(lstm):
    x = some_keys(1, n=2, steps=6)
    late, target = lstm["one_step_late"](x)
    assert late.shape == x.shape
    assert not late[:, 0].any()
    np.testing.assert_array_equal(late[:, 1:], x[:, :-1])
    np.testing.assert_array_equal(target, x)


@pytest.mark.parametrize("t", [0, 4, 7])
def test_a_step_decides_no_chance_up_to_its_own(lstm, small_lstm, t):
    x = some_keys(2, n=1, steps=9)
    other = x.copy()
    other[0, t] = 1 - other[0, t]
    a, b = (array(small_lstm(lstm["one_step_late"](music)[0])) for music in (x, other))
    np.testing.assert_array_equal(a[:, : t + 1], b[:, : t + 1])
    assert (np.abs(a - b)[0, t + 1 :].max(axis=-1) > 1e-6).all()


def test_its_loss_is_binary_cross_entropy_and_times_88_nats_per_step(lstm, small_lstm):
    given, target = lstm["one_step_late"](some_keys(3, n=2, steps=5))
    chance = array(small_lstm(given)).astype(float)
    by_hand = -np.where(target > 0, np.log(chance), np.log(1 - chance))
    small_lstm.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", jit_compile=False)
    loss = small_lstm.evaluate(given, target, verbose=0)
    assert loss == pytest.approx(by_hand.mean(), rel=1e-4)
    assert 88 * loss == pytest.approx(by_hand.sum(axis=-1).mean(), rel=1e-4)
    tiny = keras.losses.binary_crossentropy(np.array([[1.0, 0.0]]), np.array([[0.25, 0.5]]))
    assert float(tiny[0]) == pytest.approx((np.log(4) + np.log(2)) / 2, rel=1e-5)


class Recorded:
    """Numbers that were drawn, kept to be read again."""

    def __init__(self, seed):
        self.rng, self.drawn = np.random.default_rng(seed), []

    def random(self, shape):
        self.drawn.append(self.rng.random(shape))
        return self.drawn[-1]


def test_two_routes_agree_on_what_the_plain_lstm_writes(lstm, small_lstm):
    """Step by step with weights copied, and one pass of the model over what was written."""
    before = [w.copy() for w in small_lstm.get_weights()]
    rng = Recorded(4)
    rolls = lstm["write_plain"](small_lstm, 3, rng, steps=12)
    written = np.stack(rolls)[..., 1].astype("float32")
    chance = array(small_lstm(lstm["one_step_late"](written)[0]))
    drawn = np.concatenate(rng.drawn, axis=1)
    assert drawn.shape == chance.shape == (3, 12, KEYS)
    clear = np.abs(chance - drawn) > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((chance > drawn)[clear], (written > 0)[clear])
    assert 0.1 < written.mean() < 0.9
    assert_is_music(rolls, written)
    for mine, kept in zip(small_lstm.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, kept)


def test_the_writer_gives_the_same_chances_as_one_pass(lstm, small_lstm):
    writer, x = lstm["build_plain"](5, pieces=2), some_keys(5, n=2, steps=8)
    for layer, trained in zip(writer.layers, small_lstm.layers, strict=True):
        layer.set_weights(trained.get_weights())
    one_by_one = [array(writer(x[:, t : t + 1])) for t in range(8)]
    np.testing.assert_allclose(np.concatenate(one_by_one, axis=1), array(small_lstm(x)), atol=1e-5)


def test_with_a_threshold_the_plain_lstm_draws_nothing(lstm, small_lstm):
    one, two = (
        lstm["write_plain"](small_lstm, 2, Recorded(s), steps=6, threshold=0.5) for s in (0, 1)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[0], one[1])  # all begin alike, so all go on alike
    x = np.stack(one)[..., 1].astype("float32")
    chance = array(small_lstm(lstm["one_step_late"](x)[0]))
    np.testing.assert_array_equal(chance > 0.5, x > 0)
    assert not np.stack(lstm["write_plain"](small_lstm, 1, Recorded(0), steps=3, threshold=1)).any()


# GAN


@pytest.fixture(scope="module")
def gan():
    return load("03_gan", tf=pytest.importorskip("tensorflow"))


@pytest.fixture
def pair(gan):
    keras.utils.set_random_seed(3)
    return gan["build_plain_generator"](6), gan["build_plain_discriminator"](6)


def noise(seed, n=4):
    return np.random.default_rng(seed).standard_normal((n, 64)).astype("float32")


def test_the_plain_generator_gives_pictures_and_the_discriminator_a_logit(pair):
    generator, discriminator = pair
    chance = array(generator(noise(0)))
    assert chance.shape == (4, STEPS, KEYS)
    assert ((chance > 0) & (chance < 1)).all()
    assert discriminator(chance).shape == (4, 1)
    assert discriminator.layers[-1].activation is keras.activations.linear
    assert len({row.tobytes() for row in chance}) == 4


def without_dropout(discriminator):
    for layer in discriminator.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0


def adams(*rates):
    return [keras.optimizers.SGD(rate) for rate in rates]


def test_losses_of_the_plain_gan_by_hand_from_logits(gan, pair):
    generator, discriminator = pair
    without_dropout(discriminator)
    real, first, second = some_keys(6, n=4), noise(1), noise(2)
    real_logits = array(discriminator(real))
    fake, later = (array(discriminator(generator(z))) for z in (first, second))
    step = gan["plain_step"](generator, discriminator, *adams(0.0, 0.0))
    d_loss, g_loss = (float(x) for x in step(real, first, second))
    by_hand = cross_entropy(real_logits, 1).mean() + cross_entropy(fake, 0).mean()
    assert d_loss == pytest.approx(by_hand, rel=1e-4)
    assert g_loss == pytest.approx(cross_entropy(later, 1).mean(), rel=1e-4)


@pytest.mark.parametrize(("g_rate", "d_rate"), [(0.1, 0.0), (0.0, 0.1)])
def test_each_optimizer_of_the_plain_gan_moves_its_own_network_alone(gan, pair, g_rate, d_rate):
    kept = [[w.copy() for w in net.get_weights()] for net in pair]
    gan["plain_step"](*pair, *adams(g_rate, d_rate))(some_keys(7, n=4), noise(3), noise(4))
    for net, before, rate in zip(pair, kept, (g_rate, d_rate), strict=True):
        moved = [not np.array_equal(a, b) for a, b in zip(net.get_weights(), before, strict=True)]
        assert all(moved) if rate else not any(moved)


def test_a_step_of_the_plain_gan_follows_the_slopes_of_its_two_losses(gan, pair):
    """Two routes: the compiled step, and gradient descent on losses written out here."""
    tf, (generator, discriminator) = gan["tf"], pair
    without_dropout(discriminator)
    real, first, second = some_keys(8, n=4), noise(5), noise(6)

    def descended(net, loss):
        with tf.GradientTape() as tape:
            value = loss()
        slopes = tape.gradient(value, net.trainable_variables)
        return [
            array(w) - 0.1 * array(s) for w, s in zip(net.trainable_variables, slopes, strict=True)
        ]

    def d_loss():  # softplus(-x) is the cross-entropy of a yes, softplus(x) of a no
        real_cost = tf.reduce_mean(tf.math.softplus(-discriminator(real)))
        return real_cost + tf.reduce_mean(tf.math.softplus(discriminator(generator(first))))

    def g_loss():
        return tf.reduce_mean(tf.math.softplus(-discriminator(generator(second))))

    kept = generator.get_weights(), discriminator.get_weights()
    wanted_d = descended(discriminator, d_loss)
    for variable, value in zip(discriminator.trainable_variables, wanted_d, strict=True):
        variable.assign(value)  # the generator learns from the discriminator as it is by then
    wanted_g = descended(generator, g_loss)
    for net, weights in zip(pair, kept, strict=True):
        net.set_weights(weights)
    gan["plain_step"](generator, discriminator, *adams(0.1, 0.1))(real, first, second)
    for net, wanted in zip(pair, (wanted_g, wanted_d), strict=True):
        for variable, value in zip(net.trainable_variables, wanted, strict=True):
            np.testing.assert_allclose(array(variable), value, atol=1e-5)


def test_the_plain_gan_writes_what_passes_a_half_or_a_draw(gan, pair):
    generator, _ = pair
    rolls = gan["write_plain"](generator, 3, np.random.default_rng(9))
    rng = np.random.default_rng(9)
    chance = array(generator(rng.standard_normal((3, 64)).astype("float32")))
    assert_is_music(rolls, chance > 0.5)
    drawn = gan["write_plain"](generator, 3, np.random.default_rng(9), drawn=True)
    assert_is_music(drawn, chance > rng.random(chance.shape))
    assert np.stack(drawn)[..., 1].mean() == pytest.approx(chance.mean(), abs=0.02)


# VAE


@pytest.fixture(scope="module")
def vae():
    return load("04_vae", ("model", "plain"), V=3, S=6, C=7)


@pytest.fixture
def small_vae(vae):
    keras.utils.set_random_seed(4)
    model = vae["PlainVAE"](width=7, latent_dim=3, seed=5)
    model(some_keys(0, n=1))
    return model


def test_the_plain_vae_says_logits_means_and_log_variances(small_vae):
    told = small_vae(some_keys(10, n=2))
    shapes = {name: tuple(value.shape) for name, value in told.items()}
    assert shapes == {"logits": (2, STEPS, KEYS), "z_mean": (2, 3), "z_log_var": (2, 3)}
    encoded = array(small_vae.encoder(some_keys(10, n=2)))
    np.testing.assert_array_equal(array(told["z_mean"]), encoded[:, :3])
    np.testing.assert_array_equal(array(told["z_log_var"]), encoded[:, 3:])


def test_the_plain_vaes_loss_is_a_sum_over_the_picture_and_the_latents(small_vae):
    """Nats of all keys and steps, and KL in closed form, each summed; the mean over pieces."""
    rng, y = np.random.default_rng(11), some_keys(11, n=3)
    told = {
        "logits": rng.normal(size=y.shape), "z_mean": rng.normal(size=(3, 2)),
        "z_log_var": rng.normal(size=(3, 2)),
    }  # fmt: skip
    told = {name: value.astype("float32") for name, value in told.items()}
    mean, log_var = told["z_mean"].astype(float), told["z_log_var"].astype(float)
    kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1)
    by_hand = cross_entropy(told["logits"], y).sum(axis=(1, 2)) + kl
    assert float(small_vae.compute_loss(x=y, y_pred=told)) == pytest.approx(
        by_hand.mean(), rel=1e-5
    )
    nothing = {name: np.zeros_like(value) for name, value in told.items()}
    blank = float(small_vae.compute_loss(x=y, y_pred=nothing))
    assert blank == pytest.approx(STEPS * KEYS * np.log(2), rel=1e-5)  # N(0, I) costs nothing


def test_training_the_plain_vae_minimises_that_loss(small_vae):
    small_vae.sampling = lambda mean, log_var: mean
    x = some_keys(12, n=4)
    first = float(small_vae.compute_loss(x=x, y_pred=small_vae(x)))
    small_vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    losses = small_vae.fit(x, x, batch_size=4, epochs=4, shuffle=False, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(first, rel=1e-4)
    assert losses[-1] < losses[0]


def test_the_gradient_of_reconstruction_reaches_the_encoder_through_the_draw(small_vae):
    tf = pytest.importorskip("tensorflow")
    x, kernel = some_keys(13, n=4), small_vae.encoder.layers[-1].kernel
    with tf.GradientTape() as tape:
        logits = small_vae(x)["logits"]
        reconstruction_loss = tf.reduce_sum(tf.math.softplus(logits) - x * logits)
    slope = array(tape.gradient(reconstruction_loss, kernel))
    for half in (slope[:, :3], slope[:, 3:]):  # means, and log-variances
        assert np.abs(half).max() > 0


def test_the_plain_vae_draws_its_latents_anew_with_each_call(small_vae):
    x = some_keys(14, n=2)
    one, two = (small_vae(x) for _ in range(2))
    np.testing.assert_array_equal(array(one["z_mean"]), array(two["z_mean"]))
    assert np.abs(array(one["logits"]) - array(two["logits"])).max() > 1e-4


def test_the_plain_vae_writes_from_standard_normal_latents(vae):
    keras.utils.set_random_seed(6)
    model = vae["PlainVAE"](width=7, seed=5)
    model(some_keys(0, n=1))
    given, decoder = [], model.decoder
    model.decoder = lambda z: (given.append(z), decoder(z))[1]
    rolls = vae["write_plain"](model, 400, np.random.default_rng(15))
    (z,) = given
    assert z.shape == (400, 64)
    assert z.mean() == pytest.approx(0, abs=5 / np.sqrt(z.size))
    assert z.std() == pytest.approx(1, abs=5 / np.sqrt(2 * z.size))
    sounds = array(decoder(z)) > 0  # a chance above one half
    assert_is_music(rolls[:5], sounds[:5])
    rng = np.random.default_rng(16)
    drawn = vae["write_plain"](model, 3, np.random.default_rng(16), drawn=True)
    chance = 1 / (1 + np.exp(-array(decoder(rng.standard_normal((3, 64)).astype("float32")))))
    least = rng.random(chance.shape)
    clear = np.abs(chance - least) > 1e-6
    np.testing.assert_array_equal((np.stack(drawn)[..., 1] > 0)[clear], (chance > least)[clear])


def test_the_plain_vaes_weights_go_to_another_and_back(small_vae, vae, tmp_path):
    small_vae.save_weights(tmp_path / "a.weights.h5")
    other = vae["PlainVAE"](width=7, latent_dim=3, seed=9)
    other(some_keys(1, n=1))
    other.load_weights(tmp_path / "a.weights.h5")
    z = np.random.default_rng(17).standard_normal((2, 3)).astype("float32")
    np.testing.assert_array_equal(array(other.decoder(z)), array(small_vae.decoder(z)))
    x = some_keys(18, n=2)
    np.testing.assert_array_equal(array(other.encoder(x)), array(small_vae.encoder(x)))
