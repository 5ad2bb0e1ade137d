"""What makes a result stale: the code that it reaches by name, all of it and nothing else."""

from __future__ import annotations

import re
import shutil
import time

import pytest

from musiclib.code_hash import PACKAGES, CodeError, code_hash
from musiclib.prepare import prepare_file
from study.measuring import measure_recording, measure_roll
from study.runner import ROOT, code_cells, read_notebook

LIB = {
    "lib/__init__": "from lib.one import f",
    "lib/one": '''"""A module."""
from __future__ import annotations
import functools
import numpy as np
from lib import three
from lib import two as t
from lib.two import SIZE as n, Base

try:
    import fast
except ImportError:
    fast = None


class Kind(Base):
    """A class."""

    size = 1
    """An attribute."""

    def own(self):
        return self.size


@functools.cache
def f(x=n) -> Kind:
    """A function."""
    return t.g(np.abs(x)), fast


def unreached():
    return three.h()


async def late():
    return Kind
''',
    "lib/two": """SIZE: int = 3
SIZE += 1
(LOW, HIGH), OTHER = (1, 2), 3
TABLE = {}


def g(x):
    if x > LOW:
        return g(x - 1) + deep()
    return 'text'


def deep():
    from lib.three import h
    return h


class Base:
    def method(self):
        return OTHER


def unreached():
    return 1
""",
    "lib/three": "def h():\n    return 5\n\n\ndef i():\n    return 6\n",
    "lib/bad": "this is no module",
    "app/__init__": "",
    "app/main": "import lib.one as o\nfrom lib import f as made\n\ndef run(): return made(o.f)",
}


@pytest.fixture
def write(tmp_path):
    """Give a function that writes the packages, with texts replaced, and their hasher."""
    count = iter(range(1000))

    def write_it(*changes, more=None):
        root = tmp_path / str(next(count))
        texts = LIB | (more or {})
        for module, old, new in changes:
            assert old in texts[module], old
            texts = texts | {module: texts[module].replace(old, new)}
        for name, text in texts.items():
            path = root / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        folders = [root / "lib", root / "app"]
        return lambda *roots, **more: code_hash(*roots, packages=folders, **more)

    return write_it


RUN = "app.main:run"


def test_the_hash_is_that_of_every_version_of_python(write):
    """Written down once: 3.11, 3.12 and 3.13 were tried."""
    more = {
        "lib/four": 'def s(x, *, y=-1.5, **z):\n    return f"a{x!r:>{y}}b" f"{x=}" "ü", b"c", 1j\n'
    }
    found = write(more=more)(RUN, "lib.four:s", cells=["from lib import two", "print(two)"])
    assert found[:16] == "c40914ecfea61aab"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("lib/one", "A module", "Another one"),
        ("lib/one", "A class", "Another one"),
        ("lib/one", "An attribute", "Another one"),
        ("lib/one", '    """A function."""\n', "    # nothing to say\n\n"),
        ("lib/two", "return 'text'", 'return ("text")  # so'),
        ("lib/two", "def unreached():\n    return 1", "def unreached():\n    return eval('2')"),
        ("lib/two", "TABLE = {}", "TABLE = {1: 2}"),
        ("lib/one", "return three.h()", "return three.i()"),
        ("lib/one", "return Kind\n", "return 1\n"),
        ("lib/three", "return 6", "return 7"),
        ("lib/bad", "no", "not a"),
        ("lib/one", "from lib import two as t", "import lib.two as t"),
        ("app/main", "import lib.one as o\n", "from lib import one as o\n"),
    ],
)
def test_what_is_not_reached_or_says_nothing_does_not_count(write, module, old, new):
    assert write((module, old, new))(RUN) == write()(RUN)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("app/main", "made(o.f)", "made(o.f, 1)"),
        ("app/main", "made(o.f)", "made(o.late)"),
        ("lib/one", "x=n", "x=1"),
        ("lib/one", "functools.cache", "functools.lru_cache"),
        ("lib/one", "size = 1", "size = 2"),
        ("lib/one", "return self.size", "return 1"),
        ("lib/one", "fast = None", "fast = 1"),
        ("lib/one", "import fast", "import faster as fast"),
        ("lib/one", "numpy as np", "jax as np"),
        ("lib/one", "-> Kind", "-> Base"),
        ("lib/two", "SIZE: int = 3", "SIZE: int = 4"),
        ("lib/two", "SIZE += 1", "SIZE += 2"),
        ("lib/two", "(1, 2)", "(2, 1)"),
        ("lib/two", "'text'", "'texts'"),
        ("lib/two", "return OTHER", "return OTHER + 1"),
        ("lib/two", "import h", "import i as h"),
        ("lib/three", "return 5", "return 4"),
        ("lib/three", "def i", "def h():\n    return 1\n\n\ndef i"),
        # What a module does when it is imported counts for all that import it.
        ("lib/two", "TABLE = {}", "TABLE = {}\nfor each in range(3):\n    TABLE[each] = 1"),
        ("lib/two", "TABLE = {}", "TABLE = {}\nprint(TABLE)"),
        ("lib/three", "def i", "assert h\n\n\ndef i"),
        ("lib/three", "def i", "import them\n\n\n@them.register(1)\ndef i"),
        ("lib/three", "def i", "del h\n\n\ndef i"),
        ("lib/one", "try:", "three.i.x = 1\ntry:"),
        ("lib/one", "try:", "n += 1\ntry:"),
        ("lib/one", "return three.h()", "global n\n    n = 1"),
    ],
)
def test_what_is_reached_counts(write, module, old, new):
    assert write((module, old, new))(RUN) != write()(RUN)


