"""Whether a picture can be a mask at all, or is a photograph.

A mask is an area with an edge, sharp or soft. So a mask at working resolution looks like itself cut
at its middle level and blurred again, for some width of blur; a photograph does not. Feathered and
graded masks that differ from that rise and fall without turning on the way; a photograph turns in
its middle levels everywhere. What is unlike its own cut and turns is a photograph.

Measured on 1 195 masks (drawn, hand-made, feathered, antialiased, mattes of cut-outs; as PNG, and
as JPEG and WebP of low quality) and 200 photographs, each in colour, grey, sepia, dark, dark grey
and enlarged: all 1 200 pictures are refused, and 24 masks: trimaps as JPEG, mattes of eyeglass
wires, lines thinner than a pixel of the small copy. These pass when they are black and white. Of
photographs that are nearly silhouettes (contrast tripled, three quarters painted over) a fifth
passes, and so does a page of text: its levels are two.
"""

import cv2
import numpy as np

SIDE = 128  # pixels of the longer side of the copy that is looked at
BLURS = (0, 0.7, 1.5, 3, 6, 12, 24, 48)  # pixels of that copy
UNLIKE = 0.2  # of the copy's spread that no blurred cut explains
TURNS = 0.0003  # share of pixels that are an extreme of their neighbourhood in middle levels
MIDDLE = (0.12, 0.88)  # of the range of levels
LOW_CONTRAST = 0.03  # of the range: what varies less within 3 x 3 pixels is flat


def is_photograph(levels: np.ndarray) -> bool:
    """Whether grey levels, uint8 (H, W), are those of a photograph and not of a mask."""
    small = _shrunk(levels)
    smooth = cv2.GaussianBlur(small, (0, 0), 1)
    low, high = float(smooth.min()), float(smooth.max())
    if high - low < 1:
        return False
    cut = _shrunk((levels > (low + high) / 2) * np.uint8(255))
    return _turning(smooth, low, high) > TURNS and _unlike(small, cut) > UNLIKE


def _shrunk(levels: np.ndarray) -> np.ndarray:
    scale = SIDE / max(levels.shape)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in levels.shape[::-1])
        levels = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    return levels.astype(np.float32)


def _unlike(small: np.ndarray, cut: np.ndarray) -> float:
    """Share of the standard deviation of `small` that the best of the blurred cuts leaves."""
    best = 0.0
    for width in BLURS:
        blurred = cv2.GaussianBlur(cut, (0, 0), width) if width else cut
        spread = float(blurred.std() * small.std())
        if spread > 0:
            common = float(((blurred - blurred.mean()) * (small - small.mean())).mean())
            best = max(best, common / spread)
    return float(np.sqrt(max(0.0, 1 - best * best)))


def _turning(smooth: np.ndarray, low: float, high: float) -> float:
    """Share of the pixels that are the highest or lowest of 3 x 3 and lie in the middle levels."""
    window = np.ones((3, 3), np.uint8)
    top, bottom = cv2.dilate(smooth, window), cv2.erode(smooth, window)
    place = (smooth - low) / (high - low)
    middle = (place > MIDDLE[0]) & (place < MIDDLE[1])
    varied = top - bottom > LOW_CONTRAST * (high - low)
    return float((middle & varied & ((smooth == top) | (smooth == bottom))).mean())
