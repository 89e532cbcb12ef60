"""Image files to arrays and tensors of the contract, and back.

PyTorch is imported where it is needed: commands list and read files before they need networks.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import psutil
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from deocclude.data.files import temporary_name
from deocclude.data.image_files import is_heif, is_raw

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")
Found = TypeVar("Found")

BYTES_PER_PIXEL = 24  # of memory that a photo takes while it is restored, at most
HEIF_HINT = "HEIC and HEIF are read by `pip install pillow-heif`"
STORED = "stored orientation"  # in Image.info of `open_image`: what EXIF said before it was turned
_LIMIT = threading.Lock()  # Pillow's own limit is one for the whole process

# What Pillow raises at damaged files.
DAMAGE = (
    ArithmeticError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


class ImageReadError(ValueError):
    """A file that cannot be read as an image; the message names the file and the reason."""


def open_image(
    path: str | Path, max_pixels: int | None = None, data: bytes | None = None
) -> Image.Image:
    """Read the whole file, apply its EXIF rotation. Any mode. ImageReadError if that fails.

    `max_pixels`: larger pictures are refused; None allows what the free memory does. `data`: the
    file's bytes, where it lies in an archive; `path` then only names it. Damaged EXIF does not cost
    the picture: it is dropped, with a warning.
    """
    if is_raw(path) and Path(path).is_file():
        raise ImageReadError(
            f"{path}: a camera's raw file, of which only the thumbnail could be read; develop it "
            "to JPEG, PNG or TIFF first"
        )
    try:
        with open_header(path if data is None else io.BytesIO(data)) as image:
            _check_pixels(image, path, max_pixels)
            image.load()
            return _upright(image, path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such image file") from None
    except UnidentifiedImageError as error:
        source = path if data is None else io.BytesIO(data)
        raise ImageReadError(f"{path}: {_unknown(source)}") from error
    except ImageReadError:
        raise
    except DAMAGE as error:
        raise ImageReadError(f"{path}: cannot be read as an image ({error})") from error
    except MemoryError:
        raise ImageReadError(f"{path}: needs more memory than there is") from None


@contextmanager
def open_header(
    path: str | Path | io.BytesIO, formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """The picture before its pixels are read, as of Image.open, of any size; HEIC too where
    pillow-heif is installed. Raises what Pillow raises."""
    try:
        image = _open(path, formats)
    except UnidentifiedImageError:
        if formats is not None or not (is_heif(_start(path)) and _register_heif()):
            raise
        image = _open(path)
    with image:
        yield image


def _open(path: str | Path | io.BytesIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Image.open without Pillow's limit of pixels; `open_image` has one by memory."""
    with _LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _start(path: str | Path | io.BytesIO) -> bytes:
    """The first 12 bytes."""
    if isinstance(path, io.BytesIO):
        return path.getvalue()[:12]
    with open(path, "rb") as file:
        return file.read(12)


