"""What the brush in the browser gets and gives: a reduced photo, and a mask over it."""

import base64
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from deocclude.data.images import DAMAGE, open_header
from deocclude.engines.photos.face import Face

LONGEST = 1024  # pixels of the longer side that the browser paints on
COLOUR = (225, 29, 72)  # of the mask; brush.js paints with it
MOST_BYTES = 8_000_000  # of a mask as text: more than any of that size needs
START = "data:image/png;base64,"
BRUSH = Path(__file__).parent / "brush"


class EditorError(ValueError):
    """What came from the browser is no mask of the photo shown there."""


def reduce(image: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """Uint8 (H, W, 3), shrunk to `longest` pixels of the longer side if it is larger."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bool (H, W) to bool of `shape` (height, width): where at least half of a pixel is marked, and
    of a larger shape its steps smoothed."""
    how = cv2.INTER_LINEAR if shape > mask.shape else cv2.INTER_AREA
    return cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=how) >= 0.5


def merge(base: np.ndarray, shown: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """The mask in the photo's resolution: `base` where nothing was painted, else what was.

    Shapes: base bool (H, W); shown, what the browser got of it, and edited, bool (h, w).
    """
    changed = shown != edited
    if not changed.any():
        return base
    if not edited.any():  # of what is too fine to be shown, nothing stays either
        return np.zeros_like(base)
    # A pixel of margin: the rims of strokes lie between two pixels of the browser's picture.
    near = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    part = resize_mask(near, base.shape[:2])
    return np.where(part, resize_mask(edited, base.shape[:2]), base)


def picture_url(image: np.ndarray, faces: list[Face], chosen: list[int], scale: float) -> str:
    """A reduced photo, uint8 (h, w, 3), as a JPEG in a data URL, with each face framed and, where
    there are several, numbered; those that are not chosen in grey. `scale`: from the photo's
    pixels to its own."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    line = max(1, round(max(image.shape[:2]) / 400))
    for number, face in enumerate(faces, 1):
        left, top, width, height = (value * scale for value in face.box)
        colour = "white" if number in chosen else "gray"
        frame = (left, top, left + width, top + height)
        draw.rectangle(frame, outline="black", width=3 * line)
        draw.rectangle([frame[0] + line, frame[1] + line, frame[2] - line, frame[3] - line],
                       outline=colour, width=line)  # fmt: skip
        if len(faces) > 1:
            size = max(12, round(max(image.shape[:2]) / 40))
            place = left + 4 * line, top + 3 * line
            draw.text(place, str(number), colour, font_size=size, stroke_width=2,
                      stroke_fill="black")  # fmt: skip
    return _data_url(picture, "jpeg", quality=90)


def mask_url(mask: np.ndarray) -> str:
    """A mask, bool (h, w), as a PNG in a data URL: opaque where it is marked."""
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[mask] = (*COLOUR, 255)
    return _data_url(Image.fromarray(picture), "png")


def _data_url(picture: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def read_mask(value: Any, shape: tuple[int, int]) -> np.ndarray:
    """The mask that the brush sent, bool of `shape` (height, width). EditorError for anything else;
    no pixel is read before the size is right."""
    text = value.get("mask") if isinstance(value, dict) else None
    if not isinstance(text, str) or not text.startswith(START):
        raise EditorError("the mask must be a PNG in a data URL")
    if len(text) > MOST_BYTES:
        raise EditorError(f"the mask has {len(text)} bytes; at most {MOST_BYTES} are taken")
    try:
        data = base64.b64decode(text[len(START) :], validate=True)
        with open_header(io.BytesIO(data), formats=("PNG",)) as picture:
            width, height = picture.size
            if (height, width) == shape:
                return np.asarray(picture.convert("RGBA"))[..., 3] > 127
    except DAMAGE:
        raise EditorError("the mask is no PNG that can be read") from None
    raise EditorError(f"the mask is {width} x {height}, the picture shown {shape[1]} x {shape[0]}")
