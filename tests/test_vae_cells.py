"""The VAE of notebook 04: shapes, sampling, KL, the loss, causality, the prior, the writers."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from musiclib import codec  # noqa: E402
from study import models  # noqa: E402
from study.runner import load_cells  # noqa: E402

V, S, QUARTERS, LATENT_DIM = 3, 6, 8, 5
C, STEPS = S + 1, 4 * QUARTERS


@pytest.fixture(scope="module")
def cells():
    keras.utils.set_random_seed(1)
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np}
    return load_cells("04_vae", "model", space | {"V": V, "S": S, "C": C})


@pytest.fixture(scope="module")
def encoder(cells):
    return cells["build_encoder"](width=8, latent_dim=LATENT_DIM)


@pytest.fixture(scope="module")
def decoder(cells):
    sizes = {"width": 8, "hidden": 12, "latent_dim": LATENT_DIM, "word_dropout": 0.5}
    return cells["build_decoder"](7, **sizes)


@pytest.fixture(scope="module")
def prior(cells):
    built = cells["build_prior"](9, latent_dim=LATENT_DIM, groups=LATENT_DIM)
    return built


def window(rng, batch=2):
    sounds = rng.integers(0, S, (batch, STEPS, V))
    before = np.concatenate([np.zeros((batch, 1, V), int), sounds[:, :-1]], axis=1)
    metre = np.tile(np.arange(STEPS) % 16, (batch, 1))
    now = np.stack([sounds, np.where(sounds > 0, sounds + 1, 0)], axis=-1)
    given = {"before": before, "metre": metre, "register": np.zeros_like(metre), "now": now}
    given["opening"] = np.ones_like(metre)
    return {k: v.astype("int32") for k, v in given.items()}


def decode(decoder, z, given):
    keys = ("before", "metre", "register", "now")
    given = [ops.convert_to_tensor(a) for a in (z, *(given[k] for k in keys))]
    return ops.convert_to_numpy(decoder(given))


def kernel(model, layer):
    return np.array(ops.convert_to_numpy(model.get_layer(layer).kernel))


def latents(seed, batch=2):
    return np.random.default_rng(seed).normal(size=(batch, QUARTERS, LATENT_DIM)).astype("float32")


# Shapes


def test_encoder_and_decoder_fit_each_other(encoder, decoder):
    given = window(np.random.default_rng(0))
    mean, log_var = encoder([ops.convert_to_tensor(given[k]) for k in ("now", "metre", "register")])
    assert tuple(mean.shape) == tuple(log_var.shape) == (2, QUARTERS, LATENT_DIM)
    np.testing.assert_allclose(ops.convert_to_numpy(log_var), -3.0)
    assert decode(decoder, mean, given).shape == (2, STEPS, V, C)


# Sampling and divergence


def test_sampling_has_the_mean_and_variance_that_it_is_given():
    mean = np.tile(np.array([-2.0, 0.0, 3.0], "float32"), (20_000, 1))
    log_var = np.log(np.tile(np.array([0.25, 1.0, 4.0], "float32"), (20_000, 1)))
    z = ops.convert_to_numpy(models.Sampling(seed=3)(mean, log_var))
    np.testing.assert_allclose(z.mean(axis=0), mean[0], atol=5 * 2 / np.sqrt(20_000))
    np.testing.assert_allclose(z.var(axis=0), [0.25, 1.0, 4.0], rtol=0.06)


def test_sampling_repeats_with_its_seed_and_moves_on_with_each_call():
    mean = np.zeros((3, 4), "float32")
    one, two = (models.Sampling(seed=3) for _ in range(2))
    first, second = (ops.convert_to_numpy(one(mean, mean)) for _ in range(2))
    np.testing.assert_array_equal(first, ops.convert_to_numpy(two(mean, mean)))
    assert np.abs(first - second).min() > 0


def test_kl_is_zero_at_the_prior_and_right_by_hand():
    kl = models.kl_divergence
    assert float(kl(np.float32(0), np.float32(0))) == 0
    by_hand = 0.5 * (1.5**2 + 0.25 - 1 - np.log(0.25))
    assert float(kl(np.float32(1.5), np.float32(np.log(0.25)))) == pytest.approx(by_hand, rel=1e-6)


def test_kl_agrees_with_a_monte_carlo_estimate():
    mean, deviation = 0.8, 0.6
    z = mean + deviation * np.random.default_rng(0).normal(size=200_000)
    log_q = -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation)
    ratios = log_q + 0.5 * z**2
    exact = float(models.kl_divergence(np.float32(mean), np.float32(2 * np.log(deviation))))
    assert exact == pytest.approx(ratios.mean(), abs=5 * ratios.std() / np.sqrt(len(z)))


def test_kl_between_two_normals_is_right_by_hand_and_zero_between_equals():
    kl = models.kl_divergence
    m, lv, pm, plv = (np.float32(a) for a in (1.5, np.log(0.25), 0.5, np.log(4.0)))
    by_hand = np.log(2 / 0.5) + (0.25 + 1.0) / (2 * 4) - 0.5
    assert float(kl(m, lv, pm, plv)) == pytest.approx(by_hand, rel=1e-6)
    assert float(kl(m, lv, m, lv)) == pytest.approx(0, abs=1e-6)


def test_the_kl_is_the_same_where_the_noise_lives():
    """Read the posterior backwards through the prior: its KL to N(0, 1) is that to the prior."""
    m, lv, pm, plv = (np.float32(a) for a in (1.5, -1.0, 0.5, 0.7))
    as_noise = (m - pm) * np.exp(-plv / 2), lv - plv
    kl = models.kl_divergence
    assert float(kl(*as_noise)) == pytest.approx(float(kl(m, lv, pm, plv)), rel=1e-5)


def test_latents_of_padded_quarters_cost_nothing(cells):
    mean, zero = np.zeros((2, 2, 3), "float32"), np.zeros((2, 2, 3), "float32")
    mean[:, :, 0] = np.sqrt([[2.0, 4.0], [6.0, 8.0]])  # 1, 2, 3 and 4 nats
    codes, logits = np.zeros((2, 8, V), int), np.zeros((2, 8, V, C), "float32")
    mask = np.array([[1] * 8, [1] * 4 + [0] * 4], "float32")
    kl = cells["loss_terms"](codes, logits, (mean, zero), (zero, zero), mask)[1]
    np.testing.assert_allclose(kl, [3.0, 3.0], rtol=1e-6)


# Loss


def test_reconstruction_sums_voices_and_unpadded_steps(cells):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 4, V, C)).astype("float32")
    codes = rng.integers(0, C, (2, 4, V))
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], "float32")
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    nll = -np.take_along_axis(log_p, codes[..., None], axis=-1)[..., 0].sum(axis=-1)
    zero = np.zeros((2, 1, 2), "float32")
    loss = cells["loss_terms"](codes, logits, (zero, zero), (zero, zero), mask)[0]
    np.testing.assert_allclose(loss, (nll * mask).sum(axis=1), rtol=1e-5)


def test_the_models_loss_is_that_of_the_lesson(cells, encoder, decoder, prior):
    vae = cells["VAE"](encoder, decoder, prior)
    vae.beta.assign(0.25)
    codes, mask = np.zeros((2, 4, V), int), np.ones((2, 4), "float32")
    told = {
        "logits": np.zeros((2, 4, V, C), "float32"),  # every code costs log C
        "q": (np.full((2, 1, 2), [1.0, 3.0], "float32"), np.zeros((2, 1, 2), "float32")),
        "p": (np.ones((2, 1, 2), "float32"), np.zeros((2, 1, 2), "float32")),  # KL 0 and 2 nats
    }
    loss = float(vae.compute_loss(y=codes, y_pred=told, sample_weight=mask))
    assert loss == pytest.approx((4 * V * np.log(C) + 0.25 * 2.0) / 4, rel=1e-5)
    assert float(vae.kl_tracker.result()) == pytest.approx(2.0)
    assert float(vae.reconstruction_tracker.result()) == pytest.approx(4 * V * np.log(C), rel=1e-5)


def test_training_moves_encoder_and_decoder_and_follows_the_warm_up(cells):
    keras.utils.set_random_seed(2)
    given = window(np.random.default_rng(5), batch=4)
    encoder = cells["build_encoder"](width=8, latent_dim=2)
    decoder = cells["build_decoder"](6, width=8, hidden=8, latent_dim=2)
    prior = cells["build_prior"](6, latent_dim=2, groups=2)
    vae = cells["VAE"](encoder, decoder, prior)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    parts = [(encoder, "z_mean"), (decoder, "read"), (prior, "think")]
    before = [kernel(*part) for part in parts]
    warm_up = models.WarmUp(0.6, 2)
    target, mask = given["now"][..., 1], np.ones((4, STEPS), "float32")
    fitted = vae.fit(given, target, sample_weight=mask, epochs=4, verbose=0, callbacks=[warm_up])
    assert warm_up.used == pytest.approx([0.0, 0.3, 0.6, 0.6])
    assert set(fitted.history) == {"loss", "reconstruction", "kl"}
    assert fitted.history["reconstruction"][-1] < fitted.history["reconstruction"][0]
    for old, part in zip(before, parts, strict=True):
        assert np.abs(old - kernel(*part)).max() > 0


def test_the_vae_tells_the_prior_the_past_only(cells, encoder, decoder, prior):
    """What the prior foretells of a quarter depends on no later quarter's latents."""
    vae = cells["VAE"](encoder, decoder, prior)
    vae.sampling = lambda mean, log_var: mean  # no noise, so that two calls can be compared
    given = window(np.random.default_rng(5))
    there = ops.convert_to_numpy(vae(given)["p"][0])
    changed = given | {"now": given["now"].copy()}
    changed["now"][:, 24:, :, 0] = (changed["now"][:, 24:, :, 0] + 1) % S
    moved = np.abs(ops.convert_to_numpy(vae(changed)["p"][0]) - there).max(axis=(0, 2))
    assert (moved[:5] < 1e-6).all()  # quarter 5's latents hear quarter 6 by the convolution
    assert (moved[5:] > 0).all()


