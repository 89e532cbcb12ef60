"""What an ensemble gains: its rows against the best of their members, bin by bin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deocclude.engines.evaluation.summaries import mean_of_bins
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report.tables import (
    MEAN,
    Cell,
    Table,
    bin_label,
    bin_names,
    decimals,
    finite,
    sorted_bins,
)
from deocclude.metrics.seeds import seeded_difference
from deocclude.metrics.statistics import bootstrap_strata, paired_difference
from deocclude.metrics.table import HEADINGS, HIGHER_IS_BETTER

COMPARED = ("psnr", "ssim")
CHOSEN = (
    "The best member of each column by its mean, chosen on these very pairs, which favours it. "
    "Bold: better than that member, the interval excludes zero."
)

SEEDS = "Seeds are drawn as a whole: an ensemble together with the members that it was made from."


@dataclass(frozen=True)
class _Ensemble:
    row: RowResult
    members: tuple[RowResult, ...]


def member_tables(results: Sequence[RowResult]) -> list[Table]:
    """Differences of each ensemble to the best of its members, with 95 % intervals; a table for
    each of PSNR and SSIM, composed, whole image, and one more each where there are several seeds.

    Ensembles of which a member is no row are named in a note; no table when none is left.
    """
    found, lacking = _ensembles(results)
    if not found:
        return []
    frames = {result.name: result.frame() for result in results}
    seeded = any(row.seeds for each in found for row in (each.row, *each.members))
    notes = [CHOSEN]
    if lacking:
        notes.append(f"Left out, as not all members are rows here: {', '.join(lacking)}.")
    tables = []
    for metric in COMPARED:
        tables.append(_table(found, frames, metric, notes))
        if seeded:
            tables.append(_table(found, frames, metric, notes, seeded=True))
    return tables


def _ensembles(results: Sequence[RowResult]) -> tuple[list[_Ensemble], list[str]]:
    """The ensembles all of whose members are rows, and the names of the others."""
    found, lacking = [], []
    for row in results:
        parts = row.seeds or (row,)
        if not all(part.info.get("members") for part in parts):
            continue
        members = tuple(each for each in results if _is_member(each, parts))
        there = {part.info["identity"] for each in members for part in each.seeds or (each,)}
        if all(set(part.info["members"]) <= there for part in parts):
            found.append(_Ensemble(row, members))
        else:
            lacking.append(row.name)
    return found, lacking


def _is_member(row: RowResult, parts: Sequence[RowResult]) -> bool:
    """Whether a row is, or its seeds hold, a member of each of an ensemble's seeds."""
    own = {part.info.get("identity") for part in row.seeds or (row,)}
    return all(own & set(part.info["members"]) for part in parts)


def _table(
    ensembles: Sequence[_Ensemble],
    frames: dict[str, pd.DataFrame],
    metric: str,
    notes: Sequence[str],
    seeded: bool = False,
) -> Table:
    column = f"composed/{metric}"
    base = frames[ensembles[0].row.name]
    strata, images = bin_names(base), base["image"].to_numpy()
    bins = [*sorted_bins(strata), MEAN]
    rows, told = [], {}
    for each in ensembles:
        best = {name: _best(each.members, frames, metric, name, strata) for name in bins}
        intervals = _intervals(each, frames, column, strata, images, seeded)
        cells = [Cell(each.row.name)]
        for name in bins:
            known = intervals.get((best[name], name))
            cells.append(Cell(None) if known is None else _cell(*known, metric))
        rows.append(cells)
        told.setdefault(_words(best), []).append(each.row.name)
    best_notes = []
    for words, names in told.items():
        whose = "" if len(told) == 1 else f" of {', '.join(names)}"
        best_notes.append(f"Best member{whose}: {words}.")
    what = f"{HEADINGS[metric].partition(' (')[0]} of ensembles minus that of their best member"
    how = ", intervals with seeds resampled" if seeded else ""
    drawn = [SEEDS] if seeded else []
    title = f"{what}, composed, whole image{how}"
    return Table(
        title, ["", *(bin_label(name) for name in bins)], rows, [*best_notes, *notes, *drawn]
    )


def _best(
    members: Sequence[RowResult],
    frames: dict[str, pd.DataFrame],
    metric: str,
    name: str,
    strata: np.ndarray,
) -> str | None:
    """The member with the best mean over a bin; None where none has a value."""
    means = {}
    for member in members:
        frame = frames[member.name]
        if name == MEAN:
            mean = mean_of_bins(frame, f"composed/{metric}")
        else:
            values = frame.loc[strata == name, f"composed/{metric}"]
            mean = values[np.isfinite(values)].mean()
        if np.isfinite(mean):
            means[member.name] = mean
    choose = max if HIGHER_IS_BETTER[metric] else min
    return choose(means, key=means.get) if means else None


def _intervals(
    ensemble: _Ensemble,
    frames: dict[str, pd.DataFrame],
    column: str,
    strata: np.ndarray,
    images: np.ndarray,
    seeded: bool,
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """(member, bin) -> mean difference, its low and its high end."""
    own = frames[ensemble.row.name][column].to_numpy(np.float64)
    others = [frames[member.name][column].to_numpy(np.float64) for member in ensemble.members]
    differences = np.stack([paired_difference(own, other) for other in others], axis=1)
    names = [member.name for member in ensemble.members]
    found = {
        (member, MEAN if stratum is None else stratum): (
            interval.mean[i], interval.low[i], interval.high[i],
        )
        for stratum, interval in bootstrap_strata(differences, strata, images).items()
        for i, member in enumerate(names)
    }  # fmt: skip
    if seeded:
        for member in ensemble.members:
            apart = _seed_differences(ensemble.row, member, column)
            ends = seeded_difference(apart, np.zeros_like(apart[:1]), strata, images)
            for stratum, (low, high) in ends.items():
                key = member.name, MEAN if stratum is None else stratum
                found[key] = (found[key][0], low[0], high[0])
    return found


def _seed_differences(row: RowResult, member: RowResult, column: str) -> np.ndarray:
    """(S, N, 1): what each seed's ensemble is ahead of its own member, so that both are drawn
    together when seeds are."""
    own = {part.info["identity"]: part for part in member.seeds or (member,)}
    values = {name: part.frame()[[column]].to_numpy(np.float64) for name, part in own.items()}
    differences = []
    for part in row.seeds or (row,):
        other = next(values[name] for name in part.info["members"] if name in values)
        differences.append(paired_difference(part.frame()[[column]].to_numpy(np.float64), other))
    return np.stack(differences)


def _cell(mean: float, low: float, high: float, metric: str) -> Cell:
    """Marked where it is better than the member and the interval excludes zero."""
    better = low > 0 if HIGHER_IS_BETTER[metric] else high < 0
    form = decimals(metric, "+")
    ends = f"{{value:{form}}} [{{low:{form}}}, {{high:{form}}}]"
    numbers = [finite(number) for number in (mean, low, high)]
    return Cell(*numbers, form=ends, best=bool(better and np.isfinite(mean)))


def _words(best: dict[str, str | None]) -> str:
    """Each member with the columns in which it is the best."""
    columns: dict[str, list[str]] = {}
    for name, member in best.items():
        if member is not None:
            columns.setdefault(member, []).append(bin_label(name))
    return "; ".join(_listed(member, labels, len(best)) for member, labels in columns.items())


def _listed(member: str, labels: Sequence[str], count: int) -> str:
    return member if len(labels) == count else f"{member} ({', '.join(labels)})"
