"""Render notes with FluidSynth, at one fixed gain: piece -> events -> waveform.

Conventions: a waveform is ``float32``, mono unless asked, full scale is 1.0 and may be exceeded;
`sr` is audio samples per second. Loudness is never evened out unless asked: a soft piece stays
soft. The same notes give the same bytes, in every process of one machine: reverb and chorus are
off, one core is used, and the float output is neither dithered nor clipped (as the 16-bit one is).

Times become samples by ``round(seconds * sr)``; FluidSynth works in blocks of 64 samples, so a note
starts up to 1.5 ms later at 44.1 kHz. Tracks of one program share one channel, like several hands
at one piano, so that loudness does not depend on how the voices are spread over tracks; a track
with control changes or pitch bends of its own (its volume, its pedal) keeps a channel of its own,
unless another track of the program has the very same ones. On one channel a key sounds once: notes
of one key that start together become one (the loudest), a note that starts while its key is held
strikes it again, and the last note holding it releases it.
"""

from __future__ import annotations

import ctypes
import math
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pretty_midi

from musiclib.midi import sound_end

# Chosen once: the loudest of music21's 368 four-part Bach chorales (BWV 40.8; piano, velocity 80,
# 80 quarter notes a minute) peaks at 0.307 with a gain of 1, so at 0.707, -3.0 dBFS, with 2.3.
GAIN = 2.3
RELEASE_TAIL = 1.0  # seconds, in which a damped piano note falls by more than 100 dB
FADE = 0.02  # seconds: the fade-out at the end of the tail, which avoids a click
MAX_SAMPLES = 80_000_000  # 30 minutes at 44.1 kHz, 320 MB (stereo 640)
POLYPHONY = 512  # notes at once, dying ones included; FluidSynth drops the weakest beyond it
MAX_CHANNELS = 256  # FluidSynth's own limit
DRUM_CHANNEL = 9
# Modulation, volume, pan, expression, the three pedals, bend range (RPN) and reset.
HONOURED_CONTROLS = frozenset({1, 6, 7, 10, 11, 38, 64, 66, 67, 98, 99, 100, 101, 121})
OFF, CONTROL, BEND, ON = range(4)
_PEDALS = (64, 66)
_QUIET = 2.0**-16  # half a step of 16 bits
_CHUNK = 65_536
_INSTALL = (
    "FluidSynth is missing ({reason}). Install its library: Debian or Ubuntu 'sudo apt-get "
    "install libfluidsynth3'; Fedora 'sudo dnf install fluidsynth-libs'; macOS 'brew install "
    "fluidsynth'; conda 'conda install -c conda-forge fluidsynth'; Windows 'choco install "
    "fluidsynth'. Its Python binding: 'pip install pyfluidsynth'. Then start Python again."
)


class FluidSynthError(RuntimeError):
    """FluidSynth is missing, or failed at something that the caller could not foresee."""


class Event(NamedTuple):  # One message; at one sample the order is OFF < CONTROL < BEND < ON
    sample: int
    kind: int
    channel: int
    number: int
    value: int


class Part(NamedTuple):  # What one channel plays: a program of bank 0, or a drum kit of bank 128
    channel: int
    program: int
    is_drum: bool


def synthesize(
    midi: pretty_midi.PrettyMIDI, *, sr: int = 44100, normalize: bool = False,
    duration: float | None = None, stereo: bool = False,
) -> np.ndarray:  # fmt: skip
    """Render a piece with FluidSynth, at `sr` of 8,000 to 96,000.

    `normalize` divides by the peak, which erases loudness: it shows what pretty_midi does by
    default. `duration` is how many seconds the piece lasts, for pieces that end with rests; None
    means `midi.sound_end`. `stereo` gives both channels, (N, 2); mono, (N,), is their mean.

    N is the samples of the piece and of `RELEASE_TAIL`; more than `MAX_SAMPLES` are refused before
    rendering. Without notes, N zeros are returned. A `ValueError` names a value out of range, or a
    piece that the soundfont has no sound for; a `RuntimeWarning` a peak above full scale (the
    samples are kept) or too low for 16 bits, or a missing program. Our choice: the paper names
    neither renderer nor level.
    """
    if isinstance(sr, bool) or not 8000 <= sr <= 96000 or int(sr) != sr:
        raise ValueError(f"sr: {sr!r} samples per second; allowed: whole numbers, 8000 to 96000")
    seconds = _seconds(midi, duration)
    size = math.ceil(round((seconds + RELEASE_TAIL) * sr, 6))
    shape = (size, 2) if stereo else (size,)
    if size > MAX_SAMPLES:
        raise ValueError(
            f"midi: it lasts {seconds:,.0f} s, which is {size:,} samples at {sr} Hz and "
            f"{4 * math.prod(shape) / 1e6:,.0f} MB; allowed: {MAX_SAMPLES:,} samples"
        )
    parts, events = plan_events(midi, sr=sr)
    if not parts:
        return np.zeros(shape, np.float32)
    end = round(seconds * sr)
    events += [Event(end, CONTROL, part.channel, pedal, 0) for part in parts for pedal in _PEDALS]
    x = _play(parts, _in_order(events), np.empty(shape, np.float32), sr=sr)
    ramp = np.cos(np.linspace(0, np.pi / 2, round(FADE * sr))) ** 2
    x.T[..., -len(ramp) :] *= ramp.astype(np.float32)
    peak = float(max(x.max(), -x.min()))
    _check_peak(peak, notes=sum(len(track.notes) for track in midi.instruments), warn=not normalize)
    return np.divide(x, np.float32(peak), out=x) if normalize else x


