"""A corpus that is ready, whichever notebook is opened first."""

from __future__ import annotations

import numpy as np
import pytest

from musiclib import ready
from musiclib.midi import save_midi
from musiclib.pianoroll import to_midi
from musiclib.splits import load_split
from musiclib.study import Paths


def tune(seed, steps=160):
    rng = np.random.default_rng(seed)
    roll = np.zeros((steps, 88, 2), np.uint8)
    for t in range(0, steps, 4):
        keys = rng.choice(np.arange(30, 60), 3, replace=False)
        roll[t : t + 4, keys, 1] = 1
        roll[t, keys, 0] = 1
    return to_midi(roll)


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        save_midi(tune(i), tmp_path / "midi" / f"{i:02d}.mid")
    return tmp_path / "midi"


def test_what_is_missing_is_made_and_then_kept(folder, tmp_path, monkeypatch):
    paths = Paths(tmp_path / "run", str(folder))
    first = ready.ready_corpus(str(folder), paths, max_pieces=400)
    assert (first.name, len(first.pieces)) == ("midi", 12)
    sides = {side: [p.name for p in first.side(side)] for side in ("train", "valid", "test")}
    assert all(sides.values())
    split = load_split(paths.data / "splits" / "midi.csv")
    assert sorted(name for names in sides.values() for name in names) == sorted(split["piece"])

    monkeypatch.setattr(ready, "deal", lambda pieces: pytest.fail("dealt again"))
    again = ready.ready_corpus(str(folder), paths, max_pieces=400)
    assert again.split.equals(first.split)


def test_a_piece_more_is_dealt_anew(folder, tmp_path):
    paths = Paths(tmp_path / "run", str(folder))
    ready.ready_corpus(str(folder), paths, max_pieces=400)
    save_midi(tune(99), folder / "99.mid")
    assert len(ready.ready_corpus(str(folder), paths, max_pieces=400).split) == 13


def test_the_chorales_are_split_as_released():
    pieces = ready.load_split(Paths("nowhere").find("nowhere/data/splits/chorales.csv"))
    assert {"train", "valid", "test"} == set(pieces["split"])
