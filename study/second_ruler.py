"""Measure how far pieces lie from real music by what happens in time: the second ruler.

Conventions: rolls and bars are those of `musiclib.roll`; what a piece does not define is NaN. A
*chord* is what sounds until any key changes. Its *kind* is its pitch classes above its lowest key,
as bits, so nothing depends on the key. Features, floors and thresholds are our choice, made before
any generated or test piece was judged, and frozen: ``data/second_ruler.json`` holds the hash of the
code, and how far validation pieces are from training pieces and controls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from musiclib.code_hash import code_hash
from musiclib.distance import Feature
from musiclib.measures import fold_classes, self_similarity
from musiclib.roll import N_KEYS, Bars, note_list, ratio, require_piece, sounding_keys
from study import sets

SECOND_FEATURES: dict[str, Feature] = {  # one number per piece each
    "time_arrow": Feature("direction", "bits per chord", 0.25),
    "bass_fifths": Feature("direction", "share", 0.02),
    "leading_tone": Feature("direction", "share", 0.02),
    "resolution": Feature("direction", "share", 0.02),
    "dissonance_off_beat": Feature("metre", "share", 0.02),
    "bass_on_line": Feature("metre", "share", 0.02),
    "cadence": Feature("phrases", "share", 0.02),
    "opening_return": Feature("phrases", "similarity", 0.02),
    "chord_likelihood": Feature("grammar", "probability", 0.01),
    "line_likelihood": Feature("grammar", "bits per chord", 0.25),
    "worst_line": Feature("grammar", "bits", 0.5),
    "line_move": Feature("voice leading", "semitones", 0.1),
    "key_at_line": Feature("key", "similarity", 0.02),
    "key_of_halves": Feature("key", "similarity", 0.02),
}
WEIGHT = 5.0  # pseudo-counts with which a shorter context enters
WINDOW = 32  # steps on either side of a bar line whose keys are compared: 2 bars of 4/4
LONG = 1.5  # times the mean length of a piece's chords: those that may end a phrase
_CLASHES = np.isin(np.arange(12), (1, 2, 10, 11))  # seconds and sevenths, modulo 12


class CountedMusic:
    """Hold how often chords follow each other in training pieces, in all and by name.

    Pieces of one name (their tune, say) count as one, which `skip` of `bits` leaves out.
    """

    def __init__(
        self, training: Sequence[np.ndarray], names: Sequence[Hashable] | None = None
    ) -> None:
        """Count whole pieces; their names are their places by default."""
        names = range(len(training)) if names is None else names
        self.own: dict[Hashable, Counter] = {name: Counter() for name in names}
        for name, roll in zip(names, training, strict=True):
            for move, kind, contexts in _changes(*_chords(roll)[2:]):
                self.own[name].update([("move", move), ("kind", kind), *contexts])
                self.own[name].update((context, move, kind) for context in contexts)
        self.total = sum(self.own.values(), Counter())

    def bits(self, kind: np.ndarray, low: np.ndarray, *, skip: Hashable = None) -> np.ndarray:
        """Return log2 of the probability of each chord but the first, after up to two others.

        A chord is x = (move of the lowest key modulo 12, kind), c what came before it. Then
        P(x | c) = (n(c, x) + w P(x | shorter c)) / (n(c) + w), at last P(move) P(kind).
        """
        if skip is not None and skip not in self.own:
            raise ValueError(f"skip must name a training piece; got {skip!r}")
        own, total, found = self.own.get(skip, Counter()), self.total, []
        for move, chord, contexts in _changes(kind, low):
            n, moved, used = (total[k] - own[k] for k in ((), ("move", move), ("kind", chord)))
            p = (moved + 1) / (n + 12) * (used + 0.5) / (n + 1024)  # of 12 moves and 2048 kinds
            for context in contexts:
                whole, part = (total[k] - own[k] for k in (context, (context, move, chord)))
                p = (part + WEIGHT * p) / (whole + WEIGHT)
            found.append(math.log2(p))
        return np.array(found)


def _chords(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the first step, highest key, kind and lowest key of each chord."""
    sound = sounding_keys(roll)
    new = np.diff(sound, axis=0, prepend=np.zeros((1, N_KEYS), bool)).any(axis=1)
    start = np.flatnonzero(new & sound.any(axis=1))
    low, high = sound.argmax(axis=1)[start], N_KEYS - 1 - sound[:, ::-1].argmax(axis=1)[start]
    classes = ((fold_classes(sound) > 0) @ (1 << np.arange(12)))[start]
    bass = (low + 9) % 12  # key 0 is an A
    return start, high, (classes >> bass | classes << (12 - bass)) & 4095, low


def _changes(kind: np.ndarray, low: np.ndarray) -> Iterator[tuple[int, int, tuple]]:
    moves, kinds = (np.diff(low, prepend=low[:1]) % 12).tolist(), kind.tolist()
    for i in range(1, len(kinds)):
        before = kinds[i - 1], moves[i - 1] if i > 1 else -1
        yield moves[i], kinds[i], ((), before[:1], before)


