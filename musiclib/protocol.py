"""What the paper's protocol can and cannot say: three picked clips of each model, one number each.

Conventions: ``values`` holds one number a piece for each model, ``{model: array}``; a ranking is
written with the largest first, as in ``vae > gan > lstm``. A picker sees all pieces and takes
`PICKED` of each model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

PICKED = 3
"""Pieces of each model in the paper's table."""

Values = Mapping[str, np.ndarray]


def ranking(means: Mapping[str, float] | pd.Series, *, smallest_first: bool = False) -> str:
    """Return the models by falling value, or by rising value; models without one (NaN) last.

    Examples
    --------
    >>> ranking({"vae": 1.0, "gan": 3.0, "lstm": 2.0})
    'gan > lstm > vae'
    >>> ranking({"vae": 1.0, "gan": math.nan, "lstm": 2.0}, smallest_first=True)
    'vae < lstm, without a value: gan'
    """
    known = {model: value for model, value in dict(means).items() if not math.isnan(value)}
    ordered = sorted(known, key=lambda model: known[model] if smallest_first else -known[model])
    missing = [model for model in dict(means) if model not in known]
    told = (" < " if smallest_first else " > ").join(ordered)
    if not missing:
        return told
    return f"{told}{', ' if told else ''}without a value: {', '.join(missing)}"


def _checked(values: Values, size: int) -> dict[str, np.ndarray]:
    """Return each model's finite values in rising order, or say that they are too few."""
    found = {}
    for model, some in values.items():
        kept = np.sort(np.asarray(some, dtype=float))
        found[model] = kept[np.isfinite(kept)]
        if len(found[model]) < size:
            raise ValueError(
                f"values: {model} has {len(found[model])} finite values; at least {size} are picked"
            )
    return found


def picked_rankings(
    values: Values, *, rng: np.random.Generator, size: int = PICKED, n_draws: int = 20_000
) -> pd.DataFrame:
    """Return how often each ranking comes out by chance, and whether a picker can make it.

    Parameters
    ----------
    values : mapping of str to np.ndarray, each of shape (n,)
        One number a piece of each model; values that are not finite are left out.
    rng : np.random.Generator
        Source of every draw.
    size : int
        Pieces picked of each model.
    n_draws : int
        Draws of `size` pieces of each model, without replacement.

    Returns
    -------
    pd.DataFrame
        One row a ranking: ranking, by_means (share of draws whose means rank so), separated (share
        of draws in which every piece of a model also lies above every piece of the next, as in the
        paper's energies), can_be_picked (whether some choice of pieces separates so).

    Raises
    ------
    ValueError
        If a model has fewer than `size` finite values.
    """
    found = _checked(values, size)
    drawn = {model: _draws(some, size, n_draws, rng) for model, some in found.items()}
    rows = []
    for order in itertools.permutations(found):
        pairs = list(itertools.pairwise(drawn[model] for model in order))
        means = np.all([a.mean(axis=1) > b.mean(axis=1) for a, b in pairs], axis=0)
        apart = np.all([a.min(axis=1) > b.max(axis=1) for a, b in pairs], axis=0)
        name = " > ".join(order)
        rows.append((name, means.mean(), apart.mean(), can_be_picked(found, order, size=size)))
    return pd.DataFrame(rows, columns=["ranking", "by_means", "separated", "can_be_picked"])


