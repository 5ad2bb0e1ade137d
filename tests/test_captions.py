"""What a lesson says of the released run is what its outputs and the released tables show."""

from __future__ import annotations

import ast
import re
import statistics

import pandas as pd
import pytest

from study.chorales import chorale_scores
from study.runner import ROOT, code_cells, read_notebook

LESSONS = ("01_data_preparation", "05_comparison")  # those that are lessons by now
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


STATED = {"01_data_preparation": stated_by_01, "05_comparison": lambda: stated_by_05()}


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


def stated_by_05():
    """Return the sentences on the released run as its outputs and tables have them."""
    said = {cell.id: text_of(cell) for cell in code_cells(lesson("05_comparison"))}
    found = {path.stem: pd.read_csv(path) for path in (ROOT / "data" / "results").glob("*.csv")}

    def numbers(cell, pattern):
        """Return what a pattern's groups match in the output of a cell."""
        match = re.search(pattern, said[cell])
        assert match, f"{pattern!r} is not in what {cell} prints: {said[cell]!r}"
        return match.groups()

    near, second = (found[f"distance{name}"].set_index("model") for name in ("", "_second"))
    near, second = near["distance"], second["distance"]
    by_feature = found["distance_features"].set_index(["feature", "model"])["distance"].round(2)
    steps = numbers("cmp-ruler", r"VAE: (\S+)\nGAN: (\S+)\nLSTM: (\S+)")
    assert [*map(float, steps)] == by_feature["bottom_step"].loc[["vae", "gan", "lstm"]].tolist()
    answers = found["verdict"].pivot(index="claim", columns="kind", values="holds")
    assert not (answers == "yes").any(axis=None)
    open_ones = {kind: answers.index[answers[kind] == "undecided"].tolist() for kind in answers}
    assert open_ones == {"plain": ["C1", "C3", "C7"], "refined": ["C1", "C7"]}
    parts = found["verdict_parts"].query("decides").fillna({"passed_by": ""})
    parts = parts.set_index(["claim", "kind", "part"]).sort_index()
    errors = parts.loc[("C6", "refined")]
    assert errors.loc["VAE above GAN, first ruler", "high"] < 0
    lstm = [f"VAE above LSTM, {ruler} ruler" for ruler in ("first", "second")]
    assert errors.loc[lstm, "holds"].tolist() == ["undecided"] * 2
    more, less = (parts.loc[("C7", "refined")].filter(like=word, axis=0).iloc[0]
                  for word in ("collages", "real"))  # fmt: skip
    assert (more["holds"], less["holds"]) == ("yes", "undecided")
    assert parts.loc[("C7", "plain"), "passed_by"].tolist() == ["GAN"] * 2
    varied = parts.loc[("C8", slice(None), "GAN beside real"), "passed_by"]
    assert varied.str.contains("music backwards").all()
    line = r": (.+), by (\S+) times; largest \|mean\| (\S+)"
    plain, refined, printed = (
        numbers("cmp-paper-figure", kind + line) for kind in ("plain", "refined", "printed")
    )
    largest = max(float(plain[2]), float(refined[2]))
    names = ["lstm", "vae", "gan"]
    assert second.drop(["training", "lstm_reset"])[second < second["lstm"]].index.tolist() == [
        "markov_common_key"
    ]
    far = near[[f"plain_{name}" for name in names]]
    orders = found["distance_orders"].set_index(["first", "second", "ruler"])["nearer"]
    assert orders["gan", "lstm"].tolist() == ["lstm"] * 2
    assert orders["vae", "gan"].tolist() == ["vae"] * 2
    assert orders["vae", "lstm"].to_dict() == {"first ruler": "open", "second ruler": "lstm"}
    worst = by_feature.unstack()[names].idxmax()
    assert worst.tolist() == ["chord_fit", "chord_fit", "bottom_step"]
    worst = {name: by_feature[feature, name] for name, feature in worst.items()}
    shares = found["originality"].query("kind == 'exact' and length == 8")
    shares = (100 * shares.set_index("model")["share"]).map("{:.2f}".format)
    variety = found["variety"].set_index("model")["nearest"]
    inside = found["inside"].set_index("model")["all_four"].map("{:.1f}".format)
    (times,) = numbers("cmp-solution-1", r"(\d+) times as long")
    margins = re.findall(r"(\w+), \w+ above \w+: (\w+), then (\w+)", said["cmp-solution-2"])
    assert {kind for kind, old, new in margins if old != new} == {"refined"}
    assert [m for m in margins if m[0] == "refined"] == [("refined", "no", "undecided")] * 2
    (shown,) = numbers("cmp-solution-3", r"(\d) of 6 orders")
    run = "In the released run"
    return [
        f"{run}, this distance is {steps[0]} for the VAE, {steps[1]} for the GAN and {steps[2]} "
        "for the LSTM: the GAN's bass leaps.",
        f"{run}, no claim holds: for the plain models C1, C3 and C7 are undecided, for the "
        "refined ones C1 and C7, and all others are answered with no.",
        f"{run}, the refined VAE has fewer of them than the GAN by the first ruler (delta "
        f"{errors.loc['VAE above GAN, first ruler', 'effect']:.2f}), and against the LSTM both "
        "rulers leave it open.",
        f"{run}, melodies of the refined LSTM return more than those of collages (delta "
        f"{more['effect']:.2f}); whether as much as real ones stays open ({less['effect']:.2f}, "
        f"with a margin of {less['margin']:.2f}).",
        f"{run}, the plain GAN, which has no memory, passes both parts of C7, so that C7 is "
        "undecided for the plain models.",
        f"{run}, the printed mean energies differ by {printed[1]} times, those of our plain "
        f"models by {plain[1]} and of our refined ones by {refined[1]}.",
        f"{run}, the plain models rank {plain[0].upper()}, where the paper prints "
        f"{printed[0].upper()}.",
        f"{run}, no mean of ours is further from 0 than {largest:.5f}; the paper prints up to "
        f"{printed[2]}.",
        f"{run}, the first ruler says LSTM {near['lstm']:.2f}, VAE {near['vae']:.2f}, GAN "
        f"{near['gan']:.2f}, beside {near['training']:.2f} for training music; plain models lie "
        f"between {far.min():.2f} and {far.max():.2f}.",
        f"{run}, the second ruler says {second['lstm']:.2f}, {second['vae']:.2f} and "
        f"{second['gan']:.2f}.",
        f"{run}, music backwards is at {near['backwards']:.2f} by the first ruler and at "
        f"{second['backwards']:.2f} by the second, which hears the direction.",
        f"{run}, the Markov chain in C is at {second['markov_common_key']:.2f} by the second "
        "ruler, nearer than any model.",
        f"{run}, both rulers put the refined LSTM and the refined VAE before the refined GAN; "
        "between those two the first ruler is open, and the second prefers the LSTM.",
        f"{run}, the GAN is furthest from real music in the step of its lowest line "
        f"({worst['gan']:.2f}), the VAE ({worst['vae']:.2f}) and the LSTM ({worst['lstm']:.2f}) "
        "in how well their notes fit one chord.",
        f"{run}, of windows of 8 sixteenths the LSTM shares {shares['lstm']} % with the training "
        f"music, held-out Bach {shares['real']} %, and the chain {shares['markov']} %.",
        f"{run}, variety lies between {variety[names].min():.2f} and {variety[names].max():.2f} "
        f"for the refined models, and is {variety['plain_gan']:.2f} for the plain GAN.",
        f"{run}, {inside['lstm']} % of the LSTM's pieces lie inside, {inside['vae']} % of the "
        f"VAE's and {inside['gan']} % of the GAN's, beside {inside['real']} % of real ones.",
        f"{run}, it must be {times} times as long.",
        f"{run}, both parts of the refined models turn from no to undecided, and those of the "
        "plain models stay.",
        f"{run}, the chooser can show {shown} of 6 orders.",
    ]
