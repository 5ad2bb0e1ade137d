"""Generate MIDI files that are odd, damaged or hostile, from a seed, for tests to feed to anything.

`cases(seed)` gives hundreds of small files, each with what must become of it; `heavy_cases()`
gives files made to take all time or memory, built one at a time as they are large. The builders
(`smf`, `track`, `note`, ...) write bytes directly, as libraries refuse to write what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

END = bytes.fromhex("00ff2f00")
LEGAL, REPAIRED, REFUSED, ANY = "legal", "repaired", "refused", "any"


@dataclass(frozen=True)
class Case:
    """A file and what is expected of the door.

    `expect` is LEGAL (parses without a warning), REPAIRED (parses with one), REFUSED
    (MidiFileError) or ANY of these; `match` a regular expression for the warning or error;
    `n_notes` the notes found, -1 where nothing is promised.
    """

    name: str
    data: bytes
    expect: str = ANY
    match: str = ""
    n_notes: int = -1


def vlq(value: int) -> bytes:
    """Write a variable-length quantity."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return name + struct.pack(">I", len(body) if length is None else length) + body


def track(*events: bytes, end: bytes = END, length: int | None = None) -> bytes:
    return chunk(b"MTrk", b"".join(events) + end, length)


def header(kind: int = 1, n_tracks: int = 1, division: int = 480, *, length: int = 6) -> bytes:
    return chunk(b"MThd", struct.pack(">HHH", kind, n_tracks, division), length)


def smf(*tracks: bytes, kind: int = 1, division: int = 480, n_tracks: int | None = None) -> bytes:
    count = len(tracks) if n_tracks is None else n_tracks
    return header(kind, count, division) + b"".join(tracks)


def on(pitch: int, velocity: int = 64, delta: int = 0, channel: int = 0) -> bytes:
    return vlq(delta) + bytes([0x90 | channel, pitch, velocity])


def off(pitch: int, delta: int = 0, channel: int = 0) -> bytes:
    return vlq(delta) + bytes([0x80 | channel, pitch, 64])


def note(pitch: int, length: int = 240, delta: int = 0, channel: int = 0) -> bytes:
    return on(pitch, delta=delta, channel=channel) + off(pitch, length, channel)


def meta(kind: int, payload: bytes, delta: int = 0, length: int | None = None) -> bytes:
    size = vlq(len(payload) if length is None else length)
    return vlq(delta) + bytes([0xFF, kind]) + size + payload


def tempo(microseconds: int, delta: int = 0) -> bytes:
    return meta(0x51, microseconds.to_bytes(3, "big"), delta)


SCALE = b"".join(note(pitch) for pitch in (60, 62, 64, 65))


def small_file() -> bytes:
    """Give an ordinary little file with everything in it: 2 tracks, 7 notes, 190 bytes or so."""
    conductor = track(
        meta(0x03, b"Conductor"),
        meta(0x58, bytes([3, 2, 24, 8])),
        meta(0x59, bytes([0xFE, 1])),
        tempo(600_000),
        tempo(400_000, delta=480),
        meta(0x01, b"a text"),
    )
    hands = track(
        meta(0x03, b"Piano"),
        bytes.fromhex("00c000 00b0407f"),
        SCALE,
        bytes.fromhex("10e00050 00b04000"),
        on(48, delta=480) + on(52) + on(55, 90),
        bytes.fromhex("817048 00 00 3000 00 3400 00 3700"),
        meta(0x05, "là".encode()),
    )
    return smf(conductor, hands)


def cases(seed: int = 0) -> Iterator[Case]:
    """Give all small cases, always the same ones for a seed."""
    yield from odd_but_legal()
    yield from repairable()
    yield from refused()
    yield from truncated(small_file())
    rng = np.random.default_rng(seed)
    yield from flipped(small_file(), rng, 200)
    yield from spliced(small_file(), rng, 150)
    yield from with_wrong_lengths(small_file(), rng)
    yield from noise(rng, 60)


