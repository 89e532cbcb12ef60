"""`evaluate.py` without a command: inpainters and baselines on holes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from deocclude.data.pairs.holes import FrozenPairs, ShapedPairs
from deocclude.data.settings import Data
from deocclude.data.sources.root import data_root
from deocclude.engines.evaluation.compare import Asked, Comparison, Findings, Options
from deocclude.engines.evaluation.examples import example_figure, restore_examples
from deocclude.engines.evaluation.inpainting_tables import build_tables
from deocclude.engines.evaluation.seeds import fold_seeds, recipe_row, reference_among, single
from deocclude.engines.evaluation.suites import Suite
from deocclude.engines.evaluation.summaries import caption, choose_reference, kinds_of, summarise
from deocclude.engines.inference.baselines import PPCA, BaselinePool, parse_baselines
from deocclude.engines.inference.hole_mask import DILATION, dilate
from deocclude.engines.measures import dlib_similarity
from deocclude.engines.measures.choice import choose_measures
from deocclude.engines.measures.columns import FID, Measure
from deocclude.engines.measures.inpainting import baseline_row, evaluate_rows, fitted_to
from deocclude.engines.measures.rows import Row
from deocclude.engines.report import figures
from deocclude.engines.report.report import Drawing
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose_inpainters
from deocclude.engines.runs.pairs import Group

if TYPE_CHECKING:  # since Python 3.11
    from typing import Self

logger = logging.getLogger(__name__)

TITLE = "Evaluation"
SHAPED = (
    "Holes have the shape of held-out cut-outs (drawn occluders without a folder of these), clear "
    f"eyeglasses left out, dilated by {DILATION:.0%} of the side as in photos; around them the "
    "face is known. Curves against hole area are left out."
)
CURVES = "Each metric against hole area, with 95 % bootstrap intervals of the mean"


@dataclass(frozen=True)
class InpaintingOptions(Options):
    """As Options; `title` stands above the tables. `measures`: those that the other options ask for
    by default."""

    fold_seeds: bool = False
    baselines: str | None = None
    images: Path | None = None
    masks: Path | None = None
    holes: str = "masks"
    pair_by_order: bool = False
    invert_mask: bool = False
    size: int | None = None
    per_bin: int | None = None
    workers: int | None = None
    lpips: str = "auto"
    lpips_weights: list[str] = field(default_factory=list)
    identity: str = "auto"
    fid: str = "auto"
    inception_weights: Path | None = None
    legacy_metrics: bool = False
    flip: bool = False
    title: str | None = None
    measures: Sequence[Measure] | None = None

    def of_tables(self, suite: Suite) -> list[Self]:
        """Also with the ensembles that `python -m engines.suite` wrote for it, and its baselines;
        what has seeds is folded; all tables have the same measures, whose networks are read
        once."""
        folder, measures = suite.made_in(self.runs_folder), self.chosen_measures()
        found = []
        for options, table in zip(super().of_tables(suite), suite.parts(), strict=True):
            fitted = [f for each in table.ensembles for f in each.files(folder, self.fold_seeds)]
            name = f"{suite.name}, {table.name}" if suite.tables else suite.name
            found.append(
                replace(
                    options,
                    runs=options.runs or ["none"],
                    checkpoint=[*self.checkpoint, *fitted],
                    fold_seeds=self.fold_seeds or bool(table.seeds),
                    baselines=self.baselines or ",".join(table.baselines) or "none",
                    title=self.title or f"{TITLE}: {name}",
                    measures=measures,
                )
            )
        return found

    def chosen_measures(self) -> Sequence[Measure]:
        if self.measures is not None:
            return self.measures
        return choose_measures(
            self.lpips,
            self.lpips_weights,
            self.identity,
            self.fid,
            self.inception_weights,
            self.legacy_metrics,
            self.runs_folder,
            resolve_device(self.device),
        )


def _groups(options: InpaintingOptions, device: torch.device) -> list[Asked]:
    members = choose_inpainters(options)
    names = parse_baselines(options.baselines or "all")
    if not members and not names:
        raise ValueError("nothing to compare: neither runs nor baselines were chosen")
    groups = _by_pairs(options, members)
    more = {"measures": options.chosen_measures(), "names": names, "workers": options.workers}
    more["cache"] = options.runs_folder / ".cache"
    return [_asked(options, group, device, more) for group in groups]


def _by_pairs(options: InpaintingOptions, members: list[Trained]) -> list[Group[FrozenPairs]]:
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


def _asked(options: InpaintingOptions, group: Group, device: torch.device, more: dict) -> Asked:
    recipes, remarks = [single(member) for member in group.members], []
    reference = options.reference
    if options.fold_seeds:
        recipes, remarks = fold_seeds(group.members)
        reference = reference_among(reference, recipes)
    if isinstance(group.pairs, ShapedPairs):
        remarks = [SHAPED, *remarks]
    flips = [False, True] if options.flip else [False]
    rows = [recipe_row(recipe, device, flip) for recipe in recipes for flip in flips]
    hint = "it is shown the same holes as the others here, end to end what it was trained for"
    remarks += finished.under_occluders(group.members, hint)
    return Asked(rows, group.pairs, reference, options.title, remarks, more)


def _say_durations(
    pairs: FrozenPairs,
    names: Sequence[str],
    workers: int,
    device: str | torch.device,
    measures: Sequence[Measure],
) -> None:
    """Log what is measured on, and what of it takes long."""
    logger.info("%d pairs (%s), hash %s", len(pairs), pairs.description, pairs.hash[:12])
    slow = {
        "biharmonic": len(pairs) * 8e-3 * (pairs.size / 64) ** 2.2 / max(1, workers),
        PPCA: 20 + len(pairs) * 0.03,  # to fit it, and to ask it
    }
    for slow_one in (name for name in names if name in slow):
        logger.info(
            "%s takes about %.1f min here unless its values are kept from before; "
            "--baselines %s leaves it out",
            slow_one,
            slow[slow_one] / 60,
            ",".join(name for name in names if name != slow_one) or "none",
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


def find_inpainted(
    rows: Sequence[Row],
    pairs: FrozenPairs,
    folder: Path,
    *,
    reference: str | None = None,
    batch: int = 64,
    device: str | torch.device = "cpu",
    measures: Sequence[Measure] = (),
    names: Sequence[str] = (),
    workers: int | None = None,
    cache: Path | None = None,
) -> Findings:
    """Measure `rows`, and the baselines of these `names` in so many processes.

    `cache`: where what is fitted to training faces is kept, else `folder`. Figures: each metric
    against hole area where the bins are that, and examples, the worst, median and best image of
    each bin by the reference row's PSNR. Other arguments as in
    `engines.measures.inpainting.evaluate_rows`.
    """
    names, faces, said = fitted_to(names, pairs, cache or folder)
    if not (rows or names):
        raise ValueError(f"nothing to compare: {said[0]}" if said else "nothing to compare")
    with BaselinePool(workers, faces) as pool:
        _say_durations(pairs, names, pool.workers, device, measures)
        rows = [*rows, *(baseline_row(name, pool) for name in names)]
        reference = choose_reference(rows, reference)
        results = evaluate_rows(rows, pairs, folder, batch=batch, device=device, measures=measures)
        examples = restore_examples(rows, results, pairs, reference)
    summary, kinds = summarise(results, reference), kinds_of(results)
    drawings = {}
    if not isinstance(pairs, ShapedPairs):
        curves = partial(figures.ratio_figure, summary, kinds, reference=reference)
        drawings["metrics"] = Drawing(curves, CURVES)
    if examples:
        drawings["examples"] = Drawing(example_figure(examples, reference))
    tables = build_tables(results, summary, reference)
    lines = [*caption(results, reference), *said]
    return Findings(results, summary, lines, tables, drawings, kinds, reference, examples)


INPAINTERS = Comparison(TITLE, InpaintingOptions, _groups, find_inpainted)
