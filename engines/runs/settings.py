"""The fields of a run's configuration: what can be set, its type, its range and its default."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

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

from deocclude import losses
from deocclude import models
from deocclude.data.faces.alignment import TEMPLATES
from deocclude.data.pairs.augmentations import PHOTOGRAPHS, complete_options
from deocclude.data.occluders.mixture import PRESETS
from deocclude.models.features import check_layers

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]  # part of file and tensor names


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class _Named(_Part):
    """A registry entry: `name` and that entry's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Model(_Named):
    @model_validator(mode="after")
    def _known(self) -> Model:
        models.check_options(models.INPAINTERS, "inpainter", self.name, self.options)
        return self


class Discriminator(_Named):
    @model_validator(mode="after")
    def _known(self) -> Discriminator:
        models.check_options(models.DISCRIMINATORS, "discriminator", self.name, self.options)
        return self


class Features(_Named):
    """The identity network whose embedding of the occluded image an inpainter is given.

    weights: auto (the newest finished run of EfficientNetB0, random if there is none, which is
    said), random, or a run's name, its folder or its weights file.
    """

    name: str = "efficientnet_b0"
    weights: str = "auto"

    @model_validator(mode="after")
    def _known(self) -> Features:
        models.check_options(models.IDENTITY_NETWORKS, "identity network", self.name, self.options)
        return self


class WeightsFile(_Part):
    """A finished run or a weights file; once the run has started the file, and what it is.

    weights: a run's name, its folder, its weights file or an ensemble's YAML. sha256: of the file
    and of what it points to, written down at the start and checked from then on.
    """

    weights: Annotated[str, Field(min_length=1)]
    sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, content: Any) -> Any:
        return {"weights": content} if isinstance(content, str) else content


class Member(WeightsFile):
    """A member of the ensemble that trains, `name` as in `model.members`."""

    name: str


class Segmenter(_Named):
    @model_validator(mode="after")
    def _known(self) -> Segmenter:
        models.check_options(models.SEGMENTERS, "segmenter", self.name, self.options)
        return self


def _worker_number(value: Any) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{value!r} must be auto or a whole number from 0")


def _template_name(value: str) -> str:
    if value == "auto" or value in TEMPLATES:
        return value
    raise ValueError(f"{value!r} is not one of auto, {', '.join(TEMPLATES)}")


def _known_template(value: str) -> str:
    if value in TEMPLATES:
        return value
    raise ValueError(f"{value!r} is not one of {', '.join(TEMPLATES)}")


def _named_folder(value: str) -> str:
    if value and value not in ("auto", "builtin"):
        return value
    raise ValueError(f"{value!r} names no folder of faces")


class MoreFaces(_Part):
    """Faces of a second folder, for training only, aligned otherwise than the first.

    faces: a folder, absolute or below the data folder. template: one of data.faces.alignment.TEMPLATES.
    share: of the training pictures that come from here.
    """

    faces: Annotated[str, AfterValidator(_named_folder)]
    template: Annotated[str, AfterValidator(_known_template)]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5


class FaceData(_Part):
    """Which faces are read, at which size, and how they are kept.

    faces: a folder, absolute or below the data folder; auto finds one; builtin uses the
    procedural ones. template: where the eyes lie in them; auto tells by the pictures' aspect.
    also: more faces to train on.
    """

    faces: str = "auto"
    template: Annotated[str, AfterValidator(_template_name)] = "auto"
    also: MoreFaces | None = None
    size: Annotated[int, Field(ge=32)] = 256
    flip: bool = False
    cache: Literal["none", "ram", "disk"] = "ram"
    cache_gib: PositiveFloat = 4.0
    workers: Annotated[Any, AfterValidator(_worker_number)] = "auto"
    train_images: Positive | None = None
    builtin_images: Positive = 4000


def _preset_name(value: str) -> str:
    if value in PRESETS:
        return value
    raise ValueError(f"{value!r} is not one of {', '.join(PRESETS)}")


def _augmentation(value: Any) -> bool | dict[str, Any]:
    if isinstance(value, dict) or value == PHOTOGRAPHS:
        return complete_options(value)
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        raise ValueError(
            f"{value!r} is not one of true, false, {PHOTOGRAPHS}, or a mapping with that name"
        ) from None


Augment = Annotated[Any, AfterValidator(_augmentation)]  # bool, or a mapping with all its options


