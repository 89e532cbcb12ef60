"""The trained inpainter whose answers another one learns from."""

from pathlib import Path

import torch

from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference.networks import Inpainter, read_inpainter
from deocclude.engines.runs.config import RunConfig
from deocclude.engines.runs.finished import weights_file
from deocclude.engines.runs.recipes import is_recipe
from deocclude.engines.runs.settings import WeightsFile


def settle_teacher(teacher: WeightsFile | None, runs: Path) -> WeightsFile | None:
    """The same with its file and the file's digest told. `runs`: where finished runs lie.

    FileNotFoundError or ValueError for what is not there or is not as it was written down.
    """
    if teacher is None:
        return None
    if is_recipe(teacher.weights):
        file = Path(teacher.weights)
        if not file.is_file():
            raise FileNotFoundError(f"teacher: {file}: no such ensemble file")
    else:
        file = weights_file(teacher.weights, runs)
    return WeightsFile(weights=str(file.resolve()), sha256=_identity(file, teacher.sha256))


def _identity(file: Path, recorded: str | None) -> str:
    found = weights_identity(file)
    if recorded is not None and found != recorded:
        raise ValueError(
            f"teacher: {file} has identity {found[:12]}..., written down at the start was "
            f"{recorded[:12]}...: it, or a member of it, was trained anew or replaced; bring the "
            "old file back, or start a new run"
        )
    return found


def open_teacher(
    config: RunConfig, device: torch.device
) -> tuple[Inpainter | None, dict[str, str]]:
    """The teacher of a settled configuration and where it comes from; None when it names none.

    FileNotFoundError when its file is gone; ValueError when that has changed, or when it was
    trained at another size, on faces aligned otherwise, or without being told where the hole is.
    """
    if config.teacher is None:
        return None, {}
    file = Path(config.teacher.weights)
    if not file.is_file():
        raise FileNotFoundError(
            f"teacher: {file} is not there; move it back, or start a new run with another one"
        )
    digest = _identity(file, config.teacher.sha256)
    teacher = read_inpainter(file, device)
    if not teacher.hides:
        raise ValueError(
            f"teacher: {file} was trained on faces under occluders, not on holes; name one that "
            "was trained with data.hidden_by=masks"
        )
    for key, own in (("size", config.data.size), ("template", config.data.template)):
        other = getattr(teacher, key)
        if own not in (other, "auto"):
            raise ValueError(
                f"teacher: {file} was trained with data.{key}={other}, this run has {own}; both "
                "must agree"
            )
    return teacher, {"teacher": f"file {file}, sha256 {digest}"}
