"""One validated, frozen configuration a run, from YAML files, a profile and `--set`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from deocclude.data.yaml_files import YamlError, parse_yaml, read_mapping
from deocclude.engines.runs.settings import (
    NAMES_ONLY,
    AnyRun,
)
from deocclude.engines.runs.tasks import ABLATIONS, INPAINTING, TASKS, task_of
from deocclude.names import did_you_mean, shown

RELEASE = ABLATIONS / "release"  # runs of any task, called as they say themselves

# What changes nothing that is learned, or is told by the run itself once it starts.
IGNORED = (
    "name", "description", "profile", "data.template", "data.cache", "data.cache_gib",
    "data.workers", "data.identities", "training.log_steps", "training.checkpoint_minutes",
    "training.max_minutes", "features",
)  # fmt: skip


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names key, value, file and what is valid."""


def available_runs(task: str = INPAINTING) -> dict[str, Path]:
    """Every run of a task in ablations/ by its lower-case name, sorted, then those whose networks
    ship."""
    runs = {path.stem.lower(): path for path in sorted(TASKS[task].runs.glob("*.yaml"))}
    for path in sorted(RELEASE.glob("*.yaml")):
        name, found = _name_and_task(path, path.stat().st_mtime_ns)
        if found == task:
            runs[name.lower()] = path
    return runs


@lru_cache  # a plan of many runs asks hundreds of times
def _name_and_task(path: Path, changed: int) -> tuple[str, str]:
    """Of the run in a file, as it was when it was last changed."""
    return name_in_file(path), task_of(read_yaml(path))


def is_run_file(name: str | Path) -> bool:
    """Whether a run is named by a YAML file that is there."""
    return str(name).lower().endswith((".yaml", ".yml")) and Path(name).is_file()


def name_in_file(path: Path) -> str:
    """How the run of a YAML file is called: what it says itself, else as the file."""
    return str(read_yaml(path).get("name", path.stem))


def run_task(run: str) -> str | None:
    """The task of a run of ablations/ or of a YAML file; None when `run` names neither."""
    if is_run_file(run):
        return read_yaml(Path(run)).get("task", INPAINTING)
    return next((task for task in TASKS if run.lower() in available_runs(task)), None)


