"""The pictures of the comparison draw what they are given, with n, and never fail on little."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from musiclib.plots import COLOURS
from study import claims, figures
from study.figures import Block, arrange, read_blocks
from study.run import Paths


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def table(n=5):
    rng = np.random.default_rng(0)
    sets = ["vae", "gan", "real", "training"]
    rows = [(m, rng.normal(), rng.normal()) for m in sets for _ in range(n)]
    return pd.DataFrame(rows, columns=["model", "x", "y"])


def texts(ax):
    return [label.get_text() for label in ax.get_xticklabels() + ax.get_yticklabels()]


def test_a_measure_shows_n_and_leaves_out_what_is_not_finite():
    frame = table()
    frame.loc[0, "x"] = -np.inf
    frame.loc[frame["model"] == "gan", "x"] = np.nan
    ax = figures.plot_measure(frame, "x", unit="level (dB)")
    assert texts(ax)[:3] == ["VAE\n4", "real\n5", "training\n5"]
    assert ax.get_ylabel() == "level (dB)"


@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_named_and_not_drawn():
    frame = table()
    frame.loc[frame["model"] == "gan", "x"] = np.nan
    ax = figures.plot_measure(frame, "x")
    assert ax.get_title() == "undefined: GAN"
    ax = figures.plot_measure(frame.assign(x=np.nan), "x")
    assert ax.get_title() == "undefined: VAE, GAN, real, training"
    assert [text.get_text() for text in ax.texts] == ["no value"]
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    ax.figure.canvas.draw()


@pytest.mark.filterwarnings("error")
def test_a_set_without_a_distance_is_named_and_not_drawn():
    frame = pd.DataFrame({
        "model": ["vae", "gan"], "distance": [0.5, np.nan], "low": [0.4, np.nan],
        "high": [0.7, np.nan], "seeds": [5, 5], "n": [10, 0],
    })  # fmt: skip
    ax = figures.plot_distances(frame)
    assert ax.get_title() == "no distance: GAN"
    assert texts(ax)[-1] == "VAE (n = 10, seeds: 5)"
    ax = figures.plot_distances(frame.assign(distance=np.nan))
    assert ax.get_title() == "no distance: VAE, GAN"
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    ax.figure.canvas.draw()


def test_a_scatter_names_sets_with_n():
    frame = table()
    frame.loc[0, "y"] = np.nan
    ax = figures.plot_scatter(frame, "x", "y", xlabel="notes a quarter")
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[:2] == ["VAE (n = 4)", "GAN (n = 5)"]
    assert ax.lines[0].get_color() == COLOURS["vae"]


def test_the_paper_stands_hollow_beside_ours():
    frame = pd.DataFrame({
        "model": ["vae", "vae", "gan"], "energy": [10.0, 20.0, 30.0], "mean": [0.1, 0.2, 0.3],
        "paper_energy": [1.0, 2.0, 3.0], "paper_mean": [0.5, -0.5, 0.0],
    })  # fmt: skip
    ax = figures.plot_beside_paper(frame, "energy")
    assert ax.get_yscale() == "log"
    hollow, filled = ax.lines[:2]
    assert hollow.get_markerfacecolor() == "white"
    assert filled.get_ydata().tolist() == [10.0, 20.0]
    assert figures.plot_beside_paper(frame, "mean").get_yscale() == "linear"
    silent = frame.assign(energy=0.0)
    assert figures.plot_beside_paper(silent, "energy").get_yscale() == "linear"


def test_rankings_say_what_a_picker_can_do():
    frame = pd.DataFrame({
        "ranking": ["vae > gan", "gan > vae"], "by_means": [0.75, 0.25],
        "separated": [0.1, 0.0], "can_be_picked": [True, False],
    })  # fmt: skip
    ax = figures.plot_rankings(frame, paper="vae > gan")
    assert texts(ax)[-2:] == ["VAE > GAN (paper)", "GAN > VAE"]
    assert [bar.get_width() for bar in ax.patches] == [75, 25]
    said = [text.get_text() for text in ax.texts]
    assert "a picker can separate it fully" in said[0]
    assert "no choice separates it" in said[1]


def test_a_heat_map_writes_every_number():
    frame = pd.DataFrame({"vae": [0.5, np.nan], "gan": [9.0, 1.0]}, index=["top_step", "silence"])
    ax = figures.plot_heatmap(frame, limits=(0, 3), unit="distance")
    assert [text.get_text() for text in ax.texts] == ["0.50", "9.00", "-", "1.00"]
    assert [text.get_color() for text in ax.texts][:2] == ["black", "white"]


def test_distances_are_drawn_on_a_logarithmic_axis():
    frame = pd.DataFrame({
        "model": ["vae", "gan"], "distance": [0.4, np.nan], "low": [0.0, np.nan],
        "high": [0.9, np.nan], "seeds": [5, 0], "n": [40, 0], "undefined": [0, 40],
    })  # fmt: skip
    ax = figures.plot_distances(frame)
    assert ax.get_xscale() == "log"
    assert "VAE (n = 40, seeds: 5)" in texts(ax)
    assert not any("GAN" in text for text in texts(ax))


def test_copies_are_drawn_in_percent():
    rows = [("vae", length, "exact", 0.5, 0.4, 0.6, 100, 1, 7) for length in (8, 16, 32)]
    columns = ["model", "length", "kind", "share", "low", "high", "windows", "seeds", "n"]
    ax = figures.plot_copied(pd.DataFrame(rows, columns=columns), kind="exact")
    assert ax.lines[0].get_ydata().tolist() == [50, 50, 50]
    assert ax.get_legend().get_texts()[0].get_text() == "VAE (n = 7)"


def parts():
    """Return deciding parts of two claims, one of them without numbers."""
    frame = pd.DataFrame([
        ("C2", "VAE above GAN", "vae", "gan", "energy", "dB", True, "yes", 3.0, 2.0, 4.0, 1.0,
         5, 40, 40, ""),
        ("C8", "GAN beside real", "gan", "real", "spread", "ratio", True, "undecided",
         np.nan, np.nan, np.nan, 0.8, 0, 0, 40, "pieces of gan: 0, needed 20"),
    ], columns=claims.PART_COLUMNS)  # fmt: skip
    return frame


def test_the_verdict_shows_every_claim_and_why_it_is_open():
    frame = parts()
    fig = figures.draw_verdict(frame, claims.verdict(frame))
    said = [text.get_text().replace("\n", " ") for ax in fig.axes for text in ax.texts]
    assert sum(text in ("YES", "NO", "UNDECIDED") for text in said) == 8
    assert said.count("YES") == 1
    assert "pieces of gan: 0, needed 20" in said
    labels = [tick.get_text() for ax in fig.axes for tick in ax.get_yticklabels()]
    assert {"VAE above GAN (n = 40)", "GAN beside real (GAN 0, real 40)"} <= set(labels)
    assert any("only listeners can say" in text for text in said)
    fig.draw_without_rendering()


def test_a_picture_keeps_the_sets_colours_and_few_bytes(tmp_path, monkeypatch):
    displayed = []
    monkeypatch.setattr(figures, "display", displayed.append)
    fig, ax = plt.subplots(figsize=(4, 3))
    for place, colour in enumerate(COLOURS.values()):
        ax.bar(place, 1, color=colour)
    figures.show(fig, "bars", "Seven bars", paths=Paths(tmp_path))
    (shown,) = displayed
    assert not plt.fignum_exists(fig.number)
    assert {f.name for f in (tmp_path / "figures").iterdir()} == {"bars.png", "bars.svg"}
    whole = (tmp_path / "figures" / "bars.png").read_bytes()
    assert len(shown.data) < len(whole)
    (tmp_path / "small.png").write_bytes(shown.data)
    pixels = np.asarray(Image.open(tmp_path / "small.png").convert("RGB")).reshape(-1, 3)
    for colour in COLOURS.values():
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(pixels.astype(int) - wanted).max(axis=1).min() <= 1
    with pytest.raises(ValueError, match="say in words what the picture shows"):
        figures.show(plt.figure(), "x", " ", paths=Paths(tmp_path))


# Diagrams


def shapes(ax):
    return (
        [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)],
        [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)],
    )


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_the_workflow_has_the_papers_five_stages():
    ax = figures.plot_workflow()
    boxes, arrows = shapes(ax)
    assert len(boxes) == 5 + 3
    assert len(arrows) == 4
    for word in ("Data collection", "Pre-processing", "Model", "Generation", "Analysis"):
        assert word in words(ax)
    colours = {to_hex(box.get_edgecolor()) for box in boxes}
    assert {COLOURS[m].lower() for m in ("gan", "lstm", "vae")} <= colours


def blocks(*parents):
    return [Block(f"b{i}", ["Dense"], "(None, 4)", 8, list(p)) for i, p in enumerate(parents)]


def test_rows_come_below_their_parents_and_inputs_above_their_takers():
    graph = blocks((), (0,), (1,), (), (2, 3))
    assert [row for _, row in arrange(graph).places] == [0, 1, 2, 2, 3]


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=14))
def test_no_boxes_overlap_and_arrows_go_down(parents):
    graph = blocks(*(sorted({p % i for p in some}) if i else () for i, some in enumerate(parents)))
    layout = arrange(graph)
    by_row = {}
    for x, row in layout.places:
        assert all(abs(x - other) >= 1 - 1e-6 for other in by_row.setdefault(row, []))
        by_row[row].append(x)
        assert 0.5 - 1e-6 <= x <= layout.width - 0.5 + 1e-6
    assert len(layout.routes) == sum(len(block.parents) for block in graph)
    for route in layout.routes:
        rows = [row for _, row in route]
        assert rows == list(range(rows[0], rows[-1] + 1))
        for x, row in route[1:-1]:
            assert all(abs(x - other) >= 0.6 for other in by_row.get(row, []))


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def branched(keras):
    """Two inputs, a skip, two heads, an operation that is no layer."""
    layers = keras.layers
    codes, place = keras.Input((None, 8), name="codes"), keras.Input((None,), name="place")
    x = layers.Dense(6, name="read")(codes)
    x = layers.Dropout(0.1)(x)
    y = layers.Embedding(5, 2, name="where")(place)
    h = layers.Concatenate(name="both")([x, y])
    s = layers.LSTM(4, return_sequences=True, name="memory")(h)
    s = layers.Concatenate(name="skip")([s, h])
    heads = [layers.Dense(3, name=f"voice_{i}")(s) for i in range(2)]
    return keras.Model([codes, place], layers.Add(name="sum")(heads), name="lstm")


def test_the_graph_is_read_off_the_model(branched):
    order = [block.name for block in read_blocks(branched)]
    found = {block.name: block for block in read_blocks(branched)}
    names = {"codes", "place", "read", "where", "both", "memory", "skip", "voice_0", "voice_1"}
    assert set(order) == names | {"sum"}
    assert found["read"].kinds == ["Dense", "Dropout"]
    assert found["memory"].shape == "(None, None, 4)"
    assert found["memory"].parameters == 4 * 4 * (8 + 4 + 1)
    parents = {name: {order[p] for p in found[name].parents} for name in order}
    assert parents["both"] == {"read", "where"}
    assert parents["skip"] == {"memory", "both"}
    assert parents["sum"] == {"voice_0", "voice_1"}


def test_no_parameter_is_lost(keras, branched):
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    chain = keras.Sequential([keras.Input((8,)), *layers])
    assert [block.kinds[1:] for block in read_blocks(chain)] == [
        [],
        ["BatchNormalization", "ReLU"],
    ]
    for model in (branched, chain):
        found = read_blocks(model)
        assert sum(block.parameters for block in found) == model.count_params()
        for place, block in enumerate(found):
            assert all(parent < place for parent in block.parents)


def test_a_model_without_a_graph_is_refused(keras):
    allowed = "allowed: a functional or built sequential model"
    with pytest.raises(ValueError, match=f"model: got str; {allowed}"):
        figures.plot_architecture([("title", "no model")])
    with pytest.raises(ValueError, match=f"model: got Sequential; {allowed}"):
        figures.plot_architecture(keras.Sequential([keras.layers.Dense(4)]))


def test_the_drawing_shows_names_shapes_and_counts(branched):
    ax = figures.plot_architecture(branched, colour="lstm")
    boxes, arrows = shapes(ax)
    assert len(boxes) == len(read_blocks(branched))
    assert len(arrows) == sum(len(block.parents) for block in read_blocks(branched))
    shown = words(ax)
    assert "memory" in shown
    assert "Dense + Dropout" in shown
    assert "(None, None, 4)  208 parameters" in shown
    assert f"{branched.count_params():,} parameters" in shown
    assert to_rgb(COLOURS["lstm"]) in {to_rgb(box.get_edgecolor()) for box in boxes}


def test_stages_stand_side_by_side_with_an_arrow_between(keras):
    x = keras.Input((8,))
    encoder = keras.Model(x, keras.layers.Dense(2)(x), name="encoder")
    z = keras.Input((2,))
    decoder = keras.Model(z, keras.layers.Dense(8)(z), name="decoder")
    ax = figures.plot_architecture([("Encoder", encoder), ("Decoder", decoder)])
    boxes, arrows = shapes(ax)
    assert (len(boxes), len(arrows)) == (4, 2 + 1)
    assert {"Encoder", "Decoder", "18 parameters", "24 parameters"} <= set(words(ax))
    left, right = boxes[0].get_extents(), boxes[2].get_extents()
    assert left.x1 < right.x0


def test_text_shrinks_with_small_axes(branched):
    natural = figures.plot_architecture(branched)
    small = figures.plot_architecture(branched, ax=plt.subplots(figsize=(2, 2))[1])
    sizes = [max(text.get_fontsize() for text in ax.texts) for ax in (natural, small)]
    assert sizes[1] < 0.5 * sizes[0]
