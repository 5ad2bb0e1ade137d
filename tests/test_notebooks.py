"""The committed notebooks: their form, and that each runs with the smoke preset.

The smoke run is the slowest of the default tests: every notebook, by the runner, into a temporary
folder, under four minutes on two cores.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest

from musiclib.study import Paths, preset
from tools.notebook_form import (
    ROOT,
    declared_parameters,
    parameters_cell,
    problems,
    read_notebook,
)

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = {
    "01_data_preparation",
    "02_lstm",
    "03_gan",
    "04_vae",
    "05_comparison",
    "06_listening_test",
}
MODELS = ("lstm", "gan", "vae")
FIGURES = (
    "fig1_workflow",
    "fig2_gan",
    "fig3_lstm",
    "fig4_vae",
    "fig5_vae_waveforms",
    "fig6_gan_waveforms",
    "fig7_lstm_waveforms",
)
TRAINING = {"lstm": "02_lstm", "gan": "03_gan", "vae": "04_vae"}
KILLED_AFTER = (1, 2)  # checkpoints: the run is killed after one, and again after two more
PARAMETERS = {"preset", "seed", "corpus", "n_samples", "output"}

needs_notebooks = pytest.mark.skipif(not NOTEBOOKS, reason="there are no notebooks yet")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


# As committed


@needs_notebooks
def test_the_six_notebooks_are_there():
    assert {path.stem for path in NOTEBOOKS} >= NAMES


@each_notebook
def test_a_notebook_is_valid_and_in_form(path):
    node = read_notebook(path)
    nbformat.validate(node)
    assert problems(node, size=path.stat().st_size) == []


@each_notebook
def test_a_notebook_declares_the_parameters_of_the_study(path):
    declared = declared_parameters(parameters_cell(read_notebook(path), name=path.stem))
    assert declared.keys() >= PARAMETERS
    assert declared["output"] == "../runs/lab"
    preset(declared["preset"])


@pytest.mark.parametrize("name", ["02_lstm", "03_gan", "04_vae"])
def test_a_notebook_that_trains_nothing_leaves_the_released_pieces_alone(name):
    node = read_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    writes = [c.source for c in node.cells if "generated.write_pieces(" in c.source]
    assert len(writes) == 1
    assert "keep=not steps" in writes[0]


# With the smoke preset


def command(output: Path, *more: str) -> list[str]:
    study = [sys.executable, "-m", "tools.run_study", "--preset", "smoke"]
    return [*study, "--output", str(output), *more]


def smoke(output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    run = command(output, *more)
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)


def listing() -> dict[str, int]:
    """Give the files of the checkout that a study could write, and when they changed."""
    folders = (ROOT / name for name in ("data", "figures", "notebooks", "runs"))
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file): file.stat().st_mtime_ns for file in files}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Run every notebook with the smoke preset, and give the folder with what came of it."""
    folder, before = tmp_path_factory.mktemp("smoke"), listing()
    run = smoke(folder)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    assert listing() == before, "a run into another folder changed the checkout"
    return folder


@needs_notebooks
def test_every_notebook_runs_and_is_rendered(output):
    for path in NOTEBOOKS:
        assert (output / "rendered" / path.name).exists()
        assert (output / "rendered" / f"{path.stem}.html").exists()


@needs_notebooks
def test_the_papers_table_has_three_pieces_of_each_model(output):
    table = pd.read_csv(Paths(output).results / "paper_table.csv")
    assert list(table.columns[:4]) == ["model", "sample", "energy", "mean"]
    assert table.groupby("model").size().to_dict() == dict.fromkeys(MODELS, 3)
    assert table[["energy", "mean"]].map(math.isfinite).all(axis=None)
    assert (table["energy"] >= 0).all()


@needs_notebooks
@pytest.mark.parametrize("model", MODELS)
def test_each_model_leaves_its_pieces(output, model):
    folder = Paths(output).generated / model / "0"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{n:03}.mid" for n in range(preset("smoke")["n_samples"])]


@needs_notebooks
def test_simulated_listeners_decide_nothing_and_are_marked_everywhere(output):
    paths = Paths(output)
    assert len(list((paths.audio / "listening").glob("*.mp3"))) == 5 * preset("smoke")["n_samples"]
    for table in ("scores", "agreement", "prediction"):
        found = pd.read_csv(paths.results / f"listening_{table}_simulated.csv")
        assert set(found["provenance"]) == {"simulated"}
        assert not (paths.results / f"listening_{table}.csv").exists()
    for figure in ("scores", "prediction"):
        assert (paths.figures / f"listening_{figure}_simulated.svg").stat().st_size > 1_000
    claim = pd.read_csv(paths.results / "listening_claim.csv")
    assert set(claim["holds"]) == {"undecided"}
    assert claim["effect"].isna().all()
    verdict = pd.read_csv(paths.results / "verdict.csv").set_index("claim")
    assert verdict.loc["C1", "holds"] == "undecided"
    assert verdict.loc["C1", ["effect", "low", "high"]].isna().all()


@needs_notebooks
@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_of_the_paper_is_drawn(output, name):
    for ending in (".png", ".svg"):
        assert (Paths(output).figures / (name + ending)).stat().st_size > 1_000


