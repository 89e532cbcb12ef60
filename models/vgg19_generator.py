"""The generator of "Facial Inpainting with Generator and VGG Feature Extraction" (2024 slides).

Stated there: three convolution-BatchNorm-ReLU blocks that downsample, residual blocks, a decoder of
transposed convolutions, tanh. Channels, kernels and the number of residual blocks are not stated.
Chosen here: 64-128-256 channels and six blocks, as CycleGAN's generator has them (Zhu et al., ICCV
2017, appendix 7.2), and 4 x 4 kernels at stride 2. No mask input is named, so there is none.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.models.blocks import ResidualBlock, initialise, pad_to_multiple

STRIDE = 8
CALM = 0.1  # gain of the layer before tanh, so that no pixel starts saturated


class VGG19Generator(nn.Module):
    """Three strided convolutions, residual blocks, three transposed convolutions, no skips.

    8.40 M parameters with six blocks, 4.86 M with three, 11.94 M with nine.

    Shape: occluded (N, 3, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at least 32.

    Args:
        residual_blocks: number of residual blocks at stride 8.
        width: channels of the first convolution; then twice and four times as many.
    """

    uses_mask = False
    uses_features = False
    origin = "random initialisation (no pretrained part)"

    def __init__(self, residual_blocks: int = 6, width: int = 64) -> None:
        super().__init__()
        if residual_blocks < 0:
            raise ValueError(f"residual_blocks: {residual_blocks} must be at least 0")
        if width < 1:
            raise ValueError(f"width: {width} must be at least 1")
        widths = (width, 2 * width, 4 * width)
        down: list[nn.Module] = []
        for before, after in pairwise((3, *widths)):
            down.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False))
            down += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*down)
        self.residual = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(residual_blocks)))
        up: list[nn.Module] = []
        for before, after in pairwise(reversed(widths)):
            up.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False))
            up += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        up.append(nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1))
        self.decoder = nn.Sequential(*up)
        initialise(self)
        with torch.no_grad():
            self.decoder[-1].weight.mul_(CALM)

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; VGG19Generator needs 32 x 32 or more")
        x = pad_to_multiple(2 * occluded - 1, STRIDE)
        x = F.tanh(self.decoder(self.residual(self.encoder(x))))
        return (x[..., :height, :width] + 1) / 2
