"""Say how far a set of pieces lies from real music, in 18 features of single pieces.

Conventions: a set is a sequence of rolls (see `pianoroll`) or the table that `feature_table` made
of it. Distances are in standard deviations of the reference set, which is held-out real music,
frozen before any model is judged. Every table says n.

Undefined features: a feature that fewer than two reference pieces define is dropped, for every set
(`dropped_features` names them): tunes of one voice have no consonance, and a mean over the other
features still compares. A single piece that does not define a kept feature is skipped in it. A set
in which no piece defines a kept feature has no distance: NaN, never infinity and never the mean of
the rest. Whoever ranks sets puts it last (`rank_key`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from musiclib.music_metrics import BAR_MEASURES, MEASURES
from musiclib.roll_notes import COMMON_BARS, Bars, require_piece


class Feature(NamedTuple):
    """Say what one feature of the distance is.

    Attributes
    ----------
    aspect : str
        The side of music that it stands for.
    unit : str
        Unit of its values.
    floor : float
        Smallest spread by which a difference is divided, in that unit: below it, a set of real
        pieces counts as all alike, and a tiny difference must not count as an enormous one.
    """

    aspect: str
    unit: str
    floor: float


FEATURES: dict[str, Feature] = {
    "note_density": Feature("density", "notes a quarter", 0.1),
    "mean_duration": Feature("density", "quarters", 0.05),
    "mean_pitch": Feature("pitch", "semitones", 0.5),
    "pitch_spread": Feature("pitch", "semitones", 0.5),
    "pitch_range": Feature("pitch", "semitones", 0.5),
    "pitch_classes": Feature("scale", "classes", 0.5),
    "pitch_class_entropy": Feature("scale", "bits", 0.05),
    "scale_consistency": Feature("scale", "share", 0.02),
    "polyphony": Feature("polyphony", "keys", 0.1),
    "polyphony_spread": Feature("polyphony", "keys", 0.1),
    "consonant_share": Feature("consonance", "share", 0.02),
    "chord_fit": Feature("chords", "share", 0.02),
    "chord_rate": Feature("chords", "changes a quarter", 0.05),
    "top_step": Feature("voice leading", "semitones", 0.1),
    "bottom_step": Feature("voice leading", "semitones", 0.1),
    "leap_share": Feature("voice leading", "share", 0.02),
    "quarter_onsets": Feature("rhythm", "share", 0.02),
    "groove_consistency": Feature("rhythm", "share", 0.02),
}
"""The 18 features of the distance, one number a piece each. With N notes of start s, length l (in
sixteenths) and pitch p, T steps, K_t the set of keys sounding at step t, and averages over the
steps with K_t not empty unless said otherwise:

