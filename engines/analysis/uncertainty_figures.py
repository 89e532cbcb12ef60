"""Figures of whether an uncertainty predicts the error."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from deocclude.data.images import to_uint8
from deocclude.engines.analysis.uncertainty_values import DEPTH, UNCERTAINTY
from deocclude.engines.report.figures import COLOURS, DPI, INK, MARKERS, tidy
from deocclude.engines.report.grids import picture_grid
from deocclude.engines.report.tables import BIN_LABELS, OUTSIDE
from deocclude.metrics.uncertainty import Sparsification
from matplotlib.figure import Figure
from torch import Tensor

ACROSS = 3  # panels in a row
BIN_COLOURS = ("#FDE725", "#90D743", "#35B779", "#21918C", "#31688E", "#440154")  # viridis


def calibration_figure(curves: dict[str, pd.DataFrame]) -> Figure:
    """What was predicted against what came, a line each, with 95 % intervals, on log scales.

    `curves`: by name, from `metrics.uncertainty.calibration`. On the dotted line both are equal.
    """
    figure = Figure(figsize=(6.6, 4.2), dpi=DPI)
    axis = figure.subplots()
    limits = []
    for i, (name, curve) in enumerate(curves.items()):
        drawn = curve[(curve["uncertainty"] > 0) & (curve["rmse"] > 0)]
        errors = np.stack([drawn["rmse"] - drawn["low"], drawn["high"] - drawn["rmse"]])
        look = {"color": COLOURS[i % 7], "marker": MARKERS[i % 7], "markersize": 3.5}
        axis.errorbar(
            drawn["uncertainty"], drawn["rmse"], yerr=np.nan_to_num(errors.clip(min=0)),
            label=name, linewidth=1.4, elinewidth=0.8, **look,
        )  # fmt: skip
        limits += [*drawn["uncertainty"], *drawn["rmse"]]
    if limits:
        ends = [min(limits), max(limits)]
        axis.plot(ends, ends, color="#666666", linestyle=":", linewidth=1.2, label="equal")
        axis.set_xscale("log")
        axis.set_yscale("log")
    else:
        axis.text(0.5, 0.5, "no uncertainty above 0", ha="center", transform=axis.transAxes)
    axis.set_xlabel("uncertainty of a bin of pixels (RMS)", fontsize=9, color=INK)
    axis.set_ylabel("RMSE of these pixels", fontsize=9, color=INK)
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02)}
    axis.legend(frameon=False, fontsize=8, **beside)
    tidy(axis)
    figure.tight_layout()
    return figure


def sparsification_figure(curves: dict[str, dict[str, Sparsification]]) -> Figure:
    """A panel each: the error that is left without the most uncertain pixels.

    `curves`: by name the sparsification by uncertainty and, the first's at least, by depth in the
    hole.
    """
    figure, axes = _panels(len(curves))
    for axis, (name, found) in zip(axes, curves.items(), strict=True):
        own = found[UNCERTAINTY]
        percent = 100 * own.removed
        axis.plot(percent, np.ones(len(percent)), color="#8C8C8C", linestyle=":", label="random")
        plain = {"color": "#8C8C8C", "linestyle": "--", "linewidth": 1.2}
        if DEPTH in found:
            axis.plot(percent, found[DEPTH].curve, label="depth in the hole", **plain)
        axis.plot(percent, own.curve, color=COLOURS[0], linewidth=1.6, label="uncertainty")
        axis.plot(percent, own.oracle, color=INK, linewidth=1.2, label="oracle: true error")
        axis.set_title(f"{name}: AUSE {own.ause:.3f}", fontsize=9, color=INK, loc="left")
        axis.set_ylim(0, 1.05)
        tidy(axis)
    _label(figure, axes, "most uncertain pixels left out (%)", "share of the mean error left")
    return figure


def pictures_figure(shown: Sequence[tuple[str, pd.DataFrame, float]]) -> Figure:
    """A panel each: mean error against mean uncertainty of every hole, coloured by its bin.

    `shown`: name, `engines.analysis.uncertainty_values.Measured.images`, correlation of both.
    """
    figure, axes = _panels(len(shown))
    for axis, (row, images, correlation) in zip(axes, shown, strict=True):
        for name, group in images.groupby("bin"):
            colour = "#B0B0B0" if name == OUTSIDE else BIN_COLOURS[int(name)]
            dots = {"s": 5, "color": colour, "alpha": 0.6, "linewidths": 0}
            axis.scatter(group[UNCERTAINTY], group["l1"], label=BIN_LABELS[name], **dots)
        known = f": ρ = {correlation:.2f}" if math.isfinite(correlation) else ""
        title = f"{row}{known}"
        axis.set_title(title, fontsize=9, color=INK, loc="left")
        tidy(axis)
    _label(figure, axes, "mean uncertainty of a hole", "mean absolute error", markers=3)
    return figure


def _panels(count: int):
    across = min(count, ACROSS)
    lines = math.ceil(count / across)
    figure = Figure(figsize=(3.1 * across + 0.4, 2.7 * lines + 0.7), dpi=DPI)
    axes = figure.subplots(lines, across, squeeze=False, sharey=True).ravel()
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def _label(figure: Figure, axes, below: str, beside: str, markers: float = 1) -> None:
    for i, axis in enumerate(axes):
        if i + ACROSS >= len(axes):
            axis.set_xlabel(below, fontsize=9, color=INK)
        if i % ACROSS == 0:
            axis.set_ylabel(beside, fontsize=9, color=INK)
    handles, labels = axes[0].get_legend_handles_labels()
    across = max(1, min(len(labels), 2 * min(len(axes), ACROSS)))
    height, lines = figure.get_figheight(), math.ceil(len(labels) / across)
    style = {"frameon": False, "fontsize": 8.5, "markerscale": markers}
    figure.legend(handles, labels, loc="lower center", ncols=across, **style)
    figure.tight_layout(rect=(0, (0.05 + 0.19 * lines) / height, 1, 1))


def examples_figure(
    shown: Sequence[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]], names: Sequence[str], labels
) -> Figure:
    """Input, then of each network its picture, uncertainty and error, and the target.

    `shown`: of each name, from `engines.analysis.uncertainty_values.doubt_and_error` on the same pairs;
    labels: of the pairs. Each map goes from black, 0, to yellow, its own 99th percentile over all
    pairs, which its title says.
    """
    occluded, _, target, _, _ = shown[0]
    columns = {"input": to_uint8(occluded)}
    for name, (_, composed, _, doubt, mask) in zip(names, shown, strict=True):
        error = (composed - target).abs().mean(1, keepdim=True)
        columns[name] = to_uint8(composed)
        for title, values in (("uncertainty", doubt), ("error", error)):
            top = float(values[mask > 0.5].quantile(0.99))
            columns[f"{title} ≤ {top:.2f}\n{name}"] = _heat(values[:, 0] * mask[:, 0], top)
    columns["target"] = to_uint8(target)
    rows = [[column[i] for column in columns.values()] for i in range(len(labels))]
    return picture_grid(rows, [title.split("\n")[0] for title in columns], labels)


def _heat(values: Tensor, top: float) -> np.ndarray:
    """(N, H, W) to uint8 (N, H, W, 3), black to yellow."""
    levels = (values / max(top, 1e-9) * 255).round().clamp(0, 255).byte().numpy()
    heat = [cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1] for level in levels]
    return np.stack(heat)
