"""One group's comparison from rows to files: values, tables, figures, examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.contract import compose, hide
from data.pairs import FrozenPairs
from data.transforms import to_tensor, to_uint8
from engines import figures, tables
from engines.evaluation import Row, evaluate_rows
from engines.lpips import LpipsChoice
from engines.picture_grid import picture_grid
from engines.row_files import RowResult
from engines.table_writers import save_tables, to_markdown

RANKS = ("worst", "median", "best")


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
    lpips: LpipsChoice | None = None,
    as_published: bool = False,
    title: str = "Evaluation",
    remarks: Sequence[str] = (),
    values_folder: Path | None = None,
) -> Report:
    """Measure `rows` on `pairs` and write everything that compares them into `folder`.

    Files: `rows/*.csv` (a line an image), `pairs.json`, `table.md`, `table.tex`, `summary.csv`,
    `figures/metrics.png` and `figures/examples.png` (worst, median and best image of each bin by
    the reference row's PSNR). `values_folder` holds `rows/` instead of `folder`, so that several
    reports share the values. `remarks` stand below the caption. Other arguments as in
    `engines.evaluation.evaluate_rows`.
    """
    values_folder = values_folder or folder
    folder.mkdir(parents=True, exist_ok=True)
    results = evaluate_rows(
        rows, pairs, values_folder, batch=batch, device=device, lpips=lpips,
        as_published=as_published,
    )  # fmt: skip
    reference = tables.choose_reference(results, reference)
    summary = tables.summarise(results, reference)
    lines = [*tables.caption(results, reference), *remarks]
    built = tables.build_tables(results, summary, reference)
    files = save_tables(built, lines, summary, folder, title)
    files["pairs.json"] = folder / "pairs.json"
    pairs.save(files["pairs.json"])
    kinds = {result.name: result.info["kind"] for result in results}
    curves = figures.ratio_figure(summary, kinds)
    files["metrics.png"] = figures.save(curves, folder / "figures" / "metrics.png")
    grid = example_figure(rows, results, pairs, reference)
    files["examples.png"] = figures.save(grid, folder / "figures" / "examples.png")
    for figure in (curves, grid):
        figures.show(figure)
    files["values of each image"] = values_folder / "rows"
    texts = [to_markdown(chosen, title, lines) for chosen in (built, built[:2])]
    return Report(*texts, files)


def choose_examples(frame, column: str = "composed/psnr") -> list[tuple[str, str, int]]:
    """(bin, rank, index) of the worst, median and best image of each bin; fewer in a small bin."""
    bins = tables.bin_names(frame)
    chosen = []
    for name in sorted(set(bins), key=list(tables.BIN_LABELS).index):
        order = frame[bins == name].sort_values(column, kind="stable")["index"].tolist()
        places = dict(zip(RANKS, (0, (len(order) - 1) // 2, len(order) - 1), strict=True))
        taken: set[int] = set()
        for rank, place in places.items():
            if place not in taken:
                chosen.append((name, rank, order[place]))
                taken.add(place)
    return chosen


def example_figure(
    rows: Sequence[Row], results: Sequence[RowResult], pairs: FrozenPairs, reference: str
):
    """Input, mask, each row's restored picture and the target, PSNR below each picture."""
    frames = {result.name: result.frame().set_index("index") for result in results}
    chosen = choose_examples(frames[reference].reset_index())
    indices = [index for _, _, index in chosen]
    images, masks = zip(*(pairs.load(index) for index in indices), strict=True)
    target, mask = to_tensor(np.stack(images)), to_tensor(np.stack(masks))
    columns = {"input": to_uint8(hide(target, mask)), "mask": np.stack(masks)}
    captions: list[list[str | None]] = [[None, None] for _ in indices]
    for row in rows:
        if row.name == "Occluded input":  # the first column
            continue
        restorer = row.open()
        occluded = hide(target, mask, restorer.fill)
        prediction = restorer.restore(occluded, mask).cpu()
        columns[row.name] = to_uint8(compose(prediction, occluded, mask))
        for caption, index in zip(captions, indices, strict=True):
            caption.append(f"{frames[row.name].loc[index, 'composed/psnr']:.1f} dB")
    columns["target"] = np.stack(images)
    for caption in captions:
        caption.append(None)
    grid = [[column[i] for column in columns.values()] for i in range(len(indices))]
    labels = [f"{tables.BIN_LABELS[name]}\n{rank}" for name, rank, _ in chosen]
    groups = [name for name, _, _ in chosen]
    return picture_grid(grid, list(columns), labels, captions, group=groups.count(groups[0]))
