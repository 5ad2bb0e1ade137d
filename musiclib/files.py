"""Write files whole or not at all, and read only what is safe to read.

Every writer goes through `atomic_path`, so a reader never sees half a file; text is UTF-8 with
``\n`` line endings on every system. Where a file cannot be written, the `OSError` (of the class
that the system raised) names it and says what to do. Readers open only regular files and links to
them: a folder, FIFO, device or socket raises `ValueError` unopened, so nothing hangs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from filelock import AcquireReturnProxy, FileLock

Rows = pd.DataFrame | Iterable[Mapping[str, Any]]
TEMPORARY_PREFIX = ".partial-"

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space there or choose another output folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another output folder",
    errno.EFBIG: "the file is larger than this disk or account allows; choose another folder",
    errno.EACCES: "permission denied; make the folder writable or choose another output folder",
    errno.EPERM: "not permitted; make the file and folder writable or choose another folder",
    errno.EROFS: "the disk is read-only; choose another output folder",
    errno.ENOTDIR: "a part of its path is a file, not a folder; rename it or choose another path",
    errno.EEXIST: "a part of its path is a file, not a folder; rename it or choose another path",
    errno.EISDIR: "there is a folder of that name; rename it or choose another path",
    errno.ENAMETOOLONG: "the name is too long for this disk; choose a shorter one",
}
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO (named pipe)", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device",
}  # fmt: skip


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` when the block succeeds.

    The temporary file is in the same folder, with the same ending (``.weights.h5`` included); the
    block creates it. Missing parent folders are created. A symbolic link at `path` is replaced by
    the file. If the block fails, an earlier file stays as it was. ``os.replace`` within one folder
    is atomic (POSIX ``rename``), and the bytes are flushed to the disk first, so a power cut leaves
    either file whole. A killed process leaves its temporary file behind: see `remove_leftovers`.
    """
    path = Path(path)
    # The end of the name is kept, since writers such as Keras look at its suffixes.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}-{path.name[-40:]}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        culprit = error.filename if isinstance(error, OSError) else None
        ours = culprit is None or Path(culprit) in (path, temporary, *path.parents)
        advice = with_advice(error, path)
        if advice is error or not ours:
            raise
        raise advice from error


