"""Drawn things held before a face: hands, microphones, cups, bottles, phones, food, leaves."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.cloth import cloth_surface, skin_colour
from deocclude.data.occluders.drawn.hand import lay_hand
from deocclude.data.occluders.drawn.outline import (
    DOWN,
    Drawn,
    Points,
    curve,
    draw_line,
    face_frame,
    fill,
    ring,
    rounded_box,
    turned,
)
from deocclude.data.occluders.drawn.paint import (
    chance,
    clouds,
    gradient,
    grain,
    light,
    paint,
    pattern,
    pick,
    random_colour,
    shaded,
)
from deocclude.data.occluders.drawn.solid import Solid

AIMS = ((0, 1.15), (0, 1.15), (-0.5, 0), (0.5, 0), (0, 0.55), (-0.8, 0.9), (0.8, 0.9), (0, -0.6))
FRUIT = ((200, 30, 36), (110, 170, 50), (240, 150, 30), (235, 205, 70), (120, 40, 60))
CRUST = ((206, 150, 86), (232, 196, 140), (120, 72, 44), (236, 170, 190))


def _likely_skin(face: np.ndarray, points: Points) -> float:
    """How often a hand takes the face's colour: seldom when something else covers the skin."""
    y, cr, cb = cv2.cvtColor(np.uint8([[skin_colour(face, points)]]), cv2.COLOR_RGB2YCrCb)[0, 0]
    return 0.75 if 133 <= cr <= 173 and 77 <= cb <= 127 and y > 40 else 0.05


