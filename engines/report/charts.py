"""What figures of numbers share: panels, looks of rows, marks with intervals, bars, legends."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deocclude.engines.report.grids import DPI, INK
from deocclude.engines.report.tables import BIN_LABELS

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREYS = ("#B0B0B0", "#8C8C8C", "#686868", "#9A8F80", "#4A4A4A")
DASHES = ((0, (1, 1.5)), (0, (3, 1.5)), (0, (5, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (7, 2)))
FAINT, EDGE = "#E4E4E4", "#999999"
LEGIBLE = 12  # rows at most in one panel


def legible(
    names: Sequence[str],
    reference: str | None = None,
    ranked: Sequence[str] | None = None,
    most: int = LEGIBLE,
) -> list[str]:
    """All names, or as many as can be told apart: the reference and the first of `ranked`, which
    are all of them, the best first. They stay in their order."""
    if len(names) <= most:
        return list(names)
    others = [name for name in ranked or names if name != reference]
    kept = others[: most - (reference in names)]
    return [name for name in names if name == reference or name in kept]


def panels(
    count: int,
    across: int,
    size: tuple[float, float],
    margin: tuple[float, float],
    **shared: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `across` in a line; `size` of each and the `margin` of
    all in inches; `shared` as in `Figure.subplots`."""
    across = min(count, across)
    down = math.ceil(count / across)
    figsize = (size[0] * across + margin[0], size[1] * down + margin[1])
    figure = Figure(figsize=figsize, dpi=DPI)
    axes = figure.subplots(down, across, squeeze=False, **shared).ravel()
    for axis in axes[count:]:
        axis.remove()
    return figure, list(axes[:count])


def row_looks(kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each row: a "model" in colour, a "baseline" grey and dashed."""
    looks, counts = {}, {"model": 0, "baseline": 0}
    for name, kind in kinds.items():
        i = counts[kind]
        counts[kind] += 1
        if kind == "baseline":
            looks[name] = {"color": GREYS[i % 5], "linestyle": DASHES[i % 5], "marker": "x"}
        else:
            line = "-" if i < 7 else DASHES[4]  # colours come again
            looks[name] = {"color": COLOURS[i % 7], "linestyle": line}
            looks[name]["marker"] = MARKERS[(i + i // 7) % 7]
    return looks


def shifts(count: int, reach: float) -> np.ndarray:
    """How far marks of `count` rows at one place stand apart, at most `reach` to either side."""
    return np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)


def reach(lines: pd.DataFrame) -> np.ndarray:
    """(2, N): how far the interval of each mean goes down and up; NaN where it cannot be had."""
    return np.stack([lines["mean"] - lines["low"], lines["high"] - lines["mean"]]).clip(min=0)


def bars(
    axis: Axes, frame: pd.DataFrame, key: str, order: Sequence[str], rows: Sequence[str]
) -> None:
    """Means between 0 and 1 with their intervals at each of `order` in the column `key`, a bar and
    a colour a row."""
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        lines = frame[frame["row"].eq(row)].set_index(key).loc[list(order)]
        places = np.arange(len(order)) + (i - (len(rows) - 1) / 2) * width
        axis.bar(
            places, lines["mean"].to_numpy(), 0.92 * width, label=row, color=COLOURS[i % 7],
            yerr=np.nan_to_num(reach(lines)), error_kw={"elinewidth": 0.6, "ecolor": "#555555"},
        )  # fmt: skip
    axis.set_ylim(0, 1)


def name_bins(axis: Axes, bins: Sequence[str], **style: Any) -> None:
    """Bins of hole area along the axis."""
    labels = [BIN_LABELS[name].removesuffix(" %") for name in bins]
    axis.set_xticks(range(len(bins)), labels, **style)


def tidy(axis: Axes, title: str = "", below: str = "", beside: str = "", size: float = 10) -> None:
    """Light grid, no box: the look of every figure of numbers; its title, of `size` points, and
    the names of its axes."""
    if title:
        axis.set_title(title, fontsize=size, color=INK, loc="left")
    if below:
        axis.set_xlabel(below, fontsize=9, color=INK)
    if beside:
        axis.set_ylabel(beside, fontsize=9, color=INK)
    axis.grid(axis="y", color=FAINT, linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(EDGE)
    axis.tick_params(labelsize=8, colors=INK, length=3, color=EDGE)


def legend_below(
    figure: Figure,
    axis: Axes,
    across: int,
    room: float | None = None,
    *,
    top: float = 1.0,
    between: float | None = None,
    **style: Any,
) -> None:
    """What stands in `axis`, explained below all panels, `across` in a line.

    `room`: inches that panels leave for it, by default as many as its lines need; `top`: where they
    end, of the figure's height; `between`: of columns of panels, in letters.
    """
    handles, labels = axis.get_legend_handles_labels()
    place: dict[str, Any] = {"loc": "lower center", "ncols": across, "frameon": False}
    figure.legend(handles, labels, **(place | {"fontsize": 8.5} | style))
    room = 0.05 + 0.19 * math.ceil(len(labels) / across) if room is None else room
    figure.tight_layout(rect=(0, room / figure.get_figheight(), 1, top), w_pad=between)


def legend_beside(axis: Axes, height: float = 1.03, **style: Any) -> None:
    """What stands in the axis, explained right of it."""
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, height)}
    axis.legend(frameon=False, fontsize=8, **(place | style))