density: ``note_density`` = 4 N / T; ``mean_duration`` = mean of l / 4.
pitch: ``mean_pitch``, ``pitch_spread``: mean and standard deviation of the pitches in all K_t;
``pitch_range`` = highest - lowest.
scale: ``pitch_classes`` = number of classes p mod 12 among the notes; ``pitch_class_entropy`` =
-sum_c f_c log2 f_c, f_c the share of notes of class c; ``scale_consistency`` = max over the twelve
major scales S (their relative natural minors hold the same classes) of the share of notes in S.
polyphony: ``polyphony``, ``polyphony_spread``: mean and standard deviation of |K_t|.
consonance: ``consonant_share`` = share of pairs of keys in all K_t whose interval modulo 12 is 0,
3, 4, 5, 7, 8 or 9.
chords: ``chord_fit`` = share of steps with K_t mod 12 a subset of a triad or seventh chord;
``chord_rate`` = 4 (C - 1) / T with C the number of successive different K_t.
voice leading: ``top_step``, ``bottom_step`` = mean |move| of the highest and of the lowest key over
the C - 1 changes; ``leap_share`` = share of these moves (those of 0 left out) above 7 semitones.
rhythm: ``quarter_onsets`` = share of notes with s mod 4 = 0, s counted from the bar line;
``groove_consistency`` = 1 - mean Hamming distance of neighbouring bars' onset patterns, a step of
the bar.
"""


_FLOORS = np.array([feature.floor for feature in FEATURES.values()])
_TOO_FEW = "reference must hold at least 2 pieces that define a feature; it holds {}"


def feature_table(rolls: Iterable[np.ndarray], bars: Sequence[Bars] | None = None) -> pd.DataFrame:
    """Return the 18 features of each piece.

    Parameters
    ----------
    rolls : iterable of np.ndarray, each of shape (T, 88, 2)
        Pieces; of equal length, if they are to be compared.
    bars : sequence of Bars, optional
        Each piece's own bars; 4/4 without an upbeat by default.

    Returns
    -------
    pd.DataFrame
        One row a piece, in order; one column a feature, in the order of `FEATURES`; NaN where a
        piece does not define a feature.

    Raises
    ------
    ValueError
        If a roll is malformed (the message says which), or there are not as many bars as rolls.
    """
    rolls = list(rolls)
    bars = [COMMON_BARS] * len(rolls) if bars is None else bars
    if len(bars) != len(rolls):
        raise ValueError(f"bars: got those of {len(bars)} pieces for {len(rolls)} rolls")
    rows = []
    for index, (roll, own) in enumerate(zip(rolls, bars, strict=True)):
        require_piece(roll, name=f"rolls[{index}]")
        rows.append({name: _feature(name, roll, own) for name in FEATURES})
    return pd.DataFrame(rows, columns=list(FEATURES), dtype=float)


def _feature(name: str, roll: np.ndarray, bars: Bars) -> float:
    """Return one feature of a piece."""
    return MEASURES[name](roll, **(bars.for_measures() if name in BAR_MEASURES else {}))


def dropped_features(reference: pd.DataFrame | Iterable[np.ndarray]) -> tuple[str, ...]:
    """Return the features that no distance to this reference can hold.

    Parameters
    ----------
    reference : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        Held-out real music.

    Returns
    -------
    tuple of str
        Those that fewer than two of its pieces define, in the order of `FEATURES`.
    """
    values = _table(reference, "reference")[list(FEATURES)].to_numpy(float)
    return tuple(np.array(list(FEATURES))[~_kept(values)].tolist())


def say_dropped(reference: pd.DataFrame | Iterable[np.ndarray]) -> str:
    """Return a sentence that names the `dropped_features`; empty if there are none."""
    dropped = dropped_features(reference)
    if not dropped:
        return ""
    return (
        f"Dropped from every distance, as fewer than two real pieces define it: "
        f"{', '.join(dropped)}. {len(FEATURES) - len(dropped)} features are left."
    )


def in_words(value: float, *, digits: int = 2) -> str:
    """Write a number to be read, and "none" for one that is undefined.

    Examples
    --------
    >>> in_words(0.4321), in_words(math.nan)
    ('0.43', 'none')
    """
    return "none" if math.isnan(value) else f"{value:.{digits}f}"


def rank_key(distance: float) -> float:
    """Return what to sort distances by: the distance, infinity for none, so that none ranks last.

    Examples
    --------
    >>> sorted([math.nan, 0.4, 0.2], key=rank_key)
    [0.2, 0.4, nan]
    """
    return math.inf if math.isnan(distance) else float(distance)


def _kept(reference: np.ndarray) -> np.ndarray:
    """Return which features at least two rows of the reference define, as bool of shape (18,)."""
    return (~np.isnan(reference)).sum(axis=0) >= 2


def feature_distances(
    pieces: pd.DataFrame | Iterable[np.ndarray], reference: pd.DataFrame | Iterable[np.ndarray]
) -> pd.DataFrame:
    """Return the distance of two sets of pieces in each feature.

    Parameters
    ----------
    pieces : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        The set to judge: rolls, or their `feature_table`.
    reference : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        Held-out real music; at least two pieces.

    Returns
    -------
    pd.DataFrame
        Index ``feature``, without the `dropped_features`; columns ``aspect``, ``distance``
        (standard deviations of the reference, at least 0; NaN where no piece defines the feature),
        ``spread`` (what was divided by), ``n`` and ``n_reference`` (pieces that define the
        feature).

    Raises
    ------
    ValueError
        If `pieces` is empty, a column is missing, or there is no feature that two reference pieces
        define.

    Warns
    -----
    UserWarning
        If some of the pieces do not define every kept feature.

    Notes
    -----
    distance_f = W1(pieces_f, reference_f) / max(sd(reference_f), floor_f), with W1 the
    one-dimensional Wasserstein distance and sd of ddof 0. A piece that does not define a feature
    (NaN) is skipped in that feature, and n says so. The features and floors are our choice.
    """
    judged, real = _table(pieces, "pieces"), _table(reference, "reference")
    if judged.empty:
        raise ValueError("pieces must hold at least one piece; got none")
    dropped = dropped_features(real)
    kept = [name for name in FEATURES if name not in dropped]
    if not kept:
        raise ValueError(_TOO_FEW.format(len(real)))
    rows = [_compare(name, judged[name], real[name]) for name in kept]
    frame = pd.DataFrame(rows).set_index("feature")
    if (frame["n"] < len(judged)).any():
        lacking = int(judged[kept].isna().any(axis=1).sum())
        warnings.warn(
            f"{lacking} of {len(judged)} pieces do not define every feature; column n says how "
            "many count (check_piece names silent and stuck pieces)",
            stacklevel=2,
        )
    return frame


def distance_to_real(
    pieces: pd.DataFrame | Iterable[np.ndarray], reference: pd.DataFrame | Iterable[np.ndarray]
) -> float:
    """Return the distance of a set of pieces from real music.

    Parameters
    ----------
    pieces : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        The set to judge: rolls, or their `feature_table`.
    reference : pd.DataFrame or iterable of np.ndarray, each of shape (T, 88, 2)
        Held-out real music.

    Returns
    -------
    float
        Mean of the distances of `feature_distances`; 0 for equal sets, about 0.2 for other real
        pieces of the same kind, NaN where no piece defines some kept feature.

    Raises
    ------
    ValueError
        As `feature_distances`.
    """
    return float(feature_distances(pieces, reference)["distance"].mean(skipna=False))


def distance_of_values(values: np.ndarray, reference: np.ndarray) -> float:
    """Return `distance_to_real` from two arrays of features.

    Parameters
    ----------
    values : np.ndarray, shape (n, 18)
        Features of the pieces to judge, in the order of `FEATURES`; NaN where undefined.
    reference : np.ndarray, shape (m, 18)
        Features of held-out real music.

    Returns
    -------
    float
        The same number as `distance_to_real` gives, NaN included.

    Raises
    ------
    ValueError
        If either is empty or has another number of columns, or there is no feature that two
        reference pieces define.
    """
    return distance_of_drawn(values, reference)(np.arange(len(values)))


def distance_of_drawn(values: np.ndarray, reference: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return what gives `distance_of_values` of any of these pieces, fast enough for a bootstrap.

    Parameters
    ----------
    values, reference
        As `distance_of_values`, and with its errors.

    Returns
    -------
    callable
        Takes places of pieces, shape (N,), each as often as it counts, and returns
        ``distance_of_values(values[places], reference)``.

    Notes
    -----
    W1 is the integral of the distance between the two cumulative distributions. The values at which
    they rise are sorted once; a draw only says how often each counts.
    """
    for name, array in (("values", values), ("reference", reference)):
        if array.ndim != 2 or array.shape[1] != len(FEATURES) or not len(array):
            raise ValueError(f"{name} must have shape (n, {len(FEATURES)}), got {array.shape}")
    kept = _kept(reference)
    if not kept.any():
        raise ValueError(_TOO_FEW.format(len(reference)))
    n, both = len(values), np.concatenate([values, reference])[:, kept].T
    order = np.argsort(both, axis=1)  # NaN last
    rises = np.take_along_axis(both, order, axis=1)
    gaps = np.nan_to_num(np.diff(rises, axis=1))
    ours, real = (~np.isnan(rises) & side for side in (order < n, order >= n))
    target = (real.cumsum(axis=1) / real.sum(axis=1, keepdims=True))[:, :-1]
    place = np.where(ours, order, n)  # n: of no piece to judge
    spread = np.maximum(np.nanstd(reference[:, kept], axis=0), _FLOORS[kept])

    def distance(places: np.ndarray) -> float:
        risen = np.bincount(places.astype(int), minlength=n + 1)[place].cumsum(axis=1)
        whole = risen[:, -1:]
        if not whole.all():
            return math.nan
        found = (np.abs(risen[:, :-1] / whole - target) * gaps).sum(axis=1)
        return float((found / spread).mean())

    return distance


def _compare(name: str, judged: pd.Series, real: pd.Series) -> dict[str, object]:
    """Return one row of `feature_distances`."""
    values, target = judged.dropna().to_numpy(), real.dropna().to_numpy()
    spread = max(float(target.std()), FEATURES[name].floor)
    gap = wasserstein_distance(values, target) if len(values) else math.nan
    return {
        "feature": name,
        "aspect": FEATURES[name].aspect,
        "distance": float(gap) / spread,
        "spread": spread,
        "n": len(values),
        "n_reference": len(target),
    }


def _table(pieces: pd.DataFrame | Iterable[np.ndarray], name: str) -> pd.DataFrame:
    """Return a set of pieces as its feature table."""
    frame = pieces if isinstance(pieces, pd.DataFrame) else feature_table(pieces)
    missing = [feature for feature in FEATURES if feature not in frame]
    if missing:
        raise ValueError(f"{name} lacks the feature columns {missing}; use feature_table")
    return frame
