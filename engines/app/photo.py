"""One photo on its way through the page: faces found, the mask found and mended, restored."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deocclude.data.image_files import FORMATS
from deocclude.data.images import ImageReadError, open_header
from deocclude.data.mask_files.given import fit_given
from deocclude.data.mask_files.reading import open_mask
from deocclude.engines.api import Restored, Restorer
from deocclude.engines.app.editor import merge, picture_url, read_mask, reduce, resize_mask
from deocclude.engines.app.limits import MOST_FACES, Limits
from deocclude.engines.inference.hole_mask import distance_to
from deocclude.engines.photos.face import Face, FaceChoice
from deocclude.engines.photos.files import draw_extra, read_photo
from deocclude.engines.photos.restoration import Restoration

KINDS = (*FORMATS, "HEIF", "MPO")  # others, as EPS, would run a program on a stranger's file
SLIDER = 1600  # pixels of the longer side of the two pictures that are compared


@dataclass
class OnePhoto:
    """A photo, and what is known of it.

    `small`: uint8 (h, w, 3), what the browser shows. `shown`: bool (h, w), what it got of `mask`.
    `found`: the mask is as it was found, for the faces whose numbers, from 1, are `chosen`, grown
    by `growth` percent.
    """

    path: Path
    shape: tuple[int, int]
    orientation: int
    small: np.ndarray
    faces: list[Face] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    bits: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))  # `mask`, packed
    shown: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    found: bool = False
    growth: float | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def mask(self) -> np.ndarray:
        """What is redrawn, bool (H, W)."""
        height, width = self.shape
        return np.unpackbits(self.bits, count=height * width).view(bool).reshape(self.shape)

    @property
    def those(self) -> list[Face]:
        """The chosen faces."""
        return [self.faces[number - 1] for number in self.chosen]

    @property
    def dilate(self) -> str | None:
        return None if self.growth is None else f"{self.growth:g}%"

    def picture(self) -> str:
        """What the brush paints on, as a data URL."""
        scale = self.small.shape[1] / self.shape[1]
        return picture_url(self.small, self.faces, self.chosen, scale)

    def take(self, mask: np.ndarray, found: bool) -> None:
        """Another mask, bool (H, W)."""
        self.bits, self.shown = np.packbits(mask), resize_mask(mask, self.small.shape[:2])
        self.found = found


def check_file(path: Path, limits: Limits, name: str = "") -> None:
    """ImageReadError for what is no picture, or larger than the page takes; before any pixel is
    read. The message has the user's `name` of the file."""
    name = name or path.name
    size = path.stat().st_size
    if size > limits.bytes:
        raise ImageReadError(
            f"{name}: {size / 1e6:.0f} MB; this page takes at most {limits.bytes / 1e6:.0f}"
        )
    try:
        with open_header(path) as picture:
            (width, height), kind = picture.size, picture.format
    except Exception:  # whatever a stranger's file does to a library
        raise ImageReadError(f"{name}: is no picture that can be read") from None
    if kind not in KINDS:
        raise ImageReadError(f"{name}: {kind} is not taken; JPEG, PNG and the like are")
    if width * height > limits.pixels:
        raise ImageReadError(
            f"{name}: {width} x {height} are {width * height / 1e6:.0f} million pixels; this page "
            f"takes at most {limits.pixels / 1e6:.0f} million"
        )


def open_photo(restorer: Restorer, path: Path, limits: Limits) -> OnePhoto:
    """Read a photo and look for its faces; all, or the largest MOST_FACES, are chosen. Errors as of
    `check_file`, and ImageReadError for what is damaged."""
    check_file(path, limits)
    try:
        read = read_photo(path, limits.pixels)
    except ImageReadError as error:
        raise ImageReadError(str(error).replace(str(path), path.name)) from None
    height, width = read.rgb.shape[:2]
    photo = OnePhoto(path, (height, width), read.orientation, reduce(read.rgb))
    found = restorer.find_faces(Image.fromarray(read.rgb))
    photo.faces, left_out = FaceChoice(MOST_FACES).pick(list(found))
    photo.notices = [*read.notices, *found.notices, *left_out]
    photo.chosen = list(range(1, len(photo.faces) + 1))
    return photo


