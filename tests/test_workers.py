"""musiclib.workers: jobs in other processes, which may hang and die at the cost of one job each."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from musiclib import workers as rooms
from musiclib.workers import LOST, WorkerError, run_jobs

TESTS = Path(__file__).parent
ROOT = TESTS.parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def work(*whats, workers=1, seconds=60.0, **more):
    jobs = [{"what": what} for what in whats]
    found = run_jobs("stubborn:work", jobs, workers=workers, seconds=seconds, **more)
    return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]


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
    monkeypatch.setattr(rooms.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    assert work() == []


def test_impossible_numbers_and_targets_are_named():
    with pytest.raises(ValueError, match="workers: got 0, allowed is 1 or more"):
        work("a", workers=0)
    with pytest.raises(WorkerError, match="cannot start a process of .*ModuleNotFoundError"):
        list(run_jobs("nowhere:work", [{}], workers=1, seconds=9))


def test_breaking_off_ends_the_processes():
    found = run_jobs("stubborn:work", [{"what": w} for w in ("a", "b")], workers=1, seconds=60)
    _, answer = next(found)
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(answer["pid"], 0)


SCRIPT = """
import sys
from musiclib import workers
workers._GRACE_SECONDS = 0.2
for _, answer in workers.run_jobs(
    "stubborn:work", [{"what": w} for w in sys.argv[1:]], workers=1, seconds=1
):
    print(answer["pid"], flush=True)
"""


@pytest.mark.long
def test_a_script_without_a_guard_can_use_them_and_its_death_ends_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])}
    command = [sys.executable, str(script), "a", "sleep"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    worker = int(process.stdout.readline())
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
