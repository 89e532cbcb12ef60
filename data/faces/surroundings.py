"""A face in front of another picture's surroundings: who is recognised then, tells what by."""

from functools import lru_cache

import cv2
import numpy as np

from deocclude.data.faces.alignment import Points, template_points

SOFTNESS = 0.02  # of the side: deviation of the Gaussian that blends face and surroundings


def swap_surroundings(
    face: np.ndarray, other: np.ndarray, template: str, points: Points | None = None
) -> np.ndarray:
    """`face` within an ellipse around its features, `other` outside; uint8 (S, S, 3), as they are.

    Args:
        template: where the features lie when there are no `points`; see `data.faces.alignment`.
        points: where they lie, in px.

    ValueError when the two pictures differ in size.
    """
    if face.shape != other.shape:
        raise ValueError(f"other: must have the face's shape {face.shape}, found {other.shape}")
    size = face.shape[0]
    inside = _template_ellipse(template, size) if points is None else _ellipse(points, size)
    return np.rint(face * inside + other * (1 - inside)).astype(np.uint8)


@lru_cache(maxsize=8)
def _template_ellipse(template: str, size: int) -> np.ndarray:
    return _ellipse(template_points(template, size), size)


def _ellipse(points: Points, size: int) -> np.ndarray:
    """Weight of the face, float32 (S, S, 1): brow to chin and cheek to cheek, without hair."""
    left, right = np.array(points["left_eye"]), np.array(points["right_eye"])
    chin, eyes = np.array(points["chin"]), (left + right) / 2
    centre = eyes + 0.27 * (chin - eyes)
    axes = 1.1 * np.linalg.norm(right - left), 0.8 * np.linalg.norm(chin - eyes)
    turn = float(np.degrees(np.arctan2(*(right - left)[::-1])))
    weight = np.zeros((size, size), np.float32)
    box = (tuple(float(x) for x in centre), tuple(2 * float(x) for x in axes), turn)
    cv2.ellipse(weight, box, 1.0, -1)
    return cv2.GaussianBlur(weight, (0, 0), max(0.5, SOFTNESS * size))[..., None]
