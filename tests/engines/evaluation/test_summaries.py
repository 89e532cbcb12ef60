"""Two bootstraps: all strata together, or a group of pairs by itself."""

import numpy as np
import pytest

from deocclude.engines.evaluation.summaries import intervals
from deocclude.metrics.statistics import bootstrap_interval, bootstrap_strata

IMAGES = np.array([f"{i % 5}" for i in range(20)])
STRATA = np.array(["a"] * 12 + ["b"] * 8)
VALUES = np.random.default_rng(0).random((2, 20, 1))


def line(table, row, stratum):
    (found,) = table[table["row"].eq(row) & table["stratum"].eq(stratum)].to_dict("records")
    return found


def test_strata_are_resampled_together_and_their_mean_has_an_interval():
    table = intervals(["x", "y"], ["m"], VALUES, VALUES[0], IMAGES, strata=STRATA)
    assert list(dict.fromkeys(table["stratum"])) == ["a", "b", "mean"]
    expected = bootstrap_strata(VALUES[1, :, 0], STRATA, IMAGES)
    for stratum, interval in (("a", expected["a"]), ("b", expected["b"]), ("mean", expected[None])):
        found = line(table, "y", stratum)
        assert (found["low"], found["high"]) == pytest.approx((interval.low[0], interval.high[0]))
    assert line(table, "x", "mean")["difference"] == 0


def test_a_group_is_resampled_by_itself():
    within = STRATA == "a"
    table = intervals(["x", "y"], ["m"], VALUES, VALUES[0], IMAGES, within=within)
    assert list(table["stratum"]) == ["all", "all"]
    alone = bootstrap_interval(VALUES[1, within], images=IMAGES[within])
    found = line(table, "y", "all")
    assert (found["low"], found["high"]) == pytest.approx((alone.low[0], alone.high[0]))
    images = np.array([f"{i}" for i in range(20)])  # others are drawn where there are more
    apart = intervals(["x"], ["m"], VALUES[:1], VALUES[0], images, strata=STRATA)
    own = intervals(["x"], ["m"], VALUES[:1], VALUES[0], images, strata=STRATA, within=within)
    assert line(apart, "x", "a")["mean"] == pytest.approx(line(own, "x", "a")["mean"])
    assert line(apart, "x", "a")["low"] != line(own, "x", "a")["low"]


def test_what_is_infinite_or_missing_is_left_out_and_counted():
    values = np.array([[[1.0], [np.inf], [np.nan], [3.0]]])
    table = intervals(["x"], ["m"], values, values[0], np.arange(4), strata=np.zeros(4).astype(str))
    found = line(table, "x", "mean")
    assert (found["mean"], found["count"]) == (2, 2)
    assert (found["infinite"], found["missing"]) == (1, 1)


def test_signs_turn_differences():
    table = intervals(
        ["x"], ["m"], VALUES[:1], VALUES[1], IMAGES, within=STRATA == "a", signs=np.array([-1])
    )
    plain = intervals(["x"], ["m"], VALUES[:1], VALUES[1], IMAGES, within=STRATA == "a")
    assert table["difference"].tolist() == [-each for each in plain["difference"]]
