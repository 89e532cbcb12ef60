"""Twenty drawn kinds: what they change, what their masks mark, and that they vary."""

import inspect

import cv2
import numpy as np
import pytest

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.occluders.cutouts import CATEGORIES
from deocclude.data.occluders.drawn.kinds import KINDS, draw_shape
from deocclude.data.occluders.drawn.paint import PATTERNS, lay, pattern
from deocclude.data.seeding import keyed_rng

NAMES = {
    "patch", "blur", "pixelation", "triangle", "polygon", "band", "shadow", "ellipse", "stroke",
    "stripes", "grid", "text", "scratches", "hair", "hand_drawn", "facemask_drawn",
    "sunglasses_drawn", "bubbles", "glare", "noise",
}  # fmt: skip
# Light falls around these.
CAST = {"hand_drawn", "facemask_drawn", "sunglasses_drawn", "shadow", "glare"}


def test_no_drawn_kind_has_the_name_of_a_category_of_cut_outs():
    assert not set(KINDS) & set(CATEGORIES)


@pytest.fixture(scope="module")
def faces():
    return {size: render_face(3, size) for size in (64, 192)}


def drawn(faces, kind, size, number):
    points = template_points("ffhq", size)
    return draw_shape(kind, faces[size], points, keyed_rng(7, kind, number))


def test_there_are_twenty_kinds_each_with_a_docstring():
    assert set(KINDS) == NAMES
    assert all(len(inspect.getdoc(draw)) > 30 for draw in KINDS.values())


