"""What is asked of every run of a suite, and a run's place in the plan."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deocclude.engines.evaluation.suites import FixedEnsemble, Suite
from deocclude.engines.runs.config import ConfigError, check_config, run_task
from deocclude.engines.runs.settings import AnyRun
from deocclude.engines.runs.tasks import IDENTITY

FINISHED, UNFINISHED, MISSING, IMPOSSIBLE = "finished", "unfinished", "missing", "impossible"


@dataclass(frozen=True)
class Request:
    """How every run of a suite is to be trained. `root`: the data folder, None for built-in faces;
    `data`: as it was named, if it was; `identities`: the data folder of identity runs instead;
    `seeds`: with which each run is trained once, () for what its suite says; `at_once`: how many
    runs may be trained at the same time."""

    output: Path
    profile: str
    overrides: tuple[str, ...] = ()
    root: Path | None = None
    data: Path | None = None
    max_minutes: float | None = None
    device: str = "auto"
    fresh: bool = False
    identities: Path | None = None
    seeds: tuple[int, ...] = ()
    at_once: int = 1

    def seeds_of(self, table: Suite) -> tuple[int, ...]:
        """Those of a table's rows; () where each has the seed of its configuration."""
        return self.seeds or table.seeds

    def root_of(self, task: str) -> Path | None:
        """The data folder of a task's runs."""
        return (self.identities or self.root) if task == IDENTITY else self.root

    def named_for(self, task: str) -> Path | None:
        """The data folder as a task's runs are given it; None leaves it to them."""
        return (self.identities or self.data) if task == IDENTITY else self.data


@dataclass(frozen=True)
class SuiteJob:
    """A run of the suite, or one that another needs, or an ensemble that is fitted to its members:
    what is asked, and under `state` and below what there is of it on the disk.

    `run` is as the suite names it, `name` as its folder is called, `seed` the one it is trained
    with, None for that of its configuration; `own_seed`: whether a table without seeds shows it
    beside those of other seeds. `overrides`: the `--set` of the request that concern
    it, and what names its seed and the runs of that seed that it needs. `needs`: the keys of jobs
    that come before it; `waits`: whether one of its seed that it is made from has still to be
    begun. An `ensemble` has no configuration, and its `folder` is its YAML.

    `folder` is the finished run, or the one to continue; `minutes`: trained so far; `differences`:
    how a finished one was trained otherwise than asked now; `remark`: what else must be known of
    its row; `reason`: why it is impossible.
    """

    run: str
    name: str = ""
    task: str = ""
    config: AnyRun | None = None
    overrides: tuple[str, ...] = ()
    needs: list[str] = field(default_factory=list)
    needed_only: bool = False
    seed: int | None = None
    own_seed: bool = False
    ensemble: FixedEnsemble | None = None
    waits: bool = False

    state: str = MISSING
    folder: Path | None = None
    minutes: float = 0.0
    differences: list[str] = field(default_factory=list)
    remark: str = ""
    reason: str = ""

    def found(self, state: str, folder: Path | None = None, **more: Any) -> "SuiteJob":
        """The same with what a new look at the disk found; nothing stays of an earlier one."""
        blank: dict[str, Any] = {"minutes": 0.0, "differences": [], "remark": "", "reason": ""}
        return replace(self, state=state, folder=folder, **blank | more)

    @property
    def key(self) -> str:
        """The same however the suite spells the run."""
        return job_key(self.run, self.seed)

    @property
    def title(self) -> str:
        """The name, and the seed where there are several."""
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"

    @property
    def log_name(self) -> str:
        """Of the file that its training writes to."""
        return f"{self.name}.log" if self.seed is None else f"{self.name}_seed{self.seed}.log"

    def budget(self, request: Request) -> float | None:
        """Minutes that the whole run may take."""
        own = self.config.training.max_minutes if self.config else None
        return request.max_minutes if request.max_minutes is not None else own


def job_key(run: str, seed: int | None) -> str:
    """What a job is found by."""
    return run.lower() if seed is None else f"{run.lower()}, seed {seed}"


def check_request(runs: Iterable[str], load: Callable[[str, str], AnyRun]) -> None:
    """Raise once what would be wrong with every run in the same way, when `load`, of a run and its
    task, raises for each of them, though some are right as they are written."""
    known = [(run, task) for run in runs if (task := run_task(run))]
    wrong: list[ConfigError] = []
    for run, task in known:
        try:
            load(run, task)
            return
        except ConfigError as error:
            wrong.append(error)
    if wrong and any(_right_as_written(run, task) for run, task in known):
        raise wrong[0]


def _right_as_written(run: str, task: str) -> bool:
    try:
        check_config(run, [None], [], task)
    except ConfigError:
        return False
    return True
