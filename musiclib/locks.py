"""Hold a lock on a file, so that two processes do not write the same thing at once.

Conventions: the system's own advisory locks (``flock`` on POSIX, ``msvcrt.locking`` on Windows),
which end with the process that holds them, however it ends: a killed run leaves no lock behind.
The lock file itself stays, empty; it is hidden and ignored by git.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from musiclib.files import explained

_POLL_SECONDS = 0.05


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    Parameters
    ----------
    path : str or os.PathLike
        The lock file; it and its parent folders are created where they are missing.
    wait : bool
        Wait until whoever holds the lock lets go of it. If False, do not wait.

    Raises
    ------
    BlockingIOError
        If `wait` is False and another process, or another block of this one, holds the lock.
    OSError
        If the lock file cannot be made, with one sentence that says what to do.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder, ".lock")):
    ...     print("mine")
    mine
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("ab")
    except OSError as error:
        raise explained(error, path) from error
    with opened as file:
        while not _try_lock(file):
            if not wait:
                raise BlockingIOError(errno.EAGAIN, f"{path} is locked by another process")
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            _unlock(file)


if os.name == "nt":  # pragma: no cover (untried: the tests run on POSIX)
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
