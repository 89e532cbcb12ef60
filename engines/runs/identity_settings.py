"""The fields of an identity run's configuration."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from deocclude import losses
from deocclude import models
from deocclude.engines.runs.settings import (
    AnyRun,
    Augment,
    FaceData,
    Loop,
    Optimizer,
    Positive,
    _Named,
    _preset_name,
)

PeopleShare = Annotated[float, Field(gt=0, lt=0.5)]


class IdentityNetwork(_Named):
    """Its `classes` are the data's people and are not set here."""

    @model_validator(mode="after")
    def _known(self) -> IdentityNetwork:
        models.check_options(models.IDENTITY_NETWORKS, "identity network", self.name, self.options)
        if "classes" in self.options:
            raise ValueError("classes: comes from the data; data.identities chooses the people")
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
    occluders: str = "auto"
    preset: Annotated[str, AfterValidator(_preset_name)] = "mixed"
    occluded_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    swap_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    augment: Augment = True
    builtin_people: Annotated[int, Field(ge=2)] = 10
    validation_per_kind: Positive = 10
    test_per_kind: Positive = 200

    @model_validator(mode="after")
    def _people(self) -> IdentityData:
        names = self.identities
        if names is not None and (len(names) < 2 or len(set(names)) < len(names)):
            raise ValueError(
                f"identities: needs at least two different names, found {', '.join(names)}"
            )
        return self


class IdentityTraining(Loop):
    optimizer: Optimizer = Optimizer()


class IdentityConfig(AnyRun):
    """A run that trains an identity network, resolved."""

    TERMS: ClassVar[dict] = losses.IDENTITY_TERMS

    task: Literal["identity"]
    model: IdentityNetwork
    data: IdentityData = IdentityData()
    training: IdentityTraining = IdentityTraining()

    @model_validator(mode="after")
    def _parts(self) -> IdentityConfig:
        if self.training.batch_size // self.training.accumulate < 2:
            raise ValueError(
                f"training.batch_size: {self.training.batch_size} in parts of "
                f"{self.training.batch_size // self.training.accumulate}; the head's BatchNorm "
                "needs parts of at least 2 images"
            )
        return self

    def model_options(self) -> dict[str, Any]:
        """Options of the network; ValueError while `data.identities` is not told yet."""
        if self.data.identities is None:
            raise ValueError("data.identities: must be told before there is a network")
        return {**self.network_options(), "classes": len(self.data.identities)}