def test_the_prior_tells_a_group_of_latents_those_before_it_alone(prior):
    """Of the same quarter a latent hears the groups before its own, and of later quarters none."""
    z = latents(4)
    where = [np.zeros((len(z), QUARTERS), "int32")] * 3

    def told(z):
        past = np.pad(z[:, :-1], ((0, 0), (1, 0), (0, 0)))
        return np.stack([ops.convert_to_numpy(a) for a in prior([z, past, *where])])

    for i in range(LATENT_DIM):  # each latent is a group
        changed = z.copy()
        changed[:, 2, i] += 1.0
        moved = np.abs(told(changed) - told(z)).max(axis=(0, 1))
        assert (moved[:2] < 1e-6).all()
        assert (moved[2, : i + 1] < 1e-6).all()
        assert (moved[2, i + 1 :] > 1e-6).all()
        assert (moved[3] > 1e-6).all()


def test_without_a_prior_the_kl_is_that_to_a_standard_normal(cells, encoder, decoder):
    vae, given = cells["VAE"](encoder, decoder), window(np.random.default_rng(6))
    told = vae(given)
    assert not np.any(told["p"])
    mask = np.ones((2, STEPS), "float32")
    kl = cells["loss_terms"](given["now"][..., 1], **told, mask=mask)[1]
    expected = ops.sum(models.kl_divergence(*told["q"]), axis=(1, 2))
    np.testing.assert_allclose(kl, expected, rtol=1e-6)


