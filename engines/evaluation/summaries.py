"""Means and intervals of measured rows, made from the per-image CSVs alone.

Two bootstraps: a comparison of inpainters resamples all bins together, so that their mean has an
interval of its own; other tables resample each group of pictures by itself.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from deocclude.data.occluders.groups import (
    GROUPS,
    UNOCCLUDED,
    WITHOUT_GLASSES,
    groups_of,
    without_glasses,
)
from deocclude.engines.inference.baselines import LABELS
from deocclude.engines.measures import end_to_end
from deocclude.engines.measures.columns import FID
from deocclude.engines.measures.rows import Row, RowResult
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
from deocclude.metrics import segmentation
from deocclude.metrics.seeds import seeded_difference
from deocclude.metrics.statistics import bootstrap_interval, bootstrap_strata, paired_difference
from deocclude.metrics.table import HIGHER_IS_BETTER

TOGETHER = 16  # rows whose bootstrap samples are held at once
CASE = ("inpainter", "mask", "dilation", "group", "metric")  # what tells lines of cases apart
LOSS = ("loss", "loss_low", "loss_high")

SEEDS = (
    "A row of several seeds is, image by image, the mean over trainings that differ in their seed "
    "alone. Δ with seeds: the same difference, its interval from resampling images and the seeds "
    "of both rows, so that it speaks of the recipe and not of one training; what seeds deviate by "
    "is scaled up for their small number (Rao and Wu 1988). Where they vary more than images do it "
    "is still too short: of 2, 3 and 5 seeds it covers 61, 82 and 87 %, not 95. Where a row has "
    "one seed, its own luck is not in the interval. Example pictures are of the first seed."
)


def intervals(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    base: np.ndarray,
    images: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    within: np.ndarray | None = None,
    signs: np.ndarray | float = 1.0,
) -> pd.DataFrame:
    """Means with their 95 % intervals, a line for each stratum, row and column.

    Args:
        values: (rows, pairs, columns).
        base: (pairs, columns), or so for each row: what differences are taken to, pair by pair.
        images: (pairs,), what is resampled, each with all its pairs.
        strata: (pairs,), such as bins or kinds of occluder.
        within: (pairs,), the ones that are resampled by themselves: together, the stratum ALL, and
            by stratum. Without it all are, by stratum, and MEAN is the mean of the strata's means.
        signs: of the differences.

    Columns: row, stratum, metric, count, mean, low, high, infinite and missing (values left out of
    the mean), difference, difference_low, difference_high. NaN where there is no such number.
    """
    chosen = np.ones(len(images), bool) if within is None else within
    values, images = values[:, chosen], images[chosen]
    differences = signs * paired_difference(values, base[..., chosen, :])
    flat = np.concatenate([values, differences]).transpose(1, 0, 2).reshape(len(images), -1)
    parts = {} if within is None else {ALL: bootstrap_interval(flat, images=images)}
    if strata is not None:
        strata = strata[chosen]
        found = bootstrap_strata(flat, strata, images)
        parts |= {label: found[label] for label in sorted_bins(strata)}
        parts |= {MEAN: found[None]} if within is None else {}
    frames = []
    for label, interval in parts.items():
        own = values if label in (ALL, MEAN) else values[:, strata == label]
        mean, low, high, count = (np.reshape(part, (2, -1)) for part in interval)
        frames.append(
            pd.DataFrame(
                {
                    "row": np.repeat(rows, len(columns)),
                    "stratum": label,
                    "metric": np.tile(columns, len(rows)),
                    "count": count[0],
                    "mean": mean[0],
                    "low": low[0],
                    "high": high[0],
                    "infinite": np.isinf(own).sum(1).ravel(),
                    "missing": np.isnan(own).sum(1).ravel(),
                    "difference": mean[1],
                    "difference_low": low[1],
                    "difference_high": high[1],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _infinite_alone(frame: pd.DataFrame) -> pd.Series:
    """The means, infinite where nothing else is left."""
    return frame["mean"].mask(frame["count"].eq(0) & frame["infinite"].gt(0), np.inf)


def stacked(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> np.ndarray:
    """(rows, pairs, columns); NaN where a row lacks a column."""
    return np.stack([frame.reindex(columns=columns).to_numpy(np.float64) for frame in frames])


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
    first = next(result for result in results if result.name == reference)
    base = first.frame()
    parts = [
        _bin_summary(results[start : start + TOGETHER], base)
        for start in range(0, len(results), TOGETHER)
    ]
    table = pd.concat(parts, ignore_index=True)
    seeds = {result.name: max(1, len(result.seeds)) for result in results}
    table = table.assign(seeds=table["row"].map(seeds), seeds_low=np.nan, seeds_high=np.nan)
    _add_seeds(table, results, first)
    return pd.concat([table, pd.DataFrame(_set_lines(results))], ignore_index=True)


def _bin_summary(results: Sequence[RowResult], base: pd.DataFrame) -> pd.DataFrame:
    frames = [result.frame() for result in results]
    columns = list(dict.fromkeys(c for frame in [base, *frames] for c in frame if "/" in c))
    table = intervals(
        [result.name for result in results],
        columns,
        stacked(frames, columns),
        stacked([base], columns)[0],
        base["image"].to_numpy(),
        strata=bin_names(base),
    )
    table["mean"] = _infinite_alone(table)
    view = table["metric"].str.partition("/")
    table = table.assign(metric=view[2]).rename(columns={"stratum": "bin"})
    table.insert(1, "view", view[0])
    return table[["row", "view", "metric", "bin", *table.columns[4:]]]


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
        own, other = (stacked(part, columns) for part in (frames, base))
        ends = {
            (label, MEAN if name is None else name): (low[i], high[i])
            for name, (low, high) in seeded_difference(own, other, bins, images).items()
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


def summarise_masks(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Every mean with its intervals, a line for each row, metric, group and kind.

    Columns: row, group, kind ("all": the group's images together), metric, count, mean, low, high,
    difference, difference_low, difference_high (to `reference`, on the same pairs, 95 %). Intervals
    are over faces, each with all its occluders; pooled metrics have none. Where some real occluders
    are clear eyeglasses, WITHOUT_GLASSES is a group of all others, without lines by kind.
    """
    names, frames = [result.name for result in results], [result.frame() for result in results]
    first, columns = frames[0], list(segmentation.COLUMNS)
    values, kinds, groups = stacked(frames, columns), first["kind"].to_numpy(), groups_of(first)
    base, faces = values[names.index(reference)], first["image"].to_numpy()
    selected = {group: groups == group for group in GROUPS if group in groups}
    if (without := without_glasses(first)) is not None:
        selected[WITHOUT_GLASSES] = without
    parts = []
    for group, chosen in selected.items():
        by = None if group == WITHOUT_GLASSES else kinds
        found = intervals(names, columns, values, base, faces, strata=by, within=chosen)
        parts.append(placed(found[found["count"].gt(0)], group))
        parts.append(_pooled(names, frames, group, chosen))
    return pd.concat(parts, ignore_index=True)


