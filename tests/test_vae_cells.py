"""The VAE of notebook 04: shapes, sampling, KL, the loss, causality, the prior, the writers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from musiclib import codec  # noqa: E402
from study import training  # noqa: E402
from study.models import sharpen  # noqa: E402
from study.run import Paths  # noqa: E402
from study.runner import load_cells  # noqa: E402
from study.training import Resume  # noqa: E402

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


def test_sampling_has_the_mean_and_variance_that_it_is_given(cells):
    mean = np.tile(np.array([-2.0, 0.0, 3.0], "float32"), (20_000, 1))
    log_var = np.log(np.tile(np.array([0.25, 1.0, 4.0], "float32"), (20_000, 1)))
    z = ops.convert_to_numpy(cells["Sampling"](seed=3)(mean, log_var))
    np.testing.assert_allclose(z.mean(axis=0), mean[0], atol=5 * 2 / np.sqrt(20_000))
    np.testing.assert_allclose(z.var(axis=0), [0.25, 1.0, 4.0], rtol=0.06)


def test_sampling_repeats_with_its_seed_and_moves_on_with_each_call(cells):
    mean = np.zeros((3, 4), "float32")
    one, two = (cells["Sampling"](seed=3) for _ in range(2))
    first, second = (ops.convert_to_numpy(one(mean, mean)) for _ in range(2))
    np.testing.assert_array_equal(first, ops.convert_to_numpy(two(mean, mean)))
    assert np.abs(first - second).min() > 0


def test_kl_is_zero_at_the_prior_and_right_by_hand(cells):
    kl = cells["kl_divergence"]
    assert float(kl(np.float32(0), np.float32(0))) == 0
    by_hand = 0.5 * (1.5**2 + 0.25 - 1 - np.log(0.25))
    assert float(kl(np.float32(1.5), np.float32(np.log(0.25)))) == pytest.approx(by_hand, rel=1e-6)


def test_kl_agrees_with_a_monte_carlo_estimate(cells):
    mean, deviation = 0.8, 0.6
    z = mean + deviation * np.random.default_rng(0).normal(size=200_000)
    log_q = -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation)
    ratios = log_q + 0.5 * z**2
    exact = float(cells["kl_divergence"](np.float32(mean), np.float32(2 * np.log(deviation))))
    assert exact == pytest.approx(ratios.mean(), abs=5 * ratios.std() / np.sqrt(len(z)))


def test_kl_between_two_normals_is_right_by_hand_and_zero_between_equals(cells):
    kl = cells["kl_divergence"]
    m, lv, pm, plv = (np.float32(a) for a in (1.5, np.log(0.25), 0.5, np.log(4.0)))
    by_hand = np.log(2 / 0.5) + (0.25 + 1.0) / (2 * 4) - 0.5
    assert float(kl(m, lv, pm, plv)) == pytest.approx(by_hand, rel=1e-6)
    assert float(kl(m, lv, m, lv)) == pytest.approx(0, abs=1e-6)


def test_the_kl_is_the_same_where_the_noise_lives(cells):
    """Read the posterior backwards through the prior: its KL to N(0, 1) is that to the prior."""
    m, lv, pm, plv = (np.float32(a) for a in (1.5, -1.0, 0.5, 0.7))
    as_noise = (m - pm) * np.exp(-plv / 2), lv - plv
    kl = cells["kl_divergence"]
    assert float(kl(*as_noise)) == pytest.approx(float(kl(m, lv, pm, plv)), rel=1e-5)


def test_latents_of_padded_quarters_cost_nothing(cells):
    kl = np.arange(1.0, 13.0, dtype="float32").reshape(2, 2, 3)
    mask = np.array([[1] * 8, [1] * 4 + [0] * 4], "float32")
    np.testing.assert_allclose(cells["sum_latents"](kl, mask), [21.0, 7 + 8 + 9])


# Loss


def test_reconstruction_sums_voices_and_unpadded_steps(cells):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 4, V, C)).astype("float32")
    codes = rng.integers(0, C, (2, 4, V))
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], "float32")
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    nll = -np.take_along_axis(log_p, codes[..., None], axis=-1)[..., 0].sum(axis=-1)
    loss = ops.convert_to_numpy(cells["reconstruction_loss"](codes, logits, mask))
    np.testing.assert_allclose(loss, (nll * mask).sum(axis=1), rtol=1e-5)


def test_the_models_loss_is_that_of_the_lesson(cells, encoder, decoder, prior):
    vae = cells["VAE"](encoder, decoder, prior)
    vae.beta.assign(0.25)
    codes, mask = np.zeros((2, 4, V), int), np.ones((2, 4), "float32")
    told = {
        "logits": np.zeros((2, 4, V, C), "float32"),  # every code costs log C
        "mean": np.full((2, 1, 2), [1.0, 3.0], "float32"),
        "log_var": np.zeros((2, 1, 2), "float32"),
        "prior_mean": np.ones((2, 1, 2), "float32"),  # KL 0 and 2 nats
        "prior_log_var": np.zeros((2, 1, 2), "float32"),
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
    warm_up = cells["WarmUp"](0.6, 2)
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
    there = ops.convert_to_numpy(vae(given)["prior_mean"])
    changed = given | {"now": given["now"].copy()}
    changed["now"][:, 24:, :, 0] = (changed["now"][:, 24:, :, 0] + 1) % S
    moved = np.abs(ops.convert_to_numpy(vae(changed)["prior_mean"]) - there).max(axis=(0, 2))
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


def test_every_latent_reaches_the_decoder(decoder):
    given, z = window(np.random.default_rng(2), batch=1), latents(1, batch=1)
    there = decode(decoder, z, given)
    for quarter in range(QUARTERS):
        for i in range(LATENT_DIM):
            other = z.copy()
            other[0, quarter, i] += 1
            assert np.abs(decode(decoder, other, given) - there).max() > 1e-6


def test_word_dropout_silences_whole_steps_in_training_only(cells):
    drop, x = cells["WordDropout"](0.7, seed=1), np.ones((50, 40, 3), "float32")
    heard = ops.convert_to_numpy(drop(x, training=True))
    assert heard.shape == (50, 40, 4)
    assert (heard == heard[..., -1:]).all()
    assert heard[..., -1].mean() == pytest.approx(0.3, abs=5 * 0.46 / np.sqrt(2000))
    assert (ops.convert_to_numpy(drop(x)) == 1).all()


# Writing


def write(cells, decoder, z, *, chance, temperature=1.0, top_p=1.0):
    n, steps = len(z), 4 * z.shape[1]
    metre = np.tile(np.arange(steps) % 16, (n, 1)).astype("int32")
    settings = np.full((n, steps, 2), [temperature, top_p])
    given = np.concatenate([chance, settings], axis=-1).astype("float32")
    codes = cells["build_writer"](decoder)([z, metre, np.zeros_like(metre), given])
    return ops.convert_to_numpy(codes).astype(int)


def test_the_writer_writes_any_number_of_quarters_and_never_holds_a_rest(cells, decoder):
    rng = np.random.default_rng(4)
    z = np.concatenate([latents(2, 4), latents(3, 4)], axis=1)
    codes = write(cells, decoder, z, chance=rng.random((4, 2 * STEPS, V)))
    assert codes.shape == (4, 2 * STEPS, V)
    assert codes.min() >= 0
    assert codes.max() < C
    sounding = np.zeros((4, V), bool)
    for t in range(codes.shape[1]):
        assert not ((codes[:, t] == 1) & ~sounding).any()
        sounding = codes[:, t] > 0


def test_two_routes_agree_what_the_writer_takes_is_the_decoders_likeliest(cells, decoder):
    """The writer's greedy codes, fed back to the training model, are its own argmax."""
    z = latents(6)
    codes = write(cells, decoder, z, chance=np.full((2, STEPS, V), -1.0))
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


