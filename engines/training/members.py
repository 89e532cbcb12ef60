"""Training the gate of an ensemble: its members found, checked, attached and written down."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from deocclude.engines.ensemble.opening import attach_members
from deocclude.engines.runs.config import RunConfig
from deocclude.engines.runs.finished import member_files
from deocclude.engines.runs.recipes import (
    MODEL,
    MemberFile,
    Pointer,
    check_splits,
    each_start,
    members_of,
    source_name,
)
from deocclude.engines.runs.settings import NamedWeights, WeightsFile
from deocclude.models.ensemble import Ensemble
from deocclude.names import shown

RECORDED = "this run"  # whose members an error is about


def settle_members(config: RunConfig, runs: Path) -> RunConfig:
    """The same with the weights files of `model.members` told, and their labels in their place.

    `model.members` are runs' names below `runs`, their folders or weights files; labels that were
    written down before stand for the files in `members`. FileNotFoundError or ValueError for what
    is not there, does not fit together or does not fit this run's data, and for an ensemble that
    has nothing to train.
    """
    if config.model.name != MODEL:
        if config.members:
            raise ValueError(f"members: are for the model {MODEL}, not for {config.model.name}")
        return config
    combination = config.model_options().get("combination", "mean")
    if combination != "gate":
        raise ValueError(
            f"model.combination: {shown(combination)} has nothing to train, only gate has; "
            "`python -m engines.ensemble fit` makes the others"
        )
    named = config.model_options().get("members") or ()
    if not isinstance(named, list | tuple) or not all(isinstance(one, str) for one in named):
        raise ValueError(f"model.members: must be a list of runs or files, found {shown(named)}")
    if [member.name for member in config.members] == list(named):
        files = _pointers(config)
    else:
        files = member_files(named, runs)
    found = members_of(files, "model.members")
    check_splits([member.path for member in found], "model.members")
    _check_data(config, found)
    labels = [member.label for member in found]
    told = tuple(
        NamedWeights(name=m.label, weights=str(m.path.resolve()), sha256=m.sha256) for m in found
    )
    model = type(config.model)(name=MODEL, **config.model.options | {"members": labels})
    return config.model_copy(update={"model": model, "members": told})


def _pointers(config: RunConfig) -> list[Pointer]:
    return [Pointer(Path(member.weights), member.sha256) for member in config.members]


def _check_data(config: RunConfig, members: tuple[MemberFile, ...]) -> None:
    """ValueError unless the run trains on what its members were trained on."""
    if config.data.hidden_by == "occluders":
        raise ValueError(
            f"data.hidden_by: {config.data.hidden_by}, but the members are told where the hole is; "
            "set data.hidden_by=masks"
        )
    theirs = members[0].config["data"]
    for key, other in (("size", theirs["size"]), ("template", theirs.get("template", "ffhq"))):
        own = getattr(config.data, key)
        if own not in (other, "auto"):
            raise ValueError(
                f"data.{key}: {own}, but the members were trained with {other}; "
                f"set data.{key}={other}"
            )


def members_for(
    generator: nn.Module, config: RunConfig, device: torch.device
) -> tuple[tuple[MemberFile, ...], dict[str, str]]:
    """Attach the members that a settled configuration wrote down, and say where each came from.

    Nothing for another generator. FileNotFoundError or ValueError says which one is gone or has
    changed since.
    """
    if not isinstance(generator, Ensemble):
        return (), {}
    members = members_of(_pointers(config), RECORDED)
    attach_members(generator, members, device)
    return members, {f"member {m.label}": f"file {m.path}, sha256 {m.sha256}" for m in members}


def released_weights(config: RunConfig) -> dict[str, Any]:
    """What a weights file says of teacher, members and start: no path of this machine."""
    teacher, start = config.teacher, config.init_from
    return {
        "init_from": each_start(start, source_name),
        "teacher": None if teacher is None else _without_path(teacher),
        "members": [_without_path(member) for member in config.members],
    }


def _without_path(file: WeightsFile) -> dict[str, Any]:
    return file.model_dump(mode="json") | {"weights": source_name(file.weights)}
