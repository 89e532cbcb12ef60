"""Photos and masks as they are handed over in Python, files, PIL pictures or arrays, and pictures
handed back."""

from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from deocclude.data.images import to_rgb
from deocclude.data.mask_files.given import GivenMask, fit_given
from deocclude.data.mask_files.reading import exif_orientation, mask_of, open_mask
from deocclude.engines.photos.files import Photo, read_photo, with_alpha
from deocclude.engines.photos.formats import Metadata
from deocclude.engines.photos.restoration import Restoration

File = str | PathLike[str]
Picture = File | Image.Image | np.ndarray
ARRAYS = "uint8 (H, W, 3), (H, W, 4) or (H, W)"


def open_picture(photo: Picture) -> Photo:
    """The photo, upright. ValueError for what is none, ImageReadError for a file that is none."""
    if isinstance(photo, (str, PathLike)):
        read = read_photo(Path(photo))
        if read.pixels.dtype != np.uint8:
            read.notices.append("16-bit grey is cut to 8 bits")
        return read
    if isinstance(photo, np.ndarray):
        fits = photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] in (3, 4))
        if photo.dtype != np.uint8 or not fits or photo.size == 0:
            found = f"{photo.dtype} {photo.shape}"
            raise ValueError(f"photo: an array must be {ARRAYS}, found {found}")
        photo = Image.fromarray(photo)
    if not isinstance(photo, Image.Image):
        kind = type(photo).__name__
        raise ValueError(f"photo: must be a file, a PIL picture or an array {ARRAYS}, found {kind}")
    upright = ImageOps.exif_transpose(photo)
    pixels = rgb = np.asarray(to_rgb(upright))
    alpha = None
    if (both := with_alpha(upright)) is not None:
        pixels, alpha = both
    elif upright.mode in ("1", "L", "I", "F") or upright.mode.startswith("I;16"):
        pixels = rgb[..., 0]
    return Photo(rgb, pixels, alpha, Metadata(), [], exif_orientation(photo))


def open_given(mask: Picture, photo: Photo, soft: bool) -> GivenMask:
    """A mask for an opened photo. ValueError (MaskError among them) for what is none."""
    shape = photo.rgb.shape[:2]
    if isinstance(mask, (str, PathLike)):
        read = open_mask(Path(mask))
    elif isinstance(mask, Image.Image):
        read = mask_of(ImageOps.exif_transpose(mask), "mask")
        read = replace(read, oriented=exif_orientation(mask) != 1)
    else:
        array = np.asarray(mask)
        if array.shape != shape or array.dtype not in (np.uint8, bool):
            raise ValueError(
                f"mask: must be bool or uint8 {shape} like the photo, found {array.dtype} "
                f"{array.shape}"
            )
        if array.dtype == bool or (not soft and array.max(initial=0) == 1):
            array = array * np.uint8(255)  # {0, 1} as well as {0, 255}
        read = mask_of(Image.fromarray(array), "mask")
    return fit_given(read, shape, photo.orientation, soft=soft)


def as_picture(photo: Photo, result: Restoration) -> Image.Image:
    """The restored photo in the photo's own mode, as of `engines.api.Restored`."""
    hole = result.mask.astype(bool)
    pixels = photo.pixels if photo.pixels.dtype == np.uint8 else photo.rgb[..., 0]
    pixels = pixels.copy()
    pixels[hole] = result.restored[hole] if pixels.ndim == 3 else result.restored[hole][:, 0]
    if photo.alpha is not None:
        pixels = np.dstack([pixels, photo.alpha])
    return Image.fromarray(pixels)
