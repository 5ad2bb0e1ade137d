"""One MIDI file -> one prepared piece and one row of the report, whatever is wrong with the file.

Conventions: a row is a dict of `REPORT_COLUMNS`. `prepare_file` runs in this process or in another
(`musiclib.workers`), so it takes and gives what JSON can say. What is the file's own fault stands
in the row; only what concerns all files (a full disk) is raised.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import time
import warnings
from importlib.metadata import version
from typing import Any

from musiclib import pieces
from musiclib.code_hash import code_hash
from musiclib.midi import MidiFileError, parse_midi, printable, read_midi_bytes
from musiclib.pieces import Piece, pedal_lengthens, piece_from_midi, store_piece

REPORT_COLUMNS = [
    "file", "status", "reason", "notes", "seconds", "sha256", "steps", "off_grid", "merged",
    "collided", "free", "pedal", "piece_sha256", "made_by", "other_steps", "other_sha256",
]  # fmt: skip
HELD, IGNORED = "held", "ignored"
"""What was done about a sustain pedal that lengthens notes."""
MAX_SECONDS = 10.0
"""Wall-clock time that one file may take."""
MAX_MEMORY = 1_000_000_000
"""Bytes that a process that reads files may hold."""


@functools.cache
def _code() -> str:
    return f"{version('pretty_midi')}-{code_hash(prepare_file)[:12]}"


def made_by() -> str:
    """Return what decides a piece beside its file: the layout, pretty_midi and the code."""
    return f"{pieces.VERSION}-{_code()}"


def row_of(file: str, status: str, reason: str, **values: object) -> dict[str, Any]:
    """Return a row of the report; the grid's cost is unknown where nothing was converted."""
    row = {"file": file, "status": status, "reason": reason, "notes": 0, "seconds": 0.0}
    row |= {"sha256": "", "steps": 0, "off_grid": math.nan, "merged": math.nan}
    row |= {"collided": math.nan, "free": math.nan, "pedal": "", "piece_sha256": "", "made_by": ""}
    return row | {"other_steps": 0, "other_sha256": ""} | values


def digest_of(path: str | os.PathLike[str], *, file: str) -> tuple[str, str]:
    """Return the SHA-256 of a MIDI file's content, or "" and why there is none."""
    try:
        return hashlib.sha256(read_midi_bytes(path)).hexdigest(), ""
    except MidiFileError as error:
        return "", _within(str(error), path, file)


def prepare_file(path: str, file: str, digest: str, folder: str) -> dict[str, Any]:
    """Prepare one file and return its row; whatever is wrong with it stands in the row.

    Parameters
    ----------
    path : str
        The MIDI file.
    file : str
        What the report calls it.
    digest : str
        SHA-256 of its content, 64 hexadecimal digits.
    folder : str
        Receives the piece, and a second one with the sustain pedal held where that differs.

    Returns
    -------
    dict
        As `row_of`, of the piece without the pedal. Its ``sha256`` is empty where reading again
        may end otherwise.

    Raises
    ------
    OSError
        When `folder` cannot be written, with one sentence that says what to do.
    MemoryError
        When there is not enough memory.
    """
    began = time.perf_counter()
    try:
        piece, held, loss, remarks = _read_piece(path, file=file, digest=digest)
    except _ChangedError as error:
        row = row_of(file, "refused", str(error))
    except MemoryError:
        raise
    except ValueError as error:
        reason = _within(str(error), path, file)
        row = row_of(file, "refused", reason, sha256=digest, made_by=made_by())
    except Exception as error:  # a fault of ours must not stop the other files
        row = row_of(file, "refused", f"cannot prepare {file}: {type(error).__name__}: {error}")
    else:
        stored = store_piece(piece, folder)
        known = {"sha256": digest, "piece_sha256": stored, "made_by": made_by()}
        if held is not None:
            known |= {"pedal": IGNORED, "other_steps": len(held.roll)}
            known |= {"other_sha256": store_piece(held, folder)}
        steps = len(piece.roll)
        row = row_of(file, "converted", _within(remarks, path, file), steps=steps, **loss, **known)
    return row | {"seconds": round(time.perf_counter() - began, 4)}


class _ChangedError(Exception):
    """Say that a file was exchanged while it was read."""


def _read_piece(
    path: str, *, file: str, digest: str
) -> tuple[Piece, Piece | None, dict[str, float], str]:
    """Return a file's piece, the one with its pedal held, the grid's cost, and the warnings."""
    try:
        data = read_midi_bytes(path)
    except MidiFileError as error:
        raise _ChangedError(_within(str(error), path, file)) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise _ChangedError(f"{file} changed while it was read; run again")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        midi = parse_midi(data, name=file)
        name = file.removesuffix(".mid")
        piece, loss = piece_from_midi(midi, name=name)
        held = None
        if pedal_lengthens(midi):
            held, _ = piece_from_midi(midi, name=name, sustain_pedal=True)
    remarks = list(dict.fromkeys(str(each.message) for each in caught))
    if not loss["notes"]:
        drums = sum(len(track.notes) for track in midi.instruments if track.is_drum)
        told = f" ({drums:,} of percussion)" if drums else ""
        none = f"{file}: no note of a pitched instrument within a piano's 88 keys{told}"
        raise MidiFileError("; ".join([none, *remarks]))
    if collided := round(loss["collided"] * loss["notes"]):
        remarks.append(
            f"{collided:,} of {loss['notes']:,} notes collided on the grid: their key is struck "
            "already on the same step"
        )
    return piece, held, loss, "; ".join(remarks)


def _within(sentence: str, path: str | os.PathLike[str], file: str) -> str:
    """Return a sentence in which the file is named as the report names it, on one line."""
    return " ".join(sentence.replace(printable(path), file).split())
