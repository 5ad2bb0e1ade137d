"""A corpus prepared in processes: whatever dies on the way, it ends as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hostile_midi as hostile
import pandas as pd
import pytest

from musiclib import corpus as corpora
from musiclib.corpus import load_corpus, prepare_corpus
from musiclib.files import TEMPORARY_PREFIX

TESTS = Path(__file__).parent
ROOT = TESTS.parent
HERE = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", HERE["PYTHONPATH"])


def fill(folder: Path, *names: str) -> Path:
    """Write one small file a name, each of its own content."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        notes = [hostile.note(40 + number % 40), hostile.note(60 + number // 40)]
        (folder / name).write_bytes(hostile.smf(hostile.track(*notes)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def music(tmp_path):
    """Make a folder of good, bad and doubled files."""
    folder = fill(tmp_path / "music", *[f"{i:02d}.mid" for i in range(12)])
    shutil.copy(folder / "03.mid", folder / "double of 03.mid")
    (folder / "broken.mid").write_bytes(b"MThd nonsense")
    (folder / "cut.mid").write_bytes(hostile.small_file()[:-9])
    (folder / "notes.txt").write_text("no music")
    return folder


def test_the_same_bytes_whatever_the_number_of_processes(music, tmp_path):
    reports = [
        prepare_corpus(music, tmp_path / str(workers), workers=workers).drop(columns="seconds")
        for workers in (None, 2)
    ]
    for report, workers in zip(reports[1:], (2,), strict=True):
        pd.testing.assert_frame_equal(report, reports[0])
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "None")


@pytest.fixture
def pedalled(music):
    """Add so many files whose pedal lengthens notes that the folder is one of performances."""
    down, up = b"\0\xb0\x40\x7f", b"\x87\x40\xb0\x40\0"
    for number in range(14):
        notes = [hostile.note(40 + number), hostile.note(60)]
        data = hostile.smf(hostile.track(down, *notes, up))
        (music / f"pedal {number:02d}.mid").write_bytes(data)
    return music


@pytest.mark.parametrize("moment", [8, 20])
def test_a_folder_of_performances_ends_the_same_killed_or_not(pedalled, tmp_path, moment):
    for workers in (None, 2):
        report = prepare_corpus(pedalled, tmp_path / str(workers), workers=workers)
        assert report["pedal"].value_counts().to_dict() == {"held": 15, "": 15}
    assert contents(tmp_path / "2") == contents(tmp_path / "None")
    assert kill_at(pedalled, tmp_path / "killed", moment)
    prepare_corpus(pedalled, tmp_path / "killed", workers=2)
    assert contents(tmp_path / "killed") == contents(tmp_path / "2")


def test_many_files_take_processes_and_few_do_not(music, tmp_path, monkeypatch):
    asked = []

    def run(target, jobs, *, workers, seconds, memory):
        asked.append((len(jobs), workers, seconds, memory))
        return iter(())

    monkeypatch.setattr(corpora, "run_jobs", run)
    monkeypatch.setattr(corpora, "cores", lambda: 7)
    prepare_corpus(music, tmp_path / "few")
    assert asked == []
    fill(music, *[f"more {i}.mid" for i in range(60)])
    with pytest.raises(KeyError):
        prepare_corpus(music, tmp_path / "many")
    assert asked == [(62, 7, 10.0, 1_000_000_000)]


def test_a_file_that_hangs_or_kills_is_refused_alone_and_read_again(tmp_path, monkeypatch):
    names = ["a.mid", "b.mid", "exit-1.mid", "kill-1.mid", "memory-1.mid", "sleep-1.mid", "z.mid"]
    folder = fill(tmp_path / "music", *names)
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(corpora, "PREPARE", "stubborn:prepare")
        patch.setattr(corpora, "MAX_SECONDS", 2)
        patch.setattr(corpora, "MAX_MEMORY", 500_000_000)
        report = prepare_corpus(
            folder, tmp_path / "p", workers=2, progress=lambda *n: seen.append(n)
        )
    reasons = report.set_index("file")["reason"]
    assert reasons["sleep-1.mid"] == "cannot read sleep-1.mid: it took longer than 2 s"
    assert reasons["kill-1.mid"] == (
        "cannot read kill-1.mid: the process that read it died (signal 9)"
    )
    assert reasons["exit-1.mid"].endswith("died (status 3)")
    assert reasons["memory-1.mid"].endswith("it needs more memory than it may have")
    good = report["status"] == "converted"
    assert list(report["file"][good]) == ["a.mid", "b.mid", "z.mid"]
    assert seen == [(i, len(names)) for i in range(1, len(names) + 1)]

    again = prepare_corpus(folder, tmp_path / "p")
    assert (again["status"] == "converted").all()
    prepare_corpus(folder, tmp_path / "undisturbed")
    assert contents(tmp_path / "p") == contents(tmp_path / "undisturbed")


SCRIPT = """
import sys
from musiclib import corpus
corpus.PREPARE = "stubborn:prepare_slowly"
told = lambda *n: print(*n, flush=True)
corpus.prepare_corpus(sys.argv[1], sys.argv[2], workers=2, progress=told)
"""


def kill_at(music: Path, destination: Path, moment: float) -> bool:
    """Start a run and kill it, at a line of its progress (>= 1) or a share of its start (< 1)."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(music), str(destination)],
        stdout=subprocess.PIPE,
        text=True,
        env=HERE,
    )
    if moment < 1:
        time.sleep(4 * moment)
    else:
        while process.poll() is None and not process.stdout.readline().startswith(f"{moment:g} "):
            pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def check_kills(music: Path, tmp_path: Path, moments: list[float]) -> None:
    prepare_corpus(music, tmp_path / "whole")
    killed = [kill_at(music, tmp_path / "killed", moment) for moment in moments]
    assert any(killed)
    report = prepare_corpus(music, tmp_path / "killed", workers=2)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(load_corpus(tmp_path / "killed")) == (report["status"] == "converted").sum() == 13


def test_killed_and_run_again_it_ends_as_if_never_killed(music, tmp_path):
    check_kills(music, tmp_path, [8])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_ends_as_if_never_killed(music, tmp_path, seed):
    moments = random.Random(seed).choices([*range(4, 17), 0.1, 0.3, 0.5, 0.8], k=8)
    check_kills(music, tmp_path, moments)


def test_what_a_kill_leaves_behind_is_cleared_and_a_cut_line_is_no_harm(music, tmp_path):
    prepare_corpus(music, tmp_path / "whole")
    left = tmp_path / "p"
    prepare_corpus(music, left)
    (left / "report.csv").unlink()
    (left / f"{TEMPORARY_PREFIX}0123-x.npz").write_bytes(b"half")
    (left / "report.unfinished.jsonl").write_bytes(b'\n{"file": "00.mid", "sha2')
    (left / f"{'0' * 64}.npz").write_bytes(b"of a file that is gone")
    prepare_corpus(music, left)
    assert contents(left) == contents(tmp_path / "whole")


def test_a_file_that_is_gone_or_renamed_takes_its_piece_along(music, tmp_path):
    prepare_corpus(music, tmp_path / "p")
    (music / "00.mid").unlink()
    (music / "01.mid").rename(music / "99.mid")
    prepare_corpus(music, tmp_path / "p")
    prepare_corpus(music, tmp_path / "anew")
    assert contents(tmp_path / "p") == contents(tmp_path / "anew")
    names = [piece.name for piece in load_corpus(tmp_path / "p")]
    assert not {"00", "01"} & set(names)
    assert "99" in names


LIMITED = """
import resource, sys
from musiclib.corpus import prepare_corpus
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
prepare_corpus(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]) or None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
@pytest.mark.parametrize(
    ("workers", "size"), [(2, 1500), pytest.param(0, 100, marks=pytest.mark.long)]
)
def test_a_disk_that_takes_no_more_leaves_the_earlier_results_whole(music, tmp_path, workers, size):
    prepare_corpus(music, tmp_path / "p")
    before = {piece.name: piece.roll.tobytes() for piece in load_corpus(tmp_path / "p")}
    report = (tmp_path / "p" / "report.csv").read_bytes()
    fill(music, "new.mid", "01.mid", "02.mid")
    os.replace(music / "04.mid", music / "renamed.mid")
    arguments = [str(music), str(tmp_path / "p"), str(workers), str(size)]
    command = [sys.executable, "-c", LIMITED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=HERE)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("OSError")
    assert "the file is larger than this disk or account allows; choose another folder" in last
    assert (tmp_path / "p" / "report.csv").read_bytes() == report
    found = {piece.name: piece.roll.tobytes() for piece in load_corpus(tmp_path / "p")}
    assert found == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_may_not_be_written_to_is_named_and_kept(music, tmp_path):
    prepare_corpus(music, tmp_path / "p")
    before = contents(tmp_path / "p")
    (music / "new.mid").write_bytes(hostile.small_file())
    (tmp_path / "p").chmod(0o555)
    try:
        for destination in (tmp_path / "p", tmp_path / "p" / "deeper"):
            with pytest.raises(PermissionError, match="cannot write .*permission denied; make"):
                prepare_corpus(music, destination)
    finally:
        (tmp_path / "p").chmod(0o755)
    assert contents(tmp_path / "p") == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_may_not_be_read_has_a_row(music, tmp_path):
    fill(music / "closed", "x.mid")
    (music / "closed").chmod(0)
    (music / "00.mid").chmod(0)
    rows = prepare_corpus(music, tmp_path / "p").set_index("file")
    (music / "closed").chmod(0o755)
    assert rows.loc["closed", "status"] == rows.loc["00.mid", "status"] == "refused"
    assert rows.loc["closed", "reason"] == "a folder that cannot be read: permission denied"
    assert rows.loc["00.mid", "reason"] == "cannot read 00.mid: permission denied"
    again = prepare_corpus(music, tmp_path / "p").set_index("file")
    assert again.loc["closed/x.mid", "status"] == "converted"


