"""Build a `pretty_midi.PrettyMIDI` from a score in ticks, once it is known to fit.

Conventions: the object's table from ticks to seconds is pretty_midi's own (its
`_update_tick_to_time`), so times agree with pretty_midi's to the last bit. The table has one
float64 a tick; its length is bounded before it is made.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pretty_midi

from musiclib.midi_channels import Part
from musiclib.midi_events import Score
from musiclib.smf_events import MAX_EVENTS, Repairs, SmfError

MAX_TICK = 9_999_999  # PrettyMIDI.tick_to_time fails from 10,000,000 on; the table takes 80 MB
MIN_RESOLUTION = 480  # ticks per quarter note below which a long file is not thinned
MAX_SECONDS = 24 * 3600

_DEFAULT_TEMPO = 500_000  # microseconds per quarter note, until the file says otherwise


def build_midi(score: Score, repairs: Repairs) -> pretty_midi.PrettyMIDI:
    """Build the object that pretty_midi would have built.

    Parameters
    ----------
    score : Score
        As read; its ticks may be thinned in place.
    repairs : Repairs
        What was repaired is counted here.

    Returns
    -------
    pretty_midi.PrettyMIDI

    Raises
    ------
    SmfError
        If the piece is longer than ``MAX_SECONDS`` or, at ``MIN_RESOLUTION``, than ``MAX_TICK``
        ticks, or its instruments share too many control changes.

    Notes
    -----
    Our choice: a file with more than ``MAX_TICK`` ticks at a fine resolution (pretty_midi refuses
    it) is thinned to a coarser one, which moves events by at most half a new tick: 1/960 quarter
    note at worst, about 1 ms. What stands after the last note and would exceed a bound is cut.
    """
    _require_few_shared(score)
    _cut_late_events(score, repairs)
    if score.last_tick > MAX_TICK:
        _thin(score, repairs)
    midi = pretty_midi.PrettyMIDI(resolution=score.resolution)
    midi._tick_scales = tick_scales(score)
    midi._update_tick_to_time(_last_tick_of_table(score, midi._tick_scales, repairs) + 1)
    table = tick_table(midi)
    _add_metas(midi, score, table)
    midi.instruments = [_instrument(part, table) for part in score.parts]
    return midi


def tick_table(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Give the time of each tick.

    Returns
    -------
    np.ndarray, shape (n_ticks,)
        Seconds, rising; not a copy. One tick only for an object that was not read from a file.
    """
    return np.asarray(midi._PrettyMIDI__tick_to_time, dtype=float)


def ticks_at(midi: pretty_midi.PrettyMIDI, times: np.ndarray) -> np.ndarray:
    """Give the ticks nearest to `times`: `PrettyMIDI.time_to_tick` for a whole array.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        Its table and tempi are used.
    times : np.ndarray, shape (n,)
        Seconds.

    Returns
    -------
    np.ndarray of int64, shape (n,)
        Of two ticks equally near, the later; behind the table, by the last tempo.

    Examples
    --------
    >>> midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=60)
    >>> ticks_at(midi, np.array([0.0, 0.5, 2.0]))
    array([  0, 240, 960])
    """
    table, times = tick_table(midi), np.asarray(times, dtype=float)
    right = np.searchsorted(table, times, side="left")
    behind = right == len(table)
    right = np.minimum(right, len(table) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(times - table[left]) < np.abs(times - table[right]), left, right)
    extra = np.rint(len(table) - 1 + (times - table[-1]) / midi._tick_scales[-1][1])
    return np.where(behind, extra, nearest).astype(np.int64)


def tick_scales(score: Score) -> list[tuple[int, float]]:
    """Give (tick, seconds per tick from there on) for each change of tempo, first tick 0.

    As pretty_midi does it: the last tempo at tick 0 stands; a tempo that is said again is none.
    """
    scales = [(0, _seconds_per_tick(_DEFAULT_TEMPO, score.resolution))]
    for tick, tempo in score.tempi:
        scale = _seconds_per_tick(tempo, score.resolution)
        if tick == 0:
            scales = [(0, scale)]
        elif scale != scales[-1][1]:
            scales.append((tick, scale))
    return scales


def _seconds_per_tick(tempo: int, resolution: int) -> float:
    return 60.0 / ((6e7 / tempo) * resolution)  # in pretty_midi's order, for the same last bit


def _require_few_shared(score: Score) -> None:
    count = sum(len(part.controls) + len(part.bends) for part in score.parts)
    if count > MAX_EVENTS:
        raise SmfError(
            f"its instruments share {count:,} control changes and pitch bends, "
            f"and at most {MAX_EVENTS:,} are read"
        )


