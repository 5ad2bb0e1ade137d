"""Chromium without a window, driven through its DevTools protocol, and JupyterLab to open in it.

Conventions: both work in folders of the test's own, so nothing of this account's settings, trusted
notebooks or open tabs counts, and both end with the test.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import websocket  # jupyter_server needs it too

TOKEN = "token-of-a-test"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str | None:
    """Return the path of a Chromium or Chrome, or None."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def wait_for(ask: Callable[[], Any], what: str, *, within: float = 120.0) -> Any:
    """Return the first answer that is true, or fail with `what` had not come."""
    ends = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < ends, f"{what}: not within {within:g} s"
        time.sleep(0.1)
    return answer


class Page:
    """One tab, in which JavaScript can be evaluated."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=120, suppress_origin=True)
        self._numbers = itertools.count(1)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv())).get("id") != number:
            pass  # an event
        assert "error" not in message, f"{method}: {message}"
        return message["result"]

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression; a promise is awaited, as if the user had clicked."""
        result = self.command(
            "Runtime.evaluate",
            expression=script, awaitPromise=True, returnByValue=True, userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def close(self) -> None:
        """Close the tab."""
        with contextlib.suppress(websocket.WebSocketException):
            self.command("Page.close")
        self._socket.close()


@contextlib.contextmanager
def _running(command: list[str], log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block lasts; what it says goes into `log`."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **more)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def chromium(path: str, folder: Path) -> Iterator[Callable[[str], Page]]:
    """Start the browser at `path`; give a function that opens an address in a new tab."""
    command = [
        path, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}",
        "--no-first-run", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--window-size=1280,1000",
    ]  # fmt: skip
    folder.mkdir(parents=True)
    with _running(command, folder / "log.txt") as process:

        def port() -> str | None:
            assert process.poll() is None, (folder / "log.txt").read_text(errors="replace")
            file = folder / "DevToolsActivePort"
            return (file.read_text().split() or [None])[0] if file.exists() else None

        base = f"http://127.0.0.1:{wait_for(port, 'the browser')}/json/new?"

        def open_page(address: str) -> Page:
            request = urllib.request.Request(base + address, method="PUT")
            with urllib.request.urlopen(request, timeout=120) as reply:
                return Page(json.load(reply)["webSocketDebuggerUrl"])

        yield open_page


@contextlib.contextmanager
def jupyterlab(root: Path, folder: Path) -> Iterator[str]:
    """Start JupyterLab on `root` with its own folders below `folder`; give its address."""
    kinds = ("CONFIG", "DATA", "RUNTIME")
    places = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in kinds}
    environment = {**os.environ, **places, "JUPYTER_PREFER_ENV_PATH": "1", "HOME": str(folder)}
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
        f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    ]  # fmt: skip
    folder.mkdir(parents=True)
    with _running(command, folder / "log.txt", env=environment, cwd=root) as process:

        def address() -> str | None:
            assert process.poll() is None, (folder / "log.txt").read_text(errors="replace")
            for file in (folder / "runtime").glob("jpserver-*.json"):
                with contextlib.suppress(ValueError):  # half written
                    return json.loads(file.read_text())["url"]
            return None

        yield wait_for(address, "JupyterLab")
