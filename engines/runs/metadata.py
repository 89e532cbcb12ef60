"""What a weights file says of itself, read without PyTorch."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deocclude import models
from deocclude.engines.runs.tasks import TASKS, task_of
from deocclude.names import did_you_mean, shown

# Of weights that ship: raised when this code cannot use older files, or older code newer ones.
WEIGHTS_VERSION = 1
INT8_VERSION = 2  # as 1, but tensors may be int8, each with its scales beside it
LFS = b"version https://git-lfs"  # how a file begins that only points to the real one

WEIGHTS = "best.safetensors"  # a run's, in its folder
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "a text"),
    "model.name": ((str,), "a network's name"),
    "data.size": ((int,), "a side in pixels"),
    "data.fill": ((int, float), "the grey level of holes, from 0 to 1,"),
}
NEEDED = f"needed is a safetensors file that this project wrote, as a run's {WEIGHTS}"
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
SHIPPED = "shipped"  # what names those that ship, where a run or a file could be named
SHARP, FAITHFUL = "sharp", "faithful"  # likewise each inpainter that ships; shipped is the first


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
        raise CheckpointError(f"{path}: {_what_it_is(Path(path), error)}") from error


def no_such_file(path: str | Path) -> str:
    """What to say of a weights file that is not there, with the one beside it that was meant."""
    path = Path(path)
    valid = [SHIPPED, SHARP, FAITHFUL, *(p.name for p in path.parent.glob("*.safetensors"))]
    return f"{path}: no such weights file{did_you_mean(path.name, valid)}"


def _what_it_is(path: Path, error: Exception) -> str:
    """Why a file cannot be read as weights, by what it begins with."""
    if path.is_dir():
        return "is a folder; a weights file is needed"
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return f"is empty; {NEEDED}"
    if start.startswith(LFS):
        return "is a git-lfs pointer, not the weights themselves; `git lfs pull`"
    if start.startswith(PICKLES):
        return (
            "is a PyTorch checkpoint (.pth, .ckpt, .pt), which can run code when it is opened and "
            f"says nothing of its network; {NEEDED}"
        )
    if b"pytorch" in start or b"onnx" in start.lower() or path.suffix.lower() == ".onnx":
        return f"is an ONNX file; {NEEDED}"
    if path.suffix.lower() != ".safetensors":
        return f"is no weights file; {NEEDED}"
    return f"is truncated or is no safetensors file ({error}); {NEEDED}"


def is_lfs_pointer(path: str | Path) -> bool:
    """Whether a file only says where git-lfs keeps the real one."""
    with open(path, "rb") as file:
        return file.read(len(LFS)) == LFS


def check_version(metadata: dict[str, Any], source: str) -> None:
    """CheckpointError, naming `source`, when weights that ship are of a version that this code
    cannot use. Those of a run state none."""
    version = metadata.get("release", {}).get("version", WEIGHTS_VERSION)
    if version not in (WEIGHTS_VERSION, INT8_VERSION):
        newer = version > INT8_VERSION
        what = "update the project: `git pull`" if newer else "`git checkout weights` restores them"
        raise CheckpointError(
            f"{source}: is of weights version {version}, {'newer' if newer else 'older'} than this "
            f"project's {INT8_VERSION}; {what}"
        )


def metadata_of(file: safe_open) -> dict[str, Any]:
    """The entries of an open file's metadata that are JSON, as all are that this project writes."""
    found = {}
    for key, value in (file.metadata() or {}).items():
        try:
            found[key] = json.loads(value)
        except (ValueError, RecursionError):
            continue  # of another program, such as {"format": "pt"}
    return found


def check_config(metadata: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """The configuration in a weights file's metadata. CheckpointError, naming `source`, the entry
    and what would be valid, where nobody could make a network of it."""
    config = metadata.get("config")
    if not isinstance(config, dict):
        what = "have no config" if config is None else "have a config that is no mapping"
        raise CheckpointError(f"{source}: its metadata {what}, so it is no run's weights; {NEEDED}")
    named = task_of(config)
    if named not in TASKS:
        raise CheckpointError(
            f"{source}: config.task in its metadata is {shown(named)}; valid: {', '.join(TASKS)}"
        )
    task = TASKS[named]
    for key, (kinds, words) in KINDS.items():
        if key == "data.fill" and "fill" not in task.data.model_fields:
            continue
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, kinds):
            found = "is missing" if value is None else f"is {shown(value)}"
            raise CheckpointError(
                f"{source}: config.{key} in its metadata {found}, {words} is needed there; a run's "
                f"{WEIGHTS} has it"
            )
    try:
        models.check_name(task.networks, task.trains, config["model"]["name"])
    except ValueError as error:
        raise CheckpointError(f"{source}: config.model in its metadata: {error}") from error
    return config


def release_task(metadata: Mapping[str, Any]) -> str:
    """What a weights file's network was trained for."""
    return task_of(metadata.get("config", {}))
