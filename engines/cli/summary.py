"""What a finished training run says: its test table, and where everything is."""

from pathlib import Path

from deocclude.engines.evaluation.compare import compare
from deocclude.engines.report.report import Report
from deocclude.engines.runs.finished import Trained, read_trained
from deocclude.engines.runs.tasks import INPAINTING, TASKS
from deocclude.engines.training.run import Outcome
from deocclude.names import imported

FAST_BASELINES = "occluded,mean_colour,telea,navier_stokes"
REASONS = {
    "epochs": "all epochs done",
    "max_minutes": "stopped by the time budget",
    "early_stop": "stopped early, no better validation score",
}


def summarise_run(outcome: Outcome, output: Path, device: str) -> str:
    """Evaluate the run's best weights on its frozen test pairs; the table and the files as text.

    The data are those that the run recorded. Table and figures go to the run's own folder.
    """
    folder, trained = outcome.folder, read_trained(outcome.folder.best)
    task = TASKS[trained.task]
    report = _evaluate(trained, folder.path, output, device)
    pictures = report.files.get(task.picture, folder.figures)
    lines = [
        "",
        report.headline,
        f"trained   {outcome.images} images in {outcome.minutes:.1f} min "
        f"({REASONS[outcome.reason]})",
        f"table     {report.files['table.md']}",
        f"figures   {folder.figures}, {pictures}",
        f"weights   {folder.best}",
    ]
    if (losses := folder.path / "losses.md").is_file():
        lines.insert(-1, f"losses    {losses}")
    if outcome.reason == "max_minutes":
        lines.append(f"continue  python {task.script} {folder.config().name} --resume")
    lines.append(f"compare   {task.evaluates}")
    return "\n".join(lines + _next_steps(trained, pictures))


def _next_steps(trained: Trained, pictures: Path) -> list[str]:
    """After a quick run: what to look at, and the ways on from it."""
    if trained.config.get("profile") != "quick":
        return []
    lines = ["", "This was a look at the whole path. Next:", f"  look at {pictures}"]
    if trained.task == INPAINTING:
        lines.append("  restore a photo                 python deocclude.py photo.jpg")
    return [
        *lines,
        "  train on real faces             python -m data.download faces masks occluders",
        f"                                  python {TASKS[trained.task].script} {trained.name}",
    ]


def _evaluate(trained: Trained, run: Path, output: Path, device: str) -> Report:
    task = TASKS[trained.task]
    comparison = imported(task.comparison)
    downloads = trained.config.get("downloads", True)  # as LPIPS's backbone would be
    quick = {"baselines": FAST_BASELINES, "fid": "off", "lpips": "auto" if downloads else "off"}
    (report,) = compare(
        comparison,
        runs=[str(run)],
        runs_folder=output,
        output=run / "evaluation",
        share_values=True,
        device=device,
        **comparison.options.known(quick),
    )
    return report
