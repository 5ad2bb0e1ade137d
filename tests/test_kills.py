"""Each training killed at each moment that matters, and a whole study six times at random.

What was killed and run again must end with the notes, weights and tables of one that was not. The
moments are those at which a file is put in its place (`os.replace`, by which every writer of
musiclib ends): a start-up module of the test's own, on the path of the kernels, counts them.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from study.run import Paths
from study.runner import ROOT

STARTED_FIRST = """\
import fnmatch, os, signal
when, pattern, count = os.environ["KILL_AT"].split("|")
seen, replace = [], os.replace

def killing(source, target, **more):
    if fnmatch.fnmatch(os.fspath(target), pattern):
        seen.append(target)
        if len(seen) == int(count) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target, **more)
    if len(seen) == int(count) and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = killing
"""
"""Stands as ``sitecustomize.py``: kills its process before or after a file is put in its place."""

# One after the other in one folder. A smoke training of keys, or of a plain model, saves once, the
# others four times. A run that trains the plain model again records its costs first.
MOMENTS = {
    "02_lstm": [
        "before|*/plain_lstm_*.npz|1",
        "after|*/plain_lstm_*.npz|1",
        "after|*/plain_lstm.weights.h5|1",
        "after|*/results/paper_settings.csv|2",
        "before|*/lstm_*.npz|1",
        "after|*/lstm_*.npz|2",
        "after|*/lstm_*.npz|2",  # right after its last stretch
        "after|*/lstm.weights.h5|1",  # the card is missing
        "after|*/results/fairness.csv|2",
    ],
    "lstm_of_keys": [
        "before|*/independent_keys_lstm_*.npz|1",
        "after|*/independent_keys_lstm_*.npz|1",  # right after its last epoch
        "before|*/joint_keys_lstm_*.npz|1",
        "after|*/joint_keys_lstm_*.npz|1",
        "after|*/joint_keys_lstm.weights.h5|1",
    ],
    "03_gan": [
        "before|*/plain_gan_*.npz|1",
        "after|*/plain_gan_*.npz|1",
        "after|*/generated/gan/plain/0/001.mid|1",
        "after|*/results/fairness.csv|1",
        "before|*/gan_*.npz|1",
        "after|*/gan_*.npz|2",
        "after|*/gan_*.npz|2",
        "after|*/generated/gan/refined/0/001.mid|1",
        "after|*/gan.weights.h5|1",
        "after|*/ears_gan_*.npz|1",
        "before|*/wasserstein_gan_*.npz|1",
    ],
    "04_vae": [
        "before|*/plain_vae_*.npz|1",
        "after|*/plain_vae_*.npz|1",
        "after|*/plain_vae.weights.h5|1",
        "before|*/vae_*.npz|1",
        "after|*/vae_*.npz|2",
        "after|*/vae_*.npz|2",
        "after|*/vae.weights.h5|1",
        "after|*/recurrent_decoder_vae_*.npz|1",
        "before|*/joint_voices_vae.weights.h5|1",
        "after|*/generated/vae/standard_normal/0/001.mid|1",
        "after|*/results/fairness.csv|2",
    ],
}
MODELS = {"02_lstm": "lstm", "lstm_of_keys": "lstm", "03_gan": "gan", "04_vae": "vae"}
SECONDS = ["train_seconds", "cpu_seconds", "seconds", "ms_per_step", "minutes"]  # differ each time
KILLS, LONGEST = 6, 30.0

pytestmark = pytest.mark.long


SMOKE = [sys.executable, "-m", "study.runner", "--preset", "smoke", "--output"]


def run(output: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SMOKE, str(output), *more], cwd=ROOT, env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def assert_done(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 0, ended.stdout[-5_000:] + ended.stderr[-5_000:]


def left_by(output: Path, model: str = "*") -> dict[str, bytes]:
    """Give the notes, weights and tables of a model, or of all, by name; tables without seconds."""
    paths, found = Paths(output), {}
    tables = ["fairness", "speed", "paper_settings", f"history_*{model}_*"]
    patterns = [f"generated/{model}/*.mid", f"weights/*{model}*"]
    patterns += [f"results/{name}.csv" for name in (tables if model != "*" else "*")]
    for file in sorted(paths.data.rglob("*")):
        name = file.relative_to(paths.data).as_posix()
        if file.name.startswith(".") or not any(fnmatch.fnmatch(name, p) for p in patterns):
            continue
        found[name] = file.read_bytes()
        if file.suffix == ".csv":
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            if model != "*" and "model" in table:
                table = table[table["model"] == model]
            found[name] = table.drop(columns=SECONDS, errors="ignore").to_csv(index=False).encode()
    return found


def assert_same(ours: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


# Each moment of each training


def only(notebook: str, folder: Path, output: Path) -> list[str]:
    """Lay out in `folder` a study of one notebook after the first, which is done already."""
    done = shutil.ignore_patterns("generated", "weights", "audio", "fairness.csv", "speed.csv",
                                  "history_*", "paper_settings.csv")  # fmt: skip
    shutil.copytree(output, folder, ignore=done, dirs_exist_ok=True)
    (folder / "notebooks" / "research").mkdir(parents=True)
    for name in ("01_data_preparation", notebook):
        name = f"research/{name}" if name == "lstm_of_keys" else name
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder / "notebooks" / f"{name}.ipynb")
    return ["--notebooks", str(folder / "notebooks"), "--only", "01_data_preparation", notebook]


def kill_at_each_moment(notebook: str, folder: Path, output: Path) -> None:
    """Run a notebook, killed at each of its moments in turn, to its end."""
    more = only(notebook, folder, output)
    (folder / "first").mkdir()
    (folder / "first" / "sitecustomize.py").write_text(STARTED_FIRST)
    for moment in MOMENTS[notebook]:
        ended = run(folder, *more, PYTHONPATH=str(folder / "first"), KILL_AT=moment)
        assert ended.returncode == 1, moment + ended.stdout[-5_000:]
        assert "the kernel died" in ended.stdout, moment + ended.stdout[-5_000:]
    assert_done(run(folder, *more))
    assert not list(Paths(folder).checkpoints.iterdir())


@pytest.fixture(scope="module")
def killed(smoke_study, tmp_path_factory):
    """Give for each notebook the folder of a run that was killed at each of its moments."""
    folders = {name: tmp_path_factory.mktemp(name) for name in MOMENTS}
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            name: pool.submit(kill_at_each_moment, name, folders[name], smoke_study)
            for name in MOMENTS
        }
    return folders, jobs


@pytest.mark.parametrize("notebook", [name for name in MOMENTS if name != "lstm_of_keys"])
def test_a_training_killed_at_any_moment_ends_the_same(smoke_study, killed, notebook):
    folders, jobs = killed
    jobs[notebook].result()
    whole = left_by(smoke_study, MODELS[notebook])
    weights = {f"weights/{kind}{MODELS[notebook]}.json" for kind in ("", "plain_")}
    assert weights | {"results/fairness.csv", "results/paper_settings.csv"} <= set(whole)
    assert_same(left_by(folders[notebook], MODELS[notebook]), whole)


def test_the_rungs_of_keys_killed_at_any_moment_end_the_same(smoke_study, killed, tmp_path):
    folders, jobs = killed
    jobs["lstm_of_keys"].result()
    assert_done(run(tmp_path, *only("lstm_of_keys", tmp_path, smoke_study)))
    whole = left_by(tmp_path, "lstm")
    names = {f"{kind}_keys_lstm" for kind in ("independent", "joint")}
    assert {f"weights/{name}.json" for name in names} <= set(whole)
    assert {f"results/history_{name}_0.csv" for name in names} <= set(whole)
    assert_same(left_by(folders["lstm_of_keys"], "lstm"), whole)


# A whole study


def kill_after(seconds: float, output: Path) -> None:
    """Start the study, and kill its process group."""
    with (output / "log.txt").open("ab") as log:
        study = subprocess.Popen(
            [*SMOKE, str(output)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            study.wait(seconds)
        with contextlib.suppress(ProcessLookupError):  # it had ended
            os.killpg(study.pid, signal.SIGKILL)
        study.wait()


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")
def test_a_study_killed_six_times_at_random_ends_the_same(smoke_study, tmp_path, capsys):
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 10**6))
    with capsys.disabled():
        print(f"\nkilled at random with KILL_SEED={seed}")  # set it to have the same moments again
    draw = random.Random(seed)
    for _ in range(KILLS):
        kill_after(draw.uniform(3, LONGEST), tmp_path)
    assert_done(run(tmp_path))
    assert_same(left_by(tmp_path), left_by(smoke_study))
