"""Cut-outs of things that cover faces: read from image files, sorted into categories and splits."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from deocclude.data.faces.cache import report_corrupt
from deocclude.data.faces.layout import given_splits
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError, open_image, to_rgb
from deocclude.data.occluders.cutout_shape import find_copy, look_of

logger = logging.getLogger(__name__)

CATEGORIES: dict[str, tuple[str, ...]] = {  # and what else each is called
    "sunglasses": ("sunglass", "shades"),
    "eyeglasses": ("glasses", "eyeglass", "spectacles"),
    "facemask": ("mask", "medicalmask", "surgicalmask", "respirator"),
    "scarf": ("scarves", "shawl", "towel"),
    "hat": ("cap", "beanie"),
    "hand": ("arm",),
    "phone": ("smartphone", "mobile", "cellphone"),
    "cup": ("mug", "glass"),
    "object": (),
}
NAMES = {name: category for category, more in CATEGORIES.items() for name in (category, *more)}

WORKING_SIDE = 384  # pixels of a decoded cut-out's longer side, at most
VISIBLE = 8  # of 255: alpha below it is empty
BLACK = 16  # of 255: all channels at most this is black background
VALIDATION_SHARE = 0.2
TWIN_SIDE = 24  # pixels at which cut-outs are compared
TWIN_DISTANCE = 6.0  # mean difference, of 255, up to which two cut-outs are the same picture


class Cutout(NamedTuple):
    """One occluder, cropped to what is visible.

    `rgba` is uint8 (h, w, 4), alpha not multiplied in; transparent pixels carry the colour of the
    nearest visible one, so that it can be resampled without dark fringes.
    """

    name: str
    category: str
    rgba: np.ndarray


def category_of(path: Path) -> str:
    """The category that folders (innermost first), then the file name's beginning, speak of."""
    for name in (*reversed(path.parts[:-1]), path.stem):
        words = [w for w in re.split(r"[^a-z]+", name.lower()) if w]
        for word in ("".join(words[:2]), *words[:1]):
            for form in (word, word.removesuffix("s"), word.removesuffix("es")):
                if form in NAMES:
                    return NAMES[form]
    return "object"


def read_cutout(path: str | Path, category: str, name: str | None = None) -> Cutout:
    """Read one cut-out, at most WORKING_SIDE wide or high.

    Transparency comes from the file. Without any, or where it hides nothing, a black background is
    taken as transparent where it is connected to the border, so that black parts inside stay.

    Raises ImageReadError for a file without transparency and black background, or with nothing
    visible; ValueError for an unknown category.
    """
    if category not in CATEGORIES:
        raise ValueError(f"category {category!r}: unknown; valid: {', '.join(CATEGORIES)}")
    image, rgba = open_image(path), None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
    if rgba is None or rgba[..., 3].min() == 255:
        rgba = _from_black_background(to_rgb(image), path)
    visible = rgba[..., 3] >= VISIBLE
    if not visible.any():
        raise ImageReadError(f"{path}: nothing visible, the picture is fully transparent")
    rgba = _shrunk(_bled(_cropped(rgba, visible)))
    return Cutout(name or Path(path).name, category, np.ascontiguousarray(rgba))


def _from_black_background(image: Image.Image, path: str | Path) -> np.ndarray:
    """RGB on black to RGBA: alpha 0 for black that is connected to the border, edges softened."""
    rgb = np.array(image)
    dark = (rgb.max(axis=2) <= BLACK).astype(np.uint8)
    border = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    if border.mean() < 0.5:
        raise ImageReadError(
            f"{path}: has no transparency and no black background; a cut-out needs one of them "
            "(an RGBA PNG, or the object on pure black)"
        )
    labels = cv2.connectedComponents(dark, connectivity=4)[1]
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    background = np.isin(labels, np.unique(edge[edge > 0]))
    solid = np.where(background, 0, 255).astype(np.uint8)
    soft = np.minimum(cv2.GaussianBlur(solid, (3, 3), 0), solid)
    return np.dstack([rgb, soft])


