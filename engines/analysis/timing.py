"""`evaluate.py analyse timing`: what networks cost, by size and batch, each cell measured alone."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deocclude.data.files import write_text
from deocclude.engines.analysis.frame import output_folder, save_analysis
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference.cost import MEASURED, measured_apart
from deocclude.engines.measures.rows import row_file
from deocclude.engines.report.charts import COLOURS, FAINT, MARKERS, legend_below, tidy
from deocclude.engines.report.grids import DPI
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import Table, column, pivot, table_of
from deocclude.engines.runs.devices import device_name, resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

TITLE = "Time and memory"
PROTOCOL = 1  # raised whenever a number in the cells would come out differently
MOST = 40  # rows in the figure
WIDE = 5.0  # times the smallest value, from which an axis is logarithmic
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
    tables = timing_tables(frame)
    figure, left_out = timing_figure(frame)
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


def timing_tables(frame: pd.DataFrame) -> list[Table]:
    """Latency at the smallest batch, images/s, memory, and what does not depend on the machine."""
    headings = [
        f"{size} px, batch {n}" for size, n in zip(frame["size"], frame["batch"], strict=True)
    ]
    others = {"p95_ms": "median_ms_high", "peak_mib": "own_mib_high"}
    frame = frame.assign(place=headings).rename(columns=others)
    smallest = frame["batch"].min()
    alone = frame[frame["batch"] == smallest]
    how = {"rows": "row", "columns": "place", "say": False, "interval": True}
    return [
        pivot(
            alone, **how, form="{value:.1f} ({high:.1f})", of="median_ms", higher=False,
            title=f"Latency at batch {smallest}, ms (95th percentile)",
        ),
        pivot(
            frame, **how, form=".1f", of="images_per_second", higher=True, title="Images a second"
        ),
        pivot(
            frame, **how, form="{value:.0f} ({high:.0f})", of="own_mib", higher=False,
            title="Peak memory, MiB",
        ),
        _sizes(alone),
    ]  # fmt: skip


def _sizes(alone: pd.DataFrame) -> Table:
    """What does not depend on the batch."""
    names, columns = list(dict.fromkeys(alone["row"])), []
    first = alone.dropna(subset=["parameters"]).drop_duplicates("row")
    for heading, key in {"parameters": "parameters", "of features": "features_parameters"}.items():
        cells = column(first.assign(millions=first[key] / 1e6), names, ".2f", of="millions")
        columns.append((f"{heading} (M)", cells))
    for side in dict.fromkeys(alone["size"]):
        part = alone[alone["size"] == side]
        cells = column(part.assign(billions=part["macs"] / 1e9), names, ".2f", of="billions")
        columns.append((f"GMACs, {side} px", cells))
    return table_of("Parameters and multiply-accumulates of one image", names, columns)


def timing_figure(frame: pd.DataFrame) -> tuple[Figure, list[str]]:
    """Latency, images/s and memory of each row, a mark a size; and what the figure leaves out."""
    measured = frame[frame["status"] == MEASURED]
    batches = sorted(measured["batch"].unique())
    order = measured.groupby("row", sort=False)["macs"].min().sort_values(kind="stable")
    names = order.index.tolist()[:MOST]
    panels = [
        ("median_ms", batches[0], f"latency, batch {batches[0]} (ms) ↓"),
        ("images_per_second", batches[-1], f"images/s, batch {batches[-1]} ↑"),
        ("own_mib", batches[-1], f"peak memory, batch {batches[-1]} (MiB) ↓"),
    ]
    longest = max(map(len, names))
    width, height = 9.0 + 0.07 * longest, 0.26 * len(names) + 1.1
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (key, batch, title) in zip(axes, panels, strict=True):
        for i, size in enumerate(sorted(measured["size"].unique())):
            part = measured[measured["size"].eq(size) & measured["batch"].eq(batch)]
            line = part.set_index("row").reindex(names)
            look = {"color": COLOURS[i % 7], "marker": MARKERS[i % 7], "linestyle": "none"}
            look |= {"markersize": 5, "label": f"{size} px"}
            if key == "median_ms":
                reach = np.stack([np.zeros(len(line)), line["p95_ms"] - line[key]]).clip(min=0)
                axis.errorbar(line[key], np.arange(len(names)), xerr=reach, capsize=2, **look)
            else:
                axis.plot(line[key], np.arange(len(names)), **look)
        _scale(axis, measured.loc[measured["batch"] == batch, key])
        tidy(axis, title, size=9)
        axis.tick_params(axis="x", labelsize=7.5)
        axis.grid(axis="x", color=FAINT, linewidth=0.7)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    legend_below(figure, axes[0], measured["size"].nunique(), 0.3, fontsize=8)
    if len(names) == len(order):
        return figure, []
    return figure, [f"The figure shows {len(names)} of {len(order)} rows, those of fewest MACs."]


def _scale(axis, values: pd.Series) -> None:
    """Logarithmic with plain numbers where values differ by much, else from 0 on."""
    low, high = values.min(), values.max()
    if not high > WIDE * low > 0:
        axis.set_xlim(0, 1.1 * high if high > 0 else 1)
        return
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
