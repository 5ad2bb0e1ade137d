"""The LSTMs of voices (lesson 02) and of keys: causality, the joint output, the composers."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import numpy as np
import pretty_midi
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from musiclib import codec  # noqa: E402
from musiclib.midi import MidiFileError, load_midi, save_midi  # noqa: E402
from musiclib.piece import piece_from_midi  # noqa: E402
from musiclib.roll import to_piano_roll  # noqa: E402
from study import models, run  # noqa: E402
from study.runner import NOTEBOOKS, load_cells, read_notebook  # noqa: E402

V, S = 3, 6
C = S + 1


@pytest.fixture(scope="module")
def cells():
    keras.utils.set_random_seed(1)
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np}
    space |= {"V": V, "S": S, "C": C, "seed": 0}
    return load_cells("research/lstm_of_keys", "model", load_cells("02_lstm", "model", space))


@pytest.fixture(scope="module")
def model(cells):
    return cells["build_model"](8, hidden=12)


def inputs(rng, batch=2, steps=7):
    sounds = rng.integers(0, S, (batch, steps, V))
    codes = np.where(sounds > 0, sounds + 1, 0)
    before = np.concatenate([np.zeros((batch, 1, V), int), sounds[:, :-1]], axis=1)
    metre = np.tile(np.arange(steps), (batch, 1))
    now = np.stack([sounds, codes], axis=-1)
    given = {"before": before, "metre": metre, "register": np.zeros_like(metre), "now": now}
    return {k: v.astype("int32") for k, v in given.items()}


def test_logits_have_a_row_for_each_voice_and_code(model):
    logits = ops.convert_to_numpy(model(inputs(np.random.default_rng(0))))
    assert logits.shape == (2, 7, V, C)
    assert np.isfinite(logits).all()


def test_a_step_sees_the_past_only(model):
    given = inputs(np.random.default_rng(1), batch=1)
    changed = {k: v.copy() for k, v in given.items()}
    changed["before"][0, 4] = (changed["before"][0, 4] + 1) % S
    a, b = (ops.convert_to_numpy(model(x)) for x in (given, changed))
    np.testing.assert_allclose(a[:, :4], b[:, :4], atol=1e-6)
    assert np.abs(a[:, 4:] - b[:, 4:]).max() > 1e-6


def test_a_voice_sees_only_the_voices_before_it_in_the_order(model):
    order = model.get_layer("joint").order
    assert order == [0, V - 1, 1]
    given = inputs(np.random.default_rng(2), batch=1)
    for j, v in enumerate(order):
        changed = {k: x.copy() for k, x in given.items()}
        changed["now"][0, 3, v] = [(given["now"][0, 3, v, 0] + 1) % S, 2]
        a, b = (ops.convert_to_numpy(model(x)) for x in (given, changed))
        moved = np.abs(a - b).max(axis=(0, 3))
        assert (moved[:3] == 0).all()
        assert (moved[4:] == 0).all()
        for later in order[j + 1 :]:
            assert moved[3, later] > 0
        for earlier in order[: j + 1]:
            assert moved[3, earlier] == 0


def test_the_loss_sums_voices_and_averages_unpadded_steps(cells):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 4, V, C)).astype("float32")
    codes = rng.integers(0, C, (2, 4, V))
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], "float32")
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    nll = -np.take_along_axis(log_p, codes[..., None], axis=-1)[..., 0].sum(axis=-1)
    by_hand = (nll * mask).sum() / mask.sum()
    loss = models.StepNLL()(codes, logits, sample_weight=mask)
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)


def composer_input(rng, steps=9, batch=4, temperature=1.0, top_p=1.0):
    given = np.full((batch, steps, 2 * V + 4), -1.0, "float32")
    given[..., :V] = rng.random((batch, steps, V))
    given[..., -4], given[..., -3] = np.arange(steps), 0
    given[..., -2:] = temperature, top_p
    return given


def compose(cells, model, given):
    net = layers.RNN(cells["Composer"](model), return_sequences=True)
    return ops.convert_to_numpy(net(given)).astype(int)


def test_the_composer_obeys_a_forced_beginning_and_never_holds_a_rest(cells, model):
    given = composer_input(np.random.default_rng(4))
    given[:, 0, V : 2 * V] = [3, 0, 5]
    codes = compose(cells, model, given)
    assert (codes[:, 0] == [3, 0, 5]).all()
    assert codes.min() >= 0
    assert codes.max() < C
    sounding = np.zeros((4, V), bool)
    for t in range(codes.shape[1]):
        assert not ((codes[:, t] == 1) & ~sounding).any()
        sounding = codes[:, t] > 0


def test_the_composer_draws_from_the_trained_models_own_distribution(cells, model):
    """Two routes: the share of first codes drawn, and the training model's probability."""
    n = 4000
    given = composer_input(np.random.default_rng(5), steps=1, batch=n)
    first = compose(cells, model, given)[:, 0, 0]
    start = {k: v[:1, :1] * 0 for k, v in inputs(np.random.default_rng(0)).items()}
    p = ops.convert_to_numpy(ops.softmax(model(start)[0, 0, 0]))
    p = np.where(np.arange(C) == 1, 0, p)  # nothing sounds yet, so nothing can be held
    share = np.bincount(first, minlength=C) / n
    np.testing.assert_allclose(share, p / p.sum(), atol=4 * 0.5 / np.sqrt(n))


