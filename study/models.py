"""Layers and sampling that two lessons share; the first lesson that needs one explains it.

Conventions: *codes* (B, T, V) are integers, 0 rest, 1 hold, 2 + k onset of key k; *sounds* are 0
for a rest and 1 + k for sounding key k. B pieces, T steps, V voices, C codes. The voices of a step
are decided one after another: the highest, the lowest, then the inner ones downwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from pretty_midi import PrettyMIDI

from musiclib import codec as codecs
from musiclib import player
from musiclib.midi import load_midi, save_midi
from musiclib.piece import Piece, piece_from_midi
from musiclib.roll import N_KEYS, SUSTAIN, sounding_keys, to_midi
from study.sets import PIECE_STEPS

Tensor = Any


@keras.saving.register_keras_serializable("study")
class JointOutput(layers.Layer):
    """Logits (B, T, V, C) of each voice's code, given the state and the voices before it."""

    def __init__(self, voices: int, sounds: int, codes: int, hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sounds, self.order = sounds, [0, voices - 1, *range(1, voices - 1)][:voices]
        self.state = [layers.Dense(hidden, name=f"state_{v}") for v in range(voices)]
        self.peers = [
            layers.Dense(hidden, use_bias=False, name=f"peers_{v}") for v in range(voices)
        ]
        self.logits = [layers.Dense(codes, name=f"logits_{v}") for v in range(voices)]

    def build(self, state_shape: Sequence[int | None], now_shape: Any = None) -> None:
        """Build the layers of each voice; the first has no voice before it."""
        lead, width = tuple(state_shape[:-1]), self.sounds + 1
        for j, v in enumerate(self.order):
            self.state[v].build(state_shape)
            self.logits[v].build((*lead, self.state[v].units))
            if j:
                self.peers[v].build((*lead, j * width))

    def describe(self, sound: Tensor, code: Tensor) -> Tensor:
        """Write one voice's decision as the next voices see it: its key, and whether it is new."""
        onset = ops.cast(code > 1, "float32")[..., None]
        return ops.concatenate([ops.one_hot(sound, self.sounds), onset], axis=-1)

    def voice(self, v: int, state: Tensor, decided: list[Tensor]) -> Tensor:
        """Return logits (..., C) of voice v, given what the voices before it decided."""
        hidden = self.state[v](state)
        if decided:
            hidden = hidden + self.peers[v](ops.concatenate(decided, axis=-1))
        return self.logits[v](ops.relu(hidden))

    def call(self, state: Tensor, now: Tensor) -> Tensor:
        """Return all logits; `now` (B, T, V, 2) holds the step's own sounds and codes."""
        decided, logits = [], {}
        for v in self.order:
            logits[v] = self.voice(v, state, decided)
            decided.append(self.describe(now[..., v, 0], now[..., v, 1]))
        return ops.stack([logits[v] for v in range(len(logits))], axis=-2)


def favour(logits: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    """Return probabilities (B, N) under temperature and top-p; at 0 either picks the likeliest."""
    likeliest = ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1])
    sharp = ops.softmax(logits / ops.maximum(temperature, 1e-6))
    sharp = ops.where(temperature > 0, sharp, likeliest)
    ranked = ops.flip(ops.sort(sharp, axis=-1), axis=-1)
    kept = ops.cumsum(ranked, axis=-1) - ranked < ops.maximum(top_p, 1e-9)
    least = ops.min(ops.where(kept, ranked, 1.0), axis=-1, keepdims=True)
    sharp = ops.where(sharp >= least, sharp, 0.0)
    return sharp / ops.sum(sharp, axis=-1, keepdims=True)


