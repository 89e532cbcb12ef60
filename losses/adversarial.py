"""Adversarial terms: for the generator as a loss term, for the discriminator as a function."""

import torch.nn.functional as F
from torch import Tensor, nn

from losses.inputs import LossInputs

KINDS = ("bce", "hinge", "lsgan")


def _check(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"adversarial kind {kind!r} is not one of {', '.join(KINDS)}")
    return kind


class Adversarial(nn.Module):
    """The generator's share. bce: -log D(fake) (Goodfellow et al. 2014, non-saturating); hinge:
    -D(fake)
    (Lim and Ye 2017); lsgan: (D(fake) - 1)^2 (Mao et al. 2017)."""

    def __init__(self, kind: str = "bce") -> None:
        super().__init__()
        self.kind = _check(kind)

    def forward(self, inputs: LossInputs) -> Tensor:
        logits = inputs.fake_logits
        if logits is None:
            raise ValueError("the adversarial term needs a discriminator; the run has none")
        logits = logits.float()
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
