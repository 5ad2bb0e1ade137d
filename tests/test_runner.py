"""The runner on notebooks of its own: what is run, what is not, how it ends, and their form."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest

from musiclib.code_hash import code_hash
from musiclib.files import locked
from study import runner
from study.run import preset
from study.runner import ROOT, FormError, Watch, clock

SMOKE = preset("smoke")
PARAMETERS = 'preset = "full"\nseed = 0\ncorpus = "chorales"\nn_samples = None\noutput = ".."'

# Each notebook notes that it ran, reads what came before and writes one file.
FIRST = """\
import os
from pathlib import Path
from study.run import Paths, Progress
paths = Paths(output)
with open("ran.txt", "a") as file:
    file.write("01 ")
for _ in Progress(3, "steps"):
    pass
paths.results.mkdir(parents=True, exist_ok=True)
threads = os.environ["TF_NUM_INTRAOP_THREADS"]
_ = Path(paths.data, "a.txt").write_text(f"{preset} {seed} {n_samples} {threads}")"""
SECOND = """\
from pathlib import Path
with open("ran.txt", "a") as file:
    file.write("02 ")
text = Path(output, "data", "a.txt").read_text()
Path(output, "data", f"b{seed}.txt").write_text(text)
table = "model,energy,paper_energy\\nVAE,123.456789,46085\\n"
Path(output, "data", "results", "paper_table.csv").write_text(table)"""

SLEEP = """\
import os, time
from pathlib import Path
Path("pid.txt").write_text(str(os.getpid()))
while not Path("awake.txt").exists():
    time.sleep(0.1)"""


def write(folder, name, *sources, depends=(), writes=(), trains=False):
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# A title"), v4.new_code_cell(PARAMETERS)]
    cells[1].metadata.tags = ["parameters"]
    cells += [v4.new_code_cell(source) for source in sources]
    study = {"depends": list(depends), "writes": [] if trains else list(writes)}
    study |= {"trains": list(writes)} if trains else {}
    nbformat.write(
        v4.new_notebook(cells=cells, metadata={"study": study}), folder / f"{name}.ipynb"
    )


@pytest.fixture
def folder(tmp_path):
    """A checkout of two notebooks."""
    (tmp_path / "notebooks").mkdir()
    write(tmp_path / "notebooks", "01_a", FIRST, writes=["data/a.txt"])
    write(tmp_path / "notebooks", "02_b", SECOND, depends=["01_a"], writes=["data/b{seed}.txt"])
    return tmp_path


def arguments(folder, *more):
    where = ["--notebooks", str(folder / "notebooks"), "--output", str(folder)]
    return [*where, "--preset", "smoke", "--jobs", "2", *more]


def study(folder, *more):
    return runner.main(arguments(folder, *more))


def ran(folder):
    """Give the notebooks that ran since the last call."""
    path = folder / "notebooks" / "ran.txt"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def change(folder, name, old, new):
    path = folder / "notebooks" / f"{name}.ipynb"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_study_from_first_run_to_changed_notebook(folder, capsys, monkeypatch):
    alone = functools.partial(code_hash, packages=())  # whatever happens to the library meanwhile
    monkeypatch.setattr(runner, "code_hash", lambda cells, **_: alone(cells=cells))
    assert study(folder, "--seed", "3", "--samples", "5", "--threads", "2") == 0
    assert ran(folder) == ["01", "02"]
    assert (folder / "data" / "b3.txt").read_text() == "smoke 3 5 2"
    out, err = capsys.readouterr()
    assert "[1/2] 01_a  starts, 2 cells  0:00 elapsed, about " in out
    assert "VAE    123.46         46085" in out
    assert f"rendered notebooks:     2 in {folder / 'rendered'}" in out
    assert err == ""
    page = (folder / "rendered" / "01_a.html").read_text()
    node = nbformat.read(folder / "rendered" / "01_a.ipynb", as_version=4)
    assert "A title" in page
    assert [out["data"] for out in node.cells[2].outputs] == [{"text/plain": "steps: 3 of 3"}]

    same = ("--seed", "3", "--samples", "5", "--threads", "2")
    change(folder, "01_a", "A title", "A better title")
    assert study(folder, *same) == 0
    assert ran(folder) == []
    assert "[2/2] 02_b  unchanged, not run again" in capsys.readouterr().out
    assert "A better title" in (folder / "rendered" / "01_a.html").read_text()

    change(folder, "01_a", "import os\\n", "import os  # a comment\\n")
    assert study(folder, *same) == 0
    assert ran(folder) == []
    assert "a comment" in (folder / "rendered" / "01_a.html").read_text()

    (folder / "data" / "b3.txt").unlink()
    assert study(folder, *same) == 0
    assert ran(folder) == ["02"]

    change(folder, "01_a", "steps", "strides")
    assert study(folder, *same) == 0
    assert ran(folder) == ["01", "02"]
    state = json.loads((folder / "rendered" / "state.json").read_text())
    assert set(state["notebooks"]) == {"01_a", "02_b"}


def test_a_notebook_that_trains_is_run_for_each_seed_of_the_preset(folder, capsys):
    declared = {"depends": ["01_a"], "writes": ["data/b{seed}.txt"]}
    write(folder / "notebooks", "02_b", SECOND, **declared, trains=True)
    last = "with open('ran.txt', 'a') as file:\n    file.write('03 ')"
    write(folder / "notebooks", "03_c", last, depends=["02_b"])
    n = preset("full").trainings
    assert study(folder, "--preset", "full", "--seed", "2") == 0
    assert ran(folder) == ["01", *["02"] * n, "03"]
    assert {path.name for path in (folder / "data").glob("b*")} == {
        f"b{seed}.txt" for seed in range(2, 2 + n)
    }
    out = capsys.readouterr().out
    assert f"[{n + 1}/{n + 2}] 02_b_seed_{n + 1}  starts" in out
    (folder / "data" / "b4.txt").unlink()
    assert study(folder, "--preset", "full", "--seed", "2") == 0
    assert ran(folder) == ["02"]
    assert preset("classroom").trainings == 0


def test_a_failing_notebook_says_one_line_and_is_run_again(folder, capsys):
    write(folder / "notebooks", "03_c", "1 / 1", writes=["data/never.txt"])
    write(folder / "notebooks", "04_d", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    change(folder, "01_a", "import os\\n", "raise ValueError('corpus: too few pieces\\\\nmore')\\n")
    assert study(folder) == 1
    out, err = capsys.readouterr()
    log = folder / "rendered" / "01_a.log"
    assert (
        f"01_a  stopped in cell 2 of 2: ValueError: corpus: too few pieces (in full: {log})" in out
    )
    assert "[2/4] 02_b  not run, as it needs 01_a" in out
    assert "03_c  ended without writing data/never.txt (in full: " in out
    assert "04_d  stopped in cell 3 of 3: the kernel died, perhaps for lack of memory" in out
    assert "Traceback" not in out + err
    assert "Traceback" in log.read_text()
    assert (folder / "rendered" / "01_a.failed.ipynb").exists()
    assert not (folder / "rendered" / "01_a.ipynb").exists()

    for name in ("03_c", "04_d"):
        (folder / "notebooks" / f"{name}.ipynb").unlink()
    change(folder, "01_a", "raise ValueError('corpus: too few pieces\\\\nmore')\\n", "import os\\n")
    assert study(folder) == 0
    assert ran(folder) == ["01", "02"]
    assert not log.exists()
    assert not (folder / "rendered" / "01_a.failed.ipynb").exists()


def hear_interrupts():
    """Undo what a shell does to background jobs: a test run as one would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(folder):
    """Start a study whose second notebook sleeps, and wait until it does."""
    write(folder / "notebooks", "02_b", SLEEP, SECOND, depends=["01_a"], writes=["data/b0.txt"])
    command = [sys.executable, "-m", "study.runner", *arguments(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts
    )
    pid = folder / "notebooks" / "pid.txt"
    while process.poll() is None and not (pid.exists() and pid.read_text()):
        time.sleep(0.05)
    return process, int(pid.read_text())


def is_gone(pid, *, within):
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)]
)
def test_an_interrupted_study_goes_on_where_it_stopped(folder, capsys, how):
    process, kernel = start(folder)
    assert study(folder) == runner.REFUSED  # one study at a time
    assert f"study: another study is running in {folder}; wait" in capsys.readouterr().err
    process.send_signal(how)
    out, _ = process.communicate(timeout=300)
    assert is_gone(kernel, within=300)
    if how == signal.SIGINT:
        assert process.returncode == runner.INTERRUPTED
        assert "Interrupted. The same command resumes" in out
        assert "Traceback" not in out
    assert ran(folder) == ["01"]
    (folder / "notebooks" / "awake.txt").touch()
    assert study(folder) == 0
    assert ran(folder) == ["02"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--preset", "fast"], "study: preset: got 'fast'; allowed: smoke, standard"),
        (["--corpus", "nowhere"], "study: corpus: got 'nowhere'; allowed: chorales"),
        (["--corpus", ""], "study: corpus: got ''; allowed: chorales"),
        (["--corpus", str(ROOT / "study")], "holds no MIDI file"),
        (["--notebooks", "nowhere"], "holds no notebook named 0*.ipynb"),
        (["--seed", "-1"], "study: error: argument --seed: got -1; allowed: 0 or more"),
        (["--seed", str(2**32)], "study: seed: got 4294967296; allowed: up to 429496729"),
        (["--jobs", "two"], "study: error: argument --jobs: invalid"),
        (["--output", str(ROOT / "Makefile")], "Makefile"),
        (["--output", str(ROOT)], "holds the released files, which no run changes"),
        (["--samples", "2"], "study: error: argument --samples: got 2; allowed: 3 or more"),
        (["--only", "07_x"], "study: only: got 07_x, the notebooks are 01_a, 02_b"),
        (
            ["--preset", "classroom", "--corpus", str(ROOT / "notebooks")],
            "the classroom preset reads the released models, which are of chorales",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_before_any_kernel(folder, capsys, more, sentence):
    try:
        status = study(folder, *more)
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    assert status == runner.REFUSED
    assert sentence in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (folder / "rendered").exists()


def test_a_second_study_in_the_folder_is_refused(folder, capsys):
    with locked(folder / "rendered" / "run.json"):
        assert study(folder) == runner.REFUSED
    assert "another study is running" in capsys.readouterr().err
    assert ran(folder) == []


# Keys


@functools.cache
def run_environment():
    return runner.run_environment(SMOKE, threads=1, corpus=None)


def keys(folder, given=(), **more):
    given = {"preset": "smoke", "output": "x"} | dict(given)
    notebooks = runner.read_notebooks(folder / "notebooks", given)
    environment = run_environment() | more
    runner.set_keys(notebooks, environment=environment, output=folder)
    return [nb.key for nb in notebooks]


def test_what_decides_a_result_changes_its_key_and_those_that_depend_on_it(folder):
    first, second = keys(folder)
    assert keys(folder, {"output": "elsewhere", "preset": "smoke"}) == [first, second]
    for changed in ({"seed": 1}, {"preset": "full"}, {"n_samples": 2}, {"corpus": "x"}):
        assert not {first, second} & set(keys(folder, changed))
    for changed in ({"budget": "x"}, {"versions": {}}, {"backend": "jax"}, {"threads": 2}):
        assert not {first, second} & set(keys(folder, **changed))
    change(folder, "02_b", "VAE,123", "VAE,124")
    assert keys(folder)[0] == first
    assert keys(folder)[1] != second
    change(folder, "01_a", "import os", "import os, sys")
    assert keys(folder)[0] != first


def test_what_people_add_for_a_notebook_changes_its_key(folder):
    change(folder, "02_b", '"writes"', '"reads": ["answers/*.csv"], "writes"')
    first, second = keys(folder)
    answers = folder / "answers"
    answers.mkdir()
    (answers / "heron.txt").write_text("not asked for")
    (answers / "folder.csv").mkdir()
    assert keys(folder) == [first, second]
    (answers / "heron.csv").write_text("4")
    given = keys(folder)
    assert given[0] == first
    assert given[1] != second
    (answers / "heron.csv").write_text("5")
    assert keys(folder)[1] not in {second, given[1]}
    (answers / "heron.csv").unlink()
    assert keys(folder) == [first, second]


def test_a_parameter_that_the_run_gives_does_not_count_as_it_stands(folder):
    before = keys(folder)
    change(folder, "01_a", 'preset = \\"full\\"', 'preset = \\"smoke\\"')
    assert keys(folder) == before
    change(folder, "01_a", "seed = 0", "seed = 4")
    assert keys(folder) != before


def test_a_notebook_counts_by_what_its_code_says_and_reaches(folder, monkeypatch):
    seen, real = [], code_hash
    monkeypatch.setattr(runner, "code_hash", lambda **given: seen.append(given) or real(**given))
    before = keys(folder)
    skip = ["study.run:BUDGETS", "study.run:PRESET_NAMES"]
    assert seen == [{"cells": [source], "skip": skip} for source in (FIRST, SECOND)]
    change(folder, "01_a", "import os\\n", "import os  # a comment\\n\\n")
    assert keys(folder) == before
    monkeypatch.setattr(runner, "code_hash", lambda **_: "another")
    assert not set(keys(folder)) & set(before)


def test_code_that_cannot_be_followed_is_named_before_any_kernel(folder, capsys):
    for old, new, said in (
        ("import os", "no python", "01_a: cell 1:1: cannot be read as Python (invalid syntax)"),
        ("no python", "from study.run import Pfade", "study.run has no Pfade"),
    ):
        change(folder, "01_a", old, new)
        assert study(folder) == runner.REFUSED
        assert f"{said}; correct" in capsys.readouterr().err
    assert ran(folder) == []


def test_a_preset_counts_by_its_own_values():
    rest = {"threads": 1, "corpus": None}
    smoke, full = (runner.run_environment(preset(n), **rest) for n in ("smoke", "full"))
    assert smoke["budget"] != full["budget"]
    assert "minutes" not in dict(row[:2] for row in smoke["budget"])


def test_a_folder_of_the_users_own_counts_by_its_files(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"x")
    before = runner.run_environment(SMOKE, threads=1, corpus=tmp_path)
    (tmp_path / "a.mid").write_bytes(b"xy")
    assert runner.run_environment(SMOKE, threads=1, corpus=tmp_path) != before


def test_the_pedal_counts_and_a_word_for_it_is_refused_at_the_start(folder, capsys, monkeypatch):
    plain = runner.run_environment(SMOKE, threads=1, corpus=None)
    monkeypatch.setenv("MUSICLIB_PEDAL", "1")
    assert runner.run_environment(SMOKE, threads=1, corpus=None) != plain
    monkeypatch.setenv("MUSICLIB_PEDAL", "yes")
    assert study(folder) == runner.REFUSED
    assert "MUSICLIB_PEDAL: got 'yes'; allowed: 0, 1 and nothing" in capsys.readouterr().err
    assert ran(folder) == []


def test_a_folder_that_is_no_plain_folder_counts_all_the_same(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"x")
    (tmp_path / "nowhere.mid").symlink_to(tmp_path / "gone")
    (tmp_path / "circle.mid").symlink_to(tmp_path / "circle.mid")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / os.fsdecode(b"\xff.mid")).write_bytes(b"y")
    os.mkfifo(tmp_path / "pipe.mid")
    found = runner.run_environment(SMOKE, threads=1, corpus=tmp_path)["corpus"]
    assert len(found) == 5
    json.dumps(found)


def test_a_notebook_depends_only_on_what_comes_before(folder):
    write(folder / "notebooks", "00_z", "1", depends=["01_a"])
    with pytest.raises(FormError, match="00_z: depends on 01_a, which does not come before it"):
        keys(folder)


def test_a_damaged_notebook_or_state_is_named(folder, capsys):
    (folder / "notebooks" / "01_a.ipynb").write_text("{")
    assert study(folder) == runner.REFUSED
    assert "01_a.ipynb: not a notebook that can be read" in capsys.readouterr().err
    (folder / "rendered").mkdir()
    (folder / "rendered" / "state.json").write_text("{")
    runner.State(folder / "rendered")
    assert "state.json cannot be read, so every notebook is run again" in capsys.readouterr().out


# Time left


def watch(names, *, jobs, trains=""):
    studies = [{"trains": []} if name in trains else {} for name in names]
    nodes = [nbformat.v4.new_notebook(metadata={"study": study}) for study in studies]
    notebooks = [SimpleNamespace(name=n, node=node) for n, node in zip(names, nodes, strict=True)]
    return Watch(notebooks, expected=lambda nb: 10.0, jobs=jobs), notebooks


def at_work(nb, seconds, *, words="", cell_seconds=0.0):
    """Give a notebook at its first cell of nine."""
    facts = {"seconds": seconds, "cell_seconds": cell_seconds, "cell": 1, "cells": 9}
    return SimpleNamespace(nb=nb, last_line=lambda: words, **facts)


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 50.0), (2, 35.0), (3, 30.0)])
def test_time_left_knows_that_trainings_run_side_by_side(jobs, seconds, capsys):
    left, notebooks = watch("12345", jobs=jobs, trains="234")
    assert left.seconds_left() == seconds
    left.end(notebooks[0], "unchanged")
    assert left.seconds_left() == seconds - 10
    left.start(at_work(notebooks[1], 4.0))
    assert left.seconds_left() == pytest.approx({1: 36, 2: 23, 3: 20}[jobs])


