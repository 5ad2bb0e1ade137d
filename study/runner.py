"""Run the study: every notebook in order, skipping what did not change; then print the results.

    python -m study.runner --preset standard --seed 0 --corpus chorales
    python -m study.runner lab          JupyterLab, with the settings under which the study computes

A run has a folder of its own, ``runs/<preset>-<corpus>-<seed>/`` unless another is named, with
``rendered/`` for the notebooks as run, their pages, ``run.json`` (what the run is) and
``state.json`` (what is done). A notebook starts when those that it depends on have ended. It has
one code cell tagged ``parameters``, of literals that a run may replace, and says in its metadata
what it depends on and writes (docs/promises.md). Its *key* is a hash of all that decides its
results: its code and what that reaches, its parameters, the versions of what computes, the keys of
what it depends on, and the files that people added.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import copy
import csv
import dataclasses
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from filelock import Timeout
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from musiclib.code_hash import CodeError, code_hash
from musiclib.files import locked, remove_leftovers, sha256_of, write_json, write_text
from musiclib.prepare import find_midi, pedal_from_environment
from study import run as study_run
from study.run import Paths, Preset, corpus_folder, kernel_environment, preset
from study.sets import corpus_name

ROOT = study_run.CHECKOUT
NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "runs"  # git ignores it
ABOUT = "run.json"
MANIFEST = Path("data", "released.json")  # the hash of each released folder
DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130  # the exit status
PACKAGES = (
    "keras", "librosa", "matplotlib", "music21", "numpy", "pandas", "pretty_midi", "pyfluidsynth",
    "pyloudnorm", "scikit-posthocs", "scipy", "soundfile", "tensorflow",
)  # fmt: skip
say = functools.partial(print, flush=True)
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, no other
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")


class FormError(ValueError):
    """A notebook does not have the form that the study needs."""


class NotebookError(RuntimeError):
    """A notebook stopped; the message is one sentence with the cell and its error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study as the command line says, and return the exit status."""
    parser = argparse.ArgumentParser("study", argparse.SUPPRESS, "Run every notebook in order.")
    add, presets = parser.add_argument, ", ".join(study_run.PRESET_NAMES)
    add("--preset", default="standard", help=f"{presets} (default: standard)")
    add("--seed", type=at_least(0), default=0, help="default: 0")
    add("--corpus", default="chorales", help="chorales, or a folder of MIDI files")
    add("--samples", type=at_least(3), help="pieces of each training (default: the preset's)")
    add("--output", type=Path, help="the run's folder (default: runs/PRESET-CORPUS-SEED)")
    add("--seeds", type=at_least(1), help="trainings of each model, at most the preset's")
    add("--only", nargs="+", metavar="NOTEBOOK", help="run these notebooks alone")
    add("--remeasure", action="store_true", help="only measure the released pieces anew")
    add("--jobs", type=at_least(1), default=default_jobs(), help="notebooks at once")
    add("--threads", type=at_least(1), default=study_run.KERNEL_THREADS, help="of each kernel")
    add("--force", action="store_true", help="run every notebook, changed or not")
    add("--notebooks", type=Path, default=NOTEBOOKS, help="folder of the notebooks")
    options = parser.parse_args(arguments)
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # a failure is told in one line
    try:
        study = Study(options)
    except (ValueError, OSError) as error:
        return _refuse(error)
    try:
        with locked(study.rendered / ABOUT, wait=False):
            return _run(study)
    except Timeout:
        where, advice = study.output, "wait until it ends, or choose another folder with OUTPUT=..."
        return _refuse(f"another study is running in {where}; {advice}")
    except OSError as error:  # a full disk, a folder without permission
        return _refuse(error)


def _refuse(error: Exception | str) -> int:
    print(f"study: {error}", file=sys.stderr, flush=True)
    return REFUSED


def _run(study: Study) -> int:
    paths = Paths(study.output)
    if not study.trainings and (found := changed_releases(ROOT)):
        say(f"Not as it was released: {', '.join(found)}; git checkout brings it back.")
    write_json(study.about, study.rendered / ABOUT)
    for root in (study.rendered, paths.data, paths.figures):
        for folder, _, _ in os.walk(root):
            remove_leftovers(folder)
    say(f"The study, preset {study.budget.name}, {study.jobs} at once, into {shown(study.output)}")
    try:
        status = asyncio.run(study.run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("\nInterrupted. The same command resumes with the notebooks that were not done.")
        return INTERRUPTED
    if status == DONE:
        print_results(paths, rendered=study.rendered)
    word = "Done" if status == DONE else f"Not done: {', '.join(sorted(study.failed))}"
    say(f"\n{word}, after {clock(study.watch.seconds)}.")
    return status


def at_least(low: int) -> Callable[[str], int]:
    """Return the type of an option that is a whole number from `low` on."""

    def number(text: str) -> int:
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"got {int(text)}; allowed: {low} or more")
        return int(text)

    return number


def default_jobs() -> int:
    """Return how many notebooks run at once: the three models, unless there is one core."""
    return 3 if (os.cpu_count() or 1) > 1 else 1


def clock(seconds: float) -> str:
    """Return seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(path: Path) -> Path:
    """Return `path` relative to the working folder if it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class Study:
    """One run of the study; what is refused raises `ValueError` or `OSError` before any kernel."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.budget = preset(options.preset)
        self.trainings = min(options.seeds or study_run.MAX_SEED, self.budget.trainings)
        self.trainings *= not options.remeasure
        highest = study_run.MAX_SEED + 1 - max(self.trainings, 1)  # each training adds one
        if options.seed > highest:
            raise ValueError(f"seed: got {options.seed}; allowed: up to {highest}")
        self.force, self.jobs, self.threads = options.force, options.jobs, options.threads
        folder = corpus_folder(options.corpus)
        if folder is not None and not self.budget["lstm_steps"]:
            of = f"the {options.preset} preset reads the released models, which are of chorales"
            advice = "to study a folder of your own, train on it with PRESET=standard"
            raise ValueError(f"corpus: {of}; {advice}")
        corpus = options.corpus if folder is None else str(folder.resolve())
        self.about = {"preset": options.preset, "corpus": corpus, "seed": options.seed}
        self.output = _output(options, corpus)
        Paths(self.output)  # refuses the folder of what is released
        self.rendered = self.output / "rendered"
        notebooks = options.notebooks.resolve()
        given = {**self.about, "remeasure": options.remeasure, "output": self.output}
        if options.samples is not None:
            given["n_samples"] = options.samples
        asked = {"folder" if folder else options.preset, *(options.only or ())}
        self.notebooks = read_notebooks(notebooks, given, trainings=self.trainings, asked=asked)
        if options.remeasure:
            self.notebooks = [nb for nb in self.notebooks if not trains(nb)]
        if options.only:
            self.notebooks = _only(self.notebooks, options.only)
        environment = run_environment(self.budget, threads=self.threads, corpus=folder)
        set_keys(self.notebooks, environment=environment, output=self.output)

    async def run(self) -> int:
        self.stopping, self.failed = False, set[str]()
        task = asyncio.current_task()

        def stop() -> None:
            self.stopping = True  # kernels that the same signal has killed have not failed
            task.cancel()

        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        self.state = State(self.rendered)
        self.watch = Watch(self.notebooks, expected=self._expected, jobs=self.jobs)
        self.slots = asyncio.Semaphore(self.jobs)
        self.over = {nb.name: asyncio.Event() for nb in self.notebooks}
        tasks = []
        waited_for = [name for nb in self.notebooks for name in nb.depends]
        for nb in sorted(self.notebooks, key=lambda nb: -waited_for.count(nb.name)):
            if self.force or not self.state.is_done(nb, output=self.output):
                tasks.append(asyncio.create_task(self._run_in_turn(nb)))
                continue
            earlier = read_notebook(self.rendered / f"{nb.name}.ipynb")
            _write_rendered(nb, earlier, self.rendered)  # new text between unchanged code
            self.over[nb.name].set()
            self.watch.end(nb, "unchanged, not run again")
        ticker = asyncio.create_task(self.watch.tick())
        try:
            await asyncio.gather(*tasks)
        finally:
            for running in (ticker, *tasks):
                running.cancel()
            await asyncio.gather(ticker, *tasks, return_exceptions=True)
        return FAILED if self.failed else DONE

    async def _run_in_turn(self, nb: Notebook) -> None:
        for name in nb.depends:
            await self.over[name].wait()
        if lost := self.failed.intersection(nb.depends):
            self.failed.add(nb.name)
            self.watch.end(nb, f"not run, as it needs {min(lost)}")
        else:
            async with self.slots:
                await self._run_one(nb)
        self.over[nb.name].set()

    async def _run_one(self, nb: Notebook) -> None:
        self.state.record(nb, done=False)
        run = Run(nb)
        self.watch.start(run)
        try:
            await run.execute(threads=self.threads)
            if missing := nb.missing(self.output):
                raise NotebookError(f"ended without writing {missing[0]}")
        except NotebookError as error:
            if not self.stopping:
                self.failed.add(nb.name)
                log = run.keep_failure(error, self.rendered)
                self.watch.end(nb, f"{error} (in full: {shown(log)})")
            return
        run.keep(self.rendered)
        self.state.record(nb, done=True)
        self.watch.end(nb, f"done in {clock(run.seconds)}")

    def _expected(self, nb: Notebook) -> float:
        """Expect seconds: trainings, side by side, take 70 % of the preset's time, others 10 %."""
        minutes = self.budget["minutes"] if self.trainings else preset("classroom")["minutes"]
        if not trains(nb):
            return 60 * min(0.1 * minutes, 3.0)
        trainers = sum(map(trains, self.notebooks))
        return 60 * (0.7 * minutes * min(self.jobs, trainers) / trainers)


