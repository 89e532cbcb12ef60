"""The identity network whose embedding of the occluded image conditions an inpainter."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deocclude import models
from deocclude.engines.runs.finished import (
    DEFAULT,
)
from deocclude.engines.runs.metadata import CheckpointError
from deocclude.engines.runs.weights import load_release, load_strictly

if TYPE_CHECKING:
    from deocclude.models.identity import IdentityNet

logger = logging.getLogger(__name__)

MAKE_ONE = f"`python train_identity.py {DEFAULT}` trains one"


def create_features(name: str, options: Mapping[str, Any]) -> "IdentityNet":
    """The network with random weights, frozen, for weights that are loaded next."""
    if models.takes_option("identity", name, "pretrained"):
        options = {**options, "pretrained": False}
    network = models.create_identity_network(name, **options).requires_grad_(False).eval()
    return cast("IdentityNet", network)


def load_features(path: str | Path) -> "IdentityNet | None":
    """The network inside an inpainter's weights file; None when the inpainter takes no features."""
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
