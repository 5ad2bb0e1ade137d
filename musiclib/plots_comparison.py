"""Pictures of the comparison: distributions, confounds, distances, copies, heat maps.

Conventions: as in `plots`: axes-level functions that take and return `ax`, nothing shown or saved
here, a colour and a second cue for each set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from musiclib.charts import plot_distribution, plot_intervals
from musiclib.ranges import real_ranges
from musiclib.style import axes_or_new, look


def plot_measure(
    table: pd.DataFrame,
    measure: str,
    *,
    ax: Axes | None = None,
    unit: str = "",
    log: bool = False,
    title: str = "",
) -> Axes:
    """Draw one measure's distribution in every set, with the real pieces' range shaded.

    Parameters
    ----------
    table : pd.DataFrame
        Column model and the measure, one row a piece, with the real set.
    measure : str
        Column; a set in which no piece has a finite value is left out, and the title names it.
    ax : Axes, optional
    unit : str
        Name and unit, for the axis.
    log : bool
        A logarithmic axis; values of 0 and below are left out.
    title : str

    Returns
    -------
    Axes
    """
    groups, without = {}, []
    for model, values in table.groupby("model", sort=False)[measure]:
        kept = values[np.isfinite(values) & ((values > 0) | (not log))]
        if len(kept):
            groups[str(model)] = kept.to_numpy(float)
        else:
            without.append(look(str(model)).label)
    title = _with_note(title, f"undefined: {', '.join(without)}" if without else "")
    if not groups:
        return _nothing(ax, unit or measure, title)
    ranges = real_ranges(table, [measure]).loc[measure]
    band = (ranges["low"], ranges["high"]) if np.isfinite(ranges).all() else None
    ax = plot_distribution(groups, ax=ax, unit=unit or measure, band=band, log=log, title=title)
    _make_room(ax, max(map(len, groups.values())))
    names = [f"{look(name, index=i).label}\n{len(x)}" for i, (name, x) in enumerate(groups.items())]
    ax.set_xticks(range(1, len(groups) + 1), names, fontsize=9)
    return ax


def _with_note(title: str, note: str) -> str:
    """Return a title with a note behind it."""
    return ", ".join(part for part in (title, note) if part)


def _nothing(ax: Axes | None, unit: str, title: str) -> Axes:
    """Draw axes that say that there is nothing to draw."""
    ax = axes_or_new(ax, size=(6, 3.8))
    ax.text(0.5, 0.5, "no value", ha="center", va="center", transform=ax.transAxes)
    ax.set(xticks=[], yticks=[], ylabel=unit, title=title)
    return ax


def _make_room(ax: Axes, n: int) -> None:
    """Make the points of a crowded distribution small and pale, so that its boxes can be seen."""
    for line in ax.lines:
        if line.get_linestyle() == "None":
            line.set(markersize=min(6.0, 36 / n**0.5), alpha=min(1.0, 45 / n))
        else:
            line.set_zorder(4)


def plot_scatter(
    table: pd.DataFrame,
    x: str,
    y: str,
    *,
    ax: Axes | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    legend: bool = True,
) -> Axes:
    """Draw two measures of every piece against each other, a colour and marker a set.

    Parameters
    ----------
    table : pd.DataFrame
        Columns model, `x` and `y`, one row a piece; rows without both are left out.
    x, y : str
        Columns.
    ax : Axes, optional
    xlabel, ylabel, title : str
        With units.
    legend : bool
        Whether to name the sets, with n.

    Returns
    -------
    Axes
    """
    ax = axes_or_new(ax, size=(6, 4))
    shown = table[np.isfinite(table[[x, y]]).all(axis=1)]
    for index, (model, rows) in enumerate(shown.groupby("model", sort=False)):
        one = look(str(model), index=index)
        ax.plot(
            rows[x], rows[y], linestyle="", marker=one.marker, color=one.colour, alpha=0.65,
            markersize=6, markeredgecolor="white", markeredgewidth=0.4,
            label=f"{one.label} (n = {len(rows)})",
        )  # fmt: skip
    ax.set(xlabel=xlabel or x, ylabel=ylabel or y, title=title)
    ax.grid()
    if legend:
        ax.legend(fontsize=9, markerscale=1.2)
    return ax


def plot_lines(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    ax: Axes | None = None,
    xlabel: str,
    ylabel: str,
    title: str = "",
    every: int = 1,
) -> Axes:
    """Draw one curve a set, with its colour and marker.

    Parameters
    ----------
    lines : mapping of str to (np.ndarray, np.ndarray)
        x and y of each set.
    ax : Axes, optional
    xlabel, ylabel, title : str
        With units.
    every : int
        A marker at every so many points.

    Returns
    -------
    Axes
    """
    ax = axes_or_new(ax, size=(6, 4))
    for index, (name, (x, y)) in enumerate(lines.items()):
        one = look(name, index=index)
        ax.plot(
            x, y, color=one.colour, marker=one.marker, markevery=every, markersize=6,
            linewidth=1.6, label=one.label,
        )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid()
    ax.legend(fontsize=9)
    return ax


def plot_heat(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    limits: tuple[float, float],
    unit: str,
    better: str = "low",
    title: str = "",
) -> Axes:
    """Draw a table of numbers as a heat map, every number written in its cell.

    Parameters
    ----------
    table : pd.DataFrame
        Rows and columns named; NaN is left white.
    ax : Axes, optional
    limits : (float, float)
        Values at the ends of the grey scale; beyond, it stays.
    unit : str
        Of the values, for the colour bar.
    better : str
        ``low`` or ``high``: which end is light.
    title : str

    Returns
    -------
    Axes
    """
    rows, columns = table.shape
    ax = axes_or_new(ax, size=(2.8 + 1.0 * columns, 1.2 + 0.36 * rows))
    values = table.to_numpy(float)
    shades = "Greys" if better == "low" else "Greys_r"
    image = ax.imshow(values, cmap=shades, vmin=limits[0], vmax=limits[1], aspect="auto")
    share = (np.clip(values, *limits) - limits[0]) / (limits[1] - limits[0])
    dark = share > 0.55 if better == "low" else share < 0.45
    for i, j in np.ndindex(values.shape):
        text = "-" if np.isnan(values[i, j]) else f"{values[i, j]:.2f}"
        colour = "white" if dark[i, j] else "black"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=10)
    ax.set_xticks(range(columns), [look(str(name)).label for name in table.columns])
    ax.set_yticks(range(rows), [str(name).replace("_", " ") for name in table.index])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(title)
    ax.figure.colorbar(image, ax=ax, label=unit, shrink=0.8)
    return ax


def plot_distances(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw each set's distance to real music with its interval, on a logarithmic axis.

    Parameters
    ----------
    table : pd.DataFrame
        As `set_tables.distance_table` returns it; sets without a distance are left out, and the
        title names them.
    ax : Axes, optional
    title : str

    Returns
    -------
    Axes
    """
    shown = table.dropna(subset="distance").reset_index(drop=True)
    without = [look(str(name)).label for name in table.loc[table["distance"].isna(), "model"]]
    title = _with_note(title, f"no distance: {', '.join(without)}" if without else "")
    if shown.empty:
        return _nothing(ax, "", title)
    values = ["distance", "low", "high"]
    shown[values] = shown[values].clip(lower=0.01)
    shown["label"] = [
        f"{look(row.model).label} (n = {row.n}, seeds: {row.seeds})" for row in shown.itertuples()
    ]
    unit = "distance to held-out real music (its standard deviations)"
    ax = plot_intervals(shown, ax=ax, value="distance", unit=unit, title=title)
    low, high = 0.85 * shown["low"].min(), 1.15 * shown["high"].max()
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low < t < high]
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(low, high)
    return ax


