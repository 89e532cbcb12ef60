"""U-Net: an encoder and a decoder joined at every scale (Ronneberger et al., MICCAI 2015)."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from deocclude.models.blocks import (
    ResidualBlock,
    SeparableConv2d,
    initialise,
    pad_to_multiple,
)
from deocclude.names import shown

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "none": lambda channels: nn.Identity(),
}
MIN_SIDE = 16


class ConvBlock(nn.Sequential):
    """Twice a 3 x 3 convolution, normalisation, ReLU. (N, before, H, W) -> (N, after, H, W)."""

    def __init__(self, before: int, after: int, norm: str, separable: bool) -> None:
        layers: list[nn.Module] = []
        for channels in (before, after):
            if separable:
                layers.append(SeparableConv2d(channels, after))
            else:
                layers.append(nn.Conv2d(channels, after, 3, padding=1, bias=norm == "none"))
            layers += [NORMS[norm](after), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net; with its defaults the segmenter of the attention-based GAN (64-128-256-512, one logit)

    `depth` scales of width, 2 width, 4 width, ... channels: max-pooling on the way down, on the way
    up 2 x 2 transposed convolutions and the concatenated features of the same scale, a 1 x 1
    convolution at the end and no activation. The published text names four widths and no wider
    bottleneck, so 512 is the deepest; `depth=5` adds one of 1024.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W), any H and W of at least 16: the right
    and lower edge are replicated up to a multiple of 2^(depth - 1) and cut off again.

    Args:
        width: channels at full resolution.
        depth: number of scales, 2 to 6.
        norm: batch, instance or none.
        separable: depthwise-separable convolutions in the blocks.
        widths: channels of every scale, in place of `width` and `depth`.
        residual: residual blocks at each scale's end of the way down, as many numbers as scales;
            none where it is empty. They have BatchNorm.
    """

    origin = "random initialisation (no pretrained part)"

    def __init__(
        self,
        width: int = 64,
        depth: int = 4,
        in_channels: int = 3,
        out_channels: int = 1,
        norm: str = "batch",
        separable: bool = False,
        widths: Sequence[int] = (),
        residual: Sequence[int] = (),
    ) -> None:
        super().__init__()
        depth = len(widths) or depth
        if not 2 <= depth <= 6:
            what = f"widths: {len(widths)} numbers" if widths else f"depth: {depth}"
            raise ValueError(f"{what} must lie between 2 and 6")
        if residual and (len(residual) != depth or min(residual) < 0):
            raise ValueError(
                f"residual: {list(residual)} must be {depth} numbers of 0 or more, one a scale"
            )
        widths = list(widths) or [width * 2**scale for scale in range(depth)]
        width = min(widths)
        for name, number in (
            ("width", width),
            ("in_channels", in_channels),
            ("out_channels", out_channels),
        ):
            if number < 1:
                raise ValueError(f"{name}: {number} must be at least 1")
        if norm not in NORMS:
            raise ValueError(f"norm: {shown(norm)} is not one of {', '.join(NORMS)}")
        self.multiple = 2 ** (depth - 1)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            ConvBlock(before, after, norm, separable)
            for before, after in pairwise([in_channels, *widths])
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(deep, fine, kernel_size=2, stride=2)
            for fine, deep in reversed(list(pairwise(widths)))
        )
        self.fuse = nn.ModuleList(
            ConvBlock(2 * fine, fine, norm, separable) for fine in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        self.deep = nn.ModuleList(
            nn.ModuleList(ResidualBlock(channels, start=0) for _ in range(count))
            for channels, count in zip(widths, residual or [0] * depth, strict=True)
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise ValueError(
                f"input is {height} x {width}; UNet needs at least {MIN_SIDE} x {MIN_SIDE}"
            )
        x = pad_to_multiple(x, self.multiple)
        skips: list[Tensor] = []
        for block, deep in zip(self.down, self.deep, strict=True):
            x = block(self.pool(x) if skips else x)
            for residual in deep:
                x = torch.relu(residual(x))
            skips.append(x)
        for up, fuse, skip in zip(self.up, self.fuse, reversed(skips[:-1]), strict=True):
            x = fuse(torch.cat([skip, up(x)], dim=1))
        return self.head(x)[..., :height, :width]
