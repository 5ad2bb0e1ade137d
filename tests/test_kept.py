"""The table of what was measured: what comes back, what does not, and what a kill leaves."""

from __future__ import annotations

import math

import pytest

from musiclib.kept import Kept, made_with

ROW = {"energy": 1 / 3, "level": -math.inf, "ratio": math.nan}
VERSIONS = {"numpy": "2.3"}


def write(path, rows, code="a"):
    table = Kept(path, code=code)
    with table.writing(VERSIONS):
        for item, row in rows.items():
            table.add(item, row)
    return path


def same(found, row):
    return found.keys() == row.keys() and all(
        found[k] == row[k] or (math.isnan(found[k]) and math.isnan(row[k])) for k in row
    )


def test_numbers_come_back_as_they_were(tmp_path):
    path = write(tmp_path / "deep" / "m.csv", {"one": ROW, "two": {"skipped": "too short"}})
    again = Kept(path, code="a")
    assert same(again.get("one"), ROW)
    assert again.get("two") == {"skipped": "too short"}
    assert again.get("three") is None
    assert made_with(path) == VERSIONS


def test_another_code_knows_nothing_and_takes_the_tables_place(tmp_path):
    path = write(tmp_path / "m.csv", {"one": ROW})
    assert Kept(path, code="b").get("one") is None
    assert same(Kept(path).get("one"), ROW)  # released: whatever code made it
    write(path, {"two": ROW}, code="b")
    assert Kept(path).get("one") is None


def test_a_table_does_not_depend_on_the_order(tmp_path):
    one = write(tmp_path / "1.csv", {"a": ROW, "b": {"energy": 2.0, "level": 1.0, "ratio": 0.0}})
    two = write(tmp_path / "2.csv", {"b": {"energy": 2.0, "level": 1.0, "ratio": 0.0}, "a": ROW})
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.333", "0.444"), ("-inf", "inf"), ("one", "two"), (",a,", ",b,"), ("item", "thing")],
)
def test_a_changed_row_is_not_known(tmp_path, old, new):
    path = write(tmp_path / "m.csv", {"one": ROW})
    path.write_text(path.read_text().replace(old, new, 1))
    assert Kept(path).rows == {}


@pytest.mark.parametrize("text", ["", "nonsense", "item,code,sha256\n1", "item\n1", '"', "\0"])
def test_what_is_no_table_knows_nothing(tmp_path, text):
    path = tmp_path / "m.csv"
    path.write_text(text)
    assert Kept(path).get("one") is None
    write(path, {"one": ROW})
    assert same(Kept(path).get("one"), ROW)


def test_a_kill_leaves_what_was_done_before(tmp_path, monkeypatch):
    monkeypatch.setattr("musiclib.kept._SECONDS", -1.0)
    table = Kept(tmp_path / "m.csv", code="a")
    with pytest.raises(KeyboardInterrupt), table.writing(VERSIONS):
        table.add("one", ROW)
        assert same(Kept(table.path).get("one"), ROW)  # at once, not at the end alone
        raise KeyboardInterrupt


def test_two_processes_add_to_one_table(tmp_path):
    path = tmp_path / "m.csv"
    first, second = (Kept(path, code="a") for _ in range(2))
    for table, item in ((first, "one"), (second, "two")):
        with table.writing(VERSIONS):
            table.add(item, ROW)
    assert {"one", "two"} <= Kept(path).rows.keys()
