"""musiclib.smf: bytes of MIDI files, read within bounds, and what a channel is set to in time."""

from __future__ import annotations

import struct

import hostile_midi as hostile
import numpy as np
import pretty_midi
import pytest
from hostile_midi import END, SCALE, chunk, header, meta, note, off, on, smf, tempo, track, vlq
from hypothesis import given, settings
from hypothesis import strategies as st
from mido.midifiles.meta import encode_variable_int

from musiclib.midi import (
    MidiFileError,
    MidiRepairWarning,
    load_midi,
    note_array,
    parse_midi,
    save_midi,
    sound_end,
)
from musiclib.roll import to_piano_roll
from musiclib.smf import (
    META,
    Repairs,
    SmfError,
    read_events,
    read_header,
    read_tracks,
    unwrap_riff,
)
from musiclib.synth import synthesize


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


LATE = 2_304_000  # ticks: 40 minutes at 480 a quarter note and 120 quarters a minute


def program(number: int, delta: int = 0, channel: int = 0) -> bytes:
    return vlq(delta) + bytes([0xC0 | channel, number])


def control(number: int, value: int, delta: int = 0, channel: int = 0) -> bytes:
    return vlq(delta) + bytes([0xB0 | channel, number, value])


def bend(value: int, delta: int = 0, channel: int = 0) -> bytes:
    return vlq(delta) + bytes([0xE0 | channel, value + 8192 & 0x7F, value + 8192 >> 7])


BEND_RANGE = control(101, 0) + control(100, 0) + control(6, 12)


def programs(midi: pretty_midi.PrettyMIDI) -> list[tuple[int, list[int]]]:
    """Give each instrument's program and pitches."""
    return [(int(one.program), [n.pitch for n in one.notes]) for one in midi.instruments]


def controls(one: pretty_midi.Instrument) -> list[tuple[int, int]]:
    return [(change.number, change.value) for change in one.control_changes]


# Programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("notes_first", [False, True])
def test_a_program_and_a_volume_on_another_track_count(load, notes_first):
    tracks = [track(program(40), control(7, 20)), track(note(60))]
    (part,) = load(smf(*tracks[:: -1 if notes_first else 1])).instruments
    assert part.program == 40
    assert controls(part) == [(7, 20)]


def test_another_channel_is_not_touched(load):
    data = smf(track(program(40), control(7, 20), bend(99)), track(note(60, channel=1)))
    (part,) = load(data).instruments
    assert (part.program, part.control_changes, part.pitch_bends) == (0, [], [])


def test_tracks_of_a_channel_follow_its_programs_in_the_order_of_time(load):
    first = track(note(60, 240), note(61, 240, 480), note(62, 240, 480))
    second = track(program(10, 300), note(70, 240, 200), program(20, 500), note(71, 240, 10))
    assert programs(load(smf(first, second))) == [
        (0, [60]), (10, [61]), (20, [62]), (10, [70]), (20, [71]),
    ]  # fmt: skip


def test_a_note_keeps_the_program_that_it_started_with(load):
    data = smf(track(program(5), on(60), program(6, 100), off(60, 100), note(61)))
    assert programs(load(data)) == [(5, [60]), (6, [61])]


def test_at_one_tick_settings_come_before_notes(load):
    data = smf(track(note(60, 240), note(61)), track(program(7, 240)))
    assert programs(load(data)) == [(0, [60]), (7, [61])]


def test_two_playing_tracks_that_set_a_program_at_one_tick_keep_their_own(load):
    data = smf(*[track(program(p), note(60 + p), program(p + 1), note(70 + p)) for p in (1, 5)])
    assert programs(load(data)) == [(1, [61]), (2, [71]), (5, [65]), (6, [75])]


def test_a_track_that_only_sets_a_program_sets_it_for_all(load):
    data = smf(track(program(1), note(60)), track(program(40)))
    assert programs(load(data)) == [(40, [60])]


