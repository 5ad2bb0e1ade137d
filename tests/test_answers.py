"""Answers: on the disk at once, read with suspicion, merged with a report."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musiclib import answers
from musiclib.answers import LISTENER, SIMULATED, Answer, ProvenanceError
from musiclib.listening import HEARD, clip_code

A, B, C = (clip_code(name, 0) for name in HEARD[:3])


def rating(trial=0, said="4", *, listener="heron", design="d1", clip=A):
    return Answer(design, listener, trial, "rating", clip, "", said, 12.34)


def choice(trial=1, said="first", *, listener="heron", design="d1"):
    return Answer(design, listener, trial, "choice", A, B, said, 30.0)


def merged(*paths, design="d1", codes=(A, B)):
    return answers.merge_answers(paths, provenance=LISTENER, design=design, codes=codes)


@pytest.fixture
def file(tmp_path):
    """A file of two answers."""
    path = tmp_path / "answers" / "heron.csv"
    answers.append_answer(path, rating())
    answers.append_answer(path, choice())
    return path


def test_an_answer_is_read_as_it_was_given(file):
    found = answers.read_answers(file, provenance=LISTENER)
    rows = [Answer(*row) for row in found.answers[list(Answer._fields)].to_numpy()]
    assert rows == [rating()._replace(seconds=12.3), choice()]
    assert found.answers["line"].tolist() == [2, 3]
    assert found.left_out.empty
    assert file.read_bytes().startswith(b"provenance_listener,design,listener,trial,kind,first,")


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_nothing_is_lost_when_the_kernel_is_killed(tmp_path):
    path = tmp_path / "heron.csv"
    code = (
        "import os, signal\n"
        "from musiclib.answers import Answer, append_answer\n"
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
        answers.append_answer(path, rating(trial))
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    cut = 1 + cut % len(last)
    path.write_bytes(whole[:-cut])
    found = answers.read_answers(path, provenance=LISTENER)
    kept = [0, 1, 2] if cut == 1 else [0, 1]  # without its line end alone it is still whole
    assert found.answers["trial"].tolist() == kept
    partly = 1 < cut < len(last)
    assert found.left_out["reason"].tolist() == ["half-written last line"] * partly
    answers.append_answer(path, rating(2))
    again = merged(path)
    assert again.answers["trial"].tolist() == [0, 1, 2]
    expected = ["damaged line"] if partly else ["duplicate"] if cut == 1 else []
    assert again.left_out["reason"].tolist() == expected


def test_a_changed_line_is_no_answer(file):
    file.write_text(file.read_text().replace(",4,", ",5,"))
    found = answers.read_answers(file, provenance=LISTENER)
    assert found.answers["trial"].tolist() == [1]
    assert found.left_out.to_numpy().tolist() == [["heron.csv", 2, "damaged line"]]


def test_bytes_that_are_no_text_are_a_damaged_line(file):
    with file.open("ab") as some:
        some.write(b"\xff\x00\xfe,,\n\n")
    found = answers.read_answers(file, provenance=LISTENER)
    assert len(found.answers) == 2
    assert found.left_out["reason"].tolist() == ["damaged line"]


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
        (rating()._replace(seconds=float("nan")), "no number of seconds"),
        (rating()._replace(seconds=-1.0), "no number of seconds"),
    ],
)
def test_what_would_not_be_read_is_not_written(tmp_path, answer, phrase):
    with pytest.raises(ValueError, match=f"answer: {phrase}"):
        answers.append_answer(tmp_path / "x.csv", answer)
    assert not any(tmp_path.iterdir())


def test_files_are_merged_and_what_is_left_out_is_told(file, tmp_path):
    other = tmp_path / "other.csv"
    for answer in (
        rating(),  # the same again, copied
        choice(said="second"),  # the same trial, another answer
        rating(2, design="d2"),
        rating(3, clip=C),
        rating(4, listener="stork"),
    ):
        answers.append_answer(other, answer)
    found = merged(file, other)
    assert found.answers[["listener", "trial"]].to_numpy().tolist() == [
        ["heron", 0],
        ["heron", 1],
        ["stork", 4],
    ]
    assert found.answers["answer"].tolist() == ["4", "first", "4"]
    assert found.left_out.to_numpy().tolist() == [
        ["other.csv", 2, "duplicate"],
        ["other.csv", 3, "duplicate that differs"],
        ["other.csv", 4, "answers another test (design)"],
        ["other.csv", 5, "unknown clip"],
    ]


def test_a_folder_that_is_empty_or_missing_holds_no_answer(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        found = answers.real_answers(folder, design="d1", codes=[A])
        assert found.answers.empty
        assert found.left_out.empty


def test_only_a_file_of_listeners_grows(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("my notes\n")
    with pytest.raises(ProvenanceError, match="not a file of listeners' answers; nothing is added"):
        answers.append_answer(path, rating())
    assert path.read_text() == "my notes\n"


def test_a_folder_in_the_way_is_told(tmp_path):
    (tmp_path / "answers").write_text("")
    with pytest.raises(OSError, match="answers"):
        answers.append_answer(tmp_path / "answers" / "heron.csv", rating())


def test_provenances_are_never_mixed(file, tmp_path):
    with pytest.raises(ProvenanceError, match="must be called so"):
        answers.read_answers(file, provenance=SIMULATED)
    named = tmp_path / "simulated_x.csv"
    named.write_bytes(file.read_bytes())
    with pytest.raises(ProvenanceError, match="does not say provenance_simulated"):
        answers.read_answers(named, provenance=SIMULATED)
    line = answers.answer_line(rating(), provenance=LISTENER)
    named.write_text(f"{answers.header(SIMULATED)}\n{line}\n")
    with pytest.raises(ProvenanceError, match="line 2 is not of provenance simulated"):
        answers.read_answers(named, provenance=SIMULATED)
    with pytest.raises(ValueError, match="provenance: got 'real'"):
        answers.read_answers(file, provenance="real")
