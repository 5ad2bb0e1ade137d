"""Piano rolls on a beat grid: MIDI <-> rolls <-> notes, chords, bar lines.

Conventions: a *roll* is ``uint8 (T, 88, 2)``. Time comes first, in sixteenths (four steps per
quarter note, 16 per bar of 4/4); key 0 is MIDI pitch 21 (A0), key 87 is pitch 108 (C8). Channel 0,
*onset*, is 1 at the step in which a note starts. Channel 1, *sustain*, is 1 at every step in which
the key sounds, the onset step included. So a held note has one onset and a repeated note several.

A *note* starts at an onset, and also where a key begins to sound without one (the start of a window
cut the note). It ends where the key falls silent or is struck again. Notes of one key that overlap
are merged: each keeps its onset, and the key sounds until the last of them ends.

*Voices* are ``int16 (T, V)``: V monophonic lines, highest first, of the codes 0 (rest), 1 (hold:
the note continues) and ``2 + k`` (onset of key k).

*Bars* are counted from the first bar line. An upbeat (the steps before that line) belongs to no
bar, and neither does an incomplete last bar. Every measure that counts bars follows this rule.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pretty_midi
from numpy.typing import ArrayLike

from musiclib.midi import note_array

STEPS_PER_QUARTER = 4
STEPS_PER_BAR = 4 * STEPS_PER_QUARTER
LOWEST_PITCH = 21
N_KEYS = 88
ONSET, SUSTAIN = 0, 1
REST, HOLD, FIRST_KEY = 0, 1, 2
N_VOICE_CODES = FIRST_KEY + N_KEYS
DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)  # of the time signatures that are read and written
MAX_STEPS = 500_000  # longest roll that is built (88 MB, 26 hours at 80 quarters per minute)
_RESOLUTION, _FINEST = 480, 2**15 - 1  # ticks per quarter note: the usual, and a file's maximum


def check_roll(roll: np.ndarray, *, name: str = "roll") -> np.ndarray:
    """Return `roll` when it is a valid roll, of any length; else say what is wrong with `name`."""
    roll = np.asarray(roll)
    if roll.ndim != 3 or roll.shape[1:] != (N_KEYS, 2) or roll.dtype != np.uint8:
        got = f"{roll.dtype} with shape {roll.shape}"
        raise ValueError(f"{name} must be uint8 with shape (T, 88, 2), got {got}")
    if roll.size and roll.max() > 1:
        raise ValueError(f"{name} must hold 0 and 1 only, got {int(roll.max())}")
    if np.any(roll[..., ONSET] > roll[..., SUSTAIN]):
        raise ValueError(f"{name} has an onset at a key that does not sound")
    return roll


def require_piece(roll: np.ndarray, *, name: str = "roll") -> np.ndarray:
    """Return `roll` when it can be measured: a valid roll of at least one step."""
    roll = check_roll(roll, name=name)
    if not len(roll):
        raise ValueError(f"{name} must have at least one step, got shape {roll.shape}")
    return roll


def to_piano_roll(
    midi: pretty_midi.PrettyMIDI, *, steps_per_quarter: int = STEPS_PER_QUARTER,
    sustain_pedal: bool = False, length: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Turn a MIDI piece into a piano roll on its own beat grid (tempo changes are followed).

    Percussion is skipped, and by default the pedal: a roll shows keys. Our choice: the paper says
    only "arrays representing notes, chords, and rhythms". Otherwise as `notes_to_roll`.
    """
    notes = note_array(midi, sustain_pedal=sustain_pedal)
    return notes_to_roll(notes, steps_per_quarter=steps_per_quarter, length=length)


def to_midi(
    roll: np.ndarray, *, tempo: float = 80.0, velocity: int | np.ndarray = 80,
    steps_per_quarter: int = STEPS_PER_QUARTER, program: int = 0, steps_per_bar: int | None = None,
    upbeat: int = 0, denominator: int = 4,
) -> pretty_midi.PrettyMIDI:  # fmt: skip
    """Turn a roll into a MIDI piece of one instrument: the inverse of `to_piano_roll`.

    `tempo` is 4 to 1,000 quarters per minute, `velocity` 1 to 127 or ``(T, 88)``, read at each
    onset. If `steps_per_bar` is given, a time signature is written; an `upbeat` gets its own.
    """
    if not 4 <= tempo <= 1000:
        raise ValueError(f"tempo must lie between 4 and 1000 quarters per minute, got {tempo}")
    if not 0 <= program <= 127:
        raise ValueError(f"program must lie between 0 and 127, got {program}")
    if denominator not in DENOMINATORS:
        raise ValueError(f"denominator must be one of {DENOMINATORS}, got {denominator}")
    _check_grid(steps_per_quarter, most=_FINEST)
    notes = roll_to_notes(roll)
    if np.ndim(velocity) and np.shape(velocity) != roll.shape[:2]:
        raise ValueError(f"velocity must have shape {roll.shape[:2]}, got {np.shape(velocity)}")
    loudness = np.broadcast_to(velocity, roll.shape[:2])[notes[:, 0], notes[:, 2]]
    if loudness.size and not (loudness.min() >= 1 and loudness.max() <= 127):
        got = f"{loudness.min()} to {loudness.max()}"
        raise ValueError(f"velocity must lie between 1 and 127, got {got}")
    resolution = max(_RESOLUTION, int(steps_per_quarter))  # at least one tick per step
    midi = pretty_midi.PrettyMIDI(resolution=resolution, initial_tempo=float(tempo))
    midi.instruments = [pretty_midi.Instrument(program=program)]
    seconds = 60.0 / tempo / steps_per_quarter
    midi.instruments[0].notes = [
        pretty_midi.Note(int(v), int(k) + LOWEST_PITCH, float(s * seconds), float(e * seconds))
        for (s, e, k), v in zip(notes, loudness, strict=True)
    ]
    if steps_per_bar is not None:
        first = upbeat % steps_per_bar
        bars = [(0, first), (first, steps_per_bar)] if first else [(0, steps_per_bar)]
        for start, bar in bars:
            over, under = _signature(bar, steps_per_quarter, denominator)
            signature = pretty_midi.TimeSignature(over, under, start * seconds)
            midi.time_signature_changes.append(signature)
    return midi


