"""Make the environment that the study runs in, or remove what the study made on this machine.

    python3 study/install.py            what `make study` needs: FluidSynth's library, packages
    python3 study/install.py --test     and what `make test` needs
    python3 study/install.py clean      remove the environment, runs and caches

The machine's own Python runs this, so it uses only the standard library. After a failure the same
command resumes. uv installs the packages, in less than half of pip's time, or pip if uv fails.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)  # the versions of Python that TensorFlow has packages for
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
ANSWERS = Path("data", "listening", "answers")
CACHES = ("build", "dist", ".pytest_cache", ".ruff_cache", ".hypothesis")


class InstallError(RuntimeError):
    """Something is missing that cannot be installed from here; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Install what is missing, and return the exit status."""
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


def require_python(version: Sequence[int]) -> None:
    """Refuse a Python for which TensorFlow has no packages."""
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        got, low, high = (".".join(map(str, v[:2])) for v in (version, OLDEST, NEWEST))
        advice = f"install Python {low} to {high} and try again, or set PYTHON=python{high}"
        raise InstallError(f"Python {got} cannot run the study; {advice}")


def require_fluidsynth() -> None:
    """Install FluidSynth's library if it is missing, or say how."""
    if not find_fluidsynth() and not (apt_install("libfluidsynth3") and find_fluidsynth()):
        raise InstallError(_FLUIDSYNTH_HELP)


def find_fluidsynth() -> str | None:
    """Return the name or path of FluidSynth's library, or None."""
    found = filter(None, map(ctypes.util.find_library, _LIBRARIES))
    return next(found, str(_HOMEBREW) if _HOMEBREW.exists() else None)


def apt_install(package: str) -> bool:
    """Install a Debian package if this account may, and return whether it is installed."""
    sudo = [] if getattr(os, "geteuid", lambda: 1)() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (sudo and not _succeeds([*sudo, "true"])):
        return False
    print(f"Installing {package} with apt-get ...", flush=True)
    apt_get = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    install = [*apt_get, "install", "-qq", "-y", "--no-install-recommends", package]
    return _succeeds(install) or (_succeeds([*apt_get, "update", "-qq"]) and _succeeds(install))


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
        advice = "check the network and the disk, and run the same command again"
        raise InstallError(f"The packages were not installed (see the reason above); {advice}")
    stamp.write_text("\n".join(wanted), encoding="utf-8")


def make_venv(venv: Path) -> Path:
    """Make the virtual environment unless one of this Python exists; return its Python."""
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    same = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    if python.exists() and _succeeds([str(python), "-c", same]):
        return python
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if not _succeeds(command) and not (apt_install(package) and _succeeds(command)):
        advice = f"try 'sudo apt-get install {package}'; otherwise check: {' '.join(command)}"
        raise InstallError(f"Python could not make {venv}; on Debian and Ubuntu {advice}")
    return python


def _install(python: Path, packages: list[str]) -> bool:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    uv = [str(python), "-m", "uv", "pip", "install", "-q", "--compile-bytecode", "--python"]
    if not _has_own_index(pip) and _succeeds([*pip, "install", "-q", "uv"]):
        if subprocess.run([*uv, str(python), *packages], check=False).returncode == 0:
            return True
        print("uv could not install them; trying pip ...", flush=True)
    return subprocess.run([*pip, "install", "-q", *packages], check=False).returncode == 0


def _has_own_index(pip: list[str]) -> bool:
    """Return whether pip uses another package index, which uv would not know about."""
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    return "PIP_INDEX_URL" in os.environ or ".index-url=" in listed.stdout.replace("_", "-")


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def clean(venv: str = ".venv") -> int:
    """Remove all that was made except listeners' answers, and say how much that frees."""
    made = [*sorted((ROOT / "runs").glob("*")), ROOT / venv, *(ROOT / name for name in CACHES)]
    made += ROOT.glob("*.egg-info")
    for package in ("musiclib", "study", "tests"):
        made += (ROOT / package).rglob("__pycache__")
    freed = 0
    for path in filter(os.path.lexists, made):
        before, kept = size(path), remove(path)
        freed += before - size(path)
        if before > 1_000_000 or kept:
            note = ", listeners' answers kept" if kept else ""
            print(f"{before / 1e6:8.0f} MB  {os.path.relpath(path, ROOT)}{note}")
    print(f"{freed / 1e6:8.0f} MB  freed in all")
    return 0


def size(path: Path) -> int:
    """Return the bytes below a folder; links are not followed."""
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files)


def remove(path: Path) -> bool:
    """Remove a file or folder except listeners' answers in it; return whether any were kept."""
    answers = path / ANSWERS
    if not answers.is_dir() or not any(answers.iterdir()):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return False
    for below in sorted(path.rglob("*"), reverse=True):  # contents before their folder
        if below.is_dir() and not below.is_symlink():
            if not any(below.iterdir()):
                below.rmdir()
        elif answers not in below.parents:
            below.unlink()
    return True


if __name__ == "__main__":
    sys.exit(clean(*sys.argv[2:]) if sys.argv[1:2] == ["clean"] else main())
