"""Frozen pairs from your own files: whole images and masks, matched by name or by order."""

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deocclude.data.contract import mask_warning
from deocclude.data.faces.cache import report_corrupt, report_enlarged
from deocclude.data.faces.files import hash_array
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError, load_square, open_image
from deocclude.data.mask_files.fitting import square_hole, upright
from deocclude.data.mask_files.pairing import masks_beside, match_masks
from deocclude.data.mask_files.reading import Mask, exif_orientation, listed_notices, open_mask
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
        by: stem (equal names without ending, or NAME-mask for NAME; with their sub-folders when
            both folders have some) or order (sorted order; equal counts).
        invert: the files mark known pixels with 1.

    Pictures are centre-cropped to squares, and masks like them. A mask has the proportions of its
    picture, or those of the picture as it is stored (EXIF orientation), when it is turned like it;
    a square mask of another picture is taken as drawn on the centre square. Both are said.

    Files that cannot be read or do not fit, up to 5 %, and masks without hole or without known
    pixels are named and skipped. Raises FileNotFoundError or ValueError that names what has no
    partner, and ValueError when no pair is left.
    """
    files = [images] if images.is_file() else list_images(images)
    if beside := masks_beside(files):
        files = [path for path in files if path not in beside]
        logger.warning("%d masks beside the images, e.g. %s: no images", len(beside), beside[0])
    if not files:
        raise FileNotFoundError(f"{images}: no images")
    partners = _partners(files, images, masks, by)
    kept, pairs, told = [], [], []
    unreadable: dict[Path, ImageReadError] = {}
    unusable: dict[Path, str] = {}
    for image, mask_file in zip(files, partners, strict=True):
        try:
            shown = open_image(image)
            frame = Frame(shown.size[::-1], exif_orientation(shown))
        except ImageReadError as error:
            unreadable[image] = error
            continue
        try:
            read = _fitted(open_mask(mask_file, invert), frame)
        except ImageReadError as error:
            unreadable[mask_file if len(set(partners)) > 1 else image] = error
            continue
        mask = square_hole(read, size)
        ratio = float(mask.mean())
        if ratio in (0.0, 1.0):
            unusable[mask_file] = f"{mask_file}: {mask_warning(ratio, invert)}"
            continue
        if warning := mask_warning(ratio, invert):
            logger.warning("%s: %s", mask_file, warning)
        told.append((_name(mask_file, masks), read.notices))
        kept.append((image, mask_file, frame))
        pairs.append(_own_pair(image, images, mask_file, masks, mask))
    report_enlarged([image for image, *_ in kept], size)
    if not kept:
        problems = [*map(str, unreadable.values()), *unusable.values()]
        raise ValueError(f"no usable pair among {len(files)}: {_listed(problems)}")
    report_corrupt(list(unreadable.values()), len(files), "images or masks")
    for text in listed_notices(told):
        logger.warning("%s", text)
    if unusable:
        logger.warning("skipped %d masks: %s", len(unusable), _listed(list(unusable.values())))

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask_file, frame = kept[index]
        mask = square_hole(_fitted(open_mask(mask_file, invert), frame), size)
        return load_square(image, size), mask

    return FrozenPairs(pairs, load, size, f"{images.name} with masks {masks.name} paired by {by}")


class Frame(NamedTuple):
    """How a picture is shown: (height, width), and the EXIF orientation that made it so."""

    shape: tuple[int, int]
    orientation: int


def _fitted(mask: Mask, frame: Frame) -> Mask:
    """The mask as its picture is shown; a square one lies on the picture's centre square, which is
    all that counts here. MaskError where it fits neither."""
    height, width = mask.shape
    rows, columns = frame.shape
    if abs(height - width) > 1 or abs(rows - columns) <= 1:
        return upright(mask, frame.shape, frame.orientation)
    return mask.with_levels(mask.levels, "square, its picture is not: taken for the centre square")


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


def _partners(files: list[Path], images: Path, masks: Path, by: str) -> list[Path]:
    """The mask file of each image."""
    if masks.is_file():
        return [masks] * len(files)
    own = {path.resolve() for path in files}
    found = [path for path in list_images(masks) if path.resolve() not in own]
    if not found:
        raise ValueError(
            f"{masks}: holds no masks{' but the images themselves' * (masks == images)}; the mask "
            "of NAME.jpg is called NAME-mask.png, or NAME.png in a folder of its own"
        )
    if by == "order":
        if len(found) != len(files):
            raise ValueError(f"paired by order: {len(files)} images but {len(found)} masks")
        return found
    if by != "stem":
        raise ValueError(f"pairing by {by!r} is not one of stem, order")
    nested = any(f.parent not in (images, images.parent) for f in files)
    nested = nested and any(path.parent != masks for path in found)

    def key(path: Path, folder: Path) -> Path:
        return Path(_name(path, folder)).with_suffix("") if nested else Path(path.stem)

    of_images = _by_key([(key(path, images), path) for path in files])
    matched, _ = match_masks(of_images, [(key(path, masks), path) for path in found])
    for name, paths in matched.items():
        _shared("masks", name, paths)
    alone = [_name(of_images[k], images) for k in of_images if k not in matched]
    if alone:
        what = "path without ending" if nested else "stem"
        raise ValueError(
            f"{len(alone)} of {len(files)} images have no mask of the same {what} (or NAME-mask) "
            f"in {masks}: {', '.join(alone[:5])}; give one mask file for all, or pair by order"
        )
    return [matched[key(f, images)][0] for f in files]


def _by_key(images: list[tuple[Path, Path]]) -> dict[Path, Path]:
    """Images by their key. ValueError names two of one key, unless they lie in one folder, as
    `a.jpg` and `a.png` may."""
    named: dict[Path, Path] = {}
    for key, path in images:
        other = named.setdefault(key, path)
        if other.parent != path.parent:
            _shared("images", key, [other, path])
    return named


def _shared(what: str, key: Path, paths: list[Path]) -> None:
    """ValueError when there are several of one key."""
    if len(paths) > 1:
        raise ValueError(
            f"{what} {paths[0]} and {paths[1]} share the name {key.as_posix()!r}: it is not clear "
            "what they are paired with; give masks in equal sub-folders, or pair by order"
        )
