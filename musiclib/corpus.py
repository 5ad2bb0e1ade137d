"""Where music comes from: a folder of MIDI files made into pieces, with a report of each entry.

Conventions: a corpus is a folder of prepared pieces, one ``.npz`` a piece named by its own
SHA-256, beside ``report.csv`` (one row an entry). Its bytes depend on the source folder and
on the code alone: not on the number of processes, nor on how often the work was broken off. The
bundled chorales are first written as MIDI (`musiclib.chorales`) and then take the same path as
anybody's folder. What a piece is stands in `musiclib.pieces`, whose names can be had from here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from musiclib.corpus_report import (
    REPORT,
    Row,
    known_rows,
    note_rows,
    piece_path,
    read_report,
    read_with_pedal,
    write_report,
)
from musiclib.entries import MIDI_SUFFIXES, Entry, find_midi, list_entries
from musiclib.files import locked, remove_leftovers
from musiclib.pieces import (
    MAX_BAR,
    VERSION,
    Piece,
    estimate_shift,
    in_one_key,
    load_piece,
    metre,
    piece_from_midi,
)
from musiclib.preparing import (
    MAX_MEMORY,
    MAX_SECONDS,
    REPORT_COLUMNS,
    digest_of,
    prepare_file,
    row_of,
)
from musiclib.workers import LOST, TOO_LARGE, Job, cores, run_jobs

__all__ = [
    "MAX_BAR",
    "MIDI_SUFFIXES",
    "REPORT_COLUMNS",
    "VERSION",
    "Piece",
    "estimate_shift",
    "find_midi",
    "in_one_key",
    "load_corpus",
    "load_piece",
    "metre",
    "pedal_asked",
    "piece_from_midi",
    "prepare_corpus",
]

PREPARE = "musiclib.preparing:prepare_file"
_FEW_FILES, _FEW_BYTES = 32, 256 * 1024  # prepared here: that takes less than to start a process


def prepare_corpus(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    max_files: int | None = None,
    sustain_pedal: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Make every MIDI file below a folder into a prepared piece; no file stops the others.

    Parameters
    ----------
    source : path
        Folder of MIDI files, searched through its subfolders; other files are listed, not opened.
    destination : path
        Another folder. Receives a ``.npz`` a piece and ``report.csv``. Run again, only new or
        changed files are read, and pieces of files that are gone are removed; a run that was
        broken off, however it was, goes on where it stopped. Two runs at once take turns.
    max_files : int, optional
        Take so many MIDI files at most, spread evenly over the folder in the order of its names;
        the others have no row. What is no MIDI file by its name uses up nothing.
    sustain_pedal : bool, optional
        Whether notes sound on while the sustain pedal is down. By default they do where it
        lengthens notes in at least half of the pieces (our choice: such a folder is of
        performances, whose notes are released early because the pedal holds them).
    progress : callable, optional
        Called with (entries done, entries in all).
    workers : int, optional
        Processes. By default one a core, or none where there is little to do (at most 32 files of
        256 kB together), which the bounds of `musiclib.midi` keep far within the limits below.

    Returns
    -------
    pd.DataFrame
        One row an entry: file, status (``converted``, ``refused``, or ``skipped`` for what is no
        MIDI file by its name or has the same content as an earlier one), reason, notes, seconds
        (that this run took over it), sha256, steps, off_grid, merged, collided, free (share of the
        notes that begin off the grid, see `pieces.free_onsets`), pedal (``held`` or ``ignored``,
        empty where it lengthens no note), piece_sha256, made_by, and of the same file read the
        other way other_steps and other_sha256. ``report.csv`` has the same but ``seconds``.

    Raises
    ------
    FileNotFoundError
        When there is no such folder, or no MIDI file in it.
    ValueError
        When `destination` is `source`, or `workers` is below 1.
    OSError
        When `destination` cannot be written to, with one sentence that says what to do.

    Notes
    -----
    A file may take ``MAX_SECONDS`` (10 s) and its process hold ``MAX_MEMORY`` (1 GB); one that
    takes more, or whose process dies, is refused, and read again in the next run.
    """
    source, destination = Path(source), Path(destination)
    if workers is not None and workers < 1:
        raise ValueError(f"workers: got {workers}, allowed is 1 or more")
    if source.exists() and destination.exists() and source.samefile(destination):
        raise ValueError(f"destination: got the source folder {source}; name another folder")
    entries = _spread(list_entries(source, leave_out=destination), max_files)
    with locked(destination / REPORT):
        remove_leftovers(destination)
        rows = _prepare(entries, destination, progress, workers)
        held = _needs_pedal(rows) if sustain_pedal is None else sustain_pedal
        return write_report([read_with_pedal(row, held=held) for row in rows], destination)


def pedal_asked() -> bool | None:
    """Return what the environment variable MUSICLIB_PEDAL asks for: `sustain_pedal` of a corpus.

    Returns
    -------
    bool or None
        False for 0, True for 1, None where it is not set or empty.

    Raises
    ------
    ValueError
        When it has another value.
    """
    asked = os.environ.get("MUSICLIB_PEDAL", "").strip()
    if asked not in ("", "0", "1"):
        raise ValueError(f"MUSICLIB_PEDAL: got {asked!r}, allowed are 0, 1 and nothing")
    return bool(int(asked)) if asked else None