def find(restorer: Restorer, photo: OnePhoto, chosen: list[int], growth: float | None) -> None:
    """Mark what covers the chosen faces, grown by `growth` percent of each face's square."""
    chosen = sorted(number for number in chosen if 1 <= number <= len(photo.faces))
    wanted = replace(photo, chosen=chosen, growth=growth)
    mask = np.zeros(photo.shape, bool)
    if wanted.those:
        marked = restorer.find_mask(photo.path, faces=wanted.those, dilate=wanted.dilate)
        mask = np.asarray(marked) > 0
    photo.chosen, photo.growth = chosen, growth
    photo.take(mask, found=True)


def take_mask(photo: OnePhoto, path: Path, limits: Limits) -> list[str]:
    """A mask file in the place of the mask; what to say of it. Errors as of `check_file`, and
    MaskError for what is no mask of this photo."""
    check_file(path, limits)
    try:
        given = fit_given(open_mask(path), photo.shape, photo.orientation)
    except ValueError as error:
        raise ImageReadError(str(error).replace(str(path), path.name)) from None
    photo.take(given.hole > 0, found=False)
    return [text.replace(str(path), path.name) for text in given.notices]


@dataclass
class Outcome:
    """A restored photo, which share of it was redrawn, and how many seconds that took."""

    restored: Restored
    share: float
    seconds: float


def restore(
    restorer: Restorer, photo: OnePhoto, value: object, blend: str, unsure: bool
) -> Outcome | None:
    """Restore a photo with the mask that the brush sent, None where it did not paint. None where
    nothing is marked. EditorError for what is no mask of this photo."""
    edited = photo.shown if value is None else read_mask(value, photo.shown.shape)
    start = time.perf_counter()
    untouched = photo.found and bool((edited == photo.shown).all())
    mask = merge(photo.mask, photo.shown, edited)
    if not mask.any():
        return None
    how: dict[str, Any]
    if untouched:  # as on the command line, with a soft edge within the dilation
        how = {"faces": photo.those, "dilate": photo.dilate}
    else:  # what is painted is redrawn, whoever's face it is on
        levels = levels_of(restorer, photo, mask)
        how = {"mask": levels, "faces": photo.faces or None, "soft_mask": True}
    restored = restorer.restore(photo.path, **how, blend=blend, uncertainty=unsure)
    share = float((np.asarray(restored.mask) > 0).mean())
    return Outcome(restored, share, time.perf_counter() - start)


def levels_of(restorer: Restorer, photo: OnePhoto, mask: np.ndarray) -> Image.Image:
    """A mended mask, bool (H, W), as a soft one: what was found keeps the soft edge within its
    growth that it has unmended; what was painted is redrawn up to its edge."""
    levels = mask.astype(np.uint8) * 255
    if photo.found and photo.those:
        marked = restorer.find_mask(photo.path, faces=photo.those, dilate=0)
        core = (np.asarray(marked) > 0).astype(np.uint8)
        ring = photo.mask & mask & (core == 0)
        if ring.any() and core.any() and not mask.all():
            inner, outer = distance_to(core), distance_to(1 - mask.astype(np.uint8))
            # 0 at the edge, 1 from the middle of the ring on: engines.photos.blend.feather_weight
            weight = np.clip(2 * (outer[ring] - 0.5) / (inner[ring] + outer[ring]), 0.02, 1)
            levels[ring] = np.rint(255 * weight)
    return Image.fromarray(levels)


def doubt_picture(restored: Restored) -> Image.Image:
    """How unsure the network is, as on the command line, with the picture in grey behind it."""
    mask = (np.asarray(restored.mask) > 0).astype(np.uint8)
    image = np.asarray(restored.image.convert("RGB"))
    result = Restoration(image, mask, uncertainty=restored.uncertainty)
    colours = draw_extra("uncertainty", image, result)
    grey = np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None] // 2, 3, axis=2)
    return Image.fromarray(np.where(mask[..., None] > 0, colours, grey))