def odd_but_legal() -> Iterator[Case]:
    """Give files that the standard allows and readers trip over."""

    def legal(name: str, data: bytes, n_notes: int = 4) -> Case:
        return Case(name, data, LEGAL, "", n_notes)

    yield legal("ordinary", small_file(), 7)
    yield legal("type 0", smf(track(SCALE), kind=0))
    yield legal("no note", smf(track()), 0)
    yield legal("no note, many events", smf(track(tempo(1), meta(1, b"x"), b"\0\xb0\x40\x7f")), 0)
    yield legal("running status", smf(track(bytes.fromhex("00903c40603c0000 3e40603e00"))), 2)
    yield legal("running status after meta", smf(track(on(60), meta(1, b"x"), b"\x60\x3c\0")), 1)
    yield legal("note-on of velocity 0 ends", smf(track(on(60), on(60, 0, delta=9))), 1)
    yield legal(
        "alien chunks",
        smf(chunk(b"XFIH", b"abc"), track(SCALE), chunk(b"junk", b"\0" * 9), n_tracks=1),
    )
    yield legal("alien chunk before the tracks", header() + chunk(b"ABCD", b"") + track(SCALE))
    yield legal("long header", header(length=10) + b"more" + track(SCALE))
    yield legal("escape events", smf(track(bytes.fromhex("00f703f1f2f3 00f700"), SCALE)))
    yield legal("sysex in packets", smf(track(bytes.fromhex("00f003431200 10f7030102f7"), SCALE)))
    yield legal("sysex of no length", smf(track(bytes.fromhex("00f000"), SCALE)))
    yield legal("realtime bytes", smf(track(bytes.fromhex("00f8 00fa 00f20102 00f6 00fe"), SCALE)))
    yield legal("32,767 ticks a quarter", smf(track(SCALE), division=32_767))
    yield legal("1 tick a quarter", smf(track(SCALE), division=1))
    yield legal("300 tracks", smf(*[track(SCALE)] * 300), 1200)
    yield legal("tempo on a later track", smf(track(), track(SCALE), track(tempo(250_000))))
    yield legal("fastest tempo", smf(track(tempo(1), SCALE)))
    yield legal("slowest tempo", smf(track(tempo(0xFFFFFF), SCALE)))
    yield legal(
        "200 tempi", smf(track(*[tempo(1000 * (k + 1), delta=1) for k in range(200)], SCALE))
    )
    yield legal(
        "overlapping notes", smf(track(on(60) + on(60, delta=5) + off(60, 5), off(60, 5))), 2
    )
    yield legal("note-off without a note", smf(track(off(60), SCALE, off(99))))
    yield legal("sixteen channels", smf(track(*[note(60, channel=c) for c in range(16)])), 16)
    yield legal("loudest and softest", smf(track(on(0, 1) + on(127, 127), off(0, 9), off(127))), 2)
    yield legal(
        "all controllers", smf(track(*[b"\0\xb0" + bytes([c, 127]) for c in range(128)], SCALE))
    )
    yield legal("bends to the ends", smf(track(bytes.fromhex("00e00000 00e07f7f"), SCALE)))
    yield legal(
        "meta events of no length", smf(track(meta(1, b""), meta(3, b""), meta(5, b""), SCALE))
    )
    yield legal("unknown meta event", smf(track(meta(0x60, b"\xff" * 200, delta=7), SCALE)))
    yield legal("hours of silence", smf(track(SCALE, note(60, delta=9_000_000))), 5)
    for encoding in ("utf-8", "utf-16", "shift_jis", "cp1251", "gb18030"):
        text = "Я 音楽".encode(encoding, "replace")
        metas = [meta(kind, text) for kind in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
        yield legal(f"texts in {encoding}", smf(track(*metas, SCALE)))
    every_byte = bytes(range(256))
    yield legal("every byte as text", smf(track(meta(1, every_byte), meta(3, every_byte), SCALE)))
    yield legal(
        "program change in each note",
        smf(track(*[on(60) + bytes([0, 0xC0, p]) + off(60, 9) for p in range(128)])),
        128,
    )
    inner = smf(track(SCALE))
    riff = b"RMID" + b"data" + struct.pack("<I", len(inner)) + inner
    yield legal("RIFF-wrapped", b"RIFF" + struct.pack("<I", len(riff)) + riff)


def repairable() -> Iterator[Case]:
    """Give damaged files whose music, or a part of it, can be had."""

    def repaired(name: str, data: bytes, match: str, n_notes: int = 4) -> Case:
        return Case(name, data, REPAIRED, match, n_notes)

    yield repaired(
        "no end of track", smf(track(SCALE, end=b"")), "without an end-of-track event: 1"
    )
    yield repaired("truncated last track", smf(track(SCALE), track(SCALE))[:-10], "file: 10", 7)
    yield repaired(
        "open note in a cut track",
        smf(track(SCALE, on(70), off(1, 50)))[:-4],
        "notes ended where their track is cut: 1",
        5,
    )
    for sharps, minor in ((8, 0), (-8, 1), (127, 0), (-128, 1), (0, 2), (3, 255)):
        damaged = track(meta(0x59, bytes([sharps & 255, minor])), SCALE)
        yield repaired(
            f"key {sharps}, {minor}", smf(damaged), "key signatures out of range skipped: 1"
        )
    for payload in (b"", b"\x04", b"\x00\x02\x18\x08", b"\x04\xff\x18\x08"):
        damaged = track(meta(0x58, payload), SCALE)
        yield repaired(
            f"metre {payload.hex()}", smf(damaged), "time signatures out of range skipped"
        )
    for payload in (b"", b"\x07", b"\x07\xa1", b"\x00\x00\x00"):
        yield repaired(
            f"tempo {payload.hex()}",
            smf(track(meta(0x51, payload), SCALE)),
            "tempo changes out of range skipped: 1",
        )
    yield repaired(
        "too few tracks", smf(track(SCALE), n_tracks=9), "promised by the header are missing: 8"
    )
    yield repaired(
        "too many tracks", smf(track(SCALE), track(SCALE), n_tracks=1), "not in header: 1", 8
    )
    yield repaired("header promises none", smf(track(SCALE), n_tracks=0), "not in header: 1")
    for length in (0, 1, 5, 7, 0x7FFFFFFF, 0xFFFFFFFF):
        yield repaired(
            f"header length {length}",
            header(length=length) + track(SCALE),
            "headers of a wrong length: 1",
        )
    for length in (0, 1, 3, 31, 100, 0x7FFFFFFF, 0xFFFFFFFF):
        damaged = smf(track(SCALE, length=length), track(SCALE))
        yield repaired(f"track length {length}", damaged, "tracks of a wrong length: 1", 8)
    yield repaired(
        "length over both tracks", smf(track(SCALE, length=88), track(SCALE)), "wrong length", 8
    )
    yield repaired(
        "velocity 200", smf(track(on(60, 200), off(60, 9))), "above 127 set to 127: 1", 1
    )
    yield repaired(
        "pitch 200", smf(track(SCALE, on(200), off(60, 9))), "number above 127 skipped: 1"
    )
    yield repaired("endless quantity", smf(track(SCALE, b"\xff" * 50)), "cut short by damage: 1")
    yield repaired(
        "endless quantity in a meta length",
        smf(track(SCALE, b"\0\xff\x01" + b"\xff" * 50)),
        "cut short by damage: 1",
    )
    yield repaired(
        "meta longer than the file",
        smf(track(SCALE, meta(1, b"x", length=1 << 27))),
        "cut short by damage: 1",
    )
    yield repaired(
        "sysex longer than the file",
        smf(track(SCALE, b"\0\xf0\xff\xff\xff\x7f")),
        "cut short by damage: 1",
    )
    yield repaired(
        "running status from nowhere",
        smf(track(b"\0\x3c\x40", SCALE), track(SCALE)),
        "cut short by damage: 1",
    )
    yield repaired(
        "note-offs missing", smf(track(on(60), SCALE, on(71))), "never end skipped: 1", 5
    )
    yield repaired("zero-length notes", smf(track(on(71) + off(71), SCALE)), "no length skipped: 1")
    yield repaired("junk before", b"\0" * 128 + smf(track(SCALE)), "skipped before the header: 128")
    yield repaired("junk after", smf(track(SCALE)) + b"\0" * 11, "belong to no chunk: 11")
    yield repaired(
        "junk between", smf(track(SCALE), b"\0\1\2", track(SCALE), n_tracks=2), "no chunk: 3", 8
    )
    yield repaired(
        "events after the end", smf(track(SCALE, END, SCALE)), "after the end of a track"
    )
    yield repaired(
        "days of silence at the end",
        smf(track(SCALE, end=b"\xff\xff\xff\x7f\xff\x2f\0")),
        "silence cut at the end",
    )
    yield repaired(
        "an hour at 32,767 ticks a quarter",
        smf(track(SCALE, note(60, delta=200_000_000)), division=32_767),
        "ticks per quarter note lowered to: 1,638",
        5,
    )


def refused() -> Iterator[Case]:
    """Give what no reader should take for music."""

    def no(name: str, data: bytes, match: str) -> Case:
        return Case(name, data, REFUSED, match)

    one = track(SCALE)
    yield no("empty", b"", "it is empty")
    yield no(
        "a web page", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not a MIDI file"
    )
    yield no("a WAV file", b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40, "not a MIDI file")
    yield no("an empty RIFF", b"RIFF\x24\0\0\0RMID", "not a MIDI file")
    yield no("a RIFF without content", b"RIFF\x24\0\0\0RMIDdata\xff\xff\xff\xff", "not a MIDI file")
    yield no("a zip file", b"PK\x03\x04" + b"\0" * 60, "not a MIDI file")
    yield no("zeros", b"\0" * 5000, "not a MIDI file")
    yield no("header alone", header(n_tracks=0), "holds no track")
    yield no("header, promised tracks", header(n_tracks=3), "holds no track")
    yield no("half a header", header()[:11], r"header is cut off \(11 of 14")
    yield no("type 2", smf(one, kind=2), "type 2")
    for kind in (3, 255, 0xFFFF):
        yield no(f"type {kind}", smf(one, kind=kind), f"its type is {kind}")
    for division in (0xE250, 0xE728, 0x8000, 0xFFFF):
        yield no(f"SMPTE {division:04x}", smf(one, division=division), "SMPTE")
    yield no("no ticks", smf(one, division=0), "0 ticks per quarter")
    yield no(
        "days of silence",
        smf(track(SCALE, note(60, delta=200_000), tempo(0xFFFFFF)), division=1),
        "it lasts 28 hours, and at most 24",
    )
    yield no(
        "years of silence",
        smf(track(SCALE, *[note(60, delta=(1 << 28) - 1)] * 50)),
        "last event is at tick 13,421,",
    )
    yield no("slow silence", smf(track(tempo(0xFFFFFF), SCALE, note(60, delta=9_000_000))), "hours")


def truncated(data: bytes) -> Iterator[Case]:
    """Cut `data` at every byte."""
    for length in range(len(data)):
        expect = REFUSED if length < 22 else ANY
        yield Case(f"truncated at {length}", data[:length], expect)


def flipped(data: bytes, rng: np.random.Generator, count: int) -> Iterator[Case]:
    """Flip one to eight bits of `data`."""
    for index in range(count):
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        chosen = rng.choice(len(bits), rng.integers(1, 9), replace=False)
        bits[chosen] ^= 1
        yield Case(f"flipped {index}", np.packbits(bits).tobytes())


def spliced(data: bytes, rng: np.random.Generator, count: int) -> Iterator[Case]:
    """Remove, repeat, overwrite or insert a stretch of `data`."""
    for index in range(count):
        start, size = int(rng.integers(14, len(data))), int(rng.integers(1, 40))
        piece, rest = data[start : start + size], data[start + size :]
        middle = (b"", piece * 2, rng.bytes(len(piece)), piece + rng.bytes(size))[index % 4]
        yield Case(f"spliced {index}", data[:start] + middle + rest)


def with_wrong_lengths(data: bytes, rng: np.random.Generator) -> Iterator[Case]:
    """Set each chunk length of `data` to extreme and to arbitrary values."""
    places = [4, *(i + 4 for i in range(len(data)) if data[i : i + 4] == b"MTrk")]
    values = [0, 1, 2, 7, 8, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
    values += rng.integers(0, 2 * len(data), 20).tolist()
    for place in places:
        for value in dict.fromkeys(values):
            changed = data[:place] + struct.pack(">I", value) + data[place + 4 :]
            yield Case(f"length at {place} is {value}", changed)


def noise(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """Give random bytes as a whole file, behind a header, and inside a track."""
    for index in range(count):
        body = rng.bytes(int(rng.integers(0, 3000)))
        if index % 3 == 2:  # small numbers look more like events
            body = bytes(byte & (0x7F if rng.random() < 0.7 else 0xFF) for byte in body)
        data = (body, header(n_tracks=1) + body, smf(track(body)))[index % 3]
        yield Case(f"noise {index}", data)


def heavy_cases() -> dict[str, Callable[[], Case]]:
    """Give builders of files made to exhaust time or memory; some are legal, all must end soon."""
    note_bytes = b"\x90\x3c\x40\x01\x3c\x00"

    def running(count: int) -> bytes:
        return smf(track(b"\0\x90\x3c\x40", b"\x01\x3c\x00\x00\x3c\x40" * count, off(60, 1)))

    silence = bytes.fromhex("bf8040")  # 1,032,256 ticks
    return {
        "a million notes": lambda: Case("", running(999_998), LEGAL, "", 999_999),
        "too many notes": lambda: Case(
            "", running(1_000_001), REFUSED, "more than 2,000,000 events"
        ),
        "one note-off for all": lambda: Case(
            "",
            smf(track(b"\0\x90\x3c\x40", b"\0\x3c\x40" * 1_500_000, off(60, 1))),
            REFUSED,
            "more than 1,000,000 notes",
        ),
        "notes never ended": lambda: Case(
            "", smf(track(b"\0\x90\x3c\x40", b"\0\x3c\x40" * 1_900_000)), REPAIRED, "never end", 0
        ),
        "notes of no length": lambda: Case(
            "",
            smf(track(b"\0\x90\x3c\x40", b"\0\x3c\x40\0\x3c\x00" * 900_000)),
            REPAIRED,
            "no length",
            0,
        ),
        "program changes": lambda: Case(
            "", smf(track(b"\0\xc0\0", b"\0\1" * 4_000_000)), REFUSED, "events"
        ),
        "control changes": lambda: Case(
            "", smf(track(SCALE, b"\0\xb0\x40\x7f", b"\0\x40\x7f" * 1_900_000)), LEGAL, "", 4
        ),
        "shared control changes": lambda: Case(
            "",
            smf(
                track(
                    b"\0\xb0\x40\x7f",
                    b"\0\x40\x7f" * 50_000,
                    *[bytes([0, 0xC0, p]) + note(60) for p in range(128)],
                )
            ),
            REFUSED,
            "instruments share 6,400,128 control changes",
        ),
        "pitch bends": lambda: Case(
            "", smf(track(SCALE, b"\0\xe0\x40\x7f", b"\0\x40\x7f" * 1_900_000)), LEGAL, "", 4
        ),
        "tempo changes": lambda: Case(
            "", smf(track(*[tempo(1 + k % 2, 1) for k in range(190_000)], SCALE)), LEGAL, "", 4
        ),
        "too many tempo changes": lambda: Case(
            "", smf(track(tempo(9, 1) * 900_000)), REFUSED, "more than 200,000 tempo changes"
        ),
        "texts": lambda: Case("", smf(track(meta(1, b"xy") * 1_300_000)), REFUSED, "200,000"),
        "a long text": lambda: Case("", smf(track(meta(1, b"x" * 7_000_000), SCALE)), LEGAL, "", 4),
        "sysex": lambda: Case("", smf(track(b"\0\xf0\0" * 2_700_000, SCALE)), LEGAL, "", 4),
        "realtime": lambda: Case("", smf(track(b"\0\xf8" * 4_100_000, SCALE)), LEGAL, "", 4),
        "alien chunks": lambda: Case(
            "", smf(chunk(b"abcd", b"") * 1_000_000, track(SCALE)), LEGAL, "", 4
        ),
        "65,535 tracks": lambda: Case("", smf(track() * 65_535, n_tracks=65_535), LEGAL, "", 0),
        "65,535 tracks that span the rest": lambda: Case(
            "", smf(track(length=2**32 - 1) * 65_535, n_tracks=65_535), REPAIRED, "wrong length", 0
        ),
        "too many tracks": lambda: Case(
            "", smf(track() * 600_000), REFUSED, "more than 65,535 tracks"
        ),
        "tracks of no length": lambda: Case(
            "", smf(track(end=b"") * 900_000), REFUSED, "65,535 tracks"
        ),
        "instruments": lambda: Case(
            "",
            smf(*[track(*[note(60, 1, 0, c) for c in range(16)])] * 2_100),
            REFUSED,
            "32,767 instruments",
        ),
        "ten million ticks": lambda: Case(
            "", smf(track(SCALE, note(60, delta=9_998_000))), LEGAL, "", 5
        ),
        "ticks beyond": lambda: Case(
            "",
            smf(track(SCALE, (silence + note_bytes) * 12)),
            REFUSED,
            "its last event is at tick 12,",
        ),
        "half of an MTrk": lambda: Case("", header() + b"MTr" * 2_700_000, REFUSED, "no track"),
        "MTrk without end": lambda: Case("", header() + b"MTrk" * 2_000_000, ANY),
        "one byte too many": lambda: Case("", smf(track(SCALE)) + bytes(8 << 20), REFUSED, "bytes"),
        "eight megabytes of zeros": lambda: Case(
            "", smf(track(SCALE)) + bytes((8 << 20) - 90), REPAIRED, "no chunk", 4
        ),
        "eight megabytes of noise": lambda: Case(
            "", smf(track(np.random.default_rng(0).bytes((8 << 20) - 50)))
        ),
    }
