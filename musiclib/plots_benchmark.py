"""The likelihood benchmark as a picture: our models among the published ones, kind by kind.

Conventions: as in `plots`: axes-level functions that take and return `ax`, nothing shown or saved
here, a colour and a second cue for each group.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from musiclib.benchmark_table import OUTPUTS
from musiclib.style import axes_or_new, look

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
