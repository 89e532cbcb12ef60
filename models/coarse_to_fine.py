"""An inpainter in two halves: a small U-Net says what a face looks like, a second one draws it.

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
from deocclude.models.student import Student

COARSE_SIDE = 64  # pixels: the size at which the coarse network sees a picture
ENOUGH = 0.25  # of a coarse pixel known: less counts as hidden


class CoarseToFine(nn.Module):
    """Two compact U-Nets (`Student`) on occluded image and mask.

    Coarse: the picture's known pixels averaged to about 64 px, the others redrawn. That, enlarged,
    plus a smooth (pull-push) continuation of how far it is off at the known pixels, fills the hole.
    Fine: adds what is missing to that filling, at first nothing.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at
    least 32, with fold 4 at least 64. Below 128 px both networks see every pixel.

    Args:
        coarse_widths, coarse_residual: of the coarse network's U-Net (see `models.unet.UNet`).
        widths, residual: of the fine network's; no widths: the filling is the answer.
        fold: side of the squares of pixels that the fine network sees as one, 1, 2 or 4.
        train_coarse: whether the coarse network trains too; else it stays as it was loaded.
        mirrored: whether the coarse answer is the mean of two, to the picture and its mirror image.
    """

    uses_mask = True
    uses_features = False
    origin = "random initialisation (no pretrained part)"

    def __init__(
        self,
        coarse_widths: Sequence[int] = (32, 64, 96, 128, 160),
        coarse_residual: Sequence[int] = (0, 0, 0, 2, 2),
        widths: Sequence[int] = (32, 64, 96, 128, 160),
        residual: Sequence[int] = (),
        fold: int = 4,
        train_coarse: bool = True,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        if not widths and not train_coarse:
            raise ValueError("train_coarse: false without widths leaves nothing to train")
        self.mirrored = mirrored
        self.coarse = Student(start="pull_push", widths=coarse_widths, residual=coarse_residual)
        self.coarse.requires_grad_(train_coarse)
        self.fine = None
        if widths:
            self.fine = Student(start="given", widths=widths, residual=residual, fold=fold)

    def train(self, mode: bool = True) -> "CoarseToFine":
        """The coarse network stays in evaluation mode where it does not train."""
        super().train(mode)
        if not self._coarse_trains():
            self.coarse.eval()
        return self

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        if mask is None:
            raise ValueError("mask: None, but CoarseToFine needs the (N, 1, H, W) mask")
        if self.fine is not None:
            self.fine.check_size(occluded)
        filled = self.fill(occluded, mask.to(occluded.dtype))
        return filled if self.fine is None else self.fine(filled, mask)

    def fill(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """The occluded image, its hole filled as the coarse network sees it: (N, 3, H, W)."""
        height, width = occluded.shape[-2:]
        times = max(1, min(height, width) // COARSE_SIDE)
        known = pad_to_multiple(1 - mask, times)
        sums = F.avg_pool2d(pad_to_multiple(occluded, times) * known, times)
        share = F.avg_pool2d(known, times)
        hidden = (share < ENOUGH).to(occluded.dtype)
        seen = sums / share.clamp(min=1e-6) * (1 - hidden)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._coarse_trains()):
            drawn = self._draw(seen, hidden)
        drawn = torch.where(hidden > 0, drawn, seen)  # at known pixels its answer may be anything
        drawn = F.interpolate(drawn, scale_factor=times, mode="bilinear", align_corners=False)
        drawn = drawn[..., :height, :width].to(occluded.dtype)
        return (drawn + pull_push(occluded - drawn, mask)).clamp(0, 1)

    def _draw(self, seen: Tensor, hidden: Tensor) -> Tensor:
        if not self.mirrored:
            return self.coarse(seen, hidden)
        both = [torch.cat([each, each.flip(3)]) for each in (seen, hidden)]
        drawn, count = self.coarse(*both), seen.shape[0]  # chunk(2) or len fix an exported batch
        return (drawn[:count] + drawn[count:].flip(3)) / 2

    def _coarse_trains(self) -> bool:
        return next(self.coarse.parameters()).requires_grad

    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a `Student` as those of the coarse network; those of a network like this
        one with a smaller fold as this one's."""
        if "network.head.weight" in state:
            return {f"coarse.{name}": tensor for name, tensor in state.items()}
        if self.fine is None:
            return state
        fine = {
            name.removeprefix("fine."): t for name, t in state.items() if name.startswith("fine.")
        }
        refitted = self.fine.fitted(fine)
        if refitted is fine:
            return state
        return state | {f"fine.{name}": tensor for name, tensor in refitted.items()}
