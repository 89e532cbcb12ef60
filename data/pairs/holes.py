"""Frozen pairs of image and mask: listed, hashed, verifiable. Tables are made on them only."""

import logging
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from deocclude.data.faces.files import Faces, hash_array, hash_image
from deocclude.data.masks.source import RATIO_BINS, MaskFolder, MaskGenerator, touches_border
from deocclude.data.pairs.frozen import FrozenList
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.names import in_words

logger = logging.getLogger(__name__)

PROTOCOL = 1  # raised when the meaning of a pair changes, so that old hashes no longer match


class Pair(NamedTuple):
    """One image and one mask. `bin` indexes RATIO_BINS, -1 when the ratio lies outside of them; in
    ShapedPairs it is the kind of occluder."""

    image: str
    image_sha256: str
    mask: str
    mask_sha256: str
    bin: int | str
    border: bool
    hole_ratio: float


class FrozenPairs(FrozenList):
    """Images with the masks that hide parts of them.

    load(i) gives image uint8 (H, W, 3) and mask uint8 (H, W) of {0, 1}; see FrozenList.
    `template`: how the faces lie, a key of data.faces.alignment.TEMPLATES; ffhq where nobody knows.
    `training` gives the faces that are trained on where these are tested; None where nobody knows.
    """

    ENTRY = Pair
    CELL: ClassVar[tuple[str, ...]] = ("bin", "border")
    template = "ffhq"
    training: Callable[[], Faces] | None = None

    def one_an_image(self) -> "FrozenPairs":
        """One pair of each image, the cells in turn: for what needs independent samples."""
        used: dict[tuple, int] = {}
        images: dict[str, list[int]] = {}
        for index, pair in enumerate(self.pairs):
            images.setdefault(pair.image_sha256, []).append(index)
        kept = []
        for indices in images.values():
            cells = [(self.pairs[index].bin, self.pairs[index].border) for index in indices]
            cell, index = min(
                zip(cells, indices, strict=True), key=lambda each: (used.get(each[0], 0), each[1])
            )
            used[cell] = used.get(cell, 0) + 1
            kept.append(index)
        return self.chosen(sorted(kept), "one pair an image")

    def content(self) -> list:
        listed = [[p.image_sha256, p.mask_sha256, p.bin, p.border] for p in self.pairs]
        return [PROTOCOL, self.size, listed]


class ShapedPairs(FrozenPairs):
    """Faces with holes in the shape of occluders; a table has a column for each kind of these."""

    CELL = ("bin",)


def shape_holes(
    covered: FrozenOccluded, grow: Callable[[np.ndarray], np.ndarray], template: str = "ffhq"
) -> ShapedPairs:
    """The faces of `covered`, hidden where its occluders are and known everywhere else.

    `grow` makes the hole of an occluder's mask, both uint8 (H, W) of {0, 1}. `template` as in
    FrozenPairs.
    """

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        face, _, mask = covered.load(index)
        return face, grow(mask)

    pairs = []
    for index, pair in enumerate(covered.pairs):
        _, hole = read(index)
        name, ratio = f"{pair.kind}/{pair.number}", round(float(hole.mean()), 6)
        facts = name, hash_array(hole), pair.kind, touches_border(hole), ratio
        pairs.append(Pair(pair.image, pair.image_sha256, *facts))
    shaped = ShapedPairs(pairs, read, covered.size, covered.description)
    shaped.template = template
    return shaped


class _Cell(NamedTuple):
    """Image and mask of one pair, by number."""

    image: int
    bin: int
    border: bool
    number: int  # of the mask within its bin and class