def test_what_a_module_does_counts_with_what_that_reaches(write):
    said = ("lib/three", "def i", "def j(): return 1\n\n\n@j\ndef i")
    assert write(said)(RUN) != write(said, ("lib/three", "return 1", "return 2"))(RUN)
    main = ("lib/three", "def i", 'if __name__ == "__main__":\n    print(h())\n\n\ndef i')
    assert write(main)(RUN) == write()(RUN)


def test_a_definition_may_move(write):
    base = write()(RUN)
    h = "def h():\n    return 5\n"
    moved = [("lib/three", h, ""), ("lib/two", "from lib.three import h", "from app.new import h")]
    moved += [("lib/one", "from lib import three\n", "from app import new as three\n")]
    assert write(*moved, more={"app/new": h})(RUN) == base
    assert write(*moved, more={"app/new": h.replace("5", "4")})(RUN) != base
    merged = [
        ("lib/two", "    from lib.three import h\n", ""),
        ("lib/two", "SIZE: int", h + "SIZE: int"),
    ]
    assert write(*merged)(RUN) == base


def test_definitions_of_one_name_are_told_apart(write):
    more = {f"lib/{a}": f"def k():\n    return '{a}'\n" for a in "ab"}
    source = "from lib import a, b\n\n\ndef f():\n    return a.k() - b.k()\n"
    one = write(more=more | {"lib/c": source})("lib.c:f")
    assert (
        write(more=more | {"lib/c": source.replace("a.k() - b.k()", "b.k() - a.k()")})("lib.c:f")
        != one
    )


def test_a_string_that_names_a_definition_is_followed(write):
    for text, name in (("lib.three:h", "h"), ("from lib.three import i, h; h()", "h")):
        more = {"lib/jobs": f"def start():\n    return run({text!r})\n"}
        base = write(more=more)("lib.jobs:start")
        assert write(("lib/three", "return 5", "return 4"), more=more)("lib.jobs:start") != base, (
            name
        )
    more = {"lib/jobs": "JOB = 'lib.three:gone'"}
    with pytest.raises(CodeError, match=r"jobs\.py:1: lib\.three has no gone; correct the name"):
        write(more=more)("lib.jobs:JOB")


# Cells


@pytest.mark.parametrize(
    ("cells", "reached"),
    [
        (["x = 1"], ""),
        (["from lib import three"], ""),
        (["from lib.three import h", "h()"], "h"),
        (["from lib.three import h as k", "def own():\n    return k"], "h"),
        (["from lib import three as t\nt.i()"], "i"),
        (["import lib.three as t\nt.i()"], "i"),
        (["import lib.three", "lib.three.h()"], "h"),
        (["from lib import three\nplot(three)"], "hi"),
        (["from lib import three\nt = three\nt.i()"], "hi"),
        (["%matplotlib inline\nfrom lib.three import h\n!ls\nh()"], "h"),
        (["from lib import f", "f()"], "h"),
    ],
)
def test_cells_reach_what_they_name(write, cells, reached):
    for name, old, new in (("h", "return 5", "return 4"), ("i", "return 6", "return 7")):
        changed = write(("lib/three", old, new))(cells=cells) != write()(cells=cells)
        assert changed == (name in reached), name


def test_cells_count_by_what_they_say(write):
    hashed = write()
    base = hashed(cells=["x = 1", "y = (2\n % 3)", "%time x\ny"])
    assert hashed(cells=["x  =  1  # so", "'''told'''\ny = 2 % 3", "\n%time x\ny"]) == base
    for other in (
        ["x = 2", "y = (2\n % 3)", "%time x\ny"],
        ["x = 1", "y = (2\n % 4)", "%time x\ny"],
        ["x = 1", "y = (2\n % 3)", "%time y\ny"],
        ["x = 1; y = 2 % 3", "%time x\ny"],
    ):
        assert hashed(cells=other) != base
    assert hashed(cells=["import os"]) != hashed(cells=["import sys"])


# What does not count, and what cannot be


