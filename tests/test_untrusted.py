"""What is read from elsewhere runs no code: no pickle, no archive unpacked, nothing fetched."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

from study import measuring, sets
from study.measuring import Kept
from study.sets import check_card, write_card

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve",  # run what they read
    "tarfile", "urllib.request", "requests", "httpx", "ftplib",  # would need a check by hash
}  # fmt: skip
OWN = {("runner.py", "exec")}  # cells of this checkout's own notebooks, as a kernel would
UNSAFE_CALLS = {"eval", "exec", "unpack_archive", "extractall", "load_model", "read_pickle"}


def sources():
    for folder in ("musiclib", "study"):
        for path in sorted((ROOT / folder).glob("*.py")):
            yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells):
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                kept = ["" if line.lstrip().startswith(("%", "!")) else line for line in lines]
                yield f"{path.name}, cell {number}", "\n".join(kept)


def findings(source):
    """List what a source does that could run what it reads, or fetch without a check."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            called = node.func
            name = getattr(called, "attr", getattr(called, "id", ""))
            if name in UNSAFE_CALLS:
                yield name
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg == "allow_pickle" and value is not False:
                    yield "allow_pickle"
                if (
                    keyword.arg == "known_hash"
                    and isinstance(keyword.value, ast.Constant)
                    and not value
                ):
                    yield "known_hash"
        yield from sorted(
            {f for f in FORBIDDEN for name in names if f"{name}.".startswith(f"{f}.")}
        )


def test_nothing_unpickles_unpacks_or_fetches():
    found = {(place, what) for place, source in sources() for what in findings(source)}
    assert found == OWN


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("from urllib.request import urlopen", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("pooch.retrieve(url, known_hash=None)", "known_hash"),
        ("np.load(x, allow_pickle=True)", "allow_pickle"),
        ("np.load(x, allow_pickle=flag)", "allow_pickle"),
        ("archive.extractall(folder)", "extractall"),
        ("eval(text)", "eval"),
        ("keras.models.load_model(path)", "load_model"),
    ],
)
def test_the_search_finds_what_it_looks_for(source, what):
    assert list(findings(source)) == [what]


def test_weights_are_loaded_only_behind_their_card():
    owners = {
        (place, owner)
        for place, source in sources()
        for owner in re.findall(r"(\w+)\.load_weights\(", source)
    }
    own = {(place, owner) for place, owner in owners if place == "sets.py"}
    assert [owner for _, owner in own] == ["model"]
    assert {owner for _, owner in owners - own} <= {"study_sets", "sets"}
    source = inspect.getsource(sets.load_weights)
    assert source.index("check_card(") < source.index("model.load_weights(")


def test_weights_that_were_exchanged_are_refused_before_use(tmp_path):
    weights = tmp_path / "a.weights.h5"
    weights.write_bytes(b"as trained")
    write_card(weights, {"codec": 1})
    assert check_card(weights, {"codec": 1})["codec"] == 1
    weights.write_bytes(b"exchanged!")
    with pytest.raises(ValueError, match=r"is not the file that a\.json describes"):
        sets.check_card(weights, {"codec": 1})


def test_a_kept_measurement_that_was_changed_is_measured_again(tmp_path):
    def measure(item):
        return {"value": item * 2.0}

    kept = tmp_path / "measures.csv"

    def measured(item):
        return measuring.measured(measure, [item], key=str, kept=kept, workers=1)

    assert measured(4) == [{"value": 8.0}]
    whole = kept.read_text()
    assert Kept(kept).rows.get("4") == {"value": 8.0}
    for changed in (whole.replace("8.0", "9.0"), "item\n4", "[]", whole[:-2], ""):
        kept.write_text(changed)
        assert Kept(kept).rows.get("4") is None
        assert measured(4) == [{"value": 8.0}]
    assert kept.read_text() == whole
