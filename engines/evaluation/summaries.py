"""Means and intervals of a comparison's rows, made from the per-image CSVs alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from deocclude.engines.measures.columns import FID
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report.report import pairs_line
from deocclude.engines.report.tables import (
    ALL,
    MEAN,
    Cell,
    Table,
    are_kinds,
    bin_names,
    sorted_bins,
)
from deocclude.metrics.seeds import seeded_difference
from deocclude.metrics.statistics import bootstrap_strata, paired_difference

TOGETHER = 16  # rows whose bootstrap samples are held at once

SEEDS = (
    "A row of several seeds is, image by image, the mean over trainings that differ in their seed "
    "alone. Δ with seeds: the same difference, its interval from resampling images and the seeds "
    "of both rows, so that it speaks of the recipe and not of one training; what seeds deviate by "
    "is scaled up for their small number (Rao and Wu 1988). Where they vary more than images do it "
    "is still too short: of 2, 3 and 5 seeds it covers 61, 82 and 87 %, not 95. Where a row has "
    "one seed, its own luck is not in the interval. Example pictures are of the first seed."
)


def summarise(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Every mean with its intervals, a line for each row, view, metric and bin.

    Columns: row, view, metric, bin ("0" to "5", "outside", "mean"), count, mean, low, high,
    infinite and missing (values left out of the mean), difference, difference_low, difference_high
    (to `reference`, paired, 95 %), seeds (how many trainings the row is the mean of), seeds_low and
    seeds_high (the difference's interval with seeds resampled as well, where one of both rows has
    several). "mean" is the mean of the bins, each counting the same. Intervals are over images,
    each with all its masks; NaN where fewer than two images are behind them. FID, a number of the
    whole set, has the bin "all" and no interval.
    """
    check_same_pairs(results)
    names = [result.name for result in results]
    first = results[names.index(reference)]
    base = first.frame()
    lines: list[dict] = []
    for start in range(0, len(results), TOGETHER):
        lines += _image_lines(results[start : start + TOGETHER], base)
    table = pd.DataFrame(lines)
    for key in ("seeds_low", "seeds_high"):
        table[key] = np.nan
    _add_seeds(table, results, first)
    return pd.concat([table, pd.DataFrame(_set_lines(results))], ignore_index=True)


def _image_lines(results: Sequence[RowResult], base: pd.DataFrame) -> Iterator[dict]:
    frames = [result.frame() for result in results]
    columns = list(dict.fromkeys(c for frame in [base, *frames] for c in frame if "/" in c))
    values = np.stack([_values(frame, columns) for frame in frames])
    bins = bin_names(base)
    flat = np.concatenate([values, paired_difference(values, _values(base, columns))])
    flat = flat.transpose(1, 0, 2).reshape(len(bins), -1)
    intervals = bootstrap_strata(flat, bins, base["image"].to_numpy())
    for name in [*sorted_bins(bins), MEAN]:
        chosen = np.ones(len(bins), bool) if name == MEAN else bins == name
        interval = intervals[None if name == MEAN else name]
        parts = [np.reshape(part, (2, len(frames), len(columns))) for part in interval]
        infinite, missing = (f(values[:, chosen]).sum(1) for f in (np.isinf, np.isnan))
        for row, result in enumerate(results):
            for column, label in enumerate(columns):
                view, metric = label.split("/")
                (mean, other), (low, low2), (high, high2), (count, _) = (
                    part[:, row, column] for part in parts
                )
                if mean != mean and infinite[row, column] and not count:
                    mean = np.inf
                yield {
                    "row": result.name,
                    "view": view,
                    "metric": metric,
                    "bin": name,
                    "count": int(count),
                    "mean": mean,
                    "low": low,
                    "high": high,
                    "infinite": int(infinite[row, column]),
                    "missing": int(missing[row, column]),
                    "difference": other,
                    "difference_low": low2,
                    "difference_high": high2,
                    "seeds": max(1, len(result.seeds)),
                }


