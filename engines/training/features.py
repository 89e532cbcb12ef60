"""The identity network whose embedding of the occluded image conditions an inpainter."""

import logging
from pathlib import Path

from torch import nn

from deocclude.data.files import sha256
from deocclude.engines.runs.finished import (
    DEFAULT,
    MAKE_IDENTITY,
    RANDOM,
    identity_file,
    read_metadata,
    task_of,
)
from deocclude.engines.runs.settings import Features
from deocclude.engines.runs.weights import create_features, load_release, load_strictly

logger = logging.getLogger(__name__)
NO_INFORMATION = "which gives nearly the same numbers for every picture: in effect no features"


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
            DEFAULT, runs, MAKE_IDENTITY,
        )  # fmt: skip
        return features.model_copy(update={"weights": RANDOM})
    config, _ = read_metadata(file)
    if task_of(config) != "identity":
        raise ValueError(
            f"features.weights: {file} was trained for {task_of(config)}, "
            f"an identity network is needed; {MAKE_IDENTITY}"
        )
    return Features(weights=str(file.resolve()), **config["model"])


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
