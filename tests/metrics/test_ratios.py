"""Ratios of sums and smooth curves: known values, intervals, pairing, what does not exist."""

import numpy as np
import pytest

from deocclude.metrics.ratios import RatioSamples, percentiles, sample_ratios, smooth_curve


def test_every_pixel_counts_the_same_not_every_image():
    errors, pixels = np.array([[10.0], [1.0]]), np.array([[100.0], [1.0]])
    assert sample_ratios(errors, pixels, np.arange(2)).value == pytest.approx([11 / 101])


def test_interval_has_the_width_of_the_standard_error():
    rng = np.random.default_rng(0)
    pixels = rng.uniform(50, 150, (400, 1))
    errors = pixels * rng.normal(0.3, 0.1, (400, 1))
    _, low, high, count = percentiles(sample_ratios(errors, pixels, np.arange(400)))
    residual = errors - pixels * errors.sum() / pixels.sum()
    expected = 2 * 1.96 * np.sqrt((residual**2).sum()) / pixels.sum()
    assert high[0] - low[0] == pytest.approx(expected, rel=0.08)
    assert count[0] == 400


def test_lines_of_one_image_are_drawn_together():
    rng = np.random.default_rng(1)
    errors = np.repeat(rng.normal(1, 0.2, (40, 1)), 5, axis=0)
    ones = np.ones_like(errors)
    apart, together = (
        percentiles(sample_ratios(errors, ones, images))
        for images in (np.arange(200), np.repeat(np.arange(40), 5))
    )
    width = [(part.high - part.low)[0] for part in (apart, together)]
    assert width[1] == pytest.approx(width[0] * np.sqrt(5), rel=0.15)


def test_equal_columns_differ_by_nothing_in_every_sample():
    errors = np.random.default_rng(2).random((30, 1)).repeat(2, axis=1)
    samples = sample_ratios(errors, np.ones_like(errors), np.arange(30)).samples
    assert np.ptp(samples, axis=1).max() < 1e-12


def test_what_no_pixel_stands_behind_is_nan():
    found = percentiles(sample_ratios(np.zeros((3, 1)), np.zeros((3, 1)), np.arange(3)))
    assert np.isnan([found.mean, found.low, found.high]).all()
    one = percentiles(sample_ratios(np.ones((1, 1)), np.ones((1, 1)), np.arange(1)))
    assert one.mean == [1]
    assert np.isnan(one.low).all()


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 1\).*\(3, 1\)"):
        sample_ratios(np.ones((2, 1)), np.ones((3, 1)), np.arange(2))


def test_a_line_is_kept_to_its_ends():
    x = np.linspace(0, 0.6, 50)
    grid = np.array([0.0, 0.3, 0.6])
    curve = smooth_curve(x, 30 - 20 * x, np.arange(50), grid, 0.05)
    assert curve.mean == pytest.approx(30 - 20 * grid)
    assert curve.low == pytest.approx(curve.high)
    assert (curve.count > 5).all()


def test_curve_follows_a_bend_and_covers_it():
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, 600)
    y = np.sin(3 * x) + rng.normal(0, 0.2, 600)
    grid = np.linspace(0.05, 0.95, 10)
    curve = smooth_curve(x, y, np.arange(600), grid, 0.07)
    assert np.abs(curve.mean - np.sin(3 * grid)).max() < 0.1
    assert ((curve.low < np.sin(3 * grid)) & (np.sin(3 * grid) < curve.high)).sum() >= 7


def test_values_that_are_not_finite_are_left_out():
    x, y = np.tile(np.linspace(0, 1, 20), 2), np.tile(np.linspace(0, 1, 20), 2)
    y[3], y[7] = np.inf, np.nan
    curve = smooth_curve(x, y, np.arange(40), np.array([0.2]), 0.1)
    assert curve.mean == pytest.approx([0.2])


@pytest.mark.parametrize("x", [[], [0.3], [0.3, 0.3]])
def test_a_place_that_nothing_fixes_is_nan(x):
    curve = smooth_curve(np.array(x), np.ones(len(x)), np.arange(len(x)), np.array([0.3]), 0.1)
    assert np.isnan(curve.mean).all()
    assert np.isnan(curve.low).all()


def test_far_from_every_value_there_is_no_curve():
    x = np.linspace(0, 0.2, 20)
    assert np.isnan(smooth_curve(x, x, np.arange(20), np.array([0.6]), 0.05).mean).all()


def test_a_bandwidth_of_nothing_is_refused():
    with pytest.raises(ValueError, match="bandwidth"):
        smooth_curve(np.ones(2), np.ones(2), np.arange(2), np.ones(1), 0)


def test_samples_without_an_image_are_left_out_of_the_interval():
    samples = np.array([[1.0], [np.nan], [1.0]])
    interval = percentiles(RatioSamples(np.ones(1), samples, np.array([5])))
    assert interval.low == interval.high == pytest.approx([1])
