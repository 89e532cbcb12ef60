"""Drawn occluders of the preset `photographs`, by name; frozen pairs know only the other twenty."""

import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn import held, over
from deocclude.data.occluders.drawn.cloth import balaclava, facemask_photo, scarf_drawn
from deocclude.data.occluders.drawn.eyewear import eyeglasses_drawn, goggles, visor
from deocclude.data.occluders.drawn.kinds import Draw

PHOTO_KINDS: dict[str, Draw] = {
    "facemask_photo": facemask_photo,
    "scarf_drawn": scarf_drawn,
    "balaclava": balaclava,
    "goggles": goggles,
    "visor": visor,
    "eyeglasses_drawn": eyeglasses_drawn,
    "hands": held.hands,
    "microphone": held.microphone,
    "cup_drawn": held.cup,
    "bottle": held.bottle,
    "phone_drawn": held.phone,
    "food": held.food,
    "leaf": held.leaf,
    "hair_lock": over.hair_lock,
    "veil": over.veil,
    "net": over.net,
    "badge": over.badge,
    "textured": over.textured,
}


def draw_photo_shape(
    name: str, face: np.ndarray, points: dict[str, tuple[float, float]], rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`data.occluders.drawn.kinds.draw_shape` for PHOTO_KINDS."""
    if name not in PHOTO_KINDS:
        raise ValueError(f"drawn occluder {name!r} is not one of {', '.join(PHOTO_KINDS)}")
    return PHOTO_KINDS[name](face, points, rng)
