"""From a configuration to the faces, masks, occluders and frozen pairs of a run."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

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
    named_folder,
    save_split,
    split_faces,
)
from deocclude.data.masks.source import RATIO_BINS, MaskFolder, MaskGenerator
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.pairs.augmentations import create_augmentation
from deocclude.data.pairs.holes import FrozenPairs, freeze
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_occluded
from deocclude.data.pairs.training import CoveredFaces, MixedHoles, OccludedPairs, TrainingPairs
from deocclude.data.settings import Data, FaceData, MoreFaces, SegmentationData
from deocclude.data.sources.occluders import (
    create_occluders,
    describe_occluders,
    find_occluders,
    occluder_words,
)
from deocclude.data.sources.paired_set import SetSources, open_set_sources

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class Sources(FaceSources):
    """Faces, the masks that hide parts of them, and the occluders where those do."""

    data: Data
    masks: MaskGenerator | MaskFolder
    occluders: Occluders | None = None  # None: data.hidden_by is masks
    occluder_folder: Path | None = None  # None: drawn ones only

    def training_pairs(
        self, seed: int, cache_folder: Path, processes: int = 1
    ) -> TrainingPairs | CoveredFaces | MixedHoles:
        """The endless training list."""
        faces = self.training_faces(cache_folder, processes)
        if self.data.hidden_by == "mixed":
            assert self.occluders is not None  # as open_sources found them
            return MixedHoles(faces, self.masks, self.occluders, seed, self.data.flip)
        if self.occluders is not None:
            return CoveredFaces(faces, self.occluders, seed, self.data.flip)
        return TrainingPairs(faces, self.masks, seed, self.data.flip)

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
            return self._covered(split, self.occluders)
        per_bin = (
            max(1, self.data.validation_pairs // len(RATIO_BINS))
            if split == "val"
            else self.data.test_per_bin
        )
        faces = self.faces(split)
        faces = cache_faces(faces.subset(range(min(per_bin, len(faces)))), "none", 1, Path())
        return freeze(faces, self.masks, split, per_bin, self.words(split, per_bin))

    def _covered(self, split: str, occluders: Occluders) -> FrozenOccluded:
        """data.validation_pairs faces under occluders, evenly of each kind, none of them bare."""
        kinds = [k for k in occluders.kinds(split) if not occluders.leaves_bare(k)]
        per_kind = -(-self.data.validation_pairs // len(kinds))
        faces = self.faces(split)
        wanted = min(per_kind * len(kinds), len(faces))
        faces = cache_faces(faces.subset(range(wanted)), "none", 1, Path())
        words = (
            f"{self.face_words(split)}, {occluder_words(occluders, split)}, "
            f"{self.data.size} px, {per_kind} pairs a kind"
        )
        pairs = freeze_occluded(faces, occluders, split, per_kind, words, kinds)
        return pairs.limited(self.data.validation_pairs)

    def words(self, split: str, per_bin: int) -> str:
        """One line on what the pairs with holes are, for tables."""
        masks = "built-in masks" if isinstance(self.masks, MaskGenerator) else "masks of a folder"
        return f"{self.face_words(split)}, {masks}, {self.data.size} px, {per_bin} pairs a bin"

    def describe(self) -> dict[str, Any]:
        record = super().describe() | {"masks": self.masks.describe()}
        if self.occluders is not None:
            record |= describe_occluders(self.occluders, self.occluder_folder)
        return record


@dataclass(frozen=True)
class SegmentationSources(FaceSources):
    """Faces and the occluders put on them."""

    data: SegmentationData
    occluders: Occluders
    occluder_folder: Path | None  # None: drawn ones only

    def training_pairs(self, seed: int, cache_folder: Path, processes: int = 1) -> OccludedPairs:
        """The endless training list."""
        faces = self.training_faces(cache_folder, processes)
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
        return freeze_occluded(faces, occluders, split, per_kind, words)

    def describe(self) -> dict[str, Any]:
        return super().describe() | describe_occluders(self.occluders, self.occluder_folder)


def open_sources(data: Data, root: Path | None, split_file: Path | None = None) -> Sources:
    """Find faces and masks. FileNotFoundError or ValueError says what is missing.

    `split_file` is a run's split.json: its split counts instead of a new one, so that images that
    came since never move a trained image into the test set.
    """
    data, folder, split = _open_faces(data, root, split_file)
    masks = _open_masks(data, root)
    also = _also_folder(data, root)
    if data.hidden_by == "masks":
        return Sources(data, folder, split, masks, also=also)
    cutouts = find_occluders(data.occluders, root)
    occluders = create_occluders(data, cutouts, SPLIT_SEED)
    return Sources(data, folder, split, masks, occluders, cutouts, also=also)


def open_segmentation_sources(
    data: SegmentationData, root: Path | None, split_file: Path | None = None
) -> SegmentationSources | SetSources:
    """Find faces and occluders, or the set `data.pairs`; `split_file` as for `open_sources`."""
    if data.pairs is not None:
        return open_set_sources(data, root, split_file, SPLIT_SEED)
    data, folder, split = _open_faces(data, root, split_file)
    occluders = find_occluders(data.occluders, root)
    made = create_occluders(data, occluders, SPLIT_SEED)
    also = _also_folder(data, root)
    return SegmentationSources(data, folder, split, made, occluders, also=also)


def _open_faces(
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


def _also_folder(data: FaceData, root: Path | None) -> Path | None:
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


def _open_masks(data: Data, root: Path | None) -> MaskGenerator | MaskFolder:
    if data.masks == "auto":
        default = root / "masks" if root else None
        if default is None or not default.is_dir():
            return MaskGenerator(data.size, SPLIT_SEED)
        return MaskFolder(default, data.size, data.invert_mask, SPLIT_SEED)
    if data.masks == "builtin":
        return MaskGenerator(data.size, SPLIT_SEED)
    folder = named_folder(root, data.masks) or Path(data.masks)
    return MaskFolder(folder, data.size, data.invert_mask, SPLIT_SEED)
