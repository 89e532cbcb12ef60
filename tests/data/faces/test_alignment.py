"""Templates and similarity transforms."""

import numpy as np
import pytest

from deocclude.data.faces.alignment import (
    LANDMARKS,
    TEMPLATES,
    guess_template,
    invert,
    similarity,
    template_points,
)


def moved(points: np.ndarray, scale: float, angle: float, shift) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return scale * points @ np.array([[cos, sin], [-sin, cos]]) + shift


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_upright_faces(name):
    points = {k: np.array(p) for k, p in template_points(name, 256).items()}
    assert tuple(points) == LANDMARKS
    assert points["left_eye"][0] < points["nose_tip"][0] < points["right_eye"][0]
    heights = [points[k][1] for k in ("left_eye", "nose_tip", "left_mouth", "chin")]
    assert heights == sorted(heights)
    assert all(0 < v < 256 for p in points.values() for v in p)


def test_a_template_scales_with_the_picture():
    large, small = template_points("celeba", 200), template_points("celeba", 50)
    for name in LANDMARKS:
        np.testing.assert_allclose(large[name], np.array(small[name]) * 4)


def test_an_unknown_template_is_an_error_that_lists_the_names():
    with pytest.raises(ValueError, match=r"'lfw'.*ffhq, celeba"):
        template_points("lfw", 64)


@pytest.mark.parametrize(
    ("size", "name"),
    [((178, 218), "celeba"), ((89, 109), "celeba"), ((256, 256), "ffhq"), ((640, 480), "ffhq")],
)
def test_the_template_is_guessed_from_the_aspect(size, name):
    assert guess_template(*size) == name


@pytest.mark.parametrize("count", [2, 3, 6])
def test_a_similarity_is_recovered(count):
    rng = np.random.default_rng(count)
    source = rng.normal(size=(count, 2)) * 50 + 900
    target = moved(source, 0.37, 2.5, (-20, 7))
    matrix = similarity(source, target)
    np.testing.assert_allclose(source @ matrix[:, :2].T + matrix[:, 2], target, atol=1e-9)


def test_the_similarity_is_the_least_squares_one_and_never_mirrors():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(6, 2))
    target = moved(source, 2, 0.4, (1, 2)) + 0.2 * rng.normal(size=(6, 2))
    matrix = similarity(source, target)
    a, b = matrix[0, :2]
    np.testing.assert_allclose(matrix[1, :2], (-b, a))

    def error(m):
        return np.square(source @ m[:, :2].T + m[:, 2] - target).sum()

    for real, imaginary, x, y in 1e-3 * rng.normal(size=(50, 4)):
        other = matrix + np.array([[real, -imaginary, x], [imaginary, real, y]])
        assert error(other) > error(matrix)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ([[1, 2]], [[3, 4]]),
        ([[5, 5], [5, 5]], [[1, 2], [3, 4]]),
        ([[1, 2], [3, 4]], [[5, 5], [5, 5]]),
        ([[1, 2], [3, 4]], [[1, 2], [np.nan, 4]]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4], [5, 6]]),
        ([[1, 0], [-1, 0], [0, 1], [0, -1]], [[1, 0], [-1, 0], [0, -1], [0, 1]]),
    ],
)
def test_points_without_a_similarity_are_refused(source, target):
    with pytest.raises(ValueError, match="points"):
        similarity(np.array(source), np.array(target))


def test_the_inverse_undoes():
    matrix = np.array([[0.3, -1.2, 40], [1.2, 0.3, -7]])
    back = invert(matrix)
    point = np.array([12.5, 80])
    there = matrix[:, :2] @ point + matrix[:, 2]
    np.testing.assert_allclose(back[:, :2] @ there + back[:, 2], point)
    with pytest.raises(ValueError, match="not invertible"):
        invert(np.array([[1, 2, 3], [2, 4, 5]]))
