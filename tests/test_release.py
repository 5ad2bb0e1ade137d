"""From a run into the repository: what is taken, what is left, and what is refused."""

from __future__ import annotations

import json
import shutil

import nbformat
import pandas as pd
import pytest

from study import release, runner
from study.release import ReleaseError
from study.runner import ABOUT, MANIFEST, ROOT, FormError, folder_hash

NAMES = ("01_data_preparation", "02_lstm", "05_comparison", "06_listening_test")
CELL = 'preset = "full"\nseed = 0\noutput = "../runs/lab"'


def notebook(source, *, printed=None, seed=None):
    """Give a notebook as it stands, or with what it printed when it was run with a seed."""
    v4 = nbformat.v4
    cell = CELL if seed is None else CELL.replace("seed = 0", f"seed = {seed}")
    cells = [v4.new_code_cell(cell, id="p0", metadata={"tags": ["parameters"]})]
    cells.append(v4.new_code_cell(source, id="c0"))
    for number, cell in enumerate(cells, start=1):
        cell.execution_count = number
    if printed is not None:
        cells[-1].outputs = [v4.new_output("stream", text=text) for text in printed]
    return v4.new_notebook(cells=cells, metadata={"study": {"depends": [], "writes": []}})


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path):
    """A checkout with an earlier release of two trainings."""
    root = tmp_path / "root"
    (root / "notebooks").mkdir(parents=True)
    for name in NAMES:
        nbformat.write(notebook("1"), root / "notebooks" / f"{name}.ipynb")
    for seed in "01":
        put(root / f"data/generated/lstm/refined/{seed}/000.mid", f"old {seed}")
        put(root / f"data/generated/lstm/refined/{seed}/001.mid", f"old {seed}")
    costs = "model,kind,seed,steps\nlstm,refined,0,1\nlstm,refined,1,1\n"
    put(root / "data/results/fairness.csv", costs)
    put(root / "data/results/test_looks.csv", "corpus,n\nchorales,200\n")
    put(root / "data/results/verdict.csv", "claim\nold\n")
    for folder in ("data/splits", "data/weights", "figures"):
        (root / folder).mkdir()
    return root


def a_run(tmp_path, *done, preset="full", corpus="chorales", seed=0):
    """Give the folder of a run of the LSTM with one training, and of what came after it."""
    run = tmp_path / "run"
    about = {"preset": preset, "corpus": corpus, "seed": seed}
    put(run / "rendered" / ABOUT, json.dumps(about))
    put(run / "rendered" / "state.json", json.dumps({"notebooks": {n: {"key": "k"} for n in done}}))
    for name in NAMES:
        ran = notebook("1", printed=[f"new {name}"], seed=seed)
        nbformat.write(ran, run / "rendered" / f"{name}.ipynb")
    put(run / f"data/generated/lstm/refined/{seed}/000.mid", f"new {seed}")
    put(run / f"data/results/history_lstm_{seed}.csv", "step\n1\n")
    put(run / "data/results/fairness.csv", f"model,kind,seed,steps\nlstm,refined,{seed},2\n")
    put(run / "data/results/test_looks.csv", "corpus,n\nchorales,200\nchorales,40\n")
    put(run / "data/results/budgets.csv", f"corpus,trained_with,model\nchorales,{preset},lstm\n")
    put(run / "data/results/verdict.csv", "claim\nnew\n")
    put(run / "data/results/measures.csv", "item\n")
    put(run / "data/results/measures.json", "{}")
    put(run / "data/weights/lstm.weights.h5", "weights")
    put(run / "data/weights/lstm.json", "{}")
    put(run / "figures/verdict.png", "picture")
    return run


