"""Pieces: metre, key, what the grid costs, and what is read from disk."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notes import midi_of, scale

from musiclib import piece as musiclib_piece
from musiclib.files import sha256_of
from musiclib.piece import (
    VERSION,
    Piece,
    estimate_shift,
    load_piece,
    metre,
    piece_from_midi,
    store_piece,
    to_common_key,
    trim_leading_rests,
)
from musiclib.roll import draw_roll, to_midi, to_piano_roll, transpose

# Metre


def positions(*metres, steps):
    position, bar, _ = metre(midi_of((0, 99, 60), metres=metres), steps=steps)
    assert position.dtype == np.uint8
    return position.tolist(), bar


def test_without_a_metre_bars_have_four_quarters():
    assert positions(steps=18) == ([*range(16), 0, 1], 16)


def test_three_quarters():
    assert positions((0, 3, 4), steps=14) == ([*range(12), 0, 1], 12)


def test_an_upbeat_is_counted_from_its_end():
    assert positions((0, 1, 4), (1, 4, 4), steps=22) == ([12, 13, 14, 15, *range(16), 0, 1], 16)


def test_a_short_first_bar_that_is_repeated_is_no_upbeat():
    found, _ = positions((0, 2, 4), (4, 4, 4), steps=20)
    assert found == [*range(8), *range(8), *range(4)]


def test_the_metre_may_change():
    found, bar = positions((0, 4, 4), (4, 3, 4), steps=40)
    assert found == [*range(16), *range(12), *range(12)]
    assert bar == 12


def test_of_two_metres_at_one_place_the_later_counts():
    assert positions((0, 4, 4), (0, 3, 4), steps=13) == ([*range(12), 0], 12)


def test_before_the_first_metre_bars_have_four_quarters():
    found, bar = positions((4, 3, 4), steps=30)
    assert found == [*range(16), *range(12), 0, 1]
    assert bar == 16


def test_a_bar_too_long_to_count_goes_on_from_nought():
    found, bar = positions((0, 32, 4), steps=130)
    assert found == [*range(64), *range(64), 0, 1]
    assert bar == 64


def test_a_bar_shorter_than_a_step_has_one():
    assert positions((0, 1, 64), steps=3) == ([0, 0, 0], 1)


@pytest.mark.parametrize(
    ("metres", "bar", "denominator"),
    [
        ([], 16, 4),
        ([(0, 6, 8)], 12, 8),
        ([(0, 2, 2)], 16, 2),
        ([(0, 1, 8), (0.5, 6, 8)], 12, 8),  # an upbeat is named as the bars after it
        ([(0, 3, 4), (6, 6, 8)], 12, 4),
        ([(0, 3, 4), (3, 6, 8)], 12, 8),
        ([(0, 3, 4), (3, 6, 8), (6, 3, 4)], 12, 4),
        ([(0, 3, 4), (3, 6, 8), (6, 4, 4)], 12, 4),  # the bar is chosen first, by its steps
        ([(0, 32, 4)], 64, 4),
    ],
)
def test_the_commonest_bar_is_named_as_for_most_of_its_steps(metres, bar, denominator):
    _, *found = metre(midi_of((0, 99, 60), metres=metres), steps=40)
    assert found == [bar, denominator]


# Key


@pytest.mark.parametrize("semitones", range(-5, 7))
def test_a_scale_is_moved_to_c_major(semitones):
    assert estimate_shift(to_piano_roll(scale(60 + semitones))) == -semitones


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(20, 60), st.integers(1, 8)), min_size=4),
    st.integers(-12, 12),
)
def test_a_transposed_piece_moves_to_the_same_place(notes, semitones):
    start, key, length = np.array(notes).T
    roll = draw_roll(start, key, length, steps=40)
    here, there = estimate_shift(roll), estimate_shift(transpose(roll, semitones))
    assert -6 <= there <= 5
    assert (there + semitones - here) % 12 == 0


def test_a_minor_tune_moves_to_a_minor():
    harmonic = (0, 2, 3, 5, 7, 8, 11)
    tonic = [(i + 10, i + 12, 57) for i in range(4)]
    notes = [(i, i + 1, 57 + step) for i, step in enumerate(harmonic)] + tonic
    assert estimate_shift(to_piano_roll(midi_of(*notes))) == 0
    moved = midi_of(*((s, e, p + 3) for s, e, p in notes))
    assert estimate_shift(to_piano_roll(moved)) == -3


def test_no_note_and_every_note_have_no_key():
    assert estimate_shift(np.zeros((8, 88, 2), np.uint8)) == 0
    chromatic = midi_of(*((0, 1, 60 + i) for i in range(12)))
    assert estimate_shift(to_piano_roll(chromatic)) == 0


# What the grid costs


def cost(*notes):
    return piece_from_midi(midi_of(*notes), name="x")[1]


def test_on_the_grid_nothing_is_lost():
    lost = {"notes": 2, "off_grid": 0.0, "merged": 0.0, "collided": 0.0, "free": 0.0}
    assert cost((0, 1, 60), (1, 1.25, 62)) == lost


def test_a_triplet_moves_and_a_unison_merges():
    found = cost((0, 1 / 3, 60), (1, 2, 62), (1, 1.5, 62), (2, 3, 64))
    assert found == {"notes": 4, "off_grid": 0.25, "merged": 0.25, "collided": 0.0, "free": 0.0}


def test_notes_are_free_where_they_fit_neither_sixteenths_nor_triplets():
    triplets = [(i / 3, i / 3 + 0.2, 60 + i) for i in range(9)]
    slightly_late = [(4 + i / 4 + 0.015, 4 + i / 4 + 0.2, 60 + i) for i in range(9)]
    assert cost(*triplets, *slightly_late)["free"] == 0.0
    assert cost((0, 1, 60), (0.1, 1, 62), (1.7, 2, 64), (3, 4, 65))["free"] == 0.5
    rng = np.random.default_rng(0)
    played = [(t, t + 0.5, 60) for t in np.cumsum(rng.uniform(0.6, 1.3, 300))]
    assert 0.6 < cost(*played)["free"] < 0.75
    assert cost() == dict.fromkeys(("notes", "off_grid", "merged", "collided", "free"), 0)


def test_bars_of_rest_at_the_beginning_are_left_out_and_said():
    midi = midi_of((13, 14, 60), (14, 17, 64), metres=[(0, 3, 4)])
    with pytest.warns(UserWarning, match="it begins with 12 quarters of rest, skipped here"):
        piece, loss = piece_from_midi(midi, name="late")
    assert len(piece.roll) == len(piece.lines) == len(piece.position) == 4 * (17 - 12)
    assert piece.position[:13].tolist() == [*range(12), 0]
    assert np.flatnonzero(piece.roll[..., 0].any(axis=1)).tolist() == [4, 8]
    assert loss["notes"] == 2


def test_rests_within_the_first_bar_and_an_upbeat_stay():
    late_in_the_bar = midi_of((3, 4, 60), (4, 8, 62))
    upbeat = midi_of((0.5, 1, 60), (1, 5, 62), metres=[(0, 1, 4), (1, 4, 4)])
    for midi in (late_in_the_bar, upbeat):
        piece, _ = piece_from_midi(midi, name="x")
        assert np.array_equal(piece.roll, to_piano_roll(midi))
    silent = Piece("s", np.zeros((32, 88, 2), np.uint8), np.zeros((32, 0)), np.zeros(32), 16, 0, 80)
    assert trim_leading_rests(silent) is silent


def test_what_would_leave_the_piano_in_one_key_is_moved_by_an_octave():
    roll = draw_roll([0, 4, 8], [0, 50, 87], [4, 4, 4], steps=12)
    for shift, keys in ((-3, [9, 47, 84]), (3, [3, 53, 78]), (0, [0, 50, 87])):
        piece = Piece("x", roll, np.zeros((12, 0)), np.arange(12), 16, shift, 80.0)
        moved = to_common_key(piece)
        assert [int(np.flatnonzero(moved[t, :, 1])[0]) for t in (0, 4, 8)] == keys
        assert moved.sum() == roll.sum()


def test_notes_faster_than_the_grid_collide_and_are_no_unisons():
    sextuplets = [(k / 6, (k + 1) / 6, 60) for k in range(12)]
    found = cost(*sextuplets)
    assert (found["merged"], found["collided"]) == (0.0, 4 / 12)
    assert cost(*sextuplets, sextuplets[0])["merged"] == 1 / 13


def test_only_notes_that_a_piano_has_are_counted():
    with pytest.warns(UserWarning, match="1 of 2 notes lie outside"):
        assert cost((0, 1, 60), (0, 1, 5))["notes"] == 1


def test_a_piece_carries_what_travels_beside_its_roll():
    midi = midi_of((0, 4, 62), metres=[(0, 3, 4)], tempo=96.0)
    piece, _ = piece_from_midi(midi, name="tune")
    assert (piece.name, piece.bar, piece.lines.shape) == ("tune", 12, (16, 0))
    assert piece.denominator == 4
    assert piece.tempo == pytest.approx(96)
    assert len(piece.position) == len(piece.roll) == 16


# On disk


def same(a: Piece, b: Piece) -> bool:
    alike = all(np.array_equal(getattr(a, f), getattr(b, f)) for f in ("roll", "lines", "position"))
    names = ("name", "bar", "shift", "tempo", "denominator")
    return alike and all(getattr(a, f) == getattr(b, f) for f in names)


@pytest.mark.filterwarnings("ignore:it begins with")
@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 87), st.integers(1, 8)), max_size=20),
    st.sampled_from([1, 2, 4, 8, 16]),
)
def test_a_saved_piece_comes_back(tmp_path_factory, notes, denominator):
    start, key, length = np.array(notes, int).reshape(-1, 3).T
    roll = draw_roll(start, key, length, steps=40)
    midi = to_midi(roll, steps_per_bar=16, denominator=denominator)
    piece, _ = piece_from_midi(midi, name="Ünder/tune 1")
    folder = tmp_path_factory.mktemp("piece")
    digest = store_piece(piece, folder)
    path = folder / f"{digest}.npz"
    assert sha256_of(path) == digest
    assert same(load_piece(path), piece)


@pytest.fixture
def stored(tmp_path):
    digest = store_piece(piece_from_midi(scale(), name="scale")[0], tmp_path)
    return (tmp_path / f"{digest}.npz").rename(tmp_path / "a.npz")


def test_a_damaged_piece_is_named(stored):
    data = stored.read_bytes()
    for broken in (b"", b"nonsense", data[: len(data) // 2], data[:200] + bytes(99) + data[299:]):
        stored.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.npz is not a prepared piece .*run notebook 01"):
            load_piece(stored)


def test_a_missing_piece_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.npz is not a prepared piece"):
        load_piece(tmp_path / "gone.npz")


def test_a_piece_of_another_version_is_refused(stored, monkeypatch):
    monkeypatch.setattr(musiclib_piece, "VERSION", 99)
    with pytest.raises(ValueError, match="version 2, this musiclib reads 99"):
        load_piece(stored)


def test_a_pickle_in_a_piece_is_never_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, version=VERSION, steps=1, roll=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a prepared piece"):
        load_piece(path)


def test_no_damage_gives_anything_but_a_sentence_or_a_piece(stored):
    data, rng = stored.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            broken[place] = rng.integers(256)
        stored.write_bytes(
            broken[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else broken
        )
        try:
            piece = load_piece(stored)
        except ValueError as error:
            assert str(error).startswith(f"{stored} is not a prepared piece (")  # noqa: PT017
        else:
            assert piece.roll.shape == (len(piece.position), 88, 2)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"steps": 10**9}, "1,000,000,000 steps; allowed: 0 to 500,000"),
        ({"steps": -1}, "-1 steps; allowed"),
        ({"steps": 31}, r"\(32, 0\) lines and \(32,\) places of 31 steps"),
        ({"lines": np.zeros((10**6, 1), np.uint8)}, "unpacks to 1,00.,... bytes, and at most 99,"),
        ({"roll": np.zeros(9)}, "is not a prepared piece"),
        ({"bar": np.zeros(2)}, "is not a prepared piece"),
        ({"denominator": 3}, r"denominator 3; allowed: \(1, 2, 4, .*64\)\); run notebook 01"),
        ({"denominator": 128}, "denominator 128; allowed"),
        ({"denominator": 0}, "denominator 0; allowed"),
        ({"denominator": np.zeros(2)}, "is not a prepared piece"),
    ],
)
def test_a_piece_that_claims_too_much_is_refused_before_it_is_unpacked(
    stored, changed, reason, monkeypatch
):
    monkeypatch.setattr(musiclib_piece, "MAX_UNPACKED", 99_999)
    with np.load(stored) as data:
        whole = dict(data)
    np.savez_compressed(stored, **(whole | changed))
    with pytest.raises(ValueError, match=reason):
        load_piece(stored)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_piece_that_is_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="only regular files are read"):
        load_piece(tmp_path / "pipe.npz")
