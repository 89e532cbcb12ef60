"""Which part of a photo the inpainter is shown, and how it shrinks without a trace of the hole."""

import numpy as np
from deocclude.data.contract import mask_warning
from PIL import Image

MARGIN = 1 / 16  # known context kept around the hole, as a share of the photo's short side


def choose_window(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part of a photo that the inpainter is shown.

    The square of the short side's length that is nearest to the centre and holds the hole with a
    margin; the whole photo when there is none.
    """
    height, width = mask.shape
    side = min(height, width)
    margin = round(side * MARGIN)
    axis = int(width > height)  # the long side
    length = mask.shape[axis]
    marked = np.flatnonzero(mask.any(axis=1 - axis))
    low, high = max(0, marked[0] - margin), min(length, marked[-1] + 1 + margin)
    if high - low > side:
        return 0, 0, height, width
    start = int(min(max((length - side) // 2, high - side), low))
    return (0, start, side, side) if axis else (start, 0, side, side)


def shrink(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Photo and mask at the inpainter's resolution, without a trace of what the hole covers.

    Shape: uint8 (H, W, 3) and (H, W) -> uint8 (*shape, 3) and (*shape). A small pixel is hole as
    soon as it overlaps one hole pixel. The others are resized like the training images (bicubic,
    antialiased); where that filter would reach into the hole they are the mean of the known
    pixels alone, under a triangle filter, so that neither the occluder nor a fill colour bleeds
    into them. Colours inside the hole are meaningless: hide them.
    """
    if not mask.any():
        return resize(image, shape, Image.Resampling.BICUBIC), np.zeros(shape, np.uint8)
    hole = _cover(_cover(mask, shape[0], axis=0), shape[1], axis=1)
    known = (1 - mask).astype(np.float32)
    visible = image * (1 - mask)[..., None]
    small = resize(visible, shape, Image.Resampling.BICUBIC)
    reached = np.abs(resize(known, shape, Image.Resampling.BICUBIC) - 1) > 1e-4
    reached &= hole == 0
    weight = resize(known, shape, Image.Resampling.BILINEAR)[reached]
    for channel in range(3):
        sums = resize(visible[..., channel].astype(np.float32), shape, Image.Resampling.BILINEAR)
        small[reached, channel] = np.rint((sums[reached] / weight).clip(0, 255))
    return small, hole


def shrink_to_square(
    image: np.ndarray, mask: np.ndarray | None, size: int
) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """As `shrink`, to a square of `size` without a change of proportions, mirrored where the
    picture is shorter; and the slices of the square that hold the picture itself. Without a mask
    nothing is hole."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8) if mask is None else mask
    scale = size / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    small, hole = shrink(image, mask, shape)
    before = [(size - side) // 2 for side in shape]
    padding = [(b, size - side - b) for b, side in zip(before, shape, strict=True)]
    square = np.pad(small, [*padding, (0, 0)], mode="symmetric")
    rows, columns = (slice(b, b + side) for b, side in zip(before, shape, strict=True))
    return square, np.pad(hole, padding, mode="symmetric"), (rows, columns)


def paste_enlarged(photo: np.ndarray, picture: np.ndarray, mask: np.ndarray) -> None:
    """Enlarge a float32 picture (3, h, w) in [0, 1] to the photo, uint8 (H, W, 3), by bicubic
    interpolation and put it there in place where `mask` is 1."""
    redrawn = mask.astype(bool)
    for channel, values in enumerate(picture):
        large = resize(values, mask.shape, Image.Resampling.BICUBIC)
        photo[redrawn, channel] = np.rint(large[redrawn].clip(0, 1) * 255)


def put_enlarged(target: np.ndarray, values: np.ndarray, mask: np.ndarray) -> None:
    """Enlarge float32 values (h, w) to `target`, float32 (H, W), bilinearly, so that they stay in
    their range, and put them there in place where `mask` is 1."""
    redrawn = mask.astype(bool)
    target[redrawn] = resize(values, mask.shape, Image.Resampling.BILINEAR)[redrawn]


def _cover(mask: np.ndarray, count: int, axis: int) -> np.ndarray:
    """The maximum of `mask` over the exact extent of each of `count` equal intervals."""
    length = mask.shape[axis]
    index = np.arange(count)
    starts, ends = index * length // count, -(-(index + 1) * length // count)
    padded = np.concatenate([mask, np.zeros_like(mask.take([0], axis))], axis)
    pairs = np.stack([starts, ends], 1).ravel()
    return np.maximum.reduceat(padded, pairs, axis=axis).take(2 * index, axis)


def resize(array: np.ndarray, shape: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Antialiased resize from edge to edge, uint8 (H, W, 3) or float32 (H, W)."""
    resized = Image.fromarray(np.ascontiguousarray(array)).resize(shape[::-1], method)
    return np.array(resized)


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the photo is uint8 (H, W, 3) and holds a pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image: must be uint8 (H, W, 3), found {image.dtype} {image.shape}")


def check_photo(image: np.ndarray, mask: np.ndarray) -> None:
    """Raise ValueError unless photo and mask fit each other and there is something to redraw."""
    check_image(image)
    if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
        raise ValueError(
            f"mask: must be uint8 {image.shape[:2]} like the photo, found {mask.dtype} {mask.shape}"
        )
    if mask.size == 0 or mask.max() > 1:
        raise ValueError("mask: must hold 0 (known) and 1 (hole) only, and at least one pixel")
    ratio = float(mask.mean())
    if ratio in (0, 1):
        raise ValueError(f"{mask_warning(ratio)} (hole ratio {ratio:.2f})")
