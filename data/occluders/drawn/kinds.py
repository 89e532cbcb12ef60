"""Twenty kinds of drawn occluders, by name."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from deocclude.data.occluders.drawn import areas, changes, lines
from deocclude.data.occluders.drawn.facemask import facemask_drawn
from deocclude.data.occluders.drawn.hand import hand_drawn
from deocclude.data.occluders.drawn.sunglasses import sunglasses_drawn

Draw = Callable[
    [np.ndarray, dict[str, tuple[float, float]], Generator], tuple[np.ndarray, np.ndarray]
]

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


def draw_shape(
    name: str, face: np.ndarray, points: dict[str, tuple[float, float]], rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A face with one drawn occluder.

    Args:
        name: one of KINDS.
        face: uint8 (S, S, 3), S >= 16.
        points: pixels, as `data.faces.alignment.LANDMARKS` names them.

    Returns (occluded uint8 (S, S, 3), mask uint8 (S, S) {0, 1}, 1 = what must be redrawn). Raises
    ValueError for an unknown kind.
    """
    if name not in KINDS:
        raise ValueError(f"drawn occluder {name!r} is not one of {', '.join(KINDS)}")
    return KINDS[name](face, points, rng)
