"""EfficientNet-Lite0 as the feature network of the perceptual and style losses."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deocclude.models.encoder_weights import load_encoder

NETWORK = "tf_efficientnet_lite0"
# Strides 2, 2, 4, 8, 16, 16, 32, 32; 32, 16, 24, 40, 80, 112, 192, 320 channels.
LAYERS = ("stem", *(f"block{number}" for number in range(1, 8)))
# What stands for a VGG's blocks 1 to 5: strides 2, 2, 4, 8, 16, where theirs are 1, 2, 4, 8, 16.
FOR_VGG = ("stem", "block1", "block2", "block3", "block5")


class LiteFeatures(nn.Module):
    """Named activations of a frozen EfficientNet-Lite0 (Tan and Le 2019, the TPU repository's lite
    variant).

    Call: image (N, 3, H, W) in [0, 1] -> {layer: (N, C, h, w)}; brought to [-1, 1] inside, which is
        what these weights were trained with.

    Normalisation is folded into the convolutions, which the weights being fixed allows.

    Args:
        layers: of LAYERS, what to return: the stem after its ReLU6, or a stage's last block, which
            ends without one. Nothing deeper is computed or kept.
        weights: auto, imagenet, package, random or a file (see `models.encoder_weights`). Random
            weights are seeded, and every channel of each convolution is brought to zero mean and
            unit variance on seeded smooth noise, as those of `models.features.VGGFeatures`.

    Attributes:
        origin: where the weights came from, for the run's record.
    """

    def __init__(self, layers: Iterable[str], weights: str = "auto", seed: int = 0) -> None:
        super().__init__()
        import timm

        self.wanted = set(layers)
        unknown = sorted(self.wanted - set(LAYERS))
        if unknown:
            raise ValueError(f"layers: {unknown} not in {LAYERS}")
        network = timm.create_model(NETWORK, pretrained=False)
        self.origin = load_encoder(
            network,
            NETWORK,
            weights,
            lambda: timm.create_model(NETWORK, pretrained=True).state_dict(),
        )
        stages = (nn.Sequential(network.conv_stem, network.bn1), *network.blocks)
        deepest = max(map(LAYERS.index, self.wanted), default=0)
        self.stages = nn.ModuleDict(zip(LAYERS[: deepest + 1], stages, strict=False)).eval()
        for module in list(self.stages.modules()):
            _fold_normalisation(module)
        if self.origin.startswith("random"):
            self._initialise(seed)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Orthogonal weights, then zero mean and unit variance a channel on smooth noise."""
        generator = torch.Generator().manual_seed(seed)

        def draw(layer: nn.Module, _) -> None:
            nn.init.orthogonal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

        def scale(layer: nn.Module, _, response: Tensor) -> Tensor:
            std, mean = torch.std_mean(response, dim=(0, 2, 3))
            layer.weight.div_(std.view(-1, 1, 1, 1))
            layer.bias.copy_(-mean / std)
            return (response - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

        convolutions = [layer for layer in self.stages.modules() if isinstance(layer, nn.Conv2d)]
        hooks = [layer.register_forward_pre_hook(draw) for layer in convolutions]
        hooks += [layer.register_forward_hook(scale) for layer in convolutions]
        noise = sum(
            F.interpolate(torch.randn(16, 3, s, s, generator=generator), 128, mode="bilinear")
            for s in (2, 4, 8, 16, 32, 64, 128)
        )
        self((noise / noise.std() + 1) / 2)
        for hook in hooks:
            hook.remove()

    def train(self, mode: bool = True) -> "LiteFeatures":
        """Stays in evaluation mode: the extractor is fixed."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = image * 2 - 1
        found = {}
        for name, stage in self.stages.items():
            x = stage(x)
            if name in self.wanted:
                found[name] = x
        return found


class LiteForVGG(nn.Module):
    """A VGG's layers, each answered by the Lite0 stage of its block.

    What a stage says of a place is brought to unit length over the channels, as in LPIPS (Zhang et
    al., CVPR 2018, section 3): stages differ in size by a factor of five, weights of terms do not.

    Call: image (N, 3, H, W) in [0, 1] -> {VGG's layer: (N, C, h, w)}; C, h and w are the stage's.

    Args:
        layers: names of `models.features.layer_names`, e.g. relu3_1; the first number is the block.
        missing: why the VGG's weights are not there, for the origin.
    """

    def __init__(self, layers: Iterable[str], missing: str, weights: str = "auto") -> None:
        super().__init__()
        self.stages = {name: FOR_VGG[_block_of(name) - 1] for name in layers}
        self.features = LiteFeatures(dict.fromkeys(self.stages.values()), weights)
        self.origin = f"{self.features.origin}, in place of {missing}"

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        found = self.features(image)
        unit = {stage: F.normalize(answer.float(), dim=1) for stage, answer in found.items()}
        return {name: unit[stage] for name, stage in self.stages.items()}


def _block_of(layer: str) -> int:
    """Of a VGG's layer: 3 for relu3_1, 5 for pool5."""
    return int(layer.partition("_")[0][-1])


def _fold_normalisation(module: nn.Module) -> None:
    """Fold each BatchNorm into the convolution before it; of timm's, its activation stays."""
    before = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None:
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), child))
            setattr(module, name, child.act)
        before = name if isinstance(child, nn.Conv2d) else None
