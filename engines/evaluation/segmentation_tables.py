"""Segmentation tables, made from the per-image CSVs of `engines.measures.segmentation` alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from deocclude.data.occluders.drawn.kinds import KINDS
from deocclude.data.occluders.photographs import EYEGLASSES
from deocclude.data.occluders.sets import UNKNOWN
from deocclude.engines.evaluation.summaries import cost_table
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.measures.segmentation import UNOCCLUDED
from deocclude.engines.report.report import pairs_line
from deocclude.engines.report.tables import REFERENCE, Cell, Table, column, table_of
from deocclude.metrics.segmentation import COLUMNS, HIGHER_IS_BETTER, boundary_tolerance
from deocclude.metrics.statistics import (
    Interval,
    bootstrap_interval,
    bootstrap_strata,
    paired_difference,
)

REAL, DRAWN = "real", "drawn"
OCCLUDED = (REAL, DRAWN, UNKNOWN)
WITHOUT_GLASSES = "real without eyeglasses"  # part of REAL: clear ones may be meant to stay
GROUPS = (*OCCLUDED, UNOCCLUDED)
TITLES = {
    REAL: "Real cut-outs",
    DRAWN: "Drawn occluders",
    UNKNOWN: "Occluders of kinds that the set does not name",
    WITHOUT_GLASSES: "Real cut-outs without clear eyeglasses",
}
HEADINGS = {"accuracy": "pixel accuracy", "iou": "IoU", "dice": "Dice", "boundary_f": "boundary F"}
POOLED = {"pooled/iou": "IoU, pooled", "pooled/accuracy": "accuracy, pooled"}
SPECK = 0.01  # a face of which more than this is marked counts as falsely marked
ALL = "all"  # every kind of a group together


def group_of(kind: str) -> str:
    """The group that a kind of occluder is reported in; several ("scarf+patch") are drawn only when
    all of them are."""
    if kind in (UNOCCLUDED, UNKNOWN):
        return kind
    return DRAWN if all(part in KINDS for part in kind.split("+")) else REAL


def group_title(group: str, held_out: bool) -> str:
    """A group of occluded pictures as the tables call it; `held_out` as in FrozenOccluded."""
    real = group in (REAL, WITHOUT_GLASSES)
    return TITLES[group] + (", none of them trained on" if real and held_out else "")


def groups_of(frame: pd.DataFrame) -> np.ndarray:
    """The group of each line of a row's CSV; eyeglasses that are kept leave a face unoccluded."""
    kept = frame["kind"].isin([*EYEGLASSES]) & frame["hole_ratio"].eq(0)
    groups = np.array([group_of(kind) for kind in frame["kind"]], dtype=object)
    return np.where(kept, UNOCCLUDED, groups).astype(str)


def faces_only(results: Sequence[RowResult]) -> list[str]:
    """What the intervals leave out, for a caption, where there are real occluders."""
    if REAL not in groups_of(results[0].frame()):
        return []
    return [
        "Intervals are over faces only: how much the values of real occluders would change with "
        "other cut-outs, of which there are far fewer, they do not tell."
    ]


