"""Measure the pitches of one roll: compass, pitch classes, scale.

Conventions: rolls as in `pianoroll`; pitches in semitones, as MIDI pitches where absolute, pitch
class 0 is C. What a silent roll does not define is NaN.
"""

from __future__ import annotations

import numpy as np

from musiclib.pianoroll import LOWEST_PITCH
from musiclib.roll_notes import notes_of, ratio, sounding_keys

PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_SCALES = np.array([[(c - root) % 12 in _MAJOR for c in range(12)] for root in range(12)])


def pitch_name(pitch: int) -> str:
    """Name a MIDI pitch with its octave; 60 is middle C, C4.

    Examples
    --------
    >>> pitch_name(60), pitch_name(21), pitch_name(108)
    ('C4', 'A0', 'C8')
    """
    return f"{PITCH_CLASSES[pitch % 12]}{pitch // 12 - 1}"


def fold_classes(sound: np.ndarray) -> np.ndarray:
    """Return how many keys of each pitch class sound.

    Parameters
    ----------
    sound : np.ndarray of bool, shape (T, 88)
        Sounding keys.

    Returns
    -------
    np.ndarray of int, shape (T, 12)
        Number of keys, class C first: octaves are folded, neighbouring keys are not.
    """
    below = LOWEST_PITCH % 12
    padded = np.pad(sound, ((0, 0), (below, -(below + sound.shape[1]) % 12)))
    return padded.reshape(len(sound), -1, 12).sum(axis=1)


def pitch_range(roll: np.ndarray) -> float:
    """Return the highest minus the lowest pitch that sounds, in semitones; NaN for a silent roll.

    MusPy returns 0 for silence; a lone note has a range of 0 here too.
    """
    keys = np.flatnonzero(sounding_keys(roll).any(axis=0))
    return float(keys[-1] - keys[0]) if keys.size else float("nan")


def mean_pitch(roll: np.ndarray) -> float:
    """Return the mean MIDI pitch over all sounding keys of all steps, 21 to 108; NaN if silent."""
    weights = sounding_keys(roll).sum(axis=0)
    return ratio(weights @ (np.arange(weights.size) + LOWEST_PITCH), weights.sum())


def pitch_spread(roll: np.ndarray) -> float:
    """Return the standard deviation (ddof 0) of the sounding pitches in semitones; NaN if silent.

    Weighted by time, as `mean_pitch`: a key that sounds for four steps counts four times.
    """
    weights = sounding_keys(roll).sum(axis=0)
    if not weights.any():
        return float("nan")
    keys = np.arange(weights.size)
    centre = weights @ keys / weights.sum()
    return float(np.sqrt(weights @ (keys - centre) ** 2 / weights.sum()))


def _class_histogram(roll: np.ndarray) -> np.ndarray:
    """Return the number of notes of each pitch class, shape (12,), C first."""
    return np.bincount((notes_of(roll).key + LOWEST_PITCH) % 12, minlength=12)


def scale_consistency(roll: np.ndarray) -> float:
    """Return the largest share of the notes that lie in one major or natural minor scale.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        7 / 12 at least, for notes spread evenly over the twelve classes, to 1; NaN for no note.

    Notes
    -----
    MusPy's ``scale_consistency`` (after Mogren, C-RNN-GAN, 2016), by number of notes. Each natural
    minor scale holds the pitch classes of its relative major, so twelve scales are tried.
    """
    histogram = _class_histogram(roll)
    return ratio((_SCALES @ histogram).max(), histogram.sum())


def pitch_class_entropy(roll: np.ndarray) -> float:
    """Return the entropy of the notes' pitch classes.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
        Onset and sounding channel.

    Returns
    -------
    float
        Bits, 0 (one class) to log2(12) = 3.585; NaN for no note.

    Notes
    -----
    H = -sum_c p_c log2 p_c with p_c the share of notes of class c (Wu and Yang, The Jazz
    Transformer on the Front Line, ISMIR 2020; MusPy's ``pitch_class_entropy``).
    """
    histogram = _class_histogram(roll)
    if not histogram.any():
        return float("nan")
    share = histogram[histogram > 0] / histogram.sum()
    return float(max(0.0, -(share @ np.log2(share))))


def pitch_classes(roll: np.ndarray) -> float:
    """Return how many of the twelve pitch classes occur, 0.0 (no note) to 12.0."""
    return float(np.count_nonzero(_class_histogram(roll)))
