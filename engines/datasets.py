"""From a configuration to the faces, masks and frozen pairs of a run."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data.cache import cache_faces
from data.faces import (
    Faces,
    Split,
    builtin_faces,
    find_faces,
    folder_faces,
    load_split,
    save_split,
    split_faces,
)
from data.masks import RATIO_BINS, MaskFolder, MaskGenerator
from data.pairs import FrozenPairs, freeze
from engines.config import Data, RunConfig
from engines.runtime import available_cores

logger = logging.getLogger(__name__)

SPLIT_SEED = 42  # the published split's seed; independent of the training seed
VARIABLE = "DEOCCLUDE_DATA"


@dataclass(frozen=True)
class Sources:
    """Where a run's faces and masks come from; nothing is decoded yet."""

    data: Data
    folder: Path | None  # of faces; None: built in
    split: Split | None
    masks: MaskGenerator | MaskFolder

    def faces(self, split: str) -> Faces:
        """Faces of one split, decoded on demand."""
        if self.folder is None:
            count = self.data.builtin_images if split == "train" else 500
            return builtin_faces(split, count, self.data.size)
        files = self.split.files[split]
        return folder_faces(files, self.folder, self.data.size)

    def training_faces(self, cache_folder: Path, processes: int = 1) -> Faces:
        """The training split, checked, limited and cached as the configuration says."""
        faces = self.faces("train")
        if self.data.train_images is not None:
            faces = faces.subset(range(min(self.data.train_images, len(faces))))
        shared = self.data.cache == "ram" and processes > 1
        cache = "disk" if shared else self.data.cache  # one copy for all processes
        return cache_faces(faces, cache, self.data.cache_gib, cache_folder)

    def frozen(self, split: str) -> FrozenPairs:
        """Frozen validation ("val") or test pairs; corrupt images are reported and left out."""
        per_bin = (
            max(1, self.data.validation_pairs // len(RATIO_BINS))
            if split == "val"
            else self.data.test_per_bin
        )
        faces = self.faces(split)
        faces = cache_faces(faces.subset(range(min(per_bin, len(faces)))), "none", 1, Path())
        return freeze(faces, self.masks, split, per_bin, self.words(split, per_bin))

    def words(self, split: str, per_bin: int) -> str:
        """One line on what the pairs are, for tables."""
        faces = "built-in faces" if self.folder is None else self.folder.name
        masks = "built-in masks" if isinstance(self.masks, MaskGenerator) else "masks of a folder"
        return f"{faces} ({split}), {masks}, {self.data.size} px, {per_bin} pairs a bin"

    def describe(self) -> dict[str, Any]:
        """For environment.json."""
        counts = {name: len(self.faces(name)) for name in ("train", "val", "test")}
        return {
            "faces": "builtin" if self.folder is None else str(self.folder.resolve()),
            "split": self.split.rule if self.split else "built-in faces, disjoint seeds",
            "images": counts,
            "masks": self.masks.describe(),
        }

    def save_split(self, path: Path) -> None:
        if self.split is not None:
            save_split(self.split, self.folder, path)


def data_root(given: str | Path | None) -> Path | None:
    """The data folder: --data, else the environment variable DEOCCLUDE_DATA, else datasets/ if
    filled.

    FileNotFoundError when a named folder does not exist.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        root = Path(named)
        if not root.is_dir():
            source = "--data" if given else VARIABLE
            raise FileNotFoundError(f"{source} {str(root)!r}: no such folder")
        return root
    default = Path("datasets")
    return default if default.is_dir() and any(default.iterdir()) else None


def open_sources(data: Data, root: Path | None, split_file: Path | None = None) -> Sources:
    """Find faces and masks. FileNotFoundError or ValueError says what is missing.

    `split_file` is a run's split.json: its split counts instead of a new one, so that images that
    came since never move a trained image into the test set.
    """
    folder = find_faces(root, data.faces, data.size)
    if folder is None:
        split = None
    elif split_file is not None and split_file.is_file():
        split = load_split(split_file, folder)
    else:
        split = split_faces(folder, SPLIT_SEED)
    return Sources(data, folder, split, _open_masks(data, root))


def recorded_data(run: Path, data: Data) -> Data:
    """`data` with the folders that this run really used, from its environment.json."""
    record = run / "environment.json"
    if not record.is_file():
        return data
    facts = json.loads(record.read_text(encoding="utf-8"))[0]["data"]
    masks = facts["masks"]
    used = "builtin" if masks["source"] == "generated" else str(Path(masks["folder"]).resolve())
    return data.model_copy(update={"faces": facts["faces"], "masks": used})


def _open_masks(data: Data, root: Path | None) -> MaskGenerator | MaskFolder:
    if data.masks == "auto":
        default = root / "masks" if root else None
        if default is None or not default.is_dir():
            return MaskGenerator(data.size, SPLIT_SEED)
        return MaskFolder(default, data.size, data.invert_mask, SPLIT_SEED)
    if data.masks == "builtin":
        return MaskGenerator(data.size, SPLIT_SEED)
    below = root / data.masks if root else Path(data.masks)
    folder = below if below.is_dir() else Path(data.masks)
    return MaskFolder(folder, data.size, data.invert_mask, SPLIT_SEED)


def choose_profile(root: Path | None, device: str = "auto") -> tuple[str, str]:
    """The profile that `auto` means here, and the sentence that says why."""
    gpu = device != "cpu" and torch.cuda.is_available()
    if root is None:
        return "quick", (
            "profile quick: no data folder was given, so this is a short run on built-in faces at "
            "64 px that shows the whole path in minutes; its numbers mean little. For real data: "
            "`python -m data.download faces masks`, or --data FOLDER"
        )
    if gpu:
        return "full", f"profile full: the published setting, on a GPU, with data from {root}"
    return "small", (
        f"profile small: 64 px, sized for a CPU, with data from {root}; "
        "--profile full is the published setting, meant for a GPU"
    )


def worker_count(config: RunConfig, on_gpu: bool) -> int:
    """Loader processes: as configured; auto leaves small machines to the training itself."""
    if config.data.workers != "auto":
        return config.data.workers
    cores = available_cores()
    if on_gpu:
        return min(8, max(1, cores - 1))
    return 0 if cores <= 2 else 2
