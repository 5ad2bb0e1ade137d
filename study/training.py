"""Training that survives being killed, and one object for all that repeats around it.

Conventions: a checkpoint is one ``.npz`` file of plain arrays (no pickle), written atomically. It
carries a hash of the settings that it belongs to; one of other settings is never used. A `Lesson`
gives what all lessons on models need, and a `Training` for each of its models: for Keras' ``fit``
(through `Resume`) and for a loop of its own.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import keras
import numpy as np
import pandas as pd

from musiclib import distance, player, plots
from musiclib.code_hash import code_hash
from musiclib.files import atomic_path, sha256_of, upsert_csv, write_csv
from musiclib.roll import Bars
from study import run, sets
from study.run import CHECKOUT, RUN_KEY, Paths, Progress
from study.sets import PIECE_STEPS, REFINED, corpus_name
from study.splits import ready_corpus

LAYOUT = 2  # of what a checkpoint holds; one of another layout belongs to other settings
_ABOUT, _ARRAY, _NUMBER, _TUPLE = "about", "__array__", "__number__", "__tuple__"

State = TypeVar("State")


class Variable(Protocol):
    """A variable of a model or optimizer, such as those of Keras."""

    def assign(self, value: np.ndarray) -> Any: ...
    def __array__(self) -> np.ndarray: ...


class Checkpoint:
    """The checkpoint of one training, and its stopwatch.

    `settings` are all that decides the training: numbers, texts and arrays, in lists and mappings.
    Arrays count by their bytes, so a batch of the data may stand for the data. In a notebook the
    cells that were run count too, with the code that they reach. `step` counts the steps done.
    """

    def __init__(self, path: str | os.PathLike[str], *, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        if self.path.suffix != ".npz":
            raise ValueError(f"path: got {self.path.name!r}, a checkpoint ends in .npz")
        named = [LAYOUT, settings, os.environ.get(RUN_KEY) or code_hash(cells=_cells())]
        text = json.dumps(named, sort_keys=True, default=_digest)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.step = 0
        self._began, self._before = (time.perf_counter(), time.process_time()), (0.0, 0.0)

    def spent(self) -> tuple[float, float]:
        """Return the seconds, and processor seconds, of this training in all its runs."""
        now = time.perf_counter(), time.process_time()
        return tuple(b + n - a for a, n, b in zip(self._began, now, self._before, strict=True))

    def save(self, variables: Sequence[Variable], state: Any = None, *, step: int) -> None:
        """Write the variables, the steps done, and what else decides the rest.

        `state` is what `can_save` takes, else a TypeError; it comes back with NumPy's types.
        """
        if not can_save(state):
            raise TypeError(
                "state: got what no checkpoint can keep, allowed is what can_save takes"
            )
        arrays = {f"v{i:04d}": np.asarray(v) for i, v in enumerate(variables)}
        held: list[np.ndarray] = []
        about = {"key": self.key, "step": step, "spent": self.spent(), "state": _pack(state, held)}
        arrays |= {f"s{i:04d}": array for i, array in enumerate(held)}
        arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        with atomic_path(self.path) as temporary:
            np.savez(temporary, **arrays)
        self.step = step

    def restore(
        self,
        variables: Sequence[Variable],
        state: State = None,
        *,
        fits: Callable[[Any], bool] = lambda saved: True,
    ) -> State:
        """Assign what was saved to the same variables, and return the state saved with it.

        Without a checkpoint, or with one that is dropped with a warning, `state` comes back.
        """
        if not self.path.exists():
            return state
        try:
            about, arrays, saved = self._read(variables)
            if not fits(saved):
                raise ValueError("its state has another form")
            _assign(variables, arrays)
        except _OtherSettingsError:
            reason = "belongs to other settings"
        except Exception as error:  # whatever is wrong with a file must not end a study
            reason = f"cannot be used ({error or type(error).__name__})"
        else:
            self.step, self._before = about
            where = f"{self.path.name}: this training goes on after step {self.step}"
            print(where, file=sys.stderr, flush=True)
            return saved
        warnings.warn(f"{self.path.name} {reason}; the training begins anew", stacklevel=2)
        return state

    def _read(
        self, variables: Sequence[Variable]
    ) -> tuple[tuple[int, tuple[float, float]], list[np.ndarray], Any]:
        with np.load(self.path, allow_pickle=False) as file:
            about = json.loads(file[_ABOUT].tobytes())
            if about["key"] != self.key:
                raise _OtherSettingsError
            count = len(file.files) - 1
            arrays = [file[name] for name in (f"v{i:04d}" for i in range(count)) if name in file]
            held = [file[f"s{i:04d}"] for i in range(count - len(arrays))]
        if [a.shape for a in arrays] != [tuple(np.shape(v)) for v in variables]:
            raise _OtherSettingsError
        seconds, cpu = map(float, about["spent"])
        return (int(about["step"]), (seconds, cpu)), arrays, _unpack(about["state"], held)

    def remove(self) -> None:
        """Delete the checkpoint, as its training has ended and left what it was for."""
        self.path.unlink(missing_ok=True)


class _OtherSettingsError(Exception):
    """Say that a checkpoint is another training's."""