def test_low_temperature_and_top_p_choose_the_likeliest_onset(cells, model):
    for settings in ({"temperature": 1e-3}, {"top_p": 1e-6}):
        given = composer_input(np.random.default_rng(6), steps=1, batch=200, **settings)
        first = compose(cells, model, given)[:, 0, 0]
        assert len(np.unique(first[first > 1])) == 1
        assert len(np.unique(first)) == 2  # the share of rests stays the model's own


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.0}])
def test_zero_takes_the_likeliest_onset(cells, model, settings):
    """What starts is the model's likeliest; whether something starts stays a draw."""
    given = composer_input(np.random.default_rng(6), steps=1, batch=300, **settings)
    first = compose(cells, model, given)[:, 0, 0]
    start = {k: v[:1, :1] * 0 for k, v in inputs(np.random.default_rng(0)).items()}
    logits = ops.convert_to_numpy(model(start)[0, 0, 0])
    assert set(first[first > 1]) == {2 + int(logits[2:].argmax())}
    assert len(np.unique(first)) == 2
    many = compose(cells, model, composer_input(np.random.default_rng(7), **settings))
    assert many.min() >= 0
    assert many.max() < C


@pytest.mark.parametrize("metres", [128, 192])
def test_the_metre_embedding_is_as_large_as_the_codec_says(cells, metres):
    for build in (
        lambda: cells["build_model"](8, hidden=12, metres=metres),
        lambda: cells["build_keys_model"](K, 3, joint=True, units=6, metres=metres),
    ):
        assert build().get_layer("metre_embedding").input_dim == metres


