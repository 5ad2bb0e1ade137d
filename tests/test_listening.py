"""Which clips are heard, and who hears what when.

The test on the screen: buttons pressed by code, answers on the disk, nothing given away.
Answers: on the disk at once, read with suspicion, merged with a report."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.manager import start_new_kernel

from study import listening
from study.listening import (
    HEARD,
    LISTENER,
    SIMULATED,
    Answer,
    ProvenanceError,
    clip_code,
    read_answers,
)
from study.preference import placeholder_clips
from study.sets import NO_SEED, Sample


def samples(*, seeds=(3, 0), n=3, steps=128):
    """Return n pieces per training of each model, and n of the other sets, each with a note."""
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
    with pytest.raises(ValueError, match="n: got 0; allowed: 1 or more"):
        listening.choose_clips(samples(), n=0)
    clips = placeholder_clips(1)
    longer = clips[0]._replace(roll=np.zeros((2, 88, 2), np.uint8))
    with pytest.raises(ValueError, match=r"got lengths \[1, 2\] in steps; allowed: one length"):
        listening.clip_seconds([*clips, longer], tempo=80)
    with pytest.raises(ValueError, match=r"got lengths \[\]"):
        listening.clip_seconds([], tempo=80)
    with pytest.raises(ValueError, match="clips of no set; allowed: two or more"):
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


@given(st.integers(1, 6), st.text("abc", min_size=1))
def test_no_deal_compares_a_set_with_itself_or_rates_a_clip_twice(n, name):
    clips = placeholder_clips(n)
    model = {clip.code: clip.model for clip in clips}
    trials = listening.deal(clips, listener=name, seed=1)
    alone = [trial.first for trial in trials if trial.kind == listening.RATING]
    pairs = [trial for trial in trials if trial.kind == listening.CHOICE]
    assert len(set(alone)) == len(alone) == 5 * min(2, n)
    assert len(pairs) == 7 * 2 + 3 * 4
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


ROOT = Path(__file__).resolve().parent.parent
CLIPS = placeholder_clips(2)
MODEL = {clip.code: clip.model for clip in CLIPS}


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for clip in CLIPS:
        (folder / f"{clip.code}.mp3").write_bytes(clip.code.encode())
    return folder


def screen(audio):
    return listening.Screen(CLIPS, seed=0, audio=audio, answers=audio.parent / "answers")


def begin(audio, name="Heron"):
    found = screen(audio)
    found.name.value = name
    found.begin.click()
    return found


def shown(widget):
    return widget.layout.display != "none"


def press(found, place=0):
    row = next(row for row in (found.rating, found.choice) if shown(row))
    row.children[place].click()


def test_nothing_is_asked_before_a_name_is_given(audio):
    found = screen(audio)
    assert not any(map(shown, [found.rating, found.choice, *found.sounds]))
    found.rating.children[0].click()
    found.begin.click()
    assert "name: got" in found.status.value
    assert not (audio.parent / "answers").exists()


def test_each_press_is_on_the_disk_and_the_deal_is_followed(audio):
    found = begin(audio)
    trials = listening.deal(CLIPS, listener="heron", seed=0)
    for number, trial in enumerate(trials):
        assert f"Question {number + 1} of {len(trials)}" in found.status.value
        heard = [bytes(player.value).decode() for player in found.players]
        assert heard == [trial.first, trial.second]
        assert shown(found.rating) == (trial.kind == "rating")
        assert shown(found.choice) == shown(found.sounds[1]) == (trial.kind == "choice")
        press(found, place=number % 3)
        kept = read_answers(found.session.path, provenance=LISTENER).answers
        assert kept["trial"].tolist() == list(range(number + 1))
        words = listening.RATINGS if trial.kind == "rating" else listening.CHOICES
        assert kept["answer"].iloc[-1] == words[number % 3]
    assert "Thank you" in found.status.value
    assert not any(map(shown, [found.rating, found.choice, *found.sounds]))
    assert not found.begin.disabled


def test_a_listener_goes_on_where_the_kernel_died(audio):
    found = begin(audio)
    for _ in range(4):
        press(found)
    again = begin(audio, " heron ")
    assert "Question 5 of 36" in again.status.value
    assert begin(audio, "stork").session.current.number == 0


def test_answers_to_another_test_do_not_count_as_given(audio):
    press(begin(audio))
    other = listening.Session(CLIPS, listener="heron", seed=1, folder=audio.parent / "answers")
    assert other.current.number == 0
    other.answer("3")
    same = listening.Session(CLIPS, listener="heron", seed=0, folder=audio.parent / "answers")
    assert same.current.number == 1


def test_an_answer_that_cannot_be_saved_is_reported_and_asked_again(audio):
    found = begin(audio)
    (audio.parent / "answers").write_text("a file in the way")
    press(found)
    assert "Not saved" in found.status.value
    assert found.session.current.number == 0
    (audio.parent / "answers").unlink()
    press(found)
    assert "Question 2 of 36" in found.status.value


def test_no_more_answers_than_questions(audio):
    session = listening.Session(CLIPS, listener="x", seed=0, folder=audio.parent / "a")
    with pytest.raises(ValueError, match="answer: no answer that the test allows"):
        session.answer("6")
    for trial in session.trials:
        session.answer("3" if trial.kind == "rating" else "tie")
    with pytest.raises(ValueError, match="said: every trial has been answered"):
        session.answer("3")


def test_a_clip_that_is_not_rendered_is_reported(audio):
    (audio / f"{CLIPS[3].code}.mp3").unlink()
    with pytest.raises(FileNotFoundError, match=f"{CLIPS[3].code}.mp3 is missing; render"):
        screen(audio)


def test_nothing_sent_to_the_browser_names_a_set(audio):
    found = begin(audio)
    for _ in range(15):
        state = [child.get_state() for child in every(found.box)]
        text = json.dumps(state, default=repr).lower()
        assert not any(f'"{name}' in text or f" {name} " in text for name in set(MODEL.values()))
        press(found)


IN_KERNEL = """
from study.listening import Screen
from study.preference import placeholder_clips
screen = Screen(placeholder_clips(2), seed=0, audio={audio!r}, answers={answers!r})
display(screen.box)
row = [screen.name, screen.begin, *screen.rating.children]
print(*(one.model_id for one in row))
"""


@pytest.mark.long
def test_clicks_of_a_browser_survive_the_death_of_the_kernel(audio):
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))
    printed = []

    def hear(message):
        printed.append(
            message["content"].get("text", "") if message["msg_type"] == "stream" else ""
        )

    def send(model, data):  # as JupyterLab's widgets do
        content = {"comm_id": model, "data": data}
        client.shell_channel.send(client.session.msg("comm_msg", content))

    try:
        folders = {"audio": str(audio), "answers": str(audio.parent / "answers")}
        client.execute_interactive(IN_KERNEL.format(**folders), output_hook=hear, timeout=120)
        last = "".join(printed).splitlines()[-1]  # libraries may print when imported
        name, begin, *numbers = last.split()
        click = {"method": "custom", "content": {"event": "click"}}
        send(name, {"method": "update", "state": {"value": "Heron"}, "buffer_paths": []})
        for pressed in (begin, numbers[3], numbers[0], numbers[4]):
            send(pressed, click)
        client.execute_interactive("", timeout=120)  # what was sent before has been done
        manager.signal_kernel(signal.SIGKILL)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    kept = read_answers(audio.parent / "answers" / "heron.csv", provenance=LISTENER)
    assert kept.answers["answer"].tolist() == ["4", "1", "5"]
    assert kept.skipped.empty
    again = listening.Session(CLIPS, listener="heron", seed=0, folder=audio.parent / "answers")
    assert again.current.number == 3


def every(box):
    """Return a widget and all below it."""
    yield box
    for child in getattr(box, "children", ()):
        yield from every(child)


def test_every_control_has_words(audio):
    buttons = [one for one in every(screen(audio).box) if hasattr(one, "tooltip")]
    buttons = [one for one in buttons if type(one).__name__ == "Button"]
    assert len(buttons) == 9
    assert all(button.description and button.tooltip for button in buttons)
    assert not any(getattr(one, "autoplay", False) for one in every(screen(audio).box))


A, B, C = (clip_code(name, 0) for name in HEARD[:3])


def rating(trial=0, said="4", *, listener="heron", design="d1", clip=A):
    return Answer(design, listener, trial, "rating", clip, "", said, 12.34)


def choice(trial=1, said="first", *, listener="heron", design="d1"):
    return Answer(design, listener, trial, "choice", A, B, said, 30.0)


def merged(*paths, design="d1", codes=(A, B)):
    return listening.merge_answers(paths, provenance=LISTENER, design=design, codes=codes)


@pytest.fixture
def file(tmp_path):
    """A file of two answers."""
    path = tmp_path / "answers" / "heron.csv"
    listening.append_answer(path, rating())
    listening.append_answer(path, choice())
    return path


def test_an_answer_is_read_as_it_was_given(file):
    found = listening.read_answers(file, provenance=LISTENER)
    rows = [Answer(*row) for row in found.answers[list(Answer._fields)].to_numpy()]
    assert rows == [rating()._replace(seconds=12.3), choice()]
    assert found.answers["line"].tolist() == [2, 3]
    assert found.skipped.empty
    assert file.read_bytes().startswith(b"provenance_listener,design,listener,trial,kind,first,")


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_nothing_is_lost_when_the_kernel_is_killed(tmp_path):
    path = tmp_path / "heron.csv"
    code = (
        "import os, signal\n"
        "from study.listening import Answer, append_answer\n"
        f"for trial in range(3):\n"
        f"    answer = Answer('d1', 'heron', trial, 'rating', '{A}', '', '4', 1.0)\n"
        f"    append_answer({str(path)!r}, answer)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False)
    assert run.returncode == -signal.SIGKILL
    assert merged(path).answers["trial"].tolist() == [0, 1, 2]


@given(st.integers(1, 200))
def test_a_half_written_last_line_is_survived(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "heron.csv"
    for trial in range(3):
        listening.append_answer(path, rating(trial))
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    cut = 1 + cut % len(last)
    path.write_bytes(whole[:-cut])
    found = listening.read_answers(path, provenance=LISTENER)
    kept = [0, 1, 2] if cut == 1 else [0, 1]  # without its line end alone it is still whole
    assert found.answers["trial"].tolist() == kept
    partly = 1 < cut < len(last)
    assert found.skipped["reason"].tolist() == ["half-written last line"] * partly
    listening.append_answer(path, rating(2))
    again = merged(path)
    assert again.answers["trial"].tolist() == [0, 1, 2]
    expected = ["damaged line"] if partly else ["duplicate"] if cut == 1 else []
    assert again.skipped["reason"].tolist() == expected


def test_bytes_that_are_no_text_are_a_damaged_line(file):
    with file.open("ab") as some:
        some.write(b"\xff\x00\xfe,,\n\n")
    found = listening.read_answers(file, provenance=LISTENER)
    assert len(found.answers) == 2
    assert found.skipped["reason"].tolist() == ["damaged line"]


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (rating(said="6"), "no answer that the test allows"),
        (rating(said="first"), "no answer that the test allows"),
        (rating(clip="lstm"), "no trial that the test allows"),
        (rating(listener="a,b"), "damaged line"),
        (rating(listener="A"), "no trial that the test allows"),
        (choice()._replace(second=A), "no trial that the test allows"),
        (choice()._replace(second=""), "no trial that the test allows"),
        (rating()._replace(second=B), "no trial that the test allows"),
        (rating(trial=-1), "no trial that the test allows"),
        (rating()._replace(seconds=float("nan")), "damaged line"),
        (rating()._replace(seconds=-1.0), "damaged line"),
    ],
)
def test_what_would_not_be_read_is_not_written(tmp_path, answer, phrase):
    with pytest.raises(ValueError, match=f"answer: {phrase}"):
        listening.append_answer(tmp_path / "x.csv", answer)
    assert not any(tmp_path.iterdir())


def test_files_are_merged_and_what_is_skipped_is_reported(file, tmp_path):
    other = tmp_path / "other.csv"
    for answer in (
        rating(),  # the same again, copied
        choice(said="second"),  # the same trial, another answer
        rating(2, design="d2"),
        rating(3, clip=C),
        rating(4, listener="stork"),
    ):
        listening.append_answer(other, answer)
    found = merged(file, other)
    assert found.answers[["listener", "trial"]].to_numpy().tolist() == [
        ["heron", 0],
        ["heron", 1],
        ["stork", 4],
    ]
    assert found.answers["answer"].tolist() == ["4", "first", "4"]
    assert found.skipped.to_numpy().tolist() == [
        ["other.csv", 2, "duplicate"],
        ["other.csv", 3, "duplicate that differs"],
        ["other.csv", 4, "answers another test (design)"],
        ["other.csv", 5, "unknown clip"],
    ]


def test_a_folder_that_is_empty_or_missing_holds_no_answer(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        found = listening.real_answers(folder, design="d1", codes=[A])
        assert found.answers.empty
        assert found.skipped.empty


def test_only_a_file_of_listeners_grows(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("my notes\n")
    with pytest.raises(ProvenanceError, match="not a file of listeners' answers; nothing is added"):
        listening.append_answer(path, rating())
    assert path.read_text() == "my notes\n"


def test_a_folder_in_the_way_is_reported(tmp_path):
    (tmp_path / "answers").write_text("")
    with pytest.raises(OSError, match="answers"):
        listening.append_answer(tmp_path / "answers" / "heron.csv", rating())


def test_provenances_are_never_mixed(file, tmp_path):
    with pytest.raises(ProvenanceError, match="need a file name that says so"):
        listening.read_answers(file, provenance=SIMULATED)
    named = tmp_path / "simulated_x.csv"
    named.write_bytes(file.read_bytes())
    with pytest.raises(ProvenanceError, match="does not say provenance_simulated"):
        listening.read_answers(named, provenance=SIMULATED)
    line = listening.answer_line(rating(), provenance=LISTENER)
    named.write_text(f"{listening.header(SIMULATED)}\n{line}\n")
    with pytest.raises(ProvenanceError, match="line 2 is not of provenance simulated"):
        listening.read_answers(named, provenance=SIMULATED)
    with pytest.raises(ValueError, match="provenance: got 'real'"):
        listening.read_answers(file, provenance="real")