def _assign(variables: Sequence[Variable], arrays: Sequence[np.ndarray]) -> None:
    """Assign all values, or none where one is refused."""
    before = [np.array(np.asarray(v)) for v in variables]
    try:
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
    except Exception:
        for variable, array in zip(variables, before, strict=True):
            variable.assign(array)
        raise


def can_save(value: Any) -> bool:
    """Tell whether a checkpoint can hold it: numbers, texts, None, arrays, lists, tuples, dicts."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and can_save(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(can_save, value))
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    if isinstance(value, np.generic):
        value = value.item()
    return value is None or type(value) in (bool, int, float, str)


def _cells() -> list[str]:
    """Return the cells that this notebook has run, each once; none outside of a notebook."""
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    return sorted(filter(_is_python, set(shell.user_ns.get("In", [])))) if shell else []


def _is_python(cell: str) -> bool:
    try:
        ast.parse(cell)
    except SyntaxError:
        return False
    return True


def _pack(value: Any, held: list[np.ndarray]) -> Any:
    """Turn a state into what JSON can say, its arrays put into `held`; `_unpack` undoes it."""
    if isinstance(value, np.ndarray):
        held.append(value)
        return {_ARRAY: len(held) - 1}
    if isinstance(value, np.generic):  # a variable of no dimensions has such a value
        return {_NUMBER: [value.dtype.str, value.item()]}
    if isinstance(value, Mapping):
        return {key: _pack(item, held) for key, item in value.items()}
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(item, held) for item in value]}
    return [_pack(item, held) for item in value] if isinstance(value, list) else value


def _unpack(value: Any, held: Sequence[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, held) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_ARRAY}:
        return held[value[_ARRAY]]
    if value.keys() == {_NUMBER}:
        kind, number = value[_NUMBER]
        return np.dtype(kind).type(number)
    if value.keys() == {_TUPLE}:
        return tuple(_unpack(item, held) for item in value[_TUPLE])
    return {key: _unpack(item, held) for key, item in value.items()}


def _digest(value: Any) -> Any:
    """Say an array, or what turns into one, by its shape and the hash of its bytes."""
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise TypeError(f"settings hold {value!r}, which is neither JSON's nor an array")
    sha256 = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return [str(array.dtype), list(array.shape), sha256]


class Resume(keras.callbacks.Callback):
    """Save after each epoch all that decides the rest; begin where a killed run ended.

    The variables of the model (random generators' states included) and of its optimizer are kept;
    of `callbacks`, which `fit` gets in the same order before this one, what `can_save`.
    `batches.epoch` numbers the epochs, and its ``on_epoch_end`` lays out the next one. `settings`
    is all else that decides the training; the optimizer's settings, what the callbacks hold, the
    first batch and the backend are added. `epoch` is what `fit` wants as ``initial_epoch``.
    """

    def __init__(
        self, path: str | Path, model: keras.Model, batches: keras.utils.PyDataset,
        callbacks: Sequence[keras.callbacks.Callback], *, settings: Mapping[str, Any],
    ) -> None:  # fmt: skip
        super().__init__()
        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)
        self.batches, self.others = batches, list(callbacks)
        self.variables = [*model.variables, *optimizer.variables]
        added = {
            "optimizer": {k: v for k, v in optimizer.get_config().items() if k != "name"},
            "callbacks": self._callback_states(),
            "first_batch": keras.tree.flatten(batches[0]),
            "backend": [keras.backend.backend(), keras.__version__],
        }
        self.checkpoint = Checkpoint(path, settings={**settings, **added})
        self._state = self.checkpoint.restore(self.variables, fits=self._is_state)
        self.epoch = self.checkpoint.step
        self._logs: dict[str, list[float]] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Give batches, callbacks and history back what they held after the last epoch saved."""
        if self._state is None:
            return
        number, held, self._logs = self._state
        self.batches.epoch = number - 1
        self.batches.on_epoch_end()
        for callback, values in zip(self.others, held, strict=True):
            vars(callback).update(values)
        self.model.history.history = {name: list(values) for name, values in self._logs.items()}
        self._state = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._logs.setdefault(name, []).append(float(value))
        state = [self.batches.epoch, self._callback_states(), self._logs]
        self.checkpoint.save(self.variables, state, step=epoch + 1)

    def _is_state(self, saved: Any) -> bool:
        match saved:
            case [int(), list(held), dict()]:
                return len(held) == len(self.others) and all(isinstance(h, dict) for h in held)
        return False

    def _callback_states(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in vars(c).items() if can_save(v)} for c in self.others]


