"""Run one notebook in a kernel of its own, and keep what came of it.

Conventions: the kernel works in the notebook's folder, with a fixed number of threads and without
the user's IPython start-up files, so that it computes the same anywhere. A failure leaves
``NAME.failed.ipynb`` and ``NAME.log`` in the folder of rendered notebooks.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from musiclib.checkpoints import RUN_KEY
from musiclib.files import write_text
from musiclib.study import kernel_environment
from tools.notebook_form import ROOT, code_cells, merged, parameters_cell, with_parameters
from tools.notebook_state import Notebook

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_SENTENCE = 300
_LAST_WORDS = 10_000
_PATIENCE = 600  # seconds for a kernel to start or to send its last output, on a busy machine


class NotebookError(RuntimeError):
    """A notebook stopped; the message is one sentence with the cell and its error."""


class _Client(NotebookClient):
    """A client that leaves signals to the runner; nbclient would take them over."""

    @contextlib.asynccontextmanager
    async def async_setup_kernel(self, **kwargs: Any) -> AsyncIterator[None]:
        kwargs.pop("cleanup_kc", None)
        self.km = self.create_kernel_manager()
        if os.name == "posix":  # no open port; the sockets lie in a folder with a short name
            self.km.transport = "ipc"
            self.km.connection_file = str(Path(kwargs["env"]["IPYTHONDIR"], "kernel.json"))
        try:
            await self.async_start_new_kernel(**kwargs)
            await self.async_start_new_kernel_client()
            yield
        finally:
            if self.km is not None:
                await self._async_cleanup_kernel()


class Run:
    """One notebook while it runs.

    Attributes
    ----------
    cell, cells : int
        The code cell at work, counted from 1 (0 while the kernel starts), and how many there are.
    """

    def __init__(self, nb: Notebook) -> None:
        self.nb = nb
        self.node = copy.deepcopy(nb.node)
        for cell in code_cells(self.node):
            cell.execution_count, cell.outputs = None, []
        parameters = parameters_cell(self.node, name=nb.name)
        parameters.source = with_parameters(parameters.source, nb.given)
        self._code = [i for i, cell in enumerate(self.node.cells) if cell.cell_type == "code"]
        self.cell, self.cells = 0, len(self._code)
        self._began = self._cell_began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def cell_seconds(self) -> float:
        """Seconds since the cell at work began."""
        return time.monotonic() - self._cell_began

    def last_words(self) -> str:
        """Give the last line of text that the cell at work has shown."""
        outputs = self.node.cells[self._code[self.cell - 1]].outputs if self.cell else []
        outputs = [out for out in outputs if out.get("name") != "stderr"]
        texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs]
        lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    async def execute(self, *, threads: int) -> None:
        """Run every cell, or raise `NotebookError`."""
        folder = str(self.nb.path.parent)
        with tempfile.TemporaryDirectory(prefix="study-") as profile:
            client = _Client(
                self.node,
                timeout=None,
                startup_timeout=_PATIENCE,
                iopub_timeout=_PATIENCE,
                kernel_name="python3",
                resources={"metadata": {"path": folder}},
                record_timing=False,
                shutdown_kernel="immediate",
                on_cell_start=self._on_cell_start,
            )
            environment = _environment(threads=threads, profile=profile) | {RUN_KEY: self.nb.key}
            with Path(profile, "kernel.log").open("wb") as log:  # what no cell shows
                try:
                    await client.async_execute(env=environment, stdout=log, stderr=log)
                except CellExecutionError as error:
                    raise NotebookError(self._where(f"{error.ename}: {error.evalue}")) from error
                except (DeadKernelError, RuntimeError) as error:
                    said = Path(log.name).read_text(encoding="utf-8", errors="replace")
                    error.add_note(f"The kernel's last words:\n{said[-_LAST_WORDS:]}")
                    reason = f"the kernel died, perhaps for want of memory ({error})"
                    raise NotebookError(self._where(reason)) from error

    def _on_cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        if cell_index in self._code:
            self.cell = self._code.index(cell_index) + 1
            self._cell_began = time.monotonic()

    def _where(self, reason: str) -> str:
        first = (_ANSI.sub("", reason).strip().splitlines() or ["no reason given"])[0]
        return f"stopped in cell {self.cell} of {self.cells}: {first[:_LONGEST_SENTENCE]}"

    def keep(self, rendered: Path) -> None:
        """Write the notebook as run, and as a page, to the folder `rendered`."""
        name, output = self.nb.name, str(self.nb.parameters.get("output", ""))
        result = merged(self.nb.node, self.node, name=name, output=output)
        write_text(nbformat.writes(result) + "\n", rendered / f"{name}.ipynb")
        write_text(as_page(result, name=name), rendered / f"{name}.html")
        for leftover in (f"{name}.failed.ipynb", f"{name}.log"):
            (rendered / leftover).unlink(missing_ok=True)

    def keep_failure(self, error: BaseException, rendered: Path) -> Path:
        """Write the notebook as far as it came, and the traceback; give the traceback's path."""
        name, log = self.nb.name, rendered / f"{self.nb.name}.log"
        write_text(nbformat.writes(self.node) + "\n", rendered / f"{name}.failed.ipynb")
        cause = error.__cause__ or error
        text = "\n".join([str(cause), *getattr(cause, "__notes__", [])])
        write_text(_ANSI.sub("", text) + "\n", log)
        return log


def as_page(node: NotebookNode, *, name: str) -> str:
    """Render a notebook as one HTML page."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(embed_images=True).from_notebook_node(
        node, resources={"metadata": {"name": name}}
    )
    return page


def _environment(*, threads: int, profile: str) -> dict[str, str]:
    """Give the kernel's environment: this one, this musiclib, fixed threads, no start-up files."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **kernel_environment(threads=threads),
        "PYTHONPATH": os.pathsep.join(paths),
        "IPYTHONDIR": profile,
    }
