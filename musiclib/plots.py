"""One axes-level function a picture: rolls, waveforms, histograms; statistics and diagrams beside.

Conventions: ``plot_x(data, *, ax=None) -> Axes``; without `ax` a new figure is made. Nothing is
shown or saved here (see `run.save_figure`), every axis names its unit, every model has its
colour and a second cue (`musiclib.plots`). What `charts` and `diagrams` draw can be had from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike

from musiclib.measures import PITCH_CLASSES, pitch_name
from musiclib.roll import LOWEST_PITCH, N_KEYS, ONSET, STEPS_PER_QUARTER, check_roll, roll_to_notes

# ---- musiclib.plots ----
# One look for all figures: a colour, a marker and a hatch for each model, quiet axes.
#
# Conventions: a model is named in lower case (``"lstm"``); it has the same colour everywhere and a
# second cue beside it, so that a figure can be read without colours. Text is large enough for a
# projector: 12 points on a figure 7 to 12 inches wide.


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


# ---- musiclib.plots ----
# Charts of numbers: training curves, estimates with intervals, distributions by model.
#
# Conventions: axes-level functions as in `musiclib.plots`, where they can be had from. Training is
# solid and validation dashed; n is always printed beside a distribution.


_SIDE = re.compile(r"(train|valid|val)(_|$)|")
_TERM_MARKERS = "osDv^Px"
_TERM_TINTS = (1.0, 0.6, 0.4, 0.8)


def plot_history(
    history: pd.DataFrame,
    *,
    ax: Axes | None = None,
    model: str = "real",
    terms: Sequence[str] | None = None,
    unit: str = "",
    title: str = "",
) -> Axes:
    """Draw training curves: training solid, validation dashed.

    Parameters
    ----------
    history : pd.DataFrame
        First column: epoch or step. Each other column is a curve: ``kl`` or ``train_kl`` is a
        term in training, ``valid_kl`` or ``val_kl`` the same in validation; ``train`` and
        ``valid`` alone are the loss. NaN (not measured at this step) is left out.
    ax : Axes, optional
    model : str
        Whose colour the curves have; terms differ in strength and marker.
    terms : sequence of str, optional
        The terms to draw, such as ``["loss", "kl"]``; by default all.
    unit : str
        Of the losses, with their reduction, such as ``nats a step``.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a term is not in the history, or there is no curve.
    """
    curves = _curves(history)
    terms = list(dict.fromkeys(term for term, _ in curves.values())) if terms is None else terms
    missing = set(terms) - {term for term, _ in curves.values()}
    if missing or not len(terms):
        known = sorted({term for term, _ in curves.values()})
        raise ValueError(f"terms: {sorted(missing)} are not in the history, which has {known}")
    ax = axes_or_new(ax, size=(9, 3.6))
    colour, time = look(model).colour, history.iloc[:, 0]
    for column, (term, is_valid) in curves.items():
        if term not in terms:
            continue
        place, shown = terms.index(term), history[column].notna()
        ax.plot(
            time[shown], history.loc[shown, column], label=_curve_name(term, is_valid),
            color=tint(colour, _TERM_TINTS[place % len(_TERM_TINTS)]),
            linestyle="--" if is_valid else "-",
            marker=_TERM_MARKERS[place % len(_TERM_MARKERS)] if is_valid or len(terms) > 1 else "",
            markersize=5, markevery=max(int(shown.sum()) // 12, 1),
        )  # fmt: skip
    ax.set(xlabel=str(history.columns[0]), ylabel=f"loss ({unit})" if unit else "loss", title=title)
    ax.grid(axis="y")
    ax.legend(ncols=2 if len(terms) > 1 else 1)
    return ax


def _curves(history: pd.DataFrame) -> dict[str, tuple[str, bool]]:
    """Return for each column but the first its term, and whether it is a validation."""
    curves = {}
    for column in map(str, history.columns[1:]):
        side = _SIDE.match(column)
        curves[column] = (column[side.end() :] or "loss", side[0].startswith("val"))
    return curves


def _curve_name(term: str, is_valid: bool) -> str:
    return f"{term.replace('_', ' ')}, {'validation' if is_valid else 'training'}"


def plot_intervals(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    value: str = "value",
    low: str = "low",
    high: str = "high",
    label: str = "label",
    model: str = "model",
    reference: float | None = None,
    unit: str = "",
    title: str = "",
) -> Axes:
    """Draw estimates with their intervals, a row each, the first on top.

    Parameters
    ----------
    table : pd.DataFrame
        A row an estimate.
    ax : Axes, optional
    value, low, high : str
        Columns of the estimate and the ends of its interval; an interval of NaN is not drawn.
    label : str
        Column of what stands beside a row; the model's label where there is none.
    model : str
        Column of the model, for colour and marker; grey where there is none.
    reference : float, optional
        Where to draw a vertical line, such as 0.
    unit : str
        Of the estimates, for the axis.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `value`, `low` or `high` is no column, or a value lies outside its interval.
    """
    missing = [column for column in (value, low, high) if column not in table]
    if missing:
        raise ValueError(f"table has no column {missing}; it has {list(table.columns)}")
    outside = (table[value] < table[low]) | (table[value] > table[high])
    if outside.any():
        raise ValueError(f"table: {int(outside.sum())} values lie outside their own interval")
    ax = axes_or_new(ax, size=(9, 1.2 + 0.4 * len(table)))
    names = table[model] if model in table else ["real"] * len(table)
    looks = [look(str(name), index=i) for i, name in enumerate(names)]
    for row, (_, line) in enumerate(table.iterrows()):
        one = looks[row]
        ax.plot([line[low], line[high]], [row, row], color=one.colour, linewidth=3, alpha=0.6)
        ax.plot(line[value], row, marker=one.marker, color=one.colour, markersize=9)
    if reference is not None:
        ax.axvline(reference, color="#333333", linewidth=1, linestyle=":")
    shown = table[label].astype(str) if label in table else [one.label for one in looks]
    ax.set_yticks(range(len(table)), list(shown))
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel=unit, title=title)
    ax.grid(axis="x")
    return ax


def plot_distribution(
    values: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    unit: str = "",
    band: tuple[float, float] | None = None,
    log: bool = False,
    title: str = "",
) -> Axes:
    """Draw how one measure is spread in each group: a box with every piece as a point.

    Parameters
    ----------
    values : mapping of str to array-like, shape (N,)
        The measure's values by model; NaN is left out and not counted.
    ax : Axes, optional
    unit : str
        Name and unit of the measure, for the axis.
    band : (float, float), optional
        A range to shade, such as the real pieces' 1st to 99th percentile.
    log : bool
        A logarithmic axis.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a group has no finite value, or `log` is asked of values that are not positive.

    Notes
    -----
    The box spans the quartiles, its line is the median, the whiskers reach the furthest points
    within 1.5 interquartile ranges (Tukey). Points are spread sideways by a fixed rule, not drawn
    at random, so that the figure is the same at each run.
    """
    groups = {name: _finite(name, some, log=log) for name, some in values.items()}
    ax = axes_or_new(ax, size=(1.5 + 1.5 * len(groups), 3.8))
    if band is not None:
        ax.axhspan(*band, color="#666666", alpha=0.12, linewidth=0, zorder=0)
    looks = [look(name, index=i) for i, name in enumerate(groups)]
    boxes = ax.boxplot(
        list(groups.values()), widths=0.55, showfliers=False, patch_artist=True,
        medianprops={"color": "#222222", "linewidth": 2},
    )  # fmt: skip
    for place, (patch, found, one) in enumerate(
        zip(boxes["boxes"], groups.values(), looks, strict=True), start=1
    ):
        patch.set(facecolor=tint(one.colour, 0.25), edgecolor=one.colour, hatch=one.hatch)
        ax.plot(
            place + _spread(len(found)), np.sort(found), linestyle="", marker=one.marker,
            color=one.colour, markeredgecolor="white", markeredgewidth=0.5, markersize=6, zorder=3,
        )  # fmt: skip
    names = [f"{one.label}\nn = {len(x)}" for one, x in zip(looks, groups.values(), strict=True)]
    ax.set_xticks(range(1, len(groups) + 1), names)
    ax.set(ylabel=unit, title=title, yscale="log" if log else "linear")
    return ax


def _finite(name: str, values: ArrayLike, *, log: bool) -> np.ndarray:
    found = np.asarray(values, dtype=float).ravel()
    found = found[np.isfinite(found)]
    if not found.size:
        raise ValueError(f"values: group {name!r} has no finite value")
    if log and found.min() <= 0:
        raise ValueError(f"values: group {name!r} has values of 0 or below, which no log axis has")
    return found


def _spread(n: int, *, width: float = 0.36) -> np.ndarray:
    """Return n sideways places in (-width / 2, width / 2): the golden ratio's multiples modulo 1.

    Neighbours in value land far apart (Kronecker's low-discrepancy sequence).
    """
    return width * ((np.arange(n) * 0.6180339887498949) % 1 - 0.5)


# ---- musiclib.plots ----
# Pictures of rolls: the roll itself, and what pitches and durations its notes have.
#
# Conventions: axes-level functions as in `musiclib.plots`, where they can be had from. Pitches bear
# their octave (middle C is C4), durations count quarter notes.


Rolls = Sequence[np.ndarray] | Mapping[str, Sequence[np.ndarray]]

_BLACK = (1, 3, 6, 8, 10)
_HEAD = 0.45  # of a step: the dark head that marks an onset
_MOST_BARS = 12  # bar numbers that fit an axis
_LONGEST = 16  # steps; longer durations share the last column
_DURATIONS = {1: "¼", 2: "½", 3: "¾", 4: "1", 6: "1½", 8: "2", 12: "3", 16: "4", 17: "over 4"}


def plot_roll(
    roll: np.ndarray,
    *,
    ax: Axes | None = None,
    model: str = "real",
    bar: int = 4 * STEPS_PER_QUARTER,
    position: np.ndarray | None = None,
    seconds: bool = False,
    tempo: float = 80.0,
    keys: tuple[int, int] | None = None,
    title: str = "",
) -> Axes:
    """Draw a piano roll: a bar for as long as a key sounds, with a dark head at each onset.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        A key that sounds without an onset (a window cut through its note) has no head.
    ax : Axes, optional
    model : str
        Whose colour the notes have.
    bar : int
        Steps of a bar, for the bar lines where `position` is not given.
    position : np.ndarray, shape (T,), optional
        Steps since the bar line, as a `Piece` has it: bar lines with upbeats and metre changes.
    seconds : bool
        Time in seconds at `tempo` instead of bars and quarter notes.
    tempo : float
        Quarter notes a minute.
    keys : (int, int), optional
        Lowest and highest key to show, as far as a piano has them; by default those that sound,
        and two beyond.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `roll` is none, or `position` is not as long as it.
    """
    check_roll(roll)
    if position is not None and len(position) != len(roll):
        raise ValueError(f"position has {len(position)} steps, and roll {len(roll)}")
    ax = axes_or_new(ax, size=(11, 3.6))
    scale = 60.0 / tempo / STEPS_PER_QUARTER if seconds else 1.0
    low, high = keys if keys is not None else _keys_shown(roll)
    low, high = max(low, 0), min(high, N_KEYS - 1)
    _draw_keyboard(ax, low, high)
    _draw_notes(ax, roll, look(model).colour, scale)
    ax.set(xlim=(0, max(len(roll), 1) * scale), title=title, ylabel="key")
    if seconds:
        ax.set_xlabel("time (s)")
    else:
        _draw_bars(ax, len(roll), bar=bar, position=position)
    return ax


def _keys_shown(roll: np.ndarray) -> tuple[int, int]:
    used = np.flatnonzero(roll.any(axis=(0, 2)))
    low, high = (int(used[0]), int(used[-1])) if used.size else (36, 51)
    return low - 2, high + 2


def _draw_keyboard(ax: Axes, low: int, high: int) -> None:
    """Shade the black keys and name some of the white ones."""
    pitches = np.arange(low, high + 1) + LOWEST_PITCH
    for pitch in pitches[np.isin(pitches % 12, _BLACK)]:
        key = pitch - LOWEST_PITCH
        ax.axhspan(key - 0.5, key + 0.5, color="#f2f2f2", linewidth=0, zorder=0)
    span = high - low
    choice = [((0, 2, 4, 5, 7, 9, 11), 14), ((0, 4, 7), 28), ((0, 7), 60), ((0,), N_KEYS)]
    named = next(names for names, most in choice if span <= most)
    ticks = pitches[np.isin(pitches % 12, named)]
    ax.set_yticks(ticks - LOWEST_PITCH, [pitch_name(int(p)) for p in ticks])
    ax.set_ylim(low - 0.5, high + 0.5)


def _boxes(left: np.ndarray, right: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return the corners of boxes 0.8 keys high, shape (N, 4, 2)."""
    low, high = key - 0.4, key + 0.4
    corners = [(left, low), (right, low), (right, high), (left, high)]
    return np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)


