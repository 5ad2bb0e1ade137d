"""Settings of all tests: no window, few log lines, the same examples; and one smoke study."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pretty_midi
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.pop("CI", None)  # where it is set, pyfluidsynth prints when it is imported

from hypothesis import settings

from musiclib.midi import load_midi
from study.runner import ROOT

settings.register_profile("study", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("study")


def listing() -> dict[str, int]:
    """Give the files of the checkout that a study could write, and when they changed."""
    folders = (ROOT / name for name in ("data", "figures", "notebooks", "runs"))
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file): file.stat().st_mtime_ns for file in files}


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory):
    """Run every notebook with the smoke preset, once for all tests; give what came of it."""
    folder, before = tmp_path_factory.mktemp("smoke"), listing()
    study = [sys.executable, "-m", "study.runner", "--preset", "smoke", "--output", folder]
    run = subprocess.run(study, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    assert listing() == before, "a run into another folder changed the checkout"
    return folder


@pytest.fixture
def load(tmp_path):
    """Write bytes to a file and load it, without a warning being allowed."""

    def write_and_load(data: bytes) -> pretty_midi.PrettyMIDI:
        (tmp_path / "x.mid").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return load_midi(tmp_path / "x.mid")

    return write_and_load
