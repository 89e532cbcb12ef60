"""Drawn sunglasses."""

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import (
    DOWN,
    Drawn,
    Frame,
    Points,
    closed_curve,
    curve,
    draw_line,
    face_frame,
    fill,
    ring,
    rounded_box,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    Colour,
    chance,
    contact_shadow,
    face_light,
    gradient,
    lay,
    log_uniform,
    pick,
    random_colour,
    shaded,
    soften,
    working_side,
)

LENSES = ("round", "aviator", "square", "cat", "narrow", "shield")


def sunglasses_drawn(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Sunglasses on the eyes: six shapes, dark, tinted or mirrored lenses, frame and temples."""
    size = face.shape[0]
    side, frame = working_side(size), face_frame(points, size)
    cover, glass = np.zeros((2, side, side), np.uint8)
    style = pick(rng, LENSES)
    rim = frame.unit * log_uniform(rng, 0.012, 0.065)
    lift = rng.normal(0.03, 0.05)
    lenses = [frame.at(lens + DOWN * lift) for lens in lens_outlines(frame, style, rng)]
    colour = frame_colour(rng)
    surface = np.full((side, side, 3), shaded(colour, face_light(face)), np.uint8)
    for outline in lenses:
        fill(cover, outline)
        fill(glass, outline)
        draw_line(cover, np.concatenate((outline, outline[:1])), 2 * rim)
    bridge_and_temples(cover, frame, lift, rim, style, rng)
    opacity = 1.0 if chance(rng, 0.55) else rng.uniform(0.72, 0.97)
    tinted = _lens_paint(rng, side, frame)
    weight = cv2.merge((glass,) * 3).astype(np.float32) / 255
    surface = cv2.blendLinear(tinted, surface, weight[..., 0], 1 - weight[..., 0])
    _shine(surface, frame, lenses, rim, colour, rng)
    face = contact_shadow(face, cover, (0, frame.unit * size / side * 0.05), rng.uniform(0.1, 0.4))
    see_through = (1 - opacity) * glass.astype(np.float32)
    cover = soften(cover, side / 256 * rng.uniform(0, 0.9))
    occluded, mask = lay(face, cover, surface, grow=1)
    if opacity < 1:
        keep = cv2.resize(see_through, (size, size), interpolation=cv2.INTER_AREA) / 255
        occluded = cv2.blendLinear(face, occluded, keep, 1 - keep)
    return occluded, mask


def frame_colour(rng: Generator) -> Colour:
    case = rng.random()
    if case < 0.5:
        return (22, 21, 22)
    if case < 0.65:
        return (96, 62, 38)
    if case < 0.85:
        return ((205, 170, 95), (190, 192, 196))[rng.integers(2)]
    return random_colour(rng)


def lens_outlines(frame: Frame, style: str, rng: Generator) -> list[np.ndarray]:
    """One outline an eye, or one for both, about the eyes, in eye distances."""
    wide, tall = rng.uniform(0.37, 0.46), rng.uniform(0.25, 0.38)
    if style == "shield":
        half = [(0.0, -0.24), (0.5, -0.26), (0.95, -0.22), (1.06, 0.0), (0.85, 0.26), (0.45, 0.33)]
        half = np.array([*half, (0.17, 0.16)])
        whole = np.concatenate((half, [(0.0, 0.02)], half[:0:-1] * (-1, 1)))
        return [closed_curve(whole) * (rng.uniform(0.94, 1.06), rng.uniform(0.8, 1.15))]
    if style == "round":
        right = ring(np.ones(40)) * rng.uniform(0.33, 0.42)
    elif style == "aviator":
        knots = [(-0.36, -0.26), (0.05, -0.32), (0.4, -0.24), (0.4, 0.08), (0.2, 0.4), (-0.1, 0.42)]
        right = closed_curve(np.array([*knots, (-0.33, 0.15)])) * rng.uniform(0.95, 1.12)
    elif style == "cat":
        knots = [(-0.36, -0.16), (0.05, -0.25), (0.5, -0.36), (0.43, 0.0), (0.2, 0.24),
                 (-0.15, 0.25), (-0.34, 0.1)]  # fmt: skip
        right = closed_curve(np.array(knots)) * rng.uniform(0.95, 1.1)
    elif style == "narrow":
        right = rounded_box((wide + 0.03, 0.6 * tall), 0.1)
    else:
        right = rounded_box((wide, 0.8 * tall + 0.05), rng.uniform(0.06, 0.2))
        right[:, 0] *= 1 - 0.25 * (right[:, 1] > 0) * np.abs(right[:, 1])
    right[:, 0] += 0.5 + rng.uniform(-0.01, 0.05)
    return [right * (-1, 1), right]


def bridge_and_temples(
    cover: np.ndarray, frame: Frame, lift: float, rim: float, style: str, rng: Generator
) -> None:
    """What joins the lenses and what leads to the ears, drawn in place."""
    high = lift - rng.uniform(0.05, 0.15)
    bridge = np.array([(-0.18, high + 0.05), (0, high - 0.03), (0.18, high + 0.05)])
    draw_line(cover, frame.at(curve(bridge)), max(1.0, 1.6 * rim))
    if style == "aviator":
        draw_line(cover, frame.at([(-0.3, lift - 0.27), (0.3, lift - 0.27)]), max(1.0, rim))
    for sign in (-1, 1):
        ear = (sign * rng.uniform(1.12, 1.28) - 0.6 * frame.nose, lift + rng.uniform(-0.1, 0.12))
        start = (sign * 0.84, lift - 0.14)
        draw_line(cover, frame.at([start, ear]), max(1.0, rng.uniform(1.0, 2.2) * rim))


def _lens_paint(rng: Generator, side: int, frame: Frame) -> np.ndarray:
    """Lenses: nearly black, a tint that runs out downwards, or a mirror of sky and ground."""
    case = rng.random()
    if case < 0.5:
        level = int(rng.integers(8, 50))
        tint = tuple(int(np.clip(level + t, 0, 255)) for t in rng.normal(0, 6, 3))
        return np.full((side, side, 3), tint, np.uint8)
    first, second = random_colour(rng), random_colour(rng)
    if case < 0.8:
        first, second = shaded(first, 0.3), shaded(first, 0.7)
    elif chance(rng, 0.5):
        first, second = (70, 120, 190), (230, 200, 150)
    return gradient(rng, side, first, second)


def strip_of_light(
    rng: Generator,
    side: int,
    frame: Frame,
    middles: list[np.ndarray],
    inside: list[np.ndarray],
    place: tuple[float, float],
    widest: float,
) -> np.ndarray:
    """The same slanting strip about each of the middles and within the outlines `inside`, uint8
    (side, side). It begins in `place`, across, and is `widest` wide at most, in eye distances."""
    x, slope, wide = rng.uniform(*place), rng.uniform(-0.3, 0.3), rng.uniform(0.04, widest)
    corners = [(x - slope, -0.5), (x - slope + wide, -0.5), (x + slope + wide, 0.5),
               (x + slope, 0.5)]  # fmt: skip
    strip, within = np.zeros((2, side, side), np.uint8)
    for middle, outline in zip(middles, inside, strict=True):
        fill(strip, middle + turned(corners, frame.angle) * frame.unit)
        fill(within, outline)
    return cv2.bitwise_and(strip, within)


def _shine(
    surface: np.ndarray,
    frame: Frame,
    lenses: list[np.ndarray],
    rim: float,
    colour: Colour,
    rng: Generator,
) -> None:
    """The rims over the glass, and a reflection at the same place of each lens, in place."""
    side = surface.shape[0]
    for outline in lenses:
        draw_line(surface, np.concatenate((outline, outline[:1])), max(1.0, rim), colour)
    if not chance(rng, 0.65):
        return
    middles = [outline.mean(axis=0) for outline in lenses]
    inside = [m + (outline - m) * 0.88 for m, outline in zip(middles, lenses, strict=True)]
    glint = strip_of_light(rng, side, frame, middles, inside, (-0.2, 0.15), 0.16)
    glint = soften(glint, frame.unit * 0.015)
    weight = glint.astype(np.float32) * (rng.uniform(0.1, 0.55) / 255)
    surface[:] = cv2.blendLinear(np.full_like(surface, 255), surface, weight, 1 - weight)
