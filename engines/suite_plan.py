"""What a suite still has to train: each run's state on disk, and what it needs before it."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from data.faces import find_faces
from engines.checkpoint import STATE
from engines.comparison import WEIGHTS, finished_runs, resolve_runs
from engines.config import (
    TASKS,
    AnyRun,
    ConfigError,
    available_runs,
    load_config,
    read_yaml,
)
from engines.datasets import recorded_data
from engines.run_folder import RunFolder

FINISHED, UNFINISHED, MISSING, IMPOSSIBLE = "finished", "unfinished", "missing", "impossible"
IDENTITY_RUN = "EfficientNetB0"  # trained when features are wanted and no identity run is there
TOLERANCE = 0.05  # minutes: a budget is used up when less than this is left
# What changes nothing that is learned, or is told by the run itself once it starts.
IGNORED = (
    "name", "description", "profile", "data.template", "data.cache", "data.cache_gib",
    "data.workers", "data.identities", "training.log_steps", "training.checkpoint_minutes",
    "training.max_minutes", "features",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """How every run of a suite is to be trained. `root`: the data folder, None for built-in faces;
    `data`: as it was named, if it was."""

    output: Path
    profile: str
    overrides: tuple[str, ...] = ()
    root: Path | None = None
    data: Path | None = None
    max_minutes: float | None = None
    device: str = "auto"
    fresh: bool = False


@dataclass
class Job:
    """A run of the suite, or one that another needs.

    `run` is as the suite names it, `name` as its folder is called. `overrides`: the `--set` of the
    request that concern it. `folder` is the finished run, or the one to continue; `minutes`:
    trained so far; `differences`: how a finished one was trained otherwise than asked now;
    `reason`: why it is impossible.
    """

    run: str
    name: str = ""
    task: str = ""
    config: AnyRun | None = None
    overrides: tuple[str, ...] = ()
    state: str = MISSING
    folder: Path | None = None
    minutes: float = 0.0
    differences: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    needed_only: bool = False
    reason: str = ""

    def budget(self, request: Request) -> float | None:
        """Minutes that the whole run may take."""
        own = self.config.training.max_minutes if self.config else None
        return request.max_minutes if request.max_minutes is not None else own


def plan_jobs(runs: tuple[str, ...], request: Request) -> list[Job]:
    """A job for each run and for what it needs, in an order in which they can be trained."""
    jobs: dict[str, Job] = {}
    tasks = {task for run in runs if (task := _task_of(run))}
    for run in runs:
        _add(run, request, jobs, tasks, needed_only=False)
    return list(jobs.values())


def _add(
    run: str,
    request: Request,
    jobs: dict[str, Job],
    tasks: set[str],
    needed_only: bool,
    above: tuple[str, ...] = (),
) -> Job:
    if run.lower() in jobs:
        job = jobs[run.lower()]
        job.needed_only &= needed_only
        return job
    job = _job(run, request, tasks)
    job.needed_only = needed_only
    if job.state in (MISSING, UNFINISHED):
        for other in _needs(job.config, request):
            if other.lower() in (*above, run.lower()):
                job.state, job.reason = IMPOSSIBLE, f"needs itself, by way of {other}"
                break
            job.needs.append(_add(other, request, jobs, tasks, True, (*above, run.lower())).name)
    jobs[run.lower()] = job  # after what it needs
    return job


def _job(run: str, request: Request, tasks: set[str]) -> Job:
    job = Job(run, run)
    try:
        task = _task_of(run)
        if task is None:
            return _finished_job(run, request.output)
        job.overrides = request.overrides
        if task not in tasks:  # needed by a run of another task, whose settings are not its own
            fitting = (o for o in job.overrides if _fits(run, o, request.profile, task))
            job.overrides = tuple(fitting)
        job.task = task
        job.config = load_config(run, request.profile, list(job.overrides), task)
        job.name = job.config.name
        look_up(job, request)
    except (ValueError, OSError) as error:
        job.state, job.reason = IMPOSSIBLE, str(error)
    return job


def _task_of(run: str) -> str | None:
    """The task of a run of ablations/ or of a YAML file; None when `run` names neither."""
    if run.lower().endswith((".yaml", ".yml")) and Path(run).is_file():
        return read_yaml(Path(run)).get("task", "inpainting")
    return next((task for task in TASKS if run.lower() in available_runs(task)), None)


def _finished_job(run: str, output: Path) -> Job:
    """A run that a suite names by its number or folder. ConfigError when it is no run at all."""
    try:
        folder = resolve_runs([run], output)[-1]
    except FileNotFoundError:
        names = [name for task in TASKS for name in available_runs(task)]
        close = difflib.get_close_matches(run.lower(), names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(
            f"{run!r} is no run of ablations/, no YAML file, no finished run below {output}{hint}"
        ) from None
    config = RunFolder(folder).config()
    job = Job(run, config.name, config.task, config)
    job.state, job.folder, job.minutes = FINISHED, folder, minutes_of(folder)
    return job


def _fits(run: str, override: str, profile: str, task: str) -> bool:
    try:
        load_config(run, profile, [override], task)
    except ConfigError:
        return False
    return True


def _needs(config: AnyRun, request: Request) -> Iterator[str]:
    """Names of runs that must be finished before this one starts."""
    source = getattr(config, "init_from", None)
    if source is not None and _task_of(source):
        yield source
    features = getattr(config, "features", None)
    if features is None:
        return
    if features.weights == "auto":
        if not finished_runs(request.output, task="identity"):
            yield IDENTITY_RUN
    elif features.weights != "random" and _task_of(features.weights):
        yield features.weights


def look_up(job: Job, request: Request) -> None:
    """Fill in state, folder, minutes and differences of a job from what lies on the disk.

    A finished run that was trained as asked counts first, then one to continue, then, unless
    `fresh`, a finished one that was trained otherwise.
    """
    job.state, job.folder, job.minutes, job.differences, job.reason = MISSING, None, 0.0, [], ""
    otherwise: tuple[Path, list[str]] | None = None
    unfinished: Path | None = None
    for folder in sorted((request.output / job.name).glob("[0-9]*"), reverse=True):
        try:
            recorded = RunFolder(folder).config()
        except (ValueError, OSError):  # not whole, or of a version that had other keys
            continue
        found = differences(recorded, job.config, folder, request)
        facts = finished_facts(folder)
        if facts is not None and not _may_go_on(facts, job.budget(request)):
            over = _over_budget(facts, job.budget(request))
            if not found and not over:
                job.state, job.folder, job.minutes = FINISHED, folder, facts["minutes"]
                return
            otherwise = otherwise or (folder, found + over)
        elif not found and unfinished is None and _can_continue(folder):
            unfinished = folder
    if unfinished is not None:
        job.state, job.folder, job.minutes = UNFINISHED, unfinished, minutes_of(unfinished)
        if owner := RunFolder(unfinished).owner():
            job.state, job.reason = IMPOSSIBLE, f"{unfinished} is being trained by {owner}"
    elif otherwise is not None and not request.fresh:
        job.state, (job.folder, job.differences) = FINISHED, otherwise
        job.minutes = minutes_of(job.folder)


def finished_facts(folder: Path) -> dict[str, Any] | None:
    """finished.json of a run that has weights; None where there is none, or it was interrupted."""
    mark = folder / "finished.json"
    if not mark.is_file() or not (folder / WEIGHTS).is_file():
        return None
    facts = json.loads(mark.read_text(encoding="utf-8"))
    return None if facts.get("reason") == "interrupted" else facts


def _can_continue(folder: Path) -> bool:
    """Whether there is a checkpoint, or a process that will write one."""
    saved = any((folder / name).is_dir() for name in ("last", ".last.old"))
    return saved or RunFolder(folder).owner() is not None


def _may_go_on(facts: dict[str, Any], budget: float | None) -> bool:
    """Whether a run that a budget stopped has some left of the one asked now."""
    if facts.get("reason") != "max_minutes":
        return False
    return budget is None or facts["minutes"] < budget - TOLERANCE


def _over_budget(facts: dict[str, Any], budget: float | None) -> list[str]:
    """A step and a validation more than the budget are no difference; much more is."""
    if budget is None or facts["minutes"] <= 1.1 * budget + 1:
        return []
    return [f"{facts['minutes']:.1f} minutes (now at most {budget:g})"]


def minutes_of(folder: Path) -> float:
    """Minutes trained: as finished.json says, else as far as the checkpoint goes."""
    mark = folder / "finished.json"
    if mark.is_file():
        return float(json.loads(mark.read_text(encoding="utf-8"))["minutes"])
    for name in ("last", ".last.old"):
        if (path := folder / name / STATE).is_file():
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return state["progress"]["seconds"] / 60
    return 0.0


def differences(recorded: AnyRun, asked: AnyRun, folder: Path, request: Request) -> list[str]:
    """Each setting of a run that is not as asked now: `training.epochs 8 (now 6)`."""
    before, now = _flat(recorded.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    keys = [key for key in dict.fromkeys([*before, *now]) if not _ignored(key)]
    changed = [key for key in keys if before.get(key) != now.get(key)]
    found = [f"{key} {_show(before, key)} (now {_show(now, key)})" for key in changed]
    if changed and recorded.profile != asked.profile:
        found.insert(0, f"profile {recorded.profile} (now {asked.profile})")
    return (
        found
        + _other_faces(recorded, asked, folder, request)
        + _other_features(recorded, asked, request)
    )


def _ignored(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED)


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif value != {}:
            flat[f"{prefix}{key}"] = value
    return flat


def _show(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "not set"


def _other_faces(recorded: AnyRun, asked: AnyRun, folder: Path, request: Request) -> list[str]:
    """Whether the faces that a run was trained on are others than it would be given now."""
    if asked.task == "identity":
        return []
    used = recorded_data(folder, recorded.data).faces
    try:
        given = find_faces(request.root, asked.data.faces, asked.data.size)
    except (FileNotFoundError, ValueError):
        return []  # whoever starts the run says what is missing
    now = "builtin" if given is None else str(given.resolve())
    before = used if used in ("builtin", "auto") else str(Path(used).resolve())
    return [] if before in (now, "auto") else [f"faces {before} (now {now})"]


def _other_features(recorded: AnyRun, asked: AnyRun, request: Request) -> list[str]:
    """A run settles `auto` when it starts: random is a difference once there is a network."""
    before, now = (getattr(config, "features", None) for config in (recorded, asked))
    if before is None or now is None:
        return [] if before is now else [f"features {before and before.name} (now {now})"]
    random = before.weights == "random"
    if now.weights == "auto":
        trained = finished_runs(request.output, task="identity")
        return ["features of random weights (an identity network is there now)"] * bool(
            random and trained
        )
    if random != (now.weights == "random"):
        return [f"features.weights {before.weights} (now {now.weights})"]
    return []
