"""What make clean removes, and what an earlier version's files become."""

from __future__ import annotations

from tools import clean
from tools.old_layout import move_old


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_runs_and_caches_go_and_the_size_is_told(tmp_path, capsys, monkeypatch):
    put(tmp_path / "runs/a/data/prepared/x.npz", "x" * 3_000_000)
    put(tmp_path / ".venv/bin/python")
    put(tmp_path / "musiclib/__pycache__/x.pyc")
    put(tmp_path / "data/results/verdict.csv")
    (tmp_path / "runs/a/link").symlink_to(tmp_path / "data")
    monkeypatch.setattr(clean, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["clean"])
    assert clean.main() == 0
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["data/results/verdict.csv"]
    out = capsys.readouterr().out
    assert "3 MB  runs/a\n" in out
    assert "3 MB  freed in all" in out


def test_listeners_answers_stay(tmp_path, capsys, monkeypatch):
    put(tmp_path / "runs/lab/data/listening/answers/heron.csv")
    put(tmp_path / "runs/lab/data/results/verdict.csv")
    monkeypatch.setattr(clean, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["clean"])
    clean.main()
    left = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()]
    assert left == ["runs/lab/data/listening/answers/heron.csv"]
    assert "runs/lab, listeners' answers kept" in capsys.readouterr().out


def test_an_earlier_versions_files_are_moved_once_and_nothing_is_overwritten(tmp_path):
    put(tmp_path / "data/listening/answers/heron.csv", "4")
    put(tmp_path / "rendered/state.json")
    put(tmp_path / "data/weights/lstm_1.weights.h5")
    put(tmp_path / "data/weights/lstm.weights.h5")
    put(tmp_path / "runs/earlier/rendered/mine.txt")
    said = move_old(tmp_path)
    assert len(said) == 2
    answers = tmp_path / "runs/lab/data/listening/answers/heron.csv"
    assert answers.read_text() == "4"
    assert (tmp_path / "data/weights/lstm.weights.h5").exists()
    assert not (tmp_path / "data/weights/lstm_1.weights.h5").exists()
    assert (tmp_path / "rendered/state.json").exists()  # its place was taken
    assert move_old(tmp_path) == []
