"""A study of a user's own folder: its trained models are loaded by the notebooks, and continue."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pretty_midi
import pytest

from musiclib.midi import load_midi, save_midi
from study.run import Paths
from study.runner import ROOT, Notebook, NotebookError, Run, read_notebook

MODELS = {"02_lstm": "lstm", "03_gan": "gan", "04_vae": "vae"}
KEYS = "research/lstm_of_keys"  # the songs have no voices, so it trains their refined LSTM

pytestmark = pytest.mark.long


def piano(rng: np.random.Generator, *, bars: int = 12) -> pretty_midi.PrettyMIDI:
    """Make a piece of chords and a melody on one track: it has no voices."""
    midi, track = pretty_midi.PrettyMIDI(initial_tempo=100), pretty_midi.Instrument(0)
    scale, beat = np.array([60, 62, 64, 65, 67, 69, 71, 72]), 0.6
    for bar in range(bars):
        root = int(rng.choice([48, 53, 55, 57]))
        chord = [(p, 4 * bar, 4 * bar + 2) for p in (root, root + 4, root + 7)]
        tune = [(int(rng.choice(scale)), 4 * bar + i / 2, 4 * bar + i / 2 + 0.5) for i in range(8)]
        notes = {(p, a): b for p, a, b in [*chord, *tune]}
        track.notes += [pretty_midi.Note(80, p, a * beat, b * beat) for (p, a), b in notes.items()]
    midi.instruments = [track]
    return midi


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Run the first four notebooks on a folder of songs; give what the folder stands in."""
    folder = tmp_path_factory.mktemp("own")
    for i in range(30):
        save_midi(piano(np.random.default_rng(i)), folder / "songs" / f"{i:02d}.mid")
    save_midi(piano(np.random.default_rng(99)), folder / "my_song.mid")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "research").mkdir()
    for name in ("01_data_preparation", *MODELS, KEYS):
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder / "notebooks" / f"{name}.ipynb")
    command = [sys.executable, "-m", "study.runner", "--preset", "smoke", "--corpus"]
    command += [str(folder / "songs"), "--output", str(folder / "run")]
    command += ["--notebooks", str(folder / "notebooks")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    return folder


def without_training(name: str, folder, *, line: str = "", **changed) -> Run:
    """Run a notebook that trains nothing, with one line more at its end."""
    path = ROOT / "notebooks" / f"{name}.ipynb"
    node = read_notebook(path)
    if line:
        node.cells.append(nbformat.v4.new_code_cell(line))
    given = {"preset": "classroom", "corpus": str(folder / "songs"), "n_samples": 4}
    given |= {"output": str(folder / "run")} | changed
    run = Run(Notebook(path.stem, path, node, [], [], [], given, given))
    asyncio.run(run.execute(threads=1))
    return run


def digests(folder) -> dict[str, str]:
    paths = Paths(folder / "run")
    files = [p for f in (paths.weights, paths.generated, paths.results) for p in f.rglob("*")]
    files = [p for p in files if p.is_file() and not p.name.startswith(".")]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_what_a_study_trained_continues_a_file_and_stays_as_it_was(study):
    before = digests(study)
    trained = ["lstm_keys", "gan", "vae", *(f"plain_{m}" for m in MODELS.values())]
    assert {f"run/data/weights/{m}.weights.h5" for m in trained} <= {*before}
    run = without_training(KEYS, study, line=f"continue_file({str(study / 'my_song.mid')!r})")
    written = Paths(study / "run").generated / "continued" / "my_song.mid"
    assert "my_song.mid" in run.node.cells[-1].outputs[-1]["data"]["text/plain"]
    assert load_midi(written).get_end_time() > 15  # of 19.2 s
    written.unlink()
    assert digests(study) == before


@pytest.mark.parametrize("name", MODELS)
def test_the_other_models_are_loaded_too(study, name):
    before = digests(study)
    without_training(name, study)
    assert digests(study) == before


@pytest.mark.parametrize("name", [*MODELS, KEYS])
def test_without_weights_one_sentence_says_what_trains_them(study, name):
    said = r'there are no weights of songs, seed 5; train them with: make study CORPUS=".*" SEED=5'
    with pytest.raises(NotebookError, match=said):
        without_training(name, study, seed=5)
