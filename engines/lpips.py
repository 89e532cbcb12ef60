"""The LPIPS network, or the reason why there is none. Never a stand-in."""

import socket
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

BACKBONES = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights"}
TIMEOUT = 10.0  # seconds without an answer after which a download is given up


class Lpips(nn.Module):
    """LPIPS (Zhang et al. 2018), version 0.1, on images (N, 3, H, W) in [0, 1], to (N,)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.network(prediction, target, normalize=True).reshape(-1)


class LpipsChoice(NamedTuple):
    """`network` is None when LPIPS cannot be computed; then `reason` says why."""

    name: str
    network: nn.Module | None
    reason: str | None


def build_lpips(net: str = "alex", device: str | torch.device = "cpu") -> LpipsChoice:
    """LPIPS with torchvision's ImageNet backbone and the linear heads torchmetrics ships.

    `net`: `alex` (EVALUATION's default, also called `auto`), `vgg`, or `off`. The backbone is read
    from torch hub's cache, else downloaded; without a network this gives up after seconds and
    says where to put the file. ValueError for another `net`.
    """
    net = "alex" if net == "auto" else net
    if net == "off":
        return LpipsChoice("off", None, "LPIPS was switched off")
    if net not in BACKBONES:
        raise ValueError(f"unknown LPIPS network {net!r}; valid: auto, alex, vgg, off")
    problem = _fetch_backbone(net)
    if problem is not None:
        return LpipsChoice(net, None, problem)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=FutureWarning)
        metric = LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True)
    return LpipsChoice(net, Lpips(metric.net).eval().to(device), None)


def _fetch_backbone(net: str) -> str | None:
    """Make sure the weights are in torch hub's cache; the problem in words if they cannot be."""
    import torchvision.models

    url = getattr(torchvision.models, BACKBONES[net]).DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / url.rsplit("/", 1)[-1]
    if file.is_file():
        return None
    try:
        with _time_limit(TIMEOUT):
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")):
                pass
            torch.hub.load_state_dict_from_url(url, check_hash=True, map_location="cpu")
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        cause = getattr(error, "reason", error)
        return (
            f"LPIPS ({net}) needs the backbone weights {url}, which could not be downloaded "
            f"({cause}); put the file into {folder}"
        )
    return None


@contextmanager
def _time_limit(seconds: float):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
