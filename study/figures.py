"""Plot the study's results, its workflow and how its models work; show figures in a notebook.

Conventions: as in `musiclib.plots`. Only `show` shows or saves anything; only `draw_verdict` makes
a whole figure. Tables have one row per piece and name its set in the column ``model``.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from PIL import Image as Pixels

from musiclib.plots import axes_or_new, plot_distribution, plot_intervals, style_of, tint
from study.benchmarks import OUTPUTS
from study.claims import CLAIMS
from study.measuring import real_range
from study.run import Paths, save_figure
from study.sets import RUNGS


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
    names = [f"{style_of(name).label}\n{len(x)}" for name, x in groups.items()]
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
    limits: tuple[float, float], unit: str, better: str = "low", apart: int = 0,
) -> Axes:  # fmt: skip
    """Draw a table in greys between `limits`, light where `better`: ``low`` or ``high``.

    A gap follows the first columns, so many as `apart` says: models, then what frames them.
    """
    rows, columns = table.shape
    ax = axes_or_new(ax, size=(2.8 + 1.0 * columns, 1.2 + 0.36 * rows))
    values = table.to_numpy(float)
    low, high = limits
    share = (np.clip(values, low, high) - low) / (high - low)
    shades, dark = ("Greys", share > 0.55) if better == "low" else ("Greys_r", share < 0.45)
    image = ax.imshow(values, cmap=shades, vmin=low, vmax=high, aspect="auto")
    for i, j in np.ndindex(values.shape):
        text = "-" if np.isnan(values[i, j]) else f"{values[i, j]:.2f}"
        colour = "white" if dark[i, j] else "black"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=10)
    if apart:
        ax.axvline(apart - 0.5, color="white", linewidth=8)
    labels = [style_of(str(name)).label for name in table.columns]
    slant = {"rotation": 30, "ha": "right"} if columns > 10 else {}
    ax.set_xticks(range(columns), labels, **slant)
    ax.set_yticks(range(rows), [str(name).replace("_", " ") for name in table.index])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    beyond = {"low": "max", "high": "min"}[better]  # all shades alike past this end
    ax.figure.colorbar(image, ax=ax, label=unit, shrink=0.8, extend=beyond)
    return ax


def plot_distances(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the rows of `measuring.distance_table` with intervals, on a logarithmic axis."""
    shown = table.dropna(subset="distance").reset_index(drop=True)
    title = _without("no distance", table.loc[table["distance"].isna(), "model"].tolist())
    if shown.empty:
        return _no_value(ax, "", title)
    values, rows = ["distance", "low", "high"], shown.itertuples()
    shown[values] = shown[values].clip(lower=0.01)
    shown["label"] = [f"{style_of(r.model).label} (n = {r.n}, seeds: {r.seeds})" for r in rows]
    unit = "distance to held-out real music (its standard deviations)"
    ax = plot_intervals(shown, ax=ax, value="distance", unit=unit, title=title)
    low, high = 0.85 * shown["low"].min(), 1.15 * shown["high"].max()
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low < t < high]
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter("")
    ax.set_xlim(low, high)
    return ax


def plot_ladder(table: pd.DataFrame, model: str, *, ax: Axes | None = None) -> Axes:
    """Draw the distances of a model's rungs (``ladder.csv``), from plain on top to refined."""
    rungs = [rung for rung in RUNGS[model] if (table["rung"] == rung).any()]
    ax, style = axes_or_new(ax, size=(9, 1.2 + 0.5 * len(rungs))), style_of(model)
    own = table[table["model"] == model]
    means = own.groupby("rung")["distance"].mean()[rungs]
    ax.plot(means, range(len(rungs)), color=tint(style.colour, 0.4), linewidth=1.5)
    for place, (rung, mean) in enumerate(means.items()):
        seeds = own.loc[own["rung"] == rung, "distance"]
        ax.plot(seeds, [place] * len(seeds), "|", color=style.colour, markersize=12)
        ax.plot(mean, place, style.marker, color=style.colour, markersize=9)
        ax.annotate(f"{mean:.2f}", (mean, place), (0, 9), textcoords="offset points", ha="center")
    floor = table.loc[table["model"] == "training", "distance"].mean()
    ax.axvline(floor, color=style_of("real").colour, linestyle=":")
    ax.set_yticks(range(len(rungs)), [textwrap.fill(RUNGS[model][rung], 38) for rung in rungs])
    ax.set(xscale="log", ylim=(len(rungs) - 0.5, -0.7), title=style.label,
           xlabel="distance to real validation pieces (dotted: real training pieces)")  # fmt: skip
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10) if 0.8 * floor < tick < 1.3 * means.max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_formatter("")
    return ax


