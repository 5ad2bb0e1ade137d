"""What a model of keys reads and writes: a code for each key and step, whatever the music.

Conventions: *key codes* are ``uint8 (T, K)`` over K neighbouring keys, `lowest` first: 0 silent, 1
sounds; or, where onsets are told from held notes, 0 silent, 1 held, 2 starts. Unlike voices
(`musiclib.encoding`) they hold any number of notes at once and need no lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from musiclib.encoding import N_METRES, N_REGISTERS, card_numbers, count_metres, metre_codes
from musiclib.pianoroll import N_KEYS, ONSET, SUSTAIN
from musiclib.pieces import Piece

SILENT, HELD, STARTS = 0, 1, 2
MARGIN = 2
"""Keys beside those of the training pieces that a codec keeps."""


@dataclass(frozen=True)
class KeyExample:
    """A piece as a model of keys reads it.

    Attributes
    ----------
    name : str
    codes : np.ndarray, shape (T, K), uint8
    metre : np.ndarray, shape (T,), int32
        Place in the bar and class of the bar, as in `musiclib.encoding`; 0 for a benchmark's
        piece, which has no bars.
    register : int
        0 to 11: by how much the piece was moved; 0 for a benchmark's piece.
    bar : int
        Steps a bar.
    denominator : int
        Of the bar's time signature, as in `musiclib.encoding.Example`.
    """

    name: str
    codes: np.ndarray
    metre: np.ndarray
    register: int = 0
    bar: int = 16
    denominator: int = 4


@dataclass(frozen=True)
class KeyCodec:
    """The way from rolls to key codes and back.

    Attributes
    ----------
    lowest : int
        Lowest key kept, 0 to 87.
    n_keys : int
        K.
    onsets : bool
        Whether starting and held notes differ.
    frames : int
        Training frames, which decide what a note outside the K keys costs.
    n_metres : int
        Values of the metre.
    """

    lowest: int
    n_keys: int
    onsets: bool
    frames: int
    n_metres: int = N_METRES

    @property
    def n_states(self) -> int:
        """Number of codes a key can have."""
        return 3 if self.onsets else 2

    def encode_frames(self, frames: np.ndarray, *, name: str = "") -> KeyExample:
        """Take the K keys of a benchmark's piece ``(T, 88)``, which has neither onsets nor bars."""
        codes = frames[:, self.lowest : self.lowest + self.n_keys].astype(np.uint8)
        return KeyExample(name, codes, np.zeros(len(codes), np.int32))

    def outside(self, frames: np.ndarray) -> np.ndarray:
        """Charge what the K keys leave out of a benchmark's piece.

        Parameters
        ----------
        frames : np.ndarray, shape (T, 88), uint8

        Returns
        -------
        np.ndarray, shape (T - 1,)
            Nats of frames 1 to T - 1: each key left out sounds with probability 1 / (frames + 2),
            Laplace's rule for what training pieces never do.
        """
        out = np.delete(frames[1:], np.arange(self.lowest, self.lowest + self.n_keys), axis=1)
        p = 1 / (self.frames + 2)
        return np.where(out > 0, -np.log(p), -np.log1p(-p)).sum(axis=1)

    def encode(self, piece: Piece) -> KeyExample:
        """Move a piece to C major or A minor and write it as key codes.

        Parameters
        ----------
        piece : Piece

        Returns
        -------
        KeyExample
            Notes outside the K keys are moved by octaves to the nearest one.
        """
        codes = _codes(piece.roll, onsets=self.onsets)
        out = np.zeros((len(codes), self.n_keys), np.uint8)
        for key in np.flatnonzero(codes.any(axis=0)):
            place = int(key) + piece.shift - self.lowest
            while not 0 <= place < self.n_keys:
                place += 12 if place < 0 else -12
            out[:, place] = np.maximum(out[:, place], codes[:, key])
        metre = metre_codes(piece.position, piece.bar, n_metres=self.n_metres)
        register, bar = piece.shift % N_REGISTERS, piece.bar
        return KeyExample(piece.name, out, metre, register, bar, piece.denominator)

    def decode(self, codes: np.ndarray, register: int = 0) -> np.ndarray:
        """Turn key codes back into a roll in the original key.

        Parameters
        ----------
        codes : np.ndarray, shape (T, K), integers below `n_states`
        register : int
            0 to 11, as in the example.

        Returns
        -------
        np.ndarray, shape (T, 88, 2), uint8
            A held key that did not sound before starts. Without onsets, a key that sounds on is
            held.

        Raises
        ------
        ValueError
            When a code is out of range or the number of keys is another.
        """
        codes = np.asarray(codes)
        known = np.isin(codes, range(self.n_states)).all()
        if codes.ndim != 2 or codes.shape[1] != self.n_keys or not known:
            raise ValueError(
                f"codes: got shape {codes.shape}, wanted (T, {self.n_keys}) of codes below "
                f"{self.n_states}"
            )
        shift = (int(register) + 6) % N_REGISTERS - 6
        roll = np.zeros((len(codes), N_KEYS, 2), np.uint8)
        for place in np.flatnonzero(codes.any(axis=0)):
            key = int(place) + self.lowest - shift
            key += 12 if key < 0 else -12 if key >= N_KEYS else 0
            sounds = codes[:, place] > 0
            before = np.concatenate([[False], sounds[:-1]])
            starts = sounds & (~before | (codes[:, place] == STARTS))
            roll[:, key, SUSTAIN] |= sounds
            roll[:, key, ONSET] |= starts
        return roll

    def to_dict(self) -> dict[str, int]:
        """Return the codec's numbers, for a weights' card."""
        return card_numbers(self)


