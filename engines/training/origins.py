"""What a run is made from: its data, and every name in its configuration told its file, once.

No network is made here, and no weights are read.
"""

import logging
from pathlib import Path
from typing import Any

from deocclude.data.files import sha256
from deocclude.data.sources.faces import AnySources
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.runs.finished import (
    DEFAULT,
    MAKE_IDENTITY,
    RANDOM,
    identity_file,
    member_files,
    read_metadata,
    weights_file,
)
from deocclude.engines.runs.folder import RunFolder, recorded_data
from deocclude.engines.runs.recipes import (
    MODEL,
    MemberFile,
    Pointer,
    check_splits,
    each_start,
    is_recipe,
    members_of,
    source_name,
)
from deocclude.engines.runs.settings import AnyRun, Features, NamedWeights, WeightsFile
from deocclude.engines.runs.tasks import IDENTITY, open_any_sources, task_of
from deocclude.names import shown

logger = logging.getLogger(__name__)
NO_INFORMATION = "which gives nearly the same numbers for every picture: in effect no features"


def settle(
    config: AnyRun, root: Path | None, runs: Path, folder: RunFolder | None = None
) -> tuple[AnyRun, AnySources]:
    """The configuration with nothing left to tell, and what it reads.

    The sources tell template and people; a new run's names get their files as of `settled`. A run
    that goes on, in `folder`, has those, and reads what it recorded, unless `root` is given.
    FileNotFoundError or ValueError says what is missing.
    """
    data, split = config.data, None
    if folder is not None:
        split = folder.path / "split.json"
        data = recorded_data(folder.path, data) if root is None else data
    sources = open_any_sources(config.model_copy(update={"data": data}), root, split)
    told = {
        name: getattr(sources.data, name)
        for name in ("template", "identities")
        if hasattr(config.data, name)
    }
    config = config.model_copy(update={"data": config.data.model_copy(update=told)})
    return config if folder is not None else settled(config, runs), sources


def settled(config: AnyRun, runs: Path) -> AnyRun:
    """The same with the weights it starts from, learns from or combines found below `runs`.
    FileNotFoundError or ValueError for what is not there, before anything is read or trained."""
    for tell in (tell_start, tell_features, tell_teacher, tell_members):
        config = config.model_copy(update=tell(config, runs))
    return config


def tell_start(config: AnyRun, runs: Path) -> dict[str, Any]:
    """`init_from` with files for runs."""
    start = getattr(config, "init_from", None)
    if start is None:
        return {}
    return {"init_from": each_start(start, lambda name: str(weights_file(name, runs).resolve()))}


def tell_features(config: AnyRun, runs: Path) -> dict[str, Any]:
    """`features` with `weights` told, `random` or a weights file, and that network's options.
    ValueError for a run that trained something else."""
    features = getattr(config, "features", None)
    if features is None or features.weights == RANDOM:
        return {}
    file = identity_file(features.weights, runs)
    if file is None:
        logger.warning(
            "features  no finished run of %s below %s: the embedding comes from a network "
            "with random weights, " + NO_INFORMATION + "; %s",
            DEFAULT, runs, MAKE_IDENTITY,
        )  # fmt: skip
        return {"features": features.model_copy(update={"weights": RANDOM})}
    found, _ = read_metadata(file)
    if task_of(found) != IDENTITY:
        raise ValueError(
            f"features.weights: {file} was trained for {task_of(found)}, "
            f"an identity network is needed; {MAKE_IDENTITY}"
        )
    return {"features": Features(weights=str(file.resolve()), **found["model"])}


def tell_teacher(config: AnyRun, runs: Path) -> dict[str, Any]:
    """`teacher` with its file and the file's digest; ValueError where that is another one than was
    written down."""
    teacher = getattr(config, "teacher", None)
    if teacher is None:
        return {}
    if is_recipe(teacher.weights):
        file = Path(teacher.weights)
        if not file.is_file():
            raise FileNotFoundError(f"teacher: {file}: no such ensemble file")
    else:
        file = weights_file(teacher.weights, runs)
    digest = teacher_digest(file, teacher.sha256)
    return {"teacher": WeightsFile(weights=str(file.resolve()), sha256=digest)}


