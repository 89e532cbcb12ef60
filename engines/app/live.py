"""One visitor's live picture: what the browser's camera sees, restored frame after frame."""

import base64
import io
import time
from pathlib import Path

import numpy as np

from deocclude.data.images import DAMAGE, open_header, to_rgb
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.moving.restorer import LIVE_REST, FrameRestorer
from deocclude.engines.photos.deoccluder import Deoccluder

MOST_PIXELS = 4096 * 2160  # of a camera's picture
FORMATS = ("JPEG", "PNG", "WEBP")
SMOOTHING = 0.9  # weight of the past in the rate that is shown


class FrameError(ValueError):
    """What came is no picture of a camera."""


def read_frame(url: str | None, path: str | Path | None) -> np.ndarray:
    """A camera's picture, uint8 (H, W, 3), from a data URL or a file. FrameError for anything else;
    the size is known before a pixel is read."""
    source: io.BytesIO | Path
    try:
        if url and url.startswith("data:"):
            source = io.BytesIO(base64.b64decode(url.partition(",")[2]))
        elif path:
            source = Path(path)
        else:
            raise FrameError("no picture came")
        with open_header(source, FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                size = f"{picture.width} x {picture.height}"
                raise FrameError(f"{size} pixels are more than a camera's picture has")
            return np.array(to_rgb(picture))
    except FrameError:
        raise
    except DAMAGE:
        raise FrameError("the picture cannot be read") from None


class LivePicture:
    """Restores the pictures of one camera; `rate`: pictures a second, of late."""

    def __init__(self, networks: Deoccluder, model: str) -> None:
        self.model = model
        self.rate = 0.0
        self._restore = FrameRestorer(networks, Choices(blend="feather"), rest=LIVE_REST)
        self._last: float | None = None

    def restore(self, frame: np.ndarray) -> np.ndarray:
        """Shape: uint8 (H, W, 3) -> uint8 (H, W, 3)."""
        restored = self._restore(np.ascontiguousarray(frame)).restored
        now = time.monotonic()
        if self._last is not None:
            rate = 1 / max(1e-3, now - self._last)
            self.rate = SMOOTHING * self.rate + (1 - SMOOTHING) * rate if self.rate else rate
        self._last = now
        return restored
