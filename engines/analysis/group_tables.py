"""Errors by group of people as tables, made from the per-image CSVs of measured rows alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from deocclude.data.faces.people import GROUPINGS, Person, person_of
from deocclude.engines.evaluation.segmentation_tables import SPECK, interval_lines
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.measures.segmentation import UNOCCLUDED
from deocclude.engines.report.tables import MISSING, Cell, Table, bin_names, named_rows
from deocclude.metrics.statistics import bootstrap_strata, paired_difference

EVERYONE = "everyone"
PSNR, IOU, FALSE, FLAGGED = "composed/psnr", "iou", "false_positive", "flagged"
INPAINTED = {
    PSNR: ("PSNR (dB)", ".2f"),
    "composed/ssim": ("SSIM", ".4f"),
    "composed_hole/l1": ("L1 in the hole", ".4f"),
}


def people_of(frame: pd.DataFrame) -> list[Person]:
    """Who is in each line's picture. ValueError for a name without labels."""
    people = [person_of(name) for name in frame["image"]]
    if None in people:
        raise ValueError(f"{frame['image'][people.index(None)]}: its name says no group of people")
    return people


def inpainted_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """PSNR, SSIM and hole L1 of every row and group: means of bins, with 95 % intervals.

    Columns: row, by, group, people (images), metric, count (pairs), mean, low, high, difference,
    difference_low, difference_high (to `reference`, on the same pairs). NaN for a group that some
    bin has no pair of: a mean of fewer bins would be another quantity.
    """
    frames = {result.name: result.frame() for result in results}
    return _group_frame(frames, list(INPAINTED), bin_names(frames[reference]), reference)


def masks_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Of every row and group: IoU of covered faces, the mean of their kinds; of bare faces the
    share of pixels that was marked, and the share of faces of which more than SPECK was.

    Columns as `inpainted_frame`'s.
    """
    frames = {result.name: result.frame() for result in results}
    bare = frames[reference]["kind"].eq(UNOCCLUDED)
    parts = []
    for metrics, lines in (([IOU], ~bare), ([FALSE, FLAGGED], bare)):
        if lines.any():
            part = {name: frame[lines].reset_index(drop=True) for name, frame in frames.items()}
            part = {name: f.assign(flagged=1.0 * (f[FALSE] > SPECK)) for name, f in part.items()}
            kinds = part[reference]["kind"].to_numpy()
            parts.append(_group_frame(part, metrics, kinds, reference))
    return pd.concat(parts, ignore_index=True)


def _group_frame(
    frames: dict[str, pd.DataFrame], metrics: list[str], strata: np.ndarray, reference: str
) -> pd.DataFrame:
    """A line for each row, group and metric: the mean of the strata's means."""
    values = np.stack([frame[metrics].to_numpy(np.float64) for frame in frames.values()])
    base = values[list(frames).index(reference)]
    flat = np.concatenate([values, paired_difference(values, base)])
    flat = flat.transpose(1, 0, 2).reshape(len(strata), -1)
    images = frames[reference]["image"].to_numpy()
    lines = []
    for by, group, chosen in _groups(people_of(frames[reference])):
        interval = bootstrap_strata(flat[chosen], strata[chosen], images[chosen])[None]
        if len(set(strata[chosen])) < len(set(strata)):
            nothing = np.full_like(interval.mean, np.nan)
            interval = interval._replace(mean=nothing, low=nothing, high=nothing)
        place = {"by": by, "group": group, "people": len(set(images[chosen]))}
        lines += interval_lines(list(frames), place, metrics, interval)
    return pd.DataFrame(lines)


def _groups(people: Sequence[Person]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Label, group and its lines, of everyone first; groups without anybody are left out."""
    yield EVERYONE, EVERYONE, np.ones(len(people), bool)
    for by, groups in GROUPINGS.items():
        found = np.array([getattr(person, by) for person in people])
        for group in groups:
            if (found == group).any():
                yield by, group, found == group


def inpainted_table(frame: pd.DataFrame, model: str, baseline: str | None) -> Table:
    """A model's values, a line a group, beside the baseline's on the same pairs."""
    own, other = (frame[frame["row"].eq(name)] for name in (model, baseline))
    columns = _counted(own, PSNR, "images")
    for metric, (heading, form) in INPAINTED.items():
        columns[f"{heading} [95 %]"] = _intervals(own, metric, form)
        if baseline is not None:
            columns[f"{heading}, {baseline}"] = _numbers(other, metric, form)
    if baseline is not None:
        columns[f"Δ PSNR to {baseline} [95 %]"] = _intervals(own, PSNR, "+.2f", "difference")
    return _table(f"{model}, by group of people", columns)


def masks_table(frame: pd.DataFrame, model: str) -> Table:
    """A segmenter's values, a line a group."""
    own = frame[frame["row"].eq(model)]
    percent = own.assign(**{name: 100 * own[name] for name in ("mean", "low", "high")})
    columns = _counted(own, IOU, "covered faces") | {"IoU [95 %]": _intervals(own, IOU, ".3f")}
    columns |= {
        "bare faces": _numbers(own, FALSE, ".0f", "count"),
        "their pixels marked (%) [95 %]": _intervals(percent, FALSE, ".2f"),
        f"bare faces with more than {SPECK:.0%} marked (%)": _numbers(percent, FLAGGED, ".1f"),
    }
    return _table(f"{model}, by group of people", columns)


Column = dict[str, str]  # group -> text


def _counted(own: pd.DataFrame, metric: str, word: str) -> dict[str, Column]:
    return {
        word: _numbers(own, metric, ".0f", "people"),
        "pairs": _numbers(own, metric, ".0f", "count"),
    }


def _numbers(own: pd.DataFrame, metric: str, form: str, value: str = "mean") -> Column:
    part = own[own["metric"].eq(metric)]
    return {
        group: MISSING if np.isnan(number) else format(number, form)
        for group, number in zip(part["group"], part[value], strict=True)
    }


def _intervals(own: pd.DataFrame, metric: str, form: str, value: str = "mean") -> Column:
    low, high = ("low", "high") if value == "mean" else (f"{value}_low", f"{value}_high")
    means, lows, highs = (_numbers(own, metric, form, name) for name in (value, low, high))
    return {
        group: mean if MISSING in (lows[group], highs[group])
        else f"{mean} [{lows[group]}, {highs[group]}]"
        for group, mean in means.items()
    }  # fmt: skip


def _table(title: str, columns: dict[str, Column]) -> Table:
    groups = [group for names in GROUPINGS.values() for group in names]
    labels = {group: f"{by}: {group}" for by, names in GROUPINGS.items() for group in names}
    found = {group for column in columns.values() for group in column}
    shown = [group for group in (EVERYONE, *groups) if group in found]
    cells = [[Cell(column.get(g, MISSING)) for g in shown] for column in columns.values()]
    return Table(title, ["", *columns], named_rows([labels.get(g, g) for g in shown], cells))
