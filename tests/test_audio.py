"""Waveforms: measures by closed forms and second routes; files exact, whole and never clipped."""

from __future__ import annotations

import io
import math

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from musiclib import audio
from musiclib.audio import N_FFT, encode_mp3, loudness, peak, spectral_measures, write_wav

SR = 44_100
SECOND = np.arange(SR) / SR


def sine(frequency=441.0, *, amplitude=1.0, seconds=1.0, sr=SR):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sr)) / sr)


def square(*, periods=441, half=50):
    return np.tile(np.repeat([1.0, -1.0], half), periods)


WITH_SR = [loudness, spectral_measures, audio.spectral_flatness, audio.high_band_db]
WITH_SR += [audio.audio_measures, encode_mp3]
WITHOUT_SR = [audio.energy, audio.mean, audio.power, audio.rms, peak, audio.rms_dbfs]
WITHOUT_SR += [audio.peak_dbfs, audio.true_peak_dbtp, audio.crest_factor, audio.noise_floor_db]

waveforms = arrays(
    np.float64, st.integers(1, 200), elements=st.floats(-1, 1, allow_subnormal=False, width=32)
)


def test_of_a_constant():
    x = np.full(1000, -0.25)
    assert audio.energy(x) == pytest.approx(62.5, rel=1e-12)
    assert audio.mean(x) == -0.25
    assert audio.power(x) == pytest.approx(0.0625, rel=1e-12)
    assert audio.rms(x) == audio.peak(x) == 0.25
    assert audio.crest_factor(x) == 1
    assert audio.peak_dbfs(x) == pytest.approx(-12.0412, abs=1e-4)
    assert audio.noise_floor_db(x) == pytest.approx(0, abs=1e-9)


def test_of_a_full_scale_sine():
    x = sine()
    assert audio.energy(x) == pytest.approx(SR / 2)
    assert audio.mean(x) == pytest.approx(0, abs=1e-12)
    assert audio.rms(x) == pytest.approx(math.sqrt(0.5))
    assert audio.rms_dbfs(x) == pytest.approx(0, abs=1e-9)
    assert audio.rms_dbfs(x, convention="square") == pytest.approx(-3.0103, abs=1e-4)
    assert audio.peak_dbfs(x) == pytest.approx(0, abs=1e-9)
    assert audio.crest_factor(x) == pytest.approx(math.sqrt(2))


def test_of_a_full_scale_square():
    x = square()
    assert audio.energy(x) == audio.rms(x) * x.size == x.size
    assert audio.mean(x) == 0
    assert audio.rms_dbfs(x, convention="aes17") == pytest.approx(3.0103, abs=1e-4)
    assert audio.rms_dbfs(x, convention="square") == 0
    assert audio.crest_factor(x) == 1


def test_of_silence():
    measures = audio.audio_measures(np.zeros(SR), sr=SR)
    zero = {"energy", "mean", "power", "onset_density"}
    endless = {"rms_dbfs", "peak_dbfs", "loudness_lufs", "dc_offset_dbfs"}
    for name, value in measures.items():
        if name in zero:
            assert value == 0, name
        elif name in endless:
            assert value == -math.inf, name
        else:
            assert math.isnan(value), name
    assert math.isnan(audio.crest_factor(np.zeros(1)))


def test_of_one_sample():
    measures = audio.audio_measures([-0.5], sr=SR)
    assert measures["energy"] == 0.25
    assert measures["mean"] == -0.5
    assert measures["crest_factor_db"] == 0
    assert math.isnan(measures["loudness_lufs"])


def test_above_full_scale_is_measured_as_it_is():
    assert audio.peak_dbfs([0.5, -2.0]) == pytest.approx(6.0206, abs=1e-4)


@settings(max_examples=60)
@given(waveforms)
def test_energy_by_parseval_and_by_the_norm(x):
    spectrum = np.fft.fft(x)
    assert audio.energy(x) == pytest.approx(float((np.abs(spectrum) ** 2).sum() / x.size), abs=1e-9)
    assert audio.energy(x) == pytest.approx(float(np.linalg.norm(x)) ** 2, rel=1e-9, abs=1e-300)
    assert audio.mean(x) == pytest.approx(spectrum[0].real / x.size, abs=1e-12)


