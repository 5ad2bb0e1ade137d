"""One look for all figures: a colour, a marker and a hatch for each model, quiet axes.

Conventions: a model is named in lower case (``"lstm"``); it has the same colour everywhere and a
second cue beside it, so that a figure can be read without colours. Text is large enough for a
projector: 12 points on a figure 7 to 12 inches wide.
"""

from __future__ import annotations

from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

COLOURS = {
    "vae": "#0072B2",
    "gan": "#C0392B",
    "lstm": "#E69F00",
    "real": "#666666",
    "training": "#56B4E9",
    "markov": "#009E73",
    "shuffled": "#CC79A7",
    "random": "#999933",
}
"""One colour a source of music: blue, red and orange as in the paper's figures 5 to 7."""

MARKERS = {
    "vae": "o",
    "gan": "s",
    "lstm": "^",
    "real": "D",
    "training": "h",
    "markov": "v",
    "shuffled": "P",
    "random": "X",
}
HATCHES = {
    "vae": "//",
    "gan": "\\\\",
    "lstm": "..",
    "real": "",
    "training": "oo",
    "markov": "xx",
    "shuffled": "++",
    "random": "--",
}
LABELS = {
    "vae": "VAE",
    "gan": "GAN",
    "lstm": "LSTM",
    "real": "real",
    "training": "training",
    "markov": "Markov",
    "shuffled": "shuffled",
    "random": "random",
}

_SPARE = ("#5B4B8A", "#8C564B", "#2F4F4F", "#B07AA1", "#7F9F3F")
_SPARE_MARKERS, _SPARE_HATCHES = "<>pdH", ("||", "OO", "**", "/|", "-/")
_QUIET = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "figure.constrained_layout.use": True,
    "figure.dpi": 80,
    "svg.fonttype": "path",
}


class Look(NamedTuple):
    """Colour, marker, hatch and label of one source of music."""

    colour: str
    marker: str
    hatch: str
    label: str


def use_style() -> None:
    """Set matplotlib's defaults for the whole session: quiet axes, text for a projector."""
    mpl.rcParams.update(_QUIET)


def look(name: str, *, index: int = 0) -> Look:
    """Give the look of a model, a baseline or another group.

    Parameters
    ----------
    name : str
        A key of `COLOURS`, upper case allowed, or any other name.
    index : int
        Which spare look a name takes that is no key: its place among its neighbours.

    Returns
    -------
    Look

    Examples
    --------
    >>> look("lstm")
    Look(colour='#E69F00', marker='^', hatch='..', label='LSTM')
    """
    key = name.lower()
    if key in COLOURS:
        return Look(COLOURS[key], MARKERS[key], HATCHES[key], LABELS[key])
    i = index % len(_SPARE)
    return Look(_SPARE[i], _SPARE_MARKERS[i], _SPARE_HATCHES[i], name)


def tint(colour: str, strength: float) -> tuple[float, float, float]:
    """Mix a colour with white: 1 is the colour itself, 0 white."""
    mixed = 1 - strength * (1 - np.array(to_rgb(colour)))
    return tuple(float(part) for part in mixed)


def axes_or_new(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return `ax`, or the axes of a new figure of `size` inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size)[1]
