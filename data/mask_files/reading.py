"""A mask file's levels, and which of them mark the hole.

White on black is the hole, above 127 of 255. A file of two other values (0 and 1, 0 and 100) has
its hole where it is brighter, which is said. What is no mask is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from deocclude.data.images import DAMAGE, STORED, ImageReadError, open_image, to_rgb
from deocclude.data.mask_files.plausible import is_photograph

THRESHOLD = 127  # of black-and-white masks: a level above it is hole
BLACK, WHITE = 32, 223  # levels up to and from which a mask's plateaus are black and white
FEW = 16  # values: with no more a picture is no photograph, whatever they look like
NOISE = 0.12  # of the step from dark to bright: what JPEG adds around the two
MOST = 0.6  # share of the dark pixels, and of the bright ones, near one level in such a file
STEP = 16  # levels between dark and bright below which JPEG's noise is all there is
GREY = 0.25  # grey pixels for each one of the hole, above which they are worth a word
ORIENTATION = 0x0112  # EXIF


class MaskError(ImageReadError):
    """A file that is no mask, or none for its picture; the message says what would be one."""


@dataclass(frozen=True)
class Mask:
    """A mask before it is fitted to a picture.

    Shape: levels uint8 (H, W), above `threshold` is hole; what is read inverted is inverted
    already. `notices`: what to tell of it, its name aside. `grey`: the share of grey pixels where
    that is worth a word, else 0. `oriented`: its own EXIF has turned it upright.
    """

    levels: np.ndarray
    threshold: int
    name: str
    notices: tuple[str, ...] = ()
    grey: float = 0.0
    oriented: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.levels.shape
        return height, width

    def hole(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 {0, 1}, by nearest neighbour at `size` = (height, width) if given."""
        from deocclude.data.contract import binarise

        return binarise((self.levels > self.threshold) * np.uint8(255), size)

    def with_levels(self, levels: np.ndarray, *notices: str) -> Mask:
        return replace(self, levels=levels, notices=(*self.notices, *notices))


def load_mask(
    path: str | Path, size: tuple[int, int] | None = None, invert: bool = False
) -> np.ndarray:
    """A mask file as uint8 {0, 1}, 1 = hole, resized to `size` = (height, width) if given."""
    return open_mask(path, invert).hole(size)


def open_mask(path: str | Path, invert: bool = False, max_pixels: int | None = None) -> Mask:
    """Read a mask file. `invert`: black marks the hole; `max_pixels` as of `open_image`.

    Raises MaskError for what is no mask, ImageReadError for what cannot be read.
    """
    image = open_image(path, max_pixels)
    mask = mask_of(image, str(path), invert)
    return replace(mask, oriented=exif_orientation(image) != 1)


def check_mask(path: Path) -> None:
    """MaskError for what is no mask of any photo; what cannot be read at all is left to whoever
    needs it."""
    try:
        levels = open_mask(path).levels
    except MaskError:
        raise
    except (ImageReadError, OSError):
        return
    if levels.min() == levels.max():
        raise MaskError(
            f"{path}: has one value only, {levels.min()}: nothing in it marks a hole. A mask is "
            "black, and white where to redraw"
        )


def exif_orientation(picture: Image.Image) -> int:
    """1 to 8, as EXIF says that a picture's file is shown; 1 where it says nothing. A picture of
    `open_image`, which is upright, still knows."""
    try:
        value = picture.info.get(STORED) or picture.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return value if value in range(1, 9) else 1


def mask_of(image: Image.Image, name: str, invert: bool = False) -> Mask:
    """An upright picture of any mode as a mask; `name` stands in messages. MaskError as above."""
    levels, clear = _levels(image, invert)
    counts = np.bincount(levels.ravel(), minlength=256)
    values = np.flatnonzero(counts)
    if len(values) > FEW and is_photograph(levels):
        text = (
            f"{name}: is no mask: it has the many levels of a photograph. A mask is black, and "
            "white where to redraw"
        )
        if clear:
            text += (
                ". Part of it is transparent: if it is the photo itself with a part erased, take "
                f"that part with deocclude.py {name} --mask alpha"
            )
        raise MaskError(text)
    threshold, *notices = _threshold(counts, values, name, invert)
    grey = 0.0 if notices else _grey(counts, invert)
    if invert:
        levels, threshold = 255 - levels, 254 - threshold
    return Mask(levels, threshold, name, tuple(notices), grey)


