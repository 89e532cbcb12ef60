"""The weights that ship with the project: found from any working folder, and whole."""

import re
from pathlib import Path

from deocclude.data.files import sha256
from deocclude.engines.runs.metadata import (
    FAITHFUL,
    SHARP,
    SHIPPED,
    CheckpointError,
    check_version,
    is_lfs_pointer,
    release_metadata,
    release_task,
)
from deocclude.engines.runs.tasks import INPAINTING, SEGMENTATION, TASKS

FOLDER = Path(__file__).resolve().parents[2] / "weights"
SUMS = "SHA256SUMS"  # in the format of `sha256sum -c`
FILES = {task.name: task.ships for task in TASKS.values() if task.ships is not None}
INPAINTERS = {SHARP: FILES[INPAINTING], FAITHFUL: "inpainter-faithful.safetensors"}
EXPORTED = {  # what ships, as its file is called -> its task
    **{Path(FILES[task]).stem: task for task in (SEGMENTATION, INPAINTING)},
    Path(INPAINTERS[FAITHFUL]).stem: INPAINTING,
}
LANDMARKER = "face_landmarker.task"
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class ShippedWeightsError(CheckpointError):
    """Weights that should have come with the project and cannot be used; the message says why."""


def shipped_file(task: str, name: str = SHIPPED) -> Path:
    """The weights file that ships for a task of FILES, or the inpainter of a name in INPAINTERS,
    checked against the list of SHA-256.

    ShippedWeightsError when it is missing, only a pointer or half a download, other than listed,
    made for another task or of another weights version; the message says what restores it. Likewise
    when this version ships no such network.
    """
    if task not in FILES:
        raise ShippedWeightsError(f"{name}: ships for {' and '.join(FILES)}, not for {task}")
    path = FOLDER / INPAINTERS.get(name, FILES[task])
    if not path.is_file():
        if name == FAITHFUL and path.name not in read_sums(FOLDER):
            raise ShippedWeightsError(
                f"{name}: this version ships no {name} inpainter, only {SHARP}; {path} is not there"
            )
        raise ShippedWeightsError(
            f"{path}: the weights that ship are missing; {restore_with(path)}; "
            "`python -m engines.suite release` trains such networks anew"
        )
    if is_lfs_pointer(path):
        raise ShippedWeightsError(
            f"{path}: is a git-lfs pointer, not the weights themselves; `git lfs pull`"
        )
    _check_sum(path)
    metadata = release_metadata(path)
    if "release" not in metadata:
        raise ShippedWeightsError(
            f"{path}: does not say that it was made to ship, as `python -m engines.release_export` "
            f"does; {restore_with(path)}"
        )
    check_version(metadata, str(path))
    if (found := release_task(metadata)) != task:
        raise ShippedWeightsError(
            f"{path}: was made for {found}, not for {task}; {restore_with(path)}"
        )
    return path


def shipped_name(path: Path) -> str | None:
    """What a weights file is called that ships: SHARP or FAITHFUL, SHIPPED for the segmenter; None
    for any other file."""
    names = INPAINTERS | {SHIPPED: FILES[SEGMENTATION]}
    found = (name for name, file in names.items() if (FOLDER / file).resolve() == path.resolve())
    return next(found, None)


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of the list in `folder`; ShippedWeightsError when it is not there or has
    a line that is none."""
    path = folder / SUMS
    if not path.is_file():
        raise ShippedWeightsError(f"{path}: the list of SHA-256 is missing; {restore_with(path)}")
    sums = {}
    for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
        if (match := LINE.fullmatch(line)) is None:
            raise ShippedWeightsError(
                f"{path}: {line[:80]!r} is not a SHA-256 and a file; {restore_with(path)}"
            )
        sums[match[2]] = match[1]
    return sums


def restore_with(path: Path) -> str:
    """What brings a file of the project back, in words."""
    named = f"{path.parent.name}/{path.name}"
    return f"`git checkout {named}` restores it, or copy {named} from a fresh download"


def _check_sum(path: Path) -> None:
    expected, found = read_sums(path.parent).get(path.name), sha256(path)
    if expected is None:
        raise ShippedWeightsError(
            f"{path}: is not listed in {SUMS}; {restore_with(path.with_name(SUMS))}"
        )
    if found != expected:
        raise ShippedWeightsError(
            f"{path}: is not the file that ships, or only a part of it ({path.stat().st_size:,} "
            f"bytes): SHA-256 {found}, expected {expected}; {restore_with(path)}"
        )
