"""`evaluate.py analyse groups`: errors by group of people, as file names label them.

What a group is hard for everything is not what a network does worse there: beside an inpainter
stands a baseline that never saw a face.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.people import GROUPINGS, PATTERN, Person, person_of
from deocclude.data.occluders.groups import REAL, UNOCCLUDED, group_of
from deocclude.data.occluders.mixture import NONE
from deocclude.data.occluders.photographs import EYEGLASSES
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_occluded
from deocclude.data.sources.covered import open_segmentation_sources
from deocclude.data.sources.occluders import occluder_words
from deocclude.engines.analysis.frame import (
    describe_pairs,
    opened_rows,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.evaluation.segmentation_tables import SPECK
from deocclude.engines.evaluation.summaries import intervals, stacked
from deocclude.engines.measures.inpainting import evaluate_rows
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.measures.segmentation import evaluate_segmenters, segmenter_row
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import MEAN, Cell, Table, bin_names, column, table_of
from deocclude.engines.runs import finished
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose_labelled
from deocclude.engines.runs.pairs import PRESET, default_folder, settle_occluded
from deocclude.engines.runs.tasks import INPAINTING, SEGMENTATION

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

EVERYONE = "everyone"
PSNR, IOU, FALSE, FLAGGED = "composed/psnr", "iou", "false_positive", "flagged"
INPAINTED = {
    PSNR: ("PSNR (dB)", ".2f"),
    "composed/ssim": ("SSIM", ".4f"),
    "composed_hole/l1": ("L1 in the hole", ".4f"),
}


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure inpainters, segmenters or both on the test faces of labelled people.

    Files: `table.md`; `inpainting.csv`, `segmentation.csv`. ValueError or FileNotFoundError says
    what is missing, as where no file name says who is in the picture.
    """
    members = choose_labelled(arguments)
    lines, tables, frames = [LABELS, INTERVALS], [], {}
    for task, part in ((INPAINTING, _inpainting), (SEGMENTATION, _segmentation)):
        if chosen := finished.name_apart([m for m in members if m.task == task]):
            frames[task], made, told = part(arguments, chosen)
            tables += made
            lines += told
    return save_analysis(
        output_folder(arguments), TITLE, lines, tables, frames, {}, headline=len(tables)
    )


def _inpainting(arguments: argparse.Namespace, members: Sequence[Trained]):
    """Values, tables and lines of the inpainters and baselines on the frozen test pairs."""
    size, per_bin = arguments.size, arguments.per_bin
    group = shared_group(arguments, members, size=size, per_bin=per_bin)
    pairs = _labelled(group.pairs)
    folder = arguments.output or default_folder(pairs, arguments.runs_folder)
    device = resolve_device(arguments.device)
    with opened_rows(arguments, group.members, pairs) as (rows, said):
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
    lines += [*said, *finished.under_occluders(group.members, hint)]
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


def people_of(frame: pd.DataFrame) -> list[Person]:
    """Who is in each line's picture. ValueError for a name without labels."""
    people = [person_of(name) for name in frame["image"]]
    if None in people:
        raise ValueError(f"{frame['image'][people.index(None)]}: its name says no group of people")
    return people


def inpainted_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """PSNR, SSIM and hole L1 of every row and group: means of bins, with 95 % intervals.

    Columns: row, by, group, people (images), metric, count (pairs), mean, low, high, difference,
    difference_low, difference_high (to `reference`, on the same pairs). NaN for a group that some
    bin has no pair of: a mean of fewer bins would be another quantity.
    """
    frames = {result.name: result.frame() for result in results}
    return _group_frame(frames, list(INPAINTED), bin_names(frames[reference]), reference)


