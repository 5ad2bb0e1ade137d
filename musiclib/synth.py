"""Notes -> waveform, through FluidSynth, at one fixed gain.

Conventions: a waveform is ``float32``, mono unless asked, full scale 1.0; `sr` is audio samples
per second. Loudness is never evened out unless asked: a soft piece stays soft, so that levels of
different pieces can be compared. The same notes give the same bytes, in every process of one
machine. FluidSynth works in blocks of 64 samples: a note starts up to 1.5 ms after its time at
44.1 kHz. How tracks become channels stands in `musiclib.synth`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import math
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from musiclib.midi import sound_end

if TYPE_CHECKING:
    import pretty_midi


# ---- musiclib.synth ----
# Notes -> the events that a synthesiser is sent: which channel, which key, at which sample.
#
# Conventions: times become samples by ``round(seconds * sr)``. Tracks of one program share one
# channel, like several hands at one piano, so that loudness does not depend on how the voices are
# spread over tracks; a track that brings control changes or pitch bends of its own (its volume, its
# pedal) keeps a channel of its own, unless another track of the program brings the very same ones.
# On one channel a key sounds once: notes of one key that start together become one (the loudest),
# a note that starts while its key is held strikes it again, and the key is let go when the last
# note
# holding it ends. Notes at one sample come after releases, controls and bends.


DRUM_CHANNEL = 9
MAX_CHANNELS = 256  # FluidSynth's own limit
HONOURED_CONTROLS = frozenset({1, 6, 7, 10, 11, 38, 64, 66, 67, 98, 99, 100, 101, 121})
"""Modulation, volume, pan, expression, the three pedals, bend range (RPN) and reset."""

OFF, CONTROL, BEND, ON = range(4)


class Event(NamedTuple):
    """One message: `sample`, then `kind` (OFF < CONTROL < BEND < ON, the order at one sample)."""

    sample: int
    kind: int
    channel: int
    number: int
    value: int


class Part(NamedTuple):
    """What one channel plays: a program of bank 0, or a drum kit of bank 128."""

    channel: int
    program: int
    is_drum: bool


class _Voice(NamedTuple):
    is_drum: bool
    program: int
    controls: tuple[tuple[float, int, int, int], ...]


def plan_events(midi: pretty_midi.PrettyMIDI, *, sr: int) -> tuple[list[Part], list[Event]]:
    """Return the channels that `midi` needs and its events in the order to send them.

    Parameters
    ----------
    midi : pretty_midi.PrettyMIDI
        Instruments without notes are left out.
    sr : int
        Samples per second.

    Returns
    -------
    parts : list of Part
        One a channel; drums take channel 9 first.
    events : list of Event
        As `in_order` sorts them.

    Raises
    ------
    ValueError
        If a note has a pitch outside 0 to 127, a velocity outside 1 to 127, a time that is negative
        or not finite, or an end before its start; if a program, control or bend is out of range.

    Examples
    --------
    >>> import pretty_midi
    >>> midi = pretty_midi.PrettyMIDI()
    >>> midi.instruments = [pretty_midi.Instrument(0), pretty_midi.Instrument(0)]
    >>> for track in midi.instruments:
    ...     track.notes.append(pretty_midi.Note(80, 60, 0.0, 0.5))
    >>> parts, events = plan_events(midi, sr=1000)
    >>> len(parts), [(event.sample, event.kind == ON) for event in events]
    (1, [(0, True), (500, False)])
    """
    voices = _share_voices([track for track in midi.instruments if track.notes])
    parts, events = [], []
    for channel, (voice, notes) in zip(_channels(voices), voices.items(), strict=True):
        parts.append(Part(channel, voice.program, voice.is_drum))
        events += _key_events(notes, channel=channel, sr=sr)
        for seconds, kind, number, value in voice.controls:
            events.append(Event(_sample(seconds, sr), kind, channel, number, value))
    return parts, in_order(events)


def in_order(events: list[Event]) -> list[Event]:
    """Return events by sample and kind, keys from low to high, controls in the order given.

    The order of the keys is fixed, as sums of floats depend on it.
    """
    return sorted(
        events,
        key=lambda event: event[:2] + (event[2:4] if event.kind in (OFF, ON) else ()),
    )


def _share_voices(
    tracks: list[pretty_midi.Instrument],
) -> dict[_Voice, list[pretty_midi.Note]]:
    """Gather the notes of tracks that may share a channel."""
    voices: dict[_Voice, list[pretty_midi.Note]] = defaultdict(list)
    for track in tracks:
        _check_track(track)
        voices[_Voice(bool(track.is_drum), int(track.program), _controls(track))] += track.notes
    if len(voices) < MAX_CHANNELS:
        return voices
    warnings.warn(
        f"the piece needs {len(voices)} channels of {MAX_CHANNELS - 1}: tracks of one program now "
        "share one channel and follow each other's volume, pedal and bends",
        RuntimeWarning,
        stacklevel=4,
    )
    return _share_programs(voices)


def _share_programs(
    voices: dict[_Voice, list[pretty_midi.Note]],
) -> dict[_Voice, list[pretty_midi.Note]]:
    """Merge voices of one program, controls and all."""
    notes: dict[tuple[bool, int], list[pretty_midi.Note]] = defaultdict(list)
    controls: dict[tuple[bool, int], list[tuple[float, int, int, int]]] = defaultdict(list)
    for voice, its_notes in voices.items():
        notes[voice[:2]] += its_notes
        controls[voice[:2]] += voice.controls
    return {
        _Voice(*key, tuple(sorted(controls[key], key=lambda control: control[0]))): notes[key]
        for key in notes
    }


def _controls(track: pretty_midi.Instrument) -> tuple[tuple[float, int, int, int], ...]:
    """Return the honoured control changes and the pitch bends as (seconds, kind, number, value)."""
    changes = [
        (float(change.time), CONTROL, int(change.number), int(change.value))
        for change in track.control_changes
        if change.number in HONOURED_CONTROLS
    ]
    bends = [(float(bend.time), BEND, 0, int(bend.pitch)) for bend in track.pitch_bends]
    return tuple(sorted(changes + bends, key=lambda control: control[0]))


def _channels(voices: dict[_Voice, list[pretty_midi.Note]]) -> list[int]:
    """Number the voices: the first drum kit gets channel 9, all others the rest in order."""
    free = (channel for channel in range(MAX_CHANNELS) if channel != DRUM_CHANNEL)
    drums = next((voice for voice in voices if voice.is_drum), None)
    return [DRUM_CHANNEL if voice is drums else next(free) for voice in voices]


def _key_events(notes: list[pretty_midi.Note], *, channel: int, sr: int) -> list[Event]:
    """Return the strikes and releases of one channel's keys."""
    keys: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    for note in notes:
        start = _sample(note.start, sr)
        end = max(_sample(note.end, sr), start + 1)
        velocity, other_end = keys[int(note.pitch)].get(start, (0, 0))
        keys[int(note.pitch)][start] = max(int(note.velocity), velocity), max(end, other_end)
    events = []
    for pitch, strikes in keys.items():
        held_until = 0
        for start in sorted(strikes):
            velocity, end = strikes[start]
            if held_until and start >= held_until:
                events.append(Event(held_until, OFF, channel, pitch, 0))
                held_until = 0
            events.append(Event(start, ON, channel, pitch, velocity))
            held_until = max(end, held_until)
        events.append(Event(held_until, OFF, channel, pitch, 0))
    return events


