"""The photo's grain on redrawn pixels, where the photo is finer than what the network draws.

Redrawn pixels are smooth below the network's resolution, which shows in a sharp photo. What is
added is noise with the variance, band by band, and the colours of what varies in the known skin
around: it draws nothing.
"""

import zlib
from collections.abc import Iterator

import cv2
import numpy as np

FINEST = 0.4  # pixels: a smaller sigma blurs nothing
BEGINS, FULL = 1.0, 1.5  # photo pixels per pixel of the network, between which grain fades in
ALIKE = 60  # levels: known pixels that differ more from the redrawn ones are no skin (hair, cloth)
QUIET, SPREAD = 0.1, 3.0  # the most that this share of the known pixels varies is grain; what
# varies more than SPREAD times that holds edges, lashes, hair too
FEWEST = 400  # pixels to measure grain on; with fewer none is drawn
LEAST = 0.25  # levels, standard deviation: less is not seen
COARSEST = 4.0  # pixels: what varies more slowly is shape, not grain
LARGEST = (
    1024  # pixels: grain is measured and drawn on squares of that side, larger holes repeat it
)


def grain(
    photo: np.ndarray, known: np.ndarray, redrawn: np.ndarray, mask: np.ndarray, coarseness: float
) -> np.ndarray | None:
    """What to add to the redrawn picture (see `lay`). None where it is no coarser than the photo,
    where the photo has no grain, and where too little known skin is there to measure it.

    A photo gets the same grain each time. Shape: photo uint8 (H, W, 3) and known uint8 (H, W)
    {0, 1}, around the face; redrawn float32 (h, w, 3) in [0, 1] and mask uint8 (h, w) {0, 1}, the
    part with the hole; coarseness: photo pixels per pixel of the network -> float32 (h, w, 3), h
    and w at most LARGEST.
    """
    share = float(np.clip((coarseness - BEGINS) / (FULL - BEGINS), 0, 1))
    coarseness = min(coarseness, COARSEST)
    drawn_on = (*(min(side, LARGEST) for side in mask.shape), 3)
    amid = _middle(mask, LARGEST)
    redrawn, mask = redrawn[amid], mask[amid]
    hole = np.flatnonzero(mask)
    if share == 0 or not hole.size:
        return None
    around = _middle(known, 2 * LARGEST)
    photo, known = photo[around], known[around]
    here = redrawn * np.float32(255)
    skin = np.flatnonzero(_skin(photo, known, np.array(cv2.mean(here, mask)[:3]), coarseness))
    if skin.size < FEWEST:
        return None
    random = np.random.default_rng(zlib.crc32(photo.tobytes()))
    white = random.standard_normal(drawn_on, np.float32)
    added = np.zeros(drawn_on, np.float32)
    bands = (_bands(picture, coarseness) for picture in (photo, here, white))
    for wanted, drawn, noise in zip(*bands, strict=True):
        gain = float(noise.var())
        missing = _covariance(wanted, skin) - _covariance(drawn, hole)
        missing -= np.eye(3) * gain / 12  # rounding to whole levels will add that
        values, vectors = np.linalg.eigh(missing)
        root = vectors * np.sqrt(values.clip(0) / gain) @ vectors.T
        added += noise @ root.astype(np.float32)
    return added * np.float32(share / 255) if added.std() >= LEAST else None


def lay(added: np.ndarray, redrawn: np.ndarray) -> None:
    """Add grain (h, w, 3) to a redrawn picture (H, W, 3) in place, as often as it fits."""
    height, width = added.shape[:2]
    for top in range(0, redrawn.shape[0], height):
        for left in range(0, redrawn.shape[1], width):
            part = redrawn[top : top + height, left : left + width]
            part += added[: part.shape[0], : part.shape[1]]


def _middle(marked: np.ndarray, most: int) -> tuple[slice, slice]:
    """The rows and columns that are marked, of each the `most` in the middle."""
    left, top, width, height = cv2.boundingRect(marked)
    parts = []
    for start, length in ((top, height), (left, width)):
        skipped = max(0, length - most) // 2
        parts.append(slice(start + skipped, start + skipped + min(length, most)))
    return parts[0], parts[1]


def _bands(picture: np.ndarray, coarsest: float) -> Iterator[np.ndarray]:
    """Octaves from a sigma of `coarsest` pixels to the finest, float32 (h, w, 3)."""
    picture = picture.astype(np.float32)
    rest, sigma = cv2.GaussianBlur(picture, (0, 0), coarsest), coarsest / 2
    while sigma >= FINEST:
        finer = cv2.GaussianBlur(picture, (0, 0), sigma)
        yield finer - rest
        rest, sigma = finer, sigma / 2
    yield picture - rest


def _skin(
    photo: np.ndarray, known: np.ndarray, colour: np.ndarray, coarseness: float
) -> np.ndarray:
    """Known pixels of about that colour (3,) around which little varies: bool (H, W)."""
    skin = known > 0
    if not skin.any():
        return skin
    smooth = cv2.GaussianBlur(photo, (0, 0), coarseness)
    energy = np.square(photo.astype(np.float32) - smooth)
    energy = cv2.transform(energy, np.ones((1, 3)))
    energy = cv2.blur(energy, (round(4 * coarseness) | 1,) * 2)
    quiet = energy <= SPREAD * np.quantile(energy[skin], QUIET)
    return skin & quiet & (cv2.inRange(smooth, colour - ALIKE, colour + ALIKE) > 0)


def _covariance(band: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of a band, whose mean is about zero, at these flat indices: (3, 3)."""
    values = band.reshape(-1, 3).take(places, 0)
    return (values.T @ values).astype(np.float64) / len(values)
