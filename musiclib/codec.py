"""What the models read and write: normalised voices in, rolls in the original key out.

Conventions: a model sees V monophonic voices (`musiclib.codec`) of a piece moved to C major or A
minor, its keys trimmed to those that the training pieces use. *Codes* are ``int32 (T, V)``: 0 rest,
1 hold, ``2 + k`` onset of trimmed key k. *Sounds* are ``int32 (T, V)``: 0 rest, ``1 + k`` sounding
key k. *Metre* is ``int32 (T,)``: steps since the bar line, plus 64 times the class of the piece's
bars: 0 for 2/4, 4/4, 4/2 (a power of two of steps), 1 for 3/8, 3/4, 6/8, 9/8, 3/2 (a multiple of
three), 2 for 5/4, 7/8 and the like. Class 2 is there only in a corpus whose training pieces have
such bars. *Register* is ``int32``: the piece's `shift` modulo 12, which says how high it lies once
it is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from musiclib.piece import MAX_BAR, Piece, _write_line
from musiclib.roll import (
    FIRST_KEY,
    HOLD,
    N_KEYS,
    N_VOICE_CODES,
    ONSET,
    REST,
    STEPS_PER_QUARTER,
    SUSTAIN,
    Bars,
    roll_to_notes,
)

# ---- musiclib.codec ----
# Monophonic voices: a roll as V lines, from the tracks of a file or by separation.
#
# Conventions: voices are ``int16 (T, V)``, highest line first, with the codes of
# `musiclib.roll`: 0 rest, 1 hold (the line's note goes on), ``2 + k`` onset of key k.


def separate_voices(roll: np.ndarray, *, n_voices: int) -> tuple[np.ndarray, int]:
    """Spread the notes of a roll over monophonic voices, each note to the nearest free line.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
    n_voices : int
        Voices V, 1 to 16.

    Returns
    -------
    voices : np.ndarray, shape (T, V), int16
    lost : int
        Notes that found no free voice and were left out.

    Raises
    ------
    ValueError
        When `n_voices` is out of its range.

    Notes
    -----
    Our choice: at each step the new notes are assigned to the free voices so that the summed
    distance to the voices' last pitches is least (`scipy.optimize.linear_sum_assignment`), with
    their height's order as tie-break. Voices start spread over the roll's own pitch range.
    """
    from scipy.optimize import linear_sum_assignment  # 0.7 s that a reader of files is spared

    if not 1 <= n_voices <= 16:
        raise ValueError(f"n_voices must lie between 1 and 16, got {n_voices}")
    notes = roll_to_notes(roll)
    voices = np.zeros((len(roll), n_voices), np.int16)
    if not len(notes):
        return voices, 0
    high, low = np.percentile(notes[:, 2], [90, 10])
    last = np.linspace(high, low, n_voices)
    busy_until, lost = np.zeros(n_voices, int), 0
    for step in np.unique(notes[:, 0]):
        new = notes[notes[:, 0] == step]
        new = new[np.argsort(-new[:, 2], kind="stable")]
        free = np.flatnonzero(busy_until <= step)
        cost = np.abs(new[:, 2][:, None] - last[free][None]).astype(float)
        rows, columns = linear_sum_assignment(cost**0.999) if len(free) else ([], [])
        chosen = np.sort(free[columns]) if len(free) else []
        lost += len(new) - len(rows)
        for row, voice in zip(sorted(rows), chosen, strict=True):
            _write_line(voices[:, voice], step, new[row, 1], new[row, 2])
            last[voice], busy_until[voice] = new[row, 2], new[row, 1]
    return voices, lost


def voices_to_roll(voices: np.ndarray) -> np.ndarray:
    """Draw voices as a roll; notes of several voices on one key are merged.

    Parameters
    ----------
    voices : np.ndarray, shape (T, V), integer codes 0 to 89

    Returns
    -------
    np.ndarray, shape (T, 88, 2), uint8

    Raises
    ------
    ValueError
        On another shape or a code out of range. A hold after a rest, or at the start, sounds
        nothing.
    """
    voices = np.asarray(voices)
    if voices.ndim != 2 or not np.issubdtype(voices.dtype, np.integer):
        raise ValueError(f"voices must be integers with shape (T, V), got {voices.dtype} "
                         f"with shape {voices.shape}")  # fmt: skip
    if voices.size and not (voices.min() >= REST and voices.max() < N_VOICE_CODES):
        raise ValueError(
            f"voice codes must lie between 0 and {N_VOICE_CODES - 1}, "
            f"got {int(voices.min())} to {int(voices.max())}"
        )
    roll = np.zeros((len(voices), N_KEYS, 2), np.uint8)
    for line in voices.T:
        key = sounding_keys(line[:, None])[:, 0]
        steps = np.flatnonzero(key >= 0)
        roll[steps, key[steps], SUSTAIN] = 1
        starts = np.flatnonzero(line >= FIRST_KEY)
        roll[starts, line[starts] - FIRST_KEY, ONSET] = 1
    return roll


def sounding_keys(voices: np.ndarray) -> np.ndarray:
    """Tell which key each voice sounds at each step.

    Parameters
    ----------
    voices : np.ndarray, shape (T, V), integer codes

    Returns
    -------
    np.ndarray, shape (T, V), int64
        0 to 87, or -1 where the voice rests.
    """
    codes = np.asarray(voices, np.int64)
    event = codes != HOLD
    last = np.maximum.accumulate(np.where(event, np.arange(len(codes))[:, None], -1), axis=0)
    at_event = np.take_along_axis(codes, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (at_event >= FIRST_KEY), at_event - FIRST_KEY, -1)


N_METRES = 2 * MAX_BAR
"""Values of the metre in a corpus without odd bars; with them there are `MAX_BAR` more."""
N_REGISTERS = 12
MAX_VOICES = 8
SEGMENT_BARS = 4
FEW_SEGMENTS = 50
"""Segments below which a GAN is likely to learn its training pieces by heart (our choice)."""


def bar_class(bar: int) -> int:
    """Return the class of a bar of so many steps, 0 to 2 (see the head of this module).

    Examples
    --------
    >>> [bar_class(bar) for bar in (8, 16, 12, 18, 24, 20, 14)]
    [0, 0, 1, 1, 1, 2, 2]
    """
    if bar > 0 and bar & (bar - 1) == 0:
        return 0
    return 1 if bar % 3 == 0 else 2


def count_metres(bars: Iterable[int]) -> int:
    """Return how many values the metre has, given the bars of the training pieces in steps."""
    return MAX_BAR * max(2, *(1 + bar_class(bar) for bar in bars), 0)


def metre_codes(position: np.ndarray, bar: int, *, n_metres: int) -> np.ndarray:
    """Return the metre of a piece, shape (T,), int32.

    Parameters
    ----------
    position : np.ndarray, shape (T,)
        Steps since the bar line.
    bar : int
        Steps a bar. An odd one counts with the threes where no training piece has any.
    n_metres : int
        As `count_metres` gives it.
    """
    last = n_metres // MAX_BAR - 1
    return position.astype(np.int32) % MAX_BAR + MAX_BAR * min(bar_class(bar), last)


@dataclass(frozen=True)
class Example:
    """A piece as a model reads it.

    Attributes
    ----------
    name : str
    codes, sounds : np.ndarray, shape (T, V), int32
    metre : np.ndarray, shape (T,), int32
    register : int
        0 to 11.
    bar : int
        Steps a bar.
    denominator : int
        Of the bar's time signature; it is written into files, and no model reads it.
    """

    name: str
    codes: np.ndarray
    sounds: np.ndarray
    metre: np.ndarray
    register: int
    bar: int
    denominator: int = 4


@dataclass(frozen=True)
class VoiceCodec:
    """The way from a piece to codes and back.

    Attributes
    ----------
    lowest : int
        Lowest key, 0 to 87, that the moved training pieces use.
    n_keys : int
        Keys from there up to the highest used.
    n_voices : int
        V.
    n_metres : int
        Values of the metre.
    """

    lowest: int
    n_keys: int
    n_voices: int
    n_metres: int = N_METRES

    @property
    def n_codes(self) -> int:
        """Number of codes: rest, hold and an onset for each key."""
        return FIRST_KEY + self.n_keys

    @property
    def n_sounds(self) -> int:
        """Number of sounds: rest and each key."""
        return 1 + self.n_keys

    def encode(self, piece: Piece) -> Example:
        """Normalise a piece: voices, moved to C major or A minor, keys counted from `lowest`.

        Parameters
        ----------
        piece : Piece

        Returns
        -------
        Example
            A note outside the training pieces' keys is moved by octaves to the nearest one.
        """
        voices = _moved_voices(piece, self.n_voices)
        key = np.where(voices >= FIRST_KEY, voices - FIRST_KEY - self.lowest, 0)
        key = np.where(key < 0, key % 12, key)
        over = np.maximum(key - self.n_keys + 1, 0)
        key = key - 12 * -(-over // 12)
        if key.min(initial=0) < 0:
            raise ValueError(f"{piece.name}: the training pieces span less than an octave")
        codes = np.where(voices >= FIRST_KEY, key + FIRST_KEY, voices).astype(np.int32)
        metre = metre_codes(piece.position, piece.bar, n_metres=self.n_metres)
        sounds = (sounding_keys(codes) + 1).astype(np.int32)
        register, bar = piece.shift % N_REGISTERS, piece.bar
        return Example(piece.name, codes, sounds, metre, register, bar, piece.denominator)

    def decode(self, codes: np.ndarray, register: int) -> np.ndarray:
        """Turn codes back into a roll in the original key: the inverse of `encode`.

        Parameters
        ----------
        codes : np.ndarray, shape (T, V), integers below `n_codes`
        register : int
            0 to 11, as in the example.

        Returns
        -------
        np.ndarray, shape (T, 88, 2), uint8

        Raises
        ------
        ValueError
            When a code is out of range, or a note leaves the 88 keys.
        """
        codes = np.asarray(codes)
        if codes.size and not (codes.min() >= REST and codes.max() < self.n_codes):
            raise ValueError(f"codes must lie between 0 and {self.n_codes - 1}")
        shift = (int(register) + 6) % N_REGISTERS - 6
        key = codes - FIRST_KEY + self.lowest - shift
        key = np.where(key < 0, key + 12, np.where(key >= N_KEYS, key - 12, key))
        return voices_to_roll(np.where(codes >= FIRST_KEY, key + FIRST_KEY, codes))

    def to_dict(self) -> dict[str, int]:
        """Return the codec's numbers, for a weights' card."""
        return card_numbers(self)


def card_numbers(codec: Any) -> dict[str, int]:
    """Return a codec's numbers; of the metres only a number that is not the usual one.

    Cards of weights that were trained before there were odd bars do not name it.
    """
    numbers = asdict(codec)
    if numbers["n_metres"] == N_METRES:
        del numbers["n_metres"]
    return numbers


def _moved_voices(piece: Piece, n_voices: int) -> np.ndarray:
    """Return a piece's voices in C major or A minor: its own lines, or separated ones.

    A note that would leave the piano by that is moved by an octave.
    """
    voices = piece.lines
    if voices.shape[1] != n_voices:
        voices, _ = separate_voices(piece.roll, n_voices=n_voices)
    voices = voices.astype(np.int32)
    key = voices - FIRST_KEY + piece.shift
    key = np.where(key < 0, key + 12, np.where(key >= N_KEYS, key - 12, key))  # shift: -6 to 5
    return np.where(voices >= FIRST_KEY, key + FIRST_KEY, voices)


def choose_voices(pieces: Sequence[Piece]) -> int:
    """Return how many voices a corpus needs.

    Parameters
    ----------
    pieces : sequence of Piece

    Returns
    -------
    int
        The tracks of a piece where most pieces are written in lines; otherwise so many that 99 %
        of the sounding steps keep all their notes, at most `MAX_VOICES`. (Our choice.)
    """
    lines = [p.lines.shape[1] for p in pieces]
    common = max(set(lines), key=lines.count)
    if common and lines.count(common) > len(lines) / 2:
        return common
    counts = np.concatenate([p.roll[..., 1].sum(axis=1) for p in pieces])
    return int(np.clip(np.percentile(counts[counts > 0], 99), 1, MAX_VOICES))


def fit_codec(pieces: Sequence[Piece], *, n_voices: int | None = None) -> VoiceCodec:
    """Make the codec of a corpus from its training pieces.

    Parameters
    ----------
    pieces : sequence of Piece
        Training pieces only.
    n_voices : int, optional
        By default `choose_voices`.

    Returns
    -------
    VoiceCodec
        Its keys, an octave at least, lie on the piano.
    """
    n_voices = choose_voices(pieces) if n_voices is None else n_voices
    codes = np.concatenate([np.unique(_moved_voices(p, n_voices)) for p in pieces])
    keys = codes[codes >= FIRST_KEY] - FIRST_KEY
    lowest = min(int(keys.min()), N_KEYS - 12)
    n_metres = count_metres(p.bar for p in pieces)
    return VoiceCodec(lowest, max(int(keys.max()) - lowest + 1, 12), n_voices, n_metres)


def commonest_bars(pieces: Sequence[Piece]) -> Bars:
    """Return bars of the length that most pieces have, named as most of those do, no upbeat."""
    bar = Counter(piece.bar for piece in pieces).most_common(1)[0][0]
    names = Counter(piece.denominator for piece in pieces if piece.bar == bar)
    return Bars(bar, denominator=names.most_common(1)[0][0])


def bar_segments(pieces: Sequence[Piece]) -> tuple[int, int, list[tuple[int, int]]]:
    """Find the segments of four bars that notebook 03 trains on.

    Parameters
    ----------
    pieces : sequence of Piece
        Training pieces.

    Returns
    -------
    bar : int
        The commonest bar, in steps. Only pieces with this bar have segments.
    quarters : int
        Quarters of a segment: those of four bars, a whole number in every metre; 16 where a bar has
        more than 8.
    starts : list of (int, int)
        Piece and step of each segment: every bar line with a whole segment after it.
    """
    bar = commonest_bars(pieces).steps_per_bar
    quarters = SEGMENT_BARS * (bar if bar <= 8 * STEPS_PER_QUARTER else 16) // STEPS_PER_QUARTER
    length = quarters * STEPS_PER_QUARTER
    starts = [
        (i, int(step))
        for i, piece in enumerate(pieces)
        if piece.bar == bar
        for step in np.flatnonzero(piece.position[: max(len(piece.roll) - length + 1, 0)] == 0)
    ]
    return bar, quarters, starts


def segment_sentence(pieces: Sequence[Piece]) -> str:
    """Say how many segments notebook 03 finds in the training pieces, and whether they are few.

    Raises
    ------
    ValueError
        When there is none, before anything is trained.
    """
    bar, quarters, starts = bar_segments(pieces)
    same = sum(piece.bar == bar for piece in pieces)
    length = f"{quarters} quarters that begin on a bar line"
    said = f"{len(starts)} segments of {length}, in the {same} of {len(pieces)} training pieces "
    said += f"with the commonest bar ({bar / STEPS_PER_QUARTER:g} quarters)"
    if not starts:
        raise ValueError(
            f"{said}; the GAN of notebook 03 needs one at least, so give longer pieces"
        )
    few = "; so few that a GAN may learn them by heart" if len(starts) < FEW_SEGMENTS else ""
    return said + few


def cut(
    examples: Sequence[Example],
    starts: Sequence[tuple[int, int]] | np.ndarray,
    *,
    length: int,
) -> dict[str, np.ndarray]:
    """Cut windows out of examples, padded with rests where a piece ends.

    Parameters
    ----------
    examples : sequence of Example
    starts : sequence of (example, step)
        Where each window begins: a step of the example.
    length : int
        Steps L of a window.

    Returns
    -------
    dict of np.ndarray
        ``codes`` and ``sounds`` (N, L, V), ``before`` (N, L, V): the sounds one step earlier,
        rests where the piece begins; ``metre`` (N, L), ``register`` (N,), and ``mask`` (N, L)
        float32, 0 where padded.

    Raises
    ------
    ValueError
        If a window begins outside its example.
    """
    n, voices = len(starts), examples[0].codes.shape[1]
    out = {k: np.zeros((n, length, voices), np.int32) for k in ("codes", "sounds", "before")}
    out["metre"] = np.zeros((n, length), np.int32)
    out["register"] = np.array([examples[i].register for i, _ in starts], np.int32)
    out["mask"] = np.zeros((n, length), np.float32)
    for row, (i, start) in enumerate(starts):
        example = examples[i]
        if not 0 <= start < len(example.codes):
            raise ValueError(
                f"starts: step {start} is none of {example.name}'s {len(example.codes)}"
            )
        end = min(start + length, len(example.codes))
        size = end - start
        out["codes"][row, :size] = example.codes[start:end]
        out["sounds"][row, :size] = example.sounds[start:end]
        out["metre"][row, :size] = example.metre[start:end]
        out["mask"][row, :size] = 1
        out["before"][row, 1:size] = example.sounds[start : end - 1]
        if start > 0:
            out["before"][row, 0] = example.sounds[start - 1]
    return out


def begin_afresh(window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Let windows stand alone: a note that a window's start cuts begins there.

    Parameters
    ----------
    window : dict
        As `cut` gives it.

    Returns
    -------
    dict
        The same with no hold at the first step and nothing sounding before it.
    """
    out = {k: v.copy() for k, v in window.items()}
    first = out["sounds"][:, 0]
    out["codes"][:, 0] = np.where(first > 0, first + FIRST_KEY - 1, REST)
    out["before"][:, 0] = 0
    return out


