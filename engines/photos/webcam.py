"""A camera's picture, restored live in a window."""

import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

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


class LiveWindow:
    """A window of OpenCV. Raises WebcamError where none can be opened."""

    def __init__(self) -> None:
        on_linux = sys.platform.startswith("linux")
        screens = ("DISPLAY", "WAYLAND_DISPLAY")
        if on_linux and not any(os.environ.get(name) for name in screens):  # Qt would abort
            raise WebcamError("--webcam needs a screen to show its window on, and there is none")
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


def open_camera(number: int) -> Capture:
    """Camera 0, 1, ...; WebcamError when it does not answer."""
    camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        camera.release()
        raise WebcamError(
            f"--webcam {number}: no such camera, or another program uses it; try --webcam 0, 1, ..."
        )
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not one that has waited
    return camera


def run_webcam(
    restore: Callable[[np.ndarray], Restoration],
    number: int = 0,
    camera: Capture | None = None,
    window: LiveWindow | None = None,
) -> int:
    """Restore and show frames until the user quits; how many were shown.

    `camera` and `window` replace the real ones. Raises WebcamError without a camera or a window
    and when the camera stops answering.
    """
    window = window or LiveWindow()
    shown, pace = 0, 0.0
    try:
        camera = camera or open_camera(number)
        before = time.perf_counter()
        while True:
            done, frame = camera.read()
            if not done or frame is None:
                raise WebcamError(f"--webcam {number}: the camera stopped after {shown} pictures")
            result = restore(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            now = time.perf_counter()
            rate, before = 1 / max(now - before, 1e-6), now
            pace = rate if shown == 0 else SMOOTHING * pace + (1 - SMOOTHING) * rate
            shown += 1
            if not window.show(label(result, pace)):
                return shown
    finally:
        if camera is not None:
            camera.release()
        window.close()


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
