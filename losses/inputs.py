"""What a loss term sees."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """One batch. Images (N, 3, H, W) in [0, 1], mask (N, 1, H, W) with 1 = hole.

    Attributes:
        fake_logits: the discriminator's logits of the prediction, if there is a discriminator.
        features: {network: {layer: (N, C, h, w)}} of the prediction.
        target_features: the same of the target, without gradient.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor
    fake_logits: Tensor | None = None
    features: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    target_features: dict[str, dict[str, Tensor]] = field(default_factory=dict)
