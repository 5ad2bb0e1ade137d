"""What the Makefile hands on, as it was given."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import pytest

from study.runner import ROOT

ODD = "~/a$b $(c) 'd' \"e\" #f\\g"


def handed_on(goal, *given, **environment):
    """Give the words of the command that make would run, without running it."""
    command = ["make", "--no-print-directory", "-n", goal, *given]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    lines = run.stdout.replace("\\\n", " ").splitlines()
    return shlex.split(next(line for line in lines if "-m study." in line))


pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.mark.parametrize("name", ["CORPUS", "OUTPUT"])
def test_a_folders_name_arrives_whatever_its_signs(name):
    option = f"--{name.lower()}"
    for words in (handed_on("study", f"{name}={ODD}"), handed_on("study", **{name: ODD})):
        assert words[words.index(option) + 1] == ODD


def test_options_that_are_not_given_are_not_handed_on():
    words = handed_on("study")
    assert words[words.index("-m") :] == [
        "-m", "study.runner", "--preset", "standard", "--seed", "0", "--corpus", "chorales",
    ]  # fmt: skip
    more = handed_on("study", "ONLY=02_lstm 03_gan", "SEEDS=1", "FORCE=1", "PEDAL=0")
    assert more[0] == "MUSICLIB_PEDAL=0"
    assert more[-6:] == ["--only", "02_lstm", "03_gan", "--seeds", "1", "--force"]


def test_a_release_needs_a_run():
    assert handed_on("release", "RUN=runs/a runs/b")[-2:] == ["runs/a", "runs/b"]
    run = subprocess.run(
        ["make", "release", "PYTHON=true"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "Say which run" in run.stderr
