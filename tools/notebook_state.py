"""Which notebooks there are, what each depends on, and which of them need not be run again.

Conventions: a notebook's *key* is a hash of all that decides its results: its code and what that
reaches (`musiclib.code_hash`), its parameters, the versions of what computes, the keys of the
notebooks that it depends on, and the files that people add for it to read. The state of an output
folder stands in ``rendered/state.json``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from musiclib.code_hash import CodeError, code_hash
from musiclib.corpus import pedal_asked
from musiclib.entries import find_midi
from musiclib.files import sha256_of, write_json
from musiclib.presets import BUDGETS, Preset
from tools.notebook_form import (
    ROOT,
    FormError,
    code_cells,
    declared_parameters,
    parameters_cell,
    read_notebook,
)

ABOUT = "run.json"
"""What a run is (preset, corpus, seed), in its folder ``rendered/``."""

MANIFEST = Path("data", "released.json")
"""The hash of each released folder, below the checkout."""

PACKAGES = (
    "keras",
    "librosa",
    "matplotlib",
    "music21",
    "numpy",
    "pandas",
    "pretty_midi",
    "pyfluidsynth",
    "pyloudnorm",
    "scikit-posthocs",
    "scipy",
    "soundfile",
    "tensorflow",
)


@dataclasses.dataclass
class Notebook:
    """One notebook of a run, or one training seed more of a notebook that trains."""

    name: str  # the file's name without ending, such as 02_lstm; 02_lstm_seed_1 for one seed more
    path: Path
    node: NotebookNode
    depends: list[str]
    writes: list[str]
    reads: list[str]  # what people add between runs, as patterns below the output folder
    given: dict[str, Any]  # the parameters that the run replaces
    parameters: dict[str, Any]  # all of them
    key: str = ""

    def missing(self, output: Path) -> list[str]:
        """List the declared outputs that are not there."""
        patterns = [pattern.format_map(self.parameters) for pattern in self.writes]
        return [pattern for pattern in patterns if not any(output.glob(pattern))]

    def added(self, output: Path) -> list[tuple[str, str]]:
        """List the files that people added for it to read: name and SHA-256."""
        paths = sorted({path for pattern in self.reads for path in output.glob(pattern)})
        files = [path for path in paths if path.is_file()]
        return [(path.relative_to(output).as_posix(), sha256_of(path)) for path in files]


def read_notebooks(folder: Path, given: Mapping[str, Any], *, trainings: int = 1) -> list[Notebook]:
    """Read the numbered notebooks of `folder` in order.

    Parameters
    ----------
    folder : Path
        Where ``0*.ipynb`` stand.
    given : mapping
        The parameters of the run; each notebook receives those that its cell declares.
    trainings : int
        How often a notebook that trains (``"trains": [...]`` in its metadata: what its training
        writes) is run, each time with the next seed. What depends on it depends on all of them.
        With 0 it is run once, trains nothing, and nothing waits for it.

    Raises
    ------
    FormError
        If there is none, one cannot be read, or one depends on a notebook that does not come
        before it.
    """
    paths = sorted(folder.glob("0*.ipynb"))
    if not paths:
        raise FormError(f"{folder}: holds no notebook named 0*.ipynb")
    found: list[Notebook] = []
    for path in paths:
        found.append(_read(path, earlier=found, given=given))
    training = {nb.name for nb in found if trains(nb)}
    for nb in found:
        if not trainings:
            nb.depends = [name for name in nb.depends if name not in training]
        else:
            nb.writes += nb.node.metadata.get("study", {}).get("trains", [])
    more = [_with_seed(nb, k) for k in range(1, trainings) for nb in found if trains(nb)]
    for nb in found:
        nb.depends += [other.name for other in more if other.path.stem in nb.depends]
    last = max((found.index(nb) for nb in found if trains(nb)), default=-1) + 1
    return [*found[:last], *more, *found[last:]]


def trains(nb: Notebook) -> bool:
    """Tell whether a notebook trains a model, once for each training seed of the preset."""
    return "trains" in nb.node.metadata.get("study", {})


def _with_seed(nb: Notebook, further: int) -> Notebook:
    """Give the notebook `nb` with a seed that lies `further` beyond its own."""
    seed = nb.parameters["seed"] + further
    changed = {
        name: {**values, "seed": seed}
        for name, values in (("given", nb.given), ("parameters", nb.parameters))
    }
    return dataclasses.replace(
        nb, name=f"{nb.name}_seed_{seed}", depends=list(nb.depends), **changed
    )


def _read(path: Path, *, earlier: Sequence[Notebook], given: Mapping[str, Any]) -> Notebook:
    node = read_notebook(path)
    study = node.metadata.get("study", {})
    names = [nb.name for nb in earlier]
    depends = list(study.get("depends", names))
    if unknown := set(depends) - set(names):
        raise FormError(f"{path.stem}: depends on {min(unknown)}, which does not come before it")
    declared = declared_parameters(parameters_cell(node, name=path.stem))
    taken = {name: value for name, value in given.items() if name in declared}
    writes, reads = (list(study.get(key, [])) for key in ("writes", "reads"))
    return Notebook(path.stem, path, node, depends, writes, reads, taken, declared | taken)


def set_keys(notebooks: list[Notebook], *, surroundings: Mapping[str, Any], output: Path) -> None:
    """Give each notebook its key.

    Parameters
    ----------
    notebooks : list of Notebook
        In order, so that what one depends on comes before it.
    surroundings : mapping
        What else decides the results of all of them.
    output : Path
        Where the files that people add are looked for.
    """
    keys: dict[str, str] = {}
    for nb in notebooks:
        parts = {
            "code": _code_of(nb),
            "parameters": {k: v for k, v in nb.parameters.items() if k != "output"},
            "surroundings": dict(surroundings),
            "added": nb.added(output),
            "depends": [keys[name] for name in nb.depends],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        nb.key = keys[nb.name] = hashlib.sha256(text.encode()).hexdigest()


def _code_of(nb: Notebook) -> str:
    """Hash a notebook's cells and what they reach, but the budgets, of which the run's own count.

    Raises
    ------
    CodeError
        If something in it cannot be followed.
    """
    parameters = parameters_cell(nb.node, name=nb.name)
    cells = [cell.source for cell in code_cells(nb.node) if cell is not parameters]
    budgets = [f"{Preset.__module__}:{name}" for name in ("BUDGETS", "PRESET_NAMES")]
    try:
        return code_hash(cells=cells, leave_out=budgets)
    except CodeError as error:
        raise CodeError(f"{nb.name}: {error}") from error


def surroundings(budget: Preset, *, threads: int, corpus: Path | None) -> dict[str, Any]:
    """Give what decides the results of every notebook beside its own code and parameters.

    Parameters
    ----------
    budget : Preset
        Of the run; what other presets say does not count, but for the full one printed beside.
    threads : int
        Threads of each kernel.
    corpus : Path or None
        A folder of the user's own, whose files are then known by name, size and time.
    """
    return {
        "budget": [(key, budget[key], budget.full(key)) for key in BUDGETS if key != "minutes"],
        "versions": {package: _version(package) for package in PACKAGES},
        "python": platform.python_version_tuple()[:2],
        "backend": os.environ.get("KERAS_BACKEND", ""),
        "threads": threads,
        "corpus": _listing(corpus) if corpus else [],
        "pedal": str(pedal_asked()),
        "released": "" if budget.trainings else _released(),
    }


def _released() -> str:
    """Return the hash of what is released, which a run that trains nothing depends on."""
    return sha256_of(ROOT / MANIFEST) if (ROOT / MANIFEST).is_file() else ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """List what may be music: file, size and time of change, 0 and 0 for what cannot be read."""
    found = []
    for path in find_midi(folder):
        size = changed = 0
        with contextlib.suppress(OSError):
            status = path.stat()
            size, changed = status.st_size, status.st_mtime_ns
        found.append((path.relative_to(folder).as_posix(), size, changed))
    return found


class State:
    """What stands in an output folder: a record of each notebook that was run to its end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"
        self._content: dict[str, Any] = {"notebooks": {}, "seconds": {}}
        if self.path.exists():
            try:
                self._content |= json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError:
                print(f"{self.path} cannot be read, so every notebook is run again.", flush=True)

    def is_done(self, nb: Notebook, *, output: Path) -> bool:
        """Tell whether `nb` was run with this key and what it wrote is still there."""
        record = self._content["notebooks"].get(nb.name, {})
        rendered = self.path.with_name(f"{nb.name}.ipynb").exists()
        return record.get("key") == nb.key and rendered and not nb.missing(output)

    def done(self) -> set[str]:
        """Return the names of the notebooks that were run to their end."""
        return set(self._content["notebooks"])

    def forget(self, nb: Notebook) -> None:
        """Strike `nb` out before it is run, as its files may be half changed until it ends."""
        if self._content["notebooks"].pop(nb.name, None) is not None:
            write_json(self._content, self.path)

    def record(self, nb: Notebook, *, preset: str, seconds: float) -> None:
        """Note that `nb` was run to its end."""
        self._content["notebooks"][nb.name] = {"key": nb.key}
        self._content["seconds"].setdefault(preset, {})[nb.name] = round(seconds, 1)
        write_json(self._content, self.path)

    def seconds(self, nb: Notebook, *, preset: str) -> float | None:
        """Give how long `nb` took with `preset` the last time, if it was ever run so here."""
        return self._content["seconds"].get(preset, {}).get(nb.name)
