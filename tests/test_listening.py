"""Which clips are heard, and who hears what when."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musiclib import listening
from musiclib.evaluation import NO_SEED, Sample
from musiclib.simulated_listeners import placeholder_clips


def samples(*, seeds=(3, 0), n=3, steps=128):
    """Return n pieces a training of each model, and n of the other sets, each with a note."""
    found = []
    for model in listening.HEARD:
        trainings = seeds if model in ("lstm", "gan", "vae") else (NO_SEED,)
        for seed, number in itertools.product(trainings, range(n)):
            roll = np.zeros((steps, 88, 2), np.uint8)
            roll[0, 10 * len(found) % 88] = 1
            found.append(Sample(model, seed, number, f"{model}{seed}{number}", roll))
    return found


def test_trainings_come_in_turn_and_nothing_is_picked():
    clips = listening.choose_clips(samples(), n=4)
    own = [(clip.seed, clip.sample) for clip in clips if clip.model == "gan"]
    assert own == [(0, 0), (3, 0), (0, 1), (3, 1)]
    assert Counter(clip.model for clip in clips) == dict.fromkeys(listening.HEARD, 4) | {
        "real": 3,
        "markov": 3,
    }
    assert {len(clip.roll) for clip in clips} == {listening.CLIP_STEPS}
    assert listening.clip_seconds(clips, tempo=80) == 12.0


def test_codes_are_unique_and_name_no_model():
    clips = placeholder_clips(200)
    codes = {clip.code for clip in clips}
    assert len(codes) == len(clips)
    assert all(len(code) == 8 and set(code) <= set("0123456789abcdef") for code in codes)


def test_clips_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="samples: no clips of lstm, gan, vae, real, markov; each"):
        listening.choose_clips([])
    with pytest.raises(ValueError, match="samples: lstm 0 of seed 0 has 32 steps; clips of 64"):
        listening.choose_clips(samples(steps=32))
    with pytest.raises(ValueError, match="n, steps, sets: got 0, 64"):
        listening.choose_clips(samples(), n=0)
    clips = placeholder_clips(1)
    longer = clips[0]._replace(roll=np.zeros((2, 88, 2), np.uint8))
    with pytest.raises(ValueError, match=r"got lengths \[1, 2\] in steps; allowed is one length"):
        listening.clip_seconds([*clips, longer], tempo=80)
    with pytest.raises(ValueError, match=r"got lengths \[\]"):
        listening.clip_seconds([], tempo=80)
    with pytest.raises(ValueError, match="clips of no set; allowed are two or more"):
        listening.deal([], listener="a", seed=0)


def test_a_deal_rates_and_compares_every_set_alike():
    clips = placeholder_clips(10)
    model = {clip.code: clip.model for clip in clips}
    trials = listening.deal(clips, listener="heron", seed=0)
    assert [trial.number for trial in trials] == list(range(36))
    assert [trial.kind for trial in trials] == ["rating"] * 10 + ["choice"] * 26
    rated = Counter(model[trial.first] for trial in trials[:10])
    assert rated == dict.fromkeys(listening.HEARD, 2)
    ordered = Counter((model[trial.first], model[trial.second]) for trial in trials[10:])
    models = set(listening.HEARD[:3])
    assert ordered == {
        pair: 2 if set(pair) <= models else 1 for pair in itertools.permutations(listening.HEARD, 2)
    }


@given(st.integers(1, 6), st.integers(0, 7), st.integers(0, 5), st.text("abc", min_size=1))
def test_no_deal_compares_a_set_with_itself_or_rates_a_clip_twice(n, chosen, rated, name):
    clips = placeholder_clips(n)
    model = {clip.code: clip.model for clip in clips}
    trials = listening.deal(
        clips, listener=name, seed=1, rated=rated, chosen=chosen, between=chosen + 1
    )
    alone = [trial.first for trial in trials if trial.kind == listening.RATING]
    pairs = [trial for trial in trials if trial.kind == listening.CHOICE]
    assert len(set(alone)) == len(alone) == 5 * min(rated, n)
    assert len(pairs) == 7 * chosen + 3 * (chosen + 1)
    assert all(model[trial.first] != model[trial.second] for trial in pairs)


def test_a_deal_follows_from_seed_and_name():
    clips = placeholder_clips(5)
    deals = [
        listening.deal(clips, listener=name, seed=seed)
        for name, seed in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    ]
    assert deals[0] == deals[1]
    assert deals[0] != deals[2]
    assert deals[0] != deals[3]


def test_the_order_tells_nothing_about_the_set():
    clips = placeholder_clips(10)
    model = {clip.code: clip.model for clip in clips}
    places = {name: [] for name in listening.HEARD}
    for k in range(300):
        for trial in listening.deal(clips, listener=f"l{k}", seed=0)[:10]:
            places[model[trial.first]].append(trial.number)
    assert all(abs(np.mean(found) - 4.5) < 0.5 for found in places.values())


def test_a_design_is_its_notes_and_its_seed():
    clips = listening.choose_clips(samples(), n=2)
    name = listening.design(clips, seed=0)
    assert name == listening.design(clips, seed=0)
    assert name != listening.design(clips, seed=1)
    other = clips[0].roll.copy()
    other[5, 5] = 1
    assert name != listening.design([clips[0]._replace(roll=other), *clips[1:]], seed=0)


def test_the_key_names_every_clip():
    clips = listening.choose_clips(samples(), n=1)
    key = listening.clip_table(clips)
    assert list(key) == ["code", "model", "seed", "sample", "file"]
    assert key["file"].tolist() == ["lstm00", "gan00", "vae00", "real-10", "markov-10"]


@pytest.mark.parametrize("name", ["", " - ", "x" * 41, "Simulated 3", "漢"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(ValueError, match="name: got"):
        listening.listener_name(name)


def test_a_name_is_made_safe():
    assert listening.listener_name("../Blue Heron_7\n") == "blue-heron-7"
