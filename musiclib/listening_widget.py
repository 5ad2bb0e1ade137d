"""The blind test on the screen: ipywidgets in JupyterLab, one question after the other.

Conventions: what is asked and kept is a `Session`, which knows no widget; the screen only shows it.
Every control is reached with Tab and pressed with Space or Enter. Nothing on the screen, and no
file name that the browser sees, tells where a clip comes from. Nothing plays by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from musiclib.answers import LISTENER, Answer, append_answer, merge_answers
from musiclib.listening import (
    CHOICE,
    CHOICES,
    RATING,
    RATINGS,
    Clip,
    Trial,
    deal,
    design,
    listener_name,
)

RATING_WORDS = ("1 bad", "2 poor", "3 fair", "4 good", "5 excellent")
"""The scale of ITU-T P.800, best last."""

CHOICE_WORDS = ("first is better", "no difference", "second is better")

_QUESTIONS = {
    RATING: "How good is this, as music?",
    CHOICE: "Which of the two is better, as music?",
}


class Session:
    """One listener's way through the test, kept on the disk answer by answer.

    Parameters
    ----------
    clips : sequence of Clip
        Of the test.
    listener : str
        A name, as typed. The same name goes on where it stopped.
    seed : int
        Of the test.
    folder : path
        Where answers lie: ``<name>.csv``.

    Attributes
    ----------
    listener : str
        The name as files know it.
    path : Path
        The listener's file.
    trials : list of Trial
        The listener's deal.
    done : set of int
        Numbers of the trials that are answered.

    Raises
    ------
    ValueError
        If the name is none (`listening.listener_name`).
    ProvenanceError
        If a file of that name holds no listener's answers.
    """

    def __init__(
        self, clips: Sequence[Clip], *, listener: str, seed: int, folder: str | os.PathLike[str]
    ) -> None:
        self.listener = listener_name(listener)
        self.design = design(clips, seed=seed)
        self.trials = deal(clips, listener=self.listener, seed=seed)
        self.path = Path(folder, f"{self.listener}.csv")
        self.done = self._earlier({clip.code for clip in clips})
        self._shown = time.monotonic()

    def _earlier(self, codes: set[str]) -> set[int]:
        """Return the trials that an earlier session of this listener answered."""
        paths = [self.path] if self.path.exists() else []
        found = merge_answers(paths, provenance=LISTENER, design=self.design, codes=codes).answers
        return {int(n) for n in found.loc[found["listener"] == self.listener, "trial"]}

    @property
    def current(self) -> Trial | None:
        """The first trial without an answer; None when all are answered."""
        return next((trial for trial in self.trials if trial.number not in self.done), None)

    def answer(self, said: str) -> None:
        """Keep the answer to the current trial, and go on.

        Raises
        ------
        ValueError
            If it is no answer to that trial, or all are answered.
        OSError
            If it could not be written: the trial stays current.
        """
        trial = self.current
        if trial is None:
            raise ValueError("said: every trial is answered already")
        spent = time.monotonic() - self._shown
        append_answer(self.path, Answer(self.design, self.listener, *trial, said, spent))
        self.done.add(trial.number)
        self._shown = time.monotonic()


class Screen:
    """The test's controls; `box` is what a notebook displays.

    Parameters
    ----------
    clips, seed
        As `Session`.
    audio : path
        Folder of the clips, ``<code>.mp3``; each is loaded when it is asked about.
    answers : path
        Folder of the listeners' files.

    Raises
    ------
    FileNotFoundError
        If a clip's file is missing.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        seed: int,
        audio: str | os.PathLike[str],
        answers: str | os.PathLike[str],
    ) -> None:
        self._clips, self._seed, self._audio, self._answers = clips, seed, Path(audio), answers
        missing = [clip.code for clip in clips if not self._file(clip.code).is_file()]
        if missing:
            raise FileNotFoundError(f"{self._file(missing[0])} is missing; render the clips first")
        self.session: Session | None = None
        self.name = widgets.Text(description="Name", placeholder="made up, such as blue-heron-7")
        self.begin = _button("Begin, or go on", self._begin)
        self.status = widgets.HTML("<p>Type a made-up name, then press the button.</p>")
        self.players = [widgets.Audio(autoplay=False, loop=False) for _ in range(2)]
        self.labels = [widgets.HTML() for _ in range(2)]
        self.rating = _row(RATINGS, RATING_WORDS, self._said)
        self.choice = _row(CHOICES, CHOICE_WORDS, self._said)
        self.sounds = [widgets.HBox(pair) for pair in zip(self.labels, self.players, strict=True)]
        parts = [widgets.HBox([self.name, self.begin]), self.status, *self.sounds]
        self.box = widgets.VBox([*parts, self.rating, self.choice])
        self._show_trial(None)

    def _file(self, code: str) -> Path:
        return self._audio / f"{code}.mp3"

    def _begin(self, _: Any) -> None:
        try:
            self.session = Session(
                self._clips, listener=self.name.value, seed=self._seed, folder=self._answers
            )
        except (ValueError, OSError) as error:
            self.status.value = f"<p role='alert'><b>{_escaped(error)}</b></p>"
            return
        self.name.disabled = self.begin.disabled = True
        self._next()

    def _said(self, value: str) -> None:
        if self.session is None or self.session.current is None:
            return
        try:
            self.session.answer(value)
        except (ValueError, OSError) as error:
            self.status.value = f"<p role='alert'><b>Not saved: {_escaped(error)}</b></p>"
            return
        self._next()

    def _next(self) -> None:
        """Show the current trial, or thank the listener and free the screen for the next one."""
        trial = self.session.current if self.session else None
        self._show_trial(trial)
        if trial is not None:
            of = f"{trial.number + 1} of {len(self.session.trials)}" if self.session else ""
            self.status.value = f"<p role='status'>Question {of}. {_QUESTIONS[trial.kind]}</p>"
            return
        self.name.value, self.name.disabled, self.begin.disabled = "", False, False
        self.status.value = (
            "<p role='status'>That was the last question: all answers are saved. Thank you! "
            "The next listener may type a name.</p>"
        )

    def _show_trial(self, trial: Trial | None) -> None:
        codes = [code for code in (trial.first, trial.second) if code] if trial else []
        for place, (sound, player, label) in enumerate(
            zip(self.sounds, self.players, self.labels, strict=True)
        ):
            heard = place < len(codes)
            player.value = self._file(codes[place]).read_bytes() if heard else b""
            label.value = ("The clip" if len(codes) == 1 else ("First", "Second")[place]) + "&nbsp;"
            _show(sound, heard)
        _show(self.rating, trial is not None and trial.kind == RATING)
        _show(self.choice, trial is not None and trial.kind == CHOICE)


def _button(words: str, pressed: Callable[[Any], None]) -> widgets.Button:
    button = widgets.Button(description=words, tooltip=words, layout={"width": "auto"})
    button.on_click(pressed)
    return button


def _row(values: Sequence[str], words: Sequence[str], said: Callable[[str], None]) -> widgets.HBox:
    """Return a row of buttons, one an answer."""
    pairs = zip(values, words, strict=True)
    return widgets.HBox([_button(word, lambda _, v=value: said(v)) for value, word in pairs])


def _show(widget: widgets.Widget, shown: bool) -> None:
    widget.layout.display = "flex" if shown else "none"


def _escaped(error: Exception) -> str:
    return str(error).replace("&", "&amp;").replace("<", "&lt;")
