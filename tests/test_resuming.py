"""A training by `fit`, killed after each of its epochs, ends with the bytes of one never killed."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from musiclib.checkpoints import Checkpoint  # noqa: E402
from musiclib.resuming import Resume  # noqa: E402

EPOCHS = 3


class Batches(keras.utils.PyDataset):
    """Numbered batches of drawn numbers; how many an epoch has, changes."""

    epoch = -1

    def __init__(self):
        super().__init__()
        self.on_epoch_end()

    def on_epoch_end(self):
        self.epoch += 1
        self.drawn = np.random.default_rng(self.epoch).normal(size=(2 + self.epoch % 3, 8, 5, 3))

    def __len__(self):
        return len(self.drawn)

    def __getitem__(self, i):
        x = self.drawn[i].astype("float32")
        return x, x.sum(axis=1) @ np.ones((3, 6), "float32")


class Rows(keras.callbacks.Callback):
    """What a notebook's own callback may hold: rows, weights, and things that are not plain."""

    def __init__(self):
        super().__init__()
        self.rows, self.weights, self.draw = [], None, np.random.default_rng(0)

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.model.get_weights()
        self.rows.append({"epoch": epoch, "loss": logs["loss"]})


class Kill(keras.callbacks.Callback):
    """End a training abruptly, after an epoch was saved."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.last:
            raise KeyboardInterrupt


class Scale(keras.layers.Layer):
    """A layer with a weight of no dimensions, whose value Keras gives as a number."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return self.factor * x


def build():
    keras.utils.set_random_seed(3)
    layers = keras.layers
    h = given = keras.Input((None, 3))
    for layer in (
        layers.Dropout(0.3),
        layers.Dense(6),
        Scale(),
        layers.Dropout(0.3),
        layers.GlobalMaxPooling1D(),
    ):
        h = layer(h)
    model = keras.Model(given, h)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, 9, warmup_target=1e-2, warmup_steps=2)
    adam = keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.9, clipnorm=1.0)
    model.compile(adam, "mse")
    return model


def train(folder, *, kill=None, batches=None, settings=None):
    """Train; return what is left of it: weights, variables, history and rows."""
    model, batches = build(), batches or Batches()
    best = keras.callbacks.EarlyStopping("val_loss", patience=99, restore_best_weights=True)
    rows = Rows()
    resume = Resume(folder / "a.npz", model, batches, [best, rows], settings=settings or {})
    first = resume.epoch
    fitted = model.fit(
        batches, initial_epoch=first, epochs=EPOCHS, validation_data=Batches()[1], shuffle=False,
        verbose=0, callbacks=[best, rows, resume, *([] if kill is None else [Kill(kill)])],
    )  # fmt: skip
    arrays = [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]
    arrays += [np.asarray(v) for v in model.variables] + rows.weights
    return first, [a.tobytes() for a in arrays], fitted.history, rows.rows, batches.epoch


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_killed_after_each_epoch_it_ends_as_if_never_killed(tmp_path, capsys):
    undisturbed = train(tmp_path / "undisturbed")
    for epoch in range(EPOCHS):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, kill=epoch)
        assert f"on after step {epoch}" in capsys.readouterr().err or not epoch
    assert train(tmp_path) == (EPOCHS, *undisturbed[1:])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("state", [None, [], [1, [], {}], [1, [{}, 2], {}], [1, 2, 3]])
def test_a_state_of_another_form_is_dropped_with_a_warning(tmp_path, monkeypatch, state):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, kill=0)
    save, said = Checkpoint.save, "cannot be used .*another form.*; the training begins anew"
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, v, _, step: save(self, v, state, step=step)
    )
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, kill=1)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=said):
        assert train(tmp_path) == train(tmp_path / "undisturbed")


class Other(Batches):
    """Batches of other data."""

    def on_epoch_end(self):
        super().on_epoch_end()
        self.drawn = self.drawn + 1


def test_other_data_or_settings_begin_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, kill=0)
    for changed in ({"batches": Other()}, {"settings": {"seed": 1}}):
        with (
            pytest.warns(UserWarning, match="belongs to other settings; the training begins anew"),
            pytest.raises(KeyboardInterrupt),
        ):
            train(tmp_path, kill=0, **changed)
