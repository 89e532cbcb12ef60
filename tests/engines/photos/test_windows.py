"""The aligned square of a face: where it lies, what goes into it, and the way back."""

import cv2
import numpy as np
import pytest
from PIL import Image

from deocclude.data.faces.alignment import TEMPLATES, invert, template_points
from deocclude.engines.photos.windows import (
    AlignedWindow,
    alignment_matrix,
    choose_alignment,
    landmarks_under,
)

SIZE = 64


def face_matrix(side, centre, degrees=0.0):
    """From the photo to a square of SIZE whose side there is `side`, turned about its centre."""
    angle, scale = np.deg2rad(degrees), SIZE / side
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, SIZE / 2 - linear @ np.array(centre, float)])


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def ramp(shape):
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float) + 0.5
    ramps = [rows / shape[0], columns / shape[1], (rows + columns) / sum(shape)]
    return np.rint(30 + 190 * np.stack(ramps, -1)).astype(np.uint8)


def points_of(matrix, template="ffhq"):
    back = invert(matrix)
    return {
        name: tuple(back[:, :2] @ point + back[:, 2])
        for name, point in template_points(template, SIZE).items()
    }


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("alignment", ["auto", "eyes", "eyes+mouth", "mostly eyes"])
def test_matrix_takes_landmarks_to_the_template(template, alignment):
    matrix = face_matrix(300, (410, 222), 25)
    points = points_of(matrix, template)
    found = alignment_matrix(points, SIZE, template, alignment)
    np.testing.assert_allclose(found, matrix, atol=1e-9)
    eyes_only = {name: points[name] for name in ("left_eye", "right_eye")}
    np.testing.assert_allclose(alignment_matrix(eyes_only, SIZE, template), matrix, atol=1e-9)


def test_covered_landmarks_choose_the_alignment():
    assert choose_alignment(()) == "mostly eyes"
    assert choose_alignment({"left_mouth", "right_mouth", "chin"}) == "eyes"
    assert choose_alignment({"left_mouth"}) == "mostly eyes"
    assert choose_alignment({"left_eye", "right_eye"}) == "eyes+mouth"
    assert choose_alignment({"left_eye", "left_mouth", "right_mouth"}) == "mostly eyes"
    points = points_of(face_matrix(100, (50, 50)))
    mouth = points | {name: (0.0, 99.0) for name in ("left_mouth", "right_mouth")}
    hidden = {"left_mouth", "right_mouth"}
    exact = alignment_matrix(points, SIZE, "ffhq")
    np.testing.assert_allclose(alignment_matrix(mouth, SIZE, "ffhq", hidden=hidden), exact)
    assert not np.allclose(alignment_matrix(mouth, SIZE, "ffhq"), exact, atol=0.5)


def test_landmarks_under_a_mask():
    mask = np.zeros((10, 10), np.uint8)
    mask[4, 7] = 1
    points = {"chin": (7.9, 4.1), "nose_tip": (8.1, 4.1), "left_eye": (-3, 2), "right_eye": (7, 99)}
    assert landmarks_under(mask, points) == {"chin"}
    moved = {name: (x + 100, y + 50) for name, (x, y) in points.items()}
    assert landmarks_under(mask, moved, (50, 100)) == {"chin"}


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ({"left_eye": (1, 1)}, {}, "left_eye"),
        ({}, {"alignment": "nose"}, "mostly eyes"),
        ({}, {"template": "lfw"}, "celeba"),
    ],
)
def test_bad_alignment_is_refused(points, options, message):
    options = {"template": "ffhq", **options}
    with pytest.raises(ValueError, match=message):
        alignment_matrix(points, SIZE, **options)


