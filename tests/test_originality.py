"""Copies of the training music: by hand, and by a plain search."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import originality
from musiclib.originality import WINDOW_LENGTHS, TrainingIndex
from musiclib.roll import draw_roll, transpose


def random_roll(steps, *, seed, keys=(40, 43, 47), chance=0.4):
    """Return a roll that strikes few keys, so that stretches recur by chance."""
    rng = np.random.default_rng(seed)
    start, which = np.nonzero(rng.random((steps, len(keys))) < chance)
    return draw_roll(start, np.array(keys)[which], rng.integers(1, 3, size=len(start)), steps=steps)


def melody(keys):
    """Return these keys one after another, a step each."""
    return draw_roll(np.arange(len(keys)), keys, [1] * len(keys), steps=len(keys))


def count_windows(training, piece, *lengths):
    """Return the counts of windows of these lengths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(originality, "WINDOW_LENGTHS", lengths)
        return TrainingIndex(training).count(piece)


def plain_windows(roll, length):
    """Return the windows of three chords or more, by a plain loop."""
    found = []
    for at in range(len(roll) - length + 1):
        window = roll[at : at + length]
        if len({step.tobytes() for step in window[..., 1] if step.any()}) >= 3:
            found.append(window)
    return found


def lowest_at_zero(window):
    """Return a window moved so that its lowest key is key 0."""
    return np.roll(window, -np.flatnonzero(window[..., 1].any(axis=0))[0], axis=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 6))
def test_count_agrees_with_a_plain_search(seed, length):
    training = [random_roll(60, seed=seed + i, keys=(40, 43 + i)) for i in range(3)]
    piece = random_roll(40, seed=seed + 9, keys=(43, 46))
    found = count_windows(training, piece, length)
    ours = plain_windows(piece, length)
    theirs = [window for roll in training for window in plain_windows(roll, length)]
    exact = {window.tobytes() for window in theirs}
    moved = {lowest_at_zero(window).tobytes() for window in theirs}
    assert found[f"windows_{length}"] == len(ours)
    assert found[f"exact_{length}"] == sum(w.tobytes() in exact for w in ours)
    assert found[f"transposed_{length}"] == sum(lowest_at_zero(w).tobytes() in moved for w in ours)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_longest_run_agrees_with_a_plain_search(seed):
    training = [random_roll(25, seed=seed + i) for i in range(2)]
    piece = random_roll(20, seed=seed + 9)
    run = TrainingIndex(training).longest_run(piece)
    assert run.length == max(
        steps_that_agree(piece[a:], roll[b:])
        for roll in training
        for a in range(len(piece))
        for b in range(len(roll))
    )
    copy = training[run.source][run.source_step : run.source_step + run.length]
    assert np.array_equal(copy, piece[run.step : run.step + run.length])


def steps_that_agree(first, second):
    """Return how many steps agree from the start, 0 if they are rests alone."""
    steps = min(len(first), len(second))
    same = (first[:steps] == second[:steps]).all(axis=(1, 2))
    steps = steps if same.all() else int(same.argmin())
    return steps if first[:steps].any() else 0


def test_a_piece_is_a_copy_of_itself():
    rolls = [random_roll(80, seed=i, keys=range(30, 60), chance=0.1) for i in range(3)]
    total = pd.DataFrame([TrainingIndex(rolls).count(roll) for roll in rolls]).sum()
    for length, windows in ((8, 3 * 73), (16, 3 * 65), (32, 3 * 49)):
        found = [total[f"{kind}_{length}"] for kind in ("windows", "exact", "transposed")]
        assert found == [windows] * 3
    run = TrainingIndex(rolls).longest_run(rolls[1])
    assert run == (80, 0, 1, 0, 0)


def test_a_transposed_copy_is_found_only_up_to_transposition():
    roll = random_roll(80, seed=0, keys=range(30, 60), chance=0.1)
    index = TrainingIndex([random_roll(50, seed=1, keys=range(30, 60)), roll])
    moved = transpose(roll[20:60], 5)
    count = index.count(moved)
    assert count["exact_16"] == 0 < count["windows_16"]
    assert all(count[f"transposed_{n}"] == count[f"windows_{n}"] for n in WINDOW_LENGTHS)
    assert index.longest_run(moved, transposed=True) == (40, 0, 1, 20, 5)
    assert index.longest_run(moved).length < 20


def test_a_struck_note_is_not_a_held_one():
    held = draw_roll([0, 2, 4], [40, 42, 44], [2, 2, 4], steps=8)
    struck = draw_roll([0, 2, 4, 6], [40, 42, 44, 44], [2, 2, 2, 2], steps=8)
    count = count_windows([held], struck, 6, 8)
    assert (count["exact_6"], count["exact_8"]) == (1, 0)
    assert (count["windows_6"], count["windows_8"]) == (2, 1)


def test_windows_of_two_chords_do_not_count():
    roll = melody([40, 42] * 8)
    assert TrainingIndex([roll]).count(roll)["windows_8"] == 0


def test_a_run_does_not_cross_from_piece_to_piece():
    index = TrainingIndex([melody([40, 41, 42]), melody([43, 44, 45])])
    piece = melody([40, 41, 42, 43, 44, 45])
    assert index.longest_run(piece) == (3, 0, 0, 0, 0)
    assert index.longest_run(piece, transposed=True) == (3, 0, 0, 0, 0)


def test_a_run_over_a_rest_keeps_its_interval():
    training = draw_roll([0, 4, 8], [40, 45, 44], [2, 2, 2], steps=10)
    index = TrainingIndex([training])
    assert index.longest_run(transpose(training, -3), transposed=True) == (10, 0, 0, 0, -3)
    other = draw_roll([0, 4, 8], [40, 46, 45], [2, 2, 2], steps=10)
    run = index.longest_run(other, transposed=True)
    assert (run.length, run.step, run.semitones) == (6, 4, 1)


def test_rests_in_common_are_no_run():
    training = draw_roll([70, 74], [40, 41], [4, 4], steps=80)
    piece = draw_roll([64, 64], [50, 57], [2, 2], steps=70)
    index = TrainingIndex([training])
    silent = np.zeros((64, 88, 2), np.uint8)
    for roll in (piece, silent):
        for transposed in (False, True):
            assert index.longest_run(roll, transposed=transposed) == (0, 0, -1, 0, 0)
    assert index.count(silent)["windows_8"] == 0


def test_a_short_run_of_notes_beats_a_long_one_of_rests():
    training = np.concatenate([np.zeros((64, 88, 2), np.uint8), melody([50, 40, 41, 42, 55])])
    piece = np.concatenate([melody([60, 40, 41, 42, 61]), np.zeros((64, 88, 2), np.uint8)])
    index = TrainingIndex([training])
    assert index.longest_run(piece) == (3, 1, 0, 65, 0)
    assert index.longest_run(piece, transposed=True) == (3, 1, 0, 65, 0)


def test_nothing_in_common():
    index = TrainingIndex([melody([40, 41, 42])])
    piece = draw_roll([0, 0], [50, 51], [3, 3], steps=3)
    assert index.longest_run(piece) == (0, 0, -1, 0, 0)
    assert index.longest_run(piece, transposed=True) == (0, 0, -1, 0, 0)


def test_a_piece_shorter_than_a_window_has_none():
    short = melody([40, 41, 42])
    assert not any(TrainingIndex([short]).count(short).values())


def test_bad_input():
    with pytest.raises(ValueError, match="training must hold at least one piece"):
        TrainingIndex([])
    with pytest.raises(ValueError, match=r"training\[0\] must be uint8"):
        TrainingIndex([np.zeros((3, 88))])
