"""The identity network whose embedding of the occluded image conditions an inpainter."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from deocclude import models
from deocclude.data.files import sha256
from deocclude.engines.runs.weights import CheckpointError, load_release, load_strictly
from deocclude.engines.runs.finished import WEIGHTS, finished_runs, read_metadata, resolve_runs, task_of
from deocclude.engines.runs.recipes import is_recipe
from deocclude.engines.runs.settings import Features

logger = logging.getLogger(__name__)

RANDOM, AUTO = "random", "auto"
NO_INFORMATION = "which gives nearly the same numbers for every picture: in effect no features"
DEFAULT = "EfficientNetB0"  # the run that `auto` means
MAKE_ONE = f"`python train_identity.py {DEFAULT}` trains one"


def newest_identity(runs: Path) -> Path | None:
    """The latest finished run of `DEFAULT` below `runs`, which `auto` takes; None without one."""
    found = [run for run in finished_runs(runs, task="identity") if run.parent.name == DEFAULT]
    return found[-1] if found else None


def identity_file(named: str, runs: Path) -> Path | None:
    """The weights file that `auto`, a run or a file means; None for `auto` without a finished run
    of `DEFAULT`. Errors as of `weights_file`."""
    if named != AUTO:
        return weights_file(named, runs)
    newest = newest_identity(runs)
    return None if newest is None else newest / WEIGHTS


def settle_features(features: Features | None, runs: Path) -> Features | None:
    """The same with `weights` told, `random` or a weights file, and that network's options.

    `runs` is where finished runs lie. FileNotFoundError or ValueError for a run that is not there
    or that trained something else.
    """
    if features is None or features.weights == RANDOM:
        return features
    file = identity_file(features.weights, runs)
    if file is None:
        logger.warning(
            "features  no finished run of %s below %s: the embedding comes from a network "
            "with random weights, " + NO_INFORMATION + "; %s",
            DEFAULT, runs, MAKE_ONE,
        )  # fmt: skip
        return features.model_copy(update={"weights": RANDOM})
    config, _ = read_metadata(file)
    if task_of(config) != "identity":
        raise ValueError(
            f"features.weights: {file} was trained for {task_of(config)}, "
            f"an identity network is needed; {MAKE_ONE}"
        )
    return Features(weights=str(file.resolve()), **config["model"])


def weights_file(named: str, runs: Path) -> Path:
    """The weights file of a run's name or folder, or the file itself. FileNotFoundError when there
    is none, ValueError for an ensemble's YAML."""
    if is_recipe(named):
        raise ValueError(f"{named}: is an ensemble's YAML; a run or a weights file is needed here")
    if named.endswith(".safetensors"):
        if not Path(named).is_file():
            raise FileNotFoundError(f"{named}: no such weights file")
        return Path(named)
    return resolve_runs([named], runs)[0] / WEIGHTS


def create_features(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The network with random weights, frozen, for weights that are loaded next."""
    if models.takes_option("identity", name, "pretrained"):
        options = {**options, "pretrained": False}
    return models.create_identity_network(name, **options).requires_grad_(False).eval()


def open_features(
    features: Features | None, continued: bool = False
) -> tuple[nn.Module | None, str]:
    """The network of settled features, and where its weights came from.

    A `continued` run has them in its checkpoint: the file they once came from is not looked at.
    """
    if features is None:
        return None, ""
    network = create_features(features.name, features.options)
    if features.weights == RANDOM:
        return network, f"random initialisation, {NO_INFORMATION}"
    if continued:
        return network, f"the run's own checkpoint, first from {features.weights}"
    state, _ = load_release(features.weights)
    load_strictly(network, state, features.weights)
    return network, f"file {features.weights}"


def released_as(features: Features) -> str:
    """What a weights file says of where its features came from: no path of this machine."""
    file = Path(features.weights)
    if features.weights == RANDOM or not file.is_file():
        return file.name
    return f"{file.parent.parent.name}/{file.parent.name}, sha256 {sha256(file)}"


def features_for(
    generator: nn.Module, features: Features | None, continued: bool = False
) -> tuple[nn.Module | None, dict[str, str]]:
    """The network of settled features and its origin, where `generator` takes some.

    ValueError when generator and configuration disagree on whether there are any, or on how many
    numbers an embedding has.
    """
    takes, kind = getattr(generator, "uses_features", False), type(generator).__name__
    if takes != (features is not None):
        found = "null" if features is None else features.name
        raise ValueError(
            f"features: {kind} with these options takes {'' if takes else 'no '}features, "
            f"but features is {found}"
        )
    network, origin = open_features(features, continued)
    if network is None:
        return None, {}
    if network.embedding != generator.embedding:
        raise ValueError(
            f"features: the embedding of {features.name} has {network.embedding} numbers, {kind} "
            f"takes {generator.embedding}; set model.embedding={network.embedding}"
        )
    return network, {"features": origin}


def load_features(path: str | Path) -> nn.Module | None:
    """The network inside an inpainter's weights file; None when the inpainter takes no features."""
    state, metadata = load_release(path, "features")
    return features_of(metadata.get("config", {}), state, str(path))


def features_of(config: Mapping[str, Any], state: dict, source: str) -> nn.Module | None:
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
