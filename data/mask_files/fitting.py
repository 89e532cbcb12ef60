"""A mask to the size of its picture: turned like it where it has the stored size, never squeezed.

A camera may store a photo lying on its side, with an EXIF orientation that says how it is shown. A
program that does not look at that draws the mask on the stored pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from deocclude.data.mask_files.reading import Mask, MaskError

# EXIF orientations that exchange width and height, and what each does to the stored pixels.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: lambda stored: np.rot90(stored, 1),
}


def same_proportions(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one (height, width) is the other enlarged, within a pixel of the smaller one."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)


def upright(mask: Mask, shape: tuple[int, int], orientation: int = 1) -> Mask:
    """The mask as its picture is shown, in the picture's proportions, of any size.

    `shape`: (height, width) of the picture as shown, `orientation` that of its EXIF. A mask of the
    stored proportions is turned like the picture, with a notice, unless its own EXIF has turned it.
    Where both fit (mirrored pictures, squares) the mask is taken as drawn on what people see.
    MaskError, with both sizes, where neither does.
    """
    stored = shape[::-1] if orientation in TURNS and not mask.oriented else shape
    if mask.shape == shape or (mask.shape != stored and same_proportions(mask.shape, shape)):
        return mask
    if stored != shape and same_proportions(mask.shape, stored):
        turned = np.ascontiguousarray(TURNS[orientation](mask.levels))
        return mask.with_levels(
            turned,
            f"is {size_words(mask.shape)}, as its picture is stored: turned like it to "
            f"{size_words(turned.shape)} (orientation {orientation})",
        )
    raise MaskError(
        f"{mask.name}: is {size_words(mask.shape)}, its picture {size_words(shape)}: these are "
        "other proportions, so where the mask belongs is not clear; draw it on the picture itself"
    )


def square_hole(mask: Mask, size: int) -> np.ndarray:
    """The hole within the centre square, which pictures are cropped to: uint8 (size, size) {0, 1},
    by nearest neighbour."""
    from deocclude.data.contract import binarise

    hole, (height, width) = mask.hole(), mask.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return binarise(hole[top : top + side, left : left + side] * np.uint8(255), (size, size))


def resized(mask: Mask, shape: tuple[int, int]) -> Mask:
    """The grey levels at another size, by bilinear interpolation, antialiased when smaller."""
    if mask.shape == shape:
        return mask
    image = Image.fromarray(mask.levels).resize(shape[::-1], Image.Resampling.BILINEAR)
    return mask.with_levels(np.asarray(image))


def size_words(shape: tuple[int, ...]) -> str:
    """(height, width) as people write it."""
    return f"{shape[1]} x {shape[0]}"