def _check_track(track: pretty_midi.Instrument) -> None:
    if not 0 <= track.program <= 127:
        raise ValueError(f"midi: an instrument has program {track.program}; allowed are 0 to 127")
    for note in track.notes:
        if not (0 <= note.pitch <= 127 and 1 <= note.velocity <= 127):
            raise ValueError(
                f"midi: a note has pitch {note.pitch} and velocity {note.velocity}; allowed are "
                "pitch 0 to 127 and velocity 1 to 127"
            )
        if not (0 <= note.start <= note.end and math.isfinite(note.end)):
            raise ValueError(
                f"midi: a note lasts from {note.start} to {note.end} s; its start must be 0 or "
                "later, its end finite and not before its start"
            )
    for seconds, kind, number, value in _controls(track):
        low, high = (-8192, 8191) if kind == BEND else (0, 127)
        if not (seconds >= 0 and math.isfinite(seconds) and low <= value <= high):
            raise ValueError(
                f"midi: {'a pitch bend' if kind == BEND else f'control {number}'} is {value} at "
                f"{seconds} s; allowed are {low} to {high} at finite times of 0 or later"
            )


def _sample(seconds: float, sr: int) -> int:
    return round(seconds * sr)


# ---- musiclib.synth ----
# The FluidSynth library: is it there, which one, its soundfont, and events -> samples.
#
# Conventions: float output, full scale 1.0, two channels; reverb and chorus off, one core. The
# float
# output is neither dithered nor clipped (the 16-bit one, which pyfluidsynth's `get_samples` gives,
# is
# both), so the same events give the same bytes in every process.


