"""Intervals with training seeds resampled as well as images."""

import numpy as np
import pytest

from deocclude.metrics.seeds import seed_shares, seeded_difference
from deocclude.metrics.statistics import bootstrap_strata, paired_difference


def values(seeds, offset=0.0, spread=0.0, images=60, seed=0):
    """(seeds, images, 1): the same image noise, each seed off by its own amount."""
    rng = np.random.default_rng(seed)
    noise = np.random.default_rng(99).normal(size=images)
    return (offset + spread * rng.normal(size=(seeds, 1)) + noise)[:, :, None]


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_shares_sum_to_one_and_vary_as_the_mean_of_so_many_seeds_does(seeds):
    shares = seed_shares(seeds, 40_000)
    np.testing.assert_allclose(shares.sum(1), 1)
    deviations = np.random.default_rng(seeds).normal(size=seeds)
    expected = deviations.var(ddof=1) / seeds  # of the mean of independent seeds, unbiased
    assert (shares @ deviations).var() == pytest.approx(expected, rel=0.05)


def test_the_interval_of_few_seeds_covers_as_little_as_the_table_says():
    """Where images do not vary; of two seeds it is arctan(sqrt(2)) / (pi / 2) = 0.61."""
    covered = {}
    for seeds in (2, 3, 5):
        true_zero = np.random.default_rng(7).normal(size=(3000, seeds))
        low, high = np.quantile(true_zero @ seed_shares(seeds).T, [0.025, 0.975], axis=1)
        covered[seeds] = ((low < 0) & (high > 0)).mean()
    assert covered == pytest.approx({2: 0.608, 3: 0.82, 5: 0.87}, abs=0.025)


def test_one_seed_has_all_the_weight():
    assert (seed_shares(1, 10) == 1).all()
    with pytest.raises(ValueError, match="at least one"):
        seed_shares(0)


def test_single_seeds_give_the_interval_over_images():
    own = values(1, 0.3) + np.random.default_rng(5).normal(size=(1, 60, 1))
    reference, bins = values(1), np.repeat([0, 1, 2], 20)
    got = seeded_difference(own, reference, bins)
    plain = bootstrap_strata(paired_difference(own[0], reference[0]), bins)
    for name in (0, 1, 2, None):
        np.testing.assert_allclose(np.ravel(got[name]), np.ravel(plain[name][1:3]))


def test_the_spread_of_seeds_widens_the_interval_and_equal_seeds_do_not():
    own, reference = values(3, 0.3, 0.5), values(1)
    low, high = seeded_difference(own, reference)[None]
    same_low, same_high = seeded_difference(values(3, 0.3), reference)[None]
    assert (high - low).item() > 0.3
    assert (same_high - same_low).item() == pytest.approx(0, abs=1e-9)  # the noise is paired away
    middle = own.mean() - reference.mean()
    assert low.item() < middle < high.item()


def test_the_seeds_of_the_reference_count_too():
    own, reference = values(1, 0.3), values(4, 0.0, 0.5)
    low, high = seeded_difference(own, reference)[None]
    assert (high - low).item() > 0.2


def test_values_that_are_missing_are_left_out_and_a_lost_metric_has_no_interval():
    own = np.repeat(values(2, 0.3, 0.1), 2, axis=2)
    reference = np.repeat(values(1), 2, axis=2)
    own[0, :5, 0] = np.nan
    own[1, :, 1] = np.nan
    low, high = seeded_difference(own, reference)[None]
    assert np.isfinite([low[0], high[0]]).all()
    assert np.isnan([low[1], high[1]]).all()


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"must be \(seeds, N, K\)"):
        seeded_difference(values(2), values(2, images=7))
