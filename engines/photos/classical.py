"""Redrawing a mask without a network: the baselines on photos of any size."""

from collections.abc import Iterator

import cv2
import numpy as np

from deocclude.engines.inference.baselines import create_baseline
from deocclude.engines.inference.hole_mask import Dilation
from deocclude.engines.inference.hole_mask import dilate as dilate_mask
from deocclude.engines.jobs.plan import METHODS, NO_MASK
from deocclude.engines.photos.restoration import UNCHANGED, Restoration
from deocclude.engines.photos.windows import check_photo

CONTEXT = 32  # pixels around a hole that a method is shown; it looks at the nearest few
# Hole pixels that the biharmonic equation is solved for at once; its time and memory grow faster
# than they do: 40 000 take about 1 s.
MOST_PIXELS = 40_000


class ClassicalRestorer:
    """Restores photos by one of METHODS, called as `engines.photos.deoccluder.Deoccluder` is."""

    def __init__(self, method: str) -> None:
        if method not in METHODS:
            raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
        self.method = method
        self._fill = create_baseline(method)

    def restore(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        *,
        dilate: float | str | None = None,
        uncertainty: bool = False,
        **others: object,
    ) -> Restoration:
        """Redraw what the mask marks, hole by hole, from what is around each of them.

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1}. Outside of the mask, grown by
        `dilate` pixels, the result equals `image` bit for bit. `others`: what only concerns faces
        and their edges, not looked at. Raises ValueError without a mask, for a wrong shape or type,
        a mask without a hole or without known pixels, and for `uncertainty`, which no method tells.
        """
        if mask is None:
            raise ValueError(NO_MASK)
        if uncertainty:
            raise ValueError(f"uncertainty: {self.method} does not say how unsure it is")
        check_photo(image, mask)
        wide = dilate_mask(mask, Dilation.of_given(dilate).pixels or 0)
        check_photo(image, wide)
        result = Restoration(image.copy(), wide)
        with result.timing("inpaint"):
            for part, window in _holes(wide):
                self._redraw(result, part, window)
        if not result.changed:
            result.notices.append(f"{UNCHANGED}: the photo is unchanged")
        result.notices = list(dict.fromkeys(result.notices))
        return result

    def _redraw(self, result: Restoration, part: np.ndarray, window: tuple[slice, slice]) -> None:
        """Fill `part`, bool of the window's shape, in place; a large hole from a smaller copy."""
        picture, hole = result.restored[window], result.mask[window]
        factor = 1.0
        if self.method == "biharmonic":
            factor = min(1.0, (MOST_PIXELS / max(1, int(hole.sum()))) ** 0.5)
        if factor == 1:
            filled = self._fill(picture, hole)
        else:
            result.notices.append(
                f"biharmonic: a hole of more than {MOST_PIXELS:,} pixels is solved on a smaller "
                "copy and enlarged"
            )
            filled = self._fill_small(picture, hole, factor)
        if filled.dtype != np.uint8:
            filled = np.rint(filled.clip(0, 1) * 255).astype(np.uint8)
        picture[part] = filled[part]

    def _fill_small(self, picture: np.ndarray, hole: np.ndarray, factor: float) -> np.ndarray:
        """The method's answer for a reduced picture, enlarged to (H, W, 3) uint8. No pixel of the
        hole is mixed into the known ones."""
        height, width = hole.shape
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        known = (1 - hole).astype(np.float32)
        share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        summed = cv2.resize(picture * known[..., None], size, interpolation=cv2.INTER_AREA)
        small = np.rint(summed / np.maximum(share, 1e-6)[..., None]).clip(0, 255).astype(np.uint8)
        filled = self._fill(small, (share < 1e-3).astype(np.uint8)).astype(np.float32)
        large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.rint(large.clip(0, 1) * 255).astype(np.uint8)


def _holes(mask: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[slice, slice]]]:
    """Groups of holes whose surroundings overlap: each as bool of its window, and the window."""
    near = dilate_mask(mask, CONTEXT)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    for label in range(1, count):
        left, top, width, height = boxes[label, :4]
        window = np.s_[top : top + height, left : left + width]
        yield (labels[window] == label) & (mask[window] == 1), window
