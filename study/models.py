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

from musiclib.codec import N_REGISTERS, Example, VoiceCodec, cut, restart_cut_notes
from musiclib.piece import Piece
from musiclib.roll import N_KEYS, sounding_keys
from study.sets import PIECE_STEPS

Tensor = Any


@keras.saving.register_keras_serializable("study")
class JointOutput(layers.Layer):
    """Logits (B, T, V, C) of each voice's code, given the state and the voices before it.

    With `joint` false no voice knows another: each is decided on its own.
    """

    def __init__(
        self, voices: int, sounds: int, codes: int, hidden: int, *, joint: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.sounds, self.order = sounds, [0, voices - 1, *range(1, voices - 1)][:voices]
        self.state = [layers.Dense(hidden, name=f"state_{v}") for v in range(voices)]
        self.peers = [
            layers.Dense(hidden, use_bias=False, name=f"peers_{v}") for v in range(voices * joint)
        ]
        self.logits = [layers.Dense(codes, name=f"logits_{v}") for v in range(voices)]

    def build(self, state_shape: Sequence[int | None], now_shape: Any = None) -> None:
        """Build the layers of each voice; the first has no voice before it."""
        lead, width = tuple(state_shape[:-1]), self.sounds + 1
        for j, v in enumerate(self.order):
            self.state[v].build(state_shape)
            self.logits[v].build((*lead, self.state[v].units))
            if j and self.peers:
                self.peers[v].build((*lead, j * width))

    def describe(self, sound: Tensor, code: Tensor) -> Tensor:
        """Write one voice's decision as the next voices see it: its key, and whether it is new."""
        onset = ops.cast(code > 1, "float32")[..., None]
        return ops.concatenate([ops.one_hot(sound, self.sounds), onset], axis=-1)

    def voice(self, v: int, state: Tensor, decided: list[Tensor]) -> Tensor:
        """Return logits (..., C) of voice v, given what the voices before it decided."""
        hidden = self.state[v](state)
        if decided and self.peers:
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


class WarmUp(keras.callbacks.Callback):
    """Raise a VAE's `beta` from 0 to `top` over the first `epochs` epochs, then keep it."""

    def __init__(self, top: float, epochs: int) -> None:
        super().__init__()
        self.top, self.epochs, self.used = top, epochs, []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.used.append(self.top * min(1.0, epoch / max(self.epochs, 1)))
        self.model.beta.assign(self.used[-1])


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


# What a variational autoencoder reads, and what it is made of.


class QuarterWindows:
    """Windows of encoded pieces from quarter notes on, which stand alone: no note is cut."""

    def __init__(self, examples: Sequence[Example], steps: int) -> None:
        self.examples, self.steps = examples, steps
        self.room = [max(len(e.codes) - steps, 0) // 4 + 1 for e in examples]

    def cut(self, starts: Sequence[tuple[int, int]]) -> tuple[dict[str, np.ndarray], Any, Any]:
        """Return (inputs, codes, mask) of the windows from (piece, step) on, as Keras takes them.

        ``opening`` says whether a window is a piece's beginning; ``now`` holds sounds and codes.
        """
        window = restart_cut_notes(cut(self.examples, starts, length=self.steps))
        inputs, each = {k: window[k] for k in ("before", "metre")}, np.zeros_like(window["metre"])
        inputs["register"] = window["register"][:, None] + each
        inputs["opening"] = np.array([[start == 0] for _, start in starts]) + each
        inputs["now"] = np.stack([window["sounds"], window["codes"]], axis=-1)
        return inputs, window["codes"], window["mask"]

    def draw(self, n: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], Any, Any]:
        """Draw n windows, longer pieces more often; one in ten or more is a beginning."""
        which = rng.choice(len(self.room), n, p=np.array(self.room) / sum(self.room))
        starts = [4 * int(rng.integers(self.room[i])) * (rng.random() > 0.1) for i in which]
        return self.cut(list(zip(which, starts, strict=True)))

    def every(self, quarters: int) -> tuple[dict[str, np.ndarray], Any, Any]:
        """Return a window every so many quarter notes of each piece."""
        return self.cut(
            [(i, 4 * q) for i, n in enumerate(self.room) for q in range(0, n, quarters)]
        )


@keras.saving.register_keras_serializable("study")
class Sampling(layers.Layer):
    """Draw z = mean + exp(log_var / 2) * noise with standard normal noise."""

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noise = keras.random.SeedGenerator(seed)

    def call(self, mean: Tensor, log_var: Tensor) -> Tensor:
        noise = keras.random.normal(ops.shape(mean), seed=self.noise)
        return mean + ops.exp(0.5 * log_var) * noise


def kl_divergence(
    mean: Tensor, log_var: Tensor, prior_mean: Tensor = 0.0, prior_log_var: Tensor = 0.0
) -> Tensor:
    """KL in nats of each latent's N(mean, exp(log_var)) from its prior, N(0, 1) by default."""
    apart = ops.exp(log_var) + ops.square(mean - prior_mean)
    return 0.5 * (prior_log_var - log_var + apart * ops.exp(-prior_log_var) - 1.0)


@keras.saving.register_keras_serializable("study")
class OneHot(layers.Layer):
    """Turn sounds (..., V), or sounds and codes (..., V, 2), into one-hot vectors side by side."""

    def __init__(self, sounds: int, *, with_onsets: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sounds, self.with_onsets = sounds, with_onsets

    def call(self, notes: Tensor) -> Tensor:
        x = ops.one_hot(notes[..., 0] if self.with_onsets else notes, self.sounds)
        if self.with_onsets:
            x = ops.concatenate([x, ops.cast(notes[..., 1:] > 1, x.dtype)], axis=-1)
        return ops.reshape(x, (*ops.shape(x)[:-2], x.shape[-2] * x.shape[-1]))


def embed_place(metre: Tensor, register: Tensor, metres: int) -> list[Tensor]:
    """Embed where a step stands: its place in the bar, and how high the music lies."""
    return [
        layers.Embedding(metres, 24, name="metre_embedding")(metre),
        layers.Embedding(N_REGISTERS, 24, name="register_embedding")(register),
    ]


def add_neighbours(x: Tensor, name: str) -> Tensor:
    """Add to each moment of x what a convolution reads off it and its two neighbours."""
    around = layers.Conv1D(x.shape[-1], 3, padding="same", activation="relu", name=name)(x)
    return layers.Add(name=f"{name}_added")([x, around])


@keras.saving.register_keras_serializable("study")
class WordDropout(layers.Layer):
    """In training, silence whole steps of a decoder's input, and mark those that are left."""

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.noise = rate, keras.random.SeedGenerator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        kept = ops.ones_like(x[..., :1])
        if training:
            drawn = keras.random.uniform(ops.shape(kept), seed=self.noise)
            kept = ops.cast(drawn >= self.rate, x.dtype)
        return ops.concatenate([x * kept, kept], axis=-1)


@keras.saving.register_keras_serializable("study")
class JointLatents(layers.Layer):
    """Mean and log-variance (..., D) of a quarter's latents, in groups that know those before."""

    def __init__(self, latent_dim: int, *, groups: int, hidden: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.latent_dim, self.size = latent_dim, latent_dim // groups
        self.state = [layers.Dense(hidden, name=f"state_{g}") for g in range(groups)]
        self.peers = [layers.Dense(hidden, name=f"peers_{g}") for g in range(groups)]
        self.told = [layers.Dense(2 * self.size, name=f"told_{g}") for g in range(groups)]

    def build(self, state_shape: Sequence[int | None], z_shape: Any = None) -> None:
        """Build the layers of each group; the first has no group before it."""
        lead = tuple(state_shape[:-1])
        for g, state in enumerate(self.state):
            state.build(state_shape)
            self.told[g].build((*lead, state.units))
            if g:
                self.peers[g].build((*lead, g * self.size))

    def group(self, g: int, state: Tensor, before: Tensor) -> list[Tensor]:
        """Return mean and log-variance of group g, given the state and the latents before it."""
        hidden = self.state[g](state)
        if g:
            hidden = hidden + self.peers[g](before)
        return ops.split(self.told[g](ops.relu(hidden)), 2, axis=-1)

    def call(self, state: Tensor, z: Tensor) -> list[Tensor]:
        moments = [self.group(g, state, z[..., : g * self.size]) for g in range(len(self.state))]
        return [ops.concatenate(part, axis=-1) for part in zip(*moments, strict=True)]

    def draw(self, state: Tensor, noise: Tensor) -> Tensor:
        """Turn standard normal noise (..., D) into latents, group after group."""
        z = noise[..., :0]
        for g in range(len(self.state)):
            mean, log_var = self.group(g, state, z)
            chance = noise[..., g * self.size : (g + 1) * self.size]
            z = ops.concatenate([z, mean + ops.exp(0.5 * log_var) * chance], axis=-1)
        return z


@keras.saving.register_keras_serializable("study")
class DecoderCell(layers.Layer):
    """Recurrent cell of a decoder: draws a step of all voices, which is its next input.

    A step's input (B, V + 2 + P): V uniform numbers (negative: take the likeliest code),
    temperature, top-p, and the plan. Output: V codes.
    """

    def __init__(self, decoder: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.joint, self.cell = decoder.get_layer("joint"), decoder.get_layer("lstm").cell
        self.one_hot, self.read = decoder.get_layer("one_hot"), decoder.get_layer("read")
        self.output_size = len(self.joint.state)
        self.state_size = [self.output_size, self.cell.units, self.cell.units]

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        v = self.output_size
        before, plan = ops.cast(states[0], "int32"), inputs[:, v + 2 :]
        notes = self.one_hot(before)
        kept = ops.ones_like(notes[:, :1])
        read = self.read(ops.concatenate([notes, kept, plan], axis=-1))
        h, new = self.cell(read, list(states[1:]))
        codes, sounds = draw_voices(
            self.joint, ops.concatenate([h, read, plan], axis=-1), before, chance=inputs[:, :v],
            temperature=inputs[:, v : v + 1], top_p=inputs[:, v + 1 : v + 2],
        )  # fmt: skip
        return ops.cast(codes, "float32"), [ops.cast(sounds, "float32"), *new]


def build_writer(decoder: keras.Model) -> keras.Model:
    """Return a decoder as a model that writes: (z, metre, register, chance) to codes (B, T, V)."""
    z, _, metre, register, _ = decoder.inputs
    plan = keras.Model([z, metre, register], decoder.get_layer("plan").output, name="planner")
    chance = keras.Input((None, len(decoder.get_layer("joint").state) + 2), name="chance")
    given = layers.Concatenate(name="chance_and_plan")([chance, plan([z, metre, register])])
    codes = layers.RNN(DecoderCell(decoder), return_sequences=True, name="codes")(given)
    return _compiled(keras.Model([z, metre, register, chance], codes, name="writer"))


@keras.saving.register_keras_serializable("study")
class PriorCell(layers.Layer):
    """Recurrent cell of a prior: turns a quarter's noise into its latents, its next input.

    A quarter's input (B, D + P): D standard normal numbers, and the embedded place. Output: z.
    """

    def __init__(self, prior: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.read, self.cell = prior.get_layer("read"), prior.get_layer("lstm").cell
        self.think, self.joint = prior.get_layer("think"), prior.get_layer("joint")
        self.output_size = self.joint.latent_dim
        self.state_size = [self.output_size, self.cell.units, self.cell.units]

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        noise, place = inputs[:, : self.output_size], inputs[:, self.output_size :]
        read = self.read(ops.concatenate([states[0], place], axis=-1))
        h, new = self.cell(read, list(states[1:]))
        z = self.joint.draw(self.think(ops.concatenate([h, read], axis=-1)), noise)
        return z, [z, *new]


def build_latent_writer(prior: keras.Model) -> keras.Model:
    """Return a prior as a model that writes: (noise, metre, register, opening) to latents."""
    _, past, *where = prior.inputs
    place = keras.Model(where, prior.get_layer("place").output, name="placer")
    noise = keras.Input((None, past.shape[-1]), name="noise")
    given = layers.Concatenate(name="noise_and_place")([noise, place(where)])
    z = layers.RNN(PriorCell(prior), return_sequences=True, name="latents")(given)
    return _compiled(keras.Model([noise, *where], z, name="latent_writer"))


def _compiled(model: keras.Model) -> keras.Model:
    model.compile(jit_compile=keras.backend.backend() == "jax")  # XLA slows an LSTM on a processor
    return model


class Writer:
    """Write rolls from latents, and latents from noise where there is a learned `prior`.

    `x` holds metre, register and (for a prior) opening, each (n, T). Noise and z are (n, T / 4, D).
    """

    def __init__(self, decoder: keras.Model, prior: keras.Model | None, codec: VoiceCodec) -> None:
        self.codec, self.decoder = codec, build_writer(decoder)
        self.prior = build_latent_writer(prior) if prior is not None else None

    def latents(self, noise: np.ndarray, x: dict[str, np.ndarray]) -> np.ndarray:
        """Return the latents that the prior makes of standard normal noise; without one, noise."""
        if self.prior is None:
            return noise
        places = [x[name][:, ::4] for name in ("metre", "register", "opening")]
        given = [noise.astype("float32"), *places]
        return self.prior.predict(given, batch_size=len(noise), verbose=0)

    def rolls(
        self, z: np.ndarray, x: dict[str, np.ndarray], rng: np.random.Generator | None = None, *,
        temperature: float = 1.0, top_p: float = 1.0,
    ) -> list[np.ndarray]:  # fmt: skip
        """Decode latents to rolls; without `rng` each voice takes its likeliest code."""
        n_voices = self.codec.n_voices
        chance = np.full((*x["metre"].shape, n_voices + 2), -1.0, "float32")
        if rng is not None:
            chance[..., :n_voices] = rng.random(chance[..., :n_voices].shape)
        chance[..., n_voices:] = temperature, top_p
        given = [z.astype("float32"), x["metre"], x["register"], chance]
        codes = self.decoder.predict(given, batch_size=len(z), verbose=0).astype(int)
        return [self.codec.decode(c, r[0]) for c, r in zip(codes, x["register"], strict=True)]
