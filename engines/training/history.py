"""How the weights of a loss and its weighted terms go over a run."""

from pathlib import Path

import pandas as pd
from deocclude.engines.report.figures import COLOURS, DPI, INK, tidy
from matplotlib.figure import Figure

WEIGHT, TRAIN = "weight/", "train/"


def weights_change(frame: pd.DataFrame) -> bool:
    """Whether any weight in a run's history (metrics.csv) differs between two epochs."""
    weights = [column for column in frame if column.startswith(WEIGHT)]
    return any(frame[column].nunique() > 1 for column in weights)


def weights_figure(metrics_csv: Path) -> Figure:
    """Two panels over epochs: the weight of each term as a share of its largest, which the legend
    names, and weight times term (log scale).

    A weighted term is the epoch's mean term at the weight of the epoch's end. ValueError when the
    file has no weights.
    """
    frame = pd.read_csv(metrics_csv)
    names = [column.removeprefix(WEIGHT) for column in frame if column.startswith(WEIGHT)]
    if not names or frame.empty:
        raise ValueError(f"{metrics_csv}: has no column {WEIGHT}..., nothing to draw")
    figure = Figure(figsize=(8.4, 2.8), dpi=DPI)
    first, second = figure.subplots(1, 2, width_ratios=(3.0, 4.2))
    marker = "o" if len(frame) < 3 else None
    for i, name in enumerate(names):
        style = {"color": COLOURS[i % len(COLOURS)], "linewidth": 1.5, "marker": marker}
        style["linestyle"] = "-" if i < len(COLOURS) else "--"
        weight = frame[f"{WEIGHT}{name}"]
        largest = weight.max()
        first.plot(frame["epoch"], weight / largest if largest > 0 else weight, **style)
        label = f"{name} (≤ {largest:g})"
        if f"{TRAIN}{name}" in frame:
            weighted = weight * frame[f"{TRAIN}{name}"]
            drawn = weighted.where(weighted > 0)  # a weight of 0 has no place on a log scale
            second.plot(frame["epoch"], drawn, label=label, **style)
    first.set_title("weight ÷ its largest", fontsize=10, color=INK, loc="left")
    second.set_title("weight × training term", fontsize=10, color=INK, loc="left")
    second.set_yscale("log")
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.03), "handlelength": 1.4}
    second.legend(frameon=False, fontsize=8, **beside)
    for axis in (first, second):
        axis.set_xlabel("epoch", fontsize=9, color=INK)
        tidy(axis)
    figure.tight_layout(w_pad=1.5)
    return figure
