"""Set up a run of the study: budgets, corpus, folders, seed, progress, figures, skipped cells.

A *preset* is a column of the one table of budgets; nothing else decides how long something trains.
Steps are optimizer steps, never seconds, so that a result does not depend on the machine's speed.
Importing this starts no backend.
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import DisplayHandle

from musiclib.files import atomic_path, write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESET_NAMES = ("smoke", "standard", "classroom", "plain", "ladder", "half", "double", "full")

BUDGETS: Mapping[str, tuple[int, int, int, int, int, int, int, int]] = {
    #             smoke  standard  classroom  plain  ladder  half  double  full
    "max_pieces": (60, 400, 400, 400, 400, 400, 400, 400),  # most pieces of the corpus to read
    "seeds": (1, 1, 5, 5, 1, 1, 1, 5),  # training runs of each model, each with its own seed
    "n_samples": (4, 20, 12, 40, 40, 40, 40, 40),  # pieces that each training generates
    # Optimizer steps; 0: released weights.
    "plain_lstm_steps": (6, 600, 0, 1_200, 0, 0, 0, 1_200),
    "plain_gan_steps": (6, 1_500, 0, 3_000, 0, 0, 0, 3_000),
    "plain_vae_steps": (6, 1_500, 0, 3_000, 0, 0, 0, 3_000),
    "lstm_units": (32, 192, 256, 256, 256, 256, 256, 256),  # cells of each LSTM layer
    "lstm_steps": (20, 350, 0, 0, 0, 400, 1_600, 800),
    "gan_steps": (20, 600, 0, 0, 0, 800, 3_200, 1_600),
    "vae_steps": (20, 700, 0, 0, 0, 1_000, 4_000, 2_000),
    # Of each model between the plain and the refined one; 0: the released pieces.
    "lstm_rung_steps": (4, 0, 0, 0, 240, 0, 0, 0),
    "gan_rung_steps": (2, 0, 0, 0, 1_600, 0, 0, 0),
    "vae_rung_steps": (2, 0, 0, 0, 2_000, 0, 0, 0),
    "minutes": (4, 12, 4, 30, 90, 15, 45, 260),  # expected on two cores, to begin with
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """One column of the table of budgets, read as ``budget["lstm_steps"]``."""

    name: str

    def __getitem__(self, key: str) -> int:
        if key not in BUDGETS:
            raise ValueError(f"key: got {key!r}, the budgets are {', '.join(BUDGETS)}")
        return BUDGETS[key][PRESET_NAMES.index(self.name)]

    @property
    def trainings(self) -> int:
        """How often each model is trained; 0 if the released pieces are read instead."""
        return self["seeds"] if any(self[key] for key in BUDGETS if key.endswith("_steps")) else 0

    def full(self, key: str) -> int:
        """Return the value of the full preset, to print beside a reduced one."""
        return Preset("full")[key]

    def table(self) -> pd.DataFrame:
        """Return this preset's values beside the full ones, one row per budget."""
        rows = {key: (self[key], self.full(key)) for key in BUDGETS}
        return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{self.name} (here)", "full"])


def preset(name: str) -> Preset:
    """Return the budgets of the preset `name`.

    ``smoke`` (does it run?), ``standard`` (everything trained, in minutes), ``classroom`` (released
    weights, nothing trained), ``plain`` (the plain models alone), ``ladder`` (the models between
    plain and refined), ``full`` (in hours), ``half`` and ``double`` (the refined models, with half
    and twice of full's steps).
    """
    if name not in PRESET_NAMES:
        raise ValueError(f"preset: got {name!r}; allowed: {', '.join(PRESET_NAMES)}")
    return Preset(name)


CORPORA = ("chorales",)  # what `corpus` may say besides a folder of MIDI files
BENCHMARK_SETS = ("jsb", "piano_midi", "nottingham", "musedata")  # see study.benchmarks
CHECKOUT = Path(__file__).resolve().parent.parent  # its data/ and figures/ are the released ones


