"""The ensembles of a suite that are fitted, not trained: which are there, and what makes one."""

import sys
from collections.abc import Sequence
from pathlib import Path

from deocclude.data.files import sha256
from deocclude.engines.runs.config import read_yaml
from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.recipes import read_recipe
from deocclude.engines.suite.request import FINISHED, MISSING, Request, SuiteJob


def look_up_ensemble(job: SuiteJob, members: Sequence[SuiteJob]) -> None:
    """Fill in whether its file is there and was fitted as asked now, to these very weights."""
    job.state = MISSING
    if all(member.state == FINISHED for member in members) and _fits(job, members):
        job.state = FINISHED


def _fits(job: SuiteJob, members: Sequence[SuiteJob]) -> bool:
    if not job.folder.is_file():
        return False
    try:
        recipe = read_recipe(job.folder)
        asked = (read_yaml(job.folder).get("fitted") or {}).get("asked")
        if (recipe.combination, asked) != (job.ensemble.combination, job.ensemble.pairs):
            return False
        files = [file.resolve() for file in _weights(members)]
        if [pointer.path for pointer in recipe.members] != files:
            return False
        return [pointer.sha256 for pointer in recipe.members] == [sha256(file) for file in files]
    except (ValueError, OSError):
        return False  # it is the suite's own, to be made again


def fit_command(job: SuiteJob, members: Sequence[SuiteJob], request: Request) -> list[str]:
    """The command that writes an ensemble's file, from members that are all finished."""
    line = [sys.executable, "-m", "deocclude.engines.ensemble", "fit", "--members"]
    line += [str(file) for file in _weights(members)]
    line += ["--combination", job.ensemble.combination, "--pairs", str(job.ensemble.pairs)]
    line += ["--name", job.name, "--output", str(job.folder), "--overwrite"]
    if request.data is not None:
        line += ["--data", str(request.data)]
    return [*line, "--runs-folder", str(request.output), "--device", request.device]


def _weights(members: Sequence[SuiteJob]) -> list[Path]:
    return [member.folder / WEIGHTS for member in members]
