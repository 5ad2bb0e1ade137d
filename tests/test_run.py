"""Presets, folders, seeds, progress, figures, tables, and cells that are skipped."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from study import benchmarks
from study.run import (
    BENCHMARK_SETS,
    BUDGETS,
    CHECKOUT,
    KERNEL_THREADS,
    PRESET_NAMES,
    Paths,
    Progress,
    corpus_folder,
    kernel_environment,
    preset,
    save_figure,
    seed_everything,
    skip_cells,
)

# Presets


def test_every_budget_has_a_value_for_every_preset():
    for key, row in BUDGETS.items():
        assert len(row) == len(PRESET_NAMES), key
        assert preset("full")[key] == row[-1] == preset("smoke").full(key)


def test_smoke_is_the_smallest_and_classroom_trains_nothing():
    smoke, classroom = preset("smoke"), preset("classroom")
    for key in (key for key in BUDGETS if key.endswith("_steps")):
        assert 0 < smoke[key] < (preset("ladder") if "rung" in key else preset("full"))[key]
        assert classroom[key] == 0


def test_plain_trains_the_plain_models_as_full_does_and_no_other():
    plain = preset("plain")
    for model in ("lstm", "gan", "vae"):
        assert plain[f"plain_{model}_steps"] == plain.full(f"plain_{model}_steps") > 0
        assert plain[f"{model}_steps"] == 0
    for key in ("max_pieces", "seeds", "n_samples"):
        assert plain[key] == plain.full(key)
    assert plain.trainings == preset("full").trainings == 5


def test_the_ladder_trains_what_lies_between_plain_and_refined_with_the_full_budget():
    ladder = preset("ladder")
    trained = {key for key in BUDGETS if key.endswith("_steps") and ladder[key]}
    assert trained == {"lstm_rung_steps", "gan_rung_steps", "vae_rung_steps"}
    for model in ("gan", "vae"):
        assert ladder[f"{model}_rung_steps"] == ladder.full(f"{model}_steps")


def test_presets_of_other_budgets_leave_the_plain_models_as_released():
    for name in ("classroom", "half", "double"):
        assert not any(preset(name)[f"plain_{model}_steps"] for model in ("lstm", "gan", "vae"))
    trains = {name: preset(name).trainings for name in PRESET_NAMES}
    assert trains == {
        "smoke": 1, "standard": 1, "classroom": 0, "plain": 5, "ladder": 1, "half": 1, "double": 1,
        "full": 5,
    }  # fmt: skip


def test_half_and_double_are_full_but_for_the_steps_of_one_training():
    for name, share in (("half", 0.5), ("double", 2.0)):
        row = preset(name)
        assert row.trainings == 1
        for key in ("lstm_steps", "gan_steps", "vae_steps"):
            assert row[key] == share * row.full(key)
        for key in ("max_pieces", "n_samples", "lstm_units"):
            assert row[key] == row.full(key)


def test_the_table_sets_the_full_value_beside():
    table = preset("smoke").table()
    assert list(table.columns) == ["smoke (here)", "full"]
    assert table.loc["n_samples"].tolist() == [
        preset("smoke")["n_samples"],
        preset("full")["n_samples"],
    ]


def test_an_unknown_preset_or_budget_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="preset: got 'fast'; allowed: smoke, standard"):
        preset("fast")
    with pytest.raises(ValueError, match="key: got 'epochs', the budgets are max_pieces"):
        preset("smoke")["epochs"]


# Corpus and folders


def test_a_corpus_is_a_name_or_a_folder(tmp_path):
    assert corpus_folder("chorales") is None
    assert corpus_folder(str(tmp_path)) == tmp_path
    for nothing in ("nowhere", "", " "):
        with pytest.raises(ValueError, match=f"corpus: got '{nothing}'; allowed: chorales"):
            corpus_folder(nothing)


def test_a_benchmark_set_is_refused_with_the_command_that_runs_it():
    assert set(benchmarks.SETS) == set(BENCHMARK_SETS)
    with pytest.raises(ValueError, match="run the benchmark with: make benchmark DATASET=jsb"):
        corpus_folder("jsb")


def test_paths_stay_as_given_and_create_nothing(tmp_path):
    paths = Paths("..")
    assert paths.generated.as_posix() == "../data/generated"
    assert paths.figures.as_posix() == "../figures"
    below = Paths(tmp_path)
    names = ("prepared", "generated", "results", "audio", "weights")
    assert [getattr(below, name) for name in names] == [tmp_path / "data" / n for n in names]
    assert not list(tmp_path.iterdir())


# Seeds


def test_the_same_seed_gives_the_same_weights_and_numbers():
    keras = pytest.importorskip("keras")

    def draw(seed):
        rng = seed_everything(seed)
        weights = keras.layers.Dense(4)
        weights.build((None, 3))
        return rng.integers(1 << 30, size=5).tolist(), weights.kernel.numpy().tolist()

    assert draw(3) == draw(3)
    numbers, weights = draw(4)
    assert numbers != draw(3)[0]
    assert weights != draw(3)[1]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", True, None])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="seed: got .*; allowed: an integer from 0 to 4294967295"):
        seed_everything(seed)


def test_the_kernel_environment_fixes_threads_and_hashes():
    environment = kernel_environment(threads=3)
    assert environment["TF_NUM_INTRAOP_THREADS"] == environment["OMP_NUM_THREADS"] == "3"
    assert environment["PYTHONHASHSEED"] == "0"
    assert kernel_environment()["TF_NUM_INTRAOP_THREADS"] == str(KERNEL_THREADS)


# Progress


def test_progress_yields_every_item_and_leaves_one_line(capsys):
    bar = Progress(3, "steps")
    for step in bar:
        bar.note = f"loss {step / 2}"
    assert capsys.readouterr().out == "steps: 3 of 3, loss 1.0\n"
    assert list(Progress(iter("ab"), "letters")) == ["a", "b"]
    assert capsys.readouterr().out == "letters: 2\n"


def test_progress_by_steps_says_where_a_loop_broke_off(capsys):
    bar = Progress(10, "epochs")
    bar.step("loss 2")
    bar.step("loss 1")
    bar.close()
    bar.close()
    assert capsys.readouterr().out == "epochs: 2 of 10, loss 1\n"
    for step in Progress(10, "steps"):
        if step == 4:
            break
    assert capsys.readouterr().out == "steps: 4 of 10\n"


def test_in_a_notebook_one_display_is_updated():
    calls = []

    class Handle:
        def display(self, data, raw):
            calls.append(("display", data["text/plain"], raw))

        def update(self, data, raw):
            calls.append(("update", data["text/plain"], raw))

    bar = Progress(2, "a")
    bar._handle, bar._every = Handle(), 0.0
    assert list(bar) == [0, 1]
    bar.close()
    assert calls == [("display", "a: 1 of 2", True), ("update", "a: 2 of 2", True)]


# Figures


@pytest.fixture
def figure():
    fig, ax = plt.subplots()
    ax.plot(np.arange(5), label="five")
    ax.fill_between([0, 1], [0, 1], hatch="//")
    ax.legend()
    yield fig
    plt.close(fig)


def test_a_figure_is_written_twice_with_the_same_bytes(figure, tmp_path):
    def digests(folder):
        written = save_figure(figure, "fig1_workflow", Paths(folder))
        assert written == folder / "figures" / "fig1_workflow.png"
        files = sorted(written.parent.iterdir())
        assert [file.name for file in files] == ["fig1_workflow.png", "fig1_workflow.svg"]
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    svg = (tmp_path / "a" / "figures" / "fig1_workflow.svg").read_text()
    assert "<dc:date>" not in svg
    assert "matplotlib.org" not in svg.split("<metadata>")[1].split("</metadata>")[0]


@pytest.mark.parametrize("name", ["../x", "Fig 1", "", "a.png"])
def test_a_figure_name_with_other_signs_is_refused(figure, tmp_path, name):
    with pytest.raises(ValueError, match="name: got .*; allowed: lowercase letters"):
        save_figure(figure, name, Paths(tmp_path))
    assert not list(tmp_path.iterdir())


# Weights


def test_neither_a_run_nor_the_runner_starts_a_backend():
    code = "import sys, study.runner; print('keras' in sys.modules, 'tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_weights_of_seed_0_bear_the_model_s_name_alone(tmp_path):
    paths = Paths(tmp_path)
    assert paths.weights_of("gan", seed=0) == tmp_path / "data" / "weights" / "gan.weights.h5"
    assert paths.weights_of("gan", seed=12).name == "gan_12.weights.h5"


# What is released


def test_what_the_run_lacks_is_found_where_it_is_released(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    own = paths.weights_of("lstm", seed=0)
    twin = tmp_path / "released" / "data" / "weights" / own.name
    assert paths.find(own) == own
    twin.parent.mkdir(parents=True)
    twin.touch()
    assert paths.find(own) == twin
    folder = Paths(tmp_path / "run", str(tmp_path), released=tmp_path / "released")
    assert folder.find(own) == own  # released models are of chorales
    own.parent.mkdir(parents=True)
    own.touch()
    assert paths.find(own) == own


def test_weights_are_the_runs_own_or_the_released_of_seed_0_and_so_is_their_history(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    for root, seed in (("released", 0), ("released", 3), ("run", 3)):
        for name in (f"results/history_gan_{seed}.csv", f"weights/gan_{seed}.weights.h5"):
            file = tmp_path / root / "data" / name.replace("_0.weights", ".weights")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    def found(seed):
        both = paths.trained_weights("gan", seed=seed), paths.trained_history("gan", seed=seed)
        return [path.relative_to(tmp_path).as_posix().replace("data/", "") for path in both]

    assert found(3) == ["run/weights/gan_3.weights.h5", "run/results/history_gan_3.csv"]
    assert found(1) == ["released/weights/gan.weights.h5", "released/results/history_gan_0.csv"]
    folder = Paths(tmp_path / "run", str(tmp_path), released=tmp_path / "released")
    assert folder.trained_weights("gan", seed=0) == folder.weights_of("gan", seed=0)


def test_a_runs_rows_stand_over_the_released_ones(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    with pytest.raises(FileNotFoundError, match="costs.csv is missing; run the notebook"):
        paths.table("costs.csv")
    for folder, rows in (("released", "vae,0,1\nlstm,0,1\n"), ("run", "lstm,0,2\nlstm,0,2\n")):
        path = tmp_path / folder / "data" / "results" / "costs.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"model,seed,steps\n{rows}")
    merged = paths.table("costs.csv", keys=["model", "seed"])
    assert merged.values.tolist() == [["vae", 0, 1], ["lstm", 0, 2]]
    assert len(paths.table("costs.csv")) == 3
    folder = Paths(tmp_path / "run", str(tmp_path), released=tmp_path / "released")
    assert set(folder.table("costs.csv")["steps"]) == {2}


def test_no_run_writes_over_what_is_released():
    with pytest.raises(ValueError, match="holds the released files, which no run changes"):
        Paths(CHECKOUT)


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_later_cells_are_skipped_until_the_parameters_come_again(shell, capsys):
    shell.run_cell("import study.run\nx = 1\nstudy.run.skip_cells('no notes')")
    shell.run_cell("x = 2\nraise SystemError")
    shell.run_cell("def f():\n    x = 3\nf()")
    assert shell.user_ns["x"] == 1
    assert capsys.readouterr().out == "Skipped: no notes.\n" * 2
    shell.run_cell("preset = 'smoke'\ncorpus = 'chorales'")
    shell.run_cell("x = 4")
    assert (shell.user_ns["corpus"], shell.user_ns["x"]) == ("chorales", 4)


def test_outside_a_notebook_it_is_refused():
    InteractiveShell.clear_instance()
    with pytest.raises(RuntimeError, match="in a notebook's kernel only"):
        skip_cells("no notes")
