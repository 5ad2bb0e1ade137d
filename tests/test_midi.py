"""musiclib.midi: the door to MIDI files, held against pretty_midi's and against damage."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import hostile_midi as hostile
import mido
import numpy as np
import pretty_midi
import pytest
from hostile_midi import LEGAL, REFUSED, REPAIRED, SCALE, meta, note, off, on, smf, tempo, track
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import musiclib
from musiclib.midi import (
    MAX_SECONDS,
    NOTE_DTYPE,
    MidiFileError,
    MidiRepairWarning,
    load_midi,
    note_array,
    save_midi,
    tick_table,
    ticks_at,
)
from musiclib.roll import check_roll, to_piano_roll

CASES = list(hostile.cases())
HEAVY = hostile.heavy_cases()
quick = settings(max_examples=60, deadline=None)


def described(midi: pretty_midi.PrettyMIDI) -> dict:
    """Give all that a PrettyMIDI holds, to compare exactly."""
    return {
        "resolution": midi.resolution,
        "tick_scales": midi._tick_scales,
        "table": tick_table(midi).tolist(),
        "instruments": [
            (
                (int(one.program), one.is_drum, one.name),
                [(n.velocity, n.pitch, n.start, n.end) for n in one.notes],
                [(c.number, c.value, c.time) for c in one.control_changes],
                [(b.pitch, b.time) for b in one.pitch_bends],
            )
            for one in midi.instruments
        ],
        "keys": [(k.key_number, k.time) for k in midi.key_signature_changes],
        "metres": [(t.numerator, t.denominator, t.time) for t in midi.time_signature_changes],
        "lyrics": [(one.text, one.time) for one in midi.lyrics],
        "texts": [(one.text, one.time) for one in midi.text_events],
        "charset": midi._charset,
    }


def load_quietly(path) -> tuple[pretty_midi.PrettyMIDI, str]:
    """Load, and give the text of the repair warning too ('' if there was none)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        midi = load_midi(path)
    assert len(caught) <= 1
    assert all(one.category is MidiRepairWarning for one in caught)
    return midi, str(caught[0].message) if caught else ""


def count_notes(midi: pretty_midi.PrettyMIDI) -> int:
    return sum(len(one.notes) for one in midi.instruments)


# The same object as pretty_midi's, on ordinary files ---------------------------------------------

deltas = st.sampled_from([0, 0, 1, 7, 120, 480, 5000])
pitches = st.sampled_from([60, 60, 61, 127])
sevens = st.integers(0, 127)
latin = st.text(st.characters(max_codepoint=255), max_size=5)


def messages(kind: str, **fields) -> st.SearchStrategy:
    return st.builds(mido.Message, st.just(kind), time=deltas, **fields)


def metas(kind: str, **fields) -> st.SearchStrategy:
    return st.builds(mido.MetaMessage, st.just(kind), time=deltas, **fields)


def played(numbers: list[int]) -> st.SearchStrategy:
    """Give what a track plays on its own channels, once their programs are set."""
    channel = st.sampled_from(numbers)
    note_on = messages("note_on", channel=channel, note=pitches, velocity=sevens)
    control = st.sampled_from([7, 64, 121])
    return st.one_of(
        note_on,
        note_on,
        messages("note_off", channel=channel, note=pitches, velocity=sevens),
        messages("control_change", channel=channel, control=control, value=sevens),
        messages("pitchwheel", channel=channel, pitch=st.integers(-8192, 8191)),
        messages("aftertouch", channel=channel, value=sevens),
        messages("polytouch", channel=channel, note=sevens, value=sevens),
        messages("sysex", data=st.lists(sevens, max_size=3)),
        metas("text", text=latin),
        metas("lyrics", text=latin),
        metas("track_name", name=latin),
        metas("marker", text=latin),
    )


