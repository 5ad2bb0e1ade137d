"""The test on the screen: buttons pressed by code, answers on the disk, nothing given away."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from musiclib import listening, listening_widget
from musiclib.answers import LISTENER, read_answers
from musiclib.simulated_listeners import placeholder_clips

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
    return listening_widget.Screen(CLIPS, seed=0, audio=audio, answers=audio.parent / "answers")


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
    other = listening_widget.Session(
        CLIPS, listener="heron", seed=1, folder=audio.parent / "answers"
    )
    assert other.current.number == 0
    other.answer("3")
    same = listening_widget.Session(
        CLIPS, listener="heron", seed=0, folder=audio.parent / "answers"
    )
    assert same.current.number == 1


def test_an_answer_that_cannot_be_saved_is_told_and_asked_again(audio):
    found = begin(audio)
    (audio.parent / "answers").write_text("a file in the way")
    press(found)
    assert "Not saved" in found.status.value
    assert found.session.current.number == 0
    (audio.parent / "answers").unlink()
    press(found)
    assert "Question 2 of 36" in found.status.value


def test_no_more_answers_than_questions(audio):
    session = listening_widget.Session(CLIPS, listener="x", seed=0, folder=audio.parent / "a")
    with pytest.raises(ValueError, match="answer: no answer that the test allows"):
        session.answer("6")
    for trial in session.trials:
        session.answer("3" if trial.kind == "rating" else "tie")
    with pytest.raises(ValueError, match="said: every trial is answered already"):
        session.answer("3")


def test_a_clip_that_is_not_rendered_is_told(audio):
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
from musiclib.listening_widget import Screen
from musiclib.simulated_listeners import placeholder_clips
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
    assert kept.left_out.empty
    again = listening_widget.Session(
        CLIPS, listener="heron", seed=0, folder=audio.parent / "answers"
    )
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
