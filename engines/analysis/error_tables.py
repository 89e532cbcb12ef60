"""Errors by hole ratio, place in the face and kind of occluder, from the per-image CSVs alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from deocclude.data.occluders.groups import OCCLUDED, UNOCCLUDED, group_of
from deocclude.engines.analysis.error_rows import HOLE, PLACES, hole_values, sums_of
from deocclude.engines.evaluation.summaries import (
    check_same_pairs,
    intervals,
    placed,
    stacked,
)
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report.tables import (
    ALL,
    PERCENT,
    Cell,
    Table,
    column,
    decimals,
    pivot,
    table_of,
)
from deocclude.metrics.ratios import RatioSamples, percentiles, sample_ratios, smooth_curve
from deocclude.metrics.statistics import Interval
from deocclude.metrics.table import HEADINGS, HIGHER_IS_BETTER

CURVES = {"psnr_composed": "PSNR, composed (dB)", "l1_hole": "L1 in the hole"}
PLACE_METRICS = ("l1", "rmse", "psnr")
KIND_COLUMNS = {"psnr": "hole/psnr", "l1": "hole/l1", "ssim": "hole/ssim"}
GRID = 60  # places at which a curve is drawn


def curve_frame(results: Sequence[RowResult], bandwidth: float) -> pd.DataFrame:
    """Each of CURVES against hole ratio, smoothed, a line for each row, metric and ratio.

    Columns: row, metric, hole_ratio, mean, low, high (95 %, over images, each with all its masks),
    count (pairs within two bandwidths).
    """
    check_same_pairs(results)
    parts = []
    for result in results:
        frame = result.frame()
        x, images = frame["hole_ratio"].to_numpy(np.float64), frame["image"].to_numpy()
        grid = np.linspace(x.min(), x.max(), GRID)
        values = hole_values(frame)
        for metric in CURVES:
            curve = smooth_curve(x, values[metric].to_numpy(), images, grid, bandwidth)
            names = {"row": result.name, "metric": metric, "hole_ratio": grid}
            parts.append(pd.DataFrame(names | curve._asdict()))
    return pd.concat(parts, ignore_index=True)


def place_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Errors in each place, a line for each row, place and metric, each hole pixel counting once.

    Columns: row, place, metric, images (with a hole there), pixel_share and error_share (of all
    hole pixels and of all squared error in them), mean, low, high, difference, difference_low,
    difference_high (to `reference`, on the same draws of images, 95 %).
    """
    check_same_pairs(results)
    frames = {result.name: result.frame() for result in results}
    sampled = {name: _sampled_places(frame) for name, frame in frames.items()}
    base = sampled[reference]
    parts = []
    for result in results:
        frame = frames[result.name]
        pixels, squares = (sums_of(frame, name).sum(0) for name in ("pixels", "mse"))
        for metric in PLACE_METRICS:
            own = sampled[result.name][metric]
            columns = {"row": result.name, "place": PLACES, "metric": metric, "images": own.images}
            columns |= {"pixel_share": _share(pixels), "error_share": _share(squares)}
            parts.append(pd.DataFrame(columns | paired_columns(own, base[metric])))
    return pd.concat(parts, ignore_index=True)


def _sampled_places(frame: pd.DataFrame) -> dict[str, RatioSamples]:
    pixels, images = sums_of(frame, "pixels"), frame["image"].to_numpy()
    absolute, squared = (sample_ratios(sums_of(frame, n), pixels, images) for n in ("l1", "mse"))
    with np.errstate(divide="ignore"):
        decibel = [-10 * np.log10(part) for part in squared[:2]]
    return {
        "l1": absolute,
        "rmse": RatioSamples(np.sqrt(squared.value), np.sqrt(squared.samples), squared.images),
        "psnr": RatioSamples(*decibel, squared.images),
    }


def _share(sums: np.ndarray) -> np.ndarray:
    """Of the whole hole, which stands first."""
    return np.divide(sums, sums[0], out=np.full(len(sums), np.nan), where=sums[0] > 0)


def paired_columns(own: RatioSamples, base: RatioSamples) -> dict[str, np.ndarray]:
    """mean, low, high, difference, difference_low, difference_high: `own`, and minus `base`."""
    with np.errstate(invalid="ignore"):
        difference = RatioSamples(own.value - base.value, own.samples - base.samples, own.images)
    return _columns(percentiles(own)) | _columns(percentiles(difference), "difference")


def _columns(interval: Interval, name: str = "") -> dict[str, np.ndarray]:
    names = (name, f"{name}_low", f"{name}_high") if name else ("mean", "low", "high")
    return dict(zip(names, interval[:3], strict=True))


