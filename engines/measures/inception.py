"""Inception's 2048 features for FID: the TensorFlow network of 2015, as torch-fidelity has it."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.inception import BasicConv2d, Inception3

from deocclude.engines.measures.hub_weights import AbsentWeights, fetch_weights
from deocclude.models.pretrained import WeightsError, load_fitting, resolve_weights

URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
OTHER_NAMES = ("pt_inception-2015-12-05-6726825d.pth",)  # the same file of pytorch-fid
CLASSES, SIDE, FEATURES = 1008, 299, 2048
TOGETHER = 16  # images of 299 px at once, whatever the batch: 64 would take 2 GiB


class InceptionFeatures(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to (N, 2048), the numbers torch-fidelity and torchmetrics use.

    They differ from torchvision's Inception v3 in the weights (1008 classes), in pooling branches
    that do not count padded pixels or take the maximum, and in the input: 8-bit pixels, resized to
    299 px as TensorFlow 1 does it, without half-pixel offsets.
    """

    def __init__(self):
        super().__init__()
        self.network = Inception3(CLASSES, aux_logits=False, init_weights=False)
        self.network.fc = nn.Identity()
        for name, block in self.network.named_children():
            if name.startswith("Mixed_") and name not in ("Mixed_6a", "Mixed_7a"):
                _pool_as(block, _maximum if name == "Mixed_7c" else _inner_mean)
        self.requires_grad_(False).eval()

    def fused(self) -> "InceptionFeatures":
        """The same with every batch normalisation inside its convolution, which is faster."""
        for block in self.network.modules():
            if isinstance(block, BasicConv2d):
                block.conv = fuse_conv_bn_eval(block.conv, block.bn)
                block.bn = nn.Identity()
        return self.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self._features(part) for part in images.split(TOGETHER)])

    def _features(self, images: Tensor) -> Tensor:
        pixels = images.mul(255).round().clamp(0, 255)
        rows, columns = (_resizing(side, pixels) for side in pixels.shape[-2:])
        resized = torch.einsum("ah,nchw,bw->ncab", rows, pixels, columns)
        return self.network((resized - 128) / 128)


class InceptionChoice(NamedTuple):
    """`network` is None when there are no weights; then `reason` says why."""

    network: nn.Module | None
    reason: str | None
    file: Path | None = None


def build_inception(
    device: str | torch.device = "cpu", file: Path | None = None
) -> InceptionChoice:
    """Inception with FID's weights from `file`, torch hub's cache, or the network.

    Without any of them the reason. FileNotFoundError or ValueError for a file that is missing or
    another network's, such as torchvision's Inception v3.
    """
    try:
        file = file or fetch_weights(URL, OTHER_NAMES)
    except AbsentWeights as error:
        return InceptionChoice(
            None, f"FID needs Inception's weights {error}, or name it: --inception-weights FILE"
        )
    network = InceptionFeatures()
    state, _ = resolve_weights(str(file), None)
    classes = len(state["fc.weight"]) if "fc.weight" in state else None
    if classes != CLASSES:
        raise WeightsError(
            f"{file}: FID's Inception has {CLASSES} classes, this file has {classes or 'none'}; "
            f"the right one is {URL}"
        )
    load_fitting(network.network, state, str(file))
    return InceptionChoice(network.fused().to(device), None, file)


def _pool_as(block: nn.Module, pool) -> None:
    """Have a block's pooling branch start with `pool` instead of torchvision's mean."""
    seen: list[Tensor] = []
    block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block.branch_pool.register_forward_pre_hook(lambda *_: (pool(seen.pop()),))


def _inner_mean(images: Tensor) -> Tensor:
    return functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)


def _maximum(images: Tensor) -> Tensor:
    return functional.max_pool2d(images, 3, 1, 1)


def _resizing(side: int, like: Tensor) -> Tensor:
    """The matrix (299, side) of TensorFlow 1's bilinear resizing along one axis."""
    place = torch.arange(SIDE, device=like.device, dtype=like.dtype) * (side / SIDE)
    low = place.floor().long().clamp(max=side - 1)
    share = (place - low)[:, None]
    identity = torch.eye(side, device=like.device, dtype=like.dtype)
    return identity[low] * (1 - share) + identity[(low + 1).clamp(max=side - 1)] * share
