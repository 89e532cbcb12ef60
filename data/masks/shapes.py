"""Random holes of a wanted area: free-form strokes, blobs, rectangles and mixtures of them.

The look follows the irregular masks of Liu et al., "Image Inpainting for Irregular Holes Using
Partial Convolutions" (ECCV 2018), and the free-form strokes of Yu et al., "Free-Form Image
Inpainting with Gated Convolution" (ICCV 2019); the code and the constants are our own.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

# (low, high]
RATIO_BINS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
KINDS = ("strokes", "blobs", "rectangles", "mixed")
MIN_SIDE = 16
MAX_SHAPES = 40


class HoleArea(NamedTuple):
    """The box that holes may lie in: [left, right] x [top, bottom] in pixels, ends included.
    `anchor`: a pixel (x, y) that the next shape must begin at."""

    left: int
    top: int
    right: int
    bottom: int
    anchor: tuple[int, int] | None = None

    def start(self, rng: Generator, inset: float) -> tuple[float, float]:
        """Where a shape begins: at the anchor, else anywhere, as `random_point`."""
        return self.anchor or self.random_point(rng, inset)

    def random_point(self, rng: Generator, inset: float) -> tuple[float, float]:
        """A point at least `inset` away from the box's edge where the box is wide enough."""
        x_inset = min(inset, (self.right - self.left) / 2)
        y_inset = min(inset, (self.bottom - self.top) / 2)
        x, y = rng.random(2).tolist()
        return (
            self.left + x_inset + x * (self.right - self.left - 2 * x_inset),
            self.top + y_inset + y * (self.bottom - self.top - 2 * y_inset),
        )


def bin_of(ratio: float) -> int | None:
    """Index into RATIO_BINS of a hole ratio, None outside (0.01, 0.6]."""
    for index, (low, high) in enumerate(RATIO_BINS):
        if low < ratio <= high:
            return index
    return None


