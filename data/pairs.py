"""Frozen pairs of image and mask: listed, hashed, verifiable. Tables are made on them only."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.contract import binarise, mask_warning
from data.faces import Faces
from data.masks import RATIO_BINS, bin_of, touches_border
from data.transforms import list_images, load_mask, load_square

logger = logging.getLogger(__name__)

PROTOCOL = 1  # raised when the meaning of a pair changes, so that old hashes no longer match


class Pair(NamedTuple):
    """One image and one mask. `bin` indexes RATIO_BINS, -1 when the ratio lies outside of them."""

    image: str
    image_sha256: str
    mask: str
    mask_sha256: str
    bin: int
    border: bool
    hole_ratio: float


class FrozenPairs:
    """A list of pairs that can be read again and checked against its hashes.

    Args:
        pairs: what is listed.
        read: index -> (image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1}).
        size: side in pixels; every image and mask is square.
        description: where images and masks came from, in words, printed under tables.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        read: Callable[[int], tuple[np.ndarray, np.ndarray]],
        size: int,
        description: str,
    ) -> None:
        self.pairs = list(pairs)
        self.size = size
        self.description = description
        self._read = read
        self.hash = self._digest()

    def _digest(self) -> str:
        listed = [[p.image_sha256, p.mask_sha256, p.bin, p.border] for p in self.pairs]
        content = json.dumps([PROTOCOL, self.size, listed], separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 and mask (H, W) uint8 {0, 1}."""
        return self._read(index)

    def save(self, path: Path) -> None:
        """Write the list with its hash as JSON."""
        record = {
            "hash": self.hash,
            "protocol": PROTOCOL,
            "size": self.size,
            "description": self.description,
            "fields": list(Pair._fields),
            "pairs": [list(p) for p in self.pairs],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=0), encoding="utf-8")

    def check_against(self, path: Path) -> None:
        """Raise ValueError when a saved list differs from this one, naming the first difference."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["hash"] == self.hash:
            return
        theirs = [Pair(*fields) for fields in saved["pairs"]]
        for index, (mine, other) in enumerate(zip(self.pairs, theirs, strict=False)):
            if mine != other:
                raise ValueError(f"{path}: pair {index} was {other}, is now {mine}")
        raise ValueError(f"{path}: lists {len(theirs)} pairs, there are {len(self.pairs)} now")


class _Cell(NamedTuple):
    """Image and mask of one pair, by number."""

    image: int
    bin: int
    border: bool
    number: int  # of the mask within its bin and class


def freeze(
    faces: Faces, masks, split: str, per_bin: int, description: str | None = None
) -> FrozenPairs:
    """`per_bin` pairs in each ratio bin that has masks, half of the masks touching the border.

    Images are taken in order and again from the start when they run out. `masks` is a MaskGenerator
    or a MaskFolder; a folder's missing bins are said and left out. ValueError without any mask.
    """
    cells = []
    for ratio_bin, (low, high) in enumerate(RATIO_BINS):
        classes = [border for other, border in masks.cells(split) if other == ratio_bin]
        if not classes:
            logger.warning("no %s mask with a hole ratio in (%g, %g]", split, low, high)
            continue
        for i in range(per_bin):
            border = classes[i % len(classes)]
            cells.append(_Cell(i % len(faces), ratio_bin, border, i // len(classes)))
    if not cells:
        raise ValueError(f"no mask in split {split!r}: {masks.describe()}")

    def mask_of(cell: _Cell) -> np.ndarray:
        return masks.fixed(split, cell.number, cell.bin, cell.border)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        return faces[cells[index].image], mask_of(cells[index])

    hashes = {image: _hash_image(faces, image) for image in {cell.image for cell in cells}}
    pairs = []
    for cell in cells:
        mask = mask_of(cell)
        name = f"{split}/{cell.bin}/{'border' if cell.border else 'inside'}/{cell.number}"
        ratio = round(float(mask.mean()), 6)
        pairs.append(
            Pair(
                faces.names[cell.image], hashes[cell.image], name, _hash_array(mask),
                cell.bin, cell.border, ratio,
            )
        )  # fmt: skip
    words = description or f"{split} split, {per_bin} pairs in each of {len(RATIO_BINS)} bins"
    return FrozenPairs(pairs, read, faces.size, words)


def _hash_image(faces: Faces, index: int) -> str:
    """Of the file's bytes, or of the pixels when there is no file."""
    if faces.files is None:
        return _hash_array(faces[index])
    return hashlib.sha256(faces.files[index].read_bytes()).hexdigest()


def _hash_array(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def pair_folders(
    images: Path, masks: Path, size: int, by: str = "stem", invert: bool = False
) -> FrozenPairs:
    """Pairs from your own files.

    Args:
        images: a folder (or one file) of whole, unoccluded images.
        masks: a folder of masks, or one mask file for every image.
        by: stem (equal names without ending) or order (sorted order; equal counts).
        invert: the files mark known pixels with 1.

    Raises FileNotFoundError or ValueError that names what has no partner.
    """
    files = [images] if images.is_file() else list_images(images)
    if not files:
        raise FileNotFoundError(f"{images}: no images (jpg, png, webp, bmp)")
    partners = _partners(files, masks, by)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        mask = load_mask(partners[index], invert=invert)
        return load_square(files[index], size), _square_mask(mask, size)

    pairs = []
    for index, (image, mask_file) in enumerate(zip(files, partners, strict=True)):
        mask = read(index)[1]
        ratio = float(mask.mean())
        if ratio in (0.0, 1.0):
            raise ValueError(f"{mask_file}: {mask_warning(ratio)}")
        if warning := mask_warning(ratio):
            logger.warning("%s: %s", mask_file, warning)
        ratio_bin = bin_of(ratio)
        pairs.append(
            Pair(
                image.name, hashlib.sha256(image.read_bytes()).hexdigest(),
                mask_file.name, _hash_array(mask),
                -1 if ratio_bin is None else ratio_bin, touches_border(mask), round(ratio, 6),
            )
        )  # fmt: skip
    return FrozenPairs(pairs, read, size, f"{images.name} with masks {masks.name} paired by {by}")


def _square_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Centre-cropped like its image, then nearest neighbour to (size, size)."""
    height, width = mask.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return binarise(mask[top : top + side, left : left + side] * 255, (size, size))


def _partners(files: list[Path], masks: Path, by: str) -> list[Path]:
    if masks.is_file():
        return [masks] * len(files)
    found = list_images(masks)
    if by == "order":
        if len(found) != len(files):
            raise ValueError(f"paired by order: {len(files)} images but {len(found)} masks")
        return found
    if by != "stem":
        raise ValueError(f"pairing by {by!r} is not one of stem, order")
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise ValueError(f"masks {stems[path.stem]} and {path} share the stem {path.stem!r}")
        stems[path.stem] = path
    alone = [f.name for f in files if f.stem not in stems]
    if alone:
        raise ValueError(
            f"{len(alone)} of {len(files)} images have no mask of the same stem in {masks}: "
            f"{', '.join(alone[:5])}; give one mask file for all, or pair by order"
        )
    return [stems[f.stem] for f in files]
