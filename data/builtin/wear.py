"""What grows on or is worn by a built-in face: hair, beard, glasses, head covers."""

import numpy as np

from deocclude.data.builtin.canvas import Canvas, Cover, blur, ellipse, ribbon, shifted, smooth
from deocclude.data.builtin.parts import CENTRE, TurnedHead

LONG = ("bob", "long")
Normal = tuple[np.ndarray, np.ndarray]


class Hair:
    """Colour and normals of hair over the whole canvas: strands that fall from the parting."""

    def __init__(
        self, canvas: Canvas, head: TurnedHead, table: np.ndarray, texture: np.ndarray
    ) -> None:
        t = head.traits
        self.head, self.traits, self.texture = head, t, texture
        x = head.outline_x + (t.part if t.style not in ("bun", "cover") else 0)
        du, dv = canvas.u - x, canvas.v - 30
        radius = np.sqrt(du * du + dv * dv)
        angle = np.arctan2(du, dv + 10)
        if t.style == "curly":
            strands = texture
        else:
            angle += t.wave * np.sin(radius * 0.09 + 4 * texture)
            place = (angle * (256 / t.strand_scale) + 4096).astype(np.int32)
            strands = 0.7 * table[place % len(table)] + 0.3 * texture
        if t.style == "cover":
            strands = 0.5 + 0.3 * (texture - 0.5)
        wide = t.half_width + t.volume
        nx = np.clip((canvas.u - head.outline_x) / (wide * 1.15), -0.95, 0.95)
        ny = np.clip((canvas.v - 105) / 120, -0.85, 0.6)
        self.normal: Normal = (nx + 0.7 * (strands - 0.5), ny + 0.25 * (texture - 0.5))
        # A ring of light round the crown, broken by the strands.
        ring = np.exp(-(((radius - 52) / 22) ** 2)) * (0.5 + strands)
        tone = 0.45 + 1.0 * strands + 0.35 * ring
        self.colour = np.minimum(t.hair[:, None, None] * tone + 0.012 * ring, 1)

    def lay(
        self, canvas: Canvas, points: np.ndarray, soft: float = 1.2, opacity: float = 1
    ) -> None:
        """Paint this outline as hair, with the shadow it throws on what is below."""
        light = self.traits.light
        below = canvas.cover(shifted(points, -4 * light[0], 4), 3.5)
        canvas.shade(below, 0.38 * opacity, (0.9, 1, 1))
        canvas.paint(canvas.cover(points, soft), self.colour, opacity, self.normal, 0.05)


