"""A mask for one photo: what of it is redrawn, and how much of that shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deocclude.data.mask_files.fitting import resized, size_words, upright
from deocclude.data.mask_files.reading import THRESHOLD, Mask, MaskError, open_mask

ALPHA = "alpha"  # in place of a mask file: the photo's own transparent part
# Soft masks: levels up to this one weigh less than 1 %. They are what JPEG and blurring leave far
# from the hole; redrawn, they would only hide from the networks what they restore from.
FAINT = 2
NO_DILATION = "a soft mask has its own edge: leave out dilate, or make the mask itself wider"


@dataclass(frozen=True)
class GivenMask:
    """What is to be redrawn of one photo.

    Shape: hole uint8 (H, W) {0, 1}; weight uint8 (H, W), 255 = only what is redrawn shows, or None
    where that is so in the whole hole. `notices`: what to tell the user.
    """

    hole: np.ndarray
    weight: np.ndarray | None
    notices: list[str]

    def weigh(self, restored: np.ndarray, photo: np.ndarray) -> None:
        """Let the photo show in `restored`, uint8 (H, W, 3), in place, as much as the weights say.

        `photo`: uint8 (H, W, 3) or (H, W). Outside of the hole nothing changes.
        """
        if self.weight is None:
            return
        part = (self.hole == 1) & (self.weight < 255)
        under = photo[part] if photo.ndim == 3 else photo[part][:, None]
        share = self.weight[part].astype(np.float32)[:, None] / 255
        restored[part] = np.rint(share * restored[part] + (1 - share) * under).astype(np.uint8)


def read_given(
    path: Path,
    shape: tuple[int, int],
    orientation: int = 1,
    invert: bool = False,
    soft: bool = False,
    max_pixels: int | None = None,
) -> GivenMask:
    """A mask file for a photo of this (height, width) as shown, with this EXIF orientation.

    `invert`: black marks the hole. `soft`: grey levels weigh what is redrawn against the photo.
    `max_pixels` as of `open_image`. Raises MaskError for what is no mask of this photo,
    ImageReadError for what cannot be read.
    """
    mask = open_mask(path, invert, max_pixels)
    return fit_given(mask, shape, orientation, invert, soft)


def fit_given(
    mask: Mask,
    shape: tuple[int, int],
    orientation: int = 1,
    invert: bool = False,
    soft: bool = False,
) -> GivenMask:
    """A mask that is read already; else as `read_given`."""
    from deocclude.data.contract import mask_warning

    how_read = len(mask.notices)
    mask = upright(mask, shape, orientation)
    told = mask.notices[how_read if soft else 0 :]  # soft levels are taken as they are
    notices = [f"{mask.name}: {text}" for text in told]
    if mask.grey and not soft:
        notices.append(
            f"{mask.name}: {mask.grey:.1%} of it is grey: above {THRESHOLD} of 255 counts as "
            "white; --soft-mask weighs it instead"
        )
    if mask.shape != shape:
        how = "bilinear interpolation" if soft else "nearest neighbour"
        notices.append(
            f"mask {Path(mask.name).name} is {size_words(mask.shape)}, the photo "
            f"{size_words(shape)}: resized by {how}"
        )
    if soft:
        weight = resized(mask, shape).levels
        hole = (weight > FAINT).astype(np.uint8)
    else:
        weight, hole = None, mask.hole(shape)
    ratio = float(hole.mean())
    warning = mask_warning(ratio, invert)
    if ratio in (0, 1):
        raise MaskError(f"{mask.name}: {warning}; {_levels_words(mask, invert, soft)}")
    if warning:
        notices.append(f"warning: {mask.name}: {warning}")
    return GivenMask(hole, weight, notices)


def _levels_words(mask: Mask, invert: bool, soft: bool) -> str:
    levels = 255 - mask.levels if invert else mask.levels
    low, high = int(levels.min()), int(levels.max())
    found = f"every value of the file is {low}" if low == high else f"its values: {low} to {high}"
    if soft:
        return f"{found}; a soft mask has levels from {FAINT + 1} on where to redraw, and 0 else"
    ink, ground = ("black", "white") if invert else ("white", "black")
    return f"{found}; a mask is {ground}, and {ink} where to redraw"


def erased_part(alpha: np.ndarray | None, name: str, hard: bool = False) -> GivenMask:
    """A photo's transparent part as its mask, where that was erased to be redrawn.

    Shape: alpha uint8 (H, W), or None for a photo without. Partly transparent pixels, as a soft
    eraser leaves them, show as much of the photo as was left of it; not with `hard`. Raises
    MaskError, with `name`, where nothing or everything is transparent.
    """
    if alpha is None or alpha.min() == 255:
        raise MaskError(f"{name}: has no transparent part that --mask {ALPHA} could take")
    if alpha.max() < 255:
        raise MaskError(
            f"{name}: is transparent everywhere, at least in part: nothing is left as it was"
        )
    return GivenMask((alpha < 255).astype(np.uint8), None if hard else 255 - alpha, [])