def corpus_folder(corpus: str) -> Path | None:
    """Return the folder of MIDI files that `corpus` names, or None for one of `CORPORA`."""
    if corpus in CORPORA:
        return None
    folder = Path(corpus).expanduser()
    if corpus in BENCHMARK_SETS and not folder.is_dir():
        raise ValueError(
            f"corpus: {corpus!r} is a benchmark set, which no lesson reads; run the benchmark "
            f"with: make benchmark DATASET={corpus} SEEDS=3"
        )
    if not corpus.strip() or not folder.is_dir():
        raise ValueError(f"corpus: got {corpus!r}; allowed: chorales or a folder that exists")
    return folder


class Paths:
    """The folders of a run, and the released ones in the repository, which no run changes.

    A relative `output` stays relative, so that a notebook's output names no machine. The released
    files come from the chorales, so a run on a folder of MIDI files never reads them.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        corpus: str = "chorales",
        *,
        released: str | os.PathLike[str] | None = None,
    ) -> None:
        self.output = Path(output)
        self.released = Path(os.path.relpath(CHECKOUT) if released is None else released)
        if self.output.resolve() == self.released.resolve():
            raise ValueError(
                f"output: {output} holds the released files, which no run changes; name another "
                "folder, such as ../runs/lab"
            )
        self.reads_released = corpus in CORPORA or corpus in BENCHMARK_SETS
        self.figures = self.output / "figures"  # each as PNG and SVG
        self.data = self.output / "data"
        self.prepared = self.data / "prepared"  # the corpus as rolls
        self.generated = self.data / "generated"  # pieces: <model>/<kind>/<seed>/NNN.mid
        self.results = self.data / "results"  # tables as CSV
        self.audio = self.data / "audio"  # rendered pieces
        self.weights = self.data / "weights"  # trained weights and their cards
        self.checkpoints = self.data / "checkpoints"  # of training runs that have not ended

    def find(self, path: str | os.PathLike[str]) -> Path:
        """Return `path`, a file or folder of the run, or its released twin if only that exists."""
        path, twin = Path(path), self.released / Path(path).relative_to(self.output)
        return twin if self.reads_released and twin.exists() and not path.exists() else path

    def table(self, file: str, *, keys: Sequence[str] = ()) -> pd.DataFrame:
        """Read the released rows of a table and the run's, which replace those of equal `keys`."""
        own, twin = self.results / file, self.released / "data" / "results" / file
        found = [path for path in ((twin, own) if self.reads_released else (own,)) if path.exists()]
        if not found:
            raise FileNotFoundError(f"{own} is missing; run the notebook that writes it first")
        rows = pd.concat([pd.read_csv(path) for path in found], ignore_index=True)
        return rows.drop_duplicates(list(keys) or None, keep="last").reset_index(drop=True)

    def write_table(self, table: pd.DataFrame, file: str) -> None:
        """Write a table, without its index, to the run's results."""
        write_csv(table, self.results / file)

    def weights_of(self, model: str, *, seed: int) -> Path:
        """Return the weights file of a model in the run's folder; seed 0 has no number."""
        return self.weights / f"{model}{f'_{seed}' if seed else ''}.weights.h5"

    def trained_weights(self, model: str, *, seed: int) -> Path:
        """Return the weights to load: the run's of this seed, else the released ones of seed 0."""
        own = self.weights_of(model, seed=seed)
        released = self.find(self.weights_of(model, seed=0))
        return released if self.reads_released and not own.exists() else own

    def trained_history(self, model: str, *, seed: int) -> Path:
        """Return the training history that belongs to `trained_weights`."""
        own = self.weights_of(model, seed=seed).exists() or not self.reads_released
        return self.find(self.results / f"history_{model}_{seed if own else 0}.csv")


