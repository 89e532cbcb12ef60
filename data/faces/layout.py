"""How data folders lie: which folder holds the faces, which sub-folders are splits, what is left.

docs/data.md says the same in words.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from deocclude.data.faces.shard_names import names_shards, shard_pattern
from deocclude.data.image_files import (
    count_words,
    holds_image,
    is_image,
    is_litter,
    list_images,
    visible_files,
)
from deocclude.data.images import DAMAGE, open_header

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {  # what data sets call them, in any case; of two for one split the first counts
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
OTHER_FOLDERS = ("masks", "occluders", "general", "runs")  # of a data folder: hold no faces
PEOPLE = "identit"  # beginning of the name of a folder of known people
FACES = "faces"  # the sub-folder that docs/data.md names
FACE_FOLDERS = (FACES, "celeba", "ffhq")  # beginnings of the names that `auto` considers
PLACES = 5  # that are named, of those where something is left out
FETCHED = ("stl10",)  # folders that `python -m data.download` makes under these names


class Part(NamedTuple):
    """A sub-folder that holds a split, and its images."""

    folder: Path
    files: list[Path]


class Located(NamedTuple):
    """A folder of faces, or a pattern of shards, None for built-in ones, and in words why it was
    chosen."""

    folder: Path | None
    reason: str


def given_splits(folder: Path) -> dict[str, Part]:
    """The splits that sub-folders of `folder` give, by SPLIT_NAMES; one without images is none."""
    found = {}
    for split, names in SPLIT_NAMES.items():
        named = [p for p in sub_folders(folder) if p.name.casefold() in names]
        for place in sorted(named, key=lambda p: (names.index(p.name.casefold()), p.name)):
            if files := list_images(place):
                found[split] = Part(place, files)
                break
    return found


def check_split(split: str) -> None:
    """ValueError unless `split` is one of SPLITS."""
    if split not in SPLITS:
        raise ValueError(f"split: must be one of {', '.join(SPLITS)}, found {split!r}")


def is_split_name(name: str) -> bool:
    """Whether a folder of this name is usually one of a split."""
    return any(name.casefold() in names for names in SPLIT_NAMES.values())


def needs_train(folder: Path, given: Iterable[str]) -> str:
    """What is wrong with a folder that has these splits, and no train."""
    return (
        f"{folder}: has {' and '.join(f'{name}/' for name in given)}, but no images in train/; "
        "put the pictures to train on there"
    )


def sub_folders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted by name, without hidden ones."""
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not is_litter(p.name)]


def named_folder(root: Path | None, name: str) -> Path | None:
    """The folder `name` below the data folder `root`, else as it stands; None without either."""
    candidates = ([root / name] if root is not None else []) + [Path(name)]
    return next((candidate for candidate in candidates if candidate.is_dir()), None)


def find_faces(root: Path | None, faces: str, size: int) -> Path | None:
    """The folder of faces that `faces` means below the data folder `root`; None for the built-in
    ones. As `locate_faces`."""
    return locate_faces(root, faces, size).folder


def locate_faces(root: Path | None, faces: str, size: int) -> Located:
    """The folder of faces that `faces` means below the data folder `root`, and why this one. Shards
    are named by a path that ends in .tar and may stand for several.

    auto: its sub-folder `faces`; else `root` itself when it is split into train/ and others; else
    its sub-folder named faces*, celeba* or ffhq* with images nearest to `size` from above, unless
    `root` itself holds more images than that; else `root`, with images or sub-folders of them.
    FileNotFoundError says what was looked for.
    """
    if faces == "builtin":
        return Located(None, "data.faces is builtin")
    if faces != "auto":
        if named := named_folder(root, faces):
            return Located(named, f"data.faces names {faces}")
        if names_shards(faces):
            return Located(shard_pattern(root, faces), f"data.faces names {faces}")
        where = f" below {root}" if root else ""
        hint = (
            f"; `python -m data.download {faces}` makes it in datasets/, or name another folder "
            "of pictures: --set data.faces=DIR"
        )
        raise FileNotFoundError(
            f"data.faces {faces!r}: no such folder{where}" + (hint if faces in FETCHED else "")
        )
    if root is None:
        return Located(None, "there is no data folder")
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {str(root)!r}: no such folder")
    inside = sub_folders(root)
    for folder in inside:
        if folder.name.casefold() == FACES and list_images(folder):
            return Located(folder, f"it is {folder.name}/ of the data folder")
    if any(p.name.casefold() in SPLIT_NAMES["train"] and list_images(p) for p in inside):
        return Located(root, "it holds its splits")
    here = loose_images(root)
    alike = [p for p in inside if p.name.casefold().startswith(FACE_FOLDERS)]
    found = {p: files for p in alike if (files := list_images(p))}
    if found:
        chosen, reason = _nearest(found, size)
        if len(found[chosen]) > here:
            return Located(chosen, reason)
    if here:
        return Located(root, f"{here} images lie in it itself")
    if face_images(root):
        return Located(root, "its sub-folders hold images, none is named as faces are")
    raise FileNotFoundError(
        f"data folder {str(root)!r}: holds no images, no train/ and no folder named "
        f"{', '.join(n + '*' for n in FACE_FOLDERS)}; name one with --data or data.faces"
    )


