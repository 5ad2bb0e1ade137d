"""Notes to synthesiser events: by hand, and for any notes."""

import warnings

import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib.synthesis_events import BEND, CONTROL, OFF, ON, Event, Part, plan_events

SR = 1000


def piece(*tracks, program=0, is_drum=False):
    midi = pretty_midi.PrettyMIDI()
    for notes in tracks:
        track = pretty_midi.Instrument(program, is_drum=is_drum)
        track.notes = [pretty_midi.Note(velocity, *rest) for velocity, *rest in notes]
        midi.instruments.append(track)
    return midi


def events_of(*tracks):
    return [event[:2] + event[3:] for event in plan_events(piece(*tracks), sr=SR)[1]]


def test_one_note():
    parts, events = plan_events(piece([(80, 60, 0.5, 1.0)]), sr=SR)
    assert parts == [Part(0, 0, False)]
    assert events == [Event(500, ON, 0, 60, 80), Event(1000, OFF, 0, 60, 0)]


def test_a_unison_of_two_tracks_sounds_once_as_long_as_the_longer():
    assert events_of([(80, 60, 0, 1)], [(70, 60, 0, 2)]) == [(0, ON, 60, 80), (2000, OFF, 60, 0)]


def test_a_key_struck_while_held_is_held_to_the_later_end():
    seen = events_of([(80, 60, 0, 4)], [(70, 60, 1, 2)])
    assert seen == [(0, ON, 60, 80), (1000, ON, 60, 70), (4000, OFF, 60, 0)]


def test_a_repeated_note_is_let_go_before_it_is_struck_again():
    seen = events_of([(80, 60, 0, 1), (80, 60, 1, 2)])
    assert seen == [(0, ON, 60, 80), (1000, OFF, 60, 0), (1000, ON, 60, 80), (2000, OFF, 60, 0)]


def test_a_note_without_length_lasts_a_sample():
    assert events_of([(80, 60, 1, 1)]) == [(1000, ON, 60, 80), (1001, OFF, 60, 0)]


def controlled(*values, program=0):
    midi = piece(*[[(80, i % 128, 0, 1)] for i in range(len(values))], program=program)
    for track, value in zip(midi.instruments, values, strict=True):
        track.control_changes.append(pretty_midi.ControlChange(7, value, 0.0))
    return midi


def test_tracks_share_a_channel_only_with_the_same_controls():
    assert len(plan_events(controlled(90, 90, 90), sr=SR)[0]) == 1
    assert len(plan_events(controlled(90, 91, 90), sr=SR)[0]) == 2
    shared = plan_events(controlled(90, 90), sr=SR)[1]
    assert shared.count(Event(0, CONTROL, 0, 7, 90)) == 1


def test_order_at_one_sample_and_controls_that_are_not_honoured():
    midi = piece([(80, 60, 0, 1), (80, 62, 1, 2)])
    midi.instruments[0].control_changes = [
        pretty_midi.ControlChange(64, 127, 1.0),
        pretty_midi.ControlChange(91, 127, 1.0),  # reverb: off here
        pretty_midi.ControlChange(0, 5, 0.0),  # a bank that no program change would follow
    ]
    midi.instruments[0].pitch_bends = [pretty_midi.PitchBend(100, 1.0)]
    events = plan_events(midi, sr=SR)[1]
    assert [event.kind for event in events if event.sample == 1000] == [OFF, CONTROL, BEND, ON]
    assert {event.number for event in events if event.kind == CONTROL} == {64}


def test_drums_take_channel_9_and_programs_the_others():
    midi = piece(*[[(80, 60, 0, 1)]] * 12)
    for program, track in enumerate(midi.instruments):
        track.program = program
    midi.instruments[3].is_drum = True
    parts = plan_events(midi, sr=SR)[0]
    assert [part.channel for part in parts] == [0, 1, 2, 9, 3, 4, 5, 6, 7, 8, 10, 11]
    assert [part.is_drum for part in parts].index(True) == 3


