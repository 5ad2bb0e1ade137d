"""The bench: its rows do the same job on both sides, and its table says what was timed.

The benchmark: what it hands to the notebook, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from study import bench, benchmarks, runner
from study.runner import ROOT, NotebookError, declared_parameters, parameters_cell


def test_a_row_is_timed_in_turns_behind_one_that_does_not_count(monkeypatch):
    spent = {"ours": iter([9, 1, 1, 2]), "theirs": iter([9, 3, 7, 3])}
    done, now = [], [0.0]

    def job(side):
        def run():
            done.append(side)
            now[0] += next(spent[side])

        return run

    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    row = bench.Row("a job", "another way", job("ours"), job("theirs"))
    line = bench.timed(row, repeats=3)
    assert done == ["ours", "theirs"] * 4
    assert (line["seconds_ours"], line["seconds_otherwise"]) == (1, 3)
    assert (line["low"], line["ratio"], line["high"]) == (1.5, 3, 7)


@pytest.fixture(scope="module")
def files():
    return sorted((ROOT / "data" / "generated" / "lstm" / "refined" / "0").glob("*.mid"))[:3]


def test_both_sides_of_reading_find_the_same_notes(files):
    read, draw, play = bench.reading_rows(files)
    for ours, theirs in zip(read.ours(), read.theirs(), strict=True):
        assert [str(n) for n in ours.instruments[0].notes] == [
            str(n) for n in theirs.instruments[0].notes
        ]
    for ours, theirs in zip(draw.ours(), draw.theirs(), strict=True):
        steps = min(len(ours), theirs.shape[1])
        sounds = theirs[21:109, :steps].T > 0
        assert abs(len(ours) - theirs.shape[1]) <= 1
        assert (ours[:steps, :, 1] > 0)[sounds].mean() > 0.98
    ours, theirs = play.ours(), play.theirs()
    assert np.abs(ours).max() > 0.05 < np.abs(theirs).max()
    assert len(ours) == pytest.approx(len(theirs), rel=0.2)


@pytest.mark.long
def test_the_command_times_every_row_and_writes_the_table(tmp_path, capsys):
    more = ["--repeats", "1", "--pieces", "2", "--steps", "4", "--output", str(tmp_path)]
    assert bench.main(more) == 0
    table = pd.read_csv(tmp_path / bench.TABLE)
    assert len(table) == 4
    assert table["job"].is_unique
    seconds = table[["seconds_ours", "seconds_otherwise"]]
    assert (seconds > 0).all().all()
    assert ((table["low"] <= table["ratio"]) & (table["ratio"] <= table["high"])).all()
    assert str(tmp_path / bench.TABLE) in capsys.readouterr().out


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
    monkeypatch.setattr(bench, "Run", FakeRun)
    return tmp_path


def command(folder, *more):
    return bench.benchmark(["--dataset", "jsb", "--output", str(folder), *more])


@pytest.mark.parametrize("model", ["lstm", "vae"])
def test_each_seed_is_a_run_of_the_models_notebook_on_the_set(fake, model):
    more = ["--seeds", "2", "--first", "3", "--preset", "smoke", "--model", model]
    assert command(fake, *more) == bench.DONE
    assert [given["seed"] for given in FakeRun.seen] == [3, 4]
    assert {given["corpus"] for given in FakeRun.seen} == {"jsb"}
    path = runner.ROOT / "notebooks" / f"{bench.NOTEBOOKS[model]}.ipynb"
    node = runner.read_notebook(path)
    assert set(FakeRun.seen[0]) <= set(declared_parameters(parameters_cell(node, name=model)))


def test_a_failure_is_told_and_ends_the_command(fake, capsys):
    FakeRun.fails = True
    assert command(fake) == bench.FAILED
    assert len(FakeRun.seen) == 1
    assert "seed 0: stopped in cell 3 of 9" in capsys.readouterr().out


def test_a_set_that_is_not_there_is_refused_in_a_sentence(fake, monkeypatch, capsys):
    def missing(name):
        raise FileNotFoundError("JSB_Chorales.mat is not in data and could not be downloaded")

    monkeypatch.setattr(bench, "find_benchmark", missing)
    assert command(fake) == runner.REFUSED
    assert capsys.readouterr().err.startswith("benchmark: JSB_Chorales.mat is not in data")
    assert benchmarks.SETS["jsb"].file == "JSB_Chorales.mat"


@pytest.mark.parametrize(
    "more", [["--seeds", "0"], ["--seeds", "-4"], ["--first", "-1"], ["--threads", "0"]]
)
def test_a_number_out_of_range_is_refused_in_a_sentence(fake, capsys, more):
    with pytest.raises(SystemExit) as stop:
        command(fake, *more)
    assert stop.value.code == runner.REFUSED
    assert (
        f"benchmark: error: argument {more[0]}: got {more[1]}; allowed: " in capsys.readouterr().err
    )
    assert not FakeRun.seen
