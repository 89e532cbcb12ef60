"""`evaluate.py analyse errors`: error by hole ratio, by place in the face, by kind of occluder."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.settings import SegmentationData
from deocclude.data.sources.covered import open_segmentation_sources
from deocclude.data.sources.root import data_root
from deocclude.engines.analysis import error_figures, error_tables
from deocclude.engines.analysis.error_rows import REACH, evaluate_errors, read_maps
from deocclude.engines.analysis.frame import (
    describe_pairs,
    opened_rows,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.evaluation.overlap import fitting_inpainters
from deocclude.engines.evaluation.summaries import choose_reference
from deocclude.engines.measures.end_to_end import TRUE_MASK, Case, evaluate_cases
from deocclude.engines.measures.rows import Row, RowResult
from deocclude.engines.report.report import Report
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import PRESET, Group, default_folder
from deocclude.engines.runs.tasks import INPAINTING

logger = logging.getLogger(__name__)

TITLE = "Errors by hole ratio, place and kind of occluder"
FACES = 200  # behind the mean face of the figure


@dataclass(frozen=True)
class Covered:
    """Cases with the true mask of each kind of occluder, and what is to be said of them."""

    results: list[RowResult]
    lines: list[str]


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure the runs and baselines on the frozen test pairs and on frozen occluded ones.

    Files: `table.md`; `ratio.csv`, `places.csv`, `kinds.csv`; figures of the regions, of each of
    these, and maps of the mean error. ValueError or FileNotFoundError says what is missing.
    """
    members = choose(arguments, INPAINTING)
    group = shared_group(arguments, members)
    template = aligned_as(arguments, group.members)
    values = arguments.output or default_folder(group.pairs, arguments.runs_folder)
    with opened_rows(arguments, group.members, group.pairs) as (rows, said):
        reference = choose_reference(rows, arguments.reference)
        results = evaluate_errors(rows, group.pairs, template, values, batch=arguments.batch)
        covered = by_kind(arguments, group.members, rows, template)
    frames = {
        "ratio": error_tables.curve_frame(results, arguments.bandwidth),
        "places": error_tables.place_frame(results, reference),
    }
    lines = [*caption(arguments, group.pairs, template, reference), *covered.lines, *said]
    if covered.results:
        known = [result.info["inpainter"] for result in covered.results]
        base = reference if reference in known else known[0]
        frames["kinds"] = error_tables.kind_frame(covered.results, base)
        lines.append(f"Differences in kinds.csv are to {base}.")
    types = {result.name: result.info["kind"] for result in results}
    ranked = error_tables.ranked_rows(frames["places"])
    shown = error_figures.drawn_rows(ranked, reference, types)
    if len(shown) < len(results):
        lines.append(f"Figures show {len(shown)} of {len(results)} rows: {', '.join(shown)}.")
    hint = "it is shown the same holes as the others here"
    lines += finished.under_occluders(group.members, hint)
    drawn = {"regions": error_figures.regions_figure(template, mean_face(group.pairs))}
    maps = {result.name: read_maps(result) for result in results if result.name in shown}
    drawn |= error_figures.error_figures(frames, maps, shown, types, template)
    tables = error_tables.error_tables(frames, reference)
    return save_analysis(output_folder(arguments), TITLE, lines, tables, frames, drawn)


def aligned_as(arguments: argparse.Namespace, members: Sequence[Trained]) -> str:
    """The one template of the faces that the members are measured on: as --template or the
    configuration says, else told by the pictures. ValueError when members disagree."""
    if arguments.template is not None:
        return arguments.template
    told: dict[str, list[str]] = {}
    opened: dict[tuple, str] = {}
    for member in members:
        data = _faces_of(arguments, member)
        key = (str(data.faces), data.template)
        if key not in opened:
            opened[key] = data.template if data.template != "auto" else _tell(arguments, data)
        told.setdefault(opened[key], []).append(member.name)
    if len(told) > 1:
        found = "; ".join(f"{name}: {', '.join(runs)}" for name, runs in told.items())
        raise ValueError(f"the runs' faces are aligned differently ({found}); --template says how")
    return next(iter(told))