def _seconds(midi: pretty_midi.PrettyMIDI, duration: float | None) -> float:
    seconds = sound_end(midi) if duration is None else duration
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"duration: {seconds} s; allowed: finite numbers, 0 and above")
    end = max((note.end for track in midi.instruments for note in track.notes), default=0.0)
    if seconds < end - 1e-6:
        raise ValueError(f"duration: {seconds} s, but the last note ends at {end} s")
    return float(seconds)


def _check_peak(peak: float, *, notes: int, warn: bool) -> None:
    if not math.isfinite(peak):
        raise FluidSynthError(f"FluidSynth gave samples that are not finite for {notes} notes")
    if peak == 0:
        raise ValueError(f"midi: {notes} notes, but the soundfont has no sound for any of them")
    if not warn or _QUIET <= peak <= 1:
        return
    level = f"the peak of the piece's {notes} notes is {peak:.3g} ({20 * math.log10(peak):+.1f} dB)"
    if peak > 1:
        text = f"{level}, above full scale: as integers it would clip; play softer or normalise"
    else:
        text = f"{level}: 16 bits hold nothing of it; look at velocities and volume (control 7, 11)"
    warnings.warn(text, RuntimeWarning, stacklevel=3)


_Controls = tuple[tuple[float, int, int, int], ...]  # (seconds, kind, number, value), sorted
_Voices = dict[tuple[bool, int, _Controls], list[pretty_midi.Note]]  # by drum or not and program


def plan_events(midi: pretty_midi.PrettyMIDI, *, sr: int) -> tuple[list[Part], list[Event]]:
    """Return the channels that `midi` needs and its events in the order to send, all checked."""
    voices = _share_voices([track for track in midi.instruments if track.notes])
    free = (channel for channel in range(MAX_CHANNELS) if channel != DRUM_CHANNEL)
    drums = next((voice for voice in voices if voice[0]), None)
    parts, events = [], []
    for voice, notes in voices.items():
        is_drum, program, controls = voice
        channel = DRUM_CHANNEL if voice is drums else next(free)
        parts.append(Part(channel, program, is_drum))
        events += _key_events(notes, channel=channel, sr=sr)
        for seconds, kind, number, value in controls:
            events.append(Event(round(seconds * sr), kind, channel, number, value))
    return parts, _in_order(events)


def _in_order(events: list[Event]) -> list[Event]:
    """Sort by sample, kind and key, as float sums depend on the order; controls as given."""
    return sorted(events, key=lambda event: event[: 4 if event.kind in (OFF, ON) else 2])


def _share_voices(tracks: list[pretty_midi.Instrument]) -> _Voices:
    voices: _Voices = defaultdict(list)
    for track in tracks:
        controls = _controls(track)
        _check_track(track, controls)
        voices[bool(track.is_drum), int(track.program), controls] += track.notes
    if len(voices) < MAX_CHANNELS:
        return voices
    text = f"the piece needs {len(voices)} channels of {MAX_CHANNELS - 1}: tracks of one program"
    shared = "now share one channel and follow each other's volume, pedal and bends"
    warnings.warn(f"{text} {shared}", RuntimeWarning, stacklevel=4)
    notes, merged = defaultdict(list), defaultdict(list)
    for (is_drum, program, own), its_notes in voices.items():
        notes[is_drum, program] += its_notes
        merged[is_drum, program] += own
    return {(*key, _by_time(merged[key])): notes[key] for key in notes}


def _controls(track: pretty_midi.Instrument) -> _Controls:
    changes = [
        (float(change.time), CONTROL, int(change.number), int(change.value))
        for change in track.control_changes
        if change.number in HONOURED_CONTROLS
    ]
    bends = [(float(bend.time), BEND, 0, int(bend.pitch)) for bend in track.pitch_bends]
    return _by_time(changes + bends)


def _by_time(controls: list[tuple[float, int, int, int]]) -> _Controls:
    return tuple(sorted(controls, key=lambda control: control[0]))


def _key_events(notes: list[pretty_midi.Note], *, channel: int, sr: int) -> list[Event]:
    keys: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    for note in notes:
        start, strikes = round(note.start * sr), keys[int(note.pitch)]
        velocity, end = strikes.get(start, (0, start + 1))
        strikes[start] = max(int(note.velocity), velocity), max(round(note.end * sr), end)
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


