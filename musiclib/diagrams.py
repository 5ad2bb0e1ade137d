"""Diagrams of boxes and arrows: the study's workflow, and any built model's architecture.

Conventions: axes-level functions as in `musiclib.plots`, where they can be had from. Lengths are
inches of the diagram at its natural size; on smaller axes everything shrinks alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from musiclib.diagram_layout import Layout, arrange
from musiclib.model_graph import Block, read_blocks
from musiclib.style import axes_or_new, look, tint

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
        See `model_graph.read_blocks`.

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
    lines = _words(block)
    for place, (line, size, weight) in enumerate(lines):
        ax.text(
            x + width / 2, y + _ROW * (1 - (place + 0.5) / len(lines)), line,
            fontsize=size * scale, weight=weight, ha="center", va="center", color="#111111",
        )  # fmt: skip


def _words(block: Block) -> list[tuple[str, float, str]]:
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