@pytest.mark.long
def test_two_runs_at_once_take_turns(music, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(music), str(tmp_path / "p")]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=HERE)
        for _ in range(2)
    ]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    prepare_corpus(music, tmp_path / "alone")
    assert contents(tmp_path / "p") == contents(tmp_path / "alone")


def test_the_destination_may_lie_within_the_source_but_not_be_it(music):
    first = prepare_corpus(music, music / "prepared")
    again = prepare_corpus(music, music / "prepared")
    assert list(first["file"]) == list(again["file"])
    with pytest.raises(ValueError, match="destination: got the source folder"):
        prepare_corpus(music, music)


@pytest.mark.parametrize("workers", [0, -1])
def test_an_impossible_number_of_processes_is_refused(music, tmp_path, workers):
    with pytest.raises(ValueError, match=f"workers: got {workers}, allowed is 1 or more"):
        prepare_corpus(music, tmp_path / "p", workers=workers)


def test_a_piece_that_was_exchanged_is_not_opened(music, tmp_path):
    report = prepare_corpus(music, tmp_path / "p").set_index("file")
    one, other = report.loc[["00.mid", "01.mid"], "piece_sha256"]
    shutil.copy(tmp_path / "p" / f"{one}.npz", tmp_path / "p" / f"{other}.npz")
    with pytest.raises(ValueError, match=f"{other}.npz is no prepared piece .its SHA-256"):
        load_corpus(tmp_path / "p")
    prepare_corpus(music, tmp_path / "p")
    assert len(load_corpus(tmp_path / "p")) == 13


