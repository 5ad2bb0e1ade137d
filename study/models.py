"""Layers and sampling that two lessons share; the first lesson that needs one explains it.

Conventions: *codes* (B, T, V) are integers, 0 rest, 1 hold, 2 + k onset of key k; *sounds* are 0
for a rest and 1 + k for sounding key k. B pieces, T steps, V voices, C codes. The voices of a step
are decided one after another: the highest, the lowest, then the inner ones downwards.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
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


@keras.saving.register_keras_serializable("study")
class StepNLL(keras.losses.Loss):
    """Nats per step: summed over a step's voices or keys, averaged over the steps in the mask."""

    def __init__(self, name: str = "step_nll") -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the nats (B, T) of the codes `y_true` (B, T, J) under logits (B, T, J, C)."""
        nll = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return ops.sum(nll, axis=-1)


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


# What the GAN's generator starts from, and what its critic hears. A score (B, L, V, S + 1) holds,
# for L eighths and V voices, a distribution over the S sounds, and then whether a note begins.


def to_eighths(window: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return sounds (N, L, V) and onsets (N, L, V, 0 or 1) of windows on the sixteenth grid."""
    sounds, onsets = window["sounds"][:, ::2], window["codes"][:, ::2] > 1
    onsets[:, 1:] |= (sounds[:, 1:] != sounds[:, :-1]) & (sounds[:, 1:] > 0)
    return sounds, onsets.astype("float32")


