"""What a lesson says of the released run is what its outputs and the released tables show."""

from __future__ import annotations

import ast
import re
import statistics

import pandas as pd
import pytest

from study.chorales import chorale_scores
from study.runner import ROOT, code_cells, read_notebook

LESSONS = ("01_data_preparation", "04_vae")  # those that are lessons by now
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
    lines = [len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code"]
    words = " ".join(cell.source for cell in cells if cell.cell_type == "markdown").split()
    assert len(cells) <= MOST_CELLS
    assert sum(lines) <= MOST_LINES
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


def stated_by_04():
    """Return the sentences on the released run as the outputs of lesson 04 have them."""
    said = {cell.id: text_of(cell) for cell in code_cells(lesson("04_vae"))}

    def row(cell, name):
        """Return the numbers of a row of a table, which may be printed in several parts."""
        rows = re.findall(rf"^{re.escape(name)}  +(.+)$", said[cell], re.MULTILINE)
        return [number for found in rows for number in found.split() if number != "\\"]

    def numbers(cell, pattern):
        found = re.search(pattern, said[cell])
        assert found, f"{pattern!r} is not in what {cell} prints: {said[cell]!r}"
        return found.groups()

    drawn, rebuilt, real = row("vae-plain-misses", "polyphony")
    far, nearer, _ = row("vae-plain-misses", "distance")
    (spread,) = numbers("vae-plain-misses", r"spread of a cloud: ([\d.]+)")
    nats, kl = numbers("vae-history", r"\n\d+ +([\d.]+) +([\d.]+)")
    warm, *_, cold, _ = row("vae-temperature", "distance")
    nearest = row("vae-temperature", "nearest")[:-1]
    *fits, real_fit = row("vae-temperature", "chord_fit")
    score, windows = numbers("vae-rebuild", r"F1 ([\d.]+), (\d+) validation windows")
    walk = re.findall(r"\d\.\d\d", said["vae-walk-heard"])
    near = re.findall(r"\d\.\d\d", said["vae-neighbours"])
    (short,) = numbers("vae-solution-1", r"([\d.]+) of the length")
    own, swapped = numbers("vae-solution-2", r"own z: ([\d.]+), another window's z: ([\d.]+)")
    kept, mixed = numbers("vae-solution-3", r"and 2: F1 ([\d.]+)\n.*and 4: F1 ([\d.]+)")
    run = "In the released run"
    return [
        f"{run}, pieces from $\\mathcal{{N}}(0, I)$ sound {drawn} notes at a time instead of "
        f"{real}, and their distance is {far}.",
        f"{run}, even the $z$ of real pieces gives {rebuilt} notes and a distance of {nearer}.",
        f"{run}, the mean spread of a cloud is {spread} instead of 1, and between such narrow "
        "clouds lie points that no piece ever taught the decoder.",
        f"{run}, a validation window costs {nats} nats to rebuild at the last step, and its $z$ "
        f"carries {kl} nats.",
        f"{run}, the distance falls from {warm} at temperature 1 to {cold} at 0.1, and `nearest` "
        f"stays at {min(nearest)} or above: cold pieces still differ, because their $z$ differ.",
        f"{run}, `chord_fit`, the share of moments whose notes form one chord, is {fits[-1]} where "
        f"real music has {real_fit}.",
        f"{run}, F1 is {score} over {windows} validation windows.",
        f"{run}, the five stops of the walk have an F1 of {', '.join(walk[:-1])} and {walk[-1]} "
        "with the start: at first single notes change, then it is other music.",
        f"{run}, a neighbour at 10 degrees has an F1 of {near[1]} with the window, one at 30 "
        f"degrees {near[2]}, and one at 90 degrees {near[4]}.",
        f"{run}, the middle of the straight line has {short} of the length.",
        f"{run}, F1 falls from {own} to {swapped}, so the decoder listens.",
        f"{run}, F1 is {kept} in bars 1 and 2, and {mixed} in bars 3 and 4.",
    ]


STATED["04_vae"] = stated_by_04
