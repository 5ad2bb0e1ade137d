"""Hear and see a piece in a notebook: its roll above a player, small enough to be committed.

Conventions: sound is embedded as mono MP3, for listening only (measure the waveform, never this);
nothing plays by itself. A clip of 24 s takes about 110 kB of the notebook, one of 12 s half.
JupyterLab cleans the HTML of a notebook that it does not trust, such as that of a fresh clone: it
keeps ``src`` of ``<audio>`` and strips that of ``<source>``, which IPython's own player has.
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
from matplotlib.axes import Axes

from musiclib.audio import MP3_RATES
from musiclib.midi import sound_end
from musiclib.plots import plot_roll
from musiclib.roll import STEPS_PER_QUARTER, check_roll, to_midi, to_piano_roll
from musiclib.synth import RELEASE_TAIL, synthesize

RATE = 22_050
"""Samples per second of what is played: half a CD's, enough for a piano's strongest partials."""
LONGEST = 60.0
"""Seconds that a player embeds at most; a longer sound belongs in a file."""
_COMPRESSION = 0.9  # of 0 to 1, variable bit rate: about 26 kbit a second at 22.05 kHz


class Player:
    """An MP3 in a notebook, played when the reader says so; trusted or not.

    Attributes
    ----------
    data : bytes
        Of the MP3.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<Player of an MP3 of {len(self.data):,} bytes>"

    def _repr_html_(self) -> str:
        code = base64.b64encode(self.data).decode("ascii")
        return f'<audio controls src="data:audio/mpeg;base64,{code}"></audio>'


def play(x: np.ndarray, sr: int) -> Player:
    """Make a player of a waveform.

    Parameters
    ----------
    x : np.ndarray, shape (N,), float
        Full scale 1.0. Loudness is left as it is: a soft piece plays softly. Only a sound beyond
        full scale is divided by its peak, and the peak is printed.
    sr : int
        Audio samples per second, 16,000 to 44,100, one of MP3's.

    Returns
    -------
    Player
        Shown when it is the last value of a cell, or given to ``display``.

    Raises
    ------
    ValueError
        If `x` is not mono, not finite or longer than `LONGEST`, or `sr` is none of MP3's.
    RuntimeError
        If the installed libsndfile writes no MP3.
    """
    return Player(encode_mp3(x, sr))


def encode_mp3(x: np.ndarray, sr: int) -> bytes:
    """Encode a waveform as a small MP3; parameters and errors are those of `play`."""
    import soundfile

    x = np.asarray(x)
    if x.ndim != 1 or not x.size or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"x must be floats of shape (N,), N > 0, got {x.dtype}, shape {x.shape}")
    if sr not in MP3_RATES or not 16_000 <= sr <= 44_100:
        raise ValueError(f"sr: got {sr}, allowed are 16000, 22050, 24000, 32000 and 44100")
    peak = float(np.abs(x).max())
    if not math.isfinite(peak):
        raise ValueError("x has samples that are NaN or infinite")
    if x.size > LONGEST * sr:
        raise ValueError(
            f"x lasts {x.size / sr:.0f} s, and a player embeds {LONGEST:.0f} s at most"
        )
    if "MP3" not in soundfile.available_formats():
        raise RuntimeError("this libsndfile writes no MP3; install libsndfile 1.1 or later")
    if peak > 1:
        decibels = 20 * math.log10(peak)
        print(f"peak {peak:.2f} ({decibels:+.1f} dBFS): played {decibels:.1f} dB softer")
        x = x / peak
    memory = io.BytesIO()
    soundfile.write(
        memory, x, sr, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE", compression_level=_COMPRESSION,
    )  # fmt: skip
    return memory.getvalue()


def show_piece(
    piece: np.ndarray | pretty_midi.PrettyMIDI,
    title: str = "",
    *,
    model: str = "real",
    seconds: float = 24.0,
    tempo: float = 80.0,
    position: np.ndarray | None = None,
    sr: int = RATE,
) -> None:
    """Show a piece in a notebook: its roll, and below it a player.

    Parameters
    ----------
    piece : np.ndarray of shape (T, 88, 2), or pretty_midi.PrettyMIDI
        A roll is played on a piano at velocity 80; a MIDI piece as it stands.
    title : str
    model : str
        Whose colour the notes have.
    seconds : float
        Only the beginning is shown and played, up to 59 s; 24 s are the 128 steps of a piece for
        comparison. Of a roll, whole steps.
    tempo : float
        Quarter notes a minute of a roll; a MIDI piece has its own.
    position : np.ndarray, shape (T,), optional
        Steps since the bar line, for the bar lines of the picture.
    sr : int
        Audio samples per second of the sound.

    Raises
    ------
    ValueError
        If `piece` is no roll, or `seconds` is out of its range.
    """
    most = LONGEST - RELEASE_TAIL
    if not 0 < seconds <= most:
        raise ValueError(f"seconds: got {seconds}, allowed is above 0 and up to {most:g}")
    roll, midi, duration = _beginning(piece, seconds=seconds, tempo=tempo)
    shown = None if position is None else np.asarray(position)[: len(roll)]
    display(_picture(plot_roll(roll, position=shown, model=model, title=title), title))
    display(play(synthesize(midi, sr=sr, duration=duration), sr))


def _picture(ax: Axes, title: str) -> Image:
    """Turn axes into a PNG, and close their figure."""
    memory = io.BytesIO()
    ax.figure.savefig(memory, format="png", metadata={"Software": None})
    plt.close(ax.figure)
    return Image(memory.getvalue(), format="png", alt=f"Piano roll: {title}")


def _beginning(
    piece: np.ndarray | pretty_midi.PrettyMIDI, *, seconds: float, tempo: float
) -> tuple[np.ndarray, pretty_midi.PrettyMIDI, float]:
    """Return the first `seconds` of a piece, to see and to hear, and how long they last."""
    if not isinstance(piece, pretty_midi.PrettyMIDI):
        roll = check_roll(piece, name="piece")
        roll = roll[: max(math.floor(round(seconds * tempo / 60 * STEPS_PER_QUARTER, 6)), 1)]
        return roll, to_midi(roll, tempo=tempo), len(roll) * 60 / tempo / STEPS_PER_QUARTER
    midi = copy.deepcopy(piece)
    for track in midi.instruments:
        track.notes = [note for note in track.notes if note.start < seconds]
        for note in track.notes:
            note.end = min(note.end, seconds)
        track.control_changes = [c for c in track.control_changes if c.time < seconds]
        track.pitch_bends = [b for b in track.pitch_bends if b.time < seconds]
    return to_piano_roll(midi), midi, min(seconds, sound_end(piece))
