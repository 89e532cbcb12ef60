"""OpenCV's Haar cascades: the fallback for frontal faces when MediaPipe is not at hand."""

from __future__ import annotations  # the classes that OpenCV 5 lacks are named here

from pathlib import Path

import cv2
import numpy as np
from deocclude.data.faces.alignment import Points
from deocclude.engines.photos.face import Face, add_new

FACES, EYES = "haarcascade_frontalface_default.xml", "haarcascade_eye.xml"
LONGEST = 1024  # pixels; larger photos are reduced
SMALLEST = 24  # pixels, what the cascade was trained at
# Where the eyes lie in the cascade's box, as fractions: medians over 198 aligned photographs.
IN_BOX: Points = {"left_eye": (0.316, 0.388), "right_eye": (0.684, 0.388)}
NEAR = 0.14  # of the box: how far a detected eye may lie from there


def has_cascades() -> bool:
    """Whether this OpenCV has them: 5.x has left their files out."""
    folder = Path(cv2.data.haarcascades)
    return hasattr(cv2, "CascadeClassifier") and all(
        (folder / name).is_file() for name in (FACES, EYES)
    )


class HaarFaces:
    """Frontal faces with the eyes where the eye cascade finds them, else where they usually are."""

    def __init__(self, max_faces: int = 64) -> None:
        folder = Path(cv2.data.haarcascades)
        self.faces, self.eyes = (_cascade(folder / name) for name in (FACES, EYES))
        self.max_faces = max_faces

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of a photo uint8 (H, W, 3), the largest first."""
        scale = min(1.0, LONGEST / max(image.shape[:2]))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        boxes, _, weights = self.faces.detectMultiScale3(
            cv2.equalizeHist(grey),
            scaleFactor=1.08,
            minNeighbors=5,
            minSize=(SMALLEST, SMALLEST),
            outputRejectLevels=True,
        )
        found = []
        for box, weight in zip(boxes, weights, strict=True):
            left, top, width, height = (float(value) / scale for value in box)
            points = {k: (x / scale, y / scale) for k, (x, y) in self._eyes(grey, box).items()}
            score = float(1 / (1 + np.exp(-weight / 3)))
            found.append(Face((left, top, width, height), points, "haar", score))
        return add_new([], found)[: self.max_faces]

    def _eyes(self, grey: np.ndarray, box: np.ndarray) -> Points:
        left, top, width, height = (int(value) for value in box)
        upper = grey[top : top + round(0.6 * height), left : left + width]
        points = {k: (left + x * width, top + y * height) for k, (x, y) in IN_BOX.items()}
        found = self.eyes.detectMultiScale(upper, 1.05, 4, minSize=(max(4, width // 8),) * 2)
        centres = [(left + x + w / 2, top + y + h / 2) for x, y, w, h in found]
        seen = {}
        for name, place in points.items():
            near = min(centres, key=lambda c: np.hypot(*np.subtract(c, place)), default=None)
            if near is not None and np.hypot(*np.subtract(near, place)) < NEAR * width:
                seen[name] = near
        return seen if len(seen) == 2 else points


def _cascade(path: Path) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise FileNotFoundError(f"{path}: OpenCV's cascade is missing; reinstall OpenCV")
    return cascade
