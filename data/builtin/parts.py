"""The parts of a built-in face that have the skull's shape: head, ears, neck, eyes, nose, mouth."""

import math

import numpy as np

from deocclude.data.builtin.canvas import Canvas, Cover, ellipse, ribbon, shifted, smooth
from deocclude.data.builtin.traits import EYE_DEPTH, Traits, linear

CENTRE = 128.0
FRONT = 76.0  # depth of the middle of the face in front of the ears
# Of the ellipsoid that features lie on.
_MIDDLE, _RADII = np.array([CENTRE, 140.0]), np.array([1 / 80, 1 / 135])
BLACK = np.full(3, 0.006, np.float32)


class TurnedHead:
    """Where the points of an unturned head go when it turns (yaw, pitch) about the eyes."""

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self.cos, self.sin = math.cos(traits.yaw), math.sin(traits.yaw)
        self.nod = math.sin(traits.pitch)
        self.outline_x = CENTRE - EYE_DEPTH * self.sin

    def at(self, points: np.ndarray | list, lift: float = 0.0) -> np.ndarray:
        """Points (N, 2) on the face, `lift` units in front of its surface, as seen."""
        points = np.asarray(points, dtype=np.float64)
        across = (points - _MIDDLE) * _RADII
        across *= across
        depth = np.sqrt(np.maximum(1 - across.sum(1), 0))
        return self.turned(points, FRONT * depth + lift)

    def line(self, points: np.ndarray | list, lift: float = 0.0) -> np.ndarray:
        """A smooth open curve through points on the face, as `at`."""
        return smooth(self.at(points, lift), closed=False)

    def turned(self, points: np.ndarray | list, depth: np.ndarray | float) -> np.ndarray:
        """Points (N, 2) at a given depth in front of the ears, as seen."""
        seen = np.array(points, dtype=np.float64)
        away = depth - EYE_DEPTH
        seen[:, 0] = CENTRE + (seen[:, 0] - CENTRE) * self.cos + away * self.sin
        seen[:, 1] += away * self.nod
        return seen

    def one(self, x: float, y: float, lift: float = 0.0) -> tuple[float, float]:
        """One point on the face, as seen; `at` for a single point."""
        across = ((x - CENTRE) / 80) ** 2 + ((y - 140) / 135) ** 2
        away = FRONT * math.sqrt(max(1 - across, 0.0)) + lift - EYE_DEPTH
        return CENTRE + (x - CENTRE) * self.cos + away * self.sin, y + away * self.nod

    def outline(self, grow: float = 0.0) -> np.ndarray:
        """The skull and jaw as a closed curve, `grow` units wider all round."""
        t = self.traits
        half = np.array([0.0, 34, 58, 68, 71.5, 70, 68 * t.jaw + 3, 53 * t.jaw + 3, t.chin_width,
                         0])  # fmt: skip
        half[1:8] *= t.half_width / 71.5
        drop = t.chin - 236
        levels = np.array([22.0, 28, 50, 80, 112, 145, 176 + drop / 2, 205 + drop, 229 + drop,
                           t.chin])  # fmt: skip
        depth = np.array([0.0, 0, 0, 0, 0, 2, 6, 24, 48, 56])
        half[1:-1] += grow
        levels[0] -= grow
        levels[-1] += grow
        right = np.stack((CENTRE + half, levels), axis=1)
        left = np.stack((CENTRE - half, levels), axis=1)[-2:0:-1]
        points = np.concatenate((right, left))
        return smooth(self.turned(points, np.concatenate((depth, depth[-2:0:-1]))))


def draw_body(canvas: Canvas, head: TurnedHead, texture: np.ndarray) -> None:
    """Neck and shoulders with a garment; `texture` (side, side) is smooth noise for folds."""
    t = head.traits
    half = t.half_width * (0.62 + 0.12 * (t.jaw - 0.75) * 4)
    x = CENTRE - 0.55 * EYE_DEPTH * head.sin
    neck = [(x - half, 170), (x - half, 226), (x - half - 14, 250), (x - half - 30, 290)]
    neck += [(2 * x - a, b) for a, b in reversed(neck)]
    round_x = np.clip((canvas.u - x) / (half * 1.12), -0.97, 0.97)
    normal = (round_x * (0.6 + 0.4 * round_x**2), np.full_like(round_x, 0.1))
    canvas.paint(canvas.cover(smooth(neck)), t.skin * 0.92, 1.0, normal, t.gloss * 0.5)
    canvas.shade(canvas.cover(shifted(head.outline(3), -10 * t.light[0], 15), 7), 0.62, (0.9, 1, 1))
    _draw_garment(canvas, t, x, half, texture)


