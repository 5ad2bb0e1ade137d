"""Pieces and corpora: metre, key, what the grid costs, a folder of anything, and its report.

A corpus prepared in processes: whatever dies on the way, it ends as if nothing had happened, and a
job that hangs or dies costs no other job.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import hostile_midi as hostile
import numpy as np
import pandas as pd
import pretty_midi
import pytest
from notes import MAJOR, midi_of, scale

from musiclib import piece as musiclib_piece
from musiclib import prepare
from musiclib.files import TEMPORARY_PREFIX
from musiclib.midi import parse_midi, save_midi
from musiclib.piece import _packed
from musiclib.prepare import (
    LOST,
    REPORT_COLUMNS,
    WorkerError,
    find_midi,
    load_corpus,
    pedal_from_environment,
    prepare_corpus,
    run_jobs,
)
from musiclib.roll import to_piano_roll

# A folder of anything


@pytest.fixture
def folder(tmp_path):
    """Make a folder with good, bad, doubled and linked files, and one file outside of it."""
    source = tmp_path / "music"
    save_midi(scale(60), source / "a.mid")
    save_midi(scale(62), source / "deep" / "er" / "b.MIDI")
    shutil.copy(source / "a.mid", source / "z double.mid")
    save_midi(midi_of((0, 1, 36), drum=True), source / "drums.mid")
    save_midi(midi_of((0, 1, 5)), source / "too low.mid")
    (source / "broken.mid").write_bytes(b"MThd nonsense")
    (source / "empty.mid").write_bytes(b"")
    (source / "cut.mid").write_bytes(hostile.smf(hostile.track(hostile.note(60)))[:-2])
    (source / "notes.txt").write_text("no music")
    save_midi(scale(64), tmp_path / "outside.mid")
    (source / "out.mid").symlink_to(tmp_path / "outside.mid")
    (source / "in.mid").symlink_to(source / "a.mid")
    (source / "dangling.mid").symlink_to(source / "nowhere.mid")
    return source


EXPECTED = {
    "a.mid": ("converted", ""),
    "broken.mid": ("refused", "cannot read .*broken.mid"),
    "cut.mid": ("converted", "was repaired"),
    "dangling.mid": ("refused", "cannot read dangling.mid: no such file"),
    "deep/er/b.MIDI": ("converted", ""),
    "drums.mid": ("refused", r"no note of a pitched instrument .* \(1 of percussion\)$"),
    "empty.mid": ("refused", "cannot read .*empty.mid"),
    "notes.txt": ("skipped", "not a MIDI file by its name"),
    "in.mid": ("skipped", "same content as a.mid"),
    "out.mid": ("refused", "a link that leaves the folder"),
    "too low.mid": ("refused", "no note of a pitched instrument within a piano's 88 keys"),
    "z double.mid": ("skipped", "same content as a.mid"),
}


@pytest.fixture
def report(folder, tmp_path):
    return prepare_corpus(folder, tmp_path / "prepared")


def test_each_file_has_a_row_with_what_became_of_it(report):
    assert list(report.columns) == REPORT_COLUMNS
    rows = report.set_index("file")
    assert list(rows.index) == sorted(EXPECTED)
    for file, (status, reason) in EXPECTED.items():
        assert rows.loc[file, "status"] == status, file
        assert re.search(reason, rows.loc[file, "reason"]), (file, rows.loc[file, "reason"])
    assert rows.loc["a.mid", "reason"] == ""
    assert rows.loc["empty.mid", "reason"].startswith("cannot read empty.mid: ")


def test_the_reason_says_what_cost_the_notes(tmp_path):
    source = tmp_path / "music"
    save_midi(midi_of(*((k / 6, (k + 1) / 6, 60) for k in range(6))), source / "fast.mid")
    save_midi(midi_of((0, 1, 60), (0, 1, 60)), source / "unison.mid")
    back = bytes.fromhex("8fffffff00 903c50 60 903c00")  # 128 ticks back, as a number of 32 bits
    (source / "negative.mid").write_bytes(hostile.smf(hostile.track(back)))
    named = hostile.track(hostile.meta(3, b"Drums"), hostile.note(36) * 2)
    (source / "named.mid").write_bytes(hostile.smf(named))
    bank = hostile.track(bytes.fromhex("00b0007f 00c000"), hostile.note(36) * 2)
    (source / "bank.mid").write_bytes(hostile.smf(bank))
    rows = prepare_corpus(source, tmp_path / "prepared").set_index("file")
    none = "no note of a pitched instrument within a piano's 88 keys"
    told = "on the grid: their key was already struck on the same step"
    assert rows["reason"].to_dict() == {
        "bank.mid": f"bank.mid: {none} (2 of percussion)",
        "fast.mid": f"2 of 6 notes collided {told}",
        "named.mid": f"named.mid: {none} (2 of percussion); named.mid was repaired: "
        "notes taken for percussion by the name of their track: 2",
        "negative.mid": f"negative.mid: {none}; negative.mid was repaired: "
        "tracks cut short by damage: 1; cut at a time step (a negative one, say) of more than "
        "four bytes: 1; bytes not read in such tracks: 15",
        "unison.mid": "",
    }
    assert rows.loc["fast.mid", ["merged", "collided"]].tolist() == [0, 2 / 6]
    assert rows.loc["unison.mid", ["merged", "collided"]].tolist() == [0.5, 0]


def test_the_report_counts(report):
    rows = report.set_index("file")
    columns = ["notes", "steps", "off_grid", "merged", "collided"]
    assert rows.loc["a.mid", columns].tolist() == [8, 32, 0, 0, 0]
    assert (rows["seconds"] >= 0).all()
    refused = rows[rows["status"] == "refused"]
    assert refused["off_grid"].isna().all()
    assert (refused["piece_sha256"] == "").all()
    read = rows.drop(["dangling.mid", "notes.txt", "out.mid"])
    assert (read["sha256"].str.len() == 64).all()


def test_the_prepared_pieces_are_those_converted(report, tmp_path):
    found = load_corpus(tmp_path / "prepared")
    assert [piece.name for piece in found] == ["a", "cut", "deep/er/b.MIDI"]
    assert np.array_equal(found[0].roll, to_piano_roll(scale(60)))
    assert len(list((tmp_path / "prepared").glob("*.npz"))) == 3


def parsed(monkeypatch) -> list[str]:
    """Return a list that grows by the name of each file that is parsed from now on."""
    names, real = [], parse_midi
    monkeypatch.setattr(
        prepare, "parse_midi", lambda data, *, name: names.append(name) or real(data, name=name)
    )
    return names


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_run_reads_nothing_again(report, folder, tmp_path, monkeypatch):
    before = contents(tmp_path / "prepared")
    read = parsed(monkeypatch)
    again = prepare_corpus(folder, tmp_path / "prepared")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), report.drop(columns="seconds"))
    assert read == []
    assert contents(tmp_path / "prepared") == before


def test_a_changed_file_and_a_damaged_piece_are_made_anew(report, folder, tmp_path):
    damaged = report.set_index("file").loc["a.mid", "piece_sha256"]
    (tmp_path / "prepared" / f"{damaged}.npz").write_bytes(b"damaged")
    save_midi(scale(65), folder / "deep" / "er" / "b.MIDI")
    prepare_corpus(folder, tmp_path / "prepared")
    found = {piece.name: piece for piece in load_corpus(tmp_path / "prepared")}
    assert np.array_equal(found["a"].roll, to_piano_roll(scale(60)))
    assert np.array_equal(found["deep/er/b.MIDI"].roll, to_piano_roll(scale(65)))


def test_when_the_first_of_two_alike_goes_the_second_counts(report, folder, tmp_path):
    (folder / "a.mid").unlink()
    (folder / "in.mid").unlink()
    again = prepare_corpus(folder, tmp_path / "prepared").set_index("file")
    assert again.loc["z double.mid", "status"] == "converted"
    assert "z double" in [piece.name for piece in load_corpus(tmp_path / "prepared")]


def test_another_version_makes_every_piece_anew(report, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(musiclib_piece, "VERSION", 99)
    monkeypatch.setattr("musiclib.prepare.VERSION", 99)
    prepare_corpus(folder, tmp_path / "prepared")
    assert len(load_corpus(tmp_path / "prepared")) == 3


def test_pieces_of_the_earlier_layout_are_refused_and_made_anew(folder, tmp_path, monkeypatch):
    packed = _packed

    def as_before(piece):
        with np.load(io.BytesIO(packed(piece))) as data:
            whole = {k: v for k, v in data.items() if k != "denominator"} | {"version": 1}
        file = io.BytesIO()
        np.savez_compressed(file, **whole)
        return file.getvalue()

    with monkeypatch.context() as patch:
        patch.setattr(musiclib_piece, "_packed", as_before)
        patch.setattr(musiclib_piece, "VERSION", 1)
        patch.setattr("musiclib.prepare.VERSION", 1)
        prepare_corpus(folder, tmp_path / "prepared")
    with pytest.raises(ValueError, match=r"version 1, this musiclib reads 2\); run notebook 01"):
        load_corpus(tmp_path / "prepared")
    prepare_corpus(folder, tmp_path / "prepared")
    assert [piece.denominator for piece in load_corpus(tmp_path / "prepared")] == [4] * 3


def test_a_broken_off_run_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    seen, first = [], parsed(monkeypatch)

    def stop(done, total):
        seen.append((done, total))
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(folder, tmp_path / "prepared", progress=stop)
    assert seen == [(i, len(EXPECTED)) for i in range(1, 9)]
    with pytest.raises(FileNotFoundError, match="run notebook 01"):
        load_corpus(tmp_path / "prepared")

    assert len(first) == 3
    prepare_corpus(folder, tmp_path / "prepared")
    assert len(first) == len(set(first)) == 7
    assert not list((tmp_path / "prepared").glob("*unfinished*"))
    assert len(load_corpus(tmp_path / "prepared")) == 3


def test_the_files_that_are_read_when_told_are_spread_over_the_folder(folder, tmp_path):
    midi = sorted(EXPECTED.keys() - {"notes.txt"})
    rows = prepare_corpus(folder, tmp_path / "p", max_files=3)
    assert list(rows["file"]) == sorted([midi[0], midi[3], midi[7], "notes.txt"])
    everything = prepare_corpus(folder, tmp_path / "p", max_files=len(midi))
    assert list(everything["file"]) == sorted(EXPECTED)
    with pytest.raises(ValueError, match="max_files: got 0; allowed: 1 or more"):
        prepare_corpus(folder, tmp_path / "p", max_files=0)


def test_what_macos_writes_beside_the_music_is_skipped_and_uses_up_nothing(tmp_path):
    for number in range(4):
        save_midi(scale(60 + number), tmp_path / "m" / "Songs" / f"{number}.mid")
    twins = [f"__MACOSX/Songs/._{n}.mid" for n in range(4)] + ["__MACOSX/x.mid", "Songs/._3.mid"]
    for name in [*twins, ".DS_Store", "Songs/.DS_Store"]:
        (tmp_path / "m" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "m" / name).write_bytes(bytes.fromhex("0005160700020000"))
    rows = prepare_corpus(tmp_path / "m", tmp_path / "p", max_files=4).set_index("file")
    skipped = rows[rows["status"] == "skipped"]
    assert set(skipped.index) == {*twins, ".DS_Store", "Songs/.DS_Store"}
    assert set(skipped["reason"]) == {"written by macOS beside the music, not music itself"}
    assert (rows["status"] == "converted").sum() == 4
    assert len(find_midi(tmp_path / "m")) == 4


# The sustain pedal


def pedalled(root, *, used=True):
    """Make a scale of short notes, whose pedal, if used, holds each for a whole quarter."""
    midi = midi_of(*((i, i + 0.25, root + step) for i, step in enumerate(MAJOR)))
    for quarter in range(len(MAJOR) if used else 0):
        for value, when in ((127, quarter + 0.1), (0, quarter + 1)):
            change = pretty_midi.ControlChange(64, value, float(when))
            midi.instruments[0].control_changes.append(change)
    return midi


def lengths(folder):
    """Give the sounding steps of each piece."""
    return {piece.name: int(piece.roll[..., 1].sum()) for piece in load_corpus(folder)}


@pytest.mark.parametrize(("using", "held"), [(2, True), (1, False), (4, True)])
def test_the_pedal_holds_where_half_of_the_pieces_use_it(tmp_path, using, held, monkeypatch):
    for number in range(4):
        midi = pedalled(60 + number, used=number < using)
        save_midi(midi, tmp_path / "m" / f"{number}.mid")
    (tmp_path / "m" / "broken.mid").write_bytes(b"MThd")
    rows = prepare_corpus(tmp_path / "m", tmp_path / "p").set_index("file")
    long, short = 7 * 4, 7
    assert lengths(tmp_path / "p") == {
        str(n): long if held and n < using else short for n in range(4)
    }
    words = ["held" if held else "ignored"] * using + [""] * (4 - using)
    assert rows.loc[[f"{n}.mid" for n in range(4)], "pedal"].tolist() == words
    assert rows.loc["broken.mid", "pedal"] == ""
    found = {piece.name: len(piece.roll) for piece in load_corpus(tmp_path / "p")}
    assert found == {str(n): rows.loc[f"{n}.mid", "steps"] for n in range(4)}

    read = parsed(monkeypatch)
    for asked in (not held, held, None):  # asked for or decided, no file is read again
        prepare_corpus(tmp_path / "m", tmp_path / "p", sustain_pedal=asked)
        expected = held if asked is None else asked
        assert lengths(tmp_path / "p")["0"] == (long if expected else short)
        prepare_corpus(tmp_path / "m", tmp_path / f"anew {asked}", sustain_pedal=asked)
        assert contents(tmp_path / "p") == contents(tmp_path / f"anew {asked}")
    assert len(read) == 3 * 5


def test_the_pedal_is_asked_for_by_the_environment(monkeypatch):
    for value, asked in (("", None), ("0", False), ("1", True)):
        monkeypatch.setenv("MUSICLIB_PEDAL", value)
        assert pedal_from_environment() is asked
    monkeypatch.delenv("MUSICLIB_PEDAL")
    assert pedal_from_environment() is None
    monkeypatch.setenv("MUSICLIB_PEDAL", "yes")
    with pytest.raises(ValueError, match="MUSICLIB_PEDAL: got 'yes'; allowed: 0, 1"):
        pedal_from_environment()


def test_the_pedal_costs_the_grid_nothing(tmp_path):
    save_midi(pedalled(60), tmp_path / "m" / "a.mid")
    held = prepare_corpus(tmp_path / "m", tmp_path / "p", sustain_pedal=True)
    released = prepare_corpus(tmp_path / "m", tmp_path / "p", sustain_pedal=False)
    for column in ("notes", "off_grid", "merged", "free"):
        assert held[column].equals(released[column])
    assert held["steps"][0] > released["steps"][0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_does_not_hang(folder, tmp_path):
    os.mkfifo(folder / "pipe.mid")
    rows = prepare_corpus(folder, tmp_path / "prepared").set_index("file")
    assert rows.loc["pipe.mid", "status"] == "refused"
    assert "only regular files" in rows.loc["pipe.mid", "reason"]


def test_a_linked_folder_is_not_followed(folder, tmp_path):
    (folder / "elsewhere").symlink_to(tmp_path)
    (folder / "deep" / "round").symlink_to(folder)
    midi = sorted(EXPECTED.keys() - {"notes.txt"})
    assert [path.relative_to(folder).as_posix() for path in find_midi(folder)] == midi
    rows = prepare_corpus(folder, tmp_path / "prepared").set_index("file")
    found = rows.loc[["elsewhere", "deep/round"], ["status", "reason"]].values.tolist()
    assert found == [
        ["refused", "a link that leaves the folder"],
        ["skipped", "a link to a folder, which is read in its own place"],
    ]


def test_names_may_be_anything(tmp_path):
    names = [
        "two\nlines.mid", os.fsdecode(b"latin \xe9.mid"), 'comma, "quote".mid', "=1+1.mid", "NA",
        "NA.mid", "音楽.MID", ".hidden.mid",
    ]  # fmt: skip
    source = tmp_path / "music"
    source.mkdir()
    for number, name in enumerate(names):
        (source / name).write_bytes(hostile.smf(hostile.track(hostile.note(60 + number))))
    (source / ".DS_Store").write_text("the system's")
    rows = prepare_corpus(source, tmp_path / "p")
    assert len(rows) == len(names) + 1
    assert (rows["status"] == "converted").sum() == len(load_corpus(tmp_path / "p")) == 7
    assert set(rows["file"]) >= {"two\\nlines.mid", "latin \\udce9.mid", "音楽.MID"}
    again = prepare_corpus(source, tmp_path / "p")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), rows.drop(columns="seconds"))


@pytest.fixture
def bottomless(tmp_path, monkeypatch):
    """Make folders in folders, deeper than Python calls itself and longer than a path may be."""
    depth, source = 2100, tmp_path / "music"
    source.mkdir()
    monkeypatch.chdir(source)
    for _ in range(depth):
        os.mkdir("a")
        os.chdir("a")
    monkeypatch.chdir(tmp_path)
    yield source
    (source / "a" / "x.mid").unlink(missing_ok=True)
    monkeypatch.chdir(source)
    for _ in range(depth):
        os.chdir("a")
    for _ in range(depth):  # pytest itself could not
        os.chdir("..")
        os.rmdir("a")


def test_folders_within_folders_have_an_end(bottomless, tmp_path):
    save_midi(scale(), bottomless / "a" / "x.mid")
    rows = prepare_corpus(bottomless, tmp_path / "p")
    assert sorted(rows["status"]) == ["converted", "refused"]
    assert "a folder that cannot be read: file name too long" in set(rows["reason"])


def test_no_hostile_file_stops_the_others(tmp_path):
    cases = list(hostile.cases())[::5]
    for number, case in enumerate(cases):
        (tmp_path / f"{number:04d}.mid").write_bytes(case.data)
    rows = prepare_corpus(tmp_path, tmp_path / "prepared")
    assert len(rows) == len(cases)
    for case, status, reason in zip(cases, rows["status"], rows["reason"], strict=True):
        if case.expect == hostile.REFUSED:
            assert status == "refused", case.name
            assert re.search(case.match, reason), case.name
        elif case.expect == hostile.LEGAL and case.n_notes > 0:
            assert status != "refused" or "88 keys" in reason, (case.name, reason)
    assert {"converted", "refused", "skipped"} == set(rows["status"])
    assert len(load_corpus(tmp_path / "prepared")) == (rows["status"] == "converted").sum()


def test_a_full_disk_stops_with_a_sentence_and_leaves_no_half_file(folder, tmp_path, monkeypatch):
    def full(path, data):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="the disk is full"):
        prepare_corpus(folder, tmp_path / "prepared")
    assert not list((tmp_path / "prepared").glob("*.npz"))
    assert not list((tmp_path / "prepared").glob(".partial*"))


def test_a_folder_without_midi_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no music")
    with pytest.raises(FileNotFoundError, match=rf"{re.escape(str(tmp_path))} holds no MIDI file"):
        prepare_corpus(tmp_path, tmp_path / "prepared")
    with pytest.raises(FileNotFoundError, match="does not exist or is not a folder"):
        prepare_corpus(tmp_path / "gone", tmp_path / "prepared")


def test_a_corpus_that_was_not_prepared_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"report\.csv is missing; run notebook 01"):
        load_corpus(tmp_path)


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


@pytest.fixture
def music(tmp_path):
    """Make a folder of good, bad and doubled files."""
    folder = fill(tmp_path / "music", *[f"{i:02d}.mid" for i in range(12)])
    shutil.copy(folder / "03.mid", folder / "double of 03.mid")
    (folder / "broken.mid").write_bytes(b"MThd nonsense")
    (folder / "cut.mid").write_bytes(hostile.small_file()[:-9])
    (folder / "notes.txt").write_text("no music")
    return folder


def prepare_in_processes(source, destination, **more):
    """Prepare a corpus in two processes, however few its files are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_FEW_FILES", -1)
        patch.setattr(prepare, "cores", lambda: 2)
        return prepare_corpus(source, destination, **more)


