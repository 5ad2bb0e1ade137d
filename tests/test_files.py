"""musiclib.files: whole files or none, and only safe reading."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import Timeout
from hypothesis import given
from hypothesis import strategies as st

from musiclib import files


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_atomic_path_writes_the_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "a" / "b" / "model.weights.h5"
    with files.atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".weights.h5")
        assert not temporary.exists()
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert names_in(target.parent) == ["model.weights.h5"]


def test_atomic_path_gives_ordinary_permissions(tmp_path):
    files.write_text("x", tmp_path / "atomic")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_atomic_path_keeps_the_old_file_when_the_block_fails(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)), files.atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("raised", "kind", "match"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "disk is full; free some"),
        (OSError("h5: file write failed, No space left on device"), OSError, "disk is full"),
        (RuntimeError("sndfile: No space left on device"), OSError, "disk is full"),
        (OSError(errno.EACCES, "Permission denied"), PermissionError, "make the folder writable"),
        (OSError(errno.EROFS, "Read-only file system"), OSError, "disk is read-only"),
    ],
)
def test_atomic_path_says_what_to_do(tmp_path, raised, kind, match):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(kind, match=match) as caught, files.atomic_path(target) as temporary:
        temporary.write_text("new")
        raise raised
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_atomic_path_does_not_blame_the_target_for_another_file(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "other.mid")
    with pytest.raises(PermissionError, match=r"other\.mid") as caught:  # noqa: SIM117
        with files.atomic_path(tmp_path / "a.txt"):
            raise error
    assert caught.value is error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_really_full_device_gives_the_sentence(tmp_path):
    with pytest.raises(OSError, match="the disk is full"):  # noqa: SIM117
        with files.atomic_path(tmp_path / "a.txt"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")


def test_a_folder_or_a_file_in_the_way_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="there is a folder of that name"):
        files.write_text("x", tmp_path)
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "b" / "a.txt"):
        with pytest.raises(OSError, match="part of its path is a file"):
            files.write_text("x", path)
    with pytest.raises(OSError, match="choose a shorter one"):
        files.write_text("x", tmp_path / ("n" * 300))
    assert names_in(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_write_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="make the folder writable"):
            files.write_text("x", tmp_path / "a.txt")
    finally:
        tmp_path.chmod(0o700)


def test_a_symbolic_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    files.write_text("new", tmp_path / "link")
    assert (tmp_path / "outside").read_text() == "precious"
    assert (tmp_path / "link").read_text() == "new"


def test_a_long_unicode_name_still_fits(tmp_path):
    target = tmp_path / ("é" * 120 + ".json")  # 245 bytes; the limit is 255
    files.write_json([1], target)
    assert json.loads(target.read_text()) == [1]


def test_remove_leftovers_takes_only_temporaries(tmp_path):
    context = files.atomic_path(tmp_path / "a.mid")
    context.__enter__().write_text("killed here")
    (tmp_path / "b.mid").write_text("good")
    files.remove_leftovers(tmp_path)
    assert names_in(tmp_path) == ["b.mid"]


@given(text=st.text())
def test_write_text_is_exact(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "exact.txt"
    if any("\ud800" <= c <= "\udfff" for c in text):
        with pytest.raises(UnicodeEncodeError):
            files.write_text(text, path)
    else:
        files.write_text(text, path)
        assert path.read_bytes() == text.encode("utf-8")


def test_write_json_knows_numpy_paths_and_nan(tmp_path):
    path = tmp_path / "a.json"
    obj = {
        "b": np.float64(0.1),
        "a": np.arange(3, dtype=np.int16),
        "nested": [{"p": Path("x")}, (np.bool_(True), None), float("nan"), np.inf],
        np.int64(7): "é",
    }
    files.write_json(obj, path)
    assert list(json.loads(path.read_text())) == ["b", "a", "nested", "7"]
    assert json.loads(path.read_text()) == {
        "b": 0.1,
        "a": [0, 1, 2],
        "nested": [{"p": "x"}, [True, None], None, None],
        "7": "é",
    }
    assert path.read_text(encoding="utf-8").endswith('"7": "é"\n}\n')


def test_write_json_refuses_before_it_touches_the_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        files.write_json({"f": object()}, path)
    assert path.read_text() == "old"


def test_write_csv_round_trip(tmp_path):
    frame = pd.DataFrame({"x": [0.1, 1 / 3], "name": ["a,b", "é"]}, index=[5, 6])
    files.write_csv(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes().startswith(b"x,name\n0.1,")
    back = pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(back, frame.reset_index(drop=True), check_exact=True)


def test_sha256_of_known_content(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    assert files.sha256_of(tmp_path / "abc") == expected
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    assert files.sha256_of(tmp_path / "big") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_only_regular_files_are_opened(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        files.read_regular(tmp_path, limit=10)
    with pytest.raises(FileNotFoundError):
        files.read_regular(tmp_path / "missing", limit=10)
    os.mkfifo(tmp_path / "fifo")
    for reader in (files.sha256_of, lambda path: files.read_regular(path, limit=10)):
        with pytest.raises(ValueError, match=r"fifo: it is a FIFO \(named pipe\), and only"):
            reader(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is a character device"):
        files.read_regular(tmp_path / "zero", limit=10)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_read_regular_keeps_to_its_limit(tmp_path):
    (tmp_path / "ten").write_bytes(b"0123456789")
    assert files.read_regular(tmp_path / "ten", limit=10) == b"0123456789"
    with pytest.raises(ValueError, match="it holds 10 bytes, and at most 9 are read"):
        files.read_regular(tmp_path / "ten", limit=9)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10**12)
    with pytest.raises(ValueError, match="it holds 1,000,000,000,000 bytes"):
        files.read_regular(tmp_path / "sparse", limit=1_000_000)


def test_inside_stays_inside(tmp_path):
    assert files.safe_join(tmp_path, "a", "b.mid") == tmp_path.resolve() / "a" / "b.mid"
    assert files.safe_join(tmp_path, "a", "..", "b") == tmp_path.resolve() / "b"
    assert files.safe_join(tmp_path) == tmp_path.resolve()
    (tmp_path / "out").symlink_to("/")
    for parts in [("..",), ("a", "../../b"), ("/etc/passwd",), ("out", "etc"), ("a/../..",)]:
        with pytest.raises(ValueError, match="lead out of the folder"):
            files.safe_join(tmp_path, *parts)
    with pytest.raises(ValueError, match="null character"):
        files.safe_join(tmp_path, "a\0b")


def test_inside_is_not_fooled_by_a_sibling_with_the_same_beginning(tmp_path):
    with pytest.raises(ValueError, match="lead out"):
        files.safe_join(tmp_path / "data", "..", "database")


# Locks


def test_a_lock_is_refused_while_it_is_held_and_free_afterwards(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with files.locked(path):
        assert os.listdir(path.parent) == [".table.csv.lock"]
        with pytest.raises(Timeout):
            files.locked(path, wait=False)
    with files.locked(path, wait=False):
        pass


def test_threads_take_turns(tmp_path):
    seen = []

    def work():
        with files.locked(tmp_path / "table.csv"):
            seen.append("in")
            time.sleep(0.01)
            seen.append("out")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["in", "out"] * 4


def test_a_killed_process_holds_no_lock_nor_does_what_it_had_started(tmp_path):
    code = (
        "import subprocess, sys, time\nfrom musiclib.files import locked\n"
        "with locked(sys.argv[1]):\n"
        "    child = subprocess.Popen(['sleep', '60'], stderr=subprocess.DEVNULL)\n"
        "    print(child.pid, file=sys.stderr)\n    time.sleep(60)"
    )
    path = tmp_path / "table.csv"
    holder = subprocess.Popen([sys.executable, "-c", code, path], stderr=subprocess.PIPE, text=True)
    child = int(holder.stderr.readline())
    try:
        with pytest.raises(Timeout):
            files.locked(path, wait=False)
        holder.kill()
        holder.communicate()
        with files.locked(path, wait=False):
            os.kill(child, 0)
    finally:
        os.kill(child, 9)


def test_a_lock_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="cannot write .*a part of its path is a file, not a folder"):
        files.locked(tmp_path / "file" / "table.csv")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_lock_in_a_folder_that_may_not_be_written_to_says_what_to_do(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    with pytest.raises(PermissionError, match="cannot write .*permission denied; make the folder"):
        files.locked(tmp_path / "closed" / "table.csv")


# Tables

KEYS = ("model", "sample")


def test_rows_are_added_replaced_and_sorted(tmp_path):
    path = tmp_path / "results" / "samples.csv"
    files.upsert_csv([{"model": "vae", "sample": 10, "x": 0.1}], path, keys=KEYS)
    files.upsert_csv(
        [{"model": "vae", "sample": 9, "x": None}, {"model": "gan", "sample": 0, "y": 1}],
        path,
        keys=KEYS,
    )
    files.upsert_csv(
        pd.DataFrame({"model": ["vae"], "sample": [10], "x": [2 / 3]}), path, keys=KEYS
    )
    assert path.read_text() == ("model,sample,x,y\ngan,0,,1\nvae,9,,\nvae,10,0.6666666666666666,\n")


def test_a_new_row_is_appended_and_one_that_stands_there_is_not(tmp_path):
    path = tmp_path / "looks.csv"
    first, second = {"pieces": "b", "holds": "no"}, {"pieces": "a", "holds": "yes"}
    for row in (first, second, first, second):
        files.append_csv([row], path)
    assert path.read_text() == "pieces,holds\nb,no\na,yes\n"
    with pytest.raises(ValueError, match="got the columns pieces, holds; wanted pieces"):
        files.append_csv([{"pieces": "c"}], path)


def test_columns_to_ignore_tell_no_rows_apart_and_old_rows_stay(tmp_path):
    path = tmp_path / "looks.csv"
    path.write_text("pieces,seconds\na,1.50\na,1.50\n")
    rows = pd.DataFrame({"pieces": ["a", "b", "b"], "seconds": [9, 2, 3]})
    files.append_csv(rows, path, ignore=["seconds"])
    assert path.read_text() == "pieces,seconds\na,1.50\na,1.50\nb,2\n"


def test_rows_that_stay_are_kept_letter_by_letter(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('model,sample,x\n"a, b",007,1.50\n')
    files.upsert_csv([{"model": "c", "sample": 1, "x": 2}], path, keys=KEYS)
    assert path.read_text() == 'model,sample,x\n"a, b",007,1.50\nc,1,2\n'


def test_the_order_of_writers_does_not_matter(tmp_path):
    rows = [{"model": m, "sample": s, "x": s / 3} for m in "ab" for s in (0, 2, 10)]
    for name, order in (("one", rows), ("two", rows[::-1])):
        for row in order:
            files.upsert_csv([row], tmp_path / name, keys=KEYS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("rows", "keys", "match"),
    [
        ([{"model": "a"}], KEYS, "rows: key 'sample' is missing"),
        ([{"model": "a", "sample": None}], KEYS, "rows: key 'sample' is missing"),
        ([{"model": "a"}], (), "keys: got none"),
        ([{"model": "a"}, {"model": "a"}], ("model",), "rows: two rows have the same keys"),
    ],
)
def test_rows_without_their_keys_are_refused(tmp_path, rows, keys, match):
    with pytest.raises(ValueError, match=match):
        files.upsert_csv(rows, tmp_path / "t.csv", keys=keys)
    assert not (tmp_path / "t.csv").exists()


def test_two_writers_at_once_lose_no_row(tmp_path):
    path = tmp_path / "t.csv"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: files.upsert_csv([{"n": n}], path, keys=("n",)), range(20)))
    assert pd.read_csv(path)["n"].tolist() == list(range(20))
