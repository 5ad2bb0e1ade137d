"""What the installer refuses, leaves alone and falls back on, and what make clean removes.

Nothing is installed here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from musiclib import synth
from study import install


@pytest.mark.parametrize("version", [(3, 10, 4), (2, 7), (3, 14, 0)])
def test_a_python_without_tensorflow_is_refused(version):
    got = f"{version[0]}.{version[1]}"
    with pytest.raises(install.InstallError, match=rf"Python {got} cannot .* 3\.11 to 3\.13"):
        install.require_python(version)


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_a_python_with_tensorflow_will_do(version):
    install.require_python(version)


def test_without_fluidsynth_each_system_has_its_command(monkeypatch):
    monkeypatch.setattr(install, "apt_install", lambda package: False)
    monkeypatch.setattr(install, "find_fluidsynth", lambda: None)
    with pytest.raises(install.InstallError, match="FluidSynth's library is missing") as caught:
        install.require_fluidsynth()
    commands = re.findall(r"'([^']+)'", synth._INSTALL.split("Its Python binding")[0])
    assert len(commands) == 5
    for command in commands:  # musiclib says the same
        assert command in str(caught.value)


def test_fluidsynth_is_installed_only_where_it_is_missing(monkeypatch):
    asked, library = [], "libfluidsynth.so.3"
    monkeypatch.setattr(install, "apt_install", lambda package: not asked.append(package))
    monkeypatch.setattr(install, "find_fluidsynth", lambda: library)
    install.require_fluidsynth()
    assert asked == []
    monkeypatch.setattr(install, "find_fluidsynth", lambda: library if asked else None)
    install.require_fluidsynth()
    assert asked == ["libfluidsynth3"]


def test_apt_get_is_used_by_root_or_passwordless_sudo_only(monkeypatch):
    commands = []

    def succeeds(command, *, answer):
        commands.append(command)
        return answer(command)

    def apt(user, answer):
        commands.clear()
        monkeypatch.setattr(install.os, "geteuid", lambda: user, raising=False)
        monkeypatch.setattr(install.shutil, "which", lambda name: "/usr/bin/apt-get")
        monkeypatch.setattr(install, "_succeeds", lambda c: succeeds(c, answer=answer))
        return install.apt_install("libfluidsynth3")

    assert not apt(1000, lambda command: False)
    assert commands == [["sudo", "-n", "true"]]
    assert apt(0, lambda command: True)
    assert len(commands) == 1
    assert commands[0][0] == "env"
    answers = iter([True, False, True, True])  # sudo, install, update, install
    assert apt(1000, lambda command: next(answers))
    assert [c[:2] for c in commands] == [["sudo", "-n"]] * 4
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    assert not install.apt_install("libfluidsynth3")


def test_an_environment_is_made_anew_only_for_another_python(tmp_path, monkeypatch):
    commands, venv = [], tmp_path / "venv"

    def succeeds(command, *, fits):
        commands.append("venv" if "venv" in command else "check")
        if "venv" in command:
            python = Path(command[-1], "Scripts/python.exe" if os.name == "nt" else "bin/python")
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        return fits or "venv" in command

    def made(*, fits):
        commands.clear()
        monkeypatch.setattr(install, "_succeeds", lambda c: succeeds(c, fits=fits))
        assert install.make_venv(venv).is_relative_to(venv)
        return commands

    assert made(fits=True) == ["venv"]
    assert made(fits=True) == ["check"]
    assert made(fits=False) == ["check", "venv"]


def test_an_environment_that_cannot_be_made_has_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(install.sys, "version_info", (3, 10))
    monkeypatch.setattr(install.sys, "executable", "no-such-python")
    monkeypatch.setattr(install, "apt_install", lambda package: False)
    with pytest.raises(install.InstallError, match=r"try 'sudo apt-get install python3\.10-venv'"):
        install.make_venv(tmp_path / "venv")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose packages are noted instead of installed, with this status."""
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".venv").mkdir()
    found = SimpleNamespace(root=tmp_path, venv=tmp_path / ".venv", noted=[], status=0)

    def noted(python, packages):
        found.noted.append(packages)
        return found.status == 0

    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "make_venv", lambda venv: venv / "bin" / "python")
    monkeypatch.setattr(install, "_install", noted)
    return found


def test_packages_are_installed_once_until_a_list_changes(checkout):
    def installed(*, test):
        checkout.noted.clear()
        install.install_packages(checkout.venv, test=test)
        return [len(packages) for packages in checkout.noted]

    assert installed(test=False) == [4]
    assert installed(test=False) == []
    assert installed(test=True) == [6]
    assert installed(test=True) == installed(test=False) == []
    (checkout.root / "requirements.txt").write_text("changed")
    assert installed(test=False) == [4]


def test_an_installation_that_broke_off_is_taken_up_again(checkout, capfd):
    checkout.status = 1
    with pytest.raises(install.InstallError, match="run the same command again"):
        install.install_packages(checkout.venv, test=False)
    assert not list(checkout.venv.iterdir())
    checkout.status = 0
    install.install_packages(checkout.venv, test=False)
    whole = (checkout.venv / "installed.txt").read_text()
    (checkout.venv / "installed.txt").write_text(whole[:70])  # killed as it was written
    install.install_packages(checkout.venv, test=False)
    assert len(checkout.noted) == 3
    assert capfd.readouterr().out.count("\n") == 3  # a line each


@pytest.mark.parametrize(
    ("uv", "own_index", "used"), [(0, False, ["uv"]), (1, False, ["uv", "pip"]), (0, True, ["pip"])]
)
def test_uv_is_used_unless_it_fails_or_pip_has_an_index_of_its_own(
    monkeypatch, uv, own_index, used
):
    calls = []

    def run(command, **_):
        tool = "uv" if "uv" in command[:3] else "pip"
        calls.append(tool)
        return subprocess.CompletedProcess(command, uv if tool == "uv" else 0)

    monkeypatch.setattr(install.subprocess, "run", run)
    monkeypatch.setattr(install, "_succeeds", lambda command: True)
    monkeypatch.setattr(install, "_has_own_index", lambda pip: own_index)
    assert install._install(Path("python"), ["numpy"])
    assert calls == used


def test_the_command_says_its_error_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(install, "require_fluidsynth", lambda: install.require_python((3, 9)))
    assert install.main([]) == 1
    assert capsys.readouterr().err.startswith("Python 3.9 cannot run the study")


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_runs_and_caches_go_and_the_size_is_told(tmp_path, capsys, monkeypatch):
    put(tmp_path / "runs/a/data/prepared/x.npz", "x" * 3_000_000)
    put(tmp_path / ".venv/bin/python")
    put(tmp_path / "musiclib/__pycache__/x.pyc")
    put(tmp_path / "data/results/verdict.csv")
    (tmp_path / "runs/a/link").symlink_to(tmp_path / "data")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    assert install.clean() == 0
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["data/results/verdict.csv"]
    out = capsys.readouterr().out
    assert "3 MB  runs/a\n" in out
    assert "3 MB  freed in all" in out


def test_listeners_answers_stay(tmp_path, capsys, monkeypatch):
    put(tmp_path / "runs/lab/data/listening/answers/heron.csv")
    put(tmp_path / "runs/lab/data/results/verdict.csv")
    put(tmp_path / "elsewhere/mine.txt")
    (tmp_path / "runs/lab/link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    install.clean()
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["elsewhere/mine.txt", "runs/lab/data/listening/answers/heron.csv"]
    assert "runs/lab, listeners' answers kept" in capsys.readouterr().out
