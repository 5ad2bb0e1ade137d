"""The blind listening test: which clips are heard, and in which order by whom.

Conventions: a *clip* is the beginning of a piece, rendered as every piece is; all clips of a test
have one length. It is known to listeners by nothing, and in files by a *code* that names no model.
A *trial* is one question: rate a clip from 1 to 5, or choose between two. What a listener hears
follows from the test's seed and the listener's name alone, so a broken session can be resumed.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import time
import zlib
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as widgets
import numpy as np
import pandas as pd

from musiclib.files import read_regular, write_text
from musiclib.roll import STEPS_PER_QUARTER
from study.sets import Sample
from study.stats import MODELS

HEARD = ("lstm", "gan", "vae", "real", "markov")
"""Sets in the test: the paper's models, real music above them, one baseline below."""

CLIPS = 10
"""Clips of each set: two of each of five trainings."""

CLIP_STEPS = 64
"""Sixteenths of a clip: 4 bars of 4/4, 12 s at 80 quarters a minute (our choice)."""

RATED = 2
"""Clips of each set that a listener rates, one after the other."""

CHOSEN, BETWEEN_MODELS = 2, 4
"""Choices that a listener makes between each two sets, and between each two of the paper's models,
which the claim is about: half of them in each order."""

RATING, CHOICE = "rating", "choice"
RATINGS = ("1", "2", "3", "4", "5")
CHOICES = ("first", "tie", "second")
"""Answers allowed to the two kinds of trial."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Clip(NamedTuple):
    """One clip, and what is hidden from the listener.

    Attributes
    ----------
    code : str
        Eight hexadecimal digits, the name of its file.
    model, seed, sample, file
        As in `sets.Sample`.
    roll : np.ndarray, shape (T, 88, 2), uint8
        The notes; T is the same for all clips.
    """

    code: str
    model: str
    seed: int
    sample: int
    file: str
    roll: np.ndarray


class Trial(NamedTuple):
    """One question: `second` is empty where `kind` is "rating"."""

    number: int
    kind: str
    first: str
    second: str


def choose_clips(
    samples: Iterable[Sample],
    *,
    n: int = CLIPS,
    steps: int = CLIP_STEPS,
    sets: Sequence[str] = HEARD,
) -> list[Clip]:
    """Take the first pieces of each set, the trainings in turn: nothing is picked.

    Parameters
    ----------
    samples : iterable of Sample
        As `evaluation` gathers them; other sets are passed over.
    n : int
        Clips of each set; a set that holds fewer gives all it has.
    steps : int
        Sixteenths of each clip.
    sets : sequence of str
        Sets to be heard, two or more.

    Returns
    -------
    list of Clip
        By set; the first piece of every training, then the second of every training, and on.

    Raises
    ------
    ValueError
        If a set has no piece, a piece is shorter than a clip, or a number is below 1.
    """
    if n < 1 or steps < 1 or len(set(sets)) < 2:
        raise ValueError(
            f"n, steps, sets: got {n}, {steps}, {list(sets)}; allowed are 1 and more, and at least "
            "two sets"
        )
    by_set: dict[str, list[Sample]] = {name: [] for name in sets}
    for sample in samples:
        if sample.model in by_set:
            by_set[sample.model].append(sample)
    if missing := [name for name, found in by_set.items() if not found]:
        raise ValueError(f"samples: no clips of {', '.join(missing)}; each set needs one or more")
    return [
        _clip(name, number, sample, steps)
        for name, found in by_set.items()
        for number, sample in enumerate(_in_turn(found)[:n])
    ]


def _in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first of each seed, then the second of each, and on."""
    places: dict[int, int] = {}
    keyed = []
    for sample in samples:
        place = places[sample.seed] = places.get(sample.seed, -1) + 1
        keyed.append((place, sample.seed, sample))
    return [sample for _, _, sample in sorted(keyed, key=lambda entry: entry[:2])]


def _clip(name: str, number: int, sample: Sample, steps: int) -> Clip:
    if len(sample.roll) < steps:
        raise ValueError(
            f"samples: {name} {sample.sample} of seed {sample.seed} has {len(sample.roll)} steps; "
            f"clips of {steps} need as many"
        )
    return Clip(clip_code(name, number), *sample[:4], sample.roll[:steps])


def clip_code(name: str, number: int) -> str:
    """Return the code of a set's clip by its number: the same in every test, so it is no secret.

    Examples
    --------
    >>> len(clip_code("lstm", 0))
    8
    """
    return hashlib.sha256(f"clip {number} of {name}".encode()).hexdigest()[:8]


def clip_table(clips: Sequence[Clip]) -> pd.DataFrame:
    """Return the key of the test: code, model, seed, sample, file, one row a clip."""
    return pd.DataFrame([clip[:5] for clip in clips], columns=list(Clip._fields[:5]))


