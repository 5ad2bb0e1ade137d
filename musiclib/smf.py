"""Find the header and the tracks of a Standard MIDI File in its bytes, damaged or not.

Conventions: this room knows bytes and ticks, neither notes nor seconds. What an event is, and how
repairs and refusals are kept apart, is said in `smf_events`; what becomes of the events, in
`midi_events`.

Source: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001, 1996).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from musiclib.smf_events import MAX_EVENTS, Repairs, SmfError, Track, read_events

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
