"""Folders as people have them: each goes through notebook 01, and some through the whole study.

`pytest -m folders` takes every kind through the whole study, `pytest -m long` two of them.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import folders
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from musiclib.prepare import load_corpus
from study.run import Paths
from study.runner import ROOT, code_cells, parameters_cell, read_notebook
from study.splits import SPLITS

FIRST = "01_data_preparation"
LOSSES = {
    "lstm": ["train", "valid"],
    "gan": ["d_loss", "g_loss"],
    "vae": ["train_loss", "valid_loss"],
}
BOTH_TIMES = ("ten_pieces", "performances")  # through the whole study with the long tests


def run_first_notebook(folder, output):
    """Run notebook 01 with the smoke preset in this process; give its names and what it prints."""
    node, names, said = read_notebook(ROOT / "notebooks" / f"{FIRST}.ipynb"), {}, io.StringIO()
    given = {"preset": "smoke", "corpus": str(folder), "output": str(output)}
    parameters = parameters_cell(node, name=FIRST)
    quiet = {"figure.max_open_warning": 0}
    options = pd.option_context("display.max_colwidth", None)  # so that it is as before afterwards
    with contextlib.redirect_stdout(said), plt.rc_context(quiet), options:
        try:
            for cell in code_cells(node):
                exec(compile(cell.source, cell.id, "exec"), names)
                names |= given if cell is parameters else {}
        finally:
            plt.close("all")
    return names, said.getvalue()


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """Give a function that runs notebook 01 on a folder of a kind, once."""
    done = {}

    def run(kind):
        if kind not in done:
            place = tmp_path_factory.mktemp(kind)
            folders.KINDS[kind](place / kind)
            done[kind] = *run_first_notebook(place / kind, place / "output"), place
        return done[kind]

    return run


every_kind = pytest.mark.parametrize("kind", folders.KINDS)
quiet = pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")


@every_kind
@quiet
def test_each_kind_of_folder_is_prepared_and_dealt(studied, kind):
    names, said, place = studied(kind)
    sides = names["sides"]
    assert set(sides.index) == set(SPLITS)
    assert (sides["long_enough"] >= 2).all()
    assert np.isfinite(sides["density"]).all()
    pieces = load_corpus(place / "output" / "data" / "prepared" / kind)
    assert 10 <= len(pieces) == sides["pieces"].sum()
    assert all(piece.roll[: piece.bar].any() for piece in pieces), "a piece begins with a rest"
    assert "MIDI files found" in said
    assert "segments of" in said


@quiet
def test_two_pianists_of_one_work_stand_on_one_side(studied):
    names, said, _ = studied("performances")
    split = names["split"]
    work = split["piece"].str[-1]
    assert (split.groupby(work)["group"].nunique() == 1).all()
    assert split["group"].nunique() == 7
    assert "by tunes, as here: unknown for 14 of 14 pieces" in said
    assert "lengthens notes in 14 of 14 pieces; notes are held" in said
    assert "all are rendered at 80" in said


@quiet
def test_a_song_in_half_and_double_note_values_stands_on_one_side(studied):
    split = studied("other_note_values")[0]["split"]
    song = split["piece"].str[:6]
    assert (split.groupby(song)["group"].nunique() == 1).all()
    assert split["group"].nunique() == 4


@quiet
@pytest.mark.parametrize("kind", ["folk_tunes", "pop_with_drums", "waltzes", "ten_pieces"])
def test_different_songs_of_one_kind_are_different(studied, kind):
    names, said, _ = studied(kind)
    assert names["split"]["group"].nunique() == len(names["pieces"])
    assert "by tunes, as here: 0 %" in said


@quiet
def test_ten_pieces_of_ten_tunes_give_each_side_two(studied):
    sides = studied("ten_pieces")[0]["sides"]
    assert sides["long_enough"].to_dict() == {"train": 6, "valid": 2, "test": 2}


@quiet
def test_a_mac_archive_has_its_twins_skipped(studied):
    names, said, _ = studied("mac_folder")
    report = names["report"]
    macos = report["reason"].str.startswith("written by macOS")
    assert macos.sum() == 12 * 2 + 2
    assert report.loc[~macos, "status"].value_counts().to_dict() == {
        "converted": 12, "skipped": 2, "refused": 1,
    }  # fmt: skip
    assert "14 MIDI files found, 14 read\n" in said


@quiet
def test_a_folder_that_cannot_be_transposed_is_said_to_be(studied):
    names, said, _ = studied("whole_keyboard")
    assert "0 of 12 pieces can be moved to C major or A minor as they are" in said
    codec = names["codec"]
    assert 0 <= codec.lowest <= codec.lowest + codec.n_keys <= 88


@quiet
def test_loops_are_refused_with_their_number_before_any_training(tmp_path):
    folders.loops(tmp_path / "loops")
    with pytest.raises(
        ValueError, match=r"^0 of 12 pieces, of 0 different tunes, have 8 bars"
    ) as caught:
        run_first_notebook(tmp_path / "loops", tmp_path / "output")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "output" / "data" / "splits").exists()


@quiet
def test_a_folder_of_too_many_files_is_read_evenly_and_says_so(tmp_path):
    for number in range(0, 72, 12):
        folders.folk_tunes(tmp_path / "many" / f"book {number}")
    for number, path in enumerate(sorted((tmp_path / "many").rglob("*.mid"))):
        path.write_bytes(path.read_bytes() + bytes(number))  # what follows the tracks is no music
    names, said = run_first_notebook(tmp_path / "many", tmp_path / "output")
    assert "72 MIDI files found, 60 read (max_pieces), spread evenly over the folder" in said
    books = names["report"]["file"].str.split("/").str[0].value_counts()
    assert books.to_dict() == {f"book {number}": 10 for number in range(0, 72, 12)}


# The whole study


def study(kind, place):
    """Take a folder of a kind through all notebooks with the smoke preset; give the output."""
    folders.KINDS[kind](place / kind)
    command = [sys.executable, "-m", "study.runner", "--preset", "smoke"]
    command += ["--corpus", str(place / kind), "--output", str(place / "output")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    return Paths(place / "output")


def check_whole_study(kind, place):
    paths = study(kind, place)
    table = pd.read_csv(paths.results / "paper_table.csv")
    assert table.groupby("model").size().to_dict() == {"gan": 6, "lstm": 6, "vae": 6}
    assert np.isfinite(table[["energy", "mean"]].to_numpy()).all()
    for model, losses in LOSSES.items():
        history = pd.read_csv(paths.results / f"history_{model}_0.csv")
        assert np.isfinite(history[losses]).all(axis=None), model
    distance = pd.read_csv(paths.results / "distance.csv").set_index("model")["distance"]
    assert np.isfinite(distance[["training", "markov", "shuffled", "random"]]).all()
    assert (paths.results / "verdict.csv").is_file()


@pytest.mark.long
@pytest.mark.parametrize("kind", BOTH_TIMES)
def test_two_kinds_of_folder_go_through_the_whole_study(kind, tmp_path):
    check_whole_study(kind, tmp_path)


@pytest.mark.folders
@every_kind
def test_every_kind_of_folder_goes_through_the_whole_study(kind, tmp_path):
    check_whole_study(kind, tmp_path)