def kind_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Errors in the hole by kind of occluder, a line for each row, kind and metric.

    `results` as from `engines.measures.end_to_end.evaluate_cases`, one case an inpainter. Columns:
    row, group (real, drawn or unknown), kind ("all": the group together), metric, hole_ratio
    (mean), count, mean, low, high, difference, difference_low, difference_high (to `reference`, 95
    %, over faces, each with all its occluders). Bare faces have no hole and are left out.
    """
    check_same_pairs(results)
    names = [result.info["inpainter"] for result in results]
    frames = [frame[frame["kind"] != UNOCCLUDED] for frame in (r.frame() for r in results)]
    first, metrics = frames[0], list(KIND_COLUMNS)
    values = stacked(frames, list(KIND_COLUMNS.values()))
    base, faces = values[names.index(reference)], first["image"].to_numpy()
    kinds = first["kind"].to_numpy()
    groups = np.array([group_of(kind) for kind in kinds])
    parts = []
    for group in [name for name in OCCLUDED if name in groups]:
        own = groups == group
        found = intervals(names, metrics, values, base, faces, strata=kinds, within=own)
        found = placed(found, group)
        holes = {ALL: own} | {kind: kinds == kind for kind in set(kinds[own])}
        ratios = {kind: first.loc[there, "hole_ratio"].mean() for kind, there in holes.items()}
        found.insert(3, "hole_ratio", found["kind"].map(ratios))
        parts.append(found)
    return pd.concat(parts, ignore_index=True)


def place_table(places: pd.DataFrame, metric: str, digits: int) -> Table:
    """Rows by place for one metric, each with its interval, the best of each place marked."""
    return pivot(
        places[places["metric"] == metric], "row", "place", form=f".{digits}f", interval=True,
        higher=HIGHER_IS_BETTER[metric],
        title=f"{HEADINGS[metric]} of the hole's pixels by place [95 %]",
    )  # fmt: skip


def place_differences(places: pd.DataFrame, reference: str) -> Table | None:
    """PSNR of each row minus that of the reference, by place; None without another row."""
    part = places[(places["metric"] == "psnr") & (places["row"] != reference)]
    if part.empty:
        return None
    return pivot(
        part, "row", "place", form="+.2f", of="difference", interval=True,
        title=f"PSNR minus that of {reference} by place, dB [95 %]",
    )  # fmt: skip


def share_table(places: pd.DataFrame) -> Table:
    """How much of the holes, and of each row's squared error, falls on each place."""
    part = places[places["metric"] == "psnr"]
    first = part[part["row"] == part["row"].iloc[0]]
    holes = first.assign(row="hole pixels", share=first["pixel_share"])
    shares = pd.concat([holes, part.assign(share=part["error_share"])])
    note = (
        "First line: of all hole pixels. Others: of the row's squared error in them; more than in "
        "the first line means harder than the average pixel."
    )
    return pivot(
        shares, "row", "place", form=PERCENT, of="share", times=100, title="Share of each place",
        notes=[note],
    )  # fmt: skip


def curve_table(curves: pd.DataFrame, metric: str = "psnr_composed") -> Table:
    """The smoothed curve read at every tenth of hole ratio."""
    part, short = curves[curves["metric"] == metric], metric.partition("_")[0]
    ratios = part.loc[part["row"] == part["row"].iloc[0], "hole_ratio"].to_numpy()
    marks = [mark for mark in np.arange(1, 10) / 10 if ratios.min() <= mark <= ratios.max()]
    marks = marks or [float(np.median(ratios))]
    names = list(dict.fromkeys(part["row"]))
    columns = []
    for mark in marks:
        nearest = part[part["hole_ratio"] == ratios[np.abs(ratios - mark).argmin()]]
        lines = nearest.drop_duplicates("row")  # one pair has one ratio, at every place
        how = {"interval": True, "higher": HIGHER_IS_BETTER[short]}
        columns.append((f"at {100 * mark:.0f} %", column(lines, names, decimals(short), **how)))
    return table_of(f"{CURVES[metric]} at a hole ratio of, smoothed [95 %]", names, columns)


def kind_table(kinds: pd.DataFrame, metric: str = "psnr") -> Table:
    """A line a kind of occluder, the real ones first, with its mean hole; a column a row."""
    part = kinds[kinds["metric"] == metric]
    names = list(dict.fromkeys(part["row"]))
    rows = []
    for (group, kind), lines in part.groupby(["group", "kind"], sort=False):
        title = Cell(f"{group}, all" if kind == ALL else kind)
        count = Cell(lines["count"].max(), form=".0f")
        hole = Cell(100 * lines["hole_ratio"].iloc[0], form=PERCENT)
        means = column(lines, names, decimals(metric), higher=HIGHER_IS_BETTER[metric])
        rows.append([title, count, hole, *means])
    note = "Bold: best of the line. Intervals and differences: kinds.csv."
    title = f"{HEADINGS[metric]} of the hole's pixels by kind of occluder, true mask"
    return Table(title, ["", "N", "mean hole", *names], rows, [note])


def error_tables(frames: Mapping[str, pd.DataFrame], reference: str) -> list[Table]:
    """All tables of the analysis, the headline first; `frames` are "ratio", "places" and, where
    there are occluders, "kinds", from the functions above."""
    places = frames["places"]
    tables = [place_table(places, "psnr", 2), place_differences(places, reference)]
    tables += [place_table(places, "l1", 4), share_table(places)]
    tables += [curve_table(frames["ratio"], metric) for metric in CURVES]
    if "kinds" in frames:
        tables += [kind_table(frames["kinds"], metric) for metric in ("psnr", "l1")]
    return [table for table in tables if table is not None]


def ranked_rows(places: pd.DataFrame) -> list[str]:
    """Names of the rows, the one with the least squared error over all holes first."""
    part = places[(places["metric"] == "rmse") & (places["place"] == HOLE)]
    return part.sort_values("mean", kind="stable")["row"].tolist()
