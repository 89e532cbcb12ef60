"""Bootstrap intervals: known means, coverage, pairing, seeds."""

import numpy as np
import pytest

from metrics.statistics import bootstrap_interval, paired_difference


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        interval = bootstrap_interval(rng.normal(3, 2, 60), resamples=400, seed=trial)
        hits += interval.low <= 3 <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


def test_width_matches_the_standard_error():
    values = np.random.default_rng(1).normal(0, 1, 400)
    interval = bootstrap_interval(values, resamples=4000)
    assert interval.mean == pytest.approx(values.mean())
    expected = 2 * 1.96 * values.std() / 20
    assert interval.high - interval.low == pytest.approx(expected, rel=0.06)


def test_pairing_removes_what_both_share():
    rng = np.random.default_rng(2)
    shared = rng.normal(25, 5, 200)
    difference = paired_difference(shared + 0.5 + rng.normal(0, 0.1, 200), shared)
    assert 0.45 < difference.low < 0.5 < difference.high < 0.55


def test_every_stratum_counts_the_same():
    values = np.concatenate([np.zeros(90), np.full(10, 10.0)])
    strata = np.repeat([0, 1], [90, 10])
    assert bootstrap_interval(values).mean == pytest.approx(1)
    interval = bootstrap_interval(values, strata)
    assert interval[:3] == pytest.approx((5, 5, 5))


def test_same_seed_same_interval_and_order_of_chunks_changes_nothing(monkeypatch):
    values = np.random.default_rng(3).normal(size=100)
    first = bootstrap_interval(values, seed=5)
    assert first == bootstrap_interval(values, seed=5)
    assert first != bootstrap_interval(values, seed=6)
    monkeypatch.setattr("metrics.statistics.CHUNK", 250)
    assert bootstrap_interval(values, seed=5) == pytest.approx(first)


def test_infinite_values_leave_with_their_pair():
    difference = paired_difference([20, np.inf, np.inf, 22], [19, 20, np.inf, 21])
    assert difference == (1, 1, 1, 2)
    assert np.isnan(bootstrap_interval([np.inf]).mean)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"found \(3,\) and \(2,\)"):
        paired_difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="2 strata for 3"):
        bootstrap_interval([1, 2, 3], [0, 1])
    with pytest.raises(ValueError, match="95"):
        bootstrap_interval([1, 2, 3], level=95)


def test_columns_equal_one_column_at_a_time():
    values = np.random.default_rng(4).normal(size=(50, 3))
    values[7, 1] = np.inf
    strata = np.arange(50) % 2
    together = bootstrap_interval(values, strata)
    for column in range(3):
        alone = bootstrap_interval(values[:, column], strata)
        assert [part[column] for part in together] == pytest.approx(list(alone))
    assert together.count.tolist() == [50, 49, 50]


def test_empty_stratum_is_not_skipped_silently():
    assert np.isnan(bootstrap_interval([1, 2, np.inf], [0, 0, 1]).mean)