DEFAULT_SOUNDFONT = "TimGM6mb.sf2"
POLYPHONY = 512
"""Notes that may sound at once, dying ones included; FluidSynth drops the weakest beyond it."""

_CHUNK = 65_536
_INSTALL = (
    "FluidSynth is not there ({reason}). Install its library: Debian or Ubuntu 'sudo apt-get "
    "install libfluidsynth3'; Fedora 'sudo dnf install fluidsynth-libs'; macOS 'brew install "
    "fluidsynth'; conda 'conda install -c conda-forge fluidsynth'; Windows 'choco install "
    "fluidsynth'. Its Python binding: 'pip install pyfluidsynth'. Then start Python again."
)


class FluidSynthError(RuntimeError):
    """FluidSynth is missing, or failed at something that the caller could not foresee."""


def require_fluidsynth() -> Any:
    """Return the module `fluidsynth` (package pyfluidsynth), or say how to install what is missing.

    Raises
    ------
    FluidSynthError
        If the binding or the library is not there or cannot be loaded; the message has the command
        for Debian, Fedora, macOS, conda and Windows.
    """
    try:
        module = importlib.import_module("fluidsynth")
    except (ImportError, OSError) as error:
        raise FluidSynthError(_INSTALL.format(reason=str(error).rstrip("."))) from error
    if not hasattr(module, "cfunc"):
        reason = f"{getattr(module, '__file__', 'fluidsynth')} is another package of that name"
        raise FluidSynthError(_INSTALL.format(reason=reason))
    return module


def fluidsynth_version() -> str:
    """Return the version of the FluidSynth library in use, such as ``2.3.1``."""
    version = require_fluidsynth().cfunc("fluid_version_str", ctypes.c_char_p)
    return version().decode("ascii")