def _output(options: argparse.Namespace, corpus: str) -> Path:
    """Return the folder named, else one below ``runs/``; two corpora of one name have two."""
    if options.output is not None:
        return options.output.expanduser().resolve()
    if options.remeasure:
        return RUNS / "remeasure"
    name = f"{options.preset}-{corpus_name(corpus)}-{options.seed}"
    for i in itertools.count(1):
        path = RUNS / (f"{name}-{i}" if i > 1 else name)
        with contextlib.suppress(OSError, ValueError, KeyError):  # no run stands there
            about = json.loads((path / "rendered" / ABOUT).read_text(encoding="utf-8"))
            if about["corpus"] != corpus:
                continue
        return path


def _only(notebooks: list[Notebook], names: Sequence[str]) -> list[Notebook]:
    known = sorted({nb.path.stem for nb in notebooks})
    if unknown := set(names) - set(known):
        raise ValueError(f"only: got {min(unknown)}, the notebooks are {', '.join(known)}")
    kept = {nb.name: nb for nb in notebooks if nb.path.stem in names}
    for nb in kept.values():
        nb.depends = [name for name in nb.depends if name in kept]
    return list(kept.values())


@dataclasses.dataclass
class Notebook:
    """One notebook of a run, or one more training seed of a notebook that trains."""

    name: str  # such as 02_lstm, or 02_lstm_seed_1 for one more seed
    path: Path
    node: NotebookNode
    depends: list[str]
    writes: list[str]
    reads: list[str]  # what people add between runs, as patterns below the run's folder
    given: dict[str, Any]  # the parameters that the run replaces
    parameters: dict[str, Any]  # all of them
    key: str = ""

    def missing(self, output: Path) -> list[str]:
        """Return the declared outputs that do not exist."""
        patterns = [pattern.format_map(self.parameters) for pattern in self.writes]
        return [pattern for pattern in patterns if not any(output.glob(pattern))]

    def added(self, output: Path) -> list[tuple[str, str]]:
        """Return the files that people added for it to read: name and SHA-256."""
        paths = sorted({path for pattern in self.reads for path in output.glob(pattern)})
        return [(p.relative_to(output).as_posix(), sha256_of(p)) for p in paths if p.is_file()]


