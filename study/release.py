"""Release what a run made: put it over the repository's own data, figures and notebook outputs.

    python -m study.release runs/full-chorales-0

A full run gives everything that it finished: pieces, histories and costs by model, kind and seed,
so that a release may be made over several days; tables and figures; looks at test sets, which are
appended. A plain run gives the same of the plain models, a ladder run the pieces and costs of those
between plain and refined, a classroom run the outputs of the notebooks that train, a run of another
budget its rows of the table of budgets and its look at test pieces, a benchmark its looks. Nothing
is written unless everything is in form. ``data/released.json`` holds a hash of each folder and the
versions that made it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from musiclib.files import append_csv, atomic_path, upsert_csv, write_json, write_text
from study import runner
from study.measuring import versions
from study.runner import ABOUT, MANIFEST, ROOT, FormError, read_notebook
from study.sets import PLAIN, REFINED

MERGED = {  # tables that several runs add to, and the columns that name a row
    "fairness.csv": ["model", "kind", "seed"],
    "speed.csv": ["model", "kind", "seed"],
    "budgets.csv": ["corpus", "trained_with", "model"],
    "paper_settings.csv": ["model", "setting", "sample"],
}
LEDGERS = ("test_looks.csv", "benchmark_nll.csv")  # of looks at test sets: none is ever changed
_TRAINERS = {"02_lstm": "lstm", "lstm_of_keys": "lstm", "03_gan": "gan", "04_vae": "vae"}


class ReleaseError(ValueError):
    """A run that cannot be released; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Release the runs that the command line names, in order, and return the exit status."""
    parser = argparse.ArgumentParser("release", argparse.SUPPRESS, "Release what runs made.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    for run in parser.parse_args(arguments).runs:
        try:
            said = release(run.expanduser())
        except (ReleaseError, FormError, OSError) as error:
            print(f"release: {error}\nNothing of {run} was released.", file=sys.stderr, flush=True)
            return 1
        print(f"Released from {run}:", *said, sep="\n", flush=True)
    return 0


def release(run: Path, root: Path = ROOT) -> list[str]:
    """Release a run into the checkout `root`, and return a line for each thing that was written."""
    try:
        about = json.loads((run / "rendered" / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{run} holds no run of the study; name one below runs/") from error
    preset = about["preset"]
    if about["corpus"] != "chorales" and preset != "benchmark":
        raise ReleaseError(f"{run}: what is released is of the chorales, not of {about['corpus']}")
    if preset == "smoke":
        raise ReleaseError(f"{run}: results of the smoke preset are never released")
    done = runner.State(run / "rendered").done()
    research = {path.stem for path in (root / "notebooks" / "research").glob("*.ipynb")}
    lessons, research = done & {*_TRAINERS} - research, done & research
    wanted = {"full": done, "classroom": lessons, "plain": lessons}.get(preset, set()) | research
    sources = [p for p in sorted((root / "notebooks").rglob("*.ipynb")) if p.stem in wanted]
    ran = {source: run / "rendered" / source.name for source in sources}
    texts = {s: committable(s, path) for s, path in ran.items() if _parameter("seed", path) == 0}
    said = list(_tables(run, root, preset))
    if preset in ("full", "plain", "ladder"):
        said += _models(run, root, done)
    if "ladders" in done:
        said += _copy(run, root, "data/results/ladder.csv", "figures/ladder.*")
    if preset == "full":
        said += _comparison(run, root, done)
    for path, text in texts.items():
        write_text(text, path)
        said.append(path.relative_to(root).as_posix())
    manifest = {"versions": versions(), "sha256": runner.released_hashes(root)}
    write_json(manifest, root / MANIFEST)
    return said


def _parameter(name: str, path: Path) -> Any:
    cell = runner.parameters_cell(read_notebook(path), name=path.stem)
    return runner.declared_parameters(cell)[name]


def committable(source: Path, run: Path) -> str:
    """Return the notebook `source` with the outputs of `run`, but for log lines and warnings."""
    name, output = source.stem, _parameter("output", source)
    result = runner.add_outputs(read_notebook(source), read_notebook(run), name=name, output=output)
    for cell in runner.code_cells(result):
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    text = nbformat.writes(result) + "\n"
    if found := runner.problems(result, size=len(text.encode())):
        raise FormError(f"{name}: {'; '.join(found)}")
    return text


def _tables(run: Path, root: Path, preset: str) -> Iterator[str]:
    names = {"full": (*MERGED, *LEDGERS), "classroom": (), "benchmark": LEDGERS}
    names["plain"] = ("fairness.csv", "speed.csv", "paper_settings.csv", "test_looks.csv")
    names["ladder"] = ("fairness.csv", "speed.csv", "test_looks.csv")
    for name in names.get(preset, ("budgets.csv", "test_looks.csv")):
        path, target = (folder / "data" / "results" / name for folder in (run, root))
        if not path.exists():
            continue
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        if name in MERGED:
            upsert_csv(rows, target, keys=MERGED[name])
        else:
            append_csv(rows, target)
        yield f"data/results/{name}: {len(rows)} rows"


def _models(run: Path, root: Path, done: set[str]) -> Iterator[str]:
    trained = {
        (model, folder.parent.name, int(folder.name))
        for notebook, model in _TRAINERS.items()
        for folder in (run / "data" / "generated" / model).glob("*/[0-9]*")
        if {notebook, f"{notebook}_seed_{folder.name}"} & done
    }
    for model, kind, seed in sorted(trained):
        pieces = Path("data", "generated", model, kind, str(seed))
        target = root / pieces
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as aside:
            shutil.copytree(run / pieces, Path(aside, "new"))
            if target.exists():
                target.rename(Path(aside, "old"))
            Path(aside, "new").rename(target)
        yield pieces.as_posix()
        name = model if kind == REFINED else f"{kind}_{model}"
        if kind not in (PLAIN, REFINED):
            continue
        _copy(run, root, f"data/results/history_{name}_{seed}.csv")
        if seed == 0:
            yield from _copy(run, root, f"data/weights/{name}.*")
    if trained and not {"05_comparison", "06_listening_test"} <= done:
        yield "The comparison is of other pieces now: run make remeasure, and release that too."


def _comparison(run: Path, root: Path, done: set[str]) -> Iterator[str]:
    """Copy what the notebooks that train nothing wrote, and the figures."""
    if "01_data_preparation" in done:
        yield from _copy(run, root, "data/splits/chorales.csv", "data/results/corpus_facts.csv")
    if {"05_comparison", "06_listening_test"} <= done:
        histories = [path.name for path in (run / "data" / "results").glob("*history_*")]
        skip = {*MERGED, *LEDGERS, "corpus_facts.csv", *histories}
        tables = ("data/results/*.csv", "data/results/measures.json", "data/listening/*.csv")
        yield from _copy(run, root, *tables, skip=skip)
    yield from _copy(run, root, "figures/*.png", "figures/*.svg")


def _copy(run: Path, root: Path, *patterns: str, skip: Collection[str] = ()) -> list[str]:
    """Copy the run's files that match over the released ones, each whole or not at all."""
    paths = [path for pattern in patterns for path in sorted(run.glob(pattern))]
    found = [path for path in paths if path.is_file() and path.name not in skip]
    names = [path.relative_to(run).as_posix() for path in found]
    for path, name in zip(found, names, strict=True):
        with atomic_path(root / name) as temporary:
            shutil.copyfile(path, temporary)
    return names


if __name__ == "__main__":
    sys.exit(main())