KERNEL_THREADS = 1  # results depend on it in the last digits, so it is fixed, not the machine's
MAX_SEED = 2**32 - 1
RUN_KEY = "MUSICLIB_RUN_KEY"  # the variable in which the runner gives a notebook its key


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Keras and its backend, and return a generator for everything else that draws numbers.

    On TensorFlow the operations are made deterministic too, and the number of threads is fixed at
    `KERNEL_THREADS` unless ``TF_NUM_INTRAOP_THREADS`` says otherwise or TensorFlow already runs.
    """
    is_integer = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not is_integer or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed: got {seed!r}; allowed: an integer from 0 to {MAX_SEED}")
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS", KERNEL_THREADS))
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # TensorFlow is running already, with another number
            warnings.warn(
                "TensorFlow was started before seed_everything, so its number of threads is this "
                "machine's and results may differ in their last digits; restart the kernel",
                stacklevel=2,
            )
        tf.config.experimental.enable_op_determinism()
        tf.get_logger().setLevel("ERROR")  # it warns about windows of several sizes
    keras.utils.set_random_seed(int(seed))
    return np.random.default_rng(int(seed))


def kernel_environment(*, threads: int = KERNEL_THREADS) -> dict[str, str]:
    """Return the environment variables under which a notebook computes the same bytes each time."""
    pools = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
    return {
        **{f"{pool}_NUM_THREADS": str(threads) for pool in pools},
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",  # errors and warnings only
        "GRPC_VERBOSITY": "ERROR",
        "PYTHONHASHSEED": "0",  # the order of a set of strings
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def skip_layer_seeds(seed: int, n: int) -> None:
    """Seed Keras, then drop the seeds that n new layers would take.

    So a model gets the first weights that it had when others were built before it.
    """
    import keras

    keras.utils.set_random_seed(seed)
    for _ in range(n):
        keras.random.SeedGenerator()


_NOTEBOOK_SECONDS, _TERMINAL_SECONDS = 1.0, 10.0  # at most one update, or one line, in this time
_FIGURE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class Progress(Iterable[Any]):
    """Count steps in one line of text that updates in place and leaves only its last state.

    `items` is what to loop over; an integer n means ``range(n)``. Set `note` to show a loss. Where
    a library owns the loop, call `step` and `close`. Outside a notebook a plain line is printed now
    and then. No time is shown, so a notebook's output is the same in every run.
    """

    def __init__(self, items: Iterable[Any] | int, label: str) -> None:
        self.items = range(items) if isinstance(items, int) else items
        self.total = len(self.items) if hasattr(self.items, "__len__") else None
        self.label, self.note, self.done = label, "", 0
        self._handle = DisplayHandle() if hasattr(get_ipython(), "kernel") else None
        self._every = _TERMINAL_SECONDS if self._handle is None else _NOTEBOOK_SECONDS
        self._last, self._shown = time.monotonic(), ""

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.items:
                yield item
                self.step(self.note)
        finally:
            self.close()

    def step(self, note: str = "") -> None:
        """Count one step; `note` says how it is going, such as ``loss 1.23``."""
        self.done, self.note = self.done + 1, note
        if time.monotonic() - self._last >= self._every:
            self.show()

    def show(self) -> None:
        """Show the state so far, unless it is already shown."""
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        text = f"{self.label}: {count}" + (f", {self.note}" if self.note else "")
        first = not self._shown
        if text == self._shown:
            return
        self._last, self._shown = time.monotonic(), text
        if self._handle is None:
            print(text, flush=True)
        else:
            show = self._handle.display if first else self._handle.update
            show({"text/plain": text}, raw=True)

    close = show  # also of a loop that stopped early


def save_figure(fig: Figure, name: str, paths: Paths) -> Path:
    """Write `fig` as PNG (150 dpi) and SVG to the figures folder, and return the PNG's path.

    The same figure gives the same bytes (our choice): no date or version, ids salted with `name`.
    """
    import matplotlib as mpl

    if not _FIGURE_NAME.fullmatch(name):
        raise ValueError(f"name: got {name!r}; allowed: lowercase letters, digits and _")
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    for ending, words in metadata.items():
        target = paths.figures / f"{name}.{ending}"
        with mpl.rc_context({"svg.hashsalt": name}), atomic_path(target) as temporary:
            fig.savefig(temporary, format=ending, dpi=150, bbox_inches="tight", metadata=words)
    return paths.figures / f"{name}.png"


def skip_cells(reason: str) -> None:
    """Make all later cells print `reason` instead of running, until the parameters cell runs again.

    Nothing is raised, so a run that needs only the beginning of a notebook still ends well.
    """
    shell = get_ipython()
    if shell is None:
        raise RuntimeError("skip_cells: works in a notebook's kernel only")
    chain = shell.input_transformers_cleanup  # they get a cell's lines before IPython runs them

    def replace(lines: list[str]) -> list[str]:
        if any(line.startswith("corpus =") for line in lines):  # the parameters cell
            chain.remove(replace)
            return lines
        return [f"print({f'Skipped: {reason}.'!r})\n"]

    chain.append(replace)
