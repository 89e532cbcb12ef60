"""What the programs of this folder share: how they end, the machine in a line, where tables go."""

if __name__ == "__main__":
    raise SystemExit("a part of `python benchmarks/training.py`, a program, and of the others")


import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from deocclude.data.files import write_text
from deocclude.engines.report.tables import Table
from deocclude.engines.report.writers import to_markdown
from deocclude.engines.runs.devices import device_name


def carry_out(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """The exit code: that of `run`, or 1 with a line on what is wrong. `arguments.threads`: of
    PyTorch on the CPU, None for its own choice."""
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    try:
        return run(arguments)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def again(file: str, arguments: argparse.Namespace, options: Sequence[str]) -> list[str]:
    """The words that start a program anew with these of its options as they are."""
    command = [sys.executable, str(Path(file).resolve())]
    for option in options:
        value = getattr(arguments, option)
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                command += [f"--{option.replace('_', '-')}", str(each)]
    return command


def machine(device: torch.device | str, *more: str) -> str:
    """Device, threads and PyTorch in a line, and what else was set."""
    name = device_name(torch.device(device))
    return ", ".join(
        [name, f"{torch.get_num_threads()} threads", f"PyTorch {torch.__version__}", *more]
    )


def publish(
    tables: Sequence[Table], title: str, lines: Sequence[str], file: Path | None = None
) -> None:
    """As Markdown to the console, and into the file asked for."""
    text = to_markdown(list(tables), title, list(lines))
    print(text)
    if file:
        write_text(file, text)
