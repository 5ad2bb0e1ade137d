"""Claim C1: simulated answers never decide it, real ones only by the rule."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from musiclib import listener_claim, plots_verdict, verdicts
from musiclib.answers import LISTENER, SIMULATED, Answer, ProvenanceError, answer_line, header
from musiclib.listening import CHOICE, HEARD, clip_code, deal, design
from musiclib.listening import Clip as OneClip
from musiclib.simulated_listeners import write_simulated

SEED = 0
COMMITTED = Path(__file__).resolve().parent.parent / "data/listening/simulated_answers.csv"


def make_clips(*, seeds=5, n=10):
    """Return clips whose models have so many trainings."""
    silent = np.zeros((1, 88, 2), np.uint8)
    trained = ("lstm", "gan", "vae")
    return [
        OneClip(clip_code(m, k), m, k % seeds if m in trained else -1, k, "", silent)
        for m in HEARD
        for k in range(n)
    ]


CLIPS = make_clips()


def listen(folder, prefer, *, listeners=20, clips=CLIPS, kinds=("rating", "choice"), tag=None):
    """Write files of real listeners, who choose as `prefer(first model, second model)` says."""
    folder.mkdir(exist_ok=True)
    model = {clip.code: clip.model for clip in clips}
    for k in range(listeners):
        name, lines = f"l{k}", [header(LISTENER)]
        for trial in deal(clips, listener=name, seed=SEED):
            if trial.kind in kinds:
                pair = (model[trial.first], model.get(trial.second))
                said = prefer(*pair) if trial.kind == CHOICE else "3"
                answer = Answer(tag or design(clips, seed=SEED), name, *trial, said, 20.0)
                lines.append(answer_line(answer, provenance=LISTENER))
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def by_rank(order):
    """Return listeners who always choose what stands earlier in an order."""
    return lambda a, b: "first" if order.index(a) < order.index(b) else "second"


def parts(folder, clips=CLIPS):
    return listener_claim.listener_parts(folder, clips, seed=SEED, n_resamples=200)


def answer_of(found):
    return verdicts.verdict(found).set_index("claim").loc["C1", "holds"]


PAPERS = ("real", "lstm", "gan", "vae", "markov")


# What is simulated never enters


def checked(body):
    return f"{body},{zlib.crc32(body.encode()):08x}"


def disguises():
    """Return ways in which a simulated file might come to lie among real ones: name and text."""
    text = COMMITTED.read_text()
    no_word = text.replace("provenance_simulated", "provenance_listener").replace(
        "simulated", "listener"
    )
    stripped = "\n".join(line.split(",", 1)[1] for line in text.splitlines())
    renamed = text.replace("provenance_simulated", "source")
    headers = ("provenance_simulated", "provenance_listener")
    return {
        "as it is": ("simulated_answers.csv", text),
        "another name": ("heron.csv", text),
        "name and header changed": ("heron.csv", text.replace(*headers)),
        "column renamed": ("heron.csv", renamed),
        "column taken out": ("heron.csv", stripped),
        "column taken out, real header": (
            "heron.csv",
            "\n".join([header(LISTENER), *stripped.splitlines()[1:]]),
        ),
        "header taken out": ("heron.csv", text.split("\n", 1)[1]),
        "every word replaced": ("heron.csv", no_word),
        "every word replaced and no header": ("heron.csv", no_word.split("\n", 1)[1]),
        "real words, simulated name": ("Simulated.csv", no_word),
        "upper case": ("heron.csv", text.upper()),
    }  # fmt: skip


@pytest.mark.parametrize("how", disguises())
def test_a_simulated_file_is_refused_however_it_is_called(how, tmp_path):
    folder = listen(tmp_path / "answers", by_rank(PAPERS), listeners=2)
    name, text = disguises()[how]
    (folder / name).write_text(text)
    with pytest.raises(ProvenanceError):
        parts(folder)
    for file in folder.glob("l*.csv"):
        file.unlink()
    with pytest.raises(ProvenanceError):
        parts(folder)


def test_a_forger_who_mends_every_checksum_still_has_answered_no_test(tmp_path):
    lines = COMMITTED.read_text().replace(SIMULATED, LISTENER).splitlines()
    mended = [lines[0], *(checked(line.rpartition(",")[0]) for line in lines[1:])]
    (tmp_path / "heron.csv").write_text("\n".join(mended) + "\n")
    found = parts(tmp_path)
    assert found["holds"].tolist() == ["undecided"] * 2
    assert found["why"].str.startswith("real listeners: 0, needed").all()


def test_a_file_without_provenance_is_refused(tmp_path):
    folder = listen(tmp_path / "answers", by_rank(PAPERS))
    some = folder / "l3.csv"
    some.write_text("\n".join(line.split(",", 1)[1] for line in some.read_text().splitlines()))
    with pytest.raises(ProvenanceError, match="does not say provenance_listener"):
        parts(folder)


def test_the_feeding_function_takes_no_table(tmp_path):
    with pytest.raises(TypeError):
        parts(pd.read_csv(COMMITTED))
    simulated = write_simulated(CLIPS, tmp_path / "simulated.csv")
    with pytest.raises(ProvenanceError):
        parts(simulated.parent)


# What real listeners say


def test_without_listeners_it_is_undecided(tmp_path):
    found = parts(tmp_path / "none")
    assert list(found) == verdicts.PART_COLUMNS
    assert found["part"].tolist() == ["LSTM above GAN", "GAN above VAE"]
    assert found["effect"].isna().all()
    assert answer_of(found) == "undecided"


@pytest.mark.parametrize(
    ("order", "holds"),
    [(PAPERS, "yes"), (("real", "vae", "gan", "lstm", "markov"), "no")],
)
def test_clear_orders_are_decided(order, holds, tmp_path):
    found = parts(listen(tmp_path / "answers", by_rank(order)))
    assert found["holds"].tolist() == [holds] * 2
    assert answer_of(found) == holds
    assert found[["seeds", "n_first", "n_second"]].to_numpy().tolist() == [[5, 10, 10]] * 2
    whole = pd.concat([found, found.assign(claim="C2", holds="no")], ignore_index=True)
    picture = plots_verdict.draw_verdict(whole, verdicts.verdict(whole))
    words = [text.get_text() for text in picture.axes[1].get_yticklabels()]
    assert words == ["LSTM above GAN (n = 10)", "GAN above VAE (n = 10)"]
    plt.close(picture)
    assert verdicts.verdict(whole)["holds"].tolist() == [holds, "no"] + ["undecided"] * 6


def test_no_preference_at_all_is_no(tmp_path):
    found = parts(listen(tmp_path / "answers", lambda a, b: "tie"))
    assert found["effect"].abs().max() < 1e-9
    assert answer_of(found) == "no"


def test_what_lies_about_the_margin_is_undecided(tmp_path):
    rng = np.random.default_rng(0)
    liking = dict(zip(PAPERS, np.arange(5) * -listener_claim.MARGIN, strict=True))

    def noisy(a, b):
        return "first" if rng.random() < 1 / (1 + math.exp(liking[b] - liking[a])) else "second"

    assert answer_of(parts(listen(tmp_path / "answers", noisy))) == "undecided"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"listeners": 11}, "real listeners: 11, needed 12"),
        ({"clips": make_clips(seeds=4)}, "trainings: 4, needed 5"),
        ({"clips": make_clips(seeds=1)}, "trainings: 1, needed 5"),
        ({"kinds": ("rating",)}, "real listeners: 0, needed 12"),
        ({"tag": "another"}, "real listeners: 0, needed 12"),
        ({"listeners": 1}, "real listeners: 1, needed 12"),
    ],
)
def test_too_little_is_told_and_decides_nothing(settings, why, tmp_path):
    found = parts(
        listen(tmp_path / "answers", by_rank(PAPERS), **settings), settings.get("clips", CLIPS)
    )
    assert found["why"].unique().tolist() == [why]
    assert answer_of(found) == "undecided"


def test_few_choices_between_the_two_decide_nothing(tmp_path):
    model = {clip.code: clip.model for clip in CLIPS}
    folder = listen(tmp_path / "answers", by_rank(PAPERS))
    for file in sorted(folder.iterdir())[4:]:
        lines = file.read_text().splitlines()
        kept = [
            line
            for line in lines[1:]
            if {model.get(code) for code in line.split(",")[5:7]} != {"lstm", "gan"}
        ]
        file.write_text("\n".join([lines[0], *kept]) + "\n")
    found = parts(folder)
    assert found["why"].tolist() == ["choices between the two: 16, needed 20", ""]
    assert answer_of(found) == "undecided"
