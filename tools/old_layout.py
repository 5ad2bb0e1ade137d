"""Move what an earlier version of the study left in the checkout to where it lies now, once.

Conventions: only what git ignored then is moved, nothing is overwritten. Runs lay in the checkout
itself; now each has a folder below ``runs/``.
"""

from __future__ import annotations

from pathlib import Path

MOVED = {
    "data/listening/answers": "runs/lab/data/listening/answers",
    **{
        name: f"runs/earlier/{name}"
        for name in (
            "rendered", "data/corpora", "data/prepared", "data/audio", "data/checkpoints",
            "data/results/cache", "data/results/bench.csv",
        )
    },
}  # fmt: skip


def move_old(root: Path) -> list[str]:
    """Move what lies where it lay before, and return a line for each."""
    weights = (path.relative_to(root) for path in root.glob("data/weights/*_[0-9]*"))
    moved = MOVED | {str(path): f"runs/earlier/{path}" for path in weights}
    said = []
    for old, new in moved.items():
        if (root / old).exists() and not (root / new).exists():
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            (root / old).rename(root / new)
            said.append(f"moved {old} to {new}, where it lies in this version")
    return said
