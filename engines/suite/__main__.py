"""Train what a suite lacks, one run after another, then make its tables.

`python -m engines.suite ablations/suites/systems.yaml --max-minutes 10` can be stopped at any time
and started again: finished runs are kept, an unfinished one is continued, a failed one is tried
again. A run that fails leaves the others. Everything it says is kept in runs/suites/<name>/.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from deocclude.data.files import write_text
from deocclude.data.sources.holes import data_root
from deocclude.engines.evaluation.suites import Suite, load_suite
from deocclude.engines.runs.config import choose_profile
from deocclude.engines.runs.finished import AUTO, IDENTITY
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.runs.runtime import say_progress
from deocclude.engines.suite.ensembles import fit_command, look_up_ensemble
from deocclude.engines.suite.export import export_suite
from deocclude.engines.suite.jobs import Record, Stopper, command, run_command, why
from deocclude.engines.suite.plan import finished_folders, look_up, plan_jobs, use_sources
from deocclude.engines.suite.request import FINISHED, IMPOSSIBLE, UNFINISHED, Request, SuiteJob
from deocclude.engines.suite.tables import Rows, make_tables
from deocclude.engines.suite.words import JobEnd, describe_end, describe_plan

EARLIER_FEATURES = "its features come from an earlier network"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line; argparse ends the process on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m engines.suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("suite", type=Path, help="a YAML that lists runs, or the name of one in ablations/suites/")
    add("--max-minutes", type=float, metavar="M", help="train each run for at most M minutes")
    add("--data", type=Path, metavar="DIR", help="data folder; else as for the training scripts")
    add(
        "--identities",
        type=Path,
        metavar="DIR",
        help="data folder of identity runs, a sub-folder a person (default: that of all runs)",
    )
    add("--profile", default="auto", help="auto, quick, small, full (default: auto)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="for every run")
    add("--output", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    add("--device", default="auto", choices=("auto", "cpu"))
    add(
        "--fresh",
        action="store_true",
        help="train anew, in a new folder, what was trained otherwise than asked now",
    )
    add(
        "--seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="train every run once with each seed; tables of inpainters make one row of them",
    )
    add("--dry-run", action="store_true", help="print what would be done, and stop")
    arguments = parser.parse_args(argv)
    if arguments.max_minutes is not None and not arguments.max_minutes > 0:
        parser.error(f"--max-minutes {arguments.max_minutes}: must be above 0")
    if len(set(arguments.seeds)) < len(arguments.seeds) or min(arguments.seeds, default=0) < 0:
        listed = " ".join(map(str, arguments.seeds))
        parser.error(f"--seeds {listed}: must be different whole numbers of at least 0")
    keys = [text.partition("=")[0].strip() for text in arguments.set]
    if arguments.seeds and "training.seed" in keys:
        parser.error("--seeds and --set training.seed=...: give one of them")
    return arguments


def tell(text: str) -> None:
    """Print; a terminal that is gone must not end the night's work."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def to_request(arguments: argparse.Namespace) -> Request:
    """What the command line asks of every run. FileNotFoundError for a data folder not there."""
    root, identities = data_root(arguments.data), arguments.identities
    if identities is not None and not identities.is_dir():
        raise FileNotFoundError(f"--identities {str(identities)!r}: no such folder")
    profile = arguments.profile
    if profile == "auto":
        profile, reason = choose_profile(root, arguments.device)
        tell(reason)
    return Request(
        arguments.output,
        profile,
        tuple(arguments.set),
        root,
        arguments.data,
        arguments.max_minutes,
        arguments.device,
        arguments.fresh,
        identities,
        tuple(arguments.seeds),
    )


def run_suite(suite: Suite, request: Request, dry_run: bool = False) -> int:
    """Plan, train, make the tables, say what happened. The exit code: 1 if anything is missing."""
    folder = suite.own_folder(request.output)
    jobs = plan_jobs(suite.runs, request, suite.ensembles, folder)
    tell("\n".join([f"suite {suite.name}", *describe_plan(jobs, request)]))
    if dry_run:
        return int(any(job.state == IMPOSSIBLE for job in jobs))
    folder.mkdir(parents=True, exist_ok=True)
    claim = RunFolder(folder)
    claim.lock()
    try:
        record = Record(folder / "log.jsonl")
        record.add("start", profile=request.profile, max_minutes=request.max_minutes)
        results: dict[str, JobEnd] = {}
        with Stopper(tell) as stopper:
            for job in jobs:
                if not stopper.asked:
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
        return int(failed)
    finally:
        claim.unlock()


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
        result.problem = why(status, text) if status else ended
    elif status:
        result.note = f"trained, but not evaluated by itself: {why(status, text)}"
    if lost:
        job.remark = f"{job.remark or EARLIER_FEATURES}: {', '.join(lost)} failed"
    return _ended(result, status, stopper, record)


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
    tell(f"\n{time.strftime('%H:%M')} {what} {job.title}, log {log}")
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


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when every run is finished and every table is made."""
    arguments = parse(argv)
    say_progress()
    try:
        return run_suite(load_suite(arguments.suite), to_request(arguments), arguments.dry_run)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while the tables are made; trainings stop by themselves
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 1


if __name__ == "__main__":
    if code := main():  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
