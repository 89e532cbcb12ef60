"""What is compared: finished runs, weights files, and the frozen pairs they share."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deocclude.data.faces.files import find_faces
from deocclude.data.pairs.folders import pair_folders
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.runs.config import (
    SCRIPTS,
    Data,
    FaceData,
    IdentityData,
    SegmentationData,
    available_runs,
    is_run_file,
    name_in_file,
)
from deocclude.data.sources.holes import data_root, open_sources, recorded_data
from deocclude.engines.runs.recipes import home_of, is_recipe, recipe_config
from deocclude.engines.runs.newest import hardly_begun
from deocclude.engines.runs.released import SHIPPED, is_shipped

logger = logging.getLogger(__name__)

WEIGHTS = "best.safetensors"
MAKE_ONE = "`python train_inpainting.py Reconstruction` makes one"
INPAINTING, SEGMENTATION, IDENTITY = "inpainting", "segmentation", "identity"
DATA: dict[str, type[FaceData]] = {
    INPAINTING: Data,
    SEGMENTATION: SegmentationData,
    IDENTITY: IdentityData,
}
MEASURES = {
    INPAINTING: "`python evaluate.py` measures inpainters",
    SEGMENTATION: "`python evaluate.py segmentation` measures segmenters",
    IDENTITY: "`python evaluate.py identity` measures identity networks",
}


@dataclass(frozen=True)
class Trained:
    """A weights file, its configuration, and where its run read faces, masks or occluders from."""

    name: str
    checkpoint: Path
    config: dict[str, Any]
    training: dict[str, Any] | None
    data: Data | SegmentationData | IdentityData

    @property
    def task(self) -> str:
        return task_of(self.config)

    @property
    def split(self) -> Path:
        """Where its run wrote its split down, for an ensemble that of its first member's, which all
        share; there may be none."""
        return home_of(self.checkpoint) / "split.json"


@dataclass
class Group:
    """Rows that share their frozen pairs, and so a table."""

    pairs: FrozenPairs
    members: list[Trained]


def finished_runs(root: Path, every: bool = False, task: str | None = None) -> list[Path]:
    """Folders of finished runs below `root`: the latest of each name, or every one; not those that
    were `hardly_begun`.

    With a `task`, those that trained for it, and those whose weights file cannot be read, so that
    whoever reads it next says so.
    """
    found: dict[str, list[Path]] = {}
    for mark in sorted(root.glob("*/*/finished.json")):
        if not _has_weights(mark) or hardly_begun(mark.parent):
            continue
        if _trained_for(mark.parent, task):
            found.setdefault(mark.parent.parent.name, []).append(mark.parent)
    return [folder for runs in found.values() for folder in (runs if every else runs[-1:])]


def resolve_runs(wanted: list[str], root: Path, every: bool = False) -> list[Path]:
    """Run folders for names (`Reconstruction`, any case), numbers (`Reconstruction/002`), paths, or
    the YAML files of runs.

    A name stands for its latest finished run; a later one that was hardly begun is passed over,
    with a warning. A path stands for what lies there. FileNotFoundError names all that are not
    there, what makes them, and the finished runs there are.
    """
    finished = finished_runs(root, every=True)
    found = {text: _find_runs(text, finished, every) for text in wanted}
    begun = {text: _passed_over(text, found[text], root) for text in wanted}
    for line in [line for text in wanted if found[text] for line in begun[text]]:
        logger.warning("%s", line)
    if missing := [text for text, runs in found.items() if not runs]:
        one = len(missing) == 1
        raise FileNotFoundError(
            f"{', '.join(missing)}: no finished run{'' if one else 's'} of "
            f"{'that name' if one else 'these names'} below {root}, and no run folder; "
            f"finished: {finished_words(root)}; {'; '.join(map(_what_makes, missing))}"
            + "".join(f"; {line}" for text in missing for line in begun[text])
        )
    return list(dict.fromkeys(run for runs in found.values() for run in runs))


def unfinished(wanted: Iterable[str], root: Path) -> list[str]:
    """Those of `wanted` for which `resolve_runs` finds nothing."""
    finished = finished_runs(root, every=True)
    return [text for text in wanted if not _find_runs(text, finished, False)]


def finished_words(root: Path) -> str:
    """Every finished run below `root`, for an error."""
    runs = finished_runs(root, every=True)
    return ", ".join(f"{run.parent.name}/{run.name}" for run in runs) or "none"


def _find_runs(text: str, finished: list[Path], every: bool) -> list[Path]:
    if is_run_file(text):
        text = name_in_file(Path(text))
    named = [run for run in finished if run.parent.name.lower() == text.lower()]
    exact = [run for run in finished if f"{run.parent.name}/{run.name}".lower() == text.lower()]
    if exact or named:
        return exact or (named if every else named[-1:])
    path = Path(text)
    if (path / WEIGHTS).is_file():
        return [path]
    below = _runs_below(path) if path.is_dir() else []
    return below if every else below[-1:]


def _passed_over(text: str, found: list[Path], root: Path) -> list[str]:
    """A line on each run that a name or a number stands for but that was hardly begun, if it is
    later than those that were found."""
    text = name_in_file(Path(text)) if is_run_file(text) else text
    name, _, number = text.lower().partition("/")
    latest = found[-1].name if found else ""
    lines = []
    for mark in sorted(root.glob("*/*/finished.json")):
        run = mark.parent
        if run.parent.name.lower() != name or number not in ("", run.name) or run.name <= latest:
            continue
        if _has_weights(mark) and (why := hardly_begun(run)):
            lines.append(f"{run} is passed over: {why}; name its folder to use it all the same")
    return lines


def _what_makes(text: str) -> str:
    """The one command that trains a run of this name, of whatever task."""
    name = text.partition("/")[0]
    for task, script in SCRIPTS.items():
        if name.lower() in available_runs(task):
            return f"`python {script} {name}` makes one"
    return f"{text} is no run of ablations/"


def _trained_for(folder: Path, task: str | None) -> bool:
    if task is None:
        return True
    try:
        return task_of(read_metadata(folder / WEIGHTS)[0]) == task
    except ValueError:
        return True


def task_of(config: dict[str, Any]) -> str:
    return config.get("task", INPAINTING)


def check_task(members: list[Trained], task: str) -> list[Trained]:
    """`members`, or ValueError with the right command when one was trained for something else."""
    for member in members:
        if member.task != task:
            raise ValueError(
                f"{member.checkpoint}: was trained for {member.task}; {MEASURES[member.task]}"
            )
    return members


def under_occluders(members: list[Trained], hint: str) -> list[str]:
    """A remark on each inpainter that was trained on faces under occluders, ending with `hint`."""
    return [
        f"{member.name} was trained on faces under occluders ({member.data.preset}), not on holes; "
        f"{hint}."
        for member in members
        if member.task == INPAINTING and member.data.hidden_by == "occluders"
    ]


def _runs_below(folder: Path) -> list[Path]:
    return sorted(mark.parent for mark in folder.glob("*/finished.json") if _has_weights(mark))


def _has_weights(mark: Path) -> bool:
    return (mark.parent / WEIGHTS).is_file()


def read_trained(checkpoint: Path) -> Trained:
    """What a weights file says of itself, and its run folder of its data. Reads no weights."""
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{checkpoint}: no such weights file")
    config, training = read_metadata(checkpoint)
    if task_of(config) not in DATA:
        raise ValueError(
            f"{checkpoint}: task {task_of(config)!r} is unknown; valid: {', '.join(DATA)}"
        )
    finished = checkpoint.parent / "finished.json"
    if finished.is_file() and not is_recipe(checkpoint):
        training = json.loads(finished.read_text(encoding="utf-8"))
    data = recorded_data(home_of(checkpoint), DATA[task_of(config)](**config["data"]))
    name = SHIPPED if is_shipped(checkpoint) else config["name"]
    return Trained(name, checkpoint, config, training, data)


def read_metadata(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Configuration and training facts in a weights file, or of an ensemble's YAML. ValueError
    when it has none."""
    if is_recipe(checkpoint):
        return recipe_config(checkpoint), None
    try:
        with safe_open(checkpoint, framework="pt") as file:
            metadata = file.metadata() or {}
        return json.loads(metadata["config"]), json.loads(metadata.get("training", "null"))
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise ValueError(
            f"{checkpoint}: is truncated or holds no run's weights and configuration ({error!r})"
        ) from error


