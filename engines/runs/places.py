"""Where runs are looked for: in the folder that a command names, and in the project's own runs/."""

import logging
from functools import lru_cache
from pathlib import Path

logger = logging.getLogger(__name__)

RUNS = Path("runs")  # of the working folder: where runs lie when nobody says otherwise
OWN = Path(__file__).resolve().parents[2] / "runs"  # of the checkout; an installed package has none


def places(runs: Path) -> list[Path]:
    """`runs`, and after the working folder's runs/ the project's, where there is one.

    So a run is found by its name from any folder, as those in ablations/ are. A folder that was
    named is the only place.
    """
    elsewhere = runs == RUNS and OWN.is_dir() and OWN.resolve() != runs.resolve()
    return [runs, OWN] if elsewhere else [runs]


def looked_in(runs: Path) -> str:
    """Where runs were looked for, in words: one place or two."""
    return " and ".join(map(str, places(runs)))


def say_place(run: Path, runs: Path) -> None:
    """One line on a run that does not come from the working folder's runs/."""
    if places(runs)[1:] and OWN in run.parents:
        warn_once(f"{run.parent.name}/{run.name}: not in {runs}/ here; taken from {OWN}")


@lru_cache
def warn_once(line: str) -> None:
    """A warning that is said once a process: commands look for their runs before they import
    PyTorch, and again when they open them."""
    logger.warning("%s", line)