def marginals(sounds: np.ndarray, onsets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return log shares (2, V, n) of sounds and logits (2, V) of onsets, on and off the beat."""
    share = np.ones((2, sounds.shape[2], n))  # one is added to each count: no log of 0
    rate = np.zeros((2, sounds.shape[2]))
    for half, v in np.ndindex(rate.shape):
        share[half, v] += np.bincount(sounds[:, half::2, v].ravel(), minlength=n)
        rate[half, v] = onsets[:, half or 2 :: 2, v].mean()  # at step 0 every note begins
    rate = np.clip(rate, 0.005, 0.995)
    return np.log(share / share.sum(axis=-1, keepdims=True)), np.log(rate / (1 - rate))


def step_odds(sounds: np.ndarray, onsets: np.ndarray, n: int) -> np.ndarray:
    """Return (V, n, n): how often a voice takes a step, over chance (0.02 to 50); rests 1."""
    odds = np.ones((sounds.shape[2], n, n), "float32")
    step = np.arange(n - 1) - np.arange(n - 1)[:, None] + n - 2
    for v in range(len(odds)):
        last, new = sounds[:, :-1, v], sounds[:, 1:, v]
        moves = (onsets[:, 1:, v] > 0) & (last > 0) & (new > 0)
        share = np.bincount(sounds[..., v].ravel(), minlength=n)[1:] + 1.0
        share /= share.sum()
        found = np.bincount((new - last)[moves] + n - 2, minlength=2 * n - 3) + 1.0
        chance = np.correlate(share, share, "full") * moves.sum() + 1.0
        odds[v, 1:, 1:] = np.clip(found / chance, 0.02, 50)[step]
    return odds


def pitch_classes(sounds: int, lowest: int) -> np.ndarray:
    """Return (S, 12), 1 where a sound has a pitch class, C first; key 0 of the piano is an A."""
    keys, table = np.arange(sounds - 1), np.zeros((sounds, 12), "float32")
    table[1 + keys, (keys + lowest + 9) % 12] = 1
    return table


class Residual(layers.Layer):
    """Add to a sequence (B, Q, width) what a convolution makes of it."""

    def __init__(self, width: int, *, dilation: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization()
        self.conv = layers.Conv1D(width, 3, padding="same", dilation_rate=dilation)

    def call(self, h: Tensor) -> Tensor:
        return h + self.conv(ops.relu(self.norm(h)))


def quarters(
    piece_noise: Tensor, bar_noise: Tensor, register: Tensor, *, width: int, n: int
) -> Tensor:
    """Return a plan (B, n, width) of a segment's n quarters; `bar_noise` differs by bar."""
    bars, beats = bar_noise.shape[1], -(-n // bar_noise.shape[1])  # 3.5 quarters count as 4
    h = layers.Concatenate(name="piece")([piece_noise, ops.one_hot(register, codecs.N_REGISTERS)])
    h = layers.Dense(width, activation="relu", name="plan")(h)
    h = layers.RepeatVector(bars, name="every_bar")(h)
    h = layers.Concatenate(name="bars")([h, bar_noise])
    h = layers.Dense(beats * width, name="quarters")(h)
    h = layers.Reshape((bars * beats, width), name="segment")(h)
    h = h if h.shape[1] == n else h[:, :n]
    for i, dilation in enumerate((1, 2, 4, 1)):
        h = Residual(width, dilation=dilation, name=f"residual_{i}")(h)
    return layers.ReLU(name="relu")(layers.LayerNormalization(name="norm")(h))


def near_bias(h: Tensor, shape: tuple[int, ...], bias: Any = 0.0, *, name: str) -> Tensor:
    """Read numbers (B, *shape) off a sequence (B, n, width): at first little more than a bias."""
    small = keras.initializers.RandomNormal(stddev=0.03)
    start = {"bias_initializer": keras.initializers.Constant(np.ravel(bias)), "name": name}
    dense = layers.Dense(math.prod(shape) // h.shape[1], kernel_initializer=small, **start)
    return layers.Reshape(shape, name=f"{name}_by_voice")(dense(h))


def wishes(sounds: int, lowest: int) -> np.ndarray:
    """Return (14, S), which sounds a wish raises: 12 pitch classes, a rest, a pull upwards."""
    table = np.zeros((14, sounds), "float32")
    table[:12] = pitch_classes(sounds, lowest).T
    table[12, 0] = 1
    table[13, 1:] = (np.arange(sounds - 1) - (sounds - 2) / 2) / 12  # 1 an octave
    return table


class Spread(layers.Layer):
    """Spread (B, L, V, N) over sounds by `reach` (N, S); add `usual` (2, V, S) for half beats."""

    def __init__(self, usual: np.ndarray, reach: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reach, start = reach, keras.initializers.Constant(usual)
        self.usual = self.add_weight(shape=usual.shape, initializer=start, name="usual")

    def call(self, said: Tensor) -> Tensor:
        return ops.matmul(said, self.reach) + ops.tile(self.usual, (said.shape[1] // 2, 1, 1))


class Hearing(layers.Layer):
    """Hear a score: chroma (12), intervals of each pair of voices (12 each), steps (19 each)."""

    def __init__(self, voices: int, sounds: int, *, lowest: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pairs = list(combinations(range(voices), 2))
        self.to_class = pitch_classes(sounds, lowest)
        upper, lower = np.indices((12, 12))
        self.to_interval = np.eye(12, dtype="float32")[(upper - lower) % 12].reshape(144, 12)
        self.number = np.arange(sounds, dtype="float32")[:, None]
        self.steps = np.arange(-9, 10, dtype="float32")

    def chroma(self, score: Tensor) -> Tensor:
        """Return pitch classes (B, L, V, 12); their sum is the chance that the voice sounds."""
        return ops.matmul(score[..., :-1], self.to_class)

    def interval(self, chroma: Tensor, u: int, v: int) -> Tensor:
        """Return the interval class (B, L, 12) from voice v up to voice u, drawn independently."""
        both = chroma[:, :, u, :, None] * chroma[:, :, v, None, :]
        return ops.matmul(ops.reshape(both, (-1, chroma.shape[1], 144)), self.to_interval)

    def melody(self, score: Tensor) -> Tensor:
        """Return steps over two eighths (B, L, V, 19): a bump at each semitone; 0 at first."""
        height = ops.matmul(score[..., :-1], self.number)
        step = ops.concatenate([ops.zeros_like(height[:, :2]), height[:, 2:] - height[:, :-2]], 1)
        return ops.exp(-2 * ops.square(step - self.steps))

    def call(self, score: Tensor) -> Tensor:
        chroma, melody = self.chroma(score), self.melody(score)
        flat = ops.reshape(melody, (-1, melody.shape[1], melody.shape[2] * len(self.steps)))
        pairs = [self.interval(chroma, u, v) for u, v in self.pairs]
        return ops.concatenate([ops.sum(chroma, axis=2), *pairs, flat], axis=-1)


def codes_of_scores(score: np.ndarray) -> np.ndarray:
    """Turn scores (B, L, V, S + 1) into codes (B, 2 L, V): an eighth is two sixteenths."""
    sound, struck = np.argmax(score[..., :-1], axis=-1), score[..., -1] > 0.5
    struck[:, 1:] |= sound[:, 1:] != sound[:, :-1]
    struck[:, 0] = True
    code = np.where(sound == 0, 0, np.where(struck, sound + 1, 1))
    return np.stack([code, np.minimum(code, 1)], axis=2).reshape(len(code), -1, code.shape[2])


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
    voices = example.codes.shape[1] if isinstance(codec, codecs.VoiceCodec) else 0
    player.show_piece(
        midi, title, model="lstm", position=position, seconds=seconds, mark=steps, lines=voices
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


# What a variational autoencoder reads, and what it is made of.


class QuarterWindows:
    """Windows of encoded pieces from quarter notes on, which stand alone: no note is cut."""

    def __init__(self, examples: Sequence[codecs.Example], steps: int) -> None:
        self.examples, self.steps = examples, steps
        self.room = [max(len(e.codes) - steps, 0) // 4 + 1 for e in examples]

    def cut(self, starts: Sequence[tuple[int, int]]) -> tuple[dict[str, np.ndarray], Any, Any]:
        """Return (inputs, codes, mask) of the windows from (piece, step) on, as Keras takes them.

        ``opening`` says whether a window is a piece's beginning; ``now`` holds sounds and codes.
        """
        window = codecs.restart_cut_notes(codecs.cut(self.examples, starts, length=self.steps))
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
        layers.Embedding(codecs.N_REGISTERS, 24, name="register_embedding")(register),
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

    def __init__(
        self, decoder: keras.Model, prior: keras.Model | None, codec: codecs.VoiceCodec
    ) -> None:
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
