"""The frozen test pairs of finished runs; runs with equal pairs together."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from deocclude.data.faces.layout import find_faces
from deocclude.data.faces.shard_names import any_shard, names_shards
from deocclude.data.pairs.folders import pair_folders
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.settings import Data, FaceData, IdentityData, SegmentationData
from deocclude.data.sources.covered import open_segmentation_sources
from deocclude.data.sources.holes import open_sources
from deocclude.data.sources.people import IdentitySources, open_identity_sources
from deocclude.data.sources.root import data_root
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.tasks import INPAINTING

logger = logging.getLogger(__name__)

PRESET = "mixed"  # every kind of occluder, whatever a run was trained with
OCCLUDERS = {"hidden_by": "occluders", "preset": PRESET}
Grow = Callable[[np.ndarray], np.ndarray]
Frozen = TypeVar("Frozen", FrozenPairs, FrozenOccluded)


@dataclass
class Group(Generic[Frozen]):
    """Networks that share their frozen pairs, and so a table.

    Of occluded pairs also: `faces` is their folder or set, None for built-in ones; `template` says
    where the eyes lie in them; `cutouts` is the folder of the occluders, None for a set or drawn
    ones. `people`: of known people, what they were opened from.
    """

    pairs: Frozen
    members: list[Trained]
    faces: Path | None = None
    template: str = "ffhq"
    cutouts: Path | None = None
    people: IdentitySources | None = None


def _grouped(
    members: Iterable[Trained],
    settle: Callable[[Trained], tuple[Any, Path | None, Path | None]],
    freeze: Callable[..., Group[Frozen]],
    fields: set[str] | None = None,
) -> list[Group[Frozen]]:
    """Members whose frozen pairs are equal, together.

    `settle` tells a member's data, its data folder and its split; `freeze` makes a group of these,
    once for all members whose split and data, or only those `fields` of them, are equal.
    """
    frozen: dict[str, Group[Frozen]] = {}
    groups: dict[tuple, Group[Frozen]] = {}
    for member in members:
        data, root, split = settle(member)
        dealt = split.read_text() if split is not None and split.is_file() else ""
        key = data.model_dump_json(include=fields) + dealt
        if key not in frozen:
            frozen[key] = freeze(data, root, split)
        made = frozen[key]
        people = made.people.people if made.people else ()
        shared = groups.setdefault((made.pairs.hash, people), replace(made, members=[]))
        shared.members.append(member)
    return list(groups.values())


def group_by_pairs(
    members: list[Trained],
    data_folder: str | Path | None = None,
    size: int | None = None,
    per_bin: int | None = None,
    limit: int | None = None,
    invert_mask: bool = False,
    grow: Grow | None = None,
) -> list[Group[FrozenPairs]]:
    """Build the frozen test pairs of each run's data and put runs with equal pairs together.

    `data_folder` is used instead of the folders that the runs recorded; the other options change
    what is frozen, `grow` as in `frozen_holes`. A run's recorded split is kept as long as its own
    faces are used.
    FileNotFoundError when a recorded folder is gone and none is given.
    """
    # Whatever they trained on: test pairs have holes, and a second folder is for training only.
    update: dict[str, Any] = {"hidden_by": "masks", "also": None}
    given = {"size": size, "test_per_bin": per_bin, "invert_mask": invert_mask or None}
    update |= {name: value for name, value in given.items() if value is not None}
    if grow is not None:
        update |= OCCLUDERS | ({} if data_folder is None else {"occluders": "auto"})

    def freeze(data: Data, root: Path | None, split: Path | None) -> Group[FrozenPairs]:
        return Group(frozen_holes(data, root, split, grow).limited(limit), [])

    fields = {"faces", "split", "masks", "invert_mask", "size", "test_per_bin", "builtin_images"}
    fields |= set() if grow is None else {"occluders", "template"}
    settle = partial(settle_data, data_folder=data_folder, update=update)
    return _grouped(members, settle, freeze, fields)


def frozen_holes(
    data: Data, root: Path | None, split: Path | None = None, grow: Grow | None = None
) -> FrozenPairs:
    """The test pairs of a configuration: `data.masks`, or, with `grow`, which makes the hole of an
    occluder's mask, holes in the shape of occluders that nothing is trained on."""
    if grow is None:
        return open_sources(data, root, split).frozen("test")
    return open_sources(data.model_copy(update=OCCLUDERS), root, split).shaped("test", grow)


def settle_data(
    member: Trained, data_folder: str | Path | None, update: dict[str, Any]
) -> tuple[Any, Path | None, Path | None]:
    """A run's data with some fields replaced, for what opens them: the data, the data folder where
    one counts, and the split that the run wrote down if it fits."""
    if data_folder is not None:
        update = update | below(Path(data_folder), member)
    data = type(member.data)(**member.data.model_dump() | update)
    # Recorded folders are absolute: a data folder set elsewhere must not replace them.
    covered = getattr(data, "hidden_by", "occluders") != "masks"
    told = is_settled(data.faces) and (not covered or data.occluders != "auto")
    told = told or getattr(data, "pairs", None) is not None
    root = data_root(data_folder) if data_folder is not None or not told else None
    return data, root, own_split(member, data, root)


def is_settled(folder: str) -> bool:
    """Whether a folder is told whole, or none: weights that ship know its name below a data folder
    alone, and `auto` means whatever is there."""
    return folder == "builtin" or Path(folder).is_absolute()


