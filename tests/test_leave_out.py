"""Leaving out the rest of a notebook, in a real IPython shell."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from musiclib.leave_out import leave_out_rest


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_later_cells_say_that_they_are_left_out_until_the_parameters_come_again(shell, capsys):
    shell.run_cell(
        "import musiclib.leave_out\nx = 1\nmusiclib.leave_out.leave_out_rest('no notes')"
    )
    shell.run_cell("x = 2\nraise SystemError")
    shell.run_cell("def f():\n    x = 3\nf()")
    assert shell.user_ns["x"] == 1
    assert capsys.readouterr().out == "Left out: no notes.\n" * 2
    shell.run_cell("preset = 'smoke'\ncorpus = 'chorales'")
    shell.run_cell("x = 4")
    assert (shell.user_ns["corpus"], shell.user_ns["x"]) == ("chorales", 4)


def test_outside_a_notebook_it_is_refused():
    InteractiveShell.clear_instance()
    with pytest.raises(RuntimeError, match="in a notebook's kernel only"):
        leave_out_rest("no notes")
