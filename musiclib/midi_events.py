"""Turn the events of MIDI tracks into notes, pedals, tempi and texts, still counted in ticks.

Conventions: the rules by which events become notes are pretty_midi's, so that an ordinary file
gives the same object by either way. They are:

- A part is what one track plays on one channel with one program, named as its track was when its
  first note ended. Channel 9 (counted from 0) is percussion.
- A note-off (or note-on of velocity 0) ends every open note of its channel and pitch that began
  at an earlier tick. Those that began at the same tick go on if others ended, else they are lost.
- A note belongs to the program set when it ends.
- Control changes and pitch bends belong to the part of the current program if that has a note
  already; if not, to a list which every later part of that track and channel shares.

Ours differ in three points. Tempo, key and time signature count on any track (pretty_midi reads
those of the first one only; sequencers read all). Where a track was cut short, notes still open
end at the cut. What is left out is counted in `Repairs`.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from musiclib.smf import read_header, read_tracks
from musiclib.smf_events import (
    KEY_SIGNATURE,
    LYRIC,
    META,
    TEMPO,
    TEXT,
    TIME_SIGNATURE,
    TRACK_NAME,
    Repairs,
    SmfError,
    Track,
)

MAX_NOTES = 1_000_000
MAX_META_EVENTS = 200_000  # tempo changes, signatures, lyrics and texts, in all
MAX_PARTS = 32_767  # so that a part's number fits into 16 bits

_DRUMS = 9
_MAX_SHARPS = 7
_MAX_DENOMINATOR = 6  # 2 ** 6: sixty-fourths


@dataclass
class Part:
    """What one track plays on one channel with one program.

    Attributes
    ----------
    program : int
        0 to 127.
    is_drum : bool
        True on the percussion channel.
    name : str
        The track's name.
    notes : array of int64
        Four numbers a note: start tick, end tick, pitch, velocity; in the order of their ends.
    controls : array of int64
        Three numbers a control change: tick, number, value. May be another part's array too.
    bends : array of int64
        Two numbers a pitch bend: tick, bend in -8192 to 8191. May be another part's array too.
    """

    program: int
    is_drum: bool
    name: str
    notes: array[int] = field(default_factory=lambda: array("q"))
    controls: array[int] = field(default_factory=lambda: array("q"))
    bends: array[int] = field(default_factory=lambda: array("q"))


@dataclass
class Score:
    """All that a file says, in ticks from its start; lists of pairs (tick, what), sorted by tick.

    Attributes
    ----------
    resolution : int
        Ticks per quarter note.
    last_tick, end_tick : int
        Tick of the last event that matters, and of the last end of track.
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
    n_notes: int = 0

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
    score = Score(header.resolution)
    for track in read_tracks(data, header, repairs):
        _TrackReader(score, repairs).read(track)
        _require_bounds(score)
    for pairs in score.metas():
        pairs.sort(key=lambda pair: pair[0])  # stable: in order of tracks at the same tick
    return score


def _require_bounds(score: Score) -> None:
    n_metas = sum(len(pairs) for pairs in score.metas())
    for count, bound, what in (
        (score.n_notes, MAX_NOTES, "notes"),
        (n_metas, MAX_META_EVENTS, "tempo changes, signatures and texts"),
        (len(score.parts), MAX_PARTS, "instruments"),
    ):
        if count > bound:
            raise SmfError(f"it holds more than {bound:,} {what}")


class _TrackReader:
    """Adds the events of one track to a score."""

    def __init__(self, score: Score, repairs: Repairs) -> None:
        self.score = score
        self.repairs = repairs
        self.name = ""
        self.programs = [0] * 16
        self.open: dict[int, list[tuple[int, int]]] = {}  # channel and pitch: (tick, velocity)s
        self.parts: dict[tuple[int, int], Part] = {}  # (channel, program)
        self.early: dict[int, Part] = {}  # channel: events that came before a part had notes

    def read(self, track: Track) -> None:
        """Add all events, then settle the notes that were left open."""
        for tick, status, a, b in track.events:
            kind, channel = status & 0xF0, status & 0x0F
            if kind == 0x90 and b:
                self.open.setdefault(channel << 7 | a, []).append((tick, b))
            elif kind in (0x80, 0x90):
                self._end_notes(tick, channel, a)
            elif kind == 0xB0:
                self._part(channel).controls.extend((tick, a, b))
            elif kind == 0xC0:
                self.programs[channel] = a
            elif kind == 0xE0:
                self._part(channel).bends.extend((tick, (b << 7 | a) - 8192))
            elif status == META:
                self._read_meta(tick, a, b)
        if track.events:
            self.score.last_tick = max(self.score.last_tick, track.events[-1][0])
        self.score.end_tick = max(self.score.end_tick, track.end_tick)
        self._settle(track)

    def _end_notes(self, tick: int, channel: int, pitch: int) -> int:
        """End the open notes of `pitch` at `tick`, and say how many ended."""
        started = self.open.pop(channel << 7 | pitch, None)
        if started is None:
            return 0
        ended = [note for note in started if note[0] != tick]
        if ended:
            part = self._part_with_notes(channel)
            for start, velocity in ended:
                part.notes.extend((start, tick, pitch, velocity))
            self.score.n_notes += len(ended)
        if len(ended) < len(started):
            same = [note for note in started if note[0] == tick]
            if ended:
                self.open[channel << 7 | pitch] = same
            else:
                self.repairs["notes of no length left out"] += len(same)
        return len(ended)

    def _part_with_notes(self, channel: int) -> Part:
        key = (channel, self.programs[channel])
        part = self.parts.get(key)
        if part is None:
            part = Part(key[1], channel == _DRUMS, self.name)
            if channel in self.early:
                part.controls, part.bends = self.early[channel].controls, self.early[channel].bends
            self.parts[key] = part
            self.score.parts.append(part)
        return part

    def _part(self, channel: int) -> Part:
        part = self.parts.get((channel, self.programs[channel]))
        if part is None:
            part = self.early.setdefault(channel, Part(0, False, ""))
        return part

    def _settle(self, track: Track) -> None:
        """End the open notes of a track that was cut; leave out those of a whole one."""
        unended = sum(len(notes) for notes in self.open.values())
        if unended and not track.complete:
            closed = sum(self._end_notes(track.end_tick, k >> 7, k & 0x7F) for k in list(self.open))
            self.repairs["notes ended where their track is cut"] += closed
        elif unended:
            self.repairs["notes that never end left out"] += unended

    def _read_meta(self, tick: int, kind: int, payload: bytes) -> None:
        if kind == TRACK_NAME:
            self.name = payload.decode("latin-1")
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
