"""One face of a photo, and which of several that overlap to keep."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from deocclude.data.faces.alignment import Points, template_points

FaceBox = tuple[float, float, float, float]
SAME_FACE = 0.4  # two boxes that share this much of the smaller one are one face


class Face(NamedTuple):
    """One face, in pixels of the photo counted from edge to edge.

    box : (left, top, width, height).
    points : (x, y) of some of data.faces.alignment.LANDMARKS; left is the picture's left
        when the face stands upright.
    source : "mediapipe", "haar", "whole" or "given".
    score : in [0, 1]: the confidence asked of MediaPipe; for "haar" what the cascade's own weight
        comes to; 0 for "whole".
    """

    box: FaceBox
    points: Points
    source: str
    score: float = 1.0


def whole_picture(shape: tuple[int, int], template: str = "ffhq") -> Face:
    """The centred square of a picture of (height, width) as if it were one aligned face."""
    height, width = shape
    side = min(shape)
    left, top = (width - side) / 2, (height - side) / 2
    points = {k: (x + left, y + top) for k, (x, y) in template_points(template, side).items()}
    return Face((left, top, side, side), points, "whole", 0.0)


def is_turned(face: Face) -> bool:
    """Whether the face lies on its side or upside down: the line of its eyes says so."""
    (x, y), (right, low) = face.points["left_eye"], face.points["right_eye"]
    return right - x < 0.5 * math.hypot(right - x, low - y)  # by more than 60 degrees


def shared_area(a: FaceBox, b: FaceBox) -> float:
    """Area that two boxes have in common."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def box_overlap(a: FaceBox, b: FaceBox) -> float:
    """Intersection over union of two boxes."""
    shared = shared_area(a, b)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared) if shared else 0.0


def add_new(known: list[Face], found: Iterable[Face]) -> list[Face]:
    """`known`, and those of `found` that are no part of a face already there, largest first."""
    kept = list(known)
    for face in sorted(found, key=lambda face: -face.box[2] * face.box[3]):
        area = face.box[2] * face.box[3]
        if all(
            shared_area(face.box, old.box) < SAME_FACE * min(area, old.box[2] * old.box[3])
            for old in kept
        ):
            kept.append(face)
    return kept
