"""Prepare a folder of MIDI files: every file becomes a piece, or a row that says why not.

Conventions: a corpus is a folder of prepared pieces, one ``.npz`` per piece named by its own
SHA-256, beside ``report.csv`` (one row per entry of the source folder). Its bytes depend only on
the source folder and the code: not on the number of processes, nor on how often the run was killed.
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
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from musiclib.code_hash import code_hash
from musiclib.files import locked, remove_leftovers, safe_join, sha256_of, with_advice, write_csv
from musiclib.midi import MidiFileError, parse_midi, printable, read_midi_bytes
from musiclib.piece import VERSION, Piece, load_piece, pedal_lengthens, piece_from_midi, store_piece

MAX_SECONDS = 10.0  # of wall-clock time that one file may take
MAX_MEMORY = 1_000_000_000  # bytes that a process that reads files may hold
Job = dict[str, Any]
Row = dict[str, Any]  # of the report: a value for each of `REPORT_COLUMNS`


def prepare_corpus(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *,
    max_files: int | None = None, sustain_pedal: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Prepare every MIDI file below `source` as a piece in `destination`; no file stops the others.

    A second run reads only new or changed files, and removes the pieces of files that are gone. A
    killed run resumes where it stopped; two at once take turns. A file that takes more than
    ``MAX_SECONDS`` or ``MAX_MEMORY``, or whose process dies, is refused until the next run.

    At most `max_files` MIDI files are read, spread evenly over the folder. `sustain_pedal` says
    whether notes keep sounding while the pedal is down. By default they do if it lengthens notes in
    at least half of the pieces (our choice: such a folder holds performances, whose notes are
    released early because the pedal holds them). `progress` gets (entries done, entries in all).

    Returns the report. Its status is ``converted``, ``refused``, or ``skipped`` (not a MIDI file by
    its name, or the same content as an earlier one); seconds are of this run; for the grid's cost
    (off_grid to free) see `piece_from_midi`; pedal is ``held`` or ``ignored``, empty where it
    lengthens no note; other_steps and other_sha256 belong to the piece with the other pedal choice.
    """
    source, destination = Path(source), Path(destination)
    if source.exists() and destination.exists() and source.samefile(destination):
        raise ValueError(f"destination: got the source folder {source}; name another folder")
    entries = _spread(scan_folder(source, skip=destination), max_files)
    with locked(destination / REPORT):
        remove_leftovers(destination)
        rows = _prepare(entries, destination, progress or (lambda done, total: None))
        if sustain_pedal is None:
            uses = [row["pedal"] != "" for row in rows if row["status"] == "converted"]
            sustain_pedal = 0 < len(uses) <= 2 * sum(uses)
        return _write_report([_choose_pedal(row, held=sustain_pedal) for row in rows], destination)


def pedal_from_environment() -> bool | None:
    """Return what MUSICLIB_PEDAL asks for: False for 0, True for 1, None if unset or empty."""
    asked = os.environ.get("MUSICLIB_PEDAL", "").strip()
    if asked not in ("", "0", "1"):
        raise ValueError(f"MUSICLIB_PEDAL: got {asked!r}; allowed: 0, 1 and nothing")
    return bool(int(asked)) if asked else None


_SUFFIXES = {".mid", ".midi", ".rmi", ".kar"}
_ENDINGS = ", ".join(sorted(_SUFFIXES))


class Entry(NamedTuple):
    # One entry of a folder: its printable path there, and why it is not opened, if so
    path: Path
    file: str
    is_midi: bool
    problem: str = ""
    status: str = "skipped"  # or "refused", where music may be lost


