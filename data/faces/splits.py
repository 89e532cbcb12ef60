"""Which pictures are trained on, chosen by and tested on: no person and no picture in two parts."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from deocclude.data.faces.copies import find_copies
from deocclude.data.faces.layout import SPLITS, face_images, given_splits, needs_train
from deocclude.data.files import write_text
from deocclude.data.seeding import keyed_rng

logger = logging.getLogger(__name__)

Item = TypeVar("Item", Path, int)  # an image: a file, or its number in shards

SHARES, HALVES = (0.9, 0.05, 0.05), (0.5, 0.5)
# Of a part's name and the shares it is dealt out in: what stays together, and how in words.
Grouping = Callable[[str, Sequence[float]], tuple[list[list[Item]], str]]
MANY_PEOPLE = 20  # sub-folders from which on more pictures than folders may be one person's
PEOPLE_PICTURES = 500  # in each on average, at most: larger ones are parts of a set


class Split(NamedTuple):
    """Files of each split and, for the run's record, how they were split."""

    files: dict[str, list[Path]]
    rule: str

    def counts(self) -> str:
        """How many files each split has: 2613/145/146."""
        return "/".join(str(len(self.files[name])) for name in SPLITS)


def split_faces(folder: Path, seed: int, by: str = "auto") -> Split:
    """Split a folder: by its train, val and test sub-folders, else seeded 90 / 5 / 5.

    Args:
        by: what is dealt out where sub-folders do not say it all: image (each by itself), folder
            (whole sub-folders, so that nobody is in two splits), or auto (folder where they look
            like people: no more images in each on average than there are folders, or 20 folders and
            more of at most 500).

    A missing test (or val) folder is taken as half of the other one, both as parts of train.
    FileNotFoundError when there are no images, or none to train on.
    """
    given = given_splits(folder)
    if "train" in given:
        parts = {name: part.files for name, part in given.items()}
        return Split(*complete(parts, seed, lambda name, shares: _groups(*given[name], by, shares)))
    if given:
        raise FileNotFoundError(needs_train(folder, [part.folder.name for part in given.values()]))
    files = face_images(folder)
    if not files:
        shards = f"; shards are named by data.faces={folder}/*.tar" * any(folder.glob("*.tar"))
        raise FileNotFoundError(
            f"{folder}: no images; expected images, identity folders, or train/, val/ and test/"
            + shards
        )
    groups, words = _groups(folder, files, by, SHARES)
    return Split(deal_out(groups, seed, SHARES), f"seed {seed}, 90/5/5 {words}")


def _groups(
    folder: Path, files: Sequence[Path], by: str, shares: Sequence[float]
) -> tuple[list[list[Path]], str]:
    """What is dealt out together, and how in words."""
    folders: dict[str, list[Path]] = {}
    for path in files:
        parts = path.relative_to(folder).parts
        folders.setdefault(parts[0] if len(parts) > 1 else f"/{parts[0]}", []).append(path)
    sizes = [len(group) for name, group in folders.items() if not name.startswith("/")]
    if not sizes:
        if by == "folder":
            raise FileNotFoundError(f"{folder}: data.split is folder, but has no sub-folders")
        return [[path] for path in files], "by image"
    words = f"{len(sizes)} sub-folders of {np.mean(sizes):.0f} images on average"
    if by == "folder" or (by == "auto" and len(folders) >= len(shares) and _are_people(sizes)):
        if len(folders) < len(shares):
            raise FileNotFoundError(
                f"{folder}: data.split is folder, but {len(folders)} sub-folders are too few to "
                f"split {len(shares)} ways; data.split=image splits their {len(files)} images"
            )
        return list(folders.values()), f"by identity folder ({words})"
    told = "data.split is image" if by == "image" else "not taken for people"
    return [[path] for path in files], f"by image ({words}, {told})"


def _are_people(sizes: Sequence[int]) -> bool:
    """Whether sub-folders of so many images look like one a person."""
    most = max(len(sizes), PEOPLE_PICTURES if len(sizes) >= MANY_PEOPLE else 0)
    return float(np.mean(sizes)) <= most


def deal_out(groups: list[list[Item]], seed: int, shares: Sequence[float]) -> dict[str, list[Item]]:
    """Shuffle groups by seed and deal them out, at least one to each split."""
    if len(groups) < len(shares):
        raise FileNotFoundError(
            f"{len(groups)} images or identities are too few to split {len(shares)} ways"
        )
    order = keyed_rng(seed, "split").permutation(len(groups))
    counts: list[int] = [max(1, round(len(groups) * share)) for share in shares[1:]]
    bounds = np.cumsum([len(groups) - sum(counts), *counts])
    parts = np.split(order, bounds[:-1])
    return {
        name: sorted(path for g in part for path in groups[g])
        for name, part in zip(SPLITS, parts, strict=False)
    }


def complete(
    given: Mapping[str, list[Item]],
    seed: int,
    groups: Grouping[Item],
    rule: str = "given sub-folders",
) -> tuple[dict[str, list[Item]], str]:
    """Given parts, and the rule in words; a missing one is cut from its neighbour, groups kept
    whole."""
    files = {name: given.get(name, []) for name in SPLITS}
    if not files["val"] and not files["test"]:
        dealt, words = groups("train", SHARES)
        return deal_out(dealt, seed, SHARES), f"{rule}; val and test cut from train {words}"
    for empty, full in (("val", "test"), ("test", "val")):
        if not files[empty]:
            dealt, words = groups(full, HALVES)
            halves = deal_out(dealt, seed, HALVES)
            files[full], files[empty] = halves["train"], halves["val"]
            rule += f"; {empty} is half of {full}, {words}"
    return files, rule


def without_copies(
    split: Split, folder: Path, near: bool = True, shown: Callable[[Path], Path] = lambda p: p
) -> Split:
    """The same, training pictures left out that are copies of val or test ones: equal files and,
    with `near`, the same picture encoded or sized anew.

    `shown`: from a file of the split to the picture that is compared, as a pair's clean one. When
    none is left, `check_trainable` says so to whoever wants to train.
    """
    train, val, test = (list(dict.fromkeys(map(shown, split.files[name]))) for name in SPLITS)
    copies = find_copies([*val, *test], train, near)
    both = find_copies(test, val, near)
    if both:
        logger.warning(
            "%s: %d val pictures are in test too (%s): what is chosen by them is not quite apart "
            "from what is tested", folder, len(both), _example(both, folder),
        )  # fmt: skip
    if not copies:
        return split
    kept = [path for path in split.files["train"] if shown(path) not in copies]
    count = len(split.files["train"])
    words = f"{count - len(kept)} of {count} train pictures, copies of val or test"
    logger.warning(
        "%s: left out %s ones: %s; data.copies=keep keeps them",
        folder, words, _example(copies, folder),
    )  # fmt: skip
    return Split(split.files | {"train": kept}, f"{split.rule}; without {words}")


def check_trainable(split: Split, folder: Path) -> None:
    """ValueError when no training picture is left."""
    if not split.files["train"]:
        raise ValueError(
            f"{folder}: all train pictures are copies of val or test ones; other pictures are "
            "needed, or data.copies=keep"
        )


def _example(copies: dict[Path, Path], folder: Path) -> str:
    """The first few pairs of files."""
    pairs = [f"{a.relative_to(folder)} = {b.relative_to(folder)}" for a, b in copies.items()]
    return ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else "")


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
