"""Put the distances of other runs of the study into this checkout's table of budgets.

    python -m tools.gather_budgets rendered/budgets/half rendered/budgets/double

Conventions: each folder is the ``OUTPUT`` of a study that trained its models; notebook 05 left a
row a model in its ``data/results/budgets.csv``. Rows of the same corpus, preset and model are
replaced, others stay. The exit status is 0, or 1 when a table is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from musiclib.tables import record_table
from tools.command_line import Parser
from tools.notebook_form import ROOT

TABLE = Path("data", "results", "budgets.csv")
KEYS = ["corpus", "trained_with", "model"]


def gather(folders: Sequence[Path], *, into: Path) -> int:
    """Record the rows of all folders in `into`, the last of equal keys; return how many.

    Raises
    ------
    FileNotFoundError
        If a folder has no table of budgets.
    ValueError
        If a table is none of budgets.
    OSError
        If the table cannot be written.
    """
    found = []
    for folder in folders:
        path = folder.expanduser() / TABLE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; run the study there first")
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if missing := sorted(set(KEYS) - set(table.columns)):
            raise ValueError(f"{path} has no column {missing[0]}; run the study there again")
        found.append(table)
    rows = pd.concat(found).drop_duplicates(KEYS, keep="last")
    record_table(rows, into.expanduser() / TABLE, keys=KEYS)
    return len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Gather as the command line says, and give the exit status."""
    parser = Parser(prog="gather_budgets", description="Gather distances.")
    parser.add_argument("folders", nargs="+", type=Path, help="outputs of studies")
    parser.add_argument("--into", type=Path, default=ROOT, help="folder whose table receives them")
    options = parser.parse_args(arguments)
    try:
        n = gather(options.folders, into=options.into)
    except (OSError, ValueError) as error:
        print(f"gather_budgets: {error}", file=sys.stderr)
        return 1
    print(f"{n} rows are in {options.into.expanduser() / TABLE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
