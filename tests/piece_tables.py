"""Tables of measured pieces for tests, drawn from a known distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd

from musiclib.audio import AUDIO_UNITS
from musiclib.measures import MEASURES
from study.measuring import PROBLEMS
from study.second_ruler import SECOND_FEATURES
from study.sets import CONTROLS

MODELS = ("vae", "gan", "lstm")
SETS = (*MODELS, "real", "training", "markov", "shuffled", "random", *CONTROLS, "lstm_reset")


def piece_table(*, seeds=5, n=20, shift=None, seed=0):
    """Return pieces of all sets, every measure normal about its shift in the set, spread 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for model in SETS:
        for s in range(seeds if model in MODELS else 1):
            names = [*MEASURES, *AUDIO_UNITS, *SECOND_FEATURES]
            frame = pd.DataFrame(rng.normal(size=(n, len(names))), columns=names)
            for measure, by_model in (shift or {}).items():
                frame[measure] += by_model.get(model, 0.0)
            frame["energy"] = 10 ** (frame["energy"] / 10)
            rows.append(
                frame.assign(model=model, seed=s, sample=range(n), **dict.fromkeys(PROBLEMS, 0.0))
            )
    return pd.concat(rows, ignore_index=True)
