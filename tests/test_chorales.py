"""The bundled chorales: scores to MIDI, ties, upbeats, and what is kept between runs."""

from pathlib import Path

import numpy as np
import pytest

from musiclib.codec import voices_to_roll
from musiclib.midi import load_midi, note_array
from musiclib.piece import metre, piece_from_midi
from musiclib.plots import _note_voices
from musiclib.roll import roll_to_notes, to_piano_roll
from study import chorales
from study.chorales import (
    N_CHORALES,
    TEMPO,
    VELOCITY,
    chorale_scores,
    export_chorales,
    score_to_midi,
)


@pytest.fixture(scope="module")
def music21():
    import music21

    return music21


def score_of(music21, *parts, time="4/4", key=0, upbeat=0.0):
    """Make a score of parts of (quarters, pitch name or None, tie or None)."""
    score = music21.stream.Score()
    for line in parts:
        part = music21.stream.Part()
        part.append(music21.meter.TimeSignature(time))
        part.append(music21.key.KeySignature(key))
        for length, name, tie in line:
            element = music21.note.Rest() if name is None else music21.note.Note(name)
            element.quarterLength = length
            if tie:
                element.tie = music21.tie.Tie(tie)
            part.append(element)
        made = part.makeMeasures()
        if upbeat:
            made = part_with_upbeat(music21, line, time, upbeat)
        score.insert(0, made)
    return score


def part_with_upbeat(music21, line, time, upbeat):
    part, first = music21.stream.Part(), music21.stream.Measure(number=0)
    first.append(music21.meter.TimeSignature(time))
    first.append(music21.note.Note(line[0][1], quarterLength=upbeat))
    second = music21.stream.Measure(number=1)
    second.append(music21.note.Note(line[1][1], quarterLength=4))
    part.append([first, second])
    return part


FOUR = [[(4, "C5", None)], [(4, "G4", None)], [(4, "E4", None)], [(4, "C3", None)]]


def test_a_part_becomes_a_track_at_fixed_tempo_and_velocity(music21):
    midi = score_to_midi(score_of(music21, *FOUR))
    assert [track.name for track in midi.instruments] == ["Soprano", "Alto", "Tenor", "Bass"]
    notes = note_array(midi)
    assert sorted(notes["pitch"]) == [48, 64, 67, 72]
    assert set(notes["velocity"]) == {VELOCITY}
    assert set(notes["duration_quarter"]) == {4.0}
    assert midi.get_end_time() == pytest.approx(4 * 60 / TEMPO)


def test_tied_notes_are_one_and_repeated_ones_are_not(music21):
    tied = [(2, "C5", "start"), (1, "C5", "continue"), (1, "C5", "stop")]
    struck = [(2, "G4", None), (2, "G4", None)]
    midi = score_to_midi(score_of(music21, tied, struck, *FOUR[2:]))
    notes = roll_to_notes(to_piano_roll(midi)).tolist()
    assert [0, 16, 51] in notes
    assert [[s, e] for s, e, k in notes if k == 46] == [[0, 8], [8, 16]]


def test_a_tie_that_leads_nowhere_is_a_note(music21):
    odd = [(2, "C5", "stop"), (1, None, None), (1, "C5", "stop")]
    midi = score_to_midi(score_of(music21, odd, *FOUR[1:]))
    notes = [n for n in roll_to_notes(to_piano_roll(midi)).tolist() if n[2] == 51]
    assert notes == [[0, 8, 51], [12, 16, 51]]


def test_grace_notes_are_left_out(music21):
    score = score_of(music21, *FOUR)
    grace = music21.note.Note("D5").getGrace()
    score.parts[0].getElementsByClass("Measure")[0].insert(0, grace)
    assert 74 not in note_array(score_to_midi(score))["pitch"]


def test_an_upbeat_is_known_by_its_place_in_the_bar(music21):
    lines = [[(1, name, None), (4, name, None)] for name in ("C5", "G4", "E4", "C3")]
    midi = score_to_midi(score_of(music21, *lines, upbeat=1.0))
    position, bar, denominator = metre(midi, steps=20)
    assert position.tolist() == [12, 13, 14, 15, *range(16)]
    assert (bar, denominator) == (16, 4)