# Causality


def test_a_step_hears_the_past_only_and_a_voice_only_those_before_it(decoder):
    given, z = window(np.random.default_rng(1), batch=1), latents(0, batch=1)
    changed = given | {"before": given["before"].copy()}
    changed["before"][0, 9] = (changed["before"][0, 9] + 1) % S
    moved = np.abs(decode(decoder, z, given) - decode(decoder, z, changed)).max(axis=(0, 2, 3))
    assert (moved[:9] < 1e-6).all()
    assert moved[9] > 1e-6
    order = decoder.get_layer("joint").order
    assert order == [0, V - 1, 1]
    for j, v in enumerate(order):
        changed = given | {"now": given["now"].copy()}
        changed["now"][0, 3, v] = [(given["now"][0, 3, v, 0] + 1) % S, 2]
        moved = np.abs(decode(decoder, z, given) - decode(decoder, z, changed)).max(axis=(0, 3))
        assert (np.delete(moved, 3, axis=0) < 1e-6).all()
        assert (moved[3, order[: j + 1]] < 1e-6).all()
        assert (moved[3, order[j + 1 :]] > 0).all()


def test_voices_on_their_own_know_nothing_of_each_other(cells):
    """With `joint` false what one voice does now moves no other, and nothing is built for it."""
    sizes = {"width": 8, "hidden": 12, "latent_dim": LATENT_DIM}
    alone, together = (cells["build_decoder"](7, **sizes, joint=joint) for joint in (False, True))
    assert alone.count_params() < together.count_params()
    given, z = window(np.random.default_rng(1), batch=1), latents(0, batch=1)
    changed = given | {"now": (given["now"] + 1) % S}
    np.testing.assert_array_equal(decode(alone, z, given), decode(alone, z, changed))
    assert np.abs(decode(together, z, given) - decode(together, z, changed)).max() > 1e-6