def test_a_file_of_type_0_has_a_state_per_channel(load):
    data = smf(
        track(program(3), program(4, channel=1), control(7, 9, channel=1), note(60),
              note(61, channel=1), program(5), note(62), note(63, channel=1)),
        kind=0,
    )  # fmt: skip
    midi = load(data)
    assert programs(midi) == [(3, [60]), (4, [61, 63]), (5, [62])]
    assert [controls(one) for one in midi.instruments] == [[], [(7, 9)], []]


def test_channels_of_two_ports_are_two_channels(load):
    ports = [meta(0x21, bytes([port])) for port in (0, 1)]
    data = smf(track(ports[0], program(40), control(7, 1)), track(ports[1], note(60)))
    assert programs(load(data)) == [(0, [60])]
    data = smf(track(ports[1], program(40), control(7, 1)), track(ports[1], note(60)))
    assert programs(load(data)) == [(40, [60])]


# Controllers and bends ---------------------------------------------------------------------------


def test_controllers_last_over_a_change_of_program(load):
    data = smf(track(program(0), note(60), control(7, 10), note(62), program(48), note(64)))
    one, two = load(data).instruments
    assert controls(one) == controls(two) == [(7, 10)]
    assert two.control_changes[0].time == 0.25


def test_controllers_of_all_tracks_stand_in_the_order_of_time_then_of_tracks(load):
    data = smf(
        track(control(7, 1), control(10, 2, 240), control(11, 3, 240)),
        track(control(7, 4, 240), SCALE, control(11, 5)),
    )
    (part,) = load(data).instruments
    assert controls(part) == [(7, 1), (10, 2), (7, 4), (11, 3), (11, 5)]
    assert [c.time for c in part.control_changes] == [0, 0.25, 0.25, 0.5, 1.25]


def test_a_bend_range_and_bends_on_other_tracks_reach_the_notes(load):
    (part,) = load(smf(track(BEND_RANGE), track(note(60)), track(bend(8191, 9)))).instruments
    assert controls(part) == [(101, 0), (100, 0), (6, 12)]
    assert [b.pitch for b in part.pitch_bends] == [8191]


def test_a_pedal_on_another_track_holds_the_notes_of_the_roll(load):
    pedal = track(control(64, 127), control(64, 0, 960))
    midi = load(smf(track(note(60, 240), note(64, 240, 720)), pedal))
    assert note_array(midi)["duration_quarter"].tolist() == [0.5, 0.5]
    assert note_array(midi, sustain_pedal=True)["duration_quarter"].tolist() == [2.0, 0.5]
    assert to_piano_roll(midi, sustain_pedal=True)[:, 60 - 21, 1].sum() == 8


def test_a_reset_of_all_controllers_lifts_the_pedal(load):
    pedal = track(control(64, 127), control(121, 0, 720))
    midi = load(smf(track(note(60, 240), note(64, 480, 720)), pedal))
    assert note_array(midi, sustain_pedal=True)["duration_quarter"].tolist() == [1.5, 1.0]


@pytest.mark.parametrize("number", [120, 123, 126])
@pytest.mark.parametrize("same_track", [True, False])
def test_all_notes_off_ends_the_notes_of_its_channel(load, number, same_track):
    silence, notes = control(number, 0, 480), on(60) + on(62) + on(64, channel=1)
    wait = 480 if same_track else 960
    again = note(60, 480, wait) + off(62) + off(64, channel=1)
    if same_track:
        data = smf(track(notes, silence, again))
    else:
        data = smf(track(notes, again), track(silence))
    found = [(n.pitch, n.start, n.end) for one in load(data).instruments for n in one.notes]
    assert sorted(found) == [(60, 0, 0.5), (60, 1, 1.5), (62, 0, 0.5), (64, 0, 1.5)]


def test_a_note_that_starts_as_all_notes_go_off_sounds(load):
    midi = load(smf(track(note(60, 240), control(123, 0), note(62, 240))))
    assert [n.end - n.start for n in midi.instruments[0].notes] == [0.25, 0.25]


