"""`evaluate.py end-to-end`: inpainters with true and found masks on frozen occluded pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from deocclude.data.images import to_tensor, to_uint8
from deocclude.data.occluders.groups import OCCLUDED, REAL, UNOCCLUDED, groups_of
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.evaluation.compare import Asked, Comparison, Findings
from deocclude.engines.evaluation.end_to_end_tables import end_to_end_tables
from deocclude.engines.evaluation.overlap import fitting_inpainters
from deocclude.engines.evaluation.segmentation import MaskOptions, segmenter_rows
from deocclude.engines.evaluation.segmentation_figures import ranked
from deocclude.engines.evaluation.segmentation_tables import faces_only
from deocclude.engines.evaluation.suites import Suite, suite_of
from deocclude.engines.evaluation.summaries import summarise_cases
from deocclude.engines.inference.baselines import BaselinePool, parse_baselines
from deocclude.engines.inference.hole_mask import DILATION
from deocclude.engines.measures.end_to_end import (
    BLIND,
    DILATIONS,
    NO_MASK,
    TRUE,
    TRUE_MASK,
    Case,
    MaskSource,
    evaluate_cases,
    found_masks,
    plan_cases,
    restore,
    used_masks,
)
from deocclude.engines.measures.inpainting import baseline_row, fitted_to, model_row
from deocclude.engines.measures.rows import Row, RowResult
from deocclude.engines.measures.segmentation import evaluate_segmenters
from deocclude.engines.report.grids import picture_grid
from deocclude.engines.report.report import Drawing, pairs_line
from deocclude.engines.report.tables import ALL
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose_both
from deocclude.engines.runs.pairs import group_by_occluded
from deocclude.engines.runs.tasks import INPAINTING, SEGMENTATION

if TYPE_CHECKING:  # since Python 3.11
    from typing import Self

BASELINES, UNTOUCHED = "telea,ppca", "occluded"
EACH = 2  # pictures of each rank in a figure


@dataclass(frozen=True)
class EndToEndOptions(MaskOptions):
    """As MaskOptions.

    Attributes:
        baselines: which of them meet the same masks, beside the occluded picture as it is.
        dilate: by how many pixels masks are grown.
        size: side of the pairs in pixels, by default each segmenter's own.
    """

    baselines: str = BASELINES
    dilate: Sequence[int] = DILATIONS
    size: int | None = None

    def of_tables(self, suite: Suite) -> list[Self]:
        """All tables together: a suite may serve other comparisons too."""
        return [self]


class Rows(NamedTuple):
    """What is combined."""

    inpainters: Sequence[Row]
    segmenters: Sequence[Row]


def _groups(options: EndToEndOptions, device: torch.device) -> list[Asked]:
    """Of the task that `runs`, `suite` and `checkpoint` do not name, the finished runs are taken.

    Inpainters of another size or alignment than the pairs' are left out, and so are those that were
    trained on one of the faces; the report says so, and where that cannot be checked.
    """
    suite = suite_of(options)
    chosen = choose_both(options if suite is None else replace(options, runs=list(suite.runs)))
    segmenters, found, reasons = chosen[SEGMENTATION], [], []
    frozen = (options.data, options.per_kind, options.limit, options.size)
    for group in group_by_occluded(segmenters, *frozen):
        if group.pairs.load(0)[0] is None:
            reasons.append(f"{group.faces} holds no clean pictures to compare restored ones with.")
            continue
        fit, remarks = fitting_inpainters(chosen[INPAINTING], group)
        reasons += remarks
        remarks += [
            f"{member.name} looks at {member.data.size} px: pictures are resized to that, and the "
            "probabilities back."
            for member in group.members
            if member.data.size != group.pairs.size
        ]
        if fit:
            inpainters = [model_row(m.name, m.checkpoint, device, m.training) for m in fit]
            rows = Rows(inpainters, segmenter_rows(group.members, device))
            reference = options.reference or _reference(suite, fit)
            more = {"dilations": options.dilate, "names": parse_baselines(options.baselines)}
            more["cache"] = options.runs_folder / ".cache"
            found.append(Asked(rows, group.pairs, reference, remarks=remarks, more=more))
    if not found:
        raise ValueError("no inpainter fits a segmenter: " + " ".join(dict.fromkeys(reasons)))
    return found


def find_restored(
    rows: Rows,
    pairs: FrozenOccluded,
    folder: Path,
    *,
    reference: str | None = None,
    batch: int = 64,
    device: str | torch.device = "cpu",
    dilations: Sequence[int] = DILATIONS,
    names: Sequence[str] = ("telea",),
    cache: Path | None = None,
) -> Findings:
    """Measure every inpainter, and the baselines of these `names`, with every mask.

    `cache`: where what is fitted to training faces is kept, else `folder`. The figure shows the
    inpainter `reference` (by default the first) with the true mask, the best segmenter's, and
    blind.
    """
    shown = choose_inpainter(rows.inpainters, reference)
    masks = evaluate_segmenters(rows.segmenters, pairs, folder, batch=batch)
    quality = {result.name: mean_iou(result) for result in masks}
    sources = [found_masks(result) for result in masks]
    best = max(sources, key=lambda source: quality[source.name][ALL])
    names, faces, said = fitted_to([n for n in names if n != UNTOUCHED], pairs, cache or folder)
    with BaselinePool(1, faces) as pool:
        baselines = [baseline_row(name, pool) for name in names]
        cases = plan_cases(rows.inpainters, baselines, sources, dilations, best)
        cases.append(Case(baseline_row(UNTOUCHED, pool), NO_MASK))
        results = evaluate_cases(cases, pairs, folder, batch=batch, device=device)
    summary = summarise_cases(results)
    figure, drawings = example_figure(shown, best, results, pairs), {}
    if figure is not None:
        words = f"{shown.name} with the true mask, {best.name}'s, and none"
        drawings["end_to_end"] = Drawing(figure, words)
    tables = end_to_end_tables(summary, pairs.size, pairs.held_out)
    lines = [*end_to_end_caption(results, quality, best.name), *said]
    return Findings(results, summary, lines, tables, drawings)


def choose_inpainter(rows: Sequence[Row], wanted: str | None) -> Row:
    """The row called `wanted` (any case), else the first one. ValueError lists the rows."""
    if wanted is None:
        return rows[0]
    for row in rows:
        if row.name.lower() == wanted.lower():
            return row
    names = ", ".join(row.name for row in rows)
    raise ValueError(f"reference {wanted!r} is not an inpainter here; inpainters: {names}")


def mean_iou(result: RowResult) -> dict[str, float]:
    """Mean IoU over the occluded images of each group, and of all of them."""
    frame = result.frame()
    groups = groups_of(frame)
    means = {ALL: float(frame["iou"].mean())}
    for group in OCCLUDED:
        if group in groups:
            means[group] = float(frame.loc[groups == group, "iou"].mean())
    return means


def end_to_end_caption(
    results: Sequence[RowResult],
    quality: dict[str, dict],
    best: str,
) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    images = results[0].frame()["image"].nunique()
    ious = "; ".join(
        f"{name} " + ", ".join(f"{v:.3f} ({group})" for group, v in means.items() if group != ALL)
        for name, means in quality.items()
    )
    return [
        pairs_line(info["count"], f"of {images} faces", key["size"], info["pairs"], key["pairs"]),
        f"Mean IoU of the masks: {ious}.",
        "The inpainter sees the occluded picture hidden by the mask it is given; its answer is "
        "composed into the occluded picture, so what the mask misses of the occluder stays. Blind: "
        "the picture as it is with an empty mask, the whole prediction measured; no inpainter here "
        "was trained for that. Hole: the pixels of the true mask.",
        f"Dilated are the true mask and that of {best}, the segmenter with the best mean IoU.",
        "Found masks are where the probability is above 0.5, as it comes from the segmenter; "
        "deocclude.py also smooths it, drops specks, fills gaps and dilates by "
        f"{DILATION:.0%} of the side.",
        "Loss: PSNR with the true mask minus PSNR with this one, same inpainter and pairs, with "
        "its 95 % bootstrap interval over faces, each with all its occluders (Efron and Tibshirani "
        "1993). Bold: best of the column; in the table of dilations, of the line.",
        *faces_only(results),
    ]


def example_figure(shown: Row, best: MaskSource, results: Sequence[RowResult], pairs):
    """Where the found mask costs most, the median and least; real occluders if there are any.

    None when no occluded pair has a finite loss.
    """
    frames = {
        result.info["mask"]: result.frame()
        for result in results
        if result.info["inpainter"] == shown.name and result.info["dilation"] == 0
    }
    chosen = choose_losses(frames[TRUE], frames[best.name])
    if not chosen:
        return None
    indices = [index for _, index in chosen]
    parts = zip(*(pairs.load(index) for index in indices), strict=True)
    target, occluded, mask = (np.stack(part) for part in parts)
    tensor, true = to_tensor(occluded), to_tensor(mask)
    restorer = shown.open()
    columns = {"input": occluded, "true mask": mask}
    restored, captions = {}, [[None] * 3 for _ in indices]
    for title, source in {"true": TRUE_MASK, "found": best, BLIND: NO_MASK}.items():
        case = Case(shown, source)
        used = used_masks(case, indices, true)
        if source is best:
            columns[f"{best.name}'s mask"] = used[:, 0].numpy().astype(np.uint8)
        restored[title] = to_uint8(restore(restorer, case, tensor, used))
        for caption, index in zip(captions, indices, strict=True):
            caption.append(f"{frames[source.name].loc[index, 'image/psnr']:.1f} dB")
    columns |= {"with the true": restored["true"], "with the found": restored["found"]}
    columns |= {BLIND: restored[BLIND], "target": target}
    kinds = [pairs.pairs[index].kind.replace("_", "\n") for index in indices]
    grid = [[column[i] for column in columns.values()] for i in range(len(indices))]
    labels = [f"{rank}\n{kind}" for (rank, _), kind in zip(chosen, kinds, strict=True)]
    return picture_grid(grid, list(columns), labels, [[*row, None] for row in captions])


def choose_losses(true, found, each: int = EACH) -> list[tuple[str, int]]:
    """(rank, index) of the pictures that lose most, the median and least; see `example_figure`."""
    groups = groups_of(true)
    losses = (true["image/psnr"] - found["image/psnr"])[
        (groups == REAL) if (groups == REAL).any() else (groups != UNOCCLUDED)
    ]
    order = losses[np.isfinite(losses)].sort_values(ascending=False, kind="stable").index.tolist()
    return ranked(order, each)


def _reference(suite: Suite | None, inpainters: list[Trained]) -> str | None:
    """The suite's reference if it is an inpainter: a suite may serve both commands."""
    names = [member.name.lower() for member in inpainters]
    known = suite is not None and (suite.reference or "").lower() in names
    return suite.reference if known else None


END_TO_END = Comparison("End to end", EndToEndOptions, _groups, find_restored, "end_to_end")
