"""Players: a roll above a small MP3 that never plays by itself."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pretty_midi
import pytest
import soundfile
from IPython.core.formatters import DisplayFormatter
from IPython.display import Image

from musiclib import player
from musiclib.audio import LONGEST, encode_mp3
from musiclib.player import Player, play, show_piece
from musiclib.roll import draw_roll, to_midi

RATE = 22_050


def tone(seconds=1.0, *, sr=RATE, level=0.5, pitch=440.0):
    return level * np.sin(2 * np.pi * pitch * np.arange(int(seconds * sr)) / sr)


def decoded(audio: Player) -> tuple[np.ndarray, int]:
    (code,) = re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', audio._repr_html_())
    return soundfile.read(io.BytesIO(base64.b64decode(code)))


# Sound


@pytest.mark.parametrize("sr", [16_000, 22_050, 44_100])
def test_what_is_heard_is_what_was_given(sr):
    x = tone(2.0, sr=sr).astype(np.float32)
    heard, rate = decoded(play(x, sr))
    assert rate == sr
    assert heard.ndim == 1
    middle = slice(sr // 4, -sr // 4)
    error = heard[: len(x)][middle] - x[middle]
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(x**2))


def test_a_soft_sound_stays_soft():
    loud, soft = (decoded(play(tone(level=level), RATE))[0] for level in (0.5, 0.01))
    assert np.abs(soft).max() < 0.05 * np.abs(loud).max()


def test_a_player_is_one_element_that_jupyterlab_keeps_and_nothing_plays_by_itself():
    data, _ = DisplayFormatter().format(play(tone(), RATE))
    page = r'<audio controls src="data:audio/mpeg;base64,[A-Za-z0-9+/]+=*"></audio>'
    assert re.fullmatch(page, data["text/html"])
    mp3 = encode_mp3(tone(), RATE)
    assert data["text/plain"] == f"<Player of an MP3 of {len(mp3):,} bytes>"


def test_the_same_sound_gives_the_same_bytes():
    assert encode_mp3(tone(), RATE) == encode_mp3(tone(), RATE)


def test_a_clip_is_small():
    noise = np.random.default_rng(0).normal(size=12 * RATE).clip(-4, 4) / 8
    assert len(encode_mp3(noise, RATE)) < 12 * 6_000  # six kilobytes a second at the very most


@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_full_scale_it_is_played_softer_and_the_peak_is_printed(capsys, sign):
    loud, full = sign * tone(level=2.5), tone(level=1.0)
    loud[0] = sign * 2.5
    heard = decoded(play(loud, RATE))[0]
    assert capsys.readouterr().out == "peak 2.50 (+8.0 dBFS): played 8.0 dB softer\n"
    assert np.abs(heard).max() == pytest.approx(np.abs(decoded(play(full, RATE))[0]).max(), abs=0.1)
    assert np.abs(loud).max() == 2.5
    play(full, RATE)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("x", "sr", "reason"),
    [
        (np.zeros((10, 2)), RATE, "floats of shape"),
        (np.zeros(0), RATE, "floats of shape"),
        (np.zeros(10, np.int16), RATE, "got int16"),
        (np.array([0.0, np.nan]), RATE, "NaN or infinite"),
        (np.array([0.0, -np.inf]), RATE, "NaN or infinite"),
        (np.zeros(10), 8_000, "sr: got 8000"),
        (np.zeros(10), 22_000, "sr: got 22000; allowed: 16000"),
        (np.zeros(int((LONGEST + 1) * RATE)), RATE, "lasts 61 s, but a player embeds at most 60 s"),
    ],
)
def test_what_cannot_be_played_is_refused(x, sr, reason):
    with pytest.raises(ValueError, match=reason):
        play(x, sr)


def test_a_library_without_mp3_is_named(monkeypatch):
    monkeypatch.setattr(soundfile, "available_formats", dict)
    with pytest.raises(RuntimeError, match=r"writes no MP3; install libsndfile 1\.1"):
        play(tone(), RATE)


# Pieces


@pytest.fixture
def shown(monkeypatch):
    """Collect what a notebook would show, and what would be rendered."""
    found = {"displayed": [], "rendered": []}

    def synthesize(midi, *, sr, duration):
        found["rendered"].append((midi, sr, duration))
        return np.zeros(int((duration + 1) * sr), np.float32)

    monkeypatch.setattr(player, "display", found["displayed"].append)
    monkeypatch.setattr(player, "synthesize", synthesize)
    return found


def piece(steps=128):
    return draw_roll([0, 8, steps - 4], [39, 43, 46], [8, 8, 4], steps=steps)


def test_a_roll_is_shown_above_its_sound(shown):
    show_piece(piece(), "a tune", model="vae")
    picture, audio = shown["displayed"]
    assert isinstance(picture, Image)
    assert picture.data.startswith(b"\x89PNG")
    assert picture.alt == "Piano roll: a tune"
    assert isinstance(audio, Player)
    assert not plt.get_fignums()
    ((midi, sr, duration),) = shown["rendered"]
    assert (sr, duration) == (RATE, 24.0)
    assert [note.pitch for note in midi.instruments[0].notes] == [60, 64, 67]


def test_only_the_beginning_is_heard(shown):
    show_piece(piece(400), seconds=3.0)
    ((midi, _, duration),) = shown["rendered"]
    assert duration == 3.0
    assert [note.pitch for note in midi.instruments[0].notes] == [60, 64]


@pytest.mark.parametrize("seconds", [59, 58.9, 1e-3])
def test_of_a_roll_whole_steps_are_heard(shown, seconds):
    show_piece(piece(2_000), seconds=seconds)
    duration, step = shown["rendered"][0][2], 15 / 80
    assert duration / step == pytest.approx(round(duration / step))
    assert duration <= max(seconds, step) + 1e-9 < duration + step + 1e-6


def test_the_rest_at_the_end_of_a_roll_is_heard(shown):
    show_piece(draw_roll([0], [39], [4], steps=32))
    assert shown["rendered"][0][2] == 6.0


def test_a_midi_piece_keeps_its_tempo_and_sounds_and_is_left_as_it_is(shown):
    midi = to_midi(piece(), tempo=160.0, velocity=33)
    track = midi.instruments[0]
    track.control_changes.append(pretty_midi.ControlChange(64, 127, 5.0))
    show_piece(midi, seconds=1.2)
    ((heard, _, duration),) = shown["rendered"]
    assert duration == 1.2
    assert [(n.velocity, n.end) for n in heard.instruments[0].notes] == [(33, 0.75), (33, 1.2)]
    assert heard.instruments[0].control_changes == []
    assert len(track.notes) == 3
    assert len(track.control_changes) == 1


def test_a_late_controller_or_text_does_not_lengthen_what_is_heard(shown):
    midi = to_midi(piece(32))
    midi.instruments[0].control_changes.append(pretty_midi.ControlChange(121, 0, 50.0))
    midi.lyrics.append(pretty_midi.Lyric("fin", 55.0))
    show_piece(midi, seconds=59)
    assert shown["rendered"][0][2] == 6.0


def test_one_loud_chord_is_shown_and_played(monkeypatch, capsys):
    displayed = []
    monkeypatch.setattr(player, "display", displayed.append)
    with pytest.warns(RuntimeWarning, match="above full scale"):
        show_piece(to_midi(draw_roll([0] * 88, range(88), [4] * 88, steps=4), velocity=127))
    assert len(displayed) == 2
    assert re.match(r"peak \d\.\d\d \(\+", capsys.readouterr().out)


def test_a_position_may_be_longer_than_what_is_shown(shown):
    lines = np.zeros((400, 4), np.int16)
    show_piece(piece(400), seconds=3.0, position=np.arange(400) % 16, lines=lines)
    show_piece(piece(400), seconds=3.0, lines=4)
    assert len(shown["displayed"]) == 4


@pytest.mark.parametrize("seconds", [0, -1, 59.5, float("nan")])
def test_an_impossible_length_is_refused(shown, seconds):
    with pytest.raises(ValueError, match="seconds: got .* allowed: above 0 and up to 59"):
        show_piece(piece(), seconds=seconds)
    assert not shown["displayed"]


def test_what_is_no_piece_is_refused(shown):
    with pytest.raises(ValueError, match="piece must be uint8"):
        show_piece(np.zeros((4, 88)))
    assert not shown["displayed"]


def test_a_piece_sounds_for_real(monkeypatch):
    displayed = []
    monkeypatch.setattr(player, "display", displayed.append)
    show_piece(piece(32), "short")
    heard, rate = decoded(displayed[1])
    assert rate == RATE
    assert np.abs(heard).max() > 0.01
    assert len(heard) == pytest.approx(7 * RATE, rel=0.02)
    assert len(displayed[1].data) < 7 * 6_000
