"""Bach's four-part chorales, from the scores that the package music21 carries, as piano MIDI.

Conventions: one MIDI file a chorale, named like its score (``bwv269.mid``); four piano tracks, the
voices from soprano to bass; times from the score, so a bar and its upbeat are known; every note at
one velocity. Repeats are not played out, grace notes are left out, tied notes are one note.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pretty_midi

from musiclib.code_hash import code_hash
from musiclib.files import sha256_of, write_text
from musiclib.midi import save_midi
from musiclib.prepare import LOST, WorkerError, cores, run_jobs

TEMPO = 80.0
"""Quarter notes a minute, our choice: the paper is silent, and so are the scores."""
VELOCITY = 80
N_CHORALES = 368
"""Works of Bach with exactly four parts in music21's corpus (9.x and 10.x)."""
CONVERT = "study.chorales:_convert"
MAX_SECONDS = 300.0
"""For one score, music21's own start on a busy machine included."""
_VOICES = ("Soprano", "Alto", "Tenor", "Bass")


def chorale_scores() -> list[Path]:
    """List music21's scores of Bach by file name: MusicXML and Humdrum, no harmonic analyses.

    What ``music21.corpus.getComposer("bach")`` finds, without importing music21, which takes
    seconds and changes how a notebook shows figures. A FileNotFoundError says how to install it.
    """
    package = importlib.util.find_spec("music21")
    roots = [Path(p) for p in package.submodule_search_locations] if package else []
    scores = [p for root in roots for p in (root / "corpus" / "bach").glob("*.*")]
    scores = [p for p in scores if p.suffix in {".mxl", ".xml", ".krn"}]
    if not scores:
        raise FileNotFoundError(
            "music21 is missing or holds no score of Bach; install it with its corpus: "
            "pip install --force-reinstall music21"
        )
    return sorted(scores, key=lambda p: p.name)


def piece_name(score: Path) -> str:
    """Name a chorale like its score; three stand twice in the corpus, once as Humdrum (krn)."""
    return f"{score.stem}-krn" if score.suffix == ".krn" else score.stem


def _part_notes(part) -> list[list[float]]:
    """Return [onset, end, pitch] of a part in quarters, ties joined, grace notes left out."""
    notes: list[list[float]] = []
    open_ties: dict[int, list[float]] = {}
    for element in part.flatten().notes:
        if element.duration.isGrace:
            continue
        start, end = float(element.offset), float(element.offset + element.quarterLength)
        for note in element.notes if element.isChord else [element]:
            tie = note.tie or element.tie
            before = open_ties.get(note.pitch.midi)
            joined = tie is not None and tie.type in {"stop", "continue"} and before is not None
            if joined and abs(before[1] - start) < 1e-6:
                before[1] = end
            else:
                before = [start, end, note.pitch.midi]
                notes.append(before)
            open_ties[note.pitch.midi] = before
    return notes


def _time_signatures(part) -> list[tuple[float, int, int]]:
    """Return (quarter, numerator, denominator), an upbeat written as a short first bar."""
    flat = part.flatten()
    signatures = [
        (float(s.offset), int(s.numerator), int(s.denominator))
        for s in flat.getElementsByClass("TimeSignature")
    ] or [(0.0, 4, 4)]
    bars = list(part.getElementsByClass("Measure"))
    first = float(bars[0].duration.quarterLength) if bars else 0.0
    _, numerator, denominator = signatures[0]
    if 0 < first < 4 * numerator / denominator and (4 * first).is_integer():
        upbeat = (0.0, int(first), 4) if first.is_integer() else (0.0, int(4 * first), 16)
        after = [s for s in signatures[1:] if s[0] > first]
        return [upbeat, (first, numerator, denominator), *after]
    return signatures


