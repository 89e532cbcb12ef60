"""Putting the redrawn pixels into the photo without a seam; outside of the mask nothing changes."""

import cv2
import numpy as np

BLENDS = ("matched", "feather", "poisson", "none")
# "matched": the known pixels whose colours count lie this share of the square's side away from the
# hole, beyond what a mask that is a little too small leaves standing of the occluder.
GAP = 0.02
CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
COARSEST = 6  # pixels: the relaxation starts here
SWEEP_PIXELS, FEWEST_SWEEPS, MOST_SWEEPS = 1e7, 4, 60  # fewer sweeps where pixels are many


def check_blend(blend: str) -> str:
    """Return `blend` if it is one of BLENDS, else raise ValueError."""
    if blend not in BLENDS:
        raise ValueError(f"blend {blend!r}: unknown; valid: {', '.join(BLENDS)}")
    return blend


def paste(photo: np.ndarray, redrawn: np.ndarray, mask: np.ndarray, weight: np.ndarray) -> None:
    """Blend `redrawn` into `photo` in place where `mask` is 1.

    Shape: photo uint8 (h, w, 3), redrawn float32 (h, w, 3) in [0, 1], mask uint8 (h, w) {0, 1},
    weight float32 (h, w) in [0, 1]: how much of the redrawn picture shows.
    """
    hole = mask.astype(bool)
    share = weight[hole][:, None]
    mixed = share * redrawn[hole] * 255 + (1 - share) * photo[hole]
    photo[hole] = np.rint(mixed.clip(0, 255)).astype(np.uint8)


def feather_weight(distance: np.ndarray, depth: np.ndarray, width: float) -> np.ndarray:
    """1 on the undilated mask and on the inner half of the dilation, where an inexact mask may
    still leave some of the occluder; from there it falls smoothly to 0 just beyond `width` pixels.
    Towards the edge of the face's square it falls likewise.

    Shape: distance from the undilated mask and depth inside the square, float32 (h, w), pixels.
    """
    reach = np.minimum(width + 1 - distance, np.maximum(depth, 0) + 0.5) / (width / 2 + 1)
    share = np.clip(reach, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def match_surroundings(
    photo: np.ndarray, redrawn: np.ndarray, mask: np.ndarray, known: np.ndarray
) -> np.ndarray | None:
    """The redrawn picture with the photo's colours at the edge of the mask.

    Poisson image editing (Perez et al. 2003, eq. 4) in its correction form: the redrawn gradients
    stay, and what is added is harmonic inside the mask and equals the difference of both pictures
    at the `known` pixels around it. Where the mask ends without any, at the photo's border, the
    correction runs on without a slope. (cv2.seamlessClone changes pixels around the mask too;
    undoing that would bring the seam back.)

    Shape: photo uint8 (h, w, 3), redrawn float32 (h, w, 3) in [0, 1], mask and known uint8 (h, w)
    {0, 1} -> float32 (h, w, 3) in [0, 1]; None when no pixel around the mask is known.
    """
    known = known * (1 - mask)
    if not known.any():
        return None
    difference = photo.astype(np.float32) / 255 - redrawn
    return (redrawn + _harmonic(difference, mask, known)).clip(0, 1)


def _harmonic(values: np.ndarray, mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`values` at known pixels, continued into the mask by relaxation from coarse to fine."""
    weight = known.astype(np.float32)
    height, width = mask.shape
    half = (max(1, width // 2), max(1, height // 2))
    guess = np.full_like(values, values[known > 0].mean(0))
    if min(height, width) > COARSEST:
        share = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
        holes = (cv2.resize(mask.astype(np.float32), half, interpolation=cv2.INTER_AREA) > 0) * 1
        anchors = ((share > 0) & (holes == 0)) * 1
        if anchors.any():
            sums = cv2.resize(values * weight[..., None], half, interpolation=cv2.INTER_AREA)
            coarse = sums / np.maximum(share, 1e-6)[..., None]
            coarse = _harmonic(coarse, holes.astype(np.uint8), anchors.astype(np.uint8))
            guess = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    field = np.where(known[..., None] > 0, values, guess)
    active = np.maximum(weight, mask)
    near = np.maximum(cv2.filter2D(active, -1, CROSS, borderType=cv2.BORDER_CONSTANT), 1)
    hole = mask.astype(bool)
    sweeps = int(np.clip(SWEEP_PIXELS / mask.size, FEWEST_SWEEPS, MOST_SWEEPS))
    for _ in range(sweeps):
        sums = cv2.filter2D(field * active[..., None], -1, CROSS, borderType=cv2.BORDER_CONSTANT)
        field[hole] = (sums / near[..., None])[hole]
    return field
