"""Say how far a set of pieces lies from real music, in 18 features of single pieces.

Conventions: a set is a sequence of rolls (see `pianoroll`) or the table that `feature_table` made
of it. Distances are in standard deviations of the reference set, which is held-out real music,
frozen before any model is judged. Every table says n.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from musiclib.music_metrics import MEASURES
from musiclib.roll_notes import require_piece


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
rhythm: ``quarter_onsets`` = share of notes with s mod 4 = 0; ``groove_consistency`` = 1 - mean
Hamming distance of neighbouring bars' onset patterns, a step of the bar.
"""


def feature_table(rolls: Iterable[np.ndarray]) -> pd.DataFrame:
    """Return the 18 features of each piece.

    Parameters
    ----------
    rolls : iterable of np.ndarray, each of shape (T, 88, 2)
        Pieces; of equal length, if they are to be compared.

    Returns
    -------
    pd.DataFrame
        One row a piece, in order; one column a feature, in the order of `FEATURES`; NaN where a
        piece does not define a feature.

    Raises
    ------
    ValueError
        If a roll is malformed; the message says which.
    """
    rows = []
    for index, roll in enumerate(rolls):
        require_piece(roll, name=f"rolls[{index}]")
        rows.append({name: MEASURES[name](roll) for name in FEATURES})
    return pd.DataFrame(rows, columns=list(FEATURES), dtype=float)


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
        Index ``feature``; columns ``aspect``, ``distance`` (standard deviations of the reference,
        at least 0), ``spread`` (what was divided by), ``n`` and ``n_reference`` (pieces that
        define the feature).

    Raises
    ------
    ValueError
        If `pieces` is empty, a column is missing, or fewer than two reference pieces define a
        feature.

    Warns
    -----
    UserWarning
        If some of the pieces do not define every feature.

    Notes
    -----
    distance_f = W1(pieces_f, reference_f) / max(sd(reference_f), floor_f), with W1 the
    one-dimensional Wasserstein distance and sd of ddof 0. A piece that does not define a feature
    (NaN) is left out of that feature, and n says so; where no piece defines it, the distance is
    infinite: a set of silent pieces is no music. The
    features and floors are our choice.
    """
    judged, real = _table(pieces, "pieces"), _table(reference, "reference")
    if judged.empty:
        raise ValueError("pieces must hold at least one piece; got none")
    rows = [_compare(name, judged[name], real[name]) for name in FEATURES]
    frame = pd.DataFrame(rows).set_index("feature")
    if (frame["n"] < len(judged)).any():
        lacking = int(judged[list(FEATURES)].isna().any(axis=1).sum())
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
        Mean of the 18 distances of `feature_distances`; 0 for equal sets, about 0.2 for other real
        pieces of the same kind, infinite where no piece defines some feature.

    Raises
    ------
    ValueError
        As `feature_distances`.
    """
    return float(feature_distances(pieces, reference)["distance"].mean())


def distance_of_values(values: np.ndarray, reference: np.ndarray) -> float:
    """Return `distance_to_real` from two arrays of features, fast enough for a bootstrap.

    Parameters
    ----------
    values : np.ndarray, shape (n, 18)
        Features of the pieces to judge, in the order of `FEATURES`.
    reference : np.ndarray, shape (m, 18)
        Features of held-out real music.

    Returns
    -------
    float
        The same number as `distance_to_real` gives where no feature is NaN.

    Raises
    ------
    ValueError
        If either is empty, has another number of columns or holds NaN (leave such pieces out).
    """
    for name, array in (("values", values), ("reference", reference)):
        if array.ndim != 2 or array.shape[1] != len(FEATURES) or not len(array):
            raise ValueError(f"{name} must have shape (n, {len(FEATURES)}), got {array.shape}")
        if np.isnan(array).any():
            raise ValueError(f"{name} must not hold NaN; leave pieces that lack a feature out")
    floors = np.array([feature.floor for feature in FEATURES.values()])
    gaps = np.array(
        [wasserstein_distance(a, b) for a, b in zip(values.T, reference.T, strict=True)]
    )
    return float((gaps / np.maximum(reference.std(axis=0), floors)).mean())


def _compare(name: str, judged: pd.Series, real: pd.Series) -> dict[str, object]:
    """Return one row of `feature_distances`."""
    values, target = judged.dropna().to_numpy(), real.dropna().to_numpy()
    if len(target) < 2:
        raise ValueError(
            f"reference must hold at least 2 pieces that define {name}; {len(target)} do"
        )
    spread = max(float(target.std()), FEATURES[name].floor)
    gap = wasserstein_distance(values, target) if len(values) else np.inf
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