def _draw_garment(canvas: Canvas, t: Traits, x: float, half: float, texture: np.ndarray) -> None:
    throat = {"crew": 252, "vee": 252, "shirt": 246, "high": 238}[t.collar]
    dip = {"crew": 10, "vee": 34, "shirt": 22, "high": 4}[t.collar]
    edge = half + 8
    shoulder = [(x - edge, throat - 8), (x - 96, 240), (x - 150, 258), (x - 170, 330)]
    shoulder += [(2 * x - a, b) for a, b in reversed(shoulder)]
    low = throat + dip * 0.7
    collar = [(x + edge * 0.55, low), (x, throat + dip), (x - edge * 0.55, low)]
    points = np.array(shoulder + (collar if t.collar != "vee" else [(x, throat + dip)]))
    nx = np.clip((canvas.u - x) / 150, -0.9, 0.9) + 0.35 * (texture - 0.5)
    ny = -0.35 + 0.5 * (np.roll(texture, 3, axis=0) - 0.5)
    cloth = t.clothes[:, None, None] * (0.85 + 0.3 * texture)
    canvas.shade(canvas.cover(shifted(points, 0, -3), 3), 0.35)
    canvas.paint(canvas.cover(points), cloth, 1.0, (nx, ny), 0.01)
    if t.collar == "shirt":
        for side in (-1, 1):
            flap = [(x + side * edge, throat - 12), (x + side * 4, throat + 20)]
            flap += [(x + side * 22, throat + 34), (x + side * (edge + 12), throat + 6)]
            canvas.shade(canvas.cover(shifted(np.array(flap), 0, 4), 2), 0.3)
            bright = np.minimum(t.clothes * 1.25 + 0.03, 1)
            canvas.paint(canvas.cover(np.array(flap)), bright, 1.0, (side * 0.25, -0.3), 0.01)


def draw_ears(canvas: Canvas, head: TurnedHead) -> None:
    """Both ears; the far one slides behind the head when it turns."""
    t = head.traits
    for side in (-1, 1):
        x, y, size = CENTRE + side * (t.half_width + 2), 138, t.ears
        shape = [(-4, -24), (5, -25), (10, -16), (9, 0), (5, 14), (0, 24), (-5, 20)]
        points = [(x + side * size * a, y + size * b) for a, b in shape]
        outer = canvas.cover(smooth(head.turned(points, -4)))
        canvas.paint(outer, t.skin * 0.95, 1, (side * 0.4, -0.05), t.gloss)
        inner = [(x + side * size * a * 0.75, y - 2 + size * b * 0.62) for a, b in shape]
        canvas.shade(canvas.cover(smooth(head.turned(inner, -4)), 2), 0.38, (0.8, 1, 1))


def draw_skull(canvas: Canvas, head: TurnedHead, skin: np.ndarray) -> None:
    """Head with the relief of brow, sockets, cheeks, nose and chin. `skin` (3, side, side)."""
    t = head.traits
    sx = np.clip((canvas.u - head.outline_x) / (t.half_width * 1.02), -1, 1)
    sy = np.clip((canvas.v - 136 - 60 * head.nod) / 118, -1, 1)
    normal = (sx * (0.42 + 0.55 * sx * sx), sy * (0.25 + 0.6 * sy * sy))
    canvas.paint(canvas.cover(head.outline()), skin, 1.0, normal, t.gloss)
    drop = t.nose_length
    for side in (-1, 1):
        gap = side * t.eye_gap
        canvas.bump(*head.one(CENTRE + gap, 102), 17, 7, 2.6)
        canvas.bump(*head.one(CENTRE + gap * 0.9, 119), 15, 10, -4.2)
        canvas.bump(*head.one(CENTRE + side * 43, 150), 17, 13, t.cheek)
        canvas.bump(*head.one(CENTRE + side * 24, 137), 11, 4, -0.5 - 1.3 * t.age)
        canvas.bump(*head.one(CENTRE + side * 47, 182), 13, 16, -2.5 * (1.15 - t.jaw) * 4)
        wing = head.one(CENTRE + side * t.nose_width * 0.86, 165 + drop, 8)
        canvas.bump(*wing, t.nose_width * 0.32, 5, 2.6)
    canvas.bump(*head.one(CENTRE, 60), 34, 22, 3)
    canvas.bump(*head.one(CENTRE, 126, 8), 6.5, 13, t.nose_rise * 0.36)
    canvas.bump(*head.one(CENTRE, 144, 16), 7.5, 15, t.nose_rise * 0.55)
    canvas.bump(*head.one(CENTRE, 159 + drop, 24), t.nose_width * 0.62, 8, t.nose_rise * 0.72)
    canvas.bump(*head.one(CENTRE, 190), 22, 15, 3.5)
    canvas.bump(*head.one(CENTRE, 176 + drop / 2), 3, 6, -0.9)
    canvas.bump(*head.one(CENTRE, 207), 14, 4, -2.0)
    canvas.bump(*head.one(CENTRE, t.chin - 13), 14, 9, 4)