def _levels(image: Image.Image, invert: bool) -> tuple[np.ndarray, bool]:
    """Grey levels, uint8 (H, W), and whether part of the picture is transparent.

    Transparent means unmarked, so that strokes on an empty layer read as they look in a drawing
    program: over black, or over white when they are dark and black marks the hole.
    """
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert(image.mode.upper())
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha = np.asarray(rgba)[..., 3]
        clear = bool((alpha < 255).any())
        ground = "black"
        if invert and clear:
            ink = np.asarray(rgba.convert("RGB").convert("L"))[alpha > 0]
            ground = "white" if ink.max(initial=0) <= THRESHOLD else "black"
        rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, ground), rgba)
        return np.asarray(rgba.convert("L")), clear
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = to_rgb(image)
    return np.asarray(image.convert("L")), False


def _threshold(
    counts: np.ndarray, values: np.ndarray, name: str, invert: bool
) -> tuple[int] | tuple[int, str]:
    """The level above which a mask is bright, and what to tell; `values`: those that occur."""
    low, high = int(values[0]), int(values[-1])
    if low == high:
        return (THRESHOLD,)
    middle = (low + high) // 2
    dark, bright = _median(counts, 0, middle), _median(counts, middle + 1, 255)
    step, every = bright - dark, np.arange(256)
    if dark <= BLACK and bright >= WHITE:
        return (THRESHOLD,)
    marks = "the darker" if invert else "the brighter"
    two = step >= STEP and all(
        counts[part & (abs(every - level) <= NOISE * step)].sum() >= MOST * counts[part].sum()
        for part, level in ((every <= middle, dark), (every > middle, bright))
    )
    exact = len(values) == 2 and (step >= STEP or low == 0)  # 0 and 1, but not 254 and 255
    if exact or two:
        text = f"has two values, {dark} and {bright}: {marks} one is the hole"
        return (dark + bright) // 2, text
    if low <= THRESHOLD < high or (high - low < STEP and len(values) > FEW // 2):  # noise
        return (THRESHOLD,)
    if len(values) <= FEW or step < STEP:
        found = ", ".join(map(str, values)) if len(values) <= FEW else f"{low} to {high}"
        raise MaskError(
            f"{name}: its values are {found}: it is not clear which mark the hole. A mask is "
            "black (0), and white (255) where to redraw"
        )
    text = f"its levels go from {low} to {high}: {marks} half, at {middle}, is the hole"
    return middle, text


def _median(counts: np.ndarray, first: int, last: int) -> int:
    """Of the levels from `first` to `last`."""
    part = np.cumsum(counts[first : last + 1])
    return first + int(np.searchsorted(part, part[-1] / 2))


def _grey(counts: np.ndarray, invert: bool) -> float:
    """The share of grey pixels, 0 where they are few beside the hole's, as at antialiased edges."""
    grey = int(counts[BLACK + 1 : WHITE].sum())
    hole = counts[: THRESHOLD + 1] if invert else counts[THRESHOLD + 1 :]
    return grey / int(counts.sum()) if grey > GREY * hole.sum() else 0.0


def listed_notices(masks: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """A line for each notice that masks of these names have: of how many, and of which first."""
    names: dict[str, list[str]] = {}
    for name, notices in masks:
        for text in notices:
            names.setdefault(text, []).append(name)
    return [
        f"{len(which)} masks, e.g. {which[0]}: {text}" if len(which) > 1 else f"{which[0]}: {text}"
        for text, which in names.items()
    ]