def play_metre(example: Example, *, length: int) -> np.ndarray:
    """Return the metre of a new piece that starts like `example`.

    Parameters
    ----------
    example : Example
    length : int
        Steps of the new piece.

    Returns
    -------
    np.ndarray, shape (length,), int32
    """
    start = bar_position(example.metre[0])
    base = example.metre[0] - start
    return (base + (start + np.arange(length)) % min(example.bar, MAX_BAR)).astype(np.int32)


def bars_of(example: Example) -> Bars:
    """Return the bars of a new piece with the `play_metre` of `example`."""
    bar = min(example.bar, MAX_BAR)
    upbeat = -int(bar_position(example.metre[0])) % bar
    return Bars(bar, upbeat, example.denominator)


def bar_position(metre: np.ndarray) -> np.ndarray:
    """Return where in its bar each step of a metre stands.

    Parameters
    ----------
    metre : np.ndarray of int
        As an `Example` has it, of any shape.

    Returns
    -------
    np.ndarray, of the shape of `metre`
        Steps since the bar line, 0 to 63.
    """
    return np.asarray(metre) % MAX_BAR


# ---- musiclib.codec ----
# What a model of keys reads and writes: a code for each key and step, whatever the music.
#
# Conventions: *key codes* are ``uint8 (T, K)`` over K neighbouring keys, `lowest` first: 0 silent,
# 1
# sounds; or, where onsets are told from held notes, 0 silent, 1 held, 2 starts. Unlike voices
# (`musiclib.codec`) they hold any number of notes at once and need no lines.


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
        Place in the bar and class of the bar, as in `musiclib.codec`; 0 for a benchmark's
        piece, which has no bars.
    register : int
        0 to 11: by how much the piece was moved; 0 for a benchmark's piece.
    bar : int
        Steps a bar.
    denominator : int
        Of the bar's time signature, as in `musiclib.codec.Example`.
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
