"""One axes-level function a picture: rolls, waveforms, histograms; statistics and diagrams beside.

Conventions: ``plot_x(data, *, ax=None) -> Axes``; without `ax` a new figure is made. Nothing is
shown or saved here (see `study.save_figure`), every axis names its unit, every model has its
colour and a second cue (`musiclib.style`). What `charts` and `diagrams` draw can be had from here.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from musiclib.charts import plot_distribution, plot_history, plot_intervals
from musiclib.diagrams import WORKFLOW, plot_architecture, plot_workflow
from musiclib.pitch import pitch_name
from musiclib.roll_plots import plot_duration_histogram, plot_pitch_histogram, plot_roll
from musiclib.style import (
    COLOURS,
    HATCHES,
    LABELS,
    MARKERS,
    Look,
    axes_or_new,
    look,
    tint,
    use_style,
)

__all__ = [
    "COLOURS",
    "HATCHES",
    "LABELS",
    "MARKERS",
    "WORKFLOW",
    "Look",
    "look",
    "pitch_name",
    "plot_architecture",
    "plot_distribution",
    "plot_duration_histogram",
    "plot_history",
    "plot_intervals",
    "plot_pitch_histogram",
    "plot_roll",
    "plot_waveform",
    "plot_workflow",
    "tint",
    "use_style",
]


def plot_waveform(
    x: np.ndarray,
    *,
    sr: int,
    ax: Axes | None = None,
    model: str = "real",
    limit: float | None = None,
    max_columns: int = 1500,
    title: str = "",
) -> Axes:
    """Draw a waveform against seconds.

    Parameters
    ----------
    x : np.ndarray, shape (N,), float
        Full scale 1.0.
    sr : int
        Audio samples per second.
    ax : Axes, optional
    model : str
        Whose colour the waveform has (figures 5 to 7 of the paper: blue, red, orange).
    limit : float, optional
        The amplitude axis reaches from -limit to limit; by default a little beyond the peak.
    max_columns : int
        Longer waveforms are drawn as their minimum and maximum in so many columns, which no
        screen can tell from all samples, and which keeps figure files small.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `x` is not one-dimensional, is empty or has a value that is not finite.
    """
    x = np.asarray(x)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"x must be finite with shape (N,), N > 0, got shape {x.shape}")
    ax = axes_or_new(ax, size=(11, 2.6))
    colour = look(model).colour
    if x.size > 2 * max_columns:
        time, low, high = envelope(x, columns=max_columns)
        ax.fill_between(time / sr, low, high, color=colour, linewidth=0.5)
    else:
        ax.plot(np.arange(x.size) / sr, x, color=colour, linewidth=0.8)
    limit = 1.05 * (float(np.abs(x).max()) or 1.0) if limit is None else limit
    ax.axhline(0, color="#333333", linewidth=0.6, zorder=3)
    ax.set(xlim=(0, x.size / sr), ylim=(-limit, limit), title=title)
    ax.set(xlabel="time (s)", ylabel="amplitude\n(full scale 1)")
    return ax


def envelope(x: np.ndarray, *, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the minimum and maximum of a waveform in columns of nearly equal width.

    Parameters
    ----------
    x : np.ndarray, shape (N,)
    columns : int
        C, 1 to N.

    Returns
    -------
    time : np.ndarray, shape (C,)
        The sample in the middle of each column.
    low, high : np.ndarray, shape (C,)

    Examples
    --------
    >>> [part.tolist() for part in envelope(np.array([0, 3, -1, 2]), columns=2)]
    [[0.5, 2.5], [0, -1], [3, 2]]
    """
    edges = np.arange(columns + 1) * len(x) // columns
    low, high = np.minimum.reduceat(x, edges[:-1]), np.maximum.reduceat(x, edges[:-1])
    return (edges[:-1] + edges[1:] - 1) / 2, low, high
