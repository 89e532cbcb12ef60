"""Faces in a photo and where their features are: MediaPipe, or OpenCV where it is missing."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deocclude.data.faces.alignment import Points
from deocclude.engines.photos.face import (
    Face,
    FaceChoice,
    add_new,
    is_turned,
    place_in,
    shared_area,
    whole_picture,
)
from deocclude.engines.photos.landmarker import LandmarkerError, landmarker_file
from deocclude.engines.photos.mediapipe_faces import (
    SURE,
    MediaPipeFaces,
    smallest_seen,
)
from deocclude.engines.photos.restoration import NO_FACE

if TYPE_CHECKING:
    import cv2.data  # which cv2 loads itself

__all__ = ["KINDS", "Face", "FaceDetector"]

KINDS = ("mediapipe", "haar", "whole")
SAID = 64  # pixels: that smaller faces than this are overlooked is not said but documented
FINDERS = KINDS[:2]  # they look for faces; "whole" takes the picture for one
UNSURE_FACE = "MediaPipe found a face only with low confidence"  # how that notice begins
NOT_IN_BOX = "no face is seen in the box"  # how that notice begins
INSTALL = "pip install mediapipe"

FACES, EYES = "haarcascade_frontalface_default.xml", "haarcascade_eye.xml"
MOST_PIXELS = 1024 * 768  # larger photos are reduced, whatever their proportions
SMALLEST = 24  # pixels, what the cascade was trained at
# Where the eyes lie in the cascade's box, as fractions: medians over 198 aligned photographs.
IN_BOX: Points = {"left_eye": (0.316, 0.388), "right_eye": (0.684, 0.388)}
NEAR = 0.14  # of the box: how far a detected eye may lie from there


@dataclass
class Native:
    """The libraries that a detector has opened."""

    mediapipe: MediaPipeFaces | None = None
    haar: "HaarFaces | None" = None


class FaceDetector:
    """Finds faces by the first of `kinds` that finds any, and says which one that was.

    Where no face is found there is none: a network that is shown something else draws a face there.
    Only with "whole" among `kinds` the picture's centred square is taken for one aligned face
    then. OpenCV's cascade, which takes much for a face, is asked only where there is no MediaPipe.

    Parameters
    ----------
    landmarker : MediaPipe's model file; None: the cached one, downloaded once.
    kinds : some of KINDS, asked in this order.
    template : how "whole" takes the picture's centred square to be aligned.
    small_faces : take the time for a photo: look for faces below a tenth of the picture too, and
        weigh which way round they stand, at about 0.1 s.
    choice : which faces are wanted: those in its boxes are looked for there alone, those that are
        too small not at all; which of the rest count `Deoccluder.restore` picks.

    One serves one thread at a time, with its copies (`copy.copy`, for another `choice`), which
    share what is opened; `anew` is for further threads. Raises FileNotFoundError or
    LandmarkerError for a given `landmarker` that is not the model.
    """

    def __init__(
        self,
        landmarker: str | PathLike[str] | None = None,
        kinds: tuple[str, ...] = FINDERS,
        template: str = "ffhq",
        small_faces: bool = True,
        choice: FaceChoice | None = None,
    ) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise ValueError(f"kinds: unknown {unknown}; valid: {', '.join(KINDS)}")
        self.kinds, self.template = kinds, template
        self.small_faces, self.choice = small_faces, (choice or FaceChoice()).check()
        if landmarker is not None and "mediapipe" in kinds:
            landmarker = landmarker_file(landmarker)
        self.landmarker = landmarker
        self._native = Native()
        self._missing: str | None = None  # why there is no MediaPipe

    def detect(self, image: np.ndarray) -> tuple[list[Face], list[str]]:
        """Faces of a photo uint8 (H, W, 3), the largest first, and what to tell the user."""
        notices: list[str] = []
        if self.choice.boxes:
            return self._in_boxes(image, notices), notices
        for kind in self.kinds:
            if kind == "haar" and self._native.mediapipe is not None:
                continue
            faces = getattr(self, f"_by_{kind}")(image, notices)
            if faces:
                return faces, notices
        return [], [*notices, NO_FACE]

    def anew(self) -> "FaceDetector":
        """One of the same settings that shares nothing with this one."""
        other = copy.copy(self)
        other._native, other._missing = Native(), None
        return other

    def close(self) -> None:
        """Let go of the native library; the next `detect` opens it anew."""
        if self._native.mediapipe is not None:
            self._native.mediapipe.close()
            self._native.mediapipe = None

    def __enter__(self) -> "FaceDetector":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _in_boxes(self, image: np.ndarray, notices: list[str]) -> list[Face]:
        """The face in each box drawn by hand; where none is seen one is placed there."""
        height, width = image.shape[:2]
        found = []
        for box in self.choice.boxes:
            text = ",".join(f"{value:g}" for value in box)
            if not shared_area(box, (0, 0, width, height)):
                raise ValueError(f"face box {text}: lies outside of the {width} x {height} pixels")
            mediapipe = self._opened(notices) if "mediapipe" in self.kinds else None
            face = mediapipe.detect_in(image, box) if mediapipe is not None else None
            if face is None:
                notices.append(
                    f"{NOT_IN_BOX} {text}: an upright one that fills it is assumed, "
                    "check the result"
                )
            elif face.score < SURE:
                notices.append(f"{UNSURE_FACE}: check the result")
            found.append(face or place_in(box))
        return add_new([], found)

    def _opened(self, notices: list[str]) -> MediaPipeFaces | None:
        """MediaPipe, opened at the first call; None, with a notice at the first, without it."""
        if self._native.mediapipe is None and self._missing is None:
            try:
                self._native.mediapipe = MediaPipeFaces(self.landmarker, self.small_faces)
            except ImportError as error:
                self._missing = f"MediaPipe is not installed ({error}); get it with `{INSTALL}`"
            except LandmarkerError as error:
                self._missing = f"MediaPipe is not used: {error}"
            if self._missing:
                notices.append(self._missing)
        return self._native.mediapipe

    def _by_mediapipe(self, image: np.ndarray, notices: list[str]) -> list[Face]:
        mediapipe = self._opened(notices)
        if mediapipe is None:
            return []
        faces = mediapipe.detect(image, self.choice.least)
        if self.small_faces:
            self._say_smallest(image, smallest_seen(image.shape[:2]), notices)
        if any(face.score < SURE for face in faces):
            notices.append(f"{UNSURE_FACE}: check the result")
        if turned := sum(map(is_turned, faces)):
            notices.append(
                f"faces on their side or upside down: {turned} of {len(faces)}; check the result, "
                "turning the photo upright first is surer"
            )
        return faces

    def _by_haar(self, image: np.ndarray, notices: list[str]) -> list[Face]:
        if not has_cascades():
            notices.append(
                f"OpenCV {cv2.__version__} has no Haar cascades: without MediaPipe no face can be "
                "found"
            )
            return []
        self._native.haar = self._native.haar or HaarFaces()
        faces = self._native.haar.detect(image)
        self._say_smallest(image, SMALLEST / reduction(image.shape[:2]), notices)
        if faces:
            notices.append(
                f"{len(faces)} face{'s' * (len(faces) > 1)} found by OpenCV's Haar cascade, not "
                "by MediaPipe: placed less exactly, turned or covered faces are overlooked"
            )
        return faces

    def _say_smallest(self, image: np.ndarray, least: float, notices: list[str]) -> None:
        if least > max(SAID, self.choice.least):
            height, width = image.shape[:2]
            notices.append(
                f"faces below {least:.0f} pixels are not looked for in a picture of {width} x "
                f"{height}: cut it into parts to find them"
            )

    def _by_whole(self, image: np.ndarray, notices: list[str]) -> list[Face]:
        notices.append(f"{NO_FACE}: the picture's centred square is taken for one aligned face")
        return [whole_picture(image.shape[:2], self.template)]


def has_cascades() -> bool:
    """Whether this OpenCV has them: 5.x has left their files out."""
    folder = Path(cv2.data.haarcascades)
    return hasattr(cv2, "CascadeClassifier") and all(
        (folder / name).is_file() for name in (FACES, EYES)
    )


def reduction(shape: tuple[int, int]) -> float:
    """The scale at which a photo of (height, width) is shown to the cascade."""
    return min(1.0, (MOST_PIXELS / (shape[0] * shape[1])) ** 0.5)


class HaarFaces:
    """Frontal faces with the eyes where the eye cascade finds them, else where they usually are."""

    def __init__(self) -> None:
        folder = Path(cv2.data.haarcascades)
        self.faces, self.eyes = (_cascade(folder / name) for name in (FACES, EYES))

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of a photo uint8 (H, W, 3), the largest first."""
        scale = reduction(image.shape[:2])
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
        return add_new([], found)

    def _eyes(self, grey: np.ndarray, box: Sequence[int]) -> Points:
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