events = st.lists(
    st.tuples(
        st.integers(0, 2),  # track
        st.integers(0, 1),  # channel
        st.integers(0, 30),  # tick
        st.sampled_from(["note", "note", "program", "volume"]),
        st.integers(1, 127),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(events=events)
def test_the_state_by_a_slow_route(tmp_path_factory, events):
    bodies = []
    for number in range(3):
        body, now = b"", 0
        timed = []
        for order, (where, channel, tick, kind, value) in enumerate(events):
            if where != number:
                continue
            if kind == "note":
                pitch = (20 + order) % 128  # one key a note
                timed.append((tick, on(pitch, channel=channel)[1:]))
                timed.append((tick + 5, off(pitch, channel=channel)[1:]))
            elif kind == "program":
                timed.append((tick, program(value, channel=channel)[1:]))
            else:
                timed.append((tick, control(7, value, channel=channel)[1:]))
        for tick, message in sorted(timed, key=lambda pair: pair[0]):
            body, now = body + vlq(tick - now) + message, tick
        bodies.append(track(body))
    path = tmp_path_factory.getbasetemp() / "slow.mid"
    path.write_bytes(smf(*bodies))
    midi = load_midi(path)
    found = {n.pitch: one for one in midi.instruments for n in one.notes}
    order = sorted(range(len(events)), key=lambda i: (events[i][2], events[i][0]))
    playing = {(where, channel) for where, channel, _, kind, _ in events if kind == "note"}
    for number, (where, channel, tick, kind, _) in enumerate(events):
        if kind != "note":
            continue
        set_up = [events[i] for i in order if events[i][1] == channel]
        changes = [e for e in set_up if e[3] == "program" and e[2] <= tick]
        chosen = changes[-1] if changes else (0, 0, 0, "", 0)
        own = [e for e in changes if e[0] == where and e[2] == chosen[2]]
        if own and (chosen[0], channel) in playing:
            chosen = own[-1]
        part = found[(20 + number) % 128]
        assert part.program == chosen[4]
        assert controls(part) == [(7, e[4]) for e in set_up if e[3] == "volume"]


# Sound -------------------------------------------------------------------------------------------


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x.astype(float) ** 2)))


def test_a_bend_range_set_on_another_track_is_heard(load):
    bent = track(program(80), bend(8191), note(60, 1920))
    x = synthesize(load(smf(track(BEND_RANGE), bent)), sr=8000)
    peak = np.abs(np.fft.rfft(x[:16_000])).argmax() / 2
    assert abs(peak - 523.25) < 5  # an octave up, less a step of the bend


def test_a_program_and_a_volume_set_on_another_track_are_heard(load):
    x = synthesize(load(smf(track(program(40), control(7, 20)), track(note(60, 960)))))
    own = synthesize(load(smf(track(program(40), control(7, 20), note(60, 960)))))
    assert np.array_equal(x, own)
    loud = synthesize(load(smf(track(program(40), note(60, 960)))))
    assert 20 * np.log10(rms(loud) / rms(x)) == pytest.approx(28, abs=1)  # (100 / 20) ** 2


def test_a_volume_is_heard_after_a_change_of_program(load):
    soft, loud = (
        synthesize(load(smf(track(note(60, 480), volume, program(48), note(64, 960)))))[44_100:]
        for volume in (control(7, 10), b"")
    )
    assert 20 * np.log10(rms(loud) / rms(soft)) == pytest.approx(40, abs=1)


# Percussion --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bank", [120, 126, 127])
def test_a_bank_of_drum_kits_is_percussion_on_any_channel(load, bank):
    data = smf(track(control(0, bank, 0, 10), program(0, 0, 10)), track(note(36, channel=10)))
    assert load(data).instruments[0].is_drum
    assert len(to_piano_roll(load(data))) == 0
    data = smf(track(note(60, channel=10), control(0, bank, 0, 10), program(0, 0, 10),
                     note(36, channel=10), control(0, 0, 0, 10), program(0, 0, 10),
                     note(62, channel=10)))  # fmt: skip
    midi = load(data)
    assert [(one.is_drum, len(one.notes)) for one in midi.instruments] == [(False, 2), (True, 1)]


@pytest.mark.parametrize("bank", [0, 1, 8, 121])
def test_other_banks_are_pitched(load, bank):
    data = smf(track(control(0, bank), program(5), note(60)))
    assert not load(data).instruments[0].is_drum


