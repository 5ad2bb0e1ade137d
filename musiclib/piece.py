"""One piece as the models see it: its roll, lines, metre, key and tempo, and how it is stored.

Conventions: rolls and voice codes are those of `musiclib.roll`. *Lines* are the tracks of a file as
voices, ``int16 (T, L)``. *Position* counts steps since the bar line. *Shift* is the transposition,
-6 to 5 semitones, that brings a piece to C major or A minor. A prepared piece is one ``.npz``
without pickles, named by its SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import struct
import warnings
import zipfile
import zlib
from collections import Counter

import numpy as np
import pretty_midi

from musiclib.files import atomic_path, read_regular, safe_join
from musiclib.midi import note_array

from musiclib.roll import (  # isort: skip
    DENOMINATORS, FIRST_KEY, HOLD, LOWEST_PITCH, MAX_STEPS, N_KEYS, STEPS_PER_BAR,
    STEPS_PER_QUARTER, SUSTAIN, fold_to_piano, grid_notes, notes_to_roll, quantise
)  # fmt: skip

MAX_LINES = 8  # files with more tracks than this are not read as lines
MAX_BAR = 64  # longest bar that a position can count, in steps; in longer ones it restarts at 0
VERSION = 2  # layout of prepared pieces; pieces of another version are prepared again
MAX_STORED, MAX_UNPACKED = 64_000_000, 256_000_000  # bytes of a piece's file, and of what is in it

_TRIPLETS, _OFF = 6, 1 / 48  # triplet sixteenths per quarter note; quarters
_DAMAGE = (
    KeyError, ValueError, TypeError, EOFError, OverflowError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip

# Krumhansl & Kessler (1982), probe-tone profiles, as in Krumhansl, Cognitive Foundations (1990).
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Hold a prepared piece, named by its file's path in the source folder, without ``.mid``.

    `lines` has L = 0 unless every track is one line. `position` is uint8 (T,). `bar` (in steps) and
    its `denominator` are the commonest, `tempo` is the first, in quarter notes per minute.
    """

    name: str
    roll: np.ndarray
    lines: np.ndarray
    position: np.ndarray
    bar: int
    shift: int
    tempo: float
    denominator: int = 4


def piece_from_midi(
    midi: pretty_midi.PrettyMIDI, *, name: str, sustain_pedal: bool = False
) -> tuple[Piece, dict[str, float]]:
    """Return a MIDI piece prepared from its first sounding bar on, and what the grid cost it.

    The cost is counted on the notes as played, whatever the pedal does: `notes` (with a pitch that
    a piano has), `off_grid` (share of them whose start or end moves by more than 1 % of a step),
    `merged` (share that is a unison with another: same pitch, same start), `collided` (share that
    starts on the same step as another note of its pitch, but not at the same time), `free` (share
    of all notes that begin off the grid of sixteenths and triplets by a 48th of a quarter note or
    more, our choice: near 0 for a score, about 2/3 for a performance that follows no beat of its
    file). A warning tells of skipped notes and bars of rest.
    """
    played = note_array(midi)
    notes = note_array(midi, sustain_pedal=True) if sustain_pedal else played
    roll = notes_to_roll(notes)
    position, bar, denominator = metre(midi, steps=len(roll))
    lines, shift = notes_to_lines(notes, steps=len(roll)), estimate_shift(roll)
    tempo = float(midi.get_tempo_changes()[1][0])
    whole = Piece(name, roll, lines, position, bar, shift, tempo, denominator)
    piece = trim_leading_rests(whole)
    if rest := len(whole.roll) - len(piece.roll):
        message = f"it begins with {rest / STEPS_PER_QUARTER:g} quarters of rest, skipped here"
        warnings.warn(message, stacklevel=2)
    return piece, _grid_loss(played)


def pedal_lengthens(midi: pretty_midi.PrettyMIDI) -> bool:
    """Return whether any note sounds longer because of the sustain pedal."""
    played, heard = (note_array(midi, sustain_pedal=held) for held in (False, True))
    return not np.array_equal(played["duration_quarter"], heard["duration_quarter"])


