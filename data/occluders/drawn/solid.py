"""A thing put together from rounded parts, one over the other, then laid on a face."""

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import Drawn, Points, face_frame, fill
from deocclude.data.occluders.drawn.paint import (
    Colour,
    blend,
    contact_shadow,
    face_light,
    grain,
    lay,
    light,
    soften,
    working_side,
)


class Solid:
    """A layer at the face's working side that parts are added to.

    Args:
        face: uint8 (S, S, 3).
        points: pixels, as `data.faces.alignment.LANDMARKS` names them; they may lie outside the
        frame.
    """

    def __init__(self, face: np.ndarray, points: Points) -> None:
        self.face, self.size = face, face.shape[0]
        self.side, self.frame = working_side(self.size), face_frame(points, self.size)
        self.cover = np.zeros((self.side, self.side), np.uint8)
        self.surface = np.zeros((self.side, self.side, 3), np.uint8)
        self.line = max(1.0, self.frame.unit / 64)  # px of a thin line

    def part(
        self,
        outline: np.ndarray,
        paint: np.ndarray | Colour,
        across: np.ndarray | None = None,
        depth: float = 0.45,
        lit: float = 0.0,
        hides: bool = True,
    ) -> None:
        """Add a part.

        Args:
            outline: (n, 2), px of the working side.
            paint: one colour, or a surface uint8 (W, W, 3).
            across: from the part's axis to its edge, px: it is round like a cylinder about that
                axis, through the outline's middle. None leaves it flat.
            depth: how much darker its edges are.
            lit: where across the light falls, -1 to 1.
            hides: False paints the part only where others cover already.
        """
        low = np.clip(np.floor(outline.min(axis=0)) - 1, 0, self.side).astype(int)
        high = np.clip(np.ceil(outline.max(axis=0)) + 2, 0, self.side).astype(int)
        if (high <= low).any():
            return
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        part = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fill(part, outline - low)
        if isinstance(paint, np.ndarray):
            colours = np.ascontiguousarray(paint[window])
        else:
            colours = np.full((*part.shape, 3), paint, np.uint8)
        if across is not None:
            middle = (outline.min(axis=0) + outline.max(axis=0)) / 2 - low
            axis = across / float(across @ across)
            x, y = (np.arange(n, dtype=np.float32) for n in part.shape[::-1])
            place = ((x - middle[0]) * axis[0])[None] + ((y - middle[1]) * axis[1])[:, None]
            tone = 1.08 - depth * np.square(np.clip(place - lit, -1.5, 1.5))
            colours = light(colours, np.clip(tone, 0.3, 1.2).astype(np.float32))
        under = np.ascontiguousarray(self.surface[window])
        self.surface[window] = blend(under, colours, part.astype(np.float32) / 255)
        if hides:
            np.maximum(self.cover[window], part, out=self.cover[window])

    def laid(
        self,
        rng: Generator,
        opacity: float = 1.0,
        shadow: tuple[float, float] = (0.1, 0.4),
        glow: float = 1.0,
    ) -> Drawn:
        """Light, grain, a soft edge, a contact shadow; the thing over the face, and its mask."""
        bright = np.full(self.cover.shape, face_light(self.face) * glow, np.float32)
        surface = grain(rng, light(self.surface, bright), rng.uniform(0, 6))
        cover = soften(self.cover, self.side / 256 * rng.uniform(0.2, 1.3))
        drop = self.frame.unit * self.size / self.side * rng.uniform(0.02, 0.1)
        move = (rng.normal(0, 0.6) * drop, drop)
        face = contact_shadow(self.face, self.cover, move, rng.uniform(*shadow))
        # Colours run on beyond the edge, or the soft edge would be dark.
        outside = cv2.dilate(surface, np.ones((5, 5), np.uint8))
        surface = np.where(self.cover[..., None] > 127, surface, outside)
        return lay(face, cover, surface, opacity, grow=1)
