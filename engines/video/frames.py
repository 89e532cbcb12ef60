"""What readers hand over and writers take: frames with their times."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

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


class FrameReader(Protocol):
    """The frames of a file in order.

    `expected`: about how many there are, for a progress bar; None if nobody knows. `read`: how many
    have come. `notices`: what of the file is not handed over as it is. `damage`: what is missing or
    broken, empty if nothing is. Iterating raises VideoError for a file without any frame.

    For whoever writes them as a video: `rate`, frames a second, the mean; `tick`, seconds of which
    all times are multiples; `pixel`, width by height of a pixel; `tags`, primaries and transfer by
    Rec. ITU-T H.273; `origin`, seconds at which the file begins.
    `orientation`: how the frames lie in the file, as EXIF counts; they come upright.
    """

    path: Path
    rate: Fraction
    tick: Fraction
    pixel: Fraction
    tags: tuple[int, int]
    origin: Fraction
    orientation: int
    read: int
    expected: int | None
    notices: list[str]
    damage: str

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class FrameWriter(Protocol):
    """Takes pictures, uint8 (H, W, 3) of one size, each with the frame it was made from and, where
    it may differ from that frame, a mask (H, W) {0, 1}. `close` finishes the file, says what it
    cannot hold, or raises VideoError."""

    def write(self, picture: np.ndarray, frame: Frame, mask: np.ndarray | None = None) -> None: ...

    def close(self) -> list[str]: ...

    def abort(self) -> None: ...
