"""Show and play a piece in a notebook: its roll above a player, small enough to be committed.

Sound is mono MP3, for listening only. JupyterLab cleans the HTML of a notebook that it does not
trust: it keeps ``src`` of ``<audio>`` but strips that of ``<source>``, which IPython's player uses.
"""

from __future__ import annotations

import base64
import copy
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pretty_midi
from IPython.display import Image, display

from musiclib.audio import LONGEST, encode_mp3
from musiclib.midi import sound_end
from musiclib.plots import plot_roll
from musiclib.roll import STEPS_PER_QUARTER, check_roll, to_midi, to_piano_roll
from musiclib.synth import RELEASE_TAIL, synthesize

RATE = 22_050  # samples per second of what is played: half a CD's
_STEP = 60 / 80.0 / STEPS_PER_QUARTER  # seconds, at the tempo of `to_midi`


class Player:
    """An MP3 (`data`) that a notebook's reader can play, whether the notebook is trusted or not."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<Player of an MP3 of {len(self.data):,} bytes>"

    def _repr_html_(self) -> str:
        code = base64.b64encode(self.data).decode("ascii")
        return f'<audio controls src="data:audio/mpeg;base64,{code}"></audio>'


def play(x: np.ndarray, sr: int) -> Player:
    """Return a player of a waveform (see `audio.encode_mp3`), shown as a cell's last value."""
    return Player(encode_mp3(x, sr))


def show_piece(
    piece: np.ndarray | pretty_midi.PrettyMIDI, title: str = "", *, model: str = "real",
    seconds: float = 24.0, position: np.ndarray | None = None, lines: np.ndarray | int = 0,
    mark: int | None = None,
) -> None:  # fmt: skip
    """Show the first `seconds` of a piece in a notebook: its roll, and below it a player.

    A roll is played at velocity 80 and 80 quarter notes per minute, MIDI as it is. `model`,
    `position` and `lines`: see `plot_roll`. A dashed line stands before the step `mark`.
    """
    most = LONGEST - RELEASE_TAIL
    if not 0 < seconds <= most:
        raise ValueError(f"seconds: got {seconds}; allowed: above 0 and up to {most:g}")
    if isinstance(piece, pretty_midi.PrettyMIDI):
        midi, duration = _beginning(piece, seconds), min(seconds, sound_end(piece))
        roll = to_piano_roll(midi)
    else:
        steps = max(math.floor(round(seconds / _STEP, 6)), 1)
        roll = check_roll(piece, name="piece")[:steps]
        midi, duration = to_midi(roll), len(roll) * _STEP
    position, lines = (v[: len(roll)] if np.ndim(v) else v for v in (position, lines))
    ax = plot_roll(roll, model=model, title=title, position=position, lines=lines)
    if mark is not None:
        ax.axvline(mark, color="black", linestyle="--")
    figure, memory = ax.figure, io.BytesIO()
    figure.savefig(memory, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    display(Image(memory.getvalue(), format="png", alt=f"Piano roll: {title}"))
    display(play(synthesize(midi, sr=RATE, duration=duration), RATE))


def _beginning(piece: pretty_midi.PrettyMIDI, seconds: float) -> pretty_midi.PrettyMIDI:
    midi = copy.deepcopy(piece)
    for track in midi.instruments:
        track.notes = [note for note in track.notes if note.start < seconds]
        for note in track.notes:
            note.end = min(note.end, seconds)
        track.control_changes = [c for c in track.control_changes if c.time < seconds]
        track.pitch_bends = [b for b in track.pitch_bends if b.time < seconds]
    return midi
