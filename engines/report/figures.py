"""Figures: files first, shown inline where a notebook or Spyder is listening, never blocking.

Only matplotlib's object interface is used, so no backend is chosen and no window can open.
"""

import io
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deocclude.data.images import save_image, to_uint8
from deocclude.engines.report.grids import DPI, INK, picture_grid
from deocclude.engines.report.tables import BIN_LABELS, HEADINGS, MEAN, METRICS, OUTSIDE
from deocclude.metrics.image import HIGHER_IS_BETTER, psnr

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREYS = ("#B0B0B0", "#8C8C8C", "#686868", "#9A8F80", "#4A4A4A")
DASHES = ((0, (1, 1.5)), (0, (3, 1.5)), (0, (5, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (7, 2)))
logger = logging.getLogger(__name__)

LEGIBLE = 12  # rows at most in one panel


class NothingToDraw(ValueError):
    """A figure without a value to show; the message says which values are missing."""


def write(make: Figure | Callable[[], Figure], path: Path) -> dict[str, Path]:
    """Save and show a figure, or what makes it: its file by that file's name. Empty, with a line
    that says why, where there is NothingToDraw: tables do not need it."""
    try:
        figure = make if isinstance(make, Figure) else make()
    except NothingToDraw as error:
        logger.warning("%s is left out: %s", path.name, error)
        return {}
    save(figure, path)
    show(figure)
    return {path.name: path}


def save(figure: Figure, path: Path, dpi: int | None = None) -> Path:
    """Write a figure as PNG, whole or not at all; by default at 200 dpi, a large one at 100."""
    if dpi is None:
        dpi = DPI if max(figure.get_size_inches()) * DPI > 3000 else 2 * DPI
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    save_image(path, Image.open(buffer))
    return path


def examples_grid(examples: Sequence[dict[str, Tensor]], scores: bool = True) -> Figure:
    """A picture grid of tensors, a row an example, a column for each of its names.

    Images (3, H, W) in [0, 1], masks (1, H, W) of {0, 1}. With `scores`, the PSNR to `target` is
    written below each `prediction` and `restored` picture.
    """
    if not examples:
        raise ValueError("a grid needs at least one example")
    names = list(examples[0])
    rows = [[_pixels(example[name]) for name in names] for example in examples]
    captions = None
    if scores and "target" in names:
        captions = [[_caption(example, name) for name in names] for example in examples]
    return picture_grid(rows, names, captions=captions)


def _pixels(picture: Tensor) -> np.ndarray:
    if picture.shape[0] == 1:
        return picture[0].cpu().numpy()
    return to_uint8(picture)


def _caption(example: dict[str, Tensor], name: str) -> str | None:
    if name not in ("prediction", "restored"):
        return None
    value = psnr(example[name][None].float().cpu(), example["target"][None].float().cpu())
    return f"{value.item():.1f} dB"


def show(figure: Figure) -> bool:
    """Show a figure inline in Jupyter, Spyder or VS Code; from a console do nothing.

    Returns whether it was shown. Never blocks and opens no window.
    """
    ipython = sys.modules.get("IPython")
    session = ipython.get_ipython() if ipython is not None else None
    if session is None or not hasattr(session, "kernel"):
        return False
    from IPython import display

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    display.display(display.Image(data=buffer.getvalue()))
    return True


def ratio_figure(
    summary: pd.DataFrame,
    kinds: dict[str, str],
    metrics: Sequence[str] = METRICS,
    view: str = "composed",
    reference: str | None = None,
) -> Figure:
    """Each metric against hole ratio, a line a row, with 95 % bootstrap intervals of the mean.

    `summary` comes from `engines.evaluation.summaries.summarise`; `kinds` maps each row to `model`,
    drawn in colour, or `baseline`, drawn grey and dashed. A metric without values has no panel. Of
    more than 12 rows the figure has the `reference` and the best by the first metric, and says so.
    """
    part = summary[summary["view"].eq(view) & summary["metric"].isin(metrics)]
    drawn = _legible(part, list(kinds), metrics[0], reference)
    left_out, kinds = len(kinds) - len(drawn), {name: kinds[name] for name in drawn}
    part = part[part["row"].isin(drawn) & ~part["bin"].isin((MEAN, OUTSIDE))]
    finite = part[np.isfinite(part["mean"])]
    panels = [name for name in metrics if finite["metric"].eq(name).any()]
    if not panels:
        raise NothingToDraw(
            f"no pair has a hole of 1 to 60 % of the picture and a finite value of "
            f"{', '.join(metrics)} ({view}); the tables have the others"
        )
    columns = min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.3 * columns + 0.3, 2.7 * lines + 0.55), dpi=DPI)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    bins = sorted(finite["bin"].unique())
    for axis, metric in zip(axes, panels, strict=False):
        _draw_panel(axis, finite[finite["metric"].eq(metric)], bins, kinds)
        better = "↑" if HIGHER_IS_BETTER[metric] else "↓"
        axis.set_title(f"{HEADINGS[metric]} {better}", fontsize=10, color=INK, loc="left")
    for axis in axes[len(panels) :]:
        axis.remove()
    handles, labels = axes[0].get_legend_handles_labels()
    names = list(kinds)
    order = sorted(range(len(labels)), key=lambda i: names.index(labels[i]))
    across = max(1, min(len(labels), 2 * columns))
    legend_lines = math.ceil(len(labels) / across)
    height = figure.get_figheight()
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower center",
        ncols=across,
        frameon=False,
        fontsize=8.5,
        handlelength=2.6,
        columnspacing=1.4,
    )
    top = 1.0
    if left_out:
        first = HEADINGS[metrics[0]].partition(" (")[0]
        words = f"{len(drawn)} of {len(drawn) + left_out} rows: the best by {first}"
        words += f", and {reference}" if reference else ""
        figure.text(0.01, 0.995, words, va="top", fontsize=8.5, color=INK)
        top -= 0.22 / height
    figure.tight_layout(rect=(0, (0.05 + 0.19 * legend_lines) / height, 1, top), w_pad=1.5)
    return figure


