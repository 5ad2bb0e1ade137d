"""Tunes and splits: who belongs together, and that no tune stands on two sides.

One work, however fast it is played: what is joined, and what is not.
A corpus that is ready, whichever notebook is opened first."""

from __future__ import annotations

import re
from pathlib import Path

import folders
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musiclib.files import write_csv
from musiclib.measures import note_density
from musiclib.midi import save_midi
from musiclib.piece import Piece
from musiclib.prepare import load_corpus, prepare_corpus
from musiclib.roll import draw_roll, to_midi, to_piano_roll, transpose
from study import chorales, splits
from study.chorales import export_chorales
from study.run import Paths
from study.splits import (
    SPLITS,
    _bit_masks,
    _lcs_length,
    check_no_leak,
    corpus_hash,
    corpus_summary,
    describe_leak,
    describe_pedal,
    join_pairs,
    load_split,
    melody,
    same_work_pairs,
    split_by_group,
    tune_pairs,
)

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "data" / "splits" / "chorales.csv"
FACTS = ROOT / "data" / "results" / "corpus_facts.csv"
README = ROOT / "data" / "README.md"

needs_split = pytest.mark.skipif(not COMMITTED.is_file(), reason="no split is committed yet")


def tune_groups(melodies):
    return join_pairs(tune_pairs(melodies), len(melodies))


def tune(seed, n=24):
    return 50 + np.cumsum(np.random.default_rng(seed).integers(-2, 3, n))


# Tunes


def test_the_melody_is_the_top_key_at_each_quarter_without_rests():
    roll = draw_roll([0, 0, 4, 12, 13], [40, 30, 42, 20, 44], [4, 16, 4, 4, 2], steps=16)
    assert melody(roll).tolist() == [40, 42, 30, 30]
    silent = np.zeros((8, 88, 2), np.uint8)
    assert melody(silent).tolist() == []


@given(st.integers(0, 50), st.integers(-12, 12))
def test_a_tune_in_another_key_is_the_same_tune(seed, semitones):
    groups = tune_groups([tune(seed), tune(seed + 1000), tune(seed) + semitones])
    assert groups[0] == groups[2] == 0


def test_different_tunes_are_different():
    assert tune_groups([tune(seed) for seed in range(12)]).tolist() == list(range(12))


def test_tunes_that_begin_alike_or_share_a_fifth_belong_together():
    first, second, third = tune(1), tune(2), tune(3)
    begins = np.concatenate([first[:8], second])  # the first 7 intervals of the first tune
    inside = np.concatenate([third, 7 + third[-1] - second[0] + second[:12]])
    assert tune_groups([first, begins]).tolist() == [0, 0]
    assert tune_groups([second, inside]).tolist() == [0, 0]
    assert tune_groups([first, inside]).tolist() == [0, 1]


def test_groups_are_closed():
    a, b = tune(1), tune(2)
    both = np.concatenate([a, b])
    assert tune_groups([a, b, both]).tolist() == [0, 0, 0]
    assert tune_groups([a, b]).tolist() == [0, 1]


def test_short_melodies_belong_together_if_they_are_the_same():
    short = [[1, 2, 3], [6, 7, 8], [1, 2, 4], [1, 2, 3, 4], [5], [], []]
    assert tune_groups([np.array(m) for m in short]).tolist() == [0, 0, 2, 3, 4, 5, 6]


def test_a_held_note_is_no_tune():
    assert tune_groups([np.full(20, 40), np.full(20, 43)]).tolist() == [0, 1]


def test_pairs_are_those_joined_directly():
    a, b = tune(1), tune(2)
    assert tune_pairs([a, b, np.concatenate([a, b])]) == [(0, 2), (1, 2)]
    assert join_pairs([(0, 2), (1, 2)], 4).tolist() == [0, 0, 0, 3]
    assert join_pairs([], 2).tolist() == [0, 1]
    assert join_pairs([(3, 4), (2, 3), (0, 4)], 5).tolist() == [0, 1, 0, 0, 0]