def files(root):
    found = [p for p in root.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def test_a_training_is_merged_by_model_kind_and_seed(root, tmp_path):
    run = a_run(tmp_path, "02_lstm_seed_3", seed=3)
    said = release.release(run, root)
    generated = {k: v for k, v in files(root).items() if k.startswith("data/generated")}
    assert sorted(generated) == [
        *(f"data/generated/lstm/refined/{s}/{i:03d}.mid" for s in (0, 1) for i in (0, 1)),
        "data/generated/lstm/refined/3/000.mid",
    ]
    fairness = pd.read_csv(root / "data/results/fairness.csv")
    assert fairness.values.tolist() == [
        ["lstm", "refined", seed, steps] for seed, steps in ((0, 1), (1, 1), (3, 2))
    ]
    assert (root / "data/results/history_lstm_3.csv").exists()
    assert (root / "data/results/verdict.csv").read_text() == "claim\nold\n"  # 05 was not run
    assert not (root / "data/weights/lstm.weights.h5").exists()  # those of seed 0 alone
    assert "The comparison is of other pieces now" in "\n".join(said)
    assert "new" not in (root / "notebooks" / "02_lstm.ipynb").read_text()


def test_a_training_takes_the_place_of_its_earlier_release_whole(root, tmp_path):
    release.release(a_run(tmp_path, "02_lstm"), root)
    assert [p.name for p in (root / "data/generated/lstm/refined/0").iterdir()] == ["000.mid"]
    assert (root / "data/generated/lstm/refined/1/001.mid").read_text() == "old 1"
    assert (root / "data/weights/lstm.weights.h5").read_text() == "weights"
    assert not list(root.rglob(".partial-*"))


def a_plain_run(tmp_path, seed=0, **more):
    """Give the folder of a run of the plain LSTM, and of what its refined model wrote besides."""
    done = ("02_lstm" if seed == 0 else f"02_lstm_seed_{seed}",)
    run = a_run(tmp_path, *done, preset="plain", seed=seed, **more)
    shutil.rmtree(run / "data/generated/lstm/refined")  # nothing refined is trained
    for name in (
        f"results/history_lstm_{seed}.csv",
        "weights/lstm.weights.h5",
        "weights/lstm.json",
    ):
        (run / "data" / name).unlink()
    put(run / f"data/generated/lstm/plain/{seed}/000.mid", f"plain {seed}")
    put(run / f"data/results/history_plain_lstm_{seed}.csv", "step\n1\n")
    for table in ("fairness.csv", "speed.csv"):
        put(run / "data/results" / table, f"model,kind,seed,steps\nlstm,plain,{seed},9\n")
    put(run / "data/results/paper_settings.csv", "model,setting,sample,energy\nlstm,drawn,0,2.5\n")
    put(run / f"data/weights/plain_lstm{f'_{seed}' if seed else ''}.weights.h5", "plain weights")
    put(run / f"data/weights/plain_lstm{f'_{seed}' if seed else ''}.json", "{}")
    return run


def test_a_plain_run_gives_the_plain_models_and_leaves_the_refined_ones(root, tmp_path):
    run = a_plain_run(tmp_path)
    for way in ("reset", "temperature_1"):  # controls, which its refined model wrote
        put(run / f"data/generated/lstm/{way}/0/000.mid", way)
    put(root / "data/weights/lstm.weights.h5", "refined weights")
    put(root / "data/results/speed.csv", "model,kind,seed,steps\nlstm,refined,0,1\n")
    settings = "model,setting,sample,energy\nvae,drawn,0,1\nlstm,drawn,0,1\n"
    put(root / "data/results/paper_settings.csv", settings)
    before = files(root)
    said = "\n".join(release.release(run, root))
    after = files(root)
    assert set(before) <= set(after)
    assert {name for name, text in after.items() if before.get(name) != text} == {
        *(f"data/generated/lstm/{way}/0/000.mid" for way in ("plain", "reset", "temperature_1")),
        "data/weights/plain_lstm.weights.h5", "data/weights/plain_lstm.json",
        "data/results/history_plain_lstm_0.csv", "data/results/fairness.csv",
        "data/results/speed.csv", "data/results/paper_settings.csv",
        "data/results/test_looks.csv", "notebooks/02_lstm.ipynb", MANIFEST.as_posix(),
    }  # fmt: skip
    rows = pd.read_csv(root / "data/results/fairness.csv").values.tolist()
    refined = [["lstm", "refined", seed, 1] for seed in (0, 1)]
    assert sorted(rows) == [["lstm", "plain", 0, 9], *refined]
    clips = pd.read_csv(root / "data/results/paper_settings.csv").values.tolist()
    assert sorted(clips) == [["lstm", "drawn", 0, 2.5], ["vae", "drawn", 0, 1]]
    assert "The comparison is of other pieces now" in said
    assert runner.changed_releases(root) == []


def test_a_further_seed_of_a_plain_run_gives_pieces_and_costs_but_no_weights(root, tmp_path):
    before = files(root)
    release.release(a_plain_run(tmp_path, seed=2), root)
    new = {name for name, text in files(root).items() if before.get(name) != text}
    assert {"data/generated/lstm/plain/2/000.mid", "data/results/fairness.csv"} < new
    assert "data/results/history_plain_lstm_2.csv" in new
    assert not any(name.startswith(("data/weights", "notebooks")) for name in new)


def test_a_full_run_gives_both_kinds_and_merges_its_clips(root, tmp_path):
    run = a_run(tmp_path, *NAMES)
    put(run / "data/generated/lstm/plain/0/000.mid", "plain")
    put(run / "data/weights/plain_lstm.weights.h5", "plain weights")
    put(run / "data/results/history_plain_lstm_0.csv", "step\n1\n")
    put(run / "data/results/paper_settings.csv", "model,setting,sample\nlstm,drawn,0\n")
    put(root / "data/results/paper_settings.csv", "model,setting,sample\nvae,drawn,0\n")
    release.release(run, root)
    for kind, text in (("plain", "plain"), ("refined", "new 0")):
        assert (root / f"data/generated/lstm/{kind}/0/000.mid").read_text() == text
    weights = [(root / f"data/weights/{n}lstm.weights.h5").read_text() for n in ("", "plain_")]
    assert weights == ["weights", "plain weights"]
    assert (root / "data/results/history_plain_lstm_0.csv").exists()
    assert len(pd.read_csv(root / "data/results/paper_settings.csv")) == 2


def test_what_was_not_run_to_its_end_is_left(root, tmp_path):
    run = a_run(tmp_path, "01_data_preparation")
    release.release(run, root)
    assert (root / "data/generated/lstm/refined/0/000.mid").read_text() == "old 0"


def test_tables_follow_the_comparison_and_looks_are_appended(root, tmp_path):
    run = a_run(tmp_path, "05_comparison", "06_listening_test")
    release.release(run, root)
    assert (root / "data/results/verdict.csv").read_text() == "claim\nnew\n"
    assert {"measures.csv", "measures.json"} <= {p.name for p in (root / "data/results").iterdir()}
    looks = (root / "data/results/test_looks.csv").read_text()
    assert looks == "corpus,n\nchorales,200\nchorales,40\n"
    release.release(run, root)
    assert (root / "data/results/test_looks.csv").read_text() == looks
    text = (root / "notebooks" / "05_comparison.ipynb").read_text()
    assert "new 05_comparison" in text
    assert "../runs/lab" in text


def test_other_presets_give_only_what_is_theirs(root, tmp_path):
    before = files(root)
    release.release(a_run(tmp_path, *NAMES, preset="half"), root)
    new = {name for name, text in files(root).items() if before.get(name) != text}
    ledger = "data/results/test_looks.csv"  # a look is one, whatever the budget
    assert new == {"data/results/budgets.csv", ledger, MANIFEST.as_posix()}
    assert files(root)[ledger] == before[ledger] + b"chorales,40\n"
    release.release(a_run(tmp_path, *NAMES, preset="classroom"), root)
    newer = {name for name, text in files(root).items() if before.get(name) != text}
    assert newer - new == {"notebooks/02_lstm.ipynb"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"preset": "smoke"}, "results of the smoke preset are never released"),
        ({"corpus": "/home/me/midi"}, "what is released is of the chorales, not of /home/me/midi"),
    ],
)
def test_what_is_never_released_is_refused_and_nothing_written(root, tmp_path, change, sentence):
    run, before = a_run(tmp_path, *NAMES, **change), files(root)
    with pytest.raises(ReleaseError, match=sentence):
        release.release(run, root)
    with pytest.raises(ReleaseError, match="holds no run of the study"):
        release.release(tmp_path / "nowhere", root)
    assert files(root) == before


