"""Where a run's faces come from: the folder, its split, how they lie, and a second folder."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from deocclude.data.faces.alignment import guess_template
from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.copies import find_copies
from deocclude.data.faces.files import (
    Faces,
    builtin_faces,
    folder_faces,
    join_faces,
    mixing_order,
)
from deocclude.data.faces.layout import (
    SPLITS,
    Located,
    beside,
    counted,
    find_faces,
    first_size,
    left_out,
    locate_faces,
    loose_images,
    named_folder,
)
from deocclude.data.faces.shard_names import names_shards, shard_pattern
from deocclude.data.faces.shards import ShardSplit, load_shard_split, other_words, split_shards
from deocclude.data.faces.splits import (
    Split,
    check_trainable,
    load_split,
    save_split,
    split_faces,
    without_copies,
)
from deocclude.data.settings import FaceData, MoreFaces

logger = logging.getLogger(__name__)

SPLIT_SEED = 42  # the published split's seed; independent of the training seed


class AnySources(Protocol):
    """What is asked of a run's sources, whatever its task."""

    @property
    def data(self) -> FaceData:
        """Its data settings, with the template told, and the people."""

    @property
    def folder(self) -> Path | None:
        """Where the faces lie; None for built-in ones."""

    def training_pairs(
        self, seed: int, cache_folder: Path, processes: int = 1, batch: int = 1
    ) -> Any:
        """The endless training list, for steps of `batch`; its `images` counts the pictures."""

    def frozen(self, split: str) -> Any:
        """Frozen validation ("val") or test pairs; corrupt images are left out."""

    def describe(self) -> dict[str, Any]:
        """For environment.json."""

    def save_split(self, path: Path) -> None:
        """Which pictures are in which split, where they are not built in."""


@dataclass(frozen=True)
class FaceSources:
    """Where a run's faces come from; nothing is decoded yet. `data.template` is never auto."""

    data: FaceData
    folder: Path | None  # of faces, or the pattern of their shards; None: built in
    split: Split | ShardSplit | None
    also: Path | None = field(default=None, kw_only=True)  # data.also's folder

    def faces(self, split: str) -> Faces:
        """Faces of one split, decoded on demand."""
        if self.folder is None:
            count = self.data.builtin_images if split == "train" else 500
            return builtin_faces(split, count, self.data.size)
        assert self.split is not None  # a folder's faces are split
        if isinstance(self.split, ShardSplit):
            return self.split.faces(split, self.data.size)
        files = self.split.files[split]
        return folder_faces(files, self.folder, self.data.size)

    def training_faces(self, cache_folder: Path, processes: int = 1, batch: int = 1) -> Faces:
        """The training split, checked, limited and cached as the configuration says; shards, whose
        faces come in an order for steps of `batch`, are read whenever they are needed."""
        if isinstance(self.split, ShardSplit):
            return self.split.training_faces(self.data.size, self.data.train_images, batch)
        if self.split is not None and self.folder is not None:
            check_trainable(self.split, self.folder)
        faces = self.faces("train")
        if self.data.train_images is not None:
            faces = faces.subset(range(min(self.data.train_images, len(faces))))
        shared = self.data.cache == "ram" and processes > 1
        cache = "disk" if shared else self.data.cache  # one copy for all processes
        cached = cache_faces(faces, cache, self.data.cache_gib, cache_folder)
        if self.also is None or self.data.also is None:
            return cached
        more = cache_faces(
            self._more_faces(self.also, self.data.also), cache, self.data.cache_gib, cache_folder
        )
        both = join_faces(cached.placed(self.data.template), more)
        return both.subset(mixing_order(len(cached), len(more), self.data.also.share))

    def _more_faces(self, folder: Path, also: MoreFaces) -> Faces:
        """The training faces of `data.also`."""
        return folder_faces(self._more_files, folder, self.data.size).placed(also.template)

    @cached_property
    def _more_files(self) -> list[Path]:
        """The training files of `data.also`, without copies of this folder's val and test ones."""
        assert self.also is not None
        split = split_faces(self.also, SPLIT_SEED, self.data.split)
        say_split("also", self.also, split)
        files = split.files["train"]
        if not isinstance(self.split, Split) or self.data.copies == "keep":
            return files
        held = [*self.split.files["val"], *self.split.files["test"]]
        copies = find_copies(held, files)
        if copies:
            logger.warning(
                "%s: left out %d of %d pictures, copies of val or test ones of %s, e.g. %s",
                self.also, len(copies), len(files), self.folder, next(iter(copies)).name,
            )  # fmt: skip
        return [path for path in files if path not in copies]

    def face_words(self, split: str) -> str:
        faces = "built-in faces" if self.folder is None else self.folder.name
        return f"{faces} ({split})"

    def describe(self) -> dict[str, Any]:
        """For environment.json."""
        counts = {name: len(self.faces(name)) for name in ("train", "val", "test")}
        record: dict[str, Any] = {
            "faces": "builtin" if self.folder is None else str(self.folder.resolve()),
            "split": self.split.rule if self.split else "built-in faces, disjoint seeds",
            "images": counts,
        }
        if self.also is not None and self.data.also is not None:
            record["also"] = str(self.also.resolve())
            more = self._more_faces(self.also, self.data.also)
            record["images"]["train, also"] = len(more)
        return record

    def save_split(self, path: Path) -> None:
        if isinstance(self.split, ShardSplit):
            self.split.save(path)
        elif self.split is not None and self.folder is not None:
            save_split(self.split, self.folder, path)


