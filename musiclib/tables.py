"""Keep a result table that several notebooks add to, whole and in one order.

Conventions: a table is a CSV file with one header line; *keys* are the columns that name a row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from musiclib.files import locked, write_csv


def record_table(
    rows: pd.DataFrame | Iterable[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    keys: Sequence[str],
) -> None:
    """Put `rows` into the CSV `path`: a row with the same `keys` is replaced, others stay.

    Parameters
    ----------
    rows : pandas.DataFrame or iterable of mappings
        The new rows. NaN and None become empty fields.
    path : str or os.PathLike
        The table; created if it is missing.
    keys : sequence of str
        The columns that name a row, such as ``("model", "seed", "sample")``. The table is sorted
        by them (numbers as numbers), so that it does not depend on who wrote first.

    Raises
    ------
    ValueError
        If `keys` is empty, a key is missing in a row, or two new rows have the same keys.

    Notes
    -----
    Several notebooks may record at once: a lock beside the table makes them take turns. Rows that
    stay are written back letter by letter.
    """
    keys = list(keys)
    new = _as_text(rows)
    _check_keys(new, keys)
    path = Path(path)
    with locked(path):
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            _check_keys(old, keys, name=str(path))
            new = pd.concat([old, new]).fillna("").drop_duplicates(keys, keep="last")
        write_csv(new.sort_values(keys, key=_order, kind="stable"), path)


def append_new(row: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Append `row` to the CSV `path`, unless it stands there already; what stands there stays.

    Parameters
    ----------
    row : mapping
        The new row. NaN and None become empty fields.
    path : str or os.PathLike
        The table; created if it is missing.

    Raises
    ------
    ValueError
        If the table has other columns.
    """
    new, path = _as_text([row]), Path(path)
    with locked(path):
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            if list(old.columns) != list(new.columns):
                raise ValueError(
                    f"{path}: got the columns {', '.join(old.columns)}; wanted "
                    f"{', '.join(new.columns)}"
                )
            new = pd.concat([old, new]).drop_duplicates(keep="first")
        write_csv(new, path)


def _as_text(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Write every field as it will stand in the file, so that old and new rows are alike."""
    frame = rows.astype(object) if isinstance(rows, pd.DataFrame) else _frame(rows)
    return frame.where(frame.notna(), "").map(str).reset_index(drop=True)


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a table in which a whole number beside an empty field stays one."""
    return pd.DataFrame(list(rows), dtype=object)


def _check_keys(rows: pd.DataFrame, keys: list[str], *, name: str = "rows") -> None:
    if not keys:
        raise ValueError("keys: got none, give the columns that name a row")
    for key in keys:
        if key not in rows.columns or (rows[key] == "").any():
            raise ValueError(f"{name}: key {key!r} is missing in at least one row; fill it in")
    twice = rows[rows.duplicated(keys)]
    if len(twice):
        pair = dict(twice[keys].iloc[0])
        raise ValueError(f"{name}: two rows have the same keys {pair}; keys must name a row")


def _order(column: pd.Series) -> pd.Series:
    """Order numbers as numbers where the whole column is numbers, else as text."""
    numbers = pd.to_numeric(column, errors="coerce")
    return column if numbers.isna().any() else numbers
