"""Correlations: against SciPy, coverage over images, what is left out."""

import numpy as np
import pytest
from scipy import stats

from deocclude.metrics.correlation import correlate, ranks_within, spearman


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    first = rng.normal(5, 2, 500)
    return first, np.exp(first / 3) + rng.normal(0, 3, 500)


def test_coefficients_equal_scipy(pair):
    first, second = pair
    found = correlate(first, second)
    assert found.pearson.mean == pytest.approx(stats.pearsonr(first, second)[0], abs=1e-12)
    assert found.spearman.mean == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-12)
    assert spearman(first, second) == pytest.approx(found.spearman.mean)
    tied = np.round(first)
    assert spearman(tied, second) == pytest.approx(stats.spearmanr(tied, second)[0], abs=1e-12)


def test_digits_survive_a_far_away_mean(pair):
    first, second = pair
    far = correlate(first * 1e-3 + 1e5, second * 1e-3 + 1e5).pearson.mean
    assert far == pytest.approx(correlate(first, second).pearson.mean, abs=1e-6)


def test_interval_is_that_of_fishers_transform_where_values_are_independent():
    rng = np.random.default_rng(1)
    first = rng.normal(size=400)
    second = first + rng.normal(size=400)
    interval = correlate(first, second, resamples=4000).pearson
    expected = stats.pearsonr(first, second).confidence_interval()
    assert interval[1:3] == pytest.approx((expected.low, expected.high), abs=0.012)


def test_many_values_of_one_image_are_no_more_certain_than_the_image():
    rng = np.random.default_rng(2)
    level = rng.normal(size=40)
    first, second = level, level + rng.normal(0, 1, 40)
    once = correlate(first, second).pearson
    images = np.repeat(np.arange(40), 50)
    often = correlate(first.repeat(50), second.repeat(50), images).pearson
    assert often[:3] == pytest.approx(once[:3], abs=1e-9)
    apart = correlate(first.repeat(50), second.repeat(50)).pearson
    assert apart.high - apart.low < 0.25 * (often.high - often.low)


def test_constant_values_have_no_correlation():
    found = correlate(np.full(20, 0.3), np.arange(20.0))
    assert np.isnan([*found.pearson[:3], *found.spearman[:3]]).all()
    assert np.isnan(spearman(np.zeros(1), np.ones(1)))


def test_values_that_are_not_finite_are_left_out(pair):
    first, second = (part.copy() for part in pair)
    expected = correlate(first[2:], second[2:]).pearson
    first[0], second[1] = np.nan, np.inf
    assert correlate(first, second).pearson.mean == pytest.approx(expected.mean)
    assert correlate(first, second).pearson.count == 498


def test_two_images_have_a_coefficient_but_no_interval():
    found = correlate(np.arange(6.0), np.arange(6.0) ** 2, images=[0, 0, 0, 1, 1, 1]).spearman
    assert found.mean == pytest.approx(1)
    assert np.isnan([found.low, found.high]).all()


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"images: shape must be \(3,\), found \(2,\)"):
        correlate(np.arange(3), np.arange(3), images=np.arange(2))


def test_ranks_within_groups_forget_the_level_of_the_group():
    rng = np.random.default_rng(3)
    groups = np.repeat([0, 1, 2], 200)
    first, second = (10.0 * groups + rng.normal(size=600) for _ in range(2))
    assert spearman(first, second) > 0.85
    within = correlate(ranks_within(first, groups), ranks_within(second, groups)).pearson
    assert within.low < 0 < within.high
    assert ranks_within(np.array([5.0, 1.0]), np.array(["a", "b"])).tolist() == [0, 0]
