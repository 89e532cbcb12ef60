"""Which inpainters fit a group of occluded faces, and which have seen some of them."""

import json
import logging
from functools import cache
from pathlib import Path

from deocclude.data.faces.files import hash_array
from deocclude.data.faces.shards import load_shard_split
from deocclude.data.files import sha256
from deocclude.data.images import ImageReadError, load_square
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.pairs import Group

logger = logging.getLogger(__name__)


def fitting_inpainters(members: list[Trained], group: Group) -> tuple[list[Trained], list[str]]:
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


def templates_of(member: Trained, group: Group) -> list[str]:
    """How the faces lie that an inpainter was trained on: as those of the group when they are the
    same, else as its weights file says; one that does not say so is of ffhq's. And as those of its
    second folder."""
    also = member.data.also
    if runs_pairs.same_folder(member, group.faces):
        told = group.template
    else:
        told = member.config["data"].get("template") or "auto"
    return ["ffhq" if told == "auto" else told, *([also.template] if also else [])]


def unchecked(member: Trained, group: Group) -> str | None:
    """Why nobody can tell which of a group's faces a run trained on; None where it can be told."""
    if group.faces is None:
        return None
    if member.data.faces == "builtin":
        own = any(pair.image.startswith("builtin/") for pair in group.pairs.pairs)
        return "it was trained on built-in faces, and the set was made of such" if own else None
    if not member.split.is_file():
        return "its weights file lies apart from its run's split.json"
    if not runs_pairs.same_folder(member, group.faces):
        return (
            "the pairs come from another folder than its own faces, where copies under other names "
            "go unnoticed"
        )
    return None


def other_cutouts(member: Trained, group: Group) -> bool:
    """Whether an inpainter trained on cut-outs, and those of another folder than the group's."""
    own = member.data.occluders
    if member.data.hidden_by == "masks" or member.data.preset == "drawn" or own == "drawn":
        return False
    if group.cutouts is None:  # drawn ones, or a set of which nobody knows
        return not group.pairs.held_out
    return group.cutouts.resolve() != Path(own).resolve()


def faces_seen(member: Trained, group: Group) -> int:
    """How many of a group's pairs show a face that a run trained or was chosen on: by name in the
    run's own folder, elsewhere by content among files of equal names."""
    if group.faces is None or not member.split.is_file():
        return 0  # `unchecked` says whether that means anything
    record = json.loads(member.split.read_text(encoding="utf-8"))
    if "shards" in record:
        if not runs_pairs.same_folder(member, group.faces):
            return 0
        split = load_shard_split(member.split, Path(member.data.faces))
        record = {name: split.faces(name, 1).names[:] for name in ("train", "val")}
    known = [*record["train"], *record["val"]]
    if runs_pairs.same_folder(member, group.faces):
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
