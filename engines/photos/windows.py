"""A face's square in a photo: what lies under it, aligned, and the way back to the photo.

Coordinates run from edge to edge: the first pixel covers [0, 1), its centre lies at 0.5. So the
windows of two networks of different sizes cover the same part of the photo.
"""

import math
from collections.abc import Collection

import cv2
import numpy as np
from PIL import Image

from deocclude.data.contract import mask_warning
from deocclude.data.faces.alignment import Points, invert, similarity, template_points
from deocclude.engines.inference.hole_mask import Box

OVERSAMPLING = 4  # the aligned square is cut out at up to this many times its size, then reduced
MARGIN = 4  # pixels around the square's footprint, so that cubic interpolation sees true pixels

# Which landmarks place a face, and how much each counts; what a face lacks is left out.
ALIGNMENTS: dict[str, dict[str, int]] = {
    "eyes": {"left_eye": 1, "right_eye": 1},
    "eyes+mouth": {"left_eye": 1, "right_eye": 1, "left_mouth": 1, "right_mouth": 1},
    "mostly eyes": {"left_eye": 10, "right_eye": 10, "left_mouth": 1, "right_mouth": 1},
}
AUTO = "auto"  # the best of them for what is covered, see `choose_alignment`

CONTEXT = 1 / 16  # known context kept around the hole, as a share of the photo's short side


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
    if alignment == AUTO:
        alignment = choose_alignment(hidden)
    elif alignment not in ALIGNMENTS:
        valid = ", ".join([AUTO, *ALIGNMENTS])
        raise ValueError(f"alignment {alignment!r}: unknown; valid: {valid}")
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

    def crop(
        self, image: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What lies under the square, antialiased; beyond the photo its border pixels go on (a
        mirrored border shows segmenters a second face upside down, which they mark).

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) -> uint8 (S, S, 3), uint8 (S, S).
        An aligned pixel is hole when anything of the hole went into it; the colours of the others
        owe nothing to what the hole covers, and those inside the hole are meaningless.
        """
        times = min(OVERSAMPLING, max(1, math.ceil(1 / self.scale - 0.01)))
        part, matrix, reduction = self._under(times)
        image = image[part]
        hole = np.zeros(image.shape[:2], np.uint8) if mask is None else mask[part]
        if reduction < 1:
            shape = tuple(max(1, round(n * reduction)) for n in image.shape[:2])
            factors = image.shape[1] / shape[1], image.shape[0] / shape[0]
            image, hole = shrink(image, hole, shape)
            matrix[:, :2] *= factors
        image, hole = _warp_known(image, hole, matrix, times * self.size)
        return shrink(image, hole, (self.size, self.size)) if times > 1 else (image, hole)

    def glance(self, image: np.ndarray) -> np.ndarray:
        """As `crop` without a mask, in a seventh of the time, for what moves: OpenCV's averages
        take the place of Pillow's bicubic filter (45 to 49 dB apart on four frames).

        Shape: image uint8 (H, W, 3) -> uint8 (S, S, 3).
        """
        times = 1 if self.scale >= 1 else 2
        part, matrix, reduction = self._under(times)
        image = image[part]
        if reduction < 1:
            size = tuple(max(1, round(n * reduction)) for n in image.shape[1::-1])
            matrix[:, :2] *= np.divide(image.shape[1::-1], size)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        view = cv2.warpAffine(
            image,
            _centres(matrix),
            (times * self.size,) * 2,
            flags=cv2.INTER_LINEAR if times > 1 else cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return cv2.resize(view, (self.size,) * 2, interpolation=cv2.INTER_AREA)

    def _under(self, times: int) -> tuple[tuple[slice, slice], np.ndarray, float]:
        """What of the photo goes into the square of `times` its size, the map from there, and the
        share to which that part may be reduced before."""
        reduction = min(1.0, self.scale * times)
        top, left, bottom, right = self._footprint(math.ceil(MARGIN / reduction))
        matrix = self.matrix * times
        matrix[:, 2] += matrix[:, :2] @ (left, top)
        return np.s_[top:bottom, left:right], matrix, reduction

    def beyond(self) -> np.ndarray:
        """Which of the square's pixels show nothing of the photo: uint8 {0, 1} (S, S)."""
        centres = np.arange(self.size) + 0.5
        back = invert(self.matrix)
        x, y = (a * centres[None] + b * centres[:, None] + c for a, b, c in back)
        height, width = self.shape
        return ((x < 0) | (y < 0) | (x > width) | (y > height)).astype(np.uint8)

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