def _draws(values: np.ndarray, size: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return draws of `size` values without replacement, shape (n_draws, size)."""
    chosen = rng.random((n_draws, len(values))).argpartition(size - 1, axis=1)[:, :size]
    return values[chosen]


def can_be_picked(values: Values, order: Sequence[str], *, size: int = PICKED) -> bool:
    """Tell whether `size` pieces of each model can be chosen so that all separate in this order.

    Parameters
    ----------
    values : mapping of str to np.ndarray, each of shape (n,)
        One number a piece of each model.
    order : sequence of str
        Models, the one that shall have the largest values first.
    size : int
        Pieces of each model.

    Returns
    -------
    bool

    Notes
    -----
    Exact: going up from the last model, each takes the lowest `size` of its values that lie above
    all taken before; if any choice works, this one does.

    Examples
    --------
    >>> values = {"a": np.array([1.0, 5.0]), "b": np.array([2.0, 3.0])}
    >>> [can_be_picked(values, order, size=1) for order in (["a", "b"], ["b", "a"])]
    [True, True]
    """
    highest = -math.inf
    for model in reversed(order):
        above = np.sort(values[model])
        above = above[above > highest]
        if len(above) < size:
            return False
        highest = above[size - 1]
    return True


def picked_means(values: Values, *, size: int = PICKED) -> pd.DataFrame:
    """Return how far a picker can push the mean of the pieces shown.

    Returns
    -------
    pd.DataFrame
        One row a model: model, n, lowest, mean, highest: the mean of its `size` smallest values, of
        all, and of its `size` largest.

    Raises
    ------
    ValueError
        If a model has fewer than `size` finite values.
    """
    rows = [
        (model, len(some), some[:size].mean(), some.mean(), some[-size:].mean())
        for model, some in _checked(values, size).items()
    ]
    return pd.DataFrame(rows, columns=["model", "n", "lowest", "mean", "highest"])


def separation_chance(models: int = 3, size: int = PICKED) -> float:
    """Return how likely one given full separation is if the models do not differ at all.

    Notes
    -----
    ``(size!)^models / (models * size)!``: 1 / 1680 for three models of three pieces.

    Examples
    --------
    >>> round(1 / separation_chance())
    1680
    """
    return math.factorial(size) ** models / math.factorial(models * size)


def adjusted_means(
    table: pd.DataFrame, value: str, covariates: Sequence[str], *, models: Sequence[str]
) -> pd.DataFrame:
    """Return each model's mean as it would be if all had the same covariates.

    Parameters
    ----------
    table : pd.DataFrame
        One row a piece, with column model.
    value : str
        What is adjusted.
    covariates : sequence of str
        What is held equal, such as the density of notes.
    models : sequence of str
        Sets to compare; one that has no row is left out.

    Returns
    -------
    pd.DataFrame
        One row a model: model, n, mean, adjusted, explained (R^2 of the covariates alone, the same
        in each row).

    Raises
    ------
    ValueError
        If fewer rows than unknowns are complete.

    Notes
    -----
    Analysis of covariance by least squares with one slope for all models; adjusted means are at the
    covariates' mean over all pieces. R. A. Fisher, 1932; our choice here.
    """
    columns = [value, *covariates]
    rows = table.loc[table["model"].isin(models), ["model", *columns]]
    rows = rows[np.isfinite(rows[columns]).all(axis=1)]
    present = [model for model in models if (rows["model"] == model).any()]
    if len(rows) <= len(present) + len(covariates):
        raise ValueError(
            f"table: {len(rows)} complete pieces are too few for {len(present)} models and "
            f"{len(covariates)} covariates"
        )
    y = rows[value].to_numpy(float)
    x = rows[list(covariates)].to_numpy(float) - rows[list(covariates)].to_numpy(float).mean(axis=0)
    groups = np.stack([(rows["model"] == model).to_numpy(float) for model in present], axis=1)
    solution = np.linalg.lstsq(np.hstack([groups, x]), y, rcond=None)[0]
    explained = _explained(x, y)
    out = [
        (model, int(g.sum()), y[g > 0].mean(), adjusted, explained)
        for model, g, adjusted in zip(present, groups.T, solution, strict=False)
    ]
    return pd.DataFrame(out, columns=["model", "n", "mean", "adjusted", "explained"])


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of y's variance that a linear function of centred x explains."""
    centred = y - y.mean()
    if not centred.any():
        return math.nan
    rest = centred - x @ np.linalg.lstsq(x, centred, rcond=None)[0]
    return float(1 - (rest**2).sum() / (centred**2).sum())
