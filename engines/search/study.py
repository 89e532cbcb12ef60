"""The record of a search that several processes share: which trial is whose, and what it gave."""

import logging
import platform
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import BaseFileLock, FileLock
from optuna.importance import BaseImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from deocclude.engines.runs.folder import OWNER, FolderLock, this_process
from deocclude.engines.runs.weights import saved_step
from deocclude.engines.search.objective import Course, Search, other_settings

logger = logging.getLogger(__name__)

OVER = "max_minutes"  # why a training ended that the search had no more time for
PATIENCE = 300.0  # seconds that a process waits for another one's turn
TRIES = 3  # of a trial whose process dies
SHOWN = 6  # differences that an error names


def place_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """The trial's number among those that repeat no other; one that does has that of the first."""
    first = (t for t in trials if t.number < trial.number and "earlier" not in t.user_attrs)
    return trial.user_attrs.get("place", sum(1 for _ in first))


class NumberedTPE(optuna.samplers.TPESampler):
    """The tree-structured Parzen estimator (Bergstra et al. 2011), seeded anew for each trial by
    its number among those that repeat no other: a continued study does not repeat its first draws,
    no two processes draw alike, and a trial that was stopped changes none after it.
    """

    def __init__(self, seed: int, startup: int, number: int = 0) -> None:
        self.seed, self.startup = seed, startup
        drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=drawn, n_startup_trials=startup, constant_liar=True)

    def before_trial(self, study, trial) -> None:
        place = place_of(trial, study.get_trials(deepcopy=False))
        NumberedTPE.__init__(self, self.seed, self.startup, place)
        super().before_trial(study, trial)