def load_corpus(destination: str | os.PathLike[str]) -> list[Piece]:
    """Read all prepared pieces of a corpus, in the report's order.

    Parameters
    ----------
    destination : path
        As given to `prepare_corpus`.

    Returns
    -------
    list of Piece

    Raises
    ------
    FileNotFoundError
        When the corpus has not been prepared.
    ValueError
        When a prepared piece is damaged, or is not the file whose SHA-256 the report has.
    """
    rows = read_report(destination)
    done = rows[rows["status"] == "converted"]
    return [load_piece(piece_path(destination, name), sha256=name) for name in done["piece_sha256"]]


def _spread(entries: list[Entry], max_files: int | None) -> list[Entry]:
    """Return the entries without the MIDI files that are too many, taken out evenly."""
    places = [i for i, entry in enumerate(entries) if entry.is_midi]
    if max_files is None or max_files >= len(places):
        return entries
    if max_files < 1:
        raise ValueError(f"max_files: got {max_files}, allowed is 1 or more")
    taken = {places[k * len(places) // max_files] for k in range(max_files)}
    return [entry for i, entry in enumerate(entries) if i in taken or not entry.is_midi]


def _needs_pedal(rows: Sequence[Row]) -> bool:
    """Say whether the pedal lengthens notes in at least half of the pieces."""
    uses = [row["pedal"] != "" for row in rows if row["status"] == "converted"]
    return any(uses) and 2 * sum(uses) >= len(uses)


def _prepare(
    entries: Sequence[Entry],
    destination: Path,
    progress: Callable[[int, int], None] | None,
    workers: int | None,
) -> list[Row]:
    """Return a row an entry, in order; what is known already is not made again."""
    digests, rows = _read_digests(entries)
    firsts = {digest: i for i, digest in reversed(list(digests.items()))}
    known = known_rows(destination)
    for digest, i in firsts.items():
        if (entries[i].file, digest) in known:
            rows[i] = known[entries[i].file, digest]
    missing = [i for i in sorted(firsts.values()) if i not in rows]
    copies = [i for i, digest in digests.items() if firsts[digest] != i]
    counted = _Counter(len(entries), progress)
    counted.add(len(rows) + len(copies))
    note_rows([rows[i] for i in firsts.values() if i in rows], destination)
    made = _prepare_missing(entries, missing, digests, destination, workers)
    with contextlib.closing(made):
        for i, row in made:
            rows[i] = row
            note_rows([row], destination)
            counted.add(1)
    for i in copies:
        rows[i] = _copy_of(rows[firsts[digests[i]]], entries[i].file, digests[i])
    return [rows[i] for i in range(len(entries))]


def _read_digests(entries: Sequence[Entry]) -> tuple[dict[int, str], dict[int, Row]]:
    """Return the SHA-256 of each file that can be read, and the rows of all other entries."""
    rows = {
        i: row_of(entry.file, "refused" if entry.refused else "skipped", entry.problem)
        for i, entry in enumerate(entries)
        if entry.problem
    }
    readable = [i for i in range(len(entries)) if i not in rows]
    digests = {}
    with ThreadPoolExecutor(cores()) as pool:
        found = pool.map(lambda i: digest_of(entries[i].path, file=entries[i].file), readable)
        for i, (digest, problem) in zip(readable, found, strict=True):
            if digest:
                digests[i] = digest
            else:
                rows[i] = row_of(entries[i].file, "refused", problem)
    return digests, rows


def _prepare_missing(
    entries: Sequence[Entry],
    missing: Sequence[int],
    digests: Mapping[int, str],
    destination: Path,
    workers: int | None,
) -> Iterator[tuple[int, Row]]:
    """Prepare files, here if they are few and small, else in processes; in any order."""
    jobs = [
        {
            "path": str(entries[i].path),
            "file": entries[i].file,
            "digest": digests[i],
            "folder": str(destination),
        }
        for i in missing
    ]
    if workers is None and _are_few([entries[i].path for i in missing]):
        answers = _here(jobs)
    else:
        count = workers or cores()
        answers = run_jobs(PREPARE, jobs, workers=count, seconds=MAX_SECONDS, memory=MAX_MEMORY)
    for number, answer in answers:
        file = entries[missing[number]].file
        if LOST in answer:
            answer = row_of(file, "refused", f"cannot read {file}: {answer[LOST]}")
        yield missing[number], answer


def _here(jobs: Sequence[Job]) -> Iterator[tuple[int, Job]]:
    """Do in this process what `run_jobs` does in others."""
    for number, job in enumerate(jobs):
        try:
            yield number, prepare_file(**job)
        except MemoryError:
            yield number, {LOST: TOO_LARGE}


def _are_few(paths: Sequence[Path]) -> bool:
    try:
        sizes = [path.stat().st_size for path in paths[: _FEW_FILES + 1]]
    except OSError:
        return False
    return len(sizes) <= _FEW_FILES and sum(sizes) <= _FEW_BYTES


def _copy_of(row: Row, file: str, digest: str) -> Row:
    """Return the row of a file whose content an earlier one has."""
    same = f"same content as {row['file']}"
    if row["status"] == "converted":
        return row_of(file, "skipped", same, sha256=digest)
    return row_of(file, "refused", f"{same}: {row['reason']}", sha256=row["sha256"])


class _Counter:
    """Tells how many entries are done."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, number: int) -> None:
        for _ in range(number):
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)
