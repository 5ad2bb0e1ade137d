"""Set up a run of the study: its folders, seed and figures; budgets, progress and tables beside.

Conventions: every file is written atomically. This room knows numbers, never music or models.
What notebooks need of `presets`, `progress` and `tables` can be had from here.
"""

from __future__ import annotations

import dataclasses
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musiclib.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# ---- study.run ----
# The budgets of the study: how much each preset reads, trains and generates.
#
# Conventions: a *preset* is a named column of the one table below; nothing else in the project
# decides how long something trains. Steps are optimizer steps, never seconds, so that a result does
# not depend on the machine's speed.


PRESET_NAMES = ("smoke", "standard", "classroom", "half", "double", "full")

# The one table of budgets; the full value is the last of each row.
BUDGETS: Mapping[str, tuple[int, int, int, int, int, int]] = MappingProxyType(
    {
        #             smoke  standard  classroom  half  double  full
        "max_pieces": (60, 400, 400, 400, 400, 400),  # pieces of the corpus that are read, at most
        "seeds": (1, 1, 5, 1, 1, 5),  # trainings of each model, each from its own seed
        "n_samples": (4, 20, 12, 40, 40, 40),  # pieces that each training generates
        "lstm_units": (32, 192, 256, 256, 256, 256),  # cells of each LSTM layer
        "lstm_steps": (20, 350, 0, 400, 1_600, 800),  # optimizer steps; 0: released weights
        "keys_steps": (4, 24, 0, 0, 0, 240),  # of the LSTM of keys, each of two trainings
        "gan_steps": (20, 600, 0, 800, 3_200, 1_600),
        "vae_steps": (20, 700, 0, 1_000, 4_000, 2_000),
        "minutes": (4, 12, 4, 15, 45, 240),  # expected on two cores, first estimate of time left
    }
)


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
        """How often each model is trained; 0 where the released pieces are read instead."""
        return self["seeds"] if self["lstm_steps"] else 0

    def full(self, key: str) -> int:
        """Give the value that the full preset has, to print beside a reduced one."""
        return Preset("full")[key]

    def table(self) -> pd.DataFrame:
        """Give this preset's values beside the full ones, a row a budget."""
        rows = {key: (self[key], self.full(key)) for key in BUDGETS}
        return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{self.name} (here)", "full"])


PRESETS: Mapping[str, Preset] = MappingProxyType({name: Preset(name) for name in PRESET_NAMES})


def preset(name: str) -> Preset:
    """Give the budgets of the preset `name`.

    Parameters
    ----------
    name : str
        ``smoke`` (does it run?), ``standard`` (everything trained, in minutes), ``classroom``
        (the released weights, nothing trained), ``full`` (best quality, in hours), or ``half``
        and ``double``: one training each with half and twice full's steps, for the table that
        shows what hangs on the budget.

    Returns
    -------
    Preset
        Read a budget off it by name: ``budget["lstm_steps"]``.

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> preset("smoke")["n_samples"] < preset("smoke").full("n_samples")
    True
    """
    if name not in PRESETS:
        raise ValueError(f"preset: got {name!r}, allowed are {', '.join(PRESET_NAMES)}")
    return PRESETS[name]


# ---- study.run ----
# Show how far a loop has come in one line that leaves no debris.
#
# Conventions: in a notebook the line is one display that updates in place, so that only its last
# state is kept; elsewhere it is a plain line now and then. No time is shown: what a notebook keeps
# is the same at each run.


_NOTEBOOK_SECONDS = 1.0  # at most one update a second
_TERMINAL_SECONDS = 10.0  # at most one line in ten seconds


class Progress(Iterable[Any]):
    """Count steps in one line of text that updates in place and leaves only its last state."""

    def __init__(self, items: Iterable[Any] | int, label: str) -> None:
        self.items = range(items) if isinstance(items, int) else items
        self.total = len(self.items) if hasattr(self.items, "__len__") else None
        self.label, self.note, self.done = label, "", 0
        self._line = _Line()

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.items:
                yield item
                self.step(self.note)
        finally:
            self.close()

    def step(self, note: str = "") -> None:
        """Count one step; `note` says how it goes, such as ``loss 1.23``."""
        self.done, self.note = self.done + 1, note
        self._line.show(str(self))

    def close(self) -> None:
        """Show the state in which it ends."""
        self._line.show(str(self), now=True)

    def __str__(self) -> str:
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        return f"{self.label}: {count}" + (f", {self.note}" if self.note else "")