def trains(nb: Notebook) -> bool:
    """Return whether a notebook trains a model, once for each training seed of the preset."""
    return "trains" in nb.node.metadata.get("study", {})


def read_notebooks(
    folder: Path, given: Mapping[str, Any], *, trainings: int = 1, asked: Collection[str] = ()
) -> list[Notebook]:
    """Read the lessons ``0*.ipynb`` of `folder` in order, or raise `FormError`.

    One that trains stands there `trainings` times, and what depends on it depends on all; with 0 it
    is run once, trains nothing, and nothing waits for it. A notebook of ``research/`` is read if
    `asked` has its name or a word of its metadata's ``runs_with`` (a preset, or ``folder``); with
    the preset ``ladder``, only notebooks that list it are read. It comes before the lesson that its
    ``before`` names.
    """
    found: list[Notebook] = []
    paths = sorted(folder.glob("0*.ipynb")) + sorted(folder.glob("research/*.ipynb"))
    nodes = {path: read_notebook(path) for path in paths}
    about = {path: node.metadata.get("study", {}) for path, node in nodes.items()}
    for path in sorted(paths, key=lambda path: _place(path, about[path])):
        words = {path.stem, *about[path].get("runs_with", ())}
        if words.intersection(asked) or (path.parent == folder and "ladder" not in asked):
            found.append(_read(path, nodes[path], earlier=found, given=given))
    if not found:
        raise FormError(f"{folder}: holds no notebook named 0*.ipynb")
    trainers = [nb for nb in found if trains(nb)]
    if not trainings:
        for nb in found:
            nb.depends = [name for name in nb.depends if name not in {t.name for t in trainers}]
        return found
    for nb in trainers:
        nb.writes += nb.node.metadata["study"]["trains"]
    more = [_with_seed(nb, further) for further in range(1, trainings) for nb in trainers]
    for nb in found:
        nb.depends += [other.name for other in more if other.path.stem in nb.depends]
    last = found.index(trainers[-1]) + 1 if trainers else 0
    return [*found[:last], *more, *found[last:]]


def _place(path: Path, about: Mapping[str, Any]) -> tuple[str, int]:
    """Order lessons by their numbers; research before the lesson that it names, or at the end."""
    if path.parent.name != "research":
        return path.stem, 1
    return about.get("before", "~"), 0


