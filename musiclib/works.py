"""Find pieces that are one work: the same notes in the same order, however fast they are played.

Conventions: a piece is compared as its keys in the order in which they are struck, chords from the
lowest key up. No time enters, so the tempo, its changes, and half or double note values make no
difference; where a chord is rolled upwards, its order stays. Nor does the key: one piece is moved
to where the two have the most notes in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from musiclib.pianoroll import N_KEYS, SUSTAIN, roll_to_notes

MOST_NOTES = 1000
"""Notes of a piece that are compared, from its beginning."""
FEWEST_NOTES = 8
IN_COMMON, A_FEW, NEARLY_ALL = 0.72, 48, 0.95
"""Share of the shorter piece's notes that must be in common; nearly all of them if they are few."""
PER_LENGTH = 0.12
"""What is added to that share where the longer piece has twice the notes, and in proportion."""
LONGEST = 2.2
"""Notes of the longer piece over those of the shorter: beyond that a pair is not compared."""
ABOVE_CHANCE = 0.4
TOP_IN_COMMON, TOP_ABOVE_CHANCE = 0.65, 0.35
"""The same of the top lines alone: songs over one accompaniment are different songs."""
_REACH = 12  # semitones that a piece is moved, at most


def same_works(rolls: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """List the pairs of pieces that are one work.

    Parameters
    ----------
    rolls : sequence of np.ndarray, shape (T, 88, 2), uint8

    Returns
    -------
    list of (int, int)
        Indices i < j.

    Notes
    -----
    Our choice. With L notes in the longest common subsequence, n in the shorter piece and C in the
    longest one that it has with the other piece read backwards (what chance gives, with the same
    notes and steps), two pieces are one work when L / n and (L - C) / (n - C) reach the bounds
    above, for all notes and for the top lines.

    Where a work was played three or four times in a free tempo, in other keys, with 3 % of wrong
    and 2 % of missing notes, ornaments and rolled chords, L / n was 0.74 and more (simulated, of
    12 chorales, 12 piano pieces and 20 melodies); of two different ones 0.65 at most, and of songs
    with one accompaniment the top lines' second share 0.36 at most. Among Bach's chorales the rule
    finds no pair that `splits.tune_pairs` has not put into one group.
    """
    orders = [_note_order(roll) for roll in rolls]
    tops = [_top_order(roll) for roll in rolls]
    counts = np.array([np.bincount(order, minlength=N_KEYS) for order in orders])
    found = []
    for j in range(1, len(rolls)):
        shifts, common = _best_shifts(counts[j], counts[:j])
        order, top = (_bits(keys[j].tolist()) for keys in (orders, tops))
        for i in range(j):
            few, many = sorted((len(orders[i]), len(orders[j])))
            if few < FEWEST_NOTES or many > LONGEST * few:
                continue
            share = NEARLY_ALL if few < A_FEW else IN_COMMON + PER_LENGTH * (many / few - 1)
            if (
                common[i] >= share * few
                and _agree(order, orders[i] - shifts[i], share=share, above=ABOVE_CHANCE)
                and _agree(top, tops[i] - shifts[i], share=TOP_IN_COMMON, above=TOP_ABOVE_CHANCE)
            ):
                found.append((i, j))
    return sorted(found)


def _note_order(roll: np.ndarray) -> np.ndarray:
    """Return the keys in the order in which they are struck, shape (N,)."""
    return roll_to_notes(roll)[:MOST_NOTES, 2]


def _top_order(roll: np.ndarray) -> np.ndarray:
    """Return the keys struck while none above them sounds, at their step or the next one."""
    notes = roll_to_notes(roll)[:MOST_NOTES]
    sounding = roll[..., SUSTAIN].astype(bool)
    top = N_KEYS - 1 - sounding[:, ::-1].argmax(axis=1)
    top[:-1] = np.where(sounding[1:].any(axis=1), np.maximum(top[:-1], top[1:]), top[:-1])
    return notes[notes[:, 2] >= top[notes[:, 0]], 2]


def _best_shifts(counts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much a piece is moved to meet each other, and the notes then in common."""
    wide = np.pad(counts, _REACH)
    shifts = np.arange(-_REACH, _REACH + 1)
    moved = np.stack([wide[_REACH - s : _REACH - s + N_KEYS] for s in shifts])
    common = np.stack([np.minimum(each, others).sum(axis=1) for each in moved])
    return shifts[common.argmax(axis=0)], common.max(axis=0)


def _agree(one: _Bits, other: np.ndarray, *, share: float, above: float) -> bool:
    """Tell whether two sequences have that share in common in order, and not by chance."""
    b = other.tolist()
    few, common = min(one.n, len(b)), _common(one, b)
    if common < share * few:
        return False
    chance = _common(one, b[::-1])
    return chance < few and common - chance >= above * (few - chance)


def longest_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the longest common subsequence of two sequences.

    Bit by bit of one whole number, as in H. Hyyrö, Bit-parallel LCS-length computation revisited,
    AWOCA 2004.

    Examples
    --------
    >>> longest_common([1, 2, 3, 4], [2, 9, 4, 1])
    2
    """
    return _common(_bits(a), b)


class _Bits(NamedTuple):
    """A sequence of n keys: of each key, the places at which it stands, as bits of a number."""

    n: int
    places: dict[int, int]


def _bits(keys: Sequence[int]) -> _Bits:
    places: dict[int, int] = {}
    for i, key in enumerate(keys):
        places[key] = places.get(key, 0) | 1 << i
    return _Bits(len(keys), places)


def _common(a: _Bits, b: Sequence[int]) -> int:
    """Return `longest_common` of two sequences, the first of which is compared with many."""
    row = every = (1 << a.n) - 1
    for key in b:
        here = row & a.places.get(key, 0)
        row = (row + here | row - here) & every
    return a.n - row.bit_count()
