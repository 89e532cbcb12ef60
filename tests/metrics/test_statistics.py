"""Bootstrap intervals: known means, coverage, pairing, seeds."""

import numpy as np
import pytest

from deocclude.metrics.statistics import bootstrap_interval, bootstrap_strata, paired_difference


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
    difference = bootstrap_interval(difference)
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
    monkeypatch.setattr("deocclude.metrics.statistics.CHUNK", 250)
    assert bootstrap_interval(values, seed=5) == pytest.approx(first)


def test_infinite_values_leave_with_their_pair():
    difference = paired_difference([20, np.inf, np.inf, 22], [19, 20, np.inf, 21])
    assert bootstrap_interval(difference) == (1, 1, 1, 2)
    assert np.isnan(bootstrap_interval([np.inf]).mean)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="2 images for 3"):
        bootstrap_interval([1, 2, 3], images=["a", "b"])
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


def test_an_image_counts_once_however_many_masks_it_meets():
    """Six bins that all see the same 40 images: the spread is that of 40 draws, not of 240."""
    rng = np.random.default_rng(5)
    quality = rng.normal(25, 3, 40)
    values = np.tile(quality, 6) + np.repeat(np.arange(6), 40)
    bins, images = np.repeat(np.arange(6), 40), np.tile(np.arange(40), 6)
    interval = bootstrap_interval(values, bins, images)
    expected = 2 * 1.96 * quality.std() / np.sqrt(40)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    naive = bootstrap_interval(values, bins)
    assert naive.high - naive.low < 0.6 * (interval.high - interval.low)


def test_intervals_over_images_cover_as_often_as_they_say():
    rng = np.random.default_rng(6)
    hits = 0
    for trial in range(200):
        quality = rng.normal(0, 1, 40)
        values = np.concatenate([quality + rng.normal(0, 1, 40) for _ in range(6)])
        bins, images = np.repeat(np.arange(6), 40), np.tile(np.arange(40), 6)
        interval = bootstrap_interval(values, bins, images, resamples=400, seed=trial)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_one_image_gives_no_interval():
    values, bins = [1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1]
    strata = bootstrap_strata(values, bins, ["a", "a", "a", "b"])
    assert strata[0].mean == 1.5
    assert np.isnan([strata[0].low, strata[0].high]).all()
    assert strata[1].low == 3
    assert strata[1].high == 4
    assert strata[None].mean == 2.5
    assert np.isnan(strata[None].low)  # a bin of it rests on one image
    assert np.isnan(bootstrap_interval([7.0]).high)
    column = np.array([[1, 2], [np.inf, 3.0]])
    assert np.isnan(bootstrap_interval(column).low).tolist() == [True, False]


def test_strata_by_themselves_equal_strata_together():
    values = np.random.default_rng(7).normal(size=60)
    bins, images = np.repeat([0, 1], 30), np.tile(np.arange(30), 2)
    together = bootstrap_strata(values, bins, images)
    alone = bootstrap_interval(values[bins == 1], images=images[bins == 1])
    assert [float(part[0]) for part in together[1]] == pytest.approx(list(alone))