def test_one_notebook_out_of_form_keeps_all_from_being_written(root, tmp_path):
    run = a_run(tmp_path, *NAMES)
    nbformat.write(notebook("2"), root / "notebooks" / "05_comparison.ipynb")
    before = files(root)
    with pytest.raises(FormError, match="05_comparison: its code has changed since it was run"):
        release.release(run, root)
    assert files(root) == before


def test_outputs_are_put_in_place_without_log_lines(tmp_path):
    ran = notebook("1", printed=["kept", "warned"], seed=0)
    ran.cells[-1].outputs[1].name = "stderr"
    for name, node in (("source", notebook("1")), ("ran", ran)):
        nbformat.write(node, tmp_path / f"{name}.ipynb")
    text = release.committable(tmp_path / "source.ipynb", tmp_path / "ran.ipynb")
    result = nbformat.reads(text, as_version=4)
    assert [out.text for out in result.cells[-1].outputs] == ["kept"]


def test_the_command_names_what_it_cannot_release(tmp_path, capsys):
    assert release.main([str(tmp_path)]) == 1
    assert "holds no run of the study; name one below runs/" in capsys.readouterr().err


def test_a_hash_changes_with_names_and_contents(tmp_path):
    put(tmp_path / "a", "1")
    first = folder_hash(tmp_path)
    put(tmp_path / ".a.lock", "")
    assert folder_hash(tmp_path) == first
    put(tmp_path / "a", "2")
    assert folder_hash(tmp_path) != first


