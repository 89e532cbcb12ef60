"""What makes one built-in face differ from another: every number that the renderer needs.

Lengths are units of an aligned face 256 wide; see data.builtin.canvas.
"""

import math
from types import SimpleNamespace
from typing import TypeVar

import numpy as np
from numpy.random import Generator

Choice = TypeVar("Choice")

EYE_DEPTH = 62.0  # depth that stays in place when the head turns: faces are aligned by the eyes

# Display RGB, light to dark.
SKIN = (
    (243, 214, 194), (236, 199, 172), (231, 184, 149), (209, 156, 117), (176, 121, 84),
    (133, 86, 58), (102, 66, 47), (78, 51, 39),
)  # fmt: skip
HAIR = {
    "black": (28, 24, 24),
    "dark brown": (58, 40, 30),
    "brown": (96, 64, 42),
    "auburn": (128, 66, 38),
    "red": (176, 86, 42),
    "dark blond": (158, 120, 74),
    "blond": (214, 178, 118),
    "grey": (150, 148, 146),
    "white": (222, 220, 214),
    "dyed": (170, 60, 120),
}
IRIS = ((52, 32, 20), (84, 54, 30), (112, 84, 46), (96, 110, 72), (92, 124, 152), (128, 140, 146))
FRAMES = ((20, 20, 22), (70, 44, 26), (150, 130, 90), (120, 24, 30))
COLLARS = ("crew", "vee", "shirt", "high")
STYLES = ("bald", "buzz", "short", "parted", "fringe", "bob", "long", "curly", "bun", "cover")


def linear(colour: tuple | np.ndarray) -> np.ndarray:
    """Display RGB in [0, 255] to the renderer's linear RGB, float32."""
    return (np.asarray(colour, dtype=np.float32) / 255) ** 2


class Traits(SimpleNamespace):
    """One face, as `draw_traits` makes it. Angles in radians, lengths in units, colours linear RGB,
    shares in [0, 1]."""


def draw_traits(rng: Generator) -> Traits:
    """A random person in a random pose and light."""
    tone = float(rng.random())
    femininity = float(np.clip(rng.beta(0.7, 0.7), 0, 1))
    age = float(rng.random())
    skin = _skin(tone, rng)
    hair_name, hair = _hair_colour(tone, age, rng)
    style = _style(femininity, age, rng)
    smile = float(rng.normal(0.35, 0.5))
    gape = float(max(0.0, rng.normal(-1, 5))) if rng.random() < 0.7 else float(rng.uniform(3, 11))
    male = femininity < 0.5
    bearded = male and rng.random() < 0.55
    beard = pick((0.25, 0.4, 0.75, 0.95), rng) if bearded else 0.0
    makeup = float(rng.uniform(0.2, 0.9)) if not male and rng.random() < 0.6 else 0.0
    lip_paint = linear(rng.uniform((120, 20, 30), (210, 90, 110)))
    lips = skin * np.array([0.80, 0.50, 0.50], np.float32)
    grey_brow = hair if hair_name not in ("white", "dyed", "blond") else linear((96, 74, 54))
    return Traits(
        **_scene(rng),
        # skin and skull
        skin=skin,
        tone=tone,
        blush=float(rng.uniform(0, 0.28)) * (1 - 0.5 * tone),
        freckles=float(rng.uniform(0.3, 1)) if tone < 0.5 and rng.random() < 0.15 else 0.0,
        age=age,
        gloss=float(rng.uniform(0.02, 0.16)),
        half_width=float(rng.normal(71 - 2 * femininity, 2.2)),
        jaw=float(np.clip(rng.normal(0.87 - 0.10 * femininity, 0.05), 0.68, 1.0)),
        chin=float(rng.normal(236, 2.5)),
        chin_width=float(rng.normal(25 - 5 * femininity, 3)),
        ears=float(rng.normal(1, 0.12)),
        cheek=float(rng.uniform(2, 6)),
        # features
        eye_gap=float(rng.normal(32, 1.0)),
        eye_width=float(rng.normal(14.3 + 0.8 * femininity, 0.9)),
        eye_open=float(np.clip(rng.normal(5.4 + 0.8 * femininity, 1.1), 2.2, 8)),
        eye_tilt=float(rng.normal(0.9, 1.2)),
        lid=float(rng.uniform(0.2, 1)),
        gaze=(float(rng.normal(0, 1.6)), float(rng.normal(0, 0.7))),
        iris=linear(_mix(IRIS, (rng.random() ** 2) * (1 - tone) * 1.3)),
        brow=grey_brow * 0.8,
        brow_lift=float(rng.normal(0, 2)),
        brow_arch=float(rng.normal(3.2 + 1.5 * femininity, 1.4)),
        brow_width=float(np.clip(rng.normal(6.6 - 2.2 * femininity, 1.2), 2.6, 9)),
        brow_strength=float(rng.uniform(0.5, 0.95)),
        nose_width=float(rng.normal(13.8 - 1.5 * femininity + 2.0 * tone, 1.4)),
        nose_length=float(rng.normal(0, 2)),
        nose_rise=float(rng.normal(7.5, 1.2)),
        mouth_width=float(np.clip(rng.normal(25.5 + 3.0 * smile, 1.8), 19, 33)),
        mouth_drop=float(rng.normal(0, 1.6)),
        lips=float(np.clip(rng.normal(1 + 0.15 * femininity + 0.2 * tone, 0.17), 0.5, 1.6)),
        smile=smile,
        gape=gape,
        teeth=bool(gape > 2 and rng.random() < 0.85),
        lip_colour=lips + makeup * (lip_paint - lips),
        # hair and things worn
        style=style,
        hair=hair,
        hairline=float(rng.normal(64, 5)),
        recede=float(rng.uniform(0, 12)) * (1.6 if male else 0.3) * age,
        volume=float(rng.uniform(4, 16)),
        part=float(rng.normal(0, 26)),
        strand_scale=float(rng.uniform(0.7, 1.5)),
        wave=float(max(0.0, rng.normal(0.03, 0.06))),
        beard=beard,
        moustache=beard * float(rng.uniform(0.5, 1)) if beard else 0.6 * (male and age > 0.9),
        glasses=_glasses(rng),
        frame=linear(pick(FRAMES, rng)),
        frame_size=float(rng.uniform(0.88, 1.12)),
        clothes=linear(rng.uniform(15, 235, 3) * 0.55 + rng.uniform(10, 230) * 0.45),
        collar=pick(COLLARS, rng),
    )


