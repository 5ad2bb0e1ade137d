"""Plot piano rolls, waveforms, histograms, training curves and estimates, in one look.

Conventions: ``plot_x(data, *, ax=None) -> Axes``: without `ax` a new figure is made; nothing is
shown or saved here. Every axis names its unit (`unit`, where the data do not say it). `model` is a
source of music, in lower case: it has the same colour, marker and hatch everywhere, so that a
figure can be read without colours. Rolls have shape (T, 88, 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike

from musiclib.measures import PITCH_CLASSES, pitch_name
from musiclib.roll import LOWEST_PITCH, N_KEYS, ONSET, STEPS_PER_QUARTER, check_roll, roll_to_notes

Rolls = Sequence[np.ndarray] | Mapping[str, Sequence[np.ndarray]]  # pieces, or pieces by model


class Style(NamedTuple):  # The look of one source of music
    colour: str
    marker: str
    hatch: str
    label: str


STYLES = {  # VAE blue, GAN red, LSTM orange: as in the paper
    "vae": Style("#0072B2", "o", "//", "VAE"), "gan": Style("#C0392B", "s", "\\\\", "GAN"),
    "lstm": Style("#E69F00", "^", "..", "LSTM"), "real": Style("#666666", "D", "", "real"),
    "plain_vae": Style("#66AAD1", "<", "/", "plain VAE"),
    "plain_gan": Style("#D98880", ">", "\\", "plain GAN"),
    "plain_lstm": Style("#F0C566", "H", ".", "plain LSTM"),
    "training": Style("#56B4E9", "h", "oo", "training"),
    "markov": Style("#009E73", "v", "xx", "Markov"),
    "shuffled": Style("#CC79A7", "P", "++", "shuffled"),
    "random": Style("#999933", "X", "--", "random"),
    "backwards": Style("#882255", "8", "/o", "backwards"),
    "collage_bars": Style("#332288", "*", "|-", "bars"),
    "collage_phrases": Style("#44AA99", "p", "+x", "phrases"),
    "markov_common_key": Style("#661100", "d", ".x", "Markov in C"),
}  # fmt: skip
COLOURS = {name: one.colour for name, one in STYLES.items()}
LABELS = {name: one.label for name, one in STYLES.items()}
_SPARE_COLOURS = ("#5B4B8A", "#8C564B", "#2F4F4F", "#B07AA1", "#7F9F3F")
_SPARE = list(zip(_SPARE_COLOURS, "<>pdH", ("||", "OO", "**", "/|", "-/"), strict=True))


def use_style() -> None:
    """Set matplotlib's defaults for the whole session: quiet axes, text for a projector."""
    plt.rcParams.update({
        "font.size": 12, "axes.titlesize": 13, "axes.labelsize": 12, "xtick.labelsize": 11,
        "ytick.labelsize": 11, "legend.fontsize": 11, "legend.frameon": False,
        "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
        "axes.axisbelow": True, "grid.color": "#dddddd", "grid.linewidth": 0.8,
        "lines.linewidth": 2.0, "figure.constrained_layout.use": True, "figure.dpi": 80,
        "svg.fonttype": "path",
    })  # fmt: skip


def style_of(name: str, *, index: int = 0) -> Style:
    """Return the look of a source of music; any other name takes the spare look at `index`."""
    return STYLES.get(name.lower(), Style(*_SPARE[index % len(_SPARE)], name.replace("_", " ")))


def tint(colour: str, strength: float) -> tuple[float, float, float]:
    """Mix a colour with white: 1 is the colour itself, 0 white."""
    mixed = 1 - strength * (1 - np.array(to_rgb(colour)))
    return tuple(float(part) for part in mixed)


