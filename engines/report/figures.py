"""Figures: files first, shown inline where a notebook or Spyder is listening, never blocking.

Only matplotlib's object interface is used, so no backend is chosen and no window can open.
"""

import io
import logging
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
from deocclude.engines.report import charts
from deocclude.engines.report.charts import tidy
from deocclude.engines.report.grids import DPI, INK, picture_grid
from deocclude.engines.report.tables import MEAN, OUTSIDE
from deocclude.metrics.image import psnr
from deocclude.metrics.table import BY_IMAGE, HEADINGS, HIGHER_IS_BETTER

logger = logging.getLogger(__name__)


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
    metrics: Sequence[str] = BY_IMAGE,
    view: str = "composed",
    reference: str | None = None,
) -> Figure:
    """Each metric against hole ratio, a line a row, with 95 % bootstrap intervals of the mean.

    `summary` comes from `engines.evaluation.summaries.summarise`; `kinds` maps each row to `model`,
    drawn in colour, or `baseline`, drawn grey and dashed. A metric without values has no panel. Of
    more than 12 rows the figure has the `reference` and the best by the first metric, and says so.
    """
    part = summary[summary["view"].eq(view) & summary["metric"].isin(metrics)]
    means = part[part["metric"].eq(metrics[0]) & part["bin"].eq(MEAN)].set_index("row")["mean"]
    ranked = means.reindex(list(kinds)).sort_values(ascending=not HIGHER_IS_BETTER[metrics[0]])
    drawn = charts.legible(list(kinds), reference, list(ranked.index))
    left_out, kinds = len(kinds) - len(drawn), {name: kinds[name] for name in drawn}
    part = part[part["row"].isin(drawn) & ~part["bin"].isin((MEAN, OUTSIDE))]
    finite = part[np.isfinite(part["mean"])]
    panels = [name for name in metrics if finite["metric"].eq(name).any()]
    if not panels:
        raise NothingToDraw(
            f"no pair has a hole of 1 to 60 % of the picture and a finite value of "
            f"{', '.join(metrics)} ({view}); the tables have the others"
        )
    figure, axes = charts.panels(len(panels), 3, (3.3, 2.7), (0.3, 0.55))
    bins = sorted(finite["bin"].unique())
    for axis, metric in zip(axes, panels, strict=True):
        _draw_panel(axis, finite[finite["metric"].eq(metric)], bins, kinds)
        better = "↑" if HIGHER_IS_BETTER[metric] else "↓"
        tidy(axis, f"{HEADINGS[metric]} {better}", "hole area (%)")
    across = min(len(kinds), 2 * min(len(panels), 3))
    top = 1.0
    if left_out:
        first = HEADINGS[metrics[0]].partition(" (")[0]
        words = f"{len(kinds)} of {len(kinds) + left_out} rows: the best by {first}"
        words += f", and {reference}" if reference else ""
        figure.text(0.01, 0.995, words, va="top", fontsize=8.5, color=INK)
        top -= 0.22 / figure.get_figheight()
    charts.legend_below(
        figure, axes[0], across, top=top, between=1.5, handlelength=2.6, columnspacing=1.4
    )  # fmt: skip
    return figure


def _draw_panel(axis: Axes, part: pd.DataFrame, bins: list[str], kinds: dict[str, str]) -> None:
    looks = charts.row_looks(kinds)
    for shift, name in zip(charts.shifts(len(kinds), 0.12), kinds, strict=True):
        look = {"capsize": 2, "elinewidth": 0.9, "capthick": 0.9, "markersize": 4} | looks[name]
        if kinds[name] == "baseline":
            look |= {"marker": "|", "linewidth": 1.2, "zorder": 2}
        else:
            look |= {"linestyle": "-", "linewidth": 1.6, "zorder": 3}
        line = part[part["row"].eq(name)].set_index("bin").reindex(bins)
        places, ends = np.arange(len(bins)) + shift, charts.reach(line)
        axis.errorbar(places, line["mean"].to_numpy(), yerr=ends, label=name, **look)
    charts.name_bins(axis, bins, fontsize=8)