def test_every_latent_reaches_the_decoder(decoder):
    given, z = window(np.random.default_rng(2), batch=1), latents(1, batch=1)
    there = decode(decoder, z, given)
    for quarter in range(QUARTERS):
        for i in range(LATENT_DIM):
            other = z.copy()
            other[0, quarter, i] += 1
            assert np.abs(decode(decoder, other, given) - there).max() > 1e-6


def test_word_dropout_silences_whole_steps_in_training_only():
    drop, x = models.WordDropout(0.7, seed=1), np.ones((50, 40, 3), "float32")
    heard = ops.convert_to_numpy(drop(x, training=True))
    assert heard.shape == (50, 40, 4)
    assert (heard == heard[..., -1:]).all()
    assert heard[..., -1].mean() == pytest.approx(0.3, abs=5 * 0.46 / np.sqrt(2000))
    assert (ops.convert_to_numpy(drop(x)) == 1).all()


# Writing


def write(decoder, z, *, chance, temperature=1.0, top_p=1.0):
    n, steps = len(z), 4 * z.shape[1]
    metre = np.tile(np.arange(steps) % 16, (n, 1)).astype("int32")
    settings = np.full((n, steps, 2), [temperature, top_p])
    given = np.concatenate([chance, settings], axis=-1).astype("float32")
    codes = models.build_writer(decoder)([z, metre, np.zeros_like(metre), given])
    return ops.convert_to_numpy(codes).astype(int)


def test_the_writer_writes_any_number_of_quarters_and_never_holds_a_rest(decoder):
    rng = np.random.default_rng(4)
    z = np.concatenate([latents(2, 4), latents(3, 4)], axis=1)
    codes = write(decoder, z, chance=rng.random((4, 2 * STEPS, V)))
    assert codes.shape == (4, 2 * STEPS, V)
    assert codes.min() >= 0
    assert codes.max() < C
    sounding = np.zeros((4, V), bool)
    for t in range(codes.shape[1]):
        assert not ((codes[:, t] == 1) & ~sounding).any()
        sounding = codes[:, t] > 0


def test_two_routes_agree_what_the_writer_takes_is_the_decoders_likeliest(decoder):
    """The writer's greedy codes, fed back to the training model, are its own argmax."""
    z = latents(6)
    codes = write(decoder, z, chance=np.full((2, STEPS, V), -1.0))
    sounds = np.zeros_like(codes)
    for t in range(STEPS):
        earlier = sounds[:, t - 1] if t else 0
        sounds[:, t] = np.where(codes[:, t] == 1, earlier, np.maximum(codes[:, t] - 1, 0))
    given = window(np.random.default_rng(0))
    given["before"] = np.concatenate([np.zeros((2, 1, V), int), sounds[:, :-1]], axis=1)
    given["now"] = np.stack([sounds, codes], axis=-1)
    logits = decode(decoder, z, {k: v.astype("int32") for k, v in given.items()})
    logits[..., 1] = np.where(given["before"] > 0, logits[..., 1], -np.inf)
    onsets = logits[..., 2:].argmax(axis=-1) + 2
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    likeliest = p.argmax(axis=-1)
    np.testing.assert_array_equal(np.where(likeliest > 1, onsets, likeliest), codes)


def test_draws_follow_the_decoders_distribution_and_top_p_cuts_the_tail(decoder):
    n = 4000
    z = np.repeat(latents(7, 1)[:, :1], n, axis=0)
    chance = np.random.default_rng(5).random((n, 4, V))
    first = write(decoder, z, chance=chance)[:, 0, 0]
    start = {k: v[:1, :4] * 0 for k, v in window(np.random.default_rng(0)).items()}
    start["metre"] = np.arange(4, dtype="int32")[None]
    p = ops.convert_to_numpy(ops.softmax(decode(decoder, z[:1], start)[0, 0, 0]))
    p = np.where(np.arange(C) == 1, 0, p)  # nothing sounds yet, so nothing can be held
    share = np.bincount(first, minlength=C) / n
    np.testing.assert_allclose(share, p / p.sum(), atol=4 * 0.5 / np.sqrt(n))
    cut = write(decoder, z[:300], chance=chance[:300], top_p=1e-6)[:, 0, 0]
    assert set(cut) <= {0, 2 + p[2:].argmax()}


