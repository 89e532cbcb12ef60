"""Which trained networks a comparison is about: named, listed by a suite, or else the latest.

Nothing here imports PyTorch, so that a wrong name is told at once. `options` are a command's: runs,
all_runs, checkpoint and runs_folder, some of them left out. Runs of a suite are named there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deocclude.engines.runs.finished import (
    Trained,
    check_task,
    finished_runs,
    name_apart,
    read_trained,
    resolve_runs,
    unfinished,
    weights_file,
)
from deocclude.engines.runs.metadata import SHIPPED, WEIGHTS, no_such_file
from deocclude.engines.runs.places import looked_in, warn_once
from deocclude.engines.runs.recipes import is_recipe
from deocclude.engines.runs.released import INPAINTERS, shipped_file
from deocclude.engines.runs.tasks import INPAINTING, SEGMENTATION, TASKS
from deocclude.names import did_you_mean

BY_FILE = "--checkpoint names a weights file or another run"


def named(options: Any, wanted: Iterable[str], every: bool, *tasks: str) -> list[Trained]:
    """Runs and weights files by their names, of any task. `every`: not the latest of a name alone.
    `tasks`: those of the weights that ship, where these are named."""
    folders = resolve_runs(list(wanted), options.runs_folder, every)
    files = [folder / WEIGHTS for folder in folders]
    for given in getattr(options, "checkpoint", ()):
        files += named_files(str(given), options.runs_folder, *tasks)
    return [read_trained(file) for file in files]


def named_files(given: str, runs: Path, *tasks: str) -> list[Path]:
    """The file itself, an ensemble's YAML too, or that of a run's name or folder; for `shipped`
    those of these tasks, for `sharp` or `faithful` that inpainter. These words come before a run of
    such a name, which is said. Errors as of `weights_file` and `shipped_file`."""
    if given in (SHIPPED, *INPAINTERS):
        if not unfinished([given], runs):
            run = resolve_runs([given], runs)[0].resolve()
            warn_once(f"{given}: what ships is taken; for the run of that name give {run}")
        inpainters = [INPAINTING] if given in INPAINTERS else tasks
        return [shipped_file(task, given) for task in inpainters]
    if is_recipe(given):
        return [Path(given)]
    try:
        return [weights_file(given, runs)]
    except FileNotFoundError:
        if did_you_mean(given, [SHIPPED, *INPAINTERS]):
            raise FileNotFoundError(no_such_file(given)) from None
        raise


def latest(options: Any, task: str, every: bool, hint: str = BY_FILE) -> list[Trained]:
    """The latest finished run of each name, or every one. FileNotFoundError when there is none."""
    folders = finished_runs(options.runs_folder, every, task)
    if not folders:
        raise FileNotFoundError(
            f"no finished {TASKS[task].trains} below {looked_in(options.runs_folder)}: "
            f"{TASKS[task].makes_one}; {hint}"
        )
    return [read_trained(folder / WEIGHTS) for folder in folders]


def choose(options: Any, task: str) -> list[Trained]:
    """Networks of one task, names apart: those that are named, else the latest."""
    found = check_task(named(options, options.runs or [], options.all_runs, task), task)
    return name_apart(check_task(found or latest(options, task, options.all_runs), task))


def choose_inpainters(options: Any) -> list[Trained]:
    """As `choose`; `--runs none` means none, and `--fold-seeds` every run."""
    every, wanted = options.all_runs or options.fold_seeds, options.runs
    if wanted is None and not options.checkpoint:
        hint = f"`--runs none` compares the baselines alone, {BY_FILE}"
        found = latest(options, INPAINTING, every, hint)
    else:
        found = named(options, [] if wanted in (None, ["none"]) else wanted, every, INPAINTING)
    return name_apart(check_task(found, INPAINTING))


def choose_both(options: Any) -> dict[str, list[Trained]]:
    """Segmenters and inpainters, names apart; of a task of which none is named, the latest."""
    found = named(options, options.runs or [], options.all_runs, SEGMENTATION, INPAINTING)
    return {
        task: name_apart(
            [member for member in found if member.task == task]
            or check_task(latest(options, task, options.all_runs), task)
        )
        for task in (SEGMENTATION, INPAINTING)
    }


def choose_with_losses(options: Any) -> list[Trained]:
    """Runs of any task, names apart; the latest inpainters when none is named."""
    if options.runs == []:
        raise ValueError(f"suite {options.suite}: has ensembles only, which have no losses")
    if options.runs is None:
        return name_apart(latest(options, INPAINTING, options.all_runs, "--runs names others"))
    return name_apart(named(options, options.runs, options.all_runs))


def choose_labelled(options: Any) -> list[Trained]:
    """Inpainters and segmenters that were named; else the latest inpainters."""
    if options.runs is None and not options.checkpoint:
        return choose(options, INPAINTING)
    found = named(options, options.runs or [], options.all_runs, INPAINTING, SEGMENTATION)
    check_task([each for each in found if each.task not in (INPAINTING, SEGMENTATION)], INPAINTING)
    return found
