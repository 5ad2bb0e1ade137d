"""Time the study's work beside the usual way, or run the likelihood benchmark.

    python -m study.bench --repeats 5 --output .
    python -m study.bench benchmark --model lstm --dataset jsb --seeds 3

In the first, both sides of a row do the same job on the same data. They take turns; the first is
not counted. The ratio is the median of otherwise / ours, between its lowest and highest value;
above 1 ours is faster. The table (``runs/bench/data/results/bench.csv``) holds for this machine.

The benchmark runs lstm_of_keys or vae_of_frames alone on one published set, once per seed, into
``runs/benchmark-<dataset>/``, and adds a row to ``data/results/benchmark_nll.csv`` for each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pretty_midi

from musiclib import load_midi, synthesize, to_piano_roll
from musiclib.files import write_csv, write_json
from study import runner
from study.benchmarks import SETS, find_benchmark
from study.run import KERNEL_THREADS, PRESET_NAMES
from study.runner import DONE, FAILED, REFUSED, ROOT, RUNS, Run, at_least, say, shown

TABLE = Path("data", "results", "bench.csv")
NOTEBOOKS = {"lstm": "research/lstm_of_keys", "vae": "research/vae_of_frames"}
Job = Callable[[], Any]
_LINE = (
    "{job}: {seconds_ours:.3f} s; {otherwise}: {seconds_otherwise:.3f} s, "
    "{ratio:.2f} times as long ({low:.2f} to {high:.2f})"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every row, write the table, and return the exit status."""
    parser = argparse.ArgumentParser("bench", argparse.SUPPRESS, __doc__.split(",")[0] + ".")
    add = parser.add_argument
    add("--repeats", type=at_least(1), default=5, help="turns that are counted (default: 5)")
    add("--pieces", type=at_least(2), default=40, help="most pieces to read (default: 40)")
    add("--steps", type=at_least(2), default=32, help="steps that the LSTM writes (default: 32)")
    add("--output", type=Path, default=RUNS / "bench", help="receives data/results/bench.csv")
    options = parser.parse_args(arguments)
    files = sorted((ROOT / "data/generated/lstm/refined/0").glob("*.mid"))[: options.pieces]
    found = []
    for row in (*reading_rows(files), writing_row(steps=options.steps)):
        found.append(timed(row, repeats=options.repeats))
        say(_LINE.format_map(found[-1]))
    path = options.output.expanduser() / TABLE
    write_csv(pd.DataFrame(found).round(4), path)
    say(f"The table: {path}")
    return 0


class Row(NamedTuple):
    """One row of the table: a job, done by us and otherwise."""

    job: str
    otherwise: str
    ours: Job
    theirs: Job


def timed(row: Row, *, repeats: int) -> dict[str, Any]:
    """Do both sides of a row in turns, and return its line of the table; seconds are medians."""

    def seconds_of(job: Job) -> float:
        began = time.perf_counter()
        job()
        return time.perf_counter() - began

    turns = [[seconds_of(row.ours), seconds_of(row.theirs)] for _ in range(repeats + 1)]
    seconds = np.array(turns[1:])
    ratios = seconds[:, 1] / seconds[:, 0]
    ours, theirs = np.median(seconds, axis=0)
    return {
        "job": row.job, "otherwise": row.otherwise, "seconds_ours": ours,
        "seconds_otherwise": theirs, "ratio": np.median(ratios),
        "low": ratios.min(), "high": ratios.max(),
    }  # fmt: skip


def reading_rows(files: Sequence[Path]) -> Iterator[Row]:
    """Yield the rows for files one after another: reading, drawing on the grid, playing."""
    n, midis = len(files), [load_midi(file) for file in files]
    yield Row(
        f"read {n} MIDI files, hostile until read", "pretty_midi, which trusts them",
        lambda: [load_midi(file) for file in files],
        lambda: [pretty_midi.PrettyMIDI(str(file)) for file in files],
    )  # fmt: skip
    yield Row(
        f"draw {n} pieces on a grid", "PrettyMIDI.get_piano_roll: seconds, no onsets",
        lambda: [to_piano_roll(midi) for midi in midis],
        lambda: [midi.get_piano_roll(fs=80 / 60 * 4) for midi in midis],  # the study's tempo
    )  # fmt: skip
    yield Row(
        "play a piece of 24 s", "PrettyMIDI.fluidsynth, which normalises the level",
        lambda: synthesize(midis[0]), lambda: midis[0].fluidsynth(fs=44_100),
    )  # fmt: skip


