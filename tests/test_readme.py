"""The first page: its numbers are those of the released tables, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data" / "results"
PAGES = ("README.md", "CHANGELOG.md", "docs/promises.md")
TEXT = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
VERDICT = pd.read_csv(RESULTS / "verdict.csv")
ANSWERS = VERDICT.pivot(index="claim", columns="kind", values="holds")


def rows(name: str, **where: str) -> pd.DataFrame:
    """Return a released table by model, only its rows of these values."""
    table = pd.read_csv(RESULTS / name)
    for column, value in where.items():
        table = table[table[column] == value]
    return table.set_index("model")


def distances(name: str, *models: str) -> str:
    """Return how the page gives a ruler's distances with their intervals."""
    said = []
    for model, row in rows(name).loc[list(models)].iterrows():
        interval = f"({row.low:.2f} to {row.high:.2f})"
        said.append(f"{model.removeprefix('plain_').upper()} {row.distance:.2f} {interval}")
    return ", ".join(said)


def stated() -> list[str]:
    """Return what the page says in numbers, as the released tables have it."""
    found, second = rows("distance.csv")["distance"], rows("distance_second.csv")["distance"]
    small = rows("budgets.csv", trained_with="standard", corpus="chorales")["distance"]
    gans = rows("distance_by_training.csv").loc["gan", "distance"]
    refined, plain = ("lstm", "vae", "gan"), ("plain_vae", "plain_gan", "plain_lstm")
    return [
        f"{distances('distance.csv', *refined)}. Real training chorales reach "
        f"{found['training']:.2f}, a Markov chain in one key {found['markov_common_key']:.2f}.",
        f"{distances('distance_second.csv', *refined)}, beside {second['training']:.2f} and "
        f"{second['markov_common_key']:.2f}.",
        f"{distances('distance.csv', *plain)}.",
        f"the LSTM came to {small['lstm']:.2f}, the VAE to {small['vae']:.2f}, and the GAN to "
        f"{small['gan']:.2f}.",
        f"the distances of five GANs range from {gans.min():.2f} to {gans.max():.2f}.",
    ]


@pytest.mark.parametrize("sentence", stated())
def test_a_number_is_that_of_its_table(sentence):
    assert sentence in TEXT


def test_no_other_number_with_decimals_is_stated():
    rest = TEXT
    for sentence in stated():
        rest = rest.replace(sentence, "")
    rest = rest.replace("Python 3.11 to 3.13", "")
    assert re.findall(r"\d+\.\d+", rest) == []


def test_what_is_said_of_distances_is_so():
    first, second = rows("distance.csv"), rows("distance_second.csv")
    for found in (first, second):
        assert found.loc[["lstm", "vae", "gan"], "distance"].is_monotonic_increasing
        plain = found.loc[["plain_lstm", "plain_vae", "plain_gan"], "low"]
        assert plain.min() > found.loc[["lstm", "vae", "gan"], "high"].max()
    assert first.loc["vae", "low"] < first.loc["lstm", "high"]
    orders = pd.read_csv(RESULTS / "distance_orders.csv").set_index(["first", "second", "ruler"])
    nearer = orders.loc[("vae", "lstm"), "nearer"].to_dict()
    assert nearer == {"first ruler": "open", "second ruler": "lstm"}
    lstm = second.loc["lstm"]
    assert lstm["low"] < second.loc["lstm_reset", "distance"] < lstm["high"]
    assert first.loc["gan", "seeds"] == len(rows("distance_by_training.csv").loc["gan"]) == 5


def test_what_is_said_of_the_claims_is_so():
    parts = pd.read_csv(RESULTS / "verdict_parts.csv").query("decides")
    parts = parts.set_index(["claim", "kind", "part"]).sort_index()
    above = "VAE above GAN"
    assert parts.loc[("C2", "plain", above), "high"] < 0
    for claim in ("C2", "C3"):
        assert (parts.loc[(claim, "refined"), ["low", "high"]].abs() < 1).all(axis=None)
    assert parts.loc[("C4", "plain", above), "high"] < 0
    assert parts.loc[("C4", "refined", "GAN above LSTM"), "holds"] == "no"
    assert (parts.loc["C5", "holds"] == "no").all()
    for kind in ("plain", "refined"):
        errors = parts.loc[("C6", kind), "holds"]
        assert {errors[f"{above}, {ruler} ruler"] for ruler in ("first", "second")} == {"no"}
    returns = parts.loc[("C7", "refined")]
    assert returns.loc["LSTM returns more than collages", "holds"] == "yes"
    assert returns.loc["LSTM returns no less than real", "holds"] == "undecided"
    assert returns["why"].isna().all()
    assert set(parts.loc[("C7", "plain"), "why"]) == {"also passed by GAN"}
    assert parts.loc[("C8", "plain", "GAN beside real"), "high"] < 0.1
    assert parts.loc[("C8", "refined", "GAN beside real"), "effect"] > 0.8
    chain = "GAN nearer than Markov in C, second ruler"
    assert parts.loc[("C8", "refined", chain), "holds"] == "no"