def test_a_track_named_drums_is_percussion_and_that_is_said(tmp_path):
    (tmp_path / "x.mid").write_bytes(smf(track(meta(3, b"Drums"), SCALE), track(note(72))))
    told = "x.mid was repaired: notes taken for percussion by the name of their track: 4"
    with pytest.warns(MidiRepairWarning, match=told):
        midi = load_midi(tmp_path / "x.mid")
    assert [one.is_drum for one in midi.instruments] == [True, False]
    assert note_array(midi)["pitch"].tolist() == [72]


def test_a_track_of_several_channels_is_not_all_drums_but_that_is_said(tmp_path):
    two = track(meta(3, b"Drums"), SCALE, note(72, channel=1))
    doubtful = track(meta(3, b"Drum and bass"), note(40, channel=2))
    (tmp_path / "x.mid").write_bytes(smf(two, doubtful))
    with pytest.warns(MidiRepairWarning, match="pitched notes on a track named after a drum: 6"):
        midi = load_midi(tmp_path / "x.mid")
    assert not any(one.is_drum for one in midi.instruments)


@pytest.mark.parametrize(
    ("name", "is_drum"),
    [
        *(("DRUMS", True), ("Drum Kit", True), ("drums 2", True), ("Drums (left)", True)),
        *(("Hi-Hat", True), ("Schlagzeug", True), ("Kick/Snare", True), ("Batterie", True)),
        *(("Steel Drums", False), ("Drum & Bass", False), ("Little Drummer Boy", False)),
        *(("Piano", False), ("", False), ("The Kit", False), ("12", False)),
    ],
)
@pytest.mark.filterwarnings("ignore::musiclib.midi.MidiRepairWarning")
def test_names_of_drum_tracks(name, is_drum):
    midi = parse_midi(smf(track(meta(3, name.encode("latin-1")), SCALE)), name="x")
    assert midi.instruments[0].is_drum == is_drum


def test_steel_drums_are_pitched_without_a_word(load):
    assert not load(smf(track(meta(3, b"Steel Drums"), SCALE))).instruments[0].is_drum


# Length ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late",
    [
        *(tempo(600_000, LATE), control(121, 0, LATE), bend(0, LATE), program(3, LATE)),
        *(meta(1, b"fin", LATE), meta(0x58, b"\3\2\x18\x08", LATE), control(64, 0, LATE)),
    ],
)
def test_what_comes_late_does_not_lengthen_a_piece(load, late):
    midi = load(smf(track(late), track(control(64, 127), SCALE)))
    assert sound_end(midi) == 1.0
    notes = note_array(midi, sustain_pedal=True)
    assert (notes["onset_quarter"] + notes["duration_quarter"]).max() == 2.0
    assert len(to_piano_roll(midi, sustain_pedal=True)) == 8


def test_a_pedal_released_soon_after_the_last_note_holds_it(load):
    data = smf(track(control(64, 127), note(60, 480), control(64, 0, 960)))
    assert sound_end(load(data)) == 1.5
    assert sound_end(pretty_midi.PrettyMIDI()) == 0


def test_what_comes_days_late_is_cut_and_said(tmp_path):
    days = b"".join(meta(1, b"", 2**28 - 1) for _ in range(3))
    path = tmp_path / "x.mid"
    path.write_bytes(smf(track(SCALE, days, control(7, 0), tempo(9))))
    with pytest.warns(MidiRepairWarning, match="ticks with events cut after the last note: 805,"):
        midi = load_midi(path)
    assert len(midi.instruments[0].notes) == 4
    assert midi.instruments[0].control_changes == []
    assert midi.get_end_time() == 1.0
    path.write_bytes(smf(track(days)))
    with pytest.raises(MidiFileError, match="its last event is at tick 805,"):
        load_midi(path)


# Saving ------------------------------------------------------------------------------------------


