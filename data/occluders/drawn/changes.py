"""Drawn occluders that change the picture itself: blur, squares, noise, shadow, glare."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import (
    Drawn,
    Points,
    area_and_aspect,
    blob,
    fill,
    region,
    ring,
    rounded_box,
    somewhere,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    FAINT,
    blend,
    chance,
    clouds,
    edge,
    grown,
    lay,
    log_uniform,
    random_colour,
    shrink,
    soften,
    working_side,
)


def blur(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A part of the face blurred out of focus, by motion or as through frosted glass."""
    size = face.shape[0]
    cover = shrink(soften(region(rng, working_side(size), 0.03, 0.5), edge(rng, size)), size)
    sigma = size * rng.uniform(0.018, 0.06)
    case = rng.random()
    if case < 0.25:
        length = max(5, round(3 * sigma)) | 1
        kernel = np.zeros((length, length), np.float32)
        turn, middle = rng.uniform(0, math.pi), length // 2
        reach = np.array([math.cos(turn), math.sin(turn)]) * middle
        ends = [tuple(np.rint(middle + sign * reach).astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(kernel, *ends, 1.0)
        blurred = cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    else:
        blurred = soften(face, sigma)
        if case > 0.8:  # frosted: milky
            milk = np.full_like(face, int(rng.integers(150, 250)))
            blurred = cv2.addWeighted(blurred, 0.65, milk, 0.35, 0)
    cover = np.where(cover < FAINT, np.uint8(0), cover)
    occluded = blend(face, blurred, cover.astype(np.float32) / 255)
    return occluded, (cover > 0).astype(np.uint8)


def pixelation(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A part of the face in large squares: a box, an ellipse or a blob made of whole squares."""
    size = face.shape[0]
    block = max(2, round(size * log_uniform(rng, 0.03, 0.1)))
    cells = -(-size // block)
    spare = cells * block - size
    padded = cv2.copyMakeBorder(face, 0, spare, 0, spare, cv2.BORDER_REPLICATE)
    small = cv2.resize(padded, (cells, cells), interpolation=cv2.INTER_AREA)
    whole = (cells * block, cells * block)
    squares = cv2.resize(small, whole, interpolation=cv2.INTER_NEAREST)[:size, :size]
    cover = cv2.resize(
        region(rng, working_side(size), 0.03, 0.5), (cells, cells), interpolation=cv2.INTER_AREA
    )
    chosen = (cover > 127).astype(np.uint8)
    if not chosen.any():
        chosen[np.unravel_index(cover.argmax(), cover.shape)] = 1
    mask = cv2.resize(chosen, whole, interpolation=cv2.INTER_NEAREST)[:size, :size]
    return np.where(mask[..., None] > 0, squares, face), np.ascontiguousarray(mask)


def noise(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A block of random pixels: coloured, grey, coarse, or salt and pepper over the face."""
    size = face.shape[0]
    cell = int(rng.integers(1, max(2, size // 40) + 1)) if chance(rng, 0.5) else 1
    cells = -(-size // cell)
    case = rng.random()
    if case < 0.45:
        field = rng.integers(0, 256, (cells, cells, 3), np.uint8)
    elif case < 0.65:
        field = np.repeat(rng.integers(0, 256, (cells, cells, 1), np.uint8), 3, axis=2)
    elif case < 0.85:
        tint = np.float32(random_colour(rng))
        spread = rng.standard_normal((cells, cells, 3), dtype=np.float32) * rng.uniform(20, 60)
        field = np.clip(tint + spread, 0, 255).astype(np.uint8)
    else:
        field = np.where(rng.random((cells, cells, 1), np.float32) < 0.5, 0, 255).astype(np.uint8)
        field = np.repeat(field, 3, axis=2)
    field = cv2.resize(field, (cells * cell,) * 2, interpolation=cv2.INTER_NEAREST)[:size, :size]
    side = working_side(size)
    half = area_and_aspect(rng, side, 0.015, 0.35)
    cover = np.zeros((side, side), np.uint8)
    fill(cover, np.rint(somewhere(rng, side)) + rounded_box(half, 0.0))
    opacity = 1.0 if chance(rng, 0.75) else rng.uniform(0.45, 0.9)
    return lay(face, cover, np.ascontiguousarray(field), opacity)


def shadow(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A cast shadow with a soft edge: a half-plane, a blob, slats of a blind, or foliage.

    The mask marks where it takes more than a tenth of the light.
    """
    size = face.shape[0]
    side, case = 128, rng.random()
    cover = np.zeros((side, side), np.uint8)
    if case < 0.3:
        angle = rng.uniform(0, math.tau)
        box = turned([(0, -2 * side), (2 * side, -2 * side), (2 * side, 2 * side)], angle)
        other = turned([(0, -2 * side), (2 * side, 2 * side), (0, 2 * side)], angle)
        centre = side / 2 + side * rng.uniform(0, 0.3) * np.array(
            [math.cos(angle), math.sin(angle)]
        )
        fill(cover, centre + box)
        fill(cover, centre + other)
    elif case < 0.65:
        outline = blob(rng, area_and_aspect(rng, side, 0.05, 0.4), 0.9)
        fill(cover, somewhere(rng, side, 0.2) + turned(outline, rng.uniform(0, math.tau)))
    elif case < 0.85:
        pitch, angle = side * rng.uniform(0.1, 0.3), rng.uniform(0, math.pi)
        for i in range(-9, 10):
            slat = np.array([(-2, i), (2, i), (2, i + 0.5), (-2, i + 0.5)]) * (side, pitch)
            fill(cover, side / 2 + turned(slat, angle))
    else:
        leaves = clouds(rng, side, int(rng.integers(8, 18))) * 0.7 + clouds(rng, side, 4) * 0.6
        cover = (np.clip((leaves - 0.66) * 12, 0, 1) * 255).astype(np.uint8)
    cover = soften(cover, side * log_uniform(rng, 0.006, 0.04))
    cover = cv2.resize(cover, (size, size), interpolation=cv2.INTER_LINEAR)
    taken = cover.astype(np.float32) * (rng.uniform(0.3, 0.75) / 255)
    taken = _at_most(taken, 0.1, 0.5)
    taken[taken < 0.03] = 0
    tint = 1 + rng.uniform(-0.06, 0.06) * np.array([1.0, 0.2, -1.0])
    gains = cv2.merge([1 - taken * float(channel) for channel in tint])
    return cv2.multiply(face, gains, dtype=cv2.CV_8U), (taken > 0.1).astype(np.uint8)


def _at_most(change: np.ndarray, level: float, share: float) -> np.ndarray:
    """`change` lowered until at most `share` of it lies above `level`."""
    if cv2.countNonZero((change > level).astype(np.uint8)) > share * change.size:
        excess = float(np.quantile(change, 1 - share)) - level
        change = np.maximum(change - excess, 0)
    return change


def glare(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Blinding light: a burnt-out spot with its bloom, at times rays, a veil or a reflected pane.

    The mask marks where it adds more than 8 % of full light.
    """
    size = face.shape[0]
    side = 128
    added = np.zeros((side, side), np.uint8)
    centre = somewhere(rng, side, 0.2)
    case = rng.random()
    if case < 0.3:  # a pane's reflection: a slanting quadrangle, half burnt out
        half = area_and_aspect(rng, side, 0.05, 0.25)
        corners = turned(rounded_box(half, 0.0), rng.normal(0, 0.4)) * (1, rng.uniform(0.8, 1.1))
        skewed = corners + np.stack((0.3 * corners[:, 1], np.zeros(len(corners))), axis=1)
        fill(added, centre + skewed, int(rng.integers(110, 230)))
        added = soften(added, side * rng.uniform(0.008, 0.03))
    else:
        radius = side * log_uniform(rng, 0.06, 0.2)
        outline = ring(np.full(32, radius)) * (1, rng.uniform(0.5, 1))
        fill(added, centre + turned(outline, rng.uniform(0, math.pi)))
        core = soften(added, radius * 0.35)
        bloom = soften(added, radius * rng.uniform(0.6, 1.1))
        added = cv2.addWeighted(core, 1.0, bloom, rng.uniform(0.4, 1.0), 0)
        if case > 0.65:
            rays = np.zeros_like(added)
            count, turn = int(rng.integers(2, 5)), rng.uniform(0, math.pi)
            for angle in turn + np.arange(count) * math.pi / count:
                reach = np.array([math.cos(angle), math.sin(angle)]) * radius * rng.uniform(3, 5)
                wide = turned([(0, radius * 0.14)], angle)[0]
                fill(rays, centre + np.array([reach, wide, -reach, -wide]), 255)
            added = cv2.add(added, soften(rays, 1.2))
    added = cv2.resize(added, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    added *= rng.uniform(0.85, 1.3) / 255
    added[added < 0.03] = 0
    tint = [1.0, rng.uniform(0.9, 1.0), rng.uniform(0.75, 1.0)]
    glow = cv2.merge([added * (255 * t) for t in (tint if chance(rng, 0.8) else tint[::-1])])
    return cv2.add(face, glow, dtype=cv2.CV_8U), grown((added > 0.08).astype(np.uint8), 1)
