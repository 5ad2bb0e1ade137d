"""The blind listening test: which clips are played, in which order, and what listeners answer.

A *clip* is the beginning of a piece, known by a *code* that names no model. A *trial* is one
question: rate a clip, or choose between two. What a listener hears follows from the test's seed and
the listener's name alone, so a broken session can be resumed.

Answers are saved as soon as they are given, as CSV files that only grow. The *provenance* of an
answer (where it comes from) is in the header's first column (``provenance_listener`` or
``provenance_simulated``), in every row and, for simulated answers, in the file's name. Seconds come
last and have one decimal, so that a line cut short anywhere is not an answer. This guards against
mistakes, not against forgers. Nothing that the browser sees reveals where a clip comes from.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as widgets
import numpy as np
import pandas as pd

from musiclib.audio import match_loudness, write_clips
from musiclib.files import read_regular, write_text
from musiclib.roll import STEPS_PER_QUARTER
from study.sets import Sample
from study.stats import MODELS

HEARD = ("lstm", "gan", "vae", "real", "markov")  # with real music above, one baseline below
CLIPS = 10  # of each set: two of each of five trainings
CLIP_STEPS = 64  # sixteenths of a clip: 4 bars of 4/4, 12 s at 80 quarters per minute (our choice)
RATED = 2  # clips of each set that a listener rates
CHOSEN, BETWEEN_MODELS = 2, 4  # choices between each two sets, and each two of the paper's models
RATING, CHOICE = "rating", "choice"
RATINGS, CHOICES = ("1", "2", "3", "4", "5"), ("first", "tie", "second")
LISTENER, SIMULATED = "listener", "simulated"
MAX_BYTES = 20_000_000  # of a file of answers: a class gives some ten thousand lines of 80 bytes

_ALLOWED = {RATING: RATINGS, CHOICE: CHOICES}
_CODE, _WORD = re.compile(r"[0-9a-f]{8}"), re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SECONDS = re.compile(r"[0-9]+\.[0-9]")  # no number cut short matches
_CUT = "half-written last line"


class Clip(NamedTuple):
    """One clip, and what is hidden from the listener, as in `sets.Sample`."""

    code: str
    model: str
    seed: int
    sample: int
    file: str
    roll: np.ndarray


class Trial(NamedTuple):
    """One question; `second` is empty for a rating."""

    number: int
    kind: str
    first: str
    second: str


class Answer(NamedTuple):
    """One answer to a listener's trial, and how many seconds after the question it was given."""

    design: str
    listener: str
    trial: int
    kind: str
    first: str
    second: str
    answer: str
    seconds: float


_COLUMNS, _REPORT = [*Answer._fields, "file", "line"], ["file", "line", "reason"]


class Merged(NamedTuple):
    """Answers (fields of `Answer`, file, line), and the lines skipped: file, line, reason."""

    answers: pd.DataFrame
    skipped: pd.DataFrame


class ProvenanceError(ValueError):
    """A file does not hold what it is read as: it is simulated, or its origin is unknown."""


def choose_clips(samples: Iterable[Sample], *, n: int = CLIPS) -> list[Clip]:
    """Return the first n pieces of each set in `HEARD`, or all it has: nothing is hand-picked.

    Training runs take turns: the first piece of every training, then the second of every training.
    """
    if n < 1:
        raise ValueError(f"n: got {n}; allowed: 1 or more")
    by_set: dict[str, dict[int, list[Sample]]] = {name: {} for name in HEARD}
    for sample in sorted(samples, key=lambda sample: sample.seed):
        by_set.get(sample.model, {}).setdefault(sample.seed, []).append(sample)
    if missing := [name for name, own in by_set.items() if not own]:
        raise ValueError(f"samples: no clips of {', '.join(missing)}; each set needs one or more")
    clips = []
    for name, trainings in by_set.items():
        turns = itertools.chain.from_iterable(itertools.zip_longest(*trainings.values()))
        for number, sample in enumerate([one for one in turns if one is not None][:n]):
            if (steps := len(sample.roll)) < CLIP_STEPS:
                which = f"samples: {name} {sample.sample} of seed {sample.seed}"
                raise ValueError(f"{which} has {steps} steps; clips of {CLIP_STEPS} need more")
            clips.append(Clip(clip_code(name, number), *sample[:4], sample.roll[:CLIP_STEPS]))
    return clips


def clip_code(name: str, number: int) -> str:
    """Return the code (eight hexadecimal digits) of a set's clip: the same in every test."""
    return hashlib.sha256(f"clip {number} of {name}".encode()).hexdigest()[:8]


def clip_table(clips: Sequence[Clip]) -> pd.DataFrame:
    """Return the key of the test: code, model, seed, sample and file of each clip."""
    return pd.DataFrame([clip[:5] for clip in clips], columns=list(Clip._fields[:5]))


