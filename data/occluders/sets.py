"""Paired sets on disk, read back: our own, and others that lie in the same folders.

How they lie is told in `data.occluders.set_files`, how they are made in
`data.occluders.set_writer`.
"""

import json
import logging
import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from deocclude.data.faces.cache import report_corrupt
from deocclude.data.faces.layout import given_splits, needs_train
from deocclude.data.faces.splits import SHARES, Split, complete, deal_out
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError, open_image, to_square
from deocclude.data.mask_files.fitting import (
    same_proportions,
    size_words,
    square_hole,
    upright,
)
from deocclude.data.mask_files.pairing import photo_stem
from deocclude.data.mask_files.reading import exif_orientation, open_mask
from deocclude.data.occluders.set_files import INDEX, SETTINGS, layout_named, read_index

logger = logging.getLogger(__name__)

UNKNOWN = "unknown"  # kind of a pair in a set without index
CHANGED = 24  # of 255: what differs by more between the occluded and the clean picture is covered
FORMS = {  # layout of a foreign set: folders of occluded pictures, masks and clean pictures
    "facial_deocclusion": (("mask",), ("masks",), ("unmask",)),
    "attention_gan": (("occluded",), ("masks", "mask"), ("images", "clean", "original")),
}


class Files(NamedTuple):
    """One pair; a set has the mask, the clean picture or both."""

    name: str
    image: str  # the face it shows; pairs of one face belong together
    kind: str
    occluded: Path
    mask: Path | None
    target: Path | None
    split: str | None = None  # that the set's sub-folders give it

    @property
    def shown(self) -> Path:
        """The picture of the face: the clean one where the set has it."""
        return self.target or self.occluded


class PairedSet:
    """Pairs of a set on disk, decoded on demand. `names` and `kinds` are those of the pairs."""

    def __init__(self, folder: Path, layout: str, pairs: list[Files], invert: bool) -> None:
        self.folder, self.layout, self.pairs, self.invert = folder, layout, pairs, invert
        self._told: set[str] = set()
        self.names = [pair.name for pair in pairs]
        self.kinds = [pair.kind for pair in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int, size: int) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """Target uint8 (size, size, 3), None where the set has no clean pictures; occluded picture
        of the same shape; mask uint8 (size, size) {0, 1}, from the difference of the two where the
        set has no masks. Cropped to their centre squares. ImageReadError names a bad file, and one
        that has other proportions than the occluded picture; a mask of that picture's stored pixels
        is turned like it (EXIF orientation), which is said once."""
        pair = self.pairs[index]
        shown = open_image(pair.occluded)
        shape = shown.size[::-1]
        occluded, target = to_square(shown, size), None
        if pair.target:
            clean = open_image(pair.target)
            if not same_proportions(clean.size[::-1], shape):
                raise ImageReadError(
                    f"{pair.target}: is {size_words(clean.size[::-1])}, {pair.occluded} "
                    f"{size_words(shape)}: a pair has the same proportions"
                )
            target = to_square(clean, size)
        if pair.mask is None:
            return target, occluded, difference_mask(target, occluded)
        read = open_mask(pair.mask, self.invert)
        read = upright(read, shape, exif_orientation(shown))
        for text in set(read.notices) - self._told:
            self._told.add(text)
            logger.warning("%s (and others, perhaps): %s", pair.mask, text)
        return target, occluded, square_hole(read, size)

    def split(self, seed: int) -> Split:
        """Occluded pictures by the set's train, val and test folders, else seeded 90 / 5 / 5 by
        face, so that no face is in two splits.

        Where a foreign set gives every pair a clean picture of its own, each counts as a face.
        FileNotFoundError when there are fewer than three faces, or none to train on.
        """
        given: dict[str, list[Path]] = {}
        for pair in self.pairs:
            if pair.split is not None:
                given.setdefault(pair.split, []).append(pair.occluded)
        if not given:
            groups, rule = self._faces(None), f"seed {seed}, 90/5/5 by face"
            return Split(deal_out(groups, seed, SHARES), rule)
        if "train" not in given:
            raise FileNotFoundError(needs_train(self.folder, given))
        return Split(*complete(given, seed, lambda name, _: (self._faces(name), "by face")))

    def _faces(self, split: str | None) -> list[list[Path]]:
        """Occluded pictures of a given split, those of one face together."""
        groups: dict[str, list[Path]] = {}
        for pair in self.pairs:
            if pair.split == split:
                groups.setdefault(pair.image, []).append(pair.occluded)
        return list(groups.values())

    def describe(self) -> dict:
        """For a run's record."""
        return {
            "folder": self.folder.name,
            "layout": self.layout,
            "pairs": len(self),
            "masks": "files" if all(pair.mask for pair in self.pairs) else "from differences",
            "targets": sum(pair.target is not None for pair in self.pairs),
            "inverted": self.invert,
        }


def difference_mask(target: np.ndarray, occluded: np.ndarray) -> np.ndarray:
    """Where two pictures uint8 (S, S, 3) differ, without specks and pinholes: uint8 {0, 1}."""
    change = cv2.absdiff(*(cv2.GaussianBlur(picture, (3, 3), 0) for picture in (target, occluded)))
    mask = (change.max(axis=2) > CHANGED).astype(np.uint8)
    reach = max(1, round(target.shape[0] / 85))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    smallest = 0.0005 * mask.size
    kept = [outline for outline in outlines if cv2.contourArea(outline) >= smallest]
    holes = cv2.drawContours(np.zeros_like(mask), kept, -1, 1, -1)
    pinholes = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel, iterations=3)
    return cv2.bitwise_and(holes, pinholes)