def axes_or_new(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return `ax`, or the axes of a new figure of `size` inches."""
    return plt.subplots(figsize=size)[1] if ax is None else ax


_BLACK_KEYS = (1, 3, 6, 8, 10)  # pitch classes
_NAMED_KEYS = (((0, 2, 4, 5, 7, 9, 11), 14), ((0, 4, 7), 28), ((0, 7), 60), ((0,), N_KEYS))
_HEAD = 0.45  # of a step: the dark head that marks an onset
_MAX_BAR_NUMBERS = 12
_VOICES = ("#AA3377", "#B8A12E", "#228833", "#5E3C99", "#8C564B", "#2F4F4F", "#7F9F3F", "#444444")


def plot_roll(
    roll: np.ndarray, *, ax: Axes | None = None, model: str = "real",
    bar: int = 4 * STEPS_PER_QUARTER, position: np.ndarray | None = None,
    keys: tuple[int, int] | None = None, title: str = "", lines: np.ndarray | int = 0,
) -> Axes:  # fmt: skip
    """Draw a roll, dark at onsets; bar lines by `bar` or `position`, one colour per voice.

    `lines` are the voices, shape (T, L), or how many there are: then notes are ranked from the top
    as they start, and the lowest key is the last voice (our choice: of 100 notes of the chorales,
    95 or more are right). 0: one colour. Thin lines join a voice; its name stands at the right.
    """
    check_roll(roll)
    for name, given in (("position", position), ("lines", lines)):
        if np.ndim(given) and len(given) != len(roll):
            raise ValueError(f"{name} has {len(given)} steps, but roll has {len(roll)}")
    ax = axes_or_new(ax, size=(11, 3.6))
    if keys is None:
        used = np.flatnonzero(roll.any(axis=(0, 2)))
        keys = (int(used[0]) - 2, int(used[-1]) + 2) if used.size else (34, 53)
    _draw_keyboard(ax, max(keys[0], 0), min(keys[1], N_KEYS - 1))
    _draw_notes(ax, roll, model, lines)
    ax.set(xlim=(0, max(len(roll), 1)), title=title, ylabel="key")
    in_bar = np.arange(len(roll)) % bar if position is None else np.asarray(position)
    _draw_bars(ax, len(roll), np.flatnonzero(in_bar == 0))
    return ax


def _draw_keyboard(ax: Axes, low: int, high: int) -> None:
    pitches = np.arange(low, high + 1) + LOWEST_PITCH
    for key in pitches[np.isin(pitches % 12, _BLACK_KEYS)] - LOWEST_PITCH:
        ax.axhspan(key - 0.5, key + 0.5, color="#f2f2f2", linewidth=0, zorder=0)
    named = next(classes for classes, span in _NAMED_KEYS if high - low <= span)
    ticks = pitches[np.isin(pitches % 12, named)]
    ax.set_yticks(ticks - LOWEST_PITCH, [pitch_name(int(pitch)) for pitch in ticks])
    ax.set_ylim(low - 0.5, high + 0.5)


def _draw_notes(ax: Axes, roll: np.ndarray, model: str, lines: np.ndarray | int) -> None:
    start, end, key = roll_to_notes(roll).T
    struck, own = roll[start, key, ONSET] == 1, np.array(to_rgb(style_of(model).colour))
    voice, count = _note_voices(roll, start, key, lines)
    colours = np.tile(own, (len(start), 1))
    for number, colour in enumerate(map(to_rgb, _VOICES[:count])):
        mine = np.flatnonzero(voice == number)
        colours[mine] = colour if model == "real" else 0.6 * np.array(colour) + 0.4 * own
        joined = end[mine[:-1]] == start[mine[1:]]
        now, then = mine[:-1][joined], mine[1:][joined]
        ax.vlines(start[then], key[now], key[then], colors=colours[then], linewidth=1, zorder=1.5)
        for last in mine[-1:]:
            name = "SATB"[number] if count == 4 else number + 1
            ax.text(1.01 * len(roll), key[last], name, va="center", color=colours[last])
    sustain, onset = _boxes(start, end, key), _boxes(start, start + _HEAD, key)[struck]
    light = {"facecolor": (1 + colours) / 2, "edgecolor": "white", "linewidth": 0.4, "zorder": 2}
    dark = {"facecolor": colours[struck], "edgecolor": "none", "zorder": 3}
    ax.add_collection(PolyCollection(sustain, label="sustain", **light), autolim=False)
    ax.add_collection(PolyCollection(onset, label="onset", **dark), autolim=False)


def _note_voices(
    roll: np.ndarray, start: np.ndarray, key: np.ndarray, lines: np.ndarray | int
) -> tuple[np.ndarray, int]:
    """Return the voice of each note, -1 where it is unknown, and how many voices there are."""
    voice = np.full(len(start), -1)
    if np.ndim(lines):
        for number, line in enumerate(lines.T):
            voice[line[start] == 2 + key] = number  # the code of an onset
        return voice, lines.shape[1]
    sounding = roll[start].any(axis=2)
    above = (sounding & (np.arange(N_KEYS) > key[:, None])).sum(axis=1)
    below = sounding.sum(axis=1) - above - 1
    ranked = np.where(below > 0, np.minimum(above, lines - 1), lines - 1)
    return np.where(above + below > 0, ranked, voice), lines


def _boxes(left: np.ndarray, right: np.ndarray, key: np.ndarray) -> np.ndarray:
    low, high = key - 0.4, key + 0.4
    return np.stack([left, low, right, low, right, high, left, high], axis=-1).reshape(-1, 4, 2)


def _draw_bars(ax: Axes, steps: int, lines: np.ndarray) -> None:
    every = 1
    while len(lines) / every > _MAX_BAR_NUMBERS:
        every *= 2
    ax.set_xticks(lines[::every], [str(n + 1) for n in range(0, len(lines), every)])
    first = int(lines[0]) if len(lines) else 0
    if steps <= 400:
        ax.set_xticks(np.arange(first % STEPS_PER_QUARTER, steps, STEPS_PER_QUARTER), minor=True)
    for line in lines:
        ax.axvline(line, color="#cccccc", linewidth=0.8, zorder=1)
    ax.set_xlabel("bar (small ticks: quarter notes)" if steps <= 400 else "bar")


_LONGEST = 16  # steps; longer durations share the last column
_DURATIONS = {1: "¼", 2: "½", 3: "¾", 4: "1", 6: "1½", 8: "2", 12: "3", 16: "4", 17: "over 4"}


def plot_pitch_histogram(
    rolls: Rolls, *, ax: Axes | None = None, by: str = "pitch", title: str = ""
) -> Axes:
    """Draw the share of notes at each pitch, or in each pitch class (`by` is ``"class"``)."""
    if by not in ("pitch", "class"):
        raise ValueError(f"by: got {by!r}; allowed: 'pitch' and 'class'")
    groups = {name: notes[:, 2] + LOWEST_PITCH for name, notes in _notes(rolls).items()}
    label = "pitch class" if by == "class" else "pitch"
    if by == "class":
        groups = {name: pitches % 12 for name, pitches in groups.items()}
        values, ticks = np.arange(12), dict(enumerate(PITCH_CLASSES))
    else:
        every = np.concatenate(list(groups.values()))
        values = np.arange(every.min(), every.max() + 1)
        ticks = {int(v): pitch_name(int(v)) for v in values if v % 12 in (0, 7)}
    return _draw_shares(groups, values, ticks, ax, xlabel=label, title=title)


def plot_duration_histogram(rolls: Rolls, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the share of notes of each duration in steps, labelled in quarter notes."""
    lengths = {name: notes[:, 1] - notes[:, 0] for name, notes in _notes(rolls).items()}
    groups = {name: np.minimum(length, _LONGEST + 1) for name, length in lengths.items()}
    values, label = np.arange(1, _LONGEST + 2), "duration (quarter notes)"
    return _draw_shares(groups, values, _DURATIONS, ax, xlabel=label, title=title)


def _notes(rolls: Rolls) -> dict[str, np.ndarray]:
    groups = {}
    for name, some in (rolls if isinstance(rolls, Mapping) else {"real": rolls}).items():
        groups[name] = np.concatenate([np.zeros((0, 3), np.int64), *map(roll_to_notes, some)])
        if not len(groups[name]):
            raise ValueError(f"rolls: group {name!r} has no note")
    return groups


def _draw_shares(
    groups: dict[str, np.ndarray], values: np.ndarray, ticks: dict, ax: Axes | None, **labels: str
) -> Axes:
    ax = axes_or_new(ax, size=(9, 3.2))
    width = 0.8 / len(groups)
    for index, (name, found) in enumerate(groups.items()):
        share = 100 * np.array([(found == value).mean() for value in values])
        style, place = style_of(name, index=index), values + width * (index + 0.5) - 0.4
        look = {"color": style.colour, "hatch": style.hatch, "edgecolor": "white", "linewidth": 0}
        ax.bar(place, share, width, label=f"{style.label} (n = {len(found):,} notes)", **look)
    if len(groups) > 1:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set(ylabel="share of notes (%)", **labels)
    return ax


_COLUMNS = 1500  # no screen shows more, and figure files stay small


def plot_waveform(
    x: np.ndarray, *, sr: int, ax: Axes | None = None, model: str = "real",
    limit: float | None = None,
) -> Axes:  # fmt: skip
    """Draw a waveform, shape (N,), full scale 1.0, against seconds; a long one by `envelope`."""
    x = np.asarray(x)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"x must be finite with shape (N,), N > 0, got shape {x.shape}")
    ax = axes_or_new(ax, size=(11, 2.6))
    colour = style_of(model).colour
    if x.size > 2 * _COLUMNS:
        time, low, high = envelope(x, columns=_COLUMNS)
        ax.fill_between(time / sr, low, high, color=colour, linewidth=0.5)
    else:
        ax.plot(np.arange(x.size) / sr, x, color=colour, linewidth=0.8)
    limit = 1.05 * (float(np.abs(x).max()) or 1.0) if limit is None else limit
    ax.axhline(0, color="#333333", linewidth=0.6, zorder=3)
    ax.set(xlim=(0, x.size / sr), ylim=(-limit, limit))
    ax.set(xlabel="time (s)", ylabel="amplitude\n(full scale 1)")
    return ax