def _values(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return frame.reindex(columns=columns).to_numpy(np.float64)


def _add_seeds(table: pd.DataFrame, results: Sequence[RowResult], first: RowResult) -> None:
    """Fill `seeds_low` and `seeds_high` where a row or the reference has several seeds."""
    if not any(result.seeds for result in results):
        return
    base = [seed.frame() for seed in first.seeds or (first,)]
    bins, images = bin_names(base[0]), base[0]["image"].to_numpy()
    for result in results:
        if result is first or not (result.seeds or first.seeds):
            continue
        frames = [seed.frame() for seed in result.seeds or (result,)]
        columns = [c for c in frames[0] if "/" in c and c in base[0]]
        own, other = (np.stack([_values(f, columns) for f in part]) for part in (frames, base))
        intervals = seeded_difference(own, other, bins, images)
        ends = {
            (label, MEAN if name is None else name): (low[i], high[i])
            for name, (low, high) in intervals.items()
            for i, label in enumerate(columns)
        }
        for line in table.index[table["row"].eq(result.name)]:
            label = f"{table.at[line, 'view']}/{table.at[line, 'metric']}"
            found = ends.get((label, table.at[line, "bin"]), (np.nan, np.nan))
            table.loc[line, ["seeds_low", "seeds_high"]] = found


def _set_lines(results: Sequence[RowResult]) -> Iterator[dict]:
    for result in results:
        told = result.info.get("measures", {}).get(FID, {})
        if "fid" in told:
            yield {
                "row": result.name,
                "view": "composed",
                "metric": FID,
                "bin": ALL,
                "count": told["count"],
                "mean": told["fid"],
                "seeds": max(1, len(result.seeds)),
            }


def mean_of_bins(frame: pd.DataFrame, column: str) -> float:
    """The mean over the finite values of each bin, then over bins; NaN where a bin has none."""
    values = frame[column].where(np.isfinite(frame[column]))
    return float(values.groupby(bin_names(frame)).mean().mean(skipna=False))


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


def cost_table(results: Sequence[RowResult]) -> Table:
    """Parameters, multiply-accumulates and time an image, as recorded when the rows were run."""
    columns = ["", "parameters (M)", "MACs (G)", "latency, batch 1 (ms)", "p95 (ms)", "images/s"]
    columns += ["device", "trained on"]
    rows = []
    for result in results:
        cost, cells = result.info["cost"], [Cell(result.name)]
        for key, unit in (("parameters", 1e6), ("macs", 1e9)):
            cells.append(Cell(cost[key] / unit if cost[key] else None, form=".2f"))
        for key in ("median_ms", "p95_ms", "images_per_second"):
            cells.append(Cell(cost[key], form=".1f"))
        rows.append([*cells, Cell(cost["device"]), _training(result.info)])
    note = "images/s: models in batches, baselines on up to all cores, when first measured."
    return Table("Cost", columns, rows, [note])


def _training(info: dict) -> Cell:
    """How much a row was trained, sorted by images where they are known."""
    facts = info.get("training") or {}
    times, each = (f"{facts['seeds']} × ", " each") if "seeds" in facts else ("", "")
    parts = [f"{times}{{value:,.0f}} images" if "images" in facts else None]
    parts += [f"{facts['minutes']:.0f} min{each}" if "minutes" in facts else None]
    parts.append(facts.get("device"))
    parts += [f"ended by {facts['reason']}" if facts.get("reason", "epochs") != "epochs" else None]
    text = ", ".join(part for part in parts if part)
    return Cell(facts["images"], form=text) if "images" in facts else Cell(text or None)


def caption(results: Sequence[RowResult], reference: str) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    frame = results[0].frame()
    images, kinds = frame["image"].nunique(), are_kinds(bin_names(frame))
    bins = "bins: kinds of occluder, whose shape the holes have" if kinds else "hole area"
    several = any(result.seeds for result in results)
    return [
        pairs_line(info["count"], f"of {images} images", key["size"], info["pairs"], key["pairs"]),
        "Composed: the prediction inside the hole, the known pixels outside. Columns are "
        f"{bins}; the mean of bins counts every bin the same.",
        f"Δ: difference of the mean of bins to {reference} on the same pairs, with its 95 % "
        "bootstrap interval over images, each with all its masks (Efron and Tibshirani 1993). "
        "Bold: best of the column.",
        *([SEEDS] if several else []),
        "OpenCV radius 3. Baselines work on 8-bit pixels, models on float; rounding to 8 bits "
        "alone limits the PSNR of a hole to about 59 dB.",
    ]


def pair_facts(results: Sequence[RowResult], reference: str | None = None) -> dict[str, str]:
    """What every report says below its heading: how many pairs, of what, measured where."""
    key, info = results[0].info["key"], results[0].info
    costs = [result.info["cost"] for result in results if result.info.get("cost")]
    facts = {
        "Pairs": f"{info['count']:,}",
        "Images": f"{results[0].frame()['image'].nunique():,}",
        "Size": f"{key['size']} px",
        "Reference": reference or "",
        "Device": ", ".join(dict.fromkeys(cost["device"] for cost in costs)),
        "SHA-256 of the pairs": key["pairs"][:12],
    }
    return {name: value for name, value in facts.items() if value}
