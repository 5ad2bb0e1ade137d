"""Keras' ``fit`` that survives being killed: a callback that saves each epoch and goes on there.

Conventions: an epoch is saved when all other callbacks have ended it, so this callback stands last.
What `checkpoints` says of a checkpoint holds here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from musiclib.checkpoints import Checkpoint, is_plain


class Resume(keras.callbacks.Callback):
    """Save, after each epoch, all that decides the rest; begin where a killed run ended.

    Parameters
    ----------
    path : path
        File ending in ``.npz``.
    model : keras.Model
        Built and compiled. Its weights, its random generators' states (dropout, sampling) and its
        optimizer's variables (averages of weights included) are kept.
    batches : keras.utils.PyDataset
        Its attribute ``epoch`` numbers its epochs, and its ``on_epoch_end`` lays out the next one.
    callbacks : sequence of keras.callbacks.Callback
        The others, in the order in which `fit` gets them, this one behind. Their numbers, texts,
        arrays and lists of such are kept: the best score and weights so far, rows of a table.
    settings : mapping
        All else that decides the training: see `Checkpoint`. The optimizer's own settings, what
        the other callbacks hold now, the first batch and the backend are added here.

    Attributes
    ----------
    epoch : int
        Epochs that earlier runs have done: what `fit` wants as ``initial_epoch``.

    Examples
    --------
    >>> import tempfile
    >>> class Ones(keras.utils.PyDataset):
    ...     epoch = 0
    ...     def __len__(self): return 2
    ...     def __getitem__(self, i): return keras.ops.ones((1, 1)), keras.ops.ones((1, 1))
    ...     def on_epoch_end(self): self.epoch += 1
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     resume = Resume(f"{folder}/a.npz", model, Ones(), [], settings={})
    ...     resume.epoch
    0
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: keras.Model,
        batches: keras.utils.PyDataset,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)
        self.batches, self.others = batches, list(callbacks)
        self.variables = [*model.variables, *optimizer.variables]
        added = {
            "optimizer": {k: v for k, v in optimizer.get_config().items() if k != "name"},
            "callbacks": self._held(),
            "first_batch": keras.tree.flatten(batches[0]),
            "backend": [keras.backend.backend(), keras.__version__],
        }
        self.checkpoint = Checkpoint(path, settings={**settings, **added})
        self._state = self.checkpoint.restore(self.variables, fits=self._fits)
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
        """Save everything."""
        for name, value in (logs or {}).items():
            self._logs.setdefault(name, []).append(float(value))
        state = [self.batches.epoch, self._held(), self._logs]
        self.checkpoint.save(self.variables, state, step=epoch + 1)

    def _fits(self, saved: Any) -> bool:
        """Tell whether a state is one of these batches, callbacks and logs."""
        match saved:
            case [int(), list(held), dict()]:
                return len(held) == len(self.others) and all(isinstance(h, dict) for h in held)
        return False

    def _held(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in vars(c).items() if is_plain(v)} for c in self.others]

    def spent(self) -> tuple[float, float]:
        """Give the seconds, and processor seconds, of the training, earlier runs included."""
        return self.checkpoint.spent()

    def remove(self) -> None:
        """Delete the checkpoint, as its training has ended and left what it was for."""
        self.checkpoint.remove()