def test_windows_of_voices_read_one_step_late_and_mask_what_is_behind_a_piece():
    piece, _ = piece_from_midi(song([(60, 0, 4), (64, 4, 8)]), name="a")
    example = VOICES.encode(piece)
    windows = models.VoiceWindows([example], steps=10)
    given, codes, mask = windows.cut([(0, 0), (0, 5)])
    np.testing.assert_array_equal(codes[0, :8], example.codes)
    assert mask.sum(axis=1).tolist() == [8, 3]
    np.testing.assert_array_equal(given["before"][0, 1:8], given["now"][0, :7, :, 0])
    np.testing.assert_array_equal(given["now"][..., 1], codes)
    assert not given["before"][0, 0].any()
    one, two = (windows.draw(3, np.random.default_rng(0))[1] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_model_gets_the_first_weights_that_it_had_behind_others():
    def build():
        return [layers.Dense(3) for _ in range(2)], layers.Dense(2)

    keras.utils.set_random_seed(5)
    others, last = build()
    for layer in (*others, last):
        layer.build((None, 4))
    run.skip_layer_seeds(5, len(others))
    again = layers.Dense(2)
    again.build((None, 4))
    for ours, theirs in zip(again.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# The control that forgets


@pytest.fixture(scope="module")
def forgetful(cells, model):
    """Give the cell of lesson 02, whose class stands where it is used."""
    node = read_notebook(NOTEBOOKS / "02_lstm.ipynb")
    source = next(c.source for c in node.cells if "class Forgetful(" in c.source)
    found = [part for part in ast.parse(source).body if isinstance(part, ast.ClassDef)]
    space = cells | {"codec": SimpleNamespace(n_metres=codec.N_METRES)}
    exec(compile(ast.Module(found, []), "forgetful", "exec"), space)
    return space["Forgetful"](model)


def logits_of(cell, given, monkeypatch):
    """Give the logits (T, B, V, C) of each step, none of its voices decided, and all codes."""
    draw, seen, codes = models.draw_voices, [], []

    def watched(joint, state, before, **more):
        nothing = np.zeros((len(given), 1, V, 2), "int32")
        seen.append(ops.convert_to_numpy(joint(state[:, None], nothing))[:, 0])
        return draw(joint, state, before, **more)

    states = [ops.zeros((len(given), size)) for size in cell.state_size]
    with monkeypatch.context() as patch:
        patch.setattr(models, "draw_voices", watched)
        for t in range(given.shape[1]):
            drawn, states = cell(ops.convert_to_tensor(given[:, t]), states)
            codes.append(ops.convert_to_numpy(drawn).astype(int))
    return np.stack(seen), np.stack(codes)


def two_beginnings(*, bar=16):
    """Give two pieces whose first bars differ, but end with the same chord, and then are free."""
    rng = np.random.default_rng(20)
    given = composer_input(rng, steps=bar + 6, batch=2)
    given[1], given[..., -4] = given[0], np.arange(bar + 6) % bar
    forced = rng.integers(2, C, (2, bar, V))
    forced[:, -1] = [2, 4, 3]
    given[:, :bar, V : 2 * V] = forced
    assert (forced[0, :-1] != forced[1, :-1]).any(axis=-1).all()
    return given


def test_what_forgets_goes_on_from_the_last_chord_of_a_bar_alone(
    cells, model, forgetful, monkeypatch
):
    given = two_beginnings()
    logits, codes = logits_of(forgetful, given, monkeypatch)
    assert (codes[14, 0] != codes[14, 1]).any()
    assert np.abs(logits[15, 0] - logits[15, 1]).max() > 1e-5
    np.testing.assert_allclose(logits[16:, 0], logits[16:, 1], atol=1e-6)
    np.testing.assert_array_equal(codes[15:, 0], codes[15:, 1])
    logits, _ = logits_of(cells["Composer"](model), given, monkeypatch)
    assert np.abs(logits[16, 0] - logits[16, 1]).max() > 1e-5  # the ordinary cell remembers
    given[1, 15, V : 2 * V] = [4, 4, 3]
    logits, _ = logits_of(forgetful, given, monkeypatch)
    assert np.abs(logits[16, 0] - logits[16, 1]).max() > 1e-5  # another last chord is heard


def test_within_a_bar_what_forgets_is_the_ordinary_cell(cells, model, forgetful, monkeypatch):
    given = composer_input(np.random.default_rng(21), steps=16)
    for ours, theirs in zip(
        logits_of(forgetful, given, monkeypatch),
        logits_of(cells["Composer"](model), given, monkeypatch),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_states_are_forgotten_at_bar_lines_of_every_metre_and_nowhere_else(
    cells, model, forgetful
):
    rng, metres = np.random.default_rng(22), np.arange(codec.N_METRES)
    given = composer_input(rng, steps=1, batch=len(metres))[:, 0]
    given[:, 2 * V] = metres
    ordinary, n = cells["Composer"](model), len(metres)
    states = [rng.integers(0, S, (n, V)).astype("float32")]
    states += [rng.normal(size=(n, size)).astype("float32") for size in ordinary.state_size[1:]]
    line = codec.bar_position(metres) == 0
    assert 0 < line.sum() < n
    empty = [states[0], *(np.where(line[:, None], 0, s).astype("float32") for s in states[1:])]
    _, ours = forgetful(given, states)
    _, wanted = ordinary(given, empty)
    for one, other in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other), atol=1e-6
        )


# The model of keys

K = 14


def keys_model(cells, *, joint, states=3):
    """A small model of keys whose weights are all drawn, so that every path counts."""
    model = cells["build_keys_model"](K, states, joint=joint, units=6, frame_units=5, hidden=7)
    rng = np.random.default_rng(9)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    return model


@pytest.fixture(scope="module")
def joint_keys(cells):
    return keys_model(cells, joint=True)


def key_inputs(rng, *, batch=2, steps=6, states=3):
    """Codes that can be: what did not sound is not held."""
    now = rng.choice(states, (batch, steps, K), p=(0.6, 0.2, 0.2)[:states])
    before = np.concatenate([np.zeros((batch, 1, K), int), now[:, :-1]], axis=1)
    metre = np.tile(np.arange(steps), (batch, 1))
    given = {"before": before, "now": now, "metre": metre, "register": np.ones_like(metre)}
    return {k: v.astype("int32") for k, v in given.items()}


def moved(model, given, change):
    """Tell where logits differ, (T, K), once `change` is made to the first piece."""
    changed = {k: v.copy() for k, v in given.items()}
    change(changed)
    a, b = (ops.convert_to_numpy(model(x)) for x in (given, changed))
    return np.abs(a - b)[0].max(axis=-1) > 0


def test_a_key_hears_the_keys_above_it_in_its_step_and_no_other(joint_keys):
    given = key_inputs(np.random.default_rng(0))

    def change(x):
        x["now"][0, 2, 8] = (x["now"][0, 2, 8] + 1) % 3

    where = moved(joint_keys, given, change)
    assert where[2, :8].sum() >= 6  # a rectified unit or two may be silent for both
    assert not where[2, 8:].any()
    assert not np.delete(where, 2, axis=0).any()


def test_independent_keys_hear_nothing_of_their_step(cells):
    model, given = keys_model(cells, joint=False), key_inputs(np.random.default_rng(0))
    assert not moved(model, given, lambda x: x["now"].fill(0)).any()


def test_the_keys_of_a_step_see_the_past_only(joint_keys):
    given = key_inputs(np.random.default_rng(1))

    def change(x):
        x["before"][0, 3] = (x["before"][0, 3] + 1) % 3

    where = moved(joint_keys, given, change)
    assert not where[:3].any()
    assert where[3].any()
    assert where[5].any()


def test_padding_at_the_end_changes_no_frame_before_it(joint_keys):
    given = key_inputs(np.random.default_rng(2))
    short = {k: v[:, :4] for k, v in given.items()}
    a, b = (ops.convert_to_numpy(joint_keys(x)) for x in (given, short))
    np.testing.assert_allclose(a[:, :4], b, atol=1e-5)


def test_the_probabilities_of_all_frames_of_four_keys_add_up_to_one(cells):
    """The product over the keys is a distribution over frames: nothing is counted twice."""
    model = keys_model(cells, joint=True, states=2)
    frames = (np.arange(16)[:, None] >> np.arange(4)) & 1
    now = np.zeros((16, 1, K), "int32")
    now[:, 0, 5:9] = frames
    given = {"before": np.zeros_like(now), "now": now}
    given |= {k: np.zeros((16, 1), "int32") for k in ("metre", "register")}
    log_p = ops.convert_to_numpy(ops.log_softmax(model(given)))[:, 0, 5:9]
    chosen = np.take_along_axis(log_p, frames[..., None], axis=-1)[..., 0].sum(axis=1)
    assert np.exp(chosen).sum() == pytest.approx(1.0, abs=1e-4)


def test_silence_cannot_be_held(joint_keys):
    given = key_inputs(np.random.default_rng(3))
    p = ops.convert_to_numpy(ops.softmax(joint_keys(given)))
    silent = given["before"] == 0
    assert p[silent][:, 1].max() == 0
    assert p[~silent][:, 1].max() > 0


def key_noise(rng, *, batch, steps, temperature=1.0, top_p=1.0):
    """What the composer of keys reads: chance, metre, register, temperature, top-p."""
    given = np.ones((batch, steps, K + 4), "float32")
    given[..., :K], given[..., K] = rng.random((batch, steps, K)), np.arange(steps)
    given[..., -2:] = temperature, top_p
    return given


def compose_keys(cells, model, given):
    net = layers.RNN(cells["KeyComposer"](model), return_sequences=True)
    return ops.convert_to_numpy(net(given)).astype("int32")


def first_starts(model, states=3):
    """The probability of each key (K,) to start in a first step in which no other does."""
    silent = np.zeros((1, 1, K), "int32")
    given = {"before": silent, "now": silent}
    given |= {"metre": silent[..., 0], "register": silent[..., 0] + 1}
    return ops.convert_to_numpy(ops.softmax(model(given)))[0, 0, :, -1]


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.0}])
@pytest.mark.parametrize("joint", [True, False])
def test_at_zero_only_the_likeliest_key_starts(cells, joint, settings):
    model = keys_model(cells, joint=joint)
    given = key_noise(np.random.default_rng(0), batch=200, steps=1, **settings)
    started = compose_keys(cells, model, given)[:, 0] == 2
    assert np.flatnonzero(started.any(axis=0)).tolist() == [int(first_starts(model).argmax())]
    longer = key_noise(np.random.default_rng(1), batch=5, steps=12, **settings)
    codes = compose_keys(cells, model, longer)
    assert set(np.unique(codes)) <= {0, 1, 2}
    assert (codes == 2).sum(axis=-1).max() <= 1


