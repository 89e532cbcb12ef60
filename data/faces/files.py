"""Faces by index: decoded from files, or built in."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
        return replace(self, points=Constant(template_points(template, self.size)))

    def subset(self, keep: Sequence[int]) -> "Faces":
        """The images at these indices, in this order."""
        files = [self.files[i] for i in keep] if self.files is not None else None
        names = [self.names[i] for i in keep]
        points = Chosen(self.points, list(keep)) if self.points is not None else None
        return Faces(names, self.size, Chosen(self.read, list(keep)), files, points)

    def points_of(self, index: int) -> dict[str, tuple[float, float]] | None:
        """Landmarks of an image in pixels, None where only its template is known."""
        return self.points(index) if self.points is not None else None


class Chosen:
    """`read` through a list of indices (a class, so that spawned workers can pickle it)."""

    def __init__(self, read: Callable[[int], Any], keep: list[int]) -> None:
        self.read, self.keep = read, keep

    def __call__(self, index: int) -> Any:
        return self.read(self.keep[index])


class Constant:
    """The same answer for every index (a class, as Chosen)."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, index: int) -> Any:
        return self.answer


class _Joined:
    """`first` for the indices below `length`, `second` for those from it."""

    def __init__(self, length: int, first: Callable, second: Callable) -> None:
        self.length, self.first, self.second = length, first, second

    def __call__(self, index: int) -> Any:
        return self.first(index) if index < self.length else self.second(index - self.length)


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
        _Joined(len(first), first.read, second.read),
        None if first.files is None or second.files is None else first.files + second.files,
        _Joined(len(first), first.points, second.points),
    )


def mixing_order(first: int, second: int, share: float) -> list[int]:
    """Indices into `first` + `second` joined faces, one part repeated so often that about `share`
    of them are of the second part. ValueError unless share lies in (0, 1)."""
    if not 0 < share < 1:
        raise ValueError(f"share: {share} must lie between 0 and 1")
    wanted = share / (1 - share) * first / second  # times the second part for each first one
    times, others = (1, round(wanted)) if wanted >= 1 else (round(1 / wanted), 1)
    return [*range(first)] * times + [*range(first, first + second)] * others


class _Decode:
    def __init__(self, files: list[Path], size: int) -> None:
        self.files, self.size = files, size

    def __call__(self, index: int) -> np.ndarray:
        return load_square(self.files[index], self.size)


class _Render:
    def __init__(self, split: str, size: int, seed: int) -> None:
        self.seed, self.size = seed * len(SPLITS) + SPLITS.index(split), size

    def __call__(self, index: int) -> np.ndarray:
        return render_face(index, self.size, self.seed)

    def points(self, index: int) -> dict[str, tuple[float, float]]:
        scale = self.size / 256
        found = landmarks(index, self.seed)
        return {name: (x * scale, y * scale) for name, (x, y) in found.items()}


def builtin_faces(split: str, count: int, size: int, seed: int = 0) -> Faces:
    """`count` procedural faces; the three splits share no face."""
    names = [f"builtin/{split}/{i:06d}" for i in range(count)]
    render = _Render(split, size, seed)
    return Faces(names, size, render, points=render.points)


def folder_faces(files: Sequence[Path], folder: Path, size: int) -> Faces:
    """Image files below `folder`, decoded on demand."""
    names = [path.relative_to(folder).as_posix() for path in files]
    return Faces(names, size, _Decode(list(files), size), list(files))


def hash_image(faces: Faces, index: int) -> str:
    """Of the file's bytes, or of the pixels when there is no file."""
    if faces.files is None:
        return hash_array(faces[index])
    return sha256(faces.files[index])


def hash_array(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes, in hex."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
