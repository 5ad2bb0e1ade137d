"""Keep what was measured in one table, under a hash of what was measured and one of the code.

Conventions: a table is a CSV file with the columns item, code, sha256 and a column a measure; a row
counts only if its SHA-256 is that of its fields, so a changed or half-written one is measured
again. A table is written by one code: rows of an older one go. Beside it stands ``NAME.json``, the
versions behind it. NaN and infinities come back as they were; an empty field is a measure that the
row does not have.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from musiclib.files import locked, write_json, write_text

_NAMES = ("item", "code", "sha256")
_SECONDS = 5.0  # between two writings: what a kill can lose

Row = dict[str, Any]


class Kept:
    """One table of measures.

    Parameters
    ----------
    path : path or None
        A CSV file, which need not exist; None keeps nothing.
    code : str, optional
        Hash of the code that new rows are made by; rows of another code are not known. Without it
        every row is known, whatever code made it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, code: str = "") -> None:
        self.path, self.code = None if path is None else Path(path), code
        self.rows = {} if self.path is None else _read(self.path, code)

    def get(self, item: str, other: Kept | None = None) -> Row | None:
        """Return the measures of an item, of this table or else of the other; None if unknown."""
        found = self.rows.get(item)
        return other.get(item) if found is None and other is not None else found

    def add(self, item: str, measures: Mapping[str, Any]) -> Row:
        """Take an item's measures, and return them as they will be read again."""
        row = {name: _value(_text(value)) for name, value in measures.items()}
        self.rows[item] = row
        if self.path is not None and time.monotonic() - self._written > _SECONDS:
            self._write()
        return row

    @contextlib.contextmanager
    def writing(self, versions: Mapping[str, str]) -> Iterator[None]:
        """Write what the block adds, now and then and at its end; `versions` go beside it."""
        self._written, self._versions, before = time.monotonic(), dict(versions), len(self.rows)
        try:
            yield
        finally:
            if self.path is not None and len(self.rows) > before:
                self._write()

    def _write(self) -> None:
        """Write the table, with the rows that another process has added in the meantime."""
        with locked(self.path):
            self.rows = {**_read(self.path, self.code), **self.rows}
            write_text(_table(self.rows, self.code), self.path)
            write_json(self._versions, _beside(self.path))
        self._written = time.monotonic()


def made_with(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the versions behind a table, by package; nothing if they are not known."""
    try:
        found = json.loads(_beside(Path(path)).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path, code: str) -> dict[str, Row]:
    """Return the rows of a table, by item, whose SHA-256 fits; of any code if `code` is empty."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = [*csv.reader(file), []]
    except (FileNotFoundError, ValueError, csv.Error):
        return {}
    if tuple(header[: len(_NAMES)]) != _NAMES:
        return {}
    found: dict[str, Row] = {}
    measures = header[len(_NAMES) :]
    for line in lines:
        if len(line) == len(header) and code in ("", line[1]):
            fields = {n: f for n, f in zip(measures, line[len(_NAMES) :], strict=True) if f}
            if line[2] == _hash(line[0], line[1], fields):
                found[line[0]] = {name: _value(field) for name, field in fields.items()}
    return found


def _table(rows: Mapping[str, Row], code: str) -> str:
    """Return the table as text, sorted by item, so that it does not depend on who came first."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    memory = io.StringIO()
    writer = csv.writer(memory, lineterminator="\n")
    writer.writerow([*_NAMES, *names])
    for item, row in sorted(rows.items()):
        fields = {name: _text(value) for name, value in row.items()}
        known = [item, code, _hash(item, code, fields)]
        writer.writerow(known + [fields.get(name, "") for name in names])
    return memory.getvalue()


def _hash(item: str, code: str, fields: Mapping[str, str]) -> str:
    text = json.dumps([item, code, sorted(fields.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(float(value))


def _value(field: str) -> Any:
    """Return the number that a field says, or the field itself if it says none."""
    try:
        return float(field)
    except ValueError:
        return field
