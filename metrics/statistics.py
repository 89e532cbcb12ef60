"""How sure a mean is: bootstrap intervals over images, seeded and vectorised.

One image is measured under several masks, so its values are no independent draws. What is resampled
is the image, with all of its values in all strata (the cluster bootstrap; the bootstrap of means
and of paired differences: Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

import math
from collections.abc import Hashable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

CHUNK = 1 << 22  # resampling counts held at once
RESAMPLES, LEVEL = 2000, 0.95


class Interval(NamedTuple):
    """A mean with its percentile interval, over `count` values; floats, or one array each (K,).

    `low` and `high` are NaN where fewer than two images stand behind a mean.
    """

    mean: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray
    count: int | np.ndarray


def wilson_interval(share: float, trials: int, level: float = LEVEL) -> Interval:
    """A share of successes with Wilson's score interval, which holds at 0 and 1 too.

    Wilson, Journal of the American Statistical Association, 1927. `trials` are independent ones;
    NaN everywhere without any. ValueError for a share outside [0, 1].
    """
    if not trials:
        return Interval(math.nan, math.nan, math.nan, 0)
    if not 0 <= share <= 1:
        raise ValueError(f"share: must be in [0, 1], found {share}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    spread *= z / (1 + z * z / trials)
    return Interval(share, max(0.0, centre - spread), min(1.0, centre + spread), trials)


def bootstrap_interval(
    values: np.ndarray,
    strata: np.ndarray | None = None,
    images: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of `values`, or of its strata's means, and the percentile bootstrap interval.

    Arguments as in `bootstrap_strata`; values (N,) give floats.
    """
    interval = bootstrap_strata(values, strata, images, level, resamples, seed)[None]
    if np.ndim(values) > 1:
        return interval
    mean, low, high, count = (part[0] for part in interval)
    return Interval(float(mean), float(low), float(high), int(count))


def bootstrap_strata(
    values: np.ndarray,
    strata: np.ndarray | None = None,
    images: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Hashable, Interval]:
    """An interval for each stratum and, under None, one for the mean of the strata's means.

    Args:
        values: (N,), or (N, K) for K quantities on the same images, resampled together.
        strata: (N,), such as mask bins; in the mean of their means each counts the same.
        images: (N,), which image a value belongs to; by default each to one of its own.
        level: probability that the interval covers.
        resamples: bootstrap samples.
        seed: equal seeds give equal intervals.

    Values that are not finite are left out, column by column. A stratum without any finite value
    makes the mean of the strata NaN: a mean over fewer would be another quantity. A mean over
    strata has no interval where one of them has none.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {
        stratum: Interval(part.mean, *sample_quantiles(part.values, tails, part.enough), part.count)
        for stratum, part in bootstrap_samples(values, strata, images, resamples, seed)
    }


class Samples(NamedTuple):
    """A mean (K,), its bootstrap samples (resamples, K), over how many values it is, and whether
    two images stand behind it."""

    mean: np.ndarray
    values: np.ndarray
    count: np.ndarray
    enough: np.ndarray


def bootstrap_samples(
    values: np.ndarray,
    strata: np.ndarray | None = None,
    images: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Iterator[tuple[Hashable, Samples]]:
    """The samples behind `bootstrap_strata`, a stratum at a time; last, under None, the mean's."""
    table = np.asarray(values, dtype=np.float64)
    table = table.reshape(len(table), -1)
    strata = np.zeros(len(table), dtype=np.int64) if strata is None else np.asarray(strata)
    images = np.arange(len(table)) if images is None else np.asarray(images)
    for name, given in (("strata", strata), ("images", images)):
        if len(given) != len(table):
            raise ValueError(f"{len(given)} {name} for {len(table)} values; one each is needed")
    finite = np.isfinite(table)
    names, image = np.unique(images, return_inverse=True)
    draws = cluster_draws(len(names), resamples, seed)
    total = np.zeros((resamples, table.shape[1]))
    means, sure = [], np.ones(table.shape[1], dtype=bool)
    for stratum in np.unique(strata).tolist():
        chosen = strata == stratum
        sums = sums_by_image(np.where(finite, table, 0.0)[chosen], image[chosen], len(names))
        counts = sums_by_image(finite[chosen], image[chosen], len(names))
        means.append(ratio(sums.sum(0), counts.sum(0)))
        sampled = ratio(_times(draws, sums), _times(draws, counts))
        enough = (counts > 0).sum(0) >= 2
        total += sampled
        sure &= enough
        yield stratum, Samples(means[-1], sampled, finite[chosen].sum(0), enough)
    mean = np.mean(means, axis=0) if means else np.full(table.shape[1], np.nan)
    total /= max(1, len(means))
    yield None, Samples(mean, total, finite.sum(0), sure & bool(means))


def paired_difference(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`values - reference`, pair by pair, for the intervals above; the shapes must broadcast.

    NaN where both are infinite: both exact, there is no difference to estimate.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(values, np.float64) - np.asarray(reference, np.float64)


def cluster_draws(number: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of `number` images is drawn in each resample: (resamples, number)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = np.empty((resamples, number))
    rows = max(1, CHUNK // max(1, number))
    for start in range(0, resamples, rows):
        part = min(rows, resamples - start)
        drawn = rng.integers(0, number, size=(part, number))
        flat = (drawn + number * np.arange(part)[:, None]).ravel()
        times = np.bincount(flat, minlength=part * number)
        draws[start : start + part] = times.reshape(part, number)
    return draws


def sums_by_image(values: np.ndarray, image: np.ndarray, number: int) -> np.ndarray:
    """(n, K) to their sums over the values of each image, (number, K)."""
    sums = np.zeros((number, values.shape[1]))
    np.add.at(sums, image, values)
    return sums


def _times(draws: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """`draws @ sums`, with one product for the columns that are equal to the first."""
    same = (sums == sums[:, :1]).all(0)
    product = np.repeat(draws @ sums[:, :1], sums.shape[1], axis=1)
    product[:, ~same] = draws @ sums[:, ~same]
    return product


def ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def sample_quantiles(samples: np.ndarray, tails: list[float], enough: np.ndarray) -> np.ndarray:
    """(S, K) to (2, K), without the samples in which nothing finite was drawn."""
    if np.isfinite(samples).all():
        return np.where(enough, np.quantile(samples, tails, axis=0), np.nan)
    columns = [column[np.isfinite(column)] for column in samples.T]
    empty = np.full(len(tails), np.nan)
    found = [np.quantile(c, tails) if len(c) else empty for c in columns]
    return np.where(enough, np.stack(found, axis=1), np.nan)
