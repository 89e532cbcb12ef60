"""A compact inpainter for real time on a CPU, made to be taught by a larger one.

Ours. Distillation is Hinton et al. (2015) for pictures: the student learns the teacher's answer
beside the target. Folding pixels into channels and back is Shi et al. (CVPR 2016, section 3).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.models.blocks import pad_to_multiple
from deocclude.models.pull_push import pull_push
from deocclude.models.unet import MIN_SIDE, UNet
from deocclude.names import shown

FOLDS = (1, 2, 4)
STARTS = ("fill", "pull_push", "given")
DARKEST = 0.01  # the smooth filling is kept this far from black and white, where logits end


class Student(nn.Module):
    """A U-Net on occluded image and mask at half resolution, 4.37 M parameters.

    Squares of `fold` x `fold` pixels become channels before the network and pixels after it, so
    that no layer works at full resolution; channels come last in memory, the faster order on CPUs.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at
    least 32, with fold 4 at least 64.

    Args:
        width: channels at the finest scale, doubled from scale to scale.
        depth: number of scales, 2 to 6.
        fold: side of the squares, 1, 2 or 4; 1 folds nothing. A picture twice as large at twice the
            fold costs the same: see `fitted`.
        norm: batch, instance or none.
        separable: depthwise-separable convolutions.
        start: fill (the network draws the hole from nothing), pull_push (it is given a smooth
            filling and adds what is missing, in the sigmoid's logits, at first nothing) or given
            (likewise, with whatever the occluded image has in its hole).
        widths, residual: of the U-Net (see `UNet`).
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
        widths: Sequence[int] = (),
        residual: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if fold not in FOLDS:
            raise ValueError(f"fold: {fold} is not one of {', '.join(map(str, FOLDS))}")
        if start not in STARTS:
            raise ValueError(f"start: {shown(start)} is not one of {', '.join(STARTS)}")
        self.fold, self.start = fold, start
        self.network = UNet(
            width,
            depth,
            in_channels=4 * fold**2,
            out_channels=3 * fold**2,
            norm=norm,
            separable=separable,
            widths=widths,
            residual=residual,
        )
        if start != "fill":
            nn.init.zeros_(self.network.head.weight)

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        self.check_size(occluded)
        height, width = occluded.shape[-2:]
        if mask is None:
            raise ValueError("mask: None, but Student needs the (N, 1, H, W) mask")
        mask = mask.to(occluded.dtype)
        if self.start == "pull_push":
            occluded = pull_push(occluded, mask)
        x = torch.cat([occluded, mask], dim=1)
        x = F.pixel_unshuffle(pad_to_multiple(x, self.fold), self.fold)
        x = self.network(x.contiguous(memory_format=torch.channels_last))
        x = F.pixel_shuffle(x, self.fold)[..., :height, :width]
        if self.start != "fill":
            x = x.float() + torch.logit(occluded.float(), eps=DARKEST)
        return torch.sigmoid(x)

    def check_size(self, occluded: Tensor) -> None:
        """ValueError when a picture (N, 3, H, W) is too small for this fold."""
        height, width = occluded.shape[-2:]
        least = max(32, MIN_SIDE * self.fold)
        if min(height, width) < least:
            raise ValueError(
                f"input is {height} x {width}; {type(self).__name__} of fold {self.fold} needs "
                f"{least} x {least} or more"
            )

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a student of a smaller fold, so that this one, of its width and depth,
        starts from what that one knows: it sees means of its pixels' squares and answers with equal
        pixels in each, as that one does on a smaller picture. Other tensors are returned as they
        are.
        """
        first, head = "network.down.0.0.weight", "network.head.{}"
        if first not in state or state[first].shape[1] % 4:
            return state
        before = round((state[first].shape[1] // 4) ** 0.5)
        if before >= self.fold or self.fold % before:
            return state
        times = self.fold // before
        fitted = dict(state)
        fitted[first] = _spread(state[first].transpose(0, 1), 4, before, times).transpose(0, 1)
        fitted[first] = fitted[first] / times**2
        for name in map(head.format, ("weight", "bias")):
            fitted[name] = _spread(state[name], 3, before, times)
        return fitted


def _spread(values: Tensor, channels: int, fold: int, times: int) -> Tensor:
    """Values a folded pixel, (channels fold^2, ...), repeated for squares of `times` pixels."""
    squares = values.unflatten(0, (channels, fold, fold))
    squares = squares.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return squares.flatten(0, 2)
