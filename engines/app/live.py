"""One visitor's live picture: what the browser's camera sees, restored frame after frame."""

import base64
import io
from pathlib import Path

import numpy as np

from deocclude.data.images import DAMAGE, open_header, to_rgb
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.moving.restorer import LIVE_REST, FrameRestorer
from deocclude.engines.moving.webcam import Pace
from deocclude.engines.photos.deoccluder import Deoccluder

MOST_PIXELS = 4096 * 2160  # of a camera's picture
FORMATS = ("JPEG", "PNG", "WEBP")


class FrameError(ValueError):
    """What came is no picture of a camera."""


def read_frame(url: str | None, path: str | Path | None) -> np.ndarray:
    """A camera's picture, uint8 (H, W, 3), from a data URL or a file. FrameError for anything else;
    the size is known before a pixel is read."""
    inline = url.partition(",")[2] if url and url.startswith("data:") else None
    if inline is None and not path:
        raise FrameError("no picture came")
    try:
        source = Path(path or "") if inline is None else io.BytesIO(base64.b64decode(inline))
        with open_header(source, FORMATS) as picture:
            width, height = picture.size
            if width * height <= MOST_PIXELS:
                return np.array(to_rgb(picture))
    except DAMAGE:
        raise FrameError("the picture cannot be read") from None
    raise FrameError(f"{width} x {height} pixels are more than a camera's picture has")


class LivePicture:
    """Restores the pictures of one camera; `rate`: pictures a second, of late."""

    def __init__(self, networks: Deoccluder, model: str) -> None:
        self.model = model
        self.rate = 0.0
        self._restore = FrameRestorer(networks, Choices(blend="feather"), rest=LIVE_REST)
        self._pace: Pace | None = None  # from the first picture on

    def restore(self, frame: np.ndarray) -> np.ndarray:
        """Shape: uint8 (H, W, 3) -> uint8 (H, W, 3)."""
        restored = self._restore(np.ascontiguousarray(frame)).restored
        if self._pace is None:
            self._pace = Pace()
        else:
            self.rate = self._pace()
        return restored
