"""The live picture, with a camera and a window that are not there."""

import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from photo_stubs import Detector, draw_photo, face_at, is_green, stub_deoccluder, write_video

from deocclude.engines.jobs.plan import Choices
from deocclude.engines.moving import virtual_camera, webcam
from deocclude.engines.moving.restorer import FrameRestorer
from deocclude.engines.moving.virtual_camera import VirtualCamera
from deocclude.engines.moving.webcam import WebcamError, run_webcam
from deocclude.engines.photos.restoration import Restoration

FACE = face_at(30, 10, 100)


class Camera:
    """Gives BGR frames, one in a while, until there are none."""

    def __init__(self, frames, pause=0.1):
        self.frames, self.released = [frame[..., ::-1].copy() for frame in frames], False
        self.pause = pause

    def read(self):
        time.sleep(self.pause)
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
    assert run_webcam(restorer([FACE]), camera=camera, display=window) == 4
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
        run_webcam(restorer(faces), camera=Camera([clean]), display=Window(1))
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
        run_webcam(restorer([]), 7, display=window)
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


def test_a_camera_that_is_faster_than_the_networks_is_seen_at_its_newest():
    shown = []
    frames = [np.full((40, 60, 3), number, np.uint8) for number in range(60)]

    def slow(frame):
        time.sleep(0.03)
        shown.append(int(frame[0, 0, 0]))
        return Restoration(frame, np.zeros(frame.shape[:2], np.uint8))

    with pytest.raises(WebcamError, match="stopped"):
        run_webcam(slow, camera=Camera(frames, 0.004), display=Window(99))
    assert shown == sorted(set(shown))
    assert len(shown) < 30
    assert shown[-1] == 59


def test_a_file_is_a_camera_at_its_own_pace(tmp_path):
    frame = draw_photo((120, 160), FACE)
    write_video(tmp_path / "clip.mp4", [frame] * 6, rate=20)
    window = Window(99)
    start = time.perf_counter()
    count = run_webcam(restorer([FACE]), tmp_path / "clip.mp4", display=window, labelled=False)
    assert time.perf_counter() - start > 0.2
    assert 2 <= count <= 6
    assert not any(is_green(picture).sum() > 20 for picture in window.shown)
    (tmp_path / "text.mp4").write_text("no video")
    for name, words in (("none.mp4", "no such file"), ("text.mp4", "cannot be read")):
        with pytest.raises(WebcamError, match=words):
            run_webcam(restorer([]), tmp_path / name, display=Window(1))


class Driver:
    """What pyvirtualcam.Camera is, with nobody behind it."""

    def __init__(self, width, height, fps, device=None):
        if device == "/dev/none":
            raise RuntimeError("device /dev/none does not exist")
        self.width, self.height, self.fps, self.device = width, height, fps, device or "first"
        self.sent, self.closed = [], False
        Driver.last = self

    def send(self, picture):
        assert picture.shape == (self.height, self.width, 3)
        self.sent.append(picture)

    def close(self):
        self.closed = True


def test_the_restored_picture_is_a_camera_for_other_programs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Driver))
    frame = draw_photo((120, 160), FACE)
    with pytest.raises(WebcamError, match="stopped"):
        run_webcam(
            restorer([FACE]), camera=Camera([frame] * 4), display=VirtualCamera(), labelled=False
        )
    assert len(Driver.last.sent) >= 3
    assert Driver.last.closed
    assert "virtual camera: first" in capsys.readouterr().out
    for picture in Driver.last.sent:  # no frames per second on what others see
        np.testing.assert_array_equal(picture[:8], frame[:8])
        assert is_green(picture).sum() < 0.02 * is_green(frame).sum()
    camera = VirtualCamera("named")
    camera.show(frame)
    camera.show(np.zeros((240, 320, 3), np.uint8))  # another size is brought to the first one's
    assert (len(Driver.last.sent), Driver.last.device) == (2, "named")


@pytest.mark.parametrize(
    ("system", "words"), [("linux", "v4l2loopback"), ("win32", "OBS Studio"), ("darwin", "OBS")]
)
def test_without_a_virtual_camera_it_is_said_what_helps(monkeypatch, system, words):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Driver))
    monkeypatch.setattr(virtual_camera.sys, "platform", system)
    with pytest.raises(WebcamError, match=f"/dev/none: no virtual camera.*not exist.*{words}"):
        VirtualCamera("/dev/none").show(np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(WebcamError, match=r"pip install -e \"\.\[camera\]\""):
        VirtualCamera()
