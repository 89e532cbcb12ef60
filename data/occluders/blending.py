"""A layer laid over a face: light and colour matched, a soft contact shadow, blur, the mask."""

import cv2
import numpy as np

from deocclude.data.faces.alignment import Points
from deocclude.data.occluders.warping import Layer

TRACE = 10  # of 255: alpha up to this is dropped, all above belongs to the mask


def match_light(
    layer: Layer, face: np.ndarray, points: Points, rng: np.random.Generator, roundness: float = 0.0
) -> np.ndarray:
    """The layer's colour under the light of the photo, uint8 (h, w, 3).

    Exposure and cast are followed in part only, by factors on each channel, so that what is black
    stays black; a side light dims the other side; `roundness` darkens both sides of the box.
    """
    tiny = cv2.resize(face, (24, 24), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    bright = np.sort(tiny.mean(1))[-24:].mean()
    exposure = np.clip((bright / 225) ** 0.7, 0.5, 1.05) * rng.uniform(0.82, 1.08)
    mean = tiny.mean(0).astype(np.float32) + 16
    cast = np.clip((mean / mean.mean()) ** 0.35, 0.88, 1.12)
    gain = (exposure * cast).astype(np.float32)
    ramp = np.clip(layer.across, -1.3, 1.3)
    slope = 0.35 * _side_light(face, points) + rng.normal(0, 0.04)
    shade = 1 + np.float32(np.clip(slope, -0.25, 0.25)) * ramp
    if roundness:
        shade -= np.float32(roundness) * ramp * ramp
    colour = layer.colour * (shade[..., None] * gain)
    return np.clip(colour, 0, 255).astype(np.uint8)


def _side_light(face: np.ndarray, points: Points) -> float:
    """How much brighter the right cheek is than the left one, in [-1, 1]."""
    size = face.shape[0]
    levels = []
    for side in ("left", "right"):
        eye, mouth = np.array(points[f"{side}_eye"]), np.array(points[f"{side}_mouth"])
        x, y = np.clip(0.45 * eye + 0.55 * mouth, 0, size - 1)
        reach = max(1, size // 24)
        patch = face[
            max(0, int(y) - reach) : int(y) + reach + 1, max(0, int(x) - reach) : int(x) + reach + 1
        ]
        levels.append(float(patch.mean()) + 8)
    return float(np.clip(np.log(levels[1] / levels[0]), -1, 1))


def match_skin(colour: np.ndarray, alpha: np.ndarray, face: np.ndarray, points: Points):
    """A hand takes on, for the most part, the tone of the face's skin."""
    nose = np.clip(np.array(points["nose_tip"]), 0, face.shape[0] - 1).astype(int)
    reach = max(1, face.shape[0] // 24)
    patch = face[
        max(0, nose[1] - 2 * reach) : nose[1] + 1, max(0, nose[0] - reach) : nose[0] + reach + 1
    ]
    skin = patch.reshape(-1, 3).mean(0) + 4
    own = np.array(cv2.mean(colour, (alpha > 128).astype(np.uint8))[:3]) + 4
    gain = np.clip((skin / own) ** 0.8, 0.35, 1.35).astype(np.float32)
    return np.clip(colour * gain, 0, 255).astype(np.uint8)


def fold(layer: Layer, rng: np.random.Generator) -> np.ndarray:
    """The layer's colour with the shading of soft folds across it, uint8 (h, w, 3)."""
    bend, slant = rng.uniform(-0.6, 0.6), rng.normal(0, 0.5)
    phase = layer.down + bend * np.square(layer.across) + slant * layer.across
    depth = np.float32(rng.uniform(0.04, 0.16))
    waves = np.sin(phase * np.float32(rng.uniform(4, 11)) + np.float32(rng.uniform(0, 6.28)))
    waves += 0.6 * np.sin(phase * np.float32(rng.uniform(9, 19)) + 2 * layer.across)
    shade = (1 - depth) + depth * waves
    return np.clip(layer.colour * shade[..., None], 0, 255).astype(np.uint8)


def tint(colour: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Cloth of another colour: each channel times its factor."""
    return np.clip(colour * factors.astype(np.float32), 0, 255).astype(np.uint8)


def blur_layer(layer: Layer, size: int, rng: np.random.Generator) -> Layer:
    """Defocus or a short motion, of colour and alpha alike."""
    strength = size * rng.uniform(0.002, 0.009)
    rgba = np.dstack([layer.colour, layer.alpha])
    if rng.random() < 0.6:
        rgba = cv2.GaussianBlur(rgba, (0, 0), max(0.4, strength))
    else:
        reach = max(1, round(2 * strength))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        angle = rng.uniform(0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)]) * reach
        start, stop = (tuple(np.rint(reach + s * step).astype(int).tolist()) for s in (-1, 1))
        cv2.line(kernel, start, stop, 1.0)
        rgba = cv2.filter2D(rgba, -1, kernel / kernel.sum())
    return layer._replace(colour=rgba[..., :3], alpha=np.ascontiguousarray(rgba[..., 3]))


def composite(
    face: np.ndarray, layer: Layer, shadow: float, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shadow, then the layer, over a copy of the face: (image, mask).

    Args:
        shadow: how much light the contact shadow takes, in [0, 1].
        reach: its softness and how far it falls, in pixels.

    The mask is 1 exactly where the layer is drawn; the shadow around it is not marked. Pixels out
    of reach of both are the face's own, bit for bit.
    """
    size = face.shape[0]
    image, mask = face.copy(), np.zeros((size, size), np.uint8)
    height, width = layer.alpha.shape
    top, left = layer.top, layer.left
    if shadow > 0:
        _cast(image, layer, shadow, reach)
    under = image[top : top + height, left : left + width]
    seen = layer.alpha > TRACE
    alpha = np.where(seen, layer.alpha, 0).astype(np.float32)[..., None] * np.float32(1 / 255)
    under[:] = under + alpha * (layer.colour.astype(np.float32) - under) + np.float32(0.5)
    mask[top : top + height, left : left + width] = seen
    return image, mask


def _cast(image: np.ndarray, layer: Layer, shadow: float, reach: float) -> None:
    """Darken the picture around and below the layer, in place."""
    size = image.shape[0]
    pad = int(np.ceil(3 * reach)) + 1
    top, left = max(0, layer.top - pad), max(0, layer.left - pad)
    bottom = min(size, layer.top + layer.alpha.shape[0] + pad)
    right = min(size, layer.left + layer.alpha.shape[1] + pad)
    alpha = np.zeros((bottom - top, right - left), np.uint8)
    y, x = layer.top - top, layer.left - left
    alpha[y : y + layer.alpha.shape[0], x : x + layer.alpha.shape[1]] = layer.alpha
    fall = max(1, round(0.6 * reach))
    alpha[fall:] = alpha[:-fall].copy() if fall < len(alpha) else 0
    soft = cv2.GaussianBlur(alpha, (0, 0), max(0.3, reach))
    factor = np.float32(1) - soft.astype(np.float32) * np.float32(shadow / 255)
    piece = image[top:bottom, left:right]
    piece[:] = piece * factor[..., None] + np.float32(0.5)
