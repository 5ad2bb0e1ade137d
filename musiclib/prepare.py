"""Where music comes from: a folder of MIDI files made into pieces, with a report of each entry.

Conventions: a corpus is a folder of prepared pieces, one ``.npz`` a piece named by its own
SHA-256, beside ``report.csv`` (one row an entry). Its bytes depend on the source folder and
on the code alone: not on the number of processes, nor on how often the work was broken off. The
bundled chorales are first written as MIDI (`study.chorales`) and then take the same path as
anybody's folder. What a piece is stands in `musiclib.piece`, whose names can be had from here.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import hashlib
import json
import math
import os
import pkgutil
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

import pandas as pd

from musiclib.code_hash import code_hash
from musiclib.files import explained, inside, locked, remove_leftovers, sha256_of, write_csv
from musiclib.midi import MidiFileError, parse_midi, printable, read_midi_bytes
from musiclib.piece import VERSION, Piece, load_piece, pedal_lengthens, piece_from_midi, store_piece

# ---- musiclib.prepare ----
# What stands in a folder of MIDI files: every entry, in order, with what is to become of it.
#
# Conventions: nothing is opened here. A link to a folder is not followed, so a folder that contains
# itself has an end; a file behind a link counts if it lies within the folder. What macOS puts
# beside
# the files of an archive (``__MACOSX/``, ``._name.mid``, ``.DS_Store``) is no music, whatever its
# name ends with. Other names that begin with a dot are left out, unless they end like MIDI.


MIDI_SUFFIXES = {".mid", ".midi", ".rmi", ".kar"}

_ENDINGS = ", ".join(sorted(MIDI_SUFFIXES))
LEAVES = "a link that leaves the folder"
MACOS = "written by macOS beside the music, no music itself"
NO_MIDI = f"not a MIDI file by its name ({_ENDINGS})"
NOT_FOLLOWED = "a link to a folder that is read in its own place"


class Entry(NamedTuple):
    """One entry of a folder.

    Attributes
    ----------
    path : pathlib.Path
        Where it is.
    file : str
        Its path within the folder, ``/`` between folders, as one line of printable text.
    is_midi : bool
        Whether its name ends like a MIDI file's, and it is no folder.
    problem : str
        Why it is not to be opened; empty if it is.
    refused : bool
        Whether music may be lost by that.
    """

    path: Path
    file: str
    is_midi: bool
    problem: str = ""
    refused: bool = False


def list_entries(
    source: str | os.PathLike[str], *, leave_out: str | os.PathLike[str] | None = None
) -> list[Entry]:
    """List all entries below a folder but its subfolders, sorted by name.

    Parameters
    ----------
    source : path
        A folder.
    leave_out : path, optional
        A folder within it that is none of it: where results go.

    Returns
    -------
    list of Entry
        A subfolder that cannot be listed is an entry with a problem.

    Raises
    ------
    FileNotFoundError
        When `source` is no folder, or holds no file with a MIDI ending.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"corpus folder {source} does not exist or is no folder; name one")
    root, without = source.resolve(), leave_out and Path(leave_out).resolve()
    found: list[Entry] = []
    folders = [source]
    while folders:
        folder = folders.pop()
        try:
            inside = list(os.scandir(folder))
        except OSError as error:
            reason = f"a folder that cannot be read: {(error.strerror or str(error)).lower()}"
            found.append(Entry(folder, _file(folder, source), False, reason, True))
            continue
        for item in inside:
            path = folder / item.name
            if item.is_dir(follow_symlinks=False):
                if not (without and item.name == without.name and path.resolve() == without):
                    folders.append(path)
            elif (entry := _entry(item, path, source, root)) is not None:
                found.append(entry)
    if not any(entry.is_midi for entry in found):
        raise FileNotFoundError(f"corpus folder {source} holds no MIDI file (ending {_ENDINGS})")
    return sorted(found, key=lambda entry: os.fsencode(entry.path))


def find_midi(source: str | os.PathLike[str]) -> list[Path]:
    """List the MIDI files below a folder, in a fixed order; links to folders are not followed.

    Parameters
    ----------
    source : path
        A folder.

    Returns
    -------
    list of pathlib.Path
        By name alone: whether they can be read is not known yet.

    Raises
    ------
    FileNotFoundError
        When `source` is no folder, or holds no file with a MIDI ending.
    """
    return [entry.path for entry in list_entries(source) if entry.is_midi]


