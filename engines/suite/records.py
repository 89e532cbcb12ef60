"""What a run's folder says of it: its end, its minutes, and what it was trained with that is not
as a suite asks now."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from deocclude.data.faces.identities import BEGINNING, find_identities, people_of
from deocclude.data.faces.layout import find_faces
from deocclude.data.files import sha256
from deocclude.engines.runs.config import changes, load_config, read_yaml
from deocclude.engines.runs.finished import AUTO, DEFAULT, RANDOM, newest_identity, weights_file
from deocclude.engines.runs.folder import RunFolder, no_result, read_end, recorded_data
from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.recipes import each_start, read_recipe, source_name, starts
from deocclude.engines.runs.settings import AnyRun, RunConfig
from deocclude.engines.runs.tasks import IDENTITY
from deocclude.engines.runs.weights import STATE
from deocclude.engines.suite.request import FINISHED, Request, SuiteJob
from deocclude.engines.training.origins import tell_members, tell_teacher
from deocclude.names import shown

BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError)  # a file cut short or edited
DAMAGED = (*BROKEN, RuntimeError, EOFError, pickle.UnpicklingError)


def read_config(folder: Path) -> AnyRun:
    """A run's config.yaml. ValueError names one that is missing, damaged, or of other keys."""
    try:
        return RunFolder(folder).config()
    except (*BROKEN, yaml.YAMLError) as error:
        raise ValueError(f"{folder / 'config.yaml'}: cannot be read ({error})") from error


def finished_facts(folder: Path) -> dict[str, Any] | None:
    """finished.json of a run that has weights; None where there is none, or it was interrupted, or
    its budget ended it before its weights were a result.

    ValueError names a damaged one.
    """
    if not (folder / "finished.json").is_file() or not (folder / WEIGHTS).is_file():
        return None
    facts = _read_facts(folder)
    return None if facts.get("reason") == "interrupted" or no_result(folder) else facts


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = read_end(folder)
        return facts | {"minutes": float(facts["minutes"])}
    except BROKEN as error:
        mark = folder / "finished.json"
        raise ValueError(
            f"{mark}: damaged, without the minutes trained; {_remedy(folder)}"
        ) from error


def _remedy(folder: Path) -> str:
    return f"move {folder} away and it is trained anew"


def minutes_of(folder: Path) -> float:
    """Minutes trained: as finished.json says, else as far as the checkpoint goes. ValueError names
    a damaged file."""
    if (folder / "finished.json").is_file():
        return _read_facts(folder)["minutes"]
    for name in ("last", ".last.old"):
        if not (path := folder / name / STATE).is_file():
            continue
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return float(state["progress"]["seconds"]) / 60
        except DAMAGED as error:
            short = str(error).partition("\n")[0]
            raise ValueError(f"{path}: damaged ({short}); {_remedy(folder)}") from error
    return 0.0


def differences(
    recorded: AnyRun, asked: AnyRun, folder: Path, request: Request, waits: bool = False
) -> list[str]:
    """Each setting of a run that is not as asked now: `training.epochs 8 (now 6)`. `waits` as of a
    job."""
    asked = _with_weights(asked, recorded, request, waits)
    found = changes(_by_digest(recorded), _by_digest(asked))
    if found and recorded.profile != asked.profile:
        found.insert(0, f"profile {recorded.profile} (now {asked.profile})")
    return (
        found
        + _other_faces(recorded, asked, folder, request)
        + _other_people(recorded, asked)
        + _other_features(recorded, asked, request)
    )


def _with_weights(asked: AnyRun, recorded: AnyRun, request: Request, waits: bool) -> AnyRun:
    """`asked` with its teacher and members told as at a start; as recorded where they are gone,
    which whoever starts the run says. By their names where the run `waits` for one of its seed:
    one of another seed that has the name is not meant."""
    if not isinstance(asked, RunConfig) or not isinstance(recorded, RunConfig):
        return asked
    try:
        if waits:
            _check_sources(recorded)
            return asked
        told = {
            "init_from": _start(asked.init_from, recorded.init_from, request.output),
            **tell_teacher(asked, request.output),
            **tell_members(asked, request.output),
        }
        return asked.model_copy(update=told)
    except (OSError, ValueError):
        told = {key: getattr(recorded, key) for key in ("init_from", "teacher", "members")}
        if recorded.members and asked.model.name == recorded.model.name:
            named = {"members": recorded.model.options["members"]}
            told["model"] = asked.model.model_copy(update=named)
        return asked.model_copy(update=told)


def _check_sources(recorded: RunConfig) -> None:
    """FileNotFoundError for a weights file that a run was made from and that is gone."""
    teacher = () if recorded.teacher is None else (recorded.teacher,)
    files = [*starts(recorded.init_from), *(each.weights for each in (*teacher, *recorded.members))]
    for file in files:
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f"{file}: no such file")


def _start(asked: Any, recorded: Any, runs: Path) -> Any:
    """`init_from` as a start tells it, or as recorded by a run of before, which told the name that
    it was given, if it is one of that name."""
    if isinstance(asked, dict) and isinstance(recorded, dict):
        return {part: _start(one, recorded.get(part), runs) for part, one in asked.items()}
    if isinstance(asked, tuple) and isinstance(recorded, tuple) and len(asked) == len(recorded):
        return tuple(_start(*each, runs) for each in zip(asked, recorded, strict=True))
    if not isinstance(asked, str) or not isinstance(recorded, str):
        return asked
    file = weights_file(asked, runs).resolve()
    of_before = not Path(recorded).is_absolute()
    named = file.parent.parent.name.lower() == recorded.lower()  # which any case may spell
    return recorded if of_before and named else str(file)