def test_temperature_chooses_which_key_starts_and_not_how_many(cells):
    """Two routes: independent keys' starts, counted, and the shares by hand."""
    model, n = keys_model(cells, joint=False), 4000
    model.get_layer("keys").bias.table.assign_add(np.tile([0.0, 0.0, -3.0], (K, 1)))
    p = first_starts(model)
    for temperature in (0.5, 1.0, 2.0):
        settings = {"temperature": temperature, "top_p": 1.0}
        given = key_noise(np.random.default_rng(2), batch=n, steps=1, **settings)
        share = (compose_keys(cells, model, given)[:, 0] == 2).mean(axis=0)
        sharp = p ** (1 / temperature)
        expected = sharp / sharp.sum() * p.sum()
        assert expected.max() < 1
        np.testing.assert_allclose(share, expected, atol=4 * 0.5 / np.sqrt(n))
        assert share.sum() == pytest.approx(p.sum(), rel=0.1)


@pytest.mark.parametrize("joint", [True, False])
def test_the_key_composer_draws_from_the_trained_model(cells, joint):
    """Two routes: the composer's own draws, and the same noise held against the model's logits."""
    model, rng = keys_model(cells, joint=joint), np.random.default_rng(4)
    given = key_noise(rng, batch=3, steps=5)
    codes = compose_keys(cells, model, given)
    before = np.concatenate([np.zeros_like(codes[:, :1]), codes[:, :-1]], axis=1)
    metre = np.tile(np.arange(5), (3, 1))
    told = {"before": before, "now": codes, "metre": metre, "register": np.ones_like(metre)}
    p = ops.convert_to_numpy(ops.softmax(model({k: v.astype("int32") for k, v in told.items()})))
    by_hand = (given[..., :K, None] > np.cumsum(p, axis=-1)[..., :-1]).sum(axis=-1)
    assert (by_hand == codes).mean() > 0.99  # a draw on the very edge may fall either way
    assert set(np.unique(codes)) == {0, 1, 2}