def draw_complexion(canvas: Canvas, head: TurnedHead) -> None:
    """Blush, shadowed sockets, the side of the nose, folds that come with a smile or with age."""
    t = head.traits
    red = (0.15, 1.0, 0.9)
    for side in (-1, 1):
        canvas.shade(canvas.blob(*head.one(CENTRE + side * 42, 155), 17, 13), t.blush, red)
        socket = head.one(CENTRE + side * (t.eye_gap - 3), 118)
        canvas.shade(canvas.blob(*socket, 16, 9), 0.20 + 0.12 * t.age, (0.8, 1, 1))
        fold = [(15, 160), (23, 170), (29 + 2 * t.smile, 183), (30 + 3 * t.smile, 194)]
        path = head.line([(CENTRE + side * a, b) for a, b in fold], 3)
        depth = 0.05 + 0.16 * max(0.0, t.smile) + 0.14 * t.age
        canvas.shade(canvas.cover(ribbon(path, 4), 2.2), min(depth, 0.4), (0.8, 1, 1))
        if t.age > 0.55:
            low = ((18, 130), (30, 136), (44, 131))
            bag = head.line([(CENTRE + side * a, b) for a, b in low])
            canvas.shade(canvas.cover(ribbon(bag, 2.5), 1.5), 0.35 * (t.age - 0.35))
    canvas.shade(canvas.blob(*head.one(CENTRE, 163 + t.nose_length, 22), 10, 8), t.blush * 0.7, red)
    if t.age > 0.7:
        for level in (70, 80, 89):
            line = head.line([(96, level + 2), (128, level - 2), (160, level + 2)])
            canvas.shade(canvas.cover(ribbon(line, 2.0), 1.4), 0.5 * (t.age - 0.55))


