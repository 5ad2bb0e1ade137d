"""Say which pieces lie within the range of real music, and what is wrong with those that do not.

Conventions: tables as in `intervals`. The range of a measure is the 1st to 99th percentile (linear
interpolation) of the held-out real pieces; a piece that does not define the measure lies outside.
With few real pieces that is nearly their lowest to highest value.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from musiclib.comparison import FEATURES, dropped_features
from musiclib.evaluation import REAL
from musiclib.generated import PERCENTILES, RANGED
from musiclib.measuring import PROBLEMS


def real_ranges(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Return the range of each measure in real music.

    Parameters
    ----------
    table : pd.DataFrame
        With column model and the measures.
    measures : sequence of str
        Columns of it.

    Returns
    -------
    pd.DataFrame
        Index measure; columns low, high, n (real pieces that define it).

    Raises
    ------
    ValueError
        If the table holds no real piece.
    """
    real = table.loc[table["model"] == REAL, list(measures)]
    if real.empty:
        raise ValueError(f"table holds no piece of the set {REAL!r}, whose range is asked for")
    low, high = (real.quantile(share) for share in PERCENTILES)
    return pd.DataFrame({"low": low, "high": high, "n": real.count()}).rename_axis("measure")


def inside_range(table: pd.DataFrame, measures: Sequence[str] = RANGED) -> pd.DataFrame:
    """Tell which pieces lie inside the real pieces' range.

    Parameters
    ----------
    table : pd.DataFrame
        With column model and the measures.
    measures : sequence of str
        Columns of it.

    Returns
    -------
    pd.DataFrame of bool
        Index as the table's; a column a measure.
    """
    ranges = real_ranges(table, measures)
    values = table[list(measures)]
    return (values >= ranges["low"]) & (values <= ranges["high"])


def range_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what share of each set lies inside the range of real music, and what is flawed.

    Parameters
    ----------
    table : pd.DataFrame
        As `measuring.sample_table` makes it.

    Returns
    -------
    pd.DataFrame
        One row a set: model, seeds, n, percent of pieces inside for each of `RANGED` and for
        ``all_four`` at once, lowest_seed (``all_four`` of the worst training), and the number of
        pieces with each of `PROBLEMS`.
    """
    inside = inside_range(table)
    inside["all_four"] = inside.all(axis=1)
    rows = []
    for model, part in table.groupby("model", sort=False):
        shares = 100 * inside.loc[part.index].mean()
        by_seed = 100 * inside.loc[part.index, "all_four"].groupby(part["seed"]).mean()
        counts = part[list(PROBLEMS)].sum().astype(int)
        sizes = {"model": model, "seeds": part["seed"].nunique(), "n": len(part)}
        rows.append({**sizes, **shares, "lowest_seed": by_seed.min(), **counts})
    return pd.DataFrame(rows)


def features_outside(table: pd.DataFrame) -> pd.Series:
    """Return in how many of the features of `comparison` each piece lies outside real music.

    Parameters
    ----------
    table : pd.DataFrame
        With column model and the features.

    Returns
    -------
    pd.Series of int
        0 to 18, by the table's index: a count of errors that needs no ear. The `dropped_features`,
        of which real music has no range, do not count.
    """
    dropped = dropped_features(table[table["model"] == REAL])
    kept = [name for name in FEATURES if name not in dropped]
    return (~inside_range(table, kept)).sum(axis=1)
