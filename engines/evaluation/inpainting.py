"""The whole of `evaluate.py`: options in, a report for each set of frozen pairs out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from deocclude.data.pairs.holes import FrozenPairs, ShapedPairs
from deocclude.data.sources.root import data_root
from deocclude.engines.evaluation import summaries as evaluation_summaries
from deocclude.engines.evaluation.examples import example_figure, restore_examples
from deocclude.engines.evaluation.inpainting_tables import build_tables
from deocclude.engines.evaluation.seeds import fold_seeds, recipe_row, reference_among, single
from deocclude.engines.evaluation.suites import Suite, suite_of
from deocclude.engines.evaluation.summaries import pair_facts, summarise
from deocclude.engines.inference.baselines import BaselinePool, parse_baselines
from deocclude.engines.inference.hole_mask import DILATION, dilate
from deocclude.engines.measures import dlib_similarity
from deocclude.engines.measures.choice import choose_measures
from deocclude.engines.measures.columns import FID, Measure
from deocclude.engines.measures.inpainting import baseline_row, evaluate_rows
from deocclude.engines.measures.rows import Row
from deocclude.engines.report import figures
from deocclude.engines.report.report import Drawing, Report, write_report
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.config import Data
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose_inpainters
from deocclude.engines.runs.pairs import Group, default_folder

logger = logging.getLogger(__name__)

SHAPED = (
    "Holes have the shape of held-out cut-outs (drawn occluders without a folder of these), clear "
    f"eyeglasses left out, dilated by {DILATION:.0%} of the side as in photos; around them the "
    "face is known. Curves against hole area are left out."
)
CURVES = "Each metric against hole area, with 95 % bootstrap intervals of the mean"


@dataclass(frozen=True)
class Options:
    """What to compare, on what, and how: `evaluate.py`'s options, `share_values`, and what is said
    above the tables: `title`, `remarks`.

    With `share_values` the values of each image lie where a comparison without `output` keeps them,
    whatever `output` is, so that neither computes what the other has.
    """

    runs: list[str] | None = None
    all_runs: bool = False
    fold_seeds: bool = False
    suite: Path | None = None
    checkpoint: list[Path] = field(default_factory=list)
    baselines: str | None = None
    reference: str | None = None
    data: Path | None = None
    images: Path | None = None
    masks: Path | None = None
    holes: str = "masks"
    pair_by_order: bool = False
    invert_mask: bool = False
    size: int | None = None
    per_bin: int | None = None
    limit: int | None = None
    output: Path | None = None
    runs_folder: Path = Path("runs")
    batch: int = 64
    workers: int | None = None
    device: str = "auto"
    lpips: str = "auto"
    lpips_weights: list[str] = field(default_factory=list)
    identity: str = "auto"
    fid: str = "auto"
    inception_weights: Path | None = None
    legacy_metrics: bool = False
    flip: bool = False
    share_values: bool = False
    title: str | None = None
    remarks: tuple[str, ...] = ()


def compare(options: Options, measures: list[Measure] | None = None) -> list[Report]:
    """Compare runs, weights files and baselines: a report for each group that shares its pairs.

    A suite of several tables gives the reports of each, with the same `measures`, which are those
    that the options ask for by default. Raises ValueError or FileNotFoundError that
    says what is missing and which command makes it.
    """
    suite = suite_of(options)
    if suite is not None and suite.tables:
        chosen = [_table_options(options, suite, table) for table in suite.tables]
        measures = _measures(options)
        return [each for part in chosen for each in compare(part, measures)]
    if suite is not None:
        fitted = _fitted(options, suite, suite)
        options = replace(options, checkpoint=[*options.checkpoint, *fitted])
    members = choose_inpainters(options, suite)
    names = _baseline_names(options, suite)
    if not members and not names:
        raise ValueError("nothing to compare: neither runs nor baselines were chosen")
    groups = _groups(options, members)
    device = resolve_device(options.device)
    measures = _measures(options) if measures is None else measures
    if len(groups) > 1:
        logger.info("the runs have %d different sets of test pairs: a table each", len(groups))
    reports = []
    with BaselinePool(options.workers) as pool:
        for group in groups:
            reports.append(
                _report(options, suite, group, names, pool, device, measures, len(groups) > 1)
            )
    return reports


def _measures(options: Options) -> list[Measure]:
    return choose_measures(
        options.lpips,
        options.lpips_weights,
        options.identity,
        options.fid,
        options.inception_weights,
        options.legacy_metrics,
        options.runs_folder,
        resolve_device(options.device),
    )


def _table_options(options: Options, suite: Suite, table: Suite) -> Options:
    """The options of one table of a suite; the values of each image stay shared."""
    folder = options.output or options.runs_folder / "evaluation" / suite.folder
    return replace(
        options,
        suite=None,
        runs=list(table.runs) or ["none"],
        checkpoint=[*options.checkpoint, *_fitted(options, suite, table)],
        baselines=options.baselines or ",".join(table.baselines) or "none",
        reference=options.reference or table.reference,
        output=folder / table.name,
        share_values=True,
        title=f"Evaluation: {suite.name}, {table.name}",
    )


def _fitted(options: Options, suite: Suite, table: Suite) -> list[Path]:
    """The files of a table's ensembles, which `python -m engines.suite` wrote for the suite."""
    folder = suite.made_in(options.runs_folder)
    return [file for each in table.ensembles for file in each.files(folder, options.fold_seeds)]