def sharpen(logits: Tensor, can_hold: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    """Return probabilities (B, C), the onsets' by `favour`; `can_hold` is 0 for a rest, else 1."""
    barred = [ops.zeros_like(can_hold), (can_hold - 1) * 1e9, ops.zeros_like(logits[:, 2:])]
    p = ops.softmax(logits + ops.concatenate(barred, axis=-1))
    sharp = favour(logits[:, 2:], temperature, top_p)
    return ops.concatenate([p[:, :2], sharp * ops.sum(p[:, 2:], axis=-1, keepdims=True)], axis=-1)


def choose(p: Tensor, chance: Tensor) -> Tensor:
    """Return where the summed probabilities pass `chance` (B, 1), or the likeliest if negative."""
    below = ops.cumsum(p, axis=-1) < chance * ops.sum(p, axis=-1, keepdims=True)
    drawn = ops.minimum(ops.sum(ops.cast(below, "int32"), axis=-1), p.shape[-1] - 1)
    return ops.where(chance[:, 0] < 0, ops.cast(ops.argmax(p, axis=-1), "int32"), drawn)


def draw_voices(
    joint: JointOutput, state: Tensor, before: Tensor, *, chance: Tensor, temperature: Tensor,
    top_p: Tensor, forced: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Draw a step's codes and sounds (B, V), each voice given those decided before it.

    `before` (B, V) are the sounds of the step before, `chance` (B, V) uniform numbers,
    `temperature` and `top_p` (B, 1); codes of `forced` (B, V) replace the draw unless negative.
    """
    decided, codes, sounds = [], {}, {}
    for v in joint.order:
        can_hold = ops.cast(before[:, v : v + 1] > 0, "float32")
        p = sharpen(joint.voice(v, state, decided), can_hold, temperature, top_p)
        codes[v] = choose(p, chance[:, v : v + 1])
        if forced is not None:
            given = ops.cast(forced[:, v], "int32")
            codes[v] = ops.where(given >= 0, given, codes[v])
        sounds[v] = ops.where(codes[v] == 1, before[:, v], ops.maximum(codes[v] - 1, 0))
        decided.append(joint.describe(sounds[v], codes[v]))
    voices = range(len(joint.state))
    return tuple(ops.stack([drawn[v] for v in voices], axis=-1) for drawn in (codes, sounds))


@keras.saving.register_keras_serializable("study")
class StepNLL(keras.losses.Loss):
    """Nats per step: summed over a step's voices or keys, averaged over the steps in the mask."""

    def __init__(self, name: str = "step_nll") -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the nats (B, T) of the codes `y_true` (B, T, J) under logits (B, T, J, C)."""
        nll = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return ops.sum(nll, axis=-1)


class Batches(keras.utils.PyDataset):
    """Training batches, `steps` to an epoch: each is `draw` of a generator with its own number."""

    def __init__(self, steps: int, draw: Callable, *, seed: int) -> None:
        super().__init__()
        self.steps, self.draw, self.seed, self.epoch = steps, draw, seed, 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Any:
        return self.draw(np.random.default_rng([self.seed, self.epoch * self.steps + index]))

    def on_epoch_end(self) -> None:
        self.epoch += 1


# What the plain models read and write: which of the 88 keys sound, nothing else.


class BarWindows:
    """Excerpts from bar lines on, (n, steps, 88), 1.0 where a key sounds; short ones end silent."""

    def __init__(self, pieces: Sequence[Piece], *, steps: int = PIECE_STEPS) -> None:
        self.sounds, self.steps = [sounding_keys(piece.roll) for piece in pieces], steps
        self.places = [
            (i, int(start))
            for i, piece in enumerate(pieces)
            for start in np.flatnonzero(np.asarray(piece.position) == 0)
            if start + steps <= len(piece.roll) or start < piece.bar
        ]

    def cut(self, places: Sequence[int]) -> np.ndarray:
        """Return the excerpts of these numbers, counted over all pieces."""
        found = np.zeros((len(places), self.steps, N_KEYS), "float32")
        for window, place in zip(found, places, strict=True):
            i, start = self.places[place]
            sound = self.sounds[i][start : start + self.steps]
            window[: len(sound)] = sound
        return found

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n excerpts drawn at random."""
        return self.cut(rng.integers(len(self.places), size=n))


def rolls_of_keys(sounding: np.ndarray) -> list[np.ndarray]:
    """Return rolls (T, 88, 2) of what sounds (n, T, 88): a note starts where it did not before."""
    sounding = np.asarray(sounding) > 0
    struck = sounding & ~np.pad(sounding, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return list(np.stack([struck, sounding], axis=-1).astype(np.uint8))


class VoiceWindows:
    """Windows of encoded pieces as an LSTM of voices takes them: (inputs, codes, mask).

    ``now`` (B, T, V, 2) holds the sounds and codes of each step itself, ``before`` the sounds one
    step earlier.
    """

    def __init__(self, examples: Sequence[codecs.Example], *, steps: int) -> None:
        self.examples, self.steps = examples, steps
        self.sizes = np.array([len(example.codes) for example in examples], float)

    def cut(self, starts: Sequence[tuple[int, int]]) -> tuple[dict[str, np.ndarray], Any, Any]:
        """Return the windows from (piece, step) on; what lies behind a piece is masked."""
        window = codecs.cut(self.examples, starts, length=self.steps)
        inputs = {name: window[name] for name in ("before", "metre")}
        inputs["register"] = np.broadcast_to(window["register"][:, None], window["metre"].shape)
        inputs["now"] = np.stack([window["sounds"], window["codes"]], axis=-1)
        return inputs, window["codes"], window["mask"]

    def draw(self, n: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], Any, Any]:
        """Draw n windows, longer pieces more often; one in four or more begins a piece."""
        which = rng.choice(len(self.sizes), n, p=self.sizes / self.sizes.sum())
        last = [max(int(self.sizes[i]) - self.steps, 0) for i in which]
        starts = [0 if rng.random() < 0.25 else int(rng.integers(0, end + 1)) for end in last]
        return self.cut(list(zip(which, starts, strict=True)))


# A given beginning, continued by a model of voices or of keys.


def continue_piece(
    piece: Piece, codec: codecs.VoiceCodec | codecs.KeyCodec,
    write: Callable[[Any, np.ndarray], np.ndarray], *, quarters: int,
) -> PrettyMIDI:  # fmt: skip
    """Continue the first quarter notes of a piece: show it, play it, return it as MIDI.

    `write(example, begins)` returns the roll of a piece that begins with these codes (1, T, ...).
    """
    if not 1 <= quarters <= 24:
        raise ValueError(f"quarters: got {quarters}, allowed is 1 to 24 of the 32 of a piece")
    example = codec.encode(piece)
    begins = example.codes[None, : 4 * quarters]
    steps, roll = begins.shape[1], write(example, begins)
    read = codec.decode(begins[0], example.register)[..., SUSTAIN]
    there = piece.roll[:steps, :, SUSTAIN]
    kept = 100 * (read & there).sum() / max(there.sum(), 1)
    print(f"the model reads {kept:.0f} % of the beginning as it is written")
    tempo = float(np.clip(piece.tempo, 4, 1000))
    loud = 80 if isinstance(codec, codecs.VoiceCodec) else 48  # thick chords would clip
    midi = to_midi(roll, tempo=tempo, velocity=loud, **codecs.bars_of(example)._asdict())
    name = piece.name.replace("$", r"\$")  # else the start of a formula
    title = f"{name}: {steps / 4:g} quarter notes given, {32 - steps / 4:g} continued"
    position = codecs.bar_position(codecs.continued_metre(example, length=PIECE_STEPS))
    seconds = min(PIECE_STEPS * 15 / tempo, 59)
    player.show_piece(
        midi, title, model="lstm", position=position, seconds=seconds, mark=steps
    )  # fmt: skip
    return midi


def continue_file(
    path: str | os.PathLike[str], folder: Path, continued: Callable[..., PrettyMIDI], **how: Any
) -> Path:
    """Write to `folder` what `continued` makes of a MIDI file's piece, and return the path."""
    path = Path(path).expanduser()
    piece, found = piece_from_midi(load_midi(path), name=path.stem)
    if not found["notes"]:
        without = "it has no pitched note that a piano can play"
        raise ValueError(f"{path.name}: {without}, so there is no beginning to continue")
    target = folder / f"{path.stem}.mid"
    save_midi(continued(piece, **how), target)
    return target
