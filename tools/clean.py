"""Remove what the study made on this machine, and say what that frees.

    python3 tools/clean.py

Conventions: run by the machine's own Python, as the environment goes too. Only what git ignores is
removed: the environment, runs, caches. Listeners' answers are people's words: they stay.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = Path("data", "listening", "answers")
MADE = ("build", "dist", ".pytest_cache", ".ruff_cache", ".hypothesis")


def size(path: Path) -> int:
    """Return the bytes below a folder, links not followed."""
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files)


def made(root: Path, venv: Path) -> Iterator[Path]:
    """Yield the folders that are there to be removed, each run on its own."""
    if (root / "runs").is_dir():
        yield from sorted((root / "runs").iterdir())
    yield from (path for path in [venv, *(root / name for name in MADE)] if path.exists())
    yield from sorted(root.glob("*.egg-info"))
    for folder in ("musiclib", "tools", "tests"):
        yield from sorted((root / folder).rglob("__pycache__"))


def remove(path: Path) -> bool:
    """Remove a file or folder but for listeners' answers in it; tell whether any were kept."""
    answers = path / ANSWERS
    if not answers.is_dir() or not any(answers.iterdir()):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return False
    for folder, folders, names in os.walk(path, topdown=False):
        here = Path(folder)
        if here != answers and answers not in here.parents:
            for name in names:
                (here / name).unlink()
            for name in folders:
                if (here / name).is_symlink():
                    (here / name).unlink()
                elif not any((here / name).iterdir()):
                    (here / name).rmdir()
    return True


def main() -> int:
    """Remove everything, and return the exit status."""
    freed = 0
    for path in made(ROOT, ROOT / (sys.argv[1] if len(sys.argv) > 1 else ".venv")):
        before = size(path)
        kept = remove(path)
        freed += before - (size(path) if kept else 0)
        if before > 1_000_000 or kept:
            note = ", listeners' answers kept" if kept else ""
            print(f"{before / 1e6:8.0f} MB  {os.path.relpath(path, ROOT)}{note}")
    print(f"{freed / 1e6:8.0f} MB  freed in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