def find_run(name: str | Path, task: str = INPAINTING) -> Path:
    """The YAML of a name (any case) or a path. ConfigError lists the right names."""
    if is_run_file(name):
        return Path(name)
    runs = available_runs(task)
    if str(name).lower() in runs:
        return runs[str(name).lower()]
    hint = did_you_mean(str(name), runs)
    for other in TASKS.values():
        if str(name).lower() in available_runs(other.name):
            hint = f"; {name} is trained by {other.script}"
    raise ConfigError(
        f"{shown(str(name))} is no run; valid are {', '.join(runs)}, or a YAML path{hint}"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. ConfigError names the file."""
    try:
        return read_mapping(path)
    except YamlError as error:
        raise ConfigError(str(error)) from error


def merge(base: dict, over: dict, source: str, origins: dict[str, str], prefix: str = "") -> dict:
    """`over` laid on `base`, key by key; null removes a loss term or a discriminator. Fills
    `origins` with each key's file.
    """
    merged = dict(base)
    for key, value in over.items():
        dotted = f"{prefix}{key}"
        origins[dotted] = source
        if prefix in ("losses.", "discriminators.") and value is None:
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


def _load_chain(
    path: Path, origins: dict[str, str], task: str, seen: tuple[Path, ...] = ()
) -> dict:
    """A YAML laid over its `extends` chain."""
    path = path.resolve()
    if path in seen:
        raise ConfigError(
            f"{path.name}: extends itself through {', '.join(each.name for each in seen)}"
        )
    content = _one_discriminator(read_yaml(path))
    parent = content.pop("extends", None)
    base: dict = {}
    if parent is not None:
        if not isinstance(parent, str):
            raise ConfigError(f"{path.name}: extends must be a run's name, found {shown(parent)}")
        sibling = path.parent / f"{parent.lower()}.yaml"
        try:
            above = sibling if sibling.is_file() else find_run(parent, task)
        except ConfigError as error:
            raise ConfigError(f"{path.name}: extends: {error}") from error
        base = _load_chain(above, origins, task, (*seen, path))
    if isinstance(base.get("profiles"), dict):
        parts = base["profiles"].items()
        base["profiles"] = {name: _without_removed(part, content) for name, part in parts}
    return merge(base, content, path.name, origins)


def _without_removed(part: Any, content: dict) -> Any:
    """What a parent's profile says, but for the loss terms and discriminators that a run removes:
    they would come back with it."""
    if not isinstance(part, dict):
        return part  # told later
    part = _one_discriminator(part)
    for section in ("losses", "discriminators"):
        own, removed = part.get(section), content.get(section)
        if isinstance(own, dict) and isinstance(removed, dict):
            gone = {name for name, value in removed.items() if value is None}
            part = {**part, section: {name: own[name] for name in own if name not in gone}}
    return part


def _one_discriminator(content: dict) -> dict:
    """`discriminator:`, as a run with a single one may say, as the one of that name."""
    if "discriminator" not in content:
        return content
    content = dict(content)
    single = {"discriminator": content.pop("discriminator")}
    return content | {"discriminators": {**(content.get("discriminators") or {}), **single}}


def nested(assignments: Sequence[str]) -> dict[str, Any]:
    """["training.epochs=3"] to nested dicts; values are read as YAML."""
    result: dict = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {shown(assignment)}: must look like training.epochs=3")
        node = result
        *parents, last = key.strip().split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(
                    f"--set {shown(assignment)}: {shown(parent)} was set to a value before"
                )
        try:
            node[last] = parse_yaml(value, f"--set {key}")
        except YamlError as error:
            raise ConfigError(str(error)) from error
    return result


def load_config(
    run: str | Path,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    task: str = INPAINTING,
) -> AnyRun:
    """Resolve a run: its extends chain, then the profile, then `--set` assignments.

    Raises ConfigError that names the key, the value, the file it came from and what would be valid;
    also for a run of another `task`.
    """
    return validate(*_resolved(run, profile, overrides, task))


def check_config(
    run: str | Path, profiles: Sequence[str | None], overrides: Sequence[str], task: str
) -> AnyRun:
    """The configuration under the first of these profiles that `load_config` would take, as far as
    can be told without PyTorch: nobody asked networks and loss terms about their options.

    ConfigError when it would take none of them.
    """
    wrong = []
    for profile in profiles:
        try:
            return _validated(*_resolved(run, profile, overrides, task), NAMES_ONLY)
        except ConfigError as error:
            wrong.append(error)
    raise wrong[0]


def own_seed(run: str, profile: str | None) -> int | None:
    """The training seed that a run's configuration says; None for what is no run of ablations/ or
    of a YAML file, or none that is valid."""
    try:
        task = run_task(run)
        return None if task is None else check_config(run, [profile], [], task).training.seed
    except ConfigError:
        return None


def _resolved(
    run: str | Path, profile: str | None, overrides: Sequence[str], task: str
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """What `validate` takes: everything that is set, the run's file, and each key's origin."""
    origins: dict[str, str] = {}
    path = find_run(run, task)
    content = _load_chain(path, origins, task)
    found = content.setdefault("task", INPAINTING)
    if isinstance(found, str) and found in TASKS and found != task:
        raise ConfigError(f"{path.name}: its task is {found}; {TASKS[found].script} trains it")
    if "name" not in read_yaml(path):  # a parent's name is not its own
        content["name"] = path.stem
    own = content.pop("profiles", None) or {}
    if profile is not None:
        folder = TASKS[task].runs / "profiles"
        valid = sorted(p.stem for p in folder.glob("*.yaml"))
        if profile not in valid:
            raise ConfigError(
                f"profile {shown(profile)} is not known; valid are auto, {', '.join(valid)}"
                + did_you_mean(profile, ["auto", *valid])
            )
        overlay = _one_discriminator(read_yaml(folder / f"{profile}.yaml"))
        content = merge(content, {**overlay, "profile": profile}, f"{profile}.yaml", origins)
        content = merge(content, _own_profile(own, profile, valid, path), path.name, origins)
    given = _one_discriminator(nested(overrides))
    return merge(content, given, "--set", origins), path.name, origins


def _own_profile(own: Any, profile: str, valid: list[str], path: Path) -> dict:
    """What a run's `profiles:` changes under this profile."""
    if not isinstance(own, dict) or not all(isinstance(part, dict) for part in own.values()):
        raise ConfigError(
            f"{path.name}: profiles must map a profile's name to keys, found {shown(own)}"
        )
    unknown = [name for name in own if name not in valid]
    if unknown:
        found = ", ".join(each if isinstance(each, str) else shown(each) for each in unknown)
        raise ConfigError(f"{path.name}: profiles: {found} not known; valid are {', '.join(valid)}")
    return _one_discriminator(own.get(profile, {}))


def validate(content: dict, file: str, origins: dict[str, str] | None = None) -> AnyRun:
    """A mapping to its task's configuration; pydantic's errors become one readable ConfigError."""
    _validated(content, file, origins, NAMES_ONLY)  # a typo is told before PyTorch is imported
    return _validated(content, file, origins)


def _validated(
    content: dict,
    file: str,
    origins: dict[str, str] | None,
    context: dict[str, bool] | None = None,
) -> AnyRun:
    task = task_of(content)
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(
            f"{file}: task {shown(task)} is not one of {', '.join(TASKS)}"
            + did_you_mean(str(task), TASKS)
        )
    kind = TASKS[task].config
    try:
        return kind.model_validate(content, context=context)
    except ValidationError as error:
        lines = [_explain(dict(e), file, origins or {}, kind) for e in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def validate_part(kind: type[BaseModel], content: dict[str, Any], source: str) -> Any:
    """A section of a configuration by itself. ConfigError names `source`, the key and the value."""
    try:
        return kind(**content)
    except ValidationError as error:
        lines = [_explain(dict(each), source, {}, kind) for each in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _explain(
    error: dict[str, Any], file: str, origins: dict[str, str], kind: type[BaseModel]
) -> str:
    parts = [str(p) for p in error["loc"]]
    key = ".".join(parts)
    while parts and ".".join(parts) not in origins:
        parts.pop()
    source = origins.get(".".join(parts), file)
    if error["type"] == "extra_forbidden":
        keys = _valid_keys(kind, error["loc"][:-1])
        hint = did_you_mean(str(error["loc"][-1]), keys)
        return f"{source}: unknown key {shown(key)}; valid are {', '.join(keys)}{hint}"
    if error["type"] == "invalid_key" or error["loc"][-1:] == ("[key]",):
        above = [str(part) for part in error["loc"] if part != "[key]"][:-1]
        where = f"{'.'.join(above)}: " if above else ""
        return f"{source}: {where}{shown(error['input'])} stands where a key's name belongs"
    if error["type"] == "missing":
        return f"{source}: {shown(key)} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not key:
        return f"{_sources_of(message, origins) or source}: {message}"
    value = "" if error["type"] == "value_error" else f" = {shown(error['input'])}"
    return f"{source}: {key}{value}: {message}"


def _sources_of(message: str, origins: dict[str, str]) -> str:
    """Where the loss term that a message begins with was written: the files, or --set."""
    term = message.partition(":")[0]
    return ", ".join(
        dict.fromkeys(source for key, source in origins.items() if f"{key}.".startswith(f"{term}."))
    )


def _valid_keys(kind: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys of the part of a configuration that `location` leads to."""
    for part in location:
        if isinstance(part, str):  # a number is a place in a list
            field = kind.model_fields[part].annotation  # a section, one or null, or a list of them
            kind = next(k for k in (*get_args(field), field) if hasattr(k, "model_fields"))
    return list(kind.model_fields)


def possible_profiles(profile: str, root: Path | None, device: str = "auto") -> tuple[str, ...]:
    """A profile as it was named, or those that `auto` may come to mean: PyTorch is not asked."""
    if profile != "auto":
        return (profile,)
    if root is None:
        return ("quick",)
    return ("small", "full") if device == "auto" or device.startswith("cuda") else ("small",)


def choose_profile(root: Path | None, device: str = "auto") -> tuple[str, str]:
    """The profile that `auto` means here, and the sentence that says why."""
    if root is None:
        return "quick", (
            "profile quick: no data folder was given, so this is a short run on built-in faces at "
            "64 px that shows the whole path in minutes; its numbers mean little. For real data: "
            "`python -m data.download faces masks occluders`, or --data FOLDER"
        )
    if "full" in possible_profiles("auto", root, device) and _has_gpu():
        return "full", f"profile full: the published setting, on a GPU, with data from {root}"
    return "small", (
        f"profile small: 64 px, sized for a CPU, with data from {root}; "
        "--profile full is the published setting, meant for a GPU"
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def changes(recorded: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Each key of nested settings, dotted, whose value is not the same; IGNORED ones aside."""
    before, now = _flat(recorded), _flat(asked)
    keys = [key for key in dict.fromkeys([*before, *now]) if not ignored(key)]
    changed = [key for key in keys if before.get(key) != now.get(key)]
    return [f"{key} {_show(before, key)} (now {_show(now, key)})" for key in changed]


def ignored(key: str) -> bool:
    """Whether a dotted key, or one above it, is among IGNORED."""
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED)


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif value != {}:
            flat[f"{prefix}{key}"] = value
    return flat


def _show(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "not set"
