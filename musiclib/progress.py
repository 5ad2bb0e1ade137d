"""Show how far a loop has come in one line that leaves no debris.

Conventions: in a notebook the line is one display that updates in place, so that only its last
state is kept; elsewhere it is a plain line now and then. No time is shown: what a notebook keeps
is the same at each run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

_NOTEBOOK_SECONDS = 1.0  # at most one update a second
_TERMINAL_SECONDS = 10.0  # at most one line in ten seconds


class Progress(Iterable[Any]):
    """Count steps in one line of text that updates in place and leaves only its last state."""

    def __init__(self, items: Iterable[Any] | int, label: str) -> None:
        self.items = range(items) if isinstance(items, int) else items
        self.total = len(self.items) if hasattr(self.items, "__len__") else None
        self.label, self.note, self.done = label, "", 0
        self._line = _Line()

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.items:
                yield item
                self.step(self.note)
        finally:
            self.close()

    def step(self, note: str = "") -> None:
        """Count one step; `note` says how it goes, such as ``loss 1.23``."""
        self.done, self.note = self.done + 1, note
        self._line.show(str(self))

    def close(self) -> None:
        """Show the state in which it ends."""
        self._line.show(str(self), now=True)

    def __str__(self) -> str:
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        return f"{self.label}: {count}" + (f", {self.note}" if self.note else "")


def progress(items: Iterable[Any] | int, label: str) -> Progress:
    """Show how far a loop has come, without debris in the notebook.

    Parameters
    ----------
    items : iterable or int
        What to go through; an integer stands for ``range(items)``.
    label : str
        What is counted, such as ``LSTM steps``.

    Returns
    -------
    Progress
        Iterate over it; set its `note` to show a loss. Or call ``step(note)`` for each step and
        ``close()`` at the end, where a library owns the loop. No time is shown: what stays in the
        notebook is the same at each run.

    Examples
    --------
    >>> bar = progress(["a", "b"], "letters")
    >>> [letter for letter in bar]
    letters: 2 of 2
    ['a', 'b']
    """
    return Progress(items, label)


class _Line:
    """One line of text, shown at most so often."""

    def __init__(self) -> None:
        self._handle = _display_handle()
        self._every = _TERMINAL_SECONDS if self._handle is None else _NOTEBOOK_SECONDS
        self._last, self._shown = time.monotonic(), ""

    def show(self, text: str, *, now: bool = False) -> None:
        if text == self._shown or not (now or time.monotonic() - self._last >= self._every):
            return
        first = not self._shown
        self._last, self._shown = time.monotonic(), text
        if self._handle is None:
            print(text, flush=True)
        else:
            show = self._handle.display if first else self._handle.update
            show({"text/plain": text}, raw=True)


def _display_handle() -> Any:
    """Give a handle on a display of a notebook, or None outside of one."""
    try:
        from IPython import get_ipython
        from IPython.display import DisplayHandle
    except ImportError:
        return None
    return DisplayHandle() if hasattr(get_ipython(), "kernel") else None
