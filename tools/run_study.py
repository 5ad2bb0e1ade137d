"""Run the study: every notebook in order, what did not change left out, then the table.

    python -m tools.run_study --preset standard --seed 0 --corpus chorales

Conventions: a notebook starts when those that it depends on have ended, several at once where the
machine has the cores. A run has a folder of its own, ``runs/<preset>-<corpus>-<seed>/`` unless
another is named; how it went stands in ``rendered/`` there. The exit status is 0 when all is done,
1 when a notebook failed, 2 for a choice that cannot be, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, no other
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

import nbformat
from filelock import Timeout

from musiclib.files import locked, remove_leftovers, write_json, write_text
from musiclib.generated import corpus_name
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
from tools.notebook_form import ROOT, RUNS, merged, read_notebook, seen_from
from tools.notebook_run import NotebookError, Run, as_page
from tools.notebook_state import (
    ABOUT,
    Notebook,
    State,
    read_notebooks,
    set_keys,
    surroundings,
    trains,
)
from tools.old_layout import move_old
from tools.release import changed
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
        self.trainings = min(options.seeds or MAX_SEED, self.budget.trainings)
        if options.remeasure:
            self.trainings = 0
        highest = MAX_SEED + 1 - max(self.trainings, 1)  # each training adds one
        if options.seed > highest:
            raise ValueError(f"seed: got {options.seed}, allowed is up to {highest}")
        self.force, self.jobs, self.threads = options.force, options.jobs, options.threads
        folder = corpus_folder(options.corpus)
        if folder is not None and not self.budget.trainings:
            raise ValueError(
                f"corpus: the {options.preset} preset reads the released models, which are of "
                "chorales; to study a folder of your own, train on it with PRESET=standard"
            )
        self.output = _output(options, folder)
        self.corpus = options.corpus if folder is None else str(folder.resolve())
        self.about = {"preset": options.preset, "corpus": self.corpus, "seed": options.seed}
        Paths(self.output)  # refuses the folder of what is released
        self.rendered = self.output / "rendered"
        if folder is not None:
            _require_midi(folder)
        notebooks = options.notebooks.resolve()
        given: dict[str, Any] = {
            "preset": options.preset,
            "seed": options.seed,
            "corpus": self.corpus,
            "output": seen_from(notebooks, self.output),
            "remeasure": options.remeasure,
        }
        if options.samples is not None:
            given["n_samples"] = options.samples
        self.notebooks = read_notebooks(notebooks, given, trainings=self.trainings)
        if options.remeasure:
            self.notebooks = [nb for nb in self.notebooks if not trains(nb)]
        if options.only:
            self.notebooks = _only(self.notebooks, options.only)
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
                ready.sort(key=lambda nb: -sum(nb.name in other.depends for other in waiting))
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
        """Expect what the notebook took the last time, else its share of the whole.

        Trainings take 70 % of it, side by side; any other notebook 10 %, or three minutes.
        """
        minutes = self.budget["minutes"] if self.trainings else preset("classroom")["minutes"]
        trainers = sum(map(trains, self.notebooks))
        others = min(0.1 * minutes, 3.0)
        share = 0.7 * minutes * min(self.jobs, trainers) / trainers if trains(nb) else others
        return self.state.seconds(nb, preset=self.budget.name) or 60 * share


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study as the command line says, and give the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # what fails is told in one line
    try:
        study = Study(options)
    except (ValueError, OSError) as error:
        return _refuse(error)
    try:
        with locked(study.rendered / ABOUT, wait=False):
            return _run(study)
    except Timeout:
        return _refuse(
            f"another study is running in {study.output}; wait until it ends, or choose another "
            "folder with OUTPUT=..."
        )
    except OSError as error:  # a full disk, a folder without permission
        return _refuse(error)


def _refuse(error: Exception | str) -> int:
    print(f"study: {error}", file=sys.stderr, flush=True)
    return REFUSED


def _run(study: Study) -> int:
    for line in move_old(ROOT):
        say(line)
    if not study.trainings and (found := changed(ROOT)):
        say(f"Not as it was released: {', '.join(found)}; git checkout brings it back.")
    write_json(study.about, study.rendered / ABOUT)
    for root in (study.rendered, Paths(study.output).data, Paths(study.output).figures):
        for folder, _, _ in os.walk(root):
            remove_leftovers(folder)
    say(f"The study, preset {study.budget.name}, {study.jobs} at once, into {shown(study.output)}")
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


def _output(options: argparse.Namespace, folder: Path | None) -> Path:
    """Return the folder of the run: the one named, else one of its own below ``runs/``."""
    if options.output is not None:
        return options.output.expanduser().resolve()
    if options.remeasure:
        return RUNS / "remeasure"
    corpus = options.corpus if folder is None else str(folder.resolve())
    name = f"{options.preset}-{corpus_name(corpus)}-{options.seed}"
    taken = [RUNS / name, *(RUNS / f"{name}-{i}" for i in range(2, 1000))]
    return next(path for path in taken if _corpus_of(path) in ("", corpus))


def _only(notebooks: list[Notebook], names: Sequence[str]) -> list[Notebook]:
    """Keep the notebooks of these names, which then wait for no other one."""
    known = sorted({nb.path.stem for nb in notebooks})
    if unknown := set(names) - set(known):
        raise ValueError(f"only: got {min(unknown)}, the notebooks are {', '.join(known)}")
    kept = [nb for nb in notebooks if nb.path.stem in names]
    for nb in kept:
        nb.depends = [name for name in nb.depends if name in {other.name for other in kept}]
    return kept


def _corpus_of(run: Path) -> str:
    """Return the corpus of an earlier run, so that two folders of one name have two runs."""
    try:
        return json.loads((run / "rendered" / ABOUT).read_text(encoding="utf-8"))["corpus"]
    except (OSError, ValueError, KeyError):
        return ""


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
    add("--samples", type=whole(3), help="pieces of each training (default: the preset's)")
    add("--output", type=Path, help="the run's folder (default: runs/PRESET-CORPUS-SEED)")
    add("--seeds", type=whole(1), help="trainings of each model, at most the preset's")
    add("--only", nargs="+", metavar="NOTEBOOK", help="run these notebooks alone")
    add("--remeasure", action="store_true", help="only measure the released pieces anew")
    add("--jobs", type=whole(1), default=default_jobs(), help="notebooks at once")
    add("--threads", type=whole(1), default=KERNEL_THREADS, help="threads of each kernel")
    add("--force", action="store_true", help="run every notebook, changed or not")
    add("--notebooks", type=Path, default=ROOT / "notebooks", help="folder of the notebooks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
