"""Trained networks that an inpainter's run is given: its features, its teacher, its members.

They are frozen. Each function takes a settled configuration and says where its network came from.
FileNotFoundError or ValueError says which file is gone, has changed since, or does not fit.
"""

from pathlib import Path

import torch
from torch import nn

from deocclude.engines.ensemble.opening import attach_members
from deocclude.engines.inference.networks import Inpainter, read_inpainter
from deocclude.engines.runs.finished import RANDOM
from deocclude.engines.runs.recipes import MemberFile, members_of
from deocclude.engines.runs.settings import RunConfig
from deocclude.engines.runs.weights import create_features, load_release, load_strictly
from deocclude.engines.training.origins import NO_INFORMATION, pointers, teacher_digest
from deocclude.models.ensemble import Ensemble

RECORDED = "this run"  # whose members an error is about


def features_for(
    generator: nn.Module, config: RunConfig, continued: bool = False
) -> tuple[nn.Module | None, dict[str, str]]:
    """The network whose embedding of the occluded image conditions the generator; None where it
    takes no features.

    A `continued` run has it in its checkpoint: the file it once came from is not looked at.
    ValueError when generator and configuration disagree on whether there are features, or on how
    many numbers an embedding has.
    """
    features, kind = config.features, type(generator).__name__
    takes = getattr(generator, "uses_features", False)
    if takes != (features is not None):
        found = "null" if features is None else features.name
        raise ValueError(
            f"features: {kind} with these options takes {'' if takes else 'no '}features, "
            f"but features is {found}"
        )
    if features is None:
        return None, {}
    network = create_features(features.name, features.options)
    if features.weights == RANDOM:
        origin = f"random initialisation, {NO_INFORMATION}"
    elif continued:
        origin = f"the run's own checkpoint, first from {features.weights}"
    else:
        load_strictly(network, load_release(features.weights)[0], features.weights)
        origin = f"file {features.weights}"
    if network.embedding != generator.embedding:
        raise ValueError(
            f"features: the embedding of {features.name} has {network.embedding} numbers, {kind} "
            f"takes {generator.embedding}; set model.embedding={network.embedding}"
        )
    return network, {"features": origin}


def members_for(
    generator: nn.Module, config: RunConfig, device: torch.device
) -> tuple[tuple[MemberFile, ...], dict[str, str]]:
    """The members of an ensemble, attached to it; none for another generator."""
    if not isinstance(generator, Ensemble):
        return (), {}
    members = members_of(pointers(config.members), RECORDED)
    attach_members(generator, members, device)
    return members, {f"member {m.label}": f"file {m.path}, sha256 {m.sha256}" for m in members}


def teacher_for(config: RunConfig, device: torch.device) -> tuple[Inpainter | None, dict[str, str]]:
    """The inpainter whose answers the run learns from, if it names one.

    ValueError also when it was trained at another size, on faces aligned otherwise, or without
    being told where the hole is.
    """
    if config.teacher is None:
        return None, {}
    file = Path(config.teacher.weights)
    if not file.is_file():
        raise FileNotFoundError(
            f"teacher: {file} is not there; move it back, or start a new run with another one"
        )
    digest = teacher_digest(file, config.teacher.sha256)
    teacher = read_inpainter(file, device)
    if not teacher.hides:
        raise ValueError(
            f"teacher: {file} was trained on faces under occluders, not on holes; name one that "
            "was trained with data.hidden_by=masks"
        )
    for key in ("size", "template"):
        own, other = getattr(config.data, key), getattr(teacher, key)
        if own not in (other, "auto"):
            raise ValueError(
                f"teacher: {file} was trained with data.{key}={other}, this run has {own}; both "
                "must agree"
            )
    return teacher, {"teacher": f"file {file}, sha256 {digest}"}
