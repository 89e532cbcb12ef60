"""Weights of torchvision's backbones: where they come from, said and recorded.

`weights` is one of: "auto" (published weights when they are cached or can be downloaded, else
random), "true" / "imagenet" (published weights or an error), "false" / "random", or the path of a
file.
"""

from __future__ import annotations

import pickle
import socket
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

TIMEOUT = 20.0  # seconds without an answer after which a download server counts as out of reach


class WeightsError(ValueError):
    """Pretrained weights that cannot be had or do not fit; the message says which and why."""


def resolve_weights(weights: str | bool, published: WeightsEnum) -> tuple[dict | None, str]:
    """The state dict to load (None: keep the random initialisation) and a sentence on its origin.

    Raises FileNotFoundError for a file that does not exist, WeightsError when it cannot be read or
    when published weights were demanded and cannot be had.
    """
    choice = str(weights).lower()
    if choice in ("false", "random"):
        return None, "random initialisation (asked for)"
    if choice in ("auto", "true", "imagenet"):
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT)
        try:
            state = torch.hub.load_state_dict_from_url(
                published.url, progress=False, check_hash=True, map_location="cpu"
            )
        except (OSError, urllib.error.URLError, RuntimeError) as error:
            reason = f"{published.url.rsplit('/', 1)[-1]} cannot be had: {error}"
            if choice != "auto":
                raise WeightsError(
                    f"pretrained weights were asked for, but {reason}; "
                    "give the path of a downloaded file, or 'auto' or 'false'"
                ) from error
            return None, f"random initialisation ({reason})"
        finally:
            socket.setdefaulttimeout(patience)
        return state, f"torchvision {published}"
    valid = "auto, true (imagenet), false (random), or the path of a file"
    return read_weights(Path(str(weights)), valid)


def read_weights(path: Path, valid: str) -> tuple[dict, str]:
    """The state dict of a file and a sentence on its origin.

    Raises FileNotFoundError, with what would be `valid`, when there is none, and WeightsError when
    it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights {str(path)!r}: no such file; valid are {valid}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    return state, f"file {path.name}"


def load_fitting(module: nn.Module, state: dict, origin: str) -> None:
    """Load those of `state`'s tensors that `module` has. WeightsError when one lacks or differs."""
    own = module.state_dict()
    missing = [k for k in own if k not in state and "num_batches_tracked" not in k]
    wrong = [k for k in own if k in state and state[k].shape != own[k].shape]
    if missing or wrong:
        raise WeightsError(
            f"{origin} does not fit {type(module).__name__}: "
            f"{len(missing)} tensors missing {missing[:3]}, "
            f"{len(wrong)} of another shape {wrong[:3]}"
        )
    module.load_state_dict({k: state[k] for k in own if k in state}, strict=False)


def load_backbone(module: nn.Module, weights: str | bool, published: WeightsEnum) -> str:
    """Load `weights` into a torchvision network, classifier ignored; returns the origin."""
    state, origin = resolve_weights(weights, published)
    if state is not None:
        load_fitting(module, state, origin)
    return origin
