"""Run the study: every notebook in order, what did not change left out, then the table.

    python -m tools.run_study --preset standard --seed 0 --corpus chorales --output .

Conventions: a notebook starts when those that it depends on have ended, several at once where the
machine has the cores. Everything about a run stands in ``rendered/`` below the output folder. The
exit status is 0 when all is done, 1 when a notebook failed, 2 for a choice that cannot be, 130
when interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, no other
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

import nbformat

from musiclib.files import remove_leftovers, write_text
from musiclib.locks import locked
from musiclib.study import (
    CORPORA,
    KERNEL_THREADS,
    MAX_SEED,
    PRESET_NAMES,
    Paths,
    corpus_folder,
    preset,
)
from tools.command_line import REFUSED, Parser, whole
from tools.notebook_form import ROOT, merged, read_notebook
from tools.notebook_run import NotebookError, Run, as_page
from tools.notebook_state import Notebook, State, read_notebooks, set_keys, surroundings
from tools.study_report import Watch, clock, print_results, say, shown

DONE, FAILED, INTERRUPTED = 0, 1, 130

_MOST_JOBS = 3  # the three models are what can run at once


class Study:
    """One run of the study: what is chosen, and which notebooks that means.

    Raises
    ------
    ValueError, OSError
        For a choice that cannot be, before any kernel starts.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.budget = preset(options.preset)
        highest = MAX_SEED + 1 - max(self.budget.trainings, 1)  # each training adds one
        if options.seed > highest:
            raise ValueError(f"seed: got {options.seed}, allowed is up to {highest}")
        self.force, self.jobs, self.threads = options.force, options.jobs, options.threads
        self.output = options.output.expanduser().resolve()
        self.rendered = self.output / "rendered"
        folder = corpus_folder(options.corpus)
        if folder is not None:
            _require_midi(folder)
        notebooks = options.notebooks.resolve()
        given: dict[str, Any] = {
            "preset": options.preset,
            "seed": options.seed,
            "corpus": str(folder.resolve()) if folder else options.corpus,
            # Relative where it can be, so that a notebook of the checkout names no machine.
            "output": ".." if self.output == notebooks.parent else str(self.output),
        }
        if options.samples is not None:
            given["n_samples"] = options.samples
        self.notebooks = read_notebooks(notebooks, given, trainings=self.budget.trainings)
        around = surroundings(self.budget, threads=self.threads, corpus=folder)
        set_keys(self.notebooks, surroundings=around, output=self.output)

    async def run(self) -> int:
        """Run what needs it, and give the exit status."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            loop.add_signal_handler(signal.SIGTERM, self._stop, task)
        self.stopping = False
        self.state = State(self.rendered)
        self.watch = Watch(self.notebooks, expected=self._expected, jobs=self.jobs)
        self.ended: set[str] = set()
        self.failed: set[str] = set()
        for nb in self.notebooks:
            if not self.force and self.state.is_done(nb, output=self.output):
                self._refresh(nb)
                self.ended.add(nb.name)
                self.watch.skip(nb)
        ticker = asyncio.create_task(self.watch.tick())
        try:
            await self._run_all()
        finally:
            ticker.cancel()
        return FAILED if self.failed else DONE

    def _stop(self, task: asyncio.Task[Any]) -> None:
        """End the run; kernels that the same signal has killed have not failed."""
        self.stopping = True
        task.cancel()

    async def _run_all(self) -> None:
        waiting = [nb for nb in self.notebooks if nb.name not in self.ended]
        tasks: set[asyncio.Task[None]] = set()
        try:
            while waiting or tasks:
                self._drop_hopeless(waiting)
                ready = [nb for nb in waiting if self.ended.issuperset(nb.depends)]
                for nb in ready[: self.jobs - len(tasks)]:
                    waiting.remove(nb)
                    tasks.add(asyncio.create_task(self._run_one(nb)))
                if tasks:
                    done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _drop_hopeless(self, waiting: list[Notebook]) -> None:
        """Give up the notebooks that depend on a failed one."""
        for nb in list(waiting):
            if lost := self.failed.intersection(nb.depends):
                waiting.remove(nb)
                self.failed.add(nb.name)
                self.watch.end(nb, f"not run, as it needs {min(lost)}")

    async def _run_one(self, nb: Notebook) -> None:
        self.state.forget(nb)
        run = Run(nb)
        self.watch.start(run)
        try:
            await run.execute(threads=self.threads)
            if missing := nb.missing(self.output):
                raise NotebookError(f"ended without writing {missing[0]}")
        except NotebookError as error:
            if self.stopping:
                return
            self.failed.add(nb.name)
            log = run.keep_failure(error, self.rendered)
            self.watch.end(nb, f"{error} (in full: {shown(log)})")
            return
        run.keep(self.rendered)
        self.state.record(nb, preset=self.budget.name, seconds=run.seconds)
        self.ended.add(nb.name)
        self.watch.end(nb, f"done in {clock(run.seconds)}")

    def _refresh(self, nb: Notebook) -> None:
        """Bring new text between unchanged code cells into the rendered notebook."""
        path = self.rendered / f"{nb.name}.ipynb"
        output = str(nb.parameters.get("output", ""))
        result = merged(nb.node, read_notebook(path), name=nb.name, output=output)
        text = nbformat.writes(result) + "\n"
        if text != path.read_text(encoding="utf-8"):
            write_text(as_page(result, name=nb.name), path.with_suffix(".html"))
            write_text(text, path)

    def _expected(self, nb: Notebook) -> float:
        """Expect what the notebook took the last time, else its share of the whole."""
        share = 60 * self.budget["minutes"] / len(self.notebooks)
        return self.state.seconds(nb, preset=self.budget.name) or share


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study as the command line says, and give the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # what fails is told in one line
    try:
        study = Study(options)
    except (ValueError, OSError) as error:
        return _refuse(error)
    try:
        with _only_one(study.rendered):
            return _run(study)
    except OSError as error:  # a full disk, a folder without permission, another study
        return _refuse(error)


def _refuse(error: Exception) -> int:
    print(f"study: {error}", file=sys.stderr, flush=True)
    return REFUSED


def _run(study: Study) -> int:
    for root in (study.rendered, Paths(study.output).data, Paths(study.output).figures):
        for folder, _, _ in os.walk(root):
            remove_leftovers(folder)
    say(f"The study, preset {study.budget.name}, {study.jobs} at once, into {study.output}")
    try:
        status = asyncio.run(study.run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("\nInterrupted. The same command goes on with the notebooks that were not done.")
        return INTERRUPTED
    if status == DONE:
        print_results(Paths(study.output), rendered=study.rendered)
    word = "Done" if status == DONE else f"Not done: {', '.join(sorted(study.failed))}"
    say(f"\n{word}, after {clock(study.watch.seconds)}.")
    return status


@contextlib.contextmanager
def _only_one(rendered: Path) -> Iterator[None]:
    """Refuse to run where another study runs."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(rendered / ".study.lock", wait=False))
        except BlockingIOError:
            raise BlockingIOError(
                f"another study is running in {rendered.parent}; wait until it ends, or choose "
                "another folder with OUTPUT=..."
            ) from None
        yield


def _require_midi(folder: Path) -> None:
    from musiclib.entries import find_midi

    find_midi(folder)


def default_jobs() -> int:
    """Give how many notebooks run at once: one more than cores, as each uses one of them."""
    cores = os.cpu_count() or 1
    return 1 if cores == 1 else min(_MOST_JOBS, cores + 1)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="study", description="Run every notebook in order.")
    add = parser.add_argument
    add("--preset", default="standard", help=f"{', '.join(PRESET_NAMES)} (default: standard)")
    add("--seed", type=whole(0), default=0, help="default: 0")
    add("--corpus", default="chorales", help=f"{', '.join(CORPORA)}, or a folder of MIDI files")
    add("--samples", type=whole(1), help="pieces a training (default: the preset's)")
    add("--output", type=Path, default=ROOT, help="folder for data/, figures/ and rendered/")
    add("--jobs", type=whole(1), default=default_jobs(), help="notebooks at once")
    add("--threads", type=whole(1), default=KERNEL_THREADS, help="threads of each kernel")
    add("--force", action="store_true", help="run every notebook, changed or not")
    add("--notebooks", type=Path, default=ROOT / "notebooks", help="folder of the notebooks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
