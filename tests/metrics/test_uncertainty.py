"""Calibration and sparsification on errors whose spread is known."""

import numpy as np
import pytest

from deocclude.metrics.uncertainty import calibration, sparsify


@pytest.fixture
def drawn():
    """Standard deviations and errors that have them."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.01, 0.2, 40_000)
    return spread, spread * rng.normal(size=len(spread))


def test_a_true_standard_deviation_is_calibrated(drawn):
    spread, error = drawn
    curve = calibration(spread, error**2, bins=10)
    assert curve["count"].tolist() == [4000] * 10
    np.testing.assert_allclose(curve["rmse"], curve["uncertainty"], rtol=0.05)
    assert (curve["low"] < curve["rmse"]).all()
    assert (curve["rmse"] < curve["high"]).all()
    assert (curve["lowest"].to_numpy()[1:] >= curve["highest"].to_numpy()[:-1]).all()


def test_a_wide_bin_is_calibrated_too(drawn):
    """Variances are compared: a bin's mean standard deviation would be 13 % below its RMSE."""
    spread, error = drawn
    (line,) = calibration(spread, error**2, bins=1).itertuples()
    assert line.rmse == pytest.approx(line.uncertainty, rel=0.02)


def test_an_overconfident_one_is_off_by_its_factor(drawn):
    spread, error = drawn
    curve = calibration(spread / 3, error**2)
    np.testing.assert_allclose(curve["rmse"] / curve["uncertainty"], 3, rtol=0.1)


def test_equal_uncertainties_are_no_order(drawn):
    """All alike: every bin has the same error though errors grow with their place."""
    error = np.sort(np.abs(drawn[1]))
    curve = calibration(np.zeros(len(error)), error**2, bins=5)
    assert curve["rmse"].max() / curve["rmse"].min() < 1.05
    assert sparsify(np.zeros(len(error)), error).gain == pytest.approx(0, abs=0.02)


def test_the_oracle_leaves_nothing_to_gain_and_noise_everything(drawn):
    spread, error = drawn[0], np.abs(drawn[1])
    perfect = sparsify(error, error)
    assert perfect.ause == 0
    assert perfect.gain == 1
    np.testing.assert_array_equal(perfect.curve, perfect.oracle)
    noise = sparsify(np.random.default_rng(1).normal(size=len(error)), error)
    assert noise.gain == pytest.approx(0, abs=0.02)
    some = sparsify(spread, error)
    assert 0 < perfect.ause + 0.02 < some.ause < noise.ause
    assert noise.worst == some.worst
    assert sparsify(-error, error).gain < -0.3


def test_curves_start_at_the_mean_error_and_follow_their_definition():
    found = sparsify(np.array([3.0, 1.0, 2.0, 4.0]), np.array([2.0, 0.0, 2.0, 4.0]), steps=4)
    np.testing.assert_allclose(found.removed, [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.curve, np.array([2, 4 / 3, 1, 0]) / 2)
    np.testing.assert_allclose(found.oracle, np.array([2, 4 / 3, 1, 0]) / 2)


def test_no_error_and_no_values():
    assert np.isnan(sparsify(np.arange(4), np.zeros(4)).gain)
    for call in (sparsify, calibration):
        with pytest.raises(ValueError, match="no values"):
            call(np.empty(0), np.empty(0))
    curve = calibration(np.array([0.1]), np.array([0.04]))
    assert curve["rmse"].tolist() == [pytest.approx(0.2)]
    assert np.isnan(curve["low"]).all()