def write_sounds(waves: Mapping[str, np.ndarray], folder: str | Path, *, sr: int) -> pd.DataFrame:
    """Write clips at one loudness as ``<code>.mp3``; return the table of `match_loudness`."""
    heard, levels = match_loudness(waves, sr=sr)
    write_clips(heard, folder, sr=sr)
    return levels


def clip_seconds(clips: Sequence[Clip], *, tempo: float) -> float:
    """Return how long the notes of each clip last, in seconds, if all have one length."""
    lengths = sorted({len(clip.roll) for clip in clips})
    if len(lengths) != 1:
        raise ValueError(f"clips: got lengths {lengths} in steps; allowed: one length for all")
    return lengths[0] / STEPS_PER_QUARTER * 60 / tempo


def design(clips: Sequence[Clip], *, seed: int) -> str:
    """Return the name of a test: a hash of its clips' notes, its seed and how much is asked."""
    digest = hashlib.sha256(f"seed {seed}, {RATED}, {CHOSEN}, {BETWEEN_MODELS}".encode())
    for clip in clips:
        digest.update(f"{clip.code} {clip.roll.shape} ".encode() + np.packbits(clip.roll).tobytes())
    return digest.hexdigest()[:12]


def listener_name(name: str) -> str:
    """Return a typed name as files use it: lower case letters, digits and hyphens."""
    found = re.sub(r"[^a-z0-9]+", "-", name.strip().lower()).strip("-")
    if not _WORD.fullmatch(found):
        raise ValueError(f"name: got {name!r}; allowed: 1 to 40 letters a to z, digits, hyphens")
    if found.startswith(SIMULATED):
        raise ValueError(f"name: got {name!r}; such names belong to simulated listeners")
    return found


def deal(clips: Sequence[Clip], *, listener: str, seed: int) -> list[Trial]:
    """Return one listener's trials: 10 ratings, then 26 choices, each in random order.

    In the choices between two sets, the one played first alternates, starting at random. No clip is
    used again before all of its set have been used.
    """
    names = dict.fromkeys(clip.model for clip in clips)
    codes = {name: [clip.code for clip in clips if clip.model == name] for name in names}
    if len(codes) < 2:
        raise ValueError(f"clips: got clips of {list(codes) or 'no set'}; allowed: two or more")
    rng = np.random.default_rng([seed, int(hashlib.sha256(listener.encode()).hexdigest()[:8], 16)])
    singles = [code for own in codes.values() for code in rng.permutation(own)[:RATED]]
    pairs = []
    for two in itertools.combinations(codes, 2):
        n = BETWEEN_MODELS if set(two) <= set(MODELS) else CHOSEN
        drawn = [np.resize(rng.permutation(codes[name]), n).tolist() for name in two]
        start = int(rng.integers(2))
        for k, pair in enumerate(zip(*drawn, strict=True)):
            pairs.append(pair if (k + start) % 2 else pair[::-1])
    asked = [(RATING, str(singles[i]), "") for i in rng.permutation(len(singles))]
    asked += [(CHOICE, *pairs[i]) for i in rng.permutation(len(pairs))]
    return [Trial(number, *one) for number, one in enumerate(asked)]


def header(provenance: str) -> str:
    """Return the first line of a file of answers."""
    return ",".join([f"provenance_{provenance}", *Answer._fields])


def answer_line(answer: Answer, *, provenance: str) -> str:
    """Return the line of an answer; refuse one that could not be read back."""
    line = ",".join([provenance, *map(str, answer[:-1]), f"{answer.seconds:.1f}"])
    if isinstance(wrong := _parsed(line, provenance), str):
        raise ValueError(f"answer: {wrong}, got {answer}")
    return line


def _parsed(line: str, provenance: str) -> Answer | str:
    fields = line.split(",")
    whole = len(fields) == len(Answer._fields) + 1 and _SECONDS.fullmatch(fields[-1])
    if not whole or fields[0] != provenance:
        return "damaged line"
    _, test, listener, trial, kind, first, second, answer, seconds = fields
    if answer not in _ALLOWED.get(kind, ()):
        return "no answer that the test allows"
    words = _WORD.fullmatch(test) and _WORD.fullmatch(listener) and trial.isdecimal()
    clips = _CODE.fullmatch(first) and (_CODE.fullmatch(second) if kind == CHOICE else not second)
    if not words or not clips or first == second:
        return "no trial that the test allows"
    return Answer(test, listener, int(trial), kind, first, second, answer, float(seconds))


