"""The benchmark: its rows do the same job on both sides, and its table says what was timed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tools import bench
from tools.notebook_form import ROOT


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
    return sorted((ROOT / "data" / "generated" / "lstm" / "0").glob("*.mid"))[:3]


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
    assert len(table) == 6
    assert table["job"].is_unique
    seconds = table[["seconds_ours", "seconds_otherwise"]]
    assert (seconds > 0).all().all()
    assert ((table["low"] <= table["ratio"]) & (table["ratio"] <= table["high"])).all()
    assert str(tmp_path / bench.TABLE) in capsys.readouterr().out