def _cropped(rgba: np.ndarray, visible: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _bled(rgba: np.ndarray) -> np.ndarray:
    """Empty and nearly empty pixels take the colour of the nearest one that has a clear colour."""
    alpha = rgba[..., 3]
    clear = alpha >= min(64, int(alpha.max()))
    rgba = rgba.copy()
    rgba[alpha < VISIBLE, 3] = 0
    if clear.all():
        return rgba
    _, labels = cv2.distanceTransformWithLabels(
        (~clear).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros((labels.max() + 1, 3), np.uint8)
    source[labels[clear]] = rgba[clear, :3]
    rgba[~clear, :3] = source[labels[~clear]]
    return rgba


def _shrunk(rgba: np.ndarray) -> np.ndarray:
    height, width = rgba.shape[:2]
    scale = WORKING_SIDE / max(height, width)
    if scale >= 1:
        return rgba
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)


class CutoutLibrary:
    """Cut-outs by split, decoded when a split is first asked for and kept.

    A training cut-out that also occurs (mirrored, resized, in other colours) in val or test is left
    out, so that what is measured was never trained on.

    Spawned workers get the file list and decode again; forked ones share what is decoded.
    """

    def __init__(self, folder: Path, files: dict[str, list[Path]], rule: str) -> None:
        self.folder, self.files, self.rule = Path(folder), files, rule
        self.twins: dict[str, str] = {}  # training cut-outs that were left out: copies of what
        self._items: dict[str, list[Cutout]] = {}
        self._by_category: dict[str, dict[str, list[Cutout]]] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_items": {}, "_by_category": {}}

    def items(self, split: str) -> list[Cutout]:
        """The readable cut-outs of a split, in the order of their names."""
        if split not in self.files:
            raise ValueError(f"split {split!r}: unknown; valid: {', '.join(self.files)}")
        if split not in self._items:
            found = self._decode(self.files[split])
            self._items[split] = self._without_twins(found) if split == "train" else found
        return self._items[split]

    def _decode(self, files: Sequence[Path]) -> list[Cutout]:
        found, errors = [], []
        for path in files:
            name = path.relative_to(self.folder)
            try:
                found.append(read_cutout(path, category_of(name), name.as_posix()))
            except ImageReadError as error:
                errors.append(error)
        report_corrupt(errors, len(files), "occluders")
        return found

    def _without_twins(self, found: list[Cutout]) -> list[Cutout]:
        held = list({c.name: c for split in ("val", "test") for c in self.items(split)}.values())
        if not held:
            return found
        small = [_thumbnail(c) for c in held]
        both = np.stack([*small, *(t[:, ::-1] for t in small)])
        looks = [look_of(c.rgba) for c in held]
        looks += [look.mirrored() for look in looks]
        self.twins = {}
        for c in found:
            distance = np.abs(both - _thumbnail(c)).mean((1, 2, 3))
            nearest = int(distance.argmin())
            place = nearest if distance[nearest] <= TWIN_DISTANCE else None
            place = find_copy(look_of(c.rgba), looks) if place is None else place
            if place is not None:
                self.twins[c.name] = held[place % len(held)].name
        if self.twins:
            logger.info("occluders left out of train, copies in val or test: %s", self.twins)
        return [c for c in found if c.name not in self.twins]

    def _grouped(self, split: str) -> dict[str, list[Cutout]]:
        if split not in self._by_category:
            groups: dict[str, list[Cutout]] = {}
            for item in self.items(split):
                groups.setdefault(item.category, []).append(item)
            self._by_category[split] = {c: groups[c] for c in CATEGORIES if c in groups}
        return self._by_category[split]

    def names(self, split: str) -> list[str]:
        """Paths below the folder, of the readable cut-outs."""
        return [item.name for item in self.items(split)]

    def categories(self, split: str) -> list[str]:
        """Those that the split holds, in the order of CATEGORIES."""
        return list(self._grouped(split))

    def require(self, split: str) -> list[str]:
        """`categories`. ValueError when the split holds no cut-out at all."""
        if not self._grouped(split):
            left = f"; {len(self.twins)} left out, also in val or test" if split == "train" else ""
            raise ValueError(f"{self.folder}: no occluders in {split!r} ({self.rule}{left})")
        return self.categories(split)

    def pick(self, split: str, category: str | None, rng: np.random.Generator) -> Cutout:
        """One at random. Without a category each one present is equally likely, however many it
        holds. ValueError when there is none."""
        valid, groups = self.require(split), self._grouped(split)
        if category is None:
            category = valid[rng.integers(len(valid))]
        if category not in groups:
            raise ValueError(
                f"category {category!r}: no such occluders in {split!r}; valid: {', '.join(valid)}"
            )
        return groups[category][rng.integers(len(groups[category]))]

    def describe(self) -> dict:
        """For a run's record: how many of which category are in each split, and by which rule."""
        counts = {
            split: dict(sorted(Counter(category_of(p.relative_to(self.folder)) for p in f).items()))
            for split, f in self.files.items()
        }
        self.items("train")
        record = {"folder": self.folder.name, "rule": self.rule, "files": counts}
        return {**record, "left out of train, also in val or test": self.twins}


def _thumbnail(cutout: Cutout) -> np.ndarray:
    """Colour over black and alpha, small: float32 (TWIN_SIDE, TWIN_SIDE, 4)."""
    rgba = cutout.rgba.astype(np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    return cv2.resize(rgba, (TWIN_SIDE, TWIN_SIDE), interpolation=cv2.INTER_AREA)


def open_cutouts(folder: str | Path, seed: int = 42) -> CutoutLibrary:
    """The cut-outs below a folder, split by its train/, val/ and test/ sub-folders or their like.

    A missing test is val, a missing val is test; with neither, or without train/, about a fifth
    goes to both, by each file's name and the seed: a file never changes sides because others come.
    FileNotFoundError when there are no images.
    """
    folder = Path(folder)
    files = list_images(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: no occluder images (png, webp, ...) in it")
    given = {name: part.files for name, part in given_splits(folder).items()}
    if given.get("train"):
        val, test = given.get("val", []), given.get("test", [])
        if val or test:
            parts = {"train": given["train"], "val": val or test, "test": test or val}
            missing = "".join(
                f", {name} = {other}"
                for name, other in (("val", "test"), ("test", "val"))
                if name not in given
            )
            return CutoutLibrary(folder, parts, f"given sub-folders{missing}")
        files, rule = given["train"], f"train/ only; seed {seed}, 80/20 by name, test = val"
    else:
        rule = f"seed {seed}, 80/20 by name, test = val"
    train, held = _split(folder, files, seed)
    return CutoutLibrary(folder, {"train": train, "val": held, "test": held}, rule)


def _split(folder: Path, files: list[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """What is trained on, and about a fifth that is held out; a file each, where there are two."""
    drawn = {path: _lot(path.relative_to(folder).as_posix(), seed) for path in files}
    held = {path for path, lot in drawn.items() if lot < VALIDATION_SHARE}
    if not held and len(files) > 1:
        held = {min(files, key=drawn.__getitem__)}
    if len(held) == len(files):
        held.remove(max(files, key=drawn.__getitem__))
    return [p for p in files if p not in held], [p for p in files if p in held]


def _lot(name: str, seed: int) -> float:
    """From 0 to 1, of a file's name and the seed alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
