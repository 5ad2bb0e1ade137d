"""Folders of MIDI files as people have them, made from a seed: one function writes one kind.

Conventions: times in quarter notes. A *song* is a list of notes (start, length, pitch); a *part* is
a song with an instrument. Every kind has 10 to 14 pieces of different tunes unless it says
otherwise, long enough to be studied, and small.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pretty_midi

from musiclib.midi import save_midi

Note = tuple[float, float, int]
Song = list[Note]

SCALE = (0, 2, 4, 5, 7, 9, 11)
PROGRESSION = (0, 3, 4, 0, 5, 3, 4, 4)  # degrees of the chords, a bar each


def degree(root: int, step: int) -> int:
    """Return the pitch of a step of a major scale."""
    return root + 12 * (step // 7) + SCALE[step % 7]


def melody(rng: np.random.Generator, *, bars: int, bar: float = 4.0, root: int = 67) -> Song:
    """Return a tune that walks through a scale and rests on the first step every fourth bar."""
    song, step = [], int(rng.integers(0, 7))
    for number in range(bars):
        start, end = number * bar, (number + 1) * bar
        if number % 4 == 3:
            song.append((start, bar - 0.5, degree(root, 0)))
            continue
        while start < end:
            length = min(float(rng.choice([0.5, 0.5, 1.0, 1.0, 1.5])), end - start)
            step = int(np.clip(step + rng.choice([-2, -1, -1, 1, 1, 2, 3, -4]), -4, 9))
            song.append((start, length, degree(root, step)))
            start += length
    return song


def chords(*, bars: int, bar: float = 4.0, root: int = 48, beats: Sequence[float] = (0.0,)) -> Song:
    """Return a triad at each of the beats of every bar, held to the next one."""
    song = []
    for number in range(bars):
        first = PROGRESSION[number % len(PROGRESSION)]
        for beat, after in zip(beats, [*beats[1:], bar], strict=True):
            for step in (0, 2, 4):
                pitch = degree(root, first + step)
                song.append((number * bar + beat, after - beat, pitch))
    return song


def midi_of(
    *parts: Song,
    tempo: float = 100.0,
    metre: tuple[int, int] | None = (4, 4),
    programs: Sequence[int] = (),
    drums: Song | None = None,
) -> pretty_midi.PrettyMIDI:
    """Write parts as a MIDI piece, one track each."""
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=tempo)
    quarter = 60 / tempo
    for i, part in enumerate([*parts, *([drums] if drums else [])]):
        track = pretty_midi.Instrument(programs[i] if i < len(programs) else 0, i == len(parts))
        for start, length, pitch in part:
            end = (start + length) * quarter
            track.notes.append(pretty_midi.Note(80, int(pitch), start * quarter, end))
        midi.instruments.append(track)
    if metre:
        midi.time_signature_changes.append(pretty_midi.TimeSignature(*metre, 0))
    return midi


def folk_tunes(folder: Path) -> None:
    """Write twelve tunes of one voice: no two notes sound together."""
    for seed in range(12):
        tune = melody(np.random.default_rng(seed), bars=12, root=60 + seed % 7)
        save_midi(midi_of(tune, tempo=110), folder / f"tune {seed:02d}.mid")


def pop_with_drums(folder: Path) -> None:
    """Write twelve songs of melody, chords, bass and drums, two of them named oddly."""
    beat = [(q, 0.25, 36 if q % 2 == 0 else 38) for q in range(48)]
    beat += [(q / 2, 0.25, 42) for q in range(96)]
    for seed in range(12):
        rng = np.random.default_rng(100 + seed)
        bass = [(4.0 * b, 2.0, degree(36, PROGRESSION[b % 8])) for b in range(12)]
        parts = melody(rng, bars=12), chords(bars=12, beats=(0, 2)), bass
        midi = midi_of(*parts, tempo=120, programs=(4, 0, 33), drums=beat)
        name = {3: "Ünder the sea (live) #2", 5: "音楽"}.get(seed, f"song{seed}")
        save_midi(midi, folder / f"{name}.mid")


def perform(song: Song, rng: np.random.Generator, *, transpose: int = 0) -> Song:
    """Play a song as a pianist does: free tempo, rolled chords, a few wrong and missing notes."""
    speed = rng.uniform(0.7, 1.4) * np.exp(np.cumsum(rng.normal(0, 0.04, 200)))
    clock = np.concatenate([[0.0], np.cumsum(speed)])
    quarters = np.arange(len(clock))
    played, last, rank = [], -1.0, 0
    for start, length, pitch in sorted(song):
        rank = rank + 1 if start == last else 0
        last = start
        if rng.random() < 0.02:
            continue
        begin, end = np.interp([start, start + length], quarters, clock)
        begin += 0.03 * rank + rng.normal(0, 0.02)
        pitch += transpose + int(rng.choice([-1, 0, 1], p=[0.015, 0.97, 0.015]))
        held = max(rng.uniform(0.4, 0.8) * (end - begin), 0.06)
        played.append((max(float(begin), 0.0), float(held), pitch))
    return played


def performances(folder: Path) -> None:
    """Write fourteen recordings: seven works by two pianists each, with the sustain pedal."""
    for work in range(7):
        rng = np.random.default_rng(200 + work)
        song = melody(rng, bars=12, root=69) + chords(bars=12, root=50, beats=(0, 2))
        for player in ("anna", "boris"):
            transpose = 0 if player == "anna" else int(rng.integers(-2, 3))
            midi = midi_of(perform(song, rng, transpose=transpose), tempo=120, metre=None)
            pedal = midi.instruments[0].control_changes
            for half in np.arange(0, midi.get_end_time(), 1.0):
                pedal.append(pretty_midi.ControlChange(64, 127, float(half)))
                pedal.append(pretty_midi.ControlChange(64, 0, float(half) + 0.9))
            save_midi(midi, folder / player / f"work {work}.mid")


def waltzes(folder: Path) -> None:
    """Write eight waltzes in 3/4 and four jigs in 6/8."""
    for seed in range(12):
        rng = np.random.default_rng(300 + seed)
        tune = melody(rng, bars=16, bar=3.0, root=65 + seed % 5)
        beats = (0.0, 1.0, 2.0) if seed < 8 else (0.0, 1.5)
        metre = (3, 4) if seed < 8 else (6, 8)
        midi = midi_of(tune, chords(bars=16, bar=3.0, beats=beats), tempo=150, metre=metre)
        save_midi(midi, folder / f"dance {seed:02d}.mid")


def sixteen_keys(folder: Path) -> None:
    """Write ten pieces in which sixteen keys sound at once."""
    for seed in range(10):
        rng = np.random.default_rng(400 + seed)
        song = [
            (2.0 * half, 2.0, degree(31, int(first) + 2 * k))
            for half, first in enumerate(rng.integers(0, 7, 18))
            for k in range(16)
        ]
        save_midi(midi_of(song, tempo=70), folder / f"cluster{seed}.mid")


def rests(folder: Path) -> None:
    """Write twelve pieces that begin with sixteen bars of rest."""
    for seed in range(12):
        rng = np.random.default_rng(500 + seed)
        song = melody(rng, bars=10) + chords(bars=10)
        late = [(start + 64, length, pitch) for start, length, pitch in song]
        save_midi(midi_of(late), folder / f"late{seed:02d}.mid")


def ten_pieces(folder: Path) -> None:
    """Write ten pieces of ten tunes: as few as can be studied."""
    for seed in range(10):
        rng = np.random.default_rng(600 + seed)
        song = melody(rng, bars=9) + chords(bars=9, beats=(0, 2))
        save_midi(midi_of(song), folder / f"p{seed}.mid")


def whole_keyboard(folder: Path) -> None:
    """Write twelve pieces that use the lowest and the highest key: none can be transposed."""
    for seed in range(12):
        rng = np.random.default_rng(700 + seed)
        root = 60 + (1, 2, 3, 4, 6, 8, 9, 10)[seed % 8]
        song = melody(rng, bars=10, root=root) + chords(bars=10, root=root - 12)
        song += [(0.0, 1.0, 21), (8.0, 1.0, 108)]
        save_midi(midi_of(song), folder / f"wide{seed:02d}.mid")


def mac_folder(folder: Path) -> None:
    """Write an archive as macOS packs it, unzipped elsewhere: each file has a hidden twin."""
    for seed in range(12):
        rng = np.random.default_rng(800 + seed)
        song = melody(rng, bars=10) + chords(bars=10, beats=(0, 2))
        save_midi(midi_of(song), folder / "My Songs" / f"Song {seed}.mid")
        twin = folder / "__MACOSX" / "My Songs" / f"._Song {seed}.mid"
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_bytes(bytes.fromhex("00051607 00020000") + b"Mac OS X        " + bytes(96))
        shutil.copy(twin, folder / "My Songs" / f"._Song {seed}.mid")
    for place in (folder, folder / "My Songs"):
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "My Songs" / "read me.txt").write_text("no music")
    (folder / "My Songs" / "empty.mid").write_bytes(b"")
    shutil.copy(folder / "My Songs" / "Song 0.mid", folder / "My Songs" / "Song 0 copy.mid")


def loops(folder: Path) -> None:
    """Write twelve loops of four bars: too short to be studied."""
    for seed in range(12):
        rng = np.random.default_rng(900 + seed)
        save_midi(midi_of(melody(rng, bars=4) + chords(bars=4)), folder / f"loop{seed:02d}.mid")


def other_note_values(folder: Path) -> None:
    """Write four songs, each as it is and in half and double note values: twelve pieces."""
    for seed in range(4):
        rng = np.random.default_rng(1000 + seed)
        song = melody(rng, bars=20) + chords(bars=20, beats=(0, 2))
        for name, factor in (("as written", 1.0), ("double", 2.0), ("half", 0.5)):
            values = [(factor * start, factor * length, pitch) for start, length, pitch in song]
            save_midi(midi_of(values), folder / f"song {seed} {name}.mid")


KINDS: dict[str, Callable[[Path], None]] = {
    make.__name__: make
    for make in (
        folk_tunes, pop_with_drums, performances, waltzes, sixteen_keys, rests, ten_pieces,
        whole_keyboard, mac_folder, other_note_values,
    )
}  # fmt: skip
"""The kinds that can be studied."""
