"""Find the header and the tracks of a Standard MIDI File in its bytes, damaged or not.

Conventions: this room knows bytes and ticks, neither notes nor seconds. What an event is, and how
repairs and refusals are kept apart, is said in `smf_events`; what becomes of the events, in
`midi_events`.

Source: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001, 1996).
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

# ---- musiclib.smf ----
# Read the bytes of one MIDI track into events, within bounds and without losing its footing.
#
# Conventions: an event is a plain tuple ``(tick, status, a, b)`` with the tick counted from the
# start of its track. For a channel message (status 0x80 to 0xEF) `a` and `b` are its data bytes, 0
# to 127 (`b` is 0 where the message has only one). For a meta event the status is ``META`` (0xFF),
# `a` the type and `b` the payload as `bytes`. System exclusive and escape events carry no music for
# us and are stepped over; their time counts.
#
# Two kinds of trouble are kept apart: what can be repaired is counted in a `Repairs` (what: how
# many) and reading goes on; what cannot be read raises `SmfError` with one clause that says why.
#
# Source: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001, 1996).


META = 0xFF
TEXT, TRACK_NAME, LYRIC, PORT, END_OF_TRACK = 0x01, 0x03, 0x05, 0x21, 0x2F
TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x51, 0x58, 0x59

MAX_EVENTS = 2_000_000  # a dense piano piece of an hour holds about 100,000

_MUSICAL = {TEXT, TRACK_NAME, LYRIC, PORT, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE}
_TIME_STEP = "a time step (a negative one, say)"
_OVERLONG = "an event that does not fit into its track"
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # data bytes of system messages; the rest have none

Event = tuple[int, int, int, int | bytes]
Repairs = Counter[str]


class SmfError(ValueError):
    """Say why bytes cannot be read as a MIDI file: one clause, without the file's name."""


@dataclass
class Track:
    """One track as read.

    Attributes
    ----------
    events : list of Event
        In file order, so ticks never fall. The end-of-track event is not among them.
    end_tick : int
        Tick of the end of track, or of the last event where that was not reached.
    ended : bool
        True if an end-of-track event was read.
    complete : bool
        False if the track was cut short, so that notes may have lost their end.
    stop : int
        Position of the first byte after the track.
    """

    events: list[Event] = field(default_factory=list)
    end_tick: int = 0
    ended: bool = False
    complete: bool = True
    stop: int = 0


class _DamageError(Exception):
    """Leave a track here, and say at what: what follows cannot be told apart."""


def read_events(data: bytes, *, start: int, end: int, budget: int, repairs: Repairs) -> Track:
    """Read events from `start` to the end-of-track event, to `end`, or to damage beyond repair.

    Parameters
    ----------
    data : bytes
        The whole file.
    start, end : int
        Positions of the first byte and of the byte after the last one, at most ``len(data)``.
    budget : int
        The most events to read.
    repairs : Repairs
        What was repaired is counted here.

    Returns
    -------
    Track

    Raises
    ------
    SmfError
        If the track holds more events than `budget`.

    Examples
    --------
    >>> data = bytes.fromhex("00 903c40 60 3c00 00 ff2f00")
    >>> repairs = Repairs()
    >>> read_events(data, start=0, end=len(data), budget=9, repairs=repairs).events
    [(0, 144, 60, 64), (96, 144, 60, 0)]
    >>> repairs
    Counter()
    """
    track = Track(stop=start)
    events, position, tick, running = track.events, start, 0, 0
    try:
        while position < end and not track.ended:
            delta = data[position]
            position += 1
            if delta > 0x7F:
                delta, position = _read_quantity(data, position - 1, what=_TIME_STEP)
            tick += delta
            status = data[position]
            if status < 0x80:
                status = running
            else:
                position += 1
            if status < 0xF0:
                running = status
                a = data[position]
                b = 0 if status & 0xE0 == 0xC0 else data[position + 1]
                position += 1 if status & 0xE0 == 0xC0 else 2
                if status == 0:
                    raise _DamageError("data without a status byte")
                if position > end:
                    raise _DamageError(_OVERLONG)
                if a > 0x7F or b > 0x7F:
                    _mend(events, (tick, status, a, b), repairs)
                else:
                    events.append((tick, status, a, b))
                if len(events) > budget:
                    raise SmfError(f"it holds more than {MAX_EVENTS:,} events")
            else:
                position = _read_other(data, position, end, tick, status, track)
        track.stop, track.end_tick = position, tick
        if not track.ended:
            repairs["tracks without an end-of-track event"] += 1
    except (IndexError, _DamageError) as error:
        what = str(error) if isinstance(error, _DamageError) else _OVERLONG
        repairs["tracks cut short by damage"] += 1
        repairs[f"cut at {what}"] += 1
        repairs["bytes not read in such tracks"] += max(end - position, 0)
        track.end_tick = events[-1][0] if events else 0
        track.complete = False
    return track


