"""Lay out the boxes of a directed graph in rows, with arrows that pass between boxes.

Conventions: after Sugiyama: rows by rank, what passes a row gets a narrow place of its own in it,
the order in a row by the mean place of its neighbours, then places that pull lines straight. Widths
are in boxes. Nothing is drawn at random: the same graph gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from musiclib.model_graph import Block, ranks

_PASSAGE = 0.3  # width of a place that a line passes, in boxes
_SWEEPS, _PULLS = 6, 40


@dataclass(frozen=True)
class Layout:
    """Where boxes and lines lie.

    Attributes
    ----------
    places : list of (float, int)
        Middle, in boxes from the left, and row of each block.
    routes : list of list of (float, int)
        Each arrow's points, from its first block through the rows it passes to its last.
    width : float
        In boxes.
    rows : int
    """

    places: list[tuple[float, int]]
    routes: list[list[tuple[float, int]]]
    width: float
    rows: int


def arrange(blocks: list[Block]) -> Layout:
    """Place the blocks of a model and route its arrows.

    Parameters
    ----------
    blocks : list of Block
        As `model_graph.read_blocks` gives them.

    Returns
    -------
    Layout
    """
    rank = ranks(blocks)
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for index, row in enumerate(rank):
        rows[row].append(index)
    row_of, links, chains = list(rank), [], []
    for index, block in enumerate(blocks):
        for parent in block.parents:
            chain = [parent]
            for row in range(rank[parent] + 1, rank[index]):
                chain.append(len(row_of))
                rows[row].append(len(row_of))
                row_of.append(row)
            chains.append([*chain, index])
            links += list(zip(chains[-1], chains[-1][1:], strict=False))
    widths = np.array([1.0] * len(blocks) + [_PASSAGE] * (len(row_of) - len(blocks)))
    x = _pull(_order(rows, links), links, widths)
    x -= (x - widths / 2).min()
    routes = [[(float(x[item]), row_of[item]) for item in chain] for chain in chains]
    places = [(float(x[index]), rank[index]) for index in range(len(blocks))]
    return Layout(places, routes, float((x + widths / 2).max()), len(rows))


def _neighbours(links: list[tuple[int, int]], items: int) -> list[tuple[list[int], list[int]]]:
    """Return for each item those above and those below it that it is linked to."""
    around: list[tuple[list[int], list[int]]] = [([], []) for _ in range(items)]
    for upper, lower in links:
        around[lower][0].append(upper)
        around[upper][1].append(lower)
    return around


def _order(rows: list[list[int]], links: list[tuple[int, int]]) -> list[list[int]]:
    """Order each row by the mean place of its neighbours, downwards and upwards in turn."""
    around = _neighbours(links, sum(map(len, rows)))
    for sweep in range(_SWEEPS):
        upwards = sweep % 2
        for row in reversed(rows) if upwards else rows:
            place = {
                item: i / max(len(some) - 1, 1) for some in rows for i, item in enumerate(some)
            }
            means = {i: [place[n] for n in around[i][upwards]] or [place[i]] for i in row}
            row.sort(key=lambda item: (float(np.mean(means[item])), place[item]))
    return rows


def _pull(rows: list[list[int]], links: list[tuple[int, int]], widths: np.ndarray) -> np.ndarray:
    """Move every item towards the middle of its neighbours, as far as its row has room."""
    around = _neighbours(links, len(widths))
    x = np.zeros(len(widths))
    for row in rows:
        x[row] = np.cumsum(widths[row]) - widths[row] / 2 - widths[row].sum() / 2
    for _ in range(_PULLS):
        for row in rows:
            both = [around[item][0] + around[item][1] for item in row]
            wish = np.array(
                [x[near].mean() if near else x[i] for i, near in zip(row, both, strict=True)]
            )
            x[row] = _spaced(wish, widths[row])
    return x


def _spaced(wish: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return places in order, none overlapping, as near those wished for as squares tell.

    Examples
    --------
    >>> _spaced(np.array([0.0, 0.0]), np.array([1.0, 1.0])).tolist()
    [-0.5, 0.5]
    """
    offset = np.cumsum(widths) - widths / 2
    return isotonic_regression(wish - offset).x + offset
