"""What a weights file says of itself, read without PyTorch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deocclude.names import did_you_mean

# Of weights that ship: raised when this code cannot use older files, or older code newer ones.
WEIGHTS_VERSION = 1
LFS = b"version https://git-lfs"  # how a file begins that only points to the real one

WEIGHTS = "best.safetensors"  # a run's, in its folder
SHIPPED = "shipped"  # what names those that ship, where a run or a file could be named


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message says which file and what to do."""


def release_metadata(path: str | Path) -> dict[str, Any]:
    """What a weights file says of itself, no tensors. CheckpointError when it is missing or
    damaged."""
    with opened(path, "np") as file:  # does not import PyTorch
        return metadata_of(file)


@contextmanager
def opened(path: str | Path, framework: str = "pt") -> Iterator[safe_open]:
    """A weights file, open for reading. CheckpointError when it is missing or damaged."""
    if not Path(path).is_file():
        raise CheckpointError(no_such_file(path))
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        if is_lfs_pointer(path):
            raise CheckpointError(
                f"{path}: is a git-lfs pointer, not the weights themselves; `git lfs pull`"
            ) from error
        raise CheckpointError(
            f"{path}: is truncated or is no safetensors file of this project ({error})"
        ) from error


def no_such_file(path: str | Path) -> str:
    """What to say of a weights file that is not there, with the one beside it that was meant."""
    path = Path(path)
    beside = [each.name for each in path.parent.glob("*.safetensors")]
    return f"{path}: no such weights file{did_you_mean(path.name, [*beside, SHIPPED])}"


def is_lfs_pointer(path: str | Path) -> bool:
    """Whether a file only says where git-lfs keeps the real one."""
    with open(path, "rb") as file:
        return file.read(len(LFS)) == LFS


def check_version(metadata: dict[str, Any], source: str) -> None:
    """CheckpointError, naming `source`, when weights that ship are of a version that this code
    cannot use. Those of a run state none."""
    version = metadata.get("release", {}).get("version", WEIGHTS_VERSION)
    if version != WEIGHTS_VERSION:
        newer = version > WEIGHTS_VERSION
        what = "update the project: `git pull`" if newer else "`git checkout weights` restores them"
        raise CheckpointError(
            f"{source}: is of weights version {version}, {'newer' if newer else 'older'} than this "
            f"project's {WEIGHTS_VERSION}; {what}"
        )


def metadata_of(file: safe_open) -> dict[str, Any]:
    """The entries of an open file's metadata, each of which is JSON."""
    return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}


def release_task(metadata: dict[str, Any]) -> str:
    """What a weights file's network was trained for: inpainting, segmentation or identity."""
    return metadata.get("config", {}).get("task", "inpainting")
