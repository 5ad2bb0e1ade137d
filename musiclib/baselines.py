"""Make music without a model: what any trained model must beat.

Conventions: rolls as in `pianoroll`; every function takes the training rolls and an
``rng: np.random.Generator`` and returns ``uint8 (n, steps, 88, 2)``. The same rolls and the same
generator state give the same pieces. In order of what they know of music:

- `markov_pieces`: a first-order Markov chain over chords: real chords, real neighbours, no plan;
- `shuffled_pieces`: a real piece's rhythm and pitches, but its pitches dealt out at random;
- `random_pieces`: as many notes as a real piece, all else uniform.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from musiclib.pianoroll import N_KEYS, ONSET, STEPS_PER_QUARTER, SUSTAIN
from musiclib.roll_notes import STEPS_PER_BAR, notes_of, require_piece, roll_of

PIECE_STEPS = 8 * STEPS_PER_BAR
"""A piece for comparison: 8 bars of 4/4 in sixteenths."""

LONGEST_RANDOM_NOTE = 8
"""Random notes last 1 to 8 sixteenths, up to a half note: about as long as real ones on average."""


def markov_pieces(
    training: Iterable[np.ndarray],
    *,
    n: int,
    rng: np.random.Generator,
    steps: int = PIECE_STEPS,
) -> np.ndarray:
    """Return pieces drawn from a first-order Markov chain over the training pieces' chords.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2)
        Rolls from which chords and their successions are counted, over their whole length.
    n : int
        Number of pieces, at least 1.
    rng : np.random.Generator
        Source of every draw.
    steps : int
        Length of each piece in sixteenths.

    Returns
    -------
    np.ndarray of uint8, shape (n, steps, 88, 2)

    Raises
    ------
    ValueError
        If there is no training roll, or one is malformed, or `n` or `steps` is below 1.

    Notes
    -----
    A state is a chord as it is struck, x = (onsets, sounding keys), which stands until either
    changes. From x the chain goes to (d, y), its length d in steps and the chord after it, with
    their relative frequency after x in the training pieces, without smoothing; it starts with a
    first chord of a training piece, and again where a chord only ever ended one. It knows no metre
    and nothing before the chord that sounds.
    """
    rolls = _require_training(training, n=n, steps=steps)
    events = [_events(roll) for roll in rolls]
    states, codes = _number(events)
    lengths = [length for _, length in events]
    firsts = np.array([code[0] for code in codes])
    following = _following(codes, lengths, len(states))
    walks = [_walk(firsts, following, steps=steps, rng=rng) for _ in range(n)]
    return np.stack([_unroll(states, *walk, steps) for walk in walks])


def _events(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chords as struck, shape (E, 88, 2), and how many steps each stands, shape (E,)."""
    new = np.ones(len(roll), dtype=bool)
    changed = (roll[1:, :, SUSTAIN] != roll[:-1, :, SUSTAIN]).any(axis=1)
    new[1:] = roll[1:, :, ONSET].any(axis=1) | changed
    first = np.flatnonzero(new)
    return roll[first], np.diff(np.append(first, len(roll)))


