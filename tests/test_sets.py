"""Gathering the sets: what is read, what is refused, what is drawn, and always the same.

Music without a model: what is kept, what is not.
What a model notebook leaves behind."""

from __future__ import annotations

import dataclasses
import itertools
import json

import folders
import numpy as np
import pandas as pd
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import load_midi, to_piano_roll
from musiclib.codec import bars_of, commonest_bars, excerpt, fit_key_codec, fit_voice_codec, lead_in
from musiclib.files import write_text
from musiclib.midi import MidiFileError, save_midi
from musiclib.piece import Piece, load_piece, piece_from_midi, store_piece
from musiclib.prepare import load_corpus, prepare_corpus
from musiclib.roll import (
    DENOMINATORS,
    Bars,
    chord_sequence,
    draw_roll,
    note_list,
    require_piece,
    to_midi,
)
from study import sets, stats
from study.run import Paths, preset
from study.sets import markov_pieces, random_pieces, read_generated, shuffled_pieces


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


def write(folder, model, seed, numbers, *, steps=128, kind="refined"):
    for number in numbers:
        file = folder / model / kind / seed / f"{number:03d}.mid"
        save_midi(to_midi(chord(steps, 30 + number)), file)


def test_every_piece_of_every_seed_is_read_in_order(tmp_path):
    write(tmp_path, "vae", "10", [0, 1])
    write(tmp_path, "vae", "2", [1, 0])
    write(tmp_path, "vae", "old", [0])
    write(tmp_path, "vae", "3", [0], kind="plain")
    (tmp_path / "vae" / "refined" / "2" / "notes.txt").write_text("no piece")
    found = sets.read_generated(tmp_path, models=["vae"])
    assert [(s.seed, s.sample) for s in found] == [(2, 0), (2, 1), (10, 0), (10, 1)]
    assert found[0].file == f"data/{tmp_path.name}/vae/refined/2/000.mid"
    assert {s.kind for s in found} == {"refined"}
    assert np.array_equal(found[1].roll, chord(128, 31))
    assert {s.seed for s in sets.read_generated(tmp_path, models=["vae"], seeds=range(5))} == {2}
    with pytest.raises(FileNotFoundError, match="vae/refined holds no piece"):
        sets.read_generated(tmp_path, models=["vae"], seeds=[0, 1])


def test_the_pieces_of_a_kind_are_read_and_no_others(tmp_path):
    write(tmp_path, "vae", "0", [0, 1])
    write(tmp_path, "vae", "1", [3], kind="plain")
    (one,) = sets.read_generated(tmp_path, models=["vae"], kind="plain")
    assert one.file == f"data/{tmp_path.name}/vae/plain/1/003.mid"
    assert one.keys == {"model": "vae", "kind": "plain", "seed": 1, "sample": 3, "file": one.file}
    with pytest.raises(FileNotFoundError, match=r"vae/reset holds no piece .* run notebook 04"):
        sets.read_generated(tmp_path, models=["vae"], kind="reset")


def test_files_of_other_lengths_become_128_steps(tmp_path):
    write(tmp_path, "gan", "0", [0], steps=200)
    write(tmp_path, "gan", "0", [1], steps=64)
    save_midi(
        to_midi(np.zeros((8, 88, 2), np.uint8)), tmp_path / "gan" / "refined" / "0" / "002.mid"
    )
    long, short, empty = (s.roll for s in sets.read_generated(tmp_path, models=["gan"]))
    assert {roll.shape for roll in (long, short, empty)} == {(128, 88, 2)}
    assert np.array_equal(long, chord(200, 30)[:128])
    assert short[:64].any()
    assert not short[64:].any()
    assert not empty.any()


def test_missing_pieces_name_folder_and_notebook(tmp_path):
    write(tmp_path, "vae", "0", range(3))
    with pytest.raises(
        FileNotFoundError, match=r"gan/refined holds no piece .* run notebook 03 \(GAN\)"
    ):
        sets.read_generated(tmp_path)
    with pytest.raises(FileNotFoundError, match="vae/refined holds no piece"):
        sets.read_generated(tmp_path / "nowhere")


def test_a_damaged_piece_stops_with_its_name(tmp_path):
    write(tmp_path, "lstm", "0", [0])
    (tmp_path / "lstm" / "refined" / "0" / "001.mid").write_bytes(b"MThd and nothing")
    with pytest.raises(MidiFileError, match="001.mid"):
        sets.read_generated(tmp_path, models=["lstm"])


