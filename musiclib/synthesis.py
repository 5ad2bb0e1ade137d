"""Notes -> waveform, through FluidSynth, at one fixed gain.

Conventions: a waveform is ``float32``, mono unless asked, full scale 1.0; `sr` is audio samples
per second. Loudness is never evened out unless asked: a soft piece stays soft, so that levels of
different pieces can be compared. The same notes give the same bytes, in every process of one
machine. FluidSynth works in blocks of 64 samples: a note starts up to 1.5 ms after its time at
44.1 kHz. How tracks become channels stands in `musiclib.synthesis_events`.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

from musiclib.audio_files import write_mp3, write_wav
from musiclib.fluidsynth_engine import (
    FluidSynthError,
    fluidsynth_version,
    play,
    require_fluidsynth,
    soundfont_path,
)
from musiclib.midi import sound_end
from musiclib.synthesis_events import CONTROL, Event, Part, in_order, plan_events

if TYPE_CHECKING:
    import pretty_midi

__all__ = [
    "FADE",
    "GAIN",
    "MAX_SAMPLES",
    "RELEASE_TAIL",
    "FluidSynthError",
    "fluidsynth_version",
    "require_fluidsynth",
    "sample_count",
    "soundfont_path",
    "synthesize",
    "write_mp3",
    "write_wav",
]

GAIN = 2.3
"""FluidSynth's gain for every piece. Chosen once: the loudest of music21's 368 four-part Bach
chorales (BWV 40.8; piano, velocity 80, 80 quarter notes a minute) peaks at 0.307 with a gain of 1,
so at 0.707, -3.0 dBFS, with 2.3; the softest (BWV 403) peaks at -6.1 dBFS."""

RELEASE_TAIL = 1.0
"""Seconds rendered after the end of the piece, in which the last notes die away. After 1 s a damped
piano note of TimGM6mb has fallen by more than 100 dB."""

FADE = 0.02
"""Seconds at the end of the tail over which what still sounds fades to zero, without a click."""

MAX_SAMPLES = 80_000_000
"""The longest rendering unless told otherwise: 30 minutes at 44.1 kHz, 320 MB (stereo 640)."""

_PEDALS = (64, 66)
_QUIET = 2.0**-16
_BYTES_A_SAMPLE = 4  # of each channel


def sample_count(seconds: float, *, sr: int) -> int:
    """Return how many samples a piece of `seconds` is rendered to, release tail included.

    Examples
    --------
    >>> sample_count(24.0, sr=44100)
    1102500
    """
    return math.ceil(round((seconds + RELEASE_TAIL) * sr, 6))


def synthesize(
    midi: pretty_midi.PrettyMIDI,
    *,
    sr: int = 44100,
    soundfont: str | os.PathLike[str] | None = None,
    gain: float = GAIN,
    normalize: bool = False,
    duration: float | None = None,
    stereo: bool = False,
    max_samples: int = MAX_SAMPLES,
) -> np.ndarray:
    """Render a piece with FluidSynth.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        The piece. All tracks sound from one synthesiser.
    sr : int, default 44100
        Audio samples per second, 8,000 to 96,000.
    soundfont : str, os.PathLike or None
        See `soundfont_path`.
    gain : float, default GAIN
        FluidSynth's ``synth.gain``, above 0 and at most 10. Levels compare at one gain only.
    normalize : bool, default False
        Divide by the peak. This erases loudness: it is here to show what pretty_midi does unasked.
    duration : float or None
        Seconds that the piece is taken to last; None stands for the end of its last note, as
        `midi.sound_end` has it: a late tempo or controller does not lengthen the piece. For pieces
        that end with rests, of which a MIDI file may know nothing.
    stereo : bool, default False
        Give both channels; mono is their mean.
    max_samples : int
        Longer renderings are refused before anything is rendered.

    Returns
    -------
    np.ndarray, shape (N,) or (N, 2), float32
        Full scale is 1.0. N is ``sample_count(seconds, sr=sr)``, whatever the notes. A piece
        without notes gives N zeros, so never an empty array.

    Raises
    ------
    ValueError
        If an argument or a note is out of range, the soundfont is none or has no sound for the
        piece (all samples zero), or N exceeds `max_samples`.
    FluidSynthError
        If FluidSynth is missing or fails.

    Warns
    -----
    RuntimeWarning
        If the peak is above full scale (the samples are kept as they are, and would clip in a file
        of integers), or so low that 16 bits hold nothing of it; if a program is missing.

    Notes
    -----
    Our choice: the paper names neither renderer nor level. pretty_midi's own ``fluidsynth()``
    divides by the peak, or else by the number of tracks, so that a piece is softer in four tracks
    than in one.
    """
    _check(sr=sr, gain=gain)
    seconds = _seconds(midi, duration)
    size = _checked_size(seconds, sr=sr, limit=max_samples, channels=1 + bool(stereo))
    parts, events = plan_events(midi, sr=sr)
    if not parts:
        return np.zeros((size, 2) if stereo else size, np.float32)
    events = in_order(events + _let_go(parts, round(seconds * sr)))
    font = soundfont_path(soundfont)
    x = play(parts, events, size=size, sr=sr, gain=gain, soundfont=font, stereo=stereo)
    x = _fade(x, sr)
    peak = float(max(x.max(), -x.min()))
    _check_peak(peak, notes=sum(len(track.notes) for track in midi.instruments), warn=not normalize)
    return np.divide(x, np.float32(peak), out=x) if normalize else x


def _check(*, sr: int, gain: float) -> None:
    if isinstance(sr, bool) or not 8000 <= sr <= 96000 or int(sr) != sr:
        raise ValueError(f"sr: {sr!r} samples a second; allowed are whole numbers, 8000 to 96000")
    if not 0 < gain <= 10:
        raise ValueError(f"gain: {gain!r}; allowed are numbers above 0 and up to 10")


def _seconds(midi: pretty_midi.PrettyMIDI, duration: float | None) -> float:
    """Return how long the piece lasts, in seconds."""
    seconds = sound_end(midi) if duration is None else duration
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"duration: {seconds} s; allowed are finite numbers, 0 and above")
    end = max((note.end for track in midi.instruments for note in track.notes), default=0.0)
    if seconds < end - 1e-6:
        raise ValueError(f"duration: {seconds} s, but the last note ends at {end} s")
    return float(seconds)


def _checked_size(seconds: float, *, sr: int, limit: int, channels: int) -> int:
    size = sample_count(seconds, sr=sr)
    if size > limit:
        megabytes = size * channels * _BYTES_A_SAMPLE / 1e6
        raise ValueError(
            f"midi: it lasts {seconds:,.0f} s, which is {size:,} samples at {sr} Hz and "
            f"{megabytes:,.0f} MB; allowed are {limit:,} samples (max_samples)"
        )
    return size


def _let_go(parts: list[Part], sample: int) -> list[Event]:
    """Return the events that lift the pedals at the end of the piece."""
    return [Event(sample, CONTROL, part.channel, pedal, 0) for part in parts for pedal in _PEDALS]


def _fade(x: np.ndarray, sr: int) -> np.ndarray:
    """Let the end of the tail go to zero along half a cosine, in place."""
    length = round(FADE * sr)
    ramp = np.cos(np.linspace(0, np.pi / 2, length)) ** 2
    x[-length:] *= ramp.astype(np.float32).reshape(-1, *[1] * (x.ndim - 1))
    return x


def _check_peak(peak: float, *, notes: int, warn: bool) -> None:
    """Refuse a piece that came out silent; warn of one too loud or too soft for 16 bits."""
    if not math.isfinite(peak):
        raise FluidSynthError(f"FluidSynth gave samples that are not finite for {notes} notes")
    if peak == 0:
        raise ValueError(
            f"midi: {notes} notes, but the soundfont has no sound for any of them; choose another "
            "soundfont or other keys"
        )
    if not warn or _QUIET <= peak <= 1:
        return
    level = f"the peak of the piece's {notes} notes is {peak:.3g} ({20 * math.log10(peak):+.1f} dB)"
    if peak > 1:
        text = f"{level}, above full scale: as integers it would clip; lower the gain or normalise"
    else:
        text = f"{level}: 16 bits hold nothing of it; look at velocities and volume (control 7, 11)"
    warnings.warn(text, RuntimeWarning, stacklevel=3)
