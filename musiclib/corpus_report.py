"""The report of a prepared corpus on disk: what is known of an earlier run, and what still holds.

Conventions: ``report.csv`` stands beside the pieces once a run has ended; until then a list of what
is done grows by a line a file, so that a killed run loses nothing but the files in hand. A row
holds as long as its file has the same name and content, the code is the same, and the piece is,
byte for byte, the one that was written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from musiclib.files import explained, inside, sha256_of, write_csv
from musiclib.preparing import HELD, IGNORED, REPORT_COLUMNS, made_by

REPORT = "report.csv"
UNFINISHED = "report.unfinished.jsonl"

_NUMBERS = {"notes": int, "seconds": float, "steps": int, "other_steps": int}
_NUMBERS |= dict.fromkeys(("off_grid", "merged", "collided", "free"), float)
_PIECE = re.compile(r"[0-9a-f]{64}\.npz")

Row = dict[str, Any]


def piece_path(destination: str | os.PathLike[str], piece_sha256: str) -> Path:
    """Return where the piece with this SHA-256 is kept."""
    return inside(destination, f"{piece_sha256}.npz")


def read_report(destination: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the report so that writing it again gives the same file.

    Raises
    ------
    FileNotFoundError
        When the corpus has not been prepared.
    ValueError
        When the report is none of this version.
    """
    path = Path(destination) / REPORT
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run notebook 01 (data preparation) first")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    if not set(REPORT_COLUMNS) - {"seconds"} <= set(table.columns):
        raise ValueError(f"{path} is of another version; run notebook 01 (data preparation) again")
    for column in _NUMBERS.keys() & set(table.columns):
        table[column] = [_NUMBERS[column](text or "nan") for text in table[column]]
    return table


def write_report(rows: Sequence[Row], destination: Path) -> pd.DataFrame:
    """Write the report, then remove what it makes needless: old pieces, the unfinished list."""
    table = pd.DataFrame(rows, columns=REPORT_COLUMNS)
    write_csv(table.drop(columns="seconds"), destination / REPORT)
    done = [row for row in rows if row["status"] == "converted"]
    keep = {f"{name}.npz" for row in done for name in _pieces_of(row)}
    for path in destination.iterdir():
        if _PIECE.fullmatch(path.name) and path.name not in keep:
            path.unlink()
    (destination / UNFINISHED).unlink(missing_ok=True)
    return table


def read_with_pedal(row: Row, *, held: bool) -> Row:
    """Return the row of a file, read with its sustain pedal held or ignored.

    Both pieces of a file whose pedal lengthens notes are kept, so that another decision about the
    folder reads no file again: the row names the chosen one first.
    """
    if not row["pedal"]:
        return row
    if (row["pedal"] == HELD) != held:
        other = {"steps": row["other_steps"], "piece_sha256": row["other_sha256"]}
        other |= {"other_steps": row["steps"], "other_sha256": row["piece_sha256"]}
        row = row | other
    return row | {"pedal": HELD if held else IGNORED}


def note_rows(rows: Sequence[Row], destination: Path) -> None:
    """Add rows to the list of the unfinished run, but those that shall be tried again."""
    lines = "".join(f"\n{json.dumps(row)}" for row in rows if row["made_by"])
    path = destination / UNFINISHED
    try:
        with path.open("ab") as file:
            file.write(lines.encode("ascii"))
    except OSError as error:
        raise explained(error, path) from error


def known_rows(destination: Path) -> dict[tuple[str, str], Row]:
    """Return the earlier rows that still hold, by file and SHA-256, without their time."""
    rows: list[Row] = []
    with contextlib.suppress(FileNotFoundError, ValueError):
        rows = read_report(destination).to_dict("records")
    with contextlib.suppress(FileNotFoundError):
        for line in (destination / UNFINISHED).read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # an empty line, or one that a kill cut
                rows.append(json.loads(line))
    return {
        (row["file"], row["sha256"]): {**row, "seconds": 0.0}
        for row in rows
        if row["made_by"] == made_by() and _stands(row, destination)
    }


def _stands(row: Row, destination: Path) -> bool:
    """Say whether a file's refusal, or its piece, can be kept."""
    if row["status"] == "refused":
        return True
    try:
        return all(sha256_of(piece_path(destination, name)) == name for name in _pieces_of(row))
    except (OSError, ValueError):
        return False


def _pieces_of(row: Row) -> list[str]:
    """Return the SHA-256 of each piece made of a converted file: one, or two if it has a pedal."""
    return [name for name in (row["piece_sha256"], row["other_sha256"]) if name]
