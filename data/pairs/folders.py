"""Frozen pairs from your own files: whole images and masks, matched by name or by order."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deocclude.data.contract import binarise, mask_warning
from deocclude.data.faces.cache import report_corrupt, report_enlarged
from deocclude.data.faces.files import hash_array
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError, load_mask, load_square
from deocclude.data.masks.source import bin_of, touches_border
from deocclude.data.pairs.holes import FrozenPairs, Pair

logger = logging.getLogger(__name__)


def pair_folders(
    images: Path, masks: Path, size: int, by: str = "stem", invert: bool = False
) -> FrozenPairs:
    """Pairs from your own files.

    Args:
        images: a folder (or one file) of whole, unoccluded images.
        masks: a folder of masks, or one mask file for every image.
        by: stem (equal names without ending; with their sub-folders when both folders have some) or
            order (sorted order; equal counts).
        invert: the files mark known pixels with 1.

    Files that cannot be read, up to 5 %, and masks without hole or without known pixels are named
    and skipped. Raises FileNotFoundError or ValueError that names what has no partner, and
    ValueError when no pair is left.
    """
    files = [images] if images.is_file() else list_images(images)
    if not files:
        raise FileNotFoundError(f"{images}: no images (jpg, png, webp, bmp)")
    partners = _partners(files, images, masks, by)
    kept, pairs = [], []
    unreadable: dict[Path, ImageReadError] = {}
    unusable: dict[Path, str] = {}
    for image, mask_file in zip(files, partners, strict=True):
        try:
            load_square(image, size)
        except ImageReadError as error:
            unreadable[image] = error
            continue
        try:
            mask = _square_mask(load_mask(mask_file, invert=invert), size)
        except ImageReadError as error:
            unreadable[mask_file] = error
            continue
        ratio = float(mask.mean())
        if ratio in (0.0, 1.0):
            unusable[mask_file] = f"{mask_file}: {mask_warning(ratio)}"
            continue
        if warning := mask_warning(ratio):
            logger.warning("%s: %s", mask_file, warning)
        kept.append((image, mask_file))
        pairs.append(_own_pair(image, images, mask_file, masks, mask))
    report_enlarged([image for image, _ in kept], size)
    if not kept:
        problems = [*map(str, unreadable.values()), *unusable.values()]
        raise ValueError(f"no usable pair among {len(files)}: {_listed(problems)}")
    report_corrupt(list(unreadable.values()), len(files), "images or masks")
    if unusable:
        logger.warning("skipped %d masks: %s", len(unusable), _listed(list(unusable.values())))

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask_file = kept[index]
        mask = load_mask(mask_file, invert=invert)
        return load_square(image, size), _square_mask(mask, size)

    return FrozenPairs(pairs, read, size, f"{images.name} with masks {masks.name} paired by {by}")


def _own_pair(image: Path, images: Path, mask_file: Path, masks: Path, mask: np.ndarray) -> Pair:
    ratio = float(mask.mean())
    ratio_bin = bin_of(ratio)
    return Pair(
        _name(image, images), hashlib.sha256(image.read_bytes()).hexdigest(),
        _name(mask_file, masks), hash_array(mask),
        -1 if ratio_bin is None else ratio_bin, touches_border(mask), round(ratio, 6),
    )  # fmt: skip


def _name(path: Path, folder: Path) -> str:
    """`path` below `folder`, or its own name when `folder` is that very file."""
    return path.name if path == folder else path.relative_to(folder).as_posix()


def _listed(problems: list[str]) -> str:
    return "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" * (len(problems) > 5))


def _square_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Centre-cropped like its image, then nearest neighbour to (size, size)."""
    height, width = mask.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return binarise(mask[top : top + side, left : left + side] * 255, (size, size))


def _partners(files: list[Path], images: Path, masks: Path, by: str) -> list[Path]:
    """The mask file of each image."""
    if masks.is_file():
        return [masks] * len(files)
    found = list_images(masks)
    if by == "order":
        if len(found) != len(files):
            raise ValueError(f"paired by order: {len(files)} images but {len(found)} masks")
        return found
    if by != "stem":
        raise ValueError(f"pairing by {by!r} is not one of stem, order")
    nested = any(f.parent not in (images, images.parent) for f in files)
    nested = nested and any(path.parent != masks for path in found)

    def key(path: Path, folder: Path) -> str:
        return Path(_name(path, folder)).with_suffix("").as_posix() if nested else path.stem

    of_masks = _by_key("masks", found, lambda path: key(path, masks))
    of_images = _by_key("images", files, lambda path: key(path, images), within_a_folder=True)
    alone = [_name(of_images[k], images) for k in of_images if k not in of_masks]
    if alone:
        what = "path without ending" if nested else "stem"
        raise ValueError(
            f"{len(alone)} of {len(files)} images have no mask of the same {what} in {masks}: "
            f"{', '.join(alone[:5])}; give one mask file for all, or pair by order"
        )
    return [of_masks[key(f, images)] for f in files]


def _by_key(
    what: str, paths: list[Path], key: Callable[[Path], str], within_a_folder: bool = False
) -> dict[str, Path]:
    """Paths by their key. ValueError names two that share one; `a.jpg` and `a.png` of one folder
    may do so with `within_a_folder`."""
    named: dict[str, Path] = {}
    for path in paths:
        other = named.setdefault(key(path), path)
        if other is not path and not (within_a_folder and other.parent == path.parent):
            raise ValueError(
                f"{what} {other} and {path} share the name {key(path)!r}: it is not clear what "
                "they are paired with; give masks in equal sub-folders, or pair by order"
            )
    return named