def with_advice(error: BaseException, path: str | os.PathLike[str]) -> BaseException:
    """Return the same kind of error with a sentence on what to do about `path`, if one is known."""
    code = error.errno if isinstance(error, OSError) else None
    if code not in _ADVICE and "No space left on device" in str(error):
        code = errno.ENOSPC  # HDF5 and libsndfile say it in words
    return OSError(code, f"cannot write {path}: {_ADVICE[code]}") if code in _ADVICE else error


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write `text` to `path` in UTF-8, atomically, with the line endings as given."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write `obj` to `path` as indented JSON, atomically, keys in the order given.

    NumPy values become numbers and lists, paths strings, NaN and infinities ``null``.
    """
    text = json.dumps(_to_json(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(text + "\n", path)


def _to_json(obj: Any) -> Any:
    if isinstance(obj, dict):
        return {_to_json(key): _to_json(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_to_json(value) for value in obj]
    if isinstance(obj, np.ndarray | np.generic):
        return _to_json(obj.tolist())
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj


def write_csv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write `frame` to `path` as CSV without its index, atomically; floats read back the same."""
    write_text(frame.to_csv(index=False, lineterminator="\n"), path)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove what killed runs left in `folder`; call it only where no other process can write."""
    for entry in Path(folder).glob(f"{TEMPORARY_PREFIX}*"):
        if entry.is_file():
            entry.unlink(missing_ok=True)


def locked(path: str | os.PathLike[str], *, wait: bool = True) -> AcquireReturnProxy:
    """Return a lock on `path` for a ``with`` block: one process or thread holds it at a time.

    The lock is the system's own on the hidden file ``.NAME.lock`` beside `path`, and ends with the
    process that holds it. Without `wait`, `filelock.Timeout` is raised if another holds it.
    """
    path = Path(path)
    try:
        return FileLock(path.with_name(f".{path.name}.lock")).acquire(timeout=-1 if wait else 0)
    except OSError as error:
        raise with_advice(error, path) from None


def _open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    _require_regular(path, os.stat(path).st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)  # it may have been replaced
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")
        raise ValueError(f"cannot read {path}: it is {kind}, and only regular files are read")


def read_regular(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Read the regular file `path` whole; more than `limit` bytes raise `ValueError`."""
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > limit else file.read(limit + 1)
    if (size := max(size, len(data))) > limit:
        held = f"it holds {size:,} bytes, and at most {limit:,} are read"
        raise ValueError(f"cannot read {path}: {held}")
    return data


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the regular file `path` as 64 lowercase hexadecimal digits."""
    with _open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_join(root: str | os.PathLike[str], *parts: str | os.PathLike[str]) -> Path:
    """Join `parts` to `root`, links and ``..`` resolved; refuse a result that lies outside `root`.

    For names that come from elsewhere, such as an archive's members. `root` need not exist.
    """
    base = Path(root).resolve()
    names = tuple(os.fspath(part) for part in parts)
    if any("\0" in name for name in names):
        raise ValueError(f"parts {names!r} hold a null character; remove it")
    target = base.joinpath(*names).resolve()
    if target != base and base not in target.parents:
        raise ValueError(f"parts {names!r} lead out of the folder {root}; stay inside it")
    return target


def upsert_csv(rows: Rows, path: str | os.PathLike[str], *, keys: Sequence[str]) -> None:
    """Put `rows` into the CSV `path`: a row with the same `keys` is replaced, others stay.

    `keys` are the columns that name a row, such as ``("model", "seed", "sample")``; none may be
    empty, and no two new rows may have the same. The table is sorted by them (numbers as numbers).
    NaN and None become empty fields. A lock beside the table makes several notebooks take turns.
    """
    keys, path, new = list(keys), Path(path), _as_text(rows)
    _check_keys(new, keys)
    with locked(path):
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            _check_keys(old, keys, name=str(path))
            new = pd.concat([old, new]).fillna("").drop_duplicates(keys, keep="last")
        write_csv(new.sort_values(keys, key=_order, kind="stable"), path)


def append_csv(rows: Rows, path: str | os.PathLike[str], *, ignore: Sequence[str] = ()) -> None:
    """Append to the CSV `path` the `rows` that it lacks; what stands there is never changed.

    Rows that differ only in the columns `ignore` are equal. A file's columns are those of the rows,
    or the first of them: the others are empty in its own rows.
    """
    new, path = _as_text(rows), Path(path)
    with locked(path):
        old = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else new[:0]
        if list(old) != list(new)[: len(old.columns)]:
            raise ValueError(f"{path}: got the columns {', '.join(old)}; wanted {', '.join(new)}")
        both = pd.concat([old, new], ignore_index=True).fillna("")
        known = both.duplicated([name for name in both if name not in ignore])
        write_csv(both[~known | (both.index < len(old))], path)


def _as_text(rows: Rows) -> pd.DataFrame:
    """Write every field as it will stand in the file, so that old and new rows are alike."""
    frame = pd.DataFrame(rows, dtype=object)  # a whole number beside an empty field stays whole
    return frame.where(frame.notna(), "").map(str).reset_index(drop=True)


def _check_keys(rows: pd.DataFrame, keys: list[str], *, name: str = "rows") -> None:
    if not keys:
        raise ValueError("keys: got none; give the columns that name a row")
    for key in keys:
        if key not in rows.columns or (rows[key] == "").any():
            raise ValueError(f"{name}: key {key!r} is missing in at least one row; fill it in")
    if len(twice := rows[rows.duplicated(keys)]):
        pair = dict(twice[keys].iloc[0])
        raise ValueError(f"{name}: two rows have the same keys {pair}; keys must name a row")


def _order(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return column if numbers.isna().any() else numbers
