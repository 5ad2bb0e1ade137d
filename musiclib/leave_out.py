"""Leave out the rest of a notebook: how a run that needs only its beginning still ends well.

Conventions: works in IPython kernels, under a runner or by hand. Nothing is raised: each cell that
is left out says so, and running the parameters cell again ends it.
"""

from __future__ import annotations

from typing import Any


def leave_out_rest(reason: str, *, until: str = "corpus =", shell: Any = None) -> None:
    """Let every later cell print one line instead of running.

    Parameters
    ----------
    reason : str
        Why, as half a sentence, such as ``a benchmark set has no voices``.
    until : str
        How a line of the cell begins that ends it: the parameters cell.
    shell : optional
        IPython's shell; by default the one that runs this.

    Raises
    ------
    RuntimeError
        Outside IPython, where there are no cells.

    Notes
    -----
    IPython lets functions see a cell's lines before it runs them
    (``input_transformers_cleanup``); this one hands back a line that prints.
    """
    if shell is None:
        from IPython import get_ipython

        shell = get_ipython()
    if shell is None:
        raise RuntimeError("leave_out_rest: works in a notebook's kernel only")
    chain, words = shell.input_transformers_cleanup, f"Left out: {reason}."

    def replace(lines: list[str]) -> list[str]:
        if any(line.startswith(until) for line in lines):
            chain.remove(replace)
            return lines
        return [f"print({words!r})\n"]

    chain.append(replace)