def test_four_features_of_the_second_ruler_flatter_the_chain():
    found = pd.read_csv(RESULTS / "distance_second_features.csv")
    counting = ["time_arrow", "chord_likelihood", "line_likelihood", "worst_line"]
    rest = found[~found["feature"].isin(counting)].groupby("model")["distance"].mean()
    gan, chain = rest["gan"], rest["markov_common_key"]
    changes = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    assert gan < chain
    assert f"Without them the GAN is nearer ({gan:.2f} against {chain:.2f})" in changes


@pytest.mark.parametrize("claim", ANSWERS.index)
def test_an_answer_is_that_of_the_verdict(claim):
    ((plain, refined),) = re.findall(rf"\| {claim} \|[^|]+\| (\w+) \| (\w+) \|", TEXT)
    assert (plain, refined) == tuple(ANSWERS.loc[claim, ["plain", "refined"]])


def test_the_picture_is_told_in_words():
    by_answer = ANSWERS.groupby("refined").groups
    told = "; ".join(f"{', '.join(claims)} {answer}" for answer, claims in by_answer.items())
    assert f"{told}](figures/verdict.png)" in TEXT


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets or page == "CHANGELOG.md"
    missing = [t for t in targets if not ((ROOT / page).parent / t.split("#")[0]).exists()]
    assert missing == []


def test_each_figure_and_table_of_the_paper_has_its_place():
    for name in ("Fig. 1", "Fig. 2", "Fig. 3", "Fig. 4", "Fig. 5", "Fig. 6", "Fig. 7", "the table"):
        assert re.search(rf"\| {re.escape(name)}[^|]*\| \[0\d\]\(notebooks/\S+\) \|", TEXT)
    notebooks = {path.name for path in (ROOT / "notebooks").glob("0*.ipynb")}
    assert notebooks <= set(re.findall(r"\(notebooks/([^)]+)\)", TEXT))


def test_the_house_as_drawn_has_every_room_and_no_other():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    changing = page[page.index("## Changing it") : page.index("## What was looked at")]
    assert len(changing.splitlines()) <= 40
    drawing = re.search(r"```text\n(.*?)```", changing, re.DOTALL)[1]
    rooms = {p.stem for name in ("musiclib", "study") for p in (ROOT / name).glob("[a-z]*.py")}
    words = set(re.findall(r"[a-z_]+", drawing))
    assert sorted(rooms - words) == []
    named = re.findall(r"`((?:musiclib|study|tests)/\w+\.py)`", page)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_budget_is_a_look_and_what_is_counted_is_said():
    looks = pd.read_csv(RESULTS / "test_looks.csv")
    for name, budget in rows("budgets.csv").groupby("trained_with"):
        near = {f"distance_{model}": row.distance for model, row in budget.iterrows()}
        same = (looks[list(near)] - pd.Series(near)).abs().lt(1e-9).all(axis=1)
        assert (same & (looks["trained_with"] == name) & (looks["n"] == budget["n"].sum())).any()
    changes = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    tried = pd.read_csv(ROOT / "data" / "settings_tried.csv").query("kind == 'refined'")["model"]
    tried = tried.value_counts()
    assert f"LSTM {tried['lstm']}, VAE {tried['vae']}, GAN {tried['gan']}." in changes
    (things,) = re.findall(r"Nine things changed behind one: (.+?)\. Whoever", changes)
    assert len(things.split(";")) == 9
    assert "the nine things that changed behind a look" in TEXT


def test_the_page_is_short_and_the_promises_are_ten():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 155
    promises = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    assert re.findall(r"^(\d+)\. ", promises, re.MULTILINE) == [str(n) for n in range(1, 11)]