def writing_row(*, steps: int, pieces: int = 8) -> Row:
    """Return the row of an untrained LSTM that writes, beside the loop of most tutorials."""
    import keras

    voices, sounds = 4, 55
    space = {"np": np, "seed": 0, "V": voices, "S": sounds, "C": sounds + 1}
    cells = runner.load_cells("02_lstm", "model", space)
    model = cells["build_model"](192)  # cells of each layer
    cell = keras.layers.RNN(cells["Composer"](model), return_sequences=True)
    composer = keras.Sequential([keras.Input((steps, 2 * voices + 4)), cell])
    rng = np.random.default_rng(0)

    def at_once() -> None:
        given = np.full((pieces, steps, 2 * voices + 4), -1.0, "float32")
        given[..., :voices] = rng.random((pieces, steps, voices))
        given[..., -4:] = 0, 0, 1, 1
        composer.predict(given, batch_size=pieces, verbose=0)

    def note_by_note() -> None:
        given = {name: np.zeros((pieces, steps), "int32") for name in ("metre", "register")}
        given["before"] = np.zeros((pieces, steps, voices), "int32")
        given["now"] = np.zeros((pieces, steps, voices, 2), "int32")
        for t in range(steps):
            for v in model.get_layer("joint").order:
                logits = model.predict(given, batch_size=pieces, verbose=0)[:, t, v]
                code = np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)
                held = np.where(code == 1, given["before"][:, t, v], 0)
                given["now"][:, t, v] = np.stack([np.where(code > 1, code - 1, held), code], -1)
            if t + 1 < steps:
                given["before"][:, t + 1] = given["now"][:, t, :, 0]

    job = f"an LSTM writes {pieces} pieces of {steps} steps in one compiled call"
    return Row(job, "Model.predict for each note", at_once, note_by_note)


def benchmark(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says, and return the exit status."""
    parser = argparse.ArgumentParser("benchmark", argparse.SUPPRESS, "Run the benchmark.")
    add = parser.add_argument
    add("--model", choices=list(NOTEBOOKS), default="lstm", help="vae states a bound")
    add("--dataset", choices=list(SETS), default="jsb")
    add("--preset", choices=PRESET_NAMES, default="full", help="smoke looks at no test set")
    add("--seeds", type=at_least(1), default=3, help="how many, from the first on (default: 3)")
    add("--first", type=at_least(0), default=0, help="the first seed (default: 0)")
    add("--output", type=Path, help="the run's folder (default: runs/benchmark-DATASET)")
    add("--threads", type=at_least(1), default=KERNEL_THREADS, help="threads of the kernel")
    options = parser.parse_args(arguments)
    try:
        say(f"{options.dataset}: {find_benchmark(options.dataset).name} is there")
    except (ValueError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr, flush=True)
        return REFUSED
    output = (options.output or RUNS / f"benchmark-{options.dataset}").expanduser().resolve()
    rendered = output / "rendered"
    about = {"preset": "benchmark", "corpus": options.dataset, "seed": options.first}
    write_json(about, rendered / runner.ABOUT)
    path = runner.NOTEBOOKS / f"{NOTEBOOKS[options.model]}.ipynb"
    node, where = runner.read_notebook(path), runner.relative_output(path.parent, output)
    given = {"preset": options.preset, "corpus": options.dataset, "output": where}
    for seed in range(options.first, options.first + options.seeds):
        values = given | {"seed": seed}
        run = Run(runner.Notebook(path.stem, path, node, [], [], [], values, values))
        try:
            asyncio.run(run.execute(threads=options.threads))
        except runner.NotebookError as error:
            log = run.keep_failure(error, rendered)
            say(f"seed {seed}: {error} (in full: {shown(log)})")
            return FAILED
        run.keep(rendered)
        say(f"seed {seed}: done in {runner.clock(run.seconds)}")
    say(f"Every look at the test set: {shown(output / 'data/results/benchmark_nll.csv')}")
    return DONE


if __name__ == "__main__":
    sys.exit(benchmark(sys.argv[2:]) if sys.argv[1:2] == ["benchmark"] else main())
