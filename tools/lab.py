"""Open JupyterLab on the notebooks, trusted, under the settings with which the study computes.

python -m tools.lab
"""

from __future__ import annotations

import os
import subprocess
import sys

from musiclib.study import kernel_environment
from tools.notebook_form import ROOT


def main() -> int:
    """Trust the notebooks, open JupyterLab, and give its exit status."""
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1", **kernel_environment()}
    jupyter = [sys.executable, "-m", "jupyter"]
    folder = ROOT / "notebooks"
    trust = [*jupyter, "trust", *map(str, sorted(folder.glob("*.ipynb")))]
    if subprocess.run(trust, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        print("Not every notebook is trusted; JupyterLab opens all the same.", file=sys.stderr)
    lab = [*jupyter, "lab", str(folder), *sys.argv[1:]]
    return subprocess.run(lab, env=environment, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the usual way to end JupyterLab
        sys.exit(0)