keys = ["C", "Cb", "F#", "Bb", "Am", "Abm", "A#m", "G#m", "Ebm"]
conducted = st.one_of(
    played([0, 0, 0, 1, 9]),
    metas("set_tempo", tempo=st.sampled_from([1, 250_000, 500_000, 500_001, 16_777_215])),
    metas(
        "time_signature",
        numerator=st.integers(1, 255),
        denominator=st.sampled_from([1, 2, 4, 8, 64]),
    ),
    metas("key_signature", key=st.sampled_from(keys)),
)


@quick
@given(
    first=st.lists(conducted, max_size=40),
    second=st.lists(played([2, 3]), max_size=40),
    third=st.lists(played([4]), max_size=40),
    programs=st.lists(st.sampled_from([0, 1, 40]), min_size=16, max_size=16),
    resolution=st.sampled_from([1, 24, 220, 480]),
)
def test_equals_pretty_midi_on_ordinary_files(
    tmp_path_factory, first, second, third, programs, resolution
):
    path = tmp_path_factory.getbasetemp() / "ordinary.mid"
    tracks = []
    for numbers, events in (([0, 1, 9], first), ([2, 3], second), ([4], third)):
        set_up = [mido.Message("program_change", channel=c, program=programs[c]) for c in numbers]
        tracks.append(mido.MidiTrack([*set_up, *events]))
    mido.MidiFile(type=1, ticks_per_beat=resolution, tracks=tracks).save(path)
    assert described(load_quietly(path)[0]) == described(pretty_midi.PrettyMIDI(str(path)))