def _read(
    path: Path, node: NotebookNode, *, earlier: Sequence[Notebook], given: Mapping[str, Any]
) -> Notebook:
    study, names = node.metadata.get("study", {}), [nb.name for nb in earlier]
    depends = list(study.get("depends", names))
    if path.parent.name == "research":  # it runs behind what there is
        depends = [name for name in depends if name in names]
    if unknown := set(depends) - set(names):
        raise FormError(f"{path.stem}: depends on {min(unknown)}, which does not come before it")
    for nb in earlier:
        if nb.node.metadata.get("study", {}).get("before") == path.stem:
            depends.append(nb.name)
    declared = declared_parameters(parameters_cell(node, name=path.stem))
    if "output" in given:
        given = {**given, "output": relative_output(path.parent, Path(given["output"]))}
    taken = {name: value for name, value in given.items() if name in declared}
    writes, reads = (list(study.get(key, [])) for key in ("writes", "reads"))
    return Notebook(path.stem, path, node, depends, writes, reads, taken, declared | taken)


def _with_seed(nb: Notebook, further: int) -> Notebook:
    seed = {"seed": nb.parameters["seed"] + further}
    given, parameters = nb.given | seed, nb.parameters | seed
    more = {"depends": list(nb.depends), "given": given, "parameters": parameters}
    return dataclasses.replace(nb, name=f"{nb.name}_seed_{seed['seed']}", **more)