def test_unknown_kind_lists_the_valid_ones(faces):
    with pytest.raises(ValueError, match=r"'patchh' is not one of patch, blur, .*noise"):
        draw_shape("patchh", faces[64], template_points("ffhq", 64), keyed_rng(0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [64, 192])
def test_form_determinism_and_hole_ratio(faces, kind, size):
    before = faces[size].copy()
    ratios = []
    for number in range(6):
        occluded, mask = drawn(faces, kind, size, number)
        assert occluded.shape == (size, size, 3)
        assert mask.shape == (size, size)
        assert occluded.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        ratios.append(mask.mean())
        assert not np.array_equal(occluded, before)
    again, same_mask = drawn(faces, kind, size, 5)
    np.testing.assert_array_equal(again, occluded)
    np.testing.assert_array_equal(same_mask, mask)
    np.testing.assert_array_equal(faces[size], before)
    assert min(ratios) > 0.003
    assert max(ratios) < 0.7
    assert len(set(ratios)) == 6


@pytest.mark.parametrize("kind", sorted(NAMES - CAST))
@pytest.mark.parametrize("size", [64, 192])
def test_nothing_changes_outside_of_the_mask(faces, kind, size):
    for number in range(8):
        occluded, mask = drawn(faces, kind, size, number)
        np.testing.assert_array_equal(occluded[mask == 0], faces[size][mask == 0])


@pytest.mark.parametrize("kind", sorted(CAST))
def test_only_a_soft_change_of_light_lies_outside_of_the_mask(faces, kind):
    for number in range(8):
        occluded, mask = drawn(faces, kind, 192, number)
        change = cv2.absdiff(occluded, faces[192])[mask == 0].astype(int)
        if kind == "glare":
            assert change.max(initial=0) <= 0.08 * 255 + 1
        elif kind == "shadow":
            assert (change <= 0.12 * faces[192][mask == 0] + 1).all()
        else:
            assert change.max(initial=0) <= 130
            assert change.mean() < 6


@pytest.mark.parametrize("kind", sorted(NAMES - {"blur", "pixelation", "bubbles"}))
def test_the_mask_marks_no_more_than_what_changed(faces, kind):
    near = np.ones((5, 5), np.uint8)
    idle = []
    for number in range(8):
        occluded, mask = drawn(faces, kind, 192, number)
        changed = (cv2.absdiff(occluded, faces[192]).max(axis=2) > 2).astype(np.uint8)
        idle.append(mask[cv2.dilate(changed, near) == 0].sum() / mask.sum())
    assert np.mean(idle) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_small_pictures_get_the_same_thing_smaller(faces, kind):
    ratios = np.array(
        [[drawn(faces, kind, size, number)[1].mean() for number in range(16)] for size in (64, 192)]
    )
    small, large = np.median(ratios, axis=1)
    assert 0.55 < small / large < 1.8


@pytest.mark.parametrize("kind", sorted(NAMES - {"shadow", "glare", "blur", "pixelation"}))
def test_colours_vary(faces, kind):
    colours = []
    for number in range(12):
        occluded, mask = drawn(faces, kind, 64, number)
        colours.append(occluded[mask == 1].mean(axis=0))
    assert np.ptp(np.array(colours), axis=0).max() > 25


def test_a_drawn_mask_covers_nose_and_mouth_and_leaves_the_eyes(faces):
    points = template_points("ffhq", 192)
    seen = {name: 0 for name in points}
    for number in range(40):
        _, mask = drawn(faces, "facemask_drawn", 192, number)
        for name, (x, y) in points.items():
            seen[name] += int(mask[round(y), round(x)])
    assert seen["left_eye"] == seen["right_eye"] == 0
    assert seen["left_mouth"] >= 34
    assert seen["right_mouth"] >= 34
    assert 28 <= seen["nose_tip"] < 40  # some hang below the nose, as people wear them


def test_drawn_sunglasses_cover_both_eyes_and_leave_the_mouth(faces):
    points = template_points("ffhq", 192)
    for number in range(20):
        _, mask = drawn(faces, "sunglasses_drawn", 192, number)
        at = {name: mask[round(y), round(x)] for name, (x, y) in points.items()}
        assert at["left_eye"] == at["right_eye"] == 1
        assert at["left_mouth"] == at["right_mouth"] == at["chin"] == 0


@pytest.mark.parametrize("kind", ["facemask_drawn", "sunglasses_drawn"])
def test_what_is_worn_follows_the_points(faces, kind):
    here = template_points("ffhq", 192)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # a quarter turn about the centre, half as large

    def moved(x, y):
        return tuple((turn @ (np.array([x, y]) - 96) * 0.5 + 96).tolist())

    there = {name: moved(*point) for name, point in here.items()}
    centres, areas = [], []
    for points in (here, there):
        _, mask = draw_shape(kind, faces[192], points, keyed_rng(2))
        rows, columns = np.nonzero(mask)
        centres.append((columns.mean(), rows.mean()))
        areas.append(mask.sum())
    np.testing.assert_allclose(centres[1], moved(*centres[0]), atol=4)
    assert areas[1] / areas[0] == pytest.approx(0.25, abs=0.08)


def test_a_face_partly_out_of_the_picture_is_no_error(faces):
    away = {name: (x + 150, y - 170) for name, (x, y) in template_points("ffhq", 192).items()}
    for kind in ("hand_drawn", "facemask_drawn", "sunglasses_drawn"):
        for number in range(4):
            occluded, mask = draw_shape(kind, faces[192], away, keyed_rng(number))
            assert occluded.shape == (192, 192, 3)
            assert mask.mean() < 0.7


def test_a_layer_is_averaged_down_and_its_faint_edge_is_dropped():
    face = np.full((32, 32, 3), 100, np.uint8)
    cover = np.zeros((64, 64), np.uint8)
    cover[:, :32] = 255
    cover[:, 32:34] = 9
    occluded, mask = lay(face, cover, (200, 0, 50), opacity=0.5)
    assert (occluded[:, :16] == (150, 50, 75)).all()
    assert (occluded[:, 16:] == 100).all()
    assert mask[:, :16].all()
    assert not mask[:, 16:].any()


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_repeat_and_hold_both_colours(name):
    made = pattern(keyed_rng(1, name), 128, name, (250, 10, 10), (10, 10, 250), 32.0, 0.0)
    assert made.shape == (128, 128, 3)
    np.testing.assert_allclose(made[:, :96].astype(int), made[:, 32:], atol=2)
    if name != "plain":
        assert len(np.unique(made.reshape(-1, 3), axis=0)) > 1
