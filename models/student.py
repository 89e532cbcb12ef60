"""A compact inpainter for real time on a CPU, made to be taught by a larger one.

Ours. Distillation is Hinton et al. (2015) for pictures: the student learns the teacher's answer
beside the target. Folding pixels into channels and back is Shi et al. (CVPR 2016, section 3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import pad_to_multiple
from models.pull_push import pull_push
from models.unet import UNet

STARTS = ("fill", "pull_push")
DARKEST = 0.01  # the smooth filling is kept this far from black and white, where logits end


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
        start: fill (the network draws the hole from nothing) or pull_push (it is given a smooth
            filling and adds what is missing, in the sigmoid's logits, at first nothing).
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
        start: str = "fill",
    ) -> None:
        super().__init__()
        if fold not in (1, 2):  # with more, 32 pixels would be too few for the network
            raise ValueError(f"fold: {fold} is not one of 1, 2")
        if start not in STARTS:
            raise ValueError(f"start: {start!r} is not one of {', '.join(STARTS)}")
        self.fold, self.start = fold, start
        self.network = UNet(
            width,
            depth,
            in_channels=4 * fold**2,
            out_channels=3 * fold**2,
            norm=norm,
            separable=separable,
        )
        if start == "pull_push":
            nn.init.zeros_(self.network.head.weight)

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; Student needs 32 x 32 or more")
        if mask is None:
            raise ValueError("mask: None, but Student needs the (N, 1, H, W) mask")
        mask = mask.to(occluded.dtype)
        if self.start == "pull_push":
            occluded = pull_push(occluded, mask)
        x = torch.cat([occluded, mask], dim=1)
        x = F.pixel_unshuffle(pad_to_multiple(x, self.fold), self.fold)
        x = self.network(x.contiguous(memory_format=torch.channels_last))
        x = F.pixel_shuffle(x, self.fold)[..., :height, :width]
        if self.start == "pull_push":
            x = x.float() + torch.logit(occluded.float(), eps=DARKEST)
        return torch.sigmoid(x)