def masks_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Of every row and group: IoU of covered faces, the mean of their kinds; of bare faces the
    share of pixels that was marked, and the share of faces of which more than SPECK was.

    Columns as `inpainted_frame`'s.
    """
    frames = {result.name: result.frame() for result in results}
    bare = frames[reference]["kind"].eq(UNOCCLUDED)
    parts = []
    for metrics, lines in (([IOU], ~bare), ([FALSE, FLAGGED], bare)):
        if lines.any():
            part = {name: frame[lines].reset_index(drop=True) for name, frame in frames.items()}
            part = {name: f.assign(flagged=1.0 * (f[FALSE] > SPECK)) for name, f in part.items()}
            kinds = part[reference]["kind"].to_numpy()
            parts.append(_group_frame(part, metrics, kinds, reference))
    return pd.concat(parts, ignore_index=True)


def _group_frame(
    frames: dict[str, pd.DataFrame], metrics: list[str], strata: np.ndarray, reference: str
) -> pd.DataFrame:
    """A line for each row, group and metric: the mean of the strata's means."""
    names, first = list(frames), frames[reference]
    values, images = stacked(list(frames.values()), metrics), first["image"].to_numpy()
    base, parts = values[names.index(reference)], []
    for by, group, chosen in _groups(people_of(first)):
        own, people = values[:, chosen], images[chosen]
        found = intervals(names, metrics, own, base[chosen], people, strata=strata[chosen])
        found = found[found["stratum"].eq(MEAN)].drop(columns=["stratum", "infinite", "missing"])
        if len(set(strata[chosen])) < len(set(strata)):
            found.loc[:, "mean":] = np.nan
        parts.append(found.assign(by=by, group=group, people=len(set(people))))
    table = pd.concat(parts, ignore_index=True)
    first_columns = ["row", "by", "group", "people"]
    return table[[*first_columns, *table.columns.difference(first_columns, sort=False)]]


def _groups(people: Sequence[Person]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Label, group and its lines, of everyone first; groups without anybody are left out."""
    yield EVERYONE, EVERYONE, np.ones(len(people), bool)
    for by, groups in GROUPINGS.items():
        found = np.array([getattr(person, by) for person in people])
        for group in groups:
            if (found == group).any():
                yield by, group, found == group


def inpainted_table(frame: pd.DataFrame, model: str, baseline: str | None) -> Table:
    """A model's values, a line a group, beside the baseline's on the same pairs."""
    own, other = (frame[frame["row"].eq(name)] for name in (model, baseline))
    columns = _counted(own, PSNR, "images")
    for metric, (heading, form) in INPAINTED.items():
        columns.append((f"{heading} [95 %]", _cells(own, own, metric, form, interval=True)))
        if baseline is not None:
            columns.append((f"{heading}, {baseline}", _cells(own, other, metric, form)))
    if baseline is not None:
        differences = _cells(own, own, PSNR, "+.2f", of="difference", interval=True)
        columns.append((f"Δ PSNR to {baseline} [95 %]", differences))
    return table_of(f"{model}, by group of people", list(_labels(own).values()), columns)


def masks_table(frame: pd.DataFrame, model: str) -> Table:
    """A segmenter's values, a line a group."""
    own = frame[frame["row"].eq(model)]
    pixels = _cells(own, own, FALSE, ".2f", interval=True, times=100)
    flagged = f"bare faces with more than {SPECK:.0%} marked (%)"
    columns = [
        *_counted(own, IOU, "covered faces"),
        ("IoU [95 %]", _cells(own, own, IOU, ".3f", interval=True)),
        ("bare faces", _cells(own, own, FALSE, ".0f", of="count")),
        ("their pixels marked (%) [95 %]", pixels),
        (flagged, _cells(own, own, FLAGGED, ".1f", times=100)),
    ]
    return table_of(f"{model}, by group of people", list(_labels(own).values()), columns)


def _labels(own: pd.DataFrame) -> dict[str, str]:
    """What the line of each group is called that a row has a value of."""
    labels = {EVERYONE: EVERYONE} | {g: f"{by}: {g}" for by, gs in GROUPINGS.items() for g in gs}
    return {group: label for group, label in labels.items() if own["group"].eq(group).any()}


def _cells(own: pd.DataFrame, lines: pd.DataFrame, metric: str, form: str, **how) -> list[Cell]:
    """A metric of some lines, a cell a group of `own`."""
    return column(lines[lines["metric"].eq(metric)], list(_labels(own)), form, by="group", **how)


def _counted(own: pd.DataFrame, metric: str, word: str) -> list[tuple[str, list[Cell]]]:
    counts = {word: "people", "pairs": "count"}
    return [(head, _cells(own, own, metric, ".0f", of=of)) for head, of in counts.items()]