def test_a_released_folder_that_was_changed_by_hand_is_named(root, tmp_path):
    assert runner.changed_releases(root) == ["data/released.json"]
    release.release(a_run(tmp_path, "02_lstm"), root)
    assert runner.changed_releases(root) == []
    put(root / "data/generated/lstm/refined/1/000.mid", "better")
    put(root / "data/generated/vae/plain/0/000.mid", "more")
    assert runner.changed_releases(root) == [
        "data/generated/lstm/refined/1",
        "data/generated/vae/plain/0",
    ]


# What the repository carries


def test_what_is_released_is_what_was_released():
    assert runner.changed_releases(ROOT) == []


def test_a_ladder_run_gives_pieces_and_costs_of_its_rungs_and_no_weights(root, tmp_path):
    run = a_run(tmp_path, "03_gan", "ladders", preset="ladder")
    put(run / "data/generated/gan/ears/0/000.mid", "a rung")
    put(run / "data/results/history_ears_gan_0.csv", "step\n1\n")
    put(run / "data/weights/ears_gan.weights.h5", "weights")
    put(run / "data/results/ladder.csv", "model,rung\ngan,ears\n")
    put(run / "figures/ladder.png", "picture")
    (root / "notebooks/research").mkdir()
    nbformat.write(notebook("1"), root / "notebooks/research/ladders.ipynb")
    nbformat.write(notebook("1", printed=["new"], seed=0), run / "rendered/ladders.ipynb")
    said = release.release(run, root)
    assert (root / "data/generated/gan/ears/0/000.mid").read_text() == "a rung"
    assert (root / "data/results/ladder.csv").exists()
    assert (root / "figures/ladder.png").exists()
    assert "notebooks/research/ladders.ipynb" in said
    assert "new" in (root / "notebooks/research/ladders.ipynb").read_text()
    assert not list((root / "data/weights").iterdir())
    assert not list(root.glob("data/results/history*"))
    assert (root / "data/generated/lstm/refined/0/000.mid").read_text() == "old 0"  # not run
