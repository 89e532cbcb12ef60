"""What a suite still has to train: each run's state on disk, and what it needs before it."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.comparison import resolve_runs
from engines.config import (
    TASKS,
    ConfigError,
    available_runs,
    load_config,
    read_yaml,
)
from engines.ensemble_files import is_recipe
from engines.feature_network import AUTO, DEFAULT, RANDOM
from engines.run_folder import RunFolder
from engines.suite_records import (
    differences,
    finished_facts,
    minutes_of,
    missing_data,
    random_features,
    read_config,
)
from engines.suite_request import FINISHED, IMPOSSIBLE, MISSING, UNFINISHED, Job, Request

TOLERANCE = 0.05  # minutes: a budget is used up when less than this is left
# Of `--set data.*`, what holds for runs of any task: the rest says which data one task has.
SHARED_DATA = ("size", "occluders", "cache", "cache_gib", "workers")
NO_FEATURES = "its features come from a network with random weights"


def plan_jobs(runs: tuple[str, ...], request: Request) -> list[Job]:
    """A job for each run and for what it needs, in an order in which they can be trained.

    ConfigError for a profile or a `--set` that suits none of the runs.
    """
    _check_request(runs, request)
    jobs: dict[str, Job] = {}
    tasks = {task for run in runs if (task := _task_of(run))}
    for run in runs:
        _add(run, request, jobs, tasks, needed_only=False)
    return list(jobs.values())


def _check_request(runs: tuple[str, ...], request: Request) -> None:
    """Raise once what would be wrong with every run in the same way."""
    known = [(run, task) for run in runs if (task := _task_of(run))]
    wrong: ConfigError | None = None
    for run, task in known:
        try:
            load_config(run, request.profile, list(request.overrides), task)
            return
        except ConfigError as error:
            wrong = wrong or error
    if wrong is not None and any(_loads(run, None, [], task) for run, task in known):
        raise wrong


def _loads(run: str, profile: str | None, overrides: list[str], task: str) -> bool:
    try:
        load_config(run, profile, overrides, task)
    except ConfigError:
        return False
    return True


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
    if job.state == MISSING:  # one to continue has taken over what it needs
        for other in _needs(job.config):
            if other.lower() in (*above, job.key):
                job.state, job.reason = IMPOSSIBLE, f"needs itself, by way of {other}"
                job.config = None  # so that nothing looks for it again
                break
            job.needs.append(_add(other, request, jobs, tasks, True, (*above, job.key)).key)
    jobs[job.key] = job  # after what it needs
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
    except (ValueError, OSError) as error:
        job.state, job.reason = IMPOSSIBLE, str(error)
        return job
    look_up(job, request)
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
    config = read_config(folder)
    job = Job(run, config.name, config.task, config)
    job.state, job.folder, job.minutes = FINISHED, folder, minutes_of(folder)
    return job


def _fits(run: str, override: str, profile: str, task: str) -> bool:
    """Whether a setting given for runs of one task is one of another task's run as well."""
    first, _, rest = override.partition("=")[0].strip().partition(".")
    if first == "data" and rest.partition(".")[0] not in SHARED_DATA:
        return False
    return _loads(run, profile, [override], task)


def _needs(config: Any) -> Iterator[str]:
    """Names of runs that must be finished before this one starts."""
    teacher, members = getattr(config, "teacher", None), config.model.options.get("members")
    sources = [getattr(config, "init_from", None)]
    if teacher is not None and not is_recipe(teacher.weights):  # an ensemble is no run
        sources.append(teacher.weights)
    sources += members if isinstance(members, list) else []
    for source in sources:
        if source is not None and _task_of(source):
            yield source
    features = getattr(config, "features", None)
    if features is None:
        return
    if features.weights == AUTO:
        yield DEFAULT
    elif features.weights != RANDOM and _task_of(features.weights):
        yield features.weights


def look_up(job: Job, request: Request) -> None:
    """Fill in what a job's state is from what lies on the disk.

    A finished run that was trained as asked counts first, then one to continue, then, unless
    `fresh`, a finished one that was trained otherwise. A damaged one makes the job impossible.
    """
    job.state, job.folder, job.minutes, job.differences = MISSING, None, 0.0, []
    job.reason = job.remark = ""
    try:
        _look_up(job, request)
        if job.state == FINISHED and random_features(job.folder, job.config):
            job.remark = NO_FEATURES
        if job.state == MISSING and (reason := missing_data(job.config, request)):
            job.state, job.reason = IMPOSSIBLE, reason
    except (ValueError, OSError) as error:
        job.state, job.folder, job.reason = IMPOSSIBLE, None, str(error)


def _look_up(job: Job, request: Request) -> None:
    otherwise: tuple[Path, list[str]] | None = None
    unfinished: Path | None = None
    for folder in sorted((request.output / job.name).glob("[0-9]*"), reverse=True):
        try:
            recorded = read_config(folder)
        except ValueError:  # not whole, or of a version that had other keys
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


def finished_folders(job: Job, request: Request) -> set[Path]:
    """Every folder of a job's run that is marked as finished, however it was trained."""
    return {mark.parent for mark in (request.output / job.name).glob("[0-9]*/finished.json")}
