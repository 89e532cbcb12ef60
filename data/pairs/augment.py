"""Small changes of place, light and colour, so that a segmenter does not rely on any of them."""

from dataclasses import dataclass

import cv2
import numpy as np

GREY_SHARE = 0.05  # of the pictures become grey photographs


@dataclass(frozen=True)
class Augmentation:
    """Limits of the changes; each is drawn uniformly. Alignment by landmarks errs by as much.

    rotation in degrees, shift as a share of the side, scale and light as relative factors.
    """

    rotation: float = 8.0
    shift: float = 0.05
    scale: float = 0.12
    light: float = 0.25
    grey: float = GREY_SHARE

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (S, S, 3) and mask uint8 (S, S) of {0, 1}, changed alike; new arrays."""
        matrix = self._matrix(image.shape[0], rng)
        size = image.shape[1::-1]
        image = cv2.warpAffine(image, matrix, size, None, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
        mask = cv2.warpAffine(mask, matrix, size, None, cv2.INTER_NEAREST, cv2.BORDER_REFLECT_101)
        return self._relight(image, rng), mask

    def _matrix(self, side: int, rng: np.random.Generator) -> np.ndarray:
        angle = rng.uniform(-self.rotation, self.rotation)
        scale = (1 + self.scale) ** rng.uniform(-1, 1)
        centre = (side - 1) / 2
        matrix: np.ndarray = cv2.getRotationMatrix2D((centre, centre), angle, scale)
        matrix[:, 2] += rng.uniform(-self.shift, self.shift, 2) * side
        return matrix

    def _relight(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Gain and gamma a channel, mostly in common; a table look-up."""
        common, gamma = (1 + self.light) ** rng.uniform(-1, 1, 2)
        gains = common * (1 + self.light / 3) ** rng.uniform(-1, 1, 3)
        levels = np.linspace(0, 1, 256) ** gamma
        table = np.rint(np.clip(levels[:, None] * gains, 0, 1) * 255).astype(np.uint8)
        if rng.random() < self.grey:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            table[:] = table[:, 1:2]
        return cv2.LUT(image, table[None])
