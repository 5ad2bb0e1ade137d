"""The second ruler: closed forms, what it must not see, and that it is the frozen one.

Run as a program with a folder for the prepared chorales, this writes data/second_ruler.json."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from musiclib.distance import resampled_distance
from musiclib.files import write_json
from musiclib.roll import COMMON_BARS, Bars, draw_roll, note_list, transpose
from study import sets, stats
from study.run import Paths
from study.second_ruler import (
    SECOND_FEATURES,
    CountedMusic,
    ruler_hash,
    second_measures,
    second_table,
)
from study.splits import ready_corpus

FROZEN = Path(__file__).parents[1] / "data" / "second_ruler.json"
CONTROLS = ("backwards", "collage_bars", "collage_phrases")
N, N_RESAMPLES, SEED, MAX_PIECES = 100, 1000, 0, 400


def facts(folder) -> dict:
    """Return the hash, and how far sets of chorales lie from the validation ones (by tune)."""
    corpus = ready_corpus("chorales", Paths(folder), max_pieces=MAX_PIECES)
    training = sets.training_pieces(corpus.pieces, corpus.split)
    counted = CountedMusic([p.roll for p in training], [p.name for p in training])
    real = sets.real_samples(corpus.pieces, corpus.split, side="valid")
    target, tune = second_table(real, counted), corpus.split.set_index("piece")["group"]
    tunes = defaultdict(list)
    for place, sample in enumerate(real):
        tunes[tune[sample.file]].append(place)
    by_set = sets.rolls_by_set(made := sets.baseline_samples(training, n=N, seed=SEED))
    distances = {}
    for name in by_set:
        values = second_table([s for s in made if s.model == name], counted)
        distances[name] = interval(values, target, tunes)
    return {
        "code": ruler_hash(), "features": list(SECOND_FEATURES), "corpus": "chorales",
        "counted": len(training), "reference": "valid", "n_reference": len(real),
        "tunes": len(tunes), "n_resamples": N_RESAMPLES, "seed": SEED, "distances": distances,
    }  # fmt: skip


def interval(values, target, tunes) -> dict:
    """Return the distance of a set and its 95 % interval; pieces and tunes are drawn."""

    def distance(ours, real):
        return resampled_distance(values, target[real.astype(int)], SECOND_FEATURES)(ours)

    groups = {0: np.arange(len(values))}, {t: np.array(places) for t, places in tunes.items()}
    rng = np.random.default_rng(SEED)
    found = stats.seed_interval(distance, *groups, rng=rng, n_resamples=N_RESAMPLES)
    ends = {name: round(getattr(found, name), 4) for name in ("estimate", "low", "high")}
    return ends | {"n": len(values)}


def roll_of(*notes, steps=128):
    """Draw (start, key, length) in steps."""
    return draw_roll(*zip(*notes, strict=True), steps=steps)


def reverse(roll):
    start, key, length = note_list(roll)
    return draw_roll(len(roll) - start - length, key, length, steps=len(roll))


def some_music(seed=0, steps=128, voices=3):
    """Return chords of random lengths in a scale, as whole as a test needs."""
    rng, notes = np.random.default_rng(seed), []
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    for voice in range(voices):
        at = 0
        while at < steps:
            length = min(int(rng.choice([2, 4, 8])), steps - at)
            notes.append((at, 24 + 14 * voice + int(rng.choice(scale)), length))
            at += length
    return roll_of(*notes, steps=steps)


NOTHING = CountedMusic([])


def measured(roll, counted=NOTHING, bars=COMMON_BARS, **options):
    return second_measures(roll, counted, bars=bars, **options)


# Closed forms


def test_a_suspension_that_steps_down_is_resolved_and_its_mirror_is_not():
    held = roll_of((0, 50, 8), (4, 48, 12), (8, 49, 4), steps=16)  # 50 against 48, then 49: a step
    assert measured(held)["resolution"] == 1 / 2  # the other clash, 49 against 48, has no mirror
    assert measured(reverse(held))["resolution"] == -1 / 2
    up = roll_of((0, 50, 8), (4, 48, 12), (8, 52, 4), steps=16)
    assert measured(up)["resolution"] == 0.0


def test_the_lowest_key_falls_by_fifths():
    assert measured(roll_of((0, 40, 4), (4, 33, 4), steps=8))["bass_fifths"] == 1.0
    assert measured(roll_of((0, 33, 4), (4, 40, 4), steps=8))["bass_fifths"] == -1.0
    assert measured(roll_of((0, 35, 4), (4, 40, 4), steps=8))["bass_fifths"] == 1.0


def test_a_leading_tone_rises_into_the_lowest_keys_class():
    close = roll_of((0, 34, 4), (0, 50, 4), (4, 27, 4), (4, 51, 4), steps=8)  # B over G, C over C
    assert measured(close)["leading_tone"] == 1.0
    assert measured(reverse(close))["leading_tone"] == -1.0


def test_a_cadence_is_counted_at_long_chords_alone():
    notes = [(0, 40, 4), (4, 34, 4), (8, 27, 16), (24, 29, 4), (28, 31, 4)]
    assert measured(roll_of(*notes, steps=32))["cadence"] == 1.0  # 34 to 27, a fifth down
    assert measured(reverse(roll_of(*notes, steps=32)))["cadence"] == -1.0
    even = roll_of(*((4 * i, 40 + i, 4) for i in range(8)), steps=32)
    assert math.isnan(measured(even)["cadence"])


def test_dissonance_off_the_beat():
    notes = [(4 * i, 39, 4) for i in range(32)] + [(4 * i + 2, 41, 2) for i in range(32)]
    notes += [(4 * i, 43, 2) for i in range(32)]
    assert measured(roll_of(*notes))["dissonance_off_beat"] == 1.0
    assert measured(roll_of(*notes), bars=Bars(16, 2))["dissonance_off_beat"] == -1.0


def test_the_lowest_key_moves_at_bar_lines():
    bass = roll_of(*((16 * i, 30 + 2 * (i % 2), 16) for i in range(8)))
    found = measured(bass)
    assert found["bass_on_line"] == pytest.approx(7 / 8)  # the first line has no chord before it
    assert measured(bass, bars=Bars(16, 4))["bass_on_line"] == pytest.approx(-7 / 24)
    assert math.isnan(found["line_move"])  # no move elsewhere
    half = roll_of(*((8 * i, 30 + (0, 1, 5, 6)[i % 4], 8) for i in range(16)))
    assert measured(half)["line_move"] == pytest.approx((4 * 4 + 3 * 6) / 7 - 1)


def test_the_opening_returns():
    bar = [(0, 40, 4), (4, 42, 4), (8, 44, 8)]
    tune = [(16 * i + s, k + 12 * (i == 4), n) for i in (0, 4) for s, k, n in bar]
    rest = [(16 * i, 33 + i, 16) for i in (1, 2, 3, 6, 7)] + [(80, 34, 16)]
    assert measured(roll_of(*tune, *rest))["opening_return"] == 1.0  # octaves do not matter
    assert measured(roll_of((0, 40, 64), (64, 42, 64)))["opening_return"] == 1.0
    assert math.isnan(measured(roll_of((0, 40, 64)), bars=Bars(64))["opening_return"])


def test_the_key_at_a_bar_line_and_of_the_halves():
    same = roll_of((0, 40, 64), (64, 52, 64))
    other = roll_of((0, 40, 64), (64, 41, 64))
    for name in ("key_at_line", "key_of_halves"):
        assert measured(same)[name] == pytest.approx(1.0)
        assert measured(other)[name] == pytest.approx(0.0)


def test_likelihood_of_counted_chords():
    """Ten times up a tone: n of everything is 10, so each context adds to the same share."""
    line = roll_of(*((4 * i, 20 + 2 * i, 4) for i in range(11)), steps=44)
    counted = CountedMusic([line])
    p = (11 / 22) * (10.5 / 1034)
    p = (10 + 5 * p) / 15
    one = (10 + 5 * p) / 15
    later, first = (9 + 5 * one) / 14, (1 + 5 * one) / 6
    found = counted.bits(np.ones(11, int), np.arange(11) * 2)
    assert found == pytest.approx(np.log2([first, *[later] * 9]))
    assert measured(line, counted)["chord_likelihood"] == pytest.approx((first + 9 * later) / 10)
    lines = [3, 7]  # the fifth chord and the ninth
    rest = np.delete(found, lines)
    assert measured(line, counted)["line_likelihood"] == pytest.approx(
        found[lines].mean() - rest.mean()
    )
    assert measured(line, counted)["worst_line"] == pytest.approx(found[lines].min())
    assert measured(line, counted)["time_arrow"] > 2


def test_probabilities_sum_to_one():
    counted = CountedMusic([some_music(seed) for seed in range(3)])
    kinds = np.arange(1, 4096, 2)
    total = sum(
        2.0 ** counted.bits(np.array([17, 145, kind]), np.array([30, 35, 35 + move]))[-1]
        for move in range(12)
        for kind in kinds
    )
    assert total == pytest.approx(1.0, abs=1e-6)


# What must hold for any piece

MIRRORED = ("time_arrow", "bass_fifths", "leading_tone", "resolution", "cadence")


@pytest.mark.parametrize("seed", range(4))
def test_reversal_changes_the_sign_of_what_has_a_direction(seed):
    roll = some_music(seed)
    counted = CountedMusic([some_music(9), roll])
    ours, theirs = measured(roll, counted), measured(reverse(roll), counted)
    for name in MIRRORED:
        assert theirs[name] == pytest.approx(-ours[name])
    assert any(abs(ours[name]) > 0.01 for name in MIRRORED)


@pytest.mark.parametrize("bars", [Bars(), Bars(12, 4), Bars(12, 6, 8), Bars(64), Bars(10, 3)])
def test_a_transposed_piece_has_the_same_values(bars):
    roll = some_music(1)
    counted = CountedMusic([some_music(2), roll])
    expected = measured(roll, counted, bars=bars)
    for semitones in (-5, 3, 12):
        moved = transpose(roll, semitones)
        assert measured(moved, counted, bars=bars) == pytest.approx(expected, nan_ok=True)
    again = CountedMusic([transpose(some_music(2), 7), transpose(roll, -2)])
    assert again.total == counted.total


def test_silence_and_single_notes_are_undefined_and_tunes_mostly_defined():
    silent = measured(np.zeros((128, 88, 2), np.uint8))
    assert all(math.isnan(value) for value in silent.values())
    measured(roll_of((0, 0, 1), steps=1))
    measured(roll_of((0, 87, 128), (3, 0, 1)))
    tune = measured(some_music(3, voices=1))
    undefined = {name for name, value in tune.items() if math.isnan(value)}
    assert undefined == {"resolution", "dissonance_off_beat"}


def test_leaving_a_piece_out_is_counting_without_it():
    rolls = [some_music(seed) for seed in range(4)]
    names = ["a", "b", "c", "b"]
    all_of_them = CountedMusic(rolls, names)
    for name in "abc":
        rest = CountedMusic([r for r, n in zip(rolls, names, strict=True) if n != name])
        assert measured(rolls[0], all_of_them, skip=name) == measured(rolls[0], rest)
    with pytest.raises(ValueError, match="skip"):
        measured(rolls[0], all_of_them, skip="d")
    one = sets.Sample("training", 0, 0, "a", rolls[0])
    table = second_table([one, one._replace(model="lstm")], all_of_them)
    without = CountedMusic(rolls[1:])
    assert table[0].tolist() == list(measured(rolls[0], without).values())
    assert table[1].tolist() == list(measured(rolls[0], all_of_them).values())


# The frozen ruler


def test_the_ruler_is_the_frozen_one():
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert frozen["code"] == ruler_hash(), "the second ruler must not change any more"
    assert frozen["features"] == list(SECOND_FEATURES)


def test_the_frozen_controls_lie_apart_from_training():
    distances = json.loads(FROZEN.read_text(encoding="utf-8"))["distances"]
    assert all(distances[name]["low"] > distances["training"]["high"] for name in CONTROLS)


@pytest.mark.long
def test_the_frozen_distances_are_found_again(tmp_path):
    found, frozen = facts(tmp_path), json.loads(FROZEN.read_text(encoding="utf-8"))
    assert {k: v for k, v in found.items() if k != "distances"} == {
        k: v for k, v in frozen.items() if k != "distances"
    }
    for name, values in frozen["distances"].items():
        assert found["distances"][name] == pytest.approx(values, abs=2e-3)
    for name in CONTROLS:
        assert found["distances"][name]["low"] > found["distances"]["training"]["high"]


if __name__ == "__main__":
    write_json(facts(sys.argv[1]), FROZEN)