def is_of_macos(file: str) -> bool:
    """Tell whether macOS wrote a file beside the music: a resource fork, a folder's settings.

    `file` is its path within the folder, ``/`` between folders.
    """
    *folders, name = file.split("/")
    return "__MACOSX" in folders or name.startswith("._") or name == ".DS_Store"


def _entry(item: os.DirEntry, path: Path, source: Path, root: Path) -> Entry | None:
    """Return what is no folder of its own; None for what belongs to the system."""
    file, is_midi = _file(path, source), path.suffix.lower() in MIDI_SUFFIXES
    if is_of_macos(file):
        return Entry(path, file, False, MACOS)
    linked = item.is_symlink()
    leaves = linked and not _stays(path, root)
    if linked and _is_folder(item):
        return Entry(path, file, False, LEAVES if leaves else NOT_FOLLOWED, leaves)
    if not is_midi:
        hidden = item.name.startswith(".") or "/." in f"/{file}"
        return None if hidden else Entry(path, file, False, NO_MIDI)
    return Entry(path, file, True, LEAVES if leaves else "", leaves)


def _is_folder(item: os.DirEntry) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _stays(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # the same circle, as Python 3.12 and older say it
        return True  # it leads nowhere, and opening it says so


def _file(path: Path, source: Path) -> str:
    return printable(path.relative_to(source).as_posix())


# ---- musiclib.prepare ----
# One MIDI file -> one prepared piece and one row of the report, whatever is wrong with the file.
#
# Conventions: a row is a dict of `REPORT_COLUMNS`. `prepare_file` runs in this process or in
# another
# (`musiclib.prepare`), so it takes and gives what JSON can say. What is the file's own fault stands
# in the row; only what concerns all files (a full disk) is raised.


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
    return f"{VERSION}-{_code()}"


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


# ---- musiclib.prepare ----
# The report of a prepared corpus on disk: what is known of an earlier run, and what still holds.
#
# Conventions: ``report.csv`` stands beside the pieces once a run has ended; until then a list of
# what
# is done grows by a line a file, so that a killed run loses nothing but the files in hand. A row
# holds as long as its file has the same name and content, the code is the same, and the piece is,
# byte for byte, the one that was written.


REPORT = "report.csv"
UNFINISHED = "report.unfinished.jsonl"

_NUMBERS = {"notes": int, "seconds": float, "steps": int, "other_steps": int}
_NUMBERS |= dict.fromkeys(("off_grid", "merged", "collided", "free"), float)
_PIECE = re.compile(r"[0-9a-f]{64}\.npz")

Row = dict[str, Any]


def piece_path(destination: str | os.PathLike[str], piece_sha256: str) -> Path:
    """Return where the piece with this SHA-256 is kept."""
    return inside(destination, f"{piece_sha256}.npz")


def read_report(destination: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the report so that writing it again gives the same file.

    Raises
    ------
    FileNotFoundError
        When the corpus has not been prepared.
    ValueError
        When the report is none of this version.
    """
    path = Path(destination) / REPORT
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run notebook 01 (data preparation) first")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    if not set(REPORT_COLUMNS) - {"seconds"} <= set(table.columns):
        raise ValueError(f"{path} is of another version; run notebook 01 (data preparation) again")
    for column in _NUMBERS.keys() & set(table.columns):
        table[column] = [_NUMBERS[column](text or "nan") for text in table[column]]
    return table


def write_report(rows: Sequence[Row], destination: Path) -> pd.DataFrame:
    """Write the report, then remove what it makes needless: old pieces, the unfinished list."""
    table = pd.DataFrame(rows, columns=REPORT_COLUMNS)
    write_csv(table.drop(columns="seconds"), destination / REPORT)
    done = [row for row in rows if row["status"] == "converted"]
    keep = {f"{name}.npz" for row in done for name in _pieces_of(row)}
    for path in destination.iterdir():
        if _PIECE.fullmatch(path.name) and path.name not in keep:
            path.unlink()
    (destination / UNFINISHED).unlink(missing_ok=True)
    return table


def read_with_pedal(row: Row, *, held: bool) -> Row:
    """Return the row of a file, read with its sustain pedal held or ignored.

    Both pieces of a file whose pedal lengthens notes are kept, so that another decision about the
    folder reads no file again: the row names the chosen one first.
    """
    if not row["pedal"]:
        return row
    if (row["pedal"] == HELD) != held:
        other = {"steps": row["other_steps"], "piece_sha256": row["other_sha256"]}
        other |= {"other_steps": row["steps"], "other_sha256": row["piece_sha256"]}
        row = row | other
    return row | {"pedal": HELD if held else IGNORED}


def note_rows(rows: Sequence[Row], destination: Path) -> None:
    """Add rows to the list of the unfinished run, but those that shall be tried again."""
    lines = "".join(f"\n{json.dumps(row)}" for row in rows if row["made_by"])
    path = destination / UNFINISHED
    try:
        with path.open("ab") as file:
            file.write(lines.encode("ascii"))
    except OSError as error:
        raise explained(error, path) from error


def known_rows(destination: Path) -> dict[tuple[str, str], Row]:
    """Return the earlier rows that still hold, by file and SHA-256, without their time."""
    rows: list[Row] = []
    with contextlib.suppress(FileNotFoundError, ValueError):
        rows = read_report(destination).to_dict("records")
    with contextlib.suppress(FileNotFoundError):
        for line in (destination / UNFINISHED).read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # an empty line, or one that a kill cut
                rows.append(json.loads(line))
    return {
        (row["file"], row["sha256"]): {**row, "seconds": 0.0}
        for row in rows
        if row["made_by"] == made_by() and _stands(row, destination)
    }


def _stands(row: Row, destination: Path) -> bool:
    """Say whether a file's refusal, or its piece, can be kept."""
    if row["status"] == "refused":
        return True
    try:
        return all(sha256_of(piece_path(destination, name)) == name for name in _pieces_of(row))
    except (OSError, ValueError):
        return False


def _pieces_of(row: Row) -> list[str]:
    """Return the SHA-256 of each piece made of a converted file: one, or two if it has a pedal."""
    return [name for name in (row["piece_sha256"], row["other_sha256"]) if name]


# ---- musiclib.prepare ----
# Give jobs to other processes, each with a limit of time and memory, and outlive their deaths.
#
# Conventions: a job and its answer are dicts that JSON can say, passed over pipes, so nothing is
# pickled and the caller's own script is not run again in each process. A process that hangs, dies
# or
# runs out of memory costs the one job that it had: the answer to that is ``{LOST: why}``, a new
# process takes the next. Processes import one module of musiclib and what that needs, no backend.
# Not pebble: a job that writes nonsense into its pipe of answers hangs the whole pool (pebble
# 5.2.3),
# and a script without ``if __name__ == "__main__"`` cannot use it.


LOST = "lost"
"""Key of the answer to a job whose process did not live to give one; its value says why."""

TOO_LARGE = "it needs more memory than it may have"

_START_SECONDS = 300  # imports on a busy machine
_GRACE_SECONDS = 5  # after which a process whose parent is gone ends itself
_SERVE = "from musiclib.prepare import _serve; _serve()"

Job = dict[str, Any]


class WorkerError(RuntimeError):
    """Say why no process could be started, or what fault of ours a job raised."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    target: str,
    jobs: Sequence[Job],
    *,
    workers: int,
    seconds: float,
    memory: int | None = None,
) -> Iterator[tuple[int, Job]]:
    """Call a function once a job, in other processes.

    Parameters
    ----------
    target : str
        ``module:function``; the function takes the job's entries by keyword and returns a dict.
    jobs : sequence of dict
        JSON's types only.
    workers : int
        Processes, 1 or more; never more than there are jobs.
    seconds : float
        Wall-clock time for one job, after which its process is killed.
    memory : int, optional
        Bytes that a process may hold, its libraries included. Kept where the system can (Linux).

    Yields
    ------
    index : int
        Place in `jobs`; jobs come back in the order in which they end.
    answer : dict
        What the function returned, or ``{LOST: why}``.

    Raises
    ------
    OSError
        That a job raised: a disk that is full stops all jobs.
    WorkerError
        If no process can be started, or a job raised anything else.
    """
    if workers < 1:
        raise ValueError(f"workers: got {workers}, allowed is 1 or more")
    todo: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Job | Exception]] = queue.SimpleQueue()
    for pair in enumerate(jobs):
        todo.put(pair)
    crew = [_Worker(target, seconds, memory) for _ in range(min(workers, len(jobs)))]
    threads = [threading.Thread(target=_drive, args=(one, todo, done), name="job") for one in crew]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            index, answer = done.get()
            if isinstance(answer, Exception):
                raise answer
            yield index, answer
    finally:
        for one in crew:
            one.close()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _drive(worker: _Worker, todo: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
    """Give one worker job after job until there is none, or it was closed."""
    while not worker.closed:
        try:
            index, job = todo.get_nowait()
        except queue.Empty:
            return
        try:
            done.put((index, worker.ask(job)))
        except Exception as error:
            done.put((index, error))
            return


class _Worker:
    """A process that answers one job at a time, started anew when it was lost."""

    def __init__(self, target: str, seconds: float, memory: int | None) -> None:
        self.closed = False
        self._seconds = seconds
        self._settings = {"target": target, "seconds": seconds + _GRACE_SECONDS, "memory": memory}
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()  # of starting and closing

    def ask(self, job: Job) -> Job:
        """Return the answer to `job`, or why its process was lost."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        began = time.monotonic()
        answer = self._exchange(job, self._seconds)
        if answer is None:
            return {LOST: self._epitaph(time.monotonic() - began)}
        if "errno" in answer:
            raise OSError(answer["errno"], answer["message"])
        if "raised" in answer:
            raise WorkerError(answer["raised"])
        return answer["answer"]

    def close(self) -> None:
        """End the process at once; whoever waits for its answer gets none."""
        with self._lock:
            self.closed = True
            if self._process is not None:
                self._process.kill()
                self._reap()

    def _start(self) -> None:
        with self._lock:
            if self.closed:
                raise WorkerError("the work was broken off")
            self._reap()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                text=True,
            )
        told = self._exchange(self._settings, _START_SECONDS)
        if told is None or "raised" in told:
            why = told["raised"] if told else self._epitaph(0)
            raise WorkerError(f"cannot start a process of {sys.executable}: {why}")

    def _exchange(self, message: Job, seconds: float) -> Job | None:
        """Send a line and return the line that answers it; None if none came in time."""
        process = self._process
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        except (OSError, ValueError):  # it died, or it said something else than an answer
            process.kill()
            return None
        finally:
            timer.cancel()

    def _epitaph(self, elapsed: float) -> str:
        code = self._process.wait()
        if elapsed >= self._seconds:
            return f"it took longer than {self._seconds:g} s"
        ended = f"signal {-code}" if code < 0 else f"status {code}"
        return f"the process that read it died ({ended})"

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()


def _environment() -> dict[str, str]:
    """Return the environment of a worker: it finds this musiclib, and computes with one thread."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}


# In the worker's process -------------------------------------------------------------------------


def _serve() -> None:
    """Answer jobs from standard input until it ends."""
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # whatever prints does not talk into the answers
        settings = json.loads(sys.stdin.readline())
        try:
            function = pkgutil.resolve_name(settings["target"])
            _limit_memory(settings["memory"])
        except Exception as error:
            _say(channel, {"raised": f"{type(error).__name__}: {error}"})
            return
        _say(channel, {"ready": True})
        with open(os.devnull, "w") as nowhere:
            for line in sys.stdin:
                # A watch in C, which works whatever Python does; for when the parent is gone.
                faulthandler.dump_traceback_later(settings["seconds"], exit=True, file=nowhere)
                _say(channel, _answer(function, json.loads(line)))
                faulthandler.cancel_dump_traceback_later()


def _answer(function: Any, job: Job) -> Job:
    try:
        return {"answer": function(**job)}
    except MemoryError:
        return {"answer": {LOST: TOO_LARGE}}
    except OSError as error:
        return {"errno": error.errno, "message": error.strerror or str(error)}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}


def _say(channel: IO[str], message: Job) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def _limit_memory(memory: int | None) -> None:
    """Let this process hold `memory` bytes, where its size can be read and limited."""
    sizes = Path("/proc/self/statm")
    if memory is None or not sizes.exists():
        return
    import resource

    address_space, resident = (
        int(pages) * resource.getpagesize() for pages in sizes.read_text().split()[:2]
    )
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = address_space + max(memory - resident, 0)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


PREPARE = "musiclib.prepare:prepare_file"
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
        notes that begin off the grid, see `piece.free_onsets`), pedal (``held`` or ``ignored``,
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