@dataclass
class SharedStudy:
    """An Optuna study that several processes carry out. A process has its `turn` while it is at the
    record, that is always but while it trains a trial, whose folder it has locked then: trials are
    asked for, told and counted by one process at a time, and a dead one holds no lock."""

    study: optuna.Study
    search: Search
    turn: BaseFileLock
    keep_weights: bool = False

    @classmethod
    def open(
        cls,
        search: Search,
        storage: str | None = None,
        seed: int = 42,
        startup: int = 5,
        warmup_epochs: int = 1,
        keep_weights: bool = False,
    ) -> "SharedStudy":
        """The study of this name in `storage`, made if there is none.

        Its first trial has the run's own weights, where those lie in the space. Nothing is pruned
        before `startup` trials are complete, nor in the first `warmup_epochs` of any.
        ValueError when there is one for other settings, or a storage that cannot be opened.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # a stopped trial is no news
        search.folder.mkdir(parents=True, exist_ok=True)
        settings = search.settings()
        turn = FileLock(search.folder / "study.lock", timeout=PATIENCE)
        with turn:
            study = optuna.create_study(
                storage=_open_storage(storage or default_storage(search.folder)),
                study_name=search.folder.name,
                direction="maximize" if search.higher else "minimize",
                sampler=NumberedTPE(seed, startup),
                pruner=optuna.pruners.MedianPruner(startup, warmup_epochs + 1),
                load_if_exists=True,
            )
            recorded = study.user_attrs.get("settings")
            if recorded is None:
                study.set_user_attr("settings", settings)
                if search.space.holds(search.own_weights):
                    study.enqueue_trial(search.own_weights, user_attrs={"own": True})
            elif found := other_settings(recorded, settings):
                more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
                raise ValueError(
                    f"{search.folder}: its study was made for other settings: "
                    f"{'; '.join(found[:SHOWN])}{more}. Ask for the same, or give another --name"
                )
        return cls(study, search, turn, keep_weights)

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @contextmanager
    def at_work(self, trial: optuna.Trial) -> Iterator[tuple[str, dict[str, float]]]:
        """The trial's run and weights. Others have their turn while the block works at it.

        TimeoutError (an OSError) when another one keeps its turn for minutes.
        """
        trial.set_user_attr("owner", this_process())
        weights = self.search.space.suggest(trial)
        run = trial.user_attrs.get("run", f"trial_{trial.number:03d}")
        trial.set_user_attr("run", run)
        trial.set_user_attr("began", self._saved(run))
        folder = self.search.trials / run
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
        lock.acquire()
        self.turn.release()
        try:
            yield run, weights
        finally:
            try:
                self.turn.acquire()
            finally:
                lock.release()

    def is_enough(self, wanted: int) -> bool:
        """Whether as many trials are done or being done."""
        return len(self.done()) + len(self.running()) >= wanted

    def done(self) -> list[FrozenTrial]:
        """Trials that are over: complete, pruned, or given up."""
        again = self.successors()
        over = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return [t for t in self.trials() if t.state in over and t.number not in again]

    def running(self) -> list[FrozenTrial]:
        """Trials that some process is at, as far as is known."""
        return [t for t in self.trials() if t.state == TrialState.RUNNING]

    def successors(self) -> dict[int, int]:
        """The number under which each stopped trial is tried again."""
        again = {t.number: t.user_attrs.get("earlier") for t in self.trials()}
        return {earlier: number for number, earlier in again.items() if earlier is not None}

    def recover(self) -> None:
        """Queue again what dead processes of this machine left."""
        with self.turn:
            again = self.successors()
            for trial in filter(self._is_left, self.running()):
                logger.info("trial %d: its process has ended", trial.number)
                self.study.tell(trial.number, state=TrialState.FAIL)
                if trial.number not in again:  # it may have died while it handed the trial back
                    tries = trial.user_attrs.get("tries", 0)
                    self._queue(trial, tries + (not self._came_on(trial)))

    def _is_left(self, running: FrozenTrial) -> bool:
        """Whether no process works at it: another one's turn is over once it has the lock."""
        owner, run = running.user_attrs.get("owner", {}), running.user_attrs.get("run", "?")
        is_here = owner.get("host", platform.node()) == platform.node()
        return is_here and not FolderLock(self.search.trials / run).is_held()

    def _saved(self, run: str) -> int:
        """The step of the newest checkpoint of a trial's run; 0 without one."""
        folders = sorted((self.search.trials / run).glob("[0-9]*"))
        return saved_step(folders[-1]) if folders else 0

    def _came_on(self, trial: FrozenTrial) -> bool:
        """Whether the process that is gone has saved more than it found: one that was killed then,
        however often, is no reason to give the trial up."""
        attributes = trial.user_attrs
        return self._saved(attributes.get("run", "?")) > attributes.get("began", 0)

    def release(self, numbers: list[int]) -> None:
        """Give up on processes of other machines. ValueError for trials that do not run."""
        with self.turn:
            running = {trial.number: trial for trial in self.running()}
            for number in numbers:
                if number not in running:
                    there = ", ".join(map(str, running)) or "none"
                    raise ValueError(f"--release {number}: is not running; running: {there}")
                self.study.tell(number, state=TrialState.FAIL)
                run = running[number].user_attrs.get("run", "?")
                for owner in (self.search.trials / run).rglob(OWNER):
                    owner.unlink()
                self._queue(running[number], running[number].user_attrs.get("tries", 0))

    def _queue(self, trial: FrozenTrial, tries: int) -> None:
        if tries >= TRIES:
            logger.info("trial %d: given up after %d tries", trial.number, tries)
            return
        kept = {k: v for k, v in trial.user_attrs.items() if k in ("run", "own")}
        place = place_of(trial, self.trials())
        attributes = kept | {"earlier": trial.number, "tries": tries, "place": place}
        fixed = trial.system_attrs.get("fixed_params", {})  # killed before it was told its weights
        self.study.enqueue_trial(fixed | trial.params, user_attrs=attributes)

    def hand_back(self, trial: optuna.Trial, reason: str, failed: bool = False) -> None:
        """The trial was stopped: it is tried again, unless it `failed` too often."""
        trial.set_user_attr("reason", reason)
        with self.turn:
            tries = trial.user_attrs.get("tries", 0) + failed
            self._queue(self.trials()[trial.number], tries)

    def finish(
        self,
        trial: optuna.Trial,
        course: Course,
        facts: Mapping[str, Any],
        pruned: str | None = None,
    ) -> float:
        """Record a trial that is over; the value of its best epoch, or TrialPruned and why. One
        that became NaN counts as pruned, so that the sampler learns to keep away."""
        epoch = course.best_epoch()
        if epoch is None and pruned is None:
            pruned = f"no finite {self.search.objective}"
        scores = {} if epoch is None else course.scores[epoch]
        told = {"best_epoch": epoch, "scores": scores, "reason": pruned, **facts}
        for key, value in told.items():
            trial.set_user_attr(key, value)
        if pruned is not None:
            raise optuna.TrialPruned(pruned)
        return scores[self.search.objective]

    def tidy(self) -> None:
        """Checkpoints are kept of what may go on, weights of the best trial alone."""
        best = self.best()
        for trial in self.done():
            for folder in (self.search.trials / trial.user_attrs.get("run", "?")).glob("[0-9]*"):
                for name in ("last", ".last.old"):
                    shutil.rmtree(folder / name, ignore_errors=True)
                if not self.keep_weights and (best is None or trial.number != best.number):
                    (folder / "best.safetensors").unlink(missing_ok=True)

    def best(self) -> FrozenTrial | None:
        """The complete trial of the best value; None before there is one."""
        if any(trial.state == TrialState.COMPLETE for trial in self.trials()):
            return self.study.best_trial
        return None

    def own(self) -> FrozenTrial | None:
        """The complete trial of the run's own weights."""
        own = (t for t in self.done() if t.user_attrs.get("own"))
        return next((t for t in own if t.state == TrialState.COMPLETE), None)

    def evaluator(self, least: int = 8) -> BaseImportanceEvaluator | None:
        """PED-ANOVA (Watanabe et al. 2023), the share of each weight in reaching the best values
        over complete trials; None for fewer than `least` of them, or a single weight."""
        complete = sum(trial.state == TrialState.COMPLETE for trial in self.trials())
        if complete < least or len(self.search.space.terms) < 2:
            return None
        top = min(0.5, max(0.1, 5 / complete))  # at least five trials count as the best
        return PedAnovaImportanceEvaluator(target_quantile=top)

    def importances(self) -> dict[str, float]:
        """The share of each weight; empty where there is no `evaluator`."""
        if (evaluator := self.evaluator()) is None:
            return {}
        return optuna.importance.get_param_importances(self.study, evaluator=evaluator)


def default_storage(folder: Path) -> str:
    return f"sqlite:///{(folder / 'study.db').resolve().as_posix()}"


def _open_storage(url: str) -> optuna.storages.RDBStorage:
    patient = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=patient)
    except (SQLAlchemyError, ImportError) as error:
        short = str(error).partition("\n")[0]
        raise ValueError(
            f"--storage {url}: cannot be opened ({short}); valid is for example "
            "sqlite:///folder/study.db"
        ) from error
