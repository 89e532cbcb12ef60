"""A suite carried out: planned, trained, fitted, tabled, and what happened said."""

import contextlib
import json
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

from deocclude.data.files import write_text
from deocclude.engines.evaluation.suites import Suite
from deocclude.engines.runs.devices import available_cores
from deocclude.engines.runs.finished import AUTO
from deocclude.engines.runs.folder import FolderLock, no_result
from deocclude.engines.runs.tasks import IDENTITY
from deocclude.engines.suite.export import export_suite
from deocclude.engines.suite.jobs import Record, Stopper, command, fit_command, run_command, why
from deocclude.engines.suite.plan import (
    finished_folders,
    look_up,
    look_up_ensemble,
    plan_suite,
    use_sources,
)
from deocclude.engines.suite.request import FINISHED, IMPOSSIBLE, UNFINISHED, Request, SuiteJob
from deocclude.engines.suite.tables import Rows, make_tables
from deocclude.engines.suite.words import JobEnd, describe_end, describe_place, describe_plan

EARLIER_FEATURES = "its features come from an earlier network"


def tell(text: str) -> None:
    """Print; a terminal that is gone must not end the night's work."""
    with contextlib.suppress(OSError):
        print(f"{text}\n", end="", flush=True)  # in one piece, whatever other threads say


def run_suite(suite: Suite, request: Request, dry_run: bool = False) -> int:
    """Plan, train, make the tables, say what happened. The exit code: 1 if anything is missing, 128
    and the signal's number if it was stopped."""
    folder = suite.own_folder(request.output)
    jobs = plan_suite(suite, request, folder)
    tell("\n".join([f"suite {suite.name}", *describe_plan(jobs, request)]))
    if dry_run:
        return int(any(job.state == IMPOSSIBLE for job in jobs))
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    lock.acquire()
    try:
        with Stopper(tell) as stopper:
            run = SuiteRun(request, folder, jobs, stopper, Record(folder / "log.jsonl"))
            run.train_all()
        stopped = bool(stopper.asked)
        files, problems = {}, []
        if not stopped:
            rows = _rows(run.ends)
            files, problems = make_tables(suite, rows, request, folder)
            weights, more = export_suite(suite, rows, folder / "weights")
            files, problems = files | weights, problems + more
        text = "\n".join(describe_end(suite, run.ends, files, problems, stopped, folder))
        write_text(folder / "summary.txt", text + "\n")
        failed = bool(stopped or problems or any(end.problem for end in run.ends))
        run.record.add("end", stopped=stopped, failed=failed)
        tell("\n" + text)
        return 128 + stopper.signal if stopped else int(failed)
    finally:
        lock.release()


