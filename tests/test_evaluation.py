"""Gathering the sets: what is read, what is refused, what is drawn, and always the same."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from musiclib import evaluation as ev
from musiclib.midi import MidiFileError, save_midi
from musiclib.pianoroll import to_midi
from musiclib.pieces import Piece
from musiclib.study import Paths, preset


def chord(steps=128, low=39):
    """Return a roll of one triad after another, a quarter each."""
    roll = np.zeros((steps, 88, 2), np.uint8)
    for start in range(0, steps, 4):
        keys = low + np.array([0, 4, 7]) + (start // 4) % 5
        roll[start : start + 4, keys, 1] = 1
        roll[start, keys, 0] = 1
    return roll


def piece(name, steps=128, low=39):
    roll = chord(steps, low)
    lines = np.zeros((steps, 0), np.int16)
    return Piece(name, roll, lines, np.zeros(steps, np.uint8), 16, 0, 80.0)


def corpus():
    """Return twelve pieces, every third of them short, and their split."""
    pieces = [piece(f"p{i:02d}", 64 if i % 3 == 2 else 144, 30 + i) for i in range(12)]
    sides = ["train"] * 6 + ["valid"] * 2 + ["test"] * 4
    names = [p.name for p in pieces]
    return pieces, pd.DataFrame({"piece": names, "group": names, "split": sides})


def write(folder, model, seed, numbers, *, steps=128):
    for number in numbers:
        save_midi(to_midi(chord(steps, 30 + number)), folder / model / seed / f"{number:03d}.mid")


def test_every_piece_of_every_seed_is_read_in_order(tmp_path):
    write(tmp_path, "vae", "10", [0, 1])
    write(tmp_path, "vae", "2", [1, 0])
    write(tmp_path, "vae", "old", [0])
    (tmp_path / "vae" / "2" / "notes.txt").write_text("no piece")
    found = ev.read_generated(tmp_path, models=["vae"])
    assert [(s.seed, s.sample) for s in found] == [(2, 0), (2, 1), (10, 0), (10, 1)]
    assert found[0].file == f"data/{tmp_path.name}/vae/2/000.mid"
    assert np.array_equal(found[1].roll, chord(128, 31))
    assert {s.seed for s in ev.read_generated(tmp_path, models=["vae"], seeds=range(5))} == {2}
    with pytest.raises(FileNotFoundError, match="vae holds no piece"):
        ev.read_generated(tmp_path, models=["vae"], seeds=[0, 1])


def test_files_of_other_lengths_become_128_steps(tmp_path):
    write(tmp_path, "gan", "0", [0], steps=200)
    write(tmp_path, "gan", "0", [1], steps=64)
    save_midi(to_midi(np.zeros((8, 88, 2), np.uint8)), tmp_path / "gan" / "0" / "002.mid")
    long, short, empty = (s.roll for s in ev.read_generated(tmp_path, models=["gan"]))
    assert {roll.shape for roll in (long, short, empty)} == {(128, 88, 2)}
    assert np.array_equal(long, chord(200, 30)[:128])
    assert short[:64].any()
    assert not short[64:].any()
    assert not empty.any()


def test_missing_pieces_name_folder_and_notebook(tmp_path):
    write(tmp_path, "vae", "0", range(3))
    with pytest.raises(FileNotFoundError, match=r"gan holds no piece .* run notebook 03 \(GAN\)"):
        ev.read_generated(tmp_path)
    with pytest.raises(FileNotFoundError, match="vae holds no piece"):
        ev.read_generated(tmp_path / "nowhere")


def test_a_damaged_piece_stops_with_its_name(tmp_path):
    write(tmp_path, "lstm", "0", [0])
    (tmp_path / "lstm" / "0" / "001.mid").write_bytes(b"MThd and nothing")
    with pytest.raises(MidiFileError, match="001.mid"):
        ev.read_generated(tmp_path, models=["lstm"])


def test_the_first_three_are_never_picked(tmp_path):
    for model in ev.MODELS:
        write(tmp_path, model, "0", [4, 2, 1, 0])
    samples = ev.read_generated(tmp_path)
    chosen = ev.first_pieces(samples)
    assert [(s.model, s.sample) for s in chosen] == [(m, i) for m in ev.MODELS for i in range(3)]
    with pytest.raises(FileNotFoundError, match="vae: piece 003 of seed 0 is missing; run note"):
        ev.first_pieces(samples, n=5)
    write(tmp_path, "vae", "2", [0, 1, 2])
    assert {s.seed for s in ev.first_pieces(ev.read_generated(tmp_path, seeds=[2, 0]))} == {0}


def test_what_a_run_did_not_train_is_read_from_the_released(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    for model in ev.MODELS:
        for seed in ("0", "1"):
            write(tmp_path / "released" / "data" / "generated", model, seed, [0, 1])
    write(paths.generated, "lstm", "5", [0])
    write(paths.generated, "gan", "7", [0])  # none of this run's seeds
    samples, whose = ev.read_models(paths, seed=5, budget=preset("standard"))
    assert whose == {"vae": "released", "gan": "released", "lstm": "this run"}
    assert [s.seed for s in samples if s.model == "lstm"] == [5]
    assert [s.seed for s in samples if s.model == "gan"] == [0, 0, 1, 1]
    _, whose = ev.read_models(paths, seed=5, budget=preset("classroom"))
    assert set(whose.values()) == {"released"}
    own = Paths(tmp_path / "run", str(tmp_path), released=tmp_path / "released")
    with pytest.raises(FileNotFoundError, match=r"vae holds no piece .* run notebook 04"):
        ev.read_models(own, seed=5, budget=preset("classroom"))


def test_real_music_is_the_beginning_of_long_held_out_pieces():
    pieces, split = corpus()
    found = ev.real_samples(pieces, split)
    assert [s.file for s in found] == ["p09", "p10"]
    assert {(s.model, s.seed) for s in found} == {("real", ev.NO_SEED)}
    assert np.array_equal(found[0].roll, pieces[9].roll[:128])
    with pytest.raises(ValueError, match="0 of the test split have 200 steps or more"):
        ev.real_samples(pieces, split, steps=200)


def late(one, bars=16):
    """Put bars of rest before a piece."""
    steps = 16 * bars
    position = (np.arange(steps + len(one.roll)) % 16).astype(np.uint8)
    roll = np.concatenate([np.zeros((steps, 88, 2), np.uint8), one.roll])
    return Piece(one.name, roll, np.zeros((len(roll), 0), np.int16), position, 16, 0, 80.0)


def test_bars_of_rest_at_the_beginning_are_no_real_music():
    pieces, split = corpus()
    pieces = [late(one) for one in pieces]
    real = ev.real_samples(pieces, split)
    assert [s.file for s in real] == ["p09", "p10"]  # the others have 64 steps that sound
    assert np.array_equal(real[0].roll, chord(144, 39)[:128])
    training = ev.training_pieces(pieces, split)
    made = ev.baseline_samples(training, n=4, seed=0)
    assert all(sample.roll[:16].any() for sample in made if sample.model != "random")
    assert {s.file for s in made if s.model == "training"} == {"p00", "p01", "p03", "p04"}


def test_real_pieces_know_their_tune():
    split = pd.DataFrame({"piece": ["p1", "p2", "p3"], "group": ["p1", "p1", "p3"]})
    roll = np.zeros((128, 88, 2), np.uint8)
    files = ["p2", "p1", "p3", "data/generated/vae/0/000.mid", ""]
    samples = [ev.Sample("real", -1, i, file, roll) for i, file in enumerate(files)]
    table = ev.with_tunes(pd.DataFrame([s.keys for s in samples]), split)
    assert table["tune"].tolist() == ["p1", "p1", "p3", "", ""]
    assert [s.file for s in ev.one_of_each_tune(samples[:3], split)] == ["p2", "p3"]


def test_training_pieces_and_baselines():
    pieces, split = corpus()
    training = ev.training_pieces(pieces, split)
    assert [p.name for p in training] == [f"p{i:02d}" for i in range(6)]
    with pytest.raises(ValueError, match="training side"):
        ev.training_pieces(pieces, split.assign(split="test"))
    found = ev.baseline_samples(training, n=5, seed=3)
    counts = pd.Series([s.model for s in found]).value_counts().to_dict()
    assert counts == {"training": 4, "markov": 5, "shuffled": 5, "random": 5}
    drawn = [s.file for s in found if s.model == "training"]
    assert drawn == ["p00", "p01", "p03", "p04"]
    assert {s.seed for s in found} == {3}


def test_baselines_come_from_their_seed_alone():
    pieces, split = corpus()
    training = ev.training_pieces(pieces, split)
    first, again, other = (ev.baseline_samples(training, n=4, seed=s) for s in (0, 0, 1))
    assert all(np.array_equal(a.roll, b.roll) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.roll, b.roll) for a, b in zip(first, other, strict=True))
    fewer = ev.baseline_samples(training, n=2, seed=0)
    markov = [[s.roll for s in some if s.model == "markov"] for some in (first, fewer)]
    assert np.array_equal(markov[0][0], markov[1][0])


def test_rolls_by_set_keeps_order_and_seeds():
    rolls = [np.full((1, 88, 2), i, np.uint8) for i in range(3)]
    samples = [
        ev.Sample("vae", 1, 0, "", rolls[0]),
        ev.Sample("vae", 0, 0, "", rolls[1]),
        ev.Sample("vae", 1, 1, "", rolls[2]),
    ]
    found = ev.rolls_by_set(samples)
    assert list(found["vae"]) == [1, 0]
    assert [int(roll[0, 0, 0]) for roll in found["vae"][1]] == [0, 2]
    assert samples[0].keys == {"model": "vae", "seed": 1, "sample": 0, "file": ""}


def with_bars(one, bar, upbeat):
    position = ((np.arange(len(one.roll)) - upbeat) % bar).astype(np.uint8)
    return dataclasses.replace(one, bar=bar, position=position, denominator=8)


def test_a_generated_piece_has_the_bars_that_its_file_says(tmp_path):
    folder = tmp_path / "vae" / "0"
    save_midi(to_midi(chord()), folder / "000.mid")
    save_midi(to_midi(chord(), steps_per_bar=12), folder / "001.mid")
    save_midi(to_midi(chord(), steps_per_bar=14, upbeat=6), folder / "002.mid")
    save_midi(to_midi(np.zeros((128, 88, 2), np.uint8), steps_per_bar=12), folder / "003.mid")
    found = ev.read_generated(tmp_path, models=["vae"])
    assert [s.bars for s in found] == [(16, 0, 4), (12, 0, 4), (14, 6, 8), (12, 0, 4)]


def test_real_pieces_and_what_is_made_of_them_have_bars():
    pieces, split = corpus()
    pieces = [with_bars(p, 12, i % 12) for i, p in enumerate(pieces)]
    of = {p.name: i % 12 for i, p in enumerate(pieces)}
    for sample in ev.real_samples(pieces, split):
        assert sample.bars == (12, of[sample.file], 8)
    training = ev.training_pieces(pieces, split)
    found = ev.baseline_samples(training, n=4, seed=3)
    for sample in found:
        if sample.model == ev.TRAINING:
            assert sample.bars == (12, of[sample.file], 8)
        elif sample.model != "shuffled":
            assert sample.bars == (12, 0, 8)


def test_a_shuffled_piece_keeps_the_bars_of_its_source():
    """Each source has notes of its own rhythm, by which a shuffled piece can be known."""
    sources = []
    for i in range(5):
        roll = np.zeros((160, 88, 2), np.uint8)
        roll[np.arange(i, 160, 5), 40, :] = 1
        sources.append(
            with_bars(dataclasses.replace(piece(f"s{i}"), roll=roll), 14 if i == 4 else 12, i)
        )
    short = with_bars(piece("short", 64), 16, 7)
    made = ev.baseline_samples([short, *sources], n=8, seed=1)
    shuffled = [s for s in made if s.model == "shuffled"]
    assert len({s.bars for s in shuffled}) == 5
    for sample in shuffled:
        source = int(sample.roll[:, 40, 0].argmax())
        assert sample.bars == (14 if source == 4 else 12, source, 8)
    assert all(s.bars == (12, 0, 8) for s in made if s.model in ("markov", "random"))
