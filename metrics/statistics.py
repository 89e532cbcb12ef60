"""How sure a mean is: bootstrap intervals on the same images, seeded and vectorised."""

from typing import NamedTuple

import numpy as np

CHUNK = 1 << 22  # resampling counts held at once


class Interval(NamedTuple):
    """A mean with its percentile interval, over `count` images; floats, or one array each (K,)."""

    mean: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray
    count: int | np.ndarray


def bootstrap_interval(
    values: np.ndarray,
    strata: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of `values` and its percentile bootstrap interval (Efron 1979).

    Args:
        values: (N,), or (N, K) for K quantities on the same images, resampled together.
        strata: (N,), such as mask bins: images are resampled within each stratum and the mean of
            the strata's means is taken, so that every bin counts the same.
        level: probability that the interval covers.
        resamples: bootstrap samples.
        seed: equal seeds give equal intervals.

    Values that are not finite are left out, column by column. A stratum without any finite value
    makes the mean NaN: a mean over fewer bins would be another quantity.
    """
    values = np.asarray(values, dtype=np.float64)
    strata = np.zeros(len(values), dtype=np.int64) if strata is None else np.asarray(strata)
    if len(strata) != len(values):
        raise ValueError(f"{len(strata)} strata for {len(values)} values; one each is needed")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    table = values.reshape(len(values), -1)
    finite = np.isfinite(table)
    filled = np.where(finite, table, 0.0)
    rng = np.random.Generator(np.random.PCG64(seed))
    means, resampled = [], []
    for stratum in np.unique(strata):
        chosen = strata == stratum
        sums, counts = filled[chosen], finite[chosen].astype(np.float64)
        means.append(_ratio(sums.sum(0), counts.sum(0)))
        resampled.append(_resampled_means(sums, counts, resamples, rng))
    count = finite.sum(0)
    if not means:
        means, resampled = [np.full(len(count), np.nan)], [np.full((1, len(count)), np.nan)]
    mean = np.mean(means, axis=0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = _quantiles(np.mean(resampled, axis=0), tails)
    if values.ndim == 1:
        return Interval(float(mean[0]), float(low[0]), float(high[0]), int(count[0]))
    return Interval(mean, low, high, count)


def paired_difference(
    values: np.ndarray,
    reference: np.ndarray,
    strata: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of `values - reference` on the same images, with its bootstrap interval.

    Both are (N,) or (N, K), in the same order. Pairs in which either is not finite are left out:
    `count` says how many remained.
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.shape != reference.shape:
        raise ValueError(
            f"a paired difference needs equal shapes, found {values.shape} and {reference.shape}"
        )
    with np.errstate(invalid="ignore"):  # inf - inf: both exact, no difference to estimate
        difference = values - reference
    return bootstrap_interval(difference, strata, level, resamples, seed)


def _resampled_means(
    sums: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """(N, K) values and (N, K) flags of what counts, to (resamples, K) means.

    How often each image is drawn is a matrix (resamples, N), so that all columns share the draws.
    """
    number = len(sums)
    rows = max(1, CHUNK // number)
    means = []
    for start in range(0, resamples, rows):
        part = min(rows, resamples - start)
        drawn = rng.integers(0, number, size=(part, number))
        flat = (drawn + number * np.arange(part)[:, None]).ravel()
        times = np.bincount(flat, minlength=part * number).reshape(part, number).astype(np.float64)
        means.append(_ratio(times @ sums, times @ counts))
    return np.concatenate(means)


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _quantiles(samples: np.ndarray, tails: list[float]) -> np.ndarray:
    """(S, K) to (2, K), without the samples in which nothing finite was drawn."""
    if np.isfinite(samples).all():
        return np.quantile(samples, tails, axis=0)
    columns = [column[np.isfinite(column)] for column in samples.T]
    empty = np.full(len(tails), np.nan)
    return np.stack([np.quantile(c, tails) if len(c) else empty for c in columns], axis=1)
