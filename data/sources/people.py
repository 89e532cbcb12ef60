"""Known people as the data of an identity run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import Faces, folder_faces
from deocclude.data.faces.identities import (
    builtin_identities,
    builtin_people,
    find_identities,
    label_names,
    people_of,
    split_people,
)
from deocclude.data.faces.layout import Located
from deocclude.data.faces.splits import Split, load_split, without_copies
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.pairs.augmentations import create_augmentation
from deocclude.data.pairs.occluded import FrozenOccluded, freeze_occluded
from deocclude.data.pairs.training import IdentityPictures
from deocclude.data.settings import IdentityData
from deocclude.data.sources.faces import (
    SPLIT_SEED,
    FaceSources,
    say_left_out,
    say_split,
    tell_template,
)
from deocclude.data.sources.occluders import (
    describe_occluders,
    occluder_words,
    open_occluders,
)

BUILTIN_HELD_OUT = 20  # pictures of each procedural person in validation, and in the test


@dataclass(frozen=True)
class IdentitySources(FaceSources):
    """Pictures of known people and the occluders put on them. `data.identities` is told."""

    data: IdentityData
    occluders: Occluders
    occluder_folder: Path | None  # None: drawn ones only

    @property
    def people(self) -> tuple[str, ...]:
        """The identities, as `open_identity_sources` told them."""
        assert self.data.identities is not None
        return self.data.identities

    def faces(self, split: str) -> Faces:
        """Pictures of one split, decoded on demand; the people take turns."""
        if self.folder is not None:
            assert isinstance(self.split, Split)  # a folder's pictures are split
            return folder_faces(self.split.files[split], self.folder, self.data.size)
        people = self.data.builtin_people
        count = self.data.builtin_images if split == "train" else BUILTIN_HELD_OUT * people
        return builtin_people(split, people, count, self.data.size)

    def training_pairs(
        self, seed: int, cache_folder: Path, processes: int = 1, batch: int = 1
    ) -> IdentityPictures:
        """The endless training list, for steps of `batch`."""
        faces, data = self.training_faces(cache_folder, processes, batch), self.data
        labels = label_names(faces.names, self.people)
        augment = create_augmentation(data.augment)
        return IdentityPictures(
            faces, labels, self.occluders, seed, data.occluded_share, data.flip, augment,
            data.swap_share,
        )  # fmt: skip

    def frozen(self, split: str) -> FrozenOccluded:
        """Frozen validation ("val") or test pictures, some under each kind of occluder and some
        bare ones; corrupt images are left out."""
        per_kind = self.data.validation_per_kind if split == "val" else self.data.test_per_kind
        faces = self.faces(split)
        faces = cache_faces(faces, "none" if split == "test" else "ram", 1, Path())
        per_kind = min(per_kind, len(faces))  # more would repeat pictures
        words = (
            f"{self.face_words(split)}, held-out pictures of {len(self.people)} known "
            f"people, {occluder_words(self.occluders, split)}, {self.data.size} px, "
            f"{per_kind} pictures a kind"
        )
        return freeze_occluded(faces, self.occluders, split, per_kind, words)

    def describe(self) -> dict[str, Any]:
        """For environment.json."""
        record = super().describe() | {"identities": len(self.people)}
        return record | describe_occluders(self.occluders, self.occluder_folder)


def open_identity_sources(
    data: IdentityData, root: Path | None, split_file: Path | None = None
) -> IdentitySources:
    """Find people and occluders. FileNotFoundError or ValueError says what is missing.

    `split_file` is a run's split.json: its split counts instead of a new one.
    """
    folder = find_identities(root, data.faces)
    split, identities = None, builtin_identities(data.builtin_people)
    if folder is None:
        if data.identities not in (None, identities):
            raise ValueError("data.identities: chooses among people of a folder, not built-in ones")
    else:
        people = people_of(folder, data.identities)
        identities = tuple(people)
        recorded = split_file is not None and split_file.is_file()
        if recorded and split_file is not None:
            split = load_split(split_file, folder)
        else:
            split = split_people(people, SPLIT_SEED, data.val_share, data.test_share)
        say_split("people", folder, split)
        say_left_out(folder, Located(folder, ""), split)
        if not recorded and data.copies == "drop":  # near ones are what a person's pictures are
            split = without_copies(split, folder, near=False)
    template = tell_template(split) if data.template == "auto" else data.template
    data = data.model_copy(update={"template": template, "identities": identities})
    made, occluders = open_occluders(data, root, SPLIT_SEED)
    return IdentitySources(data, folder, split, made, occluders)