def kept(midi: pretty_midi.PrettyMIDI) -> list:
    return [
        (int(one.program), one.is_drum, one.name, programs(midi)[i][1], controls(one),
         [b.pitch for b in one.pitch_bends])
        for i, one in enumerate(midi.instruments)
    ]  # fmt: skip


def test_settings_of_one_tick_are_saved_in_their_order(tmp_path, load):
    midi = load(smf(track(BEND_RANGE, control(121, 0), control(11, 5)), track(note(60))))
    save_midi(midi, tmp_path / "again.mid")
    again = load_midi(tmp_path / "again.mid")
    assert controls(again.instruments[0]) == [(101, 0), (100, 0), (6, 12), (121, 0), (11, 5)]


def test_forty_instruments_keep_what_is_theirs(tmp_path):
    midi = pretty_midi.PrettyMIDI()
    for number in range(40):
        part = pretty_midi.Instrument(number, is_drum=number % 8 == 7, name=f"part {number}")
        part.notes = [pretty_midi.Note(64, 30 + number, 0, 1)]
        part.control_changes = [pretty_midi.ControlChange(7, number, number / 8)]
        part.pitch_bends = [pretty_midi.PitchBend(number, number / 8)]
        midi.instruments.append(part)
    save_midi(midi, tmp_path / "x.mid")
    assert kept(load_midi(tmp_path / "x.mid")) == kept(midi)
    assert kept(pretty_midi.PrettyMIDI(str(tmp_path / "x.mid"))) == kept(midi)


def test_a_shared_channel_comes_back_after_saving(tmp_path, load):
    data = smf(
        track(program(3), note(60), control(123, 0), program(9), note(61)),
        track(control(7, 50, 100), on(70), bend(9, 300), off(70, 100)),
    )
    midi = load(data)
    save_midi(midi, tmp_path / "again.mid")
    assert kept(load_midi(tmp_path / "again.mid")) == kept(midi)


def test_notes_shorter_than_a_tick_are_saved_with_one(tmp_path):
    midi = pretty_midi.PrettyMIDI(resolution=24)
    midi.instruments = [pretty_midi.Instrument(0)]
    midi.instruments[0].notes = [pretty_midi.Note(64, 60, 1.0, 1.001)]
    save_midi(midi, tmp_path / "x.mid")
    (found,) = load_midi(tmp_path / "x.mid").instruments[0].notes
    assert found.end - found.start == pytest.approx(0.5 / 24)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (pretty_midi.ControlChange(7, 128, 0), "controller 7 of 128; allowed: 0 to 127"),
        (pretty_midi.ControlChange(7, 1, -1), "an event's time must be finite, 0 or later"),
        (pretty_midi.ControlChange(7, 1, 1e9), "an event lies beyond tick 268,435,455"),
        (pretty_midi.ControlChange(7, 1.5, 0), "controller 7 of 1.5"),
    ],
)
def test_settings_that_no_file_can_hold_are_refused(tmp_path, setting, reason):
    midi = pretty_midi.PrettyMIDI()
    midi.instruments = [pretty_midi.Instrument(0)]
    midi.instruments[0].notes = [pretty_midi.Note(64, 60, 0, 1)]
    midi.instruments[0].control_changes = [setting]
    with pytest.raises(MidiFileError, match=reason):
        save_midi(midi, tmp_path / "x.mid")
    assert not list(tmp_path.iterdir())


# Bounds ------------------------------------------------------------------------------------------


def test_settings_shared_by_many_instruments_are_bounded(tmp_path):
    many = [track(control(7, 1) * 300, note(60, 1)) for _ in range(1_000)]
    (tmp_path / "x.mid").write_bytes(smf(*many))
    with pytest.raises(MidiFileError, match="instruments share 300,000,000 control changes"):
        load_midi(tmp_path / "x.mid")


def test_thousands_of_tracks_of_one_channel_are_read(tmp_path):
    many = [track(meta(3, b"x"), program(k % 128), note(60, 1), program(5)) for k in range(20_000)]
    (tmp_path / "x.mid").write_bytes(smf(*many))
    midi = load_midi(tmp_path / "x.mid")
    assert [int(one.program) for one in midi.instruments] == list(np.arange(20_000) % 128)
