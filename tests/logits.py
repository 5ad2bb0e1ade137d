"""Child of test_backends: build LSTM and VAE under this backend, exchange weights by files.

    KERAS_BACKEND=jax python -m tests.logits write FOLDER
    KERAS_BACKEND=jax python -m tests.logits read FOLDER

`write` leaves each model's weights and what it says to given inputs; `read` loads weights that
another backend left, and leaves what this one says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from study import run, sets
from study.runner import load_cells

V, S, STEPS, LATENTS = 4, 45, 64, 16  # voices, sounds, steps of a window, latents a quarter
SPACE = {"keras": keras, "layers": layers, "ops": ops, "np": np}
SPACE |= {"V": V, "S": S, "C": S + 1, "seed": 0}


def window() -> dict[str, np.ndarray]:
    """Give windows of random notes, the same ones each time."""
    rng = np.random.default_rng(0)
    sounds = rng.integers(0, S, (3, STEPS, V))
    before = np.concatenate([np.zeros((3, 1, V), int), sounds[:, :-1]], axis=1)
    metre = np.tile(np.arange(STEPS) % 16, (3, 1))
    now = np.stack([sounds, np.where(sounds > 0, sounds + 1, 0)], axis=-1)
    given = {"before": before, "metre": metre, "register": np.full_like(metre, 5), "now": now}
    given["opening"] = np.ones_like(metre)
    return {name: ops.convert_to_tensor(value.astype("int32")) for name, value in given.items()}


def build() -> dict[str, keras.Model]:
    """Build both models in the sizes of the smoke preset, with more than their first weights."""
    keras.utils.set_random_seed(run.preset("smoke")["seeds"])
    lstm = load_cells("02_lstm", "model", dict(SPACE))["build_model"](32)
    cells = load_cells("04_vae", "model", dict(SPACE))
    parts = (
        cells["build_encoder"](width=64, latent_dim=LATENTS),
        cells["build_decoder"](32, width=64, hidden=32, latent_dim=LATENTS),
        cells["build_prior"](32, latent_dim=LATENTS),
    )
    vae = cells["VAE"](*parts, seed=0)
    vae(window())
    rng = np.random.default_rng(1)
    for variable in [*lstm.trainable_variables, *vae.trainable_variables]:
        variable.assign(variable + 0.1 * rng.normal(size=variable.shape))
    return {"lstm": lstm, "vae": vae}


def say(models: dict[str, keras.Model]) -> dict[str, np.ndarray]:
    """Give the LSTM's logits, and the VAE's means, logits and prior for fixed latents."""
    given, vae = window(), models["vae"]
    z = np.random.default_rng(2).normal(size=(3, STEPS // 4, LATENTS)).astype("float32")
    lstm = models["lstm"]([given[k] for k in ("before", "metre", "register", "now")])
    mean, log_var = vae.encoder([given[k] for k in ("now", "metre", "register")])
    decoder = [ops.convert_to_tensor(z), *(given[k] for k in ("before", "metre", "register"))]
    logits = vae.decoder([*decoder, given["now"]])
    places = [given[k][:, ::4] for k in ("metre", "register", "opening")]
    prior, prior_log_var = vae.prior([ops.convert_to_tensor(z)] * 2 + places)
    said = {"lstm": lstm, "vae_mean": mean, "vae_log_var": log_var, "vae_logits": logits}
    said |= {"vae_prior": prior, "vae_prior_log_var": prior_log_var}
    return {name: ops.convert_to_numpy(value) for name, value in said.items()}


def main(what: str, folder: Path) -> None:
    """Write or read, and leave what the models say."""
    models = build()
    for name, model in models.items():
        file = folder / f"{name}.weights.h5"
        if what == "write":
            sets.save_weights(model, file, {"model": name})
        else:
            for variable in model.trainable_variables:
                variable.assign(0 * variable)
            sets.load_weights(model, file, {"model": name})
    np.savez(folder / f"{what}_{keras.backend.backend()}.npz", **say(models))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
