"""Runs that differ in nothing but their training seed, folded into one row of a table.

What decides that are a run's settings, and those of the runs that it was started from, taught by,
or put together from, without any of their seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deocclude.engines.measures.inpainting import model_row
from deocclude.engines.measures.rows import Row
from deocclude.engines.runs.config import ConfigError, changes, ignored, validate
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
UNEQUAL = ("interrupted",)  # how a training ended that is no repetition of another


@dataclass(frozen=True)
class SeededRow:
    """One row: a single run, or trainings of the same settings by their seeds, in order."""

    name: str
    members: tuple[Trained, ...]
    plain: str  # the name without the number of seeds
    seeds: tuple[int, ...] = ()  # of a folded row, as its members


@dataclass(frozen=True)
class _Told:
    """A run with what decides whether it repeats another: looked up once."""

    run: Trained
    seed: int | None
    settings: dict[str, Any] | None
    problem: str = ""  # why there are no settings

    @property
    def reason(self) -> str | None:
        return (self.run.training or {}).get("reason")


def _tell(member: Trained) -> _Told:
    seed = seed_of(member.checkpoint, member.config)
    try:
        return _Told(member, seed, settings_of(member))
    except ConfigError as error:
        return _Told(member, seed, None, f"its configuration cannot be compared ({error})")


def single(member: Trained) -> SeededRow:
    """A row of its own."""
    return SeededRow(member.name, (member,), member.name)


def fold_seeds(members: Sequence[Trained]) -> tuple[list[SeededRow], list[str]]:
    """Rows for `members`, those of one configuration's name that differ only in the seed together.

    The rows stand where their first member stood. Also a remark for each run that has the name of
    folded ones and is a row of its own, which says what differs; of two runs with the same seed
    the later one counts, with a remark.
    """
    rows: dict[int, SeededRow] = {}
    remarks: list[str] = []
    for name in dict.fromkeys(member.config["name"] for member in members):
        places = [i for i, member in enumerate(members) if member.config["name"] == name]
        if len(places) == 1:
            rows[places[0]] = single(members[places[0]])
            continue
        place_of = {id(members[i]): i for i in places}
        groups = _alike([_tell(members[i]) for i in places])
        folded = [group for group in groups if len({told.seed for told in group}) > 1]
        for group in groups:
            if group in folded:
                rows[place_of[id(group[0].run)]] = _recipe(name, group, len(folded) > 1, remarks)
                continue
            for told in group:
                rows[place_of[id(told.run)]] = single(told.run)
                if folded:
                    remarks.append(_apart(told, folded[0][0]))
    return [rows[place] for place in sorted(rows)], remarks


def _alike(runs: Sequence[_Told]) -> list[list[_Told]]:
    """Groups of runs whose settings are equal but for the seed."""
    groups: list[list[_Told]] = []
    for told in runs:
        for group in groups:
            if not _differences(told, group[0]):
                group.append(told)
                break
        else:
            groups.append([told])
    return groups


def _recipe(name: str, group: list[_Told], several: bool, remarks: list[str]) -> SeededRow:
    latest = {told.seed: told.run for told in group}
    for told in group:
        if (later := latest[told.seed]) is not told.run:
            remarks.append(
                f"{told.run.name} is left out: {later.name} was trained later with "
                f"the same settings and the same seed {told.seed}."
            )
    seeds = tuple(sorted(latest))
    chosen = tuple(latest[seed] for seed in seeds)
    plain = chosen[0].name if several else name
    images = [(member.training or {}).get("images", "unknown") for member in chosen]
    if len(set(images)) > 1:
        shown = ", ".join(f"seed {s}: {count}" for s, count in zip(seeds, images, strict=True))
        remarks.append(f"{plain}: its seeds were trained on different numbers of images ({shown}).")
    sources = [source for member in chosen for source in set(sources_of(member))]
    if shared := sorted({source for source in sources if sources.count(source) > 1}):
        remarks.append(
            f"{plain}: its seeds share {', '.join(shared)}, so their spread is that of the last "
            "training only."
        )
    return SeededRow(f"{plain} ({len(chosen)} seeds)", chosen, plain, seeds)


def _apart(told: _Told, other: _Told, shown: int = 4) -> str:
    found = _differences(told, other)
    name, beside = told.run.name, other.run.name
    if not found:
        return f"{name} is a row of its own."
    more = f"; and {len(found) - shown} more" if len(found) > shown else ""
    listed = "; ".join(found[:shown]).replace(" (now ", f" ({beside}: ")
    return f"{name} is a row of its own, it differs in more than the seed: {listed}{more}."


def _differences(told: _Told, other: _Told) -> list[str]:
    """What is not the same in two different trainings, the seed aside."""
    if None in (told.seed, other.seed):
        return ["its members have different seeds, or none"]
    if told.reason in UNEQUAL or other.reason in UNEQUAL:
        return [f"ended by {told.reason} (now {other.reason})"]
    if problem := told.problem or other.problem:
        return [problem]
    return changes(*level(told.settings, other.settings))


def recipe_row(recipe: SeededRow, device: str | torch.device = "auto", flip: bool = False) -> Row:
    """The row of a single run, or the row that is the mean over its seeds; it opens the first."""
    if len(recipe.members) == 1:
        (member,) = recipe.members
        return model_row(recipe.name, member.checkpoint, device, member.training, flip)
    rows = tuple(
        model_row(
            f"{recipe.plain}, seed {seed}",
            member.checkpoint,
            device,
            {**(member.training or {}), "seed": seed},
            flip,
        )
        for seed, member in zip(recipe.seeds, recipe.members, strict=True)
    )
    first = rows[0]
    training = {**first.training, "seeds": len(rows)}
    minutes = [row.training["minutes"] for row in rows if "minutes" in row.training]
    if minutes:
        training["minutes"] = sum(minutes) / len(minutes)
    identity = " & ".join(row.identity for row in rows)
    name = f"{recipe.name} + flip" if flip else recipe.name
    return Row(name, first.kind, identity, first.open, training, rows)


def reference_among(wanted: str | None, recipes: Sequence[SeededRow]) -> str | None:
    """`wanted`, or the name of the folded row that goes by it without its number of seeds; where
    the runs of that name are several rows, the first of those with the most seeds."""
    if not wanted:
        return wanted
    plain = {recipe.plain.lower(): recipe.name for recipe in recipes}
    named = [r for r in recipes if r.members[0].config["name"].lower() == wanted.lower()]
    if wanted.lower() in plain or not named:
        return plain.get(wanted.lower(), wanted)
    return max(named, key=lambda recipe: len(recipe.members)).name


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
