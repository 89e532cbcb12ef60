"""One validated, frozen configuration a run, from YAML files, a profile and `--set`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

import losses
import models
from models.features import check_layers

ABLATIONS = Path(__file__).resolve().parent.parent / "ablations"

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names key, value, file and what is valid."""


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


def _worker_number(value: Any) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{value!r} must be auto or a whole number from 0")


class Data(_Part):
    """What is read, at which size, and how it is kept.

    faces, masks: a folder, absolute or below the data folder; auto finds one; builtin uses the
    procedural ones.
    """

    faces: str = "auto"
    masks: str = "auto"
    invert_mask: bool = False
    size: Annotated[int, Field(ge=32)] = 256
    fill: Annotated[float, Field(ge=0, le=1)] = 1.0
    flip: bool = False
    cache: Literal["none", "ram", "disk"] = "ram"
    cache_gib: PositiveFloat = 4.0
    workers: Annotated[Any, AfterValidator(_worker_number)] = "auto"
    train_images: Positive | None = None
    builtin_images: Positive = 4000
    validation_pairs: Positive = 240
    test_per_bin: Positive = 500


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


class Training(_Part):
    """batch_size is that of one optimiser step, over all processes and accumulated parts."""

    epochs: Positive = 20
    epoch_images: Positive | None = None
    max_minutes: PositiveFloat | None = None
    batch_size: Positive = 8
    accumulate: Positive = 1
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(_yaml_no)] = "no"
    generator: Optimizer = Optimizer()
    discriminator: Optimizer = Optimizer()
    learning_rate: LearningRate = LearningRate()
    clip_gradients: PositiveFloat | None = None
    ema_decay: Share = 0.999
    early_stop_epochs: Positive | None = None
    checkpoint_minutes: PositiveFloat = 5.0
    log_steps: Positive = 20
    seed: Annotated[int, Field(ge=0)] = 42
    channels_last: bool = False
    features_weights: str = "auto"


