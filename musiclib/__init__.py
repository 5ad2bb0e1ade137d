"""What a study of music needs, and no Keras model: notes, rolls, sound, numbers, pictures.

The way of a piece: file -> notes -> roll -> piece -> codec -> model -> codec -> roll -> notes ->
waveform -> numbers -> figure. Each room's header states its conventions; the names below are the
ones to begin with.
"""

from musiclib.audio import energy, mean
from musiclib.midi import MidiFileError, load_midi
from musiclib.prepare import prepare_corpus
from musiclib.roll import to_midi, to_piano_roll
from musiclib.synth import synthesize

__all__ = [
    "MidiFileError",
    "energy",
    "load_midi",
    "mean",
    "prepare_corpus",
    "synthesize",
    "to_midi",
    "to_piano_roll",
]
