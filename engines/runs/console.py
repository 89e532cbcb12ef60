"""What commands say while they work; once, however many processes there are."""

import logging
import os


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Print once, however many processes there are."""
    if _first_process():
        print(text, flush=True)


def say_progress(level: int = logging.INFO) -> None:
    """Messages of this project to the console, plainly; repeated calls change nothing."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)
    root.setLevel(level if _first_process() else logging.ERROR)
    logging.getLogger("PIL").setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
