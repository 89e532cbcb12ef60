"""The restored picture as a camera of its own, which programs for video calls can choose."""

import sys
from typing import Any

import cv2
import numpy as np

from deocclude.engines.moving.webcam import WebcamError

INSTALL = 'pip install -e ".[camera]"'
# What a system needs besides: pyvirtualcam only hands pictures to a driver.
DRIVERS = {
    "linux": "the kernel module v4l2loopback: `sudo modprobe v4l2loopback exclusive_caps=1 "
    "card_label=Deocclude`, from the package v4l2loopback-dkms or -utils",
    "win32": "the camera of OBS Studio (obsproject.com) or of Unity Capture; install one of them",
    "darwin": "the camera of OBS Studio (obsproject.com): install it and start its virtual camera "
    "once",
}


class VirtualCamera:
    """Sends pictures to a virtual camera (pyvirtualcam); the first one settles its size.

    `device`: its name, e.g. /dev/video4; empty: the first that is free. Raises WebcamError without
    pyvirtualcam or a driver, with what helps.
    """

    def __init__(self, device: str = "", rate: float = 30.0) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise WebcamError(f"--virtual-camera needs pyvirtualcam ({error}): {INSTALL}") from None
        self._library: Any = pyvirtualcam
        self.device, self.rate = device, rate
        self._camera: Any = None

    def open(self, shape: tuple[int, ...]) -> str:
        """The camera's name, once it takes pictures of (height, width)."""
        try:
            self._camera = self._library.Camera(
                width=shape[1], height=shape[0], fps=self.rate, device=self.device or None
            )
        except (RuntimeError, OSError, ValueError) as error:
            needs = DRIVERS.get(sys.platform, "a driver that pyvirtualcam knows")
            named = f" {self.device}" * bool(self.device)
            raise WebcamError(
                f"--virtual-camera{named}: no virtual camera can be opened "
                f"({' '.join(str(error).split())}); needed is {needs}"
            ) from None
        return str(self._camera.device)

    def show(self, picture: np.ndarray) -> bool:
        """Send uint8 RGB (H, W, 3), resized where the first was of another size; always True."""
        if self._camera is None:
            print(f"virtual camera: {self.open(picture.shape[:2])}; Ctrl-C ends", flush=True)
        size = (self._camera.width, self._camera.height)
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._camera.send(np.ascontiguousarray(picture))
        return True

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None
