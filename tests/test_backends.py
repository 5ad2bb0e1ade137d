"""The second backend: LSTM and VAE run under JAX too, and weights mean the same under both."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from study.run import Paths, kernel_environment, preset
from study.runner import ROOT

BACKENDS = ("tensorflow", "jax")
SEED = 1
NOTEBOOKS = ("01_data_preparation", "02_lstm", "03_gan", "04_vae")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("jax") is None,
        reason="jax is not installed (requirements-dev.txt names it)",
    ),
]


def start(backend, *arguments):
    environment = {**os.environ, **kernel_environment(), "KERAS_BACKEND": backend}
    environment["MPLBACKEND"] = "agg"
    command = [sys.executable, "-m", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Let each backend write weights, then the other read them; give what the models said."""
    folders = {writer: tmp_path_factory.mktemp(writer) for writer in BACKENDS}
    readers = dict(zip(BACKENDS, reversed(BACKENDS), strict=True))
    for what, at_work in (("write", dict(zip(BACKENDS, BACKENDS, strict=True))), ("read", readers)):
        children = [start(at_work[w], "tests.logits", what, folders[w]) for w in BACKENDS]
        for child in children:
            _, error = child.communicate()
            assert child.returncode == 0, error[-3_000:]
    return {
        writer: (
            np.load(folders[writer] / f"write_{writer}.npz"),
            np.load(folders[writer] / f"read_{readers[writer]}.npz"),
        )
        for writer in BACKENDS
    }


@pytest.mark.parametrize("writer", BACKENDS)
def test_weights_of_one_backend_say_the_same_under_the_other(said, writer):
    written, read = said[writer]
    assert set(written.files) == set(read.files) >= {"lstm", "vae_mean", "vae_logits", "vae_prior"}
    for name in written.files:
        assert np.ptp(written[name]) > 0.1
        np.testing.assert_allclose(read[name], written[name], rtol=0, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Run the first four notebooks under JAX with the smoke preset."""
    folder = tmp_path_factory.mktemp("jax")
    (folder / "notebooks").mkdir()
    for name in NOTEBOOKS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder / "notebooks")
    arguments = ["--preset", "smoke", "--output", folder, "--notebooks", folder / "notebooks"]
    child = start("jax", "study.runner", *arguments, "--seed", SEED)
    return folder, *child.communicate(), child.returncode


@pytest.mark.parametrize("model", ["lstm", "vae"])
def test_a_smoke_run_under_jax_trains_and_writes(study, model):
    folder, out, error, _ = study
    name = {"lstm": "02_lstm", "vae": "04_vae"}[model]
    assert (folder / "rendered" / f"{name}.html").exists(), out[-5_000:] + error
    paths = Paths(folder)
    for kind, own, rows in (("refined", model, 4), ("plain", f"plain_{model}", 1)):
        pieces = list((paths.generated / model / kind / str(SEED)).glob("*.mid"))
        assert len(pieces) == preset("smoke")["n_samples"]
        history = pd.read_csv(paths.results / f"history_{own}_{SEED}.csv")
        assert len(history) == rows
        assert np.isfinite(history.to_numpy()).all()
        assert paths.weights_of(own, seed=SEED).exists()


def test_the_gan_says_that_it_needs_tensorflow(study):
    folder, out, _, status = study
    assert status == 1
    assert "03_gan  stopped in cell 2" in out
    assert "RuntimeError: this notebook trains on TensorFlow only" in out
    assert not (Paths(folder).generated / "gan").exists()
