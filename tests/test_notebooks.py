"""The committed notebooks: their form, and that each runs with the smoke preset.

The smoke run is the slowest of the default tests: every notebook, by the runner, into a temporary
folder, under four minutes on two cores.
"""

from __future__ import annotations

import math
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from conftest import listing

from study.run import Paths, preset
from study.runner import ROOT, declared_parameters, parameters_cell, problems, read_notebook

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
    writes = [c.source for c in node.cells if "sets.write_pieces(" in c.source]
    assert len(writes) == 1
    assert "keep=not steps" in writes[0]


# With the smoke preset


@pytest.fixture(scope="module")
def output(smoke_study):
    """Give the folder of a smoke run of every notebook."""
    return smoke_study


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


# What is released


def classroom(output, *more):
    """Run the classroom preset into a folder of its own."""
    study = [sys.executable, "-m", "study.runner", "--preset", "classroom"]
    run = subprocess.run(
        [*study, "--output", output, *more], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]


@needs_notebooks
@pytest.mark.long
def test_a_class_gets_the_released_verdict_into_any_folder(tmp_path):
    before = listing()
    classroom(tmp_path)
    assert listing() == before, "a run into another folder changed the checkout"
    for table in ("verdict.csv", "verdict_parts.csv", "distance.csv", "samples.csv"):
        here, there = (root / "data" / "results" / table for root in (tmp_path, ROOT))
        pd.testing.assert_frame_equal(pd.read_csv(here), pd.read_csv(there), rtol=1e-9)
    assert not list(Paths(tmp_path).generated.rglob("*.mid"))
    assert not (Paths(tmp_path).results / "measures.csv").exists()  # nothing was measured


@needs_notebooks
@pytest.mark.long
@pytest.mark.parametrize("name", ["02_lstm", "03_gan", "04_vae", "05_comparison"])
def test_any_notebook_runs_alone(tmp_path, name):
    classroom(tmp_path, "--only", name)
    assert (tmp_path / "rendered" / f"{name}.html").exists()