@pytest.mark.long
def test_thousands_of_damaged_files_have_a_row_each(tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    count = 0
    for seed in range(4):
        for case in hostile.cases(seed):
            (music / f"{count:05d}.mid").write_bytes(case.data)
            count += 1
    assert count > 2500
    report = prepare_corpus(music, tmp_path / "p", workers=2)
    assert len(report) == count
    assert (report["reason"] != "").sum() >= (report["status"] == "refused").sum() > 500
    assert not report["reason"].str.contains("process that read it|cannot prepare|longer").any()
    again = prepare_corpus(music, tmp_path / "p")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), report.drop(columns="seconds"))
    assert (again["seconds"] == 0).all()


BOUNDED = """
import json, sys, time
from musiclib.corpus import prepare_corpus
began = time.process_time()
row = prepare_corpus(sys.argv[1], sys.argv[2]).iloc[0]
seconds = time.process_time() - began
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1e6
print(json.dumps({"status": row.status, "steps": int(row.steps), "s": seconds, "gb": peak}))
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_costliest_small_file_stays_far_within_the_limits(tmp_path):
    """The longest table and roll, eight lines of many notes: prepared without a process."""
    (tmp_path / "music").mkdir()
    line = b"".join(
        hostile.on(40 + number % 40) + hostile.vlq(1250) + bytes([40 + number % 40, 0])
        for number in range(3_900)
    )
    last = hostile.note(60, delta=9_990_000 - 3_900 * 1250)
    data = hostile.smf(*[hostile.track(line, last)] * 8, division=80)
    assert 200_000 < len(data) <= corpora._FEW_BYTES
    (tmp_path / "music" / "x.mid").write_bytes(data)
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "music"), str(tmp_path / "p")]
    done = subprocess.run(command, capture_output=True, text=True, env=HERE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == "converted"
    assert found["steps"] > 490_000
    assert found["s"] < 5
    assert found["gb"] < 0.8
