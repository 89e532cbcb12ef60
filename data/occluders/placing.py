"""Where a cut-out sits on a face, and the picture and mask once it is there."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from deocclude.data.faces.alignment import Points
from deocclude.data.occluders.blending import (
    blur_layer,
    composite,
    fold,
    match_light,
    match_skin,
    tint,
)
from deocclude.data.occluders.cutout_shape import guess_category
from deocclude.data.occluders.cutouts import Cutout
from deocclude.data.occluders.poses import POSES, Head, find_head
from deocclude.data.occluders.warping import Layer, warp

BLUR_SHARE = 0.2  # of the cut-outs are blurred
TINT_SHARE = 0.4  # of face masks, scarves and hats get another colour
CLOTH = ("facemask", "scarf", "hat")
NONE = "none"


class Occluded(NamedTuple):
    """`image` uint8 (S, S, 3); `mask` uint8 (S, S) of {0, 1}, 1 = redraw; `kind`: what covers."""

    image: np.ndarray
    mask: np.ndarray
    kind: str

    def unmarked(self, kinds: Collection[str]) -> "Occluded":
        """With an empty mask where its kind is one of these, which are not to be redrawn."""
        return self._replace(mask=np.zeros_like(self.mask)) if self.kind in kinds else self


def bare(face: np.ndarray) -> Occluded:
    """A face with nothing on it."""
    return Occluded(face.copy(), np.zeros(face.shape[:2], np.uint8), NONE)


def joined(first: Occluded, second: Occluded) -> Occluded:
    """`second` drawn over `first`: its picture, both masks."""
    return Occluded(second.image, first.mask | second.mask, f"{first.kind}+{second.kind}")


def place_cutout(
    face: np.ndarray, cutout: Cutout, points: Points, rng: np.random.Generator
) -> Occluded:
    """Put a cut-out where such a thing sits, lit like the face.

    Args:
        face: uint8 (S, S, 3).
        points: pixels of the six LANDMARKS; they may lie outside the frame.

    Returns:
        The occluded face; kind is the cut-out's category. The mask is empty when the landmarks put
        it outside the frame. Equal generators give equal results. ValueError for a face that is not
        a square uint8 picture, and for missing or non-finite landmarks.
    """
    if face.ndim != 3 or face.shape[2] != 3 or face.shape[0] != face.shape[1]:
        raise ValueError(f"face: need a square (S, S, 3) picture, found shape {face.shape}")
    if face.dtype != np.uint8:
        raise ValueError(f"face: need uint8, found {face.dtype}")
    head, size = find_head(points), face.shape[0]
    rgba, category = cutout.rgba, cutout.category
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    sort = guess_category(rgba) if category == "object" else category
    rgba = np.ascontiguousarray(rgba)
    pose = POSES[sort](rgba, head, size, rng)
    layer = warp(rgba, pose, size)
    if layer is None:
        return Occluded(face.copy(), np.zeros((size, size), np.uint8), category)
    image, mask = lay_layer(face, layer, sort, head, points, rng)
    return Occluded(image, mask, category)


def lay_layer(
    face: np.ndarray,
    layer: Layer,
    sort: str,
    head: Head,
    points: Points,
    rng: np.random.Generator,
    tint_share: float = TINT_SHARE,
) -> tuple[np.ndarray, np.ndarray]:
    """A warped cut-out of this sort, a key of POSES, lit like the face and laid on it.

    `tint_share`: of face masks, scarves and hats get another colour. Returns (image, mask).
    """
    size = face.shape[0]
    if sort == "hand":
        layer = layer._replace(colour=match_skin(layer.colour, layer.alpha, face, points))
    elif sort in CLOTH and rng.random() < tint_share:
        layer = layer._replace(colour=tint(layer.colour, _dye(rng)))
    if sort == "scarf":
        layer = layer._replace(colour=fold(layer, rng))
    roundness = rng.uniform(0.08, 0.3) if sort in CLOTH else 0.0
    layer = layer._replace(colour=match_light(layer, face, points, rng, roundness))
    if rng.random() < BLUR_SHARE:
        layer = blur_layer(layer, size, rng)
    shadow = rng.uniform(0.15, 0.5)
    reach = head.unit * rng.uniform(0.03, 0.1)
    return composite(face, layer, shadow, float(np.clip(reach, 0.4, size / 16)))


def _dye(rng: np.random.Generator) -> np.ndarray:
    """Factors of a plausible cloth colour: pastel, strong or dark."""
    hue, depth = rng.random() * 3, rng.choice([0.3, 0.6, 0.9], p=[0.5, 0.3, 0.2])
    distance = np.abs((hue - np.arange(3) + 1.5) % 3 - 1.5)
    colour = np.clip(1.2 - distance, 0, 1)
    return (1 - depth + depth * colour) * rng.choice([1.0, 0.75, 0.35], p=[0.6, 0.25, 0.15])
