"""Tables of whole sets beside real music: distance, copies, variety, Yang and Lerch's overlap.

Conventions: tables as in `intervals`; `rolls` are those of `evaluation.rolls_by_set`. The reference
is the held-out real set; the training set (other real music) shows how near real music itself
comes, and the baselines what needs no model. Every table says n. What becomes of features that a
piece, a set or the real set does not define, stands at the head of `comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from musiclib.comparison import (
    FEATURES,
    distance_of_drawn,
    dropped_features,
    feature_distances,
)
from musiclib.diversity import diversity_ratio
from musiclib.evaluation import REAL
from musiclib.intervals import seed_interval, values_by_seed
from musiclib.originality import WINDOW_LENGTHS
from musiclib.set_distances import feature_vectors, set_distances

Rolls = Mapping[str, Mapping[int, Sequence[np.ndarray]]]


def distance_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return how far each set lies from held-out real music, with its interval.

    Parameters
    ----------
    table : pd.DataFrame
        With columns model, seed and those of `comparison.FEATURES`.
    seed : int
        Of the bootstrap.
    n_resamples : int
        Number of bootstrap samples.

    Returns
    -------
    pd.DataFrame
        Columns model, distance, low, high, seeds, n (pieces that define every kept feature),
        undefined (those that do not, and are skipped in what they lack), dropped (the
        `dropped_features`, the same in each row, "" for none). One row a set but the real one;
        distance, low and high are NaN where no piece of a set defines some kept feature.

    Notes
    -----
    The reference is held fixed. A distance grows as a set gets smaller, even for real music: read
    it beside the training set's, of about the same n.
    """
    reference = _features(table, REAL)
    dropped = dropped_features(table[table["model"] == REAL])
    kept = [name for name in FEATURES if name not in dropped]
    # Places of pieces are drawn, not rows of features: a row that lacks one of them counts too.
    numbered = table.assign(place=table.groupby("model").cumcount())
    rng = np.random.default_rng(seed)
    rows = []
    for model in table["model"].unique():
        if model == REAL:
            continue
        distance = distance_of_drawn(_features(table, model), reference)
        places = values_by_seed(numbered, model, "place")
        found = seed_interval(
            distance, places, rng=rng, n_resamples=n_resamples, bounds=(0.0, math.inf)
        )
        lacking = table.loc[table["model"] == model, kept].isna().any(axis=1)
        sizes = (_trainings(table, model), int((~lacking).sum()), int(lacking.sum()))
        rows.append((model, *found[:3], *sizes, ", ".join(dropped)))
    columns = ["model", "distance", "low", "high", "seeds", "n", "undefined", "dropped"]
    return pd.DataFrame(rows, columns=columns)


def _trainings(table: pd.DataFrame, model: str) -> int:
    """Return how many seeds a set has."""
    return int(table.loc[table["model"] == model, "seed"].nunique())


def distance_by_training(
    table: pd.DataFrame, *, size: int, seed: int, n_draws: int = 100
) -> pd.DataFrame:
    """Return how far each single training lies from held-out real music, all at one size.

    Parameters
    ----------
    table : pd.DataFrame
        As in `distance_table`.
    size : int
        Pieces that each distance is taken of: a distance grows as a set gets smaller, so only
        distances of one size can be compared.
    seed : int
        Of the draws.
    n_draws : int
        Random sets of `size` pieces of a training whose distances are averaged; one set where the
        training has no more pieces.

    Returns
    -------
    pd.DataFrame
        Columns model, seed, distance, size (pieces of each draw: fewer where there are fewer). One
        row a seed of each set but the real one; distance is NaN where no piece of the training
        defines some kept feature. A draw by chance of such pieces alone is left out of the mean.
    """
    reference = _features(table, REAL)
    rng = np.random.default_rng(seed)
    rows = []
    for (model, training), pieces in table.groupby(["model", "seed"], sort=False):
        if model == REAL:
            continue
        distance = distance_of_drawn(_features(pieces, str(model)), reference)
        n = min(size, len(pieces))
        draws = n_draws if n < len(pieces) else 1
        found = [distance(rng.permutation(len(pieces))[:n]) for _ in range(draws)]
        found = [distance for distance in found if not math.isnan(distance)]
        rows.append((model, training, float(np.mean(found)) if found else math.nan, n))
    return pd.DataFrame(rows, columns=["model", "seed", "distance", "size"])


def _features(table: pd.DataFrame, model: str) -> np.ndarray:
    """Return the features of a set's pieces, shape (n, 18), NaN where undefined."""
    return table.loc[table["model"] == model, list(FEATURES)].to_numpy(float)


