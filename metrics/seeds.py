"""How sure a difference is when training itself was repeated: seeds are resampled, then images.

An interval over images says how the same weights would fare on other images; one over seeds and
images how the same recipe would, trained once more (the two-level bootstrap: Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8).
"""

from collections.abc import Hashable

import numpy as np

from deocclude.metrics.statistics import (
    LEVEL,
    RESAMPLES,
    bootstrap_samples,
    paired_difference,
    sample_quantiles,
)


def seed_shares(
    seeds: int, resamples: int = RESAMPLES, rng: np.random.Generator | None = None
) -> np.ndarray:
    """With what weight each seed counts in each resample, (resamples, seeds), rows of sum 1.

    Seeds are drawn with replacement. So few draws vary too little, by (S - 1) / S; the deviations
    from equal weights are scaled up by what is missing (Rao and Wu 1988). One seed has weight 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds: there must be at least one, found {seeds}")
    if seeds == 1:
        return np.ones((resamples, 1))
    rng = rng or np.random.Generator(np.random.PCG64(0))
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    return 1 / seeds + (drawn - 1 / seeds) * np.sqrt(seeds / (seeds - 1))


def seeded_difference(
    values: np.ndarray,
    reference: np.ndarray,
    strata: np.ndarray | None = None,
    images: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Hashable, tuple[np.ndarray, np.ndarray]]:
    """The interval of the mean difference over seeds and images: for each stratum and, under None,
    for the mean of the strata's means, low and high (K,).

    Args:
        values: (S, N, K), a row trained with S seeds, N values of K metrics.
        reference: (T, N, K), the row that the difference is taken to.

    The rest as in `metrics.statistics.bootstrap_strata`. Each seed's values are paired with the
    reference's by image; the seeds of both rows are drawn each by itself.
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.ndim != 3 or reference.ndim != 3 or values.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"values {values.shape} and reference {reference.shape} must be (seeds, N, K)"
        )
    centre = reference.mean(0)
    both = np.concatenate([paired_difference(values, centre), paired_difference(reference, centre)])
    count, metrics = len(both), values.shape[2]
    flat = both.transpose(1, 0, 2).reshape(len(centre), -1)
    rng = np.random.Generator(np.random.PCG64([seed, count]))
    own, other = (seed_shares(len(rows), resamples, rng) for rows in (values, reference))
    shares = np.concatenate([own, -other], axis=1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals = {}
    for stratum, part in bootstrap_samples(flat, strata, images, resamples, seed):
        samples = part.values.reshape(resamples, count, metrics)
        enough = part.enough.reshape(count, metrics).all(0)
        drawn = np.einsum("rs,rsk->rk", shares, samples)
        intervals[stratum] = tuple(sample_quantiles(drawn, tails, enough))
    return intervals