def test_what_waits_is_as_much_slower_as_what_ran(capsys):
    left, notebooks = watch("12", jobs=1)
    left.start(at_work(notebooks[0], 30.0))
    assert left.seconds_left() == pytest.approx(0.25 * 30 + 3 * 10)  # thrice what was expected
    left.end(notebooks[0], "done")
    assert left.seconds_left() == pytest.approx(30)
    assert watch("1", jobs=1)[0].seconds_left() == 10


def test_a_large_folder_takes_long_to_read_and_no_longer_to_train(capsys):
    left, notebooks = watch("123", jobs=1, trains="2")
    words = "files read: 2000 of 20000"
    left.start(at_work(notebooks[0], 120.0, words=words, cell_seconds=110.0))
    assert left.seconds_left() == pytest.approx(110 * 9 + 120 * 8 / 9 + 10 + 120)
    left.end(notebooks[0], "done")
    assert left.seconds_left() == pytest.approx(10 + 120)


def test_a_long_loop_tells_its_own_pace(capsys):
    left, notebooks = watch("1", jobs=1)
    words = "LSTM stretches of training: 2 of 20, validation 1.5"
    left.start(at_work(notebooks[0], 62.0, words=words, cell_seconds=60.0))
    assert left.seconds_left() == pytest.approx(60 * 18 / 2 + 62 * 8 / 9)