def _cut_late_events(score: Score, repairs: Repairs) -> None:
    """Leave out what stands after the last note, where it alone would make the piece too long."""
    last = score.last_note
    if not last or _fits(score, score.last_tick) or not _fits(score, last):
        return
    kept = {id(a): a[a[:, 0] <= last] for p in score.parts for a in (p.controls, p.bends)}
    for part in score.parts:
        part.controls, part.bends = kept[id(part.controls)], kept[id(part.bends)]
    for pairs in score.metas():
        pairs[:] = [(tick, what) for tick, what in pairs if tick <= last]
    repairs["ticks with events cut after the last note"] += score.last_tick - last
    score.last_tick = score.end_tick = last


def _fits(score: Score, tick: int) -> bool:
    """Say whether a piece of so many ticks is within the bounds."""
    scales = [(start, scale) for start, scale in tick_scales(score) if start <= tick]
    return tick <= MAX_TICK and _seconds_at(tick, scales) <= MAX_SECONDS


def _thin(score: Score, repairs: Repairs) -> None:
    """Lower the resolution of `score` so that its last tick is at most ``MAX_TICK``."""
    old = score.resolution
    new = old * MAX_TICK // score.last_tick
    if new < min(old, MIN_RESOLUTION):
        raise SmfError(
            f"its last event is at tick {score.last_tick:,} ({score.last_tick // old:,} quarter "
            f"notes), and at most {MAX_TICK:,} ticks of 1/{min(old, MIN_RESOLUTION)} are read"
        )
    shared = {id(a): a for part in score.parts for a in (part.controls, part.bends)}
    for settings in shared.values():
        settings[:, 0] = _rounded(settings[:, 0], old, new)
    for part in score.parts:
        part.notes[:, :2] = _rounded(part.notes[:, :2], old, new)
        part.notes[:, 1] = np.maximum(part.notes[:, 1], part.notes[:, 0] + 1)
    for pairs in score.metas():
        pairs[:] = [(_rounded(tick, old, new), what) for tick, what in pairs]
    score.last_tick = _rounded(score.last_tick, old, new)
    score.end_tick = _rounded(score.end_tick, old, new)
    score.resolution = new
    repairs["ticks per quarter note lowered to"] = new


def _rounded(tick, old: int, new: int):
    """Give the tick at resolution `new` nearest to `tick` (a number or an array) at `old`."""
    return (2 * tick * new + old) // (2 * old)


def _last_tick_of_table(score: Score, scales: list[tuple[int, float]], repairs: Repairs) -> int:
    """Give the last tick to keep: the end of the longest track, if that is within bounds."""
    seconds = _seconds_at(score.last_tick, scales)
    if seconds > MAX_SECONDS:
        raise SmfError(
            f"it lasts {seconds / 3600:,.0f} hours, and at most {MAX_SECONDS // 3600} are read"
        )
    end = score.end_tick
    if end > MAX_TICK or _seconds_at(end, scales) > MAX_SECONDS:
        repairs["ticks of silence cut at the end"] += end - score.last_tick
        return score.last_tick
    return max(end, score.last_tick)


def _seconds_at(tick: int, scales: list[tuple[int, float]]) -> float:
    seconds = 0.0
    for (start, scale), (end, _) in pairwise([*scales, (tick, 0.0)]):
        seconds += scale * (end - start)
    return seconds


def _add_metas(midi: pretty_midi.PrettyMIDI, score: Score, table: np.ndarray) -> None:
    def at(tick: int) -> float:
        return float(table[tick])

    midi.key_signature_changes = [
        pretty_midi.KeySignature(key, at(tick)) for tick, key in score.key_signatures
    ]
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(*meter, at(tick)) for tick, meter in score.time_signatures
    ]
    midi.lyrics = [pretty_midi.Lyric(text, at(tick)) for tick, text in score.lyrics]
    midi.text_events = [pretty_midi.Text(text, at(tick)) for tick, text in score.texts]


def _instrument(part: Part, table: np.ndarray) -> pretty_midi.Instrument:
    instrument = pretty_midi.Instrument(part.program, part.is_drum, part.name)
    start, end, pitch, velocity = part.notes.T
    instrument.notes = list(
        map(
            pretty_midi.Note,
            velocity.tolist(),
            pitch.tolist(),
            table[start].tolist(),
            table[end].tolist(),
        )
    )
    tick, number, value = part.controls.T
    instrument.control_changes = list(
        map(pretty_midi.ControlChange, number.tolist(), value.tolist(), table[tick].tolist())
    )
    tick, bend = part.bends.T
    instrument.pitch_bends = list(map(pretty_midi.PitchBend, bend.tolist(), table[tick].tolist()))
    return instrument
