"""Segmenters compared on frozen occluded pairs: values, tables, figures."""

from collections.abc import Sequence
from pathlib import Path

from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.evaluation.report import Report
from deocclude.engines.evaluation.segmentation_figures import kind_figure, mask_figure
from deocclude.engines.evaluation.segmentation_tables import (
    mask_caption,
    mask_tables,
    summarise_masks,
)
from deocclude.engines.measures.inpainting import Row
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.measures.segmentation import UNOCCLUDED, evaluate_segmenters
from deocclude.engines.report import figures
from deocclude.engines.report.html import pair_facts, save_html
from deocclude.engines.report.tables import choose_reference
from deocclude.engines.report.writers import save_tables, to_markdown

TITLE = "Segmentation"
HEADLINE = 2  # tables: both groups of occluders
FIGURES = {
    "kinds.png": "IoU by kind of occluder, with 95 % bootstrap intervals over faces",
    "masks.png": "Worst, median and best masks of the reference row",
}


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
    tables, lines = mask_tables(results, summary, reference), mask_caption(results, reference)
    lines = [*lines, *remarks]
    files = save_tables(tables, lines, summary, folder, TITLE)
    files["pairs.json"] = folder / "pairs.json"
    pairs.save(files["pairs.json"])
    drawn = _draw(results, summary, pairs, reference, folder / "figures")
    kinds = {result.name: result.info["kind"] for result in results}
    named = {FIGURES[name]: path for name, path in drawn.items()}
    files |= drawn
    files["report.html"] = save_html(
        folder / "report.html", TITLE, lines, tables, facts=pair_facts(results, reference),
        kinds=kinds, reference=reference, figures=named, headline=HEADLINE,
    )  # fmt: skip
    files["values of each image"] = values_folder / "rows"
    return Report(*(to_markdown(part, TITLE, lines) for part in (tables, tables[:HEADLINE])), files)


def _draw(results: Sequence[RowResult], summary, pairs, reference: str, folder: Path):
    models = [result.name for result in results if result.info["kind"] == "model"]
    ordered = sorted(models, key=lambda name: name != reference)  # stable: the reference first
    drawn = {}
    if models and set(summary["group"]) - {UNOCCLUDED}:
        drawn["kinds.png"] = kind_figure(summary, ordered)
    if models:
        drawn["masks.png"] = mask_figure(results, pairs, reference)
    files = {}
    for name, figure in drawn.items():
        files[name] = figures.save(figure, folder / name)
        figures.show(figure)
    return files