def draw_eye(canvas: Canvas, head: TurnedHead, side: int) -> None:
    """One eye, `side` -1 on the picture's left: ball, iris, pupil, highlight, lids and lashes."""
    t = head.traits
    x, y = CENTRE + side * t.eye_gap, 121.0
    wide, high = t.eye_width, t.eye_open
    shape = [(-1, 0.16), (-0.62, -0.62), (-0.1, -1), (0.45, -0.78), (1, -0.05)]
    lower = [(0.55, 0.52), (0.0, 0.74), (-0.6, 0.56)]

    def lid(points: list, raise_by: float = 0.0, stretch: float = 1.0) -> np.ndarray:
        # Points run from the inner (-1) to the outer corner (1), which is higher by the tilt.
        across = [x + side * a * wide * stretch for a, _ in points]
        down = [y + b * high - t.eye_tilt * a - raise_by for a, b in points]
        return head.at(list(zip(across, down, strict=True)))

    upper = smooth(lid(shape), closed=False)
    under = smooth(lid([shape[-1], *lower, shape[0]]), closed=False)
    opening = np.concatenate((upper, under[1:-1]))
    ball = canvas.cover(opening, 0.5)
    if ball is None:
        return
    before = canvas.buffer[:, ball.rows, ball.columns].copy()
    white = linear((214, 204, 199)) * (0.95 - 0.25 * t.tone)
    full = Cover(ball.rows, ball.columns, np.ones_like(ball.alpha))
    px, py = head.one(x + t.gaze[0], y - 0.6 + t.gaze[1])
    canvas.paint(full, white, 1.0, (0.0, 0.0), 0.05)
    canvas.bump(px, py, wide * 0.8, high * 1.6, 5)
    iris = 6.6
    canvas.paint(canvas.cover(ellipse(px, py, iris * head.cos, iris), 0.5), t.iris * 0.35)
    canvas.paint(canvas.cover(ellipse(px, py, iris * 0.84 * head.cos, iris * 0.84), 0.8), t.iris)
    canvas.shade(canvas.blob(px + 1.5, py + 2.5, 3, 2), -0.7)
    canvas.paint(canvas.cover(ellipse(px, py, 2.8 * head.cos, 2.8), 0.4), BLACK)
    canvas.shade(canvas.cover(ribbon(shifted(upper, 0, 1.4), 4), 1.2), 0.55)
    glint = ellipse(px + 4 * t.light[0] + 0.4, py - 2.2, 1.5, 1.5)
    canvas.paint(canvas.cover(glint, 0.3), np.full(3, 1.1, np.float32))
    after = canvas.buffer[:, ball.rows, ball.columns]
    after[:] = before + ball.alpha * (after - before)

    corner_x, corner_y = lid([(-0.97, 0.15)])[0].tolist()
    corner = canvas.blob(corner_x, corner_y, 1.6, 1.4)
    canvas.shade(corner, 0.35, (0.3, 1, 1))
    taper = np.interp(np.linspace(0, 1, len(upper)), [0, 0.3, 0.8, 1], [0.9, 2.0, 2.7, 1.2])
    lashes = canvas.cover(ribbon(upper, taper * (1.25 if t.lip_colour[1] < 0.05 else 1)), 0.4)
    canvas.paint(lashes, t.brow * 0.2 + BLACK, 0.85)
    canvas.shade(canvas.cover(ribbon(under, 1.6), 0.7), 0.30, (0.8, 1, 1))
    crease = smooth(lid([(a, b * 0.9) for a, b in shape], 2.2 + 2.4 * t.lid, 1.05), closed=False)
    canvas.shade(canvas.cover(ribbon(crease, 2.2), 0.9), 0.22 + 0.25 * t.lid, (0.85, 1, 1))


def draw_brow(canvas: Canvas, head: TurnedHead, side: int, texture: np.ndarray) -> None:
    """One eyebrow: thick by the nose, thin at the temple, with the grain of hair."""
    t = head.traits
    base = 104.5 - t.brow_lift
    points = [
        (-17, 2.5), (-6, -0.6 * t.brow_arch), (8, -t.brow_arch), (21, 3.5 - 0.3 * t.brow_arch),
    ]  # fmt: skip
    bend = [(CENTRE + side * (t.eye_gap + a), base + b) for a, b in points]
    path = head.line(bend, 3)
    width = np.interp(np.linspace(0, 1, len(path)), [0, 0.25, 0.65, 1], [0.75, 1, 0.8, 0.15])
    place = canvas.cover(ribbon(path, width * t.brow_width), 1.2)
    if place is not None:
        grain = 0.65 + 0.7 * texture[place.rows, place.columns]
        place = place._replace(alpha=np.minimum(place.alpha * grain, 1))
    canvas.paint(place, t.brow, t.brow_strength)


def draw_nose(canvas: Canvas, head: TurnedHead) -> None:
    """Nostrils, wings and the shadow below; the relief itself belongs to the skull."""
    t = head.traits
    drop, wide = t.nose_length, t.nose_width
    shadow = head.one(CENTRE + 3 * head.sin - 4 * t.light[0], 172 + drop, 8)
    canvas.shade(canvas.blob(*shadow, wide * 0.9, 3.2), 0.30, (0.85, 1, 1))
    for side in (-1, 1):
        hole = head.one(CENTRE + side * wide * 0.42, 168.5 + drop, 12)
        canvas.shade(canvas.cover(ellipse(*hole, wide * 0.23, 2.0), 1.0), 0.72, (0.9, 1, 1))
        wing = [(0.78, 158), (1.05, 164), (1.0, 169.5), (0.72, 171)]
        path = head.line([(CENTRE + side * wide * a, b + drop) for a, b in wing], 6)
        canvas.shade(canvas.cover(ribbon(path, 2.2), 1.3), 0.30, (0.8, 1, 1))


