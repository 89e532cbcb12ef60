"""A drawn face mask."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import (
    DOWN,
    Drawn,
    Frame,
    Points,
    curve,
    draw_line,
    face_frame,
    fill,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    chance,
    clouds,
    contact_shadow,
    face_light,
    grain,
    lay,
    light,
    pattern,
    pick,
    random_colour,
    shaded,
    soften,
    working_side,
)

CLOTH = {  # material: (weight, paper colours, patterns)
    "surgical": (0.34, ((150, 195, 222), (120, 180, 205), (160, 210, 190), (236, 240, 242),
                        (225, 190, 205), (40, 42, 48)), ("plain",)),
    "cloth": (0.28, ((24, 24, 27), (240, 240, 236), (35, 45, 82), (128, 130, 134),
                     (120, 30, 38), (60, 80, 60)), ("plain", "plain", "weave")),
    "printed": (0.26, (), ("stripes", "checks", "plaid", "dots", "flowers", "camouflage")),
    "respirator": (0.12, ((240, 240, 238), (235, 238, 242), (30, 31, 34), (190, 205, 215)),
                   ("plain",)),
}  # fmt: skip


def facemask_drawn(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A face mask in the shape of this face: surgical with pleats, plain or printed cloth, or a
    folded respirator; ear loops, a nose wire, light from one side, a soft shadow below."""
    names = list(CLOTH)
    style = names[rng.choice(len(names), p=[CLOTH[name][0] for name in names])]
    return wear_mask(face, points, rng, style)


def wear_mask(
    face: np.ndarray,
    points: Points,
    rng: Generator,
    style: str,
    cloth: np.ndarray | None = None,
    slip: float | None = None,
    glow: float = 1.0,
    broad_loops: bool = False,
) -> Drawn:
    """A face mask cut as one of CLOTH and worn on this face.

    Args:
        cloth: its material, uint8 (W, W, 3) at the working side; None draws one of the style's.
        slip: how far it hangs down, in eye distances; None draws it, mostly 0.
        glow: factor on the light that falls on it; above 1 it is overexposed.
        broad_loops: ear loops of the mask's own cloth, as sponge masks have them.
    """
    size = face.shape[0]
    side, frame = working_side(size), face_frame(points, size)
    worn = _Worn(frame, style, *_mask_edges(frame, style, rng, slip))
    cover = np.zeros((side, side), np.uint8)
    fill(cover, frame.at(np.concatenate((worn.top, worn.bottom[::-1]))))
    surface = _cloth(frame, style, rng, side) if cloth is None else cloth.copy()
    _sew(surface, worn, rng)
    surface = light(surface, _cloth_light(frame, style, rng, side) * (face_light(face) * glow))
    surface = grain(rng, surface, rng.uniform(0, 6))
    body = cover.copy()
    if broad_loops:
        _broad_loops(cover, worn, rng)
    elif chance(rng, 0.7):
        _ear_loops(cover, surface, worn, rng)
    cover = soften(cover, side / 256 * rng.uniform(0, 1.1))
    drop = frame.unit * size / side * rng.uniform(0.02, 0.09)
    face = contact_shadow(face, body, (rng.normal(0, 0.5) * drop, drop), rng.uniform(0.1, 0.5))
    return lay(face, cover, surface, grow=1)


