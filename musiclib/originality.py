"""Say how much of a piece was copied from the training music.

Conventions: rolls as in `pianoroll`. A window is a stretch of 8, 16 or 32 sixteenths at any step of
a piece; it counts only if three or more different chords sound in it, since two held chords are
found everywhere. Two windows are the same if every onset and every sounding key agrees, exactly or
once one of them is transposed as a whole. Held-out real music repeats some of the training music
too, so read every rate beside the rate of the held-out pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from musiclib.roll import SUSTAIN, require_piece

WINDOW_LENGTHS = (8, 16, 32)
"""Lengths of the windows in sixteenths: two quarters, a bar of 4/4, two bars."""

FEWEST_CHORDS = 3
"""Different chords (sets of sounding keys) that a window must hold to count."""

UNKNOWN = -1
"""Shape of a step that no training piece holds."""


class CopiedRun(NamedTuple):
    """Say where the longest stretch that a piece shares with the training music lies.

    Attributes
    ----------
    length : int
        Steps that agree, 0 if none does in which a key sounds: a rest in common is no copy.
    step : int
        First step in the piece.
    source : int
        Index of the training piece, -1 for no run.
    source_step : int
        First step in that training piece.
    semitones : int
        How far the training music was moved to agree, 0 for an exact copy.
    """

    length: int
    step: int
    source: int
    source_step: int
    semitones: int


class _Steps(NamedTuple):
    """A piece step by step: shape, lowest key, whether silent, and the number of its chord."""

    shape: np.ndarray
    low: np.ndarray
    silent: np.ndarray
    chord: np.ndarray


class TrainingIndex:
    """Hold the training music so that copies of it are found fast.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2), uint8
        Training pieces, before augmentation, over their whole length.
    lengths : sequence of int
        Window lengths in steps, each at least 1.

    Raises
    ------
    ValueError
        If there is no training piece, one is malformed, or a length is below 1.

    Notes
    -----
    Each step is a shape (its onsets and sounding keys, moved down so that the lowest is key 0) and
    a lowest key. A window is the bytes of its shapes and of its lowest keys, as they are (exact) or
    less the first (up to transposition); a set of these bytes for each length answers in constant
    time and without the false matches of a short hash.
    """

    def __init__(
        self, training: Iterable[np.ndarray], *, lengths: Sequence[int] = WINDOW_LENGTHS
    ) -> None:
        if not lengths or min(lengths) < 1:
            raise ValueError(f"lengths must hold lengths of 1 step or more; got {tuple(lengths)}")
        self.lengths = tuple(lengths)
        self._shapes: dict[bytes, int] = {}
        rolls = [require_piece(roll, name=f"training[{i}]") for i, roll in enumerate(training)]
        if not rolls:
            raise ValueError("training must hold at least one piece; got none")
        self._steps = [self._read(roll, learn=True) for roll in rolls]
        self._windows = {
            (length, moved): {w for steps in self._steps for w in _windows(steps, length, moved)}
            for length in self.lengths
            for moved in (False, True)
        }
        self._lines = {moved: _Line(self._steps, moved) for moved in (False, True)}

    def _read(self, roll: np.ndarray, *, learn: bool = False) -> _Steps:
        """Return a roll step by step; a shape that the training music lacks is unknown."""
        sound = roll[..., SUSTAIN].astype(bool)
        low = sound.argmax(axis=1)
        keys = (np.arange(sound.shape[1]) + low[:, None]) % sound.shape[1]
        packed = np.packbits(np.take_along_axis(roll, keys[..., None], axis=1), axis=1)
        names = [row.tobytes() for row in packed]
        if learn:
            for name in names:
                self._shapes.setdefault(name, len(self._shapes))
        shape = np.array([self._shapes.get(name, UNKNOWN) for name in names], dtype=np.int32)
        chords: dict[bytes, int] = {}
        packed_keys = (row.tobytes() for row in np.packbits(sound, axis=1))
        chord = np.array([chords.setdefault(held, len(chords)) for held in packed_keys])
        silent = ~sound.any(axis=1)
        return _Steps(shape, low.astype(np.int8), silent, np.where(silent, -1, chord))

    def count(self, roll: np.ndarray) -> dict[str, int]:
        """Return how many windows of a piece count, and how many of them are copies.

        Parameters
        ----------
        roll : np.ndarray, shape (T, 88, 2), uint8
            The piece.

        Returns
        -------
        dict of str to int
            For each length L: ``windows_L``, ``exact_L``, ``transposed_L`` (an exact copy is also
            one up to transposition).
        """
        steps = self._read(require_piece(roll))
        counts = {}
        for length in self.lengths:
            exact, moved = (_windows(steps, length, moved) for moved in (False, True))
            counts[f"windows_{length}"] = len(exact)
            counts[f"exact_{length}"] = sum(w in self._windows[length, False] for w in exact)
            counts[f"transposed_{length}"] = sum(w in self._windows[length, True] for w in moved)
        return counts

    def longest_run(self, roll: np.ndarray, *, transposed: bool = False) -> CopiedRun:
        """Return the longest stretch of a piece that the training music holds.

        Parameters
        ----------
        roll : np.ndarray, shape (T, 88, 2), uint8
            The piece.
        transposed : bool
            Whether the training music may be moved as a whole.

        Returns
        -------
        CopiedRun
            The first of the longest; up to transposition a run has two steps at least.

        Notes
        -----
        The longest common substring of two sequences of tokens: each step's shape and lowest key;
        or, up to transposition, the shapes of two neighbouring steps and the move of the lowest
        key between them (over silence, the move from the last key before it). A stretch of rests
        alone is no run; rests within a run and at its ends count.
        """
        steps = self._read(require_piece(roll))
        length, end, source, source_end = self._lines[transposed].longest(steps)
        if not length:
            return CopiedRun(0, 0, -1, 0, 0)
        length += transposed
        start, origin = end - length + 1, source_end - length + 1
        first = start + int(steps.silent[start : end + 1].argmin())
        there = self._steps[source].low[origin + first - start]
        return CopiedRun(length, start, source, origin, int(steps.low[first]) - int(there))


def _windows(steps: _Steps, length: int, moved: bool) -> list[bytes]:
    """Return the windows of a piece that count, each as bytes."""
    if len(steps.shape) < length:
        return []
    shape, low, silent, chord = (sliding_window_view(column, length) for column in steps)
    ordered = np.sort(chord, axis=1)
    distinct = (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + (ordered[:, 0] >= 0)
    shape, low, silent = (column[distinct >= FEWEST_CHORDS] for column in (shape, low, silent))
    if moved:
        first = np.take_along_axis(low, silent.argmin(axis=1)[:, None], axis=1)
        low = np.where(silent, 0, low - first).astype(np.int8)
    return [a.tobytes() + b.tobytes() for a, b in zip(shape, low, strict=True)]


def _tokens(steps: _Steps, moved: bool) -> list[tuple[int, ...] | None]:
    """Return a token a step (see `TrainingIndex.longest_run`); up to transposition, none first."""
    shape, low = steps.shape.tolist(), steps.low.astype(int)
    if not moved:
        return list(zip(shape, low.tolist(), strict=True))
    sounded = np.maximum.accumulate(np.where(steps.silent, -1, np.arange(len(low))))
    held = low[np.where(sounded < 0, steps.silent.argmin(), sounded)]
    return [None, *zip(shape[:-1], shape[1:], np.diff(held).tolist(), strict=True)]


class _Line:
    """Hold the training pieces as one line of tokens, to find the longest stretch in common."""

    def __init__(self, pieces: list[_Steps], moved: bool) -> None:
        self.moved = moved
        self.starts = np.cumsum([0, *(len(steps.shape) + 1 for steps in pieces)])
        places: dict[tuple[int, ...], list[int]] = {}
        for start, steps in zip(self.starts.tolist(), pieces, strict=False):
            for place, token in enumerate(_tokens(steps, moved), start):
                if token is not None:
                    places.setdefault(token, []).append(place)
        self.places = {token: np.array(found) for token, found in places.items()}

    def longest(self, steps: _Steps) -> tuple[int, int, int, int]:
        """Return the first longest run: its tokens, last step, training piece, last step there.

        ``run[p]`` is the length of the run that ends at place p of the line; the place before each
        training piece belongs to none, so that no run crosses from one to the next. A run counts
        once it reaches back to a step in which a key sounds.
        """
        run = np.zeros(self.starts[-1] + 1, dtype=np.int64)
        length, end, place, last = 0, 0, 0, np.array([], dtype=np.int64)
        sounded = np.maximum.accumulate(np.where(steps.silent, -1, np.arange(len(steps.silent))))
        for step, token in enumerate(_tokens(steps, self.moved)):
            here = self.places.get(token, last[:0])
            grown = run[here - 1] + 1
            run[last] = 0
            run[here] = grown
            last = here
            if sounded[step] < 0 or not here.size:
                continue
            rest = step - int(sounded[step])  # steps since a key sounded
            if grown.max() > max(length, rest - self.moved):
                length, end, place = int(grown.max()), step, int(here[grown.argmax()])
        source = int(np.searchsorted(self.starts, place, side="right")) - 1
        return length, end, source, place - int(self.starts[source])
