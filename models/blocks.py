"""Building blocks that more than one system uses."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.names import shown


class SeparableConv2d(nn.Sequential):
    """Depthwise then pointwise convolution (Chollet, CVPR 2017), both with bias.

    Shape: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1
    ) -> None:
        depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=in_channels,
        )
        super().__init__(depthwise, nn.Conv2d(in_channels, out_channels, kernel_size=1))


class WideConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose weights outweigh its pictures; (N, C, H, W) -> as its parent.

    oneDNN turns weights into an order of its own at every pass. Training on a CPU with so few
    pixels that this is most of the work, one matrix product and a sum of overlapping squares read
    the weights once: the same up to rounding.
    """

    FEW = 256  # pixels in a batch

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        pixels = x.shape[0] * x.shape[-2] * x.shape[-1]
        plain = self.groups == 1 and self.bias is not None and not output_size
        plain = plain and (self.dilation, self.output_padding, x.ndim) == ((1, 1), (0, 0), 4)
        if not plain or not self.training or x.device.type != "cpu" or pixels >= self.FEW:
            return super().forward(x, output_size)
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        sides = [
            (side - 1) * s - 2 * p + k
            for side, k, s, p in zip(x.shape[-2:], kernel, stride, padding, strict=True)
        ]
        squares = self.weight.flatten(1).t() @ x.flatten(2)  # (N, out k^2, H W)
        added = F.fold(squares, sides, kernel, stride=stride, padding=padding)
        return added + self.bias.to(added.dtype).view(1, -1, 1, 1)


class SelfAttention2d(nn.Module):
    """Self-attention over positions with a learned residual gain (SAGAN, Zhang et al. 2019, eq.
    1-4).

    out = x + gamma * sum_j softmax_j(q_i . k_j) v_j, no 1/sqrt(d) scale.
    Shape: (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: C; queries and keys have C // 8 channels.
        normalise: "keys" is the definition above. "published" is what the public code of the
            De-Occlusion Face Model computes: weights normalised over the keys, then summed over the
            queries.
        query_key_norm: each query and key becomes zero mean and unit variance over its channels,
            and the dot product is scaled by 1/sqrt(C // 8) (Dehghani et al. 2023, section 2), so
            that the softmax stays soft whatever the features' size. For "keys" only.
        gain: what gamma starts from, 0 in the paper.
    """

    def __init__(
        self,
        channels: int,
        normalise: str = "keys",
        query_key_norm: bool = False,
        gain: float = 0.0,
    ) -> None:
        super().__init__()
        if query_key_norm and normalise != "keys":
            raise ValueError(
                f"query_key_norm: is for normalise 'keys' only, found {shown(normalise)}"
            )
        if normalise not in ("keys", "published"):
            raise ValueError(f"normalise: {shown(normalise)} is not one of 'keys', 'published'")
        if channels < 8:
            raise ValueError(f"channels: {channels} is too few, self-attention needs at least 8")
        self.normalise, self.query_key_norm = normalise, query_key_norm
        self.query = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.key = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.full((1,), float(gain)))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self._heads(x)
        if self.normalise == "published":
            attended = self._weights(query, key) @ value
        else:
            scale = None if self.query_key_norm else 1.0
            attended = F.scaled_dot_product_attention(query, key, value, scale=scale)
        attended = attended.squeeze(1).transpose(1, 2).reshape(x.shape)  # (N, C, H, W)
        return x + self.gamma * attended

    def weights(self, x: Tensor) -> Tensor:
        """How much each position, a row, takes of each other's values: (N, H W, H W).

        Rows sum to 1; with `normalise` "published" columns do.
        """
        query, key, _ = self._heads(x)
        return self._weights(query, key).squeeze(1)

    def _weights(self, query: Tensor, key: Tensor) -> Tensor:
        scale = query.shape[-1] ** -0.5 if self.query_key_norm else 1.0
        weights = (scale * query @ key.transpose(-2, -1)).softmax(dim=-1)
        return weights.transpose(-2, -1) if self.normalise == "published" else weights

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (N, 1, H W, C') each: one head."""
        query, key, value = (
            layer(x).flatten(2).transpose(1, 2).unsqueeze(1)
            for layer in (self.query, self.key, self.value)
        )
        if self.query_key_norm:
            query, key = (F.layer_norm(part, part.shape[-1:]) for part in (query, key))
        return query, key, value


class ImageNetNormalise(nn.Module):
    """Images in [0, 1] to the zero mean and unit variance that ImageNet's weights expect.

    Shape: (N, 3, H, W) -> (N, 3, H, W).
    """

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


def residual_layers(before: int, after: int) -> nn.Sequential:
    """What a residual block adds: two 3 x 3 convolutions with BatchNorm, a ReLU between (He et al.,
    CVPR 2016). (N, before, H, W) -> (N, after, H, W)."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
    )


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions with BatchNorm, a ReLU between. (N, C, H, W) -> the same.

    A block starts close to doing nothing (Goyal et al. 2017, section 5.1, who take 0 for `start`).
    """

    def __init__(self, channels: int, start: float = 0.1) -> None:
        super().__init__()
        self.layers = residual_layers(channels, channels)
        nn.init.constant_(self.layers[-1].weight, start)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class MultiDilationBlock(nn.Module):
    """Separable convolutions of several dilations side by side, concatenated.

    Shape: (N, in_channels, H, W) -> (N, len(dilations) * out_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int = 512, dilations: tuple[int, ...] = (1, 2, 4)
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            SeparableConv2d(in_channels, out_channels, dilation=d) for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.relu(branch(x)) for branch in self.branches], dim=1)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Replicate the right and lower edge until height and width are multiples of `multiple`."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def count_parameters(module: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, or of those that receive gradients."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


@torch.no_grad()
def initialise(module: nn.Module, slope: float = 0.0) -> None:
    """He et al. (ICCV 2015) initialisation that keeps the signal's variance through (leaky) ReLUs.

    Every convolution below `module` gets normal weights of variance gain / fan-in and zero bias;
    the gain is 2 / (1 + slope^2), and 1 for a depthwise convolution, which no activation follows.
    PyTorch's own default has a third of that gain: through a dozen layers without normalisation
    nothing of the input is left.
    """
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):  # fan-in of an output pixel, overlaps counted
            fan = layer.weight[:, 0].numel() / (layer.stride[0] * layer.stride[1])
        elif isinstance(layer, nn.Conv2d):
            fan = layer.weight[0].numel()
        else:
            continue
        depthwise = layer.groups == layer.in_channels > 1
        gain = 1.0 if depthwise else 2 / (1 + slope**2)
        layer.weight.normal_(0, (gain / fan) ** 0.5)
        if layer.bias is not None:
            layer.bias.zero_()