def progress(items: Iterable[Any] | int, label: str) -> Progress:
    """Show how far a loop has come, without debris in the notebook.

    Parameters
    ----------
    items : iterable or int
        What to go through; an integer stands for ``range(items)``.
    label : str
        What is counted, such as ``LSTM steps``.

    Returns
    -------
    Progress
        Iterate over it; set its `note` to show a loss. Or call ``step(note)`` for each step and
        ``close()`` at the end, where a library owns the loop. No time is shown: what stays in the
        notebook is the same at each run.

    Examples
    --------
    >>> bar = progress(["a", "b"], "letters")
    >>> [letter for letter in bar]
    letters: 2 of 2
    ['a', 'b']
    """
    return Progress(items, label)


class _Line:
    """One line of text, shown at most so often."""

    def __init__(self) -> None:
        self._handle = _display_handle()
        self._every = _TERMINAL_SECONDS if self._handle is None else _NOTEBOOK_SECONDS
        self._last, self._shown = time.monotonic(), ""

    def show(self, text: str, *, now: bool = False) -> None:
        if text == self._shown or not (now or time.monotonic() - self._last >= self._every):
            return
        first = not self._shown
        self._last, self._shown = time.monotonic(), text
        if self._handle is None:
            print(text, flush=True)
        else:
            show = self._handle.display if first else self._handle.update
            show({"text/plain": text}, raw=True)


def _display_handle() -> Any:
    """Give a handle on a display of a notebook, or None outside of one."""
    try:
        from IPython import get_ipython
        from IPython.display import DisplayHandle
    except ImportError:
        return None
    return DisplayHandle() if hasattr(get_ipython(), "kernel") else None


CORPORA = ("chorales",)  # what `corpus` may say beside a folder of MIDI files
BENCHMARK_SETS = ("jsb", "piano_midi", "nottingham", "musedata")  # what notebook 02 alone reads

KERNEL_THREADS = 1  # results depend on it in the last digits, so it is fixed, not the machine's

