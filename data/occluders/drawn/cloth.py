"""Drawn cloth on faces, as photographs show it: face masks of any colour, scarves, hoods."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn.facemask import wear_mask
from deocclude.data.occluders.drawn.lines import FONTS, HAIR, WORDS
from deocclude.data.occluders.drawn.outline import (
    Drawn,
    Frame,
    Points,
    closed_curve,
    curve,
    draw_line,
    face_frame,
    fill,
    pixel,
    ring,
)
from deocclude.data.occluders.drawn.paint import (
    PATTERNS,
    Colour,
    chance,
    clouds,
    gradient,
    light,
    log_uniform,
    pattern,
    pick,
    random_colour,
    shaded,
    working_side,
)
from deocclude.data.occluders.drawn.solid import Solid

STRONG = ((232, 120, 30), (214, 36, 96), (196, 24, 36), (236, 186, 40), (120, 70, 190),
          (24, 120, 150), (30, 70, 190), (70, 170, 120), (240, 150, 180),
          (150, 90, 60))  # fmt: skip
PRINTS = [name for name in PATTERNS if name not in ("plain", "weave")]
COLOURS = {"skin": 0.2, "hair": 0.08, "white": 0.2, "black": 0.16, "strong": 0.2, "any": 0.16}


def skin_colour(face: np.ndarray, points: Points) -> np.ndarray:
    """The face's own, float (3,): the median of spots on nose, cheeks and forehead."""
    size = face.shape[0]
    left, right, nose = (np.array(points[k]) for k in ("left_eye", "right_eye", "nose_tip"))
    middle = (left + right) / 2
    places = [nose, 0.5 * (nose + left) + 0.3 * (nose - middle), middle - 0.5 * (nose - middle),
              0.5 * (nose + right) + 0.3 * (nose - middle)]  # fmt: skip
    spots = np.clip(np.rint(places), 1, size - 2).astype(int)
    patches = [face[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3) for x, y in spots]
    return np.median(np.concatenate(patches), axis=0)


def cloth_colour(face: np.ndarray, points: Points, rng: Generator) -> tuple[Colour, str]:
    """A colour that face masks have in photographs, and which of COLOURS it is."""
    names = list(COLOURS)
    name = names[rng.choice(len(names), p=list(COLOURS.values()))]
    if name == "skin":
        colour = skin_colour(face, points) * rng.uniform(0.8, 1.2) + rng.normal(0, 5, 3)
    elif name == "hair":
        colour = np.array(pick(rng, HAIR)) * rng.uniform(0.7, 1.2)
    elif name == "white":
        colour = rng.uniform(225, 255) + rng.normal(0, 4, 3)
    elif name == "black":
        colour = rng.uniform(18, 75) + rng.normal(0, 3, 3)
    elif name == "strong":
        colour = np.array(pick(rng, STRONG)) * rng.uniform(0.75, 1.1)
    else:
        colour = np.array(random_colour(rng))
    return tuple(int(c) for c in np.clip(colour, 0, 255)), name


def cloth_surface(
    face: np.ndarray, points: Points, rng: Generator, side: int, unit: float
) -> tuple[np.ndarray, str]:
    """Cloth, uint8 (side, side, 3), plain or printed; `unit` is the eye distance in its pixels.

    The second value is the colour's name, of COLOURS, or "print".
    """
    paper, name = cloth_colour(face, points, rng)
    case, turn = rng.random(), rng.normal(0, 0.2) + (rng.uniform(0, 3) if chance(rng, 0.3) else 0)
    if case < 0.55:
        return np.full((side, side, 3), paper, np.uint8), name
    ink = random_colour(rng)
    if case < 0.63:  # the weave of the thread
        repeat = unit * rng.uniform(0.06, 0.25)
        return pattern(rng, side, "weave", paper, shaded(paper, 0.9), repeat, turn), name
    if case < 0.7:
        return gradient(rng, side, paper, ink), "print"
    if case < 0.77:
        mix = clouds(rng, side, int(rng.integers(5, 40)))
        table = np.linspace(paper, ink, 256).astype(np.uint8)
        return table[(mix * 255).astype(np.uint8)], "print"
    kind = pick(rng, PRINTS)
    repeat = unit * log_uniform(rng, 0.15, 1.4)
    return pattern(rng, side, kind, paper, ink, repeat, turn), "print"


