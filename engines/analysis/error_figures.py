"""Figures of the error analysis: regions of the face, curves, intervals by place, maps of error."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deocclude.data.faces.regions import REGIONS, region_labels, region_shares
from deocclude.engines.analysis.error_rows import HOLE, PLACES, RIM, ErrorMaps
from deocclude.engines.analysis.error_tables import CURVES
from deocclude.engines.report.charts import (
    COLOURS,
    EDGE,
    FAINT,
    LEGIBLE,
    legend_below,
    panels,
    reach,
    row_looks,
    shifts,
    tidy,
)
from deocclude.engines.report.grids import DPI, INK
from deocclude.engines.report.tables import ALL

ACROSS = 6  # maps in one line
REGION_COLOURS = dict(zip(REGIONS, (*COLOURS[:4], "#F0C8A0", "#7A5C3A", "#C8CDD2"), strict=True))


def drawn_rows(ranked: Sequence[str], reference: str, kinds: Mapping[str, str]) -> list[str]:
    """At most LEGIBLE rows for a figure: the reference, then the best, models before baselines.

    `ranked`: all rows, the best first; `kinds`: whether each is a "model" or a "baseline".
    """
    order = [reference, *(name for name in ranked if name != reference)]
    order.sort(key=lambda name: kinds[name] == "baseline" and name != reference)
    return order[:LEGIBLE]


def _looks(names: Sequence[str], kinds: Mapping[str, str]) -> dict[str, dict]:
    return row_looks({name: kinds[name] for name in names})


def regions_figure(template: str, mean_face: np.ndarray) -> Figure:
    """The regions by share, and their outlines over `mean_face`, uint8 (H, W, 3)."""
    size = mean_face.shape[0]
    shares = region_shares(template, size)
    colours = np.array([to_rgb(REGION_COLOURS[name]) for name in REGIONS])
    painted = np.clip(np.einsum("rhw,rc->hwc", shares, colours), 0, 1)
    figure = Figure(figsize=(7.4, 3.7), dpi=DPI)
    left, right = figure.subplots(1, 2)
    left.imshow(painted, interpolation="nearest")
    labels = region_labels(template, size)
    for place, name in enumerate(REGIONS):
        x, y = _label_at(name, labels == place, size)
        left.text(x, y, name, ha="center", va="center", fontsize=8, color="#000000")
    right.imshow(mean_face, interpolation="nearest")
    draw_outlines(right, template, size, "#FFFFFF")
    for axis, title in ((left, f"regions of the template {template}"), (right, "mean face")):
        _bare(axis, title)
    figure.tight_layout()
    return figure


def _label_at(name: str, inside: np.ndarray, size: int) -> tuple[float, float]:
    """A place for a region's name: its middle; for those around others, one of their own."""
    rows, columns = np.nonzero(inside)
    if not len(rows):
        return size / 2, size / 2
    if name == "skin":
        return (size - 1) / 2, float(rows.min()) + 0.09 * size
    if name == "hair":
        return (size - 1) / 2, float(rows.min()) + 0.05 * size
    if name == "background":
        return 0.12 * size, 0.06 * size
    right = columns >= size / 2 if name in ("eyes", "brows") else slice(None)
    return float(columns[right].mean()), float(rows[right].mean())


def draw_outlines(axis, template: str, size: int, colour: str) -> None:
    """The border between the likeliest regions."""
    shares = region_shares(template, size)
    for place, name in enumerate(REGIONS):
        if name == "skin":  # its borders are those of the others
            continue
        rest = np.delete(shares, place, axis=0).max(0)
        axis.contour(shares[place] - rest, levels=[0], colors=colour, linewidths=0.7)


def _bare(axis, title: str) -> None:
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color(EDGE)


def curves_figure(curves: pd.DataFrame, names: Sequence[str], kinds: Mapping[str, str]) -> Figure:
    """Each of CURVES against hole ratio, with its band of 95 %."""
    figure = Figure(figsize=(8.6, 3.6 + _legend_height(names)), dpi=DPI)
    axes = figure.subplots(1, len(CURVES))
    looks = _looks(names, kinds)
    for axis, (metric, heading) in zip(axes, CURVES.items(), strict=True):
        for name in names:
            line = curves[curves["row"].eq(name) & curves["metric"].eq(metric)]
            x, look = 100 * line["hole_ratio"], looks[name]
            marks = {"markevery": (3, 12), "markersize": 4, "linewidth": 1.5}
            axis.plot(x, line["mean"], label=name, **look, **marks)
            axis.fill_between(x, line["low"], line["high"], color=look["color"], alpha=0.14, lw=0)
        better = "↑" if metric.startswith("psnr") else "↓"
        tidy(axis, f"{heading} {better}", "hole area (%)")
    _legend(figure, axes[0], names)
    return figure


def places_figure(places: pd.DataFrame, names: Sequence[str], kinds: Mapping[str, str]) -> Figure:
    """PSNR of the hole's pixels by place, a mark a row, with intervals."""
    part = places[places["metric"] == "psnr"]
    shares = part[part["row"] == names[0]].set_index("place")["pixel_share"]
    names_below = {place: place for place in PLACES} | {HOLE: "whole hole", RIM: "its edge"}
    labels = [f"{name}\n{shares[place]:.0%}" for place, name in names_below.items()]
    figure = Figure(figsize=(8.6, 3.8 + _legend_height(names)), dpi=DPI)
    axis = figure.subplots()
    _marks(axis, part, "place", PLACES, _looks(names, kinds), vertical=False)
    axis.set_xticks(range(len(PLACES)), labels, fontsize=8.5)
    axis.set_xlabel("share of all hole pixels below the name", fontsize=8.5, color=INK)
    axis.axvline(1.5, color=EDGE, linewidth=0.8)
    tidy(axis, "PSNR of the hole's pixels by place (dB) ↑")
    _legend(figure, axis, names)
    return figure


