"""Which faces of a photo are found and taken: small beside large, crowds, strips, boxes by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deocclude.data.image_files import list_images
from deocclude.data.images import load_image
from deocclude.engines.photos import mediapipe_faces
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.face import Face, FaceChoice, place_in
from deocclude.engines.photos.mediapipe_faces import smallest_seen, tile_sides

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def own():
    """MediaPipe with the model that ships, and the examples' faces, of people who do not exist."""
    pytest.importorskip("mediapipe")
    with FaceDetector() as detector:
        yield detector


@pytest.fixture(scope="module")
def people():
    return [load_image(path) for path in list_images(ROOT / "examples" / "originals")]


def lie_there(faces, places):
    """How many of the squares (left, top, side) hold a face of their own, of the right size."""
    return sum(
        any(
            np.hypot(*np.subtract(face.points["nose_tip"], (left + side / 2, top + 0.63 * side)))
            < 0.12 * side
            and 0.35 < face.box[3] / side < 0.8
            for face in faces
        )
        for left, top, side in places
    )


def picture_of(people, width, height, places):
    canvas = np.full((height, width, 3), (120, 140, 160), np.uint8)
    for number, (left, top, side) in enumerate(places):
        face = cv2.resize(people[number % len(people)], (side,) * 2, interpolation=cv2.INTER_AREA)
        canvas[top : top + side, left : left + side] = face
    return canvas


def test_no_view_cuts_its_answer_at_sixty_four():
    """The landmarker is asked for more faces than its detector can answer: it has 896 anchors."""
    assert mediapipe_faces.MOST_ANSWERS > 896


def test_a_crowd_has_no_seventeenth_face_too_many(own, people):
    places = [(80 * column, 80 * row, 80) for row in range(4) for column in range(5)]
    faces, notices = own.detect(picture_of(people, 400, 320, places))
    assert lie_there(faces, places) == len(places) == 20
    assert notices == []


@pytest.mark.parametrize("tall", [False, True])
def test_small_faces_of_a_strip_are_found_beside_a_large_one(own, people, tall):
    small = [(1200 + 1100 * number, 120, 150) for number in range(4)]
    places = [(100, 0, 480), *small]
    if tall:
        places = [(top, left, side) for left, top, side in places]
    width, height = (500, 5000) if tall else (5000, 500)
    faces, _ = own.detect(picture_of(people, width, height, places))
    assert lie_there(faces, places) == 5


def test_small_faces_of_a_large_photo_are_found_beside_a_large_one(own, people):
    places = [(100, 200, 1200), (2000, 300, 100), (2400, 1500, 100), (2700, 900, 90)]
    faces, notices = own.detect(picture_of(people, 3000, 2000, places))
    assert lie_there(faces, places) == 4
    assert notices == []


@pytest.mark.parametrize(
    ("shape", "smallest"),
    [((480, 640), 12), ((1200, 1600), 30), ((3000, 4000), 37.5), ((4000, 6000), 56.2),
     ((500, 6000), 30), ((6000, 500), 30), ((9000, 12000), 112.5)],
)  # fmt: skip
def test_how_small_a_face_may_be(shape, smallest):
    assert smallest_seen(shape) == pytest.approx(smallest, abs=0.1)
    assert tile_sides(shape, least=5000) == ([], [], [])


def test_a_box_by_hand_is_the_only_place_looked_at(own, people):
    places = [(0, 0, 400), (500, 100, 200)]
    picture = picture_of(people, 800, 400, places)
    with FaceDetector(choice=FaceChoice(boxes=((545, 140, 110, 145),))) as detector:
        faces, notices = detector.detect(picture)
    assert (len(faces), lie_there(faces, places[1:]), notices) == (1, 1, [])


def test_where_a_box_shows_no_face_one_is_placed_and_said(own):
    grey = np.full((300, 400, 3), 128, np.uint8)
    box = (100.0, 50.0, 120.0, 160.0)
    with FaceDetector(choice=FaceChoice(boxes=(box,))) as detector:
        faces, notices = detector.detect(grey)
        assert faces == [place_in(box)]
        assert faces[0].points["chin"][1] == 210
        assert "no face is seen in the box 100,50,120,160" in notices[0]
        detector.choice = FaceChoice(boxes=((900, 1, 20, 20),))
        with pytest.raises(ValueError, match="outside of the 400 x 300"):
            detector.detect(grey)


def test_the_largest_faces_are_picked_and_the_rest_is_counted():
    faces = [Face((0, 0, side, side), {}, "mediapipe") for side in (90, 60, 30, 20)]
    assert FaceChoice().pick(faces) == (faces, [])
    assert FaceChoice(most=9, least=5).pick(faces) == (faces, [])
    kept, notices = FaceChoice(most=1, least=25).pick(faces)
    assert kept == faces[:1]
    assert notices == ["3 of 4 faces left out: 1 smaller than 25 pixels, 2 beyond the largest"]


@pytest.mark.parametrize("left", [-30, 100, 32_950])
def test_a_view_of_a_very_wide_photo_is_what_a_part_of_it_shows(left):
    """OpenCV warps no picture of 32 768 pixels or more."""
    photo = np.random.default_rng(0).integers(0, 256, (50, 33_000, 3), np.uint8)
    turn = np.array([[0.8, -0.6, 20.0], [0.6, 0.8, 5.0]])
    matrix = turn.copy()
    matrix[:, 2] -= turn[:, :2] @ (left, 0)
    seen = mediapipe_faces._warped(photo, matrix, 64)
    padded = np.zeros((50, 300, 3), np.uint8)  # 100 pixels more on each side
    start, end = max(0, left - 100), min(33_000, left + 200)
    padded[:, start - left + 100 : end - left + 100] = photo[:, start:end]
    expected = matrix.copy()
    expected[:, 2] += matrix[:, :2] @ (left - 100, 0)
    np.testing.assert_array_equal(
        seen, cv2.warpAffine(padded, expected, (64, 64), flags=cv2.INTER_LINEAR)
    )
