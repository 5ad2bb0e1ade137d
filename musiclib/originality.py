"""Measure how much of a piece was copied from the training music.

Rolls are ``uint8 (T, 88, 2)``, a step is a sixteenth (see `musiclib.roll`). A window is a stretch
of 8, 16 or 32 steps from any step of a piece. Two windows are the same if every onset and every
sounding key agrees, exactly or after one of them is transposed as a whole. A window counts only if
three or more chords sound in it. Held-out real music repeats some too: read rates beside its.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from musiclib.roll import SUSTAIN, require_piece

WINDOW_LENGTHS = (8, 16, 32)  # steps: two quarters, a bar of 4/4, two bars
FEWEST_CHORDS = 3  # different sets of sounding keys that a window must hold to count


class CopiedRun(NamedTuple):
    """The longest stretch, of `length` steps, that a piece shares with the training music.

    It begins at `step` of the piece and at `source_step` of training piece number `source` (-1 for
    no run), which agrees when moved by `semitones`.
    """

    length: int
    step: int
    source: int
    source_step: int
    semitones: int


class _Steps(NamedTuple):
    """A piece step by step; a silent step has the chord -1."""

    shape: np.ndarray
    low: np.ndarray
    silent: np.ndarray
    chord: np.ndarray

    def last_sounding(self) -> np.ndarray:  # the last step up to each that sounds, -1 for none
        return np.maximum.accumulate(np.where(self.silent, -1, np.arange(len(self.silent))))


class TrainingIndex:
    """Index whole training pieces, before augmentation, so that copies are found fast.

    Each step is a shape (its onsets and sounding keys, moved down so that the lowest is key 0) and
    a lowest key. A window is the bytes of its shapes and of its lowest keys, either as they are
    (exact) or relative to the first (up to transposition), so nothing is matched falsely.
    """

    def __init__(self, training: Iterable[np.ndarray]) -> None:
        self._shapes: dict[bytes, int] = {}
        rolls = [require_piece(roll, name=f"training[{i}]") for i, roll in enumerate(training)]
        if not rolls:
            raise ValueError("training must hold at least one piece; got none")
        self._pieces = [self._read(roll) for roll in rolls]
        self._starts = np.cumsum([0, *(len(steps.shape) + 1 for steps in self._pieces)])
        self._places = {moved: self._token_places(moved) for moved in (False, True)}
        self._windows = {
            (length, moved): {w for steps in self._pieces for w in _windows(steps, length, moved)}
            for length in WINDOW_LENGTHS
            for moved in (False, True)
        }

    def _read(self, roll: np.ndarray) -> _Steps:
        sound = roll[..., SUSTAIN].astype(bool)
        low, silent = sound.argmax(axis=1), ~sound.any(axis=1)
        keys = (np.arange(sound.shape[1]) + low[:, None]) % sound.shape[1]
        packed = np.packbits(np.take_along_axis(roll, keys[..., None], axis=1), axis=1)
        shape = [self._shapes.setdefault(row.tobytes(), len(self._shapes)) for row in packed]
        chord = np.unique(sound, axis=0, return_inverse=True)[1].ravel()
        chord[silent] = -1
        return _Steps(np.array(shape, dtype=np.int32), low.astype(np.int8), silent, chord)

    def _token_places(self, moved: bool) -> dict[tuple[int, ...], np.ndarray]:
        """Return each token's places in all training pieces laid end to end, a gap before each."""
        places: dict[tuple[int, ...], list[int]] = {}
        for start, steps in zip(self._starts.tolist(), self._pieces, strict=False):
            for place, token in enumerate(_tokens(steps, moved), start):
                if token is not None:
                    places.setdefault(token, []).append(place)
        return {token: np.array(found) for token, found in places.items()}

    def count(self, roll: np.ndarray) -> dict[str, int]:
        """Return how many windows of a piece count, and how many of them are copies.

        For each length L: ``windows_L``, ``exact_L``, ``transposed_L`` (which includes the exact).
        """
        steps, counts = self._read(require_piece(roll)), {}
        for length in WINDOW_LENGTHS:
            exact, moved = (_windows(steps, length, moved) for moved in (False, True))
            counts[f"windows_{length}"] = len(exact)
            counts[f"exact_{length}"] = sum(w in self._windows[length, False] for w in exact)
            counts[f"transposed_{length}"] = sum(w in self._windows[length, True] for w in moved)
        return counts

    def longest_run(self, roll: np.ndarray, *, transposed: bool = False) -> CopiedRun:
        """Return the first of the longest stretches of a piece that the training music holds.

        The longest common substring of two sequences of `_tokens`: it counts once it reaches back
        to a step in which a key sounds. Up to transposition it has at least two steps.
        """
        steps, places = self._read(require_piece(roll)), self._places[transposed]
        sounded = steps.last_sounding()
        run = np.zeros(self._starts[-1] + 1, dtype=np.int64)  # length of the run that ends there
        length, end, place, last = 0, 0, 0, np.array([], dtype=np.int64)
        for step, token in enumerate(_tokens(steps, transposed)):
            here = places.get(token, last[:0])
            grown = run[here - 1] + 1
            run[last] = 0
            run[here] = grown
            last = here
            rest = step - int(sounded[step])  # steps since a key sounded
            if here.size and sounded[step] >= 0 and grown.max() > max(length, rest - transposed):
                length, end, place = int(grown.max()), step, int(here[grown.argmax()])
        if not length:
            return CopiedRun(0, 0, -1, 0, 0)
        length += transposed
        start, source = end - length + 1, int(self._starts.searchsorted(place, side="right")) - 1
        source_start = place - int(self._starts[source]) - length + 1
        first = int(steps.silent[start : end + 1].argmin())
        there = self._pieces[source].low[source_start + first]
        semitones = int(steps.low[start + first]) - int(there)
        return CopiedRun(length, start, source, source_start, semitones)


def _windows(steps: _Steps, length: int, moved: bool) -> list[bytes]:  # those that count
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
    """Return a token per step: its shape and lowest key.

    If moved: the shapes of the previous step and this one, and the move of the lowest key between
    them (over silence, that from the last key before it); None for the first step.
    """
    shape, low = steps.shape.tolist(), steps.low.astype(int)
    if not moved:
        return list(zip(shape, low.tolist(), strict=True))
    sounded = steps.last_sounding()
    held = low[np.where(sounded < 0, steps.silent.argmin(), sounded)]
    return [None, *zip(shape[:-1], shape[1:], np.diff(held).tolist(), strict=True)]
