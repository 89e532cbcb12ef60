"""Files to continue a run and to use its weights: whole or not at all, no pickled code."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deocclude.data.files import temporary_name
from deocclude.engines.runs.metadata import (
    CheckpointError,
    check_config,
    check_version,
    metadata_of,
    opened,
    release_task,
)
from deocclude.engines.runs.tasks import IDENTITY, INPAINTING, SEGMENTATION, TASKS, task_of
from deocclude.models import IDENTITY_NETWORKS, create_identity_network, takes_option

if TYPE_CHECKING:
    from deocclude.models.identity import IdentityNet

NETWORKS, STATE = "networks.safetensors", "state.pt"
SCALE = ".scale"  # ends the name of what the rows of the int8 tensor of that name are to be times


def save_checkpoint(folder: Path, networks: dict[str, dict[str, Tensor]], state: dict) -> None:
    """Write `folder` (networks as safetensors, the rest as tensors and plain values).

    The new folder is complete before it takes the old one's place. When writing fails, the old one
    stays and CheckpointError says so.
    """
    new = temporary_name(folder)
    old = folder.with_name(f".{folder.name}.old")
    try:
        new.mkdir(parents=True)
        flat = {
            f"{net}/{key}": t for net, tensors in networks.items() for key, t in tensors.items()
        }
        save_file(_separate(flat), new / NETWORKS)
        torch.save(state, new / STATE)
        for name in (NETWORKS, STATE):
            _flush(new / name)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(new, ignore_errors=True)
        kept = f"; the last good one is kept in {folder}" if folder.exists() else ""
        raise CheckpointError(
            f"{folder}: checkpoint could not be written ({error}){kept}"
        ) from error
    if folder.exists():  # else the old one may be all there is: stopped between two renames
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: t.detach().cpu().contiguous() for key, t in tensors.items()}


def _flush(path: Path) -> None:
    """Wait until the file is on the disk, so that a rename never precedes its content."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def load_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Networks and state of `save_checkpoint`. CheckpointError when missing or damaged."""
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():  # stopped between the two renames
        folder = old
    if not folder.exists():
        raise CheckpointError(f"{folder}: no checkpoint to continue from")
    try:
        flat = load_file(folder / NETWORKS)
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{folder}: damaged checkpoint ({error})") from error
    networks: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        name, _, rest = key.partition("/")
        networks.setdefault(name, {})[rest] = tensor
    return networks, state


def saved_step(run: Path) -> int:
    """The optimiser step of a run folder's checkpoint; 0 where there is none that can be read."""
    for name in ("last", ".last.old"):
        with contextlib.suppress(OSError, RuntimeError, EOFError, ValueError, LookupError):
            state = torch.load(run / name / STATE, "cpu", weights_only=True, mmap=True)
            return int(state["step"])
    return 0


def random_states() -> dict[str, Any]:
    """States of the generators in use, as tensors and plain values."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def restore_random_states(states: dict[str, Any]) -> None:
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def save_release(
    path: Path,
    network: nn.Module,
    metadata: dict[str, Any],
    parts: dict[str, nn.Module] | None = None,
) -> None:
    """Weights for use, with config, contract and metrics as JSON in the file's own metadata.

    `parts`: networks that belong to it; their tensors are named `<part>/<tensor>`.
    """
    temporary = temporary_name(path)
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    tensors = dict(network.state_dict())
    for part, other in (parts or {}).items():
        tensors |= {f"{part}/{key}": tensor for key, tensor in other.state_dict().items()}
    try:
        save_file(_separate(tensors), temporary, metadata=texts)
        _flush(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError, RuntimeError) as error:
        kept = "; the last good one is kept" if path.exists() else ""
        raise CheckpointError(f"{path}: weights could not be written ({error}){kept}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_release(path: str | Path, part: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and metadata of a weights file, of its main network or of a named `part`; the
    others' tensors are not read. Tensors stored in half precision or int8 come back in float32.
    CheckpointError when it is missing or damaged."""
    with opened(path) as file:
        named = [(*key.rpartition("/")[::2], key) for key in file.keys()]  # noqa: SIM118
        stored = {own: file.get_tensor(key) for owner, own, key in named if owner == part}
        return to_float(stored, f"{path}, {part}" if part else str(path)), metadata_of(file)