def _draw_notes(ax: Axes, roll: np.ndarray, colour: str, scale: float) -> None:
    start, end, key = roll_to_notes(roll).T
    bodies = _boxes(start * scale, end * scale, key)
    body = PolyCollection(bodies, facecolor=tint(colour, 0.5), edgecolor="white", linewidth=0.4)
    struck = roll[start, key, ONSET] == 1
    heads = _boxes(start[struck] * scale, (start[struck] + _HEAD) * scale, key[struck])
    head = PolyCollection(heads, facecolor=colour, edgecolor="none")
    for collection, label, order in ((body, "sustain", 2), (head, "onset", 3)):
        collection.set(label=label, zorder=order)
        ax.add_collection(collection, autolim=False)


def _draw_bars(ax: Axes, steps: int, *, bar: int, position: np.ndarray | None) -> None:
    """Number the bars (a first bar that is an upbeat is bar 0) and tick the quarter notes."""
    lines = np.flatnonzero(np.asarray(position) == 0) if position is not None else None
    lines = np.arange(0, steps, bar) if lines is None else lines
    every = 1
    while len(lines) / every > _MOST_BARS:
        every *= 2
    ax.set_xticks(lines[::every], [str(n + 1) for n in range(0, len(lines), every)])
    first = int(lines[0]) if len(lines) else 0
    if steps <= 400:
        ax.set_xticks(np.arange(first % STEPS_PER_QUARTER, steps, STEPS_PER_QUARTER), minor=True)
    for line in lines:
        ax.axvline(line, color="#cccccc", linewidth=0.8, zorder=1)
    ax.set_xlabel("bar (small ticks: quarter notes)" if steps <= 400 else "bar")


