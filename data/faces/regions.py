"""Which part of an aligned face a pixel most likely shows, told by the alignment template alone.

No picture is looked at: the regions are where these parts lie in a typical face of the template.
"""

from functools import cache

import cv2
import numpy as np

from deocclude.data.faces.alignment import template_points

REGIONS = ("eyes", "brows", "nose", "mouth", "skin", "hair", "background")

# Outlines as (u, v): u from the line of symmetry in distances between the eyes, v from the eyes
# down in distances between eyes and chin; each side is the other's mirror image. Medians of
# MediaPipe's contours over 298 aligned faces, which agree between both templates to 0.03, widened
# by the parts' own borders (lids, lips). Forehead above v = -0.44 and hair are drawn by hand.
HAIR = (
    (0.0, -1.06), (0.35, -1.04), (0.72, -0.95), (1.05, -0.78), (1.3, -0.52), (1.42, -0.2),
    (1.45, 0.15), (1.43, 0.5), (1.36, 0.8), (1.15, 0.86), (0.9, 0.66), (0.0, 0.0),
)  # fmt: skip
FACE = (
    (0.0, -0.64), (0.29, -0.63), (0.56, -0.58), (0.8, -0.48), (0.96, -0.34), (1.05, -0.17),
    (1.1, 0.01), (1.1, 0.14), (1.08, 0.27), (1.05, 0.41), (0.97, 0.56), (0.88, 0.68),
    (0.76, 0.76), (0.62, 0.84), (0.49, 0.9), (0.35, 0.94), (0.2, 0.98), (0.0, 0.99),
)  # fmt: skip
EYE = (
    (0.2, 0.0), (0.28, -0.04), (0.38, -0.065), (0.5, -0.072), (0.62, -0.062), (0.72, -0.035),
    (0.77, 0.0), (0.71, 0.045), (0.6, 0.068), (0.47, 0.072), (0.34, 0.06), (0.25, 0.035),
)  # fmt: skip
BROW = (
    (0.13, -0.082), (0.17, -0.185), (0.45, -0.222), (0.68, -0.232), (0.86, -0.21), (0.98, -0.13),
    (0.9, -0.085), (0.65, -0.11), (0.45, -0.112),
)  # fmt: skip
NOSE = (
    (0.0, -0.03), (0.13, -0.03), (0.14, 0.1), (0.21, 0.22), (0.33, 0.29), (0.37, 0.36),
    (0.31, 0.43), (0.15, 0.453), (0.0, 0.46),
)  # fmt: skip
MOUTH = (
    (0.0, 0.5), (0.16, 0.49), (0.33, 0.505), (0.47, 0.53), (0.54, 0.57), (0.53, 0.605),
    (0.45, 0.65), (0.3, 0.705), (0.14, 0.735), (0.0, 0.74),
)  # fmt: skip
SOFTNESS = 0.06  # standard deviation of the contours between faces, in distances between the eyes
WORKING_SIDE = 1024  # pixels; outlines are drawn this large at least and averaged down
FRACTION = 4  # bits of a pixel in OpenCV's coordinates


@cache
def region_shares(template: str, size: int) -> np.ndarray:
    """How likely each pixel shows each region: float32 (len(REGIONS), size, size), sums of 1.

    The typical outlines, blurred by how far those of single faces lie from them; "background" is
    all the rest, neck and clothes too. ValueError lists the templates.
    """
    side = size * max(1, -(-WORKING_SIDE // size))
    points = template_points(template, side)
    (left, top), (right, _) = points["left_eye"], points["right_eye"]
    across, down = right - left, points["chin"][1] - top
    middle = (left + right) / 2
    labels = np.full((side, side), REGIONS.index("background"), np.uint8)

    def paint(name: str, half: tuple, paired: bool = False) -> None:
        u, v = np.array(half).T
        for side in (-1, 1):
            outline = np.stack([middle + side * u * across, top + v * down], axis=1)
            if not paired:  # the mirror image closes it
                mirrored = np.stack([middle - side * u * across, top + v * down], axis=1)
                outline = np.concatenate([outline, mirrored[::-1]])
            corners = np.round((outline - 0.5) * 2**FRACTION).astype(np.int32)
            cv2.fillPoly(labels, [corners], REGIONS.index(name), shift=FRACTION)

    paint("hair", HAIR)
    paint("skin", FACE)
    paint("nose", NOSE)
    paint("mouth", MOUTH)
    paint("brows", BROW, paired=True)
    paint("eyes", EYE, paired=True)
    hard = [(labels == i).astype(np.float32) for i in range(len(REGIONS))]
    sigma = SOFTNESS * across
    soft = [cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for part in hard]
    shares = np.stack(
        [cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in soft]
    )
    shares /= shares.sum(0)
    shares.setflags(write=False)
    return shares


def region_labels(template: str, size: int) -> np.ndarray:
    """The likeliest region of each pixel, as its place in REGIONS: uint8 (size, size)."""
    return region_shares(template, size).argmax(0).astype(np.uint8)