def placed(found: pd.DataFrame, group: str) -> pd.DataFrame:
    """Lines of `intervals` as those of a group of occluders, by kind."""
    found = found.drop(columns=["infinite", "missing"]).rename(columns={"stratum": "kind"})
    found.insert(1, "group", group)
    return found


def _pooled(
    names: Sequence[str], frames: Sequence[pd.DataFrame], group: str, chosen: np.ndarray
) -> pd.DataFrame:
    lines = []
    for name, frame in zip(names, frames, strict=True):
        tp, fp, fn, tn = (int(frame.loc[chosen, c].sum()) for c in segmentation.COUNTS)
        marked = tp + fp + fn
        pooled = {"pooled/accuracy": (tp + tn) / (marked + tn)}
        if group != UNOCCLUDED:
            pooled |= {"pooled/iou": tp / marked, "pooled/dice": 2 * tp / (tp + marked)}
        lines += [
            {"row": name, "group": group, "kind": ALL, "metric": metric, "mean": mean}
            | {"count": int(chosen.sum())}
            for metric, mean in pooled.items()
        ]
    return pd.DataFrame(lines)


def summarise_cases(results: Sequence[RowResult]) -> pd.DataFrame:
    """Every mean with its intervals, a line for each case, group and metric.

    Columns: inpainter, mask, dilation, group, metric, count, mean, low, high, infinite (values left
    out of the mean), loss, loss_low, loss_high: what the mask of this line costs against the same
    inpainter with the true mask, undilated, on the same pairs (positive: this line is worse).
    Intervals are 95 %, over faces, each with all its occluders.
    """
    names, frames = [result.name for result in results], [result.frame() for result in results]
    columns = list(end_to_end.COLUMNS)
    values = stacked(frames, columns)
    true = {
        result.info["inpainter"]: own
        for result, own in zip(results, values, strict=True)
        if result.info["mask"] == end_to_end.TRUE and result.info["dilation"] == 0
    }
    nothing = np.full_like(values[0], np.nan)
    base = np.stack([true.get(result.info["inpainter"], nothing) for result in results])
    signs = np.array([-1 if HIGHER_IS_BETTER[c.rpartition("/")[2]] else 1 for c in columns])
    groups, faces = groups_of(frames[0]), frames[0]["image"].to_numpy()
    parts = []
    for group in [name for name in GROUPS if name in groups]:
        within = groups == group
        found = intervals(names, columns, values, base, faces, within=within, signs=signs)
        found["mean"], found["group"] = _infinite_alone(found), group
        parts.append(found[found["count"].gt(0) | found["infinite"].gt(0)])  # bare: no hole
    table = pd.concat(parts, ignore_index=True)
    facts = {result.name: result.info for result in results}
    for fact in ("inpainter", "mask", "dilation"):
        table[fact] = table["row"].map({name: info[fact] for name, info in facts.items()})
    table.columns = table.columns.str.replace("difference", "loss")
    return table[[*CASE, "count", "mean", "low", "high", "infinite", *LOSS]]


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


def choose_reference(rows: Sequence[Row] | Sequence[RowResult], wanted: str | None = None) -> str:
    """The row that differences are taken to: `wanted` (any case; a baseline also as `--baselines`
    names it), else the first one.

    ValueError lists the rows when `wanted` is none of them.
    """
    names = [row.name for row in rows]
    if wanted is None:
        return names[0]
    for asked in (wanted, LABELS.get(wanted.lower(), wanted)):
        for name in names:
            if name.lower() == asked.lower():
                return name
    raise ValueError(f"reference {wanted!r} is not a row; rows: {', '.join(names)}")


def kinds_of(results: Sequence[RowResult]) -> dict[str, str]:
    """Whether each row is a "model" or a "baseline"."""
    return {result.name: result.info["kind"] for result in results}


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