def name_apart(members: list[Trained]) -> list[Trained]:
    """The same, with the run's number added to names that occur twice, then the folder and file in
    the name's place, then the whole path."""
    for naming in (
        lambda t: f"{t.name}/{_number_or_file(t.checkpoint)}",
        lambda t: f"{t.checkpoint.parent.name}/{t.checkpoint.name}",
        lambda t: str(t.checkpoint),
    ):
        names = [member.name for member in members]
        if len(set(names)) == len(names):
            break
        members = [
            Trained(naming(m), m.checkpoint, m.config, m.training, m.data)
            if names.count(m.name) > 1
            else m
            for m in members
        ]
    return members


def _number_or_file(checkpoint: Path) -> str:
    """A run's number, or the name of a file that is not a run's weights."""
    return checkpoint.parent.name if checkpoint.name == WEIGHTS else checkpoint.name


def group_by_pairs(
    members: list[Trained],
    data_folder: str | Path | None = None,
    size: int | None = None,
    per_bin: int | None = None,
    limit: int | None = None,
    invert_mask: bool = False,
) -> list[Group]:
    """Build the frozen test pairs of each run's data and put runs with equal pairs together.

    `data_folder` is used instead of the folders that the runs recorded; the other options change
    what is frozen. A run's recorded split is kept as long as its own faces are used.
    FileNotFoundError when a recorded folder is gone and none is given.
    """
    groups: dict[str, Group] = {}
    frozen: dict[str, FrozenPairs] = {}
    for member in members:
        given = {"size": size, "test_per_bin": per_bin, "invert_mask": invert_mask or None}
        update = {name: value for name, value in given.items() if value is not None}
        # Whatever it trained on: test pairs have holes, and a second folder is for training only.
        update |= {"hidden_by": "masks", "also": None}
        data, root, split = settle_data(member, data_folder, update)
        fields = ("faces", "masks", "invert_mask", "size", "test_per_bin", "builtin_images")
        key = json.dumps([*(getattr(data, field) for field in fields), split and split.read_text()])
        if key not in frozen:
            frozen[key] = open_sources(data, root, split).frozen("test").limited(limit)
        pairs = frozen[key]
        groups.setdefault(pairs.hash, Group(pairs, [])).members.append(member)
    return list(groups.values())