def settings_tried(model: str, kind: str = REFINED) -> int:
    """Count the settings tried before a model's release: rows of ``data/settings_tried.csv``."""
    rows = pd.read_csv(CHECKOUT / "data" / "settings_tried.csv")
    return int(((rows["model"] == model) & (rows["kind"] == kind)).sum())


class Training:
    """One training run of a lesson's model: resumed where it was killed, and what it leaves.

    With `steps` 0 nothing is trained: `sizes` and `load` take what a study trained earlier.
    """

    def __init__(
        self, model: str, paths: Paths, *, preset: str, corpus: str, seed: int, steps: int,
        codec: Any = None, kind: str = REFINED,
    ) -> None:  # fmt: skip
        self.model, self.kind, self.paths, self.corpus = model, kind, paths, corpus
        self.preset, self.seed, self.steps = preset, seed, steps
        self.codec = codec and codec.to_dict()
        self.name = model if kind == REFINED else f"{kind}_{model}"
        self.weights = (paths.weights_of if steps else paths.trained_weights)(self.name, seed=seed)
        name = f"{self.name}_{preset}_{corpus_name(corpus)}_{seed}.npz"
        self._file, self._checkpoint = paths.checkpoints / name, None
        self.seconds = self.cpu_seconds = 0.0

    def sizes(self, own: Mapping[str, Any], *names: str) -> dict[str, Any]:
        """Return the sizes to build the model with; `names` are read off loaded weights' card."""
        if self.steps:
            return dict(own)
        about = {"corpus": self.corpus, "seed": self.seed, "codec": self.codec}
        return {**own, **sets.trained_sizes(self.weights, *names, **about)}

    def load(self, net: keras.Model, **expected: Any) -> dict[str, Any]:
        """Load the weights, if their card has this codec and what is `expected`; return it."""
        return sets.load_weights(net, self.weights, {"codec": self.codec, **expected})

    def fit(
        self, net: keras.Model, batches: keras.utils.PyDataset, *, epochs: int,
        callbacks: Sequence[keras.callbacks.Callback], settings: Mapping[str, Any], label: str,
        note: Callable[[Mapping[str, float]], str], **validation: Any,
    ) -> keras.callbacks.History:  # fmt: skip
        """Fit a compiled model as `Resume` says; `note` words the logs of an epoch."""
        bar = Progress(epochs, label)
        report = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: bar.step(note(logs)))
        resume = Resume(self._file, net, batches, callbacks, settings=settings)
        self._checkpoint, bar.done = resume.checkpoint, resume.epoch
        history = net.fit(
            batches, initial_epoch=resume.epoch, epochs=epochs, shuffle=False, verbose=0,
            callbacks=[*callbacks, report, resume], **validation,
        )  # fmt: skip
        self.seconds, self.cpu_seconds = resume.checkpoint.spent()
        return history

    def restore(
        self, variables: Sequence[Variable], state: State, *, settings: Mapping[str, Any]
    ) -> State:
        """Begin a loop of one's own: give variables and state what a killed run saved last."""
        self._checkpoint = Checkpoint(self._file, settings={**settings, "steps": self.steps})
        return self._checkpoint.restore(variables, state)

    def stretches(self, length: int, label: str) -> Iterator[range]:
        """Yield the steps still to do, at most `length` at a time; call `save` after each."""
        self._bar = Progress(-(-self.steps // length), label)
        self._bar.done = -(-self._checkpoint.step // length)
        for first in range(self._checkpoint.step, self.steps, length):
            self._stretch = range(first, min(first + length, self.steps))
            yield self._stretch
        self.seconds, self.cpu_seconds = self._checkpoint.spent()

    def save(self, variables: Sequence[Variable], state: Any, note: str) -> None:
        """Save a stretch of one's own loop, and say how it went."""
        self._bar.step(note)
        self._checkpoint.save(variables, state, step=self._stretch.stop)

    def keep(self, net: keras.Model, **card: Any) -> dict[str, Any]:
        """Write the weights, if any were trained, with their card, and return the card."""
        name = corpus_name(self.corpus)
        card = {
            "model": self.model, "kind": self.kind, "corpus": name, "seed": self.seed,
            "preset": self.preset, "codec": self.codec,
            "split_sha256": sha256_of(self.paths.data / "splits" / f"{name}.csv"),
            "steps": self.steps, **card,
        }  # fmt: skip
        if self.steps:
            sets.save_weights(net, self.weights, card)
        return card

    def history(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Write how the training went and return it; without steps, return that of the weights."""
        if not self.steps:
            return pd.read_csv(self.paths.trained_history(self.name, seed=self.seed))
        write_csv(rows, self.paths.results / f"history_{self.name}_{self.seed}.csv")
        return rows

    def cost(self) -> dict[str, float]:
        """Return what the training took, in seconds, of all runs that it took."""
        seconds, cpu = round(self.seconds, 1), round(self.cpu_seconds, 1)
        return {"train_seconds": seconds, "cpu_seconds": cpu}

    def record(self, *, pieces: int, seconds: float, **cost: Any) -> pd.DataFrame:
        """Record cost, and the seconds that so many pieces took; end the training."""
        who = {"model": self.model, "kind": self.kind, "seed": self.seed}
        tried = {"settings_tried": settings_tried(self.model, self.kind)}
        cost = {**who, "preset": self.preset, "steps": self.steps, **self.cost(), **tried, **cost}
        ms = 1000 * seconds / (pieces * PIECE_STEPS)
        speed = {**who, "pieces": pieces, "seconds": round(seconds, 2), "ms_per_step": round(ms, 3)}
        if self.steps:
            for row, file in ((cost, "fairness.csv"), (speed, "speed.csv")):
                upsert_csv([row], self.paths.results / file, keys=list(who))
        self.end()
        return pd.DataFrame({self.model.upper(): cost | speed})

    def end(self) -> None:
        """Delete the checkpoint, as the training has left what it was for."""
        if self._checkpoint is not None:
            self._checkpoint.remove()


class Lesson:
    """What a lesson on a model needs: budget, folders, corpus, and how near to real music it comes.

    `pieces` are the training and the validation pieces, ``train`` and ``valid``.
    """

    def __init__(
        self, model: str, *, preset: str, seed: int, corpus: str, n_samples: int, output: str
    ) -> None:
        self.model, self.seed = model, seed
        self.about = {"preset": preset, "corpus": corpus, "seed": seed}
        self.budget, self.paths = run.preset(preset), Paths(output, corpus)
        self.n_pieces = n_samples or self.budget["n_samples"]
        self.rng = run.seed_everything(seed)
        plots.use_style()
        read = ready_corpus(corpus, self.paths, max_pieces=self.budget["max_pieces"])
        self.pieces = {side: read.side(side) for side in ("train", "valid")}
        self.real = {side: sets.real_rolls(some) for side, some in self.pieces.items()}
        self._features = {
            side: distance.feature_table(self.real[side], sets.real_bars(some))
            for side, some in self.pieces.items()
        }
        self.floor = distance.distance_to_real(self._features["train"], self._features["valid"])
        if dropped := distance.describe_dropped(self._features["valid"]):
            print(dropped)

    def training(self, kind: str = REFINED, *, steps: int, codec: Any = None) -> Training:
        """Return the training run of one kind of the model."""
        about = {**self.about, "steps": steps, "codec": codec, "kind": kind}
        return Training(self.model, self.paths, **about)

    def hear(self, *kinds: str, seconds: float = 12.0) -> None:
        """Show and play the first released piece of each of these kinds that is released."""
        for kind in kinds:
            if (CHECKOUT / "data/generated" / self.model / kind).is_dir():
                piece, title = sets.released_piece(self.model, kind), f"{kind} {self.model.upper()}"
                title += ", released, piece 000"
                voices = 4 if kind in sets.IN_VOICES else 0
                player.show_piece(piece, title, model=self.model, seconds=seconds, lines=voices)

    def judge(self, rolls: Sequence[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.Series:
        """Return how near to the validation pieces some pieces lie, and how far from each other.

        `distance` is the first ruler's (`musiclib.distance`). `nearest` and `pairwise` are 1 where
        a piece lies as far from its nearest neighbour, and from all others, as real ones do.
        """
        features = distance.feature_table(rolls, bars)
        spread = distance.diversity_ratio(rolls, self.real["valid"])
        near = distance.distance_to_real(features, self._features["valid"])
        return pd.Series({"distance": near, "nearest": spread.nearest, "pairwise": spread.pairwise})

    def beside_real(
        self, made: Mapping[str, Sequence[np.ndarray]], *measures: str,
        bars: Sequence[Bars] | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return the means of some measures and what `judge` says, one column for each set."""
        made = {name: (rolls, bars) for name, rolls in made.items()}
        made["real"] = self.real["valid"], sets.real_bars(self.pieces["valid"])
        columns = {}
        for name, (rolls, own) in made.items():
            means = sets.measure_table(rolls, own)[list(measures)].mean()
            columns[name] = pd.concat([means, self.judge(rolls, own)])
        table = pd.DataFrame(columns).round(2)
        table.loc["distance", "real"] = round(self.floor, 2)  # of training pieces
        return table.drop("pairwise")

    def finish(
        self, training: Training, rolls: list[np.ndarray], *, seconds: float, parameters: int,
        windows_seen: int, bars: list[Bars] | None = None, net: keras.Model | None = None,
        settings: Mapping[str, Any] | None = None, **card: Any,
    ) -> pd.DataFrame:  # fmt: skip
        """Write pieces, weights (if there is a `net`) and costs; return the costs.

        `seconds` is what the pieces took. Where nothing was trained the pieces are only checked.
        """
        folder = self.paths.generated / self.model / training.kind / str(self.seed)
        written = sets.write_pieces(rolls, folder, bars=bars, keep=not training.steps)
        flaws = written.loc[written["flaws"] != "", "flaws"]
        print(f"{len(rolls)} pieces in {seconds:.1f} s; with a flaw: {len(flaws)}", *flaws)
        if net is not None:
            near = float(self.judge(rolls, bars)["distance"])
            training.keep(net, settings=settings, valid_distance=near, **card)
        return training.record(
            pieces=len(rolls), seconds=seconds, parameters=parameters, windows_seen=windows_seen,
            training_pieces=len(self.pieces["train"]),
        )  # fmt: skip
