"""The generator of the attention-based GAN: stable gated convolutions, an identity embedding and
contextual attention.

Prajapati, "Attention-Based Face Inpainting using GANs", a public project. Its description names the
parts, the layer widths 4-64-128-256 at stride 2 and the 256 x 32 x 32 that the embedding becomes;
kernel sizes, the decoder's widths and how parts are joined are chosen here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.models.blocks import initialise, pad_to_multiple
from deocclude.models.contextual_attention import ContextualAttention

WIDTHS = (64, 128, 256)  # channels at 1/2, 1/4 and 1/8 of the sides
INTERFACE = 128  # length of the embedding that the published generator takes
GRID = 32  # side of the map that the embedding becomes
STRIDE = 8
SLOPE = 0.2


class StableGatedConv2d(nn.Module):
    """A convolution whose output passes a gate: act(norm(f(x))) * (0.5 tanh(g(x)) + 0.5).

    A gated convolution (Yu et al., ICCV 2019) with its sigmoid written as a scaled tanh; the
    activation is a leaky ReLU of slope 0.2.

    Shape: (N, before, H, W) -> (N, after, H, W), half the sides with `stride` 2.

    Args:
        gated: False leaves the gate out, the plain convolution of the ablation.
        norm: instance normalisation of the features; the gate is never normalised.
    """

    def __init__(
        self, before: int, after: int, stride: int = 1, gated: bool = True, norm: bool = True
    ) -> None:
        super().__init__()
        kernel = {1: 3, 2: 4}[stride]
        self.features = nn.Conv2d(before, after, kernel, stride, padding=1)
        self.norm = nn.InstanceNorm2d(after, affine=True) if norm else nn.Identity()
        self.gate = nn.Conv2d(before, after, kernel, stride, padding=1) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        features = F.leaky_relu(self.norm(self.features(x)), SLOPE)
        return features if self.gate is None else features * (0.5 * self.gate(x).tanh() + 0.5)


class EmbeddingMap(nn.Module):
    """An identity embedding as a map of features: (N, embedding) -> (N, 256, height, width).

    Two linear layers, embedding -> 128 -> 256 x 32 x 32, then an average over the cells of any
    other grid.
    """

    def __init__(self, embedding: int, channels: int = WIDTHS[-1], grid: int = GRID) -> None:
        super().__init__()
        self.shape = (channels, grid, grid)
        self.reduce = nn.Linear(embedding, INTERFACE)
        self.project = nn.Linear(INTERFACE, channels * grid * grid)
        for layer in (self.reduce, self.project):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        if features.ndim != 2 or features.shape[1] != self.reduce.in_features:
            raise ValueError(
                f"features {tuple(features.shape)} must be (N, {self.reduce.in_features})"
            )
        projected = self.project(F.leaky_relu(self.reduce(features), SLOPE))
        return F.adaptive_avg_pool2d(projected.view(-1, *self.shape), (height, width))


class AttentionGAN(nn.Module):
    """Gated encoder, embedding, contextual attention at 1/8 of the sides, decoder with skips.

    What the attention borrows is joined to what was there (as Yu et al., CVPR 2018, join their two
    branches), and each decoder step sees the encoder's features of its scale, the last one the
    input itself.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W), features (N, embedding) -> prediction (N, 3, H,
    W) in [0, 1], any H and W of at least 32. Inside, images are in [-1, 1] and the output is a
    tanh.

    Args:
        attention: contextual attention; False leaves it out.
        gated: stable gated convolutions; False for plain ones.
        use_features: condition on the identity embedding.
        same_embedding: condition every picture on ones in place of its embedding, so that all get
            one learned map of places; nothing is given.
        embedding: length of the identity network's embedding.
        temperature, patch: see `ContextualAttention`.
        width: channels after the first convolution, 2 and 4 times as many after the others.
        grid: side of the map that the embedding is projected to.
    """

    uses_mask = True
    origin = "random initialisation (no pretrained part)"

    def __init__(
        self,
        attention: bool = True,
        gated: bool = True,
        use_features: bool = True,
        same_embedding: bool = False,
        embedding: int = 256,
        temperature: float = 0.1,
        patch: int = 1,
        width: int = WIDTHS[0],
        grid: int = GRID,
    ) -> None:
        super().__init__()
        for name, number, least in (
            ("embedding", embedding, 1),
            ("width", width, 2),
            ("grid", grid, 1),
        ):
            if number < least:
                raise ValueError(f"{name}: {number} must be at least {least}")
        if same_embedding and not use_features:
            raise ValueError("same_embedding: True stands in for features, use_features is False")
        self.uses_features, self.embedding = use_features and not same_embedding, embedding
        first, second, third = width, 2 * width, 4 * width
        self.encoder = nn.ModuleList(
            StableGatedConv2d(before, after, stride=2, gated=gated)
            for before, after in ((4, first), (first, second), (second, third))
        )
        self.identity = EmbeddingMap(embedding, third, grid) if use_features else None
        self.fuse = StableGatedConv2d(third * (1 + use_features), third, gated=gated)
        self.attention = ContextualAttention(temperature, patch) if attention else None
        self.merge = StableGatedConv2d(third * (1 + attention), third, gated=gated)
        self.decoder = nn.ModuleList(
            StableGatedConv2d(deep + skip, after, gated=gated)
            for deep, skip, after in (
                (third, second, second),
                (second, first, first),
                (first, 4, width // 2),
            )
        )
        self.head = nn.Conv2d(width // 2, 3, kernel_size=3, padding=1)
        initialise(self, SLOPE)

    def forward(self, occluded: Tensor, mask: Tensor, features: Tensor | None = None) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; AttentionGAN needs at least 32 x 32")
        x = pad_to_multiple(torch.cat([2 * occluded - 1, mask], dim=1), STRIDE)
        skips = [x]
        for layer in self.encoder:
            skips.append(layer(skips[-1]))
        deep = self._condition(skips.pop(), features)
        if self.attention is not None:
            # A cell is known only when all of its pixels are.
            hole = F.max_pool2d(x[:, 3:], STRIDE)
            deep = torch.cat([deep, self.attention(deep, hole)], dim=1)
        deep = self.merge(deep)
        for layer in self.decoder:
            deep = layer(torch.cat([F.interpolate(deep, scale_factor=2), skips.pop()], dim=1))
        return (self.head(deep).tanh()[..., :height, :width] + 1) / 2

    def _condition(self, deep: Tensor, features: Tensor | None) -> Tensor:
        """The deepest features (N, 256, H / 8, W / 8), joined by the embedding where it is used."""
        if self.identity is not None:
            if not self.uses_features:
                features = deep.new_ones(deep.shape[0], self.embedding)
            elif features is None:
                raise ValueError(
                    "features: the model is conditioned on an identity embedding and found None; "
                    "use_features=False builds it without"
                )
            deep = torch.cat([deep, self.identity(features, *deep.shape[-2:])], dim=1)
        return self.fuse(deep)
