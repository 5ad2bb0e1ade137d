"""MIDI pieces for tests, written down note by note."""

from __future__ import annotations

import pretty_midi

MAJOR = (0, 2, 4, 5, 7, 9, 11)


def midi_of(*notes, tempo=60.0, metres=(), drum=False):
    """Make a PrettyMIDI of (start, end, pitch) in quarters and (quarter, over, under) metres."""
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=tempo)
    track, quarter = pretty_midi.Instrument(0, is_drum=drum), 60 / tempo
    for start, end, pitch in notes:
        track.notes.append(pretty_midi.Note(80, pitch, start * quarter, end * quarter))
    midi.instruments.append(track)
    for when, over, under in metres:
        signature = pretty_midi.TimeSignature(over, under, when * quarter)
        midi.time_signature_changes.append(signature)
    return midi


def scale(root=60, *, of=MAJOR):
    """Make a scale in quarters, major unless told otherwise, from its root to the octave."""
    return midi_of(*((i, i + 1, root + step) for i, step in enumerate((*of, 12))))
