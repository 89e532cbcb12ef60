"""The structural similarity term: 1 - SSIM, 0 for equal images and at most 2."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.losses.inputs import LossInputs
from deocclude.names import shown

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with a data range L of 1
REGIONS = ("image", "hole")


class SSIMLoss(nn.Module):
    """1 - SSIM (Wang et al. 2004): 11 x 11 Gaussian window, sigma 1.5, data range 1, a mean over
    channels. Images have sides of at least 11 pixels.

    SSIM itself as a loss drives images apart, the mistake that Facial Deocclusion reports.

    Args:
        region: image (a mean over every place where the window fits, as scikit-image has it) or
            hole (a mean over the hole's pixels per image, then over images, 0 for an image without
            a hole; borders are mirrored).
    """

    def __init__(self, region: str = "image") -> None:
        super().__init__()
        if region not in REGIONS:
            raise ValueError(f"region: {shown(region)} is not one of {', '.join(REGIONS)}")
        self.region = region

    def forward(self, inputs: LossInputs) -> Tensor:
        # Variances are small differences of large numbers: float32 at any precision of the network.
        with torch.autocast(inputs.prediction.device.type, enabled=False):
            prediction, target = inputs.prediction.float(), inputs.target.float()
            if self.region == "image":
                return 1 - ssim_map(prediction, target).mean()
            error = 1 - ssim_map(_mirror(prediction), _mirror(target))
            mask = inputs.mask.float()
            area = mask.sum(dim=(1, 2, 3)) * error.shape[1]
            return ((error * mask).sum(dim=(1, 2, 3)) / area.clamp(min=1)).mean()


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM wherever the window fits: two images (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    if min(target.shape[-2:]) < WINDOW:
        height, width = target.shape[-2:]
        raise ValueError(f"SSIM needs sides of at least {WINDOW} pixels, found {height} x {width}")
    moments = torch.cat(
        (prediction, target, prediction.square(), target.square(), prediction * target)
    )
    x, y, xx, yy, xy = _blur(moments).chunk(5)
    luminance = (2 * x * y + C1) / (x.square() + y.square() + C1)
    structure = (2 * (xy - x * y) + C2) / (xx - x.square() + yy - y.square() + C2)
    return luminance * structure


def _blur(images: Tensor) -> Tensor:
    """Gaussian-weighted means of every window, rows then columns."""
    offsets = torch.arange(WINDOW, device=images.device, dtype=images.dtype) - WINDOW // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    weights = (weights / weights.sum()).repeat(images.shape[1], 1, 1, 1)
    rows = F.conv2d(images, weights, groups=images.shape[1])
    return F.conv2d(rows, weights.transpose(2, 3), groups=images.shape[1])


def _mirror(image: Tensor) -> Tensor:
    """Half a window more on every side, the edge pixel repeated as in scikit-image."""
    margin = WINDOW // 2
    for dim in (2, 3):
        before = image.narrow(dim, 0, margin).flip(dim)
        after = image.narrow(dim, image.shape[dim] - margin, margin).flip(dim)
        image = torch.cat((before, image, after), dim)
    return image