def summarise_masks(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Every mean with its intervals, a line for each row, metric, group and kind.

    Columns: row, group, kind ("all": the group's images together), metric, count, mean, low, high,
    difference, difference_low, difference_high (to `reference`, on the same pairs, 95 %). Intervals
    are over faces, each with all its occluders; pooled metrics have none. Where some real occluders
    are clear eyeglasses, WITHOUT_GLASSES is a group of all others, without lines by kind.
    """
    frames = [result.frame() for result in results]
    values = np.stack([frame[list(COLUMNS)].to_numpy(np.float64) for frame in frames])
    base = values[[result.name for result in results].index(reference)]
    flat = np.concatenate([values, paired_difference(values, base)])
    flat = flat.transpose(1, 0, 2).reshape(len(frames[0]), -1)
    groups, kinds = groups_of(frames[0]), frames[0]["kind"].to_numpy()
    faces = frames[0]["image"].to_numpy()
    lines = []
    selected = {group: groups == group for group in GROUPS if group in groups}
    if (without := _without_glasses(groups, kinds)) is not None:
        selected[WITHOUT_GLASSES] = without
    for group, chosen in selected.items():
        parts = {ALL: bootstrap_interval(flat[chosen], images=faces[chosen])}
        if group != WITHOUT_GLASSES:
            by_kind = bootstrap_strata(flat[chosen], kinds[chosen], faces[chosen])
            parts |= {kind: part for kind, part in by_kind.items() if kind is not None}
        for kind, interval in parts.items():
            place = {"group": group, "kind": kind}
            found = interval_lines([r.name for r in results], place, COLUMNS, interval)
            lines += [line for line in found if line["count"]]
        lines += _pooled(results, frames, group, chosen)
    return pd.DataFrame(lines)


def _without_glasses(groups: np.ndarray, kinds: np.ndarray) -> np.ndarray | None:
    """Which lines are of real occluders other than clear eyeglasses; None where that is all or no
    real ones."""
    real = groups == REAL
    others = real & ~np.isin(kinds, list(EYEGLASSES))
    return others if 0 < others.sum() < real.sum() else None


def interval_lines(
    names: Sequence[str], place: dict[str, Any], metrics: Sequence[str], interval: Interval
) -> list[dict]:
    """A line for each row and metric of an interval over values and their paired differences.

    `interval` holds (2 x rows x metrics,) numbers: the values' first, then the differences'.
    `place` is what the lines have in common. One without any value has the count 0.
    """
    shape = (2, len(names), len(metrics))
    mean, low, high, count = (np.reshape(part, shape) for part in interval)
    return [
        {
            "row": name,
            **place,
            "metric": metric,
            "count": int(count[0, i, j]),
            "mean": mean[0, i, j],
            "low": low[0, i, j],
            "high": high[0, i, j],
            "difference": mean[1, i, j],
            "difference_low": low[1, i, j],
            "difference_high": high[1, i, j],
        }
        for i, name in enumerate(names)
        for j, metric in enumerate(metrics)
    ]


def _pooled(results, frames, group: str, chosen: np.ndarray) -> list[dict]:
    lines = []
    for result, frame in zip(results, frames, strict=True):
        tp, fp, fn, tn = (int(frame.loc[chosen, name].sum()) for name in ("tp", "fp", "fn", "tn"))
        marked = tp + fp + fn
        pooled = {"pooled/accuracy": (tp + tn) / (marked + tn)}
        if group != UNOCCLUDED:
            pooled |= {"pooled/iou": tp / marked, "pooled/dice": 2 * tp / (tp + marked)}
        lines += [
            {"row": result.name, "group": group, "kind": ALL, "metric": metric, "mean": mean}
            | {"count": int(chosen.sum())}
            for metric, mean in pooled.items()
        ]
    return lines


def group_table(summary: pd.DataFrame, group: str, reference: str, title: str) -> Table:
    """Rows by metric for one group, best value of each column marked."""
    part = summary[summary["group"].eq(group) & summary["kind"].eq(ALL)]
    names = list(dict.fromkeys(summary["row"]))
    iou = part[part["metric"].eq("iou")]
    differences = column(iou, names, "+.3f", of="difference", interval=True)
    differences[names.index(reference)] = REFERENCE
    columns = [(heading, _means(part, names, metric)) for metric, heading in HEADINGS.items()]
    columns.append((f"Δ IoU to {reference} [95 %]", differences))
    columns += [(heading, _means(part, names, metric)) for metric, heading in POOLED.items()]
    count = int(part["count"].max())
    return table_of(f"{title}: {count} images", names, columns, higher=True)


def _means(part: pd.DataFrame, names: list[str], metric: str) -> list[Cell]:
    higher = HIGHER_IS_BETTER[metric.rsplit("/", 1)[-1]]
    return column(part[part["metric"].eq(metric)], names, ".3f", higher=higher)


def false_table(summary: pd.DataFrame, results: Sequence[RowResult]) -> Table | None:
    """What is marked on faces with nothing on them; None without such faces."""
    part = summary[summary["metric"].eq("false_positive") & summary["kind"].eq(ALL)]
    if part.empty:
        return None
    names = [result.name for result in results]
    shares = 100 * part.set_index("row").loc[names, ["mean", "low", "high"]]
    form = "{value:.2f} [{low:.2f}, {high:.2f}]"
    pixels = [Cell(*numbers, form=form) for numbers in shares.itertuples(index=False)]
    marked = [result.frame()["false_positive"].dropna() for result in results]
    faces = [Cell(100 * float((part > SPECK).mean()), form=".0f") for part in marked]
    columns = [
        ("pixels marked (%) [95 %]", pixels),
        (f"faces with more than {SPECK:.0%} marked (%)", faces),
    ]
    title = f"Faces with nothing on them: {int(part['count'].max())} images"
    return table_of(title, names, columns, higher=False)


def kind_table(summary: pd.DataFrame) -> Table:
    """IoU of every kind of occluder, a column a row of the other tables."""
    part = summary[summary["metric"].eq("iou") & ~summary["kind"].eq(ALL)]
    names = list(dict.fromkeys(summary["row"]))
    rows = []
    for group, kind in dict.fromkeys(zip(part["group"], part["kind"], strict=True)):
        lines = part[part["kind"].eq(kind)]
        name = kind if kind == group else f"{kind} ({group})"
        count = Cell(lines["count"].max(), form=".0f")
        rows.append([Cell(name), count, *column(lines, names, ".3f", higher=True)])
    return Table("IoU by kind of occluder", ["", "N", *names], rows, higher=True)


def mask_tables(results: Sequence[RowResult], summary: pd.DataFrame, reference: str) -> list[Table]:
    """The tables of each group, of unoccluded faces, by kind, and the cost of the models."""
    found, held_out = set(summary["group"]), results[0].info["held_out"]
    tables = [
        group_table(summary, group, reference, group_title(group, held_out))
        for group in (*OCCLUDED, WITHOUT_GLASSES)
        if group in found
    ]
    false = false_table(summary, results)
    tables += [false] if false else []
    models = [result for result in results if result.info["kind"] == "model"]
    tables += [kind_table(summary)] if found - {UNOCCLUDED} else []
    return tables + ([cost_table(models)] if models else [])


def mask_caption(results: Sequence[RowResult], reference: str) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    images = results[0].frame()["image"].nunique()
    near = boundary_tolerance(key["size"], key["size"])
    origin = (
        "No cut-out here was trained on; where the folder of cut-outs has no test part, they are "
        "those of the validation, which chose the weights."
        if info["held_out"]
        else "Pairs of a set on disk are shown here or were trained on; sets are split by face: "
        "occluders may be in training pairs too."
    )
    return [
        pairs_line(info["count"], f"of {images} faces", key["size"], info["pairs"], key["pairs"]),
        "Means over images; pooled: from the sums over the pixels of all images. A pixel is marked "
        f"above probability 0.5; boundaries agree within {near} px.",
        origin,
        f"Δ: difference to {reference} on the same pairs, with its 95 % bootstrap interval over "
        "faces, each with all its occluders (Efron and Tibshirani 1993). Bold: best of the column, "
        "by kind of the line. figures/masks.png: green was found, orange marked in error, blue "
        "missed.",
        *faces_only(results),
        "summary.csv holds accuracy, Dice and boundary F by kind of occluder as well.",
    ]
