"""Faces in a photo and where their features are: MediaPipe, or OpenCV where it is missing."""

from pathlib import Path

import cv2
import numpy as np
from deocclude.engines.photos.face import Face, is_turned, whole_picture
from deocclude.engines.photos.haar_faces import HaarFaces, has_cascades
from deocclude.engines.photos.landmarker import LandmarkerError, landmarker_file
from deocclude.engines.photos.mediapipe_faces import SURE, MediaPipeFaces
from deocclude.engines.photos.restoration import NO_FACE

__all__ = ["KINDS", "Face", "FaceDetector"]

KINDS = ("mediapipe", "haar", "whole")
MOST_FACES = 64
FINDERS = KINDS[:2]  # they look for faces; "whole" takes the picture for one
UNSURE_FACE = "MediaPipe found a face only with low confidence"  # how that notice begins
INSTALL = "pip install mediapipe"


class FaceDetector:
    """Finds faces by the first of `kinds` that finds any, and says which one that was.

    Where no face is found there is none: a network that is shown something else draws a face there.
    Only with "whole" among `kinds` the picture's centred square is taken for one aligned face
    then. OpenCV's cascade, which takes much for a face, is asked only where there is no MediaPipe.

    Parameters
    ----------
    landmarker : MediaPipe's model file; None: the cached one, downloaded once.
    max_faces : the largest ones are kept; a notice says that there may be more.
    kinds : some of KINDS, asked in this order.
    template : how "whole" takes the picture's centred square to be aligned.
    small_faces : take the time for a photo: look for faces below a tenth of the picture too, and
        weigh which way round they stand, at about 0.1 s.

    Raises FileNotFoundError or LandmarkerError for a given `landmarker` that is not the model.
    """

    def __init__(
        self,
        landmarker: str | Path | None = None,
        max_faces: int = MOST_FACES,
        kinds: tuple[str, ...] = FINDERS,
        template: str = "ffhq",
        small_faces: bool = True,
    ) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise ValueError(f"kinds: unknown {unknown}; valid: {', '.join(KINDS)}")
        if max_faces < 1:
            raise ValueError(f"max_faces: must be at least 1, found {max_faces}")
        self.max_faces, self.kinds, self.template = max_faces, kinds, template
        self.small_faces = small_faces
        if landmarker is not None and "mediapipe" in kinds:
            landmarker = landmarker_file(landmarker)
        self.landmarker = landmarker
        self._mediapipe: MediaPipeFaces | None = None
        self._haar: HaarFaces | None = None
        self._missing: str | None = None  # why there is no MediaPipe

    def detect(self, image: np.ndarray) -> tuple[list[Face], list[str]]:
        """Faces of a photo uint8 (H, W, 3), the largest first, and what to tell the user."""
        notices: list[str] = []
        for kind in self.kinds:
            if kind == "haar" and self._mediapipe is not None:
                continue
            faces = getattr(self, f"_by_{kind}")(image, notices)
            if len(faces) == self.max_faces > 1:
                notices.append(f"only the {self.max_faces} largest faces are looked at")
            if faces:
                return faces, notices
        return [], [*notices, NO_FACE]

    def close(self) -> None:
        """Let go of the native library; the next `detect` opens it anew."""
        if self._mediapipe is not None:
            self._mediapipe.close()
            self._mediapipe = None

    def __enter__(self) -> "FaceDetector":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _by_mediapipe(self, image: np.ndarray, notices: list[str]) -> list[Face]:
        if self._mediapipe is None and self._missing is None:
            try:
                self._mediapipe = MediaPipeFaces(self.landmarker, self.max_faces, self.small_faces)
            except ImportError as error:
                self._missing = f"MediaPipe is not installed ({error}); get it with `{INSTALL}`"
            except LandmarkerError as error:
                self._missing = f"MediaPipe is not used: {error}"
            if self._missing:
                notices.append(self._missing)
        if self._mediapipe is None:
            return []
        faces = self._mediapipe.detect(image)
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
        self._haar = self._haar or HaarFaces(self.max_faces)
        faces = self._haar.detect(image)
        if faces:
            notices.append(
                f"{len(faces)} face{'s' * (len(faces) > 1)} found by OpenCV's Haar cascade, not "
                "by MediaPipe: placed less exactly, turned or covered faces are overlooked"
            )
        return faces

    def _by_whole(self, image: np.ndarray, notices: list[str]) -> list[Face]:
        notices.append(f"{NO_FACE}: the picture's centred square is taken for one aligned face")
        return [whole_picture(image.shape[:2], self.template)]
