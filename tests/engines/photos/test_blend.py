"""Blending: what changes, what does not, and whether a seam shows."""

import cv2
import numpy as np
import pytest

from deocclude.engines.photos.blend import check_blend, feather_weight, match_surroundings, paste


def ellipse(shape=(120, 160), centre=(80, 60), axes=(45, 30)):
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, centre, axes, 20, 0, 360, 1, -1)
    return mask


def picture(shape=(120, 160)):
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    levels = 110 + 40 * np.sin(rows / 17) + 0.3 * columns
    return np.stack([levels, levels * 0.8, 200 - levels], -1).astype(np.uint8)


def test_paste_changes_nothing_outside_the_mask():
    photo, mask = picture(), ellipse()
    before = photo.copy()
    weight = np.where(np.arange(160) < 80, 1, 0.5).astype(np.float32) * np.ones((120, 1))
    paste(photo, np.ones((120, 160, 3), np.float32), mask, weight)
    np.testing.assert_array_equal(photo[mask == 0], before[mask == 0])
    left, right = (mask == 1) & (weight == 1), (mask == 1) & (weight == 0.5)
    assert (photo[left] == 255).all()
    np.testing.assert_allclose(photo[right], (before[right] + 255.0) / 2, atol=0.51)


def test_feather_is_whole_on_the_mask_and_fades_in_the_dilation():
    distance = np.arange(0, 12, dtype=np.float32)[None]
    weight = feather_weight(distance, np.full_like(distance, np.inf), 8)[0]
    assert (weight[:5] == 1).all()
    assert (np.diff(weight[4:9]) < 0).all()
    assert 0 < weight[8] < 0.2
    assert (weight[9:] == 0).all()
    sharp = feather_weight(distance, np.full_like(distance, np.inf), 0)[0]
    assert sharp.tolist() == [1] + [0] * 11
    edge = feather_weight(np.zeros((1, 12), np.float32), np.arange(12, dtype=np.float32)[None], 8)
    assert edge[0, 0] < 0.1
    assert (np.diff(edge[0]) >= 0).all()
    assert edge[0, -1] == 1


@pytest.mark.parametrize("scale", [1, 4])
def test_poisson_takes_a_colour_cast_away(scale):
    """The truth plus a cast that is harmonic, constant and sloped, must come back."""
    shape = (120 * scale, 160 * scale)
    photo = picture(shape)
    mask = cv2.resize(ellipse(), shape[::-1], interpolation=cv2.INTER_NEAREST)
    slope = np.linspace(-0.1, 0.1, shape[1], dtype=np.float32)[None, :, None]
    cast = slope + np.array([0.1, -0.15, 0.05], np.float32)
    matched = match_surroundings(photo, photo / np.float32(255) + cast, mask, 1 - mask)
    error = np.abs(matched * 255 - photo)[mask == 1]
    assert error.mean() < 0.5
    assert error.max() < 3


def test_poisson_keeps_the_redrawn_detail():
    photo, mask = np.full((120, 160, 3), 100, np.uint8), ellipse()
    detail = np.zeros((120, 160, 3), np.float32)
    detail[55:65, 75:85] = 0.2
    matched = match_surroundings(photo, 0.6 + detail, mask, 1 - mask)
    np.testing.assert_allclose(matched[mask == 1], (100 / 255 + detail)[mask == 1], atol=2e-3)


@pytest.mark.parametrize("side", ["top", "left", "corner"])
def test_poisson_at_the_border_of_the_photo(side):
    mask = np.zeros((80, 100), np.uint8)
    mask[slice(0, 40) if side != "left" else slice(20, 60), : 50 if side != "top" else 100] = 1
    photo = np.full((80, 100, 3), 140, np.uint8)
    matched = match_surroundings(photo, np.full((80, 100, 3), 0.2, np.float32), mask, 1 - mask)
    np.testing.assert_allclose(matched[mask == 1], 140 / 255, atol=2e-3)


def test_poisson_listens_to_known_pixels_only():
    """A scarf that runs out of the face's square must not colour the skin above it."""
    photo = np.full((60, 60, 3), 120, np.uint8)
    photo[50:] = (0, 255, 0)
    mask = np.zeros((60, 60), np.uint8)
    mask[20:50] = 1
    known = np.ones_like(mask)
    known[50:] = 0
    matched = match_surroundings(photo, np.full((60, 60, 3), 0.3, np.float32), mask, known)
    np.testing.assert_allclose(matched[mask == 1], 120 / 255, atol=2e-3)
    assert match_surroundings(photo, matched, mask, mask) is None


def test_unknown_blend_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'alpha'.*feather, poisson, none"):
        check_blend("alpha")