def facemask_photo(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A face mask as photographs show them: skin or hair colour, white (overexposed or in shadow),
    black, strong colours, prints, a mouth or words on it; worn, under the nose or on the chin."""
    side, frame = working_side(face.shape[0]), face_frame(points, face.shape[0])
    cloth, name = cloth_surface(face, points, rng, side, frame.unit)
    if chance(rng, 0.5):
        cloth = light(cloth, _folds(rng, frame, side))
    style = ("surgical", "cloth", "printed", "respirator")[rng.choice(4, p=[0.35, 0.3, 0.2, 0.15])]
    glow = rng.uniform(0.8, 1.15)
    if name == "white":
        glow = rng.uniform(1.2, 1.7) if chance(rng, 0.45) else rng.uniform(0.55, 1.0)
    case = rng.random()
    if case < 0.12:
        _print_mouth(cloth, frame, rng)
    elif case < 0.24:
        _print_words(cloth, frame, rng)
    elif case < 0.34:
        _print_valve(cloth, frame, rng)
    hung = rng.random()
    slip = 0.0 if hung < 0.86 else rng.uniform(0.3, 0.5) if hung < 0.95 else rng.uniform(0.7, 1.05)
    return wear_mask(face, points, rng, style, cloth, slip, glow, broad_loops=chance(rng, 0.3))


def _print_mouth(cloth: np.ndarray, frame: Frame, rng: Generator) -> None:
    """A mouth and at times a nose and whiskers or a beard, in place."""
    ink = (150, 40, 50) if chance(rng, 0.5) else random_colour(rng)
    line = max(1.0, frame.unit * rng.uniform(0.02, 0.05))
    half, down, bend = rng.uniform(0.25, 0.6), rng.uniform(0.95, 1.2), rng.uniform(-0.1, 0.25)
    smile = [(-half, down), (0, down + bend), (half, down)]
    if chance(rng, 0.5):
        lips = [*smile, (0.3 * half, down - 0.1), (0, down - 0.05), (-0.3 * half, down - 0.1)]
        fill(cloth, frame.at(closed_curve(np.array(lips))), ink)
    else:
        draw_line(cloth, frame.at(curve(np.array(smile))), line, ink)
    if chance(rng, 0.5):
        nose = ring(np.ones(16)) * (rng.uniform(0.08, 0.16), 0.09) + (0.4 * frame.nose, 0.7)
        fill(cloth, frame.at(nose), shaded(ink, 0.6))
    if chance(rng, 0.4):
        for sign in (-1, 1):
            for tilt in (-0.12, 0.0, 0.12):
                hairs = [(0.35 * sign, 0.8 + 0.4 * tilt), (0.85 * sign, 0.78 + tilt)]
                draw_line(cloth, frame.at(hairs), 0.7 * line, ink)


def _print_words(cloth: np.ndarray, frame: Frame, rng: Generator) -> None:
    """Words or a badge, once or several times, in place."""
    ink, font = random_colour(rng), pick(rng, FONTS)
    for _ in range(int(rng.integers(1, 4))):
        place = frame.at([(rng.uniform(-0.7, 0.3), rng.uniform(0.6, 1.4))])[0]
        if chance(rng, 0.3):
            fill(cloth, place + ring(np.full(24, frame.unit * rng.uniform(0.1, 0.25))), ink)
            ink = random_colour(rng)
        word = pick(rng, WORDS)
        scale = frame.unit * rng.uniform(0.1, 0.3) / 22
        where = pixel(place)
        weight = max(1, round(scale * rng.uniform(1, 4)))
        cv2.putText(cloth, word, where, font, scale, ink, weight, cv2.LINE_AA)


def _print_valve(cloth: np.ndarray, frame: Frame, rng: Generator) -> None:
    """One breathing valve at a side, or two, in place."""
    ink = (235, 235, 235) if chance(rng, 0.4) else (35, 35, 38)
    ink = random_colour(rng) if chance(rng, 0.3) else ink
    radius, x = rng.uniform(0.13, 0.24), rng.uniform(0.3, 0.6)
    for sign in (-1, 1) if chance(rng, 0.4) else (1 if chance(rng, 0.5) else -1,):
        for share, shade in ((1.0, 0.7), (0.88, 1.0), (0.45, 0.75)):
            disc = ring(np.full(24, radius * share)) + np.array([sign * x, 0.97])
            fill(cloth, frame.at(disc), shaded(ink, shade))


def scarf_drawn(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """Cloth up to the nose or the eyes and down out of the picture: a bandana, a scarf, a gaiter;
    at times over the forehead too, so that a slit is left for the eyes."""
    solid = Solid(face, points)
    frame, side = solid.frame, solid.side
    cloth, _ = cloth_surface(face, points, rng, side, frame.unit)
    cloth = light(cloth, _folds(rng, frame, side))
    sway, top = -0.4 * frame.nose, rng.uniform(0.3, 0.75)
    wide = rng.uniform(1.05, 1.4)
    ears, peak = top + rng.uniform(-0.25, 0.25), rng.uniform(-0.12, 0.1)
    upper = curve(np.array([
        (sway - wide, ears), (sway - 0.6 * wide, (top + ears) / 2 + 0.05),
        (0.5 * frame.nose - 0.2, top + peak), (0.5 * frame.nose, top),
        (0.5 * frame.nose + 0.2, top + peak), (sway + 0.6 * wide, (top + ears) / 2 + 0.05),
        (sway + wide, ears + rng.normal(0, 0.06)),
    ]))  # fmt: skip
    bandana = chance(rng, 0.3)
    if bandana:  # a triangle that hangs free
        tip = frame.chin + rng.uniform(0.2, 0.9)
        lower = [(sway + 0.85 * wide, 0.7 * tip), (0.2 * sway + rng.normal(0, 0.1), tip),
                 (sway - 0.85 * wide, 0.7 * tip)]  # fmt: skip
    else:
        low = rng.uniform(0.8, 1.5) * wide
        lower = [(sway + wide, 0.8 * frame.chin), (low, 6.0), (-low, 6.0),
                 (sway - wide, 0.8 * frame.chin)]  # fmt: skip
    solid.part(frame.at(np.concatenate((upper, lower))), cloth, _across(frame, 1.5), 0.3)
    if not bandana and chance(rng, 0.25):
        brow = rng.uniform(-0.6, -0.35)
        hood = [(-1.5 * wide, ears), (-1.4 * wide, -1.5), (0, -2.6), (1.4 * wide, -1.5),
                (1.5 * wide, ears), (sway + wide, ears), (sway + 0.9 * wide, 0.5 * brow),
                (0.5, brow), (-0.5, brow), (sway - 0.9 * wide, 0.5 * brow),
                (sway - wide, ears)]  # fmt: skip
        solid.part(frame.at(hood), cloth, _across(frame, 1.6), 0.3)
    return solid.laid(rng, glow=rng.uniform(0.75, 1.15))


def balaclava(face: np.ndarray, points: Points, rng: Generator) -> Drawn:
    """A hood over the whole head with holes for the eyes, at times for the mouth."""
    solid = Solid(face, points)
    frame = solid.frame
    cloth, _ = cloth_surface(face, points, rng, solid.side, frame.unit)
    cloth = light(cloth, _folds(rng, frame, solid.side))
    wide, tall = rng.uniform(1.1, 1.4), frame.chin
    head = [(-wide, 0.3), (-0.95 * wide, -1.0), (0, rng.uniform(-2.0, -1.5)), (0.95 * wide, -1.0),
            (wide, 0.3), (0.8 * wide, 0.85 * tall), (1.1 * wide, 5), (-1.1 * wide, 5),
            (-0.8 * wide, 0.85 * tall)]  # fmt: skip
    solid.part(frame.at(closed_curve(np.array(head))), cloth, _across(frame, 1.5), 0.35)
    holes = []
    if chance(rng, 0.5):  # one slit
        half = (rng.uniform(0.75, 0.95), rng.uniform(0.2, 0.42))
        holes.append(np.clip(ring(np.ones(40)) * 1.25, -1, 1) * half + (0.2 * frame.nose, 0.03))
    else:
        half = (rng.uniform(0.27, 0.4), rng.uniform(0.17, 0.28))
        holes += [ring(np.ones(24)) * half + (sign * 0.5, 0.02) for sign in (-1, 1)]
    if chance(rng, 0.4):
        holes.append(ring(np.ones(24)) * (rng.uniform(0.35, 0.55), 0.22) + (0.3 * frame.nose, 1.13))
    for hole in holes:
        fill(solid.cover, frame.at(hole), 0)
        edge = np.concatenate((hole, hole[:1]))
        draw_line(solid.surface, frame.at(edge), 5 * solid.line, shaded(cloth[0, 0].tolist(), 0.7))
    return solid.laid(rng, glow=rng.uniform(0.75, 1.1))


def _across(frame: Frame, half: float) -> np.ndarray:
    """The face's horizontal, `half` eye distances long, px."""
    return np.array([math.cos(frame.angle), math.sin(frame.angle)]) * frame.unit * half


def _folds(rng: Generator, frame: Frame, side: int) -> np.ndarray:
    """How light falls on hanging cloth, float32 (side, side)."""
    x, y = np.meshgrid(*[np.linspace(0, side / frame.unit, 64, dtype=np.float32)] * 2)
    slant, bend = rng.normal(0, 0.4), rng.uniform(-0.5, 0.5)
    middle = frame.origin[0] / frame.unit
    phase = y + slant * x + bend * np.square(x - middle) + 0.5 * clouds(rng, 64, 4)
    depth = rng.uniform(0.03, 0.15)
    waves = np.sin(phase * rng.uniform(5, 12)) + 0.6 * np.sin(phase * rng.uniform(11, 22))
    tone = 1 - depth + depth * waves + rng.uniform(0, 0.25) * (clouds(rng, 64, 6) - 0.5)
    return cv2.resize(tone.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
