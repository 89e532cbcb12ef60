"""Figures of a segmentation report: IoU by kind of occluder, and masks that were found."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.occluders.groups import GROUPS, OCCLUDED, UNOCCLUDED, groups_of
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.evaluation.examples import RANKS
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.measures.segmentation import read_masks, unpack
from deocclude.engines.report import charts
from deocclude.engines.report.figures import NothingToDraw
from deocclude.engines.report.grids import DPI, picture_grid
from deocclude.engines.report.tables import ALL

# Okabe and Ito's green, vermilion and blue, told apart with any colour vision.
HIT, FALSE, MISSED = (0, 158, 115), (213, 94, 0), (0, 114, 178)
STRENGTH = 0.65  # of a colour over the picture


def kind_figure(summary: pd.DataFrame, rows: Sequence[str]) -> Figure:
    """IoU by kind as bars, a colour a row, a panel for real, one for drawn occluders.

    `summary` comes from `engines.evaluation.summaries.summarise_masks`. Kinds go from the
    first row's best to its worst; thin lines are 95 % bootstrap intervals over faces. ValueError
    without values.
    """
    part = summary[summary["metric"].eq("iou") & ~summary["kind"].eq(ALL)]
    part = part[part["row"].isin(rows)]
    groups = [group for group in OCCLUDED if part["group"].eq(group).any()]
    if not groups:
        raise NothingToDraw("no IoU of any kind of occluder")
    figure = Figure(figsize=(10, 2.9 * len(groups) + 0.3), dpi=DPI)
    axes = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axis, group in zip(axes, groups, strict=True):
        lines = part[part["group"].eq(group)]
        first = lines[lines["row"].eq(rows[0])].sort_values("mean", ascending=False)
        kinds = first["kind"].tolist()
        charts.bars(axis, lines, "kind", kinds, rows)
        names = [kind.replace("_", " ") for kind in kinds]
        turned = {"rotation": 35, "ha": "right"} if len(kinds) > 8 else {}
        axis.set_xticks(range(len(kinds)), names, fontsize=8, **turned)
        axis.set_xlim(-0.6, len(kinds) - 0.4)
        charts.tidy(axis, f"IoU, {group} occluders ↑")
    charts.legend_below(figure, axes[0], len(rows), room=0.3)
    return figure


def mask_figure(
    results: Sequence[RowResult], pairs: FrozenOccluded, reference: str, each: int = 2
) -> Figure:
    """Picture, true mask, and every model's mask laid over the picture, its IoU below it.

    Green was found, orange marked in error, blue missed.
    The `each` worst, median and best pictures of a group by the reference row's IoU; of faces with
    nothing on them, the one with most marked in error.
    """
    models = [result for result in results if result.info["kind"] == "model"]
    frames = {result.name: result.frame() for result in results}
    chosen = choose_masks(frames[reference], each)
    loaded = [pairs.load(index)[1:] for _, index in chosen]
    columns = [[picture for picture, _ in loaded], [mask for _, mask in loaded]]
    captions: list[list[str | None]] = [[None, None] for _ in chosen]
    for model in models:
        packed = read_masks(model)
        found = unpack(packed[[index for _, index in chosen]], pairs.size)
        columns.append([overlay(*pair, own) for pair, own in zip(loaded, found, strict=True)])
        for caption, (_, index) in zip(captions, chosen, strict=True):
            line = frames[model.name].loc[index]
            empty = np.isnan(line["iou"])
            caption.append(
                f"{line['false_positive']:.1%} marked" if empty else f"IoU {line['iou']:.2f}"
            )
    rows = [list(row) for row in zip(*columns, strict=True)]
    kinds = [frames[reference].loc[index, "kind"].replace("_", "\n") for _, index in chosen]
    labels = [f"{rank}\n{kind}" for (rank, _), kind in zip(chosen, kinds, strict=True)]
    titles = ["input", "true mask", *(model.name for model in models)]
    return picture_grid(rows, titles, labels, captions)


def choose_masks(frame: pd.DataFrame, each: int) -> list[tuple[str, int]]:
    """(rank, index) of the pictures that `mask_figure` shows."""
    groups = groups_of(frame)
    chosen = []
    for group in [name for name in GROUPS if name in groups]:
        part = frame[groups == group]
        if group == UNOCCLUDED:
            chosen.append(("most marked", int(part["false_positive"].idxmax())))
            continue
        part = part[part["iou"].notna()].sort_values("iou", kind="stable")
        chosen += ranked(part["index"].tolist(), each)
    return chosen


def ranked(order: Sequence[int], each: int) -> list[tuple[str, int]]:
    """(rank, index) of the first, middle and last `each` of pictures ordered from the worst; fewer
    of few, and none twice."""
    count = min(each, max(1, len(order) // 3))
    starts = (0, max(0, (len(order) - count) // 2), max(0, len(order) - count))
    places: dict[int, str] = {}
    for rank, start in zip(RANKS, starts, strict=True):
        for index in order[start : start + count]:
            places.setdefault(index, rank)
    return [(rank, index) for index, rank in places.items()]


def overlay(picture: np.ndarray, mask: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What was found, marked in error and missed, in colour over the picture.

    Shape: picture uint8 (H, W, 3), masks uint8 (H, W) of {0, 1} -> uint8 (H, W, 3).
    """
    drawn = picture.astype(np.float32)
    for where, colour in (
        (mask & found, HIT),
        (found & ~mask & 1, FALSE),
        (mask & ~found & 1, MISSED),
    ):
        chosen = where.astype(bool)
        drawn[chosen] += STRENGTH * (np.float32(colour) - drawn[chosen])
    return np.rint(drawn).astype(np.uint8)