def _read_other(data: bytes, position: int, end: int, tick: int, status: int, track: Track) -> int:
    """Read what is no channel message, from behind its status byte; give the position after it.

    Running status is kept across it. The standard ends it here, but files exist that go on, and
    without it their next event could not be read at all.
    """
    if status == META:
        kind = data[position]
        length, position = _read_quantity(data, position + 1)
        if position + length > end:
            raise _DamageError(_OVERLONG)
        if kind == END_OF_TRACK:
            track.ended = True
        elif kind in _MUSICAL:
            track.events.append((tick, META, kind, data[position : position + length]))
        return position + length
    if status in (0xF0, 0xF7):
        length, position = _read_quantity(data, position)
    else:
        length = _SYSTEM_LENGTHS.get(status, 0)
    if position + length > end:
        raise _DamageError(_OVERLONG)
    return position + length


def _read_quantity(data: bytes, position: int, *, what: str = "a length") -> tuple[int, int]:
    """Read a variable-length quantity of at most four bytes; give it and the position after it."""
    value = 0
    for index in range(position, position + 4):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise _DamageError(f"{what} of more than four bytes")


def _mend(events: list[Event], event: tuple[int, int, int, int], repairs: Repairs) -> None:
    """Keep an event whose value is too large (as the largest), drop one whose number is."""
    tick, status, a, _ = event
    if a > 0x7F:
        repairs["events with a number above 127 left out"] += 1
    else:
        repairs["values above 127 set to 127"] += 1
        events.append((tick, status, a, 0x7F))


MAX_TRACKS = 65_535  # the header's own field ends there

_HEADER_SEARCH = 1024  # bytes into the file in which a header is looked for


@dataclass(frozen=True)
class Header:
    """What the header chunk says.

    Attributes
    ----------
    n_tracks : int
        Number of track chunks promised.
    resolution : int
        Ticks per quarter note, 1 to 32,767.
    end : int
        Position of the first byte after the header.
    """

    n_tracks: int
    resolution: int
    end: int


def unwrap_riff(data: bytes) -> bytes:
    """Give the MIDI file inside a RIFF file of kind RMID (``.rmi``), or `data` as it is.

    Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991).
    """
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    start = data.find(b"data", 12, _HEADER_SEARCH)
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    inner = data[start + 8 : start + 8 + size]
    return inner if start > 0 and inner[:4] == b"MThd" else data


def read_header(data: bytes, repairs: Repairs) -> Header:
    """Read the header chunk.

    Parameters
    ----------
    data : bytes
        The whole file.
    repairs : Repairs
        What was repaired is counted here.

    Returns
    -------
    Header

    Raises
    ------
    SmfError
        If there is no header or it announces what is not read: type 2 or unknown types, time in
        SMPTE frames, no ticks at all.

    Notes
    -----
    A header longer than six bytes is legal. Bytes before it (a 128-byte MacBinary header, say)
    are skipped and counted.

    Examples
    --------
    >>> data = bytes.fromhex("4d546864 00000006 0001 0002 01e0")
    >>> read_header(data, Repairs())
    Header(n_tracks=2, resolution=480, end=14)
    """
    if not data:
        raise SmfError("it is empty (0 bytes)")
    start = data.find(b"MThd", 0, _HEADER_SEARCH)
    if start < 0:
        raise SmfError(f"it is not a MIDI file (no MThd in its first {_HEADER_SEARCH:,} bytes)")
    if len(data) < start + 14:
        raise SmfError(f"its header is cut off ({len(data) - start} of 14 bytes are there)")
    if start > 0:
        repairs["bytes skipped before the header"] += start
    size, kind, n_tracks, division = struct.unpack_from(">IHHH", data, start + 4)
    _require_readable(kind, division)
    end = start + 8 + size
    if size != 6 and (size < 6 or not (end == len(data) or _is_chunk(data, end))):
        repairs["headers of a wrong length"] += 1
        end = start + 14
    return Header(n_tracks, division, end)