def plot_pitch_histogram(
    rolls: Rolls, *, ax: Axes | None = None, by: str = "pitch", title: str = ""
) -> Axes:
    """Draw which share of the notes has each pitch.

    Parameters
    ----------
    rolls : sequence of np.ndarray of shape (T, 88, 2), or mapping of such
        Pieces, or pieces by model: one curve a model.
    ax : Axes, optional
    by : {"pitch", "class"}
        Keys of the piano, or the twelve pitch classes.
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `by` is neither, or a group has no note.
    """
    if by not in ("pitch", "class"):
        raise ValueError(f"by: got {by!r}, allowed are 'pitch' and 'class'")
    groups = {name: _notes(some, name)[:, 2] + LOWEST_PITCH for name, some in _named(rolls).items()}
    if by == "class":
        groups = {name: pitches % 12 for name, pitches in groups.items()}
        values, ticks = np.arange(12), dict(enumerate(PITCH_CLASSES))
    else:
        low = min(int(p.min()) for p in groups.values())
        high = max(int(p.max()) for p in groups.values())
        values = np.arange(low, high + 1)
        ticks = {int(v): pitch_name(int(v)) for v in values if v % 12 in (0, 7)}
    ax = axes_or_new(ax, size=(9, 3.2))
    _draw_shares(ax, groups, values)
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set(xlabel="pitch class" if by == "class" else "pitch", title=title)
    return ax