def notes_to_lines(notes: np.ndarray, *, steps: int) -> np.ndarray:
    """Return the tracks of a note array as lines, the highest by mean pitch first.

    L is 0 if a track ever sounds two notes at once or leaves the piano, or if it is the only one.
    """
    tracks = np.unique(notes["track"])
    none = np.zeros((steps, 0), np.int16)
    if not 2 <= len(tracks) <= MAX_LINES:
        return none
    lines = np.zeros((steps, len(tracks)), np.int16)
    order = sorted(tracks, key=lambda t: -notes["pitch"][notes["track"] == t].mean())
    for column, track in enumerate(order):
        start, end, key = grid_notes(notes[notes["track"] == track])
        if (start[1:] < end[:-1]).any() or (key < 0).any() or (key >= N_KEYS).any():
            return none
        for note in zip(start, end, key, strict=True):
            write_note(lines[:, column], *note)
    return lines


def write_note(line: np.ndarray, start: int, end: int, key: int) -> None:
    """Write a note into a line of voice codes."""
    line[start] = FIRST_KEY + key
    line[start + 1 : end] = HOLD


def metre(midi: pretty_midi.PrettyMIDI, *, steps: int) -> tuple[np.ndarray, int, int]:
    """Return each step's position, the commonest bar in steps, and its denominator.

    They follow the time signatures, 4/4 where there is none. A first bar that is shorter than the
    next one is an upbeat and is counted from its end.
    """
    bars = {0: (STEPS_PER_BAR, 4)}  # from each step on; the later of two at a step counts
    for change in sorted(midi.time_signature_changes, key=lambda c: c.time):
        quarter = midi.time_to_tick(change.time) / midi.resolution
        length = int(STEPS_PER_BAR * change.numerator / change.denominator)
        bars[int(quantise(quarter))] = max(length, 1), change.denominator
    segments = np.array([(start, *bar) for start, bar in sorted(bars.items())])
    at = np.searchsorted(segments[:, 0], np.arange(steps), side="right") - 1
    start, length, denominator = segments[at].T
    if len(segments) > 1:
        upbeat = min(int(segments[1, 0]), steps)
        if upbeat <= segments[0, 1] < segments[1, 1]:
            start[:upbeat] = upbeat
            length[:upbeat], denominator[:upbeat] = segments[1, 1:]
    position = (np.arange(steps) - start) % length % MAX_BAR
    bar, under = STEPS_PER_BAR, 4
    if steps:
        bar = Counter(length.tolist()).most_common(1)[0][0]
        under = Counter(denominator[length == bar].tolist()).most_common(1)[0][0]
    return position.astype(np.uint8), min(bar, MAX_BAR), under


def trim_leading_rests(piece: Piece) -> Piece:
    """Return a piece without the bars of rest at its beginning; a silent one stays as it is."""
    sounding = np.flatnonzero(piece.roll[..., SUSTAIN].any(axis=1))
    bar_lines = np.flatnonzero(piece.position[: sounding[0] + 1] == 0) if len(sounding) else []
    if not len(bar_lines) or bar_lines[-1] == 0:
        return piece
    parts = {name: getattr(piece, name)[bar_lines[-1] :] for name in ("roll", "lines", "position")}
    return dataclasses.replace(piece, **parts)


def _grid_loss(notes: np.ndarray) -> dict[str, float]:
    onset = notes["onset_quarter"]
    off = [np.abs(onset * n - np.rint(onset * n)) / n for n in (STEPS_PER_QUARTER, _TRIPLETS)]
    free = (np.min(off, axis=0) > _OFF).sum() / max(len(onset), 1)
    notes = notes[np.isin(notes["pitch"], np.arange(N_KEYS) + LOWEST_PITCH)]
    edges = np.stack([notes["onset_quarter"], notes["onset_quarter"] + notes["duration_quarter"]])
    moved = np.abs(edges * STEPS_PER_QUARTER - quantise(edges)) > 0.01
    struck = np.unique(notes[["onset_quarter", "pitch"]])
    drawn = np.unique([quantise(struck["onset_quarter"]), struck["pitch"]], axis=1)
    n = max(len(notes), 1)
    return {
        "notes": len(notes),
        "off_grid": float(moved.any(axis=0).sum() / n),
        "merged": float((len(notes) - len(struck)) / n),
        "collided": float((len(struck) - drawn.shape[1]) / n),
        "free": float(free),
    }