def append_answer(path: str | os.PathLike[str], answer: Answer) -> None:
    """Add a real listener's answer to a file, and flush it to disk before returning."""
    path, first = Path(path), f"{header(LISTENER)}\n"
    data = f"{answer_line(answer, provenance=LISTENER)}\n".encode()
    if not path.exists() or not path.stat().st_size:
        write_text(first, path)
    with path.open("a+b", buffering=0) as file:
        file.seek(0)
        if file.readline() != first.encode():
            raise ProvenanceError(f"{path}: not a file of listeners' answers; nothing is added")
        file.seek(-1, os.SEEK_END)
        data = data if file.read(1) == b"\n" else b"\n" + data  # after a write that was cut short
        if (written := file.write(data)) != len(data):
            raise OSError(f"{path}: only {written} of {len(data)} bytes were written; disk full?")
        os.fsync(file.fileno())


def read_answers(path: str | os.PathLike[str], *, provenance: str) -> Merged:
    """Read one file of answers; damaged lines, such as a half-written last one, are skipped.

    Raises `ProvenanceError` if header, name or any row names another provenance or none; if the
    word "simulated" occurs anywhere in a file that is read as real; or if all lines are damaged.
    """
    path = Path(path)
    text = read_regular(path, limit=MAX_BYTES).decode("utf-8", errors="replace")
    if provenance not in (LISTENER, SIMULATED):
        raise ValueError(f"provenance: got {provenance!r}; allowed: {LISTENER}, {SIMULATED}")
    named = SIMULATED in path.name.lower()
    if provenance == LISTENER and (named or SIMULATED in text.lower()):
        raise ProvenanceError(f"{path}: simulated answers, which stand for no listener")
    if provenance == SIMULATED and not named:
        raise ProvenanceError(f"{path}: simulated answers need a file name that says so")
    first, *lines = text.split("\n")
    if first != header(provenance):
        raise ProvenanceError(f"{path}: line 1 does not say provenance_{provenance}, and columns")
    rows, bad = [], []
    for number, line in enumerate(lines, start=2):
        fields = line.split(",")
        if len(fields) == len(Answer._fields) + 1 and fields[0] != provenance:
            raise ProvenanceError(f"{path}: line {number} is not of provenance {provenance}")
        found = _parsed(line, provenance)
        if isinstance(found, Answer):
            rows.append((*found, path.name, number))
        elif line:
            bad.append((path.name, number, _CUT if number == len(lines) + 1 else found))
    if not rows and any(reason != _CUT for *_, reason in bad):
        raise ProvenanceError(f"{path}: none of its {len(bad)} lines is whole; it is not read")
    return Merged(pd.DataFrame(rows, columns=_COLUMNS), pd.DataFrame(bad, columns=_REPORT))


def merge_answers(
    paths: Iterable[str | os.PathLike[str]], *, provenance: str, design: str, codes: Collection[str]
) -> Merged:
    """Read several listeners' files as one table; one file of wrong provenance refuses all.

    Answers to another design or about clips that are not in `codes` are skipped. If an answer was
    given twice, the first stays, in the order of the files.
    """
    read = [read_answers(path, provenance=provenance) for path in paths]
    tables = [part.answers for part in read] or [pd.DataFrame(columns=_COLUMNS)]
    whole = pd.concat(tables, ignore_index=True)
    known = whole["first"].isin(codes) & whole["second"].isin([*codes, ""])
    whole["reason"] = np.where(known, "", "unknown clip")
    whole.loc[whole["design"] != design, "reason"] = "answers another test (design)"
    own = whole[whole["reason"] == ""]
    own = own[own.duplicated(["listener", "trial"])]
    repeats = whole.duplicated(list(Answer._fields[:-1]))[own.index]
    whole.loc[own.index, "reason"] = np.where(repeats, "duplicate", "duplicate that differs")
    kept = whole["reason"] == ""
    skipped = [whole[~kept], *(part.skipped for part in read)]
    bad = [row for part in skipped for row in part[_REPORT].to_numpy().tolist()]
    answers = whole.loc[kept, _COLUMNS].reset_index(drop=True)
    return Merged(answers, pd.DataFrame(bad, columns=_REPORT))


def real_answers(folder: str | os.PathLike[str], *, design: str, codes: Collection[str]) -> Merged:
    """Read every ``*.csv`` of real answers in a folder; the verdict uses no others."""
    paths = sorted(Path(folder).glob("*.csv"))
    return merge_answers(paths, provenance=LISTENER, design=design, codes=codes)


# The test on the screen: a `Session` knows no widget, a `Screen` only shows it.
RATING_WORDS = ("1 bad", "2 poor", "3 fair", "4 good", "5 excellent")  # ITU-T P.800, best last
CHOICE_WORDS = ("first is better", "no difference", "second is better")


