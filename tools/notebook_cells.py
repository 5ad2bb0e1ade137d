"""Run the tagged code cells of a notebook alone: tests try what they define, a bench times it.

Conventions: the notebooks are those of this checkout, found by name; no other file is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def load_cells(notebook: str, tag: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """Execute the code cells of `notebook` that carry `tag`, in order, in `namespace`.

    Only definitions are wanted: statements that are no definition, import or assignment of a
    constant are left out by tagging, not by this function.
    """
    nb = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    cells = [c for c in nb.cells if c.cell_type == "code" and tag in c.metadata.get("tags", [])]
    if not cells:
        raise ValueError(f"{notebook} has no code cell tagged {tag!r}")
    for cell in cells:
        exec(compile(cell.source, f"{notebook}[{cell.id}]", "exec"), namespace)
    return namespace