class Data(FaceData):
    """Faces and what hides parts of them.

    masks: a folder, absolute or below the data folder; auto finds one; builtin uses the
    procedural ones. hidden_by: masks gives holes of the grey level `fill`; occluders covers the
    faces with `occluders` drawn by `preset` and `eyeglasses` (as in SegmentationData), in
    training and validation; mixed gives holes in training, half of them from `masks`, half in the
    shape of such occluders as a segmenter would find them. Test pairs have holes either way, so
    that all runs share them.
    """

    masks: str = "auto"
    invert_mask: bool = False
    fill: Annotated[float, Field(ge=0, le=1)] = 1.0
    hidden_by: Literal["masks", "occluders", "mixed"] = "masks"
    occluders: str = "auto"
    preset: Annotated[str, AfterValidator(_preset_name)] = "blind"
    eyeglasses: Literal["auto", "redraw", "keep"] = "auto"
    validation_pairs: Positive = 240
    test_per_bin: Positive = 500


class SegmentationData(FaceData):
    """Faces and the occluders put on them.

    occluders: a folder of cut-outs, absolute or below the data folder; auto takes `occluders` in
    or beside the data folder; drawn uses none. preset: one of `data.occluders.mixture.PRESETS`.
    eyeglasses: clear ones are to be redrawn, or kept: then they are in the pictures and their masks
    are empty; auto keeps them under the presets of photographs only.
    augment: changes of the pictures while training: true for small ones of place, light and
    colour; photographs for what photographs differ in, `{name: photographs, jpeg: 0}` with options
    of `data.pairs.photo_augment.PhotographAugmentation`. pairs: a paired set on disk
    (`python -m data.occluders --output`, or a foreign one in its layout) that is trained on
    instead of faces and occluders. invert_mask: black means hole in its mask files.
    """

    occluders: str = "auto"
    pairs: str | None = None
    invert_mask: bool = False
    preset: Annotated[str, AfterValidator(_preset_name)] = "mixed"
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


def _yaml_no(value: Any) -> Any:
    """YAML reads a bare `no` as false."""
    return "no" if value is False else value


class Optimizer(_Part):
    name: Literal["adam", "adamw"] = "adam"
    lr: PositiveFloat = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class LearningRate(_Part):
    """Factor on both learning rates: a linear warm-up, then constant, or cosine down to `floor`."""

    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    floor: Annotated[float, Field(ge=0, le=1)] = 0.01


class Loop(_Part):
    """batch_size is that of one optimiser step, over all processes and accumulated parts."""

    epochs: Positive = 20
    epoch_images: Positive | None = None
    max_minutes: PositiveFloat | None = None
    batch_size: Positive = 8
    accumulate: Positive = 1
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_yaml_no)] = "no"
    learning_rate: LearningRate = LearningRate()
    clip_gradients: PositiveFloat | None = None
    ema_decay: Share = 0.999
    early_stop_epochs: Positive | None = None
    checkpoint_minutes: PositiveFloat = 5.0
    log_steps: Positive = 20
    seed: Annotated[int, Field(ge=0)] = 42
    channels_last: bool = False


class Training(Loop):
    """The loop, with an optimiser for each network and the weights of the loss's extractors.

    feature_terms: false leaves out the loss terms that compare a fixed network's features
    (perceptual, style); that network is not made. features_reduce: it sees the pictures this many
    times smaller, which costs it as many squared less.
    """

    generator: Optimizer = Optimizer()
    discriminator: Optimizer = Optimizer()
    features_weights: str = "auto"
    feature_terms: bool = True
    features_reduce: Literal[1, 2, 4] = 1


class SegmentationTraining(Loop):
    optimizer: Optimizer = Optimizer()


class AnyRun(_Part):
    """What every run has, whatever it trains.

    downloads: false lets `model.pretrained: auto` mean random weights, whatever the network's cache
    or the internet has.
    """

    TERMS: ClassVar[dict] = losses.TERMS

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str
    profile: str = "full"
    downloads: bool = True
    losses: dict[Word, dict[str, Any]]

    @model_validator(mode="after")
    def _terms(self) -> AnyRun:
        for name, term in self.losses.items():
            if "weight" not in term:
                raise ValueError(f"losses.{name}: needs a weight, found {term}")
            try:
                loss = losses.create_loss({name: term}, self.TERMS)
                for network, layers in loss.layers().items():
                    check_layers(network, layers)
            except ValueError as error:
                raise ValueError(f"losses.{name}: {error}") from error
        if self.training.batch_size % self.training.accumulate:
            raise ValueError(
                f"training.accumulate: {self.training.accumulate} does not divide "
                f"training.batch_size {self.training.batch_size}"
            )
        return self

    def starts_at_random(self) -> bool:
        """Whether `downloads: false` is why the network has no published weights."""
        choice = self.model.options.get("pretrained", "auto")
        takes = models.takes_option(self.task, self.model.name, "pretrained")
        return takes and str(choice).lower() == "auto" and not self.downloads

    def network_options(self) -> dict[str, Any]:
        """The model's own options, with `pretrained` as `downloads` lets it be."""
        return self.model.options | ({"pretrained": False} if self.starts_at_random() else {})

    def left_out(self) -> list[str]:
        """What these settings leave out of the run as it is written, a sentence each."""
        if not self.starts_at_random():
            return []
        return [
            f"published weights: {self.model.name} starts at random, nothing is downloaded; "
            "--set downloads=true fetches them"
        ]


