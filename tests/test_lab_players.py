"""The players of a fresh clone in JupyterLab: none is trusted, and each must play all the same."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest
from browser import TOKEN, chromium, find_browser, jupyterlab, wait_for
from nbformat.sign import NotebookNotary

from study import runner

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0*.ipynb"))

SCROLLER = "document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer')"

ATTACHED = """
(cells => ({
  cells: cells.map(cell => cell.dataset.windowedListIndex),
  players: cells.flatMap(cell => [...cell.querySelectorAll('audio')].map((audio, place) => ({
    key: cell.dataset.windowedListIndex + '/' + place,
    duration: Number.isFinite(audio.duration) ? audio.duration : 0,
    dead: audio.error !== null || audio.networkState === audio.NETWORK_NO_SOURCE
          || !(audio.src || audio.querySelector('source[src]')),
  }))),
}))([...document.querySelectorAll('.jp-NotebookPanel [data-windowed-list-index]')])
"""
"""The cells in the page now, and their players: where, how long, and whether broken."""

PLAY = """
(async () => {
  const audio = document.querySelector('.jp-NotebookPanel audio');
  const before = audio.currentTime;
  await audio.play();
  for (let i = 0; i < 100 && audio.currentTime <= before; i++)
    await new Promise(done => setTimeout(done, 100));
  const after = audio.currentTime;
  audio.pause();
  return after - before;
})()
"""


def cells_and_players(path: Path) -> tuple[int, int]:
    """Return how many cells a notebook has, and how many players its outputs hold."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    pages = [out.get("data", {}).get("text/html", "") for out in outputs]
    return len(cells), sum(page.count("<audio") for page in pages)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Copy what git knows of the notebooks' folder, as it stands, to a place of its own."""
    folder = tmp_path_factory.mktemp("clone")
    listing = ["git", "ls-files", "-z", "notebooks"]
    tracked = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def lab(clone, tmp_path_factory):
    with jupyterlab(clone, tmp_path_factory.mktemp("jupyter") / "lab") as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome is on the path; Debian: sudo apt-get install chromium")
    with chromium(path, tmp_path_factory.mktemp("chromium") / "profile") as open_page:
        yield open_page


def is_trusted(lab: str, name: str) -> bool:
    """Tell whether the server trusts any cell that has outputs."""
    address = f"{lab}api/contents/notebooks/{name}?content=1&token={TOKEN}"
    with urllib.request.urlopen(address, timeout=120) as reply:
        cells = json.load(reply)["content"]["cells"]
    return any(cell["metadata"].get("trusted") for cell in cells if cell.get("outputs"))


def all_players(page, *, cells: int, expected: int) -> dict[str, float]:
    """Scroll through a notebook from top to bottom; return the seconds of each player met.

    JupyterLab adds cells to the page bit by bit, and may take them out again when they are far from
    the screen, so each is looked at when it is there.
    """
    found: dict[str, float] = {}
    met: set[str] = set()

    def look():
        now = page.evaluate(ATTACHED)
        broken = [one["key"] for one in now["players"] if one["dead"]]
        assert not broken, f"dead players, cell/place: {broken}"
        found.update((one["key"], one["duration"]) for one in now["players"])
        met.update(now["cells"])
        return len(met) == cells and len(found) >= expected and all(found.values())

    def scroll():
        page.evaluate(f"{SCROLLER}.scrollBy(0, {SCROLLER}.clientHeight / 2)")
        return look()

    wait_for(scroll, f"{expected} players with a duration")
    page.evaluate(f"{SCROLLER}.scrollTo(0, {SCROLLER}.scrollHeight)")
    look()
    return found


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_player_of_a_fresh_clone_has_a_duration_and_one_plays(path, browser, lab):
    assert not is_trusted(lab, path.name)
    page = browser(f"{lab}lab/workspaces/{path.stem}/tree/notebooks/{path.name}?token={TOKEN}")
    try:
        wait_for(lambda: page.evaluate(f"{SCROLLER} !== null"), path.name)
        cells, expected = cells_and_players(path)
        found = all_players(page, cells=cells, expected=expected)
        assert len(found) == expected > 0
        assert all(math.isfinite(seconds) and seconds > 1 for seconds in found.values()), found
        up = f"{SCROLLER}.scrollBy(0, -{SCROLLER}.clientHeight / 2)"
        here = "document.querySelector('.jp-NotebookPanel audio') !== null"
        wait_for(lambda: page.evaluate(here) or page.evaluate(up), "a player above")
        assert page.evaluate(PLAY) > 0
    finally:
        page.close()


def test_make_lab_trusts_the_notebooks_before_it_opens_them(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    command = [
        sys.executable,
        "-m",
        "study.runner",
        "lab",
        "--version",
    ]  # of JupyterLab, which then ends
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notary = NotebookNotary(data_dir=str(tmp_path))
    read = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    assert [notary.check_signature(notebook) for notebook in read] == [True] * 6


def test_a_notebook_that_cannot_be_trusted_does_not_keep_jupyterlab_closed(
    tmp_path, monkeypatch, capfd
):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "half.ipynb").write_text("{")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["runner.py", "lab", "--version"])
    assert runner.lab() == 0
    said = capfd.readouterr()
    assert "Not every notebook is trusted" in said.err
    assert said.out.strip()[0].isdigit()  # JupyterLab's version