def _nearest(found: dict[Path, list[Path]], size: int) -> tuple[Path, str]:
    """The folder whose first readable image is nearest to `size` from above, and in words why."""
    sides = {folder: min(first_size(files) or (0,)) for folder, files in found.items()}
    chosen = min(found, key=lambda p: (sides[p] < size, abs(sides[p] - size)))
    if len(found) == 1:
        return chosen, "it is named as faces are"
    words = ", ".join(f"{folder.name} ({side} px)" for folder, side in sides.items())
    return chosen, f"of {words} it is the nearest to data.size {size}"


def first_size(files: Iterable[Path]) -> tuple[int, int] | None:
    """Width and height of the first readable image in pixels; None when none is."""
    for path in files:
        try:
            with open_header(path) as image:
                return image.size
        except DAMAGE:
            continue
    return None


def is_other(name: str) -> bool:
    """Whether a data folder's sub-folder of this name holds no faces, or those of known people."""
    return name.casefold() in OTHER_FOLDERS or name.casefold().startswith(PEOPLE)


def face_images(folder: Path) -> list[Path]:
    """Images below `folder`, without those of a data folder's other parts."""
    return [
        path
        for path in list_images(folder)
        if len(parts := path.relative_to(folder).parts) == 1 or not is_other(parts[0])
    ]


def loose_images(folder: Path) -> int:
    """How many images lie in the folder itself, not in its sub-folders."""
    return sum(
        path.is_file() and not is_litter(path.name) and is_image(path) for path in folder.iterdir()
    )


def left_out(folder: Path, used: Iterable[Path]) -> str:
    """What lies below `folder` and is none of the `used` files, in words by place and kind; empty
    when nothing does."""
    taken = set(used)
    unused: list[Path] = []
    others: list[Path] = []
    for path in visible_files(folder):
        if path not in taken:
            (unused if is_image(path) else others).append(path)
    places = Counter(_place(path, folder) for path in unused).most_common()
    words = [f"{counted(count, 'image')} {place}" for place, count in places[:PLACES]]
    if len(places) > PLACES:
        rest = sum(count for _, count in places[PLACES:])
        words.append(f"{counted(rest, 'image')} in {len(places) - PLACES} more folders")
    words += [f"{count_words(others)} that is no image"] * bool(others)
    hidden = _count_hidden(folder)
    words += [f"{counted(hidden, 'file or folder', 'files or folders')} hidden"] * bool(hidden)
    return "; ".join(words)


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _place(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return f"in {parts[0]}/" if len(parts) > 1 else f"in {folder.name}/ itself"


def _count_hidden(folder: Path) -> int:
    """Hidden files, and hidden folders whatever is in them."""
    count = 0
    for _, folders, files in os.walk(folder):
        count += sum(map(is_litter, [*folders, *files]))
        folders[:] = [name for name in folders if not is_litter(name)]
    return count


def beside(root: Path | None, chosen: Path | None) -> list[str]:
    """Names of the data folder's other sub-folders with images, which `auto` did not take."""
    if root is None or chosen is None or chosen == root or chosen.parent != root:
        return []
    return [
        p.name for p in sub_folders(root) if p != chosen and not is_other(p.name) and holds_image(p)
    ]