def _register_heif() -> bool:
    """Let Pillow read HEIC, if pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _unknown(path: str | Path | io.BytesIO) -> str:
    """Why Pillow knows nothing of a file."""
    if not _start(path):
        return "cannot be read as an image (the file is empty)"
    if is_heif(_start(path)):
        return f"cannot be read as an image; {HEIF_HINT}"
    return "cannot be read as an image (damaged, or in none of the formats that Pillow knows)"


def _check_pixels(image: Image.Image, path: str | Path, most: int | None) -> None:
    pixels, why = image.width * image.height, "--max-pixels allows"
    if most is None:
        free = psutil.virtual_memory().available
        most = free // BYTES_PER_PIXEL
        why = f"{free / 2**30:.1f} GiB of free memory allow; --max-pixels N lifts the limit"
    if pixels > most:
        raise ImageReadError(
            f"{path}: {image.width} x {image.height} are {pixels / 1e6:.4g} million pixels, more "
            f"than the {most / 1e6:.4g} million that {why}"
        )


def _upright(image: Image.Image, path: str | Path) -> Image.Image:
    try:
        upright = ImageOps.exif_transpose(image)
        upright.info[STORED] = image.getexif().get(ExifTags.Base.Orientation, 1)
        upright.getexif().tobytes()  # what was only skipped so far would fail later
    except DAMAGE as error:
        warnings.warn(f"{path}: damaged EXIF is ignored ({error})", stacklevel=3)
        upright = image.copy()
        upright.info.pop("exif", None)
        upright.getexif().clear()
    return upright


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL mode to RGB; 16-bit grey is scaled to 8 bit, transparency laid over white, floats of
    which `is_unit_range` holds are taken as 0 black, 1 white, and CMYK goes by its profile."""
    if image.mode == "CMYK" and (profile := image.info.get("icc_profile")):
        try:
            inks, screen = (
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
            )
            return cast(
                Image.Image, ImageCms.profileToProfile(image, inks, screen, outputMode="RGB")
            )
        except (ImageCms.PyCMSError, OSError):  # damaged, or of other colours
            pass
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 255 if is_unit_range(image) else 1 / 257 if grey.max() > 255 else 1
        image = Image.fromarray(np.rint(grey * scale).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def is_unit_range(image: Image.Image) -> bool:
    """Whether the picture holds floats of which none is above 1."""
    return image.mode == "F" and float(np.nan_to_num(np.asarray(image)).max()) <= 1


def in_threads(read: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
    """`read` of each of the items, in their order, by some threads at once: decoding frees Python's
    lock."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(read, items)


def load_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 RGB, (H, W, 3), upright, transparency over white."""
    return np.asarray(to_rgb(open_image(path)))


def centre_crop_square(image: Image.Image) -> Image.Image:
    """The largest centred square."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image if width == height else image.crop((left, top, left + side, top + side))


def load_square(path: str | Path, size: int, data: bytes | None = None) -> np.ndarray:
    """Centre-crop to a square, antialiased (bicubic with support) resize: uint8 (size, size, 3).
    `data` as for `open_image`."""
    return to_square(open_image(path, data=data), size)


def to_square(image: Image.Image, size: int) -> np.ndarray:
    """As `load_square`, of a picture of any mode."""
    image = centre_crop_square(to_rgb(image))
    if image.width != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def save_image(path: str | Path, image: np.ndarray | Image.Image, **options: Any) -> None:
    """Write under a temporary name in the same folder, then rename: whole or not at all."""
    save_images({Path(path): (image, options)})


def save_images(pictures: Mapping[Path, tuple[np.ndarray | Image.Image, dict]]) -> None:
    """Write path -> (picture, Pillow's options), all under temporary names, then rename them: all
    of them or none. Raises OSError or ValueError with the name of the file that cannot be written.
    """
    parts: dict[Path, Path] = {}
    try:
        for path, (image, options) in pictures.items():
            parts[path] = temporary_name(path)
            _write(parts[path], path, image, options)
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _write(part: Path, path: Path, image: np.ndarray | Image.Image, options: dict) -> None:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(part, **options)
    except (OSError, ValueError, struct.error) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{path}: cannot be written ({error})") from error


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (..., H, W, C) to float32 (..., C, H, W) in [0, 1]; a mask (..., H, W) of {0, 1} keeps
    its values and gains a channel."""
    import torch

    image = np.require(image, requirements=("C", "W"))  # torch wants an array it might write to
    if image.shape[-1] == 3:
        return torch.from_numpy(image).movedim(-1, -3).float().div_(255)
    return torch.from_numpy(image).unsqueeze(-3).float()


def to_uint8(image: Tensor) -> np.ndarray:
    """float (..., 3, H, W) in [0, 1] to uint8 (..., H, W, 3), rounded to nearest."""
    import torch

    pixels = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.movedim(-3, -1).cpu().numpy()
