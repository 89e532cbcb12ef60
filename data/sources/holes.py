"""From a configuration to faces and the holes in them, or the occluders that make those."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import Faces
from deocclude.data.faces.layout import SPLITS, named_folder
from deocclude.data.masks.source import RATIO_BINS, MaskFolder, MaskGenerator
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.photographs import EYEGLASSES
from deocclude.data.pairs.augmentations import create_augmentation
from deocclude.data.pairs.holes import FrozenPairs, ShapedPairs, freeze, shape_holes
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_occluded
from deocclude.data.pairs.training import CoveredFaces, MixedHoles, TrainingPairs
from deocclude.data.settings import Data
from deocclude.data.sources.faces import SPLIT_SEED, FaceSources, also_folder, open_faces
from deocclude.data.sources.occluders import (
    describe_occluders,
    occluder_words,
    open_occluders,
)

logger = logging.getLogger(__name__)

STAND_INS = ("facemask_drawn", "sunglasses_drawn", "hand_drawn")  # where there are no cut-outs


@dataclass(frozen=True)
class Sources(FaceSources):
    """Faces, the masks that hide parts of them, and the occluders where those do."""

    data: Data
    masks: MaskGenerator | MaskFolder
    occluders: Occluders | None = None  # None: data.hidden_by is masks
    occluder_folder: Path | None = None  # None: drawn ones only

    def training_pairs(
        self, seed: int, cache_folder: Path, processes: int = 1, batch: int = 1
    ) -> TrainingPairs | CoveredFaces | MixedHoles:
        """The endless training list, for steps of `batch`."""
        faces = self.training_faces(cache_folder, processes, batch)
        change = (seed, self.data.flip, create_augmentation(self.data.augment))
        if self.data.hidden_by == "mixed":
            assert self.occluders is not None  # as open_sources found them
            return MixedHoles(faces, self.masks, self.occluders, *change)
        if self.occluders is not None:
            return CoveredFaces(faces, self.occluders, *change)
        return TrainingPairs(faces, self.masks, *change)

    @overload
    def frozen(self, split: Literal["test"]) -> FrozenPairs: ...
    @overload
    def frozen(self, split: str) -> FrozenPairs | FrozenOccluded: ...
    def frozen(self, split: str) -> FrozenPairs | FrozenOccluded:
        """Frozen validation ("val") or test pairs; corrupt images are reported and left out.

        Validation is under occluders where `data.hidden_by` says so; test pairs always have holes.
        """
        if split == "val" and self.data.hidden_by == "occluders":
            assert self.occluders is not None  # as open_sources found them
            return self._validation(self.occluders)
        per_bin = (
            max(1, self.data.validation_pairs // len(RATIO_BINS))
            if split == "val"
            else self.data.test_per_bin
        )
        faces = self.faces(split)
        faces = cache_faces(faces.subset(range(min(per_bin, len(faces)))), "none", 1, Path())
        pairs = freeze(faces, self.masks, split, per_bin, self.words(split, per_bin))
        pairs.template, pairs.training = self.data.template, partial(self.faces, "train")
        return pairs

    def shaped(self, split: str, grow: Callable[[np.ndarray], np.ndarray]) -> ShapedPairs:
        """Holes in the shape of held-out cut-outs, see `shape_holes`, data.test_per_bin of each
        kind but clear eyeglasses; drawn kinds stand in where there are no cut-outs.

        Every kind meets the same faces, from all over the split.
        """
        assert self.occluders is not None  # as data.hidden_by is not masks
        cutouts, per_kind = self.occluders.cutouts, self.data.test_per_bin
        found = cutouts.require(split) if cutouts else []
        kinds = [kind for kind in found if kind not in EYEGLASSES] or STAND_INS
        faces = self.faces(split)
        wanted = min(per_kind, len(faces))
        faces = faces.subset([place * len(faces) // wanted for place in range(wanted)])
        covered = self._covered(faces, split, self.occluders, kinds, per_kind)
        pairs = shape_holes(covered, grow, self.data.template)
        pairs.training = partial(self.faces, "train")
        return pairs

    def _validation(self, occluders: Occluders) -> FrozenOccluded:
        """data.validation_pairs faces under occluders, evenly of each kind, none of them bare."""
        kinds = [k for k in occluders.kinds("val") if not occluders.leaves_bare(k)]
        per_kind = -(-self.data.validation_pairs // len(kinds))
        faces = self.faces("val")
        faces = faces.subset(range(min(per_kind * len(kinds), len(faces))))
        pairs = self._covered(faces, "val", occluders, kinds, per_kind)
        return pairs.limited(self.data.validation_pairs)

    def _covered(
        self, faces: Faces, split: str, occluders: Occluders, kinds: Sequence[str], per_kind: int
    ) -> FrozenOccluded:
        """`per_kind` pairs of each of the kinds; corrupt faces are reported and left out."""
        words = (
            f"{self.face_words(split)}, {occluder_words(occluders, split)}, "
            f"{self.data.size} px, {per_kind} pairs a kind"
        )
        faces = cache_faces(faces, "none", 1, Path())
        return freeze_occluded(faces, occluders, split, per_kind, words, kinds)

    def words(self, split: str, per_bin: int) -> str:
        """One line on what the pairs with holes are, for tables."""
        masks = "built-in masks" if isinstance(self.masks, MaskGenerator) else "masks of a folder"
        return f"{self.face_words(split)}, {masks}, {self.data.size} px, {per_bin} pairs a bin"

    def describe(self) -> dict[str, Any]:
        record = super().describe() | {"masks": self.masks.describe()}
        if self.occluders is not None:
            record |= describe_occluders(self.occluders, self.occluder_folder)
        return record


def open_sources(data: Data, root: Path | None, split_file: Path | None = None) -> Sources:
    """Find faces and masks. FileNotFoundError or ValueError says what is missing.

    `split_file` is a run's split.json: its split counts instead of a new one, so that images that
    came since never move a trained image into the test set.
    """
    data, folder, split = open_faces(data, root, split_file)
    masks = _open_masks(data, root)
    also = also_folder(data, root)
    if data.hidden_by == "masks":
        return Sources(data, folder, split, masks, also=also)
    occluders, cutouts = open_occluders(data, root, SPLIT_SEED)
    return Sources(data, folder, split, masks, occluders, cutouts, also=also)


def _open_masks(data: Data, root: Path | None) -> MaskGenerator | MaskFolder:
    if data.masks == "auto":
        default = root / "masks" if root else None
        if default is None or not default.is_dir():
            return MaskGenerator(data.size, SPLIT_SEED)
        return _mask_folder(default, data)
    if data.masks == "builtin":
        return MaskGenerator(data.size, SPLIT_SEED)
    folder = named_folder(root, data.masks) or Path(data.masks)
    return _mask_folder(folder, data)


def _mask_folder(folder: Path, data: Data) -> MaskFolder:
    masks = MaskFolder(folder, data.size, data.invert_mask, SPLIT_SEED)
    logger.info(
        "%-9s %s: %d masks, %s: train/val/test %s",
        "masks", folder, sum(map(len, masks.names.values())), masks.rule,
        "/".join(str(len(masks.names[name])) for name in SPLITS),
    )  # fmt: skip
    return masks
