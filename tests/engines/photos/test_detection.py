"""Faces in photos: MediaPipe where it is at hand, Haar, the whole picture; sizes and notices."""

import copy
import os
import subprocess
import sys
import threading
import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deocclude.data.builtin.faces import landmarks, render_face
from deocclude.data.faces.alignment import LANDMARKS, template_points
from deocclude.data.image_files import list_images
from deocclude.data.images import load_image
from deocclude.engines.photos import detection, mediapipe_faces
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.face import Face, FaceChoice
from deocclude.engines.runs import released

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(real_data):
    path = real_data.parent / "models" / "face_landmarker.task"
    if not path.is_file():
        pytest.skip("the landmarker model is not here")
    pytest.importorskip("mediapipe")
    return path


@pytest.fixture(scope="module")
def detector(model):
    with FaceDetector(model) as detector:
        yield detector


@pytest.fixture(scope="module")
def portrait(real_data):
    """An aligned photograph: its landmarks lie near the template's."""
    return load_image(list_images(real_data / "faces256" / "test")[0])


def on_canvas(face, width, height, places):
    """Copies of a face of (left, top, side) on a plain picture."""
    canvas = np.full((height, width, 3), (120, 140, 160), np.uint8)
    for left, top, side in places:
        method = cv2.INTER_AREA if side < face.shape[0] else cv2.INTER_CUBIC
        canvas[top : top + side, left : left + side] = cv2.resize(
            face, (side, side), interpolation=method
        )
    return canvas


def distance(points, expected):
    """Mean distance of the eyes and mouth corners."""
    names = [name for name in LANDMARKS if "eye" in name or "mouth" in name]
    return np.mean([np.hypot(*np.subtract(points[name], expected[name])) for name in names])


def test_mediapipe_landmarks_fit_the_template(detector, portrait):
    faces, notices = detector.detect(portrait)
    (face,) = faces
    assert notices == []
    assert face.source == "mediapipe"
    assert set(face.points) == set(LANDMARKS)
    assert distance(face.points, template_points("ffhq", 256)) < 10
    assert face.points["left_eye"][0] < face.points["right_eye"][0]


@pytest.mark.parametrize("side", [60, 300, 4000])
def test_faces_from_30_to_4000_pixels_are_found(detector, portrait, side):
    """A face is half as high as its aligned square."""
    width, height = (1000, 700) if side < 4000 else (4000, 4000)
    left, top = (500, 300) if side < 4000 else (0, 0)
    faces, _ = detector.detect(on_canvas(portrait, width, height, [(left, top, side)]))
    (face,) = faces
    expected = {name: (x + left, y + top) for name, (x, y) in template_points("ffhq", side).items()}
    assert distance(face.points, expected) < 0.05 * side


def test_several_faces_each_once_the_largest_first(detector, portrait):
    places = [(40, 300, 100), (300, 200, 300), (700, 100, 200)]
    faces, _ = detector.detect(on_canvas(portrait, 1000, 700, places))
    centres = [(face.points["left_eye"][0], face.points["left_eye"][1]) for face in faces]
    assert len(faces) == 3
    for (x, y), (left, top, side) in zip(centres, [places[i] for i in (1, 2, 0)], strict=True):
        assert left < x < left + side
        assert top < y < top + side


@pytest.mark.parametrize("turns", [1, 3])
def test_a_turned_photo_keeps_left_and_right(detector, portrait, turns):
    faces, _ = detector.detect(np.ascontiguousarray(np.rot90(portrait, turns)))
    (face,) = faces
    upright = {
        name: (256 - y, x) if turns == 1 else (y, 256 - x) for name, (x, y) in face.points.items()
    }
    assert distance(upright, template_points("ffhq", 256)) < 10


