"""Built-in faces: shaded, face-like pictures from a seed and an index, no data file needed.

They stand in for photographs where none are at hand: quick runs, tests, documentation. They are
aligned as face data usually is: at 256 px the pupils lie near (96, 121) and (160, 121), the nose
tip near (128, 162), the mouth corners near (99, 186) and (157, 186), the chin near (128, 236).
"""

import math

import cv2
import numpy as np

from deocclude.data.builtin.canvas import Canvas, Light, blur, spread
from deocclude.data.builtin.parts import (
    CENTRE,
    TurnedHead,
    draw_body,
    draw_brow,
    draw_complexion,
    draw_ears,
    draw_eye,
    draw_mouth,
    draw_nose,
    draw_skull,
)
from deocclude.data.builtin.traits import Traits, another_picture, draw_traits
from deocclude.data.builtin.wear import (
    Hair,
    draw_back_hair,
    draw_beard,
    draw_front_hair,
    draw_glasses,
    smooth_noise,
    strand_table,
)
from deocclude.data.seeding import keyed_rng

MIN_SIZE = 16
WORKING_SIDE = 96  # pixels; smaller pictures are drawn this large and averaged down


def face_traits(index: int, seed: int = 0) -> Traits:
    """The person, pose and light of one face."""
    return draw_traits(keyed_rng(seed, "built-in face", index))


def person_traits(person: int, picture: int, seed: int = 0) -> Traits:
    """A picture of one of a number of people: equal `person` and `seed` are the same person."""
    who = draw_traits(keyed_rng(seed, "built-in person", person))
    return another_picture(who, keyed_rng(seed, "built-in person's picture", person, picture))


def landmarks(index: int, seed: int = 0, size: int = 256) -> dict[str, tuple[float, float]]:
    """Where the features are, (x, y) in px of a picture `size` wide, left = the picture's left."""
    return landmarks_of(face_traits(index, seed), size)


def landmarks_of(traits: Traits, size: int = 256) -> dict[str, tuple[float, float]]:
    """The same of a face whose traits are known."""
    head, pose = TurnedHead(traits), _pose(traits)
    corner = 187.5 + traits.mouth_drop - 3.2 * traits.smile
    points = {
        "left_eye": head.one(CENTRE - traits.eye_gap, 121),
        "right_eye": head.one(CENTRE + traits.eye_gap, 121),
        "nose_tip": head.one(CENTRE, 162 + traits.nose_length, 24),
        "left_mouth": head.one(CENTRE - traits.mouth_width, corner, 3),
        "right_mouth": head.one(CENTRE + traits.mouth_width, corner, 3),
        "chin": tuple(head.turned([[CENTRE, traits.chin]], 56)[0].tolist()),
    }
    scale = size / 256
    placed = {name: (pose @ (*point, 1.0)).tolist() for name, point in points.items()}
    return {name: (x * scale, y * scale) for name, (x, y) in placed.items()}


def render_face(index: int, size: int, seed: int = 0) -> np.ndarray:
    """One face, uint8 RGB (size, size, 3). The same (seed, index) is the same face at every size.

    Raises ValueError for a size below 16 or a negative index.
    """
    if index < 0:
        raise ValueError(f"index: must be 0 or more, found {index}")
    rng = keyed_rng(seed, "built-in face texture", index)
    return render_traits(face_traits(index, seed), rng, size)


def render_person(person: int, picture: int, size: int, seed: int = 0) -> np.ndarray:
    """One of many pictures of a person, as `render_face`; see `person_traits`."""
    rng = keyed_rng(seed, "built-in person's texture", person, picture)
    return render_traits(person_traits(person, picture, seed), rng, size)


