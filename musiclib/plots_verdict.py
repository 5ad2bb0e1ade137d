"""The picture of the verdict: a row a claim, each with an axis of its own unit.

Conventions: as in `plots`, but for `draw_verdict`, which makes a whole figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musiclib.claims import CLAIMS
from musiclib.style import LABELS

HOLDS = {"yes": ("#1B7837", "YES"), "no": ("#8C2D04", "NO"), "undecided": ("#555555", "UNDECIDED")}
"""Colour and word of each answer."""


def draw_verdict(parts: pd.DataFrame, verdict: pd.DataFrame) -> Figure:
    """Draw the verdict: a row a claim, its parts with intervals, the margin, and the answer.

    Parameters
    ----------
    parts : pd.DataFrame
        As `verdicts.claim_parts` returns it.
    verdict : pd.DataFrame
        As `verdicts.verdict` returns it.

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