def set_keys(notebooks: list[Notebook], *, environment: Mapping[str, Any], output: Path) -> None:
    """Give each notebook its key; of the tables of budgets only the run's own values count."""
    budgets = [f"{Preset.__module__}:{name}" for name in ("BUDGETS", "PRESET_NAMES")]
    keys: dict[str, str] = {}
    for nb in notebooks:
        cells = [cell.source for cell in code_cells(nb.node) if not _has_parameters(cell)]
        try:
            code = code_hash(cells=cells, skip=budgets)
        except CodeError as error:
            raise CodeError(f"{nb.name}: {error}") from error
        parts = {
            "code": code,
            "parameters": {k: v for k, v in nb.parameters.items() if k != "output"},
            "environment": environment,
            "added": nb.added(output),
            "depends": [keys[name] for name in nb.depends],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        nb.key = keys[nb.name] = hashlib.sha256(text.encode()).hexdigest()


def run_environment(budget: Preset, *, threads: int, corpus: Path | None) -> dict[str, Any]:
    """Return what decides the results of every notebook beside its own code and parameters."""
    released = ROOT / MANIFEST  # a run that trains nothing depends on it
    counted = [key for key in study_run.BUDGETS if key != "minutes"]
    installed = [(name, importlib.metadata.distributions(name=name)) for name in PACKAGES]
    return {
        "budget": [(key, budget[key], budget.full(key)) for key in counted],
        "versions": {n: next((d.version for d in at), "not installed") for n, at in installed},
        "python": platform.python_version_tuple()[:2],
        "backend": os.environ.get("KERAS_BACKEND", ""),
        "threads": threads,
        "corpus": _listing(corpus) if corpus else [],
        "pedal": str(pedal_from_environment()),
        "released": sha256_of(released) if not budget["lstm_steps"] and released.is_file() else "",
    }


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """List what may be music by name, size and time, 0 and 0 for what cannot be read."""
    found = []
    for path in find_midi(folder):
        size = changed = 0
        with contextlib.suppress(OSError):
            status = path.stat()
            size, changed = status.st_size, status.st_mtime_ns
        found.append((path.relative_to(folder).as_posix(), size, changed))
    return found


class State:
    """What stands in a run's folder: the key of each notebook that was run to its end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"
        self._notebooks: dict[str, Any] = {}
        if self.path.exists():
            try:
                self._notebooks = json.loads(self.path.read_text(encoding="utf-8"))["notebooks"]
            except (ValueError, KeyError):
                say(f"{self.path} cannot be read, so every notebook is run again.")

    def is_done(self, nb: Notebook, *, output: Path) -> bool:
        """Return whether `nb` was run with this key and what it wrote still exists."""
        same = self._notebooks.get(nb.name, {}).get("key") == nb.key
        rendered = self.path.with_name(f"{nb.name}.ipynb").exists()
        return same and rendered and not nb.missing(output)

    def done(self) -> set[str]:
        """Return the names of the notebooks that were run to their end."""
        return set(self._notebooks)

    def record(self, nb: Notebook, *, done: bool) -> None:
        """Write down whether `nb` was run to its end; until then its files are half changed."""
        self._notebooks.pop(nb.name, None)
        self._notebooks |= {nb.name: {"key": nb.key}} if done else {}
        write_json({"notebooks": self._notebooks}, self.path)


_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_SENTENCE, _LOG_CHARACTERS = 300, 10_000
_PATIENCE = 600  # seconds for a kernel to start or to send its last output, on a busy machine


class Run:
    """One notebook in a kernel of its own, at code cell `cell` of `cells`; 0: it starts."""

    def __init__(self, nb: Notebook) -> None:
        self.nb, self.node = nb, copy.deepcopy(nb.node)
        for cell in code_cells(self.node):
            cell.execution_count, cell.outputs = None, []
        parameters = parameters_cell(self.node, name=nb.name)
        parameters.source = with_parameters(parameters.source, nb.given)
        self._code = [i for i, cell in enumerate(self.node.cells) if cell.cell_type == "code"]
        self.cell, self.cells = 0, len(self._code)
        self._began = self._cell_began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def cell_seconds(self) -> float:
        return time.monotonic() - self._cell_began

    def last_line(self) -> str:
        """Return the last line that the cell at work has printed; a picture or a sound is none."""
        outputs = self.node.cells[self._code[self.cell - 1]].outputs if self.cell else []
        lines = [line.strip() for out in outputs for line in _printed(out).splitlines()]
        return next(filter(None, reversed(lines)), "")

    async def execute(self, *, threads: int) -> None:
        with tempfile.TemporaryDirectory(prefix="study-") as profile:
            client = _Client(
                self.node, kernel_name="python3", on_cell_start=self._on_cell_start,
                timeout=None, startup_timeout=_PATIENCE, iopub_timeout=_PATIENCE,
                resources={"metadata": {"path": str(self.nb.path.parent)}},
                record_timing=False, shutdown_kernel="immediate",
            )  # fmt: skip
            paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            environment = os.environ | kernel_environment(threads=threads)
            environment["PYTHONPATH"] = os.pathsep.join(paths)  # this musiclib
            environment |= {"IPYTHONDIR": profile, study_run.RUN_KEY: self.nb.key}
            with Path(profile, "kernel.log").open("wb") as log:  # what no cell shows
                try:
                    await client.async_execute(env=environment, stdout=log, stderr=log)
                except CellExecutionError as error:
                    raise NotebookError(self._where(f"{error.ename}: {error.evalue}")) from error
                except (DeadKernelError, RuntimeError) as error:
                    said = Path(log.name).read_text(encoding="utf-8", errors="replace")
                    error.add_note(f"The kernel's last output:\n{said[-_LOG_CHARACTERS:]}")
                    reason = f"the kernel died, perhaps for lack of memory ({error})"
                    raise NotebookError(self._where(reason)) from error

    def _on_cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        if cell_index in self._code:
            self.cell, self._cell_began = self._code.index(cell_index) + 1, time.monotonic()

    def _where(self, reason: str) -> str:
        first = (_ANSI.sub("", reason).strip().splitlines() or ["no reason given"])[0]
        return f"stopped in cell {self.cell} of {self.cells}: {first[:_LONGEST_SENTENCE]}"

    def keep(self, rendered: Path) -> None:
        """Write the notebook as run, and as a page, to the folder `rendered`."""
        _write_rendered(self.nb, self.node, rendered)
        for ending in ("failed.ipynb", "log"):
            (rendered / f"{self.nb.name}.{ending}").unlink(missing_ok=True)

    def keep_failure(self, error: BaseException, rendered: Path) -> Path:
        """Write ``NAME.failed.ipynb`` as far as it ran, and the traceback; return its path."""
        ran, log = (rendered / f"{self.nb.name}.{ending}" for ending in ("failed.ipynb", "log"))
        write_text(nbformat.writes(self.node) + "\n", ran)
        cause = error.__cause__ or error
        text = "\n".join([str(cause), *getattr(cause, "__notes__", [])])
        write_text(_ANSI.sub("", text) + "\n", log)
        return log


def _printed(output: NotebookNode) -> str:
    """Return an output's text; what a page shows otherwise has only a bare repr as its text."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    data = output.get("data", {})
    text = data.get("text/plain", "")
    return "" if len(data) > 1 or text.startswith("<") else text


# nbconvert's page shows pictures without their words.
_PAGE = """{% extends 'lab/index.html.j2' %}
{% block data_png %}{% set alt = output | get_metadata('alt', 'image/png') %}{{
super() | replace('<img', '<img alt="' ~ (alt or '') | escape_html ~ '"') }}{% endblock %}"""


def _write_rendered(nb: Notebook, run: NotebookNode, rendered: Path) -> None:
    """Write a notebook with the outputs of `run`, and as a page, unless both stand there."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    path, page = (rendered / f"{nb.name}.{ending}" for ending in ("ipynb", "html"))
    result = add_outputs(nb.node, run, name=nb.name, output=str(nb.parameters.get("output", "")))
    text = nbformat.writes(result) + "\n"
    if path.exists() and page.exists() and text == path.read_text("utf-8"):
        return
    resources = {"metadata": {"name": nb.name}}
    exporter = HTMLExporter(
        embed_images=True, extra_loaders=[DictLoader({"page.html.j2": _PAGE})],
        template_file="page.html.j2",
    )  # fmt: skip
    html, _ = exporter.from_notebook_node(result, resources=resources)
    write_text(html, page)
    write_text(text, path)


class _Client(NotebookClient):
    """A client that leaves signals to the runner; nbclient would take them over."""

    @contextlib.asynccontextmanager
    async def async_setup_kernel(self, **kwargs: Any) -> AsyncIterator[None]:
        kwargs.pop("cleanup_kc", None)
        self.km = self.create_kernel_manager()
        if os.name == "posix":  # no open port; the sockets lie in a folder with a short name
            self.km.transport = "ipc"
            self.km.connection_file = str(Path(kwargs["env"]["IPYTHONDIR"], "kernel.json"))
        try:
            await self.async_start_new_kernel(**kwargs)
            await self.async_start_new_kernel_client()
            yield
        finally:
            if self.km is not None:
                await self._async_cleanup_kernel()


_NEXT_CELL_SECONDS, _SAME_CELL_SECONDS = 5.0, 20.0  # at most one line in this time
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?")
_PACE = 10.0  # seconds after which a loop's own pace says more than what was expected
_COUNT = re.compile(r": (\d+) of (\d+)")


class Watch:
    """Print how far the notebooks are; `expected` returns the seconds that one may take."""

    def __init__(
        self, notebooks: list[Notebook], *, expected: Callable[[Notebook], float], jobs: int
    ) -> None:
        self._all, self._jobs, self._began = notebooks, jobs, time.monotonic()
        self._expected = {nb.name: expected(nb) for nb in notebooks}
        self._running: dict[str, Run] = {}
        self._ended: set[str] = set()
        self._took: dict[str, float] = {}
        self._reported: dict[str, tuple[int, float]] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def start(self, run: Run) -> None:
        self._running[run.nb.name] = run
        self._reported[run.nb.name] = (0, time.monotonic())
        say(f"{self._label(run.nb)}  starts, {run.cells} cells  {self._times()}")

    def end(self, nb: Notebook, what: str) -> None:
        self._ended.add(nb.name)
        if (run := self._running.pop(nb.name, None)) is not None:
            self._took[nb.name] = run.seconds
        say(f"{self._label(nb)}  {what}")

    async def tick(self) -> None:
        """Tell now and then how far the running notebooks are, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            for name, run in self._running.items():
                cell, when = self._reported[name]
                wait = _NEXT_CELL_SECONDS if run.cell != cell else _SAME_CELL_SECONDS
                if time.monotonic() - when >= wait:
                    self._reported[name] = (run.cell, time.monotonic())
                    printed = run.last_line()[:60]
                    line = f"{self._label(run.nb)}  cell {run.cell} of {run.cells}  {self._times()}"
                    say(f"{line} | {printed}" if printed else line)

    def _label(self, nb: Notebook) -> str:
        return f"[{self._all.index(nb) + 1}/{len(self._all)}] {nb.name}"

    def _times(self) -> str:
        return f"{clock(self.seconds)} elapsed, about {clock(self.seconds_left())} left"

    def seconds_left(self) -> float:
        """Estimate the seconds left: what each notebook still takes, trainings side by side."""
        rests: dict[bool, list[float]] = {True: [], False: []}
        for nb in (nb for nb in self._all if nb.name not in self._ended):
            rests[trains(nb)].append(self._seconds_left(nb))
        return sum(rests[False]) + max([*rests[True], sum(rests[True]) / self._jobs])

    def _seconds_left(self, nb: Notebook) -> float:
        """Expect a loop to go on at its own pace, and anything else to be as slow as what ran."""
        expected, run = self._slowdown(nb) * self._expected[nb.name], self._running.get(nb.name)
        if run is None:
            return expected
        if run.cell_seconds > _PACE and (found := _COUNT.search(run.last_line())):
            done, total = map(int, found.groups())
            if 0 < done < total:
                in_loop = run.cell_seconds * (total - done) / done
                return in_loop + expected * (run.cells - run.cell) / run.cells
        return max(expected - run.seconds, 0.25 * run.seconds)

    def _slowdown(self, nb: Notebook) -> float:
        """Return how many times as long as expected those of its kind took, or take."""
        took = dict(self._took)
        took |= {n: r.seconds for n, r in self._running.items() if r.seconds > self._expected[n]}
        alike = [one.name for one in self._all if one.name in took and trains(one) == trains(nb)]
        expected = sum(self._expected[name] for name in alike)
        return max(1.0, sum(took[name] for name in alike) / expected) if alike else 1.0


def print_results(paths: Paths, *, rendered: Path) -> None:
    """Print the paper's table beside ours, the verdict, and where things lie."""
    paper, verdict = "The paper's table beside ours", "The verdict on the paper's claims"
    for name, title in (("paper_table.csv", paper), ("verdict.csv", verdict)):
        if (table := paths.results / name).exists():
            say(f"\n{title} ({shown(table)}):\n\n{_aligned(table)}")
    say("")
    for what, folder, pattern in (
        ("figures", paths.figures, "*.png"),
        ("audio", paths.audio, "**/*.wav"),
        ("pieces", paths.generated, "**/*.mid"),
        ("tables", paths.results, "*.csv"),
        ("rendered notebooks", rendered, "*.html"),
    ):
        if count := len(list(folder.glob(pattern))):
            say(f"{what + ':':20}{count:5} in {shown(folder)}")


def _aligned(table: Path) -> str:
    def short(field: str) -> str:
        return f"{float(field):.5g}" if "." in field and _NUMBER.fullmatch(field) else field

    with table.open(newline="", encoding="utf-8") as file:
        rows = [list(map(short, row)) for row in csv.reader(file)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=False)]
    signs = [">" if _NUMBER.fullmatch(field) else "<" for field in rows[-1]]
    lines = [zip(row, signs, widths, strict=False) for row in rows]
    return "\n".join("  ".join(f"{f:{sign}{w}}" for f, sign, w in line).rstrip() for line in lines)


