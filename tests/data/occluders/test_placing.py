"""Cut-outs on faces: where they land, what the mask says, what stays untouched."""

import cv2
import numpy as np
import pytest

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.occluders.cutout_shape import body_box, guess_category
from deocclude.data.occluders.cutouts import CATEGORIES, Cutout
from deocclude.data.occluders.placing import place_cutout
from deocclude.data.seeding import keyed_rng

SIZE = 128
POINTS = template_points("ffhq", SIZE)


@pytest.fixture(scope="module")
def face():
    return render_face(3, SIZE)


def block(category: str, height: int = 60, width: int = 90, colour=(40, 90, 200)) -> Cutout:
    """An opaque ellipse of one colour."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., :3] = colour
    centre, axes = (width // 2, height // 2), (width // 2 - 1, height // 2 - 1)
    alpha = np.zeros((height, width), np.uint8)
    cv2.ellipse(alpha, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    rgba[..., 3] = alpha
    return Cutout("block.png", category, rgba)


def glasses(lens: int) -> Cutout:
    """A black frame with lenses of this alpha."""
    rgba = np.zeros((40, 120, 4), np.uint8)
    for left in (4, 66):
        cv2.rectangle(rgba, (left, 4), (left + 48, 35), (90, 60, 20, lens), -1)
        cv2.rectangle(rgba, (left, 4), (left + 48, 35), (5, 5, 5, 255), 3)
    cv2.line(rgba, (52, 14), (66, 14), (5, 5, 5, 255), 3)
    return Cutout("glasses.png", "sunglasses" if lens else "eyeglasses", rgba)


def at(mask: np.ndarray, name: str, points=POINTS) -> int:
    x, y = points[name]
    return int(mask[round(y), round(x)])


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_result_is_a_picture_and_a_binary_mask(face, category):
    for index in range(6):
        found = place_cutout(face, block(category), POINTS, keyed_rng(index))
        assert found.image.shape == face.shape
        assert found.image.dtype == found.mask.dtype == np.uint8
        assert set(np.unique(found.mask)) == {0, 1}
        assert found.kind == category
        assert 0.01 < found.mask.mean() < 0.7


@pytest.mark.parametrize("category", CATEGORIES)
def test_equal_generators_give_equal_pictures(face, category):
    one, two = (place_cutout(face, block(category), POINTS, keyed_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.mask, two.mask)
    other = place_cutout(face, block(category), POINTS, keyed_rng(6))
    assert (one.image != other.image).any()


def test_the_face_that_was_handed_in_is_not_changed(face):
    before = face.copy()
    place_cutout(face, block("facemask"), POINTS, keyed_rng(0))
    np.testing.assert_array_equal(face, before)


@pytest.mark.parametrize("index", range(12))
def test_a_face_mask_covers_nose_mouth_and_chin_not_the_eyes(face, index):
    mask = place_cutout(face, block("facemask"), POINTS, keyed_rng(index)).mask
    assert at(mask, "left_mouth")
    assert at(mask, "right_mouth")
    assert not at(mask, "left_eye")
    assert not at(mask, "right_eye")
    x, y = POINTS["nose_tip"]
    assert mask[round(y) + 6, round(x)]
    eyes = POINTS["right_eye"][0] - POINTS["left_eye"][0]
    assert 1.8 * eyes < mask.any(0).sum() < 2.7 * eyes
    assert mask[: round(POINTS["left_eye"][1])].sum() == 0


@pytest.mark.parametrize("index", range(12))
def test_sunglasses_cover_the_eyes_and_nothing_below_the_nose(face, index):
    mask = place_cutout(face, glasses(230), POINTS, keyed_rng(index)).mask
    assert at(mask, "left_eye")
    assert at(mask, "right_eye")
    assert not at(mask, "left_mouth")
    eyes = POINTS["right_eye"][0] - POINTS["left_eye"][0]
    assert 2.0 * eyes < mask.any(0).sum() < 2.6 * eyes


def test_glass_stays_see_through(face):
    frame = place_cutout(face, glasses(0), POINTS, keyed_rng(1))
    assert not at(frame.mask, "left_eye")
    assert 0.005 < frame.mask.mean() < 0.1
    tinted = place_cutout(face, glasses(90), POINTS, keyed_rng(1))
    assert at(tinted.mask, "left_eye")
    lens = cv2.erode(tinted.mask, np.ones((9, 9), np.uint8)) == 1
    under, seen = face[lens].mean(1).astype(float), tinted.image[lens].mean(1).astype(float)
    assert np.corrcoef(under, seen)[0, 1] > 0.8


def test_scarves_are_below_and_hats_above(face):
    for index in range(8):
        scarf = place_cutout(face, block("scarf"), POINTS, keyed_rng(index)).mask
        assert not at(scarf, "left_eye")
        assert scarf[-SIZE // 8 :].any()
        hat = place_cutout(face, block("hat"), POINTS, keyed_rng(index)).mask
        assert hat[: SIZE // 4].any()
        assert not hat[round(POINTS["nose_tip"][1]) :].any()


def test_hands_reach_the_edge_of_the_frame(face):
    arm = block("hand", 120, 60, (200, 150, 120)).rgba
    arm[60:, 15:45, 3] = 255
    for index in range(12):
        mask = place_cutout(face, Cutout("arm", "hand", arm), POINTS, keyed_rng(index)).mask
        assert mask[-3:].any() or mask[:, :3].any() or mask[:, -3:].any()
        assert mask[SIZE // 4 :, SIZE // 5 : -SIZE // 5].any()


def test_placement_follows_the_landmarks():
    """A face turned by a right angle wears its glasses turned, at its own eyes."""
    face = np.full((SIZE, SIZE, 3), 150, np.uint8)
    turned = {name: (SIZE - 1 - y, x) for name, (x, y) in POINTS.items()}
    mask = place_cutout(face, glasses(255), turned, keyed_rng(0)).mask
    assert at(mask, "left_eye", turned)
    assert at(mask, "right_eye", turned)
    assert mask.any(1).sum() > 2 * mask.any(0).sum()


@pytest.mark.parametrize("category", CATEGORIES)
def test_outside_of_mask_and_shadow_the_face_is_untouched(face, category):
    """Outside of the mask the picture may only get darker, and only near the mask."""
    for index in range(8):
        found = place_cutout(face, block(category), POINTS, keyed_rng(index))
        outside = found.mask == 0
        assert (found.image[outside] <= face[outside]).all()
        reach = 2 * (SIZE // 4) + 1
        near = cv2.dilate(found.mask, np.ones((reach, reach), np.uint8)) == 1
        np.testing.assert_array_equal(found.image[~near], face[~near])
        assert (found.image[outside] != face[outside]).any()


def test_no_trace_of_the_occluder_is_left_outside_of_the_mask():
    """A white thing on a black face: what is not marked stays black."""
    face = np.zeros((SIZE, SIZE, 3), np.uint8)
    for category in CATEGORIES:
        for index in range(5):
            white = block(category, colour=(255, 255, 255))
            found = place_cutout(face, white, POINTS, keyed_rng(index))
            assert (found.image[found.mask == 0] == 0).all()


def test_black_stays_black_and_light_is_followed():
    dark, bright = (np.full((SIZE, SIZE, 3), level, np.uint8) for level in (50, 220))
    for index in range(8):
        black = place_cutout(bright, glasses(255), POINTS, keyed_rng(index))
        assert black.image[black.mask == 1].min() < 15
        white = block("cup", colour=(250, 250, 250))
        levels = [
            place_cutout(f, white, POINTS, keyed_rng(index)).image.max() for f in (dark, bright)
        ]
        assert levels[0] < levels[1]


def test_a_hand_takes_on_the_skin():
    face = np.full((SIZE, SIZE, 3), (90, 60, 45), np.uint8)
    found = place_cutout(face, block("hand", colour=(235, 200, 180)), POINTS, keyed_rng(2))
    inside = cv2.erode(found.mask, np.ones((5, 5), np.uint8)) == 1
    assert np.abs(found.image[inside].mean(0) - (90, 60, 45)).max() < 40


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("shape", [(1, 80), (80, 1), (1, 1), (2, 3)])
def test_thin_cutouts_work(face, category, shape):
    rgba = np.full((*shape, 4), 255, np.uint8)
    found = place_cutout(face, Cutout("thin", category, rgba), POINTS, keyed_rng(0))
    assert found.mask.any()


@pytest.mark.parametrize("category", CATEGORIES)
def test_nothing_visible_changes_nothing(face, category):
    empty = Cutout("empty", category, np.zeros((30, 40, 4), np.uint8))
    found = place_cutout(face, empty, POINTS, keyed_rng(0))
    np.testing.assert_array_equal(found.image, face)
    assert not found.mask.any()


@pytest.mark.parametrize("category", CATEGORIES)
def test_landmarks_outside_the_frame_work(face, category):
    far = {name: (x + 40 * SIZE, y) for name, (x, y) in POINTS.items()}
    half = {name: (x + 0.6 * SIZE, y + 0.3 * SIZE) for name, (x, y) in POINTS.items()}
    for index in range(4):
        gone = place_cutout(face, block(category), far, keyed_rng(index))
        np.testing.assert_array_equal(gone.image, face)
        assert not gone.mask.any()
        place_cutout(face, block(category), half, keyed_rng(index))


@pytest.mark.parametrize("category", CATEGORIES)
def test_tiny_faces_and_coinciding_landmarks_work(category):
    small = render_face(1, 32)
    for index in range(5):
        found = place_cutout(small, block(category), template_points("ffhq", 32), keyed_rng(index))
        assert found.mask.any()
    one = dict.fromkeys(POINTS, (16.0, 16.0))
    assert place_cutout(small, block(category), one, keyed_rng(0)).image.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("face", "change", "message"),
    [
        (np.zeros((8, 9, 3), np.uint8), {}, "square"),
        (np.zeros((8, 8), np.uint8), {}, "square"),
        (np.zeros((8, 8, 3), np.float32), {}, "uint8"),
        (np.zeros((8, 8, 3), np.uint8), {"chin": (np.nan, 3)}, "finite"),
        (np.zeros((8, 8, 3), np.uint8), {"chin": None}, "chin missing"),
    ],
)
def test_wrong_input_is_refused(face, change, message):
    points = {k: v for k, v in {**POINTS, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        place_cutout(face, block("hat"), points, keyed_rng(0))


def test_an_object_is_recognised_by_shape_and_colour():
    assert guess_category(block("object", colour=(170, 200, 225)).rgba) == "facemask"
    assert guess_category(block("object", colour=(205, 150, 120)).rgba) == "hand"
    assert guess_category(block("object", colour=(20, 140, 40)).rgba) == "object"
    hat = block("object", colour=(20, 30, 90)).rgba
    hat[30:, 20:70, 3] = 0
    assert guess_category(hat) == "hat"


def test_straps_are_no_part_of_a_face_masks_box():
    rgba = np.zeros((100, 200, 4), np.uint8)
    rgba[20:90, 60:190, 3] = 255
    rgba[30:33, :60, 3] = 255
    left, top, right, bottom = body_box(rgba)
    np.testing.assert_allclose((left, top, right, bottom), (60, 20, 190, 90), atol=5)
