"""Monophonic voices: a roll as V lines, from the tracks of a file or by separation.

Conventions: voices are ``int16 (T, V)``, highest line first, with the codes of
`musiclib.pianoroll`: 0 rest, 1 hold (the line's note goes on), ``2 + k`` onset of key k.
"""

from __future__ import annotations

import numpy as np

from musiclib.pianoroll import (
    FIRST_KEY,
    HOLD,
    LOWEST_PITCH,
    N_KEYS,
    N_VOICE_CODES,
    ONSET,
    REST,
    SUSTAIN,
    quantise,
    roll_to_notes,
)

MAX_LINES = 8
"""Files with more tracks than this are not read as lines."""


def _write_line(codes: np.ndarray, start: int, end: int, key: int) -> None:
    codes[start] = FIRST_KEY + key
    codes[start + 1 : end] = HOLD


def notes_to_lines(notes: np.ndarray, *, steps: int) -> np.ndarray:
    """Read each track as a line, if no track ever sounds two notes at once.

    Parameters
    ----------
    notes : np.ndarray, structured
        As `musiclib.midi.note_array` gives it.
    steps : int
        Length T.

    Returns
    -------
    np.ndarray, shape (T, L), int16
        Highest line (by mean pitch) first. L = 0 when a track is no line, when there are more
        than `MAX_LINES`, or when there is but one track.
    """
    tracks = np.unique(notes["track"])
    none = np.zeros((steps, 0), np.int16)
    if not 2 <= len(tracks) <= MAX_LINES:
        return none
    lines = np.zeros((steps, len(tracks)), np.int16)
    order = sorted(tracks, key=lambda t: -notes["pitch"][notes["track"] == t].mean())
    for column, track in enumerate(order):
        line = notes[notes["track"] == track]
        start = quantise(line["onset_quarter"])
        end = np.maximum(quantise(line["onset_quarter"] + line["duration_quarter"]), start + 1)
        key = line["pitch"].astype(int) - LOWEST_PITCH
        if (start[1:] < end[:-1]).any() or (key < 0).any() or (key >= N_KEYS).any():
            return none
        for s, e, k in zip(start, end, key, strict=True):
            _write_line(lines[:, column], s, e, k)
    return lines


def separate_voices(roll: np.ndarray, *, n_voices: int) -> tuple[np.ndarray, int]:
    """Spread the notes of a roll over monophonic voices, each note to the nearest free line.

    Parameters
    ----------
    roll : np.ndarray, shape (T, 88, 2), uint8
    n_voices : int
        Voices V, 1 to 16.

    Returns
    -------
    voices : np.ndarray, shape (T, V), int16
    lost : int
        Notes that found no free voice and were left out.

    Raises
    ------
    ValueError
        When `n_voices` is out of its range.

    Notes
    -----
    Our choice: at each step the new notes are assigned to the free voices so that the summed
    distance to the voices' last pitches is least (`scipy.optimize.linear_sum_assignment`), with
    their height's order as tie-break. Voices start spread over the roll's own pitch range.
    """
    from scipy.optimize import linear_sum_assignment  # 0.7 s that a reader of files is spared

    if not 1 <= n_voices <= 16:
        raise ValueError(f"n_voices must lie between 1 and 16, got {n_voices}")
    notes = roll_to_notes(roll)
    voices = np.zeros((len(roll), n_voices), np.int16)
    if not len(notes):
        return voices, 0
    high, low = np.percentile(notes[:, 2], [90, 10])
    last = np.linspace(high, low, n_voices)
    busy_until, lost = np.zeros(n_voices, int), 0
    for step in np.unique(notes[:, 0]):
        new = notes[notes[:, 0] == step]
        new = new[np.argsort(-new[:, 2], kind="stable")]
        free = np.flatnonzero(busy_until <= step)
        cost = np.abs(new[:, 2][:, None] - last[free][None]).astype(float)
        rows, columns = linear_sum_assignment(cost**0.999) if len(free) else ([], [])
        chosen = np.sort(free[columns]) if len(free) else []
        lost += len(new) - len(rows)
        for row, voice in zip(sorted(rows), chosen, strict=True):
            _write_line(voices[:, voice], step, new[row, 1], new[row, 2])
            last[voice], busy_until[voice] = new[row, 2], new[row, 1]
    return voices, lost


def voices_to_roll(voices: np.ndarray) -> np.ndarray:
    """Draw voices as a roll; notes of several voices on one key are merged.

    Parameters
    ----------
    voices : np.ndarray, shape (T, V), integer codes 0 to 89

    Returns
    -------
    np.ndarray, shape (T, 88, 2), uint8

    Raises
    ------
    ValueError
        On another shape or a code out of range. A hold after a rest, or at the start, sounds
        nothing.
    """
    voices = np.asarray(voices)
    if voices.ndim != 2 or not np.issubdtype(voices.dtype, np.integer):
        raise ValueError(f"voices must be integers with shape (T, V), got {voices.dtype} "
                         f"with shape {voices.shape}")  # fmt: skip
    if voices.size and not (voices.min() >= REST and voices.max() < N_VOICE_CODES):
        raise ValueError(
            f"voice codes must lie between 0 and {N_VOICE_CODES - 1}, "
            f"got {int(voices.min())} to {int(voices.max())}"
        )
    roll = np.zeros((len(voices), N_KEYS, 2), np.uint8)
    for line in voices.T:
        key = sounding_keys(line[:, None])[:, 0]
        steps = np.flatnonzero(key >= 0)
        roll[steps, key[steps], SUSTAIN] = 1
        starts = np.flatnonzero(line >= FIRST_KEY)
        roll[starts, line[starts] - FIRST_KEY, ONSET] = 1
    return roll


def sounding_keys(voices: np.ndarray) -> np.ndarray:
    """Tell which key each voice sounds at each step.

    Parameters
    ----------
    voices : np.ndarray, shape (T, V), integer codes

    Returns
    -------
    np.ndarray, shape (T, V), int64
        0 to 87, or -1 where the voice rests.
    """
    codes = np.asarray(voices, np.int64)
    event = codes != HOLD
    last = np.maximum.accumulate(np.where(event, np.arange(len(codes))[:, None], -1), axis=0)
    at_event = np.take_along_axis(codes, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (at_event >= FIRST_KEY), at_event - FIRST_KEY, -1)