def test_the_same_bytes_with_and_without_processes(music, tmp_path):
    here = prepare_corpus(music, tmp_path / "here").drop(columns="seconds")
    there = prepare_in_processes(music, tmp_path / "there").drop(columns="seconds")
    pd.testing.assert_frame_equal(here, there)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


@pytest.fixture
def performances(music):
    """Add so many files whose pedal lengthens notes that the folder is one of performances."""
    down, up = b"\0\xb0\x40\x7f", b"\x87\x40\xb0\x40\0"
    for number in range(14):
        notes = [hostile.note(40 + number), hostile.note(60)]
        data = hostile.smf(hostile.track(down, *notes, up))
        (music / f"pedal {number:02d}.mid").write_bytes(data)
    return music


@pytest.mark.parametrize("moment", [8, 20])
def test_a_folder_of_performances_ends_the_same_killed_or_not(performances, tmp_path, moment):
    report = prepare_corpus(performances, tmp_path / "whole")
    assert report["pedal"].value_counts().to_dict() == {"held": 15, "": 15}
    assert kill_at(performances, tmp_path / "killed", moment)
    prepare_in_processes(performances, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_many_files_take_processes_and_few_do_not(music, tmp_path, monkeypatch):
    asked = []

    def run(target, jobs, *, workers, seconds, memory):
        asked.append((len(jobs), workers, seconds, memory))
        return iter(())

    monkeypatch.setattr(prepare, "run_jobs", run)
    monkeypatch.setattr(prepare, "cores", lambda: 7)
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
        patch.setattr(prepare, "PREPARE", "stubborn:prepare")
        patch.setattr(prepare, "MAX_SECONDS", 2)
        patch.setattr(prepare, "MAX_MEMORY", 500_000_000)
        report = prepare_in_processes(folder, tmp_path / "p", progress=lambda *n: seen.append(n))
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
from musiclib import prepare
prepare.PREPARE = "stubborn:prepare_slowly"
prepare._FEW_FILES = -1
prepare.cores = lambda: 2
prepare.prepare_corpus(sys.argv[1], sys.argv[2], progress=lambda *n: print(*n, flush=True))
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
    report = prepare_in_processes(music, tmp_path / "killed")
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
from musiclib import prepare
prepare._FEW_FILES = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
prepare.prepare_corpus(sys.argv[1], sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
@pytest.mark.parametrize(
    ("few", "size"), [(-1, 1500), pytest.param(99, 100, marks=pytest.mark.long)]
)
def test_a_disk_that_takes_no_more_leaves_the_earlier_results_whole(music, tmp_path, few, size):
    prepare_corpus(music, tmp_path / "p")
    before = {piece.name: piece.roll.tobytes() for piece in load_corpus(tmp_path / "p")}
    report = (tmp_path / "p" / "report.csv").read_bytes()
    fill(music, "new.mid", "01.mid", "02.mid")
    os.replace(music / "04.mid", music / "renamed.mid")
    arguments = [str(music), str(tmp_path / "p"), str(few), str(size)]
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


def test_a_piece_that_was_exchanged_is_not_opened(music, tmp_path):
    report = prepare_corpus(music, tmp_path / "p").set_index("file")
    one, other = report.loc[["00.mid", "01.mid"], "piece_sha256"]
    shutil.copy(tmp_path / "p" / f"{one}.npz", tmp_path / "p" / f"{other}.npz")
    with pytest.raises(ValueError, match=f"{other}.npz is not a prepared piece .its SHA-256"):
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
    report = prepare_corpus(music, tmp_path / "p")
    assert len(report) == count
    assert (report["reason"] != "").sum() >= (report["status"] == "refused").sum() > 500
    assert not report["reason"].str.contains("process that read it|cannot prepare|longer").any()
    again = prepare_corpus(music, tmp_path / "p")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), report.drop(columns="seconds"))
    assert (again["seconds"] == 0).all()


