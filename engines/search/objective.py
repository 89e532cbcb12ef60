"""What one trial of a search is: a run with other loss weights, and a score of its validation."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deocclude.data.sources.holes import open_sources
from deocclude.engines.runs.config import changes, load_config, validate
from deocclude.engines.runs.folder import RunFolder, RunFolderError
from deocclude.engines.runs.settings import RunConfig
from deocclude.engines.training.origins import features_source, settled
from deocclude.engines.training.run import Outcome, train
from deocclude.metrics.image import ImageMetrics
from deocclude.metrics.table import HIGHER_IS_BETTER

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

# The published search: 5 400 training images, 1 500 validation pairs and 10 epochs a trial.
PUBLISHED = {"data.train_images": 5400, "data.validation_pairs": 1500, "training.epochs": 10}


@dataclass(frozen=True)
class Space:
    """Weights from `low` to `high` in steps of `step`, one for each term."""

    terms: tuple[str, ...]
    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high < math.inf and 0 < self.step < math.inf):
            raise ValueError(
                f"weights from {self.low:g} to {self.high:g} in steps of {self.step:g}: needs "
                "0 < low < high and a step above 0"
            )
        if not self._on_grid(self.high):
            raise ValueError(
                f"weights from {self.low:g} to {self.high:g}: no whole number of steps of "
                f"{self.step:g}"
            )

    def _on_grid(self, value: float) -> bool:
        steps = (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-6

    def holds(self, weights: Mapping[str, float]) -> bool:
        """Whether these weights could be drawn."""
        return all(self.low <= w <= self.high and self._on_grid(w) for w in weights.values())

    def suggest(self, trial: "optuna.Trial") -> dict[str, float]:
        """A weight for each term, without the digits that floating point steps leave."""
        drawn = {
            term: trial.suggest_float(term, self.low, self.high, step=self.step)
            for term in self.terms
        }
        return {term: round(weight, 9) for term, weight in drawn.items()}


@dataclass(frozen=True)
class Search:
    """A run whose loss weights are searched. `config` is settled; `run` and `overrides` are as they
    were given, for the YAML of the best weights; `folder` has all that the search makes."""

    config: RunConfig
    run: Path
    overrides: tuple[str, ...]
    space: Space
    objective: str
    folder: Path
    root: Path | None
    device: str = "auto"

    @property
    def higher(self) -> bool:
        """Whether more of the objective is better."""
        return HIGHER_IS_BETTER[self.objective.rsplit("/", 1)[-1]]

    @property
    def trials(self) -> Path:
        """Where the runs of the trials lie."""
        return self.folder / "trials"

    @property
    def own_weights(self) -> dict[str, float]:
        """What the run itself gives the terms that are searched."""
        return {term: float(self.config.losses[term]["weight"]) for term in self.space.terms}

    def trial_config(self, name: str, weights: Mapping[str, float]) -> RunConfig:
        """The run of a trial."""
        terms = {
            term: options | ({"weight": weights[term]} if term in weights else {})
            for term, options in self.config.losses.items()
        }
        words = ", ".join(f"{term} {weight:g}" for term, weight in weights.items())
        told = {"name": name, "description": f"{self.config.name} with {words}", "losses": terms}
        return self.config.model_copy(update=told)

    def settings(self) -> dict[str, Any]:
        """Everything that must be equal for two trials to be compared, as JSON values."""
        sources = open_sources(self.config.data, self.root)
        wanted = self.config.data.train_images
        images = len(sources.faces("train"))
        features = self.config.features
        space = self.space
        run = self.trial_config("any", dict.fromkeys(space.terms, space.low))
        return {
            "run": run.model_dump(mode="json"),
            "objective": self.objective,
            "terms": list(space.terms),
            "range": [space.low, space.high, space.step],
            "training_images": images if wanted is None else min(images, wanted),
            "validation_pairs": sources.frozen("val").hash,
            "embedding": None if features is None else features_source(features.weights),
        }


def other_settings(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What differs between two `Search.settings`, a line each. Keys that a configuration did not
    have when it was recorded have their defaults."""

    def together(settings: Mapping[str, Any]) -> dict[str, Any]:
        run = validate(settings["run"], "the study's run").model_dump(mode="json")
        return run | {key: value for key, value in settings.items() if key != "run"}

    return changes(together(recorded), together(asked))


