"""What covers faces in photographs: which things come together, and how often."""

from collections.abc import Collection

import numpy as np
from numpy.random import Generator

from deocclude.data.faces.alignment import Points
from deocclude.data.occluders.cutout_variation import COLLAGE, paste_texture, place_varied
from deocclude.data.occluders.cutouts import CutoutLibrary
from deocclude.data.occluders.drawn.kinds import DRAWN, KINDS, draw_shape
from deocclude.data.occluders.placing import Occluded, bare, joined

GROUPS = {  # group: (weight, its kinds: cut-outs' categories and drawn kinds, with their weights)
    "lower": (0.37, {"facemask": 0.45, "facemask_photo": 0.4, "facemask_drawn": 0.15}),
    "cloth": (0.11, {"scarf": 0.5, "scarf_drawn": 0.35, "balaclava": 0.15}),
    "eyes": (0.14, {"sunglasses": 0.65, "sunglasses_drawn": 0.18, "goggles": 0.12, "visor": 0.05}),
    "held": (0.16, {"object": 0.3, "hand": 0.1, "phone": 0.05, "cup": 0.05, "hands": 0.2,
                    "microphone": 0.1, "cup_drawn": 0.08, "bottle": 0.05, "phone_drawn": 0.06,
                    "food": 0.06, "leaf": 0.05}),
    "over": (0.11, {"hat": 0.1, "hair_lock": 0.18, "veil": 0.1, "net": 0.12, "badge": 0.14,
                    "textured": 0.18, COLLAGE: 0.18}),
    "plain": (0.11, dict.fromkeys(KINDS, 1.0)),
}  # fmt: skip
SECOND_SHARE = 0.22  # of covered faces have a second thing, of another group
GLASSES_SHARE = 0.12  # of covered faces wear clear eyeglasses too
BARE_GLASSES_SHARE = 0.35  # of faces that nothing covers wear clear eyeglasses
TURNED_SHARE = 0.2  # of things are worn as if the head were turned
EYEGLASSES = {"eyeglasses": 0.7, "eyeglasses_drawn": 0.3}


def plan(rng: Generator, categories: Collection[str], covered: bool) -> list[str]:
    """What is put on a face, first to last.

    Args:
        categories: of the cut-outs at hand; drawn kinds stand in for the others.
        covered: False leaves the face bare, at times with eyeglasses.
    """
    if not covered:
        return [_pick(rng, EYEGLASSES, categories)] if rng.random() < BARE_GLASSES_SHARE else []
    groups = [_weighted(rng, {name: group[0] for name, group in GROUPS.items()})]
    if rng.random() < SECOND_SHARE:
        others = {name: group[0] for name, group in GROUPS.items() if name != groups[0]}
        groups.append(_weighted(rng, others))
    kinds = [_pick(rng, GROUPS[name][1], categories) for name in groups]
    if rng.random() < GLASSES_SHARE and "eyes" not in groups:
        place = 0 if rng.random() < 0.6 else len(kinds)  # below a mask's edge, or over it
        kinds.insert(place, _pick(rng, EYEGLASSES, categories))
    return kinds


def loosened(points: Points, rng: Generator) -> Points:
    """The points moved a little, the nose at times as if the head were turned: things sit otherwise
    on every face."""
    (x0, y0), (x1, y1) = points["left_eye"], points["right_eye"]
    unit = float(np.hypot(x1 - x0, y1 - y0))
    moved = {
        name: (x + dx, y + dy)
        for (name, (x, y)), (dx, dy) in zip(
            points.items(), 0.03 * unit * rng.standard_normal((len(points), 2)), strict=True
        )
    }
    if rng.random() < TURNED_SHARE:
        nose = moved["nose_tip"]
        moved["nose_tip"] = (nose[0] + unit * rng.uniform(-0.3, 0.3), nose[1])
    return moved


def cover(
    face: np.ndarray,
    kinds: list[str],
    split: str,
    cutouts: CutoutLibrary | None,
    points: Points,
    rng: Generator,
    stay: Collection[str],
) -> Occluded:
    """The face under `kinds`, one over the other; the masks of those in `stay` are left out."""
    made = bare(face)
    for place, kind in enumerate(kinds):
        if kind in DRAWN:
            one = Occluded(*draw_shape(kind, made.image, points, rng), kind)
        elif kind == COLLAGE:
            one = paste_texture(made.image, cutouts.pick(split, None, rng), points, rng)
        else:
            one = place_varied(made.image, cutouts.pick(split, kind, rng), points, rng)
        one = one.unmarked(stay)
        made = joined(made, one) if place else one
    return made


def _pick(rng: Generator, kinds: dict[str, float], categories: Collection[str]) -> str:
    """One of the kinds by weight, of those that can be had."""
    at_hand = DRAWN.keys() | set(categories) | ({COLLAGE} if categories else set())
    return _weighted(rng, {kind: w for kind, w in kinds.items() if kind in at_hand})


def _weighted(rng: Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()))
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]
