"""Drawn things that lie over a face: locks of hair, veils, nets, badges with words, textures."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.lines import FONTS, HAIR, WORDS
from deocclude.data.occluders.drawn.outline import (
    Drawn,
    Points,
    area_and_aspect,
    blob,
    curve,
    draw_line,
    fill,
    ring,
    rounded_box,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    chance,
    clouds,
    gradient,
    lay,
    light,
    paint,
    pick,
    random_colour,
    soften,
)
from deocclude.data.occluders.drawn.solid import Solid


def hair_lock(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Broad locks of hair over an eye, a cheek or the mouth, from the top or a side."""
    solid = Solid(face, points)
    frame = solid.frame
    tone = np.array(pick(rng, HAIR)) * rng.uniform(0.7, 1.25)
    sign = 1 if chance(rng, 0.5) else -1
    for _ in range(int(rng.integers(1, 4))):
        root = np.array([sign * rng.uniform(-0.2, 1.3), -2.2])
        if chance(rng, 0.3):  # blown over the face
            root = np.array([sign * 2.0, rng.uniform(-1.0, 0.8)])
        middle = np.array([sign * rng.uniform(0.0, 0.9), rng.uniform(-0.4, 0.6)])
        end = np.array([sign * rng.uniform(-0.9, 1.2), rng.uniform(0.6, 2.4)])
        spine = np.stack((root, (root + middle) / 2 + (0.15 * sign, 0), middle, end))
        spread, strands = rng.uniform(0.08, 0.35), int(rng.integers(14, 46))
        for place in rng.uniform(-1, 1, strands):
            fan = np.array([(0.8, 0.2), (1, 0.3), (1, 0.3), (rng.uniform(0.2, 1.2), 0.4)])
            knots = spine + place * spread * fan + rng.normal(0, 0.02, (4, 2))
            line = frame.at(curve(knots, 6))
            width = frame.unit * rng.uniform(0.015, 0.06)
            draw_line(solid.cover, line, width)
            shade = np.clip(tone * rng.uniform(0.55, 1.45), 0, 255).tolist()
            draw_line(solid.surface, line, width + 1, shade)
    return solid.laid(rng)