def teacher_digest(file: Path, recorded: str | None) -> str:
    """What the file of a teacher is; ValueError where that is not what was written down."""
    found = weights_identity(file)
    if recorded is not None and found != recorded:
        raise ValueError(
            f"teacher: {file} has identity {found[:12]}..., written down at the start was "
            f"{recorded[:12]}...: it, or a member of it, was trained anew or replaced; bring the "
            "old file back, or start a new run"
        )
    return found


def tell_members(config: AnyRun, runs: Path) -> dict[str, Any]:
    """`members` with the weights files of `model.members`, and their labels in their place.

    `model.members` are runs' names below `runs`, their folders or weights files; labels that were
    written down before stand for the files in `members`. ValueError for what does not fit together
    or does not fit this run's data, and for an ensemble that has nothing to train.
    """
    members = getattr(config, "members", ())
    if config.model.name != MODEL:
        if members:
            raise ValueError(f"members: are for the model {MODEL}, not for {config.model.name}")
        return {}
    combination = config.model_options().get("combination", "mean")
    if combination != "gate":
        raise ValueError(
            f"model.combination: {shown(combination)} has nothing to train, only gate has; "
            "`python -m engines.ensemble fit` makes the others"
        )
    named = config.model_options().get("members") or ()
    if not isinstance(named, list | tuple) or not all(isinstance(one, str) for one in named):
        raise ValueError(f"model.members: must be a list of runs or files, found {shown(named)}")
    if [member.name for member in members] == list(named):
        files = pointers(members)
    else:
        files = member_files(named, runs)
    found = members_of(files, "model.members")
    check_splits([member.path for member in found], "model.members")
    _check_data(config, found)
    labels = [member.label for member in found]
    told = tuple(
        NamedWeights(name=m.label, weights=str(m.path.resolve()), sha256=m.sha256) for m in found
    )
    model = type(config.model)(name=MODEL, **config.model.options | {"members": labels})
    return {"model": model, "members": told}


def pointers(members: tuple[NamedWeights, ...]) -> list[Pointer]:
    """The files of members that a configuration wrote down."""
    return [Pointer(Path(member.weights), member.sha256) for member in members]


def _check_data(config: AnyRun, members: tuple[MemberFile, ...]) -> None:
    """ValueError unless the run trains on what its members were trained on."""
    if config.data.hidden_by == "occluders":
        raise ValueError(
            f"data.hidden_by: {config.data.hidden_by}, but the members are told where the hole is; "
            "set data.hidden_by=masks"
        )
    theirs = members[0].config["data"]
    for key, other in (("size", theirs["size"]), ("template", theirs.get("template", "ffhq"))):
        own = getattr(config.data, key)
        if own not in (other, "auto"):
            raise ValueError(
                f"data.{key}: {own}, but the members were trained with {other}; "
                f"set data.{key}={other}"
            )


def as_released(config: AnyRun) -> dict[str, Any]:
    """A settled configuration as a weights file states it: no path of this machine."""
    content = config.model_dump(mode="json")
    content["model"] = {"name": config.model.name, **config.model_options()}
    if content.get("init_from") is not None:
        content["init_from"] = each_start(content["init_from"], source_name)
    if content.get("features") is not None:
        content["features"]["weights"] = features_source(content["features"]["weights"])
    for each in (content.get("teacher"), *content.get("members", ())):
        if each is not None:
            each["weights"] = source_name(each["weights"])
    return content


def features_source(weights: str) -> str:
    """What a record says of where features came from."""
    file = Path(weights)
    if weights == RANDOM or not file.is_file():
        return file.name
    return f"{file.parent.parent.name}/{file.parent.name}, sha256 {sha256(file)}"