def test_nats_of_whole_pieces_do_not_depend_on_what_they_are_padded_with(cells):
    """Two routes: all pieces at once, and each by hand from the model's own logits."""
    model, rng = keys_model(cells, joint=True, states=2), np.random.default_rng(5)
    pieces = [rng.integers(0, 2, (n, K)).astype(np.uint8) for n in (5, 20, 12)]
    examples = [codec.KeyExample("", p, np.zeros(len(p), np.int32)) for p in pieces]
    found = cells["frame_nats"](model, examples, frames=40)
    assert [len(nats) for nats in found] == [4, 19, 11]
    for nats, piece in zip(found, pieces, strict=True):
        given = {"before": piece[None, :-1], "now": piece[None, 1:]}
        given |= {k: np.zeros((1, len(piece) - 1)) for k in ("metre", "register")}
        given = {k: v.astype("int32") for k, v in given.items()}
        log_p = ops.convert_to_numpy(ops.log_softmax(model(given)))[0]
        chosen = np.take_along_axis(log_p, piece[1:, :, None].astype(int), axis=-1)[..., 0]
        np.testing.assert_allclose(nats, -chosen.sum(axis=1), rtol=1e-4)


def test_batches_hold_every_frame_once_and_begin_with_two_lengths(cells):
    """Keras fixes the sizes that the first two batches share."""
    sizes = (30, 31, 8, 9, 64, 65, 12, 200)
    examples = [
        codec.KeyExample(str(n), np.full((n, K), n % 2, np.uint8), np.arange(n, dtype=np.int32))
        for n in sizes
    ]
    batches = cells["KeyBatches"](examples, window=40, frames=90)
    for _ in range(3):
        given = [batches[i] for i in range(len(batches))]
        assert sum(mask.sum() for _, _, mask in given) == sum(n - 1 for n in sizes)
        lengths = [mask.shape[1] for _, _, mask in given]
        assert lengths[0] == max(lengths)
        assert lengths[1] == min(lengths) < lengths[0]
        batches.on_epoch_end()


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_first_two_batches_share_no_size_that_keras_could_take_for_fixed(cells, n):
    examples = [
        codec.KeyExample(str(i), np.ones((9, K), np.uint8), np.arange(9, dtype=np.int32))
        for i in range(n)
    ]
    batches = cells["KeyBatches"](examples, window=40, frames=18)
    assert len(batches) == max(n // 2, 2)
    first, second = (batches[i][2].shape for i in (0, 1))
    assert all(a != b for a, b in zip(first, second, strict=True))
    given, target, mask = batches[1]
    assert {v.shape[:2] for v in given.values()} | {target.shape[:2]} == {mask.shape}
    assert mask.sum() == 8 * min(n, 2)


# Continuing a piece

VOICES = codec.VoiceCodec(lowest=30, n_keys=30, n_voices=3)
KEYS = codec.KeyCodec(lowest=30, n_keys=30, onsets=True, frames=100)


@pytest.fixture(scope="module", params=["voices", "keys"])
def notebook(request, tmp_path_factory):
    """Give what a notebook has defined when it comes to continue a piece, with small models."""
    keras.utils.set_random_seed(1)
    space = {"keras": keras, "layers": layers, "ops": ops, "np": np}
    space |= {"V": 3, "S": VOICES.n_sounds, "C": VOICES.n_codes, "seed": 0, "n_pieces": 1}
    space |= {"temperature": 0.6, "top_p": 0.98, "paths": run.Paths(tmp_path_factory.mktemp("run"))}
    name = {"voices": "02_lstm", "keys": "research/lstm_of_keys"}[request.param]
    load_cells(name, "model", space)
    if request.param == "voices":
        space |= {"codec": VOICES, "model": space["build_model"](8, hidden=8)}
    else:
        small = {"units": 4, "frame_units": 4, "hidden": 4}
        of_keys = space["build_keys_model"](KEYS.n_keys, KEYS.n_states, joint=True, **small)
        settings = {name: space[name] for name in ("temperature", "top_p")}
        space |= {"key_codec": KEYS, "fitted": {"joint": (of_keys,)}, "settings": settings}
    shown = []
    player = SimpleNamespace(show_piece=lambda midi, title, **more: shown.append((title, more)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "player", player)
        yield load_cells(name, "write", space | {"shown": shown})


def song(notes, *, tempo=100, drum=False):
    """Make a piece of notes (pitch, first step, last step), in 3/4."""
    midi, step = pretty_midi.PrettyMIDI(initial_tempo=tempo), 15 / tempo
    midi.time_signature_changes = [pretty_midi.TimeSignature(3, 4, 0)]
    track = pretty_midi.Instrument(0, is_drum=drum)
    track.notes = [pretty_midi.Note(80, p, a * step, b * step) for p, a, b in notes]
    midi.instruments = [track]
    return midi


def continued(notebook, midi, folder, name="my song", **more):
    save_midi(midi, folder / f"{name}.mid")
    path = notebook["continue_file"](str(folder / f"{name}.mid"), **more)
    assert path == notebook["paths"].generated / "continued" / f"{name}.mid"
    return to_piano_roll(load_midi(path), length=128)


TRIAD = [(p, t, t + 2) for t in range(0, 160, 2) for p in (60, 64, 67)]  # in C: nothing is moved


def test_a_file_is_continued_from_its_first_quarters_and_written(notebook, tmp_path):
    midi = song(TRIAD)
    roll = continued(notebook, midi, tmp_path)
    whole = to_piano_roll(midi)
    np.testing.assert_array_equal(roll[:64], whole[:64])
    assert not np.array_equal(roll[64:], whole[64:128])
    assert roll[64:].any()
    title, more = notebook["shown"][-1]
    assert title == "my song: 16 quarter notes given, 16 continued"
    assert more["position"][:13].tolist() == [*range(12), 0]
    assert more["seconds"] == pytest.approx(128 * 0.15)
    assert more["mark"] == 64
    fewer = continued(notebook, midi, tmp_path, quarters=2)
    np.testing.assert_array_equal(fewer[:8], whole[:8])
    assert not np.array_equal(fewer[8:64], whole[8:64])


@pytest.mark.parametrize(
    "metre", [[(3, 4, 0)], [(6, 8, 0)], [(1, 8, 0), (9, 8, 2)], [(1, 4, 0), (3, 2, 4)]]
)
def test_a_continued_file_names_the_metre_and_upbeat_of_its_beginning(notebook, tmp_path, metre):
    midi = song(TRIAD)
    midi.time_signature_changes = [pretty_midi.TimeSignature(a, b, t * 0.15) for a, b, t in metre]
    continued(notebook, midi, tmp_path)
    found = load_midi(notebook["paths"].generated / "continued" / "my song.mid")
    changes = [(c.numerator, c.denominator, c.time) for c in found.time_signature_changes]
    assert changes == [(a, b, pytest.approx(t * 0.15)) for a, b, t in metre]


def test_the_same_file_is_continued_in_the_same_way(notebook, tmp_path):
    one, two = (continued(notebook, song(TRIAD), tmp_path, name=n) for n in ("a", "b $ c $"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "notes",
    [
        [(60, 0, 1)],  # a sixteenth, far shorter than four quarters
        [(60, 0, 3), (67, 3, 5)],
        [(p, 0, 8) for p in range(50, 76, 2)],  # thirteen notes at once
        [(22, 0, 4), (60, 4, 8), (105, 8, 12)],  # outside the trained keys
    ],
)
def test_short_thick_and_wide_beginnings_are_continued(notebook, tmp_path, capsys, notes):
    roll = continued(notebook, song(notes), tmp_path)
    last = max(end for _, _, end in notes)
    assert roll[:last].any()
    assert roll[last:].any()
    assert "the model reads " in capsys.readouterr().out


@pytest.mark.parametrize("notes", [[], [(p, 0, 4) for p in (36, 42)]])
def test_what_has_no_pitched_note_is_refused_in_a_sentence(notebook, tmp_path, notes):
    save_midi(song(notes, drum=True), tmp_path / "beat.mid")
    with pytest.raises(ValueError, match=r"^beat\.mid: it has no pitched note that a piano"):
        notebook["continue_file"](tmp_path / "beat.mid")
    with pytest.raises(MidiFileError, match="cannot read .*nowhere"):
        notebook["continue_file"](tmp_path / "nowhere.mid")
    with pytest.raises(ValueError, match="quarters: got 0, allowed is 1 to 24"):
        continued(notebook, song(TRIAD), tmp_path, quarters=0)


def test_a_forced_code_of_a_key_is_obeyed_and_the_others_stay_drawn(cells, joint_keys):
    rng = np.random.default_rng(8)
    given = np.ones((2, 6, K + 3), "float32")
    given[..., :K], given[..., K] = rng.random((2, 6, K)), 0
    free = layers.RNN(cells["KeyComposer"](joint_keys), return_sequences=True)
    before = ops.convert_to_numpy(free(given)).astype(int)
    given[:, 0, 5], given[:, 1, 5] = -1.0 - 2, -1.0 - 1
    codes = ops.convert_to_numpy(free(given)).astype(int)
    assert (codes[:, :2, 5] == [2, 1]).all()
    np.testing.assert_array_equal(codes[:, 0, 6:], before[:, 0, 6:])