def show_ladder(model: str, *, paths: Paths) -> None:
    """Show a model's ladder in its lesson: the picture, and the rungs' numbers, means of seeds."""
    try:
        table = paths.table("ladder.csv", keys=["model", "rung", "seed"])
    except FileNotFoundError:
        print("No ladder of this corpus: only the chorales' is released.")
        return
    own = table[table["model"] == model]
    fig = plot_ladder(table, model).figure
    rungs = ", ".join(f"{r.rung} {r.distance:.2f}" for r in own[own["seed"] == 0].itertuples())
    show(fig, f"ladder_{model}", f"Distance to real music, rung by rung: {rungs}", paths=paths)
    numbers = own.groupby("rung", sort=False)[["distance", "nearest", "cpu_seconds"]].mean()
    display(own.groupby("rung", sort=False)[["adds"]].first().join(numbers.round(2)))


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
    for label, face in (("printed in the paper", "white"), ("ours", "#333333")):
        style = {"color": "#333333", "marker": "o", "markerfacecolor": face, "markersize": 9}
        ax.plot([], [], linestyle="", label=label, **style)
    if quantity == "energy" and (table[["energy", "paper_energy"]] > 0).all(axis=None):
        ax.set_yscale("log")
    else:
        ax.axhline(0, color="#333333", linewidth=0.8)
    ax.set_xticks(range(len(models)), [style_of(model).label for model in models])
    ax.set(xlim=(-0.5, len(models) - 0.5), ylabel=quantity, title=title)
    ax.grid(axis="y")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.08), ncols=2, borderaxespad=0)
    return ax


def plot_rankings(rankings: pd.DataFrame, *, ax: Axes | None = None, paper: str = "") -> Axes:
    """Draw the shares of `printed.picked_rankings`; the ranking of the `paper` is hatched."""
    ax = axes_or_new(ax, size=(8, 3.6))
    places, names = range(len(rankings)), []
    bars = ax.barh(places, 100 * rankings["by_means"], color="#9DB4C0", edgecolor="#333333")
    for bar, row in zip(bars, rankings.itertuples(), strict=True):
        bar.set_hatch("//" if row.ranking == paper else "")
        note = f" {100 * row.by_means:.1f} %" + ("" if row.can_be_picked else ", cannot be picked")
        ax.text(bar.get_width(), bar.get_y() + 0.4, note, va="center", fontsize=10)
        names.append(row.ranking.upper() + (" (paper)" if row.ranking == paper else ""))
    ax.set_yticks(places, names)
    widest = 130 * max(float(rankings["by_means"].max()), 0.01)
    picked = f"{rankings['can_be_picked'].sum()} of {len(rankings)} can be picked, fully separated"
    ax.set(xlabel="draws with this ranking of the means (%)", xlim=(0, widest), title=picked)
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
            middle.text(0, 0.5, "only listeners can say: notebook 06", va="center", fontsize=11)
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
        told = len(measures) == 1 or row.measure in row.part
        names.append(f"{'' if told else row.measure + ': '}{row.part} ({size})")
    ax.set(xlim=(low, high), ylim=(len(found) - 0.45, -0.55))
    ax.set_yticks(range(len(found)), names, fontsize=10)
    unit = "; ".join(found["unit"].unique())
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
_MARGIN = 0.12
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


