"""The benchmark sets: reading with care, the protocol, the floors, the table of looks."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.io

from study import benchmarks
from study.benchmarks import BenchmarkError, BenchmarkSet
from study.figures import plot_benchmark
from study.run import Paths

FOLDER = os.environ.get("MUSICLIB_DATA", "")


def here(name):
    try:
        return bool(FOLDER) and os.path.isdir(FOLDER) and benchmarks.find_benchmark(name)
    except FileNotFoundError:
        return False


def needs(name):
    return pytest.mark.skipif(not here(name), reason=f"MUSICLIB_DATA holds no {name}")


def rolls(rng, n, *, steps=9, density=0.05):
    return [(rng.random((steps + i, 88)) < density).astype(np.uint8) for i in range(n)]


def cells(pieces):
    out = np.empty((1, len(pieces)), object)
    for i, piece in enumerate(pieces):
        out[0, i] = piece
    return out


def write(path, parts, **options):
    scipy.io.savemat(path, {f"{k}data": cells(v) for k, v in parts.items()}, **options)
    return path


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    return {"train": rolls(rng, 4), "valid": rolls(rng, 2), "test": rolls(rng, 3)}


@pytest.fixture
def tiny(monkeypatch, tmp_path, parts):
    """Make a set of nine pieces that stands where ``jsb`` is looked for."""
    path = write(tmp_path / "Tiny.mat", parts)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    one = BenchmarkSet("Tiny.mat", (4, 2, 3), digest)
    monkeypatch.setattr(benchmarks, "SETS", {"jsb": one})
    monkeypatch.setenv("MUSICLIB_DATA", str(tmp_path))
    return path


# Reading


@pytest.mark.parametrize("packed", [True, False])
def test_pieces_come_back_as_written(tmp_path, parts, packed):
    read = benchmarks.read_mat(write(tmp_path / "x.mat", parts, do_compression=packed))
    for name, pieces in parts.items():
        assert len(read[name]) == len(pieces)
        for a, b in zip(read[name], pieces, strict=True):
            assert a.dtype == np.uint8
            np.testing.assert_array_equal(a, b)


def test_a_set_is_found_in_the_data_folder_or_one_below(tiny, tmp_path):
    assert benchmarks.find_benchmark("jsb") == tiny
    assert benchmarks.find_benchmark("jsb", folder=tmp_path.parent) == tiny
    assert [len(p) for p in benchmarks.read_benchmark("jsb").values()] == [4, 2, 3]


def test_another_file_or_another_number_of_pieces_is_refused(tiny, parts, monkeypatch):
    write(tiny, parts | {"test": parts["test"][:2]})
    with pytest.raises(BenchmarkError, match="Tiny.mat: not the file that scores were published"):
        benchmarks.read_benchmark("jsb")
    monkeypatch.setattr(benchmarks, "SETS", {"jsb": BenchmarkSet("Tiny.mat", (4, 2, 3))})
    with pytest.raises(BenchmarkError, match=r"holds \(4, 2, 2\) pieces where \(4, 2, 3\)"):
        benchmarks.read_benchmark("jsb")


def test_a_missing_set_says_where_to_put_it(tmp_path, monkeypatch):
    import pooch

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(FileNotFoundError, match=r"MuseData.mat is not in .* \(OSError\); put it"):
        benchmarks.find_benchmark("musedata", folder=tmp_path)
    with pytest.raises(ValueError, match="got 'bach'; allowed: jsb, piano_midi, nottingham"):
        benchmarks.find_benchmark("bach")


def test_no_hash_is_invented():
    known = {name: bool(one.sha256) for name, one in benchmarks.SETS.items()}
    assert known == {"jsb": True, "piano_midi": True, "nottingham": False, "musedata": False}


BAD = [
    ({"train": [np.full((4, 88), 2)]}, "zeros and ones"),
    ({"train": [np.zeros((4, 87))]}, r"a roll of 88 keys, got shape \(4, 87\)"),
    ({"train": [np.zeros((1, 88))]}, "two frames or more"),
    ({"train": [np.full((4, 88), np.nan)]}, "zeros and ones"),
    ({"train": ["text"]}, "a roll of 88 keys"),
]


@pytest.mark.parametrize(("change", "phrase"), BAD)
def test_a_piece_of_another_form_is_refused(tmp_path, parts, change, phrase):
    with pytest.raises(BenchmarkError, match=f"traindata, piece 0: wanted .*{phrase}"):
        benchmarks.read_mat(write(tmp_path / "x.mat", parts | change))


def test_a_file_of_another_form_is_refused(tmp_path, parts, monkeypatch):
    path = tmp_path / "x.mat"
    with pytest.raises(BenchmarkError, match="there is no such file"):
        benchmarks.read_mat(path)
    path.write_bytes(b"\x80\x04 a pickle, perhaps" * 20)
    with pytest.raises(BenchmarkError, match="not a MATLAB 5 file"):
        benchmarks.read_mat(path)
    whole = write(path, parts, do_compression=True).read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(BenchmarkError, match="truncated"):
        benchmarks.read_mat(path)
    path.write_bytes(whole[:300] + bytes(50) + whole[350:])
    with pytest.raises(BenchmarkError, match="cannot be read as a MATLAB 5 file"):
        benchmarks.read_mat(path)
    scipy.io.savemat(path, {"traindata": np.zeros(3)})
    with pytest.raises(BenchmarkError, match="has no validdata and no testdata"):
        benchmarks.read_mat(path)
    path.write_bytes(whole)
    monkeypatch.setattr(benchmarks, "MAX_FILE_BYTES", 1000)
    with pytest.raises(BenchmarkError, match="larger than 1,000 bytes"):
        benchmarks.read_mat(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    bomb = zlib.compress(bytes(600_000_000), 9)
    head = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    path = tmp_path / "x.mat"
    path.write_bytes(head + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(BenchmarkError, match="unpacks to more than 512,000,000 bytes"):
        benchmarks.read_mat(path)


# The protocol and the floors


def test_the_score_weighs_frames_alike_and_skips_the_first():
    pieces = [np.zeros((2, 88), np.uint8), np.zeros((4, 88), np.uint8)]
    assert benchmarks.score([np.array([10.0]), np.array([1.0, 2.0, 3.0])], pieces) == 16.0 / 4


def test_the_standard_error_is_the_ratio_estimators():
    pieces = [np.zeros((n + 1, 88), np.uint8) for n in (1, 3)]
    nats = [np.array([10.0]), np.array([1.0, 2.0, 3.0])]  # 4 a frame: off by 6 and by -6
    assert benchmarks.standard_error(nats, pieces) == pytest.approx(np.sqrt(2 / 1 * 72) / 4)
    alike = [np.full(20, x) for x in np.random.default_rng(3).normal(5, 1, 300)]
    pieces = [np.zeros((21, 88), np.uint8)] * 300  # of one length: the mean's standard error
    wanted = np.std([a[0] for a in alike], ddof=1) / np.sqrt(300)
    assert benchmarks.standard_error(alike, pieces) == pytest.approx(wanted)
    assert np.isnan(benchmarks.standard_error(alike[:1], pieces[:1]))


def test_a_model_that_scores_another_number_of_frames_is_refused():
    piece = [np.zeros((4, 88), np.uint8)]
    for wrong in (np.zeros(4), np.array([1.0, np.nan, 1.0])):
        with pytest.raises(ValueError, match="piece 0 has 4 frames"):
            benchmarks.score([wrong], piece)
    with pytest.raises(ValueError, match="got those of 2 pieces, wanted 1"):
        benchmarks.score([np.zeros(3)] * 2, piece)


def test_chance_is_a_bit_a_key(parts):
    nats = [benchmarks.chance(piece) for piece in parts["test"]]
    assert benchmarks.score(nats, parts["test"]) == pytest.approx(88 * np.log(2))


def test_marginals_are_laplaces_rule_of_succession():
    train = [np.zeros((2, 88), np.uint8)]
    train[0][:, 5] = 1
    piece = np.zeros((2, 88), np.uint8)
    silent = -87 * np.log(3 / 4)
    assert benchmarks.marginals(train)(piece) == pytest.approx([silent - np.log(1 / 4)])
    piece[1, 5] = 1
    assert benchmarks.marginals(train)(piece) == pytest.approx([silent - np.log(3 / 4)])


def test_the_logistic_floor_learns_a_rule_that_marginals_cannot():
    rng = np.random.default_rng(1)
    first = rng.integers(0, 2, 200)
    piece = np.zeros((200, 88), np.uint8)
    piece[:, 3], piece[1:, 4] = first, first[:-1]
    near = benchmarks.logistic([piece], penalty=1e-5)(piece).mean()
    assert 0.6 < near < 0.75  # log 2 for key 3, which no rule tells
    assert benchmarks.marginals([piece])(piece).mean() > 1.75  # two coins


@needs("jsb")
def test_floors_on_jsb_are_the_published_protocols():
    table = benchmarks.floors(benchmarks.read_benchmark("jsb")).set_index("model")
    measured = table["test_nll"]
    assert measured["p = 0.5"] == pytest.approx(61.00, abs=0.005)
    assert measured["training marginals"] == pytest.approx(11.09, abs=0.02)
    assert measured["logistic on the previous frame"] == pytest.approx(9.03, abs=0.03)


@needs("piano_midi")
def test_marginals_on_piano_midi_are_the_published_protocols():
    pieces = benchmarks.read_benchmark("piano_midi")
    scorer = benchmarks.marginals(pieces["train"])
    nats = [scorer(piece) for piece in pieces["test"]]
    assert benchmarks.score(nats, pieces["test"]) == pytest.approx(11.05, abs=0.02)


# The table of looks


def look(**change):
    row = {
        "dataset": "jsb", "outputs": "joint", "model": "m", "seed": 0, "test_nll": 5.0,
        "valid_nll": 5.1, "parameters": 7, "epochs": 3, "train_seconds": 1.5,
        "test_se": 0.07,
    }  # fmt: skip
    return row | change


def test_a_look_is_never_overwritten(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    assert benchmarks.read_looks(paths).empty
    for row in (look(), look(test_nll=4.0), look(seed=1, test_nll=6.0)):
        benchmarks.record_look([row], paths.results / benchmarks.LOOKS)
    table = benchmarks.read_looks(paths)
    assert table["test_nll"].tolist() == [5.0, 4.0, 6.0]
    assert tuple(table.columns) == benchmarks.COLUMNS
    ours = benchmarks.seed_summary(table, "jsb").iloc[0]
    assert (ours["test_nll"], ours["seeds"], ours["looks"]) == (5.0, 2, 3)
    assert ours["spread"] == pytest.approx(np.sqrt(2))
    assert ours["test_se"] == pytest.approx(0.07)
    assert benchmarks.seed_summary(table, "musedata").empty


def test_a_look_recorded_again_after_a_kill_is_no_second_look(tmp_path):
    path = tmp_path / "looks.csv"
    both = [look(), look(model="n", test_nll=4.25)]
    benchmarks.record_look(both, path)
    before = path.read_bytes()
    benchmarks.record_look([one | {"train_seconds": 9.75} for one in both], path)
    assert path.read_bytes() == before
    benchmarks.record_look([look(test_nll=5.01)], path)
    assert len(pd.read_csv(path)) == 3


def test_rows_of_before_the_standard_error_stay_and_leave_it_empty(tmp_path):
    paths = Paths(tmp_path / "run", released=tmp_path / "released")
    path, old = paths.results / benchmarks.LOOKS, look(test_nll=4.0)
    path.parent.mkdir(parents=True)
    pd.DataFrame([old | {"test_se": ""}]).to_csv(path, index=False)
    assert np.isnan(benchmarks.seed_summary(benchmarks.read_looks(paths), "jsb").iloc[0]["test_se"])
    benchmarks.record_look([look(test_nll=4.0)], path)  # told apart by test_se: a look of its own
    table = benchmarks.read_looks(paths)
    assert table["test_se"].isna().tolist() == [True, False]
    assert benchmarks.seed_summary(table, "jsb").iloc[0][["looks", "test_se"]].tolist() == [2, 0.07]


def test_a_row_that_lacks_a_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="wanted dataset, outputs"):
        benchmarks.record_look([{"dataset": "jsb"}], tmp_path / "looks.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="other.csv: got the columns a, b; wanted dataset"):
        benchmarks.record_look([look()], tmp_path / "other.csv")


def test_published_figures_know_their_kind_and_source():
    for name in benchmarks.SETS:
        table = benchmarks.published(name)
        assert {"joint", "latent", "independent"} == set(table["outputs"])
        assert (table["source"] != "").all()
        assert (table["test_nll"] > 0).all()
    jsb = benchmarks.published("jsb").set_index("model")["test_nll"]
    assert len(jsb) == 11
    assert jsb["RNN-NADE (HF)"] == 5.56
    with pytest.raises(ValueError, match="got 'bach'; allowed: jsb"):
        benchmarks.published("bach")


def test_ours_stand_among_the_published_kind_by_kind():
    floor = look(outputs="independent", model=benchmarks.FLOORS[0], test_nll=61.0)
    looks = pd.DataFrame([floor, look(test_nll=5.0), look(seed=1, test_nll=5.4)])
    table = benchmarks.comparison_table(looks, "jsb")
    assert list(dict.fromkeys(table["outputs"])) == list(benchmarks.OUTPUTS)
    for _, kind in table.groupby("outputs"):
        assert kind["test_nll"].is_monotonic_increasing
    mine = table[table["source"].isna()].set_index("model")
    assert mine["outputs"].tolist() == ["floor", "joint"]
    assert mine.loc["m", ["test_nll", "low", "high", "seeds"]].tolist() == [5.2, 5.0, 5.4, 2]
    assert len(table) == 2 + len(benchmarks.published("jsb"))
    assert benchmarks.comparison_table(looks, "musedata")["source"].notna().all()


def test_no_rank_is_claimed_within_two_standard_errors():
    looks = pd.DataFrame([look(test_nll=4.71, test_se=0.08), look(model="n", test_se=np.nan)])
    (sentence,) = benchmarks.unranked(benchmarks.comparison_table(looks, "jsb"))
    assert sentence.startswith("m, joint: 4.71 (standard error over test pieces 0.08)")
    assert sentence.endswith("not ranked against: LSTM-RTRBM")
    looks = pd.DataFrame([look(test_nll=4.71, test_se=0.001)])
    (sentence,) = benchmarks.unranked(benchmarks.comparison_table(looks, "jsb"))
    assert sentence.endswith("not ranked against: none is near")


def test_the_chart_has_a_row_a_model_in_groups_from_worse_to_better():
    ours = pd.DataFrame([
        {"outputs": "floor", "model": "chance", "test_nll": 61.0},
        {"outputs": "joint", "model": "ours", "test_nll": 5.0, "low": 4.9, "high": 5.2},
    ])  # fmt: skip
    ax = plot_benchmark(benchmarks.published("jsb"), ours)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[:4] == ["chance", "RNN-HF", "LSTM", "TCN"]
    assert names.index("DMM-Aug-NADE") < names.index("ours") < names.index("LSTM-RTRBM")
    assert len(names) == 13
    plt.close(ax.figure)
    with pytest.raises(ValueError, match="allowed: floor, independent, joint, latent"):
        plot_benchmark(benchmarks.published("jsb"), ours.assign(outputs="other"))
