"""Outlines that drawn occluders are made of, and how they are filled. Coordinates are (x, y)."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.faces.alignment import Points
from deocclude.data.occluders.drawn.paint import chance, log_uniform, working_side

Drawn = tuple[np.ndarray, np.ndarray]

SHIFT = 4  # fractional bits of the coordinates handed to OpenCV


def fixed_point(points: np.ndarray | list) -> np.ndarray:
    """Coordinates (n, 2) in OpenCV's fixed-point form, for `shift=SHIFT`."""
    return np.rint(np.asarray(points, np.float64) * (1 << SHIFT)).astype(np.int32)


def fixed_pixel(place: np.ndarray | tuple) -> tuple[int, int]:
    """One of them, as OpenCV wants a place or two axes."""
    return tuple(fixed_point([place])[0].tolist())


def pixel(place: np.ndarray) -> tuple[int, int]:
    """The whole pixel nearest to (x, y), as OpenCV wants a place."""
    return tuple(np.rint(place).astype(int).tolist())


def fill(layer: np.ndarray, outline: np.ndarray | list, colour: int | tuple = 255) -> None:
    """Fill a closed outline (n, 2), antialiased, in place."""
    cv2.fillPoly(layer, [fixed_point(outline)], colour, cv2.LINE_AA, SHIFT)


def area_and_aspect(
    rng: Generator, side: int, low: float, high: float, stretch: float = 0.6
) -> tuple[float, float]:
    """Half width and half height of a box that covers `low` to `high` of the picture."""
    area = log_uniform(rng, low, high)
    aspect = math.exp(rng.uniform(-stretch, stretch))
    return side * math.sqrt(area * aspect) / 2, side * math.sqrt(area / aspect) / 2


def somewhere(rng: Generator, side: int, inset: float = 0.15) -> np.ndarray:
    """A centre (x, y), at least `inset` of the side away from the border."""
    return side * rng.uniform(inset, 1 - inset, 2)


def turned(offsets: np.ndarray | list, angle: float) -> np.ndarray:
    """Offsets (n, 2) turned by `angle`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray(offsets, np.float64) @ np.array([[cosine, sine], [-sine, cosine]])


def ring(radii: np.ndarray, angles: np.ndarray | None = None) -> np.ndarray:
    """Points around the origin at these radii, (n, 2)."""
    if angles is None:
        angles = np.arange(len(radii)) * (math.tau / len(radii))
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)


def blob(rng: Generator, half: tuple[float, float], ragged: float = 1.2) -> np.ndarray:
    """A closed, wavy outline about the origin, (48, 2), about as large as `half` says."""
    waves = np.arange(1, 7)
    weights = rng.standard_normal((2, 6)) * 0.35 / waves**ragged
    phases = np.outer(waves, np.arange(48) * (math.tau / 48))
    radii = np.exp(np.clip(weights[0] @ np.cos(phases) + weights[1] @ np.sin(phases), -1, 0.6))
    return ring(radii) * half


def rounded_box(half: tuple[float, float], radius: float) -> np.ndarray:
    """The outline of a box with round corners about the origin, (32, 2)."""
    radius = min(radius, *half)
    angles = np.concatenate([np.linspace(0, math.pi / 2, 8) + i * math.pi / 2 for i in range(4)])
    inner = np.array(half) - radius
    corners = np.repeat([[1, 1], [-1, 1], [-1, -1], [1, -1]], 8, axis=0) * inner
    return corners + radius * ring(np.ones(32), angles)


def region(rng: Generator, side: int, low: float, high: float) -> np.ndarray:
    """Coverage of a box, ellipse or blob, uint8 (side, side)."""
    half = area_and_aspect(rng, side, low, high)
    case = rng.integers(3)
    if case == 0:
        outline = rounded_box(half, 0.0)
    elif case == 1:
        outline = ring(np.ones(48)) * half * 1.13
    else:
        outline = blob(rng, half) * 1.1
    angle = rng.uniform(0, math.pi) if chance(rng, 0.3) else 0.0
    cover = np.zeros((side, side), np.uint8)
    fill(cover, somewhere(rng, side, 0.22) + turned(outline, angle))
    return cover


def curve(knots: np.ndarray, pieces: int = 8) -> np.ndarray:
    """A smooth line through the knots (n, 2), a Catmull-Rom spline with `pieces` a span."""
    padded = np.concatenate((2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]))
    return _spline(padded, pieces, knots[-1:])


def closed_curve(knots: np.ndarray, pieces: int = 6) -> np.ndarray:
    """A smooth outline through the knots (n, 2)."""
    return _spline(np.concatenate((knots[-1:], knots, knots[:2])), pieces, knots[:0])


def _spline(knots: np.ndarray, pieces: int, end: np.ndarray) -> np.ndarray:
    t = (np.arange(pieces) / pieces)[None, :, None]
    a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
    line = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.concatenate((line.reshape(-1, 2), end))


def wander(
    rng: Generator, start: np.ndarray, angle: float, length: float, bend: float, steps: int = 6
) -> np.ndarray:
    """Knots of a line that leaves `start` at `angle` and turns by about `bend` radians a step."""
    angles = angle + np.cumsum(rng.normal(0, bend, steps))
    steps_xy = np.stack((np.cos(angles), np.sin(angles)), axis=1) * (length / steps)
    return start + np.concatenate((np.zeros((1, 2)), np.cumsum(steps_xy, axis=0)))


def draw_line(layer: np.ndarray, line: np.ndarray, width: float, colour: int | tuple = 255) -> None:
    """An antialiased open line (n, 2), in place."""
    thick = max(1, round(width))
    cv2.polylines(layer, [fixed_point(line)], False, colour, thick, cv2.LINE_AA, SHIFT)


DOWN = np.array([0.0, 1.0])


class Frame(NamedTuple):
    """A face's own axes: the origin between the eyes, x to the picture's right, y to the chin."""

    origin: np.ndarray
    angle: float
    unit: float  # eye distance in px of the working side
    nose: float  # how far the nose tip is beside the axis: the sign of the yaw
    chin: float

    def at(self, places: np.ndarray | list) -> np.ndarray:
        """Places (n, 2) in eye distances to pixels."""
        return self.origin + turned(places, self.angle) * self.unit


def face_frame(points: Points, size: int) -> Frame:
    """The axes of a face in the pixels of its working side."""
    scale = working_side(size) / size
    left, right, nose, chin = (
        np.array(points[name]) * scale for name in ("left_eye", "right_eye", "nose_tip", "chin")
    )
    across = right - left
    unit = max(float(np.hypot(*across)), 0.05 * size * scale)
    angle = math.atan2(across[1], across[0])
    origin = (left + right) / 2
    own = turned(np.stack((nose, chin)) - origin, -angle) / unit
    yaw = float(np.clip(own[0, 0], -0.6, 0.6))
    return Frame(origin, angle, unit, yaw, float(np.clip(own[1, 1], 1.2, 2.4)))