def read_tracks(data: bytes, header: Header, repairs: Repairs) -> Iterator[Track]:
    """Read the track chunks one after the other; chunks of other kinds are stepped over.

    Parameters
    ----------
    data : bytes
        The whole file.
    header : Header
        From `read_header`.
    repairs : Repairs
        What was repaired is counted here.

    Yields
    ------
    Track

    Raises
    ------
    SmfError
        If there is no track, or there are more than ``MAX_TRACKS`` tracks or ``MAX_EVENTS``
        events in all.

    Notes
    -----
    A wrong chunk length shows in that neither a chunk nor the end of the file stands where it
    points. Then the end-of-track event counts, and the next ``MTrk`` is looked for. Every step
    goes forward, so the time taken is linear in the size of the file.
    """
    position, count, budget = header.end, 0, MAX_EVENTS
    while position < len(data):
        if not _is_chunk(data, position):
            found = _find_track(data, position)
            repairs["bytes skipped that belong to no chunk"] += found - position
            position = found
        elif data[position : position + 4] != b"MTrk":
            position += 8 + int.from_bytes(data[position + 4 : position + 8])
        else:
            count += 1
            if count > MAX_TRACKS:
                raise SmfError(f"it holds more than {MAX_TRACKS:,} tracks")
            track = _read_track(data, position, budget, repairs)
            budget -= len(track.events)
            position = track.stop
            yield track
    if count == 0:
        raise SmfError("it holds no track")
    if count != header.n_tracks:
        which = "promised by the header are missing" if count < header.n_tracks else "not in header"
        repairs[f"tracks {which}"] += abs(header.n_tracks - count)


def _require_readable(kind: int, division: int) -> None:
    if kind == 2:
        raise SmfError("it is of type 2 (independent patterns), and only types 0 and 1 are read")
    if kind > 2:
        raise SmfError(f"its type is {kind}, and only types 0 and 1 are read")
    if division & 0x8000:
        raise SmfError("its time is in SMPTE frames, and only ticks per quarter note are read")
    if division == 0:
        raise SmfError("it has 0 ticks per quarter note, so its notes have no time")


def _is_chunk(data: bytes, position: int) -> bool:
    """Say whether a track starts here, or a chunk of another kind that fits into the file."""
    name = data[position : position + 4]
    if len(data) < position + 8 or name == b"MTrk":
        return len(data) >= position + 8
    size = int.from_bytes(data[position + 4 : position + 8])
    return all(0x20 <= byte < 0x7F for byte in name) and position + 8 + size <= len(data)


def _find_track(data: bytes, position: int) -> int:
    """Give the position of the next track chunk from `position` on, or of the end of the file."""
    found = data.find(b"MTrk", position)
    return found if found >= 0 and _is_chunk(data, found) else len(data)


def _read_track(data: bytes, position: int, budget: int, repairs: Repairs) -> Track:
    """Read the track whose chunk starts at `position`, and settle where it stops."""
    start = position + 8
    end = start + int.from_bytes(data[position + 4 : start])
    trusted = end == len(data) or _is_chunk(data, end)
    bound = end if trusted else _find_track(data, start)
    track = read_events(data, start=start, end=bound, budget=budget, repairs=repairs)
    if track.ended and track.stop == end:
        return track
    if track.ended and trusted and data[track.stop : track.stop + 4] != b"MTrk":
        repairs["bytes skipped after the end of a track"] += end - track.stop
        track.stop = end
    elif not track.ended and bound == len(data) < end:
        repairs["bytes missing at the end of the file"] += end - len(data)
    elif track.ended or not trusted:
        repairs["tracks of a wrong length"] += 1
    if not track.ended:
        track.stop = bound
        track.complete = track.complete and trusted
    return track


# ---- musiclib.smf ----
# Give the notes of all tracks to parts: what each channel is set to, wherever it is set.
#
# Conventions: a *channel* is 16 times its port (0 unless a track names one) plus its number, 0 to
# 15.
# Program, bank, controllers and pitch bends are the channel's, on whatever track they stand. What
# is
# in force at a tick is what was set last up to that tick: at one tick, settings come before notes;
# of two settings, the one on the later track counts. One exception: where two tracks that both play
# notes set a program at the same tick, each keeps its own. Files of more than 15 instruments
# (pretty_midi's, for one) use a channel twice in that way.
#
# Source: MIDI 1.0 Detailed Specification 4.2 (MIDI Manufacturers Association, 1996). Banks of drum
# kits: Yamaha XG (126 and 127), General MIDI 2 (120).


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


