"""Read a Standard MIDI File, damaged or not: from bytes to events, and to a score in ticks.

Times are ticks, never seconds. A *channel* is 16 times its port (0 unless a track names one) plus
its number, 0 to 15. Repairable damage is counted in a `Repairs` (what: how many), and reading
continues; what cannot be read raises `SmfError`. Notes follow pretty_midi's rules:

- An instrument is what one track plays on one channel with one program. Its name is the one that
  its track had when its first note ended. Channel 9 (counted from 0) is percussion.
- A note-off (or note-on of velocity 0) ends every open note of its channel and pitch that began at
  an earlier tick. Notes that began at the same tick go on if others ended; otherwise they are lost.

Our rules differ in these points:

- Tempo, key and time signature count on any track, as for sequencers (pretty_midi: on the first).
- Program, bank, controllers and pitch bends are the channel's, on any track (pretty_midi keeps them
  to one track), and outlast a change of program. The last setting up to a tick is in force: at one
  tick, settings come before notes, and the setting on the later track counts. But if two tracks
  that both play notes set a program at the same tick, each keeps its own: files of more than 15
  instruments (pretty_midi's, for one) use a channel twice in this way.
- A note has the program that is set when it starts, not when it ends.
- "All notes off" and "all sound off" end the notes of their channel.
- Drum kits on channels other than 9 are percussion too: by their bank or the track's name.
- Where a track was cut short, notes still open end at the cut.

Sources: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001, 1996); MIDI 1.0 Detailed
Specification 4.2 (1996). Banks of drum kits: Yamaha XG (126 and 127), General MIDI 2 (120). RIFF:
Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991).
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

META = 0xFF
TEXT, TRACK_NAME, LYRIC, PORT, END_OF_TRACK = 0x01, 0x03, 0x05, 0x21, 0x2F
TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x51, 0x58, 0x59
MAX_TRACKS = 65_535  # the most that the header's field can hold
MAX_EVENTS = 2_000_000  # a dense piano piece of an hour holds about 100,000
MAX_NOTES = 1_000_000
MAX_META_EVENTS = 200_000  # tempo changes, signatures, lyrics and texts, in all
MAX_INSTRUMENTS = 32_767  # so that an instrument's number fits into 16 bits
_METAS = {
    TEMPO: "tempo changes", KEY_SIGNATURE: "key signatures", TIME_SIGNATURE: "time signatures",
    LYRIC: "lyrics", TEXT: "texts",
}  # fmt: skip
_HEADER_SEARCH = 1024  # bytes into the file in which a header is looked for
_TIME_STEP = "a time step (a negative one, say)"
_OVERLONG = "an event that does not fit into its track"
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # data bytes of system messages; the rest have none
_NEVER = 2**62  # the end tick of a note that its own track never ends
_NOTE_WIDTH = 6  # numbers per note: track, channel, start, end, pitch, velocity
_BANK, _ALL_SOUND_OFF, _ALL_NOTES_OFF = 0, 120, 123  # controllers; those above 123 end notes too
DRUM_CHANNEL, _DRUM_BANKS = 9, (120, 126, 127)
_DRUM_NAMES = {
    "drum", "drums", "drumkit", "drumset", "percussion", "perc", "schlagzeug", "perkussion",
    "percussions", "batterie", "bateria", "batería", "batteria", "kick", "snare", "hihat",
}  # fmt: skip
_BESIDE_DRUMS = {
    "kit", "set", "track", "loop", "machine", "standard", "rock", "jazz", "pop", "electronic",
    "acoustic", "live", "studio", "room", "power", "main", "midi", "gm", "the", "left", "right",
}  # fmt: skip

# Tick from the start of the track, status, and two data bytes (0 where there is one only), or for
# META the type and the payload. System exclusive and escape events only take time.
Event = tuple[int, int, int, int | bytes]
Repairs = Counter[str]
Table = np.ndarray  # of int64


class SmfError(ValueError):
    """Say why bytes cannot be read as a MIDI file: one clause, without the file's name."""


class _DamageError(Exception):
    """Stop reading a track, and say at what: the rest cannot be interpreted."""