@pytest.mark.parametrize(
    ("sharps", "mode", "number"),
    [(0, "major", 0), (1, "major", 7), (-1, "major", 5), (0, "minor", 21), (3, "minor", 18)],
)
def test_the_key_signature_is_kept(music21, sharps, mode, number):
    score = score_of(music21, *FOUR)
    for part in score.parts:
        for measure in part.getElementsByClass("Measure"):
            measure.removeByClass("KeySignature")
    key = music21.key.KeySignature(sharps).asKey(mode)
    score.parts[0].getElementsByClass("Measure")[0].insert(0, key)
    assert [k.key_number for k in score_to_midi(score).key_signature_changes] == [number]


# The package's corpus


def test_the_scores_are_those_that_music21_finds(music21):
    from music21 import corpus

    known = {Path(path) for path in corpus.getComposer("bach")}
    assert set(chorale_scores()) == {p for p in known if p.suffix in {".mxl", ".xml", ".krn"}}
    assert len(chorale_scores()) > N_CHORALES


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chorales")
    return folder, export_chorales(folder, max_pieces=8)


def test_a_selection_is_spread_over_the_catalogue(exported):
    folder, paths = exported
    assert 5 <= len(paths) <= 8
    assert paths == sorted(folder.glob("bwv*.mid"))


def test_each_is_four_lines_on_the_grid(exported):
    for path in exported[1]:
        piece, loss = piece_from_midi(load_midi(path), name=path.stem)
        assert len(set(note_array(load_midi(path))["track"])) == 4
        assert loss["off_grid"] < 0.05
        assert piece.tempo == pytest.approx(TEMPO)
        if piece.lines.shape[1]:
            assert (voices_to_roll(piece.lines) == piece.roll).all()


def test_ranks_from_the_top_tell_nearly_all_voices(exported):
    right = []
    for path in exported[1]:
        piece, _ = piece_from_midi(load_midi(path), name=path.stem)
        start, _, key = roll_to_notes(piece.roll).T
        voice, _ = _note_voices(piece.roll, start, key, 4)
        if piece.lines.shape[1] == 4:
            right += (piece.lines[start, voice] == 2 + key).tolist()
    assert np.mean(right) > 0.95


def test_a_second_run_keeps_the_files(exported, monkeypatch):
    folder, paths = exported
    monkeypatch.setattr(chorales, "_run", lambda *_: pytest.fail("read again"))
    assert export_chorales(folder, max_pieces=8) == paths


def test_a_changed_file_is_made_anew(exported):
    folder, paths = exported
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[:-1])
    try:
        made = (folder / ".chorales.done").read_text().splitlines()[0]
        assert chorales._kept(folder / ".chorales.done", made) is None
    finally:
        paths[2].write_bytes(whole)
    assert chorales._kept(folder / ".chorales.done", made) == paths


def test_what_is_missing_or_made_otherwise_is_made_anew(tmp_path, monkeypatch):
    asked = []

    def convert(jobs, workers):
        asked.append(len(jobs))
        for _, target in jobs:
            Path(target).write_bytes(b"MIDI")
        return [target for _, target in jobs]

    monkeypatch.setattr(chorales, "_run", convert)
    paths = export_chorales(tmp_path, max_pieces=8)
    export_chorales(tmp_path, max_pieces=8)
    paths[3].unlink()
    export_chorales(tmp_path, max_pieces=8)
    export_chorales(tmp_path, max_pieces=5)
    assert len(list(tmp_path.glob("bwv*.mid"))) == 5
    monkeypatch.setattr(chorales, "version", lambda package: "0")
    export_chorales(tmp_path, max_pieces=5)
    assert asked == [8, 8, 5, 5]


def test_a_limit_above_the_corpus_takes_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(chorales, "_run", lambda jobs, *_: [None] * len(jobs))
    export_chorales(tmp_path, max_pieces=N_CHORALES)
    assert f"{len(chorale_scores())} scores" in (tmp_path / ".chorales.done").read_text()


@pytest.mark.parametrize("number", [0, -1])
def test_an_impossible_number_is_refused(tmp_path, number):
    with pytest.raises(ValueError, match=f"max_pieces: got {number}; allowed: 1 or more"):
        export_chorales(tmp_path, max_pieces=number)


def test_music21_without_its_corpus_is_named(monkeypatch):
    monkeypatch.setattr(chorales.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="music21 is missing or holds no score by Bach"):
        chorale_scores()


@pytest.mark.long
def test_all_of_them(tmp_path):
    assert len(export_chorales(tmp_path)) == N_CHORALES
