"""What a run of the study says: how far it is, and in the end the table and where things lie.

Conventions: plain lines, one after the other, so that they read the same in a log.
"""

from __future__ import annotations

import asyncio
import csv
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from musiclib.study import Paths
from tools.notebook_run import Run
from tools.notebook_state import Notebook, trains

_NEXT_CELL_SECONDS = 5.0  # a new cell is told at most this often
_SAME_CELL_SECONDS = 20.0  # and a long one this often
_WORDS = 60
_PACE = 10.0  # seconds after which a loop's own pace tells more than what was expected
_COUNT = re.compile(r": (\d+) of (\d+)")


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


def clock(seconds: float) -> str:
    """Write seconds as ``m:ss`` or ``h:mm:ss``.

    Examples
    --------
    >>> clock(65), clock(3_725)
    ('1:05', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(path: Path) -> Path:
    """Give `path` as it reads from here: relative if it lies below the working folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class Watch:
    """Tells how far the notebooks have come.

    Parameters
    ----------
    notebooks : list of Notebook
        All of the run, those that are skipped included.
    expected : callable
        Seconds that a notebook is expected to take.
    jobs : int
        Notebooks that run at once.
    """

    def __init__(
        self, notebooks: list[Notebook], *, expected: Callable[[Notebook], float], jobs: int
    ) -> None:
        self._all, self._jobs = notebooks, jobs
        self._expected = {nb.name: expected(nb) for nb in notebooks}
        self._running: dict[str, Run] = {}
        self._ended: set[str] = set()
        self._took: dict[str, float] = {}
        self._told: dict[str, tuple[int, float]] = {}
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def skip(self, nb: Notebook) -> None:
        """Tell that `nb` need not be run."""
        self._ended.add(nb.name)
        say(f"{self._label(nb)}  unchanged, not run again")

    def start(self, run: Run) -> None:
        """Tell that a notebook starts."""
        self._running[run.nb.name] = run
        self._told[run.nb.name] = (0, time.monotonic())
        say(f"{self._label(run.nb)}  starts, {run.cells} cells  {self._times()}")

    def end(self, nb: Notebook, what: str) -> None:
        """Tell how a notebook ended."""
        self._ended.add(nb.name)
        if (run := self._running.pop(nb.name, None)) is not None:
            self._took[nb.name] = run.seconds
        say(f"{self._label(nb)}  {what}")

    async def tick(self) -> None:
        """Look at the running notebooks now and then, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            for run in self._running.values():
                self._tell(run)

    def _tell(self, run: Run) -> None:
        cell, when = self._told[run.nb.name]
        wait = _NEXT_CELL_SECONDS if run.cell != cell else _SAME_CELL_SECONDS
        if time.monotonic() - when < wait:
            return
        self._told[run.nb.name] = (run.cell, time.monotonic())
        words = run.last_words()[:_WORDS]
        line = f"{self._label(run.nb)}  cell {run.cell} of {run.cells}  {self._times()}"
        say(f"{line} | {words}" if words else line)

    def _label(self, nb: Notebook) -> str:
        return f"[{self._all.index(nb) + 1}/{len(self._all)}] {nb.name}"

    def _times(self) -> str:
        return f"{clock(self.seconds)} elapsed, about {clock(self.left())} left"

    def left(self) -> float:
        """Estimate the seconds left: what each notebook still takes, trainings side by side."""
        rests = [(trains(nb), self._rest(nb)) for nb in self._all if nb.name not in self._ended]
        trainings = [rest for is_training, rest in rests if is_training]
        others = sum(rest for is_training, rest in rests if not is_training)
        return others + max([*trainings, sum(trainings) / self._jobs])

    def _rest(self, nb: Notebook) -> float:
        """Expect a loop to go on at its own pace, and anything else to be as slow as what ran."""
        expected, run = self._slower(nb) * self._expected[nb.name], self._running.get(nb.name)
        if run is None:
            return expected
        if run.cell_seconds > _PACE and (found := _COUNT.search(run.last_words())):
            done, total = map(int, found.groups())
            if 0 < done < total:
                in_loop = run.cell_seconds * (total - done) / done
                return in_loop + expected * (run.cells - run.cell) / run.cells
        return max(expected - run.seconds, 0.25 * run.seconds)

    def _slower(self, nb: Notebook) -> float:
        """Return how many times as long as expected those of its kind took that ended or overran.

        A large folder takes long to read, and its models train no longer.
        """
        took = dict(self._took)
        took |= {n: r.seconds for n, r in self._running.items() if r.seconds > self._expected[n]}
        alike = [one.name for one in self._all if one.name in took and trains(one) == trains(nb)]
        expected = sum(self._expected[name] for name in alike)
        return max(1.0, sum(took[name] for name in alike) / expected) if alike else 1.0


def print_results(paths: Paths, *, rendered: Path) -> None:
    """Print the paper's table beside ours, the verdict, and where things lie."""
    for name, title in (
        ("paper_table.csv", "The paper's table beside ours"),
        ("verdict.csv", "The verdict on the paper's claims"),
    ):
        table = paths.results / name
        if table.exists():
            say(f"\n{title} ({shown(table)}):\n\n{_aligned(_read(table))}")
    say("")
    for what, folder, pattern in (
        ("figures", paths.figures, "*.png"),
        ("audio", paths.audio, "**/*.wav"),
        ("pieces", paths.generated, "**/*.mid"),
        ("tables", paths.results, "*.csv"),
        ("rendered notebooks", rendered, "*.html"),
    ):
        if count := len(list(folder.glob(pattern))):
            say(f"{what + ':':20}{count:5} in {shown(folder)}")


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [[_short(field) for field in row] for row in csv.reader(file)]


def _short(field: str) -> str:
    """Cut a number to five digits; leave whole numbers and words."""
    try:
        return field if field.lstrip("+-").isdigit() else f"{float(field):.5g}"
    except ValueError:
        return field


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Set rows as a table of text, with numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=False)]
    numbers = [_is_number(field) for field in rows[-1]]
    lines = []
    for row in rows:
        cells = zip(row, widths, numbers, strict=False)
        lines.append("  ".join(f.rjust(w) if right else f.ljust(w) for f, w, right in cells))
    return "\n".join(line.rstrip() for line in lines)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
