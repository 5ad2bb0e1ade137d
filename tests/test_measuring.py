"""Measuring many pieces: what a row holds, what is kept of it, recordings."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from musiclib import audio_metrics, measuring, music_metrics, recordings
from musiclib.audio_files import write_wav
from musiclib.evaluation import MODELS, Sample, read_generated
from musiclib.generated import inside_real
from musiclib.kept import Kept, made_with
from musiclib.originality import TrainingIndex
from musiclib.ranges import inside_range
from musiclib.roll_notes import COMMON_BARS, Bars

SR = measuring.SR


def triads(shift=0, steps=16):
    roll = np.zeros((steps, 88, 2), np.uint8)
    for start in range(0, steps, 2):
        keys = 39 + shift + np.array([0, 4, 7]) + start // 2
        roll[start : start + 2, keys, 1] = 1
        roll[start, keys, 0] = 1
    return roll


SAMPLES = [
    Sample("vae", 0, 0, "a.mid", triads()),
    Sample("real", -1, 0, "b", triads(20)),
    Sample("training", 0, 0, "c", triads(20)),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "measures.csv"


@pytest.fixture(scope="module")
def table(kept):
    index = TrainingIndex([triads(20)])
    return measuring.sample_table(SAMPLES, index=index, kept=kept, workers=1)


def test_a_rendering_lasts_as_long_as_its_roll_and_grows_with_velocity():
    roll = triads()
    roll[8:] = 0
    x = measuring.render(roll)
    assert x.size == round((16 / 4 * 60 / 80 + 1) * SR)
    assert audio_metrics.energy(measuring.render(roll, velocity=40)) < audio_metrics.energy(x) / 2


def test_a_row_is_what_the_functions_say(table):
    row = table.iloc[0]
    assert row[["model", "seed", "sample", "file"]].tolist() == ["vae", 0, 0, "a.mid"]
    assert row["polyphony"] == music_metrics.polyphony(triads()) == 3.0
    assert row["energy"] == audio_metrics.energy(measuring.render(triads()))
    expected = {*music_metrics.MEASURES, *audio_metrics.AUDIO_UNITS, *measuring.PROBLEMS}
    assert expected <= set(table.columns)


def test_a_piece_is_measured_in_its_own_bars():
    samples = [
        Sample(model, 0, 0, "", triads(), bars)
        for model in ("vae", "training")
        for bars in (Bars(), Bars(4), Bars(4, 2))
    ]
    found = measuring.sample_table(samples, workers=1)
    for row, sample in zip(found.to_dict("records"), samples, strict=True):
        own = music_metrics.measures(triads(), **sample.bars.for_measures())
        assert {name: row[name] for name in own} == pytest.approx(own, nan_ok=True)
    assert found["repetition_1"].isna().tolist() == [True, False, False] * 2


def test_released_pieces_measure_as_their_table_says():
    """They say 4/4, so nothing about them may change."""
    root = Path(__file__).resolve().parent.parent / "data"
    known = pd.read_csv(root / "results" / "samples.csv").set_index("file")
    names = list(music_metrics.MEASURES)
    for model in MODELS:
        for piece in read_generated(root / "generated", models=[model], seeds=[0])[:4]:
            assert piece.bars == (16, 0, 4)
            own = music_metrics.measures(piece.roll, **piece.bars.for_measures())
            wanted = known.loc[piece.file, names].to_numpy(float)
            np.testing.assert_allclose([own[n] for n in names], wanted, rtol=0, atol=1e-12)


def test_copies_are_found_up_to_transposition(table):
    vae, real, training = (row for _, row in table.iterrows())
    assert (vae["exact_8"], vae["transposed_8"]) == (0, vae["windows_8"])
    assert real["exact_16"] == real["windows_16"] == 1
    assert real["longest_exact"] == 16
    assert math.isnan(training["windows_8"])


def test_training_pieces_are_not_rendered(table):
    row = table[table["model"] == "training"].iloc[0]
    assert row[list(audio_metrics.AUDIO_UNITS)].isna().all()
    assert row["polyphony"] == 3.0


def never(*_):
    raise AssertionError("measured again")


def test_the_kept_measures_are_used_and_give_the_same_table(table, kept, monkeypatch):
    assert len(Kept(kept).rows) == 2
    monkeypatch.setattr(measuring, "measure_roll", never)
    index = TrainingIndex([triads(20)])
    again = measuring.sample_table(SAMPLES, index=index, kept=kept, workers=1)
    pd.testing.assert_frame_equal(again, table)


def test_released_measures_are_read_whatever_code_made_them(table, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "made_by", lambda: "other code")
    monkeypatch.setattr(measuring, "measure_roll", never)
    index = TrainingIndex([triads(20)])
    with pytest.raises(AssertionError, match="measured again"):
        measuring.sample_table(SAMPLES, index=index, kept=kept, workers=1)
    again = measuring.sample_table(SAMPLES, index=index, kept=tmp_path / "m.csv", released=kept)
    pd.testing.assert_frame_equal(again, table)
    assert not list(tmp_path.iterdir())  # nothing was measured, so nothing is written


def fake(item):
    return {"value": float(item), "level": -math.inf, "ratio": math.nan}


def test_equal_items_are_measured_once_and_known_ones_never(tmp_path):
    kept = tmp_path / "m.csv"
    first = measuring.measured(fake, [1, 2, 1], key=str, kept=kept, workers=1)
    assert [row["value"] for row in first] == [1, 2, 1]
    assert set(Kept(kept).rows) == {"1", "2"}
    second = measuring.measured(never, [2, 1], key=str, kept=kept, workers=1)
    assert [row["value"] for row in second] == [2, 1]
    assert second[0]["level"] == -math.inf
    assert math.isnan(second[0]["ratio"])


def test_the_key_changes_with_notes_and_bars():
    longer = np.concatenate([triads(), np.zeros((1, 88, 2), np.uint8)])
    items = [(triads(), COMMON_BARS), (triads(1), COMMON_BARS), (longer, COMMON_BARS)]
    items += [(triads(), bars) for bars in (Bars(12), Bars(12, 4), Bars(4, 12))]
    assert len({measuring._item_key(item) for item in items}) == 6
    assert measuring._item_key((triads(), Bars(12, 4, 8))) == measuring._item_key(items[4])


def test_released_measures_are_found_under_their_keys():
    """No measure depends on the signature, so it is no part of the key."""
    root = Path(__file__).resolve().parent.parent / "data"
    known = set(pd.read_csv(root / "results" / "measures.csv", usecols=["item"])["item"])
    for model in MODELS:
        for piece in read_generated(root / "generated", models=[model], seeds=[0])[:4]:
            for bars in (piece.bars, piece.bars._replace(denominator=8)):
                assert measuring._item_key((piece.roll, bars)) in known


def test_the_versions_behind_a_measurement_are_told(kept, table):
    assert made_with(kept) == measuring.versions()
    assert {"Python", "numpy", "FluidSynth"} <= measuring.versions().keys()


def test_problems_are_named():
    stuck = np.zeros((64, 88, 2), np.uint8)
    stuck[:40, 40, 1] = 1
    stuck[0, 40, 0] = 1
    assert measuring.problems(stuck) == {"no_note": 0.0, "stuck": 1.0, "empty_bars_found": 1.0}
    silent = np.zeros((64, 88, 2), np.uint8)
    assert measuring.problems(silent) == {"no_note": 1.0, "stuck": 0.0, "empty_bars_found": 0.0}
    row = measuring.measure_roll(silent[:16])
    assert row["energy"] == 0
    assert row["rms_dbfs"] == -math.inf
    assert math.isnan(row["polyphony"])


def test_no_piece_is_refused():
    with pytest.raises(ValueError, match="samples must hold at least one piece"):
        measuring.sample_table([])


def test_the_range_agrees_with_the_model_notebooks():
    rng = np.random.default_rng(0)
    rolls = [
        triads(int(rng.integers(-9, 9)), steps=int(16 * rng.integers(1, 5))) for _ in range(30)
    ]
    real, ours = rolls[:20], rolls[20:]
    rows = [
        {"model": "real" if i < 20 else "vae", **music_metrics.measures(r)}
        for i, r in enumerate(rolls)
    ]
    inside = inside_range(pd.DataFrame(rows)).iloc[20:].all(axis=1).tolist()
    assert inside == inside_real(ours, real)["all"].tolist()


@pytest.mark.long
def test_processes_give_the_same_as_none():
    samples = [Sample("vae", 0, i, "", triads(i)) for i in range(24)]
    one, two = (measuring.sample_table(samples, workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_recordings_are_read_as_one_channel_at_one_rate(tmp_path):
    t = np.arange(int(2.5 * 22_050)) / 22_050
    sine = 0.5 * np.sin(2 * np.pi * 441 * t)
    write_wav(np.stack([sine, np.zeros_like(sine)], axis=1), tmp_path / "a.wav", sr=22_050)
    x = recordings.read_recording(tmp_path / "a.wav", seconds=2)
    assert x.shape == (2 * SR,)
    assert audio_metrics.rms(x) == pytest.approx(0.25 / math.sqrt(2), rel=0.01)


def test_recordings_that_do_not_serve_are_skipped_with_a_reason(tmp_path):
    write_wav(np.full(3 * SR, 0.25), tmp_path / "long.wav", sr=SR)
    write_wav(np.full(SR, 0.25), tmp_path / "short.wav", sr=SR)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    (tmp_path / "._long.wav").write_bytes(b"what macOS writes beside a file, no recording")
    with (
        pytest.warns(UserWarning, match="short.wav lasts 1.0 s, under 2 s"),
        pytest.warns(UserWarning, match="broken.wav cannot be read as audio"),
    ):
        table = recordings.recorded_table(tmp_path, seconds=2, workers=1)
    assert table[["model", "file"]].values.tolist() == [["audio", "long.wav"]]
    assert table["energy"].item() == pytest.approx(2 * SR * 0.25**2)
    assert table["mean"].item() == pytest.approx(0.25)


def test_no_recording_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist or is no folder"):
        recordings.recorded_table(tmp_path / "nowhere", seconds=2)
    with pytest.raises(FileNotFoundError, match="holds no audio file of 2 s or more"):
        recordings.recorded_table(tmp_path, seconds=2)


def test_many_recordings_are_taken_evenly():
    assert recordings._evenly(list(range(10)), 4) == [0, 2, 5, 7]
    assert recordings._evenly(list(range(3)), 4) == [0, 1, 2]