def soundfont_path(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the soundfont to use, checked to be one.

    Parameters
    ----------
    path : str, os.PathLike or None
        An SF2 (or SF3) file; None stands for TimGM6mb.sf2, which comes with pretty_midi.

    Raises
    ------
    ValueError
        If no file stands there, or it is not a SoundFont 2 file.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> soundfont_path().name
    'TimGM6mb.sf2'
    """
    if path is None:
        import pretty_midi

        path = Path(pretty_midi.__file__).with_name(DEFAULT_SOUNDFONT)
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"soundfont: there is no file {path}; give the path of an .sf2 file, or None for "
            f"{DEFAULT_SOUNDFONT}, which comes with pretty_midi"
        )
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise ValueError(
            f"soundfont: {path} is not a SoundFont 2 file: it starts with {head!r}, where RIFF, "
            "four bytes of length and sfbk were expected"
        )
    return path


def play(
    parts: list[Part],
    events: list[Event],
    *,
    size: int,
    sr: int,
    gain: float,
    soundfont: Path,
    stereo: bool = True,
) -> np.ndarray:
    """Send events to a fresh synthesiser and return what it plays.

    Parameters
    ----------
    parts : list of Part
        The channels and their programs, at least one.
    events : list of Event
        In the order to send them. Those at or past `size` are not heard.
    size : int
        Samples to render.
    sr : int
        Samples per second.
    gain : float
        FluidSynth's ``synth.gain``.
    soundfont : Path
        Checked by `soundfont_path`.
    stereo : bool
        Keep both channels, or only their mean.

    Returns
    -------
    np.ndarray, shape (size, 2) or (size,), float32
        Full scale is 1.0, and not a limit.

    Raises
    ------
    ValueError
        If the soundfont cannot be loaded, or has no program to play a part with.
    FluidSynthError
        If FluidSynth is missing or reports a failure.
    """
    fluidsynth = require_fluidsynth()
    out = np.empty((size, 2) if stereo else size, np.float32)
    with _synthesizer(fluidsynth, sr=sr, gain=gain, channels=_channel_count(parts)) as synth:
        bank = synth.sfload(str(soundfont))
        if bank == -1:
            raise ValueError(f"soundfont: FluidSynth cannot load {soundfont}; is it damaged?")
        for part in parts:
            _choose_program(synth, bank, part, soundfont)
        render = _float_renderer(fluidsynth)
        here = 0
        for event in events:
            _fill(render, synth, out[here : event.sample])
            here = max(here, min(event.sample, size))
            _send(synth, event)
        _fill(render, synth, out[here:])
    return out


@contextlib.contextmanager
def _synthesizer(fluidsynth: Any, *, sr: int, gain: float, channels: int) -> Iterator[Any]:
    """Give a synthesiser with every setting that bears on the samples fixed; free it afterwards."""
    settings = {
        "synth.reverb.active": 0,
        "synth.chorus.active": 0,
        "synth.cpu-cores": 1,
        "synth.polyphony": POLYPHONY,
    }
    synth = fluidsynth.Synth(float(gain), int(sr), channels, **settings)
    try:
        if not synth.synth:
            raise FluidSynthError(f"FluidSynth made no synthesiser at {sr} samples a second")
        yield synth
    finally:
        synth.delete()


def _channel_count(parts: list[Part]) -> int:
    """Return the channels to ask for: FluidSynth wants a multiple of 16."""
    return 16 * (max(part.channel for part in parts) // 16 + 1)


def _choose_program(synth: Any, bank: int, part: Part, soundfont: Path) -> None:
    """Select a part's program, or with a warning the first of its kind."""
    midi_bank = 128 if part.is_drum else 0
    if synth.program_select(part.channel, bank, midi_bank, part.program) != -1:
        return
    if synth.program_select(part.channel, bank, midi_bank, 0) == -1:
        kind = "drum kit" if part.is_drum else "melodic program"
        raise ValueError(f"soundfont: {soundfont} has neither {kind} {part.program} nor 0")
    warnings.warn(
        f"soundfont {soundfont.name} has no program {part.program} in bank {midi_bank}: "
        "program 0 plays its notes",
        RuntimeWarning,
        stacklevel=4,
    )


def _float_renderer(fluidsynth: Any) -> Any:
    """Return FluidSynth's ``fluid_synth_write_float``, which pyfluidsynth does not name."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    names = ("synth", "len", "lout", "loff", "lincr", "rout", "roff", "rincr")
    kinds = (pointer, number, pointer, number, number, pointer, number, number)
    arguments = [(name, kind, 1) for name, kind in zip(names, kinds, strict=True)]
    render = fluidsynth.cfunc("fluid_synth_write_float", number, *arguments)
    if render is None:
        raise FluidSynthError(
            "this FluidSynth has no fluid_synth_write_float; install 2.0 or later"
        )
    return render


def _fill(render: Any, synth: Any, out: np.ndarray) -> None:
    """Render into `out`, shape (n, 2), C order, or (n,) for the mean of both channels."""
    for start in range(0, len(out), _CHUNK):
        part = out[start : start + _CHUNK]
        block = part if part.ndim == 2 else np.empty((len(part), 2), np.float32)
        address = block.ctypes.data
        if render(synth.synth, len(block), address, 0, 2, address, 1, 2) != 0:
            raise FluidSynthError("FluidSynth could not render samples")
        if part.ndim == 1:
            part[:] = block.mean(axis=1)


def _send(synth: Any, event: Event) -> None:
    if event.kind == OFF:
        synth.noteoff(event.channel, event.number)
    elif event.kind == CONTROL:
        synth.cc(event.channel, event.number, event.value)
    elif event.kind == BEND:
        synth.pitch_bend(event.channel, event.value)
    else:
        synth.noteon(event.channel, event.number, event.value)


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
