"""What a run writes down of itself when it starts and when it ends, and what it says."""

import logging
import platform
import time
from typing import Any

from deocclude.data.pairs.frozen import FrozenList
from deocclude.data.sources.faces import AnySources
from deocclude.engines.report.history import record_losses
from deocclude.engines.runs.devices import available_cores, device_name
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.runs.runtime import versions
from deocclude.engines.training.fit import INTERRUPTED, Fit
from deocclude.engines.training.trainer import BaseTrainer
from deocclude.models.blocks import count_parameters

logger = logging.getLogger(__name__)

VALIDATION = "validation_pairs.json"


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


def record_start(
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


def say_start(trainer: BaseTrainer, images: int, sources: AnySources, folder: RunFolder) -> None:
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


def record_end(fit: Fit, reason: str) -> None:
    """finished.json, and the losses as curves and tables."""
    trainer, folder, progress = fit.trainer, fit.folder, fit.progress
    runtime = trainer.runtime
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