# ---- musiclib.smf ----
# Turn the events of MIDI tracks into notes, settings, tempi and texts, still counted in ticks.
#
# Conventions: the rules by which events become notes are pretty_midi's, so that an ordinary file
# gives the same object by either way. They are:
#
# - A part is what one track plays on one channel with one program, named as its track was when its
#   first note ended. Channel 9 (counted from 0) is percussion.
# - A note-off (or note-on of velocity 0) ends every open note of its channel and pitch that began
#   at an earlier tick. Those that began at the same tick go on if others ended, else they are lost.
#
# Ours differ in these points:
#
# - Tempo, key and time signature count on any track (pretty_midi reads those of the first one only;
#   sequencers read all).
# - Program, controllers and pitch bends are the channel's on any track, and are kept when the
#   program changes (see `midi_channels`; pretty_midi keeps them to one track, and gives a part what
#   stands between its first note and the next program). A note has the program set when it starts,
#   not when it ends. The channels of different ports are different ones.
# - "All notes off" and "all sound off" end the notes of their channel.
# - Drum kits on other channels than 9 are percussion too: by their bank, or by the track's name.
# - Where a track was cut short, notes still open end at the cut.
#
# What is left out is counted in `Repairs`.


MAX_META_EVENTS = 200_000  # tempo changes, signatures, lyrics and texts, in all

_MAX_SHARPS = 7
_MAX_DENOMINATOR = 6  # 2 ** 6: sixty-fourths


@dataclass
class Score:
    """All that a file says, in ticks from its start; lists of pairs (tick, what), sorted by tick.

    Attributes
    ----------
    resolution : int
        Ticks per quarter note.
    last_tick, end_tick : int
        Tick of the last event that matters, and of the last end of track.
    parts : list of Part
        What is played.
    tempi : list
        What: microseconds per quarter note, 1 to 16,777,215.
    key_signatures : list
        What: 0 to 11 for C to B major, 12 to 23 for C to B minor.
    time_signatures : list
        What: (numerator, denominator).
    lyrics, texts : list
        What: the text, bytes read as Latin-1, which never fails and can be written back.
    """

    resolution: int
    last_tick: int = 0
    end_tick: int = 0
    parts: list[Part] = field(default_factory=list)
    tempi: list[tuple[int, int]] = field(default_factory=list)
    key_signatures: list[tuple[int, int]] = field(default_factory=list)
    time_signatures: list[tuple[int, tuple[int, int]]] = field(default_factory=list)
    lyrics: list[tuple[int, str]] = field(default_factory=list)
    texts: list[tuple[int, str]] = field(default_factory=list)

    @property
    def last_note(self) -> int:
        """The tick at which the last note ends; 0 without notes."""
        return max((int(part.notes[:, 1].max()) for part in self.parts), default=0)

    def metas(self) -> list[list[tuple[int, object]]]:
        """Give the five lists of what is no note, to be handled alike."""
        return [self.tempi, self.key_signatures, self.time_signatures, self.lyrics, self.texts]


def read_score(data: bytes, repairs: Repairs) -> Score:
    """Read a MIDI file's bytes into a score.

    Parameters
    ----------
    data : bytes
        The whole file, without a RIFF wrapping.
    repairs : Repairs
        What was repaired is counted here.

    Returns
    -------
    Score

    Raises
    ------
    SmfError
        If it is no MIDI file of type 0 or 1 with ticks per quarter note, or exceeds a bound.
    """
    header = read_header(data, repairs)
    score, events = Score(header.resolution), ChannelEvents()
    n_notes = 0
    for number, track in enumerate(read_tracks(data, header, repairs)):
        n_notes += _TrackReader(score, events, repairs, number).read(track)
        _require_bounds(n_notes, score)
    score.parts = parts_of(events, repairs)
    for pairs in score.metas():
        pairs.sort(key=lambda pair: pair[0])  # stable: in order of tracks at the same tick
    return score


def _require_bounds(n_notes: int, score: Score) -> None:
    n_metas = sum(len(pairs) for pairs in score.metas())
    for count, bound, what in (
        (n_notes, MAX_NOTES, "notes"),
        (n_metas, MAX_META_EVENTS, "tempo changes, signatures and texts"),
    ):
        if count > bound:
            raise SmfError(f"it holds more than {bound:,} {what}")


