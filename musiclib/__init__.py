"""Read, represent, render, measure and plot music; no Keras model is needed.

A piece passes through: file -> notes -> roll -> piece -> codec -> model -> codec -> roll -> notes
-> waveform -> numbers -> figure. The docstring of each module states its conventions.
"""

from musiclib.audio import energy, mean
from musiclib.midi import MidiFileError, load_midi
from musiclib.prepare import prepare_corpus
from musiclib.roll import to_midi, to_piano_roll
from musiclib.synth import synthesize

__all__ = [
    "MidiFileError", "energy", "load_midi", "mean", "prepare_corpus", "synthesize", "to_midi",
    "to_piano_roll",
]  # fmt: skip