# The deal


def deal(groups, *, seed=0):
    groups = np.asarray(groups)
    names = [f"p{i:03d}" for i in range(len(groups))]
    return split_by_group(names, groups, order_by=np.arange(len(groups)) % 7.0, seed=seed)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=10, max_size=120), st.integers(0, 3))
def test_no_group_is_ever_split(groups, seed):
    if len(set(groups)) < 3:
        return
    split = deal(groups, seed=seed)
    check_no_leak(split)
    assert set(split["split"]) == set(SPLITS)
    assert split.groupby("group").size().to_dict() == {
        f"p{groups.index(g):03d}": groups.count(g) for g in set(groups)
    }


def test_the_shares_are_those_stated():
    sides = deal(range(200))["split"].value_counts()
    assert sides.to_dict() == {"train": 140, "test": 40, "valid": 20}


@pytest.mark.parametrize(
    "sizes", [(4, 3, 3), (30, 6, 4), (8, 8, 8, 6), (90, *[1] * 10), (1, 1, 1, 7)]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_tunes_are_few_training_keeps_the_most(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    sides = deal(groups, seed=seed)["split"].value_counts()
    assert set(sides.index) == set(SPLITS)
    assert sides["train"] == sides.max()
    assert sides["train"] >= min(sum(sizes) / 2, max(sizes))


def test_like_music_stands_on_every_side():
    names, values = [f"p{i}" for i in range(200)], np.arange(200.0)
    split = split_by_group(names, np.arange(200), order_by=values, seed=0)
    means = split.assign(value=values).groupby("split")["value"].mean()
    assert (abs(means - values.mean()) < 12).all()


def test_the_deal_depends_on_its_seed_alone():
    assert deal(range(40)).equals(deal(range(40)))
    assert not deal(range(40)).equals(deal(range(40), seed=1))


@pytest.mark.parametrize("groups", [range(9), [0] * 5 + [1] * 5, [0] * 12, []])
def test_too_few_pieces_are_refused_with_what_to_do(groups):
    groups = np.asarray(list(groups), int)
    message = f"{len(groups)} pieces of {len(set(groups.tolist()))} different tunes are too few"
    with pytest.raises(ValueError, match=f"{message} .*at least 10 pieces of 3 tunes"):
        deal(groups)


def deal_long(groups, long, *, seed=0):
    groups, long = np.asarray(groups), np.asarray(long, bool)
    names, order = [f"p{i:03d}" for i in range(len(groups))], np.arange(len(groups)) % 7.0
    split = split_by_group(names, groups, order_by=order, seed=seed, long_enough=long)
    check_no_leak(split)
    return split.assign(long=long)


@pytest.mark.parametrize("seed", range(5))
def test_ten_pieces_of_ten_tunes_are_enough(seed):
    sides = deal_long(range(10), [1] * 10, seed=seed)["split"].value_counts()
    assert sides.to_dict() == {"train": 6, "test": 2, "valid": 2}


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=10, max_size=40),
    st.integers(0, 3),
)
def test_each_side_has_two_long_pieces_or_the_counts_are_said(pieces, seed):
    groups, long = (list(column) for column in zip(*pieces, strict=True))
    if len(set(groups)) < 3:
        return
    have = pd.Series(np.array(long, int)).groupby(groups).sum()
    # By hand: a side needs one tune with two long pieces, or two tunes with one.
    if (have >= 2).sum() + (have == 1).sum() // 2 < 3:
        said = (
            f"{sum(long)} of {len(long)} pieces, of {(have > 0).sum()} different tunes, have 8 bars"
        )
        with pytest.raises(ValueError, match=f"{said} .* needs 2 such pieces each"):
            deal_long(groups, long, seed=seed)
        return
    split = deal_long(groups, long, seed=seed)
    of_side = split[split["long"]].groupby("split")
    assert of_side.size().to_dict().keys() == set(SPLITS)
    assert (of_side.size() >= 2).all()
    if (have > 0).sum() >= 6:
        assert (of_side["group"].nunique() >= 2).all()