def _by_digest(config: AnyRun) -> dict[str, Any]:
    """A configuration as plain values, weights files by what they are, not by where they lie."""
    content = config.model_dump(mode="json")
    if content.get("init_from") is not None:
        content["init_from"] = each_start(content["init_from"], source_name)
    if content.get("teacher") is not None:
        content["teacher"] = content["teacher"]["sha256"] or content["teacher"]["weights"]
    if content.get("members"):
        content["members"] = [member["sha256"] for member in content["members"]]
    return content


def _other_faces(recorded: AnyRun, asked: AnyRun, folder: Path, request: Request) -> list[str]:
    """Whether the faces that a run was trained on are others than it would be given now."""
    try:
        used = recorded_data(folder, recorded.data).faces
    except BROKEN as error:
        raise ValueError(f"{folder / 'environment.json'}: damaged; {_remedy(folder)}") from error
    try:
        given = _find_faces(asked, request)
    except (OSError, ValueError):
        return []  # `missing_data` says what is missing
    now = "builtin" if given is None else str(given.resolve())
    before = used if used in ("builtin", "auto") else str(Path(used).resolve())
    return [] if before in (now, "auto") else [f"faces {before} (now {now})"]


def _find_faces(config: AnyRun, request: Request) -> Path | None:
    """The folder that a run would read faces, or people, from; errors as of its start."""
    root = request.root_of(config.task)
    if config.task != IDENTITY:
        return find_faces(root, config.data.faces, config.data.size)
    folder = find_identities(root, config.data.faces)
    if folder is not None:
        people_of(folder, config.data.identities)
    return folder


def _other_people(recorded: AnyRun, asked: AnyRun) -> list[str]:
    """A run tells its people when it starts; only those that are asked for by name can differ."""
    before, now = (getattr(config.data, "identities", None) for config in (recorded, asked))
    if now is None or before == now:
        return []
    return [f"data.identities of {len(before or ())} people (now {len(now)})"]


def _other_features(recorded: AnyRun, asked: AnyRun, request: Request) -> list[str]:
    """A run settles `auto` when it starts: random is a difference once there is a network, and so
    is one that learned other people than would be given now."""
    before, now = (getattr(config, "features", None) for config in (recorded, asked))
    if before is None or now is None:
        names = [shown(each and each.name) for each in (before, now)]
        return [] if before is now else [f"features {names[0]} (now {names[1]})"]
    random = before.weights == RANDOM
    if now.weights == AUTO and random:
        there = newest_identity(request.output) is not None
        return ["features of random weights (an identity network is there now)"] * there
    if now.weights == AUTO:
        return [f"features learned from {text}" for text in _network_faces(before.weights, request)]
    if random != (now.weights == RANDOM):
        return [f"features.weights {before.weights} (now {now.weights})"]
    return []


def _network_faces(weights: str, request: Request) -> list[str]:
    """As `_other_faces`, of the identity run whose weights file this is; nothing if it is gone."""
    folder = Path(weights).parent
    try:
        recorded = read_config(folder)
        if recorded.task != IDENTITY:
            return []
        asked = load_config(DEFAULT, request.profile, [], IDENTITY)
        return _other_faces(recorded, asked, folder, request)
    except ValueError:
        return []


def random_features(folder: Path, asked: AnyRun) -> bool:
    """Whether a run whose features were to be a trained network's had none."""
    wanted = getattr(asked, "features", None)
    if wanted is None or wanted.weights == RANDOM:
        return False
    used = getattr(read_config(folder), "features", None)
    return used is not None and used.weights == RANDOM


def missing_data(config: AnyRun, request: Request) -> str:
    """Why there are no faces for a new run, in a sentence; empty when there are."""
    if getattr(config.data, "pairs", None) is not None:
        return ""  # a set instead; whoever starts the run says what is missing
    try:
        _find_faces(config, request)
    except (OSError, ValueError) as error:
        return f"{error}{_people_hint(config, request)}"
    return ""


def _people_hint(config: AnyRun, request: Request) -> str:
    """Where an identity run's people may be: a folder beside the data folder, as occluders are."""
    if config.task != IDENTITY:
        return ""
    root = request.root_of(IDENTITY)
    for folder in sorted(root.resolve().parent.iterdir()) if root is not None else ():
        if folder.is_dir() and folder.name.lower().startswith(BEGINNING):
            try:
                people_of(folder)
            except OSError:
                continue
            return f"; there are some in {folder}: --identities {folder}"
    return "; --identities DIR names a folder that holds some"


def is_fitted(job: SuiteJob, members: Sequence[SuiteJob]) -> bool:
    """Whether an ensemble's file is there and was fitted as asked now, to these very weights."""
    if not job.folder.is_file() or any(member.state != FINISHED for member in members):
        return False
    try:
        recipe = read_recipe(job.folder)
        asked = (read_yaml(job.folder).get("fitted") or {}).get("asked")
        if (recipe.combination, asked) != (job.ensemble.combination, job.ensemble.pairs):
            return False
        files = [(member.folder / WEIGHTS).resolve() for member in members]
        if [pointer.path for pointer in recipe.members] != files:
            return False
        return [pointer.sha256 for pointer in recipe.members] == [sha256(file) for file in files]
    except (ValueError, OSError):
        return False  # it is the suite's own, to be made again