CHECKOUT = Path(__file__).resolve().parent.parent
"""Where the repository's own ``data/`` and ``figures/`` stand: what is released."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
MAX_SEED = 2**32 - 1


def corpus_folder(corpus: str) -> Path | None:
    """Tell a folder of the user's own from the name of a corpus.

    Parameters
    ----------
    corpus : str
        One of `CORPORA`, or a folder of MIDI files.

    Returns
    -------
    pathlib.Path or None
        The folder; None for a name.

    Raises
    ------
    ValueError
        If it is neither; a benchmark set is refused with the command that runs it.
    """
    if corpus in CORPORA:
        return None
    if corpus in BENCHMARK_SETS and not Path(corpus).is_dir():
        raise ValueError(
            f"corpus: {corpus!r} is a benchmark set, which only notebook 02 reads; run that "
            f"notebook alone with: make benchmark DATASET={corpus} SEEDS=3"
        )
    if not corpus.strip() or not Path(corpus).expanduser().is_dir():
        names = ", ".join(CORPORA)
        raise ValueError(f"corpus: got {corpus!r}, allowed are {names} or a folder that exists")
    return Path(corpus).expanduser()


@dataclasses.dataclass(frozen=True, init=False)
class Paths:
    """The folders of a run, and those of what the repository carries, which no run changes.

    Parameters
    ----------
    output : path
        The run's folder, which receives ``data/`` and ``figures/``. Nothing is created until it is
        written to. Kept as given: a relative folder stays relative, so that what a notebook prints
        names no machine.
    corpus : str
        As `corpus_folder` takes it. What is released was made of the chorales, so a run on a
        folder of MIDI files never reads it.
    released : path
        Where the released ``data/`` and ``figures/`` stand.

    Raises
    ------
    ValueError
        If `output` is the released folder itself.
    """

    output: Path
    released: Path
    reads_released: bool

    def __init__(
        self,
        output: str | os.PathLike[str],
        corpus: str = "chorales",
        *,
        released: str | os.PathLike[str] | None = None,
    ) -> None:
        root = Path(os.path.relpath(CHECKOUT)) if released is None else Path(released)
        if Path(output).resolve() == root.resolve():
            raise ValueError(
                f"output: {output} holds the released files, which no run changes; name another "
                "folder, such as ../runs/lab"
            )
        named = {"output": Path(output), "released": root}
        named["reads_released"] = corpus in CORPORA or corpus in BENCHMARK_SETS
        for name, value in named.items():
            object.__setattr__(self, name, value)

    def find(self, path: str | os.PathLike[str]) -> Path:
        """Return `path`, a file or folder of the run, or its released twin if only that is there.

        Examples
        --------
        >>> Paths("nowhere").find("nowhere/data/weights/lstm.json").name
        'lstm.json'
        """
        path, twin = Path(path), self.released / Path(path).relative_to(self.output)
        return twin if self.reads_released and twin.exists() and not path.exists() else path

    def table(self, file: str, *, keys: Sequence[str] = ()) -> pd.DataFrame:
        """Read a table of results: the released rows, and over them those of this run.

        Parameters
        ----------
        file : str
            Its name in the results folder.
        keys : sequence of str
            The columns that name a row: of two rows with the same keys, the run's stays. Without
            keys, only rows that are the same in every column count as one.

        Raises
        ------
        FileNotFoundError
            If neither is there.
        """
        own, twin = self.results / file, self.released / "data" / "results" / file
        found = [path for path in (twin, own) if path.exists()]
        if not self.reads_released:
            found = [path for path in found if path == own]
        if not found:
            raise FileNotFoundError(f"{own} is missing; run the notebook that writes it first")
        rows = pd.concat([pd.read_csv(path) for path in found], ignore_index=True)
        return rows.drop_duplicates(list(keys) or None, keep="last").reset_index(drop=True)

    @property
    def data(self) -> Path:
        """Everything but the figures."""
        return self.output / "data"

    @property
    def prepared(self) -> Path:
        """The corpus as rolls."""
        return self.data / "prepared"

    @property
    def generated(self) -> Path:
        """The models' pieces: ``<model>/<seed>/NNN.mid``."""
        return self.data / "generated"

    @property
    def results(self) -> Path:
        """Tables as CSV."""
        return self.data / "results"

    @property
    def audio(self) -> Path:
        """Rendered pieces."""
        return self.data / "audio"

    @property
    def weights(self) -> Path:
        """Trained weights and their cards."""
        return self.data / "weights"

    @property
    def checkpoints(self) -> Path:
        """How far trainings have come that have not ended."""
        return self.data / "checkpoints"

    def weights_of(self, model: str, *, seed: int) -> Path:
        """Return the weights file of a model in the run's folder; seed 0 has no number."""
        return self.weights / f"{model}{f'_{seed}' if seed else ''}.weights.h5"

    def trained_weights(self, model: str, *, seed: int) -> Path:
        """Return the weights to load: the run's of this seed, else the released, of seed 0."""
        own = self.weights_of(model, seed=seed)
        released = self.find(self.weights_of(model, seed=0))
        return released if self.reads_released and not own.exists() else own

    def trained_history(self, model: str, *, seed: int) -> Path:
        """Return the training history that belongs to `trained_weights`."""
        own = self.weights_of(model, seed=seed).exists() or not self.reads_released
        return self.find(self.results / f"history_{model}_{seed if own else 0}.csv")

    @property
    def figures(self) -> Path:
        """Pictures, each as PNG and SVG."""
        return self.output / "figures"


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Keras and its backend, and give a generator for everything else.

    Parameters
    ----------
    seed : int
        0 to 2**32 - 1.

    Returns
    -------
    numpy.random.Generator
        Pass it, or generators spawned from it, to whatever draws numbers.

    Raises
    ------
    ValueError
        If `seed` is no integer of that range.

    Notes
    -----
    On TensorFlow the operations are made deterministic too, and the number of threads is fixed at
    `KERNEL_THREADS` unless ``TF_NUM_INTRAOP_THREADS`` says otherwise or TensorFlow already runs:
    sums taken by another number of threads differ in their last digits.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ValueError(f"seed: got {seed!r}, allowed is an integer from 0 to {MAX_SEED}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed: got {seed}, allowed is an integer from 0 to {MAX_SEED}")
    import keras

    if keras.backend.backend() == "tensorflow":
        _make_tensorflow_deterministic()
    keras.utils.set_random_seed(int(seed))
    return np.random.default_rng(int(seed))