def plot_gan_concept(*, ax: Axes | None = None) -> Axes:
    """Draw how a GAN learns: two networks in a loop, closed by the gradient (dashed)."""
    boxes = [
        (0.75, 2.3, 1.5, 0.8, "random\nnumbers", "data"),
        (2.95, 2.3, 1.7, 0.8, "generator", "network"),
        (5.25, 2.3, 1.6, 0.8, "generated\nmusic", "data"),
        (5.25, 0.7, 1.6, 0.8, "real music", "data"),
        (7.75, 1.5, 1.9, 1.0, "discriminator", "network"),
        (10.0, 1.5, 1.5, 0.8, "real or\ngenerated?", "data"),
    ]
    flows = [[(1.5, 2.3), (2.1, 2.3)], [(3.8, 2.3), (4.45, 2.3)], [(8.7, 1.5), (9.25, 1.5)]]
    flows += [[(6.05, 2.3), (6.8, 1.75)], [(6.05, 0.7), (6.8, 1.25)]]
    back = [[(10.0, 1.9), (10.0, 3.25), (2.95, 3.25), (2.95, 2.7)]]
    back += [[(10.0, 1.1), (10.0, 0.45), (7.75, 0.45), (7.75, 1.0)]]
    notes = [
        (6.48, 3.5, "gradient, through the discriminator: the generator learns to pass for real"),
        (8.87, 0.2, "gradient: the discriminator learns to judge"),
        (1.9, 0.7, "solid arrows: generate and judge\ndashed arrows: learn"),
    ]
    return _draw_concept(ax, "gan", boxes, flows, back, notes)


def plot_lstm_concept(*, ax: Axes | None = None) -> Axes:
    """Draw an LSTM unrolled over three steps; in writing, drawn steps are fed back (dashed)."""
    boxes, flows, back = [], [[(9.85, y), (10.76, y)] for y in (1.55, 2.65)], []
    names = ("x_{t-1}", "x_t", "x_{t+1}", "x_{t+2}")
    for x, now, then in zip((1.9, 5.4, 8.9), names, names[1:], strict=False):
        boxes += [
            (x, 0.75, 1.9, 0.5, f"step ${now}$", "data"),
            (x, 1.55, 1.9, 0.5, "LSTM layer 1", "network"),
            (x, 2.1, 1.0, 0.26, "dropout", "data"),
            (x, 2.65, 1.9, 0.5, "LSTM layer 2", "network"),
            (x, 3.45, 1.9, 0.5, f"prediction of ${then}$", "data"),
        ]
        ends = ((1.0, 1.3), (1.8, 1.97), (2.23, 2.4), (2.9, 3.2))
        flows += [[(x, low), (x, high)] for low, high in ends]
        flows += [[(max(x - 2.55, 0.0), y), (x - 0.95, y)] for y in (1.55, 2.65)]
        back += [[(x + 0.95, 3.45), (x + 2.1, 3.45), (x + 2.1, 0.75), (x + 2.55, 0.75)]]
    training = "in training, every step is real music; "
    writing = "in writing (dashed), a step is drawn from the prediction and becomes the next input"
    notes = [(5.38, 0.15, training + writing)]
    notes += [(x, y + 0.16, "state") for x in (0.42, 3.4, 6.9, 10.3) for y in (1.55, 2.65)]
    return _draw_concept(ax, "lstm", boxes, flows, back[:2], notes)


def plot_vae_concept(*, ax: Axes | None = None) -> Axes:
    """Draw a VAE from music to music, with its draw of z and its two losses (dashed)."""
    boxes = [
        (0.6, 1.95, 1.2, 0.8, "music", "data"),
        (2.25, 1.95, 1.35, 0.8, "encoder", "network"),
        (3.95, 1.95, 1.3, 0.8, "z_mean,\nz_log_var", "data"),
        (6.3, 1.95, 2.6, 0.8, "z = z_mean +\nexp(z_log_var / 2) * epsilon", "data"),
        (8.6, 1.95, 1.3, 0.8, "decoder", "network"),
        (10.2, 1.95, 1.1, 0.8, "rebuilt\nmusic", "data"),
        (6.3, 0.5, 2.0, 0.8, "epsilon\nfrom N(0, I)", "data"),
        (3.95, 0.5, 2.0, 0.8, "KL to N(0, I):\nhow far apart?", "loss"),
        (5.4, 3.4, 4.4, 0.5, "reconstruction loss: is it the same music?", "loss"),
    ]
    ends = ((1.2, 1.575), (2.925, 3.3), (4.6, 5.0), (7.6, 7.95), (9.25, 9.65))
    flows = [[(left, 1.95), (right, 1.95)] for left, right in ends] + [[(6.3, 0.9), (6.3, 1.55)]]
    losses = [[(x, 2.35), (x, 3.4), (end, 3.4)] for x, end in ((0.6, 3.2), (10.2, 7.6))]
    losses += [[(3.95, 1.55), (3.95, 0.9)]]
    notes = [(9.2, 0.5, "to generate: draw z from\nN(0, I) and decode it")]
    return _draw_concept(ax, "vae", boxes, flows, losses, notes)


