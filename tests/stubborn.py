"""Jobs that hang, die, fill the memory or talk, for tests of the processes that work them."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time
from pathlib import Path

from musiclib.prepare import prepare_file


def work(what: str) -> dict:
    """Do what a job says, and tell which packages this process has imported."""
    if what == "sleep":
        time.sleep(1000)
    elif what == "spin":  # within C code that never lets go of the interpreter
        re.match(r"(a+)+$", "a" * 60 + "b")
    elif what == "exit":
        os._exit(3)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "segfault":
        ctypes.string_at(1)
    elif what == "memory":
        bytearray(600_000_000)
    elif what == "print":
        print("noise")
        os.write(1, b"more noise\n")
    elif what == "garbage":  # into the very pipe of the answers
        for number in range(3, 20):
            try:
                os.write(number, b"no answer\n")
            except OSError:
                continue
    elif what == "disk":
        raise OSError(28, "cannot write x: the disk is full")
    elif what == "bug":
        raise TypeError("a fault of ours")
    return {"what": what, "pid": os.getpid(), "backend": "tensorflow" in sys.modules}


def prepare(path: str, file: str, digest: str, folder: str) -> dict:
    """Prepare a file as ever, but first do what its name says."""
    work(Path(file).stem.partition("-")[0])
    return prepare_file(path=path, file=file, digest=digest, folder=folder)


def prepare_slowly(path: str, file: str, digest: str, folder: str) -> dict:
    """Prepare a file as ever, a little later, so that a kill finds something to interrupt."""
    time.sleep(0.02)
    return prepare_file(path=path, file=file, digest=digest, folder=folder)
