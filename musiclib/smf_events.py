"""Read the bytes of one MIDI track into events, within bounds and without losing its footing.

Conventions: an event is a plain tuple ``(tick, status, a, b)`` with the tick counted from the
start of its track. For a channel message (status 0x80 to 0xEF) `a` and `b` are its data bytes, 0
to 127 (`b` is 0 where the message has only one). For a meta event the status is ``META`` (0xFF),
`a` the type and `b` the payload as `bytes`. System exclusive and escape events carry no music for
us and are stepped over; their time counts.

Two kinds of trouble are kept apart: what can be repaired is counted in a `Repairs` (what: how
many) and reading goes on; what cannot be read raises `SmfError` with one clause that says why.

Source: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001, 1996).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

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