def clip_seconds(clips: Sequence[Clip], *, tempo: float) -> float:
    """Return how long the notes of each clip last, in seconds.

    Raises
    ------
    ValueError
        If there is no clip, or they differ in length.
    """
    lengths = sorted({len(clip.roll) for clip in clips})
    if len(lengths) != 1:
        raise ValueError(f"clips: got lengths {lengths} in steps; allowed is one length for all")
    return lengths[0] / STEPS_PER_QUARTER * 60 / tempo


def design(clips: Sequence[Clip], *, seed: int) -> str:
    """Return the name of a test: a hash of its clips' notes, its seed and how much is asked.

    Answers of another design were given to other sounds or in another order, and are never mixed
    with these.
    """
    digest = hashlib.sha256(f"seed {seed}, {RATED}, {CHOSEN}, {BETWEEN_MODELS}".encode())
    for clip in clips:
        digest.update(f"{clip.code} {clip.roll.shape} ".encode() + np.packbits(clip.roll).tobytes())
    return digest.hexdigest()[:12]


def listener_name(name: str) -> str:
    """Return a listener's name as files know it.

    Parameters
    ----------
    name : str
        Whatever was typed; better a made-up name than one's own.

    Returns
    -------
    str
        Lower case letters, digits and hyphens, 40 at most.

    Raises
    ------
    ValueError
        If nothing is left, it is too long, or it begins with "simulated".

    Examples
    --------
    >>> listener_name(" Blue Heron 7 ")
    'blue-heron-7'
    """
    made = re.sub(r"[^a-z0-9]+", "-", name.strip().lower()).strip("-")
    if not _NAME.fullmatch(made):
        raise ValueError(f"name: got {name!r}; allowed are 1 to 40 letters a to z, digits, hyphens")
    if made.startswith("simulated"):
        raise ValueError(f"name: got {name!r}; names of that kind belong to simulated listeners")
    return made


def deal(
    clips: Sequence[Clip],
    *,
    listener: str,
    seed: int,
    rated: int = RATED,
    chosen: int = CHOSEN,
    between: int = BETWEEN_MODELS,
) -> list[Trial]:
    """Deal one listener's trials: ratings in random order, then choices in random order.

    Parameters
    ----------
    clips : sequence of Clip
        Of two sets or more.
    listener : str
        As `listener_name` returns it; another name gives another deal.
    seed : int
        Of the test.
    rated : int
        Clips of each set to rate (all, where a set holds fewer).
    chosen, between : int
        Choices between each two sets, and where both are models. Which comes first alternates.

    Returns
    -------
    list of Trial
        With 5 sets and the default numbers 10 ratings and 26 choices.

    Raises
    ------
    ValueError
        If there are clips of fewer than two sets.
    """
    codes: dict[str, list[str]] = {}
    for clip in clips:
        codes.setdefault(clip.model, []).append(clip.code)
    if len(codes) < 2:
        raise ValueError(f"clips: got clips of {list(codes) or 'no set'}; allowed are two or more")
    rng = np.random.default_rng([seed, int(hashlib.sha256(listener.encode()).hexdigest()[:8], 16)])
    singles = [code for own in codes.values() for code in rng.permutation(own)[:rated]]
    pairs = []
    for two in itertools.combinations(codes, 2):
        n = between if set(two) <= set(MODELS) else chosen
        pairs += _pairs(*(codes[name] for name in two), n, rng)
    asked = [(RATING, str(singles[i]), "") for i in rng.permutation(len(singles))]
    asked += [(CHOICE, *pairs[i]) for i in rng.permutation(len(pairs))]
    return [Trial(number, *one) for number, one in enumerate(asked)]