@settings(max_examples=60)
@given(waveforms, waveforms, st.floats(0.1, 8))
def test_scaling_and_joining(x, y, factor):
    both = np.concatenate([x, y])
    assert audio.energy(both) == pytest.approx(audio.energy(x) + audio.energy(y), abs=1e-12)
    assert audio.energy(factor * x) == pytest.approx(
        factor**2 * audio.energy(x), rel=1e-9, abs=1e-300
    )
    total = audio.mean(x) * x.size + audio.mean(y) * y.size
    assert audio.mean(both) == pytest.approx(total / both.size, abs=1e-12)
    assert abs(audio.mean(x)) <= audio.rms(x) * (1 + 1e-9) + 1e-150
    assert audio.rms(x) <= audio.peak(x) * (1 + 1e-9)


def test_float32_is_summed_in_float64():
    x = np.full(2_000_000, 0.1, np.float32)
    assert audio.energy(x) == pytest.approx(2e6 * float(np.float32(0.1)) ** 2, rel=1e-12)
    assert audio.mean(x) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_to_dbfs_by_hand():
    assert audio.to_dbfs(0.1, convention="square") == pytest.approx(-20)
    assert audio.to_dbfs(math.sqrt(0.5), convention="aes17") == pytest.approx(0, abs=1e-12)
    assert audio.to_dbfs(0, convention="aes17") == -math.inf
    with pytest.raises(ValueError, match="convention: 'dBu'; allowed: 'aes17' and 'square'"):
        audio.to_dbfs(1.0, convention="dBu")
    with pytest.raises(ValueError, match="amplitude: -1"):
        audio.to_dbfs(-1, convention="square")
    with pytest.raises(ValueError, match="amplitude: nan"):
        audio.to_dbfs(math.nan, convention="square")


def test_loudness_of_the_standards_sine():
    x = sine(997, seconds=5)
    assert audio.loudness(x, sr=SR) == pytest.approx(-3.01, abs=0.05)
    assert audio.loudness(0.1 * x, sr=SR) == pytest.approx(-23.01, abs=0.05)
    assert audio.loudness(x, sr=48_000) == pytest.approx(-3.0, abs=0.2)


def test_loudness_gates_silence_but_rms_does_not():
    x = sine(997, seconds=4)
    padded = np.concatenate([x, np.zeros(4 * SR)])
    assert audio.loudness(padded, sr=SR) == pytest.approx(audio.loudness(x, sr=SR), abs=0.3)
    assert audio.rms_dbfs(padded) == pytest.approx(audio.rms_dbfs(x) - 3.01, abs=0.01)


def test_loudness_of_what_is_too_short_or_too_soft():
    assert math.isnan(audio.loudness(sine(seconds=0.39), sr=SR))
    assert math.isfinite(audio.loudness(sine(seconds=0.4), sr=SR))
    assert audio.loudness(1e-5 * sine(), sr=SR) == -math.inf


def centroid(x):
    return spectral_measures(x, sr=SR)[0]


def onset_density(x):
    return spectral_measures(x, sr=SR)[2]


def test_centroid_of_tones():
    low, high = sine(1000, seconds=2), sine(3000, seconds=2)
    assert centroid(low) == pytest.approx(1000, rel=0.02)
    assert centroid(low + high) == pytest.approx(2000, rel=0.02)
    assert centroid(1e-4 * high) == pytest.approx(3000, rel=0.02)


def test_centroid_by_hand_and_without_silent_frames():
    x = sine(1000, seconds=1)
    frame = np.abs(np.fft.rfft(x[:N_FFT] * scipy.signal.get_window("hann", N_FFT)))
    by_hand = float((frame * np.fft.rfftfreq(N_FFT, 1 / SR)).sum() / frame.sum())
    assert centroid(x) == pytest.approx(by_hand, rel=0.02)
    assert centroid(np.concatenate([x, np.zeros(3 * SR)])) == pytest.approx(1000, rel=0.03)


