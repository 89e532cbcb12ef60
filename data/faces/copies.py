"""Copies of pictures: equal files, and one picture encoded, sized or mirrored anew.

Two pictures are compared by their centre squares in SIDE x SIDE grey. Measured on 25 904 aligned
faces (256, 200 and 89 px wide): JPEG of quality 30 to 95, half the size, twice the size, PNG and
WebP differ by at most 1.4 from their original, 0.3 of the size at 89 px by 3.1; the nearest two
different pictures, of one generator, by 6.2. Hashes of 64 bits do not do: other faces, which lie
alike, are 0 to 4 bits apart, re-encoded ones up to 10.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from deocclude.data.files import sha256
from deocclude.data.images import DAMAGE, centre_crop_square, in_threads, open_header, to_rgb
from deocclude.progress import Bar

SIDE = 16  # pixels; 8 x 8 bits of brighter or darker do not tell faces that lie alike apart
ALIKE = 4.0  # root mean square difference, of 255, up to which two are the same picture
PLAIN = 12.0  # standard deviation, of 255, below which a picture shows too little to be told by
BLOCK = 1024  # pictures compared at once


def find_copies(
    held: Sequence[Path], others: Sequence[Path], near: bool = True
) -> dict[Path, Path]:
    """Which of `others` are copies of which of `held`, the first or nearest.

    Equal files always count; with `near` the same picture in another encoding or size or mirrored
    does too, a cut-out of it does not. Files that cannot be read are equal files at most.
    """
    found = _equal_files(held, others)
    if near and held:
        rest = [path for path in others if path not in found]
        found |= _near_pictures(list(held), rest)
    return {path: found[path] for path in others if path in found}


def _equal_files(held: Sequence[Path], others: Sequence[Path]) -> dict[Path, Path]:
    sizes: dict[int, list[Path]] = {}
    for path in held:
        sizes.setdefault(path.stat().st_size, []).append(path)
    digests: dict[int, dict[str, Path]] = {}  # read only where a size occurs on both sides
    found = {}
    for path in others:
        size = path.stat().st_size
        if size not in sizes:
            continue
        if size not in digests:
            digests[size] = {sha256(p): p for p in reversed(sizes[size])}
        if (twin := digests[size].get(sha256(path))) is not None:
            found[path] = twin
    return found


def _near_pictures(held: list[Path], others: list[Path]) -> dict[Path, Path]:
    """Those of `others` that look like one of `held`. The means of two pictures differ by no more
    than the pictures do, so sorted by their means few need be compared."""
    ours, theirs = _comparable(held), _comparable(others)
    if not ours or not theirs:
        return {}
    small = np.stack([*ours.values()])
    small = np.concatenate([small, small[:, :, ::-1]]).reshape(-1, SIDE * SIDE)
    names = [*ours, *ours]
    order = np.argsort(small.mean(1), kind="stable")
    small, means = small[order], small.mean(1)[order]
    tall = np.stack([*theirs.values()]).reshape(-1, SIDE * SIDE)
    paths, rows = [*theirs], np.argsort(tall.mean(1), kind="stable")
    found = {}
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        some = tall[block]
        first, last = np.searchsorted(
            means, [some[0].mean() - ALIKE, some[-1].mean() + ALIKE], side="left"
        )
        if first == last:
            continue
        near = small[first:last]
        squares = (some**2).sum(1)[:, None] + (near**2).sum(1) - 2 * some @ near.T
        nearest = squares.argmin(1)
        for row, place, square in zip(block, nearest, squares.min(1), strict=True):
            if square <= ALIKE**2 * SIDE**2:
                found[paths[row]] = names[order[first + place]]
    return found


def _comparable(paths: Sequence[Path]) -> dict[Path, np.ndarray]:
    """Small pictures float32 (SIDE, SIDE), grey less 128, of those that show enough."""
    states = [(path, path.stat()) for path in paths]
    read = in_threads(lambda s: _thumbnail(str(s[0]), s[1].st_size, s[1].st_mtime_ns), states)
    seen = Bar(read, "looking for copies", len(paths), leave=False, delay=3)
    pictures = dict(zip(paths, seen, strict=True))
    found = {}
    for path, picture in pictures.items():
        if picture is not None:
            grey = np.frombuffer(picture, np.uint8).reshape(SIDE, SIDE).astype(np.float32) - 128
            if grey.std() >= PLAIN:
                found[path] = grey
    return found


@lru_cache(maxsize=1 << 18)
def _thumbnail(path: str, size: int, changed: int) -> bytes | None:
    """The SIDE x SIDE grey bytes of a file in this state; None when it cannot be read, which
    whoever needs the picture says."""
    try:
        with open_header(path) as image:
            image.draft("L", (8 * SIDE, 8 * SIDE))  # a JPEG is decoded small, and so fast
            small = centre_crop_square(_upright(image))
            small = to_rgb(small).convert("L")
            return small.resize((SIDE, SIDE), Image.Resampling.BILINEAR).tobytes()
    except (*DAMAGE, MemoryError):
        return None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGE:
        return image
