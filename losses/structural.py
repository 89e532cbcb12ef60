"""The structural similarity term: 1 - SSIM, 0 for equal images and at most 2."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deocclude.losses.inputs import LossInputs
from deocclude.names import shown

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with a data range L of 1
PLANES = 16  # at once: as many as an AVX-512 vector holds; more of them leave the cache
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
    """SSIM wherever the window fits: two images (N, C, H, W) -> (N, C, H - 10, W - 10).

    Differentiable once, by either image.
    """
    n, channels, height, width = target.shape
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs sides of at least {WINDOW} pixels, found {height} x {width}")
    # Every channel of every image is a plane of one image. A CPU wants planes last in memory: its
    # vectors then hold one pixel of each. On GPUs that order is cuDNN's, which may round to TF32.
    order = torch.channels_last if target.device.type == "cpu" else torch.contiguous_format
    weights = _window(target)
    predictions, targets = (
        image.reshape(1, -1, height, width).split(PLANES, dim=1) for image in (prediction, target)
    )
    maps = [
        _SSIM.apply(x.contiguous(memory_format=order), y.contiguous(memory_format=order), weights)
        for x, y in zip(predictions, targets, strict=True)
    ]
    return torch.cat(maps, dim=1).reshape(n, channels, *maps[0].shape[2:])


class _SSIM(torch.autograd.Function):
    """SSIM of planes (1, P, H, W) with its derivative written out.

    SSIM needs four blurs: E[x], E[y], E[x^2 + y^2] and E[xy]. The derivatives by these come from
    the same terms, in place, and a blur leads each back to the pixels. Autograd keeps every step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        mean_x, mean_y = _blur(x, weights), _blur(y, weights)
        b1 = mean_x.square().addcmul_(mean_y, mean_y)
        b2 = _blur(x.square().addcmul_(y, y), weights).sub_(b1).add_(C2)
        a1 = mean_x * mean_y
        a2 = _blur(x * y, weights).sub_(a1).mul_(2).add_(C2)
        a1, b1 = a1.mul_(2).add_(C1), b1.add_(C1)
        inverse = (b1 * b2).reciprocal_()
        by_a2 = a1.mul_(inverse)
        ssim = by_a2 * a2
        by_b2 = ssim / b2  # its sign and a factor 2 follow in backward
        # The derivative by E[x] is other E[y] + own E[x], that by E[y] other E[x] + own E[y].
        other = a2.mul_(inverse).sub_(by_a2)
        own = by_b2 - ssim / b1
        by_x = (other * mean_y).addcmul_(own, mean_x) if ctx.needs_input_grad[0] else None
        by_y = (other * mean_x).addcmul_(own, mean_y) if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(x, y, weights, by_a2, by_b2, by_x, by_y)
        return ssim

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weights, by_a2, by_b2, by_x, by_y = ctx.saved_tensors

        def spread(part: Tensor) -> Tensor:
            """To all pixels of each window, by its weights: these are symmetric, so a blur."""
            return _blur(part * gradient, weights, padding=WINDOW - 1)

        product, squares = spread(by_a2), spread(by_b2)

        def by_image(by_mean: Tensor | None, image: Tensor, other: Tensor) -> Tensor | None:
            if by_mean is None:
                return None
            by_pixel = spread(by_mean).addcmul_(product, other)
            return by_pixel.addcmul_(squares, image, value=-1).mul_(2)

        return by_image(by_x, x, y), by_image(by_y, y, x), None


def _window(like: Tensor) -> Tensor:
    """Gaussian weights (11), which sum to 1."""
    offsets = torch.arange(WINDOW, device=like.device, dtype=like.dtype) - WINDOW // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def _blur(planes: Tensor, weights: Tensor, padding: int = 0) -> Tensor:
    """Gaussian-weighted means of every window of (1, P, H, W), rows then columns."""
    count = planes.shape[1]
    weights = weights.repeat(count, 1, 1, 1)
    with torch.autocast(planes.device.type, enabled=False):  # backward may be called in one
        rows = F.conv2d(planes, weights, padding=(0, padding), groups=count)
        return F.conv2d(rows, weights.transpose(2, 3), padding=(padding, 0), groups=count)


def _mirror(image: Tensor) -> Tensor:
    """Half a window more on every side, the edge pixel repeated as in scikit-image."""
    margin = WINDOW // 2
    for dim in (2, 3):
        before = image.narrow(dim, 0, margin).flip(dim)
        after = image.narrow(dim, image.shape[dim] - margin, margin).flip(dim)
        image = torch.cat((before, image, after), dim)
    return image
