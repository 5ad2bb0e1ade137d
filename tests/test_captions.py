"""What a lesson says of the released run is what its outputs and the released tables show."""

from __future__ import annotations

import ast
import re
import statistics

import pandas as pd
import pytest

from study.chorales import chorale_scores
from study.listening import HEARD
from study.preference import expected_scores
from study.runner import ROOT, code_cells, read_notebook
from study.stats import MODELS

LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))
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
    code = [cell.source.splitlines() for cell in cells if cell.cell_type == "code"]
    lines = [sum(bool(line.strip()) for line in cell) for cell in code]
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


def test_the_pictures_of_the_research_notebook_are_described_in_words():
    test_each_picture_is_described_in_words("research/data_in_full")


def stated_by_06():
    """Return the sentences on the released run as its outputs and tables have them."""
    said = {cell.id: text_of(cell) for cell in code_cells(lesson("06_listening_test"))}

    def number(cell, pattern):
        found = re.search(pattern, said[cell])
        assert found, f"{pattern!r} is not in what {cell} prints: {said[cell]!r}"
        return [group.replace("-", "−") for group in found.groups()]

    def table(name):
        path = ROOT / "data" / "results" / f"listening_{name}_simulated.csv"
        return pd.read_csv(path, index_col=0 if name != "agreement" else None)

    def written(value):
        return f"{value:.2f}".replace("-", "−")

    scores, rhos, (agreed,) = table("scores"), table("prediction"), table("agreement").iloc
    models, put_in = scores.loc[list(MODELS)], dict(zip(HEARD, expected_scores(), strict=True))
    assert models["low"].max() < models["high"].min(), "the intervals of the models overlap"
    for name in ("real", "markov"):
        assert scores.loc[name, "low"] < put_in[name] < scores.loc[name, "high"]
    real, chain = (f"{written(scores['score'][k])} (put in: {written(put_in[k])})" for k in put_in
                   if k not in MODELS)  # fmt: skip
    assert ((rhos["rho_low"] < 0) & (rhos["rho_high"] > 0)).sum() == 4
    assert agreed["p"] < 0.001
    alpha, low, high, w = (written(agreed[k]) for k in ("alpha", "low", "high", "w"))
    (html,) = (c.outputs[0].data["text/html"] for c in code_cells(lesson("06_listening_test"))
               if c.id == "listen-power")  # fmt: skip
    reach, _, _, *more = re.findall(r">([\d.]+)</td>", html)
    (further, less, _), (last, least, _) = more[:3], more[3:]
    softest, loudest, level = number("listen-levels", r"(-[\d.]+) to (-[\d.]+) L.*?(-[\d.]+)")
    ratings, choices, minutes = number("listen-screen", r"(\d+) ratings and (\d+) .* (\d+) min")
    (people,) = number("listen-read", r"(\d+) real listeners")
    (c1,) = number("listen-verdict", r"claim C1: (\w+)")
    assert (people, c1) == ("0", "undecided")
    half, none = number("listen-solution-1", r"way: ([\d.]+)[\s\S]+way: ([\d.]+)")
    random, order = number("listen-solution-2", r"alpha (-?[\d.]+), mean W ([\d.]+)")
    answers, lines = number("listen-solution-3", r"word: (\d+) answers, (\d+) lines skipped")
    assert said["listen-solution-3"].count("refused") == 3
    run = "In the released run"
    return [
        f"{run}, the clips lay between {softest} and {loudest} LUFS before, and all lie at {level} "
        "after.",
        f"{run}, each listener gives {ratings} ratings and makes {choices} choices, with {minutes} "
        "minutes of music.",
        f"{run}, {people} real listeners have answered so far.",
        f"{run}, the method finds what was put in: real music scores {real}, the chain {chain}, "
        "and the intervals of the three models overlap, all simulated.",
        f"{run}, the simulated alpha is {alpha}, with an interval from {low} to {high}, and the "
        f"simulated W is {w} with a p below 0.001.",
        f"{run}, the interval reaches {reach} to either side with 10 listeners, {further} with 40 "
        f"(predicted: {less}) and {last} with 160 (predicted: {least}), all simulated.",
        f"{run}, all four intervals contain 0, which is no surprise: simulated listeners hear "
        "nothing.",
        f"{run}, C1 is {c1}, because no real listener has answered.",
        f"{run}, the difference is {half} with the half wins and {none} without.",
        f"{run}, 20 shuffles of simulated ratings give a mean alpha of {random} and a mean W of "
        f"{order}.",
        f"{run}, the first three tries are refused, and the fourth gives {answers} answers: "
        f"{lines} lines are skipped, because they belong to another test.",
    ]


STATED["06_listening_test"] = stated_by_06


def test_06_says_what_is_simulated():
    cells = {cell.id: cell for cell in code_cells(lesson("06_listening_test"))}
    for name in ("wins", "scores", "agreement", "power", "measures"):
        for out in cells[f"listen-{name}"].outputs:
            shown = (
                str(out.get("metadata", "")) + str(out.get("text", "")) + str(out.get("data", ""))
            )
            assert re.search("simulated", shown, re.IGNORECASE), name