def _baseline_names(options: Options, suite: Suite | None) -> tuple[str, ...]:
    if options.baselines is not None or suite is None:
        return parse_baselines(options.baselines or "all")
    return suite.baselines


def _groups(options: Options, members: list[Trained]) -> list[Group]:
    if options.images is not None:
        return runs_pairs.group_by_folders(
            members,
            options.images,
            options.masks,
            options.size,
            options.pair_by_order,
            options.invert_mask,
            options.limit,
        )
    grow = _grown if options.holes == "occluders" else None
    if members:
        return runs_pairs.group_by_pairs(
            members,
            options.data,
            options.size,
            options.per_bin,
            options.limit,
            options.invert_mask,
            grow,
        )
    given = {"size": options.size, "test_per_bin": options.per_bin}
    data = Data(
        invert_mask=options.invert_mask, **{k: v for k, v in given.items() if v is not None}
    )
    pairs = runs_pairs.frozen_holes(data, data_root(options.data), grow=grow)
    return [Group(pairs.limited(options.limit), [])]


def _grown(mask: np.ndarray) -> np.ndarray:
    """An occluder's mask as photos' are dilated."""
    return dilate(mask, DILATION * len(mask))


def _report(
    options: Options,
    suite: Suite | None,
    group: Group,
    names: tuple[str, ...],
    pool: BaselinePool,
    device,
    measures: list[Measure],
    several: bool,
) -> Report:
    pairs, recipes, remarks = group.pairs, [single(member) for member in group.members], []
    if options.fold_seeds:
        recipes, remarks = fold_seeds(group.members)
    if isinstance(pairs, ShapedPairs):
        remarks = [SHAPED, *remarks]
    rows: list[Row] = [
        recipe_row(recipe, device, flip)
        for recipe in recipes
        for flip in ([False, True] if options.flip else [False])
    ]
    rows += [baseline_row(name, pool) for name in names]
    folder = options.output or default_folder(pairs, options.runs_folder)
    if options.output is not None and several:
        folder = options.output / pairs.hash[:12]
    _say_durations(pairs, names, pool, device, measures)
    reference = options.reference or (suite.reference if suite else None)
    if options.fold_seeds:
        reference = reference_among(reference, recipes)
    hint = "it is shown the same holes as the others here, end to end what it was trained for"
    return report(
        rows,
        pairs,
        folder,
        reference=reference,
        batch=options.batch,
        device=device,
        measures=measures,
        title=options.title or (f"Evaluation: {suite.name}" if suite else "Evaluation"),
        remarks=[*options.remarks, *remarks, *finished.under_occluders(group.members, hint)],
        values_folder=default_folder(pairs, options.runs_folder) if options.share_values else None,
    )


def _say_durations(
    pairs: FrozenPairs, names: tuple[str, ...], pool: BaselinePool, device, measures: list[Measure]
) -> None:
    """Log what is measured on, and what of it takes long."""
    logger.info("%d pairs (%s), hash %s", len(pairs), pairs.description, pairs.hash[:12])
    if "biharmonic" in names:
        seconds = len(pairs) * 8e-3 * (pairs.size / 64) ** 2.2 / max(1, pool.workers)
        logger.info(
            "biharmonic takes about %.1f min here unless its values are kept from before; "
            "--baselines %s leaves it out",
            seconds / 60,
            ",".join(name for name in names if name != "biharmonic") or "none",
        )
    if str(device) == "cpu" and any(m.name == FID and m.reason is None for m in measures):
        logger.info(
            "FID takes about %.0f min a row on a CPU core unless its value is kept from before; "
            "--fid off leaves it out",
            len(pairs) * 0.065 / 60,
        )
    if any(measure.name == dlib_similarity.NAME and measure.settle for measure in measures):
        logger.info(
            "dlib's face network takes about %.1f min a row, once more for the true pictures",
            len(pairs) * 0.15 / 60,
        )


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
    `figures/metrics.png` where the bins are hole area, `figures/examples.png` (worst, median and
    best image of each bin by the reference row's PSNR) and `report.html`, which needs no other
    file. `values_folder` holds `rows/` instead of `folder`, so that several reports share the
    values. `remarks` stand below the caption. Other arguments as in
    `engines.measures.inpainting.evaluate_rows`.
    """
    values_folder = values_folder or folder
    folder.mkdir(parents=True, exist_ok=True)
    results = evaluate_rows(
        rows, pairs, values_folder, batch=batch, device=device, measures=measures
    )
    reference = evaluation_summaries.choose_reference(results, reference)
    summary = summarise(results, reference)
    lines = [*evaluation_summaries.caption(results, reference), *remarks]
    kinds = {result.name: result.info["kind"] for result in results}
    drawings = {}
    if not isinstance(pairs, ShapedPairs):
        curves = partial(figures.ratio_figure, summary, kinds, reference=reference)
        drawings["metrics"] = Drawing(curves, CURVES)
    examples = restore_examples(rows, results, pairs, reference)
    if examples:
        drawings["examples"] = Drawing(example_figure(examples, reference))
    return write_report(
        folder, title, lines, build_tables(results, summary, reference), {"summary": summary},
        drawings=drawings, pairs=pairs, measured=values_folder / "rows",
        facts=pair_facts(results, reference), kinds=kinds, reference=reference, examples=examples,
    )  # fmt: skip
