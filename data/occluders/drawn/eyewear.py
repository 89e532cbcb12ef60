"""Drawn things before the eyes: clear eyeglasses, goggles, face shields."""

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
    fill,
    rounded_box,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    blend,
    chance,
    face_light,
    gradient,
    grown,
    log_uniform,
    pick,
    random_colour,
    shaded,
    shrink,
    soften,
)
from deocclude.data.occluders.drawn.solid import Solid
from deocclude.data.occluders.drawn.sunglasses import (
    bridge_and_temples,
    frame_colour,
    lens_outlines,
    strip_of_light,
)

CLEAR_STYLES = ("round", "aviator", "square", "cat", "narrow")
GLARE_SEEN = 0.08  # of full light: a reflection above it hides what is behind


def eyeglasses_drawn(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Clear eyeglasses: a thin frame, its shadow and a light reflection on the lenses.

    The mask marks the frame and what reflections hide, for whoever redraws eyeglasses.
    """
    solid = Solid(face, points)
    frame = solid.frame
    style = pick(rng, CLEAR_STYLES)
    rim = frame.unit * log_uniform(rng, 0.01, 0.05)
    lift = rng.normal(0.03, 0.05)
    lenses = [frame.at(lens + DOWN * lift) for lens in lens_outlines(frame, style, rng)]
    half_rim = chance(rng, 0.2)
    for outline in lenses:
        edge = outline[outline[:, 1] < outline[:, 1].mean()] if half_rim else outline
        edge = edge[np.argsort(edge[:, 0])] if half_rim else np.concatenate((edge, edge[:1]))
        draw_line(solid.cover, edge, max(1.0, rim))
    bridge_and_temples(solid.cover, frame, lift, rim, style, rng)
    solid.surface[:] = frame_colour(rng)
    added = _reflections(solid, lenses, rng)
    lit = blend(face, np.full_like(face, 255), added)
    solid.face = lit
    occluded, mask = solid.laid(rng)
    return occluded, mask | (added > GLARE_SEEN).astype(np.uint8)


def _reflections(solid: Solid, lenses: list[np.ndarray], rng: Generator) -> np.ndarray:
    """Light that lenses add, float32 (S, S) in [0, 1]: mostly faint strips, at times none."""
    side, frame = solid.side, solid.frame
    if chance(rng, 0.45):
        return np.zeros(solid.face.shape[:2], np.float32)
    middles = [outline.mean(axis=0) for outline in lenses]
    strip = strip_of_light(rng, side, frame, middles, lenses, (-0.3, 0.2), 0.3)
    strip = shrink(soften(strip, frame.unit * 0.02), solid.size)
    return strip.astype(np.float32) * (rng.uniform(0.05, 0.4) / 255)


def goggles(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Swimming, ski or safety goggles with a strap, tinted or clear but thick; now and then with a
    snorkel."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    rubber = random_colour(rng) if chance(rng, 0.5) else (28, 28, 30)
    lift, strap = rng.uniform(-0.05, 0.1), rng.uniform(0.08, 0.25)
    for sign in (-1, 1):
        band = [(sign * 0.8, lift - strap / 2), (sign * 2.2, lift - strap - 0.1),
                (sign * 2.2, lift + strap - 0.1), (sign * 0.8, lift + strap / 2)]  # fmt: skip
        solid.part(frame.at(band), shaded(rubber, 0.8), turned([(0, strap)], 0)[0] * frame.unit)
    if chance(rng, 0.55):
        half, low = (rng.uniform(0.9, 1.1), rng.uniform(0.32, 0.5)), rng.uniform(0.1, 0.25)
        box = rounded_box(half, 0.28) * (1, 1)
        box[:, 1] -= np.where(box[:, 1] > 0, low * np.exp(-((box[:, 0] / 0.2) ** 2)), 0)
        shells, inner = [box], 0.8
    else:
        half = (rng.uniform(0.36, 0.46), rng.uniform(0.24, 0.34))
        shells = [rounded_box(half, 0.22) + np.array([sign * 0.5, 0]) for sign in (-1, 1)]
        inner = 0.78
        draw_line(solid.cover, frame.at([(-0.2, lift), (0.2, lift)]), 0.07 * frame.unit)
        draw_line(solid.surface, frame.at([(-0.2, lift), (0.2, lift)]), 0.09 * frame.unit, rubber)
    first, second = random_colour(rng), random_colour(rng)
    glass = gradient(rng, side, first, shaded(first, 0.5) if chance(rng, 0.6) else second)
    keep, clear = np.zeros((side, side), np.uint8), rng.uniform(0, 0.55)
    for shell in shells:
        outline = frame.at(shell + DOWN * lift)
        solid.part(outline, rubber, np.array([0, 0.5 * frame.unit]))
        middle = outline.mean(axis=0)
        lens = middle + (outline - middle) * inner
        solid.part(lens, glass)
        fill(keep, lens, round(255 * clear))
        shine = middle + turned([(-0.3, -0.2), (-0.18, -0.2), (-0.28, 0.15), (-0.34, 0.15)],
                                frame.angle) * frame.unit  # fmt: skip
        solid.part(shine, shaded((255, 255, 255), rng.uniform(0.7, 1)), hides=False)
    if chance(rng, 0.25):
        _snorkel(solid, rng)
    occluded, mask = solid.laid(rng)
    through = shrink(keep, solid.size).astype(np.float32) / 255
    return cv2.blendLinear(face, occluded, through, 1 - through), mask


def _snorkel(solid: Solid, rng: Generator) -> None:
    """A tube from the mouth up along a cheek."""
    sign, colour = (1 if chance(rng, 0.5) else -1), random_colour(rng)
    knots = np.array([(0, 1.15), (0.5 * sign, 1.35), (1.05 * sign, 1.0), (1.2 * sign, 0.0),
                      (1.3 * sign, -3.0)])  # fmt: skip
    line, width = solid.frame.at(curve(knots)), solid.frame.unit * rng.uniform(0.16, 0.26)
    draw_line(solid.cover, line, width)
    for share, shade in ((1.0, 0.7), (0.7, 0.9), (0.3, 1.1)):
        draw_line(solid.surface, line, max(1, width * share), shaded(colour, shade))
    piece = rounded_box((0.3, 0.14), 0.1) + DOWN * 1.12
    solid.part(solid.frame.at(piece), shaded(colour, 0.6))


def visor(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A face shield: a band on the forehead and a sheet before the face.

    Its mask marks what hides: the band and the rim always, of a clear sheet the reflections that
    add more than GLARE_SEEN of full light, of a tinted one all of it.
    """
    solid = Solid(face, points)
    frame, side, size = solid.frame, solid.side, solid.size
    wide, top = rng.uniform(1.15, 1.5), rng.uniform(-1.1, -0.65)
    low = frame.chin + rng.uniform(-0.1, 0.6)
    sheet = [(-wide, top), (0, top + 0.06), (wide, top), (wide, 0.6 * low), (0.8 * wide, low),
             (0, low + 0.1), (-0.8 * wide, low), (-wide, 0.6 * low)]  # fmt: skip
    sheet = frame.at(closed_curve(np.array(sheet)))
    area = np.zeros((side, side), np.uint8)
    fill(area, sheet)
    tinted = chance(rng, 0.35)
    haze = rng.uniform(0.4, 0.85) if tinted else rng.uniform(0.0, 0.05)
    colour = random_colour(rng) if tinted else (225, 232, 240)
    cover = shrink(area, size)
    behind = blend(face, np.full_like(face, shaded(colour, face_light(face))),
                   cover.astype(np.float32) * (haze / 255))  # fmt: skip
    behind, glare = _sheet_glare(behind, area, frame, rng)
    mask = (cover > 0).astype(np.uint8) if tinted else (glare > GLARE_SEEN).astype(np.uint8)
    solid.face = behind
    band = rng.uniform(0.08, 0.3)
    strip = [(-1.05 * wide, top - band), (0, top - band + 0.06), (1.05 * wide, top - band),
             (1.05 * wide, top + band), (0, top + band + 0.06),
             (-1.05 * wide, top + band)]  # fmt: skip
    ink = random_colour(rng)
    solid.part(frame.at(strip), ink, turned([(1.4, 0)], frame.angle)[0] * frame.unit, 0.3)
    rim = np.concatenate((sheet, sheet[:1]))
    if chance(rng, 0.7):
        draw_line(solid.cover, rim, 1.5 * solid.line)
        draw_line(solid.surface, rim, 2 * solid.line, shaded(ink, 0.8))
    occluded, marked = solid.laid(rng, shadow=(0.0, 0.15))
    return occluded, grown(mask, 1) | marked


def _sheet_glare(
    face: np.ndarray, area: np.ndarray, frame: Frame, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Reflections on the sheet `area`: the picture, and the light added, float32 (S, S)."""
    side, size = area.shape[0], face.shape[0]
    added = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        x, wide, slope = rng.uniform(-1.1, 1.1), rng.uniform(0.03, 0.3), rng.normal(0, 0.25)
        top, low = rng.uniform(-1, 0.3), rng.uniform(0.6, 2.2)
        pane = [(x, top), (x + wide, top), (x + wide + slope, low), (x + slope, low)]
        fill(added, frame.at(pane), int(rng.integers(60, 256)))
    added = cv2.bitwise_and(soften(added, side * rng.uniform(0.003, 0.02)), area)
    weight = shrink(added, size).astype(np.float32) * (rng.uniform(0.4, 0.95) / 255)
    weight[weight < 0.02] = 0
    return blend(face, np.full_like(face, 252), weight), weight