def estimate_shift(roll: np.ndarray) -> int:
    """Estimate the shift of a roll by Krumhansl and Schmuckler's method; 0 if no key stands out.

    The probe-tone profile of the key correlates best with the time that each pitch class sounds.
    """
    sounding = roll[..., SUSTAIN].sum(axis=0, dtype=np.int64)
    classes = np.bincount((np.arange(N_KEYS) + LOWEST_PITCH) % 12, weights=sounding, minlength=12)
    if np.ptp(classes) == 0:
        return 0
    profiles = [np.roll(p, k) for p in (_MAJOR, _MINOR) for k in range(12)]
    best = int(np.argmax([np.corrcoef(p, classes)[0, 1] for p in profiles]))
    major = best if best < 12 else best - 12 + 3
    return (6 - major) % 12 - 6


def to_common_key(piece: Piece) -> np.ndarray:
    """Return a piece's roll moved by its shift, on the piano; notes that meet become one."""
    place = fold_to_piano(np.arange(N_KEYS) + piece.shift)
    moved = np.zeros_like(piece.roll)
    for key in np.flatnonzero(piece.roll.any(axis=(0, 2))):
        moved[:, place[key]] |= piece.roll[:, key]
    return moved


def store_piece(piece: Piece, folder: str | os.PathLike[str]) -> str:
    """Write a prepared piece to a file named by its own SHA-256, and return the hash."""
    data = _packed(piece)
    digest = hashlib.sha256(data).hexdigest()
    with atomic_path(safe_join(folder, f"{digest}.npz")) as temporary:
        temporary.write_bytes(data)
    return digest


def _packed(piece: Piece) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file, version=VERSION, roll=np.packbits(piece.roll), steps=len(piece.roll),
        lines=piece.lines, position=piece.position, bar=piece.bar, shift=piece.shift,
        tempo=piece.tempo, denominator=piece.denominator, name=piece.name,
    )  # fmt: skip
    return file.getvalue()


def load_piece(path: str | os.PathLike[str], *, sha256: str | None = None) -> Piece:
    """Read a prepared piece, checking its SHA-256 if given; no pickle is ever loaded."""
    try:
        data = read_regular(path, limit=MAX_STORED)
        if sha256 not in (None, hashlib.sha256(data).hexdigest()):
            raise ValueError("its SHA-256 is not the one in the report")
        return _unpacked(data)
    except (*_DAMAGE, OSError) as error:
        advice = "run notebook 01 (data preparation) again"
        raise ValueError(f"{path} is not a prepared piece ({error}); {advice}") from error


def _unpacked(data: bytes) -> Piece:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_UNPACKED:
        raise ValueError(f"it unpacks to {size:,} bytes, and at most {MAX_UNPACKED:,} are read")
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        if (version := int(stored["version"])) != VERSION:
            raise ValueError(f"version {version}, this musiclib reads {VERSION}")
        if not 0 <= (steps := int(stored["steps"])) <= MAX_STEPS:
            raise ValueError(f"{steps:,} steps; allowed: 0 to {MAX_STEPS:,}")
        roll = np.unpackbits(stored["roll"], count=steps * N_KEYS * 2).reshape(steps, N_KEYS, 2)
        lines, position = stored["lines"], stored["position"]
        if lines.ndim != 2 or (len(lines), *position.shape) != (steps, steps):
            raise ValueError(f"{lines.shape} lines and {position.shape} places of {steps} steps")
        if (denominator := int(stored["denominator"])) not in DENOMINATORS:
            raise ValueError(f"denominator {denominator}; allowed: {DENOMINATORS}")
        return Piece(
            str(stored["name"]), roll, lines, position,
            int(stored["bar"]), int(stored["shift"]), float(stored["tempo"]), denominator,
        )  # fmt: skip
