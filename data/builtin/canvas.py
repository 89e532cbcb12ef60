"""A small deferred renderer: layers leave colour and surface normals, one lighting pass ends it.

Coordinates are those of aligned faces 256 units wide (pixel edges at 0 and 256), whatever the size
in pixels, so that one description gives the same picture at every size. Colours are linear in
light: the square of the display value in [0, 1].
"""

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

UNITS = 256.0
RED, NORMAL_X, NORMAL_Y, GLOSS, LIT = 0, 3, 4, 5, 6
CHANNELS = 7


class Cover(NamedTuple):
    """How much a shape covers of each pixel of a part of the canvas; alpha (h, w) in [0, 1]."""

    rows: slice
    columns: slice
    alpha: np.ndarray


class Light(NamedTuple):
    """One distant light and an even ambient one; colours are linear RGB."""

    direction: tuple[float, float, float]  # towards the light; x right, y down, z to the viewer
    key: np.ndarray
    ambient: np.ndarray


class Canvas:
    """Buffers of `side` x `side` pixels; `pose` is a 2 x 3 similarity from face units to units."""

    def __init__(self, side: int, pose: np.ndarray) -> None:
        self.side = side
        self.scale = side / UNITS
        self._linear = pose[:, :2].T * self.scale
        self._offset = pose[:, 2] * self.scale
        self.buffer = np.zeros((CHANNELS, side, side), np.float32)
        centres = (np.arange(side, dtype=np.float32) + 0.5) / self.scale
        back = cv2.invertAffineTransform(pose).astype(np.float32)
        self.u = back[0, 0] * centres[None] + back[0, 1] * centres[:, None] + back[0, 2]
        self.v = back[1, 0] * centres[None] + back[1, 1] * centres[:, None] + back[1, 2]

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Face units (N, 2) to pixel coordinates, in which pixel edges are whole numbers."""
        return points @ self._linear + self._offset

    def clip(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice] | None:
        """Rows and columns of the pixels in a box, None when it lies off the canvas."""
        left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
        right, bottom = min(math.ceil(x1), self.side), min(math.ceil(y1), self.side)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)

    def cover(self, points: np.ndarray, soft: float = 0.0) -> Cover | None:
        """Coverage of a polygon in face units (N, 2), its edge blurred by `soft` units."""
        points = self.pixels(points)
        sigma = soft * self.scale
        pad = 1 + 2.5 * sigma
        (x0, y0), (x1, y1) = np.minimum.reduce(points).tolist(), np.maximum.reduce(points).tolist()
        box = self.clip(x0 - pad, y0 - pad, x1 + pad, y1 + pad)
        if box is None:
            return None
        rows, columns = box
        height, width = rows.stop - rows.start, columns.stop - columns.start
        fine = (4 if height * width < 4096 else 2) if sigma < 0.45 else (2 if sigma < 1.2 else 1)
        mask = np.zeros((height * fine, width * fine), np.uint8)
        # Sixteenths of a pixel; OpenCV counts from pixel centres.
        local = points * (16 * fine) - (columns.start * 16 * fine + 8, rows.start * 16 * fine + 8)
        cv2.fillPoly(mask, [local.astype(np.int32)], 255, cv2.LINE_8, 4)
        if fine > 1:
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        mask = blur(mask, sigma)
        return Cover(rows, columns, mask * np.float32(1 / 255))

    def paint(
        self,
        cover: Cover | None,
        colour: np.ndarray,
        opacity: float = 1.0,
        normal: tuple[np.ndarray, np.ndarray] | tuple[float, float] | None = None,
        gloss: float | None = None,
    ) -> None:
        """Lay a material over the canvas: `colour` (3,) or (3, side, side), normals full size.

        Without `normal` the layer is paint on the surface below it: shape and shine stay.
        """
        if cover is None:
            return
        place = slice(None), cover.rows, cover.columns
        alpha = cover.alpha if opacity == 1 else cover.alpha * np.float32(opacity)
        target = self.buffer[place]
        colour = colour[place] if colour.ndim == 3 else colour[:, None, None]
        target[:3] += alpha * (colour - target[:3])
        if normal is not None:
            for channel, value in zip((NORMAL_X, NORMAL_Y), normal, strict=True):
                value = value[place[1:]] if isinstance(value, np.ndarray) else value
                target[channel] += alpha * (value - target[channel])
            target[LIT] += alpha * (1 - target[LIT])
        if gloss is not None:
            target[GLOSS] += alpha * (gloss - target[GLOSS])

    def shade(self, cover: Cover | None, amount: float, tint: tuple = (1.0, 1.0, 1.0)) -> None:
        """Darken by `amount` (negative brightens) where covered; `tint` weighs the channels."""
        if cover is not None and abs(amount) > 0.01:
            weights = np.array(tint, np.float32) * np.float32(-amount)
            factor = cover.alpha * weights[:, None, None]
            factor += 1
            self.buffer[:3, cover.rows, cover.columns] *= factor

    def bump(self, x: float, y: float, width: float, height: float, rise: float) -> None:
        """Add a Gaussian hill (a hollow when `rise` < 0) of these standard deviations."""
        hill = self.blob(x, y, width, height)
        if hill is None:
            return
        box = hill.rows, hill.columns
        # The hill's slope: -dh/du = rise * (u - x) / width^2 * exp(...).
        target = self.buffer[:, hill.rows, hill.columns]
        du, dv = self.u[box] - np.float32(x), self.v[box] - np.float32(y)
        target[NORMAL_X] += hill.alpha * du * np.float32(rise / width**2)
        target[NORMAL_Y] += hill.alpha * dv * np.float32(rise / height**2)

    def blob(self, x: float, y: float, width: float, height: float) -> Cover | None:
        """A soft spot: a Gaussian of these standard deviations as coverage."""
        reach = 2.5 * self.scale
        (a, b), (c, d) = self._linear.tolist()
        middle_x = a * x + c * y + self._offset[0]
        middle_y = b * x + d * y + self._offset[1]
        across, down = width * reach, height * reach
        box = self.clip(middle_x - across, middle_y - down, middle_x + across, middle_y + down)
        if box is None:
            return None
        du = (self.u[box] - np.float32(x)) * np.float32(1 / width)
        dv = (self.v[box] - np.float32(y)) * np.float32(1 / height)
        du *= du
        dv *= dv
        du += dv
        du *= -0.5
        return Cover(*box, np.exp(du, out=du))

    def lit(self, light: Light) -> np.ndarray:
        """The picture, linear RGB (side, side, 3): wrapped diffuse light and a soft highlight."""
        x, y = self.buffer[NORMAL_X], self.buffer[NORMAL_Y]
        flat = x * x + y * y
        shrink = 1 / np.sqrt(np.maximum(flat, 0.97) / 0.97)
        x, y = x * shrink, y * shrink
        z = np.sqrt(1 - flat * shrink * shrink)
        lx, ly, lz = light.direction
        diffuse = x * lx + y * ly + z * lz
        length = math.hypot(lx, ly, lz + 1)
        shine = np.maximum(x * (lx / length) + y * (ly / length) + z * ((lz + 1) / length), 0)
        for _ in range(4):
            shine *= shine
        shine *= self.buffer[GLOSS]
        wet = self.buffer[LIT]
        picture = np.empty((self.side, self.side, 3), np.float32)
        # Light wraps further round the edge in red: skin scatters it.
        for channel, wrap in enumerate((0.42, 0.30, 0.26)):
            amount = np.maximum((diffuse + wrap) * (1 / (1 + wrap)), 0)
            amount = light.ambient[channel] + light.key[channel] * amount
            amount = 1 + wet * (amount - 1)
            picture[..., channel] = self.buffer[RED + channel] * amount + light.key[channel] * shine
        return picture


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, sigma in pixels; unchanged below 0.45, which no pixel shows."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.45 else image


def spread(values: np.ndarray, side: int) -> np.ndarray:
    """A small grid of values, (h, w) or (h, w, c), smoothly over (side, side)."""
    return cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)


@lru_cache
def _curve_weights(count: int, closed: bool) -> np.ndarray:
    """Weights (points, count) of the control points in each point of a Catmull-Rom curve."""
    t = np.linspace(0, 1, 6, endpoint=False)[:, None]
    basis = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    segments = count if closed else count - 1
    weights = np.zeros((6 * segments, count))
    for segment in range(segments):
        for offset, part in enumerate(basis):
            control = segment + offset - 1
            control = control % count if closed else min(max(control, 0), count - 1)
            weights[6 * segment : 6 * segment + 6, control] += 0.5 * part[:, 0]
    return weights if closed else np.vstack((weights, np.eye(count)[-1:]))


def smooth(points: np.ndarray | list, closed: bool = True) -> np.ndarray:
    """A Catmull-Rom curve through control points (N, 2), six points a segment."""
    points = np.asarray(points, dtype=np.float64)
    return _curve_weights(len(points), closed) @ points


def ribbon(path: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """The outline of a brush stroke along `path` (N, 2) whose full width may vary (N,)."""
    across = np.empty_like(path)
    across[1:-1] = path[2:] - path[:-2]
    across[0], across[-1] = path[1] - path[0], path[-1] - path[-2]
    x, y = across[:, 0], across[:, 1]
    half = width / (2 * np.sqrt(x * x + y * y + 1e-12))
    x *= half
    y *= -half
    across = across[:, ::-1]
    return np.concatenate((path + across, (path - across)[::-1]))


_TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack((np.cos(_TURN), np.sin(_TURN)), axis=1)


def ellipse(x: float, y: float, a: float, b: float) -> np.ndarray:
    """An upright ellipse with half axes a and b as a polygon (28, 2)."""
    return _CIRCLE * (a, b) + (x, y)


def shifted(points: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Points (N, 2) moved by (dx, dy)."""
    return np.add(points, (dx, dy))