def test_flatness_of_noise_impulse_and_tone():
    noise = np.random.default_rng(0).standard_normal(10 * SR)
    assert audio.spectral_flatness(0.1 * noise, sr=SR) == pytest.approx(
        math.exp(-np.euler_gamma), 0.02
    )
    impulse = np.zeros(8 * N_FFT)
    impulse[4 * N_FFT] = 1
    assert audio.spectral_flatness(impulse, sr=SR) == pytest.approx(1, abs=1e-4)
    assert audio.spectral_flatness(sine(1000), sr=SR) < 0.001


def test_flatness_does_not_depend_on_level():
    noise = sine(1000) + 0.01 * np.random.default_rng(1).standard_normal(SR)
    soft = audio.spectral_flatness(1e-3 * noise, sr=SR)
    assert soft == pytest.approx(audio.spectral_flatness(noise, sr=SR), rel=1e-3)


def clicks(*, seconds=5, per_second=2):
    x = np.zeros(seconds * SR)
    burst = sine(2000, seconds=0.05) * np.exp(-np.linspace(0, 8, round(0.05 * SR)))
    for start in range(SR // 4, x.size - burst.size, SR // per_second):
        x[start : start + burst.size] += burst
    return x


def test_onset_density_of_clicks():
    assert onset_density(clicks()) == pytest.approx(2.0, abs=0.21)
    assert onset_density(1e-3 * clicks()) == onset_density(clicks())
    half = np.concatenate([clicks(), np.zeros(5 * SR)])
    assert onset_density(half) == pytest.approx(1.0, abs=0.11)


def test_onset_density_is_librosas():
    noise = 0.01 * np.random.default_rng(2).standard_normal(5 * SR)
    x = clicks(per_second=4) + noise
    detected = librosa.onset.onset_detect(y=(x / np.abs(x).max()).astype(np.float32), sr=SR)
    assert onset_density(x) == len(detected) / 5
    assert len(detected) >= 15


def test_high_band_of_noise_and_tones():
    noise = np.random.default_rng(3).standard_normal(4 * SR)
    expected = 10 * math.log10(1 - 16_000 / SR)
    assert audio.high_band_db(noise, sr=SR) == pytest.approx(expected, abs=0.1)
    assert audio.high_band_db(sine(10_000), sr=SR) == pytest.approx(0, abs=1e-6)
    assert audio.high_band_db(sine(441), sr=SR) == audio.FLOOR_DB
    mixed = sine(441) + sine(10_000, amplitude=0.1)
    assert audio.high_band_db(mixed, sr=SR) == pytest.approx(10 * math.log10(0.01 / 1.01), abs=1e-6)


@pytest.mark.parametrize("size", [SR, SR + 1])
def test_high_band_by_a_filter(size):
    x = np.random.default_rng(4).standard_normal(size)
    high = scipy.signal.sosfilt(scipy.signal.butter(12, 8000, "high", fs=SR, output="sos"), x)
    by_filter = 10 * math.log10(audio.energy(high) / audio.energy(x))
    assert audio.high_band_db(x, sr=SR) == pytest.approx(by_filter, abs=0.1)


def test_high_band_needs_a_band():
    with pytest.raises(ValueError, match="sr: got 16000; allowed: above 16000"):
        audio.high_band_db(sine(), sr=16_000)


def test_noise_floor_by_hand():
    loud, soft = np.ones(4 * N_FFT), np.full(4 * N_FFT, 0.01)
    x = np.concatenate([loud, soft, loud])
    by_hand = 10 * math.log10(1e-4 / ((2 + 1e-4) / 3))
    assert audio.noise_floor_db(x) == pytest.approx(by_hand)
    silence = np.zeros(4 * N_FFT)
    assert audio.noise_floor_db(np.concatenate([silence, x, silence])) == pytest.approx(by_hand)
    assert audio.noise_floor_db(np.concatenate([loud, silence, loud])) == audio.FLOOR_DB
    assert audio.noise_floor_db(sine(seconds=3)) == pytest.approx(0, abs=0.5)


def test_all_measures_are_those_of_their_functions():
    x = clicks() + 0.01
    measures = audio.audio_measures(x.astype(np.float32), sr=SR)
    assert list(measures) == list(audio.AUDIO_UNITS)
    assert all(type(value) is float for value in measures.values())
    x = x.astype(np.float32)
    assert measures["energy"] == audio.energy(x)
    assert measures["rms_dbfs"] == audio.rms_dbfs(x, convention="aes17")
    assert measures["crest_factor_db"] == pytest.approx(20 * math.log10(audio.crest_factor(x)))
    assert measures["dc_offset_dbfs"] == audio.to_dbfs(audio.mean(x), convention="square")
    spectral = measures["spectral_centroid"], measures["spectral_flatness"]
    assert (*spectral, measures["onset_density"]) == spectral_measures(x, sr=SR)
    assert measures["spectral_flatness"] == audio.spectral_flatness(x, sr=SR)
    assert measures["noise_floor_db"] == audio.noise_floor_db(x)


@pytest.mark.parametrize("measure", [*WITHOUT_SR, *WITH_SR], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(0), r"x must be floats of shape \(N,\), N > 0, got float64, shape \(0,\)"),
        (np.zeros((SR, 2)), r"got float64, shape \(44100, 2\); choose one of two channels"),
        (np.float64(0.5), r"shape \(\)"),
        (np.array([0.0, np.nan, np.inf]), "x: 2 of 3 samples are NaN or infinite"),
        (np.zeros(8, np.int16), "got int16, .*divide samples of type int16 by full scale"),
        (np.zeros(8, bool), "got bool"),
        (np.zeros(8, complex), "got complex128"),
    ],
)
def test_bad_input_is_named(measure, x, message):
    with pytest.raises(ValueError, match=message):
        measure(x, sr=SR) if measure in WITH_SR else measure(x)


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