def freeze(
    faces: Faces,
    masks: MaskGenerator | MaskFolder,
    split: str,
    per_bin: int,
    description: str | None = None,
) -> FrozenPairs:
    """`per_bin` pairs in each ratio bin that has masks, half of the masks touching the border.

    No image meets the same mask twice: a bin gets fewer pairs when its masks and the images have
    no more combinations, which is said. Every image and every mask of a bin is used before one
    returns. `masks` is a MaskGenerator or a MaskFolder; a folder's missing bins are said and left
    out. ValueError without any mask.
    """
    cells, capped = [], {}
    for ratio_bin, (low, high) in enumerate(RATIO_BINS):
        classes = [border for other, border in masks.cells(split) if other == ratio_bin]
        if not classes:
            logger.warning("no %s mask with a hole ratio in (%g, %g]", split, low, high)
            continue
        rooms = {c: _distinct_masks(masks, split, ratio_bin, c, per_bin) for c in classes}
        found = _combine(ratio_bin, rooms, len(faces), per_bin)
        if len(found) < per_bin:
            capped[f"({low:g}, {high:g}]"] = len(found)
        cells += found
    if not cells:
        raise ValueError(f"no mask in split {split!r}: {in_words(masks.describe())}")
    hashes = {image: hash_image(faces, image) for image in {cell.image for cell in cells}}
    kept, pairs = _list_pairs(cells, faces, masks, split, hashes)
    words = description or f"{split} split, {per_bin} pairs in each of {len(RATIO_BINS)} bins"
    words += f", {len(set(hashes.values()))} distinct images"
    if capped or len(kept) < len(cells):
        fewer = ", ".join(f"{count} in {name}" for name, count in capped.items())
        logger.warning(
            "fewer %s pairs than the %d a bin asked for, as no image meets the same mask twice: %s",
            split, per_bin, fewer or f"{len(cells) - len(kept)} were copies",
        )  # fmt: skip
        words += f", {len(kept)} pairs as there are no more combinations"

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        return faces[kept[index].image], _mask_of(masks, split, kept[index])

    return FrozenPairs(pairs, read, faces.size, words)


def _distinct_masks(
    masks: MaskGenerator | MaskFolder, split: str, ratio_bin: int, border: bool, enough: int
) -> int:
    """How many masks a class holds before `fixed` starts again, counted up to `enough`."""
    first = masks.spec(split, 0, ratio_bin, border)
    again = (n for n in range(1, enough) if masks.spec(split, n, ratio_bin, border) == first)
    return next(again, enough)


def _combine(ratio_bin: int, rooms: dict[bool, int], images: int, count: int) -> list[_Cell]:
    """At most `count` different combinations of image and mask, the classes in turn.

    Class number c of k classes meets the images c, c + k, c + 2 k, ..., then the ones between
    them. The masks walk along; whenever both walks would fall into step again, the images' one is
    moved on by one, so that every combination comes once.
    """
    cells: list[_Cell] = []
    taken = dict.fromkeys(rooms, 0)
    period = images // math.gcd(len(rooms), images)
    while len(cells) < count:
        free = [border for border in rooms if taken[border] < rooms[border] * images]
        if not free:
            break
        for border in free[: count - len(cells)]:
            number, masks = taken[border], rooms[border]
            step = (number + number // math.lcm(masks, images)) % images
            start = list(rooms).index(border) + step // period
            image = (start + len(rooms) * step) % images
            cells.append(_Cell(image, ratio_bin, border, number % masks))
            taken[border] += 1
    return cells


def _list_pairs(
    cells: list[_Cell],
    faces: Faces,
    masks: MaskGenerator | MaskFolder,
    split: str,
    hashes: dict[int, str],
) -> tuple[list[_Cell], list[Pair]]:
    """The cells without those whose image and mask are copies of a pair before, and their pairs."""
    kept, pairs, seen = [], [], set()
    for cell in cells:
        mask = _mask_of(masks, split, cell)
        key = hashes[cell.image], hash_array(mask)
        if key in seen:
            continue
        seen.add(key)
        name = f"{split}/{cell.bin}/{'border' if cell.border else 'inside'}/{cell.number}"
        ratio = round(float(mask.mean()), 6)
        kept.append(cell)
        pairs.append(
            Pair(faces.names[cell.image], key[0], name, key[1], cell.bin, cell.border, ratio)
        )
    return kept, pairs


def _mask_of(masks: MaskGenerator | MaskFolder, split: str, cell: _Cell) -> np.ndarray:
    return masks.fixed(split, cell.number, cell.bin, cell.border)
