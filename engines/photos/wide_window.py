"""What covers a face and runs out of its square, followed with a second, wider look."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from deocclude.data.images import to_tensor
from deocclude.engines.inference.hole_mask import Box, dilate, hole_mask, move
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.windows import AlignedWindow

ZOOM = 1.6  # the wider square's side, in sides of the face's
SHIFT = 0.2  # of the side: how far it moves to where the mask leaves; the square stays inside
LEAST = 0.02  # of the side: a mask that touches the edge on a shorter stretch does not leave it
FOLLOWED = "what covers this face runs out of its square; that part is redrawn from a wider view"
CUT = "what covers this face runs on beyond the wider view: it is cut there"


class Found(NamedTuple):
    """What covers a face, before dilation: mask uint8 {0, 1} over `box` of the photo."""

    face: Face
    mask: np.ndarray
    box: Box
    notices: tuple[str, ...] = ()


def widened(window: AlignedWindow, mask: np.ndarray, box: Box) -> AlignedWindow | None:
    """A square of ZOOM times the side towards where the mask leaves the window's; None where it
    does not, or leaves the photo too. Shape: mask uint8 (h, w) {0, 1} over `box` of the photo."""
    step = math.ceil(1 / window.scale) + 1  # photo pixels: one of the network's and one more
    height, width = window.shape
    outer = (
        max(0, box[0] - step), max(0, box[1] - step),
        min(height, box[2] + step), min(width, box[3] + step),
    )  # fmt: skip
    beyond = dilate(move(mask, box, outer), step) * (window.depth(outer) <= 0)
    if beyond.sum() < LEAST * window.side * step:
        return None
    rows, columns = np.nonzero(beyond)
    place = np.array([columns.mean() + outer[1], rows.mean() + outer[0]]) + 0.5
    half = window.size / 2
    aim = (window.matrix[:, :2] @ place + window.matrix[:, 2] - half) / half
    centre = half + SHIFT * window.size * np.clip(aim, -1, 1)
    matrix = window.matrix / ZOOM
    matrix[:, 2] += half - centre / ZOOM
    return AlignedWindow(matrix, window.size, window.shape)


def follow(
    segmenter: Segmenter, image: np.ndarray, found: list[Found], windows: list[AlignedWindow]
) -> list[Found]:
    """Masks that run out of the segmenter's square, continued where it sees more of the photo.

    Only what hangs together with the mask inside the square is added: the wider view may show
    other people's masks. Masks that stay inside, mostly all, cost nothing.
    """
    joined = []
    for each, window in zip(found, windows, strict=True):
        if (wide := widened(window, each.mask, each.box)) is not None:
            crop = to_tensor(wide.crop(image)[0])
            answer = segmenter.probability(crop[None])[0, 0].cpu().numpy()
            each = _join(each, window, wide, answer)
        joined.append(each)
    return joined


def _join(found: Found, window: AlignedWindow, wide: AlignedWindow, answer: np.ndarray) -> Found:
    """The mask inside the square with what of the wider one's hangs together with it."""
    near = move(found.mask, found.box, wide.box)
    outside = hole_mask(answer, wide) * (window.depth(wide.box) <= 0)
    _, labels = cv2.connectedComponents(near | outside, connectivity=8)
    mask = np.isin(labels, np.unique(labels[near > 0])).astype(np.uint8)
    notices = (CUT,) if widened(wide, mask, wide.box) else ()
    return found._replace(mask=mask, box=wide.box, notices=notices)