@pytest.mark.parametrize(("turns", "least"), [(0, 17), (1, 14), (2, 14), (3, 16)])
def test_covered_faces_are_found_the_right_way_round(detector, real_data, turns, least):
    """Of the 90 photographs 76 and more are, none is turned as it is; every fifth is looked at."""
    right = 0
    for path in list_images(real_data / "wild_masked")[::5]:
        faces, notices = detector.detect(np.ascontiguousarray(np.rot90(load_image(path), turns)))
        if not faces:
            continue
        across = np.subtract(faces[0].points["right_eye"], faces[0].points["left_eye"])
        angle = np.rad2deg(np.arctan2(across[1], across[0])) + 90 * turns
        upright = abs((angle + 180) % 360 - 180) < 45
        right += upright
        assert upright or turns
        assert any("upside down" in notice for notice in notices) == (turns > 0) or not upright
    assert right >= least


def test_a_crowd_is_not_turned_for_the_sake_of_one_face(detector, real_data):
    """Shrunk photographs side by side: among covered faces one seems to lie on its side."""
    photos = [load_image(path) for path in list_images(real_data / "wild_masked")[60:90]]
    tiles = [cv2.resize(p[: min(p.shape[:2]), : min(p.shape[:2])], (200, 200)) for p in photos]
    crowd = np.vstack([np.hstack(tiles[row : row + 6]) for row in range(0, 30, 6)])
    faces, notices = detector.detect(crowd)
    assert len(faces) >= 14
    assert not any("upside down" in notice for notice in notices)


def test_a_face_that_fills_the_picture_is_found(detector, portrait):
    tight = np.ascontiguousarray(portrait[70:215, 60:195])
    faces, _ = detector.detect(tight)
    expected = {name: (x - 60, y - 70) for name, (x, y) in template_points("ffhq", 256).items()}
    assert distance(faces[0].points, expected) < 10


def test_masked_people_are_found(detector, real_data):
    """83 of the 90 photographs; every sixth is looked at here."""
    photos = list_images(real_data / "wild_masked")[::6]
    found = [detector.detect(load_image(path))[0] for path in photos]
    assert sum(bool(faces) for faces in found) >= len(found) - 2


