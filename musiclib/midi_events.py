"""Turn the events of MIDI tracks into notes, settings, tempi and texts, still counted in ticks.

Conventions: the rules by which events become notes are pretty_midi's, so that an ordinary file
gives the same object by either way. They are:

- A part is what one track plays on one channel with one program, named as its track was when its
  first note ended. Channel 9 (counted from 0) is percussion.
- A note-off (or note-on of velocity 0) ends every open note of its channel and pitch that began
  at an earlier tick. Those that began at the same tick go on if others ended, else they are lost.

Ours differ in these points:

- Tempo, key and time signature count on any track (pretty_midi reads those of the first one only;
  sequencers read all).
- Program, controllers and pitch bends are the channel's on any track, and are kept when the
  program changes (see `midi_channels`; pretty_midi keeps them to one track, and gives a part what
  stands between its first note and the next program). A note has the program set when it starts,
  not when it ends. The channels of different ports are different ones.
- "All notes off" and "all sound off" end the notes of their channel.
- Drum kits on other channels than 9 are percussion too: by their bank, or by the track's name.
- Where a track was cut short, notes still open end at the cut.

What is left out is counted in `Repairs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from musiclib.midi_channels import MAX_NOTES, NEVER, NOTE_WIDTH, ChannelEvents, Part, parts_of
from musiclib.smf import read_header, read_tracks
from musiclib.smf_events import (
    KEY_SIGNATURE,
    LYRIC,
    META,
    PORT,
    TEMPO,
    TEXT,
    TIME_SIGNATURE,
    TRACK_NAME,
    Repairs,
    SmfError,
    Track,
)

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
