"""Pictures as text inside an HTML page, in the encoding that keeps the page small."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

QUALITIES = (None, 95, 90, 80)  # None is lossless; the first one that takes little enough room
SAMPLE = 7  # every so many pictures say beforehand how much room all of them take
LARGE_FIGURE = 2_000_000  # bytes of a PNG file from which on a figure is compressed
WIDEST_WEBP = 16383  # pixels a side

UNTOUCHED = "Occluded input"  # the row that shows the input itself


def encode_pictures(pictures: Sequence[np.ndarray], budget: int) -> tuple[list[str], str]:
    """Data addresses of uint8 pictures (H, W, 3) or masks (H, W) of {0, 1}, and how they are kept.

    Lossless if all of them together take at most `budget` letters; else the best of `QUALITIES`
    that fits, or the last one. Masks are always lossless. The second value is "lossless" or names
    format and quality.
    """
    for quality in QUALITIES:
        last = quality == QUALITIES[-1]
        sample = [_encode(picture, quality) for picture in pictures[::SAMPLE]]
        if not last and _letters(sample) * len(pictures) > budget * len(sample):
            continue
        encoded = [_encode(picture, quality) for picture in pictures]
        if last or _letters(encoded) <= budget:
            break
    kept = "lossless" if quality is None else f"{_compact().upper()}, quality {quality}"
    return encoded, kept


def encode_figure(path: Path) -> tuple[str, tuple[int, int]]:
    """Data address of a PNG file, as it is or compressed when it is large, and (width, height)."""
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        if len(data) <= LARGE_FIGURE:
            return _address("png", data), image.size
        kind = _compact() if max(image.size) <= WIDEST_WEBP else "jpeg"
        return _save(image.convert("RGB"), kind, quality=QUALITIES[2]), image.size


def _encode(picture: np.ndarray, quality: int | None) -> str:
    mask = picture.ndim == 2
    image = Image.fromarray(picture.astype(np.uint8) * 255 if mask else picture)
    if mask:
        return _save(image.convert("1"), "png")
    if quality is not None:
        return _save(image, _compact(), quality=quality)
    if features.check("webp"):
        return _save(image, "webp", lossless=True, method=2)
    return _save(image, "png")


def _compact() -> str:
    return "webp" if features.check("webp") else "jpeg"


def _save(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return _address(kind, buffer.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _letters(encoded: Sequence[str]) -> int:
    return sum(map(len, encoded))


@dataclass(frozen=True)
class Example:
    """One pair and what became of it; pictures are uint8 (H, W, 3), `mask` (H, W) of {0, 1}.

    `restored` maps each pictured row to its composed picture; `scores` maps every measured row to
    its values of this pair by column, such as "composed/psnr". A row of several training seeds
    shows the first one, with that one's values.
    """

    bin: str
    rank: str
    image: str
    hole_ratio: float
    occluded: np.ndarray
    mask: np.ndarray
    target: np.ndarray
    restored: dict[str, np.ndarray]
    scores: dict[str, dict[str, float]]
