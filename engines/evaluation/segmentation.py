"""`evaluate.py segmentation` and `evaluate.py end-to-end`: options in, reports out."""

import json
import logging
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from deocclude.data.files import sha256
from deocclude.data.images import ImageReadError, load_square
from deocclude.data.pairs.frozen import hash_array
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.sources.holes import data_root, open_segmentation_sources
from deocclude.engines.evaluation.end_to_end import DILATIONS, end_to_end_report
from deocclude.engines.evaluation.report import Report, default_folder
from deocclude.engines.evaluation.segmentation_report import segmentation_report
from deocclude.engines.measures.inpainting import Row, model_row
from deocclude.engines.measures.segmentation import constant_rows, segmenter_row
from deocclude.engines.runs import finished
from deocclude.engines.runs.finished import INPAINTING, SEGMENTATION, WEIGHTS, Trained
from deocclude.engines.runs.released import shipped_for
from deocclude.engines.runs.runtime import resolve_device
from deocclude.engines.runs.settings import SegmentationData
from deocclude.engines.suite.files import Suite, finished_suite

logger = logging.getLogger(__name__)

PRESET = "mixed"  # every kind of occluder, whatever a run was trained with
MAKE_ONE = {
    SEGMENTATION: "`python train_segmentation.py SOCLNET` makes one",
    INPAINTING: finished.MAKE_ONE,
}


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


@dataclass
class OccludedGroup:
    """Segmenters that share their frozen occluded pairs.

    `faces` is the folder of those faces or that set, None for built-in ones; `template` says where
    the eyes lie in them; `cutouts` is the folder of those occluders, None for a set or drawn ones.
    """

    pairs: FrozenOccluded
    members: list[Trained]
    faces: Path | None
    template: str = "ffhq"
    cutouts: Path | None = None


def compare_segmenters(options: MaskOptions) -> list[Report]:
    """Segmenters and trivial answers: a report for each group that shares its pairs.

    Raises ValueError or FileNotFoundError that says what is missing and which command makes it.
    """
    suite = _suite(options)
    if suite is not None and suite.tables:
        chosen = [_table_options(options, suite, table) for table in suite.tables]
        return [each for part in chosen for each in compare_segmenters(part)]
    named = _named(options, suite, SEGMENTATION)
    members = finished.check_task(named, SEGMENTATION) or _latest(options, SEGMENTATION)
    groups = group_by_occluded(finished.name_apart(members), options)
    device = resolve_device(options.device)
    reports = []
    for group in groups:
        reports.append(
            segmentation_report(
                [*_segmenter_rows(group.members, device), *constant_rows()],
                group.pairs,
                _folder(options, group.pairs, len(groups) > 1),
                reference=options.reference or (suite.reference if suite else None),
                batch=options.batch,
                remarks=options.remarks,
                values_folder=_values(options, group.pairs),
            )
        )
    return reports


def compare_end_to_end(options: MaskOptions) -> list[Report]:
    """Inpainters with true and found masks: a report for each size and set of pairs.

    Of the task that `runs`, `suite` and `checkpoint` do not name, the finished runs are taken.
    Inpainters of another size or alignment than the pairs' are left out, and so are those that were
    trained on one of the faces; the report says so, and where that cannot be checked. Errors as in
    `compare_segmenters`.
    """
    suite = _suite(options)
    named = _named(options, suite, SEGMENTATION, INPAINTING)
    chosen = {
        task: finished.name_apart(
            [member for member in named if member.task == task] or _latest(options, task)
        )
        for task in (SEGMENTATION, INPAINTING)
    }
    device = resolve_device(options.device)
    fitting, reasons = [], []
    for group in group_by_occluded(chosen[SEGMENTATION], options):
        if group.pairs.load(0)[0] is None:
            reasons.append(f"{group.faces} holds no clean pictures to compare restored ones with.")
            continue
        fit, remarks = fitting_inpainters(chosen[INPAINTING], group)
        reasons += remarks
        if fit:
            fitting.append((group, fit, remarks))
    if not fitting:
        raise ValueError("no inpainter fits a segmenter: " + " ".join(dict.fromkeys(reasons)))
    return [
        end_to_end_report(
            [model_row(m.name, m.checkpoint, device, m.training) for m in inpainters],
            _segmenter_rows(group.members, device),
            group.pairs,
            _folder(options, group.pairs, len(fitting) > 1, "end_to_end"),
            reference=options.reference or _reference(suite, inpainters),
            batch=options.batch,
            device=device,
            dilations=options.dilate,
            remarks=remarks,
            values_folder=_values(options, group.pairs),
        )
        for group, inpainters, remarks in fitting
    ]


