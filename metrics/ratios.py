"""Bootstrap of ratios of sums over images, and of a smooth curve, which is made of such sums.

The mean over all hole pixels of a set of images is sum(errors) / sum(pixels): an image with more of
them counts more. What is resampled is the image, as in `metrics.statistics`.
"""

from typing import NamedTuple

import numpy as np

from deocclude.metrics.statistics import (
    LEVEL,
    RESAMPLES,
    Interval,
    cluster_draws,
    ratio,
    sample_quantiles,
    sums_by_image,
)


class RatioSamples(NamedTuple):
    """Ratios (K,), what resampling makes of them (S, K), and the images behind each (K,)."""

    value: np.ndarray
    samples: np.ndarray
    images: np.ndarray


def sample_ratios(
    numerators: np.ndarray,
    denominators: np.ndarray,
    images: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RatioSamples:
    """sum(numerators) / sum(denominators), column by column, resampled over images.

    Args:
        numerators, denominators: (N, K); a column without any denominator is NaN.
        images: (N,), which image a line belongs to.

    Equal seeds and images draw the same images, so that differences of samples are paired.
    """
    above, below = (np.asarray(part, np.float64) for part in (numerators, denominators))
    if above.shape != below.shape or above.ndim != 2 or len(images) != len(above):
        raise ValueError(
            f"numerators {above.shape} and denominators {below.shape} must be equal, (N, K), with "
            f"an image each, found {len(images)}"
        )
    names, image = np.unique(images, return_inverse=True)
    above, below = (sums_by_image(part, image, len(names)) for part in (above, below))
    draws = cluster_draws(len(names), resamples, seed)
    samples = ratio(draws @ above, draws @ below)
    return RatioSamples(ratio(above.sum(0), below.sum(0)), samples, (below > 0).sum(0))


def percentiles(sampled: RatioSamples, level: float = LEVEL) -> Interval:
    """The percentile interval of each column; NaN ends where fewer than two images are behind."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = sample_quantiles(sampled.samples, tails, sampled.images >= 2)
    return Interval(sampled.value, low, high, sampled.images)


def smooth_curve(
    x: np.ndarray,
    y: np.ndarray,
    images: np.ndarray,
    grid: np.ndarray,
    bandwidth: float,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of `y` at each place of `grid`, with its bootstrap interval over images.

    Local linear regression with a Gaussian kernel, which has no bias of first order at the ends
    (Fan, Journal of the American Statistical Association, 1992).

    Args:
        x, y: (N,); lines that are not finite are left out.
        images: (N,), which image a line belongs to.
        grid: (G,) places.
        bandwidth: standard deviation of the kernel, in units of x.

    Returns:
        Arrays (G,); count is the number of lines within two bandwidths. NaN where they do not fix a
        line, and without interval where they belong to fewer than two images.
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be above 0, found {bandwidth}")
    x, y, grid = (np.asarray(part, np.float64) for part in (x, y, grid))
    kept = np.isfinite(x) & np.isfinite(y)
    x, y, images = x[kept], y[kept], np.asarray(images)[kept]
    names, image = np.unique(images, return_inverse=True)
    away = x[:, None] - grid
    kernel = np.exp(-0.5 * (away / bandwidth) ** 2)
    near = np.abs(away) <= 2 * bandwidth
    moments = (kernel, kernel * away, kernel * away**2, kernel * y[:, None])
    moments = [
        sums_by_image(part, image, len(names)) for part in (*moments, moments[1] * y[:, None])
    ]
    draws = cluster_draws(len(names), resamples, seed)
    value = _intercept(*(part.sum(0) for part in moments), bandwidth)
    samples = _intercept(*(draws @ part for part in moments), bandwidth)
    behind = (sums_by_image(near, image, len(names)) > 0).sum(0)
    value = np.where(behind > 0, value, np.nan)
    interval = percentiles(RatioSamples(value, samples, behind), level)
    return interval._replace(count=near.sum(0))


def _intercept(
    weight: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    total: np.ndarray,
    sloped: np.ndarray,
    bandwidth: float,
) -> np.ndarray:
    """The fitted line's value at the grid's place; NaN where all x there are (nearly) one."""
    spread = weight * second - first**2
    fixed = spread > 1e-9 * (weight * bandwidth) ** 2
    return np.divide(
        second * total - first * sloped, spread, out=np.full(spread.shape, np.nan), where=fixed
    )
