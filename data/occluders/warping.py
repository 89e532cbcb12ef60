"""A cut-out bent onto a face: from a pose to a layer of colour and alpha."""

from typing import NamedTuple

import cv2
import numpy as np


class Pose(NamedTuple):
    """Where the box of a cut-out goes and how it is bent.

    `box` (left, top, right, bottom) in pixels of the cut-out is laid on a rectangle of the face
    with this centre (pixels), width, height and angle (radians, clockwise in the picture). The rest
    of the cut-out goes along. With u, v in [-1, 1] across and down the box:

    - turn: the middle line moves to u = turn, the two halves shrink and grow (a turned head);
    - taper: at the bottom the width is (1 + taper) of that at the top, most of it lost low down;
    - bow_top, bow_bottom: the middle of the edge is lowered by this share of the half height;
    - round: corners are cut off in an arc that begins at this share of the half width;
    - tilt: perspective, the right side larger by about this share.
    """

    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    width: float
    height: float
    angle: float = 0.0
    turn: float = 0.0
    taper: float = 0.0
    bow_top: float = 0.0
    bow_bottom: float = 0.0
    tilt: float = 0.0
    round: float = 0.0


class Layer(NamedTuple):
    """A piece of a picture: its corner, colour uint8 (h, w, 3) and alpha uint8 (h, w), and where
    its pixels lie in the cut-out's box: across and down, float32 (h, w), -1 to 1."""

    left: int
    top: int
    colour: np.ndarray
    alpha: np.ndarray
    across: np.ndarray
    down: np.ndarray


def warp(rgba: np.ndarray, pose: Pose, size: int) -> Layer | None:
    """Draw the cut-out (h, w, 4) into a frame of this size; None when it lies outside of it."""
    region = _region(rgba.shape, pose, size)
    if region is None:
        return None
    left, top = region[:2]
    u, v = _face_to_box(pose, region)
    u, v = _unbend(u, v, pose)
    x0, y0, x1, y1 = pose.box
    small, factor_x, factor_y = _reduced(rgba, pose)
    # Pixel centres: box coordinate -> cut-out pixel -> pixel of the reduced, padded copy.
    x = (x0 + (u + 1) * (0.5 * (x1 - x0))) * factor_x + 0.5
    y = (y0 + (v + 1) * (0.5 * (y1 - y0))) * factor_y + 0.5
    enlarged = pose.width > 1.3 * (x1 - x0)
    flags = cv2.INTER_CUBIC if enlarged else cv2.INTER_LINEAR
    piece = cv2.remap(small, x, y, flags, borderMode=cv2.BORDER_REPLICATE)
    alpha = np.ascontiguousarray(piece[..., 3])
    if pose.round:
        alpha = _rounded(alpha, u, v, pose)
    return Layer(left, top, piece[..., :3], alpha, u, v)


def _region(shape: tuple[int, ...], pose: Pose, size: int) -> tuple[int, int, int, int] | None:
    """The part of the frame that the bent cut-out can reach: left, top, right, bottom."""
    x0, y0, x1, y1 = pose.box
    # The whole cut-out, straps and all, in box coordinates.
    u0, u1 = (2 * (edge - x0) / (x1 - x0) - 1 for edge in (0, shape[1]))
    v0, v1 = (2 * (edge - y0) / (y1 - y0) - 1 for edge in (0, shape[0]))
    widest = 1 + max(0.0, pose.taper) + abs(pose.turn) + abs(pose.tilt)
    u0, u1 = u0 * widest - 0.05, u1 * widest + 0.05
    up = max(0.0, -pose.bow_top, -pose.bow_bottom) + abs(pose.tilt)
    down = max(0.0, pose.bow_top, pose.bow_bottom) + abs(pose.tilt)
    v0, v1 = v0 - up - 0.05, v1 + down + 0.05
    corners = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
    corners *= (pose.width / 2, pose.height / 2)
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    corners = corners @ np.array([[cos, sin], [-sin, cos]]) + pose.centre
    room = 2 + size // 50  # for a blur
    low = np.clip(np.floor(corners.min(0)) - room, 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + room, 0, size).astype(int)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _face_to_box(pose: Pose, region: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Box coordinates (not yet unbent) of every pixel of the region, float32 (h, w) each."""
    left, top, right, bottom = region
    x = np.arange(left, right, dtype=np.float32) - np.float32(pose.centre[0])
    y = np.arange(top, bottom, dtype=np.float32) - np.float32(pose.centre[1])
    cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
    half_width, half_height = np.float32(pose.width / 2), np.float32(pose.height / 2)
    u = (x * (cos / half_width))[None] + (y * (sin / half_width))[:, None]
    v = (y * (cos / half_height))[:, None] - (x * (sin / half_height))[None]
    return u, v


def _unbend(u: np.ndarray, v: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Undo tilt, taper, turn and bow: from the face to the flat cut-out."""
    if pose.tilt:
        v = v * (1 - np.float32(pose.tilt) * np.clip(u, -1.5, 1.5))
    if pose.taper:
        u = u / (1 + np.float32(pose.taper) * np.square(0.5 * np.clip(v, -1, 1) + 0.5))
    if pose.turn:
        turn = np.float32(pose.turn)
        u = (u - turn) / np.where(u < turn, 1 + turn, 1 - turn)
    if pose.bow_top or pose.bow_bottom:
        middle = np.maximum(1 - np.square(u), -0.5)
        top = -1 + np.float32(pose.bow_top) * middle
        bottom = 1 + np.float32(pose.bow_bottom) * middle
        v = (v - top) * (2 / (bottom - top)) - 1
    return np.ascontiguousarray(u, np.float32), np.ascontiguousarray(v, np.float32)


def _rounded(alpha: np.ndarray, u: np.ndarray, v: np.ndarray, pose: Pose) -> np.ndarray:
    """Alpha without what lies outside of the arcs in the four corners, about a pixel soft."""
    radius_u = np.float32(pose.round)
    radius_v = np.float32(min(1.0, pose.round * pose.width / pose.height))
    x = np.maximum(np.abs(u) - (1 - radius_u), 0) / radius_u
    y = np.maximum(np.abs(v) - (1 - radius_v), 0) / radius_v
    pixels = radius_u * np.float32(pose.width / 2)
    inside = np.clip((1 - np.sqrt(x * x + y * y)) * pixels + 0.5, 0, 1)
    return (alpha * inside).astype(np.uint8)


def _reduced(rgba: np.ndarray, pose: Pose) -> tuple[np.ndarray, float, float]:
    """The cut-out shrunk (by areas) to about its size on the face, so that sampling it does not
    alias, with a transparent rim one pixel wide; and the factors in x and y."""
    height, width = rgba.shape[:2]
    x0, y0, x1, y1 = pose.box
    columns = max(1, min(width, round(width * 1.2 * pose.width / (x1 - x0))))
    rows = max(1, min(height, round(height * 1.2 * pose.height / (y1 - y0))))
    if columns * 1.3 < width or rows * 1.3 < height:
        rgba = cv2.resize(rgba, (columns, rows), interpolation=cv2.INTER_AREA)
    rim = cv2.copyMakeBorder(rgba, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    rim[[0, -1], :, 3] = 0
    rim[:, [0, -1], 3] = 0
    return rim, rgba.shape[1] / width, rgba.shape[0] / height