BOUNDED = """
import json, sys, time
from musiclib.prepare import prepare_corpus
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
    assert 200_000 < len(data) <= prepare._FEW_BYTES
    (tmp_path / "music" / "x.mid").write_bytes(data)
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "music"), str(tmp_path / "p")]
    done = subprocess.run(command, capture_output=True, text=True, env=HERE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == "converted"
    assert found["steps"] > 490_000
    assert found["s"] < 5
    assert found["gb"] < 0.8


def work(*whats, workers=1, seconds=60.0, **more):
    jobs = [{"what": what} for what in whats]
    found = run_jobs("stubborn:work", jobs, workers=workers, seconds=seconds, **more)
    return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]


def test_a_library_that_prints_when_imported_does_not_spoil_the_answers(monkeypatch):
    monkeypatch.setenv("CI", "1")  # pyfluidsynth says then where it found FluidSynth
    assert work("a")[0]["what"] == "a"


def test_a_lost_process_costs_its_job_alone():
    answers = work("a", "exit", "kill", "segfault", "garbage", "b", "print", workers=1)
    assert [a.get("what") for a in answers] == ["a", None, None, None, None, "b", "print"]
    reasons = [answer.get(LOST) for answer in answers]
    assert reasons[1] == "the process that read it died (status 3)"
    assert reasons[2] == "the process that read it died (signal 9)"
    assert reasons[3] == f"the process that read it died (signal {int(signal.SIGSEGV)})"
    assert answers[0]["pid"] != answers[5]["pid"] == answers[6]["pid"] != os.getpid()


def test_a_job_that_hangs_is_ended_in_time_even_within_c():
    began = time.monotonic()
    answers = work("a", "spin", "b", workers=1, seconds=0.7)
    assert [a.get(LOST) for a in answers] == [None, "it took longer than 0.7 s", None]
    assert time.monotonic() - began < 60


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_a_job_that_wants_too_much_memory_is_told():
    refused, small = work("memory", "a", memory=400_000_000)
    assert refused == {LOST: "it needs more memory than it may have"}
    assert small["what"] == "a"


def test_no_backend_is_imported_and_answers_come_from_several_processes():
    answers = work(*"abcdefgh", workers=3)
    assert [answer["what"] for answer in answers] == list("abcdefgh")
    assert not any(answer["backend"] for answer in answers)
    assert 1 <= len({answer["pid"] for answer in answers}) <= 3


def test_what_concerns_all_jobs_stops_them_and_ends_the_processes():
    with pytest.raises(OSError, match="the disk is full") as caught:
        work("a", "disk", *["sleep"] * 5, workers=2)
    assert caught.value.errno == 28
    with pytest.raises(WorkerError, match="TypeError: a fault of ours"):
        work("bug")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("job")]


def test_no_job_needs_no_process(monkeypatch):
    monkeypatch.setattr(prepare.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    assert work() == []


def test_impossible_numbers_and_targets_are_named():
    with pytest.raises(ValueError, match="workers: got 0; allowed: 1 or more"):
        work("a", workers=0)
    with pytest.raises(WorkerError, match="cannot start a process of .*ModuleNotFoundError"):
        list(run_jobs("nowhere:work", [{}], workers=1, seconds=9))


def test_breaking_off_ends_the_processes():
    found = run_jobs("stubborn:work", [{"what": w} for w in ("a", "b")], workers=1, seconds=60)
    _, answer = next(found)
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(answer["pid"], 0)


UNGUARDED = """
import sys
from musiclib import prepare
prepare._GRACE_SECONDS = 0.2
for _, answer in prepare.run_jobs(
    "stubborn:work", [{"what": w} for w in sys.argv[1:]], workers=1, seconds=1
):
    print(answer["pid"], file=sys.stderr)
"""


@pytest.mark.long
def test_a_script_without_a_guard_can_use_them_and_its_death_ends_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = [sys.executable, str(script), "a", "sleep"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=HERE)
    worker = int(process.stderr.readline())
    time.sleep(0.2)  # let the next job reach it
    process.kill()
    process.communicate()
    for _ in range(600):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").exists():  # it may wait for a parent that never asks
            state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                return
        time.sleep(0.05)
    pytest.fail("the process outlived its parent")
