"""Adversarial terms: for the generator as a loss term, for the discriminator as a function."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.losses.inputs import LossInputs
from deocclude.names import shown

KINDS = ("bce", "hinge", "lsgan")
REGIONS = ("image", "hole")


def _check(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"adversarial kind {shown(kind)} is not one of {', '.join(KINDS)}")
    return kind


class Game(NamedTuple):
    """What generator and discriminator agree on: the options of `Adversarial`."""

    kind: str = "bce"
    region: str = "image"
    r1: float = 0.0

    @property
    def words(self) -> str:
        """As a run's file says it, for an error."""
        return f"kind {self.kind}, region {self.region}, r1 {self.r1:g}"


class Adversarial(nn.Module):
    """The generator's share. bce: -log D(fake) (Goodfellow et al. 2014, non-saturating); hinge:
    -D(fake) (Lim and Ye 2017); lsgan: (D(fake) - 1)^2 (Mao et al. 2017).

    Args:
        kind: bce, hinge or lsgan; the discriminator's own loss is of the same kind.
        discriminator: which one it listens to; None where there is only one.
        region: image (every logit counts) or hole (those of patches whose centre's square of the
            picture holds pixels of the hole; for the discriminator's own loss too).
        r1: weight of the discriminator's gradient penalty on real pictures (`gradient_penalty`).
    """

    def __init__(
        self,
        kind: str = "bce",
        discriminator: str | None = None,
        region: str = "image",
        r1: float = 0.0,
    ) -> None:
        super().__init__()
        if region not in REGIONS:
            raise ValueError(f"region: {shown(region)} is not one of {', '.join(REGIONS)}")
        if not 0 <= r1 < float("inf"):
            raise ValueError(f"r1: {shown(r1)} must be a number of at least 0")
        self.game, self.discriminator = Game(_check(kind), region, r1), discriminator

    def choose(self, names: Iterable[str]) -> str:
        """The discriminator it listens to. ValueError lists `names` when it is not clear which."""
        return choose_discriminator(self.discriminator, names, "an adversarial")

    def forward(self, inputs: LossInputs) -> Tensor:
        logits = inputs.fake_logits[self.choose(inputs.fake_logits)].float()
        if self.game.kind == "bce":
            loss = F.softplus(-logits)
        elif self.game.kind == "hinge":
            loss = -logits
        else:
            loss = (logits - 1).square()
        return _mean(loss, inputs.mask if self.game.region == "hole" else None)


def choose_discriminator(wanted: str | None, names: Iterable[str], term: str) -> str:
    """Which of `names` a term means. ValueError lists them when it is not clear which."""
    names = list(names)
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    valid = ", ".join(names) or "none: the run has no discriminator"
    if wanted is None:
        raise ValueError(f"{term} term must name its discriminator; valid are {valid}")
    raise ValueError(f"discriminator {shown(wanted)} is not one of: {valid}")


def discriminator_loss(kind: str, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> Tensor:
    """The discriminator's loss, the mean of its real and its fake half.

    Logits of any shape. With a mask (N, 1, H, W) they are maps (N, 1, h, w), and those count whose
    squares of the picture hold pixels of the hole.
    """
    _check(kind)
    real, fake = real.float(), fake.float()
    if kind == "bce":
        halves = F.softplus(-real), F.softplus(fake)
    elif kind == "hinge":
        halves = F.relu(1 - real), F.relu(1 + fake)
    else:
        halves = (real - 1).square(), fake.square()
    return (_mean(halves[0], mask) + _mean(halves[1], mask)) / 2


def gradient_penalty(critic: nn.Module, pictures: Tensor, mask: Tensor, region: str) -> Tensor:
    """R1 / 2 of Mescheder et al. (ICML 2018, eq. 9): half the squared gradient of the logits by
    the pictures (N, 3, H, W), the sum over a picture, the mean over pictures. In float32.

    The logits of a picture are averaged first, with `region` hole those of the hole.
    """
    pictures = pictures.detach().float().requires_grad_()
    with torch.autocast(pictures.device.type, enabled=False):
        logits = critic(pictures, mask)
        total = _mean(logits, mask if region == "hole" else None) * len(pictures)
        (slope,) = torch.autograd.grad(total, pictures, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean() / 2


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean; with a mask over the hole of each picture, then over pictures (0 without hole)."""
    if mask is None:
        return values.mean()
    share = F.adaptive_max_pool2d(mask.float(), values.shape[-2:])
    return ((values * share).sum(dim=(1, 2, 3)) / share.sum(dim=(1, 2, 3)).clamp(min=1)).mean()
