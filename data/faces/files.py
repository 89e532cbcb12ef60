"""Faces: from a folder tree or built in, split without leaking an identity."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deocclude.data.builtin.faces import landmarks, render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.files import sha256, write_text
from deocclude.data.image_files import is_image, is_litter, list_images
from deocclude.data.images import load_square, open_image
from deocclude.data.seeding import keyed_rng

SPLITS = ("train", "val", "test")
OTHER_FOLDERS = ("masks", "occluders", "general", "runs")  # of a data folder: hold no faces
FACE_FOLDERS = ("faces", "celeba", "ffhq")  # beginnings of the names that `auto` considers
FETCHED = ("stl10",)  # folders that `python -m data.download` makes under these names


class Split(NamedTuple):
    """Files of each split and, for the run's record, how they were split."""

    files: dict[str, list[Path]]
    rule: str


def named_folder(root: Path | None, name: str) -> Path | None:
    """The folder `name` below the data folder `root`, else as it stands; None without either."""
    candidates = ([root / name] if root is not None else []) + [Path(name)]
    return next((candidate for candidate in candidates if candidate.is_dir()), None)


def find_faces(root: Path | None, faces: str, size: int) -> Path | None:
    """The folder of faces that `faces` means below the data folder `root`; None for the built-in
    ones.

    auto: `root` itself when it holds images or train/, else its sub-folder named faces*, celeba* or
    ffhq* whose images are nearest to `size` from above, else `root` when it holds identity folders.
    FileNotFoundError says what was looked for.
    """
    if faces == "builtin":
        return None
    if faces != "auto":
        if named := named_folder(root, faces):
            return named
        where = f" below {root}" if root else ""
        hint = (
            f"; `python -m data.download {faces}` makes it in datasets/, or name another folder "
            "of pictures: --set data.faces=DIR"
        )
        raise FileNotFoundError(
            f"data.faces {faces!r}: no such folder{where}" + (hint if faces in FETCHED else "")
        )
    if root is None:
        return None
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {str(root)!r}: no such folder")
    here = [p for p in root.iterdir() if p.is_file() and not is_litter(p.name)]
    if (root / "train").is_dir() or any(map(is_image, here)):
        return root
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and list_images(p)]
    found = [p for p in folders if p.name.casefold().startswith(FACE_FOLDERS)]
    if not found and face_images(root):
        return root  # identity folders
    if not found:
        raise FileNotFoundError(
            f"data folder {str(root)!r}: holds no images, no train/ and no folder named "
            f"{', '.join(n + '*' for n in FACE_FOLDERS)}; name one with --data or data.faces"
        )

    def misfit(folder: Path) -> tuple[bool, int]:
        side = min(open_image(list_images(folder)[0]).size)
        return side < size, abs(side - size)

    return min(found, key=misfit)


def face_images(folder: Path) -> list[Path]:
    """Images below `folder`, without those of a data folder's other parts and of hidden folders."""
    return [
        path
        for path in list_images(folder)
        if (top := path.relative_to(folder).parts[0].casefold()) not in OTHER_FOLDERS
        and not top.startswith(".")
    ]


def split_faces(folder: Path, seed: int) -> Split:
    """Split a folder: by its train/val/test sub-folders, else seeded 90 / 5 / 5.

    When the images lie in identity sub-folders, whole identities are split, so that nobody is in
    two splits. A missing test (or val) folder is taken as half of the other one. FileNotFoundError
    when there are no images.
    """
    given = {name: list_images(folder / name) for name in SPLITS if (folder / name).is_dir()}
    if given.get("train"):
        return _complete(folder, given, seed)
    files = face_images(folder)
    if not files:
        raise FileNotFoundError(
            f"{folder}: no images (jpg, png, webp, bmp); expected images, identity folders, "
            "or train/, val/ and test/"
        )
    groups = _by_identity(folder, files)
    rule = f"seed {seed}, 90/5/5 by {'identity folder' if len(groups) < len(files) else 'image'}"
    return Split(deal_out(groups, seed, (0.9, 0.05, 0.05)), rule)


def _by_identity(folder: Path, files: Sequence[Path]) -> list[list[Path]]:
    """Images grouped by their first sub-folder; an image at the top is a group of its own."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        parts = path.relative_to(folder).parts
        groups.setdefault(parts[0] if len(parts) > 1 else f"/{parts[0]}", []).append(path)
    return list(groups.values())


def deal_out(groups: list[list[Path]], seed: int, shares: Sequence[float]) -> dict[str, list[Path]]:
    """Shuffle groups by seed and deal them out, at least one to each split."""
    if len(groups) < len(shares):
        raise FileNotFoundError(
            f"{len(groups)} images or identities are too few to split {len(shares)} ways"
        )
    order = keyed_rng(seed, "split").permutation(len(groups))
    counts = [max(1, round(len(groups) * share)) for share in shares[1:]]
    bounds = np.cumsum([len(groups) - sum(counts), *counts])
    parts = np.split(order, bounds[:-1])
    return {
        name: sorted(path for g in part for path in groups[g])
        for name, part in zip(SPLITS, parts, strict=False)
    }


def _complete(folder: Path, given: dict[str, list[Path]], seed: int) -> Split:
    """Given sub-folders; a missing one is cut from its neighbour, identities kept whole."""
    files = {name: given.get(name, []) for name in SPLITS}
    rule = "given sub-folders"
    if not files["val"] and not files["test"]:
        groups = _by_identity(folder / "train", files["train"])
        return Split(
            deal_out(groups, seed, (0.9, 0.05, 0.05)), f"{rule}; val and test cut from train"
        )
    for empty, full in (("val", "test"), ("test", "val")):
        if not files[empty]:
            groups = _by_identity(folder / full, files[full])
            halves = deal_out(groups, seed, (0.5, 0.5))
            files[full], files[empty] = halves["train"], halves["val"]
            rule += f"; {empty} is half of {full}"
    return Split(files, rule)


def load_split(path: Path, folder: Path) -> Split:
    """The split that `save_split` wrote. FileNotFoundError names images that are gone."""
    record = json.loads(path.read_text(encoding="utf-8"))
    files = {name: [folder / relative for relative in record[name]] for name in SPLITS}
    gone = [file for part in files.values() for file in part if not file.is_file()]
    if gone:
        raise FileNotFoundError(
            f"{path}: {len(gone)} of its images are no longer in {folder}: "
            f"{', '.join(file.name for file in gone[:5])}"
        )
    return Split(files, record["rule"])


def save_split(split: Split, folder: Path, path: Path) -> None:
    """Write the split beside the run as JSON, paths relative to the face folder."""
    record = {
        "rule": split.rule,
        **{
            name: [p.relative_to(folder).as_posix() for p in files]
            for name, files in split.files.items()
        },
    }
    write_text(path, json.dumps(record, indent=1))


@dataclass(frozen=True)
class Faces:
    """Square uint8 images (size, size, 3) by index; `read(i)` decodes or renders one."""

    names: list[str]
    size: int
    read: Callable[[int], np.ndarray]
    files: list[Path] | None = None  # None: built in
    points: Callable[[int], dict[str, tuple[float, float]]] | None = None  # landmarks, in pixels

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
        first.names + second.names,
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
