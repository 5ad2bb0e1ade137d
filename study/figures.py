"""Plot the study's results, its workflow and its models, and show figures in a notebook.

Conventions: as in `musiclib.plots`. Only `show` shows or saves anything; only `draw_verdict` makes
a whole figure. Tables have one row per piece and name its set in the column ``model``.
"""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from PIL import Image as Pixels
from scipy.optimize import isotonic_regression

from musiclib.plots import axes_or_new, plot_distribution, plot_intervals, style_of, tint
from study.benchmarks import OUTPUTS
from study.claims import CLAIMS
from study.measuring import real_range
from study.run import Paths, save_figure


def plot_measure(
    table: pd.DataFrame, measure: str, *, ax: Axes | None = None, unit: str = ""
) -> Axes:
    """Draw one measure in every set that has finite values; the real pieces' range is shaded."""
    by_model = table.groupby("model", sort=False)[measure]
    every = {str(model): x[np.isfinite(x)].to_numpy(float) for model, x in by_model}
    groups = {model: kept for model, kept in every.items() if len(kept)}
    title = _without("undefined", [model for model in every if model not in groups])
    if not groups:
        return _no_value(ax, unit or measure, title)
    ends = tuple(real_range(table, [measure]).loc[measure, ["low", "high"]])
    band = ends if np.isfinite(ends).all() else None
    ax = plot_distribution(groups, ax=ax, unit=unit or measure, band=band, title=title)
    n = max(map(len, groups.values()))
    for line in ax.lines:  # small and pale points where there are many, below the box's lines
        if line.get_linestyle() == "None":
            line.set(markersize=min(6.0, 36 / n**0.5), alpha=min(1.0, 45 / n))
        else:
            line.set_zorder(4)
    names = [
        f"{style_of(name, index=i).label}\n{len(x)}" for i, (name, x) in enumerate(groups.items())
    ]
    ax.set_xticks(range(1, len(groups) + 1), names, fontsize=9)
    return ax


def _without(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(style_of(name).label for name in names)}" if names else ""


def _no_value(ax: Axes | None, unit: str, title: str) -> Axes:
    ax = axes_or_new(ax, size=(6, 3.8))
    ax.text(0.5, 0.5, "no value", ha="center", va="center", transform=ax.transAxes)
    ax.set(xticks=[], yticks=[], ylabel=unit, title=title)
    return ax


def plot_scatter(
    table: pd.DataFrame, x: str, y: str, *, ax: Axes | None = None,
    xlabel: str = "", ylabel: str = "", title: str = "", legend: bool = True,
) -> Axes:  # fmt: skip
    """Draw two measures (columns `x` and `y`) of every piece that has both against each other."""
    ax = axes_or_new(ax, size=(6, 4))
    shown = table[np.isfinite(table[[x, y]]).all(axis=1)]
    for index, (model, rows) in enumerate(shown.groupby("model", sort=False)):
        one = style_of(str(model), index=index)
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.4, "alpha": 0.65}
        style = {"color": one.colour, "marker": one.marker, "markersize": 6, **edge}
        ax.plot(rows[x], rows[y], linestyle="", label=f"{one.label} (n = {len(rows)})", **style)
    ax.set(xlabel=xlabel or x, ylabel=ylabel or y, title=title)
    ax.grid()
    if legend:
        ax.legend(fontsize=9, markerscale=1.2)
    return ax


