"""What a model notebook leaves behind."""

from __future__ import annotations

import json

import folders
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib import encoding, generated, keys, load_midi, to_piano_roll
from musiclib.corpus import load_corpus, prepare_corpus
from musiclib.evaluation import read_generated
from musiclib.files import write_text
from musiclib.midi import save_midi
from musiclib.pianoroll import DENOMINATORS, to_midi
from musiclib.pieces import Piece, load_piece, piece_from_midi, store_piece
from musiclib.roll_notes import Bars


def roll_with(*notes, steps=128):
    roll = np.zeros((steps, 88, 2), np.uint8)
    for start, end, key in notes:
        roll[start, key, 0] = 1
        roll[start:end, key, 1] = 1
    return roll


def lively(seed):
    rng = np.random.default_rng(seed)
    return roll_with(
        *[(t, t + 4, int(k)) for t in range(0, 128, 4) for k in rng.integers(30, 60, 3)]
    )


def test_pieces_are_written_in_order_and_flaws_are_reported(tmp_path):
    rolls = [lively(0), roll_with(), roll_with((0, 128, 40))]
    table = generated.write_pieces(rolls, tmp_path)
    assert table["file"].tolist() == ["000.mid", "001.mid", "002.mid"]
    assert table["flaws"][0] == ""
    assert "no note" in table["flaws"][1]
    assert "stuck" in table["flaws"][2]
    back = to_piano_roll(load_midi(tmp_path / "000.mid"), length=128)
    np.testing.assert_array_equal(back, rolls[0])


def test_an_earlier_runs_pieces_are_removed_or_kept(tmp_path):
    generated.write_pieces([lively(0), lively(1)], tmp_path)
    generated.write_pieces([lively(2)], tmp_path, keep=True)
    assert len(list(tmp_path.glob("*.mid"))) == 2
    (tmp_path / "1000.mid").touch()
    (tmp_path / "mine.mid").touch()
    generated.write_pieces([lively(2)], tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.mid")) == ["000.mid", "mine.mid"]


def test_real_rolls_begin_with_the_first_bar_that_sounds():
    roll = np.concatenate([np.zeros((256, 88, 2), np.uint8), lively(0), lively(1)])
    position = (np.arange(len(roll)) % 16).astype(np.uint8)
    none = np.zeros((len(roll), 0), np.int16)
    pieces = [Piece("a", roll[:n], none[:n], position[:n], 16, 0, 80.0) for n in (512, 384, 383)]
    assert [r.tolist() for r in generated.real_rolls(pieces)] == [lively(0).tolist()] * 2


METRES = [
    (4, 4, 16), (3, 4, 12), (6, 8, 12), (2, 4, 8), (5, 4, 20), (7, 8, 14), (9, 8, 18),
    (12, 8, 24), (3, 8, 6), (2, 2, 16), (3, 2, 24), (4, 2, 32), (5, 16, 5), (1, 1, 16),
]  # fmt: skip


@pytest.mark.parametrize(("numerator", "denominator", "bar"), METRES)
def test_a_file_says_metre_and_upbeat_of_its_piece(tmp_path, numerator, denominator, bar):
    assert 16 * numerator / denominator == bar
    upbeats = range(bar)
    bars = [Bars(bar, upbeat, denominator) for upbeat in upbeats]
    generated.write_pieces([lively(0)] * bar, tmp_path, bars=bars)
    for upbeat in upbeats:
        midi = load_midi(tmp_path / f"{upbeat:03d}.mid")
        back, _ = piece_from_midi(midi, name="back")
        assert back.bar == bar
        np.testing.assert_array_equal(back.position, (np.arange(128) - upbeat) % bar)
        np.testing.assert_array_equal(back.roll, lively(0))
        assert generated.real_bars([back]) == [Bars(bar, upbeat, denominator)]
        assert len(midi.time_signature_changes) == 1 + bool(upbeat)
        *first, change = midi.time_signature_changes
        assert (change.numerator, change.denominator) == (numerator, denominator)
        assert [16 * short.numerator / short.denominator for short in first] == (
            [upbeat] if upbeat else []
        )


def source(numerator, denominator, upbeat):
    """Return a MIDI piece in a metre, its upbeat a bar of sixteenths."""
    midi = to_midi(lively(1))
    signatures = [(upbeat, 16, 0), (numerator, denominator, upbeat)] if upbeat else []
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(over, under, step * 15 / 80)
        for over, under, step in signatures or [(numerator, denominator, 0)]
    ]
    return midi


