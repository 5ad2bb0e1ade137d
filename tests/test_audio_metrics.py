"""Levels and spectra of waveforms: closed forms, second routes, bad input."""

import math

import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from musiclib import audio_metrics as am
from musiclib.audio_spectrum import N_FFT

SR = 44_100
SECOND = np.arange(SR) / SR


def sine(frequency=441.0, *, amplitude=1.0, seconds=1.0, sr=SR):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sr)) / sr)


def square(*, periods=441, half=50):
    return np.tile(np.repeat([1.0, -1.0], half), periods)


WITH_SR = [am.loudness, am.spectral_centroid, am.spectral_flatness, am.onset_density]
WITH_SR += [am.high_band_db, am.audio_measures]
WITHOUT_SR = [am.energy, am.mean, am.dc_offset, am.power, am.rms, am.peak, am.rms_dbfs]
WITHOUT_SR += [am.peak_dbfs, am.crest_factor, am.noise_floor_db, am.validate]

waveforms = arrays(
    np.float64, st.integers(1, 200), elements=st.floats(-1, 1, allow_subnormal=False, width=32)
)


def test_of_a_constant():
    x = np.full(1000, -0.25)
    assert am.energy(x) == pytest.approx(62.5, rel=1e-12)
    assert am.mean(x) == am.dc_offset(x) == -0.25
    assert am.power(x) == pytest.approx(0.0625, rel=1e-12)
    assert am.rms(x) == am.peak(x) == 0.25
    assert am.crest_factor(x) == 1
    assert am.peak_dbfs(x) == pytest.approx(-12.0412, abs=1e-4)
    assert am.noise_floor_db(x) == pytest.approx(0, abs=1e-9)


def test_of_a_full_scale_sine():
    x = sine()
    assert am.energy(x) == pytest.approx(SR / 2)
    assert am.mean(x) == pytest.approx(0, abs=1e-12)
    assert am.rms(x) == pytest.approx(math.sqrt(0.5))
    assert am.rms_dbfs(x) == pytest.approx(0, abs=1e-9)
    assert am.rms_dbfs(x, convention="square") == pytest.approx(-3.0103, abs=1e-4)
    assert am.peak_dbfs(x) == pytest.approx(0, abs=1e-9)
    assert am.crest_factor(x) == pytest.approx(math.sqrt(2))


def test_of_a_full_scale_square():
    x = square()
    assert am.energy(x) == am.rms(x) * x.size == x.size
    assert am.mean(x) == 0
    assert am.rms_dbfs(x, convention="aes17") == pytest.approx(3.0103, abs=1e-4)
    assert am.rms_dbfs(x, convention="square") == 0
    assert am.crest_factor(x) == 1


def test_of_silence():
    measures = am.audio_measures(np.zeros(SR), sr=SR)
    zero = {"energy", "mean", "power", "onset_density"}
    endless = {"rms_dbfs", "peak_dbfs", "loudness_lufs", "dc_offset_dbfs"}
    for name, value in measures.items():
        if name in zero:
            assert value == 0, name
        elif name in endless:
            assert value == -math.inf, name
        else:
            assert math.isnan(value), name
    assert math.isnan(am.crest_factor(np.zeros(1)))


def test_of_one_sample():
    measures = am.audio_measures([-0.5], sr=SR)
    assert measures["energy"] == 0.25
    assert measures["mean"] == -0.5
    assert measures["crest_factor_db"] == 0
    assert math.isnan(measures["loudness_lufs"])


def test_above_full_scale_is_measured_as_it_is():
    assert am.peak_dbfs([0.5, -2.0]) == pytest.approx(6.0206, abs=1e-4)


@settings(max_examples=60)
@given(waveforms)
def test_energy_by_parseval_and_by_the_norm(x):
    spectrum = np.fft.fft(x)
    assert am.energy(x) == pytest.approx(float((np.abs(spectrum) ** 2).sum() / x.size), abs=1e-9)
    assert am.energy(x) == pytest.approx(float(np.linalg.norm(x)) ** 2, rel=1e-9, abs=1e-300)
    assert am.mean(x) == pytest.approx(spectrum[0].real / x.size, abs=1e-12)


@settings(max_examples=60)
@given(waveforms, waveforms, st.floats(0.1, 8))
def test_scaling_and_joining(x, y, factor):
    both = np.concatenate([x, y])
    assert am.energy(both) == pytest.approx(am.energy(x) + am.energy(y), abs=1e-12)
    assert am.energy(factor * x) == pytest.approx(factor**2 * am.energy(x), rel=1e-9, abs=1e-300)
    total = am.mean(x) * x.size + am.mean(y) * y.size
    assert am.mean(both) == pytest.approx(total / both.size, abs=1e-12)
    assert abs(am.mean(x)) <= am.rms(x) * (1 + 1e-9) + 1e-150
    assert am.rms(x) <= am.peak(x) * (1 + 1e-9)