def test_the_prior_writes_what_it_foretells_and_noise_comes_back(prior):
    """Two routes: the cell, quarter by quarter, and the trained model read backwards."""
    noise = latents(9)
    where = [np.tile(np.arange(0, STEPS, 4) % 16, (2, 1)), np.full((2, QUARTERS), 3)]
    where = [a.astype("int32") for a in (*where, np.ones((2, QUARTERS)))]
    z = ops.convert_to_numpy(models.build_latent_writer(prior)([noise, *where]))
    past = np.pad(z[:, :-1], ((0, 0), (1, 0), (0, 0)))
    mean, log_var = (ops.convert_to_numpy(a) for a in prior([z, past, *where]))
    assert log_var.std() > 0
    np.testing.assert_allclose((z - mean) * np.exp(-log_var / 2), noise, atol=1e-4)
    np.testing.assert_allclose(z, mean + np.exp(log_var / 2) * noise, atol=1e-5)


def test_the_writer_decodes_what_its_parts_say(decoder, prior):
    """Of noise the prior makes latents, of latents the decoder makes codes, of codes the codec."""
    fitted = codec.VoiceCodec(40, S - 1, V)
    writer, noise = models.Writer(decoder, prior, fitted), latents(10)
    metre = np.tile(np.arange(STEPS) % 16, (2, 1)).astype("int32")
    x = {"metre": metre, "register": np.zeros_like(metre), "opening": np.ones_like(metre)}
    z = writer.latents(noise, x)
    where = [x[name][:, ::4] for name in ("metre", "register", "opening")]
    again = models.build_latent_writer(prior)([noise, *where])
    np.testing.assert_allclose(z, again, atol=1e-5)
    np.testing.assert_array_equal(models.Writer(decoder, None, fitted).latents(noise, x), noise)
    codes = write(decoder, z, chance=np.full((2, STEPS, V), -1.0))
    for roll, own in zip(writer.rolls(z, x), codes, strict=True):
        np.testing.assert_array_equal(roll, fitted.decode(own, 0))
    one, two = (writer.rolls(z, x, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert any((a != b).any() for a, b in zip(one, writer.rolls(z, x), strict=True))


def test_windows_stand_alone_and_are_drawn_by_room():
    """No window holds a note that began before it; each starts on a quarter note of its piece."""
    codes = [np.tile([[2], [1], [1], [1], [1], [1]], (n, 1)) for n in (2, 10)]  # 12 and 60 steps
    sounds = [np.ones_like(c) for c in codes]
    examples = [
        codec.Example(str(i), c, s, np.arange(len(c)) % 16, 3, 16, 4)
        for i, (c, s) in enumerate(zip(codes, sounds, strict=True))
    ]
    windows = models.QuarterWindows(examples, 16)
    assert windows.room == [1, 12]
    inputs, told, mask = windows.every(4)
    assert mask.sum(axis=1).tolist() == [12, 16, 16, 16]
    assert (told[:, 0] == 2).all()
    assert not inputs["before"][:, 0].any()
    assert inputs["opening"][:, 0].tolist() == [1, 1, 0, 0]
    assert (inputs["register"] == 3).all()
    drawn, _, _ = windows.draw(400, np.random.default_rng(0))
    assert (drawn["metre"][:, 0] % 4 == 0).all()
    assert 0.1 < drawn["opening"][:, 0].mean() < 0.4


def test_the_walk_keeps_its_ends_and_its_norm(cells):
    walk, a, b = cells["spherical"], np.array([[3.0, 0.0]]), np.array([[0.0, 3.0]])
    np.testing.assert_allclose(walk(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(walk(a, b, 1.0), b, atol=1e-12)
    np.testing.assert_allclose(walk(a, b, 0.5), [[3 / np.sqrt(2)] * 2])
    np.testing.assert_allclose(walk(a, a, 0.3), a)


# What the decoder's draws share with notebook 02


@pytest.mark.parametrize("settings", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_zero_takes_the_likeliest_onset(settings):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, C)).astype("float32")
    temperature, top_p = (np.full((6, 1), value, "float32") for value in settings)
    hold = np.ones((6, 1), "float32")
    p = ops.convert_to_numpy(models.sharpen(logits, hold, temperature, top_p))
    own = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(p[:, :2], own[:, :2], rtol=1e-5)
    likeliest = np.eye(C - 2)[logits[:, 2:].argmax(axis=-1)]
    np.testing.assert_allclose(p[:, 2:], likeliest * own[:, 2:].sum(-1, keepdims=True), rtol=1e-5)


def test_the_metre_embeddings_are_as_large_as_the_codec_says(cells):
    sizes = {"latent_dim": LATENT_DIM, "metres": 192}
    built = (
        cells["build_encoder"](width=8, **sizes),
        cells["build_decoder"](7, width=8, hidden=12, **sizes),
        cells["build_prior"](9, groups=LATENT_DIM, **sizes),
    )
    assert [m.get_layer("metre_embedding").input_dim for m in built] == [192] * 3