def test_draws_follow_the_decoders_distribution_and_top_p_cuts_the_tail(cells, decoder):
    n = 4000
    z = np.repeat(latents(7, 1)[:, :1], n, axis=0)
    chance = np.random.default_rng(5).random((n, 4, V))
    first = write(cells, decoder, z, chance=chance)[:, 0, 0]
    start = {k: v[:1, :4] * 0 for k, v in window(np.random.default_rng(0)).items()}
    start["metre"] = np.arange(4, dtype="int32")[None]
    p = ops.convert_to_numpy(ops.softmax(decode(decoder, z[:1], start)[0, 0, 0]))
    p = np.where(np.arange(C) == 1, 0, p)  # nothing sounds yet, so nothing can be held
    share = np.bincount(first, minlength=C) / n
    np.testing.assert_allclose(share, p / p.sum(), atol=4 * 0.5 / np.sqrt(n))
    cut = write(cells, decoder, z[:300], chance=chance[:300], top_p=1e-6)[:, 0, 0]
    assert set(cut) <= {0, 2 + p[2:].argmax()}


def test_the_prior_writes_what_it_foretells_and_noise_comes_back(cells, prior):
    """Two routes: the cell, quarter by quarter, and the trained model read backwards."""
    noise = latents(9)
    where = [np.tile(np.arange(0, STEPS, 4) % 16, (2, 1)), np.full((2, QUARTERS), 3)]
    where = [a.astype("int32") for a in (*where, np.ones((2, QUARTERS)))]
    z = ops.convert_to_numpy(cells["build_latent_writer"](prior)([noise, *where]))
    past = np.pad(z[:, :-1], ((0, 0), (1, 0), (0, 0)))
    mean, log_var = (ops.convert_to_numpy(a) for a in prior([z, past, *where]))
    assert log_var.std() > 0
    np.testing.assert_allclose((z - mean) * np.exp(-log_var / 2), noise, atol=1e-4)
    np.testing.assert_allclose(z, mean + np.exp(log_var / 2) * noise, atol=1e-5)


