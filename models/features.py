"""Feature extractors for the perceptual and style losses, by name; the VGGs among them."""

from collections.abc import Iterable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, VGG19_Weights, vgg16, vgg19

from deocclude.models.blocks import ImageNetNormalise
from deocclude.models.lite_features import LAYERS as LITE_LAYERS
from deocclude.models.lite_features import LiteFeatures, LiteForVGG
from deocclude.models.pretrained import load_fitting, resolve_weights
from deocclude.names import shown

_NETWORKS = {
    "vgg16": (vgg16, VGG16_Weights.IMAGENET1K_V1),
    "vgg19": (vgg19, VGG19_Weights.IMAGENET1K_V1),
}
LITE = "efficientnet_lite0"


def layer_names(features: nn.Sequential) -> dict[str, int]:
    """Names such as relu3_1 (block, convolution) to indices of torchvision's `features`."""
    names, block, convolution = {}, 1, 0
    for index, layer in enumerate(features):
        if isinstance(layer, nn.Conv2d):
            convolution += 1
            names[f"conv{block}_{convolution}"] = index
        elif isinstance(layer, nn.ReLU):
            names[f"relu{block}_{convolution}"] = index
        elif isinstance(layer, nn.MaxPool2d):
            names[f"pool{block}"] = index
            block, convolution = block + 1, 0
    return names


def _features(network: str) -> nn.Sequential:
    """torchvision's `features`, not allocated: the classifier's 120 M parameters are never made."""
    with torch.device("meta"):
        return _NETWORKS[network][0](weights=None, init_weights=False).features


@lru_cache(maxsize=8)
def _valid_layers(network: str) -> tuple[str, ...]:
    return LITE_LAYERS if network == LITE else tuple(layer_names(_features(network)))


def check_layers(network: str, layers: Iterable[str]) -> None:
    """Raise ValueError, listing what is valid, when the network or a layer is not known."""
    if network not in (*_NETWORKS, LITE):
        raise ValueError(f"network: {shown(network)} is not one of {', '.join((*_NETWORKS, LITE))}")
    valid = _valid_layers(network)
    unknown = [layer for layer in layers if layer not in valid]
    if unknown:
        raise ValueError(f"layers: {unknown} not in {network}; valid are {', '.join(valid)}")


def create_features(
    network: str, layers: Iterable[str], weights: str = "auto", fallback: str | None = None
) -> nn.Module:
    """A frozen network `model(image) -> {layer: features}` with `origin`.

    `fallback`: efficientnet_lite0 answers for a VGG whose weights are `auto` and cannot be had, if
    its own can be (see `models.lite_features.LiteForVGG`); None leaves the VGG with random ones.
    ValueError, listing what is valid, when the network or a layer is not known.
    """
    layers = list(layers)
    check_layers(network, layers)
    if fallback not in (None, LITE):
        raise ValueError(f"fallback: {shown(fallback)} is not {LITE} or null")
    if network == LITE:
        return LiteFeatures(layers, weights)
    vgg = VGGFeatures(network, layers, weights)
    if fallback is None or weights != "auto" or not vgg.origin.startswith("random"):
        return vgg
    lite = LiteForVGG(layers, f"{network}, {vgg.origin}")
    return vgg if lite.features.origin.startswith("random") else lite


class VGGFeatures(nn.Module):
    """Named activations of a frozen VGG-16 or VGG-19 (Simonyan and Zisserman 2015).

    Call: image (N, 3, H, W) in [0, 1] -> {layer: (N, C, h, w)}; ImageNet normalisation is done
        inside.

    Args:
        network: "vgg16" or "vgg19".
        layers: what to return, e.g. relu3_1; nothing deeper is computed or kept.
        weights: auto, imagenet, random or a file (see `models.pretrained`). Random weights are
            seeded, and every channel is brought to zero mean and unit variance before its ReLU on
            seeded smooth noise (data-dependent initialisation, Krähenbühl et al., ICLR 2016), so
            that each layer's distances keep one scale and loss weights keep their meaning.

    Attributes:
        origin: where the weights came from, for the run's record.
    """

    def __init__(
        self, network: str, layers: Iterable[str], weights: str = "auto", seed: int = 0
    ) -> None:
        super().__init__()
        check_layers(network, layers)
        published = _NETWORKS[network][1]
        features = _features(network)
        names = layer_names(features)
        self.wanted = {names[layer]: layer for layer in layers}
        state, self.origin = resolve_weights(weights, published)
        self.features = features[: max(self.wanted, default=0) + 1].to_empty(device="cpu")
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.ReLU):  # a wanted convolution output must not be overwritten
                layer.inplace = index - 1 not in self.wanted
        if state is None:
            self._initialise(seed)
        else:
            own = {k.removeprefix("features."): v for k, v in state.items()}
            load_fitting(self.features, own, self.origin)
        self.normalise = ImageNetNormalise()
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Orthogonal weights, then zero mean and unit variance a channel on smooth noise."""
        generator = torch.Generator().manual_seed(seed)
        x = sum(
            F.interpolate(torch.randn(16, 3, s, s, generator=generator), 64, mode="bilinear")
            for s in (2, 4, 8, 16, 32, 64)
        )
        x = x / x.std()
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.orthogonal_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
                response = layer(x)
                std, mean = torch.std_mean(response, dim=(0, 2, 3))
                layer.weight.div_(std.view(-1, 1, 1, 1))
                layer.bias.copy_(-mean / std)
            x = layer(x)

    def train(self, mode: bool = True) -> "VGGFeatures":
        """Stays in evaluation mode: the extractor is fixed."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.normalise(image)
        found = {}
        for index, layer in enumerate(self.features):
            x = _pooled(layer, x) if isinstance(layer, nn.MaxPool2d) else layer(x)
            if index in self.wanted:
                found[self.wanted[index]] = x
        return found


def _pooled(layer: nn.MaxPool2d, x: Tensor) -> Tensor:
    """The same as `layer(x)`, a pool of 2 x 2; several times as fast on a CPU where no gradient
    asks which pixel it was."""
    if x.requires_grad or x.device.type != "cpu":
        return layer(x)
    height, width = (side // 2 * 2 for side in x.shape[-2:])
    rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])
