"""What a comparison of identity networks shows: values, tables, figure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.occluders.groups import DRAWN, REAL, UNOCCLUDED, group_of
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report import charts
from deocclude.engines.report.figures import NothingToDraw
from deocclude.engines.report.grids import DPI
from deocclude.engines.report.report import pairs_line
from deocclude.engines.report.tables import Cell, Table, column, table_of
from deocclude.metrics.statistics import wilson_interval

CLEAN, OCCLUDED = "clean", "occluded"
GROUPS = {CLEAN: "clean", OCCLUDED: "occluded", REAL: "real cut-outs", DRAWN: "drawn occluders"}
WHOSE = {"face": "the face's person", "surroundings": "the surroundings' person"}
PUBLISHED = ("As published: ten people of its own, not these pictures", 99.11)


def summarise_identities(results: Sequence[RowResult]) -> pd.DataFrame:
    """Accuracy of each row on each part of the pictures, a line each.

    Columns: row, part (clean, occluded, real, drawn, or "kind/<kind>"), count (pictures), images
    (different ones), mean, low, high (Wilson's 95 %, each different picture a trial).
    """
    lines = []
    for result in results:
        frame = result.frame()
        kinds = frame["kind"].to_numpy(str)
        groups = np.array([group_of(kind) for kind in kinds])
        bare = kinds == UNOCCLUDED
        parts = {CLEAN: bare, OCCLUDED: ~bare}
        parts |= {group: groups == group for group in (REAL, DRAWN)}
        parts |= {f"kind/{kind}": kinds == kind for kind in dict.fromkeys(kinds[~bare])}
        for part, chosen in parts.items():
            if not chosen.any():
                continue
            right, images = frame.loc[chosen, "right"], frame.loc[chosen, "image"].nunique()
            interval = wilson_interval(float(right.mean()), images)
            facts = {"row": result.name, "part": part, "count": int(chosen.sum()), "images": images}
            lines.append(
                facts | {"mean": interval.mean, "low": interval.low, "high": interval.high}
            )
    return pd.DataFrame(lines)


def accuracy_table(summary: pd.DataFrame) -> Table:
    """Rows by part of the pictures, in per cent, the published number as a row of its own."""
    parts = [part for part in GROUPS if summary["part"].eq(part).any()]
    names = list(dict.fromkeys(summary["row"]))
    published, share = PUBLISHED
    columns = []
    for part in parts:
        lines = summary[summary["part"].eq(part)]
        known = Cell(share if part == OCCLUDED else None, form=".2f")
        heading = f"{GROUPS[part]} (N = {int(lines['count'].max())})"
        columns.append((heading, [*_percent(lines, names), known]))
    title = "Pictures whose person is named (%) [95 %]"
    return table_of(title, [*names, published], columns)


def swap_table(results: Sequence[RowResult]) -> Table | None:
    """Whom each row names when face and surroundings are of different people; None without."""
    count = results[0].info["swapped"]["count"]
    if not count:
        return None
    columns = []
    for name, heading in WHOSE.items():
        shares = [wilson_interval(r.info["swapped"][name], count)[:3] for r in results]
        cells = [Cell(*(100 * number for number in share), form=".1f") for share in shares]
        columns.append((heading, cells))
    title = f"Bare faces in another person's picture: who is named (%) [95 %], N = {count}"
    note = "A row that names the surroundings' person has not learned the face."
    return table_of(title, [result.name for result in results], columns, [note])


def kind_table(summary: pd.DataFrame) -> Table:
    """Accuracy of every kind of occluder in per cent, a column a row of the other table."""
    part = summary[summary["part"].str.startswith("kind/")]
    names = list(dict.fromkeys(summary["row"]))
    rows = []
    for label in dict.fromkeys(part["part"]):
        kind, lines = label.removeprefix("kind/"), part[part["part"].eq(label)]
        name, count = Cell(f"{kind} ({group_of(kind)})"), Cell(lines["count"].max(), form=".0f")
        rows.append([name, count, *_percent(lines, names)])
    return Table("By kind of occluder (%) [95 %]", ["", "N", *names], rows)


def _percent(lines: pd.DataFrame, names: Sequence[str]) -> list[Cell]:
    return column(lines, names, ".1f", interval=True, higher=True, times=100)


def identity_caption(results: Sequence[RowResult]) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    images = results[0].frame()["image"].nunique()
    people = info["people"]
    return [
        pairs_line(
            info["count"],
            f"made of {images} different ones of {people} people",
            key["size"],
            info["pairs"],
            key["pairs"],
            "pictures",
        ),
        "Held-out pictures of people who were trained on: how well unknown people are told apart "
        f"it does not say. Chance is {100 / people:.1f} %.",
        "Intervals are Wilson's (1927), each different picture a trial, under however many kinds "
        "of occluder it is shown. Bold: best of the column, by kind of the line.",
        "Nearest training picture: by the squared difference of pixels at 32 px. Edge only: of "
        "the outer 4 px alone, which show hardly any face; what it reaches, the backgrounds give "
        "away.",
        "The published 99.11 % is on occluded pictures of ten people, which are not public.",
    ]


def kind_figure(summary: pd.DataFrame, rows: Sequence[str]) -> Figure:
    """Accuracy by kind as bars, a colour a row, from the first row's best kind to its worst."""
    part = summary[summary["part"].str.startswith("kind/") | summary["part"].eq(CLEAN)]
    if not rows or not part["row"].eq(rows[0]).any():
        raise NothingToDraw("no accuracy of any kind of occluder")
    first = part[part["row"].eq(rows[0])].sort_values("mean", ascending=False)
    labels = first["part"].tolist()
    figure = Figure(figsize=(10, 3.2), dpi=DPI)
    axis = figure.subplots()
    charts.bars(axis, part, "part", labels, rows)
    names = [label.removeprefix("kind/").replace("_", " ") for label in labels]
    axis.set_xticks(range(len(labels)), names, fontsize=8, rotation=35, ha="right")
    charts.tidy(axis, "Accuracy by kind of occluder ↑")
    if len(rows) > 1:
        axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure
