"""A drawn hand."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import (
    SHIFT,
    Drawn,
    Frame,
    Points,
    closed_curve,
    draw_line,
    face_frame,
    fill,
    fixed_pixel,
    fixed_point,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    blend,
    chance,
    clouds,
    contact_shadow,
    face_light,
    grain,
    lay,
    light,
    pick,
    soften,
    working_side,
)

SKIN = ((244, 214, 192), (228, 184, 150), (205, 156, 120), (172, 120, 86), (124, 82, 58),
        (84, 54, 40))  # fmt: skip
FINGERS = (  # root on the knuckles (x, y), turn outwards, length, half width; the palm is 1 wide
    ((-0.38, -0.02), -0.16, 0.72, 0.105),
    ((-0.13, -0.1), -0.05, 0.92, 0.115),
    ((0.13, -0.1), 0.05, 0.98, 0.118),
    ((0.37, -0.04), 0.15, 0.88, 0.115),
)
Place = Callable[[np.ndarray | list], np.ndarray]
THUMB = ((0.4, 0.62), 0.85, 0.72, 0.13)


def hand_drawn(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A hand-like shape that reaches into the picture from below or a side: wrist, palm, four
    fingers and a thumb in a skin tone, round in the light, with nails or creases."""
    frame = face_frame(points, face.shape[0])
    width = frame.unit * rng.uniform(0.95, 1.45)
    heading = rng.choice([0.0, -1.0, 1.0]) * rng.uniform(0.5, 1.5) + rng.normal(0, 0.2)
    target = frame.at([(rng.normal(0, 0.5), rng.uniform(0.3, 1.7))])[0]
    return lay_hand(face, frame, rng, width, heading, target)


def lay_hand(
    face: np.ndarray,
    frame: Frame,
    rng: Generator,
    width: float,
    heading: float,
    target: np.ndarray,
    matched: float = 0.6,
) -> Drawn:
    """A hand with its knuckles at a place.

    Args:
        width: of the palm, in px of the working side.
        heading: where the fingers point: radians, 0 = up, clockwise.
        target: the knuckles' middle (x, y), in px of the working side.
        matched: how often it takes the face's own skin colour.
    """
    size = face.shape[0]
    side = working_side(size)
    mirror = np.array([1.0 if chance(rng, 0.5) else -1.0, 1.0])

    def place(local: np.ndarray | list) -> np.ndarray:
        """Hand coordinates, fingers up, to pixels."""
        return target + turned(np.asarray(local) * mirror * width, heading)

    if chance(rng, matched):
        middle = frame.at([(-0.35, 0.75), (0.35, 0.75), (0, 0.2)]) * size / side
        spots = np.clip(np.rint(middle), 0, size - 1).astype(int)
        skin = np.median(face[spots[:, 1], spots[:, 0]], axis=0) * rng.uniform(0.85, 1.12)
    else:
        skin = np.array(pick(rng, SKIN)) * face_light(face)
    skin = np.clip(skin + rng.normal(0, 6, 3), 0, 255)
    hand = _Hand(side, skin, place, width)
    spread, back = rng.uniform(-0.3, 1.6), chance(rng, 0.6)
    fingers = [(THUMB[0], THUMB[1] * rng.uniform(0.4, 1.3), *THUMB[2:])]
    for (root, turn, length, half), bend in zip(FINGERS, rng.random(4), strict=True):
        shown = length * (rng.uniform(0.3, 0.6) if bend < 0.12 else rng.uniform(0.92, 1.05))
        fingers.append((root, turn * spread, shown, half))
    for finger in fingers:
        hand.finger(finger, back)
    wrist = rng.uniform(0.32, 0.42)
    palm = [(-0.5, -0.02), (0, -0.14), (0.49, -0.03), (0.52, 0.5), (wrist, 1.1), (-wrist, 1.1),
            (-0.5, 0.45)]  # fmt: skip
    arm = [(wrist, 1.08), (wrist + 0.07, 5), (-wrist - 0.07, 5), (-wrist, 1.08)]
    knuckles, heel = place([(0, -0.12), (0, 0.3)])
    hand.limb([place(closed_curve(np.array(palm))), place(arm)], (knuckles, heel))
    surface = light(hand.surface, 0.82 + 0.36 * clouds(rng, side, 3))
    surface = grain(rng, soften(surface, frame.unit * 0.008), rng.uniform(0, 5))
    cover = soften(hand.cover, side / 256 * rng.uniform(0.3, 1.2))
    drop = frame.unit * size / side * rng.uniform(0.03, 0.12)
    face = contact_shadow(face, cover, (rng.normal(0, 1) * drop, drop), rng.uniform(0.15, 0.5))
    return lay(face, cover, surface, grow=1)


class _Hand:
    """A hand in the making: what it covers, its colours, and `place`, which takes coordinates of
    hands, fingers up, the palm 1 wide, to pixels. `width`: of the palm in px."""

    def __init__(self, side: int, skin: np.ndarray, place: Place, width: float) -> None:
        self.cover = np.zeros((side, side), np.uint8)
        self.surface = np.full((side, side, 3), skin.astype(np.uint8))
        self.skin, self.place, self.width = skin, place, width

    def limb(
        self, outlines: list[np.ndarray], fade: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        """A rounded part: covered, darker towards its outline.

        `fade`: from the first place to the second its own shading takes over from what is below.
        """
        reach, side = max(1.0, self.width * 0.07), len(self.cover)
        corners = np.concatenate(outlines)
        low = np.clip(np.floor(corners.min(axis=0) - 3 * reach), 0, side - 1).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0) + 3 * reach), 1, side).astype(int)
        if (high <= low).any():
            return
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        part = np.zeros(self.cover[window].shape, np.uint8)
        for outline in outlines:
            fill(part, outline - low)
        np.maximum(self.cover[window], part, out=self.cover[window])
        inner = cv2.GaussianBlur(part, (0, 0), reach).astype(np.float32)
        tone = 0.5 + 0.55 * np.clip(inner / 153 - 0.667, 0, 1)
        lit = light(np.full((*part.shape, 3), self.skin.astype(np.uint8)), tone)
        weight = part.astype(np.float32) / 255
        if fade is not None:
            start, way = fade[0] - low, fade[1] - fade[0]
            across, down = (np.arange(n, dtype=np.float32) for n in part.shape[::-1])
            along = (across - start[0])[None] * way[0] + (down - start[1])[:, None] * way[1]
            weight *= np.clip(along / float(way @ way), 0, 1).astype(np.float32)
        self.surface[window] = blend(np.ascontiguousarray(self.surface[window]), lit, weight)

    def finger(self, finger: tuple, back: bool) -> None:
        """A tapered finger with a nail (back of the hand) or creases (palm side)."""
        root, turn, length, half = finger
        root = np.array(root)
        along, across = turned([(0, -1), (1, 0)], turn)
        tip = np.linspace(0, math.pi, 9)
        bow = np.outer(np.cos(tip), across) + np.outer(np.sin(tip), along)
        cap = root + along * (length - half) + half * 0.86 * bow
        outline = np.concatenate(([root + across * half - along * 0.3], cap,
                                  [root - across * half - along * 0.3]))  # fmt: skip
        self.limb([self.place(outline)])
        hair = max(1.0, self.width / 70)
        dark = tuple((self.skin * 0.72).tolist())
        for share in (0.42, 0.74):
            knuckle = root + along * length * share
            ends = np.stack((knuckle - across * half * 0.55, knuckle + across * half * 0.55))
            draw_line(self.surface, self.place(ends), hair, dark)
        if back and length > 0.6:
            centre = self.place([root + along * (length - 0.8 * half)])[0]
            reach = self.place([root + along * length])[0] - centre
            axes = fixed_point([(half * 0.5 * self.width, half * 0.62 * self.width)])[0].tolist()
            turned_by = math.degrees(math.atan2(reach[1], reach[0])) + 90
            nail = tuple(np.clip(self.skin * 1.06 + (14, 2, 6), 0, 255).tolist())
            where = fixed_pixel(centre)
            cv2.ellipse(self.surface, where, axes, turned_by, 0, 360, nail, -1, cv2.LINE_AA, SHIFT)
