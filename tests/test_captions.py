"""What a lesson says of the released run is what its outputs and the released tables show."""

from __future__ import annotations

import ast
import re
import statistics

import pandas as pd
import pytest

from study.chorales import chorale_scores
from study.runner import ROOT, code_cells, read_notebook

LESSONS = ("01_data_preparation", "03_gan")  # those that are lessons by now
MOST_CELLS, MOST_LINES, MOST_WORDS, LONGEST, FIRST_SOUND, MOST_NAMES = 45, 350, 2_500, 30, 6, 8
SENTENCE = re.compile(r"In the released run.+?[.](?=\s|$)", re.DOTALL)

each_lesson = pytest.mark.parametrize("name", LESSONS)


def lesson(name):
    return read_notebook(ROOT / "notebooks" / f"{name}.ipynb")


def text_of(cell):
    """Return what a cell printed, and its tables, as text."""
    found = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    return "\n".join(found)


def sentences(name):
    cells = [cell.source for cell in lesson(name).cells if cell.cell_type == "markdown"]
    return [" ".join(s.split()) for source in cells for s in SENTENCE.findall(source)]


def stated_by_01():
    """Return the sentences on the released run as its outputs and tables have them."""
    said = {cell.id: text_of(cell) for cell in code_cells(lesson("01_data_preparation"))}

    def number(cell, pattern):
        """Return what a pattern's groups match in the output of a cell."""
        found = re.search(pattern, said[cell])
        assert found, f"{pattern!r} is not in what {cell} prints: {said[cell]!r}"
        return found.groups()

    facts = pd.read_csv(ROOT / "data" / "results" / "corpus_facts.csv").set_index("fact")["value"]
    split = pd.read_csv(ROOT / "data" / "splits" / "chorales.csv")
    family = split.set_index("piece")["group"].loc[lambda group: group == group["bwv244.54"]]
    struck, samples = number("data-sound", r"32 quarter notes: (\d+) notes, or ([\d,]+) samples")
    starts = [row.split()[1] for row in said["data-notes"].splitlines()[1:5]]
    assert len(set(starts)) == 1, "the first four notes start together"
    same = [row.split()[3] for row in said["data-notes"].splitlines()[1:5]]
    assert sorted(same)[:2] == ["62", "62"]
    (filled,) = number("data-draw", r"([\d.]+) % of the entries are 1\n")
    assert "the library agrees: True" in said["data-draw"]
    assert said["data-held"].startswith("sustain equal: True\nonset equal: False")
    exact, rolls = number("data-round-trip", r"(\d+) of (\d+) rolls come back")
    assert exact == rolls == facts["pieces"]
    (grid,), (merged,) = (
        number("data-grid", rf"{what}: ([\d.]+) %") for what in ("moved by the grid", "merged.*?")
    )
    assert grid == facts["notes that the grid moved (%)"]
    assert f"{float(merged):.2f}" == facts["notes merged with a unison (%)"]
    lowest, highest = facts["lowest and highest pitch"].split(", ")
    quarter, eighth = number("data-histograms", r"(\d+) % of the notes last.*, (\d+) % an eighth")
    written, moved = number("data-normalised", r"written: ([\d.]+) %[\s\S]+moved: ([\d.]+) %")
    (six,) = number("data-chords", r"the six commonest fill (\d+) %")
    (c_major,) = number("data-chords", r"C major +([\d.]+)\nA minor")
    common, runs = number("data-rule", r"in common: (\d+) of the (\d+) runs")
    assert int(common) >= 0.2 * int(runs)
    sides = split.groupby("split")["group"].agg(["size", "nunique"])
    train, valid, test = (sides.loc[side].tolist() for side in ("train", "valid", "test"))
    assert facts["training, validation, test pieces"] == f"{train[0]}, {valid[0]}, {test[0]}"
    densities = re.findall(r"\d\.\d\d", said["data-sides"])
    careless, by_tune = number("data-leak", r"pieces: (\d+) %[\s\S]+as here: (\d+) %")
    first, last = (int(key) for key in number("data-codec", r"keys (\d+) to (\d+) of 88"))
    (lost,) = number("data-solution-1", r"([\d.]+) % of the notes vanish")
    down, up = number("data-solution-2", r"(\d+) semitones down, (\d+) up")
    pieces, copies = number("data-solution-2", r"(\d+) training pieces become ([\d,]+)")
    half, fifth = number("data-solution-3", r"(\d+) tunes if half .* agree, (\d+) at a fifth")
    assert fifth == facts["tunes"]
    run = "In the released run"
    return [
        f"{run}, whose outputs this page shows, these 24 seconds hold {struck} notes.",
        f"{run}, the first four rows start at {starts[0]} seconds: one note for each voice.",
        f"{run}, the {struck} notes become {samples} samples (one second of fading included), and "
        "no note is marked in them.",
        f"{run}, {filled} % of the entries are 1: four voices, 88 keys.",
        f"{run}, all {rolls} rolls come back exactly; but when the files were first drawn, the "
        f"grid moved {grid} % of the notes and merged {merged} % with another.",
        f"{run}, pitches reach from {lowest} to {highest} (the number counts octaves), {quarter} % "
        f"of the notes last a quarter note and {eighth} % an eighth.",
        f"{run}, {written} % of the notes are on white keys as written, and {moved} % once moved.",
        f"{run}, six chords fill {six} % of all quarter notes, and C major alone fills "
        f"{c_major} %.",
        f"{run}, {len(family)} pieces share this one.",
        f"{run}, {common} of the {runs} runs agree, far more than a fifth.",
        f"{run}, training has {train[0]} pieces of {train[1]} tunes, validation {valid[0]} of "
        f"{valid[1]}, and test {test[0]} of {test[1]}.",
        f"{run}, the mean densities lie between {min(densities)} and {max(densities)}.",
        f"{run}, {careless} % of the test pieces would have a tune that training knows; "
        f"split by tune it is {by_tune} %, by construction.",
        f"{run}, the codec keeps keys {first} to {last}, which is {last - first + 1} of 88.",
        f"{run}, {lost} % of the notes vanish.",
        f"{run}, the median piece can move {down} semitones down and {up} up, and {pieces} "
        f"training pieces become {copies}.",
        f"{run}, there are {half} tunes instead of {fifth}.",
    ]


