"""Correlations and how sure they are, where several values belong to one image."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from deocclude.metrics.statistics import LEVEL, RESAMPLES, Interval, cluster_draws, sums_by_image


class Correlations(NamedTuple):
    """Pearson's and Spearman's coefficient, each with its interval."""

    pearson: Interval
    spearman: Interval


def correlate(
    first: np.ndarray,
    second: np.ndarray,
    images: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Correlations:
    """How two quantities go together, with percentile intervals of the cluster bootstrap.

    Shape: first, second (N,); images (N,) says which image a value belongs to, by default each to
    one of its own. Whole images are resampled (as in `metrics.statistics`); ranks, mean ones where
    values tie, are those of the whole sample in every resample. Values that are not finite in both
    are left out. NaN where one of both is constant; no interval from fewer than three images.
    """
    first, second = (np.asarray(values, np.float64) for values in (first, second))
    images = np.arange(len(first)) if images is None else np.asarray(images)
    for name, values in (("second", second), ("images", images)):
        if values.shape != first.shape:
            raise ValueError(f"{name}: shape must be {first.shape}, found {values.shape}")
    finite = np.isfinite(first) & np.isfinite(second)
    first, second, images = first[finite], second[finite], images[finite]
    options = {"images": images, "level": level, "resamples": resamples, "seed": seed}
    return Correlations(
        _pearson(first, second, **options), _pearson(ranks(first), ranks(second), **options)
    )


def ranks(values: np.ndarray) -> np.ndarray:
    """From 1 on, the mean rank where values tie: float64 (N,)."""
    return pd.Series(values).rank().to_numpy(np.float64)


def ranks_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ranks inside each group, as shares of it around 0: float64 (N,) in (-0.5, 0.5).

    What is left of a quantity when the groups' levels are taken away.
    """
    return pd.Series(values).groupby(np.asarray(groups)).transform(_centred_ranks).to_numpy()


def _centred_ranks(values: pd.Series) -> pd.Series:
    return (values.rank() - (values.count() + 1) / 2) / max(1, values.count())


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's coefficient of (N,) and (N,); NaN where one is constant."""
    return float(_coefficients(_moments(ranks(first), ranks(second)).sum(0)))


def _pearson(first, second, images, level: float, resamples: int, seed: int) -> Interval:
    count = len(first)
    moments = _moments(first, second)
    mean = float(_coefficients(moments.sum(0)))
    names, image = np.unique(images, return_inverse=True)
    if len(names) < 3 or not np.isfinite(mean):
        return Interval(mean, np.nan, np.nan, count)
    sums = sums_by_image(moments, image, len(names))
    sampled = _coefficients(cluster_draws(len(names), resamples, seed) @ sums)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(sampled[np.isfinite(sampled)], tails)
    return Interval(mean, float(low), float(high), count)


def _moments(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 6): what sums to both means, variances and the covariance. Standardised before, so that
    no digit is lost in their differences."""
    x, y = (_standardised(values) for values in (first, second))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _standardised(values: np.ndarray) -> np.ndarray:
    if not len(values) or np.ptp(values) == 0:
        return np.zeros_like(values)
    return (values - values.mean()) / values.std()


def _coefficients(sums: np.ndarray) -> np.ndarray:
    """(..., 6) sums of moments to Pearson's coefficients (...)."""
    number, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        across, first, second = xy - x * y / number, xx - x * x / number, yy - y * y / number
        spread = np.sqrt(first.clip(0) * second.clip(0))
        flat = (first < 1e-9 * number) | (second < 1e-9 * number)
        return np.where(flat, np.nan, (across / spread).clip(-1, 1))