IMAGE = {"image/png": "", "text/plain": "<IPython.core.display.Image object>"}


@pytest.mark.parametrize(
    ("outputs", "line"),
    [
        ([], ""),
        ([("stream", {"text": "first\nsecond\n\n"})], "second"),
        ([("stream", {"text": "second\n"}), ("display_data", {"data": IMAGE})], "second"),
        ([("display_data", {"data": IMAGE})], ""),
        ([("display_data", {"data": {"text/html": "", "text/plain": "[2 rows]"}})], ""),
        ([("execute_result", {"data": {"text/plain": "<Axes: title='x'>"}})], ""),
        ([("display_data", {"data": {"text/plain": "steps: 2 of 3"}})], "steps: 2 of 3"),
        ([("stream", {"name": "stderr", "text": "a warning\n"})], ""),
        ([("error", {"ename": "ValueError"})], ""),
    ],
)
def test_the_line_of_a_cell_is_what_it_printed_and_never_a_bare_repr(folder, outputs, line):
    (nb,) = runner.read_notebooks(folder / "notebooks", {})[:1]
    run = runner.Run(nb)
    assert run.last_line() == ""
    run.cell = 2
    cell = runner.code_cells(run.node)[1]
    cell.outputs = [nbformat.v4.new_output(kind, **facts) for kind, facts in outputs]
    assert run.last_line() == line


