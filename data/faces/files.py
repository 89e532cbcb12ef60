"""Faces by index: decoded from files, or built in."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deocclude.data.builtin.faces import landmarks, render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.faces.layout import SPLITS
from deocclude.data.files import sha256
from deocclude.data.images import load_square


@dataclass(frozen=True)
class Faces:
    """Square uint8 images (size, size, 3) by index; `read(i)` decodes or renders one."""

    names: Sequence[str]
    size: int
    read: Callable[[int], np.ndarray]
    files: list[Path] | None = None  # None: built in
    points: Callable[[int], dict[str, tuple[float, float]]] | None = None  # landmarks, in pixels
    # Of a round in training, from its generator: the indices, each once. None: any; a subset's too.
    order: Callable[[np.random.Generator], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.read(index)

    def placed(self, template: str) -> "Faces":
        """The same with the landmarks of a template; those that bring their own keep them."""
        if self.points is not None:
            return self
        return replace(self, points=partial(_same, template_points(template, self.size)))

    def subset(self, keep: Sequence[int]) -> "Faces":
        """The images at these indices, in this order."""
        files = [self.files[i] for i in keep] if self.files is not None else None
        names = [self.names[i] for i in keep]
        points = partial(chosen, self.points, list(keep)) if self.points is not None else None
        return Faces(names, self.size, partial(chosen, self.read, list(keep)), files, points)

    def points_of(self, index: int) -> dict[str, tuple[float, float]] | None:
        """Landmarks of an image in pixels, None where only its template is known."""
        return self.points(index) if self.points is not None else None


# What a Faces reads by, as functions that spawned workers can pickle with `partial`.
def chosen(read: Callable[[int], Any], keep: Sequence[int], index: int) -> Any:
    """`read` through a list of indices."""
    return read(keep[index])


def _same(answer: Any, index: int) -> Any:
    return answer


def _joined(length: int, first: Callable, second: Callable, index: int) -> Any:
    """`first` for the indices below `length`, `second` for those from it."""
    return first(index) if index < length else second(index - length)


def _decoded(files: list[Path], size: int, index: int) -> np.ndarray:
    return load_square(files[index], size)


def join_faces(first: Faces, second: Faces) -> Faces:
    """Those of `first`, then those of `second`. Both bring landmarks (see `Faces.placed`).

    ValueError for two sizes, and where a part brings none.
    """
    if first.size != second.size:
        raise ValueError(f"faces of {first.size} and of {second.size} px cannot be joined")
    if first.points is None or second.points is None:
        raise ValueError("faces whose landmarks are not known cannot be joined")
    return Faces(
        [*first.names, *second.names],
        first.size,
        partial(_joined, len(first), first.read, second.read),
        None if first.files is None or second.files is None else first.files + second.files,
        partial(_joined, len(first), first.points, second.points),
    )


def mixing_order(first: int, second: int, share: float) -> list[int]:
    """Indices into `first` + `second` joined faces, one part repeated so often that about `share`
    of them are of the second part. ValueError unless share lies in (0, 1)."""
    if not 0 < share < 1:
        raise ValueError(f"share: {share} must lie between 0 and 1")
    wanted = share / (1 - share) * first / second  # times the second part for each first one
    times, others = (1, round(wanted)) if wanted >= 1 else (round(1 / wanted), 1)
    return [*range(first)] * times + [*range(first, first + second)] * others


def builtin_faces(split: str, count: int, size: int, seed: int = 0) -> Faces:
    """`count` procedural faces; the three splits share no face."""
    names = [f"builtin/{split}/{i:06d}" for i in range(count)]
    own = {"size": size, "seed": seed * len(SPLITS) + SPLITS.index(split)}
    return Faces(names, size, partial(render_face, **own), points=partial(landmarks, **own))


def folder_faces(files: Sequence[Path], folder: Path, size: int) -> Faces:
    """Image files below `folder`, decoded on demand."""
    names = [path.relative_to(folder).as_posix() for path in files]
    return Faces(names, size, partial(_decoded, list(files), size), list(files))


def hash_image(faces: Faces, index: int) -> str:
    """Of the file's bytes, or of the pixels when there is no file."""
    if faces.files is None:
        return hash_array(faces[index])
    return sha256(faces.files[index])


def hash_array(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes, in hex."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
