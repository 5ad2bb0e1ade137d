"""What no model may fall behind on a benchmark: chance, marginals, and a logistic regression.

Conventions: pieces are ``uint8 (T, 88)``; every floor is scored by `musiclib.benchmarks.score`.
A floor treats the keys as independent given the frame before; nothing here is recurrent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from musiclib.benchmarks import score

NAMES = ("p = 0.5", "training marginals", "logistic on the previous frame")
"""The floors, from the highest down."""

PENALTIES = (3e-5, 3e-4)
"""L2 penalties of the logistic floor, per frame; the one that does best in validation is kept."""

_Scorer = Callable[[np.ndarray], np.ndarray]


def chance(piece: np.ndarray) -> np.ndarray:
    """Give the nats of each frame when every key sounds with probability 0.5.

    Parameters
    ----------
    piece : np.ndarray, shape (T, 88), uint8

    Returns
    -------
    np.ndarray, shape (T - 1,)
        88 log 2 = 61.00 each.

    Examples
    --------
    >>> chance(np.zeros((3, 88), np.uint8)).round(2).tolist()
    [61.0, 61.0]
    """
    return np.full(len(piece) - 1, piece.shape[1] * np.log(2))


def marginals(train: Sequence[np.ndarray]) -> _Scorer:
    """Make a scorer in which each key sounds as often as in the training pieces, whatever before.

    Parameters
    ----------
    train : sequence of np.ndarray, shape (T, 88), uint8

    Returns
    -------
    callable
        From a piece to nats a frame, ``(T - 1,)``.

    Notes
    -----
    One sounding and one silent frame are added to each key's count (Laplace), so that a key that
    training pieces never use costs much, but not infinitely much.
    """
    frames = np.concatenate(train)
    share = (frames.sum(axis=0) + 1) / (len(frames) + 2)
    cost = -np.log(np.stack([1 - share, share]))
    keys = np.arange(frames.shape[1])
    return lambda piece: cost[piece[1:].astype(int), keys].sum(axis=1)


def logistic(train: Sequence[np.ndarray], *, penalty: float, steps: int = 150) -> _Scorer:
    """Fit a logistic regression of each key on the 88 keys of the frame before.

    Parameters
    ----------
    train : sequence of np.ndarray, shape (T, 88), uint8
    penalty : float
        Half the sum of squared weights, times this, is added to the nats a frame.
    steps : int
        Iterations of L-BFGS, at most.

    Returns
    -------
    callable
        From a piece to nats a frame, ``(T - 1,)``.
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
        loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps}
    ).x.reshape(start.shape)

    def nats(piece: np.ndarray) -> np.ndarray:
        logits = _with_one(piece[:-1]) @ found
        return (np.logaddexp(0, logits) - piece[1:] * logits).sum(axis=1)

    return nats


def floors(pieces: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Score the three floors on the validation and the test pieces.

    Parameters
    ----------
    pieces : mapping
        ``train``, ``valid`` and ``test``, as `musiclib.benchmarks.read_benchmark` gives them.

    Returns
    -------
    pd.DataFrame
        model, valid_nll, test_nll (nats a frame) and parameters. The penalty of the logistic
        regression is chosen on the validation pieces.
    """
    keys = pieces["train"][0].shape[1]
    tried = [logistic(pieces["train"], penalty=p) for p in PENALTIES]
    best = min(tried, key=lambda one: _scored(one, pieces["valid"]))
    sizes = (0, keys, keys * (keys + 1))
    scorers = dict(zip(NAMES, (chance, marginals(pieces["train"]), best), strict=True))
    rows = [
        (model, _scored(one, pieces["valid"]), _scored(one, pieces["test"]), size)
        for (model, one), size in zip(scorers.items(), sizes, strict=True)
    ]
    return pd.DataFrame(rows, columns=["model", "valid_nll", "test_nll", "parameters"])


def _scored(scorer: _Scorer, pieces: Sequence[np.ndarray]) -> float:
    return score([scorer(piece) for piece in pieces], pieces)


def _with_one(frames: np.ndarray) -> np.ndarray:
    """Append a column of ones, for the bias."""
    return np.concatenate([frames, np.ones((len(frames), 1))], axis=1).astype(np.float32)