class RunConfig(_Part):
    """Everything that makes a run, resolved."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str
    profile: str = "full"
    as_published: bool = False
    model: Model
    discriminator: Discriminator | None = None
    losses: dict[str, dict[str, Any]]
    data: Data = Data()
    training: Training = Training()

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        for name, term in self.losses.items():
            if "weight" not in term:
                raise ValueError(f"losses.{name}: needs a weight, found {term}")
            try:
                for network, layers in losses.create_loss({name: term}).layers().items():
                    check_layers(network, layers)
            except ValueError as error:
                raise ValueError(f"losses.{name}: {error}") from error
        adversarial = losses.create_loss(self.losses).adversarial_kind
        if adversarial and self.discriminator is None:
            raise ValueError("losses: an adversarial term needs a discriminator, it is null")
        if self.discriminator and not adversarial:
            raise ValueError("discriminator: without an adversarial loss term it would do nothing")
        if self.training.batch_size % self.training.accumulate:
            raise ValueError(
                f"training.accumulate: {self.training.accumulate} does not divide "
                f"training.batch_size {self.training.batch_size}"
            )
        return self

    def model_options(self) -> dict[str, Any]:
        """Options of the inpainter, with the published defects when the run asks for them."""
        published = getattr(models.INPAINTERS[self.model.name], "as_published", {})
        return {**(published if self.as_published else {}), **self.model.options}


def available_runs() -> dict[str, Path]:
    """Every run in ablations/ by its lower-case name, sorted."""
    return {path.stem.lower(): path for path in sorted(ABLATIONS.glob("*.yaml"))}


def find_run(name: str | Path) -> Path:
    """The YAML of a name (any case) or a path. ConfigError lists the right names."""
    if str(name).lower().endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    runs = available_runs()
    if str(name).lower() in runs:
        return runs[str(name).lower()]
    close = difflib.get_close_matches(str(name).lower(), runs, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ConfigError(f"{str(name)!r} is no run; valid are {', '.join(runs)}, or a YAML path{hint}")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. ConfigError names the file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold a mapping of keys, found {type(content).__name__}")
    return content


def merge(base: dict, over: dict, source: str, origins: dict[str, str], prefix: str = "") -> dict:
    """`over` laid on `base`, key by key; null removes a loss term. Fills `origins` with each key's
    file.
    """
    merged = dict(base)
    for key, value in over.items():
        dotted = f"{prefix}{key}"
        origins[dotted] = source
        if prefix == "losses." and value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            renamed = "name" in value and value["name"] != merged[key].get("name")
            start = {} if renamed else merged[key]
            merged[key] = merge(start, value, source, origins, f"{dotted}.")
        else:
            merged[key] = (
                merge({}, value, source, origins, f"{dotted}.")
                if isinstance(value, dict)
                else value
            )
    return merged


def _load_chain(path: Path, origins: dict[str, str], seen: tuple[Path, ...] = ()) -> dict:
    """A YAML laid over its `extends` chain."""
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path.name}: extends itself through {[p.name for p in seen]}")
    content = read_yaml(path)
    parent = content.pop("extends", None)
    base: dict = {}
    if parent is not None:
        sibling = path.parent / f"{str(parent).lower()}.yaml"
        base = _load_chain(
            sibling if sibling.is_file() else find_run(parent), origins, (*seen, path)
        )
    return merge(base, content, path.name, origins)


def _overrides(assignments: list[str]) -> dict:
    """["training.epochs=3"] to nested dicts; values are read as YAML."""
    result: dict = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {assignment!r}: must look like training.epochs=3")
        node = result
        *parents, last = key.strip().split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {assignment!r}: {parent!r} was set to a value before")
        try:
            node[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {assignment!r}: {value!r} is not valid YAML") from error
    return result


def load_config(
    run: str | Path, profile: str | None = None, overrides: list[str] | None = None
) -> RunConfig:
    """Resolve a run: its extends chain, then the profile, then `--set` assignments.

    Raises ConfigError that names the key, the value, the file it came from and what would be valid.
    """
    origins: dict[str, str] = {}
    path = find_run(run)
    content = _load_chain(path, origins)
    if "name" not in read_yaml(path):  # a parent's name is not its own
        content["name"] = path.stem
    if profile is not None:
        folder = ABLATIONS / "profiles"
        valid = sorted(p.stem for p in folder.glob("*.yaml"))
        if profile not in valid:
            raise ConfigError(
                f"profile {profile!r} is not known; valid are auto, {', '.join(valid)}"
            )
        overlay = read_yaml(folder / f"{profile}.yaml")
        content = merge(content, {**overlay, "profile": profile}, f"{profile}.yaml", origins)
    content = merge(content, _overrides(overrides or []), "--set", origins)
    return validate(content, path.name, origins)


def validate(content: dict, file: str, origins: dict[str, str] | None = None) -> RunConfig:
    """A mapping to a RunConfig; pydantic's errors become one readable ConfigError."""
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        lines = [_explain(e, file, origins or {}) for e in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _explain(error: dict, file: str, origins: dict[str, str]) -> str:
    parts = [str(p) for p in error["loc"]]
    key = ".".join(parts)
    while parts and ".".join(parts) not in origins:
        parts.pop()
    source = origins.get(".".join(parts), file)
    if error["type"] == "extra_forbidden":
        keys = _valid_keys(error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), keys, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{source}: unknown key {key!r}{hint}; valid are {', '.join(keys)}"
    if error["type"] == "missing":
        return f"{source}: {key!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not key:
        return f"{_sources_of(message, origins) or source}: {message}"
    value = "" if error["type"] == "value_error" else f" = {error['input']!r}"
    return f"{source}: {key}{value}: {message}"


def _sources_of(message: str, origins: dict[str, str]) -> str:
    """Where the loss term that a message begins with was written: the files, or --set."""
    term = message.partition(":")[0]
    return ", ".join(
        dict.fromkeys(source for key, source in origins.items() if f"{key}.".startswith(f"{term}."))
    )


def _valid_keys(location: tuple) -> list[str]:
    node: Any = RunConfig
    for part in location:
        node = {"data": Data, "training": Training, "generator": Optimizer}.get(part, node)
        node = {"discriminator": Optimizer, "learning_rate": LearningRate}.get(part, node)
    return list(node.model_fields)
