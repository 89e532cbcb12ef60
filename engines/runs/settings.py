"""The fields of a run's configuration: what can be set, its type, its range and its default.

Whether the options of a loss term fit together it says itself, and importing it takes seconds. With
the context NAMES_ONLY all the rest is checked at once, names of networks and options included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from deocclude import losses, models
from deocclude.data.settings import (
    Data,
    FaceData,
    IdentityData,
    Positive,
    PositiveFloat,
    Section,
    SegmentationData,
)
from deocclude.data.yaml_files import type_in_words
from deocclude.names import Registry, shown

NAMES_ONLY = {"names_only": True}

Share = Annotated[float, Field(ge=0, lt=1)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]  # part of file and tensor names


def _names_only(info: ValidationInfo) -> bool:
    return (info.context or {}).get("names_only", False)


def check_kinds(entry: Callable, options: Mapping[str, Any]) -> None:
    """ValueError, naming option and value, where one is not of the kind that `entry`, a class or
    function, says its parameter is, or where one is missing that it cannot do without."""
    wanted = [name for name, each in signature(entry).parameters.items() if each.default is EMPTY]
    varying = ("args", "kwargs")
    if missing := [name for name in wanted if name not in options and name not in varying]:
        raise ValueError(f"needs the option {', '.join(missing)}")
    made_by: Any = entry
    hints = get_type_hints(made_by.__init__ if isinstance(entry, type) else entry)
    for key, value in options.items():
        if key not in hints:
            continue
        try:
            found = TypeAdapter(hints[key], config=ANYTHING).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            said = first["msg"].removeprefix("Value error, ")
            said = "must be a list" if first["type"] == "sequence_str" else said
            raise ValueError(f"{key} = {shown(value)}: {said}") from error
        if isinstance(value, (str, bool)) and type(found) is not type(value):  # no "3" for 3
            raise ValueError(
                f"{key} = {shown(value)}: must be a number, not {type_in_words(value)}"
            )


EMPTY = Parameter.empty
ANYTHING = ConfigDict(arbitrary_types_allowed=True)


class Named(Section):
    """A registry entry: `name` and that entry's own options."""

    TABLE: ClassVar[Registry]
    KIND: ClassVar[str]  # what the table's entries are, in words

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def takes(self, option: str) -> bool:
        return models.takes_option(self.TABLE, self.name, option)

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Named:
        """ValueError when the table has no such entry, the entry has no such option, or an option
        is of another kind."""
        models.check_options(self.TABLE, self.KIND, self.name, self.options)
        if not _names_only(info):
            check_kinds(self.TABLE[self.name], self.options)
        return self


class InpainterModel(Named):
    TABLE, KIND = models.INPAINTERS, "inpainter"


class SegmenterModel(Named):
    TABLE, KIND = models.SEGMENTERS, "segmenter"


class IdentityModel(Named):
    """Its `classes` are the data's people and are not set here."""

    TABLE, KIND = models.IDENTITY_NETWORKS, "identity network"

    @model_validator(mode="after")
    def _without_classes(self) -> IdentityModel:
        if "classes" in self.options:
            raise ValueError("classes: comes from the data; data.identities chooses the people")
        return self


class Discriminator(Named):
    TABLE, KIND = models.DISCRIMINATORS, "discriminator"


class Features(Named):
    """The identity network whose embedding of the occluded image an inpainter is given.

    weights: auto (the newest finished run of EfficientNetB0, random if there is none, which is
    said), random, or a run's name, its folder or its weights file.
    """

    TABLE, KIND = models.IDENTITY_NETWORKS, "identity network"

    name: str = "efficientnet_b0"
    weights: str = "auto"


class WeightsFile(Section):
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


RunName = Annotated[str, Field(min_length=1)]
Weights = RunName | Annotated[tuple[RunName, ...], Field(min_length=2)]
Start = Weights | Annotated[dict[Word, Weights], Field(min_length=1)]


class NamedWeights(WeightsFile):
    """A member of the ensemble that trains, `name` as in `model.members`."""

    name: str


def _yaml_no(value: Any) -> Any:
    """YAML reads a bare `no` as false."""
    return "no" if value is False else value


class Optimizer(Section):
    name: Literal["adam", "adamw", "muon"] = "adam"
    lr: PositiveFloat = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class LearningRate(Section):
    """Factor on both learning rates: a linear warm-up, then constant, or cosine down to `floor`."""

    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    floor: Annotated[float, Field(ge=0, le=1)] = 0.01


