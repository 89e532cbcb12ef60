"""From a configuration to faces and the occluders put on them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deocclude.data.faces.cache import cache_faces
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.pairs.augmentations import create_augmentation
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_occluded
from deocclude.data.pairs.training import OccludedPairs
from deocclude.data.settings import SegmentationData
from deocclude.data.sources.faces import SPLIT_SEED, FaceSources, also_folder, open_faces
from deocclude.data.sources.occluders import (
    create_occluders,
    describe_occluders,
    occluder_words,
    open_occluders,
)
from deocclude.data.sources.paired_set import SetSources, open_set_sources


@dataclass(frozen=True)
class SegmentationSources(FaceSources):
    """Faces and the occluders put on them."""

    data: SegmentationData
    occluders: Occluders
    occluder_folder: Path | None  # None: drawn ones only

    def training_pairs(
        self, seed: int, cache_folder: Path, processes: int = 1, batch: int = 1
    ) -> OccludedPairs:
        """The endless training list, for steps of `batch`."""
        faces = self.training_faces(cache_folder, processes, batch)
        augment = create_augmentation(self.data.augment)
        return OccludedPairs(faces, self.occluders, seed, self.data.flip, augment)

    def frozen(self, split: str, preset: str | None = None) -> FrozenOccluded:
        """Frozen validation ("val") or test pairs, some of each kind; corrupt images are left out.

        `preset` replaces the run's own, as "real" or "drawn" do for a table of their own.
        """
        occluders = self.occluders
        if preset is not None and preset != self.data.preset:
            occluders = create_occluders(
                self.data.model_copy(update={"preset": preset}), self.occluder_folder, SPLIT_SEED
            )
        per_kind = self.data.validation_per_kind if split == "val" else self.data.test_per_kind
        faces = self.faces(split)
        wanted = min(per_kind * len(occluders.kinds(split)), len(faces))
        faces = cache_faces(faces.subset(range(wanted)), "none", 1, Path())
        words = (
            f"{self.face_words(split)}, {occluder_words(occluders, split)}, "
            f"{self.data.size} px, {per_kind} pairs a kind"
        )
        pairs = freeze_occluded(faces, occluders, split, per_kind, words)
        pairs.training = partial(self.faces, "train")
        return pairs

    def describe(self) -> dict[str, Any]:
        return super().describe() | describe_occluders(self.occluders, self.occluder_folder)


def open_segmentation_sources(
    data: SegmentationData, root: Path | None, split_file: Path | None = None
) -> SegmentationSources | SetSources:
    """Find faces and occluders, or the set `data.pairs`; `split_file` as for `open_sources`."""
    if data.pairs is not None:
        return open_set_sources(data, root, split_file, SPLIT_SEED)
    data, folder, split = open_faces(data, root, split_file)
    made, occluders = open_occluders(data, root, SPLIT_SEED)
    also = also_folder(data, root)
    return SegmentationSources(data, folder, split, made, occluders, also=also)
