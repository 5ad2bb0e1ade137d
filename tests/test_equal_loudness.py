"""Loudness of clips: closed forms, the common target, and that nothing ever clips."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile

from musiclib import equal_loudness
from musiclib.audio_levels import loudness, peak

SR = 44_100


def tone(level, *, hertz=997.0, seconds=1.0):
    """Return a sine of an amplitude."""
    return level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SR)) / SR)


def test_a_full_scale_sine_gets_the_gain_by_hand():
    # A sine of 997 Hz at full scale has -3.01 LUFS, so -23 LUFS are 19.99 dB below.
    waves, table = equal_loudness.match_loudness({"a": tone(1.0), "b": tone(0.1)}, sr=SR)
    assert table["gain_db"].tolist() == pytest.approx(
        [-19.99, 0.01], abs=0.1
    )  # the standard: within 0.1
    assert waves["a"] == pytest.approx(waves["b"], abs=1e-4)
    assert waves["a"].dtype == np.float32


def test_clips_end_up_equally_loud():
    rng = np.random.default_rng(0)
    waves = {str(k): tone(0.02 * 3**k, hertz=200 * 2**k) for k in range(4)}
    waves["noise"] = rng.normal(0, 0.05, SR)
    made, table = equal_loudness.match_loudness(waves, sr=SR)
    levels = [loudness(x, sr=SR) for x in made.values()]
    assert levels == pytest.approx([-23.0] * 5, abs=0.01)
    assert table["matched"].tolist() == pytest.approx(levels, abs=0.01)
    assert not table["silent"].any()


def test_a_clip_of_peaks_lowers_the_target_of_all():
    spiky = tone(0.01)
    spiky[::4410] = 0.9
    made, table = equal_loudness.match_loudness({"spiky": spiky, "tone": tone(0.5)}, sr=SR)
    assert table["matched"].nunique() == 1 or np.ptp(table["matched"]) < 1e-9
    assert table["matched"][0] < -23
    assert table["true_peak"].max() == pytest.approx(-1.0)
    assert max(peak(x) for x in made.values()) <= 10 ** (-1 / 20) + 1e-6


def test_true_peak_finds_what_lies_between_the_samples():
    # A sine at a quarter of the rate, sampled 45 degrees off its peaks: samples of 0.707 only.
    x = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4)
    assert peak(x) == pytest.approx(math.sqrt(0.5))
    assert equal_loudness.true_peak_dbtp(x) == pytest.approx(0.0, abs=0.2)
    assert equal_loudness.true_peak_dbtp(np.zeros(100)) == -math.inf


def test_silence_stays_in_and_is_told():
    waves = {"silence": np.zeros(SR), "tone": tone(0.5)}
    made, table = equal_loudness.match_loudness(waves, sr=SR)
    assert table["silent"].tolist() == [True, False]
    assert table.loc[0, ["loudness", "gain_db", "matched"]].tolist() == [-math.inf, 0.0, -math.inf]
    assert not made["silence"].any()
    assert loudness(made["tone"], sr=SR) == pytest.approx(-23, abs=0.01)


@pytest.mark.parametrize(
    ("waves", "phrase"),
    [
        ({}, "no clips"),
        ({"a": np.zeros(SR), "b": np.zeros(SR + 1)}, r"lengths \[44100, 44101\] in samples"),
        ({"a": np.zeros(100)}, "a is shorter than 0.4 s"),
    ],
)
def test_clips_that_cannot_be_matched(waves, phrase):
    with pytest.raises(ValueError, match=phrase):
        equal_loudness.match_loudness(waves, sr=SR)


def test_a_ceiling_above_full_scale_is_refused():
    with pytest.raises(ValueError, match="ceiling: got 1 dBTP, allowed is 0 at most"):
        equal_loudness.match_loudness({"a": tone(0.5)}, sr=SR, ceiling=1)


def test_files_are_named_by_code_and_do_not_clip(tmp_path):
    (tmp_path / "old.mp3").write_bytes(b"")
    made, _ = equal_loudness.match_loudness({"0a": tone(0.9), "1b": tone(0.2)}, sr=SR)
    files = equal_loudness.write_clips(made, tmp_path, sr=SR)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert [file.name for file in files] == ["0a.mp3", "1b.mp3"]
    for file in files:
        x, rate = soundfile.read(file)
        assert rate == SR
        assert np.abs(x).max() < 1
        assert loudness(x, sr=rate) == pytest.approx(-23, abs=0.5)
