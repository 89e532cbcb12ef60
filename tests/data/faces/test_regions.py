"""Regions of the aligned face: where the template's points and built-in faces' features lie."""

import numpy as np
import pytest

from deocclude.data.builtin.faces import landmarks
from deocclude.data.faces.alignment import TEMPLATES, template_points
from deocclude.data.faces.regions import REGIONS, region_labels, region_shares

POINTS = {
    "left_eye": "eyes", "right_eye": "eyes", "nose_tip": "nose",
    "left_mouth": "mouth", "right_mouth": "mouth",
}  # fmt: skip
SIZES = (32, 64, 256)


def name_at(labels: np.ndarray, point: tuple[float, float]) -> str:
    column, row = (int(value) for value in point)
    return REGIONS[labels[row, column]]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("size", SIZES)
def test_every_pixel_is_shared_out_once(template, size):
    shares = region_shares(template, size)
    assert shares.shape == (len(REGIONS), size, size)
    assert shares.min() >= 0
    assert shares.sum(0) == pytest.approx(np.ones((size, size)), abs=1e-5)
    assert set(np.unique(region_labels(template, size))) == set(range(len(REGIONS)))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("size", SIZES)
def test_the_templates_points_lie_in_their_regions(template, size):
    labels = region_labels(template, size)
    points = template_points(template, size)
    middle = np.mean([points["left_mouth"], points["right_mouth"]], axis=0)
    for key in ("left_mouth", "right_mouth"):  # corners are the mouth's border
        points[key] = tuple(0.85 * np.array(points[key]) + 0.15 * middle)
    assert {key: name_at(labels, points[key]) for key in POINTS} == POINTS
    x, y = points["chin"]
    assert name_at(labels, (x, y - 0.05 * size)) == "skin"
    if y + 0.05 * size < size:  # the face of utkface ends with the picture
        assert name_at(labels, (x, y + 0.05 * size)) == "background"


@pytest.mark.parametrize("template", TEMPLATES)
def test_sizes_show_the_same_regions(template):
    large = region_shares(template, 256).reshape(len(REGIONS), 64, 4, 64, 4).mean((2, 4))
    assert np.abs(large - region_shares(template, 64)).max() < 1e-5


def test_regions_are_symmetric_about_the_middle_of_the_eyes():
    shares = region_shares("ffhq", 256)
    assert np.abs(shares[:, :, :255] - shares[:, :, 255:0:-1]).max() < 0.25
    assert np.abs(shares - shares[:, :, ::-1]).mean() < 0.01


def test_features_of_built_in_faces_lie_where_the_map_says():
    labels = region_labels("ffhq", 256)
    found = [
        name_at(labels, point) == POINTS[key]
        for index in range(60)
        for key, point in landmarks(index).items()
        if key in POINTS
    ]
    assert np.mean(found) > 0.9


def test_an_unknown_template_is_named_with_the_valid_ones():
    with pytest.raises(ValueError, match=r"'lfw'.*ffhq, celeba"):
        region_shares("lfw", 64)


def test_shares_cannot_be_changed_by_who_asks():
    with pytest.raises(ValueError, match="read-only"):
        region_shares("ffhq", 64)[0, 0, 0] = 2
