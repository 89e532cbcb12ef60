"""Holes as a segmenter gives them: an occluder's mask, grown, now and then too small."""

import cv2
import numpy as np

SMALLEST_HOLE, LARGEST_HOLE = 0.005, 0.8  # of the picture: others teach an inpainter nothing
GROWN, SHRUNK = 0.05, 0.015  # of the side: the most that a mask is dilated or eroded by
SHRUNK_SHARE = 0.15  # of the masks leave a rim of the occluder standing


def found_hole(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask of an occluder as it is redrawn: uint8 (S, S) {0, 1} -> the same, a new array.

    Dilated by up to GROWN of the side, or, seldom, eroded by up to SHRUNK of it.
    """
    side, shrinks = mask.shape[0], rng.random() < SHRUNK_SHARE
    radius = side * rng.uniform(0, SHRUNK if shrinks else GROWN)
    if not mask.any() or mask.all():
        return mask.copy()
    if shrinks:
        inside = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_5)
        return (inside > radius).astype(np.uint8)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_5)
    return (outside <= radius).astype(np.uint8)
