"""Bach's four-part chorales, from the scores that the package music21 carries, as piano MIDI.

Conventions: one MIDI file per chorale, named like its score (``bwv269.mid``); four piano tracks,
the voices from soprano to bass; times from the score, so a bar and its upbeat are known; every note
at one velocity. Repeats are not played, grace notes are skipped, tied notes are one note.
"""

from __future__ import annotations

import importlib.util
import warnings
from importlib.metadata import version
from pathlib import Path

import pretty_midi

from musiclib.code_hash import code_hash
from musiclib.files import sha256_of, write_text
from musiclib.midi import save_midi
from musiclib.prepare import LOST, WorkerError, cores, run_jobs
from study.run import Progress

TEMPO = 80.0  # quarter notes per minute, our choice: the paper is silent, and so are the scores
VELOCITY = 80
N_CHORALES = 368  # works of Bach with exactly four parts in music21's corpus (9.x and 10.x)
CONVERT = "study.chorales:_convert"
MAX_SECONDS = 300.0  # for one score, including music21's own start on a busy machine
_VOICES = ("Soprano", "Alto", "Tenor", "Bass")


def chorale_scores() -> list[Path]:
    """List music21's scores by Bach by file name: MusicXML and Humdrum, no harmonic analyses.

    music21 is not imported: that takes seconds and changes how a notebook shows figures.
    """
    package = importlib.util.find_spec("music21")
    roots = package.submodule_search_locations if package else []
    found = [path for root in roots for path in Path(root, "corpus", "bach").glob("*.*")]
    scores = [path for path in found if path.suffix in {".mxl", ".xml", ".krn"}]
    if not scores:
        missing = "music21 is missing or holds no score by Bach; install it with its corpus: "
        raise FileNotFoundError(f"{missing}pip install --force-reinstall music21")
    return sorted(scores, key=lambda path: path.name)


def piece_name(score: Path) -> str:
    """Name a chorale like its score; three are in the corpus twice, once as Humdrum (krn)."""
    return f"{score.stem}-krn" if score.suffix == ".krn" else score.stem


def _part_notes(part) -> list[list[float]]:
    """Return [onset, end, pitch], in quarters."""
    notes: list[list[float]] = []
    open_ties: dict[int, list[float]] = {}
    for element in (one for one in part.flatten().notes if not one.duration.isGrace):
        start, end = float(element.offset), float(element.offset + element.quarterLength)
        for note in element.notes if element.isChord else [element]:
            tie = note.tie or element.tie
            before = open_ties.get(note.pitch.midi)
            tied = tie is not None and tie.type in {"stop", "continue"} and before is not None
            if tied and abs(before[1] - start) < 1e-6:
                before[1] = end
            else:
                notes.append([start, end, note.pitch.midi])
                open_ties[note.pitch.midi] = notes[-1]
    return notes


def _time_signatures(part) -> list[tuple[float, int, int]]:
    """Return (quarter, numerator, denominator), an upbeat written as a short first bar."""
    signatures = [
        (float(s.offset), int(s.numerator), int(s.denominator))
        for s in part.flatten().getElementsByClass("TimeSignature")
    ] or [(0.0, 4, 4)]
    bars = part.getElementsByClass("Measure")
    first = float(bars[0].duration.quarterLength) if bars else 0.0
    (_, *metre), *later = signatures
    if 0 < first < 4 * metre[0] / metre[1] and (4 * first).is_integer():
        upbeat = (0.0, int(first), 4) if first.is_integer() else (0.0, int(4 * first), 16)
        return [upbeat, (first, *metre), *(s for s in later if s[0] > first)]
    return signatures


