"""A face's square in a photo: what lies under it, aligned, and the way back to the photo.

Coordinates run from edge to edge: the first pixel covers [0, 1), its centre lies at 0.5. So the
windows of two networks of different sizes cover the same part of the photo.
"""

import math
from collections.abc import Collection

import cv2
import numpy as np
from deocclude.data.faces.alignment import Points, invert, similarity, template_points
from deocclude.engines.photos.photo_window import shrink

OVERSAMPLING = 4  # the aligned square is cut out at up to this many times its size, then reduced
MARGIN = 4  # pixels around the square's footprint, so that cubic interpolation sees true pixels

# Which landmarks place a face, and how much each counts; what a face lacks is left out.
ALIGNMENTS: dict[str, dict[str, int]] = {
    "eyes": {"left_eye": 1, "right_eye": 1},
    "eyes+mouth": {"left_eye": 1, "right_eye": 1, "left_mouth": 1, "right_mouth": 1},
    "mostly eyes": {"left_eye": 10, "right_eye": 10, "left_mouth": 1, "right_mouth": 1},
}
Box = tuple[int, int, int, int]  # (top, left, bottom, right) in the photo
AUTO = "auto"  # the best of them for what is covered, see `choose_alignment`


def check_alignment(name: str) -> str:
    """Return `name` if it is an alignment, else raise ValueError that lists the valid ones."""
    if name not in ALIGNMENTS and name != AUTO:
        raise ValueError(f"alignment {name!r}: unknown; valid: {', '.join([AUTO, *ALIGNMENTS])}")
    return name


def choose_alignment(hidden: Collection[str]) -> str:
    """The alignment that moved the square least when these landmarks were covered.

    Corners of the square against those of the data set's own alignment, mean in % of its side, over
    200 aligned photographs with MediaPipe's landmarks (eyes / eyes+mouth / mostly eyes): face
    masks 3.1 / 4.9 / 3.3, scarves 2.9 / 4.5 / 3.0, sunglasses 5.8 / 4.0 / 4.6, nothing hidden
    2.9 / 2.8 / 2.2. So a guessed mouth is worse than none, two guessed eyes need the mouth.
    """
    eyes = not {"left_eye", "right_eye"}.isdisjoint(hidden)
    mouth = {"left_mouth", "right_mouth"} <= set(hidden)
    return "mostly eyes" if eyes == mouth else "eyes" if mouth else "eyes+mouth"


def alignment_matrix(
    points: Points, size: int, template: str, alignment: str = AUTO, hidden: Collection[str] = ()
) -> np.ndarray:
    """The similarity from the photo to the template's square of `size` pixels, (2, 3).

    `hidden` names the landmarks that are known to be covered; only "auto" looks at them. Raises
    ValueError for an unknown template or alignment, and when fewer than two of the alignment's
    landmarks are known.
    """
    if check_alignment(alignment) == AUTO:
        alignment = choose_alignment(hidden)
    aims, weights = template_points(template, size), ALIGNMENTS[alignment]
    names = [name for name in weights if name in points]
    if len(names) < 2:
        raise ValueError(f"points: need two of {', '.join(weights)}; found {sorted(points)}")
    repeats = [weights[name] for name in names]  # a weighted least-squares fit
    source, target = (
        np.repeat([place[name] for name in names], repeats, axis=0) for place in (points, aims)
    )
    return similarity(source, target)


def landmarks_under(mask: np.ndarray, points: Points, origin: tuple[int, int] = (0, 0)) -> set[str]:
    """Names of the points that the mask covers. Shape: mask uint8 (h, w), whose first pixel is
    the photo's pixel `origin` = (top, left)."""
    covered = set()
    for name, (x, y) in points.items():
        row, column = math.floor(y) - origin[0], math.floor(x) - origin[1]
        inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
        if inside and mask[row, column]:
            covered.add(name)
    return covered


