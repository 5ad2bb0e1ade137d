"""Pictures of the comparison: distributions, confounds, distances, copies, heat maps.

Conventions: as in `plots`: axes-level functions that take and return `ax`, nothing shown or saved
here, a colour and a second cue for each set.
"""

from __future__ import annotations

import dataclasses
import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.ticker import NullFormatter
from PIL import Image as Pixels
from scipy.optimize import isotonic_regression

from musiclib.plots import (
    COLOURS,
    LABELS,
    axes_or_new,
    look,
    plot_distribution,
    plot_intervals,
    tint,
)
from study.benchmarks import OUTPUTS
from study.claims import CLAIMS
from study.measuring import real_ranges
from study.run import Paths, save_figure


def plot_measure(
    table: pd.DataFrame,
    measure: str,
    *,
    ax: Axes | None = None,
    unit: str = "",
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

    Returns
    -------
    Axes
    """
    groups, without = {}, []
    for model, values in table.groupby("model", sort=False)[measure]:
        kept = values[np.isfinite(values)]
        if len(kept):
            groups[str(model)] = kept.to_numpy(float)
        else:
            without.append(look(str(model)).label)
    title = f"undefined: {', '.join(without)}" if without else ""
    if not groups:
        return _nothing(ax, unit or measure, title)
    ranges = real_ranges(table, [measure]).loc[measure]
    band = (ranges["low"], ranges["high"]) if np.isfinite(ranges).all() else None
    ax = plot_distribution(groups, ax=ax, unit=unit or measure, band=band, title=title)
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
        As `measuring.distance_table` returns it; sets without a distance are left out, and the
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
        As `measuring.copied_table` returns it.
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


# ---- study.figures ----
# The picture of the verdict: a row a claim, each with an axis of its own unit.
#
# Conventions: as in `plots`, but for `draw_verdict`, which makes a whole figure.


HOLDS = {"yes": ("#1B7837", "YES"), "no": ("#8C2D04", "NO"), "undecided": ("#555555", "UNDECIDED")}
"""Colour and word of each answer."""


def draw_verdict(parts: pd.DataFrame, verdict: pd.DataFrame) -> Figure:
    """Draw the verdict: a row a claim, its parts with intervals, the margin, and the answer.

    Parameters
    ----------
    parts : pd.DataFrame
        As `claims.claim_parts` returns it.
    verdict : pd.DataFrame
        As `claims.verdict` returns it.

    Returns
    -------
    Figure
        The shaded side of each row is where the claim holds.
    """
    import matplotlib.pyplot as plt

    own = [parts[(parts["claim"] == claim.name) & parts["decides"]] for claim in CLAIMS]
    heights = [0.75 + 0.42 * len(rows) for rows in own]
    fig, rows = plt.subplots(
        len(CLAIMS), 3, figsize=(14, 1.05 * sum(heights)),
        gridspec_kw={"width_ratios": [3.0, 5.4, 1.3], "height_ratios": heights},
    )  # fmt: skip
    answers = verdict.set_index("claim")["holds"]
    for claim, found, (left, middle, right) in zip(CLAIMS, own, rows, strict=True):
        colour, word = HOLDS[answers[claim.name]]
        _words(left, f"{claim.name}  {claim.text}", 38, size=12)
        _draw_parts(middle, found)
        right.axis("off")
        reason = textwrap.fill(next((why for why in found["why"] if why), ""), 22)
        right.text(0.5, 0.12, reason, ha="center", va="top", fontsize=8.5, color="#555555")
        right.text(
            0.5, 0.6, word, ha="center", va="center", fontsize=13, weight="bold", color="white",
            bbox={"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "none"},
        )  # fmt: skip
    return fig


def _words(ax: Axes, text: str, width: int, *, size: float) -> None:
    """Write a text instead of axes."""
    ax.axis("off")
    ax.text(0, 0.5, textwrap.fill(text, width), ha="left", va="center", fontsize=size)


def _draw_parts(ax: Axes, found: pd.DataFrame) -> None:
    """Draw one claim's deciding parts."""
    if found.empty:
        _words(ax, "only listeners can say: notebook 06, with real answers", 70, size=11)
        return
    for place, row in enumerate(found.itertuples()):
        colour = HOLDS[row.holds][0]
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=4, alpha=0.5)
        ax.plot(row.effect, place, marker="D", color=colour, markersize=7)
        ax.plot([row.margin] * 2, [place - 0.45, place + 0.45], color="#222222", linewidth=1.6)
    low, high = _reach(found)
    for place, margin in enumerate(found["margin"]):
        bottom, top = place - 0.45, place + 0.45
        ax.fill_between([margin, high], bottom, top, color="#1B7837", alpha=0.10, linewidth=0)
    ax.set(xlim=(low, high), ylim=(len(found) - 0.45, -0.55))
    ax.set_yticks(range(len(found)), _part_names(found), fontsize=10)
    measures, unit = found["measure"].unique(), found["unit"].iloc[0]
    ax.set_xlabel(f"{measures[0]} ({unit})" if len(measures) == 1 else unit, fontsize=10)
    ax.tick_params(axis="x", labelsize=9)
    ax.axvline(0, color="#999999", linewidth=0.8, linestyle=":")