def _faces_of(arguments: argparse.Namespace, member: Trained) -> SegmentationData:
    """The member's faces under occluders, as `--data` changes them."""
    data = member.data
    update = {"faces": data.faces, "template": data.template}
    if arguments.data is not None:
        below = runs_pairs.below(arguments.data, member)
        update |= {name: below[name] for name in update if name in below}
    if arguments.per_kind:
        update["test_per_kind"] = arguments.per_kind
    return SegmentationData(size=data.size, preset=PRESET, **update)


def _tell(arguments: argparse.Namespace, data: SegmentationData) -> str:
    root = data_root(arguments.data)
    return open_segmentation_sources(
        data.model_copy(update={"occluders": "drawn"}), root
    ).data.template


def by_kind(
    arguments: argparse.Namespace, members: Sequence[Trained], rows: Sequence[Row], template: str
) -> Covered:
    """The rows with the true mask on frozen occluded pairs of the same test faces.

    Cut-outs are those of the data folder, or of the folder that holds the faces; without any,
    drawn kinds only. Inpainters that cannot be measured there are left out, with a line that says
    why.
    """
    if arguments.per_kind == 0:
        return Covered([], [])
    first = members[0]
    data = _faces_of(arguments, first).model_copy(update={"template": template})
    root = data_root(arguments.data)
    split = runs_pairs.own_split(first, data, root)
    beside = Path(data.faces).parent if Path(data.faces).is_absolute() else None
    sources = open_segmentation_sources(data, root or beside, split)
    pairs = sources.frozen("test").limited(arguments.limit)
    where = Group(pairs, [], sources.folder, template, sources.occluder_folder)
    fit, lines = fitting_inpainters(list(members), where)
    names = {member.name for member in fit}
    chosen = [row for row in rows if row.kind == "baseline" or row.name in names]
    if not names:
        return Covered([], lines)
    cases = [Case(row, TRUE_MASK) for row in chosen]
    folder = arguments.output or default_folder(pairs, arguments.runs_folder)
    device = resolve_device(arguments.device)
    results = evaluate_cases(cases, pairs, folder, batch=arguments.batch, device=device)
    said = (
        f"Kinds of occluder: N = {len(pairs)} pairs ({pairs.description}), the true mask; SHA-256 "
        f"of these pairs: {pairs.hash}. Holes of kinds differ in size and place."
    )
    return Covered(results, [said, *lines])


def caption(
    arguments: argparse.Namespace, pairs: FrozenPairs, template: str, reference: str
) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    return [
        describe_pairs(pairs),
        f"Places: where the parts of a typical face of the template {template} lie; no picture is "
        "looked at. A pixel at a border counts for both sides by its share. Background is all the "
        f"rest, neck and clothes too. Edge: what of the hole lies within {REACH:.0%} of the side "
        "of a known pixel, wherever in the face.",
        "By place every hole pixel counts the same, over all pairs, and PSNR is that of their mean "
        "squared error; intervals are 95 %, bootstrap "
        "over images, each with all its masks (Efron and Tibshirani 1993); differences to "
        f"{reference} are paired.",
        "Against hole ratio: local linear regression, Gaussian kernel with a standard deviation of "
        f"{arguments.bandwidth:g} (Fan 1992); one value a pair, exact restorations left out.",
    ]


def mean_face(pairs: FrozenPairs) -> np.ndarray:
    """The mean of the first FACES different images: uint8 (H, W, 3)."""
    first: dict[str, int] = {}
    for index, pair in enumerate(pairs.pairs):
        first.setdefault(pair.image, index)
    chosen = list(first.values())[:FACES]
    total = np.zeros((pairs.size, pairs.size, 3))
    for index in chosen:
        total += pairs.load(index)[0]
    return np.round(total / len(chosen)).astype(np.uint8)
