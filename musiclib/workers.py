"""Give jobs to other processes, each with a limit of time and memory, and outlive their deaths.

Conventions: a job and its answer are dicts that JSON can say, passed over pipes, so nothing is
pickled and the caller's own script is not run again in each process. A process that hangs, dies or
runs out of memory costs the one job that it had: the answer to that is ``{LOST: why}``, a new
process takes the next. Processes import one module of musiclib and what that needs, no backend.
Not pebble: a job that writes nonsense into its pipe of answers hangs the whole pool (pebble 5.2.3),
and a script without ``if __name__ == "__main__"`` cannot use it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pkgutil
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

LOST = "lost"
"""Key of the answer to a job whose process did not live to give one; its value says why."""

TOO_LARGE = "it needs more memory than it may have"

_START_SECONDS = 300  # imports on a busy machine
_GRACE_SECONDS = 5  # after which a process whose parent is gone ends itself
_SERVE = "from musiclib.workers import _serve; _serve()"

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
