"""Checkpoints: what is saved comes back, what does not belong does not.

A training by `fit`, killed after each of its epochs, ends with the bytes of one never killed."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from study.run import CHECKOUT, Paths
from study.training import RUN_KEY, Checkpoint, Resume, Training, can_save, settings_tried


class Box:
    """A variable."""

    def __init__(self, value):
        self.value = np.asarray(value)

    def assign(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self.value, dtype=dtype)


def boxes():
    rng = np.random.default_rng(0)
    return [Box(rng.normal(size=(3, 2)).astype("float32")), Box(7), Box(np.arange(4, dtype="u4"))]


def empty():
    return [Box(np.zeros((3, 2), "float32")), Box(0), Box(np.zeros(4, "u4"))]


HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }"
SETTINGS = {"model": "lstm", "seed": 0, "sizes": {"units": 8}, "data": [np.arange(6)]}


def test_what_was_saved_comes_back_bit_by_bit(tmp_path):
    rows = [{"step": 5, "loss": 0.1 + 0.2, "far": np.inf}]
    state = [
        rows,
        np.float64(1 / 3),
        [np.eye(2, dtype="float16"), np.arange(3)],
        None,
        {"on": True},
        (np.float32(0.75), np.array(0.75), np.bool_(True), 2),
    ]
    Checkpoint(tmp_path / "a.npz", settings=SETTINGS).save(boxes(), state, step=5)
    fresh, saved = empty(), Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    again = saved.restore(fresh)
    assert saved.step == 5
    assert again[:2] == [rows, 1 / 3]
    for new, old in zip(again[2], state[2], strict=True):
        np.testing.assert_array_equal(new, old)
        assert new.dtype == old.dtype
    assert again[3:] == [None, {"on": True}, state[5]]
    for new, old in zip([again[1], *again[5]], [state[1], *state[5]], strict=True):
        assert type(new) is type(old)
    for new, old in zip(fresh, boxes(), strict=True):
        np.testing.assert_array_equal(new.value, old.value)
        assert new.value.dtype == old.value.dtype


def test_without_a_checkpoint_a_training_begins_at_0(tmp_path):
    fresh, saved = empty(), Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    assert saved.restore(fresh, "a start") == "a start"
    assert saved.step == 0
    assert not np.asarray(fresh[0]).any()


def test_seconds_of_all_runs_are_added(tmp_path):
    first = Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    first._before = (100.0, 50.0)
    first.save(boxes(), step=1)
    second = Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    assert max(second.spent()) < 50
    second.restore(empty())
    seconds, cpu = second.spent()
    assert 100 < seconds < 150
    assert 50 <= cpu < 100


@pytest.mark.parametrize("change", ["settings", "data", "run", "shapes", "number"])
def test_a_checkpoint_of_another_training_is_not_used(tmp_path, monkeypatch, change):
    Checkpoint(tmp_path / "a.npz", settings=SETTINGS).save(boxes(), [np.eye(2)], step=5)
    settings, fresh = dict(SETTINGS), empty()
    if change == "settings":
        settings["sizes"] = {"units": 9}
    elif change == "data":
        settings["data"] = [np.arange(6)[::-1]]
    elif change == "run":
        monkeypatch.setenv(RUN_KEY, "another")
    elif change == "shapes":
        fresh[0] = Box(np.zeros((2, 3), "float32"))
    else:
        del fresh[1]
    saved = Checkpoint(tmp_path / "a.npz", settings=settings)
    with pytest.warns(UserWarning, match=r"a\.npz belongs to other settings; the training begins"):
        assert saved.restore(fresh, "a start") == "a start"
    assert saved.step == 0
    assert not any(np.asarray(box).any() for box in fresh)


def test_in_a_notebook_a_cell_that_was_changed_counts_and_one_run_twice_does_not(
    tmp_path, monkeypatch
):
    shell = SimpleNamespace(user_ns={"In": ["", "a = 1", "train()"]})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    key = Checkpoint(tmp_path / "a.npz", settings=SETTINGS).key
    shell.user_ns["In"] = ["", "a = 1", "train()", "train()"]
    assert Checkpoint(tmp_path / "a.npz", settings=SETTINGS).key == key
    shell.user_ns["In"] = ["", "a = 1  # one", "no python", "train()"]
    assert Checkpoint(tmp_path / "a.npz", settings=SETTINGS).key == key
    shell.user_ns["In"] = ["", "a = 1", "train()", "a = 2", "train()"]
    assert Checkpoint(tmp_path / "a.npz", settings=SETTINGS).key != key


DAMAGES = ("cut", "no zip", "empty", "pickle", "nameless", "a list", "flipped", "an array", "huge")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_left_out(tmp_path, damage):
    path = tmp_path / "a.npz"
    saved = Checkpoint(path, settings=SETTINGS)
    saved.save(boxes(), step=5)
    whole = path.read_bytes()
    if damage == "pickle":
        np.savez(path, about=np.array([{"key": 1}], dtype=object))
    elif damage == "nameless":
        np.savez(path, about=np.frombuffer(b"{}", np.uint8))
    elif damage == "a list":
        np.savez(path, about=np.frombuffer(b"[1]", np.uint8))
    elif damage == "an array":
        with path.open("wb") as file:
            np.save(file, np.eye(2))
    elif damage == "huge":
        path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + HUGE.ljust(117) + b"\n")
    else:
        value = np.asarray(boxes()[0]).tobytes()
        flipped = whole.replace(value, value[:-1] + bytes([value[-1] ^ 1]))
        kinds = {"cut": whole[:-30], "no zip": b"no zip at all", "empty": b"", "flipped": flipped}
        path.write_bytes(kinds[damage])
    assert path.read_bytes() != whole
    fresh = empty()
    again = Checkpoint(path, settings=SETTINGS)
    with pytest.warns(UserWarning, match=r"a\.npz cannot be used"):
        assert again.restore(fresh, "a start") == "a start"
    assert not any(np.asarray(box).any() for box in fresh)


def test_no_flipped_byte_and_no_cut_ends_a_training(tmp_path):
    path, state = tmp_path / "a.npz", [{"best": np.float32(0.5)}, [np.eye(2)]]
    Checkpoint(path, settings=SETTINGS).save(boxes(), state, step=5)
    whole, used = path.read_bytes(), 0
    damaged = [whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :] for i in range(len(whole))]
    for data in (*damaged, *(whole[:i] for i in range(0, len(whole), 9))):
        path.write_bytes(data)
        fresh, saved = empty(), Checkpoint(path, settings=SETTINGS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            saved.restore(fresh)
        used += saved.step
        assert bool(saved.step) != any("begins anew" in str(w.message) for w in caught)
        wanted = boxes() if saved.step else empty()
        for new, old in zip(fresh, wanted, strict=True):
            np.testing.assert_array_equal(new.value, old.value)
    assert used < 5 * len(damaged) / 3  # some bytes, such as the times of a zip, say nothing


class Proud(Box):
    """A variable that refuses every value but its first."""

    def assign(self, value):
        if np.any(np.asarray(value) != 0):
            raise ValueError("no")


def test_what_a_variable_refuses_leaves_all_of_them_as_they_were(tmp_path):
    Checkpoint(tmp_path / "a.npz", settings=SETTINGS).save(boxes(), step=5)
    fresh = [*empty()[:2], Proud(np.zeros(4, "u4"))]
    saved = Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    with pytest.warns(UserWarning, match=r"a\.npz cannot be used \(no\); the training begins anew"):
        assert saved.restore(fresh, "a start") == "a start"
    assert saved.step == 0
    assert not any(np.asarray(box).any() for box in fresh)


def test_a_save_that_fails_leaves_the_one_before(tmp_path):
    saved = Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    saved.save(boxes(), step=1)
    with pytest.raises(TypeError):
        saved.save(boxes(), object(), step=2)
    with pytest.raises(ZeroDivisionError):
        saved.save([*boxes(), Broken()], step=2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    again = Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    again.restore(empty())
    assert again.step == 1


class Broken:
    """A variable that cannot be read."""

    def __array__(self, dtype=None, copy=None):
        raise ZeroDivisionError


def test_removing_is_for_good_and_may_be_said_twice(tmp_path):
    saved = Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    saved.save(boxes(), step=1)
    saved.remove()
    saved.remove()
    assert list(tmp_path.iterdir()) == []


def test_settings_and_file_name_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"path: got 'a\.h5', a checkpoint ends in \.npz"):
        Checkpoint(tmp_path / "a.h5", settings={})
    with pytest.raises(TypeError, match="settings hold .*neither JSON's nor an array"):
        Checkpoint(tmp_path / "a.npz", settings={"loss": object()})


def test_plain_is_what_a_checkpoint_can_hold():
    held = [None, True, 1, 0.5, "a", np.float32(1), np.zeros(2), [np.zeros(2)], {"a": (1, "b")}]
    assert all(map(can_save, held))
    others = [len, object(), [object()], {1: 2}, np.array([object()]), np.datetime64(1, "D")]
    assert not any(map(can_save, others))


keras = pytest.importorskip("keras")

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


# The object that a lesson uses


CODEC = SimpleNamespace(to_dict=lambda: {"lowest": 3})
FIT = {"settings": {}, "label": "epochs", "note": lambda logs: f"loss {logs['loss']:.2f}"}


def training(folder, *, steps=EPOCHS, model="lstm", codec=CODEC, **kind):
    paths = Paths(folder, "chorales", released=folder / "released")
    (paths.data / "splits").mkdir(parents=True, exist_ok=True)
    (paths.data / "splits" / "chorales.csv").write_text("piece,group,split\n")
    about = {"preset": "smoke", "corpus": "chorales", "seed": 0}
    return Training(model, paths, **about, steps=steps, codec=codec, **kind)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_fit_that_was_killed_resumes_and_leaves_weights_card_and_costs(tmp_path):
    def fit(run, *, kill=None):
        def at_the_end(epoch, logs):
            seen.append(epoch)
            if epoch == kill:
                raise KeyboardInterrupt

        model, watch = build(), keras.callbacks.LambdaCallback(on_epoch_end=at_the_end)
        run.fit(model, Batches(), epochs=EPOCHS, callbacks=[watch], **FIT)
        return model

    seen = []

    whole = fit(training(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        fit(training(tmp_path), kill=1)  # before its second epoch is saved
    model = fit(run := training(tmp_path))
    assert seen == [0, 1, 2, 0, 1, 1, 2]
    for ours, theirs in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    card = run.keep(model, settings={"units": 8}, valid_nll=0.5)
    assert card["steps"] == EPOCHS
    assert card["codec"] == {"lowest": 3}
    table = run.record(pieces=4, seconds=2.0, parameters=model.count_params())
    assert table.loc["ms_per_step", "LSTM"] == round(2000 / (4 * 128), 3)
    fairness = pd.read_csv(run.paths.results / "fairness.csv")
    assert fairness.loc[0, "settings_tried"] == settings_tried("lstm") > 0
    assert fairness.loc[0, "train_seconds"] == round(run.seconds, 1) > 0
    assert not list(run.paths.checkpoints.iterdir())
    later = training(tmp_path, steps=0)
    assert later.sizes({"units": 1, "layers": 2}, "units") == {"units": 8, "layers": 2}
    fresh = build()
    assert later.load(fresh, settings={"units": 8})["valid_nll"] == 0.5
    for ours, theirs in zip(fresh.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_settings_tried_are_rows_of_their_table_each_with_its_judge_and_source():
    table = pd.read_csv(CHECKOUT / "data" / "settings_tried.csv")
    assert list(table) == ["model", "kind", "setting", "judged_by", "source"]
    assert table.notna().all(axis=None)
    assert not table.duplicated(["model", "kind", "setting"]).any()
    assert table["source"].str.fullmatch(r"commit [0-9a-f]{7}|note of .+, not in the tree").all()
    for (model, kind), rows in table.groupby(["model", "kind"]):
        assert settings_tried(model, kind) == len(rows)
    fairness = pd.read_csv(CHECKOUT / "data" / "results" / "fairness.csv")
    kinds = fairness.get("kind", pd.Series("refined", fairness.index)).fillna("refined")
    counted = [settings_tried(*pair) for pair in zip(fairness["model"], kinds, strict=True)]
    assert fairness["settings_tried"].tolist() == counted


def test_where_nothing_is_trained_nothing_is_written(tmp_path):
    run = training(tmp_path, steps=0)
    run.keep(build(), settings={})
    run.record(pieces=1, seconds=1.0)
    assert not run.paths.results.exists()
    assert not list(tmp_path.rglob("*.h5"))
    with pytest.raises(FileNotFoundError, match="there are no weights of chorales"):
        run.sizes({"units": 1}, "units")


def test_a_loop_of_ones_own_goes_on_where_it_was_killed(tmp_path):
    def loop(kill=None):
        run, variable = training(tmp_path, steps=7, model="gan"), Box(np.zeros(2))
        rows = run.restore([variable], [], settings={"rate": 0.1})
        for numbers in run.stretches(3, "stretches"):
            if numbers.start == kill:
                raise KeyboardInterrupt
            variable.assign(np.asarray(variable) + numbers.stop)
            rows = [*rows, list(numbers)]
            run.save([variable], rows, f"{numbers.stop} steps")
        return rows, np.asarray(variable).tolist(), run.seconds > 0

    with pytest.raises(KeyboardInterrupt):
        loop(kill=6)
    done = [[0, 1, 2], [3, 4, 5], [6]], [16.0, 16.0], True
    assert loop() == done
    assert loop() == done  # killed before its weights were written: nothing is trained twice


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_plain_model_is_kept_beside_the_refined_one(tmp_path):
    """Each kind has weights, card, checkpoint and costs of its own."""
    left = {}
    for kind, named in (({}, "lstm"), ({"kind": "plain", "codec": None}, "plain_lstm")):
        model, run = build(), training(tmp_path, **kind)
        run.fit(model, Batches(), epochs=EPOCHS, callbacks=[], **FIT)
        (checkpoint,) = run.paths.checkpoints.iterdir()
        assert checkpoint.name == f"{named}_smoke_chorales_0.npz"
        card = run.keep(model, settings={"units": 8})
        assert (card["model"], card["kind"]) == ("lstm", kind.get("kind", "refined"))
        assert run.weights == run.paths.weights / f"{named}.weights.h5"
        run.record(pieces=4, seconds=2.0)
        assert not list(run.paths.checkpoints.iterdir())
        left[named] = model.get_weights()
    files = {path.name for path in run.paths.weights.iterdir() if path.suffix != ".lock"}
    assert files == {f"{n}{end}" for n in left for end in (".weights.h5", ".json")}
    for table in ("fairness.csv", "speed.csv"):
        rows = pd.read_csv(run.paths.results / table)
        assert sorted(rows["kind"]) == ["plain", "refined"]
        assert rows["model"].tolist() == ["lstm", "lstm"]
    for kind, named in (({}, "lstm"), ({"kind": "plain", "codec": None}, "plain_lstm")):
        fresh, later = build(), training(tmp_path, steps=0, **kind)
        assert later.sizes({"units": 1}, "units") == {"units": 8}
        later.load(fresh, settings={"units": 8})
        for ours, theirs in zip(fresh.get_weights(), left[named], strict=True):
            np.testing.assert_array_equal(ours, theirs)
