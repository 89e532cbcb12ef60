"""Figures of whether an uncertainty predicts the error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deocclude.data.images import to_uint8
from deocclude.engines.analysis.uncertainty_values import DEPTH, UNCERTAINTY, Measured
from deocclude.engines.report.charts import (
    COLOURS,
    MARKERS,
    legend_below,
    legend_beside,
    panels,
    reach,
    tidy,
)
from deocclude.engines.report.grids import DPI, INK, heat, picture_grid
from deocclude.engines.report.tables import (
    BIN_LABELS,
    OUTSIDE,
    PERCENT,
    Cell,
    Table,
    finite,
    mark_best,
    table_of,
)
from deocclude.metrics.correlation import Correlations, correlate, ranks_within
from deocclude.metrics.statistics import Interval, bootstrap_interval
from deocclude.metrics.uncertainty import Sparsification, calibration, sparsify

ACROSS = 3  # panels in a row
BIN_COLOURS = ("#FDE725", "#90D743", "#35B779", "#21918C", "#31688E", "#440154")  # viridis

ENDINGS = {UNCERTAINTY: "", DEPTH: ": depth in the hole"}  # of a row's name


def calibration_figure(curves: dict[str, pd.DataFrame]) -> Figure:
    """What was predicted against what came, a line each, with 95 % intervals, on log scales.

    `curves`: by name, from `metrics.uncertainty.calibration`. On the dotted line both are equal.
    """
    figure = Figure(figsize=(6.6, 4.2), dpi=DPI)
    axis = figure.subplots()
    limits = []
    for i, (name, curve) in enumerate(curves.items()):
        drawn = curve[(curve["uncertainty"] > 0) & (curve["rmse"] > 0)]
        errors = np.nan_to_num(reach(drawn.assign(mean=drawn["rmse"])))
        look = {"color": COLOURS[i % 7], "marker": MARKERS[i % 7], "markersize": 3.5}
        look |= {"linewidth": 1.4, "elinewidth": 0.8, "label": name}
        axis.errorbar(drawn["uncertainty"], drawn["rmse"], yerr=errors, **look)
        limits += [*drawn["uncertainty"], *drawn["rmse"]]
    if limits:
        ends = [min(limits), max(limits)]
        axis.plot(ends, ends, color="#666666", linestyle=":", linewidth=1.2, label="equal")
        axis.set_xscale("log")
        axis.set_yscale("log")
    else:
        axis.text(0.5, 0.5, "no uncertainty above 0", ha="center", transform=axis.transAxes)
    tidy(axis, "", "uncertainty of a bin of pixels (RMS)", "RMSE of these pixels")
    legend_beside(axis, 1.02)
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
        axis.set_ylim(0, 1.05)
        tidy(axis, f"{name}: AUSE {own.ause:.3f}", size=9)
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
        tidy(axis, f"{row}{known}", size=9)
    _label(figure, axes, "mean uncertainty of a hole", "mean absolute error", markers=3)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    return panels(count, ACROSS, (3.1, 2.7), (0.4, 0.7), sharey=True)


def _label(figure: Figure, axes: list[Axes], below: str, beside: str, markers: float = 1) -> None:
    for i, axis in enumerate(axes):
        if i + ACROSS >= len(axes):
            axis.set_xlabel(below, fontsize=9, color=INK)
        if i % ACROSS == 0:
            axis.set_ylabel(beside, fontsize=9, color=INK)
    labels = axes[0].get_legend_handles_labels()[1]
    across = max(1, min(len(labels), 2 * min(len(axes), ACROSS)))
    legend_below(figure, axes[0], across, markerscale=markers)


def examples_figure(
    shown: Sequence[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]], names: Sequence[str], labels
) -> Figure:
    """Input, then of each network its picture, uncertainty and error, and the target.

    `shown`: of each name, from `engines.analysis.uncertainty_values.doubt_and_error` on the same
    pairs; labels: of the pairs. Each map goes from black, 0, to yellow, its own 99th percentile
    over all pairs, which its title says.
    """
    occluded, _, target, _, _ = shown[0]
    columns = {"input": to_uint8(occluded)}
    for name, (_, composed, _, doubt, mask) in zip(names, shown, strict=True):
        error = (composed - target).abs().mean(1, keepdim=True)
        columns[name] = to_uint8(composed)
        for title, values in (("uncertainty", doubt), ("error", error)):
            top = float(values[mask > 0.5].quantile(0.99))
            columns[f"{title} ≤ {top:.2f}\n{name}"] = heat((values[:, 0] * mask[:, 0]).numpy(), top)
    columns["target"] = to_uint8(target)
    rows = [[column[i] for column in columns.values()] for i in range(len(labels))]
    return picture_grid(rows, [title.split("\n")[0] for title in columns], labels)


@dataclass(frozen=True)
class Finding:
    """How well one quantity predicts one inpainter's error."""

    pixels: Correlations
    within: Interval
    between: Correlations
    equal_holes: Interval
    sparsification: Sparsification