def plot_lines(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]], *, ax: Axes | None = None,
    xlabel: str, ylabel: str, every: int = 1,
) -> Axes:  # fmt: skip
    """Draw one curve (x, y) per set, with a marker at every so-many-th point (`every`)."""
    ax = axes_or_new(ax, size=(6, 4))
    for index, (name, (x, y)) in enumerate(lines.items()):
        one = style_of(name, index=index)
        style = {"color": one.colour, "marker": one.marker, "label": one.label}
        ax.plot(x, y, markevery=every, markersize=6, linewidth=1.6, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid()
    ax.legend(fontsize=9)
    return ax


def plot_heatmap(
    table: pd.DataFrame, *, ax: Axes | None = None,
    limits: tuple[float, float], unit: str, better: str = "low",
) -> Axes:  # fmt: skip
    """Draw a table in greys between `limits`, light where `better`: ``low`` or ``high``."""
    rows, columns = table.shape
    ax = axes_or_new(ax, size=(2.8 + 1.0 * columns, 1.2 + 0.36 * rows))
    values = table.to_numpy(float)
    low, high = limits
    shades = "Greys" if better == "low" else "Greys_r"
    image = ax.imshow(values, cmap=shades, vmin=low, vmax=high, aspect="auto")
    share = (np.clip(values, low, high) - low) / (high - low)
    dark = share > 0.55 if better == "low" else share < 0.45
    for i, j in np.ndindex(values.shape):
        text = "-" if np.isnan(values[i, j]) else f"{values[i, j]:.2f}"
        colour = "white" if dark[i, j] else "black"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=10)
    ax.set_xticks(range(columns), [style_of(str(name)).label for name in table.columns])
    ax.set_yticks(range(rows), [str(name).replace("_", " ") for name in table.index])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, label=unit, shrink=0.8)
    return ax