def test_01_counts_its_chorales():
    facts = pd.read_csv(ROOT / "data" / "results" / "corpus_facts.csv").set_index("fact")["value"]
    text = " ".join(c.source for c in lesson("01_data_preparation").cells)
    assert f"look at {facts['pieces']} chorales as numbers" in text
    assert facts["files refused or skipped"] == "1"
    assert "one chorale was skipped" in text
    assert f"reads {len(chorale_scores())} scores by Bach" in text


STATED = {"01_data_preparation": stated_by_01}


@each_lesson
def test_what_is_said_of_the_released_run_is_so(name):
    assert sentences(name) == STATED[name]()


@each_lesson
def test_a_lesson_fits_into_ninety_minutes(name):
    cells = lesson(name).cells
    code = [cell.source.splitlines() for cell in cells if cell.cell_type == "code"]
    lines = list(map(len, code))
    words = " ".join(cell.source for cell in cells if cell.cell_type == "markdown").split()
    assert len(cells) <= MOST_CELLS
    assert sum(bool(line.strip()) for cell in code for line in cell) <= MOST_LINES
    assert max(lines) <= LONGEST
    assert statistics.median(lines) <= 9
    assert len(words) <= MOST_WORDS


@each_lesson
def test_music_comes_first(name):
    cells = lesson(name).cells
    sounds = [i for i, cell in enumerate(cells, start=1) if "<audio" in str(cell.get("outputs"))]
    equations = [i for i, cell in enumerate(cells, start=1) if "$" in cell.source]
    assert sounds[0] <= min([FIRST_SOUND, *equations])


