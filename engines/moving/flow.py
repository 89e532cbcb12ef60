"""How faces move from one frame to the next, told from the picture alone: cheaper than finding them
again, and calmer."""

import cv2
import numpy as np

from deocclude.engines.photos.face import Face, FaceBox

LONGEST = 480  # pixels of the picture's longer side in which movement is looked for
POINTS, FEWEST = 80, 10  # corners in a face that are followed, and how many must agree
BACK = 1.0  # pixels: a corner followed there and back again that lands further away is lost
AGREE = 1.5  # pixels: corners that move otherwise than the face by more are not of the face
BESIDE = np.ones((21, 21), np.uint8)  # the window that is compared: none may see what covers a face
SHARE = 0.5  # of a face's corners: fewer that agree say nothing


class Flow:
    """Follows faces from the last frame into this one.

    Corners of what is bare inside a face's box are followed by pyramidal Lucas-Kanade, there and
    back, and a similarity is fitted to those that agree (RANSAC).
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the last frame: what comes next does not follow it."""
        self._last = None

    def follow(
        self, frame: np.ndarray, boxes: list[FaceBox], covered: np.ndarray | None = None
    ) -> list[np.ndarray | None]:
        """For each face of the last frame the similarity (2, 3) that takes its pixels to those of
        this one; None where it cannot be told. `covered`: where something hid the faces in the last
        frame; that moves as it likes. Shape: frame uint8 (H, W, 3), covered uint8 (H, W) {0, 1}."""
        scale = min(1.0, LONGEST / max(frame.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in frame.shape[1::-1])
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        last, self._last = self._last, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        if last is None or last.shape != self._last.shape:
            return [None] * len(boxes)
        bare = np.ones_like(last)
        if covered is not None and covered.shape == frame.shape[:2]:
            bare -= cv2.resize(covered, size, interpolation=cv2.INTER_NEAREST)
            bare = cv2.erode(bare, BESIDE)
        return [self._move(last, self._last, bare, box, scale) for box in boxes]

    @staticmethod
    def _move(
        last: np.ndarray, now: np.ndarray, bare: np.ndarray, box: FaceBox, scale: float
    ) -> np.ndarray | None:
        left, top, right, bottom = _inside(box, scale, last.shape)
        part = last[top:bottom, left:right]
        if min(part.shape) < 8:
            return None
        apart = max(2.0, min(part.shape) / 14)
        allowed = bare[top:bottom, left:right]
        corners = cv2.goodFeaturesToTrack(part, POINTS, 0.01, apart, mask=allowed)
        if corners is None or len(corners) < FEWEST:
            return None
        corners = corners + np.array([left, top], np.float32)
        there, seen, _ = cv2.calcOpticalFlowPyrLK(last, now, corners, None)  # type: ignore
        back, seen_too, _ = cv2.calcOpticalFlowPyrLK(now, last, there, None)  # type: ignore
        missed = np.linalg.norm(back - corners, axis=2)[:, 0]
        kept = (seen[:, 0] > 0) & (seen_too[:, 0] > 0) & (missed < BACK)
        if kept.sum() < FEWEST:
            return None
        centres = (corners[kept, 0] + 0.5) / scale, (there[kept, 0] + 0.5) / scale
        move, agree = cv2.estimateAffinePartial2D(
            *centres, method=cv2.RANSAC, ransacReprojThreshold=AGREE / scale
        )
        if move is None or agree.sum() < max(FEWEST, SHARE * len(corners)):
            return None
        return move


def moved(face: Face, move: np.ndarray) -> Face:
    """The face where a similarity (2, 3) takes it; its box keeps its proportions."""
    points = {
        name: (float(x), float(y))
        for name, point in face.points.items()
        for x, y in [move[:, :2] @ point + move[:, 2]]
    }
    left, top, width, height = face.box
    centre = move[:, :2] @ (left + width / 2, top + height / 2) + move[:, 2]
    grown = float(np.sqrt(abs(np.linalg.det(move[:, :2]))))
    width, height = width * grown, height * grown
    x, y = centre.tolist()
    return face._replace(box=(x - width / 2, y - height / 2, width, height), points=points)


def _inside(box: FaceBox, scale: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A box of the photo as (left, top, right, bottom) in the reduced picture, inside of it."""
    left, top, width, height = (scale * value for value in box)
    return (
        max(0, round(left)), max(0, round(top)),
        min(shape[1], round(left + width)), min(shape[0], round(top + height)),
    )  # fmt: skip