def _signature(bar: int, steps_per_quarter: int, denominator: int) -> tuple[int, int]:
    for unit in (denominator, 4, 8, 16, 32, 64):
        numerator, rest = divmod(bar * unit, 4 * steps_per_quarter)
        if not rest and 1 <= numerator <= 255:
            return numerator, unit
    steps = f"{bar} steps at {steps_per_quarter} per quarter"
    raise ValueError(f"steps_per_bar: no time signature has {steps}")


def _check_grid(steps_per_quarter: int, *, most: int = MAX_STEPS) -> None:
    if not (1 <= steps_per_quarter <= most and steps_per_quarter % 1 == 0):
        wanted = f"a whole number from 1 to {most:,}"
        raise ValueError(f"steps_per_quarter must be {wanted}, got {steps_per_quarter}")


def quantise(quarters: np.ndarray, *, steps_per_quarter: int = STEPS_PER_QUARTER) -> np.ndarray:
    """Round times in quarter notes, 0 or later, to whole steps (int64), halves upwards."""
    return np.floor(np.asarray(quarters) * steps_per_quarter + 0.5 + 1e-9).astype(np.int64)


def grid_notes(
    notes: np.ndarray, *, steps_per_quarter: int = STEPS_PER_QUARTER
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start step, end step and key of a note array; each note lasts at least a step."""
    onset = notes["onset_quarter"]
    edges = np.stack([onset, onset + notes["duration_quarter"]])
    start, end = quantise(edges, steps_per_quarter=steps_per_quarter)
    return start, np.maximum(end, start + 1), notes["pitch"].astype(np.int64) - LOWEST_PITCH


def notes_to_roll(
    notes: np.ndarray, *, steps_per_quarter: int = STEPS_PER_QUARTER, length: int | None = None
) -> np.ndarray:
    """Draw a note array to its end or `length`; warn of notes off the piano, which are skipped."""
    _check_grid(steps_per_quarter)
    key = notes["pitch"].astype(np.int64) - LOWEST_PITCH
    inside = (key >= 0) & (key < N_KEYS)
    if not inside.all():
        lost = f"{int((~inside).sum())} of {len(notes)} notes lie outside a piano's 88 keys"
        warnings.warn(f"{lost} (MIDI pitches 21 to 108) and are skipped", stacklevel=2)
    start, end, key = grid_notes(notes[inside], steps_per_quarter=steps_per_quarter)
    length = end.max(initial=0) if length is None else length
    if not (length >= 0 and length % 1 == 0):
        raise ValueError(f"length must be a whole number of steps, 0 or more, got {length}")
    steps = int(length)
    if steps > MAX_STEPS:
        size = f"{steps:,} steps ({steps * N_KEYS * 2 / 1e6:,.0f} MB) passes the limit of"
        advice = "cut the piece or choose fewer steps_per_quarter"
        raise ValueError(f"a roll of {size} {MAX_STEPS:,} steps; {advice}")
    kept = start < steps
    return _draw(start[kept], end[kept], key[kept], steps)


def draw_roll(start: ArrayLike, key: ArrayLike, length: ArrayLike, *, steps: int) -> np.ndarray:
    """Return the roll of notes on the grid, cut at its end: the inverse of `note_list`."""
    start, key, length = (np.asarray(column, dtype=np.int64) for column in (start, key, length))
    limits = {"start": (start, 0, steps - 1), "key": (key, 0, N_KEYS - 1)}
    for name, (column, low, high) in (limits | {"length": (length, 1, np.inf)}).items():
        if ((column < low) | (column > high)).any():
            raise ValueError(f"{name} must lie in {low} to {high}; got {column.tolist()}")
    if steps > MAX_STEPS:
        raise ValueError(f"steps must be at most {MAX_STEPS:,}; got {steps:,}")
    return _draw(start, start + length, key, steps)


def _draw(start: np.ndarray, end: np.ndarray, key: np.ndarray, steps: int) -> np.ndarray:
    end = np.minimum(end, steps)
    roll = np.zeros((steps, N_KEYS, 2), np.uint8)
    for each in np.unique(key):  # one key at a time: all at once would take five times the memory
        mine = key == each
        changes = np.bincount(start[mine], minlength=steps + 1)
        changes -= np.bincount(end[mine], minlength=steps + 1)
        roll[:, each, SUSTAIN] = np.cumsum(changes[:-1]) > 0
    roll[start, key, ONSET] = 1
    return roll


def roll_to_notes(roll: np.ndarray) -> np.ndarray:
    """Return start step, end step and key of each note, int64 (N, 3), by start, then key."""
    sound = check_roll(roll)[..., SUSTAIN].astype(bool)
    starts = _starts(roll)
    last = sound.copy()
    last[:-1] &= ~sound[1:] | starts[1:]
    key, start = np.nonzero(starts.T)
    end = np.nonzero(last.T)[1] + 1
    order = np.lexsort((key, start))
    return np.stack([start, end, key], axis=1)[order].astype(np.int64)


class NoteList(NamedTuple):
    """Hold the notes of one roll by start, then key: three arrays (N,), times in steps."""

    start: np.ndarray
    key: np.ndarray
    length: np.ndarray


def note_list(roll: np.ndarray) -> NoteList:
    """Return the notes of a roll; three empty arrays for a silent one."""
    start, end, key = roll_to_notes(require_piece(roll)).T
    return NoteList(start, key, end - start)


def note_starts(roll: np.ndarray) -> np.ndarray:
    """Return where notes start, as bool (T, 88): onsets, and sound that begins without one."""
    return _starts(require_piece(roll))


def _starts(roll: np.ndarray) -> np.ndarray:
    starts = roll[..., SUSTAIN].astype(bool)
    starts[1:] &= ~starts[:-1]
    return roll[..., ONSET].astype(bool) | starts


def sounding_keys(roll: np.ndarray) -> np.ndarray:
    """Return which keys sound at each step, as bool (T, 88)."""
    return require_piece(roll)[..., SUSTAIN].astype(bool)


def chord_sequence(roll: np.ndarray) -> np.ndarray:
    """Return the successive different chords, bool (C, 88); a chord struck again counts once."""
    sound = sounding_keys(roll)
    sound = sound[sound.any(axis=1)]
    return sound[np.r_[sound[:1].any(axis=1), (sound[1:] != sound[:-1]).any(axis=1)]]


def transpose(roll: np.ndarray, semitones: int) -> np.ndarray:
    """Move every note up by `semitones`; refuse to move any off the keyboard."""
    if semitones % 1 != 0:
        raise ValueError(f"semitones must be a whole number, got {semitones}")
    used = np.flatnonzero(check_roll(roll)[..., SUSTAIN].any(axis=0))
    if used.size and not (used[0] + semitones >= 0 and used[-1] + semitones < N_KEYS):
        keys = f"keys {used[0]} to {used[-1]}"
        raise ValueError(f"semitones={semitones} moves {keys} off the 88 keys of a piano")
    return np.roll(roll, int(semitones), axis=1)


def fold_to_piano(key: np.ndarray) -> np.ndarray:
    """Move keys that left the piano, by less than an octave, back by an octave."""
    return np.where(key < 0, key + 12, np.where(key >= N_KEYS, key - 12, key))


class Bars(NamedTuple):
    """Say where the bar lines of a piece are; `upbeat` counts the steps before the first one."""

    steps_per_bar: int = STEPS_PER_BAR
    upbeat: int = 0
    denominator: int = 4  # of the time signature: bars of 12 steps are 3/4 or 6/8

    def for_measures(self) -> dict[str, int]:
        """Return `steps_per_bar` and `upbeat`: measures count bars, whatever their signature."""
        return {"steps_per_bar": self.steps_per_bar, "upbeat": self.upbeat}


COMMON_BARS = Bars()  # 4/4: for a roll of which nothing else is known


def bars_at(position: np.ndarray, steps_per_bar: int, denominator: int = 4) -> Bars:
    """Return the bars of a piece, or a stretch of it, by its steps' places since the bar line."""
    upbeat = min(np.flatnonzero(np.asarray(position) == 0), default=len(position))
    return Bars(int(steps_per_bar), int(upbeat), int(denominator))


def whole_bars(
    steps: np.ndarray, *, steps_per_bar: int = STEPS_PER_BAR, upbeat: int = 0
) -> np.ndarray:
    """Cut anything of shape (T, ...) into its whole bars, (B, steps_per_bar, ...)."""
    if steps_per_bar < 1 or upbeat < 0:
        got = f"{steps_per_bar} and {upbeat}"
        raise ValueError(f"steps_per_bar must be at least 1, upbeat 0 or more, got {got}")
    whole = max(len(steps) - upbeat, 0) // steps_per_bar
    bars = steps[upbeat:][: whole * steps_per_bar]
    return bars.reshape(whole, steps_per_bar, *steps.shape[1:])


def ratio(numerator: float, denominator: float) -> float:
    """Return a quotient as a float, NaN where the denominator is 0."""
    return float(numerator) / float(denominator) if denominator else float("nan")
