"""`evaluate.py analyse groups`: errors by group of people, as file names label them.

What a group is hard for everything is not what a network does worse there: beside an inpainter
stands a baseline that never saw a face.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.people import PATTERN, person_of
from deocclude.data.occluders.mixture import NONE
from deocclude.data.occluders.photographs import EYEGLASSES
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_occluded
from deocclude.data.sources.holes import open_segmentation_sources
from deocclude.data.sources.occluders import occluder_words
from deocclude.engines.analysis.errors import opened_rows
from deocclude.engines.analysis.frame import (
    chosen_members,
    describe_pairs,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.analysis.group_tables import (
    inpainted_frame,
    inpainted_table,
    masks_frame,
    masks_table,
)
from deocclude.engines.evaluation.report import Report, default_folder
from deocclude.engines.evaluation.segmentation import PRESET, settle_occluded
from deocclude.engines.evaluation.segmentation_tables import REAL, group_of
from deocclude.engines.inference.baselines import BASELINES
from deocclude.engines.measures.inpainting import evaluate_rows
from deocclude.engines.measures.segmentation import evaluate_segmenters, segmenter_row
from deocclude.engines.options import at_least
from deocclude.engines.runs import finished
from deocclude.engines.runs.finished import INPAINTING, SEGMENTATION, WEIGHTS, Trained
from deocclude.engines.runs.released import shipped_for
from deocclude.engines.runs.runtime import resolve_device

TEXT = "Errors by age, gender and origin of the people, where file names label them."
TITLE = "Errors by group of people"
LABELS = (
    "Groups are what the data set's file names say (age, gender, origin): labels that somebody "
    "gave the pictures, not what people say of themselves. Pictures of groups differ in more than "
    "people: light, quality, pose."
)
INTERVALS = (
    "Intervals are 95 %, bootstrap over images, each with all its pairs (Efron and Tibshirani "
    "1993); –: fewer than two images, or a bin or kind without a pair of the group."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    add = parser.add_argument
    add(
        "--baselines", default="telea",
        help=f"what stands beside inpainters: none, or some of {','.join(BASELINES)} (telea)",
    )  # fmt: skip
    add("--size", type=at_least(32), help="side in pixels; else that of each run")
    add("--per-bin", type=at_least(1), help="test pairs in each ratio bin, for inpainters")
    add(
        "--per-kind", type=at_least(1),
        help="faces under each kind of cut-out and bare, for segmenters; else all test faces",
    )  # fmt: skip


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure inpainters, segmenters or both on the test faces of labelled people.

    Files: `table.md`; `inpainting.csv`, `segmentation.csv`. ValueError or FileNotFoundError says
    what is missing, as where no file name says who is in the picture.
    """
    members = _members(arguments)
    lines, tables, frames = [LABELS, INTERVALS], [], {}
    for task, part in ((INPAINTING, _inpainting), (SEGMENTATION, _segmentation)):
        if chosen := finished.name_apart([m for m in members if m.task == task]):
            frames[task], made, told = part(arguments, chosen)
            tables += made
            lines += told
    return save_analysis(
        output_folder(arguments), TITLE, lines, tables, frames, {}, range(len(tables))
    )


def _members(arguments: argparse.Namespace) -> list[Trained]:
    """Inpainters and segmenters that were named; else the latest inpainters."""
    if arguments.runs is None and not arguments.checkpoint:
        return chosen_members(arguments)
    folders = finished.resolve_runs(arguments.runs or [], arguments.runs_folder, arguments.all_runs)
    files = [folder / WEIGHTS for folder in folders]
    for named in arguments.checkpoint:
        files += shipped_for(named, INPAINTING, SEGMENTATION)
    members = [finished.read_trained(file) for file in files]
    others = [member for member in members if member.task not in (INPAINTING, SEGMENTATION)]
    finished.check_task(others, INPAINTING)
    return members


