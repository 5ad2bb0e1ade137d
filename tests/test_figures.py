"""The pictures of the comparison draw what they are given, with n, and never fail on little."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from PIL import Image

from musiclib.plots import COLOURS
from study import claims, figures
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
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["printed in the paper", "ours"]
    assert legend.get_lines()[0].get_markerfacecolor() == "white"
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
    assert said == [" 75.0 %", " 25.0 %, cannot be picked"]
    assert ax.get_title() == "1 of 2 can be picked, fully separated"


def test_a_heat_map_writes_every_number():
    frame = pd.DataFrame({"vae": [0.5, np.nan], "gan": [9.0, 1.0]}, index=["top_step", "silence"])
    ax = figures.plot_heatmap(frame, limits=(0, 3), unit="distance")
    assert [text.get_text() for text in ax.texts] == ["0.50", "9.00", "-", "1.00"]
    assert [text.get_color() for text in ax.texts][:2] == ["black", "white"]
    ax = figures.plot_heatmap(frame, limits=(0, 3), unit="distance", apart=1)
    assert [line.get_xdata()[0] for line in ax.lines] == [0.5]  # between the two columns


def test_distances_are_drawn_on_a_logarithmic_axis():
    frame = pd.DataFrame({
        "model": ["vae", "gan"], "distance": [0.4, np.nan], "low": [0.0, np.nan],
        "high": [0.9, np.nan], "seeds": [5, 0], "n": [40, 0], "undefined": [0, 40],
    })  # fmt: skip
    ax = figures.plot_distances(frame)
    assert ax.get_xscale() == "log"
    assert "VAE (n = 40, seeds: 5)" in texts(ax)
    assert not any("GAN" in text for text in texts(ax))


def parts():
    """Return deciding parts of two claims, one of them without numbers."""
    frame = pd.DataFrame([
        ("C2", "plain", "VAE above GAN", "vae", "gan", "energy", "dB", True, "yes", 3.0, 2.0, 4.0,
         1.0, 5, 40, 40, "", "", False, ""),
        ("C8", "plain", "GAN beside real", "gan", "real", "spread", "ratio", True, "undecided",
         np.nan, np.nan, np.nan, 0.8, 0, 0, 40, "pieces of gan: 0, needed 20", "", False,
         ""),
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
    figures.show(ax.figure, "", "The same bars", paths=Paths(tmp_path))
    assert len(list((tmp_path / "figures").iterdir())) == 2, "without a name nothing is saved"
    assert [picture.alt for picture in displayed] == ["Seven bars", "The same bars"]
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


CONCEPTS = {
    "gan": (figures.plot_gan_concept, 2, {"generator", "discriminator", "real music"}),
    "lstm": (figures.plot_lstm_concept, 2, {"dropout", "step $x_t$", "prediction of $x_{t+1}$"}),
    "vae": (figures.plot_vae_concept, 3, {"encoder", "decoder", "z_mean,\nz_log_var"}),
}


@pytest.fixture(params=CONCEPTS)
def concept(request):
    """Give a model, its concept drawn on 11 by 4 inches, its dashed arrows and some words."""
    plot, dashed, some = CONCEPTS[request.param]
    given = plt.subplots(figsize=(11, 4), layout="constrained")[1]
    ax = plot(ax=given)
    assert ax is given
    ax.figure.draw_without_rendering()
    return request.param, ax, dashed, some


def test_a_concept_names_its_parts_in_the_models_colour(concept):
    model, ax, dashed, some = concept
    boxes, arrows = shapes(ax)
    assert some <= set(words(ax))
    assert COLOURS[model].lower() in {to_hex(box.get_edgecolor()) for box in boxes}
    assert sum(arrow.get_linestyle() == "--" for arrow in arrows) == dashed
    assert min(text.get_fontsize() for text in ax.texts) >= 10


def test_no_text_of_a_concept_meets_an_arrow_or_the_edge_of_a_box(concept):
    _, ax, _, _ = concept
    boxes, arrows = shapes(ax)
    frames = [box.get_window_extent() for box in boxes]
    paths = [arrow.get_path().transformed(ax.transData) for arrow in arrows]
    lines = [Path(part) for path in paths for part in path.to_polygons(closed_only=False)]
    spaces = [text.get_window_extent() for text in ax.texts]
    for i, space in enumerate(spaces):
        assert all(ax.bbox.contains(*corner) for corner in space.corners())
        assert not any(line.intersects_bbox(space, filled=False) for line in lines)
        assert space.count_overlaps(spaces[:i]) == 0
        for frame in frames:
            inside = all(frame.fully_contains(*corner) for corner in space.corners())
            assert inside or not frame.overlaps(space)


def test_the_pictures_of_losses_and_feedback_say_what_they_are():
    ax = figures.plot_vae_concept()
    said = " ".join(words(ax)).replace("\n", " ")
    assert "z = z_mean + exp(z_log_var / 2) * epsilon" in said
    assert "reconstruction loss" in said
    assert "KL to N(0, I)" in said
    assert any(text.startswith("gradient") for text in words(figures.plot_gan_concept()))
    assert words(figures.plot_lstm_concept()).count("state") == 8


def test_text_shrinks_with_small_axes():
    natural = figures.plot_vae_concept()
    small = figures.plot_vae_concept(ax=plt.subplots(figsize=(2, 2))[1])
    sizes = [max(text.get_fontsize() for text in ax.texts) for ax in (natural, small)]
    assert sizes[1] < 0.5 * sizes[0]
