"""Drawn occluders that are painted areas: boxes, polygons, bands, stripes."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import (
    Drawn,
    Points,
    area_and_aspect,
    fill,
    region,
    ring,
    rounded_box,
    somewhere,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    chance,
    edge,
    lay,
    light,
    log_uniform,
    paint,
    soften,
    working_side,
)


def shape(face: np.ndarray, outline: np.ndarray, rng: Generator, soft: bool = True) -> Drawn:
    """One painted outline, given at the working side, laid on the face."""
    side = working_side(face.shape[0])
    cover = np.zeros((side, side), np.uint8)
    fill(cover, outline)
    if soft:
        cover = soften(cover, edge(rng, side))
    return lay(face, cover, paint(rng, side))


def patch(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A painted box, upright or turned, its corners sharp or round."""
    side = working_side(face.shape[0])
    half = area_and_aspect(rng, side, 0.015, 0.33)
    outline = rounded_box(half, min(half) * rng.uniform(0, 0.5) * chance(rng, 0.4))
    angle = rng.uniform(-math.pi / 2, math.pi / 2) if chance(rng, 0.4) else rng.normal(0, 0.03)
    return shape(face, somewhere(rng, side) + turned(outline, angle), rng)


def ellipse(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A painted ellipse, turned by any angle."""
    side = working_side(face.shape[0])
    half = area_and_aspect(rng, side, 0.015, 0.35)
    outline = turned(ring(np.ones(64)) * half * 1.13, rng.uniform(0, math.pi))
    return shape(face, somewhere(rng, side) + outline, rng)


def triangle(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A painted triangle, never a sliver."""
    side = working_side(face.shape[0])
    radius = side * log_uniform(rng, 0.14, 0.6)
    angles = rng.uniform(0, math.tau) + np.cumsum([0, *(math.tau / 3 + rng.uniform(-0.6, 0.6, 2))])
    outline = ring(radius * rng.uniform(0.7, 1.15, 3), angles)
    return shape(face, somewhere(rng, side, 0.22) + outline, rng)


def polygon(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A painted polygon of 4 to 11 uneven corners."""
    side = working_side(face.shape[0])
    count = int(rng.integers(4, 12))
    angles = (np.arange(count) + rng.uniform(-0.32, 0.32, count)) * (math.tau / count)
    radius = side * log_uniform(rng, 0.12, 0.45)
    outline = ring(radius * rng.uniform(0.5, 1.25, count), angles + rng.uniform(0, math.tau))
    return shape(face, somewhere(rng, side, 0.22) + outline, rng)


def band(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """One slanting band from border to border: a tape, a ribbon, a bar."""
    side = working_side(face.shape[0])
    half = side * log_uniform(rng, 0.025, 0.16)
    angle = rng.uniform(0.25, 1.3) * (1 if chance(rng, 0.5) else -1)
    taper = 1 + rng.normal(0, 0.12)
    corners = [(-2 * side, -half), (2 * side, -half * taper), (2 * side, half * taper)]
    outline = turned([*corners, (-2 * side, half)], angle)
    return shape(face, somewhere(rng, side, 0.3) + outline, rng)


def stripes(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Parallel stripes with gaps, over a part of the face or all of it."""
    side = working_side(face.shape[0])
    pitch = side * log_uniform(rng, 0.05, 0.25)
    width = pitch * rng.uniform(0.2, 0.5)
    angle, wave = rng.uniform(0, math.pi), rng.uniform(0, 0.3) * chance(rng, 0.3) * pitch
    along = np.linspace(-0.75 * side, 0.75 * side, 24)
    cover = np.zeros((side, side), np.uint8)
    bend = wave * np.sin(along * (math.tau * rng.uniform(1, 4) / side))
    count = math.ceil(0.75 * side / pitch)
    start = rng.uniform(0, pitch)
    for i in range(-count, count + 1):
        low = start + i * pitch + bend
        edges = np.concatenate(
            (np.stack((along, low), 1), np.stack((along[::-1], low[::-1] + width), 1))
        )
        fill(cover, side / 2 + turned(edges, angle))
    if chance(rng, 0.5):
        cover = cv2.bitwise_and(cover, region(rng, side, 0.15, 0.6))
    return lay(face, soften(cover, min(edge(rng, side) / 4, pitch / 24)), paint(rng, side))


def grid(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Crossing bars: a fence, a window, a net; straight or slanting."""
    side = working_side(face.shape[0])
    pitch = side * log_uniform(rng, 0.09, 0.3)
    width = max(side / 192, pitch * rng.uniform(0.06, 0.24))
    turn = 0.0 if chance(rng, 0.5) else rng.uniform(0, math.pi)
    crossing = math.pi / 2 if chance(rng, 0.7) else rng.uniform(0.9, 1.5)
    cover = np.zeros((side, side), np.uint8)
    count = math.ceil(0.75 * side / pitch)
    for angle in (turn, turn + crossing):
        for i in range(-count, count + 1):
            y = (i + 0.37) * pitch
            bar = [(-side, y), (side, y), (side, y + width), (-side, y + width)]
            fill(cover, side / 2 + turned(bar, angle))
    if chance(rng, 0.4):
        cover = cv2.bitwise_and(cover, region(rng, side, 0.2, 0.6))
    surface = light(paint(rng, side), 1 - 0.4 * soften(cover, pitch / 6).astype(np.float32) / 255)
    return lay(face, cover, surface, grow=1 if width < 4 else 0)
