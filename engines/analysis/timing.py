"""`evaluate.py analyse timing`: what networks cost, by size and batch, each cell measured alone."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deocclude.data.files import write_text
from deocclude.engines.analysis import timing_tables
from deocclude.engines.analysis.frame import output_folder, save_analysis
from deocclude.engines.analysis.timing_tables import MEASURED, measured_apart
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.measures.rows import row_file
from deocclude.engines.report.report import Report
from deocclude.engines.runs.devices import device_name, resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

TITLE = "Time and memory"
PROTOCOL = 1  # raised whenever a number in the cells would come out differently
ROOT = Path(__file__).resolve().parents[2]


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure every run at every size and batch, each in a process of its own.

    A cell that was measured before with the same weights, device and settings is taken as it is;
    one that failed is said and tried again the next time. Files: `table.md`, `timing.csv`,
    `figures/timing.png`. ValueError when nothing could be measured.
    """
    members = choose(arguments, INPAINTING)
    folder = output_folder(arguments)
    cells = collect(arguments, members, folder)
    measured = [cell for cell in cells if cell["status"] == MEASURED]
    if not measured:
        raise ValueError(f"no cell could be measured; the first: {cells[0]['reason']}")
    frame = pd.DataFrame(cells)
    tables = timing_tables.timing_tables(frame)
    figure, left_out = timing_tables.timing_figure(frame)
    lines = caption(arguments, cells, measured) + left_out
    return save_analysis(
        folder, TITLE, lines, tables, {"timing": frame}, {"timing": figure}, len(tables)
    )


def collect(
    arguments: argparse.Namespace, members: Sequence[Trained], folder: Path
) -> list[dict[str, Any]]:
    """A record of every cell, in the order of the members, measured now or before."""
    threads = arguments.threads or torch.get_num_threads()
    device = device_name(resolve_device(arguments.device))
    sizes, batches = (sorted(set(part)) for part in (arguments.sizes, arguments.batches))
    places = [(m, size, batch) for m in members for size in sizes for batch in batches]
    identities = {member.checkpoint: weights_identity(member.checkpoint) for member in members}
    cells = []
    bar = Bar(places, "timing", unit="cell", leave=False)
    for number, (member, size, batch) in enumerate(bar, 1):
        key = {"protocol": PROTOCOL, "row": identities[member.checkpoint], "size": size}
        key |= {"batch": batch, "device": device, "threads": threads, "torch": torch.__version__}
        key |= {"repeats": arguments.repeats, "seconds": arguments.seconds}
        name = f"{member.name} {size} px {batch}"
        file = row_file(folder, name, key).with_suffix(".json")
        head = f"{number}/{len(places)}  {member.name}, {size} px, batch {batch}:"
        label = {"row": member.name, "size": size, "batch": batch, "threads": threads}
        if file.is_file() and not arguments.again:
            cells.append(label | json.loads(file.read_text(encoding="utf-8"))["cell"])
            logger.info("%s measured before", head)
            continue
        cell = measured_apart(command(arguments, member.checkpoint, size, batch, threads), ROOT)
        cells.append(label | cell)
        if cell["status"] == MEASURED:
            write_text(file, json.dumps({"key": key, "cell": cell}, indent=1))
            logger.info("%s %.1f ms", head, cell["median_ms"])
        else:
            logger.warning("%s %s: %s", head, cell["status"], cell["reason"])
    return cells


def command(
    arguments: argparse.Namespace, checkpoint: Path, size: int, batch: int, threads: int
) -> list[str]:
    """The command line that measures one cell."""
    options = {"--checkpoint": checkpoint.resolve(), "--size": size, "--batch": batch}
    options |= {"--device": arguments.device, "--threads": threads}
    options |= {"--repeats": arguments.repeats, "--seconds": arguments.seconds}
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-m", "deocclude.engines.analysis.timing_cell", *words]


def caption(
    arguments: argparse.Namespace, cells: Sequence[dict], measured: Sequence[dict]
) -> list[str]:
    """Device, settings, how busy the machine was, and what could not be measured."""
    first = measured[0]
    loads = [cell["load"] for cell in measured]
    cores = [cell["cores"] for cell in measured]
    lines = [
        f"{first['device']}, {_plural(first['threads'], 'thread')}, PyTorch {torch.__version__}, "
        "float32; noise under random masks, the network for features included.",
        f"Each cell in a process of its own: median and 95th percentile of up to "
        f"{arguments.repeats} calls, synchronised, none begun after {arguments.seconds:g} s, after "
        "2 that do not count.",
        "Memory: the peak of network and calls without Python and its libraries (in brackets: with "
        "them; on a GPU all that was allocated), reading the file left out.",
        "Load of the machine before a cell, in which the previous cell counts: "
        f"{min(loads):.1f} to {max(loads):.1f}. Cores that a cell had: {min(cores):.2f} to "
        f"{max(cores):.2f}; on a CPU, fewer than the threads when other programs took the rest.",
    ]
    for cell in cells:
        if cell["status"] != MEASURED:
            place = f"{cell['row']}, {cell['size']} px, batch {cell['batch']}"
            lines.append(f"{place}: {cell['status']} ({cell['reason']}).")
    return lines


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
