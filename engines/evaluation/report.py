"""One group's comparison from rows to files: values, tables, figures, examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.evaluation.examples import example_figure, restore_examples
from deocclude.engines.evaluation.inpainting_tables import build_tables
from deocclude.engines.evaluation.summaries import summarise
from deocclude.engines.measures.columns import Measure
from deocclude.engines.measures.inpainting import Row, evaluate_rows
from deocclude.engines.report import figures, tables
from deocclude.engines.report.html import pair_facts, save_html
from deocclude.engines.report.writers import save_tables, to_markdown

CURVES = "Each metric against hole area, with 95 % bootstrap intervals of the mean"


@dataclass(frozen=True)
class Report:
    """What a comparison left behind; `headline` is `markdown` as far as PSNR and SSIM."""

    markdown: str
    headline: str
    files: dict[str, Path]


def default_folder(pairs: FrozenPairs, root: Path = Path("runs")) -> Path:
    """Where results on these pairs are kept, so that no row is computed twice."""
    return root / "evaluation" / pairs.hash[:12]


def report(
    rows: Sequence[Row],
    pairs: FrozenPairs,
    folder: Path,
    *,
    reference: str | None = None,
    batch: int = 64,
    device: str | torch.device = "cpu",
    measures: Sequence[Measure] = (),
    title: str = "Evaluation",
    remarks: Sequence[str] = (),
    values_folder: Path | None = None,
) -> Report:
    """Measure `rows` on `pairs` and write everything that compares them into `folder`.

    Files: `rows/*.csv` (a line an image), `pairs.json`, `table.md`, `table.tex`, `summary.csv`,
    `figures/metrics.png`, `figures/examples.png` (worst, median and best image of each bin by the
    reference row's PSNR) and `report.html`, which needs no other file. `values_folder` holds
    `rows/` instead of `folder`, so that several reports share the values. `remarks` stand below
    the caption. Other arguments as in `engines.measures.inpainting.evaluate_rows`.
    """
    values_folder = values_folder or folder
    folder.mkdir(parents=True, exist_ok=True)
    results = evaluate_rows(
        rows, pairs, values_folder, batch=batch, device=device, measures=measures
    )
    reference = tables.choose_reference(results, reference)
    summary = summarise(results, reference)
    lines = [*tables.caption(results, reference), *remarks]
    built = build_tables(results, summary, reference)
    files = save_tables(built, lines, summary, folder, title)
    files["pairs.json"] = folder / "pairs.json"
    pairs.save(files["pairs.json"])
    kinds = {result.name: result.info["kind"] for result in results}
    curves = figures.ratio_figure(summary, kinds, reference=reference)
    files["metrics.png"] = figures.save(curves, folder / "figures" / "metrics.png")
    figures.show(curves)
    examples = restore_examples(rows, results, pairs, reference)
    if examples:
        grid = example_figure(examples, reference)
        files["examples.png"] = figures.save(grid, folder / "figures" / "examples.png")
        figures.show(grid)
    files["report.html"] = save_html(
        folder / "report.html", title, lines, built, facts=pair_facts(results, reference),
        kinds=kinds, reference=reference, figures={CURVES: files["metrics.png"]}, examples=examples,
    )  # fmt: skip
    files["values of each image"] = values_folder / "rows"
    texts = [to_markdown(chosen, title, lines) for chosen in (built, built[:2])]
    return Report(*texts, files)