def _curl(points: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Points pushed in and out at random: a ragged or curly edge."""
    middle = points.mean(0)
    return middle + (points - middle) * (1 + amount * rng.standard_normal((len(points), 1)))


def draw_back_hair(canvas: Canvas, hair: Hair, rng: np.random.Generator) -> None:
    """Hair behind head and neck; nothing for short styles."""
    t, x = hair.traits, hair.head.outline_x
    wide = t.half_width + t.volume
    if t.style in LONG:
        end = 214 if t.style == "bob" else 275
        spread = 12 if t.style == "bob" else 22
        side = [(wide, 110), (wide + 6, 160), (wide + spread, 215), (wide + spread - 6, end)]
        points = [(x + a, b) for a, b in side] + [(x, end - 4)]
        points += [(x - a, b) for a, b in reversed(side)]
        points += [(x - wide * 0.6, 40), (x + wide * 0.6, 40)]
        hair.lay(canvas, smooth(_curl(np.array(points), rng, 0.015)), 2)
    elif t.style == "curly":
        size = 1.05 + t.volume / 26
        ring = ellipse(x, 104, wide * size, wide * size * 1.05)
        hair.lay(canvas, smooth(_curl(ring, rng, 0.03)), 3)
    elif t.style == "bun":
        bun = ellipse(x + t.part * 0.3, 14 - t.volume * 0.4, 24 + t.volume * 0.5, 24)
        hair.lay(canvas, bun, 1.5)
    elif t.style == "cover":
        side = [
            (wide - 14, 60), (wide - 5, 110), (wide - 6, 165), (wide - 4, 215), (wide + 24, 262),
        ]  # fmt: skip
        points = [(x + a, b) for a, b in side] + [(x - a, b) for a, b in reversed(side)]
        hair.lay(canvas, smooth(points), 1)
    canvas.shade(canvas.blob(x, 215, 46, 45), 0.45 if t.style in (*LONG, "cover") else 0.0)


def _cap(
    head: TurnedHead, volume: float, low: float, front: list[tuple[float, float]]
) -> np.ndarray:
    """The outline of hair on the skull: over the top, then back along the hairline `front`.

    `front` runs from the picture's right to its left: (share of the half width, height).
    """
    t = head.traits
    angle = np.linspace(0, np.pi, 13)
    wide = t.half_width + 0.35 * volume + 2
    top = 112 - 22 + volume
    points = np.stack((CENTRE + wide * np.cos(angle), 112 - top * np.sin(angle) ** 0.85), axis=1)
    outer = np.concatenate(([[CENTRE + wide - 1, low]], points, [[CENTRE - wide + 1, low]]))
    inner = np.array([(CENTRE + t.half_width * a, b) for a, b in reversed(front)])
    return np.concatenate((smooth(head.turned(outer, 0.0), False), head.line(inner)))


def draw_front_hair(canvas: Canvas, hair: Hair, rng: np.random.Generator) -> None:
    """Hair over forehead, temples and, for long styles, shoulders."""
    t, head = hair.traits, hair.head
    line, back = t.hairline, t.recede
    jitter = rng.normal(0, 2, 9)
    if t.style == "bald":
        if t.age > 0.4 and t.tone < 0.9:
            _side_patches(canvas, hair)
        return
    if t.style == "cover":
        edge = 50 + 0.3 * (line - 64)
        front = [(1.0, 150), (0.97, 112), (0.80, 74), (0.45, edge + 4), (0, edge)]
        front += [(-a, b) for a, b in reversed(front[:-1])]
        hair.lay(canvas, _cap(head, 4 + 0.4 * t.volume, 150, front), 0.8)
        return
    temple = line + 14 - back * 0.9
    front = [
        (1.0, 138), (0.93, 116), (0.86, 92), (0.70, temple), (0.36, line - back * 0.5),
        (0, line + 2),
    ]  # fmt: skip
    front += [(-a, b) for a, b in reversed(front[:-1])]
    if t.style == "fringe":
        front = [(1.0, 140), (0.95, 112), (0.80, 101), (0.5, 97), (0.2, 95), (-0.1, 96)]
        front += [(-0.4, 95), (-0.75, 100), (-0.95, 112), (-1.0, 140)]
    elif t.style == "parted" or t.style in LONG:
        share = np.clip(t.part / t.half_width, -0.6, 0.6)
        sweep = 10 + 8 * abs(share)
        front = [
            (1.0, 138), (0.95, 112), (0.80, 86 + sweep * (share < 0)), (share + 0.25, line + 4),
        ]  # fmt: skip
        front += [(share, line - 8), (share - 0.25, line + 4)]
        front += [(-0.80, 86 + sweep * (share > 0)), (-0.95, 112), (-1.0, 138)]
    ragged = 0.3 if t.style in ("buzz", "bun") else 1.0
    front = [
        (a, b + ragged * j) for (a, b), j in zip(front, np.resize(jitter, len(front)), strict=True)
    ]
    volume = {"buzz": 1.0, "bun": 3.0, "curly": 8 + t.volume}.get(t.style, t.volume)
    low = 132 if t.style in ("buzz", "short", "parted", "bun") else 145
    outline = _cap(head, volume, low, front)
    if t.style == "curly":
        outline = _curl(outline, rng, 0.02)
    buzz = t.style == "buzz"
    hair.lay(canvas, outline, 3.5 if buzz else 1.3, 0.78 if buzz else 1.0)
    if t.style in LONG:
        _curtains(canvas, hair, rng)


def _side_patches(canvas: Canvas, hair: Hair) -> None:
    t = hair.traits
    for side in (-1, 1):
        shape = [(0.84, 96), (1.03, 92), (1.05, 128), (0.97, 142), (0.92, 120)]
        points = np.array([(CENTRE + side * t.half_width * a, b) for a, b in shape])
        place = canvas.cover(smooth(hair.head.turned(points, 8)), 3)
        canvas.paint(place, hair.colour, 0.8, hair.normal, 0.03)


def _curtains(canvas: Canvas, hair: Hair, rng: np.random.Generator) -> None:
    """Hair that falls beside the cheeks, over ears and shoulders."""
    t = hair.traits
    end = 208 if t.style == "bob" else 268
    wide = t.half_width + t.volume
    for side in (-1, 1):
        sway = rng.normal(0, 5, 4)
        flare = 12 if t.style == "bob" else 24
        outer = [(wide * 0.86, 70), (wide + 2, 112), (wide + 9, 165), (wide + flare, end - 15)]
        inner = [(wide + flare - 10, end), (t.half_width + 2 + sway[1], end)]
        inner += [(t.half_width - 2 + sway[2], end - 40), (t.half_width - 5 + sway[3] * 0.5, 160)]
        inner += [(t.half_width - 5, 118), (wide * 0.72, 82)]
        points = np.array([(CENTRE + side * a, b) for a, b in outer + inner])
        hair.lay(canvas, smooth(hair.head.turned(points, 4)), 1.3)


def draw_beard(canvas: Canvas, head: TurnedHead, texture: np.ndarray, hair: np.ndarray) -> None:
    """Stubble to full beard on the jaw, and a moustache; `texture` (side, side) gives the grain."""
    t = head.traits
    dark = np.minimum(hair, hair * 0.4 + t.skin * 0.25)
    sides = [(0.99, 142), (0.86, 166), (0.55, 184), (0.44, 196)]
    mouth = [(0.30, 205), (0.0, 203)]
    round_it = sides + mouth + [(-a, b) for a, b in reversed(sides + mouth[:1])]
    inner = np.array([(CENTRE + t.half_width * a, b) for a, b in round_it])
    jaw = head.outline(1 + 6 * t.beard * t.beard)
    lower = jaw[jaw[:, 1] > 140 + 62 * head.nod]
    grain = np.clip(0.7 + 0.6 * texture, 0, 1.2)
    if t.beard:
        edge = head.line(inner)
        lower = lower[np.argsort(np.arctan2(lower[:, 0] - head.outline_x, lower[:, 1] - 120))]
        # `inner` runs from right to left, `lower` is sorted from left to right.
        cover = canvas.cover(np.concatenate((edge, lower)), 2 + 4 * (1 - t.beard))
        _grow(canvas, cover, grain, dark, t.beard)
    if t.moustache:
        y = 176.5 + t.mouth_drop
        shape = [
            (0.0, y - 2), (0.55, y - 2), (1.0, y + 9 - 2 * t.smile), (0.5, y + 5.5), (0.0, y + 4.5),
        ]  # fmt: skip
        left = [(-a, b) for a, b in shape[3:0:-1]]
        points = [(CENTRE + t.mouth_width * a, b) for a, b in shape + left]
        _grow(canvas, canvas.cover(smooth(head.at(points, 5)), 2), grain, dark, t.moustache)


def _grow(
    canvas: Canvas, cover: Cover | None, grain: np.ndarray, colour: np.ndarray, strength: float
) -> None:
    if cover is not None:
        rough = np.clip(cover.alpha * grain[cover.rows, cover.columns], 0, 1)
        tone = colour[:, None, None] * (0.6 + 0.5 * grain)
        canvas.paint(cover._replace(alpha=rough), tone, strength, gloss=0.02)


def draw_glasses(canvas: Canvas, head: TurnedHead) -> None:
    """Frame, bridge, temples, lenses with a reflection, and the shadow on the cheeks."""
    t = head.traits
    if t.glasses == "none":
        return
    size, thick = t.frame_size, 2.4 if t.glasses in ("round", "half") else 3.8
    rims = []
    for side in (-1, 1):
        x = CENTRE + side * (t.eye_gap + 1)
        if t.glasses == "round":
            rim = ellipse(x, 123, 22.5 * size, 21 * size)
        else:
            corners = [
                (-22, -12), (-8, -15), (10, -15), (24, -13), (23, 6), (12, 16), (-10, 16), (-20, 6),
            ]  # fmt: skip
            rim = smooth([(x + side * a * size, 122 + b * size) for a, b in corners])
        rims.append(head.at(rim, 10))
    bridge = head.line([(CENTRE - 11, 119), (CENTRE, 116), (CENTRE + 11, 119)], 12)
    ends = [(CENTRE + s * 54 * size, CENTRE + s * 74) for s in (-1, 1)]
    arms = [np.concatenate((head.at([(a, 116)], 10), head.turned([(b, 120)], 0))) for a, b in ends]
    closed = [np.concatenate((rim, rim[:2])) for rim in rims]
    for path in closed:
        canvas.shade(canvas.cover(shifted(ribbon(path, thick), -4 * t.light[0], 4), 2), 0.22)
    for rim in rims:
        lens = canvas.cover(rim)
        if t.glasses == "dark":
            canvas.paint(lens, t.frame * 0.3 + 0.004, 0.93, (0.0, -0.1), 0.25)
        else:
            canvas.shade(lens, 0.06)
        flash = rim.mean(0) + np.array([[-13, -6], [-5, -12], [2, -12], [-11, 2]]) * size
        canvas.paint(canvas.cover(flash, 1.5), np.full(3, 0.9, np.float32), 0.13)
    half = len(closed[0]) // 2
    for path in (*closed, bridge, *arms):
        stroke = path if t.glasses != "half" or len(path) < 20 else path[half:]
        canvas.paint(canvas.cover(ribbon(stroke, thick), 0.3), t.frame, 1.0, (0.0, -0.3), 0.35)
    if t.glasses == "half":
        for path in closed:
            canvas.shade(canvas.cover(ribbon(path, 1.0), 0.4), 0.4)


def smooth_noise(rng: np.random.Generator, cells: int, spread: float = 0.18) -> np.ndarray:
    """A grid (cells, cells) of noise around 0.5, clipped to [0, 1]."""
    grid = 0.5 + spread * rng.standard_normal((cells, cells), dtype=np.float32)
    return np.clip(grid, 0, 1)


def strand_table(rng: np.random.Generator) -> np.ndarray:
    """Lightness of hair by direction: 4096 entries around 0.5, fine strands over broad locks."""
    fine = blur(rng.standard_normal((1, 4096), dtype=np.float32), 2.0)[0]
    broad = blur(rng.standard_normal((1, 4096), dtype=np.float32), 14.0)[0]
    return np.clip(0.5 + 0.16 * fine / fine.std() + 0.16 * broad / broad.std(), 0, 1)
