"""WAV and MP3: exact to half a step, never clipped unasked, whole or not at all."""

import numpy as np
import pytest
import soundfile

from musiclib import audio_files
from musiclib.audio_files import write_mp3, write_wav

SR = 44_100
TONE = 0.5 * np.sin(2 * np.pi * 441 * np.arange(SR) / SR)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_wav_is_the_waveform_to_half_a_step(tmp_path, kind):
    x = np.random.default_rng(0).uniform(-0.999, 0.999, 5000).astype(kind)
    write_wav(x, tmp_path / "new" / "x.wav", sr=22_050)
    read, sr = soundfile.read(tmp_path / "new" / "x.wav")
    assert sr == 22_050
    assert soundfile.info(tmp_path / "new" / "x.wav").subtype == "PCM_16"
    assert np.abs(read - x).max() <= 0.5 / 32_768 + 1e-9


def test_wav_steps_by_hand(tmp_path):
    x = np.array([0.0, 1.0, -1.0, 0.5, 1 / 32_768, 0.4 / 32_768, -0.6 / 32_768])
    write_wav(x, tmp_path / "x.wav", sr=SR)
    read, _ = soundfile.read(tmp_path / "x.wav", dtype="int16")
    assert read.tolist() == [0, 32_767, -32_768, 16_384, 1, 0, -1]


def test_wav_of_two_channels_and_the_same_bytes_twice(tmp_path):
    x = np.stack([TONE, -TONE], axis=1)
    write_wav(x, tmp_path / "x.wav", sr=SR)
    write_wav(x, tmp_path / "y.wav", sr=SR)
    assert soundfile.info(tmp_path / "x.wav").channels == 2
    assert (tmp_path / "x.wav").read_bytes() == (tmp_path / "y.wav").read_bytes()


@pytest.mark.parametrize("write", [write_wav, write_mp3])
def test_above_full_scale_is_refused_or_cut_by_choice(tmp_path, write):
    x = 2.5 * TONE
    path = tmp_path / "x.audio"
    with pytest.raises(ValueError, match=r"x: \d+ of 44100 samples are above full scale, .* 1.250"):
        write(x, path, sr=SR)
    assert not list(tmp_path.iterdir())
    with pytest.warns(RuntimeWarning, match=r"above full scale, the highest 1.250: they are cut"):
        write(x, path, sr=SR, clip=True)
    assert np.abs(soundfile.read(path)[0]).max() <= 1.2


@pytest.mark.parametrize("write", [write_wav, write_mp3])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(0), r"x: an array of float64, shape \(0,\)"),
        (np.zeros(8, np.int16), "x: an array of int16"),
        (np.zeros((2, 2, 2)), "x: an array of float64, shape"),
        (np.zeros((10, 3)), r"x: an array of float64, shape \(10, 3\)"),
        (np.array([0.0, np.nan, -np.inf]), "x: 2 samples are NaN or infinite"),
    ],
)
def test_bad_waveforms_are_named(tmp_path, write, x, message):
    with pytest.raises(ValueError, match=message):
        write(x, tmp_path / "x.audio", sr=SR)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sr", [0, -1, 0.5, float("nan")])
def test_a_rate_that_is_none_is_named(tmp_path, sr):
    with pytest.raises(ValueError, match="sr: got .*, allowed is a whole number of samples"):
        write_wav(np.zeros(8), tmp_path / "x.wav", sr=sr)


def test_mp3_is_the_tone_and_small(tmp_path):
    write_mp3(TONE, tmp_path / "x.mp3", sr=SR)
    write_wav(TONE, tmp_path / "x.wav", sr=SR)
    read, sr = soundfile.read(tmp_path / "x.mp3")
    assert sr == SR
    assert abs(len(read) - SR) < 3000
    assert int(np.abs(np.fft.rfft(read[:SR], SR)).argmax()) == 441
    assert np.sqrt((read**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert (tmp_path / "x.mp3").stat().st_size < (tmp_path / "x.wav").stat().st_size / 4


def test_mp3_rates_and_old_libraries(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="sr: 96000; MP3 allows 8000, 11025"):
        write_mp3(TONE, tmp_path / "x.mp3", sr=96_000)
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": ""})
    with pytest.raises(RuntimeError, match=r"writes no MP3: install version 1.1 or later"):
        write_mp3(TONE, tmp_path / "x.mp3", sr=SR)


def test_a_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    write_wav(TONE, path, sr=SR)
    before = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match=r"x.wav.*disk is full"):
        write_wav(-TONE, path, sr=SR)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["x.wav"]


def test_full_scale_is_what_soundfile_reads():
    assert audio_files.FULL_SCALE_16 == 2**15
