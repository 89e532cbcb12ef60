"""Decoded images kept once, in shared memory or in a memory-mapped file, corrupt files left out."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from deocclude.data.faces.files import Faces, chosen
from deocclude.data.files import replacing
from deocclude.data.images import DAMAGE, ImageReadError, in_threads, open_header
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

CORRUPT_LIMIT = 0.05  # share of unreadable files above which a folder is refused
SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it; containers make it small
CHUNK = 256  # images in flight while decoding


def report_corrupt(
    errors: Sequence[ImageReadError],
    total: int,
    what: str = "images",
    say: Callable[[str], None] = logger.warning,
) -> None:
    """Name and count unreadable files: a warning, above 5 % a ValueError."""
    if not errors:
        return
    named = "; ".join(str(e) for e in errors[:5]) + (" ..." if len(errors) > 5 else "")
    if len(errors) > CORRUPT_LIMIT * total:
        raise ValueError(
            f"{len(errors)} of {total} {what} cannot be read (limit {CORRUPT_LIMIT:.0%}): {named}"
        )
    say(f"skipped {len(errors)} of {total} {what} that cannot be read: {named}")


def report_enlarged(files: Sequence[Path], size: int, what: str = "images") -> None:
    """Say how many files are smaller than `size` pixels, to which they are enlarged."""

    def side(path: Path) -> int:
        try:
            with open_header(path) as image:
                return min(image.size)
        except DAMAGE:
            return size  # whoever decodes it says so

    if small := [found for found in in_threads(side, files) if found < size]:
        logger.warning(
            "%d of %d %s are smaller than data.size %d and are enlarged; the smallest has %d px",
            len(small), len(files), what, size, min(small),
        )  # fmt: skip


class SharedStore:
    """uint8 images in shared memory: forked workers see its pages, spawned ones get a handle."""

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        import torch  # slow, and not needed to list or to draw

        self.tensor = torch.empty(shape, dtype=torch.uint8).share_memory_()

    def write(self, index: int, image: np.ndarray) -> None:
        self.tensor.numpy()[index] = image

    def __call__(self, index: int) -> np.ndarray:
        return self.tensor[index].numpy()


class DiskStore:
    """uint8 images in a memory-mapped .npy file; only its name travels to workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array: np.ndarray | None = None

    def __getstate__(self) -> dict:
        return {"path": self.path, "_array": None}

    def __call__(self, index: int) -> np.ndarray:
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r")
        return np.array(self._array[index])


def cache_faces(faces: Faces, cache: str, budget_gib: float, folder: Path) -> Faces:
    """Decode every image once: name, count and skip what is corrupt, keep the rest as asked.

    Args:
        cache: ram (one array in shared memory), disk (a memory-mapped file in `folder`, reused by
            later runs and shared by processes) or none (checked, not kept).
        budget_gib: above this many GiB nothing is kept, and that is said.

    Raises ValueError when more than 5 % of the files are corrupt.
    """
    if faces.files is not None:
        report_enlarged(faces.files, faces.size)
    shape = (len(faces), faces.size, faces.size, 3)
    size_gib = int(np.prod(shape)) / 2**30
    if cache != "none" and size_gib > budget_gib:
        logger.warning(
            "%d images at %d px take %.1f GiB, over the budget data.cache_gib = %.1f: "
            "each is decoded whenever it is needed", len(faces), faces.size, size_gib, budget_gib,
        )  # fmt: skip
        cache = "none"
    if cache == "ram" and _free(SHARED_MEMORY) < size_gib * 2**30:
        logger.warning("%s has no room for %.1f GiB: cached on disk", SHARED_MEMORY, size_gib)
        cache = "disk"
    if cache == "disk" and _free(_existing(folder)) < size_gib * 2**30:
        logger.warning("%s has no room for %.1f GiB: not cached", folder, size_gib)
        cache = "none"
    if cache == "disk":
        return _cache_on_disk(faces, folder, shape)
    store = SharedStore(shape) if cache == "ram" else None
    good = _decode_all(faces, store.write if store else None)
    return _keep(faces, good, store)


def _keep(faces: Faces, good: list[int], store: "SharedStore | DiskStore | None") -> Faces:
    """The readable images, read from `store` if there is one."""
    kept = faces if len(good) == len(faces) else faces.subset(good)
    if store is None:
        return kept
    read = store if len(good) == len(faces) else partial(chosen, store, good)
    return replace(kept, read=read)


def _free(folder: Path) -> float:
    """Free bytes; no limit is known where there is no such folder."""
    return shutil.disk_usage(folder).free if folder.is_dir() else float("inf")


def _existing(folder: Path) -> Path:
    return next((p for p in (folder, *folder.parents) if p.is_dir()), Path())


def _decode_all(faces: Faces, write: Callable[[int, np.ndarray], None] | None) -> list[int]:
    """Decode (or render) all, hand each to `write`; the indices of those that could be read."""
    good, errors = [], []

    def attempt(index: int) -> ImageReadError | None:
        try:
            image = faces[index]
        except ImageReadError as error:
            return error
        if write is not None:
            write(index, image)
        return None

    bar = Bar(total=len(faces), desc="decoding faces", unit="image", leave=False, delay=3)
    with bar:
        for start in range(0, len(faces), CHUNK):
            chunk = range(start, min(start + CHUNK, len(faces)))
            for index, error in zip(chunk, in_threads(attempt, chunk), strict=True):
                if error is None:
                    good.append(index)
                else:
                    errors.append(error)
            bar.update(len(chunk))
    report_corrupt(errors, len(faces))
    return good


def _cache_on_disk(faces: Faces, folder: Path, shape: tuple[int, int, int, int]) -> Faces:
    """The memory-mapped cache, keyed by names, sizes and times of the files."""
    digest = hashlib.sha256(repr(shape).encode())
    for index, name in enumerate(faces.names):
        stat = faces.files[index].stat() if faces.files else None
        state = f"{name}|{stat.st_size}|{stat.st_mtime_ns}" if stat else name
        digest.update(state.encode())
    path = folder / f"{digest.hexdigest()[:24]}.npy"
    index_path = path.with_suffix(".good.npy")
    if not (path.exists() and index_path.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            good = _decode_all(faces, array.__setitem__)
            array.flush()
            del array
        with replacing(index_path) as temporary:
            np.save(temporary, np.array(good, dtype=np.int64))
    return _keep(faces, np.load(index_path).tolist(), DiskStore(path))