def _part_names(found: pd.DataFrame) -> Sequence[str]:
    """Return the parts' names, with their measure where a claim has several."""
    several = found["measure"].nunique() > 1
    sizes = [
        f"n = {a}" if a == b else f"{LABELS[first]} {a}, {LABELS[second]} {b}"
        for first, second, a, b in found[["first", "second", "n_first", "n_second"]].to_numpy()
    ]
    names = found["part"]
    measures = found["measure"] if several else [""] * len(found)
    return [
        f"{measure + ': ' if several else ''}{name} ({size})"
        for name, measure, size in zip(names, measures, sizes, strict=True)
    ]


def _reach(found: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the axis: all intervals, margins and 0, with some air."""
    values = np.append(found[["low", "high", "effect", "margin"]].to_numpy(float).ravel(), 0.0)
    values = values[np.isfinite(values)]
    air = 0.12 * (float(np.ptp(values)) or 1.0)
    return float(values.min()) - air, float(values.max()) + air


# ---- study.figures ----
# Pictures of the paper's protocol: its table beside ours, and what picking three pieces can do.
#
# Conventions: as in `plots`: axes-level functions that take and return `ax`, nothing shown or saved
# here, a colour and a second cue for each model.


def plot_beside_paper(
    table: pd.DataFrame, quantity: str, *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw our numbers beside the printed ones: filled markers are ours, hollow ones the paper's.

    Parameters
    ----------
    table : pd.DataFrame
        Columns model, `quantity`, and ``paper_`` before `quantity`.
    quantity : str
        ``energy`` (drawn on a logarithmic axis) or ``mean`` (linear).
    ax : Axes, optional
    title : str

    Returns
    -------
    Axes
    """
    ax = axes_or_new(ax, size=(5.5, 3.6))
    models = list(dict.fromkeys(table["model"]))
    for place, model in enumerate(models):
        rows, one = table[table["model"] == model], look(model)
        for column, shift, fill in ((f"paper_{quantity}", -0.15, "white"), (quantity, 0.15, None)):
            ax.plot(
                np.full(len(rows), place + shift) + np.linspace(-0.06, 0.06, len(rows)),
                rows[column], marker=one.marker, linestyle="", markersize=9,
                color=one.colour, markerfacecolor=fill or one.colour, markeredgewidth=1.8,
            )  # fmt: skip
    if quantity == "energy" and (table[["energy", "paper_energy"]] > 0).all(axis=None):
        ax.set_yscale("log")
    else:
        ax.axhline(0, color="#333333", linewidth=0.8)
    ax.set_xticks(range(len(models)), [look(model).label for model in models])
    ax.set(xlim=(-0.5, len(models) - 0.5), ylabel=quantity, title=title)
    ax.grid(axis="y")
    return ax


def plot_rankings(
    rankings: pd.DataFrame, *, ax: Axes | None = None, paper: str = "", title: str = ""
) -> Axes:
    """Draw how often each ranking comes out when three pieces of each model are drawn.

    Parameters
    ----------
    rankings : pd.DataFrame
        As `printed.picked_rankings` returns it.
    ax : Axes, optional
    paper : str
        The ranking that the paper found: its bar is hatched and named.
    title : str

    Returns
    -------
    Axes
    """
    ax = axes_or_new(ax, size=(8, 3.6))
    places = np.arange(len(rankings))
    bars = ax.barh(places, 100 * rankings["by_means"], color="#9DB4C0", edgecolor="#333333")
    for bar, row in zip(bars, rankings.itertuples(), strict=True):
        bar.set_hatch("//" if row.ranking == paper else "")
        note = "a picker can separate it fully" if row.can_be_picked else "no choice separates it"
        text = f" {100 * row.by_means:.1f} %; {note}"
        ax.text(bar.get_width(), bar.get_y() + 0.4, text, va="center", fontsize=10)
    names = [f"{name}{' (paper)' if name == paper else ''}" for name in rankings["ranking"]]
    ax.set_yticks(places, [name.upper().replace("(PAPER)", "(paper)") for name in names])
    ax.set(xlabel="draws with this ranking of the means (%)", title=title)
    ax.set(xlim=(0, 160 * max(float(rankings["by_means"].max()), 0.01)))
    ax.invert_yaxis()
    return ax


# ---- study.figures ----
# The likelihood benchmark as a picture: our models among the published ones, kind by kind.
#
# Conventions: as in `plots`: axes-level functions that take and return `ax`, nothing shown or saved
# here, a colour and a second cue for each group.


_HEADINGS = {
    "floor": "baselines",
    "independent": "independent keys",
    "joint": "joint frame",
    "latent": "latent (a bound)",
}


def plot_benchmark(
    published: pd.DataFrame, ours: pd.DataFrame, *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw test likelihoods, a row a model, in groups that are never ranked together.

    Parameters
    ----------
    published : pd.DataFrame
        outputs, model, test_nll (nats a frame): hollow grey markers.
    ours : pd.DataFrame
        outputs, model, test_nll, and where there are several seeds low and high: filled markers
        with a line from the best seed to the worst. ``floor`` as outputs draws a grey cross.
    ax : Axes, optional
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no row, or a kind of outputs is unknown.
    """
    rows = _rows(published, ours)
    ax = axes_or_new(ax, size=(9, 1.2 + 0.34 * (len(rows) + rows["outputs"].nunique())))
    place, ticks, names = 0.0, [], []
    for outputs, group in rows.groupby("outputs", sort=False):
        if ticks:
            ax.axhline(place - 0.1, color="#bbbbbb", linewidth=0.8)
        ax.text(0.995, place + 0.35, _HEADINGS[str(outputs)], ha="right", va="center",
                transform=ax.get_yaxis_transform(), style="italic", fontsize=11)  # fmt: skip
        for row in group.sort_values("test_nll", ascending=False).to_dict("records"):
            place += 0.9
            _draw(ax, row, place)
            ticks.append(place)
            names.append(row["model"])
        place += 0.8
    ax.set_yticks(ticks, names)
    ax.set(ylim=(place, 0.0), xlabel="test NLL (nats a frame, lower is better)", title=title)
    ax.grid(axis="x")
    return ax


def _rows(published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    parts = [part.assign(ours=mine) for part, mine in ((published, False), (ours, True))]
    rows = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    unknown = set(rows["outputs"]) - set(OUTPUTS)
    if unknown or not len(rows):
        raise ValueError(f"outputs: got {sorted(unknown)}, allowed are {', '.join(OUTPUTS)}")
    return rows.sort_values("outputs", key=lambda kind: kind.map(OUTPUTS.index), kind="stable")


def _draw(ax: Axes, row: dict[str, object], place: float) -> None:
    whose = "vae" if str(row["model"]).startswith("VAE") else "lstm"
    one, value = look(whose if row["ours"] else "real"), float(row["test_nll"])
    mark, fill = ("x", one.colour) if row["outputs"] == "floor" else (one.marker, "white")
    if row["ours"] and row["outputs"] != "floor":
        fill = one.colour
        low, high = (float(row.get(end, value)) for end in ("low", "high"))
        ax.plot([low, high], [place, place], color=one.colour, linewidth=4, alpha=0.5)
    colour = look("real").colour if row["outputs"] == "floor" else one.colour
    ax.plot(value, place, marker=mark, color=colour, markerfacecolor=fill, markersize=8,
            markeredgewidth=1.6, linestyle="")  # fmt: skip
    ax.annotate(f"{value:.2f}", (value, place), (9, 0), textcoords="offset points", va="center",
                fontsize=9)  # fmt: skip


# ---- study.figures ----
# Read the blocks and arrows of a built model off the model itself, for `diagrams` to draw.
#
# Conventions: a *block* is a layer, a sub-model or an operation of a Keras model, with its output
# shape (None: any size, the batch comes first) and its parameters. Keras itself is not imported: a
# model is known by what it has.


_NUMBER = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class Block:
    """One box of an architecture.

    Attributes
    ----------
    name : str
        The layer's name.
    kind : str
        Its class.
    shape : str
        Of its output, such as ``(None, 128, 192)``; of several, the first and how many more.
    parameters : int
        Of one copy; 0 where weights shared with an earlier block were counted there.
    parents : tuple of int
        The blocks whose output it takes, by their place in the list.
    copies : int
        How many like layers it stands for.
    folded : tuple of str
        Classes of the layers that follow it and were folded into it.
    is_model : bool
        A model within the model.
    shared : bool
        Its weights are those of an earlier block.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    parents: tuple[int, ...] = ()
    copies: int = 1
    folded: tuple[str, ...] = ()
    is_model: bool = False
    shared: bool = False

    @property
    def is_input(self) -> bool:
        """Tell whether it is where data comes in."""
        return self.kind == "InputLayer"


def read_blocks(model: Any, *, fold: bool = True, merge: bool = True) -> list[Block]:
    """List the blocks of a built model so that each comes after those it takes from.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential: the graph is walked, operations that are no layers included.
        Of a subclassed model the layers are listed as they were made, without arrows, as such a
        model keeps no graph.
    fold : bool
        Fold what only follows one layer and has no weights, or normalises, into its box.
    merge : bool
        Make one block, with their number, of like layers that take from the same and whose names
        differ in their numbers only.

    Returns
    -------
    list of Block
        Their ``copies * parameters`` add up to ``model.count_params()``.

    Raises
    ------
    ValueError
        If `model` is no model, or is not built.
    """
    if not hasattr(model, "layers") or not hasattr(model, "count_params"):
        raise ValueError(f"model: got {type(model).__name__}, allowed is a Keras model")
    if not getattr(model, "built", False):
        raise ValueError(f"model: {model.name!r} is not built; call it on data, or build it, first")
    nodes = _nodes(model)
    if nodes is None:
        return _listed(model)
    blocks = _walked(nodes)
    blocks = _fold(blocks) if fold else blocks
    return _merge(blocks) if merge else blocks


def ranks(blocks: list[Block]) -> list[int]:
    """Return the row of each block: below all its parents; inputs right above who takes them.

    Blocks of a model without arrows come one below the other.
    """
    if not any(block.parents for block in blocks):
        return list(range(len(blocks)))
    rank: list[int] = []
    for block in blocks:
        rank.append(1 + max((rank[parent] for parent in block.parents), default=-1))
    for index, block in enumerate(blocks):
        takers = [rank[i] for i, other in enumerate(blocks) if index in other.parents]
        if not block.parents and takers:
            rank[index] = min(takers) - 1
    return rank


def _nodes(model: Any) -> list[Any] | None:
    """Return the nodes of the model's graph in order, or None where it keeps none."""
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)
    if not by_depth:
        return None
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _walked(nodes: list[Any]) -> list[Block]:
    places = {id(node): place for place, node in enumerate(nodes)}
    blocks, counted = [], set()
    for node in nodes:
        layer = node.operation
        sources = [tensor._keras_history for tensor in node.input_tensors]
        parents = [places[id(s.operation._inbound_nodes[s.node_index])] for s in sources]
        first, *others = [_shape(tensor.shape) for tensor in node.output_tensors]
        shape = f"{first} +{len(others)}" if others else first
        again = id(layer) in counted
        counted.add(id(layer))
        block = _block(layer, shape, parents=dict.fromkeys(parents))
        blocks.append(dataclasses.replace(block, parameters=0, shared=True) if again else block)
    return blocks


def _listed(model: Any) -> list[Block]:
    """Return the layers of a subclassed model, with shapes where Keras knows them."""
    blocks = []
    for layer in model.layers:
        try:
            shape = _shape(layer.output.shape)
        except (AttributeError, ValueError, RuntimeError):
            shape = ""
        blocks.append(_block(layer, shape))
    return blocks


def _block(layer: Any, shape: str, *, parents: Iterable[int] = ()) -> Block:
    count = getattr(layer, "count_params", lambda: 0)
    return Block(
        name=layer.name,
        kind=type(layer).__name__,
        shape=shape,
        parameters=int(count()) if getattr(layer, "built", True) else 0,
        parents=tuple(parents),
        is_model=bool(getattr(layer, "layers", None)),
    )


def _shape(shape: Any) -> str:
    """Write a shape.

    Examples
    --------
    >>> _shape((None, 8)), _shape((None,))
    ('(None, 8)', '(None,)')
    """
    return str(tuple(None if size is None else int(size) for size in shape))


def _is_light(block: Block) -> bool:
    """Tell whether a block may be folded into the one before it."""
    plain = not (block.is_model or block.is_input or block.shared)
    return plain and (block.parameters == 0 or block.kind.endswith("Normalization"))


def _fold(blocks: list[Block]) -> list[Block]:
    children = [0] * len(blocks)
    for block in blocks:
        for parent in block.parents:
            children[parent] += 1
    kept: list[Block] = []
    place: dict[int, int] = {}
    for index, block in enumerate(blocks):
        parents = tuple(place[parent] for parent in block.parents)
        host = kept[parents[0]] if len(parents) == 1 else None
        if host and _is_light(block) and children[block.parents[0]] == 1 and not host.is_input:
            place[index] = parents[0]
            kept[parents[0]] = dataclasses.replace(
                host,
                shape=block.shape,
                parameters=host.parameters + block.parameters,
                folded=(*host.folded, block.kind),
            )
            continue
        place[index] = len(kept)
        kept.append(dataclasses.replace(block, parents=parents))
    return kept


def _merge(blocks: list[Block]) -> list[Block]:
    kept: list[Block] = []
    place: dict[int, int] = {}
    alike: dict[Block, int] = {}
    for index, block in enumerate(blocks):
        parents = tuple(dict.fromkeys(place[parent] for parent in block.parents))
        block = dataclasses.replace(block, parents=parents)
        likeness = dataclasses.replace(block, name=_NUMBER.sub("", block.name))
        if parents and likeness in alike:
            place[index] = alike[likeness]
            twin = kept[place[index]]
            kept[place[index]] = dataclasses.replace(twin, copies=twin.copies + 1)
            continue
        place[index] = alike[likeness] = len(kept)
        kept.append(block)
    return kept


# ---- study.figures ----
# Lay out the boxes of a directed graph in rows, with arrows that pass between boxes.
#
# Conventions: after Sugiyama: rows by rank, what passes a row gets a narrow place of its own in it,
# the order in a row by the mean place of its neighbours, then places that pull lines straight.
# Widths
# are in boxes. Nothing is drawn at random: the same graph gives the same picture.


_PASSAGE = 0.3  # width of a place that a line passes, in boxes
_SWEEPS, _PULLS = 6, 40


@dataclass(frozen=True)
class Layout:
    """Where boxes and lines lie.

    Attributes
    ----------
    places : list of (float, int)
        Middle, in boxes from the left, and row of each block.
    routes : list of list of (float, int)
        Each arrow's points, from its first block through the rows it passes to its last.
    width : float
        In boxes.
    rows : int
    """

    places: list[tuple[float, int]]
    routes: list[list[tuple[float, int]]]
    width: float
    rows: int


def arrange(blocks: list[Block]) -> Layout:
    """Place the blocks of a model and route its arrows.

    Parameters
    ----------
    blocks : list of Block
        As `figures.read_blocks` gives them.

    Returns
    -------
    Layout
    """
    rank = ranks(blocks)
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for index, row in enumerate(rank):
        rows[row].append(index)
    row_of, links, chains = list(rank), [], []
    for index, block in enumerate(blocks):
        for parent in block.parents:
            chain = [parent]
            for row in range(rank[parent] + 1, rank[index]):
                chain.append(len(row_of))
                rows[row].append(len(row_of))
                row_of.append(row)
            chains.append([*chain, index])
            links += list(zip(chains[-1], chains[-1][1:], strict=False))
    widths = np.array([1.0] * len(blocks) + [_PASSAGE] * (len(row_of) - len(blocks)))
    x = _pull(_order(rows, links), links, widths)
    x -= (x - widths / 2).min()
    routes = [[(float(x[item]), row_of[item]) for item in chain] for chain in chains]
    places = [(float(x[index]), rank[index]) for index in range(len(blocks))]
    return Layout(places, routes, float((x + widths / 2).max()), len(rows))


def _neighbours(links: list[tuple[int, int]], items: int) -> list[tuple[list[int], list[int]]]:
    """Return for each item those above and those below it that it is linked to."""
    around: list[tuple[list[int], list[int]]] = [([], []) for _ in range(items)]
    for upper, lower in links:
        around[lower][0].append(upper)
        around[upper][1].append(lower)
    return around


def _order(rows: list[list[int]], links: list[tuple[int, int]]) -> list[list[int]]:
    """Order each row by the mean place of its neighbours, downwards and upwards in turn."""
    around = _neighbours(links, sum(map(len, rows)))
    for sweep in range(_SWEEPS):
        upwards = sweep % 2
        for row in reversed(rows) if upwards else rows:
            place = {
                item: i / max(len(some) - 1, 1) for some in rows for i, item in enumerate(some)
            }
            means = {i: [place[n] for n in around[i][upwards]] or [place[i]] for i in row}
            row.sort(key=lambda item: (float(np.mean(means[item])), place[item]))
    return rows


def _pull(rows: list[list[int]], links: list[tuple[int, int]], widths: np.ndarray) -> np.ndarray:
    """Move every item towards the middle of its neighbours, as far as its row has room."""
    around = _neighbours(links, len(widths))
    x = np.zeros(len(widths))
    for row in rows:
        x[row] = np.cumsum(widths[row]) - widths[row] / 2 - widths[row].sum() / 2
    for _ in range(_PULLS):
        for row in rows:
            both = [around[item][0] + around[item][1] for item in row]
            wish = np.array(
                [x[near].mean() if near else x[i] for i, near in zip(row, both, strict=True)]
            )
            x[row] = _spaced(wish, widths[row])
    return x


def _spaced(wish: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return places in order, none overlapping, as near those wished for as squares tell.

    Examples
    --------
    >>> _spaced(np.array([0.0, 0.0]), np.array([1.0, 1.0])).tolist()
    [-0.5, 0.5]
    """
    offset = np.cumsum(widths) - widths / 2
    return isotonic_regression(wish - offset).x + offset


# ---- study.figures ----
# Diagrams of boxes and arrows: the study's workflow, and any built model's architecture.
#
# Conventions: axes-level functions as in `musiclib.plots`, where they can be had from. Lengths are
# inches of the diagram at its natural size; on smaller axes everything shrinks alike.


WORKFLOW = (
    ("Data collection", "real piano music\nas MIDI files"),
    ("Pre-processing", "notes, piano rolls,\nnormalised, split by tune"),
    ("Model", ("GAN", "LSTM", "VAE")),
    ("Generation", "new pieces as rolls,\nMIDI and sound"),
    ("Analysis", "energy and mean,\nand what they should be"),
)
"""The paper's workflow (its Fig. 1), one for all three models: title and text of each stage."""

_BOX, _ROW, _ROW_GAP = 2.55, 0.66, 0.34
_STAGE_GAP, _TITLE, _MARGIN = 0.6, 0.6, 0.12
_POINTS = 9.0
_LETTERS = 36  # that fit a box; longer lines are set smaller
_INK = "#333333"


def plot_workflow(
    stages: Sequence[tuple[str, str | tuple[str, ...]]] = WORKFLOW, *, ax: Axes | None = None
) -> Axes:
    """Draw the stages of a study from left to right.

    Parameters
    ----------
    stages : sequence of (title, text)
        A text, or a tuple of names of models, which become small boxes in their colours.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    width, height, gap = 2.3, 1.5, 0.45
    total = len(stages) * (width + gap) - gap
    ax = axes_or_new(ax, size=(total + 2 * _MARGIN, height + 2 * _MARGIN))
    scale = _prepare(ax, total, height)
    for index, (title, content) in enumerate(stages):
        left = index * (width + gap)
        _draw_box(ax, left, 0, width, height, face="#f4f4f4", edge=_INK)
        style = {"ha": "center", "va": "center", "color": _INK}
        ax.text(left + width / 2, height - 0.25, title, fontsize=12 * scale, weight="bold", **style)
        if isinstance(content, str):
            ax.text(left + width / 2, 0.58, content, fontsize=10 * scale, **style)
        else:
            _draw_names(ax, content, left=left, width=width, size=11 * scale)
        if index:
            _arrow(ax, [(left - gap, height / 2), (left, height / 2)], scale=scale, heavy=True)
    return ax


def _draw_names(ax: Axes, names: Sequence[str], *, left: float, width: float, size: float) -> None:
    each = 0.96 / len(names)
    for place, name in enumerate(names):
        bottom = 0.08 + (len(names) - 1 - place) * each
        colour = look(name).colour
        _draw_box(ax, left + 0.35, bottom, width - 0.7, each - 0.06, tint(colour, 0.25), colour)
        middle = bottom + (each - 0.06) / 2
        ax.text(left + width / 2, middle, name, fontsize=size, ha="center", va="center")


def plot_architecture(
    model: Any,
    *,
    ax: Axes | None = None,
    colour: str = "real",
    fold: bool = True,
    merge: bool = True,
) -> Axes:
    """Draw a built Keras model: a box a layer, with output shape and parameters, and the arrows.

    Parameters
    ----------
    model : keras.Model, or sequence of (title, keras.Model)
        A functional or sequential model, whose graph is walked; of a subclassed one the layers
        are listed without arrows. Several models are stages side by side, joined by an arrow.
    ax : Axes, optional
        By default those of a new figure of the diagram's natural size.
    colour : str
        Whose colour the layers with weights have, such as ``"vae"``.
    fold, merge : bool
        See `figures.read_blocks`.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a model is none or is not built.

    Notes
    -----
    Read off the model object (figures 2 to 4 of the paper drawn from what was built): layers with
    weights are tinted, inputs and layers without weights grey and white, models within the model
    have a double frame.
    """
    stages = [("", model)] if hasattr(model, "count_params") else list(model)
    drawn = [(title, read_blocks(one, fold=fold, merge=merge)) for title, one in stages]
    plans = [arrange(blocks) for _, blocks in drawn]
    lefts, left = [], 0.0
    for plan in plans:
        lefts.append(left)
        left += plan.width * _BOX + _STAGE_GAP
    width = left - _STAGE_GAP
    height = max(plan.rows for plan in plans) * (_ROW + _ROW_GAP) - _ROW_GAP + _TITLE
    ax = axes_or_new(ax, size=(width + 2 * _MARGIN, height + 2 * _MARGIN))
    scale = _prepare(ax, width, height)
    for (title, blocks), plan, x in zip(drawn, plans, lefts, strict=True):
        _draw_stage(ax, blocks, plan, left=x, top=height, title=title, colour=colour, scale=scale)
        if x:
            y = height - 0.12
            _arrow(ax, [(x - _STAGE_GAP + 0.1, y), (x - 0.1, y)], scale=scale, heavy=True)
    return ax


def _prepare(ax: Axes, width: float, height: float) -> float:
    """Set up axes for a diagram of this size in inches, and return the scale of its text."""
    ax.set(xlim=(-_MARGIN, width + _MARGIN), ylim=(-_MARGIN, height + _MARGIN), aspect="equal")
    ax.axis("off")
    box = ax.get_position()
    inches = ax.figure.get_size_inches()
    # Axes of a figure of their own fill it in the end, whatever they are at first.
    share = (1.0, 1.0) if len(ax.figure.axes) == 1 else (box.width, box.height)
    across, up = inches[0] * share[0], inches[1] * share[1]
    return float(min(across / (width + 2 * _MARGIN), up / (height + 2 * _MARGIN), 1.0))


def _draw_stage(
    ax: Axes,
    blocks: list[Block],
    plan: Layout,
    *,
    left: float,
    top: float,
    title: str,
    colour: str,
    scale: float,
) -> None:
    """Draw one model below its title, with all its parameters."""
    total = sum(block.copies * block.parameters for block in blocks)
    middle = left + plan.width * _BOX / 2
    style = {"ha": "center", "va": "center", "color": "#111111"}
    ax.text(middle, top - 0.12, title, fontsize=(_POINTS + 3) * scale, weight="bold", **style)
    count = f"{total:,} parameters"
    ax.text(middle, top - _TITLE + 0.22, count, fontsize=(_POINTS + 1) * scale, **style)
    pitch = _ROW + _ROW_GAP
    top -= _TITLE
    for route in plan.routes:
        first, *between, last = [(left + x * _BOX, top - row * pitch) for x, row in route]
        points = [(first[0], first[1] - _ROW)]
        for x, y in between:
            points += [(x, y), (x, y - _ROW)]
        _arrow(ax, [*points, last], scale=scale)
    for block, (x, row) in zip(blocks, plan.places, strict=True):
        corner = left + x * _BOX - 0.46 * _BOX, top - row * pitch - _ROW
        _draw_block(ax, block, corner, colour=look(colour).colour, scale=scale)


def _draw_block(
    ax: Axes, block: Block, corner: tuple[float, float], *, colour: str, scale: float
) -> None:
    x, y = corner
    width = 0.92 * _BOX
    heavy = bool(block.parameters or block.shared)
    face = tint(colour, 0.25) if heavy else "#eeeeee" if block.is_input else "white"
    _draw_box(ax, x, y, width, _ROW, face=face, edge=colour if heavy else "#888888")
    if block.is_model:
        _draw_box(ax, x + 0.04, y + 0.04, width - 0.08, _ROW - 0.08, face=face, edge=colour)
    lines = _words_diagrams(block)
    for place, (line, size, weight) in enumerate(lines):
        ax.text(
            x + width / 2, y + _ROW * (1 - (place + 0.5) / len(lines)), line,
            fontsize=size * scale, weight=weight, ha="center", va="center", color="#111111",
        )  # fmt: skip


def _words_diagrams(block: Block) -> list[tuple[str, float, str]]:
    """Return the lines of a box with their size and weight."""
    times = f"{block.copies} × " if block.copies > 1 else ""
    kind = " + ".join(dict.fromkeys((block.kind, *block.folded)))
    kind = "sub-model" if block.kind in ("Functional", "Sequential") and block.is_model else kind
    each = " each" if block.copies > 1 else ""
    count = "shared weights" if block.shared else f"{block.parameters:,} parameters{each}"
    last = f"{block.shape}  {count}" if block.parameters or block.shared else block.shape
    lines = (
        (times + block.name, _POINTS, "bold"),
        (kind, _POINTS - 1, ""),
        (last, _POINTS - 1, ""),
    )
    return [
        (text, size * min(1, _LETTERS / max(len(text), 1)), w or "normal")
        for text, size, w in lines
    ]


def _draw_box(
    ax: Axes, x: float, y: float, width: float, height: float, face: Any, edge: Any
) -> None:
    style = "round,pad=0,rounding_size=0.06"
    box = FancyBboxPatch(
        (x, y), width, height, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=1.1
    )
    ax.add_patch(box)


def _arrow(
    ax: Axes, points: list[tuple[float, float]], *, scale: float, heavy: bool = False
) -> None:
    """Draw an arrow along points."""
    arrow = FancyArrowPatch(
        path=Path(points), arrowstyle="-|>", mutation_scale=(16 if heavy else 9) * scale,
        linewidth=(2.2 if heavy else 1.0) * scale, color=_INK if heavy else "#777777",
        shrinkA=0, shrinkB=0, capstyle="round", joinstyle="round",
    )  # fmt: skip
    ax.add_patch(arrow)


# ---- study.figures ----
# A figure twice: whole in the figures folder, small in the notebook.
#
# Conventions: the files are those of `run.save_figure`, PNG and SVG; what a notebook embeds is the
# PNG at half its size in the sets' own colours, their tints and greys: a quarter of the bytes, so
# that a notebook with many figures can be committed.


TINTS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.12)
"""Strengths of each colour that a notebook's picture knows: edges are mixed with white."""

GREYS = 32

EXTRA = tuple(look("", index=index).colour for index in range(6))
"""Colours of sets that have none of their own."""


def present(fig: Figure, name: str, paths: Paths, *, alt: str) -> Image:
    """Save a figure, close it, and return a small picture of it to show.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure; it is closed.
    name, paths
        As `run.save_figure`.
    alt : str
        What the picture shows, in words, for those who cannot see it.

    Returns
    -------
    IPython.display.Image
        Shown when it is the last value of a cell, or given to ``display``.

    Raises
    ------
    ValueError
        As `run.save_figure`, or if `alt` is empty.
    """
    import matplotlib.pyplot as plt

    if not alt.strip():
        raise ValueError("alt: got nothing, say in words what the picture shows")
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # the layout is found once, not again for each file
    file = save_figure(fig, name, paths)
    plt.close(fig)
    memory = io.BytesIO()
    with Pixels.open(file) as picture:
        small = picture.convert("RGB").reduce(2)
    few = small.quantize(palette=_palette(), dither=Pixels.Dither.NONE)
    few.save(memory, format="PNG", optimize=True)
    return Image(memory.getvalue(), format="png", alt=alt)


def _palette() -> Pixels.Image:
    """Return a picture that holds the colours of every set, their tints, and greys."""
    own = [*COLOURS.values(), *(colour for colour, _ in HOLDS.values()), *EXTRA]
    mixed = [tint(colour, strength) for colour in own for strength in TINTS]
    mixed += [(level / (GREYS - 1),) * 3 for level in range(GREYS)]
    numbers = [round(255 * part) for colour in mixed for part in colour]
    palette = Pixels.new("P", (1, 1))
    palette.putpalette(numbers)
    return palette