def test_above_full_scale_is_refused_or_cut_by_choice(tmp_path):
    path = tmp_path / "x.wav"
    with pytest.raises(ValueError, match=r"x: \d+ of 44100 samples are above full scale, .* 1.250"):
        write_wav(2.5 * TONE, path, sr=SR)
    assert not list(tmp_path.iterdir())
    with pytest.warns(RuntimeWarning, match=r"above full scale, the highest 1.250: they are cut"):
        write_wav(2.5 * TONE, path, sr=SR, clip=True)
    assert np.abs(soundfile.read(path)[0]).max() <= 1


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 2)), r"got float64, shape \(0,\)"),
        (np.zeros((8, 2), np.int16), "got int16"),
        (np.zeros((2, 2, 2)), r"got float64, shape \(2, 2, 2\)"),
        (np.zeros((10, 3)), r"got float64, shape \(10, 3\)"),
        (np.array([[0.0, np.nan], [-np.inf, 0.0]]), "x: 2 of 4 samples are NaN or infinite"),
    ],
)
def test_wav_of_a_bad_waveform_is_refused(tmp_path, x, message):
    with pytest.raises(ValueError, match=message):
        write_wav(x, tmp_path / "x.wav", sr=SR)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sr", [0, -1, 0.5, float("nan")])
def test_a_rate_that_is_none_is_named(tmp_path, sr):
    with pytest.raises(ValueError, match="sr: got .*; allowed: a whole number of samples"):
        write_wav(np.zeros(8), tmp_path / "x.wav", sr=sr)