def test_a_clock_has_hours_only_when_there_are_any():
    assert [clock(s) for s in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]


def test_as_many_notebooks_at_once_as_the_machine_bears(monkeypatch):
    for cores, jobs in ((1, 1), (2, 3), (8, 3), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert runner.default_jobs() == jobs


# Form

CELL = 'preset = "full"  # budgets\nseed: int = 0  # any\nn_samples = None\noutput = ".."'
RAN = CELL.replace("full", "smoke").replace('".."', '"/somewhere"')


def notebook(*sources, parameters=CELL, study=True):
    """Make a notebook as it stands in notebooks/."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Title", id="m0")]
    cells.append(v4.new_code_cell(parameters, id="p0", metadata={"tags": ["parameters"]}))
    cells += [v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
    metadata = {"study": {"depends": [], "writes": []}} if study else {}
    return v4.new_notebook(cells=cells, metadata=metadata)


def as_run(*sources, outputs=()):
    """Make a notebook as it is after a run: counted, with outputs in its last cell."""
    node = notebook(*sources, parameters=RAN)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
    code[-1].outputs = [nbformat.from_dict(out) for out in outputs]
    return node


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


# Parameters


def test_parameters_are_read_and_replaced_in_place():
    values = runner.declared_parameters(notebook().cells[1])
    assert values == {"preset": "full", "seed": 0, "n_samples": None, "output": ".."}
    new = runner.with_parameters(CELL, values | {"preset": 'a "b" ü', "n_samples": 7})
    assert new == (
        'preset = "a \\"b\\" ü"  # budgets\nseed: int = 0  # any\nn_samples = 7\noutput = ".."'
    )
    assert runner.with_parameters(new, values) == CELL


def test_a_folder_whose_name_is_no_utf_8_can_be_a_parameter():
    folder = os.fsdecode(b"/music/\xe9t\xe9")
    source = runner.with_parameters('corpus = "chorales"', {"corpus": folder})
    assert source.isascii()
    assert runner.declared_parameters(notebook(parameters=source).cells[1]) == {"corpus": folder}


def test_a_value_is_cut_by_bytes_not_signs():
    assert runner.with_parameters('a = "ü"  # é\nb = "ß"', {"a": 1, "b": 2}) == "a = 1  # é\nb = 2"


@pytest.mark.parametrize(
    "source", ["seed = 1 + x", "a = b = 1", "import os", "print(1)", "a[0] = 1"]
)
def test_a_parameters_cell_holds_literals_only(source):
    with pytest.raises(runner.FormError, match="parameters cell: line 1 is not NAME = LITERAL"):
        runner.declared_parameters(notebook(parameters=source).cells[1])


def test_one_parameters_cell_is_needed():
    node = notebook()
    node.cells[1].metadata.tags = []
    with pytest.raises(
        runner.FormError, match="02: has 0 cells tagged 'parameters', and needs one"
    ):
        runner.parameters_cell(node, name="02")


# Merging


def test_outputs_come_back_with_the_parameters_of_the_run_and_can_be_run_again():
    source = notebook("1 + 1", "print(2)")
    source.cells[0].source = "# Better title"
    result = runner.add_outputs(
        source, as_run("1 + 1", "print(2)", outputs=[stream("2\n")]), name="02", output=".."
    )
    nbformat.validate(result)
    assert result.cells[0].source == "# Better title"
    assert [cell.id for cell in result.cells] == ["m0", "p0", "c0", "c1"]
    assert [cell.execution_count for cell in runner.code_cells(result)] == [1, 2, 3]
    assert result.cells[1].source == CELL.replace("full", "smoke")
    assert result.cells[3].outputs[0].text == "2\n"
    assert source.cells[3].outputs == []
    assert runner.problems(result, size=10) == []
    again = runner.add_outputs(source, result, name="02", output="..")
    assert nbformat.writes(again) == nbformat.writes(result)


def test_code_that_changed_since_the_run_is_refused():
    for other in (notebook("1 + 2"), notebook("1 + 1", "2"), notebook()):
        with pytest.raises(runner.FormError, match="02: its code has changed since it was run"):
            runner.add_outputs(other, as_run("1 + 1"), name="02", output="..")


def test_a_comment_that_changed_since_the_run_is_taken_over():
    result = runner.add_outputs(notebook("1 + 1  # two"), as_run("(1 + 1)"), name="02", output="..")
    assert result.cells[2].source == "1 + 1  # two"
    with pytest.raises(runner.FormError, match="02: cell 1:1: cannot be read as Python"):
        runner.add_outputs(notebook("no python"), as_run("1 + 1"), name="02", output="..")


def test_what_differs_between_machines_is_taken_out():
    value = {"text/plain": f"<Model at 0x7f00aa> in {runner.ROOT}/data"}
    out = {"output_type": "execute_result", "execution_count": 9, "metadata": {}, "data": value}
    result = runner.add_outputs(notebook("m"), as_run("m", outputs=[out]), name="02", output="..")
    cleaned = result.cells[-1].outputs[0]
    assert cleaned.data["text/plain"] == "<Model> in ../data"
    assert cleaned.execution_count == 2


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (lambda nb: nb.cells[2].update(execution_count=5), "not run top to bottom"),
        (lambda nb: nb.cells[2].update(source=" "), "an empty code cell"),
        (lambda nb: nb.cells[1].metadata.update(tags=[]), "0 cells tagged 'parameters'"),
        (lambda nb: nb.cells[2].update(source="x\n" * 41), "a code cell of 41 lines"),
        (lambda nb: nb.cells[2].update(id="p0"), "cells without an id, or with the same"),
        (lambda nb: nb.cells[0].pop("id"), "cells without an id, or with the same"),
        (lambda nb: nb.metadata.pop("study"), "no 'study' metadata"),
        (lambda nb: nb.cells[0].update(source="see /home/me/x"), "a path of a machine"),
        (
            lambda nb: nb.cells[2].outputs.append(nbformat.from_dict(stream("w", "stderr"))),
            "log lines among its outputs",
        ),
        (
            lambda nb: nb.cells[2].outputs.append(nbformat.from_dict(stream("C:\\Users\\me"))),
            "a path of a machine",
        ),
        (
            lambda nb: nb.cells[2].outputs.append(
                nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
            ),
            "an error among its outputs",
        ),
    ],
)
def test_each_fault_of_form_is_named(change, phrase):
    node = runner.add_outputs(notebook("1"), as_run("1"), name="02", output="..")
    assert runner.problems(node, size=10) == []
    change(node)
    assert any(found.startswith(phrase) for found in runner.problems(node, size=10))


def test_size_counts_and_sound_is_not_taken_for_a_path():
    sound = "data:audio/mpeg;base64,AAAA/tmp/BBBB/home/x"
    out = nbformat.v4.new_output("display_data", data={"text/html": f'<audio src="{sound}">'})
    node = runner.add_outputs(notebook("1"), as_run("1", outputs=[out]), name="02", output="..")
    assert runner.problems(node, size=2_000_000) == []
    assert runner.problems(node, size=2_000_001) == ["2,000,001 bytes, over 2,000,000"]


# Research


@pytest.fixture
def research(folder):
    """A checkout whose research has a notebook for folders and the ladder, and one for smoke."""
    (folder / "notebooks/research").mkdir()
    of = {"keys": ["ladder", "folder"], "audit": ["smoke"]}
    for name, words in of.items():
        write(folder / "notebooks/research", name, "1", depends=["01_a", "09_z"])
        path = folder / "notebooks/research" / f"{name}.ipynb"
        node = nbformat.read(path, 4)
        node.metadata.study |= {"runs_with": words, "before": "02_b"}
        nbformat.write(node, path)
    return folder / "notebooks"


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ((), ["01_a", "02_b"]),
        (("folder",), ["01_a", "keys", "02_b"]),
        (("audit",), ["01_a", "audit", "02_b"]),
        (("ladder",), ["keys"]),  # and no lesson that does not list it
    ],
)
def test_research_runs_where_it_is_asked_for_and_before_the_lesson_that_it_names(
    research, asked, names
):
    found = runner.read_notebooks(research, {"output": research.parent / "out"}, asked=asked)
    assert [nb.name for nb in found] == names
    for nb in found:
        where = "../../out" if nb.path.parent.name == "research" else "../out"
        assert nb.given["output"] == where
    if len(names) == 3:
        assert found[1].depends == ["01_a"]  # what is not there is not waited for
        assert found[2].depends == ["01_a", names[1]]


@pytest.mark.parametrize(("own", "name"), [(False, "audit"), (True, "keys")])
def test_research_for_a_preset_is_of_the_chorales_alone(research, own, name):
    """What is measured for a release is no part of a study of one's own music."""
    (research.parent / "own").mkdir()
    (research.parent / "own" / "x.mid").write_bytes(b"MThd")
    more = ["--corpus", str(research.parent / "own")] if own else []
    assert study(research.parent, *more) == runner.DONE
    done = {path.stem for path in (research.parent / "rendered").glob("*.ipynb")}
    assert done == {"01_a", name, "02_b"}
