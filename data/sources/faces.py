"""Where a run's faces come from: the folder, its split, how they lie, and a second folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from deocclude.data.faces.alignment import guess_template
from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import (
    Faces,
    Split,
    builtin_faces,
    find_faces,
    folder_faces,
    join_faces,
    load_split,
    mixing_order,
    save_split,
    split_faces,
)
from deocclude.data.settings import FaceData, MoreFaces

SPLIT_SEED = 42  # the published split's seed; independent of the training seed


@dataclass(frozen=True)
class FaceSources:
    """Where a run's faces come from; nothing is decoded yet. `data.template` is never auto."""

    data: FaceData
    folder: Path | None  # of faces; None: built in
    split: Split | None
    also: Path | None = field(default=None, kw_only=True)  # data.also's folder

    def faces(self, split: str) -> Faces:
        """Faces of one split, decoded on demand."""
        if self.folder is None:
            count = self.data.builtin_images if split == "train" else 500
            return builtin_faces(split, count, self.data.size)
        assert self.split is not None  # a folder's faces are split
        files = self.split.files[split]
        return folder_faces(files, self.folder, self.data.size)

    def training_faces(self, cache_folder: Path, processes: int = 1) -> Faces:
        """The training split, checked, limited and cached as the configuration says."""
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
        files = split_faces(folder, SPLIT_SEED).files["train"]
        return folder_faces(files, folder, self.data.size).placed(also.template)

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
        if self.split is not None and self.folder is not None:
            save_split(self.split, self.folder, path)


def open_faces(
    data: FaceData, root: Path | None, split_file: Path | None
) -> tuple[Any, Path | None, Split | None]:
    """The configuration with its template told, the folder of faces, and their split."""
    folder = find_faces(root, data.faces, data.size)
    if folder is None:
        split = None
    elif split_file is not None and split_file.is_file():
        split = load_split(split_file, folder)
    else:
        split = split_faces(folder, SPLIT_SEED)
    if data.template == "auto":
        data = data.model_copy(update={"template": tell_template(split)})
    return data, folder, split


def also_folder(data: FaceData, root: Path | None) -> Path | None:
    """The folder of `data.also`; None without it. FileNotFoundError when there is no such one."""
    if data.also is None:
        return None
    return find_faces(root, data.also.faces, data.size)


def tell_template(split: Split | None) -> str:
    """By the aspect of the first readable training image; built-in faces lie as FFHQ's do."""
    for path in split.files["train"][:20] if split is not None else ():
        try:
            with Image.open(path) as image:
                return guess_template(*image.size)
        except OSError:
            continue
    return "ffhq"
