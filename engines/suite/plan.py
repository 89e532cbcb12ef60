"""What a suite still has to train: each run's state on disk, and what it needs before it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deocclude.engines.evaluation.suites import FixedEnsemble, Suite, common_seed
from deocclude.engines.runs.config import (
    ConfigError,
    available_runs,
    load_config,
    own_seed,
    run_task,
)
from deocclude.engines.runs.finished import AUTO, DEFAULT, RANDOM, resolve_runs
from deocclude.engines.runs.folder import FolderLock
from deocclude.engines.runs.recipes import MODEL, is_recipe, starts
from deocclude.engines.runs.tasks import INPAINTING, TASKS
from deocclude.engines.suite.records import (
    differences,
    finished_facts,
    is_fitted,
    minutes_of,
    missing_data,
    random_features,
    read_config,
)
from deocclude.engines.suite.request import (
    FINISHED,
    IMPOSSIBLE,
    MISSING,
    UNFINISHED,
    Request,
    SuiteJob,
    check_request,
    job_key,
)
from deocclude.names import did_you_mean

TOLERANCE = 0.05  # minutes: a budget is used up when less than this is left
# Of `--set data.*`, what holds for runs of any task: the rest says which data one task has.
SHARED_DATA = ("size", "occluders", "cache", "cache_gib", "workers")
START, TEACHER, MEMBERS = "init_from", "teacher", "model.members"
NO_FEATURES = "its features come from a network with random weights"


def plan_jobs(
    runs: tuple[str, ...],
    request: Request,
    ensembles: Iterable[FixedEnsemble] = (),
    folder: Path = Path(),
) -> list[SuiteJob]:
    """As `plan_suite`, of a suite of one table."""
    return plan_suite(Suite("", runs, (), None, ensembles=tuple(ensembles)), request, folder)


def plan_suite(suite: Suite, request: Request, folder: Path) -> list[SuiteJob]:
    """A job for each run and each ensemble of each seed, and for what they need, in an order in
    which they can be trained: the first seed of every table before the second ones, so that a plan
    cut short has whole repetitions. The ensembles' files lie below `folder`.

    ConfigError for a profile or a `--set` that suits none of the runs, and for an ensemble that has
    a run's name or a member that cannot be one.
    """
    every = (*suite.runs, *(member for each in suite.ensembles for member in each.members))
    check_request(
        every, lambda run, task: load_config(run, request.profile, request.overrides, task)
    )
    tasks = {task for run in every if (task := run_task(run))}
    plan = _Plan(request, tasks, suite.yaml_files(), any(map(request.seeds_of, suite.parts())))
    for ensemble in suite.ensembles:
        if run_task(plan.spelled(ensemble.name)) is not None:
            raise ConfigError(f"ensemble {ensemble.name}: a run is called so, choose another name")
    tables = [(table, request.seeds_of(table) or (None,)) for table in suite.parts()]
    plan.rows = {
        job_key(run, plan.own_seed(run) if seed is None else seed)
        for table, seeds in tables
        for run in table.runs
        for seed in seeds
    }
    for turn in range(max(len(seeds) for _, seeds in tables)):
        now = [(table, seeds[turn]) for table, seeds in tables if turn < len(seeds)]
        for table, seed in now:
            for run in table.runs:
                plan.add_row(run, seed)
        for table, seed in now:
            for ensemble in table.ensembles:
                plan.add_ensemble(ensemble, seed, folder)
    return list(plan.jobs.values())


@dataclass
class _Plan:
    """The jobs found so far, by their keys. `tasks`: those of the runs that are asked for; `files`:
    the YAML files among these, by the names of their runs in lower case; `has_seeds`: whether a
    table has some, so that every row has its number; `rows`: the keys of the runs in tables."""

    request: Request
    tasks: set[str]
    files: dict[str, str]
    has_seeds: bool
    rows: set[str] = field(default_factory=set)
    jobs: dict[str, SuiteJob] = field(default_factory=dict)

    def spelled(self, run: str) -> str:
        """A run as the suite names it, where it names its YAML."""
        return run if run_task(run) is not None else self.files.get(run.lower(), run)

    def own_seed(self, run: str) -> int | None:
        """That of a run's configuration, where a job has to be told from those of other seeds."""
        return own_seed(run, self.request.profile) if self.has_seeds else None

    def add_row(self, run: str, seed: int | None) -> None:
        """The job of a table's run, `seed` None for a table without."""
        job = self.add(run, self.own_seed(run) if seed is None else seed, needed_only=False)
        self.jobs[job.key] = replace(job, own_seed=job.own_seed or seed is None)

    def add(
        self, run: str, seed: int | None, needed_only: bool, above: tuple[str, ...] = ()
    ) -> SuiteJob:
        """The job of a run, after those that it needs. `above`: the keys of those that need it."""
        if run_task(run) is None:
            seed = None  # a finished run is what it is
        elif seed is None and job_key(run, own := self.own_seed(run)) in self.rows:
            seed = own
        key = job_key(run, seed)
        if (job := self.jobs.get(key)) is not None:
            self.jobs[key] = replace(job, needed_only=job.needed_only and needed_only)
            return self.jobs[key]
        job, wanted = self._look(run, seed, above)
        needs: list[str] = []
        if job.state == MISSING:  # one to continue has taken over what it needs
            for other, other_seed in wanted:
                if job_key(other, other_seed) in (*above, key):
                    job = job.found(IMPOSSIBLE, reason=f"needs itself, by way of {other}")
                    job = replace(job, config=None)  # so that nothing looks for it again
                    break
                needs.append(self.add(other, other_seed, True, (*above, key)).key)
        self.jobs[key] = replace(job, needed_only=needed_only, needs=needs)  # after what it needs
        return self.jobs[key]

    def add_ensemble(self, ensemble: FixedEnsemble, seed: int | None, folder: Path) -> None:
        """The job of a table's ensemble, after its members; `seed` as of a row."""
        named = [self.spelled(run) for run in ensemble.members]
        if own := seed is None:
            seed = common_seed(map(self.own_seed, named))
        members = [self.add(run, seed, needed_only=True) for run in named]
        for member in members:
            if why := _no_member(member):
                raise ConfigError(f"ensemble {ensemble.name}: {member.run} {why}")
        job = SuiteJob(
            ensemble.name,
            ensemble.name,
            INPAINTING,
            needs=[member.key for member in members],
            seed=seed,
            ensemble=ensemble,
            folder=ensemble.file(folder, seed),
        )
        own = own or (job.key in self.jobs and self.jobs[job.key].own_seed)
        self.jobs[job.key] = look_up_ensemble(replace(job, own_seed=own), members)

    def _look(
        self, run: str, seed: int | None, above: tuple[str, ...] = ()
    ) -> tuple[SuiteJob, list[tuple[str, int | None]]]:
        """A job with its state, not entered in the plan, and the runs and seeds that it needs."""
        if (known := self.jobs.get(job_key(run, seed))) is not None:
            return known, []
        job = _job(run, seed, self.request, self.tasks)
        if job.config is None or job.state == FINISHED:
            return job, []
        named = [(self.spelled(source), own) for source, own in _named(job)]
        needs = [(source, own) for source, own in named if run_task(source) is not None]
        if seed is not None:
            above = (*above, job.key)
            there = [self._look(*need, above)[0] for need in needs if job_key(*need) not in above]
            job = use_sources(job, there, self.request)
        return look_up(job, self.request), needs


