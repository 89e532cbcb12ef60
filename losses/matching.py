"""The term that makes a discriminator see the same in the prediction as in the target."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from deocclude.losses.adversarial import choose_discriminator
from deocclude.losses.inputs import LossInputs
from deocclude.losses.pixel import mean


class FeatureMatching(nn.Module):
    """Sum over a discriminator's layers of the mean absolute difference of what they answer to
    prediction and target (Wang et al., CVPR 2018, eq. 3, without its division by layers).

    Args:
        discriminator: whose layers; None where there is only one.
    """

    def __init__(self, discriminator: str | None = None) -> None:
        super().__init__()
        self.discriminator = discriminator

    def choose(self, names: Iterable[str]) -> str:
        """Whose layers. ValueError lists `names` when it is not clear which."""
        return choose_discriminator(self.discriminator, names, "a feature matching")

    def forward(self, inputs: LossInputs) -> Tensor:
        pairs = inputs.seen[self.choose(inputs.seen)]
        terms = [mean((found.float() - wanted.float()).abs()) for found, wanted in pairs]
        return torch.stack(terms).sum()
