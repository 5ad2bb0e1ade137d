"""Notes -> the events that a synthesiser is sent: which channel, which key, at which sample.

Conventions: times become samples by ``round(seconds * sr)``. Tracks of one program share one
channel, like several hands at one piano, so that loudness does not depend on how the voices are
spread over tracks; a track that brings control changes or pitch bends of its own (its volume, its
pedal) keeps a channel of its own, unless another track of the program brings the very same ones.
On one channel a key sounds once: notes of one key that start together become one (the loudest),
a note that starts while its key is held strikes it again, and the key is let go when the last note
holding it ends. Notes at one sample come after releases, controls and bends.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pretty_midi

DRUM_CHANNEL = 9
MAX_CHANNELS = 256  # FluidSynth's own limit
HONOURED_CONTROLS = frozenset({1, 6, 7, 10, 11, 38, 64, 66, 67, 98, 99, 100, 101, 121})
"""Modulation, volume, pan, expression, the three pedals, bend range (RPN) and reset."""

OFF, CONTROL, BEND, ON = range(4)


class Event(NamedTuple):
    """One message: `sample`, then `kind` (OFF < CONTROL < BEND < ON, the order at one sample)."""

    sample: int
    kind: int
    channel: int
    number: int
    value: int


class Part(NamedTuple):
    """What one channel plays: a program of bank 0, or a drum kit of bank 128."""

    channel: int
    program: int
    is_drum: bool


class _Voice(NamedTuple):
    is_drum: bool
    program: int
    controls: tuple[tuple[float, int, int, int], ...]


def plan_events(midi: pretty_midi.PrettyMIDI, *, sr: int) -> tuple[list[Part], list[Event]]:
    """Return the channels that `midi` needs and its events in the order to send them.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        Instruments without notes are left out.
    sr : int
        Samples per second.

    Returns
    -------
    parts : list of Part
        One a channel; drums take channel 9 first.
    events : list of Event
        As `in_order` sorts them.

    Raises
    ------
    ValueError
        If a note has a pitch outside 0 to 127, a velocity outside 1 to 127, a time that is negative
        or not finite, or an end before its start; if a program, control or bend is out of range.

    Examples
    --------
    >>> import pretty_midi
    >>> midi = pretty_midi.PrettyMIDI()
    >>> midi.instruments = [pretty_midi.Instrument(0), pretty_midi.Instrument(0)]
    >>> for track in midi.instruments:
    ...     track.notes.append(pretty_midi.Note(80, 60, 0.0, 0.5))
    >>> parts, events = plan_events(midi, sr=1000)
    >>> len(parts), [(event.sample, event.kind == ON) for event in events]
    (1, [(0, True), (500, False)])
    """
    voices = _share_voices([track for track in midi.instruments if track.notes])
    parts, events = [], []
    for channel, (voice, notes) in zip(_channels(voices), voices.items(), strict=True):
        parts.append(Part(channel, voice.program, voice.is_drum))
        events += _key_events(notes, channel=channel, sr=sr)
        for seconds, kind, number, value in voice.controls:
            events.append(Event(_sample(seconds, sr), kind, channel, number, value))
    return parts, in_order(events)


def in_order(events: list[Event]) -> list[Event]:
    """Return events by sample and kind, keys from low to high, controls in the order given.

    The order of the keys is fixed, as sums of floats depend on it.
    """
    return sorted(
        events,
        key=lambda event: event[:2] + (event[2:4] if event.kind in (OFF, ON) else ()),
    )


def _share_voices(
    tracks: list[pretty_midi.Instrument],
) -> dict[_Voice, list[pretty_midi.Note]]:
    """Gather the notes of tracks that may share a channel."""
    voices: dict[_Voice, list[pretty_midi.Note]] = defaultdict(list)
    for track in tracks:
        _check_track(track)
        voices[_Voice(bool(track.is_drum), int(track.program), _controls(track))] += track.notes
    if len(voices) < MAX_CHANNELS:
        return voices
    warnings.warn(
        f"the piece needs {len(voices)} channels of {MAX_CHANNELS - 1}: tracks of one program now "
        "share one channel and follow each other's volume, pedal and bends",
        RuntimeWarning,
        stacklevel=4,
    )
    return _share_programs(voices)


def _share_programs(
    voices: dict[_Voice, list[pretty_midi.Note]],
) -> dict[_Voice, list[pretty_midi.Note]]:
    """Merge voices of one program, controls and all."""
    notes: dict[tuple[bool, int], list[pretty_midi.Note]] = defaultdict(list)
    controls: dict[tuple[bool, int], list[tuple[float, int, int, int]]] = defaultdict(list)
    for voice, its_notes in voices.items():
        notes[voice[:2]] += its_notes
        controls[voice[:2]] += voice.controls
    return {
        _Voice(*key, tuple(sorted(controls[key], key=lambda control: control[0]))): notes[key]
        for key in notes
    }


def _controls(track: pretty_midi.Instrument) -> tuple[tuple[float, int, int, int], ...]:
    """Return the honoured control changes and the pitch bends as (seconds, kind, number, value)."""
    changes = [
        (float(change.time), CONTROL, int(change.number), int(change.value))
        for change in track.control_changes
        if change.number in HONOURED_CONTROLS
    ]
    bends = [(float(bend.time), BEND, 0, int(bend.pitch)) for bend in track.pitch_bends]
    return tuple(sorted(changes + bends, key=lambda control: control[0]))


def _channels(voices: dict[_Voice, list[pretty_midi.Note]]) -> list[int]:
    """Number the voices: the first drum kit gets channel 9, all others the rest in order."""
    free = (channel for channel in range(MAX_CHANNELS) if channel != DRUM_CHANNEL)
    drums = next((voice for voice in voices if voice.is_drum), None)
    return [DRUM_CHANNEL if voice is drums else next(free) for voice in voices]


def _key_events(notes: list[pretty_midi.Note], *, channel: int, sr: int) -> list[Event]:
    """Return the strikes and releases of one channel's keys."""
    keys: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    for note in notes:
        start = _sample(note.start, sr)
        end = max(_sample(note.end, sr), start + 1)
        velocity, other_end = keys[int(note.pitch)].get(start, (0, 0))
        keys[int(note.pitch)][start] = max(int(note.velocity), velocity), max(end, other_end)
    events = []
    for pitch, strikes in keys.items():
        held_until = 0
        for start in sorted(strikes):
            velocity, end = strikes[start]
            if held_until and start >= held_until:
                events.append(Event(held_until, OFF, channel, pitch, 0))
                held_until = 0
            events.append(Event(start, ON, channel, pitch, velocity))
            held_until = max(end, held_until)
        events.append(Event(held_until, OFF, channel, pitch, 0))
    return events


def _check_track(track: pretty_midi.Instrument) -> None:
    if not 0 <= track.program <= 127:
        raise ValueError(f"midi: an instrument has program {track.program}; allowed are 0 to 127")
    for note in track.notes:
        if not (0 <= note.pitch <= 127 and 1 <= note.velocity <= 127):
            raise ValueError(
                f"midi: a note has pitch {note.pitch} and velocity {note.velocity}; allowed are "
                "pitch 0 to 127 and velocity 1 to 127"
            )
        if not (0 <= note.start <= note.end and math.isfinite(note.end)):
            raise ValueError(
                f"midi: a note lasts from {note.start} to {note.end} s; its start must be 0 or "
                "later, its end finite and not before its start"
            )
    for seconds, kind, number, value in _controls(track):
        low, high = (-8192, 8191) if kind == BEND else (0, 127)
        if not (seconds >= 0 and math.isfinite(seconds) and low <= value <= high):
            raise ValueError(
                f"midi: {'a pitch bend' if kind == BEND else f'control {number}'} is {value} at "
                f"{seconds} s; allowed are {low} to {high} at finite times of 0 or later"
            )


def _sample(seconds: float, sr: int) -> int:
    return round(seconds * sr)
