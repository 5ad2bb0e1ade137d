"""The VAE of frames, in notebooks/research: its bounds by hand, and its training, killed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from musiclib import codec  # noqa: E402
from study import training  # noqa: E402
from study.run import Paths  # noqa: E402
from study.runner import load_cells  # noqa: E402
from study.training import Resume  # noqa: E402

NOTEBOOK = "research/vae_of_frames"


@pytest.fixture(scope="module")
def cells():
    keras.utils.set_random_seed(1)
    return load_cells(NOTEBOOK, "model", {})


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
    space = dict(cells) | {"preset": "smoke", "corpus": "chorales", "seed": 0}
    load_cells(NOTEBOOK, "frames", space)
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