def _no_member(job: SuiteJob) -> str:
    """Why a run is none of an ensemble, as far as its configuration says; empty when it may be."""
    if job.task not in ("", INPAINTING):
        return f"is trained for {job.task}; an inpainter is needed"
    is_ensemble = job.config is not None and job.config.model.name == MODEL
    return "is an ensemble; name its members instead" if is_ensemble else ""


def _job(run: str, seed: int | None, request: Request, tasks: set[str]) -> SuiteJob:
    """A job without a look at what there is of it on the disk, unless it is a finished run."""
    task, overrides = "", request.overrides
    try:
        task = run_task(run)
        if task is None:
            return _finished_job(run, request.output)
        if task not in tasks:  # needed by a run of another task, whose settings are not its own
            overrides = tuple(o for o in overrides if _fits(run, o, request.profile, task))
        if seed is not None:
            overrides = (*overrides, f"training.seed={seed}")
        config = load_config(run, request.profile, list(overrides), task)
        return SuiteJob(run, config.name, task, config, overrides, seed=seed)
    except (ValueError, OSError) as error:
        job = SuiteJob(run, run, task or "", overrides=overrides, seed=seed)
        return job.found(IMPOSSIBLE, reason=str(error))


def use_sources(job: SuiteJob, needed: Iterable[SuiteJob], request: Request) -> SuiteJob:
    """A run of one seed starts from, learns from and combines the runs of that seed that are
    finished or to be continued, whichever others of their names there are."""
    own = [other for other in needed if other.seed == job.seed]
    if job.seed is None or not own:
        return job
    folders = {
        name.lower(): str(other.folder.resolve())
        for other in own
        if other.folder is not None
        for name in (other.name, other.run)
    }
    found = {}
    for key, named in _sources(job.config):
        told = [folders.get(name.lower(), name) for name in named]
        if told != list(named):
            found[key] = told if key == MEMBERS else told[0]
    job = replace(job, waits=any(other.folder is None for other in own))
    if not found:
        return job
    overrides = (*job.overrides, *(f"{key}={json.dumps(told)}" for key, told in found.items()))
    config = load_config(job.run, request.profile, list(overrides), job.task)
    return replace(job, overrides=overrides, config=config)


