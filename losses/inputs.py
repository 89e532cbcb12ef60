"""What a loss term sees."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """One batch. Images (N, 3, H, W) in [0, 1], mask (N, 1, H, W) with 1 = hole.

    Attributes:
        prediction: what is judged: the prediction itself, or composed with the target.
        fake_logits: each discriminator's logits of the prediction, by its name.
        features: {network: {layer: (N, C, h, w)}} of the prediction.
        target_features: the same of the target, without gradient.
        teacher: another network's prediction for the same input, without gradient; (N, 3, H, W).
        seen: by name of the discriminators that a term compares by, a pair for each of their
            layers: what it answers to the prediction and, without gradient, to the target.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor
    fake_logits: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    target_features: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    teacher: Tensor | None = None
    seen: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)
