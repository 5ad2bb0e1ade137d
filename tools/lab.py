"""Open JupyterLab on the notebooks, under the settings with which the study computes.

python -m tools.lab
"""

from __future__ import annotations

import os
import subprocess
import sys

from musiclib.study import kernel_environment
from tools.notebook_form import ROOT


def main() -> int:
    """Open JupyterLab, and give its exit status."""
    environment = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1", **kernel_environment()}
    command = [sys.executable, "-m", "jupyter", "lab", str(ROOT / "notebooks"), *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the usual way to end JupyterLab
        sys.exit(0)
