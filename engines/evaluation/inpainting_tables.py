"""The tables of an inpainting comparison, made from the summary of its per-image values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deocclude.engines.evaluation.ensemble_tables import member_tables
from deocclude.engines.evaluation.summaries import cost_table, mean_of_bins
from deocclude.engines.measures.columns import FID, PUBLISHED
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report.tables import (
    ALL,
    MEAN,
    REFERENCE,
    Cell,
    Table,
    bin_label,
    column,
    decimals,
    finite,
    mark_best,
    table_of,
)
from deocclude.metrics.image import finite_mean
from deocclude.metrics.table import (
    BY_IMAGE,
    DECIMALS,
    HEADINGS,
    HIGHER_IS_BETTER,
    OF_NETWORKS,
    OF_PIXELS,
    SHORT,
)

# What the public code calls by the same names, see metrics/as_published.py.
PUBLISHED_AS = {"psnr": "batch_psnr", "ssim": "first_rows_ssim", "l1": "relative_l1"}
PUBLISHED_HEADINGS = {
    "psnr": "PSNR of a batch of 8 (dB)",
    "ssim": "SSIM of rows 0 to 2",
    "l1": "sum|r-f| / sum(r+f)",
}
DIFFERENCE = ("difference", "difference_low", "difference_high")
SEEDED = ("difference", "seeds_low", "seeds_high")


def build_tables(
    results: Sequence[RowResult], summary: pd.DataFrame, reference: str
) -> list[Table]:
    """Headline tables, what networks say, ensembles against their members, ranks, seeds, hole only,
    cost, and the published definitions if they were asked for."""
    published = published_values(results)
    tables = [
        metric_table(summary, metric, "composed", reference, published.get(metric))
        for metric in OF_PIXELS
    ]
    seen = set(summary.loc[summary["mean"].notna(), "metric"])
    judged = [metric for metric in OF_NETWORKS if metric in seen]
    tables += [metric_table(summary, metric, "composed", reference) for metric in judged]
    tables += [learned_table(results, summary), *member_tables(results)]
    tables += [rank_table(summary), seeds_table(results)]
    tables += [metric_table(summary, m, "composed_hole", reference) for m in OF_PIXELS]
    tables += [cost_table(results), as_published_table(results)]
    return [table for table in tables if table is not None]


def metric_table(
    summary: pd.DataFrame,
    metric: str,
    view: str,
    reference: str,
    published: dict[str, float] | None = None,
) -> Table:
    """Rows by mask bin for one metric and view, best value of each column marked.

    A whole-image table ends with the mean over the hole alone, where the metric has one, and with
    the `published` definition by row, where it was asked for.
    """
    part = summary[summary["metric"].eq(metric)]
    names = list(dict.fromkeys(summary["row"]))
    bins = list(dict.fromkeys(part["bin"])) or [MEAN]
    columns = [(bin_label(name), _means(part, view, name, names, metric)) for name in bins]
    hole = view.endswith("_hole")
    if len(part):
        lines = part[part["view"].eq(view) & part["bin"].eq(MEAN)].set_index("row")
        told = {DIFFERENCE: ""} | (
            {SEEDED: " with seeds"} if part["seeds_low"].notna().any() else {}
        )
        columns += [
            (
                f"Δ to {reference}{words} [95 %]",
                [_difference(lines, name, reference, metric, keys) for name in names],
            )
            for keys, words in told.items()
        ]
    if not hole and metric in OF_PIXELS:
        columns.append(("hole only", _means(part, f"{view}_hole", MEAN, names, metric)))
    if published:
        cells = [Cell(published.get(name), form=decimals(metric)) for name in names]
        heading = f"as published: {PUBLISHED_HEADINGS[metric]}"
        columns.append((heading, mark_best(cells, HIGHER_IS_BETTER[metric])))
    area = "hole only" if hole else "whole image"
    kind = "raw prediction" if view.startswith("raw") else "composed"
    title = f"{HEADINGS[metric]}, {kind}, {area}"
    return table_of(title, names, columns, _notes(part, view, metric), HIGHER_IS_BETTER[metric])


def _means(
    part: pd.DataFrame, view: str, bin: str, names: Sequence[str], metric: str
) -> list[Cell]:
    """One view and bin of a metric, the best row marked."""
    lines = part[part["view"].eq(view) & part["bin"].eq(bin)]
    return column(lines, names, decimals(metric), higher=HIGHER_IS_BETTER[metric])


def _difference(
    lines: pd.DataFrame, name: str, reference: str, metric: str, keys: tuple[str, str, str]
) -> Cell:
    if name == reference:
        return REFERENCE
    if name not in lines.index:
        return Cell(None)
    mean, low, high = (finite(lines.loc[name, key]) for key in keys)
    if keys == SEEDED and not np.isfinite([low, high]).all():
        return Cell(None)
    return Cell(mean, low, high, decimals(metric, "+"))


def _notes(part: pd.DataFrame, view: str, metric: str) -> list[str]:
    notes = []
    name = HEADINGS[metric].partition(" (")[0]
    seen = part[part["view"].eq(view) & part["bin"].eq(MEAN)]
    for line in seen[seen["infinite"] > 0].itertuples():
        notes.append(
            f"{line.row}: {line.infinite} exactly restored pairs have infinite {name} and are "
            "not part of its means."
        )
    whole = not view.endswith("_hole")  # an image without a hole has no value there
    for line in seen[(seen["missing"] > 0) & whole].itertuples():
        total = line.missing + line.infinite + line.count
        notes.append(
            f"{line.row}: {name} is missing for {line.missing} of {total} pairs, which are no part "
            "of its means; a bin without any leaves the mean of bins empty."
        )
    return notes


def learned_table(results: Sequence[RowResult], summary: pd.DataFrame) -> Table | None:
    """What networks say of the composed pictures, mean of bins, and FID of the whole set; a column
    that cannot be had is empty and its reason stands below. None when nothing was asked for."""
    told = results[0].info["measures"]
    asked = [name for name in (*OF_NETWORKS, FID) if name in told]
    if not asked:
        return None
    names = [result.name for result in results]
    columns, notes = [], []
    for metric in asked:
        part = summary[summary["metric"].eq(metric)]
        cells = _means(part, "composed", ALL if metric == FID else MEAN, names, metric)
        columns.append((f"{HEADINGS[metric]} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}", cells))
        if reason := told[metric]["reason"]:
            notes.append(f"No {HEADINGS[metric]}: {reason}.")
        elif told[metric]["note"]:
            notes.append(told[metric]["note"])
        if metric == FID and told[metric]["reason"] is None:
            notes.append(_fid_count(results, told[metric]["count"]))
    title = "Learned metrics, composed, mean of bins (FID: whole set)"
    return table_of(title, names, columns, notes)


def _fid_count(results: Sequence[RowResult], count: int) -> str:
    images = results[0].frame()["image"].nunique()
    text = f"FID: N = {count:,} composed pictures against the {images:,} true ones they come from"
    text += ", each of which counts as often as it was restored." if images < count else "."
    several = any(result.seeds for result in results)
    return text + (" Of several seeds: the mean of their FIDs." if several else "")


def rank_table(summary: pd.DataFrame) -> Table | None:
    """Each row's place by each metric, composed, whole image, mean of bins; None for one row.

    Rows that print the same share the mean of their places. A row without a value of a metric has
    no mean rank.
    """
    names = list(dict.fromkeys(summary["row"]))
    if len(names) < 2:
        return None
    ranks, empty = {}, []
    for metric in (*BY_IMAGE, FID):
        part = summary[summary["metric"].eq(metric)]
        cells = _means(part, "composed", ALL if metric == FID else MEAN, names, metric)
        rounded = pd.Series([cell.number for cell in cells]).round(DECIMALS[metric])
        if rounded.notna().any():
            ranks[metric] = rounded.rank(ascending=not HIGHER_IS_BETTER[metric])
        elif len(part):
            empty.append(HEADINGS[metric])
    if not ranks:
        return None
    table = pd.DataFrame(ranks)
    table["mean rank"] = table.mean(axis=1, skipna=False)
    columns = []
    for metric in table:
        cells = [Cell(v, form=".2f" if metric == "mean rank" else "g") for v in table[metric]]
        columns.append((HEADINGS.get(metric, metric), mark_best(cells, higher=False)))
    notes = [f"Left out, as no row has a value: {', '.join(empty)}."] if empty else []
    lacking = [n for n, value in zip(names, table["mean rank"], strict=True) if value != value]
    if lacking:
        notes.append(f"No mean rank, as a metric has no value for it: {', '.join(lacking)}.")
    notes.append("Rows that print the same value share the mean of their places.")
    title = f"Ranks among {len(names)} rows, composed, whole image, mean of bins (1 is best)"
    return table_of(title, names, columns, notes)


def seeds_table(results: Sequence[RowResult]) -> Table | None:
    """What training the same again changes: each row of several seeds, by metric, mean of bins."""
    rows: list[list[Cell]] = []
    for result in (result for result in results if result.seeds):
        frames = [seed.frame() for seed in result.seeds]
        numbers = [str(seed.info["training"]["seed"]) for seed in result.seeds]
        for metric in OF_PIXELS:
            values = np.array([mean_of_bins(frame, f"composed/{metric}") for frame in frames])
            spread = values.std(ddof=1) if np.isfinite(values).all() else None
            cells = [
                Cell(f"{result.name}, {SHORT[metric]}"),
                Cell(values.mean(), form=decimals(metric)),
            ]
            cells.append(Cell(spread, form=f".{DECIMALS[metric] + 1}f"))
            cells += [Cell(v, form=decimals(metric)) for v in (values.min(), values.max())]
            rows.append([*cells, Cell(", ".join(numbers))])
    if not rows:
        return None
    columns = ["", "mean", "standard deviation", "min", "max", "seeds"]
    note = "Standard deviation over trainings (n - 1), of the mean of bins on the same pairs."
    return Table("Seeds, composed, whole image", columns, rows, [note])


def published_values(results: Sequence[RowResult]) -> dict[str, dict[str, float]]:
    """The published definitions, by the metric they are called and by row; empty when not asked."""
    told = {result.name: result.info["measures"].get(PUBLISHED) for result in results}
    if not all(told.values()):
        return {}
    return {
        metric: {name: values[key] for name, values in told.items()}
        for metric, key in PUBLISHED_AS.items()
    }


def as_published_table(results: Sequence[RowResult]) -> Table | None:
    """The published definitions beside the right ones of the same raw predictions, and the gap;
    None when they were not asked for."""
    published = published_values(results)
    if not published:
        return None
    names, frames = [r.name for r in results], [r.frame() for r in results]
    columns = []
    for metric in PUBLISHED_AS:
        right = [finite_mean(frame[f"raw/{metric}"])[0] for frame in frames]
        other = [published[metric][name] for name in names]
        gap = [finite(b - a) for a, b in zip(right, other, strict=True)]
        form, signed = decimals(metric), decimals(metric, "+")
        columns += [
            (HEADINGS[metric], [Cell(value, form=form) for value in right]),
            (PUBLISHED_HEADINGS[metric], [Cell(value, form=form) for value in other]),
            ("gap", [Cell(value, form=signed) for value in gap]),
        ]
    notes = [
        "Raw predictions, whole image, mean over all pairs: the right definitions on what the "
        "published ones looked at (metrics/as_published.py). The headline composes and counts "
        "every bin the same.",
    ]
    return table_of("As published, beside the right definitions", names, columns, notes)
