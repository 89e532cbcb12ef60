"""The tables of an inpainting comparison, made from the summary of its per-image values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deocclude.engines.evaluation.ensemble_tables import member_tables
from deocclude.engines.evaluation.summaries import cost_table, mean_of_bins
from deocclude.engines.measures.columns import FID, LEARNED, PUBLISHED
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report.tables import (
    ALL,
    DECIMALS,
    HEADINGS,
    MEAN,
    METRICS,
    MISSING,
    Cell,
    Table,
    bin_label,
    mark_best,
    named_rows,
    number,
)
from deocclude.metrics.image import HIGHER_IS_BETTER, finite_mean

PIXEL_METRICS = ("psnr", "ssim", "l1")
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
        for metric in PIXEL_METRICS
    ]
    seen = set(summary.loc[summary["mean"].notna(), "metric"])
    judged = [metric for metric in LEARNED if metric in seen]
    tables += [metric_table(summary, metric, "composed", reference) for metric in judged]
    tables += [learned_table(results, summary), *member_tables(results)]
    tables += [rank_table(summary), seeds_table(results)]
    tables += [metric_table(summary, m, "composed_hole", reference) for m in PIXEL_METRICS]
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
    columns, cells = [bin_label(name) for name in bins], []
    higher = HIGHER_IS_BETTER[metric]
    for name in bins:
        cells.append(_marked(_lookup(part, view, name, names), metric))
    if len(part):
        columns.append(f"Δ to {reference} [95 %]")
        cells.append(_differences(part, view, names, reference, metric, DIFFERENCE))
        if part["seeds_low"].notna().any():
            columns.append(f"Δ to {reference} with seeds [95 %]")
            cells.append(_differences(part, view, names, reference, metric, SEEDED))
    if not view.endswith("_hole") and metric in PIXEL_METRICS:
        columns.append("hole only")
        cells.append(_marked(_lookup(part, f"{view}_hole", MEAN, names), metric))
    if published:
        columns.append(f"as published: {PUBLISHED_HEADINGS[metric]}")
        values = [published.get(name, np.nan) for name in names]
        cells.append(_marked(values, metric))
    rows = named_rows(names, cells)
    arrow = "higher is better" if higher else "lower is better"
    area = "hole only" if view.endswith("_hole") else "whole image"
    kind = "raw prediction" if view.startswith("raw") else "composed"
    title = f"{HEADINGS[metric]}, {kind}, {area} ({arrow})"
    return Table(title, ["", *columns], rows, _notes(part, view, metric))


def _marked(values: list[float], metric: str) -> list[Cell]:
    return mark_best([number(v, metric) for v in values], values, HIGHER_IS_BETTER[metric])


def _lookup(part: pd.DataFrame, view: str, bin: str, names: list[str]) -> list[float]:
    chosen = part[part["view"].eq(view) & part["bin"].eq(bin)].set_index("row")["mean"]
    return [float(chosen.get(name, np.nan)) for name in names]


def _differences(
    part: pd.DataFrame,
    view: str,
    names: list[str],
    reference: str,
    metric: str,
    keys: tuple[str, str, str],
) -> list[Cell]:
    chosen = part[part["view"].eq(view) & part["bin"].eq(MEAN)].set_index("row")
    cells = []
    for name in names:
        if name == reference or name not in chosen.index:
            cells.append(Cell("reference" if name == reference else MISSING))
            continue
        values = [chosen.loc[name, key] for key in keys]
        mean, *ends = (
            f"{value:+.{DECIMALS[metric]}f}" if np.isfinite(value) else MISSING for value in values
        )
        interval = MISSING if MISSING in ends else ", ".join(ends)
        nothing = mean == MISSING or (keys == SEEDED and interval == MISSING)
        cells.append(Cell(MISSING if nothing else f"{mean} [{interval}]"))
    return cells


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
    asked = [name for name in (*LEARNED, FID) if name in told]
    if not asked:
        return None
    names = [result.name for result in results]
    columns, cells, notes = [], [], []
    for metric in asked:
        part = summary[summary["metric"].eq(metric)]
        columns.append(f"{HEADINGS[metric]} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}")
        values = _lookup(part, "composed", ALL if metric == FID else MEAN, names)
        cells.append(_marked(values, metric))
        if reason := told[metric]["reason"]:
            notes.append(f"No {HEADINGS[metric]}: {reason}.")
        elif told[metric]["note"]:
            notes.append(told[metric]["note"])
        if metric == FID and told[metric]["reason"] is None:
            notes.append(_fid_count(results, told[metric]["count"]))
    rows = named_rows(names, cells)
    title = "Learned metrics, composed, mean of bins (FID: whole set)"
    return Table(title, ["", *columns], rows, notes)


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
    for metric in (*METRICS, FID):
        part = summary[summary["metric"].eq(metric)]
        values = _lookup(part, "composed", ALL if metric == FID else MEAN, names)
        rounded = pd.Series(values).round(DECIMALS[metric])
        if rounded.notna().any():
            ranks[metric] = rounded.rank(ascending=not HIGHER_IS_BETTER[metric])
        elif len(part):
            empty.append(HEADINGS[metric])
    if not ranks:
        return None
    table = pd.DataFrame(ranks)
    table["mean rank"] = table.mean(axis=1, skipna=False)
    cells = []
    for metric in table:
        values = table[metric].tolist()
        texts = [_rank(value, 2 if metric == "mean rank" else 1) for value in values]
        cells.append(mark_best(texts, values, higher=False))
    rows = named_rows(names, cells)
    notes = [f"Left out, as no row has a value: {', '.join(empty)}."] if empty else []
    lacking = [n for n, value in zip(names, table["mean rank"], strict=True) if value != value]
    if lacking:
        notes.append(f"No mean rank, as a metric has no value for it: {', '.join(lacking)}.")
    notes.append("Rows that print the same value share the mean of their places.")
    title = f"Ranks among {len(names)} rows, composed, whole image, mean of bins (1 is best)"
    headings = [HEADINGS.get(metric, metric) for metric in table]
    return Table(title, ["", *headings], rows, notes)


def _rank(value: float, decimals: int) -> str:
    return MISSING if value != value else f"{value:.{decimals}f}".removesuffix(".0")


def seeds_table(results: Sequence[RowResult]) -> Table | None:
    """What training the same again changes: each row of several seeds, by metric, mean of bins."""
    rows, short = [], {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "L1"}
    for result in (result for result in results if result.seeds):
        frames = [seed.frame() for seed in result.seeds]
        numbers = [str(seed.info["training"]["seed"]) for seed in result.seeds]
        for metric, heading in short.items():
            values = np.array([mean_of_bins(frame, f"composed/{metric}") for frame in frames])
            spread = f"{values.std(ddof=1):.{DECIMALS[metric] + 1}f}"
            texts = [number(v, metric) for v in (values.mean(), values.min(), values.max())]
            texts.insert(1, spread if np.isfinite(values).all() else MISSING)
            rows.append([Cell(f"{result.name}, {heading}"), *map(Cell, texts)])
            rows[-1].append(Cell(", ".join(numbers)))
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
    columns = [""]
    for metric in PIXEL_METRICS:
        columns += [HEADINGS[metric], PUBLISHED_HEADINGS[metric], "gap"]
    rows = []
    for result in results:
        frame, cells = result.frame(), [Cell(result.name)]
        for metric in PIXEL_METRICS:
            right, _ = finite_mean(frame[f"raw/{metric}"])
            other = published[metric][result.name]
            gap = f"{other - right:+.{DECIMALS[metric]}f}" if np.isfinite(right) else MISSING
            cells += [Cell(number(right, metric)), Cell(number(other, metric)), Cell(gap)]
        rows.append(cells)
    notes = [
        "Raw predictions, whole image, mean over all pairs: the right definitions on what the "
        "published ones looked at (metrics/as_published.py). The headline composes and counts "
        "every bin the same.",
    ]
    return Table("As published, beside the right definitions", columns, rows, notes)
