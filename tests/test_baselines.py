"""Music without a model: what is kept, what is not."""

import itertools

import numpy as np
import pytest

from musiclib.baselines import markov_pieces, random_pieces, shuffled_pieces
from musiclib.roll_notes import chord_sequence, notes_of, require_piece, roll_of

MAKERS = [markov_pieces, shuffled_pieces, random_pieces]


def training(n=4, steps=64, seed=0):
    """Return rolls of three-note chords on every quarter, and of one eighth each."""
    rng = np.random.default_rng(seed)
    rolls = []
    for _ in range(n):
        keys = rng.choice([30, 34, 37, 41, 44], size=(steps // 4, 3))
        starts = np.repeat(np.arange(0, steps, 4), 3)
        rolls.append(roll_of(starts, keys.ravel(), [4] * len(starts), steps=steps))
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
    roll = roll_of([0, 3, 5, 12], [40, 42, 44, 46], [3, 2, 7, 4], steps=16)
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
    roll = roll_of(np.arange(len(keys)), keys, [1] * len(keys), steps=len(keys))
    piece = markov_pieces([roll], n=1, rng=np.random.default_rng(0), steps=4000)[0]
    found = notes_of(piece).key
    after_a = found[1:][found[:-1] == a]
    assert set(after_a) == {b, c}
    assert (after_a == b).mean() == pytest.approx(60 / 119, abs=0.05)


def test_shuffled_pieces_keep_rhythm_and_pitches():
    key = np.arange(20, 36)  # all different: no two notes can meet on one key
    roll = roll_of(np.arange(0, 64, 4), key, np.arange(16) % 4 + 1, steps=64)
    piece = shuffled_pieces([roll], n=1, rng=np.random.default_rng(0), steps=64)[0]
    before, after = notes_of(roll), notes_of(piece)
    assert np.array_equal(before.start, after.start)
    assert np.array_equal(before.length, after.length)
    assert sorted(before.key) == sorted(after.key)
    assert not np.array_equal(before.key, after.key)


def test_every_roll_serves_before_one_serves_twice():
    rolls = [roll_of([0], [key], [4], steps=8) for key in range(30, 35)]
    pieces = shuffled_pieces(rolls, n=10, rng=np.random.default_rng(0), steps=8)
    keys = [int(notes_of(piece).key[0]) for piece in pieces]
    assert sorted(keys[:5]) == sorted(keys[5:]) == list(range(30, 35))


def test_random_pieces_keep_the_compass_and_roughly_the_number_of_notes():
    rolls = training(n=1)
    count = len(notes_of(rolls[0]).start)
    pieces = random_pieces(rolls, n=40, rng=np.random.default_rng(0), steps=64)
    keys = np.concatenate([notes_of(piece).key for piece in pieces])
    assert (keys.min(), keys.max()) == (30, 44)
    assert set(keys) == set(range(30, 45))
    counts = [len(notes_of(piece).start) for piece in pieces]
    assert max(counts) <= count
    assert np.mean(counts) > 0.9 * count
