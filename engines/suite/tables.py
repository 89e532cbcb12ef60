"""The tables of a suite from the runs that are finished; what is missing or other is said there."""

from pathlib import Path

from deocclude.engines.evaluation.compare import compare, with_number
from deocclude.engines.evaluation.losses import LossOptions, compare_losses
from deocclude.engines.evaluation.suites import Suite
from deocclude.engines.report.report import Report
from deocclude.engines.runs.tasks import INPAINTING, TASKS
from deocclude.engines.suite.request import Request, SuiteJob
from deocclude.names import imported

Rows = dict[str, list[tuple[SuiteJob, str]]]


def make_tables(
    suite: Suite, rows: Rows, request: Request, folder: Path
) -> tuple[dict[str, Path], list[str]]:
    """Write each table of a suite below `folder`.

    `rows`: a run in lower case -> each of its jobs, and why it is missing, if it is. Returns the
    files by what they are, and a sentence for each table that could not be made. A table that fails
    leaves the others.
    """
    files: dict[str, Path] = {}
    problems: list[str] = []
    for table in suite.parts():
        jobs = _rows_of(table, rows, seeds := request.seeds_of(table))
        there = [job for job, missing in jobs if not missing]
        if not there:
            problems.append(f"table {table.name}: none of its runs is finished")
            continue
        where = folder / table.name if suite.tables else folder
        said = remarks(table, rows, seeds)
        for task in dict.fromkeys(job.task for job in there):
            chosen = [job for job in there if job.task == task]
            named = table.name if task == there[0].task else f"{table.name} {task}"
            target = where if task == there[0].task else where / task
            try:
                reports = _compare(task, table, chosen, said, request, target)
            except (ValueError, OSError, RuntimeError) as error:
                problems.append(f"table {named}: {error}")
                continue
            for number, report in enumerate(reports, 1):
                label = named if len(reports) == 1 else f"{named} {number}"
                files[f"table {label}"] = report.files["table.md"]
        chosen = [str(job.folder) for job in there if job.task == INPAINTING and not job.ensemble]
        if not chosen:  # others have no validation losses
            continue
        try:
            (losses,) = compare_losses(
                LossOptions(chosen, output=where / "losses", runs_folder=request.output)
            )
            files[f"losses {table.name}"] = losses.files["table.md"]
        except (ValueError, OSError) as error:
            problems.append(f"losses {table.name}: {error}")
    return files, problems


def remarks(table: Suite, rows: Rows, seeds: tuple[int, ...] = ()) -> tuple[str, ...]:
    """What a reader of a table must know of its rows: trained otherwise than asked, or missing."""
    said = []
    for job, missing in _rows_of(table, rows, seeds):
        if missing:
            said.append(f"{job.title} is missing: {missing.splitlines()[0]}")
        elif job.differences:
            listed = "; ".join(job.differences)
            said.append(f"{job.title} was trained otherwise than this suite asks: {listed}.")
        if job.remark and not missing:
            said.append(f"{job.title}: {job.remark}.")
    return tuple(said)


def _rows_of(table: Suite, rows: Rows, seeds: tuple[int, ...]) -> list[tuple[SuiteJob, str]]:
    """Those of a table's runs with its seeds, others of the suite may have more; without seeds the
    one of each run's own."""
    named = [*table.runs, *(ensemble.name for ensemble in table.ensembles)]
    return [
        (job, missing)
        for name in named
        for job, missing in rows[name.lower()]
        if job.seed is None or (job.seed in seeds if seeds else job.own_seed)
    ]


def _compare(
    task: str,
    table: Suite,
    jobs: list[SuiteJob],
    said: tuple[str, ...],
    request: Request,
    folder: Path,
) -> list[Report]:
    reference = table.reference
    if reference and reference.lower() not in [job.name.lower() for job in jobs]:
        said, reference = (*said, f"The reference {reference} is not among the rows."), None
    comparison = imported(TASKS[task].comparison)
    asked = comparison.options.known(
        {
            "runs": [str(job.folder) for job in jobs if job.ensemble is None],
            "checkpoint": [job.folder for job in jobs if job.ensemble is not None],
            "output": folder,
            "runs_folder": request.output,
            "device": request.device,
            "share_values": True,
            "title": f"Suite: {table.name}",
            "remarks": said,
            "reference": reference,
            "baselines": ",".join(table.baselines) or "none",
            "fold_seeds": bool(request.seeds_of(table)),
        }
    )
    if "fold_seeds" not in asked:  # a row each
        asked["reference"] = with_number(reference, asked["runs"])
    return compare(comparison, **asked)
