"""Holes filled smoothly from what is around them, in milliseconds and with gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pull_push(image: Tensor, mask: Tensor) -> Tensor:
    """The image with its holes filled (Gortler et al., SIGGRAPH 1996, section 3.4).

    Pull: known pixels are averaged to ever coarser grids until every cell knows something. Push:
    what a grid does not know fully is taken from the coarser one, interpolated.

    Shape: image (N, C, H, W), mask (N, 1, H, W) of {0, 1}, 1 = hole -> (N, C, H, W); known pixels
    stay as they are. An image without a known pixel becomes 0.
    """
    known = 1 - mask
    sums, shares = [image * known], [known]
    while max(sums[-1].shape[-2:]) > 1:
        halves = (_halved(part[-1]) for part in (sums, shares))
        total, share = halves
        full = (2 * share).clamp(max=1)  # half of a cell known is enough to trust it
        sums.append(total * (full / share.clamp(min=1e-6)))
        shares.append(full)
    filled = sums[-1] / shares[-1].clamp(min=1e-6)
    for total, share in zip(reversed(sums[:-1]), reversed(shares[:-1]), strict=True):
        coarse = F.interpolate(filled, total.shape[-2:], mode="bilinear", align_corners=False)
        filled = total + (1 - share) * coarse
    return torch.where(mask > 0.5, filled, image)


def _halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; an odd last row or column stands for itself."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