def feature_distance_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the distance of each set from held-out real music in each kept feature.

    Parameters
    ----------
    table : pd.DataFrame
        As in `distance_table`.

    Returns
    -------
    pd.DataFrame
        Columns model, feature, and those of `comparison.feature_distances`.
    """
    real = table[table["model"] == REAL]
    found = [
        feature_distances(rows, real).reset_index().assign(model=model)
        for model, rows in table[table["model"] != REAL].groupby("model", sort=False)
    ]
    whole = pd.concat(found, ignore_index=True)
    return whole[["model", *whole.columns.drop("model")]]


def copied_table(table: pd.DataFrame, *, seed: int, n_resamples: int = 300) -> pd.DataFrame:
    """Return what share of each set's windows stands in the training music, with its interval.

    Parameters
    ----------
    table : pd.DataFrame
        With columns model, seed and those of `originality.TrainingIndex.count`.
    seed : int
        Of the bootstrap.
    n_resamples : int
        Number of bootstrap samples.

    Returns
    -------
    pd.DataFrame
        Columns model, length (of the windows, in sixteenths), kind (``exact``, ``transposed``),
        share (0 to 1), low, high, windows (that count), seeds, n. The real set's rows are the rate
        at which music by the same composer repeats itself. Sets that were not looked up (the
        training music itself) are left out.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for model in table["model"].unique():
        for length in WINDOW_LENGTHS:
            for kind in ("exact", "transposed"):
                columns = [f"{kind}_{length}", f"windows_{length}"]
                samples = values_by_seed(table, model, columns)
                found = seed_interval(
                    _share, samples, rng=rng, n_resamples=n_resamples, bounds=(0.0, 1.0)
                )
                windows = sum(np.nansum(values[:, 1]) for values in samples.values())
                if found.n:
                    sizes = (int(windows), _trainings(table, model), found.n)
                    rows.append((model, length, kind, *found[:3], *sizes))
    columns = ["model", "length", "kind", "share", "low", "high", "windows", "seeds", "n"]
    return pd.DataFrame(rows, columns=columns)


def _share(counts: np.ndarray) -> float:
    """Return copied over counted windows; 0 where no window counts."""
    copied, windows = counts.sum(axis=0)
    return float(copied / windows) if windows else 0.0


def variety_table(rolls: Rolls, reference: Sequence[np.ndarray] | None = None) -> pd.DataFrame:
    """Return how different the pieces of each training are, as a ratio to real music's.

    Parameters
    ----------
    rolls : mapping of set to mapping of seed to sequence of np.ndarray
        With the real set.
    reference : sequence of np.ndarray, optional
        Real pieces to compare with instead of the real set: one of each tune, say, for settings of
        one tune lie nearer to each other than pieces do.

    Returns
    -------
    pd.DataFrame
        Columns model, seeds, nearest and pairwise (means over the seeds of `diversity_ratio`;
        1 is as varied as real music, 0 one piece again and again), lowest_nearest (of the worst
        training), n (pieces of the smallest seed). NaN for seeds of one piece.
    """
    real = rolls[REAL][next(iter(rolls[REAL]))] if reference is None else reference
    rows = []
    for model, seeds in rolls.items():
        if model == REAL:
            continue
        found = [diversity_ratio(pieces, real) for pieces in seeds.values()]
        nearest, pairwise = (np.array([f[i] for f in found]) for i in (0, 1))
        size = min(map(len, seeds.values()))
        rows.append((model, len(found), nearest.mean(), pairwise.mean(), nearest.min(), size))
    columns = ["model", "seeds", "nearest", "pairwise", "lowest_nearest", "n"]
    return pd.DataFrame(rows, columns=columns)


def overlap_table(rolls: Rolls) -> pd.DataFrame:
    """Return Yang and Lerch's distances of each set to the real one, in each feature.

    Parameters
    ----------
    rolls : mapping of set to mapping of seed to sequence of np.ndarray
        With the real set; the pieces of all seeds of a set are taken together.

    Returns
    -------
    pd.DataFrame
        Columns model, feature, and those of `set_distances.set_distances`.
    """
    vectors = {
        model: feature_vectors(roll for pieces in seeds.values() for roll in pieces)
        for model, seeds in rolls.items()
    }
    found = [
        set_distances(ours, vectors[REAL]).reset_index().assign(model=model)
        for model, ours in vectors.items()
        if model != REAL
    ]
    whole = pd.concat(found, ignore_index=True)
    return whole[["model", *whole.columns.drop("model")]]
