"""musiclib.smf and musiclib.smf_events: bytes of MIDI files, read within bounds."""

import struct

import hostile_midi as hostile
import pytest
from hostile_midi import END, SCALE, chunk, header, meta, note, off, on, smf, track, vlq
from hypothesis import given
from hypothesis import strategies as st
from mido.midifiles.meta import encode_variable_int

from musiclib import smf_events
from musiclib.smf import read_header, read_tracks, unwrap_riff
from musiclib.smf_events import META, Repairs, SmfError, read_events


def events_of(body: bytes) -> tuple[list, Repairs]:
    repairs = Repairs()
    found = read_events(body, start=0, end=len(body), budget=1000, repairs=repairs)
    return found.events, repairs


def tracks_of(data: bytes) -> tuple[list, Repairs]:
    repairs = Repairs()
    return list(read_tracks(data, read_header(data, repairs), repairs)), repairs


def test_events_of_a_track_by_hand():
    body = bytes.fromhex(
        "00 90 3c 40"  # note on
        "60 3c 00"  # running status, 96 ticks later
        "8100 c1 05"  # 128 ticks later, program change on channel 1: one data byte
        "00 e0 00 40"  # pitch bend
        "00 ff 05 02 6c 61"  # lyric
        "00 ff 2f 00"
    )
    events, repairs = events_of(body)
    assert events == [
        (0, 0x90, 60, 64),
        (96, 0x90, 60, 0),
        (224, 0xC1, 5, 0),
        (224, 0xE0, 0, 64),
        (224, META, 5, b"la"),
    ]
    assert not repairs


@given(value=st.integers(0, 2**28 - 1))
def test_quantities_agree_with_mido(value):
    encoded = bytes(encode_variable_int(value))
    assert encoded == vlq(value)
    events, repairs = events_of(encoded + on(60)[1:] + END)
    assert events == [(value, 0x90, 60, 64)]
    assert not repairs


@pytest.mark.parametrize("length", range(5, 50))
def test_a_quantity_of_more_than_four_bytes_stops_the_track(length):
    events, repairs = events_of(on(60) + b"\x80" * length + END)
    assert events == [(0, 0x90, 60, 64)]
    assert repairs["tracks cut short by damage"] == 1
    assert repairs["cut at a time step (a negative one, say) of more than four bytes"] == 1


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\0\x3c\x40" + END, "data without a status byte"),
        (b"\0\xff\x01\x7fabc", "an event that does not fit into its track"),
        (b"\0\xf0\x7fabc", "an event that does not fit into its track"),
        (b"\0\x90\x3c", "an event that does not fit into its track"),
        (b"\0\xff\x01" + b"\x80" * 9, "a length of more than four bytes"),
    ],
)
def test_the_damage_that_cuts_a_track_is_named(body, what):
    _, repairs = events_of(body)
    assert repairs[f"cut at {what}"] == repairs["tracks cut short by damage"] == 1


def test_escape_and_system_events_take_time_but_say_nothing():
    body = bytes.fromhex("05f703903c40 05f0 02 01f7 05f8 05f20102 05903c40") + END
    events, repairs = events_of(body)
    assert events == [(25, 0x90, 60, 64)]
    assert not repairs


def test_an_event_may_not_run_into_the_next_chunk():
    body = on(60) + off(60, 9)[:-1]
    found = read_events(body + b"MTrk", start=0, end=len(body), budget=9, repairs=Repairs())
    assert found.events == [(0, 0x90, 60, 64)]
    assert not found.complete
    assert found.end_tick == 0


def test_the_budget_of_events_is_kept(monkeypatch):
    with pytest.raises(SmfError, match="more than 2,000,000 events"):
        read_events(SCALE, start=0, end=len(SCALE), budget=7, repairs=Repairs())
    monkeypatch.setattr("musiclib.smf.MAX_EVENTS", 8)
    assert len(tracks_of(smf(track(SCALE)))[0]) == 1
    with pytest.raises(SmfError, match="events"):  # the budget is the file's, not the track's
        tracks_of(smf(track(SCALE), track(note(60))))


