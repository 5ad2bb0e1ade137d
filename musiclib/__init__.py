"""The thin library of the study: what two of its notebooks share, and no Keras model.

The way of a piece: file -> notes -> roll -> model -> roll -> notes -> waveform -> numbers ->
figure. Each room's header states its conventions; the names below are the ones to begin with.
They are imported when they are first asked for, so that a process which reads a thousand files
does not first import what draws figures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from musiclib.audio_levels import energy, mean
    from musiclib.corpus import prepare_corpus
    from musiclib.midi import MidiFileError, load_midi
    from musiclib.pianoroll import to_midi, to_piano_roll
    from musiclib.synthesis import synthesize

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

_ROOMS = {
    "MidiFileError": "midi",
    "energy": "audio_levels",
    "load_midi": "midi",
    "mean": "audio_levels",
    "prepare_corpus": "corpus",
    "synthesize": "synthesis",
    "to_midi": "pianoroll",
    "to_piano_roll": "pianoroll",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
