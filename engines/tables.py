"""Tables by mask bin, made from the per-image CSVs alone; `engines.table_writers` writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from engines.row_files import RowResult
from metrics.image import HIGHER_IS_BETTER
from metrics.statistics import bootstrap_strata, paired_difference

METRICS = ("psnr", "ssim", "l1", "lpips")
HEADINGS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "L1 (mean absolute error)", "mse": "MSE"}
HEADINGS |= {"lpips": "LPIPS"}
DECIMALS = {"psnr": 2, "ssim": 4, "l1": 4, "mse": 5, "lpips": 4}
MEAN, OUTSIDE = "mean", "outside"
BIN_LABELS = {str(i): f"{max(1, 10 * i)}–{10 * i + 10} %" for i in range(6)}
BIN_LABELS |= {OUTSIDE: "other", MEAN: "mean of bins"}
MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """What a cell says, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A titled grid of cells; the first cell of a row is its name."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)


def check_same_pairs(results: Sequence[RowResult]) -> str:
    """The hash of the pairs that all rows were measured on. ValueError when they differ."""
    if not results:
        raise ValueError("a table needs at least one row")
    hashes: dict[str, list[str]] = {}
    for result in results:
        hashes.setdefault(result.info["key"]["pairs"], []).append(result.name)
    if len(hashes) > 1:
        found = "; ".join(f"{key[:12]}: {', '.join(names)}" for key, names in hashes.items())
        raise ValueError(f"rows measured on different pairs cannot share a table ({found})")
    return next(iter(hashes))


def choose_reference(results: Sequence[RowResult], wanted: str | None = None) -> str:
    """The row that differences are taken to: `wanted` (any case), else the first one.

    ValueError lists the rows when `wanted` is none of them.
    """
    names = [result.name for result in results]
    if wanted is None:
        return names[0]
    for name in names:
        if name.lower() == wanted.lower():
            return name
    raise ValueError(f"reference {wanted!r} is not a row; rows: {', '.join(names)}")


