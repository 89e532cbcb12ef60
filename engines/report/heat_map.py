"""A square heat map of values between 0 and 1, its rows in groups."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deocclude.engines.report.grids import DPI, INK

EMPTY = "#D9D9D9"  # of a cell without a value
LETTER = 0.061  # inches, width of a letter at 8 points
ANNOTATED = 16  # rows up to which every cell says its value


def heat_map(
    values: np.ndarray, labels: Sequence[str], groups: Sequence[str], title: str
) -> Figure:
    """A symmetric matrix (L, L), 0 dark and 1 bright, NaN grey.

    `groups`: what each row belongs to; neighbours of one group are framed and named once. A group
    of one row whose label is empty is named by the group alone. ValueError unless there is a label
    and a group for every row.
    """
    count = len(labels)
    if values.shape != (count, count) or len(groups) != count or not count:
        raise ValueError(
            f"a heat map of shape {values.shape} needs as many labels and groups, "
            f"found {count} and {len(groups)}"
        )
    cell = 0.46 if count <= ANNOTATED else 0.24
    names = [(name, len(list(part))) for name, part in groupby(groups)]
    across = LETTER * max(map(len, labels)) + 0.22
    named = LETTER * 1.15 * max(map(len, groups)) + 0.15
    above = 0.64 * named + 0.45
    side = cell * count
    bar = 0.75
    width, height = across + named + side + max(bar, 0.7 * named), across + side + above
    figure = Figure(figsize=(width, height), dpi=DPI)
    axis = figure.add_axes(((across + named) / width, across / height, side / width, side / height))
    axis.set_facecolor(EMPTY)
    shown = axis.imshow(np.clip(values, 0, 1), cmap="viridis", vmin=0, vmax=1, aspect="equal")
    for each in (axis.set_xticks, axis.set_yticks):
        each(range(count), labels, fontsize=8, color=INK)
    axis.tick_params(axis="x", rotation=90, length=0)
    axis.tick_params(axis="y", length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    _name_groups(axis, names, count, across / cell)
    if count <= ANNOTATED:
        _write_values(axis, values)
    place = ((across + named + side + 0.2) / width, across / height)
    colours = figure.add_axes((*place, 0.14 / width, min(side, 2.4) / height))
    figure.colorbar(shown, cax=colours).ax.tick_params(labelsize=8, colors=INK)
    figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=10, color=INK, va="top", ha="left")
    return figure


def _name_groups(axis: Axes, names: Sequence[tuple[str, int]], count: int, left: float) -> None:
    """Names left and above of each group, white lines between groups; `left` in cells."""
    start = 0
    for name, rows in names:
        middle = start + rows / 2 - 0.5
        style: dict[str, Any] = {"fontsize": 8, "color": INK, "fontweight": "bold"}
        axis.text(-0.5 - left, middle, name, ha="right", va="center", **style)
        axis.text(
            middle, -0.75, name, ha="left", va="bottom", rotation=40, rotation_mode="anchor",
            **style,
        )  # fmt: skip
        start += rows
        if start < count:
            axis.axhline(start - 0.5, color="white", linewidth=1.6)
            axis.axvline(start - 0.5, color="white", linewidth=1.6)


def _write_values(axis: Axes, values: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00")
        colour = "white" if value < 0.55 else INK
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
