"""Paint for drawn occluders: colours, patterns, light, and how a layer is laid over a face.

Layers are drawn at `working_side(size)`, so that thin lines survive on small pictures, and averaged
down when they are laid on.
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.random import Generator

FAINT = 10  # of 255: coverage below this is dropped, so that no trace stays outside of the mask
MIN_WORKING_SIDE = 192
TILE = 64

Colour = tuple[int, int, int]
Option = TypeVar("Option")


def working_side(size: int) -> int:
    """The side that layers are drawn at: a multiple of `size`, at least 192 px."""
    return size * max(1, -(-MIN_WORKING_SIDE // size))


def chance(rng: Generator, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def pick(rng: Generator, options: Sequence[Option]) -> Option:
    """One of the options, each as likely."""
    return options[rng.integers(len(options))]


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A draw whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def random_colour(rng: Generator) -> Colour:
    """RGB: near black, near white or grey in four cases of ten, else any hue."""
    case, value = rng.random(2).tolist()
    if case < 0.4:
        level = 35 * value if case < 0.15 else 215 + 40 * value if case < 0.28 else 50 + 160 * value
        return tuple(int(np.clip(level + tint, 0, 255)) for tint in rng.normal(0, 4, 3))
    hue, saturation = rng.random(), rng.uniform(0.25, 1.0)
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, 0.25 + 0.75 * value))


def shaded(colour: Colour, factor: float) -> Colour:
    """`colour` made darker (factor < 1) or lighter."""
    return tuple(min(255, max(0, round(channel * factor))) for channel in colour)


def face_light(face: np.ndarray) -> float:
    """How bright the middle of the face is, 1 for a usual photograph, in [0.45, 1.2]."""
    size = face.shape[0]
    part = face[size // 4 : 3 * size // 4 : 4, size // 4 : 3 * size // 4 : 4]
    return float(np.clip(part.mean() / 140, 0.45, 1.2))


def clouds(rng: Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise in [0, 1], float32 (side, side), with about `cells` bumps a side."""
    grid = rng.random((cells, cells), dtype=np.float32)
    return cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR)


def _plain_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    pass


def _stripe_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    width = int(rng.integers(6, 40))
    tile[:, :width] = ink
    if chance(rng, 0.4):
        tile[:, 44:50] = random_colour(rng)


