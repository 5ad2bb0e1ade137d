"""Set up a run of the study: its folders, seed and figures; budgets, progress and tables beside.

Conventions: every file is written atomically. This room knows numbers, never music or models.
What notebooks need of `presets`, `progress` and `tables` can be had from here.
"""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musiclib.files import atomic_path
from musiclib.presets import BUDGETS, PRESET_NAMES, PRESETS, Preset, preset
from musiclib.progress import Progress, progress
from musiclib.tables import record_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BENCHMARK_SETS",
    "BUDGETS",
    "CHECKOUT",
    "CORPORA",
    "KERNEL_THREADS",
    "MAX_SEED",
    "PRESETS",
    "PRESET_NAMES",
    "Paths",
    "Preset",
    "Progress",
    "corpus_folder",
    "kernel_environment",
    "preset",
    "progress",
    "record_table",
    "save_figure",
    "seed_everything",
]

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