class Session:
    """One listener's session; the same name resumes where it stopped."""

    def __init__(self, clips: Sequence[Clip], *, listener: str, seed: int, folder: Any) -> None:
        self.listener = listener_name(listener)
        self.design = design(clips, seed=seed)
        self.trials = deal(clips, listener=self.listener, seed=seed)
        self.path = Path(folder, f"{self.listener}.csv")
        paths = [self.path] if self.path.exists() else []
        codes = {clip.code for clip in clips}
        found = merge_answers(paths, provenance=LISTENER, design=self.design, codes=codes).answers
        self.done = {int(n) for n in found.loc[found["listener"] == self.listener, "trial"]}
        self._shown = time.monotonic()

    @property
    def current(self) -> Trial | None:
        return next((trial for trial in self.trials if trial.number not in self.done), None)

    def answer(self, said: str) -> None:
        """Save the answer to the current trial; if it cannot be written, the trial stays open."""
        if (trial := self.current) is None:
            raise ValueError("said: every trial has been answered")
        spent = time.monotonic() - self._shown
        append_answer(self.path, Answer(self.design, self.listener, *trial, said, spent))
        self.done.add(trial.number)
        self._shown = time.monotonic()


class Screen:
    """The test's controls: `audio` is the folder of ``<code>.mp3``, `box` what a notebook shows."""

    def __init__(
        self, clips: Sequence[Clip], *, seed: int, audio: str | Path, answers: str | Path
    ) -> None:
        self._clips, self._seed, self._answers = clips, seed, answers
        self._files = {clip.code: Path(audio, f"{clip.code}.mp3") for clip in clips}
        for path in self._files.values():
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing; render the clips first")
        self.session: Session | None = None
        self.name = widgets.Text(description="Name", placeholder="made up, such as blue-heron-7")
        self.begin = _button("Begin, or go on", self._begin)
        self.status = widgets.HTML()
        self.players = [widgets.Audio(autoplay=False, loop=False) for _ in range(2)]
        self.labels = [widgets.HTML() for _ in range(2)]
        self.rating = _row(RATINGS, RATING_WORDS, self._on_answer)
        self.choice = _row(CHOICES, CHOICE_WORDS, self._on_answer)
        self.sounds = [widgets.HBox(pair) for pair in zip(self.labels, self.players, strict=True)]
        parts = [widgets.HBox([self.name, self.begin]), self.status, *self.sounds]
        self.box = widgets.VBox([*parts, self.rating, self.choice])
        self._ask()

    def _begin(self, _: Any) -> None:
        settings = {"listener": self.name.value, "seed": self._seed, "folder": self._answers}
        try:
            self.session = Session(self._clips, **settings)
        except (ValueError, OSError) as error:
            self._warn(str(error))
        else:
            self._ask()

    def _on_answer(self, value: str) -> None:
        if self.session is None or self.session.current is None:
            return
        try:
            self.session.answer(value)
        except (ValueError, OSError) as error:
            self._warn(f"Not saved: {error}")
        else:
            self._ask()

    def _warn(self, text: str) -> None:
        self.status.value = f"<p role='alert'><b>{html.escape(text, quote=False)}</b></p>"

    def _ask(self) -> None:
        """Show the current trial, or thank the listener and free the screen for the next one."""
        trial = self.session.current if self.session else None
        codes = [code for code in (trial.first, trial.second) if code] if trial else []
        names = ("The clip",) if len(codes) == 1 else ("First", "Second")
        for place, player in enumerate(self.players):
            heard = place < len(codes)
            player.value = self._files[codes[place]].read_bytes() if heard else b""
            self.labels[place].value = f"{names[place]}&nbsp;" if heard else ""
            _show(self.sounds[place], heard)
        _show(self.rating, trial is not None and trial.kind == RATING)
        _show(self.choice, trial is not None and trial.kind == CHOICE)
        self.name.disabled = self.begin.disabled = trial is not None
        if trial:
            asked = "How good is this" if trial.kind == RATING else "Which of the two is better"
            text = f"Question {trial.number + 1} of {len(self.session.trials)}. {asked}, as music?"
        elif self.session:
            self.name.value = ""
            text = "All answers are saved. Thank you! The next listener may type a name."
        else:
            text = "Type a made-up name, then press the button."
        self.status.value = f"<p role='status'>{text}</p>"


def _button(words: str, pressed: Callable[[Any], None]) -> widgets.Button:
    button = widgets.Button(description=words, tooltip=words, layout={"width": "auto"})
    button.on_click(pressed)
    return button


def _row(values: Sequence[str], words: Sequence[str], said: Callable[[str], None]) -> widgets.HBox:
    pairs = zip(values, words, strict=True)
    return widgets.HBox([_button(word, lambda _, v=value: said(v)) for value, word in pairs])


def _show(widget: widgets.Widget, shown: bool) -> None:
    widget.layout.display = "flex" if shown else "none"
