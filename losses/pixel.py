"""Pixel-wise terms. Each image counts the same, whatever its hole or its process, so that a batch
split over processes gives the gradients of the joint batch."""

import torch
from torch import Tensor, nn

from deocclude.losses.inputs import LossInputs


def mean(values: Tensor) -> Tensor:
    """`values.mean()`, in float32 at least, whose gradient is one number for all rather than a
    tensor full of it."""
    kind = torch.promote_types(values.dtype, torch.float32)  # a sum of halves overflows
    return values.sum(dtype=kind) / values.numel()


class L1(nn.Module):
    """Mean absolute error over the whole image."""

    def forward(self, inputs: LossInputs) -> Tensor:
        return mean((inputs.prediction - inputs.target).abs())


class L2(nn.Module):
    """Mean squared error over the whole image."""

    def forward(self, inputs: LossInputs) -> Tensor:
        return mean((inputs.prediction - inputs.target).square())


class HoleL1(nn.Module):
    """Mean absolute error over the hole's pixels, a mean per image, then over images."""

    def forward(self, inputs: LossInputs) -> Tensor:
        error = ((inputs.prediction - inputs.target).abs() * inputs.mask).sum(dim=(1, 2, 3))
        area = inputs.mask.sum(dim=(1, 2, 3)) * inputs.prediction.shape[1]
        return (error / area.clamp(min=1)).mean()


class TotalVariation(nn.Module):
    """Anisotropic total variation of the prediction: mean absolute difference of neighbours."""

    def forward(self, inputs: LossInputs) -> Tensor:
        x = inputs.prediction
        return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()
