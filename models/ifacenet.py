"""IFACENET, the inpainter of the De-Occlusion Face Model.

Gutierrez-Velazquez, Chacon-Murguia and Ramirez-Quintana, "De-Occlusion Face Model based on Deep
Occlusor Segmentation and Deep Inpainting Models", IEEE Latin America Transactions 2025, DOI
10.1109/TLA.2025.11072503. Reconstruction and ablations v1 to v3 are settings of this one class.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

from deocclude.models.blocks import (
    MultiDilationBlock,
    SelfAttention2d,
    SeparableConv2d,
    WideConvTranspose2d,
    initialise,
    pad_to_multiple,
)
from deocclude.models.pretrained import load_backbone
from deocclude.names import shown

FEATURES = 512  # channels of each sub-encoder's output and of each dilation branch
RGB = 3  # channels of a picture
STRIDE = 32  # ResNet-50's deepest stride; inputs are padded to a multiple of it


class ResNetEncoder(nn.Module):
    """ResNet-50 without pool and classifier, then a transposed convolution up to stride 16.

    Shape: (N, channels, H, W) -> (N, 512, H / 16, W / 16), H and W multiples of 32.

    Attributes:
        origin: where the weights came from, for the run's record.
    """

    def __init__(self, pretrained: str | bool, freeze: str | bool, channels: int = RGB) -> None:
        super().__init__()
        self.backbone = resnet50(weights=None)
        del self.backbone.fc, self.backbone.avgpool
        self.origin = load_backbone(self.backbone, pretrained, ResNet50_Weights.IMAGENET1K_V2)
        self._widen(channels - RGB)
        self.up = WideConvTranspose2d(2048, FEATURES, kernel_size=4, stride=2, padding=1)
        choice = str(freeze).lower()
        if choice not in ("auto", "true", "false"):
            raise ValueError(f"freeze: {shown(freeze)} is not one of auto, true, false")
        if choice == "true" or (choice == "auto" and not self.origin.startswith("random")):
            self._freeze()

    @torch.no_grad()
    def _widen(self, more: int) -> None:
        """Further input channels, which say nothing at first."""
        stem = self.backbone.conv1
        stem.weight = nn.Parameter(F.pad(stem.weight, (0, 0, 0, 0, 0, more)))
        stem.in_channels += more

    def _freeze(self) -> None:
        """Only the bottlenecks' own convolutions train, and a stem that was given more channels:
        BatchNorm affine and downsampling rest.
        """
        widened = self.backbone.conv1.in_channels > RGB
        for name, parameter in self.backbone.named_parameters():
            in_bottleneck = name.startswith("layer") and ".conv" in name
            parameter.requires_grad_(in_bottleneck or (widened and name == "conv1.weight"))

    def forward(self, x: Tensor) -> Tensor:
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return F.relu(self.up(x))


def light_encoder(channels: int = RGB) -> nn.Sequential:
    """Four separable stride-2 stages. Shape: (N, channels, H, W) -> (N, 512, H / 16, W / 16)."""
    widths = (channels, 64, 128, 256, FEATURES)
    stages = []
    for before, after in pairwise(widths):
        stages += [SeparableConv2d(before, after, stride=2), nn.ReLU(inplace=True)]
    return nn.Sequential(*stages)


def decoder() -> nn.Sequential:
    """Separable fusion, four transposed convolutions. (N, 1536, h, w) -> (N, 3, 16 h, 16 w) in [0,
    1].
    """
    fused = 3 * FEATURES
    layers: list[nn.Module] = [SeparableConv2d(fused, fused), nn.ReLU(inplace=True)]
    widths = (fused, 256, 128, 64, 3)
    for before, after in pairwise(widths):
        kind = WideConvTranspose2d if before == fused else nn.ConvTranspose2d
        layers += [kind(before, after, kernel_size=4, stride=2, padding=1)]
        layers += [nn.Sigmoid() if after == 3 else nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class IFACENET(nn.Module):
    """An ensemble of sub-encoders, self-attention, dilations and a decoder without skip
    connections.

    Shape: occluded (N, 3, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at least 32.

    Args:
        branches: sub-encoders kept, out of "resnet50" and "light"; one or both.
        attention: self-attention on the concatenated features (512 channels a branch).
        pretrained: ResNet-50 weights: auto, true, false or a file (see `models.pretrained`).
        freeze: freezing rule for ResNet-50: auto (only when pretrained weights were loaded), true,
            false.
        initialisation: he (see `models.blocks.initialise`) or torch (PyTorch's default, with which
            little is learned in the first thousands of images); not for the ResNet-50.
        attention_normalise: see `SelfAttention2d`; "published" is the public code's order.
        query_key_norm, attention_gain: `query_key_norm` and `gain` of `SelfAttention2d`.
        mask: whether the mask is a fourth input channel. Published it is none: the hole is a flat
            fill.
    """

    uses_features = False
    as_published: ClassVar = {
        "freeze": True,
        "attention_normalise": "published",
    }  # options of the public code

    def __init__(
        self,
        branches: Sequence[str] = ("resnet50", "light"),
        attention: bool = True,
        pretrained: str | bool = "auto",
        freeze: str | bool = "auto",
        attention_normalise: str = "keys",
        initialisation: str = "he",
        query_key_norm: bool = False,
        attention_gain: float = 0.0,
        mask: bool = False,
    ) -> None:
        super().__init__()
        self.uses_mask = mask
        if initialisation not in ("he", "torch"):
            raise ValueError(f"initialisation: {shown(initialisation)} is not one of he, torch")
        names = list(branches)
        if not names or len(set(names)) != len(names) or set(names) - {"resnet50", "light"}:
            raise ValueError(
                f"branches: {names} must be one or both of 'resnet50' and 'light', each once"
            )
        self.encoders = nn.ModuleDict()
        if "resnet50" in names:
            self.encoders["resnet50"] = ResNetEncoder(pretrained, freeze, RGB + mask)
        if "light" in names:
            self.encoders["light"] = light_encoder(RGB + mask)
        channels = FEATURES * len(names)
        self.attention = (
            SelfAttention2d(channels, attention_normalise, query_key_norm, attention_gain)
            if attention
            else nn.Identity()
        )
        self.dilations = MultiDilationBlock(channels, FEATURES)
        self.decoder = decoder()
        if initialisation == "he":
            self._initialise()

    def _initialise(self) -> None:
        parts = [self.dilations, self.decoder]
        if "light" in self.encoders:
            parts.append(self.encoders["light"])
        if "resnet50" in self.encoders:
            parts.append(self.encoders["resnet50"].up)
        for part in parts:
            initialise(part)

    @property
    def origin(self) -> str:
        """Where the weights at construction came from."""
        if "resnet50" in self.encoders:
            return f"ResNet-50: {self.encoders['resnet50'].origin}"
        return "random initialisation (no pretrained part)"

    def encode(self, occluded: Tensor) -> dict[str, Tensor]:
        """Features of each sub-encoder, (N, 512, H / 16, W / 16); H and W multiples of 32. The mask
        is the fourth channel where it is an input."""
        return {name: encoder(occluded) for name, encoder in self.encoders.items()}

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; IFACENET needs at least 32 x 32")
        if self.uses_mask:
            if mask is None:
                raise ValueError("mask: None, but this network takes it as a fourth channel")
            occluded = torch.cat([occluded, mask.to(occluded.dtype)], dim=1)
        encoded = torch.cat(list(self.encode(pad_to_multiple(occluded, STRIDE)).values()), dim=1)
        prediction = self.decoder(self.dilations(self.attention(encoded)))
        return prediction[..., :height, :width]