class SuiteRun:
    """The jobs of a suite, carried out as many at once as the request says: `ends` has what became
    of each, in their order."""

    def __init__(
        self, request: Request, folder: Path, jobs: list[SuiteJob], stopper: Stopper, record: Record
    ) -> None:
        self.request, self.folder, self.stopper, self.record = request, folder, stopper, record
        self._ends = {job.key: JobEnd(job, begun=False) for job in jobs}

    @property
    def ends(self) -> list[JobEnd]:
        return list(self._ends.values())

    def train_all(self) -> None:
        """Train what is not finished, until somebody asks to stop."""
        request = self.request
        self.record.add("start", profile=request.profile, max_minutes=request.max_minutes)
        left = list(self._ends)  # the keys of what has not ended
        running: dict[str, Future[JobEnd]] = {}
        with ThreadPoolExecutor(request.at_once) as pool:
            while True:
                while (key := self._next(left, running)) is not None:
                    self._say_place(key, left, len(running))
                    running[key] = pool.submit(self._do, self._ends[key].job)
                if not running:
                    break
                wait(running.values(), 1.0, FIRST_COMPLETED)  # Windows hears Ctrl-C in between
                for key in [key for key, future in running.items() if future.done()]:
                    self._ends[key] = running.pop(key).result()
                    left.remove(key)
        for key in left:  # somebody asked to stop
            job = self._ends[key].job
            self._ends[key] = JobEnd(job, begun=job.state == FINISHED)

    def _next(self, left: list[str], running: Collection[str]) -> str | None:
        """The first job that may begin now: one that waits for what it needs holds up no other."""
        if self.stopper.asked or len(running) == self.request.at_once:
            return None
        for key in left:
            if key not in running and not set(left).intersection(self._ends[key].job.needs):
                return key
        return None

    def _say_place(self, key: str, left: list[str], running: int) -> None:
        """Say how far the suite is, unless the job is there already."""
        job = self._ends[key].job
        if job.state == FINISHED:
            return
        jobs, number = [each.job for each in self.ends], len(self._ends) - len(left) + running + 1
        place = describe_place(number, jobs, self.request, [self._ends[k].job for k in left])
        tell(f"\n{place}" if self.request.at_once == 1 else f"\n{job.title}: {place}")

    def _do(self, job: SuiteJob) -> JobEnd:
        """Carry out a job, what it needs having ended; each one in a thread."""
        needed = [self._ends[other] for other in job.needs]
        return self._train(job, needed) if job.ensemble is None else self._fit(job, needed)

    def _train(self, job: SuiteJob, needed: list[JobEnd]) -> JobEnd:
        """Train or continue a run unless it is finished, and say what became of it."""
        request = self.request
        job = use_sources(job, [other.job for other in needed if other.finished], request)
        if job.config is not None and job.state != FINISHED:
            job = look_up(job, request)  # what it needs may be there, or another process was faster
        if job.state == IMPOSSIBLE and job.folder is not None:
            job = self._wait_for_owner(job)
        if job.state == FINISHED:
            return JobEnd(job)
        if job.state == IMPOSSIBLE:
            self.record.add("impossible", run=job.title, reason=job.reason)
            return JobEnd(job, problem=job.reason)
        lost = [other.job for other in needed if other.problem]
        if source := next((other for other in lost if other.task == job.task), None):
            self.record.add("skipped", run=job.title, needs=source.title)
            return JobEnd(job, problem=f"starts from {source.title}, which there is not")
        job = use_features(job, needed)
        before = finished_folders(job, request) - {job.folder}
        what = "continuing" if job.state == UNFINISHED else "training"
        status, text = self._run(what, job, command(job, request))
        job, problem, note = look_up(job, request), "", ""
        if job.state != FINISHED or job.folder in before:
            problem = job.reason or "it stopped before it was done"
            if job.state == UNFINISHED and (begun := no_result(job.folder)):
                problem += f": {begun}; --max-minutes gives it more"
            if status and not (self.stopper.asked and status > 0):  # it ended by itself
                problem = why(status, text)
        elif status:
            note = f"trained, but not evaluated by itself: {why(status, text)}"
        if lost:
            names = ", ".join(other.title for other in lost)
            job = replace(job, remark=f"{job.remark or EARLIER_FEATURES}: {names} failed")
        return self._ended(JobEnd(job, now=True, problem=problem, note=note), status)

    def _wait_for_owner(self, job: SuiteJob) -> SuiteJob:
        """Wait while another process trains a run, as one whose suite was killed does, and look at
        what it left."""
        lock = FolderLock(job.folder)
        if lock.is_held():
            tell(f"\n{time.strftime('%H:%M')} waiting: {job.reason}")
            self.record.add("waiting", run=job.title, reason=job.reason)
        while lock.is_held() and not self.stopper.asked:
            time.sleep(0.2)
        return look_up(job, self.request)

    def _fit(self, job: SuiteJob, needed: list[JobEnd]) -> JobEnd:
        """Fit an ensemble to its members unless it is, and say what became of it."""
        if lost := [other.job.title for other in needed if not other.finished]:
            self.record.add("skipped", run=job.title, needs=", ".join(lost))
            return JobEnd(job, problem=f"its members are not all there: {', '.join(lost)}")
        members = [other.job for other in needed]
        job = look_up_ensemble(job, members)
        if job.state == FINISHED:
            return JobEnd(job)
        status, text = self._run("fitting", job, fit_command(job, members, self.request))
        job, problem = look_up_ensemble(job, members), ""
        if job.state != FINISHED:
            problem = why(status, text) if status else "its file does not say what was asked"
        return self._ended(JobEnd(job, now=True, problem=problem), status)

    def _run(self, what: str, job: SuiteJob, line: list[str]) -> tuple[int, str]:
        """Run a job's command, said and recorded as `what`; returns its status and its output."""
        log = self.folder / "logs" / job.log_name
        tell(f"{time.strftime('%H:%M')} {what} {job.title}, log {log}")
        self.record.add(what, run=job.title, command=line)
        if (several := self.request.at_once) == 1:
            return run_command(line, log, self.stopper, tell)
        threads = max(1, available_cores() // several)
        say = partial(_tell_of, job)
        return run_command(line, log, self.stopper, say, threads=threads)

    def _ended(self, end: JobEnd, status: int) -> JobEnd:
        """Record how a job's command ended, and say so when it failed."""
        job, asked = end.job, self.stopper.asked
        self.record.add(
            "finished" if end.finished else "stopped" if asked else "failed",
            run=job.title, status=status, folder=str(job.folder or ""), problem=end.problem,
        )  # fmt: skip
        if end.problem and not asked:
            tell(f"  FAILED {job.title}: {end.problem}")
        return end


def _tell_of(job: SuiteJob, text: str) -> None:
    """Say a line of one of several runs that are trained at the same time."""
    tell(f"  {job.title}: {text.strip()}")


def use_features(job: SuiteJob, needed: list[JobEnd]) -> SuiteJob:
    """A run whose features are `auto` takes the network that the suite found or trained, whichever
    else was trained last."""
    features = getattr(job.config, "features", None)
    if features is None or features.weights != AUTO or job.state == UNFINISHED:
        return job
    found = [other.job.folder for other in needed if other.finished and other.job.task == IDENTITY]
    told = (f"features.weights={json.dumps(str(folder.resolve()))}" for folder in found)
    return replace(job, overrides=(*job.overrides, *told))


def _rows(ends: list[JobEnd]) -> Rows:
    """Each run of the suite by its name -> its jobs, and why each is missing, if it is."""
    rows: Rows = {}
    for end in ends:
        if not end.job.needed_only:
            rows.setdefault(end.job.run.lower(), []).append((end.job, end.problem))
    return rows
