"""What photographs do to an aligned face: place, frame, colour, light, blur, noise, compression."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.names import shown

Range = tuple[float, float]
SPREADS = ("rotation", "scale", "shift", "colour", "contrast", "brightness", "gamma", "saturation")
RANGES: dict[str, Range] = {  # what each range may hold
    "tight_zoom": (1.0, 3.0),
    "wide_zoom": (0.3, 1.0),
    "blur_sigma": (0.0, 10.0),
    "motion_length": (1.0, 40.0),
    "noise_sigma": (0.0, 0.5),
    "jpeg_quality": (1, 100),
    "low_resolution_side": (0.05, 1.0),
}
FARTHEST = 2.5  # standard deviations; normal draws end there
ZOOMS = (0.4, 2.2)  # scale and crop together stay within; beyond, a face is lost
REFERENCE = 256  # px, the side at which lengths in px are given
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, of RGB
SEPIA = (1.08, 0.98, 0.8)  # factors on red, green and blue of a grey picture


@dataclass(frozen=True)
class PhotographAugmentation:
    """How far the changes go, and in which share of the pictures; 0 switches a kind off.

    Standard deviations of normal draws (cut at 2.5 of them): rotation in degrees, scale of the
    factor's logarithm, shift as a share of the side, brightness as a share of full light; contrast,
    gamma, saturation and colour (a channel's factor) of the logarithm.

    Shares of the pictures: tight and wide crops; what lies outside of the picture is reflected
    (`reflect`) or of one colour (`frame`), else its border goes on; grey, some of those tinted
    (`tint`, a share of the grey); red or blue light (`coloured_light`), over- and underexposure,
    blur, motion blur, noise, JPEG, low resolution and sharpening.

    Ranges, drawn uniformly: the crops' zooms, blur_sigma and motion_length in px at 256 px,
    noise_sigma as a share of full light, jpeg_quality, low_resolution_side as a share of the side.

    Raises ValueError that names the key, its value and what would be valid.
    """

    rotation: float = 12.0
    scale: float = 0.15
    shift: float = 0.06
    tight: float = 0.125
    wide: float = 0.125
    reflect: float = 0.15
    frame: float = 0.2
    grey: float = 0.2
    tint: float = 0.25
    colour: float = 0.1
    coloured_light: float = 0.03
    contrast: float = 0.25
    brightness: float = 0.08
    gamma: float = 0.15
    saturation: float = 0.25
    exposure: float = 0.06
    blur: float = 0.3
    motion: float = 0.05
    noise: float = 0.3
    jpeg: float = 0.3
    low_resolution: float = 0.2
    sharpen: float = 0.1
    tight_zoom: Range = (1.2, 1.7)
    wide_zoom: Range = (0.6, 0.85)
    blur_sigma: Range = (0.3, 1.5)
    motion_length: Range = (3.0, 9.0)
    noise_sigma: Range = (0.005, 0.04)
    jpeg_quality: Range = (20, 80)
    low_resolution_side: Range = (0.24, 0.7)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in RANGES:
                _check_range(field.name, value)
                object.__setattr__(self, field.name, tuple(value))
            else:
                _check_number(field.name, value)
        for one, other in (("tight", "wide"), ("reflect", "frame")):
            total = getattr(self, one) + getattr(self, other)
            if total > 1:
                raise ValueError(f"{one} + {other}: at most 1 together, found {total:g}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "PhotographAugmentation":
        """From a mapping of some of the fields. ValueError for an unknown one lists them."""
        known = [field.name for field in fields(cls)]
        for key in options:
            if key not in known:
                raise ValueError(f"{key}: unknown key; valid are {', '.join(known)}")
        return cls(**options)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (S, S, 3) RGB and mask uint8 (S, S) of {0, 1}; new arrays, a pure function.

        The mask moves with the image; outside of the picture it is 0, whatever is seen there.
        """
        image, mask = self._move(image, mask, rng)
        return self._develop(self._light(image, rng), rng), mask

    def _move(
        self, image: np.ndarray, mask: np.ndarray, rng: Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One similarity of both, about the centre."""
        side = image.shape[0]
        zoom = math.exp(_normal(rng, self.scale)) * self._crop(rng)
        zoom = min(max(zoom, ZOOMS[0]), ZOOMS[1])
        centre = (side - 1) / 2
        matrix: np.ndarray = cv2.getRotationMatrix2D(
            (centre, centre), _normal(rng, self.rotation), zoom
        )
        matrix[:, 2] += [_normal(rng, self.shift * side) for _ in range(2)]
        mode, colour = self._outside(rng)
        if np.array_equal(matrix, np.eye(2, 3)):
            return image.copy(), mask.copy()
        if zoom < 0.75:  # average before sampling
            image = cv2.GaussianBlur(image, (0, 0), 0.35 / zoom, borderType=cv2.BORDER_REPLICATE)
        size = (side, side)
        image = cv2.warpAffine(image, matrix, size, None, cv2.INTER_LINEAR, mode, colour)
        mask = cv2.warpAffine(mask, matrix, size, None, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, 0)
        return image, mask

    def _crop(self, rng: Generator) -> float:
        """Zoom of a tight or a wide crop, 1 for neither."""
        case = rng.random()
        if case < self.tight:
            return rng.uniform(*self.tight_zoom)
        return rng.uniform(*self.wide_zoom) if case < self.tight + self.wide else 1.0

    def _outside(self, rng: Generator) -> tuple[int, tuple[float, ...]]:
        """OpenCV's border mode and colour for what lies outside of the picture."""
        case = rng.random()
        if case < self.frame:
            flat = ((0,) * 3, (255,) * 3, (rng.uniform(0, 255),) * 3, rng.uniform(0, 255, 3))
            return cv2.BORDER_CONSTANT, tuple(map(float, flat[rng.integers(4)]))
        reflected = case < self.frame + self.reflect
        return (cv2.BORDER_REFLECT_101 if reflected else cv2.BORDER_REPLICATE), (0.0, 0.0, 0.0)

    def _light(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        """Saturation by a matrix; the rest by one table a channel."""
        is_grey = rng.random() < self.grey
        saturation = 0.0 if is_grey else math.exp(_normal(rng, self.saturation))
        if saturation != 1:
            mix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * LUMA
            image = cv2.transform(image, mix)
        levels = np.linspace(0, 1, 256) ** math.exp(_normal(rng, self.gamma))
        levels = 0.5 + (levels - 0.5) * math.exp(_normal(rng, self.contrast))
        levels += _normal(rng, self.brightness)
        if rng.random() < self.exposure:
            levels *= rng.uniform(1.3, 2.0) if rng.random() < 0.5 else rng.uniform(0.25, 0.6)
        table = levels[:, None] * self._factors(is_grey, rng)
        return cv2.LUT(image, np.rint(np.clip(table, 0, 1) * 255).astype(np.uint8)[None])

    def _factors(self, is_grey: bool, rng: Generator) -> np.ndarray:
        """Factors on red, green and blue."""
        if is_grey:
            if rng.random() >= self.tint:
                return np.ones(3)
            return np.array(SEPIA) if rng.random() < 0.6 else rng.uniform(0.8, 1.1, 3)
        factors = np.exp([_normal(rng, self.colour) for _ in range(3)])
        if rng.random() < self.coloured_light:  # red, blue or both stay
            low, middle = rng.uniform(0.15, 0.5), rng.uniform(0.3, 1.0)
            factors *= (1, low, middle) if rng.random() < 0.5 else (middle, low, 1)
        return factors

    def _develop(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        """Blur, then the camera's pixels, noise and compression, then sharpening."""
        side = image.shape[0]
        if rng.random() < self.blur:
            sigma = rng.uniform(*self.blur_sigma) * side / REFERENCE
            image = _blurred(image, sigma)
        if rng.random() < self.motion:
            length = rng.uniform(*self.motion_length) * side / REFERENCE
            image = cv2.filter2D(image, -1, _line(length, rng.uniform(0, math.pi)))
        low = rng.random() < self.low_resolution
        if low:
            small = max(8, round(side * rng.uniform(*self.low_resolution_side)))
            image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        if rng.random() < self.noise:
            image = _noisy(image, rng.uniform(*self.noise_sigma), rng)
        if rng.random() < self.jpeg:
            image = _compressed(image, round(rng.uniform(*self.jpeg_quality)))
        if low:
            method = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
            image = cv2.resize(image, (side, side), interpolation=method)
        if rng.random() < self.sharpen:
            amount = rng.uniform(0.5, 1.5)
            soft = _blurred(image, 1.2 * side / REFERENCE)
            image = cv2.addWeighted(image, 1 + amount, soft, -amount, 0)
        return image


def _check_number(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{key}: {shown(value)} is not a number")
    if value < 0 or (key not in SPREADS and value > 1):
        valid = "at least 0" if key in SPREADS else "a share from 0 to 1"
        raise ValueError(f"{key}: {shown(value)} must be {valid}")


def _check_range(key: str, value: Any) -> None:
    low, high = RANGES[key]
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"{key}: {shown(value)} must be two numbers, the least and the most")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"{key}: {shown(value)} must be two numbers, the least and the most")
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{key}: {shown(value)} must rise and lie within {low} to {high}")


def _normal(rng: Generator, deviation: float) -> float:
    """A normal draw about 0 that ends at FARTHEST deviations; drawn even if the deviation is 0."""
    return deviation * min(max(rng.standard_normal(), -FARTHEST), FARTHEST)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    if sigma < 0.1:  # less than a rounding; OpenCV takes 0 as unset
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _line(length: float, angle: float) -> np.ndarray:
    """A motion's kernel, float32 of odd side and of sum 1: `length` in px, `angle` in radians."""
    half = max(1, math.ceil(length / 2))
    kernel = np.zeros((2 * half + 1,) * 2, np.float32)
    for place in np.linspace(-length / 2, length / 2, 4 * half + 1):
        row, column = half + place * math.sin(angle), half + place * math.cos(angle)
        kernel[round(row), round(column)] += 1
    return kernel / kernel.sum()


def _noisy(image: np.ndarray, sigma: float, rng: Generator) -> np.ndarray:
    """Normal noise, in half of the pictures the same in all channels."""
    channels = 1 if rng.random() < 0.5 else 3
    noise: np.ndarray = rng.standard_normal((*image.shape[:2], channels), dtype=np.float32)
    noise *= 255 * sigma
    noise = cv2.merge([noise] * 3) if channels == 1 else noise
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG at a quality from 1 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"JPEG of quality {quality}: OpenCV cannot write {image.shape}")
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert read is not None  # it has just been written
    return cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