def below(root: Path, member: Trained) -> dict[str, Any]:
    """The configured faces, and masks or occluders, with `root` as the data folder.

    What does not depend on a data folder stays: `builtin`, and absolute folders. Faces named
    relative to a data folder are looked for below `root`, else `root` says which there are. Where
    the eyes lie in other faces than the run's own is told anew; those of its second folder, by its
    name, are aligned as the run says.
    """
    other = "masks" if member.task == INPAINTING else "occluders"
    apart = {} if member.task == INPAINTING else {"pairs": None, "invert_mask": False}
    faces = member.config["data"]["faces"]
    fixed = faces == "builtin" or Path(faces).is_absolute()
    if fixed:
        logger.info("%s keeps the faces it names, %s, whatever --data is", member.name, faces)
    kept = fixed or (root / faces).is_dir() or (names_shards(faces) and any_shard(root / faces))
    if not fixed and same_folder(member, root):  # whatever `auto` finds there by now
        faces, kept = str(root.resolve()), True
    found = {"faces": faces if kept else "auto", other: member.config["data"][other]} | apart
    folder = find_faces(root, found["faces"], member.data.size)
    if fixed or same_folder(member, folder):
        return found
    also, template = member.data.also, "auto"
    if also is not None and folder is not None and folder.name == Path(also.faces).name:
        template = also.template
    return found | {"template": template}


def same_folder(member: Trained, faces: Path | None) -> bool:
    """Whether a run's own faces lie in this very folder."""
    return faces is not None and faces.resolve() == Path(member.data.faces).resolve()


def own_split(member: Trained, data: FaceData, root: Path | None) -> Path | None:
    """The split that a run wrote down, if `data` means the very folder of faces it was made for."""
    split = member.split
    if not split.is_file():
        return None
    if isinstance(data, SegmentationData) and data.pairs is not None:
        return split if data.pairs == getattr(member.data, "pairs", None) else None
    return split if same_folder(member, find_faces(root, data.faces, data.size)) else None


def group_by_folders(
    members: list[Trained],
    images: Path,
    masks: Path,
    size: int | None = None,
    by_order: bool = False,
    invert_mask: bool = False,
    limit: int | None = None,
) -> list[Group[FrozenPairs]]:
    """The user's own images and masks, at `size` or at each run's size: a group a size."""
    for path, what in ((images, "--images"), (masks, "--masks")):
        if not path.exists():
            raise FileNotFoundError(f"{what} {path}: no such file or folder")
    if size is not None and size < 32:
        raise ValueError(f"--size {size}: must be at least 32 pixels")
    sizes = [size] if size else sorted({member.data.size for member in members}) or [256]
    by = "order" if by_order else "stem"
    groups = []
    for side in sizes:
        pairs = pair_folders(images, masks, side, by, invert_mask).limited(limit)
        groups.append(Group(pairs, [m for m in members if size or m.data.size == side]))
    return groups


def group_by_occluded(
    members: list[Trained],
    data_folder: Path | None = None,
    per_kind: int | None = None,
    limit: int | None = None,
    size: int | None = None,
) -> list[Group[FrozenOccluded]]:
    """The frozen occluded test pairs of each segmenter's data, runs with equal pairs together.

    The other arguments change what is frozen. A run's recorded split is kept as long as its own
    faces are used. FileNotFoundError when a recorded folder is gone.
    """

    def freeze(data: SegmentationData, root: Path | None, split: Path | None) -> Group:
        sources = open_segmentation_sources(data, root, split)
        pairs = sources.frozen("test", None if data.pairs else PRESET).limited(limit)
        cutouts = getattr(sources, "occluder_folder", None)
        return Group(pairs, [], sources.folder, sources.data.template, cutouts)

    fields = {"faces", "split", "occluders", "pairs", "invert_mask", "template", "size"}
    given = {"test_per_kind": per_kind, "size": size}
    update = {name: value for name, value in given.items() if value is not None}
    settle = partial(settle_occluded, data_folder=data_folder, update=update)
    groups = _grouped(members, settle, freeze, fields | {"test_per_kind"})
    for group in groups:  # of a set, nobody knows which cut-outs it was made with
        if any(getattr(member.data, "pairs", None) is not None for member in group.members):
            group.pairs.held_out = False
    return groups


def settle_occluded(
    member: Trained, data_folder: Path | None, update: dict[str, Any]
) -> tuple[SegmentationData, Path | None, Path | None]:
    """As `settle_data`, for `open_segmentation_sources`.

    Clear eyeglasses are to be found, whatever the run keeps, so that all runs share test pairs. A
    second folder is for training only.
    """
    return settle_data(member, data_folder, update | {"eyeglasses": "redraw", "also": None})


def group_by_people(
    members: list[Trained],
    data_folder: Path | None = None,
    per_kind: int | None = None,
    limit: int | None = None,
) -> list[Group[FrozenOccluded]]:
    """The frozen test pictures of the people that each identity network was trained on, by the
    split it wrote down; as `group_by_occluded`."""

    def settle(member: Trained) -> tuple[IdentityData, Path | None, Path]:
        data, root = member.data, None
        assert isinstance(data, IdentityData)
        if per_kind is not None:
            data = data.model_copy(update={"test_per_kind": per_kind})
        if data_folder is not None and data.faces != "builtin":
            root = data_root(data_folder)
            named = {name: member.config["data"][name] for name in ("faces", "occluders")}
            data = data.model_copy(update=named)
        elif "auto" in (data.faces, data.occluders):  # a weights file without its run
            root = data_root(None)
        return data, root, member.split

    def freeze(data: IdentityData, root: Path | None, split: Path) -> Group[FrozenOccluded]:
        sources = open_identity_sources(data, root, split)
        return Group(sources.frozen("test").limited(limit), [], people=sources)

    return _grouped(members, settle, freeze)


def default_folder(pairs: FrozenPairs, root: Path = Path("runs")) -> Path:
    """Where results on these pairs are kept, so that no row is computed twice."""
    return root / "evaluation" / pairs.hash[:12]
