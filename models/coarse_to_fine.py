"""The inpainter that ships: a small U-Net says what the face looks like, a second one draws it.

Ours. Most of what a hole hides is decided at 64 px, where a picture costs a sixteenth of one at
256 px; so most of the training goes there, and the network for the picture's own size starts from
that answer (coarse to fine as in Yu et al., CVPR 2018, section 3.2).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.models.blocks import pad_to_multiple
from deocclude.models.pull_push import pull_push
from deocclude.models.student import DARKEST, FOLDS, Student
from deocclude.models.unet import MIN_SIDE, UNet
from deocclude.names import shown

COARSE_SIDE = 64  # pixels: the size at which the coarse network sees a picture
ENOUGH = 0.25  # of a coarse pixel known: less counts as hidden


class CoarseToFine(nn.Module):
    """Two U-Nets on occluded image and mask.

    Coarse: the picture's known pixels averaged to about 64 px and redrawn by a `Student`. Its
    answer, enlarged, plus a smooth (pull-push) continuation of how far it is off at the known
    pixels, fills the hole. Fine: a U-Net on squares of `fold` x `fold` pixels adds what is missing
    to that filling, in the sigmoid's logits, at first nothing.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at
    least 32, with fold 4 at least 64. Below 128 px both networks see every pixel.

    Args:
        coarse_widths, coarse_residual: of the coarse network's U-Net (see `models.unet.UNet`).
        widths, residual: of the fine network's.
        fold: side of the fine network's squares, 1, 2 or 4.
        train_coarse: whether the coarse network trains too; else it stays as it was loaded.
    """

    uses_mask = True
    uses_features = False
    origin = "random initialisation (no pretrained part)"

    def __init__(
        self,
        coarse_widths: Sequence[int] = (32, 64, 96, 128, 160),
        coarse_residual: Sequence[int] = (0, 0, 0, 2, 2),
        widths: Sequence[int] = (32, 64, 96, 128),
        residual: Sequence[int] = (),
        fold: int = 4,
        train_coarse: bool = True,
    ) -> None:
        super().__init__()
        if fold not in FOLDS:
            raise ValueError(f"fold: {shown(fold)} is not one of {', '.join(map(str, FOLDS))}")
        self.fold = fold
        self.coarse = Student(start="pull_push", widths=coarse_widths, residual=coarse_residual)
        self.coarse.requires_grad_(train_coarse)
        self.fine = UNet(
            widths=widths, residual=residual, in_channels=4 * fold**2, out_channels=3 * fold**2
        )
        nn.init.zeros_(self.fine.head.weight)

    def train(self, mode: bool = True) -> "CoarseToFine":
        """The coarse network stays in evaluation mode where it does not train."""
        super().train(mode)
        if not next(self.coarse.parameters()).requires_grad:
            self.coarse.eval()
        return self

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        least = max(32, MIN_SIDE * self.fold)
        if min(height, width) < least:
            raise ValueError(
                f"input is {height} x {width}; CoarseToFine of fold {self.fold} needs "
                f"{least} x {least} or more"
            )
        if mask is None:
            raise ValueError("mask: None, but CoarseToFine needs the (N, 1, H, W) mask")
        mask = mask.to(occluded.dtype)
        filled = self.fill(occluded, mask)
        x = torch.cat([filled, mask.to(filled.dtype)], dim=1)
        x = F.pixel_unshuffle(pad_to_multiple(x, self.fold), self.fold)
        x = self.fine(x.contiguous(memory_format=torch.channels_last))
        x = F.pixel_shuffle(x, self.fold)[..., :height, :width]
        return torch.sigmoid(x.float() + torch.logit(filled.float(), eps=DARKEST))

    def fill(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """The occluded image, its hole filled as the coarse network sees it: (N, 3, H, W)."""
        height, width = occluded.shape[-2:]
        times = max(1, min(height, width) // COARSE_SIDE)
        known = pad_to_multiple(1 - mask, times)
        sums = F.avg_pool2d(pad_to_multiple(occluded, times) * known, times)
        share = F.avg_pool2d(known, times)
        hidden = (share < ENOUGH).to(occluded.dtype)
        seen = sums / share.clamp(min=1e-6) * (1 - hidden)
        if next(self.coarse.parameters()).requires_grad:
            drawn = self.coarse(seen, hidden)
        else:
            with torch.no_grad():
                drawn = self.coarse(seen, hidden)
        drawn = F.interpolate(drawn, scale_factor=times, mode="bilinear", align_corners=False)
        drawn = drawn[..., :height, :width].to(occluded.dtype)
        return (drawn + pull_push(occluded - drawn, mask)).clamp(0, 1)

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a `Student` as those of the coarse network; others as they are."""
        if "network.head.weight" not in state:
            return state
        return {f"coarse.{name}": tensor for name, tensor in state.items()}