def envelope(x: np.ndarray, *, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return middle (in samples), minimum and maximum of columns of nearly equal width."""
    edges = np.arange(columns + 1) * len(x) // columns
    low, high = np.minimum.reduceat(x, edges[:-1]), np.maximum.reduceat(x, edges[:-1])
    return (edges[:-1] + edges[1:] - 1) / 2, low, high


_SIDE = re.compile(r"(train|valid|val)(_|$)|")
_TERM_MARKERS = "osDv^Px"
_TERM_TINTS = (1.0, 0.6, 0.4, 0.8)


def plot_history(
    history: pd.DataFrame, *, ax: Axes | None = None, model: str = "real",
    terms: Sequence[str] | None = None, unit: str = "", title: str = "",
) -> Axes:  # fmt: skip
    """Draw training curves against the first column; no NaN is drawn, ``val*`` is dashed."""
    curves = {}
    for column in map(str, history.columns[1:]):
        side = _SIDE.match(column)
        curves[column] = (column[side.end() :] or "loss", side[0].startswith("val"))
    known = list(dict.fromkeys(term for term, _ in curves.values()))
    terms = known if terms is None else terms
    missing = set(terms) - set(known)
    if missing or not len(terms):
        found = f"{sorted(missing)} are not in the history, which has {sorted(known)}"
        raise ValueError(f"terms: {found}")
    ax = axes_or_new(ax, size=(9, 3.6))
    colour, time = style_of(model).colour, history.iloc[:, 0]
    for column, (term, is_valid) in curves.items():
        if term not in terms:
            continue
        place, shown = terms.index(term), history[column].notna()
        ax.plot(
            time[shown], history.loc[shown, column],
            label=f"{term.replace('_', ' ')}, {'validation' if is_valid else 'training'}",
            color=tint(colour, _TERM_TINTS[place % len(_TERM_TINTS)]),
            linestyle="--" if is_valid else "-",
            marker=_TERM_MARKERS[place % len(_TERM_MARKERS)] if is_valid or len(terms) > 1 else "",
            markersize=5, markevery=max(int(shown.sum()) // 12, 1),
        )  # fmt: skip
    ax.set(xlabel=str(history.columns[0]), ylabel=f"loss ({unit})" if unit else "loss", title=title)
    ax.grid(axis="y")
    ax.legend(ncols=2 if len(terms) > 1 else 1)
    return ax


def plot_intervals(
    table: pd.DataFrame, *, ax: Axes | None = None, value: str = "value", low: str = "low",
    high: str = "high", reference: float | None = None, unit: str = "", title: str = "",
) -> Axes:  # fmt: skip
    """Draw one row per estimate, the first on top; NaN is skipped, ``model`` gives the look."""
    if missing := [column for column in (value, low, high) if column not in table]:
        raise ValueError(f"table has no column {missing}; it has {list(table.columns)}")
    outside = (table[value] < table[low]) | (table[value] > table[high])
    if outside.any():
        raise ValueError(f"table: {int(outside.sum())} values lie outside their own interval")
    ax = axes_or_new(ax, size=(9, 1.2 + 0.4 * len(table)))
    names = table["model"] if "model" in table else ["real"] * len(table)
    styles = [style_of(str(name), index=i) for i, name in enumerate(names)]
    ends = table[[value, low, high]].to_numpy(float)
    for row, (one, (middle, first, last)) in enumerate(zip(styles, ends, strict=True)):
        ax.plot([first, last], [row, row], color=one.colour, linewidth=3, alpha=0.6)
        ax.plot(middle, row, marker=one.marker, color=one.colour, markersize=9)
    if reference is not None:
        ax.axvline(reference, color="#333333", linewidth=1, linestyle=":")
    shown = table["label"].astype(str) if "label" in table else [one.label for one in styles]
    ax.set_yticks(range(len(table)), list(shown))
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel=unit, title=title)
    ax.grid(axis="x")
    return ax


def plot_distribution(
    values: Mapping[str, ArrayLike], *, ax: Axes | None = None, unit: str = "",
    band: tuple[float, float] | None = None, title: str = "",
) -> Axes:  # fmt: skip
    """Draw how one measure is spread in each group: a box (whiskers: Tukey), and every piece."""
    groups = {}
    for name, some in values.items():
        found = np.asarray(some, dtype=float).ravel()
        groups[name] = np.sort(found[np.isfinite(found)])
        if not groups[name].size:
            raise ValueError(f"values: group {name!r} has no finite value")
    ax = axes_or_new(ax, size=(1.5 + 1.5 * len(groups), 3.8))
    if band is not None:
        ax.axhspan(*band, color="#666666", alpha=0.12, linewidth=0, zorder=0)
    boxes = ax.boxplot(
        list(groups.values()), widths=0.55, showfliers=False, patch_artist=True,
        medianprops={"color": "#222222", "linewidth": 2},
    )["boxes"]  # fmt: skip
    names = []
    for index, (name, found) in enumerate(groups.items()):
        one, n = style_of(name, index=index), len(found)
        face = tint(one.colour, 0.25)
        boxes[index].set(facecolor=face, edgecolor=one.colour, hatch=one.hatch)
        # Multiples of the golden ratio modulo 1 spread neighbours in value far apart sideways.
        sideways = 0.36 * ((np.arange(n) * 0.6180339887498949) % 1 - 0.5)
        ax.plot(
            index + 1 + sideways, found, linestyle="", marker=one.marker, color=one.colour,
            markeredgecolor="white", markeredgewidth=0.5, markersize=6, zorder=3,
        )  # fmt: skip
        names.append(f"{one.label}\nn = {n}")
    ax.set_xticks(range(1, len(groups) + 1), names)
    ax.set(ylabel=unit, title=title)
    return ax
