"""The generator of "Facial Deocclusion - Remove objects covering your face" (2024 report).

Stated there: a U-Net of residual blocks 32-64-128-256-512 with max-pooling, a bottleneck
convolution of 1024, 2 x 2 transposed convolutions each followed by a residual block, tanh; an
attention module on the 128-channel features: CBAM's spatial attention, four 3 x 3 convolutions
(256, 512, 256, 128 filters), F_enc * A_enc + F_dec * A_dec added to the decoder. Chosen here, where
it is silent: BatchNorm in the blocks, concatenated skips, one stack of four convolutions on both
attended features whose sigmoid is A_enc, with A_dec = 1 - A_enc.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.models.blocks import initialise, pad_to_multiple, residual_layers

SCALES = 5
ATTENDED = 2  # scale of the attention module: 4 * width channels at stride 4
CALM = 0.1  # gain of the layer before tanh, so that no pixel starts saturated


class ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions and a 1 x 1 shortcut. (N, before, H, W) -> (N, after, H, W)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = residual_layers(before, after)
        self.shortcut = nn.Sequential(
            nn.Conv2d(before, after, kernel_size=1, bias=False), nn.BatchNorm2d(after)
        )
        for branch in (self.layers, self.shortcut):  # their sum starts with the variance of one
            nn.init.constant_(branch[-1].weight, 0.5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


class SpatialAttention(nn.Module):
    """CBAM's spatial attention (Woo et al., ECCV 2018, section 3): one weight for each position.

    x * sigmoid(conv7x7([mean over channels, maximum over channels])).
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(pooled))


class FusionAttention(nn.Module):
    """F_enc * A_enc + F_dec * A_dec: where to trust the encoder, where the decoder.

    Shape: two of (N, C, H, W) -> (N, C, H, W). 3.25 M parameters at 128 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder_attention = SpatialAttention()
        self.decoder_attention = SpatialAttention()
        widths = (2 * channels, 2 * channels, 4 * channels, 2 * channels, channels)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers[:-1])

    def maps(self, encoded: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """A_enc and A_dec, (N, C, H, W) each, in [0, 1], with sum 1."""
        attended = [self.encoder_attention(encoded), self.decoder_attention(decoded)]
        encoder_map = torch.sigmoid(self.convolutions(torch.cat(attended, dim=1)))
        return encoder_map, 1 - encoder_map

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        encoder_map, decoder_map = self.maps(encoded, decoded)
        return encoded * encoder_map + decoded * decoder_map


class FacialDeocclusion(nn.Module):
    """A residual U-Net, with or without attention between encoder and decoder.

    22.54 M parameters, 25.78 M with attention. All tensors of the base have the same name and shape
    in both, so that the base's weights load into the model with attention.

    Shape: occluded (N, 3, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at least 32.

    Args:
        attention: the attention module at stride 4.
        width: channels at full resolution.
    """

    uses_mask = False
    uses_features = False
    origin = "random initialisation (no pretrained part)"

    def __init__(self, attention: bool = False, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width: {width} must be at least 1")
        widths = [width * 2**scale for scale in range(SCALES)]
        self.down = nn.ModuleList(ResidualUnit(*pair) for pair in pairwise([3, *widths]))
        self.bottleneck = nn.Conv2d(widths[-1], 2 * widths[-1], kernel_size=3, padding=1)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * fine, fine, kernel_size=2, stride=2) for fine in reversed(widths)
        )
        self.fuse = nn.ModuleList(ResidualUnit(2 * fine, fine) for fine in reversed(widths))
        self.head = nn.Conv2d(width, 3, kernel_size=1)
        self.attention = FusionAttention(widths[ATTENDED]) if attention else None
        initialise(self)
        with torch.no_grad():
            self.head.weight.mul_(CALM)

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(
                f"input is {height} x {width}; FacialDeocclusion needs 32 x 32 or more"
            )
        x = pad_to_multiple(2 * occluded - 1, 2**SCALES)
        skips: list[Tensor] = []
        for block in self.down:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], kernel_size=2)
        x = F.relu(self.bottleneck(x))
        for scale, up, fuse in zip(reversed(range(SCALES)), self.up, self.fuse, strict=True):
            x = fuse(torch.cat([skips[scale], up(x)], dim=1))
            if scale == ATTENDED and self.attention is not None:
                x = x + self.attention(skips[scale], x)
        x = F.tanh(self.head(x))
        return (x[..., :height, :width] + 1) / 2
