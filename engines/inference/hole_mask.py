"""From a segmenter's probability to the mask that is redrawn, at the photo's resolution.

Sizes are shares of the face's square, so that they mean the same at every resolution.
"""

import math
import re
from typing import NamedTuple, Protocol

import cv2
import numpy as np

THRESHOLD = 0.5
SPECK = 0.002  # a smaller piece, as a share of the square's area, is no occluder
GAP = 0.005  # a smaller gap in the occluder is redrawn too
DILATION = 0.03  # of the square's side: 8 px at 256
SMOOTHING = 0.5  # sigma in the segmenter's pixels, so that its grid does not show in the edge
Box = tuple[int, int, int, int]  # (top, left, bottom, right) in the photo
PERCENT = re.compile(r"(\d+\.?\d*|\.\d+) ?%")
OF_FACES = "a percentage is one of each face's square; your own mask is grown by pixels"


class Dilation(NamedTuple):
    """By how much a mask is grown: by `pixels` of the photo, or where they are None by a `share` of
    the side of each face's square."""

    pixels: float | None = None
    share: float = DILATION

    @classmethod
    def of(cls, given: float | str | None) -> "Dilation":
        """What was asked for: pixels, a percentage as "5%", or None, the default share.

        ValueError for anything else.
        """
        if given is None:
            return cls()
        if isinstance(given, str):
            found = PERCENT.fullmatch(given)
            if found and float(found[1]) <= 100:
                return cls(share=float(found[1]) / 100)
        elif isinstance(given, (int, float, np.number)) and 0 <= given < math.inf:
            return cls(float(given))
        raise ValueError(
            f"dilate: must be 0 or more pixels, or '0%' to '100%' of each face's square, "
            f"found {given!r}"
        )

    @classmethod
    def of_given(cls, given: float | str | None) -> "Dilation":
        """As `of`, for a mask of the user's: by default it is not grown. ValueError for a share."""
        grown = cls(0.0) if given is None else cls.of(given)
        if grown.pixels is None:
            raise ValueError(f"dilate {given!r}: {OF_FACES}")
        return grown

    def radius(self, side: float, scale: float = 1.0) -> float:
        """In pixels of a picture at `scale` of the photo, in which the face's square has `side`."""
        return self.share * side if self.pixels is None else self.pixels * scale


class Window(Protocol):
    """A face's square in a photo, as `engines.photos.windows.AlignedWindow` is one."""

    box: Box
    side: float

    def depth(self, box: Box) -> np.ndarray: ...

    def spread(self, square: np.ndarray, box: Box) -> np.ndarray: ...


def hole_mask(probability: np.ndarray, window: Window) -> np.ndarray:
    """The occluder inside the window: uint8 {0, 1}, the shape of `window.box`, not yet dilated.

    Shape: probability float32 (S, S) in [0, 1].
    """
    smooth = cv2.GaussianBlur(probability, (0, 0), SMOOTHING, borderType=cv2.BORDER_REPLICATE)
    inside = window.depth(window.box) > 0
    mask = ((window.spread(smooth, window.box) >= THRESHOLD) & inside).astype(np.uint8)
    area = window.side**2
    mask = drop_small(mask, SPECK * area)
    gaps = (inside & (mask == 0)).astype(np.uint8)
    return mask | (gaps - drop_small(gaps, GAP * area))


def drop_small(mask: np.ndarray, area: float) -> np.ndarray:
    """`mask` without its connected pieces of less than `area` pixels."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = facts[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return keep[labels].astype(np.uint8) if count > 1 else mask


def dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    """Everything within `radius` pixels of the mask, by Euclidean distance: uint8 {0, 1}."""
    return (distance_to(mask) <= radius).astype(np.uint8) if radius > 0 else mask


def move(mask: np.ndarray, box: Box, target: Box) -> np.ndarray:
    """The mask over `box` as one over `target`; nothing is marked where they do not overlap."""
    moved = np.zeros((target[2] - target[0], target[3] - target[1]), np.uint8)
    top, left = max(box[0], target[0]), max(box[1], target[1])
    bottom, right = min(box[2], target[2]), min(box[3], target[3])
    if bottom > top and right > left:
        part = mask[top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
        moved[top - target[0] : bottom - target[0], left - target[1] : right - target[1]] = part
    return moved


def slices_of(box: Box) -> tuple[slice, slice]:
    """A box's rows and columns of the photo."""
    top, left, bottom, right = box
    return slice(top, bottom), slice(left, right)


def distance_to(mask: np.ndarray) -> np.ndarray:
    """Pixels to the nearest hole pixel, 0 inside the hole: float32, infinite without a hole."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