def _draw_concept(
    ax: Axes | None, model: str, boxes: Sequence[Any], flows: Sequence[Any],
    dashed: Sequence[Any], notes: Sequence[Any],
) -> Axes:  # fmt: skip
    """Draw boxes (middle, size, text, look), arrows and texts on 11 by 4 inches."""
    (ax, scale), colour = _canvas(ax, 10.76, 3.76), style_of(model).colour
    looks = {"network": (tint(colour, 0.35), colour)}
    looks |= {"data": ("#f4f4f4", _INK), "loss": ("white", _INK)}
    for x, y, width, height, text, look in boxes:
        _draw_box(ax, x - width / 2, y - height / 2, (width, height), *looks[look])
        _centred(ax, x, y, text, 11 * scale, weight="bold" if look == "network" else "normal")
    for points in flows:
        _draw_arrow(ax, points, scale)
    for points in dashed:
        _draw_arrow(ax, points, scale, line="--")
    for x, y, text in notes:
        _centred(ax, x, y, text, 10 * scale)
    return ax


def _canvas(ax: Axes | None, width: float, height: float) -> tuple[Axes, float]:
    """Return a figure's only axes, set up for a diagram of this size, and the scale of its text."""
    size = (width + 2 * _MARGIN, height + 2 * _MARGIN)
    ax = axes_or_new(ax, size=size)
    ax.set(xlim=(-_MARGIN, width + _MARGIN), ylim=(-_MARGIN, height + _MARGIN), aspect="equal")
    ax.axis("off")
    return ax, min(1.0, float((ax.figure.get_size_inches() / size).min()))


def _centred(ax: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    style = {"color": "#111111", "ha": "center", "va": "center", **style}
    ax.text(x, y, text, fontsize=size, **style)


def _draw_box(ax: Axes, x: float, y: float, size: Sequence[float], face: Any, edge: str) -> None:
    style = {"boxstyle": "round,pad=0,rounding_size=0.06", "linewidth": 1.1}
    ax.add_patch(FancyBboxPatch((x, y), *size, facecolor=face, edgecolor=edge, **style))


def _draw_arrow(
    ax: Axes, points: Sequence[Any], scale: float, *, heavy: bool = False, line: str = "-"
) -> None:
    head, width = (16, 2.2) if heavy else (13, 1.5)
    style = {"arrowstyle": "-|>", "capstyle": "round", "joinstyle": "round", "color": _INK}
    sizes = {"mutation_scale": head * scale, "linewidth": width * scale, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(path=Path(points), linestyle=line, **style, **sizes))


def say(text: str) -> None:
    """Show a sentence that was put together from computed numbers."""
    display(Markdown(text))


def show(fig: Figure, name: str, alt: str, *, paths: Paths) -> None:
    """Save a figure, close it, and show it small and in few colours; `alt` says what it shows.

    Without a name nothing is saved: so a picture has words that ``plt.show()`` cannot give it.
    """
    if not alt.strip():
        raise ValueError("alt: got nothing, say in words what the picture shows")
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # the layout is found once, not again for each file
    file = save_figure(fig, name, paths) if name else io.BytesIO()
    if not name:
        fig.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(fig)
    small = Pixels.open(file).convert("RGB").reduce(2)
    few = small.quantize(128, method=Pixels.Quantize.FASTOCTREE, dither=Pixels.Dither.NONE)
    memory = io.BytesIO()
    few.save(memory, format="PNG", optimize=True)
    display(Image(memory.getvalue(), format="png", alt=alt))