def test_the_detector_says_nothing_on_its_own(model):
    """Neither when it starts nor when the interpreter ends with it open."""
    code = (
        "import sys, numpy as np; from deocclude.engines.photos.detection import FaceDetector\n"
        "d = FaceDetector(sys.argv[1]); d.detect(np.zeros((300, 300, 3), np.uint8))\n"
        "from deocclude.data.builtin.faces import render_face\n"
        "assert d.detect(render_face(1, 320))[0]\n"
        "print('done', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ("", "done\n")


def test_closed_and_used_again(model, portrait):
    detector = FaceDetector(model)
    first, _ = detector.detect(portrait)
    detector.close()
    detector.close()
    assert detector.detect(portrait)[0] == first
    detector.close()


def test_importing_does_not_load_mediapipe():
    code = "import sys, engines.photos.deoccluder; print('mediapipe' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_without_mediapipe_haar_goes_on_and_the_package_is_named(monkeypatch, tmp_path):
    file = tmp_path / "model.task"
    file.touch()
    monkeypatch.setattr(detection, "landmarker_file", lambda path: file)
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # importing it raises ImportError
    detector = FaceDetector(file)
    faces, notices = detector.detect(render_face(1, 256))
    assert [face.source for face in faces] == ["haar"]
    assert "pip install mediapipe" in notices[0]
    assert "Haar" in notices[1]
    _, again = detector.detect(render_face(1, 256))
    assert len(again) == 1  # the missing package is said once


def test_without_the_model_haar_goes_on_and_says_why(monkeypatch, tmp_path):
    pytest.importorskip("mediapipe")

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(released, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    faces, notices = FaceDetector().detect(render_face(1, 256))
    assert faces[0].source == "haar"
    assert "no route to host" in notices[0]
    assert "--landmarker" in notices[0]


def test_without_mediapipe_and_with_an_opencv_without_cascades_it_is_said(monkeypatch):
    monkeypatch.setattr(detection, "has_cascades", lambda: False)
    detector = FaceDetector(kinds=("haar",))
    faces, notices = detector.detect(render_face(1, 256))
    assert faces == []
    assert "no Haar cascades: without MediaPipe no face can be found" in notices[0]


def cup(colour, shift=0):
    """A white cup of coffee on its saucer, from above."""
    picture = np.full((480, 600, 3), colour, np.uint8)
    for centre, axes, shade in (
        ((300, 280), (220, 150), (235, 235, 230)),
        ((300, 280), (200, 132), (218, 218, 213)),
        ((300, 240), (125, 100), (250, 250, 246)),
        ((300, 234), (105, 82), (70, 40, 20)),
        ((280 + shift, 224), (45, 30), (150, 100, 60)),
    ):
        cv2.ellipse(picture, centre, axes, 0, 0, 360, shade, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), 1)


def test_a_cup_or_a_plain_texture_is_no_face(detector):
    """MediaPipe alone finds one with low confidence in six of these cups."""
    rng = np.random.default_rng(0)
    cups = [cup(rng.integers(30, 230, 3), shift) for shift in (0, 10, 20) for _ in range(4)]
    ramp = np.broadcast_to(np.linspace(60, 200, 400)[None, :, None], (300, 400, 3)).astype(np.uint8)
    for picture in (*cups, ramp, np.full((300, 400, 3), 128, np.uint8)):
        assert detector.detect(picture) == ([], ["no face found"])


def test_a_drawing_of_a_face_is_taken_for_one_or_for_none_without_an_error(detector):
    picture = np.full((400, 400, 3), 255, np.uint8)
    cv2.circle(picture, (200, 200), 150, (255, 220, 60), -1, cv2.LINE_AA)
    for x in (150, 250):
        cv2.circle(picture, (x, 160), 18, (20, 20, 20), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (200, 210), (80, 70), 0, 20, 160, (20, 20, 20), 8, cv2.LINE_AA)
    for face in detector.detect(picture)[0]:
        assert face.source == "mediapipe"
        assert 50 < face.points["left_eye"][0] < face.points["right_eye"][0] < 350


def test_haar_finds_built_in_faces_where_they_are():
    detector, errors = FaceDetector(kinds=("haar",)), []
    for index in range(12):
        faces, _ = detector.detect(render_face(index, 256))
        if faces:
            truth = landmarks(index)
            errors += [
                np.hypot(*np.subtract(faces[0].points[name], truth[name]))
                for name in ("left_eye", "right_eye")
            ]
    assert len(errors) >= 16
    assert np.median(errors) < 8


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 1)])
def test_a_picture_of_one_row_is_looked_at(shape):
    assert FaceDetector(kinds=("haar",)).detect(np.zeros((*shape, 3), np.uint8))[0] == []


def test_no_face_is_the_whole_picture_and_said():
    grey = np.full((200, 300, 3), 128, np.uint8)
    faces, notices = FaceDetector(kinds=("haar", "whole"), template="celeba").detect(grey)
    (face,) = faces
    assert (face.source, face.box) == ("whole", (50, 0, 200, 200))
    assert face.points["left_eye"] == pytest.approx((50 + 0.39 * 200, 0.512 * 200), abs=3)
    assert "no face found" in notices[0]
    assert FaceDetector(kinds=("haar",)).detect(grey) == ([], ["no face found"])


class Blind:
    """A MediaPipe that finds no face."""

    def __init__(self, *args):
        pass

    def detect(self, image, least=0):
        return []


