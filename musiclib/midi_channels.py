"""Give the notes of all tracks to parts: what each channel is set to, wherever it is set.

Conventions: a *channel* is 16 times its port (0 unless a track names one) plus its number, 0 to 15.
Program, bank, controllers and pitch bends are the channel's, on whatever track they stand. What is
in force at a tick is what was set last up to that tick: at one tick, settings come before notes;
of two settings, the one on the later track counts. One exception: where two tracks that both play
notes set a program at the same tick, each keeps its own. Files of more than 15 instruments
(pretty_midi's, for one) use a channel twice in that way.

Source: MIDI 1.0 Detailed Specification 4.2 (MIDI Manufacturers Association, 1996). Banks of drum
kits: Yamaha XG (126 and 127), General MIDI 2 (120).
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from musiclib.smf_events import Repairs, SmfError

MAX_NOTES = 1_000_000
MAX_PARTS = 32_767  # so that a part's number fits into 16 bits
NEVER = 2**62
"""The end tick of a note that its own track never ends."""
NOTE_WIDTH = 6
"""Numbers that stand for a note in `ChannelEvents`."""

_DRUM_CHANNEL = 9
_BANK = 0  # controller
_DRUM_BANKS = (120, 126, 127)
_ALL_SOUND_OFF, _ALL_NOTES_OFF = 120, 123  # those above 123 end the notes too
_DRUM_NAMES = {
    "drum", "drums", "drumkit", "drumset", "percussion", "perc", "schlagzeug", "perkussion",
    "percussions", "batterie", "bateria", "batería", "batteria", "kick", "snare", "hihat",
}  # fmt: skip
_BESIDE_DRUMS = {
    "kit", "set", "track", "loop", "machine", "standard", "rock", "jazz", "pop", "electronic",
    "acoustic", "live", "studio", "room", "power", "main", "midi", "gm", "the", "left", "right",
}  # fmt: skip


@dataclass
class Part:
    """What one track plays on one channel with one program.

    Attributes
    ----------
    program : int
        0 to 127.
    is_drum : bool
        True for percussion.
    name : str
        The track's name.
    notes : np.ndarray, shape (n, 4), int64
        Start tick, end tick, pitch, velocity; in the order of their ends.
    controls : np.ndarray, shape (n, 3), int64
        Tick, number, value, by tick. The same array for all parts of a channel.
    bends : np.ndarray, shape (n, 2), int64
        Tick, bend in -8192 to 8191, by tick. The same array for all parts of a channel.
    """

    program: int
    is_drum: bool
    name: str
    notes: np.ndarray
    controls: np.ndarray
    bends: np.ndarray


def _numbers() -> array[int]:
    return array("q")


@dataclass
class ChannelEvents:
    """The channel messages of all tracks, as numbers one after the other, track by track.

    Attributes
    ----------
    notes : array
        Six numbers a note: track, channel, start, end (or ``NEVER``), pitch, velocity.
    programs : array
        Four a program change: track, channel, tick, program.
    controls : array
        Four a control change: channel, tick, number, value.
    bends : array
        Three a pitch bend: channel, tick, bend.
    names : dict
        Of a track: the numbers of notes that stood before each of its names, and these names.
    """

    notes: array[int] = field(default_factory=_numbers)
    programs: array[int] = field(default_factory=_numbers)
    controls: array[int] = field(default_factory=_numbers)
    bends: array[int] = field(default_factory=_numbers)
    names: dict[int, tuple[list[int], list[str]]] = field(default_factory=dict)


def parts_of(events: ChannelEvents, repairs: Repairs) -> list[Part]:
    """Return the parts, in the order in which the tracks hold the ends of their first notes.

    Parameters
    ----------
    events : ChannelEvents
        Of all tracks.
    repairs : Repairs
        What was repaired is counted here.

    Returns
    -------
    list of Part

    Raises
    ------
    SmfError
        If there are more than ``MAX_NOTES`` notes or ``MAX_PARTS`` parts.
    """
    controls = _by_channel(_table(events.controls, 4))
    bends = _by_channel(_table(events.bends, 3))
    rows, notes = _ended(_table(events.notes, NOTE_WIDTH), controls, repairs)
    track, channel, start = notes[:, :3].T
    changes = _table(events.programs, 4)
    row = _program_in_force(changes, track, channel, start)
    program = np.append(changes[:, 3], 0)[row]
    drum_kits = np.append(_are_drum_kits(changes, controls), False)
    is_drum = (channel % 16 == _DRUM_CHANNEL) | drum_kits[row]
    keys = np.stack([track, channel, is_drum, program])
    code = ((track << 12 | channel) << 1 | is_drum) << 7 | program
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    if len(first) > MAX_PARTS:
        raise SmfError(f"it holds more than {MAX_PARTS:,} instruments")
    sorted_notes = notes[np.argsort(which, kind="stable")][:, 2:]
    ends = np.cumsum(np.bincount(which, minlength=len(first)))
    settings = {one: (_of(controls, one), _of(bends, one)) for one in np.unique(channel).tolist()}
    parts = []
    for one in np.argsort(first).tolist():
        number, its_channel, drum, its_program = keys[:, first[one]].tolist()
        name = _name(events.names.get(number), int(rows[first[one]]))
        its_notes = sorted_notes[ends[one - 1] if one else 0 : ends[one]]
        parts.append(Part(its_program, bool(drum), name, its_notes, *settings[its_channel]))
    _find_named_drums(parts, keys[:2, np.sort(first)], repairs)
    return parts


def _table(values: array[int], width: int) -> np.ndarray:
    """View `values` as rows of `width` numbers."""
    if not values:
        return np.zeros((0, width), dtype=np.int64)
    return np.frombuffer(values, dtype=np.int64).reshape(-1, width)


def _by_channel(table: np.ndarray) -> np.ndarray:
    """Sort rows of (channel, tick, ...) by both; at one tick, the order of the tracks stays."""
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def _of(table: np.ndarray, channel: int) -> np.ndarray:
    """Give the rows of one channel, without the channel."""
    low, high = np.searchsorted(table[:, 0], [channel, channel + 1])
    return table[low:high, 1:]


def _ended(
    notes: np.ndarray, controls: np.ndarray, repairs: Repairs
) -> tuple[np.ndarray, np.ndarray]:
    """End notes where their channel is silenced; leave out those that nothing ends.

    Returns
    -------
    rows : np.ndarray, shape (n,)
        Where each note stands in `notes`.
    ended : np.ndarray, shape (n, 6)
        By track, then end.
    """
    rows = np.arange(len(notes))
    number = controls[:, 2]
    silences = controls[(number == _ALL_SOUND_OFF) | (number >= _ALL_NOTES_OFF)][:, :2]
    if len(silences) and len(notes):
        notes = notes.copy()
        notes[:, 3] = np.minimum(notes[:, 3], _next(silences, notes[:, 1], notes[:, 2]))
        rows = np.lexsort((notes[:, 3], notes[:, 0]))
        notes = notes[rows]
    kept = notes[:, 3] < NEVER
    if not kept.all():
        repairs["notes that never end left out"] += int((~kept).sum())
        rows, notes = rows[kept], notes[kept]
    if len(notes) > MAX_NOTES:
        raise SmfError(f"it holds more than {MAX_NOTES:,} notes")
    return rows, notes


def _keys(
    settings: np.ndarray, group: np.ndarray, tick: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number the moments of (group, tick, ...) rows and of the questions so that they compare."""
    moments = np.unique(settings[:, 1])
    known = settings[:, 0] * (len(moments) + 1) + np.searchsorted(moments, settings[:, 1], "right")
    return known, group * (len(moments) + 1) + np.searchsorted(moments, tick, "right")


