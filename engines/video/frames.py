"""What readers hand over and writers take: frames with their times."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class VideoError(ValueError):
    """A video that cannot be read or written; the message names the file and the reason."""


@dataclass(frozen=True)
class Frame:
    """One frame as it is shown: upright, 8 bits, transparency over white.

    Shapes: rgb uint8 (H, W, 3); `pixels`, the colours before they were laid over white, the same;
    alpha uint8 (H, W), None where nothing is transparent. `start` and `duration` are seconds,
    exact; the first frame need not start at 0. `hidden`: the picture that programs show which
    cannot animate; it is no part of the animation.
    """

    rgb: np.ndarray
    start: Fraction
    duration: Fraction
    pixels: np.ndarray | None = None
    alpha: np.ndarray | None = None
    hidden: bool = False

    @classmethod
    def of(
        cls, shown: np.ndarray, start: Fraction, duration: Fraction, hidden: bool = False
    ) -> "Frame":
        """Of a picture uint8 (H, W, 3), or (H, W, 4) with what is transparent."""
        pixels = np.ascontiguousarray(shown[..., :3])
        if shown.shape[2] == 3 or (shown[..., 3] == 255).all():
            return cls(pixels, start, duration, hidden=hidden)
        alpha = shown[..., 3].copy()
        share = alpha[..., None].astype(np.uint16)
        rgb = ((pixels * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
        return cls(rgb, start, duration, pixels, alpha, hidden)


class FrameReader(ABC):
    """The frames of a file in order.

    `expected`: about how many there are, for a progress bar; None if nobody knows. `read`: how many
    have come. `notices`: what of the file is not handed over as it is. `damage`: what is missing or
    broken, empty if nothing is. Iterating raises VideoError for a file without any frame.

    For whoever writes them as a video: `rate`, frames a second, the mean; `tick`, seconds of which
    all times are multiples; `pixel`, width by height of a pixel; `tags`, primaries and transfer by
    Rec. ITU-T H.273; `origin`, seconds at which the file begins. As an animated picture: `loops`,
    how often it is played, 0 for ever; `info`, what else is said about the whole of it.
    `orientation`: how the frames lie in the file, as EXIF counts; they come upright.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.read, self.damage = path, 0, ""
        self.notices: list[str] = []
        self.expected: int | None = None
        self.rate, self.tick, self.origin = Fraction(10), Fraction(1, 1000), Fraction(0)
        self.pixel, self.tags = Fraction(1), (1, 1)
        self.loops, self.orientation = 1, 1
        self.info: dict[str, Any] = {}

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    @abstractmethod
    def close(self) -> None: ...


class FrameWriter(Protocol):
    """Takes pictures, uint8 (H, W, 3) of one size, each with the frame it was made from and, where
    it may differ from that frame, a mask (H, W) {0, 1}. `close` finishes the file, says what it
    cannot hold, or raises VideoError."""

    def write(self, picture: np.ndarray, frame: Frame, mask: np.ndarray | None = None) -> None: ...

    def close(self) -> list[str]: ...

    def abort(self) -> None: ...