def veil(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Thin cloth, tulle or lace over all or a part of the face; it is marked whole."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    top = rng.uniform(-1.6, -0.6) if chance(rng, 0.4) else rng.uniform(0.2, 0.7)
    low = 6.0 if top > 0 or chance(rng, 0.4) else rng.uniform(0.2, 0.9)
    wave = 0.04 * np.sin(np.linspace(0, 30, 24))
    across = np.linspace(-3, 3, 24)
    edges = (np.stack((across, top + 0.04 * across**2 + wave), 1),
             np.stack((across, low + wave), 1)[::-1])  # fmt: skip
    area = np.zeros((side, side), np.uint8)
    fill(area, frame.at(np.concatenate(edges)))
    colour = random_colour(rng) if chance(rng, 0.4) else (20, 20, 22)
    colour = (240, 240, 240) if chance(rng, 0.4) else colour
    cloth = rng.uniform(0.15, 0.7)
    cover = light(cv2.merge((area,) * 3), cloth * (0.7 + 0.6 * clouds(rng, side, 5)))[..., 0].copy()
    if chance(rng, 0.75):
        _threads(cover, side, side * rng.uniform(0.015, 0.05), rng)
        cover = np.minimum(cover, area)
    cover[(area > 127) & (cover < 60)] = 60
    return lay(face, cover, colour)


def net(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A net or a fence with meshes wide enough to see through; the threads are marked."""
    solid = Solid(face, points)
    pitch = solid.side * rng.uniform(0.06, 0.2)
    _threads(solid.cover, solid.side, pitch, rng)
    if chance(rng, 0.4):
        half = area_and_aspect(rng, solid.side, 0.2, 0.7)
        area = np.zeros_like(solid.cover)
        fill(area, solid.frame.at([rng.normal((0, 0.7), 0.5)])[0] + blob(rng, half))
        solid.cover = cv2.bitwise_and(solid.cover, area)
    solid.surface[:] = random_colour(rng)
    return solid.laid(rng)


def _threads(cover: np.ndarray, side: int, pitch: float, rng: Generator) -> None:
    """Two crossing sets of wavy lines, in place."""
    turn, crossing = rng.uniform(0, math.pi), rng.uniform(0.8, math.pi / 2)
    width, sag = max(1.0, pitch * rng.uniform(0.06, 0.22)), rng.uniform(0, 0.1) * side
    along = np.linspace(-0.8, 0.8, 14) * side
    bend = sag * np.sin(along * (3 / side) + rng.uniform(0, 6))
    count = math.ceil(0.8 * side / pitch)
    for angle in (turn, turn + crossing):
        for i in range(-count, count + 1):
            line = np.stack((along, i * pitch + bend), axis=1)
            draw_line(cover, side / 2 + turned(line, angle), width)


def badge(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A sticker, a sign or an emoji with words or a symbol on it."""
    solid = Solid(face, points)
    frame = solid.frame
    half = frame.unit * rng.uniform(0.3, 1.1) * np.array([1, rng.uniform(0.35, 1)])
    spot = frame.at([rng.normal((0, 0.7), 0.6)])[0]
    turn, colour, ink = rng.normal(0, 0.3), random_colour(rng), random_colour(rng)
    case = rng.integers(4)
    if case == 3:  # a yellow face
        half[:] = half[0]
        colour, ink = (250, 205, 60), (70, 45, 20)
    round_one = ring(np.ones(40)) * half
    outline = (rounded_box(tuple(half), 0.2 * half[1]), round_one, blob(rng, tuple(half)),
               round_one)[case]  # fmt: skip
    if chance(rng, 0.5):
        solid.part(spot + turned(outline * 1.08, turn), ink)
    solid.part(spot + turned(outline, turn), colour)
    if case == 3:
        for sign in (-1, 1):
            eye = ring(np.ones(16)) * half * (0.1, 0.16) + half * (sign * 0.35, -0.25)
            solid.part(spot + turned(eye, turn), ink)
        smile = curve(np.array([(-0.5, 0.2), (0, 0.55), (0.5, 0.2)])) * half
        draw_line(solid.surface, spot + turned(smile, turn), max(1.0, 0.1 * half[0]), ink)
    else:
        word, font = pick(rng, WORDS), pick(rng, FONTS)
        (width, height), _ = cv2.getTextSize(word, font, 1.0, 1)
        scale = min(1.6 * half[0] / width, 1.2 * half[1] / height)
        place = np.rint(spot + np.array([-width, height]) * scale / 2).astype(int)
        weight = max(1, round(1.5 * scale))
        cv2.putText(solid.surface, word, tuple(place.tolist()), font, scale, ink, weight,
                    cv2.LINE_AA)  # fmt: skip
    return solid.laid(rng, rng.uniform(0.6, 0.95) if chance(rng, 0.2) else 1.0, (0.0, 0.2))


def textured(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """One to three blobs, boxes or polygons of coarse and fine textures on the face, some large."""
    solid = Solid(face, points)
    for _ in range(int(rng.integers(1, 4))):
        half = area_and_aspect(rng, solid.side, 0.02, 0.35, 0.9)
        case = rng.integers(3)
        if case == 0:
            outline = blob(rng, half, rng.uniform(0.6, 1.6))
        elif case == 1:
            outline = rounded_box(half, min(half) * rng.uniform(0, 0.6))
        else:
            outline = ring(rng.uniform(0.6, 1.3, int(rng.integers(4, 12)))) * half
        spot = solid.frame.at([rng.normal((0, 0.7), 0.9)])[0]
        outline = spot + turned(outline, rng.uniform(0, math.pi))
        surface = _texture(rng, solid.side)
        across = turned([(max(half), 0)], rng.uniform(0, math.tau))[0]
        solid.part(outline, surface, across if chance(rng, 0.5) else None, 0.4)
    return solid.laid(rng)


def _texture(rng: Generator, side: int) -> np.ndarray:
    """A surface, uint8 (side, side, 3): paint, or noise of several scales in two colours."""
    if chance(rng, 0.5):
        return paint(rng, side)
    weights = rng.random(4)
    cells = (3, 9, 28, 80)
    mix = sum(w * clouds(rng, side, n) for w, n in zip(weights, cells, strict=True))
    mix = np.clip((mix / weights.sum() - 0.5) * rng.uniform(1, 3) + 0.5, 0, 1).astype(np.float32)
    first = gradient(rng, side, random_colour(rng), random_colour(rng))
    second = np.full_like(first, random_colour(rng))
    return soften(cv2.blendLinear(first, second, mix, 1 - mix), rng.uniform(0, 1.5))
