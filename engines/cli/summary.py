"""What a finished training run says: its test table, and where everything is."""

from pathlib import Path

from deocclude.engines.evaluation.identity import IdentityOptions, compare_identities
from deocclude.engines.evaluation.inpainting import Options, compare
from deocclude.engines.evaluation.segmentation import MaskOptions, compare_segmenters
from deocclude.engines.report.report import Report
from deocclude.engines.runs.config import SCRIPTS
from deocclude.engines.runs.finished import (
    IDENTITY,
    INPAINTING,
    SEGMENTATION,
    Trained,
    read_trained,
)
from deocclude.engines.training.run import Outcome

PICTURES = {INPAINTING: "examples.png", SEGMENTATION: "masks.png", IDENTITY: "kinds.png"}
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
    task = trained.task
    report = _evaluate(trained, folder.path, output, device)
    pictures = report.files.get(PICTURES[task], folder.figures)
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
        lines.append(f"continue  python {SCRIPTS[task]} {folder.config().name} --resume")
    lines.append(f"compare   python evaluate.py{'' if task == INPAINTING else f' {task}'}")
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
        f"                                  python {SCRIPTS[trained.task]} {trained.name}",
    ]


def _evaluate(trained: Trained, run: Path, output: Path, device: str) -> Report:
    task = trained.task
    common = {
        "runs": [str(run)],
        "runs_folder": output,
        "output": run / "evaluation",
        "share_values": True,
        "device": device,
    }
    if task == SEGMENTATION:
        (report,) = compare_segmenters(MaskOptions(**common))
    elif task == IDENTITY:
        (report,) = compare_identities(IdentityOptions(**common))
    else:
        downloads = trained.config.get("downloads", True)  # as LPIPS's backbone would be
        lpips = "auto" if downloads else "off"
        (report,) = compare(Options(**common, baselines=FAST_BASELINES, fid="off", lpips=lpips))
    return report
