"""The edge term: Sobel gradients of prediction and target inside the hole."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.losses.inputs import LossInputs


class Edge(nn.Module):
    """Mean absolute difference of the Sobel gradients over the hole's pixels, a mean per image,
    then over images; 0 for an image without a hole.

    Gradients are horizontal and vertical, of every channel, in change per pixel (kernel / 8). The
    attention-based GAN names a Sobel edge loss inside the mask and no more: comparing both
    directions rather than the gradients' length, which has no derivative at 0, and a border that
    repeats the edge pixel are chosen here.
    """

    def forward(self, inputs: LossInputs) -> Tensor:
        # The gradient is linear: that of the difference is the difference of gradients.
        difference = sobel(inputs.prediction.float() - inputs.target.float()).abs()
        mask = inputs.mask.float().unsqueeze(1)
        area = inputs.mask.float().sum(dim=(1, 2, 3)) * difference[0, :, :, 0, 0].numel()
        return ((difference * mask).sum(dim=(1, 2, 3, 4)) / area.clamp(min=1)).mean()


def sobel(image: Tensor) -> Tensor:
    """Change per pixel to the right and downwards: (N, C, H, W) -> (N, 2, C, H, W)."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    right = rows[..., 2:] - rows[..., :-2]
    down = columns[..., 2:, :] - columns[..., :-2, :]
    return torch.stack((right, down), dim=1) / 8