@dataclass
class Instrument:  # What one track plays on one channel with one program
    track: int
    channel: int
    program: int
    is_drum: bool
    name: str
    notes: Table  # (n, 4): start tick, end tick, pitch, velocity; by end


@dataclass
class Score:
    """Everything a file says, in ticks from its start; tables are sorted by tick.

    The value of a meta event is for ``TEMPO`` microseconds per quarter note, 1 to 16,777,215; for
    ``KEY_SIGNATURE`` 0 to 11 for C to B major, 12 to 23 for minor; for ``TIME_SIGNATURE``
    (numerator, denominator); for ``LYRIC`` and ``TEXT`` a string (Latin-1: can be written back).
    """

    resolution: int  # ticks per quarter note
    last_tick: int = 0  # of the last event that matters
    end_tick: int = 0  # of the last end of track; never before `last_tick`
    instruments: list[Instrument] = field(default_factory=list)
    controls: dict[int, Table] = field(default_factory=dict)  # channel: (tick, number, value)
    bends: dict[int, Table] = field(default_factory=dict)  # channel: (tick, -8192 to 8191)
    metas: dict[int, list[tuple[int, Any]]] = field(  # kind: (tick, value)
        default_factory=lambda: {kind: [] for kind in _METAS}
    )


def read_score(data: bytes, repairs: Repairs) -> Score:
    """Read a whole file, of type 0 or 1 with ticks per quarter note and within all bounds."""
    data = unwrap_riff(data)
    header = read_header(data, repairs)
    reader = _ScoreReader(header.resolution, repairs)
    for track in read_tracks(data, header, repairs):
        reader.add(track)
    return reader.finish()


