"""Listeners that do not exist: the committed file, and that it says what it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from musiclib import answers, listening, simulated_listeners
from musiclib.answers import SIMULATED, ProvenanceError

COMMITTED = Path(__file__).resolve().parent.parent / "data/listening/simulated_answers.csv"


def test_the_committed_file_is_made_by_the_code(tmp_path):
    clips = simulated_listeners.placeholder_clips(listening.CLIPS)
    made = simulated_listeners.write_simulated(clips, tmp_path / COMMITTED.name)
    assert made.read_bytes() == COMMITTED.read_bytes()


def test_every_line_of_it_says_that_it_is_simulated():
    lines = COMMITTED.read_text().splitlines()
    assert lines[0].startswith("provenance_simulated,")
    assert all(line.startswith("simulated,simulated,simulated-") for line in lines[1:])
    assert len(lines) == 1 + simulated_listeners.LISTENERS * 36


def test_it_is_read_only_as_what_it_is():
    codes = {clip.code for clip in simulated_listeners.placeholder_clips(listening.CLIPS)}
    settings = {"design": SIMULATED, "codes": codes}
    found = answers.merge_answers([COMMITTED], provenance=SIMULATED, **settings)
    assert len(found.answers) == simulated_listeners.LISTENERS * 36
    assert found.left_out.empty
    with pytest.raises(ProvenanceError, match="simulated answers, which stand for no listener"):
        answers.merge_answers([COMMITTED], provenance=answers.LISTENER, **settings)


def test_simulated_answers_have_their_name(tmp_path):
    with pytest.raises(ProvenanceError, match="must be called so"):
        simulated_listeners.write_simulated([], tmp_path / "heron.csv")


def test_the_models_are_liked_alike():
    liking = simulated_listeners.LIKING
    assert liking["lstm"] == liking["gan"] == liking["vae"]


def test_answers_follow_from_the_seed():
    clips = simulated_listeners.placeholder_clips(2)
    first = simulated_listeners.simulated_answers(clips, listeners=3)
    assert first == simulated_listeners.simulated_answers(clips, listeners=3)
    assert first != simulated_listeners.simulated_answers(clips, listeners=3, seed=1)
    assert Counter(answer.listener for answer in first) == {
        "simulated-01": 36,
        "simulated-02": 36,
        "simulated-03": 36,
    }
