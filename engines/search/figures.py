"""Figures of a search: its history, the course of its trials, and what the weights do."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deocclude.engines.report.charts import COLOURS, tidy
from deocclude.engines.report.grids import DPI, INK

COMPLETE, PRUNED = "complete", "pruned"
GREY = "#9A9A9A"


def history_figure(frame: pd.DataFrame, label: str, higher: bool) -> Figure:
    """The objective of every trial, the best one so far, and the run's own weights.

    `frame`: a line a trial with number, state, value and own (whether it has the run's own
    weights), as `engines.search.report.trials_frame` makes it. ValueError without a value.
    """
    figure = Figure(figsize=(6.0, 3.2), dpi=DPI)
    axis = figure.subplots()
    complete = _complete(frame)
    _points(axis, frame, "number")
    best = complete["value"].cummax() if higher else complete["value"].cummin()
    line = {"color": COLOURS[1], "linewidth": 1.5, "label": "best so far"}
    numbers, values = [*complete["number"], frame["number"].max()], [*best, best.iloc[-1]]
    axis.step(numbers, values, where="post", **line)
    own = complete[complete["own"]]
    if len(own):
        line = {"color": INK, "linestyle": ":", "linewidth": 1.2, "label": "the run's own weights"}
        axis.axhline(own["value"].iloc[-1], **line)
    axis.set_title(f"{label}, by trial", fontsize=10, color=INK, loc="left")
    axis.set_xlabel("trial", fontsize=9, color=INK)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.03))
    tidy(axis)
    figure.tight_layout()
    return figure


def courses_figure(courses: Mapping[int, Mapping[int, float]], best: int, label: str) -> Figure:
    """The objective of every trial after each epoch, the best trial in colour.

    courses: epoch -> value, by trial. ValueError when none has a value.
    """
    drawn = {number: values for number, values in courses.items() if values}
    if not drawn:
        raise ValueError("no trial has a value after any epoch: nothing to draw")
    figure = Figure(figsize=(6.0, 3.2), dpi=DPI)
    axis = figure.subplots()
    longest = max(max(values) for values in drawn.values())
    for number, values in sorted(drawn.items(), key=lambda item: item[0] == best):
        chosen = number == best
        epochs = sorted(values)
        axis.plot(
            epochs,
            [values[epoch] for epoch in epochs],
            color=COLOURS[1] if chosen else GREY,
            linewidth=2.0 if chosen else 1.0,
            marker="o" if epochs[-1] < longest or longest == 1 else None,
            markevery=[-1],
            markersize=4,
            label=f"trial {number}, the best" if chosen else None,
        )
    axis.set_title(f"{label}, by epoch", fontsize=10, color=INK, loc="left")
    axis.set_xlabel("epoch (a dot: the trial ended early)", fontsize=9, color=INK)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if best in drawn:
        axis.legend(frameon=False, fontsize=8)
    tidy(axis)
    figure.tight_layout()
    return figure


def weights_figure(
    frame: pd.DataFrame, terms: Sequence[str], limits: tuple[float, float], label: str, higher: bool
) -> Figure:
    """The objective against each weight, a panel a term. ValueError without a value.

    limits: the smallest and the largest weight that could be drawn.
    """
    complete = _complete(frame)
    values = complete["value"]
    best = complete.loc[values.idxmax() if higher else values.idxmin()]
    across = min(4, len(terms))
    down = math.ceil(len(terms) / across)
    figure = Figure(figsize=(2.6 * across + 0.4, 2.4 * down + 0.3), dpi=DPI)
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axis, term in zip(axes, terms, strict=False):
        _points(axis, frame, term)
        axis.plot(best[term], best["value"], "*", color=COLOURS[1], markersize=12, label="best")
        room = 0.04 * (limits[1] - limits[0])
        axis.set_xlim(limits[0] - room, limits[1] + room)
        axis.set_xlabel(f"weight of {term}", fontsize=9, color=INK)
        tidy(axis)
    for axis in axes[len(terms) :]:
        axis.remove()
    axes[0].set_title(f"{label}, by weight", fontsize=10, color=INK, loc="left")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.09 / down, 1, 1))
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="lower center", ncols=3)
    return figure


def importance_figure(importances: Mapping[str, float]) -> Figure:
    """The share of each weight in what made trials good, the largest on top."""
    if not importances:
        raise ValueError("no importances: nothing to draw")
    ordered = sorted(importances.items(), key=lambda item: item[1])
    figure = Figure(figsize=(5.0, 0.9 + 0.32 * len(ordered)), dpi=DPI)
    axis = figure.subplots()
    bars = axis.barh([n for n, _ in ordered], [v for _, v in ordered], color=COLOURS[0], height=0.6)
    axis.bar_label(bars, fmt="{:.2f}", fontsize=8, color=INK, padding=2)
    axis.set_xlim(0, max(1e-9, ordered[-1][1]) * 1.15)
    axis.set_title("importance of each weight (PED-ANOVA)", fontsize=10, color=INK, loc="left")
    tidy(axis)
    axis.grid(visible=False)
    figure.tight_layout()
    return figure


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    found = frame[frame["state"].eq(COMPLETE) & frame["value"].notna()]
    if found.empty:
        raise ValueError("no trial is complete: nothing to draw")
    return found


def _points(axis, frame: pd.DataFrame, x: str) -> None:
    """Complete trials by value; pruned ones, whose values are of earlier epochs, at the foot."""
    complete, pruned = _complete(frame), frame[frame["state"].eq(PRUNED)]
    axis.plot(complete[x], complete["value"], "o", color=COLOURS[0], markersize=5, label=COMPLETE)
    if len(pruned):
        hollow = {"color": GREY, "markerfacecolor": "none", "markersize": 5, "label": PRUNED}
        place = axis.get_xaxis_transform()
        axis.plot(pruned[x], [0.04] * len(pruned), "o", transform=place, **hollow)
        axis.margins(y=0.12)
