"""Layers and sampling that two lessons share; the first lesson that needs one explains it.

Conventions: *codes* (B, T, V) are integers, 0 rest, 1 hold, 2 + k onset of key k; *sounds* are 0
for a rest and 1 + k for sounding key k. B pieces, T steps, V voices, C codes. The voices of a step
are decided one after another: the highest, the lowest, then the inner ones downwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from musiclib.piece import Piece
from musiclib.roll import N_KEYS, sounding_keys
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