def score_to_midi(score) -> pretty_midi.PrettyMIDI:
    """Turn a music21 score into piano MIDI: one track per part, metre and key signature."""
    midi, quarter = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=TEMPO), 60.0 / TEMPO
    for name, part in zip(_VOICES, score.parts, strict=False):
        track = pretty_midi.Instrument(program=0, name=name)
        for start, end, pitch in _part_notes(part):
            note = pretty_midi.Note(VELOCITY, int(pitch), start * quarter, end * quarter)
            track.notes += [note] if end > start else []
        midi.instruments.append(track)
    for start, n, d in _time_signatures(top := score.parts[0]):
        midi.time_signature_changes.append(pretty_midi.TimeSignature(n, d, start * quarter))
    for key in list(top.flatten().getElementsByClass("KeySignature"))[:1]:
        major, minor = key.sharps * 7 % 12, getattr(key, "mode", None) == "minor"
        number = 12 + (major + 9) % 12 if minor else major
        midi.key_signature_changes = [pretty_midi.KeySignature(number, 0.0)]
    return midi


def convert_score(source: str | Path, target: str | Path) -> bool:
    """Write a score that music21 reads as piano MIDI, and return whether it has four parts."""
    from music21 import converter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # music21 warns of engraving details that MIDI lacks
        score = converter.parseFile(source, forceSource=True, storePickle=False)
    if four := len(getattr(score, "parts", ())) == len(_VOICES):
        save_midi(score_to_midi(score), target)
    return four


def _convert(source: str, target: str) -> dict[str, bool]:
    return {"written": convert_score(source, target)}


def export_chorales(folder: str | Path, *, max_pieces: int = N_CHORALES) -> list[Path]:
    """Write music21's four-part chorales as ``bwv*.mid`` and return them by name.

    Those already there are kept: a file ``.chorales.done`` lists them with their SHA-256. With
    `max_pieces` below 368 that many scores are read, spread over the catalogue, and those without
    exactly four parts are skipped. This takes about a minute, and a line counts the scores. The
    encoders' licences vary (data/README.md), so the MIDI files are not shared.
    """
    if max_pieces < 1:
        raise ValueError(f"max_pieces: got {max_pieces}; allowed: 1 or more")
    folder, stamp, scores = Path(folder), Path(folder, ".chorales.done"), chorale_scores()
    if max_pieces < N_CHORALES:
        scores = [scores[i * len(scores) // max_pieces] for i in range(max_pieces)]
    made = code_hash(chorale_scores, piece_name, _convert)[:16]
    wanted = f"{len(scores)} scores, music21 {version('music21')}, {made}"
    if (kept := _kept(stamp, wanted)) is not None:
        return kept
    for old in folder.glob("bwv*.mid"):
        old.unlink()
    jobs = [(score, folder / f"{piece_name(score)}.mid") for score in scores]
    wrote = _run(jobs, min(cores(), 8))
    written = sorted(target for (_, target), done in zip(jobs, wrote, strict=True) if done)
    lines = [wanted, *(f"{path.name} {sha256_of(path)}" for path in written)]
    write_text("\n".join(lines) + "\n", stamp)
    return written


def _kept(stamp: Path, wanted: str) -> list[Path] | None:
    if not stamp.is_file():
        return None
    made, *lines = stamp.read_text(encoding="utf-8").splitlines()
    files = {stamp.with_name(name): sha for name, _, sha in (line.partition(" ") for line in lines)}
    kept = made == wanted and all(p.is_file() and sha256_of(p) == sha for p, sha in files.items())
    return list(files) if kept else None


def _run(jobs: list[tuple[Path, Path]], workers: int) -> list[bool]:
    done, line = {}, Progress(len(jobs), "scores read")
    given = [{"source": str(source), "target": str(target)} for source, target in jobs]
    for i, answer in run_jobs(CONVERT, given, workers=workers, seconds=MAX_SECONDS):
        if LOST in answer:
            raise WorkerError(f"cannot read {jobs[i][0]}: {answer[LOST]}")
        done[i] = answer["written"]
        line.step()
    line.close()
    return [done[i] for i in range(len(jobs))]