def test_several_hundred_tracks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(plan_events(controlled(*[80] * 60), sr=SR)[0]) == 1
        assert len(plan_events(controlled(*range(60)), sr=SR)[0]) == 60
    crowd = controlled(*[80] * 300)
    for number, track in enumerate(crowd.instruments):
        track.program = number % 2
        track.control_changes.append(pretty_midi.ControlChange(11, 100, number / 100))
    with pytest.warns(RuntimeWarning, match="needs 300 channels of 255"):
        parts, events = plan_events(crowd, sr=SR)
    assert [part.program for part in parts] == [0, 1]
    assert sum(event.kind == CONTROL and event.number == 11 for event in events) == 300


def test_a_piece_without_notes_has_no_events():
    midi = piece([])
    midi.instruments[0].control_changes.append(pretty_midi.ControlChange(7, 0, 0.0))
    assert plan_events(midi, sr=SR) == ([], [])


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ((0, 60, 0, 1), "pitch 60 and velocity 0; allowed are"),
        ((128, 60, 0, 1), "velocity 128"),
        ((80, -1, 0, 1), "pitch -1"),
        ((80, 128, 0, 1), "pitch 128"),
        ((80, 60, -0.5, 1), r"from -0.5 to 1 s"),
        ((80, 60, 0, float("inf")), "to inf s"),
        ((80, 60, float("nan"), 1), "from nan"),
    ],
)
def test_bad_notes_are_named(note, message):
    with pytest.raises(ValueError, match=message):
        plan_events(piece([note]), sr=SR)


def test_a_note_that_ends_before_it_starts_is_named():
    midi = piece([(80, 60, 2, 3)])
    midi.instruments[0].notes[0].end = 1
    with pytest.raises(ValueError, match="from 2 to 1 s"):
        plan_events(midi, sr=SR)


def test_bad_programs_and_control_times_are_named():
    with pytest.raises(ValueError, match="program 128; allowed are 0 to 127"):
        plan_events(piece([(80, 60, 0, 1)], program=128), sr=SR)
    midi = controlled(80)
    midi.instruments[0].control_changes[0].time = float("nan")
    with pytest.raises(ValueError, match="control 7 is 80 at nan s; allowed are 0 to 127 at"):
        plan_events(midi, sr=SR)
    with pytest.raises(ValueError, match=r"control 7 is 128 at 0.0 s"):
        plan_events(controlled(128), sr=SR)
    midi = piece([(80, 60, 0, 1)])
    midi.instruments[0].pitch_bends = [pretty_midi.PitchBend(0, 0.5)]
    midi.instruments[0].pitch_bends[0].pitch = 9000
    with pytest.raises(ValueError, match=r"a pitch bend is 9000 at 0.5 s; allowed are -8192"):
        plan_events(midi, sr=SR)


notes = st.lists(
    st.tuples(st.integers(1, 127), st.integers(60, 62), st.integers(0, 20), st.integers(0, 8)).map(
        lambda n: (n[0], n[1], n[2] / 10, (n[2] + n[3]) / 10)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100)
@given(notes, st.data())
def test_keys_sound_when_a_note_holds_them(track, data):
    events = plan_events(piece(track), sr=SR)[1]
    assert events == sorted(events, key=lambda event: event[:2])
    down = {}
    for step, event in enumerate(events):
        down[event.number] = event.kind == ON
        if step + 1 < len(events) and events[step + 1].sample == event.sample:
            continue
        time = event.sample
        for pitch in (60, 61, 62):
            held = any(
                round(start * SR) <= time < max(round(end * SR), round(start * SR) + 1)
                for _, key, start, end in track
                if key == pitch
            )
            assert down.get(pitch, False) == held
    assert not any(down.values())
    strikes = {(round(start * SR), pitch) for _, pitch, start, _ in track}
    assert {(e.sample, e.number) for e in events if e.kind == ON} == strikes
    shuffled = data.draw(st.permutations(track))
    cut = data.draw(st.integers(0, len(track)))
    spread = plan_events(piece(shuffled[:cut], shuffled[cut:]), sr=SR)[1]
    assert spread == events
