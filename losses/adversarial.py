"""Adversarial terms: for the generator as a loss term, for the discriminator as a function."""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.losses.inputs import LossInputs
from deocclude.names import shown

KINDS = ("bce", "hinge", "lsgan")


def _check(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"adversarial kind {shown(kind)} is not one of {', '.join(KINDS)}")
    return kind


class Adversarial(nn.Module):
    """The generator's share. bce: -log D(fake) (Goodfellow et al. 2014, non-saturating); hinge:
    -D(fake) (Lim and Ye 2017); lsgan: (D(fake) - 1)^2 (Mao et al. 2017).

    Args:
        kind: bce, hinge or lsgan; the discriminator's own loss is of the same kind.
        discriminator: which one it listens to; None where there is only one.
    """

    def __init__(self, kind: str = "bce", discriminator: str | None = None) -> None:
        super().__init__()
        self.kind, self.discriminator = _check(kind), discriminator

    def choose(self, names: Iterable[str]) -> str:
        """The discriminator it listens to. ValueError lists `names` when it is not clear which."""
        names = list(names)
        if self.discriminator is None and len(names) == 1:
            return names[0]
        if self.discriminator in names:
            return self.discriminator
        valid = ", ".join(names) or "none: the run has no discriminator"
        if self.discriminator is None:
            raise ValueError(f"an adversarial term must name its discriminator; valid are {valid}")
        raise ValueError(f"discriminator {shown(self.discriminator)} is not one of: {valid}")

    def forward(self, inputs: LossInputs) -> Tensor:
        logits = inputs.fake_logits[self.choose(inputs.fake_logits)].float()
        if self.kind == "bce":
            return F.softplus(-logits).mean()
        if self.kind == "hinge":
            return -logits.mean()
        return (logits - 1).square().mean()


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss, the mean of its real and its fake half. Logits of any shape."""
    _check(kind)
    real, fake = real.float(), fake.float()
    if kind == "bce":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return ((real - 1).square().mean() + fake.square().mean()) / 2
