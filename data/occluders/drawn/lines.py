"""Drawn occluders that are thin or small: strokes, writing, scratches, hair, drops."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.outline import (
    SHIFT,
    Drawn,
    Points,
    curve,
    draw_line,
    fixed_pixel,
    fixed_point,
    somewhere,
    turned,
    wander,
)
from deocclude.data.occluders.drawn.paint import (
    blend,
    chance,
    edge,
    grown,
    lay,
    log_uniform,
    paint,
    pick,
    random_colour,
    shaded,
    shrink,
    soften,
    working_side,
)

WORDS = (
    "SAMPLE", "COPY", "preview", "PROOF", "do not use", "Photo", "2024", "(c)", "DRAFT", "hello",
    "www.example.com", "STOCK", "property of", "No. 17", "LIVE", "demo", "Studio", "VOID", "@anna",
)  # fmt: skip
FONTS = (0, 1, 2, 3, 4, 5, 6, 7)  # OpenCV's Hershey faces
ITALIC = 16
HAIR = ((28, 22, 20), (48, 34, 26), (84, 56, 36), (130, 92, 56), (196, 160, 104), (150, 150, 152),
        (120, 48, 28), (225, 222, 215))  # fmt: skip


def stroke(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """One to three free-form strokes of a brush, a marker or a finger."""
    side = working_side(face.shape[0])
    cover = np.zeros((side, side), np.uint8)
    width = side * log_uniform(rng, 0.015, 0.1)
    for _ in range(int(rng.integers(1, 4))):
        steps = int(rng.integers(3, 9))
        length = side * rng.uniform(0.4, 1.6)
        start, angle = somewhere(rng, side, 0.2), rng.uniform(0, math.tau)
        line = curve(wander(rng, start, angle, length, rng.uniform(0.2, 1.0), steps))
        draw_line(cover, line, width * rng.uniform(0.7, 1.3))
    surface = paint(rng, side) if chance(rng, 0.5) else random_colour(rng)
    return lay(face, soften(cover, edge(rng, side) / 3), surface, grow=1)


def text(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Words over the face, solid or see-through, outlined at times, or a repeated watermark."""
    side = working_side(face.shape[0])
    cover, outline = np.zeros((2, side, side), np.uint8)
    font = pick(rng, FONTS) | (ITALIC if chance(rng, 0.3) else 0)
    rows = int(rng.integers(3, 7)) if chance(rng, 0.35) else int(rng.integers(1, 3))
    word = pick(rng, WORDS)
    weight = int(rng.integers(1, 4)) if rows > 2 else int(rng.integers(2, 8))
    line_height = 0.8 * side / rows if rows > 2 else side * rng.uniform(0.1, 0.28)
    top = 0.1 * side if rows > 2 else side * rng.uniform(0.05, 0.6)
    rim = max(2, side // 100) if rows < 3 and chance(rng, 0.35) else 0
    for row in range(rows):
        words = word if rows > 2 else pick(rng, WORDS)
        line = "   ".join([words] * 3) if rows > 2 else words
        (width, height), _ = cv2.getTextSize(line, font, 1.0, 1)
        scale = line_height * (0.45 if rows > 2 else 0.75) / height
        if rows < 3:
            scale = min(scale, side * rng.uniform(0.5, 1.1) / width)
        free = side - scale * width
        place = (round(free * rng.uniform(0.2, 0.8)), round(top + (row + 0.8) * line_height))
        cv2.putText(cover, line, place, font, scale, 255, weight, cv2.LINE_AA)
        if rim:
            cv2.putText(outline, line, place, font, scale, 255, weight + 2 * rim, cv2.LINE_AA)
    angle = rng.uniform(-50, 50) if chance(rng, 0.5) else 0.0
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    cover, outline = (cv2.warpAffine(layer, turn, (side, side)) for layer in (cover, outline))
    ink = random_colour(rng)
    opacity = rng.uniform(0.35, 0.75) if rows > 2 or chance(rng, 0.3) else 1.0
    mask = np.zeros(face.shape[:2], np.uint8)
    if rim:
        face, mask = lay(face, outline, shaded(ink, 0.15) if sum(ink) > 300 else (250, 250, 250))
    surface = paint(rng, side) if chance(rng, 0.2) else ink
    occluded, letters = lay(face, cover, surface, opacity)
    return occluded, grown(mask | letters, 1)


def scratches(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Thin scratches and dust, as on an old print: mostly light, some dark, in one direction."""
    side = working_side(face.shape[0])
    main = rng.uniform(0, math.pi)
    loose = rng.uniform(0.03, 0.5)
    light_level, dark_level = rng.uniform(190, 255), rng.uniform(0, 70)
    occluded, mask = face, np.zeros(face.shape[:2], np.uint8)
    for level, count in ((light_level, rng.integers(5, 34)), (dark_level, rng.integers(0, 12))):
        cover = np.zeros((side, side), np.uint8)
        for _ in range(int(count)):
            length = side * log_uniform(rng, 0.05, 1.0)
            angle = main + rng.normal(0, loose) + math.pi * rng.integers(2)
            line = curve(wander(rng, side * rng.uniform(0, 1, 2), angle, length, 0.06, 3), 4)
            draw_line(cover, line, side / 256 * rng.uniform(0.6, 2.2), int(rng.integers(110, 256)))
        for x, y, radius in rng.random((int(rng.integers(0, 12)), 3)):
            centre = tuple(fixed_point([(side * x, side * y)])[0].tolist())
            size = round((0.5 + 2.5 * radius**3) * side / 256 * (1 << SHIFT))
            cv2.circle(cover, centre, size, 255, -1, cv2.LINE_AA, SHIFT)
        level = int(level)
        occluded, marked = lay(occluded, cover, (level, level, max(0, level - 12)))
        mask |= marked
    return occluded, grown(mask, 1)


def hair(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Strands of hair that fall or blow over the face, in locks, from the top or a side."""
    side = working_side(face.shape[0])
    tone = np.array(pick(rng, HAIR)) * rng.uniform(0.8, 1.2)
    surface = np.full((side, side, 3), np.clip(tone, 0, 255).astype(np.uint8))
    cover = np.zeros((side, side), np.uint8)
    flip = 1 if chance(rng, 0.5) else -1
    for _ in range(int(rng.integers(1, 5))):
        from_top = chance(rng, 0.7)
        along = rng.uniform(0.05, 0.95)
        root = np.array([along, -0.04] if from_top else [0.5 - flip * 0.54, along * 0.6]) * side
        heading = math.pi / 2 if from_top else math.pi * (0.1 if flip > 0 else 0.9)
        angle = heading + rng.normal(0, 0.35)
        length = side * rng.uniform(0.4, 1.1)
        spine = wander(rng, root, angle, length, rng.uniform(0.1, 0.4), 5)
        strands = int(rng.integers(2, 26))
        spread = side * rng.uniform(0.01, 0.06)
        fan = rng.uniform(0.2, 2.2)
        for _ in range(strands):
            grow_out = np.linspace(1, fan, len(spine))[:, None]
            knots = spine + rng.normal(0, spread, 2) * grow_out + rng.normal(0, spread / 5, (6, 2))
            line = curve(knots[: int(rng.integers(4, 7))], 5)
            width = side / 256 * rng.uniform(0.7, 2.4)
            draw_line(cover, line, width, int(rng.integers(150, 256)))
            shade = np.clip(tone * rng.uniform(0.55, 1.5), 0, 255).tolist()
            draw_line(surface, line, width + 1, shade)
    return lay(face, cover, surface, grow=1)


def bubbles(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Bubbles or rain drops that bend and lighten what is behind them, each with a bright rim."""
    size = face.shape[0]
    side = working_side(size)
    rain = chance(rng, 0.5)
    count = int(rng.integers(12, 60)) if rain else int(rng.integers(3, 16))
    cover, lit, dark = np.zeros((3, side, side), np.uint8)
    slant = rng.normal(0, 0.25)
    for _ in range(count):
        centre = side * rng.uniform(0, 1, 2)
        low, high = (0.008, 0.03) if rain else (0.025, 0.13)
        radius = side * log_uniform(rng, low, high)
        tall = rng.uniform(1.1, 2.6) if rain else 1.0
        angle = math.degrees(slant) if rain else 0.0
        axes = tuple(fixed_point([(radius, radius * tall)])[0].tolist())
        place = fixed_pixel(centre)
        cv2.ellipse(cover, place, axes, angle, 0, 360, 255, -1, cv2.LINE_AA, SHIFT)
        rim = max(1, round(radius * 0.1))
        inner = tuple(max(1, a - (rim << SHIFT) // 2) for a in axes)
        cv2.ellipse(dark, place, inner, angle, 150, 360, 255, rim, cv2.LINE_AA, SHIFT)
        cv2.ellipse(lit, place, inner, angle, 10, 130, 220, rim, cv2.LINE_AA, SHIFT)
        spot = centre + turned([(-0.38 * radius, -0.4 * radius * tall)], math.radians(angle))[0]
        glint = tuple(fixed_point([(radius * 0.2, radius * 0.13)])[0].tolist())
        spot = fixed_pixel(spot)
        cv2.ellipse(lit, spot, glint, -40, 0, 360, 255, -1, cv2.LINE_AA, SHIFT)
    inside = cv2.flip(
        soften(face, size * 0.02), 0 if rain else -1
    )  # a drop shows the scene upturned
    tint = np.full_like(inside, random_colour(rng) if not rain else (225, 230, 235))
    inside = cv2.addWeighted(inside, 0.75, tint, 0.25, 0)
    faint = 0.0 if rain else rng.uniform(0.0, 0.5)  # a bubble is thinner than a drop
    cover, lit, dark = (
        shrink(layer, size).astype(np.float32) / 255 for layer in (cover, lit, dark)
    )
    occluded = blend(face, cv2.addWeighted(inside, 1 - faint, face, faint, 0), cover)
    occluded = blend(occluded, np.full_like(face, 20), dark * cover * 0.35)
    occluded = blend(occluded, np.full_like(face, 252), lit * cover * 0.85)
    mask = (cover > 0.04).astype(np.uint8)
    return np.where(mask[..., None] > 0, occluded, face), mask
