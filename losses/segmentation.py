"""Terms for a segmenter's logits. Each is a mean per image, then over images: an image counts the
same whatever its occluder's size, its process or its part of the batch."""

import abc
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class SegmentationInputs:
    """One batch. Logits (N, 1, H, W), mask (N, 1, H, W) in {0, 1} with 1 = occluder.

    Attributes:
        auxiliary: logits of an auxiliary head, (N, 1, H, W), if the network has one.
    """

    logits: Tensor
    mask: Tensor
    auxiliary: Tensor | None = None

    def __post_init__(self) -> None:
        for name, logits in (("logits", self.logits), ("auxiliary", self.auxiliary)):
            if logits is not None and logits.shape != self.mask.shape:
                raise ValueError(
                    f"{name} {tuple(logits.shape)} must have the mask's shape "
                    f"{tuple(self.mask.shape)}"
                )


class SegmentationTerm(nn.Module, abc.ABC):
    """A term on the logits, plus `auxiliary_weight` times the same on the auxiliary logits.

    0.4 is the weight in PSPNet (Zhao et al., CVPR 2017). Computed in float32 at any precision of
    the network.
    """

    def __init__(self, auxiliary_weight: float = 0.4) -> None:
        super().__init__()
        if not auxiliary_weight >= 0:
            raise ValueError(f"auxiliary_weight: {auxiliary_weight} must be 0 or more")
        self.auxiliary_weight = auxiliary_weight

    @abc.abstractmethod
    def per_image(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The term of each image, (N,); logits and mask are float32, (N, pixels)."""

    def forward(self, inputs: SegmentationInputs) -> Tensor:
        mask = inputs.mask.float().flatten(1)
        value = self.per_image(inputs.logits.float().flatten(1), mask).mean()
        if inputs.auxiliary is not None and self.auxiliary_weight:
            auxiliary = self.per_image(inputs.auxiliary.float().flatten(1), mask).mean()
            value = value + self.auxiliary_weight * auxiliary
        return value


class BinaryCrossEntropy(SegmentationTerm):
    """Mean binary cross-entropy of the pixels."""

    def per_image(self, logits: Tensor, mask: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, mask, reduction="none").mean(dim=1)


class Dice(SegmentationTerm):
    """1 - (2 sum p m + s) / (sum p + sum m + s) on probabilities p (Milletari et al., 3DV 2016,
    with plain sums in the denominator).

    The smoothing s, in pixels, defines the term for an image without an occluder, where it falls
    to 0 with the number of pixels marked.
    """

    def __init__(self, smoothing: float = 1.0, auxiliary_weight: float = 0.4) -> None:
        super().__init__(auxiliary_weight)
        if not smoothing > 0:
            raise ValueError(f"smoothing: {smoothing} must be above 0")
        self.smoothing = smoothing

    def per_image(self, logits: Tensor, mask: Tensor) -> Tensor:
        found = logits.sigmoid()
        shared = 2 * (found * mask).sum(dim=1) + self.smoothing
        return 1 - shared / (found.sum(dim=1) + mask.sum(dim=1) + self.smoothing)


class LovaszHinge(SegmentationTerm):
    """The Lovasz hinge, a convex surrogate of 1 - IoU (Berman et al., CVPR 2018, eq. 9 and alg. 1).

    The hinge errors max(0, 1 - f y), y in {-1, 1}, in falling order, each weighted by how much the
    Jaccard loss grows when that pixel joins the wrong ones. Without an occluder it is the largest
    error.
    """

    def per_image(self, logits: Tensor, mask: Tensor) -> Tensor:
        errors, order = (1 - logits * (2 * mask - 1)).sort(dim=1, descending=True)
        truth = mask.gather(1, order)
        intersection = truth.sum(dim=1, keepdim=True) - truth.cumsum(dim=1)
        union = truth.sum(dim=1, keepdim=True) + (1 - truth).cumsum(dim=1)
        jaccard = 1 - intersection / union
        growth = torch.diff(jaccard, dim=1, prepend=torch.zeros_like(jaccard[:, :1]))
        return (F.relu(errors) * growth).sum(dim=1)


class Focal(SegmentationTerm):
    """-a_t (1 - p_t)^gamma log p_t, a mean over pixels (Lin et al., ICCV 2017, eq. 5).

    a_t is alpha on the occluder and 1 - alpha beside it; without alpha it is 1.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: float | None = 0.25, auxiliary_weight: float = 0.4
    ) -> None:
        super().__init__(auxiliary_weight)
        if not gamma >= 0:
            raise ValueError(f"gamma: {gamma} must be 0 or more")
        if alpha is not None and not 0 < alpha < 1:
            raise ValueError(f"alpha: {alpha} must lie between 0 and 1, or be null")
        self.gamma, self.alpha = gamma, alpha

    def per_image(self, logits: Tensor, mask: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        wrong = torch.sigmoid(logits * (1 - 2 * mask))  # 1 - p_t
        loss = wrong**self.gamma * entropy
        if self.alpha is not None:
            loss = loss * (self.alpha * mask + (1 - self.alpha) * (1 - mask))
        return loss.mean(dim=1)
