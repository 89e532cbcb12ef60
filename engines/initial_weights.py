"""Starting a run from another run's weights, tensor by tensor of equal name."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from engines.checkpoint import load_release, release_task
from engines.feature_network import weights_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedByName:
    """What became of a file's tensors: taken, of another shape, not there, not wanted."""

    source: str
    matched: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def words(self) -> str:
        """One line for the log and the run's record."""
        parts = [f"{len(self.matched)} tensors by name from {self.source}"]
        for what, names in (
            ("missing there, left as initialised", self.missing),
            ("unexpected, left out", self.unexpected),
            ("of another shape, left as initialised", self.reshaped),
        ):
            if names:
                shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
                parts.append(f"{len(names)} {what} ({shown})")
        return "; ".join(parts)


@torch.no_grad()
def start_from(network: nn.Module, named: str, runs: Path) -> LoadedByName:
    """Copy every tensor whose name and shape agree from a run's released (EMA) weights.

    `named`: a run's name below `runs`, its folder, or a weights file. FileNotFoundError when it is
    not there; ValueError when it is no inpainter's or when nothing agrees.
    """
    file = weights_file(named, runs)
    state, metadata = load_release(file)
    if release_task(metadata) != "inpainting":
        raise ValueError(f"init_from: {file} was trained for {release_task(metadata)}")
    state = {key: t for key, t in state.items() if not key.startswith("features/")}
    own = network.state_dict()
    shared = own.keys() & state.keys()
    reshaped = {key for key in shared if own[key].shape != state[key].shape}
    for key in shared - reshaped:
        own[key].copy_(state[key])
    if not shared - reshaped:
        raise ValueError(
            f"init_from: no tensor of {file} fits {type(network).__name__} by name and shape"
        )
    return LoadedByName(
        str(file),
        *(
            tuple(sorted(names))
            for names in (
                shared - reshaped,
                reshaped,
                own.keys() - state.keys(),
                state.keys() - own.keys(),
            )
        ),
    )
