"""Starting a run from another run's weights, tensor by tensor of equal name."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from deocclude.engines.runs.folder import END, RunFolderError, read_end
from deocclude.engines.runs.metadata import release_task
from deocclude.engines.runs.settings import Start, Weights
from deocclude.engines.runs.weights import load_release
from deocclude.names import did_you_mean, shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedByName:
    """What became of a file's tensors: taken, not there, not wanted.

    share: of the network's numbers, those that were taken. trained: how long the file's run was.
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    share: float
    trained: str

    @property
    def tensors(self) -> frozenset[str]:
        """The names of all that the file has of the network, or of its part."""
        return frozenset(self.matched + self.unexpected)

    def words(self) -> str:
        """One line for the log and the run's record."""
        parts = [
            f"{len(self.matched)} tensors by name, {self.share:.0%} of the numbers, from "
            f"{self.source} ({self.trained})"
        ]
        for what, names in (
            ("missing there, left as initialised", self.missing),
            ("unexpected, left out", self.unexpected),
        ):
            if names:
                shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
                parts.append(f"{len(names)} {what} ({shown})")
        return "; ".join(parts)


@torch.no_grad()
def start_from(network: nn.Module, files: Start, task: str) -> str:
    """Copy every tensor whose name agrees from a run's released (EMA) weights, fitted where the
    network knows how; what was copied, in words.

    `files`: a weights file of this task, or one for each part of the network: of a run of that part
    alone, or of a network that has such a part. Several files in place of one, of runs which
    trained on from the same weights, give their mean (network interpolation: Wang et al., ESRGAN,
    ECCV workshops 2018, section 3.4). ValueError when a file is not there, was trained for another
    task, when a tensor of equal name has another shape, when none agrees, when the network has no
    such part, or when files that are to be averaged differ in tensors.
    """
    if not isinstance(files, Mapping):
        return _start_part(network, files, task)
    parts = dict(network.named_children())
    unknown = [part for part in files if part not in parts]
    if unknown:
        raise ValueError(
            f"init_from: {type(network).__name__} has no part {shown(unknown[0])}; its parts are "
            f"{', '.join(parts)}{did_you_mean(unknown[0], parts)}"
        )
    return "; ".join(_start_part(parts[part], given, task, part) for part, given in files.items())


def _start_part(network: nn.Module, files: Weights, task: str, part: str = "") -> str:
    """Nothing is copied before all files are found to fit."""
    listed = [files] if isinstance(files, str) else files
    found = [_read(network, Path(file), task, part) for file in listed]
    first = found[0][1]
    for _, one in found[1:]:
        if odd := sorted(one.tensors ^ first.tensors):
            raise ValueError(
                f"init_from: no mean of {first.source} and {one.source}: only one of them has "
                f"{odd[0]}{f' and {len(odd) - 1} more' if odd[1:] else ''}"
            )
    own = network.state_dict()
    for key in first.matched:
        each = torch.stack([state[key] for state, _ in found])
        own[key].copy_(each.float().mean(0) if each.is_floating_point() else each[-1])
    return "; ".join(one.words() for _, one in found)


def _read(
    network: nn.Module, file: Path, task: str, part: str
) -> tuple[dict[str, torch.Tensor], LoadedByName]:
    """A file's tensors, fitted to the network, and what of them it can take."""
    state, metadata = load_release(file)
    if release_task(metadata) != task:
        raise ValueError(f"init_from: {file} was trained for {release_task(metadata)}, not {task}")
    if part and any(key.startswith(f"{part}.") for key in state):
        state = {
            key.removeprefix(f"{part}."): tensor
            for key, tensor in state.items()
            if key.startswith(f"{part}.")
        }
    if hasattr(network, "fitted"):
        state = network.fitted(state)
    own = network.state_dict()
    shared = sorted(own.keys() & state.keys())
    reshaped = [
        f"{key} {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in shared
        if own[key].shape != state[key].shape
    ]
    if reshaped or not shared:
        found = "no tensor has a name that fits" if not shared else ", ".join(reshaped[:3])
        raise ValueError(
            f"init_from: {file} does not fit {type(network).__name__} as it is configured here: "
            f"{found}{', ...' if len(reshaped) > 3 else ''}"
        )
    taken = sum(own[key].numel() for key in shared)
    return state, LoadedByName(
        str(file),
        tuple(shared),
        tuple(sorted(own.keys() - state.keys())),
        tuple(sorted(state.keys() - own.keys())),
        taken / sum(tensor.numel() for tensor in own.values()),
        _trained(file),
    )


def _trained(file: Path) -> str:
    """How long the run of a weights file trained; a warning when it did not reach its end."""
    if not (file.parent / END).is_file():
        return "from outside of a finished run"
    try:
        facts = read_end(file.parent)
    except RunFolderError as error:
        logger.warning("init_from %s: %s", file.parent, error)
        return "for how long is not told"
    reason, steps = facts.get("reason", "unknown"), facts.get("steps", "?")
    if reason not in ("epochs", "early_stop"):
        logger.warning(
            "init_from %s: that run was stopped (%s) after %s steps", file.parent, reason, steps
        )
    return f"{facts.get('images', '?')} images, ended by {reason}"
