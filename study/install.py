"""Make the environment that the study runs in: FluidSynth's library, then Python's packages.

    python3 study/install.py            what `make study` needs
    python3 study/install.py --test     and what `make test` needs

Conventions: run by the machine's own Python, so only the standard library is used here. What is
there already is left alone, and what broke off is taken up again by the same command. The packages
are installed by uv, in less than half of pip's time, or by pip where uv fails or does not know the
package index that pip was told of.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)

# The names under which pyfluidsynth looks for the library.
_LIBRARIES = ("fluidsynth", "fluidsynth-3", "libfluidsynth", "libfluidsynth-3", "libfluidsynth-2")
_HOMEBREW = Path("/opt/homebrew/lib/libfluidsynth.dylib")
_FLUIDSYNTH_HELP = """\
FluidSynth's library is missing, and without it no piece can be heard. Install it and try again:
  Debian, Ubuntu   sudo apt-get install libfluidsynth3
  Fedora           sudo dnf install fluidsynth-libs
  macOS            brew install fluidsynth
  conda            conda install -c conda-forge fluidsynth
  Windows          choco install fluidsynth"""


class InstallError(RuntimeError):
    """Something is missing that cannot be installed from here; the message says what to do."""


def require_python(version: Sequence[int]) -> None:
    """Refuse a version of Python for which TensorFlow has no packages."""
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        got, low, high = (".".join(map(str, v[:2])) for v in (version, OLDEST, NEWEST))
        raise InstallError(
            f"Python {got} cannot run the study; install Python {low} to {high} and try again, "
            f"with PYTHON=python{high} if it is not the first that is found"
        )


def find_fluidsynth() -> str | None:
    """Give the name or path of FluidSynth's library, or None."""
    for name in _LIBRARIES:
        if found := ctypes.util.find_library(name):
            return found
    return str(_HOMEBREW) if _HOMEBREW.exists() else None


def require_fluidsynth(find: Callable[[], str | None] = find_fluidsynth) -> None:
    """See to FluidSynth's library: install it where that is possible, or say how."""
    if find():
        return
    if not (apt_install("libfluidsynth3") and find()):
        raise InstallError(_FLUIDSYNTH_HELP)


def apt_install(package: str) -> bool:
    """Install a Debian package if this account may, and tell whether it is installed."""
    root = getattr(os, "geteuid", lambda: 1)() == 0
    sudo = [] if root else ["sudo", "-n"]
    if shutil.which("apt-get") is None or not (root or _succeeds(["sudo", "-n", "true"])):
        return False
    print(f"Installing {package} with apt-get ...", flush=True)
    environment = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive"]
    install = [*environment, "apt-get", "install", "-qq", "-y", "--no-install-recommends", package]
    if _succeeds(install):
        return True
    return _succeeds([*environment, "apt-get", "update", "-qq"]) and _succeeds(install)


def make_venv(venv: Path) -> Path:
    """Make the virtual environment unless one of this Python is there; give its Python."""
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    same = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    if python.exists() and _succeeds([str(python), "-c", same]):
        return python
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if not _succeeds(command) and not (apt_install(package) and _succeeds(command)):
        raise InstallError(
            f"Python could not make the environment {venv}; on Debian and Ubuntu "
            f"'sudo apt-get install {package}' helps, else look at: {' '.join(command)}"
        )
    return python


def install_packages(venv: Path, *, test: bool) -> None:
    """Install what requirements.txt names, and musiclib, unless that was done before."""
    lists = ["requirements.txt", *(["requirements-dev.txt"] if test else [])]
    stamp, files = venv / "installed.txt", [*lists, "pyproject.toml"]
    wanted = {hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in files}
    wanted.add(str(ROOT))
    python = make_venv(venv)
    if stamp.exists() and wanted <= set(stamp.read_text(encoding="utf-8").splitlines()):
        return
    print(f"Installing {' and '.join(lists)} into {venv}, which takes minutes ...", flush=True)
    stamp.unlink(missing_ok=True)
    packages = [part for name in lists for part in ("-r", str(ROOT / name))]
    if not _install(python, [*packages, "-e", str(ROOT)]):
        raise InstallError(
            "pip could not install the packages (its reason stands above); see to the network and "
            "the disk, and run the same command again"
        )
    stamp.write_text("\n".join(wanted), encoding="utf-8")


def _install(python: Path, packages: list[str]) -> bool:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    uv = [str(python), "-m", "uv", "pip", "install", "-q", "--compile-bytecode"]
    if not _has_own_index(pip) and _succeeds([*pip, "install", "-q", "uv"]):
        command = [*uv, "--python", str(python), *packages]
        if subprocess.run(command, check=False).returncode == 0:
            return True
        print("uv could not install them; trying pip ...", flush=True)
    return subprocess.run([*pip, "install", "-q", *packages], check=False).returncode == 0


def _has_own_index(pip: list[str]) -> bool:
    """Tell whether pip was told of another package index, which uv would not know of."""
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    return "PIP_INDEX_URL" in os.environ or ".index-url=" in listed.stdout.replace("_", "-")


def _succeeds(command: list[str]) -> bool:
    """Run a command without a word, and tell whether it succeeded."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is missing, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--test", action="store_true", help="also what the tests need")
    options = parser.parse_args(arguments)
    try:
        require_python(sys.version_info)
        require_fluidsynth()
        install_packages(options.venv, test=options.test)
    except InstallError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


# ---- study.install ----
# Remove what the study made on this machine, and say what that frees.
#
#     python3 study/install.py
#
# Conventions: run by the machine's own Python, as the environment goes too. Only what git ignores
# is
# removed: the environment, runs, caches. Listeners' answers are people's words: they stay.

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
    for folder in ("musiclib", "study", "tests"):
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


def clean(venv: str = ".venv") -> int:
    """Remove everything, and return the exit status."""
    freed = 0
    for path in made(ROOT, ROOT / venv):
        before = size(path)
        kept = remove(path)
        freed += before - (size(path) if kept else 0)
        if before > 1_000_000 or kept:
            note = ", listeners' answers kept" if kept else ""
            print(f"{before / 1e6:8.0f} MB  {os.path.relpath(path, ROOT)}{note}")
    print(f"{freed / 1e6:8.0f} MB  freed in all")
    return 0


if __name__ == "__main__":
    sys.exit(clean(*sys.argv[2:]) if sys.argv[1:2] == ["clean"] else main())
