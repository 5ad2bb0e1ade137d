"""The FluidSynth library: is it there, which one, its soundfont, and events -> samples.

Conventions: float output, full scale 1.0, two channels; reverb and chorus off, one core. The float
output is neither dithered nor clipped (the 16-bit one, which pyfluidsynth's `get_samples` gives, is
both), so the same events give the same bytes in every process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from musiclib.synthesis_events import BEND, CONTROL, OFF, Event, Part

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
