"""The form of a notebook of the study: its parameters, what it declares, and how it is committed.

Conventions: a notebook has one code cell tagged ``parameters``, of literals that a run may replace,
and, in its metadata, ``"study": {"depends": [...], "writes": [...]}``: the notebooks it reads from,
and what it writes, as patterns below the output folder in which ``{seed}`` stands for the parameter
of that name; ``"reads"``, if there, are patterns of what people add between runs. Sources always
come from ``notebooks/``, outputs from the last run.
"""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from musiclib.code_hash import CodeError, code_hash

ROOT = Path(__file__).resolve().parent.parent

RUNS = ROOT / "runs"
"""Where runs lie that name no other folder; git ignores it."""

MAX_BYTES = 1_000_000
MAX_CELL_LINES = 40

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MACHINE_PATH = re.compile(r"(/home/\w|/Users/\w|/root/|/tmp/|/var/folders/|[A-Za-z]:\\+Users)")
_BASE64 = re.compile(r"base64,[A-Za-z0-9+/=\s]+")
_TEXT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex")


class FormError(ValueError):
    """A notebook has not the form that the study needs."""


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook, or say in one sentence that `path` is none."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise FormError(f"{path}: not a notebook that can be read ({reason})") from error


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """Give the code cells."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def parameters_cell(nb: NotebookNode, *, name: str) -> NotebookNode:
    """Give the one cell tagged ``parameters``."""
    found = [cell for cell in code_cells(nb) if "parameters" in _tags(cell)]
    if len(found) != 1:
        raise FormError(f"{name}: has {len(found)} cells tagged 'parameters', and needs one")
    return found[0]


def declared_parameters(cell: NotebookNode) -> dict[str, Any]:
    """Read names and values off a parameters cell without running it."""
    return {name: ast.literal_eval(node.value) for name, node in _assignments(cell.source)}


def seen_from(notebooks: Path, output: Path) -> str:
    """Return the output relative to a checkout's notebooks, so that they name no machine."""
    if not output.is_relative_to(notebooks.parent):
        return str(output)
    return Path("..", output.relative_to(notebooks.parent)).as_posix()


def with_parameters(source: str, values: Mapping[str, Any]) -> str:
    """Replace the values in a parameters cell, and leave names, order and comments as they are.

    Examples
    --------
    >>> with_parameters('seed = 0  # any integer', {"seed": 3})
    'seed = 3  # any integer'
    """
    lines = [line.encode() for line in source.splitlines()]
    for name, node in reversed(list(_assignments(source))):
        if name in values and ast.literal_eval(node.value) != values[name]:
            value = node.value
            if value.lineno != value.end_lineno:
                raise FormError(f"parameter {name}: its value must stand on one line")
            line, end = lines[value.lineno - 1], value.end_col_offset
            lines[value.lineno - 1] = line[: value.col_offset] + _literal(values[name]) + line[end:]
    return b"\n".join(lines).decode()


