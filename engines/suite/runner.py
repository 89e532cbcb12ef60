"""A suite carried out: planned, trained, fitted, tabled, and what happened said."""

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from deocclude.data.files import write_text
from deocclude.engines.evaluation.suites import Suite
from deocclude.engines.runs.finished import AUTO, IDENTITY
from deocclude.engines.runs.folder import FolderLock, no_result
from deocclude.engines.suite.ensembles import fit_command, look_up_ensemble
from deocclude.engines.suite.export import export_suite
from deocclude.engines.suite.jobs import Record, Stopper, command, run_command, why
from deocclude.engines.suite.plan import finished_folders, look_up, plan_jobs, use_sources
from deocclude.engines.suite.request import FINISHED, IMPOSSIBLE, UNFINISHED, Request, SuiteJob
from deocclude.engines.suite.tables import Rows, make_tables
from deocclude.engines.suite.words import JobEnd, describe_end, describe_place, describe_plan

EARLIER_FEATURES = "its features come from an earlier network"


def tell(text: str) -> None:
    """Print; a terminal that is gone must not end the night's work."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def run_suite(suite: Suite, request: Request, dry_run: bool = False) -> int:
    """Plan, train, make the tables, say what happened. The exit code: 1 if anything is missing, 128
    and the signal's number if it was stopped."""
    folder = suite.own_folder(request.output)
    jobs = plan_jobs(suite.runs, request, suite.ensembles, folder)
    tell("\n".join([f"suite {suite.name}", *describe_plan(jobs, request)]))
    if dry_run:
        return int(any(job.state == IMPOSSIBLE for job in jobs))
    folder.mkdir(parents=True, exist_ok=True)
    claim = FolderLock(folder)
    claim.acquire()
    try:
        record = Record(folder / "log.jsonl")
        record.add("start", profile=request.profile, max_minutes=request.max_minutes)
        results: dict[str, JobEnd] = {}
        with Stopper(tell) as stopper:
            for number, job in enumerate(jobs, 1):
                if not stopper.asked:
                    if job.state != FINISHED:
                        tell(f"\n{describe_place(number, jobs, request)}")
                    results[job.key] = train_job(job, request, results, stopper, folder, record)
                elif job.state == FINISHED:
                    results[job.key] = JobEnd(job)
        stopped = bool(stopper.asked)
        files, problems = {}, []
        if not stopped:
            rows = _rows(jobs, results)
            files, problems = make_tables(suite, rows, request, folder)
            weights, more = export_suite(suite, rows, folder / "weights")
            files, problems = files | weights, problems + more
        text = "\n".join(describe_end(suite, jobs, results, files, problems, stopped, folder))
        write_text(folder / "summary.txt", text + "\n")
        failed = bool(stopped or problems or any(r.problem for r in results.values()))
        record.add("end", stopped=stopped, failed=failed)
        tell("\n" + text)
        return 128 + stopper.signal if stopped else int(failed)
    finally:
        claim.release()


def train_job(
    job: SuiteJob,
    request: Request,
    results: Mapping[str, JobEnd],
    stopper: Stopper,
    folder: Path,
    record: Record,
) -> JobEnd:
    """Train or continue a job unless it is finished, and say what became of it."""
    needed = [results[key] for key in job.needs]
    if job.ensemble is not None:
        return fit_job(job, request, needed, stopper, folder, record)
    use_sources(job, [other.job for other in needed if other.finished], request)
    if job.config is not None and job.state != FINISHED:
        look_up(job, request)  # what it needs may have been trained, or another process was faster
    if job.state == IMPOSSIBLE and job.folder is not None:
        wait_for_owner(job, request, stopper, record)
    if job.state == FINISHED:
        return JobEnd(job)
    if job.state == IMPOSSIBLE:
        record.add("impossible", run=job.title, reason=job.reason)
        return JobEnd(job, problem=job.reason)
    lost = [other.job.title for other in needed if other.problem]
    if source := next((r.job for r in needed if r.problem and r.job.task == job.task), None):
        record.add("skipped", run=job.title, needs=source.title)
        return JobEnd(job, problem=f"starts from {source.title}, which there is not")
    use_features(job, needed)
    before = finished_folders(job, request) - {job.folder}
    what = "continuing" if job.state == UNFINISHED else "training"
    status, text = _run(what, job, command(job, request), stopper, folder, record)
    look_up(job, request)
    result = JobEnd(job, now=True)
    if job.state != FINISHED or job.folder in before:
        ended = job.reason or "it stopped before it was done"
        if job.state == UNFINISHED and (begun := no_result(job.folder)):
            ended += f": {begun}; --max-minutes gives it more"
        by_itself = status and not (stopper.asked and status > 0)
        result.problem = why(status, text) if by_itself else ended
    elif status:
        result.note = f"trained, but not evaluated by itself: {why(status, text)}"
    if lost:
        job.remark = f"{job.remark or EARLIER_FEATURES}: {', '.join(lost)} failed"
    return _ended(result, status, stopper, record)


