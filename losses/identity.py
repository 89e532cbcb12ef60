"""Terms for the logits of an identity network."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class IdentityInputs:
    """One batch: logits (N, classes) and labels (N,), whole numbers below `classes`."""

    logits: Tensor
    label: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.label.shape != self.logits.shape[:1]:
            raise ValueError(
                f"logits {tuple(self.logits.shape)} must be (N, classes), and labels "
                f"{tuple(self.label.shape)} one for each of them"
            )


class CrossEntropy(nn.Module):
    """Mean cross-entropy; `label_smoothing` as Szegedy et al. (CVPR 2016, section 7) define it."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: {label_smoothing} must be at least 0 and below 1")
        self.label_smoothing = label_smoothing

    def forward(self, inputs: IdentityInputs) -> Tensor:
        return F.cross_entropy(
            inputs.logits.float(), inputs.label, label_smoothing=self.label_smoothing
        )