def _pairs(
    one: Sequence[str], other: Sequence[str], n: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return n pairs of a clip of each set; the set that comes first alternates from a random one.

    No clip comes a second time before all of its set have been used.
    """
    drawn = [np.resize(rng.permutation(codes), n) for codes in (one, other)]
    start = int(rng.integers(2))
    return [
        (str(a), str(b)) if (k + start) % 2 else (str(b), str(a))
        for k, (a, b) in enumerate(zip(*drawn, strict=True))
    ]


# ---- study.listening ----
# Listeners' answers: kept at the moment they are given, read with suspicion, merged with a report.
#
# Conventions: a file is CSV, one line an answer, and only ever grows. Where an answer comes from,
# its
# *provenance*, stands three times: in the header's first column (``provenance_listener`` or
# ``provenance_simulated``), in every row, and, for simulated answers, in the file's name. Each row
# ends with a CRC-32 of all that stands before it, provenance included: a line that was half written
# or changed afterwards is not an answer. This guards against mistakes, not against forgers.


LISTENER, SIMULATED = "listener", "simulated"
"""The two provenances."""

MAX_BYTES = 20_000_000
"""Larger files of answers are not read: a class gives some ten thousand lines of 90 bytes."""

_CODE, _WORD = re.compile(r"[0-9a-f]{8}"), re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_ALLOWED = {RATING: RATINGS, CHOICE: CHOICES}
_KEY = ["listener", "trial"]


class ProvenanceError(ValueError):
    """A file does not hold what it is read as: it is simulated, or nobody knows what it is."""


class Answer(NamedTuple):
    """One answer.

    Attributes
    ----------
    design : str
        The test's name, as `listening.design` returns it.
    listener : str
        As `listening.listener_name` returns it.
    trial : int
        Its number in the listener's deal.
    kind, first, second : str
        As in `listening.Trial`.
    answer : str
        One of `listening.RATINGS` or `listening.CHOICES`.
    seconds : float
        From showing the question to the answer.
    """

    design: str
    listener: str
    trial: int
    kind: str
    first: str
    second: str
    answer: str
    seconds: float


class Merged(NamedTuple):
    """Answers (columns of `Answer`), and what was left out of them: file, line, reason."""

    answers: pd.DataFrame
    left_out: pd.DataFrame


def header(provenance: str) -> str:
    """Return the first line of a file of answers."""
    return ",".join([f"provenance_{provenance}", *Answer._fields, "check"])


def answer_line(answer: Answer, *, provenance: str) -> str:
    """Return the line of an answer, without its line end.

    Raises
    ------
    ValueError
        If a field is not one that would be read again.
    """
    seconds = f"{answer.seconds:.1f}"
    body = ",".join([provenance, *map(str, answer[:-1]), seconds])
    line = f"{body},{_check(body)}"
    found = _parsed(line, provenance)
    if isinstance(found, str):
        raise ValueError(f"answer: {found}, got {answer}")
    return line


def append_answer(path: str | os.PathLike[str], answer: Answer) -> None:
    """Add a real listener's answer to a file, on the disk before this returns.

    Parameters
    ----------
    path : path
        A file of real answers; it and its folder are made where they are missing.
    answer : Answer
        What to add.

    Raises
    ------
    ProvenanceError
        If the file is there and is none of real answers.
    OSError
        If it cannot be written; the message says so. Nothing that was there before is lost.

    Notes
    -----
    One write in append mode, flushed and synchronised. If an earlier write was cut short, its
    remains are closed with a line end first, and stay as one damaged line.
    """
    path = Path(path)
    data = f"{answer_line(answer, provenance=LISTENER)}\n".encode()
    if not path.exists() or not path.stat().st_size:
        write_text(f"{header(LISTENER)}\n", path)
    with path.open("a+b", buffering=0) as file:
        file.seek(0)
        if file.readline().decode(errors="replace") != f"{header(LISTENER)}\n":
            raise ProvenanceError(f"{path}: not a file of listeners' answers; nothing is added")
        file.seek(-1, os.SEEK_END)
        data = data if file.read(1) == b"\n" else b"\n" + data
        if (written := file.write(data)) != len(data):
            raise OSError(f"{path}: only {written} of {len(data)} bytes were written; disk full?")
        os.fsync(file.fileno())


def read_answers(path: str | os.PathLike[str], *, provenance: str) -> Merged:
    """Read one file of answers.

    Parameters
    ----------
    path : path
        The file.
    provenance : {"listener", "simulated"}
        What it must hold.

    Returns
    -------
    Merged
        Damaged lines, a half-written last one among them, are left out and reported.

    Raises
    ------
    ProvenanceError
        If header, name or any row says another provenance or none; if the word "simulated" occurs
        anywhere in a file that is read as real; or if there are lines and all of them are damaged.
    ValueError, OSError
        As `files.read_regular`.
    """
    path = Path(path)
    text = read_regular(path, limit=MAX_BYTES).decode("utf-8", errors="replace")
    _require_provenance(path, text, provenance)
    lines = text.split("\n")[1:]
    rows, bad = [], []
    for number, line in enumerate(lines, start=2):
        found = _parsed(line, provenance) if line else None
        if isinstance(found, Answer):
            rows.append({**found._asdict(), "file": path.name, "line": number})
        elif found is not None:
            last = number == len(lines) + 1
            bad.append((path.name, number, "half-written last line" if last else found))
    if not rows and sum(reason != "half-written last line" for *_, reason in bad):
        raise ProvenanceError(f"{path}: none of its {len(bad)} lines is whole; it is not read")
    columns = [*Answer._fields, "file", "line"]
    return Merged(pd.DataFrame(rows, columns=columns), _report(bad))


def merge_answers(
    paths: Iterable[str | os.PathLike[str]],
    *,
    provenance: str,
    design: str,
    codes: Container[str],
) -> Merged:
    """Read several listeners' files as one table.

    Parameters
    ----------
    paths : iterable of path
        Files, in the order in which they count: of an answer given twice the first stays.
    provenance : {"listener", "simulated"}
        What all of them must hold.
    design : str
        The test; answers to another are left out.
    codes : container of str
        The test's clips; answers about others are left out.

    Returns
    -------
    Merged
        `left_out` tells each damaged line, other design, unknown clip and duplicate.

    Raises
    ------
    ProvenanceError
        As `read_answers`; one such file refuses all.
    """
    read = [read_answers(path, provenance=provenance) for path in paths]
    empty = pd.DataFrame(columns=[*Answer._fields, "file", "line"])
    whole = pd.concat([part.answers for part in read], ignore_index=True) if read else empty
    reasons = pd.Series("", index=whole.index, dtype=object)
    reasons[whole["design"] != design] = "answers another test (design)"
    known = [a in codes and (b in codes or not b) for a, b in whole[["first", "second"]].to_numpy()]
    reasons[(reasons == "") & ~pd.Series(known, index=whole.index, dtype=bool)] = "unknown clip"
    own = whole[reasons == ""]
    fields = list(Answer._fields[:-1])
    first = own.groupby(_KEY)[fields].transform("first") if len(own) else own[fields]
    differs = (own[fields] != first).any(axis=1)[own.duplicated(_KEY)]
    reasons[differs.index] = differs.map({True: "duplicate that differs", False: "duplicate"})
    told = whole.assign(reason=reasons)[reasons != ""][["file", "line", "reason"]]
    kept = whole[reasons == ""].reset_index(drop=True)
    parts = [told, *(part.left_out for part in read)]
    return Merged(kept, _report([row for part in parts for row in part.to_numpy().tolist()]))


def real_answers(folder: str | os.PathLike[str], *, design: str, codes: Container[str]) -> Merged:
    """Read every file of real answers in a folder: the only way into the verdict.

    Parameters
    ----------
    folder : path
        Its ``*.csv`` are read; a folder that is not there holds none.
    design, codes
        As `merge_answers`.

    Raises
    ------
    ProvenanceError
        If any of the files is simulated or of unknown origin.
    """
    paths = sorted(Path(folder).glob("*.csv"))
    return merge_answers(paths, provenance=LISTENER, design=design, codes=codes)


def _require_provenance(path: Path, text: str, provenance: str) -> None:
    """Refuse a file whose name, header or rows say another origin than is wanted, or none."""
    if provenance not in (LISTENER, SIMULATED):
        raise ValueError(f"provenance: got {provenance!r}, allowed are {LISTENER}, {SIMULATED}")
    named = SIMULATED in path.name.lower()
    if provenance == LISTENER and (named or SIMULATED in text.lower()):
        raise ProvenanceError(f"{path}: simulated answers, which stand for no listener")
    if provenance == SIMULATED and not named:
        raise ProvenanceError(f"{path}: simulated answers must be called so, in the file's name")
    first = text.split("\n", 1)[0]
    if first != header(provenance):
        raise ProvenanceError(
            f"{path}: its first line does not say provenance_{provenance} and what columns follow, "
            "so where its answers come from is unknown"
        )
    for number, line in enumerate(text.split("\n")[1:], start=2):
        body, _, check = line.rpartition(",")
        if check == _check(body) and body.split(",")[0] != provenance:
            raise ProvenanceError(f"{path}: line {number} is not of provenance {provenance}")


def _check(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _parsed(line: str, provenance: str) -> Answer | str:
    """Return a line's answer, or what is wrong with it."""
    body, _, check = line.rpartition(",")
    fields = body.split(",")
    if check != _check(body) or len(fields) != len(Answer._fields) + 1 or fields[0] != provenance:
        return "damaged line"
    _, design, listener, trial, kind, first, second, answer, seconds = fields
    if answer not in _ALLOWED.get(kind, ()):
        return "no answer that the test allows"
    pair = kind == CHOICE
    words = _WORD.fullmatch(design) and _WORD.fullmatch(listener) and trial.isdecimal()
    clips = _CODE.fullmatch(first) and (_CODE.fullmatch(second) if pair else not second)
    if not words or not clips or first == second:
        return "no trial that the test allows"
    try:
        spent = float(seconds)
    except ValueError:
        return "no number of seconds"
    if not (math.isfinite(spent) and spent >= 0):
        return "no number of seconds"
    return Answer(design, listener, int(trial), kind, first, second, answer, spent)


def _report(rows: list[tuple[str, int, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["file", "line", "reason"])


# ---- study.listening ----
# The blind test on the screen: ipywidgets in JupyterLab, one question after the other.
#
# Conventions: what is asked and kept is a `Session`, which knows no widget; the screen only shows
# it.
# Every control is reached with Tab and pressed with Space or Enter. Nothing on the screen, and no
# file name that the browser sees, tells where a clip comes from. Nothing plays by itself.


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
