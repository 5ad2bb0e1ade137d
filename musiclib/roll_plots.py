"""Pictures of rolls: the roll itself, and what pitches and durations its notes have.

Conventions: axes-level functions as in `musiclib.plots`, where they can be had from. Pitches bear
their octave (middle C is C4), durations count quarter notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from musiclib.pianoroll import (
    LOWEST_PITCH,
    N_KEYS,
    ONSET,
    STEPS_PER_QUARTER,
    check_roll,
    roll_to_notes,
)
from musiclib.pitch import PITCH_CLASSES, pitch_name
from musiclib.style import axes_or_new, look, tint

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