def _inpainting(arguments: argparse.Namespace, members: Sequence[Trained]):
    """Values, tables and lines of the inpainters and baselines on the frozen test pairs."""
    size, per_bin = arguments.size, arguments.per_bin
    group = shared_group(arguments, members, size=size, per_bin=per_bin)
    pairs = _labelled(group.pairs)
    folder = arguments.output or default_folder(pairs, arguments.runs_folder)
    device = resolve_device(arguments.device)
    with opened_rows(arguments, group.members) as rows:
        results = evaluate_rows(rows, pairs, folder, batch=arguments.batch, device=device)
    models = [result.name for result in results if result.info["kind"] == "model"]
    baseline = next((r.name for r in results if r.info["kind"] == "baseline"), None)
    frame = inpainted_frame(results, baseline or models[0])
    lines = [
        f"Inpainters: {describe_pairs(pairs)}",
        "Of the composed picture PSNR and SSIM, L1 over the hole; means of bins of hole area, each "
        "counting the same.",
    ]
    if baseline is not None:
        lines.append(f"{baseline} on the same pairs shows how hard a group is by itself.")
    hint = "it is shown the same holes as the others here"
    lines += finished.under_occluders(group.members, hint)
    return frame, [inpainted_table(frame, model, baseline) for model in models], lines


def _segmentation(arguments: argparse.Namespace, members: Sequence[Trained]):
    """Values, tables and lines of the segmenters on covered and bare test faces."""
    found: dict[str, FrozenOccluded] = {}
    for member in members:
        pairs = _covered(arguments, member)
        found.setdefault(pairs.hash, pairs)
    if len(found) > 1:
        sizes = ", ".join(f"{p.description} ({key[:12]})" for key, p in found.items())
        raise ValueError(f"the segmenters have different test pairs, name some of them: {sizes}")
    pairs = next(iter(found.values()))
    folder = arguments.output or default_folder(pairs, arguments.runs_folder)
    device = resolve_device(arguments.device)
    rows = [segmenter_row(m.name, m.checkpoint, device, m.training) for m in members]
    results = evaluate_segmenters(rows, pairs, folder, batch=arguments.batch)
    frame = masks_frame(results, results[0].name)
    lines = [
        f"Segmenters: {describe_pairs(pairs)}",
        "IoU: mean of the kinds of occluder, each counting the same, without clear eyeglasses. "
        "Pixels marked: on the same faces with nothing on them.",
    ]
    return frame, [masks_table(frame, result.name) for result in results], lines


def _covered(arguments: argparse.Namespace, member: Trained) -> FrozenOccluded:
    """Every labelled test face under each kind of cut-out but clear eyeglasses, and bare; under
    drawn kinds where there are no cut-outs."""
    update = {"preset": PRESET, "pairs": None, "invert_mask": False}
    update |= {} if arguments.size is None else {"size": arguments.size}
    data, root, split = settle_occluded(member, arguments.data, update)
    sources = open_segmentation_sources(data, root, split)
    kinds = [k for k in sources.occluders.kinds("test") if k != NONE and k not in EYEGLASSES]
    kinds = [kind for kind in kinds if group_of(kind) == REAL] or kinds
    faces = sources.faces("test")
    known = [index for index, name in enumerate(faces.names) if person_of(name) is not None]
    _check(known, faces.names)
    faces = cache_faces(faces.subset(known), "none", 1, Path())
    per_kind = arguments.per_kind or len(faces)
    words = (
        f"{sources.face_words('test')}, {occluder_words(sources.occluders, 'test')}, "
        f"{data.size} px, {per_kind} faces a kind and bare"
    )
    pairs = freeze_occluded(faces, sources.occluders, "test", per_kind, words, [*kinds, NONE])
    return pairs.limited(arguments.limit)


def _labelled(pairs):
    """The pairs whose file names say who is in the picture."""
    names = [pair.image for pair in pairs.pairs]
    known = [index for index, name in enumerate(names) if person_of(name) is not None]
    _check(known, names)
    return pairs if len(known) == len(names) else pairs.chosen(known, "those with labels")


def _check(known: Sequence[int], names: Sequence[str]) -> None:
    if not known:
        raise ValueError(
            f"no test face says who is in it, such as {names[0]!r}; needed are file names "
            f"{PATTERN}, as in UTKFace: --data names their folder"
        )
