"""Pictures: that they show the numbers they were given, in the colours they should have."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb

from musiclib import measures, plots
from musiclib.plots import envelope
from musiclib.roll import draw_roll


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def labels(ax, axis="x"):
    return [text.get_text() for text in getattr(ax, f"get_{axis}ticklabels")()]


def rendered(ax) -> bytes:
    memory = io.BytesIO()
    ax.figure.savefig(memory, format="png", dpi=50)
    return memory.getvalue()


# Looks


def test_every_model_has_a_look_of_its_own():
    for cues in zip(*plots.STYLES.values(), strict=True):
        assert len(set(cues)) == len(cues)


def test_the_papers_colours():
    blue, red, orange = (to_rgb(plots.COLOURS[model]) for model in ("vae", "gan", "lstm"))
    assert blue[2] == max(blue)
    assert red[0] > 2 * max(red[1:])
    assert orange[0] > orange[1] > 5 * orange[2]


def test_colours_differ_in_grey_or_for_the_colour_blind_or_by_marker():
    spare = [plots.style_of(f"group {i}", index=i) for i in range(5)]
    assert len({one.colour for one in spare}) == len({one.marker for one in spare}) == 5
    assert {one.colour for one in spare}.isdisjoint(plots.COLOURS.values())
    assert plots.style_of("LSTM") == plots.style_of("lstm")


def test_the_style_can_be_read_from_afar():
    with plt.rc_context():
        plots.use_style()
        assert plt.rcParams["font.size"] >= 12
        assert not plt.rcParams["axes.spines.top"]


# Rolls


def boxes_of(ax, label):
    (collection,) = [c for c in ax.collections if c.get_label() == label]
    return [tuple(np.round(path.get_extents().extents, 6)) for path in collection.get_paths()]


def test_a_roll_shows_each_note_and_each_onset():
    roll = draw_roll([0, 4], [39, 39], [4, 12], steps=20)
    ax = plots.plot_roll(roll)
    assert boxes_of(ax, "sustain") == [(0, 38.6, 4, 39.4), (4, 38.6, 16, 39.4)]
    assert [(box[0], box[1]) for box in boxes_of(ax, "onset")] == [(0, 38.6), (4, 38.6)]
    assert ax.get_xlim() == (0, 20)


def test_held_and_repeated_look_different():
    held = plots.plot_roll(draw_roll([0], [39], [16], steps=16))
    repeated = plots.plot_roll(draw_roll([0, 4, 8, 12], [39] * 4, [4] * 4, steps=16))
    assert len(boxes_of(held, "onset")) == 1
    assert len(boxes_of(repeated, "onset")) == 4
    assert rendered(held) != rendered(repeated)


def test_a_note_cut_by_a_window_has_no_head():
    ax = plots.plot_roll(draw_roll([0], [39], [16], steps=16)[4:])
    assert boxes_of(ax, "sustain") == [(0, 38.6, 12, 39.4)]
    assert boxes_of(ax, "onset") == []


def test_the_keys_have_names_with_octaves():
    ax = plots.plot_roll(draw_roll([0, 0], [39, 51], [4, 4], steps=16))
    ticks = dict(zip(ax.get_yticks(), labels(ax, "y"), strict=True))
    assert ticks[39] == "C4"
    assert ticks[51] == "C5"
    assert ax.get_ylabel() == "key"


def test_each_voice_has_its_colour_and_notes_of_no_voice_keep_the_models():
    roll = draw_roll([0, 0, 4], [50, 40, 45], [4, 8, 4], steps=8)
    lines = np.zeros((8, 2), np.int16)
    lines[0] = 2 + 50, 2 + 40
    assert onset_colours(plots.plot_roll(roll, lines=lines)) == [
        plots._VOICES[1],
        plots._VOICES[0],
        plots.COLOURS["real"].upper(),
    ]
    found = onset_colours(plots.plot_roll(roll, lines=lines, model="gan"))
    assert found[2] == plots.COLOURS["gan"]
    assert len({*found, *plots._VOICES}) == 3 + len(plots._VOICES)
    assert len({*plots._VOICES} & {*plots.COLOURS.values()}) == 0
    with pytest.raises(ValueError, match="lines has 3 steps, but roll has 8"):
        plots.plot_roll(roll, lines=lines[:3])


def onset_colours(ax):
    (onsets,) = [c for c in ax.collections if c.get_label() == "onset"]
    return [to_hex(colour).upper() for colour in onsets.get_facecolor()]


def test_voices_are_told_by_their_rank_where_only_their_number_is_known():
    roll = draw_roll([0, 0, 0, 0, 4, 4, 8], [50, 45, 40, 30, 49, 31, 50], [4] * 7, steps=12)
    found = onset_colours(plots.plot_roll(roll, lines=4))
    bass, tenor, alto, soprano = plots._VOICES[3::-1]
    alone = plots.COLOURS["real"]
    assert found == [bass, tenor, alto, soprano, bass, soprano, alone]
    assert set(onset_colours(plots.plot_roll(roll))) == {alone}
    silent = np.zeros_like(roll)
    for lines in (0, 4, np.zeros((12, 0), np.int16)):
        assert onset_colours(plots.plot_roll(silent, lines=lines)) == []
        assert len(onset_colours(plots.plot_roll(roll, lines=lines))) == 7


def test_a_second_cue_tells_voices_apart_without_colours():
    roll = draw_roll([0, 0, 4, 4], [50, 40, 52, 35], [4] * 4, steps=8)
    ax = plots.plot_roll(roll, lines=2)
    assert [(text.get_text(), text.get_position()[1]) for text in ax.texts] == [
        ("1", 52),
        ("2", 35),
    ]
    jumps = [c.get_segments() for c in ax.collections if isinstance(c, LineCollection)]
    assert [one[0][:, 1].tolist() for one in jumps] == [[50, 52], [40, 35]]
    ax = plots.plot_roll(draw_roll([0] * 4, [50, 45, 40, 30], [4] * 4, steps=4), lines=4)
    assert [text.get_text() for text in ax.texts] == [*"SATB"]


def test_keys_beyond_the_piano_are_not_drawn():
    ax = plots.plot_roll(draw_roll([0, 4], [0, 87], [4, 4], steps=16), keys=(-1, 88))
    assert ax.get_ylim() == (-0.5, 87.5)
    assert "C8" in labels(ax, "y")


def test_bars_are_numbered_and_quarters_ticked():
    ax = plots.plot_roll(draw_roll([0], [39], [40], steps=40))
    assert ax.get_xticks().tolist() == [0, 16, 32]
    assert labels(ax) == ["1", "2", "3"]
    assert set(ax.get_xticks(minor=True)) | {0, 16, 32} == set(range(0, 40, 4))


def test_bar_lines_follow_an_upbeat():
    position = [12, 13, 14, 15, *range(16), *range(4)]
    ax = plots.plot_roll(draw_roll([0], [39], [24], steps=24), position=np.array(position))
    assert ax.get_xticks().tolist() == [4, 20]
    assert labels(ax) == ["1", "2"]


def test_a_long_piece_does_not_number_every_bar():
    ax = plots.plot_roll(draw_roll([0], [39], [16], steps=1600))
    assert len(ax.get_xticks()) <= 13
    assert labels(ax)[:2] == ["1", "17"]


def test_an_empty_roll_is_an_empty_picture():
    ax = plots.plot_roll(np.zeros((0, 88, 2), np.uint8))
    assert boxes_of(ax, "sustain") == []
    rendered(ax)


def test_what_is_no_roll_is_not_drawn():
    with pytest.raises(ValueError, match="roll must be uint8"):
        plots.plot_roll(np.zeros((4, 88)))
    with pytest.raises(ValueError, match="position has 3 steps, but roll has 4"):
        plots.plot_roll(np.zeros((4, 88, 2), np.uint8), position=np.arange(3))
    assert not plt.get_fignums()


def test_a_picture_is_drawn_where_told():
    _, (left, right) = plt.subplots(1, 2)
    assert plots.plot_roll(draw_roll([0], [39], [4], steps=4), ax=right) is right
    assert not left.collections


@pytest.mark.parametrize(
    ("pitch", "name"), [(21, "A0"), (59, "B3"), (60, "C4"), (61, "C♯4"), (108, "C8")]
)
def test_pitch_names(pitch, name):
    assert measures.pitch_name(pitch) == name


# Waveforms


@settings(max_examples=50)
@given(st.integers(1, 3000), st.integers(1, 60), st.integers(0, 9))
def test_the_envelope_covers_every_sample(n, columns, seed):
    columns = min(columns, n)
    x = np.random.default_rng(seed).normal(size=n)
    time, low, high = envelope(x, columns=columns)
    assert low.min() == x.min()
    assert high.max() == x.max()
    for t, a, b in zip(time, low, high, strict=True):
        assert a <= x[int(t)] <= b
    assert (np.diff(time) > 0).all()


def test_a_single_click_is_seen_however_long_the_waveform():
    x = np.zeros(1_000_000, np.float32)
    x[654_321] = -0.9
    ax = plots.plot_waveform(x, sr=44100, model="gan", limit=1)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(-0.9)
    assert corners[corners[:, 1].argmin(), 0] == pytest.approx(654_321 / 44100, abs=0.02)
    assert to_hex(band.get_facecolor()[0]) == plots.COLOURS["gan"].lower()
    assert ax.get_xlim() == (0, pytest.approx(1e6 / 44100))
    assert ax.get_ylim() == (-1, 1)
    assert ax.get_xlabel() == "time (s)"


def test_a_short_waveform_is_drawn_sample_by_sample():
    x = np.sin(np.arange(500.0))
    ax = plots.plot_waveform(x, sr=1000, model="vae")
    assert np.array_equal(ax.lines[0].get_ydata(), x)
    assert ax.lines[0].get_xdata()[-1] == pytest.approx(0.499)


def test_a_long_waveform_makes_a_small_file():
    x = np.random.default_rng(0).normal(size=44100 * 24).astype(np.float32)
    memory = io.BytesIO()
    plots.plot_waveform(x, sr=44100).figure.savefig(memory, format="svg")
    assert len(memory.getvalue()) < 300_000


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((4, 2)), np.array([0.0, np.nan])])
def test_what_is_no_waveform_is_refused(x):
    with pytest.raises(ValueError, match=r"x must be finite with shape \(N,\)"):
        plots.plot_waveform(x, sr=44100)


def test_silence_has_an_axis():
    ax = plots.plot_waveform(np.zeros(10), sr=10)
    assert ax.get_ylim() == (-1.05, 1.05)


# Histograms


def test_shares_of_pitches():
    rolls = [draw_roll([0, 4, 8, 12], [39, 39, 39, 43], [2, 2, 2, 2], steps=16)]
    ax = plots.plot_pitch_histogram(rolls)
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    assert heights == {60: 75, 61: 0, 62: 0, 63: 0, 64: 25}
    assert "%" in ax.get_ylabel()


def test_octaves_fold_into_classes():
    rolls = [draw_roll([0, 0, 0, 0], [39, 51, 27, 43], [2, 2, 2, 2], steps=4)]
    ax = plots.plot_pitch_histogram(rolls, by="class")
    assert [bar.get_height() for bar in ax.patches] == [75, 0, 0, 0, 25, *[0] * 7]
    assert labels(ax)[:2] == ["C", "C♯"]


def test_shares_of_durations():
    rolls = [draw_roll([0, 4, 8, 12], [39, 40, 41, 42], [1, 4, 4, 40], steps=64)]
    ax = plots.plot_duration_histogram(rolls)
    heights = [bar.get_height() for bar in ax.patches]
    assert (heights[0], heights[3], heights[16], sum(heights)) == (25, 50, 25, 100)
    assert labels(ax)[-1] == "over 4"


def test_several_groups_stand_side_by_side_and_differ_by_colour_and_hatch():
    groups = {
        name: [draw_roll([0], [key], [4], steps=4)] for name, key in (("real", 39), ("gan", 41))
    }
    ax = plots.plot_pitch_histogram(groups)
    assert not ax.lines, "no line leads from one category to the next"
    real, gan = ax.containers
    for bars, name in ((real, "real"), (gan, "gan")):
        assert {to_hex(bar.get_facecolor()).upper() for bar in bars} == {plots.COLOURS[name]}
        assert {bar.get_hatch() for bar in bars} == {plots.STYLES[name].hatch}
    ends = [bar.get_x() + bar.get_width() for bar in real]
    assert np.allclose(ends, [bar.get_x() for bar in gan])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "real (n = 1 notes)",
        "GAN (n = 1 notes)",
    ]


def test_histograms_of_nothing_are_refused():
    with pytest.raises(ValueError, match="group 'gan' has no note"):
        plots.plot_duration_histogram({"gan": [np.zeros((4, 88, 2), np.uint8)]})
    with pytest.raises(ValueError, match="by: got 'octave'; allowed: 'pitch' and 'class'"):
        plots.plot_pitch_histogram([], by="octave")


# Charts


HISTORY = pd.DataFrame({
    "step": [10, 20, 30], "loss": [3.0, 2.0, 1.0], "valid_loss": [np.nan, 2.5, 2.0],
    "train_kl": [1.0, 1.0, 1.0], "val_kl": [2.0, 2.0, 2.0],
})  # fmt: skip


def curves(ax):
    return {
        line.get_label(): (line.get_linestyle(), line.get_xdata().tolist()) for line in ax.lines
    }


def test_training_is_solid_and_validation_dashed():
    ax = plots.plot_history(HISTORY, model="vae", unit="nats per step")
    assert curves(ax) == {
        "loss, training": ("-", [10, 20, 30]),
        "loss, validation": ("--", [20, 30]),
        "kl, training": ("-", [10, 20, 30]),
        "kl, validation": ("--", [10, 20, 30]),
    }
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss (nats per step)")
    markers = {line.get_label(): line.get_marker() for line in ax.lines}
    assert markers["loss, training"] != markers["kl, training"]


def test_train_and_valid_alone_are_the_loss():
    history = pd.DataFrame({"epoch": [1, 2], "train": [1.0, 0.5], "valid": [1.0, 0.7]})
    assert list(curves(plots.plot_history(history))) == ["loss, training", "loss, validation"]


def test_terms_can_be_chosen_and_must_be_there():
    assert list(curves(plots.plot_history(HISTORY, terms=["kl"]))) == [
        "kl, training",
        "kl, validation",
    ]
    with pytest.raises(ValueError, match=r"terms: \['beta'\] are not in the history, which has"):
        plots.plot_history(HISTORY, terms=["beta"])
    with pytest.raises(ValueError, match="terms"):
        plots.plot_history(HISTORY[["step"]])


def test_intervals_show_value_and_ends_in_order():
    table = pd.DataFrame({
        "model": ["lstm", "gan"], "value": [1.0, 2.0], "low": [0.5, np.nan], "high": [1.5, np.nan],
    })  # fmt: skip
    ax = plots.plot_intervals(table, reference=0, unit="semitones")
    assert list(ax.lines[0].get_xdata()) == [0.5, 1.5]
    assert list(ax.lines[1].get_xdata()) == [1.0]
    assert [one.get_color() for one in ax.lines[1:4:2]] == [
        plots.COLOURS["lstm"],
        plots.COLOURS["gan"],
    ]
    assert labels(ax, "y") == ["LSTM", "GAN"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert ax.get_xlabel() == "semitones"


def test_intervals_that_do_not_hold_their_value_are_refused():
    table = pd.DataFrame({"value": [2.0], "low": [0.0], "high": [1.0]})
    with pytest.raises(ValueError, match="1 values lie outside their own interval"):
        plots.plot_intervals(table)
    with pytest.raises(ValueError, match=r"table has no column \['low', 'high'\]"):
        plots.plot_intervals(table[["value"]])


def test_a_distribution_shows_every_value_and_n():
    ax = plots.plot_distribution(
        {"real": [1.0, 2.0, 3.0], "vae": [5.0, np.nan]}, unit="keys", band=(1, 3)
    )
    assert labels(ax) == ["real\nn = 3", "VAE\nn = 1"]
    points = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert [sorted(line.get_ydata()) for line in points] == [[1, 2, 3], [5]]
    assert [line.get_marker() for line in points] == ["D", "o"]
    assert "//" in [patch.get_hatch() for patch in ax.patches]


def test_a_distribution_is_the_same_at_each_run():
    values = {"real": np.random.default_rng(0).normal(size=30)}
    assert rendered(plots.plot_distribution(values)) == rendered(plots.plot_distribution(values))


def test_a_distribution_of_nothing_is_refused():
    with pytest.raises(ValueError, match="group 'gan' has no finite value"):
        plots.plot_distribution({"gan": [np.nan]})
