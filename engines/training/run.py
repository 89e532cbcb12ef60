"""A training run from its configuration to its finished folder."""

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from deocclude import models, stopping
from deocclude.data.pairs.frozen import FrozenList
from deocclude.data.sources.faces import AnySources
from deocclude.engines.report import figures
from deocclude.engines.report.history import record_losses
from deocclude.engines.runs.config import AnyRun, FaceData, RunConfig
from deocclude.engines.runs.devices import available_cores, device_name
from deocclude.engines.runs.finished import weights_file
from deocclude.engines.runs.folder import RunFolder, dump_config, recorded_data
from deocclude.engines.runs.recipes import each_start
from deocclude.engines.runs.runtime import Runtime, start_runtime, versions
from deocclude.engines.runs.tasks import TASKS, open_any_sources
from deocclude.engines.training.features import settle_features
from deocclude.engines.training.fit import INTERRUPTED, Fit
from deocclude.engines.training.gan_steps import role
from deocclude.engines.training.members import settle_members
from deocclude.engines.training.teacher import settle_teacher
from deocclude.engines.training.trainer import BaseTrainer
from deocclude.models.blocks import count_parameters
from deocclude.names import imported, in_words

logger = logging.getLogger(__name__)

VALIDATION = "validation_pairs.json"


@dataclass(frozen=True)
class Outcome:
    """What a finished call of `train` leaves behind."""

    folder: RunFolder
    reason: str
    steps: int
    images: int
    minutes: float
    is_main: bool
    signal: int = 0  # that interrupted it

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to stop."""
        return self.reason == INTERRUPTED


def environment(trainer: BaseTrainer, sources: AnySources) -> dict[str, Any]:
    """What environment.json records about a start of the run."""
    runtime = trainer.runtime
    network = runtime.unwrap(trainer.main)
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions(),
        "platform": platform.platform(),
        "device": device_name(runtime.device),
        "cores": available_cores(),
        "processes": runtime.processes,
        "mixed_precision": trainer.config.training.mixed_precision,
        "seed": trainer.config.training.seed,
        "weights": trainer.origins(),
        "left_out": trainer.config.left_out(),
        "parameters": count_parameters(network),
        "trainable_parameters": count_parameters(network, trainable=True),
        "data": sources.describe(),
        "started_at_step": trainer.step,
    }


def draw_epoch(folder: RunFolder):
    """A function that saves the picture grid of an epoch and shows it where something can."""

    def draw(trainer: BaseTrainer, pairs: FrozenList, epoch: int) -> None:
        figure = figures.examples_grid(trainer.examples(pairs))
        figures.save(figure, folder.figures / f"epoch_{epoch:03d}.png")
        figures.show(figure)

    return draw


def dry_run(
    config: AnyRun, root: Path | None, runs: Path = Path("runs"), resume: str | None = None
) -> str:
    """The resolved config, parameter counts and the data that would be used, as text; errors as of
    a start. `runs`: where runs that it starts from lie. `resume` as for `train`: the config is that
    of the run that would go on."""
    folder, config, data, split_file = _to_start(config, root, runs, resume)
    if folder is None:
        config = settled(config, runs)
        data = config.data
    sources = open_any_sources(config.model_copy(update={"data": data}), root, split_file)
    config = _with_template(config, sources)
    options = config.model_options()
    if config.model.takes("pretrained"):
        options["pretrained"] = False  # counting needs no download
    task = TASKS[config.task]
    network = task.create(config.model.name, **options)
    lines = [dump_config(config)]
    lines += [] if folder is None else [f"continues {folder.path}"]
    lines.append(f"{task.main}: {count_parameters(network) / 1e6:.2f} M parameters")
    for name, each in getattr(config, "discriminators", {}).items():
        critic = models.create_discriminator(each.name, **each.options)
        lines.append(f"{role(name)}: {count_parameters(critic) / 1e6:.3f} M parameters")
    lines += [f"data: {key}: {in_words(value)}" for key, value in sources.describe().items()]
    return "\n".join(lines)


def _with_template(config: AnyRun, sources: AnySources) -> AnyRun:
    """The configuration with its template told, and its people, as the weights file must state
    them."""
    told = {
        name: getattr(sources.data, name)
        for name in ("template", "identities")
        if hasattr(config.data, name)
    }
    return config.model_copy(update={"data": config.data.model_copy(update=told)})


def train(
    config: AnyRun,
    root: Path | None,
    output: Path = Path("runs"),
    resume: str | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
    prune: Callable[[RunFolder], bool] | None = None,
) -> Outcome:
    """Train one run. Everything it makes lies in its run folder.

    Args:
        root: the data folder, None for built-in faces, or for the folders a continued run recorded.
        output: runs/<name>/<NNN>/ is made below it.
        resume: "latest", a number or a path continues that run instead of starting a new one; its
            own config.yaml counts, `config` only names it.
        max_minutes: stop at a checkpoint after this many minutes of this call.
        prune: asked after every epoch but the last, once its metrics are written and its
            checkpoint is saved; True ends the run.

    Raises ValueError, FileNotFoundError (data, config, folder) or NonFiniteLossError.
    """
    folder, config, data, split_file = _to_start(config, root, output, resume)
    runtime = start_runtime(config.training.mixed_precision, device, config.training.seed)
    try:
        sources = open_any_sources(config.model_copy(update={"data": data}), root, split_file)
        config = _with_template(config, sources)
        return _train(config, runtime, sources, folder, output, max_minutes, prune)
    finally:
        runtime.close()


def _to_start(
    config: AnyRun, root: Path | None, output: Path, resume: str | None
) -> tuple[RunFolder | None, AnyRun, FaceData, Path | None]:
    """The folder of the run that `resume` names, its own configuration, its data and its split;
    without one the configuration as it was given."""
    if resume is None:
        return None, config, config.data, None
    folder = RunFolder.open(output, config.name, resume)
    config = folder.config()
    data = recorded_data(folder.path, config.data) if root is None else config.data
    return folder, config, data, folder.path / "split.json"


def _train(
    config: AnyRun,
    runtime: Runtime,
    sources: AnySources,
    folder: RunFolder | None,
    output: Path,
    max_minutes: float | None,
    prune: Callable[[RunFolder], bool] | None,
) -> Outcome:
    """Build everything, then claim the run folder (a new one when `folder` is None) and fit."""
    continued = folder is not None
    if not continued:
        config = settled(config, output)
    with runtime.main_first():
        pairs = sources.training_pairs(
            config.training.seed, output / ".cache", runtime.processes, config.training.batch_size
        )
    build = imported(TASKS[config.task].builder)
    trainer = build(config, runtime, pairs.images, None if continued else output)
    validation = sources.frozen("val")
    if folder is None:  # only now: a start that fails leaves no empty run behind
        folder = _shared_new_folder(runtime, output, config)
    if runtime.is_main:
        folder.lock()
    try:
        fit = Fit(
            trainer,
            folder,
            pairs,
            validation,
            draw_epoch(folder),
            max_minutes if max_minutes is not None else config.training.max_minutes,
            prune,
        )
        if continued:
            validation.check_against(folder.path / VALIDATION)
            fit.resume()
        if runtime.is_main:
            _record_start(trainer, sources, folder, validation, continued)
            _say_start(trainer, pairs.images, sources, folder)
        reason = fit.run()
        if runtime.is_main:
            _record_end(trainer, fit, folder, reason)
        images = trainer.step * config.training.batch_size
        minutes = fit.seconds() / 60
        asked = fit.stop.asked
        return Outcome(folder, reason, trainer.step, images, minutes, runtime.is_main, asked)
    except KeyboardInterrupt as stop:
        told = stop if isinstance(stop, stopping.Stopped) else stopping.Stopped()
        told.folder = folder.path
        raise told from None
    finally:
        if runtime.is_main:
            folder.unlock()


def settled(config: AnyRun, runs: Path) -> AnyRun:
    """The same with the weights it starts from, learns from or combines found below `runs`.
    FileNotFoundError or ValueError for what is not there, before anything is read or trained."""
    start = getattr(config, "init_from", None)
    found: dict[str, Any] = {
        "init_from": each_start(start, lambda named: str(weights_file(named, runs).resolve()))
    }
    if not isinstance(config, RunConfig):
        return config if start is None else config.model_copy(update=found)
    found |= {
        "features": settle_features(config.features, runs),
        "teacher": settle_teacher(config.teacher, runs),
    }
    return settle_members(config.model_copy(update=found), runs)


def _shared_new_folder(runtime: Runtime, output: Path, config: AnyRun) -> RunFolder:
    """The main process makes the folder and tells the others which."""
    made = [str(RunFolder.create(output, config).path) if runtime.is_main else None]
    return RunFolder(Path(broadcast_object_list(made)[0]))


def _record_start(
    trainer: BaseTrainer,
    sources: AnySources,
    folder: RunFolder,
    validation: FrozenList,
    continued: bool,
) -> None:
    """environment.json of every start; split and validation pairs of the first."""
    folder.write_environment(environment(trainer, sources))
    if not continued:
        sources.save_split(folder.path / "split.json")
        validation.save(folder.path / VALIDATION)


def _record_end(trainer: BaseTrainer, fit: Fit, folder: RunFolder, reason: str) -> None:
    """finished.json, and the losses as curves and tables."""
    progress, runtime = fit.progress, trainer.runtime
    folder.finish(
        {
            "reason": reason,
            "steps": trainer.step,
            "planned_steps": trainer.total_steps,
            "images": trainer.step * trainer.config.training.batch_size,
            "minutes": round(fit.seconds() / 60, 2),
            "device": device_name(runtime.device),
            "processes": runtime.processes,
            "peak_memory_mib": round(runtime.peak_memory_mib()),
            "best": {
                "metric": trainer.MONITOR,
                "value": progress.best if progress.best_step else None,  # no whole epoch yet
                "step": progress.best_step,
            },
        }
    )
    if reason != INTERRUPTED and folder.read_metrics():
        record_losses(folder.path, trainer.config.name)


def _say_start(trainer: BaseTrainer, images: int, sources: AnySources, folder: RunFolder) -> None:
    config, training = trainer.config, trainer.config.training
    logger.info("run       %s (%s): %s", config.name, config.profile, config.description)
    logger.info("folder    %s", folder.path)
    logger.info(
        "device    %s, precision %s, %d process(es)",
        device_name(trainer.runtime.device), training.mixed_precision, trainer.runtime.processes,
    )  # fmt: skip
    where = "built-in faces" if sources.folder is None else sources.folder
    logger.info("data      %d training images from %s at %d px", images, where, config.data.size)
    logger.info(
        "training  %d epochs of %d steps, batch %d%s",
        training.epochs, trainer.epoch_steps, training.batch_size,
        f", continued at step {trainer.step}" if trainer.step else "",
    )  # fmt: skip
    for name, origin in trainer.origins().items():
        logger.info("weights   %s: %s", name, origin)
    for what in config.left_out():
        logger.info("left out  %s", what)
