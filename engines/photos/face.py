"""One face of a photo, and which of several to keep."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from deocclude.data.faces.alignment import Points, template_points

FaceBox = tuple[float, float, float, float]
# Where the landmarks of an upright face lie in its box, as fractions: MediaPipe's medians over 100
# aligned photographs.
IN_BOX: Points = {
    "left_eye": (0.272, 0.3), "right_eye": (0.732, 0.3), "nose_tip": (0.502, 0.552),
    "left_mouth": (0.302, 0.696), "right_mouth": (0.71, 0.696), "chin": (0.502, 1.0),
}  # fmt: skip
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


class Faces(list[Face]):
    """Faces of a photo, the largest first; `notices`: what to know about them."""

    def __init__(self, faces: Iterable[Face] = (), notices: Iterable[str] = ()) -> None:
        super().__init__(faces)
        self.notices = list(notices)


class FaceChoice(NamedTuple):
    """Which faces of a picture are restored; by default all that are found.

    most : at most so many, the largest ones; None: all.
    least : pixels; a face whose box is shorter than that on its longer side is left out.
    boxes : drawn by hand: the only places where faces are looked for.
    """

    most: int | None = None
    least: float = 0.0
    boxes: tuple[FaceBox, ...] = ()

    def check(self) -> "FaceChoice":
        """Itself. Raises ValueError for values without a meaning, and for boxes beside the rest."""
        if self.most is not None and self.most < 1:
            raise ValueError(f"faces: must be largest or a number, 1 or more, found {self.most}")
        if not 0 <= self.least < math.inf:
            raise ValueError(f"min_face: must be 0 or more pixels, found {self.least}")
        for box in self.boxes:
            if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 1:
                found = ",".join(f"{value:g}" for value in box)
                raise ValueError(
                    f"face_box: must be left, top, width, height in pixels, the last two above 1, "
                    f"found {found}"
                )
        if self.boxes and (self.most is not None or self.least):
            raise ValueError("face_box names the faces: leave out faces and min_face")
        return self

    def pick(self, faces: list[Face]) -> tuple[list[Face], list[str]]:
        """The chosen ones, and what to tell the user of those left out."""
        large = [f for f in faces if f.source == "whole" or max(f.box[2:]) >= self.least]
        kept = sorted(large, key=lambda face: -face.box[2] * face.box[3])[: self.most]
        if len(kept) == len(faces):
            return faces, []
        reasons = []
        if small := len(faces) - len(large):
            reasons.append(f"{small} smaller than {self.least:g} pixels")
        if rest := len(large) - len(kept):
            count = f" {self.most}" if self.most != 1 else ""
            reasons.append(f"{rest} beyond the{count} largest")
        return kept, [
            f"{len(faces) - len(kept)} of {len(faces)} faces left out: " + ", ".join(reasons)
        ]


Boxes = FaceBox | Sequence[FaceBox]
Wanted = int | str | Sequence[Face] | None


def wanted(
    faces: Wanted, min_face: float, boxes: Boxes | None
) -> tuple[FaceChoice, list[Face] | None]:
    """Which faces to look for; or, where `faces` is a list of them, those instead of any others.

    Parameters as of `engines.api.restore`. ValueError, with the value, for one without a meaning.
    """
    if isinstance(faces, Sequence) and not isinstance(faces, str):
        if boxes is not None or min_face:
            raise ValueError("faces is a list of faces: leave out min_face and face_box")
        return FaceChoice(), _checked(faces)
    most = 1 if faces == "largest" else faces
    if not (most is None or (isinstance(most, int) and not isinstance(most, bool))):
        raise ValueError(
            f"faces: must be 'largest', a number, 1 or more, or a list of faces, found {faces!r}"
        )
    try:
        drawn = np.atleast_2d(np.asarray([] if boxes is None else boxes, np.float64)).tolist()
    except ValueError:
        drawn = [[]]
    several: Any = () if boxes is None else tuple(map(tuple, drawn))
    return FaceChoice(most, min_face, several).check(), None


def _checked(faces: Sequence[Face]) -> list[Face]:
    """ValueError for none, and for what is no face."""
    if not faces:
        raise ValueError("faces: the list is empty, so nothing would be restored; None means all")
    if strangers := [face for face in faces if not isinstance(face, Face)]:
        raise ValueError(f"faces: must be faces as find_faces gives them, found {strangers[0]!r}")
    return list(faces)


def place_in(box: FaceBox) -> Face:
    """An upright face that fills a box drawn by hand."""
    left, top, width, height = box
    points = {name: (left + x * width, top + y * height) for name, (x, y) in IN_BOX.items()}
    return Face(box, points, "given", 0.0)


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