@dataclass(frozen=True)
class KeptValues:
    """What is kept of one network's measured values, without the sampled pixels.

    `findings`: by quantity, UNCERTAINTY and DEPTH; without DEPTH where the same errors were held
    against it in another row. `curve`: from `metrics.uncertainty.calibration`. `predicted`, `came`:
    root mean squares of uncertainty and error.
    """

    name: str
    doubt: str
    images: pd.DataFrame
    findings: dict[str, Finding]
    curve: pd.DataFrame
    predicted: float
    came: float
    sampled: int
    total: int


def conclude(measured: Measured, seed: int = 0) -> KeptValues:
    """Correlations, calibration and sparsification of one network's values."""
    pixels = measured.pixels
    sources = (UNCERTAINTY,) if measured.again else (UNCERTAINTY, DEPTH)
    return KeptValues(
        measured.name,
        measured.doubt,
        measured.images,
        {source: find(measured, source, seed) for source in sources},
        calibration(pixels[UNCERTAINTY], pixels["squared"], pixels["image"], seed=seed),
        float(np.sqrt(np.square(pixels[UNCERTAINTY].to_numpy(np.float64)).mean())),
        float(np.sqrt(pixels["squared"].to_numpy(np.float64).mean())),
        len(pixels),
        measured.total,
    )


def find(measured: Measured, source: str, seed: int = 0) -> Finding:
    """How well `source`, UNCERTAINTY or DEPTH, predicts the error."""
    pixels, images = measured.pixels, measured.images
    known = images.dropna(subset=["l1"])  # pairs without a hole have no error
    by_image = known["image"].to_numpy()
    ranked = [ranks_within(known[column], known["bin"]) for column in (source, "l1")]
    return Finding(
        correlate(pixels[source], pixels["error"], pixels["image"], seed=seed),
        bootstrap_interval(known[f"{source}_rho"].to_numpy(), images=by_image, seed=seed),
        correlate(known[source], known["l1"], by_image, seed=seed),
        correlate(*ranked, by_image, seed=seed).pearson,
        sparsify(pixels[source], pixels["error"], seed=seed),
    )


