"""Drawn occluders by name: twenty kinds, and those of the preset `photographs`."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from deocclude.data.faces.alignment import Points
from deocclude.data.occluders.drawn import areas, changes, held, lines, over
from deocclude.data.occluders.drawn.cloth import balaclava, facemask_photo, scarf_drawn
from deocclude.data.occluders.drawn.eyewear import eyeglasses_drawn, goggles, visor
from deocclude.data.occluders.drawn.facemask import facemask_drawn
from deocclude.data.occluders.drawn.hand import hand_drawn
from deocclude.data.occluders.drawn.sunglasses import sunglasses_drawn

Draw = Callable[[np.ndarray, Points, Generator], tuple[np.ndarray, np.ndarray]]

KINDS: dict[str, Draw] = {
    "patch": areas.patch,
    "blur": changes.blur,
    "pixelation": changes.pixelation,
    "triangle": areas.triangle,
    "polygon": areas.polygon,
    "band": areas.band,
    "shadow": changes.shadow,
    "ellipse": areas.ellipse,
    "stroke": lines.stroke,
    "stripes": areas.stripes,
    "grid": areas.grid,
    "text": lines.text,
    "scratches": lines.scratches,
    "hair": lines.hair,
    "hand_drawn": hand_drawn,
    "facemask_drawn": facemask_drawn,
    "sunglasses_drawn": sunglasses_drawn,
    "bubbles": lines.bubbles,
    "glare": changes.glare,
    "noise": changes.noise,
}
PHOTO_KINDS: dict[str, Draw] = {  # frozen pairs do not know them
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
DRAWN = KINDS | PHOTO_KINDS


def draw_shape(
    name: str, face: np.ndarray, points: Points, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A face with one drawn occluder.

    Args:
        name: one of DRAWN.
        face: uint8 (S, S, 3), S >= 16.
        points: pixels, as `data.faces.alignment.LANDMARKS` names them.

    Returns (occluded uint8 (S, S, 3), mask uint8 (S, S) {0, 1}, 1 = what must be redrawn). Raises
    ValueError for an unknown kind.
    """
    if name not in DRAWN:
        raise ValueError(f"drawn occluder {name!r} is not one of {', '.join(DRAWN)}")
    return DRAWN[name](face, points, rng)
