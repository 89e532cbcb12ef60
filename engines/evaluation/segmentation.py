"""`evaluate.py segmentation` and `evaluate.py end-to-end`: options in, reports out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from deocclude.data.occluders.groups import UNOCCLUDED
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.evaluation.segmentation_figures import kind_figure, mask_figure
from deocclude.engines.evaluation.segmentation_tables import mask_caption, mask_tables
from deocclude.engines.evaluation.suites import Suite, suite_of
from deocclude.engines.evaluation.summaries import choose_reference, pair_facts, summarise_masks
from deocclude.engines.measures.end_to_end import DILATIONS
from deocclude.engines.measures.rows import Row, RowResult
from deocclude.engines.measures.segmentation import (
    constant_rows,
    evaluate_segmenters,
    segmenter_row,
)
from deocclude.engines.report.report import Drawing, Report, write_report
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import SEGMENTATION, Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import default_folder, group_by_occluded

logger = logging.getLogger(__name__)

TITLE = "Segmentation"
BARS = "IoU by kind of occluder, with 95 % bootstrap intervals over faces"
MASKS = "Worst, median and best masks of the reference row"


@dataclass(frozen=True)
class MaskOptions:
    """What to compare, on what, and how: the options of both commands, and `share_values`.

    `dilate` counts end to end only, `remarks` for segmenters only. `share_values` and `remarks` as
    in `engines.evaluation.inpainting.Options`.
    """

    runs: list[str] | None = None
    all_runs: bool = False
    suite: Path | None = None
    checkpoint: list[Path] = field(default_factory=list)
    reference: str | None = None
    data: Path | None = None
    per_kind: int | None = None
    limit: int | None = None
    dilate: tuple[int, ...] = DILATIONS
    output: Path | None = None
    runs_folder: Path = Path("runs")
    batch: int = 64
    device: str = "auto"
    share_values: bool = False
    remarks: tuple[str, ...] = ()


def compare_segmenters(options: MaskOptions) -> list[Report]:
    """Segmenters and trivial answers: a report for each group that shares its pairs.

    Raises ValueError or FileNotFoundError that says what is missing and which command makes it.
    """
    suite = suite_of(options)
    if suite is not None and suite.tables:
        chosen = [_table_options(options, suite, table) for table in suite.tables]
        return [each for part in chosen for each in compare_segmenters(part)]
    members = choose(options, SEGMENTATION, suite)
    groups = group_by_occluded(members, options.data, options.per_kind, options.limit)
    device = resolve_device(options.device)
    reports = []
    for group in groups:
        reports.append(
            segmentation_report(
                [*segmenter_rows(group.members, device), *constant_rows()],
                group.pairs,
                report_folder(options, group.pairs, len(groups) > 1),
                reference=options.reference or (suite.reference if suite else None),
                batch=options.batch,
                remarks=options.remarks,
                values_folder=values_folder_of(options, group.pairs),
            )
        )
    return reports


def _table_options(options: MaskOptions, suite: Suite, table: Suite) -> MaskOptions:
    """The options of one table of a suite of several; the values of each image stay shared."""
    folder = options.output or options.runs_folder / "evaluation" / suite.folder
    return replace(
        options,
        suite=None,
        runs=list(table.runs),
        reference=options.reference or table.reference,
        output=folder / table.name,
        share_values=True,
    )


def segmenter_rows(members: list[Trained], device) -> list[Row]:
    return [segmenter_row(m.name, m.checkpoint, device, m.training) for m in members]


def report_folder(
    options: MaskOptions, pairs: FrozenOccluded, several: bool, part: str = ""
) -> Path:
    if options.output is None:
        return default_folder(pairs, options.runs_folder) / part
    return options.output / pairs.hash[:12] if several else options.output


def values_folder_of(options: MaskOptions, pairs: FrozenOccluded) -> Path | None:
    own = options.output is None or options.share_values
    return default_folder(pairs, options.runs_folder) if own else None


def segmentation_report(
    rows: Sequence[Row],
    pairs: FrozenOccluded,
    folder: Path,
    *,
    reference: str | None = None,
    batch: int = 64,
    remarks: Sequence[str] = (),
    values_folder: Path | None = None,
) -> Report:
    """Measure `rows` on `pairs` and write everything that compares them into `folder`.

    Files: `rows/*.csv` (a line an image), `pairs.json`, `table.md`, `table.tex`, `summary.csv`,
    `figures/kinds.png` (IoU by kind) and `figures/masks.png` (worst, median and best masks of the
    reference row) and `report.html`, which needs no other file. `reference` is the first model by
    default; `remarks` stand below the caption. `values_folder` holds `rows/` instead of `folder`,
    so that several reports share the values.
    """
    values_folder = values_folder or folder
    folder.mkdir(parents=True, exist_ok=True)
    results = evaluate_segmenters(rows, pairs, values_folder, batch=batch)
    reference = choose_reference(results, reference)
    summary = summarise_masks(results, reference)
    return write_report(
        folder, TITLE, [*mask_caption(results, reference), *remarks],
        mask_tables(results, summary, reference), {"summary": summary},
        drawings=_drawings(results, summary, pairs, reference), pairs=pairs,
        measured=values_folder / "rows", facts=pair_facts(results, reference),
        kinds={result.name: result.info["kind"] for result in results}, reference=reference,
    )  # fmt: skip


def _drawings(
    results: Sequence[RowResult], summary, pairs: FrozenOccluded, reference: str
) -> dict[str, Drawing]:
    models = [result.name for result in results if result.info["kind"] == "model"]
    ordered = sorted(models, key=lambda name: name != reference)  # stable: the reference first
    drawn = {}
    if models and set(summary["group"]) - {UNOCCLUDED}:
        drawn["kinds"] = Drawing(partial(kind_figure, summary, ordered), BARS)
    if models:
        drawn["masks"] = Drawing(partial(mask_figure, results, pairs, reference), MASKS)
    return drawn