def test_the_first_three_are_never_picked(tmp_path):
    for model in stats.MODELS:
        write(tmp_path, model, "0", [4, 2, 1, 0])
    samples = sets.read_generated(tmp_path)
    chosen = sets.first_pieces(samples)
    assert [(s.model, s.sample) for s in chosen] == [(m, i) for m in stats.MODELS for i in range(3)]
    with pytest.raises(FileNotFoundError, match="vae: piece 001 of seed 0 is missing; run note"):
        sets.first_pieces([s for s in samples if (s.model, s.sample) != ("vae", 1)])
    write(tmp_path, "vae", "2", [0, 1, 2])
    assert {s.seed for s in sets.first_pieces(sets.read_generated(tmp_path, seeds=[2, 0]))} == {0}


def test_what_a_run_did_not_train_is_read_from_the_released(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    for model in stats.MODELS:
        for seed in ("0", "1"):
            write(tmp_path / "released" / "data" / "generated", model, seed, [0, 1])
    write(paths.generated, "lstm", "5", [0])
    write(paths.generated, "gan", "7", [0])  # none of this run's seeds
    reading = {"kind": "refined", "seed": 5}
    samples, whose = sets.read_models(paths, **reading, budget=preset("standard"))
    assert whose == {"vae": "released", "gan": "released", "lstm": "this run"}
    assert [s.seed for s in samples if s.model == "lstm"] == [5]
    assert [s.seed for s in samples if s.model == "gan"] == [0, 0, 1, 1]
    _, whose = sets.read_models(paths, **reading, budget=preset("classroom"))
    assert set(whose.values()) == {"released"}
    own = Paths(tmp_path / "run", str(tmp_path), released=tmp_path / "released")
    with pytest.raises(FileNotFoundError, match=r"vae/refined holds no piece .* run notebook 04"):
        sets.read_models(own, **reading, budget=preset("classroom"))


def test_a_run_of_the_plain_models_reads_the_refined_ones_as_released(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    released, whose = tmp_path / "released" / "data" / "generated", {}
    for model in stats.MODELS:
        write(released, model, "0", [0])
        write(released, model, "0", [0, 1, 2], kind="plain")
        write(paths.generated, model, "0", [0, 1], kind="plain")
    for kind, n in (("plain", 2), ("refined", 1)):
        samples, whose[kind] = sets.read_models(paths, kind=kind, seed=0, budget=preset("plain"))
        assert [(s.model, s.kind, s.sample) for s in samples] == [
            (model, kind, i) for model in stats.MODELS for i in range(n)
        ]
    assert set(whose["plain"].values()) == {"this run"}
    assert set(whose["refined"].values()) == {"released"}


def test_variants_are_sets_of_their_own_if_they_are_there(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    assert sets.read_variants(paths) == []
    released = tmp_path / "released" / "data" / "generated"
    write(released, "lstm", "0", [0, 1], kind="reset")
    write(released, "gan", "0", [0, 1], kind="no_helps")
    write(paths.generated, "gan", "0", [4], kind="no_helps")  # the run's own come first
    found = [(s.model, s.kind, s.file) for s in sets.read_variants(paths)]
    assert found == [
        ("lstm_reset", "", "data/generated/lstm/reset/0/000.mid"),
        ("lstm_reset", "", "data/generated/lstm/reset/0/001.mid"),
        ("gan_no_helps", "", "data/generated/gan/no_helps/0/004.mid"),
    ]


def test_real_music_is_the_beginning_of_long_held_out_pieces():
    pieces, split = corpus()
    found = sets.real_samples(pieces, split)
    assert [s.file for s in found] == ["p09", "p10"]
    assert {(s.model, s.seed) for s in found} == {("real", sets.NO_SEED)}
    assert np.array_equal(found[0].roll, pieces[9].roll[:128])
    with pytest.raises(ValueError, match="1 of the test split have 128 steps or more"):
        sets.real_samples(pieces[:10], split)


def late(one, bars=16):
    """Put bars of rest before a piece."""
    steps = 16 * bars
    position = (np.arange(steps + len(one.roll)) % 16).astype(np.uint8)
    roll = np.concatenate([np.zeros((steps, 88, 2), np.uint8), one.roll])
    return Piece(one.name, roll, np.zeros((len(roll), 0), np.int16), position, 16, 0, 80.0)


def test_bars_of_rest_at_the_beginning_are_no_real_music():
    pieces, split = corpus()
    pieces = [late(one) for one in pieces]
    real = sets.real_samples(pieces, split)
    assert [s.file for s in real] == ["p09", "p10"]  # the others have 64 steps that sound
    assert np.array_equal(real[0].roll, chord(144, 39)[:128])
    training = sets.training_pieces(pieces, split)
    made = sets.baseline_samples(training, n=4, seed=0)
    assert all(sample.roll[:16].any() for sample in made if sample.model != "random")
    assert {s.file for s in made if s.model == "training"} == {"p00", "p01", "p03", "p04"}


def test_real_pieces_know_their_tune():
    split = pd.DataFrame({"piece": ["p1", "p2", "p3"], "group": ["p1", "p1", "p3"]})
    roll = np.zeros((128, 88, 2), np.uint8)
    files = ["p2", "p1", "p3", "data/generated/vae/refined/0/000.mid", ""]
    samples = [sets.Sample("real", -1, i, file, roll) for i, file in enumerate(files)]
    table = sets.with_tunes(pd.DataFrame([s.keys for s in samples]), split)
    assert table["tune"].tolist() == ["p1", "p1", "p3", "", ""]
    assert [s.file for s in sets.one_of_each_tune(samples[:3], split)] == ["p2", "p3"]


def test_training_pieces_and_baselines():
    pieces, split = corpus()
    training = sets.training_pieces(pieces, split)
    assert [p.name for p in training] == [f"p{i:02d}" for i in range(6)]
    with pytest.raises(ValueError, match="training side"):
        sets.training_pieces(pieces, split.assign(split="test"))
    found = sets.baseline_samples(training, n=5, seed=3)
    counts = pd.Series([s.model for s in found]).value_counts().to_dict()
    made = ("markov", "shuffled", "random", "backwards", "markov_common_key")
    assert counts == {"training": 4} | dict.fromkeys(made, 5)  # no piece has whole bars to cut out
    drawn = [s.file for s in found if s.model == "training"]
    assert drawn == ["p00", "p01", "p03", "p04"]
    assert {s.seed for s in found} == {3}


def test_baselines_come_from_their_seed_alone():
    pieces, split = corpus()
    training = sets.training_pieces(pieces, split)
    first, again, other = (sets.baseline_samples(training, n=4, seed=s) for s in (0, 0, 1))
    assert all(np.array_equal(a.roll, b.roll) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.roll, b.roll) for a, b in zip(first, other, strict=True))
    fewer = sets.baseline_samples(training, n=2, seed=0)
    markov = [[s.roll for s in some if s.model == "markov"] for some in (first, fewer)]
    assert np.array_equal(markov[0][0], markov[1][0])


def test_rolls_by_set_keeps_order_and_seeds():
    rolls = [np.full((1, 88, 2), i, np.uint8) for i in range(3)]
    samples = [
        sets.Sample("vae", 1, 0, "", rolls[0]),
        sets.Sample("vae", 0, 0, "", rolls[1]),
        sets.Sample("vae", 1, 1, "", rolls[2]),
    ]
    found = sets.rolls_by_set(samples)
    assert list(found["vae"]) == [1, 0]
    assert [int(roll[0, 0, 0]) for roll in found["vae"][1]] == [0, 2]
    assert samples[0].keys == {"model": "vae", "kind": "", "seed": 1, "sample": 0, "file": ""}


def with_bars(one, bar, upbeat):
    position = ((np.arange(len(one.roll)) - upbeat) % bar).astype(np.uint8)
    return dataclasses.replace(one, bar=bar, position=position, denominator=8)


def test_a_generated_piece_has_the_bars_that_its_file_says(tmp_path):
    folder = tmp_path / "vae" / "refined" / "0"
    save_midi(to_midi(chord()), folder / "000.mid")
    save_midi(to_midi(chord(), steps_per_bar=12), folder / "001.mid")
    save_midi(to_midi(chord(), steps_per_bar=14, upbeat=6), folder / "002.mid")
    save_midi(to_midi(np.zeros((128, 88, 2), np.uint8), steps_per_bar=12), folder / "003.mid")
    found = sets.read_generated(tmp_path, models=["vae"])
    assert [s.bars for s in found] == [(16, 0, 4), (12, 0, 4), (14, 6, 8), (12, 0, 4)]


def test_real_pieces_and_what_is_made_of_them_have_bars():
    pieces, split = corpus()
    pieces = [with_bars(p, 12, i % 12) for i, p in enumerate(pieces)]
    of = {p.name: i % 12 for i, p in enumerate(pieces)}
    for sample in sets.real_samples(pieces, split):
        assert sample.bars == (12, of[sample.file], 8)
    training = sets.training_pieces(pieces, split)
    found = sets.baseline_samples(training, n=4, seed=3)
    for sample in found:
        if sample.model == sets.TRAINING:
            assert sample.bars == (12, of[sample.file], 8)
        elif sample.model not in ("shuffled", "backwards"):
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
    made = sets.baseline_samples([short, *sources], n=8, seed=1)
    shuffled = [s for s in made if s.model == "shuffled"]
    assert len({s.bars for s in shuffled}) == 5
    for sample in shuffled:
        source = int(sample.roll[:, 40, 0].argmax())
        assert sample.bars == (14 if source == 4 else 12, source, 8)
    assert all(s.bars == (12, 0, 8) for s in made if s.model in ("markov", "random"))


# Controls: real music with one thing undone


def numbered(n=9, steps=160, bar=16, upbeat=4):
    """Return pieces that hold one key each throughout, struck at every bar line but the first."""
    pieces = []
    for i in range(n):
        first = np.arange(upbeat + bar, steps, bar)
        starts = np.append(0, first)
        roll = draw_roll(starts, [30 + i] * len(starts), np.diff(starts, append=steps), steps=steps)
        pieces.append(with_bars(dataclasses.replace(piece(f"n{i}"), roll=roll), bar, upbeat))
    return pieces


def controls(pieces, n=4, seed=0):
    made = sets.baseline_samples(pieces, n=n, seed=seed)
    return {name: [s for s in made if s.model == name] for name in sets.CONTROLS}


def test_earlier_sets_do_not_change_with_the_controls():
    pieces = numbered()
    *streams, last = np.random.default_rng(7).spawn(4)
    found = sets.rolls_by_set(sets.baseline_samples(pieces, n=4, seed=7))
    for (name, make), rng in zip(sets.BASELINES.items(), streams, strict=True):
        expected = make([p.roll for p in pieces], n=4, rng=rng)
        assert np.array_equal(found[name][7], expected)
    chosen = np.sort(last.permutation(9)[:4])
    assert np.array_equal(found["training"][7], [pieces[i].roll[:128] for i in chosen])
    assert list(found) == ["training", *sets.BASELINES, *sets.CONTROLS]


def test_a_piece_backwards_keeps_its_notes_and_turns_its_bars():
    roll = draw_roll([0, 3, 20, 20], [40, 41, 42, 42], [3, 9, 4, 140], steps=160)
    source = with_bars(dataclasses.replace(piece("x"), roll=roll), 12, 5)
    ((back, bars),) = sets.backwards_pieces([source], n=1, rng=np.random.default_rng(0))
    notes = note_list(back)
    assert sorted(zip(*notes, strict=True)) == [(0, 42, 108), (116, 41, 9), (125, 40, 3)]
    assert bars == (12, (128 - 5) % 12, 8)
    again, _ = sets.backwards_pieces(
        [dataclasses.replace(source, roll=back)], n=1, rng=np.random.default_rng(0)
    )[0]
    assert np.array_equal(again, roll[:128])


def test_collages_take_whole_bars_of_different_pieces():
    for name, bars_each in (("collage_bars", 1), ("collage_phrases", 4)):
        for sample in controls(numbered())[name]:
            assert sample.bars == (16, 0, 8)
            start, key, length = note_list(sample.roll)
            assert start.tolist() == list(range(0, 128, 16))  # each note begins with its bar
            assert set(length) == {16}
            sources = key[::bars_each]
            assert np.array_equal(np.repeat(sources, bars_each), key)
            assert len(set(sources)) == len(sources)


def test_a_note_cut_at_a_seam_begins_and_ends_there():
    held = draw_roll([0], [40], [160], steps=160)
    pieces = [with_bars(dataclasses.replace(piece(n), roll=held), 16, 0) for n in "ab"]
    assert not controls(pieces)["collage_bars"]  # eight bars of two pieces
    for sample in controls(pieces)["collage_phrases"]:
        assert note_list(sample.roll).start.tolist() == [0, 64]  # of one key, but struck again


def test_collages_of_bars_that_do_not_fill_a_piece_are_cut():
    found = controls(numbered(n=12, bar=12))
    assert {s.roll.shape for some in found.values() for s in some} == {(128, 88, 2)}
    assert note_list(found["collage_bars"][0].roll).start.tolist() == list(range(0, 128, 12))
    assert len(set(note_list(found["collage_phrases"][0].roll).key)) == 2


def test_collages_are_absent_where_they_cannot_be():
    pieces = [with_bars(p, bar, 0) for p, bar in zip(numbered(n=3), (16, 12, 10), strict=True)]
    found = controls(pieces)
    assert [len(found[name]) for name in sets.CONTROLS] == [4, 0, 0, 4]
    mixed = controls([*pieces, *numbered(n=2, upbeat=0)])
    assert {s.bars for s in mixed["collage_phrases"]} == {(16, 0, 8)}
    assert not mixed["collage_bars"]


def test_the_chain_in_a_common_key_is_moved_to_where_pieces_stand():
    low = piece("low")
    high = dataclasses.replace(low, name="high", roll=np.roll(low.roll, 5, axis=1), shift=-5)
    found = controls([low, high], n=12)["markov_common_key"]
    lowest = {int(note_list(sample.roll).key.min()) for sample in found}
    assert lowest == {39, 44}
    assert {s.bars for s in found} == {(16, 0, 4)}
    for sample in found:
        require_piece(sample.roll)


MAKERS = [markov_pieces, shuffled_pieces, random_pieces]


def training(n=4, steps=64, seed=0):
    """Return rolls of three-note chords on every quarter, and of one eighth each."""
    rng = np.random.default_rng(seed)
    rolls = []
    for _ in range(n):
        keys = rng.choice([30, 34, 37, 41, 44], size=(steps // 4, 3))
        starts = np.repeat(np.arange(0, steps, 4), 3)
        rolls.append(draw_roll(starts, keys.ravel(), [4] * len(starts), steps=steps))
    return rolls


@pytest.mark.parametrize("make", MAKERS)
def test_pieces_are_rolls_and_follow_the_generator(make):
    rolls = training()
    pieces = make(rolls, n=6, rng=np.random.default_rng(1), steps=48)
    assert pieces.shape == (6, 48, 88, 2)
    assert pieces.dtype == np.uint8
    for piece in pieces:
        require_piece(piece)
    assert np.array_equal(pieces, make(rolls, n=6, rng=np.random.default_rng(1), steps=48))
    assert not np.array_equal(pieces, make(rolls, n=6, rng=np.random.default_rng(2), steps=48))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("rolls", "arguments", "message"),
    [
        ([], {"n": 1}, "training must hold at least one roll"),
        (training(), {"n": 0}, "n must be at least 1; got 0"),
        (training(), {"n": 1, "steps": 0}, "steps must be at least 1; got 0"),
        ([training()[0], np.ones((4, 4))], {"n": 1}, r"training\[1\] must be uint8"),
    ],
)
def test_bad_input(make, rolls, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(rolls, rng=np.random.default_rng(0), **arguments)


@pytest.mark.parametrize("make", [shuffled_pieces, random_pieces])
def test_training_that_is_too_short(make):
    with pytest.raises(ValueError, match="no roll of 128 steps; the longest has 64"):
        make(training(), n=1, rng=np.random.default_rng(0))


def test_random_pieces_need_a_compass():
    with pytest.raises(ValueError, match="training holds no note"):
        random_pieces([np.zeros((8, 88, 2), np.uint8)], n=1, rng=np.random.default_rng(0), steps=8)


def test_a_chain_without_a_choice_gives_the_piece_back():
    roll = draw_roll([0, 3, 5, 12], [40, 42, 44, 46], [3, 2, 7, 4], steps=16)
    piece = markov_pieces([roll], n=1, rng=np.random.default_rng(0), steps=16)[0]
    # the last chord only ever ended the piece: it stands a quarter, and the chain begins again
    assert np.array_equal(piece, roll)
    longer = markov_pieces([roll], n=1, rng=np.random.default_rng(0), steps=32)[0]
    assert np.array_equal(longer, np.concatenate([roll, roll]))


def test_markov_successions_all_come_from_the_training_pieces():
    def successions(rolls):
        chords = [[chord.tobytes() for chord in chord_sequence(roll)] for roll in rolls]
        return {pair for piece in chords for pair in itertools.pairwise(piece)}

    rolls = training(n=6)
    pieces = markov_pieces(rolls, n=10, rng=np.random.default_rng(3), steps=64)
    lasts = {chord_sequence(roll)[-1].tobytes() for roll in rolls}
    new = {pair for pair in successions(pieces) - successions(rolls) if pair[0] not in lasts}
    assert not new


def test_markov_frequencies():
    a, b, c = 40, 45, 50
    keys = np.array([a, b, a, c] * 60)[:-1]  # after a, half the time b and half c
    roll = draw_roll(np.arange(len(keys)), keys, [1] * len(keys), steps=len(keys))
    piece = markov_pieces([roll], n=1, rng=np.random.default_rng(0), steps=4000)[0]
    found = note_list(piece).key
    after_a = found[1:][found[:-1] == a]
    assert set(after_a) == {b, c}
    assert (after_a == b).mean() == pytest.approx(60 / 119, abs=0.05)


def test_shuffled_pieces_keep_rhythm_and_pitches():
    key = np.arange(20, 36)  # all different: no two notes can meet on one key
    roll = draw_roll(np.arange(0, 64, 4), key, np.arange(16) % 4 + 1, steps=64)
    piece = shuffled_pieces([roll], n=1, rng=np.random.default_rng(0), steps=64)[0]
    before, after = note_list(roll), note_list(piece)
    assert np.array_equal(before.start, after.start)
    assert np.array_equal(before.length, after.length)
    assert sorted(before.key) == sorted(after.key)
    assert not np.array_equal(before.key, after.key)


def test_every_roll_serves_before_one_serves_twice():
    rolls = [draw_roll([0], [key], [4], steps=8) for key in range(30, 35)]
    pieces = shuffled_pieces(rolls, n=10, rng=np.random.default_rng(0), steps=8)
    keys = [int(note_list(piece).key[0]) for piece in pieces]
    assert sorted(keys[:5]) == sorted(keys[5:]) == list(range(30, 35))


def test_random_pieces_keep_the_compass_and_roughly_the_number_of_notes():
    rolls = training(n=1)
    count = len(note_list(rolls[0]).start)
    pieces = random_pieces(rolls, n=40, rng=np.random.default_rng(0), steps=64)
    keys = np.concatenate([note_list(piece).key for piece in pieces])
    assert (keys.min(), keys.max()) == (30, 44)
    assert set(keys) == set(range(30, 45))
    counts = [len(note_list(piece).start) for piece in pieces]
    assert max(counts) <= count
    assert np.mean(counts) > 0.9 * count


def roll_with(*notes, steps=128):
    roll = np.zeros((steps, 88, 2), np.uint8)
    for start, end, key in notes:
        roll[start, key, 0] = 1
        roll[start:end, key, 1] = 1
    return roll


def lively(seed):
    rng = np.random.default_rng(seed)
    return roll_with(
        *[(t, t + 4, int(k)) for t in range(0, 128, 4) for k in rng.integers(30, 60, 3)]
    )


def test_pieces_are_written_in_order_and_flaws_are_reported(tmp_path):
    rolls = [lively(0), roll_with(), roll_with((0, 128, 40))]
    table = sets.write_pieces(rolls, tmp_path)
    assert table["file"].tolist() == ["000.mid", "001.mid", "002.mid"]
    assert table["flaws"][0] == ""
    assert "no note" in table["flaws"][1]
    assert "stuck" in table["flaws"][2]
    back = to_piano_roll(load_midi(tmp_path / "000.mid"), length=128)
    np.testing.assert_array_equal(back, rolls[0])


def test_an_earlier_runs_pieces_are_removed_or_kept(tmp_path):
    sets.write_pieces([lively(0), lively(1)], tmp_path)
    sets.write_pieces([lively(2)], tmp_path, keep=True)
    assert len(list(tmp_path.glob("*.mid"))) == 2
    (tmp_path / "1000.mid").touch()
    (tmp_path / "mine.mid").touch()
    sets.write_pieces([lively(2)], tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.mid")) == ["000.mid", "mine.mid"]


def test_real_rolls_begin_with_the_first_bar_that_sounds():
    roll = np.concatenate([np.zeros((256, 88, 2), np.uint8), lively(0), lively(1)])
    position = (np.arange(len(roll)) % 16).astype(np.uint8)
    none = np.zeros((len(roll), 0), np.int16)
    pieces = [Piece("a", roll[:n], none[:n], position[:n], 16, 0, 80.0) for n in (512, 384, 383)]
    assert [r.tolist() for r in sets.real_rolls(pieces)] == [lively(0).tolist()] * 2


METRES = [
    (4, 4, 16), (3, 4, 12), (6, 8, 12), (2, 4, 8), (5, 4, 20), (7, 8, 14), (9, 8, 18),
    (12, 8, 24), (3, 8, 6), (2, 2, 16), (3, 2, 24), (4, 2, 32), (5, 16, 5), (1, 1, 16),
]  # fmt: skip


@pytest.mark.parametrize(("numerator", "denominator", "bar"), METRES)
def test_a_file_says_metre_and_upbeat_of_its_piece(tmp_path, numerator, denominator, bar):
    assert 16 * numerator / denominator == bar
    upbeats = range(bar)
    bars = [Bars(bar, upbeat, denominator) for upbeat in upbeats]
    sets.write_pieces([lively(0)] * bar, tmp_path, bars=bars)
    for upbeat in upbeats:
        midi = load_midi(tmp_path / f"{upbeat:03d}.mid")
        back, _ = piece_from_midi(midi, name="back")
        assert back.bar == bar
        np.testing.assert_array_equal(back.position, (np.arange(128) - upbeat) % bar)
        np.testing.assert_array_equal(back.roll, lively(0))
        assert sets.real_bars([back]) == [Bars(bar, upbeat, denominator)]
        assert len(midi.time_signature_changes) == 1 + bool(upbeat)
        *first, change = midi.time_signature_changes
        assert (change.numerator, change.denominator) == (numerator, denominator)
        assert [16 * short.numerator / short.denominator for short in first] == (
            [upbeat] if upbeat else []
        )


def source(numerator, denominator, upbeat):
    """Return a MIDI piece in a metre, its upbeat a bar of sixteenths."""
    midi = to_midi(lively(1))
    signatures = [(upbeat, 16, 0), (numerator, denominator, upbeat)] if upbeat else []
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(over, under, step * 15 / 80)
        for over, under, step in signatures or [(numerator, denominator, 0)]
    ]
    return midi


def followed(midi, folder):
    """Return the bars of a piece, and of the files that pieces like it are written to."""
    save_midi(midi, folder / "source.mid")
    piece, _ = piece_from_midi(load_midi(folder / "source.mid"), name="source")
    piece = load_piece(folder / f"{store_piece(piece, folder)}.npz")
    key_codec = fit_key_codec([piece.roll], shifts=[piece.shift], bars=[piece.bar])
    example = key_codec.encode(piece)
    examples = fit_voice_codec([piece]).encode(piece), example, lead_in(example)
    bars = [bars_of(each) for each in (*examples, excerpt(example, 0, 64))]
    sets.write_pieces([lively(0)] * len(bars), folder / "vae" / "refined" / "0", bars=bars)
    return {*bars, *(sample.bars for sample in read_generated(folder, models=["vae"]))}


SIGNATURES = [(6, 8), (9, 8), (12, 8), (2, 2), (3, 2), (3, 4), (4, 4), (7, 8)]


@pytest.mark.parametrize("upbeat", [0, 1, 2, 4])
@pytest.mark.parametrize(("numerator", "denominator"), SIGNATURES)
def test_a_generated_file_names_the_metre_of_the_piece_it_follows(
    tmp_path, numerator, denominator, upbeat
):
    wanted = Bars(16 * numerator // denominator, upbeat, denominator)
    assert followed(source(numerator, denominator, upbeat), tmp_path) == {wanted}


@st.composite
def bars_and_signatures(draw):
    """Draw a signature whose bar is 1 to 64 whole steps, and an upbeat shorter than that."""
    denominator = draw(st.sampled_from(DENOMINATORS))
    unit = max(denominator // 16, 1)  # so many make a step
    numerator = unit * draw(st.integers(1, min(4 * denominator, 255) // unit))
    bar = 16 * numerator // denominator
    return numerator, Bars(bar, draw(st.integers(0, bar - 1)), denominator)


@settings(max_examples=40, deadline=None)
@given(bars_and_signatures())
def test_any_metre_goes_through_file_piece_and_example(tmp_path_factory, drawn):
    numerator, bars = drawn
    midi = source(numerator, bars.denominator, bars.upbeat)
    assert followed(midi, tmp_path_factory.mktemp("metre")) == {bars}


def test_of_the_metres_of_a_file_the_one_with_most_steps_is_named(tmp_path):
    midi = source(3, 4, 0)
    for change, denominator in ((60, 4), (48, 8)):
        midi.time_signature_changes[1:] = [pretty_midi.TimeSignature(6, 8, change * 15 / 80)]
        midi.time_signature_changes += [pretty_midi.TimeSignature(2, 4, 120 * 15 / 80)]
        assert followed(midi, tmp_path / str(denominator)) == {Bars(12, 0, denominator)}


def test_waltzes_and_jigs_in_one_folder_keep_their_own(tmp_path):
    folders.waltzes(tmp_path / "music")
    prepare_corpus(tmp_path / "music", tmp_path / "prepared")
    pieces = load_corpus(tmp_path / "prepared")
    assert sets.real_bars(pieces) == [Bars(12, 0, 4)] * 8 + [Bars(12, 0, 8)] * 4
    assert commonest_bars(pieces) == Bars(12)
    assert commonest_bars(pieces[6:]) == Bars(12, 0, 8)


def test_a_waltz_says_three_four_and_no_bars_say_four_four(tmp_path):
    sets.write_pieces([lively(0)], tmp_path, bars=[Bars(12)])
    signature = load_midi(tmp_path / "000.mid").time_signature_changes[0]
    assert (signature.numerator, signature.denominator) == (3, 4)
    sets.write_pieces([lively(0)], tmp_path)
    signature = load_midi(tmp_path / "000.mid").time_signature_changes[0]
    assert (signature.numerator, signature.denominator) == (4, 4)


def test_flaws_are_counted_in_the_pieces_own_bars(tmp_path):
    roll = lively(0)
    roll[4:16] = 0
    for bars, flaw in ((Bars(12, 4), "empty bars: 1 of 10 hold no note"), (Bars(), "")):
        assert sets.write_pieces([roll], tmp_path, bars=[bars])["flaws"][0] == flaw


def test_bars_of_other_pieces_are_refused_before_anything_is_removed(tmp_path):
    sets.write_pieces([lively(0)], tmp_path)
    with pytest.raises(ValueError, match="bars: got those of 1 pieces for 2 rolls"):
        sets.write_pieces([lively(0), lively(1)], tmp_path, bars=[Bars()])
    assert (tmp_path / "000.mid").exists()


def test_inside_real_counts_measure_by_measure_and_all_at_once():
    real = [lively(s) for s in range(30)]
    table = sets.inside_real([real[3], roll_with((0, 128, 5)), roll_with()], real)
    assert table.loc[0, "polyphony"]
    assert not table.loc[1, "polyphony"]
    assert not table.loc[1, "all"]
    assert not table.loc[2, "all"]
    assert table["all"].equals(table.drop(columns="all").all(axis=1))


def test_a_card_names_its_weights_and_a_mismatch_says_what_differs(tmp_path):
    weights = tmp_path / "lstm.weights.h5"
    write_text("not really weights", weights)
    path = sets.write_card(weights, {"settings": {"units": 8}})
    assert path.name == "lstm.json"
    assert sets.check_card(weights, {"settings": {"units": 8}})["settings"] == {"units": 8}
    with pytest.raises(ValueError, match=r"settings \{'units': 8\}, this notebook needs"):
        sets.check_card(weights, {"settings": {"units": 9}})
    write_text("changed", weights)
    with pytest.raises(ValueError, match="SHA-256 differs"):
        sets.check_card(weights, {})
    assert json.loads(path.read_text())["sha256"]
    with pytest.raises(FileNotFoundError, match="is missing"):
        sets.check_card(tmp_path / "gan.weights.h5", {})


CODEC = {"lowest": 10, "n_keys": 54, "n_voices": 4}


def trained(folder, **changed):
    weights = folder / "lstm.weights.h5"
    write_text("weights", weights)
    card = {"corpus": "midi", "codec": CODEC, "settings": {"units": 192, "hidden": 64, "layers": 2}}
    sets.write_card(weights, card | changed)
    return weights


def sizes(weights, *, corpus="~/midi", seed=0, codec=CODEC):
    return sets.trained_sizes(weights, "units", "hidden", corpus=corpus, seed=seed, codec=codec)


def test_sizes_come_from_the_weights_card(tmp_path):
    assert sizes(trained(tmp_path)) == {"units": 192, "hidden": 64}


def test_where_no_weights_are_one_sentence_says_what_trains_them(tmp_path):
    missing = tmp_path / "lstm_3.weights.h5"
    command = r'no weights of midi, seed 3; train them with: make study CORPUS="~/midi" SEED=3, or'
    with pytest.raises(FileNotFoundError, match=command):
        sizes(missing, seed=3)
    with pytest.raises(
        FileNotFoundError, match=r"weights of chorales, .* with: make study, or let"
    ):
        sizes(missing, corpus="chorales")
    with pytest.raises(ValueError, match=r"are weights of chorales, not of midi; train them with"):
        sizes(trained(tmp_path, corpus="chorales"))
    with pytest.raises(ValueError, match=r"trained with codec .*'n_keys': 54.*this notebook needs"):
        sizes(trained(tmp_path), codec=CODEC | {"n_keys": 30})


@pytest.mark.parametrize("units", [None, 0, -1, 2.5, "192", True, 10**9])
def test_a_size_that_cannot_be_is_refused(tmp_path, units):
    weights = trained(tmp_path, settings={"units": units, "hidden": 64})
    with pytest.raises(ValueError, match=r"lstm\.json: units is .*, allowed is 1 to 4,096; train"):
        sizes(weights)
    with pytest.raises(ValueError, match=r"units is None"):
        sizes(trained(tmp_path, settings=None))


class Killed(Exception):
    """Stands for what ends a run between weights and card."""


def test_weights_never_stand_beside_the_card_of_others(tmp_path, monkeypatch):
    model, weights = Model(), tmp_path / "vae.weights.h5"
    sets.save_weights(model, weights, {"units": 8})

    def kill(*_):
        raise Killed

    monkeypatch.setattr(sets, "write_card", kill)
    with pytest.raises(Killed):
        sets.save_weights(model, weights, {"units": 9})
    with pytest.raises(FileNotFoundError, match=r"vae\.json is missing"):
        sets.check_card(weights, {})


def test_a_corpus_has_a_safe_short_name():
    assert sets.corpus_name("chorales") == "chorales"
    assert sets.corpus_name("/some/where/My Songs (2)") == "my_songs_2"
    assert sets.corpus_name("/some/where/chorales") == "chorales_folder"
    assert sets.corpus_name("/") == "corpus"


class Model:
    """What `save_weights` asks of a model: it writes down whether it still has its optimizer."""

    optimizer = "adam"

    def save_weights(self, path):
        write_text(f"optimizer: {self.optimizer}", path)

    def load_weights(self, path):
        self.loaded = path.read_text(), self.optimizer


def test_weights_are_kept_without_their_optimizer_and_loaded_if_the_card_fits(tmp_path):
    model, weights = Model(), tmp_path / "new" / "vae.weights.h5"
    assert sets.save_weights(model, weights, {"units": 8}).name == "vae.json"
    assert sets.load_weights(model, weights, {"units": 8})["units"] == 8
    assert model.loaded == ("optimizer: None", None)
    assert model.optimizer == "adam"
    del model.loaded
    with pytest.raises(ValueError, match="trained with units 8, this notebook needs 9"):
        sets.load_weights(model, weights, {"units": 9})
    assert not hasattr(model, "loaded")
