"""The budgets of the study: how much each preset reads, trains and generates.

Conventions: a *preset* is a named column of the one table below; nothing else in the project
decides how long something trains. Steps are optimizer steps, never seconds, so that a result does
not depend on the machine's speed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

PRESET_NAMES = ("smoke", "standard", "classroom", "half", "double", "full")

# The one table of budgets; the full value is the last of each row.
BUDGETS: Mapping[str, tuple[int, int, int, int, int, int]] = MappingProxyType(
    {
        #             smoke  standard  classroom  half  double  full
        "max_pieces": (60, 400, 400, 400, 400, 400),  # pieces of the corpus that are read, at most
        "seeds": (1, 1, 5, 1, 1, 5),  # trainings of each model, each from its own seed
        "n_samples": (4, 20, 12, 40, 40, 40),  # pieces that each training generates
        "lstm_units": (32, 192, 256, 256, 256, 256),  # cells of each LSTM layer
        "lstm_steps": (20, 350, 0, 400, 1_600, 800),  # optimizer steps; 0: released weights
        "keys_steps": (4, 24, 0, 0, 0, 240),  # of the LSTM of keys, each of two trainings
        "gan_steps": (20, 600, 0, 800, 3_200, 1_600),
        "vae_steps": (20, 700, 0, 1_000, 4_000, 2_000),
        "minutes": (4, 12, 4, 15, 45, 240),  # expected on two cores, first estimate of time left
    }
)


@dataclasses.dataclass(frozen=True)
class Preset:
    """One column of the table of budgets, read as ``budget["lstm_steps"]``."""

    name: str

    def __getitem__(self, key: str) -> int:
        if key not in BUDGETS:
            raise ValueError(f"key: got {key!r}, the budgets are {', '.join(BUDGETS)}")
        return BUDGETS[key][PRESET_NAMES.index(self.name)]

    @property
    def trainings(self) -> int:
        """How often each model is trained; 0 where the released pieces are read instead."""
        return self["seeds"] if self["lstm_steps"] else 0

    def full(self, key: str) -> int:
        """Give the value that the full preset has, to print beside a reduced one."""
        return Preset("full")[key]

    def table(self) -> pd.DataFrame:
        """Give this preset's values beside the full ones, a row a budget."""
        rows = {key: (self[key], self.full(key)) for key in BUDGETS}
        return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{self.name} (here)", "full"])


PRESETS: Mapping[str, Preset] = MappingProxyType({name: Preset(name) for name in PRESET_NAMES})


def preset(name: str) -> Preset:
    """Give the budgets of the preset `name`.

    Parameters
    ----------
    name : str
        ``smoke`` (does it run?), ``standard`` (everything trained, in minutes), ``classroom``
        (the released weights, nothing trained), ``full`` (best quality, in hours), or ``half``
        and ``double``: one training each with half and twice full's steps, for the table that
        shows what hangs on the budget.

    Returns
    -------
    Preset
        Read a budget off it by name: ``budget["lstm_steps"]``.

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> preset("smoke")["n_samples"] < preset("smoke").full("n_samples")
    True
    """
    if name not in PRESETS:
        raise ValueError(f"preset: got {name!r}, allowed are {', '.join(PRESET_NAMES)}")
    return PRESETS[name]