def plot_duration_histogram(rolls: Rolls, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw which share of the notes lasts how long, in quarter notes.

    Parameters
    ----------
    rolls : sequence of np.ndarray of shape (T, 88, 2), or mapping of such
        Pieces, or pieces by model. The columns are the grid's sixteenths; what lasts over four
        quarter notes shares the last one.
    ax : Axes, optional
    title : str

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a group has no note.
    """
    groups = {}
    for name, some in _named(rolls).items():
        notes = _notes(some, name)
        groups[name] = np.minimum(notes[:, 1] - notes[:, 0], _LONGEST + 1)
    ax = axes_or_new(ax, size=(9, 3.2))
    _draw_shares(ax, groups, np.arange(1, _LONGEST + 2))
    ax.set_xticks(list(_DURATIONS), list(_DURATIONS.values()))
    ax.set(xlabel="duration (quarter notes)", title=title)
    return ax


def _named(rolls: Rolls) -> dict[str, Sequence[np.ndarray]]:
    return dict(rolls) if isinstance(rolls, Mapping) else {"real": rolls}


def _notes(rolls: Sequence[np.ndarray], name: str) -> np.ndarray:
    notes = np.concatenate([np.zeros((0, 3), np.int64), *(roll_to_notes(roll) for roll in rolls)])
    if not len(notes):
        raise ValueError(f"rolls: {name!r} holds no note")
    return notes


def _draw_shares(ax: Axes, groups: Mapping[str, np.ndarray], values: np.ndarray) -> None:
    """Draw the share of each value: columns for one group, lines with markers for several."""
    for index, (name, found) in enumerate(groups.items()):
        share = 100 * np.array([(found == value).mean() for value in values])
        style = look(name, index=index)
        if len(groups) == 1:
            ax.bar(values, share, color=style.colour, width=0.8)
            continue
        label = f"{style.label} (n = {len(found):,} notes)"
        ax.plot(values, share, color=style.colour, marker=style.marker, markersize=5, label=label)
    if len(groups) > 1:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    ax.set_ylabel("share of notes (%)")


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