def wait_for_owner(job: SuiteJob, request: Request, stopper: Stopper, record: Record) -> None:
    """Wait while another process of this machine trains a run, as one whose suite was killed does,
    and look at what it left."""
    lock = FolderLock(job.folder)
    if lock.is_held():
        tell(f"\n{time.strftime('%H:%M')} waiting: {job.reason}")
        record.add("waiting", run=job.title, reason=job.reason)
    while lock.is_held() and not stopper.asked:
        time.sleep(0.2)
    look_up(job, request)


def fit_job(
    job: SuiteJob,
    request: Request,
    needed: list[JobEnd],
    stopper: Stopper,
    folder: Path,
    record: Record,
) -> JobEnd:
    """Fit an ensemble to its members unless it is, and say what became of it."""
    if lost := [other.job.title for other in needed if not other.finished]:
        record.add("skipped", run=job.title, needs=", ".join(lost))
        return JobEnd(job, problem=f"its members are not all there: {', '.join(lost)}")
    members = [other.job for other in needed]
    look_up_ensemble(job, members)
    if job.state == FINISHED:
        return JobEnd(job)
    line = fit_command(job, members, request)
    status, text = _run("fitting", job, line, stopper, folder, record)
    look_up_ensemble(job, members)
    result = JobEnd(job, now=True)
    if job.state != FINISHED:
        result.problem = why(status, text) if status else "its file does not say what was asked"
    return _ended(result, status, stopper, record)


def _run(
    what: str, job: SuiteJob, line: list[str], stopper: Stopper, folder: Path, record: Record
) -> tuple[int, str]:
    """Run a job's command, said and recorded as `what`; returns its status and its output."""
    log = folder / "logs" / job.log_name
    tell(f"{time.strftime('%H:%M')} {what} {job.title}, log {log}")
    record.add(what, run=job.title, command=line)
    return run_command(line, log, stopper, tell)


def _ended(result: JobEnd, status: int, stopper: Stopper, record: Record) -> JobEnd:
    """Record how a job's command ended, and say so when it failed."""
    job = result.job
    record.add(
        "finished" if result.finished else "stopped" if stopper.asked else "failed",
        run=job.title, status=status, folder=str(job.folder or ""), problem=result.problem,
    )  # fmt: skip
    if result.problem and not stopper.asked:
        tell(f"  FAILED {job.title}: {result.problem}")
    return result


def use_features(job: SuiteJob, needed: list[JobEnd]) -> None:
    """Have a run whose features are `auto` take the network that the suite found or trained,
    whichever else was trained last."""
    features = getattr(job.config, "features", None)
    if features is None or features.weights != AUTO or job.state == UNFINISHED:
        return
    for other in needed:
        if other.finished and other.job.task == IDENTITY:
            folder = json.dumps(str(other.job.folder.resolve()))
            job.overrides = (*job.overrides, f"features.weights={folder}")


def _rows(jobs: list[SuiteJob], results: Mapping[str, JobEnd]) -> Rows:
    """Each run of the suite by its name -> its jobs, and why each is missing, if it is."""
    rows: Rows = {}
    for job in jobs:
        if not job.needed_only:
            problem = "" if results[job.key].finished else results[job.key].problem
            rows.setdefault(job.run.lower(), []).append((job, problem))
    return rows
