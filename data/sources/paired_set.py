"""A paired set on disk as the data of a segmentation run."""

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deocclude.data.faces.cache import report_enlarged
from deocclude.data.faces.layout import named_folder
from deocclude.data.faces.splits import (
    Split,
    check_trainable,
    load_split,
    save_split,
    without_copies,
)
from deocclude.data.occluders.set_files import SETTINGS
from deocclude.data.occluders.sets import PairedSet, open_set
from deocclude.data.pairs.augmentations import create_augmentation
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_set
from deocclude.data.pairs.training import SetPairs
from deocclude.data.settings import SegmentationData
from deocclude.data.sources.faces import say_split

logger = logging.getLogger(__name__)

MOSTLY = 0.5  # of all pixels: masks that mark more of them on average may be inverted
KINDS = 30  # frozen pairs of a set: this often what a run with occluders freezes of each kind


@dataclass(frozen=True)
class SetSources:
    """Pairs of a set on disk; nothing is decoded yet. `data.template` is never auto."""

    data: SegmentationData
    pairs: PairedSet
    split: Split  # of the occluded pictures

    @property
    def folder(self) -> Path:
        return self.pairs.folder

    @cached_property
    def _index(self) -> dict[Path, int]:
        return {pair.occluded: i for i, pair in enumerate(self.pairs.pairs)}

    def indices(self, split: str) -> list[int]:
        """The set's pairs in one split."""
        return [self._index[path] for path in self.split.files[split] if path in self._index]

    def training_pairs(
        self, seed: int, cache_folder: Path, processes: int = 1, batch: int = 1
    ) -> SetPairs:
        """The endless training list. Pictures are decoded anew each time; nothing is cached."""
        check_trainable(self.split, self.folder)
        augment = create_augmentation(self.data.augment)
        keep = self.indices("train")[: self.data.train_images]
        report_enlarged([self.pairs.pairs[i].occluded for i in keep], self.data.size)
        return SetPairs(self.pairs, keep, self.data.size, seed, self.data.flip, augment)

    def frozen(self, split: str, preset: str | None = None) -> FrozenOccluded:
        """Validation ("val") or test pairs, spread over the split. A set has one preset, its own:
        ValueError for another."""
        if preset not in (None, self.data.preset):
            raise ValueError(
                f"preset {preset!r}: the pairs in {self.folder} are made; --data names faces and "
                "occluders to make others from"
            )
        per_kind = self.data.validation_per_kind if split == "val" else self.data.test_per_kind
        found = self.indices(split)
        spread = np.linspace(0, len(found) - 1, min(len(found), KINDS * per_kind)).astype(int)
        chosen = [self.pairs.pairs[found[i]].occluded for i in spread]
        report_enlarged(chosen, self.data.size)
        words = f"{self.folder.name} ({split}), {self.data.size} px, {len(spread)} pairs"
        frozen = freeze_set(self.pairs, [found[i] for i in spread], self.data.size, words)
        covered = float(np.mean([pair.hole_ratio for pair in frozen.pairs]))
        if covered > MOSTLY:
            logger.warning(
                "%s: its masks mark %.0f%% of the pictures as covered; white means covered, use "
                "--invert-mask (data.invert_mask=%s) if they mean the opposite",
                self.folder, 100 * covered, str(not self.data.invert_mask).lower(),
            )  # fmt: skip
        return frozen

    def describe(self) -> dict[str, Any]:
        """For environment.json."""
        return {
            "pairs": str(self.folder.resolve()),
            "split": self.split.rule,
            "images": {name: len(self.indices(name)) for name in self.split.files},
            "set": self.pairs.describe(),
        }

    def save_split(self, path: Path) -> None:
        save_split(self.split, self.folder, path)


def open_set_sources(
    data: SegmentationData, root: Path | None, split_file: Path | None, seed: int
) -> SetSources:
    """Open the set `data.pairs`, absolute or below `root`, or relative to here.

    FileNotFoundError says what is missing, as when a split's pictures are gone.
    """
    if data.pairs is None:
        raise ValueError("data.pairs: is null, there is no set to open")
    pairs = open_set(named_folder(root, data.pairs) or data.pairs, data.invert_mask)
    if split_file is not None and split_file.is_file():
        split = load_split(split_file, pairs.folder)
        say_split("pairs", pairs.folder, split)
    else:
        split = pairs.split(seed)
        say_split("pairs", pairs.folder, split)
        if data.copies == "drop":
            shown = {pair.occluded: pair.shown for pair in pairs.pairs}
            split = without_copies(split, pairs.folder, shown=shown.__getitem__)
    if data.template == "auto":
        settings = pairs.folder / SETTINGS
        record = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        data = data.model_copy(update={"template": record.get("template", "ffhq")})
    return SetSources(data, pairs, split)
