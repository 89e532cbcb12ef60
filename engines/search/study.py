"""The record of a search that several processes share: which trial is whose, and what it gave."""

import logging
import shutil
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from deocclude.engines.runs.folder import is_gone, this_process
from deocclude.engines.runs.weights import saved_step
from deocclude.engines.search.objective import Course, Search, other_settings

logger = logging.getLogger(__name__)

PATIENCE = 300.0  # seconds that a process waits for another one's turn
TRIES = 3  # of a trial whose process dies
SHOWN = 6  # differences that an error names


def place_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """The trial's number among those that repeat no other; one that does has that of the first."""
    first = (t for t in trials if t.number < trial.number and "earlier" not in t.user_attrs)
    return trial.user_attrs.get("place", sum(1 for _ in first))


class NumberedTPE(optuna.samplers.BaseSampler):
    """The tree-structured Parzen estimator (Bergstra et al. 2011), seeded anew for each trial by
    its number among those that repeat no other: a continued study does not repeat its first draws,
    no two processes draw alike, and a trial that was stopped changes none after it.
    """

    def __init__(self, seed: int, startup: int) -> None:
        self.seed, self.startup = seed, startup
        self._tpe = self._create(0)

    def _create(self, number: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self.startup, constant_liar=True
            )

    def before_trial(self, study, trial) -> None:
        self._tpe = self._create(place_of(trial, study.get_trials(deepcopy=False)))
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study, trial):
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study, trial, search_space):
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, param_name, param_distribution):
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study, trial, state, values) -> None:
        self._tpe.after_trial(study, trial, state, values)


@dataclass(frozen=True)
class Claim:
    """A trial that this process carries out."""

    trial: optuna.Trial
    name: str  # of its run
    weights: dict[str, float]
    tries: int  # whose process died, before this one


@dataclass
class SharedStudy:
    """An Optuna study, and the lock under which its processes take and give back trials."""

    study: optuna.Study
    search: Search
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
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        search.folder.mkdir(parents=True, exist_ok=True)
        settings = search.settings()
        with study_lock(search.folder):
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
        return cls(study, search, keep_weights)

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def claim(self, wanted: int) -> Claim | None:
        """The next trial for this process: one to try again, or a new one; None when `wanted`
        trials are done or being done."""
        with study_lock(self.search.folder):
            self._recover()
            if len(self.done()) + len(self.running()) >= wanted:
                return None
            trial = self.study.ask()
            trial.set_user_attr("owner", this_process())
            weights = self.search.space.suggest(trial)
            name = trial.user_attrs.get("run", f"trial_{trial.number:03d}")
            trial.set_user_attr("run", name)
            trial.set_user_attr("began", self._saved(name))
            return Claim(trial, name, weights, trial.user_attrs.get("tries", 0))

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

    def _recover(self) -> None:
        """Queue again what dead processes of this machine left. Needs the lock: a running trial
        without an owner has lost its process, and so has one that this process has."""
        me = this_process()
        for trial in self.running():
            owner = trial.user_attrs.get("owner")
            if owner is None or is_gone(owner) or owner == me:
                logger.info("trial %d: its process has ended", trial.number)
                self.study.tell(trial.number, state=TrialState.FAIL)
                self._queue(trial, trial.user_attrs.get("tries", 0) + (not self._came_on(trial)))

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
        with study_lock(self.search.folder):
            running = {trial.number: trial for trial in self.running()}
            for number in numbers:
                if number not in running:
                    there = ", ".join(map(str, running)) or "none"
                    raise ValueError(f"--release {number}: is not running; running: {there}")
                self.study.tell(number, state=TrialState.FAIL)
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

    def hand_back(self, claim: Claim, reason: str, failed: bool = False) -> None:
        """The trial was stopped: it is tried again, unless it `failed` too often."""
        with study_lock(self.search.folder):
            claim.trial.set_user_attr("reason", reason)
            self.study.tell(claim.trial, state=TrialState.FAIL)
            (left,) = [t for t in self.trials() if t.number == claim.trial.number]
            self._queue(left, claim.tries + failed)

    def finish(
        self,
        claim: Claim,
        course: Course,
        facts: Mapping[str, Any],
        pruned: str | None = None,
    ) -> None:
        """Record a trial that is over: its best epoch, or why it was `pruned`. One that became NaN
        counts as pruned, so that the sampler learns to keep away."""
        epoch = course.best_epoch()
        if epoch is None and pruned is None:
            pruned = f"no finite {self.search.objective}"
        with study_lock(self.search.folder):
            scores = {} if epoch is None else course.scores[epoch]
            told = {"best_epoch": epoch, "scores": scores, "reason": pruned, **facts}
            for key, value in told.items():
                claim.trial.set_user_attr(key, value)
            if pruned is None:
                self.study.tell(claim.trial, scores[self.search.objective])
            else:
                self.study.tell(claim.trial, state=TrialState.PRUNED)
            self._tidy()

    def _tidy(self) -> None:
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

    def importances(self, least: int = 8) -> dict[str, float]:
        """The share of each weight in reaching the best values, by PED-ANOVA (Watanabe et al.
        2023) over complete trials; empty for fewer than `least` of them, or a single weight."""
        complete = [t for t in self.trials() if t.state == TrialState.COMPLETE]
        if len(complete) < least or len(self.search.space.terms) < 2:
            return {}
        top = min(0.5, max(0.1, 5 / len(complete)))  # at least five trials count as the best
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=top)
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


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """One process at a time inside the block; SQLite's own lock, which no dead process keeps.

    TimeoutError (an OSError) when another one stays inside for minutes.
    """
    path = folder / "lock.db"
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise TimeoutError(f"{path}: {error}; another process of the search has it") from error
        yield
    finally:
        connection.close()