class AlignedWindow:
    """The aligned square of one face at one network's size.

    Parameters
    ----------
    matrix : (2, 3), from the photo to the square, edge to edge.
    size : side of the square in pixels.
    shape : (height, width) of the photo.

    Attributes: `side`, the square's side in photo pixels; `box`, (top, left, bottom, right) of
    its footprint inside the photo. Raises ValueError when the square lies outside of the photo.
    """

    def __init__(self, matrix: np.ndarray, size: int, shape: tuple[int, int]) -> None:
        self.matrix, self.size, self.shape = np.asarray(matrix, np.float64), size, shape
        self.scale = math.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        self.side = size / self.scale
        self.box = self._footprint(0)
        if self.box[2] <= self.box[0] or self.box[3] <= self.box[1]:
            raise ValueError(f"face: its square lies outside of the photo of {shape} pixels")

    def _footprint(self, margin: int) -> Box:
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * self.size
        back = invert(self.matrix)
        corners = corners @ back[:, :2].T + back[:, 2]
        (left, top), (right, bottom) = corners.min(0) - margin, corners.max(0) + margin
        height, width = self.shape
        return (
            max(0, math.floor(top)),
            max(0, math.floor(left)),
            min(height, math.ceil(bottom)),
            min(width, math.ceil(right)),
        )

    def crop(self, image: np.ndarray, mask: np.ndarray | None = None):
        """What lies under the square, antialiased; beyond the photo its border pixels go on (a
        mirrored border shows segmenters a second face upside down, which they mark).

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) -> uint8 (S, S, 3), uint8 (S, S).
        An aligned pixel is hole when anything of the hole went into it; the colours of the others
        owe nothing to what the hole covers, and those inside the hole are meaningless.
        """
        times = min(OVERSAMPLING, max(1, math.ceil(1 / self.scale - 0.01)))
        reduction = min(1.0, self.scale * times)
        top, left, bottom, right = self._footprint(math.ceil(MARGIN / reduction))
        part = np.s_[top:bottom, left:right]
        image = image[part]
        hole = np.zeros(image.shape[:2], np.uint8) if mask is None else mask[part]
        matrix = self.matrix * times
        matrix[:, 2] += matrix[:, :2] @ (left, top)
        if reduction < 1:
            shape = tuple(max(1, round(n * reduction)) for n in image.shape[:2])
            factors = image.shape[1] / shape[1], image.shape[0] / shape[0]
            image, hole = shrink(image, hole, shape)
            matrix[:, :2] *= factors
        image, hole = _warp_known(image, hole, matrix, times * self.size)
        return shrink(image, hole, (self.size, self.size)) if times > 1 else (image, hole)

    def spread(self, values: np.ndarray, box: Box) -> np.ndarray:
        """Values of the aligned square at the photo's pixels in `box`, interpolated smoothly.

        Shape: float32 (S, S) or (S, S, C) -> float32 (h, w) or (h, w, C), box (top, left, bottom,
        right). Outside of the square its border goes on; see `inside`.
        """
        matrix = self.matrix.copy()
        if self.scale > 1:  # the photo is coarser: average before sampling
            side = max(1, round(self.size / self.scale))
            values = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
            matrix *= side / self.size
        top, left, bottom, right = box
        matrix[:, 2] += matrix[:, :2] @ (left, top)
        return cv2.warpAffine(
            values,
            _centres(matrix),
            (right - left, bottom - top),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def depth(self, box: Box) -> np.ndarray:
        """How far the photo's pixels in `box` lie inside the square, in photo pixels; outside of
        it below zero. float32 (h, w)."""
        top, left, bottom, right = box
        rows = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(left, right, dtype=np.float32)[None] + 0.5
        nearest = None
        for a, b, c in self.matrix:
            place = np.float32(a) * columns + np.float32(b) * rows + np.float32(c)
            gap = np.minimum(place, self.size - place)
            nearest = gap if nearest is None else np.minimum(nearest, gap)
        return nearest / np.float32(self.scale)


def _warp_known(image: np.ndarray, hole: np.ndarray, matrix: np.ndarray, side: int):
    """Cubic interpolation of the known pixels, linear beside the hole; hole where even that would
    reach into it."""

    def warp(values: np.ndarray, method: int) -> np.ndarray:
        return cv2.warpAffine(
            values, _centres(matrix), (side, side), flags=method, borderMode=cv2.BORDER_REPLICATE
        )

    if not hole.any():
        return warp(image, cv2.INTER_CUBIC), np.zeros((side, side), np.uint8)
    visible = image * (1 - hole)[..., None]
    covered = (warp(hole.astype(np.float32), cv2.INTER_LINEAR) > 0).astype(np.uint8)
    near = cv2.dilate(hole, np.ones((3, 3), np.uint8)).astype(np.float32)
    near = warp(near, cv2.INTER_LINEAR) > 0
    warped = warp(visible, cv2.INTER_CUBIC)
    warped[near] = warp(visible, cv2.INTER_LINEAR)[near]
    return warped, covered


def _centres(matrix: np.ndarray) -> np.ndarray:
    """The same map between pixel centres at whole numbers, as OpenCV counts."""
    shift = matrix[:, :2] @ (0.5, 0.5) + matrix[:, 2] - 0.5
    return np.column_stack([matrix[:, :2], shift])
