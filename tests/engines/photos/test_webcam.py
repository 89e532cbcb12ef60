"""The live picture, with a camera and a window that are not there."""

import cv2
import numpy as np
import pytest
from photo_stubs import Detector, draw_photo, face_at, is_green, stub_deoccluder

from deocclude.engines.jobs.plan import Choices
from deocclude.engines.photos import webcam
from deocclude.engines.photos.video import FrameRestorer
from deocclude.engines.photos.webcam import WebcamError, run_webcam

FACE = face_at(30, 10, 100)


class Camera:
    """Gives BGR frames until there are none."""

    def __init__(self, frames):
        self.frames, self.released = [frame[..., ::-1].copy() for frame in frames], False

    def read(self):
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self):
        self.released = True


class Window:
    """Keeps what it is shown; the user quits after `patience` pictures."""

    def __init__(self, patience):
        self.patience, self.shown, self.closed = patience, [], False

    def show(self, picture):
        self.shown.append(picture)
        return len(self.shown) < self.patience

    def close(self):
        self.closed = True


def restorer(faces):
    return FrameRestorer(stub_deoccluder(Detector(faces)), Choices())


def test_frames_are_restored_and_shown_until_the_user_quits():
    frame = draw_photo((120, 160), FACE)
    camera, window = Camera([frame] * 9), Window(4)
    assert run_webcam(restorer([FACE]), camera=camera, window=window) == 4
    assert camera.released
    assert window.closed
    for picture in window.shown:
        assert picture.shape == frame.shape
        assert is_green(picture).sum() < 0.02 * is_green(frame).sum()
        assert (picture[:40] != frame[:40]).any()  # the frames per second
        np.testing.assert_array_equal(picture[110:], frame[110:])


def test_the_picture_says_how_fast_and_why_nothing_changed(monkeypatch):
    texts = []
    monkeypatch.setattr(cv2, "putText", lambda picture, text, *rest: texts.append(text))
    clean = draw_photo((120, 160), FACE, covered=False)
    for faces in ([], [FACE]):
        run_webcam(restorer(faces), camera=Camera([clean]), window=Window(1))
    assert all("fps" in text for text in texts)
    assert "no face found" in texts[0]
    assert "nothing covers the face" in texts[-1]


def test_a_camera_that_stops_is_an_error_and_everything_is_closed():
    camera, window = Camera([draw_photo((120, 160), FACE)] * 2), Window(9)
    with pytest.raises(WebcamError, match="stopped after 2 pictures"):
        run_webcam(restorer([FACE]), 3, camera, window)
    assert camera.released
    assert window.closed


def test_no_camera(monkeypatch):
    class Absent(Camera):
        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Absent([]))
    window = Window(1)
    with pytest.raises(WebcamError, match="--webcam 7: no such camera"):
        run_webcam(restorer([]), 7, window=window)
    assert window.closed


def test_no_screen_and_an_opencv_without_windows(monkeypatch):
    monkeypatch.setattr(webcam.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WebcamError, match="needs a screen"):
        run_webcam(restorer([]), camera=Camera([]))
    monkeypatch.setenv("DISPLAY", ":0")

    def headless(*arguments):
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", headless)
    with pytest.raises(WebcamError, match="opencv-python-headless"):
        run_webcam(restorer([]), camera=Camera([]))