def piano_piece(n_notes: int, *, seed: int = 0) -> pretty_midi.PrettyMIDI:
    """Make two hands with pedal, drums, tempo, metre, key, lyrics and texts."""
    rng = np.random.default_rng(seed)
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=93)
    for name, program, drum in (("left", 0, False), ("right", 0, False), ("kit", 0, True)):
        part = pretty_midi.Instrument(program, drum, name)
        for start in np.cumsum(rng.exponential(0.2, n_notes // 3)):
            pitch, velocity = rng.integers(30, 100), rng.integers(1, 128)
            end = start + rng.uniform(0.05, 1)
            part.notes.append(pretty_midi.Note(int(velocity), int(pitch), start, end))
            pedal = pretty_midi.ControlChange(64, int(rng.integers(0, 128)), start)
            part.control_changes.append(pedal)
            part.pitch_bends.append(pretty_midi.PitchBend(int(rng.integers(-8192, 8192)), start))
        midi.instruments.append(part)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(6, 8, 0))
    midi.key_signature_changes.append(pretty_midi.KeySignature(15, 2.5))
    midi.lyrics.append(pretty_midi.Lyric("la", 1.0))
    midi.text_events.append(pretty_midi.Text("hier", 2.0))
    return midi


def test_equals_pretty_midi_on_a_piece_that_pretty_midi_wrote(tmp_path):
    piano_piece(600).write(str(tmp_path / "piece.mid"))
    ours = load_midi(tmp_path / "piece.mid")
    assert count_notes(ours) == 600
    assert described(ours) == described(pretty_midi.PrettyMIDI(str(tmp_path / "piece.mid")))


@pytest.mark.parametrize("sharps", range(-7, 8))
@pytest.mark.parametrize("minor", [0, 1])
def test_all_thirty_keys(tmp_path, load, sharps, minor):
    ours = load(smf(track(meta(0x59, bytes([sharps & 255, minor])), SCALE)))
    theirs = pretty_midi.PrettyMIDI(str(tmp_path / "x.mid"))
    assert ours.key_signature_changes[0].key_number == theirs.key_signature_changes[0].key_number


# Closed forms ------------------------------------------------------------------------------------


def test_times_by_hand(load):
    # 480 ticks at 0.5 s, 480 at 1 s, 240 at 1 s
    data = smf(track(on(60), tempo(1_000_000, 480), off(60, 480), note(62)), division=480)
    notes = load(data).instruments[0].notes
    assert [(n.pitch, n.start, n.end) for n in notes] == [(60, 0.0, 1.5), (62, 1.5, 2.0)]


def test_tempo_counts_on_whatever_track_it_stands(load):
    events = (tempo(250_000), tempo(1_000_000, 480), meta(0x58, b"\3\3\x18\x08"))
    first = load(smf(track(*events), track(SCALE), track(SCALE)))
    later = load(smf(track(), track(SCALE), track(*events, SCALE[:0]), track(SCALE)))
    assert first._tick_scales == later._tick_scales
    assert first.time_signature_changes[0].time == later.time_signature_changes[0].time == 0.25
    assert first.instruments[0].notes[2].start == 0.25


def test_overlapping_notes_of_a_pitch_end_together(load):
    notes = load(smf(track(on(60, 10), on(60, 20, 5), off(60, 5), off(60, 5)))).instruments[0].notes
    assert [n.velocity for n in notes] == [10, 20]
    assert notes[0].end == notes[1].end
    assert notes[0].start < notes[1].start


def test_a_note_struck_again_at_the_tick_of_its_end_goes_on(load):
    notes = load(smf(track(on(60, 10), on(60, 20, 5), off(60), off(60, 5)))).instruments[0].notes
    second = 5 * 0.5 / 480
    found = [(n.velocity, n.start, n.end) for n in notes]
    assert found == [(10, 0, second), (20, second, 2 * second)]


def test_parts_do_not_share_their_control_changes(load):
    program = bytes.fromhex("00c005")
    events = (b"\0\xb0\x40\x7f", note(60), program, b"\0\xb0\x40\0", note(62))
    one, two = load(smf(track(*events))).instruments
    assert [c.value for c in one.control_changes] == [c.value for c in two.control_changes]
    assert not set(map(id, one.control_changes)) & set(map(id, two.control_changes))


def test_a_file_without_notes_is_returned(load):
    midi = load(smf(track(tempo(250_000))))
    assert midi.instruments == []
    assert midi.get_tempo_changes()[1].tolist() == [240.0]


def test_texts_in_any_encoding_are_kept_byte_for_byte(load):
    every = bytes(range(256))
    midi = load(smf(track(meta(1, every), meta(5, every), meta(3, every), SCALE)))
    for text in (midi.text_events[0].text, midi.lyrics[0].text, midi.instruments[0].name):
        assert text.encode("latin-1") == every


def test_a_fine_resolution_is_thinned_only_where_it_must(tmp_path, load):
    ordinary = load(smf(track(SCALE, note(60, delta=9_000_000)), division=32_767))
    assert ordinary.resolution == 32_767
    beats = 600  # 19,660,200 ticks: pretty_midi refuses it
    events = [note(60 + k % 12, 16_000 + k, 32_767 - 16_000 - k) for k in range(beats)]
    (tmp_path / "long.mid").write_bytes(smf(track(tempo(600_000), *events), division=32_767))
    with pytest.warns(MidiRepairWarning, match="ticks per quarter note lowered to: 16,"):
        midi = load_midi(tmp_path / "long.mid")
    starts = np.array([n.start for n in midi.instruments[0].notes])
    expected = 0.6 * (np.arange(beats) + (32_767 - 16_000 - np.arange(beats)) / 32_767)
    half_a_tick = 0.6 / midi.resolution / 2
    np.testing.assert_allclose(starts, expected, rtol=0, atol=half_a_tick * 1.001)
    assert all(n.end > n.start for n in midi.instruments[0].notes)
    assert midi.get_end_time() > 300  # pretty_midi's methods work on it
    assert len(midi.get_beats()) >= beats


def test_silence_at_the_end_is_cut_only_beyond_a_bound(tmp_path, load):
    midi = load(smf(track(SCALE, end=b"\x83\xff\x7f\xff\x2f\0")))
    assert len(tick_table(midi)) == 960 + 65_535 + 2
    (tmp_path / "x.mid").write_bytes(smf(track(SCALE, end=b"\xff\xff\xff\x7f\xff\x2f\0")))
    with pytest.warns(MidiRepairWarning, match="silence cut at the end: 268,435,455"):
        assert len(tick_table(load_midi(tmp_path / "x.mid"))) == 960 + 2


# What is no MIDI file ----------------------------------------------------------------------------


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (
        (tmp_path, "it is a folder"),
        (tmp_path / "fifo", r"it is a FIFO \(named pipe\)"),
        (tmp_path / "zero", "it is a character device"),
        (tmp_path / "missing.mid", "no such file or directory"),
        (tmp_path / "loop", "too many levels of symbolic links"),
        (tmp_path / "fifo" / "x.mid", "not a directory"),
        (tmp_path / ("x" * 300), "file name too long"),
    ):
        with pytest.raises(MidiFileError, match=f"cannot read {path}: {reason}"):
            load_midi(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "x.mid").write_bytes(smf(track(SCALE)))
    (tmp_path / "x.mid").chmod(0)
    with pytest.raises(MidiFileError, match=r"x\.mid: permission denied"):
        load_midi(tmp_path / "x.mid")


def test_names_of_files_may_be_anything(tmp_path):
    odd = ("音楽 Я.mid", "two\nlines.mid", os.fsdecode(b"latin \xe9.mid"), "[x] (y) %s {z}.mid")
    for name in odd:
        path = tmp_path / name
        path.write_bytes(smf(track(SCALE)))
        assert count_notes(load_midi(path)) == count_notes(load_midi(os.fsencode(path))) == 4
        path.write_bytes(b"no")
        with pytest.raises(MidiFileError, match="not a MIDI file") as caught:
            load_midi(path)
        str(caught.value).encode("utf-8")
        assert "\n" not in str(caught.value)
    with pytest.raises(MidiFileError, match=r"cannot read a.*b: its name holds a null character"):
        load_midi("a\0b")
    with pytest.raises(TypeError):
        load_midi(5)


def test_bounds_are_named_with_the_figure(tmp_path, monkeypatch):
    (tmp_path / "x.mid").write_bytes(smf(track(SCALE, meta(1, b"x"), meta(1, b"y"))))
    for name, bound, match in (
        ("midi.MAX_BYTES", 3, "at most 3 are read"),
        ("smf.MAX_TRACKS", 0, "more than 0 tracks"),
        ("smf.MAX_NOTES", 3, "more than 3 notes"),
        ("smf.MAX_META_EVENTS", 1, "more than 1 tempo changes, signatures and texts"),
        ("smf.MAX_INSTRUMENTS", 0, "more than 0 instruments"),
        ("midi.MAX_TICK", 9, r"tick 960 \(2 quarter notes\), and at most 9 ticks of 1/480"),
        ("midi.MAX_SECONDS", 0, "it lasts 0 hours, and at most 0 are read"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"musiclib.{name}", bound)
            with pytest.raises(MidiFileError, match=match):
                load_midi(tmp_path / "x.mid")
    assert count_notes(load_midi(tmp_path / "x.mid")) == 4


def test_the_package_exports_the_door():
    assert musiclib.load_midi is load_midi
    assert issubclass(musiclib.MidiFileError, ValueError)


# Hostile files -----------------------------------------------------------------------------------


def check(case: hostile.Case, path: Path) -> pretty_midi.PrettyMIDI | None:
    """Load the case, compare with what it expects, and give what was loaded."""
    path.write_bytes(case.data)
    try:
        midi, message = load_quietly(path)
    except MidiFileError as error:
        midi, message = None, str(error)
    outcome = REFUSED if midi is None else REPAIRED if message else LEGAL
    assert case.expect in (hostile.ANY, outcome), message
    assert re.search(case.match, message)
    assert str(path) in message or outcome == LEGAL
    assert "\n" not in message
    if case.n_notes >= 0:
        assert count_notes(midi) == case.n_notes
    return midi


def test_there_are_hundreds_of_cases_and_they_are_the_same_each_time():
    assert len(CASES) > 700
    assert len({case.name for case in CASES}) == len(CASES)
    assert list(hostile.cases()) == CASES
    assert list(hostile.cases(1)) != CASES


@pytest.mark.parametrize("kind", [LEGAL, REPAIRED, REFUSED])
def test_each_promised_outcome(tmp_path, kind):
    chosen = [case for case in CASES if case.expect == kind]
    assert len(chosen) > 15
    for case in chosen:
        check(case, tmp_path / "case.mid")


def draw(midi: pretty_midi.PrettyMIDI) -> None:
    """Make the roll, or be told why it is too long."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of notes that a piano does not have
        try:
            check_roll(to_piano_roll(midi))
        except ValueError as error:
            if not re.search(r"a roll of [\d,]+ steps \([\d,]+ MB\) passes", str(error)):
                raise


def use(midi: pretty_midi.PrettyMIDI, path: Path) -> None:
    """Do with a loaded file what the rest of the project does."""
    for pedal in (False, True):
        notes = note_array(midi, sustain_pedal=pedal)
        assert np.isfinite(notes["onset_quarter"]).all()
        assert (notes["duration_sec"] > 0).all()
        assert (notes["onset_sec"] >= 0).all()
        assert (np.diff(notes["onset_sec"]) >= 0).all()
    assert midi.get_end_time() <= MAX_SECONDS
    draw(midi)
    save_midi(midi, path)
    assert load_quietly(path)[0].resolution == midi.resolution


@pytest.mark.parametrize("part", range(4))
def test_hostile_files_give_a_usable_object_or_a_sentence(tmp_path, part):
    outcomes = set()
    for case in CASES[part::12]:
        midi = check(case, tmp_path / "case.mid")
        outcomes.add(midi is None)
        if midi is not None and tick_table(midi).size < 1_000_000:
            use(midi, tmp_path / "again.mid")
    assert outcomes == {True, False}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_every_hostile_file_gives_a_usable_object_or_a_sentence(tmp_path, seed):
    for case in hostile.cases(seed):
        midi = check(case, tmp_path / "case.mid")
        if midi is not None:
            use(midi, tmp_path / "again.mid")


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(data=b"", cut=0)
def test_any_bytes_give_an_object_or_the_one_error(tmp_path_factory, data, cut):
    path = tmp_path_factory.getbasetemp() / "any.mid"
    for body in (data, smf(track(data)), hostile.small_file()[:cut] + data):
        check(hostile.Case("any", body), path)


CHILD = """
import json, sys, time, warnings
from musiclib.midi import MidiFileError, load_midi
warnings.simplefilter("ignore")
start = time.process_time()
try:
    notes = sum(len(one.notes) for one in load_midi(sys.argv[1]).instruments)
except MidiFileError as error:
    notes = str(error)
seconds = time.process_time() - start
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1e6
print(json.dumps({"notes": notes, "seconds": seconds, "gigabytes": peak}))
"""


def check_bounds(case: hostile.Case, path: Path) -> None:
    """Load in a process of its own; no more than 10 s of work and 1 GB of memory are allowed."""
    path.write_bytes(case.data)
    child = [sys.executable, "-c", CHILD, str(path)]
    paths = [str(Path(musiclib.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        child, capture_output=True, text=True, timeout=300, env=environment, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["seconds"] < 10
    assert found["gigabytes"] < 1
    if case.expect == REFUSED:
        assert re.search(case.match, found["notes"])
    elif case.n_notes >= 0:
        assert found["notes"] == case.n_notes


has_proc = Path("/proc/self/status").exists()
needs_proc = pytest.mark.skipif(not has_proc, reason="needs Linux's /proc")


@needs_proc
def test_the_longest_table_stays_within_bounds(tmp_path):
    check_bounds(HEAVY["ten million ticks"](), tmp_path / "heavy.mid")


@needs_proc
@pytest.mark.long
@pytest.mark.parametrize("name", HEAVY)
def test_files_made_to_exhaust_stay_within_bounds(tmp_path, name):
    check_bounds(HEAVY[name](), tmp_path / "heavy.mid")


def test_quick_ones_of_the_heavy_files(tmp_path):
    for name in ("shared control changes", "65,535 tracks that span the rest", "instruments",
                 "one byte too many", "half of an MTrk"):  # fmt: skip
        check(HEAVY[name](), tmp_path / "heavy.mid")


# Saving ------------------------------------------------------------------------------------------


def test_saved_and_loaded_again_is_the_same_to_a_tick(tmp_path):
    piece = piano_piece(300)
    save_midi(piece, tmp_path / "new" / "a.mid")
    save_midi(piece, tmp_path / "new" / "b.mid")
    assert (tmp_path / "new" / "a.mid").read_bytes() == (tmp_path / "new" / "b.mid").read_bytes()
    first = load_midi(tmp_path / "new" / "a.mid")
    save_midi(first, tmp_path / "new" / "c.mid")
    assert described(load_midi(tmp_path / "new" / "c.mid")) == described(first)
    tick = 60 / 93 / 480
    assert abs(first.get_end_time() - piece.get_end_time()) < tick
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a.mid", "b.mid", "c.mid"]


@pytest.mark.parametrize("tempo", [80.0, 100.0, 120.0, 66.0, 93.0, 200.0])
@pytest.mark.parametrize("resolution", [220, 480, 960, 32_767])
def test_a_tempo_comes_back_to_the_microsecond(tmp_path, tempo, resolution):
    midi = pretty_midi.PrettyMIDI(resolution=resolution, initial_tempo=tempo)
    save_midi(midi, tmp_path / "t.mid")
    messages = mido.MidiFile(tmp_path / "t.mid").tracks[0]
    written = next(one.tempo for one in messages if one.type == "set_tempo")
    assert written == int(60_000_000 / tempo + 1e-6)
    assert midi._tick_scales == [(0, 60 / (tempo * resolution))]  # left as it was


def test_a_note_within_another_cuts_it_off(tmp_path):
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes = [pretty_midi.Note(64, 60, 0, 4), pretty_midi.Note(90, 60, 1, 2)]
    save_midi(midi, tmp_path / "x.mid")
    back = load_midi(tmp_path / "x.mid").instruments[0].notes
    assert [(n.start, n.end, n.velocity) for n in back] == [(0, 2, 64), (1, 2, 90)]


def test_any_name_and_text_can_be_saved(tmp_path):
    for name, charset in (("Klavier für zwei", "latin-1"), ("Я 音楽", "utf-8")):
        midi = pretty_midi.PrettyMIDI()
        part = pretty_midi.Instrument(0, name=name)
        part.notes.append(pretty_midi.Note(64, 60, 0, 1))
        midi.instruments.append(part)
        midi.lyrics.append(pretty_midi.Lyric(name, 0.5))
        save_midi(midi, tmp_path / "x.mid")
        back = load_midi(tmp_path / "x.mid")
        assert back.instruments[0].name.encode("latin-1").decode(charset) == name
        assert back.lyrics[0].text.encode("latin-1").decode(charset) == name
        assert midi._charset == "latin1"


@pytest.mark.parametrize(
    ("pitch", "velocity", "qpm", "start", "end"),
    [
        *((128, 64, 80, 0, 1), (-1, 64, 80, 0, 1), (60, 300, 80, 0, 1), (60, 64, 3, 0, 1)),
        *((60, 0, 80, 0, 1), (60, 64, 80, 1, 1), (60, 64, 80, -1, 1), (60, 64, 80, 0, 2e6)),
        *((60, 64, 80, 0, np.inf), (60, 64, 80, np.nan, 1)),
    ],
)
def test_what_midi_cannot_say_is_refused_and_the_old_file_kept(
    tmp_path, pitch, velocity, qpm, start, end
):
    (tmp_path / "x.mid").write_bytes(b"old")
    midi = pretty_midi.PrettyMIDI(initial_tempo=qpm)
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes.append(pretty_midi.Note(velocity, pitch, start, end))
    with pytest.raises(MidiFileError, match=r"cannot write .*x\.mid: "):
        save_midi(midi, tmp_path / "x.mid")
    assert (tmp_path / "x.mid").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.mid"]


# Notes as an array -------------------------------------------------------------------------------


def piece_of(*parts, tempo=60.0, pedals=()) -> pretty_midi.PrettyMIDI:
    """Make a piece; each part is a list of (start, end, pitch), the pedal goes to the first."""
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=tempo)
    for notes in parts:
        part = pretty_midi.Instrument(0)
        part.notes = [pretty_midi.Note(64, pitch, start, end) for start, end, pitch in notes]
        midi.instruments.append(part)
    midi.instruments[0].control_changes = [
        pretty_midi.ControlChange(64, value, time) for time, value in pedals
    ]
    return midi


def test_notes_by_hand_across_a_tempo_change(load):
    data = smf(track(on(60, 99), tempo(1_000_000, 480), off(60, 480), note(62, 120, 120)))
    notes = note_array(load(data))
    names = "onset_quarter duration_quarter onset_sec duration_sec pitch velocity track"
    assert notes.dtype.names == tuple(names.split())
    assert notes.tolist() == [(0, 2, 0, 1.5, 60, 99, 0), (2.25, 0.25, 1.75, 0.25, 62, 64, 0)]


def test_notes_are_sorted_and_percussion_is_left_out():
    midi = piece_of([(1, 2, 64), (1, 2, 60), (0, 1, 70)], [(1, 2, 60), (0, 1, 50)])
    drums = pretty_midi.Instrument(0, is_drum=True)
    drums.notes.append(pretty_midi.Note(64, 36, 0, 1))
    midi.instruments.insert(1, drums)
    notes = note_array(midi)
    found = list(zip(notes["onset_sec"], notes["pitch"], notes["track"], strict=True))
    assert found == [(0, 50, 2), (0, 70, 0), (1, 60, 0), (1, 60, 2), (1, 64, 0)]


def test_no_notes_give_an_empty_array():
    for midi in (pretty_midi.PrettyMIDI(), piece_of([])):
        for pedal in (False, True):
            notes = note_array(midi, sustain_pedal=pedal)
            assert notes.shape == (0,)
            assert notes.dtype == NOTE_DTYPE


@quick
@given(
    changes=st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 3_000_000)), max_size=6),
    times=st.lists(st.floats(0, 100), min_size=1, max_size=20),
    silence=st.integers(0, 3000),
)
def test_ticks_at_agrees_with_time_to_tick(tmp_path_factory, changes, times, silence):
    path = tmp_path_factory.getbasetemp() / "ticks.mid"
    path.write_bytes(
        smf(track(*[tempo(us, delta) for delta, us in changes], meta(1, b"", silence)))
    )
    midi = load_midi(path)
    table = tick_table(midi)
    for seconds in (times, table[::97], (table[1:] + table[:-1])[::97] / 2):
        expected = [midi.time_to_tick(second) for second in seconds]
        assert ticks_at(midi, np.array(seconds)).tolist() == expected


@pytest.mark.parametrize(
    ("notes", "pedals", "ends"),
    [
        ([(0, 1, 60)], [(0.5, 127), (3, 0)], [3]),  # sounds to the release
        ([(0, 1, 60)], [(0.5, 64), (3, 63)], [3]),  # 64 is down, 63 is up
        ([(0, 1, 60)], [(0.5, 63), (3, 0)], [1]),
        ([(0, 1, 60)], [(1.5, 127), (3, 0)], [1]),  # too late
        ([(0, 1, 60)], [(1, 127), (3, 0)], [3]),  # goes down as the note ends
        ([(0, 1, 60)], [(0.5, 127), (1, 0)], [1]),  # goes up as the note ends
        ([(0, 1, 60)], [(0.5, 127), (1, 0), (1, 127), (4, 0)], [4]),  # changed in that moment
        ([(0, 1, 60), (2, 2.5, 60)], [(0.5, 127), (3, 0)], [2, 3]),  # cut by the same pitch
        ([(0, 1, 60), (2, 2.5, 61)], [(0.5, 127), (3, 0)], [3, 3]),  # not by another
        ([(0, 2.2, 60), (2, 2.5, 60)], [(0.5, 127), (3, 0)], [2.2, 3]),  # never shortened
        ([(0, 1, 60), (0, 1, 60)], [(0.5, 127), (3, 0)], [3, 3]),  # a unison does not cut itself
        ([(0, 1, 60), (4, 5, 62)], [(0.5, 127)], [5, 5]),  # never released: to the end
        ([(0, 1, 60)], [(0.5, 127), (0.7, 100), (2, 90), (3, 10), (4, 0)], [3]),  # half pedal
        ([(0, 1, 60), (4, 5, 62)], [(0.5, 127), (300, 0)], [5, 5]),  # released too late to count
        ([(0, 1, 60), (4, 5, 62)], [(0.5, 127), (6, 0)], [6, 6]),
        ([(0, 1, 60)], [], [1]),
    ],
)
def test_the_sustain_pedal_by_hand(notes, pedals, ends):
    midi = piece_of(notes, pedals=pedals)
    found = note_array(midi, sustain_pedal=True)
    np.testing.assert_allclose(found["onset_sec"] + found["duration_sec"], ends)
    np.testing.assert_allclose(found["onset_quarter"] + found["duration_quarter"], ends)
    plain = note_array(midi)
    np.testing.assert_allclose(plain["duration_sec"], [end - start for start, end, _ in notes])


def test_the_pedal_is_the_instruments_own():
    midi = piece_of([(0, 1, 60)], [(0, 1, 72)], pedals=[(0.5, 127), (3, 0)])
    assert note_array(midi, sustain_pedal=True)["duration_sec"].tolist() == [3, 1]


def slow_pedalled_end(note, notes, pedals) -> float:
    """Step through the moments after a note's end until something stops it."""
    start, end, pitch = note
    moments = sorted({end, *[time for time, _ in pedals], *[s for s, _, _ in notes]})
    for moment in (one for one in moments if one >= end):
        down = False
        for time, value in pedals:
            if time <= moment:
                down = value >= 64
        released = moment > end and any(t == moment and value < 64 for t, value in pedals)
        struck = any(p == pitch and start < s <= moment for s, _, p in notes)
        if not down or released or struck:
            return moment
    return max(end for _, end, _ in notes)  # never released


@quick
@given(data=st.data())
def test_the_sustain_pedal_by_a_slow_route(data):
    eighths = st.integers(0, 40)
    notes = data.draw(
        st.lists(st.tuples(eighths, st.integers(1, 8), st.integers(60, 62)), min_size=1)
    )
    notes = sorted((s / 8, (s + d) / 8, p) for s, d, p in notes)
    pedals = data.draw(st.lists(st.tuples(eighths, st.sampled_from([0, 63, 64, 127]))))
    pedals = sorted(((t / 8, v) for t, v in pedals), key=lambda pair: pair[0])
    found = note_array(piece_of(notes, pedals=pedals), sustain_pedal=True)
    expected = sorted((s, p, slow_pedalled_end((s, e, p), notes, pedals)) for s, e, p in notes)
    ends = found["onset_sec"] + found["duration_sec"]
    assert sorted(zip(found["onset_sec"], found["pitch"], ends, strict=True)) == expected
