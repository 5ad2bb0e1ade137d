"""Checkpoints: what is saved comes back, what does not belong does not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from musiclib.checkpoints import RUN_KEY, Checkpoint, is_plain


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


SETTINGS = {"model": "lstm", "seed": 0, "sizes": {"units": 8}, "data": [np.arange(6)]}


def test_what_was_saved_comes_back_bit_by_bit(tmp_path):
    rows = [{"step": 5, "loss": 0.1 + 0.2, "far": np.inf}]
    state = [
        rows,
        np.float64(1 / 3),
        [np.eye(2, dtype="float16"), np.arange(3)],
        None,
        {"on": True},
    ]
    Checkpoint(tmp_path / "a.npz", settings=SETTINGS).save(boxes(), state, step=5)
    fresh, saved = empty(), Checkpoint(tmp_path / "a.npz", settings=SETTINGS)
    again = saved.restore(fresh)
    assert saved.step == 5
    assert again[:2] == [rows, 1 / 3]
    for new, old in zip(again[2], state[2], strict=True):
        np.testing.assert_array_equal(new, old)
        assert new.dtype == old.dtype
    assert again[3:] == [None, {"on": True}]
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
    shell.user_ns["In"] = ["", "a = 1", "train()", "a = 2", "train()"]
    assert Checkpoint(tmp_path / "a.npz", settings=SETTINGS).key != key


@pytest.mark.parametrize("damage", ["cut", "no zip", "empty", "pickle", "nameless", "flipped"])
def test_a_damaged_checkpoint_is_left_out(tmp_path, damage):
    path = tmp_path / "a.npz"
    saved = Checkpoint(path, settings=SETTINGS)
    saved.save(boxes(), step=5)
    whole = path.read_bytes()
    if damage == "pickle":
        np.savez(path, about=np.array([{"key": 1}], dtype=object))
    elif damage == "nameless":
        np.savez(path, about=np.frombuffer(b"{}", np.uint8))
    else:
        value = np.asarray(boxes()[0]).tobytes()
        flipped = whole.replace(value, value[:-1] + bytes([value[-1] ^ 1]))
        kinds = {"cut": whole[:-30], "no zip": b"no zip at all", "empty": b"", "flipped": flipped}
        path.write_bytes(kinds[damage])
    assert path.read_bytes() != whole
    fresh = empty()
    again = Checkpoint(path, settings=SETTINGS)
    with pytest.warns(UserWarning, match=r"a\.npz cannot be read"):
        assert again.restore(fresh, "a start") == "a start"
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
    assert all(map(is_plain, held))
    assert not any(map(is_plain, [len, object(), [object()], {1: 2}, np.array([object()])]))
