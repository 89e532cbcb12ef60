"""Holes as a segmenter gives them."""

import numpy as np
import pytest

from deocclude.data.masks.found import GROWN, found_hole
from deocclude.data.seeding import keyed_rng

SIDE = 100


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:80, 30:70] = 1
    return mask


def test_most_cover_the_occluder_and_a_few_leave_a_rim(mask):
    holes = [found_hole(mask, keyed_rng(index)) for index in range(200)]
    covered = [bool((hole >= mask).all()) for hole in holes]
    assert 0.75 < np.mean(covered) < 0.97
    for hole, whole in zip(holes, covered, strict=True):
        assert set(np.unique(hole)) <= {0, 1}
        reach = np.flatnonzero(hole.any(axis=0))
        assert reach[0] >= 30 - GROWN * SIDE - 1 if whole else reach[0] <= 33
    assert len({hole.sum() for hole in holes}) > 10


def test_an_empty_mask_stays_empty_and_the_same_key_gives_the_same_hole(mask):
    assert not found_hole(np.zeros((SIDE, SIDE), np.uint8), keyed_rng(1)).any()
    assert np.array_equal(found_hole(mask, keyed_rng(5)), found_hole(mask, keyed_rng(5)))
