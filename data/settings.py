"""The data fields of a run's configuration: faces, masks, occluders, people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from deocclude.data.faces.alignment import TEMPLATES
from deocclude.data.occluders.presets import PRESETS
from deocclude.data.pairs.augmentations import PHOTOGRAPHS, complete_options
from deocclude.names import shown

Positive = Annotated[int, Field(gt=0, le=10**9)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Named = Annotated[str, Field(min_length=1)]  # a folder, or a word that stands for one
MOST_WORKERS = 512
PeopleShare = Annotated[float, Field(gt=0, lt=0.5)]


class Section(BaseModel):
    """A section of a configuration: an unknown key is an error, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _worker_number(value: Any) -> int | str:
    number = isinstance(value, int) and not isinstance(value, bool)
    if value == "auto" or (number and 0 <= value <= MOST_WORKERS):
        return value
    raise ValueError(f"{shown(value)} must be auto or a whole number from 0 to {MOST_WORKERS}")


def _one_of(*names: str) -> AfterValidator:
    """A text that must be one of these."""

    def check(value: str) -> str:
        if value in names:
            return value
        raise ValueError(f"{shown(value)} is not one of {', '.join(names)}")

    return AfterValidator(check)


Template = Annotated[str, _one_of("auto", *TEMPLATES)]
Preset = Annotated[str, _one_of(*PRESETS)]


def _named_folder(value: str) -> str:
    if value and value not in ("auto", "builtin"):
        return value
    raise ValueError(f"{shown(value)} names no folder of faces")


class MoreFaces(Section):
    """Faces of a second folder, for training only, aligned otherwise than the first.

    faces: a folder, absolute or below the data folder. template: one of
    data.faces.alignment.TEMPLATES. share: of the training pictures that come from here.
    """

    faces: Annotated[str, AfterValidator(_named_folder)]
    template: Annotated[str, _one_of(*TEMPLATES)]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5


class FaceData(Section):
    """Which faces are read, at which size, and how they are kept.

    faces: a folder, absolute or below the data folder, or tar shards (DIR/{000..099}.tar); auto
    finds a folder; builtin uses the procedural ones. split: what is dealt out to train, val and
    test where sub-folders do not say it: image, folder (nobody is in two of them; of shards, whole
    ones), or auto, folder where they look like people.
    copies: training pictures that are copies of val or test ones are left out (drop), or not
    (keep). template: where the eyes lie in them; auto tells by the pictures' aspect. also: more
    faces to train on.
    """

    faces: Named = "auto"
    split: Literal["auto", "image", "folder"] = "auto"
    copies: Literal["drop", "keep"] = "drop"
    template: Template = "auto"
    also: MoreFaces | None = None
    size: Annotated[int, Field(ge=32, le=8192)] = 256
    flip: bool = False
    cache: Literal["none", "ram", "disk"] = "ram"
    cache_gib: PositiveFloat = 4.0
    workers: Annotated[Any, AfterValidator(_worker_number)] = "auto"
    train_images: Positive | None = None
    builtin_images: Positive = 4000


def _augmentation(value: Any) -> bool | dict[str, Any]:
    if isinstance(value, dict) or value == PHOTOGRAPHS:
        return complete_options(value)
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        raise ValueError(
            f"{shown(value)} is not one of true, false, {PHOTOGRAPHS}, or a mapping with that name"
        ) from None


Augment = Annotated[Any, AfterValidator(_augmentation)]  # bool, or a mapping with all its options


class Data(FaceData):
    """Faces and what hides parts of them.

    masks: a folder, absolute or below the data folder; auto finds one; builtin uses the
    procedural ones. hidden_by: masks gives holes of the grey level `fill`; occluders covers the
    faces with `occluders` drawn by `preset` and `eyeglasses` (as in SegmentationData), in
    training and validation; mixed gives holes in training, half of them from `masks`, half in the
    shape of such occluders as a segmenter would find them. Test pairs have holes either way, so
    that all runs share them. augment: changes of the faces while training, as in
    SegmentationData; what is asked for is the changed face.
    """

    masks: Named = "auto"
    invert_mask: bool = False
    fill: Annotated[float, Field(ge=0, le=1)] = 1.0
    hidden_by: Literal["masks", "occluders", "mixed"] = "masks"
    occluders: Named = "auto"
    preset: Preset = "blind"
    eyeglasses: Literal["auto", "redraw", "keep"] = "auto"
    augment: Augment = False
    validation_pairs: Positive = 240
    test_per_bin: Positive = 500


class SegmentationData(FaceData):
    """Faces and the occluders put on them.

    occluders: a folder of cut-outs, absolute or below the data folder; auto takes `occluders` in
    or beside the data folder; drawn uses none. preset: one of `data.occluders.presets.PRESETS`.
    eyeglasses: clear ones are to be redrawn, or kept: then they are in the pictures and their masks
    are empty; auto keeps them under the presets of photographs only.
    augment: changes of the pictures while training: true for small ones of place, light and
    colour; photographs for what photographs differ in, `{name: photographs, jpeg: 0}` with options
    of `data.pairs.photo_augment.PhotographAugmentation`. pairs: a paired set on disk
    (`python -m data.occluders --output`, or a foreign one in its layout) that is trained on
    instead of faces and occluders. invert_mask: black means hole in its mask files.
    """

    occluders: Named = "auto"
    pairs: Named | None = None
    invert_mask: bool = False
    preset: Preset = "mixed"
    eyeglasses: Literal["auto", "redraw", "keep"] = "auto"
    augment: Augment = True
    validation_per_kind: Positive = 8
    test_per_kind: Positive = 25

    @model_validator(mode="after")
    def _masks_of_a_set(self) -> SegmentationData:
        if self.also is not None and self.pairs is not None:
            raise ValueError("also: adds faces, but pairs are trained on; leave one of them out")
        if self.invert_mask and self.pairs is None:
            raise ValueError("invert_mask: true is for the masks of a paired set; pairs is null")
        return self


def _as_names(value: Any) -> Any:
    """YAML reads a folder's name such as 1263 as a number."""
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else value


class IdentityData(FaceData):
    """Pictures of known people, a sub-folder each, and the occluders put on them.

    faces: the folder that holds the people's sub-folders, absolute or below the data folder; auto
    takes the data folder itself or its sub-folder named identit*; builtin draws `builtin_people`.
    identities: the people by their sub-folders' names, in the order of the network's outputs; null
    means all. val_share, test_share: of each person's pictures, at least one, are held out.
    occluders, preset, augment as in SegmentationData; `occluded_share` of the training pictures are
    covered, the others are not. `swap_share` of them show the face in another person's
    surroundings, so that the place does not tell who it is.
    """

    identities: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = None
    val_share: PeopleShare = 0.13
    test_share: PeopleShare = 0.13
    occluders: Named = "auto"
    preset: Preset = "mixed"
    occluded_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    swap_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    augment: Augment = True
    builtin_people: Annotated[int, Field(ge=2, le=10_000)] = 10
    validation_per_kind: Positive = 10
    test_per_kind: Positive = 200

    @model_validator(mode="after")
    def _people(self) -> IdentityData:
        if self.split != "auto":
            raise ValueError(
                f"split: {self.split} is for faces; of known people each one's pictures are dealt "
                "out, by val_share and test_share"
            )
        names = self.identities
        if names is not None and (len(names) < 2 or len(set(names)) < len(names)):
            raise ValueError(
                f"identities: needs at least two different names, found {', '.join(names)}"
            )
        return self