def settle_data(
    member: Trained, data_folder: str | Path | None, update: dict[str, Any]
) -> tuple[Data, Path | None, Path | None]:
    """A run's data with some fields replaced, for `open_sources`: the data, the data folder where
    one counts, and the split that the run wrote down if it fits."""
    if data_folder is not None:
        update = update | below(Path(data_folder), member)
    data = Data(**member.data.model_dump() | update)
    # Recorded folders are absolute: a data folder set elsewhere must not replace them.
    open_ended = data_folder is not None or not is_settled(data.faces)
    root = data_root(data_folder) if open_ended else None
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
    kept = fixed or (root / faces).is_dir()
    found = {"faces": faces if kept else "auto", other: member.config["data"][other]} | apart
    folder = find_faces(root, found["faces"], member.data.size)
    if fixed or same_folder(member, folder):
        return found
    also = member.data.also
    second = also is not None and folder is not None and folder.name == Path(also.faces).name
    return found | {"template": also.template if second else "auto"}


def same_folder(member: Trained, faces: Path | None) -> bool:
    """Whether a run's own faces lie in this very folder."""
    return faces is not None and faces.resolve() == Path(member.data.faces).resolve()


def own_split(member: Trained, data: FaceData, root: Path | None) -> Path | None:
    """The split that a run wrote down, if `data` means the very folder of faces it was made for."""
    split = member.split
    if not split.is_file():
        return None
    if getattr(data, "pairs", None) is not None:
        return split if data.pairs == member.data.pairs else None
    return split if same_folder(member, find_faces(root, data.faces, data.size)) else None


def group_by_folders(
    members: list[Trained],
    images: Path,
    masks: Path,
    size: int | None = None,
    by_order: bool = False,
    invert_mask: bool = False,
    limit: int | None = None,
) -> list[Group]:
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
