"""Cut a piece into windows, once it is known that they fit into the memory.

Conventions: the first axis is time; windows never leave their piece, and nothing is padded.
"""

from __future__ import annotations

import numpy as np

MAX_WINDOW_BYTES = 1_000_000_000
"""Most that the windows of one piece may take."""


def windows(roll: np.ndarray, *, length: int, hop: int) -> np.ndarray:
    """Cut a piece into windows that never leave it.

    Parameters
    ----------
    roll : np.ndarray, shape (T, ...)
        A roll, or anything else whose first axis is time.
    length, hop : int
        Steps of a window and from one window's start to the next, both at least 1.

    Returns
    -------
    np.ndarray, shape (N, length, ...)
        N = 0 when the piece is shorter than a window; nothing is padded.

    Raises
    ------
    ValueError
        When `length` or `hop` is below 1, or the windows would pass `MAX_WINDOW_BYTES`.
    """
    if length < 1 or hop < 1:
        raise ValueError(f"length and hop must be at least 1, got {length} and {hop}")
    roll = np.asarray(roll)
    starts = np.arange(0, max(len(roll) - length + 1, 0), hop)
    size = len(starts) * length * (roll[:1].nbytes + 8)  # 8: of the index that picks them
    if size > MAX_WINDOW_BYTES:
        raise ValueError(
            f"{len(starts):,} windows of {length:,} steps take {size / 1e6:,.0f} MB, and at most "
            f"{MAX_WINDOW_BYTES / 1e6:,.0f} MB are cut at once; choose a larger hop"
        )
    return roll[starts[:, None] + np.arange(length)]
