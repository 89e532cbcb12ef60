"""Types of command line options."""

import argparse
from collections.abc import Callable


def at_least(low: int) -> Callable[[str], int]:
    """A parser of whole numbers that refuses those below `low`."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, found {value}")
        return value

    return whole_number
