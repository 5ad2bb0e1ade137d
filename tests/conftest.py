"""Settings of all tests: no window, few log lines, and the same examples at each run."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from hypothesis import settings

settings.register_profile("study", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("study")
