"""The paper's claims C1 to C8, what is measured for each, and when it holds.

Conventions: a part compares a first set with a second one by one number, so that the claim asks for
a large one. The margins were chosen before any result was seen: for an order of two sets a medium
Cliff's delta, 0.33 (J. Romano and others, 2006: below it, effects are called small); for energy
1 dB, about the smallest difference in level that a listener notices; for an offset one step of
16-bit audio, at the study's one gain (a larger gain makes offsets larger); for variety four fifths
of real music's. All of it is our choice: the paper states no test.

Controls take the place of the model that a claim is about. If one passes a part's rule, the measure
does not show what the claim says, and the part is undecided. That C7 needs controls was seen only
after its first results; it can turn an answer to undecided, never to yes or no.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from musiclib.comparison import FEATURES
from musiclib.intervals import delta

MEDIUM = 0.33
"""A medium Cliff's delta."""

AUDIBLE_DB = 1.0
STEP = 1.0
VARIETY = 0.8


class Claim(NamedTuple):
    """What the paper claims, what is measured, and the rule."""

    name: str
    text: str
    measure: str
    rule: str


class Part(NamedTuple):
    """One number that a claim needs.

    Attributes
    ----------
    claim, name, measure, unit : str
        Whose it is, and what.
    first, second : str
        The sets compared.
    columns : str or tuple of str
        Of `verdicts.prepared`.
    statistic : callable
        Takes the two sets' values, shape (n,) or (n, columns), and returns the effect.
    margin : float
        The effect must lie above it.
    decides : bool
        Whether the claim depends on it.
    bounds : (float, float)
        Range of the effect.
    control, control_of : str
        Of a control: who takes the model's place, and the name of the part whose rule it must fail.
    """

    claim: str
    name: str
    measure: str
    unit: str
    first: str
    second: str
    columns: str | tuple[str, ...]
    statistic: Callable[[np.ndarray, np.ndarray], float]
    margin: float
    decides: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)
    control: str = ""
    control_of: str = ""


def mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return mean of the first less mean of the second."""
    return float(first.mean() - second.mean())


def median_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return median of the first less median of the second."""
    return float(np.median(first) - np.median(second))


def smaller(first: np.ndarray, second: np.ndarray) -> float:
    """Return how much more often a value of the first set is the smaller: -`delta`."""
    return -delta(first, second)


def spread_ratio(
    first: np.ndarray, second: np.ndarray, *, features: Sequence[str] = tuple(FEATURES)
) -> float:
    """Return how widely the first set's pieces differ from each other, over the second set's.

    Parameters
    ----------
    first, second : np.ndarray, shape (n, F) and (m, F)
        Scaled distances from the mean of the seed (``within_`` columns of `verdicts.prepared`).
    features : sequence of str
        The F features, those that real music defines.

    Returns
    -------
    float
        Median over the features of the ratio of standard deviations; the second's not below the
        feature's floor (see `comparison.FEATURES`).
    """
    floors = np.array([FEATURES[name].floor for name in features])
    ours, real = (np.sqrt((rows**2).mean(axis=0)) for rows in (first, second))
    return float(np.median(ours / np.maximum(real, floors)))


_NAMES = {
    "vae": "VAE",
    "gan": "GAN",
    "lstm": "LSTM",
    "training": "training music",
    "shuffled": "shuffled music",
}
_WITHIN = tuple(f"within_{name}" for name in FEATURES)
_ORDER = (("vae", "gan"), ("gan", "lstm"))
_SHARE = (-1.0, 1.0)


def _order(claim: str, measure: str, unit: str, column: str, **rest: object) -> list[Part]:
    """Return the parts of a claim VAE > GAN > LSTM in one column."""
    names = [f"{_NAMES[a]} above {_NAMES[b]}" for a, b in _ORDER]
    return [
        Part(claim, name, measure, unit, a, b, column, **rest)  # type: ignore[arg-type]
        for name, (a, b) in zip(names, _ORDER, strict=True)
    ]


def _delta(
    claim: str, name: str, measure: str, pair: tuple[str, str], column: str, **rest: object
) -> Part:
    """Return a part that asks for a medium Cliff's delta, unless told otherwise."""
    settings = {"statistic": delta, "margin": MEDIUM, "bounds": _SHARE, **rest}
    return Part(claim, name, measure, "Cliff's delta", *pair, column, **settings)  # type: ignore[arg-type]


def _control(part: Part, model: str, other: str) -> Part:
    """Return the part with another set in the model's place; it decides nothing itself."""
    first, second = (other if name == model else name for name in (part.first, part.second))
    return part._replace(
        name=part.name.replace(_NAMES[model], _NAMES[other]),
        first=first,
        second=second,
        decides=False,
        control=_NAMES[other],
        control_of=part.name,
    )


_MEDIUM_ORDER = {"statistic": delta, "margin": MEDIUM, "bounds": _SHARE}
_SHOWN = {**_MEDIUM_ORDER, "decides": False}