def to_int8(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """A finite tensor's rows (first dimension) as int8 from -127 to 127, and their scales.

    Shape: as given, and (rows,), float32. Row times scale is the tensor again, off by at most half
    a scale: 1/254 of the row's largest number. Smaller scales that clip it were no better for the
    networks that ship. The rows of a convolution or linear layer are its output channels; those of
    a transposed convolution its input channels.
    """
    rows = tensor.float().flatten(1)
    scale = rows.abs().amax(1) / 127
    whole = (rows / scale.masked_fill(scale == 0, 1)[:, None]).round().clamp(-127, 127)
    return whole.to(torch.int8).view(tensor.shape), scale


def to_float(stored: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A file's tensors as a network takes them, half precision and int8 in float32.

    CheckpointError, naming `source` and the tensor, when the scales of one in int8 are not there or
    not one finite number for each of its rows.
    """
    state = dict(stored)
    for key, tensor in stored.items():
        if tensor.dtype == torch.float16:
            state[key] = tensor.float()
        if tensor.dtype != torch.int8:
            continue
        scale = state.pop(key + SCALE, None)
        found = "is missing" if scale is None else f"has shape {tuple(scale.shape)}"
        if scale is None or scale.shape != tensor.shape[:1] or not scale.isfinite().all():
            raise CheckpointError(
                f"{source}: {key} is stored in int8, its {key}{SCALE} {found}; needed are "
                f"{len(tensor)} finite numbers, one for each of its rows"
            )
        state[key] = tensor * scale.float().view(-1, *(1,) * (tensor.ndim - 1))
    return state


def load_inpainter(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[nn.Module, dict[str, Any]]:
    """The inpainter of a weights file, ready for use, and the file's metadata.

    Returns (network in evaluation mode on `device`, metadata with "config", "contract", "metrics").
    """
    return load_network(path, device, INPAINTING)


def load_segmenter(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[nn.Module, dict[str, Any]]:
    """The segmenter of a weights file, ready for use, and the file's metadata; as load_inpainter"""
    return load_network(path, device, SEGMENTATION)


def load_identity_network(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[nn.Module, dict[str, Any]]:
    """The identity network of a weights file, ready for use, and the file's metadata; as
    load_inpainter. The people, in the order of its outputs: metadata["config"]["data"].
    """
    return load_network(path, device, IDENTITY)


def load_network(
    path: str | Path, device: str | torch.device, task: str
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a weights file of this task; as load_inpainter."""
    state, metadata = load_release(path)
    check_config(metadata, path)
    check_version(metadata, str(path))
    if release_task(metadata) != task:
        raise CheckpointError(
            f"{path}: holds a network for {release_task(metadata)}, one for {task} is needed here"
        )
    return network_of(metadata["config"], state, str(path)).to(device), metadata


def network_of(config: dict[str, Any], state: dict[str, Tensor], source: str) -> nn.Module:
    """The network that a run's `config` describes with these weights, frozen, in evaluation mode.

    CheckpointError, naming `source`, when they are another architecture's.
    """
    task, model = TASKS[task_of(config)], dict(config["model"])
    if takes_option(task.networks, model["name"], "pretrained"):
        model["pretrained"] = False  # the file has every weight
    try:
        network = task.create(**model)
    except (
        ValueError,
        TypeError,
    ) as error:  # options that this network does not have, or of a kind
        raise CheckpointError(f"{source}: config.model in its metadata: {error}") from error
    load_strictly(network, state, source)
    return network.requires_grad_(False).eval()


def load_strictly(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load every tensor or raise CheckpointError with a readable difference."""
    own = network.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = [
        f"{key}: {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} expected"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(names)} {what} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
            for what, names in (
                ("tensors missing", missing), ("unexpected", unexpected), ("of another shape",
                shapes)
            )
            if names
        ]  # fmt: skip
        raise CheckpointError(
            f"{source}: is of another architecture than {type(network).__name__}: "
            + "; ".join(parts)
        )
    network.load_state_dict(state)


def create_features(name: str, options: Mapping[str, Any]) -> "IdentityNet":
    """An identity network, frozen, with random weights, for those that are loaded next."""
    if takes_option(IDENTITY_NETWORKS, name, "pretrained"):
        options = {**options, "pretrained": False}
    network = create_identity_network(name, **options).requires_grad_(False).eval()
    return cast("IdentityNet", network)


def load_features(path: str | Path) -> "IdentityNet | None":
    """The network whose embedding of the occluded image conditions the inpainter of a weights file;
    None when that takes no features."""
    state, metadata = load_release(path, "features")
    return features_of(metadata.get("config", {}), state, str(path))


def features_of(config: Mapping[str, Any], state: dict, source: str) -> "IdentityNet | None":
    """The features that a run's `config` names, with these weights; None when it names none.

    CheckpointError, naming `source`, when the weights are missing or another architecture's.
    """
    known = config.get("features")
    if known is None:
        return None
    if not state:
        raise CheckpointError(f"{source}: its inpainter takes features, their network is missing")
    options = {k: v for k, v in known.items() if k not in ("name", "weights")}
    network = create_features(known["name"], options)
    load_strictly(network, state, f"{source} (features)")
    return network