def test_float32_is_summed_in_float64():
    x = np.full(2_000_000, 0.1, np.float32)
    assert am.energy(x) == pytest.approx(2e6 * float(np.float32(0.1)) ** 2, rel=1e-12)
    assert am.mean(x) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_to_dbfs_by_hand():
    assert am.to_dbfs(0.1, convention="square") == pytest.approx(-20)
    assert am.to_dbfs(math.sqrt(0.5), convention="aes17") == pytest.approx(0, abs=1e-12)
    assert am.to_dbfs(0, convention="aes17") == -math.inf
    with pytest.raises(ValueError, match="convention: 'dBu'; allowed are 'aes17' and 'square'"):
        am.to_dbfs(1.0, convention="dBu")
    with pytest.raises(ValueError, match="amplitude: -1"):
        am.to_dbfs(-1, convention="square")
    with pytest.raises(ValueError, match="amplitude: nan"):
        am.to_dbfs(math.nan, convention="square")


def test_loudness_of_the_standards_sine():
    x = sine(997, seconds=5)
    assert am.loudness(x, sr=SR) == pytest.approx(-3.01, abs=0.05)
    assert am.loudness(0.1 * x, sr=SR) == pytest.approx(-23.01, abs=0.05)
    assert am.loudness(x, sr=48_000) == pytest.approx(-3.0, abs=0.2)


def test_loudness_gates_silence_but_rms_does_not():
    x = sine(997, seconds=4)
    padded = np.concatenate([x, np.zeros(4 * SR)])
    assert am.loudness(padded, sr=SR) == pytest.approx(am.loudness(x, sr=SR), abs=0.3)
    assert am.rms_dbfs(padded) == pytest.approx(am.rms_dbfs(x) - 3.01, abs=0.01)


def test_loudness_of_what_is_too_short_or_too_soft():
    assert math.isnan(am.loudness(sine(seconds=0.39), sr=SR))
    assert math.isfinite(am.loudness(sine(seconds=0.4), sr=SR))
    assert am.loudness(1e-5 * sine(), sr=SR) == -math.inf


def test_centroid_of_tones():
    low, high = sine(1000, seconds=2), sine(3000, seconds=2)
    assert am.spectral_centroid(low, sr=SR) == pytest.approx(1000, rel=0.02)
    assert am.spectral_centroid(low + high, sr=SR) == pytest.approx(2000, rel=0.02)
    assert am.spectral_centroid(1e-4 * high, sr=SR) == pytest.approx(3000, rel=0.02)


def test_centroid_by_hand_and_without_silent_frames():
    x = sine(1000, seconds=1)
    frame = np.abs(np.fft.rfft(x[:N_FFT] * scipy.signal.get_window("hann", N_FFT)))
    by_hand = float((frame * np.fft.rfftfreq(N_FFT, 1 / SR)).sum() / frame.sum())
    assert am.spectral_centroid(x, sr=SR) == pytest.approx(by_hand, rel=0.02)
    padded = np.concatenate([x, np.zeros(3 * SR)])
    assert am.spectral_centroid(padded, sr=SR) == pytest.approx(1000, rel=0.03)


def test_flatness_of_noise_impulse_and_tone():
    noise = np.random.default_rng(0).standard_normal(10 * SR)
    assert am.spectral_flatness(0.1 * noise, sr=SR) == pytest.approx(
        math.exp(-np.euler_gamma), 0.02
    )
    impulse = np.zeros(8 * N_FFT)
    impulse[4 * N_FFT] = 1
    assert am.spectral_flatness(impulse, sr=SR) == pytest.approx(1, abs=1e-4)
    assert am.spectral_flatness(sine(1000), sr=SR) < 0.001


def test_flatness_does_not_depend_on_level():
    noise = sine(1000) + 0.01 * np.random.default_rng(1).standard_normal(SR)
    soft = am.spectral_flatness(1e-3 * noise, sr=SR)
    assert soft == pytest.approx(am.spectral_flatness(noise, sr=SR), rel=1e-3)