def scan_folder(
    source: str | os.PathLike[str], *, skip: str | os.PathLike[str] | None = None
) -> list[Entry]:
    """List all entries below a folder except its subfolders and `skip`, sorted; open none of them.

    A link to a folder is not followed; a link to a file counts if the file lies within the folder.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"corpus folder {source} does not exist or is not a folder")
    root, without = source.resolve(), skip and Path(skip).resolve()
    found: list[Entry] = []
    folders = [source]
    while folders:
        folder = folders.pop()
        try:
            items = list(os.scandir(folder))
        except OSError as error:
            reason = f"a folder that cannot be read: {(error.strerror or str(error)).lower()}"
            name = printable(folder.relative_to(source).as_posix())
            found.append(Entry(folder, name, False, reason, "refused"))
            continue
        for item in items:
            path = folder / item.name
            if item.is_dir(follow_symlinks=False):
                if not (without and item.name == without.name and path.resolve() == without):
                    folders.append(path)
            elif (entry := _entry(path, source, root)) is not None:
                found.append(entry)
    if not any(entry.is_midi for entry in found):
        raise FileNotFoundError(f"corpus folder {source} holds no MIDI file (ending {_ENDINGS})")
    return sorted(found, key=lambda entry: os.fsencode(entry.path))


def find_midi(source: str | os.PathLike[str]) -> list[Path]:
    """List the MIDI files that `scan_folder` finds by their names."""
    return [entry.path for entry in scan_folder(source) if entry.is_midi]


def _entry(path: Path, source: Path, root: Path) -> Entry | None:
    file = printable(path.relative_to(source).as_posix())
    if is_macos_file(file):
        return Entry(path, file, False, "written by macOS beside the music, not music itself")
    linked = os.path.islink(path)
    leaves = linked and not Path(os.path.realpath(path)).is_relative_to(root)
    why = ("a link that leaves the folder", "refused") if leaves else ()
    if linked and os.path.isdir(path):
        why = why or ("a link to a folder, which is read in its own place",)
        return Entry(path, file, False, *why)
    if path.suffix.lower() in _SUFFIXES:
        return Entry(path, file, True, *why)
    if "/." in f"/{file}":
        return None
    return Entry(path, file, False, f"not a MIDI file by its name ({_ENDINGS})")


def is_macos_file(file: str) -> bool:
    """Return whether macOS added a file (its path, ``/`` between folders) to an archive."""
    *folders, name = file.split("/")
    return "__MACOSX" in folders or name.startswith("._") or name == ".DS_Store"


def _spread(entries: list[Entry], max_files: int | None) -> list[Entry]:
    places = [i for i, entry in enumerate(entries) if entry.is_midi]
    if max_files is None or max_files >= len(places):
        return entries
    if max_files < 1:
        raise ValueError(f"max_files: got {max_files}; allowed: 1 or more")
    taken = {places[k * len(places) // max_files] for k in range(max_files)}
    return [entry for i, entry in enumerate(entries) if i in taken or not entry.is_midi]


PREPARE = "musiclib.prepare:prepare_file"
_FEW_FILES, _FEW_BYTES = 32, 256 * 1024  # faster here than in a new process, and within its limits


def _prepare(
    entries: Sequence[Entry], destination: Path, progress: Callable[[int, int], None]
) -> list[Row]:
    with ThreadPoolExecutor(cores()) as pool:
        found = list(enumerate(pool.map(_digest, entries)))
    rows = {i: row for i, row in found if isinstance(row, dict)}
    digests = {i: digest for i, digest in found if i not in rows}
    firsts = {digest: i for i, digest in reversed(digests.items())}
    copies = [i for i, digest in digests.items() if firsts[digest] != i]
    known = _known_rows(destination)
    names = {i: (entries[i].file, digest) for digest, i in firsts.items()}
    old = {i: known[name] for i, name in names.items() if name in known}
    jobs = {
        i: {"path": str(entries[i].path), "file": entries[i].file}
        | {"digest": digests[i], "folder": str(destination)}
        for i in sorted(names.keys() - old)
    }
    rows |= old
    counted = len(rows) + len(copies)
    for number in range(1, counted + 1):
        progress(number, len(entries))
    _append_rows(old.values(), destination)
    with contextlib.closing(_prepare_missing(jobs)) as prepared:
        for number, (i, row) in enumerate(prepared, counted + 1):
            rows[i] = row
            _append_rows([row], destination)
            progress(number, len(entries))
    for i in copies:
        first, status, reason = rows[firsts[digests[i]]], "skipped", ""
        if first["status"] != "converted":
            status, reason = "refused", f": {first['reason']}"
        reason = f"same content as {first['file']}{reason}"
        rows[i] = report_row(entries[i].file, status, reason, sha256=first["sha256"])
    return [rows[i] for i in range(len(entries))]


def _digest(entry: Entry) -> str | Row:
    """Return the SHA-256 of a file, or the row of an entry that cannot be read."""
    status, reason = entry.status, entry.problem
    if not reason:
        try:
            return hashlib.sha256(read_midi_bytes(entry.path)).hexdigest()
        except MidiFileError as error:
            status, reason = "refused", _with_name(str(error), entry.path, entry.file)
    return report_row(entry.file, status, reason)


def _prepare_missing(jobs: Mapping[int, Job]) -> Iterator[tuple[int, Row]]:
    places, given, few = list(jobs), list(jobs.values()), False
    with contextlib.suppress(OSError):
        sizes = [os.path.getsize(job["path"]) for job in given[: _FEW_FILES + 1]]
        few = len(sizes) <= _FEW_FILES and sum(sizes) <= _FEW_BYTES
    if few:
        answers = enumerate(_result(_answer(prepare_file, job)) for job in given)
    else:
        answers = run_jobs(PREPARE, given, workers=cores(), seconds=MAX_SECONDS, memory=MAX_MEMORY)
    for number, answer in answers:
        if LOST in answer:
            file = given[number]["file"]
            answer = report_row(file, "refused", f"cannot read {file}: {answer[LOST]}")
        yield places[number], answer


# Give jobs to processes. Jobs and answers are dicts of JSON's types, passed over pipes: nothing is
# pickled. A process that hangs, dies or runs out of memory loses only the job that it had. pebble
# (5.2.3) is not used: a job that writes nonsense into its pipe hangs the pool.

LOST = "lost"  # key of the answer to a job whose process was lost; its value says why
_START_SECONDS = 300  # imports on a busy machine
_GRACE_SECONDS = 5  # after which a process whose parent is gone ends itself


class WorkerError(RuntimeError):
    """Say why no process could be started, or what fault of ours a job raised."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    target: str, jobs: Sequence[Job], *, workers: int, seconds: float, memory: int | None = None
) -> Iterator[tuple[int, Job]]:
    """Call ``module:function`` with each job's entries as keywords, in up to `workers` processes.

    A process is killed when one job takes more than `seconds` of wall-clock time; `memory` limits
    its bytes, libraries included, where the system can do so (Linux). Yields (place in `jobs`, the
    dict returned or ``{LOST: why}``) as the jobs end. An ``OSError`` in a job, such as a full disk,
    stops all; any other error, or a process that does not start, raises `WorkerError`.
    """
    if workers < 1:
        raise ValueError(f"workers: got {workers}; allowed: 1 or more")
    crew = [_Worker(target, seconds, memory) for _ in range(min(workers, len(jobs)))]
    idle = deque(crew)  # as many as there are threads

    def answer(index: int) -> tuple[int, Job]:
        worker = idle.popleft()
        try:
            return index, worker.ask(jobs[index])
        finally:
            idle.append(worker)

    with ThreadPoolExecutor(max(len(crew), 1), thread_name_prefix="job") as pool:
        try:
            for done in as_completed([pool.submit(answer, index) for index in range(len(jobs))]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in crew:
                worker.close()


class _Worker:
    def __init__(self, target: str, seconds: float, memory: int | None) -> None:
        self._process: subprocess.Popen | None = None
        self._closed = False
        self._seconds = seconds
        self._settings = {"target": target, "seconds": seconds + _GRACE_SECONDS, "memory": memory}
        self._lock = threading.Lock()  # of starting and closing

    def close(self) -> None:
        """End the process at once; whoever waits for its answer gets none."""
        with self._lock:
            self._closed = True
            self._reap()

    def ask(self, job: Job) -> Job:
        if self._process is None or self._process.poll() is not None:
            self._start()
        began = time.monotonic()
        answer = self._exchange(job, self._seconds)
        if answer is not None:
            return _result(answer)
        elapsed, code = time.monotonic() - began, self._process.wait()
        if elapsed >= self._seconds:
            return {LOST: f"it took longer than {self._seconds:g} s"}
        ended = f"signal {-code}" if code < 0 else f"status {code}"
        return {LOST: f"the process that read it died ({ended})"}

    def _start(self) -> None:
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
        environment |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        # What anything prints, imports included, stays out of the answers.
        code = "import os; out = os.dup(1); os.dup2(2, 1); from musiclib.prepare import _serve"
        command = [sys.executable, "-c", f"{code}; _serve(out)"]
        with self._lock:
            if self._closed:
                raise WorkerError("the run was interrupted")
            self._reap()
            self._process = subprocess.Popen(
                command, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        answer = self._exchange(self._settings, _START_SECONDS) or {"raised": "it did not answer"}
        if "raised" in answer:
            raise WorkerError(f"cannot start a process of {sys.executable}: {answer['raised']}")

    def _exchange(self, message: Job, seconds: float) -> Job | None:
        process = self._process
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            print(json.dumps(message), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())
        except (OSError, ValueError):  # it died, or its line is no answer
            process.kill()
            return None
        finally:
            timer.cancel()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError, ValueError), self._process:
                pass  # leaving the block waits for its end and closes its pipes


def _serve(out: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    with os.fdopen(out, "w", encoding="utf-8") as channel, open(os.devnull, "w") as nowhere:

        def say(message: Job) -> None:
            print(json.dumps(message), file=channel, flush=True)

        settings = json.loads(sys.stdin.readline())
        try:
            function = pkgutil.resolve_name(settings["target"])
            _limit_memory(settings["memory"])
        except Exception as error:
            say({"raised": f"{type(error).__name__}: {error}"})
            return
        say({"ready": True})
        for line in sys.stdin:
            # A timer in C works whatever Python does; it is for when the parent is gone.
            faulthandler.dump_traceback_later(settings["seconds"], exit=True, file=nowhere)
            say(_answer(function, json.loads(line)))
            faulthandler.cancel_dump_traceback_later()


def _limit_memory(memory: int | None) -> None:
    sizes = Path("/proc/self/statm")
    if memory is None or not sizes.exists():
        return
    import resource

    address_space, resident, *_ = map(int, sizes.read_text().split())  # in pages
    page, (_, hard) = resource.getpagesize(), resource.getrlimit(resource.RLIMIT_AS)
    wanted = address_space * page + max(memory - resident * page, 0)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _answer(function: Callable[..., Job], job: Job) -> Job:
    try:
        return {"answer": function(**job)}
    except MemoryError:
        return {"answer": {LOST: "it needs more memory than it may have"}}
    except OSError as error:
        return {"errno": error.errno, "message": error.strerror or str(error)}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}


def _result(answer: Job) -> Job:
    if "errno" in answer:
        raise OSError(answer["errno"], answer["message"])
    if "raised" in answer:
        raise WorkerError(answer["raised"])
    return answer["answer"]


def prepare_file(path: str, file: str, digest: str, folder: str) -> Row:
    """Prepare one MIDI file; its row has no ``made_by`` if a second try may end differently."""
    began, known = time.perf_counter(), {}
    try:
        data = read_midi_bytes(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise MidiFileError(f"{file} changed while it was read; run again")
        known = {"sha256": digest, "made_by": made_by()}
        piece, held, loss, remarks = _read_piece(data, file)
    except MemoryError:
        raise
    except ValueError as error:
        row = report_row(file, "refused", _with_name(str(error), path, file), **known)
    except Exception as error:  # a fault of ours must not stop the other files
        row = report_row(file, "refused", f"cannot prepare {file}: {type(error).__name__}: {error}")
    else:
        known |= {"piece_sha256": store_piece(piece, folder), "steps": len(piece.roll)}
        if held is not None:
            known |= {"pedal": IGNORED, "other_steps": len(held.roll)}
            known |= {"other_sha256": store_piece(held, folder)}
        row = report_row(file, "converted", _with_name(remarks, path, file), **loss, **known)
    return row | {"seconds": round(time.perf_counter() - began, 4)}


def _read_piece(data: bytes, file: str) -> tuple[Piece, Piece | None, dict[str, float], str]:
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
        percussion = f" ({drums:,} of percussion)" if drums else ""
        none = f"{file}: no note of a pitched instrument within a piano's 88 keys{percussion}"
        raise MidiFileError("; ".join([none, *remarks]))
    if collided := round(loss["collided"] * loss["notes"]):
        what = f"{collided:,} of {loss['notes']:,} notes collided on the grid: their key was "
        remarks.append(what + "already struck on the same step")
    return piece, held, loss, "; ".join(remarks)


def _with_name(sentence: str, path: str | os.PathLike[str], file: str) -> str:
    return " ".join(sentence.replace(printable(path), file).split())


# Write the report. Until a run has ended, a list of what is done grows by a line per file, so that
# a killed run loses only the files in hand. A row stays valid while its file has the same name and
# content, the code is the same, and the stored piece has not changed by a byte.

HELD, IGNORED = "held", "ignored"  # what was done about a sustain pedal that lengthens notes
REPORT = "report.csv"
_UNFINISHED = "report.unfinished.jsonl"
_NOTHING: Row = {
    "file": "", "status": "", "reason": "", "notes": 0, "seconds": 0.0, "sha256": "", "steps": 0,
    "off_grid": math.nan, "merged": math.nan, "collided": math.nan, "free": math.nan, "pedal": "",
    "piece_sha256": "", "made_by": "", "other_steps": 0, "other_sha256": "",
}  # fmt: skip
REPORT_COLUMNS = list(_NOTHING)
_NUMBERS = {name: type(value) for name, value in _NOTHING.items() if not isinstance(value, str)}
_hash_once = functools.cache(code_hash)


def report_row(file: str, status: str, reason: str, **values: object) -> Row:
    """Return a row of the report; the grid's cost is NaN where nothing was converted."""
    return _NOTHING | {"file": file, "status": status, "reason": reason} | values


def made_by() -> str:
    """Return what decides a piece besides its file: the layout, pretty_midi and the code."""
    return f"{VERSION}-{version('pretty_midi')}-{_hash_once(prepare_file)[:12]}"


def _known_rows(destination: Path) -> dict[tuple[str, str], Row]:
    rows, made = [], made_by()
    with contextlib.suppress(FileNotFoundError, ValueError):
        rows = read_report(destination).to_dict("records")
    with contextlib.suppress(FileNotFoundError):
        for line in (destination / _UNFINISHED).read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # an empty line, or one that a kill cut
                rows.append(json.loads(line))
    return {
        (row["file"], row["sha256"]): {**row, "seconds": 0.0}
        for row in rows
        if row["made_by"] == made and all(_is_intact(name, destination) for name in _pieces_of(row))
    }


def _is_intact(name: str, destination: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return sha256_of(safe_join(destination, f"{name}.npz")) == name
    return False


def _append_rows(rows: Iterable[Row], destination: Path) -> None:
    lines = "".join(f"\n{json.dumps(row)}" for row in rows if row["made_by"])
    path = destination / _UNFINISHED
    try:
        with path.open("ab") as file:
            file.write(lines.encode("ascii"))
    except OSError as error:
        raise with_advice(error, path) from error


def _choose_pedal(row: Row, *, held: bool) -> Row:
    chosen = HELD if held else IGNORED
    if row["pedal"] in ("", chosen):
        return row
    steps = {"steps": row["other_steps"], "other_steps": row["steps"]}
    names = {"piece_sha256": row["other_sha256"], "other_sha256": row["piece_sha256"]}
    return row | steps | names | {"pedal": chosen}


def _write_report(rows: Sequence[Row], destination: Path) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=REPORT_COLUMNS)
    write_csv(table.drop(columns="seconds"), destination / REPORT)
    keep = {f"{name}.npz" for row in rows for name in _pieces_of(row)}
    for path in destination.iterdir():
        if re.fullmatch(r"[0-9a-f]{64}\.npz", path.name) and path.name not in keep:
            path.unlink()
    (destination / _UNFINISHED).unlink(missing_ok=True)
    return table


def _pieces_of(row: Row) -> list[str]:
    return [name for name in (row["piece_sha256"], row["other_sha256"]) if name]


def load_corpus(destination: str | os.PathLike[str]) -> list[Piece]:
    """Read all prepared pieces of a corpus, in the report's order; refuse one that was changed."""
    rows = read_report(destination)
    done = rows.loc[rows["status"] == "converted", "piece_sha256"]
    return [load_piece(safe_join(destination, f"{name}.npz"), sha256=name) for name in done]


def read_report(destination: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the report of a prepared corpus so that writing it again gives the same file."""
    path = Path(destination) / REPORT
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run notebook 01 (data preparation) first")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    if not set(REPORT_COLUMNS) - {"seconds"} <= set(table.columns):
        raise ValueError(f"{path} is of another version; run notebook 01 (data preparation) again")
    for column in _NUMBERS.keys() & set(table.columns):
        table[column] = [_NUMBERS[column](text or "nan") for text in table[column]]
    return table