def open_faces(
    data: FaceData, root: Path | None, split_file: Path | None
) -> tuple[Any, Path | None, Split | ShardSplit | None]:
    """The configuration with its template told, the folder of faces, and their split."""
    if names_shards(data.faces) and named_folder(root, data.faces) is None:
        return _open_shards(data, shard_pattern(root, data.faces), split_file)
    located = locate_faces(root, data.faces, data.size)
    folder, recorded = located.folder, None
    if folder is None:
        split = None
        if root is not None:
            logger.info(
                "%-9s built-in ones, %s: those of %s are not used", "faces", located.reason, root
            )
    else:
        recorded = _recorded(split_file, folder)
        split = recorded or split_faces(folder, SPLIT_SEED, data.split)
        say_split("faces", folder, split)
        say_left_out(root if data.faces == "auto" else None, located, split)
    if data.template == "auto":
        data = data.model_copy(update={"template": tell_template(split)})
    if folder is not None and split is not None and recorded is None and data.copies == "drop":
        split = without_copies(split, folder)
    return data, folder, split


def _open_shards(
    data: FaceData, pattern: Path, split_file: Path | None
) -> tuple[Any, Path, ShardSplit]:
    """As `open_faces`, of tar files; a line says what they hold and what is not done with them."""
    if data.also is not None:
        raise ValueError("data.also: a second folder goes with a folder of faces, not with shards")
    if split_file is not None and split_file.is_file():
        split = load_shard_split(split_file, pattern)
    else:
        split = split_shards(pattern, SPLIT_SEED, data.split)
    counts = "/".join(str(len(split.parts[name])) for name in SPLITS)
    logger.info(
        "faces     %s: %d shards, %d images, %s: train/val/test %s; not cached, not searched for "
        "copies", pattern, len(split.shards.paths), len(split.shards), split.rule, counts,
    )  # fmt: skip
    if others := split.shards.others:
        logger.info("          left out of %s: %s", pattern.name, other_words(others))
    first = split.first_size()
    if first is not None and min(first) < data.size:
        logger.warning(
            "%s: its first face has %d px, less than data.size %d, and is enlarged",
            pattern, min(first), data.size,
        )  # fmt: skip
    if data.template == "auto":
        told = guess_template(*first) if first is not None else "ffhq"
        data = data.model_copy(update={"template": told})
    return data, pattern, split


def also_folder(data: FaceData, root: Path | None) -> Path | None:
    """The folder of `data.also`; None without it. FileNotFoundError when there is no such one."""
    if data.also is None:
        return None
    if names_shards(data.also.faces):
        raise ValueError(f"data.also.faces {data.also.faces!r}: must be a folder, not shards")
    return find_faces(root, data.also.faces, data.size)


def tell_template(split: Split | None) -> str:
    """By the aspect of the first readable training image; built-in faces lie as FFHQ's do."""
    size = first_size(split.files["train"][:20]) if split is not None else None
    return guess_template(*size) if size is not None else "ffhq"


def _recorded(split_file: Path | None, folder: Path) -> Split | None:
    """The split that a run wrote down; None without one."""
    there = split_file is not None and split_file.is_file()
    return load_split(split_file, folder) if there and split_file is not None else None


def say_split(what: str, folder: Path, split: Split) -> None:
    """One line: where the pictures lie, how many there are, and how they are split."""
    count = sum(map(len, split.files.values()))
    logger.info(
        "%-9s %s: %d images, %s: train/val/test %s",
        what, folder, count, split.rule, split.counts(),
    )  # fmt: skip


def say_left_out(root: Path | None, located: Located, split: Split) -> None:
    """Why this folder, and what of it and of the data folder is not used; nothing where all is.
    `root`: the data folder that was searched, None where the folder was named."""
    folder = located.folder
    assert folder is not None  # built-in faces are whole
    if root not in (None, folder):
        logger.info("          chosen because %s", located.reason)
    words = left_out(folder, (path for files in split.files.values() for path in files))
    if words:
        logger.info("          left out of %s: %s", folder, words)
    if root is None or folder.parent != root:
        return
    aside = beside(root, folder)
    loose = loose_images(root)
    if loose:
        logger.info("          left out: %s in %s itself", counted(loose, "image"), root)
    if aside:
        logger.info("          not used: %s; --set data.faces=NAME takes another", ", ".join(aside))
