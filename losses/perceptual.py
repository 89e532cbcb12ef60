"""Perceptual and style terms on a fixed network's features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deocclude.losses.inputs import LossInputs
from deocclude.losses.pixel import mean
from deocclude.names import shown


class _FeatureTerm(nn.Module):
    """A term that compares named layers of one network."""

    def __init__(self, layers: Sequence[str], network: str = "vgg19") -> None:
        super().__init__()
        if not layers or isinstance(layers, str):
            raise ValueError(
                f"layers: {shown(layers)} must be a list of layer names, e.g. [relu1_1]"
            )
        self.layers = list(layers)
        self.network = network

    def compare(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not say how it compares")

    def forward(self, inputs: LossInputs) -> Tensor:
        found, wanted = inputs.features[self.network], inputs.target_features[self.network]
        terms = [self.compare(found[layer].float(), wanted[layer].float()) for layer in self.layers]
        return torch.stack(terms).sum()


class Perceptual(_FeatureTerm):
    """Sum over layers of the features' mean absolute (distance l1, the default) or squared (l2)
    difference (Johnson et al. 2016)."""

    def __init__(self, layers: Sequence[str], network: str = "vgg19", distance: str = "l1") -> None:
        super().__init__(layers, network)
        if distance not in ("l1", "l2"):
            raise ValueError(f"distance: {shown(distance)} is not one of l1, l2")
        self.distance = distance

    def compare(self, prediction: Tensor, target: Tensor) -> Tensor:
        difference = prediction - target
        return mean(difference.abs() if self.distance == "l1" else difference.square())


class Style(_FeatureTerm):
    """Sum over layers of the mean absolute difference of Gram matrices (Gatys et al. 2016, with
    L1).
    """

    def compare(self, prediction: Tensor, target: Tensor) -> Tensor:
        return mean((gram_matrix(prediction) - gram_matrix(target)).abs())


def gram_matrix(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C), divided by C H W."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])
