"""What the commands of `tools` share: numbers in their range, and refusals of one sentence."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

REFUSED = 2


class Parser(argparse.ArgumentParser):
    """Refuse what cannot be with one sentence, without the list of options."""

    def error(self, message: str) -> Any:
        """Print the sentence, and exit with status 2."""
        self.exit(REFUSED, f"{self.prog}: {message}\n")


def whole(low: int) -> Callable[[str], int]:
    """Give the type of an option that is a whole number from `low` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"got {value}, allowed is {low} or more")
        return value

    return number
