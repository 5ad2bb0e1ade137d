"""Charts of numbers: training curves, estimates with intervals, distributions by model.

Conventions: axes-level functions as in `musiclib.plots`, where they can be had from. Training is
solid and validation dashed; n is always printed beside a distribution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from musiclib.style import axes_or_new, look, tint

_SIDE = re.compile(r"(train|valid|val)(_|$)|")
_TERM_MARKERS = "osDv^Px"
_TERM_TINTS = (1.0, 0.6, 0.4, 0.8)


def plot_history(
    history: pd.DataFrame,
    *,
    ax: Axes | None = None,
    model: str = "real",
    terms: Sequence[str] | None = None,
    unit: str = "",
    title: str = "",
) -> Axes:
    """Draw training curves: training solid, validation dashed.

    Parameters
    ----------
    history : pd.DataFrame
        First column: epoch or step. Each other column is a curve: ``kl`` or ``train_kl`` is a
        term in training, ``valid_kl`` or ``val_kl`` the same in validation; ``train`` and
        ``valid`` alone are the loss. NaN (not measured at this step) is left out.
    ax : Axes, optional
    model : str
        Whose colour the curves have; terms differ in strength and marker.
    terms : sequence of str, optional
        The terms to draw, such as ``["loss", "kl"]``; by default all.
    unit : str
        Of the losses, with their reduction, such as ``nats a step``.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a term is not in the history, or there is no curve.
    """
    curves = _curves(history)
    terms = list(dict.fromkeys(term for term, _ in curves.values())) if terms is None else terms
    missing = set(terms) - {term for term, _ in curves.values()}
    if missing or not len(terms):
        known = sorted({term for term, _ in curves.values()})
        raise ValueError(f"terms: {sorted(missing)} are not in the history, which has {known}")
    ax = axes_or_new(ax, size=(9, 3.6))
    colour, time = look(model).colour, history.iloc[:, 0]
    for column, (term, is_valid) in curves.items():
        if term not in terms:
            continue
        place, shown = terms.index(term), history[column].notna()
        ax.plot(
            time[shown], history.loc[shown, column], label=_curve_name(term, is_valid),
            color=tint(colour, _TERM_TINTS[place % len(_TERM_TINTS)]),
            linestyle="--" if is_valid else "-",
            marker=_TERM_MARKERS[place % len(_TERM_MARKERS)] if is_valid or len(terms) > 1 else "",
            markersize=5, markevery=max(int(shown.sum()) // 12, 1),
        )  # fmt: skip
    ax.set(xlabel=str(history.columns[0]), ylabel=f"loss ({unit})" if unit else "loss", title=title)
    ax.grid(axis="y")
    ax.legend(ncols=2 if len(terms) > 1 else 1)
    return ax


def _curves(history: pd.DataFrame) -> dict[str, tuple[str, bool]]:
    """Return for each column but the first its term, and whether it is a validation."""
    curves = {}
    for column in map(str, history.columns[1:]):
        side = _SIDE.match(column)
        curves[column] = (column[side.end() :] or "loss", side[0].startswith("val"))
    return curves


def _curve_name(term: str, is_valid: bool) -> str:
    return f"{term.replace('_', ' ')}, {'validation' if is_valid else 'training'}"


def plot_intervals(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    value: str = "value",
    low: str = "low",
    high: str = "high",
    label: str = "label",
    model: str = "model",
    reference: float | None = None,
    unit: str = "",
    title: str = "",
) -> Axes:
    """Draw estimates with their intervals, a row each, the first on top.

    Parameters
    ----------
    table : pd.DataFrame
        A row an estimate.
    ax : Axes, optional
    value, low, high : str
        Columns of the estimate and the ends of its interval; an interval of NaN is not drawn.
    label : str
        Column of what stands beside a row; the model's label where there is none.
    model : str
        Column of the model, for colour and marker; grey where there is none.
    reference : float, optional
        Where to draw a vertical line, such as 0.
    unit : str
        Of the estimates, for the axis.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `value`, `low` or `high` is no column, or a value lies outside its interval.
    """
    missing = [column for column in (value, low, high) if column not in table]
    if missing:
        raise ValueError(f"table has no column {missing}; it has {list(table.columns)}")
    outside = (table[value] < table[low]) | (table[value] > table[high])
    if outside.any():
        raise ValueError(f"table: {int(outside.sum())} values lie outside their own interval")
    ax = axes_or_new(ax, size=(9, 1.2 + 0.4 * len(table)))
    names = table[model] if model in table else ["real"] * len(table)
    looks = [look(str(name), index=i) for i, name in enumerate(names)]
    for row, (_, line) in enumerate(table.iterrows()):
        one = looks[row]
        ax.plot([line[low], line[high]], [row, row], color=one.colour, linewidth=3, alpha=0.6)
        ax.plot(line[value], row, marker=one.marker, color=one.colour, markersize=9)
    if reference is not None:
        ax.axvline(reference, color="#333333", linewidth=1, linestyle=":")
    shown = table[label].astype(str) if label in table else [one.label for one in looks]
    ax.set_yticks(range(len(table)), list(shown))
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel=unit, title=title)
    ax.grid(axis="x")
    return ax


def plot_distribution(
    values: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    unit: str = "",
    band: tuple[float, float] | None = None,
    log: bool = False,
    title: str = "",
) -> Axes:
    """Draw how one measure is spread in each group: a box with every piece as a point.

    Parameters
    ----------
    values : mapping of str to array-like, shape (N,)
        The measure's values by model; NaN is left out and not counted.
    ax : Axes, optional
    unit : str
        Name and unit of the measure, for the axis.
    band : (float, float), optional
        A range to shade, such as the real pieces' 1st to 99th percentile.
    log : bool
        A logarithmic axis.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a group has no finite value, or `log` is asked of values that are not positive.

    Notes
    -----
    The box spans the quartiles, its line is the median, the whiskers reach the furthest points
    within 1.5 interquartile ranges (Tukey). Points are spread sideways by a fixed rule, not drawn
    at random, so that the figure is the same at each run.
    """
    groups = {name: _finite(name, some, log=log) for name, some in values.items()}
    ax = axes_or_new(ax, size=(1.5 + 1.5 * len(groups), 3.8))
    if band is not None:
        ax.axhspan(*band, color="#666666", alpha=0.12, linewidth=0, zorder=0)
    looks = [look(name, index=i) for i, name in enumerate(groups)]
    boxes = ax.boxplot(
        list(groups.values()), widths=0.55, showfliers=False, patch_artist=True,
        medianprops={"color": "#222222", "linewidth": 2},
    )  # fmt: skip
    for place, (patch, found, one) in enumerate(
        zip(boxes["boxes"], groups.values(), looks, strict=True), start=1
    ):
        patch.set(facecolor=tint(one.colour, 0.25), edgecolor=one.colour, hatch=one.hatch)
        ax.plot(
            place + _spread(len(found)), np.sort(found), linestyle="", marker=one.marker,
            color=one.colour, markeredgecolor="white", markeredgewidth=0.5, markersize=6, zorder=3,
        )  # fmt: skip
    names = [f"{one.label}\nn = {len(x)}" for one, x in zip(looks, groups.values(), strict=True)]
    ax.set_xticks(range(1, len(groups) + 1), names)
    ax.set(ylabel=unit, title=title, yscale="log" if log else "linear")
    return ax


def _finite(name: str, values: ArrayLike, *, log: bool) -> np.ndarray:
    found = np.asarray(values, dtype=float).ravel()
    found = found[np.isfinite(found)]
    if not found.size:
        raise ValueError(f"values: group {name!r} has no finite value")
    if log and found.min() <= 0:
        raise ValueError(f"values: group {name!r} has values of 0 or below, which no log axis has")
    return found


def _spread(n: int, *, width: float = 0.36) -> np.ndarray:
    """Return n sideways places in (-width / 2, width / 2): the golden ratio's multiples modulo 1.

    Neighbours in value land far apart (Kronecker's low-discrepancy sequence).
    """
    return width * ((np.arange(n) * 0.6180339887498949) % 1 - 0.5)
