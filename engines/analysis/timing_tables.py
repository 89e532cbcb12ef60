"""Tables and figure of `evaluate.py analyse timing`, from the records of its cells alone."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deocclude.engines.report.charts import COLOURS, FAINT, MARKERS, legend_below, tidy
from deocclude.engines.report.grids import DPI
from deocclude.engines.report.tables import Table, column, pivot, table_of

MOST = 40  # rows in the figure
WIDE = 5.0  # times the smallest value, from which an axis is logarithmic

MEASURED, TOO_LARGE, FAILED = "measured", "out of memory", "failed"


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


def measured_apart(command: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """The record that `command` prints as its last line of JSON; what went wrong becomes `status`.

    `folder`: where it is started, else here.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        return failure(done.returncode, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def failure(code: int, errors: str) -> dict[str, str]:
    """The record of a process that ended with this code; the kernel kills where memory ends."""
    last = (errors.strip().splitlines() or ["no message"])[-1]
    killed = hasattr(signal, "SIGKILL") and code == -signal.SIGKILL
    if killed or "can't allocate memory" in errors or "out of memory" in errors:
        return {"status": TOO_LARGE, "reason": "killed by the system" if killed else last}
    return {"status": FAILED, "reason": f"exit code {code}: {last[-300:]}"}
