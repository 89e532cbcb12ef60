"""The LPIPS networks. Never a stand-in: without published weights there is none."""

import warnings
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from deocclude.engines.measures.hub_weights import AbsentWeights, fetch_weights
from deocclude.metrics.once_per_target import OncePerTarget
from deocclude.models.pretrained import load_fitting, resolve_weights

BACKBONES = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights"}
LABELS = {"alex": "AlexNet", "vgg": "VGG-16"}
TOGETHER = 1 << 20  # pixels looked at together: 16 pictures of 256 px, 0.5 GiB of VGG's features


class Lpips(nn.Module):
    """LPIPS (Zhang et al. 2018), version 0.1, on images (N, 3, H, W) in [0, 1], to (N,).

    `network` is torchmetrics'; this is its forward pass, with the target's features computed once
    where those of all pictures fit into memory.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self._of_target = OncePerTarget(self._features)

    @torch.inference_mode()
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        count = max(1, TOGETHER // prediction[0, 0].numel())
        if len(prediction) <= count:
            return self._distance(prediction, self._of_target(target))
        parts = zip(prediction.split(count), target.split(count), strict=True)
        return torch.cat([self._distance(p, self._features(t)) for p, t in parts])

    def _distance(self, prediction: Tensor, of_target: list[Tensor]) -> Tensor:
        layers = zip(self.network.lins, self._features(prediction), of_target, strict=True)
        return sum(lin((a - b).square()).mean((1, 2, 3)) for lin, a, b in layers)

    def _features(self, images: Tensor) -> list[Tensor]:
        """Each layer's channels scaled to length 1 at every place."""
        found = self.network.net(self.network.scaling_layer(2 * images - 1))
        return [f / (f.square().sum(1, keepdim=True) + 1e-8).sqrt() for f in found]


class LpipsChoice(NamedTuple):
    """`network` is None when LPIPS cannot be computed; then `reason` says why. `file` has the
    backbone's weights."""

    name: str
    network: nn.Module | None
    reason: str | None
    file: Path | None = None


def parse_networks(text: str) -> list[str]:
    """`alex,vgg` to its networks, `auto` to AlexNet (EVALUATION's), `off` to none. ValueError lists
    what is valid."""
    names = ["alex" if name.strip() == "auto" else name.strip() for name in text.split(",")]
    for name in names:
        if name not in BACKBONES and names != ["off"]:
            raise ValueError(f"unknown LPIPS network {name!r}; valid: auto, alex, vgg, off")
    return [] if names == ["off"] else list(dict.fromkeys(names))


def build_lpips(
    net: str = "alex", device: str | torch.device = "cpu", file: Path | None = None
) -> LpipsChoice:
    """LPIPS with torchvision's ImageNet backbone and the linear heads torchmetrics ships.

    `net`: `alex` or `vgg`. The backbone is read from `file`, from torch hub's cache, or downloaded;
    without a network this gives up after seconds and says where to put the file. ValueError for
    another `net` and for a file of another network.
    """
    if net not in BACKBONES:
        raise ValueError(f"unknown LPIPS network {net!r}; valid: {', '.join(BACKBONES)}")
    published: WeightsEnum = getattr(torchvision.models, BACKBONES[net]).DEFAULT
    try:
        file = file or fetch_weights(published.url)
    except AbsentWeights as error:
        reason = f"LPIPS ({net}) needs the backbone weights {error}, or name it: --lpips-weights"
        return LpipsChoice(net, None, f"{reason} {net}=FILE")
    network = untrained_lpips(net)
    state, _ = resolve_weights(str(file), published)
    sources = {key: f"features.{key.partition('.')[2]}" for key in network.net.state_dict()}
    named = {key: state[source] for key, source in sources.items() if source in state}
    load_fitting(network.net, named, f"{file}, as the backbone of LPIPS ({net}),")
    return LpipsChoice(net, Lpips(network).to(device), None, file)


def untrained_lpips(net: str) -> nn.Module:
    """The network with torchmetrics' heads and a backbone of random weights, frozen."""
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=FutureWarning)
        return _NoTrainLpips(net=net, pnet_rand=True).requires_grad_(False).eval()
