"""Known people: a folder of sub-folders, one a person, split by picture, or procedural ones.

Whose face it is can only be learned of people seen in training. So, unlike elsewhere, each person's
pictures are dealt out over the splits: validation and test hold pictures that were not trained on,
of people who were.
"""

import logging
from collections.abc import Sequence
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from deocclude.data.builtin.faces import landmarks_of, person_traits, render_person
from deocclude.data.faces.files import Faces
from deocclude.data.faces.layout import (
    OTHER_FOLDERS,
    PEOPLE,
    SPLITS,
    is_split_name,
    named_folder,
    sub_folders,
)
from deocclude.data.faces.splits import Split
from deocclude.data.image_files import list_images
from deocclude.data.seeding import keyed_rng

logger = logging.getLogger(__name__)

BEGINNING = PEOPLE  # of the sub-folder's name that `auto` considers
FEWEST = 3  # pictures of a person: one for each split
LAYOUT = f"one sub-folder a person, each with at least {FEWEST} pictures"


def find_identities(root: Path | None, faces: str) -> Path | None:
    """The folder of people that `faces` means below the data folder `root`; None for built-in ones.

    auto: the sub-folder of `root` named identit*, else `root` itself. FileNotFoundError says what
    was looked for.
    """
    if faces == "builtin":
        return None
    if faces != "auto":
        if named := named_folder(root, faces):
            return named
        below = f" below {root}" if root else ""
        raise FileNotFoundError(f"data.faces {faces!r}: no such folder{below}; needed: {LAYOUT}")
    if root is None:
        return None
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {str(root)!r}: no such folder")
    found = [p for p in sub_folders(root) if p.name.casefold().startswith(BEGINNING)]
    return found[0] if found else root


def people_of(folder: Path, identities: Sequence[str] | None = None) -> dict[str, list[Path]]:
    """Each person's pictures by the sub-folder's name; `identities`: of these only, in this order.

    FileNotFoundError for a person who is not there, and for a folder that holds no people.
    """
    inside = sub_folders(folder)
    people = {p.name: list_images(p) for p in inside if p.name.casefold() not in OTHER_FOLDERS}
    few = [name for name, files in people.items() if len(files) < FEWEST]
    people = {name: files for name, files in people.items() if name not in few}
    if identities is not None:
        gone = [name for name in identities if name not in people]
        if gone:
            raise FileNotFoundError(
                f"{folder}: has no sub-folder with {FEWEST} pictures of {', '.join(gone[:5])}; "
                f"there are {len(people)}: {', '.join(list(people)[:5])}, ..."
            )
        return {name: people[name] for name in identities}
    if any(map(is_split_name, people)) or len(people) < 2:
        raise FileNotFoundError(
            f"{folder}: holds no known people; needed: {LAYOUT}, as data.faces names it; "
            f"found {', '.join(p.name for p in inside[:5]) or 'no sub-folder'}"
        )
    if few:
        logger.warning("left out for having fewer than %d pictures: %s", FEWEST, ", ".join(few))
    return people


def split_people(
    people: dict[str, list[Path]], seed: int, val_share: float, test_share: float
) -> Split:
    """Deal each person's pictures out, seeded by the person's name: whoever else is there, a
    person's split stays. Within a split the people take turns, so that its beginning has all of
    them. ValueError when nothing of a person would be left to train on."""
    dealt: dict[str, list[list[Path]]] = {name: [] for name in SPLITS}
    for person, files in people.items():
        order = keyed_rng(seed, "pictures of", person).permutation(len(files))
        test, val = (max(1, round(len(files) * share)) for share in (test_share, val_share))
        if test + val >= len(files):
            raise ValueError(
                f"val_share {val_share:g} and test_share {test_share:g} leave none of the "
                f"{len(files)} pictures of {person} to train on"
            )
        parts = order[test + val :], order[test : test + val], order[:test]
        for name, part in zip(SPLITS, parts, strict=True):
            dealt[name].append([files[i] for i in part])
    split = {
        name: [path for path in chain(*zip_longest(*parts)) if path is not None]
        for name, parts in dealt.items()
    }
    rule = (
        f"seed {seed}, of each of {len(people)} people {val_share:.0%} of the pictures for "
        f"validation, {test_share:.0%} for the test"
    )
    return Split(split, rule)


def identity_of(name: str) -> str:
    """The person's sub-folder in an image's name, its path below the folder of people."""
    return name.split("/", 1)[0]


def label_names(names: Sequence[str], identities: Sequence[str]) -> np.ndarray:
    """Whole numbers (N,): each image's person by place in `identities`. ValueError for others."""
    places = {identity: place for place, identity in enumerate(identities)}
    unknown = sorted({identity_of(name) for name in names} - places.keys())
    if unknown:
        raise ValueError(
            f"{len(unknown)} people are not among the {len(identities)} known ones: "
            f"{', '.join(unknown[:5])}"
        )
    return np.array([places[identity_of(name)] for name in names], dtype=np.int64)


def _picture(split: str, people: int, index: int) -> tuple[int, int]:
    """Person, and a number of the picture that no other split has."""
    return index % people, index // people * len(SPLITS) + SPLITS.index(split)


def _rendered(split: str, people: int, size: int, index: int) -> np.ndarray:
    return render_person(*_picture(split, people, index), size)


def _points(split: str, people: int, size: int, index: int) -> dict[str, tuple[float, float]]:
    return landmarks_of(person_traits(*_picture(split, people, index)), size)


def builtin_identities(people: int) -> tuple[str, ...]:
    """Names of procedural people."""
    return tuple(f"person_{person:03d}" for person in range(people))


def builtin_people(split: str, people: int, count: int, size: int) -> Faces:
    """`count` procedural pictures of `people` people in turn; the splits share no picture."""
    who = builtin_identities(people)
    names = [f"{who[i % people]}/{split}_{i // people:04d}" for i in range(count)]
    own = (split, people, size)
    return Faces(names, size, partial(_rendered, *own), points=partial(_points, *own))
