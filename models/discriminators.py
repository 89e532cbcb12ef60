"""Discriminators: images in, a map of real-or-fake logits out."""

from torch import Tensor, nn

from models.blocks import SeparableConv2d


class SeparablePatchDiscriminator(nn.Module):
    """Patch discriminator of depthwise-separable convolutions (the De-Occlusion Face Model's).

    Shape: (N, in_channels, H, W) -> logits (N, 1, H / 16, W / 16). 0.183 M parameters.
    """

    def __init__(self, in_channels: int = 3, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((in_channels, *widths), widths, strict=False):
            layers += [SeparableConv2d(before, after, stride=2), nn.LeakyReLU(0.2, inplace=True)]
        layers += [SeparableConv2d(widths[-1], 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)
