"""What a trained network comes from: its settings, and those of the runs that it was started from,
taught by, or put together from, without any of their seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deocclude.engines.runs.config import ConfigError, ignored, validate
from deocclude.engines.runs.finished import Trained, read_metadata
from deocclude.engines.runs.metadata import WEIGHTS, release_metadata
from deocclude.engines.runs.recipes import (
    MODEL,
    each_start,
    is_recipe,
    read_recipe,
    source_name,
    starts,
)

APART = ", sha256 "  # between the name and the digest of a released features file


def settings_of(member: Trained) -> dict[str, Any]:
    """A run's settings as they are written today, with the folders it really used; each run behind
    it is nested settings, or its name where its file is not to be found.

    ConfigError when the settings cannot be read by this version.
    """
    settings = _settings(member.config, member.checkpoint)
    return settings | {"data": member.data.model_dump(mode="json")}


def seed_of(checkpoint: Path, config: Mapping[str, Any]) -> int | None:
    """The training seed; of an ensemble that was not trained, packed or not, the one that all its
    members share."""
    if is_recipe(checkpoint):
        seeds = {seed_of(p.path, read_metadata(p.path)[0]) for p in read_recipe(checkpoint).members}
    elif _is_packed(config):
        packed = release_metadata(checkpoint).get("members") or ()
        seeds = {entry["config"].get("training", {}).get("seed") for entry in packed}
    else:
        return config.get("training", {}).get("seed")
    return seeds.pop() if len(seeds) == 1 else None


def _is_packed(config: Mapping[str, Any]) -> bool:
    """Whether it is that of an ensemble that was not trained, where it is no YAML file's."""
    return config.get("model", {}).get("name") == MODEL and "training" not in config


def sources_of(member: Trained) -> list[str]:
    """The runs that a run was started from, taught by or put together from, as `name/001`; one
    whose number was not written down is left out."""
    config = member.config
    if is_recipe(member.checkpoint):
        found = [source_name(str(p.path)) for p in read_recipe(member.checkpoint).members]
    else:
        weights = [config.get("teacher"), *(config.get("members") or ())]
        found = [
            *starts(config.get("init_from")),
            *(each["weights"] for each in weights if each),
        ]
    return [source for source in found if source and "/" in source]


def level(one: Any, other: Any) -> tuple[Any, Any]:
    """The same two, a run behind them told by its name in both where one has nothing but that."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: level(one[key], other[key]) for key in one.keys() & other.keys()}
        return (
            one | {key: pair[0] for key, pair in both.items()},
            other | {key: pair[1] for key, pair in both.items()},
        )
    if isinstance(one, dict) and isinstance(other, str):
        return one.get("name"), other
    if isinstance(one, str) and isinstance(other, dict):
        return one, other.get("name")
    return one, other


def _settings(config: Mapping[str, Any], checkpoint: Path | None) -> dict[str, Any]:
    """`checkpoint`: where the configuration's weights lie; None for parts of another file."""
    if checkpoint is not None and is_recipe(checkpoint):
        model, recipe = config["model"], read_recipe(checkpoint)
        files = [_behind(str(pointer.path), checkpoint) for pointer in recipe.members]
        return {"model": model, "members": _numbered(files)}
    if _is_packed(config):
        return {"model": config["model"], "members": _members(config, checkpoint)}
    settings = validate(dict(config), str(checkpoint or config.get("name"))).model_dump(mode="json")
    settings["training"].pop("seed")
    if (features := settings.pop("features", None)) is not None:
        weights = source_name(features["weights"].partition(APART)[0])
        settings["conditioned_on"] = features | {"weights": weights}
    if settings.get("init_from") is not None:
        settings["init_from"] = each_start(
            settings["init_from"], lambda start: _behind(start, checkpoint)
        )
    teacher = settings.get("teacher")
    if teacher is not None and not is_recipe(teacher["weights"]):
        settings["teacher"] = _behind(teacher["weights"], checkpoint)
    if settings["model"]["name"] == MODEL:
        settings["members"] = _members(settings, checkpoint)
    return settings


def _members(settings: Mapping[str, Any], checkpoint: Path | None) -> dict[str, Any]:
    """Those of an ensemble that is a weights file, which tells them with their settings."""
    entries = release_metadata(checkpoint).get("members") if checkpoint is not None else None
    if not entries:
        named = settings.get("members") or ()
        return _numbered([_behind(each["weights"], checkpoint) for each in named])
    sources = []
    for entry in entries:
        there = checkpoint.parent / entry["weights"] if "weights" in entry else None
        if there is not None and there.is_file():
            sources.append(_behind(str(there.resolve()), checkpoint))
        else:
            sources.append(_nested(entry["config"], None))
    return _numbered(sources)


def _numbered(sources: list[Any]) -> dict[str, Any]:
    return {str(number): source for number, source in enumerate(sources, start=1)}


def _behind(source: str, checkpoint: Path | None) -> dict[str, Any] | str:
    """The settings of a weights file or of `name/001` in the folder of runs that holds
    `checkpoint`; the run's name where that is not there or not to be read."""
    file = Path(source)
    if file.name != WEIGHTS and checkpoint is not None:
        file = checkpoint.parent.parent.parent / source / WEIGHTS
    if not file.is_file():
        return source_name(source).partition("/")[0]
    try:
        return _nested(read_metadata(file)[0], file)
    except ValueError:
        return source_name(source).partition("/")[0]


def _nested(config: Mapping[str, Any], checkpoint: Path | None) -> dict[str, Any] | str:
    try:
        settings = _settings(config, checkpoint)
    except ConfigError:
        return config["name"]
    return _learned(settings) | {"name": config["name"]}


def _learned(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings without those that change nothing that is learned."""
    kept = {key: value for key, value in settings.items() if not ignored(f"{prefix}{key}")}
    return {
        key: _learned(value, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in kept.items()
    }
