"""The generator of Occlufix, a U-Net that is told where the hole is.

Stated in its description: a modified U-Net on masked RGB and mask, four channels; a Vision
Transformer as encoder is named as future work. Widths are not stated: those of Ronneberger et al.
(MICCAI 2015), 64 to 1024, are chosen here, and a sigmoid at the end. The transformer variant takes
its decoder from UNETR (Hatamizadeh et al., WACV 2022, figure 2).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from deocclude.models.blocks import initialise, pad_to_multiple
from deocclude.models.unet import NORMS, ConvBlock, UNet
from deocclude.names import shown

GRID = 16  # side of the learned grid of position embeddings; interpolated to the image's own grid


class TokenEncoder(nn.Module):
    """torchvision's Vision Transformer on four channels, for images of any size.

    Shape: (N, 4, H, W) -> `len(taps)` maps (N, hidden, H / patch, W / patch), the outputs of the
    layers numbered `taps` (from 1), the last layer's normalised; H, W multiples of `patch`.
    """

    def __init__(
        self, patch: int, layers: int, heads: int, hidden: int, taps: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.vit = VisionTransformer(
            image_size=GRID * patch,
            patch_size=patch,
            num_layers=layers,
            num_heads=heads,
            hidden_dim=hidden,
            mlp_dim=4 * hidden,
        )
        del self.vit.heads
        self.vit.conv_proj = nn.Conv2d(4, hidden, kernel_size=patch, stride=patch)
        nn.init.xavier_uniform_(self.vit.conv_proj.weight.view(hidden, -1))
        nn.init.zeros_(self.vit.conv_proj.bias)
        self.taps = taps

    def positions(self, height: int, width: int) -> Tensor:
        """Embeddings of the class token and a height x width grid, (1, 1 + h w, hidden)."""
        token, grid = self.vit.encoder.pos_embedding.split([1, GRID**2], dim=1)
        grid = grid.transpose(1, 2).unflatten(2, (GRID, GRID))
        if (height, width) != (GRID, GRID):
            grid = F.interpolate(grid, (height, width), mode="bilinear", align_corners=True)
        return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.vit.conv_proj(x)
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.vit.class_token.expand(x.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(height, width)
        maps = []
        for number, layer in enumerate(self.vit.encoder.layers, start=1):
            tokens = layer(tokens)
            if number == len(self.vit.encoder.layers):
                tokens = self.vit.encoder.ln(tokens)
            if number in self.taps:
                maps.append(tokens[:, 1:].transpose(1, 2).unflatten(2, (height, width)))
        return maps


class ViTUNet(nn.Module):
    """Vision Transformer encoder, convolutional decoder with skips from intermediate layers.

    With patch 2^k the decoder has k scales of width, 2 width, 4 width, ... channels. The skip at
    full resolution is a convolution block on the image, the one at scale j the output of a layer
    (layer 3, 6, 9 of 12 for j = 1, 2, 3 and patch 16), enlarged by transposed convolutions.

    Shape: (N, 4, H, W) -> (N, 3, H, W), any size.
    """

    def __init__(
        self, width: int, norm: str, patch: int, layers: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        if patch not in (4, 8, 16, 32):
            raise ValueError(f"patch: {patch} is not one of 4, 8, 16, 32")
        if width < 1:
            raise ValueError(f"width: {width} must be at least 1")
        if norm not in NORMS:
            raise ValueError(f"norm: {shown(norm)} is not one of {', '.join(NORMS)}")
        scales = patch.bit_length() - 1
        if layers < scales:
            raise ValueError(f"layers: {layers} must be at least {scales} for patch {patch}")
        if heads < 1 or hidden < 1 or hidden % heads:
            raise ValueError(f"hidden: {hidden} must be a multiple of heads, {heads}")
        taps = tuple(layers * (scale + 1) // scales for scale in range(scales))
        self.patch = patch
        self.encoder = TokenEncoder(patch, layers, heads, hidden, taps)
        widths = [width * 2**scale for scale in range(scales)]
        self.skips = nn.ModuleList([ConvBlock(4, width, norm, separable=False)])
        for scale in range(1, scales):
            self.skips.append(_enlarge(hidden, widths[scale], scales - scale, norm))
        coarse = [hidden, *reversed(widths[1:])]
        fine = list(reversed(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(*pair, kernel_size=2, stride=2)
            for pair in zip(coarse, fine, strict=True)
        )
        self.fuse = nn.ModuleList(ConvBlock(2 * w, w, norm, separable=False) for w in fine)
        self.head = nn.Conv2d(width, 3, kernel_size=1)
        for part in (self.skips, self.up, self.fuse, self.head):
            initialise(part)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.patch)
        *middle, deepest = self.encoder(x)
        skips = [skip(part) for skip, part in zip(self.skips, [x, *middle], strict=True)]
        x = deepest
        for up, fuse, skip in zip(self.up, self.fuse, reversed(skips), strict=True):
            x = fuse(torch.cat([skip, up(x)], dim=1))
        return self.head(x)[..., :height, :width]


def _enlarge(before: int, after: int, times: int, norm: str) -> nn.Sequential:
    """(N, before, H, W) -> (N, after, 2^times H, 2^times W) by transposed convolutions."""
    layers: list[nn.Module] = []
    for channels in (before, *[after] * (times - 1)):
        layers.append(nn.ConvTranspose2d(channels, after, kernel_size=2, stride=2))
        layers += [NORMS[norm](after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Occlufix(nn.Module):
    """U-Net on occluded image and mask, 31.04 M parameters; 34.48 M with encoder "vit".

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at
    least 32.

    Args:
        width: channels at full resolution.
        norm: batch, instance or none.
        encoder: "unet" (convolutions) or "vit" (Vision Transformer, by default of ViT-S's sizes).
        depth: number of scales of the convolutional encoder; "vit" has log2(patch).
        patch, layers, heads, hidden: of the transformer; looked at for "vit" only.
    """

    uses_mask = True
    uses_features = False
    origin = "random initialisation (no pretrained part)"

    def __init__(
        self,
        width: int = 64,
        depth: int = 5,
        norm: str = "batch",
        encoder: str = "unet",
        patch: int = 16,
        layers: int = 12,
        heads: int = 6,
        hidden: int = 384,
    ) -> None:
        super().__init__()
        if encoder == "unet":
            self.network = UNet(width, depth, in_channels=4, out_channels=3, norm=norm)
        elif encoder == "vit":
            self.network = ViTUNet(width, norm, patch, layers, heads, hidden)
        else:
            raise ValueError(f"encoder: {shown(encoder)} is not one of unet, vit")

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; Occlufix needs 32 x 32 or more")
        if mask is None:
            raise ValueError("mask: None, but Occlufix needs the (N, 1, H, W) mask")
        return torch.sigmoid(self.network(torch.cat([occluded, mask.to(occluded.dtype)], dim=1)))
