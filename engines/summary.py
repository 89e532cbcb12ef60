"""What a finished training run says: its test table, and where everything is."""

from pathlib import Path

from engines.compare import Options, compare
from engines.training import Outcome

FAST_BASELINES = "occluded,mean_colour,telea,navier_stokes"
REASONS = {
    "epochs": "all epochs done",
    "max_minutes": "stopped by the time budget",
    "early_stop": "stopped early, no better validation score",
    "interrupted": "interrupted",
}


def summarise_run(outcome: Outcome, output: Path, device: str) -> str:
    """Evaluate the run's best weights on its frozen test pairs; the table and the files as text.

    The data are those that the run recorded. Table and figures go to the run's own folder.
    """
    folder = outcome.folder
    (report,) = compare(
        Options(
            runs=[str(folder.path)],
            baselines=FAST_BASELINES,
            runs_folder=output,
            output=folder.path / "evaluation",
            share_values=True,
            device=device,
        )
    )
    lines = [
        "",
        report.headline,
        f"trained   {outcome.images} images in {outcome.minutes:.1f} min "
        f"({REASONS[outcome.reason]})",
        f"table     {report.files['table.md']}",
        f"figures   {folder.figures}, {report.files['examples.png']}",
        f"weights   {folder.best}",
    ]
    if outcome.reason in ("max_minutes", "interrupted"):
        lines.append(f"continue  python train_inpainting.py {folder.config().name} --resume")
    lines.append("compare   python evaluate.py")
    return "\n".join(lines)