class _TrackReader:
    """Adds the events of one track to a score and to the events of all channels."""

    def __init__(self, score: Score, events: ChannelEvents, repairs: Repairs, number: int) -> None:
        self.score = score
        self.events = events
        self.repairs = repairs
        self.number = number
        self.port = 0
        self.n_notes = 0
        self.open: dict[int, list[tuple[int, int]]] = {}  # channel and pitch: (tick, velocity)s

    def read(self, track: Track) -> int:
        """Add all events, settle the notes that were left open, and say how many have ended."""
        for tick, status, a, b in track.events:
            kind, channel = status & 0xF0, self.port | status & 0x0F
            if kind == 0x90 and b:
                self.open.setdefault(channel << 7 | a, []).append((tick, b))
            elif kind in (0x80, 0x90):
                self._end_notes(tick, channel, a)
            elif kind == 0xB0:
                self.events.controls.extend((channel, tick, a, b))
            elif kind == 0xC0:
                self.events.programs.extend((self.number, channel, tick, a))
            elif kind == 0xE0:
                self.events.bends.extend((channel, tick, (b << 7 | a) - 8192))
            elif status == META:
                self._read_meta(tick, a, b)
        if track.events:
            self.score.last_tick = max(self.score.last_tick, track.events[-1][0])
        self.score.end_tick = max(self.score.end_tick, track.end_tick)
        self._settle(track)
        return self.n_notes

    def _end_notes(self, tick: int, channel: int, pitch: int) -> int:
        """End the open notes of `pitch` at `tick`, and say how many ended."""
        started = self.open.pop(channel << 7 | pitch, None)
        if started is None:
            return 0
        ended = [note for note in started if note[0] != tick]
        for start, velocity in ended:
            self._add(channel, start, tick, pitch, velocity)
        self.n_notes += len(ended)
        if len(ended) < len(started):
            same = [note for note in started if note[0] == tick]
            if ended:
                self.open[channel << 7 | pitch] = same
            else:
                self.repairs["notes of no length left out"] += len(same)
        return len(ended)

    def _add(self, channel: int, start: int, end: int, pitch: int, velocity: int) -> None:
        self.events.notes.extend((self.number, channel, start, end, pitch, velocity))

    def _settle(self, track: Track) -> None:
        """End the open notes of a track that was cut; those of a whole one may end elsewhere."""
        if self.open and not track.complete:
            closed = sum(self._end_notes(track.end_tick, k >> 7, k & 0x7F) for k in list(self.open))
            self.repairs["notes ended where their track is cut"] += closed
            return
        for key, started in self.open.items():
            for start, velocity in started:
                self._add(key >> 7, start, NEVER, key & 0x7F, velocity)

    def _read_meta(self, tick: int, kind: int, payload: bytes) -> None:
        if kind == TRACK_NAME:
            counts, names = self.events.names.setdefault(self.number, ([], []))
            counts.append(len(self.events.notes) // NOTE_WIDTH)
            names.append(payload.decode("latin-1"))
        elif kind == PORT:
            self.port = payload[0] << 4 if payload else 0
        elif kind == LYRIC:
            self.score.lyrics.append((tick, payload.decode("latin-1")))
        elif kind == TEXT:
            self.score.texts.append((tick, payload.decode("latin-1")))
        elif kind == TEMPO:
            self._keep(self.score.tempi, tick, _tempo(payload), "tempo changes")
        elif kind == KEY_SIGNATURE:
            self._keep(self.score.key_signatures, tick, _key(payload), "key signatures")
        elif kind == TIME_SIGNATURE:
            self._keep(self.score.time_signatures, tick, _meter(payload), "time signatures")

    def _keep(self, pairs: list, tick: int, value: object, what: str) -> None:
        if value is None:
            self.repairs[f"{what} out of range left out"] += 1
        else:
            pairs.append((tick, value))


def _tempo(payload: bytes) -> int | None:
    tempo = int.from_bytes(payload[:3])
    return tempo if len(payload) >= 3 and tempo > 0 else None


def _key(payload: bytes) -> int | None:
    """Give the key number: a fifth up for each sharp, from C (major) or A (minor)."""
    if len(payload) < 2:
        return None
    sharps, minor = int.from_bytes(payload[:1], signed=True), payload[1]
    if abs(sharps) > _MAX_SHARPS or minor > 1:
        return None
    return (7 * sharps + 9) % 12 + 12 if minor else 7 * sharps % 12


def _meter(payload: bytes) -> tuple[int, int] | None:
    if len(payload) < 2 or payload[0] == 0 or payload[1] > _MAX_DENOMINATOR:
        return None
    return payload[0], 2 ** payload[1]