def test_where_mediapipe_finds_none_the_cascade_is_not_asked(monkeypatch):
    """It takes coins, stains and the moon for faces."""

    monkeypatch.setattr(detection, "MediaPipeFaces", Blind)
    assert FaceDetector(kinds=("haar",)).detect(render_face(1, 256))[0]
    assert FaceDetector().detect(render_face(1, 256)) == ([], ["no face found"])


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"yolo.*mediapipe, haar, whole"):
        FaceDetector(kinds=("yolo",))
    with pytest.raises(ValueError, match="faces: must be largest or a number"):
        FaceDetector(choice=FaceChoice(most=0))
    with pytest.raises(ValueError, match="min_face"):
        FaceDetector(choice=FaceChoice(least=-1))
    with pytest.raises(ValueError, match="found 1,2,0,4"):
        FaceDetector(choice=FaceChoice(boxes=((1, 2, 0, 4),)))
    with pytest.raises(ValueError, match="leave out faces and min_face"):
        FaceDetector(choice=FaceChoice(most=1, boxes=((1, 2, 30, 40),)))
    with pytest.raises(FileNotFoundError, match=r"none\.task"):
        FaceDetector(tmp_path / "none.task")
    assert Face._fields == ("box", "points", "source", "score")


def test_what_is_seen_in_a_mirror_keeps_its_sides():
    """A mirrored view gives the points of the photo itself: left is the picture's left."""
    pytest.importorskip("mediapipe")
    finder = mediapipe_faces.MediaPipeFaces(None)
    photo = render_face(1, 256)
    (plain,) = finder._ask((photo, np.eye(2, 3)), 0.5)
    mirror = np.array([[-1.0, 0, 256], [0, 1, 0]])
    (mirrored,) = finder._ask((photo[:, ::-1], mirror), 0.5)
    for name, place in plain.points.items():
        assert np.hypot(*np.subtract(place, mirrored.points[name])) < 12


def test_that_smaller_faces_are_not_looked_for_is_said_of_a_huge_picture(monkeypatch):
    monkeypatch.setattr(detection, "MediaPipeFaces", Blind)
    huge = np.broadcast_to(np.uint8(90), (9000, 12000, 3))
    assert "faces below 112 pixels are not looked for" in FaceDetector().detect(huge)[1][0]
    choice = FaceChoice(least=200)
    assert FaceDetector(choice=choice).detect(huge)[1] == ["no face found"]


def test_copies_open_the_libraries_once_and_another_thread_has_its_own(monkeypatch):
    opened = []
    monkeypatch.setattr(
        detection, "MediaPipeFaces", lambda *given: opened.append(given) or Blind(*given)
    )
    detector, grey = FaceDetector(), np.full((40, 40, 3), 90, np.uint8)
    for least in (0, 20, 30):
        other = copy.copy(detector)
        other.choice = FaceChoice(least=least)
        other.detect(grey)
    detector.detect(grey)
    assert len(opened) == 1
    apart = other.anew()
    assert (apart.choice, apart.kinds, apart.template) == (other.choice, other.kinds, "ffhq")
    apart.detect(grey)
    detector.detect(grey)
    assert len(opened) == 2


def test_the_error_stream_is_back_when_the_last_thread_has_left():
    """The second thread comes while the first is inside, and leaves after it, or before."""
    for first_leaves in (True, False):
        before = os.fstat(2)
        first, second = mediapipe_faces.quiet_stderr(), mediapipe_faces.quiet_stderr()
        first.__enter__()
        thread = threading.Thread(target=second.__enter__)
        thread.start()
        thread.join()
        off = os.fstat(2)
        order = (first, second) if first_leaves else (second, first)
        order[0].__exit__(None, None, None)
        assert os.path.samestat(os.fstat(2), off)
        order[1].__exit__(None, None, None)
        assert not os.path.samestat(off, before)
        assert os.path.samestat(os.fstat(2), before)


def test_the_cascade_sees_faces_of_a_strip():
    strip = np.tile(render_face(1, 128), (1, 40, 1))
    faces, notices = FaceDetector(kinds=("haar",)).detect(strip)
    assert len(faces) > 30
    assert not any("not looked for" in notice for notice in notices)