def fit_keys(
    rolls: Sequence[np.ndarray], *, shifts: Sequence[int] | None = None, bars: Sequence[int] = ()
) -> KeyCodec:
    """Make the codec of a corpus from its training rolls.

    Parameters
    ----------
    rolls : sequence of np.ndarray
        ``(T, 88, 2)`` for pieces with onsets, ``(T, 88)`` for a benchmark's.
    shifts : sequence of int, optional
        Semitones that bring each piece to C major or A minor; by default none is moved.
    bars : sequence of int
        Steps of each piece's bars; empty for a benchmark's, which have none.

    Returns
    -------
    KeyCodec
        The keys used, with `MARGIN` beside them, an octave and a half at least.

    Raises
    ------
    ValueError
        When no key sounds.
    """
    shifts = [0] * len(rolls) if shifts is None else shifts
    used: set[int] = set()
    for roll, shift in zip(rolls, shifts, strict=True):
        sounding = roll[..., SUSTAIN] if roll.ndim == 3 else roll
        used |= {int(key) + shift for key in np.flatnonzero(sounding.any(axis=0))}
    if not used:
        raise ValueError("rolls: got only silent ones, so there is no key to learn")
    lowest = int(np.clip(min(used) - MARGIN, 0, N_KEYS - 18))
    highest = min(max(max(used) + MARGIN, lowest + 17), N_KEYS - 1)
    frames, onsets = sum(map(len, rolls)), rolls[0].ndim == 3
    return KeyCodec(lowest, highest - lowest + 1, onsets, frames, count_metres(bars))


def pad(
    examples: Sequence[KeyExample],
    *,
    multiple: int = 8,
    unlike: Sequence[KeyExample] | None = None,
) -> dict[str, np.ndarray]:
    """Lay pieces side by side as a model of keys reads them, padded with silence at the end.

    Parameters
    ----------
    examples : sequence of KeyExample
        Each of two steps or more.
    multiple : int
        The common length L is rounded up to a multiple of it, so that few lengths occur.
    unlike : sequence of KeyExample, optional
        Pieces whose padded N and L the result must not share: one more is padded where it would.

    Returns
    -------
    dict of np.ndarray
        ``before`` and ``now`` ``(N, L, K)`` int32: steps 0 to T - 2 and 1 to T - 1; ``metre`` and
        ``register`` ``(N, L)`` int32 of the step that is predicted; ``mask`` ``(N, L)`` float32, 0
        where padded.
    """
    longest = max(len(e.codes) for e in examples) - 1
    length = -(-longest // multiple) * multiple
    n, keys = len(examples), examples[0].codes.shape[1]
    out = {k: np.zeros((n, length, keys), np.int32) for k in ("before", "now")}
    out |= {k: np.zeros((n, length), np.int32) for k in ("metre", "register")}
    out["mask"] = np.zeros((n, length), np.float32)
    for row, example in enumerate(examples):
        size = len(example.codes) - 1
        out["before"][row, :size] = example.codes[:-1]
        out["now"][row, :size] = example.codes[1:]
        out["metre"][row, :size] = example.metre[1:]
        out["register"][row] = example.register
        out["mask"][row, :size] = 1
    if unlike is None:
        return out
    other = len(unlike), -(-(max(len(e.codes) for e in unlike) - 1) // multiple) * multiple
    more = [(0, int(a == b)) for a, b in zip((n, length), other, strict=True)]
    return {k: np.pad(v, more + [(0, 0)] * (v.ndim - 2)) for k, v in out.items()}


def lead_in(example: KeyExample) -> KeyExample:
    """Put a silent step before a piece, so that its first step is predicted too."""
    codes = np.concatenate([np.zeros_like(example.codes[:1]), example.codes])
    metre = np.concatenate([example.metre[:1], example.metre])
    return replace(example, codes=codes, metre=metre)


def excerpt(example: KeyExample, start: int, length: int) -> KeyExample:
    """Take `length` steps of a piece and the one before them."""
    part = slice(start, start + length + 1)
    return replace(example, codes=example.codes[part], metre=example.metre[part])


def _codes(roll: np.ndarray, *, onsets: bool) -> np.ndarray:
    """Write a roll (T, 88, 2) as codes (T, 88)."""
    sounds = roll[..., SUSTAIN].astype(np.uint8)
    return sounds + (sounds & roll[..., ONSET]) if onsets else sounds