def second_measures(
    roll: np.ndarray, counted: CountedMusic, *, bars: Bars, skip: Hashable = None
) -> dict[str, float]:
    """Return the `SECOND_FEATURES`; `skip` names the piece where its counts must not help it."""
    start, high, kind, low = _chords(require_piece(roll))
    bits = counted.bits(kind, low, skip=skip)
    line = (start[1:] - bars.upbeat) % bars.steps_per_bar == 0
    moves = (np.abs(np.diff(low)) + np.abs(np.diff(high))) / 2
    found = {
        "time_arrow": _mean(bits) - _mean(counted.bits(kind[::-1], low[::-1], skip=skip)),
        "chord_likelihood": _mean(2.0**bits),
        "line_likelihood": _mean(bits[line]) - _mean(bits[~line]),
        "worst_line": min(bits[line], default=math.nan),
        "line_move": _mean(moves[line]) - _mean(moves[~line]),
    }
    found |= _direction(roll, start, low) | _form(roll, bars, start, low)
    return {name: float(found[name]) if len(start) else math.nan for name in SECOND_FEATURES}


def _mean(values: Any) -> float:
    return float(np.mean(values)) if np.size(values) else math.nan


def _direction(roll: np.ndarray, at: np.ndarray, low: np.ndarray) -> dict[str, float]:
    """Return what happens less often backwards: each share minus that of its mirror image.

    Of pairs of notes that clash, those whose older note ends first and then steps down; of chords,
    those into which a voice rises by a semitone to the class of the lowest key
    (`leading_tone`), the lowest key falls by a fifth, or, at a long chord, either (`cadence`).
    """
    start, key, length = note_list(roll)
    starts, ends = np.zeros((2, len(roll) + 1, N_KEYS + 2), bool)  # two keys that never sound
    starts[start, key] = ends[start + length, key] = True
    key, end = key.astype(np.int16), start + length
    together = np.triu(end[:, None] > start)  # notes stand by their starts
    old, new = np.nonzero(together & _CLASHES[np.abs(key[:, None] - key) % 12])
    first = (start[old] < start[new]) & (end[old] < end[new])
    down = first & (starts[end[old], key[old] - 1] | starts[end[old], key[old] - 2])
    mirrored = first & (ends[start[new], key[new] - 1] | ends[start[new], key[new] - 2])
    tonic = (np.arange(N_KEYS + 2) - low[:, None]) % 12 == 0
    led = ((np.roll(ends, 1, axis=1) & starts)[at[1:]] & tonic[1:]).any(axis=1)
    unled = ((np.roll(starts, 1, axis=1) & ends)[at[1:]] & tonic[:-1]).any(axis=1)
    moves, lengths = np.diff(low), np.diff(at)[1:]  # lengths: of the inner chords
    fifth, unfifth, long = moves % 12 == 5, -moves % 12 == 5, lengths >= LONG * _mean(lengths)
    return {
        "resolution": _mean(down) - _mean(mirrored),
        "leading_tone": _mean(led) - _mean(unled),
        "bass_fifths": _mean(fifth[moves != 0]) - _mean(unfifth[moves != 0]),
        "cadence": _mean((led | fifth)[:-1][long]) - _mean((unled | unfifth)[1:][long]),
    }


def _form(roll: np.ndarray, bars: Bars, start: np.ndarray, low: np.ndarray) -> dict[str, float]:
    like, classes = self_similarity(roll, **bars.for_measures()), fold_classes(sounding_keys(roll))
    total, heard = len(roll), classes > 0
    lines, beats = (np.arange(bars.upbeat % n, total, n) for n in (bars.steps_per_bar, 4))
    keys = [
        _cosine(heard[i - WINDOW : i], heard[i : i + WINDOW])
        for i in lines[(lines >= WINDOW) & (lines <= total - WINDOW)]
    ]
    harsh = np.any([heard & np.roll(heard, by, axis=1) for by in (1, 2)], axis=(0, 2))
    late = (np.arange(total) - bars.upbeat) % 4 >= 2
    several, line = heard.sum(axis=1) > 1, np.isin(beats, lines)
    changed = np.isin(beats, start[1:][np.diff(low) != 0])
    returns = [like[0, i] + like[1, i + 1] for i in range(2, len(like) - 1)]
    return {
        "dissonance_off_beat": _mean(harsh[several & late]) - _mean(harsh[several & ~late]),
        "opening_return": max(returns, default=math.nan) / 2,
        "key_at_line": min((key for key in keys if key == key), default=math.nan),
        "key_of_halves": _cosine(heard[: total // 2], heard[total // 2 :]),
        "bass_on_line": _mean(changed[line]) - _mean(changed[~line]),
    }


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    a, b = (part.sum(axis=0, dtype=float) for part in (first, second))
    return ratio(a @ b, np.linalg.norm(a) * np.linalg.norm(b))


def second_table(samples: Iterable[sets.Sample], counted: CountedMusic) -> np.ndarray:
    """Return the features of samples, shape (n, 14); training samples without their own counts."""
    judged = [(s, s.file if s.model == sets.TRAINING else None) for s in samples]
    rows = [second_measures(s.roll, counted, bars=s.bars, skip=skip) for s, skip in judged]
    return np.array([list(row.values()) for row in rows])


def ruler_hash() -> str:
    """Return the `code_hash` of everything that the features come from."""
    return code_hash(second_measures, CountedMusic, "study.second_ruler:SECOND_FEATURES")
