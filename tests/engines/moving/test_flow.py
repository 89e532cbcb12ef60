"""How a face moves between two frames: found where it can be told, and not guessed elsewhere."""

import cv2
import numpy as np
import pytest
from photo_stubs import draw_photo, face_at

from deocclude.engines.moving.flow import Flow, moved

SHAPE = (240, 320)
FACE = face_at(90, 40, 150)


def frames(degrees=0.0, scale=1.0, shift=(0.0, 0.0), size=SHAPE, noise=0.0):
    """A frame, the next one, and the (2, 3) map between their pixels, edge to edge."""
    photo = cv2.resize(draw_photo(SHAPE, FACE), size[::-1], interpolation=cv2.INTER_CUBIC)
    centre = (size[1] / 2, size[0] / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, scale)
    matrix[:, 2] += shift
    centres = matrix.copy()
    centres[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    after = cv2.warpAffine(photo, centres, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    rng = np.random.default_rng(0)
    noisy = [
        (each + rng.normal(0, noise, each.shape)).clip(0, 255).astype(np.uint8)
        for each in (photo, after)
    ]
    return *noisy, matrix


@pytest.mark.parametrize(
    ("change", "most"),
    [
        ({}, 0.02),
        ({"noise": 3}, 0.15),
        ({"shift": (4.0, -2.5)}, 0.15),
        ({"degrees": 3, "scale": 1.03, "shift": (-2, 3)}, 0.3),
        ({"shift": (12, 6), "size": (960, 1280)}, 0.6),
    ],
)
def test_a_face_is_followed(change, most):
    before, after, matrix = frames(**change)
    times = before.shape[0] / SHAPE[0]
    face = FACE._replace(
        box=tuple(times * v for v in FACE.box),
        points={k: (times * x, times * y) for k, (x, y) in FACE.points.items()},
    )
    flow = Flow()
    assert flow.follow(before, [face.box]) == [None]  # there is no frame before it
    (move,) = flow.follow(after, [face.box])
    for name, point in moved(face, move).points.items():
        expected = matrix[:, :2] @ face.points[name] + matrix[:, 2]
        assert np.abs(np.subtract(point, expected)).max() < most, name


def test_what_covers_a_face_does_not_drag_it_along():
    """A textured thing moves over a face at rest."""
    photo = draw_photo(SHAPE, FACE)
    patch = np.random.default_rng(3).integers(0, 255, (50, 90, 3), np.uint8)
    flows = {"told": Flow(), "untold": Flow()}
    covered = None
    for step in range(8):
        frame, hidden = photo.copy(), np.zeros(SHAPE, np.uint8)
        place = np.s_[120:170, 110 + 4 * step : 200 + 4 * step]
        frame[place], hidden[place] = patch, 1
        told = flows["told"].follow(frame, [FACE.box], covered)[0]
        untold = flows["untold"].follow(frame, [FACE.box])[0]
        covered = hidden
        if step:
            still = moved(FACE, told).points["nose_tip"]
            assert np.abs(np.subtract(still, FACE.points["nose_tip"])).max() < 0.3
            assert untold is None or abs(untold[0, 2]) > 2  # it would have followed the thing


@pytest.mark.parametrize("shape", [(1, 1000), (2, 2000), (16, 16), (1, 1)])
def test_odd_frames_are_no_error(shape):
    flow, frame = Flow(), np.zeros((*shape, 3), np.uint8)
    for _ in range(2):
        assert flow.follow(frame, [(0, 0, *shape[::-1])]) == [None]


def test_a_box_moves_and_grows_with_its_face():
    move = np.array([[0, -2.0, 100], [2.0, 0, 10]])  # a quarter turn, twice as large
    box = moved(FACE, move).box
    left, top, width, height = FACE.box
    assert box[2:] == pytest.approx((2 * width, 2 * height))
    centre = np.add(box[:2], np.divide(box[2:], 2))
    assert centre == pytest.approx([100 - 2 * (top + height / 2), 10 + 2 * (left + width / 2)])


def test_what_cannot_be_told_is_not_guessed():
    before, _, _ = frames()
    other = np.random.default_rng(1).integers(0, 255, before.shape, np.uint8)
    plain = np.full_like(before, 128)
    for first, second, box in (
        (before, other, FACE.box),  # another picture
        (plain, plain, FACE.box),  # nothing to hold on to
        (before, before, (400, 300, 50, 50)),  # outside of the frame
        (before, before[:100], FACE.box),  # another size
    ):
        flow = Flow()
        flow.follow(first, [])
        assert flow.follow(second, [box]) == [None]
    flow = Flow()
    flow.follow(before, [])
    flow.reset()
    assert flow.follow(before, [FACE.box]) == [None]