def correlation_table(results: Sequence[KeptValues]) -> Table:
    """A row each network and quantity; the best of each column marked."""
    named = [(f"{r.name}{ENDINGS[key]}", f) for r in results for key, f in r.findings.items()]
    columns = {
        "pixels, ρ": [f.pixels.spearman for _, f in named],
        "pixels, r": [f.pixels.pearson for _, f in named],
        "pixels of one hole, ρ": [f.within for _, f in named],
        "holes, ρ": [f.between.spearman for _, f in named],
        "holes, r": [f.between.pearson for _, f in named],
        "holes of one bin, ρ": [f.equal_holes for _, f in named],
    }
    cells = [
        (heading, mark_best([Cell(*value[:3], form=".3f") for value in values], True))
        for heading, values in columns.items()
    ]
    notes = [
        "ρ: Spearman's, r: Pearson's coefficient of uncertainty and absolute error, with 95 % "
        "bootstrap intervals over images, each with all its masks. Pixels: all that were sampled, "
        "together. Pixels of one hole: in each hole by itself, then the mean over holes. Holes: "
        "mean uncertainty and mean error of each; of one bin: by their ranks within their bin of "
        "hole area, so that larger holes being worse does not count.",
        "Depth in the hole, the distance to the nearest known pixel, needs no network.",
    ]
    for result in results:
        flat = int(result.images[f"{UNCERTAINTY}_rho"].isna().sum())
        if flat:
            notes.append(
                f"{result.name}: in {flat} of {len(result.images)} holes uncertainty or error is "
                "the same everywhere; they are no part of the mean over holes."
            )
    return table_of("Correlation with the error", [name for name, _ in named], cells, notes)


def calibration_table(results: Sequence[KeptValues]) -> Table:
    """What is predicted and what comes in the surest and the least sure bin; sparsification."""
    rows = []
    for result in results:
        own = result.findings[UNCERTAINTY].sparsification
        depth = result.findings.get(DEPTH)
        ends = [result.curve[c].iloc[i] for i in (0, -1) for c in ("uncertainty", "rmse")]
        areas = [own.ause, depth.sparsification.ause if depth else np.nan, own.worst]
        factor = result.came / result.predicted if result.predicted > 0 else np.nan
        cells = [Cell(number, form=".4f") for number in (result.predicted, result.came)]
        cells.append(Cell(factor, form=".2f"))
        cells += [Cell(finite(number), form=".4f") for number in (*ends, *areas)]
        rows.append([Cell(result.name), *cells, Cell(100 * finite(own.gain), form=PERCENT)])
    columns = ["", "uncertainty (RMS)", "RMSE", "RMSE ÷ uncertainty"]
    ends = ("surest", "least sure")
    columns += [f"{end}: {what}" for end in ends for what in ("uncertainty", "RMSE")]
    columns += ["AUSE", "AUSE of depth", "AUSE at random", "share of the oracle's gain"]
    bins = max(len(result.curve) for result in results)
    notes = [
        "An uncertainty that is a standard deviation of the error has RMSE ÷ uncertainty = 1; "
        f"above, it is too sure. Surest and least sure: the first and the last of {bins} bins of "
        "pixels of equal count, by uncertainty; root mean squares (Levi et al. 2019).",
        "AUSE: area between the error that is left when the most uncertain pixels are left out "
        "and the oracle's, both as shares of the mean absolute error (Ilg et al. 2018); lower is "
        "better.",
    ]
    return Table("Calibration and sparsification", columns, rows, notes)


def all_values(results: Sequence[KeptValues]) -> dict[str, pd.DataFrame]:
    """Everything behind tables and figures, by file."""
    lines, sparse = [], []
    for result in results:
        for source, f in result.findings.items():
            known = {"row": result.name, "source": source}
            parts = {
                "pixels_spearman": f.pixels.spearman,
                "pixels_pearson": f.pixels.pearson,
                "one_hole_spearman": f.within,
                "holes_spearman": f.between.spearman,
                "holes_pearson": f.between.pearson,
                "one_bin_spearman": f.equal_holes,
            }
            lines += [known | {"quantity": key} | v._asdict() for key, v in parts.items()]
            areas = {"ause": f.sparsification.ause, "ause_random": f.sparsification.worst}
            lines += [known | {"quantity": key, "mean": value} for key, value in areas.items()]
            curve = {"removed": f.sparsification.removed, "left": f.sparsification.curve}
            sparse.append(pd.DataFrame(known | curve | {"oracle": f.sparsification.oracle}))
    return {
        "correlations": pd.DataFrame(lines),
        "calibration": pd.concat([r.curve.assign(row=r.name) for r in results]),
        "sparsification": pd.concat(sparse),
        "images": pd.concat([r.images.assign(row=r.name) for r in results]),
    }
