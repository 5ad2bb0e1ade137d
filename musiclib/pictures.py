"""A figure twice: whole in the figures folder, small in the notebook.

Conventions: the files are those of `study.save_figure`, PNG and SVG; what a notebook embeds is the
PNG at half its size in the sets' own colours, their tints and greys: a quarter of the bytes, so
that a notebook with many figures can be committed.
"""

from __future__ import annotations

import io

from IPython.display import Image
from matplotlib.figure import Figure
from PIL import Image as Pixels

from musiclib.plots_verdict import HOLDS
from musiclib.study import Paths, save_figure
from musiclib.style import COLOURS, look, tint

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
        As `study.save_figure`.
    alt : str
        What the picture shows, in words, for those who cannot see it.

    Returns
    -------
    IPython.display.Image
        Shown when it is the last value of a cell, or given to ``display``.

    Raises
    ------
    ValueError
        As `study.save_figure`, or if `alt` is empty.
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
