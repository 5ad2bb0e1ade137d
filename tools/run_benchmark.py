"""Run the likelihood benchmark: notebook 02 or 04 alone, on one set, once for each seed.

    python -m tools.run_benchmark --model lstm --dataset jsb --seeds 3

Conventions: the run's folder is ``runs/benchmark-<dataset>/`` unless another is named; the notebook
appends a row for each look at the test set to ``data/results/benchmark_nll.csv`` there, and stands
as last run in ``rendered/``.
The exit status is 0 when all is done, 1 when the notebook failed, 2 for a choice that cannot be.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from musiclib.benchmarks import SETS, find_benchmark
from musiclib.files import write_json
from musiclib.study import KERNEL_THREADS, PRESET_NAMES
from tools.command_line import REFUSED, Parser, whole
from tools.notebook_form import ROOT, RUNS, read_notebook, seen_from
from tools.notebook_run import NotebookError, Run
from tools.notebook_state import ABOUT, Notebook
from tools.study_report import clock, say, shown

NOTEBOOKS = {"lstm": "02_lstm", "vae": "04_vae"}
DONE, FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says, and give the exit status."""
    options = _parser().parse_args(arguments)
    try:
        say(f"{options.dataset}: {find_benchmark(options.dataset).name} is there")
    except (ValueError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr, flush=True)
        return REFUSED
    output = (options.output or RUNS / f"benchmark-{options.dataset}").expanduser().resolve()
    rendered = output / "rendered"
    about = {"preset": "benchmark", "corpus": options.dataset, "seed": options.first}
    write_json(about, rendered / ABOUT)
    for seed in range(options.first, options.first + options.seeds):
        run = Run(_notebook(options, seed=seed, output=output))
        try:
            asyncio.run(run.execute(threads=options.threads))
        except NotebookError as error:
            log = run.keep_failure(error, rendered)
            say(f"seed {seed}: {error} (in full: {shown(log)})")
            return FAILED
        run.keep(rendered)
        say(f"seed {seed}: done in {clock(run.seconds)}")
    say(f"Every look at the test set: {shown(output / 'data/results/benchmark_nll.csv')}")
    return DONE


def _notebook(options: argparse.Namespace, *, seed: int, output: Path) -> Notebook:
    name = NOTEBOOKS[options.model]
    path = ROOT / "notebooks" / f"{name}.ipynb"
    given = {
        "preset": options.preset,
        "seed": seed,
        "corpus": options.dataset,
        "output": seen_from(path.parent, output),
    }
    return Notebook(name, path, read_notebook(path), [], [], [], given, dict(given))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="benchmark", description="Run the benchmark.")
    add = parser.add_argument
    add("--model", choices=list(NOTEBOOKS), default="lstm", help="vae states a bound")
    add("--dataset", choices=list(SETS), default="jsb")
    add("--preset", choices=PRESET_NAMES, default="full", help="smoke looks at no test set")
    add("--seeds", type=whole(1), default=3, help="how many, from the first on (default: 3)")
    add("--first", type=whole(0), default=0, help="the first seed (default: 0)")
    add("--output", type=Path, help="the run's folder (default: runs/benchmark-DATASET)")
    add("--threads", type=whole(1), default=KERNEL_THREADS, help="threads of the kernel")
    return parser


if __name__ == "__main__":
    sys.exit(main())
