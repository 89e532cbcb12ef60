"""What a suite says: its plan before anything is trained, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deocclude.engines.evaluation.suites import Suite
from deocclude.engines.suite.records import finished_facts
from deocclude.engines.suite.request import (
    FINISHED,
    IMPOSSIBLE,
    MISSING,
    UNFINISHED,
    Request,
    SuiteJob,
)

REASONS = {
    "epochs": "all epochs",
    "max_minutes": "its time budget",
    "early_stop": "stopped early",
}


@dataclass
class JobEnd:
    """What became of a job: `problem` when there is no run as asked, `note` when there is more to
    say of one that there is."""

    job: SuiteJob
    begun: bool = True
    now: bool = False  # trained by this call
    problem: str = ""
    note: str = ""

    @property
    def finished(self) -> bool:
        return self.job.state == FINISHED and not self.problem


def describe_plan(jobs: list[SuiteJob], request: Request) -> list[str]:
    """A line a job, on what there is and what will be done."""
    lines, width = [], _width(jobs)
    for job in jobs:
        what = {
            FINISHED: f"finished, {job.folder}",
            UNFINISHED: f"to be continued after {job.minutes:.1f} min, {job.folder}",
            MISSING: "to be trained" if job.ensemble is None else "to be fitted to its members",
            IMPOSSIBLE: f"cannot be trained: {job.reason}",
        }[job.state]
        if job.needed_only:
            what += " (no row itself; another run needs it)"
        lines.append(f"  {job.title:<{width}} {what}")
        lines += [f"  {'':<{width}} {job.remark}"] if job.remark else []
        lines += _otherwise(job, width)
    if minutes := minutes_left(jobs, request):
        several = f", {request.at_once} runs at the same time" if request.at_once > 1 else ""
        lines.append(
            f"  at most about {minutes:.0f} min of training{several}, evaluation not counted"
        )
    return lines


def minutes_left(jobs: list[SuiteJob], request: Request) -> float | None:
    """The most that training what is not there takes; None where a run has no budget, or all are
    there."""
    trained = [job for job in jobs if job.ensemble is None]
    left = [job.budget(request) for job in trained if job.state in (MISSING, UNFINISHED)]
    budgets = [minutes for minutes in left if minutes is not None]
    return sum(budgets) if budgets and len(budgets) == len(left) else None


def describe_place(
    number: int, jobs: list[SuiteJob], request: Request, left: list[SuiteJob] | None = None
) -> str:
    """How far a suite is at job `number`, from 1, and the time it has left where that is known.
    `left`: the jobs that have not ended, if others than those from this one on."""
    minutes = minutes_left(jobs[number - 1 :] if left is None else left, request)
    left = f", at most about {minutes:.0f} min of training left" if minutes else ""
    return f"job {number} of {len(jobs)}{left}"


def _width(jobs: list[SuiteJob]) -> int:
    """Of the column of names."""
    return max([32, *(len(job.title) for job in jobs)])


def _otherwise(job: SuiteJob, width: int, shown: int = 4) -> list[str]:
    if not job.differences:
        return []
    more = len(job.differences) - shown
    text = "; ".join(job.differences[:shown]) + (f"; and {more} more" if more > 0 else "")
    return [f"  {'':<{width}} trained otherwise than asked now: {text}; --fresh trains it anew"]


def describe_end(
    suite: Suite,
    ends: list[JobEnd],
    files: Mapping[str, Path],
    problems: list[str],
    stopped: bool,
    folder: Path,
) -> list[str]:
    """What was trained, what failed and why, where the tables are."""
    done = sum(end.finished for end in ends)
    lines = [f"suite {suite.name}: {done} of {len(ends)} runs are finished"]
    width = _width([end.job for end in ends])
    for end in ends:
        job = end.job
        if not end.begun or (stopped and end.now and end.problem):
            at = f" after {job.minutes:.1f} min" if job.minutes else ""
            lines.append(f"  {job.title:<{width}} {'stopped' if end.begun else 'not begun'}{at}")
        elif end.problem:
            lines.append(f"  {job.title:<{width}} FAILED: {end.problem}")
            if end.now:
                lines.append(f"  {'':<{width}} log {folder / 'logs' / job.log_name}")
        else:
            lines.append(f"  {job.title:<{width}} {_facts(end)}")
            notes = [note for note in (end.note, job.remark) if note]
            lines += [f"  {'':<{width}} {note}" for note in notes] + _otherwise(job, width)
    lines += [f"  {name:<{width}} {path}" for name, path in files.items()]
    if any(name.startswith("weights ") for name in files):
        lines.append("`python -m engines.release_export` puts these weights into weights/")
    lines += [f"  problem: {problem}" for problem in problems]
    lines += _warning(ends)
    if stopped:
        lines.append("the same command goes on from here")
    elif problems or done < len(ends):
        lines.append("the same command tries again what is missing")
    return lines


def _warning(ends: list[JobEnd]) -> list[str]:
    """One line on rows that are not what was asked for."""
    rows = [end for end in ends if not end.job.needed_only]
    other = [end.job.title for end in rows if end.finished and end.job.differences]
    if not other:
        return []
    were, them = ("was", "it") if len(other) == 1 else ("were", "them")
    return [
        f"WARNING: {len(other)} of {len(rows)} rows {were} trained otherwise than asked now "
        f"({', '.join(other)}); --fresh trains {them} anew"
    ]


def _facts(end: JobEnd) -> str:
    when = "trained now" if end.now else "there before"
    if end.job.ensemble is not None:
        return f"{'fitted now' if end.now else 'there before'}: {end.job.folder}"
    facts = finished_facts(end.job.folder) or {}
    if not facts:
        return f"{when}: {end.job.folder}"
    ended = REASONS.get(facts.get("reason"), facts.get("reason"))
    return (
        f"{when}: {facts.get('images', 0):,} images in {facts['minutes']:.1f} min "
        f"({ended}), {end.job.folder}"
    )