def test_what_is_skipped_does_not_count_with_what_it_alone_reaches(write):
    for old, same in (("return g(x", True), ("return h", True), ("SIZE += 1", False)):
        changed = ("lib/two", old, old.replace("return ", "return 1, ").replace("+= 1", "+= 2"))
        one, two = (w(RUN, skip=["lib.two:g"]) for w in (write(), write(changed)))
        assert (one == two) == same
    with pytest.raises(CodeError, match=r"lib\.two:gone: lib\.two has no gone; correct the name"):
        write()(RUN, skip=["lib.two:gone"])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "from lib.three import *\nx = 1",
            "x.py:1: import * hides what is used; import it by name",
        ),
        ("from . import three\nx = 1", "x.py:1: a relative import; write out the package's name"),
        ("from lib.three import gone\nx = gone", "x.py: lib.three has no gone; correct the name"),
        ("from lib import gone\n\ndef x(): return gone", "x.py: lib has no gone; correct the name"),
        ("from lib.three import gone\nx = 1", "x.py: lib.three has no gone; correct the name"),
        ("x = 1\nimport lib.gone", "x.py:2: there is no lib.gone; correct the name"),
        ("import lib.gone as g\nx = g", "x.py:1: there is no lib.gone; correct the name"),
        ("from lib import three\nx = three.gone", "x.py:2: lib.three has no gone; correct"),
        ("def x():\n    from lib.three import gone\n    gone()", "lib.three has no gone; correct"),
        ("x = (\n", "x.py:1: cannot be read as Python ('(' was never closed); correct it"),
        ("from lib import bad\nx = bad.y", "bad.py:1: cannot be read as Python (invalid syntax)"),
        ("x = [eval('1')]", "x.py:1: eval hides what is used; name it, or write it 'package.mod"),
        ("\ndef x(): exec('1')", "x.py:2: exec hides"),
        ("x = lambda: globals()['y']", "x.py:1: globals hides"),
        ("x = __import__('lib')", "x.py:1: __import__ hides"),
        ("import sys\nx = sys.modules['lib']", "x.py:2: sys.modules hides"),
        ("import lib.three as t\nx = getattr(t, 'h')", "x.py:2: getattr hides"),
        ("import lib.three as t\nx = vars(t)", "x.py:2: vars hides"),
        ("import importlib\nx = importlib.import_module('lib.three')", "importlib.import_module"),
        ("import importlib as i\ny = 'lib'\nx = i.import_module(y)", "x.py:3: importlib.import_"),
        ("from importlib import import_module as i\nx = i(f'lib.{1}')", "x.py:2: importlib.imp"),
        ("print(eval('1'))\nx = 1", "x.py:1: eval hides"),
    ],
)
def test_what_cannot_be_followed_is_an_error(write, source, said):
    with pytest.raises(CodeError, match=re.escape(said)):
        write(more={"lib/x": source})("lib.x:x")
    if "x.py" not in said or "import *" in said:
        return
    with pytest.raises(CodeError):
        write()(cells=["y = 1", source])


def test_what_looks_alike_is_none(write):
    source = "import importlib\nx = getattr(y, 'z'), model.eval(), importlib.import_module('json')"
    write(more={"lib/x": f"from math import *\n{source}"})("lib.x:x")


def test_a_root_is_a_definition_of_the_packages(write):
    for root in (len, 3, "lib.three", "json:dumps"):
        with pytest.raises(CodeError, match="a root is a definition of app, lib"):
            write()(root)


# The packages themselves

ROOTS = [measure_roll, measure_recording, prepare_file]


@pytest.fixture
def copy(tmp_path):
    for folder in PACKAGES:
        if folder.is_dir():
            shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("__*__"))
            init = folder / "__init__.py"
            shutil.copy(init, tmp_path / folder.name)
    return [tmp_path / folder.name for folder in PACKAGES]


@pytest.mark.parametrize("root", ROOTS)
def test_a_copy_elsewhere_has_the_same_hash(root, copy):
    assert code_hash(root, packages=copy) == code_hash(root)


@pytest.mark.parametrize(
    ("root", "counts"),
    [
        (measure_roll, "render synthesize to_midi measures polyphony audio_measures energy "
         "check_piece SR TEMPO PROBLEMS MEASURES"),
        (measure_recording, "read_recording audio_measures energy SR"),
        (prepare_file, "_read_piece parse_midi piece_from_midi store_piece report_row VERSION"),
    ],
)  # fmt: skip
def test_each_definition_that_a_root_reaches_counts_and_no_other(root, counts, copy):
    base, changed = code_hash(root, packages=copy), set()
    others = "sample_table recorded_table Kept prepare_corpus plot_roll BUDGETS"
    for name in f"{counts} {others}".split():
        pattern = re.compile(rf"^(def {name}\(|class {name}\b|{name}\b[^=\n]*=)", re.M)
        files = [path for folder in copy for path in folder.glob("*.py")]
        texts = {path: text for path in files if pattern.search(text := path.read_text())}
        assert texts, name
        for more in ("unreached", name):  # all that are called so, as two modules may have one
            for path, text in texts.items():
                path.write_text(f"{text}\n\n{more} = 1\n")
            changed |= {more} if code_hash(root, packages=copy) != base else set()
        for path, text in texts.items():
            path.write_text(text)
    assert changed == set(counts.split())


def test_every_notebook_is_followed_quickly_enough():
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    cells = [[cell.source for cell in code_cells(read_notebook(path))] for path in paths]
    began = time.process_time()
    assert len({code_hash(cells=some) for some in cells}) == len(paths) > 0
    assert time.process_time() - began < 0.3 * len(paths) + 1


def test_the_names_to_begin_with_can_be_followed():
    import musiclib

    code_hash(*(f"musiclib:{name}" for name in musiclib.__all__))