def _suite(options: MaskOptions) -> Suite | None:
    return finished_suite(options.suite, options.runs_folder) if options.suite else None


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


def _reference(suite: Suite | None, inpainters: list[Trained]) -> str | None:
    """The suite's reference if it is an inpainter: a suite may serve both commands."""
    names = [member.name.lower() for member in inpainters]
    known = suite is not None and (suite.reference or "").lower() in names
    return suite.reference if known else None


def _named(options: MaskOptions, suite: Suite | None, *tasks: str) -> list[Trained]:
    """What the options name, of any task; nothing when they name nothing. `tasks`: those of the
    weights that ship, where these are named."""
    wanted = list(suite.runs) if suite else options.runs or []
    folders = finished.resolve_runs(wanted, options.runs_folder, options.all_runs)
    files = [folder / WEIGHTS for folder in folders]
    files += [file for named in options.checkpoint for file in shipped_for(named, *tasks)]
    return [finished.read_trained(file) for file in files]


def _latest(options: MaskOptions, task: str) -> list[Trained]:
    folders = finished.finished_runs(options.runs_folder, options.all_runs, task)
    if not folders:
        what = "segmenter" if task == SEGMENTATION else "inpainter"
        raise FileNotFoundError(
            f"no finished {what} below {options.runs_folder}: {MAKE_ONE[task]}; "
            "--checkpoint names a weights file"
        )
    members = [finished.read_trained(folder / WEIGHTS) for folder in folders]
    return [member for member in members if member.task == task]


def group_by_occluded(members: list[Trained], options: MaskOptions) -> list[OccludedGroup]:
    """The frozen occluded test pairs of each segmenter's data, runs with equal pairs together.

    `options.data`, `per_kind` and `limit` change what is frozen. A run's recorded split is kept as
    long as its own faces are used. FileNotFoundError when a recorded folder is gone.
    """
    groups: dict[str, OccludedGroup] = {}
    frozen: dict[str, tuple[FrozenOccluded, Path | None, str, Path | None]] = {}
    for member in members:
        update = {} if options.per_kind is None else {"test_per_kind": options.per_kind}
        data, root, split = settle_occluded(member, options.data, update)
        fields = ("faces", "occluders", "pairs", "invert_mask", "template", "size", "test_per_kind")
        key = json.dumps([*(getattr(data, field) for field in fields), split and split.read_text()])
        if key not in frozen:
            sources = open_segmentation_sources(data, root, split)
            pairs = sources.frozen("test", None if data.pairs else PRESET).limited(options.limit)
            cutouts = getattr(sources, "occluder_folder", None)
            frozen[key] = pairs, sources.folder, sources.data.template, cutouts
        pairs, *where = frozen[key]
        group = groups.setdefault(pairs.hash, OccludedGroup(pairs, [], *where))
        group.members.append(member)
        if member.data.pairs is not None:  # nobody knows which cut-outs it was trained on
            group.pairs.held_out = False
    if len(groups) > 1:
        logger.info(
            "the segmenters have %d different sets of test pairs: a table each", len(groups)
        )
    return list(groups.values())


def settle_occluded(
    member: Trained, data_folder: Path | None, update: dict[str, Any]
) -> tuple[SegmentationData, Path | None, Path | None]:
    """A segmenter's data with some fields replaced, for `open_segmentation_sources`: the data, the
    data folder where one counts, and the split that the run wrote down if it fits.

    Clear eyeglasses are to be found, whatever the run keeps, so that all runs share test pairs. A
    second folder is for training only.
    """
    update = update | {"eyeglasses": "redraw", "also": None}
    if data_folder is not None:
        update |= finished.below(data_folder, member)
    data = SegmentationData(**member.data.model_dump() | update)
    # Recorded folders are absolute: a data folder set elsewhere must not replace them.
    told = finished.is_settled(data.faces) and data.occluders != "auto"
    asked = data.pairs is None and not told
    root = data_root(data_folder) if data_folder is not None or asked else None
    return data, root, finished.own_split(member, data, root)


