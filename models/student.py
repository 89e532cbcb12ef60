"""A compact inpainter for real time on a CPU, made to be taught by a larger one.

Ours. Distillation is Hinton et al. (2015) for pictures: the student learns the teacher's answer
beside the target. Folding pixels into channels and back is Shi et al. (CVPR 2016, section 3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import pad_to_multiple
from models.unet import UNet


class Student(nn.Module):
    """A U-Net on occluded image and mask at half resolution, 4.37 M parameters.

    Squares of `fold` x `fold` pixels become channels before the network and pixels after it, so
    that no layer works at full resolution; channels come last in memory, the faster order on CPUs.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at
    least 32.

    Args:
        width: channels at the finest scale, doubled from scale to scale.
        depth: number of scales, 2 to 6.
        fold: side of the squares, 1 or 2; 1 folds nothing.
        norm: batch, instance or none.
        separable: depthwise-separable convolutions.
    """

    uses_mask = True
    uses_features = False
    origin = "random initialisation (no pretrained part)"

    def __init__(
        self,
        width: int = 24,
        depth: int = 5,
        fold: int = 2,
        norm: str = "batch",
        separable: bool = False,
    ) -> None:
        super().__init__()
        if fold not in (1, 2):  # with more, 32 pixels would be too few for the network
            raise ValueError(f"fold: {fold} is not one of 1, 2")
        self.fold = fold
        self.network = UNet(
            width,
            depth,
            in_channels=4 * fold**2,
            out_channels=3 * fold**2,
            norm=norm,
            separable=separable,
        )

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; Student needs 32 x 32 or more")
        if mask is None:
            raise ValueError("mask: None, but Student needs the (N, 1, H, W) mask")
        x = torch.cat([occluded, mask.to(occluded.dtype)], dim=1)
        x = F.pixel_unshuffle(pad_to_multiple(x, self.fold), self.fold)
        x = self.network(x.contiguous(memory_format=torch.channels_last))
        return torch.sigmoid(F.pixel_shuffle(x, self.fold)[..., :height, :width])