def test_an_aligned_picture_is_seen_as_in_training():
    """At its own size bit for bit; at four times, resized as `data.images.load_square` does."""
    same = noise((SIZE, SIZE))
    crop, hole = AlignedWindow(np.eye(2, 3), SIZE, same.shape[:2]).crop(same)
    np.testing.assert_array_equal(crop, same)
    assert not hole.any()
    large = noise((256, 256))
    crop, _ = AlignedWindow(np.eye(2, 3) / 4, SIZE, (256, 256)).crop(large)
    trained = np.asarray(Image.fromarray(large).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(crop, trained)


@pytest.mark.parametrize("side", [30, 64, 100, 150, 700])
@pytest.mark.parametrize("degrees", [0, 17])
def test_a_glance_shows_what_a_crop_shows(side, degrees):
    """At two places: inside the photo, and beyond its border."""
    photo = cv2.GaussianBlur(noise((800, 900)), (0, 0), max(1.5, 1.5 * side / SIZE))
    for place in ((450, 400), (880, 30)):
        window = AlignedWindow(face_matrix(side, place, degrees), SIZE, photo.shape[:2])
        crop, glance = window.crop(photo)[0], window.glance(photo)
        assert glance.shape == crop.shape
        apart = np.abs(glance.astype(int) - crop)
        assert apart.mean() < 1.5
        assert apart.max() < 16


@pytest.mark.parametrize("side", [20, 64, 150, 700])
@pytest.mark.parametrize("degrees", [0, 30, -110])
def test_crop_and_spread_are_aligned(side, degrees):
    """On a ramp a shift is a change of value: half an aligned pixel at 700 px would be 1 level."""
    shape = (1100, 1300)
    photo = ramp(shape)
    window = AlignedWindow(face_matrix(side, (650, 540), degrees), SIZE, shape)
    crop, _ = window.crop(photo)
    places = (np.mgrid[0:SIZE, 0:SIZE][::-1].reshape(2, -1).T + 0.5 - window.matrix[:, 2]) @ (
        np.linalg.inv(window.matrix[:, :2]).T
    )
    expected = 30 + 190 * np.stack(
        [places[:, 1] / shape[0], places[:, 0] / shape[1], places.sum(1) / sum(shape)], -1
    )
    error = crop.reshape(-1, 3) - expected
    assert np.abs(error.mean(0)).max() < 0.4
    assert np.abs(error).max() < 2.5
    top, left, bottom, right = window.box
    back = window.spread(crop.astype(np.float32), window.box)
    error = back - photo[top:bottom, left:right]
    inside = window.depth(window.box) > 2 * max(1, side / SIZE)
    assert inside.any()
    assert np.abs(error[inside].mean(0)).max() < 0.4
    assert np.abs(error[inside]).max() < 3


@pytest.mark.parametrize("side", [700, 4000])
def test_a_large_face_does_not_alias(side):
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[::2] = 255
    crop, _ = AlignedWindow(face_matrix(side, (side / 2, side / 2), 7), SIZE, (side, side)).crop(
        stripes
    )
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 128).max() < 12


@pytest.mark.parametrize("side", [30, 64, 200, 700])
@pytest.mark.parametrize("degrees", [0, 17])
def test_nothing_under_the_hole_goes_into_the_crop(side, degrees):
    shape = (400, 500)
    photo, mask = noise(shape), np.zeros(shape, np.uint8)
    cv2.ellipse(mask, (240, 210), (max(3, side // 4), max(2, side // 7)), 30, 0, 360, 1, -1)
    mask[:, 499] = mask[3] = 1  # at the border, which is mirrored
    other = photo.copy()
    other[mask == 1] = 255 - other[mask == 1]
    window = AlignedWindow(face_matrix(side, (250, 200), degrees), SIZE, shape)
    (one, hole), (two, _) = window.crop(photo, mask), window.crop(other, mask)
    np.testing.assert_array_equal(one[hole == 0], two[hole == 0])
    exact = np.zeros_like(hole)
    for y, x in np.argwhere(mask):
        u, v = np.floor(window.matrix[:, :2] @ (x + 0.5, y + 0.5) + window.matrix[:, 2]).astype(int)
        if 0 <= u < SIZE and 0 <= v < SIZE:
            exact[v, u] = 1
    assert hole[exact == 1].all()
    reach = 2 * int(np.ceil(1 + SIZE / side)) + 1
    near = cv2.dilate(exact, np.ones((reach, reach), np.uint8))
    if side < 200:  # a larger square also holds mirrored holes
        assert not hole[near == 0].any()


def test_flat_known_pixels_stay_flat_beside_the_hole():
    photo, mask = np.full((300, 300, 3), 90, np.uint8), np.zeros((300, 300), np.uint8)
    mask[100:180, 120:200] = 1
    photo[mask == 1] = 255
    for side in (40, 100, 250):
        crop, hole = AlignedWindow(face_matrix(side, (150, 140), 12), SIZE, (300, 300)).crop(
            photo, mask
        )
        assert set(np.unique(crop[hole == 0])) <= {89, 90, 91}


def test_beyond_the_photo_its_border_goes_on_and_is_not_inside():
    photo = ramp((100, 100))
    window = AlignedWindow(face_matrix(100, (50, 10)), SIZE, (100, 100))
    assert window.box == (0, 0, 60, 100)
    crop, _ = window.crop(photo)
    above = round(40 * SIZE / 100)
    assert np.abs(crop[: above - 1].astype(int) - crop[above].astype(int)).max() <= 6
    assert np.abs(crop[above].astype(int) - crop[above + 10].astype(int)).max() > 20
    assert (window.depth(window.box) > 0).all()
    assert (window.depth((60, 0, 100, 100)) < 0).all()
    with pytest.raises(ValueError, match="outside of the photo"):
        AlignedWindow(face_matrix(50, (300, 50)), SIZE, (100, 100))