def _next(settings: np.ndarray, group: np.ndarray, tick: np.ndarray) -> np.ndarray:
    """Give the tick of the first of (group, tick) rows, sorted, after `tick`; else ``NEVER``."""
    known, asked = _keys(settings, group, tick)
    place = np.searchsorted(known, asked, side="right")
    padded = np.vstack([settings, [-1, NEVER]])
    return np.where(padded[place, 0] == group, padded[place, 1], NEVER)


def _latest(settings: np.ndarray, group: np.ndarray, tick: np.ndarray) -> np.ndarray:
    """Give the row of (group, tick, ...) that is in force at `tick`, or -1."""
    known, asked = _keys(settings, group, tick)
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], asked, side="right") - 1
    row = np.append(order, -1)[place]
    return np.where(np.append(settings[:, 0], -1)[row] == group, row, -1)


def _program_in_force(
    changes: np.ndarray, track: np.ndarray, channel: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Give the row of the program change that each note plays with, or -1."""
    row = _latest(changes[:, 1:], channel, start)
    voice, setter = track << 12 | channel, changes[:, 0] << 12 | changes[:, 1]
    own = _latest(np.column_stack([setter, changes[:, 2:]]), voice, start)
    plays = np.append(np.isin(setter, voice), False)
    tick = np.append(changes[:, 2], -1)
    return np.where((own >= 0) & plays[row] & (tick[own] == tick[row]), own, row)


def _are_drum_kits(changes: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Say which program changes choose a drum kit: a bank is entered by the next program change."""
    banks = controls[controls[:, 2] == _BANK]
    bank = np.append(banks[:, 3], 0)[_latest(banks, changes[:, 1], changes[:, 2])]
    return np.isin(bank, _DRUM_BANKS)


def _name(names: tuple[list[int], list[str]] | None, row: int) -> str:
    """Give the name that a track had when the note at `row` ended."""
    counts, texts = names or ([], [])
    place = bisect_right(counts, row)
    return texts[place - 1] if place else ""


def _find_named_drums(parts: list[Part], keys: np.ndarray, repairs: Repairs) -> None:
    """Take a part for percussion by its track's name, if the track plays one channel only.

    Where the name only has a drum in it, the notes are kept, and that is counted.
    """
    channels: dict[int, set[int]] = {}
    for track, channel in keys.T.tolist():
        channels.setdefault(track, set()).add(channel)
    for part, track in zip(parts, keys[0].tolist(), strict=True):
        words = _words(part.name)
        if part.is_drum or not words & _DRUM_NAMES or "steel" in words:
            continue
        part.is_drum = is_drum_name(part.name) and len(channels[track]) == 1
        if part.is_drum:
            repairs["notes taken for percussion by the name of their track"] += len(part.notes)
        else:
            repairs["pitched notes on a track named after a drum"] += len(part.notes)


def is_drum_name(name: str) -> bool:
    """Say whether a track's name means a drum kit, and nothing else.

    Examples
    --------
    >>> [is_drum_name(name) for name in ("Drums", "Rock Drum Kit 2", "Steel Drums", "")]
    [True, True, False, False]
    """
    words = _words(name)
    return bool(words & _DRUM_NAMES) and words <= _DRUM_NAMES | _BESIDE_DRUMS


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", name.lower().replace("hi-hat", "hihat")))
