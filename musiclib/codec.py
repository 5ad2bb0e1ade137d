"""Turn pieces into the codes that models read and write, and codes back into rolls.

Conventions: pieces are moved to C major or A minor and trimmed to the keys that the training pieces
use. A note outside these keys is moved by octaves to the nearest one. There are two codecs.

A `VoiceCodec` writes V monophonic voices. *Codes* are ``int32 (T, V)``: 0 rest, 1 hold, ``2 + k``
onset of trimmed key k. *Sounds* are ``int32 (T, V)``: 0 rest, ``1 + k`` sounding key k.

A `KeyCodec` writes K neighbouring keys, so any number of notes may sound at once. *Key codes* are
``uint8 (T, K)``, the lowest key first: 0 silent, 1 sounds; or, if onsets are kept, 0 silent, 1
held, 2 starts. It also reads a benchmark's pieces, ``uint8 (T, 88)``.

*Metre* is ``int32 (T,)``: steps since the bar line, plus 64 times the class of the piece's bars: 0
for 2/4, 4/4, 4/2 (a power of two of steps), 1 for 3/8, 3/4, 6/8, 9/8, 3/2 (a multiple of three), 2
for 5/4, 7/8 and the like, which count as 1 where no training piece has such bars. *Register* is 0
to 11: the piece's `shift` modulo 12. No model reads `denominator` (of the time signature).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from musiclib.piece import MAX_BAR, Piece, write_note

from musiclib.roll import (  # isort: skip
    FIRST_KEY, HOLD, N_KEYS, N_VOICE_CODES, ONSET, REST, STEPS_PER_QUARTER, SUSTAIN, Bars,
    fold_to_piano, roll_to_notes
)  # fmt: skip

N_METRES = 2 * MAX_BAR  # without bars of class 2, which add `MAX_BAR` more
N_REGISTERS = 12
MAX_VOICES = 8
SILENT, HELD, STARTS = 0, 1, 2
MARGIN = 2  # extra keys that a key codec keeps on each side of the training pieces' keys
SEGMENT_BARS = 4
FEW_SEGMENTS = 50  # with fewer, a GAN is likely to memorise its pieces (our choice)
MAX_WINDOW_BYTES = 4_000_000_000  # most that the windows of one cut may take


def bar_class(bar: int) -> int:
    """Return the class, 0 to 2, of a bar of `bar` steps."""
    return 0 if bar > 0 and bar & (bar - 1) == 0 else 1 if bar % 3 == 0 else 2


def count_metres(bars: Iterable[int]) -> int:
    """Return how many values the metre has, from the bars of the training pieces."""
    return MAX_BAR * max(2, *(1 + bar_class(bar) for bar in bars), 0)


def bar_position(metre: np.ndarray) -> np.ndarray:
    """Return the steps since the bar line, 0 to 63, of a metre of any shape."""
    return np.asarray(metre) % MAX_BAR


def continued_metre(example: Example, *, length: int) -> np.ndarray:
    """Return `length` steps of metre for a new piece that starts like `example`."""
    start = bar_position(example.metre[0])
    place = (start + np.arange(length)) % min(example.bar, MAX_BAR)
    return (example.metre[0] - start + place).astype(np.int32)


def bars_of(example: Example | KeyExample) -> Bars:
    """Return the bars of a new piece with the `continued_metre` of `example`."""
    bar = min(example.bar, MAX_BAR)
    upbeat = -int(bar_position(example.metre[0])) % bar
    return Bars(bar, upbeat, example.denominator)


def commonest_bars(pieces: Sequence[Piece]) -> Bars:
    """Return bars of the commonest length, with its commonest denominator and no upbeat."""
    bar = Counter(piece.bar for piece in pieces).most_common(1)[0][0]
    names = Counter(piece.denominator for piece in pieces if piece.bar == bar)
    return Bars(bar, denominator=names.most_common(1)[0][0])


class _Codec:
    n_metres: int

    def to_dict(self) -> dict[str, int]:
        """Return the codec's numbers for a weights card; `n_metres` only if it is unusual."""
        usual = ("n_metres", N_METRES)  # earlier cards do not name it
        return {name: number for name, number in asdict(self).items() if (name, number) != usual}

    def _context(self, piece: Piece) -> tuple[np.ndarray, int, int, int]:
        kind = min(bar_class(piece.bar), self.n_metres // MAX_BAR - 1)
        metre = piece.position.astype(np.int32) % MAX_BAR + MAX_BAR * kind
        return metre, piece.shift % N_REGISTERS, piece.bar, piece.denominator


def _original_key(key: np.ndarray, register: int) -> np.ndarray:
    return fold_to_piano(key - ((int(register) + 6) % N_REGISTERS - 6))


def separate_voices(roll: np.ndarray, *, n_voices: int) -> np.ndarray:
    """Spread the notes of a roll over 1 to 16 voices; a note is skipped if none is free.

    Our choice: at each step the new notes go to the free voices at the least summed distance from
    their last pitches; ties keep the order of pitch. Voices start spread over the roll's range.
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.7 s, so only here

    if not 1 <= n_voices <= 16:
        raise ValueError(f"n_voices must lie between 1 and 16, got {n_voices}")
    notes, voices = roll_to_notes(roll), np.zeros((len(roll), n_voices), np.int16)
    if not len(notes):
        return voices
    high, low = np.percentile(notes[:, 2], [90, 10])
    last, busy_until = np.linspace(high, low, n_voices), np.zeros(n_voices, int)
    for step in np.unique(notes[:, 0]):
        new = notes[notes[:, 0] == step][::-1]  # the highest first
        free = np.flatnonzero(busy_until <= step)
        rows, columns = linear_sum_assignment(np.abs(new[:, 2, None] - last[free]) ** 0.999)
        for (start, end, key), voice in zip(new[rows], np.sort(free[columns]), strict=True):
            write_note(voices[:, voice], start, end, key)
            last[voice], busy_until[voice] = key, end
    return voices


def voices_to_roll(voices: np.ndarray) -> np.ndarray:
    """Draw voices as a roll; a hold after a rest is silent, and notes on one key merge."""
    voices = np.asarray(voices)
    if voices.ndim != 2 or not np.issubdtype(voices.dtype, np.integer):
        got = f"{voices.dtype} with shape {voices.shape}"
        raise ValueError(f"voices must be integers with shape (T, V), got {got}")
    if voices.size and not (voices.min() >= REST and voices.max() < N_VOICE_CODES):
        got = f"{int(voices.min())} to {int(voices.max())}"
        raise ValueError(f"voice codes must lie between 0 and {N_VOICE_CODES - 1}, got {got}")
    roll = np.zeros((len(voices), N_KEYS, 2), np.uint8)
    onsets = voices.astype(np.int64) - FIRST_KEY
    for channel, key in ((SUSTAIN, voice_keys(voices)), (ONSET, onsets)):
        step, voice = np.nonzero(key >= 0)
        roll[step, key[step, voice], channel] = 1
    return roll


def voice_keys(voices: np.ndarray) -> np.ndarray:
    """Return the key that each voice sounds at each step, int64 (T, V), -1 where it rests."""
    codes = np.asarray(voices, np.int64)
    event = codes != HOLD
    last = np.maximum.accumulate(np.where(event, np.arange(len(codes))[:, None], -1), axis=0)
    at_event = np.take_along_axis(codes, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (at_event >= FIRST_KEY), at_event - FIRST_KEY, -1)


@dataclass(frozen=True)
class Example:  # Hold a piece as a model of voices reads it; `bar` is in steps
    name: str
    codes: np.ndarray
    sounds: np.ndarray
    metre: np.ndarray
    register: int
    bar: int
    denominator: int = 4


@dataclass(frozen=True)
class VoiceCodec(_Codec):
    """Turn pieces into codes and back: V voices, `n_keys` keys from `lowest` (0 to 87) up."""

    lowest: int
    n_keys: int
    n_voices: int
    n_metres: int = N_METRES

    @property
    def n_codes(self) -> int:
        return FIRST_KEY + self.n_keys

    @property
    def n_sounds(self) -> int:
        return 1 + self.n_keys

    def encode(self, piece: Piece) -> Example:
        """Write a piece as voices: its own lines if there are V of them, else separated voices."""
        voices = _transposed_voices(piece, self.n_voices)
        key = np.where(voices >= FIRST_KEY, voices - FIRST_KEY - self.lowest, 0)
        key = np.where(key < 0, key % 12, key)
        key = key - 12 * -(-np.maximum(key - self.n_keys + 1, 0) // 12)
        codes = np.where(voices >= FIRST_KEY, key + FIRST_KEY, voices).astype(np.int32)
        sounds = (voice_keys(codes) + 1).astype(np.int32)
        return Example(piece.name, codes, sounds, *self._context(piece))

    def decode(self, codes: np.ndarray, register: int) -> np.ndarray:
        """Turn codes back into a roll in the original key: the inverse of `encode`."""
        codes = np.asarray(codes)
        if codes.size and not (codes.min() >= REST and codes.max() < self.n_codes):
            raise ValueError(f"codes must lie between 0 and {self.n_codes - 1}")
        key = _original_key(codes - FIRST_KEY + self.lowest, register)
        return voices_to_roll(np.where(codes >= FIRST_KEY, key + FIRST_KEY, codes))


def fit_voice_codec(pieces: Sequence[Piece]) -> VoiceCodec:
    """Return the voice codec of a corpus's training pieces: at least an octave of keys."""
    n_voices = choose_voices(pieces)
    codes = np.concatenate([np.unique(_transposed_voices(p, n_voices)) for p in pieces])
    keys = codes[codes >= FIRST_KEY] - FIRST_KEY
    lowest = min(int(keys.min()), N_KEYS - 12)
    n_metres = count_metres(p.bar for p in pieces)
    return VoiceCodec(lowest, max(int(keys.max()) - lowest + 1, 12), n_voices, n_metres)


def voices_written(pieces: Sequence[Piece]) -> int:
    """Return in how many voices more than half of the pieces are written, or 0."""
    common, count = Counter(p.lines.shape[1] for p in pieces).most_common(1)[0]
    return common if count > len(pieces) / 2 else 0


def choose_voices(pieces: Sequence[Piece]) -> int:
    """Return how many voices a corpus needs: its tracks, or for 99 % of the steps (our choice)."""
    if written := voices_written(pieces):
        return written
    counts = np.concatenate([p.roll[..., SUSTAIN].sum(axis=1) for p in pieces])
    return int(np.clip(np.percentile(counts[counts > 0], 99), 1, MAX_VOICES))


def _transposed_voices(piece: Piece, n_voices: int) -> np.ndarray:
    voices = piece.lines
    if voices.shape[1] != n_voices:
        voices = separate_voices(piece.roll, n_voices=n_voices)
    voices = voices.astype(np.int32)
    key = fold_to_piano(voices - FIRST_KEY + piece.shift)
    return np.where(voices >= FIRST_KEY, key + FIRST_KEY, voices)


def bar_segments(pieces: Sequence[Piece]) -> tuple[int, int, list[tuple[int, int]]]:
    """Find a GAN's segments: whole ones of `SEGMENT_BARS` bars that begin on a bar line.

    Returns the commonest bar in steps, a segment's quarters, and the piece and step of each.
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


def describe_segments(pieces: Sequence[Piece]) -> str:
    """Say how many segments the training pieces give a GAN; refuse pieces that give none."""
    bar, quarters, starts = bar_segments(pieces)
    same = sum(piece.bar == bar for piece in pieces)
    common = f"the commonest bar ({bar / STEPS_PER_QUARTER:g} quarters)"
    said = f"{len(starts)} segments of {quarters} quarters that begin on a bar line"
    said += f", in the {same} of {len(pieces)} training pieces with {common}"
    if not starts:
        raise ValueError(f"{said}; the GAN of notebook 03 needs one, so give longer pieces")
    few = "; with so few, a GAN may memorise them" if len(starts) < FEW_SEGMENTS else ""
    return said + few


def cut(
    examples: Sequence[Example], starts: Sequence[tuple[int, int]] | np.ndarray, *, length: int
) -> dict[str, np.ndarray]:
    """Cut N windows of L = `length` steps, each from one step of one example on.

    Returns ``codes`` and ``sounds`` (N, L, V), ``before`` (N, L, V): the sounds one step earlier,
    rests where the piece begins; ``metre`` (N, L), ``register`` (N,), and ``mask`` (N, L) float32,
    0 where a window is padded with rests. More than `MAX_WINDOW_BYTES` is refused.
    """
    n, voices = len(starts), examples[0].codes.shape[1]
    size = 4 * n * length * (3 * voices + 2)
    if size > MAX_WINDOW_BYTES:
        what = f"{n:,} windows of {length:,} steps take {size / 1e6:,.0f} MB"
        most = f"at most {MAX_WINDOW_BYTES / 1e6:,.0f} MB are cut at once"
        raise ValueError(f"starts: {what}, and {most}; cut fewer")
    out = {k: np.zeros((n, length, voices), np.int32) for k in ("codes", "sounds", "before")}
    out |= {"metre": np.zeros((n, length), np.int32), "mask": np.zeros((n, length), np.float32)}
    out["register"] = np.array([examples[i].register for i, _ in starts], np.int32)
    for row, (i, start) in enumerate(starts):
        example, steps = examples[i], len(examples[i].codes)
        if not 0 <= start < steps:
            raise ValueError(f"starts: step {start} is not one of {example.name}'s {steps}")
        steps = min(length, steps - start)
        for name in ("codes", "sounds", "metre"):
            out[name][row, :steps] = getattr(example, name)[start : start + steps]
        out["mask"][row, :steps] = 1
        out["before"][row, 1:steps] = out["sounds"][row, : steps - 1]
        if start > 0:
            out["before"][row, 0] = example.sounds[start - 1]
    return out


def restart_cut_notes(window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Make the windows of `cut` independent: a note cut by a window's start begins there."""
    out = {k: v.copy() for k, v in window.items()}
    first = out["sounds"][:, 0]
    out["codes"][:, 0] = np.where(first > 0, first + FIRST_KEY - 1, REST)
    out["before"][:, 0] = 0
    return out


@dataclass(frozen=True)
class KeyExample:  # Hold a piece as a model of keys reads it
    name: str
    codes: np.ndarray
    metre: np.ndarray
    register: int = 0
    bar: int = 16
    denominator: int = 4


@dataclass(frozen=True)
class KeyCodec(_Codec):
    """Turn rolls into key codes and back; `frames` is the number of training frames."""

    lowest: int
    n_keys: int
    onsets: bool
    frames: int
    n_metres: int = N_METRES

    @property
    def n_states(self) -> int:
        return 3 if self.onsets else 2

    def encode_frames(self, frames: np.ndarray) -> KeyExample:
        """Write a benchmark's piece as key codes, without the notes outside the K keys."""
        codes = frames[:, self.lowest : self.lowest + self.n_keys].astype(np.uint8)
        return KeyExample("", codes, np.zeros(len(codes), np.int32))

    def nll_outside(self, frames: np.ndarray) -> np.ndarray:
        """Return the nats (T - 1,) of a benchmark's other keys; Laplace: p = 1 / (frames + 2)."""
        out = np.delete(frames[1:], np.arange(self.lowest, self.lowest + self.n_keys), axis=1)
        p = 1 / (self.frames + 2)
        return np.where(out > 0, -np.log(p), -np.log1p(-p)).sum(axis=1)

    def encode(self, piece: Piece) -> KeyExample:
        """Write a piece as key codes."""
        codes = piece.roll[..., SUSTAIN].astype(np.uint8)
        if self.onsets:
            codes = codes + (codes & piece.roll[..., ONSET])
        out = np.zeros((len(codes), self.n_keys), np.uint8)
        for key in np.flatnonzero(codes.any(axis=0)):
            place = int(key) + piece.shift - self.lowest
            while not 0 <= place < self.n_keys:
                place += 12 if place < 0 else -12
            out[:, place] = np.maximum(out[:, place], codes[:, key])
        return KeyExample(piece.name, out, *self._context(piece))

    def decode(self, codes: np.ndarray, register: int = 0) -> np.ndarray:
        """Turn key codes back into a roll in the original key; a hold after silence starts."""
        codes, states = np.asarray(codes), self.n_states
        if codes.shape[1:] != (self.n_keys,) or not np.isin(codes, range(states)).all():
            wanted = f"(T, {self.n_keys}) of codes below {states}"
            raise ValueError(f"codes: got shape {codes.shape}, wanted {wanted}")
        keys = _original_key(np.arange(self.n_keys) + self.lowest, register)
        roll = np.zeros((len(codes), N_KEYS, 2), np.uint8)
        for place in np.flatnonzero(codes.any(axis=0)):
            sounds = codes[:, place] > 0
            roll[:, keys[place], SUSTAIN] |= sounds
            sounds[1:] &= ~sounds[:-1] | (codes[1:, place] == STARTS)
            roll[:, keys[place], ONSET] |= sounds
        return roll


def fit_key_codec(
    rolls: Sequence[np.ndarray], *, shifts: Sequence[int] | None = None, bars: Sequence[int] = ()
) -> KeyCodec:
    """Return the key codec of training rolls, moved by `shifts`: at least an octave and a half."""
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


def lead_in(example: KeyExample) -> KeyExample:
    """Put a silent step before a piece, so that its first step is predicted too."""
    codes = np.pad(example.codes, ((1, 0), (0, 0)))
    return replace(example, codes=codes, metre=np.r_[example.metre[:1], example.metre])


def excerpt(example: KeyExample, start: int, length: int) -> KeyExample:
    """Take `length` steps of a piece and the one before them."""
    part = slice(start, start + length + 1)
    return replace(example, codes=example.codes[part], metre=example.metre[part])


def pad(
    examples: Sequence[KeyExample], *, unlike: Sequence[KeyExample] | None = None
) -> dict[str, np.ndarray]:
    """Lay N pieces of two steps or more side by side, padded with silence to a common length L.

    L is a multiple of 8, so that few lengths occur. If N or L equals that of the pieces `unlike`,
    it is padded by one. Returns ``before`` and ``now`` (N, L, K) int32: steps 0 to T - 2 and 1 to T
    - 1; ``metre`` and ``register`` (N, L) int32 of the step that is predicted; ``mask`` (N, L)
    float32, 0 where padded.
    """
    size, keys = _padded_size(examples), examples[0].codes.shape[1]
    out = {k: np.zeros((*size, keys), np.int32) for k in ("before", "now")}
    out |= {k: np.zeros(size, np.int32) for k in ("metre", "register")}
    out["mask"] = np.zeros(size, np.float32)
    for row, example in enumerate(examples):
        steps = len(example.codes) - 1
        out["before"][row, :steps] = example.codes[:-1]
        out["now"][row, :steps] = example.codes[1:]
        out["metre"][row, :steps] = example.metre[1:]
        out["register"][row] = example.register
        out["mask"][row, :steps] = 1
    if unlike is None:
        return out
    more = [(0, int(a == b)) for a, b in zip(size, _padded_size(unlike), strict=True)]
    return {k: np.pad(v, more + [(0, 0)] * (v.ndim - 2)) for k, v in out.items()}


def _padded_size(examples: Sequence[KeyExample]) -> tuple[int, int]:
    return len(examples), -(-(max(len(e.codes) for e in examples) - 1) // 8) * 8
