"""What images and masks are everywhere in this project, and the only two places where they meet.

| thing      | form                                                                            |
|------------|---------------------------------------------------------------------------------|
| image      | float32, (N, 3, H, W), RGB, [0, 1]                                              |
| mask       | float32, (N, 1, H, W), {0, 1}; 1 = hole: occluded, to be redrawn                |
| occluded   | what the model sees: the image hidden by a flat fill, or with an occluder on it |
| prediction | what an inpainter returns: a whole image in [0, 1]                              |
| restored   | `compose(prediction, occluded, mask)`                                           |

A model that works in another range or polarity converts at its own border and nowhere else.
"""

import numpy as np
import torch
from torch import Tensor

THRESHOLD = 127  # a mask file's pixel above this counts as hole


def check_image(image: Tensor, name: str = "image") -> Tensor:
    """Return `image` if it keeps the contract, else raise ValueError. Shape (N, 3, H, W)."""
    _check_tensor(image, name, channels=3)
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name}: values must lie in [0, 1], found [{low:.4g}, {high:.4g}]; "
            "8-bit pixels are divided by 255 first"
        )
    return image


def check_mask(mask: Tensor, name: str = "mask") -> Tensor:
    """Return `mask` if it keeps the contract, else raise ValueError. Shape (N, 1, H, W)."""
    _check_tensor(mask, name, channels=1)
    if not ((mask == 0) | (mask == 1)).all():
        low, high = mask.aminmax()
        raise ValueError(
            f"{name}: every value must be 0 (known) or 1 (hole), found others in "
            f"[{low:.4g}, {high:.4g}]; binarise it first"
        )
    return mask


def _check_tensor(tensor: Tensor, name: str, channels: int) -> None:
    if tensor.ndim != 4 or tensor.shape[1] != channels:
        raise ValueError(
            f"{name}: shape must be (N, {channels}, H, W), found {tuple(tensor.shape)}"
        )
    if tensor.numel() == 0:
        raise ValueError(f"{name}: is empty, shape {tuple(tensor.shape)}")
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name}: dtype must be float32, found {tensor.dtype}")


def check_pair(image: Tensor, mask: Tensor) -> None:
    """Raise ValueError unless image and mask keep the contract and fit each other."""
    check_image(image)
    check_mask(mask)
    if image.shape[0] != mask.shape[0] or image.shape[2:] != mask.shape[2:]:
        raise ValueError(
            f"image {tuple(image.shape)} and mask {tuple(mask.shape)} must share N, H and W"
        )


def hide(image: Tensor, mask: Tensor, fill: float = 1.0) -> Tensor:
    """Cover the hole of `image` with a flat `fill`, white by default. Shapes as in the contract."""
    return torch.where(mask > 0.5, torch.full_like(image, fill), image)


def compose(prediction: Tensor, occluded: Tensor, mask: Tensor) -> Tensor:
    """The prediction inside the hole, `occluded` outside of it, bit for bit."""
    return torch.where(mask > 0.5, prediction.to(occluded.dtype), occluded)


def hole_ratio(mask: Tensor) -> Tensor:
    """Share of hole pixels of each mask, shape (N,)."""
    return mask.mean(dim=(1, 2, 3))


def binarise(
    mask: np.ndarray, size: tuple[int, int] | None = None, invert: bool = False
) -> np.ndarray:
    """A grey mask as read from a file, (H, W) uint8, to a (height, width) uint8 array of {0, 1}.

    Binarised at 127, resized by nearest neighbour (pixel centres) to `size` = (height, width), so
    that soft edges never reach a model. `invert` is for files in which 0 means hole.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask: shape must be (H, W), found {mask.shape}")
    holes = mask > THRESHOLD
    if invert:
        holes = ~holes
    if size is not None and size != mask.shape:
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(np.int64)
            for new, old in zip(size, mask.shape, strict=True)
        )
        holes = holes[rows[:, None], columns]
    return holes.astype(np.uint8)


def mask_warning(ratio: float, inverted: bool = False) -> str | None:
    """What is suspicious about a mask with this hole ratio, or None when nothing is. `inverted`:
    it was read with --invert-mask."""
    if ratio == 0:
        return "the mask is all zero: nothing would be redrawn"
    if ratio == 1:
        return "the mask is all one: nothing of the picture would be kept"
    if ratio > 0.6:
        ink, how = ("black", "leave out") if inverted else ("1 (white)", "use")
        return (
            f"the mask marks {ratio:.0%} of the picture as hole; here {ink} means hole, "
            f"{how} --invert-mask if this file means the opposite"
        )
    return None