def _legible(part: pd.DataFrame, names: list[str], metric: str, reference: str | None) -> list[str]:
    """All rows, or as many as can be told apart: the reference and the best by `metric`."""
    if len(names) <= LEGIBLE:
        return names
    means = part[part["metric"].eq(metric) & part["bin"].eq(MEAN)].set_index("row")["mean"]
    order = means.reindex(names).sort_values(ascending=not HIGHER_IS_BETTER[metric]).index
    kept = [name for name in order if name != reference][: LEGIBLE - (reference in names)]
    return [name for name in names if name == reference or name in kept]


def _draw_panel(axis: Axes, part: pd.DataFrame, bins: list[str], kinds: dict[str, str]) -> None:
    styles = _styles(kinds)
    shifts = np.linspace(-0.12, 0.12, len(kinds)) if len(kinds) > 1 else [0.0]
    for shift, name in zip(shifts, kinds, strict=True):
        line = part[part["row"].eq(name)].set_index("bin").reindex(bins)
        mean = line["mean"].to_numpy()
        errors = np.stack([mean - line["low"], line["high"] - mean]).clip(min=0)
        axis.errorbar(np.arange(len(bins)) + shift, mean, yerr=errors, label=name, **styles[name])
    labels = [BIN_LABELS[name].removesuffix(" %") for name in bins]
    axis.set_xticks(range(len(bins)), labels, fontsize=8)
    axis.set_xlabel("hole area (%)", fontsize=9, color=INK)
    tidy(axis)


def _styles(kinds: dict[str, str]) -> dict[str, dict]:
    styles, counts = {}, {"model": 0, "baseline": 0}
    for name, kind in kinds.items():
        i = counts[kind]
        counts[kind] += 1
        common = {"capsize": 2, "elinewidth": 0.9, "capthick": 0.9}
        if kind == "baseline":
            look = {"color": GREYS[i % 5], "linestyle": DASHES[i % 5], "linewidth": 1.2}
            look |= {"marker": "|", "markersize": 4, "zorder": 2}
        else:
            look = {"color": COLOURS[i % 7], "linewidth": 1.6, "zorder": 3}
            look |= {"marker": MARKERS[(i + i // 7) % 7], "markersize": 4}
        styles[name] = common | look
    return styles


def tidy(axis: Axes) -> None:
    """Light grid, no box: the look of every figure of numbers."""
    axis.grid(axis="y", color="#E4E4E4", linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#999999")
    axis.tick_params(labelsize=8, colors=INK, length=3, color="#999999")


def loss_curves(metrics_csv: Path, x: str = "epoch") -> Figure:
    """Training curves from a run's `metrics.csv`: losses on a log scale, and each score it has.

    Losses are the columns `train/...`, `val/loss/...` of the same term dotted; scores are the
    `val/...` columns that end in psnr, ssim or l1 of the composed picture, or the raw one where
    that is all there is. ValueError without rows.
    """
    frame = pd.read_csv(metrics_csv)
    numbers = frame.select_dtypes("number")
    if frame.empty or x not in numbers:
        raise ValueError(f"{metrics_csv}: no rows with a number in column {x!r}")
    losses = [c for c in numbers.columns if c.startswith("train/") and (numbers[c] > 0).any()]
    scores = [
        c
        for c in numbers.columns
        if c.startswith("val/") and not c.startswith("val/loss/") and numbers[c].notna().any()
    ]
    composed = [c for c in scores if "composed/" in c]
    scores = [c for c in (composed or scores) if c.rsplit("/", 1)[-1] in ("psnr", "ssim", "l1")]
    panels = ([losses] if losses else []) + [[score] for score in scores]
    if not panels:
        raise ValueError(f"{metrics_csv}: has no train/... or val/... column to draw")
    widths = [3.3 + 1.3 * (columns == losses) for columns in panels]  # room for the legend
    figure = Figure(figsize=(sum(widths) + 0.2, 2.8), dpi=DPI)
    axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axis, columns in zip(axes, panels, strict=True):
        for i, column in enumerate(columns):
            name = column.removeprefix("train/")
            marker = "o" if len(frame) < 3 else None
            colour = COLOURS[i % len(COLOURS)]
            axis.plot(
                frame[x], frame[column], label=name, color=colour, linewidth=1.5, marker=marker,
                linestyle="-" if i < len(COLOURS) else "--",
            )  # fmt: skip
            if columns == losses and (validated := f"val/loss/{name}") in frame:
                dotted = {"color": colour, "linewidth": 1.2, "linestyle": ":", "marker": marker}
                axis.plot(frame[x], frame[validated], **dotted)
        title = _losses_title(frame) if columns == losses else _score_title(columns[0])
        axis.set_title(title, fontsize=10, color=INK, loc="left")
        axis.set_xlabel(x, fontsize=9, color=INK)
        if columns == losses:
            axis.set_yscale("log")
            beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.03), "handlelength": 1.4}
            axis.legend(frameon=False, fontsize=8, **beside)
        tidy(axis)
    figure.tight_layout(w_pad=1.5)
    return figure


def _losses_title(frame: pd.DataFrame) -> str:
    validated = any(column.startswith("val/loss/") for column in frame.columns)
    return "losses: training, validation dotted" if validated else "training losses"


def _score_title(column: str) -> str:
    metric = column.rsplit("/", 1)[-1]
    short = HEADINGS[metric].replace(" (mean absolute error)", "")
    return f"validation {short} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}"
