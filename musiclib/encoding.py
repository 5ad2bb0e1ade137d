"""What the models read and write: normalised voices in, rolls in the original key out.

Conventions: a model sees V monophonic voices (`musiclib.voices`) of a piece moved to C major or A
minor, its keys trimmed to those that the training pieces use. *Codes* are ``int32 (T, V)``: 0 rest,
1 hold, ``2 + k`` onset of trimmed key k. *Sounds* are ``int32 (T, V)``: 0 rest, ``1 + k`` sounding
key k. *Metre* is ``int32 (T,)``: steps since the bar line, plus 64 times the class of the piece's
bars: 0 for 2/4, 4/4, 4/2 (a power of two of steps), 1 for 3/8, 3/4, 6/8, 9/8, 3/2 (a multiple of
three), 2 for 5/4, 7/8 and the like. Class 2 is there only in a corpus whose training pieces have
such bars. *Register* is ``int32``: the piece's `shift` modulo 12, which says how high it lies once
it is moved.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from musiclib.corpus import Piece, load_corpus
from musiclib.pianoroll import FIRST_KEY, HOLD, N_KEYS, REST, STEPS_PER_QUARTER
from musiclib.pieces import MAX_BAR
from musiclib.roll_notes import Bars
from musiclib.splits import SPLITS, load_split
from musiclib.voices import separate_voices, sounding_keys, voices_to_roll

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


def split_pieces(
    prepared: str | os.PathLike[str], split: str | os.PathLike[str]
) -> dict[str, list[Piece]]:
    """Read a prepared corpus by its split.

    Parameters
    ----------
    prepared : path
        Folder that `prepare_corpus` filled.
    split : path
        CSV file that notebook 01 wrote.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test``, each a list of pieces.

    Raises
    ------
    FileNotFoundError, ValueError
        When notebook 01 has not been run, or the two do not name the same pieces.
    """
    pieces = {p.name: p for p in load_corpus(prepared)}
    table = load_split(split)
    if set(table["piece"]) != set(pieces):
        raise ValueError(f"{split} and {prepared} name different pieces; run notebook 01 again")
    return {s: [pieces[n] for n in table.loc[table["split"] == s, "piece"]] for s in SPLITS}


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


__all__ = [
    "FEW_SEGMENTS", "HOLD", "N_METRES", "N_REGISTERS", "SEGMENT_BARS", "Example", "VoiceCodec",
    "bar_class", "bar_position", "bar_segments", "bars_of", "begin_afresh", "card_numbers",
    "choose_voices", "commonest_bars", "count_metres", "cut", "fit_codec", "metre_codes",
    "play_metre", "split_pieces",
]  # fmt: skip