def unwrap_riff(data: bytes) -> bytes:
    """Return the MIDI file inside a RIFF file of kind RMID (``.rmi``), or `data` as it is."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    start = data.find(b"data", 12, _HEADER_SEARCH)
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    inner = data[start + 8 : start + 8 + size]
    return inner if start > 0 and inner[:4] == b"MThd" else data


class Header(NamedTuple):
    n_tracks: int
    resolution: int  # ticks per quarter note, 1 to 32,767
    end: int  # position of the first byte after the header


def read_header(data: bytes, repairs: Repairs) -> Header:
    """Read the header chunk; refuse types above 1, SMPTE time, no ticks; skip bytes before it."""
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
    if kind == 2:
        raise SmfError("it is of type 2 (independent patterns), and only types 0 and 1 are read")
    if kind > 2:
        raise SmfError(f"its type is {kind}, and only types 0 and 1 are read")
    if division & 0x8000:
        raise SmfError("its time is in SMPTE frames, and only ticks per quarter note are read")
    if division == 0:
        raise SmfError("it has 0 ticks per quarter note, so its notes have no time")
    end = start + 8 + size
    if size != 6 and (size < 6 or not (end == len(data) or _is_chunk(data, end))):
        repairs["headers of a wrong length"] += 1
        end = start + 14
    return Header(n_tracks, division, end)


@dataclass
class Track:
    # One track as read; ticks never fall, and the end-of-track event is not among `events`
    events: list[Event] = field(default_factory=list)
    end_tick: int = 0  # of the end of track, or of the last event where that was not reached
    ended: bool = False  # an end-of-track event was read
    complete: bool = True  # False if it was cut short, so that notes may have lost their end
    stop: int = 0  # position of the first byte after the track


def read_tracks(data: bytes, header: Header, repairs: Repairs) -> Iterator[Track]:
    """Read the tracks in linear time; where a length is wrong, the end-of-track event counts."""
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
            _check_bound(count, MAX_TRACKS, "tracks")
            track = _read_track(data, position, budget, repairs)
            budget -= len(track.events)
            position = track.stop
            yield track
    if count == 0:
        raise SmfError("it holds no track")
    if count != header.n_tracks:
        which = "promised by the header are missing" if count < header.n_tracks else "not in header"
        repairs[f"tracks {which}"] += abs(header.n_tracks - count)


def _is_chunk(data: bytes, position: int) -> bool:
    name, start = data[position : position + 4], position + 8
    size = 0 if name == b"MTrk" else int.from_bytes(data[position + 4 : start])
    return all(0x20 <= byte < 0x7F for byte in name) and start + size <= len(data)


def _find_track(data: bytes, position: int) -> int:
    found = data.find(b"MTrk", position)
    return found if found >= 0 and _is_chunk(data, found) else len(data)


def _check_bound(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise SmfError(f"it holds more than {limit:,} {what}")


def _read_track(data: bytes, position: int, budget: int, repairs: Repairs) -> Track:
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
        track.stop, track.complete = bound, track.complete and trusted
    return track


def read_events(data: bytes, *, start: int, end: int, budget: int, repairs: Repairs) -> Track:
    """Read up to `budget` events from position `start` to the end of track, `end`, or damage."""
    track = Track(stop=start)
    events, position, tick, running = track.events, start, 0, 0
    try:
        while position < end and not track.ended:
            delta = data[position]
            position += 1
            if delta > 0x7F:
                delta, position = _read_quantity(data, position - 1, what=_TIME_STEP)
            tick += delta
            has_status = data[position] > 0x7F
            status = data[position] if has_status else running
            position += has_status
            if status >= 0xF0:
                position = _read_other(data, position, end, tick, status, track)
                continue
            running = status
            has_one = status & 0xE0 == 0xC0
            a, b = data[position], 0 if has_one else data[position + 1]
            position += 1 if has_one else 2
            if status == 0:
                raise _DamageError("data without a status byte")
            if position > end:
                raise _DamageError(_OVERLONG)
            if a > 0x7F:
                repairs["events with a number above 127 skipped"] += 1
                continue
            if b > 0x7F:
                repairs["values above 127 set to 127"] += 1
            events.append((tick, status, a, min(b, 0x7F)))
            if len(events) > budget:
                raise SmfError(f"it holds more than {MAX_EVENTS:,} events")
        track.stop, track.end_tick = position, tick
        if not track.ended:
            repairs["tracks without an end-of-track event"] += 1
    except (IndexError, _DamageError) as error:
        repairs["tracks cut short by damage"] += 1
        repairs[f"cut at {_OVERLONG if isinstance(error, IndexError) else error}"] += 1
        repairs["bytes not read in such tracks"] += max(end - position, 0)
        track.end_tick, track.complete = events[-1][0] if events else 0, False
    return track


def _read_other(data: bytes, position: int, end: int, tick: int, status: int, track: Track) -> int:
    """Read an event that is not a channel message; keep running status, as some files need."""
    kind = data[position] if status == META else -1
    position += status == META
    if status in (META, 0xF0, 0xF7):
        length, position = _read_quantity(data, position)
    else:
        length = _SYSTEM_LENGTHS.get(status, 0)
    if position + length > end:
        raise _DamageError(_OVERLONG)
    if kind == END_OF_TRACK:
        track.ended = True
    elif kind in (*_METAS, TRACK_NAME, PORT):
        track.events.append((tick, META, kind, data[position : position + length]))
    return position + length


def _read_quantity(data: bytes, position: int, *, what: str = "a length") -> tuple[int, int]:
    value = 0
    for index in range(position, position + 4):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise _DamageError(f"{what} of more than four bytes")


def _meta_value(kind: int, payload: bytes) -> Any:
    if kind in (LYRIC, TEXT):
        return payload.decode("latin-1")
    if kind == TEMPO and len(payload) >= 3:
        return int.from_bytes(payload[:3]) or None
    if kind == TIME_SIGNATURE and len(payload) >= 2:
        numerator, power = payload[:2]
        return (numerator, 2**power) if numerator and power <= 6 else None  # 2 ** 6: 64ths
    if kind == KEY_SIGNATURE and len(payload) >= 2:
        sharps, minor = int.from_bytes(payload[:1], signed=True), payload[1]
        if abs(sharps) <= 7 and minor <= 1:  # a fifth up for each sharp, from C or A
            return (7 * sharps + 9) % 12 + 12 if minor else 7 * sharps % 12
    return None


class _ScoreReader:
    def __init__(self, resolution: int, repairs: Repairs) -> None:
        self.score, self.repairs = Score(resolution), repairs
        self.notes = array("q")  # rows of track, channel, start, end (or _NEVER), pitch, velocity
        self.programs = array("q")  # rows of track, channel, tick, program
        self.controls = array("q")  # rows of channel, tick, number, value
        self.bends = array("q")  # rows of channel, tick, bend
        self.names: dict[int, list[tuple[int, str]]] = {}  # of a track: (notes before it, name)
        self.number, self.port, self.n_ended = -1, 0, 0
        self.open: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(self, track: Track) -> None:
        self.number, self.port, self.open = self.number + 1, 0, {}
        for tick, status, a, b in track.events:
            kind, channel = status & 0xF0, self.port | status & 0x0F
            if kind == 0x90 and b:
                self.open.setdefault((channel, a), []).append((tick, b))
            elif kind in (0x80, 0x90):
                self._end_notes(tick, channel, a)
            elif kind == 0xB0:
                self.controls.extend((channel, tick, a, b))
            elif kind == 0xC0:
                self.programs.extend((self.number, channel, tick, a))
            elif kind == 0xE0:
                self.bends.extend((channel, tick, (b << 7 | a) - 8192))
            elif status == META:
                self._add_meta(tick, a, b)
        if track.events:
            self.score.last_tick = max(self.score.last_tick, track.events[-1][0])
        self.score.end_tick = max(self.score.end_tick, track.end_tick)
        if self.open and not track.complete:
            closed = sum(self._end_notes(track.end_tick, *key) for key in list(self.open))
            self.repairs["notes ended where their track is cut"] += closed
        else:  # another track may end them
            for (channel, pitch), started in self.open.items():
                for start, velocity in started:
                    self.notes.extend((self.number, channel, start, _NEVER, pitch, velocity))
        _check_bound(self.n_ended, MAX_NOTES, "notes")
        n_metas = sum(map(len, self.score.metas.values()))
        _check_bound(n_metas, MAX_META_EVENTS, "tempo changes, signatures and texts")

    def _end_notes(self, tick: int, channel: int, pitch: int) -> int:
        started = self.open.pop((channel, pitch), [])
        ended = [note for note in started if note[0] != tick]
        for start, velocity in ended:
            self.notes.extend((self.number, channel, start, tick, pitch, velocity))
        self.n_ended += len(ended)
        if ended and len(ended) < len(started):
            self.open[channel, pitch] = [note for note in started if note[0] == tick]
        elif started and not ended:
            self.repairs["notes of no length skipped"] += len(started)
        return len(ended)

    def _add_meta(self, tick: int, kind: int, payload: bytes) -> None:
        if kind == TRACK_NAME:
            named = self.names.setdefault(self.number, [])
            named.append((len(self.notes) // _NOTE_WIDTH, payload.decode("latin-1")))
        elif kind == PORT:
            self.port = payload[0] << 4 if payload else 0
        elif (value := _meta_value(kind, payload)) is None:
            self.repairs[f"{_METAS[kind]} out of range skipped"] += 1
        else:
            self.score.metas[kind].append((tick, value))

    def finish(self) -> Score:
        """Return the score with its instruments, in the order in which their first notes end."""
        controls = _by_channel(np.array(self.controls).reshape(-1, 4))
        bends = _by_channel(np.array(self.bends).reshape(-1, 3))
        notes = np.array(self.notes).reshape(-1, _NOTE_WIDTH)
        rows, notes = _end_at_silences(notes, controls, self.repairs)
        track, channel = notes[:, :2].T
        changes = np.array(self.programs).reshape(-1, 4)
        program, is_drum = _programs_in_force(changes, controls, notes)
        keys = np.stack([track, channel, is_drum, program])
        code = ((track << 12 | channel) << 1 | is_drum) << 7 | program
        _, first, which = np.unique(code, return_index=True, return_inverse=True)
        _check_bound(len(first), MAX_INSTRUMENTS, "instruments")
        ordered = notes[np.argsort(which, kind="stable")][:, 2:]
        groups = np.split(ordered, np.cumsum(np.bincount(which, minlength=len(first))))
        for one in np.unique(channel).tolist():
            for table, found in ((controls, self.score.controls), (bends, self.score.bends)):
                low, high = np.searchsorted(table[:, 0], [one, one + 1])
                found[one] = table[low:high, 1:]
        for one in np.argsort(first).tolist():
            number, its_channel, drum, its_program = keys[:, first[one]].tolist()
            named = self.names.get(number, [])
            place = bisect_right(named, int(rows[first[one]]), key=lambda pair: pair[0])
            name = named[place - 1][1] if place else ""
            self.score.instruments.append(
                Instrument(number, its_channel, its_program, bool(drum), name, groups[one])
            )
        _find_named_drums(self.score.instruments, self.repairs)
        for pairs in self.score.metas.values():
            pairs.sort(key=lambda pair: pair[0])  # stable: in order of tracks at the same tick
        return self.score


def _by_channel(table: Table) -> Table:
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def _end_at_silences(notes: Table, controls: Table, repairs: Repairs) -> tuple[Table, Table]:
    number, channel = controls[:, 2], notes[:, 1]
    silences = controls[(number == _ALL_SOUND_OFF) | (number >= _ALL_NOTES_OFF)][:, :2]
    known, asked = _moments(silences, channel, notes[:, 2])
    following = np.vstack([silences, [-1, _NEVER]])[np.searchsorted(known, asked, side="right")]
    silenced = np.where(following[:, 0] == channel, following[:, 1], _NEVER)
    notes[:, 3] = np.minimum(notes[:, 3], silenced)
    rows = np.lexsort((notes[:, 3], notes[:, 0]))
    kept = rows[notes[rows, 3] < _NEVER]
    if len(kept) < len(rows):
        repairs["notes that never end skipped"] += len(rows) - len(kept)
    _check_bound(len(kept), MAX_NOTES, "notes")
    return kept, notes[kept]


def _moments(settings: Table, group: Table, tick: Table) -> tuple[Table, Table]:
    ticks = np.unique(settings[:, 1])
    known = settings[:, 0] * (len(ticks) + 1) + np.searchsorted(ticks, settings[:, 1], "right")
    return known, group * (len(ticks) + 1) + np.searchsorted(ticks, tick, "right")


def _row_in_force(settings: Table, group: Table, tick: Table) -> Table:
    known, asked = _moments(settings, group, tick)
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], asked, side="right") - 1
    row = np.append(order, -1)[place]
    return np.where(np.append(settings[:, 0], -1)[row] == group, row, -1)


def _programs_in_force(changes: Table, controls: Table, notes: Table) -> tuple[Table, Table]:
    track, channel, start = notes[:, :3].T
    row = _row_in_force(changes[:, 1:], channel, start)
    voice, setter = track << 12 | channel, changes[:, 0] << 12 | changes[:, 1]
    own = _row_in_force(np.column_stack([setter, changes[:, 2:]]), voice, start)
    plays = np.append(np.isin(setter, voice), False)
    tick = np.append(changes[:, 2], -1)
    row = np.where((own >= 0) & plays[row] & (tick[own] == tick[row]), own, row)
    banks = controls[controls[:, 2] == _BANK]
    bank = np.append(banks[:, 3], 0)[_row_in_force(banks, changes[:, 1], changes[:, 2])]
    # A program change chooses a drum kit if the bank set before it is one of drum kits.
    is_kit = np.append(np.isin(bank, _DRUM_BANKS), False)[row]
    return np.append(changes[:, 3], 0)[row], (channel % 16 == DRUM_CHANNEL) | is_kit


def _find_named_drums(instruments: list[Instrument], repairs: Repairs) -> None:
    """Treat an instrument as percussion if its track's name says so and has only one channel."""
    n_channels = Counter(track for track, _ in {(one.track, one.channel) for one in instruments})
    for one in instruments:
        words = set(re.findall(r"[^\W\d_]+", one.name.lower().replace("hi-hat", "hihat")))
        if one.is_drum or not words & _DRUM_NAMES or "steel" in words:
            continue
        one.is_drum = words <= _DRUM_NAMES | _BESIDE_DRUMS and n_channels[one.track] == 1
        if one.is_drum:
            repairs["notes taken for percussion by the name of their track"] += len(one.notes)
        else:
            repairs["pitched notes on a track named after a drum"] += len(one.notes)
