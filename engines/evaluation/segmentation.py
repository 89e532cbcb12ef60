"""`evaluate.py segmentation`: segmenters and trivial answers on frozen occluded faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from deocclude.data.occluders.groups import UNOCCLUDED
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.evaluation.compare import Asked, Comparison, Findings, Options
from deocclude.engines.evaluation.segmentation_figures import kind_figure, mask_figure
from deocclude.engines.evaluation.segmentation_tables import mask_caption, mask_tables
from deocclude.engines.evaluation.summaries import choose_reference, kinds_of, summarise_masks
from deocclude.engines.measures.rows import Row
from deocclude.engines.measures.segmentation import (
    constant_rows,
    evaluate_segmenters,
    segmenter_row,
)
from deocclude.engines.report.report import Drawing
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import group_by_occluded
from deocclude.engines.runs.tasks import SEGMENTATION

BARS = "IoU by kind of occluder, with 95 % bootstrap intervals over faces"
MASKS = "Worst, median and best masks of the reference row"


@dataclass(frozen=True)
class MaskOptions(Options):
    """As Options."""

    per_kind: int | None = None


def _groups(options: MaskOptions, device: torch.device) -> list[Asked]:
    members = choose(options, SEGMENTATION)
    return [
        Asked(
            [*segmenter_rows(group.members, device), *constant_rows()],
            group.pairs,
            options.reference,
        )
        for group in group_by_occluded(members, options.data, options.per_kind, options.limit)
    ]


def segmenter_rows(members: Sequence[Trained], device: torch.device) -> list[Row]:
    return [segmenter_row(m.name, m.checkpoint, device, m.training) for m in members]


def find_masks(
    rows: Sequence[Row],
    pairs: FrozenOccluded,
    folder: Path,
    *,
    reference: str | None = None,
    batch: int = 64,
    device: str | torch.device = "cpu",
) -> Findings:
    """Measure `rows`, each on a device of its own. `reference`: the first one by default.

    Figures: IoU by kind, and the worst, median and best masks of the reference row.
    """
    reference = choose_reference(rows, reference)
    results = evaluate_segmenters(rows, pairs, folder, batch=batch)
    summary, kinds = summarise_masks(results, reference), kinds_of(results)
    models = [name for name, kind in kinds.items() if kind == "model"]
    models.sort(key=lambda name: name != reference)  # stable: the reference first
    drawings = {}
    if models and set(summary["group"]) - {UNOCCLUDED}:
        drawings["kinds"] = Drawing(partial(kind_figure, summary, models), BARS)
    if models:
        drawings["masks"] = Drawing(partial(mask_figure, results, pairs, reference), MASKS)
    tables = mask_tables(results, summary, reference)
    lines = mask_caption(results, reference)
    return Findings(results, summary, lines, tables, drawings, kinds, reference)


SEGMENTERS = Comparison("Segmentation", MaskOptions, _groups, find_masks)