def _mask_edges(
    frame: Frame, style: str, rng: Generator, slip: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower edge from the picture's left to its right, in eye distances.

    The middle follows the nose, the sides swing the other way as the head turns.
    """
    chin, nose = frame.chin, frame.nose
    case = rng.random()  # worn well in most cases; hung below the nose, seldom below the mouth
    if slip is None:
        low, high = (0.0, 0.0) if case < 0.86 else (0.3, 0.5) if case < 0.96 else (0.6, 0.8)
        slip = rng.uniform(low, high) if high else 0.0
    rise = rng.uniform(0.2, 0.5) + slip
    wide = rng.uniform(0.94, 1.14)
    side_top = rise + rng.uniform(0.12, 0.3)
    peak = rng.uniform(0.02, 0.12) if style != "respirator" else rng.uniform(0.1, 0.25)
    sway = -0.45 * nose
    cheek = rise + peak + rng.uniform(0.0, 0.1)
    upper = [
        (sway - wide, side_top), (sway - 0.72 * wide, side_top - 0.05), (0.3 * nose - 0.42, cheek),
        (0.5 * nose - 0.16, rise + 0.02), (0.5 * nose, rise), (0.5 * nose + 0.16, rise + 0.02),
        (0.3 * nose + 0.42, cheek), (sway + 0.72 * wide, side_top - 0.05), (sway + wide, side_top),
    ]  # fmt: skip
    end = chin * rng.uniform(1.0, 1.12) + 0.4 * slip
    jaw = rng.uniform(0.66, 0.86)
    side_low = min(side_top + rng.uniform(0.45, 0.75), 0.8 * end)
    lower = [
        (sway - 0.97 * wide, side_low), (0.3 * sway - jaw, 0.84 * end + 0.02),
        (0.3 * nose - 0.4, 0.97 * end), (0.4 * nose, end), (0.3 * nose + 0.4, 0.97 * end),
        (0.3 * sway + jaw, 0.84 * end + 0.02), (sway + 0.97 * wide, side_low),
    ]  # fmt: skip
    wobble = 0.012 * rng.standard_normal((16, 2))
    return curve(np.array(upper) + wobble[:9]), curve(np.array(lower) + wobble[9:])


def _cloth(frame: Frame, style: str, rng: Generator, side: int) -> np.ndarray:
    """The material, uint8 (side, side, 3), turned with the face."""
    _, papers, patterns = CLOTH[style]
    fresh = not papers or (style == "cloth" and chance(rng, 0.3))
    paper = random_colour(rng) if fresh else pick(rng, papers)
    paper = tuple(np.clip(paper + rng.normal(0, 8, 3), 0, 255).astype(int).tolist())
    name = pick(rng, patterns)
    ink = shaded(paper, rng.uniform(0.8, 0.95)) if name == "weave" else random_colour(rng)
    repeat = frame.unit * (rng.uniform(0.12, 0.3) if name == "weave" else rng.uniform(0.25, 0.9))
    turn = -frame.angle + (0 if chance(rng, 0.6) else rng.uniform(0, math.pi))
    return pattern(rng, side, name, paper, ink, repeat, turn)


class _Worn(NamedTuple):
    """A mask on a face: its upper and lower edge, in eye distances."""

    frame: Frame
    style: str
    top: np.ndarray
    bottom: np.ndarray

    def sides(self) -> tuple:
        """Sign of the left, then of the right side, its upper and its lower corner."""
        return (-1, self.top[0], self.bottom[0]), (1, self.top[-1], self.bottom[-1])


def _sew(surface: np.ndarray, worn: _Worn, rng: Generator) -> None:
    """Pleats, seams, the nose wire and, at times, a print or a valve, drawn in place."""

    frame, style, top, bottom = worn

    def between(share: float) -> np.ndarray:
        """A line across the mask, from the upper edge (0) to the lower one (1)."""
        t = np.linspace(0, 1, 24)
        places = [
            np.stack([np.interp(t, np.linspace(0, 1, len(e)), e[:, i]) for i in (0, 1)], axis=1)
            for e in (top, bottom)
        ]
        return frame.at(places[0] * (1 - share) + places[1] * share)

    hair = max(1.0, frame.unit / 64)
    tone = surface.reshape(-1, 3)[::97].mean(axis=0)
    down, right = np.array([[0, hair], [1.5 * hair, 0]])
    depth = rng.uniform(0.3, 1.0)
    dark = tuple((tone * (1 - 0.3 * depth)).tolist())
    bright = tuple(np.minimum(tone * (1 + 0.12 * depth) + 14 * depth, 255).tolist())
    if style == "surgical":
        for share in np.array([0.3, 0.5, 0.7]) + rng.normal(0, 0.025, 3):
            draw_line(surface, between(share) + down, 1.6 * hair, dark)
            draw_line(surface, between(share - 0.015), 1.2 * hair, bright)
    if style == "respirator" or (style != "surgical" and chance(rng, 0.5)):
        middle = np.stack([between(share)[12] for share in np.linspace(0, 1, 8)])
        draw_line(surface, middle, 1.8 * hair, dark)
        draw_line(surface, middle + right, 1.2 * hair, bright)
    if chance(rng, 0.75):
        for share in (0.05, 0.94):
            draw_line(surface, between(share), hair, dark if chance(rng, 0.7) else bright)
    if chance(rng, 0.5):
        draw_line(surface, between(0.1)[8:16], 2.5 * hair, bright)
    if chance(rng, 0.12):
        place = tuple(np.rint(between(0.55)[int(rng.integers(6, 18))]).astype(int).tolist())
        radius = round(frame.unit * rng.uniform(0.1, 0.2))
        cv2.circle(surface, place, radius, random_colour(rng), -1, cv2.LINE_AA)
        cv2.circle(surface, place, max(1, radius // 2), bright, 1, cv2.LINE_AA)


def _cloth_light(frame: Frame, style: str, rng: Generator, side: int) -> np.ndarray:
    """How light falls on a mask, float32 (side, side): round the cheeks, over nose and folds."""
    grid = (np.arange(48, dtype=np.float32) + 0.5) * (side / 48)
    across, down = np.meshgrid(grid, grid)
    offsets = np.stack((across, down), axis=-1).reshape(-1, 2) - frame.origin
    x, y = (turned(offsets, -frame.angle) / frame.unit).T.reshape(2, 48, 48)
    ridge = x - 0.5 * frame.nose
    turn = rng.uniform(-0.35, 0.35)
    tone = 1.08 - rng.uniform(0.15, 0.4) * np.clip(x - turn, -1.3, 1.3) ** 2
    tone += 0.10 * np.exp(-((ridge / 0.22) ** 2)) * np.exp(-(((y - 0.6) / 0.4) ** 2))
    tone -= rng.uniform(0.08, 0.3) * np.clip(y / frame.chin - 0.6, 0, 1)
    if style == "respirator":
        tone += 0.12 * np.sign(ridge) * (1 if chance(rng, 0.5) else -1)
    tone += rng.uniform(0.0, 0.28) * (clouds(rng, 48, 7) - 0.5)
    tone = np.clip(tone, 0.35, 1.25).astype(np.float32)
    return cv2.resize(tone, (side, side), interpolation=cv2.INTER_CUBIC)


def _ear_loops(cover: np.ndarray, surface: np.ndarray, worn: _Worn, rng: Generator) -> None:
    """Bands from the sides to the ears, drawn in place."""
    frame = worn.frame
    colour = (236, 236, 234) if chance(rng, 0.6) else (26, 26, 28)
    width = max(1.0, frame.unit * rng.uniform(0.015, 0.04))
    ear = rng.uniform(1.14, 1.36)
    for sign, first, last in worn.sides():
        target = np.array([sign * ear - 0.6 * frame.nose, rng.uniform(0.2, 0.5)])
        for start, sag in ((first + DOWN * 0.04, 0.03), (last - DOWN * 0.04, 0.1)):
            middle = (start + target) / 2 + DOWN * sag
            line = frame.at(curve(np.stack((start, middle, target)), 6))
            draw_line(surface, line, width + 2, colour)
            draw_line(cover, line, width)


def _broad_loops(cover: np.ndarray, worn: _Worn, rng: Generator) -> None:
    """Broad bands from the sides to the ears with a hole between them, drawn in place."""
    frame = worn.frame
    width, ear = frame.unit * rng.uniform(0.05, 0.14), rng.uniform(1.2, 1.4)
    level = rng.uniform(0.25, 0.5)
    for sign, first, last in worn.sides():
        target = np.array([sign * ear - 0.6 * frame.nose, level])
        line = np.stack((first + DOWN * 0.06, target - DOWN * 0.02, target + DOWN * 0.2,
                         last - DOWN * 0.06))  # fmt: skip
        draw_line(cover, frame.at(curve(line, 6)), width)