def score_to_midi(score) -> pretty_midi.PrettyMIDI:
    """Turn a music21 score into piano MIDI: one track per part, metre and key signature."""
    parts = list(score.parts)
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=TEMPO)
    quarter = 60.0 / TEMPO
    for name, part in zip(_VOICES, parts, strict=False):
        track = pretty_midi.Instrument(program=0, name=name)
        track.notes = [
            pretty_midi.Note(VELOCITY, int(pitch), start * quarter, end * quarter)
            for start, end, pitch in _part_notes(part)
            if end > start
        ]
        midi.instruments.append(track)
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(n, d, q * quarter) for q, n, d in _time_signatures(parts[0])
    ]
    keys = list(parts[0].flatten().getElementsByClass("KeySignature"))
    if keys:
        major = keys[0].sharps * 7 % 12
        minor = getattr(keys[0], "mode", None) == "minor"
        number = 12 + (major + 9) % 12 if minor else major
        midi.key_signature_changes = [pretty_midi.KeySignature(number, 0.0)]
    return midi


def convert_score(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> bool:
    """Write a score that music21 reads as piano MIDI, and return whether it has four parts."""
    from music21 import converter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # music21 warns of engraving details that MIDI has not
        score = converter.parseFile(source, forceSource=True, storePickle=False)
    if len(getattr(score, "parts", ())) != len(_VOICES):
        return False
    save_midi(score_to_midi(score), target)
    return True


def _convert(source: str, target: str) -> dict[str, bool]:
    return {"written": convert_score(source, target)}


def export_chorales(
    folder: str | os.PathLike[str],
    *,
    max_pieces: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write music21's four-part chorales as ``bwv*.mid`` and return them by name.

    Those already there are kept: a file ``.chorales.done`` lists them with their SHA-256 once all
    are there. With `max_pieces` below 368 as many scores are read, spread over the catalogue (the
    smoke preset), and those of other than four parts are skipped. `progress` is called with (scores
    done, scores in all). A score takes about 0.1 s.

    The scores stay in the package; their encoders' licences vary (see data/README.md), so the MIDI
    files are made where they are used and are not handed on.
    """
    if max_pieces is not None and max_pieces < 1:
        raise ValueError(f"max_pieces: got {max_pieces}, allowed is 1 or more")
    folder = Path(folder)
    stamp = folder / ".chorales.done"
    scores = chorale_scores()
    if max_pieces is not None and max_pieces < N_CHORALES:
        scores = [scores[i * len(scores) // max_pieces] for i in range(max_pieces)]
    made = code_hash(chorale_scores, piece_name, _convert)[:16]
    wanted = f"{len(scores)} scores, music21 {version('music21')}, {made}"
    kept = _kept(stamp, wanted)
    if kept is not None:
        return kept
    for old in folder.glob("bwv*.mid"):
        old.unlink()
    targets = [folder / f"{piece_name(score)}.mid" for score in scores]
    wrote = _run(list(zip(scores, targets, strict=True)), min(cores(), 8), progress)
    written = sorted(target for target, done in zip(targets, wrote, strict=True) if done)
    names = [f"{path.name} {sha256_of(path)}" for path in written]
    write_text("\n".join([wanted, *names]) + "\n", stamp)
    return written


def _kept(stamp: Path, wanted: str) -> list[Path] | None:
    """Return the MIDI files of an earlier run of the same making, if all are there unchanged."""
    if not stamp.is_file():
        return None
    made, *lines = stamp.read_text(encoding="utf-8").splitlines()
    listed = [line.partition(" ") for line in lines]
    files = [(stamp.with_name(name), sha) for name, _, sha in listed]
    kept = made == wanted and all(path.is_file() and sha256_of(path) == sha for path, sha in files)
    return [path for path, _ in files] if kept else None


def _run(
    jobs: Sequence[tuple[Path, Path]], workers: int, progress: Callable[[int, int], None] | None
) -> list[bool]:
    """Convert all scores in `workers` processes; return which were written."""
    done: dict[int, bool] = {}
    given = [{"source": str(source), "target": str(target)} for source, target in jobs]
    for i, answer in run_jobs(CONVERT, given, workers=workers, seconds=MAX_SECONDS):
        if LOST in answer:
            raise WorkerError(f"cannot read {jobs[i][0]}: {answer[LOST]}")
        done[i] = answer["written"]
        if progress is not None:
            progress(len(done), len(jobs))
    return [done[i] for i in range(len(jobs))]
