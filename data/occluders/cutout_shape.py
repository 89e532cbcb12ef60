"""What the outline and colours of a cut-out say: how it is worn or held, and what is a copy."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

Box = tuple[float, float, float, float]

SKIN_SHARE = 0.6  # of a cut-out's pixels have the colour of skin: a hand
LOOK_SIDE = 48  # pixels at which outlines and edges are compared
SAME_ASPECT = 0.05  # of the logarithms of width / height: copies differ by less
SAME_OUTLINE = 0.95  # IoU of the alphas of two copies is above it
SAME_EDGES = 0.45  # strengths and directions of the edges inside both agree by more, from -1 to 1
FEW = 50  # pixels inside both outlines; thin frames have fewer and are told by their outline alone


def guess_category(rgba: np.ndarray) -> str:
    """What an "object" (h, w, 4) most likely is: hand, facemask, hat, or still object.

    A face mask is a convex piece of one pale colour, a hat is open below, a hand has skin's colour.
    """
    height, width = rgba.shape[:2]
    scale = 64 / max(height, width)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    visible = small[..., 3] > 128
    if visible.sum() < 64:
        return "object"
    body = _opened(visible)
    x, y, w, h = cv2.boundingRect(body)
    if min(w, h) < 8:
        return "object"
    contour = max(cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
    solidity = cv2.contourArea(contour) / max(cv2.contourArea(cv2.convexHull(contour)), 1.0)
    lab = cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2LAB)[visible].astype(np.float32)
    spread = lab.std(0)
    colours = spread[1] + spread[2]
    pale = lab[:, 0].mean() > 150 and spread[0] < 30 and colours < 13
    skin = colours < 16 and _skin_share(small[..., :3][visible]) > SKIN_SHARE
    if solidity > 0.94 and 0.95 < w / h < 2.1 and pale and not skin:
        return "facemask"
    if _opening(body[y : y + h, x : x + w]) > (0.08 if 1.1 < w / h < 2 else 0.3):
        return "hat"
    return "hand" if skin and solidity > 0.6 else "object"


def _opened(visible: np.ndarray) -> np.ndarray:
    """The shape without straps and strings: uint8 {0, 1}, with a rim of 4 pixels."""
    padded = cv2.copyMakeBorder(visible.astype(np.uint8), 4, 4, 4, 4, cv2.BORDER_CONSTANT)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    return cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel)


def _opening(body: np.ndarray) -> float:
    """How far both sides reach below the middle's lower edge, as a share of the height."""
    height, width = body.shape
    lowest = np.where(body.any(0), height - body[::-1].argmax(0), 0) / height
    third = width // 3
    middle = lowest[third : width - third].mean()
    return float(min(lowest[:third].max(), lowest[width - third :].max()) - middle)


def _skin_share(colours: np.ndarray) -> float:
    """How many of the colours (n, 3) have skin's chroma (Chai and Ngan 1999: Cr 133-173, Cb
    77-127)."""
    ycrcb = cv2.cvtColor(colours[None], cv2.COLOR_RGB2YCrCb)[0]
    low, high = (60, 133, 77), (255, 173, 127)
    return float(((ycrcb >= low) & (ycrcb <= high)).all(1).mean())


def whole_box(rgba: np.ndarray) -> Box:
    """(left, top, right, bottom) of all of it, in its pixels."""
    return 0.0, 0.0, float(rgba.shape[1]), float(rgba.shape[0])


def body_box(rgba: np.ndarray) -> Box:
    """The box of a face mask without its straps: what survives an opening of its shape."""
    height, width = rgba.shape[:2]
    scale = 48 / max(height, width)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    solid = cv2.resize(rgba[..., 3], (columns, rows), interpolation=cv2.INTER_AREA) > 128
    x, y, w, h = cv2.boundingRect(_opened(solid))
    if w < columns / 3 or h < rows / 3:
        return whole_box(rgba)
    x, y = x - 4, y - 4
    return (
        x * width / columns,
        y * height / rows,
        (x + w) * width / columns,
        (y + h) * height / rows,
    )


def fills_box(rgba: np.ndarray) -> bool:
    """A plain rectangle, as opposed to something with a shape of its own."""
    corners = rgba[[0, 0, -1, -1], [0, -1, 0, -1], 3]
    return bool((rgba[..., 3] > 128).mean() > 0.9 or (corners > 128).all())


def wrist(rgba: np.ndarray) -> float:
    """The direction in which the arm leaves the picture: radians, 0 = right, pi / 2 = down."""
    alpha = cv2.resize(rgba[..., 3], (24, 24), interpolation=cv2.INTER_AREA) > 100
    edges = {0.0: alpha[:, -1], np.pi / 2: alpha[-1], np.pi: alpha[:, 0]}
    heading = max(edges, key=lambda key: edges[key].mean() + (0.1 if key == np.pi / 2 else 0))
    if not edges[heading].any():
        return float(np.pi / 2)
    where = np.flatnonzero(edges[heading]).mean() / 23 * 2 - 1  # along that edge, -1 to 1
    x, y = {0.0: (1, where), np.pi / 2: (where, 1), np.pi: (-1, where)}[heading]
    return float(np.arctan2(y * rgba.shape[0], x * rgba.shape[1]))


class Look(NamedTuple):
    """What stays when a cut-out is dyed: its outline and edges, (LOOK_SIDE, LOOK_SIDE).

    `alpha` float32, 0 to 1; `edges` complex64, the luminance's gradient with its angle doubled, so
    that an edge from dark to light equals one from light to dark; `aspect`: log of width / height.
    """

    alpha: np.ndarray
    edges: np.ndarray
    aspect: float

    def mirrored(self) -> "Look":
        return Look(self.alpha[:, ::-1], np.conj(self.edges[:, ::-1]), self.aspect)


def look_of(rgba: np.ndarray) -> Look:
    """The look of a cut-out uint8 (h, w, 4), its transparent pixels coloured like their like."""
    small = cv2.resize(rgba, (LOOK_SIDE, LOOK_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = cv2.Sobel(grey, cv2.CV_32F, 1, 0) + 1j * cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    edges = slope**2 / np.maximum(np.abs(slope), 1e-6)
    alpha = small[..., 3].astype(np.float32) / 255
    return Look(alpha, edges, float(np.log(rgba.shape[1] / rgba.shape[0])))


def find_copy(look: Look, others: Sequence[Look]) -> int | None:
    """The place among `others` of the first that is the same thing, perhaps in other colours."""
    alphas = np.stack([other.alpha for other in others])
    shared = np.minimum(alphas, look.alpha)
    overlap = shared.sum((1, 2)) / np.maximum(alphas, look.alpha).sum((1, 2)).clip(1e-6)
    for place in np.flatnonzero(overlap > SAME_OUTLINE):
        other = others[place]
        alike = abs(other.aspect - look.aspect) < SAME_ASPECT
        if alike and _edges_agree(look.edges, other.edges, shared[place]):
            return int(place)
    return None


def _edges_agree(one: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> bool:
    inside = cv2.erode((alpha > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    one, other = one[inside], other[inside]
    strengths = np.abs(one), np.abs(other)
    plain = [strength.std() < 1 for strength in strengths]
    if len(one) < FEW or any(plain):
        return len(one) < FEW or all(plain)
    directions = np.vdot(one, other).real / (np.linalg.norm(one) * np.linalg.norm(other))
    return bool(min(directions, np.corrcoef(*strengths)[0, 1]) > SAME_EDGES)