def summarise(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Every mean with its intervals, a line for each row, view, metric and bin.

    Columns: row, view, metric, bin ("0" to "5", "outside", "mean"), count, mean, low, high,
    infinite (values left out of the mean), difference, difference_low, difference_high (to
    `reference`, paired, 95 %). "mean" is the mean of the bins, each counting the same. Intervals
    are over images, each with all its masks; NaN where fewer than two images are behind them.
    """
    check_same_pairs(results)
    frames = [result.frame() for result in results]
    columns = list(dict.fromkeys(c for frame in frames for c in frame if "/" in c))
    values = np.stack([f.reindex(columns=columns).to_numpy(np.float64) for f in frames])
    base = values[[result.name for result in results].index(reference)]
    bins = bin_names(frames[0])
    names = sorted(set(bins), key=list(BIN_LABELS).index)
    flat = np.concatenate([values, paired_difference(values, base)])
    flat = flat.transpose(1, 0, 2).reshape(len(bins), -1)
    intervals = bootstrap_strata(flat, bins, frames[0]["image"].to_numpy())
    lines = []
    for name in [*names, MEAN]:
        chosen = np.ones(len(bins), bool) if name == MEAN else bins == name
        interval = intervals[None if name == MEAN else name]
        parts = [np.reshape(part, (2, len(frames), len(columns))) for part in interval]
        infinite = np.isinf(values[:, chosen]).sum(1)
        for row, result in enumerate(results):
            for column, label in enumerate(columns):
                view, metric = label.split("/")
                (mean, other), (low, low2), (high, high2), (count, _) = (
                    part[:, row, column] for part in parts
                )
                if mean != mean and infinite[row, column] and not count:
                    mean = np.inf
                lines.append(
                    {
                        "row": result.name,
                        "view": view,
                        "metric": metric,
                        "bin": name,
                        "count": int(count),
                        "mean": mean,
                        "low": low,
                        "high": high,
                        "infinite": int(infinite[row, column]),
                        "difference": other,
                        "difference_low": low2,
                        "difference_high": high2,
                    }
                )
    return pd.DataFrame(lines)


def bin_names(frame: pd.DataFrame) -> np.ndarray:
    """Each image's bin as "0" to "5", or "outside" of (0.01, 0.6]."""
    return np.array([OUTSIDE if number < 0 else str(number) for number in frame["bin"]])


def metric_table(
    summary: pd.DataFrame, metric: str, view: str, reference: str, reason: str | None = None
) -> Table:
    """Rows by mask bin for one metric and view, best value of each column marked.

    A whole-image table ends with the mean over the hole alone, where the metric has one. `reason`
    is noted when the metric has no value (LPIPS without weights).
    """
    part = summary[summary["metric"].eq(metric)]
    names = list(dict.fromkeys(summary["row"]))
    bins = list(dict.fromkeys(summary["bin"])) if len(part) else [MEAN]
    columns, cells = [BIN_LABELS[name] for name in bins], []
    higher = HIGHER_IS_BETTER[metric]
    for name in bins:
        means = _lookup(part, view, name, names)
        cells.append(mark_best([_number(m, metric) for m in means], means, higher))
    if len(part):
        columns.append(f"Δ to {reference} [95 %]")
        cells.append(_differences(part, view, names, reference, metric))
    if not view.endswith("_hole") and metric != "lpips":
        means = _lookup(part, f"{view}_hole", MEAN, names)
        columns.append("hole only")
        cells.append(mark_best([_number(m, metric) for m in means], means, higher))
    rows = [[Cell(name), *(column[i] for column in cells)] for i, name in enumerate(names)]
    arrow = "higher is better" if higher else "lower is better"
    area = "hole only" if view.endswith("_hole") else "whole image"
    kind = "raw prediction" if view.startswith("raw") else "composed"
    return Table(
        f"{HEADINGS[metric]}, {kind}, {area} ({arrow})",
        ["", *columns],
        rows,
        _notes(part, view, metric, reason),
    )


def _lookup(part: pd.DataFrame, view: str, bin: str, names: list[str]) -> list[float]:
    chosen = part[part["view"].eq(view) & part["bin"].eq(bin)].set_index("row")["mean"]
    return [float(chosen.get(name, np.nan)) for name in names]


def _differences(part, view: str, names: list[str], reference: str, metric: str) -> list[Cell]:
    chosen = part[part["view"].eq(view) & part["bin"].eq(MEAN)].set_index("row")
    cells = []
    for name in names:
        if name == reference or name not in chosen.index:
            cells.append(Cell("reference" if name == reference else MISSING))
            continue
        values = [
            chosen.loc[name, key] for key in ("difference", "difference_low", "difference_high")
        ]
        mean, *ends = (
            f"{value:+.{DECIMALS[metric]}f}" if np.isfinite(value) else MISSING for value in values
        )
        interval = MISSING if MISSING in ends else ", ".join(ends)
        cells.append(Cell(mean if mean == MISSING else f"{mean} [{interval}]"))
    return cells


def _notes(part: pd.DataFrame, view: str, metric: str, reason: str | None) -> list[str]:
    notes = []
    seen = part[part["view"].eq(view) & part["bin"].eq(MEAN)]
    if metric == "lpips" and reason:
        notes.append(f"No LPIPS: {reason}.")
    for line in seen[seen["infinite"] > 0].itertuples():
        notes.append(
            f"{line.row}: {line.infinite} exactly restored images have infinite "
            f"{metric.upper()} and are not part of its means."
        )
    return notes


def mark_best(texts: list[str], values: Sequence[float], higher: bool) -> list[Cell]:
    """One column's cells; every cell that prints the same as the best one is marked."""
    finite = [v for v in values if v == v]
    if not finite:
        return [Cell(text) for text in texts]
    best = max(finite) if higher else min(finite)
    shown = texts[list(values).index(best)]
    return [Cell(text, text == shown) for text in texts]


def _number(value: float, metric: str) -> str:
    if value != value:
        return MISSING
    return "∞" if np.isinf(value) else f"{value:.{DECIMALS[metric]}f}"


def cost_table(results: Sequence[RowResult]) -> Table:
    """Parameters, multiply-accumulates and time an image, as recorded when the rows were run."""
    columns = ["", "parameters (M)", "MACs (G)", "latency, batch 1 (ms)", "p95 (ms)", "images/s"]
    columns += ["device", "trained on"]
    rows = []
    for result in results:
        cost = result.info["cost"]
        size = f"{cost['parameters'] / 1e6:.2f}" if cost["parameters"] else MISSING
        macs = f"{cost['macs'] / 1e9:.2f}" if cost["macs"] else MISSING
        times = [f"{cost[key]:.1f}" for key in ("median_ms", "p95_ms", "images_per_second")]
        texts = [result.name, size, macs, *times, cost["device"], _training(result.info)]
        rows.append([Cell(text) for text in texts])
    note = "images/s: models in batches, baselines on up to all cores, when first measured."
    return Table("Cost", columns, rows, [note])


def _training(info: dict) -> str:
    facts = info.get("training")
    if not facts:
        return MISSING
    parts = [f"{facts['images']:,} images" if "images" in facts else None]
    parts += [f"{facts['minutes']:.0f} min" if "minutes" in facts else None, facts.get("device")]
    parts += [f"ended by {facts['reason']}" if facts.get("reason", "epochs") != "epochs" else None]
    return ", ".join(part for part in parts if part)


def as_published_table(results: Sequence[RowResult]) -> Table | None:
    """The published definitions, or None when no row has them."""
    rows = []
    for result in results:
        values = result.info["as_published"]
        if values is not None:
            names = ("batch_psnr", "first_rows_ssim", "relative_l1")
            rows.append([Cell(result.name), *(Cell(f"{values[name]:.4f}") for name in names)])
    if not rows:
        return None
    columns = ["", "PSNR of a batch of 8 (dB)", "SSIM of rows 0 to 2", "sum|r-f| / sum(r+f)"]
    note = "Raw predictions; see metrics/as_published.py. Not comparable with the tables above."
    return Table("As published", columns, rows, [note])


def build_tables(results: Sequence[RowResult], summary: pd.DataFrame, reference: str):
    """Headline tables, then hole only, cost, and the published definitions if they were asked."""
    reasons = [r.info["lpips"]["reason"] for r in results if r.info["lpips"]["reason"]]
    reason = reasons[0] if reasons else None
    tables = [metric_table(summary, m, "composed", reference, reason) for m in METRICS]
    holes = [metric_table(summary, m, "composed_hole", reference) for m in METRICS if m != "lpips"]
    published = as_published_table(results)
    return [*tables, *holes, cost_table(results), *([published] if published else [])]


def caption(results: Sequence[RowResult], reference: str) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    images = results[0].frame()["image"].nunique()
    return [
        f"N = {info['count']} pairs of {images} images at {key['size']} px ({info['pairs']}); "
        f"SHA-256 of the pairs: {key['pairs']}.",
        "Composed: the prediction inside the hole, the known pixels outside. Columns are hole "
        "area; the mean of bins counts every bin the same.",
        f"Δ: difference of the mean of bins to {reference} on the same pairs, with its 95 % "
        "bootstrap interval over images, each with all its masks (Efron and Tibshirani 1993). "
        "Bold: best of the column.",
        "OpenCV radius 3. Baselines work on 8-bit pixels, models on float; the quantisation floor "
        "is about 59 dB.",
    ]