def _number(events: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the distinct chords (S, 88, 2), and each piece's as indices into them."""
    flat = np.concatenate([chords for chords, _ in events]).reshape(-1, N_KEYS * 2)
    states, inverse = np.unique(flat, axis=0, return_inverse=True)
    ends = np.cumsum([len(chords) for chords, _ in events])
    return states.reshape(-1, N_KEYS, 2), np.split(inverse.ravel(), ends[:-1])


def _following(
    codes: list[np.ndarray], lengths: list[np.ndarray], n_states: int
) -> list[np.ndarray]:
    """Return for each state every (length, next state) seen after it, shape (count, 2)."""
    before = np.concatenate([code[:-1] for code in codes])
    length = np.concatenate([length[:-1] for length in lengths])
    after = np.concatenate([code[1:] for code in codes])
    order = np.argsort(before, kind="stable")
    counts = np.bincount(before, minlength=n_states)
    return np.split(np.stack((length, after), axis=1)[order], np.cumsum(counts)[:-1])


def _walk(
    firsts: np.ndarray, following: list[np.ndarray], *, steps: int, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Return a walk of the chain: states and their lengths, together at least `steps` long."""
    states, lengths = [int(rng.choice(firsts))], []
    while sum(lengths) < steps:
        seen = following[states[-1]]
        if len(seen):
            length, state = seen[rng.integers(len(seen))]
        else:
            length, state = STEPS_PER_QUARTER, rng.choice(firsts)
        lengths.append(int(length))
        states.append(int(state))
    return states[:-1], lengths


def _unroll(states: np.ndarray, walk: list[int], lengths: list[int], steps: int) -> np.ndarray:
    """Return a walk as a roll (steps, 88, 2): each chord struck once and held for its length."""
    roll = np.repeat(states[walk], lengths, axis=0)
    roll[..., ONSET] = 0
    starts = np.cumsum([0, *lengths[:-1]])
    roll[starts, :, ONSET] = states[walk][..., ONSET]
    begins = roll[..., SUSTAIN].copy()
    begins[1:] &= 1 - roll[:-1, :, SUSTAIN]
    roll[..., ONSET] |= begins
    return roll[:steps]


def shuffled_pieces(
    training: Iterable[np.ndarray],
    *,
    n: int,
    rng: np.random.Generator,
    steps: int = PIECE_STEPS,
) -> np.ndarray:
    """Return real pieces whose pitches are dealt out at random among their notes.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2)
        Rolls; those shorter than `steps` are left out.
    n : int
        Number of pieces; each takes a roll drawn without replacement until all are used.
    rng : np.random.Generator
        Source of every draw.
    steps : int
        Length of each piece: the first `steps` sixteenths of its roll.

    Returns
    -------
    np.ndarray of uint8, shape (n, steps, 88, 2)

    Raises
    ------
    ValueError
        If no training roll is long enough, one is malformed, or `n` or `steps` is below 1.

    Notes
    -----
    Starts, lengths and the multiset of pitches stay; which note has which pitch is a uniform
    permutation. Two notes dealt the same pitch at once become one, and a note cuts an earlier one
    of its pitch, so a few notes are lost.
    """
    rolls = _long_enough(_require_training(training, n=n, steps=steps), steps)
    pieces = []
    for index in _draw(len(rolls), n, rng):
        notes = notes_of(rolls[index][:steps])
        pieces.append(roll_of(notes.start, rng.permutation(notes.key), notes.length, steps=steps))
    return np.stack(pieces)


def shuffled_sources(
    training: Iterable[np.ndarray], *, n: int, rng: np.random.Generator, steps: int = PIECE_STEPS
) -> np.ndarray:
    """Return which training roll each of the `shuffled_pieces` is dealt from, shape (n,).

    Takes what `shuffled_pieces` takes, with a generator in the same state.
    """
    long = np.flatnonzero([len(roll) >= steps for roll in training])
    return long[_draw(len(long), n, rng)]


def random_pieces(
    training: Iterable[np.ndarray],
    *,
    n: int,
    rng: np.random.Generator,
    steps: int = PIECE_STEPS,
) -> np.ndarray:
    """Return pieces of uniformly random notes, each with as many as a real piece.

    Parameters
    ----------
    training : iterable of np.ndarray, each of shape (T, 88, 2)
        Rolls, of which only the numbers of notes and the compass (lowest to highest key) are used;
        those shorter than `steps` are left out.
    n : int
        Number of pieces.
    rng : np.random.Generator
        Source of every draw.
    steps : int
        Length of each piece in sixteenths.

    Returns
    -------
    np.ndarray of uint8, shape (n, steps, 88, 2)

    Raises
    ------
    ValueError
        If no training roll is long enough, one is malformed, or `n` or `steps` is below 1.

    Notes
    -----
    Key uniform over the compass of the training pieces, start uniform over the steps, length
    uniform over 1 to `LONGEST_RANDOM_NOTE` steps (cut at the end of the piece): our choice. Notes
    that fall on the same key at once become one.
    """
    rolls = _long_enough(_require_training(training, n=n, steps=steps), steps)
    compass = np.flatnonzero(np.any([roll[..., SUSTAIN].any(axis=0) for roll in rolls], axis=0))
    if not compass.size:
        raise ValueError("training holds no note")
    pieces = []
    for index in _draw(len(rolls), n, rng):
        count = len(notes_of(rolls[index][:steps]).start)
        start = rng.integers(steps, size=count)
        key = rng.integers(compass[0], compass[-1] + 1, size=count)
        length = rng.integers(1, LONGEST_RANDOM_NOTE + 1, size=count)
        pieces.append(roll_of(start, key, length, steps=steps))
    return np.stack(pieces)


def _draw(size: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n indices below size: whole random orders one after another, cut to n."""
    orders = [rng.permutation(size) for _ in range(-(-n // size))]
    return np.concatenate(orders)[:n]


def _require_training(training: Iterable[np.ndarray], *, n: int, steps: int) -> list[np.ndarray]:
    """Return the training rolls or say which argument is wrong."""
    for name, value in (("n", n), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    rolls = [require_piece(roll, name=f"training[{i}]") for i, roll in enumerate(training)]
    if not rolls:
        raise ValueError("training must hold at least one roll; got none")
    return rolls


def _long_enough(rolls: list[np.ndarray], steps: int) -> list[np.ndarray]:
    """Return the rolls of at least that many steps, or say that there is none."""
    kept = [roll for roll in rolls if len(roll) >= steps]
    if not kept:
        longest = max(len(roll) for roll in rolls)
        raise ValueError(f"training has no roll of {steps} steps; the longest has {longest}")
    return kept