def _finished_job(run: str, output: Path) -> SuiteJob:
    """A run that a suite names by its number or folder. ConfigError when it is no run at all."""
    try:
        folder = resolve_runs([run], output)[-1]
    except FileNotFoundError:
        names = [name for task in TASKS for name in available_runs(task)]
        raise ConfigError(
            f"{run!r} is no run of ablations/, no YAML file, no finished run below {output}"
            + did_you_mean(run, names)
        ) from None
    config = read_config(folder)
    job = SuiteJob(run, config.name, config.task, config)
    return job.found(FINISHED, folder, minutes=minutes_of(folder))


def _fits(run: str, override: str, profile: str, task: str) -> bool:
    """Whether a setting given for runs of one task is one of another task's run as well."""
    first, _, rest = override.partition("=")[0].strip().partition(".")
    if first == "data" and rest.partition(".")[0] not in SHARED_DATA:
        return False
    try:
        load_config(run, profile, [override], task)
    except ConfigError:
        return False
    return True


def _named(job: SuiteJob) -> Iterator[tuple[str, int | None]]:
    """Runs and files that must be there before this one starts, and with which seed the runs are
    trained.

    The network of its features is a tool that all seeds share.
    """
    for _, named in _sources(job.config):
        for source in named:
            yield source, job.seed
    features = getattr(job.config, "features", None)
    if features is None:
        return
    if features.weights == AUTO:
        yield DEFAULT, None
    elif features.weights != RANDOM:
        yield features.weights, None


def _sources(config: Any) -> Iterator[tuple[str, list[str]]]:
    """The settings that name runs which the run is made from, and the names."""
    teacher, members = getattr(config, "teacher", None), config.model.options.get("members")
    if getattr(config, "init_from", None) is not None:
        yield START, starts(config.init_from)
    if teacher is not None and not is_recipe(teacher.weights):  # an ensemble is no run
        yield TEACHER, [teacher.weights]
    if isinstance(members, list):
        yield MEMBERS, members


def look_up(job: SuiteJob, request: Request) -> SuiteJob:
    """The same in the state that what lies on the disk says.

    A finished run that was trained as asked counts first, then one to continue, then, unless
    `fresh`, a finished one that was trained otherwise. A damaged one makes the job impossible.
    """
    try:
        job = _look_up(job, request)
        if job.state == FINISHED and random_features(job.folder, job.config):
            return replace(job, remark=NO_FEATURES)
        if job.state == MISSING and (reason := missing_data(job.config, request)):
            return job.found(IMPOSSIBLE, reason=reason)
        return job
    except (ValueError, OSError) as error:
        return job.found(IMPOSSIBLE, reason=str(error))


def look_up_ensemble(job: SuiteJob, members: Sequence[SuiteJob]) -> SuiteJob:
    """As `look_up`, of an ensemble."""
    return replace(job, state=FINISHED if is_fitted(job, members) else MISSING)


def _look_up(job: SuiteJob, request: Request) -> SuiteJob:
    otherwise: tuple[Path, list[str]] | None = None
    unfinished: Path | None = None
    for folder in sorted((request.output / job.name).glob("[0-9]*"), reverse=True):
        try:
            recorded = read_config(folder)
        except ValueError:  # not whole, or of a version that had other keys
            continue
        if job.seed is not None and recorded.training.seed != job.seed:
            continue  # another repetition, no stand-in for this one
        found = differences(recorded, job.config, folder, request, job.waits)
        facts = finished_facts(folder)
        if facts is not None and not _may_go_on(facts, job.budget(request)):
            over = _over_budget(facts, job.budget(request))
            if not found and not over:
                return job.found(FINISHED, folder, minutes=facts["minutes"])
            otherwise = otherwise or (folder, found + over)
        elif not found and unfinished is None and _can_continue(folder):
            unfinished = folder
    if unfinished is not None:
        minutes, owner = minutes_of(unfinished), FolderLock(unfinished).holder()
        if owner is None:
            return job.found(UNFINISHED, unfinished, minutes=minutes)
        reason = f"{unfinished} is being trained by {owner}"
        return job.found(IMPOSSIBLE, unfinished, minutes=minutes, reason=reason)
    if otherwise is not None and not request.fresh:
        folder, found = otherwise
        return job.found(FINISHED, folder, minutes=minutes_of(folder), differences=found)
    return job.found(MISSING)


def _can_continue(folder: Path) -> bool:
    """Whether there is a checkpoint, or a process that will write one."""
    saved = any((folder / name).is_dir() for name in ("last", ".last.old"))
    return saved or FolderLock(folder).holder() is not None


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


def finished_folders(job: SuiteJob, request: Request) -> set[Path]:
    """Every folder of a job's run that is marked as finished, however it was trained."""
    return {mark.parent for mark in (request.output / job.name).glob("[0-9]*/finished.json")}