@each_lesson
def test_a_lesson_imports_few_names_of_this_repository(name):
    found = set()
    for cell in code_cells(lesson(name)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                found |= {
                    a.name for a in node.names if a.name.split(".")[0] in ("musiclib", "study")
                }
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in (
                "musiclib",
                "study",
            ):
                found |= {a.name for a in node.names}
    assert len(found) <= MOST_NAMES


@each_lesson
def test_each_picture_is_described_in_words(name):
    for cell in code_cells(lesson(name)):
        for out in cell.outputs:
            if "image/png" in out.get("data", {}):
                assert out.metadata["image/png"]["alt"], cell.id


def stated_by_03():
    """Return the sentences on the released run as its outputs and tables have them."""
    said = {cell.id: text_of(cell) for cell in code_cells(lesson("03_gan"))}

    def row(cell, name):
        """Return the numbers of a row that a cell shows."""
        (line,) = [line for line in said[cell].splitlines() if line.split()[:1] == [name]]
        return line.split()[1:]

    real, untrained = re.search(r"([\d.]+)% are 1; untrained ([\d.]+)%", said["gan-batch"]).groups()
    (far, floor), (nearest, one) = (row("gan-plain-judge", n) for n in ("distance", "nearest"))
    assert (one, float(nearest) < 0.05) == ("1.00", True)  # all but one piece
    results = ROOT / "data" / "results"
    d_loss, g_loss = pd.read_csv(results / "history_plain_gan_0.csv").iloc[-1][["d_loss", "g_loss"]]
    assert f"30 of 30, losses {d_loss:.2f}, {g_loss:.2f}" in said["gan-plain-train"]
    history = pd.read_csv(results / "history_gan_0.csv")
    (low, near), (high, last) = history.iloc[[0, -1]][["wasserstein", "distance"]].to_numpy()
    held = dict(re.findall(r"held (\w+): nearest ([\d.]+)", said["gan-solution-1"]))
    steps, odds = row("gan-ladder", "top_step"), "gan-solution-2"
    (with_k, without, _), leaps, apart = (
        row(odds, n) for n in ("top_step", "leap_share", "distance")
    )
    assert (row("gan-ladder", "distance")[0], steps[0]) == (apart[0], with_k)
    drawn = [row("gan-solution-3", name)[0] for name in ("distance", "nearest")]
    run = "In the released run"
    return [
        f"{run}, {real} % of the cells of the real batch are 1, and {untrained} % of those "
        "that the untrained generator writes.",
        f"{run}, the plain GAN has a distance of {far}, where real music has {floor}, and "
        f"`nearest` is {nearest}: its pieces are all but one piece.",
        f"{run}, the losses end at {d_loss:.2f} for the discriminator and {g_loss:.2f} for the "
        "generator.",
        f"{run}, it rises from {low:.2f} to {high:.2f} while the distance falls from {near:.2f} to "
        f"{last:.2f}.",
        f"{run}, the refined GAN has a distance of {apart[0]}, and its highest voice moves by "
        f"{steps[0]} semitones, in real music by {steps[1]}.",
        f"{run}, `nearest` is {held['nothing']} with nothing held, {held['piece_noise']} with the "
        f"piece noise, {held['bar_noise']} with the bar noise and {held['onset_noise']} with the "
        "onset noise.",
        f"{run}, the highest voice moves by {without} semitones instead of {with_k}, the share of "
        f"leaps rises from {leaps[0]} to {leaps[1]}, and the distance from {apart[0]} to "
        f"{apart[1]}.",
        f"{run}, `nearest` rises to {drawn[1]}, but the distance stays at {drawn[0]}.",
    ]


STATED["03_gan"] = stated_by_03