def kernel_environment(*, threads: int = KERNEL_THREADS) -> dict[str, str]:
    """Give the environment variables under which a notebook computes the same bytes each time."""
    count = str(threads)
    pools = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
    return {
        **{f"{pool}_NUM_THREADS": count for pool in pools},
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",  # errors and warnings only
        "GRPC_VERBOSITY": "ERROR",
        "PYTHONHASHSEED": "0",  # the order of a set of strings
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def save_figure(fig: Figure, name: str, paths: Paths, *, dpi: int = 150) -> Path:
    """Write `fig` as PNG and SVG to the figures folder, and give the PNG's path.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure; it stays open.
    name : str
        The files' name without ending: lowercase letters, digits and underscores.
    paths : Paths
        The run's folders.
    dpi : int
        Dots an inch of the PNG.

    Raises
    ------
    ValueError
        If `name` has other signs.

    Notes
    -----
    No date and no program version is written, and the SVG's ids are salted with `name`: the same
    figure gives the same bytes (our choice, for reproducibility).
    """
    import matplotlib as mpl

    if not _NAME.fullmatch(name):
        raise ValueError(f"name: got {name!r}, allowed are lowercase letters, digits and _")
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    for ending, words in metadata.items():
        target = paths.figures / f"{name}.{ending}"
        with mpl.rc_context({"svg.hashsalt": name}), atomic_path(target) as temporary:
            fig.savefig(temporary, format=ending, dpi=dpi, bbox_inches="tight", metadata=words)
    return paths.figures / f"{name}.png"


def _make_tensorflow_deterministic() -> None:
    import tensorflow as tf

    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS", KERNEL_THREADS))
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow runs already, with another number
        warnings.warn(
            "TensorFlow was started before seed_everything, so its number of threads is this "
            "machine's and results may differ in their last digits; restart the kernel to fix it",
            stacklevel=3,
        )
    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")  # it warns of every model that meets windows of a few sizes


# ---- study.run ----
# Leave out the rest of a notebook: how a run that needs only its beginning still ends well.
#
# Conventions: works in IPython kernels, under a runner or by hand. Nothing is raised: each cell
# that
# is left out says so, and running the parameters cell again ends it.


def leave_out_rest(reason: str, *, until: str = "corpus =", shell: Any = None) -> None:
    """Let every later cell print one line instead of running.

    Parameters
    ----------
    reason : str
        Why, as half a sentence, such as ``a benchmark set has no voices``.
    until : str
        How a line of the cell begins that ends it: the parameters cell.
    shell : optional
        IPython's shell; by default the one that runs this.

    Raises
    ------
    RuntimeError
        Outside IPython, where there are no cells.

    Notes
    -----
    IPython lets functions see a cell's lines before it runs them
    (``input_transformers_cleanup``); this one hands back a line that prints.
    """
    if shell is None:
        from IPython import get_ipython

        shell = get_ipython()
    if shell is None:
        raise RuntimeError("leave_out_rest: works in a notebook's kernel only")
    chain, words = shell.input_transformers_cleanup, f"Left out: {reason}."

    def replace(lines: list[str]) -> list[str]:
        if any(line.startswith(until) for line in lines):
            chain.remove(replace)
            return lines
        return [f"print({words!r})\n"]

    chain.append(replace)