def merged(source: NotebookNode, run: NotebookNode, *, name: str, output: str) -> NotebookNode:
    """Put the outputs of a run into the notebook as it stands, ready to be run again.

    Parameters
    ----------
    source : NotebookNode
        The notebook of ``notebooks/``: text, code, ids and metadata come from here.
    run : NotebookNode
        The notebook as executed.
    name : str
        For messages.
    output : str
        What the parameter ``output`` shall say.

    Raises
    ------
    FormError
        If the code differs from the code that was run.
    """
    result = copy.deepcopy(source)
    old, new = code_cells(run), code_cells(result)
    values = declared_parameters(parameters_cell(run, name=name)) | {"output": output}
    target = parameters_cell(result, name=name)
    target.source = with_parameters(target.source, values)
    others = [[c.source for c in cells if "parameters" not in _tags(c)] for cells in (old, new)]
    try:
        ran, written = (code_hash(cells=cells, packages=()) for cells in others)
    except CodeError as error:
        raise FormError(f"{name}: {error}") from error
    if ran != written or len(old) != len(new):
        raise FormError(f"{name}: its code has changed since it was run; run it again")
    for number, (cell, before) in enumerate(zip(new, old, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [_cleaned(out, number) for out in before.outputs]
        cell.metadata.pop("execution", None)
    result.metadata.pop("widgets", None)
    result.metadata.language_info = {"name": "python"}
    return result


def without_stderr(nb: NotebookNode) -> NotebookNode:
    """Drop warnings and log lines, which a committed notebook does not show."""
    for cell in code_cells(nb):
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return nb


def problems(nb: NotebookNode, *, size: int) -> list[str]:
    """Say what keeps a notebook from being committed, a phrase each; none is well."""
    cells = code_cells(nb)
    tagged = sum("parameters" in _tags(cell) for cell in cells)
    longest = max((len(cell.source.splitlines()) for cell in cells), default=0)
    ids = [cell.get("id") for cell in nb.cells]
    kinds = {kind for _, out in _outputs(nb) for kind in (out.output_type, out.get("name"))}
    checks = {
        "not run top to bottom": [c.execution_count for c in cells]
        != list(range(1, len(cells) + 1)),
        "an empty code cell": any(not cell.source.strip() for cell in cells),
        f"{tagged} cells tagged 'parameters' instead of one": tagged != 1,
        f"a code cell of {longest} lines": longest > MAX_CELL_LINES,
        "cells without an id, or with the same": None in ids or len(set(ids)) < len(ids),
        "an error among its outputs": "error" in kinds,
        "log lines among its outputs": "stderr" in kinds,
        f"{size:,} bytes, over {MAX_BYTES:,}": size > MAX_BYTES,
        "no 'study' metadata with 'depends' and 'writes'": not declares(nb),
    }
    return [phrase for phrase, bad in checks.items() if bad] + _machine_paths(nb)


def declares(nb: NotebookNode) -> bool:
    """Tell whether the notebook says what it depends on and what it writes."""
    study = nb.metadata.get("study", {})
    return isinstance(study.get("depends"), list) and isinstance(study.get("writes"), list)


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _outputs(nb: NotebookNode) -> Iterator[tuple[NotebookNode, NotebookNode]]:
    return ((cell, out) for cell in code_cells(nb) for out in cell.outputs)


def _assignments(source: str) -> Iterator[tuple[str, Any]]:
    """Give the assignments of literals to plain names; anything else is no parameters cell."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        try:
            ast.literal_eval(value)
        except (ValueError, TypeError):
            value = None
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or value is None:
            raise FormError(f"parameters cell: line {node.lineno} is no NAME = LITERAL")
        yield targets[0].id, node


def _literal(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text.encode(errors="backslashreplace")  # a name that is no UTF-8


def _cleaned(output: NotebookNode, number: int) -> NotebookNode:
    """Give an output without what differs from machine to machine and from run to run."""
    output = copy.deepcopy(output)
    if output.output_type == "execute_result":
        output.execution_count = number
    if "text" in output:
        output.text = _without_machine(output.text)
    for kind in _TEXT_TYPES:
        if kind in output.get("data", {}):
            output.data[kind] = _without_machine(output.data[kind])
    return output


def _without_machine(text: str) -> str:
    for folder, sign in ((ROOT, ".."), (Path.home(), "~")):
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), sign)
    return _ADDRESS.sub("", text)


def _machine_paths(nb: NotebookNode) -> list[str]:
    found = []
    for number, cell in enumerate(nb.cells, start=1):
        texts = [cell.source]
        for out in cell.get("outputs", []):
            texts += [out.get("text", ""), *(out.get("data", {}).get(k, "") for k in _TEXT_TYPES)]
        hits = [m for text in texts if (m := _MACHINE_PATH.search(_BASE64.sub("", text)))]
        found += [f"a path of a machine ({hits[0][0]}...) in cell {number}"] if hits else []
    return found