PARTS: tuple[Part, ...] = (
    *_order("C2", "energy", "dB", "energy_db", statistic=mean_difference, margin=AUDIBLE_DB),
    *_order("C2", "energy", "Cliff's delta", "energy", **_SHOWN),
    *_order("C3", "|mean|", "16-bit steps", "abs_mean", statistic=median_difference, margin=STEP),
    *_order("C3", "|mean|", "Cliff's delta", "abs_mean", **_SHOWN),
    *_order("C4", "spectral flatness", "Cliff's delta", "spectral_flatness", **_MEDIUM_ORDER),
    *_order("C4", "energy above 8 kHz", "Cliff's delta", "high_band_db", **_SHOWN),
    *_order("C4", "noise floor", "Cliff's delta", "noise_floor_db", **_SHOWN),
    *(
        _delta("C5", f"real below {bad}", measure, (bad, "real"), column)
        for measure, column in (("energy", "energy"), ("|mean|", "abs_mean"))
        for bad in ("shuffled", "random")
    ),
    *(
        _delta("C6", f"VAE above {_NAMES[other]}", measure, ("vae", other), column, decides=decides)
        for measure, column, decides in (
            ("features outside real music", "features_outside", True),
            ("steps that fit no chord", "chord_misfit", False),
            ("notes outside the best scale", "out_of_scale", False),
        )
        for other in ("gan", "lstm")
    ),
    _delta("C7", "LSTM drifts less than Markov", "key drift", ("markov", "lstm"), "key_drift"),
    _delta(
        "C7",
        "LSTM drifts no more than real",
        "key drift",
        ("lstm", "real"),
        "key_drift",
        statistic=smaller,
        margin=-MEDIUM,
    ),
    *(
        _delta(
            "C7",
            f"LSTM drifts less than {_NAMES[other]}",
            "key drift",
            (other, "lstm"),
            "key_drift",
            decides=False,
        )
        for other in ("gan", "vae")
    ),
    _delta(
        "C7",
        "LSTM repeats more than Markov",
        "similarity 4 bars later",
        ("lstm", "markov"),
        "repetition_4",
        decides=False,
    ),
    *(
        Part(
            "C8",
            f"{_NAMES[name]} beside real",
            "spread of features",
            "ratio to real music",
            name,
            "real",
            _WITHIN,
            spread_ratio,
            VARIETY,
            decides=name == "gan",
            bounds=(0.0, math.inf),
        )
        for name in ("gan", "vae", "lstm", "training")
    ),
)
PARTS += tuple(
    _control(part, "lstm", other)
    for part in PARTS
    if part.claim == "C7" and part.decides
    for other in ("shuffled", "gan", "vae")  # none has an LSTM's long-term memory
)
"""Every part, in the order of the claims; controls last."""

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "music quality ranks LSTM > GAN > VAE, by the authors' ears",
        "listeners' choices, difference of Bradley-Terry scores of neighbours (log odds)",
        "yes if both differences lie above log 2 (chosen twice as often), no if one lies below it; "
        "undecided without 12 real listeners: no number here stands for an ear",
    ),
    Claim(
        "C2",
        "energy ranks VAE > GAN > LSTM",
        "energy, equal length, mean level difference of neighbours (dB)",
        "yes if both differences lie above 1 dB, no if one lies below it",
    ),
    Claim(
        "C3",
        "the mean's distance from 0 ranks VAE > GAN > LSTM",
        "|mean|, difference of neighbours' medians (16-bit steps)",
        "yes if both differences lie above 1 step, no if one lies below it",
    ),
    Claim(
        "C4",
        "noise in the waveforms ranks VAE > GAN > LSTM",
        "spectral flatness, Cliff's delta of neighbours",
        "yes if both deltas lie above 0.33, no if one lies below it",
    ),
    Claim(
        "C5",
        "low energy and a mean near 0 mark good music",
        "energy and |mean| of shuffled and random notes above real music's, Cliff's delta",
        "yes if all four deltas lie above 0.33, no if one lies below it",
    ),
    Claim(
        "C6",
        "the VAE makes more errors than the other two",
        "features outside real music's range, this VAE (latents from a learned prior) above each "
        "other model, Cliff's delta",
        "yes if both deltas lie above 0.33, no if one lies below it",
    ),
    Claim(
        "C7",
        "LSTM pieces keep coherence over time, from long-term memory",
        "key drift, Cliff's delta: Markov chain above LSTM, and LSTM not above real music",
        "yes if the first lies above 0.33 and the second above -0.33, no if one lies below; "
        "undecided if shuffled music, the GAN or the VAE passes in the LSTM's place",
    ),
    Claim(
        "C8",
        "the GAN makes pieces of different kinds",
        "spread of 18 features within a training, ratio to real music's",
        "yes if the ratio lies above 0.8, no if it lies below",
    ),
)
"""The claims in the order of the verdict."""
