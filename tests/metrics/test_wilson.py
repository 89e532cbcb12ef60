"""Wilson's interval of a share."""

import math

import pytest

from deocclude.metrics.statistics import wilson_interval


def test_the_ends_solve_the_score_equation():
    """|share - p| = z sqrt(p (1 - p) / n) at both ends is what defines the interval."""
    for share, trials in ((0.5, 10), (0.9, 200), (0.02, 50)):
        _, low, high, _ = wilson_interval(share, trials)
        for p in (low, high):
            assert abs(share - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / trials))
        assert 0 < low < share < high < 1


def test_certainty_still_has_a_width():
    assert wilson_interval(1.0, 200)[1:3] == (pytest.approx(0.98115, abs=1e-4), 1.0)
    assert wilson_interval(0.0, 200)[1:3] == (0.0, pytest.approx(0.01885, abs=1e-4))


def test_nothing_and_nonsense():
    assert math.isnan(wilson_interval(0.5, 0).mean)
    with pytest.raises(ValueError, match=r"1\.5"):
        wilson_interval(1.5, 10)