@needs_notebooks
@pytest.mark.long
def test_the_same_seed_gives_the_same_pieces_and_table(output, tmp_path):
    assert smoke(tmp_path).returncode == 0

    def digests(folder):
        paths = Paths(folder)
        files = [*paths.generated.rglob("*.mid"), paths.results / "paper_table.csv"]
        return {
            file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }

    first = digests(output)
    assert len(first) > len(MODELS)
    assert digests(tmp_path) == first


# What is released


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    """Run the classroom preset into another folder."""
    folder, before = tmp_path_factory.mktemp("classroom"), listing()
    run = smoke(folder, "--preset", "classroom")
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    assert listing() == before, "a run into another folder changed the checkout"
    return folder


@needs_notebooks
@pytest.mark.long
def test_a_class_gets_the_released_verdict(classroom):
    for table in ("verdict.csv", "verdict_parts.csv", "distance.csv", "paper_table.csv"):
        folders = (classroom, ROOT)
        here, there = (root / "data" / "results" / table for root in folders)
        pd.testing.assert_frame_equal(pd.read_csv(here), pd.read_csv(there), rtol=1e-9)
    assert not list(Paths(classroom).generated.rglob("*.mid"))
    assert not (Paths(classroom).results / "measures.csv").exists()  # nothing was measured


@needs_notebooks
@pytest.mark.long
@pytest.mark.parametrize("name", ["02_lstm", "03_gan", "04_vae", "05_comparison"])
def test_any_notebook_runs_alone(tmp_path, name):
    run = smoke(tmp_path, "--preset", "classroom", "--only", name)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    assert (tmp_path / "rendered" / f"{name}.html").exists()


# Killed while it trains


def only(notebook: str, folder: Path, output: Path) -> tuple[str, str]:
    """Lay out in `folder` a study of one notebook after the first, which is done already."""
    done = shutil.ignore_patterns("generated", "weights", "history_*", "lstm_paths.csv", "audio")
    shutil.copytree(output, folder, ignore=done, dirs_exist_ok=True)
    (folder / "notebooks").mkdir()
    for path in NOTEBOOKS:
        if path.stem in ("01_data_preparation", notebook):
            shutil.copy(path, folder / "notebooks")
    return "--notebooks", str(folder / "notebooks")


def saved(folder: Path) -> set[tuple[str, int]]:
    """Give the checkpoints that stand there, each with the moment of its writing."""
    found = set()
    for path in Paths(folder).checkpoints.glob("[!.]*.npz"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def run_and_kill(folder: Path, *more: str, after: int) -> set[str]:
    """Run the study, kill it and its kernel after so many checkpoints; give those that it left."""
    before = seen = saved(folder)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(command(folder, *more), cwd=ROOT, stdout=log, stderr=log)
        while len(seen - before) < after:
            assert process.poll() is None, (folder / "log.txt").read_text()[-5_000:]
            time.sleep(0.005)
            seen = seen | saved(folder)
        everything = psutil.Process(process.pid).children(recursive=True)
        for each in (process, *everything):
            each.kill()
        process.wait()
        psutil.wait_procs(everything, timeout=300)
    return {name for name, _ in saved(folder)}


def train_in_pieces(notebook: str, folder: Path, output: Path) -> str:
    """Run a notebook, killed twice, to its end; give what the runner and the kernel said."""
    more = only(notebook, folder, output)
    for after in KILLED_AFTER:
        assert run_and_kill(folder, *more, after=after)
        assert not list(Paths(folder).generated.rglob("*.mid")), "killed too late"
    run = smoke(folder, *more)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    return (folder / "rendered" / f"{notebook}.ipynb").read_text()


@pytest.fixture(scope="module")
def killed(output, tmp_path_factory):
    """Give for each model the folder of a run that was killed twice, and the run's notebook."""
    folders = {model: tmp_path_factory.mktemp(f"killed_{model}") for model in TRAINING}
    with ThreadPoolExecutor(len(TRAINING)) as pool:
        texts = pool.map(
            lambda model: train_in_pieces(TRAINING[model], folders[model], output), TRAINING
        )
        return {model: (folders[model], text) for model, text in zip(TRAINING, texts, strict=True)}


@needs_notebooks
@pytest.mark.long
@pytest.mark.parametrize("model", TRAINING)
def test_a_training_killed_twice_ends_with_the_same_bytes(output, killed, model):
    (folder, text), paths = killed[model], Paths(output)
    assert "this training goes on after step" in text
    assert not list(Paths(folder).checkpoints.iterdir())
    files = [*(paths.generated / model).rglob("*.mid"), paths.weights_of(model, seed=0)]
    files += [paths.results / f"history_{model}_0.csv"]
    assert len(files) == preset("smoke")["n_samples"] + 2
    for file in files:
        assert (folder / file.relative_to(output)).read_bytes() == file.read_bytes(), file


@needs_notebooks
@pytest.mark.long
def test_the_lstms_of_keys_end_the_same_too(output, killed):
    tables = [Paths(each).results / "lstm_paths.csv" for each in (killed["lstm"][0], output)]
    again, first = (pd.read_csv(table).drop(columns="train_seconds") for table in tables)
    pd.testing.assert_frame_equal(again, first, check_exact=True)