def test_short_pieces_alone_are_refused_with_their_number():
    with pytest.raises(
        ValueError, match="0 of 24 pieces, of 0 different tunes, have 8 bars of 4/4"
    ):
        deal_long(range(24), [0] * 24)


def test_where_every_side_has_long_pieces_the_deal_is_the_same():
    usual = deal(range(60))
    assert deal_long(range(60), [1] * 60).drop(columns="long").equals(usual)


def test_names_that_are_not_unique_are_refused():
    with pytest.raises(ValueError, match="unique"):
        split_by_group(["a"] * 12, np.arange(12), order_by=np.arange(12))


# On disk


def test_a_split_comes_back(tmp_path):
    split = deal(range(12))
    write_csv(split, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(load_split(tmp_path / "a.csv"), split, check_dtype=False)


def test_names_that_look_like_numbers_stay_names(tmp_path):
    split = deal(range(12)).assign(piece=[f"{i:02d}" for i in range(12)])
    write_csv(split, tmp_path / "a.csv")
    assert load_split(tmp_path / "a.csv")["piece"].tolist() == split["piece"].tolist()


def test_a_leak_is_found_and_named(tmp_path):
    split = deal([0, 0, *range(1, 20)])
    split.loc[0, "split"] = "test" if split["split"][1] != "test" else "train"
    write_csv(split, tmp_path / "leak.csv")
    with pytest.raises(
        ValueError, match=re.escape("1 tunes are on two sides of the split: ['p000']")
    ):
        load_split(tmp_path / "leak.csv")


def test_a_piece_that_stands_twice_is_found():
    split = deal(range(12))
    with pytest.raises(ValueError, match="a piece is listed twice"):
        check_no_leak(pd.concat([split, split.iloc[:1]]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a table"),
        ("a,b\n1,2\n", "must have columns piece, group, split"),
        ("piece,group,split\na,a,training\n", "train, valid or test"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv .*{reason}"):
        load_split(tmp_path / "a.csv")


def test_a_missing_split_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv is missing; run notebook 01"):
        load_split(tmp_path / "gone.csv")


def test_a_split_of_other_pieces_is_refused(tmp_path, monkeypatch):
    write_csv(deal(range(12)), tmp_path / "a.csv")
    monkeypatch.setattr(splits, "load_corpus", lambda folder: [])
    with pytest.raises(ValueError, match="name different pieces; run notebook 01 again"):
        splits.split_pieces(tmp_path, tmp_path / "a.csv")


# The split that is committed


def groups_of(pieces):
    """Find the groups as notebook 01 does, by both rules."""
    rolls = [piece.roll for piece in pieces]
    pairs = [*tune_pairs([melody(roll) for roll in rolls]), *same_work_pairs(rolls)]
    return join_pairs(pairs, len(rolls))


def assert_no_tune_on_two_sides(pieces, split):
    """Find the tunes anew from the music, whatever the file says of them."""
    side = dict(zip(split["piece"], split["split"], strict=True))
    groups = groups_of(pieces)
    found = pd.DataFrame({"group": groups, "side": [side[piece.name] for piece in pieces]})
    leaks = found.groupby("group")["side"].nunique()
    assert leaks.max() == 1, [pieces[g].name for g in leaks.index[leaks > 1]]


@pytest.fixture(scope="module")
def some_chorales(tmp_path_factory):
    """Prepare some members of the largest families of each side."""
    split = load_split(COMMITTED)
    size = split.groupby("group")["piece"].transform("size")
    ordered = split.assign(size=size).sort_values(["size", "group", "piece"], ascending=False)
    chosen = ordered.groupby("split").head(4)["piece"]
    folder = tmp_path_factory.mktemp("chorales")
    scores = {chorales.piece_name(score): score for score in chorales.chorale_scores()}
    for name in chosen:
        chorales.convert_score(scores[name], folder / "midi" / f"{name}.mid")
    prepare_corpus(folder / "midi", folder / "prepared")
    return load_corpus(folder / "prepared")


@needs_split
def test_the_committed_split_holds_every_side_and_no_leak():
    split = load_split(COMMITTED)
    assert set(split["split"]) == set(SPLITS)
    share = split["split"].value_counts(normalize=True)
    assert share["train"] == pytest.approx(0.7, abs=0.06)
    assert share["test"] == pytest.approx(0.2, abs=0.05)


@needs_split
def test_real_melodies_of_a_sample_do_not_leak(some_chorales):
    split = load_split(COMMITTED)
    assert len(some_chorales) == 12
    assert_no_tune_on_two_sides(some_chorales, split)
    groups = groups_of(some_chorales)
    assert len(set(groups)) < len(groups) - 5  # there are tunes to keep together


@needs_split
def test_a_leak_of_real_melodies_would_be_found(some_chorales):
    piece = some_chorales[0]
    split = load_split(COMMITTED)
    other = "test" if split.set_index("piece").loc[piece.name, "split"] != "test" else "train"
    twin = type(piece)("twin", np.roll(piece.roll, 2, axis=1), *list(vars(piece).values())[2:])
    leaking = pd.concat([split, pd.DataFrame([("twin", "twin", other)], columns=split.columns)])
    check_no_leak(leaking)  # the file alone does not tell
    with pytest.raises(AssertionError, match=re.escape(piece.name)):
        assert_no_tune_on_two_sides([*some_chorales, twin], leaking)


# The facts, and the page that quotes them


def test_facts_are_counted():

    def piece(name, steps, key, first):
        roll = draw_roll([0, 0], [key, key + 7], [steps, 2], steps=steps)
        position = (np.arange(steps) + first) % 16
        return Piece(name, roll, np.zeros((steps, 0)), position, 16, 0, 80.0)

    pieces = [piece(f"p{i:03d}", 64 + 64 * (i % 2), 30 + i, 12 * (i == 3)) for i in range(12)]
    report = pd.DataFrame({
        "status": ["converted"] * 12 + ["refused"], "notes": [2] * 12 + [0],
        "off_grid": [0.5] + [0.0] * 11 + [np.nan], "merged": [0.0] * 12 + [np.nan],
        "sha256": [f"{i:064x}" for i in range(12)] + [""],
    })  # fmt: skip
    facts = dict(corpus_summary(pieces, report, deal(range(12))).to_numpy())
    assert facts["pieces"] == "12"
    assert facts["files refused or skipped"] == "1"
    assert facts["tunes"] == "12"
    assert facts["pieces that share their tune"] == "0"
    assert facts["pieces of 128 steps and over"] == "6"
    assert facts["pieces by length of the bar"] == "4 quarters: 12"
    assert facts["pieces that begin with an upbeat"] == "1"
    assert facts["shortest, median, longest piece (quarters)"] == "16, 24, 32"
    assert facts["notes"] == "24"
    assert facts["lowest and highest pitch"] == "E♭3, A4"
    assert facts["notes that the grid moved (%)"] == f"{100 * 0.5 / 12:.3f}"
    assert facts["SHA-256 of the corpus"] == corpus_hash(report.iloc[::-1])
    with pytest.raises(ValueError, match="same pieces in the same order"):
        corpus_summary(pieces[::-1], report, deal(range(12)))


def converted(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"status": ["converted"] * n, **columns})


def test_a_leak_is_unknown_where_most_notes_begin_off_the_grid():
    assert describe_leak(0.0, converted(free=[0.0, 0.4, 0.1])) == "0 %"
    assert describe_leak(0.25, converted(free=[0.0] * 9)) == "25 %"
    some = describe_leak(0.0, converted(free=[0.0, 0.0, 0.7]))
    assert some.startswith("0 %, but unknown for 1 of 3 pieces, as most of their notes begin off")
    assert describe_leak(0.0, converted(free=[0.6, 0.6])).startswith("unknown for 2 of 2 pieces")


def test_what_was_done_about_the_pedal_is_said():
    assert describe_pedal(converted(pedal=["", ""])) == (
        "sustain pedal: lengthens notes in 0 of 2 pieces"
    )
    held = describe_pedal(converted(pedal=["held", ""]))
    assert held == "sustain pedal: lengthens notes in 1 of 2 pieces; notes are held"
    assert describe_pedal(converted(pedal=["ignored"])).endswith("released early, as the keys are")


@pytest.mark.skipif(not FACTS.is_file(), reason="no facts are committed yet")
def test_the_page_on_the_data_quotes_the_facts_as_computed():
    page = README.read_text(encoding="utf-8")
    quoted = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", page, flags=re.MULTILINE))
    facts = pd.read_csv(FACTS, dtype=str)
    for fact, value in facts.itertuples(index=False):
        assert quoted.get(fact, "").strip("`") == value, fact


@pytest.mark.long
@needs_split
def test_the_whole_corpus_gives_the_committed_split_and_facts(tmp_path):
    export_chorales(tmp_path / "midi")
    report = prepare_corpus(tmp_path / "midi", tmp_path / "prepared")
    pieces = load_corpus(tmp_path / "prepared")
    split = load_split(COMMITTED)
    assert_no_tune_on_two_sides(pieces, split)
    names, density = [p.name for p in pieces], np.array([note_density(p.roll) for p in pieces])
    long = np.array([len(p.roll) >= 128 for p in pieces])
    made = split_by_group(names, groups_of(pieces), order_by=density, seed=0, long_enough=long)
    write_csv(made, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_bytes() == COMMITTED.read_bytes()
    facts = corpus_summary(pieces, report, split)
    pd.testing.assert_frame_equal(facts, pd.read_csv(FACTS, dtype=str), check_dtype=False)


def song(seed, *, bars=16, beats=(0, 2)):
    tune = folders.melody(np.random.default_rng(seed), bars=bars, root=69)
    return tune + folders.chords(bars=bars, root=50, beats=beats)


def roll(notes):
    return to_piano_roll(folders.midi_of(notes))


def stretched(notes, factor):
    return [(factor * start, factor * length, pitch) for start, length, pitch in notes]


def test_the_longest_common_subsequence_is_that_of_the_textbook():
    def by_table(a, b):
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        for i, j in np.ndindex(len(a), len(b)):
            best = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = max(best, table[i, j] + 1) if a[i] == b[j] else best
        return table[-1, -1]

    rng = np.random.default_rng(0)
    for _ in range(60):
        a, b = (rng.integers(0, 6, rng.integers(0, 30)).tolist() for _ in range(2))
        assert _lcs_length(_bit_masks(a), b) == by_table(a, b)


@pytest.mark.parametrize("seed", range(4))
def test_half_and_double_note_values_are_one_work(seed):
    notes = song(seed)
    rolls = [roll(stretched(notes, factor)) for factor in (1, 0.5, 2)]
    assert same_work_pairs(rolls) == [(0, 1), (0, 2), (1, 2)]
    tune = folders.melody(np.random.default_rng(seed), bars=16)
    assert same_work_pairs([roll(stretched(tune, factor)) for factor in (1, 2)]) == [(0, 1)]


def test_performances_of_one_work_in_free_tempo_and_other_keys_are_one():
    works = [song(seed) for seed in range(6)]
    rng = np.random.default_rng(1)
    rolls = [
        roll(folders.perform(work, rng, transpose=int(rng.integers(-4, 5))))
        for work in works
        for _ in range(3)
    ]
    pairs = set(same_work_pairs(rolls))
    for i, j in pairs:
        assert i // 3 == j // 3
    for first in range(0, len(rolls), 3):
        trio = {(first, first + 1), (first, first + 2), (first + 1, first + 2)}
        assert len(pairs & trio) >= 2  # so that all three are in one group


def test_a_repeat_that_is_played_or_not_is_no_difference():
    notes = song(3)
    again = notes + [(start + 64, length, pitch) for start, length, pitch in notes]
    assert same_work_pairs([roll(notes), roll(again)]) == [(0, 1)]


def test_songs_over_one_accompaniment_are_different_songs():
    assert same_work_pairs([roll(song(seed)) for seed in range(14)]) == []
    assert same_work_pairs([roll(song(seed, beats=(0, 1, 2, 3))) for seed in range(14)]) == []


def test_short_tunes_of_few_notes_are_different_unless_they_are_the_same():
    rng = np.random.default_rng(2)
    keys = [np.clip(np.cumsum(rng.integers(-2, 3, 24)) + 40, 36, 44) for _ in range(20)]
    rolls = [draw_roll(np.arange(24) * 4, key, [4] * 24, steps=96) for key in keys]
    assert same_work_pairs(rolls) == []
    twin = draw_roll(np.arange(24) * 2, keys[3] + 5, [2] * 24, steps=48)
    assert same_work_pairs([*rolls, twin]) == [(3, 20)]


def test_silence_one_note_and_a_held_note_are_no_work():
    silent = np.zeros((32, 88, 2), np.uint8)
    same = draw_roll(np.arange(20) * 4, [40] * 20, [4] * 20, steps=80)
    one = draw_roll([0], [40], [4], steps=4)
    assert same_work_pairs([silent, silent, same, same, one, one]) == []
    assert same_work_pairs([]) == []


def test_the_same_piece_in_every_key_within_an_octave_is_one_work():
    piece = roll(song(5))
    for semitones in (-12, -5, 7, 12):
        assert same_work_pairs([piece, transpose(piece, semitones)]) == [(0, 1)]


def tune_ready(seed, steps=160):
    rng = np.random.default_rng(seed)
    roll = np.zeros((steps, 88, 2), np.uint8)
    for t in range(0, steps, 4):
        keys = rng.choice(np.arange(30, 60), 3, replace=False)
        roll[t : t + 4, keys, 1] = 1
        roll[t, keys, 0] = 1
    return to_midi(roll)


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        save_midi(tune_ready(i), tmp_path / "midi" / f"{i:02d}.mid")
    return tmp_path / "midi"


def test_what_is_missing_is_made_and_then_kept(folder, tmp_path, monkeypatch):
    paths = Paths(tmp_path / "run", str(folder))
    first = splits.ready_corpus(str(folder), paths, max_pieces=400)
    assert (first.name, len(first.pieces)) == ("midi", 12)
    sides = {side: [p.name for p in first.side(side)] for side in ("train", "valid", "test")}
    assert all(sides.values())
    split = load_split(paths.data / "splits" / "midi.csv")
    assert sorted(name for names in sides.values() for name in names) == sorted(split["piece"])

    monkeypatch.setattr(splits, "split_by_tune", lambda pieces: pytest.fail("dealt again"))
    again = splits.ready_corpus(str(folder), paths, max_pieces=400)
    assert again.split.equals(first.split)


def test_a_piece_more_is_dealt_anew(folder, tmp_path):
    paths = Paths(tmp_path / "run", str(folder))
    splits.ready_corpus(str(folder), paths, max_pieces=400)
    save_midi(tune_ready(99), folder / "99.mid")
    assert len(splits.ready_corpus(str(folder), paths, max_pieces=400).split) == 13


def test_the_chorales_are_split_as_released():
    pieces = splits.load_split(Paths("nowhere").find("nowhere/data/splits/chorales.csv"))
    assert {"train", "valid", "test"} == set(pieces["split"])