class RunConfig(AnyRun):
    """An inpainting run, resolved.

    loss_on: what loss terms and discriminators see: the whole prediction, or the picture composed
    of the prediction in the hole and the target around it. init_from: a run's name, its folder or
    a weights file whose generator is the start, tensor by tensor of equal name. teacher: whose
    answers a loss term compares with. members: the files behind `model.members` of an ensemble,
    written down at the start.
    """

    task: Literal["inpainting"] = "inpainting"
    as_published: bool = False
    model: Model
    discriminators: dict[Word, Discriminator] = {}
    features: Features | None = None
    loss_on: Literal["prediction", "composed"] = "prediction"
    init_from: Annotated[str, Field(min_length=1)] | None = None
    teacher: WeightsFile | None = None
    members: tuple[Member, ...] = ()
    data: Data = Data()
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _one_discriminator(cls, content: Any) -> Any:
        """`discriminator: {...}`, as earlier runs recorded their single one, is the one of that
        name."""
        if isinstance(content, dict) and "discriminator" in content:
            content = dict(content)
            single = content.pop("discriminator")
            if single is not None:
                others = content.get("discriminators") or {}
                content["discriminators"] = {"discriminator": single, **others}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        loss = losses.create_loss(self.losses)
        taught = loss.taught()
        if taught and self.teacher is None:
            raise ValueError(
                f"losses.{taught[0]}: needs a teacher, but teacher is null; --teacher RUN|FILE "
                f"names one, `losses: {{{taught[0]}: null}}` leaves the term out"
            )
        if self.teacher is not None and not taught:
            raise ValueError(
                "teacher: no loss term listens to it, it would do nothing; "
                "`losses: {imitation: {weight: 1.0}}` does, `teacher: null` leaves it out"
            )
        if not self.loss_terms():
            raise ValueError(
                f"training.feature_terms: false leaves no loss term, "
                f"{', '.join(self.losses)} compare features; true keeps them"
            )
        heard = loss.adversarial_kinds(self.discriminators)
        for name in self.discriminators:
            if name not in heard:
                raise ValueError(
                    f"discriminators: no adversarial loss term listens to {name!r}, it would do "
                    f"nothing; `discriminators: {{{name}: null}}` leaves it out"
                )
        return self

    def model_options(self) -> dict[str, Any]:
        """Options of the inpainter, with the published defects when the run asks for them."""
        published = getattr(models.INPAINTERS[self.model.name], "as_published", {})
        return {**(published if self.as_published else {}), **self.network_options()}

    def feature_terms(self) -> list[str]:
        """The loss terms that compare a fixed network's features."""
        terms = losses.create_loss(self.losses).terms
        return [name for name, term in terms.items() if hasattr(term, "layers")]

    def loss_terms(self) -> dict[str, dict[str, Any]]:
        """The loss terms that train: `losses`, without feature terms where they are left out."""
        without = [] if self.training.feature_terms else self.feature_terms()
        return {name: term for name, term in self.losses.items() if name not in without}

    def left_out(self) -> list[str]:
        without = [name for name in self.losses if name not in self.loss_terms()]
        if not without:
            return super().left_out()
        return [
            f"loss terms {', '.join(without)}: they compare the features of a large network, which "
            "would have random weights here and take most of the time; "
            "--set training.feature_terms=true trains with them",
            *super().left_out(),
        ]


class SegmentationConfig(AnyRun):
    """A run that trains a segmenter, resolved. init_from: as RunConfig's."""

    TERMS: ClassVar[dict] = losses.SEGMENTATION_TERMS

    task: Literal["segmentation"]
    model: Segmenter
    init_from: Annotated[str, Field(min_length=1)] | None = None
    data: SegmentationData = SegmentationData()
    training: SegmentationTraining = SegmentationTraining()

    def model_options(self) -> dict[str, Any]:
        return self.network_options()