def test_the_walk_keeps_its_ends_and_its_norm(cells):
    walk, a, b = cells["spherical"], np.array([[3.0, 0.0]]), np.array([[0.0, 3.0]])
    np.testing.assert_allclose(walk(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(walk(a, b, 1.0), b, atol=1e-12)
    np.testing.assert_allclose(walk(a, b, 0.5), [[3 / np.sqrt(2)] * 2])
    np.testing.assert_allclose(walk(a, a, 0.3), a)


# The model of frames, and its bounds


def frames(cells, n_keys=4, **sizes):
    keras.utils.set_random_seed(2)
    return cells["build_frames"](n_keys, **({"units": 6, "latents": 3} | sizes))


def some_frames(rng, shape):
    now = rng.integers(0, 2, shape).astype("int32")
    before = np.concatenate([np.zeros_like(now[:, :1]), now[:, :-1]], axis=1)
    return {"before": before, "now": now}


def test_a_frame_is_foretold_from_those_before_it_alone(cells):
    model, given = frames(cells), some_frames(np.random.default_rng(0), (1, 6, 4))
    told = model(given)
    other = {k: v.copy() for k, v in given.items()}
    other["now"][0, 3] = 1 - other["now"][0, 3]
    changed = model(other)
    for name in ("prior_mean", "prior_log_var"):
        assert np.array_equal(told[name], changed[name])
    assert not np.allclose(told["mean"][0, 3], changed["mean"][0, 3])
    kept = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(
        np.array(told["mean"])[0, kept], np.array(changed["mean"])[0, kept], atol=1e-6
    )
    other["before"][0, 4] = other["now"][0, 3]
    later = np.array(model(other)["prior_mean"])
    assert np.array_equal(later[0, :4], np.array(told["prior_mean"])[0, :4])
    assert not np.allclose(later[0, 4], np.array(told["prior_mean"])[0, 4])


def test_what_a_frame_costs_by_hand(cells):
    told = {
        "logits": [[[0.0, 2.0, -1.0]]], "z": [[[0.5]]], "mean": [[[1.0]]], "log_var": [[[0.0]]],
        "prior_mean": [[[0.0]]], "prior_log_var": [[[np.log(4)]]],
    }  # fmt: skip
    told = {k: np.array(v, "float32") for k, v in told.items()}
    of_keys, kl, log_weight = (
        float(ops.squeeze(a)) for a in cells["frame_costs"](np.array([[[1, 1, 0]]]), told)
    )
    p = 1 / (1 + np.exp(-np.array([0.0, 2.0, 1.0])))  # of what is there: on, on, off
    assert of_keys == pytest.approx(-np.log(p).sum(), rel=1e-5)
    assert kl == pytest.approx(0.5 * (np.log(4) + (1 + 1) / 4 - 1), rel=1e-5)
    of_prior = -0.5 * (np.log(2 * np.pi * 4) + 0.5**2 / 4)
    of_q = -0.5 * (np.log(2 * np.pi) + 0.5**2)
    assert log_weight == pytest.approx(np.log(p).sum() + of_prior - of_q, rel=1e-5)


def test_two_posteriors_agree_on_the_likelihood_and_neither_bound_passes_it(cells):
    model, rng, n = frames(cells, n_keys=3, latents=1), np.random.default_rng(3), 20_000
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=0.7, size=weight.shape))
    for name in ("prior_log_var", "away_mean", "away_log_var"):
        for weight in model.get_layer(name).weights:
            weight.assign(ops.zeros_like(weight))
    one = some_frames(np.random.default_rng(4), (1, 1, 3))
    given = {k: np.repeat(v, n, axis=0) for k, v in one.items()}
    found = {}
    for away in (0.0, 0.6):  # at the prior, and beside it and wider
        model.get_layer("away_mean").bias.assign([away])
        model.get_layer("away_log_var").bias.assign([away / 2])
        costs = cells["frame_costs"](given["now"], model(given))
        of_keys, kl, log_weight = (ops.convert_to_numpy(a)[:, 0].astype(float) for a in costs)
        plain, tight = (of_keys + kl).mean(), np.log(n) - np.logaddexp.reduce(log_weight)
        assert plain == pytest.approx(-log_weight.mean(), abs=0.05)
        assert plain > tight
        found[away] = tight
        assert (kl.mean() > 0.05) == (away > 0)
    assert found[0.0] == pytest.approx(found[0.6], abs=0.05)