def fitting_inpainters(
    members: list[Trained], group: OccludedGroup
) -> tuple[list[Trained], list[str]]:
    """The inpainters that can be measured on a group's pairs; why the others cannot, and of which
    of them nobody can tell whether they saw the faces in training."""
    fit, remarks = [], []
    for member in members:
        if member.data.size != group.pairs.size:
            remarks.append(
                f"{member.name} is left out: trained at {member.data.size} px, these pairs have "
                f"{group.pairs.size}."
            )
        elif group.template not in (known := templates_of(member, group)):
            remarks.append(
                f"{member.name} is left out: trained on faces aligned as {' and '.join(known)}, "
                f"these are aligned as {group.template}."
            )
        elif seen := faces_seen(member, group):
            remarks.append(
                f"{member.name} is left out: {seen} of these pairs show faces of its training or "
                "validation."
            )
        else:
            fit.append(member)
            if reason := unchecked(member, group):
                remarks.append(
                    f"{member.name}: whether it was trained on faces of these pairs cannot be "
                    f"checked; {reason}."
                )
            if other_cutouts(member, group):
                remarks.append(
                    f"{member.name}: whether it was trained on cut-outs of these pairs cannot be "
                    f"checked; its data.occluders is {member.data.occluders}."
                )
    hint = "with every mask it is shown what covers the face"
    remarks += finished.under_occluders(fit, hint)
    for remark in remarks:
        logger.warning(remark)
    return fit, remarks


def templates_of(member: Trained, group: OccludedGroup) -> list[str]:
    """How the faces lie that an inpainter was trained on: as those of the group when they are the
    same, else as its weights file says; one that does not say so is of ffhq's. And as those of its
    second folder."""
    also = member.data.also
    if finished.same_folder(member, group.faces):
        told = group.template
    else:
        told = member.config["data"].get("template") or "auto"
    return ["ffhq" if told == "auto" else told, *([also.template] if also else [])]


def unchecked(member: Trained, group: OccludedGroup) -> str | None:
    """Why nobody can tell which of a group's faces a run trained on; None where it can be told."""
    if group.faces is None:
        return None
    if member.data.faces == "builtin":
        own = any(pair.image.startswith("builtin/") for pair in group.pairs.pairs)
        return "it was trained on built-in faces, and the set was made of such" if own else None
    if not member.split.is_file():
        return "its weights file lies apart from its run's split.json"
    if not finished.same_folder(member, group.faces):
        return (
            "the pairs come from another folder than its own faces, where copies under other names "
            "go unnoticed"
        )
    return None


def other_cutouts(member: Trained, group: OccludedGroup) -> bool:
    """Whether an inpainter trained on cut-outs, and those of another folder than the group's."""
    own = member.data.occluders
    if member.data.hidden_by == "masks" or member.data.preset == "drawn" or own == "drawn":
        return False
    if group.cutouts is None:  # drawn ones, or a set of which nobody knows
        return not group.pairs.held_out
    return group.cutouts.resolve() != Path(own).resolve()


def faces_seen(member: Trained, group: OccludedGroup) -> int:
    """How many of a group's pairs show a face that a run trained or was chosen on: by name in the
    run's own folder, elsewhere by content among files of equal names."""
    if group.faces is None or not member.split.is_file():
        return 0  # `unchecked` says whether that means anything
    record = json.loads(member.split.read_text(encoding="utf-8"))
    known = [*record["train"], *record["val"]]
    if finished.same_folder(member, group.faces):
        names = set(known)
        return sum(pair.image in names for pair in group.pairs.pairs)
    alike: dict[str, list[Path]] = {}
    for name in known:
        alike.setdefault(Path(name).stem, []).append(Path(member.data.faces) / name)
    return sum(
        any(
            pair.image_sha256 in _digests(path, group.pairs.size)
            for path in alike.get(Path(pair.image).stem, ())
        )
        for pair in group.pairs.pairs
    )


@cache
def _digests(path: Path, size: int) -> tuple[str, ...]:
    """What frozen pairs know a face by: its file's digest, in a set its pixels'. Nothing when gone
    or unreadable: nobody trained on it then."""
    try:
        return sha256(path), hash_array(load_square(path, size))
    except (FileNotFoundError, ImageReadError):
        return ()


def _segmenter_rows(members: list[Trained], device) -> list[Row]:
    return [segmenter_row(m.name, m.checkpoint, device, m.training) for m in members]


def _folder(options: MaskOptions, pairs: FrozenOccluded, several: bool, part: str = "") -> Path:
    if options.output is None:
        return default_folder(pairs, options.runs_folder) / part
    return options.output / pairs.hash[:12] if several else options.output


def _values(options: MaskOptions, pairs: FrozenOccluded) -> Path | None:
    own = options.output is None or options.share_values
    return default_folder(pairs, options.runs_folder) if own else None