def draw_mouth(canvas: Canvas, head: TurnedHead) -> None:
    """Lips around an opening that may show teeth; a smile lifts and widens the corners."""
    t = head.traits
    wide, y, fat = t.mouth_width, 187.5 + t.mouth_drop, t.lips
    lift, gape = 3.2 * t.smile, t.gape
    tops = [(-1, -lift), (-0.5, -0.35 * lift - 0.25 * gape), (0, 0.6 - 0.4 * gape)]
    tops += [(-a, b) for a, b in reversed(tops[:2])]
    lows = [(-1, -lift), (-0.5, 0.3 * lift + 0.45 * gape), (0, 0.75 * lift + 0.75 * gape + 0.6)]
    lows += [(-a, b) for a, b in reversed(lows[:2])]
    ridges = [(-1, -lift), (-0.52, -0.5 * lift - 3.6 * fat - 0.3 * gape)]
    ridges += [(-0.17, -6.2 * fat - 0.45 * gape), (0, -4.9 * fat - 0.45 * gape)]
    ridges += [(-a, b) for a, b in reversed(ridges[:3])]
    keels = [(-1, -lift), (-0.55, 0.4 * lift + 5.2 * fat + 0.45 * gape)]
    keels += [(0, 0.75 * lift + 8.6 * fat + 0.75 * gape)]
    keels += [(-a, b) for a, b in reversed(keels[:2])]

    def curve(points: list) -> np.ndarray:
        return head.line([(CENTRE + a * wide, y + b) for a, b in points], 3)

    top, low, ridge, keel = curve(tops), curve(lows), curve(ridges), curve(keels)
    below = head.one(CENTRE, y + 12.5 * fat + 0.75 * (gape + lift))
    canvas.shade(canvas.blob(*below, wide * 0.5, 3.5), 0.24, (0.85, 1, 1))
    upper_lip = canvas.cover(np.concatenate((ridge, top[::-1])), 0.8)
    lower_lip = canvas.cover(np.concatenate((keel, low[::-1])), 0.8)
    canvas.paint(upper_lip, t.lip_colour * 0.82, 0.9, (0.0, 0.28), 0.05)
    canvas.paint(lower_lip, t.lip_colour, 0.9, (0.0, -0.12), 0.12)
    fullness = head.one(CENTRE, y + 4.6 * fat + 0.75 * (gape + lift), 4)
    canvas.bump(*fullness, wide * 0.5, 3.2 * fat, 2.0)
    if gape > 0.8 or t.smile > 1:
        opening = np.concatenate((top, low[::-1]))
        cover = canvas.cover(opening, 0.5)
        canvas.paint(cover, linear((58, 20, 20)), 1.0, (0.0, 0.0), 0.02)
        if t.teeth and cover is not None:
            _draw_teeth(canvas, head, cover, top, y, gape + 0.7 * max(lift, 0))
    seam = np.interp(np.linspace(-1, 1, len(top)), [-1, 0, 1], [0.8, 2.0, 0.8])
    canvas.shade(canvas.cover(ribbon(top, seam), 0.7), 0.70, (0.85, 1, 1))
    for corner_x, corner_y in (top[0].tolist(), top[-1].tolist()):
        canvas.shade(canvas.blob(corner_x, corner_y, 2.6, 2.4), 0.40, (0.85, 1, 1))


def _draw_teeth(
    canvas: Canvas, head: TurnedHead, opening: Cover, top: np.ndarray, y: float, room: float
) -> None:
    """A bright row under the upper lip, inside the opening; darker towards the corners."""
    middle = top[:, 0].mean()
    reach = (top[-1, 0] - top[0, 0]) / 2
    depth = np.interp(np.abs(top[:, 0] - middle) / reach, [0, 0.9, 1], [1, 0.75, 0.2])
    row = np.concatenate(
        (shifted(top, 0, -1), (top + np.stack((depth * 0, depth * min(7.5, 0.75 * room)), 1))[::-1])
    )
    teeth = canvas.cover(row, 0.5)
    if teeth is None:
        return
    alpha = np.zeros((canvas.side, canvas.side), np.float32)
    alpha[teeth.rows, teeth.columns] = teeth.alpha
    u = canvas.u[opening.rows, opening.columns]
    shadow = np.clip(1.1 - ((u - middle) / reach) ** 2, 0.25, 1)
    gaps = 0.93 + 0.07 * np.cos((u - middle) * (2 * np.pi / 6.5) + np.pi)
    alpha = alpha[opening.rows, opening.columns] * opening.alpha * shadow * gaps
    canvas.paint(opening._replace(alpha=alpha), linear((236, 230, 218)), 0.95, (0.0, -0.1), 0.12)