def test_the_model_of_frames_is_trained_on_what_the_mask_keeps(cells):
    model, given = (
        cells["FrameVAE"](frames(cells)),
        some_frames(np.random.default_rng(5), (2, 5, 4)),
    )
    told = model(given)
    of_keys, kl, _ = (np.array(a) for a in cells["frame_costs"](given["now"], told))
    mask = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], "float32")
    model.beta.assign(0.3)
    loss = float(model.compute_loss(y=given["now"], y_pred=told, sample_weight=mask))
    assert loss == pytest.approx(((of_keys + 0.3 * kl) * mask).sum() / 6, rel=1e-5)


class Killed(Resume):
    """A checkpoint whose run ends when it has saved one epoch."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.long
def test_a_killed_training_of_frames_goes_on_and_ends_the_same(cells, tmp_path, monkeypatch):
    rng, none = np.random.default_rng(6), np.zeros(20, "int32")
    pieces = [
        codec.KeyExample(str(i), rng.integers(0, 2, (20, 4)).astype("uint8"), none, 0, 16)
        for i in range(5)
    ]
    sung, first = {"train": pieces[:3], "valid": pieces[3:]}, cells["build_frames"]
    space = dict(cells) | {"preset": "smoke", "seed": 0}
    space["of_this_run"] = {"preset": "smoke", "corpus": "chorales", "seed": 0}
    load_cells("04_vae", "frames", space)
    space |= {"FRAME_EPOCHS": 5, "build_frames": lambda n, seed: first(n, units=6, seed=seed)}
    key_codec = SimpleNamespace(n_keys=4, to_dict=dict)

    def fit(resume, folder):
        keras.utils.set_random_seed(7)
        monkeypatch.setattr(training, "Resume", resume)
        space["paths"] = Paths(tmp_path / folder)
        model, run = space["fit_frames"](sung, key_codec)
        return model, run._checkpoint.step

    whole, steps = fit(Resume, "whole")
    assert steps == 5
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            fit(Killed, "killed")
    again, steps = fit(Resume, "killed")
    assert steps == 5
    for ours, theirs in zip(again.get_weights(), whole.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("settings", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_zero_takes_the_likeliest_onset(cells, settings):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, C)).astype("float32")
    temperature, top_p = (np.full((6, 1), value, "float32") for value in settings)
    hold = np.ones((6, 1), "float32")
    p = ops.convert_to_numpy(sharpen(logits, hold, temperature, top_p))
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
