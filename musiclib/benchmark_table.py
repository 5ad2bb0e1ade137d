"""What others reached on the four sets, and the table that every look at a test set goes to.

Conventions: figures are nats a frame on the test pieces, lower is better. *Outputs* says what a
model's figure may be held against: ``independent`` (the keys of a frame are drawn each on its
own), ``joint`` (each key knows the others of its frame), ``latent`` (a bound, not a likelihood);
they are never ranked together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from musiclib.benchmark_floors import NAMES
from musiclib.benchmarks import SETS
from musiclib.files import locked, write_csv
from musiclib.study import Paths

OUTPUTS = ("floor", "independent", "joint", "latent")
COLUMNS = (
    "dataset", "outputs", "model", "seed", "test_nll", "valid_nll", "parameters", "epochs",
    "train_seconds",
)  # fmt: skip

LOOKS = "benchmark_nll.csv"
"""The table of looks, in the results folder."""

_TCN = "arXiv 1803.01271, table 1"
_BL = "Boulanger-Lewandowski et al. 2012, as cited"
_DMM = "arXiv 1609.09869, table 3"

_PUBLISHED = (
    # outputs, model, JSB, Piano-midi, Nottingham, MuseData, source
    ("independent", "LSTM", 8.45, None, 3.29, None, _TCN),
    ("independent", "TCN", 8.10, None, 3.07, None, _TCN),
    ("independent", "RNN-HF", 8.58, 7.66, 3.89, 7.19, _BL),
    ("joint", "RNN-RBM", 6.27, 7.09, 2.39, 6.01, _BL),
    ("joint", "RNN-NADE (HF)", 5.56, 7.05, 2.31, 5.60, _BL),
    ("joint", "DMM-Aug-NADE", 5.118, 7.048, 2.305, 6.049, _DMM),
    ("joint", "LSTM-RTRBM", 4.72, None, None, 5.54, "as cited"),
    ("joint", "DBN-LSTM", 3.47, None, 1.32, None, "as cited; an outlier"),
    ("latent", "DMM-Aug (bound)", 6.773, 7.721, 2.856, 6.476, _DMM),
    ("latent", "STORN (as printed)", 6.91, 7.13, 2.85, 6.16, _DMM),
    ("latent", "LV-RNN / NASMC (as printed)", 3.99, 7.61, 2.72, 6.89, _DMM),
)


def published(dataset: str) -> pd.DataFrame:
    """Give what others reached on one set.

    Parameters
    ----------
    dataset : str
        ``jsb``, ``piano_midi``, ``nottingham`` or ``musedata``.

    Returns
    -------
    pd.DataFrame
        outputs, model, test_nll (nats a frame) and source; models without a figure left out.

    Examples
    --------
    >>> published("jsb").query("model == 'TCN'")["test_nll"].item()
    8.1
    """
    if dataset not in SETS:
        raise ValueError(f"dataset: got {dataset!r}, allowed are {', '.join(SETS)}")
    place = 2 + list(SETS).index(dataset)
    rows = [(row[0], row[1], row[place], row[-1]) for row in _PUBLISHED if row[place] is not None]
    return pd.DataFrame(rows, columns=["outputs", "model", "test_nll", "source"])


def record_look(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Append looks at a test set to their table; what stands there is never changed.

    A look that differs in nothing but its seconds from one that stands there is that one, told
    again after its run was killed, and is not counted twice.

    Parameters
    ----------
    rows : iterable of mappings
        Each with the `COLUMNS`.
    path : path
        ``benchmark_nll.csv``; created if it is missing.

    Raises
    ------
    ValueError
        When a row lacks a column or has another one, or the file has other columns.
    """
    path, rows = Path(path), [dict(row) for row in rows]
    for row in rows:
        if set(row) != set(COLUMNS):
            raise ValueError(f"rows: wanted {', '.join(COLUMNS)}, got {', '.join(row)}")
    new = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).map(str)
    with locked(path):
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            if tuple(old.columns) != COLUMNS:
                raise ValueError(f"{path}: wanted the columns {', '.join(COLUMNS)}")
            told = pd.concat([old, new], ignore_index=True)
            again = told.duplicated([c for c in COLUMNS if c != "train_seconds"])
            new = told[~again | (told.index < len(old))]
        write_csv(new, path)


def read_looks(paths: Paths) -> pd.DataFrame:
    """Read all looks at test sets, released ones and this run's; no row where there was none."""
    try:
        return paths.table(LOOKS)
    except FileNotFoundError:
        return pd.DataFrame(columns=list(COLUMNS))


def floors_of(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Give the floors of one set as they were measured: model, test_nll, with outputs ``floor``."""
    rows = looks[(looks["dataset"] == dataset) & looks["model"].isin(NAMES)]
    rows = rows.drop_duplicates("model", keep="last")
    return rows[["model", "test_nll"]].assign(outputs="floor")


def summarise(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Give mean and spread over the seeds of each of our models on one set.

    Parameters
    ----------
    looks : pd.DataFrame
        As `read_looks` gives it. Where a seed was looked at more than once, the last counts; the
        number of looks is told.
    dataset : str
        The floors among its rows are left out.

    Returns
    -------
    pd.DataFrame
        outputs, model, test_nll (mean, nats a frame), spread (standard deviation over seeds, NaN
        for one), low, high, valid_nll, seeds, looks, parameters, train_seconds.
    """
    ours = looks[(looks["dataset"] == dataset) & ~looks["model"].isin(NAMES)]
    last = ours.drop_duplicates(["outputs", "model", "seed"], keep="last")
    rows = []
    for (outputs, model), group in last.groupby(["outputs", "model"], sort=False):
        test = group["test_nll"].astype(float)
        rows.append({
            "outputs": outputs, "model": model, "test_nll": test.mean(), "spread": test.std(),
            "low": test.min(), "high": test.max(), "valid_nll": group["valid_nll"].mean(),
            "seeds": len(group),
            "looks": int(((ours["outputs"] == outputs) & (ours["model"] == model)).sum()),
            "parameters": int(group["parameters"].iloc[-1]),
            "train_seconds": group["train_seconds"].mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def compared(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Set our models on one set among the floors and the published figures.

    Returns
    -------
    pd.DataFrame
        outputs, model, test_nll, spread, low, high, seeds, looks, source; in the order of
        `OUTPUTS`, then by test_nll. The source is NaN for what is ours.
    """
    parts = [floors_of(looks, dataset), published(dataset), summarise(looks, dataset)]
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    columns = ["outputs", "model", "test_nll", "spread", "low", "high", "seeds", "looks", "source"]
    rows = rows.reindex(columns=columns).sort_values("test_nll")
    order = rows["outputs"].map(OUTPUTS.index).sort_values(kind="stable").index
    return rows.loc[order].reset_index(drop=True)