def kinds_figure(kinds: pd.DataFrame, names: Sequence[str], types: Mapping[str, str]) -> Figure:
    """PSNR of the hole's pixels by kind of occluder, the kinds of each group the hardest first."""
    part = kinds[(kinds["metric"] == "psnr") & (kinds["kind"] != ALL)].copy()
    means = part.groupby(["group", "kind"], sort=False)["mean"].mean().reset_index()
    order = means.sort_values(["group", "mean"], ascending=[False, True], kind="stable")["kind"]
    order = order.tolist()
    each = max(0.26, 0.045 * len(names))
    height = each * len(order) + 0.9 + _legend_height(names)
    figure = Figure(figsize=(7.6, height), dpi=DPI)
    axis = figure.subplots()
    _marks(axis, part, "kind", order, _looks(names, types), vertical=True)
    facts = part[part["row"] == names[0]].set_index("kind")
    labels = [f"{kind.replace('_', ' ')} ({facts.loc[kind, 'hole_ratio']:.0%})" for kind in order]
    axis.set_yticks(range(len(order)), labels, fontsize=8)
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.set_xlabel("PSNR of the hole's pixels (dB); mean hole area in brackets", fontsize=8.5)
    for place, (kind, after) in enumerate(pairwise(order)):
        if facts.loc[kind, "group"] != facts.loc[after, "group"]:
            axis.axhline(place + 0.5, color=EDGE, linewidth=0.8)
    tidy(axis)
    axis.grid(axis="x", color=FAINT, linewidth=0.7)
    _legend(figure, axis, names)
    return figure


def _marks(axis, part, column: str, order: Sequence[str], looks, vertical: bool) -> None:
    """A mark with an interval for each row and entry of `order`, beside each other."""
    for shift, (name, look) in zip(shifts(len(looks), 0.28), looks.items(), strict=True):
        line = part[part["row"] == name].set_index(column).reindex(order)
        finite = np.isfinite(line["mean"].to_numpy())
        line, along = line[finite], (np.arange(len(order)) + shift)[finite]
        ends = np.nan_to_num(reach(line))
        look = look | {"linestyle": "none", "markersize": 4.5, "elinewidth": 0.9, "label": name}
        if vertical:
            axis.errorbar(line["mean"], along, xerr=ends, **look)
        else:
            axis.errorbar(along, line["mean"], yerr=ends, **look)


def _legend_height(names: Sequence[str]) -> float:
    return 0.19 * -(-len(names) // 4) + 0.1


def _legend(figure: Figure, axis, names: Sequence[str]) -> None:
    room = _legend_height(names)
    legend_below(figure, axis, min(4, len(names)), room, between=1.5, fontsize=8)


def maps_figure(
    maps: Mapping[str, ErrorMaps],
    kinds: Mapping[str, str],
    template: str,
    reference: str | None = None,
) -> Figure:
    """The mean L1 of each hole pixel, a map a row, with the regions' outlines.

    With a `reference`, each other row's map minus that one's instead, red where it errs more. The
    scale is that of the models where there are any; baselines may leave it.
    """
    base = 0.0 if reference is None else maps[reference].mean("l1")
    pictures = {name: m.mean("l1") - base for name, m in maps.items() if name != reference}
    models = [picture for name, picture in pictures.items() if kinds[name] == "model"]
    values = np.abs(np.stack(models or list(pictures.values())))
    finite = values[np.isfinite(values)]
    top = (float(np.quantile(finite, 0.995)) if len(finite) else 0.0) or 1.0
    scale = {"vmin": 0, "cmap": "magma"} if reference is None else {"vmin": -top, "cmap": "RdBu_r"}
    figure, axes = panels(len(pictures), ACROSS, (1.75, 2.0), (0.9, 0.25))
    figure.set_layout_engine("constrained")
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        axis.set_facecolor("#BBBBBB")
        image = axis.imshow(picture, vmax=top, interpolation="nearest", **scale)
        draw_outlines(axis, template, len(picture), "#FFFFFF" if reference is None else "#555555")
        _bare(axis, name)
        axis.title.set_fontsize(min(8.5, 8.5 * 24 / max(24, len(name))))
    extend = "max" if reference is None else "both"
    bar = figure.colorbar(image, ax=axes, shrink=0.85, extend=extend)
    bar.ax.tick_params(labelsize=7)
    words = "mean L1 in the hole" if reference is None else f"mean L1 minus\n{reference}"
    bar.set_label(words, fontsize=8)
    return figure


def error_figures(
    frames: Mapping[str, pd.DataFrame],
    maps: Mapping[str, ErrorMaps],
    shown: Sequence[str],
    kinds: Mapping[str, str],
    template: str,
) -> dict[str, Figure]:
    """Every figure of the rows `shown`, the reference first; `frames` as in `error_tables`."""
    ordered = {name: maps[name] for name in shown}
    drawn = {
        "ratio": curves_figure(frames["ratio"], shown, kinds),
        "places": places_figure(frames["places"], shown, kinds),
        "maps": maps_figure(ordered, kinds, template),
    }
    if len(shown) > 1:
        drawn["map_differences"] = maps_figure(ordered, kinds, template, shown[0])
    if "kinds" in frames:
        known = set(frames["kinds"]["row"])
        fitting = [name for name in shown if name in known]
        drawn["kinds"] = kinds_figure(frames["kinds"], fitting, kinds)
    return drawn