def stated_by_02():
    """Return the sentences of lesson 02 on the released run, from its outputs and tables."""
    said = {cell.id: text_of(cell) for cell in code_cells(lesson("02_lstm"))}

    def row(cell, name):
        """Return the numbers of a row of the table that a cell shows."""
        (found,) = re.findall(rf"^ *{re.escape(name)} +([-\d. ]+)$", said[cell], re.MULTILINE)
        return found.split()

    on, same = re.findall(r"([\d.]+) % of the", said["lstm-batch"])
    wrote, asked = "lstm-plain-written", "lstm-temperature"
    density, consonant = row(wrote, "note_density"), row(wrote, "consonant_share")
    plain, floor = row(wrote, "distance")
    history = pd.read_csv(ROOT / "data" / "results" / "history_lstm_0.csv")
    best = f"{history['valid'].min():.2f}"
    near = {tau: row(asked, f"temperature {tau}")[2] for tau in ("0.2", "0.4", "0.6", "1", "1.5")}
    assert min(near, key=lambda tau: float(near[tau])) == "0.6"
    hot, real = (row(asked, name)[0] for name in ("temperature 1.5", "real"))
    ladder = pd.read_csv(ROOT / "data" / "results" / "ladder.csv").query("model == 'lstm'")
    rungs = [f"{d:.2f}" for d in ladder.loc[ladder["seed"] == 0, "distance"]]
    assert rungs == sorted(rungs, key=float, reverse=True)
    refined, at_one, forgets, _ = row("lstm-controls", "distance")
    cold = {name: row("lstm-solution-1", name) for name in ("pitch_range", "nearest")}
    assert float(cold["pitch_range"][0]) < float(row(asked, "temperature 0.6")[1])
    assert float(cold["nearest"][0]) < float(row(asked, "temperature 0.6")[3])
    scale, far = (row("lstm-solution-1", n)[0] for n in ("scale_consistency", "distance"))
    assert scale == row(asked, "temperature 0.6")[0]
    together, apart = re.findall(r"([\d.]+) (?:together|apart)", said["lstm-solution-2"])
    assert together == best
    before, after, _ = row("lstm-solution-2", "consonant_share")
    voices = re.search(r"highest: ([\d. ]+) in all", said["lstm-solution-3"])[1].split()
    assert max(voices, key=float) == voices[3]
    run = "In the released run"
    return [
        f"{run}, {on} % of the switches are on, and {same} % of the steps repeat the step before.",
        f"{run}, the plain LSTM starts {density[0]} notes in a quarter note, where real music "
        f"starts {density[1]}, and {consonant[0]} of its pairs are consonant instead of "
        f"{consonant[1]}.",
        f"{run}, its distance is {plain}, where real music has {floor}.",
        f"{run}, the best validation loss is {best} nats per step.",
        f"{run}, the distance is {near['0.2']} at temperature 0.2, {near['0.6']} at 0.6 and "
        f"{near['1.5']} at 1.5.",
        f"{run}, {hot} of the notes lie inside their best scale at temperature 1.5, where Bach "
        f"has {real}.",
        f"{run}, the distance of seed 0 falls from {rungs[0]} to {rungs[1]}, {rungs[2]}, "
        f"{rungs[3]} and {rungs[4]}, rung by rung.",
        f"{run}, the distance is {refined} for the refined model, {at_one} at temperature 1 and "
        f"{forgets} without memory.",
        f"{run}, `pitch_range` falls to {cold['pitch_range'][0]} semitones and `nearest` to "
        f"{cold['nearest'][0]}; `scale_consistency` stays at {scale}.",
        f"{run}, its distance is {far}: likely is not the same as good.",
        f"{run}, the loss rises from {together} to {apart} nats per step, and the consonant share "
        f"falls from {before} to {after}.",
        f"{run}, the voices cost {voices[0]}, {voices[1]}, {voices[2]} and {voices[3]} nats per "
        "step, from soprano to bass.",
    ]


STATED["02_lstm"] = stated_by_02


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
        f"`nearest` is {nearest}: it wrote one piece 40 times.",
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
        f"{run}, `nearest` rises to {drawn[1]}; the distance only falls to {drawn[0]}.",
    ]


STATED["03_gan"] = stated_by_03


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
    found = pd.read_csv(ROOT / "data" / "results" / "distance.csv").set_index("model")["distance"]
    ladder = pd.read_csv(ROOT / "data" / "results" / "ladder.csv").query("model == 'vae'")
    rungs = [f"{distance:.2f}" for distance in ladder.query("seed == 0")["distance"]]
    with_prior, without = found["vae"], found["vae_standard_normal"]
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
        f"{run}, the distance of seed 0 goes from {rungs[0]} to {', '.join(rungs[1:-1])} and "
        f"{rungs[-1]}.",
        f"{run}, notebook 05 finds a distance of {with_prior:.2f} with it, and of {without:.2f} "
        "where $\\mathcal{N}(0, I)$ takes its place.",
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
