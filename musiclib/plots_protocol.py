"""Pictures of the paper's protocol: its table beside ours, and what picking three pieces can do.

Conventions: as in `plots`: axes-level functions that take and return `ax`, nothing shown or saved
here, a colour and a second cue for each model.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from musiclib.style import axes_or_new, look


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
        As `protocol.picked_rankings` returns it.
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
