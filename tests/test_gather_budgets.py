"""Rows of other runs go into the one table of budgets."""

import pandas as pd

from tools.gather_budgets import TABLE, gather, main


def table(folder, *rows):
    path = folder / TABLE
    path.parent.mkdir(parents=True)
    columns = ["model", "trained_with", "steps", "distance", "corpus"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return folder


def test_rows_are_added_and_replaced_letter_by_letter(tmp_path):
    here = table(
        tmp_path / "here",
        ("lstm", "full", 800, "0.2860", "chorales"),
        ("lstm", "half", 400, "0.5000", "chorales"),
    )
    half = table(tmp_path / "half", ("lstm", "half", 400, "0.3100", "chorales"))
    double = table(tmp_path / "double", ("lstm", "double", 1600, "0.2500", "chorales"))
    assert gather([half, double], into=here) == 2
    read = pd.read_csv(here / TABLE, dtype=str).set_index("trained_with")["distance"]
    assert read.to_dict() == {"full": "0.2860", "half": "0.3100", "double": "0.2500"}


def test_a_folder_without_a_table_is_named_and_nothing_written(tmp_path, capsys):
    here = table(tmp_path / "here", ("lstm", "full", 800, "0.2860", "chorales"))
    before = (here / TABLE).read_bytes()
    assert main([str(tmp_path / "empty"), "--into", str(here)]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "empty" / TABLE) in said
    assert "run the study there first" in said
    assert (here / TABLE).read_bytes() == before


def test_a_table_of_something_else_is_named(tmp_path, capsys):
    here = table(tmp_path / "here", ("lstm", "full", 800, "0.2860", "chorales"))
    (tmp_path / "other" / TABLE).parent.mkdir(parents=True)
    (tmp_path / "other" / TABLE).write_text("a,b\n1,2\n")
    assert main([str(tmp_path / "other"), "--into", str(here)]) == 1
    assert "has no column corpus; run the study there again" in capsys.readouterr().err


def test_a_home_that_no_shell_has_written_out_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    table(tmp_path / "half", ("lstm", "half", 400, "0.3100", "chorales"))
    assert main(["~/half", "--into", "~/here"]) == 0
    assert (tmp_path / "here" / TABLE).is_file()