def plot_distances(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the rows of `measuring.distance_table` with intervals, on a logarithmic axis."""
    shown = table.dropna(subset="distance").reset_index(drop=True)
    title = _without("no distance", table.loc[table["distance"].isna(), "model"].tolist())
    if shown.empty:
        return _no_value(ax, "", title)
    values, rows = ["distance", "low", "high"], shown.itertuples()
    shown[values] = shown[values].clip(lower=0.01)
    shown["label"] = [
        f"{style_of(row.model).label} (n = {row.n}, seeds: {row.seeds})" for row in rows
    ]
    unit = "distance to held-out real music (its standard deviations)"
    ax = plot_intervals(shown, ax=ax, value="distance", unit=unit, title=title)
    low, high = 0.85 * shown["low"].min(), 1.15 * shown["high"].max()
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low < t < high]
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter("")
    ax.set_xlim(low, high)
    return ax


def plot_copied(table: pd.DataFrame, *, kind: str, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the rows of `measuring.copied_table` of one kind, ``exact`` or ``transposed``."""
    ax = axes_or_new(ax, size=(6, 4))
    shown = table[table["kind"] == kind]
    lengths, last = sorted(shown["length"].unique()), shown["model"].nunique() - 1
    for index, (model, rows) in enumerate(shown.groupby("model", sort=False)):
        rows, one = rows.set_index("length").loc[lengths], style_of(str(model), index=index)
        x = np.arange(len(lengths)) + 0.08 * (index - last / 2)
        ends = (100 * rows["low"], 100 * rows["high"])
        ax.vlines(x, *ends, color=one.colour, alpha=0.6, linewidth=3)
        style = {"color": one.colour, "marker": one.marker, "linewidth": 0.8, "markersize": 8}
        ax.plot(x, 100 * rows["share"], label=f"{one.label} (n = {int(rows['n'].max())})", **style)
    ax.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    ax.set(xlabel="window (sixteenths)", ylabel="windows found (%)", title=title)
    ax.grid(axis="y")
    ax.legend(fontsize=9)
    return ax


def plot_beside_paper(
    table: pd.DataFrame, quantity: str, *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw our ``energy`` or ``mean`` (filled) beside the printed one (hollow)."""
    ax = axes_or_new(ax, size=(5.5, 3.6))
    models = list(table["model"].unique())
    for place, model in enumerate(models):
        rows, one = table[table["model"] == model], style_of(model)
        x = place + np.linspace(-0.06, 0.06, len(rows))
        style = {"color": one.colour, "marker": one.marker, "markersize": 9, "markeredgewidth": 1.8}
        for column, shift, fill in ((f"paper_{quantity}", -0.15, "white"), (quantity, 0.15, None)):
            face = {"markerfacecolor": fill or one.colour}
            ax.plot(x + shift, rows[column], linestyle="", **face, **style)
    if quantity == "energy" and (table[["energy", "paper_energy"]] > 0).all(axis=None):
        ax.set_yscale("log")
    else:
        ax.axhline(0, color="#333333", linewidth=0.8)
    ax.set_xticks(range(len(models)), [style_of(model).label for model in models])
    ax.set(xlim=(-0.5, len(models) - 0.5), ylabel=quantity, title=title)
    ax.grid(axis="y")
    return ax


def plot_rankings(rankings: pd.DataFrame, *, ax: Axes | None = None, paper: str = "") -> Axes:
    """Draw the shares of `printed.picked_rankings`; the ranking of the `paper` is hatched."""
    ax = axes_or_new(ax, size=(8, 3.6))
    places, names = range(len(rankings)), []
    bars = ax.barh(places, 100 * rankings["by_means"], color="#9DB4C0", edgecolor="#333333")
    for bar, row in zip(bars, rankings.itertuples(), strict=True):
        bar.set_hatch("//" if row.ranking == paper else "")
        note = "a picker can separate it fully" if row.can_be_picked else "no choice separates it"
        note = f" {100 * row.by_means:.1f} %; {note}"
        ax.text(bar.get_width(), bar.get_y() + 0.4, note, va="center", fontsize=10)
        names.append(row.ranking.upper() + (" (paper)" if row.ranking == paper else ""))
    ax.set_yticks(places, names)
    widest = 160 * max(float(rankings["by_means"].max()), 0.01)
    ax.set(xlabel="draws with this ranking of the means (%)", xlim=(0, widest))
    ax.invert_yaxis()
    return ax


_ANSWERS = {"yes": "#1B7837", "no": "#8C2D04", "undecided": "#555555"}
_HEADINGS = {"floor": "baselines", "independent": "independent keys"}
_HEADINGS |= {"joint": "joint frame", "latent": "latent (a bound)"}


def plot_benchmark(
    published: pd.DataFrame, ours: pd.DataFrame, *, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Draw test likelihoods in groups, never ranked together; `published` ones are hollow."""
    parts = [part.assign(ours=mine) for part, mine in ((published, False), (ours, True))]
    rows = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    unknown = set(rows["outputs"]) - set(OUTPUTS)
    if unknown or not len(rows):
        raise ValueError(f"outputs: got {sorted(unknown)}; allowed: {', '.join(OUTPUTS)}")
    rows = rows.sort_values("outputs", key=lambda kind: kind.map(OUTPUTS.index), kind="stable")
    ax = axes_or_new(ax, size=(9, 1.2 + 0.34 * (len(rows) + rows["outputs"].nunique())))
    place, ticks, names = 0.0, [], []
    for outputs, group in rows.groupby("outputs", sort=False):
        if ticks:
            ax.axhline(place - 0.1, color="#bbbbbb", linewidth=0.8)
        ax.text(0.995, place + 0.35, _HEADINGS[str(outputs)], ha="right", va="center",
                transform=ax.get_yaxis_transform(), style="italic", fontsize=11)  # fmt: skip
        for row in group.sort_values("test_nll", ascending=False).to_dict("records"):
            place += 0.9
            _draw_likelihood(ax, row, place)
            ticks.append(place)
            names.append(row["model"])
        place += 0.8
    ax.set_yticks(ticks, names)
    ax.set(ylim=(place, 0.0), xlabel="test NLL (nats per frame, lower is better)", title=title)
    ax.grid(axis="x")
    return ax


def _draw_likelihood(ax: Axes, row: dict[str, Any], place: float) -> None:
    value, is_floor = float(row["test_nll"]), row["outputs"] == "floor"
    is_model = row["ours"] and not is_floor
    one = style_of(("vae" if row["model"].startswith("VAE") else "lstm") if is_model else "real")
    if is_model:
        ends = [float(row.get(end, value)) for end in ("low", "high")]
        ax.plot(ends, [place, place], color=one.colour, linewidth=4, alpha=0.5)
    face = one.colour if row["ours"] else "white"
    style = {"color": one.colour, "markerfacecolor": face, "markersize": 8, "markeredgewidth": 1.6}
    ax.plot(value, place, marker="x" if is_floor else one.marker, linestyle="", **style)
    offset = {"xytext": (9, 0), "textcoords": "offset points", "va": "center"}
    ax.annotate(f"{value:.2f}", (value, place), fontsize=9, **offset)


def draw_verdict(parts: pd.DataFrame, verdict: pd.DataFrame) -> Figure:
    """Draw a row per claim: intervals, margins (the claim holds in the shade), and the answer."""
    own = [parts[(parts["claim"] == claim.name) & parts["decides"]] for claim in CLAIMS]
    heights = [0.75 + 0.42 * len(rows) for rows in own]
    sizes = {"width_ratios": [3.0, 5.4, 1.3], "height_ratios": heights}
    fig, rows = plt.subplots(len(CLAIMS), 3, figsize=(14, 1.05 * sum(heights)), **sizes)
    answers = verdict.set_index("claim")["holds"]
    for claim, found, (left, middle, right) in zip(CLAIMS, own, rows, strict=True):
        answer = answers[claim.name]
        words = textwrap.fill(f"{claim.name}  {claim.text}", 38)
        left.text(0, 0.5, words, va="center", fontsize=12)
        if len(found):
            _draw_parts(middle, found)
        else:
            said = "only listeners can say: notebook 06, with real answers"
            middle.text(0, 0.5, said, va="center", fontsize=11)
        for ax in (left, right) if len(found) else (left, middle, right):
            ax.axis("off")
        reason = textwrap.fill(next((why for why in found["why"] if why), ""), 22)
        right.text(0.5, 0.12, reason, ha="center", va="top", fontsize=8.5, color="#555555")
        bubble = {"boxstyle": "round,pad=0.5", "facecolor": _ANSWERS[answer], "edgecolor": "none"}
        style = {"size": 13, "weight": "bold", "color": "white", "ha": "center", "va": "center"}
        right.text(0.5, 0.6, answer.upper(), bbox=bubble, **style)
    return fig


def _draw_parts(ax: Axes, found: pd.DataFrame) -> None:
    values = np.append(found[["low", "high", "effect", "margin"]].to_numpy(float).ravel(), 0.0)
    values = values[np.isfinite(values)]
    air = 0.12 * (float(np.ptp(values)) or 1.0)
    low, high = float(values.min()) - air, float(values.max()) + air
    measures, names = found["measure"].unique(), []
    for place, row in enumerate(found.itertuples()):
        colour, edges = _ANSWERS[row.holds], [place - 0.45, place + 0.45]
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=4, alpha=0.5)
        ax.plot(row.effect, place, marker="D", color=colour, markersize=7)
        ax.plot([row.margin] * 2, edges, color="#222222", linewidth=1.6)
        ax.fill_between([row.margin, high], *edges, color="#1B7837", alpha=0.10, linewidth=0)
        first, second = style_of(row.first).label, style_of(row.second).label
        size = f"{first} {row.n_first}, {second} {row.n_second}"
        if row.n_first == row.n_second:
            size = f"n = {row.n_first}"
        names.append(f"{row.measure + ': ' if len(measures) > 1 else ''}{row.part} ({size})")
    ax.set(xlim=(low, high), ylim=(len(found) - 0.45, -0.55))
    ax.set_yticks(range(len(found)), names, fontsize=10)
    unit = found["unit"].iloc[0]
    ax.set_xlabel(f"{measures[0]} ({unit})" if len(measures) == 1 else unit, fontsize=10)
    ax.tick_params(axis="x", labelsize=9)
    ax.axvline(0, color="#999999", linewidth=0.8, linestyle=":")


# Diagrams of boxes and arrows. Lengths are inches at natural size; all shrink with small axes.
# The paper's workflow (its Fig. 1), one for all three models: title and text of each stage.
WORKFLOW = (
    ("Data collection", "real piano music\nas MIDI files"),
    ("Pre-processing", "notes, piano rolls,\nnormalised, split by tune"),
    ("Model", ("GAN", "LSTM", "VAE")),
    ("Generation", "new pieces as rolls,\nMIDI and sound"),
    ("Analysis", "energy and mean,\nand what they should be"),
)
_BOX, _ROW, _PITCH = 2.55, 0.66, 1.0  # a box's width and height, and from row to row
_STAGE_GAP, _TITLE, _MARGIN = 0.6, 0.6, 0.12
_LETTERS = 36  # that fit a box; longer lines are set smaller
_INK = "#333333"


def plot_workflow(*, ax: Axes | None = None) -> Axes:
    """Draw `WORKFLOW` from left to right, the models as small boxes in their colours."""
    width, height, gap = 2.3, 1.5, 0.45
    total = len(WORKFLOW) * (width + gap) - gap
    ax, scale = _canvas(ax, total, height)
    for index, (title, content) in enumerate(WORKFLOW):
        left = index * (width + gap)
        middle = left + width / 2
        _draw_box(ax, left, 0, (width, height), "#f4f4f4", _INK)
        _centred(ax, middle, height - 0.25, title, 12 * scale, weight="bold", color=_INK)
        if isinstance(content, str):
            _centred(ax, middle, 0.58, content, 10 * scale, color=_INK)
            content = ()
        for place, name in enumerate(reversed(content)):
            bottom, colour = 0.08 + 0.32 * place, style_of(name).colour
            _draw_box(ax, left + 0.35, bottom, (width - 0.7, 0.26), tint(colour, 0.25), colour)
            _centred(ax, middle, bottom + 0.13, name, 11 * scale, color="black")
        if index:
            _draw_arrow(ax, [(left - gap, height / 2), (left, height / 2)], scale, heavy=True)
    return ax


def plot_architecture(model: Any, *, ax: Axes | None = None, colour: str = "real") -> Axes:
    """Draw a built functional Keras model, or a sequence of stages (title, model) side by side."""
    stages = [("", model)] if hasattr(model, "count_params") else list(model)
    blocks = [read_blocks(one) for _, one in stages]
    plans = [arrange(some) for some in blocks]
    lefts = np.cumsum([0.0] + [plan.width * _BOX + _STAGE_GAP for plan in plans])
    width = float(lefts[-1]) - _STAGE_GAP
    height = (max(plan.rows for plan in plans) - 1) * _PITCH + _ROW + _TITLE
    (ax, scale), y = _canvas(ax, width, height), height - 0.12
    for (title, one), some, plan, x in zip(stages, blocks, plans, lefts[:-1], strict=True):
        middle = x + plan.width * _BOX / 2
        _centred(ax, middle, y, title, 12 * scale, weight="bold")
        _centred(ax, middle, y - 0.26, f"{one.count_params():,} parameters", 10 * scale)
        _draw_stage(ax, some, plan, x, height - _TITLE, style_of(colour).colour, scale)
        if x:
            _draw_arrow(ax, [(x - _STAGE_GAP + 0.1, y), (x - 0.1, y)], scale, heavy=True)
    return ax


@dataclass
class Block:
    """A box of a diagram: a layer or operation of a Keras model, and the layers folded into it."""

    name: str
    kinds: list[str]  # its class, then those of the layers folded into it
    shape: str  # of its output; None is any size, the batch comes first
    parameters: int
    parents: list[int]  # the blocks that it takes its input from, by index


def read_blocks(model: Any) -> list[Block]:
    """Return a built Keras model's blocks in order, light layers folded into what they follow."""
    graph = getattr(model, "_functional", None) or model
    if not getattr(graph, "_nodes_by_depth", None):
        kind = type(model).__name__
        raise ValueError(f"model: got {kind}; allowed: a functional or built sequential model")
    depths = sorted(graph._nodes_by_depth.items(), reverse=True)
    nodes = [node for _, some in depths for node in some]
    takers = Counter(source for node in nodes for source in node.parent_nodes)
    blocks: list[Block] = []
    place: dict[Any, int] = {}  # of each node's block
    for node in nodes:
        layer, shape = node.operation, str(tuple(node.output_tensors[0].shape))
        kind = type(layer).__name__
        parameters = layer.count_params() if hasattr(layer, "count_params") else 0
        parents = sorted({place[source] for source in node.parent_nodes})
        is_light = parameters == 0 or kind.endswith("Normalization")
        host = blocks[parents[0]] if [takers[n] for n in node.parent_nodes] == [1] else None
        if host and is_light and host.kinds != ["InputLayer"]:
            host.kinds.append(kind)
            host.shape, host.parameters = shape, host.parameters + parameters
            place[node] = parents[0]
        else:
            place[node] = len(blocks)
            blocks.append(Block(layer.name, [kind], shape, parameters, parents))
    return blocks


class Layout(NamedTuple):
    """Where boxes lie, and the points of each arrow: (boxes from the left, row)."""

    places: list[tuple[float, int]]
    routes: list[list[tuple[float, int]]]
    width: float  # in boxes
    rows: int


def arrange(blocks: Sequence[Block]) -> Layout:
    """Place blocks in rows below their inputs, and route the arrows (after Sugiyama)."""
    row_of: list[int] = []
    for block in blocks:
        row_of.append(1 + max((row_of[parent] for parent in block.parents), default=-1))
    for index, block in enumerate(blocks):
        takers = [row_of[i] for i, other in enumerate(blocks) if index in other.parents]
        if takers and not block.parents:
            row_of[index] = min(takers) - 1
    routes = []
    for index, block in enumerate(blocks):
        for parent in block.parents:
            passages = range(len(row_of), len(row_of) + row_of[index] - row_of[parent] - 1)
            row_of += range(row_of[parent] + 1, row_of[index])
            routes.append([parent, *passages, index])
    widths = np.array([1.0] * len(blocks) + [0.3] * (len(row_of) - len(blocks)))
    x = _across(row_of, [link for route in routes for link in pairwise(route)], widths)
    points = [(float(at), row) for at, row in zip(x, row_of, strict=True)]
    bent = [[points[item] for item in route] for route in routes]
    return Layout(points[: len(blocks)], bent, float((x + widths / 2).max()), max(row_of) + 1)


def _across(row_of: list[int], links: list[tuple[int, int]], widths: np.ndarray) -> np.ndarray:
    """Pull every item towards the middle of its neighbours, as far as its row has room."""
    near = [[a + b - i for a, b in links if i in (a, b)] for i in range(len(row_of))]
    rows = [[i for i, own in enumerate(row_of) if own == row] for row in range(max(row_of) + 1)]
    x = np.zeros(len(widths))
    for sweep in range(50):  # at first towards one side in turn, and items may change places
        sides = (sweep % 2 * 2 - 1,) if sweep < 10 else (-1, 1)
        for row in reversed(rows) if sweep % 2 else rows:
            pulls = {i: [x[n] for n in near[i] if row_of[n] - row_of[i] in sides] for i in row}
            wish = {i: np.mean(some or [x[i]]) for i, some in pulls.items()}
            if sweep < 10:
                row.sort(key=wish.__getitem__)
            offset = np.cumsum(widths[row]) - widths[row] / 2
            wished = np.array([wish[i] for i in row])
            x[row] = isotonic_regression(wished - offset).x + offset  # nearest that do not overlap
    return x - (x - widths / 2).min()


def _canvas(ax: Axes | None, width: float, height: float) -> tuple[Axes, float]:
    """Return a figure's only axes, set up for a diagram of this size, and the scale of its text."""
    size = (width + 2 * _MARGIN, height + 2 * _MARGIN)
    ax = axes_or_new(ax, size=size)
    ax.set(xlim=(-_MARGIN, width + _MARGIN), ylim=(-_MARGIN, height + _MARGIN), aspect="equal")
    ax.axis("off")
    return ax, min(1.0, float((ax.figure.get_size_inches() / size).min()))


def _draw_stage(
    ax: Axes, blocks: list[Block], plan: Layout, left: float, top: float, colour: str, scale: float
) -> None:
    for route in plan.routes:
        first, *between, last = [(left + x * _BOX, top - row * _PITCH) for x, row in route]
        points = [point for x, y in between for point in ((x, y), (x, y - _ROW))]
        _draw_arrow(ax, [(first[0], first[1] - _ROW), *points, last], scale)
    for block, (x, row) in zip(blocks, plan.places, strict=True):
        middle, bottom = left + x * _BOX, top - row * _PITCH - _ROW
        face = "#eeeeee" if block.kinds == ["InputLayer"] else "white"
        face, edge = (tint(colour, 0.25), colour) if block.parameters else (face, "#888888")
        _draw_box(ax, middle - 0.46 * _BOX, bottom, (0.92 * _BOX, _ROW), face, edge)
        count = f"  {block.parameters:,} parameters" if block.parameters else ""
        lines = (block.name, " + ".join(dict.fromkeys(block.kinds)), block.shape + count)
        for place, line in enumerate(lines):
            size = (8 if place else 9) * min(1, _LETTERS / len(line)) * scale
            y = bottom + _ROW * (5 - 2 * place) / 6
            _centred(ax, middle, y, line, size, weight="normal" if place else "bold")


def _centred(ax: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    style = {"color": "#111111", "ha": "center", "va": "center", **style}
    ax.text(x, y, text, fontsize=size, **style)


def _draw_box(ax: Axes, x: float, y: float, size: Sequence[float], face: Any, edge: str) -> None:
    style = {"boxstyle": "round,pad=0,rounding_size=0.06", "linewidth": 1.1}
    ax.add_patch(FancyBboxPatch((x, y), *size, facecolor=face, edgecolor=edge, **style))


def _draw_arrow(ax: Axes, points: Sequence[Any], scale: float, *, heavy: bool = False) -> None:
    head, line, colour = (16, 2.2, _INK) if heavy else (9, 1.0, "#777777")
    style = {"arrowstyle": "-|>", "capstyle": "round", "joinstyle": "round", "color": colour}
    sizes = {"mutation_scale": head * scale, "linewidth": line * scale, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(path=Path(points), **style, **sizes))


def say(text: str) -> None:
    """Show a sentence that was put together from computed numbers."""
    display(Markdown(text))


def show(fig: Figure, name: str, alt: str, *, paths: Paths) -> None:
    """Save a figure, close it, and show it small and in few colours; `alt` says what it shows."""
    if not alt.strip():
        raise ValueError("alt: got nothing, say in words what the picture shows")
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # the layout is found once, not again for each file
    file = save_figure(fig, name, paths)
    plt.close(fig)
    small = Pixels.open(file).convert("RGB").reduce(2)
    few = small.quantize(128, method=Pixels.Quantize.FASTOCTREE, dither=Pixels.Dither.NONE)
    memory = io.BytesIO()
    few.save(memory, format="PNG", optimize=True)
    display(Image(memory.getvalue(), format="png", alt=alt))
