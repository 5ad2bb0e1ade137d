"""Parameters, merging and the form in which a notebook is committed; no kernel is started."""

from __future__ import annotations

import os

import nbformat
import pytest

from tools import notebook_form as form

CELL = 'preset = "full"  # budgets\nseed: int = 0  # any\nn_samples = None\noutput = ".."'


RUN = CELL.replace("full", "smoke").replace('".."', '"/somewhere"')


def notebook(*sources, parameters=CELL, study=True):
    """Make a notebook as it stands in notebooks/."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Title", id="m0")]
    cells.append(v4.new_code_cell(parameters, id="p0", metadata={"tags": ["parameters"]}))
    cells += [v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
    metadata = {"study": {"depends": [], "writes": []}} if study else {}
    return v4.new_notebook(cells=cells, metadata=metadata)


def run(*sources, outputs=()):
    """Make a notebook as it is after a run: counted, with outputs in its last cell."""
    node = notebook(*sources, parameters=RUN)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
    code[-1].outputs = [nbformat.from_dict(out) for out in outputs]
    return node


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


# Parameters


def test_parameters_are_read_and_replaced_in_place():
    values = form.declared_parameters(notebook().cells[1])
    assert values == {"preset": "full", "seed": 0, "n_samples": None, "output": ".."}
    new = form.with_parameters(CELL, values | {"preset": 'a "b" ü', "n_samples": 7})
    assert new == (
        'preset = "a \\"b\\" ü"  # budgets\nseed: int = 0  # any\nn_samples = 7\noutput = ".."'
    )
    assert form.with_parameters(new, values) == CELL


def test_a_folder_whose_name_is_no_utf_8_can_be_a_parameter():
    folder = os.fsdecode(b"/music/\xe9t\xe9")
    source = form.with_parameters('corpus = "chorales"', {"corpus": folder})
    assert source.isascii()
    assert form.declared_parameters(notebook(parameters=source).cells[1]) == {"corpus": folder}


def test_a_value_is_cut_by_bytes_not_signs():
    assert form.with_parameters('a = "ü"  # é\nb = "ß"', {"a": 1, "b": 2}) == "a = 1  # é\nb = 2"


@pytest.mark.parametrize(
    "source", ["seed = 1 + x", "a = b = 1", "import os", "print(1)", "a[0] = 1"]
)
def test_a_parameters_cell_holds_literals_only(source):
    with pytest.raises(form.FormError, match="parameters cell: line 1 is no NAME = LITERAL"):
        form.declared_parameters(notebook(parameters=source).cells[1])


def test_one_parameters_cell_is_needed():
    node = notebook()
    node.cells[1].metadata.tags = []
    with pytest.raises(form.FormError, match="02: has 0 cells tagged 'parameters', and needs one"):
        form.parameters_cell(node, name="02")


# Merging


def test_outputs_come_back_with_the_parameters_of_the_run_and_can_be_run_again():
    source = notebook("1 + 1", "print(2)")
    source.cells[0].source = "# Better title"
    result = form.merged(
        source, run("1 + 1", "print(2)", outputs=[stream("2\n")]), name="02", output=".."
    )
    nbformat.validate(result)
    assert result.cells[0].source == "# Better title"
    assert [cell.id for cell in result.cells] == ["m0", "p0", "c0", "c1"]
    assert [cell.execution_count for cell in form.code_cells(result)] == [1, 2, 3]
    assert result.cells[1].source == CELL.replace("full", "smoke")
    assert result.cells[3].outputs[0].text == "2\n"
    assert source.cells[3].outputs == []
    assert form.problems(result, size=10) == []
    again = form.merged(source, result, name="02", output="..")
    assert nbformat.writes(again) == nbformat.writes(result)


def test_code_that_changed_since_the_run_is_refused():
    for other in (notebook("1 + 2"), notebook("1 + 1", "2"), notebook()):
        with pytest.raises(form.FormError, match="02: its code has changed since it was run"):
            form.merged(other, run("1 + 1"), name="02", output="..")


def test_a_comment_that_changed_since_the_run_is_taken_over():
    result = form.merged(notebook("1 + 1  # two"), run("(1 + 1)"), name="02", output="..")
    assert result.cells[2].source == "1 + 1  # two"
    with pytest.raises(form.FormError, match="02: cell 1:1: cannot be read as Python"):
        form.merged(notebook("no python"), run("1 + 1"), name="02", output="..")


def test_what_differs_between_machines_is_taken_out():
    value = {"text/plain": f"<Model at 0x7f00aa> in {form.ROOT}/data"}
    out = {"output_type": "execute_result", "execution_count": 9, "metadata": {}, "data": value}
    result = form.merged(notebook("m"), run("m", outputs=[out]), name="02", output="..")
    cleaned = result.cells[-1].outputs[0]
    assert cleaned.data["text/plain"] == "<Model> in ../data"
    assert cleaned.execution_count == 2


# Form


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (lambda nb: nb.cells[2].update(execution_count=5), "not run top to bottom"),
        (lambda nb: nb.cells[2].update(source=" "), "an empty code cell"),
        (lambda nb: nb.cells[1].metadata.update(tags=[]), "0 cells tagged 'parameters'"),
        (lambda nb: nb.cells[2].update(source="x\n" * 41), "a code cell of 41 lines"),
        (lambda nb: nb.cells[2].update(id="p0"), "cells without an id, or with the same"),
        (lambda nb: nb.cells[0].pop("id"), "cells without an id, or with the same"),
        (lambda nb: nb.metadata.pop("study"), "no 'study' metadata"),
        (lambda nb: nb.cells[0].update(source="see /home/me/x"), "a path of a machine"),
        (
            lambda nb: nb.cells[2].outputs.append(nbformat.from_dict(stream("w", "stderr"))),
            "log lines among its outputs",
        ),
        (
            lambda nb: nb.cells[2].outputs.append(nbformat.from_dict(stream("C:\\Users\\me"))),
            "a path of a machine",
        ),
        (
            lambda nb: nb.cells[2].outputs.append(
                nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
            ),
            "an error among its outputs",
        ),
    ],
)
def test_each_fault_of_form_is_named(change, phrase):
    node = form.merged(notebook("1"), run("1"), name="02", output="..")
    assert form.problems(node, size=10) == []
    change(node)
    assert any(found.startswith(phrase) for found in form.problems(node, size=10))


def test_size_counts_and_sound_is_not_taken_for_a_path():
    sound = "data:audio/mpeg;base64,AAAA/tmp/BBBB/home/x"
    out = nbformat.v4.new_output("display_data", data={"text/html": f'<audio src="{sound}">'})
    node = form.merged(notebook("1"), run("1", outputs=[out]), name="02", output="..")
    assert form.problems(node, size=1_000_000) == []
    assert form.problems(node, size=1_000_001) == ["1,000,001 bytes, over 1,000,000"]