def _warp_known(
    image: np.ndarray, hole: np.ndarray, matrix: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
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
    wide = cv2.dilate(hole, np.ones((3, 3), np.uint8)).astype(np.float32)
    near = warp(wide, cv2.INTER_LINEAR) > 0
    warped = warp(visible, cv2.INTER_CUBIC)
    warped[near] = warp(visible, cv2.INTER_LINEAR)[near]
    return warped, covered


def _centres(matrix: np.ndarray) -> np.ndarray:
    """The same map between pixel centres at whole numbers, as OpenCV counts."""
    shift = matrix[:, :2] @ (0.5, 0.5) + matrix[:, 2] - 0.5
    return np.column_stack([matrix[:, :2], shift])


def choose_window(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part of a photo that the inpainter is shown.

    The square of the short side's length that is nearest to the centre and holds the hole with a
    margin; the whole photo when there is none.
    """
    height, width = mask.shape
    side = min(height, width)
    margin = round(side * CONTEXT)
    axis = int(width > height)  # the long side
    length = mask.shape[axis]
    marked = np.flatnonzero(mask.any(axis=1 - axis))
    low, high = max(0, marked[0] - margin), min(length, marked[-1] + 1 + margin)
    if high - low > side:
        return 0, 0, height, width
    start = int(min(max((length - side) // 2, high - side), low))
    return (0, start, side, side) if axis else (start, 0, side, side)


def shrink(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Photo and mask at the inpainter's resolution, without a trace of what the hole covers.

    Shape: uint8 (H, W, 3) and (H, W) -> uint8 (*shape, 3) and (*shape). A small pixel is hole as
    soon as it overlaps one hole pixel. The others are resized like the training images (bicubic,
    antialiased); where that filter would reach into the hole they are the mean of the known
    pixels alone, under a triangle filter, so that neither the occluder nor a fill colour bleeds
    into them. Colours inside the hole are meaningless: hide them.
    """
    if not mask.any():
        return resize(image, shape, Image.Resampling.BICUBIC), np.zeros(shape, np.uint8)
    hole = _cover(_cover(mask, shape[0], axis=0), shape[1], axis=1)
    known = (1 - mask).astype(np.float32)
    visible = image * (1 - mask)[..., None]
    small = resize(visible, shape, Image.Resampling.BICUBIC)
    reached = np.abs(resize(known, shape, Image.Resampling.BICUBIC) - 1) > 1e-4
    reached &= hole == 0
    weight = resize(known, shape, Image.Resampling.BILINEAR)[reached]
    for channel in range(3):
        sums = resize(visible[..., channel].astype(np.float32), shape, Image.Resampling.BILINEAR)
        small[reached, channel] = np.rint((sums[reached] / weight).clip(0, 255))
    return small, hole


def shrink_to_square(
    image: np.ndarray, mask: np.ndarray | None, size: int
) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """As `shrink`, to a square of `size` without a change of proportions, mirrored where the
    picture is shorter; and the slices of the square that hold the picture itself. Without a mask
    nothing is hole."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8) if mask is None else mask
    scale = size / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    small, hole = shrink(image, mask, shape)
    before = [(size - side) // 2 for side in shape]
    padding = [(b, size - side - b) for b, side in zip(before, shape, strict=True)]
    square = np.pad(small, [*padding, (0, 0)], mode="symmetric")
    rows, columns = (slice(b, b + side) for b, side in zip(before, shape, strict=True))
    return square, np.pad(hole, padding, mode="symmetric"), (rows, columns)


def paste_enlarged(photo: np.ndarray, picture: np.ndarray, mask: np.ndarray) -> None:
    """Enlarge a float32 picture (3, h, w) in [0, 1] to the photo, uint8 (H, W, 3), by bicubic
    interpolation and put it there in place where `mask` is 1."""
    redrawn = mask.astype(bool)
    for channel, values in enumerate(picture):
        large = resize(values, mask.shape, Image.Resampling.BICUBIC)
        photo[redrawn, channel] = np.rint(large[redrawn].clip(0, 1) * 255)


def put_enlarged(target: np.ndarray, values: np.ndarray, mask: np.ndarray) -> None:
    """Enlarge float32 values (h, w) to `target`, float32 (H, W), bilinearly, so that they stay in
    their range, and put them there in place where `mask` is 1."""
    redrawn = mask.astype(bool)
    target[redrawn] = resize(values, mask.shape, Image.Resampling.BILINEAR)[redrawn]


def _cover(mask: np.ndarray, count: int, axis: int) -> np.ndarray:
    """The maximum of `mask` over the exact extent of each of `count` equal intervals."""
    length = mask.shape[axis]
    index = np.arange(count)
    starts, ends = index * length // count, -(-(index + 1) * length // count)
    padded = np.concatenate([mask, np.zeros_like(mask.take([0], axis))], axis)
    pairs = np.stack([starts, ends], 1).ravel()
    return np.maximum.reduceat(padded, pairs, axis=axis).take(2 * index, axis)


def resize(array: np.ndarray, shape: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Antialiased resize from edge to edge, uint8 (H, W, 3) or float32 (H, W)."""
    resized = Image.fromarray(np.ascontiguousarray(array)).resize(shape[::-1], method)
    return np.array(resized)


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the photo is uint8 (H, W, 3) and holds a pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image: must be uint8 (H, W, 3), found {image.dtype} {image.shape}")


def check_photo(image: np.ndarray, mask: np.ndarray) -> None:
    """Raise ValueError unless photo and mask fit each other and there is something to redraw."""
    check_image(image)
    if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
        raise ValueError(
            f"mask: must be uint8 {image.shape[:2]} like the photo, found {mask.dtype} {mask.shape}"
        )
    if mask.size == 0 or mask.max() > 1:
        raise ValueError("mask: must hold 0 (known) and 1 (hole) only, and at least one pixel")
    ratio = float(mask.mean())
    if ratio in (0, 1):
        raise ValueError(f"{mask_warning(ratio)} (hole ratio {ratio:.2f})")
