"""The command that runs the benchmark: what it hands to the notebook, and what it refuses."""

from __future__ import annotations

import pytest

from musiclib import benchmarks
from tools import run_benchmark
from tools.notebook_form import declared_parameters, parameters_cell
from tools.notebook_run import NotebookError


class FakeRun:
    """Stands for a run of the notebook, and remembers what it was given."""

    seen: list = []  # noqa: RUF012
    fails = False

    def __init__(self, nb):
        self.nb, self.seconds = nb, 1.0
        FakeRun.seen.append(nb.given)

    async def execute(self, *, threads):
        if FakeRun.fails:
            raise NotebookError("stopped in cell 3 of 9: no")

    def keep(self, rendered):
        assert rendered.name == "rendered"

    def keep_failure(self, error, rendered):
        return rendered / "02_lstm.log"


@pytest.fixture
def fake(monkeypatch, tmp_path):
    FakeRun.seen, FakeRun.fails = [], False
    (tmp_path / "JSB_Chorales.mat").touch()
    monkeypatch.setenv("MUSICLIB_DATA", str(tmp_path))
    monkeypatch.setattr(run_benchmark, "Run", FakeRun)
    return tmp_path


def command(folder, *more):
    return run_benchmark.main(["--dataset", "jsb", "--output", str(folder), *more])


@pytest.mark.parametrize("model", ["lstm", "vae"])
def test_each_seed_is_a_run_of_the_models_notebook_on_the_set(fake, model):
    more = ["--seeds", "2", "--first", "3", "--preset", "smoke", "--model", model]
    assert command(fake, *more) == run_benchmark.DONE
    assert [given["seed"] for given in FakeRun.seen] == [3, 4]
    assert {given["corpus"] for given in FakeRun.seen} == {"jsb"}
    path = run_benchmark.ROOT / "notebooks" / f"{run_benchmark.NOTEBOOKS[model]}.ipynb"
    node = run_benchmark.read_notebook(path)
    assert set(FakeRun.seen[0]) <= set(declared_parameters(parameters_cell(node, name=model)))


def test_a_failure_is_told_and_ends_the_command(fake, capsys):
    FakeRun.fails = True
    assert command(fake) == run_benchmark.FAILED
    assert len(FakeRun.seen) == 1
    assert "seed 0: stopped in cell 3 of 9" in capsys.readouterr().out


def test_a_set_that_is_not_there_is_refused_in_a_sentence(fake, monkeypatch, capsys):
    def missing(name):
        raise FileNotFoundError("JSB_Chorales.mat is not in data and could not be downloaded")

    monkeypatch.setattr(run_benchmark, "find_benchmark", missing)
    assert command(fake) == run_benchmark.REFUSED
    assert capsys.readouterr().err.startswith("benchmark: JSB_Chorales.mat is not in data")
    assert benchmarks.SETS["jsb"].file == "JSB_Chorales.mat"


@pytest.mark.parametrize(
    "more", [["--seeds", "0"], ["--seeds", "-4"], ["--first", "-1"], ["--threads", "0"]]
)
def test_a_number_out_of_range_is_refused_in_a_sentence(fake, capsys, more):
    with pytest.raises(SystemExit) as stop:
        command(fake, *more)
    assert stop.value.code == run_benchmark.REFUSED
    assert f"benchmark: argument {more[0]}: got {more[1]}, allowed is" in capsys.readouterr().err
    assert not FakeRun.seen