def load_search_config(
    run: str, profile: str, sizes: Mapping[str, int | None], overrides: Sequence[str], runs: Path
) -> RunConfig:
    """The run with the trials' budget, settled as a start of it would be.

    Args:
        sizes: by dotted key; None leaves the profile's own, in profile full the published search's.
        runs: where the runs lie that it starts from or has its features from.

    ValueError for a run that a clock may end: its trials would not be comparable.
    """
    if profile == "full":
        sizes = {key: sizes.get(key) or size for key, size in PUBLISHED.items()}
    given = [f"{key}={size}" for key, size in sizes.items() if size is not None]
    if sizes.get("data.train_images") is not None:
        given.append("training.epoch_images=null")
    config = load_config(run, profile, ["training.max_minutes=null", *given, *overrides])
    if config.training.max_minutes is not None:
        raise ValueError(
            f"training.max_minutes={config.training.max_minutes:g}: the budget of a trial is its "
            "epochs, so that trials can be compared; --max-minutes limits the whole search"
        )
    return settled(config, runs)


def choose_terms(config: RunConfig, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The loss terms whose weights are searched: those named, else all of constant, positive
    weight. ValueError lists the terms there are."""
    known = {name: term["weight"] for name, term in config.loss_terms().items()}
    numbers = [name for name, weight in known.items() if not isinstance(weight, Mapping)]
    for name in wanted or ():
        if name not in known:
            raise ValueError(
                f"--terms {name}: {config.name} has no such loss term; it has {', '.join(known)}"
            )
        if name not in numbers:
            raise ValueError(
                f"--terms {name}: its weight follows a schedule, {known[name]}, which is no single "
                f"number to search; valid are {', '.join(numbers) or 'none'}"
            )
    chosen = tuple(dict.fromkeys(wanted or [name for name in numbers if known[name] > 0]))
    if not chosen:
        raise ValueError(f"{config.name}: no loss term has a constant weight to search")
    return chosen


def check_objective(name: str) -> str:
    """The name of a validation metric. ValueError for one that the searched weights define."""
    valid = ImageMetrics().columns
    if name.startswith("loss/"):
        raise ValueError(
            f"--objective {name}: the loss is made of the weights that are searched: its total "
            "falls with the weights themselves, and a term falls when its own weight is raised; "
            f"valid are {', '.join(valid)}"
        )
    if name not in valid:
        raise ValueError(
            f"--objective {name}: is no validation metric; valid are {', '.join(valid)}"
        )
    return name


class Course:
    """A trial's validation, epoch by epoch, as its run folder has it, told to Optuna."""

    def __init__(self, trial: "optuna.Trial", objective: str, higher: bool) -> None:
        self.trial, self.objective, self.higher = trial, objective, higher
        self.scores: dict[int, dict[str, float]] = {}  # of each epoch

    def read(self, folder: RunFolder) -> None:
        """Report the epochs that were not reported yet; a continued run has earlier ones."""
        for row in folder.read_metrics():
            epoch = round(float(row["epoch"]))
            if epoch in self.scores:
                continue
            found = {k.removeprefix("val/"): float(v) for k, v in row.items() if _is_score(k, v)}
            self.scores[epoch] = found
            if math.isfinite(value := found.get(self.objective, math.nan)):
                self.trial.report(value, epoch)

    def prune(self, folder: RunFolder) -> bool:
        """Report, and ask whether the trial is worth going on."""
        self.read(folder)
        return self.trial.should_prune()

    def best_epoch(self) -> int | None:
        """The epoch of the best finite value; None without any."""
        values = {e: scores.get(self.objective, math.nan) for e, scores in self.scores.items()}
        finite = {epoch: value for epoch, value in values.items() if math.isfinite(value)}
        choose = max if self.higher else min
        return choose(finite, key=finite.get) if finite else None


def _is_score(key: str, value: str) -> bool:
    return key.startswith("val/") and not key.startswith("val/loss/") and value != ""


def run_trial(
    search: Search,
    name: str,
    weights: Mapping[str, float],
    course: Course,
    max_minutes: float | None = None,
) -> Outcome:
    """Train the run `name` with these weights, or go on with what an earlier try of it left.

    Raises as `engines.training.run.train`, and NotFiniteError for weights that became NaN.
    """
    config = search.trial_config(name, weights)
    earlier = _earlier(search, config)
    outcome = train(
        config,
        search.root,
        search.trials,
        None if earlier is None else str(earlier.path),
        max_minutes,
        search.device,
        course.prune,
    )
    course.read(outcome.folder)
    return outcome


def _earlier(search: Search, config: RunConfig) -> RunFolder | None:
    """The run folder of a try that was cut short after a checkpoint, of the same settings."""
    try:
        folder = RunFolder.open(search.trials, config.name, "latest")
    except RunFolderError:
        return None
    before, now = (c.model_dump(mode="json") for c in (folder.config(), config))
    if found := changes(before, now):
        logger.info("%s is of another search (%s): starting anew", folder.path, "; ".join(found))
        return None
    logger.info("continuing %s", folder.path)
    return folder