def _check_track(track: pretty_midi.Instrument, controls: _Controls) -> None:
    if not 0 <= track.program <= 127:
        raise ValueError(f"midi: an instrument has program {track.program}; allowed: 0 to 127")
    for note in track.notes:
        if not (0 <= note.pitch <= 127 and 1 <= note.velocity <= 127):
            got = f"midi: a note has pitch {note.pitch} and velocity {note.velocity}"
            raise ValueError(f"{got}; allowed: pitch 0 to 127 and velocity 1 to 127")
        if not (0 <= note.start <= note.end and math.isfinite(note.end)):
            raise ValueError(
                f"midi: a note lasts from {note.start} to {note.end} s; its start must be 0 or "
                "later, its end finite and not before its start"
            )
    for seconds, kind, number, value in controls:
        low, high = (-8192, 8191) if kind == BEND else (0, 127)
        if not (seconds >= 0 and math.isfinite(seconds) and low <= value <= high):
            raise ValueError(
                f"midi: {'a pitch bend' if kind == BEND else f'control {number}'} is {value} at "
                f"{seconds} s; allowed: {low} to {high} at finite times of 0 or later"
            )


def require_fluidsynth() -> Any:
    """Return the module `fluidsynth` (pyfluidsynth), or say how to install what is missing."""
    try:
        import fluidsynth
    except (ImportError, OSError) as error:
        raise FluidSynthError(_INSTALL.format(reason=str(error).rstrip("."))) from error
    if not hasattr(fluidsynth, "cfunc"):
        reason = f"{getattr(fluidsynth, '__file__', 'fluidsynth')} is another package of that name"
        raise FluidSynthError(_INSTALL.format(reason=reason))
    return fluidsynth


def fluidsynth_version() -> str:
    """Return the version of the FluidSynth library in use, such as ``2.3.1``."""
    return require_fluidsynth().cfunc("fluid_version_str", ctypes.c_char_p)().decode("ascii")


def soundfont_path() -> Path:
    """Return the path of the soundfont TimGM6mb.sf2, which comes with pretty_midi."""
    return Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")


def _play(parts: list[Part], events: list[Event], out: np.ndarray, *, sr: int) -> np.ndarray:
    fluidsynth = require_fluidsynth()
    channels = 16 * (max(part.channel for part in parts) // 16 + 1)  # a multiple of 16 is wanted
    settings = {"synth.reverb.active": 0, "synth.chorus.active": 0}
    settings |= {"synth.cpu-cores": 1, "synth.polyphony": POLYPHONY}
    synth = fluidsynth.Synth(GAIN, int(sr), channels, **settings)
    try:
        if not synth.synth:
            raise FluidSynthError(f"FluidSynth made no synthesiser at {sr} samples a second")
        bank = synth.sfload(str(soundfont_path()))
        if bank == -1:
            raise FluidSynthError(f"FluidSynth cannot load {soundfont_path()}; is it damaged?")
        for channel, program, is_drum in parts:
            kit = 128 if is_drum else 0
            if synth.program_select(channel, bank, kit, program) == -1:
                synth.program_select(channel, bank, kit, 0)
                text = f"soundfont {soundfont_path().name} has no program {program} in bank {kit}"
                warnings.warn(f"{text}: program 0 plays its notes", RuntimeWarning, stacklevel=3)
        render = _float_renderer(fluidsynth)
        here = 0
        for event in events:
            _fill(render, synth, out[here : event.sample])
            here = max(here, min(event.sample, len(out)))
            _send(synth, event)
        _fill(render, synth, out[here:])
    finally:
        synth.delete()
    return out


def _float_renderer(fluidsynth: Any) -> Any:  # pyfluidsynth does not name it
    pointer, number = ctypes.c_void_p, ctypes.c_int
    kinds = {"synth": pointer, "len": number, "lout": pointer, "loff": number, "lincr": number}
    kinds |= {"rout": pointer, "roff": number, "rincr": number}
    arguments = [(name, kind, 1) for name, kind in kinds.items()]
    render = fluidsynth.cfunc("fluid_synth_write_float", number, *arguments)
    if render is None:
        raise FluidSynthError("FluidSynth has no fluid_synth_write_float; install 2.0 or later")
    return render


def _fill(render: Any, synth: Any, out: np.ndarray) -> None:
    for start in range(0, len(out), _CHUNK):
        part = out[start : start + _CHUNK]
        block = part if part.ndim == 2 else np.empty((len(part), 2), np.float32)
        address = block.ctypes.data
        if render(synth.synth, len(block), address, 0, 2, address, 1, 2) != 0:
            raise FluidSynthError("FluidSynth could not render samples")
        if part.ndim == 1:
            part[:] = block.mean(axis=1)


def _send(synth: Any, event: Event) -> None:
    _, kind, channel, number, value = event
    if kind == OFF:
        synth.noteoff(channel, number)
    elif kind == BEND:
        synth.pitch_bend(channel, value)
    else:
        (synth.cc if kind == CONTROL else synth.noteon)(channel, number, value)