def followed(midi, folder):
    """Return the bars of a piece, and of the files that pieces like it are written to."""
    save_midi(midi, folder / "source.mid")
    piece, _ = piece_from_midi(load_midi(folder / "source.mid"), name="source")
    piece = load_piece(folder / f"{store_piece(piece, folder)}.npz")
    key_codec = keys.fit_keys([piece.roll], shifts=[piece.shift], bars=[piece.bar])
    example = key_codec.encode(piece)
    examples = encoding.fit_codec([piece]).encode(piece), example, keys.lead_in(example)
    bars = [encoding.bars_of(each) for each in (*examples, keys.excerpt(example, 0, 64))]
    generated.write_pieces([lively(0)] * len(bars), folder / "vae" / "0", bars=bars)
    return {*bars, *(sample.bars for sample in read_generated(folder, models=["vae"]))}


SIGNATURES = [(6, 8), (9, 8), (12, 8), (2, 2), (3, 2), (3, 4), (4, 4), (7, 8)]


@pytest.mark.parametrize("upbeat", [0, 1, 2, 4])
@pytest.mark.parametrize(("numerator", "denominator"), SIGNATURES)
def test_a_generated_file_names_the_metre_of_the_piece_it_follows(
    tmp_path, numerator, denominator, upbeat
):
    wanted = Bars(16 * numerator // denominator, upbeat, denominator)
    assert followed(source(numerator, denominator, upbeat), tmp_path) == {wanted}


@st.composite
def bars_and_signatures(draw):
    """Draw a signature whose bar is 1 to 64 whole steps, and an upbeat shorter than that."""
    denominator = draw(st.sampled_from(DENOMINATORS))
    unit = max(denominator // 16, 1)  # so many make a step
    numerator = unit * draw(st.integers(1, min(4 * denominator, 255) // unit))
    bar = 16 * numerator // denominator
    return numerator, Bars(bar, draw(st.integers(0, bar - 1)), denominator)


@settings(max_examples=40, deadline=None)
@given(bars_and_signatures())
def test_any_metre_goes_through_file_piece_and_example(tmp_path_factory, drawn):
    numerator, bars = drawn
    midi = source(numerator, bars.denominator, bars.upbeat)
    assert followed(midi, tmp_path_factory.mktemp("metre")) == {bars}


def test_of_the_metres_of_a_file_the_one_with_most_steps_is_named(tmp_path):
    midi = source(3, 4, 0)
    for change, denominator in ((60, 4), (48, 8)):
        midi.time_signature_changes[1:] = [pretty_midi.TimeSignature(6, 8, change * 15 / 80)]
        midi.time_signature_changes += [pretty_midi.TimeSignature(2, 4, 120 * 15 / 80)]
        assert followed(midi, tmp_path / str(denominator)) == {Bars(12, 0, denominator)}


def test_waltzes_and_jigs_in_one_folder_keep_their_own(tmp_path):
    folders.waltzes(tmp_path / "music")
    prepare_corpus(tmp_path / "music", tmp_path / "prepared")
    pieces = load_corpus(tmp_path / "prepared")
    assert generated.real_bars(pieces) == [Bars(12, 0, 4)] * 8 + [Bars(12, 0, 8)] * 4
    assert encoding.commonest_bars(pieces) == Bars(12)
    assert encoding.commonest_bars(pieces[6:]) == Bars(12, 0, 8)


def test_a_waltz_says_three_four_and_no_bars_say_four_four(tmp_path):
    generated.write_pieces([lively(0)], tmp_path, bars=[Bars(12)])
    signature = load_midi(tmp_path / "000.mid").time_signature_changes[0]
    assert (signature.numerator, signature.denominator) == (3, 4)
    generated.write_pieces([lively(0)], tmp_path)
    signature = load_midi(tmp_path / "000.mid").time_signature_changes[0]
    assert (signature.numerator, signature.denominator) == (4, 4)


def test_flaws_are_counted_in_the_pieces_own_bars(tmp_path):
    roll = lively(0)
    roll[4:16] = 0
    for bars, flaw in ((Bars(12, 4), "empty bars: 1 of 10 hold no note"), (Bars(), "")):
        assert generated.write_pieces([roll], tmp_path, bars=[bars])["flaws"][0] == flaw


def test_bars_of_other_pieces_are_refused_before_anything_is_removed(tmp_path):
    generated.write_pieces([lively(0)], tmp_path)
    with pytest.raises(ValueError, match="bars: got those of 1 pieces for 2 rolls"):
        generated.write_pieces([lively(0), lively(1)], tmp_path, bars=[Bars()])
    assert (tmp_path / "000.mid").exists()


def test_inside_real_counts_measure_by_measure_and_all_at_once():
    real = [lively(s) for s in range(30)]
    table = generated.inside_real([real[3], roll_with((0, 128, 5)), roll_with()], real)
    assert table.loc[0, "polyphony"]
    assert not table.loc[1, "polyphony"]
    assert not table.loc[1, "all"]
    assert not table.loc[2, "all"]
    assert table["all"].equals(table.drop(columns="all").all(axis=1))


def test_a_card_names_its_weights_and_a_mismatch_says_what_differs(tmp_path):
    weights = tmp_path / "lstm.weights.h5"
    write_text("not really weights", weights)
    path = generated.write_card(weights, {"settings": {"units": 8}})
    assert path.name == "lstm.json"
    assert generated.check_card(weights, {"settings": {"units": 8}})["settings"] == {"units": 8}
    with pytest.raises(ValueError, match=r"settings \{'units': 8\}, this notebook needs"):
        generated.check_card(weights, {"settings": {"units": 9}})
    write_text("changed", weights)
    with pytest.raises(ValueError, match="SHA-256 differs"):
        generated.check_card(weights, {})
    assert json.loads(path.read_text())["sha256"]
    with pytest.raises(FileNotFoundError, match="is missing"):
        generated.check_card(tmp_path / "gan.weights.h5", {})


CODEC = {"lowest": 10, "n_keys": 54, "n_voices": 4}


def trained(folder, **changed):
    weights = folder / "lstm.weights.h5"
    write_text("weights", weights)
    card = {"corpus": "midi", "codec": CODEC, "settings": {"units": 192, "hidden": 64, "layers": 2}}
    generated.write_card(weights, card | changed)
    return weights


def sizes(weights, *, corpus="~/midi", seed=0, codec=CODEC):
    return generated.trained_sizes(
        weights, "units", "hidden", corpus=corpus, seed=seed, codec=codec
    )


def test_sizes_come_from_the_weights_card(tmp_path):
    assert sizes(trained(tmp_path)) == {"units": 192, "hidden": 64}


def test_where_no_weights_are_one_sentence_says_what_trains_them(tmp_path):
    missing = tmp_path / "lstm_3.weights.h5"
    command = r'no weights of midi, seed 3; train them with: make study CORPUS="~/midi" SEED=3, or'
    with pytest.raises(FileNotFoundError, match=command):
        sizes(missing, seed=3)
    with pytest.raises(
        FileNotFoundError, match=r"weights of chorales, .* with: make study, or let"
    ):
        sizes(missing, corpus="chorales")
    with pytest.raises(ValueError, match=r"are weights of chorales, not of midi; train them with"):
        sizes(trained(tmp_path, corpus="chorales"))
    with pytest.raises(ValueError, match=r"trained with codec .*'n_keys': 54.*this notebook needs"):
        sizes(trained(tmp_path), codec=CODEC | {"n_keys": 30})


@pytest.mark.parametrize("units", [None, 0, -1, 2.5, "192", True, 10**9])
def test_a_size_that_cannot_be_is_refused(tmp_path, units):
    weights = trained(tmp_path, settings={"units": units, "hidden": 64})
    with pytest.raises(ValueError, match=r"lstm\.json: units is .*, allowed is 1 to 4,096; train"):
        sizes(weights)
    with pytest.raises(ValueError, match=r"units is None"):
        sizes(trained(tmp_path, settings=None))


class Killed(Exception):
    """Stands for what ends a run between weights and card."""


def test_weights_never_stand_beside_the_card_of_others(tmp_path, monkeypatch):
    model, weights = Model(), tmp_path / "vae.weights.h5"
    generated.save_weights(model, weights, {"units": 8})

    def kill(*_):
        raise Killed

    monkeypatch.setattr(generated, "write_card", kill)
    with pytest.raises(Killed):
        generated.save_weights(model, weights, {"units": 9})
    with pytest.raises(FileNotFoundError, match=r"vae\.json is missing"):
        generated.check_card(weights, {})


def test_a_corpus_has_a_safe_short_name():
    assert generated.corpus_name("chorales") == "chorales"
    assert generated.corpus_name("/some/where/My Songs (2)") == "my_songs_2"
    assert generated.corpus_name("/some/where/chorales") == "chorales_folder"
    assert generated.corpus_name("/") == "corpus"


class Model:
    """What `save_weights` asks of a model: it writes down whether it still has its optimizer."""

    optimizer = "adam"

    def save_weights(self, path):
        write_text(f"optimizer: {self.optimizer}", path)

    def load_weights(self, path):
        self.loaded = path.read_text(), self.optimizer


def test_weights_are_kept_without_their_optimizer_and_loaded_if_the_card_fits(tmp_path):
    model, weights = Model(), tmp_path / "new" / "vae.weights.h5"
    assert generated.save_weights(model, weights, {"units": 8}).name == "vae.json"
    assert generated.load_weights(model, weights, {"units": 8})["units"] == 8
    assert model.loaded == ("optimizer: None", None)
    assert model.optimizer == "adam"
    del model.loaded
    with pytest.raises(ValueError, match="trained with units 8, this notebook needs 9"):
        generated.load_weights(model, weights, {"units": 9})
    assert not hasattr(model, "loaded")