def another_picture(person: Traits, rng: Generator) -> Traits:
    """The same person in another pose, light and place, with another expression and shirt."""
    smile, gape = float(rng.normal(0.35, 0.5)), float(max(0.0, rng.normal(0, 5)))
    changed = dict(
        **_scene(rng),
        gaze=(float(rng.normal(0, 1.6)), float(rng.normal(0, 0.7))),
        smile=smile,
        gape=gape,
        teeth=bool(gape > 2 and rng.random() < 0.85),
        mouth_width=float(np.clip(person.mouth_width + 3.0 * (smile - person.smile), 19, 33)),
        clothes=linear(rng.uniform(10, 245, 3)),
        collar=pick(COLLARS, rng),
    )
    return Traits(**vars(person) | changed)


def _scene(rng: Generator) -> dict:
    """Pose, light and the place behind; the picture's own softness and grain."""
    side = rng.normal(0, 0.75)
    height = rng.uniform(-0.05, 0.85)
    warm = rng.normal(0, 0.07)
    strength = rng.uniform(0.6, 1.0)
    fill = rng.uniform(0.16, 0.4)
    backdrop = rng.uniform(10, 245, 3) * 0.35 + rng.uniform(10, 240) * 0.65
    return {
        "roll": float(rng.normal(0, 0.045)),
        "yaw": float(np.clip(rng.normal(0, 0.17), -0.38, 0.38)),
        "pitch": float(np.clip(rng.normal(0, 0.09), -0.2, 0.2)),
        "zoom": float(np.exp(rng.normal(0, 0.025))),
        "shift": (float(rng.normal(0, 2)), float(rng.normal(0, 2))),
        "light": (
            math.sin(side) * math.cos(height),
            -math.sin(height),
            math.cos(side) * math.cos(height),
        ),
        "key": np.array([1 + warm, 1, 1 - 1.4 * warm], np.float32) * np.float32(strength),
        "ambient": np.array([1 - 0.5 * warm, 1, 1 + 0.9 * warm], np.float32) * np.float32(fill),
        "backdrop": linear(np.clip(backdrop, 0, 255)),
        "backdrop_kind": pick(("plain", "bokeh", "indoor", "garden", "stripes"), rng),
        "softness": float(rng.uniform(0.2, 1.3)),
        "grain": float(rng.uniform(0.0, 2.0)),
    }


def _mix(colours: tuple, share: float) -> np.ndarray:
    """Along a list of colours, `share` in [0, 1]."""
    table = np.array(colours, dtype=np.float64)
    place = np.clip(share, 0, 1) * (len(table) - 1)
    low = min(int(place), len(table) - 2)
    return table[low] + (place - low) * (table[low + 1] - table[low])


def _skin(tone: float, rng: Generator) -> np.ndarray:
    undertone = rng.normal(0, 0.035)
    return linear(_mix(SKIN, tone) * (1 + undertone * np.array([0.3, 0, -1.0])))


def _hair_colour(tone: float, age: float, rng: Generator) -> tuple[str, np.ndarray]:
    light = 1 - tone
    weights = {
        "black": 0.25 + 1.6 * tone,
        "dark brown": 0.5,
        "brown": 0.5 * light + 0.1,
        "auburn": 0.25 * light,
        "red": 0.16 * light**2,
        "dark blond": 0.4 * light**2,
        "blond": 0.5 * light**2,
        "grey": 1.2 * max(0.0, age - 0.6) * 2,
        "white": 1.5 * max(0.0, age - 0.75) * 2,
        "dyed": 0.04,
    }
    name = pick(tuple(weights), rng, tuple(weights.values()))
    colour = np.array(HAIR[name]) * rng.uniform(0.85, 1.15) + rng.normal(0, 4, 3)
    if name == "dyed":
        colour = rng.uniform(40, 220, 3)
    return name, linear(np.clip(colour, 8, 245))


def _style(femininity: float, age: float, rng: Generator) -> str:
    male = 1 - femininity
    chance = (
        0.05 + 0.25 * male * age,  # bald
        0.30 * male,  # buzz
        0.70 * male + 0.08,  # short
        0.55 * male + 0.12,  # parted
        0.20,  # fringe
        0.45 * femininity,  # bob
        1.00 * femininity,  # long
        0.22,  # curly
        0.35 * femininity,  # bun
        0.07,  # cover: scarf, cap or hood
    )
    return pick(STYLES, rng, chance)


def _glasses(rng: Generator) -> str:
    return pick(("none", "round", "square", "half", "dark"), rng, (0.78, 0.07, 0.08, 0.04, 0.03))


def pick(
    choices: tuple[Choice, ...], rng: Generator, weights: tuple[float, ...] | None = None
) -> Choice:
    """One of `choices`, with these weights (equal by default); fewer steps than rng.choice."""
    place = rng.random()
    if weights is None:
        return choices[int(place * len(choices))]
    place *= sum(weights)
    for choice, weight in zip(choices, weights, strict=True):
        place -= weight
        if place < 0:
            return choice
    return choices[0]