def _check_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    half = TILE // 2
    tile[:half, :half] = tile[half:, half:] = ink
    if chance(rng, 0.5):  # gingham: the crossings of two light bands
        middle = tuple((int(a) + int(b)) // 2 for a, b in zip(tile[half, 0], ink, strict=True))
        tile[:half, half:] = tile[half:, :half] = middle


def _plaid_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    paper = tile.astype(np.float32)
    for _ in range(3):
        start, width = int(rng.integers(0, 48)), int(rng.integers(3, 16))
        band = np.array(random_colour(rng), np.float32)
        for part in (paper[start : start + width], paper[:, start : start + width]):
            part += 0.5 * (band - part)
    tile[:] = paper


def _dot_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    radius = int(rng.integers(6, 15))
    for centre in ((16, 16), (48, 48)):
        cv2.circle(tile, centre, radius, ink, -1, cv2.LINE_AA)


def _flower_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    heart, leaf = random_colour(rng), (60 + int(rng.integers(60)), 130, 70)
    turns = rng.uniform(0, math.tau, 3)
    for (x, y), size, turn in zip(((17, 18), (46, 44), (50, 12)), (7, 8, 4), turns, strict=True):
        petals = int(rng.integers(5, 7))
        cv2.ellipse(tile, (x - size, y + size + 3), (size, 3), 40, 0, 360, leaf, -1, cv2.LINE_AA)
        for i in range(petals):
            angle = turn + math.tau * i / petals
            centre = (round(x + size * math.cos(angle)), round(y + size * math.sin(angle)))
            turned = math.degrees(angle)
            cv2.ellipse(
                tile, centre, (size, max(2, size * 2 // 3)), turned, 0, 360, ink, -1, cv2.LINE_AA
            )
        cv2.circle(tile, (x, y), max(2, size // 2), heart, -1, cv2.LINE_AA)


def _camouflage_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    for colour in (ink, shaded(ink, 0.6), random_colour(rng)):
        grid = rng.random((5, 5), dtype=np.float32)
        grid = np.pad(grid, ((0, 3), (0, 3)), "wrap")  # so that the tile's edges meet
        noise = cv2.resize(grid, None, fx=TILE / 5, fy=TILE / 5, interpolation=cv2.INTER_CUBIC)
        offset = round(TILE / 5)
        tile[noise[offset : offset + TILE, offset : offset + TILE] > 0.62] = colour


def _weave_tile(rng: Generator, tile: np.ndarray, ink: Colour) -> None:
    dark, light = shaded(ink, 0.75), shaded(ink, 1.15)
    tile[:] = ink
    for y in range(0, TILE, 16):
        for x in range(0, TILE, 16):
            tile[y + 1 : y + 7, x : x + 14] = light
            tile[y + 8 : y + 15, x + 1 : x + 7] = dark
            tile[y + 8 : y + 15, x + 9 : x + 15] = shaded(ink, 0.9)


PATTERNS: dict[str, Callable[[Generator, np.ndarray, Colour], None]] = {
    "plain": _plain_tile,
    "stripes": _stripe_tile,
    "checks": _check_tile,
    "plaid": _plaid_tile,
    "dots": _dot_tile,
    "flowers": _flower_tile,
    "camouflage": _camouflage_tile,
    "weave": _weave_tile,
}


def pattern(
    rng: Generator, side: int, name: str, paper: Colour, ink: Colour, repeat: float, turn: float
) -> np.ndarray:
    """A repeated pattern, uint8 (side, side, 3); a tile is `repeat` px wide, turned by `turn`."""
    if name == "plain":
        return np.full((side, side, 3), paper, np.uint8)
    tile = np.full((TILE, TILE, 3), paper, np.uint8)
    PATTERNS[name](rng, tile, ink)
    scale = TILE / repeat
    if scale > 1:  # averaged first, or a fine pattern flickers
        fewer = max(4, round(TILE / scale))
        tile = cv2.resize(tile, (fewer, fewer), interpolation=cv2.INTER_AREA)
        scale = fewer / repeat
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    x, y = rng.uniform(0, TILE, 2)
    to_tile = np.array([[cosine, -sine, x], [sine, cosine, y]])
    return cv2.warpAffine(
        tile,
        to_tile,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )


def gradient(rng: Generator, side: int, first: Colour, second: Colour) -> np.ndarray:
    """A linear or radial run from one colour to another, uint8 (side, side, 3)."""
    across, down = np.meshgrid(*[np.linspace(-1, 1, 32, dtype=np.float32)] * 2)
    if chance(rng, 0.35):
        x, y = rng.uniform(-0.7, 0.7, 2)
        run = np.sqrt((across - x) ** 2 + (down - y) ** 2)
    else:
        angle = rng.uniform(0, math.tau)
        run = 0.5 + 0.5 * (across * math.cos(angle) + down * math.sin(angle))
    run = np.clip(run, 0, 1)[..., None]
    small = np.float32(first) + run * (np.float32(second) - np.float32(first))
    return cv2.resize(small.astype(np.uint8), (side, side), interpolation=cv2.INTER_LINEAR)


def paint(rng: Generator, side: int) -> np.ndarray:
    """A surface for a shape, uint8 (side, side, 3): flat, gradient, clouds or a pattern, lit."""
    first, second = random_colour(rng), random_colour(rng)
    case = rng.random()
    if case < 0.22:
        surface = np.full((side, side, 3), first, np.uint8)
    elif case < 0.47:
        surface = gradient(rng, side, first, second)
    elif case < 0.65:
        mix = clouds(rng, side, int(rng.integers(3, 28)))
        steps = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        table = np.float32(first) + steps * (np.float32(second) - np.float32(first))
        surface = table.astype(np.uint8)[(mix * 255).astype(np.uint8)]
    else:
        names = [name for name in PATTERNS if name != "plain"]
        name = pick(rng, names)
        repeat, turn = side * math.exp(rng.uniform(-3.2, -1.0)), rng.uniform(0, math.tau)
        surface = pattern(rng, side, name, first, second, repeat, turn)
    if chance(rng, 0.6):
        surface = light(surface, 0.65 + 0.6 * clouds(rng, side, 2))
    return grain(rng, surface, rng.uniform(0, 10)) if chance(rng, 0.4) else surface


def light(surface: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """`surface` uint8 (h, w, 3) times `factor` float32 (h, w), rounded and clipped."""
    return cv2.multiply(surface, cv2.merge((factor,) * 3), dtype=cv2.CV_8U)


def grain(rng: Generator, surface: np.ndarray, amount: float) -> np.ndarray:
    """Sensor-like noise of `amount` grey levels, the same in the three channels."""
    field = rng.standard_normal(surface.shape[:2], dtype=np.float32) * amount
    return cv2.add(surface, cv2.merge((field,) * 3), dtype=cv2.CV_8U)


def shrink(layer: np.ndarray, size: int) -> np.ndarray:
    """A drawn layer averaged down to `size`; itself when it already has that size."""
    if layer.shape[0] == size:
        return layer
    return cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)


def edge(rng: Generator, side: int) -> float:
    """Sigma of a layer's soft edge in px: hard in two cases of three."""
    return 0.0 if chance(rng, 0.67) else side * rng.uniform(0.004, 0.03)


def soften(cover: np.ndarray, sigma: float) -> np.ndarray:
    """A coverage layer with a soft edge; a wide one is blurred at a coarser scale."""
    if sigma < 0.3:
        return cover
    if sigma <= 4:
        return cv2.GaussianBlur(cover, (0, 0), sigma)
    step = 2 ** int(math.log2(sigma / 2))
    side = max(8, cover.shape[0] // step)
    small = cv2.resize(cover, (side, side), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * side / cover.shape[0])
    return cv2.resize(small, cover.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def blend(face: np.ndarray, surface: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`surface` over `face` by `weight`, float32 (S, S) in [0, 1]; where it is 0, `face` itself."""
    return cv2.blendLinear(surface, face, weight, 1 - weight)


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """`mask` {0, 1} grown by `pixels` on every side; not on small pictures, where it means more."""
    if not pixels or mask.shape[0] < MIN_WORKING_SIDE:
        return mask
    return cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=pixels)


def lay(
    face: np.ndarray,
    cover: np.ndarray,
    surface: np.ndarray | Colour,
    opacity: float = 1.0,
    grow: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a drawn layer over a face.

    Args:
        face: uint8 (S, S, 3).
        cover: uint8 (W, W), 255 where the layer covers; W is S or a multiple of it.
        surface: its colours, uint8 (W, W, 3), or one colour.
        opacity: of the whole layer; the mask is that of the layer however faint it is.
        grow: pixels that the mask reaches beyond the layer.

    Returns (occluded uint8 (S, S, 3), mask uint8 (S, S) {0, 1}). Outside of the mask the occluded
    picture is `face`, bit for bit.
    """
    size = face.shape[0]
    cover = shrink(cover, size)
    cover = np.where(cover < FAINT, np.uint8(0), cover)
    if isinstance(surface, tuple):
        surface = np.full_like(face, surface)
    weight = cover.astype(np.float32) * (opacity / 255)
    mask = (cover > 0).astype(np.uint8)
    return blend(face, shrink(surface, size), weight), grown(mask, grow)


def contact_shadow(
    face: np.ndarray, cover: np.ndarray, offset: tuple[float, float], strength: float
) -> np.ndarray:
    """`face` darkened softly around `cover`, which casts its shadow `offset` px (x, y) away."""
    size = face.shape[0]
    small = cv2.resize(cover, (64, 64), interpolation=cv2.INTER_AREA)
    move = np.float32([[1, 0, offset[0] * 64 / size], [0, 1, offset[1] * 64 / size]])
    small = cv2.GaussianBlur(cv2.warpAffine(small, move, (64, 64)), (0, 0), 1.4)
    factor = 1 - small.astype(np.float32) * (strength / 255)
    return light(face, cv2.resize(factor, (size, size), interpolation=cv2.INTER_LINEAR))
