"""Segmentation tables, made from the per-image CSVs of `engines.measures.segmentation` alone."""

from collections.abc import Sequence

import pandas as pd

from deocclude.data.occluders.groups import (
    DRAWN,
    OCCLUDED,
    REAL,
    UNKNOWN,
    UNOCCLUDED,
    WITHOUT_GLASSES,
    groups_of,
)
from deocclude.engines.evaluation.summaries import cost_table
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report.report import pairs_line
from deocclude.engines.report.tables import ALL, REFERENCE, Cell, Table, column, table_of
from deocclude.metrics.segmentation import HIGHER_IS_BETTER, boundary_tolerance

TITLES = {
    REAL: "Real cut-outs",
    DRAWN: "Drawn occluders",
    UNKNOWN: "Occluders of kinds that the set does not name",
    WITHOUT_GLASSES: "Real cut-outs without clear eyeglasses",
}
HEADINGS = {"accuracy": "pixel accuracy", "iou": "IoU", "dice": "Dice", "boundary_f": "boundary F"}
POOLED = {"pooled/iou": "IoU, pooled", "pooled/accuracy": "accuracy, pooled"}
SPECK = 0.01  # a face of which more than this is marked counts as falsely marked


def group_title(group: str, held_out: bool) -> str:
    """A group of occluded pictures as the tables call it; `held_out` as in FrozenOccluded."""
    real = group in (REAL, WITHOUT_GLASSES)
    return TITLES[group] + (", none of them trained on" if real and held_out else "")


def faces_only(results: Sequence[RowResult]) -> list[str]:
    """What the intervals leave out, for a caption, where there are real occluders."""
    if REAL not in groups_of(results[0].frame()):
        return []
    return [
        "Intervals are over faces only: how much the values of real occluders would change with "
        "other cut-outs, of which there are far fewer, they do not tell."
    ]


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
    form = "{value:.2f} [{low:.2f}, {high:.2f}]"
    pixels = column(part, names, form, interval=True, times=100)
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
