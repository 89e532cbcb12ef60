"""Opening ensembles, and any other inpainter, from their files."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from deocclude.data.files import sha256
from deocclude.engines.graphs.asking import open_network
from deocclude.engines.graphs.description import config_of, identity_of, is_onnx
from deocclude.engines.runs import weights
from deocclude.engines.runs.metadata import CheckpointError, release_metadata
from deocclude.engines.runs.recipes import (
    KEEP,
    MemberFile,
    ensemble_config,
    is_recipe,
    members_of,
    pointer_records,
    pointers_of,
    read_recipe,
    without_paths,
)
from deocclude.engines.runs.weights import (
    features_of,
    load_features,
    load_release,
    network_of,
    save_release,
)
from deocclude.models.ensemble import Ensemble, Member, parameter_count
from deocclude.names import shown


class DiskMember:
    """A member that is read, asked and freed at every call, so that one at a time is in memory."""

    def __init__(self, member: MemberFile) -> None:
        self.member = member

    def __call__(self, occluded: Tensor, mask: Tensor) -> Tensor:
        return open_member(self.member, occluded.device)(occluded, mask)

    @cached_property
    def parameter_count(self) -> int:
        return parameter_count(open_member(self.member, "cpu"))


def open_member(member: MemberFile, device: str | torch.device) -> Member:
    """A member's networks, read from its file."""
    network, _ = weights.load_inpainter(member.path, device)
    features = load_features(member.path) if getattr(network, "uses_features", False) else None
    return Member(network, member.fill, features, member.label).to(device)


def attach_members(
    ensemble: Ensemble,
    members: Sequence[MemberFile],
    device: str | torch.device = "cpu",
    keep: str = "memory",
) -> None:
    """Give an ensemble the inpainters that `members_of` has looked into. With `keep` "disk" each is
    read anew at every call, one after another."""
    if keep not in KEEP:
        raise ValueError(f"keep: {shown(keep)} is not one of {', '.join(KEEP)}")
    if keep == "disk":
        ensemble.attach([DiskMember(member) for member in members])
    else:
        ensemble.attach([open_member(member, device) for member in members])


def open_inpainter(
    path: str | Path, device: str | torch.device = "cpu", keep: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The inpainter of a weights file, an ensemble's YAML or an ONNX file, ready for use, and its
    metadata.

    Returns (network in evaluation mode on `device`, metadata as of
    `engines.runs.weights.load_inpainter`, with "members" for an ensemble). `keep`, memory or disk,
    replaces what the file says of an ensemble's members. Errors as of `members_of` and
    `load_inpainter`.
    """
    path = Path(path)
    if is_onnx(path):
        return open_network(path, "inpainting"), {"config": config_of(path), "metrics": {}}
    if is_recipe(path):
        return _open_recipe(path, device, keep)
    network, metadata = weights.load_inpainter(path, device)
    if isinstance(network, Ensemble):
        pointers = pointers_of(path)
        if pointers:
            attach_members(network, members_of(pointers, str(path)), device, keep or "memory")
        else:
            network.attach(_packed_members(path, metadata.get("members") or (), device))
    return network, metadata


def _open_recipe(
    path: Path, device: str | torch.device, keep: str | None
) -> tuple[nn.Module, dict[str, Any]]:
    recipe = read_recipe(path)
    members = members_of(recipe.members, str(path))
    labels = [member.label for member in members]
    try:
        network = Ensemble(labels, recipe.combination, weights=recipe.weights)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    attach_members(network, members, device, keep or recipe.keep)
    config = ensemble_config(recipe.name, recipe.combination, labels, members[0].config["data"])
    metadata = {
        "config": config,
        "contract": release_metadata(members[0].path).get("contract"),
        "metrics": {},
        "members": pointer_records(members, path.parent),
    }
    return network.requires_grad_(False).eval().to(device), metadata


def _packed_members(
    path: Path, entries: Sequence[dict[str, Any]], device: str | torch.device
) -> list[Member]:
    """The members whose tensors lie in the ensemble's own file."""
    if not entries:
        raise CheckpointError(f"{path}: an ensemble that neither holds nor names its members")
    members = []
    for number, entry in enumerate(entries):
        part, config = f"members/{number}", entry["config"]
        words = f"{path}, {part} ({entry['name']})"
        network = network_of(config, load_release(path, part)[0], words)
        features = features_of(config, load_release(path, f"{part}/features")[0], words)
        fill = config["data"]["fill"]
        members.append(Member(network, fill, features, entry["name"]).to(device))
    return members


def pack(source: Path, output: Path) -> Path:
    """Write an ensemble with all its members' tensors as one weights file that needs no other.

    ValueError when `source` points to no members, or `output` is one of its files.
    """
    pointers = pointers_of(source)
    if not pointers:
        raise ValueError(f"{source}: points to no members, there is nothing to pack")
    if output.suffix != ".safetensors":
        raise ValueError(f"{output}: a packed ensemble is a .safetensors file")
    if output.resolve() in (source.resolve(), *(p.path.resolve() for p in pointers)):
        raise ValueError(f"{output}: is a file of the ensemble itself; choose another name")
    network, metadata = open_inpainter(source, keep="memory")
    members = members_of(pointers, str(source))
    labels = [member.label for member in members]
    model = metadata["config"]["model"] | {"members": labels}
    metadata = metadata | {
        "config": metadata["config"] | {"model": model},
        "members": [
            {"name": m.label, "sha256": m.sha256, "config": without_paths(m.config)}
            for m in members
        ],
    }
    parts: dict[str, nn.Module] = {}
    attached = cast(Ensemble, network).attached
    for number, member in enumerate(cast(tuple[Member, ...], attached)):  # as kept in memory
        parts[f"members/{number}"] = member.network
        if member.features is not None:
            parts[f"members/{number}/features"] = member.features
    output.parent.mkdir(parents=True, exist_ok=True)
    save_release(output, network, metadata, parts)
    return output


def weights_identity(path: str | Path) -> str:
    """SHA-256 that changes whenever an inpainter's answers would: of its file, and of its members'
    where it points to some; for an ONNX file those of it and of the YAML beside it.
    FileNotFoundError names a member that is not there."""
    path = Path(path)
    if is_onnx(path):
        return identity_of(path)
    digests = [sha256(path)]
    for number, pointer in enumerate(pointers_of(path), start=1):
        if not pointer.path.is_file():
            raise FileNotFoundError(f"member {number} of {path}: {pointer.path} is not there")
        digests.append(sha256(pointer.path))
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
