"""From probability to mask: place, smoothness, specks, gaps, dilation."""

import numpy as np
import pytest

from deocclude.engines.inference.hole_mask import (
    GAP,
    SPECK,
    Dilation,
    dilate,
    distance_to,
    drop_small,
    hole_mask,
)
from deocclude.engines.photos.windows import AlignedWindow

SIZE = 64


def window(side, shape=(1000, 1000), corner=(0, 0)):
    scale = SIZE / side
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    return AlignedWindow(matrix, SIZE, shape)


def probability(*boxes):
    values = np.zeros((SIZE, SIZE), np.float32)
    for top, left, bottom, right in boxes:
        values[top:bottom, left:right] = 1
    return values


@pytest.mark.parametrize("side", [32, 64, 128, 1000])
def test_the_mask_lies_where_the_probability_does(side):
    mask = hole_mask(probability((16, 8, 40, 56)), window(side))
    assert mask.dtype == np.uint8
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    scale, slack = side / SIZE, max(1, 0.3 * side / SIZE)
    assert rows[0] == pytest.approx(16 * scale, abs=slack)
    assert rows[-1] + 1 == pytest.approx(40 * scale, abs=slack)
    assert columns[0] == pytest.approx(8 * scale, abs=slack)
    assert columns[-1] + 1 == pytest.approx(56 * scale, abs=slack)


def test_the_edge_is_smooth_at_full_resolution():
    """A disc of hard aligned pixels, 16 times enlarged: no staircase of their size."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    disc = (np.hypot(rows - 32, columns - 32) < 20).astype(np.float32)
    mask = hole_mask(disc, window(1024, (1024, 1024)))
    rows, columns = np.nonzero(mask != np.roll(mask, 1, 0))
    radius = np.hypot(rows - 512, columns + 0.5 - 512) / 16
    assert radius.mean() == pytest.approx(20, abs=0.3)
    assert radius.std() < 0.21  # by nearest neighbour 0.28


def test_specks_go_and_gaps_close():
    speck, gap = int((SPECK * SIZE**2) ** 0.5), int((GAP * SIZE**2) ** 0.5)
    values = probability((10, 10, 50, 50), (58, 58, 58 + speck, 58 + speck))
    values[20 : 20 + gap, 20 : 20 + gap] = 0
    values[30:42, 30:42] = 0  # a real opening
    mask = hole_mask(values, window(SIZE, (SIZE, SIZE)))
    assert mask[10:50, 10:29].all()
    assert not mask[31:41, 31:41].any()
    assert not mask[55:].any()
    assert hole_mask(values * 0.4, window(SIZE)).sum() == 0


def test_nothing_is_marked_outside_the_photo_or_the_square():
    wide = window(200, (150, 150), corner=(-30, 20))
    mask = hole_mask(np.ones((SIZE, SIZE), np.float32), wide)
    assert mask.shape == (wide.box[2] - wide.box[0], wide.box[3] - wide.box[1]) == (130, 150)
    assert mask.all()


def test_dilation_is_a_disc_of_the_given_radius():
    mask = np.zeros((31, 31), np.uint8)
    mask[15, 15] = 1
    rows, columns = np.mgrid[0:31, 0:31] - 15
    for radius in (0, 1, 1.5, 6):
        expected = np.hypot(rows, columns) <= radius
        np.testing.assert_array_equal(dilate(mask, radius), expected)
    assert np.isinf(distance_to(np.zeros((4, 4), np.uint8))).all()
    assert not dilate(np.zeros((4, 4), np.uint8), 9).any()


def test_a_dilation_is_pixels_of_the_photo_or_a_share_of_the_square():
    for given, radius in ((None, 6), ("3%", 6), ("2.5 %", 5), ("0%", 0), ("100%", 200), (7, 7)):
        assert Dilation.of(given).radius(200) == pytest.approx(radius)
        of_a_copy = Dilation.of(given).radius(50, scale=0.25)  # of the same square, reduced
        assert of_a_copy == pytest.approx(radius / 4)
    assert Dilation.of("3%") == Dilation.of(None)  # bit for bit
    assert Dilation.of_given(None) == Dilation.of_given(0) == (0, 0.03)


@pytest.mark.parametrize(
    "given", [-1, float("nan"), float("inf"), "5", "-1%", "100.1%", "nan%", "1e1%", "%", "", [3]]
)
def test_a_dilation_without_a_meaning_is_named(given):
    with pytest.raises(
        ValueError, match=r"^dilate: must be 0 or more pixels, or '0%' to "
    ) as error:
        Dilation.of(given)
    assert repr(given) in str(error.value)


def test_a_mask_of_the_users_is_grown_by_pixels_alone():
    with pytest.raises(ValueError, match="dilate '5%': a percentage is one of each face's square"):
        Dilation.of_given("5%")


def test_small_pieces_are_dropped_by_area():
    mask = np.zeros((20, 20), np.uint8)
    mask[0:2, 0:2], mask[5:9, 5:9] = 1, 1
    assert drop_small(mask, 5).sum() == 16
    assert drop_small(mask, 4).sum() == 20
    assert drop_small(np.ones((5, 5), np.uint8), 5).all()
    assert not drop_small(np.zeros((5, 5), np.uint8), 5).any()