def render_traits(traits: Traits, rng: np.random.Generator, size: int) -> np.ndarray:
    """The face of these traits; `rng` draws its hairs, pores and backdrop."""
    if size < MIN_SIZE:
        raise ValueError(f"size: built-in faces need at least {MIN_SIZE} px, found {size}")
    side = max(size, WORKING_SIDE)
    canvas = Canvas(side, _pose(traits))
    _draw(canvas, traits, rng)
    picture = canvas.lit(Light(traits.light, traits.key, traits.ambient))
    picture = blur(picture, traits.softness * canvas.scale)
    if side != size:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    # Back to display values, with a shoulder instead of a hard clip of the highlights.
    picture = np.sqrt(np.maximum(picture, 0))
    picture = np.where(picture > 0.8, 1 - 0.2 * np.exp(-(picture - 0.8) / 0.2), picture) * 255
    picture += traits.grain * rng.standard_normal((size, size, 1), dtype=np.float32)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _pose(traits: Traits) -> np.ndarray:
    """The in-plane part of the pose: a similarity about the middle of the face, 2 x 3."""
    pose: np.ndarray = cv2.getRotationMatrix2D(
        (CENTRE, 150), math.degrees(traits.roll), traits.zoom
    )
    pose[:, 2] += traits.shift
    return pose


def _draw(canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
    """Every layer, from the back to the front. Random draws come in a fixed order."""
    side = canvas.side
    head = TurnedHead(traits)
    coarse, medium, fine = (spread(smooth_noise(rng, cells), side) for cells in (7, 28, 96))
    _draw_backdrop(canvas, traits, rng)
    hair = Hair(canvas, head, strand_table(rng), medium if traits.style == "curly" else coarse)
    if traits.style == "cover":
        hair.colour = traits.clothes[::-1, None, None] * (0.75 + 0.5 * medium)
    if traits.style != "bald":
        draw_back_hair(canvas, hair, rng)
    draw_body(canvas, head, coarse)
    if traits.style != "cover":
        draw_ears(canvas, head)
    mottle = 1 + 0.10 * (coarse - 0.5) + 0.10 * (medium - 0.5) + 0.08 * (fine - 0.5)
    skin = traits.skin[:, None, None] * mottle
    if traits.freckles:
        spots = np.clip((fine - 0.74) * 5, 0, 0.7) * traits.freckles
        skin *= 1 - spots * np.array([0.25, 0.45, 0.55], np.float32)[:, None, None]
    draw_skull(canvas, head, skin)
    draw_complexion(canvas, head)
    draw_nose(canvas, head)
    draw_mouth(canvas, head)
    draw_beard(canvas, head, fine, np.minimum(traits.brow * 1.2, 1))
    for eye in (-1, 1):
        draw_eye(canvas, head, eye)
        draw_brow(canvas, head, eye, fine)
    draw_front_hair(canvas, hair, rng)
    draw_glasses(canvas, head)


def _draw_backdrop(canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
    """A blurred place behind the head, drawn small and spread over the canvas."""
    colour, kind = traits.backdrop, traits.backdrop_kind
    small = np.empty((32, 32, 3), np.float32)
    slope = rng.normal(0, 0.35, 2)
    ramp = np.linspace(-0.5, 0.5, 32, dtype=np.float32)
    small[:] = colour * (1 + slope[0] * ramp[:, None, None] + slope[1] * ramp[None, :, None])
    if kind == "bokeh":
        for x, y, radius, *tint in rng.random((14, 6)):
            glow = _muted(tint)
            spot = np.zeros((32, 32), np.float32)
            centre = (round(x * 512), round(y * 512))
            cv2.circle(spot, centre, round(16 + radius * 60), 1.0, -1, cv2.LINE_AA, 4)
            small += 0.5 * spot[..., None] * (glow - small)
    elif kind in ("indoor", "stripes"):
        for place, width, *tint in rng.random((6 if kind == "indoor" else 9, 5)):
            start = int(place * 32)
            stop = start + 1 + int(width * (14 if kind == "indoor" else 4))
            target = small[:, start:stop] if place + width < 1.3 else small[start // 2 : stop // 2]
            target += 0.55 * (_muted(tint) - target)
    elif kind == "garden":
        leaves = rng.random((32, 32, 1), dtype=np.float32)
        small *= 0.4 + 1.2 * leaves * np.array([0.8, 1.15, 0.6], np.float32)
    small = np.clip(blur(small, 0.8 + 1.2 * rng.random()), 0, 1)
    canvas.buffer[:3] = np.clip(spread(small, canvas.side), 0, 1).transpose(2, 0, 1)


def _muted(values: list[float]) -> np.ndarray:
    """Random display RGB in [0, 1], less saturated, to linear."""
    colour = np.asarray(values, dtype=np.float32)
    return np.square(0.4 * colour + 0.6 * colour.mean())
