"""The metrics as the De-Occlusion Face Model's public code computed them; never the default.

The paper: "De-Occlusion Face Model", IEEE Latin America Transactions 2025, DOI
10.1109/TLA.2025.11072503 (IFACENET: SSIM 0.95, PSNR 26.813 dB, "L1" 0.261). The definitions differ
from the usual ones in ways that change the numbers, so they are used only to stand beside the
published table:

- "L1" is a relative error, sum |r - f| / sum (r + f), over a batch; not a mean absolute error.
- PSNR is that of the batch's joint MSE, so it changes with the batch size.
- SSIM looks at pixel rows 0 to 2 instead of the three channels.
- All of them score the raw prediction, not the picture with the known pixels put back.

The published LPIPS never saw the generated image and its FID was never reset; neither says
anything about a model, and neither is reproduced here.
"""

import torch
from torch import Tensor

from deocclude.metrics.image import SIGMA, WINDOW

ROWS = 3
C1, C2 = 0.01**2, 0.03**2


def relative_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """sum |r - f| / sum (r + f) over the whole batch, a scalar; NaN if both are black."""
    return (prediction - target).abs().sum() / (prediction + target).sum()


def batch_psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """10 log10(1 / MSE) of the batch as one image, a scalar in dB."""
    return -10 * (prediction - target).square().mean().log10()


def first_rows_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM of pixel rows 0 to 2 taken as the channels, mean over the batch, a scalar.

    Each row is a one-dimensional signal of W pixels and three colours; the window is the row of
    the usual Gaussian (11 taps, sigma 1.5), without padding.
    """
    if target.shape[-1] < WINDOW:
        raise ValueError(f"SSIM needs a width of at least {WINDOW}, found {target.shape[-1]}")
    first, second = (image[..., :ROWS, :].float() for image in (prediction, target))
    offsets = torch.arange(WINDOW, device=target.device) - WINDOW // 2
    window = torch.exp(-(offsets.float() ** 2) / (2 * SIGMA**2))
    window = window / window.sum()

    def blur(signal: Tensor) -> Tensor:
        return (signal.unfold(-1, WINDOW, 1) * window).sum(-1)

    mean1, mean2 = blur(first), blur(second)
    variance1, variance2 = blur(first**2) - mean1**2, blur(second**2) - mean2**2
    covariance = blur(first * second) - mean1 * mean2
    upper = (2 * mean1 * mean2 + C1) * (2 * covariance + C2)
    lower = (mean1**2 + mean2**2 + C1) * (variance1 + variance2 + C2)
    return (upper / lower).mean()


class AsPublishedMetrics:
    """Means over batches of the three definitions above, on the raw prediction.

    A last batch smaller than the others counts as much as they do, as it did in the public code.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Forget every batch."""
        self._batches: list[tuple[float, float, float]] = []

    @torch.inference_mode()
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch of images (N, 3, H, W) in [0, 1]."""
        functions = (relative_l1, batch_psnr, first_rows_ssim)
        self._batches.append(tuple(f(prediction, target).item() for f in functions))

    def compute(self) -> dict[str, float]:
        """`relative_l1`, `batch_psnr` and `first_rows_ssim`; ValueError before any batch."""
        if not self._batches:
            raise ValueError("no batch was added, so there is nothing to average")
        names = ("relative_l1", "batch_psnr", "first_rows_ssim")
        return dict(zip(names, torch.tensor(self._batches).mean(0).tolist(), strict=True))