MAX_BYTES, MAX_CELL_LINES = 2_000_000, 40  # of a notebook that is committed
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MACHINE_PATH = re.compile(r"(/home/\w|/Users/\w|/root/|/tmp/|/var/folders/|[A-Za-z]:\\+Users)")
_BASE64 = re.compile(r"base64,[A-Za-z0-9+/=\s]+")
_TEXT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex")


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook, or say in one sentence why `path` is none."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise FormError(f"{path}: not a notebook that can be read ({reason})") from error


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """Return the code cells."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def _has_parameters(cell: NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def parameters_cell(nb: NotebookNode, *, name: str) -> NotebookNode:
    """Return the one cell tagged ``parameters``."""
    found = [cell for cell in code_cells(nb) if _has_parameters(cell)]
    if len(found) != 1:
        raise FormError(f"{name}: has {len(found)} cells tagged 'parameters', and needs one")
    return found[0]


def declared_parameters(cell: NotebookNode) -> dict[str, Any]:
    """Read names and values off a parameters cell without running it."""
    return {name: ast.literal_eval(value) for name, value in _assignments(cell.source)}


def with_parameters(source: str, values: Mapping[str, Any]) -> str:
    """Replace the values in a parameters cell, and leave names, order and comments as they are."""
    lines = [line.encode() for line in source.splitlines()]
    for name, value in reversed(list(_assignments(source))):
        if name in values and ast.literal_eval(value) != values[name]:
            if value.lineno != value.end_lineno:
                raise FormError(f"parameter {name}: its value must stand on one line")
            line, new = lines[value.lineno - 1], values[name]
            text = json.dumps(new, ensure_ascii=False) if isinstance(new, str) else repr(new)
            text = text.encode(errors="backslashreplace")  # a name that is not UTF-8
            lines[value.lineno - 1] = line[: value.col_offset] + text + line[value.end_col_offset :]
    return b"\n".join(lines).decode()


def _assignments(source: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each assignment; anything but ``NAME = LITERAL`` is refused."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        try:
            ast.literal_eval(value)
        except (ValueError, TypeError):
            value = None
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or value is None:
            raise FormError(f"parameters cell: line {node.lineno} is not NAME = LITERAL")
        yield targets[0].id, value


def relative_output(notebooks: Path, output: Path) -> str:
    """Return the output relative to a checkout's notebooks, so that they name no machine."""
    root = notebooks.parent if notebooks.name != "research" else notebooks.parents[1]
    if not output.is_relative_to(root):
        return str(output)
    return Path(os.path.relpath(output, notebooks)).as_posix()


