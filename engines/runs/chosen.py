"""Which weights restore a photo: those that ship, or what was named instead."""

import os
from pathlib import Path

from deocclude.engines.runs.finished import (
    finished_words,
    newest_checkpoint,
    read_metadata,
    weights_file,
)
from deocclude.engines.runs.members import named_files
from deocclude.engines.runs.metadata import SHIPPED, CheckpointError
from deocclude.engines.runs.places import looked_in
from deocclude.engines.runs.recipes import is_recipe, source_name
from deocclude.engines.runs.released import shipped_file, shipped_name
from deocclude.engines.runs.tasks import INPAINTING, TASKS, task_of

NEWEST = "newest"  # the run that finished last
TRAIN = (
    "`python -m engines.suite release` trains what restores best; without a name the weights that "
    "ship are used"
)


def called(file: Path) -> str:
    """What a record calls an inpainter's weights: `sharp`, `UNet/002`, or the file's name."""
    return shipped_name(file) or source_name(str(file.absolute()))


def choose_weights(named: str | os.PathLike[str] | None, task: str, runs: Path) -> tuple[Path, str]:
    """The weights file, or an ensemble's YAML, that restores, and one line that says which.

    `named`: None or `shipped` for the weights that ship, `sharp` (the same inpainter) or `faithful`
    for one of the two inpainters; `newest` for the run of this `task` below `runs` that finished
    last; a run's name (any case, or `name/002`) or folder; a file. Raises ShippedWeightsError,
    FileNotFoundError that says what is not there and what there is, or ValueError for a file that
    holds no such network.
    """
    text = "" if named is None else os.fspath(named)
    file: Path | None
    if named is None:
        file = shipped_file(task)
    elif text == NEWEST:
        file = newest_checkpoint(runs, task)
        if file is None:
            raise FileNotFoundError(
                f"newest: no finished {TASKS[task].trains} below {looked_in(runs)}; "
                f"finished: {finished_words(runs)}; {TRAIN}"
            )
    elif task == INPAINTING or not is_recipe(text):
        (file,) = named_files(text, runs, task)
    else:
        file = weights_file(text, runs)  # says that it is an ensemble's YAML
    config, _ = read_metadata(file)  # before PyTorch is imported to open it
    if task_of(config) != task:
        raise CheckpointError(
            f"{file}: holds a network for {task_of(config)}, one for {task} is needed here"
        )
    how = "the run that finished last" if text == NEWEST else "as named"
    if name := shipped_name(file):
        how = f"{'' if name == SHIPPED else f'{name}, '}ships with the project"
    return file, f"{TASKS[task].trains}: {file} ({how})"