def open_set(folder: str | Path, invert: bool = False) -> PairedSet:
    """Open a paired set; its layout is found from its folders. It may lie in train, val and test
    folders, or have such in each of its own.

    `invert` is for foreign mask files in which black means hole. Pictures without a partner are
    reported and left out, more than 5 % of them is a ValueError. FileNotFoundError when the folder
    has none of the layouts.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    given = given_splits(folder)
    if "train" in given:
        layout, pairs, errors = "", [], []
        for split, part in given.items():
            layout, found, wrong = _pairs(part.folder)
            home = part.folder.name
            for pair in found:
                name, image = f"{home}/{pair.name}", f"{home}/{pair.image}"
                pairs.append(pair._replace(name=name, image=image, split=split))
            errors += wrong
    else:
        layout, pairs, errors = _pairs(folder)
    if not pairs:
        raise FileNotFoundError(f"{folder}: no pair in it ({layout} layout)")
    report_corrupt(errors, len(pairs) + len(errors), "pairs")
    return PairedSet(folder, layout, pairs, invert)


def _pairs(folder: Path) -> tuple[str, list[Files], list[ImageReadError]]:
    """Layout and pairs of one set, and what has no partner."""
    if (folder / SETTINGS).is_file() and (folder / INDEX).is_file():
        layout = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["layout"]
        return layout, *_own_pairs(folder, layout)
    layout, parts = _find_form(folder)
    return layout, *_foreign_pairs(layout, *parts)


def _own_pairs(folder: Path, layout: str) -> tuple[list[Files], list[ImageReadError]]:
    pairs, errors = [], []
    shape = layout_named(layout)
    for row in read_index(folder).values():
        occluded, mask, _, target = shape.files(folder, row)
        gone = [path for path in (occluded, mask, target) if not path.is_file()]
        if gone:
            errors.append(ImageReadError(f"{gone[0]}: listed in {INDEX}, but not there"))
        else:
            pairs.append(Files(row.name, row.image, row.kind, occluded, mask, target))
    return pairs, errors


def _find_form(folder: Path) -> tuple[str, tuple[Path, Path | None, Path | None]]:
    """The layout of a set without index, with its folders of occluded, mask and clean pictures."""
    parts = {path.name.casefold(): path for path in folder.iterdir() if path.is_dir()}

    def first(names: tuple[str, ...]) -> Path | None:
        return next((parts[name] for name in names if name in parts), None)

    for layout, (occluded_names, mask_names, target_names) in FORMS.items():
        occluded, masks, targets = map(first, (occluded_names, mask_names, target_names))
        if occluded and (targets if layout == "facial_deocclusion" else masks or targets):
            return layout, (occluded, masks, targets)
    raise FileNotFoundError(
        f"{folder}: is no paired set; expected Mask/ and Unmask/ (facial_deocclusion), or "
        f"occluded/ with masks/ or images/ (attention_gan); found "
        + (", ".join(sorted(parts)) or "no folders")
    )


def _place(path: Path, folder: Path) -> str:
    """The sub-folder of a file below `folder`, with a slash; empty for `folder` itself."""
    place = path.parent.relative_to(folder).as_posix()
    return "" if place == "." else f"{place}/"


class _Partners:
    """Pictures by their path below a folder, in any case, without ending nor the word "mask"; by
    their name alone where only one has it."""

    def __init__(self, folder: Path | None) -> None:
        self.paths: dict[tuple[str, str], Path] = {}
        self.names: dict[str, list[Path]] = {}
        for path in list_images(folder) if folder else ():
            name = photo_stem(path.stem).casefold()
            self.paths[_place(path, folder).casefold(), name] = path
            self.names.setdefault(name, []).append(path)

    def find(self, place: str, *names: str) -> Path | None:
        """The first of `names` in the sub-folder `place`, or anywhere."""
        for name in names:
            if found := self.paths.get((place, name)):
                return found
        alone = [self.names[name][0] for name in names if len(self.names.get(name, ())) == 1]
        return alone[0] if alone else None


def _foreign_pairs(
    layout: str, occluded: Path, masks: Path | None, targets: Path | None
) -> tuple[list[Files], list[ImageReadError]]:
    of_masks, of_targets = _Partners(masks), _Partners(targets)
    splits = {path: name for name, part in given_splits(occluded).items() for path in part.files}
    pairs, errors = [], []
    for path in list_images(occluded):
        name = photo_stem(path.stem)
        place = _place(path, occluded)
        key, face = name.casefold(), re.sub(r"_\d+$", "", name)
        mask = of_masks.find(place.casefold(), key)
        target = of_targets.find(place.casefold(), key, face.casefold())
        if (mask is None and target is None) or (layout == "facial_deocclusion" and target is None):
            errors.append(ImageReadError(f"{path}: has no partner named {name!r}"))
        else:
            image = place + (target.stem if target else face)
            pairs.append(Files(place + name, image, UNKNOWN, path, mask, target, splits.get(path)))
    kept = [pair for pair in pairs if pair.split is not None] if splits else pairs
    if len(kept) < len(pairs):
        logger.warning(
            "%s: left out %d pairs that lie beside its folders of splits",
            occluded, len(pairs) - len(kept),
        )  # fmt: skip
    return kept, errors
