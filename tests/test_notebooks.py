"""The committed notebooks: their form, and that each runs with the smoke preset.

The smoke run is the slowest of the default tests: every notebook, by the runner, into a temporary
folder, under four minutes on two cores.
"""

from __future__ import annotations

import ast
import itertools
import math
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from conftest import listing

from study.printed import SETTINGS
from study.run import Paths, preset
from study.runner import (
    ROOT,
    declared_parameters,
    parameters_cell,
    problems,
    read_notebook,
    read_notebooks,
)
from study.sets import RUNGS, VARIANTS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RESEARCH = sorted((ROOT / "notebooks" / "research").glob("*.ipynb"))
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


@pytest.mark.parametrize("path", NOTEBOOKS + RESEARCH, ids=lambda path: path.stem)
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


def guards_of_writing(node, inside=()):
    """Yield for each call of write_pieces what it keeps, and the conditions that it stands in."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sets.write_pieces"):
        keep = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("keep")
        yield keep, [ast.unparse(part) for test in inside for part in conjuncts(test)]
    deeper = (*inside, node.test) if isinstance(node, ast.If) else inside
    for child in ast.iter_child_nodes(node):
        yield from guards_of_writing(child, deeper)


def conjuncts(test):
    both = isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And)
    return test.values if both else [test]


def test_lesson_04_writes_its_controls_only_where_it_trains():
    """All other pieces are written by `Lesson.finish`."""
    node = read_notebook(ROOT / "notebooks" / "04_vae.ipynb")
    trees = [ast.parse(c.source) for c in node.cells if "sets.write_pieces(" in c.source]
    assert [found for tree in trees for found in guards_of_writing(tree)] == [
        (None, ["steps", "seed == 0"])
    ]


@pytest.mark.parametrize(("name", "controls"), [("02_lstm", 1), ("03_gan", 0)])
def test_a_notebook_that_trains_nothing_leaves_the_released_pieces_alone(name, controls):
    """It writes its controls in a loop, where it trains; `Lesson.finish` writes the others."""
    node = read_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    trees = [ast.parse(c.source) for c in node.cells if "sets.write_pieces(" in c.source]
    writes = [found for tree in trees for found in guards_of_writing(tree)]
    assert {keep for keep, _ in writes} - {None} <= {"not plain_steps", "not steps"}
    assert [keep for keep, _ in writes].count(None) == controls
    assert all("plain_steps" in within for keep, within in writes if keep is None)


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
    assert list(table.columns[:5]) == ["kind", "model", "sample", "energy", "mean"]
    pairs = itertools.product(("plain", "refined"), MODELS)
    assert table.groupby(["kind", "model"]).size().to_dict() == dict.fromkeys(pairs, 3)
    assert table[["energy", "mean"]].map(math.isfinite).all(axis=None)
    assert (table["energy"] >= 0).all()


@needs_notebooks
@pytest.mark.parametrize("model", MODELS)
def test_each_model_leaves_its_pieces(output, model):
    folder = Paths(output).generated / model
    kinds = {"plain", "refined"} | {kind for own, kind in VARIANTS.values() if own == model}
    kinds |= set(RUNGS[model]) if model != "lstm" else set()
    assert {path.name for path in folder.iterdir()} == kinds
    for kind in kinds:
        names = sorted(path.name for path in (folder / kind / "0").iterdir())
        assert names == [f"{n:03}.mid" for n in range(preset("smoke")["n_samples"])]


@needs_notebooks
@pytest.mark.parametrize("model", MODELS)
def test_each_kind_of_a_model_leaves_weights_history_and_costs(output, model):
    paths, costs = Paths(output), pd.read_csv(Paths(output).results / "fairness.csv")
    rungs = {"plain", "refined"} if model == "lstm" else set(RUNGS[model]) - {"temperature_1"}
    assert set(costs.loc[costs["model"] == model, "kind"]) == rungs
    for kind, own in (("plain", f"plain_{model}"), ("refined", model)):
        assert paths.weights_of(own, seed=0).exists()
        assert (paths.results / f"history_{own}_0.csv").exists()
        (row,) = costs[(costs["model"] == model) & (costs["kind"] == kind)].to_dict("records")
        steps = f"{'plain_' if kind == 'plain' else ''}{model}_steps"
        assert row["steps"] == preset("smoke")[steps]


@needs_notebooks
def test_every_setting_of_the_papers_table_has_three_clips(output):
    clips = pd.read_csv(Paths(output).results / "paper_settings.csv")
    found = clips.groupby(["model", "setting"])["sample"].apply(list).to_dict()
    assert found == {setting: [0, 1, 2] for setting in SETTINGS}


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
    assert verdict.loc["C1", "holds"].tolist() == ["undecided"] * 2  # plain and refined
    assert verdict.loc["C1", ["effect", "low", "high"]].isna().all(axis=None)


@needs_notebooks
@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_of_the_paper_is_drawn(output, name):
    for ending in (".png", ".svg"):
        assert (Paths(output).figures / (name + ending)).stat().st_size > 1_000


@pytest.mark.long
def test_the_rungs_of_keys_leave_pieces_weights_history_and_costs(tmp_path):
    only = ["--only", "01_data_preparation", "lstm_of_keys", "--output", tmp_path]
    study = [sys.executable, "-m", "study.runner", "--preset", "smoke", *only]
    run = subprocess.run(study, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    paths, rungs = Paths(tmp_path), ("independent_keys", "joint_keys")
    costs = pd.read_csv(paths.results / "fairness.csv").set_index("kind")
    assert sorted(costs.index) == list(rungs)
    assert set(costs["steps"]) == {preset("smoke")["lstm_rung_steps"]}
    for rung in rungs:
        names = sorted(path.name for path in (paths.generated / "lstm" / rung / "0").iterdir())
        assert names == [f"{n:03}.mid" for n in range(preset("smoke")["n_samples"])]
        history = pd.read_csv(paths.results / f"history_{rung}_lstm_0.csv")
        assert history.columns.tolist() == ["epoch", "train", "valid"]
        assert paths.weights_of(f"{rung}_lstm", seed=0).exists()


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


def test_the_ladder_runs_the_lessons_that_train_rungs_and_measures_them_last():
    names = [nb.name for nb in read_notebooks(ROOT / "notebooks", {}, asked={"ladder"})]
    assert names == ["01_data_preparation", "03_gan", "04_vae", "lstm_of_keys", "ladders"]


def test_a_folder_of_ones_own_has_the_keys_before_the_comparison():
    found = {nb.name: nb for nb in read_notebooks(ROOT / "notebooks", {}, asked={"folder"})}
    assert "lstm_of_keys" in found["05_comparison"].depends
    assert [name for name in found if name[0] != "0"] == ["lstm_of_keys"]
