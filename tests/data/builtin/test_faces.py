import cv2
import numpy as np
import pytest

from deocclude.data.builtin.faces import face_traits, landmarks, render_face


@pytest.fixture(scope="module")
def faces():
    return np.stack([render_face(index, 64) for index in range(48)])


@pytest.mark.parametrize("size", [16, 33, 64, 100, 256])
def test_shape_type_and_range(size):
    face = render_face(3, size)
    assert face.shape == (size, size, 3)
    assert face.dtype == np.uint8
    assert face.std() > 15


def test_deterministic_and_apart_from_the_order_of_calls():
    first = render_face(7, 48, seed=2)
    render_face(8, 48, seed=2)
    np.testing.assert_array_equal(first, render_face(7, 48, seed=2))
    assert not np.array_equal(first, render_face(7, 48, seed=3))


def test_faces_differ_pairwise(faces):
    flat = faces.reshape(len(faces), -1).astype(np.float32)
    distance = np.abs(flat[:, None] - flat[None]).mean(-1)
    assert distance[~np.eye(len(faces), dtype=bool)].min() > 6


def test_brightness_and_contrast_are_those_of_photographs(faces):
    assert 70 < faces.mean() < 170
    assert 40 < faces.std() < 85
    assert np.all(faces.std(axis=(1, 2, 3)) > 12)
    clipped = ((faces == 0) | (faces == 255)).mean()
    assert clipped < 0.02


def test_skin_covers_light_and_dark(faces):
    forehead_to_cheek = faces[:, 34:42, 26:38].mean(axis=(1, 2, 3))
    assert forehead_to_cheek.min() < 80
    assert forehead_to_cheek.max() > 170


@pytest.mark.parametrize("index", range(6))
def test_same_face_at_every_size(index):
    small = render_face(index, 64).astype(np.float32)
    for size in (128, 256):
        large = render_face(index, size).astype(np.float32)
        down = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(down - small).mean() < 4
        other = render_face(index + 1, 64).astype(np.float32)
        assert np.abs(down - other).mean() > 10


def test_features_lie_where_aligned_faces_have_them():
    expected = {
        "left_eye": (96, 121),
        "right_eye": (160, 121),
        "nose_tip": (128, 162),
        "left_mouth": (99, 186),
        "right_mouth": (157, 186),
        "chin": (128, 236),
    }
    found = [landmarks(index) for index in range(200)]
    for name, place in expected.items():
        points = np.array([face[name] for face in found])
        assert np.abs(points.mean(0) - place).max() < 4, name
        assert np.all(points.std(0) > 1), name
        assert points.min() > 40, name
        assert points.max() < 256, name


def test_eyes_are_darker_than_the_skin_beside_them():
    darker = 0
    for index in range(40):
        if face_traits(index).glasses == "dark":
            continue
        face = render_face(index, 256).mean(-1)
        x, y = (round(v) for v in landmarks(index)["left_eye"])
        eye = np.percentile(face[y - 6 : y + 7, x - 8 : x + 9], 5)
        skin = np.median(face[y + 18 : y + 30, x - 8 : x + 9])
        darker += eye < 0.7 * skin
    assert darker >= 30


def test_every_style_and_kind_of_glasses_is_drawn():
    traits = [face_traits(index) for index in range(600)]
    assert len({face.style for face in traits}) == 10
    assert len({face.glasses for face in traits}) == 5
    assert 0.1 < np.mean([face.glasses != "none" for face in traits]) < 0.35
    assert 0.1 < np.mean([face.beard > 0 for face in traits]) < 0.5


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match="at least 16 px, found 15"):
        render_face(0, 15)
    with pytest.raises(ValueError, match="0 or more, found -1"):
        render_face(-1, 64)
