"""End-to-end tables, made from the per-image CSVs of `engines.measures.end_to_end` alone."""

import numpy as np
import pandas as pd

from deocclude.data.occluders.groups import OCCLUDED, UNOCCLUDED
from deocclude.engines.evaluation.segmentation_tables import group_title
from deocclude.engines.evaluation.summaries import CASE
from deocclude.engines.inference.baselines import LABELS
from deocclude.engines.measures.end_to_end import BLIND, METRICS, TRUE
from deocclude.engines.report.tables import (
    REFERENCE,
    Cell,
    Table,
    decimals,
    finite,
    mark_best,
    table_of,
)
from deocclude.metrics.image import HIGHER_IS_BETTER

SHORT = {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "L1"}


class Summary:
    """Look-ups in what `summarise_cases` made; names in the order of the cases."""

    def __init__(self, frame: pd.DataFrame, held_out: bool = True) -> None:
        self.held_out = held_out
        self.groups = list(dict.fromkeys(frame["group"]))
        self.inpainters = list(dict.fromkeys(frame["inpainter"]))
        masks = dict.fromkeys(mask for mask in frame["mask"] if mask not in (TRUE, BLIND))
        self.segmenters = list(masks)
        self.lines = frame.set_index([*CASE]).to_dict("index")
        self.blind = [BLIND] if BLIND in set(frame["mask"]) else []

    def line(self, inpainter: str, mask: str, group: str, metric: str, dilation: int = 0):
        """The numbers of one line, or None."""
        return self.lines.get((inpainter, mask, dilation, group, metric))

    def title(self, group: str) -> str:
        """A group's name inside of a title."""
        title = group_title(group, self.held_out)
        return title[0].lower() + title[1:]

    def dilations(self, inpainter: str, mask: str) -> list[int]:
        """Every dilation that this case was measured with."""
        return sorted({key[2] for key in self.lines if key[:2] == (inpainter, mask)})


def psnr_table(summary: Summary, group: str) -> Table:
    """Inpainters by mask: PSNR of the whole picture."""
    columns = []
    for mask, title in {TRUE: TRUE, **_mask_titles(summary)}.items():
        lines = [summary.line(row, mask, group, "image/psnr") for row in summary.inpainters]
        columns.append((title, mark_best([_mean(line, "psnr") for line in lines], True)))
    title = f"PSNR (dB), composed, whole image, by mask: {summary.title(group)}"
    return table_of(title, summary.inpainters, columns, higher=True)


def _mask_titles(summary: Summary) -> dict[str, str]:
    """What a column is called, by its mask; the true one aside."""
    found = {name: f"mask of {name}" for name in summary.segmenters}
    return found | {name: name for name in summary.blind}


def loss_table(summary: Summary, group: str) -> Table:
    """What each segmenter's mask costs each inpainter against the true mask, in dB."""
    masks, rows = _mask_titles(summary), []
    for inpainter in summary.inpainters:
        if summary.line(inpainter, TRUE, group, "image/psnr"):
            lines = [summary.line(inpainter, mask, group, "image/psnr") for mask in masks]
            rows.append([Cell(inpainter), *(_loss(line, "psnr") for line in lines)])
    title = f"Loss in PSNR from not knowing the mask (dB) [95 %]: {summary.title(group)}"
    return Table(title, ["", *masks.values()], rows, higher=False)


def detail_table(summary: Summary, group: str) -> Table:
    """Every case without dilation: all metrics of the whole picture and of the true hole."""
    cases = [
        (inpainter, mask)
        for inpainter in summary.inpainters
        for mask in (TRUE, *summary.segmenters, BLIND)
        if summary.line(inpainter, mask, group, "image/psnr")
    ]
    columns = []
    for view, where in (("image", ""), ("hole", ", hole")):
        for metric in METRICS:
            found = [summary.line(*case, group, f"{view}/{metric}") for case in cases]
            cells = mark_best([_mean(line, metric) for line in found], HIGHER_IS_BETTER[metric])
            columns.append((f"{SHORT[metric]}{where}", cells))
            if len(columns) == 1:
                losses = [
                    REFERENCE if mask == TRUE else _loss(line, metric)
                    for (_, mask), line in zip(cases, found, strict=True)
                ]
                columns.append(("loss (dB) [95 %]", losses))
    title = f"Every inpainter with every mask: {summary.title(group)}"
    names = [case_name(*case) for case in cases]
    return table_of(title, names, columns, _notes(summary, cases, group))