def test_header_by_hand():
    found = read_header(header(1, 3, 32_767) + track(), Repairs())
    assert (found.n_tracks, found.resolution, found.end) == (3, 32_767, 14)


def test_riff_is_unwrapped_and_nothing_else():
    inner = smf(track(SCALE))
    riff = b"RIFF" + struct.pack("<I", len(inner) + 12) + b"RMID"
    data = b"data" + struct.pack("<I", len(inner)) + inner
    info = b"DISP" + struct.pack("<I", 4) + b"name"
    assert unwrap_riff(riff + data + b"pad") == inner
    assert unwrap_riff(riff + info + data) == inner
    for other in (inner, b"", b"RIFF", b"RIFF\0\0\0\0WAVE" + data, riff, riff + b"data"):
        assert unwrap_riff(other) == other


@pytest.mark.parametrize("cut", [22, 26, 30, 35, 40])
def test_a_wrong_length_never_hides_the_next_track(cut):
    tracks, repairs = tracks_of(smf(track(SCALE, length=cut), track(note(50))))
    assert [len(one.events) for one in tracks] == [8, 2]
    assert repairs == ({} if cut == 40 else {"tracks of a wrong length": 1})


def test_a_lost_track_is_skipped_to_the_next_one():
    data = smf(track(SCALE), b"\0\0\0" + track(SCALE), n_tracks=2)
    tracks, repairs = tracks_of(data)
    assert [len(one.events) for one in tracks] == [8, 8]
    assert repairs == {"bytes skipped that belong to no chunk": 3}


def test_alien_chunks_may_hold_anything():
    data = smf(chunk(b"junk", track(SCALE)), track(SCALE), chunk(b"~~~~", b""), n_tracks=1)
    tracks, repairs = tracks_of(data)
    assert len(tracks) == 1
    assert not repairs


def test_an_alien_chunk_longer_than_the_file_does_not_swallow_the_tracks():
    tracks, repairs = tracks_of(smf(chunk(b"junk", b"", 2**32 - 1), track(SCALE), n_tracks=1))
    assert len(tracks[0].events) == 8
    assert (
        "bytes skipped that belong to no chunk" in repairs or repairs["headers of a wrong length"]
    )


def test_ticks_reach_the_end_of_track():
    tracks, _ = tracks_of(smf(track(SCALE, end=vlq(1000) + END[1:])))
    assert tracks[0].end_tick == 4 * 240 + 1000
    assert tracks[0].complete
    assert tracks[0].ended


@pytest.mark.parametrize("case", list(hostile.refused()), ids=lambda case: case.name)
def test_refusals_come_before_any_track_is_read(case):
    if "silence" in case.name:
        assert tracks_of(case.data)[0]  # the bytes are fine: time is judged later
    else:
        with pytest.raises(SmfError, match=case.match):
            tracks_of(case.data)


@given(data=st.binary(max_size=300))
def test_any_bytes_after_a_header_end_in_tracks_or_smf_error(data):
    for body in (data, chunk(b"MTrk", data), track(SCALE) + data):
        try:
            tracks, _ = tracks_of(header() + body)
        except SmfError:
            continue
        for one in tracks:
            ticks = [event[0] for event in one.events]
            assert ticks == sorted(ticks)
            assert one.end_tick >= (ticks[-1] if ticks else 0)
            assert all(e[2] < 128 and e[3] < 128 for e in one.events if e[1] < META)


@given(cut=st.integers(0, 500))
def test_a_prefix_gives_a_prefix_of_the_events(cut):
    whole, _ = tracks_of(hostile.small_file())
    data = hostile.small_file()[: 22 + cut]
    part, _ = tracks_of(data)
    for before, after in zip(part, whole, strict=False):
        assert before.events == after.events[: len(before.events)]


def test_unknown_meta_events_are_not_kept():
    events, _ = events_of(meta(0x60, b"abc", 5) + meta(0x54, b"12345", 5) + on(60, delta=1) + END)
    assert events == [(11, 0x90, 60, 64)]


def test_constants_are_those_of_the_standard():
    assert (smf_events.TEMPO, smf_events.TIME_SIGNATURE, smf_events.KEY_SIGNATURE) == (81, 88, 89)