def plot_copied(table: pd.DataFrame, *, kind: str, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what share of each set's windows is found in the training music, by their length.

    Parameters
    ----------
    table : pd.DataFrame
        As `set_tables.copied_table` returns it.
    kind : str
        ``exact`` or ``transposed``.
    ax : Axes, optional
    title : str

    Returns
    -------
    Axes
    """
    ax = axes_or_new(ax, size=(6, 4))
    shown = table[table["kind"] == kind]
    lengths = sorted(shown["length"].unique())
    models = list(dict.fromkeys(shown["model"]))
    for index, model in enumerate(models):
        rows = shown[shown["model"] == model].set_index("length").loc[lengths]
        one = look(model, index=index)
        x = np.arange(len(lengths)) + 0.08 * (index - (len(models) - 1) / 2)
        ax.vlines(
            x, 100 * rows["low"], 100 * rows["high"], color=one.colour, alpha=0.6, linewidth=3
        )
        ax.plot(
            x, 100 * rows["share"], marker=one.marker, color=one.colour, linewidth=0.8,
            markersize=8, label=f"{one.label} (n = {int(rows['n'].max())})",
        )  # fmt: skip
    ax.set_xticks(range(len(lengths)), [f"{length}" for length in lengths])
    ax.set(xlabel="window (sixteenths)", ylabel="windows found (%)", title=title)
    ax.grid(axis="y")
    ax.legend(fontsize=9)
    return ax