def hands(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A hand over mouth, eyes, nose or cheek from any side, or two of them."""
    frame = face_frame(points, face.shape[0])
    sides = [float(rng.choice([0.0, -1.2, 1.2, -0.6, 0.6, math.pi], p=[0.3, 0.2, 0.2, 0.13, 0.13,
                                                                     0.04]))]  # fmt: skip
    if chance(rng, 0.25):
        sides.append(-sides[0] if sides[0] else 0.4)
    mask, matched = np.zeros(face.shape[:2], np.uint8), _likely_skin(face, points)
    for heading in sides:
        aim = np.array(pick(rng, AIMS)) + rng.normal(0, 0.2, 2)
        width = frame.unit * rng.uniform(0.8, 1.9)
        heading += rng.normal(0, 0.25)
        # The fingers lie on the aim, so the knuckles are half a palm back.
        back = turned([(0, 1)], heading)[0] * rng.uniform(0, 0.6) * width
        target = frame.at([aim])[0] + back
        face, marked = lay_hand(face, frame, rng, width, heading, target, matched)
        mask |= marked
    return face, mask


def microphone(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A microphone before the mouth: a ball of mesh or foam, and its handle out of the picture."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    radius = frame.unit * rng.uniform(0.22, 0.5)
    spot = frame.at([(rng.normal(0, 0.3), rng.uniform(0.9, 1.7))])[0]
    way = turned([(0, 1)], frame.angle + rng.normal(0, 0.6))[0]
    across = np.array([-way[1], way[0]])
    dark = tuple(int(c) for c in np.full(3, rng.uniform(12, 70)) + rng.normal(0, 3, 3).clip(-6, 6))
    head = random_colour(rng) if chance(rng, 0.25) else dark
    if chance(rng, 0.35):
        head = (150, 152, 156)
    body, half = (dark if chance(rng, 0.75) else random_colour(rng)), radius * rng.uniform(0.4, 0.7)
    handle = np.array([spot + across * half, spot - across * half,
                       spot - across * 0.75 * half + way * 2 * side,
                       spot + across * 0.75 * half + way * 2 * side])  # fmt: skip
    solid.part(handle, body)
    stripe = np.array([spot + across * s * half + way * t for s, t in
                       ((0.1, 0), (0.5, 0), (0.4, 2 * side), (0.1, 2 * side))])  # fmt: skip
    solid.part(stripe, shaded(np.add(body, 30), 1.0), hides=False)
    tall = rng.uniform(1.0, 1.35)
    ball = spot + ring(np.full(40, radius)) @ np.stack((across, way * tall))
    surface = np.full((side, side, 3), head, np.uint8)
    if chance(rng, 0.6):
        repeat = max(3.0, radius * rng.uniform(0.1, 0.25))
        surface = pattern(rng, side, "checks", head, shaded(np.add(head, 25), 1.1), repeat, 0.78)
    surface = grain(rng, surface, rng.uniform(2, 14))
    solid.part(ball, surface, across * radius, 0.6, rng.uniform(-0.5, 0.5))
    if chance(rng, 0.6):
        ends = np.stack((spot - across * radius, spot + across * radius)) + way * 0.35 * radius
        solid.part(np.concatenate((ends, (ends + way * 0.16 * radius)[::-1])),
                   (140, 142, 146), across * radius, 0.7)  # fmt: skip
    return solid.laid(rng)


def cup(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A cup, a mug or a glass at the mouth, upright or tipped to drink."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    half, tall = frame.unit * rng.uniform(0.4, 0.85), frame.unit * rng.uniform(1.0, 2.0)
    tip = frame.angle + rng.normal(0, 0.2)
    way, across = turned([(0, 1), (1, 0)], tip)
    spot = frame.at([(rng.normal(0, 0.25), rng.uniform(0.8, 1.3))])[0]
    narrow = rng.uniform(0.7, 1.0)
    rim = rng.uniform(0.1, 0.35)
    if chance(rng, 0.5):
        sign = 1 if chance(rng, 0.5) else -1
        ear = curve(np.array([(0.9, 0.2), (1.5, 0.25), (1.45, 0.7), (0.85, 0.75)]))
        ear = spot + (ear * (sign * half, tall)) @ np.stack((across, way))
        width = half * rng.uniform(0.15, 0.28)
        handle = ear
    else:
        handle = None
    colours, _ = cloth_surface(face, points, rng, side, frame.unit)
    if chance(rng, 0.4):
        colours = np.full((side, side, 3), random_colour(rng), np.uint8)
    if handle is not None:
        draw_line(solid.cover, handle, width)
        tone = tuple(int(c) for c in colours[side // 2, side // 2])
        draw_line(solid.surface, handle, width + 2, shaded(tone, 0.8))
        draw_line(solid.surface, handle, 0.4 * width, tone)
    basis = np.stack((across, way))
    low = np.linspace(0, math.pi, 16)
    bottom = np.stack((np.cos(low) * narrow * half, tall + np.sin(low) * rim * half), axis=1)
    body = np.concatenate(([(-half, 0), (half, 0)], bottom))
    solid.part(spot + body @ basis, colours, across * half, 0.5, rng.uniform(-0.5, 0.5))
    mouth = spot + (ring(np.ones(40)) * (half, rim * half)) @ basis
    solid.part(mouth, shaded(colours[0, 0].tolist(), 1.1))
    drink = (70, 40, 26) if chance(rng, 0.5) else random_colour(rng)
    solid.part(spot + (ring(np.ones(40)) * (0.88 * half, 0.8 * rim * half) + (0, 2)) @ basis,
               drink if chance(rng, 0.6) else shaded(colours[0, 0].tolist(), 0.6))  # fmt: skip
    return solid.laid(rng, rng.uniform(0.6, 0.9) if chance(rng, 0.2) else 1.0)


def bottle(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A bottle at the mouth, from below or tipped from a side."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    half = frame.unit * rng.uniform(0.28, 0.5)
    tip = frame.angle + (rng.normal(0, 0.2) if chance(rng, 0.6) else rng.choice([-1, 1]) * 0.9)
    way, across = basis = turned([(0, 1), (1, 0)], tip)
    basis = np.stack((across, way))
    spot = frame.at([(rng.normal(0, 0.15), rng.uniform(0.8, 1.2))])[0]
    neck, tall = rng.uniform(0.25, 0.45), rng.uniform(5, 8)
    right = curve(np.array([(neck, 0), (neck, 1.0), (0.6, 1.6), (1, 2.2), (1, tall)]))
    outline = np.concatenate((right, right[::-1] * (-1, 1))) * half
    colour = random_colour(rng)
    glass = gradient(rng, side, colour, shaded(colour, rng.uniform(0.4, 1.2)))
    solid.part(spot + outline @ basis, glass, across * half, 0.6, rng.uniform(-0.4, 0.4))
    label = np.array([(-1, 3.0), (1, 3.0), (1, 5.0), (-1, 5.0)]) * half
    solid.part(spot + label @ basis, paint(rng, side), across * half, 0.5, hides=False)
    cap = np.array([(-1.1, 0), (1.1, 0), (1.1, 1.2), (-1.1, 1.2)]) * neck * half
    solid.part(spot + cap @ basis, random_colour(rng), across * neck * half)
    strip = np.array([(-0.6, 2.2), (-0.4, 2.2), (-0.4, tall), (-0.6, tall)]) * half
    solid.part(spot + strip @ basis, shaded((255, 255, 255), rng.uniform(0.7, 1)), hides=False)
    return solid.laid(rng, rng.uniform(0.7, 0.95) if chance(rng, 0.2) else 1.0)


def phone(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A phone's back or screen before the face, upright or lying, at times in a hand."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    half = frame.unit * np.array([1, rng.uniform(1.8, 2.2)]) * rng.uniform(0.4, 0.75)
    turn = frame.angle + rng.normal(0, 0.2) + (math.pi / 2 if chance(rng, 0.25) else 0)
    aims = ((0, 1.1), (0.6, 0.6), (-0.6, 0.6), (0, 0.2), (1.1, 0.9), (-1.1, 0.9))
    spot = frame.at([np.array(pick(rng, aims)) + rng.normal(0, 0.2, 2)])[0]
    body = random_colour(rng) if chance(rng, 0.5) else (30, 30, 33)
    outline = rounded_box(tuple(half), half[0] * rng.uniform(0.1, 0.3))
    solid.part(spot + turned(outline, turn), shaded(body, 0.7))
    inner = spot + turned(outline * (0.95, 0.975), turn)
    if chance(rng, 0.35):  # its screen
        solid.part(inner, paint(rng, side))
    else:
        solid.part(inner, gradient(rng, side, body, shaded(body, rng.uniform(0.7, 1.3))))
        corner = np.array([-0.55, -0.7]) * half
        if chance(rng, 0.7):
            plate = rounded_box((0.35 * half[0], 0.35 * half[0]), 0.1 * half[0]) + corner
            solid.part(spot + turned(plate, turn), shaded(body, 0.8))
        for x, y in ((-0.15, -0.15), (0.15, 0.15), (-0.15, 0.15))[: int(rng.integers(1, 4))]:
            for share, tone in ((0.13, 20), (0.08, 60)):
                lens = ring(np.full(20, share * half[0])) + corner + np.array([x, y]) * half[0]
                solid.part(spot + turned(lens, turn), (tone, tone, tone + 8))
    face, mask = solid.laid(rng)
    if chance(rng, 0.5):
        sign = 1 if chance(rng, 0.5) else -1
        grip = spot + turned([(sign * half[0] * 1.1, 0.4 * half[1])], turn)[0]
        width = frame.unit * rng.uniform(0.8, 1.2)
        matched = _likely_skin(solid.face, points)
        face, marked = lay_hand(face, frame, rng, width, -sign * 0.9, grip, matched)
        mask |= marked
    return face, mask


def food(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Something to eat at the mouth: fruit, a ring of dough, a sandwich, ice cream in a cone."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    unit = frame.unit * rng.uniform(0.4, 0.9)
    turn = frame.angle + rng.normal(0, 0.3)
    spot = frame.at([(rng.normal(0, 0.25), rng.uniform(0.9, 1.4))])[0]
    right = turned([(1, 0)], turn)[0] * unit
    lit, case = rng.uniform(-0.5, 0.1), rng.integers(4)
    crust = tuple(np.clip(pick(rng, CRUST) + rng.normal(0, 10, 3), 0, 255))
    crumb = light(np.full((side, side, 3), crust, np.uint8), 0.8 + 0.4 * clouds(rng, side, 40))

    def at(outline: np.ndarray) -> np.ndarray:
        return spot + turned(np.asarray(outline) * unit, turn)

    if case == 0:
        colour = np.array(pick(rng, FRUIT)) * rng.uniform(0.8, 1.1)
        skin = light(np.full((side, side, 3), np.clip(colour, 0, 255), np.uint8),
                     0.85 + 0.3 * clouds(rng, side, 12))  # fmt: skip
        solid.part(at(ring(1 + 0.06 * np.cos(2 * np.linspace(0, math.tau, 40)))), skin, right, 0.5,
                   lit)  # fmt: skip
        solid.part(at(ring(np.full(16, 0.14)) * (1, 1.5) + (-0.4, -0.45)), (250, 245, 240))
        draw_line(solid.surface, at([(0, -0.85), (0.05, -0.6)]), 4 * solid.line, (80, 60, 30))
    elif case == 1:
        dough = ring(np.ones(48))
        solid.part(at(dough), crumb, right, 0.3, lit)
        glaze = ring(0.88 + 0.05 * np.sin(np.linspace(0, math.tau, 48) * 7))
        solid.part(at(glaze), random_colour(rng), right, 0.25, lit)
        for place in rng.uniform(-0.7, 0.7, (24, 2)):
            draw_line(solid.surface, at([place, place + rng.normal(0, 0.06, 2)]),
                      3 * solid.line, random_colour(rng))  # fmt: skip
        fill(solid.cover, at(0.28 * dough), 0)
    elif case == 2:
        fills = [random_colour(rng), (120, 170, 60), (110, 60, 36), (230, 60, 40)]
        for place, (height, colour) in enumerate(zip((0.3, 0.14, -0.02, -0.14), fills,
                                                     strict=True)):  # fmt: skip
            wave = 0.05 * np.sin(np.linspace(0, math.tau, 32) * (5 + place))
            solid.part(at(rounded_box((1.1, 0.16), 0.1) + np.stack((wave, wave), 1)
                          + DOWN * height), colour, right * 1.1, 0.3)  # fmt: skip
        solid.part(at(rounded_box((1.1, 0.24), 0.22) + DOWN * 0.52), crumb, right * 1.2, 0.4)
        solid.part(at(rounded_box((1.1, 0.34), 0.33) - DOWN * 0.48), crumb, right * 1.2, 0.4)
    else:
        cone = pattern(rng, side, "checks", (214, 168, 104), (180, 130, 74), 0.3 * unit, 0.6)
        solid.part(at([(-0.5, 0.3), (0.5, 0.3), (0.04, 2.2), (-0.04, 2.2)]), cone, right * 0.6)
        for place, radius in (((0, 0), 0.6), ((0.1, -0.6), 0.5))[: int(rng.integers(1, 3))]:
            ball = ring(radius * (1 + 0.04 * rng.standard_normal(40))) + place
            solid.part(at(ball), random_colour(rng), right * radius, 0.35, lit)
    return solid.laid(rng)


def leaf(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """One to seven leaves or petals on twigs that reach in from the border."""
    solid = Solid(face, points)
    frame = solid.frame
    base = np.array([rng.uniform(40, 120), rng.uniform(90, 170), rng.uniform(30, 80)])
    base = np.array(random_colour(rng)) if chance(rng, 0.3) else base
    for _ in range(int(rng.integers(1, 8))):
        spot = frame.at([rng.normal((0, 0.6), 0.8)])[0]
        turn, long = rng.uniform(0, math.tau), frame.unit * rng.uniform(0.5, 1.6)
        wide = rng.uniform(0.2, 0.5)
        t = np.linspace(0, 1, 20)
        rim = wide * np.sin(math.pi * t**0.8) * (1 + 0.05 * np.sin(40 * t))
        outline = np.concatenate((np.stack((t, rim), 1), np.stack((t, -rim), 1)[::-1]))
        colour = tuple(int(c) for c in np.clip(base * rng.uniform(0.6, 1.3), 0, 255))
        across = turned([(0, 1)], turn)[0] * long * wide
        solid.part(spot + turned(outline * long, turn), colour, across, 0.3, rng.uniform(-0.5, 0.5))
        stalk = spot + turned(np.array([(-0.4, 0.05), (0, 0), (0.95, 0)]) * long, turn)
        draw_line(solid.cover, stalk[:2], 2 * solid.line)
        draw_line(solid.surface, stalk, 1.5 * solid.line, shaded(colour, 1.3))
        for place in np.linspace(0.15, 0.8, 6):
            for sign in (-1, 1):
                vein = np.array([(place, 0), (place + 0.12, sign * 0.7 * wide)]) * long
                draw_line(solid.surface, spot + turned(vein, turn), 0.8 * solid.line,
                          shaded(colour, 1.15))  # fmt: skip
    return solid.laid(rng)