def add_outputs(source: NotebookNode, run: NotebookNode, *, name: str, output: str) -> NotebookNode:
    """Put a run's outputs into the notebook as it stands, if its code is the same."""
    result = copy.deepcopy(source)
    old, new = code_cells(run), code_cells(result)
    values = declared_parameters(parameters_cell(run, name=name)) | {"output": output}
    values.pop("remeasure", None)  # for a release alone; a reader opens it as it stands
    target = parameters_cell(result, name=name)
    target.source = with_parameters(target.source, values)
    others = [[c.source for c in cells if not _has_parameters(c)] for cells in (old, new)]
    try:
        ran, written = (code_hash(cells=cells, packages=()) for cells in others)
    except CodeError as error:
        raise FormError(f"{name}: {error}") from error
    if ran != written or len(old) != len(new):
        raise FormError(f"{name}: its code has changed since it was run; run it again")
    for number, (cell, before) in enumerate(zip(new, old, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [_cleaned(out, number) for out in before.outputs]
        cell.metadata.pop("execution", None)
    result.metadata.pop("widgets", None)
    result.metadata.language_info = {"name": "python"}
    return result


def _cleaned(output: NotebookNode, number: int) -> NotebookNode:
    """Return an output without what differs from machine to machine and from run to run."""
    output = copy.deepcopy(output)
    if output.output_type == "execute_result":
        output.execution_count = number
    for holder, key in _texts(output):
        for folder, sign in ((ROOT, ".."), (Path.home(), "~")):
            if folder != Path(folder.anchor):
                holder[key] = holder[key].replace(str(folder), sign)
        holder[key] = _ADDRESS.sub("", holder[key])
    return output


def _texts(output: NotebookNode) -> list[tuple[NotebookNode, str]]:
    data = output.get("data", {})
    places = [(output, "text"), *((data, kind) for kind in _TEXT_TYPES)]
    return [(holder, key) for holder, key in places if key in holder]


def problems(nb: NotebookNode, *, size: int) -> list[str]:
    """Return what keeps a notebook of `size` bytes from being committed, one phrase each."""
    cells, study = code_cells(nb), nb.metadata.get("study", {})
    tagged = sum(_has_parameters(cell) for cell in cells)
    longest = max((len(cell.source.splitlines()) for cell in cells), default=0)
    ids = [cell.get("id") for cell in nb.cells]
    outputs = [out for cell in cells for out in cell.outputs]
    counts = [cell.execution_count for cell in cells]
    declared = all(isinstance(study.get(key), list) for key in ("depends", "writes"))
    checks = {
        "not run top to bottom": counts != list(range(1, len(cells) + 1)),
        "an empty code cell": any(not cell.source.strip() for cell in cells),
        f"{tagged} cells tagged 'parameters' instead of one": tagged != 1,
        f"a code cell of {longest} lines": longest > MAX_CELL_LINES,
        "cells without an id, or with the same": None in ids or len(set(ids)) < len(ids),
        "an error among its outputs": any(out.output_type == "error" for out in outputs),
        "log lines among its outputs": any(out.get("name") == "stderr" for out in outputs),
        f"{size:,} bytes, over {MAX_BYTES:,}": size > MAX_BYTES,
        "no 'study' metadata with 'depends' and 'writes'": not declared,
    }
    found = [phrase for phrase, bad in checks.items() if bad]
    for number, cell in enumerate(nb.cells, start=1):
        places = [(cell, "source"), *(at for out in cell.get("outputs", []) for at in _texts(out))]
        texts = [_BASE64.sub("", holder[key]) for holder, key in places]
        if hit := next(filter(None, map(_MACHINE_PATH.search, texts)), None):
            found.append(f"a path of a machine ({hit[0]}...) in cell {number}")
    return found


def changed_releases(root: Path) -> list[str]:
    """Return the released folders that are not as they were released."""
    try:
        told = json.loads((root / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError):
        return [MANIFEST.as_posix()]
    return sorted({name for name, _ in set(told.items()) ^ set(released_hashes(root).items())})


def released_hashes(root: Path) -> dict[str, str]:
    """Return the hash of each released folder."""
    folders = ["data/results", "data/splits", "data/weights", "figures"]
    generated = root.glob("data/generated/*/*/[0-9]*")
    folders += sorted(folder.relative_to(root).as_posix() for folder in generated)
    return {name: folder_hash(root / name) for name in folders}


def folder_hash(folder: Path) -> str:
    """Return a hash of the files right below a folder, without hidden ones: names and contents."""
    files = sorted(p for p in folder.glob("[!.]*") if p.is_file())
    listed = "".join(f"{path.name} {sha256_of(path)}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def load_cells(notebook: str, tag: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """Execute the cells of `notebook` that carry `tag`, in `namespace` and what it imports."""
    code = code_cells(read_notebook(NOTEBOOKS / f"{notebook}.ipynb"))
    cells = [cell for cell in code if tag in cell.metadata.get("tags", [])]
    if not cells:
        raise ValueError(f"{notebook} has no code cell tagged {tag!r}")
    statements = [node for cell in code for node in ast.parse(cell.source).body]
    imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    imported: dict[str, Any] = {}
    exec(compile(ast.Module(imports, []), notebook, "exec"), imported)
    namespace.update(imported | namespace)
    for cell in cells:
        exec(compile(cell.source, f"{notebook}[{cell.id}]", "exec"), namespace)
    return namespace


def lab() -> int:
    """Trust the notebooks, open JupyterLab, and return its exit status."""
    environment, folder = os.environ | kernel_environment(), ROOT / "notebooks"
    jupyter = [sys.executable, "-m", "jupyter"]
    trust = [*jupyter, "trust", *map(str, sorted(folder.glob("*.ipynb")))]
    if subprocess.run(trust, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        print("Not every notebook is trusted; JupyterLab opens all the same.", file=sys.stderr)
    command = [*jupyter, "lab", str(folder), *sys.argv[2:]]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:2] == ["lab"]:
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end JupyterLab
            sys.exit(lab())
    else:
        sys.exit(main())
