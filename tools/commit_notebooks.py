"""Put the notebooks of the last run over those of ``notebooks/``, cleaned to be committed.

    python -m tools.commit_notebooks

Conventions: text and code stay as they stand in ``notebooks/``; the outputs, and the parameters
they were made with, come from ``rendered/``. Nothing is written unless every notebook is in form.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from musiclib.files import write_text
from tools.notebook_form import (
    ROOT,
    FormError,
    declared_parameters,
    merged,
    parameters_cell,
    problems,
    read_notebook,
    without_stderr,
)


def committable(source: Path, run: Path) -> str:
    """Give the text of the notebook `source` with the outputs of `run`, or say what is wrong.

    Raises
    ------
    FormError
        If it was not run, has changed since, or is not in form.
    """
    if not run.exists():
        raise FormError(f"{source.stem}: was not run yet; run make study first")
    node, name = read_notebook(source), source.stem
    output = declared_parameters(parameters_cell(node, name=name)).get("output", "..")
    result = without_stderr(merged(node, read_notebook(run), name=name, output=output))
    text = nbformat.writes(result) + "\n"
    if found := problems(result, size=len(text.encode())):
        raise FormError(f"{name}: {'; '.join(found)}")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the notebooks, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rendered", type=Path, default=ROOT / "rendered")
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks")
    options = parser.parse_args(arguments)
    texts: dict[Path, str] = {}
    wrong = []
    for path in sorted(options.notebooks.glob("0*.ipynb")):
        try:
            texts[path] = committable(path, options.rendered / path.name)
        except FormError as error:
            wrong.append(str(error))
    if wrong:
        print("No notebook was written:\n" + "\n".join(wrong), file=sys.stderr, flush=True)
        return 1
    for path, text in texts.items():
        write_text(text, path)
        print(f"wrote {path}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
