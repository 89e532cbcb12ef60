"""Options that commands share: each stands here once, and means the same wherever it is.

The tables say how an option is read; a command names those it has, and may say more of one:
`add_evaluation(parser, "runs", "device", runs="names or run folders; else the latest ones")`.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deocclude.data.files import some_path, some_text

DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
BACKENDS = ("auto", "torch", "onnx")  # engines.inference.backends


def command_parser(prog: str, text: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's own text, line by line."""
    how = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=prog, description=text, formatter_class=how)


def at_least(low: int, high: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers that refuses those below `low`, and above `high` if given."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, found {text!r}") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, found {value}")
        if high is not None and value > high:
            raise argparse.ArgumentTypeError(f"must be {low} to {high}, found {value}")
        return value

    return whole_number


def above_zero(text: str) -> float:
    """A number above 0, or argparse's error."""
    value = float(text)
    if not value > 0:  # nor for what is no number
        raise argparse.ArgumentTypeError(f"must be above 0, found {text}")
    return value


def device(text: str) -> str:
    """auto, cpu, mps, cuda, or cuda:N for one of several; whether it is here, PyTorch knows."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DEVICES)}")
    return text


DEVICE: dict[str, Any] = {
    "default": "auto",
    "type": device,
    "metavar": "DEVICE",
    "help": f"{', '.join(DEVICES)} (default: auto)",
}
EVALUATION: dict[str, dict[str, Any]] = {
    "runs": {
        "nargs": "+",
        "type": some_text,
        "metavar": "RUN",
        "help": "names (Reconstruction, Reconstruction/002) or run folders; else the latest ones",
    },
    "all-runs": {"action": "store_true", "help": "every finished run, not the latest"},
    "suite": {
        "type": some_path,
        "help": "a name in ablations/suites/, or a YAML, that lists the runs",
    },
    "checkpoint": {
        "type": some_text,
        "nargs": "+",
        "action": "extend",
        "default": [],
        "metavar": "WEIGHTS",
        "help": "weights files, runs' names or folders, or what ships: shipped (sharp) or faithful",
    },
    "data": {
        "type": some_path,
        "metavar": "DIR",
        "help": "data folder; else the one each run was trained on",
    },
    "limit": {"type": at_least(1), "metavar": "N", "help": "at most this many pairs"},
    "output": {"type": some_path, "metavar": "DIR", "help": "else runs/evaluation/<pairs>/"},
    "runs-folder": {
        "type": some_path,
        "default": Path("runs"),
        "metavar": "DIR",
        "help": "where runs lie (runs)",
    },
    "batch": {
        "type": at_least(1),
        "default": 64,
        "metavar": "N",
        "help": "images at once (%(default)s)",
    },
    "device": DEVICE,
}
TRAINING: dict[str, dict[str, Any]] = {
    "profile": {"default": "auto", "help": "auto, quick, small, medium, full (default: auto)"},
    "set": {
        "action": "append",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "e.g. training.epochs=3",
    },
    "data": {
        "type": some_path,
        "metavar": "DIR",
        "help": "data folder (default: $DEOCCLUDE_DATA, else datasets/)",
    },
    "output": {
        "type": some_path,
        "default": Path("runs"),
        "metavar": "DIR",
        "help": "where runs lie (default: runs)",
    },
    "max-minutes": {
        "type": above_zero,
        "metavar": "M",
        "help": "stop at a checkpoint after M minutes",
    },
    "device": DEVICE,
}


def add_evaluation(to: argparse._ActionsContainer, *names: str, **words: str) -> None:
    """Add options of commands that look at trained networks: names of EVALUATION; all of them when
    none is named. `words`: another help text, by the option's name."""
    _add(to, EVALUATION, names, words)


def add_training(to: argparse._ActionsContainer, *names: str, **words: str) -> None:
    """Add options of commands that train: as `add_evaluation`, of TRAINING."""
    _add(to, TRAINING, names, words)


def _add(
    to: argparse._ActionsContainer,
    table: Mapping[str, dict[str, Any]],
    names: tuple[str, ...],
    words: Mapping[str, str],
) -> None:
    for name in names or table:
        other = {"help": text} if (text := words.get(name.replace("-", "_"))) else {}
        to.add_argument(f"--{name}", **table[name] | other)