def touches_border(mask: np.ndarray) -> bool:
    """Whether any hole pixel of a mask (H, W) lies in its outermost rows or columns."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """`size` as (height, width); ValueError when a side is below MIN_SIDE."""
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"size: masks need at least {MIN_SIDE} px a side, found {size}")
    return height, width


def check_cell(bin: int) -> None:
    """ValueError unless `bin` is an index of RATIO_BINS."""
    if not 0 <= bin < len(RATIO_BINS):
        raise ValueError(f"bin: must be 0 to {len(RATIO_BINS) - 1}, found {bin}")


def generate_mask(
    size: int | tuple[int, int],
    bin: int,
    border: bool,
    rng: Generator,
    kinds: tuple[str, ...] = KINDS,
) -> np.ndarray:
    """One random mask, uint8 {0, 1}, 1 = hole, shape (height, width).

    The hole ratio lies inside `RATIO_BINS[bin]`, and the hole touches the border of the picture
    exactly when `border` says so, for every size from 16 px up. A pure function of its arguments
    and the state of `rng`. One of `kinds` is drawn for the whole mask; "mixed" draws one a shape.
    """
    height, width = height_width(size)
    check_cell(bin)
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise ValueError(f"kinds: must be some of {KINDS}, found {kinds}")
    kind = kinds[rng.integers(len(kinds))]
    low, high = RATIO_BINS[bin]
    # One pixel away from both limits: no rounding of the mean can move a mask to the next bin.
    fewest = math.floor(low * height * width) + 2
    most = math.ceil(high * height * width) - 2
    goal = int(rng.integers(fewest, most + 1))

    if border:
        box = HoleArea(0, 0, width - 1, height - 1, _border_point(height, width, rng))
    else:
        margin = 1 + int(rng.random() ** 2 * 0.06 * min(height, width))
        box = HoleArea(margin, margin, width - 1 - margin, height - 1 - margin)
    mask = _scatter(box, (height, width), kind, goal, most, rng)
    if box.anchor is not None and not touches_border(mask):
        mask[box.anchor[1], box.anchor[0]] = 1
    if cv2.countNonZero(mask) < fewest:
        _grow(mask, box, goal, rng)
    return mask


def _border_point(height: int, width: int, rng: Generator) -> tuple[int, int]:
    """A pixel (x, y) of the outermost rows and columns, uniform along their length."""
    place = int(rng.integers(2 * (height + width)))
    if place < 2 * width:
        return place % width, (height - 1) * (place // width)
    place -= 2 * width
    return (width - 1) * (place // height), place % height


def _scatter(
    box: HoleArea, size: tuple[int, int], kind: str, goal: int, most: int, rng: Generator
) -> np.ndarray:
    """Add shapes until `goal` pixels are hole; a shape that would pass `most` is drawn smaller."""
    mask = np.zeros(size, np.uint8)
    inside = (slice(box.top, box.bottom + 1), slice(box.left, box.right + 1))
    pieces = math.exp(rng.uniform(0, math.log(12)))  # how many shapes the hole is made of, about
    shapes = ("strokes", "blobs", "rectangles")
    trial, filled, shrink = np.zeros_like(mask), 0, 1.0
    for _ in range(MAX_SHAPES):
        wanted = shrink * max(goal / pieces, (goal - filled) * 0.3) * rng.uniform(0.4, 1.6)
        name = shapes[rng.integers(3)] if kind == "mixed" else kind
        np.copyto(trial, mask)
        DRAW[name](trial, box._replace(anchor=None) if filled else box, max(wanted, 2.0), rng)
        clipped = np.zeros_like(mask)
        clipped[inside] = trial[inside]
        count = cv2.countNonZero(clipped)
        if count > most:
            shrink *= 0.6
            continue
        mask, filled = clipped, count
        if filled >= goal:
            break
    return mask


def _draw_stroke(mask: np.ndarray, box: HoleArea, area: float, rng: Generator) -> None:
    """A brush that wanders: from a straight sweep to a scribble, its width changing on the way."""
    steps = int(rng.integers(3, 13))
    slenderness = math.exp(rng.uniform(math.log(2.5), math.log(30)))  # length / width
    thickness = max(1.0, math.sqrt(area / slenderness))
    step = area / thickness / steps
    inset = thickness / 2 + 1
    x, y = box.start(rng, inset)
    wander = rng.uniform(0.1, 1.3)  # radians a step, standard deviation
    noise = rng.standard_normal((2, steps))
    angles = rng.uniform(0, 2 * math.pi) + np.cumsum(wander * noise[0])
    lengths = step * np.exp(0.4 * noise[1])
    path = np.empty((steps + 1, 2))
    path[:, 0] = x + np.concatenate(([0.0], np.cumsum(lengths * np.cos(angles))))
    path[:, 1] = y + np.concatenate(([0.0], np.cumsum(lengths * np.sin(angles))))
    _reflect(path[:, 0], box.left + inset, box.right - inset)
    _reflect(path[:, 1], box.top + inset, box.bottom - inset)
    path[0] = x, y
    points = np.rint(path).astype(np.int32)
    parts = 1 if steps < 5 else 3
    for part, width in zip(range(parts), thickness * rng.uniform(0.6, 1.4, parts), strict=True):
        start, stop = part * steps // parts, (part + 1) * steps // parts
        cv2.polylines(mask, [points[start : stop + 1]], False, 1, max(1, round(width)))


def _reflect(values: np.ndarray, low: float, high: float) -> None:
    """Fold `values` into [low, high] in place, as a ball between two walls."""
    span = high - low
    if span <= 1:
        values[:] = (low + high) / 2
    elif values.min() < low or values.max() > high:
        values[:] = low + span - np.abs((values - low) % (2 * span) - span)


def _draw_blob(mask: np.ndarray, box: HoleArea, area: float, rng: Generator) -> None:
    """A closed outline whose radius is a few random waves; small wavelengths make it ragged."""
    radius = math.sqrt(area / math.pi)
    x, y = box.start(rng, radius)
    waves = np.arange(1, 8)
    ragged = rng.uniform(0.5, 1.6)
    weights = rng.standard_normal((2, 7)) * 0.45 / waves**ragged
    log_radius = weights[0] @ _COSINES + weights[1] @ _SINES
    stretch = math.exp(rng.uniform(-0.5, 0.5))
    turn = rng.uniform(0, math.pi)
    outline = radius * np.exp(np.clip(log_radius, -1.5, 1.0))
    a, b = outline * _COSINES[0] * stretch, outline * _SINES[0] / stretch
    points = np.stack(
        (x + a * math.cos(turn) - b * math.sin(turn), y + a * math.sin(turn) + b * math.cos(turn)),
        axis=1,
    )
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    mask[min(round(y), mask.shape[0] - 1), min(round(x), mask.shape[1] - 1)] = 1


_ANGLES = np.outer(np.arange(1, 8), np.linspace(0, 2 * np.pi, 48, endpoint=False))
_COSINES, _SINES = np.cos(_ANGLES), np.sin(_ANGLES)


def _draw_rectangle(mask: np.ndarray, box: HoleArea, area: float, rng: Generator) -> None:
    """A rectangle, upright in two cases of three, else turned by any angle."""
    aspect = math.exp(rng.uniform(-1.1, 1.1))
    half_width, half_height = math.sqrt(area * aspect) / 2, math.sqrt(area / aspect) / 2
    x, y = box.start(rng, min(half_width, half_height))
    turn = 0.0 if rng.random() < 2 / 3 else rng.uniform(0, math.pi / 2)
    across = (half_width * math.cos(turn), half_width * math.sin(turn))
    down = (-half_height * math.sin(turn), half_height * math.cos(turn))
    corners = [
        (round(x + i * across[0] + j * down[0]), round(y + i * across[1] + j * down[1]))
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    cv2.fillConvexPoly(mask, np.array(corners, np.int32), 1)


DRAW = {"strokes": _draw_stroke, "blobs": _draw_blob, "rectangles": _draw_rectangle}


def _grow(mask: np.ndarray, box: HoleArea, goal: int, rng: Generator) -> None:
    """Add the pixels of `box` that are nearest to the hole until it has exactly `goal` pixels."""
    if not mask.any():
        x, y = box.random_point(rng, 0)
        mask[round(y), round(x)] = 1
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    allowed = np.full_like(distance, np.inf)
    inside = (slice(box.top, box.bottom + 1), slice(box.left, box.right + 1))
    allowed[inside] = distance[inside]
    nearest = np.argpartition(allowed, goal - 1, axis=None)[:goal]
    mask.flat[nearest] = 1
