"""What a camera sees, restored live."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from deocclude.engines.moving.pipeline import Newest
from deocclude.engines.photos.restoration import NO_FACE, Restoration

TITLE = "Deocclude - q quits"
QUIT = (ord("q"), ord("Q"), 27)  # 27: Esc
SMOOTHING = 0.9  # weight of the past in the frames per second that are shown


class WebcamError(ValueError):
    """No camera or no window; the message says which and what helps."""


class Capture(Protocol):
    """What is used of cv2.VideoCapture."""

    def read(self) -> tuple[bool, np.ndarray | None]: ...

    def release(self) -> None: ...


class Display(Protocol):
    """Takes pictures, uint8 RGB (H, W, 3); `show` is False when the user wants no more."""

    def show(self, picture: np.ndarray) -> bool: ...

    def close(self) -> None: ...


class LiveWindow:
    """A window of OpenCV. Raises WebcamError where none can be opened."""

    def __init__(self) -> None:
        on_linux = sys.platform.startswith("linux")
        screens = ("DISPLAY", "WAYLAND_DISPLAY")
        if on_linux and not any(os.environ.get(name) for name in screens):  # Qt would abort
            raise WebcamError(
                "--webcam needs a screen to show its window on, and there is none; "
                "--virtual-camera needs no screen"
            )
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise WebcamError(
                "--webcam: this OpenCV cannot open windows; replace opencv-python-headless by "
                f"opencv-contrib-python ({error.err or 'no reason given'})"
            ) from None

    def show(self, picture: np.ndarray) -> bool:
        """Show uint8 RGB (H, W, 3); False when the user wants no more."""
        cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        return key not in QUIT and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        cv2.destroyAllWindows()


class PacedFile:
    """A video file as if it were a camera: its pictures come at its own rate. Raises WebcamError
    for a file that cannot be read."""

    def __init__(self, path: Path) -> None:
        self._video = cv2.VideoCapture(str(path))
        if not path.is_file() or not self._video.isOpened():
            why = "cannot be read as a video" if path.is_file() else "no such file or camera"
            raise WebcamError(f"--webcam {path}: {why}")
        self._step = 1 / (self._video.get(cv2.CAP_PROP_FPS) or 30.0)
        self._next = time.perf_counter()

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(max(0.0, self._next - time.perf_counter()))
        self._next += self._step
        return self._video.read()

    def release(self) -> None:
        self._video.release()


def open_camera(source: int | Path) -> Capture:
    """Camera 0, 1, ... or a video file; WebcamError when it does not answer."""
    if isinstance(source, Path):
        return PacedFile(source)
    camera = cv2.VideoCapture(source)
    if not camera.isOpened():
        camera.release()
        raise WebcamError(
            f"--webcam {source}: no such camera, or another program uses it; try --webcam 0, 1, ..."
        )
    return camera


def run_webcam(
    restore: Callable[[np.ndarray], Restoration],
    source: int | Path = 0,
    camera: Capture | None = None,
    display: Display | None = None,
    labelled: bool = True,
) -> int:
    """Restore and show frames until the user quits or a file ends; how many were shown.

    Reading, restoring and showing go on side by side, each on the newest there is: what comes while
    another frame is restored is passed over. `camera` and `display` replace the real ones;
    `labelled`: the frames per second stand on the picture. Raises WebcamError without a camera or a
    window and when the camera stops answering.
    """
    display = display or LiveWindow()
    stages: list[Newest] = []
    shown, pace = 0, Pace()
    try:
        camera = camera or open_camera(source)
        frames = Newest(partial(_rgb, camera))
        stages.append(frames)

        def restored() -> Restoration | None:
            frame = frames.take()
            return None if frame is None else restore(frame)

        stages.append(Newest(restored))
        while (result := stages[-1].take()) is not None:
            shown += 1
            if not display.show(label(result, pace()) if labelled else result.restored):
                return shown
        if isinstance(source, Path) and shown:
            return shown
        raise WebcamError(f"--webcam {source}: the camera stopped after {shown} pictures")
    finally:
        display.close()
        for stage in stages:
            stage.close()
        if camera is not None:
            camera.release()


class Pace:
    """Calls a second, smoothed."""

    def __init__(self) -> None:
        self._before, self._pace = time.perf_counter(), 0.0

    def __call__(self) -> float:
        now = time.perf_counter()
        rate, self._before = 1 / max(now - self._before, 1e-6), now
        self._pace = SMOOTHING * self._pace + (1 - SMOOTHING) * rate if self._pace else rate
        return self._pace


def _rgb(camera: Capture) -> np.ndarray | None:
    done, frame = camera.read()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if done and frame is not None else None


def label(result: Restoration, pace: float) -> np.ndarray:
    """The restored picture with the frames per second on it, and why nothing was restored."""
    text = f"{pace:.1f} fps"
    if not result.faces:
        text += f", {NO_FACE}"
    elif not result.changed:
        text += ", nothing covers the face"
    picture = result.restored.copy()
    size = max(0.5, picture.shape[0] / 900)
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        place = (round(16 * size), round(36 * size))
        cv2.putText(
            picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour,
            max(1, round(width * size)), cv2.LINE_AA,
        )  # fmt: skip
    return picture