class Loop(Section):
    """batch_size is that of one optimiser step, over all processes and accumulated parts.

    release: which weights a run leaves to be used, those of the best validation score or the last
    ones. An adversarial loss buys sharpness with PSNR: there the best ones are the first.
    """

    epochs: Positive = 20
    epoch_images: Positive | None = None
    max_minutes: PositiveFloat | None = None
    batch_size: Positive = 8
    accumulate: Positive = 1
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_yaml_no)] = "no"
    learning_rate: LearningRate = LearningRate()
    clip_gradients: PositiveFloat | None = None
    ema_decay: Share = 0.999
    release: Literal["best", "last"] = "best"
    early_stop_epochs: Positive | None = None
    checkpoint_minutes: PositiveFloat = 5.0
    log_steps: Positive = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    channels_last: bool = False


class Training(Loop):
    """The loop, with an optimiser for each network and the weights of the loss's extractors.

    feature_terms: false leaves out the loss terms that compare a fixed network's features
    (perceptual, style); that network is not made. features_fallback: which network answers for a
    VGG that features_weights `auto` finds no weights for; null leaves it with random ones.
    features_reduce: it sees the pictures this many times smaller, which costs it as many squared
    less.
    """

    generator: Optimizer = Optimizer()
    discriminator: Optimizer = Optimizer()
    features_weights: str = "auto"
    features_fallback: Literal["efficientnet_lite0"] | None = None
    feature_terms: bool = True
    features_reduce: Literal[1, 2, 4] = 1


class SegmentationTraining(Loop):
    optimizer: Optimizer = Optimizer()


class AnyRun(Section):
    """What every run has, whatever it trains.

    downloads: false lets `model.pretrained: auto` mean random weights, whatever the network's cache
    or the internet has.
    """

    TERMS: ClassVar[Registry] = losses.TERMS

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str
    profile: str = "full"
    downloads: bool = True
    losses: dict[Word, dict[str, Any]]
    if TYPE_CHECKING:  # every kind of run states these itself, in the order in which it is written
        task: str
        model: Named
        data: FaceData
        training: Loop

    @model_validator(mode="after")
    def _terms(self, info: ValidationInfo) -> AnyRun:
        for name, term in self.losses.items():
            if "weight" not in term:
                raise ValueError(f"losses.{name}: needs a weight, found {shown(term)}")
            try:
                losses.read_term(name, term, self.TERMS)
                if not _names_only(info):
                    _check_term(name, term, self.TERMS)
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
        takes = self.model.takes("pretrained")
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


def _check_term(name: str, term: dict[str, Any], kinds: Registry) -> None:
    """ValueError when a loss term has no such option, or its network no such layer."""
    kind, _, options = losses.read_term(name, term, kinds)
    check_kinds(kinds[kind], options)
    for network, layers in losses.create_loss({name: term}, kinds).layers().items():
        from deocclude.models.features import check_layers

        check_layers(network, layers)


class RunConfig(AnyRun):
    """An inpainting run, resolved.

    loss_on: what loss terms and discriminators see: the whole prediction, or the picture composed
    of the prediction in the hole and the target around it. init_from: a run's name, its folder or
    a weights file whose generator is the start, tensor by tensor of equal name; for a network of
    several parts also one for each, e.g. {coarse: RUN, fine: RUN}; a list in place of a run is the
    mean of their weights. teacher: whose answers a loss term compares with. members: the files
    behind `model.members` of an ensemble, written down at the start.
    """

    task: Literal["inpainting"] = "inpainting"
    as_published: bool = False
    model: InpainterModel
    discriminators: dict[Word, Discriminator] = Field(default_factory=dict)
    features: Features | None = None
    loss_on: Literal["prediction", "composed"] = "prediction"
    init_from: Start | None = None
    teacher: WeightsFile | None = None
    members: tuple[NamedWeights, ...] = ()
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
    def _consistent(self, info: ValidationInfo) -> RunConfig:
        if _names_only(info):
            return self
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
        heard = loss.games(self.discriminators)
        loss.matched(self.discriminators)  # names them rightly
        for name in self.discriminators:
            if name not in heard:
                raise ValueError(
                    f"discriminators: no adversarial loss term listens to {shown(name)}, it would "
                    f"do nothing; `discriminators: {{{name}: null}}` leaves it out"
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

    TERMS: ClassVar[Registry] = losses.SEGMENTATION_TERMS

    task: Literal["segmentation"]
    model: SegmenterModel
    init_from: RunName | None = None
    data: SegmentationData = SegmentationData()
    training: SegmentationTraining = SegmentationTraining()

    def model_options(self) -> dict[str, Any]:
        return self.network_options()


class IdentityTraining(Loop):
    optimizer: Optimizer = Optimizer()


class IdentityConfig(AnyRun):
    """A run that trains an identity network, resolved."""

    TERMS: ClassVar[Registry] = losses.IDENTITY_TERMS

    task: Literal["identity"]
    model: IdentityModel
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
