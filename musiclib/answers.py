"""Listeners' answers: kept at the moment they are given, read with suspicion, merged with a report.

Conventions: a file is CSV, one line an answer, and only ever grows. Where an answer comes from, its
*provenance*, stands three times: in the header's first column (``provenance_listener`` or
``provenance_simulated``), in every row, and, for simulated answers, in the file's name. Each row
ends with a CRC-32 of all that stands before it, provenance included: a line that was half written
or changed afterwards is not an answer. This guards against mistakes, not against forgers.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Container, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from musiclib.files import read_regular, write_text
from musiclib.listening import CHOICE, CHOICES, RATING, RATINGS

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
