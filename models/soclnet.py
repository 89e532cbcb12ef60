"""SOCLNET, the segmenter of the De-Occlusion Face Model: DeepLabv3 with self-attention.

Gutierrez-Velazquez, Chacon-Murguia and Ramirez-Quintana, IEEE Latin America Transactions 2025, DOI
10.1109/TLA.2025.11072503. No code of it is public; this is built from its description.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import (
    MobileNet_V3_Large_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsEnum,
    mobilenet_v3_large,
    resnet50,
    resnet101,
)
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from deocclude.models.blocks import ImageNetNormalise, SelfAttention2d, pad_to_multiple
from deocclude.models.pretrained import load_backbone
from deocclude.names import shown

MIN_SIDE = 16


class Backbone(NamedTuple):
    """A classifier that DeepLabv3 can stand on, its weights, and its layers that are used.

    `strides` maps an output stride to the builder's options; the first is torchvision's choice.
    `taps`: (layer, channels) for the ASPP head and for the auxiliary head.
    """

    build: Callable[..., nn.Module]
    weights: WeightsEnum
    strides: dict[int, dict]
    taps: tuple[tuple[str, int], tuple[str, int]]


RESNET_STRIDES = {
    8: {"replace_stride_with_dilation": [False, True, True]},
    16: {"replace_stride_with_dilation": [False, False, True]},
    32: {},
}
RESNET_TAPS = (("layer4", 2048), ("layer3", 1024))
BACKBONES: dict[str, Backbone] = {
    "resnet50": Backbone(resnet50, ResNet50_Weights.IMAGENET1K_V2, RESNET_STRIDES, RESNET_TAPS),
    "resnet101": Backbone(resnet101, ResNet101_Weights.IMAGENET1K_V2, RESNET_STRIDES, RESNET_TAPS),
    "mobilenet_v3_large": Backbone(
        mobilenet_v3_large,
        MobileNet_V3_Large_Weights.IMAGENET1K_V2,
        {16: {"dilated": True}, 32: {}},
        (("16", 960), ("4", 40)),
    ),
}


class SOCLNET(nn.Module):
    """torchvision's DeepLabv3 with self-attention between the backbone and the ASPP head.

    Shape: occluded (N, 3, H, W) in [0, 1] -> logits (N, 1, H, W), any H and W of at least 16; in
    training mode with `auxiliary`, (logits, auxiliary logits), both (N, 1, H, W). ImageNet
    normalisation is done inside.

    The attention has SAGAN's layers on all channels of the backbone: with C = 2048, 2 C^2 / 8 for
    queries and keys and C^2 for values make 5.25 M parameters on top of DeepLabv3's 39.6 M. Its
    gain starts at 0, so that training starts from DeepLabv3. Queries and keys are normalised:
    without, their products on 2048 unnormalised channels have a standard deviation of hundreds at
    the start and of hundreds of thousands after 36 000 images, so that each position copies one
    other, and the training is unstable.

    A training batch needs two images: ASPP's pooled branch normalises one value an image.

    Args:
        backbone: resnet50, resnet101 or mobilenet_v3_large.
        attention: False is DeepLabv3, the ablation.
        auxiliary: torchvision's auxiliary head, for training only.
        pretrained: the backbone's weights: auto, true, false or a file (see `models.pretrained`).
        output_stride: of the features; None is torchvision's choice, 8 for ResNets, 16 for
            MobileNetV3. Logits are interpolated from a grid this coarse: at 64 px the best grid for
            a random blob reaches an IoU of about 0.91 at stride 8 and 0.74 at stride 16.
        atrous_rates: dilations of ASPP's 3 x 3 branches. torchvision's (12, 24, 36) are made for
            pictures of 500 px: on the 8 x 8 features of a 64 px picture every tap but the middle
            one falls into the padding, and the branches are 1 x 1 convolutions in effect;
            such as (2, 4, 6) is then of use.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        attention: bool = True,
        auxiliary: bool = False,
        pretrained: str | bool = "auto",
        output_stride: int | None = None,
        atrous_rates: Sequence[int] = (12, 24, 36),
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: {shown(backbone)} is not one of {', '.join(BACKBONES)}")
        if not atrous_rates or min(atrous_rates) < 1:
            raise ValueError(f"atrous_rates: {atrous_rates} must be one or more numbers from 1 on")
        build, weights, strides, (deep, middle) = BACKBONES[backbone]
        self.stride = next(iter(strides)) if output_stride is None else output_stride
        if self.stride not in strides:
            raise ValueError(
                f"output_stride: {output_stride} is not one of {', '.join(map(str, strides))}, "
                f"which {backbone} can have"
            )
        network = build(weights=None, **strides[self.stride])
        for unused in ("avgpool", "fc", "classifier"):
            if hasattr(network, unused):
                delattr(network, unused)
        self.origin = f"{backbone}: {load_backbone(network, pretrained, weights)}"
        layers = {deep[0]: "deep"} | ({middle[0]: "middle"} if auxiliary else {})
        self.normalise = ImageNetNormalise()
        self.backbone = IntermediateLayerGetter(getattr(network, "features", network), layers)
        self.attention = (
            SelfAttention2d(deep[1], query_key_norm=True) if attention else nn.Identity()
        )
        self.head = DeepLabHead(deep[1], 1, tuple(atrous_rates))
        self.auxiliary = FCNHead(middle[1], 1) if auxiliary else None

    def forward(self, occluded: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        height, width = occluded.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise ValueError(
                f"input is {height} x {width}; SOCLNET needs at least {MIN_SIDE} x {MIN_SIDE}"
            )
        if self.training and len(occluded) == 1:
            raise ValueError(
                "SOCLNET cannot train on a batch of 1 image: ASPP's pooled branch has one value a "
                "channel there, which batch normalisation cannot use; take 2 or more"
            )
        padded = pad_to_multiple(occluded, self.stride)
        features = self.backbone(self.normalise(padded))
        logits = [self.head(self.attention(features["deep"]))]
        if self.auxiliary is not None and self.training:
            logits.append(self.auxiliary(features["middle"]))
        full = [
            F.interpolate(part, size=padded.shape[-2:], mode="bilinear")[..., :height, :width]
            for part in logits
        ]
        return full[0] if len(full) == 1 else (full[0], full[1])