def clicks(*, seconds=5, per_second=2):
    x = np.zeros(seconds * SR)
    burst = sine(2000, seconds=0.05) * np.exp(-np.linspace(0, 8, round(0.05 * SR)))
    for start in range(SR // 4, x.size - burst.size, SR // per_second):
        x[start : start + burst.size] += burst
    return x


def test_onset_density_of_clicks():
    assert am.onset_density(clicks(), sr=SR) == pytest.approx(2.0, abs=0.21)
    assert am.onset_density(1e-3 * clicks(), sr=SR) == am.onset_density(clicks(), sr=SR)
    half = np.concatenate([clicks(), np.zeros(5 * SR)])
    assert am.onset_density(half, sr=SR) == pytest.approx(1.0, abs=0.11)


def test_onset_density_is_librosas():
    noise = 0.01 * np.random.default_rng(2).standard_normal(5 * SR)
    x = clicks(per_second=4) + noise
    detected = librosa.onset.onset_detect(y=(x / np.abs(x).max()).astype(np.float32), sr=SR)
    assert am.onset_density(x, sr=SR) == len(detected) / 5
    assert len(detected) >= 15


def test_high_band_of_noise_and_tones():
    noise = np.random.default_rng(3).standard_normal(4 * SR)
    expected = 10 * math.log10(1 - 16_000 / SR)
    assert am.high_band_db(noise, sr=SR) == pytest.approx(expected, abs=0.1)
    assert am.high_band_db(sine(10_000), sr=SR) == pytest.approx(0, abs=1e-6)
    assert am.high_band_db(sine(441), sr=SR) == am.FLOOR_DB
    mixed = sine(441) + sine(10_000, amplitude=0.1)
    assert am.high_band_db(mixed, sr=SR) == pytest.approx(10 * math.log10(0.01 / 1.01), abs=1e-6)


@pytest.mark.parametrize("size", [SR, SR + 1])
def test_high_band_by_a_filter(size):
    x = np.random.default_rng(4).standard_normal(size)
    high = scipy.signal.sosfilt(scipy.signal.butter(12, 8000, "high", fs=SR, output="sos"), x)
    by_filter = 10 * math.log10(am.energy(high) / am.energy(x))
    assert am.high_band_db(x, sr=SR) == pytest.approx(by_filter, abs=0.1)


def test_high_band_needs_a_band():
    with pytest.raises(ValueError, match=r"cutoff: 8000.0 Hz; allowed is above 0 and below sr / 2"):
        am.high_band_db(sine(), sr=16_000)
    with pytest.raises(ValueError, match="cutoff: 0"):
        am.high_band_db(sine(), sr=SR, cutoff=0)


def test_noise_floor_by_hand():
    loud, soft = np.ones(4 * N_FFT), np.full(4 * N_FFT, 0.01)
    x = np.concatenate([loud, soft, loud])
    by_hand = 10 * math.log10(1e-4 / ((2 + 1e-4) / 3))
    assert am.noise_floor_db(x) == pytest.approx(by_hand)
    silence = np.zeros(4 * N_FFT)
    assert am.noise_floor_db(np.concatenate([silence, x, silence])) == pytest.approx(by_hand)
    assert am.noise_floor_db(np.concatenate([loud, silence, loud])) == am.FLOOR_DB
    assert am.noise_floor_db(sine(seconds=3)) == pytest.approx(0, abs=0.5)


def test_all_measures_are_those_of_their_functions():
    x = clicks() + 0.01
    measures = am.audio_measures(x.astype(np.float32), sr=SR)
    assert list(measures) == list(am.AUDIO_UNITS)
    assert all(type(value) is float for value in measures.values())
    x = x.astype(np.float32)
    assert measures["energy"] == am.energy(x)
    assert measures["rms_dbfs"] == am.rms_dbfs(x, convention="aes17")
    assert measures["crest_factor_db"] == pytest.approx(20 * math.log10(am.crest_factor(x)))
    assert measures["dc_offset_dbfs"] == am.to_dbfs(am.mean(x), convention="square")
    assert measures["spectral_centroid"] == am.spectral_centroid(x, sr=SR)
    assert measures["spectral_flatness"] == am.spectral_flatness(x, sr=SR)
    assert measures["onset_density"] == am.onset_density(x, sr=SR)
    assert measures["noise_floor_db"] == am.noise_floor_db(x)


@pytest.mark.parametrize("measure", [*WITHOUT_SR, *WITH_SR], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(0), "x: no samples"),
        (np.zeros((SR, 2)), r"x: shape \(44100, 2\); allowed is one channel"),
        (np.float64(0.5), r"x: shape \(\)"),
        (np.array([0.0, np.nan, np.inf]), "x: 2 of 3 samples are NaN or infinite"),
        (np.zeros(8, np.int16), "x: samples of type int16; allowed are floats"),
        (np.zeros(8, bool), "x: samples of type bool"),
        (np.zeros(8, complex), "x: samples of type complex128"),
    ],
)
def test_bad_input_is_named(measure, x, message):
    with pytest.raises(ValueError, match=message):
        measure(x, sr=SR) if measure in WITH_SR else measure(x)


def test_validate_names_its_argument():
    with pytest.raises(ValueError, match=r"reference: shape \(1, 1\).*reference\[:, 0\]"):
        am.validate(np.zeros((1, 1)), name="reference")