def test_mp3_is_the_tone_and_small():
    data = encode_mp3(TONE, SR)
    read, sr = soundfile.read(io.BytesIO(data))
    assert sr == SR
    assert abs(len(read) - SR) < 3000
    assert int(np.abs(np.fft.rfft(read[:SR], SR)).argmax()) == 441
    assert np.sqrt((read**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert len(data) < 2 * SR / 4
    assert encode_mp3(TONE, SR) == data


def test_mp3_beyond_full_scale_is_softer_and_told(capsys):
    assert encode_mp3(5 * TONE, SR) == encode_mp3(2 * TONE, SR)
    assert capsys.readouterr().out == "peak 2.50 (+8.0 dBFS): played 8.0 dB softer\n"


def test_mp3_rates_lengths_and_old_libraries(monkeypatch):
    with pytest.raises(ValueError, match="sr: got 48000; allowed: 16000, 22050, 24000, 32000"):
        encode_mp3(TONE, 48_000)
    with pytest.raises(ValueError, match="x lasts 61 s, but a player embeds at most 60 s"):
        encode_mp3(np.zeros(61 * SR), SR)
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": ""})
    with pytest.raises(RuntimeError, match=r"writes no MP3; install libsndfile 1.1 or later"):
        encode_mp3(TONE, SR)


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


def tone(level, *, hertz=997.0):
    return sine(hertz, amplitude=level)


def test_a_full_scale_sine_gets_the_gain_by_hand():
    # A sine of 997 Hz at full scale has -3.01 LUFS, so -23 LUFS are 19.99 dB below.
    waves, table = audio.match_loudness({"a": tone(1.0), "b": tone(0.1)}, sr=SR)
    assert table["gain_db"].tolist() == pytest.approx(
        [-19.99, 0.01], abs=0.1
    )  # the standard: within 0.1
    assert waves["a"] == pytest.approx(waves["b"], abs=1e-4)
    assert waves["a"].dtype == np.float32


def test_clips_end_up_equally_loud():
    rng = np.random.default_rng(0)
    waves = {str(k): tone(0.02 * 3**k, hertz=200 * 2**k) for k in range(4)}
    waves["noise"] = rng.normal(0, 0.05, SR)
    made, table = audio.match_loudness(waves, sr=SR)
    levels = [loudness(x, sr=SR) for x in made.values()]
    assert levels == pytest.approx([-23.0] * 5, abs=0.01)
    assert table["matched"].tolist() == pytest.approx(levels, abs=0.01)
    assert not table["silent"].any()


def test_a_clip_of_peaks_lowers_the_target_of_all():
    spiky = tone(0.01)
    spiky[::4410] = 0.9
    made, table = audio.match_loudness({"spiky": spiky, "tone": tone(0.5)}, sr=SR)
    assert table["matched"].nunique() == 1 or np.ptp(table["matched"]) < 1e-9
    assert table["matched"][0] < -23
    assert table["true_peak"].max() == pytest.approx(-1.0)
    assert max(peak(x) for x in made.values()) <= 10 ** (-1 / 20) + 1e-6


def test_true_peak_finds_what_lies_between_the_samples():
    # A sine at a quarter of the rate, sampled 45 degrees off its peaks: samples of 0.707 only.
    x = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4)
    assert peak(x) == pytest.approx(math.sqrt(0.5))
    assert audio.true_peak_dbtp(x) == pytest.approx(0.0, abs=0.2)
    assert audio.true_peak_dbtp(np.zeros(100)) == -math.inf


def test_silence_stays_in_and_is_marked():
    waves = {"silence": np.zeros(SR), "tone": tone(0.5)}
    made, table = audio.match_loudness(waves, sr=SR)
    assert table["silent"].tolist() == [True, False]
    assert table.loc[0, ["loudness", "gain_db", "matched"]].tolist() == [-math.inf, 0.0, -math.inf]
    assert not made["silence"].any()
    assert loudness(made["tone"], sr=SR) == pytest.approx(-23, abs=0.01)


@pytest.mark.parametrize(
    ("waves", "phrase"),
    [
        ({}, r"lengths \[\] in samples; allowed: clips of one length"),
        ({"a": np.zeros(SR), "b": np.zeros(SR + 1)}, r"lengths \[44100, 44101\] in samples"),
        ({"a": np.zeros(100)}, "clips shorter than 0.4 s have no loudness"),
    ],
)
def test_clips_that_cannot_be_matched(waves, phrase):
    with pytest.raises(ValueError, match=phrase):
        audio.match_loudness(waves, sr=SR)


def test_a_clip_beyond_full_scale_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="waves: 0a has a peak of 1.500; allowed: up to 1.0"):
        audio.write_clips({"0a": tone(1.5)}, tmp_path, sr=SR)
    assert not list(tmp_path.iterdir())


def test_files_are_named_by_code_and_do_not_clip(tmp_path):
    (tmp_path / "old.mp3").write_bytes(b"")
    made, _ = audio.match_loudness({"0a": tone(0.9), "1b": tone(0.2)}, sr=SR)
    files = audio.write_clips(made, tmp_path, sr=SR)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert [file.name for file in files] == ["0a.mp3", "1b.mp3"]
    for file in files:
        x, rate = soundfile.read(file)
        assert rate == SR
        assert np.abs(x).max() < 1
        assert loudness(x, sr=rate) == pytest.approx(-23, abs=0.5)
