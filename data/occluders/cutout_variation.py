"""More from few cut-outs: recoloured, cropped, bent, at unusual sizes and places."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.faces.alignment import Points
from deocclude.data.occluders.cutout_shape import guess_category
from deocclude.data.occluders.cutouts import Cutout
from deocclude.data.occluders.drawn.cloth import cloth_surface
from deocclude.data.occluders.drawn.outline import area_and_aspect, blob, ring, turned
from deocclude.data.occluders.drawn.paint import chance
from deocclude.data.occluders.drawn.solid import Solid
from deocclude.data.occluders.placing import TINT_SHARE, Occluded, lay_layer
from deocclude.data.occluders.poses import POSES, Head, find_head
from deocclude.data.occluders.warping import Layer, Pose, warp

COLLAGE = "collage"
RECOLOUR_SHARE = {"facemask": 0.65, "scarf": 0.5, "hat": 0.4, "sunglasses": 0.2}  # of cut-outs
OBJECT_RECOLOUR = 0.15
ELASTIC_SHARE = 0.6  # of cut-outs are bent freely
PART_SHARE = 0.1  # of cut-outs, glasses aside, are cropped
UNUSUAL_SHARE = 0.2  # of cut-outs have another size, place and angle than is usual
WORN_AMISS = 0.1  # of face masks are under the chin or hang from an ear


def place_varied(face: np.ndarray, cutout: Cutout, points: Points, rng: Generator) -> Occluded:
    """`data.occluders.placing.place_cutout` with more variation in colour, shape, size and place.

    Args and result are the same. Work is done at the face's size.
    """
    size, head = face.shape[0], find_head(points)
    rgba = _fitted(cutout.rgba, size)
    if rng.random() < 0.5:
        rgba = np.ascontiguousarray(rgba[:, ::-1])
    category = cutout.category
    sort = guess_category(rgba) if category == "object" else category
    recoloured = rng.random() < RECOLOUR_SHARE.get(sort, OBJECT_RECOLOUR)
    if recoloured and sort != "hand":
        rgba = recolour(rgba, face, points, rng)
    glasses = sort in ("sunglasses", "eyeglasses")
    if not glasses and rng.random() < PART_SHARE:
        rgba = _part(rgba, rng)
    pose = POSES[sort](rgba, head, size, rng)
    if sort == "facemask" and rng.random() < WORN_AMISS:
        pose = _worn_amiss(pose, head, rng)
    elif rng.random() < (0.25 if glasses else 1) * UNUSUAL_SHARE:
        pose = _unusual(pose, head, rng)
    layer = warp(rgba, pose, size)
    if layer is None:
        return Occluded(face.copy(), np.zeros((size, size), np.uint8), category)
    if rng.random() < ELASTIC_SHARE:
        layer = bend(layer, rng, 0.02 if glasses else 0.06)
    share = 0.0 if recoloured else TINT_SHARE
    return Occluded(*lay_layer(face, layer, sort, head, points, rng, share), category)


def recolour(rgba: np.ndarray, face: np.ndarray, points: Points, rng: Generator) -> np.ndarray:
    """The cut-out (h, w, 4) in another cloth or colour, with its own folds and shading."""
    height, width = rgba.shape[:2]
    side = max(height, width)
    surface, _ = cloth_surface(face, points, rng, side, side / 2)
    grey = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2GRAY)
    visible = grey[rgba[..., 3] > 128]
    middle = float(np.median(visible)) if visible.size else 128.0
    depth, base = rng.uniform(0.6, 1.3), rng.uniform(20, 60)
    steps = (np.arange(256) + base) / (middle + base)
    tone = np.clip(steps, 0.25, 1.7) ** depth
    lit = surface[:height, :width] * tone[grey].astype(np.float32)[..., None]
    return np.dstack((np.clip(lit, 0, 255).astype(np.uint8), rgba[..., 3]))


def bend(layer: Layer, rng: Generator, strength: float) -> Layer:
    """The layer moved by a smooth random field of about `strength` times its longer side.

    Nothing leaves its window: at the border the field is 0.
    """
    height, width = layer.alpha.shape
    cells = int(rng.integers(4, 7))
    field = rng.standard_normal((cells, cells, 2)).astype(np.float32)
    field[[0, -1]] = field[:, [0, -1]] = 0
    field *= strength * max(height, width) * rng.uniform(0.3, 1)
    field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    field = cv2.blur(field, (max(1, width // cells), max(1, height // cells)))
    x = np.arange(width, dtype=np.float32) + field[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + field[..., 1]
    rgba = np.dstack((layer.colour, layer.alpha))
    rgba = cv2.remap(rgba, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return layer._replace(colour=rgba[..., :3], alpha=np.ascontiguousarray(rgba[..., 3]))


def paste_texture(face: np.ndarray, cutout: Cutout, points: Points, rng: Generator) -> Occluded:
    """A blob or a polygon on the face, filled with a crop from inside a cut-out."""
    solid = Solid(face, points)
    rgba = cutout.rgba
    height, width = rgba.shape[:2]
    rows, columns = max(2, round(height * rng.uniform(0.15, 0.5))), max(2, round(width * 0.4))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    crop = np.ascontiguousarray(rgba[top : top + rows, left : left + columns, :3])
    surface = cv2.resize(crop, (solid.side, solid.side), interpolation=cv2.INTER_LINEAR)
    half = area_and_aspect(rng, solid.side, 0.02, 0.3, 0.9)
    if chance(rng, 0.6):
        outline = blob(rng, half, rng.uniform(0.7, 1.6))
    else:
        outline = ring(rng.uniform(0.6, 1.3, int(rng.integers(3, 10)))) * half
    spot = solid.frame.at([rng.normal((0, 0.7), 0.8)])[0]
    solid.part(spot + turned(outline, rng.uniform(0, math.pi)), surface)
    return Occluded(*solid.laid(rng), COLLAGE)


def _fitted(rgba: np.ndarray, size: int) -> np.ndarray:
    """The cut-out, at most as wide and high as the face."""
    scale = size / max(rgba.shape[:2])
    if scale >= 1:
        return rgba
    sides = [max(2, round(side * scale)) for side in rgba.shape[1::-1]]
    return cv2.resize(rgba, sides, interpolation=cv2.INTER_AREA)


def _part(rgba: np.ndarray, rng: Generator) -> np.ndarray:
    """A box of it with at least a tenth visible, else all of it."""
    height, width = rgba.shape[:2]
    rows, columns = (max(8, round(n * rng.uniform(0.4, 0.85))) for n in (height, width))
    if rows >= height or columns >= width:
        return rgba
    top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
    part = np.ascontiguousarray(rgba[top : top + rows, left : left + columns])
    return part if (part[..., 3] > 128).mean() > 0.1 else rgba


def _worn_amiss(pose: Pose, head: Head, rng: Generator) -> Pose:
    """A face mask pulled under the chin, or hanging from one ear."""
    if rng.random() < 0.7:
        low = head.at(head.mouth[0], head.chin[1] + rng.uniform(-0.25, 0.1))
        return pose._replace(centre=tuple(low), height=pose.height * rng.uniform(0.35, 0.6))
    side = rng.choice([-1, 1])
    place = head.at(side * rng.uniform(0.6, 1.1), rng.uniform(0.9, 1.4))
    turn = pose.angle - side * rng.uniform(0.6, 1.3)
    return pose._replace(centre=tuple(place), angle=turn, width=0.8 * pose.width)


def _unusual(pose: Pose, head: Head, rng: Generator) -> Pose:
    """Another size, place and angle."""
    scale, aspect = np.exp(rng.normal(0, (0.35, 0.15)))
    shift = head.unit * rng.normal(0, 0.35, 2)
    return pose._replace(
        centre=tuple(np.array(pose.centre) + shift),
        width=pose.width * scale * aspect,
        height=pose.height * scale / aspect,
        angle=pose.angle + rng.normal(0, 0.4),
    )