def case_name(inpainter: str, mask: str) -> str:
    """A case as a table's line is called."""
    if inpainter == LABELS["occluded"]:
        return inpainter
    if mask in (TRUE, BLIND):
        return f"{inpainter}, {mask}"
    return f"{inpainter}, mask of {mask}"


def _notes(summary: Summary, cases: list[tuple[str, str]], group: str) -> list[str]:
    notes = []
    for case in cases:
        line = summary.line(*case, group, "image/psnr")
        if line["infinite"]:
            notes.append(
                f"{case_name(*case)}: {line['infinite']} exactly restored images have infinite "
                "PSNR and are not part of its means."
            )
    return notes


def dilation_table(summary: Summary, group: str, size: int) -> Table | None:
    """PSNR by the dilation of the mask, best of each line marked; None when none was dilated."""
    cases = [
        (inpainter, mask)
        for inpainter in summary.inpainters
        for mask in (TRUE, *summary.segmenters)
        if len(summary.dilations(inpainter, mask)) > 1
    ]
    if not cases:
        return None
    radii = summary.dilations(*cases[0])
    rows = []
    for case in cases:
        found = [summary.line(*case, group, "image/psnr", radius) for radius in radii]
        cells = mark_best([_mean(line, "psnr") for line in found], True)
        rows.append([Cell(case_name(*case)), *cells])
    shares = [f"{radius} px ({radius / size:.1%})" if radius else "0 px" for radius in radii]
    title = f"PSNR (dB) by dilation of the mask: {summary.title(group)}"
    note = f"Pixels at {size} px; in brackets the share of the side. Euclidean discs."
    return Table(title, ["", *shares], rows, [note], higher=True)


def harm_table(summary: Summary) -> Table | None:
    """What is done to faces with nothing on them: mean absolute change; None without such faces."""
    if UNOCCLUDED not in summary.groups:
        return None
    masks, rows = _mask_titles(summary), []
    for inpainter in summary.inpainters:
        found = [summary.line(inpainter, mask, UNOCCLUDED, "image/l1") for mask in masks]
        if any(found):
            cells = [Cell(255 * line["mean"] if line else None, form=".2f") for line in found]
            rows.append([Cell(inpainter), *cells])
    title = "Faces with nothing on them: mean absolute change in grey levels of 255 (0 is right)"
    return Table(title, ["", *masks.values()], rows)


def _mean(line: dict | None, metric: str) -> Cell:
    return Cell(line["mean"] if line else None, form=decimals(metric))


def _loss(line: dict | None, metric: str) -> Cell:
    """What a mask costs, with its interval where it has one."""
    numbers = [finite(line[key]) if line else None for key in ("loss", "loss_low", "loss_high")]
    ends = numbers[1:] if np.isfinite(np.array(numbers, float)).all() else (None, None)
    return Cell(numbers[0], *ends, decimals(metric, "+"))


def end_to_end_tables(frame: pd.DataFrame, size: int, held_out: bool = True) -> list[Table]:
    """PSNR by mask and its loss for each group first, then everything else.

    `held_out` as in FrozenOccluded.
    """
    summary = Summary(frame, held_out)
    groups = [group for group in OCCLUDED if group in summary.groups]
    tables = [make(summary, group) for group in groups for make in (psnr_table, loss_table)]
    tables += [dilation_table(summary, group, size) for group in groups]
    tables += [detail_table(summary, group) for group in groups]
    return [table for table in (*tables, harm_table(summary)) if table is not None]
